//! WebSockets from a browser: the way to seeds through their HTTP port.
//!
//! Our own instead of libp2p-websocket-websys 0.6.0, which looks only every 100 ms (in a hidden tab every second or
//! minute) whether a flush has gone through, so that every message waits for the next look, and which drops the
//! connection when 1 MiB lies unread, which a busy page reaches in one burst.
//!
//! The browser itself keeps what was sent until it has left; a flush therefore means "handed to the browser". How much
//! that may be is bounded here; how much may come in is bounded by the windows of yamux above, and a last bound here.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt,
    future::{BoxFuture, poll_fn},
};
use js_sys::{ArrayBuffer, Uint8Array};
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    multiaddr::Protocol,
};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BinaryType, MessageEvent, WebSocket};

use crate::{limits, platform};

/// Dials; a browser does not listen.
#[derive(Default)]
pub(crate) struct WebSockets {}

impl Transport for WebSockets {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Connection>>;
    type Dial = BoxFuture<'static, io::Result<Connection>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let url = if options.role.is_listener() { None } else { url(&address) };
        let Some(url) = url else { return Err(TransportError::MultiaddrNotSupported(address)) };
        Ok(SendWrapper::new(async move {
            let connection = Connection::open(&url)?;
            poll_fn(|cx| connection.poll_open(cx)).await?;
            Ok(connection)
        })
        .boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

/// A WebSocket as a stream of bytes. Dropping it closes it.
pub(crate) struct Connection {
    inner: SendWrapper<Inner>,
}

struct Inner {
    socket: WebSocket,
    state: Rc<RefCell<State>>,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_end: Closure<dyn FnMut()>,
}

#[derive(Default)]
struct State {
    /// What came and was not read.
    unread: VecDeque<Vec<u8>>,
    /// How much of the first of them was read.
    read: usize,
    unread_bytes: usize,
    /// What was written and not handed to the browser: small writes leave together.
    unsent: Vec<u8>,
    /// Whether somebody will hand it over even if nobody flushes.
    sender_called: bool,
    ended: Option<io::ErrorKind>,
    opening: Option<Waker>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Connection {
    fn open(url: &str) -> io::Result<Self> {
        let socket = WebSocket::new(url).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let state = Rc::new(RefCell::new(State::default()));
        let opened = state.clone();
        let on_open = Closure::<dyn FnMut()>::new(move || wake(&mut opened.borrow_mut().opening));
        let came = state.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            // Text would be read as a length.
            match event.data().dyn_ref::<ArrayBuffer>() {
                Some(bytes) => came.borrow_mut().take_in(Uint8Array::new(bytes).to_vec()),
                None => came.borrow_mut().end(io::ErrorKind::InvalidData),
            }
        });
        let ended = state.clone();
        let on_end = Closure::<dyn FnMut()>::new(move || ended.borrow_mut().end(io::ErrorKind::BrokenPipe));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onerror(Some(on_end.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_end.as_ref().unchecked_ref()));
        let inner = Inner { socket, state, _on_open: on_open, _on_message: on_message, _on_end: on_end };
        Ok(Self { inner: SendWrapper::new(inner) })
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.inner.state.borrow_mut();
        if state.ended.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        if self.inner.socket.ready_state() == WebSocket::OPEN {
            return Poll::Ready(Ok(()));
        }
        state.opening = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl State {
    fn take_in(&mut self, bytes: Vec<u8>) {
        self.unread_bytes += bytes.len();
        if self.unread_bytes > limits::WEBSOCKET_UNREAD {
            self.end(io::ErrorKind::OutOfMemory);
            return;
        }
        if !bytes.is_empty() {
            self.unread.push_back(bytes);
        }
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn end(&mut self, reason: io::ErrorKind) {
        self.ended.get_or_insert(reason);
        wake(&mut self.opening);
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn read_into(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(first) = self.unread.front() {
            let rest = &first[self.read..];
            let count = rest.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            if count < rest.len() {
                self.read += count;
                break;
            }
            self.read = 0;
            self.unread.pop_front();
        }
        self.unread_bytes -= filled;
        filled
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.inner.state.borrow_mut();
        if !state.unread.is_empty() {
            return Poll::Ready(Ok(state.read_into(buffer)));
        }
        match state.ended {
            Some(io::ErrorKind::BrokenPipe) => Poll::Ready(Ok(0)), // the other side has closed
            Some(reason) => Poll::Ready(Err(reason.into())),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &*self.inner;
        let mut state = inner.state.borrow_mut();
        if let Some(reason) = state.ended {
            return Poll::Ready(Err(reason.into()));
        }
        if inner.socket.buffered_amount() > limits::WEBSOCKET_UNSENT {
            // The browser does not say when it has sent: look again soon, or when something comes in.
            state.writer = Some(cx.waker().clone());
            let waiting = inner.state.clone();
            platform::spawn(SendWrapper::new(async move {
                platform::sleep(limits::WEBSOCKET_LOOK_AGAIN).await;
                wake(&mut waiting.borrow_mut().writer);
            }));
            return Poll::Pending;
        }
        state.unsent.extend_from_slice(bytes);
        if state.unsent.len() >= limits::WRITE_BATCH {
            hand_over(&inner.socket, &mut state);
        } else if !std::mem::replace(&mut state.sender_called, true) {
            let (socket, unsent) = (inner.socket.clone(), inner.state.clone());
            platform::spawn(SendWrapper::new(async move {
                let mut state = unsent.borrow_mut();
                state.sender_called = false;
                hand_over(&socket, &mut state);
            }));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.inner.state.borrow_mut();
        hand_over(&self.inner.socket, &mut state);
        Poll::Ready(state.ended.map_or(Ok(()), |reason| Err(reason.into())))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.inner.state.borrow_mut();
        hand_over(&self.inner.socket, &mut state);
        let _ = self.inner.socket.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onerror(None);
        self.socket.set_onclose(None);
        hand_over(&self.socket, &mut self.state.borrow_mut());
        self.state.borrow_mut().end(io::ErrorKind::NotConnected);
        let _ = self.socket.close();
    }
}

/// Gives the browser what was written.
fn hand_over(socket: &WebSocket, state: &mut State) {
    if state.ended.is_some() || state.unsent.is_empty() {
        return;
    }
    let bytes = std::mem::take(&mut state.unsent);
    if socket.send_with_u8_array(&bytes).is_err() {
        state.end(io::ErrorKind::BrokenPipe);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The address as browsers write it: `/dns/p2pnet.example/tcp/443/tls/ws` is `wss://p2pnet.example:443/`.
#[expect(clippy::wildcard_enum_match_arm, reason = "multiaddr may add protocols")]
fn url(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name.into_owned(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    let (scheme, path) = match (parts.next()?, parts.next()) {
        (Protocol::Tls, Some(Protocol::Ws(path))) => ("wss", path),
        (Protocol::Wss(path), _) => ("wss", path),
        (Protocol::Ws(path), _) => ("ws", path),
        _ => return None,
    };
    Some(format!("{scheme}://{host}:{port}{path}"))
}
