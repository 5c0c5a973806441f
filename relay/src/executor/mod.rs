//! Where kernels run on a native node: one thread for each core lent, engines of its own, the kernels shared.
//!
//! No call blocks its caller, which is the node's loop. Every run is answered by exactly one [`HostFact::Executed`].

mod kernels;
mod run;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use futures::channel::mpsc;
use p2pnet_net::host::HostFact;
use p2pnet_shared::{
    engine::{Batch, BatchReport, CallOutcome, EngineName, Trap},
    node::RunId,
    units::Gas,
};

use kernels::Kernels;

use crate::engine::NativeEngines;

/// Stack of a thread that runs kernels: above what the engines let a kernel use.
const STACK_BYTES: usize = 32 << 20;

/// Runs batches. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    news: Condvar,
    facts: mpsc::Sender<HostFact>,
    kernels: Kernels,
    engines: NativeEngines,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Order>,
    /// What is queued or runs, and how to stop it.
    stops: BTreeMap<RunId, Arc<AtomicBool>>,
    cores: usize,
    threads: usize,
    idle: usize,
    stopping: bool,
}

/// A batch as it waits for a thread.
struct Order {
    run: RunId,
    kernel: Arc<[u8]>,
    batch: Batch,
    cpu_percent: u8,
    stop: Arc<AtomicBool>,
}

impl Executor {
    /// An executor that reports to `facts`; compiled kernels are kept in the folder `compiled`.
    pub fn new(facts: mpsc::Sender<HostFact>, compiled: PathBuf) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { cores, ..State::default() }),
                news: Condvar::new(),
                facts,
                kernels: Kernels::default(),
                engines: NativeEngines::new(Some(compiled)),
            }),
        }
    }

    /// Runs a batch as soon as a thread is free.
    pub fn execute(&self, run: RunId, kernel: Arc<[u8]>, batch: Batch, cpu_percent: u8) {
        let stop = Arc::new(AtomicBool::new(false));
        let order = Order { run, kernel, batch, cpu_percent, stop: Arc::clone(&stop) };
        let mut state = self.shared.lock();
        if state.stopping {
            drop(state);
            self.shared.report(run, nothing(Trap::HostFailed));
            return;
        }
        state.stops.insert(run, stop);
        state.queue.push_back(order);
        if state.idle < state.queue.len() && state.threads < state.cores {
            match self.shared.start_thread() {
                Ok(()) => state.threads += 1,
                Err(error) => tracing::error!(%error, "no thread for kernels can be started"),
            }
        }
        if state.threads == 0 {
            state.queue.pop_back();
            state.stops.remove(&run);
            drop(state);
            self.shared.report(run, nothing(Trap::HostFailed));
            return;
        }
        drop(state);
        self.shared.news.notify_one();
    }

    /// Stops a run: at once if it waits, within some milliseconds if it runs.
    pub fn abort(&self, run: RunId) {
        let mut state = self.shared.lock();
        if let Some(stop) = state.stops.get(&run) {
            stop.store(true, Ordering::Relaxed);
        }
        if let Some(at) = state.queue.iter().position(|order| order.run == run) {
            state.queue.remove(at);
            state.stops.remove(&run);
            drop(state);
            self.shared.report(run, nothing(Trap::Cancelled));
        }
    }

    /// How many batches run at once from now on.
    pub fn set_cores(&self, cores: u16) {
        self.shared.lock().cores = usize::from(cores).max(1);
        self.shared.news.notify_all();
    }

    /// Stops everything; nothing runs any more a moment later.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        state.queue.clear();
        state.stops.values().for_each(|stop| stop.store(true, Ordering::Relaxed));
        drop(state);
        self.shared.news.notify_all();
    }
}

impl Shared {
    /// A panic while the lock was held leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        thread::Builder::new().name("kernels".into()).stack_size(STACK_BYTES).spawn(move || shared.work())?;
        Ok(())
    }

    /// One thread's life: takes orders until there are more threads than cores, or the executor stops.
    fn work(&self) {
        let mut engines = self.engines.clone();
        while let Some(order) = self.next_order() {
            let run = order.run;
            let report = run::guarded(&mut engines, &self.kernels, order).unwrap_or_else(|| {
                // What the panic left behind is not trusted again.
                engines = self.engines.clone();
                nothing(Trap::HostFailed)
            });
            self.lock().stops.remove(&run);
            self.report(run, report);
        }
    }

    fn next_order(&self) -> Option<Order> {
        let mut state = self.lock();
        loop {
            if state.stopping || state.threads > state.cores {
                state.threads -= 1;
                return None;
            }
            if let Some(order) = state.queue.pop_front() {
                return Some(order);
            }
            state.idle += 1;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn report(&self, run: RunId, report: BatchReport) {
        // Each clone of a sender has a place of its own in the queue, so that this fails only once the loop is gone;
        // what waits there is bounded by the runs that the node ordered.
        let _ = self.facts.clone().try_send(HostFact::Executed { run, report });
    }
}

/// The report of a batch of which nothing ran.
fn nothing(trap: Trap) -> BatchReport {
    BatchReport {
        engine: EngineName::Wasmi,
        outcomes: vec![CallOutcome { output: Err(trap), gas: Gas(0) }],
        busy_micros: 0,
    }
}

#[cfg(test)]
mod tests;
