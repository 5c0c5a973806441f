//! The one writer: takes changes without ever blocking the node's loop and writes whatever has gathered in one
//! transaction, which is on disk before anybody hears of it.
//!
//! There are two sorts. A **promise** ([`Writer::promise`]) is a job that somebody waits to hear was taken: it is on disk
//! when the call returns `Ok`, and nowhere when it returns `Err`. A **change** ([`Writer::save`], [`Writer::forget`]) is
//! what the node's loop says in passing: it waits until the disk takes it. Changes of the same record replace each other
//! while they wait, so that what waits is bounded by what the node itself holds; beyond [`MOST_WAITING_BYTES`] finished
//! spans are let go, which after a restart only costs their recomputation.
//!
//! What is large and has no room on the disk takes none from what is small: a promise is refused, and a change is held in
//! memory ([`Writer::held`]) while everything else is written. The end of a job whose result is held is held with it, so that
//! no start finds a job that is over without its result: after a kill it goes on as it was promised.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    time::{Instant, sleep, timeout_at},
};

use super::{
    Caches, KeyRecord, PART_BYTES,
    database::{Database, Room},
    trouble::Trouble,
};

/// Bytes of records that may wait to be written, beside those that are held for want of room.
const MOST_WAITING_BYTES: usize = 512 << 20;
/// While more bytes than this are held for want of room, nothing is promised. That is all of what a relay keeps of finished
/// jobs, unless its operator lets it keep more: then whoever holds most of that has given of it before.
const MOST_HELD_BYTES: usize = 1 << 30;
/// A promise, result or span of more bytes is begun only where there is room for all of it: what a transaction that fails
/// has written stays in the log, and would take the room of small ones.
const LARGE: usize = PART_BYTES;
/// Pause after a failed transaction (a full disk) before it is tried again, and before the system is asked again whether
/// there is room for what is held.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Pause before something large is tried again that failed alone, although the system told of room (a quota): everybody
/// waits for as long as that takes.
const TRY_LARGE_AGAIN: Duration = Duration::from_secs(30);
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
    /// What of `changes` is held for want of room.
    held: Held,
    /// Changes ever taken.
    taken: u64,
    dropped: u64,
    closing: bool,
}

/// What waits for room on the disk while everything else is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Results and finished spans.
    pub records: usize,
    /// Bytes, those of the records that wait with them among them.
    pub bytes: usize,
}

/// Changes that replace each other while they wait.
#[derive(Clone, Default)]
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

    fn is_large(&self) -> bool {
        self.bytes() > LARGE
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
        let task = Task { database, caches, shared: Arc::clone(&shared), progress, doubt, held: BTreeMap::new() };
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
            // What is held has a bound of its own, and takes none of the others'.
            let held = waiting.held.bytes;
            let beside = waiting.changes.bytes.saturating_sub(held);
            let before = if bytes.len() > LARGE { beside.max(held) } else { beside };
            if is_span(key) && before.saturating_add(bytes.len()) > MOST_WAITING_BYTES {
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
        let trouble = self.written.borrow().trouble.clone();
        trouble.or_else(|| (self.held().bytes > MOST_HELD_BYTES).then_some(Trouble::Full))
    }

    /// What waits for room on the disk while everything else is written.
    pub fn held(&self) -> Held {
        self.shared.lock().held
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

    /// Returns once everything taken so far is on disk, but for what is held for want of room ([`Writer::held`]): no job that
    /// was cancelled or removed is.
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

    /// Results and spans that are large, and the bytes of each.
    fn large(&self) -> BTreeMap<StoreKey, usize> {
        let large = |(key, value): (&StoreKey, &Option<Bytes>)| {
            let bytes = value.as_ref()?.len();
            (may_be_large(*key) && bytes > LARGE).then_some((*key, bytes))
        };
        self.records.iter().filter_map(large).collect()
    }

    /// Takes the large records in `these` out, and with a result the other records of its job.
    fn take_out(&mut self, these: &BTreeSet<StoreKey>) -> Self {
        if these.is_empty() {
            return Self::default();
        }
        let goes = |key: StoreKey| these.contains(&key) || these.contains(&StoreKey::Result(job_of(key)));
        let (out, rest) = std::mem::take(&mut self.records).into_iter().partition(|(key, _)| goes(*key));
        *self = Self::of(rest);
        Self::of(out)
    }

    fn of(records: BTreeMap<StoreKey, Option<Bytes>>) -> Self {
        let bytes = records.values().flatten().map(Bytes::len).sum();
        Self { records, bytes }
    }
}

impl Waiting {
    /// Takes everything but what is `held`.
    fn take(&mut self, held: &BTreeSet<StoreKey>) -> Batch {
        let stays = self.changes.take_out(held);
        self.held = Held { records: held.len(), bytes: stays.bytes };
        let changes = std::mem::replace(&mut self.changes, stays);
        let promises = std::mem::take(&mut self.promises);
        Batch { changes: self.fly(changes), promises, taken: self.taken }
    }

    /// Takes something that is held.
    fn take_held(&mut self, record: StoreKey) -> Batch {
        let changes = self.changes.take_out(&BTreeSet::from([record]));
        Batch { changes: self.fly(changes), promises: Vec::new(), taken: 0 }
    }

    /// Puts something of what is being written back.
    fn put_back(&mut self, batch: &mut Batch, these: &BTreeSet<StoreKey>) {
        self.flying = None;
        let mut changes = Arc::unwrap_or_clone(std::mem::take(&mut batch.changes));
        self.changes.put_below(&changes.take_out(these));
        batch.changes = self.fly(changes);
    }

    fn fly(&mut self, changes: Changes) -> Arc<Changes> {
        let changes = Arc::new(changes);
        self.flying = Some(Arc::clone(&changes));
        changes
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

    /// Whether this record is among those.
    pub(super) fn forgets(&self, key: StoreKey) -> bool {
        self.changes.records.get(&key).is_some_and(Option::is_none)
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

    /// The job that it ends with a large result, if nothing else of it is large.
    pub(super) fn ends(&self) -> Option<JobId> {
        let mut large = self.changes.large().into_keys();
        let first = large.next().filter(|key| !is_span(*key))?;
        let is_alone = large.next().is_none() && !self.promises.iter().any(Promise::is_large);
        is_alone.then_some(job_of(first))
    }

    fn has_large(&self) -> bool {
        self.promises.iter().any(Promise::is_large) || !self.changes.large().is_empty()
    }

    /// What of all that is large there is no room for: changes go first, which were decided on before, then promises, which
    /// lie there by their size.
    fn without_room(&self, room: Room) -> WithoutRoom {
        let mut without = WithoutRoom::default();
        let mut taken = 0_usize;
        let mut fits = |bytes: usize| {
            let lacks = room.lacks(taken.saturating_add(bytes));
            if lacks == 0 {
                taken += bytes;
            } else if without.lacks == 0 || lacks < without.lacks {
                without.lacks = lacks;
            }
            lacks == 0
        };
        let changes = self.changes.large().into_iter().filter(|(_, bytes)| !fits(*bytes));
        let changes: BTreeSet<StoreKey> = changes.map(|(key, _)| key).collect();
        let promises = self.promises.iter().filter(|promise| promise.is_large() && !fits(promise.bytes())).count();
        WithoutRoom { changes, promises, ..without }
    }

    fn answer(self, answer: &Result<(), Trouble>) {
        for promise in self.promises {
            promise.answer(answer);
        }
    }
}

/// What of a batch does not fit.
#[derive(Default)]
struct WithoutRoom {
    changes: BTreeSet<StoreKey>,
    /// So many promises, its last.
    promises: usize,
    /// Bytes that are missing for the least of it.
    lacks: u64,
}

/// The writing task.
struct Task {
    database: Database,
    caches: Caches,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    /// The last transaction failed: the next one has to find room too.
    doubt: bool,
    /// Large changes that had no room, and when each is tried again. What they are lies with what waits.
    held: BTreeMap<StoreKey, Instant>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let (batch, closing) = self.take();
            if batch.is_empty() && closing {
                let Some((record, _)) = self.held.pop_first() else { break };
                self.try_last(record).await;
                continue;
            }
            let is_idle = batch.is_empty() && !self.doubt;
            self.try_to_write(batch, true).await;
            // One at a time: who waits for something small does not wait for all that is large.
            let due = self.held.iter().filter(|_| !self.doubt).min_by_key(|(_, at)| **at).map(|(key, at)| (*key, *at));
            match due {
                Some((record, at)) if at <= Instant::now() => self.try_held(record).await,
                Some((_, at)) if is_idle => {
                    // Time for the one, or news.
                    let _ = timeout_at(at, self.shared.news.notified()).await;
                }
                None if is_idle => self.shared.news.notified().await,
                Some(_) | None => {}
            }
        }
        self.database.close().await;
        self.progress.send_modify(|progress| progress.ended = true);
    }

    /// Takes what waits, but for what is held, and whether the store closes.
    fn take(&mut self) -> (Batch, bool) {
        let mut waiting = self.shared.lock();
        // It may have been forgotten, or written.
        let large = if self.held.is_empty() { BTreeMap::new() } else { waiting.changes.large() };
        self.held.retain(|record, _| large.contains_key(record));
        let held = self.held.keys().copied().collect();
        (waiting.take(&held), waiting.closing)
    }

    async fn try_held(&mut self, record: StoreKey) {
        self.held.insert(record, Instant::now() + TRY_AGAIN);
        let batch = self.shared.lock().take_held(record);
        self.try_to_write(batch, false).await;
    }

    /// Lets something that is held go, if there is no room for it at the end either.
    async fn try_last(&mut self, record: StoreKey) {
        self.try_held(record).await;
        self.held.remove(&record);
        let gone = self.shared.lock().changes.take_out(&BTreeSet::from([record]));
        if gone.bytes > 0 {
            tracing::error!(?record, "there is no room on the disk for it: its job goes on at the next start");
        }
    }

    /// Writes a batch, in which everything is new or nothing is.
    async fn try_to_write(&mut self, mut batch: Batch, is_new: bool) {
        self.leave_out_what_has_no_room(&mut batch).await;
        if batch.is_empty() && !self.doubt {
            return self.wrote(&batch);
        }
        let mut written = self.database.write(&batch, self.doubt).await;
        if is_new && written == Err(Trouble::Full) && self.caches.give_up(&mut self.database).await {
            written = self.database.write(&batch, self.doubt).await;
        }
        if written == Err(Trouble::Full) && batch.has_large() {
            // There may be room for the others, and for each of these alone.
            let changes: BTreeSet<StoreKey> = batch.changes.large().into_keys().collect();
            let promises = batch.promises.iter().filter(|promise| promise.is_large()).count();
            let again = if changes.len() + promises == 1 { TRY_LARGE_AGAIN } else { Duration::ZERO };
            self.leave_out(&mut batch, WithoutRoom { changes, promises, lacks: 0 }, again);
            if batch.is_empty() && !self.doubt {
                return self.wrote(&batch);
            }
            written = self.database.write(&batch, self.doubt).await;
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

    /// Leaves out what is large and has no room, as far as the system tells.
    async fn leave_out_what_has_no_room(&mut self, batch: &mut Batch) {
        if !batch.has_large() {
            return;
        }
        batch.promises.sort_by_key(Promise::bytes);
        let Some(room) = self.database.room(batch).await else { return };
        let mut without = batch.without_room(room);
        if without.lacks > 0
            && self.caches.give_up_compiled(without.lacks)
            && let Some(room) = self.database.room(batch).await
        {
            without = batch.without_room(room);
        }
        self.leave_out(batch, without, TRY_AGAIN);
    }

    fn leave_out(&mut self, batch: &mut Batch, without: WithoutRoom, again: Duration) {
        let promises = batch.promises.len() - without.promises;
        batch.promises.split_off(promises).into_iter().for_each(|promise| promise.answer(&Err(Trouble::Full)));
        if without.changes.is_empty() {
            return;
        }
        for record in &without.changes {
            if self.held.insert(*record, Instant::now() + again).is_none() {
                tracing::warn!(?record, "there is no room on the disk for it; it waits, and what is small is written");
            }
        }
        self.shared.lock().put_back(batch, &without.changes);
    }

    /// There is nothing left to write of it.
    fn wrote(&self, batch: &Batch) {
        self.shared.lock().flying = None;
        self.progress.send_if_modified(|progress| {
            let is_news = progress.written < batch.taken;
            progress.written = progress.written.max(batch.taken);
            is_news
        });
    }

    fn succeeded(&mut self, batch: &Batch) {
        self.doubt = false;
        self.shared.lock().flying = None;
        if self.progress.borrow().trouble.is_some() {
            tracing::info!("the store can be written again");
        }
        self.progress.send_modify(|progress| {
            progress.written = progress.written.max(batch.taken);
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

/// Of everything else only what is small is kept.
fn may_be_large(key: StoreKey) -> bool {
    match key {
        StoreKey::Span(..) | StoreKey::Result(_) => true,
        StoreKey::Job(_) | StoreKey::Finished(_) => false,
    }
}

fn job_of(key: StoreKey) -> JobId {
    match key {
        StoreKey::Job(job) | StoreKey::Span(job, _) | StoreKey::Result(job) | StoreKey::Finished(job) => job,
    }
}

fn is_span(key: StoreKey) -> bool {
    match key {
        StoreKey::Span(..) => true,
        StoreKey::Job(_) | StoreKey::Result(_) | StoreKey::Finished(_) => false,
    }
}
