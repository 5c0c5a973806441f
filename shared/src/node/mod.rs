//! The node: facts go in as [`Input`], orders come out as [`Effect`], and nothing else happens.
//!
//! ```text
//! node.handle(now, Input::Received { from, message });
//! while let Some(effect) = node.poll_effect() { /* the host carries it out */ }
//! let wake = node.next_deadline();                 // comes back as Input::Tick
//! ```

use std::collections::VecDeque;

use crate::{
    api::{JobStatus, JobSummary, NetworkView, Path, ProviderSettings},
    engine::{Batch, BatchReport},
    id::{JobId, NodeId},
    job::Job,
    refusal::Refusal,
    units::Moment,
    wire::{Message, Role},
};

/// Names one run of a batch on this node's own executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// A record of the host's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKey {
    /// A job: what was submitted and where it stands.
    Job(JobId),
    /// The outputs of one finished span of a job, by its first unit.
    Span(JobId, u64),
    /// The result of a finished job.
    Result(JobId),
}

/// A fact that the host reports.
pub enum Input {
    /// Time has passed; nothing else happened.
    Tick,
    /// What the store held when the node started; comes once, before anything else.
    Restored(Vec<(StoreKey, Vec<u8>)>),
    /// A connection to a node is ready (the first, or a better one).
    Connected {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
        /// Over what (`tcp`, `websocket`, …).
        transport: &'static str,
    },
    /// The last connection to a node is gone.
    Disconnected {
        /// Which.
        node: NodeId,
    },
    /// A dial that this node ordered came to nothing.
    DialFailed {
        /// Whom.
        node: NodeId,
    },
    /// A round trip was measured.
    RoundTrip {
        /// To whom.
        node: NodeId,
        /// In milliseconds.
        millis: u32,
    },
    /// A message came.
    Received {
        /// From whom; the connection proves it.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// A frame came that was no message.
    Garbled {
        /// From whom.
        from: NodeId,
    },
    /// A node is a seed of ours: connect to it and stay connected.
    SeedKnown {
        /// Which.
        node: NodeId,
        /// Where.
        addresses: Vec<String>,
    },
    /// Where this node can be dialled has changed.
    Reachable {
        /// Multiaddresses, best first.
        addresses: Vec<String>,
    },
    /// The person (or the command line) changed what the node lends.
    Settings(ProviderSettings),
    /// A job was submitted; the host got its id from [`Node::next_job_id`] or kept one for idempotency.
    Submitted {
        /// Its name.
        id: JobId,
        /// What.
        job: Box<Job>,
    },
    /// A job was cancelled by its owner.
    Cancelled {
        /// Which.
        id: JobId,
    },
    /// A finished job was removed from the list by its owner.
    Removed {
        /// Which.
        id: JobId,
    },
    /// The executor finished a run.
    Executed {
        /// Which.
        run: RunId,
        /// What came of it.
        report: BatchReport,
    },
}

/// An order that the host carries out.
#[derive(Debug)]
pub enum Effect {
    /// Connect to a node. Empty addresses: through a circuit of the seeds that are connected.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where.
        addresses: Vec<String>,
    },
    /// Close all connections to a node.
    Hang {
        /// To whom.
        node: NodeId,
    },
    /// Say something to a connected node.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Run a batch. The host rewrites and compiles the kernel once per hash and keeps it.
    Execute {
        /// Comes back in [`Input::Executed`], always, whatever happens.
        run: RunId,
        /// The kernel's original bytes.
        kernel: std::sync::Arc<[u8]>,
        /// What to run.
        batch: Batch,
        /// Share of the core's time that it may take, 1 to 100 percent.
        cpu_percent: u8,
    },
    /// Stop a run at once; its report may still come and says [`crate::engine::Trap::Cancelled`].
    Abort {
        /// Which.
        run: RunId,
    },
    /// Keep a record.
    Save(StoreKey, Vec<u8>),
    /// Forget a record.
    Forget(StoreKey),
    /// A job changed in a way that a person can see.
    JobChanged(JobId),
    /// A job is gone from the list.
    JobRemoved(JobId),
    /// Connections, offers or the lending side changed in a way that a person can see.
    NetworkChanged,
}

/// What a node is told once, at its start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who it is.
    pub me: NodeId,
    /// What kind of node.
    pub role: Role,
    /// How it describes itself; at most 64 characters.
    pub agent: String,
    /// Where all its chance comes from. A host takes it from the system; the simulator from the run's seed.
    pub seed: [u8; 32],
}

/// A participant: all its roles and what they know.
pub struct Node {
    config: NodeConfig,
    effects: VecDeque<Effect>,
}

impl Node {
    /// A node that knows nobody yet.
    pub fn new(config: NodeConfig) -> Self {
        Self { config, effects: VecDeque::new() }
    }

    /// Takes a fact in. `now` never decreases between calls; a smaller one counts as the last one seen.
    pub fn handle(&mut self, now: Moment, input: Input) {
        let _ = (now, input);
    }

    /// The next order, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is due, if nothing else comes before.
    pub fn next_deadline(&self) -> Option<Moment> {
        None
    }

    /// A fresh, unguessable name for a job about to be submitted.
    pub fn next_job_id(&mut self) -> JobId {
        JobId([0; 16])
    }

    /// Whether one more job of `source_bytes` would be taken now.
    pub fn may_submit(&self, source_bytes: usize) -> Result<(), Refusal> {
        let _ = source_bytes;
        Ok(())
    }

    /// All jobs, newest first.
    pub fn jobs(&self) -> Vec<JobSummary> {
        Vec::new()
    }

    /// One job, as a list shows it. Cheap: asked for at every change.
    pub fn summary(&self, id: JobId) -> Option<JobSummary> {
        self.job(id).map(|status| status.summary)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Option<JobStatus> {
        let _ = id;
        None
    }

    /// A job's result as JSON text; else why there is none (yet).
    pub fn result(&self, id: JobId) -> Result<std::sync::Arc<str>, Refusal> {
        Err(Refusal::new(crate::refusal::Code::UnknownJob, format!("no job has the id {id}"), ""))
    }

    /// Connections, offers and the lending side.
    pub fn network(&self) -> NetworkView {
        NetworkView {
            me: self.config.me,
            role: self.config.role,
            online: false,
            nodes: Vec::new(),
            nodes_total: 0,
            provider: crate::api::ProviderView {
                settings: ProviderSettings::default(),
                idle: None,
                running: Vec::new(),
                queued: 0,
                tasks_done: 0,
                gas_done: crate::units::Gas(0),
                busy_micros: 0,
            },
        }
    }
}
