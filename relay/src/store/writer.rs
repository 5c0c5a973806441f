//! The one writer: takes changes without ever blocking the node's loop and writes whatever has gathered in one
//! transaction, which is on disk before anybody hears of it.
//!
//! There are two sorts. A **promise** ([`Writer::promise`]) is a job that somebody waits to hear was taken: it is on disk
//! when the call returns `Ok`, and nowhere when it returns `Err`. A **change** ([`Writer::save`], [`Writer::forget`]) is
//! what the node's loop says in passing: it waits until the disk takes it. Changes of the same record replace each other
//! while they wait, so that what waits is bounded by what the node itself holds; beyond [`MOST_WAITING_BYTES`] finished
//! spans are let go, which after a restart only costs their recomputation.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use p2pnet_shared::{
    blob::Blob,
    id::{Holder, JobId},
    node::StoreKey,
};
use tokio::{
    runtime,
    sync::{Notify, oneshot, watch},
    time::sleep,
};

use super::{Caches, KeyRecord, PART_BYTES, database::Database, trouble::Trouble};

/// Bytes of records that may wait to be written.
const MOST_WAITING_BYTES: usize = 512 << 20;
/// What is to be promised and has more bytes is begun only where there is room for all of it: what a transaction that fails
/// has written stays in the log, and would take the room of small ones.
const LARGE: usize = PART_BYTES;
/// Pause after a failed transaction (a full disk) before it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long a closing store waits for a disk that does not take its last changes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Takes changes. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    written: watch::Receiver<Progress>,
}

/// A job that is to be kept before anybody is told that it was taken; all of it in one transaction.
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// Its record ([`p2pnet_shared::node::new_record`]).
    pub record: Vec<u8>,
    /// The idempotency key that it came under.
    pub key: Option<KeyRecord>,
    /// The kernel that it brought along or named, which later jobs may name.
    pub kernel: Option<KeptKernel>,
    /// Whether its source only names that: then it takes it from the store when it is read again.
    pub names_kernel: bool,
}

/// A kernel that later jobs may name.
pub struct KeptKernel {
    /// What it is.
    pub blob: Blob,
    /// Whose share of the room for kernels it counts for.
    pub holder: Holder,
}

/// How far the writing task is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Changes written so far, of those counted by [`Waiting::taken`].
    written: u64,
    /// Why nothing can be written now.
    trouble: Option<Trouble>,
    /// Whether anything could not be written because the file is damaged: other parts of it may be sound.
    is_damaged: bool,
    /// Whether the task has ended.
    ended: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: Changes,
    promises: Vec<Promise>,
    /// What is being written now, for those who read it meanwhile.
    flying: Option<Arc<Changes>>,
    /// Changes ever taken.
    taken: u64,
    dropped: u64,
    closing: bool,
}

/// Changes that replace each other while they wait.
#[derive(Default)]
struct Changes {
    /// `None` forgets.
    records: BTreeMap<StoreKey, Option<Bytes>>,
    bytes: usize,
}

/// What is on disk before anybody is told of it.
enum Promised {
    Job(NewJob),
    /// A kernel that came on its own.
    Kernel(KeptKernel),
}

struct Promise {
    what: Promised,
    kept: oneshot::Sender<Result<(), Trouble>>,
}

impl Promise {
    fn bytes(&self) -> usize {
        let of_kernel = |kernel: &KeptKernel| kernel.blob.len();
        match &self.what {
            Promised::Job(job) => job.record.len() + job.kernel.as_ref().map_or(0, of_kernel),
            Promised::Kernel(kernel) => of_kernel(kernel),
        }
    }

    fn answer(self, answer: &Result<(), Trouble>) {
        // Whoever asked may have gone.
        let _ = self.kept.send(answer.clone());
    }
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
}

impl Writer {
    /// Starts the writing task on a database, on a thread of its own: what is written is copied on its way to the disk,
    /// which takes a time in proportion to its bytes, and those are strangers'.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(database: Database, caches: Caches) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), news: Notify::new() });
        let (progress, written) = watch::channel(Progress::default());
        // What could not be opened to write is tried at once, so that whoever asks hears how it is.
        let doubt = !database.is_open();
        let task = Task { database, caches, shared: Arc::clone(&shared), progress, doubt };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("store".into()).spawn(move || runtime.block_on(task.run()))?;
        Ok(Self { shared, written })
    }

    /// Keeps a job; returns once it is on disk, together with its key and kernel.
    ///
    /// # Errors
    /// Why it is not kept: then nothing of it is.
    pub async fn promise(&self, job: NewJob) -> Result<(), Trouble> {
        self.keep(Promised::Job(job)).await
    }

    /// Keeps a kernel that jobs will name; returns once it is on disk.
    ///
    /// # Errors
    /// Why it is not kept.
    pub async fn promise_kernel(&self, kernel: KeptKernel) -> Result<(), Trouble> {
        self.keep(Promised::Kernel(kernel)).await
    }

    async fn keep(&self, what: Promised) -> Result<(), Trouble> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let (kept, answer) = oneshot::channel();
        let taken = self.change(|waiting| waiting.promises.push(Promise { what, kept }));
        if !taken {
            return Err(Trouble::Closing);
        }
        answer.await.unwrap_or_else(|_| Err(Trouble::Failed("its task has ended".into())))
    }

    /// Keeps a record, replacing what it held.
    pub fn save(&self, key: StoreKey, bytes: Vec<u8>) {
        self.change(|waiting| {
            if is_span(key) && waiting.changes.bytes.saturating_add(bytes.len()) > MOST_WAITING_BYTES {
                waiting.dropped += 1;
                tracing::warn!("the disk is too slow: a finished span is not kept for a restart");
                return;
            }
            waiting.changes.put(key, Some(bytes.into()));
        });
    }

    /// Forgets a record.
    pub fn forget(&self, key: StoreKey) {
        self.change(|waiting| waiting.changes.put(key, None));
    }

    /// A record that is not on disk yet: `Some(None)` when it is to be forgotten.
    pub(super) fn pending(&self, key: StoreKey) -> Option<Option<Bytes>> {
        let waiting = self.shared.lock();
        let flying = || waiting.flying.as_ref().and_then(|flying| flying.records.get(&key));
        waiting.changes.records.get(&key).or_else(flying).cloned()
    }

    /// Why nothing can be kept at the moment.
    pub fn trouble(&self) -> Option<Trouble> {
        self.written.borrow().trouble.clone()
    }

    /// Whether anything could not be written since the start because the file is damaged.
    pub fn is_damaged(&self) -> bool {
        self.written.borrow().is_damaged
    }

    /// Figures for `/metrics`.
    pub fn figures(&self) -> WriterFigures {
        let written = self.written.borrow().written;
        let waiting = self.shared.lock();
        WriterFigures { written, waiting_bytes: waiting.changes.bytes as u64, dropped: waiting.dropped }
    }

    /// Returns once everything taken so far is on disk.
    ///
    /// # Errors
    /// Why it is not now; it will be, once the disk takes it.
    pub async fn flush(&self) -> Result<(), Trouble> {
        let target = self.shared.lock().taken;
        let mut written = self.written.clone();
        let done = |progress: &Progress| progress.ended || progress.written >= target || progress.trouble.is_some();
        match written.wait_for(done).await {
            Ok(progress) if progress.written >= target => Ok(()),
            Ok(progress) => Err(progress.trouble.clone().unwrap_or(Trouble::Closing)),
            Err(_) => Err(Trouble::Closing),
        }
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

    /// Whether the change was taken: a closing store takes none.
    fn change(&self, change: impl FnOnce(&mut Waiting)) -> bool {
        let mut waiting = self.shared.lock();
        if waiting.closing {
            return false;
        }
        change(&mut waiting);
        waiting.taken += 1;
        drop(waiting);
        self.shared.news.notify_one();
        true
    }
}

impl Shared {
    /// A panic while the lock was held leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn put(&mut self, key: StoreKey, value: Option<Bytes>) {
        self.bytes += value.as_ref().map_or(0, Bytes::len);
        let forgets = value.is_none();
        if let Some(Some(old)) = self.records.insert(key, value) {
            self.bytes -= old.len();
            if forgets && is_span(key) {
                // A span is written once: one that still waits is not on disk.
                self.records.remove(&key);
            }
        }
    }

    /// Puts what could not be written back under what has come since.
    fn put_below(&mut self, older: &Self) {
        for (key, value) in &older.records {
            if !self.records.contains_key(key) {
                self.put(*key, value.clone());
            }
        }
    }
}

impl Waiting {
    fn take(&mut self) -> Batch {
        let changes = Arc::new(std::mem::take(&mut self.changes));
        self.flying = Some(Arc::clone(&changes));
        Batch { changes, promises: std::mem::take(&mut self.promises), taken: self.taken }
    }
}

/// What goes into one transaction.
pub(super) struct Batch {
    changes: Arc<Changes>,
    promises: Vec<Promise>,
    taken: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.changes.records.is_empty() && self.promises.is_empty()
    }

    /// Records to forget.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = StoreKey> {
        self.changes.records.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key)
    }

    /// Records to keep. A promise comes before every change of the same job, which is newer.
    pub(super) fn kept(&self) -> impl Iterator<Item = (StoreKey, &[u8])> {
        let promised = self.jobs().map(|job| (StoreKey::Job(job.id), job.record.as_slice()));
        let changed = self.changes.records.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        promised.chain(changed)
    }

    /// Idempotency keys to keep.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.jobs().filter_map(|job| job.key.as_ref())
    }

    /// Kernels to keep, and the job that each came with, if it came with one.
    pub(super) fn kernels(&self) -> impl Iterator<Item = (Option<&NewJob>, &KeptKernel)> {
        self.promises.iter().filter_map(|promise| match &promise.what {
            Promised::Job(job) => job.kernel.as_ref().map(|kernel| (Some(job), kernel)),
            Promised::Kernel(kernel) => Some((None, kernel)),
        })
    }

    fn jobs(&self) -> impl Iterator<Item = &NewJob> {
        self.promises.iter().filter_map(|promise| match &promise.what {
            Promised::Job(job) => Some(job),
            Promised::Kernel(_) => None,
        })
    }

    /// Bytes of what is large of what is to be promised.
    fn large_bytes(&self) -> usize {
        self.promises.iter().map(Promise::bytes).filter(|bytes| *bytes > LARGE).sum()
    }

    /// Takes that out.
    fn take_large(&mut self) -> Vec<Promise> {
        self.promises.extract_if(.., |promise| promise.bytes() > LARGE).collect()
    }

    fn answer(self, answer: &Result<(), Trouble>) {
        for promise in self.promises {
            promise.answer(answer);
        }
    }
}

/// The writing task.
struct Task {
    database: Database,
    caches: Caches,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    /// The last transaction failed: the next one has to find room too.
    doubt: bool,
}

impl Task {
    async fn run(mut self) {
        loop {
            let (mut batch, closing) = {
                let mut waiting = self.shared.lock();
                (waiting.take(), waiting.closing)
            };
            if batch.is_empty() && closing {
                break;
            }
            if batch.is_empty() && !self.doubt {
                self.progress.send_modify(|progress| progress.written = progress.written.max(batch.taken));
                self.shared.news.notified().await;
                continue;
            }
            let mut written = self.write(&batch).await;
            if written == Err(Trouble::Full) && self.caches.give_up(&mut self.database).await {
                written = self.write(&batch).await;
            }
            let large = if written == Err(Trouble::Full) { batch.take_large() } else { Vec::new() };
            if !large.is_empty() {
                // There may be room for the others.
                large.into_iter().for_each(|promise| promise.answer(&Err(Trouble::Full)));
                written = self.write(&batch).await;
            }
            match &written {
                Ok(()) => self.succeeded(&batch),
                Err(trouble) => self.failed(&batch, trouble),
            }
            let pause = written.is_err() && batch.promises.is_empty();
            batch.answer(&written);
            if pause {
                sleep(TRY_AGAIN).await;
            }
        }
        self.database.close().await;
        self.progress.send_modify(|progress| progress.ended = true);
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Trouble> {
        // Only what may still be refused is held back: the rest was decided on before, and is tried whatever the system tells.
        let bytes = batch.large_bytes();
        if bytes > 0 && !self.database.has_room_for(bytes) {
            return Err(Trouble::Full);
        }
        self.database.write(batch, self.doubt).await
    }

    fn succeeded(&mut self, batch: &Batch) {
        self.doubt = false;
        self.shared.lock().flying = None;
        if self.progress.borrow().trouble.is_some() {
            tracing::info!("the store can be written again");
        }
        self.progress.send_modify(|progress| {
            progress.written = batch.taken;
            progress.trouble = None;
        });
    }

    /// A promise may just have been too large for what room there is: only a transaction without one that fails as well
    /// says that nothing can be kept.
    fn failed(&mut self, batch: &Batch, trouble: &Trouble) {
        self.doubt = true;
        if *trouble == Trouble::Damaged {
            self.progress.send_modify(|progress| progress.is_damaged = true);
        }
        {
            let mut waiting = self.shared.lock();
            waiting.changes.put_below(&batch.changes);
            waiting.flying = None;
        }
        if batch.promises.is_empty() {
            if self.progress.borrow().trouble.is_none() {
                tracing::error!(?trouble, "the store cannot be written; trying again");
            }
            self.progress.send_modify(|progress| progress.trouble = Some(trouble.clone()));
        }
    }
}

fn is_span(key: StoreKey) -> bool {
    match key {
        StoreKey::Span(..) => true,
        StoreKey::Job(_) | StoreKey::Result(_) | StoreKey::Finished(_) => false,
    }
}
