//! What outlives the process: records of the node, kernels that jobs named, idempotency keys, all in one SQLite file of
//! the data folder; and beside it the identity ([`folder`]).
//!
//! One connection writes ([`writer`]); a second one answers the few questions that come while it does.

pub mod folder;
pub mod writer;

use std::{path::PathBuf, sync::Arc};

use p2pnet_shared::{
    id::{Hash, JobId},
    node::StoreKey,
    units::Moment,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::Mutex;

pub use writer::Writer;

/// The version of the tables below; a file with a larger one belongs to a newer p2pnet.
const SCHEMA_VERSION: i64 = 1;

/// Kernels of submitted jobs are kept so that later jobs may name them by hash: at most so many bytes, newest first.
const KERNELS_KEPT_BYTES: i64 = 256 << 20;

/// Idempotency keys kept, newest first.
pub const KEYS_KEPT: usize = 10_000;

/// Why the data folder or its database cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or entered.
    #[error("the data folder {path} cannot be used: {cause}; give another one with --data-dir, or make it writable")]
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
    #[error("{path} is damaged ({cause}); move it away to start with a new one")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
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
    reader: Arc<Mutex<SqliteConnection>>,
    writer: Writer,
}

/// What a store held when it was opened.
pub struct Restored {
    /// The node's records.
    pub records: Vec<(StoreKey, Vec<u8>)>,
    /// Idempotency keys, oldest first.
    pub keys: Vec<KeyRecord>,
}

impl Store {
    /// Opens or makes the database `path`, and reads what the node needs to go on.
    pub async fn open(path: PathBuf) -> Result<(Self, Restored), StoreError> {
        let explain = |cause| explain(&path, cause);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(explain)?;
        let found: i64 = sqlx::query("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(explain)?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::Newer { path, found });
        }
        for statement in SCHEMA.iter().copied() {
            sqlx::query(statement).execute(&mut connection).await.map_err(explain)?;
        }
        let restored = Restored {
            records: read_records(&mut connection).await.map_err(explain)?,
            keys: read_keys(&mut connection).await.map_err(explain)?,
        };
        let reader = SqliteConnection::connect_with(&options).await.map_err(explain)?;
        let writer = Writer::start(connection);
        Ok((Self { path, reader: Arc::new(Mutex::new(reader)), writer }, restored))
    }

    /// Where changes go.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The bytes of a kernel that an earlier job brought along.
    pub async fn kernel(&self, hash: Hash) -> Option<Vec<u8>> {
        if let Some(bytes) = self.writer.pending_kernel(hash) {
            return Some(bytes);
        }
        let mut reader = self.reader.lock().await;
        let row = sqlx::query("SELECT bytes FROM kernels WHERE hash = ?")
            .bind(hash.0.as_slice())
            .fetch_optional(&mut *reader)
            .await
            .inspect_err(
                |error| tracing::warn!(path = %self.path.display(), %error, "a kernel cannot be read from the store"),
            )
            .ok()??;
        row.try_get::<Vec<u8>, _>(0).ok()
    }

    /// Writes what is pending and closes the file.
    pub async fn close(self) {
        self.writer.close().await;
    }
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS records (kind INTEGER NOT NULL, job BLOB NOT NULL, unit INTEGER NOT NULL, \
     bytes BLOB NOT NULL, PRIMARY KEY (job, kind, unit))",
    "CREATE TABLE IF NOT EXISTS kernels (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, body BLOB NOT NULL, job BLOB NOT NULL, at INTEGER NOT NULL)",
    "PRAGMA user_version = 1",
];

async fn read_records(connection: &mut SqliteConnection) -> Result<Vec<(StoreKey, Vec<u8>)>, sqlx::Error> {
    let rows = sqlx::query("SELECT kind, job, unit, bytes FROM records").fetch_all(connection).await?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let job: Vec<u8> = row.try_get(1)?;
        let Some(key) = job.try_into().ok().and_then(|job| key_of(row.get(0), JobId(job), row.get(2))) else {
            tracing::warn!("the store holds a record of a kind that this version does not know; it is left alone");
            continue;
        };
        records.push((key, row.try_get(3)?));
    }
    Ok(records)
}

async fn read_keys(connection: &mut SqliteConnection) -> Result<Vec<KeyRecord>, sqlx::Error> {
    let rows = sqlx::query("SELECT name, body, job, at FROM keys ORDER BY at, rowid").fetch_all(connection).await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let (body, job): (Vec<u8>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
        if let (Ok(body), Ok(job)) = (body.try_into(), job.try_into()) {
            let at = Moment(u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or(0));
            keys.push(KeyRecord { key: row.try_get(0)?, body: Hash(body), job: JobId(job), at });
        }
    }
    Ok(keys)
}

/// The columns `kind`, `job` and `unit` of a record.
fn columns_of(key: StoreKey) -> (i64, JobId, i64) {
    match key {
        StoreKey::Job(job) => (0, job, 0),
        StoreKey::Span(job, unit) => (1, job, unit.cast_signed()),
        StoreKey::Result(job) => (2, job, 0),
    }
}

fn key_of(kind: i64, job: JobId, unit: i64) -> Option<StoreKey> {
    match kind {
        0 => Some(StoreKey::Job(job)),
        1 => Some(StoreKey::Span(job, unit.cast_unsigned())),
        2 => Some(StoreKey::Result(job)),
        // A number from a file, not one of our enums.
        _ => None,
    }
}

/// SQLite's reasons in the words of this program. Result codes: <https://sqlite.org/rescode.html>.
fn explain(path: &std::path::Path, cause: sqlx::Error) -> StoreError {
    let primary_code = cause
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i64>().ok())
        .map(|code| code & 0xff);
    let path = path.to_path_buf();
    match primary_code {
        Some(5 | 6) => StoreError::InUse { path },
        Some(11 | 26) => StoreError::Damaged { path, cause: cause.to_string() },
        Some(3 | 8 | 14 | 23) => StoreError::Folder { path, cause: std::io::Error::other(cause) },
        Some(_) | None => StoreError::Database { path, cause },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn new_folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("p2pnet-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn job(n: u8) -> JobId {
        JobId([n; 16])
    }

    #[tokio::test]
    async fn records_keys_and_kernels_survive_a_restart() {
        let folder = new_folder("restart");
        let path = folder.join("p2pnet.sqlite");
        let (store, restored) = Store::open(path.clone()).await.unwrap();
        assert!(restored.records.is_empty() && restored.keys.is_empty());
        let writer = store.writer();
        writer.save(StoreKey::Job(job(1)), vec![1]);
        writer.save(StoreKey::Span(job(1), u64::MAX), vec![2; 100_000]);
        writer.save(StoreKey::Span(job(1), 5), vec![3]);
        writer.save(StoreKey::Job(job(2)), vec![4]);
        writer.flush().await;
        writer.forget(StoreKey::Job(job(2)));
        writer.save(StoreKey::Job(job(1)), vec![9]);
        let key = KeyRecord { key: "once".into(), body: Hash([1; 32]), job: job(1), at: Moment(7) };
        writer.save_key(key.clone());
        writer.save_kernel(Hash([5; 32]), vec![0, 1]);
        assert_eq!(store.kernel(Hash([5; 32])).await, Some(vec![0, 1]), "before it is written too");
        store.close().await;

        let (store, mut restored) = Store::open(path).await.unwrap();
        restored.records.sort();
        assert_eq!(
            restored.records,
            vec![
                (StoreKey::Job(job(1)), vec![9]),
                (StoreKey::Span(job(1), 5), vec![3]),
                (StoreKey::Span(job(1), u64::MAX), vec![2; 100_000]),
            ]
        );
        assert_eq!(restored.keys, vec![key]);
        assert_eq!(store.kernel(Hash([5; 32])).await, Some(vec![0, 1]));
        assert_eq!(store.kernel(Hash([6; 32])).await, None);
        store.close().await;
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_damaged_or_newer_database_is_refused_in_a_sentence() {
        let folder = new_folder("damaged");
        let path = folder.join("p2pnet.sqlite");
        fs::write(&path, vec![b'x'; 8192]).unwrap();
        let error = Store::open(path.clone()).await.err().unwrap().to_string();
        assert!(error.contains("is damaged") && error.contains("move it away"), "{error}");
        fs::remove_file(&path).unwrap();

        let (store, _) = Store::open(path.clone()).await.unwrap();
        store.close().await;
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
        sqlx::query("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let error = Store::open(path).await.err().unwrap().to_string();
        assert!(error.contains("newer p2pnet"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
