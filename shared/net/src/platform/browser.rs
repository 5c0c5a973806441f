//! Browsers: WebSocket and webrtc-direct to seeds, everything else through their circuits.

use std::{future::Future, time::Duration};

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport, core,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay, swarm,
    swarm::dummy,
};

use crate::{
    StartError,
    behaviour::Behaviour,
    dialects::Dialects,
    limits,
    transport::{bounded::Bounded, webrtc_direct::WebRtcDirect, websocket::WebSockets, yamux::Multiplexer},
};

/// A browser relays for nobody.
pub(crate) type RelayServer = dummy::Behaviour;

/// Connections held at once.
pub(crate) const CONNECTIONS: usize = limits::BROWSER_CONNECTIONS;

/// Jobs that one listener for events, and all together, may have yet to hear of. A tab's listener is its own page, which
/// hears of its own jobs, looks rarely while it is hidden, and would not begin anew.
pub(crate) const LISTENER_BEHIND: [usize; 2] = [usize::MAX; 2];

/// A browser has nothing to choose.
#[derive(Clone, Debug, Default)]
pub struct Options {}

/// A browser shows nothing beside its handle.
pub struct Outside {}

/// The loop's end of [`Outside`].
pub(crate) struct Inside {}

impl Inside {
    /// Nobody looks.
    pub(crate) fn addresses_changed(&self, _: &[String]) {}
}

/// Builds the swarm. A browser has no external addresses.
pub(crate) fn open(
    keypair: &Keypair,
    agent: String,
    _: bool,
    _: Options,
) -> Result<(Swarm<Behaviour>, Outside, Inside, Vec<Multiaddr>), StartError> {
    let (relay_transport, relay_client) = relay::client::new(keypair.public().to_peer_id());
    let swarm = Swarm::new(
        transport(keypair, relay_transport)?,
        Behaviour::new(keypair, agent, Dialects::default(), relay_client, dummy::Behaviour),
        keypair.public().to_peer_id(),
        swarm::Config::with_wasm_executor()
            .with_idle_connection_timeout(limits::SILENT_TIMEOUT)
            .with_max_negotiating_inbound_streams(limits::STREAMS_BEGINNING),
    );
    Ok((swarm, Outside {}, Inside {}, Vec::new()))
}

/// Whether this platform has a transport for the address.
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddr may add protocols")]
pub(crate) fn can_dial(address: &Multiaddr) -> bool {
    let mut dialled = false;
    for part in address {
        match part {
            // Without a certificate's hash webrtc-direct cannot be dialled.
            Protocol::Ws(_) | Protocol::Wss(_) | Protocol::Certhash(_) => dialled = true,
            Protocol::P2pCircuit | Protocol::WebTransport => return false,
            _ => {}
        }
    }
    dialled
}

/// Runs a task beside the loop.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    wasm_bindgen_futures::spawn_local(task);
}

/// Waits; longer than asked in a hidden tab, which is why the host's ticks drive the loop there.
pub(crate) fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
    futures_timer::Delay::new(time)
}

fn transport(
    keypair: &Keypair,
    relay: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let noise = noise::Config::new(keypair).map_err(|error| StartError::Keys(error.to_string()))?;
    let yamux = Multiplexer::default();
    let relayed = relay.upgrade(Version::V1Lazy).authenticate(noise.clone()).multiplex(yamux.clone());
    let websocket = WebSockets::default().upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux);
    let webrtc = WebRtcDirect::new(keypair.clone());
    let all = relayed
        .map(|(peer, muxer), point| (peer, StreamMuxerBox::new(muxer.of(point.get_remote_address()))))
        .or_transport(
            websocket.map(|(peer, muxer), point| (peer, StreamMuxerBox::new(muxer.of(point.get_remote_address())))),
        )
        .map(|either, _| either.into_inner())
        .or_transport(webrtc.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Bounded(muxer)))))
        .map(|either, _| either.into_inner());
    Ok(core::transport::timeout::TransportTimeout::new(all, limits::CONNECT_TIMEOUT).boxed())
}
