//! What readers cost a relay: the memory of its process while many of them read one large result slowly.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used)]

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

/// Where a relay's HTTP port is.
fn address(relay: &Relay) -> String {
    relay.url().trim_start_matches("http://").trim_end_matches('/').replace("localhost", "127.0.0.1")
}

/// A reader that has taken the first bytes of the answer and no more.
fn begin_to_read(relay: &Relay, path: &str) -> TcpStream {
    begin_to_read_as(relay, path, "*/*")
}

fn begin_to_read_as(relay: &Relay, path: &str, accept: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(relay)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: relay\r\nAccept: {accept}\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert!([b"HTTP/1.1 200", b"HTTP/1.1 409"].contains(&&first), "{}", String::from_utf8_lossy(&first));
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

#[cfg(target_env = "gnu")]
#[tokio::test]
async fn what_large_jobs_took_goes_back_to_the_system() {
    let folder = Folder::new("given-back");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let before = resident(relay.id());
    let data = (0..1_500_000).map(|n: u32| n.to_string()).collect::<Vec<_>>().join(",");
    let job = format!(r#"{{"kind":"map_reduce","data":[{data}],"map":"x","reduce":"sum"}}"#);
    for _ in 0..3 {
        // From several networks: each address has only so much at once.
        let jobs = (1..=6).map(|network| {
            let (base, job) = (relay.url().trim_end_matches('/').to_owned(), job.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                let from =
                    |request: reqwest::RequestBuilder| request.header("x-forwarded-for", format!("10.{network}.0.1"));
                let post =
                    client.post(format!("{base}/api/v1/jobs")).header("content-type", "application/json").body(job);
                let posted: serde_json::Value = from(post).send().await.unwrap().json().await.unwrap();
                let result = format!("{base}/api/v1/jobs/{}/result?wait=50", posted["id"].as_str().unwrap());
                from(client.get(result)).send().await.unwrap().status()
            })
        });
        for status in futures::future::join_all(jobs).await {
            assert_eq!(status.unwrap(), 200);
        }
    }
    support::until(async || resident(relay.id()) < before + (64 << 20)).await;
}

/// Begins to read in brotli: whether the answer is compressed, and the reader.
fn begin_to_read_compressed(relay: &Relay, path: &str) -> (bool, TcpStream) {
    let mut stream = TcpStream::connect(address(relay)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: relay\r\nAccept-Encoding: br\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut next = [0];
        stream.read_exact(&mut next).unwrap();
        head.extend(next);
    }
    (String::from_utf8(head).unwrap().contains("content-encoding: br"), stream)
}

#[tokio::test]
async fn one_address_has_only_so_many_answers_compressed_at_once_and_gets_the_others_as_they_are() {
    let folder = Folder::new("compressed");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    // Numbers that do not shrink to what the sockets between hold.
    let data = (0..NUMBERS as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1).to_string());
    let data = data.collect::<Vec<_>>().join(",");
    let job = format!(r#"{{"kind":"map","data":[{data}],"map":"x*9223372036854775783"}}"#);
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    let path = format!("/api/v1/jobs/{id}/result");
    let whole = rest_of(begin_to_read(&relay, &path));
    let mut readers: Vec<(bool, TcpStream)> = (0..40).map(|_| begin_to_read_compressed(&relay, &path)).collect();
    let compressed = readers.iter().filter(|(is_compressed, _)| *is_compressed).count();
    assert_eq!(compressed, 24);
    let (_, mut as_it_is) = readers.pop().unwrap();
    let mut body = Vec::new();
    as_it_is.read_to_end(&mut body).unwrap();
    assert!(body == whole, "the others get it as it is");
    drop(readers);
    support::until(async || begin_to_read_compressed(&relay, &path).0).await;
}

/// Copies its input to standard output and to standard error, and fails.
const SHOUTING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 256)
    (func (export "_start") (local $count i32)
        (loop $more
            (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 15000000))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $count (i32.load (i32.const 8)))
            (i32.store (i32.const 4) (local.get $count))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12)))
            (br_if $more (local.get $count)))
        (call $exit (i32.const 1))))"#;

/// 12 MB that are no text, nor alike anywhere.
fn large_input() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..12 << 20).map(|_| next()).collect()
}

/// Many readers begin one after the other, take little memory, and then all of them, the first one too, get `whole`.
fn read_by_many(relay: &Relay, path: &str, accept: &str, whole: &[u8]) {
    assert!(rest_of(begin_to_read_as(relay, path, accept)) == whole, "{path}");
    let before = resident(relay.id());
    let readers: Vec<TcpStream> = (0..READERS).map(|_| begin_to_read_as(relay, path, accept)).collect();
    let during = resident(relay.id()).saturating_sub(before);
    assert!(during < MOST_GROWTH, "{path}: {READERS} readers took {} MiB", during >> 20);
    for reader in readers {
        assert!(rest_of(reader) == whole, "{path}: every reader gets all of it");
    }
}

#[tokio::test]
async fn many_slow_readers_of_a_kernels_bytes_take_a_part_of_them_each_and_none_is_cut_off() {
    let folder = Folder::new("unread");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let (kernel, input) = (p2pnet_test_kernels::echo(), large_input());
    let job = json!({"kind": "kernel", "kernel": STANDARD.encode(kernel), "input": STANDARD.encode(&input),
        "split": "bytes:32768", "merge": "concat"})
    .to_string();
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    read_by_many(&relay, &format!("/api/v1/jobs/{id}/result"), "application/octet-stream", &input);
}

#[tokio::test]
async fn many_slow_readers_of_what_a_program_put_out_take_a_part_of_it_each_and_none_is_cut_off() {
    let folder = Folder::new("streams");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let (module, input) = (wat::parse_str(SHOUTING).unwrap(), large_input());
    let job = json!({"kind": "command", "module": STANDARD.encode(module), "input": STANDARD.encode(&input),
        "split": "none", "policy": {"retries": 0}})
    .to_string();
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "failed").await;
    let path = format!("/api/v1/jobs/{id}/result");
    let whole = reqwest::get(relay.at(&path)).await.unwrap().bytes().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!((&answer["error"]["code"], &answer["result"]["failed_total"]), (&json!("no_result"), &json!(1)));
    assert!(answer["result"]["stdout"] == STANDARD.encode(&input));
    let errors = STANDARD.decode(answer["result"]["stderr_base64"].as_str().unwrap()).unwrap();
    assert!(
        errors.len() > 1 << 19 && errors.starts_with(&input[..1 << 18]) && input.ends_with(&errors[errors.len() - 9..])
    );
    let (output_path, errors_path) = (format!("{path}/stdout"), format!("{path}/stderr"));
    for (path, whole) in [(&path, &*whole), (&output_path, &input), (&errors_path, &errors)] {
        read_by_many(&relay, path, "*/*", whole);
        let http = reqwest::Client::new();
        let head = http.head(relay.at(path)).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], whole.len().to_string(), "{path}");
        let packed = http.get(relay.at(path)).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(
            (&packed.headers()["content-encoding"], packed.headers().get("content-length")),
            (&"gzip".parse().unwrap(), None)
        );
        let mut unpacked = Vec::new();
        let packed = packed.bytes().await.unwrap();
        flate2::read::MultiGzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == whole, "{path}");
    }
    // Its parts are read from the disk after a restart, where nobody has looked through it yet.
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    read_by_many(&relay, &errors_path, "*/*", &errors);
    read_by_many(&relay, &output_path, "*/*", &input);
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
