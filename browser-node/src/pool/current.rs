//! A batch on its way through a worker: what is known of it so far, and the report that it ends in, whatever happens.

use p2pnet_shared::engine::{BatchReport, CallOutcome, EngineName, Prepared, Trap, batch::Gathering};
use p2pnet_shared::units::Gas;

/// A worker that was asked to stop looks within some milliseconds; one that does not is terminated.
const STOP_GRACE_MILLIS: f64 = 200.0;

/// Receives the one report of a run.
pub(super) type Finish = Box<dyn FnOnce(BatchReport)>;

/// A batch that a worker executes. Times are milliseconds of the page's monotonic clock.
pub(super) struct Current {
    /// Names the run between page and worker.
    pub run: u64,
    gathering: Gathering,
    engine: EngineName,
    outcomes: Vec<CallOutcome>,
    started_at: f64,
    rested_millis: f64,
    /// When the rest that was last said ends.
    rests_until: f64,
    limit_millis: f64,
    /// How long it was set aside in all, but for now.
    aside_millis: f64,
    /// Since when it is set aside, if it is.
    aside_since: Option<f64>,
    /// Why the worker was asked to stop, and when.
    stopping: Option<(Trap, f64)>,
    finish: Finish,
}

impl Current {
    /// A run of `calls` calls that begins now and may take `limit_millis`, on `engine` as far as is known yet.
    pub(super) fn new(run: u64, calls: usize, limit_millis: f64, now: f64, engine: EngineName, finish: Finish) -> Self {
        Self {
            run,
            gathering: Gathering::new(calls),
            engine,
            outcomes: Vec::new(),
            started_at: now,
            rested_millis: 0.0,
            rests_until: now,
            limit_millis,
            aside_millis: 0.0,
            aside_since: None,
            stopping: None,
            finish,
        }
    }

    /// Whether it has run over its time, rests included, as on native nodes: whoever waits for it counts them as well.
    /// While it was set aside it did not run.
    fn is_over(&self, now: f64) -> bool {
        self.ran_millis(now) > self.limit_millis
    }

    /// How long it has run, rests included.
    fn ran_millis(&self, now: f64) -> f64 {
        let aside = self.aside_since.map_or(0.0, |since| now - since);
        now - self.started_at - self.aside_millis - aside
    }

    /// It is set aside from now on (`rests`), or goes on.
    pub(super) fn set_aside(&mut self, rests: bool, now: f64) {
        match (rests, self.aside_since) {
            (true, None) => {
                // The worker's rest ends here: it takes what is left of it later, and says so then.
                self.rested_millis -= (self.rests_until - now).max(0.0);
                self.rests_until = now;
                self.aside_since = Some(now);
            }
            (false, Some(since)) => {
                self.aside_millis += now - since;
                self.aside_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The worker was asked to stop. The first reason counts.
    pub(super) fn stopping(&mut self, reason: Trap, now: f64) {
        self.stopping.get_or_insert((reason, now));
    }

    /// Why the worker must be stopped now, if it must: it ran over its time, or did not stop when it was asked to.
    /// Gives also whether it was asked before.
    pub(super) fn must_stop(&self, now: f64) -> Option<(Trap, bool)> {
        match self.stopping {
            Some((reason, since)) => (now - since > STOP_GRACE_MILLIS).then_some((reason, true)),
            None => self.is_over(now).then_some((Trap::TimedOut, false)),
        }
    }

    /// The worker rests, from now on. If that is heard while the run is set aside, it counts already.
    pub(super) fn rest(&mut self, millis: u32, now: f64) {
        if self.aside_since.is_none() {
            self.rested_millis += f64::from(millis);
            self.rests_until = now + f64::from(millis);
        }
    }

    /// Some calls are done.
    pub(super) fn take(&mut self, engine: EngineName, outcomes: impl Iterator<Item = CallOutcome>) {
        self.engine = engine;
        self.outcomes.extend(outcomes.filter_map(|outcome| self.gathering.take(outcome)));
    }

    /// The worker said that it is done.
    pub(super) fn end(self, busy_micros: u64, prepared: Prepared) -> (Finish, BatchReport) {
        (self.finish, BatchReport { engine: self.engine, outcomes: self.outcomes, busy_micros, prepared })
    }

    /// The worker was stopped or died: what was done is kept, and the call that it was in ends in `trap`.
    pub(super) fn cut_off(mut self, trap: Trap, now: f64) -> (Finish, BatchReport) {
        if !self.gathering.is_over() || self.outcomes.is_empty() {
            self.outcomes.push(CallOutcome { output: Err(trap), gas: Gas(0) });
        }
        let busy_millis = (self.ran_millis(now) - self.rested_millis).max(0.0);
        // What it prepared, it had yet to say.
        let (busy_micros, prepared) = (micros(busy_millis), Prepared::default());
        (self.finish, BatchReport { engine: self.engine, outcomes: self.outcomes, busy_micros, prepared })
    }
}

/// Whole microseconds of a span in milliseconds.
// Saturates, and is never negative.
fn micros(millis: f64) -> u64 {
    (millis * 1000.0).max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(byte: u8) -> CallOutcome {
        CallOutcome { output: Ok(vec![byte]), gas: Gas(1) }
    }

    #[test]
    fn what_was_done_before_the_stop_is_kept_and_the_running_call_gets_the_trap() {
        let mut current = Current::new(1, 3, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.take(EngineName::Browser, [done(1), done(2)].into_iter());
        let (_, report) = current.cut_off(Trap::TimedOut, 150.0);
        assert_eq!(report.outcomes[..2], [done(1), done(2)]);
        assert_eq!(report.outcomes[2].output, Err(Trap::TimedOut));
        assert_eq!((report.outcomes.len(), report.busy_micros), (3, 150_000));
        assert_eq!(report.engine, EngineName::Browser);
    }

    #[test]
    fn rest_counts_for_the_limit_and_not_as_work() {
        let mut current = Current::new(1, 1, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.rest(60, 10.0);
        assert!(!current.is_over(99.0));
        assert!(current.is_over(101.0));
        assert_eq!(current.cut_off(Trap::TimedOut, 101.0).1.busy_micros, 41_000);
    }

    #[test]
    fn time_set_aside_counts_neither_for_the_limit_nor_as_work() {
        let mut current = Current::new(1, 1, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.set_aside(true, 40.0);
        assert_eq!(current.must_stop(5_000.0), None);
        current.set_aside(false, 5_000.0);
        assert_eq!(current.must_stop(5_050.0), None);
        current.set_aside(true, 5_050.0);
        assert_eq!(current.must_stop(9_000.0), None);
        current.set_aside(false, 9_000.0);
        assert_eq!(current.must_stop(9_009.0), None);
        assert_eq!(current.must_stop(9_011.0), Some((Trap::TimedOut, false)));
        assert_eq!(current.cut_off(Trap::TimedOut, 9_011.0).1.busy_micros, 101_000);
    }

    #[test]
    fn being_told_twice_to_be_set_aside_or_to_go_on_is_as_being_told_once() {
        let mut current = Current::new(1, 1, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.set_aside(false, 10.0);
        current.set_aside(true, 20.0);
        current.set_aside(true, 500.0);
        current.set_aside(false, 1_020.0);
        current.set_aside(false, 1_050.0);
        assert_eq!(current.cut_off(Trap::Cancelled, 1_060.0).1.busy_micros, 60_000);
    }

    #[test]
    fn a_rest_that_is_cut_short_by_being_set_aside_counts_only_as_far_as_it_was_taken() {
        let mut current = Current::new(1, 1, 10_000.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.rest(60, 40.0);
        current.set_aside(true, 50.0);
        // Said before the worker knew.
        current.rest(60, 51.0);
        current.set_aside(false, 1_050.0);
        current.rest(50, 1_050.0);
        assert_eq!(current.cut_off(Trap::Cancelled, 1_110.0).1.busy_micros, 50_000);
    }

    #[test]
    fn a_worker_that_does_not_stop_while_it_is_set_aside_is_given_up_as_any() {
        let mut current = Current::new(1, 1, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.set_aside(true, 40.0);
        current.stopping(Trap::Cancelled, 1_000.0);
        assert_eq!(current.must_stop(1_200.0), None);
        assert_eq!(current.must_stop(1_201.0), Some((Trap::Cancelled, true)));
        assert_eq!(current.cut_off(Trap::Cancelled, 1_201.0).1.busy_micros, 40_000);
    }

    #[test]
    fn a_worker_that_does_not_stop_when_asked_is_given_up() {
        let mut current = Current::new(1, 1, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        assert_eq!(current.must_stop(99.0), None);
        assert_eq!(current.must_stop(101.0), Some((Trap::TimedOut, false)));
        current.stopping(Trap::Cancelled, 101.0);
        current.stopping(Trap::TimedOut, 200.0);
        assert_eq!(current.must_stop(301.0), None);
        assert_eq!(current.must_stop(302.0), Some((Trap::Cancelled, true)));
    }

    #[test]
    fn a_worker_that_goes_on_after_a_trap_is_not_believed() {
        let mut current = Current::new(1, 3, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        let trapped = CallOutcome { output: Err(Trap::Trapped), gas: Gas(1) };
        current.take(EngineName::Browser, [done(1), trapped.clone(), done(3)].into_iter());
        let (_, report) = current.cut_off(Trap::TimedOut, 5.0);
        assert_eq!(report.outcomes, [done(1), trapped]);
    }

    #[test]
    fn a_worker_that_says_too_much_is_not_believed() {
        let mut current = Current::new(1, 1, 100.0, 0.0, EngineName::Wasmi, Box::new(|_| ()));
        current.take(EngineName::Browser, [done(1), done(2)].into_iter());
        let (_, report) = current.end(5, Prepared::default());
        assert_eq!(report.outcomes, [done(1)]);
    }
}
