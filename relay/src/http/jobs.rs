//! `/api/v1/jobs`: take a job, show it, stop it.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    api::{JobStatus, JobSummary, Submitted},
    id::{JobId, OwnerId},
    refusal::{Code, Refusal},
};
use serde::Serialize;

use super::{
    App,
    answer::{Places, Refused, refuse, short},
    browsers,
    compress::Encoding,
    idempotency,
    intake::Bound,
    limits,
    owners::Asker,
    submission::Submission,
    wait,
};
use crate::host;

/// `POST /api/v1/jobs`
pub async fn create(
    State(app): State<Arc<App>>,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    if app.stopping.is_cancelled() {
        return refuse(Code::ShuttingDown, "this relay is stopping", "send the job again in a few seconds");
    }
    browsers::check_content_type(&headers, &browsers::A_JOB)?;
    let source = asker.source;
    if !app.allowance.take(source, Instant::now()) {
        return refuse(
            Code::RateLimited,
            format!("one address may send {} jobs a second", limits::POSTS_PER_SECOND),
            "wait a second; one job with more data is better than many small ones",
        );
    }
    let key = idempotency::read_key(&headers, asker.owner)?;
    asker.check_key(key.as_ref())?;
    let encoding = Encoding::of(&headers)?;
    let body = app.intake.receive(source, body, &headers, Bound::of_job(encoding)).await?;
    Ok(accepted(Submission { key, body, encoding, source, holder: app.owners.holder(asker) }.take(app).await?))
}

/// `GET /api/v1/jobs/{id}`
pub async fn describe(
    State(app): State<Arc<App>>,
    asker: Asker,
    Places(id): Places<String>,
) -> Result<Json<JobStatus>, Refused> {
    let mut status = open(&app, asker, read_id(&id)?).await?;
    status.shift(host::set_by());
    Ok(Json(status))
}

/// The job with this id as lists show it, if the asker may see it; else as if there were none.
pub(super) async fn find(app: &App, asker: Asker, id: JobId) -> Result<JobSummary, Refused> {
    if !owner(app, asker, id).await?.is_understood {
        return Err(not_understood(id));
    }
    app.handle.find(id).await?.ok_or_else(|| Refused(unknown(&id.to_string())))
}

/// Whose the job with this id is, if the asker may see it; else as if there were none. That is known, and the job can be removed,
/// whatever became of its records.
async fn owner(app: &App, asker: Asker, id: JobId) -> Result<Owned, Refused> {
    let found = app.handle.owner(id).await.filter(|(owner, _)| asker.may_open(*owner));
    let Some((owner, is_understood)) = found else { return Err(Refused(unknown(&id.to_string()))) };
    Ok(Owned { owner, is_understood })
}

/// What is known of a job whatever became of its records.
struct Owned {
    owner: OwnerId,
    /// Whether more than that is.
    is_understood: bool,
}

/// The refusal of a job of which nothing but its owner is understood.
fn not_understood(id: JobId) -> Refused {
    let message = format!("what this relay keeps of the job {id} is damaged, or another version of p2pnet wrote it");
    let hint = "it is left as it is; the version that wrote it can read it, and DELETE removes it";
    Refused(Refusal::new(Code::StoreFailed, message, hint))
}

/// The job with this id and all that is known of it. What cannot be read now, or is damaged, is no job that is gone.
async fn open(app: &App, asker: Asker, id: JobId) -> Result<JobStatus, Refused> {
    find(app, asker, id).await?;
    app.handle.job(id).await?.ok_or_else(|| Refused(unknown(&id.to_string())))
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
pub async fn stop(
    State(app): State<Arc<App>>,
    asker: Asker,
    Places(id): Places<String>,
) -> Result<Json<Stopped>, Refused> {
    let id = read_id(&id)?;
    asker.check_stop(owner(&app, asker, id).await?.owner)?;
    let (done, state) = match app.handle.is_over(id).await {
        // Of one that is not understood nobody knows whether it is over.
        None => (app.handle.remove(id).await, "removed"),
        Some(false) if app.handle.cancel(id).await => (true, "cancelled"),
        // It was over, or has ended since it was looked at.
        Some(true | false) => (app.handle.remove(id).await, "removed"),
    };
    if !done {
        return Err(Refused(unknown(&id.to_string())));
    }
    app.store.writer().flush().await.map_err(|trouble| trouble.refusal_of_a_stop(state))?;
    // The node hears a moment later that it is on disk, and says so of the job from then on.
    wait::ended(&app, id, limits::TOLD_OF_A_STOP).await;
    Ok(Json(Stopped { id, state }))
}

fn accepted(id: JobId) -> Response {
    let location = format!("/api/v1/jobs/{id}");
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(Submitted { id })).into_response()
}

/// A job's id as it stands in an address.
pub(super) fn read_id(text: &str) -> Result<JobId, Refused> {
    text.parse().map_err(|_| Refused(unknown(&short(text))))
}

/// The refusal of an id that no job has.
pub(super) fn unknown(id: &str) -> Refusal {
    Refusal::new(Code::UnknownJob, format!("no job has the id {id}"), "GET /api/v1/jobs lists the jobs of this relay")
}
