//! What a native process gives to the node's loop: clock, executor, store.

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{SinkExt as _, channel::mpsc};
use p2pnet_net::host::{Host, HostFact, Records};
use p2pnet_shared::{
    clock::{Mark, SteadyClock},
    id::JobId,
    node::{HostOrder, Merge, Merged},
    units::{Millis, Moment},
};

use tokio::task::spawn_blocking;

use crate::{executor::Executor, store::Store};

/// The platform's side of the loop. No order blocks.
pub struct NativeHost {
    executor: Executor,
    store: Store,
    facts: mpsc::Sender<HostFact>,
}

impl NativeHost {
    /// A host that computes on `executor`, keeps records in `store`, and tells `facts` what came of merges. It lives inside a
    /// tokio runtime.
    pub fn new(executor: Executor, store: Store, facts: mpsc::Sender<HostFact>) -> Self {
        tokio::spawn(tell_kept(store.clone(), facts.clone()));
        Self { executor, store, facts }
    }

    fn merge(&self, job: JobId, merge: Merge) {
        let mut facts = self.facts.clone();
        tokio::spawn(async move {
            let merged = spawn_blocking(move || merge.run()).await.unwrap_or_else(|error| {
                tracing::error!(%job, %error, "outputs could not be merged");
                Merged::broken()
            });
            // An error means that the node has stopped.
            let _ = facts.send(HostFact::Merged { job, merged }).await;
        });
    }
}

/// Tells the node what is on disk, until either ends.
async fn tell_kept(store: Store, mut facts: mpsc::Sender<HostFact>) {
    let Some(mut kept) = store.writer().kept() else { return };
    drop(store);
    while let Some(tokens) = kept.recv().await {
        if facts.send(HostFact::Kept { tokens }).await.is_err() {
            return;
        }
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
            HostOrder::Merge { job, merge } => self.merge(job, merge),
            HostOrder::Change(changes) => self.store.writer().change(changes, None),
            HostOrder::Keep { token, changes } => self.store.writer().change(changes, Some(token)),
            HostOrder::Cores(cores) => self.executor.set_cores(cores),
        }
    }

    fn records(&self) -> Arc<dyn Records> {
        Arc::new(self.store.clone())
    }
}

/// One time for all of the process, which also those read who keep a job before the node has it.
static CLOCK: Mutex<SteadyClock> = Mutex::new(SteadyClock::new());

fn clock() -> MutexGuard<'static, SteadyClock> {
    // Plain data: a panic while it was held leaves it usable.
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time on the node's own scale, which the machine's clock begins and does not move.
pub fn now() -> Moment {
    clock().read(monotonic(), wall())
}

/// By how many milliseconds moments on the node's scale are to be moved for whoever is shown them.
pub fn set_by() -> i64 {
    clock().set_by()
}

/// Goes on from what an earlier process kept. To be called before the time is asked for.
pub fn go_on(mark: &Mark) {
    *clock() = SteadyClock::go_on(mark, &boot(), monotonic(), wall());
}

/// What a later process needs to go on from here.
pub fn mark() -> Mark {
    clock().mark(&boot(), monotonic(), wall())
}

fn wall() -> Moment {
    Moment(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Which start of the machine this is; empty where no system call tells, and there a restart goes on by the wall clock.
fn boot() -> String {
    if cfg!(target_os = "linux") {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    } else {
        String::new()
    }
}

/// Time that the machine spent since some moment, the time that it slept included.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn monotonic() -> Millis {
    #[cfg(target_os = "linux")]
    const CLOCK_WITH_SLEEP: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(target_vendor = "apple")]
    const CLOCK_WITH_SLEEP: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to where this one lies. It cannot refuse: every Linux since 2.6.39 and every
    // macOS since 10.12 has this clock.
    unsafe { libc::clock_gettime(CLOCK_WITH_SLEEP, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Millis(millis(Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))))
}

/// Time since this was first asked for.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn monotonic() -> Millis {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    Millis(millis(START.get_or_init(std::time::Instant::now).elapsed()))
}

/// Memory of at least so many bytes goes back to the system as soon as it is free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_MEMORY: libc::c_int = 1 << 20;

/// Has large memory go back to the system once it is free. By itself, glibc keeps it from the first time on that some was: a relay
/// that had taken in ten bodies of 18 MiB held 900 MiB for as long as it ran.
pub fn give_large_memory_back() {
    // SAFETY: it sets a number that the allocator reads, whichever threads there are.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_goes_on_from_the_mark_of_an_earlier_one() {
        let before = now();
        // As if the wall clock had been a day ahead of what it is now.
        let mark = Mark { wall: mark().wall + Millis(86_400_000), time: before + Millis(86_400_000), ..mark() };
        let passed = SteadyClock::go_on(&mark, &boot(), monotonic(), wall()).read(monotonic(), wall()) - mark.time;
        if cfg!(target_os = "linux") {
            assert!(!boot().is_empty());
        }
        assert!(passed < Millis(3_600_000), "neither a day older nor younger: {passed:?}");
        assert!(now() >= before);
    }
}
