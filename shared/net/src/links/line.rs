//! The streams of one connection, and what waits to be written there.

use libp2p::{Multiaddr, Stream};
use p2pnet_shared::{units::Moment, wire::Version};

use super::liveness::Writing;
use crate::frames::{Lane, Outgoing, Reader};

/// What there is of a connection here.
pub(super) struct Line {
    pub(super) remote: Multiaddr,
    pub(super) outgoing: Option<Outgoing>,
    pub(super) blobs: Blobs,
    /// The streams of the other side: for messages, and for blobs.
    pub(super) incoming: [Incoming; 2],
    /// The newest version that the other side speaks, once it said so.
    pub(super) newest: Option<u16>,
    /// Since when it is known that it speaks none of ours.
    pub(super) not_understood_since: Option<Moment>,
    /// When our node was told so.
    pub(super) told_at: Option<Moment>,
}

/// A stream of the other side.
#[derive(Default)]
pub(super) struct Incoming {
    /// While it waits until the node knows of the connection,
    pub(super) held: Option<(Stream, Version)>,
    /// and when it is read.
    pub(super) reader: Option<Reader>,
}

/// Our stream for parts of blobs.
pub(super) enum Blobs {
    /// Nobody has needed it.
    Unasked,
    /// It is being opened, and these wait for it.
    Asked(Vec<Vec<u8>>),
    /// It is open.
    Open(Outgoing),
    /// The other side has none, or we have moved to another connection: they go with the messages.
    Refused,
}

impl Line {
    /// One without streams.
    pub(super) fn new(remote: Multiaddr) -> Self {
        Self {
            remote,
            outgoing: None,
            blobs: Blobs::Unasked,
            incoming: Default::default(),
            newest: None,
            not_understood_since: None,
            told_at: None,
        }
    }

    /// The version in which we speak here, once we can.
    pub(super) fn version(&self) -> Option<Version> {
        self.outgoing.as_ref().map(Outgoing::version)
    }

    pub(super) fn writing(&self) -> Writing {
        let writing = |outgoing: &Outgoing| Writing { queued: outgoing.queued(), written: outgoing.written() };
        let words = self.outgoing.as_ref().map(writing).unwrap_or_default();
        let blobs = match &self.blobs {
            Blobs::Asked(waiting) => Writing { queued: waiting.iter().map(Vec::len).sum(), written: 0 },
            Blobs::Open(outgoing) => writing(outgoing),
            Blobs::Unasked | Blobs::Refused => Writing::default(),
        };
        Writing { queued: words.queued + blobs.queued, written: words.written + blobs.written }
    }

    /// Takes what waits for a stream that is being opened.
    pub(super) fn waiting(&mut self) -> Vec<Vec<u8>> {
        match &mut self.blobs {
            Blobs::Asked(waiting) => std::mem::take(waiting),
            Blobs::Unasked | Blobs::Open(_) | Blobs::Refused => Vec::new(),
        }
    }

    /// Puts a frame behind what waits in its lane; `false` when the writer is gone.
    pub(super) fn send(&mut self, lane: Lane, frame: Vec<u8>) -> bool {
        match (lane, &mut self.blobs) {
            (Lane::Blobs, Blobs::Asked(waiting)) => {
                waiting.push(frame);
                true
            }
            (Lane::Blobs, Blobs::Open(outgoing)) => outgoing.send(frame),
            (Lane::Blobs, Blobs::Unasked | Blobs::Refused) | (Lane::Words, _) => {
                self.outgoing.as_ref().is_some_and(|outgoing| outgoing.send(frame))
            }
        }
    }
}
