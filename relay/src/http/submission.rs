//! What happens between the body of a job and its 202. A 202 is a promise: the job, its idempotency key and its kernel
//! are on disk, in one transaction, before the node runs it and before anybody is told.

use std::{cell::Cell, sync::Arc, time::Instant};

use axum::body::Bytes;
use p2pnet_net::handle::Reservation;
use p2pnet_shared::{
    blob::Blob,
    id::{Hash, Holder, JobId},
    job::{
        Job, kinds,
        kinds::{limits::MOST_SOURCE_BYTES, schema::Output},
    },
    kernel::MOST_MODULE_BYTES,
    node::{held_bytes, new_record},
    refusal::{Code, Refusal},
    store::StoreKey,
};
use tokio::{runtime, task::spawn_blocking, time::timeout_at};

use super::{
    App,
    answer::{Refused, refuse},
    compress::Encoding,
    idempotency,
    intake::{self, Received},
    limits,
    source::Source,
    turns::{Turn, Turns},
};
use crate::{
    host::now,
    store::{KeptKernel, KeyRecord, NewJob},
};

/// A job as it was sent.
pub struct Submission {
    /// The idempotency key that came with it.
    pub key: Option<String>,
    /// Its JSON.
    pub body: Received,
    /// How that was written.
    pub encoding: Encoding,
    /// Whom reading it counts for.
    pub source: Source,
    /// Whose it is.
    pub holder: Holder,
}

impl Submission {
    /// Takes the job in and returns its name once it is kept, or why it is not. Who hangs up waits no longer; but once its
    /// turn has come this goes on: half of it would leave a job that nobody was told of, and a key that names none.
    pub async fn take(self, app: Arc<App>) -> Result<JobId, Refused> {
        // A job that was taken before is there, whatever the disk takes now.
        if self.key.is_none() {
            check_disk(&app)?;
        }
        let deadline = Instant::now() + limits::ROOM_PATIENCE;
        let weigh = self.weigh(&app);
        let admitted = admit(&app.idempotency, &app.turns, self.key.as_deref(), self.source, deadline, weigh);
        let admitted = self.body.waits_for(admitted).await??;
        match tokio::spawn(self.take_here(app, admitted)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "taking a job panicked");
                refuse(Code::Internal, "the relay failed to take this job", "please report it with the relay's log")
            }
        }
    }

    /// What reading it takes.
    async fn weigh(&self, app: &App) -> Weighed {
        let small = self.encoding.unfold_small(&self.body.bytes, limits::SMALL_WORK_BYTES);
        let weight = match &small {
            Some(text) => weight(app, text).await,
            None => self.encoding.weight(&self.body.bytes, MOST_SOURCE_BYTES),
        };
        Weighed { weight, small }
    }

    async fn take_here(self, app: Arc<App>, admitted: Admitted) -> Result<JobId, Refused> {
        let Self { key, body, encoding, source: _, holder } = self;
        let Admitted { _turn_of_key, turn, weight, small } = admitted;
        let read = read(&app, key, body.bytes.clone(), encoding, holder, small);
        let (turn, ready) = match in_turn(turn, read).await? {
            (_, Read::Before(id)) => return Ok(id),
            (turn, Read::New(ready)) => (turn, *ready),
        };
        // What is small waits for the disk without its turn, bounded by the room that is set aside: there are few turns,
        // and many share a transaction.
        let turn = (weight > limits::SMALL_WORK_BYTES).then_some(turn);
        let kept = keep(&app, ready).await;
        drop((turn, body));
        kept
    }
}

/// Whether what must be kept can be.
fn check_disk(app: &App) -> Result<(), Refused> {
    app.store.writer().trouble().map_or(Ok(()), |trouble| Err(Refused(trouble.refusal())))
}

/// What reading a job takes.
struct Weighed {
    /// So many bytes.
    weight: usize,
    /// Its JSON, where that is small.
    small: Option<Bytes>,
}

/// A job that may be read now.
struct Admitted {
    /// Held until the job is kept under its key.
    _turn_of_key: Option<idempotency::Turn>,
    /// Held from before the body is unfolded until the job is kept: all of it takes time and memory.
    turn: Turn,
    weight: usize,
    /// Its JSON, where that is small and was not waited with.
    small: Option<Bytes>,
}

/// Waits for the turn of a key, if there is one, weighs the job, and waits for a turn to read it. Nobody waits for a key with a
/// place that others wait for, or for either with a body unfolded: nothing counts what it unfolds to.
///
/// # Errors
/// Not both come until the deadline, or too many wait for the key or for a turn.
async fn admit(
    keys: &idempotency::Keys,
    turns: &Turns,
    key: Option<&str>,
    source: Source,
    deadline: Instant,
    weigh: impl Future<Output = Weighed>,
) -> Result<Admitted, Refusal> {
    let turn_of_key = match key {
        Some(key) => Some(timeout_at(deadline.into(), keys.turn(key)).await.map_err(|_| intake::full())??),
        None => None,
    };
    let Weighed { weight, small } = weigh.await;
    let (turn, small) = match turns.join(source, weight).at_once() {
        Ok(turn) => (turn, small),
        Err(waiting) => {
            drop(small);
            (waiting.until(deadline).await.ok_or_else(intake::full)?, None)
        }
    };
    Ok(Admitted { _turn_of_key: turn_of_key, turn, weight, small })
}

/// Works in a turn, and returns it with what came of that. Whatever is refused there, the turn came to nothing.
async fn in_turn<T>(turn: Turn, work: impl Future<Output = Result<T, Refused>>) -> Result<(Turn, T), Refused> {
    match work.await {
        Ok(done) => Ok((turn, done)),
        Err(refused) => {
            turn.refused();
            Err(refused)
        }
    }
}

/// What a body turned out to be.
enum Read {
    /// A job that was taken under the same key before.
    Before(JobId),
    /// A new one.
    New(Box<Ready>),
}

/// Reads a job as it was sent, unless it was taken before.
async fn read(
    app: &Arc<App>,
    key: Option<String>,
    body: Bytes,
    encoding: Encoding,
    holder: Holder,
    small: Option<Bytes>,
) -> Result<Read, Refused> {
    // One that waited was not unfolded meanwhile. What is small needs no other thread for that.
    let Text { text, hash } = match small.or_else(|| encoding.unfold_small(&body, limits::SMALL_WORK_BYTES)) {
        Some(text) => Text { hash: key.is_some().then(|| Hash::of(&text)), text },
        None => unfolded(encoding, body, key.is_some()).await?,
    };
    let key = key.zip(hash);
    if let Some((key, hash)) = &key
        && let Some(before) = app.store.key(key).await.map_err(|trouble| trouble.refusal())?
        // The key of a job that was removed makes a new one.
        && app.handle.owner(before.job).await.is_some()
    {
        idempotency::same_body(&before, *hash)?;
        return Ok(Read::Before(before.job));
    }
    check_disk(app)?;
    let ready = make_ready(app, holder, text, key).await?;
    Ok(Read::New(Box::new(ready)))
}

/// The bytes that reading a small job may take: its own, and those of a module that it may name by its hash.
async fn weight(app: &App, text: &[u8]) -> usize {
    let module = match named(text) {
        Named::Nothing => 0,
        Named::Unclear => MOST_MODULE_BYTES,
        // What is not here will be refused, or comes in this moment.
        Named::Hash(hash) => app.store.kernel_bytes(hash).await.unwrap_or(MOST_MODULE_BYTES),
    };
    text.len() + module
}

/// What a job's JSON may name as its module, before it is read.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// No text in it can be a hash.
    Nothing,
    /// One text in it is a hash, in digits.
    Hash(Hash),
    /// Several are, or one may be in digits written as escapes, which nobody does.
    Unclear,
}

fn named(text: &[u8]) -> Named {
    let digit = |end: &[u8]| matches!(end, [b'3', b'0'..=b'9', ..] | [b'4' | b'6', b'1'..=b'6', ..]);
    let begin = b"\\u00";
    if text.windows(begin.len() + 2).any(|at| at.strip_prefix(begin).is_some_and(digit)) {
        return Named::Unclear;
    }
    let texts = text.split(|byte| *byte == b'"').filter(|text| text.len() == 2 * size_of::<Hash>());
    let mut hashes = texts.filter_map(|text| std::str::from_utf8(text).ok()?.parse::<Hash>().ok());
    match (hashes.next(), hashes.next()) {
        (None, _) => Named::Nothing,
        (Some(hash), None) => Named::Hash(hash),
        (Some(_), Some(_)) => Named::Unclear,
    }
}

const SPLIT: &str = "split the data over several jobs";

/// A body as it was before it was compressed, if it was, and its hash where that is asked for.
struct Text {
    text: Bytes,
    hash: Option<Hash>,
}

/// Unfolds a body that may be large, on a thread of its own.
async fn unfolded(encoding: Encoding, body: Bytes, is_hashed: bool) -> Result<Text, Refused> {
    let unfold = move || {
        let text = encoding.unfold(body, MOST_SOURCE_BYTES, SPLIT)?;
        Ok(Text { hash: is_hashed.then(|| Hash::of(&text)), text })
    };
    match spawn_blocking(unfold).await {
        Ok(unfolded) => unfolded.map_err(Refused),
        Err(error) => {
            tracing::error!(%error, "unfolding a body panicked");
            refuse(Code::Internal, "the relay failed to unfold this body", "send it without Content-Encoding")
        }
    }
}

/// A job that there is room for, and what is to be written of it.
struct Ready {
    job: Job,
    place: Reservation,
    new: NewJob,
}

/// Reads a job's JSON (a formula is compiled, a kernel checked), sets room aside for it and makes its record. What is tiny
/// is read here, unless it names a kernel that is in the store; all else on a thread of its own.
async fn make_ready(
    app: &Arc<App>,
    holder: Holder,
    text: Bytes,
    key: Option<(String, Hash)>,
) -> Result<Ready, Refused> {
    let id = JobId(rand::random());
    if let Some(job) = read_tiny(&text) {
        let job = Job { holder, ..job? };
        let place = app.handle.reserve(id, holder, held_bytes(&*job.plan, &job.source)).await?;
        return Ok(ready(app, job, false, place, key));
    }
    let app = Arc::clone(app);
    let runtime = runtime::Handle::current();
    let make = move || {
        let text = kinds::text_of(&text)?;
        let names_kernel = Cell::new(false);
        let look = |hash| {
            names_kernel.set(true);
            app.sound.known(hash, || runtime.block_on(app.store.kernel(hash)))
        };
        let job = kinds::read_known(text, &look)?;
        let job = Job { holder, ..job };
        let place = runtime.block_on(app.handle.reserve(id, holder, held_bytes(&*job.plan, &job.source)))?;
        Ok(ready(&app, job, names_kernel.get(), place, key))
    };
    match spawn_blocking(make).await {
        Ok(ready) => ready.map_err(Refused),
        Err(error) => {
            tracing::error!(%error, "reading a job panicked");
            refuse(
                Code::Internal,
                "the relay failed to read this job",
                "please report it with the job and the relay's log",
            )
        }
    }
}

/// Reads a job that is tiny, unless it names a kernel that is in the store.
fn read_tiny(text: &[u8]) -> Option<Result<Job, Refusal>> {
    if text.len() > limits::READ_HERE_BYTES {
        return None;
    }
    let names_one = Cell::new(false);
    let look = |_| {
        names_one.set(true);
        None
    };
    let job = kinds::text_of(text).and_then(|text| kinds::read(text, &look));
    (!names_one.get()).then_some(job)
}

/// What is to be written of a job. Takes a time in proportion to its bytes.
fn ready(app: &App, job: Job, names_kernel: bool, place: Reservation, key: Option<(String, Hash)>) -> Ready {
    let (id, at) = (place.id(), now());
    // Modules that came with a job may be named by their hash in later ones.
    let kept = |module: &Blob| KeptKernel { blob: module.clone(), holder: job.holder };
    let kernels: Vec<KeptKernel> = job.plan.modules().into_iter().map(kept).collect();
    for kernel in &kernels {
        app.sound.note(&kernel.blob, kinds::output_of(job.kind) == Output::Program);
    }
    let key = key.map(|(key, body)| KeyRecord { key, body, job: id, at });
    let new = NewJob { id, record: new_record(id, &job, at), key, kernels, names_kernel };
    Ready { job, place, new }
}

/// Keeps a job, then hands it to the node.
async fn keep(app: &App, Ready { job, place, new }: Ready) -> Result<JobId, Refused> {
    let (id, writer) = (new.id, app.store.writer());
    writer.promise(new).await.map_err(|trouble| trouble.refusal())?;
    if let Err(refusal) = app.handle.submit_kept(place, job).await {
        // The node has stopped. Nobody has heard of the job: a crash before this is written brings it back unasked, no more.
        writer.forget(StoreKey::Job(id));
        return Err(Refused(refusal));
    }
    app.metrics.job_submitted();
    Ok(id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use futures::poll;

    use super::*;

    fn from(network: u8) -> Source {
        Source::of(std::net::IpAddr::from([192, 0, network, 1]))
    }

    async fn weighed(weight: usize) -> Weighed {
        Weighed { weight, small: None }
    }

    #[tokio::test]
    async fn who_waits_for_a_key_has_no_place_that_others_wait_for() {
        let (keys, places) = (idempotency::Keys::default(), Turns::default());
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut large = Vec::new();
        for busy in 0..8 {
            let key = format!("key {busy}");
            large.push(keys.turn(&key).await.unwrap());
            for number in 0..limits::KEY_WAITERS {
                let (keys, places, key) = (keys.clone(), places.clone(), key.clone());
                let from = from(u8::try_from(number).unwrap());
                let waits =
                    async move { admit(&keys, &places, Some(&key), from, deadline, weighed(1_000)).await.map(drop) };
                tokio::spawn(waits);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        for key in [None, Some("other")] {
            let turn = admit(&keys, &places, key, from(100), deadline, weighed(1_000));
            assert!(tokio::time::timeout(Duration::from_secs(1), turn).await.is_ok_and(|turn| turn.is_ok()));
        }
    }

    #[tokio::test]
    async fn key_and_turn_come_within_one_time_or_it_is_answered_as_a_full_relay_does() {
        let (keys, places) = (idempotency::Keys::default(), Turns::default());
        let whole = limits::LARGE_WORK.bytes;
        let turn_of_key = keys.turn("key").await.unwrap();
        let soon = || Instant::now() + Duration::from_millis(100);
        let refused = async |weight| {
            let admitted = admit(&keys, &places, Some("key"), from(1), soon(), weighed(weight));
            tokio::time::timeout(Duration::from_secs(5), admitted).await.unwrap().err()
        };
        assert_eq!(refused(1).await, Some(intake::full()));
        drop(turn_of_key);
        let _turn = places.join(from(2), whole).at_once().ok().unwrap();
        assert_eq!(refused(whole).await, Some(intake::full()));
        // Who was refused left nothing behind.
        assert!(keys.turn("key").await.is_ok());
        assert_eq!(refused(1).await, None);
    }

    #[tokio::test]
    async fn a_body_that_is_refused_for_its_key_came_to_nothing() {
        let turns = Turns::default();
        let turn = || turns.join(from(1), limits::LARGE_WORK.bytes).at_once().ok().unwrap();
        let before = KeyRecord { key: "key".into(), body: Hash::of(b"one"), job: JobId([1; 16]), at: now() };
        let of = async |body: &[u8]| idempotency::same_body(&before, Hash::of(body)).map_err(Refused);
        assert!(in_turn(turn(), of(b"another")).await.is_err());
        assert_eq!(turns.last_counts(), limits::REFUSED_COUNTS);
        assert!(in_turn(turn(), of(b"one")).await.is_ok());
        assert_eq!(turns.last_counts(), 1);
    }

    #[tokio::test]
    async fn what_waits_is_not_unfolded() {
        let (keys, places) = (idempotency::Keys::default(), Turns::default());
        let deadline = Instant::now() + Duration::from_secs(60);
        let text = Bytes::from(vec![b' '; 1_000]);
        let of_large = |weight| {
            let text = text.clone();
            async move { Weighed { weight, small: Some(text) } }
        };
        let turn_of_key = keys.turn("key").await.unwrap();
        let weighs = async { panic!("before it has its key") };
        let mut waits = std::pin::pin!(admit(&keys, &places, Some("key"), from(1), deadline, weighs));
        assert!(poll!(&mut waits).is_pending());
        drop(turn_of_key);
        let whole = limits::LARGE_WORK.bytes;
        let turn = places.join(from(2), whole).at_once().ok().unwrap();
        let mut waits = std::pin::pin!(admit(&keys, &places, None, from(1), deadline, of_large(whole)));
        assert!(poll!(&mut waits).is_pending() && text.is_unique());
        drop(turn);
        assert!(waits.await.unwrap().small.is_none());
        let at_once = admit(&keys, &places, None, from(1), deadline, of_large(1)).await.unwrap();
        assert_eq!(at_once.small, Some(text));
    }

    #[test]
    fn a_job_names_a_module_only_where_one_of_its_texts_is_a_hash() {
        let hash = Hash::of(b"module");
        let named_by = |name: &str| named(format!(r#"{{"kind":"kernel","kernel":"{name}"}}"#).as_bytes());
        assert_eq!(named_by(&hash.to_string()), Named::Hash(hash));
        assert_eq!(named_by(&format!(r"\u0061{}", &hash.to_string()[1..])), Named::Unclear);
        assert_eq!(named_by(&format!(r#"{hash}","input":"{hash}"#)), Named::Unclear);
        let digits = "7".repeat(2 * size_of::<Hash>());
        for plain in [
            r#"{"kind":"map","data":[1],"map":"x","name":"\u0439"}"#,
            // As Go writes formulas and lines.
            r#"{"kind":"map","data":[1],"map":"x","where":"x \u003c 3 \u0026\u0026 x \u003e 1","name":"\u2028"}"#,
            &format!(r#"{{"kind":"map","data":[{digits}],"map":"x"}}"#),
            &format!(r#"{{"kind":"map","data":["{digits}7"],"map":"x"}}"#),
        ] {
            assert_eq!(named(plain.as_bytes()), Named::Nothing, "{plain}");
        }
    }
}
