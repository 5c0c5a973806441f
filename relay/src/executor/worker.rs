//! The inside of a worker process: the same binary, started again to run kernels and nothing else, behind the fences of
//! [`super::sandbox`]. It ends when its standard input does, which is when the node ends.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufReader, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use p2pnet_shared::{engine::Trap, id::Hash, node::RunId};

use super::{
    Order,
    frames::{self, FromWorker, MOST_ORDER_BYTES, ToWorker},
    kernels::Kernels,
    nothing, run, sandbox,
};
use crate::engine::{self, NativeEngines};

/// The first argument that makes this binary a worker; not for people.
pub const ARGUMENT: &str = "kernel-worker";

/// Becomes a worker if this process was started as one; returns at its end. `None` for every other process.
pub fn run_if_worker() -> Option<ExitCode> {
    let mut args = env::args_os().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    Some(match work(args.next().map(PathBuf::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// Runs, and how to stop them.
type Stops = Arc<Mutex<BTreeMap<RunId, Arc<AtomicBool>>>>;

fn work(compiled: Option<PathBuf>) -> io::Result<()> {
    // Made before the fences go up: it reads what the processor can do.
    let fenced = sandbox::enter(compiled.as_deref());
    let compiled = compiled.filter(|_| fenced.files_allowed);
    frames::write(&mut io::stdout().lock(), &FromWorker::Ready { fences: fenced.fences, missing: fenced.missing })?;

    let stops = Stops::default();
    let (orders, queue) = mpsc::channel::<Order>();
    let ended = Arc::clone(&stops);
    // Not joined: it ends with the process, in the middle of a kernel if need be.
    engine::spawn("kernels", move || compute(compiled, &queue, &ended))?;

    let mut input = BufReader::new(io::stdin().lock());
    let mut known: BTreeMap<Hash, Arc<[u8]>> = BTreeMap::new();
    loop {
        match frames::read(&mut input, MOST_ORDER_BYTES)? {
            ToWorker::Stop { run } => {
                if let Some(stop) = lock(&stops).get(&RunId(run)) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            ToWorker::Run { run, forget, kernel, batch, cpu_percent } => {
                for hash in forget {
                    known.remove(&hash);
                }
                if let Some(bytes) = kernel {
                    known.insert(batch.kernel, bytes.into());
                }
                let run = RunId(run);
                let Some(kernel) = known.get(&batch.kernel).cloned() else {
                    answer(run, nothing(Trap::HostFailed))?;
                    continue;
                };
                let stop = Arc::new(AtomicBool::new(false));
                lock(&stops).insert(run, Arc::clone(&stop));
                orders.send(Order { run, kernel, batch, cpu_percent, stop }).map_err(io::Error::other)?;
            }
        }
    }
}

fn compute(compiled: Option<PathBuf>, queue: &mpsc::Receiver<Order>, stops: &Stops) {
    let fresh = NativeEngines::new(compiled);
    let (mut engines, kernels) = (fresh.clone(), Kernels::default());
    while let Ok(order) = queue.recv() {
        let run = order.run;
        let report = run::guarded(&mut engines, &kernels, order).unwrap_or_else(|| {
            engines = fresh.clone();
            nothing(Trap::HostFailed)
        });
        lock(stops).remove(&run);
        if answer(run, report).is_err() {
            // The node is gone.
            return;
        }
    }
}

fn answer(run: RunId, report: p2pnet_shared::engine::BatchReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    frames::write(&mut out, &FromWorker::Done { run: run.0, report })?;
    out.flush()
}

fn lock(stops: &Stops) -> std::sync::MutexGuard<'_, BTreeMap<RunId, Arc<AtomicBool>>> {
    stops.lock().unwrap_or_else(PoisonError::into_inner)
}
