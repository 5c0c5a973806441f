//! The one writer: takes changes without ever blocking the node's loop and writes whatever has gathered in one
//! transaction, which is on disk before anybody hears of it.
//!
//! There are two sorts. A **promise** ([`Writer::promise`]) is a job that somebody waits to hear was taken: it is on disk
//! when the call returns `Ok`, and nowhere when it returns `Err`. A **change** ([`Writer::change`]) is what the node's loop
//! says in passing: it waits until the disk takes it, and the loop hears of it then where it asked to. Changes of the same record replace each other
//! while they wait, so that what waits is bounded by what the node itself holds; beyond [`MOST_WAITING_BYTES`] finished
//! spans are let go, which after a restart only costs their recomputation.
//!
//! What is large and has no room on the disk takes none from what is small: a promise is refused, and a change is held in
//! memory ([`Writer::held`]) while everything else is written. The end of a job whose result is held is held with it, so that
//! no start finds a job that is over without its result: after a kill it goes on as it was promised. That one is held counts as
//! kept for those who ask: it may be long until there is room, they can read it meanwhile, and monitors are told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use p2pnet_shared::{
    blob::Blob,
    id::{Holder, JobId},
    node::Token,
    store::{Change, StoreKey},
};
use tokio::{
    runtime,
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep, timeout_at},
};

use super::{
    Caches, KeyRecord, PART_BYTES,
    database::{Database, Room},
    trouble::Trouble,
};

/// Bytes of records that may wait to be written; and bytes of finished spans that may be held for want of room beside them.
const MOST_WAITING_BYTES: usize = 512 << 20;
/// While more bytes than this of results, and of what waits with them, are held for want of room, nothing is promised. That is
/// all of what a relay keeps of finished jobs (1 GiB, and their lines in lists), unless its operator lets it keep more: then
/// whoever holds most of that has given of it before. Spans do not count: beyond their own bound they are let go.
const MOST_HELD_BYTES: usize = (1 << 30) + (64 << 20);
/// A promise, result or span of more bytes is begun only where there is room for all of it: what a transaction that fails
/// has written stays in the log, and would take the room of small ones.
const LARGE: usize = PART_BYTES;
/// Pause after a failed transaction (a full disk) before it is tried again, and before the system is asked again which of
/// what is held has room.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Pause before something large is tried again that failed alone, although the system told of room (a quota, the largest
/// size of a file): everybody waits for as long as that takes.
const TRY_LARGE_AGAIN: Duration = Duration::from_secs(30);
/// How long a closing store waits for a disk that does not take its last changes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Takes changes. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    written: watch::Receiver<Progress>,
    /// What is kept, for whoever takes it first.
    kept: Arc<Mutex<Option<Kept>>>,
}

/// Names of changes that are on disk.
pub type Kept = mpsc::UnboundedReceiver<Vec<Token>>;

/// A job that is to be kept before anybody is told that it was taken; all of it in one transaction.
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// Its record ([`p2pnet_shared::node::new_record`]).
    pub record: Vec<u8>,
    /// The idempotency key that it came under.
    pub key: Option<KeyRecord>,
    /// The kernels that it brought along or named, which later jobs may name.
    pub kernels: Vec<KeptKernel>,
    /// Whether its source only names one of them: then it takes it from the store when it is read again.
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
    /// Names of changes that somebody waits to hear are kept.
    tokens: Vec<Token>,
    /// What is being written now, for those who read it meanwhile.
    flying: Option<Arc<Changes>>,
    /// What is held for want of room: none of it is in `changes`.
    held: HeldChanges,
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

/// What is held, apart from what is written next: however much that is, nobody else's writing takes longer for it.
#[derive(Default)]
struct HeldChanges {
    /// Large results, each with the other records of its job.
    results: Changes,
    /// Large spans.
    spans: Changes,
    /// Which results and spans those are.
    large: BTreeMap<StoreKey, Large>,
}

/// Something large that is held.
#[derive(Clone, Copy, Debug)]
struct Large {
    bytes: usize,
    /// Bytes of the file that it replaces.
    frees: u64,
    /// When it may be tried again.
    at: Instant,
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
            Promised::Job(job) => job.record.len() + job.kernels.iter().map(of_kernel).sum::<usize>(),
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
        let (fits, ask_at) = (VecDeque::new(), Instant::now());
        let (kept, receiver) = mpsc::unbounded_channel();
        let task = Task { database, caches, shared: Arc::clone(&shared), progress, kept, doubt, fits, ask_at };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("store".into()).spawn(move || runtime.block_on(task.run()))?;
        Ok(Self { shared, written, kept: Arc::new(Mutex::new(Some(receiver))) })
    }

    /// The names of changes that were given with [`Writer::change`], once those are on disk; for whoever asks first.
    pub fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        let taken = self.alter(|waiting| waiting.promises.push(Promise { what, kept }));
        if !taken {
            return Err(Trouble::Closing);
        }
        answer.await.unwrap_or_else(|_| Err(Trouble::Failed("its task has ended".into())))
    }

    /// Changes records, all of them at once: no start finds some of it done and some not. `token` is told when it is on disk, and
    /// with it all that was changed before.
    pub fn change(&self, changes: Vec<Change>, token: Option<Token>) {
        self.alter(|waiting| {
            for (key, value) in changes {
                waiting.change(key, value.map(Bytes::from));
            }
            waiting.tokens.extend(token);
        });
    }

    /// Forgets a record.
    pub fn forget(&self, key: StoreKey) {
        self.change(vec![(key, None)], None);
    }

    /// A record that is not on disk yet: `Some(None)` when it is to be forgotten.
    pub(super) fn pending(&self, key: StoreKey) -> Option<Option<Bytes>> {
        let waiting = self.shared.lock();
        let flying = || waiting.flying.as_ref().and_then(|flying| flying.records.get(&key));
        waiting.changes.records.get(&key).or_else(flying).or_else(|| waiting.held.get(key)).cloned()
    }

    /// Why nothing can be kept at the moment.
    pub fn trouble(&self) -> Option<Trouble> {
        let trouble = self.written.borrow().trouble.clone();
        trouble.or_else(|| (self.shared.lock().held.results.bytes > MOST_HELD_BYTES).then_some(Trouble::Full))
    }

    /// What waits for room on the disk while everything else is written.
    pub fn held(&self) -> Held {
        self.shared.lock().held.figures()
    }

    /// Whether anything could not be written since the start because the file is damaged.
    pub fn is_damaged(&self) -> bool {
        self.written.borrow().is_damaged
    }

    /// Figures for `/metrics`.
    pub fn figures(&self) -> WriterFigures {
        let written = self.written.borrow().written;
        let waiting = self.shared.lock();
        let waiting_bytes = waiting.changes.bytes.saturating_add(waiting.held.figures().bytes) as u64;
        WriterFigures { written, waiting_bytes, dropped: waiting.dropped }
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
    fn alter(&self, change: impl FnOnce(&mut Waiting)) -> bool {
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
        let Some(Some(old)) = self.records.insert(key, value) else { return };
        self.bytes -= old.len();
        // A span is written once: one that still waits is not on disk.
        if forgets && is_span(key) {
            self.records.remove(&key);
        }
    }

    /// Whether it is to be kept.
    fn keeps(&self, key: StoreKey) -> bool {
        self.records.get(&key).is_some_and(Option::is_some)
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

    /// Takes a large record out, and with a result the other records of its job.
    fn take_out(&mut self, record: StoreKey) -> Self {
        let mut out = Self::default();
        match record {
            StoreKey::Result(job) => {
                let spans = self.records.range(StoreKey::Span(job, 0)..=StoreKey::Span(job, u64::MAX));
                let spans: Vec<StoreKey> = spans.map(|(key, _)| *key).collect();
                let others = [StoreKey::Job(job), record, StoreKey::Over(job), StoreKey::Finished(job)];
                spans.into_iter().chain(others).for_each(|key| self.move_to(&mut out, key));
            }
            StoreKey::Job(_) | StoreKey::Span(..) | StoreKey::Over(_) | StoreKey::Finished(_) => {
                self.move_to(&mut out, record);
            }
        }
        out
    }

    fn move_to(&mut self, other: &mut Self, key: StoreKey) {
        let Some(value) = self.records.remove(&key) else { return };
        let bytes = value.as_ref().map_or(0, Bytes::len);
        self.bytes -= bytes;
        other.bytes += bytes;
        other.records.insert(key, value);
    }
}

impl HeldChanges {
    fn get(&self, key: StoreKey) -> Option<&Option<Bytes>> {
        self.spans.records.get(&key).or_else(|| self.results.records.get(&key))
    }

    fn figures(&self) -> Held {
        Held { records: self.large.len(), bytes: self.results.bytes.saturating_add(self.spans.bytes) }
    }

    fn take_out(&mut self, record: StoreKey) -> Changes {
        self.large.remove(&record);
        if is_span(record) { self.spans.take_out(record) } else { self.results.take_out(record) }
    }

    /// What may be tried by now; at the end of all time everything. Results come first, which cost more to make again, and the
    /// smallest of them, so that most find room.
    fn due(&self, now: Option<Instant>) -> Vec<(StoreKey, Large)> {
        let is_due = |large: &Large| now.is_none_or(|now| large.at <= now);
        let mut due: Vec<_> = self.large.iter().map(|(key, large)| (*key, *large)).collect();
        due.retain(|(_, large)| is_due(large));
        due.sort_by_key(|(key, large)| (is_span(*key), large.bytes));
        due
    }
}

impl Waiting {
    fn change(&mut self, key: StoreKey, value: Option<Bytes>) {
        if let Some(bytes) = value.as_ref().filter(|_| is_span(key)) {
            // What is held takes none of the room of what is small.
            let held = if bytes.len() > LARGE { self.held.spans.bytes } else { 0 };
            let before = self.changes.bytes.saturating_add(held);
            if before.saturating_add(bytes.len()) > MOST_WAITING_BYTES {
                return self.let_span_go();
            }
        }
        self.put(key, value);
    }

    /// What comes of a job whose result is held waits with that.
    fn put(&mut self, key: StoreKey, value: Option<Bytes>) {
        let older = self.held.large.contains_key(&key).then(|| self.held.take_out(key));
        let waits_with_result = self.held.large.contains_key(&StoreKey::Result(key.job()));
        let changes = if waits_with_result { &mut self.held.results } else { &mut self.changes };
        if let Some(older) = older {
            changes.put_below(&older);
        }
        changes.put(key, value);
    }

    fn let_span_go(&mut self) {
        self.dropped += 1;
        tracing::warn!("the disk is too slow or too small: a finished span is not kept for a restart");
    }

    /// Takes everything but what is held.
    fn take(&mut self) -> Batch {
        let changes = std::mem::take(&mut self.changes);
        let (promises, tokens) = (std::mem::take(&mut self.promises), std::mem::take(&mut self.tokens));
        Batch { changes: self.fly(changes), promises, tokens, taken: self.taken, was_held: false }
    }

    /// Takes something that is held.
    fn take_held(&mut self, record: StoreKey) -> Batch {
        let changes = self.held.take_out(record);
        Batch { changes: self.fly(changes), was_held: true, ..Batch::default() }
    }

    /// Holds large records of what is being written.
    fn hold(&mut self, batch: &mut Batch, these: &BTreeMap<StoreKey, Large>) {
        self.flying = None;
        let mut changes = Arc::unwrap_or_clone(std::mem::take(&mut batch.changes));
        // The results first, each with what there is of its job.
        for (key, large) in these.iter().rev() {
            let mut records = self.changes.take_out(*key);
            records.put_below(&changes.take_out(*key));
            if !records.keeps(*key) {
                // It was forgotten meanwhile, or went with its result.
                self.changes.put_below(&records);
            } else if !is_span(*key) {
                self.held.results.put_below(&records);
                self.held.large.insert(*key, *large);
            } else if self.held.spans.bytes.saturating_add(large.bytes) > MOST_WAITING_BYTES {
                self.let_span_go();
            } else {
                self.held.spans.put_below(&records);
                self.held.large.insert(*key, *large);
            }
        }
        batch.changes = self.fly(changes);
    }

    fn fly(&mut self, changes: Changes) -> Arc<Changes> {
        let changes = Arc::new(changes);
        self.flying = Some(Arc::clone(&changes));
        changes
    }
}

/// What goes into one transaction.
#[derive(Default)]
pub(super) struct Batch {
    changes: Arc<Changes>,
    promises: Vec<Promise>,
    tokens: Vec<Token>,
    taken: u64,
    /// Whether it was held, and is tried again.
    was_held: bool,
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

    /// Jobs of which nothing stays.
    pub(super) fn jobs_that_go(&self) -> impl Iterator<Item = JobId> {
        self.forgotten().filter_map(|key| match key {
            StoreKey::Over(job) => Some(job),
            // One that ends stays as one that is over.
            StoreKey::Job(job) => Some(job).filter(|job| !self.changes.keeps(StoreKey::Over(*job))),
            StoreKey::Span(..) | StoreKey::Result(_) | StoreKey::Finished(_) => None,
        })
    }

    /// Records to keep. A promise comes before every change of the same job, which is newer.
    pub(super) fn kept(&self) -> impl Iterator<Item = (StoreKey, &[u8])> {
        let promised = self.jobs().map(|job| (StoreKey::Job(job.id), job.record.as_slice()));
        let promised = promised.filter(|(key, _)| !self.changes.records.contains_key(key));
        let changed = self.changes.records.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        promised.chain(changed)
    }

    /// Idempotency keys to keep.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.jobs().filter_map(|job| job.key.as_ref())
    }

    /// Kernels to keep, and the job that each came with, if it came with one.
    pub(super) fn kernels(&self) -> impl Iterator<Item = (Option<&NewJob>, &KeptKernel)> {
        self.promises.iter().flat_map(|promise| {
            let (job, kernels) = match &promise.what {
                Promised::Job(job) => (Some(job), job.kernels.as_slice()),
                Promised::Kernel(kernel) => (None, std::slice::from_ref(kernel)),
            };
            kernels.iter().map(move |kernel| (job, kernel))
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
        is_alone.then_some(first.job())
    }

    fn has_large(&self) -> bool {
        let (changes, promises) = self.all_large();
        promises > 0 || !changes.is_empty()
    }

    /// The large changes, and how many large promises there are.
    fn all_large(&self) -> (BTreeMap<StoreKey, usize>, usize) {
        (self.changes.large(), self.promises.iter().filter(|promise| promise.is_large()).count())
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
        let changes = self.changes.large().into_iter().filter(|(_, bytes)| !fits(*bytes)).collect();
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
    /// Large ones, and the bytes of each.
    changes: BTreeMap<StoreKey, usize>,
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
    kept: mpsc::UnboundedSender<Vec<Token>>,
    /// The last transaction failed: the next one has to find room too.
    doubt: bool,
    /// What of the held has room, as far as the system told when it was asked last.
    fits: VecDeque<StoreKey>,
    /// When it is asked again.
    ask_at: Instant,
}

impl Task {
    async fn run(mut self) {
        loop {
            let (batch, closing) = self.take();
            if batch.is_empty() && closing {
                if self.shared.lock().held.large.is_empty() {
                    break;
                }
                self.try_last().await;
                continue;
            }
            let is_idle = batch.is_empty() && !self.doubt;
            self.try_to_write(batch).await;
            let is_idle = !self.try_one_held().await && is_idle;
            if !is_idle {
                continue;
            }
            if self.shared.lock().held.large.is_empty() {
                self.shared.news.notified().await;
            } else {
                // Time to ask, or news.
                let _ = timeout_at(self.ask_at, self.shared.news.notified()).await;
            }
        }
        self.database.close().await;
        self.progress.send_modify(|progress| progress.ended = true);
    }

    /// Takes what waits, but for what is held, and whether the store closes.
    fn take(&self) -> (Batch, bool) {
        let mut waiting = self.shared.lock();
        (waiting.take(), waiting.closing)
    }

    /// Tries one of what is held and has room by now; whether it did. One at a time: who waits for something small does not
    /// wait for all that is large.
    async fn try_one_held(&mut self) -> bool {
        let now = Instant::now();
        if self.doubt {
            return false;
        }
        if self.fits.is_empty() && self.ask_at <= now {
            self.fits = self.what_fits(Some(now)).await;
            self.ask_at = Instant::now() + TRY_AGAIN;
        }
        let Some(record) = self.fits.pop_front() else { return false };
        self.try_held(record).await;
        true
    }

    async fn try_held(&mut self, record: StoreKey) {
        let batch = self.shared.lock().take_held(record);
        self.try_to_write(batch).await;
    }

    /// Which of what is held has room, as far as the system tells; all that is due where it does not.
    async fn what_fits(&mut self, now: Option<Instant>) -> VecDeque<StoreKey> {
        let due = self.shared.lock().held.due(now);
        let keys = |due: &[(StoreKey, Large)]| due.iter().map(|(key, _)| *key).collect();
        if due.is_empty() {
            return VecDeque::new();
        }
        let Some(room) = self.database.room(&Batch::default()).await else { return keys(&due) };
        let fitting = |room: Room| {
            let mut taken = 0_usize;
            let mut fits = |large: &Large| {
                let fits = room.and(large.frees).lacks(taken.saturating_add(large.bytes)) == 0;
                taken += if fits { large.bytes } else { 0 };
                fits
            };
            due.iter().filter(|(_, large)| fits(large)).map(|(key, _)| *key).collect::<VecDeque<_>>()
        };
        let fits = fitting(room);
        let lacks = due.iter().map(|(_, large)| room.and(large.frees).lacks(large.bytes)).min().unwrap_or(0);
        if fits.is_empty()
            && self.caches.give_up_compiled(lacks)
            && let Some(room) = self.database.room(&Batch::default()).await
        {
            return fitting(room);
        }
        fits
    }

    /// Tries what is held once more, and lets go what has no room at the end either.
    async fn try_last(&mut self) {
        for record in self.what_fits(None).await {
            self.try_held(record).await;
            if self.doubt {
                return;
            }
        }
        let gone = std::mem::take(&mut self.shared.lock().held);
        for record in gone.large.keys() {
            tracing::error!(?record, "there is no room on the disk for it: its job goes on at the next start");
        }
    }

    /// Writes a batch, in which everything is new or nothing is.
    async fn try_to_write(&mut self, mut batch: Batch) {
        self.leave_out_what_has_no_room(&mut batch).await;
        if batch.is_empty() && !self.doubt {
            return self.wrote(&mut batch);
        }
        let mut written = self.database.write(&batch, self.doubt).await;
        if let Err(trouble) = written.clone()
            && batch.has_large()
            && may_be_for_its_size(&trouble)
        {
            // There may be room for the others, and for each of these alone.
            let (changes, promises) = batch.all_large();
            let again = if changes.len() + promises == 1 { TRY_LARGE_AGAIN } else { Duration::ZERO };
            self.leave_out(&mut batch, WithoutRoom { changes, promises, lacks: 0 }, again, &trouble).await;
            self.note_damage(&trouble);
            // Where it was not for want of room, only what is small tells whether anything can be written.
            self.doubt |= trouble != Trouble::Full;
            if batch.is_empty() && !self.doubt {
                return self.wrote(&mut batch);
            }
            written = self.database.write(&batch, self.doubt).await;
        }
        if !batch.was_held && written == Err(Trouble::Full) && self.caches.give_up(&mut self.database).await {
            written = self.database.write(&batch, self.doubt).await;
        }
        match &written {
            Ok(()) => self.succeeded(&mut batch),
            Err(trouble) => self.failed(&mut batch, trouble),
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
        self.leave_out(batch, without, Duration::ZERO, &Trouble::Full).await;
    }

    async fn leave_out(&mut self, batch: &mut Batch, without: WithoutRoom, again: Duration, why: &Trouble) {
        let promises = batch.promises.len() - without.promises;
        batch.promises.split_off(promises).into_iter().for_each(|promise| promise.answer(&Err(why.clone())));
        if without.changes.is_empty() {
            return;
        }
        let mut these = BTreeMap::new();
        for (record, bytes) in without.changes {
            if !batch.was_held {
                tracing::warn!(?record, ?why, "it cannot be written now; it waits, and what is small is written");
            }
            let frees = if is_span(record) { 0 } else { self.database.span_bytes(record.job()).await };
            these.insert(record, Large { bytes, frees, at: Instant::now() + again });
        }
        self.shared.lock().hold(batch, &these);
    }

    /// There is nothing left to write of it.
    fn wrote(&self, batch: &mut Batch) {
        self.shared.lock().flying = None;
        self.tell_kept(batch);
        self.progress.send_if_modified(|progress| {
            let is_news = progress.written < batch.taken;
            progress.written = progress.written.max(batch.taken);
            is_news
        });
    }

    /// Nobody may be listening.
    fn tell_kept(&self, batch: &mut Batch) {
        if !batch.tokens.is_empty() {
            let _ = self.kept.send(std::mem::take(&mut batch.tokens));
        }
    }

    fn succeeded(&mut self, batch: &mut Batch) {
        self.doubt = false;
        self.shared.lock().flying = None;
        self.tell_kept(batch);
        if self.progress.borrow().trouble.is_some() {
            tracing::info!("the store can be written again");
        }
        self.progress.send_modify(|progress| {
            progress.written = progress.written.max(batch.taken);
            progress.trouble = None;
        });
    }

    fn note_damage(&self, trouble: &Trouble) {
        if *trouble == Trouble::Damaged {
            self.progress.send_modify(|progress| progress.is_damaged = true);
        }
    }

    /// A promise may just have been too large for what room there is: only a transaction without one that fails as well
    /// says that nothing can be kept.
    fn failed(&mut self, batch: &mut Batch, trouble: &Trouble) {
        self.doubt = true;
        self.note_damage(trouble);
        {
            let mut waiting = self.shared.lock();
            waiting.changes.put_below(&batch.changes);
            drop(waiting.tokens.splice(..0, batch.tokens.drain(..)));
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

/// Whether something smaller may be written although this was not.
fn may_be_for_its_size(trouble: &Trouble) -> bool {
    match trouble {
        // The largest size of a file is told as any other failure to write it, and another page may be sound.
        Trouble::Full | Trouble::Damaged | Trouble::Failed(_) => true,
        Trouble::ReadOnly | Trouble::Gone | Trouble::Closing => false,
    }
}

/// Of everything else only what is small is kept.
fn may_be_large(key: StoreKey) -> bool {
    match key {
        StoreKey::Span(..) | StoreKey::Result(_) => true,
        StoreKey::Job(_) | StoreKey::Over(_) | StoreKey::Finished(_) => false,
    }
}

fn is_span(key: StoreKey) -> bool {
    matches!(key, StoreKey::Span(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_forgotten_while_it_and_its_jobs_result_are_held_is_gone() {
        let job = JobId([7; 16]);
        let (span, result) = (StoreKey::Span(job, 3), StoreKey::Result(job));
        let mut waiting = Waiting::default();
        let large = Large { bytes: 5, frees: 0, at: Instant::now() };
        waiting.held.spans.put(span, Some(Bytes::from_static(b"parts")));
        waiting.held.results.put(result, Some(Bytes::from_static(b"whole")));
        waiting.held.large.extend([span, result].map(|key| (key, large)));
        waiting.put(span, None);
        assert!(waiting.changes.records.is_empty());
        assert_eq!(waiting.held.figures(), Held { records: 1, bytes: 5 });
        // What was written earlier goes with the result.
        waiting.put(StoreKey::Span(job, 4), None);
        assert!(waiting.changes.records.is_empty());
        assert_eq!(waiting.held.get(StoreKey::Span(job, 4)), Some(&None));
    }
}
