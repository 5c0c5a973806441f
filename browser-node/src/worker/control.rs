//! What a worker minds while it computes: that it stops when the page says so, and rests to keep to its share of a core.
//!
//! The engines ask in the middle of long calls ([`look`]), and the worker itself asks between calls.

use std::cell::RefCell;

use p2pnet_shared::engine::Trap;

use super::pace::Pace;
use crate::{
    js::monotonic_millis,
    pool::{micros, protocol::Said},
    reins::Reins,
};

thread_local! {
    /// The one batch of this worker; a worker is a thread.
    static CONTROL: RefCell<Option<Control>> = const { RefCell::new(None) };
}

/// Takes the reins over from the page, and begins to mind a batch.
pub fn begin(run: u64, cpu_percent: u8, reins: Option<Reins>) {
    let control = Control { run, reins, pace: Pace::new(cpu_percent), clock: Stopwatch::start() };
    CONTROL.set(Some(control));
}

/// For the engines, in the middle of a call: waits while the batch is set aside, rests if that is due, and says why to
/// stop.
pub fn look() -> Option<Trap> {
    with(|control| {
        control.stand_aside();
        if let Some(trap) = control.stopped() {
            return Some(trap);
        }
        if let Some(millis) = control.work_done() {
            control.rest_at_once(millis);
            control.stand_aside();
        }
        control.stopped()
    })
    .flatten()
}

/// Between calls: waits while the batch is set aside.
pub fn stand_aside() {
    with(Control::stand_aside);
}

/// Why the batch is to stop.
pub fn stopped() -> Option<Trap> {
    with(|control| control.stopped()).flatten()
}

/// Some work is done; gives the milliseconds to rest now, if that is due.
pub fn work_done() -> Option<u32> {
    with(Control::work_done).flatten()
}

/// Milliseconds of rest that are owed at the end of a batch.
pub fn remainder() -> Option<u32> {
    with(|control| control.pace.remainder()).flatten()
}

/// Rests, so that the page can end it at any moment where it has reins. A worker's timers keep time in hidden tabs too.
pub async fn rest(millis: u32) {
    let has_reins = with(|control| {
        if control.reins.is_some() {
            control.rest_at_once(millis);
        } else {
            control.say_resting(millis);
        }
        control.reins.is_some()
    });
    if has_reins == Some(false) {
        gloo::timers::future::TimeoutFuture::new(millis).await;
        with(Control::rested);
    }
}

/// When work was last seen to be done (milliseconds of the monotonic clock).
pub fn seen_at() -> f64 {
    with(|control| control.clock.last).unwrap_or_default()
}

/// Time at work so far, in microseconds.
pub fn busy_micros() -> u64 {
    with(|control| micros(control.clock.busy)).unwrap_or_default()
}

fn with<T>(ask: impl FnOnce(&mut Control) -> T) -> Option<T> {
    CONTROL.with_borrow_mut(|control| control.as_mut().map(ask))
}

struct Control {
    run: u64,
    reins: Option<Reins>,
    pace: Pace,
    clock: Stopwatch,
}

impl Control {
    fn stopped(&self) -> Option<Trap> {
        self.reins.as_ref()?.stopped(self.run)
    }

    /// Waits while the batch is set aside, which is no work, and not the rest that is owed for it.
    fn stand_aside(&mut self) {
        let Some(reins) = self.reins.as_ref().filter(|reins| reins.is_aside(self.run)) else { return };
        self.pace.worked(self.clock.lap());
        reins.wait_aside(self.run);
        self.clock.skip();
    }

    fn work_done(&mut self) -> Option<u32> {
        self.pace.worked(self.clock.lap())
    }

    fn rest_at_once(&mut self, millis: u32) {
        self.say_resting(millis);
        if let Some(reins) = &self.reins {
            reins.rest(self.run, millis);
        }
        self.rested();
    }

    /// What a worker rests is not the kernel's time.
    fn say_resting(&self, millis: u32) {
        super::say(&Said::Resting { run: self.run, millis });
    }

    fn rested(&mut self) {
        self.pace.rested(self.clock.skip());
    }
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
}
