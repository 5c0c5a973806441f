//! Asking a relay over HTTP: the one place that knows how the command line speaks the API.

use std::time::Duration;

use p2pnet_shared::{
    api::ErrorBody,
    refusal::{Code, Refusal},
};
use reqwest::{Method, Response, Url, header};
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// How long a relay may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take in all; a job of 32 MiB on a slow line takes minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// A relay that can be asked.
#[derive(Clone)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
}

impl Client {
    /// A client of the relay at `url`; `host:port` is taken as `http://host:port`.
    pub fn new(url: &str) -> Result<Self, Failure> {
        let text = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let hint = "expected something like http://localhost:8080";
        let mut base =
            Url::parse(&text).map_err(|error| Failure::usage(format!("{url:?} is no URL: {error}"), hint))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(Failure::usage(format!("{url:?} is no URL of a relay"), hint));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let builder = || {
            reqwest::Client::builder()
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
        Ok(Self { base, http })
    }

    /// Where it asks.
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    /// `GET`, read as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::GET, path, None).await?).await
    }

    /// `GET`, as text.
    pub async fn get_text(&self, path: &str) -> Result<String, Failure> {
        self.text(self.send(Method::GET, path, None).await?).await
    }

    /// `POST` of JSON text, read as JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: String, key: Option<&str>) -> Result<T, Failure> {
        self.read(self.send(Method::POST, path, Some((body, key))).await?).await
    }

    /// `DELETE`, read as JSON.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::DELETE, path, None).await?).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, Option<&str>)>,
    ) -> Result<Response, Failure> {
        let url = self.base.join(path).map_err(|error| Failure::usage(format!("{path:?}: {error}"), ""))?;
        let mut request = self.http.request(method, url);
        if let Some((body, key)) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.text(response).await?;
        Err(match serde_json::from_str::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => Failure::Refused(error),
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
        serde_json::from_str::<serde_json::Value>(&body).and_then(serde_json::from_value).map_err(|error| {
            Failure::Refused(Refusal::new(
                Code::Internal,
                format!("{} gave an answer that is not understood: {error}", self.base),
                "check that the URL is a p2pnet relay of the same version",
            ))
        })
    }

    async fn text(&self, response: Response) -> Result<String, Failure> {
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable { url: self.base.to_string(), cause: chain(error) }
    }
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
        assert_eq!(Client::new("https://a.example/p2p").ok().unwrap().url(), "https://a.example/p2p/");
        assert!(Client::new("ftp://a").is_err() && Client::new("http://").is_err());
    }
}
