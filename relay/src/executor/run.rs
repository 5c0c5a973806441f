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

/// What came of a batch on this thread.
pub struct Ran {
    /// What its requester hears.
    pub report: BatchReport,
    /// Whether the process lacked something for it that a fresh one may have.
    pub worn: bool,
}

/// Runs a batch; `None` when something in it panicked.
pub fn guarded(engines: &mut NativeEngines, kernels: &Kernels, order: Order) -> Option<Ran> {
    catch_unwind(AssertUnwindSafe(|| {
        let ran = run(engines, kernels, order);
        engines.set_watch(None);
        ran
    }))
    .inspect_err(|_| tracing::error!("a run panicked; its requester will try elsewhere"))
    .ok()
}

fn run(engines: &mut NativeEngines, kernels: &Kernels, order: Order) -> Ran {
    let Order { run: _, kernel, batch, cpu_percent, stop } = order;
    let mut report = BatchReport { engine: EngineName::Wasmi, outcomes: Vec::new(), busy_micros: 0 };
    let module = match kernels.get(engines, batch.kernel, &kernel) {
        Ok(module) => module,
        Err(trap) => {
            report.outcomes.push(CallOutcome { output: Err(trap), gas: Gas(0) });
            return Ran { report, worn: trap == Trap::HostFailed };
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
    Ran { report, worn: engines.lacked() }
}

/// Time and share of a batch.
struct Pace {
    stop: Arc<AtomicBool>,
    start: Instant,
    most: Duration,
    share: Mutex<Share>,
}

/// What a thread has of its core.
struct Share {
    percent: u32,
    start: Instant,
    /// When the thread began to work after its last rest.
    working_since: Instant,
    rested: Duration,
}

impl Share {
    fn new(cpu_percent: u8, start: Instant) -> Self {
        let percent = u32::from(cpu_percent.clamp(1, 100));
        Self { percent, start, working_since: start, rested: Duration::ZERO }
    }

    /// How long it has to rest now, if at all.
    fn due(&self, now: Instant) -> Option<Duration> {
        let worked = now.saturating_duration_since(self.working_since);
        (self.percent < 100 && worked >= WORK).then(|| worked * (100 - self.percent) / self.percent)
    }

    /// It has rested.
    fn rested(&mut self, from: Instant, until: Instant) {
        self.working_since = until;
        self.rested += until.saturating_duration_since(from);
    }

    /// Time worked, rests not counted.
    fn busy(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start).saturating_sub(self.rested)
    }
}

impl Pace {
    fn new(stop: Arc<AtomicBool>, most: Duration, cpu_percent: u8) -> Self {
        let start = Instant::now();
        Self { stop, start, most, share: Mutex::new(Share::new(cpu_percent, start)) }
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
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.rest(share.due(now)?);
        share.rested(now, Instant::now());
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
        self.share.lock().unwrap_or_else(PoisonError::into_inner).busy(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_quarter_of_a_core_three_times_as_long_is_rested_as_was_worked() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut share = Share::new(25, start);
        assert_eq!(share.due(at(4)), None, "not for every moment");
        assert_eq!(share.due(at(10)), Some(Duration::from_millis(30)));
        share.rested(at(10), at(45));
        assert_eq!(share.busy(at(47)), Duration::from_millis(12));
        assert_eq!((share.due(at(49)), share.due(at(50))), (None, Some(Duration::from_millis(15))));
        assert_eq!(Share::new(100, start).due(at(1000)), None);
        assert_eq!(Share::new(0, start).due(at(5)), Some(Duration::from_millis(495)), "as if it were one percent");
    }
}
