//! Turns on the cores that are lent. A run that may give way is set aside where it stands as soon as something else is there
//! for its core, and goes on later: long calls and short ones share a core, and no work is lost.
//!
//! Each core has a *place*, which is whose it is: the run on it has that place, and so has whatever was set aside on it. A
//! core that comes free goes
//!
//! 1. if something has its place that was set aside there: to that requester alone, who set his own call aside with it. His
//!    next batch begins; what was set aside goes on if none comes at once, and in any case once it has rested for long
//!    enough. When the core has been his so for a minute, and others have waited for it for a minute, it goes to the one of
//!    them whose turn it is, and takes a new place. What was set aside keeps the old one, which no core has then: it is
//!    *owed* a core.
//! 2. else to what is owed one, the longest first, by taking its place: so between two turns of others it has its own;
//! 3. else to the requester whose turn it is by the queue: to what he has resting for long enough, else to his next batch;
//! 4. else to whatever rests.
//!
//! So nobody waits for ever for a core that comes free: neither a batch behind calls that their requesters give up for each
//! other (1), nor a call that was set aside behind others' batches (1, 2) or its own requester's (1, 3). And what a
//! requester gives up for one of his own goes to nobody else's: a call that stands by is set aside only for what its own
//! requester has there, first for what has rested.
//!
//! What is set aside keeps its memory, so no more of it is there than cores, and together it has no more memory than one call
//! may have. It is never ended for another: who cannot set a call aside says so.

use std::collections::BTreeSet;

use super::{
    Effect, RunId,
    core::Core,
    provider::{Provider, Run, WorkState},
};
use crate::{
    id::{AttemptId, NodeId},
    units::{Millis, Moment},
    wire::{Message, RefuseReason},
};

/// A run that was set aside for so long goes on before batches that have not begun.
const REST: Millis = Millis(3_000);
/// How long a core waits for the next batch of whom it was given up for, before what was set aside goes on: a requester
/// gives out a batch of something new only when the first one is back.
const PAUSE: Millis = Millis(100);
/// How long the core of what was set aside is for its requester alone, while others wait.
const KEPT: Millis = Millis(60_000);
/// How long a run that may give way stands by for what is to take its core. Its requester waits somewhat longer.
pub(super) const STANDS_BY: Millis = Millis(10_000);

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has a core.
    OnCore,
    /// It has one, and gives it up until then if something is there for it.
    StandsBy(Moment),
    /// It was set aside then.
    Resting(Moment),
}

/// The right to a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// A core that is lent.
#[derive(Clone, Copy)]
pub(super) struct Lent {
    place: Place,
    /// When it came free last.
    free_since: Moment,
    /// Since when its requester has had it by giving it up for himself.
    kept_since: Option<Moment>,
}

/// What becomes of a core that is free.
enum Next {
    /// Its requester's next batch begins.
    Begins(NodeId),
    /// A run goes on.
    GoesOn(RunId),
    /// It is another requester's, whose turn it is,
    InTurn(NodeId),
    /// or what is owed one takes it over.
    Owed(Place),
}

impl Provider {
    /// The requester has others to go first on the core of one of its batches.
    pub(super) fn asked_to_give_way(&mut self, core: &mut Core, from: NodeId, attempt: AttemptId) {
        let Some(work) = self.works.get(&(from, attempt)) else { return };
        let WorkState::Running(id) = work.state else { return };
        // With one of his own that rests it can change over.
        let has_place = self.has_room_aside() || self.first_aside(|run| run.of == from).is_some();
        let can = core.config.can_rest && has_place && self.has_memory_for(id, self.rested(from, core.now));
        let Some(run) = self.runs.get_mut(&id) else { return };
        match run.turn {
            Turn::Resting(_) => core.send(from, Message::Resting { attempt }),
            Turn::OnCore | Turn::StandsBy(_) if can => {
                run.turn = Turn::StandsBy(core.now + STANDS_BY);
                self.run_ready(core);
            }
            Turn::OnCore | Turn::StandsBy(_) => core.send(from, Message::Started { attempt }),
        }
    }

    /// Puts batches on idle cores, and has runs take turns on them.
    pub(super) fn run_ready(&mut self, core: &mut Core) {
        self.end_standing_by(core.now);
        while self.is_lending() && (self.fill_a_core(core) || self.change_over(core)) {}
    }

    /// Lends as many cores as it is set to. What runs on one that is lent no longer comes to its end.
    pub(super) fn lend_cores(&mut self) {
        let cores = usize::from(self.settings.cores);
        self.lent.truncate(cores);
        while self.lent.len() < cores {
            let place = self.new_place();
            self.lent.push(Lent { place, free_since: Moment(0), kept_since: None });
        }
    }

    // ---- a core that is free -------------------------------------------------------------------------------------

    /// Has something run on a free core, or makes it somebody's; false if nothing is to change now.
    fn fill_a_core(&mut self, core: &mut Core) -> bool {
        if self.queue.len() == 0 && self.resting().next().is_none() {
            return false;
        }
        let next = self.free_cores().into_iter().find_map(|at| Some((at, self.next_on(self.lent.get(at)?, core.now)?)));
        let Some((at, next)) = next else { return false };
        match next {
            Next::Begins(of) => {
                if let Some(place) = self.lent.get(at).map(|lent| lent.place) {
                    self.begin(core, of, place);
                }
            }
            Next::GoesOn(id) => {
                let known = self.runs.get(&id).map(|run| run.place);
                let Some(lent) = self.lent.get_mut(at) else { return false };
                if known != Some(lent.place) {
                    lent.kept_since = None;
                }
                let place = lent.place;
                self.go_on(core, id, place);
            }
            Next::InTurn(of) => {
                let place = self.new_place();
                self.take_over(at, place, None);
                self.queue.reaches(of);
                match self.rested(of, core.now) {
                    Some(id) => {
                        let counted = self.queue.count(of);
                        if let Some(run) = self.runs.get_mut(&id) {
                            run.counted = run.counted.saturating_add(counted);
                        }
                        self.go_on(core, id, place);
                    }
                    None => self.begin(core, of, place),
                }
            }
            Next::Owed(place) => self.take_over(at, place, Some(core.now)),
        }
        true
    }

    /// Whose a free core is, as the head of this file has it.
    fn next_on(&self, lent: &Lent, now: Moment) -> Option<Next> {
        let may_go_on = |since: Moment| now >= since + REST || now >= lent.free_since + PAUSE;
        let Some((since, id, of)) = self.first_aside(|run| run.place == lent.place) else {
            let owed = || self.owed(None).map(|(_, place)| Next::Owed(place));
            let in_turn = || self.queue.turn(None).map(Next::InTurn);
            let rests = || self.first_aside(|_| true).filter(|(since, ..)| may_go_on(*since));
            return owed().or_else(in_turn).or_else(|| rests().map(|(_, id, _)| Next::GoesOn(id)));
        };
        let begins = || (now < since + REST && self.queue.waits(of)).then_some(Next::Begins(of));
        let goes_on = || may_go_on(since).then_some(Next::GoesOn(id));
        self.after_a_minute(lent, of, now).or_else(begins).or_else(goes_on)
    }

    /// Who has a core in its requester's stead, as that one has had it for a minute in which others waited. First whoever is
    /// in the queue: what is owed a core comes first on the next one that is nobody's.
    fn after_a_minute(&self, lent: &Lent, of: NodeId, now: Moment) -> Option<Next> {
        let has_waited = |since: Moment| now >= lent.kept_since.unwrap_or(now).max(since) + KEPT;
        let others = self.queue.first_of_each().filter(|(node, _)| *node != of);
        let since = others.filter_map(|key| self.works.get(&key)).map(|work| work.since).min();
        let in_turn = self.queue.turn(Some(of)).filter(|_| since.is_some_and(has_waited));
        let owed = || self.owed(Some(of)).filter(|(since, _)| has_waited(*since));
        in_turn.map(Next::InTurn).or_else(|| owed().map(|(_, place)| Next::Owed(place)))
    }

    /// What is owed a core for longest: since when it rests, and its place.
    fn owed(&self, but: Option<NodeId>) -> Option<(Moment, Place)> {
        let places: BTreeSet<Place> = self.lent.iter().map(|lent| lent.place).collect();
        let (since, id, _) = self.first_aside(|run| Some(run.of) != but && !places.contains(&run.place))?;
        Some((since, self.runs.get(&id)?.place))
    }

    fn free_cores(&self) -> Vec<usize> {
        let on_core = self.runs.values().filter(|run| run.has_core());
        let taken: BTreeSet<Place> = on_core.map(|run| run.place).collect();
        // What runs on cores that were lent before counts as well.
        if taken.len() >= self.lent.len() {
            return Vec::new();
        }
        (0..self.lent.len()).filter(|at| self.lent.get(*at).is_some_and(|lent| !taken.contains(&lent.place))).collect()
    }

    fn take_over(&mut self, at: usize, place: Place, kept_since: Option<Moment>) {
        if let Some(lent) = self.lent.get_mut(at) {
            (lent.place, lent.kept_since) = (place, kept_since);
        }
    }

    fn new_place(&mut self) -> Place {
        self.next_place += 1;
        Place(self.next_place)
    }

    /// A run has ended: the core that it had is free.
    pub(super) fn left(&mut self, run: &Run, now: Moment) {
        if run.has_core()
            && let Some(lent) = self.lent.iter_mut().find(|lent| lent.place == run.place)
        {
            lent.free_since = now;
        }
    }

    // ---- giving way ----------------------------------------------------------------------------------------------

    /// Sets a run aside that stands by, for what its requester has there: what has rested for long enough, or a batch, if there
    /// is room to set one more aside. False if there is no such run.
    fn change_over(&mut self, core: &mut Core) -> bool {
        let has_room = self.has_room_aside();
        let gives = |id: RunId, run: &Run| {
            let rested = self.rested(run.of, core.now);
            let there = rested.is_some() || (has_room && self.queue.waits(run.of));
            (there && self.has_memory_for(id, rested)).then_some((id, run.of, run.place, rested))
        };
        let mut standing_by = self.runs.iter().filter(|(_, run)| run.stands_by(core.now));
        let Some((id, of, place, rested)) = standing_by.find_map(|(id, run)| gives(*id, run)) else { return false };
        let waits_for = rested.and_then(|first| self.runs.get(&first)).map_or(place, |first| first.place);
        self.set_aside(core, id, waits_for);
        if let Some(lent) = self.lent.iter_mut().find(|lent| lent.place == place) {
            lent.kept_since.get_or_insert(core.now);
        }
        match rested {
            Some(first) => self.go_on(core, first, place),
            None => self.begin(core, of, place),
        }
        true
    }

    /// Ends the standing by of runs that nothing has come for.
    fn end_standing_by(&mut self, now: Moment) {
        for run in self.runs.values_mut() {
            if matches!(run.turn, Turn::StandsBy(until) if now >= until) {
                run.turn = Turn::OnCore;
            }
        }
    }

    /// When something changes by itself: what rests may go on, on a core that is free or on that of one that stands by.
    pub(super) fn next_turn(&self) -> Option<Moment> {
        let (first, ..) = self.first_aside(|_| true).filter(|_| self.is_lending())?;
        let free = self.free_cores().into_iter().filter_map(|at| {
            let lent = self.lent.get(at)?;
            let since = self.first_aside(|run| run.place == lent.place).map_or(first, |(since, ..)| since);
            Some((since + REST).min(lent.free_since + PAUSE))
        });
        let standing_by = self.runs.iter().filter_map(|(id, run)| {
            let (since, first, _) = self.first_aside(|other| other.of == run.of)?;
            let at = since + REST;
            (run.stands_by(at) && self.has_memory_for(*id, Some(first))).then_some(at)
        });
        free.chain(standing_by).min()
    }

    // ---- runs ----------------------------------------------------------------------------------------------------

    pub(super) fn is_resting(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| !run.has_core())
    }

    /// How many cores are taken.
    pub(super) fn on_cores(&self) -> usize {
        self.runs.values().filter(|run| run.has_core()).count()
    }

    /// Begins the next batch of a requester.
    fn begin(&mut self, core: &mut Core, of: NodeId, place: Place) {
        let Some((key, counted)) = self.queue.pop(of) else { return };
        let Some(work) = self.works.get_mut(&key) else { return };
        let run = RunId(self.next_run);
        let Some((kernel, batch)) = super::batches::prepare(core, &mut work.assignment) else {
            core.nonsense(key.0, 5);
            return self.refuse(core, key, RefuseReason::Malformed);
        };
        self.next_run += 1;
        work.tasks = batch.calls.len() as u64;
        work.state = WorkState::Running(run);
        work.since = core.now;
        let new = Run {
            of: key.0,
            wanted: Some(key),
            since: core.now,
            counted,
            turn: Turn::OnCore,
            place,
            rested: Millis(0),
        };
        self.runs.insert(run, new);
        core.send(key.0, Message::Started { attempt: key.1 });
        core.effects.push_back(Effect::Execute { run, kernel, batch, cpu_percent: self.settings.cpu_percent });
        core.network_changed = true;
    }

    fn set_aside(&mut self, core: &mut Core, id: RunId, place: Place) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        (run.turn, run.place) = (Turn::Resting(core.now), place);
        core.effects.push_back(Effect::Rest { run: id, rests: true });
        if let Some((node, attempt)) = run.wanted {
            core.send(node, Message::Resting { attempt });
        }
        core.network_changed = true;
    }

    fn go_on(&mut self, core: &mut Core, id: RunId, place: Place) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.rested = run.rested_at(core.now);
        (run.turn, run.place) = (Turn::OnCore, place);
        core.effects.push_back(Effect::Rest { run: id, rests: false });
        if let Some((node, attempt)) = run.wanted {
            core.send(node, Message::Started { attempt });
        }
        core.network_changed = true;
    }

    // ---- what rests ----------------------------------------------------------------------------------------------

    /// Runs that are set aside and that somebody still wants, and since when.
    fn resting(&self) -> impl Iterator<Item = (Moment, RunId, &Run)> {
        self.runs.iter().filter(|(_, run)| run.wanted.is_some()).filter_map(|(id, run)| match run.turn {
            Turn::Resting(since) => Some((since, *id, run)),
            Turn::OnCore | Turn::StandsBy(_) => None,
        })
    }

    /// Of some of them the one that rests for longest: since when, which, and whose it is.
    fn first_aside(&self, of: impl Fn(&Run) -> bool) -> Option<(Moment, RunId, NodeId)> {
        self.resting().filter(|(.., run)| of(run)).map(|(since, id, run)| (since, id, run.of)).min()
    }

    /// That of a requester, if it has rested for long enough to go on before what has not begun.
    fn rested(&self, of: NodeId, now: Moment) -> Option<RunId> {
        self.first_aside(|run| run.of == of).filter(|(since, ..)| now >= *since + REST).map(|(_, id, _)| id)
    }

    /// Whether one more may be set aside, by their number.
    fn has_room_aside(&self) -> bool {
        self.runs.values().filter(|run| !run.has_core()).count() < usize::from(self.settings.cores)
    }

    /// Whether one more may be set aside, by its memory, beside those that do not go on in its stead.
    fn has_memory_for(&self, id: RunId, goes_on: Option<RunId>) -> bool {
        let bytes = |run: &Run| {
            let work = run.wanted.and_then(|key| self.works.get(&key));
            work.map_or(0, |work| work.assignment.limits.memory_bytes)
        };
        let others = self.resting().filter(|(_, other, _)| Some(*other) != goes_on);
        let set_aside: u64 = others.map(|(.., run)| bytes(run)).sum();
        let this = self.runs.get(&id).map_or(0, bytes);
        set_aside.saturating_add(this) <= u64::from(self.settings.memory_mib) << 20
    }

    /// Whether places are right: a core has one run at most, and one requester what was set aside on it.
    pub(super) fn audit_turns(&self) -> Result<(), &'static str> {
        let places: BTreeSet<Place> = self.lent.iter().map(|lent| lent.place).collect();
        let on_core: BTreeSet<Place> = self.runs.values().filter(|run| run.has_core()).map(|run| run.place).collect();
        let apart = places.len() == self.lent.len() && on_core.len() == self.on_cores();
        let of_one = |(.., a): &(Moment, RunId, &Run)| self.resting().all(|(.., b)| a.place != b.place || a.of == b.of);
        let right = apart && self.resting().all(|run| of_one(&run));
        if right { Ok(()) } else { Err("whose the cores are") }
    }
}

impl Run {
    pub(super) fn has_core(&self) -> bool {
        !matches!(self.turn, Turn::Resting(_))
    }

    /// Whether it gives its core up, if something is there for it at that moment.
    fn stands_by(&self, at: Moment) -> bool {
        match self.turn {
            Turn::StandsBy(until) => self.wanted.is_some() && at < until,
            Turn::OnCore | Turn::Resting(_) => false,
        }
    }

    /// How long it was set aside so far.
    pub(super) fn rested_at(&self, now: Moment) -> Millis {
        match self.turn {
            Turn::OnCore | Turn::StandsBy(_) => self.rested,
            Turn::Resting(since) => Millis(self.rested.0 + (now - since).0),
        }
    }
}
