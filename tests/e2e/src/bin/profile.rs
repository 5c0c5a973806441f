//! Which functions of the page run until a tab has done its first task: `cargo xtask page profile`.
//!
//! The relay's page is given its program with a mark in each function instead of its own. It is opened in both languages, for
//! the first time and again, and lends until it has done a task for others.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{browser::Browser, process::given, relay::Relay};
use serde_json::{Value, json};

const LANGUAGES: [&str; 2] = ["en", "ru"];

const PATIENCE: Duration = Duration::from_secs(60);

/// A new profile, and one that has been here.
const VISITS: [(); 2] = [(); 2];

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
    let mut ran = BTreeSet::new();
    for language in LANGUAGES {
        let relay = Relay::without_provider()?;
        let person = Browser::headless().await?;
        let agent = person.script("return navigator.userAgent", Vec::new()).await?;
        let wish = json!({"userAgent": agent, "acceptLanguage": language});
        person.devtools("Emulation.setUserAgentOverride", wish).await?;
        person.run_before_every_page(&instead).await?;
        person.open(relay.url()).await?;
        person.connected().await?;
        person.lend().await?;
        for _ in VISITS {
            let before = person.tasks_done().await?;
            relay.compute(&json!({"kind":"map","data":[1,2,3],"map":"x * x"}), PATIENCE).await?;
            person.more_tasks_than(before, PATIENCE).await?;
            let marks = person.script(MARKED, Vec::new()).await?;
            let marks = marks.as_array().context("nothing is marked")?;
            ran.extend(marks.iter().filter_map(Value::as_u64));
            println!("   {} functions have run", ran.len());
            person.open(relay.url()).await?;
            person.connected().await?;
        }
    }
    let lines: Vec<String> = ran.into_iter().map(|place| place.to_string()).collect();
    fs::write(given("P2PNET_OUT")?.join("marks.txt"), lines.join("\n")).context("cannot write the profile")
}
