//! Turns at what costs processor time and memory: reading jobs and modules, opening results. A few go on at once, weighed
//! by their bytes; what is small has places of its own, so that it never waits for what is large. Networks take turns, and in
//! each its addresses; no address has more than half of the places and no network more than three quarters, so that what
//! one sends waits behind its own. Of what is large, whoever took least time lately comes first, with what its next turn is expected
//! to take, so that many who send what is dear to refuse do not make one wait who sends little; and wide networks take turns before
//! the networks in them, with the same share, since one who has an IPv6 /32 has 65,536 networks that took no time yet. What is small
//! costs too little for that.

mod queue;
mod spent;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::{sync::oneshot, time::timeout_at};

use self::queue::{Path, Queue};
use super::{limits, source::Source};

/// What goes on at once.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// So many, of one address half of them and of one network three quarters; of what is large, of one wide network, too.
    pub places: usize,
    /// Of so many bytes together, shared in the same way; a single one may have more.
    pub bytes: usize,
}

/// How many may wait for a turn. Others are refused.
#[derive(Clone, Copy, Debug)]
pub struct WaiterBounds {
    /// In all; beyond, one of whoever has most of them is refused for one who has fewer.
    pub all: usize,
    /// Of one wide network,
    pub per_wide_network: usize,
    /// of one network,
    pub per_network: usize,
    /// and of one address; none of the three for this machine itself.
    pub per_address: usize,
}

/// The turns. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Lanes>>);

struct Lanes {
    last: u64,
    small: Queue,
    large: Queue,
    /// How often the last one's time counted.
    #[cfg(test)]
    last_counts: u32,
}

impl Default for Lanes {
    fn default() -> Self {
        // Of what is small, all take as much.
        Self {
            last: 0,
            small: Queue::new(limits::SMALL_WORK, false),
            large: Queue::new(limits::LARGE_WORK, true),
            #[cfg(test)]
            last_counts: 0,
        }
    }
}

/// A turn, or a place in the queue for it; given back when dropped.
pub struct Turn {
    turns: Turns,
    number: u64,
    path: Path,
    /// How often its time counts for its address.
    counts: u32,
}

impl Turn {
    /// What it was for came to nothing: its time counts more for its address, so that who sends much that is refused waits for
    /// others. Not for those around, who have nothing to do with it.
    pub fn refused(mut self) {
        self.counts_more();
    }

    fn counts_more(&mut self) {
        self.counts = limits::REFUSED_COUNTS;
    }

    /// Gives it back, if it was not given back before.
    fn end(&mut self, now: Instant) {
        let mut lanes = self.turns.lock();
        lanes.of(self.path).end(self.number, self.path, self.counts, now);
        #[cfg(test)]
        {
            lanes.last_counts = self.counts;
        }
    }
}

/// A turn that may not have come yet. Whoever drops it no longer waits.
pub struct Waiting {
    turn: Turn,
    come: oneshot::Receiver<()>,
}

impl Waiting {
    /// The turn, if it has come.
    ///
    /// # Errors
    /// It has not.
    pub fn at_once(mut self) -> Result<Turn, Self> {
        if self.come.try_recv().is_ok() { Ok(self.turn) } else { Err(self) }
    }

    /// Waits for the turn; `None` when it does not come in time, or at once where too many wait.
    pub async fn until(self, deadline: Instant) -> Option<Turn> {
        // One that was refused has been told so.
        if self.come.is_terminated() {
            return None;
        }
        matches!(timeout_at(deadline.into(), self.come).await, Ok(Ok(()))).then_some(self.turn)
    }
}

impl Turns {
    /// Waits for a turn at `bytes`; `None` when it does not come within [`limits::ROOM_PATIENCE`], or too many wait.
    pub async fn wait(&self, source: Source, bytes: usize) -> Option<Turn> {
        self.join(source, bytes).until(Instant::now() + limits::ROOM_PATIENCE).await
    }

    /// Asks for a turn at `bytes`.
    pub fn join(&self, source: Source, bytes: usize) -> Waiting {
        let (turn, come) = self.queue(source, bytes);
        Waiting { turn, come }
    }

    /// How often the time of the turn that ended last counted for its address.
    #[cfg(test)]
    pub fn last_counts(&self) -> u32 {
        self.lock().last_counts
    }

    fn queue(&self, source: Source, bytes: usize) -> (Turn, oneshot::Receiver<()>) {
        let path = Path::of(source, bytes <= limits::SMALL_WORK_BYTES);
        let (sender, receiver) = oneshot::channel();
        let mut lanes = self.lock();
        lanes.last += 1;
        let number = lanes.last;
        lanes.of(path).join(number, path, bytes, sender, Instant::now());
        drop(lanes);
        (Turn { turns: self.clone(), number, path, counts: 1 }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn of(&mut self, path: Path) -> &mut Queue {
        if path.is_small { &mut self.small } else { &mut self.large }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

#[cfg(test)]
mod tests;
