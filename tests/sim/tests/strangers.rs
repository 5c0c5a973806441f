//! Names cost nothing: what strangers do with what they are given, and whom that keeps from what.

#![expect(clippy::unwrap_used, clippy::panic)]

use p2pnet_shared::{
    engine::{BatchReport, CallOutcome, EngineName, Prepared, Trap},
    id::{AttemptId, JobId, NodeId},
    job::{Job, JobState},
    node::{Found, Input},
    units::{Gas, Millis},
    wire::{self, Extensions, Message, Payload, RefuseReason},
};
use p2pnet_sim::{
    bench::{Bench, Did, OTHER, PEER},
    plan,
    talk::{assigned, begins_life, both_proven, delivers, endless, for_an_hour, has, offers, runs},
};

/// What somebody does with an attempt in place of its work.
type Does = fn(&mut Bench, NodeId, u64);

/// One name after another takes what is given, and does not do it, while another peer is `busy`.
fn strangers(bench: &mut Bench, names: std::ops::Range<u8>, does: Does, busy: bool) {
    for name in names {
        let node = NodeId([name; 32]);
        let mut did = bench.meets(node);
        if busy {
            offers(bench, OTHER, 1, 0);
        }
        did.extend(bench.is_offered_by(node));
        did.extend(bench.waits(Millis(6_000)));
        for did in did {
            if let Did::Assigned(attempt) = did {
                does(bench, node, attempt.0);
            }
        }
        bench.feed(Input::Disconnected { node });
        bench.waits(Millis(20_000));
    }
}

fn begins_and_restarts(bench: &mut Bench, node: NodeId, attempt: u64) {
    bench.hears_from(node, Message::Started { attempt: AttemptId(attempt) });
    begins_life(bench, node, 2);
}

fn says_that_it_cannot(bench: &mut Bench, node: NodeId, attempt: u64) {
    bench.hears_from(node, Message::Refuse { attempt: AttemptId(attempt), reason: RefuseReason::MissingBlob });
}

/// Names cost nothing: whoever takes on a dozen may have each take a part and bring nothing.
#[test]
fn strangers_who_bring_nothing_end_no_job_that_a_proven_node_could_do() {
    for does in [begins_and_restarts, says_that_it_cannot] as [Does; 2] {
        let mut bench = both_proven();
        bench.hears(Message::Withdraw);
        bench.meets(OTHER);
        let (_, long) = runs(&mut bench, "owner", for_an_hour(), OTHER);
        let (next, _) = bench.submits("owner", for_an_hour());
        assert_eq!(has(&bench, next), [OTHER], "it has all that it gets");
        let mut job = endless();
        job.policy.retries = 1;
        let (job, _) = bench.submits("owner", job);
        strangers(&mut bench, 10..60, does, true);
        let Some(Found::Here(status)) = bench.node.job(job) else { panic!("it is not over") };
        assert!(matches!(status.summary.state, JobState::Queued | JobState::Running), "{:?}", status.summary);
        let given = status.attempts.iter().filter(|attempt| attempt.node != OTHER).count();
        assert!((2..20).contains(&given), "then it waits for who proved to do it: {given}");
        delivers(&mut bench, OTHER, long);
        bench.waits(Millis(6_000));
        let Some(Found::Here(status)) = bench.node.job(job) else { panic!("it is not over") };
        let out = status.attempts.iter().find(|attempt| attempt.ended_at.is_none()).unwrap();
        assert_eq!(out.node, OTHER);
        delivers(&mut bench, OTHER, out.id.0);
        assert_eq!(bench.node.summary(job).map(|job| job.state), Some(JobState::Completed));
    }
}

/// One that proved once may be busy with others' work for ever; and what nobody can do has to end.
#[test]
fn a_job_that_nobody_does_ends_whoever_else_could_do_it() {
    for does in [begins_and_restarts, says_that_it_cannot] as [Does; 2] {
        let mut bench = both_proven();
        bench.hears(Message::Withdraw);
        bench.meets(OTHER);
        let mut job = endless();
        job.policy.retries = 1;
        let (job, did) = bench.submits("owner", job);
        let refuses = |bench: &mut Bench, did: Vec<Did>| {
            for did in did {
                if let Did::Assigned(attempt) = did {
                    bench.hears_from(OTHER, Message::Refuse { attempt, reason: RefuseReason::Busy });
                }
            }
            offers(bench, OTHER, 1, 1);
        };
        refuses(&mut bench, did);
        let mut names = 10..200;
        let ended = names.any(|name| {
            let did = bench.waits(Millis(10_000));
            refuses(&mut bench, did);
            strangers(&mut bench, name..name + 1, does, false);
            bench.node.summary(job).is_some_and(|job| job.state == JobState::Failed)
        });
        assert!(ended);
    }
}

#[test]
fn what_failed_on_one_node_is_not_kept_from_it_for_ever_by_another_that_does_not_take_it() {
    for reason in [RefuseReason::Busy, RefuseReason::TooDemanding] {
        let mut bench = Bench::new(true);
        let (job, attempt) = runs(&mut bench, "owner", endless(), PEER);
        bench.meets(OTHER);
        bench.is_offered_by(OTHER);
        says_that_it_cannot(&mut bench, PEER, attempt);
        let again = (0..100).any(|_| {
            let mut did = bench.waits(Millis(1_000));
            if has(&bench, job) == [OTHER] {
                bench.hears_from(OTHER, Message::Refuse { attempt: AttemptId(assigned(&did)), reason });
            }
            did.extend(bench.is_offered_by(OTHER));
            did.extend(bench.is_offered_by(PEER));
            has(&bench, job) == [PEER]
        });
        assert!(again, "{reason:?}");
    }
}

/// A peer says that a batch of one call ran out of its time.
fn runs_out(bench: &mut Bench, node: NodeId, attempt: u64) {
    let outcomes = vec![CallOutcome { output: Err(Trap::TimedOut), gas: Gas(1) }];
    let report =
        BatchReport { engine: EngineName::Wasmi, outcomes, busy_micros: 1_000_000, prepared: Prepared::default() };
    let report = Payload::Inline(wire::encode_report(&report).unwrap());
    bench.hears_from(node, Message::Deliver { attempt: AttemptId(attempt), report, extensions: Extensions::default() });
}

/// It was the call that took so long; one that says so at once eats what others could do.
#[test]
fn a_node_is_left_alone_for_no_call_that_ran_out_of_its_own_time() {
    for (ran, others_wait) in [(1_000, false), (100, true)] {
        let mut bench = Bench::new(true);
        let (_, small) = runs(&mut bench, "small", plan::sum(1), PEER);
        delivers(&mut bench, PEER, small);
        for _ in 0..6 {
            let mut job = endless();
            job.requirements.timeout_seconds = 1;
            job.policy.retries = 0;
            let (job, _) = bench.submits("owner", job);
            let given = (0..100).find_map(|_| {
                bench.is_offered_by(PEER);
                at(&bench, job, PEER).or_else(|| {
                    bench.waits(Millis(500));
                    None
                })
            });
            let attempt = given.unwrap();
            bench.hears(Message::Started { attempt: AttemptId(attempt) });
            bench.waits(Millis(ran));
            runs_out(&mut bench, PEER, attempt);
        }
        let (job, _) = bench.submits("other", plan::sum(1));
        bench.waits(Millis(1_000));
        bench.is_offered_by(PEER);
        assert_eq!(has(&bench, job).is_empty(), others_wait, "after {ran} ms each");
    }
}

/// The requester itself gave it what it is busy with.
#[test]
fn what_waits_behind_a_call_of_its_own_owner_costs_neither_retries_nor_the_name_of_its_node() {
    let mut bench = Bench::new(true);
    let (_, small) = runs(&mut bench, "owner", plan::sum(1), PEER);
    delivers(&mut bench, PEER, small);
    let (_, long) = runs(&mut bench, "owner", for_an_hour(), PEER);
    let mut job = endless();
    job.policy.retries = 0;
    let (job, _) = bench.submits("owner", job);
    let mut did = Vec::new();
    for _ in 0..100 {
        did = bench.waits(Millis(30_000));
        did.extend(offers(&mut bench, PEER, 1, 0));
        let state = bench.node.summary(job).map(|job| job.state);
        assert_eq!(state, Some(JobState::Queued), "{:?}", bench.node.summary(job));
    }
    did.extend(delivers(&mut bench, PEER, long));
    did.extend(bench.waits(Millis(500)));
    assert_eq!(has(&bench, job), [PEER], "{did:?}");
}

fn says_that_the_kernel_is_none(bench: &mut Bench, node: NodeId, attempt: u64) {
    bench.hears_from(node, Message::Refuse { attempt: AttemptId(attempt), reason: RefuseReason::InvalidKernel });
}

/// What a node has of a job now.
fn at(bench: &Bench, job: JobId, node: NodeId) -> Option<u64> {
    let Some(Found::Here(status)) = bench.node.job(job) else { return None };
    let mut out = status.attempts.iter().filter(|attempt| attempt.ended_at.is_none());
    out.find(|attempt| attempt.node == node).map(|attempt| attempt.id.0)
}

fn state(bench: &Bench, job: JobId) -> JobState {
    bench.node.summary(job).map(|job| job.state).unwrap()
}

fn is_under_way(bench: &Bench, job: JobId) -> bool {
    matches!(state(bench, job), JobState::Queued | JobState::Running)
}

/// One that is proven, alone.
fn one_proven() -> Bench {
    let mut bench = both_proven();
    bench.hears(Message::Withdraw);
    bench.meets(OTHER);
    bench
}

/// The same with all that it gets of calls of an hour, the first of which runs; this and the second.
fn one_busy() -> (Bench, u64, JobId) {
    let mut bench = one_proven();
    let (_, long) = runs(&mut bench, "owner", for_an_hour(), OTHER);
    let (next, _) = bench.submits("owner", for_an_hour());
    (bench, long, next)
}

/// It is done with all of them.
fn is_idle_again(bench: &mut Bench, (long, next): (u64, JobId)) {
    bench.feed(Input::Cancelled { id: next });
    delivers(bench, OTHER, long);
    offers(bench, OTHER, 1, 1);
    bench.waits(Millis(6_000));
}

/// A fresh name comes and does this at once with what it is given of a job, if it is given any in six seconds.
fn stranger(bench: &mut Bench, job: JobId, name: u8, does: Does, idle: u16) {
    let node = NodeId([name; 32]);
    bench.meets(node);
    for _ in 0..60 {
        offers(bench, OTHER, 1, idle);
        bench.is_offered_by(node);
        if let Some(attempt) = at(bench, job, node) {
            does(bench, node, attempt);
            break;
        }
        bench.waits(Millis(100));
    }
    bench.feed(Input::Disconnected { node });
}

/// A call of a hundred seconds that may fail three times.
fn thrice() -> Job {
    let mut job = endless();
    job.policy.retries = 3;
    job
}

#[test]
fn the_word_of_strangers_is_no_verdict_while_a_proven_node_could_say() {
    let (mut bench, long, next) = one_busy();
    let (job, _) = bench.submits("owner", thrice());
    for name in 10..13 {
        stranger(&mut bench, job, name, says_that_the_kernel_is_none, 0);
        bench.waits(Millis(6_000));
        assert!(is_under_way(&bench, job), "{:?}", bench.node.summary(job));
    }
    is_idle_again(&mut bench, (long, next));
    let attempt = at(&bench, job, OTHER).unwrap();
    says_that_the_kernel_is_none(&mut bench, OTHER, attempt);
    bench.waits(Millis(6_000));
    assert_eq!(state(&bench, job), JobState::Failed, "it has said so");
}

#[test]
fn a_proven_node_may_fail_as_often_as_the_policy_says_whatever_strangers_did_before() {
    for (does, retries) in [(begins_and_restarts as Does, 3), (says_that_it_cannot, 3), (says_that_it_cannot, 1)] {
        let (mut bench, long, next) = one_busy();
        let mut job = endless();
        job.policy.retries = retries;
        let (job, _) = bench.submits("owner", job);
        (10..24).for_each(|name| stranger(&mut bench, job, name, does, 0));
        is_idle_again(&mut bench, (long, next));
        for failures in 0..=retries {
            assert!(is_under_way(&bench, job), "{failures} of {retries}");
            let attempt = at(&bench, job, OTHER).unwrap();
            says_that_it_cannot(&mut bench, OTHER, attempt);
            bench.waits(Millis(6_000));
            offers(&mut bench, OTHER, 1, 1);
            bench.waits(Millis(1_000));
        }
        assert_eq!(state(&bench, job), JobState::Failed);
    }
}

#[test]
fn a_proven_node_that_failed_once_gets_it_again_before_strangers_end_it() {
    for does in [begins_and_restarts, says_that_it_cannot] as [Does; 2] {
        let mut bench = one_proven();
        offers(&mut bench, OTHER, 1, 1);
        let (job, did) = bench.submits("owner", thrice());
        says_that_it_cannot(&mut bench, OTHER, assigned(&did));
        let mut names = 10..60;
        let again = names.find(|name| {
            stranger(&mut bench, job, *name, does, 1);
            at(&bench, job, OTHER).is_some()
        });
        assert!(again.is_some() && is_under_way(&bench, job), "{:?}", bench.node.summary(job));
    }
}

#[test]
fn a_proven_node_that_computes_for_longer_than_expected_still_counts() {
    let mut bench = one_proven();
    let mut uneven = plan::sum(1 << 40);
    uneven.requirements.timeout_seconds = 3_600;
    let (_, first) = runs(&mut bench, "owner", uneven, OTHER);
    bench.waits(Millis(2_000));
    let second = assigned(&delivers(&mut bench, OTHER, first)[..1]);
    bench.hears_from(OTHER, Message::Started { attempt: AttemptId(second) });
    for _ in 0..20 {
        offers(&mut bench, OTHER, 1, 0);
        bench.waits(Millis(5_000));
    }
    let (job, _) = bench.submits("owner", thrice());
    (10..20).for_each(|name| stranger(&mut bench, job, name, says_that_it_cannot, 0));
    assert!(is_under_way(&bench, job), "{:?}", bench.node.summary(job));
}

#[test]
fn a_task_that_a_proven_node_loses_with_its_connection_waits_for_it_again() {
    let (mut bench, long, next) = one_busy();
    let mut job = for_an_hour();
    job.policy.retries = 1;
    let (job, _) = bench.submits("owner", job);
    (10..12).for_each(|name| stranger(&mut bench, job, name, says_that_it_cannot, 0));
    is_idle_again(&mut bench, (long, next));
    let attempt = at(&bench, job, OTHER).unwrap();
    bench.hears_from(OTHER, Message::Started { attempt: AttemptId(attempt) });
    for _ in 0..20 {
        offers(&mut bench, OTHER, 1, 0);
        bench.waits(Millis(5_000));
    }
    bench.feed(Input::Disconnected { node: OTHER });
    stranger(&mut bench, job, 77, says_that_it_cannot, 0);
    bench.waits(Millis(10_000));
    stranger(&mut bench, job, 78, says_that_it_cannot, 0);
    bench.meets(OTHER);
    offers(&mut bench, OTHER, 1, 1);
    bench.waits(Millis(6_000));
    assert!(is_under_way(&bench, job) && at(&bench, job, OTHER).is_some(), "{:?}", bench.node.summary(job));
}

/// It runs what it likes, and is proven by that.
#[test]
fn a_proven_node_keeps_nothing_for_ever_by_not_beginning_it() {
    let mut bench = one_proven();
    let large = || {
        let mut job = for_an_hour();
        job.requirements.memory_mib = 4096;
        job
    };
    offers(&mut bench, OTHER, 1, 1);
    let (_, did) = bench.submits("owner", large());
    let long = assigned(&did);
    bench.hears_from(OTHER, Message::Started { attempt: AttemptId(long) });
    let (next, _) = bench.submits("owner", large());
    let (job, _) = bench.submits("owner", thrice());
    (10..30).for_each(|name| stranger(&mut bench, job, name, begins_and_restarts, 0));
    bench.feed(Input::Cancelled { id: next });
    offers(&mut bench, OTHER, 1, 0);
    bench.waits(Millis(1_000));
    assert_eq!(has(&bench, job), [OTHER]);
    let honest = NodeId([200; 32]);
    bench.meets(honest);
    let given = (0..60).any(|_| {
        offers(&mut bench, OTHER, 1, 0);
        bench.is_offered_by(honest);
        bench.waits(Millis(1_000));
        at(&bench, job, honest).is_some()
    });
    assert!(given);
}

#[test]
fn what_failed_on_the_only_idle_node_goes_back_to_it_though_another_is_busy_for_an_hour() {
    let mut bench = one_proven();
    let busy = NodeId([9; 32]);
    bench.meets(busy);
    bench.is_offered_by(OTHER);
    offers(&mut bench, busy, 1, 1);
    let mut large = for_an_hour();
    large.requirements.memory_mib = 4096;
    let (_, did) = bench.submits("owner", large);
    bench.hears_from(busy, Message::Started { attempt: AttemptId(assigned(&did)) });
    let (job, did) = bench.submits("owner", endless());
    assert_eq!(has(&bench, job), [OTHER]);
    says_that_it_cannot(&mut bench, OTHER, assigned(&did));
    let back = (0..100).any(|_| {
        offers(&mut bench, busy, 1, 0);
        bench.is_offered_by(OTHER);
        bench.waits(Millis(1_000));
        at(&bench, job, OTHER).is_some()
    });
    assert!(back);
}

#[test]
fn what_is_too_large_to_travel_is_cut_also_where_its_node_restarted_before() {
    let mut bench = Bench::new(true);
    let (job, first) = runs(&mut bench, "owner", plan::sum(1 << 40), PEER);
    let span = |bench: &Bench| match bench.node.job(job) {
        Some(Found::Here(status)) => status.attempts.last().map(|attempt| attempt.span.len()).unwrap(),
        Some(Found::Kept(_)) | None => 0,
    };
    let (before, mut seen) = (span(&bench), vec![first]);
    bench.waits(Millis(1_000));
    begins_life(&mut bench, PEER, 2);
    for _ in 0..100 {
        bench.is_offered_by(PEER);
        if let Some(attempt) = at(&bench, job, PEER).filter(|attempt| !seen.contains(attempt)) {
            seen.push(attempt);
            bench.hears(Message::Started { attempt: AttemptId(attempt) });
            bench.hears(Message::Refuse { attempt: AttemptId(attempt), reason: RefuseReason::TooDemanding });
        }
        bench.waits(Millis(200));
    }
    let after = span(&bench);
    assert!(after < before / 4, "{before} to {after} in {} attempts", seen.len());
}

/// A job whose task waits for the busy proven node, since strangers failed it, and has done so for ten minutes.
fn one_waits_for_long() -> (Bench, JobId) {
    let (mut bench, _, _) = one_busy();
    let mut job = for_an_hour();
    job.policy.retries = 1;
    let (job, _) = bench.submits("owner", job);
    (10..12).for_each(|name| stranger(&mut bench, job, name, says_that_it_cannot, 0));
    for _ in 0..60 {
        offers(&mut bench, OTHER, 1, 0);
        bench.waits(Millis(10_000));
    }
    (bench, job)
}

#[test]
fn a_moment_in_which_the_proven_node_is_away_lets_no_stranger_in() {
    let (mut bench, job) = one_waits_for_long();
    bench.feed(Input::Disconnected { node: OTHER });
    stranger(&mut bench, job, 77, says_that_it_cannot, 0);
    bench.meets(OTHER);
    offers(&mut bench, OTHER, 1, 0);
    bench.waits(Millis(1_000));
    assert!(is_under_way(&bench, job), "{:?}", bench.node.summary(job));
}

#[test]
fn a_proven_node_that_says_nothing_in_time_fails_as_a_proven_one() {
    let (mut bench, long, next) = one_busy();
    let mut job = endless();
    job.policy.retries = 2;
    let (job, _) = bench.submits("owner", job);
    (10..13).for_each(|name| stranger(&mut bench, job, name, says_that_it_cannot, 0));
    is_idle_again(&mut bench, (long, next));
    for failures in 0..3 {
        let given = (0..100).any(|_| {
            offers(&mut bench, OTHER, 1, 1);
            bench.waits(Millis(1_000));
            at(&bench, job, OTHER).is_some()
        });
        assert!(given, "after {failures}: {:?}", bench.node.summary(job));
        let attempt = at(&bench, job, OTHER).unwrap();
        bench.hears_from(OTHER, Message::Started { attempt: AttemptId(attempt) });
        for _ in 0..12 {
            offers(&mut bench, OTHER, 1, 0);
            bench.waits(Millis(10_000));
        }
    }
    assert_eq!(state(&bench, job), JobState::Failed, "it had its tries");
}

#[test]
fn a_stranger_confirms_what_a_proven_node_said() {
    let mut bench = one_proven();
    offers(&mut bench, OTHER, 1, 1);
    let (job, did) = bench.submits("owner", thrice());
    let stranger = NodeId([9; 32]);
    bench.meets(stranger);
    bench.is_offered_by(stranger);
    says_that_the_kernel_is_none(&mut bench, OTHER, assigned(&did));
    bench.waits(Millis(200));
    let attempt = at(&bench, job, stranger).unwrap();
    says_that_the_kernel_is_none(&mut bench, stranger, attempt);
    assert_eq!(state(&bench, job), JobState::Failed, "both said so");
}

#[test]
fn what_failed_on_the_idle_proven_node_goes_back_to_it_though_another_proven_one_works() {
    let mut bench = both_proven();
    bench.meets(OTHER);
    bench.is_offered_by(OTHER);
    offers(&mut bench, PEER, 1, 1);
    let mut large = for_an_hour();
    large.requirements.memory_mib = 4096;
    let (long, did) = bench.submits("owner", large);
    assert_eq!(has(&bench, long), [PEER]);
    bench.hears_from(PEER, Message::Started { attempt: AttemptId(assigned(&did)) });
    let mut more = for_an_hour();
    more.requirements.memory_mib = 4096;
    bench.submits("owner", more);
    let (job, did) = bench.submits("owner", thrice());
    assert_eq!(has(&bench, job), [OTHER]);
    says_that_it_cannot(&mut bench, OTHER, assigned(&did));
    let back = (0..100).any(|_| {
        offers(&mut bench, PEER, 1, 0);
        bench.is_offered_by(OTHER);
        bench.waits(Millis(1_000));
        at(&bench, job, OTHER).is_some()
    });
    assert!(back);
}
