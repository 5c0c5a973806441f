//! `GET /.well-known/p2pnet.json`: how to reach this relay, for browsers and native nodes.
//!
//! Whoever asks has reached the HTTP port under some name, so that name comes first. Addresses of this machine's
//! loopback are only for those who are on this machine.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json,
    extract::{ConnectInfo, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{api::WellKnown, wire::Version};

use super::{
    App,
    address::Base,
    forwarded::{asked_hosts, is_https},
};

/// Where WebSockets come in, on the HTTP port.
pub const WEBSOCKET_PATH: &str = "/p2p";

/// `GET /.well-known/p2pnet.json`
pub async fn document(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    base: Base,
    headers: HeaderMap,
) -> Response {
    let listening = app.addresses.borrow().clone();
    let me = app.handle.me().to_string();
    let path = format!("{}{WEBSOCKET_PATH}", base.as_str());
    let hosts: Vec<Host> = asked_hosts(&headers).iter().filter_map(|host| read_host(host)).collect();
    let asker = app.proxies.client(peer, &headers);
    let addresses = addresses(&listening, &app.external, &hosts, is_https(&headers), &path, asker, &me);
    let body = WellKnown {
        node: app.handle.me(),
        addresses,
        websocket_path: path,
        protocol: Version::NEWEST.number(),
        protocols: Version::spoken().map(|version| version.protocol().to_owned()).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// A `Host` header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    name: Name,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Address(IpAddr),
    Dns(String),
}

impl Host {
    fn is_this_machine(&self) -> bool {
        match &self.name {
            Name::Address(address) => address.is_loopback(),
            Name::Dns(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

/// `None` for what is no host: the header is a stranger's and comes back in the answer.
fn read_host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Host { name: Name::Address(address.ip()), port: Some(address.port()) });
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Host { name: Name::Address(address), port: None });
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let sound = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    sound.then(|| Host { name: Name::Dns(name.to_ascii_lowercase()), port })
}

/// The addresses for one who asked for the first of `hosts`, or another of them, and came from `peer`, best first.
fn addresses(
    listening: &[String],
    external: &[IpAddr],
    hosts: &[Host],
    secure: bool,
    path: &str,
    peer: IpAddr,
    me: &str,
) -> Vec<String> {
    let host = hosts.first();
    let here = host.is_some_and(Host::is_this_machine) || (host.is_none() && peer.is_loopback());
    let mut addresses = Vec::new();
    for host in hosts {
        let name = match &host.name {
            // "localhost" may mean ::1 to the browser while we listen on IPv4 only: libp2p gets the name, as the browser did.
            Name::Dns(name) => format!("/dns/{name}"),
            Name::Address(IpAddr::V4(address)) => format!("/ip4/{address}"),
            Name::Address(IpAddr::V6(address)) => format!("/ip6/{address}"),
        };
        let port = host.port.unwrap_or(if secure { 443 } else { 80 });
        let scheme = if secure { "/tls" } else { "" };
        let path = path.replace('/', "%2F");
        addresses.push(format!("{name}/tcp/{port}{scheme}/x-parity-ws/{path}/p2p/{me}"));
    }
    let mut rest: Vec<String> = listening.iter().filter(|address| here || !is_loopback(address)).cloned().collect();
    // Behind a NAT that passes our ports on, the address that the asker used, or that the operator named, is the only
    // one that works, and no interface has it.
    let asked = host.and_then(|host| match host.name {
        Name::Address(address) => Some(address).filter(|address| !address.is_loopback()),
        Name::Dns(_) => None,
    });
    for address in asked.into_iter().chain(external.iter().copied()) {
        let own: Vec<String> = listening
            .iter()
            .filter(|listened| !is_loopback(listened) && same_family(listened, address))
            .filter_map(|listened| with_prefix(listened, &prefix_of(address)))
            .collect();
        rest.extend(own);
    }
    // Loopback last: other interfaces work from here as well, but not the reverse; for localhost it comes first.
    if here {
        rest.sort_by_key(|address| !is_loopback(address));
    }
    for address in rest {
        let address = if address.contains("/p2p/") { address } else { format!("{address}/p2p/{me}") };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn is_loopback(address: &str) -> bool {
    let mut parts = address.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("ip4" | "ip6"), Some(ip)) => ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        _ => false,
    }
}

fn prefix_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("/ip4/{address}"),
        IpAddr::V6(address) => format!("/ip6/{address}"),
    }
}

fn same_family(listened: &str, address: IpAddr) -> bool {
    listened.starts_with(if address.is_ipv4() { "/ip4/" } else { "/ip6/" })
}

/// `listened` with another IP in front.
fn with_prefix(listened: &str, prefix: &str) -> Option<String> {
    let rest = listened.splitn(4, '/').nth(3)?;
    Some(format!("{prefix}/{rest}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LISTENING: [&str; 4] = [
        "/ip4/127.0.0.1/tcp/5557/p2p/me",
        "/ip4/10.0.0.7/tcp/5557/p2p/me",
        "/ip4/127.0.0.1/udp/5558/webrtc-direct/certhash/uEi/p2p/me",
        "/ip4/10.0.0.7/udp/5558/webrtc-direct/certhash/uEi/p2p/me",
    ];

    fn ask(host: &str, secure: bool, peer: &str) -> Vec<String> {
        let listening: Vec<String> = LISTENING.iter().map(|text| (*text).to_owned()).collect();
        addresses(&listening, &[], read_host(host).as_slice(), secure, WEBSOCKET_PATH, peer.parse().unwrap(), "me")
    }

    #[test]
    fn a_browser_on_this_machine_gets_loopback_first() {
        let found = ask("localhost:8080", false, "127.0.0.1");
        assert_eq!(found[0], "/dns/localhost/tcp/8080/x-parity-ws/%2Fp2p/p2p/me");
        assert!(found[1].starts_with("/ip4/127.0.0.1/") && found.len() == 5, "{found:?}");
    }

    #[test]
    fn a_browser_elsewhere_gets_no_loopback_but_the_address_it_knows() {
        let found = ask("192.0.2.1:9000", false, "198.51.100.9");
        assert_eq!(
            found,
            [
                "/ip4/192.0.2.1/tcp/9000/x-parity-ws/%2Fp2p/p2p/me",
                "/ip4/10.0.0.7/tcp/5557/p2p/me",
                "/ip4/10.0.0.7/udp/5558/webrtc-direct/certhash/uEi/p2p/me",
                "/ip4/192.0.2.1/tcp/5557/p2p/me",
                "/ip4/192.0.2.1/udp/5558/webrtc-direct/certhash/uEi/p2p/me",
            ]
        );
    }

    #[test]
    fn behind_a_proxy_with_tls_it_is_the_proxys_port() {
        let found = ask("relay.example.org", true, "127.0.0.1");
        assert_eq!(found[0], "/dns/relay.example.org/tcp/443/tls/x-parity-ws/%2Fp2p/p2p/me");
        assert!(found.iter().all(|address| !address.contains("127.0.0.1")), "{found:?}");
    }

    #[test]
    fn a_host_that_is_none_is_not_repeated() {
        for bad in ["", "a b", "a/../../x", "<script>", "a:99999", "é.example"] {
            assert_eq!(read_host(bad), None, "{bad}");
        }
        assert_eq!(read_host("[::1]:80").unwrap().port, Some(80));
        assert!(read_host("[::1]").unwrap().is_this_machine());
    }
}
