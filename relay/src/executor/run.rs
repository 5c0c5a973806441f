//! One batch on one thread: its calls one after the other, within time, within the share of the core, and stoppable.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use p2pnet_shared::{
    engine::{BatchReport, CallOutcome, EngineName, Trap, batch},
    units::Gas,
};

use super::{Order, kernels::Kernels};
use crate::engine::{NativeEngines, NativeModule};

/// How long a throttled thread works before it rests.
const WORK: Duration = Duration::from_millis(5);
/// How long it rests at most before it looks whether it should stop.
const REST: Duration = Duration::from_millis(20);

/// A kernel that is ready.
pub type Module = Arc<NativeModule>;

/// Runs a batch; `None` when something in it panicked.
pub fn guarded(engines: &mut NativeEngines, kernels: &Kernels, order: Order) -> Option<BatchReport> {
    catch_unwind(AssertUnwindSafe(|| {
        let report = run(engines, kernels, order);
        engines.set_watch(None);
        report
    }))
    .inspect_err(|_| tracing::error!("a run panicked; its requester will try elsewhere"))
    .ok()
}

fn run(engines: &mut NativeEngines, kernels: &Kernels, order: Order) -> BatchReport {
    let Order { run: _, kernel, batch, cpu_percent, stop } = order;
    let mut report = BatchReport { engine: EngineName::Wasmi, outcomes: Vec::new(), busy_micros: 0 };
    let module = match kernels.get(engines, batch.kernel, &kernel) {
        Ok(module) => module,
        Err(trap) => {
            report.outcomes.push(CallOutcome { output: Err(trap), gas: Gas(0) });
            return report;
        }
    };
    let pace = Arc::new(Pace::new(stop, Duration::from_millis(batch.limits.time_millis), cpu_percent));
    let watched = Arc::clone(&pace);
    engines.set_watch(Some(Arc::new(move || watched.look())));
    report.outcomes = batch::run(&batch.calls, |call| match pace.look() {
        Some(trap) => CallOutcome { output: Err(trap), gas: Gas(0) },
        None => {
            let (engine, outcome) = engines.call(&module, &[&batch.common, call], &batch.limits);
            report.engine = report.engine.max(engine);
            outcome
        }
    });
    report.busy_micros = u64::try_from(pace.busy().as_micros()).unwrap_or(u64::MAX);
    report
}

/// Time and share of a batch.
struct Pace {
    stop: Arc<AtomicBool>,
    start: Instant,
    most: Duration,
    percent: u32,
    rests: Mutex<Rests>,
}

struct Rests {
    /// When the thread began to work after its last rest.
    working_since: Instant,
    rested: Duration,
}

impl Pace {
    fn new(stop: Arc<AtomicBool>, most: Duration, cpu_percent: u8) -> Self {
        let start = Instant::now();
        let rests = Mutex::new(Rests { working_since: start, rested: Duration::ZERO });
        Self { stop, start, most, percent: u32::from(cpu_percent.clamp(1, 100)), rests }
    }

    /// Whether to end, and why. Rests as long as the share of the core asks for.
    fn look(&self) -> Option<Trap> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(Trap::Cancelled);
        }
        let now = Instant::now();
        if now.duration_since(self.start) >= self.most {
            return Some(Trap::TimedOut);
        }
        if self.percent == 100 {
            return None;
        }
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = now.duration_since(rests.working_since);
        if worked < WORK {
            return None;
        }
        let rest = worked * (100 - self.percent) / self.percent;
        let ended = self.rest(rest);
        let awake = Instant::now();
        rests.working_since = awake;
        rests.rested += awake.duration_since(now);
        ended
    }

    fn rest(&self, rest: Duration) -> Option<Trap> {
        let until = Instant::now() + rest;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Some(Trap::Cancelled);
            }
            let now = Instant::now();
            if now.duration_since(self.start) >= self.most {
                return Some(Trap::TimedOut);
            }
            match until.checked_duration_since(now) {
                Some(left) if !left.is_zero() => thread::sleep(left.min(REST)),
                Some(_) | None => return None,
            }
        }
    }

    /// Time worked, rests not counted.
    fn busy(&self) -> Duration {
        let rested = self.rests.lock().unwrap_or_else(PoisonError::into_inner).rested;
        self.start.elapsed().saturating_sub(rested)
    }
}
