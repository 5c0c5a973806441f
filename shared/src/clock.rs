//! A clock that does not jump: what a host tells its node as the time.
//!
//! People and time servers set a machine's clock, forwards and backwards, by hours and, where a machine starts in 1970, by
//! decades. A node that took it as it is would see every attempt overdue and every result old at once, or nothing move for
//! an hour. So a node's time goes on with the monotonic clock, and its moments are on a scale of its own, which also a
//! restart carries on ([`Mark`]). Small differences to the wall clock are made up slowly, as time servers' own programs do;
//! by how much it was set otherwise is only noted, for whoever shows a moment ([`SteadyClock::set_by`]). A computer that slept
//! is to its node as one whose clock was set, whether its monotonic clock goes on meanwhile or not: else everything under way
//! would be overdue when the lid is opened, before the first message of what was done meanwhile is read.

use serde::{Deserialize, Serialize};

use crate::units::{Millis, Moment};

/// Of each stretch of time, this part at most is added or left out to get closer to the wall clock.
const SLEW: u64 = 100;
/// A wall clock that is off by more than this was set.
const SET: Millis = Millis(60_000);
/// Whoever did not look at the clocks for longer was asleep, or stopped: hosts look more than twice as often.
const ASLEEP: u64 = 120_000;
/// As how long a sleep counts: to a node that slept nothing is late by that.
const SLEPT: u64 = 1_000;
/// 1 January 2025: a wall clock that tells an earlier moment was not set since its machine started.
const EVER_SET: Moment = Moment(1_735_689_600_000);
/// A mark whose clocks are off by more than this is kept anew, and so is one that is older than [`MARK_AGE`].
const MARK_OFF: u64 = 1_000;
const MARK_AGE: Millis = Millis(3_600_000);

/// Makes one steady time of two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock {
    /// The monotonic clock and the time given, at a reading before.
    last: Option<(Millis, Moment)>,
    set_by: i64,
}

/// What clocks told at one moment, kept for the next run of the same node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which start of the machine `monotonic` counts from, in whatever words; empty where that is not known.
    pub boot: String,
    /// The monotonic clock.
    pub monotonic: Millis,
    /// The node's time.
    pub time: Moment,
    /// The wall clock.
    pub wall: Moment,
}

impl Mark {
    /// Whether `newer`, of the same node, should be kept instead: it could not be foreseen from this one, or this one is
    /// an hour old.
    pub fn is_old(&self, newer: &Mark) -> bool {
        let off = |mark: &Mark| (distance(mark.time, Moment(mark.monotonic.0)), distance(mark.wall, mark.time));
        let (before, now) = (off(self), off(newer));
        self.boot != newer.boot
            || before.0.abs_diff(now.0) > MARK_OFF
            || before.1.abs_diff(now.1) > MARK_OFF
            || newer.time - self.time >= MARK_AGE
    }
}

impl SteadyClock {
    /// A clock that was not read yet.
    pub const fn new() -> Self {
        Self { last: None, set_by: 0 }
    }

    /// A clock that goes on from what an earlier run kept. In the same start of the machine the monotonic clock tells how
    /// long that was ago; after it the wall clock does, unless it was not set then or is not now: then no time has passed.
    pub fn go_on(mark: &Mark, boot: &str, monotonic: Millis, wall: Moment) -> Self {
        let passed = if !boot.is_empty() && mark.boot == boot && monotonic >= mark.monotonic {
            Millis(monotonic.0 - mark.monotonic.0)
        } else if mark.wall < EVER_SET || wall < EVER_SET {
            Millis(0)
        } else {
            wall - mark.wall
        };
        let time = mark.time + passed;
        let off = distance(wall, time);
        let set_by = if off.unsigned_abs() > SET.0 { off } else { 0 };
        Self { last: Some((monotonic, time)), set_by }
    }

    /// The time now. `monotonic` is since any fixed moment and never goes back; `wall` is the machine's clock, which may.
    /// The answer never goes back, and the first one of a new clock is `wall`.
    pub fn read(&mut self, monotonic: Millis, wall: Moment) -> Moment {
        let Some((before, then)) = self.last else {
            self.last = Some((monotonic, wall));
            return wall;
        };
        let passed = monotonic.0.saturating_sub(before.0);
        let passed = if passed > ASLEEP { SLEPT } else { passed };
        let even = then + Millis(passed);
        let shown = even.shifted(self.set_by);
        let (ahead, behind) = (shown - wall, wall - shown);
        if ahead.max(behind) > SET {
            self.set_by = distance(wall, even);
            self.last = Some((monotonic, even));
            return even;
        }
        // A stretch without such a part stays open, so that its part is not lost.
        if passed < SLEW {
            return even;
        }
        let most = passed / SLEW;
        let now = if ahead.0 > 0 { Moment(even.0 - ahead.0.min(most)) } else { even + Millis(behind.0.min(most)) };
        self.last = Some((monotonic, now));
        now
    }

    /// By how many milliseconds the wall clock was set forwards (or, below zero, backwards) since the scale of this clock's
    /// moments began: a moment moved by that ([`Moment::shifted`]) is what the wall clock, as it is set now, calls it.
    pub fn set_by(&self) -> i64 {
        self.set_by
    }

    /// What the next run needs to go on from here.
    pub fn mark(&mut self, boot: &str, monotonic: Millis, wall: Moment) -> Mark {
        Mark { boot: boot.to_owned(), monotonic, time: self.read(monotonic, wall), wall }
    }
}

/// How far `later` is behind `earlier`, in milliseconds; negative when it is not.
fn distance(later: Moment, earlier: Moment) -> i64 {
    let (ahead, behind) = ((later - earlier).0, (earlier - later).0);
    let cut = |span| i64::try_from(span).unwrap_or(i64::MAX);
    if behind > 0 { -cut(behind) } else { cut(ahead) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests;
