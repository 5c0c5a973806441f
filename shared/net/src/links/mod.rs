//! Links to other nodes: this file holds libp2p's swarm and the streams, and carries out orders; `events` hears what happens
//! there. What is decided is decided by plain values beside them, which are told what happened and give orders:
//!
//! | file | decides |
//! |---|---|
//! | [`paths`] | on which connection we speak to a node, what a new one replaces, what the node is told of it |
//! | [`dials`] | what is tried to reach a node, and when that has failed |
//! | [`reservations`] | when a seed is asked for a reservation, and when the node hears of the seed |
//! | [`liveness`] | which connection is dead, stalled or of no use |
//! | [`reach`] | under which addresses this node can be dialled |

mod dials;
mod events;
mod line;
mod liveness;
#[cfg(test)]
mod of_tests;
mod paths;
mod reach;
mod reservations;

use std::collections::{BTreeMap, VecDeque};

use futures::{FutureExt, StreamExt, channel::mpsc};
use libp2p::{
    Multiaddr, Swarm,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts, dial_opts::PeerCondition},
};
use p2pnet_shared::{
    id::NodeId,
    node::Input,
    units::Moment,
    wire::{self, Message},
};

pub(crate) use self::paths::{Beginning, First};
use self::{
    dials::Dials,
    line::{Blobs, Line},
    liveness::{Liveness, Use},
    paths::Paths,
    reach::Reach,
    reservations::Reservations,
};
use crate::{
    address,
    behaviour::{Behaviour, BehaviourEvent},
    frames::{self, Lane, LinkEvent, Mark, Reader},
    limits,
    origin::Origin,
    peer_of, platform,
};

/// Something happened outside.
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(
        clippy::large_enum_variant,
        reason = "there is one at a time, and a box would be one more allocation for each message"
    )
)]
pub(crate) enum Happening {
    /// In libp2p.
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    /// On a stream of ours.
    Link(LinkEvent),
}

/// All links of a node.
pub(crate) struct Links {
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

impl Links {
    /// No link yet. `serve`: we are a seed that relays for others.
    pub(crate) fn new(
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
    pub(crate) async fn next(&mut self) -> Happening {
        // Messages first now and then the other: `select!` tosses a coin, so neither starves.
        futures::select! {
            event = self.swarm.select_next_some() => Happening::Swarm(Box::new(event)),
            event = self.facts.1.select_next_some() => Happening::Link(event),
        }
    }

    /// What has happened on our streams already, without looking at libp2p.
    pub(crate) fn next_link_event(&mut self) -> Option<Happening> {
        self.facts.1.next().now_or_never().flatten().map(Happening::Link)
    }

    /// Takes in what happened; inputs for the node come out of [`Links::poll_input`].
    pub(crate) fn handle(&mut self, now: Moment, happening: Happening) {
        match happening {
            Happening::Swarm(event) => self.on_swarm_event(now, *event),
            Happening::Link(((connection, lane), fact)) => self.on_link_fact(now, connection, lane, fact),
        }
        self.carry_out(now);
    }

    /// The next input for the node.
    pub(crate) fn poll_input(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// Whether an input waits.
    pub(crate) fn has_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// A seed of ours; an input tells the node, which then dials. Nonsense is passed over.
    pub(crate) fn seed_known(&mut self, now: Moment, texts: &[String]) {
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
    pub(crate) fn dial(&mut self, now: Moment, node: NodeId, texts: &[String]) {
        if node != self.me && self.paths.active(node).is_none() {
            self.dials.begin(now, node, address::dialable(texts, node));
            self.carry_out(now);
        }
    }

    /// Says something. To a node that is not connected it is lost, and the node has been told so already.
    pub(crate) fn send(&mut self, now: Moment, to: NodeId, message: &Message) {
        let Some(id) = self.paths.active(to) else { return };
        let Some(version) = self.lines.get(&id).and_then(Line::version) else { return };
        let frame = match wire::encode(version, message) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%to, %error, "a message of ours cannot be sent");
                return;
            }
        };
        self.paths.said(id);
        self.liveness.message(now, id);
        self.put(id, Lane::of(message), frame);
    }

    /// Puts a frame behind what waits on a connection.
    fn put(&mut self, id: ConnectionId, lane: Lane, frame: Vec<u8>) {
        let (Some(line), Some(node)) = (self.lines.get_mut(&id), self.paths.node(id)) else { return };
        if let (Lane::Blobs, Blobs::Unasked, Some(peer)) = (lane, &line.blobs, peer_of(node)) {
            line.blobs = Blobs::Asked(Vec::new());
            self.swarm.behaviour_mut().streams.open_blobs(peer, id);
        }
        let queued = line.writing().queued;
        // Until the connection is closed, more may be said; nothing is put behind what is too much already.
        if queued > limits::OUTGOING_BYTES || !line.send(lane, frame) {
            tracing::debug!(%node, queued, "hanging up: it reads too slowly");
            self.close(id);
        }
    }

    /// Closes all connections to a node; if it was banned, that is held against where they came from.
    pub(crate) fn hang(&mut self, node: NodeId, banned: bool) {
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
    pub(crate) fn hang_all(&mut self) {
        let ids: Vec<_> = self.lines.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.lines.values().map(|line| line.writing().queued).sum()
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.lines.len()
    }

    /// When [`Links::maintain`] is due.
    pub(crate) fn due(&self) -> Moment {
        self.maintained + limits::MAINTENANCE_INTERVAL
    }

    /// Looks after what only time shows: stalled, idle and spare connections, dials that need a circuit, reservations.
    pub(crate) fn maintain(&mut self, now: Moment) {
        if now < self.due() {
            return;
        }
        self.maintained = now;
        self.swarm.behaviour_mut().crowd.set_now(now);
        let mute = self.lines.iter().filter(|(_, line)| line.not_understood_since.is_some() || line.told_at.is_some());
        let mute: Vec<ConnectionId> = mute.map(|(id, _)| *id).collect();
        for id in mute {
            self.tell_other_version(now, id);
            self.close_if_told(now, id);
        }
        self.close_what_is_useless(now);
        if let Some(id) = liveness::overfull(self.lines.iter().map(|(id, line)| (*id, line.writing().queued))) {
            self.close(id);
        }
        self.paths.tick(now);
        self.dials.tick(now);
        self.reservations.tick(now);
        self.carry_out(now);
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
            paths::Order::Read(id) => _ = self.reader(id, Lane::Words).map(Reader::go),
            paths::Order::ReadBlobs(id) => _ = self.reader(id, Lane::Blobs).map(Reader::go),
            paths::Order::Acknowledge(id) => _ = self.reader(id, Lane::Words).map(Reader::acknowledge),
            paths::Order::AcknowledgeBlobs(id) => _ = self.reader(id, Lane::Blobs).map(Reader::acknowledge),
            paths::Order::SayBegins(id, beginning) => self.mark(id, Mark::Begins(beginning)),
            paths::Order::SayGoesOn(id, beginning) => self.mark(id, Mark::GoesOn(beginning)),
            paths::Order::End { id, blobs } => self.end(id, blobs),
            paths::Order::Close(id) => self.close(id),
        }
    }

    fn reader(&mut self, id: ConnectionId, lane: Lane) -> Option<&mut Reader> {
        self.lines.get_mut(&id).and_then(|line| line.incoming[lane as usize].reader.as_mut())
    }

    /// Ends what we say on a connection. What waits there for a stream of blobs goes where we speak now.
    fn end(&mut self, id: ConnectionId, blobs: bool) {
        self.mark(id, Mark::End { blobs });
        let Some(line) = self.lines.get_mut(&id) else { return };
        let waiting = line.waiting();
        match &line.blobs {
            // Its meter is needed as long as it is written.
            Blobs::Open(outgoing) => _ = outgoing.mark(Mark::End { blobs }),
            Blobs::Unasked | Blobs::Asked(_) | Blobs::Refused => line.blobs = Blobs::Refused,
        }
        let Some(active) = self.paths.node(id).and_then(|node| self.paths.active(node)) else { return };
        for frame in waiting {
            self.put(active, Lane::Blobs, frame);
        }
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
        for (incoming, lane) in line.incoming.iter_mut().zip([Lane::Words, Lane::Blobs]) {
            if let Some((stream, version)) = incoming.held.take() {
                let (reader, gate) = Reader::new();
                incoming.reader = Some(reader);
                platform::spawn(frames::read(stream, version, gate, (id, lane), self.facts.0.clone()));
            }
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

    /// Tells the node that another one speaks no version that we do, once it is known what it speaks or the other does not
    /// say it in time.
    fn tell_other_version(&mut self, now: Moment, id: ConnectionId) {
        let (Some(line), Some(node)) = (self.lines.get_mut(&id), self.paths.node(id)) else { return };
        let Some(since) = line.not_understood_since else { return };
        if line.newest.is_some() || now >= since + limits::IDENTIFY_TIME {
            line.not_understood_since = None;
            let newest = line.newest;
            tracing::warn!(%node, ?newest, "it speaks no version of the protocol that this build does");
            self.inputs.push_back(Input::OtherVersion { node, newest });
            line.told_at = Some(now);
        }
    }

    /// Closes a connection over which nothing can be said. Not at once: the other side is to find out what we speak, too.
    fn close_if_told(&mut self, now: Moment, id: ConnectionId) {
        let told_at = self.lines.get(&id).and_then(|line| line.told_at);
        if told_at.is_some_and(|at| now >= at + limits::IDENTIFY_TIME) {
            self.close(id);
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
