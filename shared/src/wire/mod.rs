//! What nodes say to each other: one stream a direction, length-prefixed frames, in a version of the protocol that both
//! ends know. libp2p finds it for each stream by the version's name.
//!
//! [`Message`] is what the node thinks in. Each version has structs of its own, which nobody else uses, in a file of its own;
//! golden bytes under `shared/tests/wire/` pin them: changing one is a new [`Version`]. Saying more beside a message needs none
//! ([`Extensions`]), nor does a new kernel rewrite: it is part of the offer.

mod batch;
mod extensions;
mod keys;
mod message;
mod v1;
mod v2;

pub use batch::{count_calls, decode_calls, decode_report, encode_calls, encode_report};
pub use extensions::{Extension, Extensions, MOST_EXTENSION_BYTES, MOST_EXTENSIONS};
pub use message::{Assignment, Message, Offer, Payload, RefuseReason, Role};

use crate::{kernel::REWRITE_VERSION, units::Millis};

/// The longest frame in bytes, its length prefix (4 bytes, big-endian) not counted. Whatever is larger is a blob.
pub const MOST_FRAME: usize = 1 << 20;

/// Bytes of a blob that travel in one message.
pub const BLOB_CHUNK: u32 = 128 << 10;

/// The largest blob that a node takes.
pub const MOST_BLOB: u64 = 64 << 20;

/// Bytes of calls or of a report that travel inside their message; more becomes a blob.
pub const MOST_INLINE: usize = 512 << 10;

/// The most calls in one batch.
pub const MOST_CALLS: u64 = 1 << 18;

/// The largest output of one call that a provider grants, in bytes.
pub const MOST_OUTPUT: u64 = 64 << 20;

/// The longest time for one batch that a provider grants.
pub const MOST_TIME: Millis = Millis(3_600_000);

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first one, for nodes of 0.1.0. It ties the messages to the rewrite of kernels.
    V1,
    /// Messages carry what later versions say beside them, and the rewrite is part of an offer.
    V2,
}

impl Version {
    /// The newest one.
    pub const NEWEST: Self = Self::V2;

    /// All that this build speaks, the newest first: what both ends know is taken in this order.
    pub fn spoken() -> impl Iterator<Item = Self> {
        let all = [Self::V2, Self::V1];
        all.into_iter().filter(|version| match version {
            Self::V1 => REWRITE_VERSION == v1::REWRITE,
            Self::V2 => true,
        })
    }

    /// The libp2p protocol name of a stream of this version.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::V1 => "/p2pnet/node/1",
            Self::V2 => "/p2pnet/node/2",
        }
    }

    /// Whether the links at both ends of a stream may say marks between messages: that it ends here and goes on over another
    /// connection, or begins anew.
    pub fn knows_marks(self) -> bool {
        match self {
            Self::V1 => false,
            Self::V2 => true,
        }
    }

    /// Its number, as [`number_of`] reads it.
    pub fn number(self) -> u16 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// The number of a version, known here or not, from its protocol's name.
pub fn number_of(protocol: &str) -> Option<u16> {
    protocol.strip_prefix("/p2pnet/node/")?.parse().ok()
}

/// A frame that is no message for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MOST_FRAME`].
    #[error("a frame of {0} bytes is longer than this protocol allows")]
    TooLong(usize),
    /// Not a [`Message`], or bytes left over. The sender is at fault; the connection may go on.
    #[error("a frame that is not a message")]
    Malformed,
    /// A kind of message that only later builds know. Nobody is at fault.
    #[error("a message of a kind that this build does not know")]
    UnknownKind,
    /// A node of the first version whose messages or rewrite are not ours: it cannot be talked with.
    #[error("a node of another version: {0}")]
    OtherVersion(u16),
}

/// The bytes of a message, without the length prefix. What a version has no words for is left out.
///
/// # Errors
/// [`WireError::TooLong`] for what would be longer than a frame may.
pub fn encode(version: Version, message: &Message) -> Result<Vec<u8>, WireError> {
    let bytes = match version {
        Version::V1 => v1::encode(message),
        Version::V2 => v2::encode(message),
    }?;
    if bytes.len() > MOST_FRAME { Err(WireError::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Reads one frame.
///
/// # Errors
/// Why it is no message for us.
pub fn decode(version: Version, bytes: &[u8]) -> Result<Message, WireError> {
    if bytes.len() > MOST_FRAME {
        return Err(WireError::TooLong(bytes.len()));
    }
    match version {
        Version::V1 => v1::decode(bytes),
        Version::V2 => v2::decode(bytes),
    }
}

/// Reads all of `bytes` as one value.
fn whole<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}
