//! The built binary from the outside: every address, every refusal, the command line, a restart.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt;
use p2pnet_client::{Error, Filter, Given};
use p2pnet_shared::{api::Event, job::JobState, refusal::Code};
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use support::{Folder, Relay, cli, post_job, refusal, wait_for};

const SUM: &str = r#"{"kind":"range_reduce","start":1,"end":1000,"map":"x","where":"x % 2 == 0","reduce":"sum"}"#;

/// Bodies of jobs, and why each is refused.
const REFUSED_JOBS: [(&str, &str); 12] = [
    ("not json", "invalid_json"),
    ("[]", "invalid_json"),
    ("{}", "missing_field"),
    (r#"{"kind":"dance"}"#, "unknown_kind"),
    (r#"{"kind":"map","data":[1],"map":"x","colour":"red"}"#, "unknown_field"),
    (r#"{"kind":"map","data":[1]}"#, "missing_field"),
    (r#"{"kind":"map","data":7,"map":"x"}"#, "invalid_field"),
    (r#"{"kind":"map","data":[1],"map":"x +"}"#, "invalid_formula"),
    (r#"{"kind":"map","data":[],"map":"x"}"#, "empty_input"),
    (r#"{"kind":"matrix","op":"transpose","a":[[1,2],[3]]}"#, "ragged_matrix"),
    (r#"{"kind":"matrix","op":"multiply","a":[[1,2]],"b":[[1,2]]}"#, "mismatched_matrix"),
    (r#"{"kind":"kernel","kernel":"AAAA","input":"","split":"none","merge":"concat"}"#, "invalid_kernel"),
];

#[tokio::test]
async fn every_refusal_of_the_api_has_its_code_and_a_hint() {
    let folder = Folder::new("refusals");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let gone = "/api/v1/jobs/00000000000000000000000000000000";
    for (body, code) in REFUSED_JOBS {
        let answer = http.post(relay.at("/api/v1/jobs")).body(body).send().await.unwrap();
        assert_eq!(refusal(answer).await, (StatusCode::BAD_REQUEST, code.to_owned()), "{body}");
    }
    let hash = "ab".repeat(32);
    let body = json!({"kind": "kernel", "kernel": hash, "input": "", "split": "none", "merge": "concat"}).to_string();
    let answer = http.post(relay.at("/api/v1/jobs")).body(body).send().await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::NOT_FOUND, "unknown_kernel".into()));
    let answer = http.post(relay.at("/api/v1/jobs")).body(vec![b'{', 0xff]).send().await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::BAD_REQUEST, "invalid_json".into()));

    for (method, path, status, code) in [
        (Method::GET, gone.to_owned(), 404, "unknown_job"),
        (Method::DELETE, gone.to_owned(), 404, "unknown_job"),
        (Method::GET, format!("{gone}/result"), 404, "unknown_job"),
        (Method::GET, "/api/v1/jobs/nonsense".into(), 404, "unknown_job"),
        (Method::GET, "/api/v1/jobs?limit=many".into(), 400, "invalid_field"),
        (Method::GET, "/api/v1/jobs?colour=red".into(), 400, "invalid_field"),
        (Method::GET, "/api/v1/jobs?state=asleep".into(), 400, "invalid_field"),
        (Method::GET, "/api/v2/jobs".into(), 404, "not_found"),
        (Method::GET, "/api".into(), 404, "not_found"),
        (Method::GET, "/no/such/file.js".into(), 404, "not_found"),
        (Method::GET, "/.well-known/other".into(), 404, "not_found"),
        (Method::PUT, "/api/v1/jobs".into(), 405, "method_not_allowed"),
        (Method::POST, "/api/v1/nodes".into(), 405, "method_not_allowed"),
        (Method::DELETE, "/healthz".into(), 405, "method_not_allowed"),
        (Method::POST, "/".into(), 405, "method_not_allowed"),
        (Method::GET, "/p2p".into(), 426, "upgrade_required"),
        (Method::GET, "/p2p/x".into(), 404, "not_found"),
        (Method::GET, "/api%2Fv1%2Fjobs".into(), 404, "not_found"),
        (Method::GET, "/API/v1/jobs".into(), 404, "not_found"),
        (Method::GET, "/api/v1/jobs/%ff%fe".into(), 404, "unknown_job"),
        (Method::DELETE, "/api/v1/jobs/%ff%fe".into(), 404, "unknown_job"),
        (Method::GET, "/api/v1/jobs/%ff%fe/result".into(), 404, "unknown_job"),
        (Method::GET, "/api/v1/jobs/%ff/result/stdout".into(), 404, "unknown_job"),
        (Method::GET, "/api/v1/jobs?%ff=%fe".into(), 400, "invalid_field"),
        (Method::POST, "/api/v1/jobs?wait=5".into(), 400, "invalid_field"),
        (Method::POST, "/api/v1/jobs?nmae=x".into(), 400, "invalid_field"),
        (Method::PUT, "/api/v1/kernels?name=x".into(), 400, "invalid_field"),
        (Method::GET, "/api/v1/nodes?limit=1".into(), 400, "invalid_field"),
        (Method::GET, "/api/v1/events?job=x".into(), 400, "invalid_field"),
        (Method::GET, format!("{gone}?colour=red"), 400, "invalid_field"),
        (Method::GET, format!("{gone}/result?format=raw"), 400, "invalid_field"),
        (Method::GET, format!("{gone}/result/stdout?wait=x"), 400, "invalid_field"),
        (Method::DELETE, format!("{gone}?force=1"), 400, "invalid_field"),
    ] {
        let answer = http.request(method.clone(), relay.at(&path)).send().await.unwrap();
        let allow = answer.headers().get(header::ALLOW).cloned();
        assert_eq!(refusal(answer).await, (StatusCode::from_u16(status).unwrap(), code.to_owned()), "{method} {path}");
        let known = allow.as_ref().and_then(|allow| allow.to_str().ok()).unwrap_or_default();
        assert!(code != "method_not_allowed" || known.ends_with(",OPTIONS"), "{path} allows {known:?}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_whether_announced_or_not() {
    let folder = Folder::new("large");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let announced = http.post(relay.at("/api/v1/jobs")).body(vec![b' '; (32 << 20) + 1]).send().await.unwrap();
    assert_eq!(refusal(announced).await, (StatusCode::PAYLOAD_TOO_LARGE, "too_large".into()));
    let chunks = futures::stream::iter((0..33).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
    let answer = http.post(relay.at("/api/v1/jobs")).body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::PAYLOAD_TOO_LARGE, "too_large".into()));
    // Not over the connection that the relay has just given up.
    assert_eq!(Client::new().get(relay.at("/healthz")).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_job_is_computed_listed_and_removed() {
    let folder = Folder::new("job");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let http = Client::new();
    let answer = http.post(relay.at("/api/v1/jobs")).body(SUM).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let id = serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/jobs/{id}"));
    let status = wait_for(&relay, &id, "completed").await;
    assert_eq!(status["progress"]["percent"], 100);
    let me = relay.get("/api/v1/nodes").await["me"].clone();
    assert_eq!(status["attempts"][0]["node"], me, "the relay's own provider did it");
    assert_eq!(relay.get(&format!("{location}/result")).await["result"], 250_500);
    let completed = relay.get("/api/v1/jobs?state=completed&limit=1").await;
    assert_eq!(completed.as_array().unwrap().len(), 1);
    assert_eq!(completed[0]["id"], id.as_str());
    assert_eq!(relay.get("/api/v1/jobs?state=failed").await, json!([]));
    let removed = http.delete(relay.at(&location)).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&removed).unwrap(), json!({"id": id, "state": "removed"}));
    assert_eq!(relay.get("/api/v1/jobs").await, json!([]));
}

#[tokio::test]
async fn a_job_without_a_provider_waits_says_why_and_is_cancelled() {
    let folder = Folder::new("cancel");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let id = post_job(&relay, SUM).await;
    let status = relay.get(&format!("/api/v1/jobs/{id}")).await;
    assert_eq!((&status["state"], &status["waiting"]["code"]), (&json!("queued"), &json!("no_providers")));
    let answer = http.get(relay.at(&format!("/api/v1/jobs/{id}/result"))).send().await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::CONFLICT, "not_finished".into()));
    let answer = http.delete(relay.at(&format!("/api/v1/jobs/{id}"))).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["state"], "cancelled");
    wait_for(&relay, &id, "cancelled").await;
    let answer = http.get(relay.at(&format!("/api/v1/jobs/{id}/result"))).send().await.unwrap();
    assert_eq!(refusal(answer).await, (StatusCode::CONFLICT, "no_result".into()));
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job_even_over_a_restart() {
    let folder = Folder::new("idempotency");
    let relay = Relay::start(&folder, &["--no-provider"]);
    // A client each: one that keeps connections would try the one to the relay that was stopped.
    let send = |relay: &Relay, key: &str, body: &'static str| {
        Client::new().post(relay.at("/api/v1/jobs")).header("idempotency-key", key).body(body).send()
    };
    let at_once = futures::future::join_all((0..8).map(|_| send(&relay, "k1", SUM))).await;
    let mut ids = std::collections::BTreeSet::new();
    for answer in at_once {
        ids.insert(answer.unwrap().text().await.unwrap());
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let other = send(&relay, "k1", r#"{"kind":"map","data":[1],"map":"x"}"#).await.unwrap();
    assert_eq!(refusal(other).await, (StatusCode::CONFLICT, "idempotency_conflict".into()));
    let long = "k".repeat(129);
    assert_eq!(
        refusal(send(&relay, &long, SUM).await.unwrap()).await,
        (StatusCode::BAD_REQUEST, "invalid_field".into())
    );
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    let again = send(&relay, "k1", SUM).await.unwrap().text().await.unwrap();
    assert!(ids.contains(&again));
    assert_eq!(relay.get("/api/v1/jobs").await.as_array().unwrap().len(), 1);
    // A job that was removed does not keep its key from making another one.
    let id = serde_json::from_str::<Value>(&again).unwrap()["id"].as_str().unwrap().to_owned();
    for state in ["cancelled", "removed"] {
        let answer = Client::new().delete(relay.at(&format!("/api/v1/jobs/{id}"))).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["state"], state);
    }
    let anew = send(&relay, "k1", SUM).await.unwrap();
    assert_eq!(anew.status(), StatusCode::ACCEPTED);
    assert_ne!(anew.text().await.unwrap(), again);
    assert_eq!(relay.get("/api/v1/jobs").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn identity_addresses_and_jobs_survive_a_restart() {
    let folder = Folder::new("restart");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let before = relay.get("/.well-known/p2pnet.json").await;
    let url = relay.url().to_owned();
    let id = post_job(&relay, SUM).await;
    relay.stop();
    let relay = Relay::start(&folder, &["--cores", "1"]);
    assert_eq!(relay.url(), url, "port 0 finds the same port again");
    let after = relay.get("/.well-known/p2pnet.json").await;
    assert_eq!(before["node"], after["node"]);
    let webrtc = |document: &Value| {
        let addresses = document["addresses"].as_array().unwrap().clone();
        addresses.into_iter().filter(|a| a.as_str().unwrap().contains("certhash")).collect::<Vec<Value>>()
    };
    assert!(!webrtc(&before).is_empty());
    assert_eq!(webrtc(&before), webrtc(&after));
    wait_for(&relay, &id, "completed").await;
    assert_eq!(relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"], 250_500);
}

#[tokio::test]
async fn a_native_node_joins_computes_and_finds_the_relay_again() {
    let (folder, node_folder) = (Folder::new("joined"), Folder::new("joining"));
    let relay = Relay::start(&folder, &["--no-provider"]);
    let node = support::Process::node(&relay, &node_folder);
    let lends = |view: &Value| view["nodes"].as_array().unwrap().iter().any(|node| !node["offer"].is_null());
    support::until(|| async { lends(&relay.get("/api/v1/nodes").await) }).await;
    let id = post_job(&relay, SUM).await;
    let status = wait_for(&relay, &id, "completed").await;
    assert_eq!(status["attempts"][0]["node"], node.id());
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    support::until(|| async { lends(&relay.get("/api/v1/nodes").await) }).await;
    let id = post_job(&relay, SUM).await;
    wait_for(&relay, &id, "completed").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kernels_run_behind_fences_and_a_worker_that_dies_costs_no_job() {
    let folder = Folder::new("fences");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let id = post_job(&relay, SUM).await;
    wait_for(&relay, &id, "completed").await;
    let workers = relay.children();
    assert_eq!(workers.len(), 1, "{workers:?}");
    let about = fs::read_to_string(format!("/proc/{}/status", workers[0])).unwrap();
    assert!(about.contains("NoNewPrivs:\t1") && about.contains("Seccomp:\t2"), "{about}");
    assert!(about.contains("CapEff:\t0000000000000000") && about.contains("CapPrm:\t0000000000000000"), "{about}");
    assert!(!about.contains("Uid:\t0"), "root has become somebody else: {about}");

    let long = r#"{"kind":"range_reduce","start":1,"end":4000000000,"map":"x % 7","reduce":"sum"}"#;
    let id = post_job(&relay, long).await;
    support::until(|| async { relay.get(&format!("/api/v1/jobs/{id}")).await["state"] == "running" }).await;
    assert!(std::process::Command::new("kill").args(["-KILL", &workers[0].to_string()]).status().unwrap().success());
    let status = relay.get(&format!("/api/v1/jobs/{id}")).await;
    assert!(status["state"] == "running" || status["state"] == "completed", "{status}");
    support::until(|| async { relay.children().first().is_some_and(|worker| *worker != workers[0]) }).await;
    assert_eq!(cli(&["job", "stop", "--url", relay.url(), &id], "").0, 0);
    // The one worker is free again within moments: another job gets through.
    let id = post_job(&relay, SUM).await;
    wait_for(&relay, &id, "completed").await;
    let worker = relay.children()[0];
    relay.stop();
    support::until(|| async { !std::path::Path::new(&format!("/proc/{worker}")).exists() }).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_that_ends_in_the_middle_of_a_run_costs_nobody_an_attempt() {
    let folder = Folder::new("mid-run");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let module = STANDARD.encode(p2pnet_test_kernels::counting(2_000_000_000));
    let job = format!(r#"{{"kind":"kernel","kernel":"{module}","input":"","policy":{{"retries":0}}}}"#);
    let id = post_job(&relay, job).await;
    // It was found to be worth compiling, and so it runs.
    support::until(|| async { !compiled(&folder).is_empty() }).await;
    let worker = processes(&relay, "kernel-worker")[0];
    assert!(std::process::Command::new("kill").args(["-KILL", &worker.to_string()]).status().unwrap().success());
    wait_for(&relay, &id, "completed").await;
    let status = relay.get(&format!("/api/v1/jobs/{id}")).await;
    let attempts: Vec<_> = status["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(attempts, ["accepted"], "{status}");
    assert!(!processes(&relay, "kernel-worker").contains(&worker), "another one did it");
    relay.stop();
}

/// What is compiled for it second is only for tiny calls.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_kernel_of_which_only_the_first_form_can_be_compiled_runs_compiled() {
    let folder = Folder::new("first-form");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let module = STANDARD.encode(p2pnet_test_kernels::dear_to_compile(400, 1_000_000));
    let job = format!(r#"{{"kind":"kernel","kernel":"{module}","input":"{}"}}"#, STANDARD.encode("as it came"));
    let id = post_job(&relay, job).await;
    // The compiler ends in the middle of the second form.
    support::until(|| async { !compiled(&folder).is_empty() }).await;
    for compiler in processes(&relay, "kernel-compiler") {
        let _ = std::process::Command::new("kill").args(["-KILL", &compiler.to_string()]).status();
    }
    wait_for(&relay, &id, "completed").await;
    let status = relay.get(&format!("/api/v1/jobs/{id}")).await;
    assert_eq!(status["attempts"][0]["engine"], "wasmtime", "{status}");
    assert_eq!(compiled(&folder).len(), 1, "the second form was not there before");
    relay.stop();
}

/// Files of compiled kernels.
#[cfg(target_os = "linux")]
fn compiled(folder: &Folder) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder.path().join("compiled/process"));
    let files = files.into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "compiled")).collect()
}

/// Processes of a relay that were started to be `what`.
#[cfg(target_os = "linux")]
fn processes(relay: &Relay, what: &str) -> Vec<u32> {
    let line = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_it = |pid: &u32| line(pid).split(|byte| *byte == 0).nth(1) == Some(what.as_bytes());
    relay.children().into_iter().filter(is_it).collect()
}

/// Compiling it takes minutes and gigabytes, which are not given; running it as it is takes a moment.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_kernel_that_is_too_dear_to_compile_is_interpreted_and_gives_the_same() {
    let folder = Folder::new("dear");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let module = STANDARD.encode(p2pnet_test_kernels::dear_to_compile(3_000, 1_000_000));
    let job = format!(
        r#"{{"kind":"kernel","kernel":"{module}","input":"{}","requirements":{{"timeout_seconds":10}}}}"#,
        STANDARD.encode("as it came")
    );
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    let status = relay.get(&format!("/api/v1/jobs/{id}")).await;
    assert_eq!(status["attempts"][0]["engine"], "wasmi", "{status}");
    let result = relay.get(&format!("/api/v1/jobs/{id}/result")).await;
    assert_eq!(result["result"], STANDARD.encode("as it came"), "{result}");
    relay.stop();
}

#[tokio::test]
async fn events_tell_of_jobs_and_end_when_the_relay_stops() {
    let folder = Folder::new("events");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let answer = Client::new().get(relay.at("/api/v1/events")).send().await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let id = post_job(&relay, SUM).await;
    let mut text = String::new();
    let told = async {
        while !(text.contains("event: job\n") && text.contains("\"completed\"") && text.contains(&id)) {
            text.push_str(&String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert!(text.starts_with("event: network\n"), "{text}");
    // Would hang here if the listener held the shutdown up.
    relay.stop();
    while let Some(Ok(_)) = stream.next().await {}
}

#[tokio::test]
async fn the_client_sends_waits_reads_lists_hears_and_stops() {
    let folder = Folder::new("client");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let client = p2pnet_client::Client::new(relay.url()).unwrap();
    let mut events = std::pin::pin!(client.events().await.unwrap());
    assert_eq!(events.next().await, Some(Ok(Event::Network)));

    let named = r#"{"kind":"map","data":[1,2,3],"map":"x*x","name":"squares","labels":{"team":"physics"}}"#;
    let id = client.submit(named.to_owned(), Some("once")).await.unwrap();
    assert_eq!(client.submit(named.to_owned(), Some("once")).await.unwrap(), id);
    assert_eq!(client.wait(id).await.unwrap().state, JobState::Completed);
    assert_eq!(client.result(id).await.unwrap(), json!([1, 4, 9]));
    assert!(matches!(client.result_bytes(id).await.unwrap(), Given::Json(result) if result == json!([1, 4, 9])));
    let heard = async {
        while let Some(Ok(event)) = events.next().await {
            if matches!(event, Event::Job(job) if job.id == id && job.state == JobState::Completed) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), heard).await.unwrap());

    let hash = client.keep_module(p2pnet_test_kernels::echo()).await.unwrap();
    let input = STANDARD.encode("as it is");
    let echo =
        client.submit(format!(r#"{{"kind":"kernel","kernel":"{hash}","input":"{input}"}}"#), None).await.unwrap();
    client.wait(echo).await.unwrap();
    let Given::Bytes { bytes, failed_parts } = client.result_bytes(echo).await.unwrap() else { panic!("no bytes") };
    assert_eq!((&*bytes, failed_parts), (&b"as it is"[..], 0));

    let filter = Filter { labels: vec!["team:physics".to_owned()], ..Filter::default() };
    let page = client.list(&filter, Some(5), None).await.unwrap();
    assert_eq!(page.items.iter().map(|job| job.id).collect::<Vec<_>>(), [id]);
    let first = client.list(&Filter::default(), Some(1), None).await.unwrap();
    let second = client.list(&Filter::default(), Some(1), first.next.as_deref()).await.unwrap();
    assert_eq!([first.items[0].id, second.items[0].id], [echo, id]);

    let refused = client.submit(r#"{"kind":"map","data":[1],"map":"x +"}"#.to_owned(), None).await.unwrap_err();
    let Error::Refused(refusal) = refused else { panic!("{refused}") };
    assert!(refusal.code == Code::InvalidFormula && refusal.at.is_some() && !refusal.hint.is_empty(), "{refusal:?}");
    assert_eq!(client.stop(echo).await.unwrap().state, "removed");
    assert!(matches!(client.job(echo).await, Err(Error::Refused(refusal)) if refusal.code == Code::UnknownJob));
    relay.stop();
    assert!(matches!(client.job(id).await, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn page_documents_figures_and_headers_are_served() {
    let folder = Folder::new("page");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    for path in ["/", "/jobs", "/network/deep/link"] {
        let answer = http.get(relay.at(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let headers = answer.headers().clone();
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["cross-origin-embedder-policy"], "require-corp");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
    let document = relay.get("/api/v1/openapi.json").await;
    let kinds = &document["components"]["schemas"]["Job"]["discriminator"]["mapping"];
    let known: Vec<&str> = p2pnet_shared::job::kinds::ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(kinds.as_object().map(serde_json::Map::len), Some(known.len()));
    assert!(known.iter().all(|kind| kinds.get(kind).is_some()), "{known:?} are not {kinds}");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if path.ends_with("/events") {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = http.request(method.clone(), relay.at(&path.replace("{id}", "x"))).send().await.unwrap();
            let code = if answer.status().is_success() { String::new() } else { refusal(answer).await.1 };
            assert!(code != "not_found" && code != "method_not_allowed", "{method} {path} is documented, but {code}");
        }
    }
    let docs = http.get(relay.at("/api/v1/docs")).send().await.unwrap();
    assert!(docs.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'sha256-"));
    let health = relay.get("/healthz").await;
    assert_eq!((&health["status"], &health["store"]), (&json!("ok"), &json!("ok")));
    let metrics = http.get(relay.at("/metrics")).send().await.unwrap().text().await.unwrap();
    for name in [
        "p2pnet_http_requests_total{",
        "p2pnet_uptime_seconds ",
        "p2pnet_jobs{state=\"queued\"} 0",
        "p2pnet_store_waiting_bytes ",
    ] {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn the_command_line_runs_jobs_and_ends_with_the_right_code() {
    let folder = Folder::new("cli");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let url = relay.url();
    let (code, out, _) = cli(&["job", "run", "--wait", "--url", url, SUM], "");
    assert_eq!((code, out.trim()), (0, "250500"));
    let (code, out, _) =
        cli(&["job", "run", "--wait", "--json", "--url", url, "-"], r#"{"kind":"map","data":[1,2,3],"map":"x*x + 1"}"#);
    assert_eq!((code, out.trim()), (0, r#"{"result":[2,5,10]}"#));
    let (code, out, _) = cli(&["job", "run", "--url", url, "--kind", "map", "--data", "[3]", "--map", "x % 2"], "");
    assert_eq!(code, 0);
    let id = out.trim().to_owned();
    assert_eq!(cli(&["job", "get", "--wait", "--url", url, &id], "").1.trim(), "[1]");
    assert!(cli(&["job", "list", "--url", url], "").1.contains(&id));
    let (_, out, _) = cli(&["job", "describe", "--url", url, &id], "");
    assert!(out.contains("completed") && out.contains("100 %"), "{out}");
    assert!(cli(&["job", "stop", "--url", url, &id], "").1.contains("removed"));
    assert!(cli(&["node", "list", "--url", url], "").1.contains("seed"));

    let (code, out, err) = cli(&["job", "run", "--dry-run", "--url", "http://127.0.0.1:9", SUM], "");
    assert!(code == 0 && out.trim() == "250500" && err.contains("nothing was sent"), "{code} {out} {err}");

    let (code, _, err) = cli(&["job", "run", "--url", url, r#"{"kind":"map","data":[1],"map":"y"}"#], "");
    assert!(code == 3 && err.contains("[invalid_formula]") && err.contains("hint:"), "{code} {err}");
    let (code, _, err) = cli(&["job", "get", "--url", url, &id], "");
    assert!(code == 3 && err.contains("[unknown_job]"), "{code} {err}");
    let (code, _, err) = cli(
        &["job", "run", "--wait", "--url", url, r#"{"kind":"map","data":[0],"map":"1 % x","policy":{"retries":0}}"#],
        "",
    );
    assert!(code == 5 && err.contains("failed"), "{code} {err}");
    let (code, _, err) = cli(&["job", "get", "--url", url, "nonsense"], "");
    assert!(code == 2 && err.contains("32 hexadecimal"), "{code} {err}");
    let (code, _, err) = cli(&["job", "list", "--url", "http://127.0.0.1:9"], "");
    assert!(code == 4 && err.contains("p2pnet relay"), "{code} {err}");
    assert_eq!(cli(&["job", "dance"], "").0, 2);
}

#[test]
fn a_relay_that_cannot_start_says_why() {
    let folder = Folder::new("blocked");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let dir = folder.path().to_str().unwrap().to_owned();
    let (code, _, err) = cli(&["relay", "--port", "0", "--data-dir", &dir], "");
    assert!(code == 1 && err.contains("in use by another p2pnet"), "{code} {err}");
    let other = Folder::new("blocked-too");
    let port = relay.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let (code, _, err) = cli(&["relay", "--port", &port, "--data-dir", other.path().to_str().unwrap()], "");
    assert!(code == 1 && err.contains("--port"), "{code} {err}");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ports = ["--host", "127.0.0.1", "--port", "0", "--p2p-port", "0", "--webrtc-port", &port];
    let (code, _, err) = cli(&[&["relay", "--data-dir", other.path().to_str().unwrap()], &ports[..]].concat(), "");
    assert!(code == 1 && err.contains("in use") && err.contains("--webrtc-port"), "{code} {err}");
    let file = other.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, _, err) = cli(&["relay", "--port", "0", "--data-dir", file.to_str().unwrap()], "");
    assert!(code == 1 && err.contains("is a file") && !err.contains("writable"), "{code} {err}");
    drop(relay);
    fs::write(folder.path().join("p2pnet.sqlite"), vec![b'x'; 8192]).unwrap();
    for file in ["p2pnet.sqlite-wal", "p2pnet.sqlite-shm"] {
        let _ = fs::remove_file(folder.path().join(file));
    }
    let (code, _, err) =
        cli(&["relay", "--port", "0", "--p2p-port", "0", "--webrtc-port", "0", "--data-dir", &dir], "");
    assert!(code == 1 && err.contains("is damaged"), "{code} {err}");
    fs::write(folder.path().join("identity"), "?").unwrap();
    let (code, _, err) =
        cli(&["relay", "--port", "0", "--p2p-port", "0", "--webrtc-port", "0", "--data-dir", &dir], "");
    assert!(code == 1 && err.contains("identity"), "{code} {err}");
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_said_to_be_so_and_left_alone() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
    let folder = Folder::new("read-only");
    // Root may write everywhere: there, somebody else starts the relay, and needs a program that others may read.
    let program = folder.path().join("p2pnet");
    // By another process: a file that this one has open for writing, another test's child has as well, and it cannot be run.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_p2pnet")).arg(&program).status();
    assert!(copied.unwrap().success());
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let set = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(folder.path(), 0o755);
    set(&program, 0o755);
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let start = || {
        let mut command = std::process::Command::new(&program);
        command.args(["relay", "--port", "0", "--p2p-port", "0", "--webrtc-port", "0", "--no-provider", "--data-dir"]);
        command.arg(&data).env("XDG_CONFIG_HOME", "/nonexistent").env("RUST_LOG", "warn");
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Empty; then with what a relay left there, which may be read.
    for filled in [false, true] {
        if filled {
            set(&data, 0o755);
            drop(Relay::start_in(&data, &["--no-provider"]));
        }
        for entry in fs::read_dir(&data).unwrap().flatten() {
            set(&entry.path(), 0o444);
        }
        set(&data, 0o555);
        let names = || fs::read_dir(&data).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
        let before = names();
        let (code, err) = start();
        assert!(
            code == Some(1) && err.contains("cannot be used") && err.contains("make it writable"),
            "{code:?} {err}"
        );
        assert!(err.contains("--data-dir") && !err.contains("panicked"), "{err}");
        assert_eq!(names(), before);
    }
    set(&data, 0o755);
}

#[test]
fn settings_show_where_they_come_from() {
    let folder = Folder::new("config");
    let file = folder.path().join("p2pnet.toml");
    fs::write(&file, "port = 1234\ncores = \"all\"\n").unwrap();
    let (code, out, _) = cli(&["config", "--config", file.to_str().unwrap()], "");
    assert!(
        code == 0 && out.contains("1234") && out.contains(file.to_str().unwrap()) && out.contains("default"),
        "{out}"
    );
    fs::write(&file, "prot = 1234\n").unwrap();
    let (code, _, err) = cli(&["config", "--config", file.to_str().unwrap()], "");
    assert!(code == 2 && err.contains("prot"), "{code} {err}");
}
