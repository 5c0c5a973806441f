//! The door through which the relay's HTTP server hands in WebSockets that arrived at `/p2p`, so that one port and
//! one reverse proxy serve page, API and network. What comes through the door is upgraded with Noise and yamux like
//! any other socket.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, future};
use libp2p::{
    Multiaddr,
    core::{
        ConnectedPoint,
        transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    },
    multiaddr::Protocol,
};
use tokio::sync::mpsc;

use crate::limits;

/// What can be handed in: bytes both ways.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Called once, when both sides of a socket know who the other is.
pub(crate) type Known = Box<dyn FnOnce() + Send>;

type Arrival = (Box<dyn Socket>, SocketAddr, Known);

/// What to call for sockets in the middle of their handshake, by the address that they have here.
type Expected = Arc<Mutex<HashMap<Multiaddr, Known>>>;

/// The outer side of the door. Cheap to clone.
#[derive(Clone)]
pub struct WebSocketDoor {
    /// tokio's: each clone of a sender of futures' has a place in the queue of its own, which is then as long as a crowd
    /// likes.
    arrivals: mpsc::Sender<Arrival>,
}

impl WebSocketDoor {
    /// Hands a socket in; `remote` is the true address of the other side. Waits while too many wait already. `false`
    /// when the node has stopped. `known` is called when the handshake is over; never if it fails.
    pub async fn accept(
        &self,
        socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: SocketAddr,
        known: Known,
    ) -> bool {
        self.arrivals.send((Box::new(socket), remote, known)).await.is_ok()
    }
}

/// The inner side: a transport that neither dials nor listens, and lets in what the door hands it.
pub(crate) struct DoorTransport {
    id: ListenerId,
    arrivals: mpsc::Receiver<Arrival>,
    /// How many came: each has an address of its own.
    count: u64,
    expected: Expected,
}

impl DoorTransport {
    /// To be told of handshakes that are over.
    pub(crate) fn greeter(&self) -> Greeter {
        Greeter { expected: Arc::clone(&self.expected) }
    }
}

/// Tells whoever handed a socket in that its handshake is over.
#[derive(Clone)]
pub(crate) struct Greeter {
    expected: Expected,
}

impl Greeter {
    /// The socket of this connection is through.
    pub(crate) fn greet(&self, point: &ConnectedPoint) {
        let known = lock(&self.expected).remove(point.get_remote_address());
        if let Some(known) = known {
            known();
        }
    }
}

/// A socket that is forgotten when it goes.
pub(crate) struct Arrived {
    socket: Box<dyn Socket>,
    address: Multiaddr,
    expected: Expected,
}

impl AsyncRead for Arrived {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Arrived {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        lock(&self.expected).remove(&self.address);
    }
}

fn lock(expected: &Expected) -> MutexGuard<'_, HashMap<Multiaddr, Known>> {
    expected.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both sides of a new door.
pub(crate) fn door() -> (WebSocketDoor, DoorTransport) {
    let (sender, arrivals) = mpsc::channel(limits::DOOR_QUEUE);
    (
        WebSocketDoor { arrivals: sender },
        DoorTransport { id: ListenerId::next(), arrivals, count: 0, expected: Expected::default() },
    )
}

impl Transport for DoorTransport {
    type Output = Arrived;
    type Error = io::Error;
    type ListenerUpgrade = future::Ready<Result<Self::Output, io::Error>>;
    type Dial = future::Pending<Result<Self::Output, io::Error>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        match self.arrivals.poll_recv(cx) {
            Poll::Ready(Some((socket, remote, known))) => {
                self.count += 1;
                let address = Multiaddr::from(remote.ip())
                    .with(Protocol::Tcp(remote.port()))
                    .with(Protocol::Ws(format!("/{}", self.count).into()));
                lock(&self.expected).insert(address.clone(), known);
                let socket = Arrived { socket, address: address.clone(), expected: Arc::clone(&self.expected) };
                Poll::Ready(TransportEvent::Incoming {
                    listener_id: self.id,
                    upgrade: future::ready(Ok(socket)),
                    local_addr: Multiaddr::empty().with(Protocol::Ws("/p2p".into())),
                    send_back_addr: address,
                })
            }
            // Nobody holds the door any more: nothing will come.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use futures::{FutureExt, io::Cursor};

    use super::*;

    #[test]
    fn only_so_many_wait_at_the_door_and_the_others_before_it() {
        let (door, _transport) = door();
        let hand_in = || {
            let socket = Cursor::new(vec![0; 16]);
            door.accept(socket, "127.0.0.1:9".parse().unwrap(), Box::new(|| {})).now_or_never()
        };
        let taken = (0..limits::DOOR_QUEUE * 4).filter(|_| hand_in() == Some(true)).count();
        assert_eq!(taken, limits::DOOR_QUEUE);
    }
}
