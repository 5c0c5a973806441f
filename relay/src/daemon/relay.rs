//! `p2pnet relay`: seed, HTTP, page, and its own provider.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use p2pnet_net::{Options, dialects::Dialects};
use p2pnet_shared::wire::Role;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::timeout,
};

use super::{PortKind, Running, certificate, choose_port, keep_ports, open_folder, options, signals};
use crate::{
    cli::{failure::Failure, output},
    config::Config,
    host::give_large_memory_back,
    http::{self, Access, App, Entrance, address::Base, browsers::Pages, owners::Owners, source::Trust},
    store::folder::Ports,
};

/// How long answers under way may take once the relay is told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How long listeners may take to come up before the relay calls itself ready.
const LISTENING: Duration = Duration::from_secs(5);

/// Files and sockets that a relay opens when HTTP and the network hold all the connections that they may.
const OPEN_FILES: u64 = 20_000;

/// Runs until Ctrl-C or SIGTERM, and speaks these versions of the protocol.
pub async fn run(config: Config, dialects: Dialects) -> Result<(), Failure> {
    raise_open_files();
    give_large_memory_back();
    let stopping = signals::stop_token();
    let folder = open_folder(&config.data_folder("relay"))?;
    let host = config.host.value;
    let last = folder.ports()?;
    let listener = listen(host, config.port.value, last.port)?;
    let port = listener.local_addr().map_err(|error| Failure::here(error.to_string(), ""))?.port();
    let ports = Ports {
        port,
        p2p_port: choose_port(host, config.p2p_port.value, last.p2p_port, PortKind::TcpAndUdp),
        webrtc_port: choose_port(host, config.webrtc_port.value, last.webrtc_port, PortKind::Udp),
    };
    keep_ports(&folder, ports);
    let external = External::read(&config.external_addresses.value, ports)?;
    let access = access(&config, folder.identity()?.bytes())?;
    let options = Options {
        dialects,
        ..options(host, ports.p2p_port, ports.webrtc_port, certificate(&folder)?, external.multiaddresses)
    };
    let mut node = Running::start(folder, Role::Seed, "relay", &config, options).await?;
    node.lend(&config, config.provider.value).await;
    wait_for_listeners(&mut node).await;

    let app = App::new(
        node.handle.clone(),
        node.store.clone(),
        node.outside.door.clone(),
        node.outside.addresses.clone(),
        Entrance { external: external.addresses, base: config.base_path.value.clone() },
        access,
        stopping.clone(),
    );
    let mut server = tokio::spawn(http::serve(listener, app));
    announce(&config, ports);
    tracing::info!(id = %node.handle.me(), lending = config.provider.value, cores = config.cores.value.count(), "the relay is ready");

    tokio::select! {
        // First: the server ends by itself once the process is told to stop.
        biased;
        () = stopping.cancelled() => {}
        ended = &mut server => {
            let why = match ended {
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            node.stop().await;
            return Err(Failure::here(format!("the HTTP server stopped: {why}"), "see the log above"));
        }
    }
    match timeout(LAST_ANSWERS, &mut server).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the HTTP server did not end well"),
        Ok(Err(error)) => tracing::warn!(%error, "the HTTP server did not end well"),
        Err(_) => {
            tracing::warn!("some answers were cut off");
            server.abort();
        }
    }
    node.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Who may ask what, as the configuration says.
fn access(config: &Config, secret: [u8; 32]) -> Result<Access, Failure> {
    // Outside addresses are names of this relay too.
    let outside =
        config.external_addresses.value.iter().filter(|text| !text.starts_with('/') && text.parse::<IpAddr>().is_err());
    let names: Vec<String> = config.host_names.value.iter().chain(outside).cloned().collect();
    Ok(Access {
        owners: Owners::new(secret, config.admin_token.value.as_deref()),
        proxies: Trust::read(&config.trusted_proxies.value).map_err(|text| {
            Failure::usage(
                format!("the trusted proxy {text:?} is not understood"),
                "give an IP address, a network (10.0.0.0/8), or none",
            )
        })?,
        pages: Pages::read(&config.allow_origins.value, &names).map_err(|why| Failure::usage(why, ""))?,
    })
}

/// The line that people click and programs wait for; ports too where they were not known before.
fn announce(config: &Config, ports: Ports) {
    output::announce(page_url(config.host.value, ports.port, &config.base_path.value));
    if config.p2p_port.value == 0 || config.webrtc_port.value == 0 {
        output::announce(format_args!("p2p-port {} webrtc-port {}", ports.p2p_port, ports.webrtc_port));
    }
}

/// Where the page is, for somebody on this machine.
fn page_url(host: IpAddr, port: u16, base: &Base) -> String {
    let everywhere = host.is_unspecified() || host == IpAddr::V4(Ipv4Addr::LOCALHOST);
    let base = base.as_str();
    if everywhere {
        format!("http://localhost:{port}{base}/")
    } else {
        format!("http://{}{base}/", SocketAddr::new(host, port))
    }
}

/// Most systems give a process 1,024 files and sockets unless it asks for more: then a crowd that keeps every other
/// bound takes them all, and nobody else is let in.
fn raise_open_files() {
    #[cfg(unix)]
    match rlimit::increase_nofile_limit(OPEN_FILES) {
        Ok(most) if most >= OPEN_FILES => {}
        Ok(most) => {
            tracing::warn!("only {most} files and sockets may be open at once: see Trouble in docs/operators.md")
        }
        Err(error) => tracing::warn!("how many files and sockets may be open cannot be raised: {error}"),
    }
}

/// Connections that the system holds until they are taken; of whoever comes beyond, the first packet is lost, and he
/// waits for seconds. By default it is 128, which a crowd fills between two turns of a busy machine.
const BACKLOG: u32 = 4_096;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As tokio's own `bind` does: else a relay that restarts waits for the last packets of its earlier life.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has ever more kinds of errors")]
fn listen(host: IpAddr, wanted: u16, last: u16) -> Result<TcpListener, Failure> {
    if wanted == 0
        && last != 0
        && let Ok(listener) = bind(SocketAddr::new(host, last))
    {
        return Ok(listener);
    }
    bind(SocketAddr::new(host, wanted)).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program has this port, maybe another relay: choose another with --port (0: any)"
            }
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights: choose another with --port",
            _ => "check --host and --port",
        };
        Failure::here(format!("cannot listen on {host} port {wanted}: {error}"), hint)
    })
}

/// Returns when webrtc-direct, the slowest, has its address, or it is time to go on without.
async fn wait_for_listeners(node: &mut Running) {
    let ready = node.outside.addresses.wait_for(|addresses| {
        addresses.iter().any(|address| address.contains("/webrtc-direct"))
            && addresses.iter().any(|address| address.contains("/tcp/"))
    });
    if !matches!(timeout(LISTENING, ready).await, Ok(Ok(_))) {
        tracing::warn!("not every transport is listening; browsers still reach this relay by WebSocket");
    }
}

/// What `external_addresses` says, in the forms that its users need.
struct External {
    /// For libp2p.
    multiaddresses: Vec<String>,
    /// IP addresses under which the WebRTC port is reached too: their multiaddress needs the certificate's hash, which
    /// the HTTP side takes from the addresses that the node listens on.
    addresses: Vec<IpAddr>,
}

impl External {
    fn read(texts: &[String], ports: Ports) -> Result<Self, Failure> {
        let mut external = Self { multiaddresses: Vec::new(), addresses: Vec::new() };
        for text in texts {
            let name = if text.starts_with('/') {
                external.multiaddresses.push(text.clone());
                continue;
            } else if let Ok(address) = text.parse::<IpAddr>() {
                external.addresses.push(address);
                if address.is_ipv4() { format!("/ip4/{address}") } else { format!("/ip6/{address}") }
            } else if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
                format!("/dns/{text}")
            } else {
                return Err(Failure::usage(
                    format!("the external address {text:?} is not understood"),
                    "give an IP address, a host name without port, or a multiaddress that begins with /",
                ));
            };
            external.multiaddresses.push(format!("{name}/tcp/{}", ports.p2p_port));
            external.multiaddresses.push(format!("{name}/udp/{}/quic-v1", ports.p2p_port));
        }
        Ok(external)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_url_is_one_that_works_on_this_machine() {
        let url = |host: &str, base: &str| page_url(host.parse().unwrap(), 80, &base.parse().unwrap());
        assert_eq!(url("0.0.0.0", ""), "http://localhost:80/");
        assert_eq!(url("127.0.0.1", "/a"), "http://localhost:80/a/");
        assert_eq!(url("::1", ""), "http://[::1]:80/");
        assert_eq!(url("192.0.2.7", ""), "http://192.0.2.7:80/");
    }

    #[test]
    fn external_addresses_become_what_libp2p_reads() {
        let ports = Ports { port: 8080, p2p_port: 5557, webrtc_port: 5558 };
        let texts = ["192.0.2.1", "relay.example.org", "/ip4/1.1.1.1/tcp/9"].map(str::to_owned);
        let external = External::read(&texts, ports).ok().unwrap();
        assert_eq!(
            external.multiaddresses,
            [
                "/ip4/192.0.2.1/tcp/5557",
                "/ip4/192.0.2.1/udp/5557/quic-v1",
                "/dns/relay.example.org/tcp/5557",
                "/dns/relay.example.org/udp/5557/quic-v1",
                "/ip4/1.1.1.1/tcp/9"
            ]
        );
        assert_eq!(external.addresses, [IpAddr::from([192, 0, 2, 1])]);
        assert!(External::read(&["http://x:1".to_owned()], ports).is_err());
    }
}
