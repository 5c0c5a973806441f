//! `/api/v1/jobs/{id}/result`: a job's result, as JSON or as the bytes that a kernel or program put out. Either is sent as it
//! is read from the store: no reader holds all of it, and so none need be cut off for others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt as _, pin_mut, stream};
use p2pnet_shared::{
    api::{JobSummary, http_status},
    id::JobId,
    job::{
        JobState,
        kinds::{output_of, schema::Output},
    },
    refusal::{Code, Refusal},
    store::StoreKey,
};
use tokio::task::yield_now;

use super::{
    App,
    answer::{Places, Refused, refuse, short},
    jobs::{self, read_id},
    limits,
    owners::Asker,
    preference::wishes,
    source::Source,
    texts::{Decoder, Form, Survey, Text, Texts},
};

const BYTES: &str = "application/octet-stream";
/// On bytes of a program: how many parts of the job failed.
pub const FAILED_PARTS: HeaderName = HeaderName::from_static("p2pnet-failed-parts");

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
            bytes(&app, source, record, Part::Output).await?
        } else {
            whole(&app, record, StatusCode::OK, "{\"result\":".to_owned()).await?
        };
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        return Ok(response);
    }
    // It failed, but what its parts put out is there: the error comes first, as for any job that failed.
    // Lists have the beginning of a long one; its record, if that can be read, all of it.
    let error = match app.handle.job(id).await {
        Ok(Some(status)) => status.summary.error,
        Ok(None) | Err(_) => summary.error,
    };
    let reason = error.unwrap_or_else(|| Refusal::new(Code::NoResult, "the job failed", "submit it again"));
    let error = serde_json::json!(Refusal { code: Code::NoResult, ..reason }).to_string();
    let status = StatusCode::from_u16(http_status(Code::NoResult)).unwrap_or(StatusCode::CONFLICT);
    whole(&app, record, status, format!("{{\"error\":{error},\"result\":")).await
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
    match output_of(&summary.kind) {
        Output::Program => {}
        Output::Value | Output::Bytes => {
            let message = format!("a job of kind {} has no {stream}", summary.kind);
            return refuse(Code::NotFound, message, "only programs have; get the result itself");
        }
    }
    bytes(&app, source, record, part).await
}

/// The record that holds the result, and the summary, of a job that the asker may see.
async fn find(app: &App, asker: Asker, id: JobId) -> Result<(StoreKey, JobSummary), Refused> {
    jobs::find(app, asker, id).await?;
    let record = app.handle.result_record(id).await.map_err(|mut refusal| {
        if refusal.hint.is_empty() {
            refusal.hint = format!("GET /api/v1/jobs/{id} says where the job stands and why");
        }
        refusal
    })?;
    Ok((record, jobs::find(app, asker, id).await?))
}

fn lost<T>() -> Result<T, Refused> {
    refuse(Code::NoResult, "the result was lost from this relay's store", "submit the job again")
}

fn gives_bytes(kind: &str) -> bool {
    match output_of(kind) {
        Output::Bytes | Output::Program => true,
        Output::Value => false,
    }
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

/// A result as it lies in the store, behind what begins its answer, sent part by part: however many read it, each holds one
/// part at a time.
async fn whole(app: &App, record: StoreKey, status: StatusCode, before: String) -> Result<Response, Refused> {
    let stored = app.store.stream(record, 0).await.map_err(|trouble| trouble.refusal_of_a_read())?;
    let Some((len, parts)) = stored else { return lost() };
    let (before, after) = (Bytes::from(before), Bytes::from_static(b"}"));
    let len = len + (before.len() + after.len()) as u64;
    let body = stream::iter([Ok(before)]).chain(parts).chain(stream::iter([Ok(after)]));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_LENGTH, HeaderValue::from(len)),
    ];
    Ok((status, headers, Body::from_stream(body)).into_response())
}

/// The bytes that a kernel or a program put out, decoded as they are sent.
async fn bytes(app: &App, source: Source, record: StoreKey, part: Part) -> Result<Response, Refused> {
    let texts = surveyed(app, source, record).await?;
    let found = match part {
        Part::Output => texts.whole.or(texts.stdout).map(|text| (text, Form::Base64)),
        Part::Errors => {
            let bytes = texts.stderr_base64.map(|text| (text, Form::Base64));
            bytes.or(texts.stderr.map(|text| (text, Form::Plain)))
        }
    };
    let Some((text, form)) = found else {
        return refuse(Code::Internal, "the result holds no bytes that can be read", "get it as JSON, and report this");
    };
    let stored = app.store.stream(record, text.from).await.map_err(|trouble| trouble.refusal_of_a_read())?;
    let Some((_, parts)) = stored else { return lost() };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(BYTES)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_LENGTH, HeaderValue::from(text.decoded_len(form))),
        (FAILED_PARTS, HeaderValue::from(texts.failed_total)),
    ];
    Ok((headers, Body::from_stream(decoded(parts, text, form))).into_response())
}

/// Where the texts of a result stand. A few results are looked through at once: each takes time, and one part of memory.
async fn surveyed(app: &App, source: Source, record: StoreKey) -> Result<Texts, Refused> {
    if let Some(texts) = app.surveyed.get(record) {
        return Ok(texts);
    }
    let stored = app.store.stream(record, 0).await.map_err(|trouble| trouble.refusal_of_a_read())?;
    let Some((len, parts)) = stored else { return lost() };
    let weight = usize::try_from(len).unwrap_or(usize::MAX).min(limits::LARGEST_SURVEY);
    let Some(_turn) = app.openings.wait(source, weight).await else {
        let message = "as many results are being opened here as this relay opens at once";
        return refuse(Code::RateLimited, message, "ask again in a few seconds, or for the result as JSON");
    };
    // Somebody else may have looked through it while this one waited.
    if let Some(texts) = app.surveyed.get(record) {
        return Ok(texts);
    }
    pin_mut!(parts);
    let mut survey = Survey::default();
    while let Some(part) = parts.next().await {
        let part = part.or_else(|error| {
            let message = format!("the result cannot be read now: {error}");
            refuse(Code::StoreFailed, message, "ask again in a few seconds, or look whether the job is still there")
        })?;
        survey.take(&part);
        yield_now().await;
    }
    let texts = survey.texts();
    app.surveyed.add(record, texts);
    Ok(texts)
}

/// The bytes of a text, made of the parts of its record from its beginning on.
fn decoded(
    parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    text: Text,
    form: Form,
) -> impl Stream<Item = io::Result<Bytes>> {
    let begin = (parts.boxed(), Bytes::new(), text.to.saturating_sub(text.from), Decoder::new(form));
    stream::try_unfold(begin, |(mut parts, mut part, mut left, mut decoder)| async move {
        while left > 0 {
            if part.is_empty() {
                part = parts.next().await.unwrap_or_else(|| Err(io::Error::other("the result ends too early")))?;
            }
            // A little at a time: what is decoded is a reader's own, where a part is shared.
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(part.len()).min(limits::DECODED_AT_ONCE);
            let bytes = decoder.take(&part.split_to(most)).map_err(io::Error::other)?;
            left -= most as u64;
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), (parts, part, left, decoder))));
            }
        }
        Ok(None)
    })
}

/// Where the texts stand of those results that were looked through last: a result never changes.
#[derive(Default)]
pub struct Surveyed(Mutex<Table>);

#[derive(Default)]
struct Table {
    texts: BTreeMap<StoreKey, Texts>,
    order: VecDeque<StoreKey>,
}

impl Surveyed {
    fn get(&self, record: StoreKey) -> Option<Texts> {
        self.lock().texts.get(&record).copied()
    }

    fn add(&self, record: StoreKey, texts: Texts) {
        let mut table = self.lock();
        if table.texts.insert(record, texts).is_none() {
            table.order.push_back(record);
        }
        if table.order.len() > limits::SURVEYED_RESULTS {
            let oldest = table.order.pop_front();
            oldest.map(|oldest| table.texts.remove(&oldest));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use futures::TryStreamExt as _;

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

    /// The bytes of a text of a result that lies in parts of so many bytes.
    async fn read(json: &'static str, find: fn(Texts) -> Option<Text>, form: Form, part: usize) -> io::Result<Vec<u8>> {
        let mut survey = Survey::default();
        survey.take(json.as_bytes());
        let text = find(survey.texts()).unwrap();
        let rest = &json.as_bytes()[usize::try_from(text.from).unwrap()..];
        let parts = stream::iter(rest.chunks(part).map(|part| Ok(Bytes::from_static(part))).collect::<Vec<_>>());
        let pieces: Vec<Bytes> = decoded(parts, text, form).try_collect().await?;
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn results_of_kernels_and_programs_are_sent_as_bytes_however_they_lie_in_the_store() {
        let json =
            r#"{"stdout":"AAH/","stderr":"n\u00f6","exit_codes":{"1":2},"failed":[{"part":0}],"failed_total":2}"#;
        for part in 1..9 {
            assert_eq!(read("\"aGk=\"", |texts| texts.whole, Form::Base64, part).await.unwrap(), b"hi");
            assert_eq!(read(json, |texts| texts.stdout, Form::Base64, part).await.unwrap(), [0, 1, 255]);
            assert_eq!(read(json, |texts| texts.stderr, Form::Plain, part).await.unwrap(), "nö".as_bytes());
            assert!(read(r#"{"stdout":"no base64!!!"}"#, |texts| texts.stdout, Form::Base64, part).await.is_err());
            assert_eq!(read(r#"{"stderr":""}"#, |texts| texts.stderr, Form::Plain, part).await.unwrap(), b"");
        }
    }

    #[tokio::test]
    async fn a_result_that_is_removed_while_it_is_sent_breaks_off() {
        let mut survey = Survey::default();
        survey.take(b"\"abcdefgh\"");
        let text = survey.texts().whole.unwrap();
        let parts = stream::iter([Ok(Bytes::from_static(b"abcd"))]);
        let pieces: Vec<io::Result<Bytes>> = decoded(parts, text, Form::Plain).collect().await;
        assert!(pieces.len() == 2 && pieces[0].is_ok() && pieces[1].is_err(), "{pieces:?}");
    }

    #[test]
    fn of_too_many_results_that_were_looked_through_the_first_is_forgotten() {
        let surveyed = Surveyed::default();
        let record = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_le_bytes());
            StoreKey::Result(JobId(id))
        };
        for n in 0..=limits::SURVEYED_RESULTS {
            surveyed.add(record(n), Texts { failed_total: n as u64, ..Texts::default() });
            surveyed.add(record(n), Texts { failed_total: n as u64, ..Texts::default() });
        }
        assert_eq!((surveyed.get(record(0)), surveyed.get(record(1)).map(|texts| texts.failed_total)), (None, Some(1)));
        assert_eq!(surveyed.lock().texts.len(), limits::SURVEYED_RESULTS);
    }
}
