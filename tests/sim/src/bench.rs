//! One node and what it is told, message by message: for what a whole network shows only by luck.
#![expect(clippy::wildcard_enum_match_arm)]

use p2pnet_shared::{
    api::{Path, ProviderSettings},
    engine::Limits,
    id::{AttemptId, Hash, Holder, JobId, NodeId, OwnerId},
    job::{Job, Language, Priority},
    kernel::REWRITE_VERSION,
    node::{Effect, HostOrder, Input, Keep, NetworkOrder, Node, NodeConfig, RunId},
    units::{Millis, Moment},
    wire::{self, Assignment, Extensions, Message, Offer, Payload, Role},
};

use crate::executor;

/// The node.
pub const ME: NodeId = NodeId([1; 32]);
/// The peer that it knows from the beginning.
pub const PEER: NodeId = NodeId([2; 32]);
/// A peer that it may come to know.
pub const OTHER: NodeId = NodeId([3; 32]);

const KERNEL: &[u8] = b"a kernel that nobody runs";

/// What a node does that somebody else notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// It says that an attempt begins or goes on.
    Began(AttemptId),
    /// It says that it set one aside.
    SetAside(AttemptId),
    /// It delivers one.
    Delivered(AttemptId),
    /// It has its host begin a run,
    Executes(RunId),
    /// set one aside (`true`) or go on with it,
    Rests(RunId, bool),
    /// end one.
    Aborts(RunId),
    /// It gives an attempt out,
    Assigned(AttemptId),
    /// asks for one to be set aside,
    Asked(AttemptId),
    /// wants one no longer.
    CalledOff(AttemptId),
    /// It does not take one.
    Refused(AttemptId),
    /// It closes the connection to a node.
    HungUp(NodeId),
}

/// A node and one peer that has said Hello.
pub struct Bench {
    /// The node.
    pub node: Node,
    /// Its time.
    pub now: Moment,
}

impl Bench {
    /// One that lends nothing yet.
    pub fn new(can_rest: bool) -> Self {
        let config = NodeConfig {
            me: ME,
            role: Role::Client,
            agent: "under test".to_owned(),
            seed: [5; 32],
            keep: Keep::default(),
            can_rest,
            rewrite: REWRITE_VERSION,
        };
        let mut bench = Self { node: Node::new(config), now: Moment(1_790_000_000_000) };
        bench.meets(PEER);
        bench
    }

    /// One that lends.
    pub fn lending(can_rest: bool, cores: u16, memory_mib: u32) -> Self {
        let mut bench = Self::new(can_rest);
        let settings = ProviderSettings { lending: true, cores, memory_mib, ..ProviderSettings::default() };
        bench.feed(Input::Settings(settings));
        bench
    }

    /// Reports a fact. Whatever happens, nothing is left that is due already: a host would spin.
    pub fn feed(&mut self, input: Input) -> Vec<Did> {
        let did = self.take(input);
        let did = did.into_iter().chain(self.take(Input::Tick)).collect();
        assert!(self.node.next_deadline().is_none_or(|at| at > self.now), "something is due and is not done");
        did
    }

    fn take(&mut self, input: Input) -> Vec<Did> {
        let mut did = Vec::new();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.node.handle(self.now, input);
            assert_eq!(self.node.audit(), Ok(()));
            while let Some(effect) = self.node.poll_effect() {
                match effect {
                    Effect::Network(NetworkOrder::Send { to, message: Message::Want { hash, .. } })
                        if hash == Hash::of(KERNEL) =>
                    {
                        let chunk =
                            Message::Chunk { hash, offset: 0, total: KERNEL.len() as u64, bytes: KERNEL.to_vec() };
                        inputs.push(Input::Received { from: to, message: chunk });
                    }
                    Effect::Network(NetworkOrder::Send { to, message }) => {
                        if let Message::Deliver { attempt, .. } = message {
                            inputs.push(Input::Received { from: to, message: Message::Settle { attempt } });
                        }
                        did.extend(Did::of(message));
                    }
                    Effect::Host(HostOrder::Execute { run, .. }) => did.push(Did::Executes(run)),
                    Effect::Host(HostOrder::Rest { run, rests }) => did.push(Did::Rests(run, rests)),
                    Effect::Host(HostOrder::Abort { run }) => did.push(Did::Aborts(run)),
                    Effect::Host(HostOrder::Merge { job, merge }) => {
                        inputs.push(Input::Merged { job, merged: merge.run() })
                    }
                    Effect::Host(HostOrder::Keep { token, .. }) => inputs.push(Input::Kept { token }),
                    Effect::Network(NetworkOrder::Hang { node, .. }) => did.push(Did::HungUp(node)),
                    _ => {}
                }
            }
        }
        did
    }

    /// A peer's connection is there, and it says Hello.
    pub fn meets(&mut self, node: NodeId) -> Vec<Did> {
        self.meets_in_life(node, 1)
    }

    /// So it does, in its first life or a later one: after a restart.
    pub fn meets_in_life(&mut self, node: NodeId, session: u64) -> Vec<Did> {
        let mut did = self.feed(Input::Connected { node, path: Path::Direct, transport: "test" });
        let hello =
            Message::Hello { role: Role::Client, agent: String::new(), session, extensions: Extensions::default() };
        did.extend(self.hears_from(node, hello));
        did
    }

    /// The first peer says something.
    pub fn hears(&mut self, message: Message) -> Vec<Did> {
        self.hears_from(PEER, message)
    }

    /// A peer says something.
    pub fn hears_from(&mut self, from: NodeId, message: Message) -> Vec<Did> {
        self.feed(Input::Received { from, message })
    }

    /// Time passes, in steps of a tenth of a second.
    pub fn waits(&mut self, span: Millis) -> Vec<Did> {
        let mut did = Vec::new();
        for _ in 0..span.0 / 100 {
            self.now = self.now + Millis(100);
            did.extend(self.feed(Input::Tick));
        }
        did
    }

    // ---- a provider ----------------------------------------------------------------------------------------------

    /// The first peer gives it a batch that may have so much memory.
    pub fn is_given(&mut self, attempt: u64, memory_mib: u64) -> Vec<Did> {
        self.is_given_by(PEER, attempt, memory_mib)
    }

    /// A peer gives it a batch.
    pub fn is_given_by(&mut self, from: NodeId, attempt: u64, memory_mib: u64) -> Vec<Did> {
        self.is_assigned(from, attempt, memory_mib, Payload::Inline(wire::encode_calls(&[vec![1]]).unwrap()))
    }

    /// The first peer gives it a batch of no call.
    pub fn is_given_nothing(&mut self, attempt: u64) -> Vec<Did> {
        self.is_assigned(PEER, attempt, 100, Payload::Inline(wire::encode_calls(&[]).unwrap()))
    }

    /// The first peer gives it a batch that turns out to be none when it is to begin.
    pub fn is_given_nonsense(&mut self, attempt: u64) -> Vec<Did> {
        let calls = Payload::Blob { hash: Hash::of(KERNEL), len: KERNEL.len() as u64 };
        self.is_assigned(PEER, attempt, 100, calls)
    }

    /// The first peer gives it a batch whose calls it has to fetch, and does not send them yet.
    pub fn is_given_large(&mut self, attempt: u64, memory_mib: u64) -> Vec<Did> {
        let bytes = large(attempt);
        self.is_assigned(PEER, attempt, memory_mib, Payload::Blob { hash: Hash::of(&bytes), len: bytes.len() as u64 })
    }

    /// The first peer sends the calls of such a batch.
    pub fn fetches_large(&mut self, attempt: u64) -> Vec<Did> {
        let bytes = large(attempt);
        self.hears(Message::Chunk { hash: Hash::of(&bytes), offset: 0, total: bytes.len() as u64, bytes })
    }

    fn is_assigned(&mut self, from: NodeId, attempt: u64, memory_mib: u64, calls: Payload) -> Vec<Did> {
        let limits = Limits { memory_bytes: memory_mib << 20, time_millis: 60_000, ..Limits::default() };
        let message = Message::Assign(Assignment {
            attempt: AttemptId(attempt),
            job: JobId([3; 16]),
            language: Language::Wasm,
            kernel: Hash::of(KERNEL),
            common: None,
            priority: Priority::Normal,
            limits,
            calls,
            rewrite: REWRITE_VERSION,
            extensions: Extensions::default(),
        });
        self.hears_from(from, message)
    }

    /// The first peer asks for a batch to give way.
    pub fn is_asked(&mut self, attempt: u64) -> Vec<Did> {
        self.is_asked_by(PEER, attempt)
    }

    /// A peer does.
    pub fn is_asked_by(&mut self, from: NodeId, attempt: u64) -> Vec<Did> {
        self.hears_from(from, Message::GiveWay { attempt: AttemptId(attempt) })
    }

    /// The host has come to the end of a run.
    pub fn ends(&mut self, run: u64) -> Vec<Did> {
        self.feed(Input::Executed { run: RunId(run), report: executor::cancelled() })
    }

    // ---- a requester ---------------------------------------------------------------------------------------------

    /// An owner submits a job.
    pub fn submits(&mut self, owner: &str, mut job: Job) -> (JobId, Vec<Did>) {
        job.holder = Holder::of(OwnerId::of(owner.as_bytes()));
        let id = self.node.next_job_id();
        (id, self.feed(Input::Submitted { id, job: Box::new(job) }))
    }

    /// A peer offers a core; the first one has most memory.
    pub fn is_offered_by(&mut self, node: NodeId) -> Vec<Did> {
        let offer = Offer {
            node,
            role: Role::Client,
            agent: String::new(),
            cores: 1,
            cpu_percent: 100,
            memory_mib: if node == PEER { 4096 } else { 2048 },
            idle_cores: 1,
            addresses: Vec::new(),
            made_at: self.now,
            rewrite: REWRITE_VERSION,
            languages: [Language::Wasm].into(),
            extensions: Extensions::default(),
        };
        self.hears_from(node, Message::Offer(offer))
    }
}

/// The calls of a batch that are not like those of another.
fn large(attempt: u64) -> Vec<u8> {
    wire::encode_calls(&[attempt.to_le_bytes().to_vec()]).unwrap()
}

impl Did {
    fn of(message: Message) -> Vec<Self> {
        match message {
            Message::Started { attempt } => vec![Did::Began(attempt)],
            Message::Resting { attempt } => vec![Did::SetAside(attempt)],
            Message::Deliver { attempt, .. } => vec![Did::Delivered(attempt)],
            Message::Refuse { attempt, .. } => vec![Did::Refused(attempt)],
            Message::Assign(assignment) => vec![Did::Assigned(assignment.attempt)],
            Message::GiveWay { attempt } => vec![Did::Asked(attempt)],
            Message::Cancel { attempts } => attempts.into_iter().map(Did::CalledOff).collect(),
            _ => Vec::new(),
        }
    }
}
