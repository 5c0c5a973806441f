//! The one list of reasons why p2pnet says no, with the words that it says.
//!
//! A refusal reaches a person as HTTP `{"error": {"code", "message", "hint"}}`, on the page, and on the command line;
//! `docs/operators.md` lists the codes.

use serde::{Deserialize, Serialize};

/// Why something was refused or failed. The `snake_case` name is part of the API: never rename, only add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not JSON, or not an object.
    InvalidJson,
    /// `kind` is missing or names no job kind.
    UnknownKind,
    /// A field that this kind does not have.
    UnknownField,
    /// A field that this kind needs.
    MissingField,
    /// A field whose value has the wrong type or lies outside its range.
    InvalidField,
    /// A formula that cannot be read or typed; `at` points at the character.
    InvalidFormula,
    /// A range with no number in it, or a list with no item.
    EmptyInput,
    /// A matrix with rows of different lengths.
    RaggedMatrix,
    /// Matrices whose sizes do not fit the operation.
    MismatchedMatrix,
    /// A matrix that has no inverse.
    SingularMatrix,
    /// A number that does not fit (an integer beyond 128 bits, a fraction where an integer is needed).
    InvalidNumber,
    /// Larger than this node accepts.
    TooLarge,
    /// The kernel is no WebAssembly, or breaks the kernel contract.
    InvalidKernel,
    /// The kernel imports something; a kernel may import nothing.
    KernelImports,
    /// The kernel is not known here: send its bytes.
    UnknownKernel,
    /// The kernel stopped itself: unreachable code, a failed bounds check, a division by zero.
    KernelTrapped,
    /// The kernel asked for more memory than the task may use.
    OutOfMemory,
    /// The kernel recursed too deep.
    StackOverflow,
    /// The kernel ran longer than `timeout_seconds` or out of gas.
    TimedOut,
    /// An integer result does not fit 128 bits.
    IntegerOverflow,
    /// A division or remainder by zero.
    DivisionByZero,
    /// The kernel said no by itself; the message is the kernel's.
    KernelError,
    /// A task failed as often as the policy allows, for more than one reason or through faults of the nodes that tried it.
    /// A failure with one cause keeps the code of that cause.
    RetriesExhausted,
    /// The job's outputs could not be merged.
    MergeFailed,
    /// No node that meets the requirements was found in time.
    NoProvider,
    /// This node has as many jobs as it can hold.
    TooManyJobs,
    /// No job has this id.
    UnknownJob,
    /// The job has no result yet.
    NotFinished,
    /// The job ended without a result.
    NoResult,
    /// No such page or endpoint.
    NotFound,
    /// The address exists, but not for this HTTP method.
    MethodNotAllowed,
    /// Too many requests from this address.
    RateLimited,
    /// The same idempotency key was sent with another body.
    IdempotencyConflict,
    /// A fault of this node, not of the request.
    Internal,
    /// The node is stopping.
    ShuttingDown,
    /// The disk behind the node's store is full: nothing that must be kept can be taken.
    StoreFull,
    /// The node's store cannot be written or read for another reason.
    StoreFailed,
    /// A body in an encoding that is not taken.
    UnsupportedEncoding,
    /// A request's body came too slowly, or gave way to others.
    BodyTooSlow,
    /// A body of a kind that is no job.
    UnsupportedContentType,
    /// A web page that is not this relay's own.
    ForeignOrigin,
    /// A name that is not this relay's.
    UnknownHost,
    /// An `Authorization` header whose token cannot be one.
    InvalidToken,
    /// An address that speaks WebSocket only.
    UpgradeRequired,
}

/// One refusal, complete enough to act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which rule.
    pub code: Code,
    /// One sentence: what is wrong, naming the field, task or node.
    pub message: String,
    /// One sentence: what to do about it. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// For formulas: which character (0-based, in characters) the message is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u32>,
}

impl Refusal {
    /// A refusal with a hint on what to do.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into(), at: None }
    }

    /// The same refusal, pointing at a character.
    #[must_use]
    pub fn at(mut self, character: usize) -> Self {
        self.at = u32::try_from(character).ok();
        self
    }
}
