//! The store as the rest of the relay sees it, on a disk of its own.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::{collections::BTreeSet, fs, path::Path};

use futures::{StreamExt as _, channel::mpsc};
use p2pnet_net::host::HostFact;
use p2pnet_shared::{
    id::{Holder, OwnerId},
    node::Token,
};
use sqlx::sqlite::SqliteConnectOptions;

use super::*;

/// Bytes of a kernel that count as they are, and room for sixteen such.
const PART: usize = 2 * shelf::LEAST_CHARGE as usize;
const ROOM: u64 = 32 * shelf::LEAST_CHARGE as u64;

fn room() -> Caches {
    let mut caches = Caches::of(0, PathBuf::new());
    caches.kernel_bytes = ROOM;
    caches
}

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
    NewJob { id: job(n), record: vec![n], key, kernels: vec![kernel(0, vec![0, n])], names_kernel: false }
}

/// One record at a time.
trait Save {
    fn save(&self, key: StoreKey, bytes: Vec<u8>);
}

impl Save for Writer {
    fn save(&self, key: StoreKey, bytes: Vec<u8>) {
        self.change(vec![(key, Some(bytes))], None);
    }
}

/// What `path` holds now, read by somebody else, but for results.
async fn on_disk(path: &std::path::Path) -> Vec<(StoreKey, Vec<u8>)> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query("SELECT key, bytes FROM records").fetch_all(&mut connection).await.unwrap();
    let read = |row: &SqliteRow| (StoreKey::read(&row.get::<Vec<u8>, _>(0)).unwrap(), row.get(1));
    let records = rows.iter().map(read).filter(|(key, _)| key.noun() != Noun::Result);
    records.collect()
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
    let (store, _) = Store::open(path.clone(), room()).await.unwrap();
    let put = async |n: u8, household: u8| {
        store.writer().promise_kernel(kernel(household, large(n))).await.unwrap();
    };
    put(1, 1).await;
    put(2, 1).await;
    // The stranger's first comes with a job that goes on.
    let with_job = NewJob { kernels: vec![kernel(9, large(10))], ..new_job(10, None) };
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
    store.writer().forget(StoreKey::Job(job(10)));
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
async fn a_store_that_was_closed_leaves_no_log_though_it_was_read() {
    let folder = new_folder("closed");
    let path = folder.join("store.sqlite");
    for n in 1..=20 {
        let (store, _) = Store::open(path.clone(), room()).await.unwrap();
        store.writer().promise(job_of(n, false)).await.unwrap();
        assert!(known(&store, [n]).await == [n] && database::has_log(&path));
        store.close().await;
        assert!(!database::has_log(&path), "round {n}");
    }
    let _ = fs::remove_dir_all(folder);
}

/// The kernels that a start brings, each by its first byte.
async fn in_use(store: &Store) -> BTreeSet<u8> {
    store.kernels_in_use().await.unwrap().values().map(|kernel| kernel[0]).collect()
}

/// A job that only names a large kernel, or was sent with it.
fn job_of(n: u8, names_kernel: bool) -> NewJob {
    NewJob { kernels: vec![kernel(9, large(n))], names_kernel, ..new_job(n, None) }
}

#[tokio::test]
async fn the_kernel_of_a_job_that_goes_on_stays_and_is_there_when_a_job_that_names_it_is_read_again() {
    let folder = new_folder("used");
    let path = folder.join("store.sqlite");
    let (store, _) = Store::open(path.clone(), room()).await.unwrap();
    for n in 1..=2 {
        store.writer().promise(job_of(n, true)).await.unwrap();
    }
    store.writer().promise(job_of(3, false)).await.unwrap();
    for n in 4..40 {
        store.writer().promise_kernel(kernel(9, large(n))).await.unwrap();
    }
    assert_eq!(known(&store, 1..5).await, [1, 2, 3], "in use");
    assert_eq!(in_use(&store).await, [1, 2].into(), "the third job has its kernel in its source");
    store.writer().forget(StoreKey::Job(job(2)));
    store.writer().flush().await.unwrap();
    store.close().await;
    let (store, _) = Store::open(path, room()).await.unwrap();
    assert_eq!(in_use(&store).await, [1].into());
    assert_eq!(store.kernel_bytes(Hash::of(&large(1))).await, Some(PART));
    store.close().await;
    let _ = fs::remove_dir_all(folder);
}

#[tokio::test]
async fn a_job_its_key_and_its_kernel_are_on_disk_when_the_promise_returns() {
    let folder = new_folder("promise");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    for n in 1..=50 {
        store.writer().promise(new_job(n, Some(&n.to_string()))).await.unwrap();
        assert_eq!(on_disk(&path).await.len(), usize::from(n));
    }
    assert_eq!(store.key("7").await.unwrap().unwrap().job, job(7));
    assert_eq!(store.kernel(Hash::of(&[0, 7])).await, Some(vec![0, 7]));
    // A key goes with its job, not when that ends, and may name the next one.
    end(store.writer(), 7, 10);
    store.writer().flush().await.unwrap();
    assert_eq!(store.key("7").await.unwrap().unwrap().job, job(7));
    remove(store.writer(), 7);
    store.writer().forget(StoreKey::Job(job(8)));
    store.writer().flush().await.unwrap();
    assert_eq!((store.key("7").await, store.key("8").await), (Ok(None), Ok(None)));
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn promises_made_at_once_share_a_transaction_and_are_all_kept() {
    let folder = new_folder("group");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
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
    let (store, restored) = Store::open(path.clone(), Caches::default()).await.unwrap();
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

    let (store, mut restored) = Store::open(path, Caches::default()).await.unwrap();
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
        "CREATE TRIGGER no BEFORE INSERT ON records WHEN NEW.key < x'02' BEGIN SELECT RAISE(ABORT, 'no room'); END"
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
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
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
    let kept =
        vec![(StoreKey::Job(job(2)), vec![2]), (StoreKey::Job(job(3)), vec![3]), (StoreKey::Span(job(2), 1), vec![2])];
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
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let (writer, key, result) = (store.writer(), StoreKey::Result(job(1)), result_in_parts());
    let alone = store.alone.lock().await;
    writer.save(key, result.clone());
    let (len, parts) = store.stream(key, 7).await.unwrap().unwrap();
    let (_, late) = store.stream(key, 0).await.unwrap().unwrap();
    futures::pin_mut!(parts, late);
    let first = parts.try_next().await.unwrap().unwrap();
    let whole = writer.pending(key).unwrap().unwrap();
    drop(alone);
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
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let (writer, key) = (store.writer(), StoreKey::Result(job(1)));
    let alone = store.alone.lock().await;
    writer.save(key, result_in_parts());
    let (_, parts) = store.stream(key, 0).await.unwrap().unwrap();
    futures::pin_mut!(parts);
    let first = parts.try_next().await.unwrap().unwrap();
    assert!(first == result_in_parts()[..PART_BYTES]);
    writer.forget(key);
    assert!(parts.try_next().await.is_err());
    assert!(store.stream(key, 0).await.unwrap().is_none());
    drop(alone);
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_database_deleted_while_in_use_promises_nothing() {
    let folder = new_folder("gone");
    let (store, _) = Store::open(folder.join("p2pnet.sqlite"), Caches::default()).await.unwrap();
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
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    for n in 0..200 {
        store.writer().save(StoreKey::Job(job(n)), vec![n; 1000]);
    }
    store.close().await;
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 100_000);
    let halves = [whole[..whole.len() / 2].to_vec(), whole[..4096].to_vec(), whole[..1000].to_vec()];
    for damaged in [Vec::new(), vec![b'x'; 8192], vec![0; 10]].into_iter().chain(halves) {
        fs::write(&path, &damaged).unwrap();
        let error =
            Store::open(path.clone(), Caches::default()).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("is damaged") && error.contains("move it away"), "{} bytes: {error}", damaged.len());
        assert!(fs::read(&path).unwrap() == damaged, "it is not replaced");
    }
    // Each in a folder of its own: a connection that came to nothing ends a little later, and takes its log along.
    let lost = new_folder("lost");
    fs::write(lost.join("p2pnet.sqlite-wal"), "left over").unwrap();
    let error = Store::open(lost.join("p2pnet.sqlite"), Caches::default()).await.err().unwrap().to_string();
    assert!(error.contains("it is missing, but its log"), "{error}");

    let newer = new_folder("newer");
    let path = newer.join("p2pnet.sqlite");
    fs::write(&path, whole).unwrap();
    let mut connection = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    sqlx::query("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = Store::open(path, Caches::default()).await.err().unwrap().to_string();
    assert!(error.contains("newer p2pnet"), "{error}");
    for folder in [folder, lost, newer] {
        fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn rubbish_in_any_page_of_a_database_is_named_at_the_start_and_left_alone() {
    let folder = new_folder("pages");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    for n in 0..30 {
        let job =
            NewJob { kernels: vec![kernel(n, vec![n; 3000])], names_kernel: true, ..new_job(n, Some(&n.to_string())) };
        store.writer().promise(job).await.unwrap();
    }
    store.close().await;
    let whole = fs::read(&path).unwrap();
    let mut connection = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    let free: i64 = sqlx::query("PRAGMA freelist_count").fetch_one(&mut connection).await.unwrap().get(0);
    connection.close().await.unwrap();
    let rubbish: Vec<u8> = (1..=4096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let pages = whole.len() / rubbish.len();
    let mut opened = 0;
    for page in 0..pages {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].copy_from_slice(&rubbish);
        // Each in a folder of its own: a connection that came to nothing ends a little later.
        let folder = new_folder(&format!("page-{page}"));
        let path = folder.join("p2pnet.sqlite");
        fs::write(&path, &damaged).unwrap();
        match Store::open(path.clone(), Caches::default()).await {
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("p2pnet.sqlite is damaged") && error.contains("move it away"),
                    "{page}: {error}"
                );
                assert!(fs::read(&path).unwrap() == damaged, "it is not replaced");
            }
            Ok((store, records)) => {
                opened += 1;
                assert_eq!((records.len(), store.kernels_in_use().await.unwrap().len()), (30, 30), "page {page}");
                store.close().await;
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(pages > 20 && opened <= free, "{opened} of {pages} opened, {free} hold nothing");
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_log_that_was_damaged_is_named_at_the_start_and_left_alone() {
    let folder = new_folder("damaged-log");
    let (store, _) = Store::open(folder.join("live"), Caches::default()).await.unwrap();
    for n in 0..20 {
        store.writer().promise(new_job(n, None)).await.unwrap();
    }
    let path = folder.join("p2pnet.sqlite");
    let copy = |end: &str| {
        let copy = folder.join(format!("p2pnet.sqlite{end}"));
        fs::copy(folder.join(format!("live{end}")), &copy).unwrap();
        copy
    };
    let (_, log, _) = (copy(""), copy("-wal"), copy("-shm"));
    let mut damaged = fs::read(&log).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for damaged in [damaged.clone(), vec![0; damaged.len()]] {
        fs::write(&log, &damaged).unwrap();
        let error = Store::open(path.clone(), Caches::default()).await.err().unwrap().to_string();
        let says = |part| error.contains(part);
        assert!(says("p2pnet.sqlite-wal is damaged") && says("-shm away to go on without what it holds"), "{error}");
        assert!(fs::read(&log).unwrap() == damaged, "it is not replaced");
    }
    // As that says.
    for end in ["-wal", "-shm"] {
        fs::remove_file(folder.join(format!("p2pnet.sqlite{end}"))).unwrap();
    }
    let (without, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    without.close().await;
    for end in ["", "-wal", "-shm"] {
        copy(end);
    }
    let (killed, records) = Store::open(path, Caches::default()).await.unwrap();
    assert_eq!(records.len(), 20);
    killed.close().await;
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

/// What a killed process left: a copy of the files of a store that is in use.
fn killed(live: &Path, folder: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        let copy = with(&folder.join("p2pnet.sqlite"));
        fs::copy(with(live), &copy).unwrap();
        copy
    })
}

#[tokio::test]
async fn a_damaged_database_beside_a_log_is_named_and_both_are_left_alone() {
    let folder = new_folder("beside-a-log");
    let live = folder.join("live");
    let (store, _) = Store::open(live.clone(), Caches::default()).await.unwrap();
    for n in 0..20 {
        store.writer().promise(new_job(n, None)).await.unwrap();
    }
    let mut root = SqliteConnection::connect_with(&database::options(&live)).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut root).await.unwrap();
    let page: i64 = sqlx::query("SELECT rootpage FROM sqlite_master WHERE name = 'keys'")
        .fetch_one(&mut root)
        .await
        .unwrap()
        .get(0);
    root.close().await.unwrap();
    for n in 20..30 {
        store.writer().promise(new_job(n, None)).await.unwrap();
    }
    let spoilt = |bytes: &mut Vec<u8>| bytes[(usize::try_from(page).unwrap() - 1) * 4096..][..4096].fill(0xa5);
    let other = |bytes: &mut Vec<u8>| bytes.fill(b'x');
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    for (n, damage) in [&spoilt as &dyn Fn(&mut Vec<u8>), &other, &empty].into_iter().enumerate() {
        let beside = new_folder(&format!("beside-a-log-{n}"));
        let [path, log, index] = killed(&live, &beside);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let log_bytes = fs::read(&log).unwrap();
        let error = Store::open(path.clone(), Caches::default()).await.err().unwrap().to_string();
        assert!(error.contains("is damaged") && error.contains("end in -wal and -shm"), "{n}: {error}");
        // A connection that came to nothing ends a little later.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(fs::read(&path).unwrap() == bytes && fs::read(&log).unwrap() == log_bytes, "{n}");
        // As the sentence says: everything away, and a copy in its place.
        for file in [&path, &log, &index] {
            let _ = fs::rename(file, file.with_extension("away"));
        }
        let [_, _, index] = killed(&live, &beside);
        fs::remove_file(index).unwrap();
        let (again, records) = Store::open(path, Caches::default()).await.unwrap();
        assert_eq!(records.len(), 30);
        again.close().await;
        fs::remove_dir_all(beside).unwrap();
    }
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_row_that_no_version_writes_is_named_as_damage() {
    let folder = new_folder("row");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    store.writer().promise(new_job(1, None)).await.unwrap();
    store.close().await;
    let mut other = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    sqlx::query("UPDATE records SET bytes = 7").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let error = Store::open(path, Caches::default()).await.err().unwrap().to_string();
    assert!(error.contains("p2pnet.sqlite is damaged"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

/// Rubbish in the pages where a table or index begins, on the disk only.
async fn spoil(path: &std::path::Path, names: [&str; 2]) {
    let mut connection = SqliteConnection::connect_with(&database::options(path)).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    let mut bytes = fs::read(path).unwrap();
    for name in names {
        let page = sqlx::query("SELECT rootpage FROM sqlite_master WHERE name = ?").bind(name);
        let page: i64 = page.fetch_one(&mut connection).await.unwrap().get(0);
        bytes[(usize::try_from(page).unwrap() - 1) * 4096..][..4096].fill(0xa5);
    }
    fs::write(path, bytes).unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_or_written_in_a_damaged_page_is_told_to_monitors_while_the_rest_goes_on() {
    let folder = new_folder("spoilt");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    store.writer().promise(new_job(1, Some("a"))).await.unwrap();
    assert_eq!(store.trouble(), None);
    spoil(&path, ["keys", "sqlite_autoindex_keys_1"]).await;
    assert_eq!(store.key("a").await, Err(Trouble::Damaged), "nobody may take that for: there is none");
    assert_eq!(store.trouble(), Some(Trouble::Damaged));
    assert!(store.record(StoreKey::Job(job(1))).await.unwrap().is_some(), "another page is sound");
    assert_eq!(store.trouble(), Some(Trouble::Damaged), "and the file is no better for that");
    let connection = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    let writer = Writer::start(Database::new(path.clone(), Some(connection), i64::MAX), Caches::default()).unwrap();
    assert_eq!(writer.promise(new_job(2, Some("b"))).await, Err(Trouble::Damaged));
    while writer.trouble().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    writer.promise(new_job(3, None)).await.unwrap();
    assert!(writer.is_damaged());
    let (what, hint) = Trouble::Damaged.words();
    assert!(what.contains("p2pnet.sqlite") && hint.contains("move it away"), "true also where the start finds nothing");
    writer.close().await;
    store.close().await;
    let error = Store::open(path, Caches::default()).await.err().unwrap().to_string();
    assert!(error.contains("is damaged"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn kernels_that_no_job_uses_and_compiled_ones_give_way() {
    let folder = new_folder("give-way");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    store.writer().promise(job_of(1, true)).await.unwrap();
    for n in 2..9 {
        store.writer().promise_kernel(kernel(n, large(n))).await.unwrap();
    }
    assert_eq!(known(&store, 1..9).await.len(), 8);
    let compiled = folder.join("compiled");
    fs::create_dir_all(compiled.join("process")).unwrap();
    for name in ["a.compiled", "b.compiled", "c.1.draft"] {
        fs::write(compiled.join("process").join(name), vec![0; 1000]).unwrap();
    }
    let connection = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    let mut database = Database::new(path.clone(), Some(connection), i64::MAX);
    let mut caches = Caches::of(0, compiled.clone());
    assert!(caches.give_up(&mut database).await);
    assert_eq!(known(&store, 1..9).await, [1], "a job uses it");
    let left: Vec<_> = fs::read_dir(compiled.join("process")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["c.1.draft"], "it is being written");
    assert!(!caches.give_up(&mut database).await, "not again and again");
    database.close().await;
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

/// A folder on a small disk of its own; `None` where no file system may be mounted.
#[cfg(unix)]
struct SmallDisk(PathBuf);

#[cfg(unix)]
impl SmallDisk {
    #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
    fn new(name: &str, mib: u64) -> Option<Self> {
        let folder = new_folder(name);
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&folder);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("no file system can be mounted here, so that no disk can be filled");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Fills it, so that so many KiB are free.
    fn leave(&self, kib: u64) {
        let _ = fs::remove_file(self.ballast());
        let room = trouble::room_at(&self.0).unwrap() - (kib << 10);
        fs::write(self.ballast(), vec![0; usize::try_from(room).unwrap()]).unwrap();
    }
}

#[cfg(unix)]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// A job ends.
fn end(writer: &Writer, n: u8, result_bytes: usize) {
    let records = [
        (StoreKey::Job(job(n)), None),
        (StoreKey::Result(job(n)), Some(vec![n; result_bytes])),
        (StoreKey::Over(job(n)), Some(vec![n, 0])),
        (StoreKey::Finished(job(n)), Some(vec![n])),
    ];
    writer.change(records.to_vec(), Some(Token(n.into())));
}

/// One that is over is removed.
fn remove(writer: &Writer, n: u8) {
    let records = [StoreKey::Over(job(n)), StoreKey::Result(job(n)), StoreKey::Finished(job(n))];
    writer.change(records.map(|key| (key, None)).to_vec(), None);
}

/// The jobs whose end is on disk.
async fn ended(path: &std::path::Path) -> Vec<u8> {
    let records = on_disk(path).await.into_iter();
    let lines = records.filter(|(key, _)| matches!(key, StoreKey::Finished(_)));
    lines.map(|(_, line)| line[0]).collect()
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    while !is_so().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_result_that_does_not_fit_leaves_the_store_to_everybody_else_and_is_kept_once_it_does() {
    let Some(disk) = SmallDisk::new("large-result", 32) else { return };
    let path = disk.0.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let writer = store.writer();
    for n in 1..=4 {
        writer.promise(NewJob { kernels: Vec::new(), ..new_job(n, None) }).await.unwrap();
    }
    disk.leave(3 << 10);
    end(writer, 1, 9 << 20);
    end(writer, 2, 100);
    assert_eq!(writer.flush().await, Ok(()));
    for n in 5..15 {
        assert_eq!(writer.promise(NewJob { kernels: Vec::new(), ..new_job(n, None) }).await, Ok(()));
        writer.forget(StoreKey::Job(job(n)));
    }
    // One that fits is written though another does not.
    end(writer, 3, 1 << 20);
    until(async || ended(&path).await == [2, 3]).await;
    end(writer, 4, 7 << 20);
    assert_eq!(writer.flush().await, Ok(()));
    assert_eq!((writer.trouble(), store.trouble()), (None, None));
    until(async || writer.held() == Held { records: 2, bytes: (16 << 20) + 2 * 3 }).await;
    // Nobody tells the end of a job without its result.
    assert_eq!(ended(&path).await, [2, 3]);
    let records = on_disk(&path).await;
    assert!(records.contains(&(StoreKey::Job(job(1)), vec![1])), "a kill brings the job back as it was promised");
    assert_eq!(store.record(StoreKey::Result(job(1))).await.unwrap().unwrap().len(), 9 << 20);
    assert_eq!(store.record(StoreKey::Finished(job(1))).await, Ok(Some(vec![1].into())));
    // One that is removed waits no longer.
    remove(writer, 4);
    assert_eq!(writer.flush().await, Ok(()));
    assert!(!on_disk(&path).await.iter().any(|(key, _)| key.job() == job(4)));
    fs::remove_file(disk.ballast()).unwrap();
    until(async || ended(&path).await == [1, 2, 3]).await;
    until(async || writer.held() == Held::default()).await;
    store.close().await;
    let (store, _) = Store::open(path, Caches::default()).await.unwrap();
    assert!(store.record(StoreKey::Result(job(1))).await.unwrap().unwrap() == vec![1; 9 << 20]);
    store.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_job_that_does_not_fit_empties_nobodys_shelf_and_free_pages_of_the_file_are_room() {
    let Some(disk) = SmallDisk::new("large-job", 32) else { return };
    let path = disk.0.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let writer = store.writer();
    for n in 1..4 {
        writer.promise_kernel(kernel(n, large(n))).await.unwrap();
    }
    end(writer, 9, 4 << 20);
    writer.flush().await.unwrap();
    remove(writer, 9);
    writer.flush().await.unwrap();
    disk.leave(3 << 10);
    let of = |n: u8, bytes: usize| NewJob { record: vec![n; bytes], kernels: Vec::new(), ..new_job(n, None) };
    assert_eq!(writer.promise(of(10, 9 << 20)).await, Err(Trouble::Full));
    assert_eq!(known(&store, 1..4).await, [1, 2, 3], "nothing has failed yet");
    assert_eq!(writer.promise(of(11, 5 << 19)).await, Ok(()), "the file does not grow by it");
    store.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn of_large_jobs_that_come_together_those_that_fit_are_taken() {
    let Some(disk) = SmallDisk::new("large-jobs", 32) else { return };
    let (store, _) = Store::open(disk.0.join("p2pnet.sqlite"), Caches::default()).await.unwrap();
    let writer = store.writer();
    writer.promise(new_job(1, None)).await.unwrap();
    disk.leave(6 << 10);
    let of = |n: u8, bytes: usize| NewJob { record: vec![n; bytes], kernels: Vec::new(), ..new_job(n, None) };
    let alone = store.alone.lock().await;
    let jobs = [of(2, 10), of(3, 20 << 20), of(4, 1 << 20), of(5, 4 << 20), of(6, 1 << 20)];
    let kept = futures::future::join_all(jobs.into_iter().map(async |job| {
        // The first is being written, and the others gather meanwhile.
        tokio::time::sleep(std::time::Duration::from_millis(if job.record.len() == 10 { 0 } else { 200 })).await;
        writer.promise(job).await
    }));
    let go_on = async {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        drop(alone);
    };
    let (kept, ()) = futures::join!(kept, go_on);
    assert_eq!(kept, [Ok(()), Err(Trouble::Full), Ok(()), Err(Trouble::Full), Ok(())]);
    store.close().await;
}

#[tokio::test]
async fn a_result_that_is_shorter_than_what_a_kill_left_of_the_job_ends_where_it_ends() {
    let folder = new_folder("shorter");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let key = StoreKey::Result(job(1));
    for len in [5 * PART_BYTES, 2 * PART_BYTES, PART_BYTES + 1, 7] {
        store.writer().save(key, vec![7; len]);
        store.writer().flush().await.unwrap();
        assert_eq!(store.record(key).await.unwrap().unwrap().len(), len);
        assert_eq!(store.stream(key, 0).await.unwrap().unwrap().0, len as u64);
    }
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn where_a_result_has_no_room_to_the_end_its_job_goes_on_from_its_spans_whose_room_it_takes() {
    let Some(disk) = SmallDisk::new("large-end", 32) else { return };
    let path = disk.0.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let mut writer = store.writer();
    writer.promise(NewJob { kernels: Vec::new(), ..new_job(1, None) }).await.unwrap();
    let spans = [0, 1].map(|unit| StoreKey::Span(job(1), unit));
    for span in spans {
        writer.save(span, vec![1; 2 << 20]);
    }
    writer.flush().await.unwrap();
    disk.leave(1 << 10);
    let end_of_all = |writer: &Writer| {
        end(writer, 1, 5 << 20);
        spans.iter().for_each(|span| writer.forget(*span));
    };
    end_of_all(writer);
    writer.flush().await.unwrap();
    let begun = std::time::Instant::now();
    store.close().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "nobody waits for room then");
    let (store, records) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let keys: BTreeSet<StoreKey> = records.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, BTreeSet::from([StoreKey::Job(job(1)), spans[0], spans[1]]));
    writer = store.writer();
    disk.leave(7 << 10);
    end_of_all(writer);
    until(async || ended(&path).await == [1]).await;
    let keys: Vec<StoreKey> = on_disk(&path).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [StoreKey::Over(job(1)), StoreKey::Finished(job(1))]);
    store.close().await;
}

#[tokio::test]
async fn what_does_not_fit_although_the_system_tells_of_room_leaves_it_to_everybody_else_too() {
    let folder = new_folder("quota");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    store.close().await;
    let bounded = database::options(&path).pragma("max_page_count", "200");
    let connection = SqliteConnection::connect_with(&bounded).await.unwrap();
    let mut database = Database::new(path.clone(), Some(connection), i64::MAX);
    database.options = bounded;
    let alone = database.alone();
    let writer = &Writer::start(database, Caches::default()).unwrap();
    let of = |n: u8, bytes: usize| NewJob { record: vec![n; bytes], kernels: Vec::new(), ..new_job(n, None) };
    let first = alone.lock().await;
    for (n, kib) in [(1, 900), (2, 400), (3, 1), (4, 900)] {
        end(writer, n, kib << 10);
    }
    let large = writer.promise(of(5, 900 << 10));
    let small = writer.promise(of(6, 10));
    let go_on = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        drop(first);
    };
    let (large, small, ()) = futures::join!(large, small, go_on);
    assert_eq!((large, small), (Err(Trouble::Full), Ok(())));
    until(async || ended(&path).await == [2, 3]).await;
    assert_eq!(writer.promise(of(7, 10)).await, Ok(()));
    assert_eq!(writer.trouble(), None);
    until(async || writer.held().records == 2).await;
    assert_eq!(writer.promise(of(8, 900 << 10)).await, Err(Trouble::Full));
    assert_eq!(writer.promise(of(9, 10)).await, Ok(()));
    assert_eq!((writer.flush().await, writer.trouble()), (Ok(()), None));
    writer.close().await;
    fs::remove_dir_all(folder).unwrap();
}

/// A store that can grow to so many pages only, whatever the system tells, beside what it holds: a quota.
async fn with_a_quota(path: &Path, pages: i64) -> (Writer, Arc<Mutex<()>>) {
    let mut now = SqliteConnection::connect_with(&database::options(path)).await.unwrap();
    let held: i64 = sqlx::query("PRAGMA page_count").fetch_one(&mut now).await.unwrap().get(0);
    now.close().await.unwrap();
    let bounded = database::options(path).pragma("max_page_count", (held + pages).to_string());
    let connection = SqliteConnection::connect_with(&bounded).await.unwrap();
    let mut database = Database::new(path.to_path_buf(), Some(connection), i64::MAX);
    database.options = bounded;
    let alone = database.alone();
    (Writer::start(database, Caches::default()).unwrap(), alone)
}

#[tokio::test]
async fn a_large_job_beyond_a_quota_takes_no_kernel_off_the_shelf() {
    let folder = new_folder("quota-shelf");
    let path = folder.join("store.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    for n in 1..4 {
        store.writer().promise_kernel(kernel(n, large(n))).await.unwrap();
    }
    let (writer, _) = with_a_quota(&path, 100).await;
    let of = |n: u8, bytes: usize| NewJob { record: vec![n; bytes], kernels: Vec::new(), ..new_job(n, None) };
    assert_eq!(writer.promise(of(1, 900 << 10)).await, Err(Trouble::Full));
    assert_eq!(known(&store, 1..4).await, [1, 2, 3]);
    // What is small and finds no room does.
    for n in 2..10 {
        assert_eq!(writer.promise(of(n, 90 << 10)).await, Ok(()));
    }
    assert_eq!(known(&store, 1..4).await, [0; 0]);
    writer.close().await;
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_is_large_and_cannot_be_written_for_another_reason_leaves_the_store_to_everybody_else_too() {
    let folder = new_folder("largest-file");
    let path = folder.join("store.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let mut other = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    // As a write beyond the largest size of a file, which SQLite tells as any other that failed.
    let refuse = "CREATE TRIGGER no BEFORE INSERT ON records WHEN LENGTH(NEW.bytes) >= 262144 \
                  BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END";
    sqlx::query(refuse).execute(&mut other).await.unwrap();
    let writer = store.writer();
    let of = |n: u8, bytes: usize| NewJob { record: vec![n; bytes], kernels: Vec::new(), ..new_job(n, None) };
    end(writer, 1, 1 << 20);
    end(writer, 2, 100);
    assert_eq!((writer.flush().await, writer.trouble()), (Ok(()), None));
    assert!(matches!(writer.promise(of(3, 1 << 20)).await, Err(Trouble::Failed(_))));
    assert_eq!((writer.promise(of(4, 10)).await, writer.trouble()), (Ok(()), None));
    assert_eq!((ended(&path).await, writer.held().records), (vec![2], 1));
    sqlx::query("DROP TRIGGER no").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    store.close().await;
    assert_eq!(ended(&path).await, [1, 2]);
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn spans_that_have_no_room_shut_no_store_and_are_let_go_beyond_their_bound() {
    let Some(disk) = SmallDisk::new("large-spans", 8) else { return };
    let (store, _) = Store::open(disk.0.join("p2pnet.sqlite"), Caches::default()).await.unwrap();
    let writer = store.writer();
    // Nobody looks at these bytes, so that they take no memory.
    let (large, waits) = (|mib: usize| vec![0; mib << 20], async |n| until(async || writer.held().records == n).await);
    for unit in 0..4 {
        writer.save(StoreKey::Span(job(1), unit), large(100));
    }
    waits(4).await;
    for n in 2..5 {
        writer.save(StoreKey::Result(job(n)), large(240));
        writer.save(StoreKey::Finished(job(n)), vec![n]);
    }
    waits(7).await;
    assert_eq!(writer.trouble(), None);
    writer.promise(NewJob { kernels: Vec::new(), ..new_job(9, None) }).await.unwrap();
    // The first is let go when it comes, those that came while the file could not be written once they are left out.
    let alone = store.alone.lock().await;
    for unit in 10..13 {
        writer.save(StoreKey::Span(job(1), unit), large(100));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(alone);
    writer.flush().await.unwrap();
    assert_eq!((writer.held().records, writer.figures().dropped), (8, 2));
    writer.save(StoreKey::Span(job(1), 20), vec![0; 1000]);
    writer.flush().await.unwrap();
    assert_eq!(store.record(StoreKey::Span(job(1), 20)).await.unwrap().unwrap().len(), 1000, "small ones are kept");
    // Above what a relay keeps by default nothing is taken.
    for n in 5..7 {
        writer.save(StoreKey::Result(job(n)), large(240));
    }
    waits(10).await;
    assert_eq!(writer.trouble(), Some(Trouble::Full));
    store.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn however_much_is_held_what_is_small_is_written_as_fast() {
    let Some(disk) = SmallDisk::new("much-held", 32) else { return };
    let (store, _) = Store::open(disk.0.join("p2pnet.sqlite"), Caches::default()).await.unwrap();
    let writer = store.writer();
    let name = |n: u32| JobId(u128::from(n).to_be_bytes());
    let time = async |from: u32| {
        let begun = std::time::Instant::now();
        for n in from..from + 200 {
            let job = NewJob { id: name(n), record: vec![1], key: None, kernels: Vec::new(), names_kernel: false };
            writer.promise(job).await.unwrap();
        }
        begun.elapsed()
    };
    let before = time(1).await;
    disk.leave(7 << 10);
    for n in 1..=240 {
        writer.save(StoreKey::Result(name(n)), vec![0; 4 << 20]);
        for unit in 0..400 {
            writer.forget(StoreKey::Span(name(n), unit));
        }
    }
    until(async || writer.held().records == 240).await;
    let after = time(1000).await;
    assert!(after < before * 3 + std::time::Duration::from_millis(500), "{before:?}, and then {after:?}");
    for n in 1..=240 {
        writer.forget(StoreKey::Result(name(n)));
    }
    writer.flush().await.unwrap();
    assert_eq!(writer.held(), Held::default());
    store.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_job_whose_result_waited_and_is_forgotten_is_not_over_without_it() {
    let Some(disk) = SmallDisk::new("forgotten-end", 8) else { return };
    let path = disk.0.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let writer = store.writer();
    writer.promise(NewJob { kernels: Vec::new(), ..new_job(1, None) }).await.unwrap();
    end(writer, 1, 9 << 20);
    until(async || writer.held().records == 1).await;
    assert_eq!(on_disk(&path).await, [(StoreKey::Job(job(1)), vec![1])], "a kill finds a job that goes on");
    remove(writer, 1);
    writer.flush().await.unwrap();
    assert_eq!(on_disk(&path).await, []);
    assert_eq!(writer.held(), Held::default());
    store.close().await;
}

/// The tables of version 5, as that made them.
const VERSION_5: [&str; 12] = [
    "CREATE TABLE records (kind INTEGER NOT NULL, job BLOB NOT NULL, unit INTEGER NOT NULL, \
     bytes BLOB NOT NULL, PRIMARY KEY (job, kind, unit))",
    "CREATE INDEX records_by_kind ON records (kind)",
    "CREATE TABLE kernels (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE TABLE kernel_holders (network BLOB NOT NULL, household BLOB NOT NULL, hash BLOB NOT NULL, \
     bytes INTEGER NOT NULL, PRIMARY KEY (network, household, hash))",
    "CREATE INDEX kernel_holders_by_hash ON kernel_holders (hash)",
    "CREATE TABLE kernel_uses (job BLOB PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE INDEX kernel_uses_by_hash ON kernel_uses (hash)",
    "CREATE TABLE keys (name TEXT PRIMARY KEY, body BLOB NOT NULL, job BLOB NOT NULL, at INTEGER NOT NULL)",
    "CREATE INDEX keys_by_job ON keys (job)",
    "CREATE TABLE room (one INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
    "ALTER TABLE kernel_uses ADD COLUMN is_named INTEGER NOT NULL DEFAULT 1",
    "PRAGMA user_version = 5",
];

/// The record of a job of version 5, and its line.
fn record_of_before(n: u8, state: &str) -> Vec<u8> {
    let owner = OwnerId([n; 16]);
    format!(
        r#"{{"version":1,"region":"{owner}","network":"{owner}","household":"{owner}","owner":"{owner}","kind":"map",
        "metadata":{{}},"source":"{{\"kind\":\"map\",\"data\":[1],\"map\":\"x\"}}","requirements":{{}},"policy":{{}},
        "state":"{state}","error":null,"failed_parts":0,"created_at":5,"started_at":null,"finished_at":9,"units":1,
        "done_units":1,"gas":3,"attempts_total":0,"attempts":[],"shares":[],"kernel":null}}"#
    )
    .into_bytes()
}

fn line_of_before(n: u8) -> Vec<u8> {
    let owner = OwnerId([n; 16]);
    format!(
        r#"{{"version":1,"region":"{owner}","network":"{owner}","household":"{owner}","owner":"{owner}","summary":{{
        "id":"{}","kind":"map","state":"completed","progress":{{"units_total":1,"units_done":1,"units_running":0,
        "gas":3,"percent":100}},"created_at":5,"finished_at":9}},"bytes":70,"has_result":true}}"#,
        job(n)
    )
    .into_bytes()
}

/// A database of version 5 with these rows of `kind`, `job`, `unit` and `bytes`.
async fn of_before(path: &Path, rows: &[(i64, u8, i64, Vec<u8>)]) -> SqliteConnection {
    let options = database::options(path).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in VERSION_5 {
        sqlx::query(statement).execute(&mut old).await.unwrap();
    }
    for (kind, n, unit, bytes) in rows {
        let put = sqlx::query("INSERT INTO records (kind, job, unit, bytes) VALUES (?, ?, ?, ?)");
        let put = put.bind(kind).bind(vec![*n; 16]).bind(unit).bind(bytes.as_slice());
        put.execute(&mut old).await.unwrap();
    }
    old
}

/// All that a store tells of jobs that are over: how many, and how many records are not understood for their names.
async fn told(store: &Store) -> (usize, u64) {
    let (facts, mut heard) = mpsc::channel(1);
    let store = store.clone();
    tokio::spawn(async move { store.tell_lines(facts).await });
    let (mut told, mut unknown) = (0, 0);
    while let Some(fact) = heard.next().await {
        match fact {
            HostFact::Loaded { lines, is_all } => {
                told += lines.len();
                if is_all {
                    return (told, unknown);
                }
            }
            HostFact::UnknownRecords(records) => unknown += records,
            _ => {}
        }
    }
    (told, unknown)
}

#[tokio::test]
async fn a_database_of_version_5_is_taken_over_with_all_that_it_holds() {
    let folder = new_folder("version-5");
    let path = folder.join("p2pnet.sqlite");
    let result: Vec<u8> = (0..=u8::MAX).cycle().take(PART_BYTES + 9).collect();
    let (first, second) = result.split_at(PART_BYTES);
    let later = br#"{"version":99}"#.to_vec();
    let rows = [
        (0, 1, 0, record_of_before(1, "running")),
        (1, 1, 0, vec![1, 2, 3]),
        (1, 1, -1, vec![4; 100_000]),
        (0, 2, 0, record_of_before(2, "completed")),
        (2, 2, 0, first.to_vec()),
        (2, 2, 1, second.to_vec()),
        (3, 2, 0, line_of_before(2)),
        (0, 3, 0, later.clone()),
        (7, 3, 0, vec![7]),
    ];
    let mut old = of_before(&path, &rows).await;
    let other = [
        "INSERT INTO kernels SELECT x'0505', x'05'",
        "INSERT INTO kernel_uses VALUES (CAST(x'01010101010101010101010101010101' AS BLOB), x'0505', 1)",
        "INSERT INTO keys VALUES ('a', zeroblob(32), CAST(x'02020202020202020202020202020202' AS BLOB), 7)",
    ];
    for statement in other {
        sqlx::query(statement).execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    let expected =
        [StoreKey::Job(job(1)), StoreKey::Job(job(3)), StoreKey::Span(job(1), 0), StoreKey::Span(job(1), u64::MAX)];
    for _ in 0..2 {
        let (store, records) = Store::open(path.clone(), Caches::default()).await.unwrap();
        assert_eq!(records.iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
        assert!(records[1].1.ends_with(&later), "what is not understood lies there as it did");
        assert_eq!(store.record(StoreKey::Result(job(2))).await, Ok(Some(result.clone().into())));
        let over = store.record(StoreKey::Over(job(2))).await.unwrap().unwrap();
        assert!(p2pnet_shared::node::read_status(job(2), &over).is_some());
        assert_eq!(store.key("a").await.unwrap().unwrap().job, job(2));
        assert_eq!(told(&store).await, (1, 1), "the record of a kind that no version had is left where it was");
        store.close().await;
    }
    let mut now = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    let used: Vec<u8> = sqlx::query("SELECT record FROM kernel_uses").fetch_one(&mut now).await.unwrap().get(0);
    assert_eq!(StoreKey::read(&used), Some(StoreKey::Job(job(1))));
    let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut now).await.unwrap().get(0);
    assert_eq!(version, SCHEMA_VERSION);
    now.close().await.unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn databases_of_every_earlier_version_are_brought_up_to_date_however_large() {
    for (version, changes) in [
        (4, &["ALTER TABLE kernel_uses DROP COLUMN is_named"][..]),
        (2, &["DROP TABLE kernel_holders", "DROP TABLE kernel_uses"]),
        (1, &["DROP TABLE kernel_holders", "DROP TABLE kernel_uses", "DROP TABLE keys"]),
    ] {
        let folder = new_folder(&format!("version-{version}"));
        let path = folder.join("p2pnet.sqlite");
        let rows = [(0, 1, 0, record_of_before(1, "queued"))];
        let mut old = of_before(&path, &rows).await;
        for statement in changes.iter().copied() {
            sqlx::query(statement).execute(&mut old).await.unwrap();
        }
        sqlx::query("CREATE TABLE other AS SELECT zeroblob(70000000)").execute(&mut old).await.unwrap();
        let number = format!("PRAGMA user_version = {version}");
        sqlx::query(sqlx::AssertSqlSafe(number)).execute(&mut old).await.unwrap();
        old.close().await.unwrap();
        let (store, records) = Store::open(path.clone(), Caches::default()).await.unwrap();
        assert_eq!(records.len(), 1, "version {version}");
        store.writer().promise(new_job(2, Some("a"))).await.unwrap();
        store.close().await;
        let mut now = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
        let left = sqlx::query("SELECT 1 FROM sqlite_master WHERE name = 'records_before'");
        assert!(left.fetch_optional(&mut now).await.unwrap().is_none(), "nothing of it is left");
        now.close().await.unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn kernels_of_before_there_were_shares_or_names_of_uses_stay_and_go_like_others() {
    let folder = new_folder("old-shelf");
    let path = folder.join("store.sqlite");
    let mut old = of_before(&path, &[(0, 5, 0, record_of_before(5, "running"))]).await;
    for n in [1, 5] {
        let put = sqlx::query("INSERT INTO kernels VALUES (?, ?)").bind(Hash::of(&large(n)).0.to_vec()).bind(large(n));
        put.execute(&mut old).await.unwrap();
    }
    let uses = sqlx::query("INSERT INTO kernel_uses (job, hash) VALUES (?, ?)").bind(vec![5; 16]);
    uses.bind(Hash::of(&large(5)).0.to_vec()).execute(&mut old).await.unwrap();
    for statement in ["ALTER TABLE kernel_uses DROP COLUMN is_named", "PRAGMA user_version = 4"] {
        sqlx::query(statement).execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    let (store, _) = Store::open(path, room()).await.unwrap();
    assert_eq!(in_use(&store).await, [5].into(), "it may name it");
    for n in 10..28 {
        store.writer().promise_kernel(kernel(n, large(n))).await.unwrap();
    }
    assert_eq!(known(&store, [5]).await, [5]);
    let known = known(&store, [1].into_iter().chain(10..28)).await.len();
    assert_eq!(known, 16, "what nobody is known to hold is a household's like any other");
    store.close().await;
    let _ = fs::remove_dir_all(folder);
}

#[tokio::test]
async fn a_start_reads_only_what_is_not_over_and_the_rest_comes_afterwards_also_beyond_what_is_not_understood() {
    let folder = new_folder("lazy");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    for n in 1..=3 {
        store.writer().promise(NewJob { kernels: Vec::new(), ..new_job(n, None) }).await.unwrap();
    }
    for n in 10..=u8::MAX {
        end(store.writer(), n, 10);
    }
    store.close().await;
    let mut later = SqliteConnection::connect_with(&database::options(&path)).await.unwrap();
    for name in ["x'00'", "x'0601'", "x'ff'"] {
        let put = format!("INSERT INTO records VALUES ({name}, 0, x'00')");
        sqlx::query(sqlx::AssertSqlSafe(put)).execute(&mut later).await.unwrap();
    }
    later.close().await.unwrap();
    let (store, records) = Store::open(path, Caches::default()).await.unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(told(&store).await, (246, 3), "those of no sound envelope are told of, too");
    let keys: Vec<StoreKey> = (5..=u8::MAX).map(|n| StoreKey::Finished(job(n))).collect();
    remove(store.writer(), 200);
    store.writer().save(StoreKey::Finished(job(100)), vec![1, 2]);
    let read = store.records_of(&keys).await.unwrap();
    let expected = (5..=u8::MAX).map(|n| match n {
        ..10 | 200 => None,
        100 => Some(vec![1, 2]),
        _ => Some(vec![n]),
    });
    assert_eq!(read, expected.collect::<Vec<_>>());
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_is_to_be_kept_is_told_when_it_is_on_disk_and_not_while_the_disk_takes_nothing() {
    let folder = new_folder("kept");
    let path = folder.join("p2pnet.sqlite");
    let (store, _) = Store::open(path.clone(), Caches::default()).await.unwrap();
    let mut kept = store.writer().kept().unwrap();
    assert!(store.writer().kept().is_none());
    store.writer().promise(new_job(1, None)).await.unwrap();
    refuse_rows(&path, true).await;
    store.writer().save(StoreKey::Job(job(9)), vec![9]);
    end(store.writer(), 1, 10);
    store.writer().flush().await.unwrap_err();
    assert!(kept.try_recv().is_err());
    end(store.writer(), 2, 10);
    refuse_rows(&path, false).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(kept.recv().await.unwrap());
        assert!(ended(&path).await.len() >= told.len(), "it is on disk by then");
    }
    assert_eq!(told, [Token(1), Token(2)]);
    store.close().await;
    fs::remove_dir_all(folder).unwrap();
}
