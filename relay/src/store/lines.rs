//! Jobs that are over, read while the relay is at work already: their lines for the node, and those that a list asks for.

use std::{sync::LazyLock, time::Duration};

use futures::{SinkExt as _, channel::mpsc};
use p2pnet_net::host::HostFact;
use p2pnet_shared::{
    node::{Line, mend_line, read_line},
    store::{Noun, StoreKey},
};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::time::sleep;

use super::{Store, Trouble, before, database};

/// Lines that go to the node at once: what it does with them takes less time than a turn of its loop may.
const LINES: i64 = 500;
/// Records that a list reads by one statement.
const READ_AT_ONCE: usize = 64;
/// How often reading is begun anew where a disk does not answer, and the pause before.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The next lines behind one.
const NEXT: &str = "SELECT key, bytes FROM records WHERE key > ? AND key < ? AND part = 0 ORDER BY key LIMIT ?";
const OVER: &str = "SELECT bytes FROM records WHERE key = ? AND part = 0";
const RESULT: &str = "SELECT SUM(LENGTH(bytes)) FROM records WHERE key = ?";
const UNKNOWN: &str = "SELECT COUNT(DISTINCT key) FROM records WHERE key >= ? AND key < ?";
static SOME: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT key, bytes FROM records WHERE part = 0 AND key IN (?{})", ", ?".repeat(READ_AT_ONCE - 1))
});

/// How far the reading is.
struct Reading {
    behind: Vec<u8>,
    end: Vec<u8>,
    is_done: bool,
}

impl Store {
    /// Tells the node of all jobs that are over, bit by bit; returns when that is done. What cannot be read is left alone, and
    /// monitors are told.
    pub async fn tell_lines(&self, mut facts: mpsc::Sender<HostFact>) {
        let names = Noun::Finished.names();
        let mut reading = Reading { behind: names.start, end: names.end, is_done: false };
        let mut failures = 0;
        while !reading.is_done && failures < TRIES {
            match self.read_lines(&mut reading, &mut facts).await {
                Ok(()) => {}
                Err(error) => {
                    failures += 1;
                    let trouble = self.note(Trouble::of(&error, &self.path));
                    tracing::error!(%error, ?trouble, "jobs that are over cannot be read");
                    if trouble == Trouble::Damaged {
                        break;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
        // An error means that the node has stopped.
        let _ = facts.send(HostFact::Loaded { lines: Vec::new(), is_all: true }).await;
    }

    async fn read_lines(&self, reading: &mut Reading, facts: &mut mpsc::Sender<HostFact>) -> Result<(), sqlx::Error> {
        let mut connection = self.connect().await?;
        loop {
            let query = sqlx::query(NEXT).bind(reading.behind.clone()).bind(reading.end.clone()).bind(LINES);
            let rows = query.fetch_all(&mut connection).await?;
            let (mut lines, mut last) = (Vec::with_capacity(rows.len()), None);
            for row in rows {
                let (name, bytes): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
                if let Some(StoreKey::Finished(id)) = StoreKey::read(&name) {
                    lines.push(match read_line(id, &bytes, false) {
                        Some(line) => line,
                        None => mended(&mut connection, StoreKey::Finished(id)).await?,
                    });
                }
                last = Some(name);
            }
            let Some(last) = last else { break };
            reading.behind = last;
            if facts.send(HostFact::Loaded { lines, is_all: false }).await.is_err() {
                break;
            }
        }
        let mut unknown = before::left(&mut connection).await?;
        for names in Noun::unknown_names() {
            let query = sqlx::query(UNKNOWN).bind(names.start).bind(names.end);
            unknown += query.fetch_one(&mut connection).await?.try_get::<i64, _>(0)?.cast_unsigned();
        }
        if unknown > 0 {
            let _ = facts.send(HostFact::UnknownRecords(unknown)).await;
        }
        reading.is_done = true;
        connection.close().await
    }

    /// A connection of its own: nobody waits for what it reads. Where there is no room for a log there is none, and the file
    /// holds everything.
    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        match SqliteConnection::connect_with(&database::options(&self.path)).await {
            Err(error) if Trouble::of(&error, &self.path) == Trouble::Full && !database::has_log(&self.path) => {
                SqliteConnection::connect_with(&database::options_without_log(&self.path)).await
            }
            connected => connected,
        }
    }

    /// Records that lie in one part each, as they stand after every change so far.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn records_of(&self, keys: &[StoreKey]) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
        let mut records = Vec::with_capacity(keys.len());
        for some in keys.chunks(READ_AT_ONCE) {
            let pending: Vec<_> = some.iter().map(|key| self.writer.pending(*key)).collect();
            let mut query = sqlx::query(SOME.as_str());
            // Where there are fewer, the last stands there several times.
            for key in some.iter().chain(std::iter::repeat_n(&some[some.len() - 1], READ_AT_ONCE - some.len())) {
                query = query.bind(key.to_bytes());
            }
            let mut found = std::collections::BTreeMap::new();
            for row in self.rows(&self.reader, query).await? {
                let damaged = |_| self.is_damaged();
                let (name, bytes) = (row.try_get(0).map_err(damaged)?, row.try_get(1).map_err(damaged)?);
                let (name, bytes): (Vec<u8>, Vec<u8>) = (name, bytes);
                found.insert(name, bytes);
            }
            records.extend(some.iter().zip(pending).map(|(key, pending)| match pending {
                Some(record) => record.map(Vec::from),
                None => found.remove(&key.to_bytes()),
            }));
        }
        Ok(records)
    }
}

/// A line made anew from what else is kept of its job, as far as that can be read.
async fn mended(connection: &mut SqliteConnection, line: StoreKey) -> Result<Line, sqlx::Error> {
    let id = line.job();
    let over = sqlx::query(OVER).bind(StoreKey::Over(id).to_bytes()).fetch_optional(&mut *connection).await;
    let over: Option<Vec<u8>> = match over {
        Ok(row) => row.map(|row| row.try_get(0)).transpose()?,
        Err(error) => {
            tracing::warn!(job = %id, %error, "the record of a job whose line is damaged cannot be read");
            None
        }
    };
    let result = sqlx::query(RESULT).bind(StoreKey::Result(id).to_bytes()).fetch_one(connection).await;
    // Where that cannot be read, nobody knows what counts for its owner: both are left alone.
    match result.and_then(|row| row.try_get::<Option<i64>, _>(0)) {
        Ok(bytes) => Ok(mend_line(id, over.as_deref(), bytes.map(i64::cast_unsigned))),
        Err(error) => {
            tracing::warn!(job = %id, %error, "the result of a job whose line is damaged cannot be read");
            Ok(mend_line(id, None, None))
        }
    }
}
