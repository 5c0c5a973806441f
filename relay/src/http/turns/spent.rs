//! How much time somebody took lately. Times count half after each [`limits::SPENT_HALVES`], all at the same moments, so that what
//! is more now stays so: who waits stands in an order that need not be made anew as time goes by.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::super::limits;

/// Steps of [`Time::rank`] within a doubling: what differs by less counts as the same.
const STEPS_BITS: u32 = 3;

/// Time that was taken, or will be, and how often it has been halved since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    micros: u64,
    /// The number of halvings, from the first moment on, after which it was so many.
    halvings: u64,
}

impl Time {
    fn micros_after(self, halvings: u64) -> u64 {
        let more = u32::try_from(halvings.saturating_sub(self.halvings)).unwrap_or(u32::MAX);
        self.micros.checked_shr(more).unwrap_or(0)
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        let halvings = self.halvings.max(other.halvings);
        Self { micros: self.micros_after(halvings).saturating_add(other.micros_after(halvings)), halvings }
    }

    /// What is left of it without another.
    fn minus(self, other: Self) -> Self {
        let halvings = self.halvings.max(other.halvings);
        Self { micros: self.micros_after(halvings).saturating_sub(other.micros_after(halvings)), halvings }
    }

    /// Where it stands among others: what is more at one moment is higher, whenever that is. In steps of an eighth.
    pub(super) fn rank(self) -> u64 {
        let Some(log) = self.micros.checked_ilog2() else { return 0 };
        let step = ((u128::from(self.micros) << STEPS_BITS) >> log) - (1 << STEPS_BITS);
        ((self.halvings + u64::from(log) + 1) << STEPS_BITS) + u64::try_from(step).unwrap_or(0)
    }
}

/// Whose times began to count when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// One that begins now.
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// So much time that counts from `now` on.
    pub(super) fn time(self, time: Duration, now: Instant) -> Time {
        let halvings = now.saturating_duration_since(self.0).as_secs() / limits::SPENT_HALVES.as_secs().max(1);
        Time { micros: u64::try_from(time.as_micros()).unwrap_or(u64::MAX), halvings }
    }
}

/// The times that addresses, networks or wide networks took lately, of those that took most.
#[derive(Default)]
pub(super) struct Spent {
    times: BTreeMap<IpAddr, Time>,
    by_rank: BTreeSet<(u64, IpAddr)>,
}

impl Spent {
    /// What one took.
    pub(super) fn of(&self, whose: IpAddr) -> Time {
        self.times.get(&whose).copied().unwrap_or_default()
    }

    /// One takes so much more.
    pub(super) fn add(&mut self, whose: IpAddr, time: Time) {
        self.set(whose, self.of(whose).plus(time));
    }

    /// One took something else than it was `expected` to.
    pub(super) fn correct(&mut self, whose: IpAddr, expected: Time, taken: Time) {
        self.set(whose, self.of(whose).minus(expected).plus(taken));
    }

    fn set(&mut self, whose: IpAddr, time: Time) {
        if let Some(before) = self.times.remove(&whose) {
            self.by_rank.remove(&(before.rank(), whose));
        }
        if time.micros > 0 {
            self.times.insert(whose, time);
            self.by_rank.insert((time.rank(), whose));
        }
        if self.times.len() > limits::SPENT_ADDRESSES
            && let Some((_, least)) = self.by_rank.pop_first()
        {
            self.times.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn micros_of(spent: &Spent, whose: IpAddr, clock: Clock, now: Instant) -> u64 {
        spent.of(whose).micros_after(clock.time(Duration::ZERO, now).halvings)
    }

    #[test]
    fn what_an_address_took_is_forgotten_in_time_and_addresses_are_few() {
        let (mut spent, clock) = (Spent::default(), Clock::new());
        let start = clock.0;
        spent.add(address(1), clock.time(Duration::from_secs(4), start));
        let later = |halves: u32| micros_of(&spent, address(1), clock, start + limits::SPENT_HALVES * halves);
        assert_eq!((later(0), later(1), later(2), later(100)), (4_000_000, 2_000_000, 1_000_000, 0));
        for n in 0..4 * u32::try_from(limits::SPENT_ADDRESSES).unwrap_or(0) {
            spent.add(IpAddr::from(n.to_be_bytes()), clock.time(Duration::from_millis(1), start));
        }
        assert!(spent.times.len() == limits::SPENT_ADDRESSES && spent.by_rank.len() == spent.times.len());
        assert_eq!(micros_of(&spent, address(1), clock, start), 4_000_000);
    }

    #[test]
    fn who_sends_steadily_is_forgotten_as_fast_as_who_sends_at_once() {
        let (mut spent, clock) = (Spent::default(), Clock::new());
        let [steady, burst] = [address(1), address(2)];
        let mut now = clock.0;
        for _ in 0..200 {
            now += limits::SPENT_HALVES / 2;
            spent.add(steady, clock.time(Duration::from_secs(1), now));
        }
        // Two seconds more for each time that it halves: four at most.
        let taken = micros_of(&spent, steady, clock, now);
        assert!((2_000_000..=4_000_000).contains(&taken), "{taken}");
        spent.add(burst, clock.time(Duration::from_secs(20), now));
        assert!(spent.of(steady).rank() < spent.of(burst).rank());
    }

    #[test]
    fn what_is_more_at_one_moment_has_the_higher_rank_whenever_it_was_taken() {
        let clock = Clock::new();
        let at = |micros, halves| clock.time(Duration::from_micros(micros), clock.0 + limits::SPENT_HALVES * halves);
        let rising = [at(0, 9), at(1, 0), at(1_000, 0), at(1_200, 0), at(1_200, 1), at(1_200, 2), at(9_600, 0)];
        assert!(rising.windows(2).all(|pair| matches!(pair, [less, more] if less.rank() < more.rank())));
        assert_eq!(at(4_800, 0).rank(), at(1_200, 2).rank());
    }

    #[test]
    fn what_was_expected_is_taken_back_for_what_was_taken() {
        let (mut spent, clock) = (Spent::default(), Clock::new());
        let time = |millis| clock.time(Duration::from_millis(millis), clock.0);
        spent.add(address(1), time(700));
        spent.add(address(1), time(300));
        spent.correct(address(1), time(300), time(5));
        assert_eq!(spent.of(address(1)), time(705));
        spent.correct(address(1), time(9_000), time(0));
        assert!(spent.times.is_empty() && spent.by_rank.is_empty());
    }
}
