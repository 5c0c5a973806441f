//! The tab's executor: a pool of Web Workers. A worker stops what it runs when it is asked to; one that does not, or that
//! cannot be asked, is terminated, and another takes its place.
//!
//! Every batch handed in ends in exactly one report, whatever becomes of its worker.

mod current;
pub(crate) mod envelope;
mod lanes;
mod member;
pub(crate) mod modules;
pub(crate) mod protocol;

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use js_sys::{Array, WebAssembly::Module};
use p2pnet_shared::engine::{Batch, BatchReport, EngineName, Trap};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, BlobPropertyBag, Url};

pub use self::lanes::Lane;
use self::{
    current::{Current, Finish},
    lanes::Lanes,
    member::{Doing, Heard, Member},
    modules::{Advice, Modules},
    protocol::Said,
};
use crate::{
    js::{self, monotonic_millis},
    pieces::{self, Piece},
    reins,
};

const SHIM: &str = include_str!("worker_shim.js");
/// A worker that is not up by then will not come up.
const BOOT_MILLIS: f64 = 20_000.0;
/// So many starts in a row may fail before waiting batches are given back.
const MOST_FAILED_STARTS: u32 = 3;
/// A worker serves so many idle ticks of the pool before it is let go; one is always kept.
const IDLE_TICKS_KEPT: u32 = 240;

/// Names a run in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolRun(u64);

struct Waiting {
    run: u64,
    lane: Lane,
    kernel: Arc<[u8]>,
    batch: Batch,
    cpu_percent: u8,
    /// Whether it is set aside: then it does not begin.
    rests: bool,
    finish: Finish,
}

struct State {
    /// Where workers find their script.
    shim_url: Result<String, String>,
    members: Vec<Member>,
    waiting: VecDeque<Waiting>,
    modules: Modules,
    /// The runs that workers have.
    lanes: Lanes,
    last_id: u64,
    failed_starts: u32,
    idle_ticks: u32,
    trouble: Option<String>,
    /// Why workers that need the interpreter do not have it.
    no_interpreter: Option<String>,
    /// Whether so many starts failed in a row that no further one is tried before there is work.
    given_up: bool,
    /// What was last told of trouble.
    told: (Option<String>, bool, Option<String>),
    /// Which engine workers used last.
    engine: EngineName,
}

/// The pool. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    state: Rc<RefCell<State>>,
    trouble_changed: Rc<dyn Fn()>,
}

impl Pool {
    /// A pool without workers yet; `trouble_changed` is called when [`Pool::trouble`] changes.
    pub fn new(trouble_changed: Rc<dyn Fn()>) -> Self {
        let shim = |script: String| script_url(&SHIM.replace("OWN_SCRIPT", &script));
        let state = State {
            shim_url: Piece::Worker
                .address()
                .and_then(|script| shim(script).map_err(|thrown| js::thrown_text(&thrown))),
            members: Vec::new(),
            waiting: VecDeque::new(),
            modules: Modules::new(),
            lanes: Lanes::new(),
            last_id: 0,
            failed_starts: 0,
            idle_ticks: 0,
            trouble: None,
            no_interpreter: None,
            given_up: false,
            told: (None, true, None),
            engine: EngineName::Browser,
        };
        Self { state: Rc::new(RefCell::new(state)), trouble_changed }
    }

    /// How many batches of the node run at once from now on. The first worker starts at once, others when needed.
    pub fn set_cores(&self, cores: u16) {
        self.state.borrow_mut().lanes.set_cores(usize::from(cores));
        if cores > 0 && self.state.borrow().members.is_empty() {
            self.start_worker();
        }
        self.let_go_of_spare(usize::from(cores).max(1));
        self.pump();
        self.tell();
    }

    /// Runs a batch; `finish` gets its report, exactly once. Where no worker can start that may be
    /// before this call returns.
    pub fn execute(
        &self,
        lane: Lane,
        kernel: Arc<[u8]>,
        batch: Batch,
        cpu_percent: u8,
        finish: impl FnOnce(BatchReport) + 'static,
    ) -> PoolRun {
        let run = self.next_id();
        let waiting = Waiting { run, lane, kernel, batch, cpu_percent, rests: false, finish: Box::new(finish) };
        self.state.borrow_mut().waiting.push_back(waiting);
        self.pump();
        self.tell();
        PoolRun(run)
    }

    /// Stops a run within some milliseconds; its report then says [`Trap::Cancelled`] for the call it was in, unless it
    /// had ended on its own. Nothing happens if its report was given.
    pub fn abort(&self, PoolRun(run): PoolRun) {
        let mut state = self.state.borrow_mut();
        let ended = if let Some(place) = state.waiting.iter().position(|waiting| waiting.run == run) {
            state.waiting.remove(place).map(|waiting| waiting.unrun(Trap::Cancelled))
        } else {
            let member = state.members.iter_mut().find(|member| member.current_run() == Some(run));
            let to_dismiss = member
                .and_then(|member| (!member.ask_to_stop(Trap::Cancelled, monotonic_millis())).then_some(member.id));
            to_dismiss.and_then(|id| state.dismiss(id, Trap::Cancelled))
        };
        drop(state);
        report(ended);
        self.pump();
    }

    /// Whether runs can be set aside: where page and workers can have memory in common.
    pub fn can_rest(&self) -> bool {
        reins::has_shared_memory()
    }

    /// Sets a run aside (`rests`), or lets it go on. What is set aside keeps its worker and all that it has done, even in the
    /// middle of a call, takes no room of its lane, and its time stands still; one that waits for a worker does not begin.
    /// It can be stopped as ever. Nothing happens if its report was given, or where runs cannot be set aside.
    pub fn rest(&self, PoolRun(run): PoolRun, rests: bool) {
        let mut state = self.state.borrow_mut();
        if let Some(waiting) = state.waiting.iter_mut().find(|waiting| waiting.run == run) {
            waiting.rests = rests && self.can_rest();
        } else if let Some(member) = state.members.iter_mut().find(|member| member.current_run() == Some(run))
            && member.rest(rests, monotonic_millis())
        {
            state.lanes.rest(run, rests);
        }
        drop(state);
        self.pump();
        self.tell();
    }

    /// Whether a run has not ended yet.
    pub fn knows(&self, PoolRun(run): PoolRun) -> bool {
        let state = self.state.borrow();
        state.waiting.iter().any(|waiting| waiting.run == run) || state.lanes.has(run)
    }

    /// Time has passed: stops what runs over its time. Call it a few times a second, hidden tab or not.
    pub fn tick(&self) {
        let now = monotonic_millis();
        let mut ended = Vec::new();
        let mut state = self.state.borrow_mut();
        let late: Vec<(u64, Trap)> = state.members.iter_mut().filter_map(|member| member.late(now)).collect();
        for (id, trap) in late {
            if trap == Trap::HostFailed {
                state.failed_starts += 1;
                state.trouble = Some("a worker did not start in time".into());
            }
            ended.extend(state.dismiss(id, trap));
        }
        let is_quiet = state.lanes.is_empty() && state.waiting.is_empty();
        state.idle_ticks = if is_quiet { state.idle_ticks.saturating_add(1) } else { 0 };
        let is_rested = state.idle_ticks == IDLE_TICKS_KEPT;
        drop(state);
        report(ended);
        if is_rested {
            self.let_go_of_spare(1);
        }
        self.pump();
        self.tell();
    }

    /// Why workers do not start, while they do not.
    pub fn trouble(&self) -> Option<String> {
        self.state.borrow().trouble.clone()
    }

    /// Why kernels that need the interpreter cannot have it, while that is so.
    pub fn no_interpreter(&self) -> Option<String> {
        self.state.borrow().no_interpreter.clone()
    }

    /// Whether something may be offered to others: a worker is up, or none has failed to start.
    pub fn can_compute(&self) -> bool {
        self.state.borrow().can_compute()
    }

    /// Forgets that workers did not start, and tries to start one if any work is wanted here.
    pub fn try_again(&self) {
        let mut state = self.state.borrow_mut();
        (state.trouble, state.given_up, state.failed_starts) = (None, false, 0);
        let is_wanted = state.lanes.cores() > 0 && state.members.is_empty();
        drop(state);
        if is_wanted {
            self.start_worker();
        }
        self.tell();
    }

    /// Tells of trouble when it begins, ends or has another reason.
    fn tell(&self) {
        let mut state = self.state.borrow_mut();
        let now = (state.trouble.clone(), state.can_compute(), state.no_interpreter.clone());
        if state.told != now {
            state.told = now;
            drop(state);
            (self.trouble_changed)();
        }
    }

    fn next_id(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.last_id += 1;
        state.last_id
    }

    /// Hands waiting batches to idle workers and starts workers where that helps.
    fn pump(&self) {
        loop {
            let mut state = self.state.borrow_mut();
            if state.failed_starts >= MOST_FAILED_STARTS {
                state.failed_starts = 0; // the next batch tries again
                state.given_up = true;
                let lost: Vec<_> = state.waiting.drain(..).map(|waiting| waiting.unrun(Trap::HostFailed)).collect();
                drop(state);
                report(lost);
                return;
            }
            // While none starts nothing is offered to others, so no work of theirs would try again.
            if state.failed_starts > 0 && state.members.is_empty() && !state.given_up {
                drop(state);
                self.start_worker();
                continue;
            }
            if let Some((place, idle)) = state.next_pair() {
                let refused = state.assign(place, idle);
                drop(state);
                report(refused);
                continue;
            }
            if state.members.iter().any(Member::is_idle)
                || !state.waiting.iter().any(|waiting| state.is_allowed(waiting))
            {
                return; // what waits, waits for a kernel to be compiled
            }
            let booting = state.members.iter().filter(|member| member.is_booting()).count();
            let wanted = state.allowed_now();
            drop(state);
            if booting >= wanted {
                return;
            }
            self.start_worker();
        }
    }

    fn start_worker(&self) {
        let id = self.next_id();
        let weak = Rc::downgrade(&self.state);
        let trouble_changed = self.trouble_changed.clone();
        let hear = move |id, heard| {
            if let Some(state) = weak.upgrade() {
                Pool { state, trouble_changed: trouble_changed.clone() }.hear(id, heard);
            }
        };
        let mut state = self.state.borrow_mut();
        let started = match &state.shim_url {
            Ok(url) => Member::start(id, url, hear).map_err(|thrown| js::thrown_text(&thrown)),
            Err(reason) => Err(reason.clone()),
        };
        match started {
            Ok(member) => {
                state.members.push(member);
                spawn_local(self.clone().bring_program(id));
            }
            Err(reason) => {
                state.failed_starts += 1;
                state.trouble = Some(reason);
            }
        }
    }

    /// Gives a worker its program, which the first one has to wait for.
    async fn bring_program(self, id: u64) {
        let module = pieces::worker_module().await;
        let mut state = self.state.borrow_mut();
        let Some(member) = state.members.iter_mut().find(|member| member.id == id) else { return };
        let brought = module
            .and_then(|module| member.boot(&module, monotonic_millis()).map_err(|thrown| js::thrown_text(&thrown)));
        drop(state);
        if let Err(reason) = brought {
            self.hear(id, Heard::Broke(reason));
        }
    }

    fn hear(&self, id: u64, heard: Heard) {
        let mut state = self.state.borrow_mut();
        let ended = match heard {
            Heard::Said(Said::Failed { reason }, _) | Heard::Broke(reason) => state.lose(id, reason),
            Heard::Said(said, module) => state.listen(id, said, module),
        };
        drop(state);
        report(ended);
        self.pump();
        self.tell();
    }

    /// Terminates idle workers beyond `keep` workers in all, not counting those whose run is set aside.
    fn let_go_of_spare(&self, keep: usize) {
        let mut state = self.state.borrow_mut();
        let mut spare = state.members.len().saturating_sub(state.lanes.resting()).saturating_sub(keep);
        state.members.retain(|member| {
            let goes = spare > 0 && member.is_idle();
            spare -= usize::from(goes);
            !goes
        });
    }
}

impl State {
    fn can_compute(&self) -> bool {
        self.trouble.is_none() || self.members.iter().any(|member| !member.is_booting())
    }

    /// Whether a waiting batch could begin now if there were a worker.
    fn is_allowed(&self, waiting: &Waiting) -> bool {
        !waiting.rests && self.lanes.room(waiting.lane) > 0
    }

    /// The first waiting batch whose lane has room, and an idle worker that can begin it at once: rather one that has the
    /// kernel, and none while another worker compiles it.
    fn next_pair(&self) -> Option<(usize, usize)> {
        self.waiting.iter().enumerate().filter(|(_, waiting)| self.is_allowed(waiting)).find_map(|(place, waiting)| {
            let kernel = waiting.batch.kernel;
            let idle = || self.members.iter().enumerate().filter(|(_, member)| member.is_idle());
            let knowing = idle().find(|(_, member)| member.has(kernel));
            let any = || idle().next().filter(|_| self.modules.advice(kernel) != Advice::Wait);
            knowing.or_else(any).map(|(idle, _)| (place, idle))
        })
    }

    /// How many waiting batches could run now if there were workers.
    fn allowed_now(&self) -> usize {
        let waits = |lane| self.waiting.iter().filter(|waiting| waiting.lane == lane && !waiting.rests).count();
        let of = |lane| waits(lane).min(self.lanes.room(lane));
        of(Lane::Node) + of(Lane::Person)
    }

    fn assign(&mut self, place: usize, member: usize) -> Option<(Finish, BatchReport)> {
        let waiting = self.waiting.remove(place)?;
        let Waiting { run, lane, kernel, batch, cpu_percent, rests: _, finish } = waiting;
        // A limit in milliseconds is far below 2^53.
        let limit = batch.limits.time_millis as f64;
        let current = Current::new(run, batch.calls.len(), limit, monotonic_millis(), self.engine, finish);
        match self.members.get_mut(member)?.run(current, &kernel, &batch, cpu_percent, &mut self.modules) {
            Ok(()) => {
                self.lanes.begin(run, lane);
                None
            }
            Err(current) => Some(current.cut_off(Trap::HostFailed, monotonic_millis())),
        }
    }

    /// Takes in what a worker said; gives the report if that ended its run.
    fn listen(&mut self, id: u64, said: Said, module: Option<Module>) -> Option<(Finish, BatchReport)> {
        let member = self.members.iter_mut().find(|member| member.id == id)?;
        match (said, &mut member.doing) {
            (Said::Ready, doing) => {
                *doing = Doing::Idle;
                (self.trouble, self.given_up, self.failed_starts) = (None, false, 0);
                None
            }
            (Said::Compiled { kernel, facts }, _) => {
                if let Some(module) = module {
                    self.modules.compiled(kernel, id, module, facts);
                }
                None
            }
            (Said::NoInterpreter { reason }, _) => {
                self.no_interpreter = reason;
                None
            }
            (Said::NotCompiled { kernel }, _) => {
                self.modules.not_compiled(kernel, id);
                None
            }
            (Said::Outcomes { run, engine, outcomes }, Doing::Running(current)) if current.run == run => {
                self.engine = engine;
                current.take(engine, outcomes.into_iter().map(Into::into));
                None
            }
            (Said::Resting { run, millis }, Doing::Running(current)) if current.run == run => {
                current.rest(millis, monotonic_millis());
                None
            }
            (Said::Done { run, engine, outcomes, busy_micros, prepared }, Doing::Running(current))
                if current.run == run =>
            {
                self.engine = engine;
                current.take(engine, outcomes.into_iter().map(Into::into));
                let Doing::Running(current) = std::mem::replace(&mut member.doing, Doing::Idle) else { return None };
                self.lanes.end(run);
                self.modules.abandon(id);
                Some(current.end(busy_micros, prepared))
            }
            // Said of a run that is no longer this worker's.
            (Said::Outcomes { .. } | Said::Resting { .. } | Said::Done { .. } | Said::Failed { .. }, _) => None,
        }
    }

    /// A worker broke: out of memory, a panic, a script that did not load.
    fn lose(&mut self, id: u64, reason: String) -> Option<(Finish, BatchReport)> {
        let member = self.members.iter().find(|member| member.id == id)?;
        if member.is_booting() {
            self.failed_starts += 1;
            self.trouble = Some(reason);
        }
        self.dismiss(id, Trap::HostFailed)
    }

    /// Terminates a worker; gives the report of what it ran.
    fn dismiss(&mut self, id: u64, trap: Trap) -> Option<(Finish, BatchReport)> {
        let place = self.members.iter().position(|member| member.id == id)?;
        let mut member = self.members.swap_remove(place);
        self.modules.abandon(id);
        let Doing::Running(current) = std::mem::replace(&mut member.doing, Doing::Idle) else { return None };
        self.lanes.end(current.run);
        Some(current.cut_off(trap, monotonic_millis()))
    }
}

impl Waiting {
    /// The report of a batch that no worker ever began.
    fn unrun(self, trap: Trap) -> (Finish, BatchReport) {
        Current::new(self.run, self.batch.calls.len(), 0.0, 0.0, EngineName::Browser, self.finish).cut_off(trap, 0.0)
    }
}

impl Member {
    fn is_idle(&self) -> bool {
        matches!(self.doing, Doing::Idle)
    }

    fn is_booting(&self) -> bool {
        matches!(self.doing, Doing::Waiting | Doing::Booting(_))
    }

    fn current_run(&self) -> Option<u64> {
        match &self.doing {
            Doing::Running(current) => Some(current.run),
            Doing::Waiting | Doing::Booting(_) | Doing::Idle => None,
        }
    }

    /// Why it must be terminated, if it must. A worker whose batch ran over its time is asked to stop first.
    fn late(&mut self, now: f64) -> Option<(u64, Trap)> {
        let (reason, was_asked) = match &self.doing {
            Doing::Booting(since) => return (now - since > BOOT_MILLIS).then_some((self.id, Trap::HostFailed)),
            Doing::Waiting | Doing::Idle => return None,
            Doing::Running(current) => current.must_stop(now)?,
        };
        (was_asked || !self.ask_to_stop(reason, now)).then_some((self.id, reason))
    }
}

/// Tells the owners of ended runs, outside every borrow: they may hand in the next batch at once.
fn report(ended: impl IntoIterator<Item = (Finish, BatchReport)>) {
    for (finish, report) in ended {
        finish(report);
    }
}

/// An address under which a worker finds `script`.
pub(crate) fn script_url(script: &str) -> Result<String, JsValue> {
    let kind = BlobPropertyBag::new();
    kind.set_type("text/javascript");
    let blob = Blob::new_with_str_sequence_and_options(&Array::of1(&JsValue::from_str(script)), &kind)?;
    Url::create_object_url_with_blob(&blob)
}
