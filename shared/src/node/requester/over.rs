//! The end of a job: how it came, and what is kept of the job then.

use super::{cut, running::Running, view::MOST_SOURCE_SHOWN};
use crate::{api::JobSummary, job::JobState, refusal::Refusal, units::Moment};

/// How a job ends.
pub(super) struct End {
    /// One of those that are final.
    pub(super) state: JobState,
    /// Why, unless it is completed.
    pub(super) error: Option<Refusal>,
    /// What it, or some of its parts, put out.
    pub(super) result: Option<String>,
    /// Parts that failed.
    pub(super) failed_parts: u64,
}

impl End {
    /// With its result.
    pub(super) fn completed(result: String) -> Self {
        Self { state: JobState::Completed, error: None, result: Some(result), failed_parts: 0 }
    }

    /// Without one, for this reason.
    pub(super) fn failed(why: Refusal) -> Self {
        Self { state: JobState::Failed, error: Some(why), result: None, failed_parts: 0 }
    }

    /// Because somebody stopped it.
    pub(super) fn cancelled(why: Refusal) -> Self {
        Self { state: JobState::Cancelled, ..Self::failed(why) }
    }

    /// Because no node took it in time.
    pub(super) fn expired(why: Refusal) -> Self {
        Self { state: JobState::Expired, ..Self::failed(why) }
    }
}

/// A job that is over, until it is put away.
pub(super) struct Over {
    /// How far it had come; of its source is left what is shown.
    pub(super) entry: Running,
    pub(super) end: End,
    pub(super) finished_at: Moment,
}

impl Over {
    pub(super) fn new(mut entry: Running, end: End, finished_at: Moment) -> Self {
        entry.source = cut(&entry.source, MOST_SOURCE_SHOWN).into();
        Self { entry, end, finished_at }
    }

    /// What a list shows of it.
    pub(super) fn summary(&self) -> JobSummary {
        let mut summary = self.entry.summary(self.finished_at, None);
        summary.progress.units_running = 0;
        summary.progress.remaining_seconds = None;
        JobSummary {
            state: self.end.state,
            error: self.end.error.clone(),
            failed_parts: self.end.failed_parts,
            finished_at: Some(self.finished_at),
            ..summary
        }
    }
}
