//! A job of several stages for the simulator: squares of numbers, squares of those one by one, sums of ranges when all first
//! squares are there, and one number over everything.

use p2pnet_shared::{
    id::Holder,
    job::{CallShape, Done, Feed, Job, Plan, Policy, Requirements, Stage, Stages, metadata::Metadata, outputs},
    refusal::{Code, Refusal},
    units::Span,
};

use crate::plan::KERNEL;

/// A graph whose stages have so many units, but for the last, which has one.
pub fn job(units: u64) -> Job {
    let plan = Graph { units };
    Job {
        holder: Holder::LOCAL,
        kind: "sim",
        metadata: Metadata::default(),
        source: format!("graph {units}").into(),
        requirements: Requirements::default(),
        policy: Policy::default(),
        stages: plan.stages(),
        plan: Box::new(plan),
    }
}

/// What [`job`] must come to: the number of its last stage.
pub fn expected(units: u64) -> String {
    let square = |x: u64| x * x + 1;
    let first: Vec<u64> = (0..units).map(square).collect();
    let second: u64 = first.iter().map(|x| square(x % SMALL)).sum();
    let ranges = units * (units - 1) / 2;
    let end = (second + ranges + first.iter().sum::<u64>()) % SMALL;
    (u128::from(end) * u128::from(end.saturating_sub(1)) / 2).to_string()
}

/// Numbers stay below this, so that no square is too large.
const SMALL: u64 = 1_000;

struct Graph {
    units: u64,
}

impl Graph {
    /// The units of a stage: all have as many as the first.
    fn stage(&self, place: u64) -> Span {
        Span { start: place * self.units, end: (place + 1) * self.units }
    }
}

fn numbers(done: &Done, units: Span) -> impl Iterator<Item = u64> {
    outputs(done, units).map(|output| u64::from_le_bytes(output[..8].try_into().unwrap()))
}

impl Plan for Graph {
    fn stages(&self) -> Stages {
        let each = |units| Stage::of(&KERNEL, units, CallShape::EachUnit);
        let mut stages = Stages::default();
        let squares = stages.add(each(self.units), &[]);
        let again = stages.add(each(self.units), &[Feed::Each(squares)]);
        let ranges = stages.add(Stage::of(&KERNEL, self.units, CallShape::WholeSpan), &[Feed::All(squares)]);
        stages.add(each(1), &[Feed::All(again), Feed::All(ranges)]);
        stages
    }

    fn most_units_a_batch(&self, _: u64) -> u64 {
        // What goes beyond a stage is left out.
        u64::MAX
    }

    fn inputs(&self, span: Span, done: &Done) -> Vec<Vec<u8>> {
        let bytes = |number: u64| number.to_le_bytes().to_vec();
        match span.start / self.units {
            0 => (span.start..span.end).map(bytes).collect(),
            1 => {
                let before = Span { start: span.start - self.units, end: span.end - self.units };
                numbers(done, before).map(|number| bytes(number % SMALL)).collect()
            }
            2 => {
                let first = self.stage(2).start;
                vec![[span.start - first, span.end - first].map(bytes).concat()]
            }
            _ => {
                let sum: u64 = (0..3).flat_map(|stage| numbers(done, self.stage(stage))).sum();
                vec![[0, sum % SMALL].map(bytes).concat()]
            }
        }
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        let wrong = || Refusal::new(Code::KernelError, format!("no number at {}", span.start), "");
        (output.len() == 8).then_some(()).ok_or_else(wrong)
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let start = self.stage(3).start;
        Ok(numbers(done, Span { start, end: start + 1 }).sum::<u64>().to_string())
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}
