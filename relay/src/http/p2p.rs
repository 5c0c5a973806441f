//! `/p2p`: a WebSocket becomes a libp2p connection, through the door of the network loop.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::Bytes,
    extract::{
        ConnectInfo, State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::HeaderMap,
    response::Response,
};
use futures::{AsyncRead, AsyncWrite, Sink, Stream};
use p2pnet_shared::refusal::Code;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    App,
    answer::{Refused, refuse},
    crowd::Place,
    source::Source,
};

/// The largest WebSocket message taken; libp2p's muxer writes at most 1 MiB at once.
const MOST_MESSAGE_BYTES: usize = 2 << 20;
/// The longest message sent: what others do with larger ones is not known.
const MOST_WRITE: usize = 64 << 10;

/// `GET /p2p`
pub async fn enter(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refused> {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            return refuse(
                Code::UpgradeRequired,
                format!("/p2p is for WebSockets only: {}", rejection.body_text()),
                "behind a reverse proxy, pass the Upgrade and Connection headers on (docs/operators.md)",
            );
        }
    };
    let client = app.proxies.client(peer, &headers);
    let source = Source::of(client);
    let Some(place) = app.sockets.enter(source, source.is_this_machine()) else {
        return refuse(Code::RateLimited, "as many WebSockets are connected as this relay takes", "try again later");
    };
    let remote = SocketAddr::new(client, peer.port());
    let (door, stopping) = (app.door.clone(), app.stopping.clone());
    Ok(upgrade.max_message_size(MOST_MESSAGE_BYTES).max_frame_size(MOST_MESSAGE_BYTES).on_upgrade(
        move |socket| async move {
            let place = Arc::new(place);
            let gone = Box::pin(place.gone());
            let socket = Bytestream { socket, unread: Bytes::new(), gone, _place: Arc::clone(&place) };
            let given_away = place.gone();
            // Once both sides know each other, the place is its own.
            let known = Box::new(move || place.busy());
            if stopping.is_cancelled() {
                return;
            }
            tokio::select! {
                taken = door.accept(socket, remote, known) => {
                    if !taken {
                        tracing::debug!(%remote, "a WebSocket came while the node was stopping");
                    }
                }
                // While it waited at the door, a newer one needed its place.
                () = given_away => {}
            }
        },
    ))
}

/// A WebSocket whose binary messages, one after the other, are the bytes of a stream.
struct Bytestream {
    socket: WebSocket,
    unread: Bytes,
    /// Completes when the place was given to another before the handshake was over.
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Free again when the connection ends.
    _place: Arc<Place>,
}

impl AsyncRead for Bytestream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // axum answers pings itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(0)),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let len = self.unread.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.unread.split_to(len));
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Bytestream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io::Error::other)?;
        let len = bytes.len().min(MOST_WRITE);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..len]));
        Pin::new(&mut self.socket).start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io::Error::other)
    }
}
