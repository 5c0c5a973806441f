//! Kernels that are prepared once for many calls: what that takes is told apart from the gas of calls.

#![expect(clippy::unwrap_used)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::{
    engine::{Engine as _, Prepared, WasmiEngine},
    job::{AttemptState, Job, JobState, kinds, local::run_locally},
    units::{Gas, Millis},
};
use p2pnet_sim::{actor::Actor, plan, world::World};
use p2pnet_test_kernels::prepared::{by_table, table};

const CALLS: usize = 60;
const SHARED: &[u8] = b"what a model is made of";

fn input() -> Vec<u8> {
    (0..CALLS * 4).map(|at| at.to_le_bytes()[0]).collect()
}

fn job() -> Job {
    let [kernel, common, input] = [table(), SHARED.to_vec(), input()].map(|bytes| STANDARD.encode(bytes));
    let source =
        format!(r#"{{"kind":"kernel","kernel":"{kernel}","common":"{common}","input":"{input}","split":"bytes:4"}}"#);
    kinds::read(&source, &|_| None).unwrap()
}

#[test]
fn what_preparing_took_is_told_to_who_leads_the_job_and_is_none_of_its_gas() {
    let (mut world, me) = World::around_a_requester(1, &[Actor::Donor { cores: 2, units_per_second: 20 }; 2]);
    let id = world.submit(me, job());
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, id)));
    let status = world.job(me, id);
    assert_eq!(status.summary.state, JobState::Completed);
    assert_eq!(world.result(me, id), format!("\"{}\"", STANDARD.encode(by_table(SHARED, &input()))));

    let mut engine = WasmiEngine::new();
    let here = run_locally(&job(), &mut engine, u64::MAX).unwrap();
    let once = Gas(engine.take_prepared().gas.0 / CALLS as u64);
    assert!(once.0 > 1_000_000, "{once:?}");
    // The simulator's engine keeps no instance ready.
    let all = Prepared { instances: CALLS as u64, gas: Gas(once.0 * CALLS as u64) };
    let progress = status.summary.progress;
    assert_eq!((progress.gas, progress.prepared), (here.gas, all));
    let mut of_attempts = Prepared::default();
    for attempt in status.attempts.iter().filter(|attempt| attempt.state == AttemptState::Accepted) {
        assert_eq!(attempt.prepared.instances, attempt.tasks, "{attempt:?}");
        of_attempts += attempt.prepared;
    }
    assert_eq!(of_attempts, all);
}

#[test]
fn nothing_is_said_of_preparing_where_nothing_is_prepared() {
    let (mut world, me) = World::around_a_requester(2, &[Actor::Donor { cores: 2, units_per_second: 1_000 }]);
    let id = world.submit(me, plan::squares(100, 0));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, id)));
    let status = world.job(me, id);
    assert!(status.summary.progress.prepared.is_nothing());
    assert!(status.attempts.iter().all(|attempt| attempt.prepared.is_nothing()));
}
