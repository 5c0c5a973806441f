//! The one writer: takes changes without ever blocking the node's loop and writes whatever has gathered in one
//! transaction.
//!
//! Changes of the same record replace each other while they wait, so that what waits is bounded by what the node itself
//! holds; beyond [`MOST_WAITING_BYTES`] finished spans are let go, which after a restart only costs their recomputation.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use p2pnet_shared::{id::Hash, node::StoreKey};
use sqlx::{Connection as _, SqliteConnection};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{KERNELS_KEPT_BYTES, KEYS_KEPT, KeyRecord, columns_of};

/// Bytes of records that may wait to be written.
const MOST_WAITING_BYTES: usize = 512 << 20;
/// Pause after a failed transaction (a full disk) before it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long a closing store waits for a disk that does not take its last changes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Takes changes. Cheap to clone; no call blocks.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    written: watch::Receiver<Progress>,
}

/// How far the writing task is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Changes written so far, of those counted by [`Waiting::taken`].
    written: u64,
    /// Whether the last transaction failed.
    failing: bool,
    /// Whether the task has ended.
    ended: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    /// `None` forgets.
    records: BTreeMap<StoreKey, Option<Vec<u8>>>,
    kernels: BTreeMap<Hash, Vec<u8>>,
    keys: VecDeque<KeyRecord>,
    bytes: usize,
    /// Changes ever taken.
    taken: u64,
    dropped: u64,
    closing: bool,
}

/// Figures for `/metrics`.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterFigures {
    /// Changes written since the start.
    pub written: u64,
    /// Bytes that wait.
    pub waiting_bytes: u64,
    /// Finished spans that were let go because the disk was too slow.
    pub dropped: u64,
    /// Whether the last transaction failed.
    pub failing: bool,
}

impl Writer {
    /// Starts the writing task on a connection.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let shared = Arc::new(Shared { waiting: Mutex::default(), news: Notify::new() });
        let (progress, written) = watch::channel(Progress::default());
        tokio::spawn(write_on(connection, Arc::clone(&shared), progress));
        Self { shared, written }
    }

    /// Keeps a record, replacing what it held.
    pub fn save(&self, key: StoreKey, bytes: Vec<u8>) {
        self.change(|waiting| {
            if is_span(key) && waiting.bytes.saturating_add(bytes.len()) > MOST_WAITING_BYTES {
                waiting.dropped += 1;
                tracing::warn!("the disk is too slow: a finished span is not kept for a restart");
                return;
            }
            waiting.put(key, Some(bytes));
        });
    }

    /// Forgets a record.
    pub fn forget(&self, key: StoreKey) {
        self.change(|waiting| waiting.put(key, None));
    }

    /// Keeps an idempotency key.
    pub fn save_key(&self, key: KeyRecord) {
        self.change(|waiting| {
            waiting.keys.push_back(key);
            if waiting.keys.len() > KEYS_KEPT {
                waiting.keys.pop_front();
            }
        });
    }

    /// Keeps a kernel so that later jobs may name it.
    pub fn save_kernel(&self, hash: Hash, bytes: Vec<u8>) {
        self.change(|waiting| {
            let len = bytes.len();
            if waiting.bytes.saturating_add(len) <= MOST_WAITING_BYTES && waiting.kernels.insert(hash, bytes).is_none()
            {
                waiting.bytes += len;
            }
        });
    }

    /// A kernel that waits to be written.
    pub(super) fn pending_kernel(&self, hash: Hash) -> Option<Vec<u8>> {
        self.shared.lock().kernels.get(&hash).cloned()
    }

    /// Figures for `/metrics` and `/healthz`.
    pub fn figures(&self) -> WriterFigures {
        let Progress { written, failing, ended: _ } = *self.written.borrow();
        let waiting = self.shared.lock();
        WriterFigures { written, waiting_bytes: waiting.bytes as u64, dropped: waiting.dropped, failing }
    }

    /// Returns once everything taken so far is on disk, or the task has ended.
    pub async fn flush(&self) {
        let target = self.shared.lock().taken;
        let mut written = self.written.clone();
        // An error means that the task is gone: nothing to wait for.
        let _ = written.wait_for(|progress| progress.ended || progress.written >= target).await;
    }

    /// Writes what waits, closes the file and returns; gives up after [`CLOSE_PATIENCE`].
    pub(super) async fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.news.notify_one();
        let mut written = self.written.clone();
        if tokio::time::timeout(CLOSE_PATIENCE, written.wait_for(|progress| progress.ended)).await.is_err() {
            tracing::error!("the last changes could not be written to the store");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.shared.lock();
        if !waiting.closing {
            change(&mut waiting);
            waiting.taken += 1;
            drop(waiting);
            self.shared.news.notify_one();
        }
    }
}

impl Shared {
    /// A panic while the lock was held leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, key: StoreKey, value: Option<Vec<u8>>) {
        self.bytes += value.as_ref().map_or(0, Vec::len);
        if let Some(Some(old)) = self.records.insert(key, value) {
            self.bytes -= old.len();
        }
    }

    fn take(&mut self) -> Batch {
        self.bytes = 0;
        Batch {
            records: std::mem::take(&mut self.records),
            kernels: std::mem::take(&mut self.kernels),
            keys: std::mem::take(&mut self.keys),
            taken: self.taken,
        }
    }

    /// Puts a batch that could not be written back under what has come since.
    fn put_back(&mut self, batch: Batch) {
        for (key, value) in batch.records {
            if !self.records.contains_key(&key) {
                self.put(key, value);
            }
        }
        for (hash, bytes) in batch.kernels {
            self.bytes += bytes.len();
            if let Some(old) = self.kernels.insert(hash, bytes) {
                self.bytes -= old.len();
            }
        }
        for key in batch.keys.into_iter().rev() {
            if self.keys.len() < KEYS_KEPT {
                self.keys.push_front(key);
            }
        }
    }
}

/// What goes into one transaction.
struct Batch {
    records: BTreeMap<StoreKey, Option<Vec<u8>>>,
    kernels: BTreeMap<Hash, Vec<u8>>,
    keys: VecDeque<KeyRecord>,
    taken: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.kernels.is_empty() && self.keys.is_empty()
    }
}

async fn write_on(mut connection: SqliteConnection, shared: Arc<Shared>, progress: watch::Sender<Progress>) {
    loop {
        let (batch, closing) = {
            let mut waiting = shared.lock();
            (waiting.take(), waiting.closing)
        };
        if batch.is_empty() {
            progress.send_modify(|progress| progress.written = progress.written.max(batch.taken));
            if closing {
                break;
            }
            shared.news.notified().await;
            continue;
        }
        match write(&mut connection, &batch).await {
            Ok(()) => progress.send_modify(|progress| {
                progress.written = batch.taken;
                progress.failing = false;
            }),
            Err(error) => {
                if !progress.borrow().failing {
                    tracing::error!(%error, "the store cannot be written; trying again");
                }
                progress.send_modify(|progress| progress.failing = true);
                shared.lock().put_back(batch);
                sleep(TRY_AGAIN).await;
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store did not close cleanly");
    }
    progress.send_modify(|progress| progress.ended = true);
}

async fn write(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for (key, value) in &batch.records {
        let (kind, job, unit) = columns_of(*key);
        let query = match value {
            Some(bytes) => sqlx::query("INSERT OR REPLACE INTO records (kind, job, unit, bytes) VALUES (?, ?, ?, ?)")
                .bind(kind)
                .bind(job.0.to_vec())
                .bind(unit)
                .bind(bytes.as_slice()),
            None => sqlx::query("DELETE FROM records WHERE kind = ? AND job = ? AND unit = ?")
                .bind(kind)
                .bind(job.0.to_vec())
                .bind(unit),
        };
        query.execute(&mut *transaction).await?;
    }
    for (hash, bytes) in &batch.kernels {
        // Replacing gives the row a new rowid: the newest are kept.
        sqlx::query("INSERT OR REPLACE INTO kernels (hash, bytes) VALUES (?, ?)")
            .bind(hash.0.to_vec())
            .bind(bytes.as_slice())
            .execute(&mut *transaction)
            .await?;
    }
    if !batch.kernels.is_empty() {
        sqlx::query(
            "DELETE FROM kernels WHERE rowid IN (SELECT rowid FROM (SELECT rowid, SUM(LENGTH(bytes)) OVER \
             (ORDER BY rowid DESC) AS total FROM kernels) WHERE total > ?)",
        )
        .bind(KERNELS_KEPT_BYTES)
        .execute(&mut *transaction)
        .await?;
    }
    for KeyRecord { key, body, job, at } in &batch.keys {
        sqlx::query("INSERT OR REPLACE INTO keys (name, body, job, at) VALUES (?, ?, ?, ?)")
            .bind(key.as_str())
            .bind(body.0.to_vec())
            .bind(job.0.to_vec())
            .bind(i64::try_from(at.0).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
    }
    if !batch.keys.is_empty() {
        sqlx::query("DELETE FROM keys WHERE rowid NOT IN (SELECT rowid FROM keys ORDER BY rowid DESC LIMIT ?)")
            .bind(i64::try_from(KEYS_KEPT).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

fn is_span(key: StoreKey) -> bool {
    match key {
        StoreKey::Span(..) => true,
        StoreKey::Job(_) | StoreKey::Result(_) => false,
    }
}
