//! How much goes out next, and to whom: plain values that the requester asks. Nothing here sends anything.
//!
//! A batch should keep a core busy for [`TARGET`]: long enough that dispatch costs nothing, short enough that progress
//! shows and little is lost with a node. Speeds are measured: a node starts with a small probe and grows by
//! [`GROWTH`] a step. Near the end batches shrink, so that all nodes finish together.

use std::collections::BTreeMap;

use crate::{
    job::CallShape,
    units::{Millis, Span},
};

/// Time that one batch should take on one core.
pub(super) const TARGET: Millis = Millis(1_500);
/// The same while a node still shows how many cores it has: each round of batches shows twice as many.
const RAMP: Millis = Millis(300);
/// Near the end a batch takes at least so long, or dispatch would cost more than waiting.
const LEAST: Millis = Millis(50);
/// Time that the first batch to a node should take, when others have shown how fast units are.
const PROBE: Millis = Millis(50);
/// How many times larger than the largest batch so far the next may be.
const GROWTH: u64 = 16;

/// Units nobody works on, as disjoint spans; neighbours are joined.
#[derive(Default, Debug)]
pub(super) struct SpanSet {
    spans: BTreeMap<u64, u64>,
    units: u64,
}

impl SpanSet {
    /// So many units from the first on.
    #[cfg(test)]
    pub(super) fn full(units: u64) -> Self {
        let mut set = Self::default();
        set.put(Span { start: 0, end: units });
        set
    }

    pub(super) fn units(&self) -> u64 {
        self.units
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The first unit in it.
    pub(super) fn first(&self) -> Option<u64> {
        self.spans.first_key_value().map(|(start, _)| *start)
    }

    /// Whether a span that is not empty lies in it as a whole.
    pub(super) fn contains(&self, span: Span) -> bool {
        let around = self.spans.range(..=span.start).next_back();
        !span.is_empty() && around.is_some_and(|(_, end)| *end >= span.end)
    }

    /// What of a span is in it, in order.
    pub(super) fn within(&self, span: Span) -> Vec<Span> {
        let before = self.spans.range(..span.start).next_back().map(|(start, end)| (*start, *end));
        let inside = self.spans.range(span.start..span.end.max(span.start)).map(|(start, end)| (*start, *end));
        let cut = |(start, end): (u64, u64)| Span { start: start.max(span.start), end: end.min(span.end) };
        before.into_iter().chain(inside).map(cut).filter(|part| !part.is_empty()).collect()
    }

    /// Takes at most `most` units from the front, in one span.
    pub(super) fn take(&mut self, most: u64) -> Option<Span> {
        let (start, end) = self.spans.pop_first()?;
        let cut = start.saturating_add(most.max(1)).min(end);
        if cut < end {
            self.spans.insert(cut, end);
        }
        self.units -= cut - start;
        Some(Span { start, end: cut })
    }

    /// Adds a span that is not in it. Whatever of it is in it already is not added again.
    pub(super) fn put(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        self.remove(span);
        let (mut start, mut end) = (span.start, span.end);
        if let Some((before, until)) = self.spans.range(..start).next_back().map(|(a, b)| (*a, *b))
            && until == start
        {
            self.spans.remove(&before);
            start = before;
        }
        if let Some(after) = self.spans.remove(&end) {
            end = after;
        }
        self.spans.insert(start, end);
        self.units += span.len();
    }

    /// Takes out whatever of a span is in it.
    pub(super) fn remove(&mut self, span: Span) {
        let mut cut: Vec<(u64, u64)> = self.spans.range(span.start..span.end).map(|(a, b)| (*a, *b)).collect();
        if let Some((start, end)) = self.spans.range(..span.start).next_back().map(|(a, b)| (*a, *b))
            && end > span.start
        {
            cut.push((start, end));
        }
        for (start, end) in cut {
            self.spans.remove(&start);
            self.units -= end - start;
            for (start, end) in [(start, span.start.min(end)), (span.end.max(start), end)] {
                if start < end {
                    self.spans.insert(start, end);
                    self.units += end - start;
                }
            }
        }
    }
}

/// Units in a thousand seconds: a whole number with three more digits than units a second.
pub(super) type Rate = u64;

/// How fast a node is at one job.
#[derive(Default, Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Of one core; absent until a batch came back.
    pub(super) rate: Option<Rate>,
    /// The most units it has delivered at once.
    pub(super) largest: u64,
    /// Cores that it lends.
    pub(super) cores: u16,
    /// Batches it has now.
    pub(super) outstanding: u32,
    /// Whether it is counted in the job's crowd.
    counted: bool,
}

/// The speeds of all nodes at one job.
#[derive(Debug)]
pub(super) struct Paces<Id: Ord> {
    nodes: BTreeMap<Id, Pace>,
    /// Sum of rate × cores over the counted nodes.
    crowd: Rate,
    /// The last rate that anybody showed.
    last: Option<Rate>,
}

impl<Id: Ord> Default for Paces<Id> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), crowd: 0, last: None }
    }
}

impl<Id: Ord + Copy> Paces<Id> {
    pub(super) fn get(&self, node: Id) -> Pace {
        self.nodes.get(&node).copied().unwrap_or_default()
    }

    /// The nodes that have batches, and how many.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = (Id, u32)> {
        self.nodes.iter().filter(|(_, pace)| pace.outstanding > 0).map(|(node, pace)| (*node, pace.outstanding))
    }

    pub(super) fn crowd(&self) -> Rate {
        self.crowd
    }

    /// A batch goes out to a node.
    pub(super) fn sent(&mut self, node: Id, cores: u16) {
        let pace = self.nodes.entry(node).or_default();
        pace.outstanding += 1;
        pace.cores = cores;
    }

    /// A batch came back or was given up.
    pub(super) fn ended(&mut self, node: Id) {
        if let Some(pace) = self.nodes.get_mut(&node) {
            pace.outstanding = pace.outstanding.saturating_sub(1);
        }
    }

    /// A node took `micros` for `units` on one core.
    pub(super) fn measured(&mut self, node: Id, units: u64, micros: u64) {
        let sample = u128::from(units) * 1_000_000_000 / u128::from(micros.max(1));
        let sample = u64::try_from(sample).unwrap_or(u64::MAX).clamp(1, u64::MAX >> 16);
        self.uncount(node);
        let pace = self.nodes.entry(node).or_default();
        // A small batch is mostly overhead: it says little once larger ones were seen.
        pace.rate = Some(match pace.rate {
            Some(rate) if units < pace.largest / 4 => rate,
            Some(rate) if units <= pace.largest.saturating_mul(2) => (rate / 2).saturating_add(sample / 2).max(1),
            Some(_) | None => sample,
        });
        pace.largest = pace.largest.max(units);
        self.last = pace.rate;
        self.count(node);
    }

    /// A node lends more or fewer cores than before.
    pub(super) fn resize(&mut self, node: Id, cores: u16) {
        self.uncount(node);
        if let Some(pace) = self.nodes.get_mut(&node) {
            pace.cores = cores;
        }
        self.count(node);
    }

    /// A node is there (again) or gone.
    pub(super) fn present(&mut self, node: Id, here: bool) {
        self.uncount(node);
        if here {
            self.count(node);
        }
    }

    fn count(&mut self, node: Id) {
        if let Some(pace) = self.nodes.get_mut(&node)
            && let Some(rate) = pace.rate
        {
            pace.counted = true;
            self.crowd = self.crowd.saturating_add(rate.saturating_mul(u64::from(pace.cores)));
        }
    }

    fn uncount(&mut self, node: Id) {
        if let Some(pace) = self.nodes.get_mut(&node)
            && pace.counted
        {
            pace.counted = false;
            let share = pace.rate.unwrap_or(0).saturating_mul(u64::from(pace.cores));
            self.crowd = self.crowd.saturating_sub(share);
        }
    }

    /// How many units the next batch for a node should hold, with `left` units that nobody works on.
    /// `ramps`: it still shows how many cores it has.
    pub(super) fn batch_units(&self, node: Id, left: u64, timeout: Millis, probe: u64, ramps: bool) -> u64 {
        let pace = self.get(node);
        let Some(rate) = pace.rate else {
            let guess = self.last.map_or(probe, |rate| units_in(rate, PROBE).clamp(1, probe.saturating_mul(64)));
            return guess.max(1).min(left);
        };
        let target = if ramps { RAMP } else { TARGET };
        let ideal = units_in(rate, Millis(target.0.min(timeout.0 / 4).max(1)));
        let grown = pace.largest.saturating_mul(GROWTH);
        let crowd = u128::from(self.crowd.max(rate).max(1));
        let fair = u64::try_from(u128::from(left) * u128::from(rate) / (2 * crowd)).unwrap_or(u64::MAX);
        ideal.min(grown).min(fair.max(units_in(rate, LEAST))).max(1)
    }

    /// How long `units` take on one core of a node; `None` while unknown.
    pub(super) fn duration(&self, node: Id, units: u64) -> Option<Millis> {
        self.get(node).rate.map(|rate| time_for(units, rate))
    }

    /// How long they took wherever units were computed last; `None` before the first.
    pub(super) fn duration_elsewhere(&self, units: u64) -> Option<Millis> {
        self.last.map(|rate| time_for(units, rate))
    }
}

/// How long `units` take at `rate`.
fn time_for(units: u64, rate: Rate) -> Millis {
    let millis = u128::from(units) * 1_000_000 / u128::from(rate.max(1));
    Millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Units at `rate` in a time.
fn units_in(rate: Rate, time: Millis) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(time.0) / 1_000_000).unwrap_or(u64::MAX)
}

/// How many units go to a node whose speed nobody knows, out of `units` in all. Units of a range are cheap by nature;
/// a unit that is a call of its own may be anything.
pub(super) fn probe_units(shape: CallShape, units: u64) -> u64 {
    match shape {
        CallShape::WholeSpan => (units / 64).clamp(1, 1024),
        CallShape::EachUnit => (units / 4096).clamp(1, 16),
    }
}

/// How many batches a node should have at once: one a core, and a few ahead so that no core waits for the network.
pub(super) fn window(cores: u16) -> usize {
    usize::from(cores) + usize::from(cores / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    #[test]
    fn spans_are_taken_from_the_front_and_joined_when_put_back() {
        let mut set = SpanSet::full(100);
        assert_eq!(set.take(10), Some(span(0, 10)));
        assert_eq!(set.take(10), Some(span(10, 20)));
        set.put(span(0, 10));
        assert_eq!(set.units(), 90);
        set.put(span(10, 20));
        assert_eq!(set.take(1000), Some(span(0, 100)));
        assert!(set.is_empty());
        set.put(span(5, 10));
        set.put(span(7, 12)); // part of it is there already
        assert_eq!(set.units(), 7);
        set.put(span(20, 30));
        assert_eq!(set.within(span(0, 22)), [span(5, 12), span(20, 22)]);
        assert_eq!((set.within(span(6, 8)), set.within(span(12, 20))), (vec![span(6, 8)], vec![]));
        set.remove(span(20, 30));
        set.remove(span(6, 11));
        assert_eq!(set.units(), 2);
        assert_eq!((set.take(9), set.take(9), set.take(9)), (Some(span(5, 6)), Some(span(11, 12)), None));
    }

    #[test]
    fn batches_grow_from_the_probe_to_the_target_and_shrink_at_the_end() {
        let mut paces = Paces::default();
        let timeout = Millis(30_000);
        let mut units = paces.batch_units('a', 1 << 40, timeout, 1024, false);
        assert_eq!(units, 1024);
        // A million units a second: the batch ends at one and a half million.
        let mut steps = 0;
        while units < 1_500_000 {
            paces.sent('a', 1);
            paces.measured('a', units, units);
            units = paces.batch_units('a', 1 << 40, timeout, 1024, false);
            steps += 1;
            assert!(steps < 10);
        }
        assert_eq!(units, 1_500_000);
        // Two million left for one core: half of it, then less and less, never below 50 ms of work.
        assert_eq!(paces.batch_units('a', 2_000_000, timeout, 1024, false), 1_000_000);
        assert_eq!(paces.batch_units('a', 1_000, timeout, 1024, false), 50_000);
        // A second node, as fast and with three cores, leaves a quarter of the half.
        paces.sent('b', 3);
        paces.measured('b', units, units);
        assert_eq!(paces.batch_units('a', 2_000_000, timeout, 1024, false), 250_000);
        paces.present('b', false);
        assert_eq!(paces.batch_units('a', 2_000_000, timeout, 1024, false), 1_000_000);
    }

    #[test]
    fn a_batch_stays_well_below_the_timeout() {
        let mut paces = Paces::default();
        paces.sent('a', 1);
        paces.measured('a', 1_000_000, 1_000_000);
        assert_eq!(paces.batch_units('a', 1 << 40, Millis(1_000), 1, false), 250_000);
        assert_eq!(paces.duration('a', 250_000), Some(Millis(250)));
    }
}
