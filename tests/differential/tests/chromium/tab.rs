//! The tab's own workers, with the engines and the code that nodes run, driven by the messages that its pool sends.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use p2pnet_differential::cases::{self, Case};
use p2pnet_e2e::{
    browser::{Browser, Display},
    relay::Relay,
};
use p2pnet_shared::{
    engine::{CallOutcome, Engine, EngineName, Input, Limits, Prepared, Trap, WasmiEngine},
    id::Hash,
    kernel::{self, Facts},
    units::Gas,
};
use serde::Serialize;
use serde_bytes::Bytes;
use serde_json::json;

use self::protocol::{RunRef, Said, SourceRef};
use crate::Tier;

// The crate it belongs to is for wasm only; its messages are the same everywhere.
#[expect(unreachable_pub, unnameable_types, reason = "they are for the crate that it belongs to")]
#[path = "../../../../browser-node/src/pool/protocol.rs"]
mod protocol;

const SHIM: &str = include_str!("../../../../browser-node/src/pool/worker_shim.js");
/// As a page's policy without `wasm-unsafe-eval` does it.
const FORBID: &str = "WebAssembly.Module = new Proxy(WebAssembly.Module, { construct() { \
    throw new WebAssembly.CompileError('Wasm code generation disallowed by embedder'); } });";
/// Calls of kernels that wasmi in a tab must not be asked: it has no more memory than the tab's own.
const WASMI_MOST_BYTES: u64 = 1 << 30;

struct Tab {
    browser: Browser,
    last_run: u64,
    _relay: Relay,
}

/// What is ordered about a batch while it runs.
#[derive(Clone, Copy, Serialize)]
struct Order {
    after: After,
    what: What,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum After {
    Millis(u64),
    /// The worker said that it rests to keep to its share.
    Rest,
    /// The worker has said nothing for a second.
    Quiet,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Stop,
    SetAside,
    GoOn,
}

/// Set aside in the middle of a call, and `then` something else, when the worker is seen to do nothing.
fn set_aside_and(then: What) -> [Order; 2] {
    [Order { after: After::Rest, what: What::SetAside }, Order { after: After::Quiet, what: then }]
}

/// What a batch of one worker came to.
struct Report {
    engine: EngineName,
    outcomes: Vec<CallOutcome>,
    compiled: Option<Facts>,
    rests: u32,
    /// Whether it was over before the last order was given.
    ended_before: bool,
    /// Calls that were done before the last order was given.
    done_before: usize,
    millis: f64,
}

impl Tab {
    async fn open(flags: &[&str], ahead: &str) -> Result<Self> {
        let relay = Relay::without_provider()?;
        let browser = Browser::start_with(Display::Headless, flags).await?;
        browser.driver.set_script_timeout(Duration::from_secs(120)).await?;
        browser.open(relay.url()).await?;
        browser.connected().await?;
        browser.script(include_str!("tab.js"), Vec::new()).await?;
        let tab = Self { browser, last_run: 0, _relay: relay };
        tab.start_worker(ahead).await?;
        Ok(tab)
    }

    /// A new worker, in place of the one before. `ahead` is JavaScript that runs in it first.
    async fn start_worker(&self, ahead: &str) -> Result<()> {
        let (engine, outcomes, prepared) = (EngineName::Wasmi, Vec::new(), Prepared::default());
        let done = Said::Done { run: 0, engine, outcomes, busy_micros: 0, prepared };
        let tags = [done, Said::Failed { reason: String::new() }, Said::Resting { run: 0, millis: 0 }]
            .map(|said| protocol::encode(&said).and_then(|bytes| bytes.first().copied()));
        let arguments = vec![json!(SHIM), json!(ahead), json!(tags[0]), json!(tags[1]), json!(tags[2])];
        self.browser.script("return tab.start(...arguments)", arguments).await.map(drop)
    }

    /// Orders something about the next batch before it is handed over.
    async fn order_ahead(&self, what: What) -> Result<()> {
        let arguments = vec![json!(what), json!(self.last_run + 1)];
        self.browser.script("tab.order(...arguments)", arguments).await.map(drop)
    }

    async fn run(
        &mut self,
        kernel: &[u8],
        source: SourceRef<'_>,
        calls: &[[Vec<u8>; 2]],
        limits: Limits,
        share_and_orders: (u8, &[Order]),
    ) -> Result<Report> {
        self.last_run += 1;
        let with_module = matches!(source, SourceRef::Compiled(_));
        let (cpu_percent, orders) = share_and_orders;
        let message = RunRef {
            run: self.last_run,
            kernel: Hash::of(kernel),
            source,
            forget: &[],
            cpu_percent,
            limits,
            common: calls.first().map(|[common, _]| (Hash::of(common), Bytes::new(common))),
            calls: calls.iter().map(|[_, own]| Bytes::new(own)).collect(),
        };
        let message = BASE64_STANDARD.encode(protocol::encode(&message).context("the message is too long")?);
        let arguments = vec![json!(message), json!(with_module), json!(self.last_run), json!(orders)];
        let answer = self.browser.script("return tab.run(...arguments)", arguments).await?;
        let before = answer["before"].as_u64().context("no count")?;
        let mut report = Report {
            engine: EngineName::Wasmi,
            outcomes: Vec::new(),
            compiled: None,
            rests: 0,
            ended_before: false,
            done_before: 0,
            millis: answer["millis"].as_f64().context("no time")?,
        };
        for (number, said) in (0..).zip(answer["said"].as_array().into_iter().flatten()) {
            let bytes = BASE64_STANDARD.decode(said.as_str().context("no text")?)?;
            match protocol::decode(&bytes).context("unreadable")? {
                Said::Ready => bail!("it began anew"),
                Said::Compiled { facts, .. } => report.compiled = Some(facts),
                Said::NotCompiled { .. } | Said::NoInterpreter { .. } => {}
                Said::Resting { .. } => report.rests += 1,
                Said::Outcomes { outcomes, .. } => report.outcomes.extend(outcomes.into_iter().map(Into::into)),
                Said::Done { engine, outcomes, .. } => {
                    report.engine = engine;
                    report.ended_before = number < before;
                    report.outcomes.extend(outcomes.into_iter().map(CallOutcome::from));
                }
                Said::Failed { reason } => bail!("the worker failed: {reason}"),
            }
            if number < before {
                report.done_before = report.outcomes.len();
            }
        }
        Ok(report)
    }

    /// Runs a case on wasmi here and in the worker there; gives how many calls were compared.
    async fn compare(&mut self, case: &Case, engine: EngineName) -> Result<usize> {
        let mut wasmi = WasmiEngine::new();
        let prepared = kernel::prepare(&case.kernel).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let loaded = wasmi.load(&prepared.rewritten).map_err(|trap| anyhow::anyhow!("{trap:?}"))?;
        let mut call = |limits: &Limits| -> Vec<CallOutcome> {
            case.inputs.iter().map(|[common, own]| wasmi.call(&loaded, cases::input(common, own), limits)).collect()
        };
        let whole = call(&case.limits);
        // With half the gas that the first call took, which is where slices and the limit meet somewhere in the middle.
        let half = Limits { gas: Gas(whole.first().map_or(0, |outcome| outcome.gas.0 / 2)), ..case.limits };
        let cut = call(&half);
        let mut compared = 0;
        for (number, (limits, expected)) in [(case.limits, whole), (half, cut)].into_iter().enumerate() {
            let mut outcomes = Vec::new();
            // A batch ends at its first trap: the calls behind it come in another one.
            while let Some(rest) = case.inputs.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
                let is_first = number == 0 && outcomes.is_empty();
                let source = if is_first { SourceRef::Original(Bytes::new(&case.kernel)) } else { SourceRef::Ready };
                let report = self.run(&case.kernel, source, rest, limits, (100, &[])).await?;
                ensure!(report.engine == engine, "it ran on {:?}", report.engine);
                let compiles = is_first && engine == EngineName::Browser;
                ensure!(report.compiled.is_some() == compiles, "compiled: {:?}", report.compiled);
                ensure!((1..=rest.len()).contains(&report.outcomes.len()), "{} outcomes", report.outcomes.len());
                let ended = report.outcomes.last().is_some_and(|outcome| outcome.output.is_err());
                ensure!(ended || report.outcomes.len() == rest.len(), "it ended without a trap");
                outcomes.extend(report.outcomes);
            }
            for (got, expected) in outcomes.iter().zip(&expected) {
                ensure!(got == expected, "{} instead of {}", shown(got), shown(expected));
                compared += 1;
            }
        }
        Ok(compared)
    }

    async fn compare_all(&mut self, engine: EngineName, most_bytes: u64) -> Result<usize> {
        let mut compared = 0;
        let mut differences = Vec::new();
        for case in [cases::repository()?, cases::wasi()?, cases::bounds()?].into_iter().flatten() {
            // Recursion to the bound is more than a worker's stack holds: there wasmi answers, which takes minutes for all
            // shapes; `calls_ten_thousand_deep_…` looks at that way round.
            if case.limits.memory_bytes > most_bytes || case.name.starts_with("recursion of ") {
                continue;
            }
            match self.compare(&case, engine).await {
                Ok(calls) => compared += calls,
                Err(error) => differences.push(format!("{}: {error:#}", case.name)),
            }
        }
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(compared)
    }
}

fn shown(outcome: &CallOutcome) -> String {
    format!("{outcome:?}").chars().take(200).collect()
}

#[tokio::test]
async fn the_workers_of_a_tab_give_what_the_referee_gives_in_both_compilers() -> Result<()> {
    for tier in [Tier::Baseline, Tier::Optimising] {
        let mut tab = Tab::open(&[tier.flags()], "").await?;
        let compared = tab.compare_all(EngineName::Browser, u64::MAX).await.with_context(|| format!("{tier:?}"))?;
        println!("{tier:?}: {compared} calls in a worker of the tab");
        ensure!(compared > 70, "only {compared} calls");
        tab.browser.no_errors().await?;
    }
    Ok(())
}

/// A worker's own stack ends after some thousand calls of this kind; the answer is the referee's all the same, also on a
/// worker that got the module from another, and with a host that looks after the kernel on top of its stack.
#[tokio::test]
async fn calls_ten_thousand_deep_are_answered_in_a_tab_as_anywhere() -> Result<()> {
    let deep: Vec<Case> = cases::bounds()?
        .into_iter()
        .filter(|case| {
            ["ten thousand calls inside one another", "recursion of a leaf that works for some time"]
                .contains(&case.name.as_str())
        })
        .collect();
    ensure!(deep.len() == 2, "{} cases", deep.len());
    for tier in [Tier::Baseline, Tier::Optimising] {
        let mut tab = Tab::open(&[tier.flags()], "").await?;
        for case in &deep {
            let compared = tab.compare(case, EngineName::Browser).await.with_context(|| case.name.clone())?;
            ensure!(compared > 0, "nothing was compared");
            let original = SourceRef::Original(Bytes::new(&case.kernel));
            let made = tab.run(&case.kernel, original, &case.inputs, case.limits, (100, &[])).await?;
            let facts = made.compiled.context("it was not compiled")?;
            tab.start_worker("").await?;
            let given = SourceRef::Compiled(&facts);
            let taken = tab.run(&case.kernel, given, &case.inputs, case.limits, (50, &[])).await?;
            ensure!(!made.outcomes.is_empty() && taken.outcomes == made.outcomes, "{}: other outcomes", case.name);
        }
        tab.browser.no_errors().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_one_worker_has_compiled_another_runs_without_compiling() -> Result<()> {
    let mut tab = Tab::open(&[], "").await?;
    for case in cases::repository()? {
        let original = SourceRef::Original(Bytes::new(&case.kernel));
        let made = tab.run(&case.kernel, original, &case.inputs, case.limits, (100, &[])).await?;
        let facts = made.compiled.context("it was not compiled")?;
        tab.start_worker(FORBID).await?;
        let given = SourceRef::Compiled(&facts);
        let taken = tab.run(&case.kernel, given, &case.inputs, case.limits, (100, &[])).await?;
        ensure!(taken.engine == EngineName::Browser && taken.compiled.is_none(), "it was compiled again");
        ensure!(!made.outcomes.is_empty() && taken.outcomes == made.outcomes, "{}: other outcomes", case.name);
        tab.start_worker("").await?;
    }
    tab.browser.no_errors().await
}

#[tokio::test]
async fn where_compiling_is_forbidden_wasmi_carries_on_and_says_so() -> Result<()> {
    let mut tab = Tab::open(&[], FORBID).await?;
    let compared = tab.compare_all(EngineName::Wasmi, WASMI_MOST_BYTES).await?;
    println!("{compared} calls in a worker that may not compile");
    ensure!(compared > 70, "only {compared} calls");
    tab.browser.no_errors().await
}

#[tokio::test]
async fn an_endless_call_ends_when_asked_and_its_worker_lives_on() -> Result<()> {
    let endless = BASE64_STANDARD.decode(p2pnet_e2e::kernels::endless())?;
    let no_input = [[Vec::new(), Vec::new()]];
    let case = cases::repository()?.swap_remove(0);
    for ahead in ["", FORBID] {
        let mut tab = Tab::open(&[], ahead).await?;
        let engine = if ahead.is_empty() { EngineName::Browser } else { EngineName::Wasmi };
        let mut source = SourceRef::Original(Bytes::new(&endless));
        for share in [100, 25, 2] {
            let mut took = Vec::new();
            for round in 0..10 {
                // Not in step with slices or rests.
                let stop = Order { after: After::Millis(200 + 37 * round), what: What::Stop };
                let report = tab.run(&endless, source, &no_input, Limits::default(), (share, &[stop])).await?;
                source = SourceRef::Ready;
                ensure!(report.engine == engine, "it ran on {:?}", report.engine);
                let [CallOutcome { output: Err(Trap::Cancelled), gas }] = report.outcomes[..] else {
                    bail!("it ended otherwise: {:?}", report.outcomes);
                };
                // Where it stopped, it had worked; and with a share it had rested in the middle of the call.
                ensure!(gas.0 > 0, "no gas");
                ensure!((report.rests > 0) == (share < 100), "{} rests at {share} %", report.rests);
                took.push(report.millis);
            }
            took.sort_by(f64::total_cmp);
            println!("{engine:?} at {share} %: an endless call ended {took:.1?} ms after it was asked to");
        }
        let compared = tab.compare(&case, engine).await?;
        ensure!(compared > 0, "nothing ran afterwards");
        tab.browser.no_errors().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_set_aside_stands_still_and_goes_on_to_its_right_result() -> Result<()> {
    for (ahead, engine, rounds) in [("", EngineName::Browser, 100_000_000), (FORBID, EngineName::Wasmi, 4_000_000)] {
        let kernel = p2pnet_test_kernels::counting(rounds);
        let no_input = [[Vec::new(), Vec::new()]];
        let mut wasmi = WasmiEngine::new();
        let prepared = kernel::prepare(&kernel).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let loaded = wasmi.load(&prepared.rewritten).map_err(|trap| anyhow::anyhow!("{trap:?}"))?;
        let expected = wasmi.call(&loaded, Input::of(b""), &Limits::default());
        ensure!(expected.output.is_ok(), "{expected:?}");
        let mut tab = Tab::open(&[], ahead).await?;
        let mut source = SourceRef::Original(Bytes::new(&kernel));
        for round in 0..3 {
            let orders = set_aside_and(What::GoOn);
            let report = tab.run(&kernel, source, &no_input, Limits::default(), (10, &orders)).await?;
            source = SourceRef::Ready;
            ensure!(report.engine == engine, "it ran on {:?}", report.engine);
            ensure!(!report.ended_before, "round {round}: it went on, on {engine:?}, while it was set aside");
            ensure!(report.outcomes == [expected.clone()], "{:?} instead of {expected:?}", report.outcomes);
        }
        tab.browser.no_errors().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_endless_call_that_is_set_aside_ends_when_asked_and_holds_no_other_run() -> Result<()> {
    let endless = BASE64_STANDARD.decode(p2pnet_e2e::kernels::endless())?;
    let no_input = [[Vec::new(), Vec::new()]];
    let case = cases::repository()?.swap_remove(0);
    for (ahead, engine) in [("", EngineName::Browser), (FORBID, EngineName::Wasmi)] {
        let mut tab = Tab::open(&[], ahead).await?;
        let mut source = SourceRef::Original(Bytes::new(&endless));
        for _ in 0..3 {
            let orders = set_aside_and(What::Stop);
            let report = tab.run(&endless, source, &no_input, Limits::default(), (25, &orders)).await?;
            source = SourceRef::Ready;
            let [CallOutcome { output: Err(Trap::Cancelled), gas }] = report.outcomes[..] else {
                bail!("it ended otherwise: {:?}", report.outcomes);
            };
            ensure!(report.engine == engine && gas.0 > 0, "it ran on {:?}, and took {gas:?}", report.engine);
            // Nobody has let anything go on.
            ensure!(tab.compare(&case, engine).await? > 0, "nothing ran afterwards");
        }
        tab.browser.no_errors().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_that_is_set_aside_between_calls_begins_no_further_one_until_it_may_go_on() -> Result<()> {
    let kernel = p2pnet_test_kernels::upper_case();
    let inputs = [b"one", b"two", b"six"].map(|own| [Vec::new(), own.to_vec()]);
    let mut tab = Tab::open(&[], "").await?;
    tab.order_ahead(What::SetAside).await?;
    let go_on = Order { after: After::Quiet, what: What::GoOn };
    let source = SourceRef::Original(Bytes::new(&kernel));
    let report = tab.run(&kernel, source, &inputs, Limits::default(), (100, &[go_on])).await?;
    ensure!(report.done_before == 0, "{} calls were done while it was set aside", report.done_before);
    let outputs: Vec<_> = report.outcomes.into_iter().map(|outcome| outcome.output).collect();
    ensure!(outputs == [Ok(b"ONE".to_vec()), Ok(b"TWO".to_vec()), Ok(b"SIX".to_vec())], "{outputs:?}");
    tab.order_ahead(What::SetAside).await?;
    let stop = Order { after: After::Quiet, what: What::Stop };
    let report = tab.run(&kernel, SourceRef::Ready, &inputs, Limits::default(), (100, &[stop])).await?;
    let outcomes = &report.outcomes;
    ensure!(outcomes[..] == [CallOutcome { output: Err(Trap::Cancelled), gas: Gas(0) }], "{outcomes:?}");
    tab.browser.no_errors().await
}
