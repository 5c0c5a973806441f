//! The end of a job does not wait for its slowest node: when nothing is left to give out and a core is idle, a batch that
//! would end late goes to a second node. The first delivery wins, the other attempt is called off.

use std::cmp::Reverse;

use super::{
    Requester,
    attempt::Attempt,
    placement::{Place, Purpose},
};
use crate::{
    id::JobId,
    node::core::Core,
    units::{Millis, Moment},
};

/// What another attempt must save to be worth it.
const GAIN: Millis = Millis(300);
/// Attempts of one batch at once.
const MOST_ATTEMPTS: usize = 4;
/// Batches looked at in one step, the latest first.
const MOST_LOOKED_AT: usize = 64;

/// A batch that is out, and when it will end if nothing is done.
struct Slow {
    ends_at: Reverse<Moment>,
    start: u64,
    units: u64,
    planned: Millis,
}

impl Requester {
    /// Looks for batches that another node would finish sooner, and sends them there too.
    pub(super) fn resend_stragglers(&mut self, core: &mut Core) {
        let ending: Vec<JobId> = self
            .active
            .iter()
            .filter(|rank| {
                self.jobs.get(&rank.2).is_some_and(|entry| !entry.can_give() && entry.batches.has_attempts())
            })
            .map(|rank| rank.2)
            .filter(|job| self.may_repeat(*job))
            .collect();
        if ending.is_empty() {
            return;
        }
        let mut idle = self.candidates.places(core, Purpose::Straggler);
        for job in ending {
            if idle.is_empty() {
                return;
            }
            self.resend_of(core, job, &mut idle);
        }
    }

    fn resend_of(&mut self, core: &mut Core, job: JobId, idle: &mut Vec<Place>) {
        for slow in self.slow_batches(core, job) {
            let Some(entry) = self.jobs.get(&job) else { return };
            let Some(batch) = entry.batches.out_at(slow.start) else { continue };
            // The fastest; a node that has not shown its speed may be anything.
            let best = idle
                .iter()
                .enumerate()
                .filter(|(_, place)| self.unfit_for_copy(core, entry, batch, &place.offer).is_none())
                .map(|(index, place)| {
                    let stage = entry.stages.of(slow.start);
                    let takes = stage.and_then(|stage| stage.paces.duration(place.offer.node, slow.units));
                    (takes.unwrap_or(Millis(slow.planned.0.saturating_mul(2))), index)
                })
                .min();
            let Some((takes, index)) = best else { continue };
            let saved = slow.ends_at.0 - (core.now + takes);
            if saved.0 <= GAIN.0 + takes.0 / 4 {
                continue;
            }
            let place = &mut idle[index];
            let (node, cores) = (place.offer.node, place.cores);
            place.room -= 1;
            if place.room == 0 {
                idle.remove(index);
            }
            self.send_copy(core, node, cores, job, slow.start);
        }
    }

    /// The batches of a job that will end last.
    fn slow_batches(&self, core: &Core, job: JobId) -> Vec<Slow> {
        let Some(entry) = self.jobs.get(&job) else { return Vec::new() };
        let mut slow: Vec<Slow> = entry
            .batches
            .out()
            .filter(|batch| batch.attempts().len() < MOST_ATTEMPTS)
            .filter_map(|batch| {
                let attempts = batch.attempts().iter().filter_map(|id| self.attempts.get(id));
                let (ends_at, planned) = attempts
                    .map(|attempt| (self.expected_end(core.now, attempt), attempt.due - attempt.assigned_at))
                    .min()?;
                let units = batch.span.len();
                Some(Slow { ends_at: Reverse(ends_at), start: batch.span.start, units, planned })
            })
            .collect();
        slow.sort_unstable_by_key(|slow| (slow.ends_at, slow.start));
        slow.truncate(MOST_LOOKED_AT);
        slow
    }

    fn expected_end(&self, now: Moment, attempt: &Attempt) -> Moment {
        if self.candidates.get(attempt.node).is_none_or(|candidate| candidate.lost_at.is_some()) {
            Moment(u64::MAX)
        } else if now <= attempt.due + attempt.aside(now) {
            attempt.due + attempt.aside(now)
        } else {
            // Late already: it may well take as long again.
            now + (now - (attempt.assigned_at + attempt.aside(now)))
        }
    }
}
