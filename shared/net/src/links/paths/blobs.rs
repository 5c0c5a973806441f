//! Parts of blobs have a stream of their own on each connection. They move with what is said, and are read in their order:
//! those of an old connection before those of a new one, and none before we have read who sends them.

use libp2p::swarm::ConnectionId;
use p2pnet_shared::{id::NodeId, wire::Message};

use super::{
    Order, Paths,
    known::{Blobs, Hearing, Known, Speaking},
};

impl Paths {
    /// Our stream of blobs on a connection is open; `false` when we have moved away meanwhile: it is ended at once.
    pub(crate) fn blobs_opened(&mut self, id: ConnectionId) -> bool {
        let Some(known) = self.known.get_mut(&id) else { return false };
        let stays = known.is_open();
        known.sends_blobs = if stays { Speaking::Open { said: true } } else { Speaking::Ending };
        stays
    }

    /// The first part of a blob came on a connection. [`Order::ReadBlobs`] says when more is read.
    pub(crate) fn blobs_began(&mut self, id: ConnectionId) {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.leaving) else { return };
        if known.hearing == Hearing::Ended && known.blobs == Blobs::None {
            // It was opened too late for any, and only ends.
            self.orders.push_back(Order::ReadBlobs(id));
            return;
        }
        known.blobs = Blobs::Waits { here: true };
        let node = known.made.node;
        self.read_blobs(node);
    }

    /// A part of a blob came. It is for nobody while the other side does not know of a loss.
    pub(crate) fn blob(&mut self, id: ConnectionId, message: Message) {
        let Some(known) = self.known.get(&id).filter(|known| !known.leaving) else { return };
        let from = known.made.node;
        if self.between.get(&from).is_some_and(|between| between.active.is_some() && !between.stale) {
            self.orders.push_back(Order::Received { from, message });
        }
    }

    /// The other side ended its stream of blobs, and we have read it.
    pub(crate) fn blobs_ended(&mut self, id: ConnectionId) {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.leaving) else { return };
        known.blobs = Blobs::Ended;
        let node = known.made.node;
        self.orders.push_back(Order::AcknowledgeBlobs(id));
        self.read_blobs(node);
        self.close_if_done(id);
    }

    /// The other side has read our stream of blobs to its end.
    pub(crate) fn blobs_acknowledged(&mut self, id: ConnectionId) {
        if let Some(known) = self.known.get_mut(&id)
            && known.sends_blobs == Speaking::Ending
        {
            known.sends_blobs = Speaking::Ended;
            self.close_if_done(id);
        }
    }

    /// Whether there is a stream of blobs that ends now.
    pub(super) fn end_blobs(&mut self, id: ConnectionId) -> bool {
        match self.known.get_mut(&id).map(|known| &mut known.sends_blobs) {
            Some(sends @ Speaking::Open { .. }) => {
                *sends = Speaking::Ending;
                true
            }
            Some(Speaking::NotYet | Speaking::Ending | Speaking::Ended) | None => false,
        }
    }

    /// Reads the stream of blobs that is next: where messages are read, and where no earlier one is left.
    pub(super) fn read_blobs(&mut self, node: NodeId) {
        if !self.between.get(&node).is_some_and(|between| between.heard) {
            return;
        }
        let is_next = |known: &Known| match known.hearing {
            // Where messages have ended, parts came before those of any other connection.
            Hearing::Ended => true,
            Hearing::Reads { .. } => {
                let is_owed = |known: &Known| !known.leaving && known.hearing == Hearing::Ended && known.owes_blobs();
                !self.of(node).any(|(_, other)| is_owed(other))
            }
            Hearing::Silent | Hearing::Waits { .. } => false,
        };
        let waits = |known: &Known| !known.leaving && known.blobs == Blobs::Waits { here: true };
        let next = self.of(node).find(|(_, known)| waits(known) && is_next(known)).map(|(id, _)| id);
        if let Some(id) = next
            && let Some(known) = self.known.get_mut(&id)
        {
            known.blobs = Blobs::Reads;
            self.orders.push_back(Order::ReadBlobs(id));
            self.read_blobs(node);
        }
    }
}
