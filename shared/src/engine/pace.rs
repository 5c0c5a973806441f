//! Keeps what computes to its share of a core: for every moment of work it owes some rest.
//!
//! The host tells the time and does the waiting. All times are those of one clock of its own, which begins where it likes;
//! how long a rest it can take well is its [`Rhythm`].

use core::time::Duration;

/// Which rests a host takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// None before so much work is done since the last one.
    pub shortest_work: Duration,
    /// None before so much is owed.
    pub shortest_rest: Duration,
    /// None of more at once: what is owed beyond that follows in further ones.
    pub longest_rest: Duration,
    /// A debt of no more is no reason to rest once more.
    pub forgiven: Duration,
}

impl Rhythm {
    /// That of a thread in a process: it sleeps as long as it means to, and looks between two rests whether it is to stop.
    pub const PROCESS: Self = Self {
        shortest_work: Duration::from_millis(5),
        shortest_rest: Duration::ZERO,
        longest_rest: Duration::from_millis(20),
        forgiven: Duration::ZERO,
    };

    /// That of a worker in a tab: timers are coarse, so that short rests cost more than they give, and whoever stops it wakes it.
    pub const TAB: Self = Self {
        shortest_work: Duration::ZERO,
        shortest_rest: Duration::from_millis(20),
        longest_rest: Duration::from_secs(60),
        forgiven: Duration::from_millis(1),
    };
}

/// What was worked and rested of late, and what is owed for it.
#[derive(Debug)]
pub struct Pace {
    rhythm: Rhythm,
    percent: u32,
    worked: Duration,
    rested: Duration,
    /// Of what was worked, how much came before the last rest ended.
    worked_at_rest: Duration,
    /// Whether a debt is being paid, in more than one rest if need be.
    is_paying: bool,
    /// Until when time is accounted for.
    seen_at: Duration,
}

impl Pace {
    /// A share of 1 to 100 percent of a core, from `now` on.
    pub fn new(rhythm: Rhythm, cpu_percent: u8, now: Duration) -> Self {
        let (worked, rested, worked_at_rest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let percent = u32::from(cpu_percent.clamp(1, 100));
        Self { rhythm, percent, worked, rested, worked_at_rest, is_paying: false, seen_at: now }
    }

    /// It has worked until now.
    pub fn worked(&mut self, until: Duration) {
        let passed = self.seen(until);
        self.worked += passed;
    }

    /// It has rested until now: what it overslept is not owed later.
    pub fn rested(&mut self, until: Duration) {
        let passed = self.seen(until);
        self.rested += passed;
        self.worked_at_rest = self.worked;
    }

    /// It waited for others until now, which is no work, and not the rest that is owed for it.
    pub fn waited(&mut self, until: Duration) {
        self.seen(until);
    }

    /// How long to rest now, if that is worth it.
    pub fn due(&mut self) -> Option<Duration> {
        let Rhythm { shortest_work, shortest_rest, .. } = self.rhythm;
        let has_worked = self.worked.saturating_sub(self.worked_at_rest) >= shortest_work;
        self.is_paying |= has_worked && self.owed() >= shortest_rest;
        let due = self.remainder().filter(|_| self.is_paying);
        self.is_paying = due.is_some();
        due
    }

    /// How long to rest at the end, where all is to be paid that is not forgiven.
    pub fn remainder(&self) -> Option<Duration> {
        let owed = self.owed();
        (owed > self.rhythm.forgiven).then(|| owed.min(self.rhythm.longest_rest))
    }

    /// Time worked.
    pub fn busy(&self) -> Duration {
        self.worked
    }

    /// Until when it was told what was done.
    pub fn seen_at(&self) -> Duration {
        self.seen_at
    }

    fn owed(&self) -> Duration {
        (self.worked * (100 - self.percent) / self.percent).saturating_sub(self.rested)
    }

    /// The time since it was last told.
    fn seen(&mut self, until: Duration) -> Duration {
        let passed = until.saturating_sub(self.seen_at);
        self.seen_at += passed;
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHMS: [Rhythm; 2] = [Rhythm::PROCESS, Rhythm::TAB];

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn pace(rhythm: Rhythm, percent: u8) -> Pace {
        Pace::new(rhythm, percent, Duration::ZERO)
    }

    /// The share of time at work over many calls of `work`, with timers that oversleep by `over`.
    fn share(rhythm: Rhythm, percent: u8, work: Duration, over: Duration) -> f64 {
        let (mut pace, mut now) = (pace(rhythm, percent), Duration::ZERO);
        while pace.busy() < Duration::from_secs(20) {
            now += work;
            pace.worked(now);
            while let Some(rest) = pace.due() {
                now += rest + over;
                pace.rested(now);
            }
        }
        100.0 * pace.busy().as_secs_f64() / now.as_secs_f64()
    }

    #[test]
    fn a_share_is_kept_for_tiny_and_long_calls_and_coarse_timers() {
        for (rhythm, percent) in
            RHYTHMS.into_iter().flat_map(|rhythm| [10, 25, 50, 75, 100].map(|share| (rhythm, share)))
        {
            for work in [Duration::from_micros(10), at(1), at(700)] {
                for over in [Duration::ZERO, at(4)] {
                    let kept = share(rhythm, percent, work, over);
                    let is_kept = (kept - f64::from(percent)).abs() < 1.5;
                    assert!(is_kept, "{percent} % of calls of {work:?} became {kept} with {rhythm:?}");
                }
            }
        }
    }

    #[test]
    fn a_whole_core_never_rests_and_none_counts_as_one_percent() {
        for rhythm in RHYTHMS {
            let mut whole = pace(rhythm, 100);
            whole.worked(at(1_000_000));
            assert_eq!((whole.due(), whole.remainder()), (None, None));
            let mut none = pace(Rhythm { longest_rest: at(1_000), ..rhythm }, 0);
            none.worked(at(5));
            assert_eq!(none.due(), Some(at(495)));
        }
    }

    #[test]
    fn a_process_rests_often_and_goes_on_resting_until_all_is_paid() {
        let mut pace = pace(Rhythm::PROCESS, 25);
        pace.worked(at(4));
        assert_eq!(pace.due(), None, "not for every moment");
        pace.worked(at(10));
        assert_eq!(pace.due(), Some(at(20)), "of the 30 that it owes");
        pace.rested(at(30));
        assert_eq!(pace.due(), Some(at(10)), "it goes on resting");
        pace.rested(at(42));
        assert_eq!(pace.due(), None);
        pace.worked(at(46));
        assert_eq!((pace.due(), pace.busy()), (None, at(14)));
        pace.worked(at(47));
        assert_eq!(pace.due(), Some(at(13)), "less what it overslept");
    }

    #[test]
    fn a_tab_rests_for_as_long_as_its_timers_can_tell() {
        let mut pace = pace(Rhythm::TAB, 50);
        pace.worked(at(19));
        assert_eq!((pace.due(), pace.remainder()), (None, Some(at(19))), "at the end it is owed all the same");
        pace.worked(at(30));
        assert_eq!(pace.due(), Some(at(30)));
        pace.rested(at(45));
        assert_eq!(pace.due(), Some(at(15)), "it was woken, and goes on resting");
        pace.rested(at(59));
        assert_eq!((pace.due(), pace.remainder()), (None, None), "a moment is forgiven");
        pace.worked(at(78));
        assert_eq!(pace.due(), Some(at(20)), "but not forgotten while it goes on");
        pace.worked(at(200_078));
        assert_eq!(pace.due(), Some(Duration::from_secs(60)), "a longer one in parts");
    }

    #[test]
    fn what_waits_for_others_neither_works_nor_rests() {
        for rhythm in RHYTHMS {
            let mut pace = pace(Rhythm { longest_rest: at(1_000), ..rhythm }, 50);
            pace.worked(at(40));
            pace.waited(at(5_000));
            assert_eq!((pace.due(), pace.busy(), pace.seen_at()), (Some(at(40)), at(40), at(5_000)));
            pace.rested(at(4_000));
            assert_eq!((pace.due(), pace.seen_at()), (Some(at(40)), at(5_000)), "no clock goes back");
        }
    }
}
