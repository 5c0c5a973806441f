//! What later versions say beside a message: read, carried on and ignored by who does not know it, so that saying more
//! needs no new version.

use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::WireError;

/// The most extensions of one message.
pub const MOST_EXTENSIONS: usize = 16;

/// The most bytes of one message's extensions together, keys not counted.
pub const MOST_EXTENSION_BYTES: usize = 2 << 10;

/// One thing that is said beside a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Which: given out in `docs/protocol.md`, and never a second time.
    pub key: u16,
    /// What it says, in the key's own form.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

/// All that is said beside one message: at most [`MOST_EXTENSIONS`], of [`MOST_EXTENSION_BYTES`] in all, each key once, in
/// the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<Extension>);

impl Extensions {
    /// These, in any order.
    ///
    /// # Errors
    /// [`WireError::Malformed`] where a bound is broken or a key stands twice.
    pub fn new(mut all: Vec<Extension>) -> Result<Self, WireError> {
        all.sort_by_key(|extension| extension.key);
        Self::in_order(all)
    }

    /// As they came: in their order already, since a message has one spelling.
    fn in_order(all: Vec<Extension>) -> Result<Self, WireError> {
        let bytes: usize = all.iter().map(|extension| extension.value.len()).sum();
        let is_ordered = all.windows(2).all(|pair| matches!(pair, [one, next] if one.key < next.key));
        let is_bounded = all.len() <= MOST_EXTENSIONS && bytes <= MOST_EXTENSION_BYTES;
        if is_ordered && is_bounded { Ok(Self(all)) } else { Err(WireError::Malformed) }
    }

    /// What is said under a key.
    pub fn get(&self, key: u16) -> Option<&[u8]> {
        let at = self.0.binary_search_by_key(&key, |extension| extension.key).ok()?;
        self.0.get(at).map(|extension| extension.value.as_slice())
    }

    /// All of them, in the order of their keys.
    pub fn all(&self) -> &[Extension] {
        &self.0
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Extensions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Extensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AtMost)
    }
}

/// Reads no more of them than there may be: a frame could hold half a million.
struct AtMost;

impl<'de> Visitor<'de> for AtMost {
    type Value = Extensions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST_EXTENSIONS} extensions in the order of their keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Extensions, A::Error> {
        let mut all = Vec::new();
        while let Some(extension) = seq.next_element()? {
            all.push(extension);
            if all.len() > MOST_EXTENSIONS {
                break;
            }
        }
        Extensions::in_order(all).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(key: u16, len: usize) -> Extension {
        Extension { key, value: vec![7; len] }
    }

    #[test]
    fn they_are_found_by_key_whatever_order_they_were_given_in() {
        let all = Extensions::new(vec![extension(9, 1), extension(2, 3)]).unwrap_or_default();
        assert_eq!(all.get(2).map(<[u8]>::len), Some(3));
        assert_eq!(all.get(9).map(<[u8]>::len), Some(1));
        assert_eq!(all.get(3), None);
        assert_eq!(all.all().first().map(|extension| extension.key), Some(2));
    }

    #[test]
    fn a_key_twice_too_many_or_too_long_are_refused() {
        assert_eq!(Extensions::new(vec![extension(1, 0), extension(1, 1)]), Err(WireError::Malformed));
        let many = (0..).map(|key| extension(key, 0));
        assert!(Extensions::new(many.clone().take(MOST_EXTENSIONS).collect()).is_ok());
        assert_eq!(Extensions::new(many.take(MOST_EXTENSIONS + 1).collect()), Err(WireError::Malformed));
        assert!(Extensions::new(vec![extension(1, MOST_EXTENSION_BYTES)]).is_ok());
        let long = vec![extension(1, MOST_EXTENSION_BYTES), extension(2, 1)];
        assert_eq!(Extensions::new(long), Err(WireError::Malformed));
    }

    #[test]
    fn what_came_in_another_order_is_another_spelling_and_refused() {
        assert_eq!(Extensions::in_order(vec![extension(9, 1), extension(2, 3)]), Err(WireError::Malformed));
    }
}
