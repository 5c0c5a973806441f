//! One file a transport; the platforms put together those that they have.

pub mod bounded;
#[cfg(not(target_arch = "wasm32"))]
pub mod door;
