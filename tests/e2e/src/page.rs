//! What a person does on the page, by its `data-testid` hooks (`web/src/testid.rs`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::browser::{Browser, PATIENCE};

impl Browser {
    /// Follows a link of the page to another of its pages, which keeps the node running.
    pub async fn go(&self, path: &str) -> Result<()> {
        self.find_css(&format!("a[href='{path}']")).await?;
        // The link may be folded away on a narrow window: a person would unfold it, a test need not.
        self.script(&format!("document.querySelector(\"a[href='{path}']\").click()"), Vec::new()).await?;
        self.path_when(|now| now == path).await.map(drop)
    }

    /// The path that the page shows, as soon as it satisfies `enough`.
    pub async fn path_when(&self, enough: impl Fn(&str) -> bool) -> Result<String> {
        let began = Instant::now();
        loop {
            let path = self.driver.current_url().await?.path().to_owned();
            if enough(&path) {
                return Ok(path);
            }
            if began.elapsed() > PATIENCE {
                bail!("the page still shows {path} after {PATIENCE:?}; {}", self.what_it_says().await);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the page's node is connected to a seed.
    pub async fn connected(&self) -> Result<()> {
        self.find_css("[data-testid='connected'][data-connected='true']").await.map(drop)
    }

    /// Presses the button that lends this browser's processor, on Donate.
    pub async fn lend(&self) -> Result<()> {
        let button = self.find("donate-toggle").await?;
        button.click().await?;
        self.find_css("[data-testid='donate-toggle'][aria-pressed='true']").await.map(drop)
    }

    /// Moves a slider of Donate, `cores` or `share`.
    pub async fn slide(&self, name: &str, value: u32) -> Result<()> {
        let slider = self.find(name).await?;
        self.script(
            "const [slider, value] = arguments; slider.value = value; \
             slider.dispatchEvent(new InputEvent('input', {bubbles: true}))",
            vec![slider.to_json()?, json!(value)],
        )
        .await
        .map(drop)
    }

    /// Opens the page, waits for the network, and lends. Gives the node's id.
    pub async fn become_donor(&self, url: &str) -> Result<String> {
        self.open(url).await?;
        self.connected().await?;
        self.lend().await?;
        let id = self.node_id().await?;
        self.go("/").await?;
        Ok(id)
    }

    /// This node's id, from Network.
    pub async fn node_id(&self) -> Result<String> {
        self.go("/network").await?;
        let id = self.text_when("node-id", PATIENCE, |text| text.starts_with("12D3KooW")).await?;
        Ok(id.trim().to_owned())
    }

    /// How many tasks this tab has computed, on Donate.
    pub async fn tasks_done(&self) -> Result<u64> {
        let count = self.find("tasks-done").await?.attr("data-count").await?.context("tasks-done has no data-count")?;
        Ok(count.parse()?)
    }

    /// Waits until this tab has computed more than so many tasks.
    pub async fn more_tasks_than(&self, count: u64, patience: Duration) -> Result<u64> {
        let began = Instant::now();
        loop {
            let now = self.tasks_done().await?;
            if now > count {
                return Ok(now);
            }
            if began.elapsed() > patience {
                bail!("still {now} tasks after {patience:?}; {}", self.what_it_says().await);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Submits a job as JSON on New job and gives its id; the page then shows the job.
    pub async fn submit(&self, job: &Value) -> Result<String> {
        self.go("/jobs/new").await?;
        self.find("tab-json").await?.click().await?;
        self.paste("job-json", &job.to_string()).await?;
        self.press_submit().await
    }

    /// Puts a text into a field as pasting does: all at once, and one event.
    pub async fn paste(&self, name: &str, text: &str) -> Result<()> {
        let field = self.find(name).await?;
        self.script(
            "const [field, text] = arguments; field.focus(); field.value = text; \
             field.dispatchEvent(new InputEvent('input', {bubbles: true}))",
            vec![field.to_json()?, json!(text)],
        )
        .await
        .map(drop)
    }

    /// Submits what New job holds and gives the job's id; the page then shows the job.
    pub async fn press_submit(&self) -> Result<String> {
        self.find_css("[data-testid='submit-job']:not([disabled])").await?.click().await?;
        self.shown_job().await
    }

    /// The id of the job that the page shows, as soon as it shows one.
    pub async fn shown_job(&self) -> Result<String> {
        let path = self.path_when(|path| path.contains("/jobs/") && !path.ends_with("/jobs/new")).await?;
        Ok(path.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Where the job on show stands, in the API's word.
    pub async fn job_state(&self) -> Result<String> {
        self.find("job-state").await?.attr("data-state").await?.context("job-state has no data-state")
    }

    /// Waits until the job on show is in one of these states.
    pub async fn job_state_when(&self, wanted: &[&str], patience: Duration) -> Result<String> {
        let began = Instant::now();
        loop {
            // The element may be replaced while it is read.
            let state = self.job_state().await.unwrap_or_default();
            if wanted.contains(&state.as_str()) {
                return Ok(state);
            }
            if began.elapsed() > patience {
                bail!("the job is still {state:?}, not {wanted:?}, after {patience:?}; {}", self.what_it_says().await);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the job on show has completed, and gives its result.
    pub async fn job_result(&self, patience: Duration) -> Result<Value> {
        let state = self.job_state_when(&["completed", "failed", "cancelled", "expired"], patience).await?;
        if state != "completed" {
            bail!("the job is {state}; {}", self.what_it_says().await);
        }
        let text = self.text_when("job-result", PATIENCE, |text| !text.trim().is_empty()).await?;
        serde_json::from_str(&text).with_context(|| format!("the result is no JSON: {text:?}"))
    }

    /// The nodes that worked on the job on show.
    pub async fn job_nodes(&self) -> Result<Vec<String>> {
        let code = "return [...document.querySelectorAll(\"[data-testid='job-node']\")].map(e => e.dataset.node)";
        let nodes = self.script(code, Vec::new()).await?;
        let nodes = nodes.as_array().into_iter().flatten();
        Ok(nodes.filter_map(|node| node.as_str().map(str::to_owned)).collect())
    }

    /// Waits until a node is named on the job's page.
    pub async fn job_node_when(&self, node: &str, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while !self.job_nodes().await?.iter().any(|known| known == node) {
            if began.elapsed() > patience {
                bail!("{node} does not work on the job after {patience:?}; {}", self.what_it_says().await);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The page's visible text, for error messages.
    pub async fn what_it_says(&self) -> String {
        let text = self.script("return document.body ? document.body.innerText : ''", Vec::new()).await;
        let text = text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
        format!("the page says: {}", text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
