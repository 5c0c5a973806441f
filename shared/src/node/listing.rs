//! Lists of jobs: of one owner or of all, newest first, a page at a time. A page costs what it shows, however many jobs
//! others have here; where few of many are wanted, it is made in steps, each of which looks at so many at most.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::Node;
use crate::{
    api::JobSummary,
    id::{JobId, OwnerId},
    job::JobState,
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

impl Node {
    /// The jobs of a list, newest first; `None` when the job that it is to begin behind is not in it.
    pub fn jobs(&self, listing: &Listing) -> Option<Vec<JobSummary>> {
        self.list(listing, usize::MAX).map(|step| step.jobs)
    }

    /// As [`Self::jobs`], as far as one comes who looks at `looks` jobs, which is 1 at least.
    pub fn list(&self, listing: &Listing, looks: usize) -> Option<Step> {
        let requester = &self.requester;
        let is_listed = |owner: OwnerId| listing.owner.is_none_or(|wanted| wanted == owner);
        let before = match listing.before_job {
            None => listing.before,
            Some(id) => {
                let job = self.summary(id).filter(|job| is_listed(job.holder.owner))?;
                listing.before.into_iter().chain([(job.created_at, id)]).min()
            }
        };
        let is_behind = |place: Place| before.is_none_or(|before| place < before);
        let mut open: Vec<Place> = requester
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
        let mut over = requester.finished.behind(listing.owner, before).copied().peekable();
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
                requester.finished.get(id).filter(|job| (listing.takes)(job)).cloned()
            } else {
                open.next();
                requester.jobs.get(&id).map(|entry| self.summarise(entry)).filter(|job| (listing.takes)(job))
            };
            step.jobs.extend(summary);
            step.on = Some(place);
        }
        step.on = None;
        Some(step)
    }

    /// How many jobs there are in each state.
    pub fn states(&self) -> BTreeMap<JobState, usize> {
        let open = self.requester.jobs.values().map(|entry| entry.state);
        let mut states = BTreeMap::new();
        for state in open.chain(self.requester.finished.summaries().map(|job| job.state)) {
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// Whether a job is over; `None` when there is none.
    pub fn is_over(&self, id: JobId) -> Option<bool> {
        let open = self.requester.jobs.get(&id).map(|entry| entry.state.is_final());
        open.or_else(|| self.requester.finished.get(id).map(|_| true))
    }

    /// Whose a job is.
    pub fn owner(&self, id: JobId) -> Option<OwnerId> {
        let open = self.requester.jobs.get(&id).map(|entry| entry.holder.owner);
        open.or_else(|| self.requester.finished.get(id).map(|job| job.holder.owner))
    }
}
