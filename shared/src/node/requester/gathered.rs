//! What a running job has gathered of its outputs, and how much of that stands in its owner's books.

use std::sync::Arc;

use crate::{
    job::{Done, Outputs, Plan},
    units::{Millis, Moment, Span},
};

/// How often what is there is merged to be shown, and how much at most: it must be cheap.
const PARTIAL_PAUSE: Millis = Millis(1_000);
const PARTIAL_SPANS: usize = 4_096;
const PARTIAL_BYTES: u64 = 1 << 20;
const PARTIAL_SHOWN_BYTES: usize = 64 << 10;
/// What an output takes besides its bytes.
const OUTPUT_BYTES: u64 = 24;

/// Outputs of spans that are done.
#[derive(Default)]
pub(super) struct Gathered {
    /// Shared with a merge that is under way.
    outputs: Arc<Done>,
    units: u64,
    bytes: u64,
    /// How many of the bytes are in its owner's books.
    booked: usize,
    partial: Option<String>,
    partial_at: Moment,
}

impl Gathered {
    /// Takes the outputs of a span in.
    pub(super) fn add(&mut self, span: Span, outputs: Outputs) {
        self.units += span.len();
        self.bytes += outputs.iter().map(|output| output.len() as u64 + OUTPUT_BYTES).sum::<u64>();
        Arc::make_mut(&mut self.outputs).insert(span, outputs);
    }

    /// By span.
    pub(super) fn outputs(&self) -> &Done {
        &self.outputs
    }

    /// The same, for whoever works on it beside.
    pub(super) fn shared(&self) -> Arc<Done> {
        Arc::clone(&self.outputs)
    }

    /// Units that are done.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// Bytes of memory that the outputs take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of them are in its owner's books.
    pub(super) fn booked(&self) -> usize {
        self.booked
    }

    /// Books all of them; gives how many that are more than before.
    pub(super) fn book(&mut self) -> usize {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let more = bytes.saturating_sub(self.booked);
        self.booked = bytes;
        more
    }

    /// Takes them out of the books; gives how many they were.
    pub(super) fn unbook(&mut self) -> usize {
        std::mem::take(&mut self.booked)
    }

    /// What was last merged to be shown.
    pub(super) fn partial(&self) -> Option<&String> {
        self.partial.as_ref()
    }

    /// Merges what is there, where that makes sense and is cheap: at most once a second.
    pub(super) fn update_partial(&mut self, now: Moment, plan: &dyn Plan) {
        if now < self.partial_at + PARTIAL_PAUSE || self.outputs.is_empty() {
            return;
        }
        self.partial_at = now;
        let is_cheap = self.outputs.len() <= PARTIAL_SPANS && self.bytes <= PARTIAL_BYTES;
        let merged = || plan.merge(&self.outputs).ok().filter(|partial| partial.len() <= PARTIAL_SHOWN_BYTES);
        self.partial = if is_cheap && plan.has_partial_result() { merged() } else { None };
    }

    /// As if the outputs took so much.
    #[cfg(test)]
    pub(super) fn weigh(&mut self, bytes: u64) {
        self.bytes = bytes;
    }
}
