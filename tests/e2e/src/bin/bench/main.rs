//! What the built relay, the built page and the built node achieve: `cargo xtask bench [name]`.
//!
//! Nothing here fails because a figure is bad. Figures of one run share a machine and its load: read the ratios.

mod by_turns;

use std::{
    collections::BTreeMap,
    env,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{
    browser::Browser,
    kernels, others,
    process::{given, processor_time, tree},
    relay::{NativeNode, Relay},
    report::{Row, write},
    weight::Weight,
};
use serde_json::{Value, json};

/// For anything that is measured here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tiny tasks in one measurement.
const TINY_TASKS: usize = 200_000;

/// The same for systems that take a hundred times as long for each.
const TINY_TASKS_OF_OTHERS: usize = 5_000;

/// How often a short thing is repeated.
const REPEATS: usize = 30;

/// How often the sum is computed; the system counts processor time in hundredths of a second.
const SUMS: u32 = 20;

/// The sum's last number.
const SUM_END: u64 = 10_000_000;

const BENCHES: [&str; 4] = ["tasks", "latency", "page", "cpu"];

#[tokio::main]
async fn main() -> Result<()> {
    let mut wanted: Vec<String> = env::args().skip(1).collect();
    if let Some(place) = wanted.iter().position(|word| word == "--beside") {
        let other = wanted.drain(place..).nth(1).context("--beside is followed by the program of another build")?;
        return by_turns::measure(&wanted, Path::new(&other)).await;
    }
    if let Some(unknown) = wanted.iter().find(|name| !BENCHES.contains(&name.as_str())) {
        bail!("there is no measurement {unknown:?}: {}", BENCHES.join(", "));
    }
    for bench in BENCHES {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == bench) {
            continue;
        }
        println!("## {bench}\n");
        let rows = match bench {
            "tasks" => tasks().await?,
            "latency" => latency().await?,
            "page" => page().await?,
            _ => cpu().await?,
        };
        write(bench, &rows)?;
    }
    Ok(())
}

/// Someone who lends to a relay of their own.
enum Lender {
    Native(NativeNode),
    Tab(Box<Browser>),
}

impl Lender {
    /// A native node with one core, and one tab; each with a relay that does nothing else.
    async fn each() -> Result<Vec<(&'static str, Relay, Self)>> {
        Self::each_of(&given("P2PNET_BIN")?).await
    }

    /// The same of another build.
    async fn each_of(binary: &Path) -> Result<Vec<(&'static str, Relay, Self)>> {
        let relay = Relay::of(binary, &["--no-provider"])?;
        let node = NativeNode::join(&relay, 1)?;
        relay.lenders(1, PATIENCE).await?;
        let native = ("native node", relay, Lender::Native(node));
        let relay = Relay::of(binary, &["--no-provider"])?;
        let browser = Browser::headless().await?;
        browser.become_donor(relay.url()).await?;
        relay.lenders(1, PATIENCE).await?;
        Ok(vec![native, ("browser tab", relay, Lender::Tab(Box::new(browser)))])
    }

    fn processor_time(&self) -> Duration {
        match self {
            Lender::Native(node) => node.processor_time(),
            Lender::Tab(browser) => browser.processor_time(),
        }
    }
}

/// One job of very many tasks that do next to nothing, beside other systems of which such tasks are asked.
async fn tasks() -> Result<Vec<Row>> {
    let others = others::tiny_tasks(TINY_TASKS_OF_OTHERS)?;
    let fastest = others.iter().max_by(|one, other| one.value.total_cmp(&other.value));
    let mut rows: Vec<Row> = others
        .iter()
        .map(|other| Row::new("tiny tasks", &format!("{}, one worker", other.name), other.value, "/s"))
        .collect();
    for (variant, relay, _lender) in Lender::each().await? {
        for (name, kernel) in tiny_kernels()? {
            // Once for the compilers, then for the clock.
            tiny_tasks(&relay, &kernel, 1_000).await?;
            let Tiny { a_second, lost } = tiny_tasks(&relay, &kernel, TINY_TASKS).await?;
            let row = Row::new(name, variant, a_second, "/s");
            rows.push(match fastest {
                Some(other) => row.over(other.value, &format!("{}; {lost}", other.name)),
                None => row.beside(&lost),
            });
        }
    }
    Ok(rows)
}

/// The kernels of tiny tasks, in base64.
fn tiny_kernels() -> Result<[(&'static str, String); 3]> {
    Ok([
        ("tiny tasks, kernel by hand", kernels::upper_case()),
        ("tiny tasks, the same by rustc", kernels::upper_case_by_rustc()?),
        ("tiny tasks, Unicode by rustc", kernels::unicode_by_rustc()?),
    ])
}

/// What a job of tiny tasks came to.
struct Tiny {
    a_second: f64,
    /// In words, what was computed in vain.
    lost: String,
}

async fn tiny_tasks(relay: &Relay, kernel: &str, tasks: usize) -> Result<Tiny> {
    let job = json!({"kind":"kernel","kernel":kernel,"input":STANDARD.encode("a\n".repeat(tasks)),
        "split":"lines","merge":"concat"});
    let began = Instant::now();
    let id = relay.submit(&job).await?;
    let status = relay.ended(&id, PATIENCE).await?;
    let took = began.elapsed();
    ensure!(status["state"] == "completed", "the job ended otherwise: {status}");
    let nodes = status["nodes"].as_array().into_iter().flatten();
    let accounted: u64 = nodes.filter_map(|node| node["tasks"].as_u64()).sum();
    ensure!(accounted == tasks as u64, "{accounted} of {tasks} tasks are accounted for");
    Ok(Tiny { a_second: tasks as f64 / took.as_secs_f64(), lost: lost(&status) })
}

/// What of a job was computed in vain, and how that ended.
fn lost(status: &Value) -> String {
    let attempts = status["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt["state"] != "accepted") {
        *ends.entry(attempt["state"].as_str().unwrap_or_default()).or_default() +=
            attempt["tasks"].as_u64().unwrap_or_default();
    }
    let ends: Vec<String> = ends.iter().map(|(end, tasks)| format!("{tasks} tasks {end}")).collect();
    if ends.is_empty() { "nothing lost".to_owned() } else { ends.join(", ") }
}

/// One tiny task from the request that submits it to the answer that says that it is done.
async fn latency() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (variant, relay, _lender) in Lender::each().await? {
        one_task(&relay).await?;
        let times = one_task(&relay).await?;
        let mut requests = Vec::new();
        for _ in 0..REPEATS {
            let began = Instant::now();
            relay.get("/healthz").await?;
            requests.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let row = Row::new("one tiny task, median", variant, median(times), "ms");
        rows.push(row.over(median(requests), "one HTTP request to the same relay"));
    }
    Ok(rows)
}

/// Milliseconds that one tiny task takes, many times.
async fn one_task(relay: &Relay) -> Result<Vec<f64>> {
    let job = json!({"kind":"range_reduce","start":1,"end":1,"map":"x","reduce":"sum"});
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let began = Instant::now();
        let id = relay.submit(&job).await?;
        // As every client waits: asking again and again would keep a processor from those that compute.
        let ended = relay.get(&format!("/api/v1/jobs/{id}?wait=60")).await?;
        ensure!(ended["state"] == "completed", "a tiny task does not end");
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// How soon a page that is opened again is of use, and how many bytes a first visit takes.
async fn page() -> Result<Vec<Row>> {
    let relay = Relay::without_provider()?;
    let browser = Browser::headless().await?;
    browser.become_donor(relay.url()).await?;
    browser.run_before_every_page(WATCH).await?;
    let (mut connected, mut first_task, mut first_result) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        browser.open("about:blank").await?;
        let job = relay.submit(&json!({"kind":"range_reduce","start":1,"end":1000,"map":"x","reduce":"sum"})).await?;
        browser.open(relay.url()).await?;
        let status = relay.ended(&job, PATIENCE).await?;
        browser.more_tasks_than(0, PATIENCE).await?;
        let seen = browser.script("return [window.seen, performance.timeOrigin]", Vec::new()).await?;
        connected.push(seen[0]["connected"].as_f64().context("the page did not see its connection")?);
        first_task.push(seen[0]["task"].as_f64().context("the page did not see its first task")?);
        let ended = status["finished_at"].as_f64().context("no finished_at")?;
        first_result.push(ended - seen[1].as_f64().context("no timeOrigin")?);
    }
    let weight = Weight::of(&given("P2PNET_DIST")?)?;
    let kilobytes = |bytes: u64| bytes as f64 / 1000.0;
    let connected = Row::new("page open → connected, median", "second visit", median(connected), "ms");
    let mut rows = Vec::new();
    if let Some(other) = others::connection()? {
        let variant = format!("{} on Node, code already loaded", other.name);
        rows.push(Row::new("new node → connected, median", &variant, other.value, "ms"));
    }
    rows.extend([
        connected,
        Row::new("page open → first task done, median", "second visit", median(first_task), "ms")
            .beside("as the donor's page shows it"),
        Row::new("page open → first result, median", "second visit", median(first_result), "ms")
            .beside("at the requester"),
        Row::new("page", "brotli, before the first task", kilobytes(weight.before_first_task), "KB")
            .beside("aim: 600 KB"),
        Row::new("page", "brotli, in all", kilobytes(weight.all), "KB").beside("aim: 1,000 KB"),
        Row::new("page", "brotli, examples, each when it is chosen", kilobytes(weight.examples), "KB"),
    ]);
    Ok(rows)
}

/// Notes when the page shows that it is connected, and that it has done a task.
const WATCH: &str = "
    window.seen = {};
    const look = () => {
        if (!seen.connected && document.querySelector('[data-testid=connected][data-connected=true]'))
            seen.connected = performance.now();
        const tasks = document.querySelector('[data-testid=tasks-done]');
        if (!seen.task && tasks && Number(tasks.dataset.count) > 0) seen.task = performance.now();
    };
    new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true});
";

/// Processor time of a sum, everything between submission and result included, over that of the bare loop.
async fn cpu() -> Result<Vec<Row>> {
    let job = json!({"kind":"range_reduce","start":1,"end":SUM_END,"map":"x","reduce":"sum"});
    let mut rows = Vec::new();
    let native = native_sum()?;
    rows.push(
        Row::new("sum 1..10,000,000, processor time", "loop in native Rust", native, "ms").over(native, "itself"),
    );
    for (variant, relay, lender) in Lender::each().await? {
        relay.compute(&job, PATIENCE).await?;
        let relay_time = || relay.process_id().map(|id| processor_time(&tree(id))).unwrap_or_default();
        let before = (lender.processor_time(), relay_time());
        for _ in 0..SUMS {
            let sum = relay.compute(&job, PATIENCE).await?;
            ensure!(sum == SUM_END * (SUM_END + 1) / 2, "a wrong sum: {sum}");
        }
        let spent =
            |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() * 1000.0 / f64::from(SUMS);
        let own = spent(lender.processor_time(), before.0);
        let whole = own + spent(relay_time(), before.1);
        let name = "sum 1..10,000,000, processor time";
        rows.push(Row::new(name, variant, own, "ms").over(native, "the same loop in native Rust"));
        rows.push(
            Row::new(name, &format!("{variant} and relay"), whole, "ms").over(native, "the same loop in native Rust"),
        );
    }
    Ok(rows)
}

/// Milliseconds that the loop takes here: exact to 128 bits and checked, like the job's.
fn native_sum() -> Result<f64> {
    let began = processor_time(&[std::process::id()]);
    for _ in 0..SUMS {
        let mut sum = 0_i128;
        for x in 1..=SUM_END {
            sum = sum.checked_add(i128::from(black_box(x))).context("beyond 128 bits")?;
        }
        black_box(sum);
    }
    Ok((processor_time(&[std::process::id()]) - began).as_secs_f64() * 1000.0 / f64::from(SUMS))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
