//! One file a transport; the platforms put together those that they have.

pub(crate) mod bounded;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod closing;
#[cfg(target_arch = "wasm32")]
pub(crate) mod data_channel;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod door;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod gate;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod house;
pub(crate) mod over;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod threads;
pub(crate) mod unread;
#[cfg(target_arch = "wasm32")]
pub(crate) mod webrtc_direct;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod webrtc_listener;
#[cfg(target_arch = "wasm32")]
pub(crate) mod websocket;
pub(crate) mod yamux;
