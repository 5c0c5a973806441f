//! Which connections there are to each node, on which of them we speak, and in which order we read what the other says.
//! A plain value: it is told what happened to connections and streams, and gives orders; it knows no socket and no clock.
//!
//! We speak to a node on one connection, the *active* one. When a better one comes (direct instead of through a circuit),
//! we *move*: the old stream is ended behind the last message, with a mark that says so, and what follows goes over the
//! new one, which begins with a mark that it goes on with what was said elsewhere. Whoever reads reads the old stream to
//! its end first. So nothing is lost, doubled or out of order, and each side moves when it likes. The old connection is
//! closed once both have read each other to the end there.
//!
//! When a connection breaks on which something may be lost, the node is told that the other is gone, and that it is back
//! if another connection remains: it *begins* anew, with Hello. A mark before that numbers our beginnings, says which of
//! the other's we heard of last, and whether something that followed that one is lost to us. Then the other begins anew
//! too, if it has not done so already; until it does, what it says is dropped. So one who sees a break that the other
//! does not see is understood.

mod blobs;
mod known;
mod orders;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use libp2p::swarm::ConnectionId;
use p2pnet_shared::{id::NodeId, units::Moment, wire::Message};

use crate::limits;

use self::known::{Between, Blobs, Hearing, Known, Speaking};
pub(crate) use self::orders::{Beginning, First, Made, Order};

/// All connections.
#[derive(Default)]
pub(super) struct Paths {
    known: BTreeMap<ConnectionId, Known>,
    between: BTreeMap<NodeId, Between>,
    /// The last of all our beginnings.
    begun: u64,
    orders: VecDeque<Order>,
}

impl Paths {
    /// A connection was made.
    pub(super) fn connected(&mut self, id: ConnectionId, made: Made) {
        self.between.entry(made.node).or_default();
        let (speaking, hearing) = (Speaking::NotYet, Hearing::Silent);
        let (sends_blobs, blobs) = (Speaking::NotYet, Blobs::None);
        let known = Known { made, sends_blobs, blobs, speaking, hearing, knows_marks: false, leaving: false };
        self.known.insert(id, known);
    }

    /// Our stream on a connection is open; whether the other side knows marks. The node hears of it by
    /// [`Paths::announce`], if it has no other.
    pub(super) fn opened(&mut self, id: ConnectionId, knows_marks: bool) {
        let Some(known) = self.known.get_mut(&id) else { return };
        known.speaking = Speaking::Open { said: false };
        known.knows_marks = knows_marks;
        let node = known.made.node;
        let Some(old) = self.active(node).filter(|old| *old != id) else { return };
        if self.is_replaced(old, id) {
            self.orders.push_back(Order::Close(old));
        } else if self.is_worse(old, id) {
            self.move_to(old, id);
        }
    }

    /// The other side opened a stream: whether it is taken now. Else [`Order::Listen`] says when.
    pub(super) fn accepted(&self, id: ConnectionId) -> bool {
        self.known.get(&id).is_some_and(|known| self.active(known.made.node).is_some())
    }

    /// The first of such a stream came. [`Order::Read`] says when more is read.
    pub(super) fn began(&mut self, now: Moment, id: ConnectionId, first: First) {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.leaving) else { return };
        let node = known.made.node;
        if let Some(between) = self.between.get_mut(&node) {
            between.marked |= first != First::Message;
        }
        match first {
            First::GoesOn(beginning) => {
                known.hearing = Hearing::Waits { since: now, beginning };
                self.close_what_was_left(node, id);
                self.read_what_waits(now, node, false);
            }
            First::Begins => self.read(now, id),
            First::Message => {
                let heard = self.between.get(&node).is_some_and(|between| between.heard);
                self.close_what_was_left(node, id);
                if heard {
                    self.broke(now, node, false);
                }
                self.read(now, id);
            }
        }
    }

    /// The other side's node begins anew.
    pub(super) fn begins(&mut self, now: Moment, id: ConnectionId, beginning: Beginning) {
        let Some(known) = self.known.get(&id).filter(|known| !known.leaving) else { return };
        let node = known.made.node;
        let Some(between) = self.between.get_mut(&node) else { return };
        // What it has not heard of yet is on its way, unless that was another way.
        let on_its_way = beginning.yours != between.ours && !between.moved;
        let misses_ours = beginning.lost && !on_its_way;
        let is_another_life = beginning.mine <= between.theirs || (beginning.yours == 0 && between.theirs != 0);
        between.theirs = beginning.mine;
        self.close_what_was_left(node, id);
        if misses_ours || is_another_life {
            if self.is_told_too_often(now, node) {
                self.orders.push_back(Order::Close(id));
            }
            self.broke(now, node, false);
        }
        // What follows is lost as well where no way but a new connection is left.
        let lost = self.known.get(&id).is_none_or(|known| known.leaving);
        if let Some(between) = self.between.get_mut(&node) {
            (between.stale, between.heard) = (lost, true);
            between.lost |= lost;
        }
        self.read_blobs(node);
    }

    /// The node said something on a connection.
    pub(super) fn said(&mut self, id: ConnectionId) {
        if let Some(known) = self.known.get_mut(&id)
            && known.speaking == (Speaking::Open { said: false })
        {
            known.speaking = Speaking::Open { said: true };
        }
    }

    /// The other side did. What a connection still delivers after its end comes too late.
    pub(super) fn received(&mut self, now: Moment, id: ConnectionId, message: Message) {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.leaving) else { return };
        known.hearing = Hearing::Reads { heard_at: now };
        let from = known.made.node;
        let Some(between) = self.between.get_mut(&from) else { return };
        if between.active.is_none() {
            (between.lost, between.stale) = (true, between.marked);
        } else if !between.stale {
            let is_first = !std::mem::replace(&mut between.heard, true);
            self.orders.push_back(Order::Received { from, message });
            if is_first {
                self.read_blobs(from);
            }
        }
    }

    /// The other side ended its stream behind its last message, and we have read it. `blobs`: it has one for blobs besides.
    pub(super) fn ended(&mut self, now: Moment, id: ConnectionId, blobs: bool) {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.leaving) else { return };
        known.hearing = Hearing::Ended;
        match (blobs, known.blobs) {
            (true, Blobs::None) => known.blobs = Blobs::Waits { here: false },
            // It was opened too late for any, and only ends.
            (false, Blobs::Waits { .. } | Blobs::Reads) => {
                known.blobs = Blobs::None;
                self.orders.push_back(Order::ReadBlobs(id));
            }
            (true, Blobs::Waits { .. } | Blobs::Reads | Blobs::Ended) | (false, Blobs::None | Blobs::Ended) => {}
        }
        let node = known.made.node;
        if let Some(between) = self.between.get_mut(&node) {
            between.heard = true;
        }
        self.orders.push_back(Order::Acknowledge(id));
        self.read_what_waits(now, node, false);
        self.close_if_done(id);
    }

    /// The other side has read our stream to its end.
    pub(super) fn acknowledged(&mut self, id: ConnectionId) {
        if let Some(known) = self.known.get_mut(&id)
            && known.speaking == Speaking::Ending
        {
            known.speaking = Speaking::Ended;
            self.close_if_done(id);
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, now: Moment, id: ConnectionId) {
        let Some(known) = self.known.remove(&id) else { return };
        let node = known.made.node;
        let unread = match known.hearing {
            Hearing::Waits { .. } | Hearing::Reads { .. } => true,
            Hearing::Silent | Hearing::Ended => known.owes_blobs(),
        };
        if self.active(node) == Some(id) || (unread && !known.leaving) {
            self.broke(now, node, true);
        } else {
            self.read_what_waits(now, node, false);
        }
        self.read_blobs(node);
        if self.of(node).next().is_none() {
            self.between.remove(&node);
        }
    }

    /// Time has passed: whoever never ends its old stream loses that connection.
    pub(super) fn tick(&mut self, now: Moment) {
        let waiting: Vec<_> =
            self.known.values().filter_map(|known| known.waits().map(|(since, _)| (known.made.node, since))).collect();
        for (node, since) in waiting {
            let is_over = now - since >= limits::MOVE_TIME;
            let is_quiet = |at: Moment| now - at.max(since) >= limits::MOVE_QUIET;
            let late = self.of(node).filter(|(_, known)| match known.hearing {
                Hearing::Reads { heard_at } => !known.leaving && (is_over || is_quiet(heard_at)),
                Hearing::Silent | Hearing::Waits { .. } | Hearing::Ended => false,
            });
            let late: Vec<_> = late.map(|(id, _)| Order::Close(id)).collect();
            if late.is_empty() {
                self.read_what_waits(now, node, is_quiet(since));
            }
            self.orders.extend(late);
        }
    }

    /// Tells the node of a connection on which we can speak, if there is one and it does not know yet.
    pub(super) fn announce(&mut self, now: Moment, node: NodeId) {
        if self.active(node).is_some() {
            return;
        }
        // Where we speak already, what we said waits before what we say next. Else direct before relayed, then the oldest.
        let goes_on = |known: &Known| known.knows_marks && known.speaking == (Speaking::Open { said: true });
        let usable = self.of(node).filter(|(_, known)| known.is_usable());
        let best = usable.min_by_key(|(id, known)| (!goes_on(known), !known.is_direct(), *id));
        let Some((id, known)) = best else { return };
        let Made { path, transport, .. } = known.made.clone();
        let knows_marks = known.knows_marks;
        let Some(between) = self.between.get_mut(&node) else { return };
        between.active = Some(id);
        between.moved = false;
        self.begun = now.0.max(self.begun.saturating_add(1));
        between.ours = self.begun;
        let lost = std::mem::take(&mut between.lost);
        if knows_marks {
            let beginning = Beginning { mine: between.ours, yours: between.theirs, lost };
            self.orders.push_back(Order::SayBegins(id, beginning));
        }
        self.orders.push_back(Order::Connected { node, path, transport });
        let all: Vec<_> = self.of(node).map(|(id, _)| Order::Listen(id)).collect();
        self.orders.extend(all);
    }

    /// What is to be done next.
    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The connection on which we speak to a node.
    pub(super) fn active(&self, node: NodeId) -> Option<ConnectionId> {
        self.between.get(&node).and_then(|between| between.active)
    }

    /// Whose a connection is.
    pub(super) fn node(&self, id: ConnectionId) -> Option<NodeId> {
        self.known.get(&id).map(|known| known.made.node)
    }

    /// Whether there is any connection to a node, spoken on or not.
    pub(super) fn is_connected(&self, node: NodeId) -> bool {
        self.of(node).next().is_some()
    }

    /// A connection to a node through no circuit.
    pub(super) fn direct(&self, node: NodeId) -> Option<ConnectionId> {
        self.of(node).find(|(_, known)| known.is_direct()).map(|(id, _)| id)
    }

    /// All connections through no circuit, and to whom.
    pub(super) fn all_direct(&self) -> impl Iterator<Item = (ConnectionId, NodeId)> {
        self.known.iter().filter(|(_, known)| known.is_direct()).map(|(id, known)| (*id, known.made.node))
    }

    /// The connections to a node which it dialled.
    pub(super) fn inbound(&self, node: NodeId) -> impl Iterator<Item = ConnectionId> {
        self.of(node).filter(|(_, known)| known.made.inbound).map(|(id, _)| id)
    }

    /// Whether a connection is of no use beside another: nobody speaks on it, and nothing is on its way.
    pub(super) fn is_spare(&self, id: ConnectionId) -> bool {
        let Some(known) = self.known.get(&id).filter(|known| self.active(known.made.node) != Some(id)) else {
            return false;
        };
        let said_nothing = match known.speaking {
            Speaking::NotYet | Speaking::Open { said: false } | Speaking::Ended => true,
            Speaking::Ending | Speaking::Open { said: true } => false,
        };
        let hears_nothing = match known.hearing {
            Hearing::Silent | Hearing::Ended => true,
            Hearing::Waits { .. } | Hearing::Reads { .. } => false,
        };
        said_nothing && hears_nothing
    }

    fn of(&self, node: NodeId) -> impl Iterator<Item = (ConnectionId, &Known)> {
        self.known.iter().filter(move |(_, known)| known.made.node == node).map(|(id, known)| (*id, known))
    }

    /// Whoever dials has no connection, or none that works: if the active one was dialled by the same node in the same
    /// way, it is dead and only we have not noticed yet (a reloaded tab, a changed network).
    fn is_replaced(&self, old: ConnectionId, new: ConnectionId) -> bool {
        let both = self.known.get(&old).zip(self.known.get(&new));
        both.is_some_and(|(old, new)| old.made.inbound && new.made.inbound && old.is_direct() == new.is_direct())
    }

    /// Whether a new connection is better than the one we speak on, and the other side follows there.
    fn is_worse(&self, old: ConnectionId, new: ConnectionId) -> bool {
        let both = self.known.get(&old).zip(self.known.get(&new));
        both.is_some_and(|(old, new)| {
            !old.is_direct() && new.is_direct() && old.is_open() && old.knows_marks && new.knows_marks
        })
    }

    fn move_to(&mut self, old: ConnectionId, new: ConnectionId) {
        if let Some(known) = self.known.get_mut(&old) {
            known.speaking = Speaking::Ending;
        }
        let blobs = self.end_blobs(old);
        let Some(known) = self.known.get_mut(&new) else { return };
        known.speaking = Speaking::Open { said: true };
        let Made { node, path, transport, .. } = known.made.clone();
        let Some(between) = self.between.get_mut(&node) else { return };
        (between.active, between.moved) = (Some(new), true);
        let goes_on = Order::SayGoesOn(new, between.ours);
        self.orders.extend([goes_on, Order::End { id: old, blobs }, Order::Moved { node, path, transport }]);
    }

    /// Something may be lost: the node is told. `here`: we have seen so, and the other side may not.
    fn broke(&mut self, now: Moment, node: NodeId, here: bool) {
        let Some(between) = self.between.get_mut(&node) else { return };
        // One that knows no marks sees the same break, and says Hello.
        between.stale = between.marked;
        between.heard = false;
        between.lost |= here;
        if between.active.take().is_none() {
            return;
        }
        self.orders.push_back(Order::Disconnected { node });
        let can_speak = self.of(node).any(|(_, known)| known.is_usable());
        for (id, known) in self.known.iter_mut().filter(|(_, known)| known.made.node == node && !known.leaving) {
            let ended_by_us = match known.speaking {
                Speaking::Ending | Speaking::Ended => true,
                Speaking::NotYet | Speaking::Open { .. } => false,
            };
            // Nothing more comes there, or there is no other way to begin anew than a new connection.
            if known.hearing == Hearing::Ended || (ended_by_us && !can_speak) {
                known.leaving = true;
                self.orders.push_back(Order::Close(*id));
            }
        }
        self.read_what_waits(now, node, false);
    }

    /// Whether the other side has told of losses so often that it is to connect anew: each makes our node begin anew.
    fn is_told_too_often(&mut self, now: Moment, node: NodeId) -> bool {
        let Some(between) = self.between.get_mut(&node) else { return false };
        let (since, count) = between.losses;
        let is_past = now - since >= limits::LOSSES_TIME;
        between.losses = if is_past { (now, 1) } else { (since, count.saturating_add(1)) };
        between.losses.1 > limits::LOSSES
    }

    /// Closes what the other side has left without an end: what is read elsewhere if it speaks here now, and what goes on
    /// with a beginning before its last.
    fn close_what_was_left(&mut self, node: NodeId, here: ConnectionId) {
        let theirs = self.between.get(&node).map_or(0, |between| between.theirs);
        let speaks_here = self.known.get(&here).is_some_and(|known| known.waits().is_none());
        for (id, known) in self.known.iter_mut().filter(|(_, known)| known.made.node == node && !known.leaving) {
            let is_left = match known.hearing {
                Hearing::Reads { .. } => speaks_here && *id != here,
                Hearing::Waits { beginning, .. } => beginning < theirs,
                Hearing::Silent | Hearing::Ended => false,
            };
            if is_left {
                known.leaving = true;
                self.orders.push_back(Order::Close(*id));
            }
        }
    }

    /// Reads a stream that goes on with what was said elsewhere, once that was read to its end. `late`: what has not begun
    /// by now never will.
    fn read_what_waits(&mut self, now: Moment, node: NodeId, late: bool) {
        let theirs = self.between.get(&node).map_or(0, |between| between.theirs);
        let next = self.of(node).filter_map(|(id, known)| known.waits().map(|(since, of)| (of, since, id))).min();
        let Some((beginning, _, id)) = next else { return };
        let precedes = |known: &Known| match known.hearing {
            Hearing::Reads { .. } => true,
            // That beginning may still be on its way.
            Hearing::Silent => beginning > theirs && !late,
            Hearing::Waits { .. } | Hearing::Ended => false,
        };
        if self.of(node).any(|(_, known)| !known.leaving && precedes(known)) {
            return;
        }
        self.read(now, id);
        if beginning != theirs {
            // It goes on with what is lost, or was said to an earlier life of ours.
            self.broke(now, node, true);
        }
    }

    fn read(&mut self, now: Moment, id: ConnectionId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.hearing = Hearing::Reads { heard_at: now };
            let node = known.made.node;
            self.orders.push_back(Order::Read(id));
            self.read_blobs(node);
        }
    }

    fn close_if_done(&mut self, id: ConnectionId) {
        let Some(known) = self.known.get(&id) else { return };
        if known.is_done() && self.active(known.made.node) != Some(id) {
            self.orders.push_back(Order::Close(id));
        }
    }
}
