//! Who takes part: honest nodes, unlucky ones, slow ones, and liars. A liar is a variant here.

use p2pnet_shared::{units::Millis, wire::Role};

/// One participant and how it behaves.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// Introduces the others.
    Seed,
    /// Submits jobs.
    Requester,
    /// Lends its processor.
    Donor {
        /// Cores.
        cores: u16,
        /// Units that one core computes in a second.
        units_per_second: u64,
    },
    /// Lends, goes away without a word, and comes back as if nothing had been.
    Fickle {
        /// Cores.
        cores: u16,
        /// Units that one core computes in a second.
        units_per_second: u64,
        /// How long it stays, on average.
        stays: Millis,
        /// How long it is away, on average.
        away: Millis,
    },
    /// Takes everything, says that it has started, and never delivers.
    BlackHole {
        /// Cores.
        cores: u16,
    },
    /// Says that it lends 1,024 idle cores and begins all that it is given, but computes on one.
    LyingOffer {
        /// Units that its core computes in a second.
        units_per_second: u64,
    },
    /// Delivers everything in the end, but late, however small it is.
    Sluggish {
        /// Cores.
        cores: u16,
        /// What a batch takes at least.
        delay: Millis,
    },
    /// Fails every task: a broken machine.
    Broken {
        /// Cores.
        cores: u16,
    },
    /// Sends messages that no honest node would, in every state, to everybody who listens.
    Hostile,
}

impl Actor {
    /// What kind of node it says it is.
    pub fn role(self) -> Role {
        match self {
            Actor::Seed => Role::Seed,
            Actor::Requester | Actor::Donor { .. } | Actor::Fickle { .. } => Role::Public,
            Actor::BlackHole { .. }
            | Actor::LyingOffer { .. }
            | Actor::Sluggish { .. }
            | Actor::Broken { .. }
            | Actor::Hostile => Role::Client,
        }
    }

    /// Cores that it lends.
    pub fn cores(self) -> Option<u16> {
        match self {
            Actor::Seed | Actor::Requester | Actor::Hostile => None,
            Actor::Donor { cores, .. }
            | Actor::Fickle { cores, .. }
            | Actor::BlackHole { cores }
            | Actor::Sluggish { cores, .. }
            | Actor::Broken { cores } => Some(cores),
            Actor::LyingOffer { .. } => Some(1024),
        }
    }
}
