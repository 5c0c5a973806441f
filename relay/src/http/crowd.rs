//! Bounded places for what lasts (connections, WebSockets, listeners), shared by address, where a newcomer always gets
//! in: when places are short, the one that has waited longest without doing anything goes first.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::source::Source;

/// Whoever came so lately has hardly had time to do anything: a burst from one address goes beyond that address's bounds
/// for so long, but not beyond those of all.
const YOUNG: Duration = Duration::from_secs(2);

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all.
    pub all: usize,
    /// From one network,
    pub per_network: usize,
    /// and from one address; neither for those that may take all.
    pub per_address: usize,
    /// Of those that have done nothing yet: in all,
    pub waiting: usize,
    /// from one network,
    pub waiting_per_network: usize,
    /// and from one address; the last two but for those that have just come.
    pub waiting_per_address: usize,
}

/// The places. Cheap to clone.
#[derive(Clone)]
pub struct Crowd {
    bounds: Bounds,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// The number of the last one: older ones have lower numbers.
    last: u64,
    members: HashMap<u64, Member>,
    /// Those that have done nothing yet, and those that do nothing now, oldest first.
    waiting: BTreeMap<u64, (Source, Instant)>,
    idle: BTreeMap<u64, Source>,
    by_address: HashMap<IpAddr, Tally>,
    by_network: HashMap<IpAddr, Tally>,
}

struct Member {
    source: Source,
    gone: CancellationToken,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    all: usize,
    waiting: usize,
}

/// One place; free again when dropped.
pub struct Place {
    number: u64,
    crowd: Crowd,
    gone: CancellationToken,
}

impl Crowd {
    /// Places within `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, inner: Arc::default() }
    }

    /// A place for one more from `source`, which waits until it says otherwise; `None` when all are busy.
    /// `may_take_all` lifts the bound by address, for proxies and for this machine, behind which many stand.
    pub fn enter(&self, source: Source, may_take_all: bool) -> Option<Place> {
        self.enter_at(source, may_take_all, Instant::now())
    }

    /// As [`Self::enter`], for one that is busy from its first moment on, so that nobody takes its place in between.
    pub fn enter_busy(&self, source: Source, may_take_all: bool) -> Option<Place> {
        let mut inner = self.lock();
        let (number, gone) = inner.admit(&self.bounds, source, may_take_all, Instant::now())?;
        Some(Place { number, crowd: self.clone(), gone })
    }

    fn enter_at(&self, source: Source, may_take_all: bool, now: Instant) -> Option<Place> {
        let mut inner = self.lock();
        let tally = inner.by_address.get(&source.address).copied().unwrap_or_default();
        let of_network = inner.by_network.get(&source.network).copied().unwrap_or_default();
        let before = now.checked_sub(YOUNG);
        if tally.waiting >= self.bounds.waiting_per_address {
            inner.drop_oldest_waiting(before, |other| other.address == source.address);
        } else if of_network.waiting >= self.bounds.waiting_per_network {
            inner.drop_oldest_waiting(before, |other| other.network == source.network);
        }
        if inner.waiting.len() >= self.bounds.waiting {
            let fullest = inner.by_network.iter().max_by_key(|(_, tally)| tally.waiting).map(|(network, _)| *network);
            inner.drop_oldest_waiting(Some(now), |other| Some(other.network) == fullest);
        }
        let (number, gone) = inner.admit(&self.bounds, source, may_take_all, now)?;
        inner.start_waiting(number, source, now);
        Some(Place { number, crowd: self.clone(), gone })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().members.len()
    }

    /// Makes one of those that do nothing go; `false` when all are busy.
    pub fn shrink(&self) -> bool {
        let mut inner = self.lock();
        inner.drop_oldest_waiting(Some(Instant::now()), |_| true) || inner.drop_oldest_idle(|_| true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes in one more, if there is room or one that does nothing makes it: its number, and what tells it to go.
    fn admit(
        &mut self,
        bounds: &Bounds,
        source: Source,
        may_take_all: bool,
        now: Instant,
    ) -> Option<(u64, CancellationToken)> {
        let here = self.by_address.get(&source.address).map_or(0, |tally| tally.all);
        let room = may_take_all
            || here < bounds.per_address
            || self.drop_oldest_waiting(Some(now), |other| other.address == source.address)
            || self.drop_oldest_idle(|other| other.address == source.address);
        let around = self.by_network.get(&source.network).map_or(0, |tally| tally.all);
        let room = room
            && (may_take_all
                || around < bounds.per_network
                || self.drop_oldest_waiting(Some(now), |other| other.network == source.network)
                || self.drop_oldest_idle(|other| other.network == source.network));
        let room = room
            && (self.members.len() < bounds.all
                || self.drop_oldest_waiting(Some(now), |_| true)
                || self.drop_oldest_idle(|_| true));
        if !room {
            return None;
        }
        self.last += 1;
        let gone = CancellationToken::new();
        self.members.insert(self.last, Member { source, gone: gone.clone() });
        self.by_address.entry(source.address).or_default().all += 1;
        self.by_network.entry(source.network).or_default().all += 1;
        Some((self.last, gone))
    }

    /// Takes the oldest of `which` out, if it came at `before` or earlier.
    fn drop_oldest_waiting(&mut self, before: Option<Instant>, which: impl Fn(&Source) -> bool) -> bool {
        let oldest = self.waiting.iter().find(|(_, (source, _))| which(source));
        let oldest = oldest.filter(|(_, (_, since))| before.is_some_and(|before| *since <= before));
        let oldest = oldest.map(|(number, _)| *number);
        oldest.is_some_and(|number| self.remove(number))
    }

    fn drop_oldest_idle(&mut self, which: impl Fn(&Source) -> bool) -> bool {
        let oldest = self.idle.iter().find(|(_, source)| which(source)).map(|(number, _)| *number);
        oldest.is_some_and(|number| self.remove(number))
    }

    /// Takes one out and tells it.
    fn remove(&mut self, number: u64) -> bool {
        self.stop_waiting(number);
        self.idle.remove(&number);
        let Some(member) = self.members.remove(&number) else { return false };
        let Source { address, network } = member.source;
        for (tallies, key) in [(&mut self.by_address, address), (&mut self.by_network, network)] {
            if let Some(tally) = tallies.get_mut(&key) {
                tally.all = tally.all.saturating_sub(1);
                if tally.all == 0 {
                    tallies.remove(&key);
                }
            }
        }
        member.gone.cancel();
        true
    }

    fn start_waiting(&mut self, number: u64, source: Source, since: Instant) {
        self.waiting.insert(number, (source, since));
        self.by_address.entry(source.address).or_default().waiting += 1;
        self.by_network.entry(source.network).or_default().waiting += 1;
    }

    fn stop_waiting(&mut self, number: u64) {
        let Some((source, _)) = self.waiting.remove(&number) else { return };
        for (tallies, key) in [(&mut self.by_address, source.address), (&mut self.by_network, source.network)] {
            if let Some(tally) = tallies.get_mut(&key) {
                tally.waiting = tally.waiting.saturating_sub(1);
            }
        }
    }
}

impl Place {
    /// It does something: nobody takes its place now.
    pub fn busy(&self) {
        let mut inner = self.crowd.lock();
        inner.stop_waiting(self.number);
        inner.idle.remove(&self.number);
    }

    /// It has done something, and does nothing now.
    pub fn idle(&self) {
        let mut inner = self.crowd.lock();
        inner.stop_waiting(self.number);
        if let Some(source) = inner.members.get(&self.number).map(|member| member.source) {
            inner.idle.insert(self.number, source);
        }
    }

    /// Completes when the place was given to another.
    pub fn gone(&self) -> WaitForCancellationFutureOwned {
        self.gone.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.lock().remove(self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { all: 10, per_network: 10, per_address: 6, waiting: 8, waiting_per_network: 5, waiting_per_address: 3 };

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    /// The `n`th comes `n` seconds later.
    fn come(crowd: &Crowd, n: u64, text: &str) -> Place {
        let start = Instant::now() + Duration::from_secs(60);
        crowd.enter_at(source(text), false, start + Duration::from_secs(n)).unwrap()
    }

    fn alive(places: &[Place]) -> Vec<usize> {
        (0..places.len()).filter(|&n| !places[n].gone.is_cancelled()).collect()
    }

    #[test]
    fn of_those_that_wait_the_oldest_of_the_same_address_goes() {
        let crowd = Crowd::new(BOUNDS);
        let places: Vec<Place> = (0..9).map(|n| come(&crowd, n, "1.1.1.1")).collect();
        assert_eq!(alive(&places), [6, 7, 8]);
        assert_eq!(crowd.taken(), 3);
        drop(places);
        assert_eq!(crowd.taken(), 0);
        assert!(crowd.lock().by_address.is_empty() && crowd.lock().by_network.is_empty());
    }

    #[test]
    fn a_network_of_many_addresses_and_many_networks_are_bounded_as_well() {
        let crowd = Crowd::new(BOUNDS);
        let near: Vec<Place> = (1..9).map(|n| come(&crowd, n, &format!("1.1.1.{n}"))).collect();
        assert_eq!(alive(&near), [3, 4, 5, 6, 7]);
        let far: Vec<Place> = (1..5).map(|n| come(&crowd, 9 + n, &format!("{n}.2.3.4"))).collect();
        assert_eq!((alive(&near), alive(&far)), (vec![4, 5, 6, 7], vec![0, 1, 2, 3]), "the fullest network gives");
    }

    #[test]
    fn a_burst_goes_beyond_the_bounds_of_an_address_but_not_of_all() {
        let crowd = Crowd::new(Bounds { per_address: 10, ..BOUNDS });
        let now = Instant::now();
        let burst: Vec<Place> = (0..10).map(|_| crowd.enter_at(source("1.1.1.1"), false, now).unwrap()).collect();
        assert_eq!(alive(&burst), [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_network_of_many_addresses_leaves_places_for_others_also_when_all_of_it_works() {
        let crowd = Crowd::new(Bounds { per_network: 7, ..BOUNDS });
        let enter = |text: &str| crowd.enter(source(text), false).inspect(Place::busy);
        let near: Vec<Place> = (1..100).filter_map(|n| enter(&format!("2001:db8:1:{n}::1"))).collect();
        assert_eq!((near.len(), crowd.taken()), (7, 7));
        assert!(enter("2001:db8:2::1").is_some_and(|_| enter("2001:db8:1:7::1").is_none()));
        near[3].idle();
        let _newcomer = enter("2001:db8:1:100::1").unwrap();
        assert_eq!(alive(&near), [0, 1, 2, 4, 5, 6], "one that is idle makes room in its network");
        drop((near, _newcomer));
        assert!(crowd.lock().by_address.is_empty() && crowd.lock().by_network.is_empty());
    }

    #[test]
    fn those_that_are_busy_from_the_first_never_make_room_also_when_many_come_at_once() {
        let crowd = Crowd::new(Bounds { waiting_per_address: 0, waiting: 0, ..BOUNDS });
        let enter = || (0..500).filter_map(|_| crowd.enter_busy(source("1.1.1.1"), false)).collect::<Vec<_>>();
        let places: Vec<Place> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(enter)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((places.len(), alive(&places).len(), crowd.taken()), (6, 6, 6));
    }

    #[test]
    fn one_that_works_keeps_its_place_and_one_that_is_idle_gives_it_up_last() {
        let crowd = Crowd::new(BOUNDS);
        let busy: Vec<Place> = (0..6).map(|_| crowd.enter(source("1.1.1.1"), false).unwrap()).collect::<Vec<_>>();
        busy.iter().for_each(Place::busy);
        let mine: Vec<Place> =
            (0..9).filter_map(|_| crowd.enter(source("1.1.1.1"), false)).inspect(Place::busy).collect();
        assert_eq!(mine.len() + alive(&busy).len(), 6, "busy ones of an address are bounded, and none is dropped");
        let local: Vec<Place> =
            (0..9).filter_map(|_| crowd.enter(source("127.0.0.1"), true)).inspect(Place::busy).collect();
        assert_eq!((local.len(), crowd.taken()), (4, 10), "this machine takes what there is, and no more");
        assert!(crowd.enter(source("2.2.2.2"), false).is_none() && !crowd.shrink());
        local[1].idle();
        let other = crowd.enter(source("2.2.2.2"), false).unwrap();
        assert_eq!(alive(&local), [0, 2, 3]);
        local[3].idle();
        let third = crowd.enter(source("3.3.3.3"), false).unwrap();
        assert!(other.gone.is_cancelled() && !third.gone.is_cancelled(), "the silent one goes before the idle one");
        local[1].busy();
        local[1].idle();
        assert!(crowd.lock().idle.len() == 1, "one that is gone does not come back");
    }
}
