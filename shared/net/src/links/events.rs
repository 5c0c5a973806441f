//! What libp2p and our streams tell, told to those who decide.

use libp2p::{
    core::ConnectedPoint,
    identify, ping, relay,
    swarm::{ConnectionId, SwarmEvent},
};
use p2pnet_shared::{api::Path, id::NodeId, node::Input, units::Moment, wire};

use super::{
    Links,
    line::{Blobs, Line},
    paths::Made,
};
use crate::{
    address,
    behaviour::BehaviourEvent,
    frames::{self, Ending, Lane, LinkFact, Mark, Outgoing},
    node_of, platform,
    streams::{self, BLOBS_VERSION, StreamFact},
};

impl Links {
    #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p may add events")]
    pub(super) fn on_swarm_event(&mut self, now: Moment, event: SwarmEvent<BehaviourEvent>) {
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
            BehaviourEvent::Identify(identify::Event::Received { connection_id, info, .. }) => {
                if let Some(line) = self.lines.get_mut(&connection_id) {
                    line.newest = info.protocols.iter().filter_map(|name| wire::number_of(name.as_ref())).max();
                    self.tell_other_version(now, connection_id);
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
        self.lines.insert(id, Line::new(remote));
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
            StreamFact::Opened(stream, version) => {
                let (outgoing, queue) = Outgoing::new(version);
                line.outgoing = Some(outgoing);
                platform::spawn(frames::write(stream, queue, (id, Lane::Words), self.facts.0.clone()));
                self.liveness.opened(now, id);
                self.paths.opened(id, version.knows_marks());
                self.announce(now, node);
            }
            StreamFact::Accepted(stream, version) => {
                line.incoming[Lane::Words as usize].held = Some((stream, version));
                if self.paths.accepted(id) {
                    self.listen(id);
                }
            }
            StreamFact::BlobsAccepted(stream) => {
                line.incoming[Lane::Blobs as usize].held = Some((stream, BLOBS_VERSION));
                if self.paths.accepted(id) {
                    self.listen(id);
                }
            }
            StreamFact::BlobsOpened(stream) => {
                let (outgoing, queue) = Outgoing::new(BLOBS_VERSION);
                platform::spawn(frames::write(stream, queue, (id, Lane::Blobs), self.facts.0.clone()));
                if self.paths.blobs_opened(id) {
                    for frame in line.waiting() {
                        outgoing.send(frame);
                    }
                    line.blobs = Blobs::Open(outgoing);
                } else {
                    outgoing.mark(Mark::End { blobs: false });
                }
            }
            StreamFact::BlobsRefused => {
                let waiting = line.waiting();
                line.blobs = Blobs::Refused;
                for frame in waiting {
                    self.put(id, Lane::Blobs, frame);
                }
            }
            StreamFact::NotUnderstood => {
                line.not_understood_since = Some(now);
                self.tell_other_version(now, id);
            }
            StreamFact::Refused => self.close(id),
        }
    }

    pub(super) fn on_link_fact(&mut self, now: Moment, id: ConnectionId, lane: Lane, fact: LinkFact) {
        let Some(from) = self.paths.node(id) else { return };
        match (fact, lane) {
            (LinkFact::Received(message), lane) => {
                self.liveness.message(now, id);
                match lane {
                    Lane::Words => self.paths.received(now, id, message),
                    Lane::Blobs => self.paths.blob(id, message),
                }
            }
            (LinkFact::Began(first), Lane::Words) => self.paths.began(now, id, first),
            (LinkFact::Began(_), Lane::Blobs) => self.paths.blobs_began(id),
            (LinkFact::Begins(beginning), _) => self.paths.begins(now, id, beginning),
            (LinkFact::Whole { blobs }, Lane::Words) => self.paths.ended(now, id, blobs),
            (LinkFact::Whole { .. }, Lane::Blobs) => self.paths.blobs_ended(id),
            (LinkFact::Acknowledged, Lane::Words) => self.paths.acknowledged(id),
            (LinkFact::Acknowledged, Lane::Blobs) => self.paths.blobs_acknowledged(id),
            (LinkFact::Garbled, _) => self.inputs.push_back(Input::Garbled { from }),
            (LinkFact::Ended(ending), _) => {
                tracing::debug!(%from, ?ending, "stream ended");
                match ending {
                    Ending::Closed => {}
                    Ending::TooLong | Ending::Garbled => self.inputs.push_back(Input::Garbled { from }),
                    Ending::OtherVersion => {
                        let newest = self.lines.get(&id).and_then(|line| line.newest);
                        self.inputs.push_back(Input::OtherVersion { node: from, newest });
                    }
                }
                self.close(id);
            }
        }
    }

    fn on_closed(&mut self, now: Moment, id: ConnectionId) {
        let Some(node) = self.paths.node(id) else { return };
        // It may have been quicker to close the connection than to say what it speaks.
        if let Some(Line { not_understood_since: Some(_), newest, .. }) = self.lines.remove(&id) {
            self.inputs.push_back(Input::OtherVersion { node, newest });
        }
        self.liveness.closed(id);
        self.paths.closed(now, id);
        self.carry_out(now);
        self.dials.closed(node, self.paths.is_connected(node));
    }
}
