//! What a person submits, how it is cut into tasks, and how the outputs become one result.
//!
//! A kind of job is a file in `kinds/` and a line in `kinds/mod.rs`. It turns JSON into a [`Plan`]: a kernel, a count of
//! units, the input for any span of units, and the merge. The scheduler cuts spans as large as a node's measured speed
//! asks for; it knows nothing else about the kind.

pub mod kinds;
pub mod local;
pub mod metadata;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    blob::Blob,
    id::Holder,
    refusal::Refusal,
    units::{Millis, Moment, Span},
};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, no task has started yet.
    Queued,
    /// Tasks are being executed.
    Running,
    /// Every task has delivered; results are being checked and merged.
    Verifying,
    /// The result is there.
    Completed,
    /// It ended without a result; the reason says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// No node took it in time.
    Expired,
}

impl JobState {
    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        match self {
            JobState::Queued | JobState::Running | JobState::Verifying => false,
            JobState::Completed | JobState::Failed | JobState::Cancelled | JobState::Expired => true,
        }
    }
}

/// Where one attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Sent to a node.
    Assigned,
    /// The node fetches what it lacks.
    Fetching,
    /// The node executes it.
    Running,
    /// Its output arrived.
    Delivered,
    /// Its output was taken into the result.
    Accepted,
    /// Its output was not taken: it failed, or another attempt was first.
    Rejected,
    /// The node vanished, refused or stalled.
    Lost,
    /// The node set it aside for others, and goes on with it later where it stood.
    Resting,
}

/// How urgent a job is among the jobs of its owner; it counts against nobody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else is to do.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before the usual.
    High,
    /// Before everything.
    Critical,
}

/// What a node must have to be given the job's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// Share of one core that the node must lend, 1 to 100.
    pub cpu_percent: u32,
    /// Memory that a task may use, in MiB, up to 4096; `"ram_gb": 0.5` in JSON.
    #[serde(rename = "ram_gb", with = "gibibytes")]
    pub memory_mib: u32,
    /// Wall time after which an attempt (a batch on one node) is stopped, in seconds; 1 to 3600.
    pub timeout_seconds: u32,
}

impl Default for Requirements {
    fn default() -> Self {
        Self { cpu_percent: 1, memory_mib: 512, timeout_seconds: 30 }
    }
}

/// People say GiB with a fraction, nodes agree on whole MiB.
mod gibibytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    const MIB_PER_GIB: f64 = 1024.0;
    const MOST_GIB: f64 = 4.0;

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub fn serialize<S: Serializer>(mib: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            (f64::from(*mib) / MIB_PER_GIB).serialize(serializer)
        } else {
            mib.serialize(serializer)
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to lie in 1..=4096
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        if !deserializer.is_human_readable() {
            return u32::deserialize(deserializer);
        }
        let gib = f64::deserialize(deserializer)?;
        if gib > 0.0 && gib <= MOST_GIB {
            Ok(((gib * MIB_PER_GIB).round() as u32).max(1))
        } else {
            Err(D::Error::custom("ram_gb must lie above 0 and be at most 4"))
        }
    }
}

/// How the job wants to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Its place among other jobs.
    pub priority: Priority,
    /// How often a task may be tried again after its first attempt failed; 0 to 20. A node that vanishes does not count.
    pub retries: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { priority: Priority::Normal, retries: 3 }
    }
}

/// Outputs of one finished span: one output a call.
pub type Outputs = Vec<Vec<u8>>;

/// How units become calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallShape {
    /// One call computes a whole span, however long (a range, a list of items).
    WholeSpan,
    /// Every unit is a call of its own (a line, a matrix block); a span is a batch of calls.
    EachUnit,
}

/// A job that has been read, checked and compiled: everything that the scheduler needs.
///
/// A plan is a pure function of the job's JSON, so a requester that restarts builds the same plan again.
pub trait Plan: Send + Sync {
    /// The kernel's original bytes.
    fn kernel(&self) -> &Blob;

    /// The module that the job brought, by whose hash a later job may name it; `None` if it brought none.
    fn module(&self) -> Option<&Blob> {
        None
    }

    /// Bytes that every call's input starts with; sent to a node once. `None`: there are none.
    fn common(&self) -> Option<&Blob> {
        None
    }

    /// How many units there are; at least 1.
    fn units(&self) -> u64;

    /// How units become calls.
    fn shape(&self) -> CallShape;

    /// The largest span that may go out at once, from the size of its input and output; at least 1.
    fn most_units_a_batch(&self, start: u64) -> u64;

    /// The calls' own inputs for a span: one for [`CallShape::WholeSpan`], `span.len()` for [`CallShape::EachUnit`].
    fn inputs(&self, span: Span) -> Vec<Vec<u8>>;

    /// Whether the last unit is a step over the outputs of all others: it goes out alone, when they are all there, with
    /// [`Plan::last_input`] as its input.
    fn has_last_step(&self) -> bool {
        false
    }

    /// The input of the last step, from all other units' outputs.
    fn last_input(&self, done: &BTreeMap<Span, Outputs>) -> Vec<u8> {
        let _ = done;
        Vec::new()
    }

    /// Checks one call's output as it arrives and gives the kernel's own error, if it is one.
    /// `span` is what that call covered. [`crate::refusal::Code::MergeFailed`] says that this kernel cannot have made the
    /// output: that is the node's fault, not the job's.
    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal>;

    /// The result's value as JSON text (what stands behind `"result":`), from all spans in order. With gaps (`done` does not cover all units) it is the partial
    /// result, where the kind has a meaningful one.
    fn merge(&self, done: &BTreeMap<Span, Outputs>) -> Result<String, Refusal>;

    /// What stands for the output of a unit that has none and never will, for this reason, where that is the unit's own
    /// failure and not the job's. `None`: the job fails.
    fn instead(&self, why: &Refusal) -> Option<Vec<u8>> {
        let _ = why;
        None
    }

    /// Whether an output is one that [`Plan::instead`] makes; [`Plan::check`] takes none of those.
    fn is_instead(&self, output: &[u8]) -> bool {
        let _ = output;
        false
    }

    /// Why the job counts as failed although every task has delivered, from all spans; its result is kept nevertheless.
    fn failure(&self, done: &BTreeMap<Span, Outputs>) -> Option<Refusal> {
        let _ = done;
        None
    }

    /// How many parts failed, from all spans, whether or not the job fails with them.
    fn failed_parts(&self, done: &BTreeMap<Span, Outputs>) -> u64 {
        let _ = done;
        0
    }

    /// Whether [`Plan::merge`] makes sense before everything has arrived.
    fn has_partial_result(&self) -> bool;
}

/// A job as its requester keeps it.
pub struct Job {
    /// Whose it is, and where it came from; [`Holder::LOCAL`] until the host says otherwise.
    pub holder: Holder,
    /// Kind name, as in the JSON.
    pub kind: &'static str,
    /// What its owner calls it.
    pub metadata: metadata::Metadata,
    /// What was submitted, as JSON text, so that it can be read again after a restart and shown.
    pub source: Arc<str>,
    /// What nodes must have.
    pub requirements: Requirements,
    /// How it wants to be treated.
    pub policy: Policy,
    /// What to compute.
    pub plan: Box<dyn Plan>,
}

/// Why a job or a node is not moving just now. Always shown; design: "the page always says why something waits".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum WaitReason {
    /// Not connected to any seed.
    NotConnected,
    /// No node on the network offers its processor.
    NoProviders,
    /// Nodes are there, none meets the requirements.
    NoneMeetsRequirements,
    /// Nodes are there, but they run kernels as another version of p2pnet does, so that gas might differ.
    OtherVersions {
        /// How many.
        nodes: u32,
    },
    /// All nodes are busy with other work.
    AllBusy,
    /// Nodes were found and are being connected.
    Connecting {
        /// How many.
        nodes: u32,
    },
    /// Every remaining task is running.
    TasksRunning {
        /// How many batches.
        batches: u32,
    },
    /// A failed task waits before it is tried again.
    Retrying {
        /// When.
        at: Moment,
    },
}

/// Time spent, for progress and estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elapsed {
    /// From submission to the first task started.
    pub waited: Millis,
    /// From the first task started to the end (or now).
    pub ran: Millis,
}
