//! Version 2, `/p2pnet/node/2`.
//!
//! What differs from version 1: the rewrite of kernels is said in question, offer and assignment, and what programs are
//! written in, in offer and assignment; Hello, Offer, Assign and
//! Deliver end in what later versions say beside them; a kind of message, a role or a reason that is not known here is no
//! error. What did not change is version 1's, which is frozen.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::{
    Extensions, WireError, message,
    v1::{Limits, Payload, Priority, Requirements},
    whole,
};
use crate::{
    id::{AttemptId, Hash, JobId, NodeId},
    job::Language,
    units::Moment,
};

/// Kinds of messages that are known here: those of [`Message`].
const KINDS: u32 = 16;

/// A role or a reason, as a number: later versions may know more of them.
type Code = u32;

#[derive(Serialize, Deserialize)]
struct Offer<'a> {
    node: [u8; 32],
    role: Code,
    agent: &'a str,
    cores: u16,
    cpu_percent: u8,
    memory_mib: u32,
    idle_cores: u16,
    #[serde(borrow)]
    addresses: Vec<&'a str>,
    made_at: u64,
    rewrite: u16,
    /// In rising order.
    languages: Vec<u16>,
    extensions: Extensions,
}

#[derive(Serialize, Deserialize)]
struct Assignment<'a> {
    attempt: u64,
    job: [u8; 16],
    language: u16,
    kernel: [u8; 32],
    common: Option<[u8; 32]>,
    priority: Priority,
    limits: Limits,
    #[serde(borrow)]
    calls: Payload<'a>,
    rewrite: u16,
    extensions: Extensions,
}

#[derive(Serialize, Deserialize)]
enum Message<'a> {
    Hello {
        role: Code,
        agent: &'a str,
        session: u64,
        extensions: Extensions,
    },
    Offer(#[serde(borrow)] Offer<'a>),
    Withdraw,
    Find {
        query: u64,
        requirements: Requirements,
        limit: u16,
        rewrite: u16,
    },
    Found {
        query: u64,
        #[serde(borrow)]
        offers: Vec<Offer<'a>>,
        known: u32,
        others: u32,
    },
    Assign(#[serde(borrow)] Assignment<'a>),
    Refuse {
        attempt: u64,
        reason: Code,
    },
    Started {
        attempt: u64,
    },
    Deliver {
        attempt: u64,
        #[serde(borrow)]
        report: Payload<'a>,
        extensions: Extensions,
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
    let (kind, _): (u32, _) = postcard::take_from_bytes(bytes).map_err(|_| WireError::Malformed)?;
    if kind >= KINDS {
        return Err(WireError::UnknownKind);
    }
    whole::<Message<'_>>(bytes).map(message::Message::from)
}

fn code_of_role(role: message::Role) -> Code {
    match role {
        message::Role::Seed => 0,
        message::Role::Public => 1,
        message::Role::Client => 2,
        message::Role::Specialised => 3,
    }
}

fn role_of_code(code: Code) -> message::Role {
    match code {
        0 => message::Role::Seed,
        1 => message::Role::Public,
        3 => message::Role::Specialised,
        // One that nothing is known of is a client, as most are.
        _ => message::Role::Client,
    }
}

fn code_of_reason(reason: message::RefuseReason) -> Code {
    match reason {
        message::RefuseReason::NotLending => 0,
        message::RefuseReason::Busy => 1,
        message::RefuseReason::TooDemanding => 2,
        message::RefuseReason::MissingBlob => 3,
        message::RefuseReason::InvalidKernel => 4,
        message::RefuseReason::Malformed => 5,
        message::RefuseReason::OtherRewrite => 6,
        message::RefuseReason::OtherLanguage => 7,
        message::RefuseReason::Unknown => Code::MAX,
    }
}

fn reason_of_code(code: Code) -> message::RefuseReason {
    match code {
        0 => message::RefuseReason::NotLending,
        1 => message::RefuseReason::Busy,
        2 => message::RefuseReason::TooDemanding,
        3 => message::RefuseReason::MissingBlob,
        4 => message::RefuseReason::InvalidKernel,
        5 => message::RefuseReason::Malformed,
        6 => message::RefuseReason::OtherRewrite,
        7 => message::RefuseReason::OtherLanguage,
        _ => message::RefuseReason::Unknown,
    }
}

fn number_of_language(language: Language) -> u16 {
    match language {
        Language::Wasm => 0,
        Language::PreparedWasm => 1,
        Language::Other(number) => number,
    }
}

fn language_of_number(number: u16) -> Language {
    match number {
        0 => Language::Wasm,
        1 => Language::PreparedWasm,
        2.. => Language::Other(number),
    }
}

// ---- written ---------------------------------------------------------------------------------------------------------

impl<'a> From<&'a message::Message> for Message<'a> {
    fn from(message: &'a message::Message) -> Self {
        match message {
            message::Message::Hello { role, agent, session, extensions } => {
                Self::Hello { role: code_of_role(*role), agent, session: *session, extensions: extensions.clone() }
            }
            message::Message::Offer(offer) => Self::Offer(offer.into()),
            message::Message::Withdraw => Self::Withdraw,
            message::Message::Find { query, requirements, limit, rewrite } => {
                Self::Find { query: *query, requirements: (*requirements).into(), limit: *limit, rewrite: *rewrite }
            }
            message::Message::Found { query, offers, known, others } => Self::Found {
                query: *query,
                offers: offers.iter().map(Offer::from).collect(),
                known: *known,
                others: *others,
            },
            message::Message::Assign(assignment) => Self::Assign(assignment.into()),
            message::Message::Refuse { attempt, reason } => {
                Self::Refuse { attempt: attempt.0, reason: code_of_reason(*reason) }
            }
            message::Message::Started { attempt } => Self::Started { attempt: attempt.0 },
            message::Message::Deliver { attempt, report, extensions } => {
                Self::Deliver { attempt: attempt.0, report: report.into(), extensions: extensions.clone() }
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
            role: code_of_role(offer.role),
            agent: &offer.agent,
            cores: offer.cores,
            cpu_percent: offer.cpu_percent,
            memory_mib: offer.memory_mib,
            idle_cores: offer.idle_cores,
            addresses: offer.addresses.iter().map(String::as_str).collect(),
            made_at: offer.made_at.0,
            rewrite: offer.rewrite,
            languages: offer.languages.iter().copied().map(number_of_language).collect(),
            extensions: offer.extensions.clone(),
        }
    }
}

impl<'a> From<&'a message::Assignment> for Assignment<'a> {
    fn from(assignment: &'a message::Assignment) -> Self {
        Self {
            attempt: assignment.attempt.0,
            job: assignment.job.0,
            language: number_of_language(assignment.language),
            kernel: assignment.kernel.0,
            common: assignment.common.map(|hash| hash.0),
            priority: assignment.priority.into(),
            limits: assignment.limits.into(),
            calls: (&assignment.calls).into(),
            rewrite: assignment.rewrite,
            extensions: assignment.extensions.clone(),
        }
    }
}

// ---- read ------------------------------------------------------------------------------------------------------------

impl From<Message<'_>> for message::Message {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Hello { role, agent, session, extensions } => {
                Self::Hello { role: role_of_code(role), agent: agent.to_owned(), session, extensions }
            }
            Message::Offer(offer) => Self::Offer(offer.into()),
            Message::Withdraw => Self::Withdraw,
            Message::Find { query, requirements, limit, rewrite } => {
                Self::Find { query, requirements: requirements.into(), limit, rewrite }
            }
            Message::Found { query, offers, known, others } => {
                Self::Found { query, offers: offers.into_iter().map(message::Offer::from).collect(), known, others }
            }
            Message::Assign(assignment) => Self::Assign(assignment.into()),
            Message::Refuse { attempt, reason } => {
                Self::Refuse { attempt: AttemptId(attempt), reason: reason_of_code(reason) }
            }
            Message::Started { attempt } => Self::Started { attempt: AttemptId(attempt) },
            Message::Deliver { attempt, report, extensions } => {
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
            role: role_of_code(offer.role),
            agent: offer.agent.to_owned(),
            cores: offer.cores,
            cpu_percent: offer.cpu_percent,
            memory_mib: offer.memory_mib,
            idle_cores: offer.idle_cores,
            addresses: offer.addresses.into_iter().map(str::to_owned).collect(),
            made_at: Moment(offer.made_at),
            rewrite: offer.rewrite,
            languages: offer.languages.into_iter().map(language_of_number).collect(),
            extensions: offer.extensions,
        }
    }
}

impl From<Assignment<'_>> for message::Assignment {
    fn from(assignment: Assignment<'_>) -> Self {
        Self {
            attempt: AttemptId(assignment.attempt),
            job: JobId(assignment.job),
            language: language_of_number(assignment.language),
            kernel: Hash(assignment.kernel),
            common: assignment.common.map(Hash),
            priority: assignment.priority.into(),
            limits: assignment.limits.into(),
            calls: assignment.calls.into(),
            rewrite: assignment.rewrite,
            extensions: assignment.extensions,
        }
    }
}
