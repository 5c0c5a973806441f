//! Takes over the records of a database of version 5 and before, whose names were columns. A few jobs at a time, each time in one
//! transaction that moves them: a kill in between costs nothing, and no more room is taken than what a few jobs need.

use p2pnet_shared::{id::JobId, node::OfBefore, store::StoreKey};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{database::put, trouble};

/// Jobs of one transaction, and the bytes of their records, results left out, behind which it ends.
const JOBS: i64 = 200;
const BYTES: u64 = 16 << 20;

/// The numbers that names began with; a result's is 2.
const JOB: i64 = 0;
const SPAN: i64 = 1;
const LINE: i64 = 3;

const IS_THERE: &str = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'records_before'";
/// The next jobs behind one, and what their records take.
const NEXT: &str = "SELECT job, SUM(CASE kind WHEN 2 THEN 0 ELSE LENGTH(bytes) END) FROM records_before WHERE job > ? \
     GROUP BY job ORDER BY job LIMIT ?";
const OF_JOB: &str = "SELECT kind, unit, bytes FROM records_before WHERE job = ? AND kind IN (0, 1, 3)";
const RESULT_BYTES: &str = "SELECT SUM(LENGTH(bytes)) FROM records_before WHERE job = ? AND kind = 2";
const MOVE_RESULT: &str =
    "INSERT OR REPLACE INTO records SELECT ?, unit, bytes FROM records_before WHERE job = ? AND kind = 2";
const GOES: &str = "DELETE FROM records_before WHERE job = ? AND kind IN (0, 1, 2, 3)";

/// A job, and the bytes of its records.
type Next = (Vec<u8>, u64);

/// Takes over what there is of before. What cannot be read stays where it is, and is tried again at the next start.
pub(super) async fn take_over(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    if sqlx::query(IS_THERE).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(());
    }
    name_uses(connection).await?;
    let (mut behind, mut taken, mut left) = (Vec::new(), 0_usize, 0_usize);
    loop {
        let jobs = next(connection, &behind).await?;
        let Some((last, _)) = jobs.last() else { break };
        behind.clone_from(last);
        match move_jobs(connection, &jobs).await {
            Ok(()) => taken += jobs.len(),
            Err(error) if is_damage(&error) => {
                for job in &jobs {
                    match move_jobs(connection, std::slice::from_ref(job)).await {
                        Ok(()) => taken += 1,
                        Err(error) if is_damage(&error) => left += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    if taken > 0 {
        tracing::info!(jobs = taken, "the records of an earlier version are taken over");
    }
    if left > 0 {
        tracing::error!(
            jobs = left,
            "records of an earlier version cannot be read: the file is damaged; they are left alone"
        );
    } else if sqlx::query("SELECT 1 FROM records_before LIMIT 1").fetch_optional(&mut *connection).await?.is_none() {
        sqlx::query("DROP TABLE records_before").execute(connection).await?;
    }
    Ok(())
}

/// Records that could not be taken over.
pub(super) async fn left(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    if sqlx::query(IS_THERE).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(0);
    }
    let count: i64 = sqlx::query("SELECT COUNT(*) FROM records_before").fetch_one(connection).await?.try_get(0)?;
    Ok(count.cast_unsigned())
}

/// Uses of kernels name the record of their job.
async fn name_uses(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let of_before = "SELECT record FROM kernel_uses WHERE LENGTH(record) = 16";
    for row in sqlx::query(of_before).fetch_all(&mut *connection).await? {
        let job: Vec<u8> = row.try_get(0)?;
        let Ok(id) = <[u8; 16]>::try_from(job.as_slice()) else { continue };
        sqlx::query("UPDATE OR REPLACE kernel_uses SET record = ? WHERE record = ?")
            .bind(StoreKey::Job(JobId(id)).to_bytes())
            .bind(job)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn next(connection: &mut SqliteConnection, behind: &[u8]) -> Result<Vec<Next>, sqlx::Error> {
    let rows = sqlx::query(NEXT).bind(behind.to_vec()).bind(JOBS).fetch_all(connection).await?;
    let read = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.cast_unsigned()));
    let mut jobs = rows.iter().map(read).collect::<Result<Vec<Next>, sqlx::Error>>()?;
    let mut bytes = 0_u64;
    let fit = jobs.iter().take_while(|(_, more)| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add((*more).max(1));
        is_first || bytes <= BYTES
    });
    let fit = fit.count();
    jobs.truncate(fit);
    Ok(jobs)
}

/// Moves some jobs, or none of them.
async fn move_jobs(connection: &mut SqliteConnection, jobs: &[Next]) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    for (job, _) in jobs {
        if let Err(error) = move_job(connection, job).await {
            // SQLite may have undone it by itself; then there is nothing to undo, which is no error.
            let _ = sqlx::query("ROLLBACK").execute(connection).await;
            return Err(error);
        }
    }
    sqlx::query("COMMIT").execute(connection).await.map(|_| ())
}

async fn move_job(connection: &mut SqliteConnection, job: &[u8]) -> Result<(), sqlx::Error> {
    let id = JobId(job.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))?);
    let mut of_before = OfBefore::default();
    for row in sqlx::query(OF_JOB).bind(job).fetch_all(&mut *connection).await? {
        let (kind, unit, bytes): (i64, i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        match kind {
            JOB => of_before.job = Some(bytes),
            LINE => of_before.line = Some(bytes),
            SPAN => of_before.spans.push((unit.cast_unsigned(), bytes)),
            // A number from a file, not one of our enums; no other is asked for.
            _ => {}
        }
    }
    let result: Option<i64> = sqlx::query(RESULT_BYTES).bind(job).fetch_one(&mut *connection).await?.try_get(0)?;
    of_before.result_bytes = result.map(i64::cast_unsigned);
    if of_before.job.is_none() && of_before.line.is_none() && of_before.spans.is_empty() && result.is_none() {
        // All that is left of it has names that no version gave.
        return Ok(());
    }
    let records = of_before.take_over(id);
    let named: Vec<_> = records.iter().map(|(key, bytes)| (key.to_bytes(), 0, bytes.as_slice())).collect();
    put(connection, &named).await?;
    if records.is_empty() {
        sqlx::query("DELETE FROM keys WHERE job = ?").bind(job).execute(&mut *connection).await?;
    } else if result.is_some() {
        let result = StoreKey::Result(id).to_bytes();
        sqlx::query(MOVE_RESULT).bind(result).bind(job).execute(&mut *connection).await?;
    }
    sqlx::query(GOES).bind(job).execute(connection).await.map(|_| ())
}

/// Whether another job's records may be sound although these cannot be read.
fn is_damage(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) || trouble::is_damage(error)
}
