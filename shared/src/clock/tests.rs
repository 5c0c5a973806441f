//! How a node's clock goes on: with the machine, over restarts and over sleep.

#![expect(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;

use super::*;
use crate::{
    id::{JobId, NodeId},
    job::{JobState, kinds},
    node::{Effect, Found, HostOrder, Input, Keep, Node, NodeConfig, read_line, read_status},
    store::StoreKey,
    wire::Role,
};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const START: u64 = 1_700_000_000_000;
/// 2026, for a machine whose clock began in 1970.
const LATER: u64 = 1_795_000_000_000;

/// Reads every 100 ms for `seconds`, with the wall clock off by `off` from the first reading on.
fn run(seconds: u64, off: i64) -> u64 {
    let mut clock = SteadyClock::new();
    assert_eq!(clock.read(Millis(0), Moment(START)), Moment(START));
    let mut last = START;
    for tenth in 1..=seconds * 10 {
        let passed = tenth * 100;
        let wall = (START + passed).saturating_add_signed(off);
        let now = clock.read(Millis(passed), Moment(wall)).0;
        assert!(now >= last, "it goes back");
        assert!(now - last <= 101, "it jumps");
        last = now;
    }
    last - START
}

#[test]
fn a_clock_that_is_set_does_not_change_how_long_anything_took() {
    for off in [HOUR, DAY, 400 * DAY, 19_000 * DAY] {
        assert_eq!(run(600, off as i64), 600_000, "{off} forwards");
        assert_eq!(run(600, -(off as i64)), 600_000, "{off} backwards");
    }
    assert_eq!(run(60, 0), 60_000);
}

#[test]
fn small_differences_are_made_up() {
    for off in [1_000, -1_000] {
        assert_eq!(run(120, off), 120_000u64.saturating_add_signed(off));
    }
}

#[test]
fn readings_close_together_are_slewed_as_well() {
    let mut clock = SteadyClock::new();
    clock.read(Millis(0), Moment(START));
    let last = (1..=120_000).map(|passed| clock.read(Millis(passed), Moment(START + passed + 1_000))).max();
    assert_eq!(last, Some(Moment(START + 121_000)));
}

#[test]
fn a_clock_that_was_just_set_goes_on_from_the_time_it_gave_last() {
    let mut clock = SteadyClock::new();
    clock.read(Millis(0), Moment(START));
    let set = |off: u64, passed: u64| Moment(START + passed + off);
    let given = [(50_000, 7_200_000), (50_001, 7_199_399), (50_400, 7_198_000)];
    let given = given.map(|(passed, off)| clock.read(Millis(passed), set(off, passed)));
    assert!(given.is_sorted(), "{given:?}");
}

/// Linux and Windows count it, macOS and some browsers do not.
#[test]
fn a_sleep_is_no_time_whether_the_monotonic_clock_counts_it_or_not() {
    for counted in [0, 9 * HOUR] {
        let mut clock = SteadyClock::new();
        clock.read(Millis(0), Moment(START));
        clock.read(Millis(60_000), Moment(START + 60_000));
        let awake = |clock: &mut SteadyClock, after| {
            let wall = Moment(START + 60_000 + 9 * HOUR + after);
            let now = clock.read(Millis(60_000 + counted + after), wall);
            assert_eq!(now.shifted(clock.set_by()), wall);
            now - Moment(START)
        };
        let first = awake(&mut clock, 100);
        assert!(first <= Millis(61_000), "{first:?}");
        assert_eq!(awake(&mut clock, 30_100), Millis(first.0 + 30_000));
    }
}

#[test]
fn moments_are_shown_as_the_wall_clock_is_set_now() {
    let mut clock = SteadyClock::new();
    let submitted = clock.read(Millis(0), Moment(5_000));
    clock.read(Millis(10_000), Moment(LATER));
    assert_eq!(submitted.shifted(clock.set_by()), Moment(LATER - 10_000), "ten seconds ago");
    clock.read(Millis(20_000), Moment(LATER + 10_000));
    assert_eq!(submitted.shifted(clock.set_by()), Moment(LATER - 10_000), "it stays there");
    let now = clock.read(Millis(30_000), Moment(35_000));
    assert_eq!((now, clock.set_by()), (Moment(35_000), 0), "set back again");
}

#[test]
fn a_restart_goes_on_by_the_monotonic_clock_whatever_the_wall_clock_says() {
    let mark = Mark { boot: "a".to_owned(), monotonic: Millis(1_000), time: Moment(START), wall: Moment(START) };
    for wall in [0, START - DAY, START + 5_000, START + DAY, START + 4_000 * DAY] {
        let mut clock = SteadyClock::go_on(&mark, "a", Millis(6_000), Moment(wall));
        let now = clock.read(Millis(6_000), Moment(wall));
        assert_eq!(now, Moment(START + 5_000));
        assert_eq!(now.shifted(clock.set_by()), Moment(wall));
    }
}

#[test]
fn a_machine_that_starts_again_goes_on_by_the_wall_clock_where_it_can() {
    let mark =
        |time, wall| Mark { boot: "a".to_owned(), monotonic: Millis(9_000), time: Moment(time), wall: Moment(wall) };
    let now =
        |mark: &Mark, boot, wall| SteadyClock::go_on(mark, boot, Millis(7), Moment(wall)).read(Millis(7), Moment(wall));
    let set = mark(START, LATER);
    assert_eq!(now(&set, "b", LATER + DAY), Moment(START + DAY), "off for a day");
    assert_eq!(now(&set, "", LATER + DAY), Moment(START + DAY), "which start it is, nobody knows");
    assert_eq!(now(&set, "b", LATER - DAY), Moment(START), "the clock went back");
    assert_eq!(now(&set, "b", 8_000), Moment(START), "the clock is not set yet");
    assert_eq!(now(&mark(60_000, 60_000), "b", LATER), Moment(60_000), "it was not set then");
    let again = Mark { boot: "a".to_owned(), ..set };
    assert_eq!(
        now(&again, "a", LATER + DAY),
        Moment(START + DAY),
        "a monotonic clock that went back is of another start"
    );
}

#[test]
fn a_mark_is_kept_anew_when_a_clock_was_set_or_an_hour_has_passed() {
    let mut clock = SteadyClock::new();
    let mark = clock.mark("a", Millis(0), Moment(START));
    assert!(!mark.is_old(&clock.mark("a", Millis(60_000), Moment(START + 60_000))));
    let set = clock.mark("a", Millis(61_000), Moment(START + DAY));
    assert!(mark.is_old(&set));
    assert!(!set.is_old(&clock.mark("a", Millis(62_000), Moment(START + DAY + 1_000))));
    assert!(set.is_old(&clock.mark("a", Millis(61_000 + HOUR), Moment(START + DAY + HOUR))));
    assert!(mark.is_old(&Mark { boot: "b".to_owned(), ..mark.clone() }));
}

fn node() -> Node {
    let keep = Keep { age: Millis(7 * DAY), ..Keep::default() };
    Node::new(NodeConfig {
        me: NodeId([1; 32]),
        role: Role::Seed,
        agent: "test".to_owned(),
        seed: [7; 32],
        keep,
        can_rest: true,
        rewrite: crate::kernel::REWRITE_VERSION,
    })
}

type Records = BTreeMap<StoreKey, Vec<u8>>;

fn saved(node: &mut Node, records: &mut Records) {
    while let Some(effect) = node.poll_effect() {
        let (changes, token) = match effect {
            Effect::Host(HostOrder::Change(changes)) => (changes, None),
            Effect::Host(HostOrder::Keep { token, changes }) => (changes, Some(token)),
            Effect::Host(_) | Effect::Network(_) | Effect::Tell(_) => continue,
        };
        for (key, record) in changes {
            match record {
                Some(record) => _ = records.insert(key, record),
                None => _ = records.remove(&key),
            }
        }
        if let Some(token) = token {
            node.handle(Moment(0), Input::Kept { token }); // at once: its time does not go back
        }
    }
}

/// A machine without a clock of its own: a node starts in 1970, a time server sets the clock, and the node is started again,
/// first in the same start of the machine, then in the next one.
#[test]
fn what_a_node_did_in_1970_is_neither_old_nor_long_once_the_clock_is_set() {
    let (ended, waiting) = (JobId([1; 16]), JobId([2; 16]));
    let job = || Box::new(kinds::read(r#"{"kind":"map","data":[1],"map":"x"}"#, &|_| None).unwrap());
    let mut records = Records::new();
    let mut clock = SteadyClock::new();
    let mut first = node();
    for id in [ended, waiting] {
        first.handle(clock.read(Millis(1_000), Moment(1_000)), Input::Submitted { id, job: job() });
    }
    first.handle(clock.read(Millis(3_000), Moment(3_000)), Input::Cancelled { id: ended });
    first.handle(clock.read(Millis(10_000), Moment(LATER)), Input::Tick);
    saved(&mut first, &mut records);
    let mark = clock.mark("a", Millis(11_000), Moment(LATER + 1_000));
    let check = |node: &Node, clock: &SteadyClock, records: &Records, waited| {
        let status = |id| match node.job(id).unwrap() {
            Found::Here(status) => status,
            Found::Kept(key) => read_status(id, &records[&key]).unwrap(),
        };
        let (over, waits) = (status(ended), status(waiting));
        assert_eq!((over.summary.state, over.elapsed.waited), (JobState::Cancelled, Millis(2_000)));
        assert_eq!((waits.summary.state, waits.elapsed.waited), (JobState::Queued, Millis(waited)));
        assert_eq!(waits.summary.created_at.shifted(clock.set_by()), Moment(LATER - 9_000));
        let later = waits.elapsed_after(Millis(5_000));
        assert_eq!(
            (later.waited, later.ran),
            (Millis(waited + 5_000), Millis(0)),
            "it goes on waiting while nobody looks"
        );
        assert_eq!(over.elapsed_after(Millis(5_000)), over.elapsed);
    };
    check(&first, &clock, &records, 9_000);

    let restored = |records: &Records| records.clone().into_iter().collect();
    let loaded = |records: &Records| {
        let lines = records.iter().filter_map(|(key, record)| match key {
            StoreKey::Finished(id) => read_line(*id, record, false),
            _ => None,
        });
        Input::Loaded { lines: lines.collect(), is_all: true }
    };
    let mut clock = SteadyClock::go_on(&mark, "a", Millis(20_000), Moment(LATER + 10_000));
    let mut second = node();
    let now = clock.read(Millis(20_000), Moment(LATER + 10_000));
    second.restore(now, restored(&records), &kinds::read);
    second.handle(now, loaded(&records));
    saved(&mut second, &mut records);
    check(&second, &clock, &records, 19_000);

    let mark = clock.mark("a", Millis(20_000), Moment(LATER + 10_000));
    let mut clock = SteadyClock::go_on(&mark, "b", Millis(5), Moment(2_000));
    let mut third = node();
    let now = clock.read(Millis(5), Moment(2_000));
    third.restore(now, restored(&records), &kinds::read);
    third.handle(now, loaded(&records));
    third.handle(clock.read(Millis(1_005), Moment(LATER + DAY)), Input::Tick);
    saved(&mut third, &mut records);
    let now = clock.read(Millis(1_005), Moment(LATER + DAY));
    assert_eq!(now, Moment(21_000), "how long the machine was off, nobody knows");
    assert_eq!(now.shifted(clock.set_by()), Moment(LATER + DAY));
    assert!(third.job(ended).is_some() && third.job(waiting).is_some(), "deleted by age");
}
