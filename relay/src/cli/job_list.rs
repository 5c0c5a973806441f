//! `p2pnet job list`: page after page, as the relay gives them out.

use p2pnet_client::{Client, Filter, Page};
use p2pnet_shared::{api::JobSummary, units::Moment};
use serde_json::Value;

use super::{
    ListArgs,
    failure::{Failure, word},
    output::{put, say},
    terminal, text,
};
use crate::http::limits::JOBS_IN_A_LIST;

/// Jobs that are printed unless more, or all, are asked for.
const NEWEST: usize = 1_000;
/// Characters of what a job computes, at most; and at least, where a terminal has no more room: fewer say nothing.
const MOST_COMPUTES: usize = 48;
const LEAST_COMPUTES: usize = 12;

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
    let jobs = client.jobs_of(jobs)?;
    if jobs.is_empty() {
        let narrowed = filter.is_narrow();
        return say(if narrowed { "no such jobs" } else { "no jobs yet; send one with `p2pnet job run`" });
    }
    put(table(&jobs, now, terminal::width()))
}

/// The jobs as a table, in which what they compute is as wide as a terminal has room for it.
fn table(jobs: &[JobSummary], now: Moment, terminal: Option<usize>) -> String {
    // Most jobs have no name: a column for it only where there is one.
    let named = jobs.iter().any(|job| job.name.is_some() || !job.labels.is_empty());
    let mut head = vec!["JOB", "KIND", "STATE", "DONE", "SUBMITTED", "NOTE"];
    let mut rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, now)).collect();
    if named {
        add(&mut head, &mut rows, 1, "NAME", jobs.iter().map(name));
    }
    let (note, lines) = (head.len() - 1, jobs.iter().map(|job| job.computes.as_deref().unwrap_or_default()));
    let taken = text::table(&head[..note], &rows.iter().map(|row| row[..note].to_vec()).collect::<Vec<_>>());
    let taken = taken.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    // Of the notes, their head: what is longer goes beyond the line, as it does without this column.
    let taken = taken + "    NOTE".len();
    let room = terminal.map_or(MOST_COMPUTES, |width| width.saturating_sub(taken).min(MOST_COMPUTES));
    if room >= LEAST_COMPUTES && lines.clone().any(|line| !line.is_empty()) {
        add(&mut head, &mut rows, note, "COMPUTES", lines.map(|line| text::cut(&text::visible(line), room)));
    }
    text::table(&head, &rows)
}

fn row(job: &JobSummary, now: Moment) -> Vec<String> {
    let note = match (&job.error, &job.waiting) {
        (Some(error), _) => text::visible(&error.message),
        (None, Some(reason)) => text::waiting(reason),
        (None, None) => String::new(),
    };
    vec![
        job.id.to_string(),
        job.kind.clone(),
        word(&job.state),
        format!("{} %", job.progress.percent),
        text::ago(job.created_at, now),
        note,
    ]
}

fn name(job: &JobSummary) -> String {
    let labels = text::labels(&job.labels);
    text::visible([job.name.as_deref().unwrap_or_default(), &labels].join(" ").trim())
}

/// Puts a column into a table.
fn add<'a>(
    head: &mut Vec<&'a str>,
    rows: &mut [Vec<String>],
    place: usize,
    title: &'a str,
    cells: impl Iterator<Item = String>,
) {
    head.insert(place, title);
    rows.iter_mut().zip(cells).for_each(|(row, cell)| row.insert(place, cell));
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

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(computes: Option<&str>, error: Option<&str>) -> JobSummary {
        let error = error.map(|message| json!({"code": "internal", "message": message, "hint": ""}));
        let job = json!({
            "id": "ab".repeat(16), "kind": "range_reduce", "state": "completed", "computes": computes, "error": error,
            "progress": {"units_total": 1, "units_done": 1, "units_running": 0, "gas": 5, "percent": 100},
            "created_at": 1_000,
        });
        serde_json::from_value(job).unwrap()
    }

    fn shown(jobs: &[JobSummary], terminal: Option<usize>) -> Vec<String> {
        table(jobs, Moment(2_000), terminal).lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_a_job_computes_stands_before_the_note_and_is_cut_where_it_is_long() {
        let long = "count(x) · x = 1…1000000000 · is_prime(x) and x % 10 == 7";
        let lines = shown(&[job(Some(long), Some("no such luck")), job(None, None)], None);
        assert!(
            lines[0].ends_with("SUBMITTED  COMPUTES                                          NOTE"),
            "{}",
            lines[0]
        );
        assert!(
            lines[1].ends_with("1s ago     count(x) · x = 1…1000000000 · is_prime(x) and x…  no such luck"),
            "{}",
            lines[1]
        );
        assert!(lines[2].ends_with("1s ago"), "{}", lines[2]);
    }

    #[test]
    fn no_line_becomes_longer_than_a_terminal_by_what_jobs_compute() {
        let jobs = [job(Some("x*x · x = 1, 2, 3, 4, 5, 6, …"), None), job(Some("я · \u{1b}"), None)];
        let without = shown(&[job(None, None)], None).iter().map(|line| line.chars().count()).max().unwrap();
        for width in 0..200 {
            let lines = shown(&jobs, Some(width));
            let most = lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(most <= width.max(without), "{width}: {lines:?}");
            assert_eq!(lines[0].contains("COMPUTES"), width >= 95, "{width}: {lines:?}");
        }
    }

    #[test]
    fn there_is_no_such_column_where_no_job_says_what_it_computes() {
        assert!(!shown(&[job(None, None)], None)[0].contains("COMPUTES"));
    }
}
