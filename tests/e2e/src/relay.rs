//! A relay of our own: the built binary on a free port with an empty data folder, and its HTTP API.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use p2pnet_shared::id::JobId;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::process::{Folder, Process, choose_tls, given, processor_time, tree};

/// How long a relay may take to say that it listens.
const START: Duration = Duration::from_secs(30);

/// How long a relay may take to end gracefully.
const STOP: Duration = Duration::from_secs(15);

/// A running relay.
pub struct Relay {
    binary: PathBuf,
    process: Option<Process>,
    api: p2pnet_client::Client,
    /// For what no client of the API asks.
    raw: Client,
    data: Folder,
    url: String,
    flags: Vec<&'static str>,
}

impl Relay {
    /// A relay that only introduces: every task runs in a browser or in a native node.
    pub fn without_provider() -> Result<Self> {
        Self::with(&["--no-provider"])
    }

    /// A relay that lends its own machine as well.
    pub fn with_provider() -> Result<Self> {
        Self::with(&[])
    }

    /// A relay with these flags on its command line.
    pub fn with(flags: &[&'static str]) -> Result<Self> {
        Self::of(&given("P2PNET_BIN")?, flags)
    }

    /// The same, of another build: of the program in a file.
    pub fn of(binary: &Path, flags: &[&'static str]) -> Result<Self> {
        choose_tls();
        let data = Folder::new("relay")?;
        let (process, url) = launch(binary, 0, &data, flags)?;
        let (binary, flags) = (binary.to_owned(), flags.to_vec());
        let api = p2pnet_client::Client::new(&url)?;
        Ok(Self { binary, process: Some(process), api, raw: Client::new(), data, url, flags })
    }

    /// Where its page is (but for a base path), without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.interrupt(STOP),
            None => Ok(()),
        }
    }

    /// Starts it again after [`Relay::stop`], on the same port with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        let started = launch(&self.binary, self.port()?, &self.data, &self.flags)?;
        self.is_back(started)
    }

    /// The same, with a relay that speaks nothing but this protocol, as a later build may.
    pub fn start_again_speaking(&mut self, protocol: &str) -> Result<()> {
        let built = Path::new(&given("P2PNET_BIN")?).with_file_name("examples").join("another_version");
        let mut command = Command::new(built);
        command.args([protocol, &self.port()?.to_string(), "0", "0"]).arg(self.data.path());
        let started = Process::start("the other relay", &mut command, START, url_in)?;
        self.is_back(started)
    }

    fn port(&self) -> Result<u16> {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).context("the URL has no port")
    }

    fn is_back(&mut self, (process, url): (Process, String)) -> Result<()> {
        if url != self.url {
            bail!("the relay was at {} and came back at {url}", self.url);
        }
        self.process = Some(process);
        Ok(())
    }

    /// What it printed last.
    pub fn printed(&self) -> String {
        self.process.as_ref().map(Process::printed).unwrap_or_default()
    }

    /// Asks the API and gives status and body; `Null` for an empty body.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        self.ask_for(None, method, path, body).await
    }

    /// The same, for somebody at another address.
    async fn ask_for(
        &self,
        address: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self.raw.request(method, format!("{}{path}", self.url));
        if let Some(address) = address {
            request = request.header("x-forwarded-for", address);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).with_context(|| format!("{path} answered {status} with {text:?}"))?
        };
        Ok((status, body))
    }

    /// A GET that must succeed.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = self.ask(Method::GET, path, None).await?;
        if status.is_success() { Ok(body) } else { bail!("{path} answered {status}: {body}") }
    }

    /// Submits a job and gives its id.
    pub async fn submit(&self, job: &Value) -> Result<String> {
        Ok(self.api.submit(job.to_string(), None).await?.to_string())
    }

    /// The same, as a proxy does for somebody at another address.
    pub async fn submit_for(&self, address: &str, job: &Value) -> Result<String> {
        let (status, body) = self.ask_for(Some(address), Method::POST, "/api/v1/jobs", Some(job)).await?;
        if status != StatusCode::ACCEPTED {
            bail!("the job was not taken: {status}: {body}");
        }
        Ok(body["id"].as_str().context("202 without an id")?.to_owned())
    }

    /// A job as the API shows it.
    pub async fn job(&self, id: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.api.job_text(named(id)?).await?)?)
    }

    /// Waits until a job has ended, and gives its status.
    pub async fn ended(&self, id: &str, patience: Duration) -> Result<Value> {
        let Ok(ended) = timeout(patience, self.api.wait(named(id)?)).await else {
            bail!("job {id} has not ended after {patience:?}: {:#}", self.job(id).await?);
        };
        ended?;
        self.job(id).await
    }

    /// Waits for a job's result.
    pub async fn result(&self, id: &str, patience: Duration) -> Result<Value> {
        let job = self.ended(id, patience).await?;
        if job["state"] != "completed" {
            bail!("job {id} did not complete: {job:#}");
        }
        Ok(self.api.result(named(id)?).await?)
    }

    /// Submits a job and waits for its result.
    pub async fn compute(&self, job: &Value, patience: Duration) -> Result<Value> {
        let id = self.submit(job).await?;
        self.result(&id, patience).await
    }

    /// Waits until the relay sees offers of at least so many nodes, and gives their ids.
    pub async fn lenders(&self, at_least: usize, patience: Duration) -> Result<Vec<String>> {
        let began = Instant::now();
        loop {
            let network: Value = serde_json::from_str(&self.api.nodes_text().await?)?;
            let nodes = network["nodes"].as_array().cloned().unwrap_or_default();
            let lending: Vec<String> = nodes
                .iter()
                .filter(|node| !node["offer"].is_null())
                .filter_map(|node| Some(node["node"].as_str()?.to_owned()))
                .collect();
            if lending.len() >= at_least {
                return Ok(lending);
            }
            if began.elapsed() > patience {
                bail!("only {} of {at_least} nodes lend after {patience:?}: {network:#}", lending.len());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A native node that lends all it has to a relay.
pub struct NativeNode {
    process: Process,
    _data: Folder,
}

impl NativeNode {
    /// Starts one of the relay's own build with so many cores; [`Relay::lenders`] says when it is there.
    pub fn join(relay: &Relay, cores: u16) -> Result<Self> {
        let data = Folder::new("node")?;
        let mut command = Command::new(&relay.binary);
        command.arg("node").args(["--relay", relay.url(), "--cores", &cores.to_string()]);
        command.arg("--data-dir").arg(data.path());
        let (process, ()) = Process::start("the node", &mut command, START, |_| Some(()))?;
        Ok(Self { process, _data: data })
    }

    /// Its time on the processors so far, that of its sandboxes included.
    pub fn processor_time(&self) -> Duration {
        processor_time(&tree(self.process.id()))
    }
}

/// A job's id as the client has it.
fn named(id: &str) -> Result<JobId> {
    id.parse().ok().with_context(|| format!("{id:?} is no job's id"))
}

fn launch(binary: &Path, port: u16, data: &Folder, flags: &[&str]) -> Result<(Process, String)> {
    let mut command = Command::new(binary);
    command.arg("relay").args(["--port", &port.to_string(), "--p2p-port", "0", "--webrtc-port", "0"]);
    command.arg("--data-dir").arg(data.path()).args(flags);
    Process::start("the relay", &mut command, START, url_in)
}

/// The URL in a line such as `p2pnet is ready: http://localhost:8080/`, reduced to one that this machine reaches.
fn url_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://")?;
    let authority = rest.split(|c: char| c == '/' || c.is_whitespace()).next()?;
    let port: u16 = authority.rsplit(':').next()?.parse().ok()?;
    Some(format!("http://localhost:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_read_from_a_line_in_prose() {
        assert_eq!(url_in("Open http://127.0.0.1:4711/ now").as_deref(), Some("http://localhost:4711"));
        assert_eq!(url_in("listening on 4711"), None);
    }
}
