//! Tells those who hold streams of a connection that it is over. A stream outlives its connection where somebody else holds it:
//! who waits for another side, as a circuit does for its source, would not look at it, and keep what lies in it, for as long as
//! that side likes.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// Whether something is over, and who is to hear of it.
#[derive(Default)]
pub(crate) struct Over {
    is_over: AtomicBool,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    last: u64,
    wakers: BTreeMap<u64, Arc<AtomicWaker>>,
}

impl Over {
    /// From now on it is over, and all who listen are woken.
    pub(crate) fn set(&self) {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        // Whoever is woken may stop to listen, which takes the lock.
        let wakers: Vec<_> = self.lock().wakers.values().cloned().collect();
        wakers.iter().for_each(|waker| waker.wake());
    }

    /// One more who is to hear of it.
    pub(crate) fn listener(self: &Arc<Self>) -> Listener {
        let waker = Arc::default();
        let mut listeners = self.lock();
        listeners.last += 1;
        let number = listeners.last;
        listeners.wakers.insert(number, Arc::clone(&waker));
        Listener { over: Arc::clone(self), number, waker }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who hears of an end. To be asked at each poll: that costs a few atomic operations.
pub(crate) struct Listener {
    over: Arc<Over>,
    number: u64,
    waker: Arc<AtomicWaker>,
}

impl Listener {
    /// Whether it is over; else the task that asked last is woken when it is.
    pub(crate) fn is_over(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.over.is_over.load(Ordering::Acquire)
    }

    /// What was read; who would wait for more though it is over, fails instead, and else is woken when it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionAborted`] where it is over and nothing was read, and the error of `read`.
    pub(crate) fn or_ended(&self, cx: &Context<'_>, read: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if read.is_pending() && self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.lock().wakers.remove(&self.number);
    }
}
