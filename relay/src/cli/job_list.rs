//! `p2pnet job list`: page after page, as the relay gives them out.

use p2pnet_client::{Client, Filter, Page};
use p2pnet_shared::{api::JobSummary, units::Moment};
use serde_json::Value;

use super::{
    ListArgs,
    failure::{Failure, word},
    output::{put, say},
    text,
};
use crate::http::limits::JOBS_IN_A_LIST;

/// Jobs that are printed unless more, or all, are asked for.
const NEWEST: usize = 1_000;

/// Prints jobs, newest first.
pub async fn list(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let (most, filter) = (args.most(), args.filter());
    let mut jobs: Vec<Value> = Vec::new();
    let mut cursor = None;
    // A page may end before it has as many as it was asked for: where it is as long as the relay makes them.
    let now = loop {
        let left = most.map(|most| most.saturating_sub(jobs.len()));
        let limit = left.map(|left| left.min(JOBS_IN_A_LIST));
        let page: Page<Vec<Value>> = client.list_values(&filter, limit, cursor.as_deref()).await?;
        let is_empty = page.items.is_empty(); // of a relay's pages only the last one may be
        jobs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || is_empty || most.is_some_and(|most| jobs.len() >= most) {
            break page.now;
        }
    };
    jobs.truncate(most.unwrap_or(usize::MAX));
    if args.ask.json {
        return say(Value::Array(jobs));
    }
    print(&client.jobs_of(jobs)?, now, filter.is_narrow())
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

impl ListArgs {
    /// How many jobs are printed at most; `None` for all.
    fn most(&self) -> Option<usize> {
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if self.all { None } else { Some(limit.unwrap_or(NEWEST)) }
    }

    fn filter(&self) -> Filter {
        let labels = self.labels.iter().map(|label| text::label_for_query(label)).collect();
        Filter { state: self.state.clone(), name: self.name.clone(), labels }
    }
}
