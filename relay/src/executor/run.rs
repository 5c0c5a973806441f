//! One batch on one thread: its calls one after the other, within time, within the share of the core, stoppable, and set
//! aside while others go first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use p2pnet_shared::{
    engine::{BatchReport, CallOutcome, EngineName, Input, Trap, batch},
    units::Gas,
};

use super::{
    Order,
    asked::{Asked, Clock},
    kernels::Kernels,
    lock,
};
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
    let Order { run: _, kernel, batch, cpu_percent, asked } = order;
    let mut report = BatchReport { engine: EngineName::Wasmi, outcomes: Vec::new(), busy_micros: 0 };
    let module = match kernels.get(engines, batch.kernel, &kernel) {
        Ok(module) => module,
        Err(trap) => {
            report.outcomes.push(CallOutcome { output: Err(trap), gas: Gas(0) });
            return Ran { report, worn: trap == Trap::HostFailed };
        }
    };
    let pace = Arc::new(Pace::new(asked, Duration::from_millis(batch.limits.time_millis), cpu_percent));
    let watched = Arc::clone(&pace);
    engines.set_watch(Some(Arc::new(move || watched.look())));
    report.outcomes = batch::run(&batch.calls, |call| match pace.look() {
        Some(trap) => CallOutcome { output: Err(trap), gas: Gas(0) },
        None => {
            let (engine, outcome) = engines.call(&module, Input::with(batch.common.as_ref(), call), &batch.limits);
            report.engine = report.engine.max(engine);
            outcome
        }
    });
    report.busy_micros = u64::try_from(pace.busy().as_micros()).unwrap_or(u64::MAX);
    Ran { report, worn: engines.lacked() }
}

/// Time and share of a batch.
struct Pace {
    asked: Arc<Asked>,
    clock: Clock,
    most: Duration,
    share: Mutex<Share>,
}

/// What a thread has of its core. All times are those of the batch's clock.
struct Share {
    percent: u32,
    /// When the thread began to work after its last rest.
    working_since: Duration,
    rested: Duration,
    /// What it still has to rest.
    due: Duration,
}

impl Share {
    fn new(cpu_percent: u8) -> Self {
        let percent = u32::from(cpu_percent.clamp(1, 100));
        Self { percent, working_since: Duration::ZERO, rested: Duration::ZERO, due: Duration::ZERO }
    }

    /// How long it has to rest now, if at all.
    fn due(&mut self, now: Duration) -> Option<Duration> {
        let worked = now.saturating_sub(self.working_since);
        if self.percent < 100 && worked >= WORK {
            self.due += worked * (100 - self.percent) / self.percent;
            self.working_since = now;
        }
        (!self.due.is_zero()).then_some(self.due)
    }

    /// It has rested.
    fn rested(&mut self, from: Duration, until: Duration) {
        let rested = until.saturating_sub(from);
        self.working_since = until;
        self.rested += rested;
        self.due = self.due.saturating_sub(rested);
    }

    /// Time worked, rests not counted.
    fn busy(&self, now: Duration) -> Duration {
        now.saturating_sub(self.rested)
    }
}

impl Pace {
    fn new(asked: Arc<Asked>, most: Duration, cpu_percent: u8) -> Self {
        let clock = Clock::new(&asked, Instant::now());
        Self { asked, clock, most, share: Mutex::new(Share::new(cpu_percent)) }
    }

    /// Whether to end, and why. Rests as long as it is asked to, and as long as the share of the core asks for.
    fn look(&self) -> Option<Trap> {
        let mut share = lock(&self.share);
        loop {
            self.asked.wait();
            if self.asked.is_stopped() {
                return Some(Trap::Cancelled);
            }
            let now = self.now();
            if now >= self.most {
                return Some(Trap::TimedOut);
            }
            thread::sleep(share.due(now)?.min(REST));
            share.rested(now, self.now());
        }
    }

    /// Time worked, rests not counted.
    fn busy(&self) -> Duration {
        lock(&self.share).busy(self.now())
    }

    fn now(&self) -> Duration {
        self.clock.elapsed(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_quarter_of_a_core_three_times_as_long_is_rested_as_was_worked() {
        let at = Duration::from_millis;
        let mut share = Share::new(25);
        assert_eq!(share.due(at(4)), None, "not for every moment");
        assert_eq!(share.due(at(10)), Some(at(30)));
        share.rested(at(10), at(30));
        assert_eq!(share.due(at(30)), Some(at(10)), "it goes on resting");
        share.rested(at(30), at(45));
        assert_eq!(share.busy(at(47)), at(12));
        assert_eq!((share.due(at(49)), share.due(at(50))), (None, Some(at(15))));
        assert_eq!(Share::new(100).due(at(1000)), None);
        assert_eq!(Share::new(0).due(at(5)), Some(at(495)), "as if it were one percent");
    }
}
