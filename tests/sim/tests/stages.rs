//! Jobs of several stages: outputs feed what comes after them, whoever computes what, and whatever breaks meanwhile.

#![expect(clippy::unwrap_used)]

use p2pnet_shared::{
    job::{AttemptState, JobState},
    units::Millis,
};
use p2pnet_sim::{
    actor::Actor,
    graph,
    world::{Weather, World},
};

const UNITS: u64 = 2_000;

fn ends_right(world: &mut World, me: usize, job: p2pnet_shared::id::JobId) {
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    assert_eq!(world.job(me, job).summary.state, JobState::Completed);
    assert_eq!(world.result(me, job), graph::expected(UNITS));
}

#[test]
fn a_graph_of_stages_comes_to_what_it_must_and_a_stage_begins_before_what_feeds_it_is_through() {
    let (mut world, me) = World::around_a_requester(1, &[Actor::Donor { cores: 2, units_per_second: 500 }; 3]);
    let job = world.submit(me, graph::job(UNITS));
    ends_right(&mut world, me, job);
    let status = world.job(me, job);
    let of = |stage: u64| {
        let whole = stage * UNITS..(stage + 1) * UNITS;
        status.attempts.iter().filter(move |attempt| whole.contains(&attempt.span.start))
    };
    let accepted = |state: AttemptState| state == AttemptState::Accepted;
    let ended = |stage| of(stage).filter(|attempt| accepted(attempt.state)).filter_map(|attempt| attempt.ended_at);
    let (squares, ranges) = (ended(0).max().unwrap(), ended(2).max().unwrap());
    assert!(of(1).map(|attempt| attempt.assigned_at).min().unwrap() < squares, "unit by unit");
    assert!(of(2).all(|attempt| attempt.assigned_at >= squares), "not before all are there");
    assert!(of(3).all(|attempt| attempt.assigned_at >= ranges.max(ended(1).max().unwrap())));
    assert_eq!(status.summary.progress.units_done, 3 * UNITS + 1);
}

#[test]
fn spans_never_reach_over_the_end_of_a_stage() {
    let (mut world, me) = World::around_a_requester(2, &[Actor::Donor { cores: 1, units_per_second: 1_000_000 }; 2]);
    let job = world.submit(me, graph::job(UNITS));
    ends_right(&mut world, me, job);
    for attempt in world.job(me, job).attempts {
        assert_eq!(attempt.span.start / UNITS, (attempt.span.end - 1) / UNITS, "{:?}", attempt.span);
    }
}

#[test]
fn a_restart_in_the_middle_of_a_graph_loses_nothing_that_was_done() {
    for percent in [10, 40, 70, 90] {
        let (mut world, me) = World::around_a_requester(3, &[Actor::Donor { cores: 2, units_per_second: 400 }; 2]);
        let job = world.submit(me, graph::job(UNITS));
        assert!(world.run_until(Millis(600_000), |world| world.job(me, job).summary.progress.percent >= percent));
        let done = world.job(me, job).summary.progress.units_done;
        // A disk takes a moment.
        world.run_until(Millis(50), |_| false);
        world.stop(me);
        world.run_until(Millis(500), |_| false);
        world.start(me);
        let resumed = world.job(me, job).summary.progress.units_done;
        assert!(resumed >= done, "at {percent} %: {resumed} of {done}");
        ends_right(&mut world, me, job);
    }
}

#[test]
fn a_graph_ends_right_in_bad_weather_among_nodes_that_come_and_go() {
    for seed in 0..8 {
        let mut world = World::new(100 + seed);
        world.set_weather(Weather { link_life: Some(Millis(8_000)), failed_dials: 20, ..Weather::default() });
        world.add(Actor::Seed);
        let me = world.add(Actor::Requester);
        for _ in 0..3 {
            world.add(Actor::Donor { cores: 2, units_per_second: 300 });
        }
        let job = world.submit(me, graph::job(UNITS));
        ends_right(&mut world, me, job);
    }
}
