//! The whole behaviour of a p2pnet node, with no clock, socket, thread or chance of its own.
//!
//! A host (browser tab, native process, simulator) feeds facts into [`node::Node`] and carries out the effects that
//! come back. Everything two nodes must agree on lives here, so that the same bytes in give the same bytes out on
//! every machine. `docs/architecture.md` draws the map.

extern crate alloc;

pub mod api;
pub mod blob;
pub mod bytes;
pub mod clock;
pub mod engine;
pub mod exchange;
pub mod formula;
pub mod id;
pub mod job;
pub mod kernel;
pub mod node;
pub mod refusal;
pub mod store;
pub mod units;
pub mod visible;
pub mod wire;
