//! Chromium, one process tree a person: its own chromedriver, its own empty profile, its own identity on the network.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thirtyfour::{
    BrowserLogEntry, ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver, prelude::*,
};
use tokio::time::sleep;

use crate::process::{
    Folder, Process, choose_tls, given, memory, processes_naming, processor_time, signal, threads_time, tree,
};

/// How long programs may take to start.
const START: Duration = Duration::from_secs(60);
/// What Linux calls the thread of a Web Worker of Chromium.
const WORKER: &str = "DedicatedWorker";

/// How long something may take to appear on a page.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the browser has a window.
pub enum Display<'a> {
    /// None: fast, and never hidden.
    Headless,
    /// On a display of ours, where tabs can hide each other.
    Shown(&'a Screen),
}

/// A display without a screen.
pub struct Screen {
    name: String,
    _xvfb: Process,
}

impl Screen {
    /// A new one, on a free display number.
    pub fn new() -> Result<Self> {
        let mut command = Command::new(given("P2PNET_XVFB")?);
        command.args(["-displayfd", "1", "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]);
        let (xvfb, number) = Process::start("Xvfb", &mut command, START, |line| line.trim().parse::<u32>().ok())?;
        Ok(Self { name: format!(":{number}"), _xvfb: xvfb })
    }
}

/// A running browser with one tab.
pub struct Browser {
    /// The tab.
    pub driver: WebDriver,
    profile: Folder,
    chromedriver: Process,
    log: Vec<BrowserLogEntry>,
}

impl Browser {
    /// A browser without a window, showing nothing yet.
    pub async fn headless() -> Result<Self> {
        Self::start(Display::Headless).await
    }

    /// A browser, showing nothing yet.
    pub async fn start(display: Display<'_>) -> Result<Self> {
        Self::start_with(display, &[]).await
    }

    /// The same with further flags on its command line.
    pub async fn start_with(display: Display<'_>, flags: &[&str]) -> Result<Self> {
        choose_tls();
        let profile = Folder::new("chromium")?;
        let mut command = Command::new(given("P2PNET_CHROMEDRIVER")?);
        command.arg("--port=0").env("TMPDIR", profile.path());
        if let Display::Shown(screen) = &display {
            command.env("DISPLAY", &screen.name);
        }
        let (chromedriver, port) = Process::start("chromedriver", &mut command, START, port_in)?;
        let mut wishes = DesiredCapabilities::chrome();
        wishes.set_binary(&given("P2PNET_CHROMIUM")?.to_string_lossy())?;
        if let Display::Headless = display {
            wishes.add_arg("--headless=new")?;
        }
        for flag in [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ] {
            wishes.add_arg(flag)?;
        }
        for flag in flags {
            wishes.add_arg(flag)?;
        }
        wishes.add_arg(&format!("--user-data-dir={}", profile.path().join("profile").display()))?;
        wishes.set_browser_log_level(LoggingPrefsLogLevel::All)?;
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wishes)
            .await
            .with_context(|| format!("Chromium does not start; chromedriver printed:\n{}", chromedriver.printed()))?;
        driver.set_script_timeout(Duration::from_secs(60)).await?;
        Ok(Self { driver, profile, chromedriver, log: Vec::new() })
    }

    /// Shows a page.
    pub async fn open(&self, url: &str) -> Result<()> {
        Ok(self.driver.goto(url).await?)
    }

    /// Waits for an element by its `data-testid`.
    pub async fn find(&self, name: &str) -> Result<WebElement> {
        self.find_css(&format!("[data-testid='{name}']")).await
    }

    /// Waits for an element by a CSS selector.
    pub async fn find_css(&self, selector: &str) -> Result<WebElement> {
        let began = Instant::now();
        loop {
            match self.driver.find(By::Css(selector)).await {
                Ok(element) => return Ok(element),
                Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(20)).await,
                Err(error) => {
                    let url = self.driver.current_url().await.map(|url| url.to_string()).unwrap_or_default();
                    bail!("{selector} is not on {url} ({error}); {}", self.what_it_says().await)
                }
            }
        }
    }

    /// The text of an element, as soon as it satisfies `enough`.
    pub async fn text_when(&self, name: &str, patience: Duration, enough: impl Fn(&str) -> bool) -> Result<String> {
        let began = Instant::now();
        let mut last = String::new();
        loop {
            // An element may be replaced between finding and reading it: that only means to look again.
            if let Ok(text) =
                async { self.driver.find(By::Css(format!("[data-testid='{name}']"))).await?.text().await }.await
            {
                if enough(&text) {
                    return Ok(text);
                }
                last = text;
            }
            if began.elapsed() > patience {
                bail!("{name} still says {last:?} after {patience:?}; {}", self.what_it_says().await);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs JavaScript in the page.
    pub async fn script(&self, code: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.driver.execute(code, arguments).await?.json().clone())
    }

    /// Runs JavaScript in every page from now on, before the page's own.
    pub async fn run_before_every_page(&self, code: &str) -> Result<()> {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": code })).await.map(drop)
    }

    /// Gives the browser a command of the DevTools protocol (an extension of chromedriver).
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        let url = format!("{}session/{}/goog/cdp/execute", self.driver.server_url(), self.driver.session_id());
        let body = json!({ "cmd": command, "params": parameters });
        let answer = reqwest::Client::new().post(url).json(&body).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{command} failed: {status} {}", answer.text().await?);
        }
        Ok(answer.json::<Value>().await?["value"].clone())
    }

    /// What is wrong according to the page's console: errors, and exceptions that nobody caught.
    pub async fn errors(&mut self) -> Result<Vec<String>> {
        self.log.extend(self.driver.browser_log().await?);
        Ok(self.log.iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message.clone()).collect())
    }

    /// Fails if the console holds an error, but for those that contain one of `expected`.
    pub async fn no_errors_but(&mut self, expected: &[&str]) -> Result<()> {
        let mut errors = self.errors().await?;
        errors.retain(|error| !expected.iter().any(|text| error.contains(text)));
        if errors.is_empty() { Ok(()) } else { bail!("the console holds errors:\n{}", errors.join("\n")) }
    }

    /// Fails if the console holds an error.
    pub async fn no_errors(&mut self) -> Result<()> {
        self.no_errors_but(&[]).await
    }

    /// Its processes' time on the processors so far: renderers, workers and all.
    pub fn processor_time(&self) -> Duration {
        processor_time(&tree(self.chromedriver.id()))
    }

    /// The same of its Web Workers alone; of those that live. What the page draws is not in it.
    pub fn workers_time(&self) -> Duration {
        threads_time(&tree(self.chromedriver.id()), WORKER)
    }

    /// Memory that browser and driver hold, in bytes; what their processes share counts for each.
    pub fn memory(&self) -> u64 {
        memory(&tree(self.chromedriver.id()))
    }

    /// Its driver's process, of which all others are descendants.
    pub fn process_id(&self) -> u32 {
        self.chromedriver.id()
    }

    /// Everything that the console holds, for looking into a failure.
    pub async fn console(&mut self) -> String {
        if let Ok(more) = self.driver.browser_log().await {
            self.log.extend(more);
        }
        self.log.iter().map(|entry| format!("{} {}", entry.level, entry.message)).collect::<Vec<_>>().join("\n")
    }

    /// Ends it at once and without a word, as a crash or a power cut does.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without this, the driver's own drop would try to talk to a browser that is gone.
        let _ = self.driver.clone().leak();
        let profile = self.profile.path().to_string_lossy().into_owned();
        for process in tree(self.chromedriver.id()).into_iter().chain(processes_naming(&profile)) {
            signal("KILL", &process.to_string());
        }
    }
}

/// The port in chromedriver's `ChromeDriver was started successfully on port 41234.`
fn port_in(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').trim().parse().ok()
}
