//! What is known of one connection, and of what there is between us and a node.

use libp2p::swarm::ConnectionId;
use p2pnet_shared::{api::Path, units::Moment};

use super::orders::Made;

/// Our stream on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaking {
    /// It is not open yet.
    NotYet,
    /// It is open. `said`: something was.
    Open { said: bool },
    /// It was ended, and the other side has not read it to the end yet.
    Ending,
    /// It was read to its end.
    Ended,
}

/// The other side's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Nothing came.
    Silent,
    /// It goes on with that beginning, which we have not read to the end elsewhere, since then.
    Waits { since: Moment, beginning: u64 },
    /// We read it. Something came last then.
    Reads { heard_at: Moment },
    /// We read it to its end.
    Ended,
}

/// The other side's stream of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blobs {
    /// There is none, as far as we know.
    None,
    /// There is one that we have not begun to read: it comes after another, or is on its way.
    Waits {
        /// Whether it is here.
        here: bool,
    },
    /// We read it.
    Reads,
    /// We read it to its end.
    Ended,
}

pub(super) struct Known {
    pub(super) made: Made,
    /// Our stream of blobs; it is open as soon as there is one.
    pub(super) sends_blobs: Speaking,
    pub(super) blobs: Blobs,
    pub(super) speaking: Speaking,
    pub(super) hearing: Hearing,
    /// Whether the other side knows marks, as far as our stream tells.
    pub(super) knows_marks: bool,
    /// It is being closed, and what was lost with it has been told: it counts no longer.
    pub(super) leaving: bool,
}

impl Known {
    pub(super) fn is_direct(&self) -> bool {
        self.made.path == Path::Direct
    }

    /// Whether we can speak on it.
    pub(super) fn is_open(&self) -> bool {
        let open = match self.speaking {
            Speaking::Open { .. } => true,
            Speaking::NotYet | Speaking::Ending | Speaking::Ended => false,
        };
        open && !self.leaving
    }

    /// Whether both can speak on it from now on.
    pub(super) fn is_usable(&self) -> bool {
        self.is_open() && self.hearing != Hearing::Ended
    }

    /// Since when what came waits for what was said elsewhere, and with which beginning it goes on.
    pub(super) fn waits(&self) -> Option<(Moment, u64)> {
        match self.hearing {
            Hearing::Waits { since, beginning } if !self.leaving => Some((since, beginning)),
            Hearing::Waits { .. } | Hearing::Silent | Hearing::Reads { .. } | Hearing::Ended => None,
        }
    }

    /// Whether neither side has anything more to say or to read on it, if we do not speak on it.
    pub(super) fn is_done(&self) -> bool {
        let is_over = |speaking| match speaking {
            Speaking::Ended | Speaking::NotYet | Speaking::Open { said: false } => true,
            Speaking::Ending | Speaking::Open { said: true } => false,
        };
        // One who says nothing may have begun to, as long as he has not ended.
        is_over(self.speaking) && is_over(self.sends_blobs) && self.hearing == Hearing::Ended && !self.owes_blobs()
    }

    /// Whether parts of blobs are there or on their way that we have not read.
    pub(super) fn owes_blobs(&self) -> bool {
        match self.blobs {
            Blobs::Waits { .. } | Blobs::Reads => true,
            Blobs::None | Blobs::Ended => false,
        }
    }
}

/// What there is between us and a node while there is any connection.
#[derive(Default)]
pub(super) struct Between {
    /// On which connection we speak; the node knows of it.
    pub(super) active: Option<ConnectionId>,
    /// Whether anything came since something was lost last.
    pub(super) heard: bool,
    /// What comes before the other's next beginning follows on something that was lost, and is dropped.
    pub(super) stale: bool,
    /// Something was lost since our last beginning.
    pub(super) lost: bool,
    /// The other side has said a mark.
    pub(super) marked: bool,
    /// We have moved since our last beginning.
    pub(super) moved: bool,
    /// Since when the other side has told how often that something was lost.
    pub(super) losses: (Moment, u32),
    /// Our last beginning, and the other's.
    pub(super) ours: u64,
    pub(super) theirs: u64,
}
