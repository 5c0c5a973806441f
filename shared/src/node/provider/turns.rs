//! Turns on the cores that are lent. A run that may give way is set aside where it stands as soon as something else is there
//! for its core, and goes on later: long calls and short ones share a core, and no work is lost.
//!
//! A run gives its core up only at its requester's word, and only for what that one has here: for a batch of his that waits,
//! as long as there is room to set one more aside, else for the one of his that has rested for longest.
//!
//! Each core that is lent has a *place*, which is whose it is: the run on it has that place, and so has whatever was set aside
//! on it. A core that comes free goes
//!
//! 1. if something has its place that was set aside there: to that requester alone, who set his own call aside with it. His
//!    next batch begins; what was set aside goes on if none comes at once, and in any case once it has rested for long
//!    enough. When the core has been his so for a minute, and somebody has waited for a minute who has no core here, or fewer than
//!    he has beside this one, it goes to the one of those whose turn it is, also from under two runs that change over. It
//!    takes a new place then. What was set aside keeps the old one, which no core has: it is *owed* a core. The minute
//!    begins anew when the run on that core has had it for a minute and nothing of its requester rests;
//! 2. else to the requester who was given least time so far, of those who wait in the queue and those who are owed a core, the
//!    latter by taking that place. Whoever is owed one for as long as he was given more than they, and for a minute for each
//!    requester who waits, and one more, goes first, with one call until he is owed one so long again;
//! 3. if it is the queue's turn: to what that requester has resting for long enough, else to his next batch;
//! 4. if nobody waits nor is owed one: to whatever rests.
//!
//! The time that a run has had a core counts while it runs. So each requester gets his share by time, in steps of a minute
//! or of what one run takes that nobody asks to give way (1, 2). Nobody waits for ever for a core that comes free: neither
//! a batch behind calls that their requesters give up for each other (1), nor a call that was set aside behind others'
//! batches (1, 2) or its own requester's (1, 3), however many requesters come (2). And what a requester gives up for one of
//! his own is his for a minute at least.
//!
//! What is set aside keeps its memory. Together it has no more than one call may have, and no more of it is there than cores,
//! but for one of each requester who has nothing else there, if those are fewer than twice as many, and for what gives
//! way to another after the minute: with these it is three times as many. So no requester takes all the room. Nothing is ever
//! ended for another: who cannot set a call aside says so. On fewer cores than before, what runs comes to its end, and nothing
//! begins until there is a core for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{AttemptStep, Provider, Run};
use crate::{
    id::{AttemptId, NodeId},
    node::{HostOrder, RunId, core::Core},
    units::{Millis, Moment},
    wire::{Message, RefuseReason},
};

/// A run that was set aside for so long goes on before batches that have not begun.
const REST: Millis = Millis(3_000);
/// How long a core waits for the next batch of whom it was given up for, before what was set aside goes on: a requester
/// gives out a batch of something new only when the first one is back.
const PAUSE: Millis = Millis(100);
/// How long the core of what was set aside is for its requester alone, while others wait; and what is owed one waits for so
/// long for each of those.
const KEPT: Millis = Millis(60_000);
/// How long a run that may give way stands by for what is to take its core. Its requester waits somewhat longer.
pub(in crate::node) const STANDS_BY: Millis = Millis(10_000);

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
    /// When it came free last, also if something was there for it at once.
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

/// What is there for the core of a run that gives it up.
enum Successor {
    /// Its requester's next batch.
    Batch,
    /// One of his that rests.
    Rested(RunId),
    /// Those whose it is now.
    Others,
    /// Nobody: it cannot be set aside for others, and may not be for its requester's own.
    Nobody,
}

impl Provider {
    /// The requester has others to go first on the core of one of its batches.
    pub(in crate::node) fn asked_to_give_way(&mut self, core: &mut Core, from: NodeId, attempt: AttemptId) {
        let Some(known) = self.attempts.get(&(from, attempt)) else { return };
        let AttemptStep::Running(id) = known.state else { return };
        // With one of his own that rests it can change over.
        let has_place = self.has_room_for_batch(from) || self.first_aside(|run| run.of == from).is_some();
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
        self.charge_running(core.now);
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
                self.take_over(at, place, None, core.now);
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
            Next::Owed(place) => self.take_over(at, place, Some(core.now), core.now),
        }
        true
    }

    /// Whose a free core is, as the head of this file has it.
    fn next_on(&self, lent: &Lent, now: Moment) -> Option<Next> {
        let may_go_on = |since: Moment| now >= since + REST || now >= lent.free_since + PAUSE;
        let Some((since, id, of)) = self.first_aside(|run| run.place == lent.place) else {
            let rests = || self.first_aside(|_| true).filter(|(since, ..)| may_go_on(*since));
            return self.by_time(now).or_else(|| rests().map(|(_, id, _)| Next::GoesOn(id)));
        };
        let begins = || (now < since + REST && self.queue.waits(of)).then_some(Next::Begins(of));
        let goes_on = || may_go_on(since).then_some(Next::GoesOn(id));
        self.after_a_minute(lent, of, now).or_else(begins).or_else(goes_on)
    }

    /// Who of those who wait or are owed a core has one that is nobody's.
    fn by_time(&self, now: Moment) -> Option<Next> {
        let mut in_turn = self.queue.in_turn();
        let longest = Millis(KEPT.0.saturating_mul(in_turn.len() as u64 + 1));
        let first = in_turn.next();
        let owed = self.owed(|run, _| {
            let was_given_less = |first| self.queue.given(run.of) <= self.queue.given(first);
            first.is_none_or(was_given_less) || now >= run.even_at + longest
        });
        owed.map(Next::Owed).or_else(|| first.map(Next::InTurn))
    }

    /// Who has a core in its requester's stead, as that one has had it for a minute in which others waited who have less. First
    /// whoever is in the queue: what is owed a core may have the next one that is nobody's.
    fn after_a_minute(&self, lent: &Lent, of: NodeId, now: Moment) -> Option<Next> {
        let kept_since = self.kept_since(lent, of, now)?;
        let has_waited = |since: Moment| now >= kept_since.max(since) + KEPT;
        let mut cores: BTreeMap<NodeId, usize> = BTreeMap::new();
        for run in self.runs.values().filter(|run| run.has_core() && run.place != lent.place) {
            *cores.entry(run.of).or_default() += 1;
        }
        let has = |node: NodeId| cores.get(&node).copied().unwrap_or(0);
        let has_less = |node: NodeId| node != of && (has(node) == 0 || has(node) < has(of));
        let attempts = |node: NodeId| self.queue.waiting(node).filter_map(|key| self.attempts.get(&key));
        let in_turn = self
            .queue
            .in_turn()
            .find(|node| has_less(*node) && attempts(*node).any(|attempt| has_waited(attempt.since)));
        let owed = || self.owed(|run, since| has_less(run.of) && has_waited(since));
        in_turn.map(Next::InTurn).or_else(|| owed().map(Next::Owed))
    }

    /// Since when a requester has a core by giving it up for himself: not, once it was one run's for so long.
    fn kept_since(&self, lent: &Lent, of: NodeId, now: Moment) -> Option<Moment> {
        let is_alone = now >= lent.free_since + KEPT && self.first_aside(|run| run.of == of).is_none();
        lent.kept_since.filter(|_| !is_alone)
    }

    /// The place of what is owed a core and rests for longest, of those that `which` is true of, given since when it rests.
    fn owed(&self, which: impl Fn(&Run, Moment) -> bool) -> Option<Place> {
        let owed = self.resting().filter(|(since, _, run)| !self.is_lent(run.place) && which(run, *since));
        owed.min_by_key(|(since, id, _)| (*since, *id)).map(|(.., run)| run.place)
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

    fn take_over(&mut self, at: usize, place: Place, kept_since: Option<Moment>, now: Moment) {
        let Some(lent) = self.lent.get_mut(at) else { return };
        let before = lent.place;
        (lent.place, lent.kept_since) = (place, kept_since);
        if let Some((.., of)) = self.first_aside(|run| run.place == before) {
            self.had_a_core(of, now);
        }
    }

    /// A requester had a core until now: what of his is owed one waits until others have had as long as he was given more.
    fn had_a_core(&mut self, of: NodeId, now: Moment) {
        let least = self.queue.in_turn().find(|node| *node != of).map(|node| self.queue.given(node));
        let more = least.map_or(0, |least| self.queue.given(of).saturating_sub(least));
        for run in self.runs.values_mut().filter(|run| run.of == of && !run.has_core()) {
            run.even_at = now + Millis(more / 1_000);
        }
    }

    fn is_lent(&self, place: Place) -> bool {
        self.lent.iter().any(|lent| lent.place == place)
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
        self.had_a_core(run.of, now);
    }

    // ---- giving way ----------------------------------------------------------------------------------------------

    /// Has a run that stands by give up its core for what is there for it. False if there is no such run.
    fn change_over(&mut self, core: &mut Core) -> bool {
        let now = core.now;
        let mut standing_by = self.runs.iter().filter(|(_, run)| run.stands_by(now));
        let gives = |id: RunId, run: &Run| Some((id, run.of, run.place, self.successor(id, run, now)?));
        let Some((id, of, place, successor)) = standing_by.find_map(|(id, run)| gives(*id, run)) else { return false };
        match successor {
            Successor::Batch => {
                self.gives_up(of, place, now);
                self.set_aside(core, id, place);
                self.begin(core, of, place);
            }
            Successor::Rested(first) => {
                self.gives_up(of, place, now);
                // Only what has a core for itself: the one on which this one goes on stays its requester's.
                let others = self.runs.get(&first).map(|first| first.place).filter(|other| self.is_lent(*other));
                self.set_aside(core, id, others.unwrap_or(place));
                self.go_on(core, first, place);
            }
            Successor::Others => {
                self.gives_up(of, place, now);
                self.set_aside(core, id, place);
            }
            Successor::Nobody => {
                let Some(run) = self.runs.get_mut(&id) else { return false };
                run.turn = Turn::OnCore;
                if let Some((node, attempt)) = run.wanted {
                    core.send(node, Message::Started { attempt });
                }
            }
        }
        true
    }

    /// What is there for the core of a run that stands by.
    fn successor(&self, id: RunId, run: &Run, now: Moment) -> Option<Successor> {
        let may_begin = self.may_begin_for(id, run.of);
        let batch = may_begin && self.queue.waits(run.of);
        if may_begin && !batch && self.fetches(run.of) {
            return None;
        }
        let rested = || self.rested(run.of, now).filter(|first| self.has_memory_for(id, Some(*first)));
        let his = if batch { Successor::Batch } else { Successor::Rested(rested()?) };
        let lent = self.lent.iter().find(|lent| lent.place == run.place);
        if lent.and_then(|lent| self.after_a_minute(lent, run.of, now)).is_none() {
            return Some(his);
        }
        let fits = self.has_room_for_others() && self.has_memory_for(id, None);
        Some(if fits { Successor::Others } else { Successor::Nobody })
    }

    /// Whether a batch of a requester may begin in the stead of one of his runs.
    fn may_begin_for(&self, id: RunId, of: NodeId) -> bool {
        self.has_room_for_batch(of) && self.has_memory_for(id, None)
    }

    /// Whether a batch of a requester is here but for what it needs.
    fn fetches(&self, of: NodeId) -> bool {
        let mut attempts = self.attempts.range((of, AttemptId(0))..=(of, AttemptId(u64::MAX)));
        attempts.any(|(_, attempt)| matches!(attempt.state, AttemptStep::Fetching(_)))
    }

    /// A requester gives a core up for himself.
    fn gives_up(&mut self, of: NodeId, place: Place, now: Moment) {
        let Some(at) = self.lent.iter().position(|lent| lent.place == place) else { return };
        let kept_since = self.lent.get(at).and_then(|lent| self.kept_since(lent, of, now));
        if let Some(lent) = self.lent.get_mut(at) {
            (lent.kept_since, lent.free_since) = (kept_since.or(Some(now)), now);
        }
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
            let changes = run.stands_by(at) && self.has_memory_for(*id, Some(first));
            // What is being fetched comes before, and brings a turn with it.
            (changes && !(self.may_begin_for(*id, run.of) && self.fetches(run.of))).then_some(at)
        });
        free.chain(standing_by).min()
    }

    // ---- runs ----------------------------------------------------------------------------------------------------

    /// Counts what has a core while it has it.
    fn charge_running(&mut self, now: Moment) {
        for run in self.runs.values_mut().filter(|run| run.has_core()) {
            let ran = run.ran_micros(now);
            if ran > run.counted {
                self.queue.charge(run.of, ran, run.counted);
                run.counted = ran;
            }
        }
    }

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
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        let run = RunId(self.next_run);
        let Some((kernel, batch)) = super::batches::prepare(core, &mut attempt.assignment) else {
            core.nonsense(key.0, 5);
            return self.refuse(core, key, RefuseReason::Malformed);
        };
        self.next_run += 1;
        attempt.tasks = batch.calls.len() as u64;
        attempt.state = AttemptStep::Running(run);
        attempt.since = core.now;
        let new = Run {
            of: key.0,
            wanted: Some(key),
            since: core.now,
            counted,
            turn: Turn::OnCore,
            place,
            rested: Millis(0),
            even_at: core.now,
        };
        self.runs.insert(run, new);
        core.send(key.0, Message::Started { attempt: key.1 });
        core.order(HostOrder::Execute { run, kernel, batch, cpu_percent: self.settings.cpu_percent });
        core.network_changed = true;
    }

    fn set_aside(&mut self, core: &mut Core, id: RunId, place: Place) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        (run.turn, run.place) = (Turn::Resting(core.now), place);
        core.order(HostOrder::Rest { run: id, rests: true });
        if let Some((node, attempt)) = run.wanted {
            core.send(node, Message::Resting { attempt });
        }
        core.network_changed = true;
        let of = run.of;
        self.had_a_core(of, core.now);
    }

    fn go_on(&mut self, core: &mut Core, id: RunId, place: Place) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.rested = run.rested_at(core.now);
        (run.turn, run.place) = (Turn::OnCore, place);
        core.order(HostOrder::Rest { run: id, rests: false });
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

    /// Whether one more of a requester may be set aside, by their number, and a batch may begin in its stead.
    fn has_room_for_batch(&self, of: NodeId) -> bool {
        let fits = self.aside() < usize::from(self.settings.cores);
        let is_first = || {
            let others: BTreeSet<NodeId> = self.resting().map(|(.., run)| run.of).collect();
            let fits = others.len() < 2 * usize::from(self.settings.cores) && !others.contains(&of);
            fits && self.has_room_for_others()
        };
        (fits || is_first()) && self.on_cores() <= self.lent.len()
    }

    /// Whether one more may be set aside at all, by their number.
    fn has_room_for_others(&self) -> bool {
        self.aside() < 3 * usize::from(self.settings.cores)
    }

    /// How many are set aside, wanted or not.
    fn aside(&self) -> usize {
        self.runs.values().filter(|run| !run.has_core()).count()
    }

    /// Whether one more may be set aside, by its memory, beside those that do not go on in its stead.
    fn has_memory_for(&self, id: RunId, goes_on: Option<RunId>) -> bool {
        let bytes = |run: &Run| {
            let attempt = run.wanted.and_then(|key| self.attempts.get(&key));
            attempt.map_or(0, |attempt| attempt.assignment.limits.memory_bytes)
        };
        let others = self.resting().filter(|(_, other, _)| Some(*other) != goes_on);
        let set_aside: u64 = others.map(|(.., run)| bytes(run)).sum();
        let this = self.runs.get(&id).map_or(0, bytes);
        set_aside.saturating_add(this) <= u64::from(self.settings.memory_mib) << 20
    }

    /// Whether places are right: a core has one run at most, and one requester that and what was set aside on it.
    pub(super) fn audit_turns(&self) -> Result<(), &'static str> {
        let places: BTreeSet<Place> = self.lent.iter().map(|lent| lent.place).collect();
        let on_core: BTreeSet<Place> = self.runs.values().filter(|run| run.has_core()).map(|run| run.place).collect();
        let apart = places.len() == self.lent.len() && on_core.len() == self.on_cores();
        let of_one = |(.., a): &(Moment, RunId, &Run)| self.runs.values().all(|b| a.place != b.place || a.of == b.of);
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

    /// How long it has had a core, in microseconds.
    pub(super) fn ran_micros(&self, now: Moment) -> u64 {
        (now - self.since).0.saturating_sub(self.rested_at(now).0).saturating_mul(1000)
    }

    /// How long it was set aside so far.
    pub(super) fn rested_at(&self, now: Moment) -> Millis {
        match self.turn {
            Turn::OnCore | Turn::StandsBy(_) => self.rested,
            Turn::Resting(since) => Millis(self.rested.0 + (now - since).0),
        }
    }
}
