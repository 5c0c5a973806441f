//! `p2pnet node`: lends this machine to the network of a relay.

use std::{net::Ipv4Addr, time::Duration};

use futures::SinkExt;
use p2pnet_client::Client;
use p2pnet_net::host::HostFact;
use p2pnet_shared::wire::Role;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{PortKind, Running, certificate, choose_port, keep_ports, open_folder, options, signals};
use crate::{
    cli::{
        failure::Failure,
        output::{announce, aside},
    },
    config::Config,
    store::folder::Ports,
};

/// First and longest pause between two tries to read the relay's addresses.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often the addresses are read again while all is well; a relay that moved is found before it is needed.
const READ_AGAIN: Duration = Duration::from_secs(300);
/// How often the connection is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(config: Config) -> Result<(), Failure> {
    let stopping = signals::stop_token();
    let client = Client::telling(&config.url.value, |line| aside(line))?;
    let folder = open_folder(&config.data_folder("node"))?;
    let host = Ipv4Addr::UNSPECIFIED.into();
    let last = folder.ports()?;
    let ports = Ports {
        port: 0,
        p2p_port: choose_port(host, 0, last.p2p_port, PortKind::TcpAndUdp),
        webrtc_port: choose_port(host, 0, last.webrtc_port, PortKind::Udp),
    };
    keep_ports(&folder, ports);
    let options = options(host, ports.p2p_port, ports.webrtc_port, certificate(&folder)?, Vec::new());
    let node = Running::start(folder, Role::Client, "native", &config, options).await?;
    node.lend(&config, true).await;
    let (me, cores) = (node.handle.me(), config.cores.value.count());
    announce(format_args!("node {me} lends {cores} core(s) to {}", client.url()));

    stay_connected(&node, &client, &stopping).await;
    node.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Reads the relay's addresses now, whenever the connection is lost, and now and then.
async fn stay_connected(node: &Running, client: &Client, stopping: &CancellationToken) {
    let mut facts = node.facts.clone();
    let (mut pause, longest) = BACK_OFF;
    let mut silent = false;
    loop {
        let asked = tokio::select! {
            asked = client.well_known() => asked,
            () = stopping.cancelled() => return,
        };
        match asked {
            Ok(found) => {
                if silent {
                    tracing::info!(relay = client.url(), "the relay is back");
                }
                silent = false;
                let addresses = for_native(found.addresses);
                if facts.send(HostFact::SeedKnown { addresses }).await.is_err() {
                    return;
                }
                if !wait_until_offline(node, stopping).await {
                    return;
                }
                // Not at once: all nodes of a relay that restarts would ask in the same moment.
                pause = BACK_OFF.0.mul_f64(0.5 + rand::random::<f64>());
            }
            Err(failure) => {
                if !silent {
                    tracing::warn!("{failure}; trying again until it is there");
                }
                silent = true;
                pause = (pause * 2).min(longest);
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Returns when the node has been offline for a look, or the addresses are old; `false` when the process stops.
async fn wait_until_offline(node: &Running, stopping: &CancellationToken) -> bool {
    let old = Instant::now() + READ_AGAIN;
    let mut was_online = None;
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = sleep_until(old) => return true,
            () = stopping.cancelled() => return false,
        }
        let Some(view) = node.handle.network().await else { return false };
        if was_online != Some(view.online) {
            match (was_online, view.online) {
                (_, true) => tracing::info!("connected to the relay"),
                (None, false) => {}
                (Some(_), false) => tracing::warn!("the connection to the relay is lost"),
            }
        } else if !view.online {
            return true;
        }
        was_online = Some(view.online);
    }
}

/// Best first for a native node: QUIC, TCP, then WebSocket. webrtc-direct is for browsers.
fn for_native(mut addresses: Vec<String>) -> Vec<String> {
    addresses.retain(|address| !address.contains("/webrtc-direct"));
    addresses.sort_by_key(|address| {
        if address.contains("/quic-v1") {
            0
        } else if address.contains("ws/") {
            2
        } else {
            1
        }
    });
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_nodes_prefer_quic() {
        let addresses = [
            "/dns/a/tcp/8080/x-parity-ws/%2Fp2p/p2p/x",
            "/ip4/1.1.1.1/tcp/5557/p2p/x",
            "/ip4/1.1.1.1/udp/5558/webrtc-direct/certhash/u/p2p/x",
            "/ip4/1.1.1.1/udp/5557/quic-v1/p2p/x",
        ]
        .map(str::to_owned)
        .to_vec();
        let sorted = for_native(addresses);
        assert!(sorted.len() == 3 && sorted[0].contains("quic") && sorted[2].contains("x-parity-ws"), "{sorted:?}");
    }
}
