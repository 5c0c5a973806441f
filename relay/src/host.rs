//! What a native process gives to the node's loop: clock, executor, store.

use std::time::{SystemTime, UNIX_EPOCH};

use p2pnet_net::host::{Host, HostOrder};
use p2pnet_shared::units::Moment;

use crate::{executor::Executor, store::Writer};

/// The platform's side of the loop. No order blocks.
pub struct NativeHost {
    executor: Executor,
    store: Writer,
}

impl NativeHost {
    /// A host that computes on `executor` and keeps records in `store`.
    pub fn new(executor: Executor, store: Writer) -> Self {
        Self { executor, store }
    }
}

impl Host for NativeHost {
    fn now(&self) -> Moment {
        now()
    }

    fn carry_out(&mut self, order: HostOrder) {
        match order {
            HostOrder::Execute { run, kernel, batch, cpu_percent } => {
                self.executor.execute(run, kernel, batch, cpu_percent);
            }
            HostOrder::Abort { run } => self.executor.abort(run),
            HostOrder::Save(key, bytes) => self.store.save(key, bytes),
            HostOrder::Forget(key) => self.store.forget(key),
            HostOrder::Cores(cores) => self.executor.set_cores(cores),
        }
    }
}

/// The wall clock.
pub fn now() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
}
