//! What this requester has seen of nodes, over all its jobs: an offer claims, only deliveries prove.
//!
//! An unknown node gets one batch, whatever it claims. Each delivery that ran beside others raises by one the number of
//! cores that it is believed to have, so that number doubles from round to round. A node that had its time and brought
//! nothing stands behind all that delivered; if that happens again, it is left alone for longer and longer. One that is
//! merely slow delivers in the end, and is known from then on by its pace. One that restarts in the middle of its work, or
//! again and again, is not blamed for silence, but gets nothing for a while, whatever it offers or withdraws meanwhile.
//!
//! Nodes fall silent together: a laptop is closed, a driver hangs. So when one that had delivered owes something for too
//! long, all are *doubted* until they deliver again: they come after those that have, and get one batch a second. One that
//! brings nothing again sinks at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::NodeId,
    units::{Millis, Moment},
};

/// Nodes remembered; beyond it, who never delivered is forgotten before who has, and of these who was seen longest ago: names
/// cost nothing.
const MOST: usize = 8192;
/// Silent attempts in a row after which a node is left alone, and for how long at first and at most.
const SILENT_OFTEN: u32 = 2;
const REST_MILLIS: (u64, u64) = (2_000, 600_000);
/// First and longest pause of a node that failed a batch that others may do, or restarted. A broken node fails fast, so it would
/// be idle first and eat every batch.
const FAILED_MILLIS: (u64, u64) = (500, 60_000);

/// What was seen of one node.
#[derive(Clone, Copy, Default)]
struct Record {
    delivered: bool,
    delivered_at: Moment,
    /// When it was first found to owe something since then.
    owed_at: Option<Moment>,
    /// Batches that it was seen to run at once and delivered.
    parallel: u16,
    /// Attempts since its last delivery that brought nothing in their time.
    silent: u32,
    silent_at: Moment,
    rests_until: Moment,
    /// Batches that it failed in a row, restarts in the middle of work among them.
    failures: u32,
    /// It gets nothing before, since it failed.
    paused_until: Moment,
    seen_at: Moment,
}

/// How far a node is trusted; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// Its last attempts delivered.
    Proven,
    /// Nobody knows.
    Unknown,
    /// It brought nothing lately.
    Silent,
    /// It brought nothing several times, and is left alone for now.
    Resting,
}

/// What was seen of all nodes.
#[derive(Default)]
pub(super) struct Records {
    of: BTreeMap<NodeId, Record>,
    order: BTreeSet<(bool, Moment, NodeId)>,
    /// When a node that had delivered was last found to owe something for too long.
    doubted_at: Moment,
}

impl Records {
    pub(super) fn trust(&self, node: NodeId, now: Moment) -> Trust {
        match self.of.get(&node) {
            None => Trust::Unknown,
            Some(record) if record.silent >= SILENT_OFTEN && now < record.rests_until => Trust::Resting,
            Some(record) if record.silent > 0 => Trust::Silent,
            Some(record) if record.delivered => Trust::Proven,
            Some(_) => Trust::Unknown,
        }
    }

    /// Whether a node has delivered anything.
    pub(super) fn has_delivered(&self, node: NodeId) -> bool {
        self.of.get(&node).is_some_and(|record| record.delivered)
    }

    /// Whether a node has delivered anything after a moment.
    pub(super) fn has_delivered_after(&self, node: NodeId, at: Moment) -> bool {
        self.of.get(&node).is_some_and(|record| record.delivered && record.delivered_at > at)
    }

    /// Whether a node that had delivered has yet to do so again since one like it was found to owe something.
    pub(super) fn is_doubted(&self, node: NodeId) -> bool {
        self.of.get(&node).is_some_and(|record| record.delivered && record.delivered_at < self.doubted_at)
    }

    /// Whether a node owed something already when it was given this, and has delivered nothing since. That others owe
    /// something says nothing of it.
    pub(super) fn has_owed_since(&self, node: NodeId, given_at: Moment) -> bool {
        self.of.get(&node).and_then(|record| record.owed_at).is_some_and(|at| given_at >= at)
    }

    /// A node owes something for too long: if nobody doubted it, others may have fallen silent with it.
    pub(super) fn owes(&mut self, node: NodeId, now: Moment) {
        if self.trust(node, now) == Trust::Proven && !self.is_doubted(node) {
            self.doubted_at = now;
        }
        if let Some(record) = self.of.get_mut(&node).filter(|record| record.delivered) {
            record.owed_at.get_or_insert(now);
        }
    }

    /// How many cores a node is believed to have that claims so many; at least 1.
    pub(super) fn cores(&self, node: NodeId, claimed: u16) -> u16 {
        let proven = self.of.get(&node).filter(|record| record.delivered).map_or(0, |record| record.parallel);
        claimed.min(proven.saturating_add(1)).max(1)
    }

    /// A node delivered a batch while it ran so many.
    pub(in crate::node) fn delivered(&mut self, node: NodeId, now: Moment, running: usize) {
        let record = self.seen_to(node, now, true);
        let running = u16::try_from(running.max(1)).unwrap_or(u16::MAX);
        record.parallel = record.parallel.max(running.min(record.parallel.saturating_add(1)));
        record.delivered_at = now;
        record.owed_at = None;
        record.silent = 0;
        record.rests_until = Moment(0);
    }

    /// A node had its time for a batch that it was given at `since`, and brought nothing. What it had at the same time
    /// as one that counts already counts with that one: it may have had one bad moment.
    pub(super) fn silent(&mut self, node: NodeId, since: Moment, now: Moment) {
        let record = self.seen(node, now);
        if record.silent > 0 && since <= record.silent_at {
            return;
        }
        record.silent_at = now;
        record.silent = record.silent.saturating_add(1);
        record.parallel /= 2;
        let times = record.silent.saturating_sub(SILENT_OFTEN).min(20);
        record.rests_until = now + Millis((REST_MILLIS.0 << times).min(REST_MILLIS.1));
    }

    /// Until when a node gets nothing since it failed: for as long, whatever it says of itself meanwhile.
    pub(super) fn paused_until(&self, node: NodeId) -> Moment {
        self.of.get(&node).map_or(Moment(0), |record| record.paused_until)
    }

    /// A node did a batch.
    pub(super) fn succeeded(&mut self, node: NodeId) {
        if let Some(record) = self.of.get_mut(&node) {
            record.failures = 0;
        }
    }

    /// A node failed a batch.
    pub(super) fn failed(&mut self, node: NodeId, now: Moment) {
        let record = self.seen(node, now);
        let pause = (FAILED_MILLIS.0 << record.failures.min(10)).min(FAILED_MILLIS.1);
        record.failures = record.failures.saturating_add(1);
        record.paused_until = now + Millis(pause);
    }

    /// A node restarted, and lost what it had. A page that is opened again while work waits for it is of use at once: what had
    /// not begun cannot have been what ended it, the first time.
    pub(super) fn restarted(&mut self, node: NodeId, had_begun: bool, now: Moment) {
        let record = self.seen(node, now);
        if had_begun || record.failures > 0 {
            self.failed(node, now);
        } else {
            record.failures = 1;
        }
    }

    fn seen(&mut self, node: NodeId, now: Moment) -> &mut Record {
        self.seen_to(node, now, false)
    }

    /// A node was seen, and maybe to deliver.
    fn seen_to(&mut self, node: NodeId, now: Moment, delivers: bool) -> &mut Record {
        let known = self.of.get(&node).map(|record| (record.delivered, record.seen_at));
        if let Some((delivered, at)) = known {
            self.order.remove(&(delivered, at, node));
        } else if self.of.len() >= MOST
            && let Some((.., first)) = self.order.pop_first()
        {
            self.of.remove(&first);
        }
        let record = self.of.entry(node).or_default();
        record.delivered |= delivers;
        record.seen_at = now;
        self.order.insert((record.delivered, now, node));
        record
    }

    /// Whether the parts agree and keep their bounds.
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let agree = self.of.len() == self.order.len();
        if agree && self.of.len() <= MOST { Ok(()) } else { Err("what was seen of nodes") }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scheduler::window, *};

    const NODE: NodeId = NodeId([7; 32]);

    #[test]
    fn cores_are_believed_as_far_as_they_delivered() {
        let mut records = Records::default();
        assert_eq!(records.cores(NODE, 1024), 1);
        let mut rounds = 0;
        while records.cores(NODE, 1024) < 64 {
            // It runs all that it has, and each delivery makes room for more.
            for _ in 0..window(records.cores(NODE, 1024)) {
                records.delivered(NODE, Moment(1), window(records.cores(NODE, 1024)));
            }
            rounds += 1;
        }
        assert!(rounds <= 6, "it doubles: {rounds}");
        assert_eq!(records.cores(NODE, 16), 16, "never more than it claims");
        // One core, however many it claims and however often it delivers.
        let slow = NodeId([8; 32]);
        (0..1000).for_each(|_| records.delivered(slow, Moment(1), 1));
        assert_eq!(records.cores(slow, 1024), 2);
    }

    #[test]
    fn a_silent_node_sinks_at_once_rests_longer_each_time_and_a_delivery_clears_it() {
        let mut records = Records::default();
        let now = Moment(1_000_000);
        assert_eq!(records.trust(NODE, now), Trust::Unknown);
        records.silent(NODE, now, now);
        records.silent(NODE, now, now); // at the same time
        assert_eq!(records.trust(NODE, now), Trust::Silent);
        let mut rests = Vec::new();
        for round in 1..6 {
            let now = Moment(now.0 + round * 1_000_000);
            records.silent(NODE, now, now);
            let rest = (0..)
                .map(|seconds| Millis(seconds * 1000))
                .find(|rest| records.trust(NODE, now + *rest) == Trust::Silent);
            rests.extend(rest);
        }
        assert!(rests.is_sorted_by(|a, b| a < b), "{rests:?}");
        records.delivered(NODE, now, 1);
        assert_eq!(records.trust(NODE, now), Trust::Proven);
    }

    #[test]
    fn when_a_trusted_node_owes_something_all_are_doubted_until_they_deliver_again() {
        let mut records = Records::default();
        let [other, unknown] = [8, 9].map(|name| NodeId([name; 32]));
        records.delivered(NODE, Moment(10), 1);
        records.delivered(other, Moment(10), 1);
        assert!(!records.is_doubted(NODE) && !records.is_doubted(other));
        records.owes(unknown, Moment(20));
        assert!(!records.is_doubted(other), "what one who never delivered owes says nothing of others");
        records.owes(NODE, Moment(20));
        assert!(records.is_doubted(NODE) && records.is_doubted(other));
        assert_eq!(records.trust(NODE, Moment(20)), Trust::Proven, "it may be the call that takes so long");
        assert!(!records.has_owed_since(other, Moment(24)), "it was not this one");
        records.owes(other, Moment(25));
        assert!(!records.has_owed_since(other, Moment(24)) && records.has_owed_since(other, Moment(25)), "twice");
        records.delivered(other, Moment(30), 1);
        assert!(records.is_doubted(NODE) && !records.is_doubted(other));
        assert!(!records.has_owed_since(other, Moment(30)));
        records.silent(NODE, Moment(15), Moment(30));
        records.owes(NODE, Moment(40));
        assert!(!records.is_doubted(other), "that it owes something is known");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut records = Records::default();
        records.delivered(NODE, Moment(0), 1);
        for number in 0..(MOST as u64 + 100) {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.to_le_bytes());
            records.silent(NodeId(name), Moment(number), Moment(number));
        }
        assert_eq!((records.of.len(), records.audit()), (MOST, Ok(())));
        assert!(records.has_delivered(NODE), "names cost nothing");
    }
}
