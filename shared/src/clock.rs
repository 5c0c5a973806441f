//! A clock that does not jump: what a host tells its node as the time.
//!
//! People and time servers set a machine's clock, forwards and backwards, and a node that took it as it is would see
//! every attempt overdue at once, or nothing move for an hour. So time goes on with the monotonic clock, and a difference
//! to the wall clock is made up slowly, as time servers' own programs do.

use crate::units::{Millis, Moment};

/// Of each stretch of time, this part at most is added or left out to get closer to the wall clock.
const SLEW: u64 = 20;
/// A wall clock that was set by more than this was not set before: a machine without a clock of its own starts in 1970.
const NEVER_SET: Millis = Millis(365 * 24 * 3_600_000);

/// Makes one steady time of two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock {
    /// The monotonic clock and the time given, at the last reading.
    last: Option<(Millis, Moment)>,
}

impl SteadyClock {
    /// A clock that was not read yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The time now. `monotonic` is since any fixed moment and never goes back; `wall` is the machine's clock, which may.
    /// The answer never goes back.
    pub fn read(&mut self, monotonic: Millis, wall: Moment) -> Moment {
        let Some((before, then)) = self.last else {
            self.last = Some((monotonic, wall));
            return wall;
        };
        let passed = monotonic.0.saturating_sub(before.0);
        let even = then + Millis(passed);
        let (ahead, behind) = (even - wall, wall - even);
        // A stretch without a twentieth part stays open, so that its part is not lost.
        if passed < SLEW && behind <= NEVER_SET {
            return even;
        }
        let most = passed / SLEW;
        let now = if behind > NEVER_SET {
            wall
        } else if ahead.0 > 0 {
            Moment(even.0 - ahead.0.min(most))
        } else {
            even + Millis(behind.0.min(most))
        };
        self.last = Some((monotonic, now));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_700_000_000_000;

    /// Reads every 100 ms for `seconds`, with the wall clock off by `off` from the first reading on.
    fn run(seconds: u64, off: i64) -> u64 {
        let mut clock = SteadyClock::new();
        assert_eq!(clock.read(Millis(0), Moment(START)), Moment(START));
        let mut last = START;
        for tenth in 1..=seconds * 10 {
            let passed = tenth * 100;
            let wall = (START + passed).saturating_add_signed(off);
            let now = clock.read(Millis(passed), Moment(wall)).0;
            assert!(now >= last, "it goes back");
            assert!(now - last <= 105, "it jumps");
            last = now;
        }
        last - START
    }

    #[test]
    fn a_clock_that_is_set_does_not_make_time_jump_in_either_direction() {
        for off in [HOUR as i64, -(HOUR as i64)] {
            let passed = run(600, off);
            assert!(passed.abs_diff(600_000) <= 30_000, "{off}: {passed}");
        }
        assert_eq!(run(60, 0), 60_000);
    }

    #[test]
    fn small_differences_are_made_up() {
        for off in [1_000, -1_000] {
            assert_eq!(run(60, off), 60_000u64.saturating_add_signed(off));
        }
    }

    #[test]
    fn readings_close_together_are_slewed_as_well() {
        let mut clock = SteadyClock::new();
        clock.read(Millis(0), Moment(START));
        let last = (1..=60_000).map(|passed| clock.read(Millis(passed), Moment(START + passed + 1_000))).max();
        assert_eq!(last, Some(Moment(START + 61_000)));
    }

    #[test]
    fn a_clock_that_was_never_set_is_believed_once_it_is() {
        let mut clock = SteadyClock::new();
        clock.read(Millis(0), Moment(5_000));
        assert_eq!(clock.read(Millis(1_000), Moment(START)), Moment(START));
        assert_eq!(clock.read(Millis(2_000), Moment(START + 1_000)), Moment(START + 1_000));
    }
}
