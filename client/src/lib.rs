//! A client of a relay's HTTP API: jobs are sent, waited for, listed and stopped, results read as JSON or bytes, and changes
//! heard as they happen. Errors carry the API's code and hint where the relay said no, and say what answered instead where
//! none did.
//!
//! ```no_run
//! # async fn example() -> Result<(), p2pnet_client::Error> {
//! let client = p2pnet_client::Client::new("localhost:8080")?;
//! let id = client.submit(r#"{"kind":"map","data":[1,2,3],"map":"x*x"}"#.to_owned(), None).await?;
//! if client.wait(id).await?.state == p2pnet_shared::job::JobState::Completed {
//!     println!("{}", client.result(id).await?);
//! }
//! # Ok(())
//! # }
//! ```
//! Whoever uses it chooses who does TLS (`rustls::crypto::CryptoProvider`), once for the process.

mod answer;
mod error;
mod events;
mod jobs;
mod network;

use std::{
    io::Write as _,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use hyper_util::client::proxy::matcher::Matcher;
use p2pnet_shared::{api::ErrorBody, units::Moment};
use reqwest::{Method, RequestBuilder, Response, Url, header, redirect};
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Value, error::Category};
use tokio::time::sleep;

use self::answer::Came;
pub use self::{
    error::{Asked, Error},
    jobs::{Filter, Stopped},
};

/// How long a relay may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take in all; a job of 32 MiB on a slow line takes minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// After how long of silence a person is told that the relay has not answered yet.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a relay may hold a question back that says `?wait=`.
const HELD_BACK: Duration = Duration::from_secs(30);

/// A body from so many bytes on is compressed.
const WORTH_COMPRESSING: usize = 1 << 20;

/// A relay that can be asked.
#[derive(Clone)]
pub struct Client {
    base: Url,
    /// The same as messages name it: a password in it is nobody's business.
    shown: String,
    http: reqwest::Client,
    token: Option<String>,
    /// The proxy that questions go through, as the environment names it.
    proxy: Option<String>,
    /// Hears what a person may want to know meanwhile.
    tell: fn(&str),
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

/// A result, as the relay gives it.
pub enum Given<T = Value> {
    /// The bytes that a kernel or a program put out.
    Bytes {
        /// What came.
        bytes: Vec<u8>,
        /// Parts of a program's job that failed.
        failed_parts: u64,
    },
    /// JSON, of a kind without bytes.
    Json(T),
}

impl Client {
    /// A client of the relay at `url`; `host:port` is taken as `http://host:port`.
    ///
    /// # Errors
    /// It is no URL of a relay, or this machine cannot speak HTTP.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::telling(url, |_| {})
    }

    /// The same; `tell` hears what a person may want to know: that a relay has not answered yet, that the environment names a
    /// proxy that is none.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn telling(url: &str, tell: fn(&str)) -> Result<Self, Error> {
        let text = if url.contains("://") {
            url.to_owned()
        } else if url.parse::<Ipv6Addr>().is_ok() {
            format!("http://[{url}]")
        } else {
            format!("http://{url}")
        };
        let hint = "expected something like http://localhost:8080";
        let refused = |why: &str| Error::unusable(format!("{:?} {why}", without_password(url)), hint);
        let mut base = Url::parse(&text).map_err(|error| refused(&format!("is no URL: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(refused("is no URL of a relay"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refused("is no URL of a relay: there can be no ? and no # in it"));
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
        if let Some(warning) = no_proxy_named(&base).filter(|_| !is_here && proxy.is_none()) {
            tell(&warning);
        }
        let builder = || {
            let client = reqwest::Client::builder();
            let client = if is_here { client.no_proxy() } else { client };
            client
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(ANSWER_TIMEOUT)
                // Followed, a POST would become a GET, and a token would go where nobody sent it.
                .redirect(redirect::Policy::none())
                .user_agent(concat!("p2pnet/", env!("CARGO_PKG_VERSION")))
        };
        // A machine without certificates cannot speak TLS, but http:// does not need it.
        let plain = |error| if base.scheme() == "http" { builder().tls_certs_only([]).build() } else { Err(error) };
        let http = builder().build().or_else(plain).map_err(|error| Error::NoClient { cause: chain(&error) })?;
        let shown = without_password(base.as_str());
        Ok(Self { base, shown, http, token: None, proxy, tell })
    }

    /// The same, asking with this token.
    ///
    /// # Errors
    /// A request has one `Authorization`: a URL with a name in it has used that up.
    pub fn with_token(self, token: Option<String>) -> Result<Self, Error> {
        if token.is_some() && (!self.base.username().is_empty() || self.base.password().is_some()) {
            return Err(Error::unusable(
                format!(
                    "{} has a name or password in it, and there is a token too: a request carries one of them",
                    self.shown
                ),
                "take the name out of the URL, or leave out the token",
            ));
        }
        Ok(Self { token, ..self })
    }

    /// Where it asks, without a password.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// `GET`, read as JSON.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.answer(self.send(Method::GET, path, None).await?).await
    }

    /// The same, with the relay's time when it answered.
    async fn get_with_time<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Moment), Error> {
        let response = self.send(Method::GET, path, None).await?;
        let now = time_of(&response);
        Ok((self.answer(response).await?, now))
    }

    /// A part of a list.
    async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<Page<T>, Error> {
        let response = self.send(Method::GET, path, None).await?;
        let now = time_of(&response);
        let next = response.headers().get("x-next-cursor").and_then(|next| next.to_str().ok()).map(str::to_owned);
        let came = self.json(response).await?;
        let items = serde_json::from_slice(&came.body).map_err(|error| self.not_read(&came, &error))?;
        Ok(Page { items, next, now })
    }

    /// `PUT` of bytes, read as JSON.
    async fn put<T: DeserializeOwned>(&self, path: &str, bytes: Vec<u8>) -> Result<T, Error> {
        let body = Sent { kind: "application/wasm", bytes, key: None };
        self.answer(self.send(Method::PUT, path, Some(body)).await?).await
    }

    /// `GET` of JSON that is a `T` and perhaps more, as its text.
    async fn get_text<T: DeserializeOwned>(&self, path: &str) -> Result<String, Error> {
        let response = self.send(Method::GET, path, None).await?;
        let came = self.json(response).await?;
        serde_json::from_slice::<T>(&came.body).map_err(|error| self.not_read(&came, &error))?;
        self.check_object(came.body.trim_ascii_start().starts_with(b"{"))?;
        String::from_utf8(came.body).map_err(|error| self.other(format!("no text: {error}")))
    }

    /// `GET` of bytes, where there are bytes; else of JSON.
    async fn get_bytes<T: DeserializeOwned>(&self, path: &str) -> Result<Given<T>, Error> {
        let request = self.request(Method::GET, path)?;
        let accept = "application/octet-stream, application/json;q=0.5";
        let response = self.checked(request.header(header::ACCEPT, accept), SILENCE).await?;
        let failed_parts = response.headers().get("p2pnet-failed-parts").and_then(|count| count.to_str().ok());
        let failed_parts = failed_parts.and_then(|count| count.parse().ok());
        let came = self.came(response).await?;
        if came.kind.as_deref() != Some("application/octet-stream") {
            return self.read(&came).map(Given::Json);
        }
        // Whatever a program puts out, a relay tells how many of its parts failed; nobody else does.
        let Some(failed_parts) = failed_parts else { return Err(self.other(came.told())) };
        Ok(Given::Bytes { bytes: came.body, failed_parts })
    }

    /// `POST` of JSON text, read as JSON.
    async fn post<T: DeserializeOwned>(&self, path: &str, body: String, key: Option<&str>) -> Result<T, Error> {
        let body = Sent { kind: "application/json", bytes: body.into_bytes(), key };
        self.answer(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// `DELETE`, read as JSON.
    async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.answer(self.send(Method::DELETE, path, None).await?).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Sent<'_>>) -> Result<Response, Error> {
        let mut request = self.request(method, path)?;
        if let Some(Sent { kind, bytes, key }) = body {
            request = request.header(header::CONTENT_TYPE, kind);
            let (bytes, is_smaller) = compressed(bytes);
            if is_smaller {
                request = request.header(header::CONTENT_ENCODING, "gzip");
            }
            request = request.body(bytes);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
        }
        // Questions that are held back until something happens are silent for so long.
        let held = if path.contains("?wait=") { HELD_BACK } else { Duration::ZERO };
        self.checked(request, SILENCE + held).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let url = self.base.join(path).map_err(|error| Error::unusable(format!("{path:?}: {error}"), ""))?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Sends, and takes any answer but a good one for a failure.
    async fn checked(&self, request: RequestBuilder, silence: Duration) -> Result<Response, Error> {
        let mut answer = std::pin::pin!(request.send());
        let answer = tokio::select! {
            answer = &mut answer => answer,
            () = sleep(silence) => {
                let most = ANSWER_TIMEOUT.as_secs() / 60;
                (self.tell)(&format!("{} has not answered yet; waiting up to {most} minutes", self.shown));
                answer.await
            }
        };
        let response = answer.map_err(|error| self.unsent(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.moved(&response));
        }
        if status.is_success() {
            return Ok(response);
        }
        let came = self.came(response).await?;
        if came.may_be_json()
            && let Ok(ErrorBody { error }) = serde_json::from_slice(&came.body)
        {
            return Err(Error::Refused(error));
        }
        Err(match status.as_u16() {
            401 | 407 | 511 => Error::Login { asked: self.asked(), what: came.told() },
            _ => self.no_api(came.told(), true),
        })
    }

    /// A redirection, with the URL to give instead where it can be told.
    fn moved(&self, response: &Response) -> Error {
        let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        let asked = response.url();
        let to = location.and_then(|to| asked.join(to).ok());
        // What was asked below our base is below the new one too, or it is another page.
        let rest = asked.path().strip_prefix(self.base.path()).unwrap_or_default();
        let new_base = to.as_ref().and_then(|to| {
            let mut base = to.clone();
            base.set_path(to.path().trim_end_matches('/').strip_suffix(rest.trim_end_matches('/'))?);
            base.set_query(None);
            base.set_fragment(None);
            Some(without_password(base.as_str()))
        });
        Error::Moved {
            asked: self.asked(),
            to: to.map_or_else(|| "nowhere".to_owned(), |to| without_password(to.as_str())),
            new_base: new_base.filter(|base| *base != self.shown),
        }
    }

    /// An answer that was asked for as JSON.
    async fn answer<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        self.read(&self.json(response).await?)
    }

    /// An answer as it came, if it calls itself JSON.
    async fn json(&self, response: Response) -> Result<Came, Error> {
        let came = self.came(response).await?;
        if came.may_be_json() { Ok(came) } else { Err(self.other(came.told())) }
    }

    fn read<T: DeserializeOwned>(&self, came: &Came) -> Result<T, Error> {
        if !came.may_be_json() {
            return Err(self.other(came.told()));
        }
        // By way of a `Value`: numbers of any size inside flattened structures are only read from there.
        let value: serde_json::Value =
            serde_json::from_slice(&came.body).map_err(|error| self.not_read(came, &error))?;
        self.check_object(value.is_object())?;
        serde_json::from_value(value).map_err(|error| self.other_json(&error))
    }

    /// Every answer but a list is an object; a list would be taken for its fields in their order.
    fn check_object(&self, is_object: bool) -> Result<(), Error> {
        if is_object { Ok(()) } else { Err(self.other_json(&serde_json::Error::custom("it is no object"))) }
    }

    /// What was expected to be JSON of a certain shape, and is not.
    fn not_read(&self, came: &Came, error: &serde_json::Error) -> Error {
        match error.classify() {
            Category::Data => self.other_json(error),
            Category::Io | Category::Syntax | Category::Eof => self.other(came.told()),
        }
    }

    /// An answer in JSON that is none of a relay, or one of another version's.
    fn other_json(&self, error: &serde_json::Error) -> Error {
        self.other(format!("JSON of something else, or of another version ({error})"))
    }

    fn other(&self, what: String) -> Error {
        self.no_api(what, false)
    }

    fn no_api(&self, what: String, may_pass: bool) -> Error {
        Error::NoApi { asked: self.asked(), what, may_pass }
    }

    async fn came(&self, response: Response) -> Result<Came, Error> {
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| {
            let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
            kind.split(';').next().unwrap_or_default().trim().to_owned()
        });
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?.to_vec();
        Ok(Came { status, kind, body })
    }

    /// A request that brought no answer: because it could not even be written down, or because nobody answers.
    fn unsent(&self, error: &reqwest::Error) -> Error {
        if !error.is_builder() {
            return self.unreachable(error);
        }
        Error::unusable(
            format!("no request to {} can be made of this: {}", self.shown, chain(error)),
            "leave line ends and other invisible characters out of what is given",
        )
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mut cause = chain(error);
        let (secure, other) =
            (self.base.scheme() == "https", self.shown.split_once("://").map_or("", |(_, rest)| rest));
        if secure && cause.contains("corrupt message") {
            cause = format!("this port does not speak https (TLS); try http://{other}");
        } else if !secure && (cause.contains("HTTP version") || cause.contains("invalid HTTP")) {
            cause = format!("what answers there does not speak http ({cause}); try https://{other}");
        }
        if cause.to_lowercase().contains("proxy auth") {
            return Error::Login { asked: self.asked(), what: cause };
        }
        self.gone(cause)
    }

    fn gone(&self, cause: String) -> Error {
        Error::Unreachable { asked: self.asked(), cause }
    }

    fn asked(&self) -> Asked {
        Asked { url: self.shown.clone(), proxy: self.proxy.clone() }
    }
}

/// A URL, or what was meant as one, as it may be shown: without the name and password before its host.
pub fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password that was not encoded may hold any of these itself.
    let Some(at) = rest.get(..end).and_then(|host| host.rfind('@')).or_else(|| rest.rfind('@')) else {
        return url.to_owned();
    };
    let slashes = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{slashes}…@{}", rest.get(at + 1..).unwrap_or_default())
}

/// A body to send.
struct Sent<'a> {
    kind: &'static str,
    bytes: Vec<u8>,
    /// Its idempotency key.
    key: Option<&'a str>,
}

/// What is long in gzip, if that is shorter: a relay takes bodies of twice the size so, and base64 shrinks by a quarter.
fn compressed(bytes: Vec<u8>) -> (Vec<u8>, bool) {
    if bytes.len() < WORTH_COMPRESSING {
        return (bytes, false);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(3));
    match gzip.write_all(&bytes).and_then(|()| gzip.finish()) {
        Ok(shorter) if shorter.len() < bytes.len() => (shorter, true),
        Ok(_) | Err(_) => (bytes, false),
    }
}

/// The proxy for a URL by the rules of the HTTP client itself, without what it asks for as a password.
fn proxy_of(url: &Url) -> Option<String> {
    let uri = url.as_str().parse().ok()?;
    let proxy = Matcher::from_env().intercept(&uri)?;
    let (scheme, authority) = (proxy.uri().scheme_str()?, proxy.uri().authority()?.as_str());
    Some(format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or(authority)))
}

/// What to say where the environment names a proxy for this URL that is none, which the HTTP client passes over.
fn no_proxy_named(url: &Url) -> Option<String> {
    let names = if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let all = ["ALL_PROXY", "all_proxy"];
    let uri = url.as_str().parse().ok()?;
    let value = |name: &&str| {
        let value = std::env::var_os(name)?.to_string_lossy().into_owned();
        (!value.trim().is_empty()).then_some(value)
    };
    let (name, value) = names.iter().chain(&all).find_map(|name| Some((*name, value(name)?)))?;
    let is_proxy = Matcher::builder().all(value.as_str()).build().intercept(&uri).is_some();
    (!is_proxy).then(|| {
        let shown = without_password(&value);
        format!("warning: {name} is {shown:?}, which is no URL of a proxy: the relay is asked without one")
    })
}

/// The time at the relay; ours, where it does not say.
fn time_of(response: &Response) -> Moment {
    let date =
        response.headers().get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let millis = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_millis());
    millis
        .and_then(|millis| u64::try_from(millis).ok())
        .map_or_else(|| Moment(u64::try_from(ours()).unwrap_or(0)), Moment)
}

/// This machine's time, in milliseconds.
fn ours() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
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
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn install_crypto() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }

    #[test]
    fn urls_are_read_leniently_and_refused_clearly() {
        install_crypto();
        assert_eq!(Client::new("localhost:8080").ok().unwrap().url(), "http://localhost:8080/");
        assert_eq!(Client::new("::1").ok().unwrap().url(), "http://[::1]/");
        assert_eq!(Client::new("[::1]:8080").ok().unwrap().url(), "http://[::1]:8080/");
        assert_eq!(Client::new("https://a.example/p2p").ok().unwrap().url(), "https://a.example/p2p/");
        assert!(Client::new("ftp://a").is_err() && Client::new("http://").is_err());
        for url in ["http://a/?x=1", "http://a/#part"] {
            assert!(Client::new(url).err().unwrap().to_string().contains("no ? and no #"), "{url}");
        }
    }

    #[test]
    fn passwords_in_urls_are_not_shown_and_tokens_do_not_stand_beside_them() {
        install_crypto();
        for (url, shown) in [
            ("http://me:secret@a.example:8080/p2p", "http://…@a.example:8080/p2p"),
            ("me:secret@a.example", "…@a.example"),
            ("ftp://me:sec/ret@a.example", "ftp://…@a.example"),
            ("http://a.example/@b", "http://…@b"),
            ("http://a.example/", "http://a.example/"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let client = Client::new("http://me:secret@a.example").ok().unwrap();
        assert_eq!(client.url(), "http://…@a.example/");
        let failure = client.clone().with_token(Some("0123456789abcdef".into())).err().unwrap().to_string();
        assert!(failure.contains("a request carries one of them") && !failure.contains("secret"), "{failure}");
        assert!(client.with_token(None).is_ok());
        let failure = Client::new("ftp://me:secret@a.example").err().unwrap().to_string();
        assert!(!failure.contains("secret"), "{failure}");
    }
}
