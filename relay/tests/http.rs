//! What programs that speak HTTP ask of a relay: pages of lists, waiting, compression, modules on their own, a base path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use p2pnet_shared::id::Hash;
use reqwest::{Client, Method, StatusCode, header, redirect};
use serde_json::{Value, json};
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
    let _ = waiting.await.unwrap();
}

#[tokio::test]
async fn questions_that_wait_are_bounded_for_each_address_and_end_with_their_asker() {
    let folder = Folder::new("waiters");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let id = post_job(&relay, QUICK).await;
    let ask = |http: &Client, address: &str| {
        http.get(relay.at(&format!("/api/v1/jobs/{id}?wait=60"))).header("x-forwarded-for", address).send()
    };
    let http = Client::new();
    let asked: Vec<_> = (0..80).map(|_| tokio::spawn(ask(&http, "203.0.113.1"))).collect();
    // 64 of them wait; as many as are too many are told so at once, and others still may wait.
    support::until(|| async { asked.iter().filter(|question| question.is_finished()).count() == 16 }).await;
    let (refused, waiting): (Vec<_>, Vec<_>) = asked.into_iter().partition(tokio::task::JoinHandle::is_finished);
    for answer in refused {
        assert_eq!(
            refusal(answer.await.unwrap().unwrap()).await,
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited".into())
        );
    }
    let other = tokio::spawn(ask(&http, "203.0.113.2"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!other.is_finished());
    other.abort();
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    // Their places are free again, without their time being over: this one waits until it gives up.
    support::until(|| async {
        tokio::time::timeout(Duration::from_millis(300), ask(&Client::new(), "203.0.113.1")).await.is_err()
    })
    .await;
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
    }
    let nowhere = http.request(Method::OPTIONS, relay.at("/api/v1/nothing")).send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
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
    assert_eq!(http.get(relay.at("/p2p")).send().await.unwrap().status(), StatusCode::NOT_FOUND, "for WebSockets only");
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
