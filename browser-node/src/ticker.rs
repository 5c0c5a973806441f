//! Time that goes on in a hidden tab: browsers slow a hidden page's timers down to one a minute, but not a worker's.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures::channel::oneshot;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{MessageEvent, Worker};

use crate::{js::monotonic_millis, pool::script_url};

/// Milliseconds between two ticks.
pub(crate) const TICK_MILLIS: f64 = 250.0;

const SCRIPT: &str = "setInterval(() => postMessage(0), 250);";

type Waiter = (f64, oneshot::Sender<()>);

#[derive(Default)]
struct State {
    listeners: Vec<Rc<dyn Fn()>>,
    waiters: Vec<Waiter>,
}

/// The tab's clockwork.
#[derive(Clone)]
pub(crate) struct Ticker {
    state: Rc<RefCell<State>>,
}

impl Ticker {
    /// Starts the ticking worker; without workers the page's own (throttled) timer ticks.
    pub(crate) fn start() -> Self {
        let ticker = Self { state: Rc::default() };
        if ticker.start_worker().is_err() {
            ticker.use_the_page();
        }
        ticker
    }

    fn use_the_page(&self) {
        let page = self.clone();
        gloo::timers::callback::Interval::new(TICK_MILLIS as u32, move || page.tick()).forget();
    }

    /// Calls `listener` at every tick, for as long as the tab lives.
    pub(crate) fn each(&self, listener: impl Fn() + 'static) {
        self.state.borrow_mut().listeners.push(Rc::new(listener));
    }

    /// Ready after at least `millis`, and at most one tick later.
    pub(crate) async fn sleep(&self, millis: f64) {
        let (done, wait) = oneshot::channel();
        self.state.borrow_mut().waiters.push((monotonic_millis() + millis, done));
        let _ = wait.await;
    }

    fn start_worker(&self) -> Result<(), JsValue> {
        let worker = Worker::new(&script_url(SCRIPT)?)?;
        let ticker = self.clone();
        let on_tick = Closure::<dyn FnMut(MessageEvent)>::new(move |_| ticker.tick());
        worker.set_onmessage(Some(on_tick.as_ref().unchecked_ref()));
        on_tick.forget(); // lives as long as the tab
        // A policy may forbid the worker after it was made.
        let (page, used) = (self.clone(), Cell::new(false));
        let on_error = Closure::<dyn FnMut()>::new(move || {
            if !used.replace(true) {
                page.use_the_page();
            }
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        on_error.forget();
        KEPT.with(|kept| kept.borrow_mut().push(worker)); // an unreferenced worker may be collected
        Ok(())
    }

    fn tick(&self) {
        let listeners = self.state.borrow().listeners.clone(); // a listener may add listeners and sleepers
        for listener in listeners {
            listener();
        }
        let now = monotonic_millis();
        let waiters = std::mem::take(&mut self.state.borrow_mut().waiters);
        let (due, rest): (Vec<Waiter>, Vec<Waiter>) = waiters.into_iter().partition(|(at, _)| *at <= now);
        self.state.borrow_mut().waiters.extend(rest);
        for (_, waiter) in due {
            let _ = waiter.send(());
        }
    }
}

thread_local! {
    static KEPT: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}
