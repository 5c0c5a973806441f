//! Room for an owner whom long calls of others keep out. Batches are short, but one call may run for an hour: an owner
//! with work that waits and nothing under way is given a core that a call of another owner has; one whose household, or
//! network, has something under way, only one of that: whoever makes up owners or households pushes aside nobody but himself.
//! What a node was given while all its cores had calls waits as well: it is taken back, and goes out anew in the order of turns.
//!
//! A call that gives way is set aside by its node and goes on later where it stood (`turns.rs`). This one asks for as many
//! to be set aside as a node has cores, and has no more *long* ones begun than that, so that a call of which nobody knows how
//! long it is finds a core within some seconds, whatever else there is. It has one for so long before it counts as long itself: then it takes
//! turns with what was set aside, or, if others wait who are not known either, begins anew when a place for long calls is free.
//!
//! Long calls beyond those wait for each other: one ends another, which begins anew and may run four times as long before
//! that happens to it again. So it ends some day, having lost no more than a third of its time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Requester,
    attempt::{Attempt, Rest},
    attempts::MOST_CANCELLED,
    batch::Batch,
    candidates::{Candidate, Candidates},
    trust::Trust,
};
use crate::{
    id::{AttemptId, Holder, JobId, NodeId, OwnerId},
    job::AttemptState,
    node::{core::Core, provider::STANDS_BY},
    refusal::{Code, Refusal},
    units::{Millis, Moment},
    wire::{Message, Offer},
};

/// How long an owner waits with nothing under way.
const PATIENCE: Millis = Millis(1_500);
/// How long a turn of a call lasts at least.
const TURN: Millis = Millis(2_000);
/// A call that runs for so long is long; before, it is not made to begin anew.
pub(super) const LONG: Millis = Millis(5_000);
/// How long a node gets to set a call aside.
const TO_SET_ASIDE: Millis = Millis(STANDS_BY.0 + 2_000);
/// What was set aside for so long has its turn also if its owner has something under way elsewhere.
const LONGEST_ASIDE: Millis = Millis(30_000);
/// Beyond twice its limit, how long an attempt may be set aside at a stretch, and in all, before it goes to another node,
const ASIDE_SLACK: Millis = Millis(60_000);
/// but in all for each time as long as it ran: what turns come to that are this one's own making. Who always has the shortest turn
/// and then waits for longest has not been kept by its node.
const ASIDE_FOR_RUN: u64 = LONGEST_ASIDE.0 / TURN.0;
/// What a person is told of an attempt that gave way and was not set aside.
const NEEDED: &str = "its node was needed for the job of another owner; it begins anew";
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

    /// Whether an attempt of `other` may give way to `holder`, by what both have under way.
    fn may_push_aside(&self, holder: Holder, other: Holder) -> bool {
        let [of_network, of_household, _] = self.of(holder);
        let near = (other.network == holder.network, other.household == holder.household);
        (of_network == 0 || near.0) && (of_household == 0 || near == (true, true))
    }
}

/// What an owner has that waits, and of which nothing has begun.
#[derive(Clone, Copy)]
struct Wait {
    holder: Holder,
    job: JobId,
}

/// What a node has begun of this one's jobs.
#[derive(Default)]
struct Begun {
    on_core: usize,
    resting: usize,
    /// Those of both that are long.
    long: usize,
}

impl Requester {
    /// Finds a core for each owner who has waited too long.
    pub(super) fn make_room(&mut self, core: &mut Core) {
        self.note_in_vain(core.now);
        let begun = self.begun(core.now);
        let full = self.full_nodes(core, &begun);
        let mut live = Live::default();
        // Of those who have something that a node has no core for.
        let mut behind: BTreeMap<Holder, Wait> = BTreeMap::new();
        for attempt in self.attempts.values() {
            let Some(entry) = self.jobs.get(&attempt.job) else { continue };
            if attempt.is_behind(&full) {
                behind.entry(entry.holder).or_insert(Wait { holder: entry.holder, job: attempt.job });
            } else if attempt.rest == Rest::No && !attempt.is_overdue_unbegun() {
                live.add(entry.holder);
            }
        }
        let mut waiting: Vec<Wait> = behind.into_values().collect();
        waiting.retain(|wait| !live.of_owners.contains_key(&wait.holder));
        waiting.sort_by_key(|wait| live.of(wait.holder));
        waiting.truncate(MOST_LOOKED_AT);
        let reach = self.candidates.reach(core, true);
        let fits = |job| self.jobs.get(&job).is_some_and(|entry| reach.meets(&entry.requirements));
        let most = waiting.len() + MOST_LOOKED_AT;
        for job in self.owners.turns(&fits) {
            let Some(entry) = self.jobs.get(&job) else { continue };
            let known = waiting.iter().any(|wait| wait.holder == entry.holder);
            if !known && !live.of_owners.contains_key(&entry.holder) && entry.could_go(core.now) {
                waiting.push(Wait { holder: entry.holder, job });
                if waiting.len() == most {
                    break;
                }
            }
        }
        let since = |holder: &Holder| self.kept_out.get(holder).copied().unwrap_or(core.now);
        self.kept_out = waiting.iter().map(|wait| (wait.holder, since(&wait.holder))).collect();
        if waiting.is_empty() && !self.attempts.values().any(|attempt| attempt.rest != Rest::No) {
            return;
        }
        self.note_long(core);
        let begun = self.begun(core.now);
        for wait in waiting {
            let waited = self.kept_out.get(&wait.holder).is_some_and(|since| core.now >= *since + PATIENCE);
            // One in a step: it changes who has what under way, and where.
            if waited && self.make_room_for(core, wait, &live, &begun, &full) {
                self.kept_out.remove(&wait.holder);
                return;
            }
        }
        self.take_turns(core, &live, &begun, &full);
    }

    fn make_room_for(
        &mut self,
        core: &mut Core,
        wait: Wait,
        live: &Live,
        begun: &BTreeMap<NodeId, Begun>,
        full: &BTreeSet<NodeId>,
    ) -> bool {
        let is_long = self.jobs.get(&wait.job).is_some_and(|entry| entry.is_long());
        // A long call needs a place for long ones.
        if !is_long && let Some(id) = self.to_set_aside(core, wait, live, begun) {
            self.set_aside(core, id, Some(wait.job), full);
            return true;
        }
        let surplus = (!is_long).then(|| self.surplus(core, wait, live, begun)).flatten();
        let Some(id) = surplus.or_else(|| self.longest(core, wait, live, is_long)) else { return false };
        self.interrupt(core, id, wait.job, full);
        true
    }

    // ---- who gives way -------------------------------------------------------------------------------------------

    /// The call that is set aside: of the network, the household in it, and the owner in that, that has most under way, the
    /// one whose turn is longest.
    fn to_set_aside(&self, core: &Core, wait: Wait, live: &Live, begun: &BTreeMap<NodeId, Begun>) -> Option<AttemptId> {
        self.pushed_aside(core, wait, live)
            .filter(|(_, attempt, offer)| {
                let resting = begun.get(&attempt.node).map_or(0, |begun| begun.resting);
                let has_room = resting < usize::from(self.candidates.cores(core, offer));
                has_room && self.has_had_its_turn(core, attempt, TURN)
            })
            .max_by_key(|(id, attempt, _)| (self.held(live, attempt), core.now - attempt.turn_at, *id))
            .map(|(id, ..)| id)
    }

    /// Whether an attempt has a core for so long, on a node that can be asked to set it aside.
    fn has_had_its_turn(&self, core: &Core, attempt: &Attempt, turn: Millis) -> bool {
        let node = self.candidates.get(attempt.node);
        let can_be_asked = node.is_some_and(|node| node.is_there() && node.is_willing(core.now)) && !attempt.unsure;
        can_be_asked && attempt.computes() && attempt.has_core() && core.now >= attempt.turn_at + turn
    }

    /// Calls that were set aside take turns with long ones of their nodes: soon if their owner has nothing under way, in any
    /// case in the end.
    fn take_turns(&mut self, core: &mut Core, live: &Live, begun: &BTreeMap<NodeId, Begun>, full: &BTreeSet<NodeId>) {
        let due = |attempt: &Attempt| {
            let holder = self.jobs.get(&attempt.job)?.holder;
            let patience = if live.of_owners.contains_key(&holder) { LONGEST_ASIDE } else { LONG };
            match attempt.rest {
                Rest::Since(at) => (core.now >= at + patience).then_some((at, attempt.node)),
                Rest::No | Rest::Asked(_) => None,
            }
        };
        let asked: BTreeSet<NodeId> =
            self.attempts.values().filter(|attempt| attempt.rest.is_asked()).map(|attempt| attempt.node).collect();
        let mut waiting: Vec<(Moment, NodeId)> = self.attempts.values().filter_map(due).collect();
        waiting.retain(|(_, node)| !asked.contains(node) && !self.has_gone_on_with_nothing(core, *node, begun));
        waiting.sort_unstable();
        let next = waiting.into_iter().find_map(|(_, node)| {
            let candidates = self.attempts.iter().filter(|(_, attempt)| attempt.node == node);
            candidates
                .filter(|(_, attempt)| self.has_had_its_turn(core, attempt, LONG))
                .max_by_key(|(id, attempt)| (self.held(live, attempt), core.now - attempt.turn_at, **id))
                .map(|(id, _)| *id)
        });
        if let Some(id) = next {
            self.set_aside(core, id, None, full);
        }
    }

    /// Whether a node has set more aside than it has cores: it went on with nothing for what it set aside last.
    fn has_gone_on_with_nothing(&self, core: &Core, node: NodeId, begun: &BTreeMap<NodeId, Begun>) -> bool {
        let offer = self.candidates.get(node).and_then(|candidate| candidate.fresh(core.now));
        let resting = begun.get(&node).map_or(0, |begun| begun.resting);
        offer.is_none_or(|offer| resting > usize::from(self.candidates.cores(core, offer)))
    }

    /// The call that begins anew since its node has begun more long ones than it has cores: the one that loses least.
    fn surplus(&self, core: &Core, wait: Wait, live: &Live, begun: &BTreeMap<NodeId, Begun>) -> Option<AttemptId> {
        self.pushed_aside(core, wait, live)
            .filter(|(_, attempt, offer)| {
                let cores = usize::from(self.candidates.cores(core, offer));
                let beyond = begun.get(&attempt.node).is_some_and(|begun| begun.long > cores);
                beyond && attempt.computes() && attempt.ran(core.now) >= LONG
            })
            .max_by_key(|(id, attempt, _)| (self.held(live, attempt), Reverse(attempt.ran(core.now)), *id))
            .map(|(id, ..)| id)
    }

    /// The call that begins anew though it may lose much: for a long one, or where nothing can be set aside.
    fn longest(&self, core: &Core, wait: Wait, live: &Live, is_long: bool) -> Option<AttemptId> {
        self.pushed_aside(core, wait, live)
            .filter(|(id, attempt, _)| {
                let node = self.candidates.get(attempt.node);
                let only_so = is_long || node.is_some_and(|node| !node.is_willing(core.now));
                let batch = self.jobs.get(&attempt.job).and_then(|entry| entry.batches.out_at(attempt.span.start));
                let protected = |interrupted: u32| Millis(LONG.0 << (2 * interrupted).min(20));
                let over = |batch: &Batch| attempt.ran(core.now) >= protected(batch.interrupted) && batch.is_alone(*id);
                only_so && attempt.computes() && batch.is_some_and(over)
            })
            .max_by_key(|(id, attempt, _)| (self.held(live, attempt), attempt.ran(core.now), *id))
            .map(|(id, ..)| id)
    }

    /// The attempts that have begun on nodes that could do what waits of a job, and may give way to it.
    fn pushed_aside<'a>(
        &'a self,
        core: &'a Core,
        wait: Wait,
        live: &'a Live,
    ) -> impl Iterator<Item = (AttemptId, &'a Attempt, &'a Offer)> {
        let waiting = self.jobs.get(&wait.job);
        // Where something of the same owner was set aside, that goes on first.
        let rests = |attempt: &&Attempt| attempt.rest != Rest::No;
        let of_holder =
            |attempt: &&Attempt| self.jobs.get(&attempt.job).is_some_and(|entry| entry.holder == wait.holder);
        let taken: BTreeSet<NodeId> =
            self.attempts.values().filter(rests).filter(of_holder).map(|attempt| attempt.node).collect();
        let begun: BTreeSet<NodeId> =
            self.attempts.values().filter(|attempt| attempt.started_at.is_some()).map(|attempt| attempt.node).collect();
        let apt: BTreeSet<NodeId> =
            begun.difference(&taken).copied().filter(|node| self.may_get_some(core, wait.job, *node)).collect();
        self.attempts.iter().filter(move |(_, attempt)| apt.contains(&attempt.node)).filter_map(move |(id, attempt)| {
            attempt.started_at?;
            let (waiting, other) = (waiting?, self.jobs.get(&attempt.job)?);
            if attempt.job == wait.job || !live.may_push_aside(wait.holder, other.holder) {
                return None;
            }
            let candidate = self.candidates.get(attempt.node)?;
            let offer = candidate.fresh(core.now).filter(|offer| candidate.is_there() && waiting.may_use(offer))?;
            Some((*id, attempt, offer))
        })
    }

    /// Whether something of a job of which nothing has begun may go to a node, by where it failed: of what is out, that is
    /// what is behind others' calls.
    fn may_get_some(&self, core: &Core, job: JobId, node: NodeId) -> bool {
        let Some(entry) = self.jobs.get(&job) else { return false };
        let is_proven = self.candidates.is_proven(core, node);
        let may_go_to = |batch: &Batch| {
            let another = |only_proven| self.candidates.another(core, entry, batch, node, only_proven);
            batch.unfit(core.now, node, is_proven, entry, another).is_none()
        };
        let is_out = |id| self.attempts.get(&id).filter(|attempt| attempt.started_at.is_none());
        let mut out = entry.batches.attempts().filter_map(is_out);
        let here_or_may = |attempt: &Attempt| {
            let batch = entry.batches.out_at(attempt.span.start);
            attempt.node == node || batch.is_some_and(may_go_to)
        };
        let may = |batch: &Batch| core.now >= batch.not_before && may_go_to(batch);
        entry.can_give() || entry.batches.waiting().any(may) || out.any(here_or_may)
    }

    fn held(&self, live: &Live, attempt: &Attempt) -> [usize; 3] {
        self.jobs.get(&attempt.job).map_or([0; 3], |entry| live.of(entry.holder))
    }

    // ---- how it gives way ----------------------------------------------------------------------------------------

    /// Has a call set aside, once something is there for its core: for a job that waits, or for what rests there. What its
    /// node has no core for goes out anew, in turn, but for what of that job it has already.
    fn set_aside(&mut self, core: &mut Core, id: AttemptId, for_job: Option<JobId>, full: &BTreeSet<NodeId>) {
        let Some(node) = self.attempts.get(&id).map(|attempt| attempt.node) else { return };
        // Before, so that the core is not taken by what is taken back.
        let nodes = self.take_back(core, node, for_job, full, true);
        // What it was asked before may still be answered.
        let was_asked = self.attempts.get(&id).is_some_and(|attempt| attempt.was_asked);
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.rest = Rest::Asked(core.now);
            attempt.was_asked = true;
            self.candidates.set_aside(node, id, true);
        }
        let ask = Message::GiveWay { attempt: id };
        // What the core is for is there before: a batch, so that its node does not go on with what rests instead, or what
        // rests, so that its node does not begin with a batch.
        match for_job {
            None => {
                core.send(node, ask);
                self.fill_again(core, node, nodes);
            }
            Some(job) => {
                self.fill_again(core, node, nodes);
                if self.has_one_for(node) || self.send_one(core, node, job) {
                    core.send(node, ask);
                } else if let Some(attempt) = self.attempts.get_mut(&id) {
                    attempt.was_asked = was_asked;
                    attempt.wake(&mut self.candidates, id, core.now);
                    // Others come before it the next time.
                    attempt.turn_at = core.now;
                }
            }
        }
    }

    /// Whether a node has a batch that it has not begun.
    fn has_one_for(&self, node: NodeId) -> bool {
        let mut outstanding = self.candidates.get(node).into_iter().flat_map(|candidate| &candidate.outstanding);
        outstanding.any(|id| self.attempts.get(id).is_some_and(|attempt| attempt.started_at.is_none()))
    }

    /// Sends a batch of a job to a node, also to one that is doubted and was given one just now.
    fn send_one(&mut self, core: &mut Core, node: NodeId, job: JobId) -> bool {
        let offer = self.candidates.get(node).and_then(|candidate| candidate.fresh(core.now)).cloned();
        offer.is_some_and(|offer| self.issue(core, &offer, job))
    }

    /// Ends a call, which begins anew; its core goes to whose turn it is.
    fn interrupt(&mut self, core: &mut Core, id: AttemptId, for_job: JobId, full: &BTreeSet<NodeId>) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, node, start) = (attempt.job, attempt.node, attempt.span.start);
        if let Some(batch) = self.jobs.get_mut(&job).and_then(|entry| entry.batches.out_at_mut(start)) {
            batch.interrupted += 1;
        }
        // The call last, so that its node does not begin with what is taken back.
        let nodes = self.take_back(core, node, Some(for_job), full, false);
        self.reclaim(core, node, &[id], NEEDED);
        self.fill_again(core, node, nodes);
    }

    /// Gives work to nodes of which something was taken back, first to the one that has a core now.
    fn fill_again(&mut self, core: &mut Core, node: NodeId, mut others: BTreeSet<NodeId>) {
        others.remove(&node);
        self.fill(core, node);
        others.into_iter().for_each(|node| self.fill(core, node));
    }

    /// Takes back what a node has no core for, and what of a job no node has, or with `stays` no other node; gives the nodes
    /// that had something.
    fn take_back(
        &mut self,
        core: &mut Core,
        node: NodeId,
        for_job: Option<JobId>,
        full: &BTreeSet<NodeId>,
        stays: bool,
    ) -> BTreeSet<NodeId> {
        let wanted = |attempt: &Attempt| {
            let (here, of_job) = (attempt.node == node, Some(attempt.job) == for_job);
            if here && of_job { !stays } else { here || of_job }
        };
        let behind = |attempt: &Attempt| attempt.is_behind(full) && wanted(attempt);
        let mut by_node: BTreeMap<NodeId, Vec<AttemptId>> = BTreeMap::new();
        for (id, attempt) in self.attempts.iter().filter(|(_, attempt)| behind(attempt)) {
            by_node.entry(attempt.node).or_default().push(*id);
        }
        for (node, attempts) in &by_node {
            self.reclaim(core, *node, attempts, NEEDED);
        }
        by_node.into_keys().collect()
    }

    /// Calls attempts of a node off; they begin anew, for this reason.
    pub(super) fn reclaim(&mut self, core: &mut Core, node: NodeId, attempts: &[AttemptId], why: &str) {
        for some in attempts.chunks(MOST_CANCELLED) {
            core.send(node, Message::Cancel { attempts: some.to_vec() });
        }
        for id in attempts {
            self.lose(core, *id, Refusal::new(Code::NoProvider, why, ""));
        }
    }

    // ---- what nodes say ------------------------------------------------------------------------------------------

    /// A node set a batch aside, as it was asked to since it began or went on.
    pub(in crate::node) fn rests(&mut self, core: &Core, from: NodeId, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.node == from) else { return };
        attempt.unsure = false;
        if attempt.was_asked && !matches!(attempt.rest, Rest::Since(_)) {
            attempt.rest = Rest::Since(core.now);
            self.candidates.set_aside(from, id, true);
        }
    }

    /// A node goes on with a batch that was set aside, or does not set it aside.
    pub(super) fn goes_on(&mut self, core: &Core, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if attempt.rest.is_asked() {
            self.candidates.unwilling(core.now, attempt.node);
        }
        (attempt.was_asked, attempt.unsure) = (false, false);
        attempt.wake(&mut self.candidates, id, core.now);
    }

    /// The connection to a node broke and is there again: what it was asked to set aside is not.
    pub(super) fn forget_asked(&mut self, node: NodeId) {
        self.go_on_asked(|attempt, _| attempt.node == node);
    }

    /// What nothing came for is not set aside for all that is known; it may be asked for again.
    fn note_in_vain(&mut self, now: Moment) {
        self.go_on_asked(|_, at| now >= at + TO_SET_ASIDE);
    }

    fn go_on_asked(&mut self, which: impl Fn(&Attempt, Moment) -> bool) {
        for (id, attempt) in &mut self.attempts {
            if let Rest::Asked(at) = attempt.rest
                && which(attempt, at)
            {
                attempt.wake(&mut self.candidates, *id, at);
            }
        }
    }

    // ---- what is long --------------------------------------------------------------------------------------------

    /// Notes the jobs of which a call runs for long, on nodes that are there and deliver.
    fn note_long(&mut self, core: &Core) {
        for attempt in self.attempts.values().filter(|attempt| attempt.ran(core.now) >= LONG) {
            let is_there = self.candidates.get(attempt.node).is_some_and(Candidate::is_there);
            if is_there
                && self.candidates.trust(core, attempt.node) == Trust::Proven
                && let Some(entry) = self.jobs.get_mut(&attempt.job)
            {
                entry.is_seen_to_run_long();
            }
        }
    }

    /// Whether a batch of a job may begin on a node: a long one has its place there, and its owner has nothing there that
    /// was set aside and could go on instead.
    pub(super) fn may_begin(&self, core: &Core, offer: &Offer, job: JobId) -> bool {
        let (Some(entry), Some(candidate)) = (self.jobs.get(&job), self.candidates.get(offer.node)) else {
            return false;
        };
        let entry_of = |id: &AttemptId| self.attempts.get(id).and_then(|attempt| self.jobs.get(&attempt.job));
        if candidate.resting.iter().filter_map(entry_of).any(|other| other.holder == entry.holder) {
            return false;
        }
        let long = candidate.outstanding.iter().filter_map(entry_of).filter(|other| other.is_long());
        !entry.is_long() || long.count() < usize::from(self.candidates.cores(core, offer))
    }

    /// Whether a call is long, by itself or by others of its job.
    fn is_long(&self, attempt: &Attempt, now: Moment) -> bool {
        attempt.ran(now) >= LONG || self.jobs.get(&attempt.job).is_some_and(|entry| entry.is_long())
    }

    fn begun(&self, now: Moment) -> BTreeMap<NodeId, Begun> {
        let mut begun: BTreeMap<NodeId, Begun> = BTreeMap::new();
        for attempt in self.attempts.values().filter(|attempt| attempt.computes()) {
            let of_node = begun.entry(attempt.node).or_default();
            of_node.on_core += usize::from(attempt.rest == Rest::No);
            of_node.resting += usize::from(attempt.rest != Rest::No);
            of_node.long += usize::from(self.is_long(attempt, now));
        }
        begun
    }

    /// Nodes all of whose cores have calls of this one's jobs.
    fn full_nodes(&self, core: &Core, begun: &BTreeMap<NodeId, Begun>) -> BTreeSet<NodeId> {
        let is_full = |(node, begun): &(&NodeId, &Begun)| {
            let offer = self.candidates.get(**node).and_then(|candidate| candidate.fresh(core.now));
            offer.is_some_and(|offer| begun.on_core >= usize::from(self.candidates.cores(core, offer)))
        };
        begun.iter().filter(is_full).map(|(node, _)| *node).collect()
    }
}

impl Attempt {
    /// Whether its node has it, and no core for it.
    fn is_behind(&self, full: &BTreeSet<NodeId>) -> bool {
        self.started_at.is_none() && full.contains(&self.node)
    }

    /// Whether its node should have begun and ended it by now, and said neither: nobody knows that it ever will.
    fn is_overdue_unbegun(&self) -> bool {
        self.late && self.started_at.is_none()
    }

    /// Whether it has a core, as far as its node said so.
    pub(super) fn has_core(&self) -> bool {
        self.started_at.is_some() && self.rest == Rest::No
    }

    /// Whether it has begun and is not done, as far as its node said so.
    fn computes(&self) -> bool {
        self.state == AttemptState::Running
    }

    /// How long it has had a core.
    pub(super) fn ran(&self, now: Moment) -> Millis {
        self.started_at.map_or(Millis(0), |at| Millis((now - at).0.saturating_sub(self.aside(now).0)))
    }

    /// It is not set aside any more.
    pub(super) fn wake(&mut self, candidates: &mut Candidates, id: AttemptId, now: Moment) {
        if let Rest::Since(_) = self.rest {
            self.rested = self.aside(now);
            self.turn_at = now;
        }
        self.rest = Rest::No;
        candidates.set_aside(self.node, id, false);
    }

    /// How long it was set aside.
    pub(super) fn aside(&self, now: Moment) -> Millis {
        let aside = match self.rest {
            Rest::No | Rest::Asked(_) => Millis(0),
            Rest::Since(at) => now - at,
        };
        Millis(self.rested.0 + aside.0)
    }

    /// Whether its node has set it aside for longer than can be.
    pub(super) fn is_aside_too_long(&self, now: Moment, timeout: Millis) -> bool {
        let most = 2 * timeout.0 + ASIDE_SLACK.0;
        let own_making = self.ran(now).0.saturating_mul(ASIDE_FOR_RUN);
        let this_time = matches!(self.rest, Rest::Since(at) if now >= at + Millis(most));
        this_time || self.aside(now).0 >= most.saturating_add(own_making)
    }

    /// Whether its node may say that it begins, or goes on.
    pub(super) fn may_start(&self) -> bool {
        self.state == AttemptState::Assigned || self.rest != Rest::No || self.unsure
    }

    /// Whether its node may say that it set it aside.
    pub(super) fn may_rest(&self) -> bool {
        (self.was_asked && !matches!(self.rest, Rest::Since(_))) || self.unsure
    }
}

impl Rest {
    /// Whether the node was asked, and has not answered.
    pub(super) fn is_asked(self) -> bool {
        matches!(self, Rest::Asked(_))
    }
}
