//! A requester that dies at any moment: what somebody was told stays so, and what nobody was told of goes on.
#![expect(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use p2pnet_shared::{
    id::JobId,
    job::JobState,
    node::{Found, Input, Listing},
    units::Millis,
};
use p2pnet_sim::{actor::Actor, plan, world::World};

const DONOR: Actor = Actor::Donor { cores: 2, units_per_second: 1_000 };
const UNITS: u64 = 50;
const PATIENCE: Millis = Millis(60_000);

/// A job under way, always in the same way.
fn begun() -> (World, usize, JobId) {
    let (mut world, me) = World::around_a_requester(7, &[DONOR]);
    let job = world.submit(me, plan::squares(UNITS, 0));
    (world, me, job)
}

fn is_told(world: &World, me: usize, job: JobId) -> bool {
    world.told(me, job).is_some_and(|summary| summary.state.is_final())
}

/// Whether anybody who asks sees that it is over, in any way of asking.
fn is_shown(world: &World, me: usize, job: JobId) -> bool {
    let (node, status) = (world.node(me), world.job(me, job));
    let listed = node.list(&Listing::everything(), usize::MAX).unwrap().jobs;
    let found = listed.into_iter().chain(node.find(job)).map(|found| match found {
        Found::Here(summary) => summary.state,
        Found::Kept(key) => panic!("{key:?} is in memory"),
    });
    let seen: BTreeSet<JobState> =
        found.chain(node.summary(job).map(|job| job.state)).chain([status.summary.state]).collect();
    assert_eq!(seen.len(), 1, "{seen:?}: it depends on how one asks");
    seen.into_iter().all(JobState::is_final)
}

#[test]
fn who_was_told_or_has_seen_that_a_job_is_over_finds_it_over_whenever_its_node_died() {
    let (mut world, me, job) = begun();
    let began = world.elapsed();
    assert!(world.run_until(PATIENCE, |world| is_told(world, me, job)));
    let took = (world.elapsed().0 - began.0) + 5;
    let (mut ended_untold, mut told_and_over, mut went_on) = (0, 0, 0);
    for moment in took.saturating_sub(60)..took {
        let (mut world, me, job) = begun();
        world.run_until(Millis(moment), |_| false);
        let was_over = world.node(me).has_ended(job) == Some(true);
        let was_told = is_told(&world, me, job) || is_shown(&world, me, job);
        world.stop(me);
        world.start(me);
        // Jobs that are over are read meanwhile.
        world.run_until(Millis(10), |_| false);
        let is_over = world.node(me).is_over(job).unwrap();
        assert!(is_over || !was_told, "at {moment} ms it was told to be over, and is not");
        ended_untold += u32::from(was_over && !was_told);
        told_and_over += u32::from(was_told);
        went_on += u32::from(was_over && !is_over);
        assert!(world.run_until(PATIENCE, |world| world.node(me).is_over(job) == Some(true)));
        assert_eq!(world.result(me, job), plan::expected_squares(UNITS), "at {moment} ms");
        assert_eq!(world.node(me).records_not_understood(), 0);
    }
    assert!(ended_untold > 0 && told_and_over > 0 && went_on > 0, "{ended_untold} {told_and_over} {went_on}");
}

#[test]
fn a_job_that_is_removed_is_gone_for_whoever_was_told_and_whole_for_everybody_else() {
    let mut outcomes = [0, 0];
    for moment in 0..8 {
        let (mut world, me, job) = begun();
        assert!(world.run_until(PATIENCE, |world| is_told(world, me, job)));
        world.input(me, Input::Removed { id: job });
        world.run_until(Millis(moment), |_| false);
        world.stop(me);
        world.start(me);
        world.run_until(Millis(10), |_| false);
        match world.node(me).is_over(job) {
            Some(is_over) => {
                assert!(is_over);
                assert_eq!(world.result(me, job), plan::expected_squares(UNITS));
                outcomes[0] += 1;
            }
            None => outcomes[1] += 1,
        }
    }
    assert!(outcomes.iter().all(|times| *times > 0), "{outcomes:?}");
}
