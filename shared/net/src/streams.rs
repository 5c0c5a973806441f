//! The stream protocol as a libp2p behaviour: on every connection each side opens one stream for what it says, and
//! accepts the other's. A stream has one of two names: by the newer one, both sides know marks (`frames::Mark`).
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
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use p2pnet_shared::wire;

use crate::{limits, node_of};

/// The name of a stream between nodes of which one knows no marks,
const PLAIN: StreamProtocol = StreamProtocol::new(wire::PROTOCOL);
/// and between those that know them.
const MARKED: StreamProtocol = StreamProtocol::new("/p2pnet/node/1.1");

/// What happened to a stream.
#[derive(Debug)]
pub enum StreamFact {
    /// Ours is open: we may speak.
    Opened {
        /// Ours.
        stream: Stream,
        /// Whether the other side knows marks.
        knows_marks: bool,
    },
    /// The other side opened its own: we may listen.
    Accepted(Stream),
    /// The other side does not speak our protocol, or the connection broke in between.
    Refused,
}

/// A stream fact and the connection it belongs to.
#[derive(Debug)]
pub struct Event {
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
#[derive(Default)]
pub struct Behaviour {
    events: VecDeque<Event>,
}

impl Behaviour {
    fn handler(peer: PeerId) -> Result<Handler, ConnectionDenied> {
        node_of(&peer).map(|_| Handler::default()).ok_or_else(|| ConnectionDenied::new(NotEd25519))
    }
}

/// Agrees on a name, and does nothing more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names;

impl UpgradeInfo for Names {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 2];

    fn protocol_info(&self) -> Self::InfoIter {
        [MARKED, PLAIN]
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
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
        Self::handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Self::handler(peer)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, connection: ConnectionId, fact: THandlerOutEvent<Self>) {
        self.events.push_back(Event { connection, fact });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            None => Poll::Pending,
        }
    }
}

/// One connection's streams.
#[derive(Default)]
pub struct Handler {
    asked: bool,
    accepted: usize,
    facts: VecDeque<StreamFact>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = StreamFact;
    type InboundProtocol = Names;
    type OutboundProtocol = Names;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Names, ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(fact) = self.facts.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(fact));
        }
        if !self.asked {
            self.asked = true;
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Names, ()),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            // Beyond the bound the stream is dropped below, which resets it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. })
                if self.accepted < limits::STREAMS_PER_CONNECTION =>
            {
                self.accepted += 1;
                self.facts.push_back(StreamFact::Accepted(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (stream, name), .. }) => {
                self.facts.push_back(StreamFact::Opened { stream, knows_marks: name == MARKED });
            }
            ConnectionEvent::DialUpgradeError(_) => self.facts.push_back(StreamFact::Refused),
            // The enum is libp2p's and open-ended.
            _ => {}
        }
    }
}
