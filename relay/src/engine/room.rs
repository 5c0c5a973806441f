//! Room on the stack for what a kernel may use of it. The compiler's code runs on its thread's own stack, and a kernel that
//! went beyond that would end the process; so it only ever runs on threads that are made here.

use std::{cell::Cell, io, panic, thread};

use super::wasmtime::MOST_STACK_BYTES;

/// Stack of such a thread: what the compiler lets a kernel use, and as much as any thread has beside it. Memory is taken for
/// what was used of it.
const THREAD_STACK_BYTES: usize = MOST_STACK_BYTES + (16 << 20);

thread_local! {
    static HAS_ROOM: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread that runs kernels.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    builder(name).spawn(move || {
        HAS_ROOM.set(true);
        work();
    })
}

/// Does `work` where there is room: here, if this thread was made for it, or else on one that is made now, which takes some
/// tens of microseconds. Fails where no thread can be made.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if HAS_ROOM.get() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = builder("kernels").spawn_scoped(scope, || {
            HAS_ROOM.set(true);
            work()
        })?;
        thread.join().or_else(|panic| panic::resume_unwind(panic))
    })
}

fn builder(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned()).stack_size(THREAD_STACK_BYTES)
}
