//! What a person does, each in one sentence, in real Chromium against the real relay.
//!
//! Every browser is a process tree and a node of its own; the relay does not lend unless a story says so. Stories may run
//! side by side; those that measure what a processor does wait until they are alone.
#![expect(clippy::unwrap_used)]

mod first_moments;
mod kinds;
mod new_job;
mod pieces;
mod prepared;
mod versions;
mod workers;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{
    browser::{Browser, Display, Screen},
    kernels,
    process::Rival,
    relay::Relay,
    stage::Stage,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

/// For a job of some seconds on a machine that does much else.
const JOB: Duration = Duration::from_secs(180);

/// For what should happen at once.
const SOON: Duration = Duration::from_secs(30);

/// What a browser itself prints while the relay is away; a page can only stop asking to avoid it.
const RELAY_AWAY: &[&str] = &["net::ERR_", "WebSocket connection to"];

#[tokio::test]
async fn a_console_error_is_noticed() -> Result<()> {
    let mut browser = Browser::headless().await?;
    browser.open("data:text/html,<script>console.error('as planned')</script>").await?;
    let error = browser.no_errors().await.err().context("the error was not noticed")?;
    ensure!(error.to_string().contains("as planned"), "another error was noticed: {error}");
    browser.no_errors_but(&["as planned"]).await
}

#[tokio::test]
async fn test_1_a_page_that_donates_soon_executes_its_first_task() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let (relay, donor) = (&stage.relay, &stage.people[0]);
        // A first visit fills the browser's cache; the clock runs for a second one.
        donor.open(relay.url()).await?;
        donor.connected().await?;
        donor.lend().await?;
        donor.open("about:blank").await?;
        let job = relay.submit(&hours_of_work()).await?;
        let began = Instant::now();
        donor.open(relay.url()).await?;
        donor.connected().await?;
        let connected = began.elapsed();
        donor.more_tasks_than(0, SOON).await?;
        println!("connected {connected:?} and first task done {:?} after opening", began.elapsed());
        cancel(stage, &job).await
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn test_2_one_browser_computes_the_sum_that_another_one_submits() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        let donor_id = donor.become_donor(stage.relay.url()).await?;
        requester.open(stage.relay.url()).await?;
        requester.connected().await?;
        let requester_id = requester.node_id().await?;
        ensure!(donor_id != requester_id, "both browsers are the same node");
        requester.submit(&json!({"kind":"range_reduce","start":1,"end":10_000_000,"map":"x","reduce":"sum"})).await?;
        ensure!(requester.job_result(JOB).await? == json!(50_000_005_000_000_u64), "a wrong sum");
        ensure!(requester.job_nodes().await? == [donor_id], "computed by {:?}", requester.job_nodes().await?);
        ensure!(donor_tasks(donor).await? > 0, "the donor's own page counts nothing");
        Ok(())
    };
    Stage::new(2).await?.play(story).await
}

#[tokio::test]
async fn test_3_every_kind_of_job_gives_the_right_result() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let donor_id = stage.people[0].become_donor(stage.relay.url()).await?;
        for (job, expected) in kinds::jobs() {
            let id = stage.relay.submit(&job).await.with_context(|| job.to_string())?;
            let result = stage.relay.result(&id, JOB).await.with_context(|| job.to_string())?;
            kinds::same(&result, &expected).with_context(|| job.to_string())?;
            let nodes = stage.relay.job(&id).await?["nodes"].clone();
            ensure!(nodes[0]["node"] == donor_id.as_str() && nodes[1].is_null(), "{job} was computed by {nodes}");
        }
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn test_4_a_job_completes_although_a_donor_is_killed_at_work() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let url = stage.relay.url().to_owned();
        let doomed_id = stage.people[0].become_donor(&url).await?;
        stage.people[1].open(&url).await?;
        stage.people[1].connected().await?;
        let job = seconds_of_work(6);
        stage.people[1].submit(&job.source).await?;
        stage.people[1].job_node_when(&doomed_id, SOON).await?;
        stage.people.remove(0).kill();
        let heir_id = stage.people[1].become_donor(&url).await?;
        let requester = &stage.people[0];
        ensure!(requester.job_result(JOB).await? == job.result, "a wrong count");
        let nodes = requester.job_nodes().await?;
        ensure!(nodes.contains(&heir_id) && nodes.contains(&doomed_id), "computed by {nodes:?}");
        Ok(())
    };
    Stage::new(3).await?.play(story).await
}

#[tokio::test]
async fn test_5_a_requester_that_reloads_its_page_still_gets_the_result() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        let donor_id = donor.become_donor(stage.relay.url()).await?;
        requester.open(stage.relay.url()).await?;
        requester.connected().await?;
        let job = seconds_of_work(6);
        requester.submit(&job.source).await?;
        requester.job_node_when(&donor_id, SOON).await?;
        requester.driver.refresh().await?;
        ensure!(requester.job_result(JOB).await? == job.result, "a wrong count");
        Ok(())
    };
    Stage::new(2).await?.play(story).await
}

#[tokio::test]
async fn clocks_that_are_set_by_hours_while_a_job_runs_neither_end_it_nor_show_in_how_long_it_took() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        let donor_id = donor.become_donor(stage.relay.url()).await?;
        requester.open(stage.relay.url()).await?;
        requester.connected().await?;
        let job = seconds_of_work(6);
        requester.submit(&job.source).await?;
        requester.job_node_when(&donor_id, SOON).await?;
        for (person, hours) in [(donor, -5), (requester, 3)] {
            person
                .script(
                    "const [hours] = arguments, before = Date.now; Date.now = () => before() + hours * 3600000",
                    vec![json!(hours)],
                )
                .await?;
        }
        ensure!(requester.job_result(JOB).await? == job.result, "a wrong count");
        ensure!(requester.job_nodes().await? == [donor_id], "computed by {:?}", requester.job_nodes().await?);
        // Ids stand in `code`: one in twenty of them ends like "5d".
        let hours = r"const main = document.querySelector('main'), ids = [...main.querySelectorAll('code')];
            const text = ids.reduce((text, id) => text.replaceAll(id.innerText, ''), main.innerText);
            return text.match(/.*\b[0-9]+\s?(h|d|hours?|days?)\b.*/g)";
        let said = requester.script(hours, Vec::new()).await?;
        ensure!(said.is_null(), "it says {said}");
        Ok(())
    };
    Stage::new(2).await?.play(story).await
}

#[tokio::test]
async fn test_6_tabs_find_a_restarted_relay_again_and_their_job_completes() -> Result<()> {
    let story = async |stage: &mut Stage| {
        stage.expected = RELAY_AWAY;
        let donor_id = stage.people[0].become_donor(stage.relay.url()).await?;
        stage.people[1].open(stage.relay.url()).await?;
        stage.people[1].connected().await?;
        let job = seconds_of_work(8);
        stage.people[1].submit(&job.source).await?;
        stage.people[1].job_node_when(&donor_id, SOON).await?;
        stage.relay.stop()?;
        sleep(Duration::from_secs(1)).await;
        stage.relay.start_again()?;
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        ensure!(requester.job_result(JOB).await? == job.result, "a wrong count");
        donor.connected().await?;
        requester.connected().await
    };
    Stage::new(2).await?.play(story).await
}

#[tokio::test]
async fn test_7_cancelling_a_job_brings_the_workers_to_rest() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        donor.become_donor(stage.relay.url()).await?;
        requester.open(stage.relay.url()).await?;
        requester.connected().await?;
        // A kernel that never ends: only stopping its worker can bring the processor to rest.
        let endless = json!({"kind":"kernel","kernel":kernels::endless(),"input":"eA==","split":"none",
            "merge":"concat","requirements":{"timeout_seconds":600}});
        requester.submit(&endless).await?;
        requester.job_state_when(&["running"], SOON).await?;
        sleep(Duration::from_secs(1)).await;
        let busy = load(donor, Duration::from_secs(2)).await?;
        ensure!(busy.workers > busy.rival / 2.0, "the donor works little: {busy:?}");
        let cancelled = Instant::now();
        requester.find("cancel-job").await?.click().await?;
        requester.job_state_when(&["cancelled"], SOON).await?;
        // Nothing else would end it within ten minutes.
        loop {
            let after = load(donor, Duration::from_secs(1)).await?;
            if after.workers < after.rival / 4.0 {
                println!("{busy:?}, and {after:?} within {:?} of cancelling", cancelled.elapsed());
                return Ok(());
            }
            ensure!(cancelled.elapsed() < SOON, "the donor still works: {after:?}");
        }
    };
    Stage::alone(2).await?.play(story).await
}

#[tokio::test]
async fn test_8_ten_tabs_donate_and_one_job_uses_all_of_them() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let mut donors = Vec::new();
        for person in &stage.people {
            donors.push(person.become_donor(stage.relay.url()).await?);
        }
        stage.relay.lenders(10, SOON).await?;
        let job = seconds_of_work(20);
        let id = stage.relay.submit(&job.source).await?;
        ensure!(stage.relay.result(&id, 2 * JOB).await? == job.result, "a wrong count");
        let shares = stage.relay.job(&id).await?["nodes"].clone();
        let idle: Vec<_> = donors.iter().filter(|donor| !shares.to_string().contains(donor.as_str())).collect();
        ensure!(idle.is_empty(), "of ten donors, {} did nothing: {shares:#}", idle.len());
        Ok(())
    };
    Stage::alone(10).await?.play(story).await
}

#[tokio::test]
async fn test_9_a_tab_hidden_behind_another_goes_on_computing() -> Result<()> {
    let screen = Screen::new()?;
    let story = async |stage: &mut Stage| {
        let donor = Browser::start(Display::Shown(&screen)).await?;
        let donor_id = donor.become_donor(stage.relay.url()).await?;
        donor.script(LOG_VISIBILITY, Vec::new()).await?;
        let tab = donor.driver.window().await?;
        let in_front = donor.driver.new_tab().await?;
        donor.driver.switch_to_window(in_front).await?;
        donor.devtools("Page.bringToFront", json!({})).await?;
        // Long enough for the browser's throttling of hidden pages to set in.
        sleep(Duration::from_secs(15)).await;
        let job = seconds_of_work(5);
        let (submitted, began) = (now_millis()?, Instant::now());
        let id = stage.relay.submit(&job.source).await?;
        ensure!(stage.relay.result(&id, JOB).await? == job.result, "a wrong count");
        println!("a hidden tab computed in {:?}", began.elapsed());
        let ended = now_millis()?;
        ensure!(stage.relay.job(&id).await?["nodes"][0]["node"] == donor_id.as_str(), "computed by another node");
        donor.driver.switch_to_window(tab).await?;
        let seen = donor.script("return window.visibility", Vec::new()).await?;
        let seen: Vec<(String, u64)> = serde_json::from_value(seen)?;
        let hidden = seen.iter().any(|(state, at)| state == "hidden" && *at < submitted);
        let shown = seen.iter().any(|(state, at)| state == "visible" && *at > submitted && *at < ended);
        ensure!(hidden && !shown, "the tab was not hidden from {submitted} to {ended}: {seen:?}");
        stage.people.push(donor);
        Ok(())
    };
    Stage::new(0).await?.play(story).await
}

/// Notes whenever the page is hidden or shown.
const LOG_VISIBILITY: &str = "window.visibility = [[document.visibilityState, Date.now()]]; \
     document.addEventListener('visibilitychange', () => visibility.push([document.visibilityState, Date.now()]))";

#[tokio::test]
async fn tabs_whose_websockets_are_blocked_work_for_each_other_over_webrtc_direct() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let url = stage.relay.url().to_owned();
        for person in &stage.people {
            person.run_before_every_page(NO_WEBSOCKETS).await?;
        }
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        let donor_id = donor.become_donor(&url).await?;
        requester.open(&url).await?;
        requester.connected().await?;
        let nodes = stage.relay.get("/api/v1/nodes").await?;
        let over: Vec<_> = nodes["nodes"].as_array().into_iter().flatten().map(|node| &node["transport"]).collect();
        ensure!(over == ["webrtc-direct"; 2], "the tabs came over {over:?}: {nodes}");
        // More than a message, a window or a buffer on the way holds.
        let data: Vec<u64> = (0..300_000).collect();
        let sum: u64 = data.iter().map(|x| x * x).sum();
        requester.submit(&json!({"kind":"map_reduce","data":data,"map":"x*x","reduce":"sum"})).await?;
        let result = requester.job_result(JOB).await?;
        ensure!(result == json!(sum) || result == json!(sum.to_string()), "a wrong sum: {result}");
        requester.job_node_when(&donor_id, SOON).await
    };
    Stage::new(2).await?.play(story).await
}

#[tokio::test]
async fn a_shipped_program_runs_in_another_tab_and_shows_what_it_printed_and_how_it_ended() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let [donor, requester] = &stage.people[..] else { anyhow::bail!("two people, please") };
        let donor_id = donor.become_donor(stage.relay.url()).await?;
        requester.open(stage.relay.url()).await?;
        requester.connected().await?;

        // Frequent words, by the program in Rust.
        let result = run_example(requester, 1, "frequencies").await?;
        let output = STANDARD.decode(result["stdout"].as_str().context("no stdout")?)?;
        let output = String::from_utf8(output)?;
        ensure!(output == "2\tall\n2\tlend\n2\twho\n1\ta\n1\tand\n", "{output:?}");
        ensure!(requester.job_nodes().await? == [donor_id], "computed by {:?}", requester.job_nodes().await?);

        // Statistics, by the program in C, which complains of a word on standard error.
        let result = run_example(requester, 2, "statistics").await?;
        ensure!(result["stderr"] == "statistics: x is no number\n", "{result}");
        requester.text_when("job-errors", SOON, |text| text.contains("x is no number")).await?;

        // The same with nothing but a word: it says so and ends with 1.
        let module = STANDARD.encode(std::fs::read("../../kernels/commands/built/statistics.wasm")?);
        let failing = json!({"kind":"command","module":module,"input":STANDARD.encode("x"),"split":"none"});
        requester.submit(&failing).await?;
        requester.job_state_when(&["failed"], SOON).await?;
        requester
            .text_when("job-error", SOON, |text| text.contains("exit code 1") && text.contains("no numbers"))
            .await?;
        Ok(())
    };
    Stage::new(2).await?.play(story).await
}

#[tokio::test]
async fn a_page_below_a_path_of_its_server_lends_computes_and_is_there_after_a_reload() -> Result<()> {
    const BASE: &str = "/for/everyone";
    let story = async |stage: &mut Stage| {
        stage.relay = Relay::with(&["--no-provider", "--base-path", BASE])?;
        let person = &stage.people[0];
        person.open(&format!("{}{BASE}/", stage.relay.url())).await?;
        person.connected().await?;
        person.lend().await?;
        person.go(&format!("{BASE}/jobs/new")).await?;
        person.find("tab-command").await?.click().await?;
        person.find("example-1").await?.click().await?;
        person.text_when("file-module", SOON, |text| text.contains("frequencies")).await?;
        let id = person.press_submit().await?;
        person.job_result(JOB).await?;
        person.driver.refresh().await?;
        person.connected().await?;
        person.job_state_when(&["completed"], SOON).await?;
        person.path_when(|path| path == format!("{BASE}/jobs/{id}")).await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

/// Submits an example of New job's Command as it stands, and gives its result.
async fn run_example(person: &Browser, place: usize, program: &str) -> Result<Value> {
    person.go("/jobs/new").await?;
    person.find("tab-command").await?.click().await?;
    person.find(&format!("example-{place}")).await?.click().await?;
    // The program comes from the relay: its name shows that it is here.
    person.text_when("file-module", SOON, |text| text.contains(program)).await?;
    person.press_submit().await?;
    person.job_result(JOB).await
}

/// As behind a proxy that lets no WebSocket through.
const NO_WEBSOCKETS: &str = "window.WebSocket = class { constructor() { throw new DOMException('blocked') } }";

fn now_millis() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// A job and what must come of it.
struct Work {
    source: Value,
    result: Value,
}

/// Counts the numbers that share no divisor with 720,720; of each 720,720 in a row there are φ(720,720) = 138,240. A tab
/// of the slow machine that this was measured on looks at 22 × 720,720 a second, so that the job is caught in the middle.
fn seconds_of_work(seconds: u64) -> Work {
    let rounds = 22 * seconds;
    let end = 720_720 * rounds;
    Work {
        source: json!({"kind":"range_reduce","start":1,"end":end,"map":"x","where":"gcd(x, 720720) == 1","reduce":"count"}),
        result: json!(138_240 * rounds),
    }
}

/// A job that does not end while a test runs.
fn hours_of_work() -> Value {
    json!({"kind":"range_reduce","start":1,"end":1_000_000_000_000_u64,"map":"x","where":"is_prime(x)","reduce":"count"})
}

async fn cancel(stage: &Stage, job: &str) -> Result<()> {
    let (status, body) = stage.relay.ask(Method::DELETE, &format!("/api/v1/jobs/{job}"), None).await?;
    ensure!(status.is_success(), "cancelling answered {status}: {body}");
    Ok(())
}

/// What a donor's own page says that it did.
async fn donor_tasks(donor: &Browser) -> Result<u64> {
    donor.more_tasks_than(0, SOON).await
}

/// How many cores the workers of a browser keep busy, and how many a thread does meanwhile that wants one all the time: what
/// else goes on takes from both.
#[derive(Debug)]
struct Load {
    workers: f64,
    rival: f64,
}

async fn load(browser: &Browser, span: Duration) -> Result<Load> {
    let (before, began, rival) = (browser.workers_time(), Instant::now(), Rival::start());
    sleep(span).await;
    let took = browser.workers_time().saturating_sub(before);
    let (rivals, span) = (rival.end()?, began.elapsed().as_secs_f64());
    Ok(Load { workers: took.as_secs_f64() / span, rival: rivals.as_secs_f64() / span })
}
