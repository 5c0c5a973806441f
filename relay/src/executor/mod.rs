//! Where kernels run on a native node: one place for each core lent, by default a process behind fences
//! ([`sandbox`]), or a thread of this process.
//!
//! No call blocks its caller, which is the node's loop. Every run is answered by exactly one [`HostFact::Executed`].

mod anew;
pub mod compiler;
mod frames;
mod kernels;
mod process;
mod run;
mod sandbox;
pub mod worker;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::channel::mpsc;
use p2pnet_net::host::HostFact;
use p2pnet_shared::{
    engine::{Batch, BatchReport, CallOutcome, EngineName, Trap},
    node::RunId,
    units::Gas,
};
use serde::Deserialize;

use compiler::Compilers;
use kernels::Kernels;
use process::{Remote, STOP_PATIENCE, Worker};

use crate::engine::{self, NativeEngines};

/// How long the watching thread sleeps when nothing runs.
const LONG: Duration = Duration::from_secs(3600);

/// Where kernels run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// In processes of their own, without files, network and other programs: a hole in an engine is not a break-in.
    Process,
    /// In threads of this process.
    Thread,
}

impl FromStr for Sandbox {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "process" => Ok(Sandbox::Process),
            "thread" => Ok(Sandbox::Thread),
            _ => Err("expected process or thread".into()),
        }
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sandbox::Process => "process",
            Sandbox::Thread => "thread",
        })
    }
}

/// Runs batches. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// There is work, or less room, or the end.
    news: Condvar,
    /// The watching thread should look again.
    alarm: Condvar,
    facts: mpsc::Sender<HostFact>,
    sandbox: Sandbox,
    compiled: PathBuf,
    compilers: Compilers,
    /// Memory that kernels may have.
    memory_mib: u32,
    kernels: Kernels,
    /// For threads, which clone it: a kernel made ready by one clone runs on all.
    engines: OnceLock<NativeEngines>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Order>,
    /// What is queued or runs, and how to stop it.
    stops: BTreeMap<RunId, Arc<Stop>>,
    cores: usize,
    threads: usize,
    idle: usize,
    watched: bool,
    stopping: bool,
    /// Changes so far of what the watching thread looks at.
    changes: u64,
}

/// A batch as it waits for its place.
struct Order {
    run: RunId,
    kernel: Arc<[u8]>,
    batch: Batch,
    cpu_percent: u8,
    stop: Arc<AtomicBool>,
}

/// How a run is stopped.
struct Stop {
    asked: Arc<AtomicBool>,
    /// The process that it runs in, while it does.
    running: Mutex<Option<Running>>,
}

/// A run in a process.
struct Running {
    remote: Remote,
    /// Whether the process was told to stop.
    told: bool,
    /// When the process is ended if it has not answered.
    kill_at: Instant,
}

/// What the watching thread saw.
struct Look {
    changes: u64,
    /// When it must look again at the latest.
    next: Instant,
}

/// What a thread runs kernels with.
enum Place {
    Process(Option<Worker>),
    Thread(Box<NativeEngines>),
}

impl Executor {
    /// An executor that reports to `facts`; compiled kernels are kept in the folder `compiled`. A kernel may have
    /// `memory_mib` of memory.
    pub fn new(facts: mpsc::Sender<HostFact>, compiled: &Path, sandbox: Sandbox, memory_mib: u32) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // Apart: a worker that was broken into could leave code behind, which only other workers may then run.
        let compiled = compiled.join(sandbox.to_string());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { cores, ..State::default() }),
                news: Condvar::new(),
                alarm: Condvar::new(),
                facts,
                sandbox,
                compilers: Compilers::new(&compiled),
                compiled,
                memory_mib,
                kernels: Kernels::default(),
                engines: OnceLock::new(),
            }),
        }
    }

    /// Runs a batch as soon as a place is free.
    pub fn execute(&self, run: RunId, kernel: Arc<[u8]>, batch: Batch, cpu_percent: u8) {
        let asked = Arc::new(AtomicBool::new(false));
        let order = Order { run, kernel, batch, cpu_percent, stop: Arc::clone(&asked) };
        let mut state = self.shared.lock();
        if state.stopping {
            drop(state);
            self.shared.report(run, nothing(Trap::HostFailed));
            return;
        }
        state.stops.insert(run, Arc::new(Stop { asked, running: Mutex::new(None) }));
        state.queue.push_back(order);
        if state.idle < state.queue.len() && state.threads < state.cores {
            match self.shared.start_thread(&mut state) {
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
            stop.asked.store(true, Ordering::Relaxed);
        }
        if let Some(at) = state.queue.iter().position(|order| order.run == run) {
            state.queue.remove(at);
            state.stops.remove(&run);
            drop(state);
            self.shared.report(run, nothing(Trap::Cancelled));
        } else {
            drop(state);
            self.shared.changed();
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
        state.changes += 1;
        state.queue.clear();
        state.stops.values().for_each(|stop| stop.asked.store(true, Ordering::Relaxed));
        drop(state);
        self.shared.compilers.stop();
        self.shared.news.notify_all();
        self.shared.alarm.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        if self.sandbox == Sandbox::Process && !state.watched {
            let shared = Arc::clone(self);
            thread::Builder::new().name("kernels-watch".into()).spawn(move || shared.watch())?;
            state.watched = true;
        }
        let shared = Arc::clone(self);
        engine::spawn("kernels", move || shared.work())?;
        Ok(())
    }

    /// One thread's life: takes orders until there are more threads than cores, or the executor stops.
    fn work(&self) {
        let mut place = match self.sandbox {
            Sandbox::Process => Place::Process(None),
            Sandbox::Thread => Place::Thread(Box::new(self.engines())),
        };
        while let Some((order, stop)) = self.next_order() {
            let run = order.run;
            let report = match &mut place {
                Place::Process(worker) => self.run_in_process(worker, order, &stop),
                Place::Thread(engines) => self.run_here(engines, order),
            };
            self.lock().stops.remove(&run);
            self.report(run, report);
        }
    }

    fn engines(&self) -> NativeEngines {
        self.engines.get_or_init(|| NativeEngines::new(Some(self.compiled.clone()))).clone()
    }

    fn run_here(&self, engines: &mut NativeEngines, order: Order) -> BatchReport {
        let ran = run::guarded(engines, &self.kernels, order);
        if ran.as_ref().is_none_or(|ran| ran.worn) {
            // What a panic left behind is not trusted again, and what is kept may be what there is too little of.
            self.kernels.clear();
            *engines = self.engines();
        }
        ran.map_or_else(|| nothing(Trap::HostFailed), |ran| ran.report)
    }

    fn next_order(&self) -> Option<(Order, Arc<Stop>)> {
        let mut state = self.lock();
        loop {
            if state.stopping || state.threads > state.cores {
                state.threads -= 1;
                return None;
            }
            if let Some(order) = state.queue.pop_front()
                && let Some(stop) = state.stops.get(&order.run).cloned()
            {
                return Some((order, stop));
            }
            state.idle += 1;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Has the watching thread look again at the runs and how to stop them.
    fn changed(&self) {
        self.lock().changes += 1;
        self.alarm.notify_one();
    }

    /// The watching thread: tells processes to stop, and ends those that do not.
    fn watch(&self) {
        while let Some(look) = self.look() {
            self.wait(look);
        }
    }

    /// Does what is to be done now; `None` at the end.
    fn look(&self) -> Option<Look> {
        let state = self.lock();
        let (runs, stopping, changes) = (state.stops.clone(), state.stopping, state.changes);
        drop(state);
        let now = Instant::now();
        let mut next = now + LONG;
        for (run, stop) in runs {
            let mut running = lock(&stop.running);
            let Some(running) = running.as_mut() else { continue };
            if stopping || now >= running.kill_at {
                running.remote.kill();
                continue;
            }
            if stop.is_asked() && !running.told {
                running.told = true;
                running.kill_at = now + STOP_PATIENCE;
                running.remote.tell_to_stop(run.0);
            }
            next = next.min(running.kill_at);
        }
        (!stopping).then_some(Look { changes, next })
    }

    /// Until something has changed since that look, or it is time for the next one.
    fn wait(&self, look: Look) {
        let state = self.lock();
        let wait = look.next.saturating_duration_since(Instant::now());
        let unchanged = |state: &mut State| state.changes == look.changes;
        drop(self.alarm.wait_timeout_while(state, wait, unchanged));
    }

    fn report(&self, run: RunId, report: BatchReport) {
        // Each clone of a sender has a place of its own in the queue, so that this fails only once the loop is gone;
        // what waits there is bounded by the runs that the node ordered.
        let _ = self.facts.clone().try_send(HostFact::Executed { run, report });
    }
}

impl Stop {
    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A panic while a lock was held leaves plain data behind, which stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
