//! Names of things: nodes, jobs, blobs. Each is a newtype, so that one cannot stand in for another.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes that precede an Ed25519 key in a libp2p peer id: identity multihash (0x00, 36 bytes) of the protobuf
/// `PublicKey { type: Ed25519, data: 32 bytes }` (libp2p specs, peer-ids.md).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A name that cannot be read as what it should name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not the text form of this kind of name.
    #[error("{0:?} is not a valid {1}")]
    Malformed(String, &'static str),
}

/// A node: its Ed25519 public key, which is also its libp2p identity. Shown as a libp2p peer id (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// Reads the 38 bytes of a libp2p peer id; `None` for any key type but Ed25519.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }

    /// The 38 bytes of the libp2p peer id.
    pub fn to_peer_id_bytes(self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl FromStr for NodeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 38];
        bs58::decode(text)
            .onto(&mut bytes)
            .ok()
            .filter(|len| *len == 38)
            .and_then(|_| Self::from_peer_id_bytes(&bytes))
            .ok_or_else(|| IdError::Malformed(shorten(text), "node id"))
    }
}

/// The BLAKE3 hash that names a blob: a kernel, an input, an output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The name of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for Hash {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        read_hex(text).map(Self).ok_or_else(|| IdError::Malformed(shorten(text), "hash"))
    }
}

/// A job, unique across the network because its requester's id and seed went into it. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub [u8; 16]);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for JobId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        read_hex(text).map(Self).ok_or_else(|| IdError::Malformed(shorten(text), "job id"))
    }
}

/// Whose a job is at the node that coordinates it: shares of that node's queue and store are counted by it. The host
/// derives it, by [`OwnerId::of`], from whatever it knows of who submits; nobody can tell what from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OwnerId(pub [u8; 16]);

impl OwnerId {
    /// The person at the node itself: the owner of what a tab's own page submits.
    pub const LOCAL: Self = Self([0; 16]);

    /// The owner that `secret` (a token, or an address with a salt) names.
    pub fn of(secret: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Hash::of(secret).0[..16]);
        Self(id)
    }
}

/// Whom what a job takes counts for: shares of room are taken by regions first, then by the networks in each, then by the
/// households in each of those, then by the owners in each of those. Anybody can be as many owners as he likes, a new token
/// makes one; who rents an IPv6 /48 has many households, and who rents a /40 has 256 networks; regions cost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "HolderRecord")]
pub struct Holder {
    /// The wide network around the network. Room goes by it, but no turns: many who have nothing to do with each other share one.
    pub region: OwnerId,
    /// The network around the household.
    pub network: OwnerId,
    /// Where the job came from: the owner that everybody there is who shows no token.
    pub household: OwnerId,
    /// Whose it is.
    pub owner: OwnerId,
}

impl Holder {
    /// The person at the node itself.
    pub const LOCAL: Self =
        Self { region: OwnerId::LOCAL, network: OwnerId::LOCAL, household: OwnerId::LOCAL, owner: OwnerId::LOCAL };

    /// An owner who is alone in a household, a network and a region of his own.
    pub fn of(owner: OwnerId) -> Self {
        Self { region: owner, network: owner, household: owner, owner }
    }

    /// Those whose turns are taken, from the widest to the closest: the network, the household, the owner.
    pub fn path(self) -> [OwnerId; 3] {
        [self.network, self.household, self.owner]
    }
}

/// A holder in a record of any age: owners came first, then households, then networks, then regions.
#[derive(Deserialize)]
struct HolderRecord {
    region: Option<OwnerId>,
    network: Option<OwnerId>,
    household: Option<OwnerId>,
    owner: Option<OwnerId>,
}

impl From<HolderRecord> for Holder {
    fn from(record: HolderRecord) -> Self {
        let household = record.household.unwrap_or_default();
        let network = record.network.unwrap_or(household);
        let region = record.region.unwrap_or(network);
        Self { region, network, household, owner: record.owner.unwrap_or_default() }
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for OwnerId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        read_hex(text).map(Self).ok_or_else(|| IdError::Malformed(shorten(text), "owner"))
    }
}

/// One attempt of one batch, unique within the requester that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId(pub u64);

macro_rules! text_or_bytes {
    ($name:ident, $len:literal) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        /// Text in human-readable formats (JSON), raw bytes in binary ones (the wire).
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    <[u8; $len]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

text_or_bytes!(NodeId, 32);
text_or_bytes!(Hash, 32);
text_or_bytes!(JobId, 16);
text_or_bytes!(OwnerId, 16);

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = hex_digit(text.as_bytes()[2 * i])? << 4 | hex_digit(text.as_bytes()[2 * i + 1])?;
    }
    Some(bytes)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What of a stranger's text goes into an error message.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_from_its_text() {
        let node = NodeId([7; 32]);
        assert!(node.to_string().starts_with("12D3KooW"));
        assert_eq!(node.to_string().parse::<NodeId>().unwrap(), node);
        let hash = Hash::of(b"p2pnet");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        let job = JobId([0xab; 16]);
        assert_eq!(job.to_string().parse::<JobId>().unwrap(), job);
        let owner = OwnerId::of(b"token");
        assert_eq!(owner.to_string().parse::<OwnerId>().unwrap(), owner);
        assert_ne!(owner, OwnerId::LOCAL);
    }

    #[test]
    fn a_holder_is_read_from_records_of_any_age() {
        let [a, b, c, d] = [[1; 16], [2; 16], [3; 16], [4; 16]].map(OwnerId);
        let read = |json: String| serde_json::from_str::<Holder>(&json).unwrap();
        let whole = Holder { region: d, network: a, household: b, owner: c };
        assert_eq!(read(serde_json::to_string(&whole).unwrap()), whole);
        let before_regions = format!(r#"{{"network":"{a}","household":"{b}","owner":"{c}"}}"#);
        assert_eq!(read(before_regions), Holder { region: a, ..whole });
        assert_eq!(read(format!(r#"{{"household":"{b}","owner":"{c}"}}"#)), Holder { region: b, network: b, ..whole });
        assert_eq!(read(format!(r#"{{"owner":"{c}"}}"#)), Holder { owner: c, ..Holder::LOCAL });
        assert_eq!(read("{}".to_owned()), Holder::LOCAL);
    }

    #[test]
    fn nonsense_is_refused_and_quoted_in_short() {
        assert!("".parse::<NodeId>().is_err());
        assert!("+1".repeat(16).parse::<JobId>().is_err());
        let long = "я".repeat(10_000);
        let IdError::Malformed(quoted, _) = long.parse::<Hash>().unwrap_err();
        assert_eq!(quoted.chars().count(), 64);
    }
}
