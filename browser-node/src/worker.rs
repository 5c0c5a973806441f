//! Inside a Web Worker: takes batches from the page, runs them, says what came of them. One batch at a time.

mod kernels;
mod pace;

use std::{cell::RefCell, panic, rc::Rc};

use js_sys::{Array, Uint8Array};
use p2pnet_shared::{
    engine::{CallOutcome, EngineName},
    units::Gas,
};
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use self::{kernels::Kernels, pace::Pace};
use crate::{
    js::monotonic_millis,
    pool::{
        micros,
        protocol::{self, Outcome, Run, Said},
    },
};

/// What is done is said as soon as it is so much work. If the worker is stopped, only less than that is lost, and the
/// stop is charged to the first call not said. (Saying each of a great many tiny calls would take longer than they do.)
const SAY_MILLIS: f64 = 1.0;
/// A batch of at most so many calls has each of them said.
const FEW_CALLS: usize = 64;

/// If this program runs in a worker, sets it up to take batches and says `true`; `main` then has nothing more to do.
pub fn run_if_worker() -> bool {
    let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() else { return false };
    panic::set_hook(Box::new(|info| {
        if let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() {
            say(&scope, &Said::Failed { reason: info.to_string() });
        }
    }));
    let kernels = Rc::new(RefCell::new(Kernels::default()));
    let page = scope.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let run: Option<Run> = event.data().dyn_ref::<Uint8Array>().and_then(|bytes| protocol::decode(&bytes.to_vec()));
        match run {
            Some(run) => spawn_local(execute(page.clone(), kernels.clone(), run)),
            None => say(&page, &Said::Failed { reason: "the page said something unreadable".into() }),
        }
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget(); // lives as long as the worker
    say(&scope, &Said::Ready);
    true
}

async fn execute(page: DedicatedWorkerGlobalScope, kernels: Rc<RefCell<Kernels>>, run: Run) {
    let id = run.run;
    let mut pace = Pace::new(run.cpu_percent);
    let mut clock = Stopwatch::start();
    let mut unsaid: Vec<Outcome> = Vec::new();
    let mut said_at = monotonic_millis();
    let is_short = (2..=FEW_CALLS).contains(&run.calls.len());
    let kernel = kernels.borrow_mut().ready(run.kernel, run.kernel_bytes.as_deref().map(Vec::as_slice), &run.forget);
    let engine = match kernel {
        Ok(kernel) => {
            for call in &run.calls {
                let outcome = kernels.borrow_mut().call(&kernel, &[run.common.as_ref(), call.as_ref()], &run.limits);
                unsaid.push(outcome.into());
                let nap = pace.worked(clock.lap());
                if is_short || nap.is_some() || clock.last - said_at >= SAY_MILLIS {
                    said_at = clock.last;
                    let outcomes = std::mem::take(&mut unsaid);
                    say(&page, &Said::Outcomes { run: id, engine: kernel.engine(), outcomes });
                }
                if let Some(millis) = nap {
                    rest(&page, id, millis, &mut pace, &mut clock).await;
                }
            }
            kernel.engine()
        }
        Err(trap) => {
            unsaid.push(CallOutcome { output: Err(trap), gas: Gas(0) }.into());
            EngineName::Wasmi
        }
    };
    if let Some(millis) = pace.remainder() {
        rest(&page, id, millis, &mut pace, &mut clock).await;
    }
    say(&page, &Said::Done { run: id, engine, outcomes: unsaid, busy_micros: micros(clock.busy_millis()) });
}

/// Sleeps to keep to the share of the core. A worker's timers keep time in hidden tabs too.
async fn rest(page: &DedicatedWorkerGlobalScope, run: u64, millis: u32, pace: &mut Pace, clock: &mut Stopwatch) {
    say(page, &Said::Resting { run, millis });
    gloo::timers::future::TimeoutFuture::new(millis).await;
    pace.rested(clock.skip());
}

fn say(page: &DedicatedWorkerGlobalScope, said: &Said) {
    let Some(bytes) = protocol::encode(said) else { return };
    let bytes = Uint8Array::from(bytes.as_slice());
    let _ = page.post_message_with_transfer(&bytes, &Array::of1(&bytes.buffer()));
}

/// Tells time at work from time at rest.
struct Stopwatch {
    last: f64,
    busy: f64,
}

impl Stopwatch {
    fn start() -> Self {
        Self { last: monotonic_millis(), busy: 0.0 }
    }

    /// Milliseconds since the last look, which were work.
    fn lap(&mut self) -> f64 {
        let millis = self.skip();
        self.busy += millis;
        millis
    }

    /// Milliseconds since the last look, which were no work.
    fn skip(&mut self) -> f64 {
        let now = monotonic_millis();
        let millis = now - std::mem::replace(&mut self.last, now);
        millis.max(0.0)
    }

    fn busy_millis(&self) -> f64 {
        self.busy
    }
}
