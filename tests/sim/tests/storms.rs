//! What a network of nodes does with jobs in foul weather: connections that break, machines that stop, relays that
//! restart, a thousand donors that come and go, and liars among them.

#![expect(clippy::unwrap_used)]

use p2pnet_shared::{
    job::{AttemptState, JobState},
    units::Millis,
};
use p2pnet_sim::{
    actor::Actor,
    plan, scenario,
    world::{DISK, Weather, World},
};

const DONOR: Actor = Actor::Donor { cores: 2, units_per_second: 100_000 };

#[test]
fn a_donor_that_vanishes_costs_a_resend_and_not_the_job() {
    let mut world = World::new(1);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    let donors = [world.add(DONOR), world.add(DONOR)];
    let job = world.submit(me, plan::sum(2_000_000));
    world.run_until(Millis(3_000), |_| false);
    world.stop(donors[0]);
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(2_000_000));
    let lost = world.job(me, job).attempts.iter().filter(|attempt| attempt.state == AttemptState::Lost).count();
    assert!(lost > 0, "the vanished node had work");
}

#[test]
fn a_requester_that_restarts_resumes_with_what_was_done() {
    let mut world = World::new(2);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    world.add(DONOR);
    for job in [plan::sum(2_000_000), plan::squares(100_000, 0)] {
        let units = job.stages.units();
        let shape = job.stages.iter().next().unwrap().stage.shape;
        let each = shape == p2pnet_shared::job::CallShape::EachUnit;
        let job = world.submit(me, job);
        assert!(world.run_until(Millis(60_000), |world| world.job(me, job).summary.progress.percent >= 30));
        let done = world.job(me, job).summary.progress.units_done;
        world.run_until(DISK, |_| false);
        world.stop(me);
        world.run_until(Millis(500), |_| false);
        world.start(me);
        let resumed = world.job(me, job).summary;
        assert_eq!(resumed.state, JobState::Running);
        assert!(resumed.progress.units_done >= done, "nothing that was done is lost");
        assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
        let expected = if each { plan::expected_squares(units) } else { plan::expected_sum(units) };
        assert_eq!(world.result(me, job), expected);
        // And the finished job is still there after one more restart.
        world.run_until(DISK, |_| false);
        world.stop(me);
        world.start(me);
        world.run_until(DISK, |_| false);
        assert_eq!(world.result(me, job), expected);
        assert_eq!(world.job(me, job).summary.progress.percent, 100);
    }
}

#[test]
fn a_job_in_json_resumes_after_a_restart_of_everybody() {
    let mut world = World::new(6);
    let seed = world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    // Whatever a batch holds, it takes a second.
    let donor = world.add(Actor::Donor { cores: 1, units_per_second: 1 });
    let json = r#"{"kind":"range_reduce","start":1,"end":300000,"map":"x","where":"x % 2 == 0","reduce":"sum"}"#;
    let job = world.submit(me, plan::read(json, &|_| None).unwrap());
    assert!(world.run_until(Millis(60_000), |world| world.job(me, job).summary.progress.units_done > 20_000));
    let done = world.job(me, job).summary.progress.units_done;
    world.run_until(DISK, |_| false);
    for machine in [seed, me, donor] {
        world.stop(machine);
    }
    world.run_until(Millis(1_000), |_| false);
    for machine in [me, donor, seed] {
        world.start(machine);
    }
    assert!(world.job(me, job).summary.progress.units_done >= done);
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    let result: serde_json::Value = serde_json::from_str(&world.result(me, job)).unwrap();
    assert_eq!(result.to_string().trim_matches('"'), (150_000u64 * 150_001).to_string());
}

#[test]
fn a_seed_that_restarts_is_found_again_and_the_job_goes_on() {
    let mut world = World::new(3);
    let seed = world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    world.add(DONOR);
    let job = world.submit(me, plan::sum(3_000_000));
    world.run_until(Millis(2_000), |_| false);
    world.stop(seed);
    world.cut_off(me);
    world.run_until(Millis(4_000), |_| false);
    assert!(!world.node(me).network().online);
    world.start(seed);
    assert!(world.run_until(Millis(15_000), |world| world.node(me).network().online));
    // A donor that comes now is used for what is left.
    let late = world.add(DONOR);
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(3_000_000));
    assert!(world.job(me, job).nodes.iter().any(|share| share.node == world.id(late)));
}

#[test]
fn a_connection_that_breaks_for_a_moment_loses_no_work() {
    let mut world = World::new(4);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    world.add(DONOR);
    let job = world.submit(me, plan::sum(2_000_000));
    for _ in 0..8 {
        world.run_until(Millis(1_000), |_| false);
        world.cut_off(me);
    }
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(2_000_000));
    let status = world.job(me, job);
    assert!(status.attempts.iter().all(|attempt| attempt.state == AttemptState::Accepted), "every attempt came back");
}

#[test]
fn a_black_hole_is_given_up() {
    let mut world = World::new(5);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    world.add(Actor::BlackHole { cores: 4 });
    world.add(DONOR);
    let job = world.submit(me, plan::squares(50_000, 0));
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_squares(50_000));
}

#[test]
fn a_mixed_world_runs_the_same_way_twice() {
    assert_eq!(scenario::mixed(42), scenario::mixed(42));
    assert_ne!(scenario::mixed(42), scenario::mixed(43));
}

#[test]
fn peers_that_talk_nonsense_change_no_result_and_stop_nobody() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.set_weather(Weather { failed_dials: 5, ..Weather::default() });
        world.add(Actor::Seed);
        let me = world.add(Actor::Requester);
        for _ in 0..3 {
            world.add(DONOR);
        }
        for _ in 0..5 {
            world.add(Actor::Hostile);
        }
        let first = world.submit(me, plan::sum(1_000_000));
        let second = world.submit(me, plan::squares(20_000, 0));
        let over = world.run_until(Millis(200_000), |world| world.is_over(me, first) && world.is_over(me, second));
        assert!(over, "seed {seed}");
        assert_eq!(world.result(me, first), plan::expected_sum(1_000_000), "seed {seed}");
        assert_eq!(world.result(me, second), plan::expected_squares(20_000), "seed {seed}");
    }
}

#[test]
fn a_thousand_nodes_that_come_and_go_complete_one_job() {
    let mut world = World::new(1000);
    world.set_weather(Weather { link_life: Some(Millis(60_000)), failed_dials: 5, ..Weather::default() });
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    for number in 0..998u64 {
        let cores = 1 + (number % 4) as u16;
        let units_per_second = 20_000 + number * 100;
        world.add(match number % 10 {
            0..5 => Actor::Donor { cores, units_per_second },
            5..9 => Actor::Fickle { cores, units_per_second, stays: Millis(20_000), away: Millis(10_000) },
            _ if number % 50 == 9 => Actor::Broken { cores },
            _ if number % 50 == 19 => Actor::BlackHole { cores },
            _ => Actor::Donor { cores, units_per_second: 500 },
        });
    }
    world.run_until(Millis(2_000), |_| false);
    let units = 5_000_000_000;
    let job = world.submit(me, plan::sum(units));
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(units));
    let status = world.job(me, job);
    println!(
        "1,000 nodes: {} nodes delivered, {} attempts, {:?} virtual, {} messages, {} MiB",
        status.nodes.len(),
        status.attempts_total,
        status.elapsed.ran,
        world.messages,
        world.bytes >> 20
    );
    assert!(status.nodes.len() > 800, "only {} nodes took part", status.nodes.len());
    // All of them together, always there and found at once, would need 33 s.
    assert!(status.elapsed.ran < Millis(90_000), "it took {:?}", status.elapsed.ran);
}
