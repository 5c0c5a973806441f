//! Version 1, `/p2pnet/node/1`, as nodes of 0.1.0 write it. Frozen: nothing here changes any more.
//!
//! Its Hello names one number for messages and kernel rewrite together, and who reads another one hangs up. What later
//! versions say beside a message, it has no words for.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::{Extensions, WireError, batch::same, message, whole};
use crate::{
    engine,
    id::{AttemptId, Hash, JobId, NodeId},
    job::{self, Language},
    units::{Gas, Moment},
};

/// The rewrite of kernels that all nodes of this version run.
pub(super) const REWRITE: u16 = 8;

/// What a Hello of this version says: the messages' number above the rewrite's.
const HELLO: u16 = 3 << 8 | REWRITE;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Role {
    Seed,
    Public,
    Client,
    Specialised,
}

same!(MessageRole = Role { Seed, Public, Client, Specialised });
type MessageRole = message::Role;

#[derive(Serialize, Deserialize)]
struct Offer<'a> {
    node: [u8; 32],
    role: Role,
    agent: &'a str,
    cores: u16,
    cpu_percent: u8,
    memory_mib: u32,
    idle_cores: u16,
    #[serde(borrow)]
    addresses: Vec<&'a str>,
    made_at: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Payload<'a> {
    Inline(#[serde(borrow)] &'a Bytes),
    Blob { hash: [u8; 32], len: u64 },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum RefuseReason {
    NotLending,
    Busy,
    TooDemanding,
    MissingBlob,
    InvalidKernel,
    Malformed,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Priority {
    Low,
    Normal,
    High,
    Critical,
}

same!(JobPriority = Priority { Low, Normal, High, Critical });
type JobPriority = job::Priority;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Requirements {
    cpu_percent: u32,
    memory_mib: u32,
    timeout_seconds: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Limits {
    gas: u64,
    memory_bytes: u64,
    output_bytes: u64,
    time_millis: u64,
}

#[derive(Serialize, Deserialize)]
struct Assignment<'a> {
    attempt: u64,
    job: [u8; 16],
    kernel: [u8; 32],
    common: Option<[u8; 32]>,
    priority: Priority,
    limits: Limits,
    #[serde(borrow)]
    calls: Payload<'a>,
}

#[derive(Serialize, Deserialize)]
enum Message<'a> {
    Hello {
        version: u16,
        role: Role,
        agent: &'a str,
        session: u64,
    },
    Offer(#[serde(borrow)] Offer<'a>),
    Withdraw,
    Find {
        query: u64,
        requirements: Requirements,
        limit: u16,
    },
    Found {
        query: u64,
        #[serde(borrow)]
        offers: Vec<Offer<'a>>,
        known: u32,
    },
    Assign(#[serde(borrow)] Assignment<'a>),
    Refuse {
        attempt: u64,
        reason: RefuseReason,
    },
    Started {
        attempt: u64,
    },
    Deliver {
        attempt: u64,
        #[serde(borrow)]
        report: Payload<'a>,
    },
    Settle {
        attempt: u64,
    },
    Cancel {
        attempts: Vec<u64>,
    },
    Want {
        hash: [u8; 32],
        offset: u64,
    },
    Chunk {
        hash: [u8; 32],
        offset: u64,
        total: u64,
        #[serde(borrow)]
        bytes: &'a Bytes,
    },
    Unknown {
        hash: [u8; 32],
    },
    GiveWay {
        attempt: u64,
    },
    Resting {
        attempt: u64,
    },
}

pub(super) fn encode(message: &message::Message) -> Result<Vec<u8>, WireError> {
    postcard::to_allocvec(&Message::from(message)).map_err(|_| WireError::Malformed)
}

pub(super) fn decode(bytes: &[u8]) -> Result<message::Message, WireError> {
    let message = whole(bytes)?;
    if let Message::Hello { version, .. } = message
        && version != HELLO
    {
        return Err(WireError::OtherVersion(version));
    }
    Ok(message.into())
}

// ---- written ---------------------------------------------------------------------------------------------------------

impl<'a> From<&'a message::Message> for Message<'a> {
    fn from(message: &'a message::Message) -> Self {
        match message {
            message::Message::Hello { role, agent, session, extensions: _ } => {
                Self::Hello { version: HELLO, role: (*role).into(), agent, session: *session }
            }
            message::Message::Offer(offer) => Self::Offer(offer.into()),
            message::Message::Withdraw => Self::Withdraw,
            message::Message::Find { query, requirements, limit, rewrite: _ } => {
                Self::Find { query: *query, requirements: (*requirements).into(), limit: *limit }
            }
            // Who reads this would take an offer of another rewrite for one of its own.
            message::Message::Found { query, offers, known, others: _ } => Self::Found {
                query: *query,
                offers: offers.iter().filter(|offer| offer.rewrite == REWRITE).map(Offer::from).collect(),
                known: *known,
            },
            message::Message::Assign(assignment) => Self::Assign(assignment.into()),
            message::Message::Refuse { attempt, reason } => {
                Self::Refuse { attempt: attempt.0, reason: (*reason).into() }
            }
            message::Message::Started { attempt } => Self::Started { attempt: attempt.0 },
            message::Message::Deliver { attempt, report, extensions: _ } => {
                Self::Deliver { attempt: attempt.0, report: report.into() }
            }
            message::Message::Settle { attempt } => Self::Settle { attempt: attempt.0 },
            message::Message::Cancel { attempts } => {
                Self::Cancel { attempts: attempts.iter().map(|attempt| attempt.0).collect() }
            }
            message::Message::Want { hash, offset } => Self::Want { hash: hash.0, offset: *offset },
            message::Message::Chunk { hash, offset, total, bytes } => {
                Self::Chunk { hash: hash.0, offset: *offset, total: *total, bytes: Bytes::new(bytes) }
            }
            message::Message::Unknown { hash } => Self::Unknown { hash: hash.0 },
            message::Message::GiveWay { attempt } => Self::GiveWay { attempt: attempt.0 },
            message::Message::Resting { attempt } => Self::Resting { attempt: attempt.0 },
        }
    }
}

impl<'a> From<&'a message::Offer> for Offer<'a> {
    fn from(offer: &'a message::Offer) -> Self {
        Self {
            node: offer.node.0,
            role: offer.role.into(),
            agent: &offer.agent,
            cores: offer.cores,
            cpu_percent: offer.cpu_percent,
            memory_mib: offer.memory_mib,
            idle_cores: offer.idle_cores,
            addresses: offer.addresses.iter().map(String::as_str).collect(),
            made_at: offer.made_at.0,
        }
    }
}

impl<'a> From<&'a message::Assignment> for Assignment<'a> {
    fn from(assignment: &'a message::Assignment) -> Self {
        Self {
            attempt: assignment.attempt.0,
            job: assignment.job.0,
            kernel: assignment.kernel.0,
            common: assignment.common.map(|hash| hash.0),
            priority: assignment.priority.into(),
            limits: assignment.limits.into(),
            calls: (&assignment.calls).into(),
        }
    }
}

impl<'a> From<&'a message::Payload> for Payload<'a> {
    fn from(payload: &'a message::Payload) -> Self {
        match payload {
            message::Payload::Inline(bytes) => Self::Inline(Bytes::new(bytes)),
            message::Payload::Blob { hash, len } => Self::Blob { hash: hash.0, len: *len },
        }
    }
}

impl From<message::RefuseReason> for RefuseReason {
    fn from(reason: message::RefuseReason) -> Self {
        match reason {
            message::RefuseReason::NotLending => Self::NotLending,
            message::RefuseReason::Busy => Self::Busy,
            message::RefuseReason::MissingBlob => Self::MissingBlob,
            message::RefuseReason::InvalidKernel => Self::InvalidKernel,
            message::RefuseReason::Malformed => Self::Malformed,
            // What it has no word for: not this node.
            message::RefuseReason::TooDemanding
            | message::RefuseReason::OtherRewrite
            | message::RefuseReason::OtherLanguage
            | message::RefuseReason::Unknown => Self::TooDemanding,
        }
    }
}

impl From<job::Requirements> for Requirements {
    fn from(requirements: job::Requirements) -> Self {
        let job::Requirements { cpu_percent, memory_mib, timeout_seconds } = requirements;
        Self { cpu_percent, memory_mib, timeout_seconds }
    }
}

impl From<engine::Limits> for Limits {
    fn from(limits: engine::Limits) -> Self {
        let engine::Limits { gas, memory_bytes, output_bytes, time_millis } = limits;
        Self { gas: gas.0, memory_bytes, output_bytes, time_millis }
    }
}

// ---- read ------------------------------------------------------------------------------------------------------------

impl From<Message<'_>> for message::Message {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Hello { version: _, role, agent, session } => {
                Self::Hello { role: role.into(), agent: agent.to_owned(), session, extensions: Extensions::default() }
            }
            Message::Offer(offer) => Self::Offer(offer.into()),
            Message::Withdraw => Self::Withdraw,
            Message::Find { query, requirements, limit } => {
                Self::Find { query, requirements: requirements.into(), limit, rewrite: REWRITE }
            }
            Message::Found { query, offers, known } => {
                let offers = offers.into_iter().map(message::Offer::from).collect();
                Self::Found { query, offers, known, others: 0 }
            }
            Message::Assign(assignment) => Self::Assign(assignment.into()),
            Message::Refuse { attempt, reason } => Self::Refuse { attempt: AttemptId(attempt), reason: reason.into() },
            Message::Started { attempt } => Self::Started { attempt: AttemptId(attempt) },
            Message::Deliver { attempt, report } => {
                let extensions = Extensions::default();
                Self::Deliver { attempt: AttemptId(attempt), report: report.into(), extensions }
            }
            Message::Settle { attempt } => Self::Settle { attempt: AttemptId(attempt) },
            Message::Cancel { attempts } => Self::Cancel { attempts: attempts.into_iter().map(AttemptId).collect() },
            Message::Want { hash, offset } => Self::Want { hash: Hash(hash), offset },
            Message::Chunk { hash, offset, total, bytes } => {
                Self::Chunk { hash: Hash(hash), offset, total, bytes: bytes.to_vec() }
            }
            Message::Unknown { hash } => Self::Unknown { hash: Hash(hash) },
            Message::GiveWay { attempt } => Self::GiveWay { attempt: AttemptId(attempt) },
            Message::Resting { attempt } => Self::Resting { attempt: AttemptId(attempt) },
        }
    }
}

impl From<Offer<'_>> for message::Offer {
    fn from(offer: Offer<'_>) -> Self {
        Self {
            node: NodeId(offer.node),
            role: offer.role.into(),
            agent: offer.agent.to_owned(),
            cores: offer.cores,
            cpu_percent: offer.cpu_percent,
            memory_mib: offer.memory_mib,
            idle_cores: offer.idle_cores,
            addresses: offer.addresses.into_iter().map(str::to_owned).collect(),
            made_at: Moment(offer.made_at),
            rewrite: REWRITE,
            languages: [Language::Wasm].into(),
            extensions: Extensions::default(),
        }
    }
}

impl From<Assignment<'_>> for message::Assignment {
    fn from(assignment: Assignment<'_>) -> Self {
        Self {
            attempt: AttemptId(assignment.attempt),
            job: JobId(assignment.job),
            language: Language::Wasm,
            kernel: Hash(assignment.kernel),
            common: assignment.common.map(Hash),
            priority: assignment.priority.into(),
            limits: assignment.limits.into(),
            calls: assignment.calls.into(),
            rewrite: REWRITE,
            extensions: Extensions::default(),
        }
    }
}

impl From<Payload<'_>> for message::Payload {
    fn from(payload: Payload<'_>) -> Self {
        match payload {
            Payload::Inline(bytes) => Self::Inline(bytes.to_vec()),
            Payload::Blob { hash, len } => Self::Blob { hash: Hash(hash), len },
        }
    }
}

impl From<RefuseReason> for message::RefuseReason {
    fn from(reason: RefuseReason) -> Self {
        match reason {
            RefuseReason::NotLending => Self::NotLending,
            RefuseReason::Busy => Self::Busy,
            RefuseReason::TooDemanding => Self::TooDemanding,
            RefuseReason::MissingBlob => Self::MissingBlob,
            RefuseReason::InvalidKernel => Self::InvalidKernel,
            RefuseReason::Malformed => Self::Malformed,
        }
    }
}

impl From<Requirements> for job::Requirements {
    fn from(requirements: Requirements) -> Self {
        let Requirements { cpu_percent, memory_mib, timeout_seconds } = requirements;
        Self { cpu_percent, memory_mib, timeout_seconds }
    }
}

impl From<Limits> for engine::Limits {
    fn from(limits: Limits) -> Self {
        let Limits { gas, memory_bytes, output_bytes, time_millis } = limits;
        Self { gas: Gas(gas), memory_bytes, output_bytes, time_millis }
    }
}
