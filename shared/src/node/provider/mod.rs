//! The provider: says what it lends, takes batches, fetches what they need, runs them, delivers.
//!
//! A batch is fetching, ready, running or done. Done ones keep their report until the requester settles them, so that a
//! requester that was away for a moment still gets it.

mod audit;
mod batches;
mod delivery;
mod queue;
mod turns;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::turns::STANDS_BY;
use self::{
    delivery::Delivery,
    queue::{Key, Queue},
    turns::{Lent, Place, Turn},
};
use crate::{
    api::ProviderSettings,
    id::{AttemptId, Hash, NodeId},
    job::{AttemptState, Language},
    node::{HostOrder, RunId, core::Core},
    refusal::Refusal,
    units::{Gas, Millis, Moment},
    wire::{Assignment, Extensions, Message, Offer, RefuseReason},
};

/// What every host runs programs in.
pub(super) const LANGUAGES: [Language; 2] = [Language::Wasm, Language::PreparedWasm];
/// How often an offer is repeated, and how soon a change of the idle cores alone is told.
const OFFER_PERIOD: Millis = Millis(10_000);
const OFFER_PAUSE: Millis = Millis(500);
/// How long the attempts of a requester that went away go on and its results are kept.
const REQUESTER_GRACE: Millis = Millis(30_000);
/// How long a result waits for its requester's word while that one is connected.
const UNSETTLED: Millis = Millis(120_000);
/// A node that sent batches within this time gets the offer directly.
const CUSTOMER_FOR: Millis = Millis(60_000);

/// An execution of a batch that was taken on.
struct Attempt {
    assignment: Assignment,
    state: AttemptStep,
    tasks: u64,
    since: Moment,
}

/// Where an attempt stands here.
enum AttemptStep {
    Fetching(BTreeSet<Hash>),
    Ready,
    Running(RunId),
    Done(Delivery),
}

/// One node that sends batches.
struct Customer {
    /// The life of the requester that its attempts belong to.
    session: Option<u64>,
    assigned_at: Moment,
    gone_at: Option<Moment>,
    batches: usize,
}

/// An attempt as the host has it, from its beginning on.
struct Run {
    /// Whose it is.
    of: NodeId,
    /// `None` when nobody wants the outcome any more.
    wanted: Option<Key>,
    since: Moment,
    /// What it counts as given to its requester so far, in microseconds.
    counted: u64,
    turn: Turn,
    /// The core that it has, or had when it was set aside.
    place: Place,
    /// How long it was set aside before its turn.
    rested: Millis,
    /// From when on, if it is owed a core, others have had as long as its requester was given more than they.
    even_at: Moment,
}

/// The lending side of a node.
pub(super) struct Provider {
    settings: ProviderSettings,
    attempts: BTreeMap<Key, Attempt>,
    queue: Queue,
    customers: BTreeMap<NodeId, Customer>,
    /// Runs that the host has.
    runs: BTreeMap<RunId, Run>,
    next_run: u64,
    lent: Vec<Lent>,
    next_place: u64,
    waiting: BTreeMap<Hash, BTreeSet<Key>>,
    done_bytes: u64,
    offer_at: Moment,
    offered_at: Moment,
    offered_idle: Option<u16>,
    tasks_done: u64,
    gas_done: Gas,
    busy_micros: u64,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            settings: ProviderSettings::default(),
            attempts: BTreeMap::new(),
            queue: Queue::default(),
            customers: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_run: 0,
            lent: Vec::new(),
            next_place: 0,
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
    fn is_lending(&self) -> bool {
        self.settings.lending && !self.settings.on_battery
    }

    /// Attempts that wait for a core.
    fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether it has an attempt of a requester's.
    pub(super) fn has(&self, from: NodeId, attempt: AttemptId) -> bool {
        self.attempts.contains_key(&(from, attempt))
    }

    /// Whether it runs one.
    pub(super) fn runs(&self, from: NodeId, attempt: AttemptId) -> bool {
        self.attempts.get(&(from, attempt)).is_some_and(|attempt| matches!(attempt.state, AttemptStep::Running(_)))
    }

    /// Whether it has done one that its requester has not settled.
    pub(super) fn has_done(&self, from: NodeId, attempt: AttemptId) -> bool {
        self.attempts.get(&(from, attempt)).is_some_and(|attempt| matches!(attempt.state, AttemptStep::Done(_)))
    }

    // ---- what it lends -------------------------------------------------------------------------------------------

    pub(super) fn configure(&mut self, core: &mut Core, mut settings: ProviderSettings) {
        settings.cores = settings.cores.clamp(1, 1024);
        settings.cpu_percent = settings.cpu_percent.clamp(1, 100);
        settings.memory_mib = settings.memory_mib.max(1);
        let lent = self.is_lending();
        core.order(HostOrder::Cores(if settings.lending { settings.cores } else { 0 }));
        self.settings = settings;
        self.lend_cores();
        core.network_changed = true;
        if self.is_lending() {
            self.announce(core);
            self.run_ready(core);
        } else if lent {
            for node in self.audience(core, true) {
                core.send(node, Message::Withdraw);
            }
            self.offered_idle = None;
            self.give_back(core, |_| true);
        }
    }

    /// The node ends: all others hear that it lends nothing from now on, and get back what they gave it. Not this node
    /// itself: it would give its own work to others, and not be there for what comes of it.
    pub(super) fn leave(&mut self, core: &mut Core) {
        if !self.is_lending() {
            return;
        }
        let me = core.me();
        for node in self.audience(core, true).into_iter().filter(|node| *node != me) {
            core.send(node, Message::Withdraw);
        }
        self.settings.lending = false;
        self.give_back(core, |node| node != me);
    }

    /// Refuses what is not done yet.
    fn give_back(&mut self, core: &mut Core, whose: impl Fn(NodeId) -> bool) {
        let open = |attempt: &Attempt| !matches!(attempt.state, AttemptStep::Done(_));
        let keys: Vec<Key> =
            self.attempts.iter().filter(|(key, attempt)| whose(key.0) && open(attempt)).map(|(key, _)| *key).collect();
        for key in keys {
            // What stood behind another is refused with it.
            if self.attempts.get(&key).is_some_and(open) {
                self.refuse(core, key, RefuseReason::NotLending);
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
        let missed: Vec<Message> = self
            .attempts
            .range((node, AttemptId(0))..=(node, AttemptId(u64::MAX)))
            .filter_map(|((_, id), attempt)| match &attempt.state {
                AttemptStep::Done(delivery) => Some(delivery.message(*id)),
                AttemptStep::Fetching(_) | AttemptStep::Ready | AttemptStep::Running(_) => None,
            })
            .collect();
        for message in missed {
            core.send(node, message);
        }
    }

    pub(super) fn disconnected(&mut self, core: &Core, node: NodeId) {
        if let Some(customer) = self.customers.get_mut(&node) {
            customer.gone_at = Some(core.now);
        }
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
            self.queue.forget(node);
        }
        let unsettled: Vec<Key> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| matches!(attempt.state, AttemptStep::Done(_)) && now >= attempt.since + UNSETTLED)
            .map(|(key, _)| *key)
            .collect();
        for key in unsettled {
            self.forget(core, key);
        }
        if self.next_turn().is_some_and(|at| now >= at) {
            self.run_ready(core);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let offer = self.is_lending().then(|| {
            let changed = self.offered_idle != Some(self.idle_cores());
            if changed { self.offer_at.min(self.offered_at + OFFER_PAUSE) } else { self.offer_at }
        });
        let gone = self.customers.values().filter_map(|customer| Some(customer.gone_at? + REQUESTER_GRACE)).min();
        let unsettled = self
            .attempts
            .values()
            .filter(|attempt| matches!(attempt.state, AttemptStep::Done(_)))
            .map(|attempt| attempt.since + UNSETTLED)
            .min();
        offer.into_iter().chain(gone).chain(unsettled).chain(self.next_turn()).min()
    }

    /// A batch's state in the words that people see; `None` while it only waits or is over.
    fn shown(&self, attempt: &Attempt) -> Option<AttemptState> {
        match attempt.state {
            AttemptStep::Fetching(_) => Some(AttemptState::Fetching),
            AttemptStep::Running(run) if self.is_resting(run) => Some(AttemptState::Resting),
            AttemptStep::Running(_) => Some(AttemptState::Running),
            AttemptStep::Ready | AttemptStep::Done(_) => None,
        }
    }

    // ---- helpers -------------------------------------------------------------------------------------------------

    fn idle_cores(&self) -> u16 {
        let taken = u16::try_from(self.on_cores() + self.queue.len()).unwrap_or(u16::MAX);
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
            rewrite: core.config.rewrite,
            languages: LANGUAGES.into(),
            extensions: Extensions::default(),
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
        RefuseReason::OtherRewrite => (Code::NoProvider, "runs another version of kernels"),
        RefuseReason::OtherLanguage => (Code::NoProvider, "does not run what the program is written in"),
        RefuseReason::Unknown => (Code::NoProvider, "does not take it, for a reason that only later versions know"),
    };
    Refusal::new(code, format!("node {node} {what}"), "")
}
