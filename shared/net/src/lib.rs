//! libp2p for p2pnet: transports, behaviour, and the loop that feeds [`p2pnet_shared::node::Node`] and carries out its
//! effects. The only place where native and browser differ in `cfg`.

pub mod handle;
pub mod host;

use p2pnet_shared::id::NodeId;

/// The node id of an Ed25519 secret.
pub fn node_id(secret: [u8; 32]) -> Option<NodeId> {
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(secret).ok()?;
    NodeId::from_peer_id_bytes(&keypair.public().to_peer_id().to_bytes())
}
