//! Inputs and outputs of tens of megabytes: what is promised works, by HTTP and by the command line, and what is beyond it is
//! refused at once and by a name.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{fs, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use reqwest::{Client, header};
use serde_json::{Value, json};
use support::{Folder, Relay, cli, post_job, until, wait_for};

const MIB: usize = 1 << 20;
/// A kernel that answers with its input, and has room for much.
const ECHO: &str = r#"(module (memory (export "memory") 800)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;

/// Bytes that do not shrink.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(len / 8).flatten().collect()
}

/// A kernel that answers with its first megabytes of memory, as they are: zeros.
fn zeros(mib: usize) -> String {
    let text = format!(
        r#"(module (memory (export "memory") 1100)
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "run") (param i32 i32) (result i64) (i64.const {})))"#,
        mib * MIB
    );
    json!({"kind": "kernel", "kernel": STANDARD.encode(wat::parse_str(text).unwrap()), "input": "",
        "policy": {"retries": 3}})
    .to_string()
}

#[tokio::test]
async fn the_largest_input_goes_by_http_and_by_the_command_line_though_it_does_not_shrink() {
    let folder = Folder::new("large-input");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let input = noise(46 * MIB);
    let kernel = wat::parse_str(ECHO).unwrap();
    let job =
        json!({"kind": "kernel", "kernel": STANDARD.encode(&kernel), "input": STANDARD.encode(&input)}).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(3));
    gzip.write_all(job.as_bytes()).unwrap();
    let request = Client::new().post(relay.at("/api/v1/jobs")).header(header::CONTENT_ENCODING, "gzip");
    let answer = request.body(gzip.finish().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let id = serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()["id"].as_str().unwrap().to_owned();
    wait_for(&relay, &id, "completed").await;
    let bytes = Client::new().get(relay.at(&format!("/api/v1/jobs/{id}/result")));
    let bytes = bytes.header(header::ACCEPT, "application/octet-stream").send().await.unwrap().bytes().await.unwrap();
    assert!(bytes == input, "what came back is what was sent");

    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("echo.wasm"), &kernel).unwrap();
    fs::write(file("in"), &input).unwrap();
    let (url, module, given, out) = (relay.at(""), file("echo.wasm"), file("in"), file("out"));
    let run = ["job", "run", "--wait", "--kind", "kernel", "--kernel", &module, "--input", &given, "--output", &out];
    let (code, _, err) = cli(&[&run[..], &["--url", &url]].concat(), "");
    assert_eq!(code, 0, "{err}");
    assert!(fs::read(&out).unwrap() == input, "what came back is what was sent");

    // A module that the relay has already may be named by its hash, which could be read as base64 as well.
    let put = Client::new().put(relay.at("/api/v1/kernels")).header(header::CONTENT_TYPE, "application/wasm");
    let kept: Value = serde_json::from_str(&put.body(kernel).send().await.unwrap().text().await.unwrap()).unwrap();
    let hash = kept["hash"].as_str().unwrap().to_owned();
    fs::remove_file(&out).unwrap();
    let named = run.map(|word| if word == module { hash.as_str() } else { word });
    let (code, _, err) = cli(&[&named[..], &["--url", &url]].concat(), "");
    assert_eq!(code, 0, "{err}");
    assert!(fs::read(&out).unwrap() == input, "what came back is what was sent");
}

#[tokio::test]
async fn outputs_up_to_what_a_result_holds_arrive_and_longer_ones_are_refused_at_once_by_name() {
    let folder = Folder::new("large-output");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let id = post_job(&relay, zeros(47)).await;
    wait_for(&relay, &id, "completed").await;
    let bytes = Client::new().get(relay.at(&format!("/api/v1/jobs/{id}/result")));
    let bytes = bytes.header(header::ACCEPT, "application/octet-stream").send().await.unwrap().bytes().await.unwrap();
    assert!(bytes.len() == 47 * MIB && bytes.iter().all(|byte| *byte == 0));
    for (mib, bound) in [(60, "48 MiB"), (65, "64 MiB")] {
        let id = post_job(&relay, zeros(mib)).await;
        let status = wait_for(&relay, &id, "failed").await;
        let error = &status["error"];
        assert_eq!(error["code"], "too_large", "{status}");
        assert!(error["message"].as_str().unwrap().contains(bound), "{status}");
    }
}

#[tokio::test]
async fn a_worker_that_ended_between_two_runs_costs_nobody_an_attempt() {
    let folder = Folder::new("dead-worker");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let job = || {
        let mut job: Value = serde_json::from_str(&zeros(1)).unwrap();
        job["policy"] = json!({"retries": 0});
        post_job(&relay, job.to_string())
    };
    wait_for(&relay, &job().await, "completed").await;
    let workers = relay.children();
    assert!(!workers.is_empty(), "kernels run in processes");
    for worker in &workers {
        assert!(std::process::Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap().success());
    }
    // Until they have ended: a process that its parent has not looked after yet has no command line any more.
    let ended = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty());
    until(async || workers.iter().all(ended)).await;
    wait_for(&relay, &job().await, "completed").await;
}

/// A kernel of so many bytes and more: what is behind its code means nothing.
fn padded(kernel: &str, bytes: usize) -> Vec<u8> {
    let mut module = wat::parse_str(kernel).unwrap();
    let section = [b"\x04more".to_vec(), noise(bytes)].concat();
    // A custom section, its length in five digits of seven bits.
    module.push(0);
    module.extend((0..5).map(|digit| ((section.len() >> (7 * digit)) & 127) as u8 | if digit < 4 { 128 } else { 0 }));
    module.extend(section);
    module
}

#[tokio::test]
async fn of_many_jobs_at_once_that_name_a_large_module_no_more_are_taken_than_there_is_room_for_and_those_go_on() {
    let folder = Folder::new("large-module");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let put = http.put(relay.at("/api/v1/kernels")).header(header::CONTENT_TYPE, "application/wasm");
    let answer = put.body(padded(ECHO, 30 * MIB)).send().await.unwrap();
    let kept: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let job = json!({"kind": "kernel", "kernel": kept["hash"], "input": STANDARD.encode("hi")}).to_string();
    let send = || async {
        let request = http.post(relay.at("/api/v1/jobs")).header(header::CONTENT_TYPE, "application/json");
        let answer = request.body(job.clone()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    let answers = futures::future::join_all((0..12).map(|_| send())).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 202);
    assert_eq!(taken.len(), 4, "128 MiB are for one owner");
    for (status, answer) in refused {
        assert_eq!((status, &answer["error"]["code"]), (429, &json!("too_many_jobs")), "{answer}");
    }
    let ids: Vec<_> = taken.iter().map(|(_, answer)| answer["id"].as_str().unwrap().to_owned()).collect();
    for id in &ids {
        assert_eq!(relay.get(&format!("/api/v1/jobs/{id}")).await["state"], "queued");
    }
    relay.stop();
    let on_disk = fs::metadata(folder.path().join("p2pnet.sqlite")).unwrap().len() as usize;
    assert!(on_disk < 2 * 30 * MIB, "the module lies there once: {on_disk}");
    // They are read again with the module that they only name.
    let relay = Relay::start(&folder, &["--cores", "1"]);
    for id in &ids {
        wait_for(&relay, id, "completed").await;
        assert_eq!(relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"], STANDARD.encode("hi"));
    }
}
