//! The libp2p behaviours of a node, put together.

use libp2p::{identify, identity::Keypair, ping, relay, swarm::NetworkBehaviour};

use crate::{crowd, dialects::Dialects, limits, platform, streams};

/// What identify says about the network; nodes of other networks are told apart by it.
const NETWORK: &str = "/p2pnet/1";

/// All behaviours of a node.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// Bounds connections and dials. First, so that it refuses a connection before the others prepare for it.
    pub crowd: crowd::Behaviour,
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
    /// The behaviours of a node with this key that speaks these versions.
    pub(crate) fn new(
        keypair: &Keypair,
        agent: String,
        dialects: Dialects,
        relay_client: relay::client::Behaviour,
        relay_server: platform::RelayServer,
    ) -> Self {
        Self {
            crowd: crowd::Behaviour::default(),
            streams: streams::Behaviour::new(dialects),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(limits::PING_INTERVAL).with_timeout(limits::PING_TIMEOUT),
            ),
            identify: identify::Behaviour::new(
                identify::Config::new(NETWORK.to_owned(), keypair.public()).with_agent_version(agent),
            ),
            relay_client,
            relay_server,
        }
    }
}
