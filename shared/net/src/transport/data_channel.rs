//! A browser's RTCPeerConnection as a libp2p connection: its data channels are the streams.
//!
//! Handlers are taken off before anything is dropped, so that the browser never calls a closure that is gone. What a
//! sender may have in flight is bounded here, since data channels press nobody back.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use futures::{AsyncRead, AsyncWrite, StreamExt, channel::mpsc, stream::FuturesUnordered};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p_webrtc_utils::DropListener;
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, prelude::Closure};
use web_sys::{
    Event, MessageEvent, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelInit, RtcDataChannelState,
    RtcDataChannelType, RtcPeerConnection, RtcPeerConnectionState,
};

use crate::limits;

/// A peer connection that is closed, and its handlers taken off, when it is dropped.
pub(crate) struct PeerConnection {
    inner: RtcPeerConnection,
    incoming: Option<mpsc::Receiver<RtcDataChannel>>,
    state: Rc<ConnectionState>,
    /// Kept open: were channel 0 closed, the browser would give its number to the next channel, which the other side
    /// then takes for the end of the old one.
    _handshake: DataChannel,
    _on_channel: Closure<dyn FnMut(RtcDataChannelEvent)>,
    _on_state: Closure<dyn FnMut(Event)>,
}

#[derive(Default)]
struct ConnectionState {
    broken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl PeerConnection {
    /// A connection that goes nowhere yet, and its channel 0, on which both sides authenticate each other. `None` where
    /// the browser makes no more of them.
    pub(crate) fn new() -> Option<(Self, ChannelStream)> {
        let inner = RtcPeerConnection::new().ok()?;
        let options = RtcDataChannelInit::new();
        options.set_negotiated(true);
        options.set_id(0);
        let handshake = DataChannel::new(inner.create_data_channel_with_data_channel_dict("", &options));
        let (stream, _listener) = ChannelStream::over(handshake.clone());
        let (mut sender, incoming) = mpsc::channel(limits::DATA_CHANNELS_WAITING);
        let on_channel = Closure::<dyn FnMut(RtcDataChannelEvent)>::new(move |event: RtcDataChannelEvent| {
            let channel = event.channel();
            if sender.try_send(channel.clone()).is_err() {
                channel.close();
            }
        });
        inner.set_ondatachannel(Some(on_channel.as_ref().unchecked_ref()));
        let state = Rc::new(ConnectionState::default());
        let on_state = Closure::<dyn FnMut(Event)>::new({
            let (state, inner) = (state.clone(), inner.clone());
            move |_| {
                if matches!(inner.connection_state(), RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed) {
                    state.broken.set(true);
                    wake(&state.waker);
                }
            }
        });
        inner.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));
        let connection = Self {
            inner,
            incoming: Some(incoming),
            state,
            _handshake: handshake,
            _on_channel: on_channel,
            _on_state: on_state,
        };
        Some((connection, stream))
    }

    /// What the browser calls it.
    pub(crate) fn rtc(&self) -> &RtcPeerConnection {
        &self.inner
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.inner.set_ondatachannel(None);
        self.inner.set_onconnectionstatechange(None);
        self.inner.close();
    }
}

/// The connection as libp2p sees it.
pub(crate) struct Muxer(SendWrapper<Parts>);

struct Parts {
    connection: PeerConnection,
    incoming: mpsc::Receiver<RtcDataChannel>,
    /// Each sends a reset if its stream is dropped without having been closed.
    listeners: FuturesUnordered<DropListener<DataChannel>>,
}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
#[error("the WebRTC connection is broken")]
pub(crate) struct Broken;

impl Muxer {
    /// Takes over an authenticated connection.
    pub(crate) fn new(mut connection: PeerConnection) -> Self {
        let incoming = connection.incoming.take().unwrap_or_else(|| mpsc::channel(0).1);
        Self(SendWrapper::new(Parts { connection, incoming, listeners: FuturesUnordered::new() }))
    }

    fn stream(&mut self, channel: RtcDataChannel) -> ChannelStream {
        let (stream, listener) = ChannelStream::over(DataChannel::new(channel));
        self.0.listeners.push(listener);
        wake(&self.0.connection.state.waker);
        stream
    }
}

impl StreamMuxer for Muxer {
    type Substream = ChannelStream;
    type Error = Broken;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Broken>> {
        match ready!(self.0.incoming.poll_next_unpin(cx)) {
            Some(channel) => Poll::Ready(Ok(self.stream(channel))),
            None => Poll::Ready(Err(Broken)),
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Self::Substream, Broken>> {
        if self.0.connection.state.broken.get() {
            return Poll::Ready(Err(Broken));
        }
        let channel = self.0.connection.inner.create_data_channel("");
        Poll::Ready(Ok(self.stream(channel)))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.0.connection.inner.close();
        Poll::Ready(Ok(()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Broken>> {
        *self.0.connection.state.waker.borrow_mut() = Some(cx.waker().clone());
        if self.0.connection.state.broken.get() {
            return Poll::Ready(Err(Broken));
        }
        // How a dropped stream's reset fares is of no interest.
        while let Poll::Ready(Some(_)) = self.0.listeners.poll_next_unpin(cx) {}
        Poll::Pending
    }
}

/// A data channel with libp2p's framing: half-close and reset.
pub(crate) struct ChannelStream(SendWrapper<libp2p_webrtc_utils::Stream<DataChannel>>);

impl ChannelStream {
    fn over(channel: DataChannel) -> (Self, DropListener<DataChannel>) {
        let (stream, listener) = libp2p_webrtc_utils::Stream::new(channel);
        (Self(SendWrapper::new(stream)), listener)
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_close(cx)
    }
}

/// A data channel as bytes in and messages out: each write is one message.
#[derive(Clone)]
pub(crate) struct DataChannel(Rc<Channel>);

struct Channel {
    inner: RtcDataChannel,
    shared: Rc<Shared>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_change: Closure<dyn FnMut(Event)>,
}

#[derive(Default)]
struct Shared {
    unread: RefCell<VecDeque<u8>>,
    overrun: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl DataChannel {
    fn new(inner: RtcDataChannel) -> Self {
        inner.set_binary_type(RtcDataChannelType::Arraybuffer);
        inner.set_buffered_amount_low_threshold(limits::DATA_CHANNEL_LOW);
        let shared = Rc::new(Shared::default());
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new({
            let shared = shared.clone();
            move |event: MessageEvent| shared.on_message(&event)
        });
        inner.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let on_change = Closure::<dyn FnMut(Event)>::new({
            let shared = shared.clone();
            move |_: Event| {
                wake(&shared.reader);
                wake(&shared.writer);
            }
        });
        let handler = Some(on_change.as_ref().unchecked_ref());
        inner.set_onopen(handler);
        inner.set_onclose(handler);
        inner.set_onerror(handler);
        inner.set_onbufferedamountlow(handler);
        Self(Rc::new(Channel { inner, shared, _on_message: on_message, _on_change: on_change }))
    }

    /// Ready once the channel is open; an error once it is closed.
    #[expect(clippy::wildcard_enum_match_arm, reason = "browsers may add states")]
    fn poll_open(&self, waker: &RefCell<Option<Waker>>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.0.shared.overrun.get() {
            return Poll::Ready(Err(io::Error::other("more bytes came than this node keeps unread")));
        }
        match self.0.inner.ready_state() {
            RtcDataChannelState::Open => Poll::Ready(Ok(())),
            RtcDataChannelState::Connecting => {
                *waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            // The enum is web-sys's and open-ended; what is neither is closing or closed.
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Shared {
    fn on_message(&self, event: &MessageEvent) {
        // The framing is binary; text has no business here.
        let Ok(buffer) = event.data().dyn_into::<js_sys::ArrayBuffer>() else { return };
        let bytes = js_sys::Uint8Array::new(&buffer).to_vec();
        let mut unread = self.unread.borrow_mut();
        if unread.len() + bytes.len() > limits::DATA_CHANNEL_UNREAD {
            self.overrun.set(true);
        } else {
            unread.extend(bytes);
        }
        drop(unread);
        wake(&self.reader);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.inner.set_onmessage(None);
        self.inner.set_onopen(None);
        self.inner.set_onclose(None);
        self.inner.set_onerror(None);
        self.inner.set_onbufferedamountlow(None);
        self.inner.close();
    }
}

impl AsyncRead for DataChannel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let shared = &self.0.shared;
        let mut unread = shared.unread.borrow_mut();
        if unread.is_empty() {
            ready!(self.poll_open(&shared.reader, cx))?;
            *shared.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, _) = unread.as_slices();
        let len = front.len().min(buf.len());
        buf[..len].copy_from_slice(&front[..len]);
        unread.drain(..len);
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for DataChannel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let shared = &self.0.shared;
        ready!(self.poll_open(&shared.writer, cx))?;
        if self.0.inner.buffered_amount() > limits::DATA_CHANNEL_UNSENT {
            *shared.writer.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match self.0.inner.send_with_u8_array(buf) {
            Ok(()) => Poll::Ready(Ok(buf.len())),
            Err(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// A message that was sent is the browser's; there is nothing to push.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.inner.close();
        Poll::Ready(Ok(()))
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    // Taken out first: the woken task may run at once and borrow again.
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}
