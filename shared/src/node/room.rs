//! Room for an owner whom long calls of others keep out. Batches are short, but one call may run for an hour: an owner
//! with work that waits and nothing under way is given a core that a long call of another owner has; one whose household, or
//! network, has something under way, only one of that: whoever makes up owners or households pushes aside nobody but himself.
//!
//! A call that was interrupted begins anew, and may run four times as long before that happens to it again. So it ends
//! some day, having lost no more than a third of its time.

use std::collections::BTreeMap;

use super::{broker::meets, core::Core, entry::Attempt, requester::Requester};
use crate::{
    id::{AttemptId, Holder, JobId, OwnerId},
    job::Requirements,
    refusal::{Code, Refusal},
    units::Millis,
    wire::Message,
};

/// How long an owner waits with nothing under way.
const PATIENCE: Millis = Millis(1_500);
/// How long a call may run at least.
const PROTECTED: Millis = Millis(5_000);
/// Owners looked at in one step, who was given least first.
const MOST_LOOKED_AT: usize = 16;

/// How many attempts are under way.
#[derive(Default)]
struct Live {
    of_networks: BTreeMap<OwnerId, usize>,
    of_households: BTreeMap<(OwnerId, OwnerId), usize>,
    of_owners: BTreeMap<Holder, usize>,
}

impl Live {
    fn add(&mut self, holder: Holder) {
        *self.of_networks.entry(holder.network).or_default() += 1;
        *self.of_households.entry((holder.network, holder.household)).or_default() += 1;
        *self.of_owners.entry(holder).or_default() += 1;
    }

    /// How many of his network, of his household, and of himself.
    fn of(&self, holder: Holder) -> [usize; 3] {
        let household = (holder.network, holder.household);
        [self.of_networks.get(&holder.network), self.of_households.get(&household), self.of_owners.get(&holder)]
            .map(|count| count.copied().unwrap_or(0))
    }
}

impl Requester {
    /// Interrupts one long call for each owner who has waited too long.
    pub(super) fn make_room(&mut self, core: &mut Core) {
        let mut live = Live::default();
        for attempt in self.attempts.values() {
            if let Some(entry) = self.jobs.get(&attempt.job) {
                live.add(entry.holder);
            }
        }
        let mut waiting: Vec<(Holder, JobId)> = Vec::new();
        let reach = self.candidates.reach(core, true);
        let fits = |job| self.jobs.get(&job).is_some_and(|entry| reach.meets(&entry.requirements));
        for job in self.owners.turns(&fits) {
            let Some(entry) = self.jobs.get(&job) else { continue };
            let known = waiting.iter().any(|(holder, _)| *holder == entry.holder);
            if !known && !live.of_owners.contains_key(&entry.holder) && entry.could_go(core.now) {
                waiting.push((entry.holder, job));
                if waiting.len() == MOST_LOOKED_AT {
                    break;
                }
            }
        }
        let since = |holder: &Holder| self.kept_out.get(holder).copied().unwrap_or(core.now);
        self.kept_out = waiting.iter().map(|(holder, _)| (*holder, since(holder))).collect();
        for (holder, job) in waiting {
            let waited = self.kept_out.get(&holder).is_some_and(|since| core.now >= *since + PATIENCE);
            if waited && let Some(id) = self.longest(core, job, &live) {
                self.interrupt(core, id);
                self.kept_out.remove(&holder);
            }
        }
    }

    /// The attempt that gives way to a job: of the network, the household in it, and the owner in that, that has most under
    /// way, the one that ran longest.
    fn longest(&self, core: &Core, job: JobId, live: &Live) -> Option<AttemptId> {
        let entry = self.jobs.get(&job)?;
        let [of_network, of_household, _] = live.of(entry.holder);
        let Holder { network, household, owner: _ } = entry.holder;
        let fits = |attempt: &Attempt, requirements: &Requirements| {
            let candidate = self.candidates.get(attempt.node).filter(|_| !entry.unfit.contains(&attempt.node));
            candidate.and_then(|candidate| candidate.fresh(core.now)).is_some_and(|offer| meets(offer, requirements))
        };
        self.attempts
            .iter()
            .filter(|(_, attempt)| attempt.started_at.is_some() && fits(attempt, &entry.requirements))
            .filter_map(|(id, attempt)| {
                let other = self.jobs.get(&attempt.job)?;
                let task = other.issued.get(&attempt.span.start)?;
                let protected = Millis(PROTECTED.0 << (2 * task.interrupted).min(20));
                let ran = core.now - attempt.started_at?;
                let near = (other.holder.network == network, other.holder.household == household);
                let concerned = (of_network == 0 || near.0) && (of_household == 0 || near == (true, true));
                let held = live.of(other.holder);
                (concerned && ran >= protected && task.live == [*id]).then_some((held, ran, *id))
            })
            .max()
            .map(|(.., id)| id)
    }

    fn interrupt(&mut self, core: &mut Core, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, node, start) = (attempt.job, attempt.node, attempt.span.start);
        if let Some(task) = self.jobs.get_mut(&job).and_then(|entry| entry.issued.get_mut(&start)) {
            task.interrupted += 1;
        }
        core.send(node, Message::Cancel { attempts: vec![id] });
        let why =
            Refusal::new(Code::NoProvider, "its node was needed for the job of another owner; it begins anew", "");
        self.lose(core, id, why);
        self.fill(core, node);
    }
}
