//! Kernels and commands that try to escape are refused by their code, in bounded time and memory; and what is merely
//! costly to check stays within what its length allows.
#![expect(clippy::unwrap_used, clippy::disallowed_types)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use p2pnet_shared::{
    job::kinds::command,
    kernel::{prepare, rewrite},
    refusal::Refusal,
};
use p2pnet_test_kernels::escape;

/// Counts the bytes that are in use, and the most that ever were.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count is the process's: one measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Memory that looking at a module may take beside a multiple of its length.
const MEMORY: usize = 16 << 20;
/// What looking at a module may take for each of its bytes.
const MEMORY_A_BYTE: usize = 4;
/// Far more than anything here takes, on any machine: it tells a second from an hour.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `look` and fails if it took more than a module of `length` bytes may cost.
fn bounded<T>(name: &str, length: usize, look: impl FnOnce() -> T) -> T {
    let before = IN_USE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let began = Instant::now();
    let answer = look();
    let took = began.elapsed();
    let memory = MOST.load(Ordering::Relaxed).saturating_sub(before);
    println!("{name}: {length} bytes, {} KiB, {took:?}", memory >> 10);
    assert!(memory <= MEMORY + MEMORY_A_BYTE * length, "{name}: {memory} bytes of memory for a module of {length}");
    assert!(took < PATIENCE, "{name}: {took:?}");
    answer
}

fn code(refusal: &Refusal) -> String {
    serde_json::to_value(refusal.code).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn whoever_tries_to_escape_is_refused_in_bounded_time_and_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut attempts = 0;
    for attempt in escape::attempts() {
        let length = attempt.module.len();
        let refusal = bounded(attempt.name, length, || rewrite(&attempt.module)).unwrap_err();
        assert!(attempt.codes.contains(&code(&refusal).as_str()), "{}: {refusal}", attempt.name);
        assert!(bounded(attempt.name, length, || prepare(&attempt.module)).is_err(), "{}", attempt.name);
        // As a command it is read before it is rewritten.
        let adapted = bounded(attempt.name, length, || command::adapt(&attempt.module).map(|kernel| prepare(&kernel)));
        assert!(adapted.is_err() || adapted.is_ok_and(|prepared| prepared.is_err()), "{} as a command", attempt.name);
        attempts += 1;
    }
    assert!(attempts > 30);
}

#[test]
fn a_kernel_that_is_costly_to_look_at_costs_what_its_length_allows() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, kernel) in escape::burdens() {
        let prepared = bounded(name, kernel.len(), || prepare(&kernel)).unwrap();
        let most = 4096 + 24 * kernel.len();
        assert!(prepared.rewritten.len() < most, "{name}: {} became {}", kernel.len(), prepared.rewritten.len());
    }
}
