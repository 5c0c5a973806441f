//! What nodes say to each other: one protocol, one stream a direction, length-prefixed postcard frames.
//!
//! Golden bytes under `shared/tests/wire/` pin every message: changing one is a new [`PROTOCOL_VERSION`].

use serde::{Deserialize, Serialize};

use crate::{
    bytes,
    engine::{BatchReport, EngineName, Limits},
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Priority, Requirements},
    kernel::REWRITE_VERSION,
    units::Moment,
};

/// The libp2p protocol name of the stream.
pub const PROTOCOL: &str = "/p2pnet/node/1";

/// Goes up when a message changes, and with [`REWRITE_VERSION`], since a kernel is named by the hash of its original
/// bytes, and nodes that rewrite it differently might differ on its gas.
pub const PROTOCOL_VERSION: u16 = MESSAGES << 8 | REWRITE_VERSION;

/// Version of the messages.
const MESSAGES: u16 = 3;

/// The longest frame in bytes, its length prefix (4 bytes, big-endian) not counted. Whatever is larger is a blob.
pub const MAX_FRAME: usize = 1 << 20;

/// Bytes of a blob that travel in one message.
pub const BLOB_CHUNK: u32 = 128 << 10;

/// The largest blob that a node takes.
pub const MAX_BLOB: u64 = 64 << 20;

/// Bytes of calls or of a report that travel inside their message; more becomes a blob.
pub const MAX_INLINE: usize = 512 << 10;

/// The most calls in one batch.
pub const MAX_CALLS: u64 = 1 << 18;

/// The largest output of one call that a provider grants, in bytes.
pub const MAX_OUTPUT: u64 = 64 << 20;

/// The longest time for one batch that a provider grants, in milliseconds.
pub const MAX_TIME_MILLIS: u64 = 3_600_000;

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
}

/// Bytes in a message, or the name under which to fetch them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// The bytes themselves.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The name of a blob that the sender has.
    Blob {
        /// Its name.
        hash: Hash,
        /// Its length in bytes.
        len: u64,
    },
}

/// Why a provider does not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
}

/// One batch for one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Names the attempt in everything that follows.
    pub attempt: AttemptId,
    /// The same for all batches of one job of this requester, and not the job's id: whoever knows that may read and stop
    /// a job that has no token.
    pub job: JobId,
    /// The kernel's name; the requester has it as a blob.
    pub kernel: Hash,
    /// The common bytes, if the job has any; likewise a blob.
    pub common: Option<Hash>,
    /// Its place in the provider's queue.
    pub priority: Priority,
    /// Bounds of each call.
    pub limits: Limits,
    /// The postcard of the calls' inputs (see [`encode_calls`]).
    pub calls: Payload,
}

/// Everything that one node says to another. The first message on a stream is [`Message::Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Who speaks.
    Hello {
        /// [`PROTOCOL_VERSION`] of the sender.
        version: u16,
        /// What kind of node.
        role: Role,
        /// How it describes itself; at most 64 characters.
        agent: String,
        /// Differs in every life of the node, so that a provider drops the work of an earlier one.
        session: u64,
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
    },
    /// A broker's answer.
    Found {
        /// As asked.
        query: u64,
        /// Fresh offers, those with an idle core first; in later answers to the same question only those that changed.
        offers: Vec<Offer>,
        /// How many offers the broker knew before the requirements were applied.
        known: u32,
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
        /// The postcard of a [`BatchReport`].
        report: Payload,
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
    /// A part of a blob, at most [`BLOB_CHUNK`] bytes.
    Chunk {
        /// Which.
        hash: Hash,
        /// Where the part begins.
        offset: u64,
        /// Length of the whole blob.
        total: u64,
        /// The part.
        #[serde(with = "serde_bytes")]
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

/// A frame that is not a message of this protocol. The sender is at fault; the connection may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is longer than this protocol allows")]
    TooLong(usize),
    /// Not the postcard of a [`Message`], or bytes left over.
    #[error("a frame that is not a message")]
    Malformed,
}

/// The bytes of a message, without the length prefix.
pub fn encode(message: &Message) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_allocvec(message).map_err(|_| WireError::Malformed)?;
    if bytes.len() > MAX_FRAME { Err(WireError::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Reads one frame.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    if bytes.len() > MAX_FRAME {
        return Err(WireError::TooLong(bytes.len()));
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}

/// A batch's calls as they are written.
#[derive(Serialize)]
struct CallsOut<'a>(#[serde(serialize_with = "bytes::each::serialize")] &'a [Vec<u8>]);

/// The same as they are read.
#[derive(Deserialize)]
struct Calls(#[serde(deserialize_with = "bytes::each::deserialize")] Vec<Vec<u8>>);

/// The bytes of a batch's calls or report, as they stand in a [`Payload`].
pub fn encode_calls(calls: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    postcard::to_allocvec(&CallsOut(calls)).map_err(|_| WireError::Malformed)
}

/// Reads what [`encode_calls`] wrote; refuses more than [`MAX_CALLS`].
pub fn decode_calls(bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
    if count_calls(bytes)? > MAX_CALLS {
        return Err(WireError::Malformed);
    }
    postcard::from_bytes(bytes).map(|Calls(calls)| calls).map_err(|_| WireError::Malformed)
}

/// How many calls [`encode_calls`] wrote, from the first bytes alone. A frame of zeros would otherwise unfold to
/// twenty-four times its size before anybody counted.
pub fn count_calls(bytes: &[u8]) -> Result<u64, WireError> {
    postcard::take_from_bytes(bytes).map(|(count, _)| count).map_err(|_| WireError::Malformed)
}

/// The bytes of a report.
pub fn encode_report(report: &BatchReport) -> Result<Vec<u8>, WireError> {
    postcard::to_allocvec(report).map_err(|_| WireError::Malformed)
}

/// Reads what [`encode_report`] wrote; refuses more than [`MAX_CALLS`] outcomes.
pub fn decode_report(bytes: &[u8]) -> Result<BatchReport, WireError> {
    let head: Result<((EngineName, u64), &[u8]), _> = postcard::take_from_bytes(bytes);
    match head {
        Ok(((_, outcomes), _)) if outcomes <= MAX_CALLS => {
            postcard::from_bytes(bytes).map_err(|_| WireError::Malformed)
        }
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}
