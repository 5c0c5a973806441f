//! The gate for connections in the middle of their handshake. There is room for so many; one more always gets in, and
//! in its place the oldest goes that has said nothing yet, of the address, else the prefix, that holds too much, or, when all
//! is taken, of those that hold most: an address, or the network or the wide network around addresses that hold a little
//! each. libp2p's own limit refuses the newest instead, so that whoever opens enough sockets and says nothing shuts everybody
//! out.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt, TryFutureExt,
    future::{AbortHandle, AbortRegistration, Abortable, BoxFuture},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    },
};

use crate::{
    limits,
    origin::Origin,
    shares::{Group, Groups, Shares},
};

/// Whether the other side has said anything.
type Heard = Arc<AtomicBool>;

/// The list of pending handshakes, shared by all listeners of a node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    pending: BTreeMap<u64, Pending>,
    shares: Shares,
    next: u64,
    /// Of the socket that a listener below has just taken, until the gate above sees it come by in the same poll.
    arriving: Option<Heard>,
}

struct Pending {
    groups: Groups,
    heard: Heard,
    abort: AbortHandle,
}

impl Table {
    /// Makes room for one more, and takes it in: its number, and what ends it.
    fn admit(&mut self, origin: Option<Origin>) -> (u64, AbortRegistration) {
        // What is no plain socket is never silent: its first packet is part of the handshake.
        let heard = self.arriving.take().unwrap_or_else(|| Arc::new(AtomicBool::new(true)));
        // Of whom no address is known are one group.
        let groups =
            origin.map_or_else(|| Groups::alone(Ipv4Addr::UNSPECIFIED.into()), |origin| Groups::of(origin.address));
        // It counts for whether its own group holds most.
        self.shares.add(groups);
        if origin.is_some() {
            self.keep_below(limits::PENDING_PER_ADDRESS, groups.address());
            self.keep_below(limits::PENDING_PER_PREFIX, groups.network());
        }
        if self.pending.len() >= limits::PENDING_INCOMING {
            self.drop_one(|_| true);
        }
        let (abort, registration) = AbortHandle::new_pair();
        let number = self.next;
        self.next += 1;
        self.pending.insert(number, Pending { groups, heard, abort });
        (number, registration)
    }

    fn keep_below(&mut self, most: usize, group: Group) {
        if self.shares.of(group) > most {
            self.drop_one(|groups| groups.each().contains(&group));
        }
    }

    /// Ends one of some, of those in the heaviest group: a silent one before one that has spoken, then one of whoever holds
    /// most in there, then the oldest. Silence comes first, so that a household does not pay for what is silent around it.
    fn drop_one(&mut self, of: impl Fn(Groups) -> bool) {
        let some = || self.pending.iter().filter(|(_, pending)| of(pending.groups));
        let heaviness = |pending: &Pending| self.shares.heaviness(pending.groups);
        let most = some().map(|(_, pending)| heaviness(pending).weight()).max();
        let heaviest = some().filter(|(_, pending)| Some(heaviness(pending).weight()) == most);
        let weakest = heaviest.max_by_key(|(number, pending)| {
            let is_silent = !pending.heard.load(Ordering::Relaxed);
            (is_silent, heaviness(pending), Reverse(**number))
        });
        if let Some(pending) = weakest.map(|(number, _)| *number).and_then(|number| self.remove(number)) {
            pending.abort.abort();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.shares.remove(pending.groups);
        Some(pending)
    }
}

impl Gate {
    /// Notes what the sockets of a transport hear, so that the silent ones are known.
    pub(crate) fn listen<T: Transport>(&self, inner: T) -> Listening<T> {
        Listening { inner, gate: self.clone() }
    }

    /// Bounds the handshakes of everything that comes in through a transport.
    pub(crate) fn guard(&self, inner: Boxed<(PeerId, StreamMuxerBox)>) -> Guarded {
        Guarded { inner, gate: self.clone() }
    }

    fn table<R>(&self, with: impl FnOnce(&mut Table) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A handshake's place; given back when it is over, however it ends.
struct Place(Gate, u64);

impl Drop for Place {
    fn drop(&mut self) {
        let number = self.1;
        self.0.table(|table| _ = table.remove(number));
    }
}

/// A transport above which handshakes are complete.
pub(crate) struct Guarded {
    inner: Boxed<(PeerId, StreamMuxerBox)>,
    gate: Gate,
}

impl Transport for Guarded {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = <Boxed<Self::Output> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = std::task::ready!(Pin::new(&mut self.inner).poll(cx));
        let origin = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => Origin::of(send_back_addr),
            TransportEvent::NewAddress { .. }
            | TransportEvent::AddressExpired { .. }
            | TransportEvent::ListenerClosed { .. }
            | TransportEvent::ListenerError { .. } => None,
        };
        let gate = self.gate.clone();
        Poll::Ready(event.map_upgrade(move |upgrade| {
            let (number, registration) = gate.table(|table| table.admit(origin));
            let place = Place(gate, number);
            let crowded = |_| io::Error::new(io::ErrorKind::ConnectionAborted, "a newer connection needed its place");
            Abortable::new(upgrade, registration)
                .map(move |end| {
                    drop(place);
                    end.map_err(crowded).and_then(|end| end)
                })
                .boxed()
        }))
    }
}

/// A transport of plain sockets, whose first words are noted.
pub(crate) struct Listening<T> {
    inner: T,
    gate: Gate,
}

impl<T> Transport for Listening<T>
where
    T: Transport + Unpin,
    T::Output: Unpin,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    type Output = Attentive<T::Output>;
    type Error = T::Error;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, T::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, T::Error>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<T::Error>> {
        let dial = self.inner.dial(address, options)?;
        Ok(dial.map_ok(|socket| Attentive { socket, heard: Heard::default() }).boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, T::Error>> {
        let event = std::task::ready!(Pin::new(&mut self.inner).poll(cx));
        let gate = self.gate.clone();
        Poll::Ready(event.map_upgrade(move |upgrade| {
            let heard = Heard::default();
            gate.table(|table| table.arriving = Some(Arc::clone(&heard)));
            upgrade.map_ok(move |socket| Attentive { socket, heard }).boxed()
        }))
    }
}

/// A socket that notes when it hears something.
pub(crate) struct Attentive<S> {
    socket: S,
    heard: Heard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Attentive<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let end = std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, into));
        if end.as_ref().is_ok_and(|count| *count > 0) {
            self.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(end)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Attentive<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<Origin> {
        Origin::of(&format!("/ip4/{text}/tcp/1").parse().unwrap())
    }

    fn arrive(table: &mut Table, from: &str, heard: bool) -> (u64, AbortRegistration) {
        table.arriving = Some(Arc::new(AtomicBool::new(heard)));
        table.admit(origin(from))
    }

    #[test]
    fn the_oldest_silent_one_makes_room_and_who_speaks_stays() {
        let mut table = Table::default();
        let speaks = arrive(&mut table, "192.0.2.1", true).0;
        let silent = arrive(&mut table, "192.0.2.1", false).0;
        (0..limits::PENDING_PER_ADDRESS * 3).for_each(|_| _ = arrive(&mut table, "192.0.2.1", false));
        assert_eq!(table.pending.len(), limits::PENDING_PER_ADDRESS);
        assert!(table.pending.contains_key(&speaks) && !table.pending.contains_key(&silent));
    }

    #[test]
    fn whoever_holds_most_makes_room_for_others() {
        let mut table = Table::default();
        let honest = arrive(&mut table, "198.51.100.7", false).0;
        for number in 0..limits::PENDING_INCOMING * 2 {
            arrive(&mut table, &format!("192.0.2.{}", number % 250), number % 2 == 0);
        }
        assert!(table.pending.len() <= limits::PENDING_PER_PREFIX + 1);
        for number in 0..limits::PENDING_INCOMING {
            arrive(&mut table, &format!("203.0.{}.1", number % 250), true);
        }
        assert_eq!(table.pending.len(), limits::PENDING_INCOMING);
        assert!(table.pending.contains_key(&honest), "of the crowded prefixes one goes, not the lone one");
    }

    #[test]
    fn a_household_that_has_spoken_stays_among_silent_neighbours_that_hold_less_each() {
        let mut table = Table::default();
        let mut from = |household: usize, heard: bool| {
            table.arriving = Some(Arc::new(AtomicBool::new(heard)));
            table.admit(Origin::of(&format!("/ip6/2001:db8:1:{household:x}::1/tcp/1").parse().unwrap())).0
        };
        let honest = [from(0xFFFF, true), from(0xFFFF, true)];
        (0..limits::PENDING_PER_PREFIX * 2).for_each(|n| _ = from(n, false));
        assert_eq!(table.pending.len(), limits::PENDING_PER_PREFIX);
        assert!(honest.iter().all(|number| table.pending.contains_key(number)));
    }

    #[test]
    fn where_nobody_holds_more_than_others_it_is_not_the_highest_address_that_goes() {
        // One of each network of a wide one, and one of each wide one.
        let in_few: fn(usize) -> String = |n| format!("44.{}.{}.7", n / 250 % 4, n % 250);
        let in_many: fn(usize) -> String = |n| format!("{}.{}.1.7", 30 + n / 250 % 4, n % 250);
        for crowd in [in_few, in_many] {
            let mut table = Table::default();
            (0..limits::PENDING_INCOMING).for_each(|n| _ = arrive(&mut table, &crowd(n), false));
            let honest = ["60.0.0.1", "20.0.0.1"].map(|from| arrive(&mut table, from, true).0);
            (0..limits::PENDING_INCOMING / 2).for_each(|n| _ = arrive(&mut table, &crowd(n + 600), false));
            assert!(honest.iter().all(|number| table.pending.contains_key(number)));
            assert_eq!(table.pending.len(), limits::PENDING_INCOMING);
        }
        // Silent ones that hold as much as each other go by age.
        let mut table = Table::default();
        let first = arrive(&mut table, "99.9.9.9", false).0;
        (1..limits::PENDING_INCOMING).for_each(|n| _ = arrive(&mut table, &in_many(n), false));
        let last = arrive(&mut table, "99.8.9.9", false).0;
        assert!(!table.pending.contains_key(&first) && table.pending.contains_key(&last));
        drop(table.remove(last));
        assert_eq!(table.shares.of(Groups::of("99.8.9.9".parse().unwrap()).address()), 0);
    }
}
