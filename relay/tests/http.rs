//! What programs that speak HTTP ask of a relay: pages of lists, waiting, compression, modules on their own, a base path.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use p2pnet_shared::{
    id::Hash,
    store::{self, StoreKey},
};
use reqwest::{Client, Method, StatusCode, header, redirect};
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{Folder, Relay, post_job, refusal, wait_for};

const QUICK: &str = r#"{"kind":"map","data":[1,2],"map":"x"}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn named(name: &str, team: &str) -> String {
    json!({"kind": "map", "data": [1], "map": "x", "name": name, "labels": {"team": team}}).to_string()
}

/// Ids in a list, and the cursor behind it.
async fn page(relay: &Relay, query: &str) -> (Vec<String>, Option<String>) {
    let answer = reqwest::get(relay.at(&format!("/api/v1/jobs{query}"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{query}");
    let next = answer.headers().get("x-next-cursor").map(|next| next.to_str().unwrap().to_owned());
    let link = answer.headers().get(header::LINK).map(|link| link.to_str().unwrap().to_owned());
    assert_eq!(next.is_some(), link.as_ref().is_some_and(|link| link.ends_with("rel=\"next\"")), "{link:?}");
    let jobs: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect(), next)
}

#[tokio::test]
async fn every_job_is_listed_once_page_by_page_while_new_ones_come() {
    let folder = Folder::new("pages");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(post_job(&relay, QUICK).await);
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let (page, next) = page(&relay, &query).await;
        seen.extend(page);
        // A new job is in front of all pages.
        post_job(&relay, QUICK).await;
        match next {
            Some(next) => query = format!("?limit=2&cursor={next}"),
            None => break,
        }
    }
    let (mut sorted, mut expected) = (seen.clone(), ids.clone());
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    let (older, _) = page(&relay, &format!("?before={}", seen[1])).await;
    assert_eq!(older, seen[2..]);
    let answer = reqwest::get(relay.at(&format!("/api/v1/jobs?before={}", "00".repeat(16)))).await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::NOT_FOUND, "unknown_job".into()));
}

#[tokio::test]
async fn a_job_is_found_again_by_its_name_and_labels_over_a_restart() {
    let folder = Folder::new("names");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let nightly = post_job(&relay, named("nightly", "physics")).await;
    let other = post_job(&relay, named("weekly", "a:b")).await;
    wait_for(&relay, &nightly, "completed").await;
    wait_for(&relay, &other, "completed").await;
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    assert_eq!(page(&relay, "?name=nightly").await.0, std::slice::from_ref(&nightly));
    assert_eq!(page(&relay, "?label=team:a:b").await.0, std::slice::from_ref(&other));
    assert_eq!(page(&relay, "?label=team&state=completed").await.0.len(), 2);
    assert!(page(&relay, "?label=team:a").await.0.is_empty());
    let status = relay.get(&format!("/api/v1/jobs/{nightly}")).await;
    assert_eq!((&status["name"], &status["labels"]), (&json!("nightly"), &json!({"team": "physics"})));
}

/// Changes a record that lies in a relay's folder.
async fn spoil(folder: &Folder, key: StoreKey, spoilt: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let options = SqliteConnectOptions::new().filename(folder.path().join("p2pnet.sqlite"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let query = sqlx::query("SELECT bytes FROM records WHERE key = ?").bind(key.to_bytes());
    let record: Vec<u8> = query.fetch_one(&mut connection).await.unwrap().get(0);
    let query = sqlx::query("UPDATE records SET bytes = ? WHERE key = ?").bind(spoilt(record)).bind(key.to_bytes());
    assert_eq!(query.execute(&mut connection).await.unwrap().rows_affected(), 1);
    connection.close().await.unwrap();
}

fn cut(record: Vec<u8>) -> Vec<u8> {
    record[..20].to_vec()
}

#[tokio::test]
async fn a_damaged_record_or_line_hides_neither_a_job_that_is_over_nor_its_result() {
    let folder = Folder::new("damaged-job");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let jobs = [post_job(&relay, QUICK).await, post_job(&relay, QUICK).await];
    for id in &jobs {
        wait_for(&relay, id, "completed").await;
    }
    let result = relay.get(&format!("/api/v1/jobs/{}/result", jobs[0])).await;
    relay.stop();
    let [of_record, of_line] = &jobs;
    spoil(&folder, StoreKey::Over(of_record.parse().unwrap()), cut).await;
    spoil(&folder, StoreKey::Finished(of_line.parse().unwrap()), cut).await;
    let relay = Relay::start(&folder, &["--no-provider"]);
    assert_eq!(page(&relay, "?state=completed").await.0.len(), 2);
    let details = reqwest::get(relay.at(&format!("/api/v1/jobs/{of_record}"))).await.unwrap();
    assert_eq!(refusal(details).await, (StatusCode::SERVICE_UNAVAILABLE, "store_failed".into()));
    assert_eq!(relay.get(&format!("/api/v1/jobs/{of_line}")).await["state"], "completed");
    for id in &jobs {
        assert_eq!(relay.get(&format!("/api/v1/jobs/{id}/result")).await, result);
        let path = relay.at(&format!("/api/v1/jobs/{id}"));
        assert_eq!(Client::new().delete(&path).send().await.unwrap().status(), StatusCode::OK);
        assert_eq!(refusal(reqwest::get(path).await.unwrap()).await, (StatusCode::NOT_FOUND, "unknown_job".into()));
    }
}

#[tokio::test]
async fn what_a_later_version_wrote_is_told_of_and_kept_until_its_owner_removes_it() {
    let folder = Folder::new("later-version");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let jobs = [post_job(&relay, QUICK).await, post_job(&relay, QUICK).await, post_job(&relay, QUICK).await];
    let stopped = Client::new().delete(relay.at(&format!("/api/v1/jobs/{}", jobs[1]))).send().await.unwrap();
    assert_eq!(stopped.status(), StatusCode::OK);
    relay.stop();
    let keys = [StoreKey::Job(jobs[0].parse().unwrap()), StoreKey::Finished(jobs[1].parse().unwrap())];
    for key in keys {
        let later = |record: Vec<u8>| {
            let owner = store::open(key, 1, &record).unwrap().owner;
            store::seal(key, 99, owner, |record| [record, b"told otherwise".to_vec()].concat())
        };
        spoil(&folder, key, later).await;
    }
    for _ in 0..2 {
        let relay = Relay::start(&folder, &["--no-provider"]);
        assert_eq!(page(&relay, "").await.0, std::slice::from_ref(&jobs[2]));
        for id in &jobs[..2] {
            let told = reqwest::get(relay.at(&format!("/api/v1/jobs/{id}"))).await.unwrap();
            let words = told.text().await.unwrap();
            assert!(
                words.contains("another version of p2pnet wrote it") && words.contains("DELETE removes it"),
                "{words}"
            );
        }
        assert_eq!(relay.get("/api/v1/nodes").await["records_not_understood"], 2);
        let metrics = reqwest::get(relay.at("/metrics")).await.unwrap().text().await.unwrap();
        assert!(metrics.contains("p2pnet_store_records_not_understood 2"), "{metrics}");
        relay.stop();
    }
    let relay = Relay::start(&folder, &["--no-provider"]);
    for id in &jobs[..2] {
        let path = relay.at(&format!("/api/v1/jobs/{id}"));
        assert_eq!(Client::new().delete(&path).send().await.unwrap().status(), StatusCode::OK);
        assert_eq!(refusal(reqwest::get(path).await.unwrap()).await, (StatusCode::NOT_FOUND, "unknown_job".into()));
    }
    assert!(relay.get("/api/v1/nodes").await.get("records_not_understood").is_none());
}

#[tokio::test]
async fn a_question_waits_for_the_end_of_a_job_and_no_longer_than_the_relay_runs() {
    let folder = Folder::new("wait");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let http = Client::new();
    let id = post_job(&relay, r#"{"kind":"range_reduce","start":1,"end":20000000,"map":"x % 7","reduce":"sum"}"#).await;
    let path = format!("/api/v1/jobs/{id}");
    let early = http.get(relay.at(&format!("{path}/result?wait=0"))).send().await.unwrap();
    assert_eq!(refusal(early).await, (StatusCode::CONFLICT, "not_finished".into()));
    let (status, result) = tokio::join!(
        http.get(relay.at(&format!("{path}?wait=60"))).send(),
        http.get(relay.at(&format!("{path}/result"))).header("prefer", "wait=60").send(),
    );
    let status: Value = serde_json::from_str(&status.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(status["state"], "completed");
    let result = result.unwrap();
    assert_eq!(
        (result.status(), &result.headers()["preference-applied"]),
        (StatusCode::OK, &"wait=60".parse().unwrap())
    );
    for bad in ["soon", "-1", ""] {
        let answer = http.get(relay.at(&format!("{path}?wait={bad}"))).send().await.unwrap();
        assert_eq!(refusal(answer).await, (StatusCode::BAD_REQUEST, "invalid_field".into()), "{bad}");
    }
    let gone = http.get(relay.at(&format!("/api/v1/jobs/{}?wait=60", "00".repeat(16)))).send().await.unwrap();
    assert_eq!(refusal(gone).await, (StatusCode::NOT_FOUND, "unknown_job".into()), "at once");

    // Nobody computes this one: the question is answered when the relay stops, which it does not hold up.
    let long = r#"{"kind":"range_reduce","start":1,"end":4000000000000,"map":"x","reduce":"sum"}"#;
    let id = post_job(&relay, long).await;
    let waiting = tokio::spawn(http.get(relay.at(&format!("/api/v1/jobs/{id}?wait=60"))).send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    relay.stop();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let status: Value = answer.json().await.unwrap();
    assert_eq!(status["state"], "running", "it is told how things stood: {status}");
}

#[tokio::test]
async fn questions_that_wait_are_bounded_for_each_address_and_end_with_their_asker() {
    let folder = Folder::new("waiters");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let id = post_job(&relay, QUICK).await;
    let ask = |http: &Client, address: &str, wait: u32| {
        http.get(relay.at(&format!("/api/v1/jobs/{id}?wait={wait}"))).header("x-forwarded-for", address).send()
    };
    let http = Client::new();
    let asked: Vec<_> = (0..80).map(|_| tokio::spawn(ask(&http, "203.0.113.1", 60))).collect();
    // 64 of them wait; as many as are too many are told so at once, and others still may wait.
    support::until(|| async { asked.iter().filter(|question| question.is_finished()).count() == 16 }).await;
    let (refused, waiting): (Vec<_>, Vec<_>) = asked.into_iter().partition(tokio::task::JoinHandle::is_finished);
    for answer in refused {
        assert_eq!(
            refusal(answer.await.unwrap().unwrap()).await,
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited".into())
        );
    }
    let other = tokio::spawn(ask(&http, "203.0.113.2", 60));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    // Their places are free again: one that would wait for them is let in.
    support::until(|| async { ask(&http, "203.0.113.1", 1).await.unwrap().status() == StatusCode::OK }).await;
    // Without their time being over: the other question, asked after them, waits still, until the job ends.
    let stopped = http.delete(relay.at(&format!("/api/v1/jobs/{id}"))).send().await.unwrap();
    assert_eq!(stopped.status(), StatusCode::OK);
    let answer = other.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(job["state"], "cancelled");
}

#[tokio::test]
async fn jobs_in_gzip_are_unfolded_and_bombs_and_other_encodings_refused() {
    let folder = Folder::new("gzip");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let send = |encoding: &'static str, body: Vec<u8>| {
        let request = Client::new().post(relay.at("/api/v1/jobs")).header("idempotency-key", "one");
        request.header(header::CONTENT_ENCODING, encoding).body(body).send()
    };
    let answer = send("gzip", gzip(QUICK.as_bytes())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let first = answer.text().await.unwrap();
    // The key knows the job, however it was packed.
    assert_eq!(send("identity", QUICK.into()).await.unwrap().text().await.unwrap(), first);
    for (encoding, body, status, code) in [
        ("br", QUICK.into(), 415, "unsupported_encoding"),
        ("gzip, gzip", gzip(&gzip(QUICK.as_bytes())), 415, "unsupported_encoding"),
        ("gzip", QUICK.into(), 400, "invalid_json"),
        ("gzip", gzip(&vec![b' '; (64 << 20) + 1]), 413, "too_large"),
    ] {
        let answer = send(encoding, body).await.unwrap();
        assert_eq!(refusal(answer).await, (StatusCode::from_u16(status).unwrap(), code.into()), "{encoding}");
    }
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask_and_events_are_not() {
    let folder = Folder::new("compressed");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let id = post_job(&relay, json!({"kind": "map", "data": vec![7; 100_000], "map": "x"}).to_string()).await;
    wait_for(&relay, &id, "completed").await;
    let http = Client::new();
    let get = |path: String, accepted: &'static str| {
        http.get(relay.at(&path)).header(header::ACCEPT_ENCODING, accepted).send()
    };
    let path = format!("/api/v1/jobs/{id}/result");
    let plain = get(path.clone(), "identity").await.unwrap();
    assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
    assert_eq!(plain.content_length(), Some(200_000 - 1 + 2 + r#"{"result":}"#.len() as u64));
    let plain = plain.bytes().await.unwrap();
    let packed = get(path.clone(), "gzip").await.unwrap();
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    let packed = packed.bytes().await.unwrap();
    assert!(packed.len() < plain.len() / 10);
    let mut unfolded = Vec::new();
    GzDecoder::new(&*packed).read_to_end(&mut unfolded).unwrap();
    assert_eq!(unfolded, plain);
    assert_eq!(get(path, "gzip, br").await.unwrap().headers()[header::CONTENT_ENCODING], "br");
    assert!(get("/healthz".into(), "gzip").await.unwrap().headers().get(header::CONTENT_ENCODING).is_none(), "short");
    let events = get("/api/v1/events".into(), "gzip").await.unwrap();
    assert!(events.headers().get(header::CONTENT_ENCODING).is_none());
}

#[tokio::test]
async fn a_module_sent_as_bytes_is_named_by_its_hash_also_after_a_crash() {
    let folder = Folder::new("modules");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let put = |relay: &Relay, body: Vec<u8>| Client::new().put(relay.at("/api/v1/kernels")).body(body).send();
    let module = p2pnet_test_kernels::echo();
    let answer = put(&relay, module.clone()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let kept: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let hash = Hash::of(&module).to_string();
    assert_eq!(kept, json!({"hash": hash, "bytes": module.len()}));
    for (body, status, code) in [
        (b"\0asm\x01\0\0\0".to_vec(), 400, "invalid_kernel"),
        (b"#!/bin/sh".to_vec(), 400, "invalid_kernel"),
        (vec![0; (32 << 20) + 1], 413, "too_large"),
    ] {
        // A client may still be sending when the relay has answered and closed.
        if let Ok(answer) = put(&relay, body).await {
            assert_eq!(refusal(answer).await, (StatusCode::from_u16(status).unwrap(), code.into()));
        }
    }
    let as_json = Client::new().put(relay.at("/api/v1/kernels")).header(header::CONTENT_TYPE, "application/json");
    let answer = as_json.body(module.clone()).send().await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type".into()));
    // What unfolds to too much is told what a module can do about it.
    let bomb = Client::new().put(relay.at("/api/v1/kernels")).header(header::CONTENT_ENCODING, "gzip");
    let answer = bomb.body(gzip(&vec![0; (32 << 20) + 1])).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.contains("too_large") && text.contains("optimisation") && !text.contains("PUT"), "{text}");
    drop(relay); // killed: nothing is written down any more
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let job = json!({"kind": "kernel", "kernel": hash, "input": STANDARD.encode("again")}).to_string();
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    assert_eq!(relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"], STANDARD.encode("again"));
}

#[tokio::test]
async fn addresses_may_end_with_a_slash_and_options_says_what_they_take() {
    let folder = Folder::new("slashes");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let posted = http.post(relay.at("/api/v1/jobs/")).body(QUICK).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::ACCEPTED);
    for path in ["/api/v1/jobs/?limit=1", "/api/v1/nodes/", "/healthz/", "/.well-known/p2pnet.json/", "/metrics/"] {
        assert_eq!(http.get(relay.at(path)).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    for (path, target) in [("/jobs/?a=b", "/jobs?a=b"), ("/api/v1/docs/", "/api/v1/docs")] {
        let answer = http.get(relay.at(path)).send().await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()[header::LOCATION]),
            (StatusCode::PERMANENT_REDIRECT, &target.parse().unwrap())
        );
    }
    let elsewhere = http.get(relay.at("//elsewhere.example/")).send().await.unwrap();
    assert!(elsewhere.headers().get(header::LOCATION).is_none());
    for (path, methods) in [
        ("/api/v1/jobs", &["GET", "POST", "OPTIONS"][..]),
        ("/api/v1/kernels", &["PUT"]),
        ("/metrics", &["GET"]),
        ("/", &["GET", "HEAD"]),
    ] {
        let answer = http.request(Method::OPTIONS, relay.at(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}");
        let allow = answer.headers()[header::ALLOW].to_str().unwrap().to_owned();
        assert!(methods.iter().all(|method| allow.contains(method)), "{path}: {allow}");
        assert_eq!(allow.matches("OPTIONS").count(), 1, "{path}: {allow}");
    }
    for nothing in ["/api/v1/nothing", "/nothing.js"] {
        for method in [Method::OPTIONS, Method::GET] {
            let nowhere = http.request(method.clone(), relay.at(nothing)).send().await.unwrap();
            assert_eq!(nowhere.status(), StatusCode::NOT_FOUND, "{method} {nothing}");
        }
    }
}

#[tokio::test]
async fn below_a_base_path_page_api_and_addresses_stand_there() {
    let folder = Folder::new("base");
    let relay = Relay::start(&folder, &["--no-provider", "--base-path", "/p2pnet/"]);
    assert!(relay.url().ends_with("/p2pnet/"), "{}", relay.url());
    let root = relay.url().trim_end_matches("/p2pnet/").to_owned();
    let http = Client::new();
    for path in ["/p2pnet", "/p2pnet/", "/p2pnet/jobs/new"] {
        let page = http.get(format!("{root}{path}")).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let page = page.text().await.unwrap();
        assert!(page.contains("<base href=\"/p2pnet/\">"), "{page}");
        assert!(!page.contains("=\"/api") && !page.contains("=\"/.well-known"), "{page}");
    }
    let known = relay.get("/.well-known/p2pnet.json").await;
    assert_eq!(known["websocket_path"], "/p2pnet/p2p");
    assert!(known["addresses"][0].as_str().unwrap().contains("/x-parity-ws/%2Fp2pnet%2Fp2p/p2p/"), "{known}");
    let posted = http.post(relay.at("/api/v1/jobs")).body(QUICK).send().await.unwrap();
    let location = posted.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert!(location.starts_with("/p2pnet/api/v1/jobs/"), "{location}");
    assert_eq!(http.get(format!("{root}{location}")).send().await.unwrap().status(), StatusCode::OK);
    post_job(&relay, QUICK).await;
    let first = http.get(relay.at("/api/v1/jobs?limit=1")).send().await.unwrap();
    assert!(first.headers()[header::LINK].to_str().unwrap().starts_with("</p2pnet/api/v1/jobs?limit=1&cursor="));
    assert_eq!(
        http.get(relay.at("/p2p")).send().await.unwrap().status(),
        StatusCode::UPGRADE_REQUIRED,
        "for WebSockets only"
    );
    // The command line and a native node reach it there as well.
    let (code, out, err) = support::cli(&["job", "list", "--url", relay.url()], "");
    assert!(code == 0 && out.contains("queued"), "{out}{err}");
    let lender = Folder::new("base-lender");
    let _node = support::Process::node(&relay, &lender);
    support::until(|| async { relay.get("/api/v1/nodes").await["nodes"][0]["offer"].is_object() }).await;
}

#[tokio::test]
async fn a_proxy_on_this_machine_may_take_the_base_path_away() {
    let folder = Folder::new("prefix");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let get = |path: &str, prefix: &'static str| {
        Client::new().get(relay.at(path)).header("x-forwarded-prefix", prefix).send()
    };
    let page = get("/jobs", "/tools/p2pnet").await.unwrap().text().await.unwrap();
    assert!(page.contains("<base href=\"/tools/p2pnet/\">"), "{page}");
    let known: Value =
        serde_json::from_str(&get("/.well-known/p2pnet.json", "/tools/p2pnet").await.unwrap().text().await.unwrap())
            .unwrap();
    assert_eq!(known["websocket_path"], "/tools/p2pnet/p2p");
    let page = get("/jobs", "/\"><script>").await.unwrap().text().await.unwrap();
    assert!(!page.contains("<base"), "{page}");
}

#[tokio::test]
async fn a_relay_listens_on_names_and_ipv6_and_prints_what_works() {
    let folder = Folder::new("hosts");
    for (host, printed) in [("localhost", "http://localhost:"), ("[::1]", "http://[::1]:"), ("::1", "http://[::1]:")] {
        let relay = Relay::start(&folder, &["--no-provider", "--host", host]);
        assert!(relay.url().starts_with(printed), "{}", relay.url());
        assert_eq!(reqwest::get(relay.at("/healthz")).await.unwrap().status(), StatusCode::OK, "{host}");
        let short = relay.url().trim_start_matches("http://").trim_end_matches('/').to_owned();
        assert_eq!(support::cli(&["node", "list", "--url", &short], "").0, 0, "{short}");
        relay.stop();
    }
}

#[tokio::test]
async fn whoever_refuses_every_form_of_an_answer_gets_it_as_it_is() {
    let folder = Folder::new("forms");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    for accepted in ["identity;q=0", "*;q=0", "identity;q=0, *;q=0", "zstd"] {
        let post = http.post(relay.at("/api/v1/jobs")).header(header::ACCEPT_ENCODING, accepted);
        assert_eq!(post.body(QUICK).send().await.unwrap().status(), StatusCode::ACCEPTED, "{accepted}");
        let list = http.get(relay.at("/api/v1/openapi.json")).header(header::ACCEPT_ENCODING, accepted);
        let list = list.send().await.unwrap();
        assert_eq!((list.status(), list.headers().get(header::CONTENT_ENCODING)), (StatusCode::OK, None), "{accepted}");
    }
}

#[tokio::test]
async fn an_answer_to_head_and_the_streams_of_a_program_wait_for_the_end_of_a_job() {
    let folder = Folder::new("heads");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let id = post_job(&relay, QUICK).await;
    let http = Client::new();
    for (method, path) in [(Method::HEAD, "result"), (Method::GET, "result/stdout"), (Method::GET, "result/stderr")] {
        let ask = http.request(method.clone(), relay.at(&format!("/api/v1/jobs/{id}/{path}")));
        let ask = ask.header("prefer", "wait=1").send().await.unwrap();
        assert_eq!(ask.status(), StatusCode::CONFLICT, "{path}");
        assert_eq!(ask.headers()["preference-applied"], "wait=1", "{method} {path}");
    }
    let waits = http.head(relay.at(&format!("/api/v1/jobs/{id}/result?wait=60"))).send();
    let stops = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        http.delete(relay.at(&format!("/api/v1/jobs/{id}"))).send().await.unwrap().status()
    };
    let (waited, stopped) = tokio::join!(waits, stops);
    assert_eq!((waited.unwrap().status(), stopped), (StatusCode::CONFLICT, StatusCode::OK));
}

#[tokio::test]
async fn the_form_of_a_programs_result_follows_the_weights_of_accept() {
    let folder = Folder::new("accept");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let module = STANDARD.encode(p2pnet_test_kernels::echo());
    let id =
        post_job(&relay, json!({"kind": "kernel", "kernel": module, "input": STANDARD.encode("hi")}).to_string()).await;
    wait_for(&relay, &id, "completed").await;
    for (accept, kind) in [
        ("application/octet-stream", "application/octet-stream"),
        ("APPLICATION/Octet-Stream", "application/octet-stream"),
        ("application/octet-stream;q=0", "application/json"),
        ("application/octet-stream;q=0.1, application/json", "application/json"),
        ("application/json;q=0.1, application/octet-stream", "application/octet-stream"),
    ] {
        let ask = Client::new().get(relay.at(&format!("/api/v1/jobs/{id}/result"))).header(header::ACCEPT, accept);
        let answer = ask.send().await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind, "{accept}");
        let vary: Vec<_> = answer.headers().get_all(header::VARY).iter().collect();
        assert!(vary.iter().any(|vary| *vary == "accept"), "{vary:?}");
    }
}

/// The status and the body that come back for bytes of our own.
fn raw(relay: &Relay, request: &str) -> (u16, Value) {
    let address =
        relay.url().trim_start_matches("http://").split('/').next().unwrap().replace("localhost", "127.0.0.1");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A connection on which so many bytes of a job of 31 MiB of spaces were sent.
fn began(relay: &Relay, mib: usize) -> std::net::TcpStream {
    let address =
        relay.url().trim_start_matches("http://").split('/').next().unwrap().replace("localhost", "127.0.0.1");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ";
    stream.write_all(format!("{head}{}\r\n\r\n", 31 << 20).as_bytes()).unwrap();
    stream.write_all(&vec![b' '; mib << 20]).unwrap();
    stream
}

#[tokio::test]
async fn who_sends_fast_and_gives_way_to_others_reads_why_when_all_is_sent() {
    let folder = Folder::new("gave-way");
    let relay = Relay::start(&folder, &["--no-provider"]);
    // An address has room for 96 MiB. The last but one has brought least when the last one needs its room.
    let _large = [began(&relay, 30), began(&relay, 30)];
    let mut small = began(&relay, 8);
    let _last = began(&relay, 30);
    small.write_all(&vec![b' '; 23 << 20]).unwrap();
    let mut answer = String::new();
    small.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("whoever takes most"), "{answer}");
    assert!(!answer.contains("slow"), "{answer}");
}

#[tokio::test]
async fn a_request_names_one_host_and_the_one_in_its_target_counts() {
    let folder = Folder::new("host-headers");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let get = |line: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        raw(&relay, &format!("GET {line}\r\n{hosts}Connection: close\r\n\r\n"))
    };
    for (line, hosts, status) in [
        ("/api/v1/nodes HTTP/1.1", &["localhost"][..], 200),
        ("/api/v1/nodes HTTP/1.0", &[], 200),
        ("/api/v1/nodes HTTP/1.1", &[], 400),
        ("/api/v1/nodes HTTP/1.1", &["localhost", "localhost"], 400),
        ("/api/v1/nodes HTTP/1.1", &["a b"], 400),
        ("/api/v1/nodes HTTP/1.1", &["me@localhost"], 400),
        ("/api/v1/nodes HTTP/1.1", &["localhost:evil"], 400),
        ("/api/v1/nodes HTTP/1.1", &["localhost:99999"], 400),
        ("/api/v1/nodes HTTP/1.1", &["localhost:+80"], 400),
        ("/api/v1/nodes HTTP/1.1", &["127.0.0.1:80.evil.example"], 400),
        ("http://localhost:evil/api/v1/nodes HTTP/1.1", &["localhost"], 400),
        ("/api/v1/nodes HTTP/1.1", &["localhost:"], 200),
        ("/api/v1/nodes HTTP/1.1", &["[::1]:80"], 200),
        ("http://localhost/api/v1/nodes HTTP/1.1", &["localhost"], 200),
        ("http://evil.example/api/v1/nodes HTTP/1.1", &["localhost"], 421),
        ("http://localhost/api/v1/nodes HTTP/1.1", &["evil.example"], 200),
        ("/api/v1/%6eodes HTTP/1.1", &["localhost"], 200),
        ("healthz HTTP/1.1", &["localhost"], 400),
        ("* HTTP/1.1", &["localhost"], 400),
    ] {
        let (found, body) = get(line, hosts);
        assert_eq!(found, status, "{line} {hosts:?}");
        assert!(status == 200 || body["error"]["hint"].is_string(), "{line}: {body}");
    }
}

#[tokio::test]
async fn headers_are_bounded_and_what_speaks_websocket_only_says_so() {
    let folder = Folder::new("heads-bounded");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let head = |bytes: usize| {
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\nConnection: close\r\n\r\n", "x".repeat(bytes))
    };
    assert_eq!(raw(&relay, &head(30 << 10)).0, 200);
    // All of it is read, and no more: the answer is not lost in a reset.
    assert_eq!(raw(&relay, &head(33 << 10)[..32 << 10]).0, 431);
    // Nor is what comes at once, with its end, of which more is read than may stand in a head.
    let around = head(0).len();
    for bytes in [33 << 10, (32 << 10) + 1 - around] {
        assert_eq!(raw(&relay, &head(bytes)).0, 431, "{bytes} bytes");
    }
    assert_eq!(raw(&relay, &head((32 << 10) - around)).0, 200);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "x".repeat(33 << 10));
    assert_eq!(raw(&relay, &long).0, 431);
    let http = Client::new();
    let upgrade = |version: &'static str| {
        http.get(relay.at("/p2p"))
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, version)
            .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .send()
    };
    for answer in [upgrade("12").await.unwrap(), http.get(relay.at("/p2p")).send().await.unwrap()] {
        assert_eq!(answer.headers()[header::UPGRADE], "websocket");
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_VERSION], "13");
        assert_eq!(refusal(answer).await, (StatusCode::UPGRADE_REQUIRED, "upgrade_required".into()));
    }
    assert_eq!(upgrade("13").await.unwrap().status(), StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn hints_name_addresses_below_the_base_path() {
    let folder = Folder::new("hints");
    let relay = Relay::start(&folder, &["--no-provider", "--base-path", "/p2pnet"]);
    for (path, named) in [
        ("/api/v1/jobs/x", "/p2pnet/api/v1/jobs"),
        ("/nothing.js", "/p2pnet/, the API at /p2pnet/api/v1/docs"),
        ("/api/x", "/p2pnet/api/v1/docs"),
    ] {
        let answer = reqwest::get(relay.at(path)).await.unwrap();
        let len = answer.content_length();
        let text = answer.text().await.unwrap();
        assert!(len.is_none_or(|len| len == text.len() as u64), "{path}");
        let body: Value = serde_json::from_str(&text).unwrap();
        assert!(body["error"]["hint"].as_str().unwrap().contains(named), "{path}: {body}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_relay_keeps_is_read_by_its_owner_only_also_where_it_was_not() {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let folder = Folder::new("modes");
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    let files = ["p2pnet.sqlite", "p2pnet.sqlite-wal", "p2pnet.sqlite-shm"];
    let relay = Relay::start(&folder, &["--no-provider"]);
    post_job(&relay, QUICK).await;
    for file in files {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    drop(relay);
    for file in files.iter().filter(|file| folder.path().join(file).exists()) {
        fs::set_permissions(folder.path().join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let relay = Relay::start(&folder, &["--no-provider"]);
    post_job(&relay, QUICK).await;
    for file in files {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(mode("."), 0o700);
}

#[tokio::test]
async fn what_a_page_was_before_is_not_sent_again() {
    let folder = Folder::new("tags");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let get = |path: &str, tag: Option<&str>| {
        let request = http.get(relay.at(path));
        tag.iter().fold(request, |request, tag| request.header(header::IF_NONE_MATCH, *tag)).send()
    };
    let first = get("/", None).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    let strong = tag.strip_prefix("W/").unwrap();
    assert!(strong.starts_with('"') && strong.ends_with('"'), "{tag}");
    for known in [tag.clone(), strong.to_owned(), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = get("/", Some(&known)).await.unwrap();
        assert_eq!(
            (again.status(), again.headers()[header::ETAG].to_str().unwrap()),
            (StatusCode::NOT_MODIFIED, &*tag)
        );
        assert!(again.bytes().await.unwrap().is_empty(), "{known}");
    }
    for unknown in ["\"other\"", strong.trim_matches('"'), ""] {
        let again = get("/", Some(unknown)).await.unwrap();
        assert_eq!(again.status(), StatusCode::OK, "{unknown:?}");
    }
    // A head says the same without the page.
    let head = http.head(relay.at("/")).header(header::IF_NONE_MATCH, &tag).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_MODIFIED);
    // Where nothing is, there is nothing to know.
    let nothing = get("/api/v1/nothing", Some("*")).await.unwrap();
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_query_that_cannot_be_meant_is_refused_by_the_name_of_its_field() {
    let folder = Folder::new("queries");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let id = post_job(&relay, QUICK).await;
    for (path, field) in [
        ("/api/v1/jobs?limit=1&limit=2".to_owned(), "limit"),
        ("/api/v1/jobs?state=queued&state=failed".to_owned(), "state"),
        ("/api/v1/jobs?limit=1001".to_owned(), "limit"),
        ("/api/v1/jobs?limit=0".to_owned(), "limit"),
        ("/api/v1/jobs?name=%20".to_owned(), "name"),
        (format!("/api/v1/jobs/{id}?wait=0&wait=0"), "wait"),
        (format!("/api/v1/jobs/{id}?wait=61"), "wait"),
        (format!("/api/v1/jobs/{id}/result?wait=999999"), "wait"),
    ] {
        let answer = reqwest::get(relay.at(&path)).await.unwrap();
        let status = answer.status();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(
            (status, body["error"]["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some("invalid_field")),
            "{path}"
        );
        assert!(body["error"]["message"].as_str().unwrap().contains(field), "{path}: {body}");
    }
    let (found, _) = page(&relay, "?label=a&label=b&limit=1000").await;
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn a_job_whose_name_hides_something_is_refused() {
    let folder = Folder::new("hidden");
    let relay = Relay::start(&folder, &["--no-provider"]);
    for (name, label) in [("report\u{202e}gpj.exe", "a"), ("a", "b\u{200b}"), ("   ", "a"), ("a\u{2028}b", "a")] {
        let job = json!({"kind": "map", "data": [1], "map": "x", "name": name, "labels": {"team": label}}).to_string();
        let answer = Client::new().post(relay.at("/api/v1/jobs")).body(job).send().await.unwrap();
        assert_eq!(refusal(answer).await, (StatusCode::BAD_REQUEST, "invalid_field".into()), "{name:?} {label:?}");
    }
}
