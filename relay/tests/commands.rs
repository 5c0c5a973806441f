//! The example commands of `kernels/commands` as their user has them: tested on both engines by `p2pnet kernel test`,
//! run as jobs by a relay; and kernels that try to escape, refused at the door.
#![expect(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::id::Hash;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Folder, Relay, cli, post_job, refusal, wait_for};

/// The examples that are shipped.
const COMMANDS: [&str; 4] = ["darts", "frequencies", "statistics", "surroundings"];

fn room() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/commands")
}

fn built(command: &str) -> PathBuf {
    room().join("built").join(command).with_extension("wasm")
}

fn kernel_test(file: &Path, cases: &Path, more: &[&str]) -> (i32, String, String) {
    let words = ["kernel", "test", file.to_str().unwrap(), cases.to_str().unwrap()];
    cli(&[&words, more].concat(), "")
}

fn command_job(command: &str, args: Value, input: &str, split: &str) -> String {
    let module = STANDARD.encode(fs::read(built(command)).unwrap());
    json!({"kind": "command", "module": module, "args": args, "input": STANDARD.encode(input), "split": split,
        "policy": {"retries": 0}})
    .to_string()
}

/// Standard output and standard error of a completed job.
async fn outputs(relay: &Relay, job: String) -> (String, String) {
    let id = post_job(relay, job).await;
    wait_for(relay, &id, "completed").await;
    let result = relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"].clone();
    let output = STANDARD.decode(result["stdout"].as_str().unwrap()).unwrap();
    (String::from_utf8(output).unwrap(), result["stderr"].as_str().unwrap().to_owned())
}

#[test]
fn every_example_does_on_both_engines_what_its_cases_say() {
    for command in COMMANDS {
        let (code, out, err) = kernel_test(&built(command), &room().join(command).join("cases"), &[]);
        assert_eq!(code, 0, "{command}: {out}{err}");
        assert!(out.contains(" 0 wrong, 0 on which the engines differ"), "{out}");
        let (code, out, _) = cli(&["kernel", "check", built(command).to_str().unwrap()], "");
        assert!(code == 0 && out.contains("is a command"), "{out}");
    }
}

#[test]
fn a_test_of_a_kernel_fails_with_what_is_wrong_and_writes_what_is_not_said() {
    let folder = Folder::new("cases");
    let kernel = folder.path().join("upper.wasm");
    fs::write(&kernel, p2pnet_test_kernels::upper_case()).unwrap();
    let cases = folder.path().join("cases");
    let put = |name: &str, content: &str| fs::write(cases.join(name), content).unwrap();
    let test = |more: &[&str]| kernel_test(&kernel, &cases, more);
    let (code, _, err) = test(&[]);
    assert!(code == 2 && err.contains("cannot be read"), "{err}");
    fs::create_dir(&cases).unwrap();
    let (code, _, err) = test(&[]);
    assert!(code == 2 && err.contains("no case") && err.contains("NAME.in"), "{err}");

    put("words.in", "two words\n");
    let (code, out, err) = test(&[]);
    assert!(code == 1 && out.contains("nothing says what should come") && err.contains("1 of 1"), "{out}{err}");
    let (code, out, _) = test(&["--write"]);
    assert!(code == 0 && out.contains("wrote  words.out"), "{out}");
    assert_eq!(fs::read(cases.join("words.out")).unwrap(), b"TWO WORDS\n");
    let (code, out, _) = test(&[]);
    assert!(code == 0 && out.contains("ok     words") && out.contains("1 cases, 0 wrong"), "{out}");

    put("words.out", "TWO Words\n");
    for more in [&[][..], &["--write"]] {
        let (code, out, err) = test(more);
        assert!(code == 1 && out.contains("differs at byte 5") && err.contains("--write"), "{out}{err}");
    }
    put("words.out", "TWO WORDS\n");
    put("words.trap", "trapped");
    let (code, out, _) = test(&[]);
    assert!(code == 1 && out.contains("gave an output instead of ending as trapped"), "{out}");
    fs::remove_file(cases.join("words.trap")).unwrap();
    put("words.args", "-v\n");
    let (code, _, err) = test(&[]);
    assert!(code == 2 && err.contains("a kernel takes no arguments"), "{err}");
    fs::remove_file(cases.join("words.args")).unwrap();
    put("lost.out", "");
    let (code, _, err) = test(&[]);
    assert!(code == 2 && err.contains("no lost.in"), "{err}");
    fs::remove_file(cases.join("lost.out")).unwrap();

    fs::write(&kernel, p2pnet_test_kernels::trapping()).unwrap();
    let (code, out, _) = test(&[]);
    assert!(code == 1 && out.contains("it gave no output: it ended as trapped"), "{out}");
    fs::remove_file(cases.join("words.out")).unwrap();
    let (code, out, _) = test(&[]);
    assert!(code == 1 && out.contains("nothing says what should come; it ended as trapped"), "{out}");
    put("words.trap", "traped\n");
    let (code, _, err) = test(&[]);
    assert!(
        code == 2 && err.contains("traped") && err.contains("trapped, out_of_gas") && err.contains("output_too_large"),
        "{err}"
    );
    fs::remove_file(cases.join("words.trap")).unwrap();
    let (code, out, _) = test(&["--write"]);
    assert!(code == 0 && out.contains("wrote  words.trap"), "{out}");
    assert_eq!(test(&[]).0, 0);
    fs::write(&kernel, p2pnet_test_kernels::endless()).unwrap();
    let (code, out, _) = test(&["--timeout-seconds", "1"]);
    assert!(code == 1 && out.contains("was not done in 1 s"), "{out}");
    fs::write(&kernel, b"\0asm\x01\0\0\0").unwrap();
    assert_eq!(test(&[]).0, 3);

    let wrong_exit = folder.path().join("exits");
    fs::create_dir(&wrong_exit).unwrap();
    fs::write(wrong_exit.join("none.in"), "\n").unwrap();
    fs::write(wrong_exit.join("none.out"), "").unwrap();
    let (code, out, _) = kernel_test(&built("statistics"), &wrong_exit, &[]);
    assert!(code == 1 && out.contains("exit code 1, not 0") && out.contains("no numbers"), "{out}");
}

#[tokio::test]
async fn the_examples_run_as_jobs_and_a_part_that_fails_says_why() {
    let folder = Folder::new("commands");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let text = "one two\ntwo three\n";
    let (out, err) = outputs(&relay, command_job("frequencies", json!(["--top", "1"]), text, "none")).await;
    assert_eq!((out.as_str(), err.as_str()), ("2\ttwo\n", ""));
    let by_lines = outputs(&relay, command_job("frequencies", json!([]), text, "lines")).await.0;
    assert_eq!(by_lines, "1\tone\n1\ttwo\n1\tthree\n1\ttwo\n");

    // The first part of a job is the part that `p2pnet kernel test` tries.
    let said = fs::read_to_string(room().join("surroundings/cases/plain.out")).unwrap();
    let (out, err) =
        outputs(&relay, command_job("surroundings", json!(["one", "two words"]), "five\nagain\n", "lines")).await;
    assert!(out.starts_with(&said), "{out}");
    assert_eq!(err, "the input has 5 bytes\nthe input has 6 bytes\n");
    let chance: Vec<&str> = out.lines().filter(|line| line.starts_with("chance:")).collect();
    assert!(chance.len() == 2 && chance[0] != chance[1], "{out}");

    // Twice the same darts; and enough of them for the native compiler to take the call.
    let throw = || outputs(&relay, command_job("darts", json!([]), "100000\n300000\n", "lines"));
    let thrown = throw().await.0;
    let said = fs::read_to_string(room().join("darts/cases/many.out")).unwrap();
    assert!(thrown.starts_with(&said), "{thrown}");
    assert_eq!(thrown.lines().count(), 2);
    assert_eq!(throw().await.0, thrown);

    let (out, err) = outputs(&relay, command_job("statistics", json!([]), "1 2 x 3\n", "none")).await;
    assert!(
        out.starts_with("count 3, skipped 1\nmin 1, max 3\nmean 2") && err.contains("x is no number"),
        "{out}{err}"
    );
    let id = post_job(&relay, command_job("statistics", json!([]), "1\nnone\n", "lines")).await;
    wait_for(&relay, &id, "completed").await;
    let result = relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"].clone();
    assert_eq!((&result["failed"][0]["part"], &result["failed"][0]["exit_code"]), (&json!(1), &json!(1)), "{result}");
    assert!(result["failed"][0]["stderr"].as_str().unwrap().contains("no numbers"), "{result}");
    assert_eq!(result["exit_codes"], json!({"0": 1, "1": 1}));
}

#[tokio::test]
async fn what_a_program_puts_out_is_there_as_bytes_also_if_it_failed() {
    let folder = Folder::new("bytes");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let http = reqwest::Client::new();
    let get = async |path: String, accept: &str| {
        let answer = http.get(relay.at(&path)).header("accept", accept).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status(), kind, answer.bytes().await.unwrap().to_vec())
    };
    let bytes = "application/octet-stream";
    let id = post_job(&relay, command_job("frequencies", json!([]), "one\n", "none")).await;
    wait_for(&relay, &id, "completed").await;
    let whole = get(format!("/api/v1/jobs/{id}/result"), bytes).await;
    assert_eq!(whole, (StatusCode::OK, bytes.to_owned(), b"1\tone\n".to_vec()));
    assert_eq!(get(format!("/api/v1/jobs/{id}/result/stdout"), "*/*").await, whole);
    assert_eq!(get(format!("/api/v1/jobs/{id}/result/stderr"), "*/*").await.2, b"");
    assert_eq!(get(format!("/api/v1/jobs/{id}/result"), "*/*").await.1, "application/json");
    let (status, _, _) = get(format!("/api/v1/jobs/{id}/result/log"), "*/*").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let file = folder.path().join("out");
    let url = relay.at("");
    let (code, out, err) = cli(&["job", "get", &id, "--output", file.to_str().unwrap(), "--url", &url], "");
    assert_eq!((code, out.as_str(), fs::read(&file).unwrap()), (0, "", b"1\tone\n".to_vec()), "{err}");
    let (code, out, err) = cli(&["job", "get", &id, "--output", "-", "--url", &url], "");
    assert_eq!((code, out.as_str()), (0, "1\tone\n"), "{err}");

    let sum = post_job(&relay, json!({"kind": "map", "data": [1], "map": "x"}).to_string()).await;
    wait_for(&relay, &sum, "completed").await;
    let answer = http.get(relay.at(&format!("/api/v1/jobs/{sum}/result/stdout"))).send().await.unwrap();
    assert_eq!(refusal(answer).await.1, "not_found");
    assert_eq!(get(format!("/api/v1/jobs/{sum}/result"), bytes).await.1, "application/json", "no bytes to give");

    // Its only part fails: the job does, and what it said is kept, over a restart as well.
    let id = post_job(&relay, command_job("statistics", json!([]), "none\n", "none")).await;
    let error = wait_for(&relay, &id, "failed").await["error"].clone();
    assert_eq!(error["code"], "kernel_error", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("part 0 ended with exit code 1") && message.contains("no numbers"), "{message}");
    relay.stop();
    let relay = Relay::start(&folder, &["--no-provider"]);
    let http = reqwest::Client::new(); // the other one's connections have ended
    let answer = http.get(relay.at(&format!("/api/v1/jobs/{id}/result"))).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["error"]["code"], &answer["result"]["failed_total"]), (&json!("no_result"), &json!(1)));
    let errors = http.get(relay.at(&format!("/api/v1/jobs/{id}/result/stderr"))).send().await.unwrap();
    assert!(errors.text().await.unwrap().contains("no numbers"));
}

#[tokio::test]
async fn a_module_that_came_with_a_job_may_be_named_by_its_hash_and_a_job_that_does_survives_a_restart() {
    let folder = Folder::new("by-hash");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let (out, _) = outputs(&relay, command_job("statistics", json!([]), "1\n", "none")).await;
    let hash = Hash::of(&fs::read(built("statistics")).unwrap());
    let (_, check, _) = cli(&["kernel", "check", built("statistics").to_str().unwrap()], "");
    assert!(check.contains(&hash.to_string()), "{check}");
    let named = |input: &str| {
        json!({"kind": "command", "module": hash, "input": STANDARD.encode(input), "split": "none"}).to_string()
    };
    assert_eq!(outputs(&relay, named("1\n")).await.0, out);
    relay.stop();

    // Its source is longer than the module that it only names.
    let relay = Relay::start(&folder, &["--no-provider"]);
    let id = post_job(&relay, named(&"1\n".repeat(100_000))).await;
    relay.stop();
    let relay = Relay::start(&folder, &["--cores", "1"]);
    wait_for(&relay, &id, "completed").await;
    let result = relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"].clone();
    let output = STANDARD.decode(result["stdout"].as_str().unwrap()).unwrap();
    assert!(output.starts_with(b"count 100000, skipped 0\nmin 1, max 1\n"));
}

/// What [`p2pnet_test_kernels::escape`] has, over HTTP: refused by a documented code, and the relay goes on.
#[tokio::test]
async fn kernels_that_try_to_escape_are_refused_at_the_door() {
    let folder = Folder::new("escape");
    let relay = Relay::start(&folder, &["--cores", "1"]);
    let documented = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators.md")).unwrap();
    let http = reqwest::Client::new();
    for attempt in p2pnet_test_kernels::escape::attempts() {
        for (kind, field) in [("kernel", "kernel"), ("command", "module")] {
            let job = json!({"kind": kind, field: STANDARD.encode(&attempt.module), "input": ""}).to_string();
            let answer = http.post(relay.at("/api/v1/jobs")).body(job).send().await.unwrap();
            let (status, code) = refusal(answer).await;
            let expected: &[&str] = if kind == "kernel" { attempt.codes } else { &["kernel_imports", "too_large"] };
            let known = expected.contains(&code.as_str()) || code == "invalid_kernel";
            assert!(known, "{}, as a {kind}: {code}", attempt.name);
            let right = if code == "too_large" { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            assert_eq!(status, right, "{}", attempt.name);
            assert!(documented.contains(&format!("| `{code}` | {} |", status.as_u16())), "{code} is not documented");
        }
    }
    assert_eq!(http.get(relay.at("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(relay.get("/api/v1/jobs").await, json!([]));
}

/// Copies its input to standard output; input that begins with `e` never ends, with `o` puts out for as long as it may.
const ENDLESS_IF_TOLD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 20)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1000))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x65)) (then (loop $on (br $on))))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x6f)) (then
            (local.set $left (i32.const 60)) (i32.store (i32.const 4) (i32.const 1000000))
            (loop $more
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))))"#;

#[tokio::test]
async fn a_line_that_never_ends_or_puts_out_too_much_is_one_lines_failure_over_http_and_on_the_command_line() {
    let folder = Folder::new("endless");
    let relay = Relay::start(&folder, &["--cores", "2"]);
    let module = ENDLESS_IF_TOLD.replace("(func (export \"_start\")", "(func (export \"_start\") (local $left i32)");
    let module = wat::parse_str(module).unwrap();
    let line = |number: usize| match number {
        37 => "endless\n".to_owned(),
        61 => "output\n".to_owned(),
        number => format!("{number}\n"),
    };
    let input: String = (0..100).map(line).collect();
    let job = json!({"kind": "command", "module": STANDARD.encode(&module), "input": STANDARD.encode(&input),
        "split": "lines", "requirements": {"timeout_seconds": 1}, "policy": {"retries": 0}});
    let id = post_job(&relay, job.to_string()).await;
    wait_for(&relay, &id, "completed").await;
    let result = relay.get(&format!("/api/v1/jobs/{id}/result")).await["result"].clone();
    let others: String = (0..100).filter(|number| *number != 37 && *number != 61).map(line).collect();
    assert_eq!(STANDARD.decode(result["stdout"].as_str().unwrap()).unwrap(), others.as_bytes());
    let failed = json!([{"part": 37, "exit_code": 124, "error": "timed_out", "stderr": ""},
        {"part": 61, "exit_code": 153, "error": "too_large", "stderr": ""}]);
    assert_eq!((&result["failed"], &result["failed_total"]), (&failed, &json!(2)));
    assert_eq!(result["exit_codes"], json!({"0": 98, "124": 1, "153": 1}));

    let program = folder.path().join("program.wasm");
    fs::write(&program, &module).unwrap();
    let run = |line: &str| {
        let program = program.to_str().unwrap();
        let words = ["job", "run", "--wait", "--url", relay.url(), "--kind", "command", "--module", program];
        cli(
            &[&words[..], &["--input", "-", "--split", "lines", "--timeout-seconds", "1", "--retries", "0"]].concat(),
            line,
        )
    };
    let (code, out, err) = run("1\nendless\n2\n");
    assert!(code == 0 && out.contains("timed_out") && out.contains("124"), "{code} {out}{err}");
    let (code, _, err) = run("endless\n");
    assert!(code == 5 && err.contains("part 0 ran longer than requirements.timeout_seconds"), "{code} {err}");
}
