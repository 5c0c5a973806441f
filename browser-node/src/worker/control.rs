//! What a worker minds while it computes: that it stops when the page says so, and rests to keep to its share of a core.
//!
//! The engines ask in the middle of long calls ([`look`]), and the worker itself asks between calls.

use std::{cell::RefCell, time::Duration};

use p2pnet_shared::engine::{
    Trap,
    pace::{Pace, Rhythm},
};

use crate::{js::monotonic_millis, pool::protocol::Said, reins::Reins};

thread_local! {
    /// The one batch of this worker; a worker is a thread.
    static CONTROL: RefCell<Option<Control>> = const { RefCell::new(None) };
}

/// Takes the reins over from the page, and begins to mind a batch.
pub(super) fn begin(run: u64, cpu_percent: u8, reins: Option<Reins>) {
    let control = Control { run, reins, pace: Pace::new(Rhythm::TAB, cpu_percent, now()) };
    CONTROL.set(Some(control));
}

/// For the engines, in the middle of a call: waits while the batch is set aside, rests if that is due, and says why to
/// stop.
pub(super) fn look() -> Option<Trap> {
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
pub(super) fn stand_aside() {
    with(Control::stand_aside);
}

/// Why the batch is to stop.
pub(super) fn stopped() -> Option<Trap> {
    with(|control| control.stopped()).flatten()
}

/// Some work is done; gives the milliseconds to rest now, if that is due.
pub(super) fn work_done() -> Option<u32> {
    with(Control::work_done).flatten()
}

/// Milliseconds of rest that are owed at the end of a batch.
pub(super) fn remainder() -> Option<u32> {
    with(|control| control.pace.remainder()).flatten().map(millis)
}

/// Rests, so that the page can end it at any moment where it has reins. A worker's timers keep time in hidden tabs too.
pub(super) async fn rest(millis: u32) {
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

/// When work was last seen to be done.
pub(super) fn seen_at() -> Duration {
    with(|control| control.pace.seen_at()).unwrap_or_default()
}

/// Time at work so far, in microseconds.
pub(super) fn busy_micros() -> u64 {
    let busy = with(|control| control.pace.busy()).unwrap_or_default();
    u64::try_from(busy.as_micros()).unwrap_or(u64::MAX)
}

fn with<T>(ask: impl FnOnce(&mut Control) -> T) -> Option<T> {
    CONTROL.with_borrow_mut(|control| control.as_mut().map(ask))
}

struct Control {
    run: u64,
    reins: Option<Reins>,
    pace: Pace,
}

impl Control {
    fn stopped(&self) -> Option<Trap> {
        self.reins.as_ref()?.stopped(self.run)
    }

    /// Waits while the batch is set aside, which is no work, and not the rest that is owed for it.
    fn stand_aside(&mut self) {
        let Some(reins) = self.reins.as_ref().filter(|reins| reins.is_aside(self.run)) else { return };
        self.pace.worked(now());
        reins.wait_aside(self.run);
        self.pace.waited(now());
    }

    fn work_done(&mut self) -> Option<u32> {
        self.pace.worked(now());
        self.pace.due().map(millis)
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
        self.pace.rested(now());
    }
}

/// Time since the worker's beginning.
fn now() -> Duration {
    Duration::try_from_secs_f64(monotonic_millis() / 1000.0).unwrap_or_default()
}

/// In whole milliseconds, as timers take them.
fn millis(rest: Duration) -> u32 {
    u32::try_from(rest.as_millis()).unwrap_or(u32::MAX)
}
