//! A relay as its user has it: the built binary, a folder, a URL.
#![allow(dead_code)] // each test program uses a part

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_p2pnet");

/// Far longer than anything here takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A folder that is removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        // For the HTTP client of the tests themselves.
        p2pnet_native::install_crypto();
        let path = env::temp_dir().join(format!("p2pnet-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, free of what this machine is set to.
pub(crate) fn command() -> Command {
    clean(Command::new(BINARY))
}

fn clean(mut command: Command) -> Command {
    // Nothing of this machine's own configuration.
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("P2PNET_")) {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("RUST_LOG", "warn");
    // As on a bare machine: http:// must do without certificates.
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    command
}

/// A line for each request, among others.
const EVERYTHING: &str = "info,p2pnet_native=debug,p2pnet_net=debug";

fn relay_command(folder: &Path, more: &[&str]) -> Command {
    let mut command = command();
    command.args(["relay", "--data-dir"]).arg(folder);
    command.args(["--port", "0", "--p2p-port", "0", "--webrtc-port", "0"]);
    if !more.contains(&"--host") {
        command.args(["--host", "127.0.0.1"]);
    }
    command.args(more);
    command
}

fn node_command(relay: &Relay, folder: &Folder) -> Command {
    let mut command = command();
    command.args(["node", "--relay", relay.url(), "--cores", "1", "--data-dir"]).arg(folder.path());
    command
}

/// A process that ends with the test.
pub(crate) struct Process {
    child: Child,
    first_line: String,
}

impl Process {
    fn run(command: &mut Command) -> Self {
        Self::run_logging_to(command, Stdio::inherit())
    }

    fn run_logging_to(command: &mut Command, log: Stdio) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first_line = lines.next().expect("it ended before it was ready").unwrap();
        // Read on, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, first_line }
    }

    pub(crate) fn node(relay: &Relay, folder: &Folder) -> Self {
        Self::run(&mut node_command(relay, folder))
    }

    /// The same with a log of everything that goes there.
    pub(crate) fn node_logging_to(log: Stdio, relay: &Relay, folder: &Folder) -> Self {
        Self::run_logging_to(node_command(relay, folder).env("RUST_LOG", EVERYTHING), log)
    }

    /// The same with outputs that nobody looks at.
    pub(crate) fn node_unheard(output: Stdio, log: Stdio, relay: &Relay, folder: &Folder) -> Self {
        let child = node_command(relay, folder).env("RUST_LOG", EVERYTHING).stdout(output).stderr(log).spawn().unwrap();
        Self { child, first_line: String::new() }
    }

    /// `node <id> lends …`
    pub(crate) fn id(&self) -> String {
        self.first_line.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// As Ctrl-C in a terminal would; must end well.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running relay on free ports.
pub(crate) struct Relay(Process);

impl Relay {
    pub(crate) fn start(folder: &Folder, more: &[&str]) -> Self {
        Self::start_in(folder.path(), more)
    }

    pub(crate) fn start_in(folder: &Path, more: &[&str]) -> Self {
        Self(Process::run(&mut relay_command(folder, more)))
    }

    /// The same with a log of everything that goes there.
    pub(crate) fn start_logging_to(log: Stdio, folder: &Folder, more: &[&str]) -> Self {
        Self(Process::run_logging_to(relay_command(folder.path(), more).env("RUST_LOG", EVERYTHING), log))
    }

    /// As from a shell that said `first` before.
    pub(crate) fn start_after(first: &str, folder: &Folder) -> Self {
        let dir = folder.path().to_str().unwrap();
        let args =
            ["relay", "--data-dir", dir, "--port", "0", "--p2p-port", "0", "--webrtc-port", "0", "--no-provider"];
        let script = format!("{first} && exec \"$0\" \"$@\"");
        Self(Process::run(
            clean(Command::new("sh")).args(["-c", &script, BINARY]).args(args).args(["--host", "127.0.0.1"]),
        ))
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.first_line
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url().trim_end_matches('/'))
    }

    /// `GET`, which must succeed, as JSON.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = reqwest::get(self.at(path)).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    pub(crate) fn stop(self) {
        self.0.stop();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.child.id()
    }

    /// Process ids of its workers.
    pub(crate) fn children(&self) -> Vec<u32> {
        let parent = self.0.child.id().to_string();
        // `pid (name) state parent …`: the name may hold anything, so the fields are counted behind its last bracket.
        let is_child =
            |stat: &str| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&*parent);
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_child(&stat)))
            .collect()
    }
}

/// Checks that an answer is one that the API's own document names for its address.
pub(crate) fn documented(path: &str, status: u16) {
    let document: Value = serde_json::from_str(p2pnet_native::http::openapi::text()).unwrap();
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.trim_end_matches('/').split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(known, asked)| known.starts_with('{') || known == asked)
    };
    let paths = document["paths"].as_object().unwrap();
    let Some((template, methods)) = paths.iter().find(|(template, _)| fits(template)) else { return };
    let known = methods.as_object().unwrap().values().any(|about| about["responses"].get(status.to_string()).is_some());
    // What an address does not do is told by those that it does.
    assert!(known || status == 405, "{status} of {template} is not in openapi.json");
}

/// The answer's code, after checking that it is a whole refusal, and a documented one.
pub(crate) async fn refusal(response: reqwest::Response) -> (reqwest::StatusCode, String) {
    let status = response.status();
    documented(response.url().path(), status.as_u16());
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert!(error["hint"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    (status, error["code"].as_str().unwrap().to_owned())
}

/// Sends a job and gives its id.
pub(crate) async fn post_job(relay: &Relay, job: impl Into<reqwest::Body>) -> String {
    let answer = reqwest::Client::new().post(relay.at("/api/v1/jobs")).body(job).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    documented(answer.url().path(), 202);
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

/// Waits until a job is in this state and gives its status; any other final state fails.
pub(crate) async fn wait_for(relay: &Relay, id: &str, state: &str) -> Value {
    let path = format!("/api/v1/jobs/{id}");
    let wait = async {
        loop {
            let status = relay.get(&path).await;
            let now = status["state"].as_str().unwrap();
            if now == state {
                return status;
            }
            assert!(!["completed", "failed", "cancelled", "expired"].contains(&now), "{status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the job does not get there")
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it does not come true");
}

/// Runs a command to its end: exit code, standard output, standard error.
pub(crate) fn cli(args: &[&str], input: &str) -> (i32, String, String) {
    let mut child =
        command().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
