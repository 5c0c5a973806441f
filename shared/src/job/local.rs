//! Running (a part of) a job right here, on an engine of this node: the page's dry run, and what tests compare with.

use std::collections::BTreeMap;

use super::{CallShape, Job, Outputs};
use crate::{
    engine::{Engine, Limits, batch},
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
    let all = job.plan.units();
    let units = all.min(most_units.max(1));
    if units < all && !job.plan.has_partial_result() {
        let message = format!("this job has {all} units; a dry run takes at most {units}");
        return Err(Refusal::new(Code::TooLarge, message, "try it with less data"));
    }
    let mut start = 0u64;
    let spans = core::iter::from_fn(|| {
        let end = units.min(start.saturating_add(job.plan.most_units_a_batch(start).max(1)));
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
    let prepared = kernel::prepare(job.plan.kernel())?;
    let module = engine.load(&prepared.rewritten).map_err(|trap| trapped(trap, Span { start: 0, end: 0 }))?;
    let memory_bytes = u64::from(job.requirements.memory_mib) << 20;
    let limits = Limits { memory_bytes, ..Limits::default() };
    let common: &[u8] = job.plan.common().map_or(&[], |common| common);
    let (mut done, mut units, mut gas) = (BTreeMap::new(), 0, Gas(0));
    for span in spans {
        let mut outputs = Outputs::new();
        let last = job.plan.has_last_step() && span.start + 1 == job.plan.units();
        let inputs = if last { vec![job.plan.last_input(&done)] } else { job.plan.inputs(span) };
        let outcomes = batch::run(&inputs, |input| engine.call(&module, &[common, input], &limits));
        for (call, outcome) in (0..).zip(outcomes) {
            gas += outcome.gas;
            let covered = match job.plan.shape() {
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
