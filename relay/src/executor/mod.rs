//! Where kernels run on a native node: one place for each core lent, by default a process behind fences
//! ([`sandbox`]), or a thread of this process.
//!
//! A run can be set aside while others go first: it rests where it is, in its place, and there is one more place meanwhile.
//!
//! No call blocks its caller, which is the node's loop. Every run is answered by exactly one [`HostFact::Executed`].

mod anew;
mod asked;
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
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use futures::channel::mpsc;
use p2pnet_net::host::HostFact;
use p2pnet_shared::{
    engine::{Batch, BatchReport, CallOutcome, EngineName, Prepared, Trap},
    node::RunId,
    units::Gas,
};
use serde::Deserialize;

use asked::Asked;
use compiler::Compilers;
use kernels::Kernels;
use process::{Running, Worker};

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
    /// Whether one thread more is kept than is needed now. Where a run rested once, one will again.
    keeps_spare: bool,
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
    asked: Arc<Asked>,
}

/// How a run is stopped, and set aside.
struct Stop {
    asked: Arc<Asked>,
    /// The process that it runs in, while it does.
    running: Mutex<Option<Running>>,
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

impl State {
    /// Runs that wait and may begin.
    fn waiting(&self) -> usize {
        self.queue.iter().filter(|order| !order.asked.rests()).count()
    }

    /// Runs that have begun and rest.
    fn resting(&self) -> usize {
        let all = self.stops.values().filter(|stop| stop.asked.rests()).count();
        all.saturating_sub(self.queue.len() - self.waiting())
    }

    /// Takes the next order, if one may begin.
    fn take(&mut self) -> Option<(Order, Arc<Stop>)> {
        let begun = self.stops.len().saturating_sub(self.queue.len());
        if begun >= self.cores + self.resting() {
            return None;
        }
        let next = self.queue.iter().position(|order| !order.asked.rests())?;
        let order = self.queue.remove(next)?;
        let stop = self.stops.get(&order.run).cloned()?;
        Some((order, stop))
    }

    /// Whether there are more threads than are needed.
    fn has_too_many_threads(&self) -> bool {
        self.threads > self.cores + self.resting().max(usize::from(self.keeps_spare))
    }
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

    /// Keeps at most so many bytes of compiled kernels, with [`Sandbox::Process`]; 1 GiB without this.
    pub fn keep_compiled(&self, most_bytes: u64) {
        self.shared.compilers.keep(most_bytes);
    }

    /// Runs a batch as soon as a place is free.
    pub fn execute(&self, run: RunId, kernel: Arc<[u8]>, batch: Batch, cpu_percent: u8) {
        let asked = Arc::new(Asked::default());
        let order = Order { run, kernel, batch, cpu_percent, asked: Arc::clone(&asked) };
        let mut state = self.shared.lock();
        if state.stopping {
            drop(state);
            self.shared.report(run, nothing(Trap::HostFailed));
            return;
        }
        state.stops.insert(run, Arc::new(Stop { asked, running: Mutex::new(None) }));
        state.queue.push_back(order);
        self.shared.start_thread_if_needed(&mut state);
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
            stop.asked.stop();
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

    /// Sets a run aside, or lets it go on. One that has begun rests where it is, within some milliseconds, and keeps what it
    /// has computed; one that waits does not begin. While it rests another one may run in its stead, its time stands still,
    /// and it can be aborted as ever. A run that is not known has ended, and nothing happens.
    ///
    /// Each run that rests keeps its thread, and its process with what that holds in memory. How many rest at once is the
    /// caller's to bound; so is how many go on at once.
    pub fn rest(&self, run: RunId, rests: bool) {
        let mut state = self.shared.lock();
        let is_new = state.stops.get(&run).is_some_and(|stop| stop.asked.rest(rests, Instant::now()));
        if !is_new {
            return;
        }
        state.keeps_spare = true;
        state.changes += 1;
        self.shared.start_thread_if_needed(&mut state);
        drop(state);
        self.shared.news.notify_all();
        self.shared.alarm.notify_one();
    }

    /// How many batches run at once from now on, those not counted that rest.
    pub fn set_cores(&self, cores: u16) {
        let mut state = self.shared.lock();
        let cores = usize::from(cores).max(1);
        state.keeps_spare &= cores >= state.cores;
        state.cores = cores;
        drop(state);
        self.shared.news.notify_all();
    }

    /// Stops everything; nothing runs any more a moment later.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        state.changes += 1;
        state.queue.clear();
        state.stops.values().for_each(|stop| stop.asked.stop());
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

    /// Starts a thread for what waits, if there is none and there may be one more.
    fn start_thread_if_needed(self: &Arc<Self>, state: &mut State) {
        if state.idle < state.waiting() && state.threads < state.cores + state.resting() {
            match self.start_thread(state) {
                Ok(()) => state.threads += 1,
                Err(error) => tracing::error!(%error, "no thread for kernels can be started"),
            }
        }
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

    /// One thread's life: takes orders until there are more threads than are needed, or the executor stops.
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
            if state.stopping || state.has_too_many_threads() {
                state.threads -= 1;
                drop(state);
                // Another one does what this one was woken for.
                self.news.notify_all();
                return None;
            }
            if let Some(taken) = state.take() {
                return Some(taken);
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

    /// The watching thread: tells processes to stop or to rest, and ends those that are late.
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
            if stopping {
                running.kill();
            } else if let Some(again) = running.look(run.0, &stop.asked, now) {
                next = next.min(again);
            }
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
        prepared: Prepared::default(),
    }
}

#[cfg(test)]
mod tests;
