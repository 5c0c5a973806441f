//! What people and programs see of a node: the JSON of HTTP, command line and page, all from one place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    engine::{EngineName, Prepared},
    id::{AttemptId, Holder, JobId, NodeId},
    job::{AttemptState, Elapsed, JobState, Policy, Requirements, WaitReason},
    refusal::{Code, Refusal},
    units::{Gas, Millis, Moment, Span},
    wire::{Offer, Role},
};

/// `GET /.well-known/p2pnet.json`: how to reach a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WellKnown {
    /// The seed's id.
    pub node: NodeId,
    /// Its libp2p addresses, `/p2p/<id>` included; browsers use those with `/ws` or `/webrtc-direct`.
    pub addresses: Vec<String>,
    /// The path of the WebSocket transport on the same HTTP port (`/p2p`).
    pub websocket_path: String,
    /// The newest version of the protocol that it speaks.
    pub protocol: u16,
    /// All that it speaks, by their libp2p names, the newest first; empty where it does not say.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Software version.
    pub version: String,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units in all (numbers, items, lines, blocks).
    pub units_total: u64,
    /// Units done.
    pub units_done: u64,
    /// Units at a node now.
    pub units_running: u64,
    /// Gas used so far by accepted attempts.
    pub gas: Gas,
    /// What preparing instances for those took beside that, where a kernel has an `init`, as far as their nodes said it since
    /// the node that leads the job began; absent while that is nothing.
    #[serde(default, skip_serializing_if = "Prepared::is_nothing")]
    pub prepared: Prepared,
    /// Whole percent done, rounded down.
    pub percent: u8,
    /// Estimate of what remains, in seconds; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its name.
    pub id: JobId,
    /// Whose it is, and where it came from. Never told: the host decides by it who may see the job.
    #[serde(skip)]
    pub holder: Holder,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By what its owner finds it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its kind, as in the JSON.
    pub kind: String,
    /// In one line, what it computes ([`crate::job::kinds::summary`]); absent of a job of more than 4 KiB of JSON, and of one that
    /// says nothing short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computes: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// Why it waits, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitReason>,
    /// Why it ended without a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
    /// How many of its parts failed although the job itself ended: parts that a program did not end well.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_parts: u64,
    /// How far it has come.
    pub progress: Progress,
    /// When it was submitted.
    pub created_at: Moment,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Moment>,
}

impl JobSummary {
    /// Moves every moment by so many milliseconds, from the node's scale to the wall clock's as it is set now
    /// ([`crate::clock::SteadyClock::set_by`]).
    pub fn shift(&mut self, by: i64) {
        self.created_at = self.created_at.shifted(by);
        self.finished_at = self.finished_at.map(|at| at.shifted(by));
        if let Some(WaitReason::Retrying { at }) = &mut self.waiting {
            *at = at.shifted(by);
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One attempt of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its name.
    pub id: AttemptId,
    /// Which units.
    pub span: Span,
    /// How many kernel calls (tasks) it holds.
    pub tasks: u64,
    /// Who executes it.
    pub node: NodeId,
    /// Where it stands.
    pub state: AttemptState,
    /// Which engine ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineName>,
    /// Gas used.
    pub gas: Gas,
    /// What preparing instances for it took beside that, as its node says; absent where that is nothing.
    #[serde(default, skip_serializing_if = "Prepared::is_nothing")]
    pub prepared: Prepared,
    /// When it was sent.
    pub assigned_at: Moment,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// Why it was refused or rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

/// What one node did for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShare {
    /// Which.
    pub node: NodeId,
    /// Units that it delivered and that were accepted.
    pub units: u64,
    /// Kernel calls (tasks) accepted from it.
    pub tasks: u64,
    /// Gas of those.
    pub gas: Gas,
}

/// `GET /api/v1/jobs/{id}`: everything about a job but its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// What nodes must have.
    pub requirements: Requirements,
    /// How it wants to be treated.
    pub policy: Policy,
    /// Time spent.
    pub elapsed: Elapsed,
    /// The job as submitted, as JSON text; cut after 4 KiB.
    pub source: String,
    /// The newest 1,000 attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// How many attempts there were in all.
    pub attempts_total: u64,
    /// What each node did, most units first.
    pub nodes: Vec<NodeShare>,
    /// The result so far as JSON text, where the kind has one; cut to nothing above 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
}

impl JobStatus {
    /// The same as [`JobSummary::shift`], of the job's attempts, too.
    pub fn shift(&mut self, by: i64) {
        self.summary.shift(by);
        for attempt in &mut self.attempts {
            attempt.assigned_at = attempt.assigned_at.shifted(by);
            attempt.ended_at = attempt.ended_at.map(|at| at.shifted(by));
        }
    }

    /// Time spent when this is `since` old: what waits or runs goes on with that while nobody tells of it.
    pub fn elapsed_after(&self, since: Millis) -> Elapsed {
        let Elapsed { waited, ran } = self.elapsed;
        let more = |span: Millis| Millis(span.0.saturating_add(since.0));
        match self.summary.state {
            JobState::Queued => Elapsed { waited: more(waited), ran },
            JobState::Running | JobState::Verifying => Elapsed { waited, ran: more(ran) },
            JobState::Completed | JobState::Failed | JobState::Cancelled | JobState::Expired => self.elapsed,
        }
    }
}

/// How a connection runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Straight to the node.
    Direct,
    /// Through another node's circuit.
    Relayed {
        /// Which node relays; absent when it is not known.
        via: Option<NodeId>,
    },
}

/// A node as seen from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which.
    pub node: NodeId,
    /// What kind, once it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How it describes itself.
    pub agent: String,
    /// How it is connected to this node; absent if known only from offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// The transport's name: `tcp`, `quic`, `websocket`, `webrtc-direct`, `circuit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Last measured round trip in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_millis: Option<u32>,
    /// Its offer, if it lends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
}

/// Why a node that could lend does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleReason {
    /// Lending is switched off.
    SwitchedOff,
    /// The device runs on battery.
    OnBattery,
    /// Not connected to any seed.
    NotConnected,
    /// Ready; nobody has sent work.
    NoWork,
}

/// What runs on this node now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningView {
    /// For whom.
    pub requester: NodeId,
    /// Which job of theirs.
    pub job: JobId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// How many kernel calls (tasks).
    pub tasks: u64,
    /// Fetching or running.
    pub state: AttemptState,
    /// Since when.
    pub since: Moment,
}

/// What this node lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSettings {
    /// Whether it lends at all.
    pub lending: bool,
    /// Cores lent; 1 to 1024.
    pub cores: u16,
    /// Share of each core's time, 1 to 100 percent.
    pub cpu_percent: u8,
    /// Memory that a task may use, in MiB.
    pub memory_mib: u32,
    /// Whether the device runs on battery just now (lending pauses).
    pub on_battery: bool,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self { lending: false, cores: 1, cpu_percent: 100, memory_mib: 1024, on_battery: false }
    }
}

/// The lending side of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderView {
    /// What it lends.
    pub settings: ProviderSettings,
    /// Why it does nothing, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleReason>,
    /// What runs or is being fetched.
    pub running: Vec<RunningView>,
    /// Batches waiting in its queue.
    pub queued: u32,
    /// Kernel calls (tasks) executed since it started.
    pub tasks_done: u64,
    /// Gas of those.
    pub gas_done: Gas,
    /// Processor time of those, in microseconds.
    pub busy_micros: u64,
}

/// How the version of a seed stands to this node's, where the two have none of the protocol in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedVersion {
    /// The seed is newer: this node wants an update, a page to be loaded again.
    Newer,
    /// The seed is older: whoever runs it would have to update it.
    Older,
}

/// Everything about this node but its jobs: `GET /api/v1/nodes` and the page's Donate and Network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// This node.
    pub me: NodeId,
    /// What kind.
    pub role: Role,
    /// Whether at least one seed is connected (for a seed: always).
    pub online: bool,
    /// Present where no seed is connected because one speaks no version of the protocol that this node does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_version: Option<SeedVersion>,
    /// Connected and offered nodes, by id; at most 1,000.
    pub nodes: Vec<NodeView>,
    /// How many nodes are known in all.
    pub nodes_total: u64,
    /// The lending side.
    pub provider: ProviderView,
    /// Records of this node's store that are damaged, or that a later version wrote: they are left as they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub records_not_understood: u64,
}

impl NetworkView {
    /// The same as [`JobSummary::shift`], of what runs here. Offers were made by others' clocks.
    pub fn shift(&mut self, by: i64) {
        for run in &mut self.provider.running {
            run.since = run.since.shifted(by);
        }
    }
}

/// `POST /api/v1/jobs`: 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The new job.
    pub id: JobId,
}

/// Any answer but 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong and what to do.
    pub error: Refusal,
}

/// What `GET /api/v1/events` and the page's live views get told. Not a log: a listener that falls behind gets the
/// newest state of each job and of the network, not every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A job changed.
    Job(Box<JobSummary>),
    /// A job was removed.
    JobRemoved {
        /// Which.
        id: JobId,
    },
    /// Connections, offers or the lending side changed.
    Network,
}

/// The HTTP status of a refusal.
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::InvalidJson
        | Code::UnknownKind
        | Code::UnknownField
        | Code::MissingField
        | Code::InvalidField
        | Code::InvalidFormula
        | Code::EmptyInput
        | Code::RaggedMatrix
        | Code::MismatchedMatrix
        | Code::SingularMatrix
        | Code::InvalidNumber
        | Code::InvalidKernel
        | Code::KernelImports => 400,
        Code::UnknownKernel | Code::UnknownJob | Code::NotFound => 404,
        Code::MethodNotAllowed => 405,
        Code::NotFinished | Code::NoResult | Code::IdempotencyConflict => 409,
        Code::InvalidToken => 401,
        Code::ForeignOrigin => 403,
        Code::BodyTooSlow => 408,
        Code::TooLarge => 413,
        Code::UnsupportedContentType | Code::UnsupportedEncoding => 415,
        Code::UnknownHost => 421,
        Code::UpgradeRequired => 426,
        Code::KernelTrapped
        | Code::OutOfMemory
        | Code::StackOverflow
        | Code::TimedOut
        | Code::IntegerOverflow
        | Code::DivisionByZero
        | Code::KernelError
        | Code::RetriesExhausted
        | Code::MergeFailed => 422,
        Code::RateLimited | Code::TooManyJobs => 429,
        Code::Internal => 500,
        Code::NoProvider | Code::ShuttingDown | Code::StoreFailed => 503,
        Code::StoreFull => 507,
    }
}
