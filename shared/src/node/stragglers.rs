//! The end of a job does not wait for its slowest node: when nothing is left to give out and a core is idle, a task that
//! would end late goes to a second node. The first delivery wins, the other attempt is called off.

use std::cmp::Reverse;

use super::{broker::meets, core::Core, requester::Requester};
use crate::{
    id::{JobId, NodeId},
    units::{Millis, Moment},
    wire::Offer,
};

/// What a second attempt must save to be worth it.
const GAIN: Millis = Millis(300);
/// Attempts of one task at once.
const MOST_ATTEMPTS: usize = 2;

/// A task that is out on one node only.
struct Slow {
    ends_at: Reverse<Moment>,
    start: u64,
    node: NodeId,
    units: u64,
    planned: Millis,
}

impl Requester {
    /// Looks for tasks that another node would finish sooner, and sends them there too.
    pub(super) fn resend_stragglers(&mut self, core: &mut Core) {
        let ending: Vec<JobId> = self
            .active
            .iter()
            .filter(|rank| self.jobs.get(&rank.2).is_some_and(|entry| !entry.can_give() && !entry.live.is_empty()))
            .map(|rank| rank.2)
            .collect();
        if ending.is_empty() {
            return;
        }
        let mut idle = self.idle(core);
        for job in ending {
            if idle.is_empty() {
                return;
            }
            self.resend_of(core, job, &mut idle);
        }
    }

    fn resend_of(&mut self, core: &mut Core, job: JobId, idle: &mut Vec<(Offer, usize)>) {
        for slow in self.slow_tasks(core, job, idle.len()) {
            let Some(entry) = self.jobs.get(&job) else { return };
            let Some(task) = entry.issued.get(&slow.start) else { continue };
            let place = idle.iter().position(|(offer, _)| {
                let takes = entry.paces.duration(offer.node, slow.units).unwrap_or(slow.planned);
                let saved = slow.ends_at.0 - (core.now + takes);
                offer.node != slow.node
                    && saved.0 > GAIN.0 + takes.0 / 4
                    && meets(offer, &entry.requirements)
                    && !entry.unfit.contains(&offer.node)
                    && !task.failures.iter().any(|failure| failure.node == offer.node)
            });
            let Some(place) = place else { continue };
            let (node, cores) = (idle[place].0.node, idle[place].0.cores);
            idle[place].1 -= 1;
            if idle[place].1 == 0 {
                idle.remove(place);
            }
            let task = self.jobs.get_mut(&job).and_then(|entry| entry.issued.remove(&slow.start));
            if let Some(task) = task {
                self.send_task(core, node, cores, job, task);
            }
        }
    }

    /// The tasks of a job that will end last.
    fn slow_tasks(&self, core: &Core, job: JobId, most: usize) -> Vec<Slow> {
        let Some(entry) = self.jobs.get(&job) else { return Vec::new() };
        let mut slow: Vec<Slow> = entry
            .issued
            .values()
            .filter(|task| task.live.len() < MOST_ATTEMPTS)
            .filter_map(|task| {
                let attempt = self.attempts.get(task.live.first()?)?;
                let lost = self.candidates.get(attempt.node).is_none_or(|candidate| candidate.lost_at.is_some());
                let ends_at = if lost {
                    Moment(u64::MAX)
                } else if core.now <= attempt.due {
                    attempt.due
                } else {
                    // Late already: it may well take as long again.
                    core.now + (core.now - attempt.assigned_at)
                };
                Some(Slow {
                    ends_at: Reverse(ends_at),
                    start: task.span.start,
                    node: attempt.node,
                    units: task.span.len(),
                    planned: attempt.due - attempt.assigned_at,
                })
            })
            .collect();
        slow.sort_unstable_by_key(|slow| (slow.ends_at, slow.start));
        slow.truncate(most.saturating_mul(4));
        slow
    }

    /// Nodes with a core that has none of our work, and how many.
    fn idle(&self, core: &Core) -> Vec<(Offer, usize)> {
        self.candidates
            .reachable(core)
            .into_iter()
            .filter_map(|node| {
                let candidate = self.candidates.get(node)?;
                let offer = candidate.fresh(core.now)?;
                let spare = usize::from(offer.cores).saturating_sub(candidate.outstanding.len());
                (spare > 0).then(|| (offer.clone(), spare))
            })
            .collect()
    }
}
