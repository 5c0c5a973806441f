//! Calls that take turns on a core, message by message: a provider that sets aside and goes on, and a requester beside providers
//! that do not, or only say so.

#![allow(clippy::unwrap_used, clippy::panic)]

use p2pnet_shared::{
    api::{Path, ProviderSettings},
    engine::Limits,
    id::{AttemptId, Hash, Holder, JobId, NodeId, OwnerId},
    job::{Job, JobState, Priority},
    node::{Effect, Input, Keep, Node, NodeConfig, RunId},
    units::{Millis, Moment},
    wire::{self, Assignment, Message, Offer, PROTOCOL_VERSION, Payload, Role},
};
use p2pnet_sim::{executor, plan};

const ME: NodeId = NodeId([1; 32]);
const PEER: NodeId = NodeId([2; 32]);
const KERNEL: &[u8] = b"a kernel that nobody runs";

/// What a node does that somebody else notices.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Began(AttemptId),
    SetAside(AttemptId),
    Delivered(AttemptId),
    Executes(RunId),
    Rests(RunId, bool),
    Aborts(RunId),
    Assigned(AttemptId),
    Asked(AttemptId),
    CalledOff(AttemptId),
}

/// A node and one peer that says Hello.
struct Bench {
    node: Node,
    now: Moment,
}

impl Bench {
    fn new(can_rest: bool) -> Self {
        let config = NodeConfig {
            me: ME,
            role: Role::Client,
            agent: "under test".to_owned(),
            seed: [5; 32],
            keep: Keep::default(),
            can_rest,
        };
        let mut bench = Self { node: Node::new(config), now: Moment(1_790_000_000_000) };
        bench.feed(Input::Connected { node: PEER, path: Path::Direct, transport: "test" });
        bench.hears(Message::Hello { version: PROTOCOL_VERSION, role: Role::Client, agent: String::new(), session: 1 });
        bench
    }

    /// One that lends.
    fn lending(can_rest: bool, cores: u16, memory_mib: u32) -> Self {
        let mut bench = Self::new(can_rest);
        let settings = ProviderSettings { lending: true, cores, memory_mib, ..ProviderSettings::default() };
        bench.feed(Input::Settings(settings));
        bench
    }

    /// Whatever happens, nothing is left that is due already: a host would spin.
    fn feed(&mut self, input: Input) -> Vec<Did> {
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
                    Effect::Send { to, message: Message::Want { hash, .. } } => {
                        let chunk =
                            Message::Chunk { hash, offset: 0, total: KERNEL.len() as u64, bytes: KERNEL.to_vec() };
                        inputs.push(Input::Received { from: to, message: chunk });
                    }
                    Effect::Send { message, .. } => did.extend(Did::of(message)),
                    Effect::Execute { run, .. } => did.push(Did::Executes(run)),
                    Effect::Rest { run, rests } => did.push(Did::Rests(run, rests)),
                    Effect::Abort { run } => did.push(Did::Aborts(run)),
                    _ => {}
                }
            }
        }
        did
    }

    fn hears(&mut self, message: Message) -> Vec<Did> {
        self.feed(Input::Received { from: PEER, message })
    }

    fn is_given(&mut self, attempt: u64, memory_mib: u64) -> Vec<Did> {
        self.is_given_by(PEER, attempt, memory_mib)
    }

    fn is_given_by(&mut self, from: NodeId, attempt: u64, memory_mib: u64) -> Vec<Did> {
        let limits = Limits { memory_bytes: memory_mib << 20, time_millis: 60_000, ..Limits::default() };
        let calls = Payload::Inline(wire::encode_calls(&[vec![1]]).unwrap());
        let message = Message::Assign(Assignment {
            attempt: AttemptId(attempt),
            job: JobId([3; 16]),
            kernel: Hash::of(KERNEL),
            common: None,
            priority: Priority::Normal,
            limits,
            calls,
        });
        self.feed(Input::Received { from, message })
    }

    /// A second peer.
    fn knows(&mut self, node: NodeId) {
        self.feed(Input::Connected { node, path: Path::Direct, transport: "test" });
        let message =
            Message::Hello { version: PROTOCOL_VERSION, role: Role::Client, agent: String::new(), session: 1 };
        self.feed(Input::Received { from: node, message });
    }

    fn is_asked(&mut self, attempt: u64) -> Vec<Did> {
        self.hears(Message::GiveWay { attempt: AttemptId(attempt) })
    }

    fn ends(&mut self, run: u64) -> Vec<Did> {
        self.feed(Input::Executed { run: RunId(run), report: executor::cancelled() })
    }

    /// Time passes, in steps of a tenth of a second.
    fn waits(&mut self, span: Millis) -> Vec<Did> {
        let mut did = Vec::new();
        for _ in 0..span.0 / 100 {
            self.now = self.now + Millis(100);
            did.extend(self.feed(Input::Tick));
        }
        did
    }

    fn submits(&mut self, owner: &str, mut job: Job) -> (JobId, Vec<Did>) {
        job.holder = Holder::of(OwnerId::of(owner.as_bytes()));
        let id = self.node.next_job_id();
        (id, self.feed(Input::Submitted { id, job: Box::new(job) }))
    }

    /// The peer offers a core.
    fn is_offered(&mut self) -> Vec<Did> {
        let offer = Offer {
            node: PEER,
            role: Role::Client,
            agent: String::new(),
            cores: 1,
            cpu_percent: 100,
            memory_mib: 4096,
            idle_cores: 1,
            addresses: Vec::new(),
            made_at: self.now,
        };
        self.hears(Message::Offer(offer))
    }
}

impl Did {
    fn of(message: Message) -> Vec<Self> {
        match message {
            Message::Started { attempt } => vec![Did::Began(attempt)],
            Message::Resting { attempt } => vec![Did::SetAside(attempt)],
            Message::Deliver { attempt, .. } => vec![Did::Delivered(attempt)],
            Message::Assign(assignment) => vec![Did::Assigned(assignment.attempt)],
            Message::GiveWay { attempt } => vec![Did::Asked(attempt)],
            Message::Cancel { attempts } => attempts.into_iter().map(Did::CalledOff).collect(),
            _ => Vec::new(),
        }
    }
}

fn began(attempt: u64) -> Did {
    Did::Began(AttemptId(attempt))
}

fn set_aside(attempt: u64) -> Did {
    Did::SetAside(AttemptId(attempt))
}

fn rests(run: u64) -> Did {
    Did::Rests(RunId(run), true)
}

fn goes_on(run: u64) -> Did {
    Did::Rests(RunId(run), false)
}

fn executes(run: u64) -> Did {
    Did::Executes(RunId(run))
}

fn delivered(attempt: u64) -> Did {
    Did::Delivered(AttemptId(attempt))
}

#[test]
fn a_call_is_set_aside_once_something_is_there_for_its_core_and_goes_on_behind_it() {
    let mut bench = Bench::lending(true, 1, 1024);
    assert_eq!(bench.is_given(1, 100), [began(1), executes(0)]);
    assert_eq!(bench.is_asked(1), [], "nothing is there for its core");
    bench.waits(Millis(3_000));
    assert_eq!(bench.is_given(2, 100), [rests(0), set_aside(1), began(2), executes(1)]);
    assert_eq!(bench.is_asked(1), [set_aside(1)], "said again to one who may not have heard it");
    assert_eq!(bench.ends(1), [delivered(2)], "its requester may have more");
    assert_eq!(bench.is_given(3, 100), [began(3), executes(2)]);
    assert_eq!(bench.ends(2), [delivered(3)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    // Asked too long ago.
    bench.is_asked(1);
    bench.waits(Millis(11_000));
    assert_eq!(bench.is_given(4, 100), []);
    assert_eq!(bench.ends(0), [delivered(1), began(4), executes(3)]);
}

#[test]
fn what_has_rested_for_three_seconds_goes_on_before_what_has_not_begun() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.is_given(1, 100);
    bench.is_asked(1);
    bench.is_given(2, 100);
    bench.is_given(3, 100);
    bench.waits(Millis(1_000));
    assert_eq!(bench.ends(1), [delivered(2), began(3), executes(2)]);
    bench.is_given(4, 100);
    bench.waits(Millis(2_100));
    assert_eq!(bench.ends(2), [delivered(3), goes_on(0), began(1)]);
    assert_eq!(bench.ends(0), [delivered(1), began(4), executes(3)]);
}

#[test]
fn two_calls_of_a_requester_that_asks_for_both_take_turns() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.is_given(1, 100);
    bench.is_asked(1);
    bench.is_given(2, 100);
    assert_eq!(bench.is_asked(2), [], "the other one has not rested for long enough");
    assert_eq!(bench.waits(Millis(3_100)), [rests(1), set_aside(2), goes_on(0), began(1)]);
    assert_eq!(bench.ends(0), [delivered(1)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(1), began(2)]);
}

#[test]
fn who_cannot_set_aside_says_so_at_once() {
    let mut bench = Bench::lending(false, 1, 1024);
    bench.is_given(1, 100);
    assert_eq!(bench.is_asked(1), [began(1)]);
    assert_eq!(bench.is_given(2, 100), []);
}

#[test]
fn what_is_set_aside_has_no_more_memory_than_one_call_may_have_and_is_no_more_than_there_are_cores() {
    let mut bench = Bench::lending(true, 2, 100);
    bench.is_given(1, 80);
    bench.is_given(2, 80);
    bench.is_asked(1);
    assert!(bench.is_given(3, 80).contains(&set_aside(1)));
    assert_eq!(bench.is_asked(2), [began(2)], "too much memory");
    let mut bench = Bench::lending(true, 1, 100);
    bench.is_given(1, 10);
    bench.is_asked(1);
    bench.is_given(2, 10);
    bench.is_asked(2);
    assert_eq!(bench.is_given(3, 10), [], "one core sets one call aside");
}

#[test]
fn what_is_cancelled_while_it_rests_does_not_go_on() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.is_given(1, 100);
    bench.is_asked(1);
    bench.is_given(2, 100);
    assert_eq!(bench.hears(Message::Cancel { attempts: vec![AttemptId(1)] }), [Did::Aborts(RunId(0))]);
    assert_eq!(bench.ends(0), []);
    assert_eq!(bench.ends(1), [delivered(2)]);
}

#[test]
fn who_stood_by_for_too_long_keeps_its_core_and_holds_nothing_up() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.is_given(1, 100);
    bench.is_given(2, 100);
    bench.is_asked(1);
    bench.waits(Millis(10_100));
    bench.is_asked(2);
    assert_eq!(bench.is_given(3, 100), [rests(1), set_aside(2), began(3), executes(2)]);
    assert_eq!(bench.waits(Millis(8_000)), [], "neither of the two gives way any more");
    // Nor does one whose memory there is no room for, however long others have rested.
    let mut bench = Bench::lending(true, 3, 100);
    (1..=3).for_each(|attempt| _ = bench.is_given(attempt, [10, 60, 50][attempt as usize - 1]));
    for attempt in [1, 2] {
        bench.is_asked(attempt);
        bench.is_given(attempt + 3, 10);
    }
    bench.is_asked(3);
    assert_eq!(bench.waits(Millis(8_000)), []);
}

#[test]
fn what_a_requester_gave_up_is_for_his_own_batches() {
    const OTHER: NodeId = NodeId([3; 32]);
    let mut bench = Bench::lending(true, 1, 1024);
    bench.knows(OTHER);
    bench.is_given(1, 100);
    bench.is_asked(1);
    assert_eq!(bench.is_given_by(OTHER, 7, 100), [], "it was not asked for that");
    assert_eq!(bench.is_given(2, 100), [rests(0), set_aside(1), began(2), executes(1)]);
    assert_eq!(bench.ends(1), [delivered(2)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    assert_eq!(bench.ends(0), [delivered(1), began(7), executes(2)]);
}

#[test]
fn what_a_requester_gave_up_goes_to_others_after_a_minute_at_the_latest() {
    const OTHER: NodeId = NodeId([3; 32]);
    let mut bench = Bench::lending(true, 1, 1024);
    bench.knows(OTHER);
    bench.is_given(1, 100);
    bench.is_given_by(OTHER, 7, 100);
    let mut did = Vec::new();
    // A run of the one requester after another, while a call of his rests or goes on.
    for run in 1..60 {
        did.extend(bench.is_asked(1));
        did.extend(bench.is_given(1 + run, 100));
        did.extend(bench.waits(Millis(2_000)));
        if did.contains(&began(7)) {
            return;
        }
        did.extend(bench.ends(run));
        did.extend(bench.waits(Millis(200)));
    }
    panic!("{did:?}");
}

#[test]
fn what_is_given_again_over_a_new_connection_gives_way_no_more() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.is_given(1, 100);
    bench.is_asked(1);
    assert_eq!(bench.is_given(1, 100), [began(1)]);
    assert_eq!(bench.is_given(2, 100), [], "its requester asks again if it still wants that");
}

/// One call that nobody sees the end of.
fn endless() -> Job {
    let mut job = plan::call(1 << 40);
    job.requirements.timeout_seconds = 100;
    job
}

/// The only attempt that was given out.
fn assigned(did: &[Did]) -> u64 {
    let assigned: Vec<u64> =
        did.iter().filter_map(|did| if let Did::Assigned(attempt) = did { Some(attempt.0) } else { None }).collect();
    assert_eq!(assigned.len(), 1, "{did:?}");
    assigned[0]
}

fn say_started(bench: &mut Bench, attempt: u64) -> Vec<Did> {
    bench.hears(Message::Started { attempt: AttemptId(attempt) })
}

#[test]
fn a_node_that_does_not_set_a_call_aside_is_asked_no_more_and_the_call_begins_anew() {
    let mut bench = Bench::new(true);
    bench.submits("long", endless());
    let long = assigned(&bench.is_offered());
    say_started(&mut bench, long);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    let mut did = bench.waits(Millis(2_000));
    assert!(did.contains(&Did::Asked(AttemptId(long))), "{did:?}");
    let small = assigned(&did);
    // It goes on with the long one, and says so.
    did = say_started(&mut bench, long);
    bench.is_offered();
    did.extend(bench.waits(Millis(6_000)));
    assert!(did.contains(&Did::CalledOff(AttemptId(long))), "{did:?}");
    assert!(!did.contains(&Did::Asked(AttemptId(long))), "{did:?}");
    assert_ne!(assigned(&did), small, "what it had no core for goes out again, first");
}

#[test]
fn what_a_node_sets_aside_for_ever_begins_anew_without_a_retry() {
    let mut bench = Bench::new(true);
    let mut once = endless();
    once.policy.retries = 0;
    let (job, _) = bench.submits("long", once);
    let long = assigned(&bench.is_offered());
    say_started(&mut bench, long);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    bench.waits(Millis(2_000));
    bench.hears(Message::Resting { attempt: AttemptId(long) });
    // Twice its limit and a minute.
    let did = bench.waits(Millis(255_000));
    assert!(!did.contains(&Did::CalledOff(AttemptId(long))), "{did:?}");
    let did = bench.waits(Millis(10_000));
    assert!(did.contains(&Did::CalledOff(AttemptId(long))), "{did:?}");
    assert!(bench.node.summary(job).is_some_and(|job| job.state == JobState::Running), "it costs no retry");
}

#[test]
fn a_node_says_that_it_set_something_aside_only_when_it_was_asked_to() {
    let mut bench = Bench::new(true);
    let (job, _) = bench.submits("long", endless());
    let long = assigned(&bench.is_offered());
    say_started(&mut bench, long);
    bench.hears(Message::Resting { attempt: AttemptId(long) });
    // Its limit, and what is given for the delivery.
    let did = bench.waits(Millis(130_000));
    assert!(did.contains(&Did::CalledOff(AttemptId(long))), "{did:?}");
    assert!(bench.node.summary(job).is_some());
}
