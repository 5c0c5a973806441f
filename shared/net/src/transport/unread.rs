//! What the other sides of connections make this node hold by sending what nobody reads. The windows of yamux bound that by
//! stream only, and streams are many; so bytes are counted from when they come until they are read, a connection has a bound,
//! and all together have one, beyond which a connection of whoever holds most ends.

use std::{
    cmp,
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::Multiaddr;

use super::over::{Listener, Over};
use crate::{
    limits,
    origin::Origin,
    shares::{Groups, Shares},
};

/// Bytes of yamux's header: version, kind, flags, stream, length.
const HEADER: usize = 12;
/// The kinds of frames that may begin a stream.
const DATA: u8 = 0;
const WINDOW: u8 = 1;
/// The flag that begins a stream,
const BEGINS: u8 = 1;
/// the one that says that its sender sends no more,
const ENDS: u8 = 4;
/// and the one that ends it in both directions.
const RESETS: u8 = 8;

/// What all connections of a node hold together. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

struct Book {
    most_bytes: usize,
    last: u64,
    /// By connection.
    holders: BTreeMap<u64, Holder>,
    /// In [`limits::UNREAD_UNIT`], as everything here: small amounts change all the time.
    shares: Shares,
    total: usize,
    /// How much of it connections hold that were told to end. They are in no share any more.
    ending: usize,
}

struct Holder {
    groups: Groups,
    units: usize,
    is_ending: bool,
    /// Tells the connection and its streams to end.
    over: Arc<Over>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::with(limits::UNREAD_BYTES_TOTAL)
    }
}

impl Ledger {
    /// One for so many bytes.
    fn with(most_bytes: usize) -> Self {
        let (holders, shares) = (BTreeMap::new(), Shares::default());
        Self(Arc::new(Mutex::new(Book { most_bytes, last: 0, holders, shares, total: 0, ending: 0 })))
    }

    /// The account of a new connection.
    pub(crate) fn open(&self) -> Account {
        Account { ledger: self.clone(), over: Arc::default(), counts: Mutex::default() }
    }

    /// Bytes that all hold together, in whole units.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().total * limits::UNREAD_UNIT
    }

    /// Ends a connection of whoever holds most, as beyond the bound.
    #[cfg(test)]
    pub(crate) fn end_one(&self) -> bool {
        self.lock().end_one()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn set(&mut self, number: u64, units: usize) {
        let Some(holder) = self.holders.get_mut(&number) else { return };
        let before = std::mem::replace(&mut holder.units, units);
        self.total = self.total - before + units;
        if holder.is_ending {
            self.ending = self.ending - before + units;
            return;
        }
        let groups = holder.groups;
        match units.cmp(&before) {
            cmp::Ordering::Less => self.shares.remove_many(groups, before - units),
            cmp::Ordering::Equal => {}
            cmp::Ordering::Greater => self.shares.add_many(groups, units - before),
        }
        while (self.total - self.ending).saturating_mul(limits::UNREAD_UNIT) > self.most_bytes && self.end_one() {}
    }

    /// Ends the connection that holds most of whoever does, of equal ones the newest; false where none holds anything. One
    /// that is gone, while others keep its streams, is as good.
    fn end_one(&mut self) -> bool {
        let holders = self.holders.iter_mut().filter(|(_, holder)| holder.units > 0 && !holder.is_ending);
        let shares = &self.shares;
        let most = holders.max_by_key(|(number, holder)| (shares.heaviness(holder.groups), holder.units, **number));
        let Some((_, holder)) = most else { return false };
        holder.is_ending = true;
        self.shares.remove_many(holder.groups, holder.units);
        self.ending += holder.units;
        holder.over.set();
        true
    }

    fn remove(&mut self, number: u64) {
        let Some(holder) = self.holders.remove(&number) else { return };
        self.total -= holder.units;
        if holder.is_ending {
            self.ending -= holder.units;
        } else {
            self.shares.remove_many(holder.groups, holder.units);
        }
    }
}

/// What one connection holds, until it and all its streams are gone.
pub(crate) struct Account {
    ledger: Ledger,
    over: Arc<Over>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// In the ledger, once it is known where the connection comes from.
    number: Option<u64>,
    arriving: Arriving,
    streams: BTreeMap<u32, Held>,
    /// How many of them this node opened.
    ours: usize,
    /// How many of these are in use,
    used_of_ours: usize,
    /// and how many of the others.
    used_of_others: usize,
    /// The streams that are in use no more and not forgotten, in the order in which they were let go,
    dropped: BTreeMap<u64, u32>,
    /// and how many ever were.
    dropped_ever: u64,
    /// Those of them of which nothing more is said on either side, and in which nothing lies. yamux may still take what comes in
    /// them all the same, so they are known for as long as it may; but they are none of those that keep others from beginning.
    silent: BTreeSet<u64>,
    /// The frames that go out.
    leaving: Leaving,
    /// Whether yamux is gone, and with it what it held.
    is_gone: bool,
    /// Everything of this connection that lies here.
    bytes: usize,
    /// How much of it is what it costs to hold the frames apart.
    frames: usize,
    /// What the ledger was told.
    units: usize,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    /// What it costs to hold the frames apart.
    frames: usize,
    /// Whether this node opened it.
    is_ours: bool,
    /// Whether this node was asked to say that it sends no more,
    closed_here: bool,
    /// whether the other side said so,
    closed_there: bool,
    /// and whether it ended the stream in both directions.
    reset_there: bool,
    /// Which of those in use no more it is, if it is one.
    dropped: Option<u64>,
}

/// How far the frame that goes out has gone.
#[derive(Default)]
struct Leaving {
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of its body that are still to go.
    body: usize,
}

/// How far the frame that comes in has come.
enum Arriving {
    Header { bytes: [u8; HEADER], filled: usize },
    Body { stream: u32, len: usize, left: usize },
}

impl Default for Arriving {
    fn default() -> Self {
        Self::Header { bytes: [0; HEADER], filled: 0 }
    }
}

impl Account {
    /// Says where the connection comes from; until then only its own bound holds.
    pub(crate) fn belongs_to(&self, address: &Multiaddr) {
        // What comes through circuits is one group: nobody knows from where.
        let nowhere = || Groups::alone(Ipv4Addr::UNSPECIFIED.into());
        let groups = Origin::of(address).map_or_else(nowhere, |origin| Groups::of(origin.address));
        let mut counts = self.lock();
        let mut book = self.ledger.lock();
        book.last += 1;
        let number = book.last;
        book.holders.insert(number, Holder { groups, units: 0, is_ending: false, over: Arc::clone(&self.over) });
        book.set(number, counts.units);
        counts.number = Some(number);
    }

    /// Counts what came in, which are frames of yamux.
    ///
    /// # Errors
    /// A frame is longer than anybody may send, more lies unread than a connection may leave, or streams begin that yamux
    /// does not make.
    pub(crate) fn came(&self, bytes: &[u8]) -> io::Result<()> {
        let mut counts = self.lock();
        counts.came(bytes)?;
        self.settle(&mut counts);
        if counts.charged() > limits::UNREAD_BYTES + counts.ours * limits::STREAM_WINDOW {
            return Err(io::Error::other("more lies unread than a connection may leave"));
        }
        Ok(())
    }

    /// A stream is in use. Those that this node itself opened, `is_ours`, have their room each.
    pub(crate) fn opened(&self, stream: u32, is_ours: bool) {
        let mut counts = self.lock();
        let held = counts.streams.entry(stream).or_default();
        let is_new = is_ours && !std::mem::replace(&mut held.is_ours, is_ours);
        counts.ours += usize::from(is_new);
        *(if is_ours { &mut counts.used_of_ours } else { &mut counts.used_of_others }) += 1;
    }

    /// Streams in use that this node opened.
    pub(crate) fn streams_of_ours(&self) -> usize {
        self.lock().used_of_ours
    }

    /// Streams in use that the other side opened.
    pub(crate) fn streams_of_others(&self) -> usize {
        self.lock().used_of_others
    }

    /// Streams in use, those included that begin.
    #[cfg(test)]
    pub(crate) fn streams(&self) -> usize {
        let counts = self.lock();
        counts.streams.len().saturating_sub(counts.dropped.len())
    }

    /// What lies here.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Streams that are not forgotten yet.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.lock().streams.len()
    }

    /// So many bytes of a stream were read.
    pub(crate) fn read(&self, stream: u32, bytes: usize) {
        let mut counts = self.lock();
        if let Some(held) = counts.streams.get_mut(&stream) {
            let bytes = bytes.min(held.bytes);
            let frames = if bytes == held.bytes { held.frames } else { part(held.frames, bytes, held.bytes) };
            held.bytes -= bytes;
            held.frames -= frames;
            counts.bytes = counts.bytes.saturating_sub(bytes + frames);
            counts.frames = counts.frames.saturating_sub(frames);
            self.settle(&mut counts);
        }
    }

    /// A stream is in use no more, once it was let go as told here: nobody sees the one without the other. What lies in it
    /// counts until yamux has let go of it as well.
    pub(crate) fn dropped(&self, stream: u32, let_go: impl FnOnce()) {
        let mut counts = self.lock();
        counts.dropped_ever += 1;
        let number = counts.dropped_ever;
        let Some(held) = counts.streams.get_mut(&stream) else { return let_go() };
        held.dropped = Some(number);
        let used = if held.is_ours { &mut counts.used_of_ours } else { &mut counts.used_of_others };
        *used = used.saturating_sub(1);
        counts.dropped.insert(number, stream);
        let_go();
        if counts.is_gone {
            counts.forget(stream);
        } else {
            counts.hush(stream);
        }
        self.settle(&mut counts);
    }

    /// How many streams ever came to be in use no more.
    pub(crate) fn dropped_so_far(&self) -> u64 {
        self.lock().dropped_ever
    }

    /// yamux has let go of the first so many streams that came to be in use no more, and what it said of them is sent.
    pub(crate) fn forget(&self, first: u64) {
        let mut counts = self.lock();
        while let Some((number, stream)) = counts.dropped.first_key_value().map(|(number, stream)| (*number, *stream)) {
            if number > first {
                break;
            }
            counts.forget(stream);
        }
        self.settle(&mut counts);
    }

    /// This node says of a stream that it sends no more.
    pub(crate) fn closed(&self, stream: u32) {
        if let Some(held) = self.lock().streams.get_mut(&stream) {
            held.closed_here = true;
        }
    }

    /// What went out, which are frames of yamux. It has let go of a stream whose end it says by itself: nothing else does so for
    /// a stream that was dropped, while a socket always has something left to send.
    pub(crate) fn left(&self, bytes: &[u8]) {
        let mut counts = self.lock();
        counts.left(bytes);
        self.settle(&mut counts);
    }

    /// yamux is gone, and has let go of everything that is in use no more.
    pub(crate) fn gone(&self) {
        self.lock().is_gone = true;
        self.forget(u64::MAX);
    }

    /// One who hears when the connection and its streams are to make room for others.
    pub(crate) fn listener(&self) -> Listener {
        self.over.listener()
    }

    fn settle(&self, counts: &mut Counts) {
        // All connections wait for the ledger: who goes to and fro by less than a unit does not trouble it.
        if counts.bytes.abs_diff(counts.units * limits::UNREAD_UNIT) < limits::UNREAD_UNIT {
            return;
        }
        counts.units = counts.bytes / limits::UNREAD_UNIT;
        if let Some(number) = counts.number {
            self.ledger.lock().set(number, counts.units);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let number = self.lock().number;
        if let Some(number) = number {
            self.ledger.lock().remove(number);
        }
    }
}

impl Counts {
    /// What counts against the connection's own bound: not what frames cost that are as short as honest ones get.
    fn charged(&self) -> usize {
        let bytes = self.bytes.saturating_sub(self.frames);
        bytes + self.frames.saturating_sub(bytes / limits::SHORT_FRAME * limits::UNREAD_FRAME)
    }

    fn forget(&mut self, stream: u32) {
        let Some(held) = self.streams.remove(&stream) else { return };
        if let Some(number) = held.dropped {
            self.dropped.remove(&number);
            self.silent.remove(&number);
        }
        self.bytes = self.bytes.saturating_sub(held.bytes + held.frames);
        self.frames = self.frames.saturating_sub(held.frames);
        self.ours -= usize::from(held.is_ours);
    }

    /// Notes whether a stream is silent from now on. It has no room of its own any more, and where others have become so since,
    /// it is forgotten: yamux, which has not as many, lets go of them in that order.
    fn hush(&mut self, stream: u32) {
        let Some(held) = self.streams.get_mut(&stream) else { return };
        let Some(number) = held.dropped else { return };
        let is_over = held.reset_there || (held.closed_here && held.closed_there);
        if !is_over || held.bytes > 0 {
            return;
        }
        self.ours -= usize::from(std::mem::take(&mut held.is_ours));
        self.silent.insert(number);
        if self.silent.len() > limits::STREAMS_BEGUN
            && let Some(oldest) = self.silent.first().and_then(|number| self.dropped.get(number)).copied()
        {
            self.forget(oldest);
        }
    }

    fn left(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            if self.leaving.body > 0 {
                let taken = rest.len().min(self.leaving.body);
                rest = rest.get(taken..).unwrap_or_default();
                self.leaving.body -= taken;
                continue;
            }
            let Some((byte, after)) = rest.split_first() else { break };
            rest = after;
            if let Some(place) = self.leaving.header.get_mut(self.leaving.filled) {
                *place = *byte;
            }
            self.leaving.filled += 1;
            if self.leaving.filled == HEADER {
                let [_, kind, _, flags, a, b, c, d, len @ ..] = self.leaving.header;
                let body = if kind == DATA { u32::from_be_bytes(len) as usize } else { 0 };
                self.leaving = Leaving { body, ..Leaving::default() };
                self.said(kind, flags, u32::from_be_bytes([a, b, c, d]));
            }
        }
    }

    /// yamux said something of a stream. That it sends no more it says before it lets go where it was asked to say so.
    fn said(&mut self, kind: u8, flags: u8, stream: u32) {
        let Some(held) = self.streams.get(&stream).filter(|held| held.dropped.is_some()) else { return };
        if kind == DATA && (flags & RESETS != 0 || (flags & ENDS != 0 && !held.closed_here)) {
            self.forget(stream);
        }
    }

    fn came(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match &mut self.arriving {
                Arriving::Header { bytes, filled } => {
                    let Some((byte, after)) = rest.split_first() else { break };
                    rest = after;
                    if let Some(place) = bytes.get_mut(*filled) {
                        *place = *byte;
                    }
                    *filled += 1;
                    if *filled == HEADER {
                        let header = *bytes;
                        self.begin(header)?;
                    }
                }
                Arriving::Body { stream, len, left } => {
                    let taken = rest.len().min(*left);
                    rest = rest.get(taken..).unwrap_or_default();
                    *left -= taken;
                    if *left == 0 {
                        let (stream, len) = (*stream, *len);
                        self.end(stream, len);
                    }
                }
            }
        }
        Ok(())
    }

    /// A frame begins. yamux makes room for all of it at once.
    fn begin(&mut self, header: [u8; HEADER]) -> io::Result<()> {
        let [_, kind, _, flags, a, b, c, d, len @ ..] = header;
        let stream = u32::from_be_bytes([a, b, c, d]);
        self.arriving = Arriving::default();
        if matches!(kind, DATA | WINDOW) && flags & BEGINS != 0 {
            // What yamux refuses stays here to the end, and a stream that is not forgotten yet would be so when it begins anew.
            let is_dropped = self.streams.get(&stream).is_some_and(|held| held.dropped.is_some());
            if is_dropped || self.streams.len() - self.silent.len() >= limits::STREAMS_BEGUN {
                return Err(io::Error::other("streams begin that cannot"));
            }
            self.streams.entry(stream).or_default();
        }
        if matches!(kind, DATA | WINDOW)
            && let Some(held) = self.streams.get_mut(&stream)
        {
            held.closed_there |= flags & ENDS != 0;
            // One that begins so stays as it is.
            held.reset_there |= flags & RESETS != 0 && flags & BEGINS == 0;
            self.hush(stream);
        }
        // In other kinds the length is a number that says something else.
        let len = if kind == DATA { u32::from_be_bytes(len) as usize } else { 0 };
        if len > limits::YAMUX_FRAME {
            return Err(io::Error::other("a frame is longer than anybody may send"));
        }
        if len > 0 {
            self.bytes += len;
            self.arriving = Arriving::Body { stream, len, left: len };
        }
        Ok(())
    }

    /// A frame is whole: it lies in its stream, or is of none and forgotten.
    fn end(&mut self, stream: u32, len: usize) {
        self.arriving = Arriving::default();
        if let Some(held) = self.streams.get_mut(&stream) {
            held.bytes += len;
            held.frames += limits::UNREAD_FRAME;
            if let Some(number) = held.dropped {
                self.silent.remove(&number);
            }
            self.bytes += limits::UNREAD_FRAME;
            self.frames += limits::UNREAD_FRAME;
        } else {
            self.bytes = self.bytes.saturating_sub(len);
        }
    }
}

/// `of` times `some` / `all`, where the product may be beyond 32 bits.
fn part(of: usize, some: usize, all: usize) -> usize {
    let product = (of as u64).saturating_mul(some as u64);
    product.checked_div(all as u64).and_then(|part| usize::try_from(part).ok()).unwrap_or(of)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, len: usize) -> Vec<u8> {
        let mut frame = vec![0, kind, 0, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(u32::try_from(len).unwrap().to_be_bytes());
        frame.resize(HEADER + if kind == DATA { len } else { 0 }, 7);
        frame
    }

    fn account(ledger: &Ledger, address: &str) -> Account {
        let account = ledger.open();
        account.belongs_to(&format!("/ip4/{address}/tcp/1").parse().unwrap());
        account
    }

    fn goes_on(account: &Account) -> bool {
        !account.listener().is_over(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_came_counts_until_it_is_read_however_it_is_cut_into_pieces() {
        let whole = [frame(DATA, BEGINS, 1, 1_000), frame(WINDOW, 0, 1, 77), frame(DATA, 0, 1, 500)].concat();
        for piece in [1, 5, 13, whole.len()] {
            let account = account(&Ledger::default(), "192.0.2.1");
            whole.chunks(piece).for_each(|part| account.came(part).unwrap());
            assert_eq!(account.bytes(), 1_500 + 2 * limits::UNREAD_FRAME);
            account.read(1, 750);
            assert_eq!(account.bytes(), 750 + limits::UNREAD_FRAME);
            account.read(1, 750);
            assert_eq!((account.bytes(), account.streams()), (0, 1));
        }
    }

    #[test]
    fn frames_of_no_stream_are_forgotten_and_those_of_dropped_ones_when_that_was_sent() {
        let account = account(&Ledger::default(), "192.0.2.1");
        account.came(&frame(DATA, 0, 9, 4_000)).unwrap();
        assert_eq!(account.bytes(), 0);
        account.came(&frame(DATA, BEGINS, 1, 4_000)).unwrap();
        account.dropped(1, || {});
        let seen = account.dropped_so_far();
        account.came(&frame(DATA, 0, 1, 4_000)).unwrap();
        assert_eq!((account.bytes(), account.streams()), (8_000 + 2 * limits::UNREAD_FRAME, 0));
        account.came(&frame(DATA, BEGINS, 3, 4_000)).unwrap();
        account.dropped(3, || {});
        account.forget(seen);
        assert_eq!(account.bytes(), 4_000 + limits::UNREAD_FRAME, "one that went later is not forgotten with it");
        account.forget(account.dropped_so_far());
        assert_eq!(account.bytes(), 0);
        // Begun, and not whole.
        account.came(frame(DATA, 0, 9, 4_000).get(..100).unwrap()).unwrap();
        assert_eq!(account.bytes(), 4_000);
    }

    #[test]
    fn a_connection_may_leave_so_much_unread_and_no_more() {
        let ledger = Ledger::default();
        let account = account(&ledger, "192.0.2.1");
        let fill = |stream| account.came(&frame(DATA, BEGINS, stream, limits::YAMUX_FRAME));
        let whole = limits::UNREAD_BYTES / (limits::YAMUX_FRAME + limits::UNREAD_FRAME);
        let streams = (1..).step_by(2);
        assert!(streams.clone().take(whole).all(|stream| fill(stream).is_ok()));
        assert!((2..).step_by(2).take(2).any(|stream| fill(stream).is_err()));
        assert!(account.came(&frame(DATA, 0, 1, limits::YAMUX_FRAME + 1)).is_err(), "longer than may be sent");
        drop(account);
        assert!(ledger.lock().shares.is_empty() && ledger.lock().total == 0);
        // Many frames of a byte cost more than their bytes.
        let small = ledger.open();
        let mut endless = 0..=2 * limits::UNREAD_BYTES / limits::UNREAD_FRAME;
        assert!(endless.any(|_| small.came(&frame(DATA, BEGINS, 1, 1)).is_err()));
    }

    #[test]
    fn streams_that_this_node_opens_have_their_room_beside_those_of_the_other_side() {
        let account = account(&Ledger::default(), "192.0.2.1");
        let fill = |stream| account.came(&frame(DATA, 0, stream, limits::STREAM_WINDOW));
        let ours = || (2..).step_by(2).take(limits::STREAMS_OPEN);
        ours().for_each(|stream| account.opened(stream, true));
        let others = (1..).step_by(2).take(limits::CIRCUITS_PER_NODE);
        others.clone().for_each(|stream| account.opened(stream, false));
        assert!(ours().chain(others).all(|stream| fill(stream).is_ok()));
        // The room goes with them.
        for stream in ours() {
            account.read(stream, limits::STREAM_WINDOW);
            account.dropped(stream, || {});
        }
        account.forget(account.dropped_so_far());
        let more = (1_001..).step_by(2).take(limits::CIRCUITS_PER_NODE);
        more.clone().for_each(|stream| account.opened(stream, false));
        assert!(!more.into_iter().all(|stream| fill(stream).is_ok()));
    }

    #[test]
    fn circuits_that_are_full_of_what_answers_pings_have_room() {
        // A ping of yamux within noise.
        const PONG: usize = 30;
        let account = account(&Ledger::default(), "192.0.2.1");
        let ours = || (2..).step_by(2).take(64);
        let others = || (1..).step_by(2).take(limits::CIRCUITS_PER_NODE);
        ours().for_each(|stream| account.opened(stream, true));
        others().for_each(|stream| account.opened(stream, false));
        let full = |stream| frame(DATA, 0, stream, PONG).repeat(limits::STREAM_WINDOW / PONG);
        assert!(ours().chain(others()).all(|stream| account.came(&full(stream)).is_ok()));
        // The others are told what it costs.
        assert!(account.bytes() > 128 * limits::STREAM_WINDOW * 3);
    }

    #[test]
    fn who_goes_to_and_fro_by_less_than_a_unit_does_not_trouble_the_ledger() {
        let ledger = Ledger::default();
        let account = account(&ledger, "192.0.2.1");
        let bytes = limits::UNREAD_UNIT - limits::UNREAD_FRAME;
        account.came(&frame(DATA, BEGINS, 1, bytes)).unwrap();
        assert_eq!(ledger.lock().total, 1);
        account.read(1, 1);
        assert_eq!(ledger.lock().total, 1);
        account.read(1, bytes - 1);
        assert_eq!(ledger.lock().total, 0);
    }

    #[test]
    fn streams_that_yamux_does_not_make_end_the_connection() {
        // The flag that ends a stream, beside the one that begins it.
        let ends_at_once = BEGINS | 8;
        for kind in [DATA, WINDOW] {
            let account = account(&Ledger::default(), "192.0.2.1");
            let begun = (1..100_000).take_while(|stream| account.came(&frame(kind, ends_at_once, *stream, 0)).is_ok());
            assert_eq!(begun.count(), limits::STREAMS_BEGUN);
            assert_eq!(account.streams(), limits::STREAMS_BEGUN);
        }
        // As many as there may be, again and again, is no more than that.
        let account = account(&Ledger::default(), "192.0.2.1");
        for stream in 1..10 * u32::try_from(limits::STREAMS_BEGUN).unwrap() {
            account.came(&frame(DATA, BEGINS, stream, 0)).unwrap();
            account.dropped(stream, || {});
            account.forget(account.dropped_so_far());
        }
    }

    #[test]
    fn a_stream_is_forgotten_once_its_end_is_sent_or_where_there_is_nothing_left_to_say() {
        let begun = |len| {
            let account = account(&Ledger::default(), "192.0.2.1");
            account.came(&frame(DATA, BEGINS, 1, len)).unwrap();
            account.opened(1, false);
            account
        };
        for flag in [RESETS, ENDS] {
            let account = begun(1_000);
            let end = [frame(DATA, 0, 1, 40), frame(DATA, flag, 1, 0)].concat();
            // What was sent before is no end of it.
            account.left(&frame(DATA, flag, 3, 0));
            account.dropped(1, || {});
            end.chunks(5).for_each(|part| {
                assert_eq!((account.bytes(), account.remembered()), (1_000 + limits::UNREAD_FRAME, 1));
                account.left(part);
            });
            assert_eq!((account.bytes(), account.remembered(), account.streams_of_others()), (0, 0, 0));
        }
        // Whoever says first that it sends no more still holds what it has not read.
        let account = begun(1_000);
        account.closed(1);
        account.dropped(1, || {});
        account.left(&frame(DATA, ENDS, 1, 0));
        assert_eq!(account.remembered(), 1);
        account.gone();
        assert_eq!((account.bytes(), account.remembered()), (0, 0));
        // yamux is gone.
        let account = begun(0);
        account.gone();
        account.dropped(1, || {});
        assert_eq!(account.remembered(), 0);
    }

    #[test]
    fn streams_that_are_over_on_both_sides_keep_none_from_beginning_and_what_comes_in_them_all_the_same_counts() {
        let most = u32::try_from(limits::STREAMS_BEGUN).unwrap();
        for (flag, is_late) in [(ENDS, false), (RESETS, false), (ENDS, true), (RESETS, true)] {
            let account = account(&Ledger::default(), "192.0.2.1");
            for stream in (0..10 * most).map(|number| 2 * number + 1) {
                account.came(&frame(DATA, BEGINS, stream, 0)).unwrap();
                account.opened(stream, false);
                account.closed(stream);
                let ends = || account.came(&frame(DATA, flag, stream, 0)).unwrap();
                if !is_late {
                    ends();
                }
                account.dropped(stream, || {});
                if is_late {
                    ends();
                }
            }
            assert_eq!(account.remembered(), limits::STREAMS_BEGUN);
            let last = || (0..10 * most).rev().map(|number| 2 * number + 1);
            let filled =
                last().take_while(|stream| account.came(&frame(DATA, 0, *stream, limits::STREAM_WINDOW)).is_ok());
            assert_eq!(filled.count(), limits::UNREAD_BYTES / limits::STREAM_WINDOW);
            account.forget(account.dropped_so_far());
            assert_eq!((account.bytes(), account.remembered()), (0, 0));
        }
    }

    #[test]
    fn a_stream_of_this_node_that_is_over_on_both_sides_has_no_room_of_its_own() {
        let account = account(&Ledger::default(), "192.0.2.1");
        for stream in (2..).step_by(2).take(limits::STREAMS_BEGUN) {
            account.opened(stream, true);
            account.came(&frame(DATA, RESETS, stream, 0)).unwrap();
            account.dropped(stream, || {});
        }
        let fill = |stream| account.came(&frame(DATA, 0, stream, limits::STREAM_WINDOW));
        assert!(
            (2..).step_by(2).take(limits::UNREAD_BYTES / limits::STREAM_WINDOW + 1).any(|stream| fill(stream).is_err())
        );
        account.forget(account.dropped_so_far());
        assert_eq!((account.bytes(), account.remembered()), (0, 0));
    }

    #[test]
    fn a_stream_does_not_begin_anew_before_the_other_side_was_told_that_it_ended() {
        let account = account(&Ledger::default(), "192.0.2.1");
        account.came(&frame(DATA, BEGINS, 1, 1_000)).unwrap();
        account.dropped(1, || {});
        assert!(account.came(&frame(DATA, BEGINS, 1, 1_000)).is_err());
        assert!(account.came(&frame(WINDOW, BEGINS, 1, 0)).is_err());
    }

    #[test]
    fn the_part_of_a_large_stream_is_exact_where_words_are_short() {
        assert_eq!(part(1 << 24, 1 << 23, 1 << 24), 1 << 23);
        assert_eq!((part(7, 0, 3), part(7, 3, 3), part(7, 1, 3)), (0, 7, 2));
    }

    #[test]
    fn many_connections_that_hold_a_little_each_count() {
        let ledger = Ledger::with(1 << 20);
        let crowd: Vec<Account> = (0..64).map(|n| account(&ledger, &format!("192.0.{n}.1"))).collect();
        crowd.iter().for_each(|one| one.came(&frame(DATA, BEGINS, 1, 60_000)).unwrap());
        let stay = crowd.iter().filter(|one| goes_on(one)).count();
        assert!((16..=18).contains(&stay), "{stay} stay");
    }

    #[test]
    fn beyond_the_bound_of_all_whoever_holds_most_goes_and_of_equal_ones_the_newest() {
        let ledger = Ledger::with(16 * limits::UNREAD_UNIT);
        let fill = |account: &Account, units| {
            (0..units).for_each(|_| account.came(&frame(DATA, BEGINS, 1, limits::UNREAD_UNIT)).unwrap());
        };
        let honest = account(&ledger, "203.0.113.1");
        fill(&honest, 4);
        // Two addresses of a network hold more together than the honest one.
        let crowd = [account(&ledger, "192.0.2.1"), account(&ledger, "192.0.2.1"), account(&ledger, "192.0.2.2")];
        crowd.iter().for_each(|one| fill(one, 4));
        let late = account(&ledger, "198.51.100.1");
        fill(&late, 1);
        assert_eq!(crowd.each_ref().map(goes_on), [true, false, true], "the newer one of the address that holds most");
        assert!(goes_on(&honest) && goes_on(&late));
        // What it holds counts until it is gone, and it makes room once.
        let sums = || {
            let book = ledger.lock();
            (book.total, book.ending)
        };
        assert_eq!(sums(), (17, 4));
        let [one, ended, other] = crowd;
        ended.came(&frame(DATA, 0, 1, limits::UNREAD_UNIT)).unwrap();
        assert_eq!(sums(), (18, 5));
        drop(ended);
        assert_eq!(sums(), (13, 0));
        drop((one, other));
        assert_eq!(sums(), (5, 0));
        drop((honest, late));
        assert_eq!(sums(), (0, 0));
        assert!(ledger.lock().shares.is_empty());
    }
}
