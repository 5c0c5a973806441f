//! How the page stops a worker in the middle of a call, without losing it: two numbers in memory that both see.
//!
//! Memory is shared only in pages that their server isolates from other origins (`Cross-Origin-Opener-Policy`,
//! `Cross-Origin-Embedder-Policy`). Elsewhere a worker is stopped by terminating it, and rests between calls only.

use js_sys::{Atomics, Int32Array, Reflect, SharedArrayBuffer};
use p2pnet_shared::engine::Trap;
use wasm_bindgen::{JsCast, JsValue};

/// Where the run that is to stop stands; zero for none. What changes it wakes a worker that rests.
const RUN: u32 = 0;
/// Where the reason stands.
const REASON: u32 = 1;
const WORDS: u32 = 2;
/// The reasons there are, by their codes.
const REASONS: [Trap; 2] = [Trap::Cancelled, Trap::TimedOut];

/// One worker's reins, as page and worker hold them.
#[derive(Clone, Debug)]
pub struct Reins {
    words: Int32Array,
}

impl Reins {
    /// New ones; absent where memory cannot be shared.
    pub fn new() -> Option<Self> {
        let has_shared_memory =
            Reflect::get(&js_sys::global(), &"crossOriginIsolated".into()).is_ok_and(|isolated| isolated.is_truthy());
        has_shared_memory.then(|| Self { words: Int32Array::new(&SharedArrayBuffer::new(4 * WORDS)) })
    }

    /// Those that the page sent.
    pub fn received(buffer: &JsValue) -> Option<Self> {
        buffer.dyn_ref::<SharedArrayBuffer>().map(|buffer| Self { words: Int32Array::new(buffer) })
    }

    /// What is sent to the worker.
    pub fn buffer(&self) -> JsValue {
        self.words.buffer().into()
    }

    /// The page: has `run` end in `reason`, soon, and only that run.
    pub fn stop(&self, run: u64, reason: Trap) {
        let code = REASONS.iter().position(|known| *known == reason).and_then(|code| i32::try_from(code).ok());
        let _ = Atomics::store(&self.words, REASON, code.unwrap_or(0));
        let _ = Atomics::store(&self.words, RUN, word(run));
        let _ = Atomics::notify(&self.words, RUN);
    }

    /// The worker: why `run` is to stop, if it is.
    pub fn stopped(&self, run: u64) -> Option<Trap> {
        let load = |place| Atomics::load(&self.words, place).ok();
        if load(RUN)? != word(run) {
            return None;
        }
        let reason = load(REASON).and_then(|code| usize::try_from(code).ok());
        Some(reason.and_then(|code| REASONS.get(code).copied()).unwrap_or(Trap::Cancelled))
    }

    /// The worker: sleeps, no longer than until `run` is to stop.
    pub fn rest(&self, run: u64, millis: u32) {
        let Ok(now) = Atomics::load(&self.words, RUN) else { return };
        if now != word(run) {
            let _ = Atomics::wait_with_timeout(&self.words, RUN, now, f64::from(millis));
        }
    }
}

/// Runs are told apart by their last 32 bits.
#[allow(clippy::cast_possible_truncation)]
fn word(run: u64) -> i32 {
    (run as u32).cast_signed()
}
