//! Who has a turn when, and what that costs.

use std::{net::IpAddr, time::Duration};

use futures::FutureExt as _;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

/// An address in a wide network of its own.
fn address(wide: u8) -> Source {
    near(wide, 1)
}

/// One of several of a network.
fn near(wide: u8, last: u8) -> Source {
    Source::of(IpAddr::from([192, wide, 0, last]))
}

/// One of several networks of a wide network.
fn beside(wide: u16, network: u16) -> Source {
    Source::of(IpAddr::from([0x2001, wide, network, 1, 0, 0, 0, 1]))
}

fn count_of_come(asked: &mut [(Turn, oneshot::Receiver<()>)]) -> usize {
    asked.iter_mut().filter_map(|(_, come)| has_come(come).then_some(())).count()
}

/// One had turns that took so long.
fn took(turns: &Turns, source: Source, time: Duration) {
    let (mut turn, mut come) = turns.queue(source, limits::LARGE_WORK.bytes);
    assert!(has_come(&mut come));
    turn.end(Instant::now() + time);
}

/// As [`took`], and what it was for was refused.
fn took_for_nothing(turns: &Turns, source: Source, time: Duration) {
    let (mut turn, mut come) = turns.queue(source, limits::LARGE_WORK.bytes);
    assert!(has_come(&mut come));
    turn.counts_more();
    turn.end(Instant::now() + time);
}

fn has_come(receiver: &mut oneshot::Receiver<()>) -> bool {
    receiver.try_recv().is_ok()
}

#[test]
fn half_of_the_turns_are_for_other_addresses_and_those_wait_for_none_of_the_first() {
    let turns = Turns::default();
    let mut first: Vec<_> = (0..limits::SMALL_WORK.places * 3).map(|_| turns.queue(address(1), 100)).collect();
    assert_eq!(first.iter_mut().filter_map(|(_, come)| has_come(come).then_some(())).count(), 8);
    let (_turn, mut other) = turns.queue(address(2), 100);
    assert!(has_come(&mut other));
    first.remove(0);
    assert!(has_come(&mut first[7].1), "its next one");
    first.clear();
    assert!(turns.lock().small.is_empty());
}

#[test]
fn what_is_small_does_not_wait_for_what_is_large() {
    let turns = Turns::default();
    let large: Vec<_> = (1..100).map(|n| turns.queue(address(n), 64 << 20)).collect();
    let (_turn, mut small) = turns.queue(address(1), limits::SMALL_WORK_BYTES);
    assert!(has_come(&mut small));
    let (running, bytes) = turns.lock().large.held();
    assert!(bytes <= limits::LARGE_WORK.bytes && running < large.len());
}

#[test]
fn addresses_take_turns_whoever_came_first_and_however_much() {
    let turns = Turns::default();
    let whole = limits::LARGE_WORK.bytes;
    let (running, mut come) = turns.queue(address(9), whole);
    assert!(has_come(&mut come));
    let mut many: Vec<_> = (0..5).map(|_| turns.queue(address(1), whole)).collect();
    let (late, mut its) = turns.queue(address(2), whole);
    drop(running);
    assert!(has_come(&mut many[0].1) && !has_come(&mut its));
    many.remove(0);
    assert!(has_come(&mut its) && !has_come(&mut many[0].1));
    // Whoever gives up makes room in the queue as well.
    drop((late, many));
    let lanes = turns.lock();
    assert!(lanes.large.held() == (0, 0) && lanes.large.is_empty());
}

#[test]
fn whoever_took_least_time_lately_comes_first_among_what_is_large() {
    let turns = Turns::default();
    let whole = limits::LARGE_WORK.bytes;
    (1..=40).for_each(|dear| took(&turns, address(dear), Duration::from_secs(4)));
    let (running, mut come) = turns.queue(address(90), whole);
    assert!(has_come(&mut come));
    let mut dear: Vec<_> = (1..=40).map(|n| turns.queue(address(n), whole)).collect();
    let (_late, mut its) = turns.queue(address(50), whole);
    drop(running);
    assert!(has_come(&mut its) && count_of_come(&mut dear) == 0);
}

#[test]
fn a_network_of_many_addresses_leaves_a_quarter_of_the_turns_and_takes_turns_with_others() {
    let turns = Turns::default();
    let places = limits::SMALL_WORK.places;
    let mut many: Vec<_> = (0..200).map(|last| turns.queue(near(1, last), 100)).collect();
    let begun = many.iter_mut().filter_map(|(_, come)| has_come(come).then_some(())).count();
    assert_eq!(begun, places / 4 * 3);
    let mut others: Vec<_> = (0..places / 2).map(|_| turns.queue(address(2), 100)).collect();
    let come: Vec<bool> = others.iter_mut().map(|(_, come)| has_come(come)).collect();
    assert_eq!(come.iter().filter(|come| **come).count(), places / 4, "at once, whoever waits of the other network");
    // From then on one of each goes on.
    others.drain(..2);
    assert_eq!((count_of_come(&mut many), count_of_come(&mut others)), (0, 2));
    drop((many, others));
    assert!(turns.lock().small.is_empty());
}

#[test]
fn a_wide_network_of_networks_that_took_no_time_yet_comes_behind_one_address_that_did() {
    let turns = Turns::default();
    let whole = limits::LARGE_WORK.bytes;
    took(&turns, address(50), Duration::from_secs(1));
    (0..40).for_each(|network| took(&turns, beside(1, network), Duration::from_secs(4)));
    let (running, mut come) = turns.queue(address(90), whole);
    assert!(has_come(&mut come));
    let mut fresh: Vec<_> = (100..140).map(|network| turns.queue(beside(1, network), whole)).collect();
    let (late, mut its) = turns.queue(address(50), whole);
    drop(running);
    assert!(has_come(&mut its) && count_of_come(&mut fresh) == 0);
    // In the wide network itself those come first that took least.
    let (_dear, mut dear) = turns.queue(beside(1, 0), whole);
    drop((late, fresh.pop()));
    assert!(!has_come(&mut dear) && count_of_come(&mut fresh) == 1);
    drop((fresh, _dear));
    assert!(turns.lock().large.is_empty());
}

#[test]
fn a_wide_network_of_many_networks_leaves_a_quarter_of_the_large_turns_and_takes_turns_with_others() {
    let turns = Turns::default();
    let (places, bytes) = (limits::LARGE_WORK.places, limits::SMALL_WORK_BYTES + 1);
    let mut many: Vec<_> = (0..100).map(|network| turns.queue(beside(1, network), bytes)).collect();
    assert_eq!(count_of_come(&mut many), places / 4 * 3);
    // Who is alone in a wide network has all of its share.
    let mut alone: Vec<_> = (0..places / 2).map(|_| turns.queue(address(2), bytes)).collect();
    assert_eq!(count_of_come(&mut alone), places / 4);
    many.drain(..places / 4);
    assert_eq!(count_of_come(&mut alone), places / 4, "before those who wait longer, but have their share");
    assert_eq!(count_of_come(&mut many), 0);
    drop((many, alone));
    assert!(turns.lock().large.is_empty());
}

#[test]
fn what_is_small_does_not_go_by_wide_networks() {
    let turns = Turns::default();
    let places = u16::try_from(limits::SMALL_WORK.places).unwrap_or(0);
    let mut many: Vec<_> = (0..places).map(|network| turns.queue(beside(1, network), 100)).collect();
    assert_eq!(count_of_come(&mut many), limits::SMALL_WORK.places);
}

#[test]
fn more_than_there_is_room_for_goes_alone() {
    let turns = Turns::default();
    let (_one, mut come) = turns.queue(address(1), limits::LARGE_WORK.bytes * 2);
    assert!(has_come(&mut come));
    let (_two, mut come) = turns.queue(address(2), limits::LARGE_WORK.bytes);
    assert!(!has_come(&mut come));
}

#[test]
fn who_waits_behind_a_full_share_is_not_looked_at_for_others() {
    let bytes = limits::SMALL_WORK_BYTES + 1;
    let households: fn(u16) -> Source = |n| Source::of(IpAddr::from([0x2001, 1, 1, n, 0, 0, 0, 1]));
    let networks: fn(u16) -> Source = |n| beside(1, n);
    for of in [households, networks] {
        let turns = Turns::default();
        let mut waiting: Vec<_> = (0..1_000).map(|n| turns.queue(of(n), bytes)).collect();
        assert_eq!(count_of_come(&mut waiting), limits::LARGE_WORK.places / 4 * 3);
        let before = looked_at(&turns);
        for n in 1..=4 {
            let (_turn, mut come) = turns.queue(address(n), bytes);
            assert!(has_come(&mut come));
        }
        // Ten that wait go, and one whose turn had come.
        waiting.truncate(990);
        waiting.remove(0);
        let looked_at = looked_at(&turns) - before;
        assert!(looked_at < 100, "{looked_at}");
        drop(waiting);
        assert!(turns.lock().large.is_empty());
    }
}

/// Takes all places of the large lane, a half each by two addresses.
fn fill(turns: &Turns) -> Vec<(Turn, oneshot::Receiver<()>)> {
    let halves = [address(201), address(202)].into_iter().cycle().take(limits::LARGE_WORK.places);
    let mut running: Vec<_> = halves.map(|source| turns.queue(source, limits::SMALL_WORK_BYTES + 1)).collect();
    assert_eq!(count_of_come(&mut running), limits::LARGE_WORK.places);
    running
}

#[test]
fn a_turn_counts_from_its_beginning() {
    let turns = Turns::default();
    took(&turns, address(2), Duration::from_millis(100));
    let mut running = fill(&turns);
    let mut fresh: Vec<_> = (0..4).map(|_| turns.queue(address(1), 16 << 20)).collect();
    let mut other: Vec<_> = (0..4).map(|_| turns.queue(address(2), 16 << 20)).collect();
    let mut come = (0, 0);
    for expected in [(1, 0), (1, 1)] {
        running.pop();
        come = (come.0 + count_of_come(&mut fresh), come.1 + count_of_come(&mut other));
        assert_eq!(come, expected);
    }
}

#[test]
fn what_was_refused_counts_more_for_its_address_than_what_was_taken() {
    let turns = Turns::default();
    let whole = limits::LARGE_WORK.bytes;
    took_for_nothing(&turns, near(1, 1), Duration::from_secs(1));
    took(&turns, near(1, 2), Duration::from_secs(8));
    let (running, mut come) = turns.queue(address(90), whole);
    assert!(has_come(&mut come));
    let (_refused, mut refused) = turns.queue(near(1, 1), whole);
    let (_taken, mut taken) = turns.queue(near(1, 2), whole);
    drop(running);
    assert!(has_come(&mut taken) && !has_come(&mut refused));
}

#[test]
fn what_a_neighbour_had_refused_counts_once_for_those_around() {
    let turns = Turns::default();
    let whole = limits::LARGE_WORK.bytes;
    took_for_nothing(&turns, near(1, 1), Duration::from_secs(1));
    took(&turns, address(2), Duration::from_secs(4));
    let (running, mut come) = turns.queue(address(90), whole);
    assert!(has_come(&mut come));
    let (_same, mut same) = turns.queue(near(1, 1), whole);
    let (_other, mut other) = turns.queue(address(2), whole);
    let (_neighbour, mut neighbour) = turns.queue(near(1, 2), whole);
    drop(running);
    assert!(has_come(&mut neighbour) && !has_come(&mut other) && !has_come(&mut same));
}

#[test]
fn what_is_light_does_not_wait_for_a_hundred_networks_around_that_have_had_no_turn() {
    let turns = Turns::default();
    took(&turns, beside(1, 200), Duration::from_millis(5));
    let mut running = fill(&turns);
    let mut heavy: Vec<_> = (0..100).map(|network| turns.queue(beside(1, network), 16 << 20)).collect();
    let (_light, mut light) = turns.queue(beside(1, 200), 100 << 10);
    running.pop();
    assert!(has_come(&mut light) && count_of_come(&mut heavy) == 0);
}

#[test]
fn what_may_be_heavy_comes_before_those_who_took_more_lately() {
    let turns = Turns::default();
    let most = limits::LARGE_WORK.bytes;
    took(&turns, address(1), Duration::from_secs(1));
    let (running, mut come) = turns.queue(address(90), most);
    assert!(has_come(&mut come));
    let (_other, mut other) = turns.queue(address(1), 16 << 20);
    let (_heavy, mut heavy) = turns.queue(address(2), most);
    drop(running);
    assert!(has_come(&mut heavy) && !has_come(&mut other));
}

/// Whether one more is refused at once: neither is it its turn nor does it wait.
fn is_refused((_turn, come): &mut (Turn, oneshot::Receiver<()>)) -> bool {
    matches!(come.try_recv(), Err(TryRecvError::Closed))
}

#[test]
fn an_address_a_network_and_a_wide_network_have_shares_of_those_who_wait() {
    let bounds = limits::TURN_WAITERS;
    let of_network: fn(usize) -> Source = |n| near(1, u8::try_from(n % 256).unwrap_or(0));
    let of_wide_network: fn(usize) -> Source = |n| beside(1, u16::try_from(n).unwrap_or(0));
    let of_address: fn(usize) -> Source = |_| address(1);
    for (of, most) in
        [(of_address, bounds.per_address), (of_network, bounds.per_network), (of_wide_network, bounds.per_wide_network)]
    {
        let turns = Turns::default();
        let _running = fill(&turns);
        let mut waiting: Vec<_> = (0..most).map(|n| turns.queue(of(n), limits::MOST_BODY_BYTES)).collect();
        assert!(!waiting.iter_mut().any(is_refused));
        assert!(is_refused(&mut turns.queue(of(most), limits::MOST_BODY_BYTES)));
        assert!(!is_refused(&mut turns.queue(address(2), limits::MOST_BODY_BYTES)));
        waiting.pop();
        assert!(!is_refused(&mut turns.queue(of(most), limits::MOST_BODY_BYTES)));
        drop((waiting, _running));
        assert!(turns.lock().large.is_empty());
    }
}

#[test]
fn where_as_many_wait_as_may_one_of_who_has_most_is_refused_for_who_has_fewer() {
    let (turns, bounds) = (Turns::default(), limits::TURN_WAITERS);
    let _running = fill(&turns);
    let mut waiting = Vec::new();
    for wide in 1..=u16::try_from(bounds.all / 128).unwrap_or(0) {
        waiting.extend((0..128).map(|_| turns.queue(beside(wide, 1), limits::MOST_BODY_BYTES)));
    }
    waiting.push(turns.queue(beside(1, 1), limits::MOST_BODY_BYTES));
    assert_eq!(waiting.iter_mut().filter_map(|one| is_refused(one).then_some(())).count(), 1, "who has as many");
    let mut newcomer = turns.queue(address(1), limits::MOST_BODY_BYTES);
    assert!(!is_refused(&mut newcomer));
    assert_eq!(waiting.iter_mut().filter_map(|one| is_refused(one).then_some(())).count(), 2);
    drop((waiting, newcomer, _running));
    assert!(turns.lock().large.is_empty());
}

#[test]
fn where_as_many_of_a_network_or_a_wide_one_wait_as_may_who_has_most_there_is_refused_for_a_neighbour() {
    let bounds = limits::TURN_WAITERS;
    let in_network: fn(usize) -> Source = |n| near(1, u8::try_from(n).unwrap_or(0));
    let in_wide_network: fn(usize) -> Source = |n| beside(1, u16::try_from(n).unwrap_or(0));
    for (of, most) in [(in_network, bounds.per_network), (in_wide_network, bounds.per_wide_network)] {
        let turns = Turns::default();
        let _running = fill(&turns);
        let sources = most / bounds.per_address;
        let mut waiting: Vec<_> = (0..most).map(|n| turns.queue(of(n % sources), limits::MOST_BODY_BYTES)).collect();
        assert!(!waiting.iter_mut().any(is_refused));
        let mut neighbour = turns.queue(of(sources), limits::MOST_BODY_BYTES);
        assert!(!is_refused(&mut neighbour));
        assert_eq!(waiting.iter_mut().filter_map(|one| is_refused(one).then_some(())).count(), 1);
        assert!(is_refused(&mut turns.queue(of(0), limits::MOST_BODY_BYTES)), "who has most himself");
        drop((waiting, neighbour, _running));
        assert!(turns.lock().large.is_empty());
    }
}

#[tokio::test]
async fn who_is_refused_is_told_at_once() {
    let turns = Turns::default();
    let _running = fill(&turns);
    let _waiting: Vec<_> =
        (0..limits::TURN_WAITERS.per_address).map(|_| turns.queue(address(1), limits::MOST_BODY_BYTES)).collect();
    let far = Instant::now() + limits::ROOM_PATIENCE;
    for is_asked_before in [false, true] {
        let waiting = turns.join(address(1), limits::MOST_BODY_BYTES);
        let waiting = if is_asked_before { waiting.at_once().err() } else { Some(waiting) };
        let told = waiting.map(|waiting| waiting.until(far).now_or_never().map(|turn| turn.is_none()));
        assert_eq!(told, Some(Some(true)));
    }
}

fn looked_at(turns: &Turns) -> usize {
    turns.lock().large.looked_at
}
