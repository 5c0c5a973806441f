//! `p2pnet job list`: page after page, as the relay gives them out.

use p2pnet_shared::{api::JobSummary, units::Moment};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    ListArgs,
    client::{Client, Known, Page},
    failure::{Failure, word},
    output::{put, say},
    text,
};
use crate::http::limits::JOBS_IN_A_LIST;

/// Jobs that are printed unless more, or all, are asked for.
const NEWEST: usize = 1_000;

/// Prints jobs, newest first.
pub async fn list(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let most = args.most();
    let mut jobs: Vec<Value> = Vec::new();
    let mut cursor = None;
    // A page may end before it has as many as it was asked for: where it is as long as the relay makes them.
    let now = loop {
        let left = most.map(|most| most.saturating_sub(jobs.len()));
        let page: Page<Vec<Value>> = client.page(&path(args, left, cursor.as_deref())).await?;
        let is_empty = page.items.is_empty(); // of a relay's pages only the last one may be
        jobs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || is_empty || most.is_some_and(|most| jobs.len() >= most) {
            break page.now;
        }
    };
    jobs.truncate(most.unwrap_or(usize::MAX));
    if args.ask.json {
        for job in &jobs {
            Known::deserialize(job).map_err(|error| client.other_json(&error))?;
        }
        return say(Value::Array(jobs));
    }
    let jobs = jobs.into_iter().map(serde_json::from_value).collect::<Result<Vec<JobSummary>, _>>();
    print(&jobs.map_err(|error| client.other_json(&error))?, now, args.is_narrowed())
}

fn print(jobs: &[JobSummary], now: Moment, narrowed: bool) -> Result<(), Failure> {
    if jobs.is_empty() {
        return say(if narrowed { "no such jobs" } else { "no jobs yet; send one with `p2pnet job run`" });
    }
    // Most jobs have no name: a column for it only where there is one.
    let named = jobs.iter().any(|job| job.name.is_some() || !job.labels.is_empty());
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let note = match (&job.error, &job.waiting) {
                (Some(error), _) => text::visible(&error.message),
                (None, Some(reason)) => text::waiting(reason),
                (None, None) => String::new(),
            };
            let mut row = vec![job.id.to_string()];
            if named {
                let labels = text::labels(&job.labels);
                row.push(text::visible([job.name.as_deref().unwrap_or_default(), &labels].join(" ").trim()));
            }
            row.extend([
                job.kind.clone(),
                word(&job.state),
                format!("{} %", job.progress.percent),
                text::ago(job.created_at, now),
                note,
            ]);
            row
        })
        .collect();
    let head: &[&str] = if named {
        &["JOB", "NAME", "KIND", "STATE", "DONE", "SUBMITTED", "NOTE"]
    } else {
        &["JOB", "KIND", "STATE", "DONE", "SUBMITTED", "NOTE"]
    };
    put(text::table(head, &rows))
}

/// The address of a page: of the jobs behind `cursor`, and of as many as the relay gives at once unless only `left` are wanted.
fn path(args: &ListArgs, left: Option<usize>, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let limit = left.map(|left| left.min(JOBS_IN_A_LIST).to_string());
    for (name, value) in [("state", &args.state), ("name", &args.name), ("limit", &limit)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    for label in &args.labels {
        query.append_pair("label", &text::label_for_query(label));
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    let query = query.finish();
    if query.is_empty() { "api/v1/jobs".to_owned() } else { format!("api/v1/jobs?{query}") }
}

impl ListArgs {
    /// How many jobs are printed at most; `None` for all.
    fn most(&self) -> Option<usize> {
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if self.all { None } else { Some(limit.unwrap_or(NEWEST)) }
    }

    fn is_narrowed(&self) -> bool {
        self.state.is_some() || self.name.is_some() || !self.labels.is_empty()
    }
}
