//! Kernels that later jobs may name by their hash: [`super::KERNELS_KEPT_BYTES`] of them, beside those of jobs that are not over.
//! When there is no more room, the network that holds most of what no job uses gives, in it the household that does, and of
//! what that holds the oldest; what several hold stays until the last of them gives it. What a job that is not over was sent
//! with, or named, weighs nothing and stays: after a restart the job is read again with it. The node's bounds on unfinished
//! jobs bound those. Holders are bounded beside that, by their number, whether or not a job uses what they hold.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use p2pnet_shared::{id::Hash, store::StoreKey};
use sqlx::{Row as _, SqliteConnection};

use super::writer::{Batch, KeptKernel};

/// What a module counts for at least, in the share of whoever holds it: rows take room, too.
pub(super) const LEAST_CHARGE: i64 = 64 << 10;
/// A module of more bytes is handed to the database only if that has it not: binding it copies it.
const ASKED_BYTES: usize = 64 << 10;
/// The bytes of one kernel.
pub(super) const BYTES_OF_ONE: &str = "SELECT bytes FROM kernels WHERE hash = ?";
/// The hashes that jobs name which are not over.
pub(super) const NAMED_IN_USE: &str = "SELECT DISTINCT hash FROM kernel_uses WHERE is_named AND EXISTS \
     (SELECT 1 FROM records WHERE key = kernel_uses.record AND part = 0)";
/// That the uses of all others are no more.
const NOT_IN_USE: &str = "DELETE FROM kernel_uses WHERE NOT EXISTS \
     (SELECT 1 FROM records WHERE key = kernel_uses.record AND part = 0)";
/// Who hold something, each module counted for each of its holders: in all, and of one module.
const MOST_HOLDERS: usize = 4096;
const MOST_HOLDERS_OF_ONE: usize = 256;

/// Who holds what, read once in a transaction that lets something go.
#[derive(Default)]
struct Shelf {
    rows: BTreeMap<i64, Row>,
    networks: BTreeMap<Vec<u8>, Network>,
    holders: BTreeMap<Vec<u8>, BTreeSet<i64>>,
}

struct Row {
    network: Vec<u8>,
    household: Vec<u8>,
    hash: Vec<u8>,
    bytes: i64,
    is_used: bool,
}

impl Row {
    /// What it counts for in the share of its holder: what a job uses is beside the room.
    fn charge(&self) -> i64 {
        if self.is_used { 0 } else { self.bytes.max(LEAST_CHARGE) }
    }
}

/// What there is too much of.
#[derive(Clone, Copy)]
enum Over {
    /// Bytes of what no job uses.
    Room,
    /// Holders.
    Holders,
}

/// What somebody holds.
#[derive(Clone, Copy, Default)]
struct Held {
    charge: i64,
    rows: i64,
}

impl Held {
    fn add(&mut self, row: &Row) {
        self.charge += row.charge();
        self.rows += 1;
    }

    fn remove(&mut self, row: &Row) {
        self.charge -= row.charge();
        self.rows -= 1;
    }

    fn of(self, over: Over) -> i64 {
        match over {
            Over::Room => self.charge,
            Over::Holders => self.rows,
        }
    }
}

#[derive(Default)]
struct Network {
    held: Held,
    households: BTreeMap<Vec<u8>, Household>,
}

#[derive(Default)]
struct Household {
    held: Held,
    /// What it could give, first what no job uses, then what it holds longest. What a job uses goes as long as others hold
    /// it, too.
    gives: BTreeSet<(bool, i64)>,
}

impl Shelf {
    /// Reads it. What came after the row `before` was promised just now, and stays.
    async fn read(connection: &mut SqliteConnection, before: i64) -> Result<Self, sqlx::Error> {
        let all = "SELECT rowid, network, household, hash, bytes, \
            EXISTS (SELECT 1 FROM kernel_uses AS used WHERE used.hash = held.hash) FROM kernel_holders AS held";
        let mut shelf = Self::default();
        for row in sqlx::query(all).fetch_all(&mut *connection).await? {
            let (number, bytes): (i64, i64) = (row.try_get(0)?, row.try_get(4)?);
            let (network, household, hash) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            shelf.put(number, Row { network, household, hash, bytes, is_used: row.try_get(5)? }, number <= before);
        }
        Ok(shelf)
    }

    fn put(&mut self, number: i64, row: Row, may_go: bool) {
        let network = self.networks.entry(row.network.clone()).or_default();
        let household = network.households.entry(row.household.clone()).or_default();
        network.held.add(&row);
        household.held.add(&row);
        if may_go {
            household.gives.insert((row.is_used, number));
        }
        self.holders.entry(row.hash.clone()).or_default().insert(number);
        self.rows.insert(number, row);
    }

    /// What goes next, from whoever holds most of what there is too much of. For the room only what takes some of it goes.
    fn pick(&self, over: Over) -> Option<i64> {
        let frees = |is_used: bool| match over {
            Over::Room => !is_used,
            Over::Holders => true,
        };
        let households = self.networks.values().flat_map(|network| {
            network.households.values().filter_map(|household| {
                let mut gives = household.gives.iter();
                let first = gives.find(|(is_used, number)| frees(*is_used) && self.may_go(*number))?;
                Some((network.held.of(over), household.held.of(over), Reverse(*first)))
            })
        });
        households.max().map(|(.., Reverse((_, number)))| number)
    }

    /// Whether nobody needs this holding: no job uses the module, or others hold it.
    fn may_go(&self, number: i64) -> bool {
        let Some(row) = self.rows.get(&number) else { return false };
        !row.is_used || self.holders.get(&row.hash).is_some_and(|holders| holders.len() > 1)
    }

    /// Which holder of a module goes next: one of the network, and in that of the household, with most holdings.
    fn pick_holder(&self, hash: &[u8]) -> Option<i64> {
        let rows = self.holders.get(hash)?.iter().filter_map(|number| {
            let row = self.rows.get(number)?;
            let network = self.networks.get(&row.network)?;
            let household = network.households.get(&row.household)?;
            let may_go = household.gives.contains(&(row.is_used, *number));
            may_go.then_some((network.held.rows, household.held.rows, Reverse(*number)))
        });
        rows.max().map(|(.., Reverse(number))| number)
    }

    /// Takes a holding out; its module, if nobody holds that any more.
    fn remove(&mut self, number: i64) -> Option<Vec<u8>> {
        let row = self.rows.remove(&number)?;
        if let Some(network) = self.networks.get_mut(&row.network) {
            network.held.remove(&row);
            if let Some(household) = network.households.get_mut(&row.household) {
                household.held.remove(&row);
                household.gives.remove(&(row.is_used, number));
            }
        }
        let holders = self.holders.get_mut(&row.hash)?;
        holders.remove(&number);
        holders.is_empty().then_some(row.hash)
    }
}

/// Keeps the kernels of a batch, and lets others go for them, so that there are `most_bytes` at most.
pub(super) async fn put_kernels(
    connection: &mut SqliteConnection,
    batch: &Batch,
    most_bytes: i64,
) -> Result<(), sqlx::Error> {
    let mut kernels = batch.kernels().peekable();
    if kernels.peek().is_none() {
        return Ok(());
    }
    let newest = "SELECT COALESCE(MAX(rowid), 0) FROM kernel_holders";
    let before: i64 = sqlx::query(newest).fetch_one(&mut *connection).await?.try_get(0)?;
    for (job, KeptKernel { blob, holder }) in kernels {
        let (hash, bytes): (Hash, &[u8]) = (blob.hash(), blob);
        if bytes.len() <= ASKED_BYTES || !is_kept(connection, hash).await? {
            sqlx::query("INSERT OR IGNORE INTO kernels (hash, bytes) VALUES (?, ?)")
                .bind(hash.0.to_vec())
                .bind(bytes)
                .execute(&mut *connection)
                .await?;
        }
        // Replacing gives the row a new rowid: it is the newest again.
        sqlx::query("INSERT OR REPLACE INTO kernel_holders (network, household, hash, bytes) VALUES (?, ?, ?, ?)")
            .bind(holder.network.0.to_vec())
            .bind(holder.household.0.to_vec())
            .bind(hash.0.to_vec())
            .bind(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
        if let Some(job) = job {
            sqlx::query("INSERT OR REPLACE INTO kernel_uses (record, hash, is_named) VALUES (?, ?, ?)")
                .bind(StoreKey::Job(job.id).to_bytes())
                .bind(hash.0.to_vec())
                .bind(job.names_kernel)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query(NOT_IN_USE).execute(&mut *connection).await?;
    let loose = "SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM kernels WHERE hash NOT IN (SELECT hash FROM kernel_uses)";
    let kept: i64 = sqlx::query(loose).fetch_one(&mut *connection).await?.try_get(0)?;
    let crowded: Vec<Vec<u8>> = sqlx::query("SELECT hash FROM kernel_holders GROUP BY hash HAVING COUNT(*) > ?")
        .bind(i64::try_from(MOST_HOLDERS_OF_ONE).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let holders: i64 =
        sqlx::query("SELECT COUNT(*) FROM kernel_holders").fetch_one(&mut *connection).await?.try_get(0)?;
    if kept <= most_bytes && crowded.is_empty() && usize::try_from(holders).is_ok_and(|n| n <= MOST_HOLDERS) {
        return Ok(());
    }
    let shelf = Shelf::read(connection, before).await?;
    make_room(connection, shelf, crowded, kept - most_bytes).await
}

/// Lets holders of crowded kernels go, then any that are too many, then those whose kernels take the bytes beyond what is kept.
async fn make_room(
    connection: &mut SqliteConnection,
    mut shelf: Shelf,
    crowded: Vec<Vec<u8>>,
    mut beyond: i64,
) -> Result<(), sqlx::Error> {
    for hash in crowded {
        while shelf.holders.get(&hash).is_some_and(|holders| holders.len() > MOST_HOLDERS_OF_ONE)
            && let Some(row) = shelf.pick_holder(&hash)
        {
            beyond -= let_go(connection, &mut shelf, row).await?;
        }
    }
    while shelf.rows.len() > MOST_HOLDERS
        && let Some(row) = shelf.pick(Over::Holders)
    {
        beyond -= let_go(connection, &mut shelf, row).await?;
    }
    while beyond > 0
        && let Some(row) = shelf.pick(Over::Room)
    {
        beyond -= let_go(connection, &mut shelf, row).await?;
    }
    Ok(())
}

/// Gives up what no job uses.
pub(super) async fn give_up(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(NOT_IN_USE).execute(&mut *connection).await?;
    for loose in [
        "DELETE FROM kernel_holders WHERE hash NOT IN (SELECT hash FROM kernel_uses)",
        "DELETE FROM kernels WHERE hash NOT IN (SELECT hash FROM kernel_uses)",
    ] {
        sqlx::query(loose).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn is_kept(connection: &mut SqliteConnection, hash: Hash) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query("SELECT 1 FROM kernels WHERE hash = ?").bind(hash.0.to_vec());
    Ok(kept.fetch_optional(connection).await?.is_some())
}

/// Takes a holding out; the bytes that this gives back.
async fn let_go(connection: &mut SqliteConnection, shelf: &mut Shelf, row: i64) -> Result<i64, sqlx::Error> {
    sqlx::query("DELETE FROM kernel_holders WHERE rowid = ?").bind(row).execute(&mut *connection).await?;
    let Some(hash) = shelf.remove(row) else { return Ok(0) };
    let gone = sqlx::query("DELETE FROM kernels WHERE hash = ? RETURNING LENGTH(bytes)").bind(hash);
    gone.fetch_optional(connection).await?.map_or(Ok(0), |gone| gone.try_get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(network: u8, household: u8, hash: u8, bytes: i64) -> Row {
        Row { network: vec![network], household: vec![household], hash: vec![hash], bytes, is_used: false }
    }

    fn used(row: Row) -> Row {
        Row { is_used: true, ..row }
    }

    /// What goes, one after the other, until nobody has anything to give.
    fn all_that_goes(shelf: &mut Shelf, over: Over) -> Vec<i64> {
        let mut gone = Vec::new();
        while let Some(number) = shelf.pick(over) {
            shelf.remove(number);
            gone.push(number);
        }
        gone
    }

    #[test]
    fn whoever_holds_much_that_is_tiny_gives_before_one_who_holds_little_that_is_larger() {
        let mut shelf = Shelf::default();
        shelf.put(1, row(1, 1, 0, 5 * LEAST_CHARGE), true);
        for number in 2..12 {
            shelf.put(number, row(2, 2, u8::try_from(number).unwrap_or(0), 1), true);
        }
        let gone = all_that_goes(&mut shelf, Over::Room);
        assert_eq!(gone, [2, 3, 4, 5, 6, 1, 7, 8, 9, 10, 11], "the oldest of whoever holds most, then the oldest");
        assert!(shelf.holders.values().all(BTreeSet::is_empty) && shelf.rows.is_empty());
    }

    #[test]
    fn what_jobs_use_makes_nobody_give_what_none_uses() {
        let mut shelf = Shelf::default();
        // Whoever has much in use, alone and with others, holds less than his neighbour of what is not.
        for (number, hash) in [(1, 1), (2, 2), (3, 3)] {
            shelf.put(number, used(row(1, 1, hash, 60 * LEAST_CHARGE)), true);
        }
        shelf.put(4, used(row(3, 3, 3, 60 * LEAST_CHARGE)), true);
        shelf.put(5, row(1, 1, 5, 5 * LEAST_CHARGE), true);
        for number in 6..9 {
            shelf.put(number, row(2, 2, u8::try_from(number).unwrap_or(0), 4 * LEAST_CHARGE), true);
        }
        assert_eq!(all_that_goes(&mut shelf, Over::Room), [6, 7, 5, 8]);
        assert_eq!(shelf.rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4], "what is in use frees no room");
    }

    #[test]
    fn of_too_many_holders_whoever_is_most_of_them_gives_also_what_is_in_use() {
        let mut shelf = Shelf::default();
        shelf.put(1, row(1, 1, 1, 100 * LEAST_CHARGE), true);
        for number in 2..5 {
            shelf.put(number, used(row(2, 2, u8::try_from(number).unwrap_or(0), 1)), true);
            shelf.put(10 + number, used(row(3, 3, u8::try_from(number).unwrap_or(0), 1)), false);
        }
        assert_eq!(all_that_goes(&mut shelf, Over::Holders), [2, 3, 1, 4]);
    }

    #[test]
    fn of_a_module_that_many_hold_a_neighbour_of_many_gives_and_it_stays() {
        let mut shelf = Shelf::default();
        shelf.put(1, row(1, 1, 7, 1), true);
        for number in 2..6 {
            shelf.put(number, row(2, u8::try_from(number).unwrap_or(0), 7, 1), number < 5);
        }
        let mut gone = Vec::new();
        while let Some(number) = shelf.pick_holder(&[7]) {
            assert_eq!(shelf.remove(number), None);
            gone.push(number);
        }
        assert_eq!(gone, [2, 3, 4, 1], "what came just now stays");
    }
}
