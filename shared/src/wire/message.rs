//! What nodes say to each other, as the node thinks of it. How it stands on the wire is each version's own business.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Extensions;
use crate::{
    engine::Limits,
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Language, Priority, Requirements},
    units::Moment,
};

/// What a node offers to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trusted bootstrap.
    Seed,
    /// Reachable from outside.
    Public,
    /// Behind NAT; every browser.
    Client,
    /// Has something special: a GPU, big memory.
    Specialised,
}

/// A node's short-lived statement of what it can do now. It travels only over authenticated connections, from the
/// node to its seeds and from them to requesters; the node repeats it to the requester itself.
///
/// It is JSON in the API, and has a form of its own on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Who offers.
    pub node: NodeId,
    /// What kind of node.
    pub role: Role,
    /// How it describes itself (`p2pnet 0.1.0 browser`); at most 64 characters.
    pub agent: String,
    /// Processor cores that it lends; 1 to 1024.
    pub cores: u16,
    /// Share of each core's time, 1 to 100 percent.
    pub cpu_percent: u8,
    /// Memory a task may use, in MiB.
    pub memory_mib: u32,
    /// Cores with nothing to do.
    pub idle_cores: u16,
    /// libp2p multiaddresses under which it can be dialled, best first; at most 8. Empty: through the seed's circuit.
    pub addresses: Vec<String>,
    /// When it was made, by the maker's clock.
    pub made_at: Moment,
    /// The rewrite of kernels that it runs ([`crate::kernel::REWRITE_VERSION`]). Gas may differ between two, so that work
    /// is given to nodes of the same one only.
    pub rewrite: u16,
    /// What it runs programs in; at most 16.
    #[serde(skip)]
    pub languages: BTreeSet<Language>,
    /// What later versions say beside it.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Bytes in a message, or the name under which to fetch them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// The name of a blob that the sender has.
    Blob {
        /// Its name.
        hash: Hash,
        /// Its length in bytes.
        len: u64,
    },
}

impl Payload {
    /// The blob in which the bytes lie, unless they stand here.
    pub fn blob(&self) -> Option<Hash> {
        match self {
            Payload::Inline(_) => None,
            Payload::Blob { hash, .. } => Some(*hash),
        }
    }
}

/// Why a provider does not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    /// It lends nothing now (paused, on battery, switched off).
    NotLending,
    /// Its queue is full.
    Busy,
    /// The limits or requirements are beyond what it lends.
    TooDemanding,
    /// A blob it needs could not be fetched or has the wrong hash.
    MissingBlob,
    /// The kernel breaks the contract.
    InvalidKernel,
    /// The message broke a bound.
    Malformed,
    /// It rewrites kernels in another way than the assignment asks for.
    OtherRewrite,
    /// It does not run what the program is written in.
    OtherLanguage,
    /// A reason that only later versions know.
    Unknown,
}

/// One batch for one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Names the attempt in everything that follows.
    pub attempt: AttemptId,
    /// The same for all batches of one job of this requester, and not the job's id: whoever knows that may read and stop
    /// a job that has no token.
    pub job: JobId,
    /// What the program is written in.
    pub language: Language,
    /// The program's name; the requester has it as a blob.
    pub kernel: Hash,
    /// The common bytes, if the job has any; likewise a blob.
    pub common: Option<Hash>,
    /// Its place in the provider's queue.
    pub priority: Priority,
    /// Bounds of each call.
    pub limits: Limits,
    /// The calls' inputs (see [`super::encode_calls`]).
    pub calls: Payload,
    /// The rewrite by which the kernel is to run.
    pub rewrite: u16,
    /// What later versions say beside it.
    pub extensions: Extensions,
}

/// Everything that one node says to another. The first message on a stream is [`Message::Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who speaks.
    Hello {
        /// What kind of node.
        role: Role,
        /// How it describes itself; at most 64 characters.
        agent: String,
        /// Differs in every life of the node, so that a provider drops the work of an earlier one.
        session: u64,
        /// What later versions say beside it.
        extensions: Extensions,
    },
    /// The sender lends its processor on these terms. Replaces its earlier offer; valid for 30 s.
    Offer(Offer),
    /// The sender lends no longer.
    Withdraw,
    /// Asks a broker for offers. The question stays open for 60 s: the broker sends [`Message::Found`] again, at most
    /// ten times a second, with offers that appeared or became idle since. A later question replaces it; a limit of 0
    /// closes it without an answer.
    Find {
        /// Comes back in the answer.
        query: u64,
        /// What the offers must meet.
        requirements: Requirements,
        /// At most so many; 1 to 64, or 0 to ask no longer.
        limit: u16,
        /// The rewrite of kernels by which the asker's work is to run.
        rewrite: u16,
    },
    /// A broker's answer.
    Found {
        /// As asked.
        query: u64,
        /// Fresh offers, those with an idle core first; in later answers to the same question only those that changed.
        offers: Vec<Offer>,
        /// How many offers of the asker's rewrite the broker knew before the requirements were applied.
        known: u32,
        /// How many offers of other rewrites it knew.
        others: u32,
    },
    /// Work for a provider.
    Assign(Assignment),
    /// The provider does not take it.
    Refuse {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: RefuseReason,
    },
    /// The provider has everything it needs and begins; or it goes on with what rested, or was asked to give way and
    /// cannot.
    Started {
        /// Which.
        attempt: AttemptId,
    },
    /// The batch is done.
    Deliver {
        /// Which.
        attempt: AttemptId,
        /// The report (see [`super::encode_report`]).
        report: Payload,
        /// What later versions say beside it.
        extensions: Extensions,
    },
    /// The requester took a delivery, or no longer needs it: the provider may forget its blobs.
    Settle {
        /// Which.
        attempt: AttemptId,
    },
    /// The requester no longer wants these.
    Cancel {
        /// Which; at most 1024.
        attempts: Vec<AttemptId>,
    },
    /// Asks for a part of a blob, from `offset` on.
    Want {
        /// Which.
        hash: Hash,
        /// First byte wanted.
        offset: u64,
    },
    /// A part of a blob, at most [`super::BLOB_CHUNK`] bytes.
    Chunk {
        /// Which.
        hash: Hash,
        /// Where the part begins.
        offset: u64,
        /// Length of the whole blob.
        total: u64,
        /// The part.
        bytes: Vec<u8>,
    },
    /// The sender does not have that blob.
    Unknown {
        /// Which.
        hash: Hash,
    },
    /// The requester has others to go first on the core that this runs on: it may be set aside, and goes on later where
    /// it stood.
    GiveWay {
        /// Which.
        attempt: AttemptId,
    },
    /// The provider set that aside. [`Message::Started`] says when it goes on.
    Resting {
        /// Which.
        attempt: AttemptId,
    },
}
