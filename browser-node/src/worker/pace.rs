//! Keeps a worker to its share of a core: for every moment of work it owes some rest.

/// Rest is taken in naps of at least so long: timers are coarse, and short naps cost more than they give.
const SHORTEST_NAP_MILLIS: f64 = 20.0;
/// A debt smaller than this at the end of a batch is forgiven.
const FORGIVEN_MILLIS: f64 = 1.0;
/// The longest single nap; a longer debt is paid in several.
const LONGEST_NAP_MILLIS: f64 = 60_000.0;

/// What a worker owes.
#[derive(Debug)]
pub struct Pace {
    rest_per_work: f64,
    owed_millis: f64,
}

impl Pace {
    /// A share of 1 to 100 percent.
    pub fn new(cpu_percent: u8) -> Self {
        let percent = f64::from(cpu_percent.clamp(1, 100));
        Self { rest_per_work: (100.0 - percent) / percent, owed_millis: 0.0 }
    }

    /// Work was done; says for how many milliseconds to rest now, if it is worth a nap.
    pub fn worked(&mut self, millis: f64) -> Option<u32> {
        self.owed_millis += millis.max(0.0) * self.rest_per_work;
        nap(self.owed_millis, SHORTEST_NAP_MILLIS)
    }

    /// What is still owed at the end of a batch.
    pub fn remainder(&self) -> Option<u32> {
        nap(self.owed_millis, FORGIVEN_MILLIS)
    }

    /// Rest was taken: timers oversleep, which is credited.
    pub fn rested(&mut self, millis: f64) {
        self.owed_millis -= millis.max(0.0);
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between the bounds above
fn nap(owed: f64, worthwhile: f64) -> Option<u32> {
    (owed >= worthwhile).then(|| owed.min(LONGEST_NAP_MILLIS) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of time at work over many calls of `work` milliseconds, with timers that oversleep by `over`.
    fn share(percent: u8, work: f64, over: f64) -> f64 {
        let (mut pace, mut rested, mut worked) = (Pace::new(percent), 0.0, 0.0);
        while worked < 20_000.0 {
            worked += work;
            if let Some(millis) = pace.worked(work) {
                let slept = f64::from(millis) + over;
                pace.rested(slept);
                rested += slept;
            }
        }
        100.0 * worked / (worked + rested)
    }

    #[test]
    fn a_share_is_kept_for_tiny_and_long_calls_and_coarse_timers() {
        for percent in [10, 25, 50, 75, 100] {
            for work in [0.01, 1.0, 700.0] {
                for over in [0.0, 4.0] {
                    let kept = share(percent, work, over);
                    assert!((kept - f64::from(percent)).abs() < 1.5, "{percent} % of {work} ms became {kept}");
                }
            }
        }
    }

    #[test]
    fn a_whole_core_never_rests() {
        let mut pace = Pace::new(100);
        assert_eq!(pace.worked(1e9), None);
        assert_eq!(pace.remainder(), None);
        assert!(Pace::new(0).worked(1.0).is_some());
    }
}
