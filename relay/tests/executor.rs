//! The executor with its real workers. They are this very program, which therefore has a `main` of its own.
#![expect(clippy::unwrap_used, clippy::panic)]

use std::{env, fs, path::PathBuf, process::ExitCode, time::Duration};

use futures::{StreamExt, channel::mpsc};
use libtest_mimic::{Arguments, Trial};
use p2pnet_native::executor::{self, Executor, Sandbox};
use p2pnet_net::host::HostFact;
use p2pnet_shared::{
    blob::Blob,
    engine::{Batch, BatchReport, EngineName, Limits, Prepared, Trap},
    id::Hash,
    node::RunId,
    units::Gas,
};
use p2pnet_test_kernels::{
    self as kernels,
    prepared::{by_table, table},
};

fn main() -> ExitCode {
    if let Some(code) = executor::worker::run_if_worker().or_else(executor::compiler::run_if_compiler) {
        return code;
    }
    let tests = vec![
        test("a_run_is_set_aside_for_others_on_its_core_and_goes_on_with_all_that_it_has_of_its_time", set_aside),
        test("a_run_that_rests_again_and_again_ends_as_if_it_had_not", again_and_again),
        test("a_run_that_rests_is_aborted_by_the_worker_itself", abort),
        test("a_run_that_rests_is_stopped_with_everything_else", stop),
        test("a_kernel_is_prepared_once_and_not_once_a_call_and_what_that_took_is_told", prepared),
        #[cfg(target_os = "linux")]
        test("a_run_whose_worker_ends_while_it_rests_rests_on_in_another_one", takeover),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn test<T: Future<Output = ()> + 'static>(name: &'static str, work: fn(Bench) -> T) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(Bench::new(name)));
        Ok(())
    })
}

/// A limit, in milliseconds, that no run comes near.
const LONG: u64 = 600_000;

/// An executor with one core.
struct Bench {
    executor: Executor,
    incoming: mpsc::Receiver<HostFact>,
    folder: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let (facts, incoming) = mpsc::channel(16);
        let folder = env::temp_dir().join(format!("p2pnet-executor-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let executor = Executor::new(facts, &folder, Sandbox::Process, 256);
        executor.set_cores(1);
        Self { executor, incoming, folder }
    }

    fn execute(&self, run: u64, kernel: &[u8], calls: usize, time_millis: u64) {
        let limits = Limits { time_millis, ..Limits::default() };
        let batch = Batch {
            kernel: Hash::of(kernel),
            common: Some(Blob::new(b"<".to_vec())),
            calls: vec![b"x".to_vec(); calls],
            limits,
        };
        self.executor.execute(RunId(run), kernel.into(), batch, 100);
    }

    /// Has a kernel compiled that works until it is stopped.
    async fn compile_endless(&mut self) {
        self.execute(0, &kernels::endless(), 1, LONG);
        let is_code = |path: PathBuf| path.extension().is_some_and(|ending| ending == "compiled");
        let files = || fs::read_dir(self.folder.join("process")).into_iter().flatten().flatten();
        until(|| files().any(|entry| is_code(entry.path()))).await;
        self.executor.abort(RunId(0));
        assert_eq!(self.next().await.0, 0);
    }

    /// Sets a run of that kernel aside, in its middle if the machine is not too busy.
    async fn rest(&self, run: u64) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.executor.rest(RunId(run), true);
    }

    async fn next(&mut self) -> (u64, BatchReport) {
        match tokio::time::timeout(Duration::from_secs(120), self.incoming.next()).await {
            Ok(Some(HostFact::Executed { run, report })) => (run.0, report),
            other => panic!("{other:?}"),
        }
    }

    /// Another batch on the same core.
    async fn echo(&mut self, run: u64) {
        self.execute(run, &kernels::echo(), 1, LONG);
        let (ended, report) = self.next().await;
        assert_eq!(ended, run);
        assert_eq!(report.outcomes[0].output.as_deref(), Ok(b"<x".as_slice()));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.executor.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn traps(report: &BatchReport) -> Vec<Option<Trap>> {
    report.outcomes.iter().map(|outcome| outcome.output.as_ref().err().copied()).collect()
}

async fn prepared(mut bench: Bench) {
    let expected = by_table(b"<", b"x");
    let (mut last, mut gas_of_one) = (0, None);
    for run in 1..1_000 {
        bench.execute(run, &table(), 20, LONG);
        let (_, report) = bench.next().await;
        assert!(
            report.outcomes.len() == 20 && report.outcomes.iter().all(|call| call.output.as_ref() == Ok(&expected))
        );
        let Prepared { instances, gas } = report.prepared;
        if report.engine == EngineName::Wasmtime && instances == 0 {
            assert!(last > 0, "it was prepared before");
            return;
        }
        // Before its code is there each call is, by the interpreter, and once more where that gave up on it.
        assert!(instances <= 40, "{instances} instances for 20 calls");
        let one = (gas.0 / instances, gas.0 % instances);
        assert_eq!(*gas_of_one.get_or_insert(one), one, "each takes the same");
        last = instances;
    }
    panic!("it is prepared again for every batch: {last} times for the last one");
}

async fn set_aside(mut bench: Bench) {
    bench.compile_endless().await;
    bench.execute(1, &kernels::endless(), 1, 4_000);
    bench.rest(1).await;
    bench.echo(2).await;
    bench.echo(3).await;
    // Longer than it may run.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    bench.executor.rest(RunId(1), false);
    let (run, report) = bench.next().await;
    assert_eq!((run, traps(&report)), (1, vec![Some(Trap::TimedOut)]));
    assert!(report.outcomes[0].gas > Gas(0));
    // For all of its time: that it rested is none of it.
    assert!(report.busy_micros >= 3_000_000, "{report:?}");
    bench.echo(4).await;
}

async fn again_and_again(mut bench: Bench) {
    let counting = kernels::counting(20_000_000);
    bench.execute(1, &counting, 8, LONG);
    let (_, undisturbed) = bench.next().await;
    bench.execute(2, &counting, 8, LONG);
    for _ in 0..40 {
        bench.executor.rest(RunId(2), true);
        tokio::time::sleep(Duration::from_millis(3)).await;
        bench.executor.rest(RunId(2), false);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let (run, report) = bench.next().await;
    assert_eq!((run, traps(&report)), (2, vec![None; 8]));
    assert_eq!(report.outcomes, undisturbed.outcomes);
}

async fn abort(mut bench: Bench) {
    bench.compile_endless().await;
    bench.execute(1, &kernels::endless(), 1, LONG);
    bench.rest(1).await;
    bench.echo(2).await;
    bench.executor.abort(RunId(1));
    let (run, report) = bench.next().await;
    assert_eq!((run, traps(&report)), (1, vec![Some(Trap::Cancelled)]));
    assert!(report.outcomes[0].gas > Gas(0), "a worker that had to be ended could not say what the run used");
}

async fn stop(mut bench: Bench) {
    bench.compile_endless().await;
    bench.execute(1, &kernels::endless(), 1, LONG);
    bench.rest(1).await;
    bench.echo(2).await;
    bench.executor.stop();
    let (run, report) = bench.next().await;
    assert_eq!((run, traps(&report)), (1, vec![Some(Trap::Cancelled)]));
}

#[cfg(target_os = "linux")]
async fn takeover(mut bench: Bench) {
    bench.compile_endless().await;
    bench.execute(1, &kernels::endless(), 1, 4_000);
    bench.rest(1).await;
    let old = workers(&bench.folder);
    assert_eq!(old.len(), 1, "{old:?}");
    assert!(std::process::Command::new("kill").args(["-KILL", &old[0].to_string()]).status().unwrap().success());
    until(|| workers(&bench.folder).first().is_some_and(|worker| *worker != old[0])).await;
    // Longer than it may run: it would have ended if the other one had not been told.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    bench.echo(2).await;
    bench.executor.rest(RunId(1), false);
    let (run, report) = bench.next().await;
    assert_eq!((run, traps(&report)), (1, vec![Some(Trap::TimedOut)]));
    assert!(report.outcomes[0].gas > Gas(0));
}

/// Workers that keep compiled kernels in a folder.
#[cfg(target_os = "linux")]
fn workers(folder: &std::path::Path) -> Vec<u32> {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = folder.join("process");
    let is_one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&b"kernel-worker".as_slice()) && words.get(2) == Some(&folder.as_os_str().as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).filter(is_one).collect()
}
