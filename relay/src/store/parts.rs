//! Parts of results in memory, shared by those who read the same one at the same time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use axum::body::Bytes;
use p2pnet_shared::store::StoreKey;

/// A record, and the number of a part.
type Name = (StoreKey, i64);

/// Parts that somebody holds. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct SharedParts(Arc<Mutex<BTreeMap<Name, Weak<[u8]>>>>);

/// A part, for one of those who hold it.
struct Held {
    bytes: Option<Arc<[u8]>>,
    name: Name,
    parts: SharedParts,
}

impl SharedParts {
    /// A part that somebody else holds now.
    pub(super) fn get(&self, name: Name) -> Option<Bytes> {
        let bytes = self.lock().get(&name)?.upgrade()?;
        Some(self.held(name, bytes))
    }

    /// A part that was just read, for others to share.
    pub(super) fn share(&self, name: Name, bytes: &[u8]) -> Bytes {
        let mut parts = self.lock();
        let bytes = parts.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let bytes: Arc<[u8]> = bytes.into();
            parts.insert(name, Arc::downgrade(&bytes));
            bytes
        });
        drop(parts);
        self.held(name, bytes)
    }

    fn held(&self, name: Name, bytes: Arc<[u8]>) -> Bytes {
        Bytes::from_owner(Held { bytes: Some(bytes), name, parts: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Weak<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut parts = self.parts.lock();
        self.bytes = None;
        if parts.get(&self.name).is_some_and(|bytes| bytes.strong_count() == 0) {
            parts.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::id::JobId;

    use super::*;

    #[test]
    fn those_who_read_the_same_part_hold_one_and_the_last_one_lets_it_go() {
        let parts = SharedParts::default();
        let name = (StoreKey::Result(JobId([1; 16])), 3);
        assert_eq!(parts.get(name), None);
        let one = parts.share(name, b"part");
        let late = parts.share(name, b"part");
        let other = parts.get(name);
        assert_eq!(other.as_ref().map(|bytes| bytes.as_ptr()), Some(one.as_ptr()));
        assert!(late.as_ptr() == one.as_ptr() && parts.get((name.0, 4)).is_none());
        let end = one.slice(2..);
        drop((one, late, other));
        assert_eq!(parts.get(name).as_deref(), Some(&b"part"[..]), "an end of it holds it");
        drop(end);
        assert!(parts.get(name).is_none() && parts.lock().is_empty());
    }
}
