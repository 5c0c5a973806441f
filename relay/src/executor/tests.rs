//! The executor with kernels written here by hand.
#![expect(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use futures::StreamExt;
use p2pnet_shared::{blob::Blob, engine::Limits, id::Hash};
use p2pnet_test_kernels as kernels;

use super::*;

fn echo() -> Arc<[u8]> {
    kernels::echo().into()
}

fn endless() -> Arc<[u8]> {
    kernels::endless().into()
}

fn batch(kernel: &[u8], calls: &[&[u8]], limits: Limits) -> Batch {
    Batch {
        kernel: Hash::of(kernel),
        common: Some(Blob::new(b"<".to_vec())),
        calls: calls.iter().map(|call| call.to_vec()).collect(),
        limits,
    }
}

fn new() -> (Executor, mpsc::Receiver<HostFact>) {
    let (facts, incoming) = mpsc::channel(16);
    let folder = std::env::temp_dir().join(format!("p2pnet-compiled-{}", std::process::id()));
    (Executor::new(facts, &folder, Sandbox::Thread, 1024), incoming)
}

async fn next(incoming: &mut mpsc::Receiver<HostFact>) -> (RunId, BatchReport) {
    match tokio::time::timeout(Duration::from_secs(60), incoming.next()).await {
        Ok(Some(HostFact::Executed { run, report })) => (run, report),
        other => panic!("{other:?}"),
    }
}

fn traps(report: &BatchReport) -> Vec<Option<Trap>> {
    report.outcomes.iter().map(|outcome| outcome.output.as_ref().err().copied()).collect()
}

#[tokio::test]
async fn calls_come_back_in_order_with_what_they_share_in_front() {
    let (executor, mut incoming) = new();
    let kernel = echo();
    executor.execute(RunId(7), Arc::clone(&kernel), batch(&kernel, &[b"a", b"", b"cc"], Limits::default()), 100);
    let (run, report) = next(&mut incoming).await;
    assert_eq!(run, RunId(7));
    let outputs: Vec<Vec<u8>> = report.outcomes.into_iter().map(|outcome| outcome.output.unwrap()).collect();
    assert_eq!(outputs, [b"<a".to_vec(), b"<".to_vec(), b"<cc".to_vec()]);
}

#[tokio::test]
async fn a_trap_ends_the_batch_and_a_broken_kernel_says_so() {
    let (executor, mut incoming) = new();
    let trapping: Arc<[u8]> = kernels::trapping().into();
    executor.execute(RunId(1), Arc::clone(&trapping), batch(&trapping, &[b"", b""], Limits::default()), 100);
    assert_eq!(traps(&next(&mut incoming).await.1), [Some(Trap::Trapped)]);
    let nonsense: Arc<[u8]> = b"no wasm".as_slice().into();
    executor.execute(RunId(2), Arc::clone(&nonsense), batch(&nonsense, &[b""], Limits::default()), 100);
    assert_eq!(traps(&next(&mut incoming).await.1), [Some(Trap::BrokenContract)]);
}

#[tokio::test]
async fn a_kernel_that_loops_for_ever_is_stopped_by_gas_by_time_and_by_abort() {
    let (executor, mut incoming) = new();
    let kernel = endless();
    let little = Limits { gas: Gas(100_000), ..Limits::default() };
    executor.execute(RunId(1), Arc::clone(&kernel), batch(&kernel, &[b""], little), 100);
    assert_eq!(traps(&next(&mut incoming).await.1), [Some(Trap::OutOfGas)]);

    let short = Limits { time_millis: 50, ..Limits::default() };
    executor.execute(RunId(2), Arc::clone(&kernel), batch(&kernel, &[b""], short), 100);
    assert_eq!(traps(&next(&mut incoming).await.1), [Some(Trap::TimedOut)]);

    // One a core, and one more that waits: all are aborted, each is answered once.
    executor.set_cores(1);
    for run in [3, 4] {
        executor.execute(RunId(run), Arc::clone(&kernel), batch(&kernel, &[b""], Limits::default()), 10);
    }
    executor.abort(RunId(4));
    executor.abort(RunId(3));
    let mut ended = [next(&mut incoming).await, next(&mut incoming).await];
    ended.sort_by_key(|(run, _)| *run);
    for (index, (run, report)) in ended.iter().enumerate() {
        assert_eq!((*run, traps(report)), (RunId(3 + index as u64), vec![Some(Trap::Cancelled)]));
    }
    executor.abort(RunId(99));
    executor.stop();
    executor.execute(RunId(5), Arc::clone(&kernel), batch(&kernel, &[b""], Limits::default()), 100);
    assert_eq!(traps(&next(&mut incoming).await.1), [Some(Trap::HostFailed)]);
}

#[tokio::test]
async fn a_share_of_the_core_is_worked_and_the_rest_rested() {
    let (executor, mut incoming) = new();
    let kernel = endless();
    // First with all of a core until the gas is used, so that nothing is compiled in the time that counts.
    let little = Limits { gas: Gas(100_000_000), ..Limits::default() };
    executor.execute(RunId(1), Arc::clone(&kernel), batch(&kernel, &[b""], little), 100);
    assert_eq!(traps(&next(&mut incoming).await.1), [Some(Trap::OutOfGas)]);
    let limits = Limits { time_millis: 1000, ..Limits::default() };
    executor.execute(RunId(2), Arc::clone(&kernel), batch(&kernel, &[b""], limits), 25);
    let (_, report) = next(&mut incoming).await;
    assert_eq!(traps(&report), [Some(Trap::TimedOut)]);
    // Without any rest it would be all of its time at least, however slow the machine is.
    assert!(report.outcomes[0].gas > Gas(0) && report.busy_micros < 1_000_000, "{report:?}");
}

#[tokio::test]
async fn all_cores_work_and_nothing_is_lost() {
    let (executor, mut incoming) = new();
    executor.set_cores(4);
    let kernel = echo();
    for run in 0..500 {
        executor.execute(
            RunId(run),
            Arc::clone(&kernel),
            batch(&kernel, &[&run.to_le_bytes()], Limits::default()),
            100,
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let (run, report) = next(&mut incoming).await;
        assert_eq!(report.outcomes[0].output.as_ref().unwrap()[1..], run.0.to_le_bytes());
        assert!(seen.insert(run));
    }
}

/// Until a run has begun.
async fn begun(executor: &Executor, run: RunId) {
    while executor.shared.lock().queue.iter().any(|order| order.run == run) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_run_is_set_aside_for_others_on_its_core_and_goes_on_with_all_that_it_has_of_its_time() {
    let (executor, mut incoming) = new();
    executor.set_cores(1);
    let (kernel, echo) = (endless(), echo());
    let limits = Limits { time_millis: 2000, ..Limits::default() };
    executor.execute(RunId(1), Arc::clone(&kernel), batch(&kernel, &[b""], limits), 100);
    begun(&executor, RunId(1)).await;
    executor.rest(RunId(1), true);
    for run in [2, 3] {
        executor.execute(RunId(run), Arc::clone(&echo), batch(&echo, &[b"x"], Limits::default()), 100);
        let (ended, report) = next(&mut incoming).await;
        assert_eq!((ended, traps(&report)), (RunId(run), vec![None]));
    }
    // Longer than it may run.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    executor.rest(RunId(1), false);
    let (run, report) = next(&mut incoming).await;
    assert_eq!((run, traps(&report)), (RunId(1), vec![Some(Trap::TimedOut)]));
    assert!(report.outcomes[0].gas > Gas(0));
    // For all of its time: that it rested is none of it.
    assert!(report.busy_micros >= 1_500_000, "{report:?}");
    executor.rest(RunId(1), true);
    executor.stop();
}

#[tokio::test]
async fn a_run_that_rests_between_or_in_its_calls_ends_as_if_it_had_not() {
    let (executor, mut incoming) = new();
    executor.set_cores(1);
    let counting: Arc<[u8]> = kernels::counting(20_000_000).into();
    let whole = || batch(&counting, &[b"", b"", b"", b""], Limits::default());
    executor.execute(RunId(1), Arc::clone(&counting), whole(), 100);
    let (_, undisturbed) = next(&mut incoming).await;
    executor.execute(RunId(2), Arc::clone(&counting), whole(), 50);
    begun(&executor, RunId(2)).await;
    for _ in 0..20 {
        executor.rest(RunId(2), true);
        tokio::time::sleep(Duration::from_millis(3)).await;
        executor.rest(RunId(2), false);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let (_, report) = next(&mut incoming).await;
    assert_eq!(traps(&report), [None, None, None, None]);
    assert_eq!(report.outcomes, undisturbed.outcomes);
}

#[tokio::test]
async fn a_run_that_waits_does_not_begin_before_it_may_go_on() {
    let (executor, mut incoming) = new();
    executor.set_cores(1);
    let (kernel, echo) = (endless(), echo());
    executor.execute(RunId(1), Arc::clone(&kernel), batch(&kernel, &[b""], Limits::default()), 100);
    begun(&executor, RunId(1)).await;
    for run in [2, 3] {
        executor.execute(RunId(run), Arc::clone(&echo), batch(&echo, &[b"x"], Limits::default()), 100);
    }
    executor.rest(RunId(2), true);
    executor.rest(RunId(1), true);
    assert_eq!(next(&mut incoming).await.0, RunId(3));
    executor.rest(RunId(2), false);
    let (run, report) = next(&mut incoming).await;
    assert_eq!((run, traps(&report)), (RunId(2), vec![None]));
    executor.stop();
    assert_eq!(next(&mut incoming).await.0, RunId(1));
}

#[tokio::test]
async fn a_run_that_rests_is_aborted_and_stopped_as_ever() {
    let (executor, mut incoming) = new();
    executor.set_cores(1);
    let kernel = endless();
    for run in [1, 2, 3] {
        executor.execute(RunId(run), Arc::clone(&kernel), batch(&kernel, &[b""], Limits::default()), 100);
        begun(&executor, RunId(run)).await;
        executor.rest(RunId(run), true);
    }
    executor.rest(RunId(99), true);
    executor.abort(RunId(2));
    let (run, report) = next(&mut incoming).await;
    assert_eq!((run, traps(&report)), (RunId(2), vec![Some(Trap::Cancelled)]));
    executor.stop();
    let mut ended = [next(&mut incoming).await, next(&mut incoming).await];
    ended.sort_by_key(|(run, _)| *run);
    for (run, (ended, report)) in [1, 3].into_iter().zip(&ended) {
        assert_eq!((*ended, traps(report)), (RunId(run), vec![Some(Trap::Cancelled)]));
    }
}

#[tokio::test]
async fn the_place_that_is_left_when_a_run_goes_on_is_kept_but_begins_nothing() {
    let (executor, mut incoming) = new();
    executor.set_cores(1);
    let (kernel, echo) = (endless(), echo());
    for run in [1, 2, 3] {
        executor.execute(RunId(run), Arc::clone(&kernel), batch(&kernel, &[b""], Limits::default()), 100);
        begun(&executor, RunId(run)).await;
        executor.rest(RunId(run), run < 3);
    }
    assert_eq!(executor.shared.lock().threads, 3);
    for run in [3, 2] {
        executor.abort(RunId(run));
        assert_eq!(next(&mut incoming).await.0, RunId(run));
    }
    executor.rest(RunId(1), false);
    executor.execute(RunId(4), Arc::clone(&echo), batch(&echo, &[b"x"], Limits::default()), 100);
    // Time for what must not happen.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(executor.shared.lock().threads, 2);
    executor.abort(RunId(1));
    assert_eq!([next(&mut incoming).await.0, next(&mut incoming).await.0], [RunId(1), RunId(4)]);
    executor.set_cores(2);
    executor.set_cores(1);
    while executor.shared.lock().threads > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
