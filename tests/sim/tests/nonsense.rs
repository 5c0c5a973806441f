//! One node, and everything that a peer can say to it in every state: no panic, no circle, no growth without bound.

#![allow(clippy::unwrap_used)]

use p2pnet_shared::{
    api::{Path, ProviderSettings},
    id::{AttemptId, NodeId},
    node::{Effect, Input, Node, NodeConfig, RunId},
    units::Moment,
    wire::{self, Message, Role},
};
use p2pnet_sim::{hostile::Hostile, plan};
use proptest::prelude::*;

const ME: NodeId = NodeId([1; 32]);
const PEERS: [NodeId; 3] = [NodeId([2; 32]), NodeId([3; 32]), NodeId([4; 32])];
/// Orders that one fact may give: answers to a message about a thousand attempts, and a window of batches.
const MOST_EFFECTS: usize = 4096;

/// What happens next to the node under test.
#[derive(Clone, Debug)]
enum Step {
    Says(usize),
    Frame(usize, Vec<u8>),
    Connects(usize),
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
        4 => peer.clone().prop_map(Step::Connects),
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
}

impl Bench {
    fn new(seed: u64, role: Role) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = NodeConfig { me: ME, role, agent: "under test".to_owned(), seed: bytes };
        let now = Moment(1_790_000_000_000);
        let mut bench = Self { node: Node::new(config), hostile: Hostile::new(seed), now, given: Vec::new() };
        bench.feed(Input::SeedKnown { node: PEERS[0], addresses: Vec::new() });
        bench
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.now, input);
        let mut effects = 0;
        while let Some(effect) = self.node.poll_effect() {
            effects += 1;
            assert!(effects <= MOST_EFFECTS, "one fact gives a bounded number of orders");
            if let Effect::Send { to, message } = effect {
                assert!(PEERS.contains(&to));
                let bytes = wire::encode(&message).unwrap();
                assert_eq!(wire::decode(&bytes).unwrap(), message);
                if let Message::Assign(assignment) = &message {
                    self.given.push(assignment.attempt);
                }
                self.hostile.heard(0, &message);
            }
        }
    }

    fn take(&mut self, step: Step) {
        let jobs: Vec<_> = self.node.jobs().iter().map(|job| job.id).collect();
        match step {
            Step::Says(peer) => {
                let message = self.hostile.message(PEERS[peer], &[ME, PEERS[0], PEERS[1], PEERS[2]]);
                // What a node cannot encode, no node can hear.
                let heard = wire::encode(&message).ok().and_then(|bytes| wire::decode(&bytes).ok());
                if let Some(message) = heard {
                    self.feed(Input::Received { from: PEERS[peer], message });
                }
            }
            Step::Frame(peer, bytes) => match wire::decode(&bytes) {
                Ok(message) => self.feed(Input::Received { from: PEERS[peer], message }),
                Err(_) => self.feed(Input::Garbled { from: PEERS[peer] }),
            },
            Step::Connects(peer) => {
                self.feed(Input::Connected { node: PEERS[peer], path: Path::Direct, transport: "test" });
            }
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
                };
                self.feed(Input::Executed { run: RunId(run), report });
            }
        }
        for job in self.node.jobs() {
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
        // Whatever happened, it still works: alone, it computes nothing; asked, it answers.
        bench.take(Step::Waits(10));
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
        effects.iter().any(|effect| matches!(effect, Effect::Hang { node } if *node == PEERS[1]))
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
