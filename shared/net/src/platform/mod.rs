//! The one difference between native and browser: this module is one of two files with the same items.
//!
//! | item | what for |
//! |---|---|
//! | `Options`, `Outside` | what the caller gives and gets beside the handle |
//! | `open` | builds the transports and begins to listen |
//! | `can_dial` | whether an address is of a kind that this platform dials |
//! | `spawn`, `sleep` | executor and timer |
//! | `RelayServer`, `CONNECTIONS` | what a browser has not, or has less of |

#[cfg_attr(target_arch = "wasm32", path = "browser.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native.rs")]
mod of_this_build;

pub use of_this_build::*;
