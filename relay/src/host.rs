//! What a native process gives to the node's loop: clock, executor, store.

#[cfg(target_os = "linux")]
use std::sync::{Mutex, PoisonError};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use p2pnet_net::host::{Host, HostOrder, Records};
use p2pnet_shared::units::Moment;
#[cfg(target_os = "linux")]
use p2pnet_shared::{clock::SteadyClock, units::Millis};

use crate::{executor::Executor, store::Store};

/// The platform's side of the loop. No order blocks.
pub struct NativeHost {
    executor: Executor,
    store: Store,
}

impl NativeHost {
    /// A host that computes on `executor` and keeps records in `store`.
    pub fn new(executor: Executor, store: Store) -> Self {
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
            HostOrder::Rest { run, rests } => self.executor.rest(run, rests),
            HostOrder::Save(key, bytes) => self.store.writer().save(key, bytes),
            HostOrder::Forget(key) => self.store.writer().forget(key),
            HostOrder::Cores(cores) => self.executor.set_cores(cores),
        }
    }

    fn records(&self) -> Arc<dyn Records> {
        Arc::new(self.store.clone())
    }
}

/// The time: the machine's clock, without its jumps.
#[cfg(target_os = "linux")]
pub fn now() -> Moment {
    static CLOCK: Mutex<SteadyClock> = Mutex::new(SteadyClock::new());
    // Plain data: a panic while it was held leaves it usable.
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner).read(since_start(), wall())
}

/// The time: the machine's clock. Elsewhere no clock that never jumps counts the time that a machine sleeps.
#[cfg(not(target_os = "linux"))]
pub fn now() -> Moment {
    wall()
}

fn wall() -> Moment {
    Moment(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Time since the machine started, the time that it slept included.
#[cfg(target_os = "linux")]
fn since_start() -> Millis {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to where this one lies. It cannot refuse: every Linux since 2.6.39 has
    // this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Millis(millis(Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))))
}
