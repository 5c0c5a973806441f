//! What outlives the process: records of the node, kernels that jobs named, idempotency keys, all in one SQLite file of
//! the data folder; and beside it the identity ([`folder`]).
//!
//! One connection writes ([`writer`]), in transactions that are on disk before anybody is told ([`database`]); two more
//! answer the questions that come while it does: one what is small, the other what large results go on with. What is only kept in case gives way when the disk is full
//! ([`caches`]).

mod before;
pub mod caches;
mod database;
pub mod folder;
mod lines;
mod log;
mod parts;
mod shelf;
pub mod trouble;
pub mod writer;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use axum::body::Bytes;
use futures::{FutureExt as _, Stream, TryStreamExt as _, future::BoxFuture};
use p2pnet_net::host::Records;
use p2pnet_shared::{
    blob::Blob,
    id::{Hash, JobId},
    refusal::Refusal,
    store::{Noun, StoreKey},
    units::Moment,
};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::Mutex;

pub use caches::Caches;
use database::{Database, Opened, SCHEMA_VERSION};
use parts::SharedParts;
use trouble::ROOM;
pub use trouble::Trouble;
pub use writer::{Held, KeptKernel, NewJob, Writer};

/// Results are written and read in parts of so many bytes: as much memory as each reader of one takes.
const PART_BYTES: usize = 256 << 10;

/// What the connection for questions is asked.
type Question<'a> = sqlx::query::Query<'a, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

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
    /// The database is not what it should be. A log of the damaged one would be taken for one of the copy.
    #[error(
        "{path} is damaged: {cause}; move it away together with the files beside it whose names end in -wal and -shm, and put a copy from before in its place, or start with a new one"
    )]
    DamagedDatabase {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The log beside the database is not what was written to it.
    #[error(
        "{path} is damaged: {cause}; it holds the latest jobs: put copies from before of it and of {database} in their places and remove the file beside them whose name ends in -shm, or move it and the file beside it whose name ends in -shm away to go on without what it holds; docs/operators.md says how to save what lies before the damage"
    )]
    DamagedLog {
        /// Which file.
        path: PathBuf,
        /// The file that it belongs to.
        database: PathBuf,
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
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has ever more kinds of errors")]
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

/// A connection for questions, opened when the first one comes.
type Reader = Arc<Mutex<Option<SqliteConnection>>>;

/// The open database.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    /// For questions that are answered in a moment, the first part of a result among them.
    reader: Reader,
    /// For all further parts of results, which many may read at once: nobody else waits for those.
    part_reader: Reader,
    writer: Writer,
    /// Held by whoever writes the file, and by whoever reads it as if nobody did.
    alone: Arc<Mutex<()>>,
    /// Parts of results that somebody reads now.
    shared: SharedParts,
    /// Why something that was kept could not be read.
    unread: Arc<Lock<Option<Trouble>>>,
}

impl Store {
    /// Opens or makes the database `path`, and reads the records that the node needs to go on.
    pub async fn open(path: PathBuf, caches: Caches) -> Result<(Self, Vec<(StoreKey, Vec<u8>)>), StoreError> {
        let Opened { mut connection, can_write } = database::open(&path).await?;
        let records = read_records(&mut connection).await.map_err(|cause| explain(&path, cause))?;
        let kernel_bytes = i64::try_from(caches.kernel_bytes()).unwrap_or(i64::MAX);
        let database = Database::new(path.clone(), can_write.then_some(connection), kernel_bytes);
        let alone = database.alone();
        let writer = Writer::start(database, caches).map_err(|error| explain(&path, sqlx::Error::Io(error)))?;
        let (reader, part_reader) = (Reader::default(), Reader::default());
        let (shared, unread) = (SharedParts::default(), Arc::default());
        Ok((Self { path, reader, part_reader, writer, alone, shared, unread }, records))
    }

    /// Where changes go.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// What is wrong with the store, for monitors: nothing can be written, or something that was kept cannot be read. A disk
    /// is told to be full also before somebody has tried.
    pub fn trouble(&self) -> Option<Trouble> {
        let unread = || self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let full = || trouble::room_at(&self.path).filter(|room| *room < ROOM as u64).map(|_| Trouble::Full);
        let damaged = || self.writer.is_damaged().then_some(Trouble::Damaged);
        self.writer.trouble().or_else(damaged).or_else(unread).or_else(full)
    }

    /// The bytes of a kernel that an earlier job brought along.
    pub async fn kernel(&self, hash: Hash) -> Option<Vec<u8>> {
        let query = sqlx::query(shelf::BYTES_OF_ONE).bind(hash.0.to_vec());
        let bytes: Option<Vec<u8>> = self.read(query).await.ok()??.try_get(0).ok();
        let sound = bytes.filter(|bytes| Hash::of(bytes) == hash);
        if sound.is_none() {
            self.is_damaged();
        }
        sound
    }

    /// How many bytes that kernel has.
    pub async fn kernel_bytes(&self, hash: Hash) -> Option<usize> {
        let query = sqlx::query("SELECT LENGTH(bytes) FROM kernels WHERE hash = ?").bind(hash.0.to_vec());
        let bytes: i64 = self.read(query).await.ok()??.try_get(0).ok()?;
        usize::try_from(bytes).ok()
    }

    /// The kernels that jobs name which are not over: their sources do not hold them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn kernels_in_use(&self) -> Result<BTreeMap<Hash, Blob>, StoreError> {
        let unread = |trouble: Trouble| self.unusable(trouble, "its kernels cannot be read");
        let mut kernels = BTreeMap::new();
        for name in self.rows(&self.reader, sqlx::query(shelf::NAMED_IN_USE)).await.map_err(unread)? {
            let damaged = || unread(self.is_damaged());
            let name: Vec<u8> = name.try_get(0).map_err(|_| damaged())?;
            // One after the other: there may be half a gigabyte of them.
            let query = sqlx::query(shelf::BYTES_OF_ONE).bind(name.clone());
            if let Some(row) = self.read(query).await.map_err(unread)? {
                let blob = Blob::new(row.try_get::<Vec<u8>, _>(0).map_err(|_| damaged())?);
                if blob.hash().0 != *name {
                    return Err(damaged());
                }
                kernels.insert(blob.hash(), blob);
            }
        }
        Ok(kernels)
    }

    /// How many bytes a record has on disk.
    async fn bytes_of(&self, key: StoreKey) -> Result<Option<u64>, Trouble> {
        let query = sqlx::query("SELECT SUM(LENGTH(bytes)) FROM records WHERE key = ?");
        let row = self.read(query.bind(key.to_bytes())).await?;
        let bytes = row.map(|row| row.try_get::<Option<i64>, _>(0).map_err(|_| self.is_damaged())).transpose()?;
        Ok(bytes.flatten().map(i64::cast_unsigned))
    }

    /// Why the start cannot read what it needs.
    fn unusable(&self, trouble: Trouble, damage: &str) -> StoreError {
        let (path, cause) = (self.path.clone(), trouble.words().0);
        match trouble {
            Trouble::Full => StoreError::Full { path },
            Trouble::Damaged => StoreError::DamagedDatabase { path, cause: damage.to_owned() },
            Trouble::ReadOnly | Trouble::Gone | Trouble::Closing | Trouble::Failed(_) => {
                StoreError::Folder { path, cause: std::io::Error::other(cause) }
            }
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
                let Some(len) = self.bytes_of(key).await? else { return Ok(None) };
                len
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
        let query = sqlx::query("SELECT bytes FROM records WHERE key = ? AND part = ?");
        let query = query.bind(key.to_bytes()).bind(part);
        let reader = if part == 0 { &self.reader } else { &self.part_reader };
        let row = self.rows(reader, query).await?.into_iter().next();
        row.map(|row| row.try_get::<Vec<u8>, _>(0).map(Bytes::from).map_err(|_| self.is_damaged())).transpose()
    }

    /// What became of an idempotency key; it lives as long as its job is kept.
    ///
    /// # Errors
    /// The store cannot be read: nobody may take that for "there is none".
    pub async fn key(&self, key: &str) -> Result<Option<KeyRecord>, Trouble> {
        let query = sqlx::query("SELECT name, body, job, at FROM keys WHERE name = ?").bind(key.to_owned());
        self.read(query).await?.map(|row| read_key(&row).ok_or_else(|| self.is_damaged())).transpose()
    }

    /// A row is there and holds what no row holds.
    fn is_damaged(&self) -> Trouble {
        self.note(Trouble::Damaged)
    }

    /// Remembers why something could not be read: until something can, or for good when the file is damaged, since another
    /// page of it may be sound.
    fn note(&self, trouble: Trouble) -> Trouble {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if *unread != Some(Trouble::Damaged) {
            *unread = Some(trouble.clone());
        }
        trouble
    }

    fn can_read(&self) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if *unread != Some(Trouble::Damaged) {
            *unread = None;
        }
    }

    /// One row.
    async fn read(&self, query: Question<'_>) -> Result<Option<SqliteRow>, Trouble> {
        Ok(self.rows(&self.reader, query).await?.into_iter().next())
    }

    /// All rows, by a connection for questions; it is opened anew after a failure.
    async fn rows(&self, reader: &Reader, query: Question<'_>) -> Result<Vec<SqliteRow>, Trouble> {
        let failed = |error: sqlx::Error| {
            tracing::warn!(path = %self.path.display(), %error, "the store cannot be read");
            self.note(Trouble::of(&error, &self.path))
        };
        let mut place = reader.lock().await;
        let mut alone = None;
        let mut reader = match place.take() {
            Some(reader) => reader,
            None => match SqliteConnection::connect_with(&database::options(&self.path)).await {
                Ok(reader) => reader,
                Err(error) if Trouble::of(&error, &self.path) == Trouble::Full => {
                    alone = Some(self.alone.lock().await);
                    if database::has_log(&self.path) {
                        return Err(failed(error));
                    }
                    // There is no room for a log, so there is none: the file holds everything until there is.
                    let options = database::options_without_log(&self.path);
                    SqliteConnection::connect_with(&options).await.map_err(failed)?
                }
                Err(error) => return Err(failed(error)),
            },
        };
        let rows = query.fetch_all(&mut reader).await.map_err(failed)?;
        if alone.is_none() {
            *place = Some(reader);
        }
        drop((place, alone));
        self.can_read();
        Ok(rows)
    }

    /// Writes what is pending and closes the file; no log is left then.
    pub async fn close(self) {
        // Before the one that writes: whoever closes last empties the log, which takes longer than a process that ends has
        // for those it does not wait for.
        for reader in [&self.reader, &self.part_reader] {
            if let Some(reader) = reader.lock().await.take()
                && let Err(error) = reader.close().await
            {
                tracing::debug!(%error, "a connection of the store for questions did not close cleanly");
            }
        }
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

    fn read_all(&self, keys: Vec<StoreKey>) -> BoxFuture<'static, Result<Vec<Option<Vec<u8>>>, Refusal>> {
        let store = self.clone();
        async move { store.records_of(&keys).await.map_err(|trouble| trouble.refusal_of_a_read()) }.boxed()
    }
}

/// What the node needs to go on: what is kept of jobs that are not over.
async fn read_records(connection: &mut SqliteConnection) -> Result<Vec<(StoreKey, Vec<u8>)>, sqlx::Error> {
    let mut records: Vec<(StoreKey, Vec<u8>)> = Vec::new();
    for noun in [Noun::Job, Noun::Span] {
        let names = noun.names();
        let query = sqlx::query("SELECT key, bytes FROM records WHERE key >= ? AND key < ? ORDER BY key");
        let mut rows = query.bind(names.start).bind(names.end).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let (key, bytes): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            match StoreKey::read(&key) {
                Some(key) => records.push((key, bytes)),
                None => tracing::warn!(
                    "the store holds a record of a name that this version does not know; it is left alone"
                ),
            }
        }
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
        StoreKey::Job(_) | StoreKey::Span(..) | StoreKey::Over(_) | StoreKey::Finished(_) => false,
    }
}

/// A part of a record in memory, by its number.
fn part_of(whole: &[u8], part: i64) -> &[u8] {
    let number = usize::try_from(part).unwrap_or(usize::MAX);
    whole.chunks(PART_BYTES).nth(number).unwrap_or_default()
}

/// SQLite's reasons in the words of this program. Result codes: <https://sqlite.org/rescode.html>.
fn explain(path: &std::path::Path, cause: sqlx::Error) -> StoreError {
    let path = path.to_path_buf();
    match trouble::primary_code(&cause) {
        Some(5 | 6) => StoreError::InUse { path },
        Some(11 | 26) => StoreError::DamagedDatabase { path, cause: cause.to_string() },
        None if matches!(cause, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            StoreError::DamagedDatabase { path, cause: cause.to_string() }
        }
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
mod tests;
