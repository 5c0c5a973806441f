//! What whoever watches a running job was last told of it, and when.

use crate::{
    job::WaitReason,
    units::{Millis, Moment},
};

/// Events of one job at most so often.
const EVENT_PAUSE: Millis = Millis(100);

/// Whether there is something to tell.
pub(super) struct Told {
    has_changed: bool,
    at: Moment,
    /// Why it waited then.
    reason: Option<WaitReason>,
}

impl Told {
    /// Nothing was told.
    pub(super) fn nothing() -> Self {
        Self { has_changed: true, at: Moment(0), reason: None }
    }

    /// The job changed.
    pub(super) fn change(&mut self) {
        self.has_changed = true;
    }

    /// Whether it changed since.
    pub(super) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// From when on it may be told of again.
    pub(super) fn next(&self) -> Moment {
        self.at + EVENT_PAUSE
    }

    /// Whether it waits for another reason now.
    pub(super) fn waits_for_another(&self, reason: Option<WaitReason>) -> bool {
        self.reason != reason
    }

    /// It is told of, with why it waits.
    pub(super) fn tell(&mut self, now: Moment, reason: Option<WaitReason>) {
        *self = Self { has_changed: false, at: now, reason };
    }
}
