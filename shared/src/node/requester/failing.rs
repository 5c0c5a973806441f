//! What a failure means for its batch and its job: another try, a shorter batch, a unit that counts as failed, or the end.

use super::{
    batch::{AtHand, Batch, Circumstances, Failure, Fate},
    running::Running,
};
use crate::{
    id::NodeId,
    refusal::{Code, Refusal},
    units::{Millis, Moment, Span},
};

/// Units that failed by themselves after which a job that has come to nothing else ends: it would waste others' processors.
const MOST_IN_VAIN: usize = 16;
/// First and longest pause before a failed batch is tried again.
const RETRY_MILLIS: (u64, u64) = (100, 5_000);
/// How long a failure that every node should come to waits for a second node to confirm it.
const CONFIRM: Millis = Millis(5_000);

impl Running {
    /// Writes a failure into a batch and says when and whether it goes out again.
    pub(super) fn fail_batch(
        &mut self,
        now: Moment,
        mut batch: Batch,
        mut failure: Failure,
        around: &Circumstances,
    ) -> Fate {
        self.note_at_hand(now, around.at_hand);
        if around.is_proven {
            self.saw_work(now);
        }
        let hopes = self.at_hand() != AtHand::Nobody || self.worked_lately(now);
        // What every node should come to is heard from a node that nobody knows only where nobody else can say, or has.
        failure.deterministic &= around.is_proven || !hopes || batch.has_verdict;
        let first = batch.failures.iter().find(|known| known.deterministic && known.node != failure.node).cloned();
        if failure.deterministic {
            if let Some(first) = first {
                let place = format!("nodes {} and {}", first.node, failure.node);
                return self.give_up(&batch, &failure, self.name_batch(&batch, &failure, &place));
            }
            if !around.another {
                return self.believe(&batch, &failure);
            }
            batch.has_verdict |= around.is_proven;
            batch.believe_at = Some(now + CONFIRM);
            batch.not_before = now;
        } else {
            batch.tries = batch.tries.saturating_add(1);
            batch.proven_tries += u32::from(around.is_proven);
            if batch.is_exhausted(self.policy.retries, around, hopes) {
                if batch.span.len() > 1 && failure.refusal.code == Code::TimedOut && self.contains_failures() {
                    // Nobody said which unit it was.
                    batch.failures.push(failure);
                    for half in batch.halves(self.policy.retries) {
                        self.batches.put(half);
                    }
                    return Fate::Again;
                }
                return self.give_up(&batch, &failure, self.exhausted(&batch, &failure));
            }
            let pause = (RETRY_MILLIS.0 << (batch.tries - 1).min(10)).min(RETRY_MILLIS.1);
            batch.not_before = now + Millis(pause);
        }
        batch.failures.push(failure);
        self.batches.put(batch);
        Fate::Again
    }

    /// A batch that may not be tried again: its unit fails, where that is no more than one part of the job, else the job.
    fn give_up(&self, batch: &Batch, failure: &Failure, refusal: Refusal) -> Fate {
        if batch.span.len() > 1 {
            return Fate::Ends(refusal);
        }
        // What any node would come to decides alone; whatever else went wrong, one node has said that it was the unit's own.
        let before = if failure.deterministic { &[][..] } else { &batch.failures };
        let said = before.iter().chain([failure]).filter(|failure| !failure.silent);
        match said.filter_map(|failure| self.plan.instead(&failure.refusal)).next_back() {
            Some(output) => Fate::Instead(batch.span, vec![output], refusal),
            None => Fate::Ends(refusal),
        }
    }

    /// Whether nothing has come of the job but what stands for outputs, and so often that it is the job's own failure.
    pub(super) fn comes_to_nothing(&self) -> bool {
        let plan = &self.plan;
        let outputs = || self.gathered.outputs().values().flatten();
        outputs().nth(MOST_IN_VAIN - 1).is_some() && outputs().all(|output| plan.is_instead(output))
    }

    /// A failure that nobody is left to confirm.
    fn believe(&self, batch: &Batch, failure: &Failure) -> Fate {
        self.give_up(batch, failure, self.name_batch(batch, failure, &format!("node {}", failure.node)))
    }

    /// Whether a unit that runs out of time is the unit's own failure.
    fn contains_failures(&self) -> bool {
        let late = Refusal::new(Code::TimedOut, "", "");
        self.plan.instead(&late).is_some()
    }

    /// What a batch that may not be tried again ends the job with: the cause, if it was the same each time.
    fn exhausted(&self, batch: &Batch, failure: &Failure) -> Refusal {
        let mut refusal = self.name_batch(batch, failure, &format!("node {}", failure.node));
        let same = batch.failures.iter().all(|known| known.refusal.code == refusal.code);
        let times = match batch.failures.len() + 1 {
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
    fn name_batch(&self, batch: &Batch, failure: &Failure, place: &str) -> Refusal {
        let mut refusal = failure.refusal.clone();
        let Span { start, end } = batch.span;
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

    /// Takes out a batch that failed everywhere, with nobody left to confirm it: what becomes of it, and where it failed
    /// last.
    pub(super) fn unconfirmed(&mut self, now: Moment) -> Option<(Fate, NodeId)> {
        let start = self.batches.waiting().find(|batch| batch.believe_at.is_some_and(|at| now >= at))?.span.start;
        let batch = self.batches.take_waiting(start)?;
        let failure = batch.failures.last()?;
        Some((self.believe(&batch, failure), failure.node))
    }
}
