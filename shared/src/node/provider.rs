//! The provider: says what it lends, takes batches, fetches what they need, runs them, delivers.
//!
//! A batch is fetching, ready, running or done. Done ones keep their report until the requester settles them, so that a
//! requester that was away for a moment still gets it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Effect, RunId,
    core::Core,
    queue::{Key, Queue},
};
use crate::{
    api::ProviderSettings,
    engine::{Batch, BatchReport},
    id::{AttemptId, Hash, NodeId},
    job::AttemptState,
    refusal::Refusal,
    units::{Gas, Millis, Moment},
    wire::{
        self, Assignment, MAX_BLOB, MAX_CALLS, MAX_INLINE, MAX_OUTPUT, MAX_TIME_MILLIS, Message, Offer, Payload,
        RefuseReason,
    },
};

/// How often an offer is repeated, and how soon a change of the idle cores alone is told.
const OFFER_PERIOD: Millis = Millis(10_000);
const OFFER_PAUSE: Millis = Millis(500);
/// How long the work of a requester that went away goes on and its results are kept.
const REQUESTER_GRACE: Millis = Millis(30_000);
/// How long a result waits for its requester's word while that one is connected.
const UNSETTLED: Millis = Millis(120_000);
/// A node that sent work within this time gets the offer directly.
const CUSTOMER_FOR: Millis = Millis(60_000);
/// Bytes of undelivered results kept at most.
const DONE_BYTES: u64 = 256 << 20;
/// Requesters served at once at most.
const MOST_REQUESTERS: usize = 1024;

/// One batch that was taken.
pub(super) struct Work {
    pub(super) assignment: Assignment,
    pub(super) state: WorkState,
    pub(super) tasks: u64,
    pub(super) since: Moment,
}

/// Where a batch stands here.
pub(super) enum WorkState {
    Fetching(BTreeSet<Hash>),
    Ready,
    Running(RunId),
    Done(Payload),
}

/// One node that sends work.
struct Customer {
    /// The life of the requester that the work belongs to.
    session: Option<u64>,
    assigned_at: Moment,
    gone_at: Option<Moment>,
    batches: usize,
}

/// The lending side of a node.
pub(super) struct Provider {
    pub(super) settings: ProviderSettings,
    pub(super) works: BTreeMap<Key, Work>,
    queue: Queue,
    customers: BTreeMap<NodeId, Customer>,
    /// Runs that the host has; `None` when nobody wants the outcome any more.
    runs: BTreeMap<RunId, Option<Key>>,
    next_run: u64,
    waiting: BTreeMap<Hash, BTreeSet<Key>>,
    done_bytes: u64,
    offer_at: Moment,
    offered_at: Moment,
    offered_idle: Option<u16>,
    pub(super) tasks_done: u64,
    pub(super) gas_done: Gas,
    pub(super) busy_micros: u64,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            settings: ProviderSettings::default(),
            works: BTreeMap::new(),
            queue: Queue::default(),
            customers: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_run: 0,
            waiting: BTreeMap::new(),
            done_bytes: 0,
            offer_at: Moment(0),
            offered_at: Moment(0),
            offered_idle: None,
            tasks_done: 0,
            gas_done: Gas(0),
            busy_micros: 0,
        }
    }
}

impl Provider {
    pub(super) fn is_lending(&self) -> bool {
        self.settings.lending && !self.settings.on_battery
    }

    /// Batches that wait for a core.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    // ---- what it lends -------------------------------------------------------------------------------------------

    pub(super) fn configure(&mut self, core: &mut Core, mut settings: ProviderSettings) {
        settings.cores = settings.cores.clamp(1, 1024);
        settings.cpu_percent = settings.cpu_percent.clamp(1, 100);
        settings.memory_mib = settings.memory_mib.max(1);
        let lent = self.is_lending();
        self.settings = settings;
        core.network_changed = true;
        if self.is_lending() {
            self.announce(core);
            self.run_ready(core);
        } else if lent {
            for node in self.audience(core, true) {
                core.send(node, Message::Withdraw);
            }
            self.offered_idle = None;
            let keys: Vec<Key> = self.works.keys().copied().collect();
            for key in keys {
                let open = self.works.get(&key).is_some_and(|work| !matches!(work.state, WorkState::Done(_)));
                if open {
                    self.refuse(core, key, RefuseReason::NotLending);
                }
            }
        }
    }

    /// Tells everybody who may want it what this node lends now.
    pub(super) fn announce(&mut self, core: &mut Core) {
        if self.is_lending() {
            let offer = self.offer(core);
            for node in self.audience(core, true) {
                core.send(node, Message::Offer(offer.clone()));
            }
            self.offered(core);
        }
    }

    /// A node is there and has said who it is: it hears what is lent, and gets what it missed.
    pub(super) fn greeted(&mut self, core: &mut Core, node: NodeId, session: u64) {
        if let Some(customer) = self.customers.get_mut(&node) {
            customer.gone_at = None;
            let restarted = customer.session.is_some_and(|known| known != session);
            customer.session = Some(session);
            if restarted {
                self.forget_works(core, node);
            }
        }
        if self.is_lending() {
            let offer = self.offer(core);
            core.send(node, Message::Offer(offer));
        }
        let missed: Vec<(AttemptId, Payload)> = self
            .works
            .range((node, AttemptId(0))..=(node, AttemptId(u64::MAX)))
            .filter_map(|((_, attempt), work)| match &work.state {
                WorkState::Done(report) => Some((*attempt, report.clone())),
                WorkState::Fetching(_) | WorkState::Ready | WorkState::Running(_) => None,
            })
            .collect();
        for (attempt, report) in missed {
            core.send(node, Message::Deliver { attempt, report });
        }
    }

    pub(super) fn disconnected(&mut self, core: &Core, node: NodeId) {
        if let Some(customer) = self.customers.get_mut(&node) {
            customer.gone_at = Some(core.now);
        }
    }

    // ---- batches -------------------------------------------------------------------------------------------------

    pub(super) fn assigned(&mut self, core: &mut Core, from: NodeId, assignment: Assignment) {
        let key = (from, assignment.attempt);
        if let Some(work) = self.works.get(&key) {
            // The requester is not sure that it was heard. It was.
            if let WorkState::Done(report) = &work.state {
                let report = report.clone();
                core.send(from, Message::Deliver { attempt: key.1, report });
            }
            return;
        }
        match self.judge(from, &assignment) {
            Ok(tasks) => self.take(core, key, assignment, tasks),
            Err(reason) => {
                if reason == RefuseReason::Malformed {
                    core.nonsense(from, 5);
                }
                core.send(from, Message::Refuse { attempt: key.1, reason });
            }
        }
    }

    /// Whether a batch is taken; how many calls it holds, as far as is known before its blob is here.
    fn judge(&self, from: NodeId, assignment: &Assignment) -> Result<u64, RefuseReason> {
        if !self.is_lending() {
            return Err(RefuseReason::NotLending);
        }
        let limits = &assignment.limits;
        if limits.memory_bytes > u64::from(self.settings.memory_mib) << 20
            || limits.output_bytes > MAX_OUTPUT
            || limits.time_millis > MAX_TIME_MILLIS
        {
            return Err(RefuseReason::TooDemanding);
        }
        let tasks = match &assignment.calls {
            Payload::Inline(bytes) => wire::count_calls(bytes).map_err(|_| RefuseReason::Malformed)?,
            Payload::Blob { len, .. } if *len <= MAX_BLOB => 0,
            Payload::Blob { .. } => return Err(RefuseReason::Malformed),
        };
        if tasks > MAX_CALLS || limits.time_millis == 0 {
            return Err(RefuseReason::Malformed);
        }
        let cores = usize::from(self.settings.cores);
        let of_this = self.customers.get(&from).map_or(0, |customer| customer.batches);
        let stranger = !self.customers.contains_key(&from);
        if of_this >= 2 * cores + 8
            || self.works.len() >= 8 * cores + 64
            || (stranger && self.customers.len() >= MOST_REQUESTERS)
        {
            return Err(RefuseReason::Busy);
        }
        Ok(tasks)
    }

    fn take(&mut self, core: &mut Core, key: Key, assignment: Assignment, tasks: u64) {
        let (from, attempt) = key;
        let needed = needs(&assignment);
        let missing: BTreeSet<Hash> = needed.iter().copied().filter(|hash| !core.blobs.has(*hash)).collect();
        for hash in &missing {
            if from == core.me() || !core.fetch(*hash, from) {
                return core.send(from, Message::Refuse { attempt, reason: RefuseReason::Busy });
            }
        }
        // Pinned for as long as the batch is here, so that the cache cannot lose them between fetching and running.
        for hash in needed.difference(&missing) {
            pin_held(core, *hash);
        }
        for hash in &missing {
            self.waiting.entry(*hash).or_default().insert(key);
        }
        let session = core.peers.get(from).and_then(|peer| peer.greeting.as_ref()).map(|greeting| greeting.session);
        let customer = self.customers.entry(from).or_insert(Customer {
            session,
            assigned_at: core.now,
            gone_at: None,
            batches: 0,
        });
        customer.assigned_at = core.now;
        customer.batches += 1;
        let priority = assignment.priority;
        let ready = missing.is_empty();
        let state = if ready { WorkState::Ready } else { WorkState::Fetching(missing) };
        self.works.insert(key, Work { assignment, state, tasks, since: core.now });
        if ready {
            self.queue.push(priority, key);
            self.run_ready(core);
        }
        core.network_changed = true;
    }

    /// A fetch ended.
    pub(super) fn fetched(&mut self, core: &mut Core, hash: Hash, here: bool) {
        for key in self.waiting.remove(&hash).unwrap_or_default() {
            let Some(work) = self.works.get_mut(&key) else { continue };
            let WorkState::Fetching(missing) = &mut work.state else { continue };
            if !missing.remove(&hash) {
                continue;
            }
            if !here {
                missing.insert(hash); // never pinned, so not to be unpinned
                self.refuse(core, key, RefuseReason::MissingBlob);
                continue;
            }
            pin_held(core, hash);
            if missing.is_empty() {
                work.state = WorkState::Ready;
                let priority = work.assignment.priority;
                self.queue.push(priority, key);
            }
        }
        self.run_ready(core);
    }

    /// Puts batches on idle cores.
    fn run_ready(&mut self, core: &mut Core) {
        while self.is_lending() && self.runs.len() < usize::from(self.settings.cores) {
            let Some(key) = self.queue.pop() else { break };
            let Some(work) = self.works.get_mut(&key) else { continue };
            let run = RunId(self.next_run);
            let Some((kernel, batch)) = prepare(core, &mut work.assignment) else {
                core.nonsense(key.0, 5);
                self.refuse(core, key, RefuseReason::Malformed);
                continue;
            };
            self.next_run += 1;
            work.tasks = batch.calls.len() as u64;
            work.state = WorkState::Running(run);
            work.since = core.now;
            self.runs.insert(run, Some(key));
            core.send(key.0, Message::Started { attempt: key.1 });
            core.effects.push_back(Effect::Execute { run, kernel, batch, cpu_percent: self.settings.cpu_percent });
            core.network_changed = true;
        }
    }

    /// The host finished a run.
    pub(super) fn executed(&mut self, core: &mut Core, run: RunId, report: &BatchReport) {
        let Some(wanted) = self.runs.remove(&run) else { return };
        core.network_changed = true;
        self.busy_micros = self.busy_micros.saturating_add(report.busy_micros);
        self.tasks_done += report.outcomes.iter().filter(|outcome| outcome.output.is_ok()).count() as u64;
        for outcome in &report.outcomes {
            self.gas_done += outcome.gas;
        }
        if let Some(key) = wanted {
            self.deliver(core, key, report);
        }
        self.run_ready(core);
    }

    fn deliver(&mut self, core: &mut Core, key: Key, report: &BatchReport) {
        let Ok(bytes) = wire::encode_report(report) else { return self.refuse(core, key, RefuseReason::Malformed) };
        if bytes.len() as u64 > MAX_BLOB {
            return self.refuse(core, key, RefuseReason::TooDemanding);
        }
        let Some(work) = self.works.get_mut(&key) else { return };
        release(core, work);
        let payload = if bytes.len() > MAX_INLINE {
            let (hash, len) = (Hash::of(&bytes), bytes.len() as u64);
            core.blobs.pin(hash, || bytes.into());
            Payload::Blob { hash, len }
        } else {
            Payload::Inline(bytes)
        };
        self.done_bytes += payload_len(&payload);
        work.state = WorkState::Done(payload.clone());
        work.since = core.now;
        core.send(key.0, Message::Deliver { attempt: key.1, report: payload });
        while self.done_bytes > DONE_BYTES {
            let oldest = self
                .works
                .iter()
                .filter(|(_, work)| matches!(work.state, WorkState::Done(_)))
                .min_by_key(|(_, work)| work.since)
                .map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.forget(core, oldest);
        }
    }

    /// The requester took a delivery.
    pub(super) fn settled(&mut self, core: &mut Core, from: NodeId, attempt: AttemptId) {
        let done = self.works.get(&(from, attempt)).is_some_and(|work| matches!(work.state, WorkState::Done(_)));
        if done {
            self.forget(core, (from, attempt));
        }
    }

    /// The requester no longer wants these.
    pub(super) fn cancelled(&mut self, core: &mut Core, from: NodeId, attempts: &[AttemptId]) {
        for attempt in attempts {
            self.forget(core, (from, *attempt));
        }
        self.run_ready(core);
    }

    fn refuse(&mut self, core: &mut Core, key: Key, reason: RefuseReason) {
        self.forget(core, key);
        core.send(key.0, Message::Refuse { attempt: key.1, reason });
    }

    fn forget_works(&mut self, core: &mut Core, node: NodeId) {
        let keys: Vec<Key> =
            self.works.range((node, AttemptId(0))..=(node, AttemptId(u64::MAX))).map(|(key, _)| *key).collect();
        for key in keys {
            self.forget(core, key);
        }
        self.run_ready(core);
    }

    /// Drops a batch, wherever it stands; a run of it is stopped.
    fn forget(&mut self, core: &mut Core, key: Key) {
        let Some(mut work) = self.works.remove(&key) else { return };
        if let Some(customer) = self.customers.get_mut(&key.0) {
            customer.batches = customer.batches.saturating_sub(1);
        }
        core.network_changed = true;
        match &work.state {
            WorkState::Fetching(missing) => {
                for hash in missing {
                    if let Some(keys) = self.waiting.get_mut(hash) {
                        keys.remove(&key);
                        if keys.is_empty() {
                            self.waiting.remove(hash);
                        }
                    }
                }
            }
            WorkState::Ready => self.queue.remove(work.assignment.priority, key),
            WorkState::Running(run) => {
                if let Some(wanted) = self.runs.get_mut(run) {
                    *wanted = None;
                    core.effects.push_back(Effect::Abort { run: *run });
                }
            }
            WorkState::Done(payload) => {
                self.done_bytes = self.done_bytes.saturating_sub(payload_len(payload));
                if let Some(hash) = blob_of(payload) {
                    core.blobs.unpin(hash);
                    core.blobs.discard(hash);
                }
                return;
            }
        }
        release(core, &mut work);
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    pub(super) fn tick(&mut self, core: &mut Core) {
        let now = core.now;
        let idle = self.idle_cores();
        if self.is_lending() {
            let changed = self.offered_idle != Some(idle) && now >= self.offered_at + OFFER_PAUSE;
            if now >= self.offer_at || changed {
                let offer = self.offer(core);
                for node in self.audience(core, false) {
                    core.send(node, Message::Offer(offer.clone()));
                }
                self.offered(core);
            }
        }
        let gone: Vec<NodeId> = self
            .customers
            .iter()
            .filter(|(_, customer)| customer.gone_at.is_some_and(|at| now >= at + REQUESTER_GRACE))
            .map(|(node, _)| *node)
            .collect();
        for node in gone {
            self.forget_works(core, node);
            self.customers.remove(&node);
        }
        let unsettled: Vec<Key> = self
            .works
            .iter()
            .filter(|(_, work)| matches!(work.state, WorkState::Done(_)) && now >= work.since + UNSETTLED)
            .map(|(key, _)| *key)
            .collect();
        for key in unsettled {
            self.forget(core, key);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let offer = self.is_lending().then(|| {
            let changed = self.offered_idle != Some(self.idle_cores());
            if changed { self.offer_at.min(self.offered_at + OFFER_PAUSE) } else { self.offer_at }
        });
        let gone = self.customers.values().filter_map(|customer| Some(customer.gone_at? + REQUESTER_GRACE)).min();
        let unsettled = self
            .works
            .values()
            .filter(|work| matches!(work.state, WorkState::Done(_)))
            .map(|work| work.since + UNSETTLED)
            .min();
        offer.into_iter().chain(gone).chain(unsettled).min()
    }

    // ---- helpers -------------------------------------------------------------------------------------------------

    fn idle_cores(&self) -> u16 {
        let taken = u16::try_from(self.runs.len() + self.queue.len()).unwrap_or(u16::MAX);
        self.settings.cores.saturating_sub(taken)
    }

    fn offer(&self, core: &Core) -> Offer {
        Offer {
            node: core.me(),
            role: core.config.role,
            agent: core.config.agent.chars().take(super::peers::MOST_AGENT_CHARACTERS).collect(),
            cores: self.settings.cores,
            cpu_percent: self.settings.cpu_percent,
            memory_mib: self.settings.memory_mib,
            idle_cores: self.idle_cores(),
            addresses: core.addresses.clone(),
            made_at: core.now,
        }
    }

    fn offered(&mut self, core: &mut Core) {
        self.offered_idle = Some(self.idle_cores());
        self.offered_at = core.now;
        // Spread, so that a thousand tabs that opened together do not speak together.
        self.offer_at = core.now + Millis(OFFER_PERIOD.0 * 9 / 10 + core.chance.below(OFFER_PERIOD.0 / 5));
    }

    /// Who gets the offer: this node itself, seeds, recent requesters; with `everybody`, every connection.
    fn audience(&self, core: &Core, everybody: bool) -> Vec<NodeId> {
        let mut nodes = vec![core.me()];
        if everybody {
            nodes.extend(core.peers.connected().map(|(node, _)| node));
        } else {
            nodes.extend(core.peers.connected_seeds());
            nodes.extend(
                self.customers
                    .iter()
                    .filter(|(node, customer)| {
                        core.now < customer.assigned_at + CUSTOMER_FOR
                            && !core.peers.is_seed(**node)
                            && **node != core.me()
                    })
                    .map(|(node, _)| *node),
            );
        }
        nodes
    }
}

/// The kernel and the batch of an assignment whose blobs are here. Takes the inline calls out of it.
fn prepare(core: &mut Core, assignment: &mut Assignment) -> Option<(std::sync::Arc<[u8]>, Batch)> {
    let kernel = core.blobs.get(assignment.kernel)?;
    let common = match assignment.common {
        Some(hash) => core.blobs.get(hash)?.to_vec(),
        None => Vec::new(),
    };
    let calls = match &mut assignment.calls {
        Payload::Inline(bytes) => wire::decode_calls(&std::mem::take(bytes)).ok()?,
        Payload::Blob { hash, .. } => wire::decode_calls(&core.blobs.get(*hash)?).ok()?,
    };
    Some((kernel, Batch { kernel: assignment.kernel, common, calls, limits: assignment.limits }))
}

/// The blobs that a batch needs, each once.
fn needs(assignment: &Assignment) -> BTreeSet<Hash> {
    [Some(assignment.kernel), assignment.common, blob_of(&assignment.calls)].into_iter().flatten().collect()
}

fn pin_held(core: &mut Core, hash: Hash) {
    if let Some(bytes) = core.blobs.get(hash) {
        core.blobs.pin(hash, || bytes);
    }
}

/// Gives back what a batch pinned. What it still fetches was not pinned yet.
fn release(core: &mut Core, work: &mut Work) {
    let missing = match &work.state {
        WorkState::Fetching(missing) => missing.clone(),
        WorkState::Ready | WorkState::Running(_) | WorkState::Done(_) => BTreeSet::new(),
    };
    let assignment = &work.assignment;
    for hash in needs(assignment).difference(&missing) {
        core.blobs.unpin(*hash);
    }
    if let Some(hash) = blob_of(&assignment.calls) {
        core.blobs.discard(hash); // a batch's inputs are of no use to anybody else
    }
    work.assignment.calls = Payload::Inline(Vec::new());
}

fn blob_of(payload: &Payload) -> Option<Hash> {
    match payload {
        Payload::Inline(_) => None,
        Payload::Blob { hash, .. } => Some(*hash),
    }
}

fn payload_len(payload: &Payload) -> u64 {
    match payload {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob { len, .. } => *len,
    }
}

impl Work {
    /// Its state in the words that people see; `None` while it only waits or is over.
    pub(super) fn shown(&self) -> Option<AttemptState> {
        match self.state {
            WorkState::Fetching(_) => Some(AttemptState::Fetching),
            WorkState::Running(_) => Some(AttemptState::Running),
            WorkState::Ready | WorkState::Done(_) => None,
        }
    }
}

/// What a person is told about a refusal by a provider.
pub(super) fn explain(node: NodeId, reason: RefuseReason) -> Refusal {
    use crate::refusal::Code;
    let (code, what) = match reason {
        RefuseReason::NotLending => (Code::NoProvider, "lends nothing now"),
        RefuseReason::Busy => (Code::NoProvider, "has a full queue"),
        RefuseReason::TooDemanding => (Code::NoProvider, "lends less than the task may use"),
        RefuseReason::MissingBlob => (Code::Internal, "could not fetch the task's kernel or input"),
        RefuseReason::InvalidKernel => (Code::InvalidKernel, "says that the kernel breaks the contract"),
        RefuseReason::Malformed => (Code::Internal, "could not read the task"),
    };
    Refusal::new(code, format!("node {node} {what}"), "")
}
