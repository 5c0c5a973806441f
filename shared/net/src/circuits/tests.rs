//! The bounds by prefix, with libp2p's own relay and clients. They run inside these tests' own loop alone, so that one of
//! them can stand still.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_enum_match_arm)]

use std::{collections::BTreeMap, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::poll_fn};
use libp2p::{
    Stream, Swarm, Transport,
    core::{muxing::StreamMuxerBox, transport::MemoryTransport, upgrade::Version},
    identity::Keypair,
    noise,
    swarm::{Config, SwarmEvent, dial_opts::DialOpts, dial_opts::PeerCondition},
};

use super::*;
use crate::{
    dialects::Dialects,
    streams::{self, StreamFact},
    transport::{closing::Closing, yamux::Multiplexer},
};

/// How long the streams of a connection that is gone last at this relay.
const LAST_BYTES: Duration = Duration::from_secs(4);

/// What clients do.
#[derive(NetworkBehaviour)]
struct Node {
    circuits: relay::client::Behaviour,
    streams: streams::Behaviour,
}

type Client = Swarm<Node>;

/// A relay and those who use it.
struct World {
    relay: Swarm<Relay>,
    address: Multiaddr,
    /// What makes the relay's connections.
    multiplexer: Multiplexer,
    clients: BTreeMap<PeerId, Client>,
    /// Whose loop stands still.
    frozen: Vec<PeerId>,
}

/// What happened: at the relay, or at a client.
enum Happened {
    Relay(SwarmEvent<relay::Event>),
    Client(PeerId, SwarmEvent<NodeEvent>),
}

/// Swarms without an executor do nothing while nobody polls them.
fn config() -> Config {
    Config::without_executor().with_idle_connection_timeout(Duration::from_secs(600))
}

impl World {
    async fn new(bounds: Bounds) -> Self {
        let keys = Keypair::generate_ed25519();
        let me = keys.public().to_peer_id();
        let multiplexer = Multiplexer::default();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keys).unwrap())
            .multiplex(multiplexer.clone())
            .map(|(peer, muxer), point| {
                let muxer = muxer.of(point.get_remote_address());
                (peer, StreamMuxerBox::new(Closing::with(muxer, LAST_BYTES)))
            })
            .boxed();
        let mut relay = Swarm::new(transport, Relay::with(me, bounds), me, config());
        relay.listen_on("/memory/0".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = relay.select_next_some().await {
                break address;
            }
        };
        relay.add_external_address(address.clone());
        let address = address.with_p2p(me).unwrap();
        Self { relay, address, multiplexer, clients: BTreeMap::new(), frozen: Vec::new() }
    }

    /// A client that is connected to the relay.
    async fn join(&mut self) -> PeerId {
        let keys = Keypair::generate_ed25519();
        let me = keys.public().to_peer_id();
        let (relayed, circuits) = relay::client::new(me);
        let behaviour = Node { circuits, streams: streams::Behaviour::new(Dialects::default()) };
        let transport = relayed
            .or_transport(MemoryTransport::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keys).unwrap())
            .multiplex(Multiplexer::default())
            .boxed();
        self.clients.insert(me, Swarm::new(transport, behaviour, me, config()));
        self.connect(me).await;
        me
    }

    /// Connects a client to the relay, once more if it is connected; how the relay names that.
    async fn connect(&mut self, client: PeerId) -> ConnectionId {
        let me = *self.relay.local_peer_id();
        let options = DialOpts::peer_id(me).addresses(vec![self.address.clone()]).condition(PeerCondition::Always);
        self.client(client).dial(options.build()).unwrap();
        self.until(|happened| match happened {
            Happened::Relay(SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. }) => {
                (peer_id == client).then_some(connection_id)
            }
            _ => None,
        })
        .await
    }

    fn client(&mut self, client: PeerId) -> &mut Client {
        self.clients.get_mut(&client).unwrap()
    }

    fn circuit(&self) -> Multiaddr {
        self.address.clone().with(libp2p::multiaddr::Protocol::P2pCircuit)
    }

    /// Asks for a reservation; whether it was granted.
    async fn reserve(&mut self, client: PeerId) -> bool {
        let circuit = self.circuit();
        self.client(client).listen_on(circuit).unwrap();
        self.until(|happened| match happened {
            Happened::Relay(SwarmEvent::Behaviour(relay::Event::ReservationReqAccepted { src_peer_id, .. })) => {
                (src_peer_id == client).then_some(true)
            }
            Happened::Relay(SwarmEvent::Behaviour(relay::Event::ReservationReqDenied { src_peer_id, .. })) => {
                (src_peer_id == client).then_some(false)
            }
            _ => None,
        })
        .await
    }

    /// Asks for a circuit.
    fn dial(&mut self, source: PeerId, to: PeerId) {
        let address = self.circuit().with_p2p(to).unwrap();
        let options = DialOpts::peer_id(to).addresses(vec![address]).condition(PeerCondition::Always).build();
        self.client(source).dial(options).unwrap();
    }

    /// Asks for a circuit; whether it was granted.
    async fn open(&mut self, source: PeerId, to: PeerId) -> bool {
        self.dial(source, to);
        self.until(|happened| match happened {
            Happened::Relay(SwarmEvent::Behaviour(relay::Event::CircuitReqAccepted { dst_peer_id, .. })) => {
                (dst_peer_id == to).then_some(true)
            }
            Happened::Relay(SwarmEvent::Behaviour(relay::Event::CircuitReqDenied { dst_peer_id, .. })) => {
                (dst_peer_id == to).then_some(false)
            }
            _ => None,
        })
        .await
    }

    /// A circuit, and its streams at the source and at the destination: two each.
    async fn streams(&mut self, source: PeerId, to: PeerId) -> [Vec<Stream>; 2] {
        self.dial(source, to);
        let mut all = [Vec::new(), Vec::new()];
        self.until(|happened| {
            if let Happened::Client(node, SwarmEvent::Behaviour(NodeEvent::Streams(event))) = happened
                && let StreamFact::Opened(stream, _) | StreamFact::Accepted(stream, _) = event.fact
            {
                all[usize::from(node == to)].push(stream);
            }
            all.iter().all(|streams| streams.len() == 2).then(|| std::mem::take(&mut all))
        })
        .await
    }

    /// Runs all whose loops do not stand still for so long.
    async fn run(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.until(|_| None) => {}
        }
    }

    /// Bytes that lie unread at the relay.
    fn unread(&self) -> usize {
        self.multiplexer.ledger().bytes()
    }

    /// Runs all whose loops do not stand still until what is wanted has happened.
    async fn until<T>(&mut self, mut wanted: impl FnMut(Happened) -> Option<T>) -> T {
        let next = poll_fn(|cx| {
            loop {
                let mut moved = false;
                if let Poll::Ready(Some(event)) = self.relay.poll_next_unpin(cx) {
                    moved = true;
                    if let Some(found) = wanted(Happened::Relay(event)) {
                        return Poll::Ready(found);
                    }
                }
                for (me, client) in self.clients.iter_mut().filter(|(me, _)| !self.frozen.contains(me)) {
                    if let Poll::Ready(Some(event)) = client.poll_next_unpin(cx) {
                        moved = true;
                        if let Some(found) = wanted(Happened::Client(*me, event)) {
                            return Poll::Ready(found);
                        }
                    }
                }
                if !moved {
                    return Poll::Pending;
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(60), next).await.expect("nothing happened for a minute")
    }
}

#[tokio::test]
async fn a_circuit_that_its_destination_does_not_answer_takes_a_place() {
    let mut world = World::new(Bounds { reservations: 8, circuits: 2, ..BOUNDS }).await;
    let (source, slow, quick) = (world.join().await, world.join().await, world.join().await);
    assert!(world.reserve(slow).await && world.reserve(quick).await);
    world.frozen.push(slow);
    world.dial(source, slow);
    world.dial(source, slow);
    assert!(!world.open(source, quick).await);
    // Once it answers, the two carry data, and when it goes, both places are free: no more and no less.
    world.frozen.clear();
    let mut accepted = 0;
    world
        .until(|happened| {
            let is_one = matches!(
                happened,
                Happened::Relay(SwarmEvent::Behaviour(relay::Event::CircuitReqAccepted { dst_peer_id, .. }))
                    if dst_peer_id == slow
            );
            accepted += u32::from(is_one);
            (accepted == 2).then_some(())
        })
        .await;
    assert!(!world.open(source, quick).await);
    world.clients.remove(&slow);
    let mut closed = 0;
    world
        .until(|happened| {
            let is_one = matches!(
                happened,
                Happened::Relay(SwarmEvent::Behaviour(relay::Event::CircuitClosed { dst_peer_id, .. }))
                    if dst_peer_id == slow
            );
            closed += u32::from(is_one);
            // libp2p reports each twice: as its destination goes, and as its stream breaks.
            (closed == 4).then_some(())
        })
        .await;
    assert!(world.open(source, quick).await);
    assert!(world.open(source, quick).await);
    assert!(!world.open(source, quick).await);
}

#[tokio::test]
async fn however_many_ask_a_destination_at_once_all_are_answered_in_the_end() {
    let mut world = World::new(BOUNDS).await;
    let mut sources = Vec::new();
    for _ in 0..4 {
        sources.push(world.join().await);
    }
    let to = world.join().await;
    assert!(world.reserve(to).await);
    world.frozen.push(to);
    // Few each: libp2p's client tells only so many requests to its relay at once, too.
    let each = limits::CIRCUIT_REQUESTS / 2;
    for source in &sources {
        (0..each).for_each(|_| world.dial(*source, to));
        world.run(Duration::from_millis(200)).await;
        assert_eq!(lock(&world.relay.behaviour().book, |book| book.opened_by(*source)), each);
    }
    // One goes while its requests wait, and keeps no other's waiting.
    let gone = sources.remove(2);
    world.clients.remove(&gone);
    world.run(Duration::from_millis(200)).await;
    world.frozen.clear();
    let mut accepted = 0;
    world
        .until(|happened| {
            let is_one =
                matches!(happened, Happened::Relay(SwarmEvent::Behaviour(relay::Event::CircuitReqAccepted { .. })));
            accepted += usize::from(is_one);
            (accepted == each * sources.len()).then_some(())
        })
        .await;
    assert!(world.open(sources[0], to).await);
    assert!(world.relay.behaviour().requests.is_empty());
}

/// Also where those who asked first have gone, so that nobody waits for the answers any more.
#[tokio::test]
async fn who_waits_behind_others_for_a_destination_that_answers_nobody_has_its_place_back() {
    for first_go in [false, true] {
        let mut world = World::new(BOUNDS).await;
        let mut sources = Vec::new();
        for _ in 0..3 {
            sources.push(world.join().await);
        }
        let (silent, quick) = (world.join().await, world.join().await);
        assert!(world.reserve(silent).await && world.reserve(quick).await);
        world.relay.behaviour_mut().patience.turn = Duration::from_secs(2);
        world.frozen.push(silent);
        let each = limits::CIRCUIT_REQUESTS / 2;
        for source in &sources[..2] {
            (0..each).for_each(|_| world.dial(*source, silent));
            world.run(Duration::from_millis(200)).await;
        }
        let last = sources[2];
        world.dial(last, silent);
        world.run(Duration::from_millis(200)).await;
        let held = |world: &World, source| lock(&world.relay.behaviour().book, |book| book.opened_by(source));
        assert_eq!(held(&world, last), 1);
        if first_go {
            world.clients.remove(&sources[0]);
            world.clients.remove(&sources[1]);
        }
        let failed = world.until(|happened| match happened {
            Happened::Client(node, SwarmEvent::OutgoingConnectionError { .. }) => Some(node),
            Happened::Relay(SwarmEvent::ConnectionClosed { peer_id, .. }) => {
                assert!(first_go && peer_id != silent && peer_id != last, "it may be slow for no fault of its own");
                None
            }
            _ => None,
        });
        assert_eq!(failed.await, last);
        assert_eq!(held(&world, last), 0);
        assert_eq!(held(&world, sources[0]), if first_go { 0 } else { each }, "asked, it waits for the answer");
        assert!(world.open(last, quick).await);
        // Of what libp2p keeps nothing is left when one of both is gone.
        assert_eq!(world.relay.behaviour().ended.values().sum::<usize>(), 1);
        world.clients.remove(&last);
        world.run(Duration::from_millis(200)).await;
        assert!(world.relay.behaviour().ended.is_empty());
    }
}

#[test]
fn where_requests_come_from_takes_turns() {
    let place = |text: &str| Origin::of(&format!("/ip4/{text}/tcp/1").parse().unwrap()).map(|origin| origin.prefix);
    let [crowd, other] = ["192.0.2.1", "198.51.100.1"].map(place);
    let mut requests = Requests::default();
    let since = Instant::now();
    let request = |number| Request {
        source: ConnectionId::new_unchecked(number),
        since,
        action: ToSwarm::ExternalAddrConfirmed(Multiaddr::empty()),
    };
    for number in 0..100 {
        requests.wait(crowd, request(number));
    }
    for number in [200, 201] {
        requests.wait(other, request(number));
    }
    requests.forget(ConnectionId::new_unchecked(1));
    let order: Vec<_> = std::iter::from_fn(|| requests.next()).map(|request| request.source).take(5).collect();
    assert_eq!(order, [0, 200, 2, 201, 3].map(ConnectionId::new_unchecked));
    requests.forget(ConnectionId::new_unchecked(4));
    assert_eq!(requests.end(since, Duration::from_secs(1)), []);
    assert_eq!(requests.end(since, Duration::ZERO).len(), 95);
    assert!(requests.next().is_none());
}

#[tokio::test]
async fn a_circuit_that_outlives_another_keeps_its_place_though_the_end_of_that_is_reported_twice() {
    let mut world = World::new(Bounds { reservations: 8, circuits: 2, ..BOUNDS }).await;
    let source = world.join().await;
    let (goes, stays) = (world.join().await, world.join().await);
    assert!(world.reserve(goes).await && world.reserve(stays).await);
    assert!(world.open(source, goes).await && world.open(source, stays).await);
    world.clients.remove(&goes);
    let mut closed = 0;
    world
        .until(|happened| {
            let is_one = matches!(happened, Happened::Relay(SwarmEvent::Behaviour(relay::Event::CircuitClosed { .. })));
            closed += u32::from(is_one);
            (closed == 2).then_some(())
        })
        .await;
    assert!(world.open(source, stays).await);
    assert!(!world.open(source, stays).await);
}

#[tokio::test]
async fn refused_circuits_take_no_place() {
    let mut world = World::new(Bounds { reservations: 8, circuits: 1, ..BOUNDS }).await;
    let (source, nowhere, quick) = (world.join().await, world.join().await, world.join().await);
    // Whoever holds a reservation itself is told the same.
    assert!(world.reserve(quick).await && world.reserve(source).await);
    for _ in 0..3 {
        assert!(!world.open(source, nowhere).await);
    }
    assert!(world.open(source, quick).await);
    assert!(!world.open(source, quick).await);
}

#[tokio::test]
async fn a_node_opens_as_many_circuits_as_documented_and_no_more() {
    let mut world = World::new(BOUNDS).await;
    let (source, other, to) = (world.join().await, world.join().await, world.join().await);
    assert!(world.reserve(to).await);
    for _ in 0..limits::CIRCUITS_PER_NODE {
        assert!(world.open(source, to).await);
    }
    assert!(!world.open(source, to).await);
    assert!(world.open(other, to).await);
    // Those that others opened to it are not its own.
    assert!(world.reserve(other).await);
    for _ in 0..limits::CIRCUITS_PER_NODE {
        assert!(world.open(to, other).await);
    }
    assert!(!world.open(to, other).await);
}

#[tokio::test]
async fn a_source_that_does_not_take_that_its_circuit_is_there_is_hung_up_on() {
    let mut world = World::new(BOUNDS).await;
    let (source, to) = (world.join().await, world.join().await);
    let [at_source, at_destination] = [world.connect(source).await, world.connect(to).await];
    world.relay.behaviour_mut().patience.accept = Duration::from_secs(2);
    // As when the destination has agreed; the source's connection never says that it could tell the source.
    lock(&world.relay.behaviour().book, |book| {
        book.speaks(Some(at_source));
        assert!(book.may_open(None));
        assert_eq!(book.turns_to(at_destination), Turn::Asks { from: None });
        book.asked(at_source, at_destination);
        book.speaks(Some(at_destination));
        book.turns_to(at_source);
    });
    let closed = world.until(|happened| match happened {
        Happened::Relay(SwarmEvent::ConnectionClosed { connection_id, .. }) => Some(connection_id),
        _ => None,
    });
    assert_eq!(closed.await, at_source);
    lock(&world.relay.behaviour().book, |book| assert_eq!(book.opened_by(source), 0));
}

#[tokio::test]
async fn a_reservation_lasts_though_another_connection_of_its_node_closes() {
    let mut world = World::new(Bounds { reservations: 1, circuits: 8, ..BOUNDS }).await;
    let (holder, other) = (world.join().await, world.join().await);
    assert!(world.reserve(holder).await);
    let mut second = None;
    let me = *world.relay.local_peer_id();
    let options = DialOpts::peer_id(me).addresses(vec![world.address.clone()]).condition(PeerCondition::Always).build();
    let id = options.connection_id();
    world.client(holder).dial(options).unwrap();
    world
        .until(|happened| {
            if let Happened::Client(node, SwarmEvent::ConnectionEstablished { connection_id, .. }) = happened
                && (node, connection_id) == (holder, id)
            {
                second = Some(connection_id);
            }
            second.map(|_| ())
        })
        .await;
    assert!(world.client(holder).close_connection(id));
    world
        .until(|happened| match happened {
            Happened::Relay(SwarmEvent::Behaviour(relay::Event::ReservationClosed { src_peer_id })) => {
                (src_peer_id == holder).then_some(())
            }
            _ => None,
        })
        .await;
    assert!(!world.reserve(other).await);
    world.clients.remove(&holder);
    world
        .until(|happened| match happened {
            Happened::Relay(SwarmEvent::ConnectionClosed { peer_id, .. }) => (peer_id == holder).then_some(()),
            _ => None,
        })
        .await;
    assert!(world.reserve(other).await);
}

/// So many bytes lie in the two streams of a circuit from `to` to a `source` whose loop stands still. Gives the streams of the
/// source.
async fn fill(world: &mut World, source: PeerId, to: PeerId, bytes: [usize; 2]) -> Vec<Stream> {
    assert!(world.reserve(to).await);
    let [at_source, at_destination] = world.streams(source, to).await;
    world.frozen.push(source);
    for (mut stream, bytes) in at_destination.into_iter().zip(bytes) {
        // It fails when the circuit ends.
        tokio::spawn(async move { stream.write_all(&vec![7; bytes]).await.map(|()| stream) });
    }
    world.run(Duration::from_secs(1)).await;
    at_source
}

#[tokio::test]
async fn a_destination_that_goes_takes_along_what_a_source_does_not_read() {
    let mut world = World::new(BOUNDS).await;
    let (source, to) = (world.join().await, world.join().await);
    let _unread = fill(&mut world, source, to, [limits::STREAM_WINDOW; 2]).await;
    assert!(world.unread() >= limits::STREAM_WINDOW / 4, "{} bytes", world.unread());
    world.clients.remove(&to);
    world.run(Duration::from_secs(1)).await;
    assert!(world.unread() >= limits::STREAM_WINDOW / 4, "the source has time to read the last");
    world.run(LAST_BYTES).await;
    assert_eq!(world.unread(), 0);
}

#[tokio::test]
async fn the_last_of_a_destination_that_goes_reaches_a_source_that_reads_later() {
    let mut world = World::new(BOUNDS).await;
    let (source, to) = (world.join().await, world.join().await);
    let bytes = [limits::STREAM_WINDOW * 7 / 8, limits::STREAM_WINDOW / 2];
    let streams = fill(&mut world, source, to, bytes).await;
    world.clients.remove(&to);
    world.run(LAST_BYTES / 2).await;
    assert!(world.unread() > 0);
    world.frozen.clear();
    let reading = futures::future::join_all(streams.into_iter().map(|mut stream| async move {
        let mut all = Vec::new();
        _ = stream.read_to_end(&mut all).await;
        all.len()
    }));
    let read: usize = tokio::select! {
        read = reading => read.into_iter().sum(),
        () = world.run(Duration::from_secs(30)) => 0,
    };
    assert_eq!(read, bytes.into_iter().sum::<usize>());
    world.run(Duration::from_secs(1)).await;
    assert_eq!(world.unread(), 0);
}

#[tokio::test]
async fn who_is_to_make_room_gives_it_back_at_once_also_when_it_is_gone_already() {
    for is_gone in [false, true] {
        let mut world = World::new(BOUNDS).await;
        let (source, to) = (world.join().await, world.join().await);
        let _unread = fill(&mut world, source, to, [limits::STREAM_WINDOW; 2]).await;
        if is_gone {
            world.clients.remove(&to);
            world.run(Duration::from_millis(100)).await;
        }
        assert!(world.unread() >= limits::STREAM_WINDOW / 4, "{} bytes", world.unread());
        assert!(world.multiplexer.ledger().end_one());
        assert!(!world.multiplexer.ledger().end_one(), "it is not chosen again");
        assert!(world.unread() >= limits::STREAM_WINDOW / 4, "it counts until it is gone");
        world.run(LAST_BYTES / 4).await;
        assert_eq!(world.unread(), 0);
    }
}
