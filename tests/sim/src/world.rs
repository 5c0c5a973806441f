//! The world: virtual time, links that break, machines that stop and start, and the trace of everything that happened.

mod faults;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use p2pnet_shared::{
    api::{JobStatus, JobSummary, Path, ProviderSettings},
    engine::BatchReport,
    id::{Hash, JobId, NodeId},
    job::Job,
    kernel::REWRITE_VERSION,
    node::{
        Effect, Found, HostOrder, Input, Keep, Line, NetworkOrder, Node, NodeConfig, Notice, RunId, Token, mend_line,
        read_line, read_status,
    },
    store::{Change, Noun, StoreKey},
    units::{Millis, Moment},
    wire::{self, Message, Version, WireError},
};

use crate::{
    actor::Actor,
    chance::Chance,
    executor::{self, Executor},
    hostile::Hostile,
    plan,
};

/// When a world begins: any moment that is not zero.
const BEGINNING: Moment = Moment(1_790_000_000_000);
/// What a node takes that fails every task at once.
const BROKEN: Millis = Millis(5);
/// How long a disk takes to write what it is given, and to read what it has.
pub const DISK: Millis = Millis(3);
/// An audit looks at everything. A node whose books have so many entries is audited after each fact, a larger one after
/// fewer, as if entries were saved up for it.
const AUDITED_ENTRIES: usize = 100;
/// Events after which a world is stuck in a circle.
const MOST_EVENTS: u64 = 50_000_000;

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Least and greatest time of a message.
    pub latency: (Millis, Millis),
    /// How long a connection lives on average before it breaks; `None`: for ever.
    pub link_life: Option<Millis>,
    /// Dials out of a hundred that come to nothing.
    pub failed_dials: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { latency: (Millis(2), Millis(40)), link_life: None, failed_dials: 0 }
    }
}

/// What a host does whose workers hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// It waits for them.
    ForEver,
    /// It stops each so long after its batch's time is over, and says that the batch has timed out.
    Replaced(Millis),
}

struct Machine {
    id: NodeId,
    actor: Actor,
    life: u64,
    node: Option<Node>,
    hostile: Option<Hostile>,
    /// What is on its disk, and what will be once that has taken all that was ordered.
    store: BTreeMap<StoreKey, Vec<u8>>,
    ordered: BTreeMap<StoreKey, Vec<u8>>,
    seeds: Vec<usize>,
    wake_at: Option<Moment>,
    /// Its workers hang.
    hung: Option<Hung>,
    /// When its one core is free, if it lies about how many it has.
    free_at: Moment,
    /// Runs that go on, and the event that ends each.
    running: BTreeMap<RunId, Option<(Moment, u64)>>,
    /// Those of them that were set aside: what ends each, and how long it has until then.
    resting: BTreeMap<RunId, Option<(Millis, Event)>>,
    /// What a watcher saw of each job when it was last told of it.
    told: BTreeMap<JobId, JobSummary>,
    /// Entries saved up for its next audit, and how many that needs.
    saved: usize,
    audit_costs: usize,
}

impl Machine {
    /// What a host gives a node at its start: what it keeps of jobs that are not over.
    fn to_start_with(&self) -> Vec<(StoreKey, Vec<u8>)> {
        let open = self.store.iter().filter(|(key, _)| matches!(key.noun(), Noun::Job | Noun::Span));
        open.map(|(key, record)| (*key, record.clone())).collect()
    }

    /// What it tells it soon of those that are.
    fn lines(&self) -> Vec<Line> {
        let result = |id| self.store.get(&StoreKey::Result(id)).map(|result| result.len() as u64);
        let over = |id| self.store.get(&StoreKey::Over(id)).map(Vec::as_slice);
        let finished = self.store.iter().filter(|(key, _)| key.noun() == Noun::Finished);
        let read =
            |id, record: &[u8]| read_line(id, record, true).unwrap_or_else(|| mend_line(id, over(id), result(id)));
        finished.map(|(key, record)| read(key.job(), record)).collect()
    }
}

/// Changes what a machine keeps.
fn change(store: &mut BTreeMap<StoreKey, Vec<u8>>, changes: Vec<Change>) {
    for (key, record) in changes {
        match record {
            Some(record) => _ = store.insert(key, record),
            None => _ = store.remove(&key),
        }
    }
}

struct Link {
    epoch: u64,
    /// Nothing overtakes: when the last message arrives, in either direction.
    last: [Moment; 2],
    /// Nothing arrives any more, which neither end has noticed.
    dead: bool,
}

enum Event {
    Wake {
        machine: usize,
    },
    Dialled {
        from: usize,
        to: usize,
        life: u64,
    },
    Arrive {
        from: usize,
        to: usize,
        epoch: u64,
        bytes: Vec<u8>,
    },
    Break {
        a: usize,
        b: usize,
        epoch: u64,
    },
    Executed {
        machine: usize,
        life: u64,
        run: RunId,
        units: u64,
        report: Box<BatchReport>,
    },
    /// A disk has taken what it was given.
    Kept {
        machine: usize,
        life: u64,
        token: Option<Token>,
        changes: Vec<Change>,
    },
    /// Jobs that are over are read.
    Loaded {
        machine: usize,
        life: u64,
    },
    Stop {
        machine: usize,
        life: u64,
    },
    Start {
        machine: usize,
    },
    Misbehave {
        machine: usize,
    },
}

/// A network and its time.
pub struct World {
    now: Moment,
    chance: Chance,
    weather: Weather,
    machines: Vec<Machine>,
    by_id: BTreeMap<NodeId, usize>,
    links: BTreeMap<(usize, usize), Link>,
    events: BTreeMap<(Moment, u64), Event>,
    sequence: u64,
    epoch: u64,
    executor: Executor,
    trace: blake3::Hasher,
    /// Messages that arrived.
    pub messages: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Whose jobs others were told of, and under which names.
    pub named: BTreeSet<(usize, JobId)>,
    /// Units whose computation ended, delivered or not.
    pub units: u64,
    /// Calls of kernels that were executed, as far as they were delivered anywhere.
    pub calls: u64,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self {
            now: BEGINNING,
            chance: Chance::new(seed),
            weather: Weather::default(),
            machines: Vec::new(),
            by_id: BTreeMap::new(),
            links: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            epoch: 0,
            executor: Executor::default(),
            trace: blake3::Hasher::new(),
            messages: 0,
            bytes: 0,
            named: BTreeSet::new(),
            units: 0,
            calls: 0,
        }
    }

    /// A world of a seed, a requester, and these, who have had a second to meet; with the requester's place.
    pub fn around_a_requester(seed: u64, others: &[Actor]) -> (Self, usize) {
        let mut world = Self::new(seed);
        world.add(Actor::Seed);
        let me = world.add(Actor::Requester);
        for other in others {
            world.add(*other);
        }
        world.run_until(Millis(1_000), |_| false);
        (world, me)
    }

    /// Sets how the network behaves from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Adds a participant, who starts at once and knows the seeds that were added before.
    pub fn add(&mut self, actor: Actor) -> usize {
        let machine = self.machines.len();
        let id = NodeId(self.chance.name());
        let seeds = (0..machine).filter(|seed| matches!(self.machines[*seed].actor, Actor::Seed)).collect();
        self.by_id.insert(id, machine);
        self.machines.push(Machine {
            id,
            actor,
            life: 0,
            node: None,
            hostile: None,
            store: BTreeMap::new(),
            ordered: BTreeMap::new(),
            seeds,
            wake_at: None,
            hung: None,
            free_at: BEGINNING,
            running: BTreeMap::new(),
            resting: BTreeMap::new(),
            told: BTreeMap::new(),
            saved: 0,
            audit_costs: 0,
        });
        self.start(machine);
        machine
    }

    /// The id of a participant.
    pub fn id(&self, machine: usize) -> NodeId {
        self.machines[machine].id
    }

    /// The node of a participant that is up and not hostile.
    pub fn node(&self, machine: usize) -> &Node {
        self.machines[machine].node.as_ref().expect("the machine runs an honest node")
    }

    /// Submits a job on a participant's node.
    pub fn submit(&mut self, machine: usize, job: Job) -> JobId {
        let node = self.machines[machine].node.as_mut().expect("the machine runs a node");
        let id = node.next_job_id();
        self.input(machine, Input::Submitted { id, job: Box::new(job) });
        id
    }

    /// Reports any fact to a participant's node.
    pub fn input(&mut self, machine: usize, input: Input) {
        let now = self.now;
        let Machine { node: Some(node), saved, audit_costs, .. } = &mut self.machines[machine] else { return };
        node.handle(now, input);
        *saved += AUDITED_ENTRIES;
        if *saved >= *audit_costs {
            node.audit().unwrap_or_else(|what| panic!("machine {machine} at {now:?}: {what}"));
            (*saved, *audit_costs) = (0, node.audited_entries());
        }
        self.carry_out(machine);
    }

    /// How a job stands.
    pub fn job(&self, machine: usize, job: JobId) -> JobStatus {
        match self.node(machine).job(job).expect("the job is known") {
            Found::Here(status) => status,
            Found::Kept(key) => read_status(job, self.record(machine, key)).expect("its record can be read"),
        }
    }

    /// What somebody sees of a job who looks only when told that it changed.
    pub fn told(&self, machine: usize, job: JobId) -> Option<&JobSummary> {
        self.machines[machine].told.get(&job)
    }

    /// Whether a job is over, and that is kept.
    pub fn is_over(&self, machine: usize, job: JobId) -> bool {
        self.node(machine).is_over(job) == Some(true)
    }

    /// A completed job's result.
    pub fn result(&self, machine: usize, job: JobId) -> String {
        let key = self.node(machine).result(job).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        String::from_utf8(self.record(machine, key).to_vec()).expect("a result is text")
    }

    fn record(&self, machine: usize, key: StoreKey) -> &[u8] {
        self.machines[machine].ordered.get(&key).expect("the store holds what the node says it does")
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Millis {
        self.now - BEGINNING
    }

    /// The hash of everything that has happened, in order.
    pub fn trace(&self) -> Hash {
        Hash(*self.trace.finalize().as_bytes())
    }

    /// Lets time run until something holds, for at most `most`; whether it held.
    pub fn run_until(&mut self, most: Millis, holds: impl Fn(&World) -> bool) -> bool {
        let end = self.now + most;
        let mut looked_at = None;
        for _ in 0..MOST_EVENTS {
            // What people look at changes no faster than they look.
            if looked_at.is_none_or(|at| self.now >= at + Millis(20)) {
                looked_at = Some(self.now);
                if holds(self) {
                    return true;
                }
            }
            let Some(((at, _), event)) = self.events.pop_first() else { break };
            if at > end {
                self.now = end;
                self.schedule(at, event);
                return holds(self);
            }
            self.now = self.now.max(at);
            self.happen(event);
        }
        holds(self)
    }

    /// Stops a machine without a word; its store stays.
    pub fn stop(&mut self, machine: usize) {
        self.note("stop", machine, machine, &[]);
        self.machines[machine].node = None;
        self.machines[machine].hostile = None;
        self.machines[machine].life += 1;
        self.machines[machine].running.clear();
        self.machines[machine].resting.clear();
        self.machines[machine].ordered = self.machines[machine].store.clone();
        let broken: Vec<(usize, usize)> =
            self.links.keys().filter(|(a, b)| *a == machine || *b == machine).copied().collect();
        for (a, b) in broken {
            self.unlink(a, b);
        }
    }

    /// Starts a machine with what its store holds.
    pub fn start(&mut self, machine: usize) {
        self.note("start", machine, machine, &[]);
        let life = self.machines[machine].life;
        let Machine { id, actor, .. } = self.machines[machine];
        if let Actor::Hostile = actor {
            self.machines[machine].hostile = Some(Hostile::new(self.chance.number()));
            let first = self.now + Millis(self.chance.between(1, 50));
            self.schedule(first, Event::Misbehave { machine });
            return;
        }
        let config = NodeConfig {
            me: id,
            role: actor.role(),
            agent: "p2pnet simulator".to_owned(),
            seed: self.chance.name(),
            keep: Keep::default(),
            can_rest: true,
            rewrite: REWRITE_VERSION,
        };
        let mut node = Node::new(config);
        node.await_lines();
        node.restore(self.now, self.machines[machine].to_start_with(), &plan::read);
        self.machines[machine].node = Some(node);
        let loaded = self.now + DISK;
        self.schedule(loaded, Event::Loaded { machine, life });
        for seed in self.machines[machine].seeds.clone() {
            let node = self.machines[seed].id;
            self.input(machine, Input::SeedKnown { node, addresses: vec![format!("/sim/{seed}")] });
        }
        if let Some(cores) = actor.cores() {
            let settings = ProviderSettings { lending: true, cores, ..ProviderSettings::default() };
            self.input(machine, Input::Settings(settings));
        }
        self.carry_out(machine);
        if let Actor::Fickle { stays, .. } = actor {
            let at = self.now + self.around(stays);
            self.schedule(at, Event::Stop { machine, life });
        }
    }

    // ---- events --------------------------------------------------------------------------------------------------

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { machine } => {
                let now = self.now;
                if self.machines[machine].wake_at.is_none_or(|at| at > now) {
                    return; // it was moved
                }
                self.machines[machine].wake_at = None;
                if self.machines[machine].node.is_some() {
                    self.input(machine, Input::Tick);
                    let next = self.machines[machine].node.as_ref().and_then(Node::next_deadline);
                    assert!(next.is_none_or(|next| next > now), "a tick leaves nothing that is due");
                }
            }
            Event::Dialled { from, to, life } => self.dialled(from, to, life),
            Event::Arrive { from, to, epoch, bytes } => {
                if self.links.get(&pair(from, to)).is_some_and(|link| link.epoch == epoch && !link.dead) {
                    self.arrive(from, to, &bytes);
                }
            }
            Event::Break { a, b, epoch } => {
                if self.links.get(&(a, b)).is_some_and(|link| link.epoch == epoch) {
                    self.unlink(a, b);
                }
            }
            Event::Executed { machine, life, run, units, report } => {
                if self.machines[machine].life == life && self.machines[machine].running.remove(&run).is_some() {
                    self.machines[machine].resting.remove(&run);
                    self.units += units;
                    self.calls += report.outcomes.len() as u64;
                    self.input(machine, Input::Executed { run, report: *report });
                }
            }
            Event::Kept { machine, life, token, changes } => {
                // What a machine that stopped had not written is lost.
                if self.machines[machine].life == life {
                    change(&mut self.machines[machine].store, changes);
                    if let Some(token) = token {
                        self.input(machine, Input::Kept { token });
                    }
                }
            }
            Event::Loaded { machine, life } => {
                if self.machines[machine].life == life {
                    let lines = self.machines[machine].lines();
                    self.input(machine, Input::Loaded { lines, is_all: true });
                }
            }
            Event::Stop { machine, life } => {
                if self.machines[machine].life == life {
                    self.stop(machine);
                    if let Actor::Fickle { away, .. } = self.machines[machine].actor {
                        let at = self.now + self.around(away);
                        self.schedule(at, Event::Start { machine });
                    }
                }
            }
            Event::Start { machine } => {
                if self.machines[machine].node.is_none() {
                    self.start(machine);
                }
            }
            Event::Misbehave { machine } => self.misbehave(machine),
        }
    }

    fn dialled(&mut self, from: usize, to: usize, life: u64) {
        let up = self.machines[from].life == life && self.is_up(from) && self.is_up(to) && from != to;
        let known = self.links.contains_key(&pair(from, to));
        if up && !known && self.chance.below(100) >= self.weather.failed_dials {
            self.link(from, to);
        } else if up && known {
            self.connected(from, to);
        } else if self.machines[from].life == life {
            let node = self.machines[to].id;
            self.input(from, Input::DialFailed { node });
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        self.epoch += 1;
        let epoch = self.epoch;
        let (a, b) = pair(a, b);
        self.links.insert((a, b), Link { epoch, last: [self.now; 2], dead: false });
        if let Some(life) = self.weather.link_life {
            let at = self.now + self.around(life);
            self.schedule(at, Event::Break { a, b, epoch });
        }
        self.note("link", a, b, &[]);
        self.connected(a, b);
        self.connected(b, a);
    }

    fn connected(&mut self, machine: usize, other: usize) {
        let node = self.machines[other].id;
        if let Some(hostile) = &mut self.machines[machine].hostile {
            hostile.met(other);
        }
        self.input(machine, Input::Connected { node, path: Path::Direct, transport: "sim" });
    }

    fn unlink(&mut self, a: usize, b: usize) {
        if self.links.remove(&pair(a, b)).is_none() {
            return;
        }
        self.note("break", a, b, &[]);
        for (machine, other) in [(a, b), (b, a)] {
            let node = self.machines[other].id;
            if let Some(hostile) = &mut self.machines[machine].hostile {
                hostile.lost(other);
            }
            self.input(machine, Input::Disconnected { node });
        }
    }

    fn arrive(&mut self, from: usize, to: usize, bytes: &[u8]) {
        self.messages += 1;
        self.bytes += bytes.len() as u64;
        self.note("message", from, to, bytes);
        let node = self.machines[from].id;
        match wire::decode(Version::NEWEST, bytes) {
            Ok(message) => {
                if let Some(hostile) = &mut self.machines[to].hostile {
                    hostile.heard(from, &message);
                }
                self.input(to, Input::Received { from: node, message });
            }
            Err(WireError::UnknownKind) => {}
            Err(WireError::TooLong(_) | WireError::Malformed | WireError::OtherVersion(_)) => {
                self.input(to, Input::Garbled { from: node });
            }
        }
    }

    /// A hostile machine does one thing, and thinks of the next.
    fn misbehave(&mut self, machine: usize) {
        let Some(mut hostile) = self.machines[machine].hostile.take() else { return };
        let everybody: Vec<NodeId> = self.machines.iter().map(|machine| machine.id).collect();
        let (to, bytes) = hostile.next(self.machines[machine].id, &everybody);
        self.machines[machine].hostile = Some(hostile);
        match bytes {
            Some(bytes) => self.transmit(machine, to, bytes),
            None => self.dial(machine, to),
        }
        let at = self.now + Millis(self.chance.between(5, 200));
        self.schedule(at, Event::Misbehave { machine });
    }

    // ---- orders --------------------------------------------------------------------------------------------------

    fn carry_out(&mut self, machine: usize) {
        while let Some(effect) = self.machines[machine].node.as_mut().and_then(Node::poll_effect) {
            match effect {
                Effect::Network(NetworkOrder::Dial { node, .. }) => {
                    if let Some(to) = self.by_id.get(&node).copied() {
                        self.dial(machine, to);
                    } else {
                        self.input(machine, Input::DialFailed { node });
                    }
                }
                Effect::Network(NetworkOrder::Hang { node, .. }) => {
                    if let Some(to) = self.by_id.get(&node).copied() {
                        self.unlink(machine, to);
                    }
                }
                Effect::Network(NetworkOrder::Send { to, message }) => self.send(machine, to, &message),
                Effect::Host(HostOrder::Execute { run, kernel, batch, cpu_percent }) => {
                    self.execute(machine, run, &kernel, &batch, cpu_percent);
                }
                Effect::Host(HostOrder::Abort { run }) => self.abort(machine, run),
                Effect::Host(HostOrder::Rest { run, rests }) => self.rest(machine, run, rests),
                Effect::Host(HostOrder::Merge { job, merge }) => {
                    self.input(machine, Input::Merged { job, merged: merge.run() })
                }
                Effect::Host(HostOrder::Change(changes)) => self.keep(machine, None, changes),
                Effect::Host(HostOrder::Keep { token, changes }) => self.keep(machine, Some(token), changes),
                Effect::Tell(Notice::JobChanged(id)) => {
                    let machine = &mut self.machines[machine];
                    if let Some(summary) = machine.node.as_ref().and_then(|node| node.summary(id)) {
                        machine.told.insert(id, summary);
                    }
                }
                Effect::Host(HostOrder::Cores(_))
                | Effect::Tell(Notice::JobRemoved { id: _, owner: _ } | Notice::NetworkChanged) => {}
            }
        }
        self.wake(machine);
    }

    /// Writes changes, which takes a moment, one after the other.
    fn keep(&mut self, machine: usize, token: Option<Token>, changes: Vec<Change>) {
        for record in changes.iter().filter_map(|(_, record)| record.as_ref()) {
            self.note("save", machine, machine, record);
        }
        change(&mut self.machines[machine].ordered, changes.clone());
        let (at, life) = (self.now + DISK, self.machines[machine].life);
        self.schedule(at, Event::Kept { machine, life, token, changes });
    }

    fn execute(
        &mut self,
        machine: usize,
        run: RunId,
        kernel: &Arc<[u8]>,
        batch: &p2pnet_shared::engine::Batch,
        cpu: u8,
    ) {
        let units = executor::units(batch);
        let hung = self.machines[machine].hung;
        let (millis, report) = match self.machines[machine].actor {
            _ if hung == Some(Hung::ForEver) => {
                self.machines[machine].running.insert(run, None);
                return;
            }
            Actor::Donor { units_per_second, .. } | Actor::Fickle { units_per_second, .. } => {
                let micros = units.saturating_mul(1_000_000) / units_per_second.max(1) + 20 * batch.calls.len() as u64;
                (micros * 100 / u64::from(cpu) / 1000, self.executor.run(kernel, batch, micros))
            }
            Actor::Broken { .. } => (BROKEN.0, executor::broken()),
            Actor::LyingOffer { units_per_second } => {
                let micros = units.saturating_mul(1_000_000) / units_per_second.max(1) + 20 * batch.calls.len() as u64;
                let free_at = self.machines[machine].free_at.max(self.now) + Millis(micros / 1000);
                self.machines[machine].free_at = free_at;
                ((free_at - self.now).0, self.executor.run(kernel, batch, 1))
            }
            Actor::Sluggish { delay, .. } => (delay.0, self.executor.run(kernel, batch, delay.0 * 1000)),
            Actor::BlackHole { .. } => {
                self.machines[machine].running.insert(run, None);
                return;
            }
            Actor::Seed | Actor::Requester | Actor::Hostile => panic!("it lends nothing"),
        };
        let (millis, report) = match hung {
            Some(Hung::Replaced(after)) => (batch.limits.time_millis + after.0, executor::timed_out()),
            Some(Hung::ForEver) | None if executor::takes_all_its_time(&report) => (batch.limits.time_millis, report),
            Some(Hung::ForEver) | None => (millis, report),
        };
        let at = self.now + Millis(millis);
        let life = self.machines[machine].life;
        let key = self.schedule(at, Event::Executed { machine, life, run, units, report: Box::new(report) });
        self.machines[machine].running.insert(run, Some(key));
        let cores = usize::from(self.machines[machine].actor.cores().unwrap_or(0));
        let Machine { running, resting, .. } = &self.machines[machine];
        assert!(running.len() <= cores + resting.len(), "a node runs no more than it has cores");
        assert!(resting.len() <= 3 * cores, "nor sets more than three times as many aside");
    }

    /// Sets a run aside where it stands, or lets it go on.
    fn rest(&mut self, machine: usize, run: RunId, rests: bool) {
        let now = self.now;
        let Some(end) = self.machines[machine].running.get(&run).copied() else { return };
        if rests {
            let left = end.and_then(|key| Some((key.0 - now, self.events.remove(&key)?)));
            self.machines[machine].resting.insert(run, left);
        } else if let Some(left) = self.machines[machine].resting.remove(&run) {
            let end = left.map(|(left, event)| self.schedule(now + left, event));
            self.machines[machine].running.insert(run, end);
        }
    }

    /// Stops a run: its report comes at once.
    fn abort(&mut self, machine: usize, run: RunId) {
        let Some(end) = self.machines[machine].running.get(&run).copied() else { return };
        // One that rests has no core until it has ended.
        if let Some(left) = self.machines[machine].resting.get_mut(&run) {
            *left = None;
        }
        if let Some(key) = end {
            self.events.remove(&key);
        }
        let life = self.machines[machine].life;
        let at = self.now + Millis(1);
        let key = self
            .schedule(at, Event::Executed { machine, life, run, units: 0, report: Box::new(executor::cancelled()) });
        self.machines[machine].running.insert(run, Some(key));
    }

    fn dial(&mut self, from: usize, to: usize) {
        let life = self.machines[from].life;
        let at = self.now + self.latency() + self.latency();
        self.schedule(at, Event::Dialled { from, to, life });
    }

    fn send(&mut self, from: usize, to: NodeId, message: &Message) {
        if let Message::Assign(assignment) = message {
            self.named.insert((from, assignment.job));
        }
        let bytes = wire::encode(Version::NEWEST, message).expect("a node sends what fits a frame");
        if let Some(to) = self.by_id.get(&to).copied() {
            self.transmit(from, to, bytes);
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let latency = self.latency();
        let now = self.now;
        let Some(link) = self.links.get_mut(&pair(from, to)) else { return };
        let epoch = link.epoch;
        let last = &mut link.last[usize::from(from > to)];
        *last = (*last).max(now + latency);
        let at = *last;
        self.schedule(at, Event::Arrive { from, to, epoch, bytes });
    }

    // ---- helpers -------------------------------------------------------------------------------------------------

    fn is_up(&self, machine: usize) -> bool {
        self.machines[machine].node.is_some() || self.machines[machine].hostile.is_some()
    }

    /// Makes sure that a machine is woken when its node wants to be.
    fn wake(&mut self, machine: usize) {
        let now = self.now;
        let this = &mut self.machines[machine];
        let Some(deadline) = this.node.as_ref().and_then(Node::next_deadline) else { return };
        let deadline = deadline.max(now);
        if this.wake_at.is_none_or(|at| deadline < at) {
            this.wake_at = Some(deadline);
            self.schedule(deadline, Event::Wake { machine });
        }
    }

    fn schedule(&mut self, at: Moment, event: Event) -> (Moment, u64) {
        self.sequence += 1;
        let key = (at, self.sequence);
        self.events.insert(key, event);
        key
    }

    fn latency(&mut self) -> Millis {
        let (least, most) = self.weather.latency;
        Millis(self.chance.between(least.0, most.0))
    }

    /// A time around a mean: anything from nothing to its double.
    fn around(&mut self, mean: Millis) -> Millis {
        Millis(self.chance.between(1, mean.0 * 2))
    }

    fn note(&mut self, what: &str, from: usize, to: usize, bytes: &[u8]) {
        self.trace.update(what.as_bytes());
        self.trace.update(&self.now.0.to_le_bytes());
        self.trace.update(&(from as u64).to_le_bytes());
        self.trace.update(&(to as u64).to_le_bytes());
        self.trace.update(&(bytes.len() as u64).to_le_bytes());
        self.trace.update(bytes);
    }
}

/// The name of a link.
fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
