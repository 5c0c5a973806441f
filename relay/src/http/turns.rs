//! Turns at what costs processor time and memory: reading jobs and modules, opening results. A few go on at once, weighed
//! by their bytes; what is small has places of its own, so that it never waits for what is large. Addresses take turns,
//! and none has more than half of the places, so that what one sends waits behind its own; of what is large, whoever took
//! least time lately comes first, so that many who send what is dear to refuse do not make one wait who sends little.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use super::{limits, source::Source};

/// What goes on at once.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// So many, and of one address half of them.
    pub places: usize,
    /// Of so many bytes together, and of one address half of them; a single one may have more.
    pub bytes: usize,
}

/// The turns. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Lanes>>);

#[derive(Default)]
struct Lanes {
    last: u64,
    small: Queue,
    large: Queue,
}

#[derive(Default)]
struct Queue {
    running: BTreeMap<u64, Running>,
    waiting: BTreeMap<IpAddr, VecDeque<Waiter>>,
    /// Addresses that wait; the first one is next among those that took as much.
    order: VecDeque<IpAddr>,
    spent: Spent,
}

/// How much time addresses took lately, in microseconds. Kept for what is large alone: of what is small, all take as much.
#[derive(Default)]
struct Spent(BTreeMap<IpAddr, (u64, Instant)>);

impl Spent {
    fn of(&self, address: IpAddr, now: Instant) -> u64 {
        let halves = |at| now.saturating_duration_since(at).as_secs() / limits::SPENT_HALVES.as_secs().max(1);
        let shift = |at| u32::try_from(halves(at)).unwrap_or(u32::MAX);
        self.0.get(&address).map_or(0, |(micros, at)| micros.checked_shr(shift(*at)).unwrap_or(0))
    }

    fn add(&mut self, address: IpAddr, time: Duration, now: Instant) {
        let before = self.of(address, now);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.insert(address, (before.saturating_add(micros), now));
        if self.0.len() > limits::SPENT_ADDRESSES {
            let least = self.0.keys().copied().min_by_key(|other| self.of(*other, now));
            least.map(|least| self.0.remove(&least));
        }
    }
}

struct Running {
    address: IpAddr,
    bytes: usize,
    since: Instant,
}

struct Waiter {
    number: u64,
    bytes: usize,
    come: oneshot::Sender<()>,
}

/// A turn, or a place in the queue for it; given back when dropped.
pub struct Turn {
    turns: Turns,
    number: u64,
    address: IpAddr,
    is_small: bool,
    /// How often its time counts.
    counts: u32,
}

impl Turn {
    /// What it was for came to nothing: its time counts more, so that who sends much that is refused waits for others.
    pub fn refused(mut self) {
        self.counts = limits::REFUSED_COUNTS;
    }
}

impl Turns {
    /// Waits for a turn at `bytes`; `None` when it does not come within [`limits::ROOM_PATIENCE`].
    pub async fn wait(&self, source: Source, bytes: usize) -> Option<Turn> {
        let (turn, come) = self.queue(source.address, bytes);
        matches!(timeout(limits::ROOM_PATIENCE, come).await, Ok(Ok(()))).then_some(turn)
    }

    fn queue(&self, address: IpAddr, bytes: usize) -> (Turn, oneshot::Receiver<()>) {
        let is_small = bytes <= limits::SMALL_WORK_BYTES;
        let mut lanes = self.lock();
        lanes.last += 1;
        let number = lanes.last;
        let (sender, receiver) = oneshot::channel();
        let (queue, lane) = lanes.of(is_small);
        let own = queue.waiting.entry(address).or_default();
        if own.is_empty() {
            queue.order.push_back(address);
        }
        own.push_back(Waiter { number, bytes, come: sender });
        queue.go_on(lane);
        drop(lanes);
        (Turn { turns: self.clone(), number, address, is_small, counts: 1 }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn of(&mut self, is_small: bool) -> (&mut Queue, Lane) {
        if is_small { (&mut self.small, limits::SMALL_WORK) } else { (&mut self.large, limits::LARGE_WORK) }
    }
}

impl Queue {
    /// Lets those begin for whom there is room, one address after the other.
    fn go_on(&mut self, lane: Lane) {
        while self.running.len() < lane.places {
            let Some(address) = self.next(lane) else { return };
            self.begin(address);
        }
    }

    /// Whose turn it is, if it can begin now.
    fn next(&self, lane: Lane) -> Option<IpAddr> {
        let mut line: Vec<IpAddr> = self.order.iter().copied().collect();
        if !self.spent.0.is_empty() {
            let now = Instant::now();
            line.sort_by_cached_key(|address| self.spent.of(*address, now));
        }
        let all: usize = self.running.values().map(|running| running.bytes).sum();
        for address in line {
            let Some(bytes) = self.waiting.get(&address).and_then(|own| own.front()).map(|waiter| waiter.bytes) else {
                continue;
            };
            let own = self.running.values().filter(|running| running.address == address);
            let (places, taken) = own.fold((0, 0), |(places, taken), running| (places + 1, taken + running.bytes));
            if places >= lane.places / 2 || (places > 0 && taken + bytes > lane.bytes / 2) {
                continue;
            }
            // If there is no room, it is the next one all the same: what is lighter does not pass it for ever.
            return (all == 0 || all + bytes <= lane.bytes).then_some(address);
        }
        None
    }

    /// Begins what `address` waits for first.
    fn begin(&mut self, address: IpAddr) {
        self.order.retain(|other| *other != address);
        let Some(own) = self.waiting.get_mut(&address) else { return };
        let first = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.order.push_back(address);
        }
        if let Some(waiter) = first {
            self.running.insert(waiter.number, Running { address, bytes: waiter.bytes, since: Instant::now() });
            // One that no longer listens gives its turn back as it is dropped.
            let _ = waiter.come.send(());
        }
    }

    /// Gives a turn, or a place in the queue, back; how long it had its turn, if it had.
    fn remove(&mut self, number: u64, address: IpAddr) -> Option<Duration> {
        let ran = self.running.remove(&number).map(|running| running.since.elapsed());
        if let Some(own) = self.waiting.get_mut(&address) {
            own.retain(|waiter| waiter.number != number);
            if own.is_empty() {
                self.waiting.remove(&address);
                self.order.retain(|other| *other != address);
            }
        }
        ran
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lanes = self.turns.lock();
        let (queue, lane) = lanes.of(self.is_small);
        let ran = queue.remove(self.number, self.address);
        if let Some(ran) = ran.filter(|_| !self.is_small) {
            queue.spent.add(self.address, ran.saturating_mul(self.counts), Instant::now());
        }
        queue.go_on(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn has_come(receiver: &mut oneshot::Receiver<()>) -> bool {
        receiver.try_recv().is_ok()
    }

    #[test]
    fn half_of_the_turns_are_for_other_addresses_and_those_wait_for_none_of_the_first() {
        let turns = Turns::default();
        let mut first: Vec<_> = (0..limits::SMALL_WORK.places * 3).map(|_| turns.queue(address(1), 100)).collect();
        assert_eq!(first.iter_mut().filter_map(|(_, come)| has_come(come).then_some(())).count(), 8);
        let (_turn, mut other) = turns.queue(address(2), 100);
        assert!(has_come(&mut other));
        first.remove(0);
        assert!(has_come(&mut first[7].1), "its next one");
        first.clear();
        assert!(turns.lock().small.order.is_empty() && turns.lock().small.waiting.is_empty());
    }

    #[test]
    fn what_is_small_does_not_wait_for_what_is_large() {
        let turns = Turns::default();
        let large: Vec<_> = (1..100).map(|n| turns.queue(address(n), 64 << 20)).collect();
        let (_turn, mut small) = turns.queue(address(1), limits::SMALL_WORK_BYTES);
        assert!(has_come(&mut small));
        let running: usize = turns.lock().large.running.values().map(|running| running.bytes).sum();
        assert!(running <= limits::LARGE_WORK.bytes && turns.lock().large.running.len() < large.len());
    }

    #[test]
    fn addresses_take_turns_whoever_came_first_and_however_much() {
        let turns = Turns::default();
        let whole = limits::LARGE_WORK.bytes;
        let (running, mut come) = turns.queue(address(9), whole);
        assert!(has_come(&mut come));
        let mut many: Vec<_> = (0..5).map(|_| turns.queue(address(1), whole)).collect();
        let (late, mut its) = turns.queue(address(2), whole);
        drop(running);
        assert!(has_come(&mut many[0].1) && !has_come(&mut its));
        many.remove(0);
        assert!(has_come(&mut its) && !has_come(&mut many[0].1));
        // Whoever gives up makes room in the queue as well.
        drop((late, many));
        let lanes = turns.lock();
        assert!(lanes.large.running.is_empty() && lanes.large.order.is_empty() && lanes.large.waiting.is_empty());
    }

    #[test]
    fn whoever_took_least_time_lately_comes_first_among_what_is_large() {
        let turns = Turns::default();
        let whole = limits::LARGE_WORK.bytes;
        let (running, mut come) = turns.queue(address(9), whole);
        assert!(has_come(&mut come));
        let now = Instant::now();
        let mut lanes = turns.lock();
        for dear in 1..=40 {
            lanes.large.spent.add(address(dear), Duration::from_secs(4), now);
        }
        drop(lanes);
        let mut dear: Vec<_> = (1..=40).map(|n| turns.queue(address(n), whole)).collect();
        let (_late, mut its) = turns.queue(address(50), whole);
        drop(running);
        assert!(has_come(&mut its) && dear.iter_mut().all(|(_, come)| !has_come(come)));
    }

    #[test]
    fn what_was_refused_counts_more_than_what_was_taken() {
        let turns = Turns::default();
        for (n, is_refused) in [(1, true), (2, false)] {
            let (turn, mut come) = turns.queue(address(n), limits::LARGE_WORK.bytes);
            assert!(has_come(&mut come));
            turns.lock().large.running.values_mut().for_each(|running| running.since -= Duration::from_millis(200));
            if is_refused { turn.refused() } else { drop(turn) }
        }
        let spent = |n| turns.lock().large.spent.of(address(n), Instant::now());
        assert!(spent(1) > spent(2) * u64::from(limits::REFUSED_COUNTS) / 2 && spent(2) > 0);
    }

    #[test]
    fn what_an_address_took_is_forgotten_in_time_and_addresses_are_few() {
        let (mut spent, now) = (Spent::default(), Instant::now());
        spent.add(address(1), Duration::from_secs(4), now);
        let later = |halves: u32| spent.of(address(1), now + limits::SPENT_HALVES * halves);
        assert_eq!((later(0), later(1), later(2), later(100)), (4_000_000, 2_000_000, 1_000_000, 0));
        for n in 0..4 * u32::try_from(limits::SPENT_ADDRESSES).unwrap_or(0) {
            spent.add(IpAddr::from(n.to_be_bytes()), Duration::from_millis(1), now);
        }
        assert!(spent.0.len() == limits::SPENT_ADDRESSES && spent.of(address(1), now) == 4_000_000);
    }

    #[test]
    fn more_than_there_is_room_for_goes_alone() {
        let turns = Turns::default();
        let (_one, mut come) = turns.queue(address(1), limits::LARGE_WORK.bytes * 2);
        assert!(has_come(&mut come));
        let (_two, mut come) = turns.queue(address(2), limits::LARGE_WORK.bytes);
        assert!(!has_come(&mut come));
    }
}
