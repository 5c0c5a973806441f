//! Lists of jobs: of one owner or of all, newest first, a page at a time. A page costs what it shows, however many jobs
//! others have here; where few of many are wanted, it is made in steps, each of which looks at so many at most.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{Requester, store};
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
    /// Newest first.
    pub jobs: Vec<JobSummary>,
    /// The last job that was looked at, if others behind it were not yet.
    pub on: Option<Place>,
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
                let job = self.summary(core, id).filter(|job| is_listed(job.holder.owner))?;
                listing.before.into_iter().chain([(job.created_at, id)]).min()
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
        while step.jobs.len() < listing.most {
            let is_over = over.peek() > open.peek();
            let next = if is_over { over.peek() } else { open.peek() };
            let Some(place) = next.copied() else { break };
            if looked >= looks.max(1) {
                return Some(step);
            }
            looked += 1;
            let (_, id) = place;
            let summary = if is_over {
                over.next();
                self.finished.get(id).filter(|job| (listing.takes)(job)).cloned()
            } else {
                open.next();
                self.jobs.get(&id).map(|entry| self.summarise(core, entry)).filter(|job| (listing.takes)(job))
            };
            step.jobs.extend(summary);
            step.on = Some(place);
        }
        step.on = None;
        Some(step)
    }

    /// How many jobs there are in each state.
    pub(in crate::node) fn states(&self) -> BTreeMap<JobState, usize> {
        let open = self.jobs.values().map(|entry| entry.state);
        let mut states = BTreeMap::new();
        for state in open.chain(self.finished.summaries().map(|job| job.state)) {
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// Whether a job is over; `None` when there is none.
    pub(in crate::node) fn is_over(&self, id: JobId) -> Option<bool> {
        let open = self.jobs.get(&id).map(|entry| entry.state.is_final());
        open.or_else(|| self.finished.get(id).map(|_| true))
    }

    /// Whose a job is.
    pub(in crate::node) fn owner(&self, id: JobId) -> Option<OwnerId> {
        let open = self.jobs.get(&id).map(|entry| entry.holder.owner);
        open.or_else(|| self.finished.get(id).map(|job| job.holder.owner))
    }

    /// One job, as a list shows it.
    pub(in crate::node) fn summary(&self, core: &Core, id: JobId) -> Option<JobSummary> {
        let open = self.jobs.get(&id).map(|entry| self.summarise(core, entry));
        open.or_else(|| self.finished.get(id).cloned())
    }

    /// One job; that of one that is over is in its record.
    pub(in crate::node) fn job(&self, core: &Core, id: JobId) -> Option<Found<JobStatus>> {
        match self.jobs.get(&id) {
            Some(entry) => Some(Found::Here(self.status(core, entry))),
            None => self.finished.get(id).map(|_| Found::Kept(StoreKey::Job(id))),
        }
    }

    /// The record that holds a job's result; else why there is none (yet).
    pub(in crate::node) fn result(&self, id: JobId) -> Result<StoreKey, Refusal> {
        if self.jobs.contains_key(&id) {
            return Err(Refusal::new(
                Code::NotFinished,
                "the job has no result yet",
                "ask again when its state is completed",
            ));
        }
        let unknown = || Refusal::new(Code::UnknownJob, format!("no job has the id {id}"), "");
        let job = self.finished.get(id).ok_or_else(unknown)?;
        store::result_of(job, self.finished.has_result(id))
    }
}
