//! What the workers of a donating tab do, seen by watching them: what they compile, what they are given, how many start.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{browser::Browser, kernels, stage::Stage};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{JOB, SOON, cancel, load, seconds_of_work};

/// Counts in the page the workers that it starts and the modules that it gives them, lets the page believe in so many
/// cores, and puts `IN_WORKER` into each worker.
const WATCH: &str = r#"
    Object.defineProperty(navigator, "hardwareConcurrency", { value: 4 });
    window.seen = { workers: 0, given: 0, compiled: [] };
    new BroadcastChannel("compiled").onmessage = ({ data }) => seen.compiled.push(data);
    window.Blob = class extends Blob {
      constructor(parts, options) {
        super(String(parts[0]).startsWith("import init") ? [...parts, IN_WORKER] : parts, options);
      }
    };
    window.Worker = class extends Worker {
      constructor(url, options) {
        super(url, options);
        seen.workers += options?.type === "module" ? 1 : 0;
      }
      postMessage(data, transfer) {
        seen.given += Array.isArray(data) && data[1] instanceof WebAssembly.Module ? 1 : 0;
        super.postMessage(data, transfer);
      }
    };
"#;

/// Tells the page how long each module is that a worker compiles.
const TELL: &str = r#"
    const compiled = new BroadcastChannel("compiled");
    WebAssembly.Module = new Proxy(WebAssembly.Module, {
      construct(target, [bytes]) {
        compiled.postMessage(bytes.byteLength);
        return new target(bytes);
      },
    });
"#;

/// As a page's policy without `wasm-unsafe-eval` does it.
const FORBID: &str = r#"
    WebAssembly.Module = new Proxy(WebAssembly.Module, {
      construct() { throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder"); },
    });
"#;

/// Has a worker believe in so many cores, and tell the page of each instance that it makes.
fn counting_instances(cores: u32) -> String {
    format!(
        r#"
        Object.defineProperty(navigator, "hardwareConcurrency", {{ value: {cores} }});
        const instances = new BroadcastChannel("instances");
        WebAssembly.Instance = new Proxy(WebAssembly.Instance, {{
          construct(target, taken) {{
            instances.postMessage(1);
            return new target(...taken);
          }},
        }});
        "#
    )
}

/// Counts them in the page.
const INSTANCES: &str = r#"
    window.instances = 0;
    new BroadcastChannel("instances").onmessage = () => instances += 1;
"#;

/// The worker's own hook is a module too, and shorter than any kernel.
const SHORTEST_KERNEL: u64 = 2_000;

struct Seen {
    workers: u64,
    given: u64,
    compiled: usize,
}

async fn watch(donor: &Browser, in_worker: &str) -> Result<()> {
    donor.run_before_every_page(&format!("const IN_WORKER = {}; {WATCH}", json!(in_worker))).await
}

async fn seen(donor: &Browser) -> Result<Seen> {
    let seen = donor.script("return window.seen", Vec::new()).await?;
    let count = |name: &str| seen[name].as_u64().with_context(|| format!("no {name} in {seen}"));
    let lengths = seen["compiled"].as_array().into_iter().flatten();
    let compiled = lengths.filter(|length| length.as_u64() > Some(SHORTEST_KERNEL)).count();
    Ok(Seen { workers: count("workers")?, given: count("given")?, compiled })
}

fn endless() -> Value {
    json!({"kind":"kernel","kernel":kernels::endless(),"input":"eA==","split":"none","merge":"concat",
        "requirements":{"timeout_seconds":600}})
}

#[tokio::test]
async fn four_workers_of_a_tab_share_what_one_of_them_compiles() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let donor = &stage.people[0];
        watch(donor, TELL).await?;
        donor.become_donor(stage.relay.url()).await?;
        donor.slide("cores", 4).await?;
        let job = seconds_of_work(8);
        let id = stage.relay.submit(&job.source).await?;
        ensure!(stage.relay.result(&id, JOB).await? == job.result, "a wrong count");
        let Seen { workers, given, compiled } = seen(donor).await?;
        println!("{workers} workers, {compiled} compiled, {given} given");
        ensure!(workers == 4 && compiled == 1 && given == 3, "{workers} workers, {compiled} compiled, {given} given");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_tab_that_may_not_compile_interprets_and_says_so() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let donor = &stage.people[0];
        watch(donor, FORBID).await?;
        donor.become_donor(stage.relay.url()).await?;
        let id = stage.relay.submit(&json!({"kind":"map","data":[1,2,3],"map":"x * x"})).await?;
        ensure!(stage.relay.result(&id, JOB).await? == json!([1, 4, 9]), "a wrong result");
        let job = stage.relay.job(&id).await?;
        let attempts = job["attempts"].as_array().context("no attempts")?;
        ensure!(!attempts.is_empty() && attempts.iter().all(|attempt| attempt["engine"] == "wasmi"), "{attempts:#?}");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_share_of_a_quarter_takes_a_quarter_of_a_core_within_one_endless_call() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let donor = &stage.people[0];
        donor.become_donor(stage.relay.url()).await?;
        donor.slide("share", 25).await?;
        let id = stage.relay.submit(&endless()).await?;
        sleep(Duration::from_secs(3)).await;
        let busy = load(donor, Duration::from_secs(10)).await?;
        println!("a share of 25 % takes {busy:?}");
        // Others can only lessen it, and a rival's core with it.
        ensure!(busy.workers < 0.35 && busy.workers > busy.rival / 10.0, "it takes {busy:?}");
        cancel(stage, &id).await
    };
    Stage::alone(1).await?.play(story).await
}

#[tokio::test]
async fn cancelling_an_endless_call_keeps_its_worker_for_the_next_job() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let donor = &stage.people[0];
        watch(donor, "").await?;
        donor.become_donor(stage.relay.url()).await?;
        donor.slide("cores", 1).await?;
        let before = seen(donor).await?.workers;
        for _ in 0..3 {
            let id = stage.relay.submit(&endless()).await?;
            sleep(Duration::from_secs(2)).await;
            let busy = load(donor, Duration::from_secs(1)).await?;
            ensure!(busy.workers > busy.rival / 3.0, "the donor works little: {busy:?}");
            cancel(stage, &id).await?;
        }
        let id = stage.relay.submit(&json!({"kind":"map","data":[1,2,3],"map":"x * x"})).await?;
        ensure!(stage.relay.result(&id, JOB).await? == json!([1, 4, 9]), "a wrong result");
        let after = seen(donor).await?.workers;
        ensure!(before >= 1 && after == before, "{before} workers became {after}");
        Ok(())
    };
    Stage::alone(1).await?.play(story).await
}

#[tokio::test]
async fn in_a_tab_of_one_core_an_endless_call_is_set_aside_for_small_jobs_of_others_and_goes_on() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let donor = &stage.people[0];
        donor.become_donor(stage.relay.url()).await?;
        donor.slide("cores", 1).await?;
        let small = json!({"kind":"map","data":[1,2,3],"map":"x * x"});
        stage.relay.compute(&small, JOB).await?;
        let endless = stage.relay.submit_for("198.51.100.1", &endless()).await?;
        let state = async || {
            let job = stage.relay.job(&endless).await?;
            let attempts = job["attempts"].as_array().context("no attempts")?;
            let states: Vec<&str> = attempts.iter().filter_map(|attempt| attempt["state"].as_str()).collect();
            ensure!(states.len() <= 1, "it begins anew: {attempts:#?}");
            Ok(states.first().unwrap_or(&"nowhere").to_string())
        };
        for round in 0..3 {
            while state().await? != "running" {
                sleep(Duration::from_millis(50)).await;
            }
            sleep(Duration::from_secs(1)).await;
            let id = stage.relay.submit_for("203.0.113.1", &small).await?;
            ensure!(stage.relay.result(&id, SOON).await? == json!([1, 4, 9]), "a wrong result in round {round}");
            state().await?;
        }
        cancel(stage, &endless).await
    };
    Stage::new(1).await?.play(story).await
}

/// Sixteen calls fit a batch by the time that they take, and put out half a gigabyte.
#[tokio::test]
async fn a_batch_that_puts_out_more_than_can_travel_takes_no_more_of_a_tab_than_one_that_travels() -> Result<()> {
    const MEBIBYTES: u16 = 32;
    const CALLS: usize = 40;
    /// What may travel stands in the worker, in the message to the page, in the page and in what it sends.
    const MOST: u64 = 600 << 20;
    let story = async |stage: &mut Stage| {
        let donor = &stage.people[0];
        donor.become_donor(stage.relay.url()).await?;
        donor.slide("cores", 1).await?;
        let before = donor.memory();
        let input = STANDARD.encode("a\n".repeat(CALLS));
        let kernel = kernels::large(MEBIBYTES);
        let job = json!({"kind":"kernel","kernel":kernel,"input":input,"split":"lines","merge":"concat"});
        let id = stage.relay.submit(&job).await?;
        let (began, mut most) = (Instant::now(), before);
        let ended = loop {
            most = most.max(donor.memory());
            let job = stage.relay.job(&id).await?;
            if job["state"] == "failed" || job["state"] == "completed" {
                break job;
            }
            ensure!(began.elapsed() < JOB, "it does not end: {job:#}");
            sleep(Duration::from_millis(20)).await;
        };
        println!("{} MiB more at the most, {:?}", (most - before) >> 20, ended["error"]);
        // In all it is more than a job may put out.
        ensure!(ended["error"]["code"] == "too_large", "{ended:#}");
        ensure!(most - before < MOST, "{} MiB more at the most", (most - before) >> 20);
        ensure!(donor.tasks_done().await? > 2, "the tab did none of it");
        let small = json!({"kind":"map","data":[1,2,3],"map":"x * x"});
        ensure!(stage.relay.compute(&small, JOB).await? == json!([1, 4, 9]), "a wrong result");
        Ok(())
    };
    Stage::alone(1).await?.play(story).await
}

#[tokio::test]
async fn instances_stand_ready_for_tiny_calls_where_a_tab_has_the_memories_for_it() -> Result<()> {
    const CALLS: usize = 2_000;
    for (cores, stand) in [(4, true), (64, false)] {
        let story = async |stage: &mut Stage| {
            let donor = &stage.people[0];
            donor.run_before_every_page(INSTANCES).await?;
            watch(donor, &counting_instances(cores)).await?;
            donor.become_donor(stage.relay.url()).await?;
            donor.slide("cores", 1).await?;
            let input = STANDARD.encode("a\n".repeat(CALLS));
            let job =
                json!({"kind":"kernel","kernel":kernels::upper_case(),"input":input,"split":"lines","merge":"concat"});
            let id = stage.relay.submit(&job).await?;
            stage.relay.result(&id, JOB).await?;
            let job = stage.relay.job(&id).await?;
            let attempts = job["attempts"].as_array().context("no attempts")?;
            ensure!(attempts.iter().all(|attempt| attempt["engine"] == "browser"), "{attempts:#?}");
            let made = donor.script("return window.instances", Vec::new()).await?;
            let made = made.as_u64().context("no count")?;
            println!("{made} instances for {CALLS} calls, with {cores} cores");
            ensure!((made < CALLS as u64 / 2) == stand, "{made} instances for {CALLS} calls, with {cores} cores");
            Ok(())
        };
        Stage::new(1).await?.play(story).await?;
    }
    Ok(())
}
