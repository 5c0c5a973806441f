//! What a person sees of jobs. Nothing here costs more than the attempts and nodes that it shows.

use std::ops::Bound;

use super::{
    Requester, cut,
    history::MOST_SHOWN,
    running::{Phase, Running},
};
use crate::{
    api::{AttemptView, JobStatus, JobSummary, NodeShare, Progress},
    id::JobId,
    job::{Elapsed, WaitReason, kinds::summary},
    node::core::Core,
    units::Moment,
};

/// Bytes of a job's source that are shown.
pub(super) const MOST_SOURCE_SHOWN: usize = 4 << 10;

impl Requester {
    pub(super) fn summarise(&self, core: &Core, entry: &Running) -> JobSummary {
        entry.summary(core.now, self.waiting(core, entry))
    }

    pub(super) fn status(&self, core: &Core, entry: &Running) -> JobStatus {
        let live = entry.batches.attempts().filter_map(|id| Some(self.attempts.get(&id)?.view(id)));
        entry.status(core.now, self.waiting(core, entry), live)
    }

    /// Notes jobs that wait for another reason than when they were last told of. A reason costs a look at every offer, so
    /// each call looks at some jobs only, in turn.
    pub(super) fn note_reasons(&mut self, core: &Core) {
        const MOST_LOOKED_AT: usize = 32;
        let (ahead, behind) = match self.reasons_noted {
            Some(last) => (Bound::Excluded(last), Some(last)),
            None => (Bound::Unbounded, None),
        };
        let rest = behind.into_iter().flat_map(|last| self.jobs.range(..=last));
        let looked: Vec<JobId> =
            self.jobs.range((ahead, Bound::Unbounded)).chain(rest).map(|(id, _)| *id).take(MOST_LOOKED_AT).collect();
        self.reasons_noted = looked.last().copied();
        for id in looked {
            let Some(entry) = self.jobs.get(&id) else { continue };
            if entry.told.waits_for_another(self.waiting(core, entry)) {
                self.changed.insert(id);
            }
        }
    }

    /// Why a job does not move, if it does not.
    pub(super) fn waiting(&self, core: &Core, entry: &Running) -> Option<WaitReason> {
        match entry.phase {
            Phase::Queued | Phase::Running => {}
            Phase::Merging => return None,
        }
        let now = core.now;
        if entry.stages.none_open() && entry.batches.out_count() > 0 {
            let batches = u32::try_from(entry.batches.out_count()).unwrap_or(u32::MAX);
            return Some(WaitReason::TasksRunning { batches });
        }
        if entry.batches.out_count() > 0 {
            return None;
        }
        let paused = entry.batches.waiting().map(|batch| batch.not_before).min();
        if let Some(at) = paused.filter(|at| entry.stages.none_open() && *at > now) {
            return Some(WaitReason::Retrying { at });
        }
        let mut offers = 0u32;
        let mut fitting = 0u32;
        let mut reached = 0u32;
        for (node, candidate) in self.candidates.iter() {
            let Some(offer) = candidate.fresh(now) else { continue };
            offers += 1;
            if entry.may_use(offer) {
                fitting += 1;
                reached += u32::from(core.reaches(node));
            }
        }
        let dialling = u32::try_from(self.candidates.dialling()).unwrap_or(u32::MAX);
        Some(if reached > 0 {
            WaitReason::AllBusy
        } else if fitting > 0 {
            WaitReason::Connecting { nodes: dialling.max(1) }
        } else if offers > 0 || (core.is_online() && self.known_offers > 0 && !self.asked.is_empty()) {
            WaitReason::NoneMeetsRequirements
        } else if core.is_online() && self.other_offers > 0 && !self.asked.is_empty() {
            WaitReason::OtherVersions { nodes: self.other_offers }
        } else if core.is_online() {
            WaitReason::NoProviders
        } else {
            WaitReason::NotConnected
        })
    }
}

impl Running {
    /// What a list shows of it.
    pub(super) fn summary(&self, now: Moment, waiting: Option<WaitReason>) -> JobSummary {
        JobSummary {
            id: self.id,
            holder: self.holder,
            name: self.metadata.name.clone(),
            labels: self.metadata.labels.clone(),
            kind: self.kind.clone(),
            computes: self.computes.clone(),
            state: self.phase.into(),
            waiting,
            error: None,
            failed_parts: 0,
            progress: self.progress(now),
            created_at: self.created_at,
            finished_at: None,
        }
    }

    /// All that is shown of it. `live` are its attempts that have not ended.
    pub(super) fn status(
        &self,
        now: Moment,
        waiting: Option<WaitReason>,
        live: impl Iterator<Item = AttemptView>,
    ) -> JobStatus {
        let mut attempts: Vec<AttemptView> = self.history.ended().cloned().chain(live).collect();
        attempts.sort_by_key(|attempt| attempt.id);
        attempts.drain(..attempts.len().saturating_sub(MOST_SHOWN));
        JobStatus {
            summary: self.summary(now, waiting),
            requirements: self.requirements,
            policy: self.policy,
            elapsed: self.elapsed(now),
            source: cut(&self.source, MOST_SOURCE_SHOWN).to_owned(),
            attempts,
            attempts_total: self.history.attempts(),
            nodes: most_units_first(self.history.shares()),
            partial: self.gathered.partial().cloned(),
        }
    }

    fn progress(&self, now: Moment) -> Progress {
        let left = self.units.saturating_sub(self.gathered.units());
        let remaining_seconds = match self.stages.remaining_millis() {
            _ if self.gathered.units() == 0 => None,
            Some(millis) => Some(seconds(millis, 1000)),
            None => {
                let ran = self.started_at.map_or(0, |at| (now - at).0);
                Some(seconds(u128::from(left) * u128::from(ran), u128::from(self.gathered.units()) * 1000))
            }
        };
        Progress {
            units_total: self.units,
            units_done: self.gathered.units(),
            units_running: self.batches.units().min(left),
            gas: self.history.gas(),
            prepared: self.history.prepared(),
            percent: percent(self.gathered.units(), self.units),
            remaining_seconds,
        }
    }

    fn elapsed(&self, now: Moment) -> Elapsed {
        elapsed(self.created_at, self.started_at, now)
    }
}

/// What a job computes, in one line; nothing of one that is longer than what is shown of it.
pub(super) fn computes(source: &str) -> Option<String> {
    if source.len() > MOST_SOURCE_SHOWN { None } else { summary::of(source) }
}

/// Time spent until `end`.
pub(super) fn elapsed(created_at: Moment, started_at: Option<Moment>, end: Moment) -> Elapsed {
    Elapsed {
        waited: started_at.unwrap_or(end) - created_at,
        ran: started_at.map_or_else(Default::default, |at| end - at),
    }
}

/// Whole percent, rounded down.
pub(super) fn percent(done: u64, units: u64) -> u8 {
    u8::try_from(u128::from(done) * 100 / u128::from(units.max(1))).unwrap_or(100)
}

/// Nodes by what they did, as many as are shown.
pub(super) fn most_units_first(mut nodes: Vec<NodeShare>) -> Vec<NodeShare> {
    nodes.sort_by_key(|share| std::cmp::Reverse(share.units));
    nodes.truncate(MOST_SHOWN);
    nodes
}

/// A quotient of seconds, rounded up.
fn seconds(dividend: u128, divisor: u128) -> u64 {
    u64::try_from(dividend.div_ceil(divisor.max(1))).unwrap_or(u64::MAX)
}
