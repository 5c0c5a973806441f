//! What came of a batch, until its requester has taken it: it is said again after each break of the connection.

use crate::{
    engine::Prepared,
    id::{AttemptId, Hash},
    wire::{Extensions, Message, Payload},
};

/// What came of a batch.
pub(super) struct Delivery {
    /// The report.
    pub(super) report: Payload,
    /// What preparing instances for it took.
    pub(super) prepared: Prepared,
}

impl Delivery {
    /// How it is said.
    pub(super) fn message(&self, attempt: AttemptId) -> Message {
        let extensions = Extensions::of_prepared(self.prepared);
        Message::Deliver { attempt, report: self.report.clone(), extensions }
    }

    /// Bytes of the report.
    pub(super) fn len(&self) -> u64 {
        match &self.report {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Blob { len, .. } => *len,
        }
    }

    /// The blob in which the report lies, if it is one.
    pub(super) fn blob(&self) -> Option<Hash> {
        self.report.blob()
    }
}
