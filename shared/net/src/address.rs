//! Reading and making multiaddresses: whose they are, what they run over, how to go through a seed.

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, multiaddr::Protocol};
use p2pnet_shared::{api::Path, id::NodeId};

use crate::{limits, node_of, platform};

/// The multiaddress of a WebSocket on an HTTP server: `host` is a name or an IP address, `path` begins with a slash.
pub fn websocket_address(host: &str, port: u16, tls: bool, path: &str, node: NodeId) -> String {
    let host = match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(ip) => Multiaddr::from(ip),
        Err(_) => Multiaddr::empty().with(Protocol::Dns(host.into())),
    };
    let address = host.with(Protocol::Tcp(port));
    let address = if tls { address.with(Protocol::Wss(path.into())) } else { address.with(Protocol::Ws(path.into())) };
    format!("{address}/p2p/{node}")
}

/// The node that all these addresses name, and the addresses without the name: those that this platform can dial,
/// each once. `None` when no address names a node, or two name different ones.
pub fn addresses_of_one(texts: &[String]) -> Option<(NodeId, Vec<Multiaddr>)> {
    let mut found: Option<NodeId> = None;
    let mut addresses = Vec::new();
    for text in texts.iter().take(2 * limits::ADDRESSES_PER_NODE) {
        let Ok(address) = text.parse::<Multiaddr>() else { continue };
        let (Some(node), bare) = split_node(&address) else { continue };
        if found.is_some_and(|found| found != node) {
            return None;
        }
        found = Some(node);
        if platform::can_dial(&bare) && !addresses.contains(&bare) && addresses.len() < limits::ADDRESSES_PER_NODE {
            addresses.push(bare);
        }
    }
    found.map(|node| (node, addresses))
}

/// What of a stranger's addresses can be dialled to reach `node`.
pub fn dialable(texts: &[String], node: NodeId) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for text in texts.iter().take(limits::ADDRESSES_PER_NODE) {
        let Ok(address) = text.parse::<Multiaddr>() else { continue };
        let (named, bare) = split_node(&address);
        if named.is_none_or(|named| named == node) && platform::can_dial(&bare) && !addresses.contains(&bare) {
            addresses.push(bare);
        }
    }
    addresses
}

/// The address of `node` through a circuit of the seed at `seed_address`.
pub fn through(seed_address: &Multiaddr, seed: PeerId, node: PeerId) -> Multiaddr {
    circuit(seed_address, seed).with(Protocol::P2p(node))
}

/// The address on which a reservation at the seed is asked for.
pub fn circuit(seed_address: &Multiaddr, seed: PeerId) -> Multiaddr {
    without_node(seed_address).with(Protocol::P2p(seed)).with(Protocol::P2pCircuit)
}

/// The address up to its last part, if that is a name.
pub fn without_node(address: &Multiaddr) -> Multiaddr {
    let mut bare = address.clone();
    if let Some(Protocol::P2p(_)) = bare.iter().last() {
        bare.pop();
    }
    bare
}

/// Whether the address goes through a circuit.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Whether only this machine can dial it.
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddr may add protocols")]
pub fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

/// How a connection runs, and over what.
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddr may add protocols")]
pub fn path_of(endpoint: &ConnectedPoint) -> (Path, &'static str) {
    // Of a circuit, the dialler's address and the listener's own name the relay.
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } if is_relayed(local_addr) => local_addr,
        ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
    };
    if is_relayed(address) {
        let via = address
            .iter()
            .take_while(|part| !matches!(part, Protocol::P2pCircuit))
            .filter_map(|part| match part {
                Protocol::P2p(peer) => node_of(&peer),
                _ => None,
            })
            .last();
        return (Path::Relayed { via }, "circuit");
    }
    let mut name = "unknown";
    for part in address {
        match part {
            Protocol::Tcp(_) => name = "tcp",
            Protocol::QuicV1 => name = "quic",
            Protocol::Ws(_) | Protocol::Wss(_) => name = "websocket",
            Protocol::WebRTCDirect => name = "webrtc-direct",
            _ => {}
        }
    }
    (Path::Direct, name)
}

fn split_node(address: &Multiaddr) -> (Option<NodeId>, Multiaddr) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => (node_of(&peer), without_node(address)),
        Some(_) | None => (None, address.clone()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        crate::node_id([seed; 32]).unwrap()
    }

    #[test]
    fn a_websocket_address_reads_back_with_its_path() {
        let text = websocket_address("127.0.0.1", 8080, false, "/p2p", node(1));
        let (named, addresses) = addresses_of_one(std::slice::from_ref(&text)).unwrap();
        assert_eq!(named, node(1));
        assert_eq!(addresses[0].iter().last(), Some(Protocol::Ws("/p2p".into())));
        assert!(websocket_address("::1", 1, true, "/p2p", node(1)).starts_with("/ip6/::1/tcp/1/x-parity-wss/"));
        assert!(websocket_address("p2p.example", 1, true, "/", node(1)).starts_with("/dns/p2p.example/tcp/1/wss/"));
    }

    #[test]
    fn addresses_of_different_nodes_are_no_seed_and_nonsense_is_passed_over() {
        let one = format!("/ip4/1.2.3.4/tcp/1/p2p/{}", node(1));
        let two = format!("/ip4/1.2.3.4/tcp/1/p2p/{}", node(2));
        assert_eq!(addresses_of_one(&[one.clone(), two]), None);
        assert_eq!(addresses_of_one(&["nonsense".to_owned(), "/ip4/1.2.3.4/tcp/1".to_owned()]), None);
        let (_, addresses) = addresses_of_one(&["nonsense".to_owned(), one.clone(), one]).unwrap();
        assert_eq!(addresses.len(), 1);
    }

    #[test]
    fn an_offer_cannot_make_us_dial_another_node_or_a_circuit_of_its_choice() {
        let other = format!("/ip4/1.2.3.4/tcp/1/p2p/{}", node(2));
        let circuit = format!("/ip4/1.2.3.4/tcp/1/p2p/{}/p2p-circuit/p2p/{}", node(2), node(1));
        assert!(dialable(&[other, circuit], node(1)).is_empty());
        assert_eq!(dialable(&vec!["/ip4/1.2.3.4/tcp/1".to_owned(); 99], node(1)).len(), 1);
    }

    #[test]
    fn a_circuit_names_its_relay() {
        let seed: Multiaddr = "/ip4/1.2.3.4/tcp/1".parse().unwrap();
        let address = through(&seed, crate::peer_of(node(1)).unwrap(), crate::peer_of(node(2)).unwrap());
        let endpoint = ConnectedPoint::Dialer {
            address,
            role_override: libp2p::core::Endpoint::Dialer,
            port_use: libp2p::core::transport::PortUse::New,
        };
        assert_eq!(path_of(&endpoint), (Path::Relayed { via: Some(node(1)) }, "circuit"));
    }
}
