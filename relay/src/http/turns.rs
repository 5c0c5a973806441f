//! Turns at what costs processor time and memory: reading jobs and modules, opening results. A few go on at once, weighed
//! by their bytes; what is small has places of its own, so that it never waits for what is large. Networks take turns, and in
//! each its addresses; no address has more than half of the places and no network more than three quarters, so that what
//! one sends waits behind its own. Of what is large, whoever took least time lately comes first, so that many who send what is
//! dear to refuse do not make one wait who sends little; and wide networks take turns before the networks in them, with the same
//! share, since one who has an IPv6 /32 has 65,536 networks that took no time yet. What is small costs too little for that.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout_at};

use super::{limits, source::Source};

/// What goes on at once.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// So many, of one address half of them and of one network three quarters; of what is large, of one wide network, too.
    pub places: usize,
    /// Of so many bytes together, shared in the same way; a single one may have more.
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
    /// By wide network, network and address.
    waiting: Line<Line<Line<VecDeque<Waiter>>>>,
    spent_of_wide: Spent,
    spent_of_networks: Spent,
    spent: Spent,
}

/// Where a turn belongs.
#[derive(Clone, Copy)]
struct Path {
    /// The wide network around the network; of what is small the network itself, since there the wide one does not count.
    wide: IpAddr,
    network: IpAddr,
    address: IpAddr,
}

impl Path {
    fn of(source: Source, is_small: bool) -> Self {
        let Source { address, network } = source;
        Self { wide: if is_small { network } else { source.groups().wide().first() }, network, address }
    }
}

/// Those that wait, and what waits of each: of wide networks, of networks in one, or of addresses in one.
#[derive(Default)]
struct Line<T> {
    waiting: BTreeMap<IpAddr, T>,
    /// The first one is next among those that took as much.
    order: VecDeque<IpAddr>,
}

impl<T: Default> Line<T> {
    /// What waits of one, who stands in the line from now on.
    fn enter(&mut self, whose: IpAddr) -> &mut T {
        if !self.waiting.contains_key(&whose) {
            self.order.push_back(whose);
        }
        self.waiting.entry(whose).or_default()
    }

    /// One was served: it waits behind the others, if it still has something to wait for.
    fn moves_back(&mut self, whose: IpAddr, still_waits: bool) {
        if still_waits {
            self.order.retain(|other| *other != whose);
            self.order.push_back(whose);
        } else {
            self.leaves(whose);
        }
    }

    /// One waits for nothing any more.
    fn leaves(&mut self, whose: IpAddr) {
        self.order.retain(|other| *other != whose);
        self.waiting.remove(&whose);
    }
}

/// How much time addresses, networks or wide networks took lately, in microseconds. Kept for what is large alone: of what is
/// small, all take as much.
#[derive(Default)]
struct Spent(BTreeMap<IpAddr, (u64, Instant)>);

/// So many microseconds, counted until an instant, as they count now, and the last instant at which they were halved: not
/// later, or who spends a little all the time would never have anything halved.
fn halved((micros, at): (u64, Instant), now: Instant) -> (u64, Instant) {
    let halves = now.saturating_duration_since(at).as_secs() / limits::SPENT_HALVES.as_secs().max(1);
    match u32::try_from(halves).ok().and_then(|halves| Some((micros.checked_shr(halves)?, halves))) {
        Some((left, halves)) if left > 0 => (left, at + limits::SPENT_HALVES * halves),
        Some(_) | None => (0, now),
    }
}

impl Spent {
    fn of(&self, address: IpAddr, now: Instant) -> u64 {
        self.0.get(&address).map_or(0, |spent| halved(*spent, now).0)
    }

    /// Those in a line and what waits of each, who took least first.
    fn least_first<'a, T>(&self, line: &'a Line<T>, now: Instant) -> Vec<(IpAddr, &'a T)> {
        let mut first: Vec<_> =
            line.order.iter().filter_map(|whose| line.waiting.get(whose).map(|waiting| (*whose, waiting))).collect();
        if !self.0.is_empty() {
            first.sort_by_cached_key(|(whose, _)| self.of(*whose, now));
        }
        first
    }

    fn add(&mut self, address: IpAddr, time: Duration, now: Instant) {
        let (before, at) = self.0.get(&address).map_or((0, now), |spent| halved(*spent, now));
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.insert(address, (before.saturating_add(micros), at));
        if self.0.len() > limits::SPENT_ADDRESSES {
            let least = self.0.keys().copied().min_by_key(|other| self.of(*other, now));
            least.map(|least| self.0.remove(&least));
        }
    }
}

struct Running {
    path: Path,
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
    path: Path,
    is_small: bool,
    /// How often its time counts.
    counts: u32,
}

impl Turn {
    /// What it was for came to nothing: its time counts more, so that who sends much that is refused waits for others.
    pub fn refused(mut self) {
        self.counts_more();
    }

    fn counts_more(&mut self) {
        self.counts = limits::REFUSED_COUNTS;
    }

    /// Gives it back, if it was not given back before.
    fn end(&mut self, now: Instant) {
        let mut lanes = self.turns.lock();
        let (queue, lane) = lanes.of(self.is_small);
        let ran = queue.remove(self.number, self.path, now);
        if let Some(ran) = ran.filter(|_| !self.is_small) {
            queue.spends(self.path, ran.saturating_mul(self.counts), now);
        }
        queue.go_on(lane);
    }
}

/// A turn that may not have come yet. Whoever drops it no longer waits.
pub struct Waiting {
    turn: Turn,
    come: oneshot::Receiver<()>,
}

impl Waiting {
    /// The turn, if it has come.
    ///
    /// # Errors
    /// It has not.
    pub fn at_once(mut self) -> Result<Turn, Self> {
        if self.come.try_recv().is_ok() { Ok(self.turn) } else { Err(self) }
    }

    /// Waits for the turn; `None` when it does not come in time.
    pub async fn until(self, deadline: Instant) -> Option<Turn> {
        matches!(timeout_at(deadline.into(), self.come).await, Ok(Ok(()))).then_some(self.turn)
    }
}

impl Turns {
    /// Waits for a turn at `bytes`; `None` when it does not come within [`limits::ROOM_PATIENCE`].
    pub async fn wait(&self, source: Source, bytes: usize) -> Option<Turn> {
        self.join(source, bytes).until(Instant::now() + limits::ROOM_PATIENCE).await
    }

    /// Asks for a turn at `bytes`.
    pub fn join(&self, source: Source, bytes: usize) -> Waiting {
        let (turn, come) = self.queue(source, bytes);
        Waiting { turn, come }
    }

    fn queue(&self, source: Source, bytes: usize) -> (Turn, oneshot::Receiver<()>) {
        let is_small = bytes <= limits::SMALL_WORK_BYTES;
        let mut lanes = self.lock();
        lanes.last += 1;
        let number = lanes.last;
        let (sender, receiver) = oneshot::channel();
        let (queue, lane) = lanes.of(is_small);
        let path = Path::of(source, is_small);
        queue.push(path, Waiter { number, bytes, come: sender });
        queue.go_on(lane);
        drop(lanes);
        (Turn { turns: self.clone(), number, path, is_small, counts: 1 }, receiver)
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
    fn push(&mut self, path: Path, waiter: Waiter) {
        self.waiting.enter(path.wide).enter(path.network).enter(path.address).push_back(waiter);
    }

    /// Lets those begin for whom there is room, one wide network after the other, in each one network after the other, and in
    /// that one address after the other.
    fn go_on(&mut self, lane: Lane) {
        while self.running.len() < lane.places {
            let Some(path) = self.next(lane) else { return };
            self.begin(path);
        }
    }

    /// Whose turn it is, if it can begin now.
    fn next(&self, lane: Lane) -> Option<Path> {
        let now = Instant::now();
        let all: usize = self.running.values().map(|running| running.bytes).sum();
        for (wide, networks) in self.spent_of_wide.least_first(&self.waiting, now) {
            for (network, addresses) in self.spent_of_networks.least_first(networks, now) {
                for (address, own) in self.spent.least_first(addresses, now) {
                    let path = Path { wide, network, address };
                    let first = own.front().map(|waiter| waiter.bytes);
                    let Some(bytes) = first.filter(|bytes| self.has_share(path, *bytes, lane)) else { continue };
                    // If there is no room, it is the next one all the same: what is lighter does not pass it for ever.
                    return (all == 0 || all + bytes <= lane.bytes).then_some(path);
                }
            }
        }
        None
    }

    /// Whether so many bytes more are within an address's share, its network's, and its wide network's.
    fn has_share(&self, path: Path, bytes: usize, lane: Lane) -> bool {
        let fits = |is_own: &dyn Fn(&Path) -> bool, quarters: usize| {
            let own = self.running.values().filter(|running| is_own(&running.path));
            let (places, taken) = own.fold((0, 0), |(places, taken), running| (places + 1, taken + running.bytes));
            places < lane.places * quarters / 4 && (places == 0 || taken + bytes <= lane.bytes / 4 * quarters)
        };
        fits(&|other| other.address == path.address, 2)
            && fits(&|other| other.network == path.network, 3)
            && fits(&|other| other.wide == path.wide, 3)
    }

    /// Begins what an address waits for first.
    fn begin(&mut self, path: Path) {
        let Some(networks) = self.waiting.waiting.get_mut(&path.wide) else { return };
        let Some(addresses) = networks.waiting.get_mut(&path.network) else { return };
        let Some(own) = addresses.waiting.get_mut(&path.address) else { return };
        let first = own.pop_front();
        let still_waits = !own.is_empty();
        addresses.moves_back(path.address, still_waits);
        let still_waits = !addresses.order.is_empty();
        networks.moves_back(path.network, still_waits);
        let still_waits = !networks.order.is_empty();
        self.waiting.moves_back(path.wide, still_waits);
        if let Some(waiter) = first {
            self.running.insert(waiter.number, Running { path, bytes: waiter.bytes, since: Instant::now() });
            // One that no longer listens gives its turn back as it is dropped.
            let _ = waiter.come.send(());
        }
    }

    /// Gives a turn, or a place in the queue, back; how long it had its turn, if it had.
    fn remove(&mut self, number: u64, path: Path, now: Instant) -> Option<Duration> {
        if let Some(running) = self.running.remove(&number) {
            return Some(now.saturating_duration_since(running.since));
        }
        let networks = self.waiting.waiting.get_mut(&path.wide)?;
        let addresses = networks.waiting.get_mut(&path.network)?;
        let own = addresses.waiting.get_mut(&path.address)?;
        own.retain(|waiter| waiter.number != number);
        if own.is_empty() {
            addresses.leaves(path.address);
        }
        if addresses.order.is_empty() {
            networks.leaves(path.network);
        }
        if networks.order.is_empty() {
            self.waiting.leaves(path.wide);
        }
        None
    }

    fn spends(&mut self, path: Path, time: Duration, now: Instant) {
        self.spent_of_wide.add(path.wide, time, now);
        self.spent_of_networks.add(path.network, time, now);
        self.spent.add(path.address, time, now);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address in a wide network of its own.
    fn address(wide: u8) -> Source {
        near(wide, 1)
    }

    /// One of several of a network.
    fn near(wide: u8, last: u8) -> Source {
        Source::of(IpAddr::from([192, wide, 0, last]))
    }

    /// One of several networks of a wide network.
    fn beside(wide: u16, network: u16) -> Source {
        Source::of(IpAddr::from([0x2001, wide, network, 1, 0, 0, 0, 1]))
    }

    fn count_of_come(asked: &mut [(Turn, oneshot::Receiver<()>)]) -> usize {
        asked.iter_mut().filter_map(|(_, come)| has_come(come).then_some(())).count()
    }

    fn is_empty(queue: &Queue) -> bool {
        queue.waiting.order.is_empty() && queue.waiting.waiting.is_empty()
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
        assert!(is_empty(&turns.lock().small));
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
        assert!(lanes.large.running.is_empty() && is_empty(&lanes.large));
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
            lanes.large.spends(Path::of(address(dear), false), Duration::from_secs(4), now);
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
        let now = Instant::now();
        for (n, is_refused) in [(1, true), (2, false)] {
            let (mut turn, mut come) = turns.queue(address(n), limits::LARGE_WORK.bytes);
            assert!(has_come(&mut come));
            turns.lock().large.running.values_mut().for_each(|running| running.since = now);
            if is_refused {
                turn.counts_more();
            }
            turn.end(now + Duration::from_millis(200));
        }
        let spent = |n| turns.lock().large.spent.0.get(&address(n).address).map(|(micros, _)| *micros);
        assert_eq!((spent(1), spent(2)), (Some(200_000 * u64::from(limits::REFUSED_COUNTS)), Some(200_000)));
    }

    #[test]
    fn what_an_address_took_is_forgotten_in_time_and_addresses_are_few() {
        let (mut spent, now) = (Spent::default(), Instant::now());
        spent.add(address(1).address, Duration::from_secs(4), now);
        let later = |halves: u32| spent.of(address(1).address, now + limits::SPENT_HALVES * halves);
        assert_eq!((later(0), later(1), later(2), later(100)), (4_000_000, 2_000_000, 1_000_000, 0));
        for n in 0..4 * u32::try_from(limits::SPENT_ADDRESSES).unwrap_or(0) {
            spent.add(IpAddr::from(n.to_be_bytes()), Duration::from_millis(1), now);
        }
        assert!(spent.0.len() == limits::SPENT_ADDRESSES && spent.of(address(1).address, now) == 4_000_000);
    }

    #[test]
    fn who_sends_steadily_is_forgotten_as_fast_as_who_sends_at_once() {
        let (mut spent, start) = (Spent::default(), Instant::now());
        let [steady, burst] = [address(1).address, address(2).address];
        for n in 0..200 {
            spent.add(steady, Duration::from_secs(1), start + limits::SPENT_HALVES / 2 * n);
        }
        let end = start + limits::SPENT_HALVES / 2 * 199;
        // Two seconds more for each time that it halves: four at most.
        assert!((2_000_000..=4_000_000).contains(&spent.of(steady, end)), "{}", spent.of(steady, end));
        spent.add(burst, Duration::from_secs(20), end);
        assert!(spent.of(steady, end + Duration::from_secs(1)) < spent.of(burst, end + Duration::from_secs(1)));
    }

    #[test]
    fn a_network_of_many_addresses_leaves_a_quarter_of_the_turns_and_takes_turns_with_others() {
        let turns = Turns::default();
        let places = limits::SMALL_WORK.places;
        let mut many: Vec<_> = (0..200).map(|last| turns.queue(near(1, last), 100)).collect();
        let begun = many.iter_mut().filter_map(|(_, come)| has_come(come).then_some(())).count();
        assert_eq!(begun, places / 4 * 3);
        let mut others: Vec<_> = (0..places / 2).map(|_| turns.queue(address(2), 100)).collect();
        let come: Vec<bool> = others.iter_mut().map(|(_, come)| has_come(come)).collect();
        assert_eq!(
            come.iter().filter(|come| **come).count(),
            places / 4,
            "at once, whoever waits of the other network"
        );
        // From then on one of each goes on.
        let before =
            turns.lock().small.running.values().filter(|running| running.path.network == near(1, 0).network).count();
        others.remove(0);
        others.remove(0);
        let after =
            turns.lock().small.running.values().filter(|running| running.path.network == near(1, 0).network).count();
        assert_eq!((before, after), (places / 4 * 3, places / 4 * 3));
        drop((many, others));
        assert!(is_empty(&turns.lock().small));
    }

    #[test]
    fn a_wide_network_of_networks_that_took_no_time_yet_comes_behind_one_address_that_did() {
        let turns = Turns::default();
        let whole = limits::LARGE_WORK.bytes;
        let (running, mut come) = turns.queue(address(9), whole);
        assert!(has_come(&mut come));
        let now = Instant::now();
        turns.lock().large.spends(Path::of(address(50), false), Duration::from_secs(1), now);
        for network in 0..40 {
            turns.lock().large.spends(Path::of(beside(1, network), false), Duration::from_secs(4), now);
        }
        let mut fresh: Vec<_> = (100..140).map(|network| turns.queue(beside(1, network), whole)).collect();
        let (late, mut its) = turns.queue(address(50), whole);
        drop(running);
        assert!(has_come(&mut its) && count_of_come(&mut fresh) == 0);
        // In the wide network itself those come first that took least.
        let (_dear, mut dear) = turns.queue(beside(1, 0), whole);
        drop((late, fresh.pop()));
        assert!(!has_come(&mut dear) && count_of_come(&mut fresh) == 1);
        drop((fresh, _dear));
        assert!(is_empty(&turns.lock().large));
    }

    #[test]
    fn a_wide_network_of_many_networks_leaves_a_quarter_of_the_large_turns_and_takes_turns_with_others() {
        let turns = Turns::default();
        let (places, bytes) = (limits::LARGE_WORK.places, limits::SMALL_WORK_BYTES + 1);
        let mut many: Vec<_> = (0..100).map(|network| turns.queue(beside(1, network), bytes)).collect();
        assert_eq!(count_of_come(&mut many), places / 4 * 3);
        // Who is alone in a wide network has all of its share.
        let mut alone: Vec<_> = (0..places / 2).map(|_| turns.queue(address(2), bytes)).collect();
        assert_eq!(count_of_come(&mut alone), places / 4);
        many.drain(..places / 4);
        assert_eq!(count_of_come(&mut alone), places / 4, "before those who wait longer, but have their share");
        assert_eq!(count_of_come(&mut many), 0);
        drop((many, alone));
        assert!(is_empty(&turns.lock().large));
    }

    #[test]
    fn what_is_small_does_not_go_by_wide_networks() {
        let turns = Turns::default();
        let places = u16::try_from(limits::SMALL_WORK.places).unwrap_or(0);
        let mut many: Vec<_> = (0..places).map(|network| turns.queue(beside(1, network), 100)).collect();
        assert_eq!(count_of_come(&mut many), limits::SMALL_WORK.places);
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
