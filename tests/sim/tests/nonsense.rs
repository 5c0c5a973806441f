//! One node, and everything that a peer can say to it in every state: no panic, no circle, no growth without bound.

#![expect(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use p2pnet_shared::{
    api::{Path, ProviderSettings},
    engine::Batch,
    id::{AttemptId, JobId, NodeId},
    job::{JobState, Language, Requirements},
    kernel::REWRITE_VERSION,
    node::{Effect, HostOrder, Input, Keep, Listing, NetworkOrder, Node, NodeConfig, RunId},
    store::{Change, StoreKey},
    units::Moment,
    wire::{self, Extensions, Message, Role, Version},
};
use p2pnet_sim::{
    executor::{self, Executor},
    hostile::Hostile,
    plan,
};
use proptest::prelude::*;

const ME: NodeId = NodeId([1; 32]);
const HONEST: NodeId = NodeId([9; 32]);
const PEERS: [NodeId; 3] = [NodeId([2; 32]), NodeId([3; 32]), NodeId([4; 32])];
/// Orders that one fact may give: answers to a message about a thousand attempts, and a window of batches.
const MOST_EFFECTS: usize = 4096;

/// What happens next to the node under test.
#[derive(Clone, Debug)]
enum Step {
    Says(usize),
    Frame(usize, Vec<u8>),
    Connects(usize, bool),
    Leaves(usize),
    DialFails(usize),
    Waits(u64),
    Submits(u64),
    Cancels(usize),
    Removes(usize),
    Lends(bool, u16),
    Finishes(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peer = 0..PEERS.len();
    let step = prop_oneof![
        12 => peer.clone().prop_map(Step::Says),
        2 => (peer.clone(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(peer, bytes)| Step::Frame(peer, bytes)),
        4 => (peer.clone(), prop::bool::weighted(0.9)).prop_map(|(peer, polite)| Step::Connects(peer, polite)),
        1 => peer.clone().prop_map(Step::Leaves),
        1 => peer.prop_map(Step::DialFails),
        3 => (0u64..40_000).prop_map(Step::Waits),
        1 => (1u64..100_000).prop_map(Step::Submits),
        1 => (0usize..4).prop_map(Step::Cancels),
        1 => (0usize..4).prop_map(Step::Removes),
        1 => (any::<bool>(), 0u16..2000).prop_map(|(lending, cores)| Step::Lends(lending, cores)),
        3 => (0u64..20).prop_map(Step::Finishes),
    ];
    prop::collection::vec(step, 1..120)
}

struct Bench {
    node: Node,
    hostile: Hostile,
    now: Moment,
    /// Attempts that the node gave to peers: lies are told with their names.
    given: Vec<AttemptId>,
    /// What the node said to the one honest peer.
    told: Vec<Message>,
    /// Batches that the node gave to its executor and has not heard of again.
    running: VecDeque<(RunId, Arc<[u8]>, Batch)>,
    /// What the node ordered to keep.
    store: BTreeMap<StoreKey, Vec<u8>>,
}

impl Bench {
    fn new(seed: u64, role: Role) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = NodeConfig {
            me: ME,
            role,
            agent: "under test".to_owned(),
            seed: bytes,
            keep: Keep::default(),
            can_rest: true,
            rewrite: REWRITE_VERSION,
        };
        let now = Moment(1_790_000_000_000);
        let mut bench = Self {
            node: Node::new(config),
            hostile: Hostile::new(seed),
            now,
            given: Vec::new(),
            told: Vec::new(),
            running: VecDeque::new(),
            store: BTreeMap::new(),
        };
        bench.feed(Input::SeedKnown { node: PEERS[0], addresses: Vec::new() });
        bench
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.now, input);
        assert_eq!(self.node.audit(), Ok(()));
        let mut effects = 0;
        let (mut hung, mut merges, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(effect) = self.node.poll_effect() {
            effects += 1;
            assert!(effects <= MOST_EFFECTS, "one fact gives a bounded number of orders");
            if let Effect::Network(NetworkOrder::Send { to, message }) = effect {
                assert!(PEERS.contains(&to) || to == HONEST);
                let bytes = wire::encode(Version::NEWEST, &message).unwrap();
                assert_eq!(wire::decode(Version::NEWEST, &bytes).unwrap(), message);
                if let Message::Assign(assignment) = &message {
                    self.given.push(assignment.attempt);
                }
                self.hostile.heard(0, &message);
                if to == HONEST {
                    self.told.push(message);
                }
            } else if let Effect::Host(HostOrder::Execute { run, kernel, batch, .. }) = effect {
                self.running.push_back((run, kernel, batch));
            } else if let Effect::Host(HostOrder::Merge { job, merge }) = effect {
                merges.push((job, merge));
            } else if let Effect::Host(HostOrder::Change(changes)) = effect {
                self.change(changes);
            } else if let Effect::Host(HostOrder::Keep { token, changes }) = effect {
                self.change(changes);
                kept.push(token);
            } else if let Effect::Network(NetworkOrder::Hang { node, .. }) = effect {
                hung.push(node);
            }
        }
        // As every host does: the connection ends a little later.
        for node in hung {
            self.feed(Input::Disconnected { node });
        }
        for (job, merge) in merges {
            self.feed(Input::Merged { job, merged: merge.run() });
        }
        for token in kept {
            self.feed(Input::Kept { token });
        }
    }

    fn change(&mut self, changes: Vec<Change>) {
        for (key, record) in changes {
            match record {
                Some(record) => _ = self.store.insert(key, record),
                None => _ = self.store.remove(&key),
            }
        }
    }

    /// Connects a peer; most say who they are.
    fn connect(&mut self, peer: usize, polite: bool) {
        self.feed(Input::Connected { node: PEERS[peer], path: Path::Direct, transport: "test" });
        if polite {
            let message = self.hostile.hello();
            self.feed(Input::Received { from: PEERS[peer], message });
        }
    }

    /// Whatever happened, the node answers one who asks properly, and computes its own job to the right end.
    fn still_works(&mut self) {
        for peer in PEERS {
            self.feed(Input::Disconnected { node: peer });
        }
        let jobs: Vec<JobId> = self.node.jobs(&Listing::everything()).unwrap().iter().map(|job| job.id).collect();
        for id in jobs {
            self.feed(Input::Cancelled { id });
        }
        while let Some((run, ..)) = self.running.pop_front() {
            self.feed(Input::Executed { run, report: executor::cancelled() });
        }
        self.take(Step::Waits(120_000));
        self.feed(Input::Connected { node: HONEST, path: Path::Direct, transport: "test" });
        let message = self.hostile.hello();
        self.feed(Input::Received { from: HONEST, message });
        let find =
            Message::Find { query: 5, requirements: Requirements::default(), limit: 8, rewrite: REWRITE_VERSION };
        self.feed(Input::Received { from: HONEST, message: find });
        assert!(self.told.iter().any(|message| matches!(message, Message::Found { query: 5, .. })));

        self.take(Step::Lends(true, 2));
        let id = self.node.next_job_id();
        self.feed(Input::Submitted { id, job: Box::new(plan::sum(100_000)) });
        let mut executor = Executor::default();
        for _ in 0..1000 {
            while let Some((run, kernel, batch)) = self.running.pop_front() {
                let report = executor.run(&kernel, &batch, 1_000);
                self.feed(Input::Executed { run, report });
            }
            if self.node.summary(id).is_some_and(|job| job.state.is_final()) {
                break;
            }
            self.take(Step::Waits(100));
        }
        assert_eq!(self.node.summary(id).map(|job| job.state), Some(JobState::Completed));
        let kept = &self.store[&self.node.result(id).unwrap()];
        assert_eq!(kept, plan::expected_sum(100_000).as_bytes());
    }

    fn take(&mut self, step: Step) {
        let jobs: Vec<_> = self.node.jobs(&Listing::everything()).unwrap().iter().map(|job| job.id).collect();
        match step {
            Step::Says(peer) => {
                let message = self.hostile.message(PEERS[peer], &[ME, PEERS[0], PEERS[1], PEERS[2]]);
                // What a node cannot encode, no node can hear.
                let heard = wire::encode(Version::NEWEST, &message)
                    .and_then(|bytes| wire::decode(Version::NEWEST, &bytes))
                    .ok();
                if let Some(message) = heard {
                    self.feed(Input::Received { from: PEERS[peer], message });
                }
            }
            Step::Frame(peer, bytes) => match wire::decode(Version::NEWEST, &bytes) {
                Ok(message) => self.feed(Input::Received { from: PEERS[peer], message }),
                Err(_) => self.feed(Input::Garbled { from: PEERS[peer] }),
            },
            Step::Connects(peer, polite) => self.connect(peer, polite),
            Step::Leaves(peer) => self.feed(Input::Disconnected { node: PEERS[peer] }),
            Step::DialFails(peer) => self.feed(Input::DialFailed { node: PEERS[peer] }),
            Step::Waits(millis) => {
                self.now = Moment(self.now.0 + millis);
                self.feed(Input::Tick);
                let next = self.node.next_deadline();
                assert!(next.is_none_or(|next| next > self.now), "a tick leaves nothing that is due");
            }
            Step::Submits(units) => {
                let id = self.node.next_job_id();
                let job = if units % 2 == 0 { plan::sum(units) } else { plan::squares(units, 0) };
                self.feed(Input::Submitted { id, job: Box::new(job) });
            }
            Step::Cancels(place) => {
                if let Some(id) = jobs.get(place) {
                    self.feed(Input::Cancelled { id: *id });
                }
            }
            Step::Removes(place) => {
                if let Some(id) = jobs.get(place) {
                    self.feed(Input::Removed { id: *id });
                }
            }
            Step::Lends(lending, cores) => {
                self.feed(Input::Settings(ProviderSettings { lending, cores, ..ProviderSettings::default() }));
            }
            Step::Finishes(run) => {
                let report = p2pnet_shared::engine::BatchReport {
                    engine: p2pnet_shared::engine::EngineName::Wasmi,
                    outcomes: Vec::new(),
                    busy_micros: u64::MAX,
                    prepared: p2pnet_shared::engine::Prepared {
                        instances: u64::MAX,
                        gas: p2pnet_shared::units::Gas(u64::MAX),
                    },
                };
                self.feed(Input::Executed { run: RunId(run), report });
            }
        }
        for job in self.node.jobs(&Listing::everything()).unwrap() {
            let progress = job.progress;
            assert!(progress.units_done <= progress.units_total && progress.percent <= 100);
            assert!(progress.units_running <= progress.units_total);
        }
        let network = self.node.network();
        assert!(network.nodes.len() <= 1000);
        assert!(network.provider.running.len() <= 1000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_peer_can_break_a_node(seed in any::<u64>(), is_seed in any::<bool>(), steps in steps()) {
        let mut bench = Bench::new(seed, if is_seed { Role::Seed } else { Role::Client });
        for step in steps {
            bench.take(step);
        }
        bench.still_works();
    }
}

#[test]
fn a_peer_that_only_talks_nonsense_is_hung_up_on_and_stays_out_for_a_while() {
    let mut bench = Bench::new(1, Role::Public);
    let connect = || Input::Connected { node: PEERS[1], path: Path::Direct, transport: "test" };
    bench.feed(connect());
    let hangs = |bench: &mut Bench, input| {
        bench.node.handle(bench.now, input);
        let effects: Vec<Effect> = std::iter::from_fn(|| bench.node.poll_effect()).collect();
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Network(NetworkOrder::Hang { node, .. }) if *node == PEERS[1]))
    };
    let garbled = (0..20).position(|_| hangs(&mut bench, Input::Garbled { from: PEERS[1] }));
    assert_eq!(garbled, Some(5));
    bench.feed(Input::Disconnected { node: PEERS[1] });
    assert!(hangs(&mut bench, connect()), "it comes back too soon");
    bench.feed(Input::Disconnected { node: PEERS[1] });
    bench.now = Moment(bench.now.0 + 61_000);
    assert!(!hangs(&mut bench, connect()), "and may try again later");
    // One slip in a while is forgiven.
    for _ in 0..50 {
        bench.now = Moment(bench.now.0 + 25_000);
        assert!(!hangs(&mut bench, Input::Garbled { from: PEERS[1] }));
    }
}

/// What a peer says, again and again, until the node has had enough; how often that was.
fn until_hung_up(peer: usize, polite: bool, mut say: impl FnMut(u64) -> Message) -> Option<usize> {
    let mut bench = Bench::new(3, Role::Seed);
    bench.connect(peer, polite);
    (0..20_000).position(|number| {
        bench.now = Moment(bench.now.0 + u64::from(number % 20 == 0)); // 20 messages a millisecond
        bench.node.handle(bench.now, Input::Received { from: PEERS[peer], message: say(number) });
        std::iter::from_fn(|| bench.node.poll_effect())
            .any(|effect| matches!(effect, Effect::Network(NetworkOrder::Hang { .. })))
    })
}

#[test]
fn a_peer_that_speaks_before_it_says_who_it_is_is_hung_up_on() {
    let find = Message::Find { query: 1, requirements: Requirements::default(), limit: 1, rewrite: REWRITE_VERSION };
    for message in [find, Message::Withdraw, Message::Cancel { attempts: Vec::new() }] {
        assert_eq!(until_hung_up(1, false, |_| message.clone()), Some(0), "{message:?}");
    }
    // And one that does it again is not taken back for a while.
    let mut bench = Bench::new(3, Role::Seed);
    for _ in 0..2 {
        bench.connect(1, false);
        bench.feed(Input::Received { from: PEERS[1], message: Message::Withdraw });
        assert!(bench.node.network().nodes.is_empty(), "it was hung up on");
    }
    bench.connect(1, false);
    assert!(bench.node.network().nodes.is_empty(), "it comes back too soon");
}

#[test]
fn whatever_a_peer_repeats_for_nothing_it_is_hung_up_on_in_the_end() {
    let mut hostile = Hostile::new(1);
    let hello = hostile.hello();
    let hash = p2pnet_shared::id::Hash([7; 32]);
    let offer = p2pnet_shared::wire::Offer {
        node: PEERS[1],
        role: Role::Client,
        agent: "again".to_owned(),
        cores: 4,
        cpu_percent: 100,
        memory_mib: 512,
        idle_cores: 4,
        addresses: Vec::new(),
        made_at: Moment(0),
        rewrite: REWRITE_VERSION,
        languages: [Language::Wasm].into(),
        extensions: Extensions::default(),
    };
    let find = Message::Find { query: 1, requirements: Requirements::default(), limit: 0, rewrite: REWRITE_VERSION };
    let floods: [(&str, Message); 14] = [
        ("Hello", hello),
        ("Offer", Message::Offer(offer)),
        ("Withdraw", Message::Withdraw),
        ("Find", find),
        ("Found", Message::Found { query: 9, offers: Vec::new(), known: 0, others: 0 }),
        ("Refuse", Message::Refuse { attempt: AttemptId(5), reason: p2pnet_shared::wire::RefuseReason::Busy }),
        ("Started", Message::Started { attempt: AttemptId(5) }),
        ("GiveWay", Message::GiveWay { attempt: AttemptId(5) }),
        ("Resting", Message::Resting { attempt: AttemptId(5) }),
        ("Settle", Message::Settle { attempt: AttemptId(5) }),
        ("Cancel", Message::Cancel { attempts: vec![AttemptId(5); 100] }),
        ("Want", Message::Want { hash, offset: 0 }),
        ("Chunk", Message::Chunk { hash, offset: 0, total: 1, bytes: vec![1] }),
        ("Unknown", Message::Unknown { hash }),
    ];
    for (name, message) in floods {
        let after = until_hung_up(1, true, |_| message.clone());
        assert!(after.is_some_and(|after| after < 10_000), "{name}: {after:?}");
    }
    // An honest node that offers, asks and reports as often as any does is never hung up on.
    let mut bench = Bench::new(4, Role::Seed);
    bench.connect(2, true);
    for round in 0..600 {
        bench.now = Moment(bench.now.0 + 500);
        let find =
            Message::Find { query: round, requirements: Requirements::default(), limit: 64, rewrite: REWRITE_VERSION };
        bench.feed(Input::Received { from: PEERS[2], message: find });
        for attempt in 0..200 {
            bench.feed(Input::Received { from: PEERS[2], message: Message::Settle { attempt: AttemptId(attempt) } });
        }
    }
    assert_eq!(bench.node.network().nodes.len(), 1, "it is still connected");
}
