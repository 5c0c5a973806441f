//! What a requester wants no longer, as far as the node that has it may not have heard so. Nobody answers a `Cancel`, and a
//! connection that died is noticed late: what was said meanwhile is lost, and the node would compute for nobody. So whatever
//! ends before its node is done with it is noted here for a while, and said again over the node's next connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{AttemptId, NodeId},
    units::{Millis, Moment},
};

/// Noted of one node; beyond it, what was given out first is forgotten. No provider takes more batches of one requester.
const MOST_OF_A_NODE: usize = 4096;
/// Noted in all; beyond it, the node is forgotten whose last was noted first.
const MOST: usize = 65_536;
/// How long what was said counts as on its way: a dead connection is noticed within half of it.
const UNDER_WAY: Millis = Millis(60_000);

/// What nodes had that ended.
#[derive(Default)]
pub(super) struct CalledOff {
    of: BTreeMap<NodeId, Ended>,
    /// The nodes, whose last was noted first.
    order: BTreeSet<(Moment, NodeId)>,
    /// Attempts of all of them.
    len: usize,
}

/// Of one node.
#[derive(Default)]
struct Ended {
    noted_at: Moment,
    /// When it was said of each, over a connection that is not known to be broken.
    said: BTreeMap<AttemptId, Option<Moment>>,
}

impl CalledOff {
    /// An attempt ended before its node was done with it; `said` when the node is told at this moment.
    pub(super) fn note(&mut self, node: NodeId, attempt: AttemptId, now: Moment, said: bool) {
        self.change(node, |ended| {
            ended.noted_at = now;
            ended.said.insert(attempt, said.then_some(now));
            while ended.said.len() > MOST_OF_A_NODE {
                ended.said.pop_first();
            }
        });
        while self.len > MOST {
            let Some((_, node)) = self.order.first().copied() else { return };
            self.change(node, |ended| ended.said.clear());
        }
    }

    /// A node says that it is done with an attempt.
    pub(super) fn done(&mut self, node: NodeId, attempt: AttemptId) {
        if self.of.contains_key(&node) {
            self.change(node, |ended| _ = ended.said.remove(&attempt));
        }
    }

    /// The connection to a node broke: what was said shortly before was not heard, for all that is known.
    pub(super) fn broke(&mut self, node: NodeId, now: Moment) {
        self.change(node, |ended| {
            ended.forget_heard(now);
            ended.said.values_mut().for_each(|said| *said = None);
        });
    }

    /// What a node is to be told that is there again. It counts as said from now on.
    pub(super) fn unheard(&mut self, node: NodeId, now: Moment) -> Vec<AttemptId> {
        let mut unheard = Vec::new();
        self.change(node, |ended| {
            ended.forget_heard(now);
            ended.said.values_mut().for_each(|said| *said = Some(now));
            unheard.extend(ended.said.keys().copied());
        });
        unheard
    }

    fn change(&mut self, node: NodeId, change: impl FnOnce(&mut Ended)) {
        let mut ended = self.of.remove(&node).unwrap_or_default();
        self.order.remove(&(ended.noted_at, node));
        self.len -= ended.said.len();
        change(&mut ended);
        if !ended.said.is_empty() {
            self.len += ended.said.len();
            self.order.insert((ended.noted_at, node));
            self.of.insert(node, ended);
        }
    }

    /// Whether the parts agree and keep their bounds.
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let counted = self.of.values().map(|ended| ended.said.len()).sum::<usize>() == self.len;
        let listed = self.of.iter().all(|(node, ended)| self.order.contains(&(ended.noted_at, *node)));
        let bounded = self.len <= MOST && self.of.values().all(|ended| ended.said.len() <= MOST_OF_A_NODE);
        let right = counted && listed && self.order.len() == self.of.len() && bounded;
        if right { Ok(()) } else { Err("what nodes are to be told that is wanted no longer") }
    }
}

impl Ended {
    fn forget_heard(&mut self, now: Moment) {
        self.said.retain(|_, said| said.is_none_or(|at| now < at + UNDER_WAY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([7; 32]);
    const NOW: Moment = Moment(1_000_000);

    fn after(millis: u64) -> Moment {
        NOW + Millis(millis)
    }

    #[test]
    fn what_was_said_is_said_again_for_a_minute_and_what_could_not_be_said_until_it_can() {
        let mut called_off = CalledOff::default();
        called_off.note(NODE, AttemptId(1), NOW, true);
        called_off.note(NODE, AttemptId(2), after(40_000), true);
        called_off.broke(NODE, after(65_000));
        called_off.note(NODE, AttemptId(3), after(70_000), false);
        assert_eq!(called_off.unheard(NODE, after(10_000_000)), [AttemptId(2), AttemptId(3)]);
        // Another connection takes the place of that one, which nobody saw break.
        assert_eq!(called_off.unheard(NODE, after(10_030_000)), [AttemptId(2), AttemptId(3)]);
        called_off.done(NODE, AttemptId(3));
        assert_eq!(called_off.unheard(NODE, after(10_060_000)), [AttemptId(2)]);
        assert_eq!(called_off.unheard(NODE, after(10_120_000)), []);
        assert!(called_off.of.is_empty() && called_off.audit() == Ok(()));
    }

    #[test]
    fn however_much_is_called_off_no_more_is_kept_than_nodes_may_have_and_the_newest_of_it() {
        let mut called_off = CalledOff::default();
        let first = NodeId([0; 32]);
        called_off.note(first, AttemptId(0), NOW, false);
        for attempt in 0..2 * MOST_OF_A_NODE as u64 {
            called_off.note(NODE, AttemptId(attempt), after(1 + attempt), false);
        }
        assert_eq!((called_off.len, called_off.audit()), (MOST_OF_A_NODE + 1, Ok(())));
        // Nodes that come, take something, and are never seen again.
        for name in 0..MOST as u64 {
            let mut node = NodeId([9; 32]);
            node.0[..8].copy_from_slice(&name.to_be_bytes());
            called_off.note(node, AttemptId(name), after(100_000 + name), false);
        }
        assert_eq!(called_off.audit(), Ok(()));
        assert!(called_off.len > MOST - MOST_OF_A_NODE);
        assert_eq!(called_off.unheard(first, after(200_000)), []);
        let mut last = NodeId([9; 32]);
        last.0[..8].copy_from_slice(&(MOST as u64 - 1).to_be_bytes());
        assert_eq!(called_off.unheard(last, after(200_000)), [AttemptId(MOST as u64 - 1)]);
    }

    #[test]
    fn of_one_node_what_was_given_out_last_is_kept() {
        let mut called_off = CalledOff::default();
        for attempt in 0..=MOST_OF_A_NODE as u64 {
            called_off.note(NODE, AttemptId(attempt), NOW, true);
        }
        let said = called_off.unheard(NODE, NOW);
        assert_eq!((said.len(), said.first()), (MOST_OF_A_NODE, Some(&AttemptId(1))));
    }
}
