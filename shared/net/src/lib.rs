//! libp2p for p2pnet: transports, behaviour, and the loop that feeds [`p2pnet_shared::node::Node`] and carries out its
//! effects. The only place where native and browser differ in `cfg`; each difference is an item of [`platform`].
//!
//! ```text
//! Handle ──Command──►┐                       ┌──HostOrder──► Host (executor, store, clock)
//! Host ───HostFact──►│ run ⇄ Node (pure)     │
//! net ────Input─────►┘        └──Effect──────┴──► net: links, dials, reservations ⇄ Swarm ⇄ transports
//! ```
//!
//! [`run`] is the loop, [`links`] turns libp2p's events into the node's inputs, [`frames`] holds the two tasks of each
//! connection, [`limits`] every bound.

pub mod address;
mod behaviour;
#[cfg(not(target_arch = "wasm32"))]
mod circuits;
mod crowd;
pub mod dialects;
mod frames;
pub mod handle;
pub mod host;
pub mod limits;
mod links;
mod listeners;
mod origin;
mod platform;
mod run;
pub mod shares;
mod streams;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod transport;

use libp2p::{Multiaddr, PeerId};
use p2pnet_shared::id::NodeId;

pub use platform::{Options, Outside};
#[cfg(not(target_arch = "wasm32"))]
pub use platform::{WebRtc, check_certificate, new_certificate};
pub use run::start;
#[cfg(not(target_arch = "wasm32"))]
pub use transport::door::WebSocketDoor;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret is no Ed25519 key, or not the one of the configured id.
    #[error("the node's key cannot be used: {0}")]
    Keys(String),
    /// The certificate for webrtc-direct cannot be read or made.
    #[error("the certificate for webrtc-direct cannot be used: {0}")]
    Certificate(String),
    /// An external address cannot be read.
    #[error("{0:?} is no multiaddress")]
    Address(String),
    /// A port or interface cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(Multiaddr, String),
    /// Names cannot be resolved.
    #[error("the system's name resolver cannot be used: {0}")]
    Names(String),
}

/// The node id of an Ed25519 secret.
pub fn node_id(secret: [u8; 32]) -> Option<NodeId> {
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(secret).ok()?;
    node_of(&keypair.public().to_peer_id())
}

/// The node behind a libp2p peer id; `None` for any key type but Ed25519.
fn node_of(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes())
}

/// The libp2p peer id of a node.
fn peer_of(node: NodeId) -> Option<PeerId> {
    PeerId::from_bytes(&node.to_peer_id_bytes()).ok()
}
