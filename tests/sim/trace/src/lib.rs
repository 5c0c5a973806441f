//! The simulator as a module of WebAssembly, for the comparison of platforms. A package of its own, since a library that
//! Rust can use as well could not be optimised while linking, and cargo would compile all it is made of once more.

/// [`p2pnet_sim::trace`] by a name that a host finds.
#[unsafe(no_mangle)]
pub extern "C" fn p2pnet_trace(seed: u64) -> u64 {
    p2pnet_sim::trace(seed)
}
