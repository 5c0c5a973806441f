//! Bodies on their way in. They are received outside of what is expensive (reading and compiling a job), so that a slow
//! sender holds up nobody; each address, each network and each wide network has a share of the bodies and of the memory that
//! they take, and when there is no room, one of those that are not being read yet gives way ([`table`]).

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
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use self::table::{Answer, Gone, TICK, Table, due};
use super::{compress::Encoding, limits, source::Source};

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
}

/// A body that is here; its bytes count for its address until this is dropped.
pub struct Received {
    /// All of it.
    pub bytes: Bytes,
    held: Held,
    gone: Gone,
}

impl Received {
    /// Waits for the turn to read it; only then it gives way to nobody any more.
    ///
    /// # Errors
    /// It gave way to somebody who takes less.
    pub async fn waits_for<T>(&self, turn: impl Future<Output = T>) -> Result<T, Refusal> {
        let turn = tokio::select! {
            biased;
            came_slowly = self.gone.came_slowly() => return Err(gave_way(came_slowly)),
            turn = turn => turn,
        };
        if self.held.intake.lock().is_read(self.held.number) { Ok(turn) } else { Err(gave_way(false)) }
    }
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
        Ok(Received { bytes: bytes.into(), held, gone })
    }

    async fn enter(&self, source: Source) -> Result<(Held, Gone), Refusal> {
        let (number, gone, answer) = self.lock().arrive(source, Instant::now());
        let entered = self.held((number, gone));
        self.settled(number, &entered.1, answer).await?;
        Ok(entered)
    }

    /// Waits for room if need be.
    async fn settled(&self, number: u64, gone: &Gone, answer: Answer) -> Result<(), Refusal> {
        match answer {
            Answer::Has => return Ok(()),
            Answer::Refused => return Err(full()),
            Answer::Waits => {}
        }
        if self.lock().is_to_be_looked_through() {
            let table = Arc::clone(&self.table);
            tokio::spawn(async move {
                while lock(&table).look_through(Instant::now()) {
                    sleep(TICK).await;
                }
            });
        }
        let has_room = async {
            while self.lock().waits(number) {
                gone.has_room().await;
            }
        };
        tokio::select! {
            // One that gave way does not wait any more, either.
            biased;
            came_slowly = gone.came_slowly() => Err(gave_way(came_slowly)),
            done = timeout(limits::ROOM_PATIENCE, has_room) => done.map_err(|_| full()),
        }
    }

    #[cfg(test)]
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

    /// Counts a body as `bytes` long once there is room for it; returns how long that took.
    async fn grow(&self, held: &Held, gone: &Gone, bytes: usize, is_whole: bool) -> Result<Duration, Refusal> {
        let start = Instant::now();
        let answer = self.lock().lengthen(held.number, bytes, is_whole, start);
        self.settled(held.number, gone, answer).await?;
        Ok(start.elapsed())
    }

    #[cfg(test)]
    fn try_grow(&self, number: u64, bytes: usize, now: Instant) -> bool {
        self.lock().grow(number, bytes, now)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.intake.lock().remove(self.number));
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
