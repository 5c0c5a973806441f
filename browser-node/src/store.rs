//! What a tab keeps in IndexedDB: its identity, its settings, its jobs. Where there is none, it works without and says so.
//!
//! One database for all tabs; every record's key begins with the tab's number (see `slot`). Those of the node go on with the
//! name that the node gives them, in hexadecimal digits: IndexedDB compares both alike. Writes are queued and go out in one
//! transaction after another, so thousands of small records a second cost few transactions and keep their order.

mod before;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Range,
    pin::pin,
    rc::Rc,
};

use futures::{channel::oneshot, future::Either};
use gloo::timers::future::TimeoutFuture;
use js_sys::{Array, Uint8Array};
use p2pnet_shared::{
    node::{Line, mend_line, read_line},
    store::{Change, Noun, StoreKey},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{IdbDatabase, IdbKeyRange, IdbOpenDbRequest, IdbRequest, IdbTransaction, IdbTransactionMode};

use crate::js;

const DATABASE: &str = "p2pnet";
const VERSION: u32 = 1;
const RECORDS: &str = "records";

/// How long the browser may take to open the database, and to read from it, in milliseconds. The page's own timer counts
/// them: a tab whose workers do not start has no other.
const OPEN_MILLIS: u32 = 4_000;
const READ_MILLIS: u32 = 10_000;
/// Pauses before what could not be written is tried again, the first and the longest.
const AGAIN_MILLIS: (u32, u32) = (1_000, 60_000);

/// Why nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another tab uses the database in another version.
    #[error("another tab of p2pnet, of another version, holds the database")]
    Blocked,
    /// The browser neither opened it nor refused to.
    #[error("the browser's database does not answer")]
    NoAnswer,
    /// No number was left for this tab.
    #[error("too many tabs of p2pnet are open")]
    TooManyTabs,
    /// The browser refused, for this reason.
    #[error("{0}")]
    Failed(String),
}

/// The records of one tab.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Rc<Inner>,
}

struct Inner {
    database: IdbDatabase,
    prefix: String,
    waiting: RefCell<Waiting>,
    failed: Box<dyn Fn(StoreError)>,
}

#[derive(Default)]
struct Waiting {
    /// The newest order for each key: bytes to keep, or `None` to forget.
    writes: BTreeMap<String, Option<Vec<u8>>>,
    /// Who hears when they are kept, or when it was told that they wait on.
    kept: Vec<Box<dyn FnOnce()>>,
    writing: bool,
}

/// What the node had kept when it ended.
#[derive(Default)]
pub(crate) struct Restored {
    /// What it needs of jobs that are not over.
    pub records: Vec<(StoreKey, Vec<u8>)>,
    /// Those that are over.
    pub lines: Vec<Line>,
    /// Records whose names this version does not know.
    pub unknown: u64,
}

/// An open database, before the tab knows its number.
pub(crate) struct Opened(IdbDatabase);

/// Opens the database, making it if need be.
pub(crate) async fn open() -> Result<Opened, StoreError> {
    let window = web_sys::window().ok_or_else(|| StoreError::Failed("there is no window".into()))?;
    let factory = window
        .indexed_db()
        .map_err(error)?
        .ok_or_else(|| StoreError::Failed("this browser has no IndexedDB".into()))?;
    let request: IdbOpenDbRequest = factory.open_with_u32(DATABASE, VERSION).map_err(error)?;
    let upgraded = request.clone();
    let upgrade = Closure::<dyn FnMut()>::new(move || {
        if let Ok(database) = upgraded.result().and_then(|result| result.dyn_into::<IdbDatabase>()) {
            let _ = database.create_object_store(RECORDS);
        }
    });
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    upgrade.forget(); // may be called after this function gave up
    let blocked = Rc::new(Cell::new(false));
    let is_blocked = blocked.clone();
    let on_blocked = Closure::<dyn FnMut()>::new(move || is_blocked.set(true));
    request.set_onblocked(Some(on_blocked.as_ref().unchecked_ref()));
    on_blocked.forget();
    match within(OPEN_MILLIS, answer(&request)).await {
        Some(opened) => {
            let database: IdbDatabase = opened?.dyn_into().map_err(error)?;
            make_way(&database);
            Ok(Opened(database))
        }
        None => {
            close_when_open(&request);
            Err(if blocked.get() { StoreError::Blocked } else { StoreError::NoAnswer })
        }
    }
}

/// What a future gives, if it gives it in time (milliseconds of the page's own timer).
pub(crate) async fn within<T>(millis: u32, future: impl Future<Output = T>) -> Option<T> {
    match futures::future::select(pin!(future), TimeoutFuture::new(millis)).await {
        Either::Left((given, _)) => Some(given),
        Either::Right(((), _)) => None,
    }
}

/// Lets other tabs upgrade or delete the database: this one then keeps nothing more, and says so.
fn make_way(database: &IdbDatabase) {
    let closed = database.clone();
    let on_change = Closure::<dyn FnMut()>::new(move || closed.close());
    database.set_onversionchange(Some(on_change.as_ref().unchecked_ref()));
    on_change.forget(); // lives as long as the tab
}

/// A database that opens after nobody waits for it must not stand in other tabs' way.
fn close_when_open(request: &IdbOpenDbRequest) {
    let late = request.clone();
    let on_success = Closure::<dyn FnMut()>::new(move || {
        if let Ok(database) = late.result().and_then(|result| result.dyn_into::<IdbDatabase>()) {
            database.close();
        }
    });
    request.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
    request.set_onerror(None);
    on_success.forget();
}

impl Opened {
    /// The records of tab number `slot`. `failed` hears of writes that did not go through.
    pub(crate) fn for_slot(self, slot: u32, failed: impl Fn(StoreError) + 'static) -> Store {
        let inner = Inner {
            database: self.0,
            prefix: format!("{slot}/"),
            waiting: RefCell::default(),
            failed: Box::new(failed),
        };
        Store { inner: Rc::new(inner) }
    }
}

impl Store {
    /// One named record of the tab itself (its secret, its settings).
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (_transaction, records) = self.inner.transaction(IdbTransactionMode::Readonly)?;
        let key = JsValue::from_str(&self.inner.own_key(name));
        let request = records.get(&key).map_err(error)?;
        let value = within(READ_MILLIS, answer(&request)).await.ok_or(StoreError::NoAnswer)??;
        Ok(value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec))
    }

    /// Keeps a named record of the tab itself.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.inner.clone().order(vec![(self.inner.own_key(name), Some(bytes))], None);
    }

    /// What the node needs of what it had kept. Records of before are taken over first.
    pub(crate) async fn node_records(&self) -> Result<Restored, StoreError> {
        let [below, above] = Noun::unknown_names();
        let (of_before, jobs, spans, lines, below, above) = futures::join!(
            self.take_over(),
            self.records_of(Noun::Job.names()),
            self.records_of(Noun::Span.names()),
            self.records_of(Noun::Finished.names()),
            self.names_of(below),
            self.names_of(above)
        );
        let (mut records, mut over) = (Vec::new(), Vec::new());
        for (key, record) in [of_before?, jobs?, spans?, lines?].concat() {
            match key {
                StoreKey::Job(_) | StoreKey::Span(..) => records.push((key, record)),
                StoreKey::Finished(_) => over.push((key, record)),
                StoreKey::Over(_) | StoreKey::Result(_) => {}
            }
        }
        let mut lines = Vec::with_capacity(over.len());
        for (key, record) in over {
            lines.push(match read_line(key.job(), &record, true) {
                Some(line) => line,
                None => self.mended(key).await?,
            });
        }
        Ok(Restored { records, lines, unknown: (below?.len() + above?.len()) as u64 })
    }

    /// A line that is damaged, made anew from what else is kept of its job.
    async fn mended(&self, line: StoreKey) -> Result<Line, StoreError> {
        let job = line.job();
        let (over, result) =
            futures::join!(self.node_record(StoreKey::Over(job)), self.node_record(StoreKey::Result(job)));
        Ok(mend_line(job, over?.as_deref(), result?.map(|result| result.len() as u64)))
    }

    /// The names of all records of the node within a range.
    async fn names_of(&self, names: Range<Vec<u8>>) -> Result<Vec<String>, StoreError> {
        let (_transaction, records) = self.inner.transaction(IdbTransactionMode::Readonly)?;
        let keys = records.get_all_keys_with_key(&self.inner.range(&names)?.into()).map_err(error)?;
        let keys: Array = within(READ_MILLIS, answer(&keys)).await.ok_or(StoreError::NoAnswer)??.unchecked_into();
        Ok(keys.iter().filter_map(|key| key.as_string()).collect())
    }

    /// Every record of the node within a range of names.
    async fn records_of(&self, names: Range<Vec<u8>>) -> Result<Vec<(StoreKey, Vec<u8>)>, StoreError> {
        let found = self.inner.all(&self.inner.range(&names)?).await?;
        let prefix = self.inner.node_prefix();
        let read = |(text, record): (String, Vec<u8>)| Some((read_key(text.strip_prefix(&prefix)?)?, record));
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// A record of the node as it stands after every order so far.
    pub(crate) async fn node_record(&self, key: StoreKey) -> Result<Option<Vec<u8>>, StoreError> {
        let text = self.inner.node_key(key);
        // What waits is in no transaction yet; what is being written comes before any read that begins now.
        if let Some(waiting) = self.inner.waiting.borrow().writes.get(&text) {
            return Ok(waiting.clone());
        }
        let (_transaction, records) = self.inner.transaction(IdbTransactionMode::Readonly)?;
        let request = records.get(&JsValue::from_str(&text)).map_err(error)?;
        let value = within(READ_MILLIS, answer(&request)).await.ok_or(StoreError::NoAnswer)??;
        Ok(value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec))
    }

    /// Changes records of the node, all of them at once.
    pub(crate) fn change(&self, changes: Vec<Change>) {
        let named = changes.into_iter().map(|(key, record)| (self.inner.node_key(key), record));
        self.inner.clone().order(named.collect(), None);
    }

    /// The same; `kept` is called once they are kept, or it was told that they wait, since the browser refuses to.
    pub(crate) fn keep(&self, changes: Vec<Change>, kept: impl FnOnce() + 'static) {
        let named = changes.into_iter().map(|(key, record)| (self.inner.node_key(key), record));
        self.inner.clone().order(named.collect(), Some(Box::new(kept)));
    }
}

impl Inner {
    fn own_key(&self, name: &str) -> String {
        format!("{}tab/{name}", self.prefix)
    }

    /// With what the keys of the node's records begin.
    fn node_prefix(&self) -> String {
        format!("{}record/", self.prefix)
    }

    /// The range of keys within which names lie.
    fn range(&self, names: &Range<Vec<u8>>) -> Result<IdbKeyRange, StoreError> {
        let [first, end] = [&names.start, &names.end].map(|name| format!("{}{}", self.node_prefix(), hex(name)));
        bound(&first, &end)
    }

    fn node_key(&self, key: StoreKey) -> String {
        format!("{}{}", self.node_prefix(), hex(&key.to_bytes()))
    }

    /// All records within a range of keys.
    async fn all(&self, range: &IdbKeyRange) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (_transaction, records) = self.transaction(IdbTransactionMode::Readonly)?;
        // Both requests go out before the first answer is awaited, else the transaction would end in between.
        let keys = records.get_all_keys_with_key(range).map_err(error)?;
        let values = records.get_all_with_key(range).map_err(error)?;
        let both = async { futures::join!(answer(&keys), answer(&values)) };
        let (keys, values) = within(READ_MILLIS, both).await.ok_or(StoreError::NoAnswer)?;
        let (keys, values): (Array, Array) = (keys?.unchecked_into(), values?.unchecked_into());
        let read = |(key, value): (JsValue, JsValue)| Some((key.as_string()?, value.dyn_ref::<Uint8Array>()?.to_vec()));
        Ok(keys.iter().zip(values.iter()).filter_map(read).collect())
    }

    fn transaction(&self, mode: IdbTransactionMode) -> Result<(IdbTransaction, web_sys::IdbObjectStore), StoreError> {
        let transaction = self.database.transaction_with_str_and_mode(RECORDS, mode).map_err(error)?;
        let records = transaction.object_store(RECORDS).map_err(error)?;
        Ok((transaction, records))
    }

    fn order(self: Rc<Self>, changes: Vec<(String, Option<Vec<u8>>)>, kept: Option<Box<dyn FnOnce()>>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.writes.extend(changes);
        waiting.kept.extend(kept);
        if !std::mem::replace(&mut waiting.writing, true) {
            spawn_local(self.clone().write_all());
        }
    }

    /// One transaction after another until nothing waits. What fails waits on: it can be read meanwhile, and is tried again.
    async fn write_all(self: Rc<Self>) {
        let mut pause = AGAIN_MILLIS.0;
        loop {
            let (writes, kept) = {
                let mut waiting = self.waiting.borrow_mut();
                (std::mem::take(&mut waiting.writes), std::mem::take(&mut waiting.kept))
            };
            if writes.is_empty() && kept.is_empty() {
                self.waiting.borrow_mut().writing = false;
                return;
            }
            let outcome = self.write(&writes).await;
            if outcome.is_err() {
                let mut waiting = self.waiting.borrow_mut();
                for (key, write) in writes {
                    waiting.writes.entry(key).or_insert(write);
                }
            }
            kept.into_iter().for_each(|kept| kept());
            match outcome {
                Ok(()) => pause = AGAIN_MILLIS.0,
                Err(error) => {
                    (self.failed)(error);
                    TimeoutFuture::new(pause).await;
                    pause = (2 * pause).min(AGAIN_MILLIS.1);
                }
            }
        }
    }

    async fn write(&self, writes: &BTreeMap<String, Option<Vec<u8>>>) -> Result<(), StoreError> {
        let (transaction, records) = self.transaction(IdbTransactionMode::Readwrite)?;
        for (key, write) in writes {
            let key = JsValue::from_str(key);
            match write {
                Some(bytes) => records.put_with_key(&Uint8Array::from(bytes.as_slice()), &key).map_err(error)?,
                None => records.delete(&key).map_err(error)?,
            };
        }
        let (done, outcome) = oneshot::channel();
        let done = Rc::new(RefCell::new(Some(done)));
        let (completed, failed) = (done.clone(), done);
        let on_complete = Closure::<dyn FnMut()>::new(move || tell(&completed, true));
        let on_failed = Closure::<dyn FnMut()>::new(move || tell(&failed, false));
        transaction.set_oncomplete(Some(on_complete.as_ref().unchecked_ref()));
        transaction.set_onabort(Some(on_failed.as_ref().unchecked_ref()));
        let succeeded = outcome.await.unwrap_or(false);
        transaction.set_oncomplete(None);
        transaction.set_onabort(None);
        if succeeded {
            return Ok(());
        }
        let reason = transaction.error().map_or_else(|| "the write was aborted".into(), |reason| reason.message());
        Err(StoreError::Failed(reason))
    }
}

fn tell<T>(sender: &RefCell<Option<oneshot::Sender<T>>>, outcome: T) {
    if let Some(sender) = sender.borrow_mut().take() {
        let _ = sender.send(outcome);
    }
}

/// The answer to a request, when it comes. One that nobody waits for any more is not listened to.
async fn answer(request: &IdbRequest) -> Result<JsValue, StoreError> {
    let (done, outcome) = oneshot::channel();
    let done = Rc::new(RefCell::new(Some(done)));
    let (succeeded, failed) = (done.clone(), done);
    let on_success = Closure::<dyn FnMut()>::new(move || tell(&succeeded, true));
    let on_error = Closure::<dyn FnMut(web_sys::Event)>::new(move |event: web_sys::Event| {
        event.prevent_default(); // told through the result; not also as an error of the page
        tell(&failed, false);
    });
    request.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
    request.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    let listening = Listening(request);
    let succeeded = outcome.await.unwrap_or(false);
    drop(listening);
    if succeeded {
        return request.result().map_err(error);
    }
    let reason = request.error().ok().flatten().map_or_else(|| "the request failed".into(), |reason| reason.message());
    Err(StoreError::Failed(reason))
}

/// Takes the listeners off a request before they are gone.
struct Listening<'a>(&'a IdbRequest);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.set_onsuccess(None);
        self.0.set_onerror(None);
    }
}

fn error(thrown: impl Into<JsValue>) -> StoreError {
    StoreError::Failed(js::thrown_text(&thrown.into()))
}

/// The keys from one on, up to another.
fn bound(first: &str, end: &str) -> Result<IdbKeyRange, StoreError> {
    IdbKeyRange::bound_with_lower_open_and_upper_open(&first.into(), &end.into(), false, true).map_err(error)
}

fn hex(name: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    name.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads a name of a record of the node; `None` for those of other versions.
fn read_key(text: &str) -> Option<StoreKey> {
    let digit = |at: u8| char::from(at).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    StoreKey::read(&text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?)
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::id::JobId;

    use super::*;

    #[test]
    fn every_key_reads_back_and_stands_as_its_name_does() {
        let id = JobId([0x5a; 16]);
        let keys = [
            StoreKey::Job(id),
            StoreKey::Span(id, 0),
            StoreKey::Span(id, u64::MAX),
            StoreKey::Result(id),
            StoreKey::Over(id),
            StoreKey::Finished(id),
        ];
        for key in keys {
            assert_eq!(read_key(&hex(&key.to_bytes())), Some(key));
        }
        assert!(keys.is_sorted_by_key(|key| hex(&key.to_bytes())));
    }

    #[test]
    fn keys_of_other_versions_are_passed_over() {
        for text in ["", "0", "01", "xy", "015a", "06000000000000000000000000000000000", "0\u{e9}"] {
            assert_eq!(read_key(text), None);
        }
    }
}
