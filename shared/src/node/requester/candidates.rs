//! The nodes that a requester could give work to: their offers, whether they can be reached, and how they behave.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    batch::{AtHand, Batch},
    running::Running,
    trust::{Records, Trust},
};
use crate::{
    id::{AttemptId, NodeId},
    job::Requirements,
    node::{
        NetworkOrder,
        broker::{OFFER_VALIDITY, meets, shuffle},
        core::Core,
    },
    units::{Millis, Moment},
    wire::{Offer, Role},
};

/// Candidates remembered at most.
const MOST: usize = 8192;
/// Nodes with work that are kept connected at most. A tab has about 500 connections in its life.
const MOST_USED_BY_CLIENT: usize = 64;
const MOST_USED: usize = 2048;
/// Dials in flight at most, and started at once.
const MOST_DIALS: usize = 32;
const DIALS_A_STEP: usize = 12;
/// A dial that is not answered counts as failed.
const DIAL_PATIENCE: Millis = Millis(20_000);
/// First and longest pause after a failed dial.
const REDIAL_MILLIS: (u64, u64) = (500, 60_000);
/// A connection that this node opened to give work is closed after so long a silence, and how often that is looked at.
const SILENCE: Millis = Millis(300_000);
const SILENCE_STEP: Millis = Millis(60_000);
/// First and longest pause after a node said that it is busy.
const BUSY_MILLIS: (u64, u64) = (100, 5_000);
/// How long a node that did not set a batch aside is not asked to again.
const UNWILLING: Millis = Millis(60_000);

/// A node that offered itself.
pub(super) struct Candidate {
    pub(super) offer: Option<Offer>,
    heard_at: Moment,
    dialled_at: Option<Moment>,
    dial_after: Moment,
    dial_failures: u32,
    busy_until: Moment,
    busy_times: u32,
    /// When it was last given a batch.
    assigned_at: Moment,
    /// Batches it has.
    pub(super) outstanding: BTreeSet<AttemptId>,
    /// Those of them that were set aside.
    pub(super) resting: BTreeSet<AttemptId>,
    /// Those that it owes: overdue, and it has delivered nothing since it was given them.
    owed: BTreeSet<AttemptId>,
    /// It did not set aside what it was asked to: until then it is not asked again.
    unwilling_until: Moment,
    /// When its connection broke while it had work.
    pub(super) lost_at: Option<Moment>,
}

impl Candidate {
    /// Its offer, while it holds.
    pub(super) fn fresh(&self, now: Moment) -> Option<&Offer> {
        self.offer.as_ref().filter(|_| now < self.heard_at + OFFER_VALIDITY)
    }

    /// Whether its connection is as it was when it was given what it has.
    pub(super) fn is_there(&self) -> bool {
        self.lost_at.is_none()
    }

    /// Whether it can be asked to set something aside.
    pub(super) fn is_willing(&self, now: Moment) -> bool {
        now >= self.unwilling_until
    }

    /// Batches it has that were not set aside.
    pub(super) fn awake(&self) -> usize {
        self.outstanding.len() - self.resting.len()
    }

    /// Whether it owes nothing but what it has, for audits.
    pub(super) fn owes_what_it_has(&self) -> bool {
        self.owed.is_subset(&self.outstanding)
    }

    /// Whether it has something for too long that was not set aside.
    pub(super) fn owes(&self) -> bool {
        self.owed.difference(&self.resting).next().is_some()
    }

    /// When it was last given a batch.
    pub(super) fn assigned_at(&self) -> Moment {
        self.assigned_at
    }

    /// Whether a connection to it may be opened: none is being opened, and the pause after the last failure is over.
    pub(super) fn may_be_dialled(&self, now: Moment) -> bool {
        self.dialled_at.is_none() && now >= self.dial_after
    }

    /// Dials that failed in a row.
    pub(super) fn dial_failures(&self) -> u32 {
        self.dial_failures
    }
}

/// What some nodes offer: the most memory in MiB, by the share of a core in percent.
#[derive(Default)]
pub(super) struct Reach(BTreeMap<u32, u32>);

impl Reach {
    /// Whether one of them meets the requirements.
    pub(super) fn meets(&self, requirements: &Requirements) -> bool {
        self.0.range(requirements.cpu_percent..).any(|(_, memory)| *memory >= requirements.memory_mib)
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Candidates {
    nodes: BTreeMap<NodeId, Candidate>,
    /// Those of them that have delivered before; names cost nothing, so they are few among them.
    delivered: BTreeSet<NodeId>,
    /// What was seen of them, and of others before.
    pub(super) records: Records,
    /// Connections that this node opened for its jobs.
    opened: BTreeSet<NodeId>,
    silence_at: Moment,
}

impl Candidates {
    pub(super) fn get(&self, node: NodeId) -> Option<&Candidate> {
        self.nodes.get(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Candidate)> {
        self.nodes.iter().map(|(node, candidate)| (*node, candidate))
    }

    /// Whether a node is left alone now: it had no room, or failed.
    pub(super) fn is_left_alone(&self, node: NodeId, now: Moment) -> bool {
        self.nodes.get(&node).is_some_and(|candidate| now < self.free_at(node, candidate))
    }

    /// Until when a node is left alone.
    pub(super) fn free_at(&self, node: NodeId, candidate: &Candidate) -> Moment {
        candidate.busy_until.max(self.records.paused_until(node))
    }

    /// Whether a node may have fallen silent together with another; never this one itself.
    pub(super) fn is_doubted(&self, core: &Core, node: NodeId) -> bool {
        node != core.me() && self.records.is_doubted(node)
    }

    /// How far a node is trusted; this one itself always is.
    pub(super) fn trust(&self, core: &Core, node: NodeId) -> Trust {
        if node == core.me() { Trust::Proven } else { self.records.trust(node, core.now) }
    }

    /// How many cores a node is believed to lend.
    pub(super) fn cores(&self, core: &Core, offer: &Offer) -> u16 {
        if offer.node == core.me() { offer.cores } else { self.records.cores(offer.node, offer.cores) }
    }

    /// Whether a node has delivered before and is not left alone for what came later; this one itself always counts so.
    pub(super) fn is_proven(&self, core: &Core, node: NodeId) -> bool {
        node == core.me() || (self.records.has_delivered(node) && self.trust(core, node) != Trust::Resting)
    }

    /// Whether a node has delivered before, whatever came later: when it fails it may be left alone already.
    pub(super) fn has_delivered(&self, core: &Core, node: NodeId) -> bool {
        node == core.me() || self.records.has_delivered(node)
    }

    /// Which proven nodes offer what a job requires.
    pub(super) fn at_hand(&self, core: &Core, entry: &Running) -> AtHand {
        let mut at_hand = AtHand::Nobody;
        for (node, candidate) in self.proven(core, entry) {
            if candidate.awake() > 0 && core.reaches(node) {
                return AtHand::Works;
            }
            at_hand = AtHand::Idles;
        }
        at_hand
    }

    /// Whether a node other than this one, on which a batch has not failed, could take it: any, or a proven one. One that has not
    /// done so for a while does not count, unless it is proven and works for this requester: it may be busy with others' work
    /// for ever, or out of reach.
    pub(super) fn another(&self, core: &Core, entry: &Running, batch: &Batch, but: NodeId, only_proven: bool) -> bool {
        let has_waited = batch.has_waited(core.now);
        let counts = |node: NodeId| node != but && !batch.has_failed_on(node);
        if only_proven || has_waited {
            return self.proven(core, entry).any(|(node, candidate)| {
                counts(node) && (!has_waited || (candidate.awake() > 0 && core.reaches(node)))
            });
        }
        let could =
            |candidate: &Candidate| candidate.fresh(core.now).is_some_and(|offer| entry.may_use_for(offer, batch.span));
        self.nodes.iter().any(|(node, candidate)| could(candidate) && counts(*node))
    }

    fn proven<'a>(&'a self, core: &'a Core, entry: &'a Running) -> impl Iterator<Item = (NodeId, &'a Candidate)> {
        let known = self.delivered.iter().chain(std::iter::once(&core.config.me));
        known.filter_map(|node| {
            let candidate = self.nodes.get(node)?;
            let offer = candidate.fresh(core.now)?;
            (entry.may_use(offer) && self.is_proven(core, *node)).then_some((*node, candidate))
        })
    }

    /// What nodes offer that are connected, or those that are not.
    pub(super) fn reach(&self, core: &Core, connected: bool) -> Reach {
        let mut reach = Reach::default();
        for (node, candidate) in &self.nodes {
            if let Some(offer) = candidate.fresh(core.now).filter(|_| core.reaches(*node) == connected) {
                let memory = reach.0.entry(u32::from(offer.cpu_percent)).or_default();
                *memory = offer.memory_mib.max(*memory);
            }
        }
        reach
    }

    /// Whether a node that offers what is required is connected, busy or not.
    pub(super) fn connected_to_one(&self, core: &Core, requirements: &Requirements) -> bool {
        self.nodes.iter().any(|(node, candidate)| {
            candidate.fresh(core.now).is_some_and(|offer| meets(offer, requirements)) && core.reaches(*node)
        })
    }

    /// An offer came, from the node itself (`direct`) or through a broker.
    pub(in crate::node) fn offered(&mut self, now: Moment, offer: Offer, direct: bool) {
        let node = offer.node;
        if self.nodes.len() >= MOST && !self.nodes.contains_key(&node) {
            self.nodes.retain(|_, known| !known.outstanding.is_empty() || known.fresh(now).is_some());
            self.delivered.retain(|node| self.nodes.contains_key(node));
            // Offers are made for nothing: one that is no better than others gives way.
            if self.nodes.len() >= MOST {
                let idle = self.nodes.iter().filter(|(_, known)| known.outstanding.is_empty());
                let worst = idle.map(|(name, _)| (self.records.trust(*name, now), shuffle(*name, now.0), *name)).max();
                let Some((.., name)) = worst else { return };
                self.forget(name);
            }
        }
        if self.records.has_delivered(node) {
            self.delivered.insert(node);
        }
        let candidate = self.nodes.entry(node).or_insert_with(|| Candidate {
            offer: None,
            heard_at: now,
            dialled_at: None,
            dial_after: Moment(0),
            dial_failures: 0,
            busy_until: Moment(0),
            busy_times: 0,
            assigned_at: Moment(0),
            outstanding: BTreeSet::new(),
            resting: BTreeSet::new(),
            owed: BTreeSet::new(),
            unwilling_until: Moment(0),
            lost_at: None,
        });
        // What a node says itself is newer than what others repeat of it.
        let older = !direct && candidate.offer.as_ref().is_some_and(|known| known.made_at > offer.made_at);
        if !older {
            candidate.offer = Some(offer);
            candidate.heard_at = now;
        }
    }

    fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.delivered.remove(&node);
    }

    /// Whether those that have delivered are among those that are known, for audits.
    pub(super) fn knows_who_delivered(&self) -> bool {
        self.delivered.iter().all(|node| self.nodes.contains_key(node))
    }

    /// A node lends no longer.
    pub(super) fn withdrawn(&mut self, node: NodeId) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            candidate.offer = None;
            if candidate.outstanding.is_empty() {
                self.forget(node);
            }
        }
    }

    /// Nodes that are not there any more; such as have work are waited for a while.
    pub(super) fn gone(&mut self, is_gone: impl Fn(NodeId) -> bool) {
        self.nodes.retain(|node, candidate| !candidate.outstanding.is_empty() || !is_gone(*node));
        self.delivered.retain(|node| self.nodes.contains_key(node));
    }

    pub(in crate::node) fn connected(&mut self, node: NodeId) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            if candidate.dialled_at.take().is_some() {
                self.opened.insert(node);
            }
            candidate.dial_failures = 0;
            candidate.lost_at = None;
        }
    }

    pub(in crate::node) fn disconnected(&mut self, now: Moment, node: NodeId) {
        self.opened.remove(&node);
        if let Some(candidate) = self.nodes.get_mut(&node) {
            candidate.dialled_at = None;
            candidate.dial_after = now;
            candidate.lost_at = (!candidate.outstanding.is_empty()).then_some(now);
        }
    }

    pub(super) fn dial_failed(&mut self, now: Moment, node: NodeId) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            candidate.dialled_at = None;
            let pause = (REDIAL_MILLIS.0 << candidate.dial_failures.min(10)).min(REDIAL_MILLIS.1);
            candidate.dial_failures = candidate.dial_failures.saturating_add(1);
            candidate.dial_after = now + Millis(pause);
        }
    }

    /// A node has no room; it is left alone for a while.
    pub(super) fn busy(&mut self, now: Moment, node: NodeId) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            let pause = (BUSY_MILLIS.0 << candidate.busy_times.min(10)).min(BUSY_MILLIS.1);
            candidate.busy_times = candidate.busy_times.saturating_add(1);
            candidate.busy_until = now + Millis(pause);
        }
    }

    /// A node failed a batch, or did one.
    pub(super) fn tried(&mut self, now: Moment, node: NodeId, success: bool) {
        if success { self.records.succeeded(node) } else { self.records.failed(node, now) }
    }

    /// A node restarted, and lost what it had.
    pub(super) fn restarted(&mut self, now: Moment, node: NodeId, had_begun: bool) {
        self.records.restarted(node, had_begun, now);
    }

    pub(in crate::node) fn assigned(&mut self, now: Moment, node: NodeId, attempt: AttemptId) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            candidate.assigned_at = now;
            candidate.outstanding.insert(attempt);
        }
    }

    /// A node had its time for a batch that it was given at `since`, and it is not there.
    pub(super) fn overdue(&mut self, core: &Core, node: NodeId, attempt: AttemptId, since: Moment) {
        if let Some(candidate) = self.nodes.get_mut(&node)
            && node != core.me()
            && !self.records.has_delivered_after(node, since)
        {
            self.records.owes(node, core.now);
            candidate.owed.insert(attempt);
        }
    }

    /// A node delivered a batch while it ran so many. What else it has takes long.
    pub(in crate::node) fn delivered(&mut self, now: Moment, node: NodeId, running: usize) {
        self.records.delivered(node, now, running);
        if let Some(candidate) = self.nodes.get_mut(&node) {
            self.delivered.insert(node);
            candidate.owed.clear();
        }
    }

    /// A batch of a node was set aside (`rests`), or goes on.
    pub(super) fn set_aside(&mut self, node: NodeId, attempt: AttemptId, rests: bool) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            if rests {
                candidate.resting.insert(attempt);
            } else {
                candidate.resting.remove(&attempt);
            }
        }
    }

    /// A node did not set aside what it was asked to.
    pub(super) fn unwilling(&mut self, now: Moment, node: NodeId) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            candidate.unwilling_until = now + UNWILLING;
        }
    }

    /// A batch ended; `taken` when the node did take it.
    pub(super) fn ended(&mut self, node: NodeId, attempt: AttemptId, taken: bool) {
        if let Some(candidate) = self.nodes.get_mut(&node) {
            candidate.outstanding.remove(&attempt);
            candidate.resting.remove(&attempt);
            candidate.owed.remove(&attempt);
            if taken {
                candidate.busy_times = 0;
            }
            if candidate.outstanding.is_empty() && candidate.offer.is_none() {
                self.forget(node);
            }
        }
    }

    /// Nodes whose connection broke so long ago that their work is given to others.
    pub(super) fn given_up(&mut self, now: Moment, grace: Millis) -> Vec<(NodeId, Vec<AttemptId>)> {
        self.nodes
            .iter_mut()
            .filter(|(_, candidate)| candidate.lost_at.is_some_and(|at| now >= at + grace))
            .map(|(node, candidate)| {
                candidate.lost_at = None;
                (*node, candidate.outstanding.iter().copied().collect())
            })
            .collect()
    }

    /// Closes connections that were opened for jobs and have been silent for long: they are few in a tab's life, but
    /// each costs both ends.
    pub(super) fn close_silent(&mut self, core: &mut Core) {
        let now = core.now;
        if self.opened.is_empty() || now < self.silence_at {
            return;
        }
        self.silence_at = now + SILENCE_STEP;
        for node in &self.opened {
            let idle = self.nodes.get(node).is_none_or(|candidate| candidate.outstanding.is_empty());
            let silent = core.peers.get(*node).is_some_and(|peer| now >= peer.heard_at + SILENCE);
            if idle && silent && !core.peers.is_seed(*node) {
                core.hang(*node);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        (!self.opened.is_empty()).then_some(self.silence_at)
    }

    /// How many nodes are known by fresh offers, and to how many of them a connection could be opened now.
    pub(super) fn known(&self, core: &Core) -> (usize, usize) {
        let fresh = self.nodes.iter().filter(|(_, candidate)| candidate.fresh(core.now).is_some());
        fresh.fold((0, 0), |(known, left), (node, candidate)| {
            let free = candidate.may_be_dialled(core.now) && !core.reaches(*node);
            (known + 1, left + usize::from(free))
        })
    }

    /// Whether there is a node that could be connected to now, or one that is being connected to.
    pub(super) fn has_one_to_dial(&self, core: &Core) -> bool {
        self.nodes.iter().any(|(node, candidate)| {
            let at_hand = || core.reaches(*node) || core.peers.is_seed(*node);
            candidate.dialled_at.is_some() || (candidate.may_be_dialled(core.now) && !at_hand())
        })
    }

    pub(super) fn dialling(&self) -> usize {
        self.nodes.values().filter(|candidate| candidate.dialled_at.is_some()).count()
    }

    /// Connects to nodes: those that have work of ours and were lost, and while `wanted` units wait, new ones that meet
    /// the requirements of some waiting job.
    pub(super) fn dial(&mut self, core: &mut Core, wanted: u64, waiting: &[Requirements]) {
        let now = core.now;
        let overdue: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, candidate)| candidate.dialled_at.is_some_and(|at| now >= at + DIAL_PATIENCE))
            .map(|(node, _)| *node)
            .collect();
        for node in overdue {
            self.dial_failed(now, node);
        }
        let dialling = self.dialling();
        // Whoever delivers nothing takes no place from others.
        let used = self.nodes.iter().filter(|(node, candidate)| {
            core.reaches(**node) && candidate.fresh(now).is_some() && self.trust(core, **node) <= Trust::Unknown
        });
        let used = used.count();
        let most_used = if core.config.role == Role::Client { MOST_USED_BY_CLIENT } else { MOST_USED };
        let room = MOST_DIALS
            .saturating_sub(dialling)
            .min(DIALS_A_STEP)
            .min(most_used.saturating_sub(used + dialling))
            .min(usize::try_from(wanted).unwrap_or(usize::MAX));
        for node in self.to_dial(core, room, waiting) {
            if let Some(candidate) = self.nodes.get_mut(&node) {
                candidate.dialled_at = Some(now);
                let addresses = candidate.offer.as_ref().map(|offer| offer.addresses.clone()).unwrap_or_default();
                core.network(NetworkOrder::Dial { node, addresses });
            }
        }
    }
}
