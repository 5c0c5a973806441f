//! The time in a tab: `performance.now()`, to which the wall clock gives only the beginning, since people and time servers
//! set that. Hidden tabs have the same one. Browsers differ in whether it counts the time that a computer sleeps, which
//! is none to the node.

use std::cell::RefCell;

use p2pnet_shared::{
    clock::{Mark, SteadyClock},
    units::{Millis, Moment},
};

use crate::js;

thread_local! {
    static CLOCK: RefCell<SteadyClock> = const { RefCell::new(SteadyClock::new()) };
}

/// The time on the scale of this tab's node, on which all its moments are.
pub fn now() -> Moment {
    CLOCK.with_borrow_mut(|clock| clock.read(monotonic(), wall()))
}

/// Goes on from what an earlier page of the same node kept.
pub(crate) fn go_on(mark: &Mark) {
    CLOCK.with_borrow_mut(|clock| *clock = SteadyClock::go_on(mark, BOOT, monotonic(), wall()));
}

/// What a later page of the same node needs to go on from here.
pub(crate) fn mark() -> Mark {
    CLOCK.with_borrow_mut(|clock| clock.mark(BOOT, monotonic(), wall()))
}

/// No clock of one page is another one's.
const BOOT: &str = "";

/// The wall clock, which may jump: for what pages of one browser tell each other.
// Milliseconds since 1970 fit until the year 285000.
pub(crate) fn wall() -> Moment {
    Moment(js_sys::Date::now().max(0.0) as u64)
}

// Milliseconds since the page was opened.
fn monotonic() -> Millis {
    Millis(js::monotonic_millis().max(0.0) as u64)
}
