//! Lists of jobs: of one owner or of all, newest first, a page at a time. A page costs what it shows, however many jobs
//! others have here; where few of many are wanted, it is made in steps, each of which looks at so many at most. Of jobs that
//! ended long ago a step only says where their lines lie: whoever asked reads them, beside the loop.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{Requester, loading::why_no_result};
use crate::{
    api::{JobStatus, JobSummary},
    id::{JobId, OwnerId},
    job::JobState,
    node::{Found, StoreKey, core::Core},
    refusal::{Code, Refusal},
    units::Moment,
};

/// A place in a list: jobs behind it are older, or as old and of a smaller id.
pub type Place = (Moment, JobId);

/// Which jobs are asked for.
#[derive(Clone)]
pub struct Listing {
    /// Whose; everybody's if `None`.
    pub owner: Option<OwnerId>,
    /// Only those behind this place.
    pub before: Option<Place>,
    /// Only those behind this job.
    pub before_job: Option<JobId>,
    /// So many at most.
    pub most: usize,
    /// Only those that it takes.
    pub takes: Arc<dyn Fn(&JobSummary) -> bool + Send + Sync>,
}

/// A step of a list.
#[derive(Debug)]
pub struct Step {
    /// Newest first. Those of which only the record is known were not asked whether the list takes them.
    pub jobs: Vec<Found<JobSummary>>,
    /// The last job that was looked at, if there may be others behind it.
    pub on: Option<Place>,
}

/// Why a job has no result, or none yet.
#[derive(Clone, Debug, PartialEq)]
pub enum NoResult {
    /// For this reason.
    Because(Refusal),
    /// It is over, and what lists show of it says why ([`why_no_result`](super::why_no_result)).
    AsLineSays(StoreKey),
}

impl Listing {
    /// All jobs of everybody.
    pub fn everything() -> Self {
        Self { owner: None, before: None, before_job: None, most: usize::MAX, takes: Arc::new(|_| true) }
    }
}

impl Requester {
    /// See [`Node::list`](crate::node::Node::list).
    pub(in crate::node) fn list(&self, core: &Core, listing: &Listing, looks: usize) -> Option<Step> {
        let is_listed = |owner: OwnerId| listing.owner.is_none_or(|wanted| wanted == owner);
        let before = match listing.before_job {
            None => listing.before,
            Some(id) => {
                let (_, created_at) = self.owner_and_time(id).filter(|(owner, _)| is_listed(*owner))?;
                listing.before.into_iter().chain([(created_at, id)]).min()
            }
        };
        let is_behind = |place: Place| before.is_none_or(|before| place < before);
        let mut open: Vec<Place> = self
            .jobs
            .values()
            .filter(|entry| is_listed(entry.holder.owner))
            .map(|entry| (entry.created_at, entry.id))
            .filter(|place| is_behind(*place))
            .collect();
        // The last one says only that there is one behind those that are looked at.
        let enough = looks.max(1).saturating_add(1);
        if open.len() > enough {
            open.select_nth_unstable_by_key(enough, |place| Reverse(*place));
            open.truncate(enough);
        }
        open.sort_unstable_by_key(|place| Reverse(*place));
        let mut open = open.into_iter().peekable();
        let mut over = self.finished.behind(listing.owner, before).copied().peekable();
        let mut step = Step { jobs: Vec::new(), on: None };
        let mut looked = 0;
        loop {
            let is_over = over.peek() > open.peek();
            let next = if is_over { over.peek() } else { open.peek() };
            let Some(place) = next.copied() else { break };
            if looked >= looks.max(1) || step.jobs.len() >= listing.most {
                return Some(step);
            }
            looked += 1;
            let (_, id) = place;
            let found = if is_over {
                over.next();
                self.shown(id).cloned().map_or(Found::Kept(StoreKey::Finished(id)), Found::Here)
            } else {
                open.next();
                let Some(entry) = self.jobs.get(&id) else { continue };
                Found::Here(self.summarise(core, entry))
            };
            let is_taken = match &found {
                Found::Here(job) => (listing.takes)(job),
                Found::Kept(_) => true,
            };
            step.jobs.extend(Some(found).filter(|_| is_taken));
            step.on = Some(place);
        }
        step.on = None;
        Some(step)
    }

    /// How many jobs there are in each state.
    pub(in crate::node) fn states(&self) -> BTreeMap<JobState, usize> {
        let open = self.jobs.values().map(|entry| (JobState::from(entry.phase), 1));
        let mut states = BTreeMap::new();
        for (state, jobs) in open.chain(self.finished.states()) {
            *states.entry(state).or_default() += jobs;
        }
        states
    }

    /// Whether a job is over, which it is once that is kept; `None` when there is none.
    pub(in crate::node) fn is_over(&self, id: JobId) -> Option<bool> {
        let open = self.jobs.get(&id).map(|_| false);
        open.or_else(|| self.finished.get(id).map(|_| !self.unkept.has_end(id)))
    }

    /// Whose a job is, and when it was submitted.
    pub(in crate::node) fn owner_and_time(&self, id: JobId) -> Option<(OwnerId, Moment)> {
        let open = self.jobs.get(&id).map(|entry| (entry.holder.owner, entry.created_at));
        open.or_else(|| self.finished.get(id).map(|job| (job.holder.owner, job.created_at)))
    }

    /// One job, as a list shows it, if that is in memory.
    pub(in crate::node) fn summary(&self, core: &Core, id: JobId) -> Option<JobSummary> {
        let open = self.jobs.get(&id).map(|entry| self.summarise(core, entry));
        open.or_else(|| self.shown(id).cloned())
    }

    /// What is shown of a job that is over, if that is in memory: that it is, once that is kept.
    fn shown(&self, id: JobId) -> Option<&JobSummary> {
        self.finished.get(id)?;
        self.unkept.before_its_end(id).map(|before| &before.summary).or_else(|| self.finished.recent(id))
    }

    /// One job; that of one that is over is in its record, once that is kept.
    pub(in crate::node) fn job(&self, core: &Core, id: JobId) -> Option<Found<JobStatus>> {
        if let Some(entry) = self.jobs.get(&id) {
            return Some(Found::Here(self.status(core, entry)));
        }
        self.finished.get(id)?;
        let before = self.unkept.before_its_end(id).cloned();
        Some(before.map_or(Found::Kept(StoreKey::Over(id)), Found::Here))
    }

    /// Whether nothing more will happen to a job, whether or not that is kept; `None` when there is none.
    pub(in crate::node) fn has_ended(&self, id: JobId) -> Option<bool> {
        let open = self.jobs.get(&id).map(|_| false);
        open.or_else(|| self.finished.get(id).map(|_| true))
    }

    /// The record that holds a job's result; else why there is none (yet).
    pub(in crate::node) fn result(&self, id: JobId) -> Result<StoreKey, NoResult> {
        let because = |code, message: String, hint| NoResult::Because(Refusal::new(code, message, hint));
        if self.jobs.contains_key(&id) {
            let hint = "ask again when its state is completed";
            return Err(because(Code::NotFinished, "the job has no result yet".to_owned(), hint));
        }
        if self.finished.get(id).is_none() {
            return Err(because(Code::UnknownJob, format!("no job has the id {id}"), ""));
        }
        if self.finished.has_result(id) {
            return Ok(StoreKey::Result(id));
        }
        Err(match self.finished.recent(id) {
            Some(job) => NoResult::Because(why_no_result(job)),
            None => NoResult::AsLineSays(StoreKey::Finished(id)),
        })
    }
}
