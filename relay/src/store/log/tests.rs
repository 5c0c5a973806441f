//! Real logs of real databases, as a killed process leaves them, and what may befall them.

use std::{fs, path::PathBuf};

use sqlx::{Connection as _, SqliteConnection};

use super::*;
use crate::store::database;

/// A database whose log holds transactions, copied while it is open: what a kill leaves.
struct Killed {
    folder: PathBuf,
}

impl Killed {
    async fn new(name: &str) -> (Self, SqliteConnection) {
        let folder = std::env::temp_dir().join(format!("p2pnet-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("copy")).unwrap();
        let live = folder.join("db");
        fs::write(&live, "").unwrap();
        let mut connection = SqliteConnection::connect_with(&database::options(&live)).await.unwrap();
        run(&mut connection, "CREATE TABLE kept (n INTEGER PRIMARY KEY, bytes BLOB)").await;
        run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        (Self { folder }, connection)
    }

    fn copy(&self, end: &str) -> PathBuf {
        self.folder.join("copy").join(format!("db{end}"))
    }

    fn kill(&self) {
        for end in ["", "-wal", "-shm"] {
            fs::copy(self.folder.join(format!("db{end}")), self.copy(end)).unwrap();
        }
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.copy("-wal")).unwrap()
    }

    /// What is found of this log, with the index as it is.
    fn found(&self, log: &[u8]) -> Option<String> {
        fs::write(self.copy("-wal"), log).unwrap();
        damage_of(&self.copy(""), &self.copy("-wal"), &self.copy("-shm")).unwrap()
    }

    /// The same without the index.
    fn found_alone(&self, log: &[u8]) -> Option<String> {
        fs::write(self.copy("-wal"), log).unwrap();
        damage_of(&self.copy(""), &self.copy("-wal"), &self.copy("-none")).unwrap()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn run(connection: &mut SqliteConnection, statement: &'static str) {
    sqlx::query(statement).execute(connection).await.unwrap();
}

const ONE: &str = "INSERT INTO kept (bytes) VALUES (randomblob(6000))";
const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) \
     INSERT INTO kept (bytes) SELECT randomblob(6000) FROM n";

#[tokio::test]
async fn a_log_is_whole_at_every_moment_at_which_its_process_may_be_killed() {
    let (killed, mut connection) = Killed::new("killed").await;
    let sound = |what: &str| {
        killed.kill();
        assert_eq!(killed.found(&killed.log()), None, "{what}");
        assert_eq!(killed.found_alone(&killed.log()), None, "{what}");
    };
    sound("an empty log");
    for _ in 0..10 {
        run(&mut connection, ONE).await;
        sound("a few transactions");
    }
    // What does not fit into memory is in the log before it is promised.
    run(&mut connection, "PRAGMA cache_size = 4").await;
    for _ in 0..3 {
        run(&mut connection, "BEGIN IMMEDIATE").await;
        run(&mut connection, MANY).await;
        run(&mut connection, "UPDATE kept SET bytes = randomblob(5000)").await;
        sound("in the middle of a transaction");
        run(&mut connection, "ROLLBACK").await;
        sound("after it was undone");
        run(&mut connection, ONE).await;
        sound("over what was undone");
    }
    run(&mut connection, "BEGIN IMMEDIATE").await;
    run(&mut connection, MANY).await;
    run(&mut connection, "UPDATE kept SET bytes = randomblob(5000)").await;
    run(&mut connection, "COMMIT").await;
    sound("a long transaction that wrote pages twice");
    run(&mut connection, "PRAGMA wal_checkpoint(RESTART)").await;
    sound("before a log is begun anew");
    run(&mut connection, ONE).await;
    sound("over frames of before");
    run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    sound("emptied");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_gone_or_emptied_is_missed_where_its_index_lies_there_still() {
    let (killed, mut connection) = Killed::new("gone").await;
    run(&mut connection, ONE).await;
    killed.kill();
    let log = killed.log();
    assert_eq!(killed.found(&log), None);
    assert!(killed.found(&[]).unwrap().contains("it is empty"));
    assert!(killed.found(&log[..HEADER_BYTES]).is_some());
    let gone = || {
        let _ = fs::remove_file(killed.copy("-wal"));
        damage_of(&killed.copy(""), &killed.copy("-wal"), &killed.copy("-shm")).unwrap()
    };
    assert!(gone().unwrap().contains("it is missing"));
    // What is in the database is no loss.
    run(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await;
    killed.kill();
    assert_eq!((gone(), killed.found(&[])), (None, None));
    run(&mut connection, ONE).await;
    run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    killed.kill();
    assert_eq!((gone(), killed.found(&[])), (None, None));
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_log_that_ends_anywhere_is_one_that_a_loss_of_power_cut_off() {
    let (killed, mut connection) = Killed::new("cut").await;
    for _ in 0..5 {
        run(&mut connection, ONE).await;
    }
    killed.kill();
    let log = killed.log();
    for len in (0..=log.len()).step_by(97) {
        assert_eq!(killed.found_alone(&log[..len]), None, "{len} bytes");
    }
    // The last transaction was on its way, and its pages came in any order.
    let mut torn = log.clone();
    let frame = FRAME_HEADER_BYTES + 4096;
    let last = torn.len() - 2 * frame;
    torn[last..last + frame].fill(0);
    assert_eq!(killed.found_alone(&torn), None);
    // But where the index says that all of it had been promised, it was damaged later.
    assert!(killed.found(&torn).unwrap().contains("are whole"));
    assert!(killed.found(&log[..log.len() / 2]).is_some());
    connection.close().await.unwrap();
}

#[tokio::test]
async fn rubbish_anywhere_in_what_was_promised_is_named() {
    let (killed, mut connection) = Killed::new("rubbish").await;
    // Frames of before lie behind those of now.
    run(&mut connection, MANY).await;
    run(&mut connection, "PRAGMA wal_checkpoint(RESTART)").await;
    for _ in 0..8 {
        run(&mut connection, ONE).await;
    }
    killed.kill();
    let log = killed.log();
    let header = "its header is not what SQLite writes";
    for rubbish in [vec![0; log.len()], vec![b'x'; log.len()], [&[7; 32], &log[32..]].concat(), vec![1; 8192]] {
        assert_eq!(killed.found(&rubbish).as_deref(), Some(header));
        assert_eq!(killed.found_alone(&rubbish).as_deref(), Some(header));
    }
    assert_eq!(killed.found(&log), None);
    let header = Header::read(log[..32].try_into().unwrap()).unwrap();
    let frames = Frames::read(&mut &log[32..], &header).unwrap();
    let frame = FRAME_HEADER_BYTES + header.page_bytes;
    assert!(frames.whole >= 16 && frames.ends_behind == 0 && log.len() > 32 + (frames.whole + 10) * frame);
    for number in 0..frames.whole {
        for at in [0, 4, 8, 16, FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + 2000] {
            let mut damaged = log.clone();
            damaged[32 + number * frame + at] ^= 0x40;
            let found = killed.found(&damaged).unwrap_or_default();
            assert!(found.contains(&format!("only the first {number} are whole")), "frame {number}: {found}");
            if number < frames.whole / 2 {
                let found = killed.found_alone(&damaged).unwrap_or_default();
                assert!(found.contains(&format!("frame {} is damaged", number + 1)), "frame {number}: {found}");
            }
        }
    }
    // Frames of before are nobody's any more.
    let mut behind = log.clone();
    behind[32 + frames.whole * frame + 500] ^= 0x40;
    assert_eq!(killed.found(&behind), None);
    // The log of another database, or a database that is none.
    let mut other = fs::read(killed.copy("")).unwrap();
    other[16..18].copy_from_slice(&[2, 0]);
    fs::write(killed.copy(""), other).unwrap();
    assert_eq!(killed.found(&log).as_deref(), Some("it belongs to another database"));
    connection.close().await.unwrap();
}
