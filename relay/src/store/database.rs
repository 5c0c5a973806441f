//! The database file: made whole or not at all, looked at before it is trusted, and written in transactions that are on
//! disk or undone when they return.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use p2pnet_shared::{id::JobId, store::StoreKey};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqlSafeStr as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use sqlx_core::migrate::{MigrateError, Migration, MigrationType, Migrator};

use tokio::sync::Mutex;

use super::{
    KeyRecord, PART_BYTES, StoreError, before, explain,
    folder::{close_to_others, private},
    is_in_parts, log, shelf,
    trouble::{ROOM, Trouble, room_at},
    writer::Batch,
};

/// The version of the tables that [`migrations`] make; a file with a larger one belongs to a newer p2pnet.
pub(super) const SCHEMA_VERSION: i64 = 6;

/// Rows that one statement writes, most first: each statement costs a way to the database's thread and back, and each
/// number of rows is a statement of its own.
const ROWS: [usize; 6] = [32, 16, 8, 4, 2, 1];

/// Each brings a file to the next version of its tables, in a transaction of its own.
fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "as of version 5", include_str!("../../migrations/0001_as_of_version_5.sql")),
        migration(2, "names of bytes", include_str!("../../migrations/0002_names_of_bytes.sql")),
    ])
}

/// Whether uses of kernels are kept, but do not say if the job only names it: so it was in version 4.
const TELLS_NO_NAMED: &str = "SELECT COUNT(*) > 0 AND SUM(name = 'is_named') = 0 FROM pragma_table_info('kernel_uses')";
/// Of jobs of before nobody knows: they may.
const TELL_NAMED: &str = "ALTER TABLE kernel_uses ADD COLUMN is_named INTEGER NOT NULL DEFAULT 1";

/// How the file is opened. `FULL`: a transaction that was reported as done survives a loss of power.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging()
}

/// How it is read where there is no room for a log, and none: as it lies there.
pub(super) fn options_without_log(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).immutable(true).disable_statement_logging()
}

/// An open database.
pub(super) struct Opened {
    /// What reads it, and writes it if [`Opened::can_write`].
    pub(super) connection: SqliteConnection,
    /// Whether there was room for a log.
    pub(super) can_write: bool,
}

/// Opens `path`, which is made if there is none. A file that is there but holds no database of ours is refused, never
/// replaced: it may be what is left of promises. So is a log that does not hold what was written to it.
pub(super) async fn open(path: &Path) -> Result<Opened, StoreError> {
    let damaged = |cause: &str| StoreError::DamagedDatabase { path: path.to_path_buf(), cause: cause.to_owned() };
    let unusable = |cause| StoreError::Folder { path: path.to_path_buf(), cause };
    match fs::metadata(path) {
        Ok(file) if file.len() == 0 => return Err(damaged("it is empty")),
        Ok(_) => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && has_log(path) => {
            return Err(damaged("it is missing, but its log beside it, whose name ends in -wal, is not"));
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => make(path).await?,
        Err(cause) => return Err(unusable(cause)),
    }
    let log = log_of(path);
    if let Some(cause) = log::damage_of(path, &log, &index_of(path)).map_err(unusable)? {
        return Err(StoreError::DamagedLog { path: log, database: path.to_path_buf(), cause });
    }
    // Jobs of others are in them. SQLite makes the log and its index as readable as the file.
    for file in [path.to_path_buf(), log, index_of(path)] {
        close_to_others(&file, 0o600);
    }
    match look(path).await {
        Ok(()) => {}
        Err(Unread::AsItIs(error)) => return Err(error),
        Err(Unread::Refused(error)) => return open_without_log(path, error).await,
    }
    match connect(options(path)).await {
        Ok((mut connection, found)) => {
            empty_log(&mut connection, path).await?;
            check_length(&mut connection, path).await?;
            if found < SCHEMA_VERSION {
                set_up(&mut connection).await.map_err(|cause| explain(path, cause))?;
            }
            before::take_over(&mut connection).await.map_err(|cause| explain(path, cause))?;
            Ok(Opened { connection, can_write: true })
        }
        Err(error) => open_without_log(path, error).await,
    }
}

/// Why a file was not looked at to its end.
enum Unread {
    /// It is not what it should be.
    AsItIs(StoreError),
    /// SQLite could not open it.
    Refused(sqlx::Error),
}

/// Looks whether the file, with what its log holds, is a whole database of this version or before, and changes neither:
/// whoever opens it to write brings the log into it, also where one of them is damaged.
async fn look(path: &Path) -> Result<(), Unread> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let (mut connection, found) = connect(options).await.map_err(Unread::Refused)?;
    refuse_newer(path, found).map_err(Unread::AsItIs)?;
    check(&mut connection, path).await.map_err(Unread::AsItIs)?;
    connection.close().await.map_err(Unread::Refused)
}

/// After a clean stop there is no log, and with `error` there was no room for one; the file holds everything.
async fn open_without_log(path: &Path, error: sqlx::Error) -> Result<Opened, StoreError> {
    if Trouble::of(&error, path) != Trouble::Full || has_log(path) {
        return Err(explain(path, error));
    }
    let (mut connection, found) = connect(options_without_log(path)).await.map_err(|cause| explain(path, cause))?;
    refuse_newer(path, found)?;
    if found < SCHEMA_VERSION {
        return Err(explain(path, error));
    }
    check(&mut connection, path).await?;
    warn_of_a_full_disk(path);
    Ok(Opened { connection, can_write: false })
}

/// A connection, and the version of what it found.
async fn connect(options: SqliteConnectOptions) -> Result<(SqliteConnection, i64), sqlx::Error> {
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let found = number(&mut connection, "PRAGMA user_version").await?;
    Ok((connection, found))
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), StoreError> {
    if found > SCHEMA_VERSION { Err(StoreError::Newer { path: path.to_path_buf(), found }) } else { Ok(()) }
}

fn warn_of_a_full_disk(path: &Path) {
    tracing::warn!(path = %path.display(), "the disk is full: nothing is taken until there is room");
}

/// What the log holds goes into the file.
async fn empty_log(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    if let Err(error) = sqlx::query(EMPTY_LOG).execute(connection).await {
        if Trouble::of(&error, path) != Trouble::Full {
            return Err(explain(path, error));
        }
        // It stays in the log, and what is there can be read.
        warn_of_a_full_disk(path);
    }
    Ok(())
}

const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Files of at most so many bytes are looked through at the start, which takes tenths of a second; of larger ones only the
/// tables that are small and that no start reads.
const CHECKED_BYTES: u64 = 64 << 20;
const CHECK: &str = "PRAGMA quick_check(1)";
const CHECK_SMALL: [(&str, &str); 3] = [
    ("keys", "PRAGMA quick_check(keys)"),
    ("kernel_holders", "PRAGMA quick_check(kernel_holders)"),
    ("kernel_uses", "PRAGMA quick_check(kernel_uses)"),
];
/// Files of before do not have all of them.
const IS_THERE: &str = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?";

/// Refuses a file that was cut off, which cannot be told while pages of it lie in a log. How many bytes it has.
async fn check_length(connection: &mut SqliteConnection, path: &Path) -> Result<u64, StoreError> {
    let explain = |cause| explain(path, cause);
    let pages: i64 = number(connection, "PRAGMA page_count").await.map_err(explain)?;
    let page: i64 = number(connection, "PRAGMA page_size").await.map_err(explain)?;
    let len = fs::metadata(path).map_err(|cause| StoreError::Folder { path: path.to_path_buf(), cause })?.len();
    let expected = u64::try_from(pages.saturating_mul(page)).unwrap_or(0);
    if !has_log(path) && len < expected {
        let cause = format!("it was cut off: {len} bytes of {expected}");
        return Err(StoreError::DamagedDatabase { path: path.to_path_buf(), cause });
    }
    Ok(len)
}

/// Refuses a file that was cut off, or whose pages do not hold what they should.
async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let damaged = |cause: String| StoreError::DamagedDatabase { path: path.to_path_buf(), cause };
    let explain = |cause| explain(path, cause);
    let len = check_length(connection, path).await?;
    let mut questions = Vec::new();
    if len <= CHECKED_BYTES {
        questions.push(CHECK);
    } else {
        for (table, question) in CHECK_SMALL {
            let row = sqlx::query(IS_THERE).bind(table).fetch_one(&mut *connection).await.map_err(explain)?;
            if row.try_get::<i64, _>(0).map_err(explain)? > 0 {
                questions.push(question);
            }
        }
    }
    for question in questions {
        let row = sqlx::query(question).fetch_one(&mut *connection).await.map_err(explain)?;
        let words: String = row.try_get(0).map_err(explain)?;
        if words != "ok" {
            // The first line says in which database.
            return Err(damaged(words.lines().last().unwrap_or_default().to_owned()));
        }
    }
    Ok(())
}

/// Makes the file under another name first: a crash in between must not leave half a database.
async fn make(path: &Path) -> Result<(), StoreError> {
    let unusable = |cause| StoreError::Folder { path: path.to_path_buf(), cause };
    let beside = path.with_extension("new");
    for left_over in [beside.clone(), log_of(&beside), index_of(&beside)] {
        match fs::remove_file(left_over) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(unusable(cause)),
            Ok(()) | Err(_) => {}
        }
    }
    // An empty file becomes the database.
    private(OpenOptions::new().write(true).create_new(true)).open(&beside).map_err(unusable)?;
    let explain = |cause| explain(path, cause);
    let mut connection = SqliteConnection::connect_with(&options(&beside)).await.map_err(explain)?;
    set_up(&mut connection).await.map_err(explain)?;
    before::take_over(&mut connection).await.map_err(explain)?;
    connection.close().await.map_err(explain)?;
    let placed = File::open(&beside)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_folder(path));
    placed.map_err(unusable)
}

/// Brings the tables up to date.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx may add errors")]
async fn set_up(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // What no file of migrations can say: SQLite adds no column only where there is none.
    if number(connection, TELLS_NO_NAMED).await? > 0 {
        sqlx::query(TELL_NAMED).execute(&mut *connection).await?;
    }
    migrations().run(connection).await.map_err(|error| match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause,
        other => sqlx::Error::Migrate(Box::new(other)),
    })
}

/// Bytes of the file that hold nothing, or spans that a batch forgets before it writes the result of their job.
async fn free_bytes(connection: &mut SqliteConnection, batch: &Batch) -> Result<u64, sqlx::Error> {
    let pages = number(connection, "PRAGMA freelist_count").await?;
    let mut free = pages.saturating_mul(number(connection, "PRAGMA page_size").await?);
    if let Some(job) = batch.ends() {
        let spans = "SELECT key, LENGTH(bytes) FROM records WHERE key >= ? AND key < ?";
        let names = StoreKey::spans(job);
        for row in sqlx::query(spans).bind(names.start).bind(names.end).fetch_all(&mut *connection).await? {
            let (key, bytes): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
            if StoreKey::read(&key).is_some_and(|key| batch.forgets(key)) {
                free = free.saturating_add(bytes);
            }
        }
    }
    Ok(u64::try_from(free).unwrap_or(0))
}

async fn number(connection: &mut SqliteConnection, question: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(question).fetch_one(connection).await?.try_get(0)
}

/// A new name is on disk once its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|_| cfg!(unix)) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn index_of(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

/// Whether there is anything in a log.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// What room there is, as far as the system and the file tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Free bytes of the disk.
    disk: u64,
    /// Bytes of the file that hold nothing, or nothing that stays.
    free: u64,
}

impl Room {
    /// The same where so many more bytes of the file hold nothing that stays.
    pub(super) fn and(self, freed: u64) -> Self {
        Self { free: self.free.saturating_add(freed), ..self }
    }

    /// How many bytes are missing where so many are to be written: first into the log, then into the file.
    pub(super) fn lacks(self, bytes: usize) -> u64 {
        // Pages hold a little more than what is written, and something is to be left for what is small.
        let bytes = (bytes as u64).saturating_add(bytes as u64 / 64).saturating_add(ROOM as u64);
        bytes.saturating_add(bytes.saturating_sub(self.free)).saturating_sub(self.disk)
    }
}

/// The connection that writes. After a failure it is closed, which undoes what was begun, and opened anew, as it is where
/// there was no room for a log at the start.
pub(super) struct Database {
    path: PathBuf,
    /// How it is opened.
    pub(super) options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    /// Bytes of kernels that are kept.
    kernel_bytes: i64,
    /// Which files were opened: others may come to lie under their names.
    files: Files,
    /// Held while the file changes.
    alone: Arc<Mutex<()>>,
}

impl Database {
    pub(super) fn new(path: PathBuf, connection: Option<SqliteConnection>, kernel_bytes: i64) -> Self {
        let mut files = Files::at(&path);
        if connection.is_none() {
            files.log = None;
        }
        Self { options: options(&path), path, connection, kernel_bytes, files, alone: Arc::default() }
    }

    /// Whoever holds it keeps the file from being written.
    pub(super) fn alone(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.alone)
    }

    /// Whether it can be written at all for now.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// What room there is for a batch; `None` where nobody tells.
    pub(super) async fn room(&mut self, batch: &Batch) -> Option<Room> {
        let disk = room_at(&self.path)?;
        let alone = self.alone();
        let _alone = alone.lock().await;
        let mut connection = self.take().await.ok()?;
        match free_bytes(&mut connection, batch).await {
            Ok(free) => {
                self.connection = Some(connection);
                Some(Room { disk, free })
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "the store does not tell its free pages");
                self.undo(connection).await;
                None
            }
        }
    }

    /// Bytes of the spans of a job that are on disk. Where that cannot be read it may be any number.
    pub(super) async fn span_bytes(&mut self, job: JobId) -> u64 {
        let alone = self.alone();
        let _alone = alone.lock().await;
        let Ok(mut connection) = self.take().await else { return u64::MAX };
        let question = "SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM records WHERE key >= ? AND key < ?";
        let names = StoreKey::spans(job);
        let found = sqlx::query(question).bind(names.start).bind(names.end).fetch_one(&mut connection).await;
        match found.and_then(|row| row.try_get::<i64, _>(0)) {
            Ok(bytes) => {
                self.connection = Some(connection);
                bytes.cast_unsigned()
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "the store does not tell what a job's spans take");
                self.undo(connection).await;
                u64::MAX
            }
        }
    }

    /// Writes a batch in one transaction. When this returns `Ok` it is on disk, otherwise nothing of it is.
    /// `find_room` asks for more room than the batch itself needs.
    pub(super) async fn write(&mut self, batch: &Batch, find_room: bool) -> Result<(), Trouble> {
        let alone = self.alone();
        let _alone = alone.lock().await;
        let mut connection = self.take().await?;
        match transact(&mut connection, batch, self.kernel_bytes, find_room).await {
            Ok(()) => {
                self.connection = Some(connection);
                // The log is made by the first transaction.
                self.files.complete(&self.path);
                self.check_files()
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "a transaction failed");
                let trouble = Trouble::of(&error, &self.path);
                if trouble == Trouble::Full {
                    // What it has written lies in the log, and takes room that others could use.
                    let _ = sqlx::query("ROLLBACK").execute(&mut connection).await;
                    let _ = sqlx::query(EMPTY_LOG).execute(&mut connection).await;
                }
                self.undo(connection).await;
                Err(trouble)
            }
        }
    }

    /// Makes room in the file of what is only kept in case, the kernels that no job uses, and gives the log's back.
    pub(super) async fn give_up_kernels(&mut self) -> Result<(), Trouble> {
        let alone = self.alone();
        let _alone = alone.lock().await;
        let mut connection = self.take().await?;
        let given = async {
            sqlx::query(EMPTY_LOG).execute(&mut connection).await?;
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
            shelf::give_up(&mut connection).await?;
            sqlx::query("COMMIT").execute(&mut connection).await?;
            sqlx::query(EMPTY_LOG).execute(&mut connection).await.map(|_| ())
        };
        match given.await {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.undo(connection).await;
                Err(Trouble::of(&error, &self.path))
            }
        }
    }

    async fn take(&mut self) -> Result<SqliteConnection, Trouble> {
        self.check_files()?;
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => {
                SqliteConnection::connect_with(&self.options).await.map_err(|error| Trouble::of(&error, &self.path))
            }
        }
    }

    async fn undo(&mut self, mut connection: SqliteConnection) {
        // SQLite may have undone it by itself; then there is nothing to undo, which is no error.
        let _ = sqlx::query("ROLLBACK").execute(&mut connection).await;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "the store's connection did not close cleanly");
        }
        // Whoever closes the last connection removes the log; the next one makes another.
        self.files.log = None;
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }

    /// Writing to a deleted file succeeds and keeps nothing.
    fn check_files(&self) -> Result<(), Trouble> {
        if self.files.still_at(&self.path) { Ok(()) } else { Err(Trouble::Gone) }
    }
}

/// Which files lie under the database's names, where the system tells.
#[derive(PartialEq, Eq)]
struct Files {
    database: Option<(u64, u64)>,
    log: Option<(u64, u64)>,
}

impl Files {
    fn at(path: &Path) -> Self {
        Self { database: file_id(path), log: file_id(&log_of(path)) }
    }

    fn complete(&mut self, path: &Path) {
        if self.log.is_none() {
            self.log = file_id(&log_of(path));
        }
    }

    fn still_at(&self, path: &Path) -> bool {
        let now = Self::at(path);
        self.database == now.database && (self.log.is_none() || self.log == now.log)
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Open files cannot be deleted there.
#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<(u64, u64)> {
    None
}

static PUT_ROWS: LazyLock<[String; 6]> =
    LazyLock::new(|| ROWS.map(|rows| format!("{PUT}{}", ", (?, ?, ?)".repeat(rows - 1))));
const PUT: &str = "INSERT OR REPLACE INTO records (key, part, bytes) VALUES (?, ?, ?)";

async fn transact(
    connection: &mut SqliteConnection,
    batch: &Batch,
    kernel_bytes: i64,
    find_room: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    // First what goes: a key whose job was removed may name a new one.
    for key in batch.forgotten() {
        forget(connection, key).await?;
    }
    for job in batch.jobs_that_go() {
        sqlx::query("DELETE FROM keys WHERE job = ?").bind(job.0.to_vec()).execute(&mut *connection).await?;
    }
    put(connection, &batch.kept().flat_map(|(key, bytes)| rows_of(key, bytes)).collect::<Vec<_>>()).await?;
    for (key, bytes) in batch.kept().filter(|(key, _)| is_in_parts(*key)) {
        // A kill may have left a longer one of the same job there.
        forget_parts(connection, key, bytes.len().div_ceil(PART_BYTES)).await?;
    }
    for key in batch.keys() {
        put_key(connection, key).await?;
    }
    shelf::put_kernels(connection, batch, kernel_bytes).await?;
    if find_room {
        sqlx::query("INSERT OR REPLACE INTO room (one, bytes) VALUES (1, zeroblob(?))")
            .bind(i64::try_from(ROOM).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    if find_room {
        // Whatever becomes of it: the batch is on disk.
        let _ = sqlx::query("DELETE FROM room").execute(&mut *connection).await;
    }
    Ok(())
}

/// `key`, `part` and `bytes`.
type Row<'a> = (Vec<u8>, i64, &'a [u8]);

/// The rows of a record: one, or one for each part.
fn rows_of(key: StoreKey, bytes: &[u8]) -> impl Iterator<Item = Row<'_>> {
    let name = key.to_bytes();
    let most = if is_in_parts(key) { PART_BYTES } else { bytes.len().max(1) };
    (0..).zip(bytes.chunks(most)).map(move |(number, part)| (name.clone(), number, part))
}

/// Puts records into their rows.
pub(super) async fn put(connection: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    let mut rest = rows;
    for (most, statement) in ROWS.into_iter().zip(PUT_ROWS.iter()) {
        while let Some((rows, others)) = rest.split_at_checked(most) {
            let mut query = sqlx::query(statement.as_str());
            for (key, part, bytes) in rows {
                query = query.bind(key.as_slice()).bind(*part).bind(*bytes);
            }
            query.execute(&mut *connection).await?;
            rest = others;
        }
    }
    Ok(())
}

async fn forget(connection: &mut SqliteConnection, key: StoreKey) -> Result<(), sqlx::Error> {
    forget_parts(connection, key, 0).await
}

/// The parts of a record from this number on.
async fn forget_parts(connection: &mut SqliteConnection, key: StoreKey, from: usize) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM records WHERE key = ? AND part >= ?")
        .bind(key.to_bytes())
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(())
}

async fn put_key(connection: &mut SqliteConnection, record: &KeyRecord) -> Result<(), sqlx::Error> {
    let KeyRecord { key, body, job, at } = record;
    sqlx::query("INSERT OR REPLACE INTO keys (name, body, job, at) VALUES (?, ?, ?, ?)")
        .bind(key.as_str())
        .bind(body.0.to_vec())
        .bind(job.0.to_vec())
        .bind(i64::try_from(at.0).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(())
}
