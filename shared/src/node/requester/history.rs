//! What was done for a running job, and by whom, as it is shown and kept.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    api::{AttemptView, NodeShare},
    engine::Prepared,
    id::{AttemptId, NodeId},
    job::AttemptState,
    units::Gas,
};

/// Attempts that are shown after they ended.
pub(super) const MOST_SHOWN: usize = 1000;
/// Nodes whose shares are kept by name.
const MOST_SHARES: usize = 10_000;

/// Attempts, and what each node's came to.
#[derive(Default)]
pub(super) struct History {
    /// Those that ended, the last of them.
    ended: VecDeque<AttemptView>,
    /// All that there were.
    attempts: u64,
    shares: BTreeMap<NodeId, NodeShare>,
    gas: Gas,
    /// What nodes said that preparing instances took for what was accepted.
    prepared: Prepared,
}

impl History {
    /// As a record has it of attempts.
    pub(super) fn of_before(attempts: u64, ended: Vec<AttemptView>) -> Self {
        Self { attempts, ended: ended.into(), ..Self::default() }
    }

    /// One more attempt goes out.
    pub(super) fn begins(&mut self) {
        self.attempts += 1;
    }

    /// One that ended.
    pub(super) fn ends(&mut self, view: AttemptView) {
        if self.ended.len() >= MOST_SHOWN {
            self.ended.pop_front();
        }
        if view.state == AttemptState::Accepted {
            self.prepared += view.prepared;
        }
        self.ended.push_back(view);
    }

    /// A name for an attempt of which only its outputs are known; it counts as one.
    pub(super) fn name_of_before(&mut self) -> AttemptId {
        self.attempts = self.attempts.max(self.ended.len() as u64) + 1;
        AttemptId(self.attempts)
    }

    /// Outputs of a node were taken.
    pub(super) fn took(&mut self, node: NodeId, units: u64, tasks: u64, gas: Gas) {
        self.gas += gas;
        if self.shares.len() < MOST_SHARES || self.shares.contains_key(&node) {
            let share = self.shares.entry(node).or_insert(NodeShare { node, units: 0, tasks: 0, gas: Gas(0) });
            share.units += units;
            share.tasks += tasks;
            share.gas += gas;
        }
    }

    /// Those that ended, the last ones, in the order in which they did.
    pub(super) fn ended(&self) -> impl DoubleEndedIterator<Item = &AttemptView> + ExactSizeIterator {
        self.ended.iter()
    }

    /// How many attempts there were.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// What came of each node.
    pub(super) fn shares(&self) -> Vec<NodeShare> {
        self.shares.values().cloned().collect()
    }

    /// What preparing instances took beside the gas of calls.
    pub(super) fn prepared(&self) -> Prepared {
        self.prepared
    }

    /// What all that was taken burned.
    pub(super) fn gas(&self) -> Gas {
        self.gas
    }
}
