//! One execution of one batch by one node, as its requester keeps it.

use crate::{
    api::AttemptView,
    engine::{EngineName, Prepared},
    id::{AttemptId, Hash, JobId, NodeId},
    job::AttemptState,
    refusal::Refusal,
    units::{Gas, Millis, Moment, Span},
};

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
    /// Another attempt of its batch was out before.
    pub(super) copy: bool,
    /// Another one was first; it may still show the pace of its node.
    pub(super) superseded: bool,
    /// What of it is counted as work of its owner so far, in microseconds of one core.
    pub(super) charged: u64,
    /// What it took in the end, if it was delivered.
    pub(super) took: Option<u64>,
    /// What its node said that preparing instances for it took, if it was delivered.
    pub(super) prepared: Prepared,
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

/// What its node said of how it ran, if it did.
#[derive(Clone, Copy, Default)]
pub(super) struct Ran {
    pub(super) engine: Option<EngineName>,
    pub(super) gas: Gas,
    pub(super) prepared: Prepared,
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
            prepared: Prepared::default(),
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
        ran: Ran,
        now: Moment,
        error: Option<Refusal>,
    ) -> AttemptView {
        let Ran { engine, gas, prepared } = ran;
        AttemptView { state, engine, gas, prepared, ended_at: Some(now), error, ..self.view(id) }
    }
}
