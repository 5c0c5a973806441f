//! Offers claim; only deliveries count. What liars, black holes and slow nodes do to a small job beside one honest node.

#![expect(clippy::unwrap_used)]

use p2pnet_shared::{
    api::ProviderSettings,
    id::{Holder, OwnerId},
    job::Job,
    node::Input,
    units::Millis,
};
use p2pnet_sim::{
    actor::Actor,
    plan,
    world::{Hung, World},
};

const HONEST: Actor = Actor::Donor { cores: 2, units_per_second: 1_000_000 };
const LIAR: Actor = Actor::LyingOffer { units_per_second: 1 };
const BLACK_HOLE: Actor = Actor::BlackHole { cores: 16 };
const SLUGGISH: Actor = Actor::Sluggish { cores: 16, delay: Millis(20_000) };

/// A network of one honest node and others, who were all there before it.
fn network(seed: u64, others: &[Actor]) -> (World, usize, usize) {
    let mut world = World::new(seed);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    for other in others {
        world.add(*other);
    }
    let honest = world.add(HONEST);
    world.run_until(Millis(2_000), |_| false);
    (world, me, honest)
}

/// How long a job takes from now, in milliseconds.
fn time(world: &mut World, me: usize, job: Job) -> u64 {
    let begun = world.elapsed().0;
    let job = world.submit(me, job);
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    world.result(me, job);
    world.elapsed().0 - begun
}

#[test]
fn a_tiny_job_takes_no_ten_times_longer_beside_twenty_who_deliver_nothing() {
    for seed in 0..4 {
        let (mut world, me, _) = network(seed, &[]);
        let alone = [time(&mut world, me, plan::sum(1)), time(&mut world, me, plan::sum(1))];
        for kind in [&[LIAR][..], &[BLACK_HOLE], &[SLUGGISH], &[LIAR, BLACK_HOLE, SLUGGISH]] {
            for count in [1, 2, 5, 10, 20] {
                let others: Vec<Actor> = (0..count).map(|number| kind[number % kind.len()]).collect();
                let (mut world, me, _) = network(seed, &others);
                let first = time(&mut world, me, plan::sum(1));
                let next = time(&mut world, me, plan::sum(1));
                let said = format!("seed {seed}, {count} of {kind:?}: {first} and {next} ms, alone {alone:?} ms");
                println!("{said}");
                assert!(first <= alone[0] * 10 && next <= alone[1] * 10, "{said}");
            }
        }
    }
}

#[test]
fn a_large_job_beside_liars_and_black_holes_takes_hardly_longer_than_alone() {
    let units = 40_000_000; // 20 s for two cores
    let (mut world, me, _) = network(7, &[]);
    let alone = time(&mut world, me, plan::sum(units));
    let (mut world, me, honest) = network(7, &[LIAR, BLACK_HOLE, BLACK_HOLE, SLUGGISH, LIAR, BLACK_HOLE]);
    let job = world.submit(me, plan::sum(units));
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(units));
    let status = world.job(me, job);
    let share = status.nodes.iter().find(|share| share.node == world.id(honest)).unwrap().units;
    assert!(share > units * 9 / 10, "the honest one did {share}");
    assert!(status.elapsed.ran.0 < alone * 3 / 2, "{:?}, alone {alone} ms", status.elapsed.ran);
}

#[test]
fn a_slow_honest_node_is_given_work_that_suits_it_and_hardly_any_is_done_twice() {
    let mut world = World::new(9);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    let fast: Vec<usize> = (0..3).map(|_| world.add(Actor::Donor { cores: 2, units_per_second: 1_000 })).collect();
    // A first batch takes it three times as long as it is waited for, and more.
    let slow = world.add(Actor::Donor { cores: 2, units_per_second: 100 });
    world.run_until(Millis(2_000), |_| false);
    let before = world.units;
    let units = 1_000_000;
    let job = world.submit(me, plan::sum(units));
    assert!(world.run_until(Millis(2_000_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(units));
    let status = world.job(me, job);
    let of = |machine: usize| status.nodes.iter().find(|share| share.node == world.id(machine)).map_or(0, |n| n.units);
    // Its part of the speed is a thirty-first.
    assert!(of(slow) > units / 50, "the slow one did {}, the fast ones {}", of(slow), of(fast[0]));
    let computed = world.units - before;
    assert!(computed < units + units / 10, "{computed} units were computed for {units}");
}

#[test]
fn a_node_that_says_it_has_a_thousand_cores_is_given_no_more_than_it_delivers() {
    // It computes as fast as the honest one's core, but it has one.
    let (mut world, me, honest) = network(11, &[Actor::LyingOffer { units_per_second: 1_000_000 }]);
    let units = 60_000_000; // 20 s for three cores
    let job = world.submit(me, plan::sum(units));
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    let status = world.job(me, job);
    let share = status.nodes.iter().find(|share| share.node == world.id(honest)).unwrap().units;
    assert!(share > units / 2, "the honest one did {share}");
    assert!(status.elapsed.ran < Millis(30_000), "it took {:?}", status.elapsed.ran);
}

#[test]
fn a_job_beside_one_black_hole_takes_hardly_longer_than_without() {
    for seed in 0..4 {
        for units in [100_000, 1_000_000, 10_000_000] {
            let (mut world, me, _) = network(seed, &[HONEST]);
            let without = [time(&mut world, me, plan::sum(units)), time(&mut world, me, plan::sum(units))];
            let (mut world, me, _) = network(seed, &[HONEST, BLACK_HOLE]);
            let with = [time(&mut world, me, plan::sum(units)), time(&mut world, me, plan::sum(units))];
            let said = format!("seed {seed}, {units} units: {with:?} ms, without {without:?} ms");
            println!("{said}");
            // The first job finds out who does not deliver; what that one had comes back from another.
            assert!(with[0] <= without[0] * 3 / 2 + 1_500 && with[1] <= without[1] * 3 / 2, "{said}");
        }
    }
}

#[test]
fn what_went_to_two_nodes_counts_once() {
    let late = Actor::Sluggish { cores: 2, delay: Millis(3_000) };
    let (mut world, me, _) = network(13, &[late, BLACK_HOLE, LIAR, HONEST]);
    let units = 300_000;
    let job = world.submit(me, plan::squares(units, 0));
    let shares = |world: &World| {
        let nodes = world.job(me, job).nodes;
        (nodes.iter().map(|share| share.units).sum::<u64>(), nodes.iter().map(|share| share.tasks).sum::<u64>())
    };
    while !world.is_over(me, job) {
        world.run_until(Millis(200), |world| world.is_over(me, job));
        let progress = world.job(me, job).summary.progress;
        assert_eq!(shares(&world), (progress.units_done, progress.units_done));
    }
    assert!(world.calls > units, "some was computed twice: {}", world.calls);
    assert_eq!((world.result(me, job), shares(&world)), (plan::expected_squares(units), (units, units)));
    // What comes late changes nothing.
    let before = world.job(me, job);
    world.run_until(Millis(60_000), |_| false);
    assert_eq!((world.result(me, job), world.job(me, job)), (plan::expected_squares(units), before));
}

#[test]
fn a_tab_that_lends_a_quarter_of_its_core_is_given_its_part_job_after_job() {
    let (mut world, me, _) = network(17, &[]);
    let quarter = world.add(HONEST);
    let settings = ProviderSettings { lending: true, cores: 2, cpu_percent: 25, ..ProviderSettings::default() };
    world.input(quarter, Input::Settings(settings));
    world.run_until(Millis(2_000), |_| false);
    for round in 0..5 {
        let units = 20_000_000; // 8 s for both
        let before = world.units;
        let job = world.submit(me, plan::sum(units));
        assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
        assert_eq!(world.result(me, job), plan::expected_sum(units));
        let nodes = world.job(me, job).nodes;
        let share = nodes.iter().find(|share| share.node == world.id(quarter)).map_or(0, |share| share.units);
        println!("round {round}: it did {share} of {units}");
        assert!(share > units / 10, "of the speed it has a fifth; in round {round} it did {share} of {units}");
        let computed = world.units - before;
        assert!(computed < units + units / 10, "{computed} units were computed for {units}");
    }
    // And tiny jobs, which leave no time to find out: it gets some of them, and none waits for it.
    let times: Vec<u64> = (0..20).map(|_| time(&mut world, me, plan::sum(1))).collect();
    assert!(times.iter().all(|time| *time < 1_000), "{times:?}");
}

/// Nodes that have all delivered: `many` of four cores, and one of a single core. `lends`: the requester has a core, too.
fn proven(seed: u64, many: usize, lends: bool) -> (World, usize, Vec<usize>, usize) {
    let mut world = World::new(seed);
    world.add(Actor::Seed);
    let one_core = Actor::Donor { cores: 1, units_per_second: 1_000_000 };
    let me = world.add(if lends { one_core } else { Actor::Requester });
    let others: Vec<usize> =
        (0..many).map(|_| world.add(Actor::Donor { cores: 4, units_per_second: 1_000_000 })).collect();
    let honest = world.add(one_core);
    world.run_until(Millis(2_000), |_| false);
    let job = world.submit(me, plan::sum(50_000_000));
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    let delivered = world.job(me, job).nodes;
    assert!(others.iter().chain([&honest]).all(|node| delivered.iter().any(|share| share.node == world.id(*node))));
    world.run_until(Millis(1_000), |_| false);
    (world, me, others, honest)
}

#[test]
fn nodes_that_delivered_and_fall_silent_together_hold_up_one_tiny_job_for_seconds_and_none_after_it() {
    for (seed, many) in [(0, 1), (1, 2), (2, 5), (3, 5), (4, 10)] {
        for lends in [true, false] {
            for hung in [Hung::ForEver, Hung::Replaced(Millis(6_000))] {
                let (mut world, me, others, _) = proven(seed, many, lends);
                let before = (0..5).map(|_| time(&mut world, me, plan::sum(1))).max().unwrap();
                others.iter().for_each(|node| world.hang(*node, hung));
                let first = time(&mut world, me, plan::sum(1));
                let next: Vec<u64> = (0..20).map(|_| time(&mut world, me, plan::sum(1))).collect();
                let said = format!("{many} {hung:?}, lends {lends}: {before} ms before, then {first} and {next:?} ms");
                println!("{said}");
                assert!(first < 8_000 && next.iter().all(|time| *time <= 3 * before + 100), "{said}");
                // Also when they have said that what they were given has timed out.
                world.run_until(Millis(60_000), |_| false);
                let later: Vec<u64> = (0..5).map(|_| time(&mut world, me, plan::sum(1))).collect();
                assert!(later.iter().all(|time| *time <= 3 * before + 100), "{said}, later {later:?} ms");
            }
        }
    }
}

#[test]
fn a_larger_job_beside_nodes_that_fell_silent_takes_seconds_longer_than_without_them() {
    for units in [300_000, 3_000_000, 30_000_000] {
        let (mut world, me, ..) = proven(7, 0, true);
        let without = [time(&mut world, me, plan::sum(units)), time(&mut world, me, plan::sum(units))];
        let (mut world, me, others, _) = proven(7, 5, true);
        others.iter().for_each(|node| world.hang(*node, Hung::ForEver));
        let with = [time(&mut world, me, plan::sum(units)), time(&mut world, me, plan::sum(units))];
        let said = format!("{units} units: {with:?} ms, without {without:?} ms");
        println!("{said}");
        assert!(with[0] <= without[0] * 3 / 2 + 8_000 && with[1] <= without[1] * 3 / 2 + 500, "{said}");
    }
}

#[test]
fn tiny_jobs_of_many_at_once_find_who_still_delivers() {
    let (mut world, me, others, _) = proven(5, 5, false);
    others.iter().for_each(|node| world.hang(*node, Hung::ForEver));
    for round in 0..5 {
        let begun = world.elapsed().0;
        let jobs: Vec<_> = (0..30)
            .map(|number: u32| {
                let holder = Holder::of(OwnerId::of(&number.to_le_bytes()));
                world.submit(me, Job { holder, ..plan::sum(1) })
            })
            .collect();
        assert!(world.run_until(Millis(600_000), |world| jobs.iter().all(|job| world.is_over(me, *job))));
        let took = world.elapsed().0 - begun;
        println!("round {round}: {took} ms");
        assert!(took < if round == 0 { 10_000 } else { 3_000 }, "round {round}: {took} ms");
    }
}

#[test]
fn a_node_that_timed_out_with_what_another_does_at_once_counts_as_silent() {
    let (mut world, me, others, honest) = proven(6, 2, false);
    world.stop(honest);
    others.iter().for_each(|node| world.hang(*node, Hung::Replaced(Millis(6_000))));
    let job = world.submit(me, plan::sum(1));
    let timed_out =
        |world: &World| world.job(me, job).attempts.iter().filter(|attempt| attempt.error.is_some()).count();
    assert!(world.run_until(Millis(120_000), |world| timed_out(world) >= 2));
    world.start(honest);
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(1));
    // Nobody else is there: a silent node is not waited for as one is that delivers.
    world.stop(honest);
    let next = world.submit(me, plan::sum(1));
    world.run_until(Millis(2_000), |_| false);
    assert_eq!(world.job(me, next).attempts_total, 2);
}

#[test]
fn a_node_that_computes_an_endless_call_of_a_stranger_keeps_its_part_and_tiny_jobs_their_pace() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.add(Actor::Seed);
        let me = world.add(Actor::Requester);
        let nodes = [(); 2].map(|()| world.add(Actor::Donor { cores: 2, units_per_second: 1_000 }));
        world.run_until(Millis(2_000), |_| false);
        time(&mut world, me, plan::sum(100_000));
        let before = (0..5).map(|_| time(&mut world, me, plan::sum(1))).max().unwrap();
        let mut endless = plan::call(3_600_000);
        endless.holder = Holder::of(OwnerId::of(b"stranger"));
        endless.requirements.timeout_seconds = 3_600;
        world.submit(me, endless);
        // It is late, and has gone to the other as well.
        world.run_until(Millis(10_000), |_| false);
        let times: Vec<u64> = (0..20).map(|_| time(&mut world, me, plan::sum(1))).collect();
        assert!(times.iter().all(|time| *time <= 3 * before + 100), "{times:?} ms, {before} ms before");
        let job = world.submit(me, plan::sum(100_000));
        assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
        let status = world.job(me, job);
        for node in nodes {
            let units = status.nodes.iter().find(|share| share.node == world.id(node)).map_or(0, |share| share.units);
            assert!(units > 30_000, "seed {seed}: one did {units} of 100,000");
        }
    }
}
