//! Running (a part of) a job right here, on an engine of this node: the page's dry run, and what tests compare with.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{CallShape, Done, Job, Outputs, Program};
use crate::{
    engine::{Engine, Input, Limits, batch},
    kernel,
    refusal::{Code, Refusal},
    units::{Gas, Span},
};

/// What a local run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRun {
    /// The result as JSON text, of the units that ran.
    pub result: String,
    /// How many units ran; fewer than the job has, if it was bounded.
    pub units: u64,
    /// Gas used.
    pub gas: Gas,
}

/// Runs the first `most_units` units of a job. A plan without partial results needs all of them.
pub fn run_locally<E: Engine>(job: &Job, engine: &mut E, most_units: u64) -> Result<LocalRun, Refusal> {
    let all = job.stages.units();
    let units = all.min(most_units.max(1));
    if units < all && !job.plan.has_partial_result() {
        let message = format!("this job has {all} units; a dry run takes at most {units}");
        return Err(Refusal::new(Code::TooLarge, message, "try it with less data"));
    }
    let stages = &job.stages;
    let mut start = 0u64;
    let spans = core::iter::from_fn(|| {
        let of_stage = stages.of_unit(start).map_or(units, |(_, placed)| placed.span.end);
        let end = units.min(of_stage).min(start.saturating_add(job.plan.most_units_a_batch(start).max(1)));
        let span = Span { start, end };
        start = end;
        (!span.is_empty()).then_some(span)
    });
    run_spans(job, engine, spans)
}

/// Runs these spans of a job, in this order, and merges them.
pub fn run_spans<E: Engine>(
    job: &Job,
    engine: &mut E,
    spans: impl IntoIterator<Item = Span>,
) -> Result<LocalRun, Refusal> {
    let stages = &job.stages;
    let mut modules = BTreeMap::new();
    let memory_bytes = u64::from(job.requirements.memory_mib) << 20;
    let limits = Limits { memory_bytes, ..Limits::default() };
    let (mut done, mut units, mut gas) = (Done::new(), 0, Gas(0));
    for span in spans {
        let mut outputs = Outputs::new();
        let none = || Refusal::new(Code::Internal, "the job has no stage", "");
        let stage = &stages.of_unit(span.start).ok_or_else(none)?.1.stage;
        let Program::Wasm(kernel) = &stage.program;
        let module = match modules.entry(kernel.hash()) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => {
                let prepared = kernel::prepare(kernel)?;
                place.insert(engine.load(&prepared.rewritten).map_err(|trap| trapped(trap, span))?)
            }
        };
        let inputs = job.plan.inputs(span, &done);
        let outcomes =
            batch::run(&inputs, |input| engine.call(module, Input::with(stage.common.as_ref(), input), &limits));
        for (call, outcome) in (0..).zip(outcomes) {
            gas += outcome.gas;
            let covered = match stage.shape {
                CallShape::WholeSpan => span,
                CallShape::EachUnit => Span { start: span.start + call, end: span.start + call + 1 },
            };
            let output = outcome.output.map_err(|trap| trapped(trap, covered))?;
            job.plan.check(covered, &output)?;
            outputs.push(output);
        }
        units += span.len();
        done.insert(span, outputs);
    }
    let result = job.plan.merge(&done)?;
    match job.plan.failure(&done) {
        None => Ok(LocalRun { result, units, gas }),
        Some(refusal) => Err(refusal),
    }
}

fn trapped(trap: crate::engine::Trap, span: Span) -> Refusal {
    Refusal::new(trap.code(), format!("the kernel stopped at units {}..{}: {trap:?}", span.start, span.end), "")
}
