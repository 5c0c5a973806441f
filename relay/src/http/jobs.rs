//! `/api/v1/jobs`: take a job, show it, give its result, stop it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    api::{JobStatus, JobSummary, Submitted},
    id::JobId,
    job::JobState,
    refusal::{Code, Refusal},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    App,
    answer::{Refused, refuse, short},
    idempotency, limits,
    submission::Submission,
};

/// `POST /api/v1/jobs`
pub async fn create(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    if app.stopping.is_cancelled() {
        return refuse(Code::ShuttingDown, "this relay is stopping", "send the job again in a few seconds");
    }
    if !app.allowance.take(limits::client_address(peer, &headers), Instant::now()) {
        return refuse(
            Code::RateLimited,
            format!("one address may send {} jobs a second", limits::POSTS_PER_SECOND),
            "wait a second; one job with more data is better than many small ones",
        );
    }
    let key = headers.get("idempotency-key").map(idempotency::read_key).transpose()?;
    let place = Arc::clone(&app.uploads).acquire_owned().await.map_err(|_| stopping())?;
    let body = read_body(body, &headers).await?;
    Ok(accepted(Submission { key, body, place }.take(app).await?))
}

/// What a list may be narrowed to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only jobs in this state.
    state: Option<JobState>,
    /// At most so many, newest first.
    limit: Option<usize>,
}

/// `GET /api/v1/jobs`
pub async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<JobSummary>>, Refused> {
    let Query(query) = query.map_err(|rejection| {
        Refusal::new(
            Code::InvalidField,
            format!("the query is not understood: {}", short(&rejection.body_text())),
            "it may have state (queued, running, verifying, completed, failed, cancelled, expired) and limit (a number)",
        )
    })?;
    let mut jobs = app.handle.jobs().await;
    jobs.retain(|job| query.state.is_none_or(|state| job.state == state));
    jobs.truncate(query.limit.unwrap_or(limits::JOBS_IN_A_LIST).min(limits::JOBS_IN_A_LIST));
    Ok(Json(jobs))
}

/// `GET /api/v1/jobs/{id}`
pub async fn describe(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<JobStatus>, Refused> {
    let id = read_id(&id)?;
    app.handle.job(id).await.map(Json).ok_or_else(|| Refused(unknown(&id.to_string())))
}

/// `GET /api/v1/jobs/{id}/result`
pub async fn result(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let id = read_id(&id)?;
    let result = app.handle.result(id).await.map_err(|mut refusal| {
        if refusal.hint.is_empty() {
            refusal.hint = format!("GET /api/v1/jobs/{id} says where the job stands and why");
        }
        refusal
    })?;
    let mut body = String::with_capacity(result.len() + 12);
    body.push_str("{\"result\":");
    body.push_str(&result);
    body.push('}');
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// What became of a job that was asked to stop.
#[derive(Debug, Serialize)]
pub struct Stopped {
    id: JobId,
    /// `cancelled` (it was running) or `removed` (it had ended).
    state: &'static str,
}

/// `DELETE /api/v1/jobs/{id}`: cancels a job that runs, removes one that has ended. Answered once that is on disk: what
/// was stopped must not go on after a restart.
pub async fn stop(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Stopped>, Refused> {
    let id = read_id(&id)?;
    let (done, state) = match app.handle.is_over(id).await {
        None => return Err(Refused(unknown(&id.to_string()))),
        Some(true) => (app.handle.remove(id).await, "removed"),
        Some(false) => (app.handle.cancel(id).await, "cancelled"),
    };
    if !done {
        return Err(Refused(unknown(&id.to_string())));
    }
    app.store.writer().flush().await.map_err(|trouble| trouble.refusal_of_a_stop())?;
    Ok(Json(Stopped { id, state }))
}

/// The whole body, within its bounds of size and time.
async fn read_body(body: Body, headers: &HeaderMap) -> Result<Bytes, Refused> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|len| len > limits::MOST_BODY_BYTES as u64) {
        return Err(Refused(too_large()));
    }
    match timeout(limits::BODY_PATIENCE, axum::body::to_bytes(body, limits::MOST_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(Refused(too_large())),
        Ok(Err(error)) => refuse(Code::InvalidJson, format!("the body broke off: {error}"), "send the request again"),
        Err(_) => refuse(
            Code::InvalidJson,
            format!("the body did not arrive within {} s", limits::BODY_PATIENCE.as_secs()),
            "send less data, or over a faster line",
        ),
    }
}

fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(inner) = error {
        if inner.to_string().contains("length limit exceeded") {
            return true;
        }
        error = inner.source();
    }
    false
}

fn accepted(id: JobId) -> Response {
    let location = format!("/api/v1/jobs/{id}");
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(Submitted { id })).into_response()
}

fn read_id(text: &str) -> Result<JobId, Refused> {
    text.parse().map_err(|_| Refused(unknown(&short(text))))
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(Code::UnknownJob, format!("no job has the id {id}"), "GET /api/v1/jobs lists the jobs of this relay")
}

fn too_large() -> Refusal {
    Refusal::new(
        Code::TooLarge,
        format!("a job may have at most {} MiB", limits::MOST_BODY_BYTES >> 20),
        "split the data over several jobs",
    )
}

fn stopping() -> Refusal {
    Refusal::new(Code::ShuttingDown, "this relay is stopping", "send the job again in a few seconds")
}
