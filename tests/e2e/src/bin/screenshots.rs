//! Pictures of every page at work, in both languages and both themes, for desktop and phone: `cargo xtask screenshots`.
//!
//! They are for looking at, and one of them is the README's. Nothing is staged but the jobs: the nodes are real tabs.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{browser::Browser, process::given, relay::Relay};
use serde_json::{Value, json};
use tokio::time::sleep;

/// How many tabs lend besides the one that is photographed.
const DONORS: usize = 3;

/// For a job to complete.
const PATIENCE: Duration = Duration::from_secs(60);

/// For a page to settle: fonts, transitions, live figures.
const SETTLE: Duration = Duration::from_millis(700);

/// A browser whose workers and storage a policy forbids.
const BROKEN: &str = r#"
    window.Worker = class { constructor() { throw new Error("workers are forbidden here"); } };
    IDBFactory.prototype.open = () => { throw new DOMException("The operation is insecure.", "SecurityError"); };
"#;

/// What Donate then says, in each of the languages.
const BROKEN_SAYS: [&str; 2] = ["starts no workers", "не запускает"];

const LANGUAGES: [&str; 2] = ["en", "ru"];
const THEMES: [&str; 2] = ["light", "dark"];
/// Name, width and height in CSS pixels, pixels a CSS pixel, whether it is a phone.
const DEVICES: [(&str, u32, u32, u32, bool); 2] = [("desktop", 1280, 860, 1, false), ("phone", 390, 844, 2, true)];

#[tokio::main]
async fn main() -> Result<()> {
    let filter = env::args().nth(1).unwrap_or_default();
    let folder = given("P2PNET_OUT")?.join("screenshots");
    fs::create_dir_all(&folder)?;
    let relay = Relay::with_provider()?;
    let mut donors = Vec::new();
    for _ in 0..DONORS {
        let donor = Browser::headless().await?;
        donor.become_donor(relay.url()).await?;
        donors.push(donor);
    }
    let mut me = Browser::headless().await?;
    me.become_donor(relay.url()).await?;
    for job in finished_jobs() {
        me.submit(&job).await?;
        me.job_state_when(&["completed", "failed"], PATIENCE).await?;
    }
    let running = me.submit(&running_job()).await?;
    me.job_state_when(&["running"], PATIENCE).await?;
    sleep(Duration::from_secs(4)).await;
    let job_page = format!("/jobs/{running}");
    let command = me.submit(&command_job()?).await?;
    me.job_state_when(&["completed"], PATIENCE).await?;
    let command_page = format!("/jobs/{command}");
    let broken = Browser::headless().await?;
    broken.run_before_every_page(BROKEN).await?;
    broken.open(relay.url()).await?;
    let pages = [
        ("donate", "/"),
        ("jobs", "/jobs"),
        ("new-job", "/jobs/new"),
        ("new-command", "/jobs/new"),
        ("command", command_page.as_str()),
        ("job", job_page.as_str()),
        ("network", "/network"),
        ("about", "/about"),
    ];
    for (device, width, height, scale, phone) in DEVICES {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        for browser in [&me, &broken] {
            browser.devtools("Emulation.setDeviceMetricsOverride", metrics.clone()).await?;
        }
        for language in LANGUAGES {
            speak(&me, language).await?;
            speak(&broken, language).await?;
            broken.lend().await?;
            broken
                .text_when("donate-status", PATIENCE, |text| text.contains(BROKEN_SAYS[usize::from(language == "ru")]))
                .await?;
            for theme in THEMES {
                let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
                for browser in [&me, &broken] {
                    browser.devtools("Emulation.setEmulatedMedia", media.clone()).await?;
                }
                let name = format!("donate-broken-{language}-{theme}-{device}");
                if name.contains(&filter) {
                    sleep(SETTLE).await;
                    photograph(&broken, &folder.join(format!("{name}.png"))).await?;
                }
                for (name, path) in pages {
                    let name = format!("{name}-{language}-{theme}-{device}");
                    if !name.contains(&filter) {
                        continue;
                    }
                    show(&me, path).await?;
                    if path == "/jobs/new" {
                        fill(&me, name.starts_with("new-command")).await?;
                    }
                    sleep(SETTLE).await;
                    let file = folder.join(format!("{name}.png"));
                    photograph(&me, &file).await.with_context(|| name.clone())?;
                    println!("{}", file.display());
                }
            }
        }
    }
    me.no_errors().await
}

/// Opens New job's tab of programs with an example in it, or its first tab.
async fn fill(browser: &Browser, command: bool) -> Result<()> {
    if !command {
        return Ok(browser.find("tab-range_reduce").await?.click().await?);
    }
    browser.find("tab-command").await?.click().await?;
    browser.find("example-2").await?.click().await?;
    browser.find("file-module").await?;
    browser.script("document.querySelectorAll('details').forEach((part) => part.open = true)", Vec::new()).await?;
    browser.paste("field-name", "Figures of July").await?;
    browser.paste("field-labels", "team=statistics\nrun=2026-07").await
}

/// Makes the browser prefer a language, and the page look again.
async fn speak(browser: &Browser, language: &str) -> Result<()> {
    let agent = browser.script("return navigator.userAgent", Vec::new()).await?;
    let wish = json!({"userAgent": agent, "acceptLanguage": language});
    browser.devtools("Emulation.setUserAgentOverride", wish).await?;
    browser.driver.refresh().await?;
    browser.connected().await
}

/// Goes to a page of the running app, which keeps its node.
async fn show(browser: &Browser, path: &str) -> Result<()> {
    let code = "history.pushState({}, '', arguments[0]); dispatchEvent(new PopStateEvent('popstate'))";
    browser.script(code, vec![json!(path)]).await?;
    browser.path_when(|now| now == path).await.map(drop)
}

/// The page from top to end.
async fn photograph(browser: &Browser, file: &PathBuf) -> Result<()> {
    browser.script("scrollTo(0, 0)", Vec::new()).await?;
    let picture = browser.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await?;
    let data = picture["data"].as_str().context("no picture")?;
    Ok(fs::write(file, STANDARD.decode(data)?)?)
}

fn finished_jobs() -> Vec<Value> {
    vec![
        json!({"kind":"range_reduce","start":1,"end":10_000_000,"map":"x","reduce":"sum"}),
        json!({"kind":"map_reduce","data":[3,1,2,8,5],"map":"x*x","where":"x > 1","reduce":"average"}),
        json!({"kind":"matrix","op":"multiply","a":[[1,2],[3,4]],"b":[[5,6],[7,8]]}),
        json!({"kind":"map","data":[4,2,0],"map":"12 / x"}),
    ]
}

/// A program that also complains, and fails on two lines, of which one is no text.
fn command_job() -> Result<Value> {
    let folder = given("P2PNET_DIST")?.join("examples");
    let module = STANDARD.encode(fs::read(folder.join("statistics.wasm"))?);
    let input = STANDARD.encode(b"3, 1, 4, 1, 5, 9, 2, 6\n2, 7, 1, 8, x\nnothing to count\nna\xefve caf\xe9\n4");
    let labels = json!({"team": "statistics", "run": "2026-07"});
    Ok(
        json!({"kind":"command","name":"Figures of July","labels":labels,"module":module,"args":["-d","4"],"input":input,"split":"lines"}),
    )
}

/// Goes on while the pictures are taken.
fn running_job() -> Value {
    json!({"kind":"range_reduce","start":1,"end":20_000_000_000_u64,"map":"x","where":"is_prime(x)","reduce":"count"})
}
