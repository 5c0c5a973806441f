//! webrtc-direct from a browser: a WebRTC connection to a native node whose address says everything that signalling
//! would, its certificate's hash included (libp2p specs, webrtc/webrtc-direct.md).
//!
//! Our own instead of libp2p-webrtc-websys 0.5.0, whose data channels break at 16 KiB unread, log closures called after
//! they were dropped, and never notice that the connection has failed.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    identity::Keypair,
};
use libp2p_webrtc_utils::{Fingerprint, noise, parse_webrtc_dial_addr, sdp};
use send_wrapper::SendWrapper;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RtcSdpType, RtcSessionDescriptionInit};

use super::data_channel::{Muxer, PeerConnection};
use crate::{limits, platform};

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The browser refused something; its words.
    #[error("the browser refused: {0}")]
    Browser(String),
    /// The browser makes no more connections.
    #[error("the browser makes no more WebRTC connections")]
    NoConnection,
    /// The other side could not prove who it is.
    #[error("the other side could not be authenticated: {0}")]
    Authentication(#[from] noise::Error),
}

impl From<JsValue> for Error {
    fn from(value: JsValue) -> Self {
        Self::Browser(format!("{value:?}"))
    }
}

/// Dials; a browser does not listen.
pub(crate) struct WebRtcDirect {
    keypair: Keypair,
    dials: u32,
}

impl WebRtcDirect {
    /// A transport that proves with this key who we are.
    pub(crate) fn new(keypair: Keypair) -> Self {
        Self { keypair, dials: 0 }
    }
}

impl Transport for WebRtcDirect {
    type Output = (PeerId, Muxer);
    type Error = Error;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Error>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let target = parse_webrtc_dial_addr(&address).filter(|_| !options.role.is_listener());
        let Some((server, fingerprint)) = target.filter(|(server, _)| server.port() != 0) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        if self.dials >= limits::WEBRTC_DIALS {
            return Err(TransportError::Other(Error::NoConnection));
        }
        self.dials += 1;
        let keypair = self.keypair.clone();
        Ok(async move {
            platform::sleep(limits::WEBRTC_DELAY).await;
            SendWrapper::new(connect(server, fingerprint, keypair)).await
        }
        .boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        Poll::Pending
    }
}

/// Offers with a name that both sides know, answers in the server's name, and authenticates on channel 0.
async fn connect(server: SocketAddr, fingerprint: Fingerprint, keypair: Keypair) -> Result<(PeerId, Muxer), Error> {
    let (connection, channel) = PeerConnection::new().ok_or(Error::NoConnection)?;
    let rtc = connection.rtc();
    let name = sdp::random_ufrag();
    let offer = JsFuture::from(rtc.create_offer()).await?;
    let offer = js_sys::Reflect::get(&offer, &JsValue::from_str("sdp"))?.as_string().unwrap_or_default();
    let offer = description(RtcSdpType::Offer, &named_offer(&offer, &name));
    JsFuture::from(rtc.set_local_description(&offer)).await?;
    let ours = rtc.local_description().and_then(|local| fingerprint_in(&local.sdp()));
    let ours = ours.ok_or_else(|| Error::Browser("it made an offer without a SHA-256 fingerprint".to_owned()))?;
    let answer = description(RtcSdpType::Answer, &sdp::answer(server, fingerprint, &name));
    JsFuture::from(rtc.set_remote_description(&answer)).await?;
    let peer = noise::outbound(keypair, channel, fingerprint, ours).await?;
    Ok((peer, Muxer::new(connection)))
}

fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

/// The offer with our name in place of the browser's ICE user and password: the server recognises us by it.
fn named_offer(offer: &str, name: &str) -> String {
    let mut named = String::with_capacity(offer.len() + 2 * name.len());
    for line in offer.lines().filter(|line| !line.is_empty()) {
        let replaced = ["a=ice-ufrag:", "a=ice-pwd:"].into_iter().find(|start| line.starts_with(start));
        match replaced {
            Some(start) => named.extend([start, name]),
            None => named.push_str(line),
        }
        named.push_str("\r\n");
    }
    named
}

/// The SHA-256 of our certificate, as the browser wrote it into its offer.
fn fingerprint_in(sdp: &str) -> Option<Fingerprint> {
    let hex = sdp.lines().find_map(|line| line.trim().strip_prefix("a=fingerprint:sha-256 "))?;
    let mut digest = [0; 32];
    let mut pairs = hex.split(':');
    for byte in &mut digest {
        *byte = u8::from_str_radix(pairs.next()?, 16).ok()?;
    }
    pairs.next().is_none().then(|| Fingerprint::raw(digest))
}
