//! What the page fetches when, what it says when a piece of it does not arrive, and how much it weighs.

use anyhow::{Context, Result, ensure};
use p2pnet_e2e::{browser::Browser, process::given, stage::Stage, weight::Weight};
use serde_json::{Value, json};

use crate::{JOB, SOON};

/// Counts what the page imports and fetches, and lets it have nothing of it whose address contains what `window.away` says.
const WATCH: &str = r#"
    window.asked = [];
    window.askedAtOnce = [];
    window.away = localStorage.away ?? "";
    const isAway = (address) => asked.push(String(address)) && away && String(address).includes(away);
    const opened = XMLHttpRequest.prototype.open;
    XMLHttpRequest.prototype.open = function (how, what, ...more) {
      askedAtOnce.push(String(what));
      if (!window.isHereAtOnce && away && String(what).includes(away)) throw new TypeError("it is gone");
      return opened.call(this, how, what, ...more);
    };
    const gone = () => Promise.reject(new TypeError("it is gone"));
    const fetched = window.fetch.bind(window);
    window.fetch = (what, how) => isAway(what.url ?? what) ? gone() : fetched(what, how);
    let imported;
    Object.defineProperty(window, "p2pnetImport", {
      set: (given) => { imported = given; },
      get: () => (address) => isAway(address) ? gone() : imported(address),
    });
"#;

/// The first import of each worker fails.
const FIRST_IMPORT_FAILS: &str = r#"
    const Blobs = window.Blob;
    window.Blob = class extends Blobs {
      constructor(parts, options) {
        super(String(parts[0]).startsWith("import init") ? [...parts, IN_WORKER] : parts, options);
      }
    };
"#;

const IN_WORKER: &str = r#"
    const imported = self.p2pnetImport;
    let tried = 0;
    self.p2pnetImport = (address) => tried++ ? imported(address) : Promise.reject(new TypeError("it is gone"));
    WebAssembly.Module = new Proxy(WebAssembly.Module, {
      construct() { throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder"); },
    });
"#;

fn squares() -> Value {
    json!({"kind":"map","data":[1,2,3],"map":"x * x"})
}

/// Whether the page has asked for a piece.
async fn has_asked(person: &Browser, piece: &str) -> Result<bool> {
    let asked = person.script("return window.asked", Vec::new()).await?;
    let asked = asked.as_array().context("nothing is watched")?;
    Ok(asked.iter().any(|address| address.as_str().is_some_and(|address| address.contains(piece))))
}

#[tokio::test]
async fn who_lends_fetches_neither_what_reads_jobs_nor_what_interprets_and_who_writes_a_job_fetches_the_first()
-> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.become_donor(stage.relay.url()).await?;
        ensure!(stage.relay.compute(&squares(), JOB).await? == json!([1, 4, 9]), "a wrong result");
        person.more_tasks_than(0, JOB).await?;
        ensure!(has_asked(person, "p2pnet-worker-").await?, "it lends without its workers' program");
        ensure!(!has_asked(person, "p2pnet-kinds-").await?, "who lends needs no readers");
        person.submit(&squares()).await?;
        ensure!(person.job_result(JOB).await? == json!([1, 4, 9]), "another wrong result");
        ensure!(has_asked(person, "p2pnet-kinds-").await?, "it reads jobs without the readers");
        ensure!(!has_asked(person, "p2pnet-interpreter-").await?, "the browser's compiler ran it all");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn new_job_says_that_what_reads_jobs_did_not_arrive_and_goes_on_once_it_does() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.become_donor(stage.relay.url()).await?;
        person.script("window.away = 'p2pnet-kinds-'", Vec::new()).await?;
        person.go("/jobs/new").await?;
        person.text_when("piece-away", SOON, |text| text.contains("did not arrive")).await?;
        // Sending says so as well, and sends nothing.
        person.find("submit-job").await?.click().await?;
        person.find_css(".submit .refusal").await?;
        person.script("window.away = ''", Vec::new()).await?;
        person.find_css("[data-testid='piece-away'] button").await?.click().await?;
        person.find_css("aside .ok").await?;
        person.press_submit().await?;
        person.job_result(JOB).await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_tab_whose_workers_program_did_not_arrive_says_so_and_computes_once_it_does() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.run_before_every_page("window.away = 'p2pnet-worker-'").await?;
        person.become_donor(stage.relay.url()).await?;
        person.text_when("no-workers", SOON, |text| text.contains("it is gone")).await?;
        person.script("window.away = ''", Vec::new()).await?;
        person.find_css("[data-testid='no-workers'] button").await?.click().await?;
        ensure!(stage.relay.compute(&squares(), JOB).await? == json!([1, 4, 9]), "a wrong result");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_worker_whose_interpreter_did_not_arrive_says_so_and_asks_again_with_the_next_kernel() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(&format!("const IN_WORKER = {}; {FIRST_IMPORT_FAILS}", json!(IN_WORKER))).await?;
        person.become_donor(stage.relay.url()).await?;
        person.slide("cores", 1).await?;
        let id = stage.relay.submit(&squares()).await?;
        ensure!(stage.relay.result(&id, JOB).await? == json!([1, 4, 9]), "a wrong result");
        let job = stage.relay.job(&id).await?;
        let attempts = job["attempts"].as_array().context("no attempts")?;
        let accepted = attempts.iter().filter(|attempt| attempt["state"] == "accepted");
        ensure!(
            accepted.clone().count() > 0 && accepted.clone().all(|attempt| attempt["engine"] == "wasmi"),
            "{job:#}"
        );
        ensure!(attempts.len() > accepted.count(), "no attempt failed: {job:#}");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_job_goes_on_after_a_reload_that_does_not_bring_what_reads_jobs_and_one_that_does() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.open(stage.relay.url()).await?;
        person.connected().await?;
        // Nobody lends, so it waits.
        let id = person.submit(&squares()).await?;
        person.job_state_when(&["queued"], SOON).await?;
        person.script("localStorage.away = 'p2pnet-kinds-'", Vec::new()).await?;
        person.open(stage.relay.url()).await?;
        person.text_when("piece-away", SOON, |text| text.contains("did not arrive")).await?;
        person.connected().await?;
        person.script("localStorage.away = ''", Vec::new()).await?;
        person.find_css("[data-testid='piece-away'] button").await?.click().await?;
        person.become_donor(stage.relay.url()).await?;
        person.go("/jobs").await?;
        person.find_css(&format!("[data-job='{id}']")).await?;
        person.text_when("job-state", JOB, |text| text == "Completed").await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

/// Lends, and does a task for somebody; opens no other page.
async fn lend_and_compute(stage: &Stage) -> Result<()> {
    let person = &stage.people[0];
    person.open(stage.relay.url()).await?;
    person.connected().await?;
    person.lend().await?;
    ensure!(stage.relay.compute(&squares(), JOB).await? == json!([1, 4, 9]), "a wrong result");
    person.more_tasks_than(0, JOB).await.map(drop)
}

/// Visits of which one has to do with the first part alone: what comes before what differs from one to the next, and rare paths
/// are better in the rest.
const VISITS: usize = 3;

#[tokio::test]
async fn a_tab_does_its_first_task_with_the_first_part_of_the_page_and_says_when_it_needs_the_rest() -> Result<()> {
    let story = async |stage: &mut Stage| {
        stage.expected = &["it is gone"];
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.run_before_every_page("window.away = '_rest.wasm'; window.isHereAtOnce = true").await?;
        lend_and_compute(stage).await?;
        let mut called = person.script("return window.askedAtOnce", Vec::new()).await?;
        for _ in 1..VISITS {
            if called == json!([]) {
                break;
            }
            person.open(stage.relay.url()).await?;
            ensure!(stage.relay.compute(&squares(), JOB).await? == json!([1, 4, 9]), "a wrong result");
            person.more_tasks_than(0, JOB).await?;
            called = person.script("return window.askedAtOnce", Vec::new()).await?;
        }
        ensure!(called == json!([]), "what runs before the first task is in the rest: cargo xtask page profile");
        ensure!(has_asked(person, "_rest.wasm").await?, "the rest does not come by itself");
        let network = "window.isHereAtOnce = false; history.pushState({}, '', '/network'); \
                       dispatchEvent(new PopStateEvent('popstate'))";
        person.script(network, Vec::new()).await?;
        let banner = person.find_css("#part-away").await?;
        ensure!(banner.text().await?.contains("did not arrive"), "{:?}", banner.text().await?);
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn whoever_is_told_that_a_part_of_the_page_is_away_reloads_it_and_goes_on() -> Result<()> {
    let story = async |stage: &mut Stage| {
        stage.expected = &["it is gone"];
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.open(stage.relay.url()).await?;
        person.connected().await?;
        person.script("localStorage.away = '_rest.wasm'", Vec::new()).await?;
        person.open(stage.relay.url()).await?;
        person.find("donate-toggle").await?;
        let network = "history.pushState({}, '', '/network'); dispatchEvent(new PopStateEvent('popstate'))";
        person.script(network, Vec::new()).await?;
        let button = person.find_css("#part-away button").await?;
        person.script("localStorage.away = ''", Vec::new()).await?;
        button.click().await?;
        person.node_id().await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn what_is_called_before_the_rest_of_the_page_is_there_brings_it_at_once() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(WATCH).await?;
        person.run_before_every_page("window.away = '_rest.wasm'; window.isHereAtOnce = true").await?;
        lend_and_compute(stage).await?;
        person.node_id().await?;
        let called = person.script("return window.askedAtOnce", Vec::new()).await?;
        ensure!(called.as_array().is_some_and(|called| called.len() == 1), "{called}");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[test]
fn the_page_weighs_no_more_than_it_may() -> Result<()> {
    let weight = Weight::of(&given("P2PNET_DIST")?)?;
    println!("{weight:?}");
    ensure!(weight.all <= Weight::MOST && weight.before_first_task <= Weight::MOST_BEFORE_FIRST_TASK, "{weight:?}");
    Ok(())
}
