//! `Idempotency-Key`: a client that does not know whether its job arrived sends it again and gets the same id.

use std::collections::{HashMap, VecDeque};

use p2pnet_shared::{
    id::{Hash, JobId},
    refusal::{Code, Refusal},
};
use tokio::sync::{Mutex, MutexGuard};

use crate::store::{KEYS_KEPT, KeyRecord};

/// The longest key.
const MOST_KEY_BYTES: usize = 128;

/// Keys that were used, newest [`KEYS_KEPT`].
pub struct Keys {
    known: Mutex<Known>,
}

/// The table while nobody else looks at it: held over the submission, so that two requests with one key make one job.
#[derive(Default)]
pub struct Known {
    by_key: HashMap<String, (Hash, JobId)>,
    order: VecDeque<String>,
}

impl Keys {
    /// The keys of the last run, oldest first.
    pub fn new(records: Vec<KeyRecord>) -> Self {
        let mut known = Known::default();
        for record in records {
            known.insert(&record);
        }
        Self { known: Mutex::new(known) }
    }

    /// The table, until the guard is dropped.
    pub async fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().await
    }
}

impl Known {
    /// The job made under `key`, if there is one; a refusal when it was made from another body.
    pub fn find(&self, key: &str, body: Hash) -> Result<Option<JobId>, Refusal> {
        match self.by_key.get(key) {
            None => Ok(None),
            Some((before, job)) if *before == body => Ok(Some(*job)),
            Some((_, job)) => Err(Refusal::new(
                Code::IdempotencyConflict,
                format!("this Idempotency-Key was used for job {job}, with another body"),
                "use a new key for a new job, and the same body for the same key",
            )),
        }
    }

    /// Remembers what became of a key.
    pub fn insert(&mut self, record: &KeyRecord) {
        if self.by_key.insert(record.key.clone(), (record.body, record.job)).is_none() {
            self.order.push_back(record.key.clone());
        }
        if self.order.len() > KEYS_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }
}

/// Reads the header's value.
pub fn read_key(value: &axum::http::HeaderValue) -> Result<String, Refusal> {
    let key = value.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > MOST_KEY_BYTES {
        return Err(Refusal::new(
            Code::InvalidField,
            format!("the Idempotency-Key header must have 1 to {MOST_KEY_BYTES} visible ASCII characters"),
            "a random UUID is a good key",
        ));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::units::Moment;

    use super::*;

    fn record(key: &str, body: u8) -> KeyRecord {
        KeyRecord { key: key.into(), body: Hash([body; 32]), job: JobId([body; 16]), at: Moment(0) }
    }

    #[tokio::test]
    async fn the_same_key_finds_the_same_job_and_refuses_another_body() {
        let keys = Keys::new(vec![record("a", 1)]);
        let known = keys.lock().await;
        assert_eq!(known.find("a", Hash([1; 32])), Ok(Some(JobId([1; 16]))));
        assert_eq!(known.find("b", Hash([1; 32])), Ok(None));
        assert_eq!(known.find("a", Hash([2; 32])).unwrap_err().code, Code::IdempotencyConflict);
    }

    #[test]
    fn only_the_newest_keys_are_kept() {
        let mut known = Known::default();
        for n in 0..=KEYS_KEPT {
            known.insert(&record(&n.to_string(), 1));
        }
        assert_eq!(known.by_key.len(), KEYS_KEPT);
        assert_eq!(known.find("0", Hash([1; 32])), Ok(None));
    }

    #[test]
    fn keys_are_bounded() {
        assert!(read_key(&"x".repeat(129).parse().unwrap()).is_err());
        assert!(read_key(&" ".parse().unwrap()).is_err());
        assert_eq!(read_key(&" k ".parse().unwrap()).unwrap(), "k");
    }
}
