//! The engines of a tab: a page of ours in real Chromium, with a worker that runs `browser-node`'s own engines
//! (`browser-node/examples/engines.rs`), and the page's own pool of workers for tiny tasks.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use axum::{
    Router,
    http::header::{CONTENT_TYPE, HeaderName},
    routing::get,
};
use p2pnet_e2e::{browser::Browser, process::tree, report::Row};
use p2pnet_shared::id::Hash;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    Engine, Variant,
    clock::{threads_named, time_of},
};

/// What Chromium calls the thread of a worker (the system cuts names at 15 characters).
const WORKER_THREAD: &str = "DedicatedWorker";

/// How long the page may take for one thing.
const PATIENCE: Duration = Duration::from_secs(120);

/// A tab with a worker that has the kernel ready in all variants.
pub(crate) struct Tab {
    browser: Browser,
    worker: (u32, u32),
}

impl Tab {
    /// Serves what `cargo xtask` built into `folder`, and the kernel for tiny tasks, and opens it.
    pub(crate) async fn open(folder: &Path, tiny: Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let site = site(folder, tiny)?;
        tokio::spawn(async move { axum::serve(listener, site).await });
        let browser = Browser::headless().await?;
        browser.driver.set_script_timeout(PATIENCE).await?;
        browser.open(&url).await?;
        let tab = Self { browser, worker: (0, 0) };
        tab.ask("bench.ready", Vec::new()).await?;
        let workers = threads_named(&tree(tab.browser.process_id()), WORKER_THREAD);
        let [worker] = workers.as_slice() else { bail!("which thread is the worker's: {workers:?}?") };
        Ok(Self { worker: *worker, ..tab })
    }

    /// One call in the worker: its thread's processor time, and the hash of the output.
    pub(crate) async fn call(&mut self, (engine, rewritten): Variant, input: &[u8]) -> Result<(Duration, Hash)> {
        let compiled = match engine {
            Engine::Chromium => true,
            Engine::WasmiInChromium => false,
            Engine::Wasmtime | Engine::Wasmi => bail!("not an engine of a tab"),
        };
        let gone = || anyhow!("the worker's thread is gone");
        let before = time_of(self.worker).ok_or_else(gone)?;
        let hash = self.ask("bench.call", vec![json!([compiled, rewritten, input])]).await?;
        let after = time_of(self.worker).ok_or_else(gone)?;
        let hash = hash.as_str().and_then(|hash| hash.parse().ok()).context("the worker answered with no hash")?;
        Ok((after.saturating_sub(before), hash))
    }

    /// Tiny tasks a second through the page's own pool, one worker, batch after batch.
    pub(crate) async fn tiny(&mut self, tasks: usize) -> Result<Row> {
        let rate = self.ask("bench.tiny", vec![json!(tasks)]).await?;
        let rate = rate.as_f64().context("the page answered with no number")?;
        Ok(Row::new("tiny tasks", "Chromium worker+rewrite", rate, "/s")
            .beside("in batches through the page's pool, one worker; aim: 10,000/s"))
    }

    /// Calls an asynchronous function of the page.
    async fn ask(&self, function: &str, mut arguments: Vec<Value>) -> Result<Value> {
        arguments.resize(1, Value::Null);
        let code = format!(
            "const [given, done] = arguments;
             {function}(given).then((value) => done({{ value }}), (error) => done({{ error: `${{error}}` }}));"
        );
        let answer = self.browser.driver.execute_async(code, arguments).await?.json().clone();
        match answer["error"].as_str() {
            Some(error) => bail!("{function}: {error}"),
            None => Ok(answer["value"].clone()),
        }
    }
}

/// The page, isolated from other origins as the relay's is.
fn site(folder: &Path, tiny: Vec<u8>) -> Result<Router> {
    let read = |name: &str| std::fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"));
    let mut site = Router::new();
    for (path, kind, bytes) in [
        ("/", "text/html", include_bytes!("../page/index.html").to_vec()),
        ("/worker.js", "text/javascript", include_bytes!("../page/worker.js").to_vec()),
        ("/engines.js", "text/javascript", read("engines.js")?),
        ("/engines_bg.wasm", "application/wasm", read("engines_bg.wasm")?),
        ("/p2pnet-worker.js", "text/javascript", read("p2pnet-worker.js")?),
        ("/p2pnet-worker_bg.wasm", "application/wasm", read("p2pnet-worker_bg.wasm")?),
        ("/kernels.wasm", "application/wasm", read("kernels.wasm")?),
        ("/tiny.wasm", "application/wasm", tiny),
    ] {
        let headers = [
            (CONTENT_TYPE, kind),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        site = site.route(path, get(move || std::future::ready((headers.clone(), bytes.clone()))));
    }
    Ok(site)
}
