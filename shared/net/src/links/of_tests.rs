//! What tests do with links, and nobody else.

use libp2p::Multiaddr;
use p2pnet_shared::{id::NodeId, wire::Version};

use super::Links;
use crate::dialects::Dialects;

impl Links {
    /// Sends bytes that are no message.
    pub(crate) fn send_raw(&mut self, to: NodeId, frame: Vec<u8>) {
        let line = self.paths.active(to).and_then(|id| self.lines.get(&id));
        let outgoing = line.and_then(|line| line.outgoing.as_ref());
        assert!(outgoing.is_some_and(|outgoing| outgoing.send(frame)));
    }

    /// Bytes that wait to be sent to a node.
    pub(crate) fn queued(&self, to: NodeId) -> usize {
        self.paths.active(to).and_then(|id| self.lines.get(&id)).map_or(0, |line| line.writing().queued)
    }

    /// Behaves as one of an older build on connections that come: it knows no marks and no stream for blobs.
    pub(crate) fn be_older(&mut self) {
        self.swarm.behaviour_mut().streams.speak(Dialects::of([Version::V1]));
    }

    /// Dials an address of any kind, also where there is a connection.
    pub(crate) fn dial_beside(&mut self, node: NodeId, address: Multiaddr) {
        self.attempt(node, vec![address]);
    }
}
