//! Links to other nodes: this file alone touches libp2p's swarm and the streams. What is decided about them is decided
//! by plain values beside it, which are told what happened and give orders:
//!
//! | file | decides |
//! |---|---|
//! | [`paths`] | on which connection we speak to a node, what a new one replaces, what the node is told of it |
//! | [`dials`] | what is tried to reach a node, and when that has failed |
//! | [`reservations`] | when a seed is asked for a reservation, and when the node hears of the seed |
//! | [`liveness`] | which connection is dead, stalled or of no use |
//! | [`reach`] | under which addresses this node can be dialled |

mod dials;
mod liveness;
mod paths;
mod reach;
mod reservations;

use std::collections::{BTreeMap, VecDeque};

use futures::{FutureExt, StreamExt, channel::mpsc};
use libp2p::{
    Multiaddr, Stream, Swarm,
    core::ConnectedPoint,
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

pub use self::paths::{Beginning, First};
use self::{
    dials::Dials,
    liveness::{Liveness, Use, Writing},
    paths::{Made, Paths},
    reach::Reach,
    reservations::Reservations,
};
use crate::{
    address,
    behaviour::{Behaviour, BehaviourEvent},
    frames::{self, LinkEvent, LinkFact, Mark, Outgoing, Reader},
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
    paths: Paths,
    dials: Dials,
    reservations: Reservations,
    liveness: Liveness,
    reach: Reach,
    lines: BTreeMap<ConnectionId, Line>,
    facts: (mpsc::Sender<LinkEvent>, mpsc::Receiver<LinkEvent>),
    inputs: VecDeque<Input>,
    maintained: Moment,
}

/// What there is of a connection here.
struct Line {
    remote: Multiaddr,
    outgoing: Option<Outgoing>,
    /// The stream of the other side, while it waits until the node knows of the connection,
    held: Option<Stream>,
    /// and when it is read.
    reader: Option<Reader>,
}

impl Line {
    fn writing(&self) -> Writing {
        let writing = |outgoing: &Outgoing| Writing { queued: outgoing.queued(), written: outgoing.written() };
        self.outgoing.as_ref().map(writing).unwrap_or_default()
    }
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
            paths: Paths::default(),
            dials: Dials::default(),
            reservations: Reservations::new(serve),
            liveness: Liveness::default(),
            reach: Reach::new(me, external.clone()),
            lines: BTreeMap::new(),
            facts: mpsc::channel(limits::INCOMING_QUEUE),
            inputs: VecDeque::new(),
            maintained: Moment(0),
        };
        for address in external {
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
        self.carry_out(now);
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
        if node == self.me || !self.reservations.seed_known(now, node) {
            return;
        }
        let addresses = addresses.iter().map(|address| format!("{address}/p2p/{node}")).collect();
        self.inputs.push_back(Input::SeedKnown { node, addresses });
    }

    /// Connects to a node: to its addresses, through circuits of connected seeds, or first one, then both.
    pub fn dial(&mut self, now: Moment, node: NodeId, texts: &[String]) {
        if node != self.me && self.paths.active(node).is_none() {
            self.dials.begin(now, node, address::dialable(texts, node));
            self.carry_out(now);
        }
    }

    /// Says something. To a node that is not connected it is lost, and the node has been told so already.
    pub fn send(&mut self, now: Moment, to: NodeId, message: &Message) {
        let Some(id) = self.paths.active(to) else { return };
        let Some(outgoing) = self.lines.get(&id).and_then(|line| line.outgoing.as_ref()) else { return };
        let frame = match wire::encode(message) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%to, %error, "a message of ours cannot be sent");
                return;
            }
        };
        self.paths.said(id);
        self.liveness.message(now, id);
        let queued = outgoing.queued();
        // Until the connection is closed, more may be said; nothing is put behind what is too much already.
        if queued > limits::OUTGOING_BYTES || !outgoing.send(frame) {
            tracing::debug!(%to, queued, "hanging up: it reads too slowly");
            self.close(id);
        }
    }

    /// Closes all connections to a node; if it was banned, that is held against where they came from.
    pub fn hang(&mut self, node: NodeId, banned: bool) {
        self.dials.over(node);
        let inbound = self.paths.inbound(node).filter(|_| banned).filter_map(|id| self.lines.get(&id));
        if let Some(origin) = inbound.filter_map(|line| Origin::of(&line.remote)).next() {
            self.swarm.behaviour_mut().crowd.strike(origin);
        }
        if let Some(peer) = peer_of(node) {
            // An error means that there was none.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes everything.
    pub fn hang_all(&mut self) {
        let ids: Vec<_> = self.lines.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Bytes that wait to be written.
    pub fn unwritten(&self) -> usize {
        self.lines.values().map(|line| line.writing().queued).sum()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.lines.len()
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
        self.close_what_is_useless(now);
        if let Some(id) = liveness::overfull(self.lines.iter().map(|(id, line)| (*id, line.writing().queued))) {
            self.close(id);
        }
        self.paths.tick(now);
        self.dials.tick(now);
        self.reservations.tick(now);
        self.carry_out(now);
    }

    /// Sends bytes that are no message.
    #[cfg(test)]
    pub fn send_raw(&mut self, to: NodeId, frame: Vec<u8>) {
        let line = self.paths.active(to).and_then(|id| self.lines.get(&id));
        let outgoing = line.and_then(|line| line.outgoing.as_ref());
        assert!(outgoing.is_some_and(|outgoing| outgoing.send(frame)));
    }

    /// Bytes that wait to be sent to a node.
    #[cfg(test)]
    pub fn queued(&self, to: NodeId) -> usize {
        self.paths.active(to).and_then(|id| self.lines.get(&id)).map_or(0, |line| line.writing().queued)
    }

    /// Dials an address of any kind, also where there is a connection.
    #[cfg(test)]
    pub fn dial_beside(&mut self, node: NodeId, address: Multiaddr) {
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
                    self.dials.attempt_failed(node, connection_id, self.paths.is_connected(node));
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.reach.expired(&address);
                self.swarm.remove_external_address(&address);
                self.addresses_changed();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                tracing::debug!(?reason, "listener closed");
                if let Some(seed) = self.reservations.seed_of(listener_id) {
                    self.reservations.lost(now, seed, self.paths.direct(seed).is_some());
                }
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
                    self.liveness.ping_answered(connection);
                    if let Some(node) = node_of(&peer).filter(|node| self.paths.active(*node) == Some(connection)) {
                        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
                        self.inputs.push_back(Input::RoundTrip { node, millis });
                    }
                }
                Err(ping::Failure::Unsupported) => {}
                Err(error) => {
                    tracing::debug!(%peer, %error, "ping failed");
                    let written = self.lines.get(&connection).map_or(0, |line| line.writing().written);
                    if self.liveness.ping_failed(connection, written) {
                        self.close(connection);
                    }
                }
            },
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                if let Some(seed) = node_of(&relay_peer_id) {
                    self.reservations.accepted(seed);
                }
            }
            BehaviourEvent::RelayClient(_) | BehaviourEvent::RelayServer(_) | BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Crowd(event) => match event {},
        }
    }

    fn on_connected(&mut self, now: Moment, node: NodeId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let (path, transport) = address::path_of(endpoint);
        let remote = endpoint.get_remote_address().clone();
        let direct = path == Path::Direct;
        self.lines.insert(id, Line { remote, outgoing: None, held: None, reader: None });
        self.paths.connected(id, Made { node, path, transport, inbound: endpoint.is_listener() });
        self.liveness.connected(now, id);
        self.dials.connected(node, id);
        if direct {
            self.reservations.connected(now, node);
        }
    }

    fn on_stream_fact(&mut self, now: Moment, id: ConnectionId, fact: StreamFact) {
        let (Some(line), Some(node)) = (self.lines.get_mut(&id), self.paths.node(id)) else { return };
        match fact {
            StreamFact::Opened { stream, knows_marks } => {
                let (outgoing, queue) = Outgoing::new();
                line.outgoing = Some(outgoing);
                platform::spawn(frames::write(stream, queue, id, self.facts.0.clone()));
                self.liveness.opened(now, id);
                self.paths.opened(id, knows_marks);
                self.announce(now, node);
            }
            StreamFact::Accepted(stream) => {
                line.held = Some(stream);
                if self.paths.accepted(id) {
                    self.listen(id);
                }
            }
            StreamFact::Refused => self.close(id),
        }
    }

    fn on_link_fact(&mut self, now: Moment, id: ConnectionId, fact: LinkFact) {
        let Some(from) = self.paths.node(id) else { return };
        match fact {
            LinkFact::Received(message) => {
                self.liveness.message(now, id);
                self.paths.received(now, id, message);
            }
            LinkFact::Began(first) => self.paths.began(now, id, first),
            LinkFact::Begins(beginning) => self.paths.begins(now, id, beginning),
            LinkFact::Whole => self.paths.ended(now, id),
            LinkFact::Acknowledged => self.paths.acknowledged(id),
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
        let Some(node) = self.paths.node(id) else { return };
        self.lines.remove(&id);
        self.liveness.closed(id);
        self.paths.closed(now, id);
        self.carry_out(now);
        self.dials.closed(node, self.paths.is_connected(node));
    }

    /// Tells the node of a connection on which we can speak, if it may hear of it and does not know yet.
    fn announce(&mut self, now: Moment, node: NodeId) {
        if !self.reservations.is_awaited(now, node) {
            self.paths.announce(now, node);
            if self.paths.active(node).is_some() {
                self.dials.over(node);
            }
        }
    }

    /// Does what was decided, until nothing is left to do.
    fn carry_out(&mut self, now: Moment) {
        loop {
            if let Some(order) = self.reservations.poll_order() {
                self.carry_out_reservation(now, order);
            } else if let Some(order) = self.paths.poll_order() {
                self.carry_out_path(now, order);
            } else if let Some(order) = self.dials.poll_order() {
                self.carry_out_dial(order);
            } else {
                return;
            }
        }
    }

    fn carry_out_path(&mut self, now: Moment, order: paths::Order) {
        match order {
            paths::Order::Connected { node, path, transport } => {
                self.inputs.push_back(Input::Connected { node, path, transport });
            }
            paths::Order::Moved { node, path, transport } => {
                self.inputs.push_back(Input::Moved { node, path, transport });
            }
            paths::Order::Disconnected { node } => {
                self.inputs.push_back(Input::Disconnected { node });
                self.announce(now, node);
            }
            paths::Order::Received { from, message } => self.inputs.push_back(Input::Received { from, message }),
            paths::Order::Listen(id) => self.listen(id),
            paths::Order::Read(id) => _ = self.reader(id).map(Reader::go),
            paths::Order::Acknowledge(id) => _ = self.reader(id).map(Reader::acknowledge),
            paths::Order::SayBegins(id, beginning) => self.mark(id, Mark::Begins(beginning)),
            paths::Order::SayGoesOn(id, beginning) => self.mark(id, Mark::GoesOn(beginning)),
            paths::Order::End(id) => self.mark(id, Mark::End),
            paths::Order::Close(id) => self.close(id),
        }
    }

    fn reader(&mut self, id: ConnectionId) -> Option<&mut Reader> {
        self.lines.get_mut(&id).and_then(|line| line.reader.as_mut())
    }

    fn mark(&self, id: ConnectionId, mark: Mark) {
        if let Some(outgoing) = self.lines.get(&id).and_then(|line| line.outgoing.as_ref()) {
            // A writer that is gone has told of it.
            outgoing.mark(mark);
        }
    }

    fn carry_out_dial(&mut self, order: dials::Order) {
        let (node, addresses) = match order {
            dials::Order::Direct { node, addresses } => (node, addresses),
            dials::Order::Circuits { node } => (node, self.circuits(node)),
            dials::Order::Failed { node } => return self.inputs.push_back(Input::DialFailed { node }),
        };
        let attempt = if addresses.is_empty() { None } else { self.attempt(node, addresses) };
        self.dials.tried(node, attempt, self.paths.is_connected(node));
    }

    fn carry_out_reservation(&mut self, now: Moment, order: reservations::Order) {
        match order {
            reservations::Order::Announce { seed } => self.announce(now, seed),
            reservations::Order::Ask { seed } => {
                let connected = self.paths.direct(seed).and_then(|id| self.lines.get(&id));
                let (Some(line), Some(peer)) = (connected, peer_of(seed)) else { return };
                let listener = self.swarm.listen_on(address::circuit(&line.remote, peer));
                if let Err(error) = &listener {
                    tracing::debug!(%seed, %error, "cannot ask for a reservation");
                }
                self.reservations.asked(now, seed, listener.ok());
            }
        }
    }

    fn listen(&mut self, id: ConnectionId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if let Some(stream) = line.held.take() {
            let (reader, gate) = Reader::new();
            line.reader = Some(reader);
            platform::spawn(frames::read(stream, gate, id, self.facts.0.clone()));
        }
    }

    /// Addresses of a node through the seeds that are connected.
    fn circuits(&self, node: NodeId) -> Vec<Multiaddr> {
        let Some(peer) = peer_of(node) else { return Vec::new() };
        let seeds = self.paths.all_direct().filter(|(_, via)| *via != node && self.reservations.is_seed(*via));
        let through = |(id, via)| Some(address::through(&self.lines.get(&id)?.remote, peer_of(via)?, peer));
        seeds.filter_map(through).take(limits::CIRCUITS_PER_DIAL).collect()
    }

    fn attempt(&mut self, node: NodeId, addresses: Vec<Multiaddr>) -> Option<ConnectionId> {
        let peer = peer_of(node)?;
        let options = DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Always).build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => Some(id),
            Err(error) => {
                tracing::debug!(%peer, %error, "cannot dial");
                None
            }
        }
    }

    fn on_listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if self.reach.listens(&address) {
            // A relay must have an address to give out with its reservations.
            if self.serve && self.reach.is_bounded() {
                self.swarm.add_external_address(address);
            }
            self.addresses_changed();
        }
    }

    /// Tells the node and the program around it where this node can be dialled.
    fn addresses_changed(&mut self) {
        self.inside.addresses_changed(&self.reach.all());
        let addresses = self.reach.told();
        if !addresses.is_empty() {
            self.inputs.push_back(Input::Reachable { addresses });
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.swarm.close_connection(id);
    }

    fn close_what_is_useless(&mut self, now: Moment) {
        let mut closing = Vec::new();
        for (id, line) in self.lines.iter().filter(|(_, line)| line.outgoing.is_some()) {
            let Some(node) = self.paths.node(*id) else { continue };
            let needed = self.serve || self.reservations.is_seed(node);
            let used = Use { needed, spare: self.paths.is_spare(*id) };
            if let Some(why) = self.liveness.look(now, *id, line.writing(), used) {
                tracing::debug!(?id, ?why, "closing a connection");
                closing.push(*id);
            }
        }
        for id in closing {
            self.close(id);
        }
    }
}
