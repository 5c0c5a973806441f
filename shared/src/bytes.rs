//! Bytes in messages, written and read in one piece. Without this serde takes them one by one, which for tens of megabytes
//! lasts longer than computing them did. What postcard writes is the same either way.

/// Bytes, each a field's own: `#[serde(with = "crate::bytes::each")]`.
pub mod each {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::{ByteBuf, Bytes};

    /// Writes them.
    pub fn serialize<S: Serializer>(all: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|bytes| Bytes::new(bytes)))
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        Ok(Vec::<ByteBuf>::deserialize(deserializer)?.into_iter().map(ByteBuf::into_vec).collect())
    }
}

/// Bytes, or why there are none: `#[serde(with = "crate::bytes::or")]`.
pub mod or {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_bytes::{ByteBuf, Bytes};

    /// Writes them.
    pub fn serialize<S: Serializer, E: Serialize>(
        given: &Result<Vec<u8>, E>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        given.as_ref().map(|bytes| Bytes::new(bytes)).serialize(serializer)
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>, E: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<Result<Vec<u8>, E>, D::Error> {
        Ok(Result::<ByteBuf, E>::deserialize(deserializer)?.map(ByteBuf::into_vec))
    }
}
