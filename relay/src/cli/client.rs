//! Asking a relay over HTTP: the one place that knows how the command line speaks the API.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, UNIX_EPOCH},
};

use hyper_util::client::proxy::matcher::Matcher;
use p2pnet_shared::{
    api::ErrorBody,
    refusal::{Code, Refusal},
    units::Moment,
};
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::host::now;

/// How long a relay may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take in all; a job of 32 MiB on a slow line takes minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// A relay that can be asked.
#[derive(Clone)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
    token: Option<String>,
    /// The proxy that questions go through, as the environment names it.
    proxy: Option<String>,
}

/// A part of a list.
pub struct Page<T> {
    /// What is in it.
    pub items: T,
    /// Where the next one begins, if there is one.
    pub next: Option<String>,
    /// The relay's time when it answered: what it says of the past is told from there.
    pub now: Moment,
}

/// An answer in bytes.
pub struct Bytes {
    /// What came.
    pub bytes: Vec<u8>,
    /// Whether that is JSON text after all.
    pub is_json: bool,
    /// Parts of a program's job that failed.
    pub failed_parts: u64,
}

impl Client {
    /// A client of the relay at `url`; `host:port` is taken as `http://host:port`.
    pub fn new(url: &str) -> Result<Self, Failure> {
        let text = if url.contains("://") {
            url.to_owned()
        } else if url.parse::<Ipv6Addr>().is_ok() {
            format!("http://[{url}]")
        } else {
            format!("http://{url}")
        };
        let hint = "expected something like http://localhost:8080";
        let mut base =
            Url::parse(&text).map_err(|error| Failure::usage(format!("{url:?} is no URL: {error}"), hint))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(Failure::usage(format!("{url:?} is no URL of a relay"), hint));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        // A proxy is elsewhere, and there this machine's own addresses mean another machine.
        let host = base.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_here = match host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        let proxy = if is_here { None } else { proxy_of(&base) };
        let builder = || {
            let client = reqwest::Client::builder();
            let client = if is_here { client.no_proxy() } else { client };
            client
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(ANSWER_TIMEOUT)
                .user_agent(concat!("p2pnet/", env!("CARGO_PKG_VERSION")))
        };
        // A machine without certificates cannot speak TLS, but http:// does not need it.
        let plain = |error| if base.scheme() == "http" { builder().tls_certs_only([]).build() } else { Err(error) };
        let http = builder().build().or_else(plain).map_err(|error| {
            Failure::here(
                format!("the HTTP client cannot start: {}", chain(&error)),
                "https:// needs this system's certificates (Debian: ca-certificates)",
            )
        })?;
        Ok(Self { base, http, token: None, proxy })
    }

    /// The same, asking with this token.
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// Where it asks.
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    /// `GET`, read as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::GET, path, None).await?).await
    }

    /// The same, with the relay's time when it answered.
    pub async fn get_with_time<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Moment), Failure> {
        let response = self.send(Method::GET, path, None).await?;
        let now = time_of(&response);
        Ok((self.read(response).await?, now))
    }

    /// A part of a list.
    pub async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<Page<T>, Failure> {
        let response = self.send(Method::GET, path, None).await?;
        let now = time_of(&response);
        let next = response.headers().get("x-next-cursor").and_then(|next| next.to_str().ok()).map(str::to_owned);
        Ok(Page { items: self.read(response).await?, next, now })
    }

    /// `PUT` of bytes, read as JSON.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, bytes: Vec<u8>) -> Result<T, Failure> {
        let body = Sent { kind: "application/wasm", bytes, key: None };
        self.read(self.send(Method::PUT, path, Some(body)).await?).await
    }

    /// `GET`, as text.
    pub async fn get_text(&self, path: &str) -> Result<String, Failure> {
        self.text(self.send(Method::GET, path, None).await?).await
    }

    /// `GET` of bytes, where there are bytes; else of JSON text.
    pub async fn get_bytes(&self, path: &str) -> Result<Bytes, Failure> {
        let request = self.request(Method::GET, path)?;
        let accept = "application/octet-stream, application/json;q=0.5";
        let response = self.checked(request.header(header::ACCEPT, accept)).await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_json = header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        let failed_parts = header("p2pnet-failed-parts").and_then(|count| count.parse().ok()).unwrap_or(0);
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?.to_vec();
        Ok(Bytes { bytes, is_json, failed_parts })
    }

    /// `POST` of JSON text, read as JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: String, key: Option<&str>) -> Result<T, Failure> {
        let body = Sent { kind: "application/json", bytes: body.into_bytes(), key };
        self.read(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// `DELETE`, read as JSON.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::DELETE, path, None).await?).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Sent<'_>>) -> Result<Response, Failure> {
        let mut request = self.request(method, path)?;
        if let Some(Sent { kind, bytes, key }) = body {
            request = request.header(header::CONTENT_TYPE, kind).body(bytes);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
        }
        self.checked(request).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path).map_err(|error| Failure::usage(format!("{path:?}: {error}"), ""))?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Sends, and takes any answer but a good one for a failure.
    async fn checked(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let is_page =
            response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if status.is_success() && !is_page {
            return Ok(response);
        }
        let body = self.text(response).await?;
        if is_page || body.trim_start().starts_with('<') {
            return Err(self.no_api(format!("a web page ({status}{})", title_of(&body))));
        }
        let of_gateway = matches!(status.as_u16(), 502..=504);
        Err(match serde_json::from_str::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => Failure::Refused(error),
            Err(_) if of_gateway => self.no_api(status.to_string()),
            Err(_) => Failure::Refused(Refusal::new(
                Code::Internal,
                format!("{} answered {status}, but not as a relay does", self.base),
                "check that the URL is a p2pnet relay of the same version",
            )),
        })
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let body = self.text(response).await?;
        // By way of a `Value`: numbers of any size inside flattened structures are only read from there.
        serde_json::from_str::<serde_json::Value>(&body)
            .and_then(serde_json::from_value)
            .map_err(|error| self.not_understood(&error))
    }

    /// An answer that another version may have given.
    pub fn not_understood(&self, error: &serde_json::Error) -> Failure {
        Failure::Refused(Refusal::new(
            Code::Internal,
            format!("{} gave an answer that is not understood: {error}", self.base),
            "check that the URL is a p2pnet relay of the same version",
        ))
    }

    fn no_api(&self, what: String) -> Failure {
        Failure::NoApi { url: self.base.to_string(), what, proxy: self.proxy.clone() }
    }

    async fn text(&self, response: Response) -> Result<String, Failure> {
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable { url: self.base.to_string(), cause: chain(error), proxy: self.proxy.clone() }
    }
}

/// A body to send.
struct Sent<'a> {
    kind: &'static str,
    bytes: Vec<u8>,
    /// Its idempotency key.
    key: Option<&'a str>,
}

/// The proxy for a URL by the rules of the HTTP client itself, without what it asks for as a password.
fn proxy_of(url: &Url) -> Option<String> {
    let uri = url.as_str().parse().ok()?;
    let proxy = Matcher::from_env().intercept(&uri)?;
    let (scheme, authority) = (proxy.uri().scheme_str()?, proxy.uri().authority()?.as_str());
    Some(format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or(authority)))
}

/// The time at the relay; ours, where it does not say.
fn time_of(response: &Response) -> Moment {
    let date =
        response.headers().get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let millis = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_millis());
    millis.and_then(|millis| u64::try_from(millis).ok()).map_or_else(now, Moment)
}

/// `: "title"` of a web page, if it has one.
fn title_of(page: &str) -> String {
    let start = page.find("<title>").map(|at| at + "<title>".len());
    let title =
        start.and_then(|start| page.get(start..)?.split('<').next()).map(str::trim).filter(|title| !title.is_empty());
    let shown: String = title.unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect();
    if shown.is_empty() { shown } else { format!(", {shown:?}") }
}

/// The innermost reason, which is the one that says something ("connection refused").
fn chain(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_leniently_and_refused_clearly() {
        crate::install_crypto();
        assert_eq!(Client::new("localhost:8080").ok().unwrap().url(), "http://localhost:8080/");
        assert_eq!(Client::new("::1").ok().unwrap().url(), "http://[::1]/");
        assert_eq!(Client::new("[::1]:8080").ok().unwrap().url(), "http://[::1]:8080/");
        assert_eq!(Client::new("https://a.example/p2p").ok().unwrap().url(), "https://a.example/p2p/");
        assert_eq!(title_of("<html><title> 502 Bad\n Gateway</title>"), ", \"502 Bad Gateway\"");
        assert_eq!(title_of("<html>"), "");
        assert!(Client::new("ftp://a").is_err() && Client::new("http://").is_err());
    }
}
