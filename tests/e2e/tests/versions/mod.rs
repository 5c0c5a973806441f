//! A relay that was brought up to date under an open page.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use p2pnet_e2e::{browser::Browser, stage::Stage};
use tokio::time::sleep;

use crate::{JOB, RELAY_AWAY, SOON, seconds_of_work};

/// A tab dials such a relay again once a minute.
const REDIAL: Duration = Duration::from_secs(100);

/// The relay of another version is one of tests, without a page.
const EXPECTED: &[&str] = &[RELAY_AWAY[0], RELAY_AWAY[1], "favicon.ico"];

#[tokio::test]
async fn a_page_of_another_version_than_its_relay_says_so_goes_on_with_what_it_has_and_joins_again() -> Result<()> {
    let story = async |stage: &mut Stage| {
        stage.expected = EXPECTED;
        stage.people[0].become_donor(stage.relay.url()).await?;
        let job = seconds_of_work(8);
        stage.people[0].submit(&job.source).await?;
        stage.relay.stop()?;
        stage.relay.start_again_speaking("/p2pnet/node/99")?;
        let banner = stage.people[0].text_when("other-version", SOON, |text| !text.is_empty()).await?;
        ensure!(banner.contains("newer version"), "the banner says {banner:?}");
        // What the tab can do by itself goes on.
        ensure!(stage.people[0].job_result(JOB).await? == job.result, "a wrong count");

        stage.relay.stop()?;
        stage.relay.start_again()?;
        until(&stage.people[0], "return document.querySelector(\"[data-testid='other-version']\") === null", REDIAL)
            .await?;
        stage.people[0].connected().await?;

        // Whoever does not want to wait has the page that the relay has now.
        stage.relay.stop()?;
        stage.relay.start_again_speaking("/p2pnet/node/99")?;
        let person = &stage.people[0];
        person.script("window.isOfBefore = true", vec![]).await?;
        person.find_css("[data-testid='other-version'] button").await?.click().await?;
        until(person, "return window.isOfBefore === undefined && document.readyState === 'complete'", SOON).await
    };
    Stage::new(1).await?.play(story).await
}

/// Waits until a script says `true`.
async fn until(person: &Browser, script: &str, patience: Duration) -> Result<()> {
    let began = Instant::now();
    while person.script(script, vec![]).await? != true {
        ensure!(began.elapsed() < patience, "it is not so after {patience:?}: {script}");
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
