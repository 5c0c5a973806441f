//! A job that has been read, checked and compiled: everything that the scheduler needs.

use std::collections::BTreeMap;

use super::Stages;
use crate::{blob::Blob, refusal::Refusal, units::Span};

/// Outputs of one finished span: one output a call.
pub type Outputs = Vec<Vec<u8>>;

/// What a job's finished spans put out, of all of its stages.
pub type Done = BTreeMap<Span, Outputs>;

/// What units of a stage put out, in their order; for a stage whose calls compute whole spans, what each span put out that
/// has units among them.
pub fn outputs(done: &Done, units: Span) -> impl Iterator<Item = &Vec<u8>> {
    let behind = Span { start: units.start.saturating_add(1), end: 0 };
    let first = done.range(..behind).next_back().map_or(units.start, |(span, _)| span.start);
    let spans = done.range(Span { start: first, end: 0 }..).take_while(move |(span, _)| span.start < units.end);
    spans.filter(move |(span, _)| span.end > units.start).flat_map(move |(span, outputs)| {
        let is_call_a_unit = outputs.len() as u64 == span.len();
        let wanted = move |unit: u64| !is_call_a_unit || (units.start <= unit && unit < units.end);
        (span.start..).zip(outputs).filter(move |(unit, _)| wanted(*unit)).map(|(_, output)| output)
    })
}

/// How units become calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallShape {
    /// One call computes a whole span, however long (a range, a list of items).
    WholeSpan,
    /// Every unit is a call of its own (a line, a matrix block); a span is a batch of calls.
    EachUnit,
}

/// A job that has been read, checked and compiled: everything that the scheduler needs.
///
/// A plan is a pure function of the job's JSON, so a requester that restarts builds the same plan again.
pub trait Plan: Send + Sync {
    /// The stages: what computes them, how many units each has, and what feeds what. It is asked once a job, which then has them ([`super::Job`]).
    fn stages(&self) -> Stages;

    /// Modules that the job brought, by whose hash a later job may name them.
    fn modules(&self) -> Vec<&Blob> {
        Vec::new()
    }

    /// The largest span that may go out at once from a unit on, by the size of its input and output; at least 1. What it
    /// counts beyond that unit's stage is left out.
    fn most_units_a_batch(&self, start: u64) -> u64;

    /// The calls' own inputs for a span of one stage: one for [`CallShape::WholeSpan`], `span.len()` for
    /// [`CallShape::EachUnit`]. `done` holds what feeds it.
    fn inputs(&self, span: Span, done: &Done) -> Vec<Vec<u8>>;

    /// Checks one call's output as it arrives and gives the kernel's own error, if it is one.
    /// `span` is what that call covered. [`crate::refusal::Code::MergeFailed`] says that this kernel cannot have made the
    /// output: that is the node's fault, not the job's.
    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal>;

    /// The result's value as JSON text (what stands behind `"result":`), from all spans in order. With gaps (`done` does not cover all units) it is the partial
    /// result, where the kind has a meaningful one.
    fn merge(&self, done: &Done) -> Result<String, Refusal>;

    /// What stands for the output of a unit that has none and never will, for this reason, where that is the unit's own
    /// failure and not the job's. `None`: the job fails.
    fn instead(&self, why: &Refusal) -> Option<Vec<u8>> {
        let _ = why;
        None
    }

    /// Whether an output is one that [`Plan::instead`] makes; [`Plan::check`] takes none of those.
    fn is_instead(&self, output: &[u8]) -> bool {
        let _ = output;
        false
    }

    /// Why the job counts as failed although every task has delivered, from all spans; its result is kept nevertheless.
    fn failure(&self, done: &Done) -> Option<Refusal> {
        let _ = done;
        None
    }

    /// How many parts failed, from all spans, whether or not the job fails with them.
    fn failed_parts(&self, done: &Done) -> u64 {
        let _ = done;
        0
    }

    /// Whether [`Plan::merge`] makes sense before everything has arrived.
    fn has_partial_result(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_units_are_found_whatever_spans_they_came_in() {
        let of = |text: &str| text.bytes().map(|byte| vec![byte]).collect::<Outputs>();
        let done = Done::from([
            (Span { start: 0, end: 3 }, of("abc")),
            (Span { start: 3, end: 4 }, of("d")),
            (Span { start: 6, end: 8 }, of("gh")),
            (Span { start: 10, end: 20 }, of("w")),
        ]);
        let found = |start, end| outputs(&done, Span { start, end }).flatten().copied().collect::<Vec<u8>>();
        assert_eq!(found(0, 8), b"abcdgh");
        assert_eq!(found(1, 7), b"bcdg");
        assert_eq!((found(2, 3), found(4, 6), found(7, 7)), (b"c".to_vec(), vec![], vec![]));
        assert_eq!((found(8, 11), found(19, 30), found(20, 30)), (b"w".to_vec(), b"w".to_vec(), vec![]));
    }
}
