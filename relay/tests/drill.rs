//! Drills on the built relay: it is killed at any moment, and its disk fills up. What it promised must hold.
//!
//! `cargo xtask drill kill|disk --rounds N` runs more rounds than the tests do.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use support::{Folder, Relay, refusal, until};
use tokio::time::{sleep, timeout};

/// Connections that submit jobs at once.
const CONNECTIONS: u64 = 8;
/// Jobs that each of them submits in a round at most: all of them together are fewer than a relay keeps.
const JOBS: u64 = 20;

/// A number of rounds that the command line may raise.
fn rounds(default: u64) -> u64 {
    env::var("P2PNET_DRILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What somebody was promised, and what became of the rest.
#[derive(Default)]
struct Ledger {
    /// Jobs that got a 202: name, and the number that tells one from the other.
    accepted: BTreeMap<String, u64>,
    /// The keys under which they were sent.
    keys: BTreeMap<u64, String>,
    /// Numbers of jobs that were sent, with a key, to a relay that died before it answered.
    unanswered: BTreeSet<u64>,
    /// Jobs whose removal or cancelling was answered.
    removed: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    /// Jobs that somebody asked to stop: they may be there or not.
    loose: BTreeSet<String>,
}

impl Ledger {
    /// The job that was taken under this number.
    fn id_of(&self, number: u64) -> Option<&str> {
        self.accepted.iter().find(|(_, of)| **of == number).map(|(id, _)| id.as_str())
    }
}

/// A program, in base64.
static STATISTICS: LazyLock<String> = LazyLock::new(|| {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/commands/built/statistics.wasm");
    STANDARD.encode(fs::read(built).unwrap())
});

/// A job that nobody else sends, of each kind in turn; its name is its number.
fn body(number: u64) -> String {
    let mut job = match number % 4 {
        0 => json!({"kind": "range_reduce", "start": 1, "end": number, "map": "x", "reduce": "sum"}),
        1 => json!({"kind": "map", "data": [number, number + 1], "map": "x + 1"}),
        2 => json!({"kind": "kernel", "kernel": STANDARD.encode(p2pnet_test_kernels::upper_case()),
            "input": STANDARD.encode(lines(number)), "split": "lines"}),
        _ => json!({"kind": "command", "module": *STATISTICS, "args": ["-d", "12"],
            "input": STANDARD.encode(format!("{number} {number}\n").repeat(2)), "split": "lines"}),
    };
    job["name"] = json!(number.to_string());
    job.to_string()
}

fn lines(number: u64) -> String {
    format!("this is\njob {number}\nof many\n")
}

/// What that job gives.
fn expected(number: u64) -> Value {
    match number % 4 {
        0 => json!(number * (number + 1) / 2),
        1 => json!([number + 1, number + 2]),
        2 => json!(STANDARD.encode(lines(number).to_uppercase())),
        _ => {
            let of_a_line = format!("count 2, skipped 0\nmin {number}, max {number}\nmean {number}, deviation 0\n");
            json!(STANDARD.encode(of_a_line.repeat(2)))
        }
    }
}

/// The number of a job in a list.
fn number_of(job: &Value) -> u64 {
    job["name"].as_str().unwrap().parse().unwrap()
}

async fn send(http: &Client, relay: &str, number: u64, key: Option<&str>) -> reqwest::Result<(StatusCode, Value)> {
    let mut request = http.post(format!("{relay}api/v1/jobs")).body(body(number));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    Ok((status, serde_json::from_str(&text).unwrap()))
}

async fn get(http: &Client, relay: &str, path: &str) -> (StatusCode, Value) {
    let answer = http.get(format!("{relay}{path}")).send().await.unwrap();
    let status = answer.status();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// Submits, removes and cancels until the relay is gone.
async fn submit_until_it_dies(relay: String, next: Arc<AtomicU64>, ledger: Arc<Mutex<Ledger>>) {
    let http = Client::new();
    for _ in 0..JOBS {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let key = number.is_multiple_of(2).then(|| format!("key-{number}"));
        let answer = send(&http, &relay, number, key.as_deref()).await;
        let id = match answer {
            Ok((StatusCode::ACCEPTED, body)) => body["id"].as_str().unwrap().to_owned(),
            // As many jobs as it can hold: later.
            Ok((StatusCode::TOO_MANY_REQUESTS, _)) => {
                sleep(Duration::from_millis(5)).await;
                continue;
            }
            Ok((status, body)) => panic!("{status}: {body}"),
            Err(_) => {
                if let Some(key) = key {
                    let mut ledger = ledger.lock().unwrap();
                    ledger.unanswered.insert(number);
                    ledger.keys.insert(number, key);
                }
                return;
            }
        };
        {
            let mut ledger = ledger.lock().unwrap();
            ledger.accepted.insert(id.clone(), number);
            if let Some(key) = key {
                ledger.keys.insert(number, key);
            }
        }
        if number.is_multiple_of(5) {
            stop(&http, &relay, &id, &ledger).await;
        }
    }
}

/// `DELETE`: what was answered counts; what was not may have happened or not.
async fn stop(http: &Client, relay: &str, id: &str, ledger: &Mutex<Ledger>) {
    {
        let mut ledger = ledger.lock().unwrap();
        let number = ledger.accepted.remove(id).unwrap();
        ledger.keys.remove(&number);
        ledger.loose.insert(id.to_owned());
    }
    let Ok(answer) = http.delete(format!("{relay}api/v1/jobs/{id}")).send().await else { return };
    assert_eq!(answer.status(), StatusCode::OK);
    let Ok(text) = answer.text().await else { return };
    let answer: Value = serde_json::from_str(&text).unwrap();
    let mut ledger = ledger.lock().unwrap();
    match answer["state"].as_str().unwrap() {
        "removed" => ledger.removed.insert(id.to_owned()),
        "cancelled" => ledger.cancelled.insert(id.to_owned()),
        other => panic!("{other}"),
    };
}

/// Everything that was promised is there, once, and right.
async fn audit(relay: &Relay, ledger: &mut Ledger) {
    let http = Client::new();
    for number in std::mem::take(&mut ledger.unanswered) {
        // Whoever got no answer asks again, under the same key.
        let id = accepted_id(&http, relay, number, ledger.keys.get(&number).map(String::as_str)).await;
        ledger.accepted.insert(id, number);
    }
    for (id, number) in ledger.accepted.clone() {
        if let Some(key) = ledger.keys.get(&number) {
            assert_eq!(accepted_id(&http, relay, number, Some(key)).await, id, "the same key gives the same job");
        }
    }
    let ids: BTreeSet<String> = ledger.accepted.keys().cloned().collect();
    assert_eq!(ids.len(), ledger.accepted.values().collect::<BTreeSet<_>>().len(), "two names for one job");
    join_all(ids.iter().map(|id| completes(&http, relay, id, ledger.accepted[id]))).await;
    let (_, list) = get(&http, relay.url(), "api/v1/jobs").await;
    for job in list.as_array().unwrap() {
        let id = job["id"].as_str().unwrap();
        if ids.contains(id) || ledger.loose.contains(id) {
            assert!(!ledger.removed.contains(id), "{id} was removed and came back");
            assert!(!ledger.cancelled.contains(id) || job["state"] == "cancelled", "{id} was cancelled and ran on");
            continue;
        }
        // Sent without a key to a relay that died before it answered: it may be there, but it is nobody else's.
        let number = number_of(job);
        assert!(!ledger.accepted.values().any(|accepted| *accepted == number), "job {number} is there twice");
    }
}

async fn accepted_id(http: &Client, relay: &Relay, number: u64, key: Option<&str>) -> String {
    loop {
        let (status, body) = send(http, relay.url(), number, key).await.unwrap();
        match status {
            StatusCode::ACCEPTED => return body["id"].as_str().unwrap().to_owned(),
            StatusCode::TOO_MANY_REQUESTS => sleep(Duration::from_millis(20)).await,
            other => panic!("{other}: {body}"),
        }
    }
}

async fn completes(http: &Client, relay: &Relay, id: &str, number: u64) {
    until(async || {
        let (status, job) = get(http, relay.url(), &format!("api/v1/jobs/{id}")).await;
        assert_eq!(status, StatusCode::OK, "job {number} was accepted as {id} and is lost");
        assert!(!["failed", "cancelled", "expired"].contains(&job["state"].as_str().unwrap()), "{job}");
        job["state"] == "completed"
    })
    .await;
    let (status, result) = get(http, relay.url(), &format!("api/v1/jobs/{id}/result")).await;
    let given = result["result"].get("stdout").unwrap_or(&result["result"]);
    assert_eq!((status, given), (StatusCode::OK, &expected(number)), "job {number}");
}

/// Removes what was audited, so that rounds do not add up to more than a relay keeps.
async fn clear(relay: &Relay, ledger: &mut Ledger) {
    let http = Client::new();
    let (_, list) = get(&http, relay.url(), "api/v1/jobs").await;
    for job in list.as_array().unwrap() {
        let id = job["id"].as_str().unwrap();
        if job["state"] == "completed" || job["state"] == "cancelled" {
            http.delete(relay.at(&format!("/api/v1/jobs/{id}"))).send().await.unwrap();
            ledger.removed.insert(id.to_owned());
            ledger.loose.insert(id.to_owned());
        }
    }
    ledger.accepted.clear();
    ledger.keys.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn kill() {
    let folder = Folder::new("drill-kill");
    let next = Arc::new(AtomicU64::new(1));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut promised = 0;
    let rounds = rounds(20);
    for round in 1..=rounds {
        let relay = Relay::start(&folder, &["--cores", "2"]);
        let submitting: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(submit_until_it_dies(relay.url().to_owned(), Arc::clone(&next), Arc::clone(&ledger))))
            .collect();
        // Any moment from before the first answer on.
        sleep(Duration::from_micros(rand::random_range(1_000..400_000))).await;
        drop(relay); // kill -9
        for task in submitting {
            task.await.unwrap();
        }
        let relay = Relay::start(&folder, &["--cores", "2"]);
        let mut books = std::mem::take(&mut *ledger.lock().unwrap());
        promised += books.accepted.len();
        audit(&relay, &mut books).await;
        clear(&relay, &mut books).await;
        *ledger.lock().unwrap() = books;
        println!("round {round} of {rounds}: {promised} jobs promised, none lost, none doubled");
    }
    assert!(promised as u64 > rounds, "the drill itself does not submit: {promised} jobs in {rounds} rounds");
}

/// A data folder whose disk can be filled and freed: a small file system where one may be mounted, else a bound on the
/// size of the relay's files.
enum Disk {
    Mounted(Folder),
    Bounded(Folder),
}

impl Disk {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(folder.path()).output();
        if mount.is_ok_and(|output| output.status.success()) { Disk::Mounted(folder) } else { Disk::Bounded(folder) }
    }

    fn folder(&self) -> &Folder {
        match self {
            Disk::Mounted(folder) | Disk::Bounded(folder) => folder,
        }
    }

    fn fill(&self, relay: &Relay) {
        match self {
            Disk::Mounted(folder) => fill(&folder.path().join("ballast")),
            Disk::Bounded(_) => bound_files(relay, "4096"),
        }
    }

    fn free(&self, relay: &Relay) {
        match self {
            Disk::Mounted(folder) => fs::remove_file(folder.path().join("ballast")).unwrap(),
            Disk::Bounded(_) => bound_files(relay, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Disk::Mounted(folder) = self {
            let _ = Command::new("umount").arg("-l").arg(folder.path()).status();
        }
    }
}

/// Writes until not one byte more fits.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for step in [64 << 10, 4 << 10, 1] {
        while file.write(&vec![0; step]).is_ok_and(|written| written == step) {}
    }
}

fn bound_files(relay: &Relay, bytes: &str) {
    let bound = format!("--fsize={bytes}:unlimited");
    let pid = relay.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, &bound]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn disk() {
    let disk = Disk::new("drill-disk");
    let http = Client::new();
    let mut ledger = Ledger::default();
    let mut next = 1;
    let mut refused = BTreeSet::new();
    let rounds = rounds(4);
    for round in 1..=rounds {
        let relay = Relay::start(disk.folder(), &["--cores", "1"]);
        for _ in 0..20 {
            let id = accepted_id(&http, &relay, next, None).await;
            ledger.accepted.insert(id, next);
            next += 1;
        }
        disk.fill(&relay);
        send_until_refused(&http, &relay, &mut ledger, &mut refused, &mut next).await;
        // Who was promised a job hears so again.
        if let Some((number, key)) = ledger.keys.last_key_value() {
            let (status, said) = send(&http, relay.url(), *number, Some(key)).await.unwrap();
            assert_eq!((status, said["id"].as_str()), (StatusCode::ACCEPTED, ledger.id_of(*number)), "{said}");
        }
        let (status, health) = get(&http, relay.url(), "healthz").await;
        assert_eq!((status, &health["store"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failing")), "{health}");
        assert!(health["reason"].as_str().unwrap().contains("is full"), "{health}");
        if round % 2 == 0 {
            // It dies meanwhile.
            let folder = disk.folder();
            if let Disk::Mounted(_) = &disk {
                drop(relay);
                // It starts on the full disk too, and tells what it keeps.
                let relay = Relay::start(folder, &["--cores", "1"]);
                let (_, list) = get(&http, relay.url(), "api/v1/jobs").await;
                let known = list.as_array().unwrap().first().unwrap()["id"].as_str().unwrap().to_owned();
                let gone = http.delete(relay.at(&format!("/api/v1/jobs/{known}"))).send().await.unwrap();
                if gone.status() == StatusCode::INSUFFICIENT_STORAGE {
                    let text = gone.text().await.unwrap();
                    assert!(text.contains("removed") || text.contains("cancelled"), "{text}");
                }
                ledger.accepted.remove(&known);
                drop(relay);
                fs::remove_file(folder.path().join("ballast")).unwrap();
                audit_round(&disk, &mut ledger, &refused, round, rounds).await;
                continue;
            }
        }
        disk.free(&relay);
        until(async || http.get(relay.at("/healthz")).send().await.unwrap().status() == StatusCode::OK).await;
        let id = accepted_id(&http, &relay, next, None).await;
        ledger.accepted.insert(id, next);
        next += 1;
        nothing_refused_is_there(&http, &relay, &refused).await;
        drop(relay);
        audit_round(&disk, &mut ledger, &refused, round, rounds).await;
    }
}

/// Sends jobs: what still fits into the file is taken, and then nothing is.
async fn send_until_refused(
    http: &Client,
    relay: &Relay,
    ledger: &mut Ledger,
    refused: &mut BTreeSet<u64>,
    next: &mut u64,
) {
    let mut refusals = 0;
    while refusals < 20 {
        let key = format!("key-{next}");
        let answer = http.post(relay.at("/api/v1/jobs")).header("idempotency-key", &key).body(body(*next));
        let answer = answer.send().await.unwrap();
        if answer.status() == StatusCode::ACCEPTED {
            let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            ledger.accepted.insert(answer["id"].as_str().unwrap().to_owned(), *next);
            ledger.keys.insert(*next, key);
        } else {
            assert_eq!(refusal(answer).await, (StatusCode::INSUFFICIENT_STORAGE, "store_full".into()));
            refused.insert(*next);
            refusals += 1;
        }
        *next += 1;
    }
}

async fn audit_round(disk: &Disk, ledger: &mut Ledger, refused: &BTreeSet<u64>, round: u64, rounds: u64) {
    let relay = Relay::start(disk.folder(), &["--cores", "1"]);
    audit(&relay, ledger).await;
    nothing_refused_is_there(&Client::new(), &relay, refused).await;
    let promised = ledger.accepted.len();
    let relay = if let Disk::Mounted(folder) = disk {
        relay.stop();
        starts_on_a_disk_that_filled_up_after_a_clean_stop(folder, ledger).await
    } else {
        relay
    };
    clear(&relay, ledger).await;
    println!("round {round} of {rounds}: {promised} jobs promised and kept, {} refused and not there", refused.len());
}

/// There is no log then, and no room to make one.
async fn starts_on_a_disk_that_filled_up_after_a_clean_stop(folder: &Folder, ledger: &Ledger) -> Relay {
    assert!(!folder.path().join("p2pnet.sqlite-wal").exists(), "that was no clean stop");
    fill(&folder.path().join("ballast"));
    let http = Client::new();
    let relay = Relay::start(folder, &["--cores", "1"]);
    // Also before anybody has tried to write.
    let (status, health) = get(&http, relay.url(), "healthz").await;
    assert_eq!((status, &health["store"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failing")), "{health}");
    for (id, number) in &ledger.accepted {
        completes(&http, &relay, id, *number).await;
    }
    for key in [None, Some("key")] {
        let (status, said) = send(&http, relay.url(), 1, key).await.unwrap();
        assert_eq!(
            (status, &said["error"]["code"]),
            (StatusCode::INSUFFICIENT_STORAGE, &json!("store_full")),
            "{said}"
        );
    }
    let (status, health) = get(&http, relay.url(), "healthz").await;
    assert_eq!((status, &health["store"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failing")), "{health}");
    fs::remove_file(folder.path().join("ballast")).unwrap();
    until(async || http.get(relay.at("/healthz")).send().await.unwrap().status() == StatusCode::OK).await;
    relay
}

/// Compiled kernels, and those that no job uses, go before a job is refused.
#[tokio::test(flavor = "multi_thread")]
async fn caches() {
    let disk = Disk::new("drill-caches");
    let folder = disk.folder();
    let compiled = folder.path().join("compiled").join("process");
    let relay = Relay::start(folder, &["--no-provider"]);
    let http = Client::new();
    fs::create_dir_all(&compiled).unwrap();
    fs::write(compiled.join("one.compiled"), vec![0; 3 << 20]).unwrap();
    // Each with a section that means nothing, so that it is another one.
    let module = |n: u8| [&p2pnet_test_kernels::echo(), &b"\0\x81\x80\x0f\0"[..], &vec![n; 0x3_c000]].concat();
    let put = async |n: u8| {
        let request = http.put(relay.at("/api/v1/kernels")).header("content-type", "application/wasm");
        request.body(module(n)).send().await.unwrap().status()
    };
    for n in 0..8 {
        assert_eq!(put(n).await, StatusCode::OK);
    }
    disk.fill(&relay);
    if let Disk::Mounted(_) = &disk {
        // Of the small kind, a hundred of which fit into what compiled kernels take.
        for number in (4..=400).step_by(4) {
            let (status, said) = send(&http, relay.url(), number, None).await.unwrap();
            assert_eq!(status, StatusCode::ACCEPTED, "job {number}: {said}");
        }
        assert!(!compiled.join("one.compiled").exists());
    }
    disk.free(&relay);
    until(async || http.get(relay.at("/healthz")).send().await.unwrap().status() == StatusCode::OK).await;
    assert_eq!(put(9).await, StatusCode::OK);
}

/// A job that is too large for what room there is takes none of it from those that are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_fit_leaves_the_room_to_those_that_do() {
    let disk = Disk::new("drill-large");
    let Disk::Mounted(folder) = &disk else {
        println!("no file system can be mounted here: what there is room for is not told by a bound on files");
        return;
    };
    let relay = Relay::start(folder, &["--cores", "1"]);
    let http = Client::new();
    fs::write(folder.path().join("ballast"), vec![0; 6 << 20]).unwrap();
    let large = format!(r#"{{"kind":"map","data":[{}1],"map":"x+1"}}"#, "1234567,".repeat(700_000));
    for number in 1..=40 {
        let answer = http.post(relay.at("/api/v1/jobs")).body(large.clone()).header("content-type", "application/json");
        assert_eq!(
            refusal(answer.send().await.unwrap()).await,
            (StatusCode::INSUFFICIENT_STORAGE, "store_full".into())
        );
        let id = accepted_id(&http, &relay, 4 * number, None).await;
        completes(&http, &relay, &id, 4 * number).await;
        let (status, health) = get(&http, relay.url(), "healthz").await;
        assert_eq!(status, StatusCode::OK, "after {number}: {health}");
    }
}

/// A result that is too large for what room there is waits for more, and nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_does_not_fit_leaves_the_room_to_those_that_do() {
    let disk = Disk::new("drill-result");
    let Disk::Mounted(folder) = &disk else {
        println!("no file system can be mounted here: what there is room for is not told by a bound on files");
        return;
    };
    let relay = Relay::start(folder, &["--cores", "1"]);
    let http = Client::new();
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![0; 11 << 19]).unwrap();
    // A column times a row: many numbers come of few, and as text they are twice as long as in the parts of the job.
    let (a, b) = (vec![[1]; 500], [vec![0.123_456_789_012_345_67; 500]]);
    let product = json!({"kind": "matrix", "op": "multiply", "a": a, "b": b}).to_string();
    let request = http.post(relay.at("/api/v1/jobs")).header("content-type", "application/json");
    let answer = request.body(product).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let large = answer["id"].as_str().unwrap();
    let large_completes = async |relay: &Relay| {
        until(async || get(&http, relay.url(), &format!("api/v1/jobs/{large}")).await.1["state"] == "completed").await;
        let (status, result) = get(&http, relay.url(), &format!("api/v1/jobs/{large}/result")).await;
        assert_eq!(status, StatusCode::OK);
        let rows = result["result"].as_array().unwrap();
        assert!(rows.len() == 500 && rows.iter().all(|row| row.as_array().unwrap().len() == 500));
    };
    let waits = async |relay: &Relay| {
        until(async || get(&http, relay.url(), "healthz").await.1["store"] == "waiting").await;
        let (status, health) = get(&http, relay.url(), "healthz").await;
        assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("ok")), "{health}");
        assert!(health["reason"].as_str().unwrap().contains("has no room for"), "{health}");
    };
    large_completes(&relay).await;
    waits(&relay).await;
    let mut small = Vec::new();
    for number in (4..=80).step_by(4) {
        let id = accepted_id(&http, &relay, number, None).await;
        completes(&http, &relay, &id, number).await;
        small.push((id, number));
    }
    let (gone, _) = small.pop().unwrap();
    let removed = http.delete(relay.at(&format!("/api/v1/jobs/{gone}"))).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    // It dies meanwhile, and the large one goes on.
    drop(relay);
    let relay = Relay::start(folder, &["--cores", "1"]);
    for (id, number) in &small {
        completes(&http, &relay, id, *number).await;
    }
    assert_eq!(get(&http, relay.url(), &format!("api/v1/jobs/{gone}")).await.0, StatusCode::NOT_FOUND);
    large_completes(&relay).await;
    waits(&relay).await;
    fs::remove_file(ballast).unwrap();
    until(async || get(&http, relay.url(), "healthz").await.1["store"] == "ok").await;
    drop(relay);
    let relay = Relay::start(folder, &["--no-provider"]);
    large_completes(&relay).await;
}

/// A loss of power takes what was written but not yet brought to the disk; so none of that is promised.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_brought_to_the_disk_is_not_promised() {
    let folder = Folder::new("drill-power");
    let http = Client::new();
    let mut ledger = Ledger::default();
    let relay = start_on_a_bad_disk(&folder);
    for number in 1..=4 {
        ledger.accepted.insert(accepted_id(&http, &relay, number, None).await, number);
    }
    fs::write(folder.path().join("broken"), "").unwrap();
    for (number, key) in (5..=8).zip([None, Some("one"), None, Some("two")]) {
        let (status, said) = send(&http, relay.url(), number, key).await.unwrap();
        assert_eq!(
            (status, &said["error"]["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("store_failed")),
            "{said}"
        );
    }
    drop(relay);
    let relay = Relay::start(&folder, &["--cores", "1"]);
    audit(&relay, &mut ledger).await;
    // What was written may have come to the disk all the same; under its key it is there once.
    for (number, key) in [(6, "one"), (8, "two")] {
        ledger.accepted.insert(accepted_id(&http, &relay, number, Some(key)).await, number);
    }
    audit(&relay, &mut ledger).await;
}

/// What holds a key for long is a disk that does not answer.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_few_wait_for_a_key_each_for_half_a_minute_at_most_and_none_that_hung_up() {
    let folder = Folder::new("drill-key");
    let http = Client::new();
    let relay = start_on_a_bad_disk(&folder);
    let stuck = folder.path().join("stuck");
    fs::write(&stuck, "").unwrap();
    let (address, key) = (relay.url().to_owned(), Some("one"));
    let ask = || {
        let (http, address) = (http.clone(), address.clone());
        tokio::spawn(async move { send(&http, &address, 1, key).await.unwrap() })
    };
    let first = ask();
    sleep(Duration::from_millis(500)).await;
    let asked: Vec<_> = (0..12).map(|_| ask()).collect();
    // Eight of them wait; the others are told at once that they would be too many.
    until(async || asked.iter().filter(|ask| ask.is_finished()).count() == 4).await;
    let (refused, waiting): (Vec<_>, Vec<_>) = asked.into_iter().partition(|ask| ask.is_finished());
    let says = |(status, answer): (StatusCode, Value), text: &str| {
        assert_eq!((status, &answer["error"]["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
        assert!(answer["error"]["message"].as_str().unwrap().contains(text), "{answer}");
    };
    for answer in refused {
        says(answer.await.unwrap(), "Idempotency-Key");
    }
    // Who hangs up makes room.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until(async || timeout(Duration::from_secs(1), send(&http, &address, 1, key)).await.is_err()).await;
    let start = Instant::now();
    says(timeout(Duration::from_secs(60), ask()).await.unwrap().unwrap(), "as many jobs are on their way");
    assert!(start.elapsed() > Duration::from_secs(25), "it waits for a while");
    // What had begun was never given up.
    fs::remove_file(stuck).unwrap();
    let (status, taken) = first.await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{taken}");
    assert_eq!(send(&http, &address, 1, key).await.unwrap(), (status, taken));
}

/// A relay whose disk is broken once there is a file `broken` in its folder, and does not answer while there is one `stuck`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn start_on_a_bad_disk(folder: &Folder) -> Relay {
    let [broken, stuck, library, source] =
        ["broken", "stuck", "fsync.so", "fsync.c"].map(|name| folder.path().join(name));
    let text = FSYNC.replace("BROKEN", broken.to_str().unwrap()).replace("STUCK", stuck.to_str().unwrap());
    fs::write(&source, text).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(built.success());
    Relay::start_after(&format!("export LD_PRELOAD={}", library.display()), folder)
}

/// Stands before the system's call in a process: as on a disk that is broken, or does not answer, while a file is there.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FSYNC: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static int bring(long call, int file) {
        while (access("STUCK", F_OK) == 0) usleep(10000);
        if (access("BROKEN", F_OK) != 0) return (int) syscall(call, file);
        errno = EIO;
        return -1;
    }
    int fsync(int file) { return bring(SYS_fsync, file); }
    int fdatasync(int file) { return bring(SYS_fdatasync, file); }
"#;

async fn nothing_refused_is_there(http: &Client, relay: &Relay, refused: &BTreeSet<u64>) {
    let (_, list) = get(http, relay.url(), "api/v1/jobs").await;
    for job in list.as_array().unwrap() {
        let number = number_of(job);
        assert!(!refused.contains(&number), "job {number} was refused and is there");
    }
}
