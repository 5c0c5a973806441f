//! `Idempotency-Key`: a client that does not know whether its job arrived sends it again and gets the same id.
//!
//! What became of a key stands in the store, written in one transaction with its job; here is only which keys are being
//! used at this moment.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::HeaderMap;
use p2pnet_shared::{
    id::{Hash, OwnerId},
    refusal::{Code, Refusal},
};
use tokio::sync::oneshot;

use super::limits;
use crate::store::KeyRecord;

/// What to do about a key that is none.
const HINT: &str = "a random UUID is a good key";
/// The longest key.
const MOST_KEY_BYTES: usize = 128;

/// Keys under which a job is being taken now. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<Busy>>);

#[derive(Default)]
struct Busy {
    last: u64,
    /// Who uses each key, the first of its line, and who waits for it, in the order in which they came.
    lines: HashMap<String, VecDeque<User>>,
}

struct User {
    number: u64,
    /// Tells it that the key is its own; dropped once it was told.
    come: Option<oneshot::Sender<()>>,
}

/// The right to use a key, or a place in the line for it, until it is dropped: of two equal requests one makes the job, the
/// other finds it.
pub struct Turn {
    keys: Keys,
    key: String,
    number: u64,
}

impl Keys {
    /// Waits until nobody who came before uses `key`. Whoever drops this no longer waits.
    ///
    /// # Errors
    /// As many wait for it as may.
    pub async fn turn(&self, key: &str) -> Result<Turn, Refusal> {
        let (turn, come) = self.queue(key).ok_or_else(too_many)?;
        // The sender is in the line as long as the turn is.
        let _ = come.await;
        Ok(turn)
    }

    fn queue(&self, key: &str) -> Option<(Turn, oneshot::Receiver<()>)> {
        let mut busy = self.lock();
        // One of them uses it.
        if busy.lines.get(key).is_some_and(|line| line.len() > limits::KEY_WAITERS) {
            return None;
        }
        busy.last += 1;
        let number = busy.last;
        let (sender, receiver) = oneshot::channel();
        let line = busy.lines.entry(key.to_owned()).or_default();
        line.push_back(User { number, come: Some(sender) });
        tell_first(line);
        drop(busy);
        Some((Turn { keys: self.clone(), key: key.to_owned(), number }, receiver))
    }

    /// A panic while the lock was held leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, Busy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the first of a line that the key is its own, once.
fn tell_first(line: &mut VecDeque<User>) {
    if let Some(come) = line.front_mut().and_then(|user| user.come.take()) {
        // One that no longer listens leaves the line as its turn is dropped.
        let _ = come.send(());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut busy = self.keys.lock();
        let Some(line) = busy.lines.get_mut(&self.key) else { return };
        line.retain(|user| user.number != self.number);
        tell_first(line);
        if line.is_empty() {
            busy.lines.remove(&self.key);
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(
        Code::RateLimited,
        format!("{} requests wait already for another one under this Idempotency-Key", limits::KEY_WAITERS),
        "send it again once one of them is answered: all of them are told the same job",
    )
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
#[expect(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt as _;
    use p2pnet_shared::{id::JobId, units::Moment};

    use super::*;

    #[tokio::test]
    async fn a_key_is_used_by_one_request_at_a_time() {
        let keys = Keys::default();
        let first = keys.turn("a").await;
        let _other = keys.turn("b").await;
        let waiting = tokio::spawn({
            let keys = keys.clone();
            async move { drop(keys.turn("a").await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        assert_eq!(keys.lock().lines.len(), 1, "only what is in use is remembered");
    }

    #[test]
    fn a_few_wait_for_a_key_and_have_it_one_by_one_as_they_came() {
        let keys = Keys::default();
        let mut line: VecDeque<_> = (0..=limits::KEY_WAITERS).map(|_| keys.queue("a").unwrap()).collect();
        assert!(keys.queue("a").is_none() && keys.queue("b").is_some());
        let refused = keys.turn("a").now_or_never().unwrap().err().map(|refusal| refusal.code);
        assert_eq!(refused, Some(Code::RateLimited));
        // Who goes away makes room in the line, and wakes nobody.
        drop(line.remove(1));
        line.push_back(keys.queue("a").unwrap());
        assert!(keys.queue("a").is_none());
        while let Some((turn, mut come)) = line.pop_front() {
            assert!(come.try_recv().is_ok() && line.iter_mut().all(|(_, come)| come.try_recv().is_err()));
            drop(turn);
        }
        assert!(keys.lock().lines.is_empty());
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
