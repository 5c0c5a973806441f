//! Native nodes: TCP, QUIC, WebSocket and webrtc-direct, inside a tokio runtime.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade::Version,
    },
    dns,
    identity::Keypair,
    multiaddr::Protocol,
    noise, quic, relay, swarm,
    swarm::behaviour::toggle::Toggle,
    tcp, websocket,
};
use tokio::sync::watch;

use crate::{
    StartError,
    behaviour::Behaviour,
    circuits,
    dialects::Dialects,
    limits,
    transport::{
        bounded::Bounded,
        closing::Closing,
        door::{self, DoorTransport, WebSocketDoor},
        gate::Gate,
        webrtc_listener::WebRtcListener,
        yamux::Multiplexer,
    },
};

/// Relays circuits if switched on.
pub(crate) type RelayServer = Toggle<circuits::Relay>;

/// Connections held at once.
pub(crate) const CONNECTIONS: usize = limits::NATIVE_CONNECTIONS;

/// Jobs that one listener for events, and all together, may have yet to hear of.
pub(crate) const LISTENER_BEHIND: [usize; 2] = [limits::LISTENER_BEHIND, limits::LISTENERS_BEHIND];

/// Where a native node listens. Port 0 is any free port.
#[derive(Clone, Debug)]
pub struct Options {
    /// Network interfaces; unspecified addresses stand for all. An IPv6 address that cannot be had is passed over.
    pub interfaces: Vec<IpAddr>,
    /// TCP port, 5557 by custom; `None`: no TCP.
    pub tcp_port: Option<u16>,
    /// UDP port of QUIC, 5557 by custom; `None`: no QUIC.
    pub quic_port: Option<u16>,
    /// webrtc-direct for browsers; `None`: none.
    pub webrtc: Option<WebRtc>,
    /// Multiaddresses under which others reach this node beside those it listens on: a public name, a proxy.
    pub external: Vec<String>,
    /// The versions of the protocol that it speaks.
    pub dialects: Dialects,
}

/// Where a native node takes WebRTC connections.
#[derive(Clone, Debug)]
pub struct WebRtc {
    /// UDP port, 5558 by custom.
    pub port: u16,
    /// Certificate and key, as [`new_certificate`] made them; kept across restarts, since its hash is in the address.
    pub certificate: String,
}

impl Default for Options {
    /// Listens on nothing and dials.
    fn default() -> Self {
        Self {
            interfaces: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            tcp_port: None,
            quic_port: None,
            webrtc: None,
            external: Vec::new(),
            dialects: Dialects::default(),
        }
    }
}

/// A new certificate for webrtc-direct, as PEM with its private key.
pub fn new_certificate() -> Result<String, StartError> {
    install_crypto();
    libp2p_webrtc::tokio::Certificate::generate(&mut rand::rng())
        .map(|certificate| certificate.serialize_pem())
        .map_err(|error| StartError::Certificate(error.to_string()))
}

/// Whether `pem` is what [`new_certificate`] makes.
///
/// # Errors
/// What is wrong with it. The words may quote it, and it holds a secret: show them to nobody.
pub fn check_certificate(pem: &str) -> Result<(), StartError> {
    install_crypto();
    libp2p_webrtc::tokio::Certificate::from_pem(pem)
        .map(|_| ())
        .map_err(|error| StartError::Certificate(error.to_string()))
}

/// What a native node shows to the rest of its program.
pub struct Outside {
    /// Where WebSockets of the HTTP server come in.
    pub door: WebSocketDoor,
    /// The addresses of this node as they stand, `/p2p/<id>` included; changes as listeners come up.
    pub addresses: watch::Receiver<Vec<String>>,
}

/// The loop's end of [`Outside`].
pub(crate) struct Inside {
    addresses: watch::Sender<Vec<String>>,
}

impl Inside {
    /// The addresses changed.
    pub(crate) fn addresses_changed(&self, addresses: &[String]) {
        self.addresses.send_replace(addresses.to_vec());
    }
}

/// Builds the swarm and begins to listen. Must run inside a tokio runtime. Gives the external addresses too.
pub(crate) fn open(
    keypair: &Keypair,
    agent: String,
    serve: bool,
    options: Options,
) -> Result<(Swarm<Behaviour>, Outside, Inside, Vec<Multiaddr>), StartError> {
    install_crypto();
    let certificate = match &options.webrtc {
        Some(webrtc) => Some(
            libp2p_webrtc::tokio::Certificate::from_pem(&webrtc.certificate)
                .map_err(|error| StartError::Certificate(error.to_string()))?,
        ),
        None => None,
    };
    let external = options
        .external
        .iter()
        .map(|text| text.parse().map_err(|_| StartError::Address(text.clone())))
        .collect::<Result<Vec<Multiaddr>, _>>()?;
    let (door, door_transport) = door::door();
    let (relay_transport, relay_client) = relay::client::new(keypair.public().to_peer_id());
    let transport = transport(keypair, relay_transport, door_transport, certificate)?;
    let mut swarm = Swarm::new(
        transport,
        Behaviour::new(
            keypair,
            agent,
            options.dialects.clone(),
            relay_client,
            relay_server(keypair.public().to_peer_id(), serve),
        ),
        keypair.public().to_peer_id(),
        swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(limits::SILENT_TIMEOUT)
            .with_max_negotiating_inbound_streams(limits::STREAMS_BEGINNING),
    );
    for interface in &options.interfaces {
        for address in listening(*interface, &options) {
            match swarm.listen_on(address.clone()) {
                Ok(_) => {}
                Err(error) if interface.is_ipv6() => tracing::debug!(%address, %error, "not listening"),
                Err(error) => return Err(StartError::Listen(address, innermost(&error))),
            }
        }
    }
    let (sender, addresses) = watch::channel(Vec::new());
    Ok((swarm, Outside { door, addresses }, Inside { addresses: sender }, external))
}

/// Whether this platform dials the address. webrtc-direct is for browsers: a native node has TCP and QUIC, and webrtc
/// 0.17 loses a native dialler's first channel when the listener's first message arrives before that channel has its
/// stream (one dial in twenty-five on a quiet machine).
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddr may add protocols")]
pub(crate) fn can_dial(address: &Multiaddr) -> bool {
    let mut stream = false;
    for part in address {
        match part {
            Protocol::Tcp(_) | Protocol::QuicV1 => stream = true,
            Protocol::WebRTCDirect | Protocol::WebTransport | Protocol::WebRTC | Protocol::P2pCircuit => return false,
            _ => {}
        }
    }
    stream
}

/// Runs a task beside the loop.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Waits.
pub(crate) fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
    tokio::time::sleep(time)
}

/// Circuits for others, where `serve` says so.
fn relay_server(me: PeerId, serve: bool) -> RelayServer {
    serve.then(|| circuits::Relay::new(me)).into()
}

/// libp2p leaves the choice of a TLS provider to the process and panics at the first handshake without one.
fn install_crypto() {
    // An error means that the process has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What the system said: layers around it say nothing, or the same again.
fn innermost(error: &dyn std::error::Error) -> String {
    let layers = std::iter::successors(Some(error), |error| error.source());
    let last = layers.map(ToString::to_string).filter(|text| !text.is_empty()).last();
    last.unwrap_or_else(|| "the system does not say why".to_owned())
}

fn listening(interface: IpAddr, options: &Options) -> Vec<Multiaddr> {
    let on = || Multiaddr::from(interface);
    let tcp = options.tcp_port.map(|port| on().with(Protocol::Tcp(port)));
    let quic = options.quic_port.map(|port| on().with(Protocol::Udp(port)).with(Protocol::QuicV1));
    let webrtc =
        options.webrtc.as_ref().map(|webrtc| on().with(Protocol::Udp(webrtc.port)).with(Protocol::WebRTCDirect));
    tcp.into_iter().chain(quic).chain(webrtc).collect()
}

fn transport(
    keypair: &Keypair,
    relay: relay::client::Transport,
    door: DoorTransport,
    certificate: Option<libp2p_webrtc::tokio::Certificate>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let noise = noise::Config::new(keypair).map_err(|error| StartError::Keys(error.to_string()))?;
    let yamux = Multiplexer::default();
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default());
    let gate = Gate::default();

    let relayed = relay.upgrade(Version::V1Lazy).authenticate(noise.clone()).multiplex(yamux.clone());
    let greeter = door.greeter();
    let through_door = gate.listen(door).upgrade(Version::V1Lazy).authenticate(noise.clone()).multiplex(yamux.clone());
    let websocket = websocket::Config::new(with_dns(tcp())?)
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux.clone());
    let plain = gate.listen(tcp()).upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux);
    let mut quic_config = quic::Config::new(keypair);
    quic_config.max_stream_data = limits::QUIC_STREAM_UNREAD;
    quic_config.max_connection_data = limits::QUIC_UNREAD;
    let quic = quic::tokio::Transport::new(quic_config);

    let direct = plain
        .map(|(peer, muxer), point| (peer, StreamMuxerBox::new(muxer.of(point.get_remote_address()))))
        .or_transport(quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .boxed();
    let direct = match certificate {
        Some(certificate) => direct
            .or_transport(
                WebRtcListener::new(keypair.clone(), certificate)
                    .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Bounded(muxer)))),
            )
            .map(|either, _| either.into_inner())
            .boxed(),
        None => direct,
    };
    let all = relayed
        .map(|(peer, muxer), point| (peer, StreamMuxerBox::new(muxer.of(point.get_remote_address()))))
        .or_transport(through_door.map(move |(peer, muxer), point| {
            greeter.greet(&point);
            (peer, StreamMuxerBox::new(muxer.of(point.get_remote_address())))
        }))
        .map(|either, _| either.into_inner())
        .or_transport(
            websocket.map(|(peer, muxer), point| (peer, StreamMuxerBox::new(muxer.of(point.get_remote_address())))),
        )
        .map(|either, _| either.into_inner())
        .or_transport(with_dns(direct)?)
        .map(|either, _| either.into_inner())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Closing::new(muxer))));
    let bounded = TransportTimeout::with_outgoing_timeout(all, limits::CONNECT_TIMEOUT);
    let bounded = TransportTimeout::with_ingoing_timeout(bounded, limits::HANDSHAKE_TIMEOUT);
    Ok(gate.guard(bounded.boxed()).boxed())
}

/// Resolves names as the system does; where the system does not say how, by public resolvers.
fn with_dns<T>(inner: T) -> Result<dns::tokio::Transport<T>, StartError> {
    if dns::tokio::Transport::system(()).is_ok() {
        dns::tokio::Transport::system(inner).map_err(|error| StartError::Names(error.to_string()))
    } else {
        Ok(dns::tokio::Transport::custom(inner, dns::ResolverConfig::default(), dns::ResolverOpts::default()))
    }
}
