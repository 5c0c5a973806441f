//! What happens between the body of a job and its 202. A 202 is a promise: the job, its idempotency key and its kernel
//! are on disk, in one transaction, before the node runs it and before anybody is told.

use std::{cell::Cell, sync::Arc};

use axum::body::Bytes;
use p2pnet_shared::{
    id::{Hash, Holder, JobId},
    job::{
        Job, kinds,
        kinds::{command, limits::MAX_SOURCE_BYTES},
    },
    kernel::MOST_MODULE_BYTES,
    node::{StoreKey, held_bytes, new_record},
    refusal::Code,
};
use tokio::{runtime, task::spawn_blocking};

use super::{
    App,
    answer::{Refused, refuse},
    compress::Encoding,
    idempotency,
    intake::{self, Received},
    limits,
    source::Source,
    turns::Turn,
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
    /// Takes the job in and returns its name once it is kept, or why it is not. Goes on when the client hangs up: half
    /// of it would leave a job that nobody was told of, and a key that names none.
    pub async fn take(self, app: Arc<App>) -> Result<JobId, Refused> {
        match tokio::spawn(self.take_here(app)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "taking a job panicked");
                refuse(Code::Internal, "the relay failed to take this job", "please report it with the relay's log")
            }
        }
    }

    async fn take_here(self, app: Arc<App>) -> Result<JobId, Refused> {
        let Self { key, body, encoding, source, holder } = self;
        if let Some(trouble) = app.store.writer().trouble() {
            return Err(Refused(trouble.refusal()));
        }
        let small = encoding.unfold_small(&body.bytes, limits::SMALL_WORK_BYTES);
        let weight = small.as_deref().map_or_else(|| encoding.weight(&body.bytes, MAX_SOURCE_BYTES), weight);
        // Held from before the body is unfolded until the job is read: both take time and memory.
        let Some(turn) = app.turns.wait(source, weight).await else { return Err(intake::full().into()) };
        let text = match small {
            Some(text) => text,
            None => match unfolded(encoding, body.bytes.clone()).await {
                Ok(text) => text,
                Err(refused) => return refused_in(turn, refused),
            },
        };
        let Some(key) = key else {
            let job = match read(&app, holder, text).await {
                Ok(job) => job,
                Err(refused) => return refused_in(turn, refused),
            };
            drop((turn, body));
            return keep(&app, job, None).await;
        };
        let _turn = app.idempotency.turn(&key).await;
        let hash = Hash::of(&text);
        if let Some(before) = app.store.key(&key).await.map_err(|trouble| trouble.refusal())?
            // The key of a job that was removed makes a new one.
            && app.handle.is_over(before.job).await.is_some()
        {
            idempotency::same_body(&before, hash)?;
            return Ok(before.job);
        }
        let job = match read(&app, holder, text).await {
            Ok(job) => job,
            Err(refused) => return refused_in(turn, refused),
        };
        drop((turn, body));
        keep(&app, job, Some((key, hash))).await
    }
}

/// Gives a turn back that came to nothing.
fn refused_in(turn: Turn, refused: Refused) -> Result<JobId, Refused> {
    turn.refused();
    Err(refused)
}

/// The bytes that reading a small job may take: its own, and those of a module that it may name by its hash, in plain
/// digits or in escapes of them, which nobody else writes.
fn weight(text: &[u8]) -> usize {
    let hash = text.split(|byte| !byte.is_ascii_hexdigit()).any(|run| run.len() >= 2 * size_of::<Hash>());
    let escaped =
        || [&b"\\u003"[..], b"\\u004", b"\\u006"].iter().any(|part| text.windows(part.len()).any(|at| at == *part));
    if hash || escaped() { text.len() + MOST_MODULE_BYTES } else { text.len() }
}

const SPLIT: &str = "split the data over several jobs";

/// The body as it was before it was compressed, if it was.
async fn unfolded(encoding: Encoding, body: Bytes) -> Result<Bytes, Refused> {
    match encoding {
        Encoding::Plain => Ok(body),
        Encoding::Gzip => match spawn_blocking(move || encoding.unfold(body, MAX_SOURCE_BYTES, SPLIT)).await {
            Ok(body) => Ok(body?),
            Err(error) => {
                tracing::error!(%error, "unfolding a body panicked");
                refuse(Code::Internal, "the relay failed to unfold this body", "send it without Content-Encoding")
            }
        },
    }
}

/// Keeps a job, then hands it to the node.
async fn keep(app: &App, job: Job, key: Option<(String, Hash)>) -> Result<JobId, Refused> {
    app.handle.may_submit(job.holder, held_bytes(&*job.plan, &job.source)).await?;
    let (id, at) = (JobId(rand::random()), now());
    let record = new_record(&job, at);
    // A module that came with a job may be named by its hash in later ones.
    let kernel = job.plan.module().map(|module| KeptKernel {
        hash: Hash::of(module),
        bytes: module.to_vec(),
        holder: job.holder,
    });
    if let Some(kernel) = &kernel {
        app.sound.note(kernel.hash, job.kind == command::NAME);
    }
    let key = key.map(|(key, body)| KeyRecord { key, body, job: id, at });
    let writer = app.store.writer();
    writer.promise(NewJob { id, record, key, kernel }).await.map_err(|trouble| trouble.refusal())?;
    if let Err(refusal) = app.handle.submit_kept(id, job).await {
        // Others were faster. Nobody has heard of the job: a crash before this is written brings it back unasked, no more.
        writer.forget(StoreKey::Job(id));
        return Err(Refused(refusal));
    }
    app.metrics.job_submitted();
    Ok(id)
}

/// Reads a job's JSON: a formula is compiled, a kernel checked. What is tiny is read here, unless it names a kernel that
/// is in the store; all else on a thread of its own.
async fn read(app: &Arc<App>, holder: Holder, body: Bytes) -> Result<Job, Refused> {
    let owned = |job| Job { holder, ..job };
    if body.len() <= limits::READ_HERE_BYTES {
        let names_one = Cell::new(false);
        let look = |_| {
            names_one.set(true);
            None
        };
        let job = kinds::text_of(&body).and_then(|text| kinds::read(text, &look));
        if !names_one.get() {
            return Ok(owned(job?));
        }
    }
    let app = Arc::clone(app);
    let read = move || {
        let text = kinds::text_of(&body)?;
        let runtime = runtime::Handle::current();
        kinds::read_known(text, &|hash| {
            let bytes = runtime.block_on(app.store.kernel(hash))?;
            Some(app.sound.known(hash, bytes))
        })
    };
    match spawn_blocking(read).await {
        Ok(job) => Ok(owned(job?)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_weighs_as_much_as_the_module_that_it_may_name() {
        let hash = Hash::of(b"module").to_string();
        let named = format!(r#"{{"kind":"kernel","kernel":"{hash}"}}"#);
        assert!(
            weight(named.as_bytes()) > MOST_MODULE_BYTES && weight(named.to_uppercase().as_bytes()) > MOST_MODULE_BYTES
        );
        assert!(weight(format!("\\u0061{}", &hash[1..]).as_bytes()) > MOST_MODULE_BYTES);
        let plain = r#"{"kind":"map","data":[1],"map":"x","name":"\u0439"}"#;
        assert_eq!(weight(plain.as_bytes()), plain.len());
    }
}
