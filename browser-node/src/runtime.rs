//! A node inside a tab, from its first moment: identity, store, workers, network.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures::{
    Stream,
    channel::{mpsc, oneshot},
};
use p2pnet_net::{
    handle::Handle,
    host::{HostFact, Start},
};
use p2pnet_shared::{
    api::ProviderSettings,
    blob::Blob,
    clock::Mark,
    id::{Hash, JobId, NodeId},
    job::Job,
    kernel::REWRITE_VERSION,
    node::{Keep, NodeConfig, held_bytes, new_record},
    refusal::{Code, Refusal},
    store::StoreKey,
    units::Millis,
    wire::Role,
};
use wasm_bindgen_futures::spawn_local;

use crate::{
    clock,
    device::{Device, Watch},
    dry_run::{self, DryRun},
    host::TabHost,
    js,
    kinds::{Kinds, Readers},
    pieces,
    pool::Pool,
    seeds::{self, Question},
    settings::Settings,
    slot,
    store::{self, Restored, Store, StoreError},
    ticker::Ticker,
};

/// How many facts may wait for the loop, ends of runs apart: those always find room.
const FACT_QUEUE: usize = 16;
/// What a tab keeps of finished jobs: browsers give pages little room, and take all of it back when it runs out.
const KEEP: Keep = Keep { age: Millis(7 * 24 * 3_600_000), bytes: 128 << 20, jobs: 200 };
const SECRET: &str = "secret";
const SETTINGS: &str = "settings";
const CLOCK: &str = "clock";

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the node describes itself to others; at most 64 characters.
    pub agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { agent: concat!("p2pnet ", env!("CARGO_PKG_VERSION"), " browser").into() }
    }
}

/// Why a tab cannot be a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Without chance there is no identity.
    #[error("this browser gives no random numbers")]
    NoRandomness,
    /// The network part did not start.
    #[error("the network part did not start: {0}")]
    Network(String),
}

/// Where the tab keeps what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In IndexedDB: a reload goes on where it was.
    Kept,
    /// Only in memory, for this reason: a reload begins anew.
    MemoryOnly(StoreError),
}

/// How the search for the relay goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedSearch {
    /// Not answered yet.
    Asking,
    /// The relay said how to reach it.
    Found,
    /// The last try failed, for this reason; it is tried again.
    Failed(String),
}

/// What may be wrong with a tab, to be told to the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where the tab keeps what it knows.
    pub storage: Storage,
    /// Why workers do not start, while they do not.
    pub workers: Option<String>,
    /// Whether workers start, as far as is known: while they do not, nothing is offered to others.
    pub can_compute: bool,
    /// Why kernels that need the interpreter fail here, while it does not arrive.
    pub interpreter: Option<String>,
    /// Why jobs that were kept do not go on, while what reads them does not arrive.
    pub paused_jobs: Option<String>,
    /// How the search for the relay goes.
    pub seed: SeedSearch,
    /// Which of this browser's nodes this tab is, from 1; absent if its identity ends with the tab.
    pub tab: Option<u32>,
}

/// A running node. See the crate's page for what it offers.
#[derive(Clone)]
pub struct NodeRuntime {
    handle: Handle,
    shared: Rc<Shared>,
}

impl PartialEq for NodeRuntime {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

struct Shared {
    device: RefCell<Option<Watch>>,
    settings: Cell<Settings>,
    storage: RefCell<Storage>,
    seed: RefCell<SeedSearch>,
    tab: Cell<Option<u32>>,
    pool: RefCell<Option<Pool>>,
    paused_jobs: RefCell<Option<String>>,
    store: RefCell<Option<Store>>,
    listeners: RefCell<Vec<mpsc::Sender<()>>>,
}

/// Makes this tab a node. Returns once it runs; it connects on its own from then on.
pub async fn start(options: Options) -> Result<NodeRuntime, StartError> {
    let window = web_sys::window().ok_or_else(|| StartError::Network("there is no window".into()))?;
    let shared = Shared::new();
    let changed: Rc<dyn Fn()> = {
        let shared = Rc::downgrade(&shared);
        Rc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.tell_listeners();
            }
        })
    };
    let ticker = Ticker::start();
    // On its way before anything is to be computed.
    spawn_local(async { drop(pieces::worker_module().await) });
    let pool = Pool::new(changed.clone());
    *shared.pool.borrow_mut() = Some(pool.clone());
    let watch = Watch::new(&window, changed);
    shared.settings.set(Settings::for_device(&watch.now()));
    *shared.device.borrow_mut() = Some(watch);

    let mut seed = Question::ask_early();
    let (opened, slot) = futures::join!(store::open(), slot::take(&ticker));
    shared.tab.set(slot.as_ref().ok().copied());
    let store = open_store(&shared, opened, slot);
    // All reads at once: each takes its way through the browser, however little it reads.
    let (secret, (), (), kept) = futures::join!(
        secret(&shared, store.clone()),
        restore_settings(&shared, store.as_ref()),
        restore_clock(store.as_ref()),
        records(store.as_ref())
    );
    let (secret, store) = secret?;
    *shared.store.borrow_mut() = store.clone();
    let kept = match (&store, kept) {
        (Some(_), Err(error)) => shared.lost_storage(error, Restored::default()),
        (Some(_), Ok(kept)) => kept,
        (None, _) => Restored::default(),
    };
    let (kept, readers) = readers_for(&shared, kept).await;

    let me: NodeId =
        p2pnet_net::node_id(secret).ok_or_else(|| StartError::Network("the identity is invalid".into()))?;
    let seed_bytes = js::random_bytes().ok_or(StartError::NoRandomness)?;
    let config = NodeConfig {
        me,
        role: Role::Client,
        agent: options.agent,
        seed: seed_bytes,
        keep: KEEP,
        can_rest: pool.can_rest(),
        rewrite: REWRITE_VERSION,
    };
    let (mut facts, facts_of_host) = mpsc::channel(FACT_QUEUE);
    // Before anything else: it then dials in its first moment, not after the page has drawn that there is a node.
    if let Some(addresses) = seed.known_by_now() {
        let _ = facts.try_send(HostFact::SeedKnown { addresses }); // the queue is empty
    }
    let host = TabHost::new(pool.clone(), store, facts.clone());
    let Restored { records, lines, unknown } = kept;
    let read = Box::new(move |source: &str, find: &dyn Fn(Hash) -> Option<Blob>| match &readers {
        Some(readers) => readers.read_again(source, find),
        None => Err(Refusal::new(Code::Internal, "what reads jobs is not here", "reload the page")),
    });
    let start = Start { secret, config, restored: records, lines_follow: true, read };
    for fact in [HostFact::Loaded { lines, is_all: true }, HostFact::UnknownRecords(unknown)] {
        let _ = facts.try_send(fact); // the queue has room for them
    }
    let (handle, _outside, run) = p2pnet_net::start(start, host, facts_of_host, p2pnet_net::Options::default())
        .map_err(|error| StartError::Network(error.to_string()))?;
    spawn_local(run);

    let runtime = NodeRuntime { handle, shared };
    runtime.follow_time(&ticker, &pool, &facts);
    runtime.follow_device();
    runtime.find_seed(seed, facts, ticker);
    Ok(runtime)
}

impl NodeRuntime {
    /// The node: jobs, network, events.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the person lends.
    pub fn settings(&self) -> Settings {
        self.shared.settings.get()
    }

    /// Changes what the person lends, now and after a reload. Numbers out of range are cut to it.
    pub fn set_settings(&self, settings: Settings) {
        let settings = settings.within(&self.device());
        let before = self.shared.settings.replace(settings);
        if settings.lending
            && !before.lending
            && let Some(pool) = self.shared.pool.borrow().as_ref()
        {
            pool.try_again();
        }
        if let (Some(store), Ok(bytes)) = (self.shared.store.borrow().as_ref(), serde_json::to_vec(&settings)) {
            store.put(SETTINGS, bytes);
        }
        self.tell_node();
        self.shared.tell_listeners();
    }

    /// What the browser says about the device.
    pub fn device(&self) -> Device {
        self.shared.device.borrow().as_ref().map(Watch::now).unwrap_or_default()
    }

    /// What may be wrong.
    pub fn health(&self) -> Health {
        Health {
            storage: self.shared.storage.borrow().clone(),
            workers: self.shared.pool.borrow().as_ref().and_then(Pool::trouble),
            can_compute: self.shared.can_compute(),
            interpreter: self.shared.pool.borrow().as_ref().and_then(Pool::no_interpreter),
            paused_jobs: self.shared.paused_jobs.borrow().clone(),
            seed: self.shared.seed.borrow().clone(),
            tab: self.shared.tab.get(),
        }
    }

    /// Says that settings, device or health changed. A listener that is slow hears once for several changes.
    pub fn changes(&self) -> impl Stream<Item = ()> + use<> {
        let (sender, receiver) = mpsc::channel(0); // room for one: each sender has a slot of its own
        self.shared.listeners.borrow_mut().push(sender);
        receiver
    }

    /// Reads, checks and compiles a job from the JSON that a person wrote.
    pub async fn read_job(&self, source: &str) -> Result<Job, Refusal> {
        Kinds::of_page().readers().await?.read(source)
    }

    /// Hands a job over that was read; answered once it is kept, so that nobody is told of a job that a reload forgets.
    pub async fn submit(&self, job: Job) -> Result<JobId, Refusal> {
        let no_chance = || Refusal::new(Code::Internal, StartError::NoRandomness.to_string(), "try another browser");
        let id = js::random_bytes().map(JobId).ok_or_else(no_chance)?;
        let place = self.handle.reserve(id, job.holder, held_bytes(&*job.plan, &job.source)).await?;
        let (key, store) = (StoreKey::Job(id), self.shared.store.borrow().clone());
        if let Some(store) = &store {
            let (kept, is_kept) = oneshot::channel();
            let record = new_record(id, &job, clock::now());
            store.keep(vec![(key, Some(record))], move || _ = kept.send(()));
            // Where it could not be kept, the page says so and goes on without.
            let _ = is_kept.await;
        }
        let taken = self.handle.submit_kept(place, job).await;
        if let (Err(_), Some(store)) = (&taken, store) {
            store.change(vec![(key, None)]);
        }
        taken.map(|()| id)
    }

    /// Tries to start workers again, after they did not start.
    pub fn start_workers_again(&self) {
        if let Some(pool) = self.shared.pool.borrow().as_ref() {
            pool.try_again();
        }
    }

    /// Runs a few units of a job in a worker of this tab: result, gas, speed. Takes 0.1 to 5 seconds.
    pub async fn dry_run(&self, source: &str) -> Result<DryRun, Refusal> {
        let job = self.read_job(source).await?;
        let pool = self.shared.pool.borrow().clone();
        match pool {
            Some(pool) => dry_run::dry_run(&pool, &job).await,
            None => Err(Refusal::new(Code::Internal, "the node is not up yet", "wait a moment")),
        }
    }

    /// What the node may offer: nothing while no worker starts here.
    fn lent(&self) -> ProviderSettings {
        let settings = self.settings();
        let lending = settings.lending && self.shared.can_compute();
        Settings { lending, ..settings }.for_node(&self.device())
    }

    fn tell_node(&self) {
        let settings = self.lent();
        let handle = self.handle.clone();
        spawn_local(async move { handle.set_provider(settings).await });
    }

    fn follow_time(&self, ticker: &Ticker, pool: &Pool, facts: &mpsc::Sender<HostFact>) {
        let (pool, facts, shared) = (pool.clone(), RefCell::new(facts.clone()), self.shared.clone());
        let kept = RefCell::new(None);
        ticker.each(move || {
            pool.tick();
            shared.keep_clock(&mut kept.borrow_mut());
            let _ = facts.borrow_mut().try_send(HostFact::Tick); // a loop that is behind has ticks enough waiting
        });
    }

    /// Tells the node what is lent, now and whenever battery or settings say otherwise.
    fn follow_device(&self) {
        self.tell_node();
        let mut changes = self.changes();
        let runtime = self.clone();
        spawn_local(async move {
            let mut told = runtime.lent();
            while futures::StreamExt::next(&mut changes).await.is_some() {
                let settings = runtime.lent();
                if settings != told {
                    told = settings;
                    runtime.handle.set_provider(settings).await;
                }
            }
        });
    }

    fn find_seed(&self, first: Question, facts: mpsc::Sender<HostFact>, ticker: Ticker) {
        let shared = self.shared.clone();
        let tried = move |outcome: Result<(), String>| {
            let now = outcome.map_or_else(SeedSearch::Failed, |()| SeedSearch::Found);
            if *shared.seed.borrow() != now {
                *shared.seed.borrow_mut() = now;
                shared.tell_listeners();
            }
        };
        spawn_local(seeds::keep_finding(first, self.handle.clone(), facts, ticker, tried));
    }
}

impl Shared {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            device: RefCell::new(None),
            settings: Cell::new(Settings::default()),
            storage: RefCell::new(Storage::Kept),
            seed: RefCell::new(SeedSearch::Asking),
            tab: Cell::new(None),
            pool: RefCell::new(None),
            paused_jobs: RefCell::new(None),
            store: RefCell::new(None),
            listeners: RefCell::new(Vec::new()),
        })
    }

    fn can_compute(&self) -> bool {
        self.pool.borrow().as_ref().is_none_or(Pool::can_compute)
    }

    /// Keeps what a reload needs to go on with the time, whenever the last mark does not tell it any more.
    fn keep_clock(&self, kept: &mut Option<Mark>) {
        let mark = clock::mark();
        if kept.as_ref().is_some_and(|kept| !kept.is_old(&mark)) {
            return;
        }
        if let (Some(store), Ok(bytes)) = (self.store.borrow().as_ref(), serde_json::to_vec(&mark)) {
            store.put(CLOCK, bytes);
            *kept = Some(mark);
        }
    }

    fn tell_listeners(&self) {
        // A full channel means that the listener has yet to hear of an earlier change: that will do.
        self.listeners.borrow_mut().retain_mut(|listener| listener.try_send(()).is_ok_or_full());
    }

    /// Notes that nothing is kept from now on, and goes on with `instead`.
    fn lost_storage<T>(&self, error: StoreError, instead: T) -> T {
        *self.storage.borrow_mut() = Storage::MemoryOnly(error);
        self.tell_listeners();
        instead
    }
}

trait OkOrFull {
    fn is_ok_or_full(&self) -> bool;
}

impl OkOrFull for Result<(), mpsc::TrySendError<()>> {
    fn is_ok_or_full(&self) -> bool {
        self.as_ref().err().is_none_or(mpsc::TrySendError::is_full)
    }
}

fn open_store(
    shared: &Rc<Shared>,
    opened: Result<store::Opened, StoreError>,
    slot: Result<u32, StoreError>,
) -> Option<Store> {
    let told = Rc::downgrade(shared);
    let failed = move |error| {
        if let Some(shared) = told.upgrade() {
            shared.lost_storage(error, ());
        }
    };
    match opened.and_then(|opened| Ok(opened.for_slot(slot?, failed))) {
        Ok(store) => Some(store),
        Err(error) => shared.lost_storage(error, None),
    }
}

/// The secret behind this tab's identity: the kept one, or a new one, which is then kept. A store that cannot be read is
/// given up: a new identity must not take the place of one that may still be there.
async fn secret(shared: &Shared, store: Option<Store>) -> Result<([u8; 32], Option<Store>), StartError> {
    let (kept, store) = match store {
        Some(store) => match store.get(SECRET).await {
            Ok(kept) => (kept, Some(store)),
            Err(error) => shared.lost_storage(error, (None, None)),
        },
        None => (None, None),
    };
    if let Some(secret) = kept.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        return Ok((secret, store));
    }
    let secret: [u8; 32] = js::random_bytes().ok_or(StartError::NoRandomness)?;
    if let Some(store) = &store {
        store.put(SECRET, secret.to_vec());
    }
    Ok((secret, store))
}

async fn records(store: Option<&Store>) -> Result<Restored, StoreError> {
    match store {
        Some(store) => store.node_records().await,
        None => Ok(Restored::default()),
    }
}

/// What reads the jobs among the records, if there are any that go on. If it does not arrive, those jobs rest in the store until
/// the page is opened again, and the rest of the node starts without them.
async fn readers_for(shared: &Shared, kept: Restored) -> (Restored, Option<Readers>) {
    if kept.records.is_empty() {
        return (kept, None);
    }
    match Kinds::of_page().readers().await {
        Ok(readers) => (kept, Some(readers)),
        Err(refusal) => {
            *shared.paused_jobs.borrow_mut() = Some(refusal.message);
            // All of them are of jobs that are not over.
            (Restored { records: Vec::new(), ..kept }, None)
        }
    }
}

async fn restore_clock(store: Option<&Store>) {
    let Some(store) = store else { return };
    let Ok(Some(bytes)) = store.get(CLOCK).await else { return };
    if let Ok(mark) = serde_json::from_slice(&bytes) {
        clock::go_on(&mark);
    }
}

async fn restore_settings(shared: &Shared, store: Option<&Store>) {
    let Some(store) = store else { return };
    let Ok(Some(bytes)) = store.get(SETTINGS).await else { return };
    let device = shared.device.borrow().as_ref().map(Watch::now).unwrap_or_default();
    if let Ok(settings) = serde_json::from_slice::<Settings>(&bytes) {
        shared.settings.set(settings.within(&device));
    }
}
