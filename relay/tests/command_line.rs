//! The command line among other programs: readers that leave, proxies, web pages in place of answers, large modules.
#![expect(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::ffi::OsStrExt as _,
    process::{Output, Stdio},
};

use serde_json::Value;
use support::{Folder, Process, Relay, cli, command, post_job, refusal, wait_for};

const QUICK: &str = r#"{"kind":"map","data":[1,2],"map":"x"}"#;

/// Runs a command to its end with more in its environment: exit code and standard error.
fn cli_with(environment: &[(&str, &str)], args: &[&str]) -> (i32, String) {
    let mut command = command();
    let Output { status, stderr, .. } =
        command.args(args).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stderr).unwrap())
}

/// A disk without room.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A server that gives every request this answer; its URL.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The whole request is one packet here.
            let _ = stream.read(&mut [0; 65_536]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_command_quietly() {
    let folder = Folder::new("reader");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let id = post_job(&relay, QUICK).await;
    for args in [&["job", "list"][..], &["job", "list", "--json"], &["job", "describe", &id], &["node", "list"]] {
        let mut child = command()
            .args(args)
            .args(["--url", relay.url()])
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap()),
            (Some(0), String::new()),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn a_relay_whose_log_is_full_or_whose_reader_left_computes_and_ends_when_told() {
    let folder = Folder::new("log");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = Some(reader);
    for log in [writer.into(), full()] {
        let relay = Relay::start_logging_to(log, &folder, &["--cores", "1"]);
        drop(reader.take());
        for _ in 0..3 {
            let id = post_job(&relay, QUICK).await;
            wait_for(&relay, &id, "completed").await;
        }
        let gone = reqwest::get(relay.at("/api/v1/jobs/none")).await.unwrap();
        assert_eq!(refusal(gone).await.1, "unknown_job");
        relay.stop();
    }
}

#[tokio::test]
async fn a_node_whose_outputs_nobody_takes_computes_and_ends_when_told() {
    let (folder, node_folder) = (Folder::new("log-relay"), Folder::new("log-node"));
    let relay = Relay::start(&folder, &["--no-provider"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let computes = async || {
        let id = post_job(&relay, QUICK).await;
        wait_for(&relay, &id, "completed").await;
    };
    let node = Process::node_logging_to(writer.into(), &relay, &node_folder);
    drop(reader);
    computes().await;
    node.stop();
    let node = Process::node_unheard(full(), full(), &relay, &node_folder);
    computes().await;
    node.stop();
}

#[test]
fn help_and_version_that_cannot_be_written_are_a_failure() {
    for args in [&["--help"][..], &["--version"], &["help", "job"], &["job", "run", "--help"], &["config"]] {
        let output = command().args(args).stdin(Stdio::null()).stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("standard output cannot be written"), "{args:?}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command().args(args).stdin(Stdio::null()).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{args:?}");
    }
    // What is wrong goes to standard error; where nobody takes that, the code says it still.
    for args in [&["--no-such-flag"][..], &["job"], &["job", "run", "{", "--url", "ftp://a"]] {
        let status = command().args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_refused_by_its_name() {
    let (_, settings, _) = cli(&["config", "--json"], "");
    let settings: Vec<Value> = serde_json::from_str(&settings).unwrap();
    let names = settings.iter().map(|line| line["name"].as_str().unwrap()).chain(["config"]);
    for variable in names.map(|name| format!("P2PNET_{}", name.to_uppercase())) {
        let mut command = command();
        let asked =
            command.args(["job", "list", "--url", "http://127.0.0.1:9"]).env(&variable, OsStr::from_bytes(b"\xff/"));
        // A flag goes before the variable, which is not looked at then.
        let expected = if variable == "P2PNET_URL" { (4, "no relay answers") } else { (2, "UTF-8") };
        let output = asked.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected.0), "{variable}: {said}");
        assert!(said.contains(expected.1) && (expected.0 == 4 || said.contains(&variable)), "{variable}: {said}");
    }
    let (code, err) = cli_with(&[("P2PNET_CONFIG", ""), ("P2PNET_TOKEN", ""), ("P2PNET_URL", "")], &["config"]);
    assert_eq!((code, &*err), (0, ""));
}

#[tokio::test]
async fn what_becomes_a_header_or_an_address_is_refused_for_what_it_is() {
    let folder = Folder::new("values");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let run = ["job", "run", "--url", relay.url(), QUICK];
    let long = "k".repeat(129);
    for key in ["a\nb", "a\rb", "a\u{7f}", "é", "", " ", &long] {
        let (code, _, err) = cli(&[&run[..], &["--idempotency-key", key]].concat(), "");
        assert!(
            code == 3 && err.contains("1 to 128 visible ASCII") && err.contains("[invalid_field]"),
            "{key:?}: {err}"
        );
    }
    let (_, first, _) = cli(&[&run[..], &["--idempotency-key", "a key"]].concat(), "");
    let (_, second, _) = cli(&[&run[..], &["--idempotency-key", "a key\n"]].concat(), "");
    assert!(first == second && !first.is_empty(), "{first} {second}");
    let (code, _, err) = cli(&[&run[..], &["--token", "0123456789\nabcdef"]].concat(), "");
    assert!(code == 2 && err.contains("visible ASCII characters"), "{code} {err}");
    for id in ["a\nb", "../../healthz", "a?b#c", ""] {
        let (code, _, err) = cli(&["job", "describe", "--url", relay.url(), id], "");
        assert!(code == 2 && err.contains("is no job id"), "{id:?}: {code} {err}");
    }
    for filter in [["--name", "a\nb&limit=1#?"], ["--label", "a\nb=\u{202e}&x"], ["--label", "é=%0d%0a"]] {
        let (code, out, err) = cli(&[&["job", "list", "--url", relay.url()][..], &filter].concat(), "");
        assert!(
            code == 3 && err.contains("[invalid_field]") || out.contains("no such jobs"),
            "{filter:?}: {code} {err}"
        );
    }
}

#[test]
fn files_without_an_end_are_refused_once_they_are_too_large() {
    let endless = "/dev/zero";
    let kernel = ["job", "run", "--kind", "kernel"];
    for args in [
        &["kernel", "check", endless][..],
        &["kernel", "rewrite", endless],
        &["kernel", "test", endless],
        &["job", "run", endless],
        &["job", "run", "--kind", "command", "--module", endless],
        &[&kernel[..], &["--kernel", endless]].concat(),
        &[&kernel[..], &["--input", endless]].concat(),
        &["job", "run", "--kind", "map", "--map", "x", "--data", endless],
    ] {
        let (code, _, err) = cli(args, "");
        assert!(code == 3 && err.contains("/dev/zero is too large") && err.contains("[too_large]"), "{args:?}: {err}");
    }
    let output = command().args(["job", "run", "-"]).stdin(fs::File::open(endless).unwrap()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && said.contains("standard input is too large"), "{said}");
    let (code, _, err) = cli(&["--config", endless, "config"], "");
    assert!(code == 2 && err.contains("/dev/zero") && err.contains("1048576 bytes"), "{code} {err}");
}

#[test]
fn a_web_page_in_place_of_an_answer_is_named_as_such() {
    let login = server(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html><title>Please log in</title></html>",
    );
    let (code, _, err) = cli(&["job", "list", "--url", &login], "");
    assert_eq!(code, 4, "{err}");
    for part in ["a web page (200 OK, \"Please log in\")", "not p2pnet's API", "is the URL right", &login] {
        assert!(err.contains(part), "{part} is missing in {err}");
    }
    let gateway = server(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n<h1>502</h1>",
    );
    let (code, _, err) = cli(&["node", "list", "--json", "--url", &gateway], "");
    assert!(code == 4 && err.contains("502 Bad Gateway") && err.contains("not p2pnet's API"), "{code} {err}");
    let plain = server("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nno");
    let (code, _, err) = cli(&["job", "list", "--url", &plain], "");
    assert!(code == 4 && err.contains("503"), "{code} {err}");
}

/// The commands that ask for something, each with an id and a file where it takes one.
fn questions(file: &str) -> [Vec<String>; 10] {
    const ID: &str = "0123456789abcdef0123456789abcdef";
    [
        &["job", "list"][..],
        &["job", "list", "--json"],
        &["job", "describe", ID],
        &["job", "describe", ID, "--json"],
        &["job", "get", ID],
        &["job", "get", ID, "--json"],
        &["job", "get", ID, "--output", file],
        &["job", "stop", ID],
        &["job", "run", QUICK],
        &["node", "list", "--json"],
    ]
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn whatever_is_no_relays_answer_is_never_taken_for_one() {
    const PAGE: &str = "\u{feff}<!DOCTYPE html><HTML><TITLE>Please\nlog in</TITLE></HTML>";
    let folder = Folder::new("no-answer");
    let file = folder.path().join("result");
    let page = "a web page (200 OK, \"Please log in\")";
    for (kind, body, told) in [
        ("Content-Type: Text/HTML; charset=utf-8", PAGE, page),
        ("Content-Type: application/xhtml+xml", PAGE, page),
        ("Content-Type: text/plain", PAGE, page),
        ("Content-Type: application/json", PAGE, page),
        ("Content-Type: application/octet-stream", PAGE, page),
        ("Content-Type: application/octet-stream", "log in", "(200 OK, application/octet-stream: \"log in\")"),
        ("X-None: 1", PAGE, page),
        ("Content-Type: text/html", "[]", "a web page (200 OK)"),
        ("Content-Type: text/plain", "log in\u{202e}\n first", "something else (200 OK, text/plain: \"log in first\")"),
        ("Content-Type: text/plain", "[]", "something else (200 OK, text/plain: \"[]\")"),
        ("Content-Type: application/json", "", "something else (200 OK, application/json, empty)"),
        ("Content-Type: application/json", "log in", "something else (200 OK, application/json: \"log in\")"),
        ("Content-Type: Application/JSON", "{\"login\":true}", "JSON of something else, or of another version"),
        ("Content-Type: application/json", "[{\"login\":true}]", "JSON of something else, or of another version"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let url = server(format!("{head}{body}").leak());
        for words in questions(file.to_str().unwrap()) {
            let words: Vec<&str> = words.iter().map(String::as_str).chain(["--url", &url]).collect();
            let (code, out, err) = cli(&words, "");
            assert!(code == 4 && out.is_empty(), "{kind} {body:?} {words:?}: {code} {out:?} {err}");
            assert!(err.contains(told) && err.contains("not p2pnet's API"), "{kind} {body:?} {words:?}: {err}");
            assert!(!file.exists(), "{kind} {body:?}: nothing is kept of it");
        }
    }
}

#[test]
fn an_answer_is_known_by_what_it_is_however_its_type_is_written() {
    let folder = Folder::new("answer");
    let file = folder.path().join("result");
    let get = ["job", "get", "0123456789abcdef0123456789abcdef", "--output", file.to_str().unwrap()];
    for (kind, body, kept) in [
        ("Content-Type: Application/JSON; charset=UTF-8", "{\"result\":[1.50]}", "[1.50]\n"),
        ("Content-Type: application/problem+json", "{\"result\":\"a\"}", "a\n"),
        ("X-None: 1", "{\"result\":1}", "1\n"),
        ("P2PNET-Failed-Parts: 0\r\nContent-Type: Application/Octet-Stream", "bytes", "bytes"),
        // A program's output may be a page.
        ("p2pnet-failed-parts: 0\r\nContent-Type: application/octet-stream", "<html>", "<html>"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let url = server(format!("{head}{body}").leak());
        let (code, _, err) = cli(&[&get[..], &["--url", &url]].concat(), "");
        assert_eq!((code, &*fs::read_to_string(&file).unwrap()), (0, kept), "{kind}: {err}");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_refusal_by_what_stands_before_the_relay_is_named_as_such() {
    let folder = Folder::new("blocked");
    let file = folder.path().join("result");
    for (status, kind, body, told) in [
        ("403 Forbidden", "text/html", "<h1>no</h1>", "a web page (403 Forbidden)"),
        ("403 Forbidden", "Text/HTML", "<html><title>Blocked</title>", "a web page (403 Forbidden, \"Blocked\")"),
        ("403 Forbidden", "text/plain", "Blocked by policy", "(403 Forbidden, text/plain: \"Blocked by policy\")"),
        ("404 Not Found", "text/plain", "404 page not found", "(404 Not Found, text/plain: \"404 page not found\")"),
        ("403 Forbidden", "application/json", "{\"message\":\"no\"}", "(403 Forbidden, application/json: "),
        ("413 Payload Too Large", "text/html", "<html>", "a web page (413 Payload Too Large)"),
        ("500 Internal Server Error", "text/plain", "", "(500 Internal Server Error, text/plain, empty)"),
        ("502 Bad Gateway", "application/xhtml+xml", "<?xml?><html/>", "a web page (502 Bad Gateway)"),
        ("502 Bad Gateway", "text/plain", "no upstream", "(502 Bad Gateway, text/plain: \"no upstream\")"),
    ] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
        let url = server(format!("{head}{body}").leak());
        for words in questions(file.to_str().unwrap()) {
            let words: Vec<&str> = words.iter().map(String::as_str).chain(["--url", &url]).collect();
            let (code, out, err) = cli(&words, "");
            assert!(code == 4 && out.is_empty() && err.contains(told), "{status} {kind} {words:?}: {code} {out} {err}");
            assert!(err.contains("not p2pnet's API") && !file.exists(), "{status} {kind} {words:?}: {err}");
        }
    }
}

#[test]
fn a_redirection_is_told_and_not_followed() {
    let moved = |location: &str| {
        let head =
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        server(head.leak())
    };
    let url = moved("https://me:secret@relay.example/p2p/api/v1/jobs");
    let (code, _, err) = cli(&["job", "run", "--url", &url, QUICK], "");
    assert!(
        code == 4 && err.contains(&format!("{url}/ moved to https://…@relay.example/p2p/api/v1/jobs")),
        "{code} {err}"
    );
    assert!(err.contains("use --url https://…@relay.example/p2p/") && !err.contains("secret"), "{err}");
    let (code, _, err) = cli(&["job", "list", "--url", &moved("/login?next=jobs")], "");
    assert!(code == 4 && err.contains("/login?next=jobs") && err.contains("wants a login"), "{code} {err}");
}

#[test]
fn what_wants_a_login_is_told_with_how_to_give_one() {
    for status in ["401 Unauthorized", "407 Proxy Authentication Required"] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let url = server(head.leak());
        let (code, _, err) = cli(&["job", "list", "--url", &url.replace("http://", "http://me:secret@")], "");
        assert!(code == 4 && err.contains(status) && err.contains("http://NAME:PASSWORD@HOST"), "{code} {err}");
        assert!(!err.contains("secret"), "{err}");
    }
    let both = ["job", "list", "--url", "http://me:secret@127.0.0.1:9", "--token", "0123456789abcdef"];
    let (code, _, err) = cli(&both, "");
    assert!(code == 2 && err.contains("carries one of them") && !err.contains("secret"), "{code} {err}");
}

#[test]
fn a_port_that_speaks_no_https_is_told() {
    let url = server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificate.pem");
    let args = ["job", "list", "--url", &url.replace("http://", "https://")];
    let (code, err) = cli_with(&[("SSL_CERT_FILE", certificates)], &args);
    assert!(code == 4 && err.contains(&format!("try {url}")), "{code} {err}");
}

#[test]
fn a_relay_that_never_answers_is_waited_for_aloud() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut silent = command();
    let asked = silent.args(["job", "list", "--url", &url]).env("RUST_LOG", "off");
    let mut child = asked.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains(&url) && line.contains("has not answered yet"), "{line}");
}

#[test]
fn settings_that_have_no_effect_are_told() {
    let (code, err) = cli_with(&[("P2PNET_PROT", "1")], &["config"]);
    assert!(code == 0 && err.contains("did you mean P2PNET_PORT?"), "{code} {err}");
    let junk = [("HTTP_PROXY", "junk://"), ("http_proxy", "junk://")];
    let (_, err) = cli_with(&junk, &["job", "list", "--url", "http://relay.invalid"]);
    assert!(err.contains("HTTP_PROXY is \"junk://\", which is no URL of a proxy"), "{err}");
    let (code, err) = cli_with(&[("P2PNET_TRUSTED_PROXIES", "10.0.0.0/33")], &["config"]);
    assert!(code == 2 && err.contains("10.0.0.0/33"), "{code} {err}");
}

#[test]
fn a_proxy_in_between_is_named_and_this_machine_is_asked_without_one() {
    let folder = Folder::new("proxy");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let proxy = [("HTTP_PROXY", "http://me:secret@127.0.0.1:9"), ("http_proxy", "http://me:secret@127.0.0.1:9")];
    let (code, err) = cli_with(&proxy, &["node", "list", "--url", relay.url()]);
    assert_eq!(code, 0, "{err}");
    let (code, err) = cli_with(&proxy, &["node", "list", "--url", "http://relay.invalid:8080"]);
    assert!(code == 4 && err.contains("through the proxy http://127.0.0.1:9"), "{code} {err}");
    assert!(!err.contains("secret") && err.contains("NO_PROXY"), "{err}");
    let without = [proxy[0], proxy[1], ("NO_PROXY", "relay.invalid"), ("no_proxy", "relay.invalid")];
    let (code, err) = cli_with(&without, &["node", "list", "--url", "http://relay.invalid:8080"]);
    assert!(code == 4 && !err.contains("proxy"), "{code} {err}");
}

#[tokio::test]
async fn jobs_are_listed_by_name_and_label_and_beyond_the_first_page() {
    let folder = Folder::new("list");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let url = relay.url();
    let run = ["job", "run", "--url", url, QUICK, "--name", "nightly", "--label", "team=physics"];
    assert_eq!(cli(&run, "").0, 0);
    for _ in 0..3 {
        post_job(&relay, QUICK).await;
    }
    let (_, out, _) = cli(&["job", "list", "--url", url, "--label", "team=physics"], "");
    assert!(out.contains("nightly team=physics") && out.lines().count() == 2, "{out}");
    let count = |args: &[&str]| {
        let (code, out, err) = cli(&[&["job", "list", "--json", "--url", url][..], args].concat(), "");
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().len()
    };
    assert_eq!((count(&["--limit", "2"]), count(&["--all"]), count(&["--name", "nightly"])), (2, 4, 1));
    let (code, _, err) = cli(&["job", "list", "--url", url, "--limit", "0"], "");
    assert!(code == 2 && err.contains("--limit"), "{code} {err}");
    let (code, _, err) = cli(&["job", "describe", "--url", url, &"0".repeat(32)], "");
    assert!(code == 3 && err.contains("`p2pnet job list`"), "{code} {err}");
    let (code, _, err) = cli(&["job", "run", "--url", url, QUICK, "--label", "team"], "");
    assert!(code == 2 && err.contains("key=value"), "{code} {err}");
}

/// A relay ends a page at 1 MiB, which is fewer jobs than asked for where each has many labels.
#[tokio::test]
async fn a_list_goes_on_where_the_relay_ended_its_page_until_there_are_as_many_as_asked_for() {
    const JOBS: usize = 130;
    let folder = Folder::new("long-list");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let labels: Value = (0..32).map(|n| (format!("key-{n}"), Value::from("x".repeat(255)))).collect();
    let mut job: Value = serde_json::from_str(QUICK).unwrap();
    job["labels"] = labels;
    for _ in 0..JOBS {
        post_job(&relay, job.to_string()).await;
    }
    let first = reqwest::get(relay.at("/api/v1/jobs")).await.unwrap();
    assert!(first.headers().contains_key("x-next-cursor"), "the relay gives them in more than one page");
    let list = |args: &[&str]| {
        let (code, out, err) = cli(&[&["job", "list", "--url", relay.url()][..], args].concat(), "");
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    };
    for (args, expected) in [
        (&[][..], JOBS),
        (&["--all"], JOBS),
        (&["--limit", "128"], 128),
        (&["--limit", "5"], 5),
        (&["--limit", "5000"], JOBS),
    ] {
        // One heading, however many pages there were.
        assert_eq!(list(args).lines().count(), 1 + expected, "{args:?}");
        let jobs: Value = serde_json::from_str(&list(&[args, &["--json"]].concat())).unwrap();
        assert_eq!(jobs.as_array().unwrap().len(), expected, "{args:?}");
    }
}

#[tokio::test]
async fn flags_beside_json_reach_the_job_or_are_refused() {
    let folder = Folder::new("flags");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let run = ["job", "run", "--url", relay.url(), QUICK];
    let (code, out, err) = cli(&[&run[..], &["--priority", "high", "--retries", "7", "--ram-gb", "3"]].concat(), "");
    assert_eq!(code, 0, "{err}");
    let job = relay.get(&format!("/api/v1/jobs/{}", out.trim())).await;
    assert_eq!((&job["policy"]["priority"], &job["policy"]["retries"]), (&"high".into(), &7.into()));
    assert_eq!(job["requirements"]["ram_gb"], 3.0);
    let (code, _, err) = cli(&[&run[..], &["--map", "x+1"]].concat(), "");
    assert!(code == 2 && err.contains("--map") && err.contains("--kind"), "{code} {err}");
    let with_policy = r#"{"kind":"map","data":[1],"map":"x","policy":{"retries":2}}"#;
    let (code, _, err) = cli(&["job", "run", "--url", relay.url(), with_policy, "--retries", "20"], "");
    assert!(code == 3 && err.contains("retries"), "{code} {err}");
}

#[test]
fn what_stands_twice_in_a_job_is_refused_also_where_its_module_is_sent_on_its_own() {
    let folder = Folder::new("twice");
    let relay = Relay::start(&folder, &["--no-provider"]);
    let url = relay.url();
    let run = ["job", "run", "--url", url, "--kind", "map", "--data", "[1]", "--map", "x", "--set"];
    for (set, path) in [
        (r#"policy={"retries":1,"retries":2}"#, "`policy.retries`"),
        (r#"labels={"a":"b","a":"c"}"#, "`labels.a`"),
        (r#"requirements={"ram_gb":1,"ram_gb":1}"#, "`requirements.ram_gb`"),
    ] {
        let (code, _, err) = cli(&[&run[..], &[set]].concat(), "");
        assert!(code == 3 && err.contains(path) && err.contains("twice"), "{set}: {code} {err}");
    }
    let mark = format!("\u{feff}{QUICK}");
    assert_eq!(cli(&["job", "run", "--url", url, &mark], "").0, 0);

    // Nine megabytes of a custom section.
    let mut module = p2pnet_test_kernels::echo();
    module.extend([0, 0x82, 0x80, 0x80, 0x04, 1, b'x']);
    module.resize(module.len() + (8 << 20), 0);
    let module = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, module);
    let file = folder.path().join("job.json");
    let send = |fields: &str| {
        fs::write(&file, format!("\u{feff}{{\"kind\":\"kernel\",{fields},\"input\":\"aGk=\"}}")).unwrap();
        cli(&["job", "run", "--url", url, file.to_str().unwrap()], "")
    };
    for (more, path) in [
        (r#""name":"one","name":"two""#, "`name`"),
        (r#""policy":{"retries":1,"retries":2}"#, "`policy.retries`"),
        (r#""merge":"concat","merge":"concat""#, "`merge`"),
        (&*format!("\"kernel\":\"{module}\""), "`kernel`"),
    ] {
        for fields in [format!("{more},\"kernel\":\"{module}\""), format!("\"kernel\":\"{module}\",{more}")] {
            let (code, _, err) = send(&fields);
            assert!(code == 3 && err.contains(path) && err.contains("twice"), "{path}: {code} {err}");
        }
    }
    let (code, out, err) = send(&format!("\"kernel\" :\n\"{module}\" , \"name\":\"one\""));
    assert_eq!(code, 0, "{err}");
    let (_, shown, _) = cli(&["job", "describe", "--json", "--url", url, out.trim()], "");
    assert!(shown.contains("\"name\":\"one\""), "{shown}");
}

#[test]
fn a_module_too_large_for_json_is_sent_on_its_own() {
    let folder = Folder::new("large-module");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    // A kernel with 25 MiB of a custom section, which no engine reads: 33 MiB in base64.
    let mut module = p2pnet_test_kernels::echo();
    let size = 25 << 20;
    module.push(0);
    let mut rest = size + 2;
    while rest >= 0x80 {
        module.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    module.push(rest as u8);
    module.extend([1, b'x']);
    module.resize(module.len() + size, 0);
    let (file, input) = (folder.path().join("large.wasm"), folder.path().join("input"));
    fs::write(&file, module).unwrap();
    fs::write(&input, "hi").unwrap();
    let (file, input) = (file.to_str().unwrap(), input.to_str().unwrap());
    let (code, out, err) = cli(
        &["job", "run", "--wait", "--url", relay.url(), "--kind", "kernel", "--kernel", file, "--input", input],
        "",
    );
    assert_eq!((code, out.trim()), (0, "aGk="), "{err}");
}
