//! A relay that keeps many jobs that are over: it starts as soon as one that keeps none, and knows them all.
//!
//! `cargo xtask drill start --rounds N` does it with so many thousand jobs, and prints what that takes.
#![expect(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    env, fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use p2pnet_shared::{
    id::{Holder, JobId, NodeId},
    job::{Job, kinds},
    kernel::REWRITE_VERSION,
    node::{Effect, HostOrder, Input, Keep, Node, NodeConfig},
    store::{Change, StoreKey},
    units::Moment,
    wire::Role,
};
use reqwest::Client;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{Folder, Relay, post_job, until};

const JOB: &str = r#"{"kind":"map","data":[1,2],"map":"x","name":"many"}"#;

fn id(number: u64) -> JobId {
    let mut id = JobId([0; 16]);
    id.0[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

/// What a node keeps of a job that was cancelled at once.
fn ended(node: &mut Node, number: u64, job: Job, now: Moment) -> Vec<Change> {
    node.handle(now, Input::Submitted { id: id(number), job: Box::new(job) });
    while node.poll_effect().is_some() {}
    node.handle(now, Input::Cancelled { id: id(number) });
    let (mut kept, mut tokens) = (Vec::new(), Vec::new());
    while let Some(effect) = node.poll_effect() {
        if let Effect::Host(HostOrder::Keep { token, changes }) = effect {
            kept.extend(changes);
            tokens.push(token);
        }
    }
    for token in tokens {
        node.handle(now, Input::Kept { token });
    }
    kept
}

/// Puts so many jobs that are over into the database of a relay that does not run.
async fn fill(folder: &Folder, jobs: u64, holder: Holder) {
    let options = SqliteConnectOptions::new().filename(folder.path().join("p2pnet.sqlite"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let mut node = Node::new(NodeConfig {
        me: NodeId([1; 32]),
        role: Role::Seed,
        agent: String::new(),
        seed: [7; 32],
        keep: Keep::default(),
        can_rest: true,
        rewrite: REWRITE_VERSION,
    });
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    for number in 0..jobs {
        let mut job = kinds::read(JOB, &|_| None).unwrap();
        job.holder = holder;
        for (key, record) in ended(&mut node, number, job, Moment(now - 3_600_000 - jobs + number)) {
            let Some(record) = record else { continue };
            let put = sqlx::query("INSERT INTO records (key, part, bytes) VALUES (?, 0, ?)");
            put.bind(key.to_bytes()).bind(record).execute(&mut connection).await.unwrap();
        }
    }
    sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Whose jobs are that somebody here sends without a token.
async fn holder(folder: &Folder, job: &str) -> Holder {
    let options = SqliteConnectOptions::new().filename(folder.path().join("p2pnet.sqlite"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let key = StoreKey::Over(job.parse().unwrap());
    let query = sqlx::query_scalar("SELECT bytes FROM records WHERE key = ?").bind(key.to_bytes());
    let record: Vec<u8> = query.fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let owner = p2pnet_shared::store::open(key, 1, &record).unwrap().owner;
    Holder::of(owner)
}

/// How many jobs a relay says that it keeps in a state.
async fn counted(relay: &Relay, state: &str) -> u64 {
    let metrics = reqwest::get(relay.at("/metrics")).await.unwrap().text().await.unwrap();
    let line = format!("p2pnet_jobs{{state=\"{state}\"}} ");
    metrics.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
}

/// Memory of a process, in MiB, where the system tells.
fn resident(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 10
}

#[tokio::test]
async fn start() {
    let thousands = env::var("P2PNET_DRILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    // With one of its own, so many thousand: a relay keeps no more than a hundred thousand.
    let jobs: u64 = 1_000 * thousands - 1;
    let folder = Folder::new("start");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let mine = post_job(&relay, JOB).await;
    let http = Client::new();
    http.delete(relay.at(&format!("/api/v1/jobs/{mine}"))).send().await.unwrap().error_for_status().unwrap();
    let before = resident(&relay);
    relay.stop();
    let holder = holder(&folder, &mine).await;
    fill(&folder, jobs, holder).await;

    let begun = Instant::now();
    let relay = Relay::start(&folder, &["--no-provider"]);
    reqwest::get(relay.at("/healthz")).await.unwrap().error_for_status().unwrap();
    let started = begun.elapsed();
    // What is asked of all of them is answered once they are known.
    assert_eq!(counted(&relay, "cancelled").await, jobs + 1);
    let loaded = begun.elapsed();
    let memory = resident(&relay);
    println!("{jobs} jobs that are over: answers after {started:?}, knows all after {loaded:?}");
    println!("memory: {before} MiB with none, {memory} MiB with all");

    // The oldest and the newest, by name and in lists.
    for number in [0, jobs - 1] {
        let path = format!("/api/v1/jobs/{}", id(number));
        assert_eq!(relay.get(&path).await["name"], "many");
        let result = reqwest::get(relay.at(&format!("{path}/result"))).await.unwrap().text().await.unwrap();
        assert!(result.contains("the job was cancelled"), "{result}");
    }
    let listed: Value = relay.get("/api/v1/jobs?limit=2&state=cancelled&name=many").await;
    assert_eq!(listed[0]["id"], mine.as_str(), "{listed}");
    assert_eq!(listed[1]["id"], id(jobs - 1).to_string(), "{listed}");
    let behind = relay.get(&format!("/api/v1/jobs?before={}&limit=5", id(5))).await;
    let ids: Vec<&str> = behind.as_array().unwrap().iter().filter_map(|job| job["id"].as_str()).collect();
    assert_eq!(ids, (0..5).rev().map(|number| id(number).to_string()).collect::<Vec<_>>());
    let none = relay.get("/api/v1/jobs?name=other").await;
    assert_eq!(none.as_array().unwrap().len(), 0, "all of them are looked at");

    // One that goes is gone, also after the next start.
    let gone = format!("/api/v1/jobs/{}", id(1));
    http.delete(relay.at(&gone)).send().await.unwrap().error_for_status().unwrap();
    until(async || counted(&relay, "cancelled").await == jobs).await;
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    assert_eq!(counted(&relay, "cancelled").await, jobs);
    assert_eq!(reqwest::get(relay.at(&gone)).await.unwrap().status(), reqwest::StatusCode::NOT_FOUND);
    relay.stop();
}
