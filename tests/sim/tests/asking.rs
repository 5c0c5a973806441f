//! A requester whose owners take turns on the cores of others, message by message: whom it asks to set a call aside, and what
//! it makes of the answers.

#![expect(clippy::unwrap_used)]

use p2pnet_shared::{
    api::JobStatus,
    id::{AttemptId, Hash},
    job::{AttemptState, JobState},
    node::{Found, Input},
    units::Millis,
    wire::{Extensions, Message, Payload, RefuseReason},
};
use p2pnet_sim::{
    bench::{Bench, Did, OTHER, PEER},
    plan,
    talk::{
        assigned, begins_life, both_proven, delivers, endless, for_an_hour, has, is_given, offers, runs, say_started,
    },
};

fn say_resting(bench: &mut Bench, attempt: u64) -> Vec<Did> {
    bench.hears(Message::Resting { attempt: AttemptId(attempt) })
}

fn asked(attempt: u64) -> Did {
    Did::Asked(AttemptId(attempt))
}

fn called_off(attempt: u64) -> Did {
    Did::CalledOff(AttemptId(attempt))
}

/// A call of an hour that its node has set aside for another one of an hour, which is given.
fn one_rests_for_another() -> (Bench, u64) {
    let mut bench = Bench::new(true);
    let (_, first) = runs(&mut bench, "first", for_an_hour(), PEER);
    bench.waits(Millis(2_000));
    let (_, did) = bench.submits("second", for_an_hour());
    let second = assigned(&did.into_iter().chain(bench.waits(Millis(2_000))).collect::<Vec<_>>());
    say_resting(&mut bench, first);
    say_started(&mut bench, second);
    (bench, second)
}

fn is_resting(job: &Found<JobStatus>) -> bool {
    match job {
        Found::Here(status) => status.attempts.iter().any(|attempt| attempt.state == AttemptState::Resting),
        Found::Kept(_) => false,
    }
}

#[test]
fn a_node_that_does_not_set_a_call_aside_is_asked_no_more_and_the_call_begins_anew() {
    let mut bench = Bench::new(true);
    bench.submits("long", endless());
    let long = assigned(&bench.is_offered_by(PEER));
    say_started(&mut bench, long);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    let mut did = bench.waits(Millis(2_000));
    assert!(did.contains(&asked(long)), "{did:?}");
    let small = assigned(&did);
    // It goes on with the long one, and says so.
    did = say_started(&mut bench, long);
    bench.is_offered_by(PEER);
    did.extend(bench.waits(Millis(6_000)));
    assert!(did.contains(&called_off(long)), "{did:?}");
    assert!(!did.contains(&asked(long)), "{did:?}");
    assert_ne!(assigned(&did), small, "what it had no core for goes out again, first");
}

#[test]
fn what_a_node_sets_aside_for_ever_begins_anew_without_a_retry() {
    let mut bench = Bench::new(true);
    let mut once = endless();
    once.policy.retries = 0;
    let (job, _) = bench.submits("long", once);
    let long = assigned(&bench.is_offered_by(PEER));
    say_started(&mut bench, long);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    bench.waits(Millis(2_000));
    say_resting(&mut bench, long);
    // Twice its limit and a minute at a stretch.
    let did = bench.waits(Millis(255_000));
    assert!(!did.contains(&called_off(long)), "{did:?}");
    let did = bench.waits(Millis(10_000));
    assert!(did.contains(&called_off(long)), "{did:?}");
    assert!(bench.node.summary(job).is_some_and(|job| job.state == JobState::Running), "it costs no retry");
}

#[test]
fn a_node_says_that_it_set_something_aside_only_when_it_was_asked_to() {
    let mut bench = Bench::new(true);
    let (job, _) = bench.submits("long", endless());
    let long = assigned(&bench.is_offered_by(PEER));
    say_started(&mut bench, long);
    say_resting(&mut bench, long);
    // Its limit, and what is given for the delivery.
    let did = bench.waits(Millis(130_000));
    assert!(did.contains(&called_off(long)), "{did:?}");
    assert!(bench.node.summary(job).is_some());
}

#[test]
fn a_node_whose_connection_is_broken_is_asked_for_nothing() {
    let mut bench = Bench::new(true);
    let (_, first) = runs(&mut bench, "first", for_an_hour(), PEER);
    bench.waits(Millis(1_000));
    bench.meets(OTHER);
    let (_, second) = runs(&mut bench, "second", for_an_hour(), OTHER);
    bench.waits(Millis(3_000));
    bench.feed(Input::Disconnected { node: PEER });
    bench.submits("small", plan::sum(1));
    let did = bench.waits(Millis(3_000));
    assert!(did.contains(&asked(second)) && !did.contains(&called_off(first)), "{did:?}");
}

#[test]
fn what_is_not_wanted_any_more_is_called_off_once_its_node_is_there_again() {
    let mut bench = Bench::new(true);
    let (job, attempt) = runs(&mut bench, "owner", for_an_hour(), PEER);
    bench.feed(Input::Disconnected { node: PEER });
    assert_eq!(bench.feed(Input::Cancelled { id: job }), []);
    assert_eq!(bench.meets(PEER), [called_off(attempt)]);
    bench.feed(Input::Disconnected { node: PEER });
    assert_eq!(bench.meets(PEER), [called_off(attempt)], "it may not have heard so");
    bench.waits(Millis(61_000));
    bench.feed(Input::Disconnected { node: PEER });
    assert_eq!(bench.meets(PEER), [], "it has");
    // So is what was given up since the node was away for too long.
    let (_, attempt) = runs(&mut bench, "owner", for_an_hour(), PEER);
    bench.feed(Input::Disconnected { node: PEER });
    bench.waits(Millis(15_000));
    let did = bench.meets(PEER);
    assert!(did.contains(&called_off(attempt)) && !did.contains(&Did::Assigned(AttemptId(attempt))), "{did:?}");
}

#[test]
fn what_is_called_off_shortly_before_a_break_is_noticed_is_called_off_again() {
    let mut bench = Bench::new(true);
    let (job, attempt) = runs(&mut bench, "owner", for_an_hour(), PEER);
    assert_eq!(bench.feed(Input::Cancelled { id: job }), [called_off(attempt)]);
    bench.waits(Millis(30_000));
    bench.feed(Input::Disconnected { node: PEER });
    bench.waits(Millis(100_000));
    assert_eq!(bench.meets(PEER), [called_off(attempt)]);
    // A new connection may take the place of one that nobody saw break.
    assert_eq!(bench.meets(PEER), [called_off(attempt)]);
    // Nothing is called off that its node is done with: what was delivered, or was not taken.
    bench.waits(Millis(61_000));
    let (_, attempt) = runs(&mut bench, "owner", plan::sum(1), PEER);
    delivers(&mut bench, PEER, attempt);
    let (job, attempt) = runs(&mut bench, "owner", for_an_hour(), PEER);
    bench.hears(Message::Refuse { attempt: AttemptId(attempt), reason: RefuseReason::NotLending });
    bench.feed(Input::Cancelled { id: job });
    let (job, attempt) = runs(&mut bench, "owner", for_an_hour(), PEER);
    bench.feed(Input::Cancelled { id: job });
    // It was on its way when it heard that.
    bench.hears(Message::Refuse { attempt: AttemptId(attempt), reason: RefuseReason::NotLending });
    bench.feed(Input::Disconnected { node: PEER });
    assert_eq!(bench.meets(PEER), []);
}

#[test]
fn after_a_new_connection_a_node_is_asked_once_it_has_said_how_things_stand() {
    let mut bench = Bench::new(true);
    let (job, long) = runs(&mut bench, "long", for_an_hour(), PEER);
    bench.waits(Millis(3_000));
    bench.feed(Input::Disconnected { node: PEER });
    bench.submits("small", plan::sum(1));
    let mut did = bench.meets(PEER);
    assert!(did.contains(&Did::Assigned(AttemptId(long))), "{did:?}");
    did.extend(bench.waits(Millis(3_000)));
    assert!(!did.contains(&asked(long)), "{did:?}");
    say_started(&mut bench, long);
    let did = bench.waits(Millis(500));
    assert!(did.contains(&asked(long)), "it is as willing as before: {did:?}");
    // It sets it aside, which is not heard before the connection breaks again.
    bench.feed(Input::Disconnected { node: PEER });
    bench.meets(PEER);
    say_resting(&mut bench, long);
    assert!(bench.node.job(job).is_some_and(|job| is_resting(&job)), "it was asked to");
}

#[test]
fn what_a_node_had_that_restarted_begins_anew_with_all_of_its_time_and_without_a_retry() {
    let mut bench = Bench::new(true);
    let mut once = endless();
    once.policy.retries = 0;
    let (job, first) = runs(&mut bench, "owner", once, PEER);
    bench.waits(Millis(60_000));
    bench.feed(Input::Disconnected { node: PEER });
    bench.waits(Millis(3_000));
    let mut did = bench.meets_in_life(PEER, 2);
    assert!(did.contains(&called_off(first)), "it knows nothing of how far it was: {did:?}");
    let since = did.iter().position(|did| *did == called_off(first)).unwrap();
    did.drain(..=since);
    did.extend(bench.is_offered_by(PEER));
    did.extend(bench.waits(Millis(1_000)));
    let again = assigned(&did);
    say_started(&mut bench, again);
    // Its limit of a hundred seconds.
    let did: Vec<Did> =
        (0..95).flat_map(|_| [bench.is_offered_by(PEER), bench.waits(Millis(1_000))].concat()).collect();
    assert!(!did.contains(&called_off(again)), "{did:?}");
    assert!(bench.node.summary(job).is_some_and(|job| job.state == JobState::Running));
    // In the same life it goes on with what it had.
    bench.feed(Input::Disconnected { node: PEER });
    let did = bench.meets_in_life(PEER, 2);
    assert!(did.contains(&Did::Assigned(AttemptId(again))) && !did.contains(&called_off(again)), "{did:?}");
}

/// Whoever lends leaves work waiting when the page is reloaded, and nobody has seen yet that the old one is gone.
#[test]
fn a_page_opened_again_gets_at_once_what_its_last_life_had_not_begun() {
    let mut bench = Bench::new(true);
    let (_, small) = runs(&mut bench, "small", plan::sum(1), PEER);
    delivers(&mut bench, PEER, small);
    bench.is_offered_by(PEER);
    let (_, did) = bench.submits("owner", plan::sum(1));
    let lost = assigned(&did);
    let mut did = bench.meets_in_life(PEER, 2);
    let until = did.iter().position(|did| *did == called_off(lost)).unwrap();
    did.drain(..=until);
    let again = assigned(&did);
    assert_ne!(again, lost);
    // Again, without having brought anything: it may be what makes it restart.
    let did = bench.meets_in_life(PEER, 3);
    assert_eq!(did.last(), Some(&called_off(again)), "{did:?}");
    let mut did = bench.waits(Millis(2_000));
    did.extend(bench.is_offered_by(PEER));
    assert_ne!(assigned(&did), again);
}

#[test]
fn what_a_node_loses_by_a_restart_goes_to_another_first() {
    let mut bench = both_proven();
    bench.meets(OTHER);
    offers(&mut bench, OTHER, 1, 1);
    offers(&mut bench, PEER, 8, 8);
    let (job, _) = bench.submits("owner", endless());
    assert_eq!(has(&bench, job), [PEER], "whoever has most idle cores");
    let mut had = Vec::new();
    for life in 2..10 {
        bench.waits(Millis(200));
        begins_life(&mut bench, PEER, life);
        had.extend(has(&bench, job));
    }
    assert!(!had.is_empty() && had.iter().all(|node| *node == OTHER), "{had:?}");
}

#[test]
fn a_node_that_withdraws_before_it_restarts_is_left_alone_for_as_long_as_one_that_does_not() {
    let given = |withdraws: bool| {
        let mut bench = Bench::new(true);
        runs(&mut bench, "owner", endless(), PEER);
        let mut given = 0;
        for life in 2..60 {
            if withdraws {
                bench.hears(Message::Withdraw);
            }
            begins_life(&mut bench, PEER, life);
            let mut did = bench.is_offered_by(PEER);
            did.extend(bench.waits(Millis(500)));
            given += usize::from(did.iter().any(|did| matches!(did, Did::Assigned(_))));
        }
        given
    };
    assert_eq!(given(true), given(false));
    assert!(given(true) < 10, "{}", given(true));
}

/// A page that is reloaded again and again says so, too; so the first dozen cost nothing.
#[test]
fn what_a_node_loses_by_one_restart_after_another_costs_retries_in_the_end() {
    for retries in [0, 1] {
        let mut bench = Bench::new(true);
        let mut job = endless();
        job.policy.retries = retries;
        let (job, _) = runs(&mut bench, "owner", job, PEER);
        let state = |bench: &Bench| bench.node.summary(job).map(|job| job.state);
        let mut life = 1;
        let mut restarts = |bench: &mut Bench| {
            life += 1;
            begins_life(bench, PEER, life);
        };
        for n in 0..12 + retries {
            restarts(&mut bench);
            assert_eq!(state(&bench), Some(JobState::Running), "restart {n}");
            is_given(&mut bench, false);
            restarts(&mut bench);
            assert_eq!(state(&bench), Some(JobState::Running), "it had not begun");
            is_given(&mut bench, true);
        }
        restarts(&mut bench);
        assert_eq!(state(&bench), Some(JobState::Failed));
    }
}

#[test]
fn a_core_is_given_up_where_what_waits_may_go() {
    let mut bench = both_proven();
    let (_, first) = runs(&mut bench, "owner", for_an_hour(), PEER);
    bench.waits(Millis(1_000));
    bench.meets(OTHER);
    offers(&mut bench, OTHER, 1, 0);
    let (_, did) = bench.submits("owner", for_an_hour());
    let second = assigned(&did);
    bench.hears_from(OTHER, Message::Started { attempt: AttemptId(second) });
    let (job, did) = bench.submits("other", plan::sum(1));
    assert_eq!(has(&bench, job), [PEER], "{did:?}");
    let mut did =
        bench.hears(Message::Refuse { attempt: AttemptId(assigned(&did)), reason: RefuseReason::MissingBlob });
    did.extend(bench.waits(Millis(8_000)));
    assert_eq!(has(&bench, job), [OTHER], "it failed at the first one: {did:?}");
    assert!(did.contains(&asked(second)) && !did.contains(&asked(first)), "{did:?}");
}

#[test]
fn what_its_node_does_not_begin_in_time_keeps_its_owner_from_no_other_core() {
    let mut bench = both_proven();
    let (_, long) = runs(&mut bench, "owner", for_an_hour(), PEER);
    bench.meets(OTHER);
    offers(&mut bench, OTHER, 1, 1);
    let (job, did) = bench.submits("other", for_an_hour());
    assert_eq!(has(&bench, job), [OTHER], "{did:?}");
    // Nothing is heard of it any more.
    let did = bench.waits(Millis(20_000));
    assert!(did.contains(&asked(long)), "{did:?}");
}

#[test]
fn what_is_done_and_on_its_way_begins_anew_for_nobody() {
    let mut bench = Bench::new(true);
    let (_, long) = runs(&mut bench, "long", for_an_hour(), PEER);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    let did = bench.waits(Millis(2_000));
    assert!(did.contains(&asked(long)), "{did:?}");
    // It does not give way, so that it would have to begin anew.
    say_started(&mut bench, long);
    let report = Payload::Blob { hash: Hash([7; 32]), len: 1 << 20 };
    bench.hears(Message::Deliver { attempt: AttemptId(long), report, extensions: Extensions::default() });
    let did = bench.waits(Millis(6_000));
    assert!(!did.contains(&called_off(long)), "{did:?}");
}

#[test]
fn what_is_done_and_on_its_way_is_not_asked_to_give_way_in_place_of_what_has_the_core() {
    let mut bench = Bench::new(true);
    let (_, done) = runs(&mut bench, "done", for_an_hour(), PEER);
    bench.waits(Millis(1_000));
    let (_, did) = bench.submits("long", for_an_hour());
    let long = assigned(&did.into_iter().chain(bench.waits(Millis(2_000))).collect::<Vec<_>>());
    let report = Payload::Blob { hash: Hash([7; 32]), len: 1 << 20 };
    let mut did = bench.hears(Message::Deliver { attempt: AttemptId(done), report, extensions: Extensions::default() });
    say_started(&mut bench, long);
    bench.submits("small", plan::sum(1));
    did.extend((0..6).flat_map(|_| [bench.is_offered_by(PEER), bench.waits(Millis(1_000))].concat()));
    assert!(did.contains(&asked(long)) && !did.contains(&asked(done)), "{did:?}");
}

#[test]
fn what_a_core_is_given_up_for_is_there_before_it_is() {
    let mut bench = Bench::new(true);
    let (_, long) = runs(&mut bench, "long", for_an_hour(), PEER);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    let did = bench.waits(Millis(2_000));
    let small = Did::Assigned(AttemptId(assigned(&did)));
    let at = |what: &Did| did.iter().position(|did| did == what);
    assert!(at(&small).is_some() && at(&small) < at(&asked(long)), "{did:?}");
}

#[test]
fn what_a_core_is_given_up_for_is_not_sent_twice() {
    let mut bench = Bench::new(true);
    let (_, small) = runs(&mut bench, "small", plan::sum(1), PEER);
    delivers(&mut bench, PEER, small);
    let (_, long) = runs(&mut bench, "long", for_an_hour(), PEER);
    bench.waits(Millis(2_000));
    let small = assigned(&bench.submits("small", plan::sum(1)).1);
    let did = bench.waits(Millis(2_000));
    assert!(did.contains(&asked(long)) && !did.contains(&called_off(small)), "{did:?}");
}

#[test]
fn a_core_is_given_up_for_what_rests_before_other_batches_come() {
    let (mut bench, second) = one_rests_for_another();
    bench.meets(OTHER);
    runs(&mut bench, "third", plan::sum(1 << 40), OTHER);
    let did = bench.waits(Millis(8_000));
    let before = did.iter().take_while(|did| **did != asked(second));
    assert!(did.contains(&asked(second)), "{did:?}");
    assert!(!before.into_iter().any(|did| matches!(did, Did::Assigned(_))), "{did:?}");
}

#[test]
fn calls_that_take_turns_long_enough_are_not_given_up_for_their_rests() {
    let mut bench = Bench::new(true);
    let (_, one) = runs(&mut bench, "one", endless(), PEER);
    // Its owner has something elsewhere, so that it has to wait for longer than the other.
    bench.waits(Millis(1_000));
    bench.meets(OTHER);
    runs(&mut bench, "one", for_an_hour(), OTHER);
    bench.waits(Millis(1_000));
    let (_, did) = bench.submits("other", for_an_hour());
    let did: Vec<Did> = did.into_iter().chain(bench.waits(Millis(3_000))).collect();
    assert!(did.contains(&asked(one)), "{did:?}");
    let other = assigned(&did);
    let (mut on_core, mut rests, mut ran) = (other, one, 0);
    say_resting(&mut bench, one);
    say_started(&mut bench, other);
    // Nearly its limit of a hundred seconds.
    while ran < 95_000 {
        let mut did = bench.waits(Millis(100));
        did.extend([PEER, OTHER].into_iter().flat_map(|node| bench.is_offered_by(node)));
        ran += if on_core == one { 100 } else { 0 };
        assert!(!did.contains(&called_off(one)), "given up after {ran} ms of work");
        if did.contains(&asked(on_core)) {
            say_resting(&mut bench, on_core);
            say_started(&mut bench, rests);
            std::mem::swap(&mut on_core, &mut rests);
        }
    }
}

#[test]
fn a_node_that_says_again_and_again_that_it_set_something_aside_is_listened_to_no_more() {
    let mut bench = Bench::new(true);
    let (_, long) = runs(&mut bench, "long", for_an_hour(), PEER);
    bench.waits(Millis(2_000));
    bench.submits("small", plan::sum(1));
    assert!(bench.waits(Millis(2_000)).contains(&asked(long)));
    let hung_up = (0..5_000).any(|_| say_resting(&mut bench, long).contains(&Did::HungUp(PEER)));
    assert!(hung_up);
}

#[test]
fn a_node_that_sets_aside_and_goes_on_with_nothing_is_asked_for_no_more() {
    let (mut bench, second) = one_rests_for_another();
    let did = bench.waits(Millis(6_000));
    assert!(did.contains(&asked(second)), "the first one has its turn: {did:?}");
    say_resting(&mut bench, second);
    // Neither goes on, so that there is a core as it seems.
    bench.is_offered_by(PEER);
    let (_, did) = bench.submits("third", for_an_hour());
    let third = assigned(&did.into_iter().chain(bench.waits(Millis(200))).collect::<Vec<_>>());
    say_started(&mut bench, third);
    let did = bench.waits(Millis(40_000));
    assert!(!did.contains(&asked(third)), "{did:?}");
}

#[test]
fn calls_that_take_turns_take_nothing_back_from_other_nodes() {
    let mut bench = Bench::new(true);
    let mut only_here = for_an_hour();
    only_here.requirements.memory_mib = 4096;
    let (_, first) = runs(&mut bench, "first", only_here, PEER);
    bench.waits(Millis(1_000));
    // Another node, which has delivered and so has one batch ahead.
    bench.meets(OTHER);
    let (_, small) = runs(&mut bench, "small", plan::sum(1), OTHER);
    delivers(&mut bench, OTHER, small);
    runs(&mut bench, "third", for_an_hour(), OTHER);
    let (_, mut did) = bench.submits("second", plan::sum(1 << 40));
    let ahead = assigned(&did);
    did = bench.waits(Millis(3_000));
    assert!(did.contains(&asked(first)) && did.contains(&called_off(ahead)), "{did:?}");
    let since = did.iter().skip_while(|did| **did != called_off(ahead));
    let given: Vec<u64> =
        since.filter_map(|did| if let Did::Assigned(attempt) = did { Some(attempt.0) } else { None }).collect();
    assert!(given.len() >= 2, "one for the core that is given up, and one that waits elsewhere: {did:?}");
    say_resting(&mut bench, first);
    say_started(&mut bench, given[0]);
    let did = bench.waits(Millis(6_000));
    assert!(did.contains(&asked(given[0])), "the first one has its turn: {did:?}");
    assert!(!did.contains(&called_off(given[1])), "{did:?}");
}
