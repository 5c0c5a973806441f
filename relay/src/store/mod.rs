//! What outlives the process: records of the node, kernels that jobs named, idempotency keys, all in one SQLite file of
//! the data folder; and beside it the identity ([`folder`]).
//!
//! One connection writes ([`writer`]), in transactions that are on disk before anybody is told ([`database`]); a second
//! one answers the questions that come while it does.

mod database;
pub mod folder;
mod parts;
mod shelf;
pub mod trouble;
pub mod writer;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::body::Bytes;
use futures::{FutureExt as _, Stream, TryStreamExt as _, future::BoxFuture};
use p2pnet_net::host::Records;
use p2pnet_shared::{
    blob::Blob,
    id::{Hash, JobId},
    node::StoreKey,
    refusal::Refusal,
    units::Moment,
};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::Mutex;

use database::{Database, SCHEMA_VERSION};
use parts::SharedParts;
pub use trouble::Trouble;
pub use writer::{KeptKernel, NewJob, Writer};

/// Kernels are kept so that later jobs may name them by hash: of those that no unfinished job uses at most so many bytes,
/// shared as `shelf.rs` says.
const KERNELS_KEPT_BYTES: i64 = 256 << 20;

/// Results are written and read in parts of so many bytes: as much memory as each reader of one takes.
const PART_BYTES: usize = 256 << 10;

/// Why the data folder or its database cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or entered.
    #[error("the data folder {path} cannot be used: {}", why_unusable(.cause))]
    Folder {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the data folder {path} is in use by another p2pnet; stop that one, or give this one its own with --data-dir"
    )]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A file in it is not what it should be.
    #[error("{path} is damaged: {cause}; put a copy from before in its place, or move it away to start with a new one")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// No room for it.
    #[error("there is no room on the disk for {path}; free some, or give another folder with --data-dir")]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// The database was written by a newer version.
    #[error(
        "{path} was written by a newer p2pnet (format {found}, this one knows {SCHEMA_VERSION}); use that version, or another --data-dir"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The database refused.
    #[error("the database {path} refuses: {cause}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// Its words.
        cause: sqlx::Error,
    },
}

/// Why a folder cannot be used, and what to do about it.
fn why_unusable(cause: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match cause.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "it, or what it should lie in, is a file; give a folder with --data-dir".to_owned()
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "there is no room on its disk; free some, or give another folder with --data-dir".to_owned()
        }
        _ => format!("{cause}; give another one with --data-dir, or make it writable"),
    }
}

/// A job that was accepted under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// What the client called it.
    pub key: String,
    /// Hash of the body sent with it.
    pub body: Hash,
    /// What became of it.
    pub job: JobId,
    /// When.
    pub at: Moment,
}

/// The open database.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    reader: Arc<Mutex<Option<SqliteConnection>>>,
    writer: Writer,
    /// Parts of results that somebody reads now.
    shared: SharedParts,
}

impl Store {
    /// Opens or makes the database `path`, and reads the records that the node needs to go on.
    pub async fn open(path: PathBuf) -> Result<(Self, Vec<(StoreKey, Vec<u8>)>), StoreError> {
        Self::open_keeping(path, KERNELS_KEPT_BYTES).await
    }

    /// The same with room for so many bytes of kernels.
    async fn open_keeping(path: PathBuf, kernel_bytes: i64) -> Result<(Self, Vec<(StoreKey, Vec<u8>)>), StoreError> {
        let mut connection = database::open(&path).await?;
        let records = read_records(&mut connection).await.map_err(|cause| explain(&path, cause))?;
        let writer = Writer::start(Database::new(path.clone(), connection, kernel_bytes))
            .map_err(|error| explain(&path, sqlx::Error::Io(error)))?;
        Ok((Self { path, reader: Arc::default(), writer, shared: SharedParts::default() }, records))
    }

    /// Where changes go.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The bytes of a kernel that an earlier job brought along.
    pub async fn kernel(&self, hash: Hash) -> Option<Vec<u8>> {
        let query = sqlx::query("SELECT bytes FROM kernels WHERE hash = ?").bind(hash.0.to_vec());
        self.read(query).await.ok()??.try_get(0).ok()
    }

    /// How many bytes that kernel has.
    pub async fn kernel_bytes(&self, hash: Hash) -> Option<usize> {
        let query = sqlx::query("SELECT LENGTH(bytes) FROM kernels WHERE hash = ?").bind(hash.0.to_vec());
        let bytes: i64 = self.read(query).await.ok()??.try_get(0).ok()?;
        usize::try_from(bytes).ok()
    }

    /// The kernels of jobs that are not over, whose records do not hold them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn kernels_in_use(&self) -> Result<BTreeMap<Hash, Blob>, Trouble> {
        let mut kernels = BTreeMap::new();
        let mut after = Vec::new();
        loop {
            // One after the other, in the order of their names: there may be half a gigabyte of them.
            let Some(row) = self.read(sqlx::query(shelf::NEXT_IN_USE.as_str()).bind(after)).await? else {
                return Ok(kernels);
            };
            let damaged = |error: sqlx::Error| Trouble::of(&error, &self.path);
            let bytes: Vec<u8> = row.try_get(1).map_err(damaged)?;
            let blob = Blob::new(bytes);
            kernels.insert(blob.hash(), blob);
            after = row.try_get(0).map_err(damaged)?;
        }
    }

    /// A record as it stands after every change so far.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn record(&self, key: StoreKey) -> Result<Option<Bytes>, Trouble> {
        if let Some(record) = self.writer.pending(key) {
            return Ok(record);
        }
        let mut whole = Vec::new();
        for part in 0.. {
            let Some(bytes) = self.part(key, part).await? else { break };
            whole.extend_from_slice(&bytes);
            if !is_in_parts(key) {
                break;
            }
        }
        Ok((!whole.is_empty()).then(|| whole.into()))
    }

    /// A record as a stream of parts, for large ones, from a byte on, and the length in bytes of all of it; `None` when there
    /// is none. However many read it, each holds one part at a time, and those that are at the same part hold it together:
    /// also while the record waits to be written, and no longer than it does is all of it in memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn stream(
        &self,
        key: StoreKey,
        from: u64,
    ) -> Result<Option<(u64, impl Stream<Item = Result<Bytes, std::io::Error>> + use<>)>, Trouble> {
        let len = match self.writer.pending(key) {
            Some(None) => return Ok(None),
            Some(Some(bytes)) => bytes.len() as u64,
            None => {
                let (kind, job, _) = columns_of(key);
                let query = sqlx::query("SELECT SUM(LENGTH(bytes)) FROM records WHERE job = ? AND kind = ?");
                let row = self.read(query.bind(job.0.to_vec()).bind(kind)).await?;
                let Some(len) = row.and_then(|row| row.try_get::<Option<i64>, _>(0).ok()?) else { return Ok(None) };
                len.cast_unsigned()
            }
        };
        let store = self.clone();
        let parts = futures::stream::try_unfold(from, move |sent| {
            let store = store.clone();
            async move {
                if sent >= len {
                    return Ok(None);
                }
                let bytes =
                    store.part_from(key, sent).await.map_err(|trouble| std::io::Error::other(trouble.words().0))?;
                // The answer breaks off, which a client tells by its length.
                let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
                    return Err(std::io::Error::other("it was removed meanwhile"));
                };
                let sent = sent + bytes.len() as u64;
                Ok(Some((bytes, sent)))
            }
        });
        Ok(Some((len, parts)))
    }

    /// What a part of a record holds from a byte of the record on, wherever the record is by now. Those who read the same one
    /// share it.
    async fn part_from(&self, key: StoreKey, from: u64) -> Result<Option<Bytes>, Trouble> {
        let (part, skipped) = (from / PART_BYTES as u64, from % PART_BYTES as u64);
        let (part, skipped) = (part.cast_signed(), usize::try_from(skipped).unwrap_or(usize::MAX));
        let bytes = match (self.writer.pending(key), self.shared.get((key, part))) {
            (Some(None), _) => None,
            (Some(Some(_)) | None, Some(bytes)) => Some(bytes),
            // A copy: a slice would hold all of it for as long as its reader likes.
            (Some(Some(whole)), None) => Some(self.shared.share((key, part), part_of(&whole, part))),
            (None, None) => self.part(key, part).await?.map(|bytes| self.shared.share((key, part), &bytes)),
        };
        Ok(bytes.map(|bytes| bytes.slice(skipped.min(bytes.len())..)))
    }

    /// One part of a record on disk.
    async fn part(&self, key: StoreKey, part: i64) -> Result<Option<Bytes>, Trouble> {
        let (kind, job, unit) = columns_of(key);
        let query = sqlx::query("SELECT bytes FROM records WHERE job = ? AND kind = ? AND unit = ?");
        let row = self.read(query.bind(job.0.to_vec()).bind(kind).bind(unit + part)).await?;
        Ok(row.and_then(|row| row.try_get::<Vec<u8>, _>(0).ok()).map(Bytes::from))
    }

    /// What became of an idempotency key; it lives as long as its job is kept.
    ///
    /// # Errors
    /// The store cannot be read: nobody may take that for "there is none".
    pub async fn key(&self, key: &str) -> Result<Option<KeyRecord>, Trouble> {
        let query = sqlx::query("SELECT name, body, job, at FROM keys WHERE name = ?").bind(key.to_owned());
        Ok(self.read(query).await?.and_then(|row| read_key(&row)))
    }

    /// One row, by the connection for questions; it is opened when the first one comes, and anew after a failure.
    async fn read(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<Option<SqliteRow>, Trouble> {
        let failed = |error: sqlx::Error| {
            tracing::warn!(path = %self.path.display(), %error, "the store cannot be read");
            Trouble::of(&error, &self.path)
        };
        let mut place = self.reader.lock().await;
        let mut reader = match place.take() {
            Some(reader) => reader,
            None => SqliteConnection::connect_with(&database::options(&self.path)).await.map_err(failed)?,
        };
        let row = query.fetch_optional(&mut reader).await.map_err(failed)?;
        *place = Some(reader);
        Ok(row)
    }

    /// Writes what is pending and closes the file.
    pub async fn close(self) {
        self.writer.close().await;
    }
}

impl Records for Store {
    fn read(&self, key: StoreKey) -> BoxFuture<'static, Result<Option<Vec<u8>>, Refusal>> {
        let store = self.clone();
        async move {
            let record = store.record(key).await.map_err(|trouble| trouble.refusal_of_a_read())?;
            Ok(record.map(Vec::from))
        }
        .boxed()
    }
}

async fn read_records(connection: &mut SqliteConnection) -> Result<Vec<(StoreKey, Vec<u8>)>, sqlx::Error> {
    // No results; and of jobs that are over only what lists show, so that a full store costs a start little.
    let mut rows = sqlx::query(
        "SELECT kind, job, unit, bytes FROM records WHERE kind = 3 UNION ALL \
         SELECT kind, job, unit, bytes FROM records WHERE kind IN (0, 1) AND NOT EXISTS \
         (SELECT 1 FROM records AS line WHERE line.job = records.job AND line.kind = 3)",
    )
    .fetch(connection);
    let mut records = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let job: Vec<u8> = row.try_get(1)?;
        let Some(key) = job.try_into().ok().and_then(|job| key_of(row.get(0), JobId(job), row.get(2))) else {
            tracing::warn!("the store holds a record of a kind that this version does not know; it is left alone");
            continue;
        };
        records.push((key, row.try_get(3)?));
    }
    Ok(records)
}

fn read_key(row: &SqliteRow) -> Option<KeyRecord> {
    let (body, job): (Vec<u8>, Vec<u8>) = (row.try_get(1).ok()?, row.try_get(2).ok()?);
    let at = Moment(u64::try_from(row.try_get::<i64, _>(3).ok()?).unwrap_or(0));
    Some(KeyRecord {
        key: row.try_get(0).ok()?,
        body: Hash(body.try_into().ok()?),
        job: JobId(job.try_into().ok()?),
        at,
    })
}

/// Whether a record lies in rows of at most [`PART_BYTES`] each, numbered from 0.
fn is_in_parts(key: StoreKey) -> bool {
    match key {
        StoreKey::Result(_) => true,
        StoreKey::Job(_) | StoreKey::Span(..) | StoreKey::Finished(_) => false,
    }
}

/// A part of a record in memory, by its number.
fn part_of(whole: &[u8], part: i64) -> &[u8] {
    let number = usize::try_from(part).unwrap_or(usize::MAX);
    whole.chunks(PART_BYTES).nth(number).unwrap_or_default()
}

/// The columns `kind`, `job` and `unit` of a record, or of its first part.
fn columns_of(key: StoreKey) -> (i64, JobId, i64) {
    match key {
        StoreKey::Job(job) => (0, job, 0),
        StoreKey::Span(job, unit) => (1, job, unit.cast_signed()),
        StoreKey::Result(job) => (2, job, 0),
        StoreKey::Finished(job) => (3, job, 0),
    }
}

fn key_of(kind: i64, job: JobId, unit: i64) -> Option<StoreKey> {
    match kind {
        0 => Some(StoreKey::Job(job)),
        1 => Some(StoreKey::Span(job, unit.cast_unsigned())),
        2 => Some(StoreKey::Result(job)),
        3 => Some(StoreKey::Finished(job)),
        // A number from a file, not one of our enums.
        _ => None,
    }
}

/// SQLite's reasons in the words of this program. Result codes: <https://sqlite.org/rescode.html>.
fn explain(path: &std::path::Path, cause: sqlx::Error) -> StoreError {
    let path = path.to_path_buf();
    match trouble::primary_code(&cause) {
        Some(5 | 6) => StoreError::InUse { path },
        Some(11 | 26) => StoreError::Damaged { path, cause: cause.to_string() },
        Some(13) => StoreError::Full { path },
        Some(3 | 8 | 14 | 23) => StoreError::Folder { path, cause: std::io::Error::other(cause) },
        Some(_) | None => match Trouble::of(&cause, &path) {
            Trouble::Full => StoreError::Full { path },
            Trouble::ReadOnly => StoreError::Folder { path, cause: std::io::Error::other(cause) },
            Trouble::Gone | Trouble::Damaged | Trouble::Closing | Trouble::Failed(_) => {
                StoreError::Database { path, cause }
            }
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use p2pnet_shared::id::{Holder, OwnerId};
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    /// Bytes of a kernel that count as they are, and room for sixteen such.
    const PART: usize = 2 * shelf::LEAST_CHARGE as usize;
    const ROOM: i64 = 32 * shelf::LEAST_CHARGE;

    fn new_folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("p2pnet-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn job(n: u8) -> JobId {
        JobId([n; 16])
    }

    fn new_job(n: u8, key: Option<&str>) -> NewJob {
        let key = key.map(|key| KeyRecord { key: key.into(), body: Hash([1; 32]), job: job(n), at: Moment(7) });
        NewJob { id: job(n), record: vec![n], key, kernel: Some(kernel(0, vec![0, n])) }
    }

    /// What `path` holds now, read by somebody else.
    async fn on_disk(path: &std::path::Path) -> Vec<(StoreKey, Vec<u8>)> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let mut records = read_records(&mut connection).await.unwrap();
        records.sort();
        records
    }

    fn large(n: u8) -> Vec<u8> {
        vec![n; PART]
    }

    /// A kernel from a household of this number in a network of its own.
    fn kernel(household: u8, bytes: Vec<u8>) -> KeptKernel {
        KeptKernel { blob: Blob::new(bytes), holder: Holder::of(OwnerId([household; 16])) }
    }

    async fn known(store: &Store, names: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut known = Vec::new();
        for n in names {
            if store.kernel(Hash::of(&large(n))).await.is_some() {
                known.push(n);
            }
        }
        known
    }

    #[tokio::test]
    async fn whoever_sends_many_kernels_pushes_out_his_own_oldest_that_no_job_uses() {
        let folder = new_folder("shelf");
        let path = folder.join("store.sqlite");
        let (store, _) = Store::open_keeping(path.clone(), ROOM).await.unwrap();
        let put = async |n: u8, household: u8| {
            store.writer().promise_kernel(kernel(household, large(n))).await.unwrap();
        };
        put(1, 1).await;
        put(2, 1).await;
        // The stranger's first comes with a job that goes on.
        let with_job = NewJob { kernel: Some(kernel(9, large(10))), ..new_job(10, None) };
        store.writer().promise(with_job).await.unwrap();
        for n in 11..60 {
            put(n, 9).await;
        }
        assert_eq!(known(&store, [1, 2]).await, [1, 2], "another household's stay");
        assert_eq!(known(&store, 10..60).await, [vec![10], (46..60).collect()].concat(), "beside the room");
        // To send what another holds makes it nobody else's.
        put(1, 9).await;
        for n in 60..80 {
            put(n, 9).await;
        }
        assert_eq!(known(&store, [1, 2, 10]).await, [1, 2, 10]);
        // Once the job is over its module is like any other.
        store.writer().save(StoreKey::Finished(job(10)), vec![1]);
        put(80, 9).await;
        assert_eq!(known(&store, [1, 2, 10, 80]).await, [1, 2, 80]);
        // Households of one network give for one another before another network gives.
        for n in 100..130 {
            let mut next_door = kernel(n, large(n));
            next_door.holder.network = OwnerId([7; 16]);
            store.writer().promise_kernel(next_door).await.unwrap();
        }
        assert_eq!(known(&store, [1, 2]).await, [1, 2]);
        store.close().await;
        let _ = fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn the_kernel_of_a_job_that_goes_on_stays_and_is_there_when_the_job_is_read_again() {
        let folder = new_folder("used");
        let path = folder.join("store.sqlite");
        let (store, _) = Store::open_keeping(path.clone(), ROOM).await.unwrap();
        for n in 1..=2 {
            let new = NewJob { kernel: Some(kernel(9, large(n))), ..new_job(n, None) };
            store.writer().promise(new).await.unwrap();
        }
        for n in 3..40 {
            store.writer().promise_kernel(kernel(9, large(n))).await.unwrap();
        }
        let in_use = async |store: &Store| {
            let kernels = store.kernels_in_use().await.unwrap();
            kernels.values().map(|kernel| kernel[0]).collect::<std::collections::BTreeSet<u8>>()
        };
        assert_eq!(in_use(&store).await, [1, 2].into());
        store.writer().save(StoreKey::Finished(job(2)), vec![1]);
        store.writer().flush().await.unwrap();
        store.close().await;
        let (store, _) = Store::open_keeping(path, ROOM).await.unwrap();
        assert_eq!(in_use(&store).await, [1].into());
        assert_eq!(store.kernel_bytes(Hash::of(&large(1))).await, Some(PART));
        store.close().await;
        let _ = fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn kernels_of_before_there_were_shares_stay_and_go_like_others() {
        let folder = new_folder("old-shelf");
        let path = folder.join("store.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        store.writer().promise_kernel(kernel(1, large(1))).await.unwrap();
        store.close().await;
        let mut old = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
        sqlx::query("DROP TABLE kernel_holders").execute(&mut old).await.unwrap();
        sqlx::query("DROP TABLE kernel_uses").execute(&mut old).await.unwrap();
        sqlx::query("PRAGMA user_version = 2").execute(&mut old).await.unwrap();
        old.close().await.unwrap();
        let (store, _) = Store::open_keeping(path, ROOM).await.unwrap();
        for n in 2..20 {
            store.writer().promise_kernel(kernel(n, large(n))).await.unwrap();
        }
        assert_eq!(
            known(&store, 1..20).await.len(),
            16,
            "what nobody is known to hold is a household's like any other"
        );
        store.close().await;
        let _ = fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn a_job_its_key_and_its_kernel_are_on_disk_when_the_promise_returns() {
        let folder = new_folder("promise");
        let path = folder.join("p2pnet.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        for n in 1..=50 {
            store.writer().promise(new_job(n, Some(&n.to_string()))).await.unwrap();
            assert_eq!(on_disk(&path).await.len(), usize::from(n));
        }
        assert_eq!(store.key("7").await.unwrap().unwrap().job, job(7));
        assert_eq!(store.kernel(Hash::of(&[0, 7])).await, Some(vec![0, 7]));
        // A key goes with its job, and may name the next one.
        store.writer().forget(StoreKey::Job(job(7)));
        store.writer().flush().await.unwrap();
        assert_eq!(store.key("7").await, Ok(None));
        store.close().await;
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn promises_made_at_once_share_a_transaction_and_are_all_kept() {
        let folder = new_folder("group");
        let path = folder.join("p2pnet.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        let promises = (0..200).map(|n| store.writer().promise(new_job(n, None)));
        let kept = futures::future::join_all(promises).await;
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(on_disk(&path).await.len(), 200);
        store.close().await;
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn records_survive_a_restart() {
        let folder = new_folder("restart");
        let path = folder.join("p2pnet.sqlite");
        let (store, restored) = Store::open(path.clone()).await.unwrap();
        assert!(restored.is_empty());
        let writer = store.writer();
        writer.save(StoreKey::Job(job(1)), vec![1]);
        writer.save(StoreKey::Span(job(1), u64::MAX), vec![2; 100_000]);
        writer.save(StoreKey::Span(job(1), 5), vec![3]);
        writer.save(StoreKey::Job(job(2)), vec![4]);
        writer.flush().await.unwrap();
        writer.forget(StoreKey::Job(job(2)));
        writer.save(StoreKey::Job(job(1)), vec![9]);
        store.close().await;

        let (store, mut restored) = Store::open(path).await.unwrap();
        restored.sort();
        assert_eq!(
            restored,
            vec![
                (StoreKey::Job(job(1)), vec![9]),
                (StoreKey::Span(job(1), 5), vec![3]),
                (StoreKey::Span(job(1), u64::MAX), vec![2; 100_000]),
            ]
        );
        store.close().await;
        fs::remove_dir_all(folder).unwrap();
    }

    /// A table that refuses rows stands for a disk that does.
    async fn refuse_rows(path: &std::path::Path, refuse: bool) {
        let mut connection = SqliteConnection::connect_with(&database::options(path)).await.unwrap();
        let statement = if refuse {
            "CREATE TRIGGER no BEFORE INSERT ON records WHEN NEW.unit = 0 BEGIN SELECT RAISE(ABORT, 'no room'); END"
        } else {
            "DROP TRIGGER no"
        };
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_transaction_is_undone_and_what_comes_later_is_kept() {
        let folder = new_folder("failed");
        let path = folder.join("p2pnet.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        let writer = store.writer();
        refuse_rows(&path, true).await;
        writer.promise(new_job(1, Some("a"))).await.unwrap_err();
        writer.save(StoreKey::Span(job(2), 1), vec![2]);
        writer.save(StoreKey::Job(job(2)), vec![2]);
        writer.flush().await.unwrap_err();
        assert!(writer.trouble().is_some(), "monitors hear of it");
        assert_eq!(on_disk(&path).await, vec![], "the whole transaction is undone");
        refuse_rows(&path, false).await;
        while writer.trouble().is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        writer.promise(new_job(3, None)).await.unwrap();
        let kept = vec![
            (StoreKey::Job(job(2)), vec![2]),
            (StoreKey::Job(job(3)), vec![3]),
            (StoreKey::Span(job(2), 1), vec![2]),
        ];
        assert_eq!(on_disk(&path).await, kept);
        assert_eq!(store.key("a").await, Ok(None));
        store.close().await;
        assert_eq!(on_disk(&path).await, kept, "and is there at the next start");
        fs::remove_dir_all(folder).unwrap();
    }

    /// Three parts of a result, the last one short.
    fn result_in_parts() -> Vec<u8> {
        (0..=u8::MAX).cycle().take(2 * PART_BYTES + 100).collect()
    }

    #[tokio::test]
    async fn whoever_reads_a_result_that_is_not_on_disk_holds_a_part_of_it_and_goes_on_when_it_is() {
        let folder = new_folder("slow-reader");
        let path = folder.join("p2pnet.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        let (writer, key, result) = (store.writer(), StoreKey::Result(job(1)), result_in_parts());
        refuse_rows(&path, true).await;
        writer.save(key, result.clone());
        let (len, parts) = store.stream(key, 7).await.unwrap().unwrap();
        let (_, late) = store.stream(key, 0).await.unwrap().unwrap();
        futures::pin_mut!(parts, late);
        let first = parts.try_next().await.unwrap().unwrap();
        let whole = writer.pending(key).unwrap().unwrap();
        refuse_rows(&path, false).await;
        while writer.pending(key).is_some() || writer.trouble().is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // The next transaction is made once nothing of the last one is held.
        writer.promise(new_job(2, None)).await.unwrap();
        assert!(whole.is_unique(), "two readers hold a part at most");
        drop(whole);
        let mut read = first.to_vec();
        while let Some(part) = parts.try_next().await.unwrap() {
            assert!(part.len() <= PART_BYTES);
            read.extend_from_slice(&part);
        }
        assert!(read == result[7..] && len == result.len() as u64);
        let late: Vec<Bytes> = late.try_collect().await.unwrap();
        assert!(late.concat() == result);
        store.close().await;
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_result_that_goes_before_it_is_on_disk_breaks_off_for_those_who_read_it() {
        let folder = new_folder("gone-reader");
        let path = folder.join("p2pnet.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        let (writer, key) = (store.writer(), StoreKey::Result(job(1)));
        refuse_rows(&path, true).await;
        writer.save(key, result_in_parts());
        let (_, parts) = store.stream(key, 0).await.unwrap().unwrap();
        futures::pin_mut!(parts);
        let first = parts.try_next().await.unwrap().unwrap();
        assert!(first == result_in_parts()[..PART_BYTES]);
        writer.forget(key);
        assert!(parts.try_next().await.is_err());
        assert!(store.stream(key, 0).await.unwrap().is_none());
        refuse_rows(&path, false).await;
        store.close().await;
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_database_deleted_while_in_use_promises_nothing() {
        let folder = new_folder("gone");
        let (store, _) = Store::open(folder.join("p2pnet.sqlite")).await.unwrap();
        store.writer().promise(new_job(1, None)).await.unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(store.writer().promise(new_job(2, None)).await, Err(Trouble::Gone));
        store.writer().save(StoreKey::Job(job(3)), vec![3]);
        assert_eq!(store.writer().flush().await, Err(Trouble::Gone));
        assert_eq!(store.writer().trouble(), Some(Trouble::Gone));
        assert_eq!(Trouble::Gone.refusal().code, p2pnet_shared::refusal::Code::StoreFailed);
    }

    #[tokio::test]
    async fn an_empty_cut_off_foreign_or_newer_database_is_refused_in_a_sentence_and_left_alone() {
        let folder = new_folder("damaged");
        let path = folder.join("p2pnet.sqlite");
        let (store, _) = Store::open(path.clone()).await.unwrap();
        for n in 0..200 {
            store.writer().save(StoreKey::Job(job(n)), vec![n; 1000]);
        }
        store.close().await;
        let whole = fs::read(&path).unwrap();
        assert!(whole.len() > 100_000);
        let halves = [whole[..whole.len() / 2].to_vec(), whole[..4096].to_vec(), whole[..1000].to_vec()];
        for damaged in [Vec::new(), vec![b'x'; 8192], vec![0; 10]].into_iter().chain(halves) {
            fs::write(&path, &damaged).unwrap();
            let error = Store::open(path.clone()).await.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("is damaged") && error.contains("move it away"), "{} bytes: {error}", damaged.len());
            assert!(fs::read(&path).unwrap() == damaged, "it is not replaced");
        }
        fs::remove_file(&path).unwrap();
        fs::write(folder.join("p2pnet.sqlite-wal"), "left over").unwrap();
        let error = Store::open(path.clone()).await.err().unwrap().to_string();
        assert!(error.contains("it is missing, but its log"), "{error}");
        fs::remove_file(folder.join("p2pnet.sqlite-wal")).unwrap();

        fs::write(&path, whole).unwrap();
        let mut connection = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
        sqlx::query("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let error = Store::open(path).await.err().unwrap().to_string();
        assert!(error.contains("newer p2pnet"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
