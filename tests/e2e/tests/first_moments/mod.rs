//! The first moments of a page: what is pressed before the node is up, and browsers that keep nothing or start no workers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use p2pnet_e2e::{browser::Browser, relay::Relay, stage::Stage};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::SOON;

/// Presses `BUTTON` the moment it is drawn and can be pressed, once a page.
const PRESS_AT_ONCE: &str = r#"
    const press = () => {
      const button = document.querySelector(`[data-testid='${BUTTON}']:not([disabled])`);
      if (!button) return requestAnimationFrame(press);
      button.click();
      window.pressed = true;
    };
    requestAnimationFrame(press);
"#;

/// A database that neither opens nor fails to.
const NO_ANSWER: &str = "IDBFactory.prototype.open = () => new EventTarget();";

/// As a private window of some browsers does it.
const REFUSED: &str = r#"
    IDBFactory.prototype.open = () => { throw new DOMException("The operation is insecure.", "SecurityError"); };
"#;

/// Keeps the database open and asks to delete it: who opens it then waits for both.
const HOLD: &str = r#"
    return new Promise((done) => {
      const opening = indexedDB.open("p2pnet", 1);
      opening.onsuccess = () => {
        window.held = opening.result;
        indexedDB.deleteDatabase("p2pnet").onblocked = () => done("held");
      };
    });
"#;

/// A database as a later version of the page may leave it.
const NEWER: &str = r#"
    return new Promise((done) => {
      indexedDB.open("p2pnet", 1_000).onsuccess = () => done("held");
    });
"#;

/// As a browser does it that blocks all that pages keep.
const NO_LOCKS: &str = r#"
    LockManager.prototype.request = () => Promise.reject(new DOMException("Locks are denied.", "SecurityError"));
"#;

/// Locks that are neither given nor denied.
const SILENT_LOCKS: &str = "LockManager.prototype.request = () => new Promise(() => {});";

/// As a policy does it that forbids workers.
const NO_WORKERS: &str =
    r#"window.Worker = class { constructor() { throw new Error("workers are forbidden here"); } };"#;

/// As a proxy does it that spoils the script, or one that keeps it.
const BROKEN_WORKERS: &str = r#"const script = "throw new Error('forbidden here')";"#;
const SILENT_WORKERS: &str = r#"const script = "";"#;
const OTHER_WORKERS: &str = r#"
    const other = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    window.Worker = class extends Worker {
      constructor(url, options) {
        super(options?.type === "module" ? other : url, options);
      }
    };
"#;

async fn press_at_once(person: &Browser, button: &str) -> Result<()> {
    person.run_before_every_page(&format!("const BUTTON = {}; {PRESS_AT_ONCE}", json!(button))).await
}

async fn pressed(browser: &Browser, on: bool) -> Result<()> {
    browser.find_css(&format!("[data-testid='donate-toggle'][aria-pressed='{on}']")).await.map(drop)
}

#[tokio::test]
async fn a_press_on_start_in_the_page_s_first_moment_is_never_lost() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let (relay, person) = (&stage.relay, &stage.people[0]);
        press_at_once(person, "donate-toggle").await?;
        for _ in 0..6 {
            person.open(relay.url()).await?;
            person.connected().await?;
            pressed(person, true).await?;
            ensure!(
                person.script("return window.pressed === true", vec![]).await? == json!(true),
                "nothing was pressed"
            );
            lends(relay).await?;
            // The next page begins with lending off.
            person.find("donate-toggle").await?.click().await?;
            pressed(person, false).await?;
        }
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_browser_that_keeps_nothing_or_does_not_say_leaves_a_node_that_says_so_in_both_languages() -> Result<()> {
    for trouble in [NO_ANSWER, REFUSED, NO_LOCKS, SILENT_LOCKS] {
        let story = async |stage: &mut Stage| {
            let (relay, person) = (&stage.relay, &stage.people[0]);
            person.run_before_every_page(trouble).await?;
            person.open(relay.url()).await?;
            person.connected().await?;
            let mut said = vec![];
            for _ in 0..2 {
                said.push(person.text_when("nothing-kept", SOON, |text| !text.is_empty()).await?);
                person.find("lang-switch").await?.click().await?;
            }
            let is_russian = |text: &String| text.chars().any(|c| ('а'..='я').contains(&c));
            ensure!(said.iter().filter(|text| is_russian(text)).count() == 1, "it said {said:?}");
            person.lend().await?;
            lends(relay).await
        };
        Stage::new(1).await?.play(story).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_another_tab_holds_or_of_a_newer_version_leaves_a_node_that_says_so() -> Result<()> {
    for (hold, says) in [(HOLD, "does not answer"), (NEWER, "version")] {
        let story = async |stage: &mut Stage| {
            stage.expected = &["favicon.ico"];
            let (relay, person) = (&stage.relay, &stage.people[0]);
            // A page of the same origin that is none of ours.
            person.open(&format!("{}/api/v1/nodes", relay.url())).await?;
            ensure!(person.script(hold, vec![]).await? == json!("held"), "the database is not held");
            let ours = person.driver.new_tab().await?;
            person.driver.switch_to_window(ours).await?;
            person.open(relay.url()).await?;
            person.connected().await?;
            person.text_when("nothing-kept", SOON, |text| text.contains(says)).await?;
            person.lend().await?;
            lends(relay).await
        };
        Stage::new(1).await?.play(story).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_job_submitted_before_the_node_is_up_is_submitted_once_it_is() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let (relay, person) = (&stage.relay, &stage.people[0]);
        // The node comes seconds after the button.
        person.run_before_every_page(NO_ANSWER).await?;
        press_at_once(person, "submit-job").await?;
        person.open(&format!("{}/jobs/new", relay.url())).await?;
        person.shown_job().await?;
        person.job_state_when(&["queued"], SOON).await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_trial_wished_before_the_node_is_up_is_made_once_it_is() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let (relay, person) = (&stage.relay, &stage.people[0]);
        person.run_before_every_page(NO_ANSWER).await?;
        press_at_once(person, "dry-run").await?;
        person.open(&format!("{}/jobs/new", relay.url())).await?;
        person.text_when("dry-run-result", SOON, |text| text.contains("Gas")).await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_relay_that_does_not_answer_holds_up_no_node_and_a_job_says_at_each_moment_what_it_waits_for() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let (relay, person) = (&stage.relay, &stage.people[0]);
        // What is asked stays without an answer, as behind a proxy whose relay hangs.
        person.devtools("Fetch.enable", json!({"patterns": [{"urlPattern": "*/.well-known/*"}]})).await?;
        person.open(relay.url()).await?;
        person.submit(&json!({"kind":"map","data":[1,2,3],"map":"x*x"})).await?;
        person.text_when("job-waiting", SOON, |text| text.contains("connection to the network")).await?;
        person.find_css("[data-testid='connected'][title*='does not answer']").await?;
        person.devtools("Fetch.disable", json!({})).await?;
        person.connected().await?;
        person.text_when("job-waiting", SOON, |text| text.contains("No node lends")).await?;
        person.find("lend-here").await?.click().await?;
        ensure!(person.job_result(SOON).await? == json!([1, 4, 9]), "a wrong result");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_tab_without_workers_offers_nothing_and_says_why() -> Result<()> {
    let troubles = [
        (NO_WORKERS.to_owned(), "forbidden here"),
        (format!("{BROKEN_WORKERS} {OTHER_WORKERS}"), "forbidden here"),
        (format!("{SILENT_WORKERS} {OTHER_WORKERS}"), "did not start in time"),
    ];
    for (trouble, why) in troubles {
        let story = async |stage: &mut Stage| {
            let (relay, person) = (&stage.relay, &stage.people[0]);
            person.run_before_every_page(&trouble).await?;
            person.open(relay.url()).await?;
            person.connected().await?;
            person.lend().await?;
            person.text_when("no-workers", 2 * SOON, |text| text.contains(why)).await?;
            person.text_when("donate-status", SOON, |text| text.contains("starts no workers")).await?;
            nobody_lends(relay).await
        };
        Stage::new(1).await?.play(story).await?;
    }
    Ok(())
}

/// Waits until the one tab lends.
async fn lends(relay: &Relay) -> Result<()> {
    let lenders = relay.lenders(1, SOON).await?;
    ensure!(lenders.len() == 1, "{} nodes lend", lenders.len());
    Ok(())
}

/// Waits until no offer stands: one made before the first worker failed is taken back.
async fn nobody_lends(relay: &Relay) -> Result<()> {
    let began = Instant::now();
    loop {
        let network: Value = relay.get("/api/v1/nodes").await?;
        let nodes = network["nodes"].as_array().context("no nodes")?;
        if nodes.iter().all(|node| node["offer"].is_null()) {
            return Ok(());
        }
        ensure!(began.elapsed() < SOON, "a tab without workers is offered: {network}");
        sleep(Duration::from_millis(100)).await;
    }
}
