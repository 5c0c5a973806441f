//! The stream protocol as a libp2p behaviour: on every connection each side opens one stream for what it says, and
//! accepts the other's, each in the newest version that both know. Parts of blobs have a stream of their own, which is opened
//! when the first is to be sent.
//!
//! Unlike a general stream behaviour it never dials, never picks a connection by chance and never drops a stream that
//! arrived while the loop was busy: streams come out tagged with their connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use p2pnet_shared::wire::Version;

use crate::{dialects::Dialects, frames::Lane, limits, node_of};

/// How parts of blobs are written in a stream of their own,
pub(crate) const BLOBS_VERSION: Version = Version::V2;
/// and its name.
const BLOBS: StreamProtocol = StreamProtocol::new("/p2pnet/blob/1");

/// What happened to a stream.
#[derive(Debug)]
pub(crate) enum StreamFact {
    /// Ours is open: we may speak, in this version.
    Opened(Stream, Version),
    /// The other side opened its own: we may listen, in this version.
    Accepted(Stream, Version),
    /// Ours for blobs is open.
    BlobsOpened(Stream),
    /// The other side opened its own for blobs.
    BlobsAccepted(Stream),
    /// The other side takes blobs in the other stream only.
    BlobsRefused,
    /// The other side speaks no version that we do.
    NotUnderstood,
    /// The connection broke in between, or the other side does not answer.
    Refused,
}

/// A stream fact and the connection it belongs to.
#[derive(Debug)]
pub(crate) struct Event {
    /// Which connection.
    pub connection: ConnectionId,
    /// What happened.
    pub fact: StreamFact,
}

/// A peer whose key is not Ed25519: it cannot be named in our messages.
#[derive(Debug, thiserror::Error)]
#[error("only nodes with Ed25519 keys take part")]
struct NotEd25519;

/// Opens and accepts streams on every connection.
pub(crate) struct Behaviour {
    dialects: Dialects,
    events: VecDeque<Event>,
    /// Connections on which a stream for blobs is to be opened.
    asked: VecDeque<(PeerId, ConnectionId)>,
}

impl Behaviour {
    /// Of a node that speaks these versions.
    pub(crate) fn new(dialects: Dialects) -> Self {
        Self { dialects, events: VecDeque::new(), asked: VecDeque::new() }
    }

    /// Speaks others on connections that come.
    #[cfg(test)]
    pub(crate) fn speak(&mut self, dialects: Dialects) {
        self.dialects = dialects;
    }

    /// Opens a stream for blobs on a connection.
    pub(crate) fn open_blobs(&mut self, peer: PeerId, connection: ConnectionId) {
        self.asked.push_back((peer, connection));
    }

    fn handler(&self, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        let dialects = self.dialects.clone();
        let handler =
            Handler { dialects, asks: VecDeque::new(), asked: false, accepted: [0; 2], facts: VecDeque::new() };
        node_of(&peer).map(|_| handler).ok_or_else(|| ConnectionDenied::new(NotEd25519))
    }
}

/// Agrees on one of these names, and does nothing more.
#[derive(Clone, Debug)]
pub(crate) struct Names(Vec<StreamProtocol>);

impl UpgradeInfo for Names {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone()
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<(Stream, StreamProtocol), Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl OutboundUpgrade<Stream> for Names {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<(Stream, StreamProtocol), Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, connection: ConnectionId, fact: THandlerOutEvent<Self>) {
        self.events.push_back(Event { connection, fact });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            None => match self.asked.pop_front() {
                Some((peer_id, connection)) => Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(connection),
                    event: OpenBlobs,
                }),
                None => Poll::Pending,
            },
        }
    }
}

/// What the behaviour asks of a connection: a stream for blobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenBlobs;

/// One connection's streams.
pub(crate) struct Handler {
    dialects: Dialects,
    /// Streams to be asked for.
    asks: VecDeque<Lane>,
    asked: bool,
    /// Streams taken for messages, and for blobs.
    accepted: [usize; 2],
    facts: VecDeque<StreamFact>,
}

impl Handler {
    fn takes(&self) -> Names {
        Names(self.dialects.names().chain(self.dialects.has_blobs().then_some(BLOBS)).collect())
    }

    fn opens(&self, lane: Lane) -> Names {
        Names(match lane {
            Lane::Words => self.dialects.names().collect(),
            Lane::Blobs => self.dialects.has_blobs().then_some(BLOBS).into_iter().collect(),
        })
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenBlobs;
    type ToBehaviour = StreamFact;
    type InboundProtocol = Names;
    type OutboundProtocol = Names;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Lane;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(self.takes(), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Lane, Self::ToBehaviour>> {
        if let Some(fact) = self.facts.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(fact));
        }
        if !std::mem::replace(&mut self.asked, true) {
            self.asks.push_front(Lane::Words);
        }
        match self.asks.pop_front() {
            Some(lane) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(self.opens(lane), lane),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, OpenBlobs: Self::FromBehaviour) {
        self.asks.push_back(Lane::Blobs);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p may add events")]
    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Lane>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, name), .. }) => {
                let lane = if name == BLOBS { Lane::Blobs } else { Lane::Words };
                let accepted = &mut self.accepted[lane as usize];
                // Beyond the bound the stream is dropped, which resets it.
                if *accepted < limits::STREAMS_PER_CONNECTION {
                    *accepted += 1;
                    self.facts.push_back(match (lane, self.dialects.version(&name)) {
                        (Lane::Words, Some(version)) => StreamFact::Accepted(stream, version),
                        (Lane::Words, None) => StreamFact::NotUnderstood,
                        (Lane::Blobs, _) => StreamFact::BlobsAccepted(stream),
                    });
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (stream, name), info }) => {
                self.facts.push_back(match (info, self.dialects.version(&name)) {
                    (Lane::Words, Some(version)) => StreamFact::Opened(stream, version),
                    (Lane::Words, None) => StreamFact::NotUnderstood,
                    (Lane::Blobs, _) => StreamFact::BlobsOpened(stream),
                });
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.facts.push_back(match (info, error) {
                    (Lane::Words, StreamUpgradeError::NegotiationFailed) => StreamFact::NotUnderstood,
                    (Lane::Words, StreamUpgradeError::Timeout | StreamUpgradeError::Io(_)) => StreamFact::Refused,
                    (Lane::Blobs, _) => StreamFact::BlobsRefused,
                    (Lane::Words, StreamUpgradeError::Apply(never)) => match never {},
                });
            }
            // The enum is libp2p's and open-ended.
            _ => {}
        }
    }
}
