//! Who is being dialled: direct addresses get a head start, then circuits are tried beside them. A plain value: it is
//! told what came of each attempt, and orders the next.

use std::collections::{BTreeMap, VecDeque};

use libp2p::{Multiaddr, swarm::ConnectionId};
use p2pnet_shared::{id::NodeId, units::Moment};

use crate::limits;

/// What is to be done. What came of the first two is told by [`Dials::tried`].
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// Dial a node at these addresses.
    Direct {
        /// Whom.
        node: NodeId,
        /// Where.
        addresses: Vec<Multiaddr>,
    },
    /// Dial it through circuits.
    Circuits {
        /// Whom.
        node: NodeId,
    },
    /// Tell the node that it cannot be reached.
    Failed {
        /// Whom.
        node: NodeId,
    },
}

struct Dial {
    attempts: Vec<ConnectionId>,
    /// When circuits are tried beside the direct addresses, if they were not yet.
    circuits_at: Option<Moment>,
}

/// All dials that have neither succeeded nor failed.
#[derive(Default)]
pub(super) struct Dials {
    under_way: BTreeMap<NodeId, Dial>,
    orders: VecDeque<Order>,
}

impl Dials {
    /// A node is to be reached, at these addresses or through circuits.
    pub(super) fn begin(&mut self, now: Moment, node: NodeId, direct: Vec<Multiaddr>) {
        if self.under_way.contains_key(&node) {
            return;
        }
        let circuits_at = if direct.is_empty() { now } else { now + limits::DIRECT_HEAD_START };
        self.under_way.insert(node, Dial { attempts: Vec::new(), circuits_at: Some(circuits_at) });
        if direct.is_empty() {
            self.try_circuits(node);
        } else {
            self.orders.push_back(Order::Direct { node, addresses: direct });
        }
    }

    /// What was ordered was done: the attempt is under way, or (`None`) there was nothing to try. `connected`: there is a
    /// connection to the node, though nobody may be able to speak on it yet.
    pub(super) fn tried(&mut self, node: NodeId, attempt: Option<ConnectionId>, connected: bool) {
        if let Some(dial) = self.under_way.get_mut(&node) {
            dial.attempts.extend(attempt);
        }
        self.settle(node, connected);
    }

    /// An attempt came to nothing.
    pub(super) fn attempt_failed(&mut self, node: NodeId, attempt: ConnectionId, connected: bool) {
        let Some(dial) = self.under_way.get_mut(&node) else { return };
        dial.attempts.retain(|known| *known != attempt);
        if dial.attempts.is_empty() && dial.circuits_at.is_some() {
            self.try_circuits(node);
        } else {
            self.settle(node, connected);
        }
    }

    /// A connection to the node was made, perhaps by an attempt of ours.
    pub(super) fn connected(&mut self, node: NodeId, connection: ConnectionId) {
        if let Some(dial) = self.under_way.get_mut(&node) {
            dial.attempts.retain(|attempt| *attempt != connection);
            dial.circuits_at = None;
        }
    }

    /// A connection to the node is gone. `connected`: there is another.
    pub(super) fn closed(&mut self, node: NodeId, connected: bool) {
        self.settle(node, connected);
    }

    /// The node can be spoken to, or is wanted no longer.
    pub(super) fn over(&mut self, node: NodeId) {
        self.under_way.remove(&node);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Moment) {
        let due = self.under_way.iter().filter(|(_, dial)| dial.circuits_at.is_some_and(|at| at <= now));
        for node in due.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.try_circuits(node);
        }
    }

    /// What is to be done next.
    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn try_circuits(&mut self, node: NodeId) {
        if let Some(dial) = self.under_way.get_mut(&node) {
            dial.circuits_at = None;
            self.orders.push_back(Order::Circuits { node });
        }
    }

    /// Reports a dial of which nothing is left as failed.
    fn settle(&mut self, node: NodeId, connected: bool) {
        let Some(dial) = self.under_way.get(&node) else { return };
        if dial.attempts.is_empty() && dial.circuits_at.is_none() && !connected {
            self.under_way.remove(&node);
            self.orders.push_back(Order::Failed { node });
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::units::Millis;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const START: Moment = Moment(1_000);
    const HEAD_START: Millis = limits::DIRECT_HEAD_START;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn addresses() -> Vec<Multiaddr> {
        vec!["/ip4/1.2.3.4/tcp/1".parse().unwrap()]
    }

    fn direct() -> Order {
        Order::Direct { node: NODE, addresses: addresses() }
    }

    fn circuits() -> Order {
        Order::Circuits { node: NODE }
    }

    fn failed() -> Order {
        Order::Failed { node: NODE }
    }

    impl Dials {
        fn orders(&mut self) -> Vec<Order> {
            std::iter::from_fn(|| self.poll_order()).collect()
        }

        fn with_direct() -> Self {
            let mut dials = Self::default();
            dials.begin(START, NODE, addresses());
            assert_eq!(dials.orders(), [direct()]);
            dials.tried(NODE, Some(id(1)), false);
            dials
        }
    }

    #[test]
    fn circuits_are_tried_beside_direct_addresses_after_their_head_start_and_once() {
        let mut dials = Dials::with_direct();
        dials.begin(START, NODE, addresses());
        dials.tick(Moment(START.0 + HEAD_START.0 - 1));
        assert_eq!(dials.orders(), []);
        dials.tick(START + HEAD_START);
        assert_eq!(dials.orders(), [circuits()]);
        dials.tried(NODE, Some(id(2)), false);
        dials.tick(START + HEAD_START + HEAD_START);
        dials.attempt_failed(NODE, id(1), false);
        assert_eq!(dials.orders(), [], "the circuit is still under way");
        dials.attempt_failed(NODE, id(2), false);
        assert_eq!(dials.orders(), [failed()]);
    }

    #[test]
    fn direct_addresses_that_fail_at_once_give_their_head_start_up() {
        let mut dials = Dials::with_direct();
        dials.attempt_failed(NODE, id(1), false);
        assert_eq!(dials.orders(), [circuits()]);
        dials.tried(NODE, None, false);
        assert_eq!(dials.orders(), [failed()]);
    }

    #[test]
    fn without_addresses_and_circuits_a_dial_fails_at_once_and_once() {
        let mut dials = Dials::default();
        dials.begin(START, NODE, Vec::new());
        assert_eq!(dials.orders(), [circuits()]);
        dials.tried(NODE, None, false);
        dials.tried(NODE, None, false);
        dials.closed(NODE, false);
        assert_eq!(dials.orders(), [failed()]);
    }

    #[test]
    fn where_direct_addresses_cannot_even_be_tried_circuits_still_are() {
        let mut dials = Dials::default();
        dials.begin(START, NODE, addresses());
        dials.tried(NODE, None, false);
        assert_eq!(dials.orders(), [direct()]);
        dials.tick(START + HEAD_START);
        assert_eq!(dials.orders(), [circuits()]);
    }

    #[test]
    fn a_connection_ends_the_dial_once_it_can_be_spoken_on_and_fails_it_when_it_breaks_before() {
        let mut dials = Dials::with_direct();
        dials.connected(NODE, id(1));
        dials.tick(START + HEAD_START);
        assert_eq!(dials.orders(), [], "no circuit is needed");
        dials.closed(NODE, true);
        assert_eq!(dials.orders(), [], "another connection remains");
        dials.closed(NODE, false);
        assert_eq!(dials.orders(), [failed()]);

        let mut dials = Dials::with_direct();
        dials.connected(NODE, id(7));
        dials.over(NODE);
        dials.attempt_failed(NODE, id(1), true);
        dials.closed(NODE, false);
        assert_eq!(dials.orders(), [], "the node knows of its connection, and hears of its end otherwise");
    }
}
