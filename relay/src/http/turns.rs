//! Turns at what costs processor time and memory: reading jobs and modules, opening results. A few go on at once, weighed
//! by their bytes; what is small has places of its own, so that it never waits for what is large. Addresses take turns,
//! and none has more than half of the places, so that what one sends waits behind its own.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    running: BTreeMap<u64, (IpAddr, usize)>,
    waiting: BTreeMap<IpAddr, VecDeque<Waiter>>,
    /// Addresses that wait; the first one is next.
    order: VecDeque<IpAddr>,
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
        (Turn { turns: self.clone(), number, address, is_small }, receiver)
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
        let mut passed = 0;
        while passed < self.order.len() && self.running.len() < lane.places {
            let Some(address) = self.order.front().copied() else { return };
            let Some(bytes) = self.waiting.get(&address).and_then(|own| own.front()).map(|waiter| waiter.bytes) else {
                self.order.pop_front();
                continue;
            };
            let own = self.running.values().filter(|(other, _)| *other == address);
            let (places, taken) = own.fold((0, 0), |(places, taken), (_, bytes)| (places + 1, taken + bytes));
            if places >= lane.places / 2 || (places > 0 && taken + bytes > lane.bytes / 2) {
                self.order.rotate_left(1);
                passed += 1;
                continue;
            }
            let all: usize = self.running.values().map(|(_, bytes)| bytes).sum();
            if all > 0 && all + bytes > lane.bytes {
                // It is the next one: what is lighter does not pass it for ever.
                return;
            }
            self.begin(address);
            passed = 0;
        }
    }

    /// Begins what `address`, the first in the order, waits for first.
    fn begin(&mut self, address: IpAddr) {
        self.order.pop_front();
        let Some(own) = self.waiting.get_mut(&address) else { return };
        let first = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.order.push_back(address);
        }
        if let Some(waiter) = first {
            self.running.insert(waiter.number, (address, waiter.bytes));
            // One that no longer listens gives its turn back as it is dropped.
            let _ = waiter.come.send(());
        }
    }

    fn remove(&mut self, number: u64, address: IpAddr) {
        self.running.remove(&number);
        if let Some(own) = self.waiting.get_mut(&address) {
            own.retain(|waiter| waiter.number != number);
            if own.is_empty() {
                self.waiting.remove(&address);
                self.order.retain(|other| *other != address);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lanes = self.turns.lock();
        let (queue, lane) = lanes.of(self.is_small);
        queue.remove(self.number, self.address);
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
        let running: usize = turns.lock().large.running.values().map(|(_, bytes)| bytes).sum();
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
    fn more_than_there_is_room_for_goes_alone() {
        let turns = Turns::default();
        let (_one, mut come) = turns.queue(address(1), limits::LARGE_WORK.bytes * 2);
        assert!(has_come(&mut come));
        let (_two, mut come) = turns.queue(address(2), limits::LARGE_WORK.bytes);
        assert!(!has_come(&mut come));
    }
}
