//! What paths are told of, and what they order.

use libp2p::swarm::ConnectionId;
use p2pnet_shared::{api::Path, id::NodeId, wire::Message};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    /// Tell the node of a connection on which it can speak.
    Connected {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
        /// Over what.
        transport: &'static str,
    },
    /// Tell the node that there is none any more, or that something was lost; [`Paths::announce`] tells it of another.
    Disconnected {
        /// To whom.
        node: NodeId,
    },
    /// Tell the node that what it says goes over another connection from now on.
    Moved {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
        /// Over what.
        transport: &'static str,
    },
    /// Tell the node what the other said.
    Received {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Take the streams that the other side opens on this connection; each first says how it begins.
    Listen(ConnectionId),
    /// Read on, beyond the beginning.
    Read(ConnectionId),
    /// Let the other side know that its stream was read to the end.
    Acknowledge(ConnectionId),
    /// Read parts of blobs, beyond the beginning.
    ReadBlobs(ConnectionId),
    /// Let the other side know that its stream of blobs was read to the end.
    AcknowledgeBlobs(ConnectionId),
    /// Say that our node begins anew.
    SayBegins(ConnectionId, Beginning),
    /// Say that what follows goes on with what was said on another connection since this beginning of ours.
    SayGoesOn(ConnectionId, u64),
    /// End our stream behind what was said, and (`blobs`) the one for blobs, which there is.
    End {
        /// Where.
        id: ConnectionId,
        /// Whether there is.
        blobs: bool,
    },
    /// Close this connection.
    Close(ConnectionId),
}

/// How a node begins to speak to another: the mark before its Hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// When it does, in its own milliseconds: each beginning has a larger number than any before.
    pub mine: u64,
    /// Which beginning of the other it has heard of last; 0: none.
    pub yours: u64,
    /// Whether something may be lost of what followed that.
    pub lost: bool,
}

/// What came first in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A message: the other side knows no marks.
    Message,
    /// A beginning, which is told next.
    Begins,
    /// It goes on with what was said on another connection since that beginning of the other's.
    GoesOn(u64),
}

/// A connection as it was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// To whom.
    pub node: NodeId,
    /// How it runs.
    pub path: Path,
    /// Over what.
    pub transport: &'static str,
    /// Whether the other side dialled.
    pub inbound: bool,
}
