//! No client shuts others out, and no web page uses a relay that is not its own: the built binary, over raw sockets.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt;
use reqwest::{Client, Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use support::{Folder, Process, Relay, cli, post_job, refusal, until, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const JOB: &str = r#"{"kind":"map","data":[1],"map":"x"}"#;
const TOKEN: &str = "correct-horse-battery";

/// A connection of our own, with `head` sent over it.
fn open(relay: &Relay, head: &str) -> TcpStream {
    let port = relay.url().trim_end_matches('/').rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// What comes back until the relay closes: status and JSON.
fn answer(stream: &mut TcpStream) -> (u16, Value) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn jobs_get_in_while_many_bodies_dribble_from_the_same_address() {
    let folder = Folder::new("dribble");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let head = "POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{";
    let mut slow: Vec<TcpStream> = (0..100).map(|_| open(&relay, head)).collect();
    for _ in 0..5 {
        post_job(&relay, JOB).await;
        for stream in &mut slow {
            let _ = stream.write_all(b" "); // those that gave way are closed
        }
    }
    drop(slow);
    post_job(&relay, JOB).await;
}

#[tokio::test]
async fn nodes_join_and_pages_load_while_many_connections_say_nothing() {
    let (folder, node_folder) = (Folder::new("half-open"), Folder::new("half-open-node"));
    let relay = Relay::start(&folder, &["--no-provider"]);
    let upgrade = "GET /p2p HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let silent: Vec<TcpStream> = (0..600).map(|_| open(&relay, "")).collect();
    let begun: Vec<TcpStream> = (0..600).map(|_| open(&relay, "GET /")).collect();
    let half: Vec<TcpStream> = (0..600).map(|_| open(&relay, upgrade)).collect();
    assert_eq!(relay.get("/healthz").await["status"], "ok");
    let mut late = open(&relay, upgrade);
    let mut status = [0; 12];
    late.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    let node = Process::node(&relay, &node_folder);
    let joined = |view: &Value| view["nodes"].as_array().unwrap().iter().any(|other| other["node"] == node.id());
    until(|| async { joined(&relay.get("/api/v1/nodes").await) }).await;
    drop((silent, begun, half));
}

/// The port at which the relay takes libp2p over TCP.
async fn p2p_port(relay: &Relay) -> u16 {
    let document = relay.get("/.well-known/p2pnet.json").await;
    let addresses = document["addresses"].as_array().unwrap().iter();
    let tcp = addresses.filter_map(Value::as_str).find(|text| text.contains("/tcp/") && !text.contains("/ws")).unwrap();
    tcp.split('/').nth(4).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_node_joins_and_computes_while_hundreds_of_handshakes_go_no_further() {
    let (folder, node_folder) = (Folder::new("handshakes"), Folder::new("handshakes-node"));
    let relay = Relay::start(&folder, &["--no-provider"]);
    let port = p2p_port(&relay).await;
    let noise = [b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20".as_slice(), &[7; 32]].concat();
    let words = [Vec::new(), b"\x13/multi".to_vec(), noise, b"\x40nonsense".to_vec()];
    let attackers: Vec<_> = (0..800)
        .map(|number| {
            let words = words[number % words.len()].clone();
            tokio::spawn(async move {
                loop {
                    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    // The relay hangs up on some at any moment; they come again.
                    let _ = socket.write_all(&words).await;
                    let _ = socket.read_to_end(&mut Vec::new()).await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        })
        .collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", relay.id())).unwrap().count();
    until(|| async { open() > 200 }).await;
    let node = Process::node(&relay, &node_folder);
    let lends = |view: &Value| {
        view["nodes"].as_array().unwrap().iter().any(|other| other["node"] == node.id() && !other["offer"].is_null())
    };
    until(|| async { lends(&relay.get("/api/v1/nodes").await) }).await;
    let id = post_job(&relay, JOB).await;
    assert_eq!(wait_for(&relay, &id, "completed").await["attempts"][0]["node"], node.id());
    assert!(open() < 500, "the relay holds {} files and sockets", open());
    assert!(attackers.iter().all(|attacker| !attacker.is_finished()));
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_relay_takes_more_sockets_than_a_shell_gives_it_at_first() {
    let folder = Folder::new("sockets");
    let relay = Relay::start_after("ulimit -Sn 128", &folder);
    let silent: Vec<TcpStream> = (0..300).map(|_| open(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    for mut stream in &silent {
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    let node_folder = Folder::new("sockets-node");
    let node = Process::node(&relay, &node_folder);
    let joined = |view: &Value| view["nodes"].as_array().unwrap().iter().any(|other| other["node"] == node.id());
    until(|| async { joined(&relay.get("/api/v1/nodes").await) }).await;
}

#[tokio::test]
async fn refusals_are_read_by_clients_that_send_everything_first() {
    let folder = Folder::new("early");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let body = vec![b' '; 33 << 20];
    for (more, status, code) in [
        ("Content-Type: application/json\r\n", 413, "too_large"),
        ("Content-Type: text/plain\r\n", 415, "unsupported_content_type"),
        ("Origin: https://evil.example\r\n", 403, "foreign_origin"),
        ("Authorization: Bearer short\r\n", 401, "invalid_token"),
    ] {
        let head = format!("POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {}\r\n\r\n", body.len());
        let mut stream = open(&relay, &head);
        stream.write_all(&body).unwrap();
        let (got, said) = answer(&mut stream);
        assert_eq!((got, said["error"]["code"].as_str().unwrap()), (status, code));
    }
    let mut stream = open(&relay, "POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(1 << 20) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).0, 413);
    for (request, target) in
        [("POST /jobs/", "/jobs"), ("PUT /foo/bar/?a=b", "/foo/bar?a=b"), ("DELETE /%6aobs/", "/jobs")]
    {
        let head = format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = open(&relay, &head);
        stream.write_all(&body).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let said = said.to_ascii_lowercase();
        assert!(said.starts_with("http/1.1 308 ") && said.contains(&format!("location: {target}\r\n")), "{said}");
    }
    // One who asks first is told at once, and sends nothing.
    let head = "POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n";
    assert_eq!(answer(&mut open(&relay, head)).0, 413);
}

#[tokio::test]
async fn pages_of_others_neither_send_nor_read_jobs() {
    let folder = Folder::new("foreign");
    let relay = Relay::start(&folder, &["--no-provider", "--host-name", "relay.example.org"]);
    let id = post_job(&relay, JOB).await;
    let own = relay.url().trim_end_matches('/').to_owned();
    let http = Client::new();
    let job = format!("/api/v1/jobs/{id}");
    let ask = |method: Method, path: &str| http.request(method, relay.at(path));
    let foreign = |request: RequestBuilder| request.header("origin", "https://evil.example");
    let rebound = |request: RequestBuilder| request.header("host", "evil.example");
    for (request, status, code) in [
        (foreign(ask(Method::POST, "/api/v1/jobs")).body(JOB), 403, "foreign_origin"),
        (foreign(ask(Method::GET, "/api/v1/jobs")), 403, "foreign_origin"),
        (foreign(ask(Method::DELETE, &job)), 403, "foreign_origin"),
        (foreign(ask(Method::GET, "/api/v1/events")), 403, "foreign_origin"),
        (foreign(ask(Method::GET, "/p2p")), 403, "foreign_origin"),
        (ask(Method::GET, "/api/v1/jobs").header("sec-fetch-site", "cross-site"), 403, "foreign_origin"),
        (
            ask(Method::POST, "/api/v1/jobs").header("content-type", "text/plain").body(JOB),
            415,
            "unsupported_content_type",
        ),
        (rebound(ask(Method::DELETE, &job)), 421, "unknown_host"),
        (rebound(ask(Method::GET, "/api/v1/jobs")), 421, "unknown_host"),
        (rebound(ask(Method::GET, "/")), 421, "unknown_host"),
        (rebound(ask(Method::GET, "/metrics")), 421, "unknown_host"),
    ] {
        let answer = request.send().await.unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert_eq!(refusal(answer).await, (StatusCode::from_u16(status).unwrap(), code.to_owned()));
    }
    let form = "application/x-www-form-urlencoded";
    for request in [
        ask(Method::POST, "/api/v1/jobs").header("origin", &own).body(JOB),
        ask(Method::POST, "/api/v1/jobs").header("content-type", form).body(JOB),
        ask(Method::GET, "/api/v1/jobs").header("host", "relay.example.org"),
        ask(Method::GET, "/api/v1/jobs").header("host", "localhost:1"),
        rebound(ask(Method::GET, "/healthz")),
        rebound(ask(Method::GET, "/.well-known/p2pnet.json")),
    ] {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let browser = ask(Method::POST, "/api/v1/jobs").header("content-type", form).header("origin", &own).body(JOB);
    assert_eq!(browser.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn pages_that_are_allowed_use_the_api_and_read_its_refusals() {
    let folder = Folder::new("allowed");
    let relay = Relay::start(&folder, &["--no-provider", "--allow-origin", "https://friend.example"]);
    let http = Client::new();
    let friend =
        |method: Method, path: &str| http.request(method, relay.at(path)).header("origin", "https://friend.example");
    let asked = friend(Method::OPTIONS, "/api/v1/jobs")
        .header("access-control-request-method", "DELETE")
        .header("access-control-request-headers", "authorization")
        .send()
        .await
        .unwrap();
    let list = |name: &str| asked.headers()[name].to_str().unwrap().to_lowercase();
    for method in ["get", "post", "delete"] {
        assert!(list("access-control-allow-methods").contains(method), "{method}");
    }
    for name in ["authorization", "content-type", "idempotency-key", "prefer"] {
        assert!(list("access-control-allow-headers").contains(name), "{name}");
    }
    for (request, status) in [
        (friend(Method::POST, "/api/v1/jobs").body(JOB), 202),
        (friend(Method::POST, "/api/v1/jobs").body("{"), 400),
        (friend(Method::POST, "/api/v1/jobs").header("authorization", "Bearer short").body(JOB), 401),
        (friend(Method::GET, "/api/v1/nothing"), 404),
        (friend(Method::PUT, "/api/v1/jobs"), 405),
        (friend(Method::POST, "/api/v1/jobs").body(vec![b' '; (32 << 20) + 1]), 413),
        (friend(Method::POST, "/api/v1/jobs").header("content-type", "text/plain").body(JOB), 415),
        (friend(Method::GET, "/api/v1/jobs").header("host", "evil.example"), 421),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://friend.example", "{status}");
    }
}

/// A page of another origin reads only the headers that are named to it, beside a few that every page may read.
#[tokio::test]
async fn pages_that_are_allowed_read_every_header_that_says_something_of_an_answer() {
    const ALWAYS: [&str; 3] = ["cache-control", "content-length", "content-type"];
    // For browsers and caches.
    const OF_TRANSPORT: [&str; 11] = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "connection",
        "content-encoding",
        "cross-origin-embedder-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
        "referrer-policy",
        "transfer-encoding",
        "vary",
        "x-content-type-options",
    ];
    let folder = Folder::new("exposed");
    let relay = Relay::start(&folder, &["--cores", "1", "--allow-origin", "https://friend.example"]);
    let module = STANDARD.encode(p2pnet_test_kernels::programs::ends_as_told());
    let job = json!({"kind": "command", "module": module, "input": STANDARD.encode("a\n")}).to_string();
    let id = post_job(&relay, job).await;
    wait_for(&relay, &id, "completed").await;
    post_job(&relay, JOB).await;
    let http = Client::new();
    let friend =
        |method: Method, path: &str| http.request(method, relay.at(path)).header("origin", "https://friend.example");
    let job = format!("/api/v1/jobs/{id}");
    let mut seen = std::collections::BTreeSet::new();
    for request in [
        friend(Method::POST, "/api/v1/jobs").body(JOB),
        friend(Method::POST, "/api/v1/jobs").header("authorization", "Bearer short").body(JOB),
        friend(Method::GET, "/api/v1/jobs?limit=1"),
        friend(Method::GET, &job).header("prefer", "wait=1"),
        friend(Method::GET, &format!("{job}/result")),
        friend(Method::GET, &format!("{job}/result")).header("accept", "application/octet-stream"),
        friend(Method::GET, &format!("{job}/result/stderr")),
        friend(Method::PUT, "/api/v1/jobs"),
        friend(Method::PUT, "/api/v1/kernels").body("no module"),
        friend(Method::GET, "/api/v1/nodes"),
        friend(Method::GET, "/api/v1/events"),
        friend(Method::GET, "/api/v1/openapi.json"),
        friend(Method::GET, "/healthz"),
        friend(Method::GET, "/.well-known/p2pnet.json"),
    ] {
        let answer = request.send().await.unwrap();
        let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
        let exposed: Vec<&str> = exposed.split(',').map(str::trim).collect();
        for name in answer.headers().keys().map(header::HeaderName::as_str) {
            seen.insert(name.to_owned());
            let known = ALWAYS.contains(&name) || OF_TRANSPORT.contains(&name);
            assert!(known || exposed.contains(&name), "{name} of {} is not exposed", answer.url());
        }
    }
    for name in ["allow", "date", "link", "location", "p2pnet-failed-parts", "preference-applied", "www-authenticate"] {
        assert!(seen.contains(name), "{name} is asked for here");
    }
}

#[tokio::test]
async fn everybody_lists_their_own_jobs_and_a_token_keeps_others_away() {
    let folder = Folder::new("owners");
    let relay = Relay::start(&folder, &["--cores", "1", "--admin-token", "the-operators-own-token"]);
    let http = Client::new();
    let with = |method: Method, path: &str, token: Option<&str>| {
        let request = http.request(method, relay.at(path));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    let listed = async |token: Option<&str>| {
        let jobs: Value = with(Method::GET, "/api/v1/jobs", token).send().await.unwrap().json().await.unwrap();
        jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let send = async |token: Option<&str>| {
        let request = with(Method::POST, "/api/v1/jobs", token).header("idempotency-key", "k").body(JOB);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["id"].as_str().unwrap().to_owned()
    };
    let mut events =
        with(Method::GET, "/api/v1/events", Some("somebody-elses-token")).send().await.unwrap().bytes_stream();
    assert!(events.next().await.unwrap().unwrap().starts_with(b"event: network"));

    let (mine, open) = (send(Some(TOKEN)).await, send(None).await);
    assert_ne!(mine, open, "each owner has keys of its own");
    assert_eq!((listed(Some(TOKEN)).await, listed(None).await), (vec![mine.clone()], vec![open.clone()]));
    assert_eq!(listed(Some("somebody-elses-token")).await, Vec::<String>::new());
    assert_eq!(listed(Some("the-operators-own-token")).await.len(), 2);
    for path in [format!("/api/v1/jobs/{mine}"), format!("/api/v1/jobs/{mine}/result")] {
        for token in [None, Some("somebody-elses-token")] {
            let answer = with(Method::GET, &path, token).send().await.unwrap();
            assert_eq!(refusal(answer).await, (StatusCode::NOT_FOUND, "unknown_job".into()));
        }
    }
    let answer = with(Method::DELETE, &format!("/api/v1/jobs/{mine}"), None).send().await.unwrap();
    assert_eq!(refusal(answer).await.0, StatusCode::NOT_FOUND);
    let path = format!("/api/v1/jobs/{mine}");
    assert_eq!(with(Method::GET, &path, Some(TOKEN)).send().await.unwrap().status(), StatusCode::OK);
    let path = format!("/api/v1/jobs/{open}");
    assert_eq!(
        with(Method::GET, &path, Some(TOKEN)).send().await.unwrap().status(),
        StatusCode::OK,
        "its id is enough"
    );

    // The command line speaks of the same jobs.
    let (code, out, _) = cli(&["job", "get", "--wait", "--url", relay.url(), "--token", TOKEN, &mine], "");
    assert_eq!((code, out.trim()), (0, "[1]"));
    assert_eq!(cli(&["job", "stop", "--url", relay.url(), &mine], "").0, 3);
    assert_eq!(cli(&["job", "stop", "--url", relay.url(), "--token", "the-operators-own-token", &mine], "").0, 0);
    assert_eq!(listed(Some(TOKEN)).await, Vec::<String>::new());

    // A listener hears of its own jobs only: the first that this one hears of is the one that it sends.
    let seen = send(Some("somebody-elses-token")).await;
    let mut text = String::new();
    let told = async {
        while !text.contains(&seen) {
            text.push_str(&String::from_utf8_lossy(&events.next().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert!(!text.contains(&mine) && !text.contains(&open), "{text}");
}

#[tokio::test]
async fn a_running_jobs_id_is_told_to_nobody_else() {
    let folder = Folder::new("cover");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let long = r#"{"kind":"range_reduce","start":1,"end":4000000000,"map":"x % 7","reduce":"sum"}"#;
    let id = post_job(&relay, long).await;
    let running = async || relay.get("/api/v1/nodes").await["provider"]["running"].clone();
    until(|| async { running().await.as_array().is_some_and(|list| !list.is_empty()) }).await;
    assert_ne!(running().await[0]["job"], json!(id));
    assert_eq!(cli(&["job", "stop", "--url", relay.url(), &id], "").0, 0);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let folder = Folder::new("proxied");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let of = |method: Method, header: &'static str, client: &'static str| {
        http.request(method, relay.at("/api/v1/jobs")).header(header, client)
    };
    let count = async |header: &'static str, client: &'static str| {
        let jobs: Value = of(Method::GET, header, client).send().await.unwrap().json().await.unwrap();
        jobs.as_array().unwrap().len()
    };
    assert!(
        of(Method::POST, "x-forwarded-for", "6.6.6.6, 9.9.9.9").body(JOB).send().await.unwrap().status().is_success()
    );
    assert_eq!(count("x-forwarded-for", "9.9.9.9").await, 1);
    assert_eq!(count("x-forwarded-for", "9.9.9.9, 127.0.0.5").await, 1, "through two proxies");
    assert_eq!(count("forwarded", "for=9.9.9.9;proto=https").await, 1);
    assert_eq!(count("x-forwarded-for", "6.6.6.6").await, 0);
    let secure = http.get(relay.at("/.well-known/p2pnet.json")).header("x-forwarded-proto", "https, http");
    let document: Value = secure.send().await.unwrap().json().await.unwrap();
    assert!(document["addresses"][0].as_str().unwrap().contains("/tls/"), "{document}");
    // Jobs of one address have a pace, which is no other's.
    let posts = (0..20_000).map(|_| of(Method::POST, "x-forwarded-for", "9.9.9.9").body("{}").send());
    let mut answers = futures::stream::iter(posts).buffer_unordered(16);
    let refused = loop {
        let answer = answers.next().await.expect("no pace").unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            break answer;
        }
    };
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let other = of(Method::POST, "x-forwarded-for", "8.8.8.8").body(JOB).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn whoever_proxies_do_not_tell_for_certain_is_a_stranger_without_rights() {
    let folder = Folder::new("nobody");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = Client::new();
    let ask = |method: Method, path: &str, headers: &[(&'static str, &'static [u8])]| {
        headers.iter().fold(http.request(method, relay.at(path)), |request, (name, value)| {
            request.header(*name, header::HeaderValue::from_bytes(value).unwrap())
        })
    };
    let posted = async |headers: &[(&'static str, &'static [u8])]| {
        let answer = ask(Method::POST, "/api/v1/jobs", headers).body(JOB).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let listed = async |headers: &[(&'static str, &'static [u8])]| {
        let answer = ask(Method::GET, "/api/v1/jobs", headers).send().await.unwrap();
        let jobs: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        jobs.as_array().unwrap().len()
    };
    let of_operator = posted(&[]).await;
    let of_six = posted(&[("x-forwarded-for", b"6.6.6.6")]).await;
    let token = ("authorization", &b"Bearer correct-horse-battery"[..]);
    let uncertain: [&[(&'static str, &'static [u8])]; 9] = [
        &[("x-forwarded-for", b"9.9.9.9"), ("forwarded", b"for=1.1.1.1")],
        &[("x-forwarded-for", b"9.9.9.9"), ("forwarded", b"for=6.6.6.6;x=\"")],
        &[("forwarded", b"for=unknown")],
        &[("forwarded", b"for=_hidden")],
        &[("forwarded", b"for=6.6.6.6;x=\", for=9.9.9.9")],
        &[("forwarded", b"for=6.6.6.6, proto=https;by=_p")],
        &[("x-forwarded-for", b"6.6.6.6, unknown")],
        &[("x-forwarded-for", b"\xff")],
        &[("x-forwarded-proto", b"https")],
    ];
    for headers in uncertain {
        let own = posted(headers).await;
        assert_eq!(listed(headers).await, 0, "{headers:?}");
        for id in [&of_operator, &of_six, &own] {
            let path = format!("/api/v1/jobs/{id}");
            let answer = ask(Method::DELETE, &path, headers).send().await.unwrap();
            assert_eq!(refusal(answer).await, (StatusCode::UNAUTHORIZED, "invalid_token".into()), "{headers:?}");
        }
        assert_eq!(ask(Method::GET, &format!("/api/v1/jobs/{own}"), headers).send().await.unwrap().status(), 200);
        let keyed = ask(Method::POST, "/api/v1/jobs", headers).header("idempotency-key", "k").body(JOB);
        assert_eq!(refusal(keyed.send().await.unwrap()).await.1, "invalid_token");
        // A token is known wherever it comes from.
        let with_token = [headers, &[token]].concat();
        let id = posted(&with_token).await;
        assert_eq!(listed(&with_token).await, 1, "{headers:?}");
        let stopped = ask(Method::DELETE, &format!("/api/v1/jobs/{id}"), &with_token).send().await.unwrap();
        assert_eq!(stopped.status(), StatusCode::OK);
        ask(Method::DELETE, &format!("/api/v1/jobs/{id}"), &with_token).send().await.unwrap();
    }
    assert_eq!((listed(&[]).await, listed(&[("x-forwarded-for", b"6.6.6.6")]).await), (1, 1));
    // A client's bytes that are no text hide nothing that the proxy wrote behind them.
    assert_eq!(listed(&[("x-forwarded-for", b"\xff, 6.6.6.6")]).await, 1);
    // They have the pace of one address together, and it is nobody else's.
    let posts =
        (0..20_000).map(|n| ask(Method::POST, "/api/v1/jobs", uncertain[n % uncertain.len()]).body("{}").send());
    let mut answers = futures::stream::iter(posts).buffer_unordered(16);
    loop {
        let answer = answers.next().await.expect("no pace").unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
    }
    posted(&[]).await;
    posted(&[("x-forwarded-for", b"9.9.9.9")]).await;
}

#[tokio::test]
async fn networks_of_trusted_proxies_may_be_written_as_ipv6() {
    for network in ["::ffff:127.0.0.1", "::ffff:127.0.0.0/104"] {
        let folder = Folder::new("mapped");
        let relay = Relay::start(&folder, &["--no-provider", "--trust-proxy", network]);
        post_job(&relay, JOB).await;
        let list = |client: &'static str| {
            let request = Client::new().get(relay.at("/api/v1/jobs")).header("x-forwarded-for", client);
            async move { request.send().await.unwrap().text().await.unwrap() }
        };
        assert_eq!(list("9.9.9.9").await, "[]", "{network}");
        assert_ne!(list("127.0.0.1").await, "[]", "{network}");
        relay.stop();
    }
}

#[tokio::test]
async fn the_page_connects_through_proxies_that_name_websockets_or_the_port_in_their_own_way() {
    let folder = Folder::new("proxied-page");
    let relay = Relay::start(&folder, &["--no-provider", "--host-name", "relay.example.org"]);
    let status = |host: &str, more: &str| {
        let head = format!(
            "GET /p2p HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        let mut status = [0; 12];
        open(&relay, &head).read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    let (plain, other) = ("https://relay.example.org", "https://relay.example.org:8443");
    for (host, origin, more, expected) in [
        ("relay.example.org", plain, "X-Forwarded-Proto: https\r\n", "101"),
        ("relay.example.org", plain, "X-Forwarded-Proto: wss\r\n", "101"),
        ("relay.example.org", plain, "Forwarded: for=1.2.3.4;proto=wss\r\n", "101"),
        ("relay.example.org", plain, "X-Forwarded-Proto:\r\nForwarded: for=1.2.3.4;proto=https\r\n", "101"),
        ("relay.example.org", "http://relay.example.org", "X-Forwarded-Proto: ws\r\n", "101"),
        ("relay.example.org:8443", other, "X-Forwarded-Proto: https\r\n", "101"),
        ("relay.example.org", other, "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n", "101"),
        ("relay.example.org", other, "X-Forwarded-Proto: https\r\n", "403"),
        ("relay.example.org", plain, "X-Forwarded-Proto: ws\r\n", "403"),
        ("relay.example.org", "https://evil.example", "X-Forwarded-Proto: wss\r\n", "403"),
    ] {
        assert_eq!(status(host, &format!("Origin: {origin}\r\n{more}")), expected, "{host} {origin} {more}");
    }
    for (pairs, address) in [
        (&[("x-forwarded-proto", "wss")][..], "/dns/relay.example.org/tcp/443/tls/"),
        (&[("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")], "/dns/relay.example.org/tcp/8443/tls/"),
    ] {
        let request = Client::new().get(relay.at("/.well-known/p2pnet.json")).header("host", "relay.example.org");
        let request = pairs.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let document: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        assert!(document["addresses"][0].as_str().unwrap().starts_with(address), "{document}");
        // A port that only a proxy names may be its own.
        let usual = |known: &Value| known.as_str().unwrap().starts_with("/dns/relay.example.org/tcp/443/tls/");
        assert!(document["addresses"].as_array().unwrap().iter().any(usual), "{document}");
    }
}
