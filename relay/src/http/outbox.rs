//! Answers that were made whole and wait to be read: lists of jobs, of nodes, a job with many attempts. A reader that takes
//! none of it holds all of it in memory, so each network has a share of that, in it each address, and all together have a
//! bound. When there is no room, who reads slowest of those that hold most (an address, or the network or the wide network around
//! addresses that hold a little each) is cut off; a reader that makes progress is not, but where its group holds more than one
//! who comes would. Whoever finds no room asks again.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};
use p2pnet_net::shares::{Heaviness, Shares};
use p2pnet_shared::refusal::{Code, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{App, answer::Refused, limits, source::Source};

/// Ends the connection that a request came over.
#[derive(Clone, Debug, Default)]
pub struct Cut(pub CancellationToken);

/// What is on its way out. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// The number of the last one: older ones have lower numbers.
    last: u64,
    answers: BTreeMap<u64, Answer>,
    /// Who holds how many bytes.
    shares: Shares,
}

struct Answer {
    source: Source,
    bytes: usize,
    since: Instant,
    /// How many of the bytes its reader has taken.
    taken: usize,
    cut: CancellationToken,
}

/// The bytes of an answer, counted until nobody holds any of them.
struct Held {
    bytes: Bytes,
    number: u64,
    outbox: Outbox,
}

/// What is left of an answer.
struct Unread {
    bytes: Bytes,
    number: u64,
    outbox: Outbox,
}

/// Counts what an endpoint has made whole. Streams hold one part at a time and are no matter of this.
pub async fn hold(app: &App, request: Request, next: Next) -> Response {
    let source = super::source_of(app, &request);
    let cut = request.extensions().get::<Cut>().cloned().unwrap_or_default();
    let response = next.run(request).await;
    let len = response.body().size_hint().exact().unwrap_or(0);
    if len <= limits::SMALL_ANSWER_BYTES {
        return response;
    }
    let (parts, body) = response.into_parts();
    // It is there as a whole: this neither waits nor copies.
    let body = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => match app.outbox.hold(source, cut, bytes, Instant::now()) {
            Ok(unread) => Body::new(unread),
            Err(refusal) => return Refused(refusal).into_response(),
        },
        Err(error) => {
            tracing::debug!(%error, "an answer broke off before it was sent");
            cut.0.cancel();
            Body::empty()
        }
    };
    Response::from_parts(parts, body)
}

impl Outbox {
    /// The same bytes, counted for `source`. Makes room for them.
    fn hold(&self, source: Source, cut: Cut, bytes: Bytes, now: Instant) -> Result<Unread, Refusal> {
        let mut table = self.lock();
        table.make_room(source, bytes.len(), now)?;
        table.last += 1;
        let number = table.last;
        table.shares.add_many(source.groups(), bytes.len());
        table.answers.insert(number, Answer { source, bytes: bytes.len(), since: now, taken: 0, cut: cut.0 });
        drop(table);
        let bytes = Bytes::from_owner(Held { bytes, number, outbox: self.clone() });
        Ok(Unread { bytes, number, outbox: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Lets as many go as must for so many bytes more. Those who hold less than others would not wait for them, however well
    /// these read.
    fn make_room(&mut self, source: Source, bytes: usize, now: Instant) -> Result<(), Refusal> {
        let of_address = |other: Source| other.address == source.address;
        let of_network = |other: Source| other.network == source.network;
        while self.lacks(bytes, limits::ANSWER_BYTES_PER_ADDRESS, of_address) {
            if !self.cut_slowest(now, false, of_address) {
                return Err(no_room("your address"));
            }
        }
        while self.lacks(bytes, limits::ANSWER_BYTES_PER_NETWORK, of_network) {
            // Not for nothing: what others in it hold beyond what this one would has to do.
            let own = self.shares.of(source.groups().address()) + bytes;
            let theirs = self.answers.values().map(|answer| answer.source).filter(|other| of_network(*other));
            let addresses: BTreeSet<_> = theirs.map(|other| other.groups().address()).collect();
            let beyond: usize = addresses.into_iter().map(|address| self.shares.of(address).saturating_sub(own)).sum();
            let gives_way = beyond + limits::ANSWER_BYTES_PER_NETWORK >= self.held(of_network) + bytes;
            let is_made = self.cut_slowest_of_heaviest(now, false, of_network)
                || self.cut_slowest(now, false, of_network)
                || (gives_way && self.cut_slowest_of_heaviest(now, true, of_network));
            if !is_made {
                return Err(no_room("your network"));
            }
        }
        while self.lacks(bytes, limits::ANSWER_BYTES, |_| true) {
            let gives_way = self.shares.gives_way_for(Some(source.groups()), bytes).is_some();
            let is_made = self.cut_slowest_of_heaviest(now, false, |_| true)
                || self.cut_slowest(now, false, |_| true)
                || (gives_way && self.cut_slowest_of_heaviest(now, true, |_| true));
            if !is_made {
                return Err(no_room("everybody"));
            }
        }
        Ok(())
    }

    /// Whether so many bytes more are beyond a bound. Alone, an answer always has room.
    fn lacks(&self, bytes: usize, most: usize, of: impl Fn(Source) -> bool) -> bool {
        let held = self.held(of);
        held > 0 && held + bytes > most
    }

    fn held(&self, of: impl Fn(Source) -> bool) -> usize {
        self.answers.values().filter(|answer| of(answer.source)).map(|answer| answer.bytes).sum()
    }

    /// How heavy those of some are that hold most.
    fn heaviest(&self, of: impl Fn(Source) -> bool) -> Option<Heaviness> {
        let sources = self.answers.values().map(|answer| answer.source).filter(|source| of(*source));
        sources.map(|source| self.shares.heaviness(source.groups())).max()
    }

    /// The same as [`Self::cut_slowest`], of those that hold most.
    fn cut_slowest_of_heaviest(&mut self, now: Instant, of_all: bool, of: impl Fn(Source) -> bool) -> bool {
        let most = self.heaviest(&of);
        let sources = self.answers.values().map(|answer| answer.source).filter(|source| of(*source));
        let heaviest = sources.filter(|source| Some(self.shares.heaviness(source.groups())) == most);
        let heaviest: BTreeSet<Source> = heaviest.collect();
        self.cut_slowest(now, of_all, |source| heaviest.contains(&source))
    }

    /// Cuts off whoever takes least a second: of those that make no progress, or of all. `false` when there is none.
    fn cut_slowest(&mut self, now: Instant, of_all: bool, of: impl Fn(Source) -> bool) -> bool {
        let theirs = self.answers.iter().filter(|(_, answer)| of(answer.source));
        let theirs = theirs.filter(|(_, answer)| of_all || !answer.makes_progress(now));
        let slowest = theirs.min_by_key(|(_, answer)| answer.speed(now)).map(|(number, _)| *number);
        let Some(answer) = slowest.and_then(|number| self.remove(number)) else { return false };
        answer.cut.cancel();
        true
    }

    fn remove(&mut self, number: u64) -> Option<Answer> {
        let answer = self.answers.remove(&number)?;
        self.shares.remove_many(answer.source.groups(), answer.bytes);
        Some(answer)
    }
}

impl Answer {
    /// Bytes a second that its reader takes, on average; as many as there are where it has hardly begun.
    fn speed(&self, now: Instant) -> usize {
        let age = now.saturating_duration_since(self.since);
        if age < limits::ANSWER_GRACE {
            return usize::MAX;
        }
        let millis = usize::try_from(age.as_millis()).unwrap_or(usize::MAX).max(1);
        self.taken.saturating_mul(1_000) / millis
    }

    fn makes_progress(&self, now: Instant) -> bool {
        self.speed(now) >= limits::LEAST_ANSWER_SPEED
    }
}

/// The refusal of an answer more.
fn no_room(whose: &str) -> Refusal {
    let message = format!("as many answers as this relay keeps for {whose} wait to be read");
    Refusal::new(Code::RateLimited, message, "read the answers that you asked for, or ask again in a few seconds")
}

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let most = self.bytes.len().min(limits::ANSWER_SLICE_BYTES);
        if most == 0 {
            return Poll::Ready(None);
        }
        let slice = self.bytes.split_to(most);
        if let Some(answer) = self.outbox.lock().answers.get_mut(&self.number) {
            answer.taken += most;
        }
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.outbox.lock().remove(self.number));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1 << 20;
    /// Beyond the time in which whoever has taken nothing yet counts as if he read.
    const LATER: Duration = Duration::from_secs(3);

    struct Reader(Unread, CancellationToken);

    impl Reader {
        /// Takes so many slices.
        fn take(&mut self, slices: usize) -> Vec<Bytes> {
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut next = || match Pin::new(&mut self.0).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
                Poll::Ready(_) | Poll::Pending => None,
            };
            (0..slices).map_while(|_| next()).collect()
        }

        fn is_cut(&self) -> bool {
            self.1.is_cancelled()
        }
    }

    fn put(outbox: &Outbox, address: [u8; 4], bytes: usize, now: Instant) -> Result<Reader, Code> {
        let cut = Cut::default();
        let held = outbox.hold(Source::of(address.into()), cut.clone(), vec![0; bytes].into(), now);
        held.map(|unread| Reader(unread, cut.0)).map_err(|refusal| refusal.code)
    }

    fn alive(readers: &[Reader]) -> usize {
        readers.iter().filter(|reader| !reader.is_cut()).count()
    }

    #[test]
    fn an_answer_is_counted_until_nobody_holds_a_slice_of_it() {
        let outbox = Outbox::default();
        let mut reader = put(&outbox, [203, 0, 113, 1], MIB + 5, Instant::now()).unwrap();
        assert_eq!((reader.0.size_hint().exact(), reader.0.is_end_stream()), (Some(MIB as u64 + 5), false));
        let slices = reader.take(usize::MAX);
        assert_eq!(slices.iter().map(Bytes::len).sum::<usize>(), MIB + 5);
        assert_eq!((reader.0.size_hint().exact(), reader.0.is_end_stream()), (Some(0), true));
        drop(reader);
        assert_eq!(outbox.lock().held(|_| true), MIB + 5, "a part of it holds all of it");
        drop(slices);
        assert!(outbox.lock().answers.is_empty());
    }

    #[test]
    fn of_an_address_those_that_take_nothing_make_room_and_those_that_read_never_do() {
        let (outbox, now, address) = (Outbox::default(), Instant::now(), [203, 0, 113, 1]);
        let most = limits::ANSWER_BYTES_PER_ADDRESS / MIB;
        let other = put(&outbox, [203, 0, 113, 2], MIB, now).unwrap();
        let mut readers: Vec<Reader> = (0..most).map(|_| put(&outbox, address, MIB, now).unwrap()).collect();
        let young = put(&outbox, address, MIB, now).err();
        assert_eq!(young, Some(Code::RateLimited), "who has just come has had no time to read");
        for reader in &mut readers[..most / 2] {
            assert_eq!(reader.take(1).len(), 1);
        }
        let late: Vec<Reader> = (0..most / 2).map(|_| put(&outbox, address, MIB, now + LATER).unwrap()).collect();
        assert_eq!((alive(&readers[..most / 2]), alive(&readers[most / 2..])), (most / 2, 0));
        assert_eq!(put(&outbox, address, MIB, now + LATER).err(), Some(Code::RateLimited));
        assert!(alive(&late) == most / 2 && !other.is_cut());
    }

    #[test]
    fn many_addresses_of_one_network_have_one_share_and_the_address_that_holds_most_gives_way_first() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        let most = limits::ANSWER_BYTES_PER_NETWORK / MIB;
        let few = put(&outbox, [203, 0, 113, 1], MIB, now).unwrap();
        let each = limits::ANSWER_BYTES_PER_ADDRESS / MIB;
        let addresses = (0..most - 1).map(|n| [203, 0, 113, 2 + u8::try_from(n / each).unwrap()]);
        let many: Vec<Reader> = addresses.map(|address| put(&outbox, address, MIB, now).unwrap()).collect();
        let next = [203, 0, 113, 99];
        let much = limits::ANSWER_BYTES_PER_ADDRESS;
        assert_eq!(put(&outbox, next, much, now).err(), Some(Code::RateLimited), "it would hold as much");
        let elsewhere = put(&outbox, [203, 0, 114, 1], MIB, now);
        assert!(elsewhere.is_ok(), "another network has its own share");
        let late = put(&outbox, next, MIB, now + LATER).unwrap();
        assert_eq!((alive(&many), few.is_cut(), late.is_cut()), (most - 2, false, false));
    }

    #[test]
    fn two_addresses_that_read_slowly_keep_none_of_their_network_from_answers() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        let most = limits::ANSWER_BYTES_PER_NETWORK / MIB;
        let mut many: Vec<Reader> = (0..most)
            .map(|n| put(&outbox, [203, 0, 113, u8::try_from(1 + n % 2).unwrap()], MIB, now).unwrap())
            .collect();
        many.iter_mut().for_each(|reader| assert_eq!(reader.take(1).len(), 1));
        let too_much = put(&outbox, [203, 0, 113, 98], 50 * MIB, now + LATER);
        assert_eq!((too_much.err(), alive(&many)), (Some(Code::RateLimited), most), "nobody is cut off for nothing");
        let next = put(&outbox, [203, 0, 113, 99], MIB, now + LATER).unwrap();
        assert_eq!((alive(&many), next.is_cut()), (most - 1, false));
    }

    #[test]
    fn of_all_networks_the_one_that_holds_most_gives_way_and_nobody_who_reads_for_its_next_one() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        let mut few: Vec<Reader> = (0..3).map(|n| put(&outbox, [198, 51, 100, n], MIB, now).unwrap()).collect();
        let most = limits::ANSWER_BYTES / MIB - few.len();
        // Two networks, of addresses that hold as much.
        let mut many: Vec<Reader> = (0..most)
            .map(|n| put(&outbox, [203, 0, if n % 2 == 0 { 113 } else { 114 }, u8::try_from(n / 2).unwrap()], MIB, now))
            .map(Result::unwrap)
            .collect();
        for reader in few.iter_mut().chain(&mut many) {
            reader.take(1);
        }
        many[0].take(3);
        let theirs = put(&outbox, [203, 0, 113, 250], MIB, now + LATER);
        assert_eq!(theirs.err(), Some(Code::RateLimited), "those who hold most wait");
        let mine = put(&outbox, [198, 51, 100, 9], MIB, now + LATER).unwrap();
        assert_eq!((alive(&few), alive(&many), mine.is_cut(), many[0].is_cut()), (3, most - 1, false, false));
        let large = put(&outbox, [192, 0, 2, 1], limits::ANSWER_BYTES * 2, now + LATER);
        assert_eq!(large.err(), Some(Code::RateLimited));
        drop((few, many, mine));
        assert!(put(&outbox, [192, 0, 2, 1], limits::ANSWER_BYTES * 2, now).is_ok(), "alone, an answer goes out");
    }

    #[test]
    fn who_holds_nothing_finds_room_beside_neighbours_of_a_wide_network_that_hold_most() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        // Ten of each address, fifty of each network.
        let of = |n: usize| [203, 0, u8::try_from(n / 50).unwrap(), u8::try_from(n / 10 % 5).unwrap()];
        let most = limits::ANSWER_BYTES / MIB;
        let mut many: Vec<Reader> = (0..most).map(|n| put(&outbox, of(n), MIB, now).unwrap()).collect();
        many.iter_mut().for_each(|reader| _ = reader.take(1));
        let mine = put(&outbox, [203, 0, 99, 1], MIB, now + LATER).unwrap();
        assert_eq!((alive(&many), mine.is_cut()), (most - 1, false));
        assert_eq!(put(&outbox, of(0), MIB, now + LATER).err(), Some(Code::RateLimited), "who holds most waits");
    }
}
