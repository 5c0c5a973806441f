//! Answers that are the same everywhere: refusals as `{"error": {"code", "message", "hint"}}`.

use axum::{
    Json,
    extract::OriginalUri,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    api::{ErrorBody, http_status},
    refusal::{Code, Refusal},
};

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
        let code = self.0.code;
        let status = StatusCode::from_u16(http_status(code)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorBody { error: self.0 })).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
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
