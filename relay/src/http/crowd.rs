//! Bounded places for what lasts (connections, WebSockets, listeners), shared by address, where a newcomer always gets
//! in: when places are short, the one that has waited longest without doing anything goes first. When all do something,
//! the slowest of whoever holds most makes room for those who hold less.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use p2pnet_net::shares::{Group, Groups, Shares};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::source::Source;

/// Whoever came so lately has hardly had time to do anything: a burst from one address goes beyond that address's bounds
/// for so long, but not beyond those of all; and nobody is slow yet.
const YOUNG: Duration = Duration::from_secs(2);
/// The slowest is looked for among so many of those that hold most: each newcomer costs that, while everybody waits.
const LOOKED_AT: usize = 4_096;

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
    all: Ranks,
    /// Of those, the ones that have done nothing yet, and the ones that do nothing now.
    waiting: Ranks,
    idle: Ranks,
}

struct Member {
    groups: Groups,
    gone: CancellationToken,
    /// Since when it waits, or does what it does now,
    since: Instant,
    /// and how many bytes have come and gone in that time.
    moved: Arc<AtomicUsize>,
}

impl Member {
    /// Bytes a second, on average; as many as there are where it has hardly begun.
    fn speed(&self, now: Instant) -> usize {
        let age = now.saturating_duration_since(self.since);
        if age < YOUNG {
            return usize::MAX;
        }
        let millis = usize::try_from(age.as_millis()).unwrap_or(usize::MAX).max(1);
        self.moved.load(Ordering::Relaxed).saturating_mul(1_000) / millis
    }
}

/// Some of the members, the oldest first, also within each group.
#[derive(Default)]
struct Ranks {
    numbers: BTreeSet<u64>,
    by_group: BTreeSet<(Group, u64)>,
    shares: Shares,
}

impl Ranks {
    fn insert(&mut self, number: u64, groups: Groups) {
        if self.numbers.insert(number) {
            self.by_group.extend(groups.each().map(|group| (group, number)));
            self.shares.add(groups);
        }
    }

    fn remove(&mut self, number: u64, groups: Groups) {
        if self.numbers.remove(&number) {
            for group in groups.each() {
                self.by_group.remove(&(group, number));
            }
            self.shares.remove(groups);
        }
    }

    fn within(&self, group: Group) -> impl Iterator<Item = u64> {
        self.by_group.range((group, 0)..=(group, u64::MAX)).map(|(_, number)| *number)
    }

    /// The oldest, of a group or of all.
    fn oldest(&self, of: Option<Group>) -> Option<u64> {
        match of {
            Some(group) => self.within(group).next(),
            None => self.numbers.first().copied(),
        }
    }

    /// The oldest of some addresses.
    fn oldest_of(&self, addresses: &[Groups]) -> Option<u64> {
        addresses.iter().filter_map(|groups| self.oldest(Some(groups.address()))).min()
    }
}

/// One place; free again when dropped.
pub struct Place {
    number: u64,
    crowd: Crowd,
    gone: CancellationToken,
    moved: Arc<AtomicUsize>,
}

impl Crowd {
    /// Places within `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, inner: Arc::default() }
    }

    /// A place for one more from `source`, which waits until it says otherwise; `None` when all are busy and nobody holds
    /// more. `may_take_all` is for proxies and for this machine, behind which many stand: it lifts the bounds by address
    /// and network, and somebody always makes room. [`Place::busy_for`] says for whom it is once that is known.
    pub fn enter(&self, source: Source, may_take_all: bool) -> Option<Place> {
        self.enter_at(source, may_take_all, Instant::now())
    }

    /// As [`Self::enter`], for one that is busy from its first moment on, so that nobody takes its place in between.
    pub fn enter_busy(&self, source: Source, may_take_all: bool) -> Option<Place> {
        self.enter_busy_at(source, may_take_all, Instant::now())
    }

    fn enter_busy_at(&self, source: Source, may_take_all: bool, now: Instant) -> Option<Place> {
        let mut inner = self.lock();
        let (number, gone, moved) = inner.admit(&self.bounds, source.groups(), may_take_all, now)?;
        Some(Place { number, crowd: self.clone(), gone, moved })
    }

    fn enter_at(&self, source: Source, may_take_all: bool, now: Instant) -> Option<Place> {
        let mut inner = self.lock();
        let groups = source.groups();
        let before = now.checked_sub(YOUNG);
        if inner.waiting.shares.of(groups.address()) >= self.bounds.waiting_per_address {
            inner.drop_waiting(before, Some(groups.address()));
        } else if inner.waiting.shares.of(groups.network()) >= self.bounds.waiting_per_network {
            inner.drop_waiting(before, Some(groups.network()));
        }
        if inner.waiting.numbers.len() >= self.bounds.waiting {
            inner.drop_waiting_of_heaviest();
        }
        let (number, gone, moved) = inner.admit(&self.bounds, groups, may_take_all, now)?;
        inner.waiting.insert(number, groups);
        Some(Place { number, crowd: self.clone(), gone, moved })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().members.len()
    }

    /// Makes one go: of those that do nothing, else the slowest of whoever holds most.
    pub fn shrink(&self) {
        self.lock().make_room(None, Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes in one more, if there is room or another makes it: its number, what tells it to go, and what it moves.
    fn admit(
        &mut self,
        bounds: &Bounds,
        groups: Groups,
        may_take_all: bool,
        now: Instant,
    ) -> Option<(u64, CancellationToken, Arc<AtomicUsize>)> {
        let bounded = [(groups.address(), bounds.per_address), (groups.network(), bounds.per_network)];
        for (group, most) in bounded.into_iter().filter(|_| !may_take_all) {
            if self.all.shares.of(group) >= most && !self.drop_resting(now, Some(group)) {
                return None;
            }
        }
        if self.members.len() >= bounds.all && !self.make_room(Some(groups).filter(|_| !may_take_all), now) {
            return None;
        }
        self.last += 1;
        let (gone, moved) = (CancellationToken::new(), Arc::default());
        let member = Member { groups, gone: gone.clone(), since: now, moved: Arc::clone(&moved) };
        self.members.insert(self.last, member);
        self.all.insert(self.last, groups);
        Some((self.last, gone, moved))
    }

    /// Lets one go for a newcomer; of one behind which many stand nobody knows yet who it is. Whoever holds most comes
    /// before others, and what does nothing before what works. One that has just come goes for none but its own address,
    /// unless that holds most: coming again and again keeps nobody out.
    fn make_room(&mut self, newcomer: Option<Groups>, now: Instant) -> bool {
        let shares = &self.all.shares;
        let most = shares.hold_most();
        let gives_way = newcomer.is_none_or(|own| most.iter().any(|most| shares.is_more_than(*most, Some(own), 1)));
        self.drop_resting_of(&most)
            || newcomer.is_some_and(|own| self.drop_resting(now, Some(own.address())))
            || self.drop_waiting(now.checked_sub(YOUNG), None)
            || self.drop_idle(None)
            || (gives_way && self.drop_slowest_of(&most, now))
    }

    /// Takes the oldest out that waits, of those of whom most do.
    fn drop_waiting_of_heaviest(&mut self) {
        let oldest = match self.waiting.shares.heaviest() {
            Some(group) => self.waiting.oldest(Some(group)),
            None => self.waiting.oldest_of(&self.waiting.shares.hold_most()),
        };
        oldest.map(|number| self.remove(number));
    }

    /// Takes the oldest out that does nothing, of some addresses.
    fn drop_resting_of(&mut self, addresses: &[Groups]) -> bool {
        let oldest = self.waiting.oldest_of(addresses).or_else(|| self.idle.oldest_of(addresses));
        oldest.is_some_and(|number| self.remove(number))
    }

    /// Takes out the slowest of some addresses, of equal ones the oldest; of many, only some older ones of each are looked at.
    fn drop_slowest_of(&mut self, addresses: &[Groups], now: Instant) -> bool {
        let each = LOOKED_AT / addresses.len().max(1);
        let speed = |number: &u64| (self.members.get(number).map(|member| member.speed(now)), *number);
        let looked_at = addresses.iter().flat_map(|groups| self.all.within(groups.address()).take(each.max(1)));
        let slowest = looked_at.min_by_key(speed);
        slowest.is_some_and(|number| self.remove(number))
    }

    fn drop_resting(&mut self, now: Instant, of: Option<Group>) -> bool {
        self.drop_waiting(Some(now), of) || self.drop_idle(of)
    }

    /// Takes the oldest that waits out, if it came at `before` or earlier.
    fn drop_waiting(&mut self, before: Option<Instant>, of: Option<Group>) -> bool {
        let Some(oldest) = self.waiting.oldest(of) else { return false };
        let since = self.members.get(&oldest).map(|member| member.since);
        since <= before && self.remove(oldest)
    }

    fn drop_idle(&mut self, of: Option<Group>) -> bool {
        self.idle.oldest(of).is_some_and(|number| self.remove(number))
    }

    /// Takes one out and tells it.
    fn remove(&mut self, number: u64) -> bool {
        let Some(member) = self.members.remove(&number) else { return false };
        for ranks in [&mut self.all, &mut self.waiting, &mut self.idle] {
            ranks.remove(number, member.groups);
        }
        member.gone.cancel();
        true
    }

    /// What a member does from now on: `works`, or nothing.
    fn turn(&mut self, number: u64, works: bool, now: Instant) {
        let Some(member) = self.members.get_mut(&number) else { return };
        self.waiting.remove(number, member.groups);
        if works {
            self.idle.remove(number, member.groups);
            member.since = now;
            member.moved.store(0, Ordering::Relaxed);
        } else {
            self.idle.insert(number, member.groups);
        }
    }

    /// Counts one that works for others than before. `false` when those then have more than they may, and none of it is
    /// idle.
    fn count_for(&mut self, bounds: &Bounds, number: u64, groups: Groups, may_take_all: bool) -> bool {
        let Some(member) = self.members.get_mut(&number) else { return false };
        if member.groups == groups {
            return true;
        }
        self.all.remove(number, member.groups);
        self.all.insert(number, groups);
        member.groups = groups;
        let bounded = [(groups.address(), bounds.per_address), (groups.network(), bounds.per_network)];
        let mut bounded = bounded.into_iter().filter(|_| !may_take_all);
        bounded.all(|(group, most)| self.all.shares.of(group) <= most || self.drop_idle(Some(group)))
    }
}

impl Place {
    /// It does something: nobody takes its place now, but who holds less while its own source holds most.
    pub fn busy(&self) {
        self.crowd.lock().turn(self.number, true, Instant::now());
    }

    /// It has done something, and does nothing now.
    pub fn idle(&self) {
        self.crowd.lock().turn(self.number, false, Instant::now());
    }

    /// So many bytes more have come or gone.
    pub fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is busy, and for `source` from now on: who asks behind a proxy. `false` when that one has more than it may, and
    /// all of it busy.
    pub fn busy_for(&self, source: Source, may_take_all: bool) -> bool {
        let mut inner = self.crowd.lock();
        inner.turn(self.number, true, Instant::now());
        inner.count_for(&self.crowd.bounds, self.number, source.groups(), may_take_all)
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
#[expect(clippy::unwrap_used)]
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

    /// Whether nothing is left of those that were there.
    fn is_empty(crowd: &Crowd) -> bool {
        let inner = crowd.lock();
        let ranks = [&inner.all, &inner.waiting, &inner.idle];
        inner.members.is_empty() && ranks.iter().all(|ranks| ranks.by_group.is_empty() && ranks.shares.is_empty())
    }

    fn alive(places: &[Place]) -> Vec<usize> {
        (0..places.len()).filter(|&n| !places[n].gone.is_cancelled()).collect()
    }

    #[test]
    fn where_nobody_holds_more_than_others_the_oldest_goes_and_not_the_highest_address() {
        for late in ["99.1.1.1", "2.1.1.1"] {
            // Of those that wait, and of all.
            let crowd = Crowd::new(BOUNDS);
            let mut places: Vec<Place> = (0..8).map(|n| come(&crowd, n, &format!("{}.1.1.1", 10 + n))).collect();
            places.push(come(&crowd, 8, late));
            places.extend((9..14).map(|n| come(&crowd, n, &format!("{}.1.1.1", 10 + n))));
            assert_eq!(alive(&places), [6, 7, 8, 9, 10, 11, 12, 13]);
            let crowd = Crowd::new(Bounds { waiting: 100, ..BOUNDS });
            let mut places: Vec<Place> = (0..10).map(|n| come(&crowd, n, &format!("{}.1.1.1", 10 + n))).collect();
            places.push(come(&crowd, 10, late));
            places.extend((11..16).map(|n| come(&crowd, n, &format!("{}.1.1.1", 10 + n))));
            assert_eq!(alive(&places), [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        }
    }

    #[test]
    fn within_a_wide_network_that_holds_most_the_oldest_or_slowest_goes_and_not_the_highest_address() {
        let bounds = Bounds { all: 20, waiting: 100, ..BOUNDS };
        let text = |n: u64| format!("20.0.{}.1", if n == 19 { 250 } else { n });
        let crowd = Crowd::new(bounds);
        let places: Vec<Place> = (0..25).map(|n| come(&crowd, n, &text(n))).collect();
        assert_eq!(alive(&places), (5..25).collect::<Vec<_>>());
        let crowd = Crowd::new(bounds);
        let (start, later) = (Instant::now(), Instant::now() + Duration::from_secs(10));
        let busy: Vec<Place> = (0..20).map(|n| crowd.enter_busy_at(source(&text(n)), false, start).unwrap()).collect();
        busy.iter().enumerate().for_each(|(n, place)| place.moved((n + 13) % 20 * 1_000));
        let _other = crowd.enter_busy_at(source("9.9.9.9"), false, later).unwrap();
        assert_eq!((alive(&busy).len(), busy[7].gone.is_cancelled()), (19, true));
    }

    #[test]
    fn of_those_that_wait_the_oldest_of_the_same_address_goes() {
        let crowd = Crowd::new(BOUNDS);
        let places: Vec<Place> = (0..9).map(|n| come(&crowd, n, "1.1.1.1")).collect();
        assert_eq!(alive(&places), [6, 7, 8]);
        assert_eq!(crowd.taken(), 3);
        drop(places);
        assert_eq!(crowd.taken(), 0);
        assert!(is_empty(&crowd));
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
        assert!(is_empty(&crowd));
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

    /// Those that come are busy.
    fn work(crowd: &Crowd, count: usize, text: impl Fn(usize) -> String) -> Vec<Place> {
        (0..count).filter_map(|n| crowd.enter_busy(source(&text(n)), false)).collect()
    }

    #[test]
    fn when_all_are_busy_whoever_holds_most_makes_room_for_who_holds_less() {
        let crowd = Crowd::new(BOUNDS);
        let heavy = work(&crowd, 6, |_| "2001:db8:1::1".to_owned());
        let light = work(&crowd, 4, |n| format!("2001:db9:2:{n}::1"));
        assert_eq!((heavy.len(), light.len(), crowd.taken()), (6, 4, 10));
        let others = work(&crowd, 3, |n| format!("{n}.1.1.1"));
        assert_eq!((others.len(), alive(&heavy).len(), alive(&light).len()), (3, 3, 4));
        let again = work(&crowd, 100, |_| "2001:db8:1::1".to_owned());
        assert_eq!((again.len(), alive(&others).len()), (0, 3), "nobody gains by coming again and again");
        crowd.shrink();
        assert_eq!((crowd.taken(), alive(&others).len()), (9, 3));
    }

    #[test]
    fn this_machine_gets_in_also_when_it_holds_most_itself_and_never_takes_more_than_there_is() {
        let crowd = Crowd::new(BOUNDS);
        let enter = || crowd.enter(source("127.0.0.1"), true).inspect(Place::busy);
        let local: Vec<Place> = (0..10).filter_map(|_| enter()).collect();
        let other = work(&crowd, 1, |_| "1.1.1.1".to_owned());
        let more = (0..20).filter_map(|_| enter()).collect::<Vec<Place>>();
        assert_eq!((local.len(), other.len(), more.len()), (10, 1, 20));
        assert_eq!((alive(&local).len() + alive(&more).len(), alive(&other).len(), crowd.taken()), (9, 1, BOUNDS.all));
    }

    #[test]
    fn one_that_has_just_come_keeps_its_place_while_others_come_again_and_again() {
        let crowd = Crowd::new(Bounds { per_address: 10, ..BOUNDS });
        let now = Instant::now() + Duration::from_secs(60);
        let heavy: Vec<Place> = (0..10).map(|_| crowd.enter_busy_at(source("1.1.1.1"), false, now).unwrap()).collect();
        let honest = crowd.enter_at(source("2.2.2.2"), false, now).unwrap();
        let more = (0..100).filter_map(|_| crowd.enter_at(source("1.1.1.1"), false, now)).count();
        assert_eq!((more, alive(&heavy).len(), honest.gone.is_cancelled()), (0, 9, false));
    }

    #[test]
    fn the_slowest_of_whoever_holds_most_makes_room_first() {
        let crowd = Crowd::new(Bounds { per_address: 10, ..BOUNDS });
        let (start, later) = (Instant::now(), Instant::now() + Duration::from_secs(10));
        let enter = |text: &str, at| crowd.enter_busy_at(source(text), false, at).unwrap();
        let mut heavy: Vec<Place> = (0..9).map(|_| enter("1.1.1.1", start)).collect();
        // One that has just begun is not slow.
        heavy.push(enter("1.1.1.1", later));
        heavy.iter().take(9).enumerate().for_each(|(n, place)| place.moved((n + 3) % 9 * 1_000));
        let _others = [enter("2.2.2.2", later), enter("3.2.2.2", later), enter("4.2.2.2", later)];
        assert_eq!(alive(&heavy), [0, 1, 2, 3, 4, 5, 9]);
    }

    #[test]
    fn who_asks_behind_a_proxy_has_a_share_like_others() {
        let crowd = Crowd::new(Bounds { waiting: 10, ..BOUNDS });
        let proxy = source("127.0.0.1");
        let through: Vec<Place> = (0..10).map(|_| crowd.enter(proxy, true).unwrap()).collect();
        let asks = |place: &Place, text: &str| place.busy_for(source(text), false);
        let (mine, others) = through.split_at(7);
        assert_eq!(mine.iter().filter(|place| asks(place, "1.1.1.1")).count(), BOUNDS.per_address);
        assert!(others.iter().all(|place| asks(place, "2.2.2.2")));
        mine[0].idle();
        assert!(asks(&others[0], "1.1.1.1") && mine[0].gone.is_cancelled(), "an idle one makes room");
        let next = crowd.enter(proxy, true).unwrap();
        // The same connection may ask for another after that.
        assert!(asks(&next, "3.3.3.3") && asks(&next, "127.0.0.1") && asks(&next, "3.3.3.3"));
        drop((through, next));
        assert!(is_empty(&crowd));
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
            (0..4).filter_map(|_| crowd.enter(source("127.0.0.1"), true)).inspect(Place::busy).collect();
        assert_eq!((local.len(), crowd.taken()), (4, 10), "this machine takes what there is");
        local[1].idle();
        let other = crowd.enter(source("2.2.2.2"), false).unwrap();
        assert_eq!((alive(&local), alive(&busy).len()), (vec![0, 2, 3], 6), "what does nothing goes before what works");
        local[3].idle();
        let third = come(&crowd, 0, "3.3.3.3");
        assert!(other.gone.is_cancelled() && !third.gone.is_cancelled(), "the silent one goes before the idle one");
        local[1].busy();
        local[1].idle();
        assert!(crowd.lock().idle.numbers.len() == 1, "one that is gone does not come back");
    }
}
