//! Quantities with their unit in the type.

use core::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the Unix epoch, as the host's clock says ([`crate::clock::SteadyClock`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Moment {
    /// The moment so many milliseconds later or, below zero, earlier.
    #[must_use]
    pub fn shifted(self, by: i64) -> Moment {
        Moment(self.0.saturating_add_signed(by))
    }
}

impl Add<Millis> for Moment {
    type Output = Moment;
    fn add(self, span: Millis) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }
}

impl Sub for Moment {
    type Output = Millis;
    /// Zero when `earlier` is later: hosts' clocks step backwards.
    fn sub(self, earlier: Moment) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// The deterministic count of work that a kernel did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gas(pub u64);

impl AddAssign for Gas {
    fn add_assign(&mut self, more: Gas) {
        self.0 = self.0.saturating_add(more.0);
    }
}

/// A run of consecutive units of a job: `start` inclusive, `end` exclusive. A unit is the smallest part that a job's
/// kind can be cut into: one number of a range, one item, one line, one block of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First unit.
    pub start: u64,
    /// One past the last unit.
    pub end: u64,
}

impl Span {
    /// How many units.
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The first `units` and the rest.
    pub fn split_at(self, units: u64) -> (Span, Span) {
        let middle = self.start.saturating_add(units).min(self.end.max(self.start));
        (Span { start: self.start, end: middle }, Span { start: middle, end: self.end })
    }

    /// Whether there is no unit in it.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}
