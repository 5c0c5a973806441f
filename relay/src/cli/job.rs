//! `p2pnet job run|describe|get|stop`; `list` is in `job_list.rs`.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use p2pnet_client::{Client, Error, Given};
use p2pnet_shared::{
    api::JobStatus,
    engine::Prepared,
    id::{Hash, JobId},
    job::{
        JobState,
        kinds::{
            self, output_of, own_fields,
            schema::{Output, Type},
        },
        local::{LocalRun, run_locally},
    },
    refusal::{Code, Refusal},
};
use serde_json::Value;

use super::{
    failure::{Failure, word},
    job_source::RunArgs,
    json_text::{Member, checked, members},
    output::{aside, bytes as bytes_out, put, say},
    text,
};
use crate::{engine::WasmtimeEngine, http::idempotency::key_of};

/// A job's text above which its module is sent on its own, as bytes.
const LARGE_JOB: usize = 8 << 20;
/// Numbers, items or lines of a dry run: a moment's work.
const DRY_RUN_UNITS: u64 = 100_000;

/// How a result is given.
#[derive(Clone, Copy)]
pub enum Form<'a> {
    /// As a person reads it.
    Text,
    /// The relay's JSON.
    Json,
    /// Its bytes, to a file.
    File(&'a Path),
}

impl<'a> Form<'a> {
    /// From the flags of a command line.
    pub fn new(json: bool, output: Option<&'a Path>) -> Self {
        match output {
            Some(file) => Form::File(file),
            None if json => Form::Json,
            None => Form::Text,
        }
    }
}

/// Sends a job; with `--wait` prints its result.
pub async fn run(client: &Client, args: &RunArgs) -> Result<(), Failure> {
    // What is no key is no header either, so the relay could not say so.
    let key = args.idempotency_key.as_deref().map(|key| key_of(key.as_bytes())).transpose()?;
    if args.dry_run {
        return dry_run(&args.job_json()?, args.ask.json);
    }
    let job = module_apart(client, args.job_json()?).await?;
    let id = client.submit(job, key).await?;
    if args.wait {
        return wait_and_print(client, id, Form::new(args.ask.json, args.output.as_deref())).await;
    }
    if args.ask.json {
        say(format_args!("{{\"id\":\"{id}\"}}"))?;
    } else {
        say(format_args!("{id}"))?;
        aside(format_args!("see `p2pnet job describe {id}`; its result: `p2pnet job get --wait {id}`"));
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
    let all = job.stages.units();
    if json {
        say(format_args!("{{\"result\":{result},\"units\":{units},\"units_total\":{all},\"gas\":{}}}", gas.0))?;
        return Ok(());
    }
    say(format_args!("{result}"))?;
    if units < all {
        aside(format_args!("this is the result of the first {} of {} units", text::grouped(units), text::grouped(all)));
    }
    aside(format_args!("{} gas; nothing was sent", text::grouped(gas.0)));
    Ok(())
}

/// Prints everything about one job.
pub async fn describe(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let id = read_id(id)?;
    if json {
        say(client.job_text(id).await?)?;
        return Ok(());
    }
    let (status, now) = client.job_with_time(id).await?;
    let JobStatus { summary, requirements, policy, elapsed, source, attempts, attempts_total, nodes, partial } =
        &status;
    let progress = &summary.progress;
    say(format_args!("job        {}", summary.id))?;
    if let Some(name) = &summary.name {
        say(format_args!("name       {name}"))?;
    }
    if !summary.labels.is_empty() {
        say(format_args!("labels     {}", text::labels(&summary.labels)))?;
    }
    say(format_args!("kind       {}", summary.kind))?;
    say(format_args!("state      {}", word(&summary.state)))?;
    if let Some(reason) = &summary.waiting {
        say(format_args!("waits      {}", text::waiting(reason)))?;
    }
    if let Some(error) = &summary.error {
        say(format_args!("error      {} [{}]", text::visible(&error.message), word(&error.code)))?;
        if !error.hint.is_empty() {
            say(format_args!("           {}", error.hint))?;
        }
    }
    say(format_args!(
        "progress   {} % ({} of {} units, {} at nodes now)",
        progress.percent,
        text::grouped(progress.units_done),
        text::grouped(progress.units_total),
        text::grouped(progress.units_running)
    ))?;
    if let Some(seconds) = progress.remaining_seconds {
        say(format_args!("remains    about {}", text::seconds(seconds)))?;
    }
    say(format_args!("gas        {}", text::grouped(progress.gas.0)))?;
    if !progress.prepared.is_nothing() {
        let Prepared { instances, gas } = progress.prepared;
        say(format_args!(
            "prepared   {} instances, {} gas beside that",
            text::grouped(instances),
            text::grouped(gas.0)
        ))?;
    }
    say(format_args!("submitted  {}", text::ago(summary.created_at, now)))?;
    say(format_args!("time       waited {} ms, ran {} ms", elapsed.waited.0, elapsed.ran.0))?;
    say(format_args!(
        "needs      {} % of a core, {} MiB, at most {} s an attempt",
        requirements.cpu_percent, requirements.memory_mib, requirements.timeout_seconds
    ))?;
    say(format_args!("policy     priority {}, {} retries", word(&policy.priority), policy.retries))?;
    if let Some(line) = kinds::summary::of(source) {
        say(format_args!("computes   {}", text::visible(&line)))?;
    }
    say(format_args!("source     {}", source.chars().take(200).collect::<String>()))?;
    if let Some(partial) = partial {
        say(format_args!("so far     {}", partial.chars().take(200).collect::<String>()))?;
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
        put(format_args!("\n{}", text::table(&["NODE", "UNITS", "TASKS", "GAS"], &rows)))?;
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
                    attempt.error.as_ref().map(|error| text::visible(&error.message)).unwrap_or_default(),
                ]
            })
            .collect();
        put(format_args!("\n{}", text::table(&["ATTEMPT", "UNITS", "STATE", "ENGINE", "NODE", "ERROR"], &rows)))?;
        if *attempts_total > SHOWN as u64 {
            say(format_args!("({} attempts in all; --json shows the newest 1 000)", text::grouped(*attempts_total)))?;
        }
    }
    Ok(())
}

/// Prints a job's result.
pub async fn get(client: &Client, id: &str, wait: bool, form: Form<'_>) -> Result<(), Failure> {
    let id = read_id(id)?;
    if wait {
        return wait_and_print(client, id, form).await;
    }
    match print_result(client, id, form).await {
        // It is over: that it has no result is told as to one who waited for it.
        Err(Failure::Refused(Refusal { code: Code::NoResult, .. })) => wait_and_print(client, id, form).await,
        printed => printed,
    }
}

/// Stops a running job, removes a finished one.
pub async fn stop(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let id = read_id(id)?;
    let stopped = client.stop(id).await?;
    if json {
        say(format_args!("{}", serde_json::json!({ "id": id.to_string(), "state": stopped.state })))?;
    } else {
        say(format_args!("{id} {}", stopped.state))?;
    }
    Ok(())
}

async fn wait_and_print(client: &Client, id: JobId, form: Form<'_>) -> Result<(), Failure> {
    let interrupted = Failure::Interrupted {
        message: format!("the job goes on; `p2pnet job get --wait {id}` waits again, `p2pnet job stop {id}` ends it"),
    };
    let summary = tokio::select! {
        summary = client.wait(id) => summary?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted),
    };
    match summary.state {
        JobState::Completed => print_result(client, id, form).await,
        JobState::Queued
        | JobState::Running
        | JobState::Verifying
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Expired => {
            // What a program put out before it failed is kept; other jobs have nothing, which is told below.
            if let (Form::File(file), true) =
                (form, output_of(&summary.kind) == Output::Program && summary.state == JobState::Failed)
                && let Ok(Given::Bytes { bytes, .. }) = client.standard_output(id).await
            {
                write(file, &bytes)?;
            }
            Err(Failure::NoResult { id: id.to_string(), state: summary.state, reason: summary.error })
        }
    }
}

/// A large job with its module sent ahead and named by its hash: in JSON it would take a third more, and more than a
/// relay takes at once. All else of it stays as it is written, and a job that cannot be read altogether: the relay says
/// what is wrong with it.
async fn module_apart(client: &Client, job: String) -> Result<String, Failure> {
    if job.len() <= LARGE_JOB {
        return Ok(job);
    }
    if checked(&job).is_err() {
        return Ok(job);
    }
    let (mut short, mut copied) = (String::new(), 0);
    for Member { name, value } in members(&job) {
        let text = job.get(value.clone()).filter(|_| is_module(&name));
        let text = text.and_then(|text| serde_json::from_str::<String>(text).ok());
        // A hash is base64 as well, and names a module that the relay has already.
        let module = text.filter(|text| text.parse::<Hash>().is_err());
        let Some(module) = module.and_then(|text| BASE64_STANDARD.decode(text).ok()) else { continue };
        let hash = match client.keep_module(module).await {
            Ok(hash) => hash,
            // An older relay knows this way not.
            Err(Error::Refused(Refusal { code: Code::NotFound | Code::MethodNotAllowed, .. })) => return Ok(job),
            Err(error) => return Err(error.into()),
        };
        short.push_str(job.get(copied..value.start).unwrap_or_default());
        short.push_str(&format!("\"{hash}\""));
        copied = value.end;
    }
    short.push_str(job.get(copied..).unwrap_or_default());
    Ok(short)
}

/// Whether a field is a module, in whichever kind has it.
fn is_module(name: &str) -> bool {
    own_fields().into_iter().any(|field| field.name == name && matches!(field.ty, Type::Module))
}

async fn print_result(client: &Client, id: JobId, form: Form<'_>) -> Result<(), Failure> {
    match form {
        Form::Json => say(client.result_text(id).await?)?,
        Form::Text => say(plain(&client.result(id).await?))?,
        Form::File(file) => {
            let failed_parts = match client.result_bytes(id).await? {
                Given::Json(result) => {
                    write(file, (plain(&result) + "\n").as_bytes())?;
                    0
                }
                Given::Bytes { bytes, failed_parts } => {
                    write(file, &bytes)?;
                    failed_parts
                }
            };
            if failed_parts > 0 {
                let failed = match failed_parts {
                    1 => "1 part".to_owned(),
                    parts => format!("{} parts", text::grouped(parts)),
                };
                aside(format_args!("{failed} of the job failed; `p2pnet job get {id}` says which and why"));
            }
        }
    }
    Ok(())
}

/// A text is given as itself, so that it can be piped on; everything else as JSON.
fn plain(result: &Value) -> String {
    result.as_str().map_or_else(|| result.to_string(), str::to_owned)
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if file != Path::new("-") {
        let failed = |error| Failure::here(format!("{} cannot be written: {error}", file.display()), "");
        return std::fs::write(file, bytes).map_err(failed);
    }
    bytes_out(bytes)
}

fn read_id(id: &str) -> Result<JobId, Failure> {
    id.parse().map_err(|_| {
        Failure::usage(format!("{id:?} is no job id"), "a job id has 32 hexadecimal digits; see `p2pnet job list`")
    })
}
