//! What a tab keeps in IndexedDB: its identity, its settings, its jobs. Where there is none, it works without and says so.
//!
//! One database for all tabs; every record's key begins with the tab's number (see `slot`). Writes are queued and go out
//! in one transaction after another, so thousands of small records a second cost few transactions and keep their order.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    rc::Rc,
};

use futures::{channel::oneshot, future::Either};
use gloo::timers::future::TimeoutFuture;
use js_sys::{Array, Uint8Array};
use p2pnet_shared::{
    id::JobId,
    node::{StoreKey, is_damaged_line},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{IdbDatabase, IdbKeyRange, IdbOpenDbRequest, IdbRequest, IdbTransaction, IdbTransactionMode};

use crate::js;

const DATABASE: &str = "p2pnet";
const VERSION: u32 = 1;
const RECORDS: &str = "records";
/// Sorts after every character of a key.
const AFTER_ALL: char = '\u{ffff}';

/// How long the browser may take to open the database, and to read from it, in milliseconds. The page's own timer counts
/// them: a tab whose workers do not start has no other.
const OPEN_MILLIS: u32 = 4_000;
const READ_MILLIS: u32 = 10_000;

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
pub struct Store {
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
    writing: bool,
}

/// What the node had kept when it ended.
#[derive(Default)]
pub struct Kept {
    /// All but results, and the records of jobs that are over.
    pub records: Vec<(StoreKey, Vec<u8>)>,
    /// Bytes of the results of those jobs whose [`StoreKey::Job`] is among the records.
    pub results: BTreeMap<JobId, u64>,
}

/// An open database, before the tab knows its number.
pub struct Opened(IdbDatabase);

/// Opens the database, making it if need be.
pub async fn open() -> Result<Opened, StoreError> {
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
pub async fn within<T>(millis: u32, future: impl Future<Output = T>) -> Option<T> {
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
    pub fn for_slot(self, slot: u32, failed: impl Fn(StoreError) + 'static) -> Store {
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
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (_transaction, records) = self.inner.transaction(IdbTransactionMode::Readonly)?;
        let key = JsValue::from_str(&self.inner.own_key(name));
        let request = records.get(&key).map_err(error)?;
        let value = within(READ_MILLIS, answer(&request)).await.ok_or(StoreError::NoAnswer)??;
        Ok(value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec))
    }

    /// Keeps a named record of the tab itself.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.inner.clone().order(self.inner.own_key(name), Some(bytes));
    }

    /// What the node needs of what it had kept: no results, and of jobs that are over only what lists show, but where that is
    /// damaged what it can be made anew from.
    pub async fn node_records(&self) -> Result<Kept, StoreError> {
        let (finished, spans, jobs) =
            futures::join!(self.records_of("finished"), self.records_of("span"), self.records_of("job"));
        let mut records = finished?;
        let sound = records.iter().filter(|(_, line)| !is_damaged_line(line)).map(|(key, _)| *key);
        let over: BTreeSet<StoreKey> = sound.collect();
        records.extend(spans?);
        let jobs = jobs?.into_iter().filter(|(key, _)| match key {
            StoreKey::Job(id) => !over.contains(&StoreKey::Finished(*id)),
            StoreKey::Span(..) | StoreKey::Result(_) | StoreKey::Finished(_) => true,
        });
        records.extend(jobs);
        let results = self.result_bytes(&records).await?;
        Ok(Kept { records, results })
    }

    /// How many bytes the results have of those jobs whose [`StoreKey::Job`] is among the records: hardly any has one, since
    /// they are not over but where a line is damaged.
    async fn result_bytes(&self, records: &[(StoreKey, Vec<u8>)]) -> Result<BTreeMap<JobId, u64>, StoreError> {
        let mut results = BTreeMap::new();
        // Most starts find none, and a question is a way through the browser before the node is up.
        if !records.iter().any(|(key, _)| matches!(key, StoreKey::Job(_))) {
            return Ok(results);
        }
        for key in self.keys_of("result").await? {
            if let StoreKey::Result(id) = key
                && records.iter().any(|(key, _)| *key == StoreKey::Job(id))
                && let Some(result) = self.node_record(key).await?
            {
                results.insert(id, result.len() as u64);
            }
        }
        Ok(results)
    }

    /// The keys of all records of the node that begin with a noun.
    async fn keys_of(&self, noun: &str) -> Result<Vec<StoreKey>, StoreError> {
        let (_transaction, records) = self.inner.transaction(IdbTransactionMode::Readonly)?;
        let (prefix, range) = self.inner.range(noun)?;
        let keys = records.get_all_keys_with_key(&range).map_err(error)?;
        let keys: Array = within(READ_MILLIS, answer(&keys)).await.ok_or(StoreError::NoAnswer)??.unchecked_into();
        Ok(keys.iter().filter_map(|key| read_key(key.as_string()?.strip_prefix(&prefix)?)).collect())
    }

    /// Every record of the node whose key begins with a noun.
    async fn records_of(&self, noun: &str) -> Result<Vec<(StoreKey, Vec<u8>)>, StoreError> {
        let (_transaction, records) = self.inner.transaction(IdbTransactionMode::Readonly)?;
        let (prefix, range) = self.inner.range(noun)?;
        // Both requests go out before the first answer is awaited, else the transaction would end in between.
        let keys = records.get_all_keys_with_key(&range).map_err(error)?;
        let values = records.get_all_with_key(&range).map_err(error)?;
        let both = async { futures::join!(answer(&keys), answer(&values)) };
        let (keys, values) = within(READ_MILLIS, both).await.ok_or(StoreError::NoAnswer)?;
        let (keys, values): (Array, Array) = (keys?.unchecked_into(), values?.unchecked_into());
        let restored = keys.iter().zip(values.iter()).filter_map(|(key, value)| {
            let key = read_key(key.as_string()?.strip_prefix(&prefix)?)?;
            Some((key, value.dyn_ref::<Uint8Array>()?.to_vec()))
        });
        Ok(restored.collect())
    }

    /// A record of the node as it stands after every order so far.
    pub async fn node_record(&self, key: StoreKey) -> Result<Option<Vec<u8>>, StoreError> {
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

    /// Keeps a record of the node.
    pub fn save(&self, key: StoreKey, bytes: Vec<u8>) {
        self.inner.clone().order(self.inner.node_key(key), Some(bytes));
    }

    /// Forgets a record of the node.
    pub fn forget(&self, key: StoreKey) {
        self.inner.clone().order(self.inner.node_key(key), None);
    }
}

impl Inner {
    fn own_key(&self, name: &str) -> String {
        format!("{}tab/{name}", self.prefix)
    }

    /// With what the keys of the node's records begin, and the range of those that go on with a noun.
    fn range(&self, noun: &str) -> Result<(String, IdbKeyRange), StoreError> {
        let prefix = format!("{}node/", self.prefix);
        let first = format!("{prefix}{noun}/");
        let last = format!("{first}{AFTER_ALL}");
        let range = IdbKeyRange::bound(&JsValue::from_str(&first), &JsValue::from_str(&last)).map_err(error)?;
        Ok((prefix, range))
    }

    fn node_key(&self, key: StoreKey) -> String {
        format!("{}node/{}", self.prefix, key_text(key))
    }

    fn transaction(&self, mode: IdbTransactionMode) -> Result<(IdbTransaction, web_sys::IdbObjectStore), StoreError> {
        let transaction = self.database.transaction_with_str_and_mode(RECORDS, mode).map_err(error)?;
        let records = transaction.object_store(RECORDS).map_err(error)?;
        Ok((transaction, records))
    }

    fn order(self: Rc<Self>, key: String, write: Option<Vec<u8>>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.writes.insert(key, write);
        if !std::mem::replace(&mut waiting.writing, true) {
            spawn_local(self.clone().write_all());
        }
    }

    /// One transaction after another until nothing waits.
    async fn write_all(self: Rc<Self>) {
        loop {
            let writes = std::mem::take(&mut self.waiting.borrow_mut().writes);
            if writes.is_empty() {
                self.waiting.borrow_mut().writing = false;
                return;
            }
            if let Err(error) = self.write(writes).await {
                (self.failed)(error);
            }
        }
    }

    async fn write(&self, writes: BTreeMap<String, Option<Vec<u8>>>) -> Result<(), StoreError> {
        let (transaction, records) = self.transaction(IdbTransactionMode::Readwrite)?;
        for (key, write) in writes {
            let key = JsValue::from_str(&key);
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

fn key_text(key: StoreKey) -> String {
    match key {
        StoreKey::Job(id) => format!("job/{id}"),
        StoreKey::Span(id, start) => format!("span/{id}/{start:016x}"),
        StoreKey::Result(id) => format!("result/{id}"),
        StoreKey::Finished(id) => format!("finished/{id}"),
    }
}

fn read_key(text: &str) -> Option<StoreKey> {
    let (noun, name) = text.split_once('/')?;
    match noun {
        "job" => name.parse().ok().map(StoreKey::Job),
        "result" => name.parse().ok().map(StoreKey::Result),
        "finished" => name.parse().ok().map(StoreKey::Finished),
        "span" => {
            let (id, start) = name.split_once('/')?;
            let id: JobId = id.parse().ok()?;
            Some(StoreKey::Span(id, u64::from_str_radix(start, 16).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back() {
        let id = JobId([0x5a; 16]);
        for key in [
            StoreKey::Job(id),
            StoreKey::Span(id, 0),
            StoreKey::Span(id, u64::MAX),
            StoreKey::Result(id),
            StoreKey::Finished(id),
        ] {
            assert_eq!(read_key(&key_text(key)), Some(key));
        }
    }

    #[test]
    fn keys_of_other_versions_are_passed_over() {
        for text in ["", "job", "job/xyz", "span/5a", "offer/5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"] {
            assert_eq!(read_key(text), None);
        }
    }
}
