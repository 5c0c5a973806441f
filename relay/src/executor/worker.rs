//! The inside of a worker process: the same binary, started again to run kernels and nothing else, behind the fences of
//! [`super::sandbox`]. It ends when its standard input does, which is when the node ends.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufReader, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use p2pnet_shared::{engine::Trap, id::Hash, node::RunId};

use super::{
    Order,
    asked::{Asked, Clock},
    frames::{self, FromWorker, MOST_ORDER_BYTES, ToWorker},
    kernels::{self, Kernels},
    lock, nothing,
    run::{self, Ran},
    sandbox::{self, Bounds},
};
use crate::engine::{self, Elsewhere, NativeEngines};

/// The first argument that makes this binary a worker; not for people.
pub const ARGUMENT: &str = "kernel-worker";

/// What a worker needs beside the memories of kernels: orders and outputs on their way, engines, code read by wasmi.
const OWN_BYTES: u64 = 1 << 30;
/// Processor time of a worker's whole life. It is replaced long before, between two batches.
const CPU_SECONDS: u64 = 48 * 3600;
/// Files beside those of kernels: the pipes, page maps, the folder and what is read or written in it.
const OWN_FILES: u64 = 32;
/// How long a run waits for its kernel's compiled code, as a part of the run's time; then it goes on with wasmi.
const WAITED_PART: u64 = 2;
/// How often it looks meanwhile whether it should stop.
const LOOK: Duration = Duration::from_millis(20);
/// Kernels whose answers are remembered.
const MOST_ANSWERS: usize = 1_024;

/// Becomes a worker if this process was started as one; returns at its end. `None` for every other process.
pub fn run_if_worker() -> Option<ExitCode> {
    let mut args = env::args_os().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    let folder = args.next().map(PathBuf::from);
    let memory_mib = args.next().and_then(|text| text.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    Some(match work(folder, memory_mib) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// What a worker may use whose kernels have `memory_mib` of memory.
pub(super) fn bounds(memory_mib: u32) -> Bounds {
    Bounds {
        data_bytes: (u64::from(memory_mib) << 20) + OWN_BYTES,
        cpu_seconds: CPU_SECONDS,
        files: kernels::MOST_FILES + OWN_FILES,
    }
}

/// Runs, and what is asked of them.
type Runs = Arc<Mutex<BTreeMap<RunId, Arc<Asked>>>>;

fn work(compiled: Option<PathBuf>, memory_mib: u32) -> io::Result<()> {
    let fenced = sandbox::enter(compiled.as_deref(), bounds(memory_mib), engine::watch_written_pages);
    let compiled = fenced.folder;
    frames::write(&mut io::stdout().lock(), &FromWorker::Ready { fences: fenced.fences, missing: fenced.missing })?;

    let runs = Runs::default();
    let (orders, queue) = mpsc::channel::<Order>();
    let ended = Arc::clone(&runs);
    let answers = Arc::new(Answers::default());
    let hearing = Arc::clone(&answers);
    // Not joined: it ends with the process, in the middle of a kernel if need be.
    engine::spawn("kernels", move || compute(compiled, &queue, &ended, &hearing))?;
    sandbox::no_more_threads();

    let mut input = BufReader::new(io::stdin().lock());
    let mut known: BTreeMap<Hash, Arc<[u8]>> = BTreeMap::new();
    loop {
        match frames::read(&mut input, MOST_ORDER_BYTES)? {
            ToWorker::Stop { run } => {
                if let Some(asked) = lock(&runs).get(&RunId(run)) {
                    asked.stop();
                }
            }
            ToWorker::Rest { run, rests } => {
                if let Some(asked) = lock(&runs).get(&RunId(run)) {
                    asked.rest(rests, Instant::now());
                }
            }
            ToWorker::Compiled { kernel, ready } => answers.came(kernel, ready),
            ToWorker::Run { run, forget, kernel, batch, cpu_percent, rests } => {
                for hash in forget {
                    known.remove(&hash);
                }
                if let Some(bytes) = kernel {
                    known.insert(batch.kernel, bytes.into());
                }
                let run = RunId(run);
                let Some(kernel) = known.get(&batch.kernel).cloned() else {
                    answer(run, Ran { report: nothing(Trap::HostFailed), worn: true })?;
                    continue;
                };
                let batch = batch.into_owned();
                let asked = Arc::new(Asked::default());
                asked.rest(rests, Instant::now());
                lock(&runs).insert(run, Arc::clone(&asked));
                orders.send(Order { run, kernel, batch, cpu_percent, asked }).map_err(io::Error::other)?;
            }
        }
    }
}

fn compute(compiled: Option<PathBuf>, queue: &mpsc::Receiver<Order>, runs: &Runs, answers: &Arc<Answers>) {
    // Without a folder nobody could hand the code over: then it is compiled here, within this process's own bounds.
    let elsewhere = compiled.is_some();
    let fresh = NativeEngines::of_one_thread(compiled);
    let (mut engines, kernels) = (fresh.clone(), Kernels::default());
    while let Ok(order) = queue.recv() {
        let run = order.run;
        engines.set_elsewhere(elsewhere.then(|| answers.for_order(&order)));
        let ran = run::guarded(&mut engines, &kernels, order).unwrap_or_else(|| {
            engines = fresh.clone();
            Ran { report: nothing(Trap::HostFailed), worn: true }
        });
        lock(runs).remove(&run);
        if answer(run, ran).is_err() {
            // The node is gone.
            return;
        }
    }
}

/// What this worker was told of kernels that it wanted compiled.
#[derive(Default)]
struct Answers {
    /// `None` while it waits.
    known: Mutex<BTreeMap<Hash, Option<bool>>>,
    news: Condvar,
}

impl Answers {
    fn came(&self, kernel: Hash, ready: bool) {
        let mut known = lock(&self.known);
        if let Some(answer) = known.get_mut(&kernel) {
            *answer = Some(ready);
        }
        drop(known);
        self.news.notify_all();
    }

    /// Asks for the kernel of an order, once, and waits for a while: but only the run that asked.
    fn for_order(self: &Arc<Self>, order: &Order) -> Elsewhere {
        let (this, kernel, asked) = (Arc::clone(self), order.batch.kernel, Arc::clone(&order.asked));
        let most = Duration::from_millis(order.batch.limits.time_millis / WAITED_PART);
        // Its code may come while the run rests, which costs the run none of its time.
        let clock = Clock::new(&asked, Instant::now());
        Arc::new(move || {
            let mut known = lock(&this.known);
            match known.get(&kernel) {
                Some(answer) => return *answer == Some(true),
                None => {
                    if known.len() >= MOST_ANSWERS {
                        // Those that are asked for again are answered from the folder, or refused as before.
                        known.retain(|_, answer| answer.is_none());
                    }
                    known.insert(kernel, None);
                }
            }
            if frames::write(&mut io::stdout().lock(), &FromWorker::WantsCompiled { kernel }).is_err() {
                return false;
            }
            loop {
                if let Some(Some(ready)) = known.get(&kernel) {
                    return *ready;
                }
                if asked.is_stopped() || clock.elapsed(Instant::now()) >= most {
                    return false;
                }
                known = this.news.wait_timeout(known, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            }
        })
    }
}

fn answer(run: RunId, Ran { report, worn }: Ran) -> io::Result<()> {
    let mut out = io::stdout().lock();
    frames::write(&mut out, &FromWorker::Done { run: run.0, report, worn })?;
    out.flush()
}
