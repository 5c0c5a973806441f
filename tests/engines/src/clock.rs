//! Time that one thread has been on a processor: others' load on the machine does not count.

use std::{fs, time::Duration};

/// This thread's (clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`).
pub(crate) fn own_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // The clock exists on every Linux, and the place is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// That of another process's thread, which should be asleep by now: the kernel brings it up to date when it stops.
/// Nothing if it is gone.
pub(crate) fn time_of((process, thread): (u32, u32)) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// The threads of `processes` whose name begins with `name`.
pub(crate) fn threads_named(processes: &[u32], name: &str) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for process in processes {
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let named = fs::read_to_string(thread.path().join("comm")).is_ok_and(|text| text.starts_with(name));
            if let (true, Some(id)) = (named, thread.file_name().to_str().and_then(|id| id.parse().ok())) {
                found.push((*process, id));
            }
        }
    }
    found
}
