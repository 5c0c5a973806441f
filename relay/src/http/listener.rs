//! The HTTP port: bounded connections, none of which may be silent for ever.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

use super::limits::{self, Place, Places};

/// Accepts connections as long as there are places.
pub struct Bounded {
    listener: TcpListener,
    places: Places,
}

impl Bounded {
    /// A listener with the bounds of [`limits`].
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, places: Places::new(limits::CONNECTIONS, limits::CONNECTIONS_PER_ADDRESS) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            // Small answers and WebSocket messages go at once.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection without TCP_NODELAY");
            }
            match self.places.enter(limits::peer_address(peer)) {
                Some(place) => {
                    let idle = Box::pin(sleep(limits::SILENCE));
                    return (Connection { stream, idle, active: Instant::now(), _place: place }, peer);
                }
                // Dropped, which closes it: there is nothing to spare for an answer.
                None => tracing::debug!(%peer, "a connection beyond the bounds"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing comes or goes for [`limits::SILENCE`].
pub struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    active: Instant,
    /// Free again when the connection ends.
    _place: Place,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.active = Instant::now();
            return Poll::Ready(read);
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            let until = self.active + limits::SILENCE;
            if Instant::now() >= until {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.idle.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.active = Instant::now();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.active = Instant::now();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
