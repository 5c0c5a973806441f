//! Jobs that were over before the node started. Their lines come from the store bit by bit while the node is at work already,
//! and of each only what counts for its owner stays in memory: what lists show of it is read when somebody looks.

use super::{
    Requester,
    finished::{self, Finished},
    store,
};
use crate::{
    api::JobSummary,
    id::{JobId, OwnerId},
    node::{Found, HostOrder, core::Core},
    refusal::{Code, Refusal},
    store::{StoreKey, Unread},
};

/// What the node needs to know of a job that is over ([`StoreKey::Finished`]); made beside its loop, which takes the time that
/// reading takes.
#[derive(Debug)]
pub struct Line {
    id: JobId,
    says: Says,
}

#[derive(Debug)]
enum Says {
    Sound(Finished, Option<Box<JobSummary>>),
    /// It was damaged and is made anew: the record is to be kept.
    Anew(Finished, Vec<u8>),
    NotUnderstood(Unread),
}

/// Reads a line; `None` when it is damaged and may be made anew ([`mend_line`]). `is_held`: what lists show of it is held in memory
/// as well, as long as there is room, for a host that keeps few jobs and whose lists are read often.
pub fn read_line(id: JobId, record: &[u8], is_held: bool) -> Option<Line> {
    let says = match Finished::read(id, record) {
        Ok((finished, body)) => {
            let shown = is_held.then(|| finished::summary(&finished, body)).flatten();
            Says::Sound(finished, shown.map(Box::new))
        }
        Err(later @ Unread::Later(_)) => Says::NotUnderstood(later),
        Err(Unread::Damaged) => return None,
    };
    Some(Line { id, says })
}

/// Makes a damaged line anew from the [`StoreKey::Over`] of its job, whose result has so many bytes if there is one. Where that
/// cannot be read either, the job is left alone.
pub fn mend_line(id: JobId, over: Option<&[u8]>, result_bytes: Option<u64>) -> Line {
    let anew = over.and_then(|record| store::line_of(id, record, result_bytes));
    let says = anew.map_or(Says::NotUnderstood(Unread::Damaged), |(line, record)| Says::Anew(line, record));
    Line { id, says }
}

/// What a list shows of a job that is over, from its [`StoreKey::Finished`]; `None` when the record cannot be read.
pub fn read_summary(id: JobId, record: &[u8]) -> Option<JobSummary> {
    let (finished, body) = Finished::read(id, record).ok()?;
    finished::summary(&finished, body)
}

/// Why a job that is over has no result.
pub fn why_no_result(job: &JobSummary) -> Refusal {
    let fallback = || Refusal::new(Code::NoResult, "the job ended without a result", "submit it again");
    let reason = job.error.clone().unwrap_or_else(fallback);
    Refusal { code: Code::NoResult, ..reason }
}

impl Requester {
    /// Lines of jobs that are over are still to come.
    pub(in crate::node) fn await_lines(&mut self) {
        self.is_loading = true;
    }

    /// Whether all jobs of the store that are over are known.
    pub(in crate::node) fn is_loaded(&self) -> bool {
        !self.is_loading
    }

    /// Takes lines from the store; `is_all`: there are no more.
    pub(in crate::node) fn loaded(&mut self, core: &mut Core, lines: Vec<Line>, is_all: bool) {
        for Line { id, says } in lines {
            // What happened since the start is newer.
            if self.jobs.contains_key(&id) || self.finished.get(id).is_some() {
                continue;
            }
            match says {
                Says::Sound(line, shown) => {
                    self.finished.insert(id, line);
                    if let Some(shown) = shown {
                        self.finished.hold(*shown);
                    }
                }
                Says::Anew(line, record) => {
                    core.order(HostOrder::Change(vec![(StoreKey::Finished(id), Some(record))]));
                    self.finished.insert(id, line);
                }
                Says::NotUnderstood(why) => self.left_alone.add(StoreKey::Finished(id), why),
            }
        }
        if is_all {
            self.is_loading = false;
            self.trim(core, None);
            core.network_changed = true;
        }
    }

    /// A job as lists show it: from memory, or the record that says so.
    pub(in crate::node) fn find(&self, core: &Core, id: JobId) -> Option<Found<JobSummary>> {
        let here = self.summary(core, id).map(Found::Here);
        here.or_else(|| self.finished.get(id).map(|_| Found::Kept(StoreKey::Finished(id))))
    }

    /// Whose a job is of which nothing else is understood.
    pub(in crate::node) fn left_alone(&self, id: JobId) -> Option<OwnerId> {
        self.left_alone.owner(id)
    }

    /// So many records have names that this version does not know.
    pub(in crate::node) fn leave_unknown(&mut self, records: u64) {
        self.left_alone.add_unknown(records);
    }

    /// Records that are not understood.
    pub(in crate::node) fn records_not_understood(&self) -> u64 {
        self.left_alone.records()
    }
}
