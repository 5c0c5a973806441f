//! Inside a Web Worker: takes batches from the page, runs them, says what came of them. One batch at a time.

mod control;
mod kernels;

use std::{
    cell::{Cell, RefCell},
    panic,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use js_sys::{Reflect, WebAssembly::Module};
use p2pnet_shared::{
    engine::{CallOutcome, Common, EngineName, Input, Limits, Trap, batch::Gathering},
    units::Gas,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use self::kernels::Kernels;
use crate::{
    engine::{Answer, Interpreter, Loaded},
    pool::{
        envelope,
        protocol::{self, Outcome, Run, Said},
    },
    reins::Reins,
};

/// What is done is said as soon as it is so much work. If the worker is stopped, only less than that is lost, and the
/// stop is charged to the first call not said. (Saying each of a great many tiny calls would take longer than they do.)
const SAY_AFTER: Duration = Duration::from_millis(1);
/// A batch of at most so many calls has each of them said.
const FEW_CALLS: usize = 64;

/// Sets this program up to take batches, if it runs in a worker. In a page it does nothing.
pub fn run_in_worker() {
    let Some(scope) = scope() else { return };
    panic::set_hook(Box::new(|info| say(&Said::Failed { reason: info.to_string() })));
    // The shim puts what the page sent along where it is found here.
    let reins = Reflect::get(&scope, &"reins".into()).ok().and_then(|buffer| Reins::received(&buffer));
    let mut kernels = Kernels::default();
    if reins.is_some() {
        kernels.set_watch(Arc::new(control::look));
    }
    let kernels = Rc::new(RefCell::new(kernels));
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let (bytes, module) = envelope::unpack(&event.data());
        let run: Option<Run> = bytes.and_then(|bytes| protocol::decode(&bytes));
        match run {
            Some(run) => spawn_local(execute(kernels.clone(), reins.clone(), run, module)),
            None => say(&Said::Failed { reason: "the page said something unreadable".into() }),
        }
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget(); // lives as long as the worker
    say(&Said::Ready);
}

async fn execute(kernels: Rc<RefCell<Kernels>>, reins: Option<Reins>, run: Run, module: Option<Module>) {
    let id = run.run;
    control::begin(id, run.cpu_percent, reins);
    let mut unsaid: Vec<Outcome> = Vec::new();
    let mut said_at = control::seen_at();
    let is_short = (2..=FEW_CALLS).contains(&run.calls.len());
    let kernel = kernels.borrow_mut().ready(run.kernel, run.source, module, &run.forget, say_with);
    let mut gathering = Gathering::new(run.calls.len());
    let common = run.common.as_ref().map(|(name, bytes)| Common { name: *name, bytes });
    let engine = match kernel {
        Ok(kernel) => {
            while let Some(call) = gathering.next_of(&run.calls) {
                control::stand_aside();
                let outcome = match control::stopped() {
                    None => call_on(&kernels, &kernel, Input { common, own: call.as_ref() }, &run.limits).await,
                    Some(trap) => unstarted(trap),
                };
                unsaid.extend(gathering.take(outcome).map(Outcome::from));
                if gathering.has_failed() {
                    break; // that is said with the end
                }
                let nap = control::work_done();
                if is_short || nap.is_some() || control::seen_at() - said_at >= SAY_AFTER {
                    said_at = control::seen_at();
                    let outcomes = std::mem::take(&mut unsaid);
                    say(&Said::Outcomes { run: id, engine: kernel.engine(), outcomes });
                }
                if let Some(millis) = nap {
                    control::rest(millis).await;
                }
            }
            kernel.engine()
        }
        Err(trap) => {
            unsaid.push(unstarted(trap).into());
            EngineName::Wasmi
        }
    };
    // In several naps if it is set aside meanwhile, which wakes it: what is done is not kept back.
    while let Some(millis) = control::remainder()
        && control::stopped().is_none()
    {
        control::rest(millis).await;
    }
    let (busy_micros, prepared) = (control::busy_micros(), kernels.borrow_mut().take_prepared());
    say(&Said::Done { run: id, engine, outcomes: unsaid, busy_micros, prepared });
}

/// One call; the interpreter is fetched if it is the first that needs it.
async fn call_on(kernels: &RefCell<Kernels>, kernel: &Loaded, input: Input<'_>, limits: &Limits) -> CallOutcome {
    let answer = kernels.borrow_mut().call(kernel, input, limits);
    let instead = match answer {
        Answer::Outcome(outcome) => return outcome,
        Answer::AsksInterpreter(instead) => instead,
    };
    if let Err(reason) = fetch_interpreter(kernels).await {
        say(&Said::NoInterpreter { reason: Some(reason) });
        return instead;
    }
    match kernels.borrow_mut().call(kernel, input, limits) {
        Answer::Outcome(outcome) => outcome,
        Answer::AsksInterpreter(_) => instead,
    }
}

async fn fetch_interpreter(kernels: &RefCell<Kernels>) -> Result<(), String> {
    thread_local! {
        static FAILED: Cell<u32> = const { Cell::new(0) };
    }
    let tries = FAILED.get();
    let watch = kernels.borrow().watch();
    match Interpreter::start(tries, watch).await {
        Ok(interpreter) => {
            kernels.borrow_mut().set_interpreter(interpreter);
            if tries > 0 {
                say(&Said::NoInterpreter { reason: None });
            }
            Ok(())
        }
        Err(reason) => {
            FAILED.set(tries + 1);
            Err(reason)
        }
    }
}

/// The outcome of a call that was not begun.
fn unstarted(trap: Trap) -> CallOutcome {
    CallOutcome { output: Err(trap), gas: Gas(0) }
}

fn say(said: &Said) {
    say_with(said, None);
}

/// Says something with what other workers can use beside it.
fn say_with(said: &Said, module: Option<&Module>) {
    let (Some(scope), Some(bytes)) = (scope(), protocol::encode(said)) else { return };
    let _ = envelope::post(&bytes, module, |data, transfer| scope.post_message_with_transfer(data, transfer));
}

fn scope() -> Option<DedicatedWorkerGlobalScope> {
    JsValue::from(js_sys::global()).dyn_into().ok()
}
