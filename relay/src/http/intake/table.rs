//! Which bodies there is room for, and who gives way to whom. It decides at a moment that it is told, and waits for nothing.
//!
//! Room is shared by wide network, by network in each, and by address in each of those: whoever has all of a share makes room
//! within it. Of those that may go, what comes more slowly than an ordinary line gives goes first; but who holds much already
//! takes nothing in this way, since what is new has not shown yet how it comes, and a crowd of new ones would drive out
//! everybody whose line is slow.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use p2pnet_net::shares::{Group, Groups, Heaviness, Shares};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{limits, source::Source};

/// A body is this old before it can be called slow.
pub const YOUNG: Duration = Duration::from_millis(250);
/// Who holds more than one part in so many of what his bodies share with others takes nothing for coming faster.
const CROWDS_FROM: usize = 4;

/// The bodies under way and those that wait to be read.
#[derive(Default)]
pub struct Table {
    last: u64,
    pub(super) bodies: BTreeMap<u64, Arriving>,
    /// What all bodies take.
    pub(super) all: Taken,
    /// What those take that are marked as slow.
    pub(super) slow: Taken,
}

/// Who takes how many places, and how many bytes.
#[derive(Default)]
pub struct Taken {
    pub(super) places: Amounts,
    pub(super) bytes: Amounts,
}

/// How much is taken of something, by whom and in all.
#[derive(Default)]
pub struct Amounts {
    in_all: usize,
    shares: Shares,
}

/// A body on its way, or one that waits to be read.
pub struct Arriving {
    source: Source,
    /// Whether it takes one of the places; small ones that were here at once take none, however long they wait to be read.
    has_place: bool,
    /// From when on its speed counts: without the time in which it waited for room.
    pub(super) since: Instant,
    /// Since when it waits for room, if it does.
    waits_since: Option<Instant>,
    /// Those that there was room for.
    pub(super) bytes: usize,
    /// Those that came, with what is in hand.
    came: usize,
    /// How old it is when it no longer keeps an ordinary line's pace, if nothing more comes.
    keeps_pace_until: Duration,
    /// Whether it came more slowly than that when it was last looked at.
    is_slow: bool,
    /// Nothing more comes.
    pub(super) whole: bool,
    gone: Gone,
}

/// Tells a body that it gave way, and why.
#[derive(Clone, Default)]
pub struct Gone {
    token: CancellationToken,
    came_slowly: Arc<AtomicBool>,
}

impl Gone {
    /// Resolves when it gives way: whether that is since it came slowly.
    pub async fn came_slowly(&self) -> bool {
        self.token.cancelled().await;
        self.came_slowly.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// What is shared: bodies, or their bytes.
#[derive(Clone, Copy)]
pub enum Shared {
    /// Places for bodies.
    Bodies,
    /// Room for their bytes.
    Bytes,
}

/// Who wants room.
#[derive(Clone, Copy)]
pub struct Comer {
    /// Where it comes from.
    pub source: Source,
    /// The body that grows; `None` for one that is to begin.
    pub body: Option<u64>,
    /// How much more it wants.
    pub wants: usize,
    /// Whether it has waited until those that were young then are old.
    pub has_waited: bool,
    /// How much there is too little.
    pub lacks: usize,
}

/// Whose bodies, seen from one of them.
#[derive(Clone, Copy)]
pub enum Scope {
    /// Those of its address.
    Address,
    /// Those of its network.
    Network,
    /// Those of its wide network.
    Wide,
    /// Everybody's.
    All,
}

impl Scope {
    const EACH: [Self; 4] = [Self::Address, Self::Network, Self::Wide, Self::All];

    /// Those who belong to it; `None` is everybody.
    fn group(self, groups: Groups) -> Option<Group> {
        match self {
            Self::Address => Some(groups.address()),
            Self::Network => Some(groups.network()),
            Self::Wide => Some(groups.wide()),
            Self::All => None,
        }
    }

    /// What the bodies of one party in it share with those of others in it.
    fn party(self) -> Option<Self> {
        match self {
            Self::Address => None,
            Self::Network => Some(Self::Address),
            Self::Wide => Some(Self::Network),
            Self::All => Some(Self::Wide),
        }
    }

    /// How much there may be of it.
    fn room(self, of: Shared) -> usize {
        match (of, self) {
            (Shared::Bodies, Self::Address) => limits::BODIES_PER_ADDRESS,
            (Shared::Bodies, Self::Network) => limits::BODIES_PER_NETWORK,
            (Shared::Bodies, Self::Wide) => limits::BODIES_PER_WIDE_NETWORK,
            (Shared::Bodies, Self::All) => limits::BODIES,
            (Shared::Bytes, Self::Address) => limits::BODY_BYTES_PER_ADDRESS,
            (Shared::Bytes, Self::Network) => limits::BODY_BYTES_PER_NETWORK,
            (Shared::Bytes, Self::Wide) => limits::BODY_BYTES_PER_WIDE_NETWORK,
            (Shared::Bytes, Self::All) => limits::BODY_BYTES,
        }
    }
}

impl Table {
    /// A new body, if there is a place for it or one that it can have. `waited`: how long it has stood there for that.
    pub fn enter(&mut self, source: Source, waited: Duration, now: Instant) -> Option<(u64, Gone)> {
        if let Some((scope, lacks)) = self.lacks(Shared::Bodies, source, 0, 1) {
            let comer = Comer { source, body: None, wants: 1, has_waited: waited >= YOUNG, lacks };
            let (_, body) = self.take_slowest(Shared::Bodies, scope, now, comer)?;
            body.give_way();
        }
        Some(self.begin(Arriving::new(source, now)))
    }

    /// A small one that was here at once: it needs no place.
    pub fn enter_whole(&mut self, source: Source, now: Instant) -> (u64, Gone) {
        self.begin(Arriving { has_place: false, whole: true, ..Arriving::new(source, now) })
    }

    /// Counts a body as `bytes` long, if there is room for it, or as much can be made.
    pub fn grow(&mut self, number: u64, bytes: usize, now: Instant) -> bool {
        // One that gave way meanwhile is told so by its token.
        let Some(body) = self.bodies.get_mut(&number) else { return false };
        body.note_coming(bytes, now);
        let (source, before, waits_since) = (body.source, body.bytes, body.waits_since);
        let has_waited = waits_since.is_some_and(|since| now.saturating_duration_since(since) >= YOUNG);
        let mut taken = Vec::new();
        while let Some((scope, lacks)) = self.lacks(Shared::Bytes, source, before, bytes) {
            let comer = Comer { source, body: Some(number), wants: bytes.saturating_sub(before), has_waited, lacks };
            if let Some(slowest) = self.take_slowest(Shared::Bytes, scope, now, comer) {
                taken.push(slowest);
                continue;
            }
            // Nobody goes for nothing.
            taken.into_iter().for_each(|(number, body)| self.insert(number, body));
            if let Some(body) = self.bodies.get_mut(&number) {
                body.waits_since.get_or_insert(now);
            }
            return false;
        }
        taken.iter().for_each(|(_, body)| body.give_way());
        if let Some(mut body) = self.remove(number) {
            body.since = body.since_without_waiting(now);
            body.waits_since = None;
            body.bytes = bytes;
            self.insert(number, body);
        }
        true
    }

    /// Whether a body that finds no room goes on nevertheless, since it has brought only a little more than there was room for.
    pub fn takes_in_hand(&mut self, number: u64) -> bool {
        let Some(body) = self.bodies.get_mut(&number) else { return false };
        let is_little = body.came.saturating_sub(body.bytes) <= limits::BODY_BYTES_IN_HAND;
        if is_little {
            body.waits_since = None;
        }
        is_little
    }

    /// All of a body is here: it gives way to nobody. `false` when it has done so already.
    pub fn is_whole(&mut self, number: u64) -> bool {
        self.bodies.get_mut(&number).map(|body| body.whole = true).is_some()
    }

    /// Forgets a body.
    pub fn remove(&mut self, number: u64) -> Option<Arriving> {
        let body = self.bodies.remove(&number)?;
        self.all.remove(&body);
        if body.is_slow {
            self.slow.remove(&body);
        }
        Some(body)
    }

    fn begin(&mut self, body: Arriving) -> (u64, Gone) {
        self.last += 1;
        let gone = body.gone.clone();
        self.insert(self.last, body);
        (self.last, gone)
    }

    fn insert(&mut self, number: u64, body: Arriving) {
        self.all.add(&body);
        if body.is_slow {
            self.slow.add(&body);
        }
        self.bodies.insert(number, body);
    }

    /// Of whose share there is too little left for one of `source` to have `wants` instead of `has`, the narrowest, and how much.
    fn lacks(&self, of: Shared, source: Source, has: usize, wants: usize) -> Option<(Scope, usize)> {
        let groups = source.groups();
        Scope::EACH.into_iter().find_map(|scope| {
            let others = self.all.of(of).held(scope.group(groups)).saturating_sub(has);
            let lacks = (others + wants).saturating_sub(scope.room(of));
            (lacks > 0).then_some((scope, lacks))
        })
    }

    /// The bodies that share something with one of `groups`.
    fn within(&self, scope: Scope, groups: Groups) -> impl Iterator<Item = (u64, &Arriving)> {
        let group = scope.group(groups);
        let bodies = self.bodies.iter().filter(move |(_, body)| scope.group(body.source.groups()) == group);
        bodies.map(|(number, body)| (*number, body))
    }

    /// Marks those that are slow now, and no others.
    fn mark_slow(&mut self, now: Instant) {
        for body in self.bodies.values_mut() {
            let is_slow = body.comes_slowly(now);
            match (body.is_slow, is_slow) {
                (false, true) => self.slow.add(body),
                (true, false) => self.slow.remove(body),
                (false, false) | (true, true) => {}
            }
            body.is_slow = is_slow;
        }
    }

    /// Takes out the body that is to make room for the comer, of those that are not all here yet; who is to go is to be told so.
    /// `None` when none can go now, when it would be the comer itself, and when all that can go are too little.
    pub(super) fn take_slowest(
        &mut self,
        of: Shared,
        scope: Scope,
        now: Instant,
        comer: Comer,
    ) -> Option<(u64, Arriving)> {
        self.mark_slow(now);
        let comer_is_slow = comer.body.and_then(|number| self.bodies.get(&number)).is_some_and(|body| body.is_slow);
        let groups = comer.source.groups();
        // What it wants counts for whether it takes most.
        self.all.of_mut(of).add(groups, comer.wants);
        if comer_is_slow {
            self.slow.of_mut(of).add(groups, comer.wants);
        }
        let number = self.slowest(of, scope, now, comer, comer_is_slow);
        self.all.of_mut(of).remove(groups, comer.wants);
        if comer_is_slow {
            self.slow.of_mut(of).remove(groups, comer.wants);
        }
        let number = number?;
        Some((number, self.remove(number)?))
    }

    /// Whether one who wants room holds much of what is shared already.
    fn crowds(&self, of: Shared, scope: Scope, groups: Groups) -> bool {
        let party = scope.party().and_then(|party| party.group(groups));
        party.is_some_and(|party| self.all.of(of).held(Some(party)) > scope.room(of) / CROWDS_FROM)
    }

    /// Where some come slowly, the slowest of whoever takes most by such bodies, which give way to what comes fast and is not
    /// of a crowd; else the slowest of whoever takes most, where that is no less than what the comer takes.
    fn slowest(&self, of: Shared, scope: Scope, now: Instant, comer: Comer, comer_is_slow: bool) -> Option<u64> {
        let is_comer = |number| Some(number) == comer.body;
        let may_go = |(number, body): &(u64, &Arriving)| is_comer(*number) || now.duration_since(body.since) >= YOUNG;
        let by_pace = comer_is_slow || !self.crowds(of, scope, comer.source.groups());
        let arriving = || {
            let arriving = self.within(scope, comer.source.groups()).filter(|(_, body)| !body.whole);
            arriving.filter(|(number, body)| is_comer(*number) || body.takes(of) > 0)
        };
        let taken = if comer_is_slow { &self.slow } else { &self.all };
        let own = taken.of(of).heaviness(comer.source);
        let comer_is_behind = arriving().find(|(number, _)| is_comer(*number)).map(|(_, body)| body.behind(now));
        // Looked at first, since whoever waits looks again and again: what can make room at all.
        let gains = arriving().filter(|one| !is_comer(one.0) && may_go(one)).filter(|(_, body)| {
            if by_pace && body.is_slow != comer_is_slow {
                return body.is_slow;
            }
            let heaviness = taken.of(of).heaviness(body.source);
            heaviness > own || heaviness == own && Some(body.behind(now)) >= comer_is_behind
        });
        if gains.map(|(_, body)| body.takes(of)).sum::<usize>() < comer.lacks {
            return None;
        }
        let slow_go_first = by_pace && arriving().any(|(_, body)| body.is_slow);
        let taken = if slow_go_first { &self.slow } else { &self.all };
        let candidates = || arriving().filter(|(_, body)| body.is_slow || !slow_go_first);
        // Those that are young will be old soon, and others do not go in their place; but new ones may come for ever.
        let counting = candidates().filter(|one| may_go(one) || !comer.has_waited);
        let most = counting.map(|(_, body)| taken.of(of).heaviness(body.source)).max()?;
        if most < own && slow_go_first == comer_is_slow {
            return None;
        }
        let heaviest = candidates().filter(|one| may_go(one) && taken.of(of).heaviness(one.1.source) == most);
        let (number, _) = heaviest.max_by_key(|(_, body)| body.behind(now))?;
        (!is_comer(number)).then_some(number)
    }
}

impl Taken {
    fn of(&self, of: Shared) -> &Amounts {
        match of {
            Shared::Bodies => &self.places,
            Shared::Bytes => &self.bytes,
        }
    }

    fn of_mut(&mut self, of: Shared) -> &mut Amounts {
        match of {
            Shared::Bodies => &mut self.places,
            Shared::Bytes => &mut self.bytes,
        }
    }

    fn add(&mut self, body: &Arriving) {
        self.places.add(body.source.groups(), body.takes(Shared::Bodies));
        self.bytes.add(body.source.groups(), body.takes(Shared::Bytes));
    }

    fn remove(&mut self, body: &Arriving) {
        self.places.remove(body.source.groups(), body.takes(Shared::Bodies));
        self.bytes.remove(body.source.groups(), body.takes(Shared::Bytes));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        [&self.places, &self.bytes].into_iter().all(|amounts| amounts.in_all == 0 && amounts.shares.is_empty())
    }
}

impl Amounts {
    fn add(&mut self, groups: Groups, many: usize) {
        self.in_all += many;
        self.shares.add_many(groups, many);
    }

    fn remove(&mut self, groups: Groups, many: usize) {
        self.in_all = self.in_all.saturating_sub(many);
        self.shares.remove_many(groups, many);
    }

    /// How much a group holds, or all do.
    fn held(&self, group: Option<Group>) -> usize {
        group.map_or(self.in_all, |group| self.shares.of(group))
    }

    fn heaviness(&self, source: Source) -> Heaviness {
        self.shares.heaviness(source.groups())
    }
}

impl Arriving {
    fn new(source: Source, since: Instant) -> Self {
        Self {
            source,
            has_place: true,
            since,
            waits_since: None,
            bytes: 0,
            came: 0,
            keeps_pace_until: limits::ORDINARY_BODY_SPEED_OVER,
            is_slow: false,
            whole: false,
            gone: Gone::default(),
        }
    }

    /// Notes that so many bytes of it came. Each is good for the time that an ordinary line takes for it; but none is for long,
    /// nor needs a slow beginning to be made up for.
    fn note_coming(&mut self, came: usize, now: Instant) {
        let (age, over) = (self.age(now), limits::ORDINARY_BODY_SPEED_OVER);
        let good_for = time_at(limits::ORDINARY_BODY_SPEED, came.saturating_sub(self.came));
        self.keeps_pace_until = (self.keeps_pace_until.max(age.saturating_sub(over)) + good_for).min(age + over);
        self.came = came;
    }

    /// Whether it comes more slowly than an ordinary line gives.
    fn comes_slowly(&self, now: Instant) -> bool {
        !self.whole && self.age(now) > self.keeps_pace_until
    }

    pub(super) fn give_way(&self) {
        self.gone.came_slowly.store(self.is_slow, Ordering::Release);
        self.gone.token.cancel();
    }

    /// How long it has been on its way, but for waiting.
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since_without_waiting(now))
    }

    /// From when on its speed would count if it had just waited for the last time.
    fn since_without_waiting(&self, now: Instant) -> Instant {
        self.since + self.waits_since.map_or(Duration::ZERO, |waits_since| now.saturating_duration_since(waits_since))
    }

    fn takes(&self, of: Shared) -> usize {
        match of {
            Shared::Bodies => usize::from(self.has_place),
            Shared::Bytes => self.bytes,
        }
    }

    /// By how many milliseconds it is behind the least speed; negative while it is faster.
    fn behind(&self, now: Instant) -> i64 {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        millis(self.age(now)) - millis(due(self.bytes))
    }
}

/// How long so many bytes take at the least speed.
pub fn due(bytes: usize) -> Duration {
    time_at(limits::LEAST_BODY_SPEED, bytes)
}

/// How long so many bytes take at a speed in bytes a second.
fn time_at(speed: usize, bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / speed as f64)
}
