//! Room for an owner whom long calls of others keep out. Batches are short, but one call may run for an hour: an owner
//! with work that waits and nothing under way is given a core that a long call of another owner has; one whose household, or
//! network, has something under way, only one of that: whoever makes up owners or households pushes aside nobody but himself.
//! What a node was given while all its cores had calls waits as well: it is taken back, and goes out anew in the order of turns.
//!
//! A call that was interrupted begins anew, and may run four times as long before that happens to it again. So it ends
//! some day, having lost no more than a third of its time.

use std::collections::{BTreeMap, BTreeSet};

use super::{attempts::MOST_CANCELLED, broker::meets, core::Core, entry::Attempt, requester::Requester};
use crate::{
    id::{AttemptId, Holder, JobId, NodeId, OwnerId},
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
        let full = self.full_nodes(core);
        let mut live = Live::default();
        // Of those who have something that a node has no core for.
        let mut behind: BTreeMap<Holder, JobId> = BTreeMap::new();
        for attempt in self.attempts.values() {
            let Some(entry) = self.jobs.get(&attempt.job) else { continue };
            if attempt.is_behind(&full) {
                behind.entry(entry.holder).or_insert(attempt.job);
            } else {
                live.add(entry.holder);
            }
        }
        let mut waiting: Vec<(Holder, JobId)> = behind.into_iter().collect();
        waiting.retain(|(holder, _)| !live.of_owners.contains_key(holder));
        waiting.sort_by_key(|(holder, _)| live.of(*holder));
        waiting.truncate(MOST_LOOKED_AT);
        let reach = self.candidates.reach(core, true);
        let fits = |job| self.jobs.get(&job).is_some_and(|entry| reach.meets(&entry.requirements));
        let most = waiting.len() + MOST_LOOKED_AT;
        for job in self.owners.turns(&fits) {
            let Some(entry) = self.jobs.get(&job) else { continue };
            let known = waiting.iter().any(|(holder, _)| *holder == entry.holder);
            if !known && !live.of_owners.contains_key(&entry.holder) && entry.could_go(core.now) {
                waiting.push((entry.holder, job));
                if waiting.len() == most {
                    break;
                }
            }
        }
        let since = |holder: &Holder| self.kept_out.get(holder).copied().unwrap_or(core.now);
        self.kept_out = waiting.iter().map(|(holder, _)| (*holder, since(holder))).collect();
        for (holder, job) in waiting {
            let waited = self.kept_out.get(&holder).is_some_and(|since| core.now >= *since + PATIENCE);
            if waited && let Some(id) = self.longest(core, job, &live) {
                self.interrupt(core, id, job, &full);
                self.kept_out.remove(&holder);
            }
        }
    }

    /// Nodes all of whose cores have calls of this one's jobs.
    fn full_nodes(&self, core: &Core) -> BTreeSet<NodeId> {
        let mut started: BTreeMap<NodeId, usize> = BTreeMap::new();
        for attempt in self.attempts.values().filter(|attempt| attempt.started_at.is_some()) {
            *started.entry(attempt.node).or_default() += 1;
        }
        let is_full = |(node, count): &(NodeId, usize)| {
            let offer = self.candidates.get(*node).and_then(|candidate| candidate.fresh(core.now));
            offer.is_some_and(|offer| *count >= usize::from(self.candidates.cores(core, offer)))
        };
        started.into_iter().filter(is_full).map(|(node, _)| node).collect()
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

    /// Ends a call, and takes back what its node has no core for, and what of the job no node has: whose turn it is comes first.
    fn interrupt(&mut self, core: &mut Core, id: AttemptId, for_job: JobId, full: &BTreeSet<NodeId>) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, node, start) = (attempt.job, attempt.node, attempt.span.start);
        if let Some(task) = self.jobs.get_mut(&job).and_then(|entry| entry.issued.get_mut(&start)) {
            task.interrupted += 1;
        }
        // The call last, so that its node does not begin with what is taken back.
        let behind = |attempt: &Attempt| attempt.is_behind(full) && (attempt.node == node || attempt.job == for_job);
        let behind =
            self.attempts.iter().filter(|(_, attempt)| behind(attempt)).map(|(id, attempt)| (attempt.node, *id));
        let mut by_node: BTreeMap<NodeId, Vec<AttemptId>> = BTreeMap::new();
        for (node, behind) in behind {
            by_node.entry(node).or_default().push(behind);
        }
        by_node.entry(node).or_default().push(id);
        for (node, attempts) in &by_node {
            for some in attempts.chunks(MOST_CANCELLED) {
                core.send(*node, Message::Cancel { attempts: some.to_vec() });
            }
            for id in attempts {
                let message = "its node was needed for the job of another owner; it begins anew";
                self.lose(core, *id, Refusal::new(Code::NoProvider, message, ""));
            }
        }
        // First the one that has a core now.
        self.fill(core, node);
        for other in by_node.into_keys().filter(|other| *other != node) {
            self.fill(core, other);
        }
    }
}

impl Attempt {
    /// Whether its node has it, and no core for it.
    fn is_behind(&self, full: &BTreeSet<NodeId>) -> bool {
        self.started_at.is_none() && full.contains(&self.node)
    }
}
