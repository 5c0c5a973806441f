//! The libp2p behaviours of a node, put together.

use std::num::NonZeroU32;

use libp2p::{
    connection_limits::{self, ConnectionLimits},
    identify,
    identity::Keypair,
    ping, relay,
    swarm::NetworkBehaviour,
};

use crate::{limits, platform, streams};

/// What identify says about the network; nodes of other networks are told apart by it.
const NETWORK: &str = "/p2pnet/1";

/// All behaviours of a node.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// First, so that it refuses a connection before the others prepare for it.
    limits: connection_limits::Behaviour,
    /// Our own protocol.
    pub streams: streams::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    /// Reaches and is reached through the circuits of seeds.
    relay_client: relay::client::Behaviour,
    /// Relays for others: seeds only, never in a browser.
    relay_server: platform::RelayServer,
}

impl Behaviour {
    /// The behaviours of a node with this key. `serve`: relay circuits for others.
    pub fn new(keypair: &Keypair, agent: String, relay_client: relay::client::Behaviour, serve: bool) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits::PENDING_INCOMING))
            .with_max_pending_outgoing(Some(limits::PENDING_OUTGOING))
            .with_max_established(Some(platform::CONNECTIONS))
            .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_NODE));
        Self {
            limits: connection_limits::Behaviour::new(limits),
            streams: streams::Behaviour::default(),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(limits::PING_INTERVAL).with_timeout(limits::PING_TIMEOUT),
            ),
            identify: identify::Behaviour::new(
                identify::Config::new(NETWORK.to_owned(), keypair.public()).with_agent_version(agent),
            ),
            relay_client,
            relay_server: platform::relay_server(keypair.public().to_peer_id(), serve),
        }
    }
}

/// The limits of circuits, the same wherever they are served.
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub fn circuit_limits() -> relay::Config {
    let mut config = relay::Config {
        max_reservations: limits::RESERVATIONS,
        max_reservations_per_peer: limits::RESERVATIONS_PER_NODE,
        reservation_duration: limits::RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits::CIRCUITS,
        max_circuits_per_peer: limits::CIRCUITS_PER_NODE,
        max_circuit_duration: limits::CIRCUIT_DURATION,
        max_circuit_bytes: limits::CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    if let Some(rate) = NonZeroU32::new(limits::RESERVATION_RATE) {
        config = config.reservation_rate_per_peer(rate, limits::RATE_INTERVAL);
    }
    if let Some(rate) = NonZeroU32::new(limits::CIRCUIT_RATE) {
        config = config.circuit_src_per_peer(rate, limits::RATE_INTERVAL);
    }
    config
}
