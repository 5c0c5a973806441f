//! Bodies on their way in. They are received outside of what is expensive (reading and compiling a job), so that a slow
//! sender holds up nobody; each address and each network has a share of the bodies and of the memory that they take, and when
//! there is no room, one gives way that comes more slowly than an ordinary line gives, if any does, else the slowest of those
//! that take most: of an address, or of the network or the wide network around addresses that take a little each.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, header},
};
use futures::future::poll_fn;
use p2pnet_net::shares::{Heaviness, Shares};
use p2pnet_shared::refusal::{Code, Refusal};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{compress::Encoding, limits, source::Source};

/// How soon one that waits for room looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A body is this old before it can be called slow.
const YOUNG: Duration = Duration::from_millis(250);
/// A body that is whole within this time, and within so many bytes or little more, needs no place.
const AT_ONCE: Duration = Duration::from_millis(250);
const SMALL: usize = 16 << 10;

/// The bodies under way and those that wait to be read. Cheap to clone.
#[derive(Clone, Default)]
pub struct Intake {
    table: Arc<Mutex<Table>>,
    changed: Arc<Notify>,
}

/// A body that is here; its bytes count for its address until this is dropped.
pub struct Received {
    /// All of it.
    pub bytes: Bytes,
    _held: Held,
}

/// How large a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Bytes as they are sent.
    pub bytes: usize,
    /// What it is that may not be larger.
    pub what: &'static str,
    /// What to do where it is.
    pub hint: &'static str,
}

impl Bound {
    /// That of a job.
    pub fn of_job(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Plain => Self {
                bytes: limits::MOST_BODY_BYTES,
                what: "a body that is not in gzip",
                hint: "send it with Content-Encoding: gzip, which may have 48 MiB, a large module ahead with PUT \
                       /api/v1/kernels, or split the data over several jobs",
            },
            Encoding::Gzip => Self {
                bytes: limits::MOST_PACKED_BYTES,
                what: "a body in gzip",
                hint: "split the data over several jobs; a large module goes ahead with PUT /api/v1/kernels",
            },
        }
    }

    /// That of a module.
    pub const OF_MODULE: Self = Self { bytes: limits::MOST_BODY_BYTES, what: "a module", hint: SMALLER_MODULE };

    fn crossed(self) -> Refusal {
        Refusal::new(Code::TooLarge, format!("{} may have at most {} MiB", self.what, self.bytes >> 20), self.hint)
    }
}

/// How a module becomes smaller.
pub const SMALLER_MODULE: &str = "build it with optimisation and without debug information";

struct Held {
    number: u64,
    intake: Intake,
}

#[derive(Default)]
struct Table {
    last: u64,
    bodies: BTreeMap<u64, Arriving>,
    /// What all bodies take.
    all: Taken,
    /// What those take that are marked as slow.
    slow: Taken,
}

/// Who takes how many places, and how many bytes.
#[derive(Default)]
struct Taken {
    places: Shares,
    bytes: Shares,
}

struct Arriving {
    source: Source,
    /// Whether it takes one of the places; small ones that were here at once take none, however long they wait to be read.
    has_place: bool,
    /// From when on its speed counts: without the time in which it waited for room.
    since: Instant,
    /// Since when it waits for room, if it does.
    waits_since: Option<Instant>,
    /// Those that there was room for.
    bytes: usize,
    /// Those that came, with what is in hand.
    came: usize,
    /// How old it is when it no longer keeps an ordinary line's pace, if nothing more comes.
    keeps_pace_until: Duration,
    /// Whether it came more slowly than that when it was last looked at.
    is_slow: bool,
    /// Nothing more comes.
    whole: bool,
    gone: Gone,
}

/// Tells a body that it gave way, and why.
#[derive(Clone, Default)]
struct Gone {
    token: CancellationToken,
    came_slowly: Arc<AtomicBool>,
}

impl Gone {
    async fn told(&self) -> Refusal {
        self.token.cancelled().await;
        if self.came_slowly.load(Ordering::Acquire) { gave_way_to_faster_ones() } else { gave_way() }
    }

    #[cfg(test)]
    fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// What is shared: bodies, or their bytes.
#[derive(Clone, Copy)]
enum Shared {
    Bodies,
    Bytes,
}

/// Who wants room.
#[derive(Clone, Copy)]
struct Comer {
    source: Source,
    /// The body that grows; `None` for one that is to begin.
    body: Option<u64>,
    /// How much more it wants.
    wants: usize,
    /// Whether it has waited until those that were young then are old.
    has_waited: bool,
    /// How much there is too little.
    lacks: usize,
}

/// Whose bodies.
#[derive(Clone, Copy)]
enum Scope {
    All,
    Network(IpAddr),
    Address(IpAddr),
}

impl Intake {
    /// Receives a body, within its bounds of size, speed and share.
    pub async fn receive(
        &self,
        source: Source,
        body: Body,
        headers: &HeaderMap,
        bound: Bound,
    ) -> Result<Received, Refusal> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|len| len > bound.bytes as u64) {
            return Err(bound.crossed());
        }
        let mut body = body;
        let mut bytes = Vec::new();
        // Most jobs are small and here at once: they need no place among those that are on their way.
        let soon = Instant::now() + AT_ONCE;
        let mut is_whole = false;
        while !is_whole && bytes.len() < SMALL {
            match timeout_at(soon, next(&mut body)).await {
                Ok(Ok(Some(data))) => bytes.extend_from_slice(&data),
                Ok(Ok(None)) => is_whole = true,
                Ok(Err(refusal)) => return Err(refusal),
                Err(_) => break,
            }
        }
        let (held, gone) = if is_whole { self.insert_whole(source) } else { self.enter(source).await? };
        let mut since = Instant::now();
        self.grow(&held, &gone, bytes.len(), is_whole).await?;
        while !is_whole {
            let data = tokio::select! {
                data = next(&mut body) => data?,
                refusal = gone.told() => return Err(refusal),
                () = sleep_until(deadline(since, bytes.len())) => return Err(too_slow()),
            };
            let Some(data) = data else {
                is_whole = true;
                self.grow(&held, &gone, bytes.len(), is_whole).await?;
                continue;
            };
            if bytes.len() + data.len() > bound.bytes {
                return Err(bound.crossed());
            }
            let waited = self.grow(&held, &gone, bytes.len() + data.len(), is_whole).await?;
            since += waited; // waiting for room is not slowness
            bytes.extend_from_slice(&data);
        }
        if let Some(arriving) = self.lock().bodies.get_mut(&held.number) {
            arriving.whole = true;
        }
        Ok(Received { bytes: bytes.into(), _held: held })
    }

    async fn enter(&self, source: Source) -> Result<(Held, Gone), Refusal> {
        let start = Instant::now();
        loop {
            let waited = start.elapsed();
            if let Some(entered) = self.try_enter(source, waited, Instant::now()) {
                return Ok(entered);
            }
            if waited >= limits::ROOM_PATIENCE {
                return Err(full());
            }
            // Whichever comes first; both mean to look again.
            let _ = timeout(LOOK_AGAIN, self.changed.notified()).await;
        }
    }

    fn try_enter(&self, source: Source, waited: Duration, now: Instant) -> Option<(Held, Gone)> {
        let mut table = self.lock();
        let whose = |scope| table.sum(Shared::Bodies, scope, None);
        let scope = if whose(Scope::Address(source.address)) >= limits::BODIES_PER_ADDRESS {
            Some(Scope::Address(source.address))
        } else if whose(Scope::Network(source.network)) >= limits::BODIES_PER_NETWORK {
            Some(Scope::Network(source.network))
        } else if whose(Scope::All) >= limits::BODIES {
            Some(Scope::All)
        } else {
            None
        };
        if let Some(scope) = scope {
            let comer = Comer { source, body: None, wants: 1, has_waited: waited >= YOUNG, lacks: 1 };
            let (_, body) = table.take_slowest(Shared::Bodies, scope, now, comer)?;
            body.give_way();
        }
        Some(self.insert(&mut table, Arriving::new(source, now)))
    }

    /// A small one that was here at once.
    fn insert_whole(&self, source: Source) -> (Held, Gone) {
        let body = Arriving { has_place: false, whole: true, ..Arriving::new(source, Instant::now()) };
        self.insert(&mut self.lock(), body)
    }

    fn insert(&self, table: &mut Table, body: Arriving) -> (Held, Gone) {
        table.last += 1;
        let (number, gone) = (table.last, body.gone.clone());
        table.insert(number, body);
        (Held { number, intake: self.clone() }, gone)
    }

    /// Counts a body as `bytes` long, making room if need be; returns how long that took. What is not whole yet goes on without
    /// room for a little, so that it shows whether it comes fast.
    async fn grow(&self, held: &Held, gone: &Gone, bytes: usize, is_whole: bool) -> Result<Duration, Refusal> {
        let start = Instant::now();
        loop {
            if self.try_grow(held.number, bytes, Instant::now()) {
                return Ok(start.elapsed());
            }
            if !is_whole && self.takes_in_hand(held.number) {
                return Ok(Duration::ZERO);
            }
            if start.elapsed() >= limits::ROOM_PATIENCE {
                return Err(full());
            }
            tokio::select! {
                refusal = gone.told() => return Err(refusal),
                _ = timeout(LOOK_AGAIN, self.changed.notified()) => {}
            }
        }
    }

    fn try_grow(&self, number: u64, bytes: usize, now: Instant) -> bool {
        let mut table = self.lock();
        // One that gave way meanwhile is told so by its token.
        let Some(body) = table.bodies.get_mut(&number) else { return false };
        body.note_coming(bytes, now);
        let (source, before, waits_since) = (body.source, body.bytes, body.waits_since);
        let has_waited = waits_since.is_some_and(|since| now.saturating_duration_since(since) >= YOUNG);
        let mut taken = Vec::new();
        loop {
            let lacks = |scope, most| {
                let lacks = (table.sum(Shared::Bytes, scope, Some(number)) + bytes).saturating_sub(most);
                (lacks > 0).then_some((scope, lacks))
            };
            let lacking = lacks(Scope::Address(source.address), limits::BODY_BYTES_PER_ADDRESS)
                .or_else(|| lacks(Scope::Network(source.network), limits::BODY_BYTES_PER_NETWORK))
                .or_else(|| lacks(Scope::All, limits::BODY_BYTES));
            let Some((scope, lacks)) = lacking else { break };
            let comer = Comer { source, body: Some(number), wants: bytes.saturating_sub(before), has_waited, lacks };
            if let Some(slowest) = table.take_slowest(Shared::Bytes, scope, now, comer) {
                taken.push(slowest);
                continue;
            }
            // Nobody goes for nothing.
            taken.into_iter().for_each(|(number, body)| table.insert(number, body));
            if let Some(body) = table.bodies.get_mut(&number) {
                body.waits_since.get_or_insert(now);
            }
            return false;
        }
        taken.iter().for_each(|(_, body)| body.give_way());
        if let Some(mut body) = table.remove(number) {
            body.since = body.since_without_waiting(now);
            body.waits_since = None;
            body.bytes = bytes;
            table.insert(number, body);
        }
        true
    }

    /// Whether a body that finds no room goes on nevertheless, since it has brought only a little more than there was room for.
    fn takes_in_hand(&self, number: u64) -> bool {
        let mut table = self.lock();
        let Some(body) = table.bodies.get_mut(&number) else { return false };
        let is_little = body.came.saturating_sub(body.bytes) <= limits::BODY_BYTES_IN_HAND;
        if is_little {
            body.waits_since = None;
        }
        is_little
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn within(&self, scope: Scope) -> impl Iterator<Item = (u64, &Arriving)> {
        let bodies = self.bodies.iter().filter(move |(_, body)| match scope {
            Scope::All => true,
            Scope::Network(network) => body.source.network == network,
            Scope::Address(address) => body.source.address == address,
        });
        bodies.map(|(number, body)| (*number, body))
    }

    /// What is taken of something that is shared, but for one body.
    fn sum(&self, of: Shared, scope: Scope, but: Option<u64>) -> usize {
        self.within(scope).filter(|(number, _)| Some(*number) != but).map(|(_, body)| body.takes(of)).sum()
    }

    fn insert(&mut self, number: u64, body: Arriving) {
        self.all.add(&body);
        if body.is_slow {
            self.slow.add(&body);
        }
        self.bodies.insert(number, body);
    }

    fn remove(&mut self, number: u64) -> Option<Arriving> {
        let body = self.bodies.remove(&number)?;
        self.all.remove(&body);
        if body.is_slow {
            self.slow.remove(&body);
        }
        Some(body)
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
    fn take_slowest(&mut self, of: Shared, scope: Scope, now: Instant, comer: Comer) -> Option<(u64, Arriving)> {
        self.mark_slow(now);
        let comer_is_slow = comer.body.and_then(|number| self.bodies.get(&number)).is_some_and(|body| body.is_slow);
        let groups = comer.source.groups();
        // What it wants counts for whether it takes most.
        self.all.of_mut(of).add_many(groups, comer.wants);
        if comer_is_slow {
            self.slow.of_mut(of).add_many(groups, comer.wants);
        }
        let number = self.slowest(of, scope, now, comer, comer_is_slow);
        self.all.of_mut(of).remove_many(groups, comer.wants);
        if comer_is_slow {
            self.slow.of_mut(of).remove_many(groups, comer.wants);
        }
        let number = number?;
        Some((number, self.remove(number)?))
    }

    /// Where some come slowly, the slowest of whoever takes most by such bodies, which give way to all that come fast; else the
    /// slowest of whoever takes most, where that is no less than what the comer takes.
    fn slowest(&self, of: Shared, scope: Scope, now: Instant, comer: Comer, comer_is_slow: bool) -> Option<u64> {
        let is_comer = |number| Some(number) == comer.body;
        let may_go = |(number, body): &(u64, &Arriving)| is_comer(*number) || now.duration_since(body.since) >= YOUNG;
        let arriving = || {
            let arriving = self.within(scope).filter(|(_, body)| !body.whole);
            arriving.filter(|(number, body)| is_comer(*number) || body.takes(of) > 0)
        };
        let taken = if comer_is_slow { &self.slow } else { &self.all };
        let own = taken.heaviness(of, comer.source);
        let comer_is_behind = arriving().find(|(number, _)| is_comer(*number)).map(|(_, body)| body.behind(now));
        // Looked at first, since whoever waits looks again and again: what can make room at all.
        let gains = arriving().filter(|one| !is_comer(one.0) && may_go(one)).filter(|(_, body)| {
            if body.is_slow != comer_is_slow {
                return body.is_slow;
            }
            let heaviness = taken.heaviness(of, body.source);
            heaviness > own || heaviness == own && Some(body.behind(now)) >= comer_is_behind
        });
        if gains.map(|(_, body)| body.takes(of)).sum::<usize>() < comer.lacks {
            return None;
        }
        let some_are_slow = arriving().any(|(_, body)| body.is_slow);
        let taken = if some_are_slow { &self.slow } else { &self.all };
        let candidates = || arriving().filter(|(_, body)| body.is_slow || !some_are_slow);
        // Those that are young will be old soon, and others do not go in their place; but new ones may come for ever.
        let counting = candidates().filter(|one| may_go(one) || !comer.has_waited);
        let most = counting.map(|(_, body)| taken.heaviness(of, body.source)).max()?;
        if most < own && some_are_slow == comer_is_slow {
            return None;
        }
        let heaviest = candidates().filter(|one| may_go(one) && taken.heaviness(of, one.1.source) == most);
        let (number, _) = heaviest.max_by_key(|(_, body)| body.behind(now))?;
        (!is_comer(number)).then_some(number)
    }
}

impl Taken {
    fn of_mut(&mut self, of: Shared) -> &mut Shares {
        match of {
            Shared::Bodies => &mut self.places,
            Shared::Bytes => &mut self.bytes,
        }
    }

    fn add(&mut self, body: &Arriving) {
        self.places.add_many(body.source.groups(), body.takes(Shared::Bodies));
        self.bytes.add_many(body.source.groups(), body.takes(Shared::Bytes));
    }

    fn remove(&mut self, body: &Arriving) {
        self.places.remove_many(body.source.groups(), body.takes(Shared::Bodies));
        self.bytes.remove_many(body.source.groups(), body.takes(Shared::Bytes));
    }

    fn heaviness(&self, of: Shared, source: Source) -> Heaviness {
        match of {
            Shared::Bodies => self.places.heaviness(source.groups()),
            Shared::Bytes => self.bytes.heaviness(source.groups()),
        }
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

    fn give_way(&self) {
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

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.intake.lock().remove(self.number));
        self.intake.changed.notify_waiters();
    }
}

/// More of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        match poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(error)) => {
                let text = format!("the body broke off: {error}");
                return Err(Refusal::new(Code::InvalidJson, text, "send the request again"));
            }
            Some(Ok(frame)) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// How long so many bytes take at the least speed.
fn due(bytes: usize) -> Duration {
    time_at(limits::LEAST_BODY_SPEED, bytes)
}

/// How long so many bytes take at a speed in bytes a second.
fn time_at(speed: usize, bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / speed as f64)
}

fn deadline(since: Instant, bytes: usize) -> Instant {
    since + limits::BODY_GRACE + due(bytes)
}

fn too_slow() -> Refusal {
    let text = format!(
        "the body came more slowly than {} KiB a second, after {} s to begin with",
        limits::LEAST_BODY_SPEED >> 10,
        limits::BODY_GRACE.as_secs()
    );
    Refusal::new(Code::BodyTooSlow, text, "send less data, or over a faster line")
}

fn gave_way_to_faster_ones() -> Refusal {
    let text = format!(
        "there was no room for all bodies that are on their way here, and this one came more slowly \
         than {} KiB a second, as those do that give way first",
        limits::ORDINARY_BODY_SPEED >> 10
    );
    Refusal::new(Code::BodyTooSlow, text, "send it again in a few seconds, or over a faster line")
}

fn gave_way() -> Refusal {
    let text =
        "there was no room for all bodies that are on their way here, and this one was of whoever takes most of it";
    Refusal::new(Code::BodyTooSlow, text, WITH_FEWER_AT_ONCE)
}

/// What helps one whose body came fast, and gave way nevertheless.
const WITH_FEWER_AT_ONCE: &str = "send it again in a few seconds, with fewer others at once";

/// Whether a refusal is that of a body whose rest is not worth waiting for.
pub fn came_slowly(refusal: &Refusal) -> bool {
    refusal.code == Code::BodyTooSlow && refusal.hint != WITH_FEWER_AT_ONCE
}

/// There is no room, or no turn, for one more.
pub fn full() -> Refusal {
    let text = "as many jobs are on their way here as this relay takes at once";
    Refusal::new(Code::RateLimited, text, "send it again in a few seconds, with fewer others at once")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// An address in a network of its own.
    fn address(network: u8) -> Source {
        near(network, 1)
    }

    /// One of several of a network.
    fn near(network: u8, last: u8) -> Source {
        Source::of(IpAddr::from([192, 0, network, last]))
    }

    #[test]
    fn what_is_too_large_is_told_a_way_that_is_open_to_it() {
        let plain = Bound::of_job(Encoding::Plain).crossed();
        assert!(plain.message.contains("32 MiB") && plain.hint.contains("gzip"), "{plain:?}");
        let more = format!("{} MiB", limits::MOST_PACKED_BYTES >> 20);
        assert!(plain.hint.contains(&more) && limits::MOST_PACKED_BYTES > limits::MOST_BODY_BYTES);
        let packed = Bound::of_job(Encoding::Gzip).crossed();
        assert!(packed.message.contains(&more) && !packed.hint.contains("gzip"), "{packed:?}");
        let module = Bound::OF_MODULE.crossed();
        assert!(!module.hint.contains("PUT") && !module.hint.contains("job"), "{module:?}");
    }

    /// Keeps a body's pace up from `from` on, in steps of 64 KiB, until it has so many bytes; `false` when there is no room.
    fn comes_fast(intake: &Intake, held: &Held, bytes: usize, from: Instant) -> bool {
        let steps = bytes.div_ceil(64 << 10);
        (1..=steps).all(|n| {
            let now = from + Duration::from_millis(n as u64);
            intake.try_grow(held.number, (n * (64 << 10)).min(bytes), now)
        })
    }

    #[test]
    fn bodies_that_come_slowly_make_room_for_fast_ones_that_take_more() {
        let of_one_provider: fn(u8) -> IpAddr =
            |n| IpAddr::from([0x2001, 0xdb8, u16::from(n % 8), u16::from(n / 8), 0, 0, 0, 1]);
        let unrelated: fn(u8) -> IpAddr = |n| IpAddr::from([100 + n, n + 3, 1, 1]);
        for crowd in [of_one_provider, unrelated] {
            let intake = Intake::default();
            let start = Instant::now();
            let after = |millis| start + Duration::from_millis(millis);
            let dribbling: Vec<_> =
                (0..56).map(|n| intake.try_enter(Source::of(crowd(n)), Duration::ZERO, start).unwrap()).collect();
            let (first, each) = (limits::BODY_BYTES / 56 - (60 << 10), 10 << 10);
            assert!(dribbling.iter().all(|(held, _)| intake.try_grow(held.number, first, after(200))));
            for second in 1..=6 {
                let bytes = first + second * each;
                assert!(dribbling.iter().all(|(held, _)| intake.try_grow(
                    held.number,
                    bytes,
                    after(1_000 * second as u64)
                )));
            }
            let gone = || dribbling.iter().filter(|(_, gone)| gone.is_cancelled()).count();
            for (n, mib) in [21, 10, 21].into_iter().enumerate() {
                let now = 6_000 + 1_000 * n as u64;
                let (honest, given_way) = intake.try_enter(address(7), Duration::ZERO, after(now)).unwrap();
                let before = gone();
                assert!(comes_fast(&intake, &honest, mib << 20, after(now)), "{mib} MiB");
                assert!(gone() - before <= mib.div_ceil(4), "no more than need be");
                // Nor does it give way to them while it is on its way.
                for (held, _) in &dribbling {
                    intake.try_grow(held.number, first + 7 * each, after(now + 400));
                }
                assert!(!given_way.is_cancelled());
            }
        }
    }

    #[test]
    fn of_slow_bodies_those_of_whoever_holds_most_of_them_go_and_fast_ones_make_no_room_for_them() {
        let intake = Intake::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let enter = |network, mib: usize, now| {
            let body = intake.try_enter(address(network), Duration::ZERO, start).unwrap();
            assert!(intake.try_grow(body.0.number, mib << 20, now));
            body
        };
        let whole = [enter(4, 64, start), enter(5, 16, start)];
        whole.iter().for_each(|(held, _)| intake.lock().bodies.get_mut(&held.number).unwrap().whole = true);
        let slow = [enter(1, 25, start), enter(1, 23, start), enter(2, 32, start)];
        let fast: Vec<_> = (0..3).map(|_| enter(3, 32, after(5))).collect();
        let gone = || slow.each_ref().map(|(_, gone)| gone.is_cancelled());
        let (comer, _) = intake.try_enter(address(9), Duration::ZERO, after(5)).unwrap();
        assert!(intake.try_grow(comer.number, 1 << 20, after(5)));
        assert_eq!(gone(), [false, true, false], "the slowest of whoever holds most of what comes slowly");
        let _rest = enter(6, 22, after(5));
        let [_, _, (slow_comer, _)] = &slow;
        assert!(!intake.try_grow(slow_comer.number, (32 << 20) + (100 << 10), after(6)));
        assert_eq!(gone(), [false, true, false], "what comes slowly and is more than others' takes nothing of theirs");
        assert!(fast.iter().chain(&whole).all(|(_, gone)| !gone.is_cancelled()));
    }

    #[tokio::test]
    async fn a_body_is_seen_to_come_slowly_while_there_is_no_room_for_it() {
        let intake = Intake::default();
        let start = Instant::now();
        let mut left = limits::BODY_BYTES - (50 << 10);
        let mut whole = Vec::new();
        while left > 0 {
            let (held, _) = intake.try_enter(address(1 + whole.len() as u8), Duration::ZERO, start).unwrap();
            let bytes = left.min(limits::BODY_BYTES_PER_ADDRESS);
            assert!(intake.try_grow(held.number, bytes, start));
            intake.lock().bodies.get_mut(&held.number).unwrap().whole = true;
            left -= bytes;
            whole.push(held);
        }
        let later = start + Duration::from_secs(10);
        let (honest, given_way) = intake.try_enter(address(100), Duration::ZERO, later).unwrap();
        assert!(intake.try_grow(honest.number, 30 << 10, later));
        let dribble = futures::stream::unfold(20 << 10, |bytes| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(vec![b' '; bytes]), 1 << 10))
        });
        let receiver = intake.clone();
        let slow = tokio::spawn(async move {
            let body = Body::from_stream(dribble);
            receiver.receive(address(101), body, &HeaderMap::new(), Bound::of_job(Encoding::Plain)).await.err()
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(comes_fast(&intake, &honest, 40 << 10, later) && !given_way.is_cancelled());
        let told = slow.await.unwrap().unwrap();
        assert!(told.code == Code::BodyTooSlow && told.message.contains("more slowly than 128 KiB"), "{told:?}");
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_slowest_body_of_its_address() {
        let intake = Intake::default();
        let start = Instant::now();
        let held: Vec<_> = (0..limits::BODIES_PER_ADDRESS)
            .map(|_| intake.try_enter(address(1), Duration::ZERO, start).unwrap())
            .collect();
        assert!(intake.try_enter(address(1), Duration::ZERO, start).is_none(), "none of them is old enough to be slow");
        assert!(intake.try_enter(address(2), Duration::ZERO, start).is_some(), "another address has its own share");
        for (number, _) in held.iter().enumerate().filter(|(number, _)| *number != 7) {
            assert!(intake.try_grow(held[number].0.number, 1 << 20, start));
        }
        let later = start + Duration::from_secs(2);
        assert!(intake.try_enter(address(1), Duration::ZERO, later).is_some());
        assert!(held[7].1.is_cancelled() && held.iter().filter(|(_, gone)| gone.is_cancelled()).count() == 1);
    }

    #[test]
    fn a_body_that_waits_for_room_is_no_slower_for_that_while_it_does_and_afterwards() {
        let intake = Intake::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let whole = intake.try_enter(address(1), Duration::ZERO, start).unwrap();
        assert!(intake.try_grow(whole.0.number, limits::BODY_BYTES_PER_ADDRESS - (1 << 10), start));
        intake.lock().bodies.get_mut(&whole.0.number).unwrap().whole = true;
        let patient = intake.try_enter(address(1), Duration::ZERO, start).unwrap();
        let bytes = 4 * limits::LEAST_BODY_SPEED;
        for second in 0..20 {
            assert!(!intake.try_grow(patient.0.number, bytes, after(second)));
        }
        let slow = intake.try_enter(address(1), Duration::ZERO, after(15)).unwrap();
        let comer = Comer { source: address(1), body: None, wants: 0, has_waited: false, lacks: 1 };
        let drop_slowest = |now| {
            let taken = intake.lock().take_slowest(Shared::Bodies, Scope::Address(comer.source.address), now, comer);
            taken.unwrap().1.give_way();
        };
        drop_slowest(after(20));
        assert!(slow.1.is_cancelled() && !patient.1.is_cancelled(), "while it waits");
        drop(whole);
        assert!(intake.try_grow(patient.0.number, bytes, after(20)));
        let slow = intake.try_enter(address(1), Duration::ZERO, after(18)).unwrap();
        assert!(intake.try_grow(slow.0.number, limits::LEAST_BODY_SPEED, after(20)));
        drop_slowest(after(21));
        assert!(slow.1.is_cancelled() && !patient.1.is_cancelled(), "when it goes on");
    }

    #[test]
    fn when_all_is_taken_the_address_with_most_bodies_gives_way() {
        let intake = Intake::default();
        let start = Instant::now();
        let few: Vec<_> = (0..3).map(|_| intake.try_enter(address(200), Duration::ZERO, start).unwrap()).collect();
        let mut many = Vec::new();
        let mut last = 0;
        while intake.lock().bodies.len() < limits::BODIES {
            let taken = intake.lock().bodies.len();
            last = u8::try_from(1 + (taken - 3) / limits::BODIES_PER_ADDRESS).unwrap();
            many.push(intake.try_enter(address(last), Duration::ZERO, start).unwrap());
        }
        assert!(last > 1);
        let later = start + Duration::from_secs(2);
        assert!(intake.try_enter(address(201), Duration::ZERO, later).is_some());
        assert!(few.iter().all(|(_, gone)| !gone.is_cancelled()));
        assert_eq!(many.iter().filter(|(_, gone)| gone.is_cancelled()).count(), 1);
    }

    #[test]
    fn small_bodies_that_were_here_at_once_take_no_place_however_long_they_wait() {
        let intake = Intake::default();
        let waiting: Vec<_> = (0..2 * limits::BODIES).map(|_| intake.insert_whole(address(1))).collect();
        let now = Instant::now();
        assert!(intake.try_enter(address(2), Duration::ZERO, now).is_some(), "larger ones of others come in");
        let own: Vec<_> =
            (0..limits::BODIES_PER_ADDRESS).map_while(|_| intake.try_enter(address(1), Duration::ZERO, now)).collect();
        assert_eq!(own.len(), limits::BODIES_PER_ADDRESS);
        // Their bytes count, and they do not give way.
        let most = limits::BODY_BYTES_PER_ADDRESS / SMALL;
        let taken = waiting.iter().take_while(|(held, _)| intake.try_grow(held.number, SMALL, now)).count();
        assert_eq!(taken, waiting.len().min(most));
        assert!(waiting.iter().all(|(_, gone)| !gone.is_cancelled()));
    }

    #[test]
    fn a_network_of_many_addresses_leaves_others_places_and_memory() {
        let intake = Intake::default();
        let now = Instant::now();
        let addresses = (1..=250).flat_map(|last| [near(1, last), near(1, last)]);
        let many: Vec<_> = addresses.map_while(|source| intake.try_enter(source, Duration::ZERO, now)).collect();
        assert_eq!(many.len(), limits::BODIES_PER_NETWORK);
        let large = 32 << 20;
        let grown = many.iter().take_while(|(held, _)| intake.try_grow(held.number, large, now)).count();
        assert_eq!(grown, limits::BODY_BYTES_PER_NETWORK / large);
        intake.lock().bodies.values_mut().for_each(|body| body.whole = true);
        let (other, _) = intake.try_enter(address(2), Duration::ZERO, now).unwrap();
        assert!(intake.try_grow(other.number, large, now));
    }

    #[test]
    fn memory_is_shared_by_address_and_whole_bodies_stay() {
        let intake = Intake::default();
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let most = limits::MOST_BODY_BYTES;
        let fits = limits::BODY_BYTES_PER_ADDRESS / most;
        let whole = intake.try_enter(address(1), Duration::ZERO, start).unwrap();
        assert!(intake.try_grow(whole.0.number, most, later));
        intake.lock().bodies.get_mut(&whole.0.number).unwrap().whole = true;
        let others: Vec<_> = (1..fits).map(|_| intake.try_enter(address(1), Duration::ZERO, start).unwrap()).collect();
        for (held, _) in &others {
            assert!(intake.try_grow(held.number, most - (1 << 10), later));
        }
        let new = intake.try_enter(address(1), Duration::ZERO, later).unwrap();
        assert!(!intake.try_grow(new.0.number, most, later), "it is the slowest itself, having sent nothing");
        assert!(intake.try_grow(new.0.number, 64, later));
        let much_later = later + Duration::from_secs(7_200);
        assert!(intake.try_grow(new.0.number, 1 << 10, later));
        intake.lock().bodies.get_mut(&new.0.number).unwrap().since = much_later;
        assert!(intake.try_grow(new.0.number, most, much_later));
        assert!(!whole.1.is_cancelled() && others.iter().filter(|(_, gone)| gone.is_cancelled()).count() == 1);
        assert!(intake.lock().bodies.values().map(|body| body.bytes).sum::<usize>() <= limits::BODY_BYTES_PER_ADDRESS);
    }

    #[test]
    fn whole_bodies_of_whoever_takes_most_shield_nobody_elses_slow_ones() {
        let intake = Intake::default();
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let whole = |held: &Held| intake.lock().bodies.get_mut(&held.number).unwrap().whole = true;
        let most: Vec<_> = (0..limits::BODIES_PER_ADDRESS)
            .map(|_| intake.try_enter(address(1), Duration::ZERO, start).unwrap())
            .collect();
        let bytes = limits::BODY_BYTES_PER_ADDRESS / most.len();
        for (held, _) in &most {
            assert!(intake.try_grow(held.number, bytes, start));
            whole(held);
        }
        let dribbles = (most.len()..limits::BODIES).map(|n| 2 + u8::try_from(n % 10).unwrap());
        let dribbling: Vec<_> =
            dribbles.map(|network| intake.try_enter(address(network), Duration::ZERO, start).unwrap()).collect();
        let mut left = limits::BODY_BYTES - limits::BODY_BYTES_PER_ADDRESS;
        for (held, _) in &dribbling {
            let bytes = left.min(limits::MOST_BODY_BYTES);
            if bytes > 0 && intake.try_grow(held.number, bytes, start) {
                left -= bytes;
            }
        }
        let gone = || dribbling.iter().filter(|(_, gone)| gone.is_cancelled()).count();
        let honest = intake.try_enter(address(200), Duration::ZERO, later).unwrap();
        assert_eq!(gone(), 1, "for a place");
        let small = intake.insert_whole(address(201));
        assert!(intake.try_grow(small.0.number, SMALL, later) && intake.try_grow(honest.0.number, 1 << 20, later));
        assert_eq!((gone(), left), (2, 0), "for memory");
        assert!(intake.try_enter(address(1), Duration::ZERO, later).is_none(), "it has its share");
        assert!(most.iter().all(|(_, gone)| !gone.is_cancelled()));
    }

    #[test]
    fn who_wants_more_than_others_take_and_who_would_gain_too_little_takes_nothing_of_theirs() {
        let intake = Intake::default();
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut left = limits::BODY_BYTES - (50 << 11);
        let mut whole = Vec::new();
        for network in 1..=3 {
            while let Some(bytes) = Some(left.min(limits::MOST_BODY_BYTES)).filter(|bytes| *bytes > 0) {
                let (held, _) = intake.try_enter(address(network), Duration::ZERO, start).unwrap();
                if !intake.try_grow(held.number, bytes, start) {
                    break;
                }
                intake.lock().bodies.get_mut(&held.number).unwrap().whole = true;
                left -= bytes;
                whole.push(held);
            }
        }
        let mut small: Vec<_> =
            (10..60).map(|network| intake.try_enter(address(network), Duration::ZERO, start).unwrap()).collect();
        assert!(left == 0 && small.iter().all(|(held, _)| intake.try_grow(held.number, 2 << 10, start)));
        drop(small.pop());
        let gone = || small.iter().filter(|(_, gone)| gone.is_cancelled()).count();
        for bytes in [SMALL, 3 << 10, limits::MOST_BODY_BYTES] {
            let (held, _) = intake.insert_whole(address(200));
            assert!(!intake.try_grow(held.number, bytes, later) && gone() == 0, "{bytes}");
        }
        // An address that takes more than it, of which too little can go.
        let (few, few_gone) = intake.try_enter(address(3), Duration::ZERO, start).unwrap();
        assert!(intake.try_grow(few.number, 2 << 10, start));
        let (held, _) = intake.insert_whole(address(200));
        assert!(!intake.try_grow(held.number, 3 << 10, later) && gone() == 0 && !few_gone.is_cancelled());
        assert_eq!(intake.lock().bodies[&few.number].bytes, 2 << 10);
        assert!(intake.try_grow(held.number, 2 << 10, later) && gone() == 0 && few_gone.is_cancelled());
    }

    #[test]
    fn while_those_of_whoever_takes_most_are_young_nobody_else_goes() {
        let intake = Intake::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let apart = |n: usize| {
            let [a, b] = [n / 200, n % 200].map(|byte| u8::try_from(byte).unwrap());
            Source::of(IpAddr::from([20 + a, b, 1, 1]))
        };
        let singles = limits::BODIES - limits::BODIES_PER_ADDRESS;
        let singles: Vec<_> =
            (0..singles).map(|n| intake.try_enter(apart(n), Duration::ZERO, start).unwrap()).collect();
        let most: Vec<_> = (0..limits::BODIES_PER_ADDRESS)
            .map(|_| intake.try_enter(address(1), Duration::ZERO, after(900)).unwrap())
            .collect();
        let gone = |some: &[(Held, Gone)]| some.iter().filter(|(_, gone)| gone.is_cancelled()).count();
        assert!(intake.try_enter(apart(900), Duration::ZERO, after(1_000)).is_none());
        assert_eq!((gone(&singles), gone(&most)), (0, 0));
        drop(intake.try_enter(apart(901), YOUNG, after(1_000)).unwrap());
        assert_eq!((gone(&singles), gone(&most)), (1, 0), "who has waited for them waits for no new ones");
        let one_more = intake.try_enter(apart(902), Duration::ZERO, after(1_000));
        assert!(intake.try_enter(apart(900), Duration::ZERO, after(1_200)).is_some());
        assert_eq!((gone(&singles), gone(&most), one_more.is_some()), (1, 1, true));
    }

    #[test]
    fn who_takes_more_than_others_takes_no_place_of_theirs() {
        let intake = Intake::default();
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let enter = |last: usize, now| intake.try_enter(near(1, u8::try_from(last).unwrap()), Duration::ZERO, now);
        let others = limits::BODIES_PER_NETWORK + 1 - limits::BODIES_PER_ADDRESS;
        let others: Vec<_> = (0..others).map(|n| enter(2 + n % 5, start).unwrap()).collect();
        let own: Vec<_> = (0..limits::BODIES_PER_ADDRESS).map_while(|_| enter(1, later)).collect();
        assert_eq!(own.len(), limits::BODIES_PER_ADDRESS - 1);
        assert!(others.iter().all(|(_, gone)| !gone.is_cancelled()));
    }

    #[test]
    fn where_nobody_takes_more_than_others_it_is_not_the_highest_address_that_gives_way() {
        let in_few: fn(usize) -> [u8; 2] = |n| [44, u8::try_from(n / 250 % 4).unwrap()];
        let in_many: fn(usize) -> [u8; 2] =
            |n| [30 + u8::try_from(n / 250 % 4).unwrap(), u8::try_from(n % 250).unwrap()];
        for crowd in [in_few, in_many] {
            let intake = Intake::default();
            let start = Instant::now();
            let after = |millis| start + Duration::from_millis(millis);
            let dribbles = |n: usize, now| {
                let [a, b] = crowd(n);
                let from = IpAddr::from([a, b, u8::try_from(n % 250).unwrap(), 7]);
                intake.try_enter(Source::of(from), Duration::ZERO, now)
            };
            let mut held: Vec<_> = (0..limits::BODIES).map(|n| dribbles(n, start).unwrap()).collect();
            let honest = [[60, 0, 0, 1], [20, 0, 0, 1]]
                .map(|from| intake.try_enter(Source::of(IpAddr::from(from)), Duration::ZERO, after(500)).unwrap());
            // All are as old, and these have sent more; the others go on coming.
            for n in 0..limits::BODIES {
                for (one, _) in &honest {
                    assert!(intake.try_grow(one.number, 1 << 20, after(1_000)));
                }
                held.push(dribbles(n + 600, after(1_000 + 4 * n as u64)).unwrap());
            }
            assert!(honest.iter().all(|(_, gone)| !gone.is_cancelled()));
            drop((held, honest));
            let table = intake.lock();
            for taken in [&table.all, &table.slow] {
                assert!(taken.places.is_empty() && taken.bytes.is_empty());
            }
        }
    }
}
