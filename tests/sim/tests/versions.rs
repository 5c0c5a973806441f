//! Nodes of different rewrites of kernels: they meet and broker for each other, and give each other no work, since their gas
//! might differ. And what a node says that this build does not know is carried on.

#![expect(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

use p2pnet_shared::{
    api::{Path, SeedVersion},
    engine::{BatchReport, CallOutcome, EngineName, Prepared},
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Language, Priority, Requirements, WaitReason},
    kernel::REWRITE_VERSION,
    node::{Effect, Found, Input, NetworkOrder, Node},
    units::{Gas, Millis, Moment},
    wire::{
        Assignment, Extension, Extensions, Message, Offer, Payload, RefuseReason, Role, Version, encode_calls,
        encode_report,
    },
};
use p2pnet_sim::{
    bench::{Bench, Did, OTHER, PEER},
    plan,
    talk::{assigned, runs},
};

const LATER: u16 = REWRITE_VERSION + 1;

fn extended() -> Extensions {
    Extensions::new(vec![Extension { key: 9, value: b"later".to_vec() }]).unwrap()
}

fn offer(node: NodeId, rewrite: u16) -> Offer {
    Offer {
        node,
        role: Role::Client,
        agent: String::new(),
        cores: 1,
        cpu_percent: 100,
        memory_mib: 4096,
        idle_cores: 1,
        addresses: Vec::new(),
        made_at: Moment(0),
        rewrite,
        languages: [Language::Wasm].into(),
        extensions: extended(),
    }
}

/// What a node says when it is told something.
fn says(bench: &mut Bench, from: NodeId, message: Message) -> Vec<(NodeId, Message)> {
    bench.node.handle(bench.now, Input::Received { from, message });
    sent(&mut bench.node)
}

fn sent(node: &mut Node) -> Vec<(NodeId, Message)> {
    std::iter::from_fn(|| node.poll_effect())
        .filter_map(|effect| match effect {
            Effect::Network(NetworkOrder::Send { to, message }) => Some((to, message)),
            _ => None,
        })
        .collect()
}

fn waits(bench: &Bench, job: JobId) -> Option<WaitReason> {
    match bench.node.job(job) {
        Some(Found::Here(status)) => status.summary.waiting,
        Some(Found::Kept(_)) | None => panic!("the job is over"),
    }
}

#[test]
fn work_goes_to_nodes_of_ones_own_rewrite_alone() {
    let mut bench = Bench::new(true);
    bench.meets(OTHER);
    let (_, did) = bench.submits("owner", plan::sum(100_000));
    assert!(did.is_empty());
    let did = bench.hears(Message::Offer(offer(PEER, LATER)));
    assert!(!did.iter().any(|did| matches!(did, Did::Assigned(_))), "{did:?}");
    let did = bench.hears_from(OTHER, Message::Offer(offer(OTHER, REWRITE_VERSION)));
    assigned(&did);
    // One that was brought up to date is no candidate any more, and is one again when it is put back.
    bench.hears_from(OTHER, Message::Offer(offer(OTHER, LATER)));
    let (_, did) = bench.submits("owner", plan::sum(100_000));
    assert!(!did.iter().any(|did| matches!(did, Did::Assigned(_))), "{did:?}");
}

#[test]
fn a_provider_refuses_what_is_to_run_by_another_rewrite() {
    let mut bench = Bench::lending(true, 1, 4096);
    let assignment = |attempt, rewrite| Assignment {
        attempt: AttemptId(attempt),
        job: JobId([3; 16]),
        language: Language::Wasm,
        kernel: Hash([4; 32]),
        common: None,
        priority: Priority::Normal,
        limits: p2pnet_shared::engine::Limits::default(),
        calls: Payload::Inline(encode_calls(&[vec![1]]).unwrap()),
        rewrite,
        extensions: extended(),
    };
    let refused = says(&mut bench, PEER, Message::Assign(assignment(1, LATER)));
    let refusal = Message::Refuse { attempt: AttemptId(1), reason: RefuseReason::OtherRewrite };
    assert!(refused.contains(&(PEER, refusal)), "{refused:?}");
    let taken = says(&mut bench, PEER, Message::Assign(assignment(2, REWRITE_VERSION)));
    assert!(taken.iter().any(|(_, message)| matches!(message, Message::Want { .. })), "{taken:?}");
}

#[test]
fn what_a_delivery_says_beyond_what_is_known_changes_nothing_of_it() {
    let mut bench = Bench::new(true);
    let (job, attempt) = runs(&mut bench, "owner", plan::sum(1), PEER);
    let outcomes = vec![CallOutcome { output: Ok(vec![0; 8]), gas: Gas(1) }];
    let report = BatchReport { engine: EngineName::Wasmi, outcomes, busy_micros: 1, prepared: Prepared::default() };
    let report = Payload::Inline(encode_report(&report).unwrap());
    bench.hears(Message::Deliver { attempt: AttemptId(attempt), report, extensions: extended() });
    assert_eq!(bench.node.is_over(job), Some(true));
}

#[test]
fn a_broker_hands_out_offers_of_the_askers_rewrite_with_what_it_does_not_know_itself_and_counts_the_others() {
    let mut bench = Bench::new(true);
    let nodes: Vec<NodeId> = (10..14).map(|name| NodeId([name; 32])).collect();
    for (node, rewrite) in nodes.iter().zip([LATER, LATER, LATER, REWRITE_VERSION]) {
        bench.meets(*node);
        bench.hears_from(*node, Message::Offer(offer(*node, rewrite)));
    }
    let find = |query, rewrite| Message::Find { query, requirements: Requirements::default(), limit: 64, rewrite };
    let found = |said: Vec<(NodeId, Message)>| match said.into_iter().find(|(to, _)| *to == PEER) {
        Some((_, Message::Found { query, mut offers, known, others })) => {
            offers.sort_by_key(|offer| offer.node);
            (query, offers, known, others)
        }
        other => panic!("{other:?}"),
    };
    let later = nodes[..3].iter().map(|node| offer(*node, LATER)).collect();
    assert_eq!(found(says(&mut bench, PEER, find(1, LATER))), (1, later, 3, 1));
    bench.waits(Millis(1_000));
    let own = vec![offer(nodes[3], REWRITE_VERSION)];
    assert_eq!(found(says(&mut bench, PEER, find(2, REWRITE_VERSION))), (2, own, 1, 3));
    // Who asked hears when the last one of its rewrite goes, though others stay.
    bench.node.handle(bench.now, Input::Disconnected { node: nodes[3] });
    bench.now = bench.now + Millis(1_000);
    bench.node.handle(bench.now, Input::Tick);
    assert_eq!(found(sent(&mut bench.node)), (2, Vec::new(), 0, 3));
}

#[test]
fn a_job_that_waits_for_nodes_of_its_version_says_so() {
    let mut bench = Bench::new(true);
    bench.node.handle(bench.now, Input::SeedKnown { node: PEER, addresses: vec!["/ip4/192.0.2.1/tcp/1".to_owned()] });
    sent(&mut bench.node);
    let id = bench.node.next_job_id();
    bench.node.handle(bench.now, Input::Submitted { id, job: Box::new(plan::sum(1_000)) });
    let query = sent(&mut bench.node)
        .into_iter()
        .find_map(|(_, message)| match message {
            Message::Find { query, rewrite, .. } => {
                assert_eq!(rewrite, REWRITE_VERSION);
                Some(query)
            }
            _ => None,
        })
        .unwrap();
    bench.hears(Message::Found { query, offers: Vec::new(), known: 0, others: 4 });
    assert_eq!(waits(&bench, id), Some(WaitReason::OtherVersions { nodes: 4 }));
    bench.hears(Message::Found { query, offers: Vec::new(), known: 0, others: 0 });
    assert_eq!(waits(&bench, id), Some(WaitReason::NoProviders));
}

#[test]
fn a_seed_of_another_version_is_told_and_dialled_seldom_until_it_understands() {
    let seed = NodeId([9; 32]);
    let mut bench = Bench::new(true);
    let addresses = vec!["/ip4/192.0.2.1/tcp/1".to_owned()];
    bench.node.handle(bench.now, Input::SeedKnown { node: seed, addresses });
    let dials = |bench: &mut Bench, seconds: u64| {
        let mut count = 0;
        for _ in 0..seconds * 10 {
            bench.now = bench.now + Millis(100);
            bench.node.handle(bench.now, Input::Tick);
            while let Some(effect) = bench.node.poll_effect() {
                if matches!(effect, Effect::Network(NetworkOrder::Dial { node, .. }) if node == seed) {
                    count += 1;
                    bench.node.handle(bench.now, Input::OtherVersion { node: seed, newest: Some(99) });
                    bench.node.handle(bench.now, Input::DialFailed { node: seed });
                }
            }
        }
        count
    };
    assert_eq!(bench.node.network().seed_version, None);
    let count = dials(&mut bench, 300);
    assert!((4..=8).contains(&count), "{count} dials in five minutes");
    assert_eq!(bench.node.network().seed_version, Some(SeedVersion::Newer));
    let older = Some(Version::NEWEST.number() - 1);
    bench.node.handle(bench.now, Input::OtherVersion { node: seed, newest: older });
    assert_eq!(bench.node.network().seed_version, Some(SeedVersion::Older));

    bench.node.handle(bench.now, Input::Connected { node: seed, path: Path::Direct, transport: "test" });
    let hello = Message::Hello { role: Role::Seed, agent: String::new(), session: 1, extensions: extended() };
    bench.hears_from(seed, hello);
    assert_eq!(bench.node.network().seed_version, None);
    bench.node.handle(bench.now, Input::Disconnected { node: seed });
    assert_eq!(bench.node.network().seed_version, None, "it understood");
}
