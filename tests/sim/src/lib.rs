//! A network in one thread and no time: many nodes, the real state machine in each, and a seed that decides everything
//! else. What only thousands of nodes or bad luck show is shown here.
//!
//! ```text
//! let mut world = World::new(7);
//! let seed = world.add(Actor::Seed);
//! let me = world.add(Actor::Requester);
//! world.add(Actor::Donor { cores: 2, units_per_second: 1000 });
//! let job = world.submit(me, plan::sum(1_000_000));
//! world.run_until(Millis(60_000), |world| world.is_over(me, job));
//! ```
//!
//! Messages travel as the bytes that would stand on the wire. A loss is a connection that breaks, with everything that
//! was under way on it; between two nodes order holds, across peers it does not. Kernels are executed by wasmi; how long
//! that takes is the actor's business.

// A simulator is a test: what cannot happen stops it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod actor;
pub mod bench;
pub mod chance;
pub mod executor;
pub mod graph;
pub mod hostile;
pub mod plan;
pub mod scenario;
pub mod talk;
pub mod world;

/// The first eight bytes of the trace of [`scenario::mixed`], for the comparison of platforms.
pub fn trace(seed: u64) -> u64 {
    let trace = scenario::mixed(seed);
    u64::from_le_bytes(trace.0[..8].try_into().unwrap())
}
