//! Answers that are the same everywhere: refusals as `{"error": {"code", "message", "hint"}}`.

use axum::{
    Json,
    extract::{FromRequestParts, OriginalUri, Path},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    api::{ErrorBody, http_status},
    refusal::{Code, Refusal},
};
use serde::de::DeserializeOwned;

use super::address::Base;

/// A refusal as an answer.
#[derive(Debug)]
pub struct Refused(pub Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(http_status(self.0.code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorBody { error: self.0.clone() })).into_response();
        response.extensions_mut().insert(Said(self.0));
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// The refusal that an answer's body says.
#[derive(Clone)]
struct Said(Refusal);

/// The refusal that an answer is, if it is one.
pub fn said(response: &Response) -> Option<&Refusal> {
    response.extensions().get::<Said>().map(|Said(refusal)| refusal)
}

/// A refusal for somebody who knows this relay below a base path: the addresses in its hint begin there.
pub fn below(base: &Base, response: Response) -> Response {
    if base.as_str().is_empty() {
        return response;
    }
    let Some(mut refusal) = said(&response).cloned() else { return response };
    let (mut parts, body) = response.into_parts();
    refusal.hint = refusal.hint.replace("/api/v1", &format!("{}/api/v1", base.as_str()));
    // Written anew, not in gzip.
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_ENCODING);
    let written = serde_json::to_vec(&ErrorBody { error: refusal });
    Response::from_parts(parts, written.map_or(body, Into::into))
}

/// What stands in the places of an address, such as a job's id. An address with bytes that are no text names nothing.
pub struct Places<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Places<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(places)) => Ok(Self(places)),
            Err(_) => refuse(
                Code::UnknownJob,
                format!("no job has the id in {}", short(parts.uri.path())),
                "an id is 32 hexadecimal digits; GET /api/v1/jobs lists the jobs of this relay",
            ),
        }
    }
}

/// A refusal as a `Result`'s other side.
pub fn refuse<T>(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(Refusal::new(code, message, hint)))
}

/// For addresses that do not exist.
pub async fn not_found(OriginalUri(uri): OriginalUri) -> Refused {
    Refused(Refusal::new(
        Code::NotFound,
        format!("there is nothing at {}", short(uri.path())),
        "/api/v1/docs lists what there is",
    ))
}

/// For addresses that exist, but not for this method. axum adds the `Allow` header.
pub async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Refused {
    Refused(Refusal::new(
        Code::MethodNotAllowed,
        format!("{} cannot be asked with {}", short(uri.path()), short(method.as_str())),
        "the Allow header names the methods that it takes; /api/v1/docs says what they do",
    ))
}

/// What of a stranger's text goes into a message.
pub fn short(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}
