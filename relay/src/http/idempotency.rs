//! `Idempotency-Key`: a client that does not know whether its job arrived sends it again and gets the same id.
//!
//! What became of a key stands in the store, written in one transaction with its job; here is only which keys are being
//! used at this moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::HeaderMap;
use p2pnet_shared::{
    id::{Hash, OwnerId},
    refusal::{Code, Refusal},
};
use tokio::sync::watch;

use crate::store::KeyRecord;

/// What to do about a key that is none.
const HINT: &str = "a random UUID is a good key";
/// The longest key.
const MOST_KEY_BYTES: usize = 128;

/// Keys under which a job is being taken now. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keys {
    busy: Arc<Mutex<HashMap<String, watch::Receiver<()>>>>,
}

/// The right to use a key, until it is dropped: of two equal requests one makes the job, the other finds it.
pub struct Turn {
    keys: Keys,
    key: String,
    /// Dropped with the turn, which wakes those who wait.
    _done: watch::Sender<()>,
}

impl Keys {
    /// Waits until nobody else uses `key`.
    pub async fn turn(&self, key: &str) -> Turn {
        loop {
            let mut other = match self.begin(key) {
                Ok(turn) => return turn,
                Err(other) => other,
            };
            // An error is what is waited for: the other one is done.
            while other.changed().await.is_ok() {}
        }
    }

    fn begin(&self, key: &str) -> Result<Turn, watch::Receiver<()>> {
        let mut busy = self.lock();
        if let Some(other) = busy.get(key) {
            return Err(other.clone());
        }
        let (done, receiver) = watch::channel(());
        busy.insert(key.to_owned(), receiver);
        Ok(Turn { keys: self.clone(), key: key.to_owned(), _done: done })
    }

    /// A panic while the lock was held leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<()>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.key);
    }
}

/// Whether a key that was used before may be used for `body` again.
///
/// # Errors
/// It was used for another body.
pub fn same_body(before: &KeyRecord, body: Hash) -> Result<(), Refusal> {
    if before.body == body {
        return Ok(());
    }
    Err(Refusal::new(
        Code::IdempotencyConflict,
        format!("this Idempotency-Key was used for job {}, with another body", before.job),
        "use a new key for a new job, and the same body for the same key",
    ))
}

/// The key of a request, if it has one. Every owner has keys of its own.
pub fn read_key(headers: &HeaderMap, owner: OwnerId) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::new(Code::InvalidField, "there is more than one Idempotency-Key header", HINT));
    }
    Ok(Some(format!("{owner} {}", key_of(value.as_bytes())?)))
}

/// The key that a header's value is.
///
/// # Errors
/// It is empty, too long, or has other characters than a key may have.
pub fn key_of(value: &[u8]) -> Result<&str, Refusal> {
    let key = value.trim_ascii();
    match std::str::from_utf8(key) {
        Ok(text)
            if (1..=MOST_KEY_BYTES).contains(&key.len()) && key.iter().all(|byte| (b' '..=b'~').contains(byte)) =>
        {
            Ok(text)
        }
        Ok(_) | Err(_) => {
            let message = format!(
                "the Idempotency-Key header must have 1 to {MOST_KEY_BYTES} visible ASCII characters or spaces"
            );
            Err(Refusal::new(Code::InvalidField, message, HINT))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::{id::JobId, units::Moment};

    use super::*;

    #[tokio::test]
    async fn a_key_is_used_by_one_request_at_a_time() {
        let keys = Keys::default();
        let first = keys.turn("a").await;
        let _other = keys.turn("b").await;
        assert!(keys.begin("a").is_err());
        let waiting = tokio::spawn({
            let keys = keys.clone();
            async move { drop(keys.turn("a").await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        assert_eq!(keys.lock().len(), 1, "only what is in use is remembered");
    }

    #[test]
    fn another_body_is_refused() {
        let record = KeyRecord { key: "a".into(), body: Hash([1; 32]), job: JobId([1; 16]), at: Moment(0) };
        assert_eq!(same_body(&record, Hash([1; 32])), Ok(()));
        assert_eq!(same_body(&record, Hash([2; 32])).unwrap_err().code, Code::IdempotencyConflict);
    }

    #[test]
    fn keys_are_visible_characters_and_spaces() {
        let of = |texts: &[&str], owner| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append("idempotency-key", axum::http::HeaderValue::from_bytes(text.as_bytes()).unwrap());
            }
            read_key(&headers, owner)
        };
        let read = |text: &str| of(&[text], OwnerId::LOCAL);
        for bad in [&*"x".repeat(129), " ", "", "a\tb", "ключ"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(of(&["a", "a"], OwnerId::LOCAL).is_err(), "nobody can tell which is meant");
        assert_eq!(of(&[], OwnerId::LOCAL), Ok(None));
        assert!(read(&"x".repeat(128)).is_ok());
        assert_eq!(read(" k "), read("k"));
        assert!(read("a b").is_ok() && read("a b") != read("ab"));
        assert_ne!(read("k"), of(&["k"], OwnerId([1; 16])));
    }
}
