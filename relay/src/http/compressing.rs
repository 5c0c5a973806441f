//! How many answers are compressed at once, and how many of those take a processor. What an encoder remembers is held as long
//! as its reader takes, and compressing is work that others would wait for; so each address and each network has a share of
//! the encoders, and a few threads at most compress at the same time, a little of an answer in each turn. Whoever finds no
//! encoder gets the answer as it is.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use p2pnet_net::shares::{Groups, Shares};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::{App, compress, limits, source_of};

/// The encoders in use, and the turns at a processor. Cheap to clone.
#[derive(Clone)]
pub struct Encoders {
    table: Arc<Mutex<Table>>,
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct Table {
    taken: usize,
    shares: Shares,
}

/// An encoder's place; given back when the last clone is dropped.
#[derive(Clone)]
struct Place {
    _taken: Arc<Taken>,
}

struct Taken {
    groups: Groups,
    encoders: Encoders,
}

/// The mark of an answer that goes out as it is, since there is no encoder for it.
#[derive(Clone, Copy, Debug)]
pub struct AsItIs;

impl Default for Encoders {
    /// As many turns at once as leave at least half of the processors to everything else.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { table: Arc::default(), turns: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }
}

impl Encoders {
    fn take(&self, groups: Groups) -> Option<Place> {
        let mut table = self.lock();
        if table.taken >= limits::ENCODERS
            || table.shares.of(groups.network()) >= limits::ENCODERS_PER_NETWORK
            || table.shares.of(groups.address()) >= limits::ENCODERS_PER_ADDRESS
        {
            return None;
        }
        table.taken += 1;
        table.shares.add(groups);
        Some(Place { _taken: Arc::new(Taken { groups, encoders: self.clone() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut table = self.encoders.lock();
        table.taken -= 1;
        table.shares.remove(self.groups);
    }
}

/// Within what compresses: finds a place for an answer that is going to be compressed, or marks it [`AsItIs`].
pub async fn find_place(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_asked_for = request.headers().contains_key(header::ACCEPT_ENCODING);
    let source = source_of(&app, &request);
    let mut response = next.run(request).await;
    if !is_asked_for || !may_be_compressed(&response) {
        return response;
    }
    match app.encoders.take(source.groups()) {
        Some(place) => {
            response.extensions_mut().insert(place);
            response.map(|body| Body::new(Sliced { body, rest: Bytes::new(), goes_on: true }))
        }
        None => {
            response.extensions_mut().insert(AsItIs);
            response
        }
    }
}

fn may_be_compressed(response: &Response) -> bool {
    let headers: &HeaderMap = response.headers();
    // As what compresses decides it, which leaves parts of answers alone.
    let told = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let len: Option<u64> = response.body().size_hint().exact().or_else(told);
    !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && len.is_none_or(|len| len >= compress::LEAST_BYTES)
        && compress::shrinks(headers)
}

/// Around what compresses: an answer that is compressed waits for its turns, and keeps its place to its end.
pub async fn take_turns(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let place = response.extensions_mut().remove::<Place>();
    match place.filter(|_| response.headers().contains_key(header::CONTENT_ENCODING)) {
        Some(place) => {
            let turns = PollSemaphore::new(Arc::clone(&app.encoders.turns));
            response.map(|body| Body::new(InTurns { body, turns, _place: place }))
        }
        None => response,
    }
}

/// A body in slices, with a pause after each: whoever compresses it takes all that there is at once.
struct Sliced {
    body: Body,
    rest: Bytes,
    goes_on: bool,
}

impl http_body::Body for Sliced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.goes_on {
            self.goes_on = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.goes_on = false;
        let most = self.rest.len().min(limits::ENCODED_AT_ONCE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(most)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// A compressed body that goes on only in its turn.
struct InTurns {
    body: Body,
    turns: PollSemaphore,
    _place: Place,
}

impl http_body::Body for InTurns {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Nobody closes it. It ends with this call, in which at most a slice is compressed.
        let _turn: Option<OwnedSemaphorePermit> = ready!(self.turns.poll_acquire(cx));
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn groups(address: [u8; 4]) -> Groups {
        Groups::of(address.into())
    }

    #[test]
    fn encoders_are_shared_by_address_and_network_and_given_back() {
        let encoders = Encoders::default();
        let take = |count: usize, address: [u8; 4]| -> Vec<Place> {
            (0..count).map_while(|_| encoders.take(groups(address))).collect()
        };
        let of_address = take(usize::MAX, [192, 0, 2, 1]);
        assert_eq!(of_address.len(), limits::ENCODERS_PER_ADDRESS);
        let of_network: Vec<Place> = (2..=255).flat_map(|last| take(usize::MAX, [192, 0, 2, last])).collect();
        assert_eq!(of_address.len() + of_network.len(), limits::ENCODERS_PER_NETWORK);
        let of_all: Vec<Place> = (0..=255).flat_map(|network| take(usize::MAX, [203, 0, network, 1])).collect();
        assert_eq!(of_address.len() + of_network.len() + of_all.len(), limits::ENCODERS);
        let more = of_address.first().cloned();
        drop((of_address, of_network, of_all));
        assert_eq!(encoders.lock().taken, 1);
        drop(more);
        assert!(encoders.lock().taken == 0 && encoders.lock().shares.is_empty());
    }

    #[test]
    fn a_body_that_is_compressed_comes_in_slices_with_a_pause_after_each() {
        let len = 3 * limits::ENCODED_AT_ONCE + 5;
        let mut body = Sliced { body: Body::from(vec![7; len]), rest: Bytes::new(), goes_on: true };
        assert_eq!(body.size_hint().exact(), Some(len as u64));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut came, mut pauses) = (0, 0);
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(frame)) => came += frame.unwrap().into_data().unwrap().len(),
                Poll::Ready(None) => break,
                Poll::Pending => pauses += 1,
            }
            assert_eq!(body.size_hint().exact(), Some((len - came) as u64));
        }
        assert_eq!((came, pauses), (len, 4));
    }
}
