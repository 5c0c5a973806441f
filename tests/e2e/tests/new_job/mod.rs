//! The form of New job and what comes of it: names, labels, exit codes, parts that fail, results of bytes.

use anyhow::{Context, Result, ensure};
use p2pnet_e2e::{browser::Browser, stage::Stage};
use serde_json::json;

use crate::{JOB, SOON};

/// Keeps the bytes that the page hands out as a file.
const KEEP_SAVED: &str = r#"
    const address = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      if (blob.type === "application/octet-stream") window.saved = blob;
      return address.call(URL, blob);
    };
"#;

/// Opens New job's form of programs with the statistics in C, and other numbers.
async fn statistics_of(person: &Browser, input: &str) -> Result<()> {
    person.go("/jobs/new").await?;
    person.find("tab-command").await?.click().await?;
    person.find("example-2").await?.click().await?;
    person.text_when("file-module", SOON, |text| text.contains("statistics")).await?;
    person.paste("field-input", input).await
}

#[tokio::test]
async fn a_job_stands_in_the_list_by_the_name_and_labels_that_were_typed() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.become_donor(stage.relay.url()).await?;
        person.go("/jobs/new").await?;
        person.find_css("[data-testid='naming'] summary").await?.click().await?;
        person.paste("field-name", "ночной прогон").await?;
        person.paste("field-labels", "team=physics\ntwo words=1").await?;
        person.text_when("job-problem", SOON, |text| text.contains("`labels.two words`")).await?;
        person.paste("field-labels", "team=physics\nrun=7").await?;
        person.press_submit().await?;
        person.job_result(JOB).await?;
        let title = person.find_css("h1").await?.text().await?;
        ensure!(title.contains("ночной прогон"), "the page is called {title}");
        person.go("/jobs").await?;
        let named = |text: &str| text.contains("ночной прогон") && text.contains("run: 7 · team: physics");
        person.text_when("job-row", SOON, named).await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_program_s_part_that_fails_is_named_beside_the_bytes_of_the_others() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.run_before_every_page(KEEP_SAVED).await?;
        person.become_donor(stage.relay.url()).await?;

        statistics_of(person, "1, 3\nx\n5, 7").await?;
        person.press_submit().await?;
        person.job_state_when(&["completed"], JOB).await?;
        let failed = person.text_when("job-failed-parts", SOON, |text| text.contains("no numbers")).await?;
        ensure!(failed.lines().any(|line| line.starts_with("1 1 ")), "not the second part with exit code 1: {failed}");

        // With its exit code among those that are no failure, nothing is.
        statistics_of(person, "1, 3\nx\n5, 7").await?;
        person.paste("field-ok_exit_codes", "0, 1").await?;
        person.press_submit().await?;
        let result = person.job_result(JOB).await?;
        ensure!(result["failed"].is_null(), "parts failed: {result}");
        person.find("download-bytes").await?.click().await?;
        let saved = "return saved.arrayBuffer().then((bytes) => new TextDecoder().decode(bytes))";
        let saved = person.script(saved, Vec::new()).await?;
        let sent = result["stdout"].as_str().context("no stdout")?;
        let decode = "return new TextDecoder().decode(Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0)))";
        ensure!(saved == person.script(decode, vec![json!(sent)]).await?, "saved {saved} of {sent}");
        ensure!(saved.as_str().is_some_and(|text| !text.is_empty()), "nothing was saved");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}
