//! `/api/v1/jobs/{id}/result`: a job's result, as JSON or as the bytes that a kernel or program put out.

use std::{borrow::Cow, cmp::Reverse, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, stream};
use p2pnet_shared::{
    api::{JobSummary, http_status},
    id::JobId,
    job::JobState,
    node::StoreKey,
    refusal::{Code, Refusal},
};
use serde::{Deserialize, de::IgnoredAny};
use tokio::{runtime, task::spawn_blocking};

use super::{
    App,
    answer::{Places, Refused, refuse, short},
    jobs::{open, read_id},
    owners::Asker,
    preference::wishes,
    source::Source,
};

const BYTES: &str = "application/octet-stream";
/// On bytes of a program: how many parts of the job failed.
const FAILED_PARTS: HeaderName = HeaderName::from_static("p2pnet-failed-parts");

/// Which bytes of a result.
#[derive(Clone, Copy)]
enum Part {
    /// The output of a kernel, or a program's standard output.
    Output,
    /// A program's standard error.
    Errors,
}

/// `GET /api/v1/jobs/{id}/result`: JSON, or with `Accept: application/octet-stream` the output's bytes, where a kind gives
/// bytes.
pub async fn result(
    State(app): State<Arc<App>>,
    source: Source,
    asker: Asker,
    Places(id): Places<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let id = read_id(&id)?;
    let (record, summary) = find(&app, asker, id).await?;
    if summary.state == JobState::Completed {
        let mut response = if wants_bytes(&headers) && gives_bytes(&summary.kind) {
            bytes(&app, source, summary.kind, record, Part::Output).await?
        } else {
            whole(&app, record, BEFORE.to_owned()).await?
        };
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        return Ok(response);
    }
    // It failed, but what its parts put out is there: the error comes first, as for any job that failed.
    let reason = summary.error.unwrap_or_else(|| Refusal::new(Code::NoResult, "the job failed", "submit it again"));
    let error = serde_json::json!(Refusal { code: Code::NoResult, ..reason }).to_string();
    let mut response = whole(&app, record, format!("{{\"error\":{error},\"result\":")).await?;
    *response.status_mut() = StatusCode::from_u16(http_status(Code::NoResult)).unwrap_or(StatusCode::CONFLICT);
    Ok(response)
}

/// `GET /api/v1/jobs/{id}/result/{stream}`: the bytes of a program's `stdout` or `stderr`, also if the job failed.
pub async fn standard_stream(
    State(app): State<Arc<App>>,
    source: Source,
    asker: Asker,
    Places((id, stream)): Places<(String, String)>,
) -> Result<Response, Refused> {
    let id = read_id(&id)?;
    let part = match stream.as_str() {
        "stdout" => Part::Output,
        "stderr" => Part::Errors,
        other => {
            let message = format!("a result has no stream {:?}", short(other));
            return refuse(Code::NotFound, message, "a program's result has stdout and stderr");
        }
    };
    let (record, summary) = find(&app, asker, id).await?;
    if summary.kind != "command" {
        let message = format!("a job of kind {} has no {stream}", summary.kind);
        return refuse(Code::NotFound, message, "only programs (kind command) have; get the result itself");
    }
    bytes(&app, source, summary.kind, record, part).await
}

/// The record that holds the result, and the summary, of a job that the asker may see.
async fn find(app: &App, asker: Asker, id: JobId) -> Result<(StoreKey, JobSummary), Refused> {
    open(app, asker, id).await?;
    let record = app.handle.result_record(id).await.map_err(|mut refusal| {
        if refusal.hint.is_empty() {
            refusal.hint = format!("GET /api/v1/jobs/{id} says where the job stands and why");
        }
        refusal
    })?;
    Ok((record, open(app, asker, id).await?.summary))
}

fn lost() -> Refusal {
    Refusal::new(Code::NoResult, "the result was lost from this relay's store", "submit the job again")
}

fn gives_bytes(kind: &str) -> bool {
    matches!(kind, "kernel" | "command")
}

/// Whether bytes are asked for rather than JSON: with more weight, or with as much but by their own name, or before it.
fn wants_bytes(headers: &HeaderMap) -> bool {
    let wishes = wishes(headers, &header::ACCEPT);
    // What names a kind best says how much it is wished for: itself, its family, or anything.
    let of = |kind: &str| {
        let names = [kind, "application/*", "*/*"];
        let best = names.iter().enumerate().find_map(|(rank, name)| {
            let place = wishes.iter().position(|wish| wish.name == *name)?;
            Some((wishes[place].weight, Reverse(rank), Reverse(place)))
        });
        best.unwrap_or((0, Reverse(names.len()), Reverse(wishes.len())))
    };
    let bytes = of(BYTES);
    bytes.0 > 0 && bytes > of("application/json")
}

/// What stands around a result in its answer.
const BEFORE: &str = "{\"result\":";
const AFTER: &[u8] = b"}";

/// A result as it lies in the store, sent part by part: however many read it, each holds one part at a time.
async fn whole(app: &App, record: StoreKey, before: String) -> Result<Response, Refused> {
    let stored = app.store.stream(record).await.map_err(|trouble| trouble.refusal_of_a_read())?;
    let Some((len, parts)) = stored else { return Err(lost().into()) };
    let (before, after) = (Bytes::from(before), Bytes::from_static(AFTER));
    let len = len + (before.len() + after.len()) as u64;
    let body = stream::iter([Ok(before)]).chain(parts).chain(stream::iter([Ok(after)]));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_LENGTH, HeaderValue::from(len)),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// What a program's result consists of, as far as it is read here.
#[derive(Deserialize)]
struct Program<'a> {
    #[serde(borrow)]
    stdout: Cow<'a, str>,
    #[serde(borrow)]
    stderr: Cow<'a, str>,
    /// Instead of `stderr`, where that was no UTF-8.
    #[serde(default, borrow)]
    stderr_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    failed_total: u64,
    #[serde(default, rename = "failed")]
    _failed: Option<IgnoredAny>,
}

/// Reads the bytes out of a result, on a thread of its own and in turn: there may be 48 MiB, and several such take much
/// memory.
async fn bytes(app: &App, source: Source, kind: String, record: StoreKey, part: Part) -> Result<Response, Refused> {
    let stored = app.store.stream(record).await.map_err(|trouble| trouble.refusal_of_a_read())?;
    let len = stored.map_or(0, |(len, _)| usize::try_from(len).unwrap_or(usize::MAX / 2));
    // Twice: as it lies there, and what is made of it.
    let Some(_turn) = app.openings.wait(source, len.saturating_mul(2)).await else {
        let message = "as many results are being opened here as this relay opens at once";
        return refuse(Code::RateLimited, message, "ask again in a few seconds, or for the result as JSON");
    };
    let unreadable = || {
        let message = "the result holds no bytes that can be read";
        Refusal::new(Code::Internal, message, "get it as JSON, and report this")
    };
    let (store, runtime) = (app.store.clone(), runtime::Handle::current());
    let read = move || {
        let json = runtime.block_on(store.record(record)).map_err(|trouble| trouble.refusal_of_a_read())?;
        let json = json.ok_or_else(lost)?;
        std::str::from_utf8(&json).ok().and_then(|json| decode(&kind, json, part)).ok_or_else(unreadable)
    };
    let (bytes, failed) = spawn_blocking(read).await.unwrap_or_else(|_| Err(unreadable()))?;
    let headers = [
        (header::CONTENT_TYPE, BYTES.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (FAILED_PARTS, failed.to_string()),
    ];
    Ok((headers, bytes).into_response())
}

fn decode(kind: &str, json: &str, part: Part) -> Option<(Vec<u8>, u64)> {
    if kind == "kernel" {
        let text: Cow<'_, str> = serde_json::from_str(json).ok()?;
        return Some((STANDARD.decode(text.as_bytes()).ok()?, 0));
    }
    let program: Program<'_> = serde_json::from_str(json).ok()?;
    let bytes = match part {
        Part::Output => STANDARD.decode(program.stdout.as_bytes()).ok()?,
        Part::Errors => match program.stderr_base64 {
            Some(bytes) => STANDARD.decode(bytes.as_bytes()).ok()?,
            None => program.stderr.into_owned().into_bytes(),
        },
    };
    Some((bytes, program.failed_total))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_only_where_they_are_asked_for_first() {
        let wants = |accept: &str| wants_bytes(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]));
        assert!(wants("Application/OCTET-stream") && wants("application/json;q=0.5, application/octet-stream"));
        assert!(wants("*/*, application/octet-stream") && wants("application/octet-stream, application/json"));
        for no in ["application/octet-stream;q=0", "application/octet-stream; q=0.1, application/json", "application/*"]
        {
            assert!(!wants(no), "{no}");
        }
        assert!(!wants("*/*;q=0.5, application/octet-stream;q=0"));
        assert!(wants("application/octet-stream") && wants("text/html, application/octet-stream;q=0.9, */*;q=0.1"));
        assert!(!wants("*/*") && !wants("application/json, application/octet-stream") && !wants("text/html"));
        assert!(!wants_bytes(&HeaderMap::new()));
    }

    #[test]
    fn results_of_kernels_and_programs_are_read_as_bytes() {
        assert_eq!(decode("kernel", "\"aGk=\"", Part::Output), Some((b"hi".to_vec(), 0)));
        let json =
            r#"{"stdout":"AAH/","stderr":"n\u00f6","exit_codes":{"1":2},"failed":[{"part":0}],"failed_total":2}"#;
        assert_eq!(decode("command", json, Part::Output), Some((vec![0, 1, 255], 2)));
        assert_eq!(decode("command", json, Part::Errors), Some(("nö".as_bytes().to_vec(), 2)));
        let json = r#"{"stdout":"","stderr":"\ufffd","stderr_base64":"/4A="}"#;
        assert_eq!(decode("command", json, Part::Errors), Some((vec![0xff, 0x80], 0)));
        assert_eq!(decode("command", "7", Part::Output), None);
    }
}
