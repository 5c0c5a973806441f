//! The command line among other programs: readers that leave, proxies, web pages in place of answers, large modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Output, Stdio},
};

use serde_json::Value;
use support::{Folder, Relay, cli, command, post_job};

const QUICK: &str = r#"{"kind":"map","data":[1,2],"map":"x"}"#;

/// Runs a command to its end with more in its environment: exit code and standard error.
fn cli_with(environment: &[(&str, &str)], args: &[&str]) -> (i32, String) {
    let mut command = command();
    let Output { status, stderr, .. } =
        command.args(args).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stderr).unwrap())
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
    let (code, _, err) = cli(&["job", "run", "--url", url, QUICK, "--label", "team"], "");
    assert!(code == 2 && err.contains("key=value"), "{code} {err}");
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
