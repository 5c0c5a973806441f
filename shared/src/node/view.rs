//! What a person sees of a node. Nothing here costs more than the attempts and nodes that it shows.

use super::Node;
use crate::{
    api::{NetworkView, NodeView},
    id::NodeId,
    wire::Offer,
};

/// Nodes that are shown.
const MOST_NODES: usize = 1000;

impl Node {
    pub(super) fn network_view(&self) -> NetworkView {
        let core = &self.core;
        let mut nodes: std::collections::BTreeMap<NodeId, NodeView> = core
            .peers
            .connected()
            .map(|(node, peer)| {
                let greeting = peer.greeting.as_ref();
                let view = NodeView {
                    node,
                    role: greeting.map(|greeting| greeting.role),
                    agent: greeting.map(|greeting| greeting.agent.clone()).unwrap_or_default(),
                    path: Some(peer.path.clone()),
                    transport: Some(peer.transport.to_owned()),
                    round_trip_millis: peer.round_trip_millis,
                    offer: None,
                };
                (node, view)
            })
            .collect();
        for offer in self.requester.offers(core.now).chain(self.broker.offers().map(|(_, offer)| offer)) {
            if offer.node == core.me() {
                continue;
            }
            nodes.entry(offer.node).or_insert_with(|| unconnected(offer)).offer = Some(offer.clone());
        }
        let nodes_total = nodes.len() as u64;
        // Connected nodes first, if not all can be shown.
        let mut nodes: Vec<NodeView> = nodes.into_values().collect();
        if nodes.len() > MOST_NODES {
            nodes.sort_by_key(|view| (view.path.is_none(), view.node));
            nodes.truncate(MOST_NODES);
            nodes.sort_by_key(|view| view.node);
        }
        NetworkView {
            me: core.me(),
            role: core.config.role,
            online: core.is_online(),
            seed_version: core.peers.seed_version(),
            nodes,
            nodes_total,
            provider: self.provider.view(core),
            records_not_understood: self.requester.records_not_understood(),
        }
    }
}

fn unconnected(offer: &Offer) -> NodeView {
    NodeView {
        node: offer.node,
        role: Some(offer.role),
        agent: offer.agent.clone(),
        path: None,
        transport: None,
        round_trip_millis: None,
        offer: None,
    }
}
