//! Links to other nodes: who is connected, over which connection we speak, who is being dialled, where we hold
//! reservations. Takes libp2p's events, gives [`Input`]s for the node.
//!
//! A node may have several connections to us; we speak on one, the *active* one, until it breaks, and listen on all.
//! When a connection that carried messages breaks, something may be lost, so the node is told that the other is gone,
//! and that it is back if another connection remains. Both sides see the same break.

use std::collections::{BTreeMap, VecDeque};

use futures::{FutureExt, StreamExt, channel::mpsc};
use libp2p::{
    Multiaddr, Stream, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    ping, relay,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts, dial_opts::PeerCondition},
};
use p2pnet_shared::{
    api::Path,
    id::NodeId,
    node::Input,
    units::{Millis, Moment},
    wire::{self, Message},
};

use crate::{
    address,
    behaviour::{Behaviour, BehaviourEvent},
    frames::{self, LinkEvent, LinkFact, Outgoing},
    limits, node_of,
    origin::Origin,
    peer_of, platform,
    streams::{self, StreamFact},
};

/// Something happened outside.
pub enum Happening {
    /// In libp2p.
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    /// On a stream of ours.
    Link(LinkEvent),
}

/// All links of a node.
pub struct Links {
    me: NodeId,
    serve: bool,
    swarm: Swarm<Behaviour>,
    inside: platform::Inside,
    connections: BTreeMap<ConnectionId, Connection>,
    active: BTreeMap<NodeId, ConnectionId>,
    dials: BTreeMap<NodeId, Dial>,
    seeds: BTreeMap<NodeId, Seed>,
    external: Vec<Multiaddr>,
    listening: Vec<Multiaddr>,
    facts: (mpsc::Sender<LinkEvent>, mpsc::Receiver<LinkEvent>),
    inputs: VecDeque<Input>,
    maintained: Moment,
}

struct Connection {
    node: NodeId,
    path: Path,
    transport: &'static str,
    remote: Multiaddr,
    /// Whether the other side dialled.
    inbound: bool,
    outgoing: Option<Outgoing>,
    /// Streams of the other side that wait until the node knows of the connection.
    held: Vec<Stream>,
    carried: bool,
    /// The Hello that came over it last.
    hello: Option<Message>,
    last_message: Moment,
    /// Bytes written when last looked, and when that number last changed or nothing waited.
    progress: (u64, Moment),
    failed_pings: u32,
    /// What had been written and when something had come, when a ping failed last.
    at_last_failure: (u64, Moment),
}

#[derive(Default)]
struct Dial {
    attempts: Vec<ConnectionId>,
    /// When circuits are tried beside the direct addresses.
    circuits_at: Option<Moment>,
}

struct Seed {
    reservation: Reservation,
}

enum Reservation {
    /// None; asked for again at this moment, if the seed is connected.
    None { retry_at: Moment },
    /// Asked for; the node hears of the seed's connection at this moment at the latest.
    Asked { listener: ListenerId, announce_at: Moment },
    /// Held.
    Held { listener: ListenerId },
}

impl Links {
    /// No link yet. `serve`: we are a seed that relays for others.
    pub fn new(
        me: NodeId,
        serve: bool,
        swarm: Swarm<Behaviour>,
        inside: platform::Inside,
        external: Vec<Multiaddr>,
    ) -> Self {
        let mut links = Self {
            me,
            serve,
            swarm,
            inside,
            connections: BTreeMap::new(),
            active: BTreeMap::new(),
            dials: BTreeMap::new(),
            seeds: BTreeMap::new(),
            external,
            listening: Vec::new(),
            facts: mpsc::channel(limits::INCOMING_QUEUE),
            inputs: VecDeque::new(),
            maintained: Moment(0),
        };
        for address in links.external.clone() {
            links.swarm.add_external_address(address);
        }
        links.addresses_changed();
        links
    }

    /// What happens next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Happening {
        // Messages first now and then the other: `select!` tosses a coin, so neither starves.
        futures::select! {
            event = self.swarm.select_next_some() => Happening::Swarm(Box::new(event)),
            event = self.facts.1.select_next_some() => Happening::Link(event),
        }
    }

    /// What has happened on our streams already, without looking at libp2p.
    pub fn next_link_event(&mut self) -> Option<Happening> {
        self.facts.1.next().now_or_never().flatten().map(Happening::Link)
    }

    /// Takes in what happened; inputs for the node come out of [`Links::poll_input`].
    pub fn handle(&mut self, now: Moment, happening: Happening) {
        match happening {
            Happening::Swarm(event) => self.on_swarm_event(now, *event),
            Happening::Link((connection, fact)) => self.on_link_fact(now, connection, fact),
        }
    }

    /// The next input for the node.
    pub fn poll_input(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// Whether an input waits.
    pub fn has_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// A seed of ours; an input tells the node, which then dials. Nonsense is passed over.
    pub fn seed_known(&mut self, now: Moment, texts: &[String]) {
        let Some((node, addresses)) = address::addresses_of_one(texts) else {
            tracing::warn!(?texts, "no seed that can be dialled is named here");
            return;
        };
        if node == self.me || (!self.seeds.contains_key(&node) && self.seeds.len() >= limits::SEEDS) {
            return;
        }
        self.seeds.entry(node).or_insert(Seed { reservation: Reservation::None { retry_at: now } });
        let addresses = addresses.iter().map(|address| format!("{address}/p2p/{node}")).collect();
        self.inputs.push_back(Input::SeedKnown { node, addresses });
    }

    /// Connects to a node: to its addresses, through circuits of connected seeds, or first one, then both.
    pub fn dial(&mut self, now: Moment, node: NodeId, texts: &[String]) {
        if node == self.me || self.active.contains_key(&node) || self.dials.contains_key(&node) {
            return;
        }
        let direct = address::dialable(texts, node);
        let circuits_at = if direct.is_empty() { now } else { now + Millis(limits::DIRECT_HEAD_START_MILLIS) };
        self.dials.insert(node, Dial { attempts: Vec::new(), circuits_at: Some(circuits_at) });
        if direct.is_empty() {
            self.dial_circuits(node);
        } else {
            self.attempt(node, direct);
        }
        self.settle_dial(node);
    }

    /// Says something. To a node that is not connected it is lost, and the node has been told so already.
    pub fn send(&mut self, now: Moment, to: NodeId, message: &Message) {
        let Some(id) = self.active.get(&to).copied() else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(outgoing) = &connection.outgoing else { return };
        let frame = match wire::encode(message) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%to, %error, "a message of ours cannot be sent");
                return;
            }
        };
        connection.carried = true;
        connection.last_message = now;
        let queued = outgoing.queued();
        // Until the connection is closed, more may be said; nothing is put behind what is too much already.
        if queued > limits::OUTGOING_BYTES || !outgoing.send(frame) {
            tracing::debug!(%to, queued, "hanging up: it reads too slowly");
            self.close(id);
        }
    }

    /// Closes all connections to a node; if it was banned, that is held against where they came from.
    pub fn hang(&mut self, node: NodeId, banned: bool) {
        self.dials.remove(&node);
        let of_node = self.connections.values().filter(|known| banned && known.inbound && known.node == node);
        if let Some(origin) = of_node.filter_map(|known| Origin::of(&known.remote)).next() {
            self.swarm.behaviour_mut().crowd.strike(origin);
        }
        if let Some(peer) = peer_of(node) {
            // An error means that there was none.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes everything.
    pub fn hang_all(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Bytes that wait to be written.
    pub fn unwritten(&self) -> usize {
        self.connections.values().filter_map(|connection| connection.outgoing.as_ref()).map(Outgoing::queued).sum()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// When [`Links::maintain`] is due.
    pub fn due(&self) -> Moment {
        self.maintained + Millis(limits::MAINTENANCE_MILLIS)
    }

    /// Looks after what only time shows: stalled, idle and spare connections, dials that need a circuit, reservations.
    pub fn maintain(&mut self, now: Moment) {
        if now < self.due() {
            return;
        }
        self.maintained = now;
        self.swarm.behaviour_mut().crowd.set_now(now);
        self.close_what_is_stuck_or_unused(now);
        self.keep_total_bounded();
        let waiting: Vec<_> = self
            .dials
            .iter()
            .filter(|(_, dial)| dial.circuits_at.is_some_and(|at| at <= now))
            .map(|(node, _)| *node)
            .collect();
        for node in waiting {
            self.dial_circuits(node);
            self.settle_dial(node);
        }
        let seeds: Vec<_> = self.seeds.keys().copied().collect();
        for seed in seeds {
            self.look_after_reservation(now, seed);
        }
    }

    /// Sends bytes that are no message.
    #[cfg(test)]
    pub fn send_raw(&mut self, to: NodeId, frame: Vec<u8>) {
        let connection = self.active.get(&to).and_then(|id| self.connections.get(id));
        let outgoing = connection.and_then(|connection| connection.outgoing.as_ref());
        assert!(outgoing.is_some_and(|outgoing| outgoing.send(frame)));
    }

    /// Bytes that wait to be sent to a node.
    #[cfg(test)]
    pub fn queued(&self, to: NodeId) -> usize {
        let connection = self.active.get(&to).and_then(|id| self.connections.get(id));
        connection.and_then(|connection| connection.outgoing.as_ref()).map_or(0, Outgoing::queued)
    }

    /// Dials an address of a kind that is for browsers.
    #[cfg(test)]
    pub fn dial_as_browsers_do(&mut self, node: NodeId, address: Multiaddr) {
        self.dials.insert(node, Dial::default());
        self.attempt(node, vec![address]);
    }

    fn on_swarm_event(&mut self, now: Moment, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(now, event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                if let Some(node) = node_of(&peer_id) {
                    self.on_connected(now, node, connection_id, &endpoint);
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                tracing::debug!(?connection_id, ?cause, "connection closed");
                self.on_closed(now, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(peer), error } => {
                tracing::debug!(%peer, %error, "dial failed");
                if let Some(node) = node_of(&peer) {
                    self.on_attempt_failed(node, connection_id);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.retain(|known| *known != address);
                self.swarm.remove_external_address(&address);
                self.addresses_changed();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                tracing::debug!(?reason, "listener closed");
                self.on_listener_closed(now, listener_id);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "incoming connection failed"),
            // The enum is libp2p's and open-ended; the rest only informs.
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, now: Moment, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(streams::Event { connection, fact }) => self.on_stream_fact(now, connection, fact),
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => match result {
                Ok(time) => {
                    if let Some(connection) = self.connections.get_mut(&connection) {
                        connection.failed_pings = 0;
                    }
                    if let Some(node) = node_of(&peer).filter(|node| self.active.get(node) == Some(&connection)) {
                        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
                        self.inputs.push_back(Input::RoundTrip { node, millis });
                    }
                }
                Err(ping::Failure::Unsupported) => {}
                Err(error) => {
                    tracing::debug!(%peer, %error, "ping failed");
                    self.on_ping_failed(connection);
                }
            },
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                if let Some(seed) = node_of(&relay_peer_id) {
                    self.on_reserved(seed);
                }
            }
            BehaviourEvent::RelayClient(_) | BehaviourEvent::RelayServer(_) | BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Crowd(event) => match event {},
        }
    }

    fn on_connected(&mut self, now: Moment, node: NodeId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let (path, transport) = address::path_of(endpoint);
        let direct = path == Path::Direct;
        self.connections.insert(
            id,
            Connection {
                node,
                path,
                transport,
                remote: endpoint.get_remote_address().clone(),
                inbound: endpoint.is_listener(),
                outgoing: None,
                held: Vec::new(),
                carried: false,
                hello: None,
                last_message: now,
                progress: (0, now),
                failed_pings: 0,
                at_last_failure: (0, now),
            },
        );
        if let Some(dial) = self.dials.get_mut(&node) {
            dial.attempts.retain(|attempt| *attempt != id);
            dial.circuits_at = None;
        }
        if direct && self.seeds.contains_key(&node) {
            self.look_after_reservation(now, node);
        }
    }

    fn on_stream_fact(&mut self, now: Moment, id: ConnectionId, fact: StreamFact) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match fact {
            StreamFact::Opened(stream) => {
                let (outgoing, frames, meter) = Outgoing::new();
                connection.outgoing = Some(outgoing);
                connection.progress = (0, now);
                platform::spawn(frames::write(stream, frames, meter, id, self.facts.0.clone()));
                let node = connection.node;
                self.close_what_this_replaces(id);
                self.announce(now, node);
            }
            StreamFact::Accepted(stream) => {
                if self.active.contains_key(&connection.node) {
                    platform::spawn(frames::read(stream, id, self.facts.0.clone()));
                } else {
                    connection.held.push(stream);
                }
            }
            StreamFact::Refused => self.close(id),
        }
    }

    /// Whoever dials has no connection, or none that works: if the active one was dialled by the same node in the same
    /// way, it is dead and only we have not noticed yet (a reloaded tab, a changed network).
    fn close_what_this_replaces(&mut self, id: ConnectionId) {
        let Some(new) = self.connections.get(&id) else { return };
        let Some((old_id, old)) =
            self.active.get(&new.node).filter(|old| **old != id).and_then(|old| self.connections.get_key_value(old))
        else {
            return;
        };
        let same_way = (old.path == Path::Direct) == (new.path == Path::Direct);
        if new.inbound && old.inbound && same_way {
            tracing::debug!(node = %new.node, "closing a connection that a new one replaces");
            self.close(*old_id);
        }
    }

    /// Tells the node of a connection on which we can speak, if there is one and it does not know yet.
    fn announce(&mut self, now: Moment, node: NodeId) {
        if self.active.contains_key(&node) || self.awaits_reservation(now, node) {
            return;
        }
        let ready =
            |(_, connection): &(&ConnectionId, &Connection)| connection.node == node && connection.outgoing.is_some();
        // Direct before relayed, then the oldest.
        let best = self
            .connections
            .iter()
            .filter(ready)
            .min_by_key(|(id, connection)| (connection.path != Path::Direct, **id))
            .map(|(id, connection)| (*id, connection.path.clone(), connection.transport));
        let Some((id, path, transport)) = best else { return };
        self.active.insert(node, id);
        self.dials.remove(&node);
        self.inputs.push_back(Input::Connected { node, path, transport });
        for (id, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.node == node) {
            // The other side may have moved to this connection before we saw the last one break: it will not say again
            // who it is.
            if let Some(message) = connection.hello.clone() {
                self.inputs.push_back(Input::Received { from: node, message });
            }
            for stream in connection.held.drain(..) {
                platform::spawn(frames::read(stream, *id, self.facts.0.clone()));
            }
        }
    }

    fn on_link_fact(&mut self, now: Moment, id: ConnectionId, fact: LinkFact) {
        // What a connection still delivers after its end was reported comes too late.
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let from = connection.node;
        match fact {
            LinkFact::Received(message) => {
                connection.carried = true;
                connection.last_message = now;
                if let Message::Hello { .. } = &message {
                    connection.hello = Some(message.clone());
                }
                self.inputs.push_back(Input::Received { from, message });
            }
            LinkFact::Garbled => self.inputs.push_back(Input::Garbled { from }),
            LinkFact::Ended(ending) => {
                tracing::debug!(%from, ?ending, "stream ended");
                if ending != frames::Ending::Closed {
                    self.inputs.push_back(Input::Garbled { from });
                }
                self.close(id);
            }
        }
    }

    fn on_closed(&mut self, now: Moment, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let node = connection.node;
        let was_active = self.active.get(&node) == Some(&id);
        if was_active || (connection.carried && self.active.contains_key(&node)) {
            self.active.remove(&node);
            self.inputs.push_back(Input::Disconnected { node });
            self.announce(now, node);
        }
        self.settle_dial(node);
    }

    fn on_ping_failed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // On a slow line that is full of our own data a ping comes late; what moves is alive.
        let written = connection.outgoing.as_ref().map_or(0, Outgoing::written);
        let state = (written, connection.last_message);
        if std::mem::replace(&mut connection.at_last_failure, state) == state {
            connection.failed_pings += 1;
        } else {
            connection.failed_pings = 1;
        }
        if connection.failed_pings >= limits::PING_FAILURES {
            self.close(id);
        }
    }

    fn on_attempt_failed(&mut self, node: NodeId, attempt: ConnectionId) {
        let Some(dial) = self.dials.get_mut(&node) else { return };
        dial.attempts.retain(|known| *known != attempt);
        if dial.attempts.is_empty() && dial.circuits_at.is_some() {
            self.dial_circuits(node);
        }
        self.settle_dial(node);
    }

    /// Reports a dial of which nothing is left as failed.
    fn settle_dial(&mut self, node: NodeId) {
        let Some(dial) = self.dials.get(&node) else { return };
        let alive = !dial.attempts.is_empty()
            || dial.circuits_at.is_some()
            || self.connections.values().any(|connection| connection.node == node);
        if !alive {
            self.dials.remove(&node);
            self.inputs.push_back(Input::DialFailed { node });
        }
    }

    fn dial_circuits(&mut self, node: NodeId) {
        if let Some(dial) = self.dials.get_mut(&node) {
            dial.circuits_at = None;
        }
        let Some(peer) = peer_of(node) else { return };
        let circuits: Vec<_> = self
            .connections
            .values()
            .filter(|via| via.path == Path::Direct && via.node != node && self.seeds.contains_key(&via.node))
            .filter_map(|via| Some(address::through(&via.remote, peer_of(via.node)?, peer)))
            .take(limits::CIRCUITS_PER_DIAL)
            .collect();
        if !circuits.is_empty() {
            self.attempt(node, circuits);
        }
    }

    fn attempt(&mut self, node: NodeId, addresses: Vec<Multiaddr>) {
        let Some(peer) = peer_of(node) else { return };
        let options = DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Always).build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                if let Some(dial) = self.dials.get_mut(&node) {
                    dial.attempts.push(id);
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "cannot dial"),
        }
    }

    fn on_listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if address::is_relayed(&address) || self.listening.contains(&address) {
            return;
        }
        self.listening.push(address.clone());
        // A relay must have an address to give out with its reservations.
        if self.serve && self.external.len() + self.listening.len() <= limits::ADDRESSES_PER_NODE {
            self.swarm.add_external_address(address);
        }
        self.addresses_changed();
    }

    /// Tells the node and the program around it where this node can be dialled: addresses given by the operator,
    /// then those it listens on; those of this machine alone only if there are no others.
    fn addresses_changed(&mut self) {
        let mut all: Vec<_> = self.external.iter().chain(&self.listening).cloned().collect();
        if all.iter().any(|address| !address::is_loopback(address)) {
            let (loopback, others): (Vec<_>, Vec<_>) = all.into_iter().partition(address::is_loopback);
            self.inside.addresses_changed(&self.named(others.iter().chain(&loopback)));
            all = others;
        } else {
            self.inside.addresses_changed(&self.named(all.iter()));
        }
        if !all.is_empty() {
            let addresses = self.named(all.iter().take(limits::ADDRESSES_PER_NODE));
            self.inputs.push_back(Input::Reachable { addresses });
        }
    }

    fn named<'a>(&self, addresses: impl Iterator<Item = &'a Multiaddr>) -> Vec<String> {
        addresses.map(|address| format!("{}/p2p/{}", address::without_node(address), self.me)).collect()
    }

    /// Whether the node should not hear of this seed yet: those who learn of us from it could not reach us.
    fn awaits_reservation(&self, now: Moment, node: NodeId) -> bool {
        match self.seeds.get(&node).map(|seed| &seed.reservation) {
            Some(Reservation::Asked { announce_at, .. }) => now < *announce_at,
            Some(Reservation::None { .. } | Reservation::Held { .. }) | None => false,
        }
    }

    fn look_after_reservation(&mut self, now: Moment, node: NodeId) {
        let Some(seed) = self.seeds.get(&node) else { return };
        match seed.reservation {
            Reservation::None { retry_at } if now >= retry_at && !self.serve => self.reserve(now, node),
            Reservation::Asked { announce_at, .. } if now >= announce_at => self.announce(now, node),
            Reservation::None { .. } | Reservation::Asked { .. } | Reservation::Held { .. } => {}
        }
    }

    fn reserve(&mut self, now: Moment, node: NodeId) {
        let direct = self.connections.values().find(|known| known.node == node && known.path == Path::Direct);
        let (Some(connection), Some(peer)) = (direct, peer_of(node)) else { return };
        let address = address::circuit(&connection.remote, peer);
        let reservation = match self.swarm.listen_on(address) {
            Ok(listener) => Reservation::Asked { listener, announce_at: now + Millis(limits::RESERVATION_WAIT_MILLIS) },
            Err(error) => {
                tracing::debug!(%node, %error, "cannot ask for a reservation");
                Reservation::None { retry_at: now + Millis(limits::RESERVATION_RETRY_MILLIS) }
            }
        };
        if let Some(seed) = self.seeds.get_mut(&node) {
            seed.reservation = reservation;
        }
    }

    fn on_reserved(&mut self, node: NodeId) {
        let Some(seed) = self.seeds.get_mut(&node) else { return };
        if let Reservation::Asked { listener, announce_at } = seed.reservation {
            seed.reservation = Reservation::Held { listener };
            self.announce(announce_at, node);
        }
    }

    fn on_listener_closed(&mut self, now: Moment, closed: ListenerId) {
        let lost = self.seeds.iter_mut().find(|(_, seed)| match seed.reservation {
            Reservation::Asked { listener, .. } | Reservation::Held { listener } => listener == closed,
            Reservation::None { .. } => false,
        });
        let Some((node, seed)) = lost.map(|(node, seed)| (*node, seed)) else { return };
        let connected = self.connections.values().any(|known| known.node == node && known.path == Path::Direct);
        // Lost with the connection: ask again as soon as there is one. Refused: not at once.
        let retry_at = if connected { now + Millis(limits::RESERVATION_RETRY_MILLIS) } else { now };
        seed.reservation = Reservation::None { retry_at };
        self.announce(now, node);
    }

    fn close(&mut self, id: ConnectionId) {
        self.swarm.close_connection(id);
    }

    fn close_what_is_stuck_or_unused(&mut self, now: Moment) {
        let mut closing = Vec::new();
        for (id, connection) in &mut self.connections {
            let Some(outgoing) = &connection.outgoing else { continue };
            let written = outgoing.written();
            if outgoing.queued() == 0 || written != connection.progress.0 {
                connection.progress = (written, now);
            }
            let stalled = (now - connection.progress.1).0 >= limits::STALLED_MILLIS;
            let quiet = (now - connection.last_message).0;
            let is_active = self.active.get(&connection.node) == Some(id);
            let spare = !is_active && !connection.carried && quiet >= limits::SPARE_MILLIS;
            let needed = self.serve || self.seeds.contains_key(&connection.node);
            if stalled || spare || (!needed && quiet >= limits::IDLE_MILLIS) {
                closing.push(*id);
            }
        }
        for id in closing {
            tracing::debug!(?id, "closing: stalled, idle or spare");
            self.close(id);
        }
    }

    fn keep_total_bounded(&mut self) {
        let queued = |connection: &Connection| connection.outgoing.as_ref().map_or(0, Outgoing::queued);
        let total: usize = self.connections.values().map(queued).sum();
        if total > limits::OUTGOING_BYTES_TOTAL {
            let longest = self.connections.iter().max_by_key(|(_, connection)| queued(connection)).map(|(id, _)| *id);
            if let Some(id) = longest {
                self.close(id);
            }
        }
    }
}
