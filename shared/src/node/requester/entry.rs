//! One job of this requester: which units are open, issued and done, what failed where, and what it amounts to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    merging::Merge,
    scheduler::{Paces, SpanSet, probe_units},
};
use crate::{
    api::{AttemptView, NodeShare},
    blob::Blob,
    engine::{EngineName, Limits},
    id::{AttemptId, Hash, Holder, JobId, NodeId},
    job::{
        AttemptState, CallShape, Job, JobState, Outputs, Plan, Policy, Priority, Requirements, WaitReason,
        metadata::Metadata,
    },
    refusal::{Code, Refusal},
    units::{Gas, Millis, Moment, Span},
    wire::MAX_OUTPUT,
};

/// Attempts that are shown after they ended.
pub(super) const MOST_SHOWN: usize = 1000;
/// Nodes whose shares are kept by name.
const MOST_SHARES: usize = 10_000;
/// Units that failed by themselves after which a job that has come to nothing else ends: it would waste others' processors.
const MOST_IN_VAIN: usize = 16;
/// First and longest pause before a failed task is tried again.
const RETRY_MILLIS: (u64, u64) = (100, 5_000);
/// Restarts of nodes that a task meets with while it runs and that cost nothing: people reload pages, and each reload is one.
const RESTARTS: u32 = 12;
/// How long a task waits at most for nodes that do nothing for this requester, before it goes to others again.
const WAITED: Millis = Millis(60_000);
/// How long a failure that every node should come to waits for a second node to confirm it.
const CONFIRM: Millis = Millis(5_000);
/// Gas that a call gets for each second of its timeout, if that is more than the usual limit: several times what the fastest
/// engine burns, so that the clock ends what takes too long. Programs in C were seen to burn 1.2e10 a second, and 2.1e10 where
/// they were compiled without optimising.
const GAS_A_SECOND: u64 = 100_000_000_000;

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

/// A span that went out as one batch, or failed and waits to go out again.
pub(super) struct Task {
    pub(super) span: Span,
    /// Attempts that may still deliver.
    pub(super) live: Vec<AttemptId>,
    /// Where it failed.
    pub(super) failures: Vec<Failure>,
    /// Failures that count against the policy, and how many of them on nodes that had delivered before.
    pub(super) tries: u32,
    pub(super) proven_tries: u32,
    /// How often it gave way to the job of another owner.
    pub(super) interrupted: u32,
    /// A proven node said that it fails anywhere: whoever agrees confirms it.
    pub(super) has_verdict: bool,
    /// How often a node restarted that had it, and how often one that had delivered before.
    pub(super) restarts: u32,
    pub(super) proven_restarts: u32,
    /// It waits until then; since then, it has waited for a node.
    pub(super) not_before: Moment,
    /// When a failure that waits for confirmation is believed without.
    pub(super) believe_at: Option<Moment>,
}

/// One failure of a task.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) node: NodeId,
    pub(super) refusal: Refusal,
    /// Whether any honest node would come to the same end.
    pub(super) deterministic: bool,
    /// Whether the refusal says at which unit, number or item it happened.
    pub(super) placed: bool,
    /// Whether the node said nothing, so that this is no word about the task.
    pub(super) silent: bool,
}

/// Which nodes offer what a job requires that have delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtHand {
    /// One that works for this requester.
    Works,
    /// Only such as do not.
    Idles,
    /// None.
    Nobody,
}

/// What else is known where an attempt failed.
pub(super) struct Circumstances {
    /// Whether its node had delivered before.
    pub(super) is_proven: bool,
    /// Whether it was a copy of what was out already.
    pub(super) is_copy: bool,
    /// Whether there is a node on which the task has not failed.
    pub(super) another: bool,
    /// Who could take it.
    pub(super) at_hand: AtHand,
}

impl Task {
    pub(super) fn new(span: Span) -> Self {
        Self {
            span,
            live: Vec::new(),
            failures: Vec::new(),
            tries: 0,
            proven_tries: 0,
            interrupted: 0,
            restarts: 0,
            proven_restarts: 0,
            has_verdict: false,
            not_before: Moment(0),
            believe_at: None,
        }
    }

    /// Both halves of one that failed as often as it may, each with one more try; a single unit has all of its own.
    fn halves(&self, tries: u32) -> [Self; 2] {
        let (first, second) = self.span.split_at(self.span.len() / 2);
        [first, second].map(|span| match span.len() {
            1 => Self::new(span),
            _ => Self { tries, proven_tries: tries, failures: self.failures.clone(), ..Self::new(span) },
        })
    }

    /// Whether it may go to a node, by where it failed, and by whether that node is proven. `entry` is its job;
    /// `another(only_proven)` says whether a node could take it on which it has not failed.
    pub(super) fn may_go_to(
        &self,
        now: Moment,
        node: NodeId,
        is_proven: bool,
        entry: &Entry,
        another: impl FnOnce(bool) -> bool,
    ) -> bool {
        let only_proven = self.wants_proven(entry.policy.retries)
            && match entry.at_hand {
                AtHand::Works => true,
                AtHand::Idles => !self.has_waited(now) || entry.worked_lately(now),
                AtHand::Nobody => entry.worked_lately(now),
            };
        if only_proven && !is_proven {
            return false;
        }
        let has_its_turn_again = is_proven && self.has_waited(now);
        !self.has_failed_on(node) || (self.believe_at.is_none() && (has_its_turn_again || !another(only_proven)))
    }

    /// Whether so much went wrong with it that only what a proven node makes of it tells whose fault that is: names cost
    /// nothing, and each may take it and bring nothing.
    pub(super) fn wants_proven(&self, retries: u32) -> bool {
        self.restarts.max(self.proven_restarts) >= RESTARTS || self.tries > retries
    }

    /// Whether it waits for a node for so long that it waits no more for those that do nothing for this requester.
    pub(super) fn has_waited(&self, now: Moment) -> bool {
        now >= self.not_before + WAITED
    }

    /// Whether it has failed as often as it may. What failed on others has yet to go to proven nodes, as often again, where there
    /// are any; and where none of them takes it, once more to others.
    fn is_exhausted(&self, retries: u32, last: &Circumstances, hopes: bool) -> bool {
        let waits_for_proven = hopes && self.proven_tries <= retries;
        let was_the_last = !last.is_proven && !last.is_copy && self.tries > retries + 1;
        self.tries > retries && (!waits_for_proven || was_the_last)
    }

    /// A node restarted that had it. Whether that counts as a failure: not the first times, of either kind of nodes.
    pub(super) fn restarted(&mut self, now: Moment, is_proven: bool) -> bool {
        let restarts = if is_proven { &mut self.proven_restarts } else { &mut self.restarts };
        *restarts = restarts.saturating_add(1);
        self.not_before = now;
        *restarts > RESTARTS
    }

    pub(super) fn has_failed_on(&self, node: NodeId) -> bool {
        self.failures.iter().any(|failure| failure.node == node)
    }
}

/// An attempt that has not ended.
pub(super) struct Attempt {
    pub(super) job: JobId,
    pub(super) node: NodeId,
    /// The life of the node that has it, once that said which it is.
    pub(super) session: Option<u64>,
    pub(super) span: Span,
    pub(super) calls: u64,
    pub(super) state: AttemptState,
    pub(super) assigned_at: Moment,
    pub(super) started_at: Option<Moment>,
    /// When its turn on a core began.
    pub(super) turn_at: Moment,
    pub(super) rest: Rest,
    /// Its node was asked to set it aside, and has not said since that it goes on.
    pub(super) was_asked: bool,
    /// It was given again over a new connection, and its node has not said since whether it runs or rests.
    pub(super) unsure: bool,
    /// How long it was set aside before its turn.
    pub(super) rested: Millis,
    /// When it should be done, by the node's speed.
    pub(super) due: Moment,
    /// How long it gets until its node counts as silent, and whether that is over.
    pub(super) patience: Millis,
    pub(super) late: bool,
    /// Its node was blamed for that.
    pub(super) blamed: bool,
    /// Its node has it no more, or only what came of it.
    pub(super) is_done: bool,
    /// Another attempt of its task was out before.
    pub(super) copy: bool,
    /// Another one was first; it may still show the pace of its node.
    pub(super) superseded: bool,
    /// What of it is counted as work of its owner so far, in microseconds of one core.
    pub(super) charged: u64,
    /// What it took in the end, if it was delivered.
    pub(super) took: Option<u64>,
    /// The blob that holds its calls, pinned.
    pub(super) blob: Option<Hash>,
}

/// Whether an attempt that began was set aside for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is not.
    No,
    /// Its node was asked to, then.
    Asked(Moment),
    /// It is, since then.
    Since(Moment),
}

/// What becomes of a task that failed.
pub(super) enum Fate {
    /// It goes out again, whole or in parts.
    Again,
    /// That was its unit's own failure, and this stands for its output. Where nothing but such comes of the job, it ends.
    Instead(Span, Outputs, Refusal),
    /// The job ends.
    Ends(Refusal),
}

/// What a batch came to.
pub(super) enum Verdict {
    /// Everything is right.
    Good(Outputs),
    /// The first calls are right, then one failed.
    Bad {
        /// Outputs before the failure.
        before: Outputs,
        /// What failed, and whether it would fail anywhere.
        refusal: Refusal,
        deterministic: bool,
        /// It ran out of something that a shorter batch may not run out of.
        too_much: bool,
        /// The refusal says where.
        placed: bool,
    },
}

/// A job and how far it has come.
pub(super) struct Entry {
    pub(super) id: JobId,
    pub(super) holder: Holder,
    pub(super) kind: String,
    pub(super) metadata: Metadata,
    pub(super) source: Arc<str>,
    pub(super) requirements: Requirements,
    pub(super) policy: Policy,
    /// Gone once the job is over.
    pub(super) plan: Option<Arc<dyn Plan>>,
    pub(super) kernel: Hash,
    pub(super) common: Option<Hash>,
    pub(super) shape: CallShape,
    pub(super) units: u64,
    pub(super) probe: u64,
    /// No batch is larger, because a larger one ran out of time or memory.
    pub(super) most_units: u64,

    pub(super) state: JobState,
    pub(super) error: Option<Refusal>,
    /// Parts that failed, known when all are done.
    pub(super) failed_parts: u64,
    pub(super) created_at: Moment,
    pub(super) started_at: Option<Moment>,
    pub(super) finished_at: Option<Moment>,
    /// What a job that is about to fail put out.
    pub(super) result: Option<String>,
    pub(super) partial: Option<String>,
    pub(super) partial_at: Moment,

    /// Units that nobody has.
    pub(super) open: SpanSet,
    /// Tasks that are out, by first unit.
    pub(super) issued: BTreeMap<u64, Task>,
    /// Tasks that failed and wait, by first unit.
    pub(super) retries: BTreeMap<u64, Task>,
    /// Shared with a merge that is under way.
    pub(super) done: Arc<BTreeMap<Span, Outputs>>,
    pub(super) done_units: u64,
    pub(super) done_bytes: u64,
    /// How many of those are in its owner's books.
    pub(super) booked_bytes: usize,
    pub(super) issued_units: u64,
    pub(super) gas: Gas,

    pub(super) live: BTreeSet<AttemptId>,
    pub(super) ended: VecDeque<AttemptView>,
    pub(super) attempts_total: u64,
    pub(super) shares: BTreeMap<NodeId, NodeShare>,
    pub(super) paces: Paces<NodeId>,
    /// Nodes that said they cannot run it.
    pub(super) unfit: BTreeSet<NodeId>,
    /// Which proven nodes could take what failed often, when that was last looked at.
    at_hand: AtHand,
    /// When one was last seen to work for this requester.
    worked_at: Moment,

    /// What it was given, in microseconds of one core; where its owner's others stood, when it began to wait.
    pub(super) work: u64,
    /// A call of it was seen to run for long, while others waited.
    pub(super) long: bool,
    /// Its place in the line, while it has one.
    pub(super) waits: Option<Turn>,
    /// When a node that meets its requirements was last seen connected; before that, when the wait began.
    pub(super) chance_at: Moment,

    /// It changed since its last event.
    pub(super) changed: bool,
    pub(super) told_at: Moment,
    /// Why it waited then.
    pub(super) told_reason: Option<WaitReason>,
}

impl Entry {
    pub(super) fn new(id: JobId, job: Job, now: Moment) -> Self {
        let Job { holder, kind, metadata, source, requirements, policy, plan } = job;
        let (units, shape) = (plan.units(), plan.shape());
        let common = plan.common().map(Blob::hash);
        Self {
            id,
            holder,
            kind: kind.to_owned(),
            metadata,
            source,
            requirements,
            policy,
            kernel: plan.kernel().hash(),
            common,
            shape,
            units,
            probe: probe_units(shape, units),
            most_units: u64::MAX,
            plan: Some(Arc::from(plan)),
            state: JobState::Queued,
            error: None,
            failed_parts: 0,
            created_at: now,
            started_at: None,
            finished_at: None,
            result: None,
            partial: None,
            partial_at: Moment(0),
            open: SpanSet::full(units),
            issued: BTreeMap::new(),
            retries: BTreeMap::new(),
            done: Arc::default(),
            done_units: 0,
            done_bytes: 0,
            booked_bytes: 0,
            issued_units: 0,
            gas: Gas(0),
            live: BTreeSet::new(),
            ended: VecDeque::new(),
            attempts_total: 0,
            shares: BTreeMap::new(),
            paces: Paces::default(),
            unfit: BTreeSet::new(),
            at_hand: AtHand::Nobody,
            worked_at: Moment(0),
            work: 0,
            long: false,
            waits: None,
            chance_at: now,
            changed: true,
            told_at: Moment(0),
            told_reason: None,
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
        let waits = !self.open.is_empty() || !self.retries.is_empty();
        waits && !self.state.is_final()
    }

    pub(super) fn timeout(&self) -> Millis {
        Millis(u64::from(self.requirements.timeout_seconds) * 1000)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            gas: Limits::default().gas.max(Gas(GAS_A_SECOND * u64::from(self.requirements.timeout_seconds))),
            memory_bytes: u64::from(self.requirements.memory_mib) << 20,
            output_bytes: MAX_OUTPUT,
            time_millis: self.timeout().0,
        }
    }

    /// Takes the next task for a node: a failed one whose pause is over, else open units, as many as suit it.
    /// `is_proven`: the node has delivered before. `ramps`: it still shows how many cores it has. `another(only_proven)` says
    /// whether a node could take a task on which it has not failed.
    pub(super) fn next_task(
        &mut self,
        now: Moment,
        node: NodeId,
        cores: u16,
        is_proven: bool,
        ramps: bool,
        another: impl Fn(&Self, &Task, bool) -> bool,
    ) -> Option<Task> {
        if self.unfit.contains(&node) {
            return None;
        }
        let may_go = |task: &&Task| {
            let another = |only_proven| another(self, task, only_proven);
            now >= task.not_before && task.may_go_to(now, node, is_proven, self, another)
        };
        let retry = self.retries.values().find(may_go).map(|task| task.span.start);
        if let Some(task) = retry.and_then(|start| self.retries.remove(&start)) {
            return Some(task);
        }
        let pace = self.paces.get(node);
        // Until its speed is known, a node gets one probe a core.
        if pace.rate.is_none() && pace.outstanding >= u32::from(cores) {
            return None;
        }
        let plan = self.plan.as_ref()?;
        let first = self.open.first()?;
        if !self.can_give() {
            return None;
        }
        let most = plan.most_units_a_batch(first).min(self.most_units);
        let units = self.paces.batch_units(node, self.open.units(), self.timeout(), self.probe, ramps);
        let calls = match self.shape {
            CallShape::WholeSpan => u64::MAX,
            CallShape::EachUnit => crate::wire::MAX_CALLS,
        };
        self.open.take(units.min(most).min(calls)).map(Task::new)
    }

    /// Whether a span is the step over all other outputs.
    pub(super) fn is_last_step(&self, span: Span) -> bool {
        span.start + 1 == self.units && self.plan.as_ref().is_some_and(|plan| plan.has_last_step())
    }

    /// Whether some unit is open now; the last step is not, while others are out.
    pub(super) fn can_give(&self) -> bool {
        self.open.first().is_some_and(|first| {
            !self.is_last_step(Span { start: first, end: self.units }) || self.done_units + 1 == self.units
        })
    }

    /// Whether something of it could go out at once, if there were a node for it.
    pub(super) fn could_go(&self, now: Moment) -> bool {
        self.can_give() || self.retries.values().any(|task| now >= task.not_before)
    }

    /// What one call of a batch covers.
    pub(super) fn call_span(&self, span: Span, call: u64) -> Span {
        match self.shape {
            CallShape::WholeSpan => span,
            CallShape::EachUnit => Span { start: span.start + call, end: span.start + call + 1 },
        }
    }

    /// Judges what a node delivered for a span of `calls` calls.
    pub(super) fn judge(&self, span: Span, calls: u64, report: crate::engine::BatchReport) -> Verdict {
        let mut before: Outputs = Vec::with_capacity(report.outcomes.len());
        let bad = |before, refusal, deterministic, too_much, placed| Verdict::Bad {
            before,
            refusal,
            deterministic,
            too_much,
            placed,
        };
        let Some(plan) = &self.plan else { return Verdict::Good(before) };
        for (call, outcome) in (0..calls).zip(report.outcomes) {
            let covers = self.call_span(span, call);
            match outcome.output {
                Ok(output) => {
                    if let Err(refusal) = plan.check(covers, &output) {
                        // A kernel's own failure comes with its place; an output of no kernel has none.
                        let placed = refusal.code != Code::MergeFailed;
                        return bad(before, refusal, true, false, placed);
                    }
                    before.push(output);
                }
                Err(trap) => {
                    use crate::engine::Trap;
                    let too_much = match trap {
                        Trap::OutOfGas | Trap::OutOfMemory => self.shape == CallShape::WholeSpan && span.len() > 1,
                        Trap::TimedOut => span.len() > 1,
                        // It may be that the outputs together were too much to deliver.
                        Trap::HostFailed => !before.is_empty(),
                        Trap::Trapped
                        | Trap::StackOverflow
                        | Trap::BrokenContract
                        | Trap::OutputTooLarge
                        | Trap::Cancelled => false,
                    };
                    let placed = covers.len() == 1;
                    return bad(before, explain_trap(trap, covers), trap.is_deterministic(), too_much, placed);
                }
            }
        }
        if (before.len() as u64) < calls {
            let refusal = Refusal::new(Code::Internal, "the node delivered less than it was asked", "");
            return bad(before, refusal, false, false, false);
        }
        Verdict::Good(before)
    }

    /// How many of a batch's units its first `calls` outputs cover.
    pub(super) fn units_of(&self, span: Span, calls: usize) -> u64 {
        match self.shape {
            CallShape::WholeSpan => 0, // its only call failed
            CallShape::EachUnit => (calls as u64).min(span.len()),
        }
    }

    /// Takes outputs into the result, of whoever made them.
    pub(super) fn keep(&mut self, span: Span, outputs: Outputs) {
        self.done_units += span.len();
        self.done_bytes += outputs.iter().map(|output| output.len() as u64 + 24).sum::<u64>();
        Arc::make_mut(&mut self.done).insert(span, outputs);
        self.changed = true;
    }

    /// All that it has gathered, to be merged.
    pub(super) fn gathered(&self) -> Option<Merge> {
        Some(Merge::new(Arc::clone(self.plan.as_ref()?), Arc::clone(&self.done)))
    }

    /// Takes a node's outputs into the result.
    pub(super) fn accept(&mut self, node: NodeId, span: Span, outputs: Outputs, gas: Gas) {
        self.gas += gas;
        let tasks = outputs.len() as u64;
        if self.shares.len() < MOST_SHARES || self.shares.contains_key(&node) {
            let share = self.shares.entry(node).or_insert(NodeShare { node, units: 0, tasks: 0, gas: Gas(0) });
            share.units += span.len();
            share.tasks += tasks;
            share.gas += gas;
        }
        self.keep(span, outputs);
    }

    /// Writes a failure into a task and says when and whether it goes out again.
    pub(super) fn fail_task(
        &mut self,
        now: Moment,
        mut task: Task,
        mut failure: Failure,
        around: &Circumstances,
    ) -> Fate {
        self.note_at_hand(now, around.at_hand);
        if around.is_proven {
            self.worked_at = now;
        }
        let hopes = self.at_hand != AtHand::Nobody || self.worked_lately(now);
        // What every node should come to is heard from a node that nobody knows only where nobody else can say, or has.
        failure.deterministic &= around.is_proven || !hopes || task.has_verdict;
        let first = task.failures.iter().find(|known| known.deterministic && known.node != failure.node).cloned();
        if failure.deterministic {
            if let Some(first) = first {
                let place = format!("nodes {} and {}", first.node, failure.node);
                return self.give_up(&task, &failure, self.name_task(&task, &failure, &place));
            }
            if !around.another {
                return self.believe(&task, &failure);
            }
            task.has_verdict |= around.is_proven;
            task.believe_at = Some(now + CONFIRM);
            task.not_before = now;
        } else {
            task.tries = task.tries.saturating_add(1);
            task.proven_tries += u32::from(around.is_proven);
            if task.is_exhausted(self.policy.retries, around, hopes) {
                if task.span.len() > 1 && failure.refusal.code == Code::TimedOut && self.contains_failures() {
                    // Nobody said which unit it was.
                    task.failures.push(failure);
                    for half in task.halves(self.policy.retries) {
                        self.retries.insert(half.span.start, half);
                    }
                    return Fate::Again;
                }
                return self.give_up(&task, &failure, self.exhausted(&task, &failure));
            }
            let pause = (RETRY_MILLIS.0 << (task.tries - 1).min(10)).min(RETRY_MILLIS.1);
            task.not_before = now + Millis(pause);
        }
        task.failures.push(failure);
        self.retries.insert(task.span.start, task);
        Fate::Again
    }

    /// A task that may not be tried again: its unit fails, where that is no more than one part of the job, else the job.
    fn give_up(&self, task: &Task, failure: &Failure, refusal: Refusal) -> Fate {
        if task.span.len() > 1 || self.is_last_step(task.span) {
            return Fate::Ends(refusal);
        }
        // What any node would come to decides alone; whatever else went wrong, one node has said that it was the unit's own.
        let before = if failure.deterministic { &[][..] } else { &task.failures };
        let said = before.iter().chain([failure]).filter(|failure| !failure.silent);
        match said.filter_map(|failure| self.plan.as_ref()?.instead(&failure.refusal)).next_back() {
            Some(output) => Fate::Instead(task.span, vec![output], refusal),
            None => Fate::Ends(refusal),
        }
    }

    /// Whether nothing has come of the job but what stands for outputs, and so often that it is the job's own failure.
    pub(super) fn comes_to_nothing(&self) -> bool {
        let Some(plan) = &self.plan else { return false };
        let outputs = || self.done.values().flatten();
        outputs().nth(MOST_IN_VAIN - 1).is_some() && outputs().all(|output| plan.is_instead(output))
    }

    /// A failure that nobody is left to confirm.
    fn believe(&self, task: &Task, failure: &Failure) -> Fate {
        self.give_up(task, failure, self.name_task(task, failure, &format!("node {}", failure.node)))
    }

    /// Whether a unit that runs out of time is the unit's own failure.
    fn contains_failures(&self) -> bool {
        let late = Refusal::new(Code::TimedOut, "", "");
        self.plan.as_ref().is_some_and(|plan| plan.instead(&late).is_some())
    }

    /// What a task that may not be tried again ends the job with: the cause, if it was the same each time.
    fn exhausted(&self, task: &Task, failure: &Failure) -> Refusal {
        let mut refusal = self.name_task(task, failure, &format!("node {}", failure.node));
        let same = task.failures.iter().all(|known| known.refusal.code == refusal.code);
        let times = match task.failures.len() + 1 {
            1 => "1 time".to_owned(),
            times => format!("{times} times"),
        };
        let last = if same { "" } else { ", most recently" };
        refusal.message = format!("a task failed {times}{last}: {}", refusal.message);
        // `internal` is a fault of the node that says so, and this one has none.
        if !same || refusal.code == Code::Internal {
            refusal.code = Code::RetriesExhausted;
        }
        refusal
    }

    /// A failure in words that name the place, once, and the node.
    fn name_task(&self, task: &Task, failure: &Failure, place: &str) -> Refusal {
        let mut refusal = failure.refusal.clone();
        let Span { start, end } = task.span;
        let units = match end - start {
            _ if failure.placed => None,
            1 => Some(format!("unit {start} of {}", self.units)),
            _ => Some(format!("units {start} to {} of {}", end - 1, self.units)),
        };
        let on = (!refusal.message.contains(place)).then(|| format!("on {place}"));
        let parts: Vec<String> = units.into_iter().chain(on).collect();
        if !parts.is_empty() {
            refusal.message = format!("{} ({})", refusal.message, parts.join(", "));
        }
        refusal
    }

    /// Takes out a task that failed everywhere, with nobody left to confirm it: what becomes of it, and where it failed
    /// last.
    pub(super) fn unconfirmed(&mut self, now: Moment) -> Option<(Fate, NodeId)> {
        let start = self.retries.values().find(|task| task.believe_at.is_some_and(|at| now >= at))?.span.start;
        let task = self.retries.remove(&start)?;
        let failure = task.failures.last()?;
        Some((self.believe(&task, failure), failure.node))
    }

    /// Notes which proven nodes could take what failed often.
    pub(super) fn note_at_hand(&mut self, now: Moment, at_hand: AtHand) {
        self.at_hand = at_hand;
        match at_hand {
            AtHand::Works => self.worked_at = now,
            AtHand::Idles | AtHand::Nobody => {}
        }
    }

    /// Whether a proven node worked for this requester a moment ago: it may be away, or without work, for that moment alone.
    fn worked_lately(&self, now: Moment) -> bool {
        now < self.worked_at + WAITED
    }

    /// Whether something waits that goes to proven nodes first.
    pub(super) fn wants_proven(&self) -> bool {
        self.retries.values().any(|task| task.wants_proven(self.policy.retries))
    }

    /// Puts a task that is not out any more back among what waits, without blame.
    pub(super) fn reopen(&mut self, task: Task) {
        let restarts = task.restarts + task.proven_restarts;
        if task.failures.is_empty() && task.interrupted == 0 && restarts == 0 {
            self.open.put(task.span);
        } else {
            self.retries.insert(task.span.start, task);
        }
    }

    /// Notes an attempt that ended.
    pub(super) fn note(&mut self, view: AttemptView) {
        if self.ended.len() >= MOST_SHOWN {
            self.ended.pop_front();
        }
        self.ended.push_back(view);
        self.changed = true;
    }
}

impl Attempt {
    /// How it is shown.
    pub(super) fn view(&self, id: AttemptId) -> AttemptView {
        AttemptView {
            id,
            span: self.span,
            tasks: self.calls,
            node: self.node,
            state: if matches!(self.rest, Rest::Since(_)) { AttemptState::Resting } else { self.state },
            engine: None,
            gas: Gas(0),
            assigned_at: self.assigned_at,
            ended_at: None,
            error: None,
        }
    }

    /// How it is shown after it ended.
    pub(super) fn end(
        &self,
        id: AttemptId,
        state: AttemptState,
        engine: Option<EngineName>,
        gas: Gas,
        now: Moment,
        error: Option<Refusal>,
    ) -> AttemptView {
        AttemptView { state, engine, gas, ended_at: Some(now), error, ..self.view(id) }
    }
}

fn explain_trap(trap: crate::engine::Trap, span: Span) -> Refusal {
    use crate::engine::Trap;
    let place = if span.len() == 1 { format!(" at unit {}", span.start) } else { String::new() };
    let (what, hint) = match trap {
        Trap::Trapped => ("the kernel trapped", "check the kernel for unreachable code and out-of-bounds access"),
        Trap::OutOfGas => ("the kernel ran out of gas", "look for a loop that does not end"),
        Trap::OutOfMemory => ("the kernel asked for more memory than a task may use", "raise requirements.ram_gb"),
        Trap::StackOverflow => ("the kernel recursed too deep", "use a loop, or recurse less deep"),
        Trap::BrokenContract => (
            "the kernel broke the contract of alloc and run",
            "`alloc` must give room for the input, and `run` an output that lies in memory: see docs/kernels.md",
        ),
        Trap::OutputTooLarge => {
            let message = format!("a call put out more than {} MiB{place}", MAX_OUTPUT >> 20);
            return Refusal::new(trap.code(), message, "put less out, or cut the input into smaller parts");
        }
        Trap::TimedOut => ("the kernel ran over its time", "raise requirements.timeout_seconds, or make tasks smaller"),
        Trap::Cancelled => ("the node stopped the task", ""),
        Trap::HostFailed => (
            "the node could not run the task",
            "the log of the node that it ran on says why; submit the job again, and report it if that ends in the same way",
        ),
    };
    Refusal::new(trap.code(), format!("{what}{place}"), hint)
}
