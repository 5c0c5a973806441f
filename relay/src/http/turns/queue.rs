//! Who waits for a turn and who has one. However many wait, each question costs as much as finding one of them: wide networks,
//! networks and addresses that may begin stand in lines, sorted by when they come, and who has his share stands in none. Whoever
//! comes first in a line does so until he has begun: what is lighter does not pass him for ever.

use std::{
    array,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use p2pnet_net::shares::{Group, Groups, Shares};
use tokio::sync::oneshot;

use super::{
    super::{limits, source::Source},
    Lane,
    spent::{Clock, Spent, Time},
};

/// How wide those are of whom one has a turn; the widest take turns first.
const WIDTHS: usize = 3;
/// How many quarters of all places and bytes one may have: a wide network, a network, an address.
const QUARTERS: [usize; WIDTHS] = [3, 3, 2];

/// Where a turn belongs.
#[derive(Clone, Copy)]
pub(super) struct Path {
    groups: Groups,
    /// Whether what it is for is small: the wide network does not count then, but the network in its place.
    pub is_small: bool,
}

impl Path {
    /// That of work for `source`.
    pub(super) fn of(source: Source, is_small: bool) -> Self {
        Self { groups: source.groups(), is_small }
    }

    /// Its wide network, its network and its address.
    fn parties(self) -> [IpAddr; WIDTHS] {
        let [wide, network, address] = self.groups.each().map(Group::first);
        [if self.is_small { network } else { wide }, network, address]
    }
}

/// How much goes on.
#[derive(Clone, Copy, Default)]
struct Held {
    places: usize,
    bytes: usize,
}

impl Held {
    /// Whether so many bytes more are within so many quarters of the lane.
    fn fits(self, bytes: usize, lane: Lane, quarters: usize) -> bool {
        self.places < lane.places * quarters / 4
            && (self.places == 0 || self.bytes + bytes <= lane.bytes / 4 * quarters)
    }

    fn add(&mut self, bytes: usize) {
        self.places += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.places -= 1;
        self.bytes -= bytes;
    }
}

/// One that may begin in a line. The lowest comes next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    /// By the time that it took lately and what this is expected to take.
    rank: u64,
    /// Of those with as much, who waits longest since it was served.
    place: u64,
    whose: IpAddr,
    work: Work,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    bytes: usize,
    /// What it is expected to take.
    time: Time,
}

/// A wide network, a network in one, or an address in one.
#[derive(Default)]
struct Party {
    held: Held,
    /// How many of it wait.
    waiting: usize,
    place: u64,
    /// As what it stands in its line, if it may begin.
    next: Option<Next>,
    /// Those in it that may begin.
    line: BTreeSet<Next>,
    /// What waits of an address, the first one first.
    own: BTreeMap<u64, Waiter>,
}

/// One that waits for its turn. It is told by `come`, or by the end of that where it waits no more.
pub(super) struct Waiter {
    path: Path,
    work: Work,
    come: oneshot::Sender<()>,
}

struct Running {
    path: Path,
    work: Work,
    since: Instant,
}

/// One lane's turns.
pub(super) struct Queue {
    lane: Lane,
    /// Whether who took least time lately comes first, or who was served least lately.
    goes_by_time: bool,
    clock: Clock,
    held: Held,
    running: BTreeMap<u64, Running>,
    /// How many wait: of whom, and in all.
    waiting: Shares,
    all_waiting: usize,
    /// Wide networks, networks and addresses of which one waits or goes on,
    parties: [BTreeMap<IpAddr, Party>; WIDTHS],
    /// and what they took.
    spent: [Spent; WIDTHS],
    /// Wide networks that may begin.
    line: BTreeSet<Next>,
    last_place: u64,
    #[cfg(test)]
    pub looked_at: usize,
}

impl Queue {
    /// One in which nobody waits.
    pub(super) fn new(lane: Lane, goes_by_time: bool) -> Self {
        Self {
            lane,
            goes_by_time,
            clock: Clock::new(),
            held: Held::default(),
            running: BTreeMap::new(),
            waiting: Shares::default(),
            all_waiting: 0,
            parties: array::from_fn(|_| BTreeMap::new()),
            spent: array::from_fn(|_| Spent::default()),
            line: BTreeSet::new(),
            last_place: 0,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// One more waits, and begins if it can. Where too many wait, `come` ends, or that of another who has more of them.
    pub(super) fn join(&mut self, number: u64, path: Path, bytes: usize, come: oneshot::Sender<()>, now: Instant) {
        if !self.makes_room(path, now) {
            return;
        }
        let micros = u64::try_from(bytes / limits::EXPECTED_BYTES_A_MICROSECOND).unwrap_or(u64::MAX);
        let expected = Duration::from_micros(micros).min(limits::LONGEST_EXPECTED);
        let work = Work { bytes, time: self.time(expected, now) };
        for (parties, whose) in self.parties.iter_mut().zip(path.parties()) {
            let party = parties.entry(whose).or_default();
            if party.waiting == 0 {
                self.last_place += 1;
                party.place = self.last_place;
            }
            party.waiting += 1;
        }
        let [_, _, addresses] = &mut self.parties;
        let [_, _, address] = path.parties();
        addresses.entry(address).or_default().own.insert(number, Waiter { path, work, come });
        self.waiting.add(path.groups);
        self.all_waiting += 1;
        self.line_up(path);
        self.go_on(now);
    }

    /// Ends a turn, or waiting for it; what it took counts so many times for its address, and once for those around.
    pub(super) fn end(&mut self, number: u64, path: Path, counts: u32, now: Instant) {
        match self.running.remove(&number) {
            Some(Running { path, work, since }) => {
                self.held.remove(work.bytes);
                let took = now.saturating_duration_since(since);
                let times = [1, 1, counts].map(|counts| self.time(took.saturating_mul(counts), now));
                let parties = self.parties.iter_mut().zip(&mut self.spent).zip(path.parties()).zip(times);
                for (((parties, spent), whose), time) in parties {
                    parties.entry(whose).or_default().held.remove(work.bytes);
                    spent.correct(whose, work.time, time);
                }
                self.line_up(path);
            }
            None => drop(self.take_out(Some(number), path)),
        }
        self.go_on(now);
    }

    /// Whether one more may wait: within the share of its address, and where as many wait as may around it, or in all, for one of
    /// somebody who has more there.
    fn makes_room(&mut self, path: Path, now: Instant) -> bool {
        let bounds = limits::TURN_WAITERS;
        let most = [bounds.per_wide_network, bounds.per_network, bounds.per_address];
        let is_this_machine = path.groups.address().first().is_loopback();
        let full =
            path.groups.each().into_iter().zip(most).rev().find(|(group, most)| self.waiting.of(*group) >= *most);
        let gives_way = match full.filter(|_| !is_this_machine) {
            Some((group, _)) if group == path.groups.address() => return false,
            Some((group, _)) => self.waiting.gives_way_within(group, path.groups),
            None if self.all_waiting < bounds.all => return true,
            None => self.waiting.gives_way_to(Some(path.groups)),
        };
        let Some(gives_way) = gives_way else { return false };
        let [_, _, addresses] = &self.parties;
        // Its newest: the others have waited longer.
        let newest = addresses.get(&gives_way.address().first()).and_then(|address| address.own.last_key_value());
        let Some((number, path)) = newest.map(|(number, waiter)| (*number, waiter.path)) else { return false };
        drop(self.take_out(Some(number), path));
        self.go_on(now);
        true
    }

    /// Lets those begin for whom there is room.
    fn go_on(&mut self, now: Instant) {
        while let Some(next) = self.line.first().copied().filter(|_| self.held.places < self.lane.places) {
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            if self.held.places > 0 && self.held.bytes + next.work.bytes > self.lane.bytes {
                return;
            }
            if self.begin(next.whose, now).is_none() {
                return;
            }
        }
    }

    /// Begins what comes first in a wide network; `None` if nothing does.
    fn begin(&mut self, wide: IpAddr, now: Instant) -> Option<()> {
        let [wides, networks, addresses] = &self.parties;
        let network = wides.get(&wide)?.line.first()?.whose;
        let address = networks.get(&network)?.line.first()?.whose;
        let path = addresses.get(&address)?.own.values().next()?.path;
        let (number, Waiter { path, work, come }) = self.take_out(None, path)?;
        self.held.add(work.bytes);
        for ((parties, spent), whose) in self.parties.iter_mut().zip(&mut self.spent).zip(path.parties()) {
            let party = parties.entry(whose).or_default();
            party.held.add(work.bytes);
            self.last_place += 1;
            party.place = self.last_place;
            spent.add(whose, work.time);
        }
        self.running.insert(number, Running { path, work, since: now });
        self.line_up(path);
        // One that no longer listens gives its turn back as it is dropped.
        let _ = come.send(());
        Some(())
    }

    /// Takes one out that waits: that with a number, or the first of its address.
    fn take_out(&mut self, number: Option<u64>, path: Path) -> Option<(u64, Waiter)> {
        let [_, _, addresses] = &mut self.parties;
        let [_, _, address] = path.parties();
        let own = &mut addresses.get_mut(&address)?.own;
        let taken = match number {
            Some(number) => own.remove_entry(&number),
            None => own.pop_first(),
        }?;
        for (parties, whose) in self.parties.iter_mut().zip(path.parties()) {
            parties.entry(whose).or_default().waiting -= 1;
        }
        self.waiting.remove(path.groups);
        self.all_waiting -= 1;
        self.line_up(path);
        Some(taken)
    }

    /// Puts an address, its network and its wide network where they stand in their lines now.
    fn line_up(&mut self, path: Path) {
        for width in (0..WIDTHS).rev() {
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            let whose = path.parties()[width];
            let Some(party) = self.parties[width].get_mut(&whose) else { continue };
            let first = party.line.first().map(|next| next.work);
            let first = first.or_else(|| party.own.values().next().map(|waiter| waiter.work));
            let next = first.filter(|work| party.held.fits(work.bytes, self.lane, QUARTERS[width])).map(|work| Next {
                rank: self.spent[width].of(whose).plus(work.time).rank(),
                place: party.place,
                whose,
                work,
            });
            let before = std::mem::replace(&mut party.next, next);
            if party.waiting == 0 && party.held.places == 0 {
                self.parties[width].remove(&whose);
            }
            let line = match width.checked_sub(1) {
                Some(wider) => &mut self.parties[wider].entry(path.parties()[wider]).or_default().line,
                None => &mut self.line,
            };
            before.map(|before| line.remove(&before));
            line.extend(next);
        }
    }

    /// Time that counts in this lane.
    fn time(&self, time: Duration, now: Instant) -> Time {
        if self.goes_by_time { self.clock.time(time, now) } else { Time::default() }
    }
}

#[cfg(test)]
impl Queue {
    /// How many places and bytes are taken.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.held.places, self.held.bytes)
    }

    /// Whether nobody waits and nothing of anybody is left.
    pub(super) fn is_empty(&self) -> bool {
        self.all_waiting == 0
            && self.waiting.is_empty()
            && self.line.is_empty()
            && self.parties.iter().flat_map(BTreeMap::values).all(|party| party.waiting == 0 && party.held.places > 0)
    }
}
