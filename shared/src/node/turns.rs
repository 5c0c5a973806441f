//! Turns on the cores that are lent. A run that may give way is set aside where it stands as soon as something else is there
//! for its core, and goes on later: long calls and short ones share a core, and no work is lost.
//!
//! What is set aside keeps its memory, so no more of it is there than cores, and together it has no more memory than one call
//! may have.

use super::{
    Effect, RunId,
    core::Core,
    provider::{Provider, Run, WorkState},
    queue::Key,
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
/// How long the cores of what was set aside are for its requester alone, while others wait.
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

impl Provider {
    /// The requester has others to go first on the core of one of its batches.
    pub(super) fn asked_to_give_way(&mut self, core: &mut Core, from: NodeId, attempt: AttemptId) {
        let Some(work) = self.works.get(&(from, attempt)) else { return };
        let WorkState::Running(id) = work.state else { return };
        let can = core.config.can_rest && self.has_memory_for(id, self.rested(core.now));
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

    /// Puts batches on idle cores, and has runs take turns on them. The core of what was set aside is for its requester's
    /// other batches, and for itself: with it he set his own call aside. But not for ever, if others wait.
    pub(super) fn run_ready(&mut self, core: &mut Core) {
        let (now, cores) = (core.now, usize::from(self.settings.cores));
        self.end_standing_by(now);
        while self.is_lending() {
            if self.on_cores() >= cores {
                let Some(id) = self.giving_way(core) else { break };
                let rested = self.rested(now);
                self.set_aside(core, id);
                match rested {
                    Some(first) => self.go_on(core, first),
                    None => _ = self.begin_instead(core, id),
                }
                continue;
            }
            let resting = self.first_to_go_on();
            let is_for_all = resting.is_none_or(|(_, id)| self.has_stand_in(id) || now >= self.shared_at + KEPT);
            if is_for_all && let Some((key, counted)) = self.queue.pop() {
                self.shared_at = now;
                self.begin(core, key, counted);
                continue;
            }
            let Some((since, id)) = resting else { break };
            let begun = now < since + REST && !self.has_stand_in(id) && self.begin_instead(core, id);
            if begun {
                continue;
            }
            if now < since + REST && now < self.freed_at + PAUSE {
                break;
            }
            self.go_on(core, id);
        }
    }

    /// Begins a batch of the same requester in the stead of a run that was set aside, if there is one.
    fn begin_instead(&mut self, core: &mut Core, id: RunId) -> bool {
        let Some(of) = self.runs.get(&id).map(|run| run.of) else { return false };
        let Some((key, counted)) = self.queue.pop_of(of) else { return false };
        let stand_in = RunId(self.next_run);
        self.begin(core, key, counted);
        // A batch that cannot be read does not begin.
        let begun = self.runs.contains_key(&stand_in);
        if let Some(run) = self.runs.get_mut(&id).filter(|_| begun) {
            run.stand_in = Some(stand_in);
        }
        true
    }

    /// Whether what began in the stead of a run has its core still.
    fn has_stand_in(&self, id: RunId) -> bool {
        let stand_in = self.runs.get(&id).and_then(|run| run.stand_in);
        stand_in.and_then(|stand_in| self.runs.get(&stand_in)).is_some_and(|run| !matches!(run.turn, Turn::Resting(_)))
    }

    /// When one that rests may go on: on a core that nothing has, or on that of one that stands by.
    pub(super) fn next_turn(&self) -> Option<Moment> {
        let (since, first) = self.first_to_go_on().filter(|_| self.is_lending())?;
        if self.on_cores() < usize::from(self.settings.cores) {
            return Some((self.freed_at + PAUSE).min(since + REST));
        }
        let at = since + REST;
        self.runs.iter().any(|(id, run)| run.stands_by(at) && self.has_memory_for(*id, Some(first))).then_some(at)
    }

    pub(super) fn is_resting(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| matches!(run.turn, Turn::Resting(_)))
    }

    /// How many cores are taken.
    pub(super) fn on_cores(&self) -> usize {
        self.runs.values().filter(|run| !matches!(run.turn, Turn::Resting(_))).count()
    }

    fn begin(&mut self, core: &mut Core, key: Key, counted: u64) {
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
            rested: Millis(0),
            stand_in: None,
        };
        self.runs.insert(run, new);
        core.send(key.0, Message::Started { attempt: key.1 });
        core.effects.push_back(Effect::Execute { run, kernel, batch, cpu_percent: self.settings.cpu_percent });
        core.network_changed = true;
    }

    fn set_aside(&mut self, core: &mut Core, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.turn = Turn::Resting(core.now);
        core.effects.push_back(Effect::Rest { run: id, rests: true });
        if let Some((node, attempt)) = run.wanted {
            core.send(node, Message::Resting { attempt });
        }
        core.network_changed = true;
    }

    fn go_on(&mut self, core: &mut Core, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.rested = run.rested_at(core.now);
        run.turn = Turn::OnCore;
        run.stand_in = None;
        core.effects.push_back(Effect::Rest { run: id, rests: false });
        if let Some((node, attempt)) = run.wanted {
            core.send(node, Message::Started { attempt });
        }
        core.network_changed = true;
    }

    /// A run that gives its core up now: there is a batch of the same requester for it and room to set one more aside, or one
    /// that has rested for long enough.
    fn giving_way(&self, core: &Core) -> Option<RunId> {
        let has_room = self.runs.len() - self.on_cores() < usize::from(self.settings.cores);
        let goes_on = self.rested(core.now);
        let gives = |id: RunId, run: &Run| {
            let there = goes_on.is_some() || (has_room && self.queue.waits(run.of));
            there && run.stands_by(core.now) && self.has_memory_for(id, goes_on)
        };
        self.runs.iter().find(|(id, run)| gives(**id, run)).map(|(id, _)| *id)
    }

    /// Ends the standing by of runs that nothing has come for.
    fn end_standing_by(&mut self, now: Moment) {
        for run in self.runs.values_mut() {
            if matches!(run.turn, Turn::StandsBy(until) if now >= until) {
                run.turn = Turn::OnCore;
            }
        }
    }

    /// Runs that are set aside and that somebody still wants.
    fn resting(&self) -> impl Iterator<Item = (RunId, &Run)> {
        let rests = |run: &Run| run.wanted.is_some() && matches!(run.turn, Turn::Resting(_));
        self.runs.iter().filter(move |(_, run)| rests(run)).map(|(id, run)| (*id, run))
    }

    /// The run that rests for longest, and since when.
    fn first_to_go_on(&self) -> Option<(Moment, RunId)> {
        let since = |run: &Run| match run.turn {
            Turn::Resting(since) => Some(since),
            Turn::OnCore | Turn::StandsBy(_) => None,
        };
        self.resting().filter_map(|(id, run)| Some((since(run)?, id))).min()
    }

    /// The same, if it has rested for long enough to go on before what has not begun.
    fn rested(&self, now: Moment) -> Option<RunId> {
        self.first_to_go_on().filter(|(since, _)| now >= *since + REST).map(|(_, id)| id)
    }

    /// Whether one more may be set aside, by its memory, beside those that do not go on in its stead.
    fn has_memory_for(&self, id: RunId, goes_on: Option<RunId>) -> bool {
        let bytes = |run: &Run| {
            let work = run.wanted.and_then(|key| self.works.get(&key));
            work.map_or(0, |work| work.assignment.limits.memory_bytes)
        };
        let set_aside: u64 =
            self.resting().filter(|(other, _)| Some(*other) != goes_on).map(|(_, run)| bytes(run)).sum();
        let this = self.runs.get(&id).map_or(0, bytes);
        set_aside.saturating_add(this) <= u64::from(self.settings.memory_mib) << 20
    }
}

impl Run {
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
