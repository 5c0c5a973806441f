//! What happens to every request: access log, figures, panics caught, headers that make the page isolated and safe.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use p2pnet_shared::refusal::{Code, Refusal};
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};

use super::{App, address, answer::Refused, browsers, compress, outbox, unread};
use crate::host::{now, set_by};

/// A panic in an endpoint is an answer like any other.
pub fn catch_panics() -> CatchPanicLayer<Panicked> {
    CatchPanicLayer::custom(Panicked)
}

/// Makes the answer.
#[derive(Clone, Copy)]
pub struct Panicked;

impl ResponseForPanic for Panicked {
    type ResponseBody = axum::body::Body;

    fn response_for_panic(&mut self, cause: Box<dyn Any + Send + 'static>) -> Response {
        let words = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| cause.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        tracing::error!(panic = words, "an endpoint panicked");
        Refused(Refusal::new(
            Code::Internal,
            "the relay failed at this request",
            "try again; if it happens again, please report it with the relay's log",
        ))
        .into_response()
    }
}

/// Settles what the headers of a request mean, so that what lies further in reads one word; and what lies elsewhere.
pub async fn settle(mut request: Request, next: Next) -> Result<Response, Refused> {
    address::settle_host(&mut request)?;
    if let Some(moved) = request.extensions_mut().remove::<address::Moved>() {
        return Ok(moved.into_response());
    }
    compress::settle(&mut request);
    Ok(next.run(request).await)
}

/// Refuses what a foreign page sends to the API, and counts what is answered until it is read: lists, and a job with many
/// attempts, are made whole and may find no room.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match browsers::refusal_of(&app, &request) {
        Some(refusal) => Refused(refusal).into_response(),
        None => outbox::hold(&app, request, next).await,
    }
}

/// Logs and counts a request, takes what is left of its body, and completes the answer's headers.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = Instant::now();
    let mut response = unread::drain(&app, request, next).await;
    let took = start.elapsed();
    app.metrics.request(&method, response.status(), took);
    tracing::debug!(%method, path, status = response.status().as_u16(), micros = took.as_micros(), "request");
    let headers = response.headers_mut();
    // By the clock that jobs' moments are shown by, so that a client can tell how long ago they were.
    let now = UNIX_EPOCH + Duration::from_millis(now().shifted(set_by()).0);
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
        headers.insert(header::DATE, date);
    }
    for (name, value) in HEADERS {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The first two make the page "cross-origin isolated", which SharedArrayBuffer needs.
const HEADERS: [(&str, &str); 5] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];
