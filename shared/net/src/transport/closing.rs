//! An end for connections that end. A muxer first says goodbye, and where that waits for the other side (yamux over TCP writes
//! what it still has to send before), one who reads nothing would keep a connection that was given up, its socket and its task
//! for as long as he likes, while nobody counts it any more. And so would its streams stay, with what lies in them, where others
//! hold them: a circuit ends with its source, but would outlast its destination for as long as its source does not read.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt,
    future::{Fuse, FusedFuture},
};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::over::{Listener, Over};
use crate::{limits, platform};

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

fn timer(time: Duration) -> Timer {
    Box::pin(platform::sleep(time))
}

/// A muxer that closes within [`limits::CLOSING_TIMEOUT`], with a goodbye or without, and whose streams break within
/// [`limits::LAST_BYTES_TIMEOUT`] after that.
pub(crate) struct Closing<M> {
    muxer: M,
    until: Option<Timer>,
    /// That the connection is.
    over: Arc<Over>,
    /// How long streams last after that.
    last_bytes: Duration,
}

impl<M> Closing<M> {
    /// The same muxer, with an end.
    pub(crate) fn new(muxer: M) -> Self {
        Self::with(muxer, limits::LAST_BYTES_TIMEOUT)
    }

    /// As [`Self::new`], whose streams last so long after it.
    pub(crate) fn with(muxer: M, last_bytes: Duration) -> Self {
        Self { muxer, until: None, over: Arc::default(), last_bytes }
    }

    fn stream<S>(&self, stream: S) -> Stream<S> {
        let (reader, writer) = (self.over.listener(), self.over.listener());
        Stream { stream, reader, writer, last_bytes: self.last_bytes, timer: None }
    }
}

impl<M> Drop for Closing<M> {
    fn drop(&mut self) {
        self.over.set();
    }
}

impl<M: StreamMuxer<Substream: Unpin> + Unpin> StreamMuxer for Closing<M> {
    type Substream = Stream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = std::task::ready!(Pin::new(&mut self.muxer).poll_inbound(cx))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = std::task::ready!(Pin::new(&mut self.muxer).poll_outbound(cx))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = &mut *self;
        this.over.set();
        if let Poll::Ready(closed) = Pin::new(&mut this.muxer).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let until = this.until.get_or_insert_with(|| timer(limits::CLOSING_TIMEOUT));
        // Whoever asked drops it now, which closes what lies below.
        until.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let event = Pin::new(&mut self.muxer).poll(cx);
        if matches!(event, Poll::Ready(Err(_))) {
            self.over.set();
        }
        event
    }
}

/// A stream that outlives its connection for a while, so that what came last can be read. Who writes hears of the end: whoever
/// passes bytes on flushes when there are none, and is woken for that. Who reads gets what came last, and then hears of it too:
/// a muxer that this node itself closes may forget those who wait. (yamux then also loses what was not read yet.)
pub(crate) struct Stream<S> {
    stream: S,
    /// Two, since one task may read while another writes.
    reader: Listener,
    writer: Listener,
    last_bytes: Duration,
    /// From the end of the connection on.
    timer: Option<Fuse<Timer>>,
}

impl<S> Stream<S> {
    /// Whether the connection is there. While it is not, and what came last may be read, that is no error.
    fn is_connected(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if !self.writer.is_over(cx) {
            return Ok(true);
        }
        let last_bytes = self.last_bytes;
        let timer = self.timer.get_or_insert_with(|| timer(last_bytes).fuse());
        match timer.poll_unpin(cx) {
            Poll::Pending if !timer.is_terminated() => Ok(false),
            Poll::Pending | Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.reader.or_ended(cx, read)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read_vectored(cx, into);
        self.reader.or_ended(cx, read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_connected(cx)? {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        // Lost as on any way to one who is gone. An error would end a circuit whose source says that it has room for the rest.
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_connected(cx)? {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        }
        Poll::Ready(Ok(bytes.iter().map(|part| part.len()).sum()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_connected(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_connected(cx)?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::poll_fn};
    use libp2p::core::muxing::StreamMuxerBox;

    use super::*;

    /// A stream as yamux leaves it behind: nothing more can be written, and there is nothing to flush.
    struct Left;

    impl AsyncRead for Left {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Left {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A muxer whose other side reads nothing.
    struct Stuck;

    impl StreamMuxer for Stuck {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = std::io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
            Poll::Pending
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn who_only_reads_hears_that_the_connection_was_closed_here() {
        let mut muxer = Closing::new(Stuck);
        let (mut reader, _writer) = muxer.stream(Left).split();
        let mut reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await.unwrap_err().kind() });
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut reading).await.is_err());
        poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
        assert_eq!(end, io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_connection_closes_though_the_other_side_reads_nothing() {
        let mut muxer = StreamMuxerBox::new(Closing::new(Stuck));
        let closed = poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx));
        tokio::time::timeout(limits::CLOSING_TIMEOUT + Duration::from_secs(1), closed).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stream_outlives_its_connection_for_a_while_and_who_only_waits_hears_of_its_end() {
        let muxer = Closing::with(Stuck, Duration::from_secs(1));
        let [mut waiting, mut writing] = [muxer.stream(Left), muxer.stream(Left)];
        let mut waits = tokio::spawn(poll_fn(move |cx| match Pin::new(&mut waiting).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err());
        assert_eq!(writing.write(b"to who is there").await.unwrap_err().kind(), io::ErrorKind::WriteZero);
        drop(muxer);
        assert_eq!(writing.write(b"to nobody").await.unwrap(), 9);
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err());
        let aborted = io::ErrorKind::ConnectionAborted;
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), waits).await.unwrap().unwrap(), aborted);
        assert_eq!(writing.write(b"to nobody").await.unwrap_err().kind(), aborted);
    }
}
