//! How far the stages of one job are: which of their units are open, which wait for outputs of other stages, and how fast
//! nodes are at each.

use super::scheduler::{Paces, SpanSet, probe_units};
use crate::{
    blob::Blob,
    id::NodeId,
    job::{CallShape, Feed, Language, Placed, Stage, Stages, in_the_same_places},
    units::{Millis, Span},
    wire::MOST_CALLS,
};

/// The stages of a job, in their order.
pub(super) struct Progress {
    graph: Stages,
    /// One for each of the graph.
    stages: Vec<StageProgress>,
}

/// One stage.
pub(super) struct StageProgress {
    placed: Placed,
    /// Units that nobody has, and that could be computed.
    open: SpanSet,
    /// Units that need outputs which are not there yet.
    waiting: SpanSet,
    done: SpanSet,
    /// No batch is larger, because a larger one ran out of time or memory.
    most_units: u64,
    probe: u64,
    pub(super) paces: Paces<NodeId>,
}

impl Progress {
    /// Nothing is done yet.
    pub(super) fn new(stages: Stages) -> Self {
        let each = stages.iter().cloned().map(StageProgress::new).collect();
        Self { graph: stages, stages: each }
    }

    /// The stage of a unit; that of the last, for one beyond all.
    pub(super) fn of(&self, unit: u64) -> Option<&StageProgress> {
        self.stages.get(self.place(unit))
    }

    pub(super) fn of_mut(&mut self, unit: u64) -> Option<&mut StageProgress> {
        let place = self.place(unit);
        self.stages.get_mut(place)
    }

    fn place(&self, unit: u64) -> usize {
        self.graph.of_unit(unit).map_or(0, |(id, _)| id.index())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &StageProgress> {
        self.stages.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut StageProgress> {
        self.stages.iter_mut()
    }

    /// How many units could be given out now.
    pub(super) fn open_units(&self) -> u64 {
        self.stages.iter().map(|stage| stage.open.units()).sum()
    }

    /// How many wait for outputs of other stages.
    pub(super) fn waiting_units(&self) -> u64 {
        self.stages.iter().map(|stage| stage.waiting.units()).sum()
    }

    /// Whether no unit could be given out now.
    pub(super) fn none_open(&self) -> bool {
        self.stages.iter().all(|stage| stage.open.is_empty())
    }

    /// Whether a span of one stage is open as a whole.
    pub(super) fn is_open(&self, span: Span) -> bool {
        self.of(span.start).is_some_and(|stage| stage.open.contains(span))
    }

    /// Units are open again.
    pub(super) fn reopen(&mut self, span: Span) {
        if let Some(stage) = self.of_mut(span.start) {
            stage.open.put(span);
        }
    }

    /// Units of one stage are out, or done, and not open any more.
    pub(super) fn close(&mut self, span: Span) {
        if let Some(stage) = self.of_mut(span.start) {
            stage.open.remove(span);
        }
    }

    /// Batches from a unit's stage shall be no longer than half of this one.
    pub(super) fn halve(&mut self, span: Span) {
        if let Some(stage) = self.of_mut(span.start) {
            stage.most_units = stage.most_units.min(span.len() / 2).max(1);
        }
    }

    /// The outputs of units of one stage are there: what they feed is open, if that needs nothing else. Whether anything is.
    pub(super) fn done(&mut self, span: Span) -> bool {
        let Some((id, _)) = self.graph.of_unit(span.start) else { return false };
        let Some(stage) = self.stages.get_mut(id.index()) else { return false };
        stage.done.put(span);
        let (own, is_complete) = (stage.placed.span, stage.is_complete());
        let fed: Vec<_> = self.graph.fed_by(id).collect();
        let mut opened = false;
        for (fed, feed) in fed {
            let Some(whole) = self.graph.get(fed).map(|placed| placed.span) else { continue };
            let reached = match feed {
                Feed::All(_) if !is_complete => continue,
                Feed::All(_) => whole,
                Feed::Each(_) => {
                    let reached = in_the_same_places(span, own, whole);
                    // Those beyond the stage that feeds them need nothing of it.
                    if is_complete { Span { end: whole.end, ..reached } } else { reached }
                }
            };
            opened |= self.open_fed(fed.index(), reached);
        }
        opened
    }

    /// Opens what waits in a span of a stage and needs nothing more.
    fn open_fed(&mut self, fed: usize, reached: Span) -> bool {
        let Some(stage) = self.stages.get(fed) else { return false };
        let mut ready = stage.waiting.within(reached);
        for feed in &stage.placed.needs {
            let Some(from) = self.stages.get(feed.from().index()) else { continue };
            match feed {
                Feed::All(_) if !from.is_complete() => return false,
                Feed::All(_) => {}
                Feed::Each(_) => {
                    let there = |span: &Span| from.done_in_place_of(stage.placed.span, *span);
                    ready = ready.iter().flat_map(there).collect();
                }
            }
        }
        let Some(stage) = self.stages.get_mut(fed) else { return false };
        for span in &ready {
            stage.waiting.remove(*span);
            stage.open.put(*span);
        }
        !ready.is_empty()
    }

    /// How long the rest takes with the nodes that are at it, in milliseconds; `None` while nobody has shown a pace.
    pub(super) fn remaining_millis(&self) -> Option<u128> {
        let mut sum = 0;
        for stage in &self.stages {
            let left = stage.placed.span.len().saturating_sub(stage.done.units());
            let crowd = stage.paces.crowd();
            match crowd {
                _ if left == 0 => {}
                0 => return None,
                // A rate is in units in a thousand seconds.
                1.. => sum += u128::from(left) * 1_000_000 / u128::from(crowd),
            }
        }
        Some(sum)
    }

    /// A node that was at it is there (again) or gone.
    pub(super) fn present(&mut self, node: NodeId, here: bool) {
        self.stages.iter_mut().for_each(|stage| stage.paces.present(node, here));
    }

    /// A node lends so many cores now.
    pub(super) fn resize(&mut self, node: NodeId, cores: u16) {
        for stage in &mut self.stages {
            let pace = stage.paces.get(node);
            if pace.rate.is_some() && pace.cores != cores {
                stage.paces.resize(node, cores);
            }
        }
    }
}

impl StageProgress {
    fn new(placed: Placed) -> Self {
        let (span, shape) = (placed.span, placed.stage.shape);
        let (mut open, mut waiting) = (SpanSet::default(), SpanSet::default());
        if placed.needs.is_empty() {
            open.put(span)
        } else {
            waiting.put(span)
        }
        let probe = probe_units(shape, span.len());
        let (done, most_units, paces) = (SpanSet::default(), u64::MAX, Paces::default());
        Self { placed, open, waiting, done, most_units, probe, paces }
    }

    /// What it is.
    pub(super) fn stage(&self) -> &Stage {
        &self.placed.stage
    }

    /// What nodes need for all of its batches.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let stage = &self.placed.stage;
        [stage.program.blob()].into_iter().chain(&stage.common)
    }

    /// What a node must be able to run for it.
    pub(super) fn language(&self) -> Language {
        self.placed.stage.language
    }

    /// Whether a unit is one of its own.
    pub(super) fn has(&self, unit: u64) -> bool {
        (self.placed.span.start..self.placed.span.end).contains(&unit)
    }

    fn is_complete(&self) -> bool {
        self.done.units() == self.placed.span.len()
    }

    /// The parts of a span of another stage that begins at `other.start`, whose places in this one are done, or beyond it.
    fn done_in_place_of(&self, other: Span, span: Span) -> Vec<Span> {
        let own = self.placed.span;
        let here = self.done.within(in_the_same_places(span, other, own)).into_iter();
        let mut parts: Vec<Span> = here.map(|part| in_the_same_places(part, own, other)).collect();
        let beyond = Span { start: span.start.max(other.start.saturating_add(own.len())), end: span.end };
        if !beyond.is_empty() {
            parts.push(beyond);
        }
        parts
    }

    /// Takes the next units for a node of so many cores: as many as suit its pace and a batch. `fits` says from a unit on how
    /// many do by their size; `ramps`: it still shows how many cores it has.
    pub(super) fn take(
        &mut self,
        node: NodeId,
        cores: u16,
        ramps: bool,
        timeout: Millis,
        fits: impl Fn(u64) -> u64,
    ) -> Option<Span> {
        let first = self.open.first()?;
        let pace = self.paces.get(node);
        // Until its speed is known, a node gets one probe a core.
        if pace.rate.is_none() && pace.outstanding >= u32::from(cores) {
            return None;
        }
        let units = self.paces.batch_units(node, self.open.units(), timeout, self.probe, ramps);
        let calls = match self.placed.stage.shape {
            CallShape::WholeSpan => u64::MAX,
            CallShape::EachUnit => MOST_CALLS,
        };
        self.open.take(units.min(fits(first)).min(self.most_units).min(calls))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    fn stage(units: u64) -> Stage {
        Stage::of(&Blob::new(vec![0]), units, CallShape::EachUnit)
    }

    fn open(progress: &Progress, unit: u64) -> Vec<Span> {
        progress.of(unit).unwrap().open.within(span(0, u64::MAX))
    }

    #[test]
    fn a_stage_is_open_when_all_that_feeds_it_is_there() {
        let mut stages = Stages::default();
        let one = stages.add(stage(4), &[]);
        let other = stages.add(stage(2), &[]);
        stages.add(stage(3), &[Feed::All(one), Feed::All(other)]);
        let mut progress = Progress::new(stages);
        assert_eq!((progress.open_units(), progress.waiting_units()), (6, 3));
        for done in [span(0, 4), span(5, 6)] {
            progress.close(done);
            progress.done(done);
        }
        assert_eq!(progress.waiting_units(), 3, "one unit of the second is missing");
        progress.close(span(4, 5));
        progress.done(span(4, 5));
        assert_eq!((open(&progress, 6), progress.waiting_units()), (vec![span(6, 9)], 0));
    }

    #[test]
    fn units_in_the_same_place_follow_one_by_one() {
        let mut stages = Stages::default();
        let read = stages.add(stage(10), &[]);
        let parsed = stages.add(stage(10), &[Feed::Each(read)]);
        let model = stages.add(stage(1), &[]);
        stages.add(stage(12), &[Feed::Each(read), Feed::Each(parsed), Feed::All(model)]);
        let mut progress = Progress::new(stages);
        let done = |progress: &mut Progress, span: Span| {
            progress.close(span);
            progress.done(span);
        };
        done(&mut progress, span(2, 5));
        assert_eq!(open(&progress, 10), [span(12, 15)]);
        assert_eq!(open(&progress, 21), []);
        done(&mut progress, span(13, 14));
        assert_eq!(open(&progress, 21), [], "the model is not there");
        done(&mut progress, span(20, 21));
        let beyond = span(31, 33);
        assert_eq!(
            open(&progress, 21),
            [span(24, 25), beyond],
            "what was done before counts, and what has no place needs none"
        );
        done(&mut progress, span(5, 10));
        done(&mut progress, span(14, 20));
        assert_eq!(open(&progress, 21), [span(24, 33)]);
        done(&mut progress, span(0, 2));
        done(&mut progress, span(10, 13));
        assert_eq!(open(&progress, 21), [span(21, 33)]);
        assert_eq!(progress.waiting_units(), 0);
    }
}
