//! `p2pnet job run|list|describe|get|stop`

use std::time::Duration;

use p2pnet_shared::{
    api::{JobStatus, JobSummary, Submitted},
    job::{
        JobState, kinds,
        local::{LocalRun, run_locally},
    },
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    client::Client,
    failure::{Failure, word},
    job_source::RunArgs,
    text,
};
use crate::{engine::WasmtimeEngine, host::now};

/// First and longest pause between two looks at a job that is waited for.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often a relay that went away while we wait is tried again, once a second.
const MOST_SILENCE: u32 = 60;

/// Numbers, items or lines of a dry run: a moment's work.
const DRY_RUN_UNITS: u64 = 100_000;

/// What `DELETE` answers.
#[derive(Deserialize)]
struct Stopped {
    state: String,
}

/// The answer to `GET …/result`.
#[derive(Deserialize)]
struct Answer {
    result: Value,
}

/// Sends a job; with `--wait` prints its result.
pub async fn run(client: &Client, args: &RunArgs) -> Result<(), Failure> {
    if args.dry_run {
        return dry_run(&args.job_json()?, args.ask.json);
    }
    let Submitted { id } = client.post("api/v1/jobs", args.job_json()?, args.idempotency_key.as_deref()).await?;
    let id = id.to_string();
    if args.wait {
        return wait_and_print(client, &id, args.ask.json).await;
    }
    if args.ask.json {
        println!("{{\"id\":\"{id}\"}}");
    } else {
        println!("{id}");
        eprintln!("see `p2pnet job describe {id}`; its result: `p2pnet job get --wait {id}`");
    }
    Ok(())
}

/// Checks a job and runs its beginning here.
fn dry_run(source: &str, json: bool) -> Result<(), Failure> {
    let job = kinds::read(source, &|_| None)?;
    let mut engine = WasmtimeEngine::new(None).map_err(|error| {
        Failure::here(format!("no native compiler on this machine: {error}"), "send the job without --dry-run")
    })?;
    let LocalRun { result, units, gas } = run_locally(&job, &mut engine, DRY_RUN_UNITS)?;
    let all = job.plan.units();
    if json {
        println!("{{\"result\":{result},\"units\":{units},\"units_total\":{all},\"gas\":{}}}", gas.0);
        return Ok(());
    }
    println!("{result}");
    if units < all {
        eprintln!("this is the result of the first {} of {} units", text::grouped(units), text::grouped(all));
    }
    eprintln!("{} gas; nothing was sent", text::grouped(gas.0));
    Ok(())
}

/// Prints all jobs, newest first.
pub async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", client.get_text("api/v1/jobs").await?);
        return Ok(());
    }
    let jobs: Vec<JobSummary> = client.get("api/v1/jobs").await?;
    let now = now();
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let note = match (&job.error, &job.waiting) {
                (Some(error), _) => error.message.clone(),
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
        })
        .collect();
    if rows.is_empty() {
        println!("no jobs yet; send one with `p2pnet job run`");
    } else {
        print!("{}", text::table(&["JOB", "KIND", "STATE", "DONE", "SUBMITTED", "NOTE"], &rows));
    }
    Ok(())
}

/// Prints everything about one job.
pub async fn describe(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let path = path_of(id, "")?;
    if json {
        println!("{}", client.get_text(&path).await?);
        return Ok(());
    }
    let status: JobStatus = client.get(&path).await?;
    let JobStatus { summary, requirements, policy, elapsed, source, attempts, attempts_total, nodes, partial } =
        &status;
    let progress = &summary.progress;
    println!("job        {}", summary.id);
    println!("kind       {}", summary.kind);
    println!("state      {}", word(&summary.state));
    if let Some(reason) = &summary.waiting {
        println!("waits      {}", text::waiting(reason));
    }
    if let Some(error) = &summary.error {
        println!("error      {} [{}]", error.message, word(&error.code));
        if !error.hint.is_empty() {
            println!("           {}", error.hint);
        }
    }
    println!(
        "progress   {} % ({} of {} units, {} at nodes now)",
        progress.percent,
        text::grouped(progress.units_done),
        text::grouped(progress.units_total),
        text::grouped(progress.units_running)
    );
    if let Some(seconds) = progress.remaining_seconds {
        println!("remains    about {}", text::seconds(seconds));
    }
    println!("gas        {}", text::grouped(progress.gas.0));
    println!("submitted  {}", text::ago(summary.created_at, now()));
    println!("time       waited {} ms, ran {} ms", elapsed.waited.0, elapsed.ran.0);
    println!(
        "needs      {} % of a core, {} MiB, at most {} s an attempt",
        requirements.cpu_percent, requirements.memory_mib, requirements.timeout_seconds
    );
    println!("policy     priority {}, {} retries", word(&policy.priority), policy.retries);
    println!("source     {}", source.chars().take(200).collect::<String>());
    if let Some(partial) = partial {
        println!("so far     {}", partial.chars().take(200).collect::<String>());
    }
    if !nodes.is_empty() {
        let rows: Vec<Vec<String>> = nodes
            .iter()
            .map(|share| {
                vec![
                    share.node.to_string(),
                    text::grouped(share.units),
                    text::grouped(share.tasks),
                    text::grouped(share.gas.0),
                ]
            })
            .collect();
        print!("\n{}", text::table(&["NODE", "UNITS", "TASKS", "GAS"], &rows));
    }
    const SHOWN: usize = 20;
    if !attempts.is_empty() {
        let rows: Vec<Vec<String>> = attempts
            .iter()
            .rev()
            .take(SHOWN)
            .map(|attempt| {
                vec![
                    attempt.id.0.to_string(),
                    format!("{}..{}", attempt.span.start, attempt.span.end),
                    word(&attempt.state),
                    attempt.engine.map_or_else(|| "-".into(), |engine| word(&engine)),
                    attempt.node.to_string(),
                    attempt.error.as_ref().map(|error| error.message.clone()).unwrap_or_default(),
                ]
            })
            .collect();
        print!("\n{}", text::table(&["ATTEMPT", "UNITS", "STATE", "ENGINE", "NODE", "ERROR"], &rows));
        if *attempts_total > SHOWN as u64 {
            println!("({} attempts in all; --json shows the newest 1 000)", text::grouped(*attempts_total));
        }
    }
    Ok(())
}

/// Prints a job's result.
pub async fn get(client: &Client, id: &str, wait: bool, json: bool) -> Result<(), Failure> {
    if wait { wait_and_print(client, id, json).await } else { print_result(client, id, json).await }
}

/// Stops a running job, removes a finished one.
pub async fn stop(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let stopped: Stopped = client.delete(&path_of(id, "")?).await?;
    if json {
        println!("{}", serde_json::json!({ "id": id, "state": stopped.state }));
    } else {
        println!("{id} {}", stopped.state);
    }
    Ok(())
}

async fn wait_and_print(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let interrupted = Failure::Interrupted {
        message: format!("the job goes on; `p2pnet job get --wait {id}` waits again, `p2pnet job stop {id}` ends it"),
    };
    let summary = tokio::select! {
        summary = ended(client, id) => summary?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted),
    };
    match summary.state {
        JobState::Completed => print_result(client, id, json).await,
        JobState::Queued
        | JobState::Running
        | JobState::Verifying
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Expired => {
            Err(Failure::NoResult { id: id.to_owned(), state: summary.state, reason: summary.error })
        }
    }
}

/// Looks again and again until the job has ended; a relay that restarts meanwhile is waited for.
async fn ended(client: &Client, id: &str) -> Result<JobSummary, Failure> {
    let path = path_of(id, "")?;
    let (mut pause, longest) = LOOK_AGAIN;
    let mut silent = 0;
    loop {
        match client.get::<JobStatus>(&path).await {
            Ok(status) if status.summary.state.is_final() => return Ok(status.summary),
            Ok(_) => silent = 0,
            Err(Failure::Unreachable { .. }) if silent < MOST_SILENCE => {
                silent += 1;
                pause = Duration::from_secs(1);
            }
            Err(failure) => return Err(failure),
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
    }
}

async fn print_result(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let path = path_of(id, "/result")?;
    if json {
        println!("{}", client.get_text(&path).await?);
        return Ok(());
    }
    let answer: Answer = client.get(&path).await?;
    // A text is printed as itself, so that it can be piped on; everything else as JSON.
    match answer.result.as_str() {
        Some(text) => println!("{text}"),
        None => println!("{}", answer.result),
    }
    Ok(())
}

fn path_of(id: &str, rest: &str) -> Result<String, Failure> {
    match id.parse::<p2pnet_shared::id::JobId>() {
        Ok(id) => Ok(format!("api/v1/jobs/{id}{rest}")),
        Err(_) => Err(Failure::usage(
            format!("{id:?} is no job id"),
            "a job id has 32 hexadecimal digits; see `p2pnet job list`",
        )),
    }
}
