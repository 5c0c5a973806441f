//! Bodies on their way in. They are received outside of what is expensive (reading and compiling a job), so that a slow
//! sender holds up nobody; each address, each network and each wide network has a share of the bodies and of the memory that
//! they take, and when there is no room, one of those that are not all here yet gives way ([`table`]).

mod table;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, header},
};
use futures::future::poll_fn;
use p2pnet_shared::refusal::{Code, Refusal};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use self::table::{Gone, Table, due};
use super::{compress::Encoding, limits, source::Source};

/// How soon one that waits for room looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A body that is whole within this time, and within so many bytes or little more, needs no place.
const AT_ONCE: Duration = Duration::from_millis(250);
const SMALL: usize = 16 << 10;
/// So much of a body comes before it is counted: each count is looked at beside those of all others, and a body may come byte by
/// byte.
const GRAIN: usize = 4 << 10;

/// The bodies under way and those that wait to be read. Cheap to clone.
#[derive(Clone, Default)]
pub struct Intake {
    table: Arc<Mutex<Table>>,
    changed: Arc<Notify>,
}

/// A body that is here; its bytes count for its address until this is dropped.
pub struct Received {
    /// All of it.
    pub bytes: Bytes,
    _held: Held,
}

/// How large a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Bytes as they are sent.
    pub bytes: usize,
    /// What it is that may not be larger.
    pub what: &'static str,
    /// What to do where it is.
    pub hint: &'static str,
}

impl Bound {
    /// That of a job.
    pub fn of_job(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Plain => Self {
                bytes: limits::MOST_BODY_BYTES,
                what: "a body that is not in gzip",
                hint: "send it with Content-Encoding: gzip, which may have 48 MiB, a large module ahead with PUT \
                       /api/v1/kernels, or split the data over several jobs",
            },
            Encoding::Gzip => Self {
                bytes: limits::MOST_PACKED_BYTES,
                what: "a body in gzip",
                hint: "split the data over several jobs; a large module goes ahead with PUT /api/v1/kernels",
            },
        }
    }

    /// That of a module.
    pub const OF_MODULE: Self = Self { bytes: limits::MOST_BODY_BYTES, what: "a module", hint: SMALLER_MODULE };

    fn crossed(self) -> Refusal {
        Refusal::new(Code::TooLarge, format!("{} may have at most {} MiB", self.what, self.bytes >> 20), self.hint)
    }
}

/// How a module becomes smaller.
pub const SMALLER_MODULE: &str = "build it with optimisation and without debug information";

struct Held {
    number: u64,
    intake: Intake,
}

impl Intake {
    /// Receives a body, within its bounds of size, speed and share.
    pub async fn receive(
        &self,
        source: Source,
        body: Body,
        headers: &HeaderMap,
        bound: Bound,
    ) -> Result<Received, Refusal> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|len| len > bound.bytes as u64) {
            return Err(bound.crossed());
        }
        let mut body = body;
        let mut bytes = Vec::new();
        // Most jobs are small and here at once: they need no place among those that are on their way.
        let soon = Instant::now() + AT_ONCE;
        let mut is_whole = false;
        while !is_whole && bytes.len() < SMALL {
            match timeout_at(soon, next(&mut body)).await {
                Ok(Ok(Some(data))) => bytes.extend_from_slice(&data),
                Ok(Ok(None)) => is_whole = true,
                Ok(Err(refusal)) => return Err(refusal),
                Err(_) => break,
            }
        }
        let (held, gone) = if is_whole { self.insert_whole(source) } else { self.enter(source).await? };
        let mut since = Instant::now();
        self.grow(&held, &gone, bytes.len(), is_whole).await?;
        let mut counted = bytes.len();
        while !is_whole {
            let data = tokio::select! {
                data = next(&mut body) => data?,
                came_slowly = gone.came_slowly() => return Err(gave_way(came_slowly)),
                () = sleep_until(deadline(since, bytes.len())) => return Err(too_slow()),
            };
            is_whole = data.is_none();
            let data = data.unwrap_or_default();
            if bytes.len() + data.len() > bound.bytes {
                return Err(bound.crossed());
            }
            bytes.extend_from_slice(&data);
            if is_whole || bytes.len() - counted >= GRAIN {
                since += self.grow(&held, &gone, bytes.len(), is_whole).await?; // waiting for room is not slowness
                counted = bytes.len();
            }
        }
        if !self.lock().is_whole(held.number) {
            return Err(gave_way(gone.came_slowly().await));
        }
        Ok(Received { bytes: bytes.into(), _held: held })
    }

    async fn enter(&self, source: Source) -> Result<(Held, Gone), Refusal> {
        let start = Instant::now();
        loop {
            let waited = start.elapsed();
            if let Some(entered) = self.try_enter(source, waited, Instant::now()) {
                return Ok(entered);
            }
            if waited >= limits::ROOM_PATIENCE {
                return Err(full());
            }
            // Whichever comes first; both mean to look again.
            let _ = timeout(LOOK_AGAIN, self.changed.notified()).await;
        }
    }

    fn try_enter(&self, source: Source, waited: Duration, now: Instant) -> Option<(Held, Gone)> {
        self.lock().enter(source, waited, now).map(|entered| self.held(entered))
    }

    /// A small one that was here at once.
    fn insert_whole(&self, source: Source) -> (Held, Gone) {
        let entered = self.lock().enter_whole(source, Instant::now());
        self.held(entered)
    }

    fn held(&self, (number, gone): (u64, Gone)) -> (Held, Gone) {
        (Held { number, intake: self.clone() }, gone)
    }

    /// Counts a body as `bytes` long, making room if need be; returns how long that took. What is not whole yet goes on without
    /// room for a little, so that it shows whether it comes fast.
    async fn grow(&self, held: &Held, gone: &Gone, bytes: usize, is_whole: bool) -> Result<Duration, Refusal> {
        let start = Instant::now();
        loop {
            if self.try_grow(held.number, bytes, Instant::now()) {
                return Ok(start.elapsed());
            }
            if !is_whole && self.lock().takes_in_hand(held.number) {
                return Ok(Duration::ZERO);
            }
            if start.elapsed() >= limits::ROOM_PATIENCE {
                return Err(full());
            }
            tokio::select! {
                came_slowly = gone.came_slowly() => return Err(gave_way(came_slowly)),
                _ = timeout(LOOK_AGAIN, self.changed.notified()) => {}
            }
        }
    }

    fn try_grow(&self, number: u64, bytes: usize, now: Instant) -> bool {
        self.lock().grow(number, bytes, now)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.intake.lock().remove(self.number));
        self.intake.changed.notify_waiters();
    }
}

/// More of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        match poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(error)) => {
                let text = format!("the body broke off: {error}");
                return Err(Refusal::new(Code::InvalidJson, text, "send the request again"));
            }
            Some(Ok(frame)) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn deadline(since: Instant, bytes: usize) -> Instant {
    since + limits::BODY_GRACE + due(bytes)
}

fn too_slow() -> Refusal {
    let text = format!(
        "the body came more slowly than {} KiB a second, after {} s to begin with",
        limits::LEAST_BODY_SPEED >> 10,
        limits::BODY_GRACE.as_secs()
    );
    Refusal::new(Code::BodyTooSlow, text, "send less data, or over a faster line")
}

fn gave_way(came_slowly: bool) -> Refusal {
    let there_was_no_room = "there was no room for all bodies that are on their way here, and this one";
    if came_slowly {
        let speed = limits::ORDINARY_BODY_SPEED >> 10;
        let text =
            format!("{there_was_no_room} came more slowly than {speed} KiB a second, as those do that give way first");
        Refusal::new(Code::BodyTooSlow, text, "send it again in a few seconds, or over a faster line")
    } else {
        let text = format!("{there_was_no_room} was of whoever takes most of it");
        Refusal::new(Code::RateLimited, text, "send it again in a few seconds, with fewer others at once")
    }
}

/// Whether a refusal is that of a body whose rest is not worth waiting for.
pub fn came_slowly(refusal: &Refusal) -> bool {
    refusal.code == Code::BodyTooSlow
}

/// There is no room, or no turn, for one more.
pub fn full() -> Refusal {
    let text = "as many jobs are on their way here as this relay takes at once";
    Refusal::new(Code::RateLimited, text, "send it again in a few seconds, with fewer others at once")
}

#[cfg(test)]
mod tests;
