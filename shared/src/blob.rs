//! Bytes that are named by their hash, as whoever holds them shares them. There may be tens of MiB: they are hashed where
//! they come from, and neither hashed nor copied again in a node's loop.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Weak},
};

use crate::id::Hash;

/// Bytes and their name. Cheap to clone; derefs to the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Arc<Named>);

#[derive(PartialEq, Eq)]
struct Named {
    hash: Hash,
    bytes: Arc<[u8]>,
}

impl Blob {
    /// Names these bytes, which takes a time in proportion to them.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self(Arc::new(Named { hash: Hash::of(&bytes), bytes }))
    }

    /// Bytes that were named before.
    pub(crate) fn held(hash: Hash, bytes: Arc<[u8]>) -> Self {
        Self(Arc::new(Named { hash, bytes }))
    }

    /// Their name.
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// The bytes, to be shared.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0.bytes
    }

    /// The same, without holding it.
    pub fn downgrade(&self) -> WeakBlob {
        WeakBlob { hash: self.0.hash, named: Arc::downgrade(&self.0) }
    }
}

/// A blob that is there as long as somebody else holds it.
#[derive(Clone)]
pub struct WeakBlob {
    hash: Hash,
    /// Not of the bytes themselves: those would take their room as long as this is there.
    named: Weak<Named>,
}

impl WeakBlob {
    /// Its name.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The blob, if somebody still holds it.
    pub fn upgrade(&self) -> Option<Blob> {
        self.named.upgrade().map(Blob)
    }
}

/// A blob that goes to another process or worker of the same node, with its name, which is believed:
/// `#[serde(with = "crate::blob::within_a_host")]`. Nothing of a stranger's is read so.
pub mod within_a_host {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_bytes::{ByteBuf, Bytes};

    use super::Blob;
    use crate::id::Hash;

    /// Writes it.
    pub fn serialize<S: Serializer>(blob: &Option<Blob>, serializer: S) -> Result<S::Ok, S::Error> {
        blob.as_ref().map(|blob| (blob.hash(), Bytes::new(blob))).serialize(serializer)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Blob>, D::Error> {
        let blob = Option::<(Hash, ByteBuf)>::deserialize(deserializer)?;
        Ok(blob.map(|(hash, bytes)| Blob::held(hash, bytes.into_vec().into())))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.0.hash, self.0.bytes.len())
    }
}
