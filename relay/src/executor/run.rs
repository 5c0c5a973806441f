//! One batch on one thread: its calls one after the other, within time, within the share of the core, stoppable, and set
//! aside while others go first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use p2pnet_shared::{
    engine::{
        BatchReport, CallOutcome, EngineName, Input, Prepared, Trap, batch,
        pace::{Pace, Rhythm},
    },
    units::Gas,
};

use super::{
    Order,
    asked::{Asked, Clock},
    kernels::Kernels,
    lock,
};
use crate::engine::{NativeEngines, NativeModule};

/// A kernel that is ready.
pub(super) type Module = Arc<NativeModule>;

/// What came of a batch on this thread.
pub(super) struct Ran {
    /// What its requester hears.
    pub report: BatchReport,
    /// Whether the process lacked something for it that a fresh one may have.
    pub worn: bool,
}

/// Runs a batch; `None` when something in it panicked.
pub(super) fn guarded(engines: &mut NativeEngines, kernels: &Kernels, order: Order) -> Option<Ran> {
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
    let mut report =
        BatchReport { engine: EngineName::Wasmi, outcomes: Vec::new(), busy_micros: 0, prepared: Prepared::default() };
    let module = match kernels.get(engines, batch.kernel, &kernel) {
        Ok(module) => module,
        Err(trap) => {
            report.outcomes.push(CallOutcome { output: Err(trap), gas: Gas(0) });
            return Ran { report, worn: trap == Trap::HostFailed };
        }
    };
    let control = Arc::new(Control::new(asked, Duration::from_millis(batch.limits.time_millis), cpu_percent));
    let watched = Arc::clone(&control);
    engines.set_watch(Some(Arc::new(move || watched.look())));
    report.outcomes = batch::run(&batch.calls, |call| match control.look() {
        Some(trap) => CallOutcome { output: Err(trap), gas: Gas(0) },
        None => {
            let (engine, outcome) = engines.call(&module, Input::with(batch.common.as_ref(), call), &batch.limits);
            report.engine = report.engine.max(engine);
            outcome
        }
    });
    report.prepared = engines.take_prepared();
    report.busy_micros = u64::try_from(control.busy().as_micros()).unwrap_or(u64::MAX);
    Ran { report, worn: engines.lacked() }
}

/// What is asked of a batch, its time, and its share of the core.
struct Control {
    asked: Arc<Asked>,
    clock: Clock,
    most: Duration,
    pace: Mutex<Pace>,
}

impl Control {
    fn new(asked: Arc<Asked>, most: Duration, cpu_percent: u8) -> Self {
        let clock = Clock::new(&asked, Instant::now());
        Self { asked, clock, most, pace: Mutex::new(Pace::new(Rhythm::PROCESS, cpu_percent, Duration::ZERO)) }
    }

    /// Whether to end, and why. Rests as long as it is asked to, and as long as the share of the core asks for.
    fn look(&self) -> Option<Trap> {
        let mut pace = lock(&self.pace);
        loop {
            self.asked.wait();
            if self.asked.is_stopped() {
                return Some(Trap::Cancelled);
            }
            let now = self.now();
            if now >= self.most {
                return Some(Trap::TimedOut);
            }
            pace.worked(now);
            thread::sleep(pace.due()?);
            pace.rested(self.now());
        }
    }

    /// Time worked, rests not counted.
    fn busy(&self) -> Duration {
        let mut pace = lock(&self.pace);
        pace.worked(self.now());
        pace.busy()
    }

    fn now(&self) -> Duration {
        self.clock.elapsed(Instant::now())
    }
}
