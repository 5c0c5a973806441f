//! Which batches of one job are out with nodes, and which wait after something went wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use super::{attempt::Attempt, batch::Batch};
use crate::{id::AttemptId, node::audit::holds, units::Span};

/// The batches of one job that are neither open nor done.
#[derive(Default)]
pub(super) struct Batches {
    /// Those that are out, by first unit.
    out: BTreeMap<u64, Batch>,
    /// Those that wait, by first unit.
    waiting: BTreeMap<u64, Batch>,
    /// The attempts of those that are out, and those that go on though another one of their batch was first.
    attempts: BTreeSet<AttemptId>,
    /// Units of those attempts: what two nodes have counts twice.
    units: u64,
}

/// What is left of a batch when one of its attempts has failed or is given up.
pub(super) enum Left<'b> {
    /// It is out with nobody any more, and taken out of the list.
    Alone(Batch),
    /// Other nodes have it.
    WithOthers(&'b mut Batch),
    /// It was not out.
    Nothing,
}

impl Batches {
    /// Those that are out.
    pub(super) fn out(&self) -> impl Iterator<Item = &Batch> {
        self.out.values()
    }

    /// How many are.
    pub(super) fn out_count(&self) -> usize {
        self.out.len()
    }

    /// The one that is out and begins with a unit.
    pub(super) fn out_at(&self, start: u64) -> Option<&Batch> {
        self.out.get(&start)
    }

    /// The same, to be changed.
    pub(super) fn out_at_mut(&mut self, start: u64) -> Option<&mut Batch> {
        self.out.get_mut(&start)
    }

    /// Those that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Batch> {
        self.waiting.values()
    }

    /// How many do.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// All attempts that have not ended: those of batches that are out, and those that go on though another one was first.
    pub(super) fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.attempts.iter().copied()
    }

    /// Whether an attempt is one of them.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.attempts.contains(&attempt)
    }

    /// Whether there are any.
    pub(super) fn has_attempts(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Units of all attempts; what two nodes have counts twice.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// A batch goes out with an attempt, beside others if it is out already.
    pub(super) fn send(&mut self, mut batch: Batch, attempt: AttemptId) {
        batch.goes_to(attempt);
        self.attempts.insert(attempt);
        self.units += batch.span.len();
        self.out.insert(batch.span.start, batch);
    }

    /// An attempt is off the books; its batch is told by [`Batches::leave`], or was taken out.
    pub(super) fn ended(&mut self, attempt: AttemptId, span: Span) {
        if self.attempts.remove(&attempt) {
            self.units = self.units.saturating_sub(span.len());
        }
    }

    /// An attempt of the batch that begins with a unit brings nothing.
    pub(super) fn leave(&mut self, start: u64, attempt: AttemptId) -> Left<'_> {
        let Some(mut batch) = self.out.remove(&start) else { return Left::Nothing };
        batch.leave(attempt);
        if !batch.is_out() {
            return Left::Alone(batch);
        }
        Left::WithOthers(self.out.entry(start).insert_entry(batch).into_mut())
    }

    /// Takes one out of those that are out.
    pub(super) fn take_out(&mut self, start: u64) -> Option<Batch> {
        self.out.remove(&start)
    }

    /// Takes one that waits.
    pub(super) fn take_waiting(&mut self, start: u64) -> Option<Batch> {
        self.waiting.remove(&start)
    }

    /// Puts one where it belongs: among those that are out, if some node has it, else among those that wait.
    pub(super) fn put(&mut self, batch: Batch) {
        let place = if batch.is_out() { &mut self.out } else { &mut self.waiting };
        place.insert(batch.span.start, batch);
    }

    /// Whether the lists agree with each other, and with the attempts; how many units are here.
    pub(super) fn audit<'a>(&self, attempt_of: impl Fn(AttemptId) -> Option<&'a Attempt>) -> Result<u64, String> {
        let mut seen = BTreeSet::new();
        for batch in self.out.values() {
            holds(batch.is_out(), "a batch is out with nobody")?;
            for id in batch.attempts() {
                let is_of = attempt_of(*id).is_some_and(|attempt| attempt.span == batch.span && !attempt.superseded);
                holds(is_of && seen.insert(*id), "an attempt is of another batch")?;
            }
        }
        let attempts = || self.attempts.iter().filter_map(|id| Some((*id, attempt_of(*id)?)));
        seen.extend(attempts().filter(|(_, attempt)| attempt.superseded).map(|(id, _)| id));
        holds(seen == self.attempts, "a job's attempts and those of its batches disagree")?;
        holds(!self.waiting.values().any(Batch::is_out), "a batch waits that is out")?;
        let units: u64 = attempts().map(|(_, attempt)| attempt.span.len()).sum();
        holds(self.units == units, "the units that are out are miscounted")?;
        Ok(self.out.values().chain(self.waiting.values()).map(|batch| batch.span.len()).sum())
    }
}
