//! What is asked of a run from outside while it waits or computes, to end or to rest until it may go on; and its clock,
//! which stands still while it rests.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::lock;

/// What is asked of a run.
#[derive(Default)]
pub(super) struct Asked {
    stopped: AtomicBool,
    rest: Mutex<Rest>,
    news: Condvar,
}

#[derive(Default)]
struct Rest {
    /// Since when it rests, while it does.
    since: Option<Instant>,
    /// How long it rested before that.
    before: Duration,
}

impl Rest {
    /// How long it has rested.
    fn total(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Asked {
    /// Asks it to end.
    pub(super) fn stop(&self) {
        // Under the lock, so that a run which is about to wait hears it.
        let rest = lock(&self.rest);
        self.stopped.store(true, Ordering::Relaxed);
        drop(rest);
        self.news.notify_all();
    }

    /// Whether it is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Asks it to rest, or to go on, from `now` on. Whether that is anything new.
    pub(super) fn rest(&self, rests: bool, now: Instant) -> bool {
        let mut rest = lock(&self.rest);
        if rests == rest.since.is_some() {
            return false;
        }
        *rest = Rest { since: rests.then_some(now), before: rest.total(now) };
        drop(rest);
        self.news.notify_all();
        true
    }

    /// Whether it is to rest.
    pub(super) fn rests(&self) -> bool {
        lock(&self.rest).since.is_some()
    }

    /// Waits until it may go on, or is to end.
    pub(super) fn wait(&self) {
        let mut rest = lock(&self.rest);
        while rest.since.is_some() && !self.is_stopped() {
            rest = self.news.wait(rest).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn rested(&self, now: Instant) -> Duration {
        lock(&self.rest).total(now)
    }
}

/// Time of a run, or of a part of it. The time that it was asked to rest is none of it.
#[derive(Clone)]
pub(super) struct Clock {
    asked: Arc<Asked>,
    start: Instant,
    rested_before: Duration,
}

impl Clock {
    /// Begins at `start`.
    pub(super) fn new(asked: &Arc<Asked>, start: Instant) -> Self {
        Self { asked: Arc::clone(asked), start, rested_before: asked.rested(start) }
    }

    /// Time until `now`.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        let rested = self.asked.rested(now).saturating_sub(self.rested_before);
        now.saturating_duration_since(self.start).saturating_sub(rested)
    }

    /// When it will be `most`, if the run goes on; `None` while it rests.
    pub(super) fn end(&self, most: Duration, now: Instant) -> Option<Instant> {
        (!self.asked.rests()).then(|| now + most.saturating_sub(self.elapsed(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_run_stands_still_while_it_rests() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let millis = Duration::from_millis;
        let asked = Arc::new(Asked::default());
        let clock = Clock::new(&asked, start);
        assert!(asked.rest(true, at(10)));
        assert!(!asked.rest(true, at(15)), "it rests already");
        assert_eq!((clock.elapsed(at(10)), clock.elapsed(at(500))), (millis(10), millis(10)));
        assert_eq!(clock.end(millis(30), at(500)), None);
        let of_the_next_part = Clock::new(&asked, at(500));
        assert!(asked.rest(false, at(510)));
        assert_eq!(clock.elapsed(at(515)), millis(15));
        assert_eq!(clock.end(millis(30), at(515)), Some(at(530)));
        assert_eq!(of_the_next_part.elapsed(at(515)), millis(5));
        assert!(asked.rest(true, at(520)) && asked.rest(false, at(600)));
        assert_eq!(clock.elapsed(at(601)), millis(21));
    }

    #[test]
    fn a_run_that_rests_hears_that_it_is_to_end() {
        let asked = Arc::new(Asked::default());
        asked.wait();
        asked.rest(true, Instant::now());
        let waits = Arc::clone(&asked);
        let waiting = std::thread::spawn(move || waits.wait());
        asked.stop();
        assert!(waiting.join().is_ok());
        asked.wait();
        assert!(asked.is_stopped() && asked.rests());
    }
}
