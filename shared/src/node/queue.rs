//! The provider's queue: by priority, and among requesters of one priority in turn, so that nobody who sends much keeps
//! out those who send little.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use crate::{
    id::{AttemptId, NodeId},
    job::Priority,
};

/// A batch: whose, and which.
pub(super) type Key = (NodeId, AttemptId);

/// Batches that wait for a core.
#[derive(Default)]
pub(super) struct Queue {
    /// By priority (highest first), then by the turn of the requester (lowest first).
    turns: BTreeMap<(Reverse<Priority>, u64), NodeId>,
    lines: BTreeMap<(Reverse<Priority>, NodeId), Line>,
    turn: u64,
    len: usize,
}

/// What one requester has waiting at one priority.
struct Line {
    turn: u64,
    attempts: VecDeque<AttemptId>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, priority: Priority, key: Key) {
        let place = (Reverse(priority), key.0);
        if let Some(line) = self.lines.get_mut(&place) {
            line.attempts.push_back(key.1);
        } else {
            self.turn += 1;
            self.turns.insert((place.0, self.turn), key.0);
            self.lines.insert(place, Line { turn: self.turn, attempts: VecDeque::from([key.1]) });
        }
        self.len += 1;
    }

    /// The next batch to run. Its requester goes to the end of its priority's line.
    pub(super) fn pop(&mut self) -> Option<Key> {
        let ((priority, _), node) = self.turns.pop_first()?;
        let line = self.lines.get_mut(&(priority, node))?;
        let attempt = line.attempts.pop_front()?;
        self.len -= 1;
        if line.attempts.is_empty() {
            self.lines.remove(&(priority, node));
        } else {
            self.turn += 1;
            line.turn = self.turn;
            self.turns.insert((priority, self.turn), node);
        }
        Some((node, attempt))
    }

    pub(super) fn remove(&mut self, priority: Priority, key: Key) {
        let place = (Reverse(priority), key.0);
        let Some(line) = self.lines.get_mut(&place) else { return };
        let before = line.attempts.len();
        line.attempts.retain(|attempt| *attempt != key.1);
        self.len -= before - line.attempts.len();
        if line.attempts.is_empty() {
            let turn = line.turn;
            self.lines.remove(&place);
            self.turns.remove(&(place.0, turn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_first_then_requesters_in_turn() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut queue = Queue::default();
        for attempt in 0..3 {
            queue.push(Priority::Normal, (a, AttemptId(attempt)));
        }
        queue.push(Priority::Normal, (b, AttemptId(7)));
        queue.push(Priority::High, (b, AttemptId(8)));
        queue.remove(Priority::Normal, (a, AttemptId(1)));
        assert_eq!(queue.len(), 4);
        let order: Vec<Key> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(b, AttemptId(8)), (a, AttemptId(0)), (b, AttemptId(7)), (a, AttemptId(2))]);
        assert_eq!(queue.len(), 0);
        queue.push(Priority::Low, (a, AttemptId(9)));
        queue.remove(Priority::Low, (a, AttemptId(9)));
        assert_eq!(queue.pop(), None);
    }
}
