//! Which address a request means: below the base path that a proxy or the operator put before everything, with or
//! without a slash at its end, and, when it asks with OPTIONS, which methods that address takes.

use std::{convert::Infallible, fmt, net::SocketAddr, str::FromStr, sync::Arc};

use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header,
        request::Parts,
        uri::{Authority, PathAndQuery},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use p2pnet_shared::refusal::Code;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    App,
    answer::{self, Refused, refuse},
};

/// What a proxy that takes a prefix away says that it took.
const PREFIX_HEADER: &str = "x-forwarded-prefix";
/// The longest base path.
const MOST_BASE: usize = 200;

/// The path below which everything stands: empty, or `/` and names, without a slash at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// As it stands before a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What of a path stands below this base; `None` if it does not.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.0)?;
        match rest {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }
}

impl FromStr for Base {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        let sound = |name: &str| {
            !name.is_empty()
                && name != "."
                && name != ".."
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
        };
        let names = path.strip_prefix('/');
        if path.is_empty() || (path.len() <= MOST_BASE && names.is_some_and(|names| names.split('/').all(sound))) {
            return Ok(Self(path.to_owned()));
        }
        Err("expected a path such as /p2pnet, of letters, digits and - . _ ~".to_owned())
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl Serialize for Base {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The base under which this request was sent by whoever sent it first.
impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Base>().cloned().unwrap_or_default())
    }
}

/// Where what was asked for lies: further in this is the answer, so that a redirect is logged, counted, and read by whoever
/// sends a body first, as every answer is.
#[derive(Clone)]
pub struct Moved(String);

impl Moved {
    fn to(base: &Base, path: &str, query: Option<&str>) -> Self {
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Self(format!("{}{path}{query}", base.0))
    }
}

impl IntoResponse for Moved {
    fn into_response(self) -> Response {
        (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, self.0)]).into_response()
    }
}

/// Turns a request into the one that the routes know, and its answer into the one that the asker can use.
pub async fn resolve(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let near = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|ConnectInfo(peer)| app.proxies.holds(peer.ip()));
    let taken_away = forwarded_base(request.headers()).filter(|_| near);
    let base = taken_away.unwrap_or_else(|| app.base.clone());
    if let Some(plain) = unescape(request.uri().path(), is_unreserved) {
        set_path(&mut request, &plain);
    }
    let asked = request.uri().path();
    let path = app.base.rest(asked).unwrap_or(asked);
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() < path.len() && !trimmed.is_empty() && !trimmed.starts_with("//") {
        if !is_endpoint(trimmed) {
            // The page's own addresses are read by the page: the address bar must show the right one.
            let moved = Moved::to(&base, trimmed, request.uri().query());
            request.extensions_mut().insert(moved);
            return next.run(request).await;
        }
        let trimmed = trimmed.to_owned();
        set_path(&mut request, &trimmed);
    } else if path.len() < asked.len() {
        let path = path.to_owned();
        set_path(&mut request, &path);
    }
    request.extensions_mut().insert(base.clone());
    // Of a preflight a browser wants to know what CORS allows; everybody else what there is. TRACE is a method that no
    // address takes, so the answer to it names those that it does.
    let is_question =
        request.method() == Method::OPTIONS && !request.headers().contains_key("access-control-request-method");
    if is_question {
        *request.method_mut() = Method::TRACE;
    }
    let response = with_options(answer::below(&base, next.run(request).await));
    let mut response = if is_question { allowed(response) } else { response };
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let here =
        location.filter(|location| location.starts_with("/api/")).map(|location| format!("{}{location}", base.0));
    if let Some(Ok(location)) = here.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Settles which host a request asks for; what lies further in reads one `Host` header. HTTP/1.1 has exactly one, and a
/// target with a host of its own counts instead (RFC 9112, 3.2 and 3.2.2).
pub fn settle_host(request: &mut Request) -> Result<(), Refused> {
    const HINT: &str = "send one header Host: with the name and port that you ask";
    if !is_target(request) {
        return refuse(
            Code::InvalidField,
            "the request's target is no path: it begins without /",
            "ask for /, as in GET / HTTP/1.1",
        );
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, more) = (hosts.next(), hosts.count());
    if more > 0 {
        return refuse(Code::InvalidField, "the request has more than one Host header", HINT);
    }
    if first.is_none() && request.version() == Version::HTTP_11 {
        return refuse(Code::InvalidField, "the request has no Host header", HINT);
    }
    if first
        .is_some_and(|host| !host.is_empty() && !Authority::try_from(host.as_bytes()).is_ok_and(|host| is_host(&host)))
    {
        return refuse(Code::InvalidField, "the Host header holds no host", HINT);
    }
    if let Some(host) = request.uri().authority() {
        let Some(value) = HeaderValue::from_str(host.as_str()).ok().filter(|_| is_host(host)) else {
            return refuse(Code::InvalidField, "the address holds no host", HINT);
        };
        request.headers_mut().insert(header::HOST, value);
    }
    Ok(())
}

/// Whether it is a name or an address, and a port if there is one.
fn is_host(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| {
        let digits = port.strip_prefix(':').unwrap_or(port);
        // Nothing behind the colon is the usual port (RFC 3986, 3.2.3).
        digits.is_empty()
            || (port != digits && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok())
    })
}

/// Whether a request asks for something that its method can be asked of (RFC 9112, 3.2): a path, and only of CONNECT a
/// host, of OPTIONS (which is TRACE here) all there is.
fn is_target(request: &Request) -> bool {
    match request.uri().path() {
        "*" => matches!(*request.method(), Method::OPTIONS | Method::TRACE),
        path => path.starts_with('/') || request.method() == Method::CONNECT,
    }
}

/// What a character's escape stands for may always be written as itself (RFC 3986, 6.2.2.2).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A path with escapes of `which` bytes written out; `None` if there is none.
pub fn unescape(path: &str, which: impl Fn(u8) -> bool) -> Option<String> {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    let mut any = false;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii() && which(*byte)) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = &after[2..];
                any = true;
            }
            None => {
                text.push('%');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    any.then_some(text)
}

/// The base that a proxy took away, if it says a sound one.
fn forwarded_base(headers: &HeaderMap) -> Option<Base> {
    headers.get(PREFIX_HEADER)?.to_str().ok()?.trim().parse().ok()
}

/// Whether an address is for programs: there a slash at the end changes nothing.
pub fn is_endpoint(path: &str) -> bool {
    // The manual of the API is read by people, and finds its parts beside itself.
    path != "/api/v1/docs"
        && ["/api", "/.well-known", "/healthz", "/metrics", "/p2p"]
            .iter()
            .any(|known| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn set_path(request: &mut Request, path: &str) {
    let text = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    // A part of a path that was read once can be read again.
    if let Ok(path_and_query) = text.parse::<PathAndQuery>() {
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// Every address answers OPTIONS, so what names its methods names that one, too.
fn with_options(mut response: Response) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let known = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or("GET,HEAD");
        if let Ok(allow) = HeaderValue::try_from(format!("{known},OPTIONS")) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    response
}

/// What OPTIONS says where it is no preflight.
fn allowed(response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NO_CONTENT;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_are_names_between_slashes() {
        for (text, base) in [("/p2pnet", "/p2pnet"), ("/a/b.c/", "/a/b.c"), ("/", ""), ("", "")] {
            assert_eq!(text.parse::<Base>().unwrap().as_str(), base, "{text}");
        }
        for text in ["p2pnet", "//a", "/a//b", "/a/../b", "/a b", "/<script>", "/\"", "http://a", &"/a".repeat(200)] {
            assert!(text.parse::<Base>().is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_of_plain_characters_stand_for_them_and_others_stay() {
        for (path, plain) in [
            ("/api/v1/%6aobs", Some("/api/v1/jobs")),
            ("/%7E%2d%2F", Some("/~-%2F")),
            ("/api%2Fv1", None),
            ("/%ff%fe", None),
            ("/%", None),
            ("/%4", None),
            ("/%+1x", None),
            ("/%é%41", Some("/%éA")),
        ] {
            assert_eq!(unescape(path, is_unreserved).as_deref(), plain, "{path}");
        }
        assert_eq!(unescape("/API%2fv1%20", |_| true).as_deref(), Some("/API/v1 "));
    }

    #[test]
    fn only_whole_names_are_below_a_base() {
        let base: Base = "/p2pnet".parse().unwrap();
        assert_eq!(base.rest("/p2pnet"), Some("/"));
        assert_eq!(base.rest("/p2pnet/api/v1/jobs"), Some("/api/v1/jobs"));
        assert_eq!(base.rest("/p2pnets"), None);
        assert_eq!(base.rest("/other"), None);
        assert_eq!(Base::default().rest("/x"), Some("/x"));
    }
}
