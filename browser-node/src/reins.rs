//! How the page stops a worker in the middle of a call, or sets aside what it runs, without losing it: four numbers in
//! memory that both see.
//!
//! Memory is shared only in pages that their server isolates from other origins (`Cross-Origin-Opener-Policy`,
//! `Cross-Origin-Embedder-Policy`). Elsewhere a worker is stopped by terminating it, rests between calls only, and no run
//! can be set aside.

use js_sys::{Atomics, Int32Array, Reflect, SharedArrayBuffer};
use p2pnet_shared::engine::Trap;
use wasm_bindgen::{JsCast, JsValue};

/// Where the run that is to stop stands; zero for none.
const RUN: u32 = 0;
/// Where the reason stands.
const REASON: u32 = 1;
/// Where the run that is set aside stands; zero for none.
const ASIDE: u32 = 2;
/// Where the orders are counted. A worker that sleeps waits on this number: it reads it, then what was ordered, and
/// sleeps only if no further order has come since.
const ORDERS: u32 = 3;
const WORDS: u32 = 4;
/// The reasons there are, by their codes.
const REASONS: [Trap; 2] = [Trap::Cancelled, Trap::TimedOut];

/// One worker's reins, as page and worker hold them.
#[derive(Clone, Debug)]
pub(crate) struct Reins {
    words: Int32Array,
}

impl Reins {
    /// New ones; absent where memory cannot be shared.
    pub(crate) fn new() -> Option<Self> {
        has_shared_memory().then(|| Self { words: Int32Array::new(&SharedArrayBuffer::new(4 * WORDS)) })
    }

    /// Those that the page sent.
    pub(crate) fn received(buffer: &JsValue) -> Option<Self> {
        buffer.dyn_ref::<SharedArrayBuffer>().map(|buffer| Self { words: Int32Array::new(buffer) })
    }

    /// What is sent to the worker.
    pub(crate) fn buffer(&self) -> JsValue {
        self.words.buffer().into()
    }

    /// The page: has `run` end in `reason`, soon, and only that run.
    pub(crate) fn stop(&self, run: u64, reason: Trap) {
        let code = REASONS.iter().position(|known| *known == reason).and_then(|code| i32::try_from(code).ok());
        let _ = Atomics::store(&self.words, REASON, code.unwrap_or(0));
        let _ = Atomics::store(&self.words, RUN, word(run));
        self.ordered();
    }

    /// The page: has `run`, and only that run, rest from soon on until it may go on or is to stop.
    pub(crate) fn set_aside(&self, run: u64) {
        let _ = Atomics::store(&self.words, ASIDE, word(run));
        self.ordered();
    }

    /// The page: lets what was set aside go on.
    pub(crate) fn go_on(&self) {
        let _ = Atomics::store(&self.words, ASIDE, 0);
        self.ordered();
    }

    /// The worker: why `run` is to stop, if it is.
    pub(crate) fn stopped(&self, run: u64) -> Option<Trap> {
        if self.load(RUN)? != word(run) {
            return None;
        }
        let reason = self.load(REASON).and_then(|code| usize::try_from(code).ok());
        Some(reason.and_then(|code| REASONS.get(code).copied()).unwrap_or(Trap::Cancelled))
    }

    /// The worker: whether `run` is to rest until it may go on. What is to stop is not.
    pub(crate) fn is_aside(&self, run: u64) -> bool {
        self.load(ASIDE) == Some(word(run)) && self.stopped(run).is_none()
    }

    /// The worker: sleeps for as long as `run` is set aside.
    pub(crate) fn wait_aside(&self, run: u64) {
        while let Some(orders) = self.load(ORDERS)
            && self.is_aside(run)
        {
            if Atomics::wait(&self.words, ORDERS, orders).is_err() {
                return; // a thread that may not sleep
            }
        }
    }

    /// The worker: sleeps, no longer than until something is ordered, such as to stop.
    pub(crate) fn rest(&self, run: u64, millis: u32) {
        let Some(orders) = self.load(ORDERS) else { return };
        if self.stopped(run).is_none() {
            let _ = Atomics::wait_with_timeout(&self.words, ORDERS, orders, f64::from(millis));
        }
    }

    fn load(&self, place: u32) -> Option<i32> {
        Atomics::load(&self.words, place).ok()
    }

    /// Wakes the worker if it sleeps: it finds what was ordered before this.
    fn ordered(&self) {
        let _ = Atomics::add(&self.words, ORDERS, 1);
        let _ = Atomics::notify(&self.words, ORDERS);
    }
}

/// Whether page and workers can have memory in common here.
pub(crate) fn has_shared_memory() -> bool {
    Reflect::get(&js_sys::global(), &"crossOriginIsolated".into()).is_ok_and(|isolated| isolated.is_truthy())
}

/// Runs are told apart by their last 32 bits.
fn word(run: u64) -> i32 {
    (run as u32).cast_signed()
}
