//! A taste of a job before it is submitted: a few of its units, run in a worker of this tab.

use std::{collections::BTreeMap, sync::Arc};

use futures::channel::oneshot;
use p2pnet_shared::{
    engine::{Batch, BatchReport, EngineName, Limits, Trap},
    job::{CallShape, Done, Job, Program},
    refusal::{Code, Refusal},
    units::{Gas, Millis, Span},
};

use crate::pool::{Lane, Pool};

/// A dry run goes on doubling its span until a run takes so long.
const ENOUGH_MICROS: u64 = 100_000;
/// No run of a dry run may take longer.
const MOST_TIME: Millis = Millis(5_000);
/// The first span, in units.
const FIRST_UNITS: u64 = 8;
/// How often the span grows, at most.
const MOST_RUNS: u32 = 12;
const GROWTH: u64 = 8;

/// What a dry run showed.
#[derive(Clone, Debug, PartialEq)]
pub struct DryRun {
    /// Units that were run.
    pub units: u64,
    /// Units that the job has in all.
    pub units_total: u64,
    /// Kernel calls that were made.
    pub tasks: u64,
    /// Gas of those.
    pub gas: Gas,
    /// Processor time of those, in microseconds.
    pub busy_micros: u64,
    /// Which engine ran them.
    pub engine: EngineName,
    /// The result of these units as JSON text, where the kind can say it.
    pub result: Option<String>,
}

impl DryRun {
    /// Whether this was the whole job, so that `result` is the result.
    pub fn is_whole(&self) -> bool {
        self.units == self.units_total
    }

    /// Units a second on one core of this device; absent when the run was too short to tell.
    // An estimate for people.
    pub fn units_per_second(&self) -> Option<f64> {
        (self.busy_micros > 0).then(|| self.units as f64 * 1e6 / self.busy_micros as f64)
    }

    /// Gas that the whole job will take, if its other units are like these.
    // An estimate for people.
    pub fn gas_estimate(&self) -> f64 {
        self.gas.0 as f64 * (self.units_total as f64 / self.units.max(1) as f64)
    }
}

/// Runs the first units of a job, more of them while that stays short.
pub(crate) async fn dry_run(pool: &Pool, job: &Job) -> Result<DryRun, Refusal> {
    let plan = job.plan.as_ref();
    let none = || Refusal::new(Code::Internal, "the job has no stage", "");
    // What the first stage does: the others need what comes of it.
    let stage = &job.stages.iter().next().ok_or_else(none)?.stage;
    let Program::Wasm(kernel) = &stage.program;
    let most = plan.most_units_a_batch(0).clamp(1, stage.units.max(1));
    let mut units = FIRST_UNITS.min(most);
    let mut best: Option<DryRun> = None;
    for _ in 0..MOST_RUNS {
        let span = Span { start: 0, end: units };
        let calls = plan.inputs(span, &Done::new());
        let batch = Batch { kernel: kernel.hash(), common: stage.common.clone(), calls, limits: limits(job) };
        let report = run(pool, Arc::clone(kernel.bytes()), batch).await?;
        let was_too_long = ended_in(&report, Trap::TimedOut);
        match (was_too_long, best) {
            (true, Some(shorter)) => return Ok(shorter),
            (_, _) => best = Some(read(job, stage.shape, span, report)?),
        }
        let is_enough = best.as_ref().is_none_or(|run| run.busy_micros >= ENOUGH_MICROS);
        if is_enough || units == most {
            break;
        }
        units = units.saturating_mul(GROWTH).min(most);
    }
    best.ok_or_else(|| Refusal::new(Code::Internal, "the dry run did not run", "try again"))
}

fn limits(job: &Job) -> Limits {
    let own = u64::from(job.requirements.timeout_seconds).saturating_mul(1_000);
    Limits {
        memory_bytes: u64::from(job.requirements.memory_mib) << 20,
        time_millis: own.min(MOST_TIME.0),
        ..Limits::default()
    }
}

async fn run(pool: &Pool, kernel: Arc<[u8]>, batch: Batch) -> Result<BatchReport, Refusal> {
    let (done, report) = oneshot::channel();
    pool.execute(Lane::Person, kernel, batch, 100, move |report| {
        let _ = done.send(report);
    });
    report.await.map_err(|_| Refusal::new(Code::ShuttingDown, "the page is closing", ""))
}

fn ended_in(report: &BatchReport, trap: Trap) -> bool {
    report.outcomes.iter().any(|outcome| outcome.output == Err(trap))
}

fn read(job: &Job, shape: CallShape, span: Span, report: BatchReport) -> Result<DryRun, Refusal> {
    let (plan, units_total) = (&job.plan, job.stages.units());
    let BatchReport { engine, outcomes, busy_micros, prepared: _ } = report;
    let tasks = outcomes.len() as u64;
    let (mut gas, mut outputs) = (Gas(0), Vec::new());
    for (index, outcome) in (span.start..).zip(outcomes) {
        gas += outcome.gas;
        let covered = match shape {
            CallShape::WholeSpan => span,
            CallShape::EachUnit => Span { start: index, end: index + 1 },
        };
        let output = outcome.output.map_err(|trap| trapped(trap, covered))?;
        plan.check(covered, &output)?;
        outputs.push(output);
    }
    let is_whole = span.len() == units_total;
    let says_part = is_whole || plan.has_partial_result();
    let done = BTreeMap::from([(span, outputs)]);
    if let Some(refusal) = plan.failure(&done) {
        return Err(refusal);
    }
    let result = if says_part { Some(plan.merge(&done)?) } else { None };
    Ok(DryRun { units: span.len(), units_total, tasks, gas, busy_micros, engine, result })
}

fn trapped(trap: Trap, span: Span) -> Refusal {
    let last = span.end.saturating_sub(1);
    let place = if span.len() == 1 { format!("unit {last}") } else { format!("units {} to {last}", span.start) };
    let (what, hint) = match trap {
        Trap::Trapped => ("stopped itself (unreachable code, a failed bounds check)", "test the kernel on this input"),
        Trap::OutOfGas => ("ran out of gas", "make the units smaller"),
        Trap::OutOfMemory => ("wanted more memory than the job may use", "raise ram_gb in requirements"),
        Trap::StackOverflow => ("recursed too deep", "use a loop instead of recursion"),
        Trap::BrokenContract => ("broke the kernel contract", "export memory, alloc and run as the kernel guide says"),
        Trap::OutputTooLarge => ("put out more than a call may", "put less out, or cut the input into smaller parts"),
        Trap::TimedOut => ("ran longer than a dry run may", "submit it, or make the units smaller"),
        Trap::Cancelled => ("was cancelled", ""),
        Trap::HostFailed => ("could not be run by this browser", "reload the page"),
    };
    Refusal::new(trap.code(), format!("the kernel {what} at {place}"), hint)
}
