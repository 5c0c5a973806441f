//! Answers that were made whole and wait to be read: lists, a program's output. A reader that takes none of it holds all
//! of it in memory, so each address has a share of that, and so has everybody together. An answer that is made always
//! goes out; when there is no room, the oldest one of the same address, or of the address that holds most, is cut off.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
    middleware::Next,
    response::Response,
};
use tokio_util::sync::CancellationToken;

use super::{App, limits, source::Source};

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
}

struct Answer {
    address: IpAddr,
    bytes: usize,
    cut: CancellationToken,
}

/// The bytes of an answer, counted until nobody holds any of them.
struct Held {
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
        Ok(bytes) => Body::from(app.outbox.hold(source, cut, bytes)),
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
    pub fn hold(&self, source: Source, cut: Cut, bytes: Bytes) -> Bytes {
        let address = source.address;
        let mut table = self.lock();
        while table.held(Some(address)) + bytes.len() > limits::ANSWER_BYTES_PER_ADDRESS && table.cut_oldest(address) {}
        while table.held(None) + bytes.len() > limits::ANSWER_BYTES
            && table.heaviest().is_some_and(|heaviest| table.cut_oldest(heaviest))
        {}
        table.last += 1;
        let number = table.last;
        table.answers.insert(number, Answer { address, bytes: bytes.len(), cut: cut.0 });
        drop(table);
        Bytes::from_owner(Held { bytes, number, outbox: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Bytes of one address, or of all.
    fn held(&self, of: Option<IpAddr>) -> usize {
        let counted = self.answers.values().filter(|answer| of.is_none_or(|address| answer.address == address));
        counted.map(|answer| answer.bytes).sum()
    }

    fn heaviest(&self) -> Option<IpAddr> {
        let mut weights: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for answer in self.answers.values() {
            *weights.entry(answer.address).or_default() += answer.bytes;
        }
        weights.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(address, _)| address)
    }

    /// `false` when the address has none.
    fn cut_oldest(&mut self, address: IpAddr) -> bool {
        let oldest = self.answers.iter().find(|(_, answer)| answer.address == address).map(|(number, _)| *number);
        let Some(answer) = oldest.and_then(|number| self.answers.remove(&number)) else { return false };
        answer.cut.cancel();
        true
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.outbox.lock().answers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn put(outbox: &Outbox, last: u8, bytes: usize) -> (Bytes, CancellationToken) {
        let cut = Cut::default();
        let held = outbox.hold(Source::of([203, 0, 113, last].into()), cut.clone(), vec![0; bytes].into());
        (held, cut.0)
    }

    fn alive(answers: &[(Bytes, CancellationToken)]) -> usize {
        answers.iter().filter(|(_, cut)| !cut.is_cancelled()).count()
    }

    #[test]
    fn the_oldest_unread_answers_of_an_address_are_cut_off_for_its_next_ones() {
        let outbox = Outbox::default();
        let other = put(&outbox, 2, MIB);
        let answers: Vec<_> = (0..100).map(|_| put(&outbox, 1, MIB)).collect();
        assert_eq!(alive(&answers), limits::ANSWER_BYTES_PER_ADDRESS / MIB);
        assert!(answers[0].1.is_cancelled() && !answers[99].1.is_cancelled() && !other.1.is_cancelled());
        let part = answers[99].0.slice(5..9);
        drop(answers);
        assert_eq!(outbox.lock().held(None), 2 * MIB, "a part of it holds all of it");
        drop((part, other));
        assert!(outbox.lock().answers.is_empty());
    }

    #[test]
    fn of_all_addresses_the_one_that_holds_most_gives_way() {
        let outbox = Outbox::default();
        let few: Vec<_> = (0..3).map(|_| put(&outbox, 200, MIB)).collect();
        let each = limits::ANSWER_BYTES_PER_ADDRESS / MIB;
        let many: Vec<_> = (1..20).flat_map(|n| (0..each).map(move |_| n)).map(|n| put(&outbox, n, MIB)).collect();
        assert_eq!((alive(&few), alive(&many)), (3, limits::ANSWER_BYTES / MIB - 3));
        let large = put(&outbox, 201, limits::ANSWER_BYTES * 2);
        assert!(!large.1.is_cancelled(), "one that is made goes out");
    }
}
