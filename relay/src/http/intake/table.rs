//! Which bodies there is room for, and who gives way to whom. It decides at a moment that it is told, and waits for nothing.
//!
//! Room is shared by wide network, by network in each, and by address in each of those: whoever has all of a share makes room
//! within it. Of those that may go, what comes more slowly than an ordinary line gives goes first; but nobody takes a place from
//! who holds less, nor of an equal while somebody holds more, since what is new has not shown yet how it comes, and a crowd of new ones would drive out everybody whose
//! line is slow.
//!
//! Those that wait for room are looked through at each tick, and a bounded number of them takes from others then: each time costs
//! a look at all bodies that may go.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{self, AtomicBool},
    },
    time::Duration,
};

use p2pnet_net::shares::{Group, Groups, Heaviness, Shares};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    super::{limits, source::Source},
    SMALL,
};

/// A body is this old before it can be called slow.
pub(super) const YOUNG: Duration = Duration::from_millis(250);
/// How often those that wait for room are looked through.
pub(super) const TICK: Duration = Duration::from_millis(25);
/// So many of those that wait for a place, and of those that wait for room for their bytes, take from others in a tick.
const TAKE_IN_A_TICK: usize = 4;
/// Once so many bodies were looked at in a tick, no more of those that wait take from others in it: everybody waits meanwhile.
const LOOKED_AT_IN_A_TICK: usize = 20_000;

/// The bodies under way and those that wait to be read.
#[derive(Default)]
pub(super) struct Table {
    last: u64,
    pub(super) bodies: BTreeMap<u64, Arriving>,
    /// Those of them that are not all here yet,
    coming: BTreeSet<u64>,
    /// and those larger ones that wait for their turn: they may have to give way, too.
    whole: BTreeSet<u64>,
    /// What all bodies take.
    pub(super) all: Taken,
    /// What those take that are marked as slow.
    pub(super) slow: Taken,
    /// When they were marked.
    marked_at: Option<Instant>,
    /// Those that wait for room, by the numbers of their bodies.
    waiting: BTreeMap<u64, Waiter>,
    /// Those of them that have no place.
    pub(super) without_place: Amounts,
    /// Ticks so far.
    ticks: u64,
    /// Bodies that were looked at in this one, for those that may go.
    looked_at: usize,
    /// Whether somebody looks at each tick.
    is_looked_through: bool,
}

/// One that waits for room.
struct Waiter {
    source: Source,
    /// Its body where that waits for a place; what waits for room for its bytes is among the others.
    outside: Option<Arriving>,
    /// Whether it counts for those without a place.
    counts: bool,
    since: Instant,
    /// The tick in which it came, or last tried to take from others.
    tried: u64,
}

/// What became of one that wants room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it.
    Has,
    /// It waits for it from now on.
    Waits,
    /// As many wait as may.
    Refused,
}

/// Who takes how many places, and how many bytes.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) places: Amounts,
    pub(super) bytes: Amounts,
}

/// How much is taken of something, by whom and in all.
#[derive(Default)]
pub(super) struct Amounts {
    in_all: usize,
    shares: Shares,
}

/// A body on its way, or one that waits to be read.
pub(super) struct Arriving {
    source: Source,
    /// Whether it takes one of the places; small ones that were here at once take none, and what is whole has given its own back.
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
    pub(super) stage: Stage,
    gone: Gone,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// More of it comes.
    Comes,
    /// It is here, and waits for its turn to be read: it has given its place back, and its bytes count.
    Whole,
    /// It is being read, and gives way to nobody.
    IsRead,
}

/// Tells a body that it gave way, and why.
#[derive(Clone, Default)]
pub(super) struct Gone {
    token: CancellationToken,
    came_slowly: Arc<AtomicBool>,
    has_room: Arc<Notify>,
}

impl Gone {
    /// Resolves when it gives way: whether that is since it came slowly.
    pub(super) async fn came_slowly(&self) -> bool {
        self.token.cancelled().await;
        self.came_slowly.load(atomic::Ordering::Acquire)
    }

    /// Resolves once after one that waited for room got it.
    pub(super) async fn has_room(&self) {
        self.has_room.notified().await;
    }

    #[cfg(test)]
    pub(super) fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// What is shared: bodies, or their bytes.
#[derive(Clone, Copy)]
pub(super) enum Shared {
    /// Places for bodies.
    Bodies,
    /// Room for their bytes.
    Bytes,
}

/// Who wants room.
#[derive(Clone, Copy)]
pub(super) struct Comer {
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
pub(super) enum Scope {
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
    /// A new body: its number, and whether it has a place. Who comes while others wait waits as they do: whoever holds least
    /// comes first.
    pub(super) fn arrive(&mut self, source: Source, now: Instant) -> (u64, Gone, Answer) {
        let body = Arriving::new(source, now);
        let gone = body.gone.clone();
        self.last += 1;
        if self.waiting.is_empty() && self.lacks(Shared::Bodies, source, 0, 1).is_none() {
            self.insert(self.last, body);
            return (self.last, gone, Answer::Has);
        }
        let answer = self.wait(self.last, source, Some(body), true, now);
        (self.last, gone, answer)
    }

    /// Counts a body as `bytes` long if there is room for it. What is not whole yet goes on without room for a little, so that
    /// it shows whether it comes fast.
    pub(super) fn lengthen(&mut self, number: u64, bytes: usize, is_whole: bool, now: Instant) -> Answer {
        // One that gave way meanwhile is told so by its token.
        let Some(body) = self.bodies.get(&number) else { return Answer::Waits };
        let (source, before, has_place) = (body.source, body.bytes, body.has_place);
        if self.lacks(Shared::Bytes, source, before, bytes).is_none() {
            self.grow(number, bytes, now);
            return Answer::Has;
        }
        self.note_coming(number, bytes, now);
        if !is_whole && self.takes_in_hand(number) {
            return Answer::Has;
        }
        if let Some(body) = self.bodies.get_mut(&number) {
            body.waits_since.get_or_insert(now);
        }
        self.wait(number, source, None, !has_place, now)
    }

    /// Whether a body waits for room.
    pub(super) fn waits(&self, number: u64) -> bool {
        self.waiting.contains_key(&number)
    }

    /// Whether somebody is to begin to look at each tick.
    pub(super) fn is_to_be_looked_through(&mut self) -> bool {
        !self.waiting.is_empty() && !std::mem::replace(&mut self.is_looked_through, true)
    }

    /// Gives those room that wait for it, as far as there is some: first what is free, to whoever holds least first; then a few
    /// take from others, who have tried longest ago first. `false` when nobody waits any more.
    pub(super) fn look_through(&mut self, now: Instant) -> bool {
        self.ticks += 1;
        self.looked_at = 0;
        for of in [Shared::Bodies, Shared::Bytes] {
            let wants =
                |waiter: &Waiter| matches!((of, &waiter.outside), (Shared::Bodies, Some(_)) | (Shared::Bytes, None));
            let of_it = self.waiting.iter().filter(|(_, waiter)| wants(waiter));
            let mut order: Vec<_> = of_it
                .map(|(number, waiter)| (waiter.tried, self.all.of(of).heaviness(waiter.source), *number))
                .collect();
            order.sort_unstable_by_key(|(_, heaviness, number)| (*heaviness, *number));
            order.retain(|(_, _, number)| !self.gets(*number, false, now));
            order.sort_unstable();
            for (_, _, number) in order.into_iter().take(TAKE_IN_A_TICK) {
                if self.looked_at >= LOOKED_AT_IN_A_TICK {
                    break;
                }
                self.gets(number, true, now);
            }
        }
        self.is_looked_through = !self.waiting.is_empty();
        self.is_looked_through
    }

    /// Whether one that waits gets room, from others where it may take some of theirs.
    fn gets(&mut self, number: u64, takes: bool, now: Instant) -> bool {
        let Some(waiter) = self.waiting.get_mut(&number) else { return false };
        if takes {
            waiter.tried = self.ticks;
        }
        let (source, since) = (waiter.source, waiter.since);
        let has_room = if waiter.outside.is_some() {
            let waited = now.saturating_duration_since(since);
            if takes {
                self.make_place(source, waited, now)
            } else {
                self.lacks(Shared::Bodies, source, 0, 1).is_none()
            }
        } else {
            let body = self.bodies.get(&number).map(|body| (body.bytes, body.came));
            body.is_some_and(|(before, bytes)| {
                (takes || self.lacks(Shared::Bytes, source, before, bytes).is_none()) && self.grow(number, bytes, now)
            })
        };
        if has_room && let Some(waiter) = self.leave(number) {
            if let Some(body) = waiter.outside {
                self.insert(number, Arriving { since: now, ..body });
            }
            self.bodies.get(&number).inspect(|body| body.gone.has_room.notify_one());
        }
        has_room
    }

    /// One waits from now on, if so many of its address, its networks and all do not yet; where all that may wait do, one of
    /// whoever waits with most goes for one of who does with less.
    fn wait(&mut self, number: u64, source: Source, outside: Option<Arriving>, counts: bool, now: Instant) -> Answer {
        if counts {
            let groups = source.groups();
            let is_full = |scope: &Scope| self.without_place.held(scope.group(groups)) >= scope.room(Shared::Bodies);
            match Scope::EACH.into_iter().find(is_full) {
                None => {}
                Some(Scope::Address) => return Answer::Refused,
                Some(scope @ (Scope::Network | Scope::Wide | Scope::All)) => {
                    let shares = &self.without_place.shares;
                    let most = match scope.group(groups) {
                        Some(group) => shares.gives_way_within(group, groups),
                        None => shares.gives_way_to(Some(groups)),
                    };
                    let Some(most) = most else { return Answer::Refused };
                    let theirs = |waiter: &Waiter| waiter.counts && waiter.source.groups().address() == most.address();
                    let newest =
                        self.waiting.iter().rev().find(|(_, waiter)| theirs(waiter)).map(|(number, _)| *number);
                    newest.and_then(|newest| self.remove(newest)).inspect(Arriving::give_way);
                }
            }
            self.without_place.add(groups, 1);
        }
        self.waiting.insert(number, Waiter { source, outside, counts, since: now, tried: self.ticks });
        Answer::Waits
    }

    /// One waits no longer.
    fn leave(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiting.remove(&number)?;
        if waiter.counts {
            self.without_place.remove(waiter.source.groups(), 1);
        }
        Some(waiter)
    }

    /// A new body, if there is a place for it or one that it can have. `waited`: how long it has stood there for that.
    #[cfg(test)]
    pub(super) fn enter(&mut self, source: Source, waited: Duration, now: Instant) -> Option<(u64, Gone)> {
        self.make_place(source, waited, now).then(|| self.begin(Arriving::new(source, now)))
    }

    /// Whether there is a place for a body of `source`, after one gave way if need be.
    fn make_place(&mut self, source: Source, waited: Duration, now: Instant) -> bool {
        let Some((scope, lacks)) = self.lacks(Shared::Bodies, source, 0, 1) else { return true };
        let comer = Comer { source, body: None, wants: 1, has_waited: waited >= YOUNG, lacks };
        let Some((number, slowest)) = self.take_slowest(Shared::Bodies, scope, now, comer) else { return false };
        self.leave(number);
        slowest.give_way();
        true
    }

    /// A small one that was here at once: it needs no place.
    pub(super) fn enter_whole(&mut self, source: Source, now: Instant) -> (u64, Gone) {
        self.begin(Arriving { has_place: false, stage: Stage::Whole, ..Arriving::new(source, now) })
    }

    /// Counts a body as `bytes` long, if there is room for it, or as much can be made.
    pub(super) fn grow(&mut self, number: u64, bytes: usize, now: Instant) -> bool {
        // One that gave way meanwhile is told so by its token.
        self.note_coming(number, bytes, now);
        let Some(body) = self.bodies.get(&number) else { return false };
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
        for (number, body) in &taken {
            self.leave(*number);
            body.give_way();
        }
        if let Some(mut body) = self.take_out(number) {
            body.since = body.since_without_waiting(now);
            body.waits_since = None;
            body.bytes = bytes;
            self.insert(number, body);
        }
        true
    }

    fn note_coming(&mut self, number: u64, bytes: usize, now: Instant) {
        if let Some(body) = self.bodies.get_mut(&number) {
            body.note_coming(bytes, now);
            Self::mark(&mut self.slow, body, now);
        }
    }

    /// Whether a body that finds no room goes on nevertheless, since it has brought only a little more than there was room for.
    fn takes_in_hand(&mut self, number: u64) -> bool {
        let Some(body) = self.bodies.get_mut(&number) else { return false };
        let is_little = body.came.saturating_sub(body.bytes) <= limits::BODY_BYTES_IN_HAND;
        if is_little {
            body.waits_since = None;
        }
        is_little
    }

    /// All of a body is here: its place is free. `false` when it has given way already.
    pub(super) fn is_whole(&mut self, number: u64) -> bool {
        self.goes_on(number, Stage::Whole)
    }

    /// A body is read from now on. `false` when it has given way already.
    pub(super) fn is_read(&mut self, number: u64) -> bool {
        self.goes_on(number, Stage::IsRead)
    }

    fn goes_on(&mut self, number: u64, stage: Stage) -> bool {
        let Some(body) = self.take_out(number) else { return false };
        self.insert(number, Arriving { stage, has_place: false, is_slow: false, ..body });
        true
    }

    /// Forgets a body, and that it waits if it does.
    pub(super) fn remove(&mut self, number: u64) -> Option<Arriving> {
        let outside = self.leave(number).and_then(|waiter| waiter.outside);
        outside.or_else(|| self.take_out(number))
    }

    /// Takes a body out that goes on, or gives way.
    fn take_out(&mut self, number: u64) -> Option<Arriving> {
        let body = self.bodies.remove(&number)?;
        self.coming.remove(&number);
        self.whole.remove(&number);
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
        match body.stage {
            Stage::Comes => drop(self.coming.insert(number)),
            Stage::Whole if body.bytes > SMALL => drop(self.whole.insert(number)),
            Stage::Whole | Stage::IsRead => {}
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

    /// The bodies that may have to give way, of those that share something with one of `groups`.
    fn within(&self, of: Shared, scope: Scope, groups: Groups) -> impl Iterator<Item = (u64, &Arriving)> {
        let group = scope.group(groups);
        let whole = self.whole.iter().filter(move |_| matches!(of, Shared::Bytes));
        let bodies = self.coming.iter().chain(whole).filter_map(|number| Some((*number, self.bodies.get(number)?)));
        bodies.filter(move |(_, body)| scope.group(body.source.groups()) == group)
    }

    /// Marks those that are slow now, and no others; once in a tick, and each that comes when it does.
    fn mark_slow(&mut self, now: Instant) {
        if self.marked_at.is_some_and(|at| at <= now && now < at + TICK) {
            return;
        }
        self.marked_at = Some(now);
        for number in &self.coming {
            if let Some(body) = self.bodies.get_mut(number) {
                Self::mark(&mut self.slow, body, now);
            }
        }
    }

    fn mark(slow: &mut Taken, body: &mut Arriving, now: Instant) {
        let is_slow = body.comes_slowly(now);
        match (body.is_slow, is_slow) {
            (false, true) => slow.add(body),
            (true, false) => slow.remove(body),
            (false, false) | (true, true) => {}
        }
        body.is_slow = is_slow;
    }

    /// Takes out the body that is to make room for the comer, of those that are not being read yet; who is to go is to be told so.
    /// `None` when none can go now, when it would be the comer itself, and when all that can go are too little.
    pub(super) fn take_slowest(
        &mut self,
        of: Shared,
        scope: Scope,
        now: Instant,
        comer: Comer,
    ) -> Option<(u64, Arriving)> {
        self.mark_slow(now);
        self.looked_at += self.coming.len() + self.whole.len();
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
        Some((number, self.take_out(number)?))
    }

    /// Who is to make room for a comer. Of those that are heavier than it, where some come slowly, the slowest of whoever takes
    /// most by such bodies; else the slowest of whoever takes most, and of what is whole the newest. Then what is as heavy, and
    /// comes slowly or no faster than the comer. Of bytes, what comes slowly and is lighter goes where nobody else can: what comes
    /// fast costs its sender what it is. What comes slowly itself takes only from what does and is as heavy, and from what is whole.
    fn slowest(&self, of: Shared, scope: Scope, now: Instant, comer: Comer, comer_is_slow: bool) -> Option<u64> {
        let (own, own_slow) = self.heaviness(of, comer.source);
        let mut of_address = HashMap::new();
        let mut some = Candidates::default();
        for (number, body) in self.within(of, scope, comer.source.groups()) {
            let is_comer = Some(number) == comer.body;
            if body.takes(of) == 0 && !is_comer {
                continue;
            }
            let address = body.source.groups().address();
            let (all, slow) = *of_address.entry(address).or_insert_with(|| self.heaviness(of, body.source));
            let may_go = is_comer || now.saturating_duration_since(body.since) >= YOUNG;
            let goes_by = match body.stage {
                Stage::Comes => GoesBy::Behind(body.behind(now)),
                Stage::Whole | Stage::IsRead => GoesBy::Number(number),
            };
            let one = Candidate { number, is_comer, may_go, takes: body.takes(of), rank: all, goes_by };
            let by_slow = Candidate { rank: slow, ..one };
            match (body.stage, body.is_slow) {
                (Stage::IsRead, _) => {}
                (Stage::Whole, _) if all > own => some.heavier.push(one),
                (Stage::Whole, _) => {}
                (Stage::Comes, true) if comer_is_slow && slow >= own_slow => some.as_heavy_slow.push(by_slow),
                (Stage::Comes, _) if comer_is_slow => {}
                (Stage::Comes, true) => match all.cmp(&own) {
                    Ordering::Greater => some.heavier_slow.push(by_slow),
                    Ordering::Equal => some.as_heavy_slow.push(by_slow),
                    Ordering::Less => some.lighter_slow.push(by_slow),
                },
                (Stage::Comes, false) => match all.cmp(&own) {
                    Ordering::Greater => some.heavier.push(one),
                    Ordering::Equal => some.as_heavy.push(one),
                    Ordering::Less => {}
                },
            }
        }
        let own_rank = if comer_is_slow { own_slow } else { own };
        some.one_to_go(of, own_rank, comer_is_slow, comer)
    }

    /// How heavy somebody is by all of what it takes, and by what comes slowly.
    fn heaviness(&self, of: Shared, source: Source) -> (Heaviness, Heaviness) {
        (self.all.of(of).heaviness(source), self.slow.of(of).heaviness(source))
    }
}

/// One that may be to make room for a comer.
#[derive(Clone, Copy)]
struct Candidate {
    number: u64,
    is_comer: bool,
    /// Whether it is old enough.
    may_go: bool,
    takes: usize,
    rank: Heaviness,
    goes_by: GoesBy,
}

/// Which of those of somebody goes first: the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum GoesBy {
    /// Of those that are whole the newest: the others have waited longer for their turn.
    Number(u64),
    /// Of those that still come, which go before them, the one that is most behind.
    Behind(i64),
}

/// Those that may be to make room, in the order in which they are to.
#[derive(Default)]
struct Candidates {
    heavier_slow: Vec<Candidate>,
    heavier: Vec<Candidate>,
    as_heavy_slow: Vec<Candidate>,
    as_heavy: Vec<Candidate>,
    lighter_slow: Vec<Candidate>,
}

impl Candidates {
    fn one_to_go(mut self, of: Shared, own: Heaviness, comer_is_slow: bool, comer: Comer) -> Option<u64> {
        let as_fast = if comer_is_slow { &self.as_heavy_slow } else { &self.as_heavy };
        let comer_goes_by = as_fast.iter().find(|one| one.is_comer).map(|one| one.goes_by);
        // Of its equals only what is further behind.
        let gains = |one: &&Candidate| one.rank > own || Some(one.goes_by) >= comer_goes_by;
        let mut gained = takes(as_fast.iter().filter(gains)) + takes(self.heavier_slow.iter().chain(&self.heavier));
        if !comer_is_slow {
            gained += takes(&self.as_heavy_slow);
        }
        if gained < comer.lacks {
            match of {
                Shared::Bytes if gained + takes(&self.lighter_slow) >= comer.lacks => {
                    self.as_heavy_slow.append(&mut self.lighter_slow);
                }
                Shared::Bytes | Shared::Bodies => return None,
            }
        }
        let order = [self.heavier_slow, self.heavier, self.as_heavy_slow, self.as_heavy];
        // Those that are young will be old soon, and others do not go in their place; but new ones may come for ever.
        let counts = |one: &Candidate| one.may_go || !comer.has_waited;
        let first = order.iter().find(|some| some.iter().any(counts))?;
        let most = first.iter().filter(|one| counts(one)).map(|one| one.rank).max()?;
        let first = first.iter().filter(|one| one.may_go && one.rank == most).max_by_key(|one| one.goes_by)?;
        (!first.is_comer).then_some(first.number)
    }
}

/// How much those of some that can go take, but for the comer itself.
fn takes<'a>(some: impl IntoIterator<Item = &'a Candidate>) -> usize {
    some.into_iter().filter(|one| one.may_go && !one.is_comer).map(|one| one.takes).sum()
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
        self.places.is_empty() && self.bytes.is_empty()
    }
}

impl Amounts {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.in_all == 0 && self.shares.is_empty()
    }

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
            stage: Stage::Comes,
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
        self.stage == Stage::Comes && self.age(now) > self.keeps_pace_until
    }

    pub(super) fn give_way(&self) {
        self.gone.came_slowly.store(self.is_slow, atomic::Ordering::Release);
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
pub(super) fn due(bytes: usize) -> Duration {
    time_at(limits::LEAST_BODY_SPEED, bytes)
}

/// How long so many bytes take at a speed in bytes a second.
fn time_at(speed: usize, bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / speed as f64)
}
