//! Short, flushed writes on WebRTC data channels.
//!
//! libp2p-webrtc-utils 0.5.0 kills a native stream on an inbound message above 8,192 bytes (its codec reads from a
//! clone of the channel that starts with an empty buffer), and joins writes to messages above 16 KiB, which webrtc
//! refuses. Both ends therefore write at most [`limits::DATA_CHANNEL_WRITE`] bytes and flush before the next write.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use crate::limits;

/// A muxer whose streams are [`BoundedStream`]s.
pub(crate) struct Bounded<M>(pub M);

impl<M: StreamMuxer + Unpin> StreamMuxer for Bounded<M>
where
    M::Substream: Unpin,
{
    type Substream = BoundedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.0).poll_inbound(cx).map_ok(BoundedStream::new)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.0).poll_outbound(cx).map_ok(BoundedStream::new)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// A stream that writes little at a time and flushes before it writes more.
pub(crate) struct BoundedStream<S> {
    inner: S,
    unflushed: bool,
}

impl<S> BoundedStream<S> {
    fn new(inner: S) -> Self {
        Self { inner, unflushed: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.unflushed {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let len = buf.len().min(limits::DATA_CHANNEL_WRITE);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &buf[..len]))?;
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
