//! The stages of a job: a graph in which the outputs of some feed others.
//!
//! A stage is one program's work over many units. The units of all stages are numbered through, those of a stage behind
//! those of the one before it, so that a span of units names what it is a part of, in messages as in the store.

use std::collections::BTreeMap;

use super::{Agreement, CallShape, Done, Outputs};
use crate::{blob::Blob, kernel::Facts, units::Span};

/// Stages of one job at most: what a requester keeps for each is looked at for every batch.
pub const MOST_STAGES: usize = 64;

/// What computes a stage's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A kernel of WebAssembly: its original bytes.
    Wasm(Blob),
}

impl Program {
    /// Its bytes, by whose hash nodes fetch it.
    pub fn blob(&self) -> &Blob {
        match self {
            Program::Wasm(kernel) => kernel,
        }
    }
}

/// What a program is written in: a node says in its offer which it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// WebAssembly, as [`crate::kernel`] takes it.
    Wasm,
    /// The same, prepared once for many calls by an `init` ([`crate::engine::drive::INIT`]).
    PreparedWasm,
    /// One that only later versions know, by its number on the wire.
    Other(u16),
}

/// One program's work over many units inside a job.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What computes it.
    pub program: Program,
    /// What a node must be able to run for it.
    pub language: Language,
    /// Bytes that all of its calls share, sent to a node once: put before each call's own, or given to the `init` of a kernel
    /// that has one.
    pub common: Option<Blob>,
    /// How many units it has; at least 1.
    pub units: u64,
    /// How they become calls.
    pub shape: CallShape,
    /// When two nodes' outputs of the same call are the same.
    pub agreement: Agreement,
}

impl Stage {
    /// A stage of so many units of a kernel, whose outputs agree when they are equal.
    pub fn of(kernel: &Blob, units: u64, shape: CallShape) -> Self {
        let language = match Facts::of(kernel) {
            Some(facts) if facts.init => Language::PreparedWasm,
            Some(_) | None => Language::Wasm,
        };
        let program = Program::Wasm(kernel.clone());
        Self { program, language, common: None, units, shape, agreement: Agreement::Exact }
    }

    /// The same with bytes that all of its calls share, if there are any.
    #[must_use]
    pub fn with_common(self, common: Option<&Blob>) -> Self {
        Self { common: common.cloned(), ..self }
    }
}

/// A stage of a job, among its [`Stages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageId(usize);

/// What a stage's units need before they can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Each of them needs the outputs of all units of that stage.
    All(StageId),
    /// Each of them needs the output of the unit in the same place of that stage, and none where that has fewer.
    Each(StageId),
}

impl Feed {
    /// The stage whose outputs are needed.
    pub fn from(self) -> StageId {
        match self {
            Feed::All(stage) | Feed::Each(stage) => stage,
        }
    }
}

/// All stages of a job, each behind those that feed it.
#[derive(Clone, Debug, Default)]
pub struct Stages(Vec<Placed>);

/// A stage, which units are its own, and what feeds it.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The stage.
    pub stage: Stage,
    /// Its units, among those of the job.
    pub span: Span,
    /// What its units need.
    pub needs: Vec<Feed>,
}

impl Stages {
    /// A job of one stage.
    pub fn one(stage: Stage) -> Self {
        let mut stages = Self::default();
        stages.add(stage, &[]);
        stages
    }

    /// Adds a stage behind the others, fed by some of them; gives its name. Beyond [`MOST_STAGES`] it is not added.
    pub fn add(&mut self, stage: Stage, needs: &[Feed]) -> StageId {
        let id = StageId(self.0.len());
        if id.0 < MOST_STAGES {
            let start = self.units();
            let span = Span { start, end: start.saturating_add(stage.units.max(1)) };
            let needs = needs.iter().copied().filter(|feed| feed.from() < id).collect();
            self.0.push(Placed { stage, span, needs });
        }
        id
    }

    /// How many units they have together.
    pub fn units(&self) -> u64 {
        self.0.last().map_or(0, |last| last.span.end)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.0.iter()
    }

    /// One of them.
    pub fn get(&self, id: StageId) -> Option<&Placed> {
        self.0.get(id.0)
    }

    /// The one to which a unit belongs; the last, for a unit beyond all.
    pub fn of_unit(&self, unit: u64) -> Option<(StageId, &Placed)> {
        let behind = self.0.partition_point(|placed| placed.span.end <= unit);
        let at = behind.min(self.0.len().checked_sub(1)?);
        self.0.get(at).map(|placed| (StageId(at), placed))
    }

    /// Of what is done, that which feeds a span of one stage.
    pub fn feeding<'a>(&self, span: Span, done: &'a Done) -> BTreeMap<&'a Span, &'a Outputs> {
        let Some((_, placed)) = self.of_unit(span.start) else { return BTreeMap::new() };
        let own = placed.span;
        let needed = placed.needs.iter().filter_map(|feed| {
            let from = self.get(feed.from())?.span;
            Some(match feed {
                Feed::All(_) => from,
                Feed::Each(_) => in_the_same_places(span, own, from),
            })
        });
        let mut feeding = BTreeMap::new();
        for needed in needed {
            let there = done.range(..Span { start: needed.end, end: 0 }).rev();
            feeding.extend(there.take_while(|(span, _)| span.end > needed.start));
        }
        feeding
    }

    /// The stages that one feeds, and how.
    pub fn fed_by(&self, id: StageId) -> impl Iterator<Item = (StageId, Feed)> {
        let behind = self.0.iter().enumerate().skip(id.0 + 1);
        behind.flat_map(move |(at, placed)| {
            placed.needs.iter().filter(move |feed| feed.from() == id).map(move |feed| (StageId(at), *feed))
        })
    }
}

/// The units of one stage in the same places as these of another, as far as it has any.
pub(crate) fn in_the_same_places(span: Span, of: Span, within: Span) -> Span {
    let there = |unit: u64| within.start.saturating_add(unit.saturating_sub(of.start)).min(within.end);
    Span { start: there(span.start), end: there(span.end) }
}

impl StageId {
    /// Its place among the stages of its job.
    pub fn index(self) -> usize {
        self.0
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stage(units: u64) -> Stage {
        Stage::of(&Blob::new(vec![0]), units, CallShape::EachUnit)
    }

    #[test]
    fn units_are_numbered_through_and_each_belongs_to_one_stage() {
        let mut stages = Stages::default();
        let cut = stages.add(stage(10), &[]);
        let sorted = stages.add(stage(10), &[Feed::Each(cut)]);
        let merged = stages.add(stage(1), &[Feed::All(cut), Feed::All(sorted)]);
        assert_eq!(stages.units(), 21);
        let of = |unit| stages.of_unit(unit).unwrap().0;
        assert_eq!([0, 9, 10, 19, 20, 99].map(of), [cut, cut, sorted, sorted, merged, merged]);
        let fed: Vec<_> = stages.fed_by(cut).collect();
        assert_eq!(fed, [(sorted, Feed::Each(cut)), (merged, Feed::All(cut))]);
        assert_eq!(stages.get(merged).unwrap().span, Span { start: 20, end: 21 });
    }

    #[test]
    fn what_feeds_a_span_is_found_among_what_is_done() {
        let mut stages = Stages::default();
        let cut = stages.add(stage(10), &[]);
        let sorted = stages.add(stage(10), &[Feed::Each(cut)]);
        stages.add(stage(1), &[Feed::All(sorted)]);
        let span = |start, end| Span { start, end };
        let done: Done = [(0, 4), (4, 5), (5, 10), (10, 20)].map(|(start, end)| (span(start, end), vec![])).into();
        let feeding = |start, end| stages.feeding(span(start, end), &done).into_keys().copied().collect::<Vec<_>>();
        assert_eq!(feeding(0, 3), []);
        assert_eq!(feeding(13, 15), [span(0, 4), span(4, 5)]);
        assert_eq!(feeding(15, 16), [span(5, 10)]);
        assert_eq!(feeding(20, 21), [span(10, 20)]);
    }

    #[test]
    fn nothing_feeds_itself_or_what_comes_before_it() {
        let mut stages = Stages::default();
        let first = stages.add(stage(1), &[Feed::All(StageId(0)), Feed::Each(StageId(7))]);
        assert!(stages.get(first).unwrap().needs.is_empty());
        for _ in 0..2 * MOST_STAGES {
            stages.add(stage(1), &[Feed::All(first)]);
        }
        assert_eq!(stages.iter().count(), MOST_STAGES);
    }
}
