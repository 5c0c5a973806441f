//! Kernels that later jobs may name by their hash: [`KERNELS_KEPT_BYTES`] of them. When there is no more room, the network
//! that holds most gives, in it the household that holds most, and of what that holds the oldest; what several hold stays
//! until the last of them gives it. What a job that is not over was sent with, or named, goes only when its household holds
//! nothing else: such a job has its module with it, so all that is lost is the name.

use sqlx::{Row as _, SqliteConnection};

use super::{
    KERNELS_KEPT_BYTES,
    writer::{Batch, KeptKernel},
};

/// Picks what goes. Both choices see only what was there before this transaction: what has just been promised stays.
const PICK: &str = "SELECT held.rowid, held.hash FROM kernel_holders AS held \
    JOIN (SELECT network, SUM(bytes) AS total FROM kernel_holders GROUP BY network) AS networks \
    ON networks.network = held.network \
    JOIN (SELECT network, household, SUM(bytes) AS total FROM kernel_holders GROUP BY network, household) AS households \
    ON households.network = held.network AND households.household = held.household \
    WHERE held.rowid <= ? \
    ORDER BY networks.total DESC, households.total DESC, \
    EXISTS (SELECT 1 FROM kernel_uses AS used WHERE used.hash = held.hash), held.rowid LIMIT 1";

/// Keeps the kernels of a batch, and lets others go for them.
pub(super) async fn put_kernels(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let mut kernels = batch.kernels().peekable();
    if kernels.peek().is_none() {
        return Ok(());
    }
    let newest = "SELECT COALESCE(MAX(rowid), 0) FROM kernel_holders";
    let before: i64 = sqlx::query(newest).fetch_one(&mut *connection).await?.try_get(0)?;
    for (job, KeptKernel { hash, bytes, holder }) in kernels {
        sqlx::query("INSERT OR IGNORE INTO kernels (hash, bytes) VALUES (?, ?)")
            .bind(hash.0.to_vec())
            .bind(bytes.as_slice())
            .execute(&mut *connection)
            .await?;
        // Replacing gives the row a new rowid: it is the newest again.
        sqlx::query("INSERT OR REPLACE INTO kernel_holders (network, household, hash, bytes) VALUES (?, ?, ?, ?)")
            .bind(holder.network.0.to_vec())
            .bind(holder.household.0.to_vec())
            .bind(hash.0.to_vec())
            .bind(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
        if let Some(job) = job {
            sqlx::query("INSERT OR REPLACE INTO kernel_uses (job, hash) VALUES (?, ?)")
                .bind(job.0.to_vec())
                .bind(hash.0.to_vec())
                .execute(&mut *connection)
                .await?;
        }
    }
    // Jobs that are over, or gone: see `columns_of`.
    sqlx::query(
        "DELETE FROM kernel_uses WHERE NOT EXISTS \
         (SELECT 1 FROM records WHERE records.job = kernel_uses.job AND kind = 0 AND unit = 0) OR EXISTS \
         (SELECT 1 FROM records WHERE records.job = kernel_uses.job AND kind = 3 AND unit = 0)",
    )
    .execute(&mut *connection)
    .await?;
    let mut kept: i64 = sqlx::query("SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM kernels")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    while kept > KERNELS_KEPT_BYTES {
        let Some(picked) = sqlx::query(PICK).bind(before).fetch_optional(&mut *connection).await? else { break };
        let (row, hash): (i64, Vec<u8>) = (picked.try_get(0)?, picked.try_get(1)?);
        sqlx::query("DELETE FROM kernel_holders WHERE rowid = ?").bind(row).execute(&mut *connection).await?;
        let gone = sqlx::query(
            "DELETE FROM kernels WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM kernel_holders WHERE hash = ?1) \
             RETURNING LENGTH(bytes)",
        )
        .bind(hash)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(gone) = gone {
            kept -= gone.try_get::<i64, _>(0)?;
        }
    }
    Ok(())
}
