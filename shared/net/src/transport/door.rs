//! The door through which the relay's HTTP server hands in WebSockets that arrived at `/p2p`, so that one port and
//! one reverse proxy serve page, API and network. What comes through the door is upgraded with Noise and yamux like
//! any other socket.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, SinkExt, StreamExt, channel::mpsc, future};
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    multiaddr::Protocol,
};

use crate::limits;

/// What can be handed in: bytes both ways.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

type Arrival = (Box<dyn Socket>, SocketAddr);

/// The outer side of the door. Cheap to clone.
#[derive(Clone)]
pub struct WebSocketDoor {
    arrivals: mpsc::Sender<Arrival>,
}

impl WebSocketDoor {
    /// Hands a socket in; `remote` is the true address of the other side. Waits while too many wait already. `false`
    /// when the node has stopped.
    pub async fn accept(
        &self,
        socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: SocketAddr,
    ) -> bool {
        self.arrivals.clone().send((Box::new(socket), remote)).await.is_ok()
    }
}

/// The inner side: a transport that neither dials nor listens, and lets in what the door hands it.
pub struct DoorTransport {
    id: ListenerId,
    arrivals: mpsc::Receiver<Arrival>,
}

/// Both sides of a new door.
pub fn door() -> (WebSocketDoor, DoorTransport) {
    let (sender, arrivals) = mpsc::channel(limits::DOOR_QUEUE);
    (WebSocketDoor { arrivals: sender }, DoorTransport { id: ListenerId::next(), arrivals })
}

impl Transport for DoorTransport {
    type Output = Box<dyn Socket>;
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
        match self.arrivals.poll_next_unpin(cx) {
            Poll::Ready(Some((socket, remote))) => Poll::Ready(TransportEvent::Incoming {
                listener_id: self.id,
                upgrade: future::ready(Ok(socket)),
                local_addr: Multiaddr::empty().with(Protocol::Ws("/p2p".into())),
                send_back_addr: Multiaddr::from(remote.ip())
                    .with(Protocol::Tcp(remote.port()))
                    .with(Protocol::Ws("/".into())),
            }),
            // Nobody holds the door any more: nothing will come.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
