//! Who gives way to whom, and what is told.
#![expect(clippy::unwrap_used)]

use std::net::IpAddr;

use super::{
    table::{Comer, Scope, Shared, YOUNG},
    *,
};

/// An address in a wide network of its own.
fn address(network: u8) -> Source {
    near(network, 1)
}

/// One of several of a network, which is alone in its wide network.
fn near(network: u8, last: u8) -> Source {
    Source::of(IpAddr::from([11 + network % 100, network, 7, last]))
}

#[test]
fn what_is_too_large_is_told_a_way_that_is_open_to_it() {
    let plain = Bound::of_job(Encoding::Plain).crossed();
    assert!(plain.message.contains("32 MiB") && plain.hint.contains("gzip"), "{plain:?}");
    let more = format!("{} MiB", limits::MOST_PACKED_BYTES >> 20);
    assert!(plain.hint.contains(&more) && limits::MOST_PACKED_BYTES > limits::MOST_BODY_BYTES);
    let packed = Bound::of_job(Encoding::Gzip).crossed();
    assert!(packed.message.contains(&more) && !packed.hint.contains("gzip"), "{packed:?}");
    let module = Bound::OF_MODULE.crossed();
    assert!(!module.hint.contains("PUT") && !module.hint.contains("job"), "{module:?}");
}

/// Keeps a body's pace up from `from` on, in steps of 64 KiB, until it has so many bytes; `false` when there is no room.
fn comes_fast(intake: &Intake, held: &Held, bytes: usize, from: Instant) -> bool {
    let steps = bytes.div_ceil(64 << 10);
    (1..=steps).all(|n| {
        let now = from + Duration::from_millis(n as u64);
        intake.try_grow(held.number, (n * (64 << 10)).min(bytes), now)
    })
}

#[test]
fn bodies_that_come_slowly_make_room_for_fast_ones_that_take_more() {
    let of_two_providers: fn(u8) -> IpAddr =
        |n| IpAddr::from([0x2001, 0xdb8 + u16::from(n % 2), u16::from(n % 8), u16::from(n / 8), 0, 0, 0, 1]);
    let unrelated: fn(u8) -> IpAddr = |n| IpAddr::from([100 + n, n + 3, 1, 1]);
    for crowd in [of_two_providers, unrelated] {
        let intake = Intake::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let dribbling: Vec<_> =
            (0..56).map(|n| intake.try_enter(Source::of(crowd(n)), Duration::ZERO, start).unwrap()).collect();
        let (first, each) = (limits::BODY_BYTES / 56 - (60 << 10), 10 << 10);
        assert!(dribbling.iter().all(|(held, _)| intake.try_grow(held.number, first, after(200))));
        for second in 1..=6 {
            let bytes = first + second * each;
            assert!(dribbling.iter().all(|(held, _)| intake.try_grow(
                held.number,
                bytes,
                after(1_000 * second as u64)
            )));
        }
        let gone = || dribbling.iter().filter(|(_, gone)| gone.is_cancelled()).count();
        for (n, mib) in [21, 10, 21].into_iter().enumerate() {
            let now = 6_000 + 1_000 * n as u64;
            let (honest, given_way) = intake.try_enter(address(7), Duration::ZERO, after(now)).unwrap();
            let before = gone();
            assert!(comes_fast(&intake, &honest, mib << 20, after(now)), "{mib} MiB");
            assert!(gone() - before <= mib.div_ceil(4), "no more than need be");
            // Nor does it give way to them while it is on its way.
            for (held, _) in &dribbling {
                intake.try_grow(held.number, first + 7 * each, after(now + 400));
            }
            assert!(!given_way.is_cancelled());
        }
    }
}

#[test]
fn a_crowd_of_new_bodies_drives_out_nobody_elses_slow_ones() {
    // Of one wide network, and of two, three and five that have all places between them.
    for wide in [1, 2, 3, 5] {
        let intake = Intake::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let slow: Vec<_> = (0..8).map(|n| intake.try_enter(address(50 + n), Duration::ZERO, start).unwrap()).collect();
        // At half of an ordinary line's speed.
        let come = |millis: u64| {
            let bytes = limits::ORDINARY_BODY_SPEED / 2 * usize::try_from(millis).unwrap() / 1_000;
            let comes = |(held, _): &(Held, Gone)| intake.try_grow(held.number, bytes, after(millis));
            assert!(slow.iter().all(comes));
        };
        (1..=50).for_each(|n| come(n * 100));
        // Each is given up before it is seen to be slow, and another one comes.
        let mut crowd = std::collections::VecDeque::new();
        for n in 0..3_000_u64 {
            let now = 5_000 + 4 * n;
            if n % 25 == 0 {
                come(now);
            }
            let from = IpAddr::from([200, (n % wide) as u8, (n / 2 % 4) as u8, (n / 8 % 250) as u8]);
            crowd.extend(intake.try_enter(Source::of(from), YOUNG, after(now)));
            if crowd.len() > 2 * limits::BODIES {
                crowd.pop_front();
            }
        }
        assert!(slow.iter().all(|(_, gone)| !gone.is_cancelled()), "{wide}");
        assert!(intake.try_enter(address(99), YOUNG, after(18_000)).is_some(), "others come in");
        assert!(slow.iter().all(|(_, gone)| !gone.is_cancelled()), "{wide}, nor for others");
    }
}

#[test]
fn of_slow_bodies_those_of_whoever_holds_most_of_them_go_and_fast_ones_make_no_room_for_them() {
    let intake = Intake::default();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let enter = |network, mib: usize, now| {
        let body = intake.try_enter(address(network), Duration::ZERO, start).unwrap();
        assert!(intake.try_grow(body.0.number, mib << 20, now));
        body
    };
    let whole = [enter(4, 64, start), enter(5, 16, start)];
    whole.iter().for_each(|(held, _)| assert!(intake.lock().is_read(held.number)));
    let slow = [enter(1, 25, start), enter(1, 23, start), enter(2, 32, start)];
    let fast: Vec<_> = (0..3).map(|_| enter(3, 32, after(5))).collect();
    let gone = || slow.each_ref().map(|(_, gone)| gone.is_cancelled());
    let (comer, _) = intake.try_enter(address(9), Duration::ZERO, after(5)).unwrap();
    assert!(intake.try_grow(comer.number, 1 << 20, after(5)));
    assert_eq!(gone(), [false, true, false], "the slowest of whoever holds most of what comes slowly");
    let _rest = enter(6, 22, after(5));
    let [_, _, (slow_comer, _)] = &slow;
    assert!(!intake.try_grow(slow_comer.number, (32 << 20) + (100 << 10), after(6)));
    assert_eq!(gone(), [false, true, false], "what comes slowly and is more than others' takes nothing of theirs");
    assert!(fast.iter().chain(&whole).all(|(_, gone)| !gone.is_cancelled()));
}

#[tokio::test]
async fn a_body_is_seen_to_come_slowly_while_there_is_no_room_for_it() {
    let intake = Intake::default();
    let start = Instant::now();
    let mut left = limits::BODY_BYTES - (50 << 10);
    let mut whole = Vec::new();
    while left > 0 {
        let (held, _) = intake.try_enter(address(1 + whole.len() as u8), Duration::ZERO, start).unwrap();
        let bytes = left.min(limits::BODY_BYTES_PER_ADDRESS);
        assert!(intake.try_grow(held.number, bytes, start));
        assert!(intake.lock().is_read(held.number));
        left -= bytes;
        whole.push(held);
    }
    let later = start + Duration::from_secs(10);
    let (honest, given_way) = intake.try_enter(address(100), Duration::ZERO, later).unwrap();
    assert!(intake.try_grow(honest.number, 30 << 10, later));
    let dribble = futures::stream::unfold(20 << 10, |bytes| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::io::Error>(vec![b' '; bytes]), 1 << 10))
    });
    let receiver = intake.clone();
    let slow = tokio::spawn(async move {
        let body = Body::from_stream(dribble);
        receiver.receive(address(101), body, &HeaderMap::new(), Bound::of_job(Encoding::Plain)).await.err()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(comes_fast(&intake, &honest, 40 << 10, later) && !given_way.is_cancelled());
    let told = slow.await.unwrap().unwrap();
    assert!(told.code == Code::BodyTooSlow && told.message.contains("more slowly than 128 KiB"), "{told:?}");
}

#[test]
fn a_newcomer_takes_the_place_of_the_slowest_body_of_its_address() {
    let intake = Intake::default();
    let start = Instant::now();
    let held: Vec<_> =
        (0..limits::BODIES_PER_ADDRESS).map(|_| intake.try_enter(address(1), Duration::ZERO, start).unwrap()).collect();
    assert!(intake.try_enter(address(1), Duration::ZERO, start).is_none(), "none of them is old enough to be slow");
    assert!(intake.try_enter(address(2), Duration::ZERO, start).is_some(), "another address has its own share");
    for (number, _) in held.iter().enumerate().filter(|(number, _)| *number != 7) {
        assert!(intake.try_grow(held[number].0.number, 1 << 20, start));
    }
    let later = start + Duration::from_secs(2);
    assert!(intake.try_enter(address(1), Duration::ZERO, later).is_some());
    assert!(held[7].1.is_cancelled() && held.iter().filter(|(_, gone)| gone.is_cancelled()).count() == 1);
}

#[test]
fn a_body_that_waits_for_room_is_no_slower_for_that_while_it_does_and_afterwards() {
    let intake = Intake::default();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let whole = intake.try_enter(address(1), Duration::ZERO, start).unwrap();
    assert!(intake.try_grow(whole.0.number, limits::BODY_BYTES_PER_ADDRESS - (1 << 10), start));
    assert!(intake.lock().is_read(whole.0.number));
    let patient = intake.try_enter(address(1), Duration::ZERO, start).unwrap();
    let bytes = 4 * limits::LEAST_BODY_SPEED;
    for second in 0..20 {
        assert!(!intake.try_grow(patient.0.number, bytes, after(second)));
    }
    let slow = intake.try_enter(address(1), Duration::ZERO, after(15)).unwrap();
    let comer = Comer { source: address(1), body: None, wants: 0, has_waited: false, lacks: 1 };
    let drop_slowest = |now| {
        let taken = intake.lock().take_slowest(Shared::Bodies, Scope::Address, now, comer);
        taken.unwrap().1.give_way();
    };
    drop_slowest(after(20));
    assert!(slow.1.is_cancelled() && !patient.1.is_cancelled(), "while it waits");
    drop(whole);
    assert!(intake.try_grow(patient.0.number, bytes, after(20)));
    let slow = intake.try_enter(address(1), Duration::ZERO, after(18)).unwrap();
    assert!(intake.try_grow(slow.0.number, limits::LEAST_BODY_SPEED, after(20)));
    drop_slowest(after(21));
    assert!(slow.1.is_cancelled() && !patient.1.is_cancelled(), "when it goes on");
}

#[test]
fn when_all_is_taken_the_address_with_most_bodies_gives_way() {
    let intake = Intake::default();
    let start = Instant::now();
    let few: Vec<_> = (0..3).map(|_| intake.try_enter(address(200), Duration::ZERO, start).unwrap()).collect();
    let mut many = Vec::new();
    let mut last = 0;
    while intake.lock().bodies.len() < limits::BODIES {
        let taken = intake.lock().bodies.len();
        last = u8::try_from(1 + (taken - 3) / limits::BODIES_PER_ADDRESS).unwrap();
        many.push(intake.try_enter(address(last), Duration::ZERO, start).unwrap());
    }
    assert!(last > 1);
    let later = start + Duration::from_secs(2);
    assert!(intake.try_enter(address(201), Duration::ZERO, later).is_some());
    assert!(few.iter().all(|(_, gone)| !gone.is_cancelled()));
    assert_eq!(many.iter().filter(|(_, gone)| gone.is_cancelled()).count(), 1);
}

#[test]
fn small_bodies_that_were_here_at_once_take_no_place_however_long_they_wait() {
    let intake = Intake::default();
    let waiting: Vec<_> = (0..2 * limits::BODIES).map(|_| intake.insert_whole(address(1))).collect();
    let now = Instant::now();
    assert!(intake.try_enter(address(2), Duration::ZERO, now).is_some(), "larger ones of others come in");
    let own: Vec<_> =
        (0..limits::BODIES_PER_ADDRESS).map_while(|_| intake.try_enter(address(1), Duration::ZERO, now)).collect();
    assert_eq!(own.len(), limits::BODIES_PER_ADDRESS);
    // Their bytes count, and they do not give way.
    let most = limits::BODY_BYTES_PER_ADDRESS / SMALL;
    let taken = waiting.iter().take_while(|(held, _)| intake.try_grow(held.number, SMALL, now)).count();
    assert_eq!(taken, waiting.len().min(most));
    assert!(waiting.iter().all(|(_, gone)| !gone.is_cancelled()));
}

#[test]
fn a_network_of_many_addresses_leaves_others_places_and_memory() {
    let intake = Intake::default();
    let now = Instant::now();
    let addresses = (1..=250).flat_map(|last| [near(1, last), near(1, last)]);
    let many: Vec<_> = addresses.map_while(|source| intake.try_enter(source, Duration::ZERO, now)).collect();
    assert_eq!(many.len(), limits::BODIES_PER_NETWORK);
    let large = 32 << 20;
    let grown = many.iter().take_while(|(held, _)| intake.try_grow(held.number, large, now)).count();
    assert_eq!(grown, limits::BODY_BYTES_PER_NETWORK / large);
    assert!(many.iter().all(|(held, _)| intake.lock().is_read(held.number)));
    let (other, _) = intake.try_enter(address(2), Duration::ZERO, now).unwrap();
    assert!(intake.try_grow(other.number, large, now));
}

#[test]
fn memory_is_shared_by_address_and_bodies_that_are_read_stay() {
    let intake = Intake::default();
    let start = Instant::now();
    let later = start + Duration::from_secs(5);
    let most = limits::MOST_BODY_BYTES;
    let fits = limits::BODY_BYTES_PER_ADDRESS / most;
    let whole = intake.try_enter(address(1), Duration::ZERO, start).unwrap();
    assert!(intake.try_grow(whole.0.number, most, later));
    assert!(intake.lock().is_read(whole.0.number));
    let others: Vec<_> = (1..fits).map(|_| intake.try_enter(address(1), Duration::ZERO, start).unwrap()).collect();
    for (held, _) in &others {
        assert!(intake.try_grow(held.number, most - (1 << 10), later));
    }
    let new = intake.try_enter(address(1), Duration::ZERO, later).unwrap();
    assert!(!intake.try_grow(new.0.number, most, later), "it is the slowest itself, having sent nothing");
    assert!(intake.try_grow(new.0.number, 64, later));
    let much_later = later + Duration::from_secs(7_200);
    assert!(intake.try_grow(new.0.number, 1 << 10, later));
    intake.lock().bodies.get_mut(&new.0.number).unwrap().since = much_later;
    assert!(intake.try_grow(new.0.number, most, much_later));
    assert!(!whole.1.is_cancelled() && others.iter().filter(|(_, gone)| gone.is_cancelled()).count() == 1);
    assert!(intake.lock().bodies.values().map(|body| body.bytes).sum::<usize>() <= limits::BODY_BYTES_PER_ADDRESS);
}

#[test]
fn bodies_of_whoever_takes_most_that_are_read_shield_nobody_elses() {
    let intake = Intake::default();
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let whole = |held: &Held| assert!(intake.lock().is_read(held.number));
    let most: Vec<_> =
        (0..limits::BODIES_PER_ADDRESS).map(|_| intake.try_enter(address(1), Duration::ZERO, start).unwrap()).collect();
    let bytes = limits::BODY_BYTES_PER_ADDRESS / most.len();
    for (held, _) in &most {
        assert!(intake.try_grow(held.number, bytes, start));
        whole(held);
    }
    let dribbles = (0..limits::BODIES).map(|n| 2 + u8::try_from(n % 10).unwrap());
    let dribbling: Vec<_> =
        dribbles.map(|network| intake.try_enter(address(network), Duration::ZERO, start).unwrap()).collect();
    let mut left = limits::BODY_BYTES - limits::BODY_BYTES_PER_ADDRESS;
    for (held, _) in &dribbling {
        let bytes = left.min(limits::MOST_BODY_BYTES);
        if bytes > 0 && intake.try_grow(held.number, bytes, start) {
            left -= bytes;
        }
    }
    let gone = || dribbling.iter().filter(|(_, gone)| gone.is_cancelled()).count();
    let honest = intake.try_enter(address(200), Duration::ZERO, later).unwrap();
    assert_eq!(gone(), 1, "for a place");
    let small = intake.insert_whole(address(201));
    assert!(intake.try_grow(small.0.number, SMALL, later) && intake.try_grow(honest.0.number, 1 << 20, later));
    assert_eq!((gone(), left), (2, 0), "for memory");
    assert!(most.iter().all(|(_, gone)| !gone.is_cancelled()));
}

#[test]
fn who_wants_more_than_others_take_and_who_would_gain_too_little_takes_nothing_of_theirs() {
    let intake = Intake::default();
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let mut left = limits::BODY_BYTES - (50 << 11);
    let mut whole = Vec::new();
    for network in 1..=3 {
        while let Some(bytes) = Some(left.min(limits::MOST_BODY_BYTES)).filter(|bytes| *bytes > 0) {
            let (held, _) = intake.try_enter(address(network), Duration::ZERO, start).unwrap();
            if !intake.try_grow(held.number, bytes, start) {
                break;
            }
            assert!(intake.lock().is_read(held.number));
            left -= bytes;
            whole.push(held);
        }
    }
    let mut small: Vec<_> =
        (10..60).map(|network| intake.try_enter(address(network), Duration::ZERO, start).unwrap()).collect();
    assert!(left == 0 && small.iter().all(|(held, _)| intake.try_grow(held.number, 2 << 10, start)));
    drop(small.pop());
    let gone = || small.iter().filter(|(_, gone)| gone.is_cancelled()).count();
    for bytes in [SMALL, 3 << 10, limits::MOST_BODY_BYTES] {
        let (held, _) = intake.insert_whole(address(200));
        assert!(!intake.try_grow(held.number, bytes, later) && gone() == 0, "{bytes}");
    }
    // An address that takes more than it, of which too little can go.
    let (few, few_gone) = intake.try_enter(address(3), Duration::ZERO, start).unwrap();
    assert!(intake.try_grow(few.number, 2 << 10, start));
    let (held, _) = intake.insert_whole(address(200));
    assert!(!intake.try_grow(held.number, 3 << 10, later) && gone() == 0 && !few_gone.is_cancelled());
    assert_eq!(intake.lock().bodies[&few.number].bytes, 2 << 10);
    assert!(intake.try_grow(held.number, 2 << 10, later) && gone() == 0 && few_gone.is_cancelled());
}

#[test]
fn while_those_of_whoever_takes_most_are_young_nobody_else_goes() {
    let intake = Intake::default();
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let apart = |n: usize| {
        let [a, b] = [n / 200, n % 200].map(|byte| u8::try_from(byte).unwrap());
        Source::of(IpAddr::from([20 + a, b, 1, 1]))
    };
    let singles = limits::BODIES - limits::BODIES_PER_ADDRESS;
    let singles: Vec<_> = (0..singles).map(|n| intake.try_enter(apart(n), Duration::ZERO, start).unwrap()).collect();
    let most: Vec<_> = (0..limits::BODIES_PER_ADDRESS)
        .map(|_| intake.try_enter(address(1), Duration::ZERO, after(900)).unwrap())
        .collect();
    let gone = |some: &[(Held, Gone)]| some.iter().filter(|(_, gone)| gone.is_cancelled()).count();
    assert!(intake.try_enter(apart(900), Duration::ZERO, after(1_000)).is_none());
    assert_eq!((gone(&singles), gone(&most)), (0, 0));
    drop(intake.try_enter(apart(901), YOUNG, after(1_000)).unwrap());
    assert_eq!((gone(&singles), gone(&most)), (1, 0), "who has waited for them waits for no new ones");
    let one_more = intake.try_enter(apart(902), Duration::ZERO, after(1_000));
    assert!(intake.try_enter(apart(900), Duration::ZERO, after(1_200)).is_some());
    assert_eq!((gone(&singles), gone(&most), one_more.is_some()), (1, 1, true));
}

#[test]
fn who_takes_more_than_others_takes_no_place_of_theirs() {
    let intake = Intake::default();
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let enter = |last: usize, now| intake.try_enter(near(1, u8::try_from(last).unwrap()), Duration::ZERO, now);
    let others = limits::BODIES_PER_NETWORK + 1 - limits::BODIES_PER_ADDRESS;
    let others: Vec<_> = (0..others).map(|n| enter(2 + n % 5, start).unwrap()).collect();
    let own: Vec<_> = (0..limits::BODIES_PER_ADDRESS).map_while(|_| enter(1, later)).collect();
    assert_eq!(own.len(), limits::BODIES_PER_ADDRESS - 1);
    assert!(others.iter().all(|(_, gone)| !gone.is_cancelled()));
}

#[test]
fn where_nobody_takes_more_than_others_it_is_not_the_highest_address_that_gives_way() {
    let in_few: fn(usize) -> [u8; 2] = |n| [44, u8::try_from(n / 250 % 4).unwrap()];
    let in_many: fn(usize) -> [u8; 2] = |n| [30 + u8::try_from(n / 250 % 4).unwrap(), u8::try_from(n % 250).unwrap()];
    for crowd in [in_few, in_many] {
        let intake = Intake::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let dribbles = |n: usize, now| {
            let [a, b] = crowd(n);
            let from = IpAddr::from([a, b, u8::try_from(n % 250).unwrap(), 7]);
            intake.try_enter(Source::of(from), Duration::ZERO, now)
        };
        let mut held: Vec<_> = (0..limits::BODIES).map(|n| dribbles(n, start).unwrap()).collect();
        let honest = [[60, 0, 0, 1], [20, 0, 0, 1]]
            .map(|from| intake.try_enter(Source::of(IpAddr::from(from)), Duration::ZERO, after(500)).unwrap());
        // All are as old, and these have sent more; the others go on coming.
        for n in 0..limits::BODIES {
            for (one, _) in &honest {
                assert!(intake.try_grow(one.number, 1 << 20, after(1_000)));
            }
            held.push(dribbles(n + 600, after(1_000 + 4 * n as u64)).unwrap());
        }
        assert!(honest.iter().all(|(_, gone)| !gone.is_cancelled()));
        drop((held, honest));
        let table = intake.lock();
        for taken in [&table.all, &table.slow] {
            assert!(taken.is_empty());
        }
    }
}

/// A body of which only the first byte comes.
fn of_one_byte() -> Body {
    let first = futures::stream::once(async { Ok::<_, std::io::Error>(vec![b' ']) });
    Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
}

/// Begins such bodies, and returns what becomes of each.
fn begin(intake: &Intake, source: Source, many: usize) -> Vec<tokio::task::JoinHandle<Option<Refusal>>> {
    let begin = |_| {
        let intake = intake.clone();
        let bound = Bound::of_job(Encoding::Plain);
        tokio::spawn(async move { intake.receive(source, of_one_byte(), &HeaderMap::new(), bound).await.err() })
    };
    (0..many).map(begin).collect()
}

#[tokio::test]
async fn no_more_wait_for_a_place_than_may_have_one_and_others_are_refused_at_once() {
    let intake = Intake::default();
    // They are young for longer than this test takes, so that none makes room.
    let soon = Instant::now() + Duration::from_secs(3_600);
    let _held: Vec<_> =
        (0..limits::BODIES_PER_ADDRESS).map(|_| intake.try_enter(address(1), Duration::ZERO, soon).unwrap()).collect();
    let mut waiting = begin(&intake, address(1), limits::BODIES_PER_ADDRESS + 5);
    let refused = async {
        let mut codes = Vec::new();
        while codes.len() < 5 {
            let (first, _, rest) = futures::future::select_all(std::mem::take(&mut waiting)).await;
            codes.push(first.unwrap().map(|refusal| refusal.code));
            waiting = rest;
        }
        codes
    };
    let refused = timeout(limits::ROOM_PATIENCE / 2, refused).await;
    assert_eq!(refused.unwrap(), [Some(Code::RateLimited); 5]);
    assert!(waiting.iter().all(|other| !other.is_finished()), "the others wait");
    // Who gives up makes room among those that wait.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for task in waiting {
        assert!(task.await.is_err());
    }
    assert!(intake.lock().without_place.is_empty());
}

#[test]
fn in_a_tick_few_take_from_others_and_what_is_free_goes_to_whoever_holds_least() {
    let intake = Intake::default();
    let start = Instant::now();
    let arrive = |source, now| intake.lock().arrive(source, now);
    let held: Vec<_> = (0..limits::BODIES).map(|n| arrive(address(1 + (n % 16) as u8), start)).collect();
    assert!(held.iter().all(|(_, _, answer)| *answer == Answer::Has));
    let later = start + Duration::from_secs(1);
    // Those of somebody who holds as much come first, but those of others who hold nothing pass them.
    let many: Vec<_> = (0..40).map(|_| arrive(address(1), later)).collect();
    let few: Vec<_> = (0..20).map(|n| arrive(address(50 + n), later)).collect();
    assert!(many.iter().chain(&few).all(|(_, _, answer)| *answer == Answer::Waits));
    let waits = |some: &[(u64, Gone, Answer)]| some.iter().filter(|(number, ..)| intake.lock().waits(*number)).count();
    let gone = || held.iter().filter(|(_, gone, _)| gone.is_cancelled()).count();
    drop(intake.lock().remove(held[0].0));
    assert_eq!((waits(&few), waits(&many)), (20, 40), "an end gives nobody a place itself");
    assert!(intake.lock().look_through(later));
    assert_eq!((waits(&few), waits(&many), gone()), (15, 40, 4));
    assert!(intake.lock().look_through(later + TICK));
    assert_eq!((waits(&few), waits(&many), gone()), (11, 40, 8));
    let numbers: Vec<_> = many.iter().chain(&few).map(|(number, ..)| *number).collect();
    numbers.into_iter().for_each(|number| drop(intake.lock().remove(number)));
    assert!(!intake.lock().look_through(later + 2 * TICK));
    assert!(intake.lock().without_place.is_empty());
}

#[test]
fn where_all_wait_that_may_one_of_whoever_does_with_most_goes_for_one_who_does_with_less() {
    let intake = Intake::default();
    let start = Instant::now();
    let arrive = |source| intake.lock().arrive(source, start);
    let _held: Vec<_> = (0..limits::BODIES).map(|n| arrive(address(1 + (n % 16) as u8))).collect();
    let waiting: Vec<_> = (0..limits::BODIES).map(|n| arrive(address(1 + (n % 16) as u8))).collect();
    assert!(waiting.iter().all(|(_, _, answer)| *answer == Answer::Waits));
    assert_eq!(arrive(address(1)).2, Answer::Refused);
    let (light, _, answer) = arrive(address(99));
    assert!(answer == Answer::Waits && intake.lock().waits(light));
    assert_eq!(waiting.iter().filter(|(_, gone, _)| gone.is_cancelled()).count(), 1);
}

#[test]
fn where_as_many_of_a_network_wait_as_may_one_of_whoever_does_with_most_goes_for_a_neighbour() {
    let intake = Intake::default();
    let start = Instant::now();
    let arrive = |source| intake.lock().arrive(source, start);
    let most = limits::BODIES_PER_NETWORK;
    let _held: Vec<_> = (0..most).map(|n| arrive(near(50, 1 + (n % 4) as u8))).collect();
    let waiting: Vec<_> = (0..most).map(|n| arrive(near(50, 1 + (n % 4) as u8))).collect();
    assert!(waiting.iter().all(|(_, _, answer)| *answer == Answer::Waits));
    assert_eq!(arrive(near(50, 1)).2, Answer::Refused);
    let (light, _, answer) = arrive(near(50, 99));
    assert!(answer == Answer::Waits && intake.lock().waits(light));
    assert_eq!(waiting.iter().filter(|(_, gone, _)| gone.is_cancelled()).count(), 1);
}

#[tokio::test]
async fn a_body_that_is_whole_gives_its_place_back_and_its_bytes_count() {
    let intake = Intake::default();
    let bytes = SMALL + 1;
    let receive = async |source| {
        let body = futures::stream::iter([Ok::<_, std::io::Error>(vec![b' '; SMALL]), Ok(vec![b' '])]);
        intake.receive(source, Body::from_stream(body), &HeaderMap::new(), Bound::of_job(Encoding::Plain)).await
    };
    let mut received = Vec::new();
    for n in 0..limits::BODIES + 1 {
        let one = timeout(Duration::from_secs(5), receive(address(1 + (n % 8) as u8))).await;
        received.push(one.unwrap().unwrap());
    }
    assert!(intake.lock().all.places.is_empty());
    let counted: usize = intake.lock().bodies.values().map(|body| body.bytes).sum();
    assert_eq!(counted, received.len() * bytes);
}

#[tokio::test]
async fn what_waits_for_its_turn_gives_way_to_who_takes_less_the_newest_first_and_what_is_read_does_not() {
    let intake = Intake::default();
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let whole = |network, bytes, now| {
        let (held, gone) = intake.try_enter(address(network), Duration::ZERO, now).unwrap();
        assert!(intake.try_grow(held.number, bytes, now) && intake.lock().is_whole(held.number));
        Received { bytes: Bytes::new(), held, gone }
    };
    let sizes = [limits::BODY_BYTES_PER_ADDRESS, limits::BODY_BYTES_PER_ADDRESS, limits::BODY_BYTES % (96 << 20)];
    let mut waiting = Vec::new();
    for (network, all) in (1..).zip(sizes) {
        for _ in 0..all / (16 << 20) {
            waiting.push(whole(network, 16 << 20, start));
        }
    }
    assert_eq!(intake.lock().bodies.values().map(|body| body.bytes).sum::<usize>(), limits::BODY_BYTES);
    let of_first = limits::BODY_BYTES_PER_ADDRESS / (16 << 20);
    for one in &waiting[of_first..] {
        assert!(one.waits_for(async {}).await.is_ok());
    }
    // Their sender takes most, and the others are read.
    let _small = whole(200, 1 << 20, later);
    let gone = |waiting: &[Received]| -> Vec<_> {
        waiting.iter().enumerate().filter(|(_, one)| one.gone.is_cancelled()).map(|(n, _)| n).collect()
    };
    assert_eq!(gone(&waiting), [of_first - 1]);
    let told = waiting[of_first - 1].waits_for(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(told.code, Code::RateLimited);
    assert!(waiting[0].waits_for(async {}).await.is_ok());
    // Who takes more than they do takes nothing of theirs.
    let (large, _) = intake.try_enter(address(3), Duration::ZERO, later).unwrap();
    assert!(!intake.try_grow(large.number, 32 << 20, later));
    assert_eq!(gone(&waiting), [of_first - 1]);
}
