//! A batch of one job: a span of units that went out, or failed and waits to go out again, and what is known of it.

use super::verify::Claim;
use crate::{
    id::{AttemptId, NodeId},
    job::Outputs,
    refusal::Refusal,
    units::{Millis, Moment, Span},
};

/// Restarts of nodes that a batch meets with while it runs and that cost nothing: people reload pages, and each reload is one.
const RESTARTS: u32 = 12;
/// How long a batch waits at most for nodes that do nothing for this requester, before it goes to others again.
pub(super) const WAITED: Millis = Millis(60_000);

/// A span that went out as one batch, or failed and waits to go out again.
pub(super) struct Batch {
    pub(super) span: Span,
    /// Attempts that may still deliver.
    live: Vec<AttemptId>,
    /// Where it failed.
    pub(super) failures: Vec<Failure>,
    /// Failures that count against the policy, and how many of them on nodes that had delivered before.
    pub(super) tries: u32,
    pub(super) proven_tries: u32,
    /// How often it gave way to the job of another owner.
    pub(super) interrupted: u32,
    /// A proven node said that it fails anywhere: whoever agrees confirms it.
    pub(super) has_verdict: bool,
    /// What nodes say came of it, where one alone is not believed.
    pub(super) claims: Vec<Claim>,
    /// How often a node restarted that had it, and how often one that had delivered before.
    pub(super) restarts: u32,
    pub(super) proven_restarts: u32,
    /// It waits until then; since then, it has waited for a node.
    pub(super) not_before: Moment,
    /// When a failure that waits for confirmation is believed without.
    pub(super) believe_at: Option<Moment>,
}

/// One failure of a batch.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) node: NodeId,
    pub(super) refusal: Refusal,
    /// Whether any honest node would come to the same end.
    pub(super) deterministic: bool,
    /// Whether the refusal says at which unit, number or item it happened.
    pub(super) placed: bool,
    /// Whether the node said nothing, so that this is no word about the batch.
    pub(super) silent: bool,
}

impl Failure {
    /// One that says something of its node alone.
    pub(super) fn of_node(node: NodeId, refusal: Refusal) -> Self {
        Self { node, refusal, deterministic: false, placed: false, silent: false }
    }

    /// One that any honest node would come to.
    pub(super) fn of_batch(node: NodeId, refusal: Refusal) -> Self {
        Self { deterministic: true, ..Self::of_node(node, refusal) }
    }

    /// The node said nothing in its time.
    pub(super) fn of_silence(node: NodeId, refusal: Refusal) -> Self {
        Self { silent: true, ..Self::of_node(node, refusal) }
    }
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
    /// Whether there is a node on which the batch has not failed.
    pub(super) another: bool,
    /// Who could take it.
    pub(super) at_hand: AtHand,
}

impl Batch {
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
            claims: Vec::new(),
            not_before: Moment(0),
            believe_at: None,
        }
    }

    /// Attempts that may still deliver.
    pub(super) fn attempts(&self) -> &[AttemptId] {
        &self.live
    }

    /// Whether some node has it.
    pub(super) fn is_out(&self) -> bool {
        !self.live.is_empty()
    }

    /// Whether an attempt is the only one of it.
    pub(super) fn is_alone(&self, attempt: AttemptId) -> bool {
        self.live == [attempt]
    }

    /// It goes out with an attempt.
    pub(super) fn goes_to(&mut self, attempt: AttemptId) {
        self.live.push(attempt);
        self.believe_at = None;
    }

    /// An attempt will bring nothing, or has brought what it was to.
    pub(super) fn leave(&mut self, attempt: AttemptId) {
        self.live.retain(|other| *other != attempt);
    }

    /// Both halves of one that failed as often as it may, each with one more try; a single unit has all of its own.
    pub(super) fn halves(&self, tries: u32) -> [Self; 2] {
        let (first, second) = self.span.split_at(self.span.len() / 2);
        [first, second].map(|span| match span.len() {
            1 => Self::new(span),
            _ => Self { tries, proven_tries: tries, failures: self.failures.clone(), ..Self::new(span) },
        })
    }

    /// Whether so much went wrong with it that only what a proven node makes of it tells whose fault that is: names cost
    /// nothing, and each may take it and bring nothing.
    pub(super) fn wants_proven(&self, retries: u32) -> bool {
        self.restarts.max(self.proven_restarts) >= RESTARTS || self.tries > retries
    }

    /// It has waited for a node since then, if that is given.
    pub(super) fn wait(&mut self, since: Option<Moment>) {
        self.not_before = since.unwrap_or(self.not_before);
    }

    /// Whether it waits for a node for so long that it waits no more for those that do nothing for this requester.
    pub(super) fn has_waited(&self, now: Moment) -> bool {
        now >= self.not_before + WAITED
    }

    /// Whether it has failed as often as it may. What failed on others has yet to go to proven nodes, as often again, where there
    /// are any; and where none of them takes it, once more to others.
    pub(super) fn is_exhausted(&self, retries: u32, last: &Circumstances, hopes: bool) -> bool {
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

    /// Whether a node has said already what came of it.
    pub(super) fn has_claim_of(&self, node: NodeId) -> bool {
        self.claims.iter().any(|claim| claim.node == node)
    }

    pub(super) fn has_failed_on(&self, node: NodeId) -> bool {
        self.failures.iter().any(|failure| failure.node == node)
    }
}

/// What becomes of a batch that failed.
pub(super) enum Fate {
    /// It goes out again, whole or in parts.
    Again,
    /// That was its unit's own failure, and this stands for its output. Where nothing but such comes of the job, it ends.
    Instead(Span, Outputs, Refusal),
    /// The job ends.
    Ends(Refusal),
}
