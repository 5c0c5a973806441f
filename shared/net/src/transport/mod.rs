//! One file a transport; the platforms put together those that they have.

pub mod bounded;
#[cfg(not(target_arch = "wasm32"))]
pub mod closing;
#[cfg(target_arch = "wasm32")]
pub mod data_channel;
#[cfg(not(target_arch = "wasm32"))]
pub mod door;
#[cfg(not(target_arch = "wasm32"))]
pub mod gate;
#[cfg(not(target_arch = "wasm32"))]
pub mod house;
pub mod over;
#[cfg(not(target_arch = "wasm32"))]
pub mod threads;
pub mod unread;
#[cfg(target_arch = "wasm32")]
pub mod webrtc_direct;
#[cfg(not(target_arch = "wasm32"))]
pub mod webrtc_listener;
#[cfg(target_arch = "wasm32")]
pub mod websocket;
pub mod yamux;
