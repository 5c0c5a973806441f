//! What readers cost a relay: the memory of its process while many of them read one large result slowly.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use support::{Folder, Relay, post_job, wait_for};

/// Numbers of 39 digits, each in quotes and with a comma: together 12 MB of JSON.
const NUMBERS: usize = 300_000;
const READERS: usize = 30;
/// Less than three copies of the result, and more than the readers' buffers take.
const MOST_GROWTH: u64 = 32 << 20;

/// Resident bytes of a process.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A reader that has taken the first bytes of the answer and no more.
fn begin_to_read(relay: &Relay, path: &str) -> TcpStream {
    begin_to_read_as(relay, path, "*/*")
}

fn begin_to_read_as(relay: &Relay, path: &str, accept: &str) -> TcpStream {
    let address = relay.url().trim_start_matches("http://").trim_end_matches('/').replace("localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: relay\r\nAccept: {accept}\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stream
}

fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let body = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    rest.split_off(body)
}

#[tokio::test]
async fn many_slow_readers_of_a_large_result_take_a_part_of_it_each() {
    let folder = Folder::new("readers");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let data = vec!["1"; NUMBERS].join(",");
    let job = format!(r#"{{"kind":"map","data":[{data}],"map":"x*170141183460469231731687303715884105727"}}"#);
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    let path = format!("/api/v1/jobs/{id}/result");
    let whole = rest_of(begin_to_read(&relay, &path));
    assert_eq!(whole.len(), "{\"result\":[]}".len() + NUMBERS * 42 - 1);
    let before = resident(relay.id());
    let readers: Vec<TcpStream> = (0..READERS).map(|_| begin_to_read(&relay, &path)).collect();
    let during = resident(relay.id());
    assert!(during < before + MOST_GROWTH, "{READERS} readers took {} MiB", (during - before) >> 20);
    for reader in readers {
        assert!(rest_of(reader) == whole, "every reader gets all of it");
    }
}

/// A kernel's output of 12 MB, whose bytes are made whole for each reader: together they would take 480 MB.
#[tokio::test]
async fn readers_that_take_nothing_hold_no_more_than_a_share_and_the_last_one_gets_all() {
    const BYTES: usize = 12 << 20;
    let folder = Folder::new("unread");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let (kernel, input) = (p2pnet_test_kernels::echo(), vec![7; BYTES]);
    let job = json!({"kind": "kernel", "kernel": STANDARD.encode(kernel), "input": STANDARD.encode(&input),
        "split": "bytes:32768", "merge": "concat"})
    .to_string();
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    let path = format!("/api/v1/jobs/{id}/result");
    let read = || begin_to_read_as(&relay, &path, "application/octet-stream");
    assert!(rest_of(read()) == input);
    let before = resident(relay.id());
    let mut readers: Vec<TcpStream> = (0..40).map(|_| read()).collect();
    let during = resident(relay.id());
    // The share of an address is 64 MiB; opening one more takes its text and its bytes.
    assert!(during < before + (160 << 20), "40 readers hold {} MiB", (during - before) >> 20);
    let first = readers.remove(0);
    assert!(rest_of(readers.pop().unwrap()) == input, "the last one gets all of it");
    let mut rest = Vec::new();
    // An error or an early end: it made room for others.
    let _ = (&first).read_to_end(&mut rest);
    assert!(rest.len() < BYTES);
}

#[tokio::test]
async fn a_list_ends_a_page_where_its_bytes_do() {
    let folder = Folder::new("long-list");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let labels: serde_json::Map<String, serde_json::Value> =
        (0..32).map(|n| (format!("key-{n}"), json!("я".repeat(255)))).collect();
    let job = json!({"kind": "map", "data": [1], "map": "x", "labels": labels}).to_string();
    for _ in 0..100 {
        post_job(&relay, job.clone()).await;
    }
    let (mut query, mut seen) = (String::new(), std::collections::BTreeSet::new());
    loop {
        let answer = reqwest::get(relay.at(&format!("/api/v1/jobs{query}"))).await.unwrap();
        let next = answer.headers().get("x-next-cursor").map(|next| format!("?cursor={}", next.to_str().unwrap()));
        let text = answer.text().await.unwrap();
        assert!(text.len() <= 1 << 20);
        let jobs: serde_json::Value = serde_json::from_str(&text).unwrap();
        seen.extend(jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        match next {
            Some(next) => query = next,
            None => break,
        }
    }
    assert_eq!(seen.len(), 100);
    assert!(!query.is_empty(), "there was more than one page");
}

#[tokio::test]
async fn results_are_read_from_the_store_after_a_restart_too() {
    let folder = Folder::new("stored");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let id = post_job(&relay, r#"{"kind":"range_reduce","start":1,"end":1000,"map":"x","reduce":"sum"}"#).await;
    let before = wait_for(&relay, &id, "completed").await;
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    let after = relay.get(&format!("/api/v1/jobs/{id}")).await;
    for field in ["state", "source", "attempts", "nodes", "progress", "created_at", "finished_at", "elapsed"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"], 500_500);
}

#[tokio::test]
async fn of_too_many_results_the_oldest_go() {
    let folder = Folder::new("keep");
    let relay = Relay::start(&folder, &["--cores", "1", "--keep-mib", "1"]);
    let data = vec!["1"; 10_000].join(",");
    let job = format!(r#"{{"kind":"map","data":[{data}],"map":"x*170141183460469231731687303715884105727"}}"#);
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = post_job(&relay, job.clone()).await;
        wait_for(&relay, &id, "completed").await;
        ids.push(id);
    }
    let list = relay.get("/api/v1/jobs").await;
    let listed: Vec<&str> = list.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    // Each takes 0.4 MB: two fit.
    assert_eq!(listed, [ids[3].as_str(), ids[2].as_str()]);
    let gone = reqwest::get(relay.at(&format!("/api/v1/jobs/{}/result", ids[0]))).await.unwrap();
    assert_eq!(gone.status(), 404);
}
