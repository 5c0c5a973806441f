//! The form of New job and what comes of it: names, labels, exit codes, parts that fail, results of bytes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::{browser::Browser, kernels, stage::Stage};
use serde_json::json;
use thirtyfour::Key;
use tokio::time::sleep;

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
        // The list says so, too, in both languages.
        person.go("/jobs").await?;
        person.text_when("job-state", SOON, |text| text == "Completed, 1 part failed").await?;
        person.find("lang-switch").await?.click().await?;
        person.text_when("job-state", SOON, |text| text == "Готово, не удалась 1 часть").await?;
        person.find("lang-switch").await?.click().await?;

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

/// Standard error of three parts: bytes that are no text, more than is shown, and little.
#[tokio::test]
async fn of_standard_error_it_is_said_what_is_no_text_and_what_is_not_shown() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.become_donor(stage.relay.url()).await?;
        let module = STANDARD.encode(std::fs::read("../../kernels/commands/built/statistics.wasm")?);
        let input = [b"1, 2\nx\xff\n", "word ".repeat(60).as_bytes(), b"\nx\n"].concat();
        let job = json!({"kind":"command","module":module,"input":STANDARD.encode(input),"split":"lines"});
        person.submit(&job).await?;
        person.job_state_when(&["completed"], JOB).await?;
        let failed = person.text_when("job-failed-parts", SOON, |text| text.contains("no numbers")).await?;
        let parts: Vec<&str> = failed.split("statistics: no numbers").collect();
        // What is said of a part follows its words.
        let [bytes, after_bytes, after_long, after_short] = &parts[..] else { bail!("not three parts: {failed}") };
        ensure!(bytes.contains('\u{fffd}'), "{failed}");
        ensure!(after_bytes.contains("are no text") && !after_bytes.contains("there was more"), "{failed}");
        ensure!(after_long.contains("there was more") && !after_long.contains("are no text"), "{failed}");
        ensure!(after_short.trim().is_empty(), "{failed}");
        person.text_when("job-errors-bytes", SOON, |text| text.contains("Not all of it is text")).await?;
        person.find("download-errors").await.map(drop)
    };
    Stage::new(1).await?.play(story).await
}

#[tokio::test]
async fn a_job_that_wants_too_much_memory_says_so_by_its_word() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.become_donor(stage.relay.url()).await?;
        let module = kernels::hungry_program();
        let job = json!({"kind":"command","module":module,"input":STANDARD.encode("a\nm\n"),"split":"lines"});
        person.submit(&job).await?;
        person.job_state_when(&["completed"], JOB).await?;
        let failed = person.text_when("job-failed-parts", SOON, |text| text.contains("out_of_memory")).await?;
        ensure!(failed.contains("1 137 out_of_memory") && failed.contains("wanted more memory"), "{failed}");
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}

/// What a finger does with a table that is wider than the window, keys do, too.
#[tokio::test]
async fn a_table_wider_than_a_phone_is_a_named_region_that_keys_scroll() -> Result<()> {
    let story = async |stage: &mut Stage| {
        let person = &stage.people[0];
        person.become_donor(stage.relay.url()).await?;
        person.submit(&json!({"kind":"map","data":[1,2,3],"map":"x*x"})).await?;
        person.job_result(JOB).await?;
        let phone = json!({"width":360,"height":740,"deviceScaleFactor":2,"mobile":true});
        person.devtools("Emulation.setDeviceMetricsOverride", phone).await?;
        let region = person.find_css(".scroll[role='region'][tabindex='0'][aria-label]").await?;
        let more = "const [region] = arguments; region.focus(); return region.scrollWidth - region.clientWidth";
        let more = person.script(more, vec![region.to_json()?]).await?;
        ensure!(more.as_i64() > Some(0), "the table is not wider than a phone: {more}");
        region.send_keys(Key::Right + "").await?;
        let began = Instant::now();
        while person.script("return arguments[0].scrollLeft", vec![region.to_json()?]).await?.as_f64() == Some(0.0) {
            ensure!(began.elapsed() < SOON, "a key does not scroll it");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    Stage::new(1).await?.play(story).await
}
