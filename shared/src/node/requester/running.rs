//! One job of this requester: which units are open, issued and done, what failed where, and what it amounts to.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use super::{
    batch::{AtHand, Batch, WAITED},
    batches::Batches,
    gathered::Gathered,
    history::History,
    merging::Merge,
    stages::Progress,
    told::Told,
    view::computes,
};
use crate::{
    api::AttemptView,
    engine::Limits,
    id::{Holder, JobId, NodeId},
    job::{CallShape, Job, JobState, Outputs, Plan, Policy, Priority, Requirements, metadata::Metadata},
    node::broker::meets,
    units::{Gas, Millis, Moment, Span},
    wire::{MOST_OUTPUT, Offer},
};

/// Gas that a call gets for each second of its timeout, if that is more than the usual limit: several times what the fastest
/// engine burns, so that the clock ends what takes too long. Programs in C were seen to burn 1.2e10 a second, and 2.1e10 where
/// they were compiled without optimising.
const GAS_A_SECOND: u64 = 100_000_000_000;

/// Nodes that are remembered to say that they cannot run it.
const MOST_UNFIT: usize = 10_000;

/// Where a job stands among those that are not over: priority, age, name.
pub(super) type Rank = (Reverse<Priority>, Moment, JobId);

/// When it is a job's turn to give out a batch, among the jobs of its owner: by priority; within one, who was given least
/// comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    priority: Reverse<Priority>,
    work: u64,
    created_at: Moment,
    pub(super) job: JobId,
}

#[cfg(test)]
impl Turn {
    /// That of a job of which nothing else is known.
    pub(super) fn of(job: JobId) -> Self {
        Self { priority: Reverse(Priority::default()), work: 0, created_at: Moment(0), job }
    }
}

/// Where a job stands that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing of it has begun.
    Queued,
    /// Its batches are computed.
    Running,
    /// All outputs are there, and are made one result.
    Merging,
}

impl From<Phase> for JobState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Queued => JobState::Queued,
            Phase::Running => JobState::Running,
            Phase::Merging => JobState::Verifying,
        }
    }
}

/// A job that is not over, and how far it has come.
pub(super) struct Running {
    pub(super) id: JobId,
    pub(super) holder: Holder,
    pub(super) kind: String,
    pub(super) metadata: Metadata,
    /// In one line, what it computes.
    pub(super) computes: Option<String>,
    pub(super) source: Arc<str>,
    pub(super) requirements: Requirements,
    pub(super) policy: Policy,
    pub(super) plan: Arc<dyn Plan>,
    /// How far its stages are.
    pub(super) stages: Progress,
    /// Units of all of them.
    pub(super) units: u64,

    pub(super) phase: Phase,
    pub(super) created_at: Moment,
    pub(super) started_at: Option<Moment>,
    /// What has come of it so far.
    pub(super) gathered: Gathered,
    /// What was done for it, and by whom.
    pub(super) history: History,
    /// What whoever watches was told of it.
    pub(super) told: Told,

    /// Those that are out, or wait after a failure.
    pub(super) batches: Batches,
    /// Nodes that said they cannot run it.
    unfit: BTreeSet<NodeId>,
    /// Which proven nodes could take what failed often, when that was last looked at.
    at_hand: AtHand,
    /// When one was last seen to work for this requester.
    worked_at: Moment,

    /// What it was given, in microseconds of one core; where its owner's others stood, when it began to wait.
    pub(super) work: u64,
    /// A call of it was seen to run for long, while others waited.
    is_long: bool,
    /// Its place in the line, while it has one.
    pub(super) waits: Option<Turn>,
    /// When a node that meets its requirements was last seen connected; before that, when the wait began.
    chance_at: Moment,
}

impl Running {
    pub(super) fn new(id: JobId, job: Job, now: Moment) -> Self {
        let Job { holder, kind, metadata, source, requirements, policy, plan, stages } = job;
        Self {
            id,
            holder,
            kind: kind.to_owned(),
            metadata,
            computes: computes(&source),
            source,
            requirements,
            policy,
            units: stages.units(),
            stages: Progress::new(stages),
            plan: Arc::from(plan),
            phase: Phase::Queued,
            created_at: now,
            started_at: None,
            gathered: Gathered::default(),
            history: History::default(),
            told: Told::nothing(),
            batches: Batches::default(),
            unfit: BTreeSet::new(),
            at_hand: AtHand::Nobody,
            worked_at: Moment(0),
            work: 0,
            is_long: false,
            waits: None,
            chance_at: now,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        (Reverse(self.policy.priority), self.created_at, self.id)
    }

    pub(super) fn turn(&self) -> Turn {
        Turn { priority: Reverse(self.policy.priority), work: self.work, created_at: self.created_at, job: self.id }
    }

    /// Whether there is something that could go out, now or after a pause.
    pub(super) fn is_hungry(&self) -> bool {
        !self.stages.none_open() || self.batches.waiting_count() > 0
    }

    pub(super) fn timeout(&self) -> Millis {
        Millis(u64::from(self.requirements.timeout_seconds) * 1000)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            gas: Limits::default().gas.max(Gas(GAS_A_SECOND * u64::from(self.requirements.timeout_seconds))),
            memory_bytes: u64::from(self.requirements.memory_mib) << 20,
            output_bytes: MOST_OUTPUT,
            time_millis: self.timeout().0,
        }
    }

    /// Whether a node offers what the job requires, and runs what some stage of it is written in.
    pub(super) fn may_use(&self, offer: &Offer) -> bool {
        meets(offer, &self.requirements)
            && !self.unfit.contains(&offer.node)
            && self.stages.iter().any(|stage| offer.languages.contains(&stage.language()))
    }

    /// The same for the stage of a batch.
    pub(super) fn may_use_for(&self, offer: &Offer, span: Span) -> bool {
        let runs = self.stages.of(span.start).is_some_and(|stage| offer.languages.contains(&stage.language()));
        runs && self.may_use(offer)
    }

    /// Takes the next batch for a node: a failed one whose pause is over, else open units, as many as suit it, of the last
    /// stage that has some, so that outputs are used soon. `is_proven`: the node has delivered before. `ramps`: it still shows
    /// how many cores it has. `another(only_proven)` says whether a node could take a batch on which it has not failed.
    pub(super) fn next_batch(
        &mut self,
        now: Moment,
        offer: &Offer,
        cores: u16,
        is_proven: bool,
        ramps: bool,
        another: impl Fn(&Self, &Batch, bool) -> bool,
    ) -> Option<Batch> {
        let node = offer.node;
        let may_go = |batch: &&Batch| {
            let another = |only_proven| another(self, batch, only_proven);
            now >= batch.not_before
                && self.may_use_for(offer, batch.span)
                && batch.unfit(now, node, is_proven, self, another).is_none()
        };
        let retry = self.batches.waiting().find(may_go).map(|batch| batch.span.start);
        if let Some(batch) = retry.and_then(|start| self.batches.take_waiting(start)) {
            return Some(batch);
        }
        let (plan, timeout) = (&self.plan, self.timeout());
        let apt = self.stages.iter_mut().rev().filter(|stage| offer.languages.contains(&stage.language()));
        let fits = |first| plan.most_units_a_batch(first);
        apt.filter_map(|stage| stage.take(node, cores, ramps, timeout, fits)).next().map(Batch::new)
    }

    /// Whether some unit could be given out now.
    pub(super) fn can_give(&self) -> bool {
        !self.stages.none_open()
    }

    /// Whether something of it could go out at once, if there were a node for it.
    pub(super) fn could_go(&self, now: Moment) -> bool {
        self.can_give() || self.batches.waiting().any(|batch| now >= batch.not_before)
    }

    /// How the units of a span become calls.
    pub(super) fn shape_of(&self, span: Span) -> CallShape {
        self.stages.of(span.start).map_or(CallShape::EachUnit, |stage| stage.stage().shape)
    }

    /// How many of a batch's units its first `calls` outputs cover.
    pub(super) fn units_of(&self, span: Span, calls: usize) -> u64 {
        match self.shape_of(span) {
            CallShape::WholeSpan => 0, // its only call failed
            CallShape::EachUnit => (calls as u64).min(span.len()),
        }
    }

    /// Takes outputs into the result, of whoever made them; whether units of other stages are open through them.
    pub(super) fn keep(&mut self, span: Span, outputs: Outputs) -> bool {
        self.gathered.add(span, outputs);
        self.told.change();
        self.stages.done(span)
    }

    /// All that it has gathered, to be merged.
    pub(super) fn merge(&self) -> Merge {
        Merge::new(Arc::clone(&self.plan), self.gathered.shared())
    }

    /// A node took so long for a span.
    pub(super) fn measured(&mut self, node: NodeId, span: Span, micros: u64) {
        if let Some(stage) = self.stages.of_mut(span.start) {
            stage.paces.measured(node, span.len(), micros);
        }
    }

    /// Takes a node's outputs into the result; whether units of other stages are open through them.
    pub(super) fn accept(&mut self, node: NodeId, span: Span, outputs: Outputs, gas: Gas) -> bool {
        self.history.took(node, span.len(), outputs.len() as u64, gas);
        self.keep(span, outputs)
    }

    /// Notes which proven nodes could take what failed often.
    pub(super) fn note_at_hand(&mut self, now: Moment, at_hand: AtHand) {
        self.at_hand = at_hand;
        match at_hand {
            AtHand::Works => self.worked_at = now,
            AtHand::Idles | AtHand::Nobody => {}
        }
    }

    /// Which those are.
    pub(super) fn at_hand(&self) -> AtHand {
        self.at_hand
    }

    /// A proven node was seen to work for this requester.
    pub(super) fn saw_work(&mut self, now: Moment) {
        self.worked_at = now;
    }

    /// A node says that it cannot run it.
    pub(super) fn note_unfit(&mut self, node: NodeId) {
        if self.unfit.len() < MOST_UNFIT {
            self.unfit.insert(node);
        }
    }

    /// A node that meets its requirements is connected.
    pub(super) fn has_chance(&mut self, now: Moment) {
        self.chance_at = now;
    }

    /// Whether nothing of it has begun, and none that meets its requirements was connected for so long.
    pub(super) fn had_no_chance_for(&self, time: Millis, now: Moment) -> bool {
        self.started_at.is_none() && now >= self.chance_at + time
    }

    /// Whether a call of it was seen to run for long, while others waited.
    pub(super) fn is_long(&self) -> bool {
        self.is_long
    }

    /// A call of it is seen to run for long.
    pub(super) fn is_seen_to_run_long(&mut self) {
        self.is_long = true;
    }

    /// A batch of it was done, after so long: one that is not long says that its calls are not any more.
    pub(super) fn ran_for(&mut self, is_long: bool) {
        self.is_long &= is_long;
    }

    /// Whether a proven node worked for this requester a moment ago: it may be away, or without work, for that moment alone.
    pub(super) fn worked_lately(&self, now: Moment) -> bool {
        now < self.worked_at + WAITED
    }

    /// Whether something waits that goes to proven nodes first.
    pub(super) fn wants_proven(&self) -> bool {
        self.batches.waiting().any(|batch| batch.wants_proven(self.policy.retries))
    }

    /// Puts a batch that is not out any more back among what waits, without blame.
    pub(super) fn reopen(&mut self, batch: Batch) {
        let restarts = batch.restarts + batch.proven_restarts;
        if batch.failures.is_empty() && batch.interrupted == 0 && restarts == 0 {
            self.stages.reopen(batch.span);
        } else {
            self.batches.put(batch);
        }
    }

    /// Notes an attempt that ended.
    pub(super) fn note(&mut self, view: AttemptView) {
        self.history.ends(view);
        self.told.change();
    }
}
