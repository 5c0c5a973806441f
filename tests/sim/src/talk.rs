//! What the peers of a [`Bench`] say: offers, deliveries, restarts, and how they come to have something.

#![expect(clippy::unwrap_used, clippy::panic)]

use p2pnet_shared::{
    engine::{BatchReport, CallOutcome, EngineName, Prepared},
    id::{AttemptId, JobId, NodeId},
    job::{Job, Language},
    kernel::REWRITE_VERSION,
    node::{Found, Input},
    units::{Gas, Millis},
    wire::{self, Extensions, Message, Offer, Payload, Role},
};

use crate::{
    bench::{Bench, Did, OTHER, PEER},
    plan,
};

/// One call that nobody sees the end of.
pub fn endless() -> Job {
    let mut job = plan::call(1 << 40);
    job.requirements.timeout_seconds = 100;
    job
}

/// The same, with an hour for it.
pub fn for_an_hour() -> Job {
    let mut job = endless();
    job.requirements.timeout_seconds = 3_600;
    job
}

/// The only attempt that was given out.
pub fn assigned(did: &[Did]) -> u64 {
    let assigned: Vec<u64> =
        did.iter().filter_map(|did| if let Did::Assigned(attempt) = did { Some(attempt.0) } else { None }).collect();
    assert_eq!(assigned.len(), 1, "{did:?}");
    assigned[0]
}

/// A call of an owner that a peer has begun.
pub fn runs(bench: &mut Bench, owner: &str, job: Job, node: NodeId) -> (JobId, u64) {
    let (job, mut did) = bench.submits(owner, job);
    did.extend(bench.is_offered_by(node));
    let attempt = assigned(&did);
    bench.hears_from(node, Message::Started { attempt: AttemptId(attempt) });
    (job, attempt)
}

/// A peer offers cores, some of them idle; any has as much memory.
pub fn offers(bench: &mut Bench, node: NodeId, cores: u16, idle_cores: u16) -> Vec<Did> {
    let offer = Offer {
        node,
        role: Role::Client,
        agent: String::new(),
        cores,
        cpu_percent: 100,
        memory_mib: 4096,
        idle_cores,
        addresses: Vec::new(),
        made_at: bench.now,
        rewrite: REWRITE_VERSION,
        languages: [Language::Wasm].into(),
        extensions: Extensions::default(),
    };
    bench.hears_from(node, Message::Offer(offer))
}

/// A peer does all of a batch of one call.
pub fn delivers(bench: &mut Bench, node: NodeId, attempt: u64) -> Vec<Did> {
    let outcomes = vec![CallOutcome { output: Ok(vec![0; 8]), gas: Gas(1) }];
    let report = BatchReport { engine: EngineName::Wasmi, outcomes, busy_micros: 1_000, prepared: Prepared::default() };
    let report = Payload::Inline(wire::encode_report(&report).unwrap());
    bench.hears_from(node, Message::Deliver { attempt: AttemptId(attempt), report, extensions: Extensions::default() })
}

/// The only two peers have both delivered; the first one's cores are idle, the other's connection is broken.
pub fn both_proven() -> Bench {
    let mut bench = Bench::new(true);
    bench.meets(OTHER);
    let (_, small) = runs(&mut bench, "small", plan::sum(1), OTHER);
    delivers(&mut bench, OTHER, small);
    bench.feed(Input::Disconnected { node: OTHER });
    let (_, small) = runs(&mut bench, "small", plan::sum(1), PEER);
    delivers(&mut bench, PEER, small);
    bench
}

/// A peer says over the same connection that it begins a life.
pub fn begins_life(bench: &mut Bench, node: NodeId, session: u64) -> Vec<Did> {
    let hello = Message::Hello { role: Role::Client, agent: String::new(), session, extensions: Extensions::default() };
    bench.hears_from(node, hello)
}

/// The nodes that have something of a job.
pub fn has(bench: &Bench, job: JobId) -> Vec<NodeId> {
    match bench.node.job(job) {
        Some(Found::Here(status)) => {
            let out = status.attempts.iter().filter(|attempt| attempt.ended_at.is_none());
            out.map(|attempt| attempt.node).collect()
        }
        Some(Found::Kept(_)) | None => Vec::new(),
    }
}

/// A peer that offers a core, and is passed over for a while, is given something and begins it, or not.
pub fn is_given(bench: &mut Bench, begins: bool) -> u64 {
    for _ in 0..140 {
        let mut did = bench.is_offered_by(PEER);
        did.extend(bench.waits(Millis(500)));
        if did.iter().any(|did| matches!(did, Did::Assigned(_))) {
            let attempt = assigned(&did);
            if begins {
                say_started(bench, attempt);
            }
            return attempt;
        }
    }
    panic!("nothing is given to it any more");
}

/// The first peer says that it begins an attempt.
pub fn say_started(bench: &mut Bench, attempt: u64) -> Vec<Did> {
    bench.hears(Message::Started { attempt: AttemptId(attempt) })
}
