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

/// Prints jobs, newest first.
pub async fn list(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let mut cursor = None;
    let mut first = true;
    let mut all: Vec<Value> = Vec::new();
    loop {
        let page: Page<Vec<Value>> = client.page(&path(args, cursor.as_deref())).await?;
        let more = page.next.is_some();
        if args.ask.json {
            for job in &page.items {
                Known::deserialize(job).map_err(|error| client.other_json(&error))?;
            }
            all.extend(page.items);
        } else {
            let jobs = page.items.into_iter().map(serde_json::from_value).collect::<Result<Vec<JobSummary>, _>>();
            let jobs = jobs.map_err(|error| client.other_json(&error))?;
            print(&jobs, page.now, first, args.is_narrowed())?;
        }
        first = false;
        if !args.all || !more {
            break;
        }
        cursor = page.next;
    }
    if args.ask.json { say(Value::Array(all)) } else { Ok(()) }
}

fn print(jobs: &[JobSummary], now: Moment, first: bool, narrowed: bool) -> Result<(), Failure> {
    if jobs.is_empty() {
        return match (first, narrowed) {
            (true, false) => say("no jobs yet; send one with `p2pnet job run`"),
            (true, true) => say("no such jobs"),
            (false, _) => Ok(()),
        };
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

fn path(args: &ListArgs, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let limit = args.limit.map(|limit| limit.to_string());
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
    fn is_narrowed(&self) -> bool {
        self.state.is_some() || self.name.is_some() || !self.labels.is_empty()
    }
}
