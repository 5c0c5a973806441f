//! The native node and everything around it: HTTP, page, store, executor, command line. `main.rs` only calls [`cli`];
//! this is a library so that tests reach the parts.

// They panic where nobody can be written to: the reader of a log may leave, and its disk may be full. `cli::output` knows
// what to do then.
#![deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

#[cfg(all(test, target_os = "linux"))]
mod apart;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod executor;
pub mod files;
pub mod host;
pub mod http;
pub mod kernel;
pub mod store;

/// Chooses who does TLS, once for the process: rustls has no default and would panic at the first handshake.
pub fn install_crypto() {
    // An error means that it was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
