//! The node: facts go in as [`Input`], orders come out as [`Effect`], and nothing else happens.
//!
//! ```text
//! node.handle(now, Input::Received { from, message });
//! while let Some(effect) = node.poll_effect() { /* the host carries it out */ }
//! let wake = node.next_deadline();                 // comes back as Input::Tick
//! ```

mod audit;
mod blobs;
mod broker;
mod chance;
mod core;
mod effect;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod farewell;
mod manners;
mod peers;
mod provider;
mod requester;
mod view;

use std::collections::BTreeMap;

pub use self::effect::{Effect, HostOrder, NetworkOrder, Notice};
pub use self::requester::{
    Keep, Line, Listing, Merge, Merged, NoResult, OfBefore, Place, Step, held_bytes, mend_line, new_record, read_line,
    read_status, read_summary, why_no_result,
};
use self::{broker::Broker, core::Core, provider::Provider, requester::Requester};
use crate::{
    api::{JobStatus, JobSummary, NetworkView, Path, ProviderSettings},
    blob::Blob,
    engine::BatchReport,
    id::{Hash, Holder, JobId, NodeId, OwnerId},
    job::{Job, JobState},
    refusal::Refusal,
    store::StoreKey,
    units::{Millis, Moment},
    wire::{Message, Role},
};

/// Names one run of a batch on this node's own executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Names an order to keep something, for the answer that it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Something that a node is asked for: it has it, or its host's store does.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// Here it is.
    Here(T),
    /// It is in this record.
    Kept(StoreKey),
}

/// A fact that the host reports.
pub enum Input {
    /// Time has passed; nothing else happened.
    Tick,
    /// What the store held of jobs that are over: comes any time later, bit by bit, after [`Node::await_lines`].
    Loaded {
        /// Made of each [`StoreKey::Finished`].
        lines: Vec<Line>,
        /// These are the last ones.
        is_all: bool,
    },
    /// So many records of the store have names that this version does not know; they are left alone.
    UnknownRecords(u64),
    /// What an [`HostOrder::Keep`] ordered is on disk, or wherever it outlives the host; or the host has told the person whose it
    /// is that it keeps nothing.
    Kept {
        /// Which.
        token: Token,
    },
    /// A connection to a node is ready, the first or the first after [`Input::Disconnected`].
    Connected {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
        /// Over what (`tcp`, `websocket`, …).
        transport: &'static str,
    },
    /// A better connection to a node has taken the place of the one that it was connected by. Nothing was lost.
    Moved {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
        /// Over what.
        transport: &'static str,
    },
    /// The last connection to a node is gone, or one broke and something may be lost with it.
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
    /// A node that was connected speaks no version of the protocol that this one does; the connection ends.
    OtherVersion {
        /// Which.
        node: NodeId,
        /// The newest version that it speaks ([`crate::wire::Version::number`]), if it said so.
        newest: Option<u16>,
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
    /// The node ends, in order: it says so to all who count on what it lends. Nothing comes after it.
    Leaving,
    /// A job was submitted; the host got its id from [`Node::next_job_id`] or kept one for idempotency.
    Submitted {
        /// Its name.
        id: JobId,
        /// What.
        job: Box<Job>,
    },
    /// A job was submitted that the host has already put into its store, by its [`new_record`], in room that
    /// [`Node::reserve`] set aside.
    Accepted {
        /// Its name, which the host chose.
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
    /// The host is through with an [`HostOrder::Merge`].
    Merged {
        /// Of which job.
        job: JobId,
        /// What came of it.
        merged: Merged,
    },
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
    /// How much it keeps of jobs that are over.
    pub keep: Keep,
    /// Whether the host can set a run aside and let it go on later ([`HostOrder::Rest`]).
    pub can_rest: bool,
    /// The rewrite of kernels that the host's engines run: [`crate::kernel::REWRITE_VERSION`].
    pub rewrite: u16,
}

/// Reads a job from its source; the second parameter finds kernels that it names by hash.
pub type ReadJob<'a> = &'a dyn Fn(&str, &dyn Fn(Hash) -> Option<Blob>) -> Result<Job, Refusal>;

/// How soon after one [`Notice::NetworkChanged`] the next may come.
const NETWORK_EVENT_PAUSE: Millis = Millis(200);

/// A participant: all its roles and what they know.
pub struct Node {
    core: Core,
    broker: Broker,
    provider: Provider,
    requester: Requester,
    network_told_at: Moment,
}

impl Node {
    /// A node that knows nobody yet.
    pub fn new(config: NodeConfig) -> Self {
        let mut core = Core::new(config);
        // Names of attempts of an earlier life must not come back: start anywhere, but stay exact in JSON's numbers.
        let requester = Requester::new(core.chance.below(1 << 31) << 20);
        Self { core, broker: Broker::default(), provider: Provider::default(), requester, network_told_at: Moment(0) }
    }

    /// Takes a fact in. `now` never decreases between calls; a smaller one counts as the last one seen.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.core.now = now.max(self.core.now);
        self.take(input);
        self.settle();
        self.tick();
        // What the tick set off inside may be due at once as well; every tick does a thing only once a moment.
        while self.settle() {
            self.tick();
        }
        if self.core.network_changed && self.core.now >= self.network_told_at + NETWORK_EVENT_PAUSE {
            self.core.network_changed = false;
            self.network_told_at = self.core.now;
            self.core.tell(Notice::NetworkChanged);
        }
    }

    /// What the store held of jobs that are not over when the node started: each [`StoreKey::Job`] and [`StoreKey::Span`]. Comes
    /// once, before anything else; `read` reads jobs, as [`crate::job::kinds::read`] does. What is not understood of it is left
    /// alone.
    pub fn restore(&mut self, now: Moment, records: Vec<(StoreKey, Vec<u8>)>, read: ReadJob<'_>) {
        self.core.now = now.max(self.core.now);
        self.requester.restore(&mut self.core, records, read);
        self.handle(now, Input::Tick);
    }

    /// Lines of jobs that are over are still to come ([`Input::Loaded`]): until then no job is dropped for another.
    pub fn await_lines(&mut self) {
        self.requester.await_lines();
    }

    /// Whether all jobs of the store are known. Before that, one of which nothing is known here may still be over.
    pub fn is_loaded(&self) -> bool {
        self.requester.is_loaded()
    }

    /// The next order, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.core.next_effect()
    }

    /// When [`Input::Tick`] is due, if nothing else comes before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let told = self.core.network_changed.then(|| self.network_told_at + NETWORK_EVENT_PAUSE);
        [
            told,
            self.core.peers.next_deadline(),
            self.core.blobs.next_deadline(),
            self.broker.next_deadline(),
            self.provider.next_deadline(),
            self.requester.next_deadline(&self.core.config.keep),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Damaged records that were met so far, for a log: the first of them. What they hold is lost to this node, and they are left
    /// alone.
    pub fn damaged(&self) -> &[StoreKey] {
        self.requester.damaged()
    }

    /// How many records of the store are not understood: damaged, or of a later version.
    pub fn records_not_understood(&self) -> u64 {
        self.requester.records_not_understood()
    }

    /// Whose a job is of which nothing else is understood ([`OwnerId::LOCAL`] where not even that is): it is left alone until its
    /// owner removes it.
    pub fn left_alone(&self, id: JobId) -> Option<OwnerId> {
        self.requester.left_alone(id)
    }

    /// Jobs of the store that were not over, and that could not be read again at the start: why each failed then.
    pub fn not_resumed(&self) -> &[(JobId, Refusal)] {
        self.requester.not_resumed()
    }

    /// A fresh, unguessable name for a job about to be submitted.
    pub fn next_job_id(&mut self) -> JobId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.core.chance.bytes()[..16]);
        JobId(id)
    }

    /// Whether one more job that holds so many bytes ([`held_bytes`]) would be taken from an owner now; if not, which bound is in the way
    /// ([`Code::TooManyJobs`]).
    pub fn may_submit(&self, holder: Holder, bytes: usize) -> Result<(), Refusal> {
        self.requester.may_submit(holder, bytes)
    }

    /// Sets room aside for a job that holds so many bytes ([`held_bytes`]), until it comes as [`Input::Accepted`] under this
    /// name, which is then taken whatever else came, or [`Node::release`]; else says which bound is in the way
    /// ([`Code::TooManyJobs`]). For a host that keeps a job before it hands it over.
    pub fn reserve(&mut self, id: JobId, holder: Holder, bytes: usize) -> Result<(), Refusal> {
        self.requester.reserve(id, holder, bytes)
    }

    /// Gives back what [`Node::reserve`] set aside, if the job did not come.
    pub fn release(&mut self, id: JobId) {
        self.requester.release(id);
    }

    /// A blob that this node holds: a kernel that a job may name by its hash.
    pub fn blob(&self, hash: Hash) -> Option<std::sync::Arc<[u8]>> {
        self.core.blobs.get(hash)
    }

    /// One job, as a list shows it, unless it ended long ago. Cheap: asked for at every change.
    pub fn summary(&self, id: JobId) -> Option<JobSummary> {
        self.requester.summary(&self.core, id)
    }

    /// One job, as a list shows it. The record of one that ended long ago is read by [`read_summary`].
    pub fn find(&self, id: JobId) -> Option<Found<JobSummary>> {
        self.requester.find(&self.core, id)
    }

    /// One job. The record of one that is over is read by [`read_status`].
    pub fn job(&self, id: JobId) -> Option<Found<JobStatus>> {
        self.requester.job(&self.core, id)
    }

    /// The record that holds a job's result; else why there is none (yet).
    pub fn result(&self, id: JobId) -> Result<StoreKey, NoResult> {
        self.requester.result(id)
    }

    /// The jobs of a list, newest first, of those whose lines are in memory; `None` when the job that it is to begin behind is not
    /// in it.
    pub fn jobs(&self, listing: &Listing) -> Option<Vec<JobSummary>> {
        let here = |found| match found {
            Found::Here(job) => Some(job),
            Found::Kept(_) => None,
        };
        self.list(listing, usize::MAX).map(|step| step.jobs.into_iter().filter_map(here).collect())
    }

    /// The jobs of a list, newest first, as far as one comes who looks at `looks` jobs, which is 1 at least; `None` when the job
    /// that it is to begin behind is not in it.
    pub fn list(&self, listing: &Listing, looks: usize) -> Option<Step> {
        self.requester.list(&self.core, listing, looks)
    }

    /// How many jobs there are in each state.
    pub fn states(&self) -> BTreeMap<JobState, usize> {
        self.requester.states()
    }

    /// Whether nothing more will happen to a job, whether or not that is kept; `None` when there is none.
    pub fn has_ended(&self, id: JobId) -> Option<bool> {
        self.requester.has_ended(id)
    }

    /// Whether a job is over, and that is kept; `None` when there is none.
    pub fn is_over(&self, id: JobId) -> Option<bool> {
        self.requester.is_over(id)
    }

    /// Whose a job is.
    pub fn owner(&self, id: JobId) -> Option<OwnerId> {
        self.requester.owner_and_time(id).map(|(owner, _)| owner)
    }

    /// Connections, offers and the lending side.
    pub fn network(&self) -> NetworkView {
        self.network_view()
    }

    fn take(&mut self, input: Input) {
        let core = &mut self.core;
        match input {
            Input::Tick => {}
            Input::Loaded { lines, is_all } => self.requester.loaded(core, lines, is_all),
            Input::UnknownRecords(records) => self.requester.leave_unknown(records),
            Input::Kept { token } => self.requester.kept(core, token),
            Input::Connected { node, path, transport } => {
                if core.connected(node, path, transport) {
                    core.nudge_fetches(Some(node));
                    self.requester.connected(core, node);
                }
            }
            Input::Moved { node, path, transport } => core.moved(node, path, transport),
            Input::Disconnected { node } => {
                core.disconnected(node);
                self.broker.disconnected(core, node);
                self.provider.disconnected(core, node);
                self.requester.disconnected(core, node);
            }
            Input::DialFailed { node } => {
                if !core.peers.is_connected(node) {
                    core.seed_lost(node, true);
                    self.requester.dial_failed(core, node);
                }
            }
            Input::RoundTrip { node, millis } => core.peers.round_trip(node, millis),
            Input::Received { from, message } => {
                if self.listens(from, &message) {
                    self.receive(from, message);
                }
            }
            Input::Garbled { from } => core.nonsense(from, 20),
            Input::OtherVersion { node, newest } => core.speaks_other_version(node, newest),
            Input::SeedKnown { node, addresses } => core.seed_known(node, addresses),
            Input::Reachable { mut addresses } => {
                addresses.truncate(8);
                if core.addresses != addresses {
                    core.addresses = addresses;
                    self.provider.announce(core);
                }
            }
            Input::Settings(settings) => self.provider.configure(core, settings),
            Input::Leaving => self.provider.leave(core),
            Input::Submitted { id, job } => self.requester.submitted(core, id, *job, false),
            Input::Accepted { id, job } => self.requester.submitted(core, id, *job, true),
            Input::Cancelled { id } => self.requester.cancel(core, id),
            Input::Removed { id } => self.requester.remove(core, id),
            Input::Executed { run, report } => self.provider.executed(core, run, &report),
            Input::Merged { job, merged } => self.requester.merged(core, job, merged),
        }
    }

    /// Takes a message to the role that it is for. `from` is this node itself for what it says to itself.
    fn receive(&mut self, from: NodeId, message: Message) {
        let core = &mut self.core;
        match message {
            Message::Hello { role, agent, session, extensions: _ } => {
                if core.greeted(from, role, agent, session) {
                    self.provider.greeted(core, from, session);
                    self.requester.greeted(core, from, session);
                }
            }
            Message::Offer(offer) => {
                if offer.node == from && broker::is_sane(&offer) {
                    self.broker.offered(core, offer.clone());
                    self.requester.offered(core, offer);
                } else {
                    core.nonsense(from, 10);
                }
            }
            Message::Withdraw => {
                self.broker.withdrawn(core, from);
                self.requester.withdrawn(from);
            }
            Message::Find { query, requirements, limit, rewrite } => {
                self.broker.asked(core, from, broker::Question { query, requirements, limit, rewrite });
            }
            Message::Found { query, offers, known, others } => {
                self.requester.found(core, from, requester::Answer { query, offers, known, others });
            }
            Message::Assign(assignment) => self.provider.assigned(core, from, assignment),
            Message::Refuse { attempt, reason } => self.requester.refused(core, from, attempt, reason),
            Message::Started { attempt } => self.requester.started(core, from, attempt),
            Message::GiveWay { attempt } => self.provider.asked_to_give_way(core, from, attempt),
            Message::Resting { attempt } => self.requester.rests(core, from, attempt),
            Message::Deliver { attempt, report, extensions } => {
                self.requester.delivered(core, from, attempt, report, extensions.prepared())
            }
            Message::Settle { attempt } => self.provider.settled(core, from, attempt),
            Message::Cancel { attempts } => {
                if attempts.len() > 1024 {
                    core.nonsense(from, 20);
                }
                self.provider.cancelled(core, from, &attempts);
            }
            Message::Want { hash, offset } => core.wanted(from, hash, offset),
            Message::Chunk { hash, offset, total, bytes } => core.chunk(from, hash, offset, total, &bytes),
            Message::Unknown { hash } => core.source_failed(hash, from),
        }
    }

    /// Carries on what the last fact set off inside: messages to this node itself, and fetches that ended. Whether
    /// there was anything.
    fn settle(&mut self) -> bool {
        let mut any = false;
        loop {
            if let Some(message) = self.core.loopback.pop_front() {
                self.receive(self.core.config.me, message);
            } else if let Some((hash, here)) = self.core.blobs.next_ended() {
                self.provider.fetched(&mut self.core, hash, here);
                self.requester.fetched(&mut self.core, hash);
            } else {
                return any;
            }
            any = true;
        }
    }

    fn tick(&mut self) {
        let core = &mut self.core;
        core.dial_seeds();
        core.nudge_fetches(None);
        self.broker.tick(core);
        self.provider.tick(core);
        self.requester.tick(core);
    }
}
