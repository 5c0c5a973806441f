//! yamux within bounds. libp2p's own wrapper of it lets the other side open hundreds of streams and fill the window of each,
//! and lets windows grow to a GiB; this one does the same work with fewer streams, small windows, and an [`Account`] of
//! what lies unread.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Multiaddr,
    core::{
        muxing::{StreamMuxer, StreamMuxerEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    },
};
use yamux::{Config, Connection, ConnectionError, DEFAULT_CREDIT, Mode};

use super::{
    over::{Listener, Over},
    unread::{Account, Ledger},
};
use crate::limits;

/// Makes connections of streams. Cheap to clone; all clones share one bound of what lies unread.
#[derive(Clone, Default)]
pub(crate) struct Multiplexer(Ledger);

impl Multiplexer {
    /// What lies unread in all its connections.
    #[cfg(test)]
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: Mode) -> Muxer<C> {
        let account = Arc::new(self.0.open());
        let mut config = Config::default();
        config.set_max_num_streams(limits::STREAMS);
        let windows = limits::STREAMS * DEFAULT_CREDIT as usize;
        config.set_max_connection_receive_window(Some(windows + limits::WINDOW_GROWTH));
        let is_sent = Arc::new(AtomicBool::new(true));
        let socket = Counted { socket, account: Arc::clone(&account), is_sent: Arc::clone(&is_sent) };
        let (connection, listener) = (Connection::new(socket, config, mode), account.listener());
        let closed = Arc::default();
        Muxer { connection, account, is_sent, listener, closed, arrived: VecDeque::new(), taker: None }
    }
}

impl UpgradeInfo for Multiplexer {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Multiplexer {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Multiplexer {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Client)))
    }
}

/// A connection of many streams.
pub(crate) struct Muxer<C> {
    connection: Connection<Counted<C>>,
    account: Arc<Account>,
    /// Whether everything that yamux wrote is sent.
    is_sent: Arc<AtomicBool>,
    /// Hears when it is to make room for others.
    listener: Listener,
    /// Tells those who read that nothing more comes: yamux forgets them where it is closed here.
    closed: Arc<Over>,
    /// Streams that the other side has opened and nobody has taken.
    arrived: VecDeque<Stream>,
    taker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// The same muxer, which counts for whoever is at `address`.
    pub(crate) fn of(self, address: &Multiaddr) -> Self {
        self.account.belongs_to(address);
        self
    }

    /// Moves everything, and gives the next stream that the other side has opened and may have.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        loop {
            if self.listener.is_over(cx) {
                let why = io::Error::other("too much lies unread in all, and most of it there");
                return Poll::Ready(Err(why));
            }
            // yamux lets go of one dropped stream after another, and flushes in between. What it says of most shows that it has;
            // it has let go of all that were dropped before when it has nothing left to do and to send.
            let dropped = self.account.dropped_so_far();
            let stream = match self.connection.poll_next_inbound(cx) {
                Poll::Pending => {
                    if self.is_sent.load(Ordering::Relaxed) {
                        self.account.forget(dropped);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(stream))) => self.stream(stream, false),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(None) => return Poll::Ready(Err(broken(ConnectionError::Closed))),
            };
            if self.account.streams_of_others() <= limits::STREAMS_TAKEN {
                return Poll::Ready(Ok(stream));
            }
            // Dropped, which resets it.
        }
    }

    fn stream(&self, stream: yamux::Stream, is_ours: bool) -> Stream {
        let id = stream.id().val();
        self.account.opened(id, is_ours);
        let (account, writer, reader) = (Arc::clone(&self.account), self.account.listener(), self.closed.listener());
        Stream { stream: Some(stream), id, account, writer, reader }
    }
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        self.closed.set();
        self.account.gone();
    }
}

fn broken(error: ConnectionError) -> io::Error {
    if let ConnectionError::Io(error) = error { error } else { io::Error::other(error) }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.taker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        // Beyond its bound yamux would end the connection. Who waits is woken with it when a stream ends.
        if self.account.streams_of_ours() >= limits::STREAMS_OPEN {
            return Poll::Pending;
        }
        let stream = std::task::ready!(self.connection.poll_new_outbound(cx)).map_err(broken)?;
        Poll::Ready(Ok(self.stream(stream, true)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed.set();
        self.connection.poll_close(cx).map_err(broken)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = std::task::ready!(self.poll_next(cx))?;
        self.arrived.push_back(stream);
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
        // Others have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One stream of a connection.
pub(crate) struct Stream {
    /// Until it is dropped.
    stream: Option<yamux::Stream>,
    id: u32,
    account: Arc<Account>,
    /// Hears when the connection is to make room for others: who writes is told at once, also where the connection is gone.
    writer: Listener,
    /// Hears when nothing more comes.
    reader: Listener,
}

impl Stream {
    fn stream(&mut self) -> io::Result<Pin<&mut yamux::Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The stream, for who writes.
    fn lasting(&mut self, cx: &Context<'_>) -> io::Result<Pin<&mut yamux::Stream>> {
        if self.writer.is_over(cx) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.stream()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Self { stream, id, account, .. } = self;
        account.dropped(*id, || drop(stream.take()));
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.stream()?.poll_read(cx, into);
        if let Poll::Ready(Ok(count)) = read {
            self.account.read(self.id, count);
        }
        self.reader.or_ended(cx, read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lasting(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lasting(cx)?.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = self.lasting(cx)?.poll_close(cx);
        if let Poll::Ready(Ok(())) = closed {
            self.account.closed(self.id);
        }
        closed
    }
}

/// What yamux reads from and writes to.
struct Counted<C> {
    socket: C,
    account: Arc<Account>,
    is_sent: Arc<AtomicBool>,
}

impl<C: AsyncRead + Unpin> AsyncRead for Counted<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        self.account.came(into.get(..count).unwrap_or_default())?;
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Counted<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_sent.store(false, Ordering::Relaxed);
        let count = std::task::ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.account.left(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One after the other, so that it is known what was sent.
        let first = bytes.iter().find(|part| !part.is_empty());
        self.poll_write(cx, first.map_or(&[], |part| part))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = Pin::new(&mut self.socket).poll_flush(cx);
        self.is_sent.store(matches!(end, Poll::Ready(Ok(()))), Ordering::Relaxed);
        end
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::poll_fn};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

    use super::*;

    /// A muxer that others connect to, and the other end of its socket.
    fn server() -> (Muxer<Compat<DuplexStream>>, DuplexStream) {
        server_over(1 << 20)
    }

    /// The same, where so many bytes fit into the socket.
    fn server_over(bytes: usize) -> (Muxer<Compat<DuplexStream>>, DuplexStream) {
        let (ours, theirs) = duplex(bytes);
        (Multiplexer::default().muxer(ours.compat(), Mode::Server), theirs)
    }

    /// So many streams of a client that takes no heed of bounds, and the connection, to be moved.
    async fn opened(socket: DuplexStream, count: usize) -> (Connection<Compat<DuplexStream>>, Vec<yamux::Stream>) {
        let mut connection = Connection::new(socket.compat(), Config::default(), Mode::Client);
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap());
        }
        (connection, streams)
    }

    /// Of a client with as many streams as both sides may have.
    fn client_config() -> Config {
        let mut config = Config::default();
        config.set_max_connection_receive_window(None);
        config.set_max_num_streams(2_000);
        config
    }

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), what).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_that_fills_streams_that_nobody_reads_ends() {
        let (mut muxer, theirs) = server();
        let window = DEFAULT_CREDIT as usize;
        let (mut connection, streams) = opened(theirs, 2 * limits::UNREAD_BYTES / window).await;
        tokio::spawn(async move { while poll_fn(|cx| connection.poll_next_inbound(cx)).await.is_some() {} });
        for mut stream in streams {
            // It fails when the connection ends.
            tokio::spawn(async move { stream.write_all(&vec![7; window]).await.map(|()| stream) });
        }
        let end = soon(poll_fn(|cx| Pin::new(&mut muxer).poll(cx))).await;
        assert!(end.unwrap_err().to_string().contains("unread"));
        assert!(muxer.arrived.len() <= limits::UNREAD_BYTES / (window / 4), "{} streams", muxer.arrived.len());
    }

    #[tokio::test]
    async fn a_connection_whose_circuits_are_all_full_goes_on() {
        assert_eq!(limits::STREAM_WINDOW, DEFAULT_CREDIT as usize);
        let (mut muxer, theirs) = server();
        let (mut connection, streams) = opened(theirs, limits::CIRCUITS_PER_NODE).await;
        tokio::spawn(async move { while poll_fn(|cx| connection.poll_next_inbound(cx)).await.is_some() {} });
        let mut full = Vec::new();
        for mut stream in streams {
            full.push(tokio::spawn(
                async move { stream.write_all(&vec![7; limits::STREAM_WINDOW]).await.map(|()| stream) },
            ));
        }
        let account = Arc::clone(&muxer.account);
        let moving = tokio::spawn(async move { poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await.map(|_| ()) });
        for stream in &mut full {
            assert!(soon(stream).await.unwrap().is_ok());
        }
        soon(async {
            while account.bytes() < limits::CIRCUITS_PER_NODE * limits::STREAM_WINDOW {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(!moving.is_finished());
    }

    #[tokio::test]
    async fn a_connection_whose_streams_are_read_carries_as_much_as_it_likes() {
        let (mut muxer, theirs) = server();
        let (mut connection, streams) = opened(theirs, 4).await;
        tokio::spawn(async move { while poll_fn(|cx| connection.poll_next_inbound(cx)).await.is_some() {} });
        let much = limits::UNREAD_BYTES / 2;
        for mut stream in streams {
            tokio::spawn(async move {
                stream.write_all(&vec![7; much]).await.unwrap();
                stream.close().await.unwrap();
            });
        }
        let mut readers = Vec::new();
        for _ in 0..4 {
            let mut stream = soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap();
            readers.push(tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await.unwrap() }));
        }
        let account = Arc::clone(&muxer.account);
        let moving = tokio::spawn(async move { poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await.map(|_| ()) });
        for reader in readers {
            assert_eq!(soon(reader).await.unwrap(), much);
        }
        soon(async {
            while account.streams() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(!moving.is_finished());
    }

    #[tokio::test]
    async fn who_only_reads_hears_that_the_connection_was_closed_here() {
        let (mut muxer, mut theirs) = server();
        // A window's update that begins a stream.
        theirs.write_all(&[0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]).await.unwrap();
        let mut stream = soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap();
        let mut reading = tokio::spawn(async move { stream.read(&mut [0; 8]).await });
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut reading).await.is_err());
        soon(poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx))).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap().is_err());
    }

    #[tokio::test]
    async fn strangers_circuits_to_a_node_do_not_keep_it_from_opening_streams() {
        let (mut muxer, theirs) = server();
        let mut connection = Connection::new(theirs.compat(), client_config(), Mode::Client);
        let (opens, mut to_open) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let mut all = Vec::new();
            let next = |connection: &mut Connection<_>, cx: &mut Context<'_>| match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => Poll::Ready(stream),
                Poll::Ready(None | Some(Err(_))) | Poll::Pending => Poll::Pending,
            };
            loop {
                tokio::select! {
                    mut stream = poll_fn(|cx| next(&mut connection, cx)) => {
                        // Which says that it is there.
                        stream.write_all(b"a").await.unwrap();
                        all.push(stream);
                    }
                    Some(()) = to_open.recv() => {
                        let mut stream = poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap();
                        stream.write_all(b"b").await.unwrap();
                        all.push(stream);
                    }
                }
            }
        });
        let mut ours = Vec::new();
        while ours.len() < limits::STREAMS_OPEN {
            let opened = poll_fn(|cx| {
                _ = Pin::new(&mut muxer).poll(cx)?;
                Pin::new(&mut muxer).poll_outbound(cx)
            });
            let mut stream = soon(opened).await.unwrap();
            stream.write_all(b"c").await.unwrap();
            ours.push(stream);
        }
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut muxer).poll_outbound(cx))).await.is_pending());
        let mut others = Vec::new();
        for _ in 0..limits::STREAMS_TAKEN {
            opens.send(()).await.unwrap();
            let mut stream = soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
            stream.write_all(b"d").await.unwrap();
            others.push(stream);
        }
        // One more is refused, and has its place when another ends.
        opens.send(()).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx)));
        assert!(next.await.is_err());
        others.clear();
        opens.send(()).await.unwrap();
        soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap();
    }

    #[tokio::test]
    async fn streams_are_forgotten_when_their_end_is_sent_though_more_waits_to_be() {
        let (mut muxer, mut theirs) = server_over(1 << 10);
        // A window's update that begins a stream.
        let begin = |stream: u32| [&[0, 1, 0, 1][..], &stream.to_be_bytes(), &[0; 4]].concat();
        theirs.write_all(&begin(1)).await.unwrap();
        let mut busy = soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap();
        let account = Arc::clone(&muxer.account);
        // It writes without an end, and the other side reads a little at a time: the socket is full all the time.
        tokio::spawn(async move { while busy.write_all(&[7; 100]).await.is_ok() {} });
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let more = [&[0, 1, 0, 0, 0, 0, 0, 1][..], &(1_u32 << 20).to_be_bytes()].concat();
        tokio::spawn(async move {
            let mut into = vec![0; 1 << 9];
            while reader.read(&mut into).await.is_ok_and(|count| count > 0) {
                tokio::task::yield_now().await;
            }
        });
        for number in 1..=2 * u32::try_from(limits::STREAMS_BEGUN).unwrap() {
            if number % 64 == 1 {
                writer.write_all(&more).await.unwrap();
            }
            writer.write_all(&begin(2 * number + 1)).await.unwrap();
            drop(soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap());
            tokio::task::yield_now().await;
        }
        assert!(account.remembered() < limits::STREAMS_BEGUN / 2, "{}", account.remembered());
    }

    #[tokio::test]
    async fn what_comes_in_streams_that_the_other_side_broke_off_counts_while_yamux_cannot_let_go_of_them() {
        const STREAMS: usize = 200;
        const BYTES: u32 = 1_000;
        let (mut muxer, theirs) = server_over(1 << 10);
        let (_unread, mut writer) = tokio::io::split(theirs);
        // Updates of windows: one that begins a stream, and one that breaks it off.
        let update = |flags, stream: u32| [&[0, 1, 0, flags][..], &stream.to_be_bytes(), &[0; 4]].concat();
        writer.write_all(&update(1, 1)).await.unwrap();
        let mut busy = soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap();
        let account = Arc::clone(&muxer.account);
        tokio::spawn(async move { while busy.write_all(&[7; 100]).await.is_ok() {} });
        let moved = |muxer: &mut Muxer<_>| Pin::new(muxer).poll(&mut Context::from_waker(Waker::noop()));
        for _ in 0..100 {
            assert!(moved(&mut muxer).is_pending(), "until the socket is full");
            tokio::task::yield_now().await;
        }
        let streams = || (1..=u32::try_from(STREAMS).unwrap()).map(|number| 2 * number + 1);
        for stream in streams() {
            writer.write_all(&[update(1, stream), update(8, stream)].concat()).await.unwrap();
            drop(soon(poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx))).await.unwrap());
        }
        for stream in streams() {
            let header = [&[0; 4][..], &stream.to_be_bytes(), &BYTES.to_be_bytes()].concat();
            let frame = [header, vec![7; BYTES as usize]].concat();
            let (sent, _) = tokio::join!(soon(writer.write_all(&frame)), async {
                for _ in 0..10 {
                    _ = moved(&mut muxer);
                    tokio::task::yield_now().await;
                }
            });
            sent.unwrap();
        }
        assert_eq!(account.bytes(), STREAMS * (BYTES as usize + limits::UNREAD_FRAME));
    }

    #[tokio::test]
    async fn more_streams_than_a_node_has_use_for_are_refused_and_the_others_stay() {
        let (mut muxer, mut theirs) = server();
        for stream in 0..u32::try_from(limits::STREAMS_TAKEN + 100).unwrap() {
            // A window's update that begins a stream.
            let begin = [&[0, 1, 0, 1][..], &(2 * stream + 1).to_be_bytes(), &[0; 4]].concat();
            theirs.write_all(&begin).await.unwrap();
        }
        let moved = tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| Pin::new(&mut muxer).poll(cx))).await;
        assert!(moved.is_err(), "the connection goes on");
        assert_eq!((muxer.arrived.len(), muxer.account.streams()), (limits::STREAMS_TAKEN, limits::STREAMS_TAKEN));
    }

    #[tokio::test]
    async fn streams_that_yamux_could_not_let_go_of_yet_count_though_some_of_it_was_sent() {
        const STREAMS: u32 = 200;
        const BYTES: u32 = 1_000;
        let (mut muxer, mut theirs) = server_over(1 << 10);
        let (mut reader, mut writer) = tokio::io::split(&mut theirs);
        // A frame of data that begins a stream, and one that goes on.
        let frame = |flags, stream: u32| {
            let header = [&[0, 0, 0, flags][..], &(2 * stream + 1).to_be_bytes(), &BYTES.to_be_bytes()].concat();
            [header, vec![7; BYTES as usize]].concat()
        };
        let all: Vec<u8> = (0..STREAMS).flat_map(|stream| frame(1, stream)).collect();
        let whole = STREAMS as usize * (BYTES as usize + limits::UNREAD_FRAME);
        soon(async {
            let taking = poll_fn(|cx| {
                _ = Pin::new(&mut muxer).poll(cx)?;
                if muxer.account.bytes() == whole { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
            });
            let (sent, taken) = tokio::join!(writer.write_all(&all), taking);
            (sent.unwrap(), taken.unwrap())
        })
        .await;
        assert_eq!(muxer.arrived.len(), STREAMS as usize);
        // The other side reads nothing: a few of the ends fit into the socket.
        muxer.arrived.clear();
        let moved = |muxer: &mut Muxer<_>| Pin::new(muxer).poll(&mut Context::from_waker(Waker::noop()));
        assert!(moved(&mut muxer).is_pending());
        let left = muxer.account.bytes();
        assert!(left < whole && left > whole / 3, "{left} of {whole}");
        assert_eq!(muxer.account.streams(), 0);
        // And what is still sent in them counts as well.
        let more: Vec<u8> = (0..STREAMS).flat_map(|stream| frame(0, stream)).collect();
        soon(async {
            let moving = poll_fn(|cx| {
                _ = Pin::new(&mut muxer).poll(cx)?;
                Poll::<io::Result<()>>::Pending
            });
            tokio::select! {
                sent = writer.write_all(&more) => sent.unwrap(),
                moved = moving => moved.unwrap(),
            }
        })
        .await;
        assert!(muxer.account.bytes() > left);
        let mut into = vec![0; 1 << 10];
        soon(async {
            while muxer.account.bytes() > 0 {
                assert!(moved(&mut muxer).is_pending());
                tokio::select! {
                    read = reader.read(&mut into) => { _ = read.unwrap(); }
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        })
        .await;
    }
}
