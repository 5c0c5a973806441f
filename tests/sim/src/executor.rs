//! Runs batches by wasmi, once per kernel made ready, as a host does. How long it takes is told by the actor's speed.

use std::{collections::BTreeMap, sync::Arc};

use p2pnet_shared::{
    engine::{
        Batch, BatchReport, CallOutcome, Engine, EngineName, Input, Prepared, Trap, WasmiEngine, WasmiModule, batch,
    },
    id::Hash,
    kernel,
    units::Gas,
};

/// All nodes of a world share one: the same bytes give the same outcome anyway.
#[derive(Default)]
pub struct Executor {
    engine: WasmiEngine,
    modules: BTreeMap<Hash, Option<WasmiModule>>,
}

impl Executor {
    /// Runs a batch, and says that it took so long.
    /// A call whose input says so (see [`NEVER_ENDS`]) is not made: it ends as on a host that stops it.
    pub fn run(&mut self, kernel: &Arc<[u8]>, batch: &Batch, busy_micros: u64) -> BatchReport {
        let Self { engine, modules } = self;
        let module = modules.entry(batch.kernel).or_insert_with(|| {
            let prepared = kernel::prepare(kernel).ok()?;
            engine.load(&prepared.rewritten).ok()
        });
        let module = module.as_ref();
        let mut first = true;
        let outcomes = batch::run(&batch.calls, |call| match (stopped(call, std::mem::take(&mut first)), module) {
            (Some(trap), _) => CallOutcome { output: Err(trap), gas: Gas(1) },
            (None, Some(module)) => engine.call(module, Input::with(batch.common.as_ref(), call), &batch.limits),
            (None, None) => CallOutcome { output: Err(Trap::BrokenContract), gas: Gas(0) },
        });
        BatchReport { engine: EngineName::Wasmi, outcomes, busy_micros, prepared: engine.take_prepared() }
    }
}

/// What an input ends with whose call runs until its time is over, and one whose call burns all of its gas.
pub const NEVER_ENDS: &[u8] = b"runs for ever\n";
/// See [`NEVER_ENDS`].
pub const BURNS_GAS: &[u8] = b"burns its gas\n";

/// What an input ends with whose output is too much to be delivered with any other.
pub const FILLS_A_BATCH: &[u8] = b"fills batch\n";

fn stopped(call: &[u8], first: bool) -> Option<Trap> {
    if call.ends_with(FILLS_A_BATCH) && !first {
        return Some(Trap::HostFailed);
    }
    let ends = [(NEVER_ENDS, Trap::TimedOut), (BURNS_GAS, Trap::OutOfGas)];
    ends.iter().find(|(end, _)| call.ends_with(end)).map(|(_, trap)| *trap)
}

/// Whether a batch ends for want of time, unless something else ends it before.
pub(crate) fn takes_all_its_time(report: &BatchReport) -> bool {
    report.outcomes.last().is_some_and(|outcome| outcome.output == Err(Trap::TimedOut))
}

/// What a run that was stopped comes to.
pub fn cancelled() -> BatchReport {
    let outcomes = vec![CallOutcome { output: Err(Trap::Cancelled), gas: Gas(0) }];
    report(outcomes, 10)
}

/// What a host says whose worker did not answer.
pub fn timed_out() -> BatchReport {
    let outcomes = vec![CallOutcome { output: Err(Trap::TimedOut), gas: Gas(0) }];
    report(outcomes, 10)
}

/// Every call fails, as on a machine whose engine does not work.
pub fn broken() -> BatchReport {
    let outcomes = vec![CallOutcome { output: Err(Trap::HostFailed), gas: Gas(0) }];
    report(outcomes, 10)
}

fn report(outcomes: Vec<CallOutcome>, busy_micros: u64) -> BatchReport {
    BatchReport { engine: EngineName::Wasmi, outcomes, busy_micros, prepared: Prepared::default() }
}

/// How many units of [`crate::plan`] a batch covers; of other kernels, how many calls it holds.
pub(crate) fn units(batch: &Batch) -> u64 {
    if batch.kernel != crate::plan::kernel_hash() {
        return batch.calls.len() as u64;
    }
    batch
        .calls
        .iter()
        .map(|call| match call.len() {
            16 => {
                let number = |at: usize| u64::from_le_bytes(call[at..at + 8].try_into().unwrap());
                number(8).saturating_sub(number(0))
            }
            _ => 1,
        })
        .sum()
}
