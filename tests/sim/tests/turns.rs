//! Calls that take turns on the cores of a provider, message by message: what it sets aside, what goes on, and for whom a
//! core that comes free is.

#![expect(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    api::ProviderSettings,
    id::{AttemptId, NodeId},
    node::{Input, RunId},
    units::Millis,
    wire::Message,
};
use p2pnet_sim::{
    bench::{Bench, Did, OTHER, PEER},
    chance::Chance,
};

const THIRD: NodeId = NodeId([4; 32]);

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

/// On the only core of a node that somebody else has met, the first call was set aside for a second one.
fn one_aside_on_one_core() -> Bench {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.meets(OTHER);
    bench.is_given(1, 100);
    bench.is_asked(1);
    bench.is_given(2, 100);
    bench
}

/// The same on one of two cores, while the other is somebody else's.
fn one_aside_on_one_of_two_cores() -> Bench {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    bench.is_given(1, 100);
    bench.is_given_by(OTHER, 5, 100);
    bench.is_asked(1);
    bench.is_given(2, 100);
    bench
}

/// On two of three cores, the first two calls were set aside for the fourth and the fifth; the third has its own.
fn two_aside_on_three_cores() -> Bench {
    let mut bench = Bench::lending(true, 3, 1024);
    (1..=3).for_each(|attempt| _ = bench.is_given(attempt, 100));
    for attempt in [1, 2] {
        bench.is_asked(attempt);
        bench.is_given(attempt + 3, 100);
    }
    bench
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
    let mut bench = Bench::lending(true, 1, 1024);
    bench.meets(OTHER);
    bench.is_given(1, 100);
    bench.is_asked(1);
    assert_eq!(bench.is_given_by(OTHER, 7, 100), [], "it was not asked for that");
    assert_eq!(bench.is_given(2, 100), [rests(0), set_aside(1), began(2), executes(1)]);
    assert_eq!(bench.ends(1), [delivered(2)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    assert_eq!(bench.ends(0), [delivered(1), began(7), executes(2)]);
}

#[test]
fn what_a_requester_gave_up_goes_to_others_after_a_minute() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.meets(OTHER);
    bench.is_given(1, 100);
    bench.is_given_by(OTHER, 700, 100);
    let (begin, mut did) = (bench.now, Vec::new());
    // A run of the one requester after another, while a call of his rests or goes on.
    for run in 1..60 {
        did.extend(bench.is_asked(1));
        did.extend(bench.is_given(1 + run, 100));
        did.extend(bench.waits(Millis(2_000)));
        if did.contains(&began(700)) {
            assert!(bench.now >= begin + Millis(60_000), "{did:?}");
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

#[test]
fn the_minute_counts_from_when_the_core_was_given_up_and_another_waits_for_it() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.meets(OTHER);
    bench.is_given(1, 100);
    bench.is_given_by(OTHER, 7, 100);
    bench.waits(Millis(61_000));
    bench.is_asked(1);
    assert_eq!(bench.is_given(2, 100), [rests(0), set_aside(1), began(2), executes(1)]);
    bench.waits(Millis(1_000));
    assert_eq!(bench.ends(1), [delivered(2)], "given up a second ago");
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    let mut bench = one_aside_on_one_core();
    bench.waits(Millis(61_000));
    bench.is_given_by(OTHER, 7, 100);
    bench.is_given(3, 100);
    assert_eq!(bench.ends(1), [delivered(2), goes_on(0), began(1)], "nobody has waited for long");
}

#[test]
fn a_call_whose_core_went_to_another_requester_goes_on_before_that_one_has_a_second_turn() {
    let mut bench = one_aside_on_one_core();
    bench.is_given_by(OTHER, 7, 100);
    bench.is_given_by(OTHER, 8, 100);
    bench.waits(Millis(61_000));
    assert_eq!(bench.ends(1), [delivered(2), began(7), executes(2)]);
    bench.waits(Millis(62_000));
    bench.is_given_by(OTHER, 9, 100);
    assert_eq!(bench.ends(2), [delivered(7), goes_on(0), began(1)], "that one was given as much");
    assert_eq!(bench.ends(0), [delivered(1), began(8), executes(3)]);
}

#[test]
fn a_third_requester_has_his_turn_though_two_others_give_up_their_cores_for_themselves() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    bench.meets(THIRD);
    bench.is_given(1, 100);
    bench.is_given_by(OTHER, 1, 100);
    bench.is_given_by(THIRD, 1_000, 100);
    let begin = bench.now;
    // The first call of either does not end, and gives way to one small batch after another.
    for small in 2..200 {
        let mut did = Vec::new();
        for node in [PEER, OTHER] {
            did.extend(bench.is_asked_by(node, 1));
            did.extend(bench.is_given_by(node, small, 100));
        }
        did.extend(bench.waits(Millis(2_000)));
        loop {
            let begun = did.windows(2).filter_map(|pair| match pair {
                [Did::Began(attempt), Did::Executes(run)] => Some((attempt.0, run.0)),
                _ => None,
            });
            let begun: Vec<(u64, u64)> = begun.filter(|(attempt, _)| *attempt != 1).collect();
            if begun.iter().any(|(attempt, _)| *attempt == 1_000) {
                assert!(bench.now >= begin + Millis(60_000));
                return;
            }
            if begun.is_empty() {
                break;
            }
            did = begun.into_iter().flat_map(|(_, run)| bench.ends(run)).collect();
        }
        bench.waits(Millis(200));
    }
    panic!("it waits for ever");
}

#[test]
fn what_a_requester_gives_up_goes_to_no_call_of_another_that_rests() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    bench.is_given_by(OTHER, 7, 100);
    bench.is_given(1, 100);
    bench.is_asked_by(OTHER, 7);
    assert_eq!(bench.is_given_by(OTHER, 8, 100), [rests(0), set_aside(7), began(8), executes(2)]);
    bench.waits(Millis(5_000));
    assert_eq!(bench.is_asked(1), [], "nothing of his is there yet");
    assert_eq!(bench.is_given(2, 100), [rests(1), set_aside(1), began(2), executes(3)]);
    assert_eq!(bench.ends(3), [delivered(2)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(1), began(1)]);
}

#[test]
fn no_requester_takes_all_the_room_for_what_is_set_aside() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.meets(OTHER);
    bench.meets(THIRD);
    bench.is_given_by(OTHER, 7, 100);
    bench.is_asked_by(OTHER, 7);
    bench.is_given_by(OTHER, 8, 100);
    bench.is_given(1, 100);
    bench.waits(Millis(61_000));
    assert_eq!(bench.ends(1), [delivered(8), began(1), executes(2)]);
    assert_eq!(bench.is_asked(1), []);
    assert_eq!(bench.is_given(2, 100), [rests(2), set_aside(1), began(2), executes(3)]);
    // There are as many as there may be.
    bench.is_given_by(THIRD, 5, 100);
    bench.waits(Millis(61_000));
    assert_eq!(bench.ends(3), [delivered(2), began(5), executes(4)]);
    assert_eq!(bench.is_asked_by(THIRD, 5), [began(5)], "said at once, so that its requester does not wait");
    assert_eq!(bench.is_given_by(THIRD, 6, 100), []);
}

#[test]
fn a_batch_begins_while_there_is_room_and_what_rests_goes_on_when_there_is_none() {
    let mut bench = two_aside_on_three_cores();
    bench.waits(Millis(3_100));
    bench.is_given(6, 100);
    assert_eq!(bench.is_asked(3), [rests(2), set_aside(3), began(6), executes(5)]);
    bench.is_given(7, 100);
    assert_eq!(bench.is_asked(4), [rests(3), set_aside(4), goes_on(0), began(1)]);
}

#[test]
fn the_minute_begins_anew_when_a_call_has_had_its_core_for_a_minute() {
    let mut bench = one_aside_on_one_core();
    bench.is_given_by(OTHER, 7, 100);
    assert_eq!(bench.ends(1), [delivered(2)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    bench.waits(Millis(600_000));
    bench.is_asked(1);
    assert_eq!(bench.is_given(3, 100), [rests(0), set_aside(1), began(3), executes(2)]);
    bench.waits(Millis(1_000));
    assert_eq!(bench.ends(2), [delivered(3)], "given up a second ago");
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
}

#[test]
fn after_the_minute_a_core_goes_to_others_also_from_under_two_calls_that_change_over() {
    let mut bench = one_aside_on_one_core();
    bench.is_given_by(OTHER, 7, 100);
    let mut did = Vec::new();
    for turn in 0..20 {
        did.extend(bench.waits(Millis(4_000)));
        did.extend(bench.is_asked(if turn % 2 == 0 { 2 } else { 1 }));
    }
    assert!(did.contains(&began(7)), "{did:?}");
    // It may be set aside as well, by the first word of its requester.
    bench.is_given_by(OTHER, 9, 100);
    assert_eq!(bench.is_asked_by(OTHER, 7), [rests(2), set_aside(7), began(9), executes(3)]);
    // Where there is no memory for both of them, the one that has the core keeps it, so that it ends some day.
    let mut bench = Bench::lending(true, 1, 100);
    bench.meets(OTHER);
    bench.is_given(1, 100);
    bench.is_asked(1);
    bench.is_given(2, 100);
    bench.is_given_by(OTHER, 7, 100);
    bench.waits(Millis(4_000));
    assert_eq!(bench.is_asked(2), [rests(1), set_aside(2), goes_on(0), began(1)]);
    bench.waits(Millis(61_000));
    assert_eq!(bench.is_asked(1), [began(1)]);
    assert_eq!(bench.ends(0), [delivered(1), began(7), executes(2)]);
}

#[test]
fn what_is_owed_a_core_waits_until_the_others_were_given_as_much() {
    let mut bench = one_aside_on_one_core();
    (10..15).for_each(|attempt| _ = bench.is_given_by(OTHER, attempt, 100));
    bench.waits(Millis(200_000));
    let mut did = bench.ends(1);
    assert_eq!(did, [delivered(2), began(10), executes(2)]);
    // Batches of a second and a half, of which there is always another one.
    let (begin, mut run) = (bench.now, 2);
    while !did.contains(&goes_on(0)) {
        bench.waits(Millis(1_500));
        bench.is_given_by(OTHER, 20 + run, 100);
        did = bench.ends(run);
        run += 1;
    }
    let had = (bench.now - begin).0;
    assert!((195_000..205_000).contains(&had), "as long as the first one: {had}");
}

#[test]
fn what_is_owed_a_core_waits_no_longer_than_its_requester_was_given_more_and_a_minute_for_each_who_waits() {
    let mut bench = one_aside_on_one_core();
    bench.meets(THIRD);
    let both = |bench: &mut Bench, attempt| {
        [OTHER, THIRD].into_iter().for_each(|node| _ = bench.is_given_by(node, attempt, 100));
    };
    (10..13).for_each(|attempt| both(&mut bench, attempt));
    bench.waits(Millis(200_000));
    let (mut did, mut run) = (bench.ends(1), 2);
    let begin = bench.now;
    while !did.contains(&goes_on(0)) {
        bench.waits(Millis(1_500));
        both(&mut bench, 20 + run);
        did = bench.ends(run);
        run += 1;
    }
    let had = (bench.now - begin).0;
    assert!((370_000..390_000).contains(&had), "not until each of them was given as much: {had}");
}

#[test]
fn whoever_comes_waits_for_nothing_that_another_is_yet_to_be_given() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    (1..=12).for_each(|attempt| _ = bench.is_given(attempt, 100));
    bench.waits(Millis(3_600_000));
    assert_eq!(bench.ends(0), [delivered(1), began(3), executes(2)]);
    bench.waits(Millis(1_000));
    bench.is_given(13, 100);
    assert_eq!(bench.ends(2), [delivered(3), began(4), executes(3)]);
    bench.is_given_by(OTHER, 50, 100);
    let mut did = Vec::new();
    for run in 3..7 {
        bench.waits(Millis(1_000));
        did.extend(bench.ends(run));
    }
    assert!(did.contains(&began(50)), "{did:?}");
}

#[test]
fn what_goes_on_on_a_core_that_was_given_up_for_it_leaves_it_to_its_requester() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    (1..=2).for_each(|attempt| _ = bench.is_given(attempt, 100));
    bench.is_asked(1);
    bench.is_given(3, 100);
    (7..9).for_each(|attempt| _ = bench.is_given_by(OTHER, attempt, 100));
    bench.waits(Millis(61_000));
    assert_eq!(bench.ends(2), [delivered(3), began(7), executes(3)]);
    assert_eq!(bench.is_asked(2), [rests(1), set_aside(2), goes_on(0), began(1)]);
    bench.waits(Millis(1_000));
    assert_eq!(bench.ends(0), [delivered(1)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(1), began(2)]);
}

#[test]
fn a_core_waits_for_the_batch_that_it_is_given_up_for_until_that_was_fetched() {
    let mut bench = two_aside_on_three_cores();
    bench.waits(Millis(3_100));
    bench.is_given_large(6, 100);
    assert_eq!(bench.is_asked(3), []);
    bench.waits(Millis(500));
    assert_eq!(bench.fetches_large(6), [rests(2), set_aside(3), began(6), executes(5)]);
    // Not where it could not begin anyway.
    bench.is_given_large(7, 100);
    assert_eq!(bench.is_asked(4), [rests(3), set_aside(4), goes_on(0), began(1)]);
}

#[test]
fn a_requester_who_has_a_core_takes_no_second_one_after_the_minute() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    (1..=2).for_each(|attempt| _ = bench.is_given(attempt, 100));
    for attempt in [1, 2] {
        bench.is_asked(attempt);
        bench.is_given(attempt + 2, 100);
    }
    (7..9).for_each(|attempt| _ = bench.is_given_by(OTHER, attempt, 100));
    bench.waits(Millis(61_000));
    assert_eq!(bench.ends(2), [delivered(3), began(7), executes(4)]);
    assert_eq!(bench.ends(3), [delivered(4), goes_on(1), began(2)]);
}

#[test]
fn nothing_begins_on_a_core_that_is_lent_no_longer() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.is_given(1, 100);
    bench.is_given(2, 100);
    let settings = ProviderSettings { lending: true, cores: 1, memory_mib: 1024, ..ProviderSettings::default() };
    bench.feed(Input::Settings(settings));
    assert_eq!(bench.is_asked(2), [began(2)], "what runs comes to its end");
    assert_eq!(bench.is_given(3, 100), []);
    assert_eq!(bench.ends(0), [delivered(1)]);
    assert_eq!(bench.is_asked(2), [rests(1), set_aside(2), began(3), executes(2)], "it has the core that is lent");
}

#[test]
fn what_a_node_never_had_is_called_off_at_no_harm() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.is_given(1, 100);
    let unknown = |first: u64| (first..first + 1024).map(AttemptId).collect();
    for first in [1_000, 3_000, 5_000, 7_000] {
        assert_eq!(bench.hears(Message::Cancel { attempts: unknown(first) }), []);
    }
    assert_eq!(bench.ends(0), [delivered(1)]);
    assert_eq!(bench.is_given(2, 100), [began(2), executes(1)]);
}

#[test]
fn a_batch_of_no_call_is_refused() {
    let mut bench = Bench::lending(true, 1, 1024);
    assert_eq!(bench.is_given_nothing(1), [Did::Refused(AttemptId(1))]);
    assert_eq!(bench.is_given(2, 100), [began(2), executes(0)]);
}

#[test]
fn each_core_that_was_given_up_is_kept_whatever_became_of_others() {
    let mut bench = Bench::lending(true, 2, 1024);
    bench.meets(OTHER);
    for attempt in [1, 2] {
        bench.is_given(attempt, 100);
    }
    for attempt in [1, 2] {
        bench.is_asked(attempt);
        bench.is_given(attempt + 2, 100);
    }
    bench.is_given_by(OTHER, 7, 100);
    assert_eq!(bench.ends(3), [delivered(4)], "the core of the second one, though the first one's is taken");
    assert_eq!(bench.waits(Millis(100)), [goes_on(1), began(2)]);
    assert_eq!(bench.ends(2), [delivered(3)], "that of the first one");
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    assert_eq!(bench.ends(0), [delivered(1), began(7), executes(4)]);
}

#[test]
fn two_calls_that_take_turns_on_one_core_are_owed_no_second_one() {
    let mut bench = one_aside_on_one_of_two_cores();
    bench.waits(Millis(3_100));
    assert_eq!(bench.is_asked(2), [rests(2), set_aside(2), goes_on(0), began(1)]);
    bench.is_given_by(OTHER, 6, 100);
    assert_eq!(bench.ends(1), [delivered(5), began(6), executes(3)]);
    assert_eq!(bench.ends(0), [delivered(1)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(2), began(2)]);
}

#[test]
fn what_has_rested_goes_on_in_its_requesters_turn_before_what_he_has_not_begun() {
    let mut bench = one_aside_on_one_of_two_cores();
    bench.waits(Millis(3_100));
    bench.is_given(3, 100);
    assert_eq!(bench.ends(1), [delivered(5), goes_on(0), began(1)]);
    assert_eq!(bench.ends(2), [delivered(2), began(3), executes(3)]);
}

#[test]
fn a_core_that_waits_for_one_requester_holds_up_no_other_core() {
    let mut bench = one_aside_on_one_of_two_cores();
    assert_eq!(bench.ends(2), [delivered(2)]);
    assert_eq!(bench.ends(1), [delivered(5)]);
    assert_eq!(bench.is_given_by(OTHER, 6, 100), [began(6), executes(3)]);
}

#[test]
fn a_call_that_gave_way_to_what_cannot_be_read_goes_on_and_gives_way_to_what_can() {
    let mut bench = Bench::lending(true, 1, 1024);
    bench.is_given(1, 100);
    bench.waits(Millis(1_000));
    bench.is_asked(1);
    assert_eq!(bench.is_given_nonsense(2), [rests(0), set_aside(1), Did::Refused(AttemptId(2))]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
    bench.is_asked(1);
    assert_eq!(bench.is_given(3, 100), [rests(0), set_aside(1), began(3), executes(1)]);
    assert_eq!(bench.ends(1), [delivered(3)]);
    assert_eq!(bench.waits(Millis(100)), [goes_on(0), began(1)]);
}

/// A provider and the host that carries out its orders, with three requesters whose attempts have names of their own.
struct Busy {
    bench: Bench,
    cores: u16,
    /// What is not over: whose it is, and how long it computes yet.
    open: BTreeMap<u64, (NodeId, u64)>,
    /// Attempts that the host has begun, and those of the runs that rest or are to end.
    runs: BTreeMap<u64, u64>,
    resting: BTreeSet<u64>,
    ending: BTreeSet<u64>,
    /// How long each requester has had cores.
    had: BTreeMap<NodeId, u64>,
}

impl Busy {
    fn lending(cores: u16) -> Self {
        let bench = Bench::new(true);
        let (open, runs, resting, ending, had) = Default::default();
        let mut busy = Self { bench, cores, open, runs, resting, ending, had };
        [OTHER, THIRD].into_iter().for_each(|node| _ = busy.bench.meets(node));
        busy.lends(cores);
        busy
    }

    fn carry_out(&mut self, did: &[Did]) {
        let mut last = None;
        for did in did {
            match did {
                Did::Began(attempt) => last = Some(attempt.0),
                Did::Executes(run) => {
                    self.runs.insert(run.0, last.unwrap());
                    assert!(self.on_core().len() <= usize::from(self.cores), "it begins on no core");
                }
                Did::Rests(run, true) => assert!(self.resting.insert(run.0), "it rests already"),
                Did::Rests(run, false) => assert!(self.resting.remove(&run.0), "it goes on already"),
                Did::Aborts(run) => _ = self.ending.insert(run.0),
                Did::Delivered(attempt) => _ = self.open.remove(&attempt.0),
                _ => {}
            }
        }
    }

    fn on_core(&self) -> Vec<u64> {
        self.runs.keys().filter(|run| !self.resting.contains(run)).copied().collect()
    }

    /// A tenth of a second.
    fn step(&mut self) {
        let did = self.bench.waits(Millis(100));
        self.carry_out(&did);
        for run in self.on_core() {
            if let Some((of, left)) = self.open.get_mut(&self.runs[&run]) {
                *left = left.saturating_sub(100);
                *self.had.entry(*of).or_default() += 100;
            }
        }
        let over = |(_, attempt): &(&u64, &u64)| self.open.get(*attempt).is_none_or(|(_, left)| *left == 0);
        let over: Vec<u64> = self.runs.iter().filter(over).map(|(run, _)| *run).chain(self.ending.clone()).collect();
        for run in over {
            if self.runs.remove(&run).is_some() {
                self.resting.remove(&run);
                self.ending.remove(&run);
                let did = self.bench.ends(run);
                self.carry_out(&did);
            }
        }
    }

    fn lends(&mut self, cores: u16) {
        self.cores = cores;
        let settings = ProviderSettings { lending: true, cores, ..ProviderSettings::default() };
        let did = self.bench.feed(Input::Settings(settings));
        self.carry_out(&did);
    }
}

#[test]
fn whatever_is_given_and_given_up_no_core_is_idle_beside_what_waits_and_everything_ends() {
    for seed in 0..30 {
        let mut chance = Chance::new(seed);
        let mut busy = Busy::lending(1 + (seed % 3) as u16);
        let (mut next, mut idle) = (0, 0);
        for step in 0..20_000 {
            let node = [PEER, OTHER, THIRD][chance.below(3) as usize];
            let his: Vec<u64> =
                busy.open.iter().filter(|(_, (of, _))| *of == node).map(|(attempt, _)| *attempt).collect();
            let one = his.get(chance.below(his.len() as u64) as usize).copied();
            let did = match (chance.below(100), one) {
                (0..10, _) if step < 5_000 && his.len() < 8 => {
                    next += 1;
                    let length = if chance.below(4) == 0 { 120_000 } else { 3_000 };
                    busy.open.insert(next, (node, chance.between(100, length)));
                    busy.bench.is_given_by(node, next, 100)
                }
                (10..30, Some(attempt)) if step < 5_000 => busy.bench.is_asked_by(node, attempt),
                (30, Some(attempt)) if step < 5_000 => {
                    busy.open.remove(&attempt);
                    busy.bench.hears_from(node, Message::Cancel { attempts: vec![AttemptId(attempt)] })
                }
                (31, _) if step < 5_000 => {
                    busy.lends(1 + chance.below(3) as u16);
                    Vec::new()
                }
                _ => Vec::new(),
            };
            busy.carry_out(&did);
            busy.step();
            // A run that has ended in this step counts as one that was there.
            let waits = busy.open.len() > busy.on_core().len();
            idle = if waits && busy.on_core().len() < usize::from(busy.cores) { idle + 1 } else { 0 };
            assert!(idle < 4, "seed {seed}, step {step}: a core is idle");
            assert!(busy.resting.len() <= 9, "no more rest than three times the cores that there were");
            if step >= 5_000 && busy.open.is_empty() {
                break;
            }
        }
        assert!(busy.open.is_empty(), "seed {seed}: {:?} wait for ever", busy.open);
    }
}

#[test]
fn whoever_has_short_batches_gets_his_share_beside_those_who_always_have_something_resting() {
    for (cores, greedy, short) in [(1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 1), (2, 2, 1), (3, 1, 2)] {
        let mut chance = Chance::new(u64::from(cores) * 100 + greedy * 10 + short);
        let mut busy = Busy::lending(cores);
        let nodes = [PEER, OTHER, THIRD];
        let (greedy, short) = (&nodes[..greedy as usize], &nodes[3 - short as usize..]);
        let mut next = 0;
        // An hour.
        for _ in 0..36_000 {
            for node in greedy.iter().chain(short) {
                let long = greedy.contains(node);
                let his = |busy: &Busy| busy.open.values().filter(|(of, _)| of == node).count();
                while his(&busy) < 2 * usize::from(cores) + 1 {
                    next += 1;
                    busy.open.insert(next, (*node, if long { 900_000 } else { chance.between(100, 1_500) }));
                    let did = busy.bench.is_given_by(*node, next, 10);
                    busy.carry_out(&did);
                }
                // A turn takes five seconds.
                let runs: Vec<u64> = busy.on_core().iter().map(|run| busy.runs[run]).collect();
                let his = runs.into_iter().filter(|attempt| busy.open.get(attempt).is_some_and(|(of, _)| of == node));
                for attempt in his.collect::<Vec<u64>>() {
                    if long && chance.below(50) == 0 {
                        let did = busy.bench.is_asked_by(*node, attempt);
                        busy.carry_out(&did);
                    }
                }
            }
            busy.step();
        }
        let all: u64 = busy.had.values().sum();
        let equal = all / (greedy.len() + short.len()) as u64;
        for node in greedy.iter().chain(short) {
            assert!(busy.had[node] >= equal / 2, "{cores} cores, {greedy:?}, {short:?}: {:?}", busy.had);
        }
    }
}
