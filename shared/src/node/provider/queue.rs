//! The provider's queue. Requesters take turns by the core time that they were given, so that nobody who sends much, or
//! long, or calls everything urgent keeps out those who send little. Priority orders the batches of one requester.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use crate::{
    id::{AttemptId, NodeId},
    job::Priority,
};

/// A batch: whose, and which.
pub(super) type Key = (NodeId, AttemptId);

/// What a batch counts until it is known what it took, in microseconds.
const UNKNOWN_MICROS: u64 = 50_000;
/// What it counts before it has run at most, however long the last one took: what it takes counts while it runs.
const MOST_AHEAD_MICROS: u64 = 2_000_000;

/// Batches that wait for a core.
#[derive(Default)]
pub(super) struct Queue {
    lines: BTreeMap<NodeId, Line>,
    /// Requesters with batches that wait: who was given least first; among equals, who was served longest ago.
    turns: BTreeSet<(u64, u64, NodeId)>,
    /// Where the requester who was served last stood. Whoever begins to wait begins there.
    reached: u64,
    served: u64,
    len: usize,
}

/// What one requester has waiting, and what it was given.
#[derive(Default)]
struct Line {
    /// Core time, in microseconds.
    given: u64,
    /// When it was served last, as a count of servings.
    served: u64,
    /// What its last batch took.
    took: Option<u64>,
    waiting: BTreeMap<Reverse<Priority>, VecDeque<AttemptId>>,
}

impl Line {
    fn turn(&self, node: NodeId) -> (u64, u64, NodeId) {
        (self.given, self.served, node)
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, priority: Priority, key: Key) {
        let line = self.lines.entry(key.0).or_default();
        if line.waiting.is_empty() {
            line.given = line.given.max(self.reached);
            self.turns.insert(line.turn(key.0));
        }
        line.waiting.entry(Reverse(priority)).or_default().push_back(key.1);
        self.len += 1;
    }

    /// Requesters with something that waits, in the order of their turns.
    pub(super) fn in_turn(&self) -> impl ExactSizeIterator<Item = NodeId> {
        self.turns.iter().map(|(.., node)| *node)
    }

    /// What a requester was given, in microseconds. It only compares with what others were.
    pub(super) fn given(&self, node: NodeId) -> u64 {
        self.lines.get(&node).map_or(0, |line| line.given)
    }

    /// A requester has his turn.
    pub(super) fn reaches(&mut self, node: NodeId) {
        let given = self.lines.get(&node).map_or(0, |line| line.given);
        self.reached = self.reached.max(given);
    }

    /// Whether a requester has something that waits.
    pub(super) fn waits(&self, node: NodeId) -> bool {
        self.lines.get(&node).is_some_and(|line| !line.waiting.is_empty())
    }

    /// What of a requester waits.
    pub(super) fn waiting(&self, node: NodeId) -> impl Iterator<Item = Key> {
        let attempts = self.lines.get(&node).into_iter().flat_map(|line| line.waiting.values().flatten());
        attempts.map(move |attempt| (node, *attempt))
    }

    /// The next batch of a requester, and what it counts until [`Queue::took`] says better.
    pub(super) fn pop(&mut self, node: NodeId) -> Option<(Key, u64)> {
        let line = self.lines.get_mut(&node)?;
        let mut first = line.waiting.first_entry()?;
        let attempt = first.get_mut().pop_front()?;
        if first.get().is_empty() {
            first.remove();
        }
        self.len -= 1;
        Some(((node, attempt), self.count(node)))
    }

    /// A requester is given a core: what that counts until [`Queue::took`] says better.
    pub(super) fn count(&mut self, node: NodeId) -> u64 {
        let Some(line) = self.lines.get_mut(&node) else { return 0 };
        self.turns.remove(&line.turn(node));
        self.served += 1;
        let counted = line.took.unwrap_or(UNKNOWN_MICROS).min(MOST_AHEAD_MICROS);
        line.given = line.given.saturating_add(counted);
        line.served = self.served;
        if !line.waiting.is_empty() {
            self.turns.insert(line.turn(node));
        }
        counted
    }

    /// A batch of a requester took so long, and was counted otherwise.
    pub(super) fn took(&mut self, node: NodeId, micros: u64, counted: u64) {
        if let Some(line) = self.lines.get_mut(&node) {
            line.took = Some(micros);
        }
        self.charge(node, micros, counted);
    }

    /// A batch of a requester has taken so long so far, and was counted otherwise.
    pub(super) fn charge(&mut self, node: NodeId, micros: u64, counted: u64) {
        let Some(line) = self.lines.get_mut(&node) else { return };
        let waits = self.turns.remove(&line.turn(node));
        line.given = line.given.saturating_add(micros).saturating_sub(counted);
        // What he is given while nobody else waits is at nobody's expense: whoever comes begins where he stands.
        if self.turns.is_empty() {
            self.reached = self.reached.max(line.given);
        }
        if waits {
            self.turns.insert(line.turn(node));
        }
    }

    pub(super) fn remove(&mut self, priority: Priority, key: Key) {
        let Some(line) = self.lines.get_mut(&key.0) else { return };
        let Some(attempts) = line.waiting.get_mut(&Reverse(priority)) else { return };
        let before = attempts.len();
        attempts.retain(|attempt| *attempt != key.1);
        self.len -= before - attempts.len();
        if attempts.is_empty() {
            line.waiting.remove(&Reverse(priority));
        }
        if line.waiting.is_empty() {
            self.turns.remove(&line.turn(key.0));
        }
    }

    /// A requester is gone for good, with all that it had waiting.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(line) = self.lines.remove(&node) {
            self.turns.remove(&line.turn(node));
            self.len -= line.waiting.values().map(VecDeque::len).sum::<usize>();
        }
    }

    /// Whether the parts agree.
    pub(super) fn audit(&self, customers: usize) -> Result<(), &'static str> {
        let waiting = self.lines.values().flat_map(|line| line.waiting.values()).map(VecDeque::len).sum::<usize>();
        let turns = self.lines.iter().filter(|(_, line)| !line.waiting.is_empty());
        let agree = turns.clone().all(|(node, line)| self.turns.contains(&line.turn(*node)));
        let bounded = self.lines.len() <= customers;
        let right = waiting == self.len && agree && turns.count() == self.turns.len() && bounded;
        if right { Ok(()) } else { Err("the provider's queue") }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn pop(queue: &mut Queue) -> Option<(Key, u64)> {
        let node = queue.in_turn().next()?;
        queue.reaches(node);
        queue.pop(node)
    }

    #[test]
    fn requesters_take_turns_and_priority_orders_the_batches_of_each() {
        let mut queue = Queue::default();
        for attempt in 0..3 {
            queue.push(Priority::Normal, (A, AttemptId(attempt)));
        }
        queue.push(Priority::Normal, (B, AttemptId(7)));
        queue.push(Priority::High, (B, AttemptId(8)));
        queue.remove(Priority::Normal, (A, AttemptId(1)));
        assert_eq!(queue.len(), 4);
        let order: Vec<Key> = std::iter::from_fn(|| pop(&mut queue)).map(|(key, _)| key).collect();
        assert_eq!(order, [(A, AttemptId(0)), (B, AttemptId(8)), (A, AttemptId(2)), (B, AttemptId(7))]);
        assert_eq!((queue.len(), queue.audit(2)), (0, Ok(())));
        queue.push(Priority::Low, (A, AttemptId(9)));
        queue.remove(Priority::Low, (A, AttemptId(9)));
        assert_eq!(pop(&mut queue), None);
    }

    #[test]
    fn whoever_calls_everything_critical_and_long_gets_no_more_time_than_another() {
        let mut queue = Queue::default();
        let mut given = [0, 0];
        for attempt in 0..1000 {
            queue.push(Priority::Critical, (A, AttemptId(attempt)));
            queue.push(Priority::Low, (B, AttemptId(attempt)));
        }
        for _ in 0..1000 {
            let ((node, _), counted) = pop(&mut queue).unwrap();
            let micros = if node == A { 1_500_000 } else { 100_000 };
            queue.took(node, micros, counted);
            given[usize::from(node == B)] += micros;
        }
        assert!(given[0] <= given[1] + 3_000_000 && given[1] <= given[0] + 3_000_000, "{given:?}");
        // One who comes later waits for one turn, not for all that the others had before.
        let c = NodeId([3; 32]);
        (0..100).for_each(|attempt| queue.push(Priority::Low, (c, AttemptId(attempt))));
        let order: Vec<NodeId> = (0..30).filter_map(|_| pop(&mut queue)).map(|((node, _), _)| node).collect();
        let waited = |of| order.iter().position(|node| *node == of);
        assert!(waited(c).is_some_and(|waited| waited <= 2), "{order:?}");
        // Nor do the others wait until he has had as much as they before.
        assert!(waited(A).is_some() && waited(B).is_some(), "{order:?}");
        let next = queue.in_turn().find(|node| *node != c);
        assert_eq!(next, (0..).map(|_| pop(&mut queue).unwrap().0.0).find(|node| *node != c));
        queue.forget(A);
        assert_eq!(queue.audit(2), Ok(()));
        assert!(std::iter::from_fn(|| pop(&mut queue)).all(|(key, _)| key.0 != A));
    }

    #[test]
    fn whoever_comes_waits_for_nothing_that_another_is_yet_to_be_given() {
        let mut queue = Queue::default();
        (0..20).for_each(|attempt| queue.push(Priority::Normal, (A, AttemptId(attempt))));
        let (_, counted) = pop(&mut queue).unwrap();
        queue.took(A, 3_600_000_000, counted);
        let (_, counted) = pop(&mut queue).unwrap();
        queue.charge(A, 100_000, 50_000);
        queue.took(A, 10_000, counted);
        queue.push(Priority::Normal, (B, AttemptId(0)));
        let mut waited = 0;
        while let Some(((A, attempt), counted)) = pop(&mut queue) {
            waited += 500_000;
            queue.took(A, 500_000, counted);
            queue.push(Priority::Normal, (A, attempt));
        }
        assert!(waited <= MOST_AHEAD_MICROS + 500_000, "{waited}");
    }

    #[test]
    fn what_one_is_given_while_nobody_else_waits_counts_against_him_no_more_once_somebody_does() {
        let mut queue = Queue::default();
        (0..10).for_each(|attempt| queue.push(Priority::Normal, (A, AttemptId(attempt))));
        let (_, counted) = pop(&mut queue).unwrap();
        queue.charge(A, 3_600_000_000, counted);
        (0..10).for_each(|attempt| queue.push(Priority::Normal, (B, AttemptId(attempt))));
        let order: Vec<NodeId> = (0..4).filter_map(|_| pop(&mut queue)).map(|((node, _), _)| node).collect();
        assert!(order.contains(&A) && order.contains(&B), "{order:?}");
        // What he is given from then on does.
        queue.charge(A, 1_000_000, 0);
        assert!((0..6).all(|_| pop(&mut queue).is_some_and(|((node, _), _)| node == B)));
    }
}
