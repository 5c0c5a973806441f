//! What a person submits, how it is cut into tasks, and how the outputs become one result.
//!
//! A kind of job is a file in `kinds/` and a line in `kinds/mod.rs`. It turns JSON into a [`Plan`]: stages with a program and
//! a count of units each, the input for any span of units, and the merge. The scheduler cuts spans as large as a node's
//! measured speed asks for; it knows nothing else about the kind.

mod agreement;
pub mod kinds;
pub mod local;
pub mod metadata;
mod plan;
mod stage;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use self::stage::in_the_same_places;
pub use self::{
    agreement::{Agreement, Numbers, Tolerance},
    plan::{CallShape, Done, Outputs, Plan, outputs},
    stage::{Feed, Language, MOST_STAGES, Placed, Program, Stage, StageId, Stages},
};
use crate::{
    id::Holder,
    units::{Millis, Moment},
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

    pub(super) fn serialize<S: Serializer>(mib: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            (f64::from(*mib) / MIB_PER_GIB).serialize(serializer)
        } else {
            mib.serialize(serializer)
        }
    }

    // Checked to lie in 1..=4096.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
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
    /// Its stages, as the plan says them ([`Plan::stages`]).
    pub stages: Stages,
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
