//! Which connections there are to each node, and on which of them we speak. A plain value: it is told what happened to
//! connections and streams, and gives orders; it knows no socket and no clock.
//!
//! A node may have several connections to us; we speak on one, the *active* one, until it breaks, and listen on all.
//! When a connection that carried messages breaks, something may be lost, so the node is told that the other is gone,
//! and that it is back if another connection remains. Both sides see the same break.

use std::collections::{BTreeMap, VecDeque};

use libp2p::swarm::ConnectionId;
use p2pnet_shared::{api::Path, id::NodeId, wire::Message};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Order {
    /// Tell the node of a connection on which it can speak.
    Connected {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
        /// Over what.
        transport: &'static str,
    },
    /// Tell the node that there is none any more, or that something was lost.
    Disconnected {
        /// To whom.
        node: NodeId,
    },
    /// Tell the node what the other said.
    Received {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Read what the other side says on this connection, and what it opens there from now on.
    Listen(ConnectionId),
    /// Close this connection.
    Close(ConnectionId),
}

/// A connection as it was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// To whom.
    pub node: NodeId,
    /// How it runs.
    pub path: Path,
    /// Over what.
    pub transport: &'static str,
    /// Whether the other side dialled.
    pub inbound: bool,
}

struct Known {
    made: Made,
    /// Whether our stream is open.
    speaks: bool,
    /// Whether a message went over it, either way.
    carried: bool,
    /// The Hello that came over it last.
    hello: Option<Message>,
}

impl Known {
    fn is_direct(&self) -> bool {
        self.made.path == Path::Direct
    }
}

/// All connections.
#[derive(Default)]
pub struct Paths {
    known: BTreeMap<ConnectionId, Known>,
    active: BTreeMap<NodeId, ConnectionId>,
    orders: VecDeque<Order>,
}

impl Paths {
    /// A connection was made.
    pub fn connected(&mut self, id: ConnectionId, made: Made) {
        self.known.insert(id, Known { made, speaks: false, carried: false, hello: None });
    }

    /// Our stream on a connection is open. The node hears of it by [`Paths::announce`].
    pub fn opened(&mut self, id: ConnectionId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.speaks = true;
        }
        self.close_what_this_replaces(id);
    }

    /// The other side opened a stream: whether it is read now. Else [`Order::Listen`] says when.
    pub fn accepted(&self, id: ConnectionId) -> bool {
        self.known.get(&id).is_some_and(|known| self.active.contains_key(&known.made.node))
    }

    /// The node said something on a connection.
    pub fn said(&mut self, id: ConnectionId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.carried = true;
        }
    }

    /// The other side did. What a connection still delivers after its end comes too late.
    pub fn received(&mut self, id: ConnectionId, message: Message) {
        let Some(known) = self.known.get_mut(&id) else { return };
        known.carried = true;
        if let Message::Hello { .. } = &message {
            known.hello = Some(message.clone());
        }
        self.orders.push_back(Order::Received { from: known.made.node, message });
    }

    /// A connection is gone. If that was a break, the node is told, and [`Paths::announce`] tells it of another.
    pub fn closed(&mut self, id: ConnectionId) {
        let Some(known) = self.known.remove(&id) else { return };
        let node = known.made.node;
        let was_active = self.active.get(&node) == Some(&id);
        if was_active || (known.carried && self.active.contains_key(&node)) {
            self.active.remove(&node);
            self.orders.push_back(Order::Disconnected { node });
        }
    }

    /// Tells the node of a connection on which we can speak, if there is one and it does not know yet.
    pub fn announce(&mut self, node: NodeId) {
        if self.active.contains_key(&node) {
            return;
        }
        // Direct before relayed, then the oldest.
        let ready = self.of(node).filter(|(_, known)| known.speaks);
        let Some((id, known)) = ready.min_by_key(|(id, known)| (!known.is_direct(), *id)) else { return };
        let Made { path, transport, .. } = known.made.clone();
        self.active.insert(node, id);
        self.orders.push_back(Order::Connected { node, path, transport });
        for (id, known) in self.known.iter().filter(|(_, known)| known.made.node == node) {
            // The other side may have moved to this connection before we saw the last one break: it will not say again
            // who it is.
            if let Some(message) = known.hello.clone() {
                self.orders.push_back(Order::Received { from: node, message });
            }
            self.orders.push_back(Order::Listen(*id));
        }
    }

    /// What is to be done next.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The connection on which we speak to a node.
    pub fn active(&self, node: NodeId) -> Option<ConnectionId> {
        self.active.get(&node).copied()
    }

    /// Whose a connection is.
    pub fn node(&self, id: ConnectionId) -> Option<NodeId> {
        self.known.get(&id).map(|known| known.made.node)
    }

    /// Whether there is any connection to a node, spoken on or not.
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.of(node).next().is_some()
    }

    /// A connection to a node through no circuit.
    pub fn direct(&self, node: NodeId) -> Option<ConnectionId> {
        self.of(node).find(|(_, known)| known.is_direct()).map(|(id, _)| id)
    }

    /// All connections through no circuit, and to whom.
    pub fn all_direct(&self) -> impl Iterator<Item = (ConnectionId, NodeId)> {
        self.known.iter().filter(|(_, known)| known.is_direct()).map(|(id, known)| (*id, known.made.node))
    }

    /// The connections to a node which it dialled.
    pub fn inbound(&self, node: NodeId) -> impl Iterator<Item = ConnectionId> {
        self.of(node).filter(|(_, known)| known.made.inbound).map(|(id, _)| id)
    }

    /// Whether a connection has carried nothing, and another is spoken on or none.
    pub fn is_spare(&self, id: ConnectionId) -> bool {
        self.known.get(&id).is_some_and(|known| !known.carried && self.active(known.made.node) != Some(id))
    }

    fn of(&self, node: NodeId) -> impl Iterator<Item = (ConnectionId, &Known)> {
        self.known.iter().filter(move |(_, known)| known.made.node == node).map(|(id, known)| (*id, known))
    }

    /// Whoever dials has no connection, or none that works: if the active one was dialled by the same node in the same
    /// way, it is dead and only we have not noticed yet (a reloaded tab, a changed network).
    fn close_what_this_replaces(&mut self, id: ConnectionId) {
        let Some(new) = self.known.get(&id) else { return };
        let Some(old_id) = self.active(new.made.node).filter(|old| *old != id) else { return };
        let Some(old) = self.known.get(&old_id) else { return };
        if new.made.inbound && old.made.inbound && new.is_direct() == old.is_direct() {
            tracing::debug!(node = %new.made.node, "closing a connection that a new one replaces");
            self.orders.push_back(Order::Close(old_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::wire::Role;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);
    const VIA: Path = Path::Relayed { via: Some(OTHER) };

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn direct(inbound: bool) -> Made {
        Made { node: NODE, path: Path::Direct, transport: "tcp", inbound }
    }

    fn relayed(inbound: bool) -> Made {
        Made { node: NODE, path: VIA, transport: "circuit", inbound }
    }

    fn hello() -> Message {
        Message::Hello { version: 1, role: Role::Client, agent: "test".to_owned(), session: 7 }
    }

    fn told_direct() -> Order {
        Order::Connected { node: NODE, path: Path::Direct, transport: "tcp" }
    }

    fn told_relayed() -> Order {
        Order::Connected { node: NODE, path: VIA, transport: "circuit" }
    }

    fn gone() -> Order {
        Order::Disconnected { node: NODE }
    }

    fn heard(message: Message) -> Order {
        Order::Received { from: NODE, message }
    }

    impl Paths {
        fn orders(&mut self) -> Vec<Order> {
            std::iter::from_fn(|| self.poll_order()).collect()
        }

        /// A connection on which we can speak, as its order of events is.
        fn ready(&mut self, number: usize, made: Made) {
            let node = made.node;
            self.connected(id(number), made);
            self.opened(id(number));
            self.announce(node);
        }

        fn lost(&mut self, number: usize) {
            self.closed(id(number));
            self.announce(NODE);
        }
    }

    #[test]
    fn the_node_hears_of_a_connection_once_it_can_speak_and_listens_from_then_on() {
        let mut paths = Paths::default();
        paths.connected(id(1), direct(true));
        assert!(!paths.accepted(id(1)), "the node does not know yet who speaks");
        paths.announce(NODE);
        assert_eq!(paths.orders(), []);
        paths.opened(id(1));
        paths.announce(NODE);
        paths.announce(NODE);
        assert_eq!(paths.orders(), [told_direct(), Order::Listen(id(1))]);
        assert!(paths.accepted(id(1)));
        assert_eq!((paths.active(NODE), paths.active(OTHER)), (Some(id(1)), None));
    }

    #[test]
    fn of_connections_that_wait_the_direct_one_is_spoken_on_and_then_the_oldest() {
        let mut paths = Paths::default();
        for (number, made) in [(1, relayed(false)), (2, direct(false)), (3, direct(true))] {
            paths.connected(id(number), made);
            paths.opened(id(number));
        }
        paths.announce(NODE);
        assert_eq!(paths.active(NODE), Some(id(2)));
        paths.closed(id(2));
        paths.announce(NODE);
        assert_eq!(paths.active(NODE), Some(id(3)));
    }

    #[test]
    fn a_break_of_what_carried_messages_is_told_also_where_another_connection_remains() {
        let mut paths = Paths::default();
        paths.ready(1, direct(false));
        paths.ready(2, relayed(true));
        paths.orders();
        paths.received(id(2), hello());
        assert_eq!(paths.orders(), [heard(hello())], "who speaks on the other one is heard");
        paths.lost(1);
        let back = [gone(), told_relayed(), heard(hello()), Order::Listen(id(2))];
        assert_eq!(paths.orders(), back, "who spoke there already says no second time who it is");
        paths.lost(2);
        assert_eq!(paths.orders(), [gone()]);
    }

    #[test]
    fn the_end_of_a_connection_that_carried_nothing_is_nobodys_concern() {
        let mut paths = Paths::default();
        paths.ready(1, direct(false));
        paths.ready(2, relayed(true));
        paths.orders();
        assert!(paths.is_spare(id(2)) && !paths.is_spare(id(1)));
        paths.lost(2);
        paths.received(id(2), hello());
        assert_eq!(paths.orders(), [], "nor what it still delivers");
        paths.ready(3, relayed(true));
        paths.said(id(3));
        assert!(!paths.is_spare(id(3)));
        paths.lost(3);
        assert_eq!(paths.orders()[0], gone());
    }

    #[test]
    fn who_dials_again_in_the_same_way_has_lost_its_connection() {
        for (old, new, closes) in [
            (direct(true), direct(true), true),
            (relayed(true), relayed(true), true),
            (direct(true), relayed(true), false),
            (relayed(true), direct(true), false),
            (direct(false), direct(true), false),
            (direct(true), direct(false), false),
        ] {
            let mut paths = Paths::default();
            paths.ready(1, old.clone());
            paths.orders();
            paths.ready(2, new.clone());
            let expected = if closes { vec![Order::Close(id(1))] } else { vec![] };
            assert_eq!(paths.orders(), expected, "{old:?}, then {new:?}");
        }
    }

    #[test]
    fn connections_are_found_by_what_they_are() {
        let mut paths = Paths::default();
        paths.connected(id(1), relayed(true));
        assert_eq!((paths.direct(NODE), paths.is_connected(NODE), paths.is_connected(OTHER)), (None, true, false));
        paths.connected(id(2), direct(false));
        paths.connected(id(3), Made { node: OTHER, ..direct(true) });
        assert_eq!(paths.direct(NODE), Some(id(2)));
        assert_eq!(paths.all_direct().collect::<Vec<_>>(), [(id(2), NODE), (id(3), OTHER)]);
        assert_eq!(paths.inbound(NODE).collect::<Vec<_>>(), [id(1)]);
        assert_eq!(paths.node(id(3)), Some(OTHER));
    }
}
