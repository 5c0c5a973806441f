//! An end for connections that end. A muxer first says goodbye, and where that waits for the other side (yamux over TCP writes
//! what it still has to send before), one who reads nothing would keep a connection that was given up, its socket and its task
//! for as long as he likes, while nobody counts it any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use crate::{limits, platform};

/// A muxer that closes within [`limits::CLOSING_TIMEOUT`], with a goodbye or without.
pub struct Closing<M> {
    muxer: M,
    until: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<M> Closing<M> {
    /// The same muxer, with an end.
    pub fn new(muxer: M) -> Self {
        Self { muxer, until: None }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Closing<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = &mut *self;
        if let Poll::Ready(closed) = Pin::new(&mut this.muxer).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let until = this.until.get_or_insert_with(|| Box::pin(platform::sleep(limits::CLOSING_TIMEOUT)));
        // Whoever asked drops it now, which closes what lies below.
        until.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use futures::future::poll_fn;
    use libp2p::core::muxing::StreamMuxerBox;

    use super::*;

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
    async fn a_connection_closes_though_the_other_side_reads_nothing() {
        let mut muxer = StreamMuxerBox::new(Closing::new(Stuck));
        let closed = poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx));
        tokio::time::timeout(limits::CLOSING_TIMEOUT + Duration::from_secs(1), closed).await.unwrap().unwrap();
    }
}
