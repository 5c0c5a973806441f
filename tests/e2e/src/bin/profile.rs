//! Which functions of the page run until a tab has done its first task: `cargo xtask page profile`.
//!
//! The relay's page is given its program with a mark in each function instead of its own. It is opened in both languages, for
//! the first time and again, on fast machines and slow ones, and lends until it has done a task for others.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{browser::Browser, process::given, relay::Relay};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const LANGUAGES: [&str; 2] = ["en", "ru"];

const PATIENCE: Duration = Duration::from_secs(120);

/// Who visits.
const PEOPLE: usize = 4;

/// How much slower than it is the page's thread is made: what runs depends on what comes before what.
const SLOWER: [u32; 5] = [1, 1, 3, 8, 1];

/// What a page does every few seconds.
const WHILE: Duration = Duration::from_secs(12);

/// The functions that have run.
const MARKED: &str =
    "return [...new Uint8Array(marks.buffer).entries()].filter(([, ran]) => ran).map(([place]) => place)";

/// The program of the page is the one that is streamed with imports.
const INSTEAD: &str = r#"
    WebAssembly.instantiateStreaming = async (answer, imports) => {
      const bytes = Uint8Array.from(atob(PROGRAM), (letter) => letter.charCodeAt(0));
      const ofJavaScript = Object.entries(imports).find(([name]) => name.endsWith("_bg.js"))[1];
      const made = await WebAssembly.instantiate(bytes, { "./p2pnet-web_bg.js": ofJavaScript });
      window.marks = made.instance.exports.marks;
      return made;
    };
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let marked = fs::read(given("P2PNET_MARKED")?).context("cannot read the marked program")?;
    let instead = INSTEAD.replace("PROGRAM", &json!(STANDARD.encode(marked)).to_string());
    // Beside each other, since what comes before what differs where a machine is busy.
    let people = LANGUAGES.into_iter().cycle().take(PEOPLE).map(|language| visits(language, instead.clone()));
    let mut people: JoinSet<_> = people.collect();
    let mut ran = BTreeSet::new();
    while let Some(person) = people.join_next().await {
        ran.append(&mut person??);
        println!("   {} functions have run", ran.len());
    }
    let lines: Vec<String> = ran.into_iter().map(|place| place.to_string()).collect();
    fs::write(given("P2PNET_OUT")?.join("marks.txt"), lines.join("\n")).context("cannot write the profile")
}

/// The functions that run in one person's visits.
async fn visits(language: &'static str, instead: String) -> Result<BTreeSet<u64>> {
    let relay = tokio::task::spawn_blocking(Relay::without_provider).await??;
    let person = Browser::headless().await?;
    let agent = person.script("return navigator.userAgent", Vec::new()).await?;
    let wish = json!({"userAgent": agent, "acceptLanguage": language});
    person.devtools("Emulation.setUserAgentOverride", wish).await?;
    person.run_before_every_page(&instead).await?;
    person.open(relay.url()).await?;
    person.connected().await?;
    person.lend().await?;
    let mut ran = BTreeSet::new();
    for rate in SLOWER {
        person.devtools("Emulation.setCPUThrottlingRate", json!({"rate": rate})).await?;
        let before = person.tasks_done().await?;
        relay.compute(&json!({"kind":"map","data":[1,2,3],"map":"x * x"}), PATIENCE).await?;
        person.more_tasks_than(before, PATIENCE).await?;
        if rate == 1 {
            tokio::time::sleep(WHILE).await;
        }
        let marks = person.script(MARKED, Vec::new()).await?;
        let marks = marks.as_array().context("nothing is marked")?;
        ran.extend(marks.iter().filter_map(Value::as_u64));
        person.open(relay.url()).await?;
        person.connected().await?;
    }
    Ok(ran)
}
