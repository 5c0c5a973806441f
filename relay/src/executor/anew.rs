//! A batch in a worker process. What one process could not do, because it ended or lacks what kernels of before hold, is no
//! failure of the batch: a fresh process does what is left of it, once.

use std::{
    thread,
    time::{Duration, Instant},
};

use p2pnet_shared::engine::{Batch, BatchReport, CallOutcome, EngineName, Prepared, Trap, batch::Gathering};

use super::{
    Order, Shared, Stop,
    asked::{Asked, Clock},
    nothing,
    process::{After, Worker},
};

/// How long it is tried to start a process, where the machine gives none: then there may be one again.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits between two tries.
const START_PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    /// Runs a batch in the worker in `place`, or in another one that is there afterwards.
    pub(super) fn run_in_process(&self, place: &mut Option<Worker>, mut order: Order, stop: &Stop) -> BatchReport {
        let most = Duration::from_millis(order.batch.limits.time_millis);
        let clock = Clock::new(&order.asked, Instant::now());
        let mut whole = Whole::of(&order.batch);
        let mut may_try_again = true;
        loop {
            let Some(mut worker) = place.take().filter(Worker::is_there).or_else(|| self.start_worker(&order.asked))
            else {
                return whole.with(nothing(Trap::HostFailed));
            };
            let was_fresh = worker.is_fresh_for(order.batch.kernel);
            let (mut report, after) = worker.run(&order, stop, &self.compilers, || self.changed());
            let another_may_do_it = match after {
                After::GoesOn => false,
                After::Worn => !was_fresh,
                After::Gone => true,
            };
            match after {
                After::GoesOn | After::Worn if !another_may_do_it => *place = (!worker.is_old()).then_some(worker),
                After::GoesOn | After::Worn | After::Gone => {}
            }
            let left = most.saturating_sub(clock.elapsed(Instant::now()));
            let time_millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let failed = report.outcomes.last().is_some_and(|last| last.output == Err(Trap::HostFailed));
            if !(failed && another_may_do_it && may_try_again && time_millis > 0 && !order.asked.is_stopped()) {
                return whole.with(report);
            }
            tracing::warn!(
                run = order.run.0,
                ?after,
                "a worker could not do a run; another one does what is left of it"
            );
            may_try_again = false;
            report.outcomes.pop();
            order.batch.calls.drain(..report.outcomes.len());
            order.batch.limits.time_millis = time_millis;
            whole.add(report);
        }
    }

    fn start_worker(&self, asked: &Asked) -> Option<Worker> {
        let until = Instant::now() + START_PATIENCE;
        loop {
            match Worker::start(&self.compiled, self.memory_mib) {
                Ok(worker) => return Some(worker),
                Err(_) if Instant::now() < until && !asked.is_stopped() => thread::sleep(START_PAUSE),
                Err(error) => {
                    tracing::error!(%error, "no process for kernels can be started; P2PNET_SANDBOX=thread does without");
                    return None;
                }
            }
        }
    }
}

/// The report of a batch, put together from those of the processes that ran parts of it.
struct Whole {
    gathering: Gathering,
    outcomes: Vec<CallOutcome>,
    engine: EngineName,
    busy_micros: u64,
    prepared: Prepared,
}

impl Whole {
    fn of(batch: &Batch) -> Self {
        Self {
            gathering: Gathering::new(batch.calls.len()),
            outcomes: Vec::new(),
            engine: EngineName::Wasmi,
            busy_micros: 0,
            prepared: Prepared::default(),
        }
    }

    fn add(&mut self, part: BatchReport) {
        self.engine = self.engine.max(part.engine);
        self.busy_micros = self.busy_micros.saturating_add(part.busy_micros);
        self.prepared += part.prepared;
        self.outcomes.extend(part.outcomes.into_iter().map_while(|outcome| self.gathering.take(outcome)));
    }

    fn with(mut self, last: BatchReport) -> BatchReport {
        self.add(last);
        let Self { gathering: _, outcomes, engine, busy_micros, prepared } = self;
        BatchReport { engine, outcomes, busy_micros, prepared }
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::{engine::Limits, id::Hash, units::Gas, wire::MOST_BLOB};

    use super::*;

    fn part(engine: EngineName, outputs: Vec<Result<Vec<u8>, Trap>>) -> BatchReport {
        let outcomes = outputs.into_iter().map(|output| CallOutcome { output, gas: Gas(1) }).collect();
        BatchReport { engine, outcomes, busy_micros: 5, prepared: Prepared { instances: 1, gas: Gas(7) } }
    }

    fn batch(calls: usize) -> Batch {
        Batch { kernel: Hash::of(b"any"), common: None, calls: vec![Vec::new(); calls], limits: Limits::default() }
    }

    #[test]
    fn parts_of_a_batch_are_reported_as_one() {
        let mut whole = Whole::of(&batch(3));
        whole.add(part(EngineName::Wasmtime, vec![Ok(vec![1])]));
        let report = whole.with(part(EngineName::Wasmi, vec![Ok(vec![2]), Err(Trap::Trapped)]));
        assert_eq!((report.engine, report.busy_micros), (EngineName::Wasmtime, 10));
        assert_eq!(report.prepared, Prepared { instances: 2, gas: Gas(14) });
        let outputs: Vec<_> = report.outcomes.into_iter().map(|outcome| outcome.output).collect();
        assert_eq!(outputs, [Ok(vec![1]), Ok(vec![2]), Err(Trap::Trapped)]);
    }

    #[test]
    fn parts_that_together_are_too_much_end_as_one_part_would() {
        let most = usize::try_from(MOST_BLOB).unwrap_or(usize::MAX);
        let mut whole = Whole::of(&batch(3));
        whole.add(part(EngineName::Wasmtime, vec![Ok(vec![0; most])]));
        let report = whole.with(part(EngineName::Wasmtime, vec![Ok(vec![0]), Ok(vec![0])]));
        assert_eq!(report.outcomes.len(), 2);
        assert_eq!(report.outcomes[1].output, Err(Trap::HostFailed));
    }
}
