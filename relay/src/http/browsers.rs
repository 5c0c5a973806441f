//! Web pages of others. A browser lets any page send requests to any address, this relay's included, and a name of the
//! page's own may point at this machine (DNS rebinding). So a request that bears the mark of a foreign page is refused,
//! and on addresses that only this machine or its network can reach, the relay answers only to names that are its own.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use p2pnet_shared::refusal::{Code, Refusal};
use tower_http::cors::{Any, CorsLayer};

use super::{
    App,
    answer::{Refused, short},
    forwarded::{asked_host, is_https},
    listener::ArrivedAt,
};

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// Whether pages of every origin may use the API.
    any: bool,
    /// Origins whose pages may, as browsers write them.
    origins: Vec<String>,
    /// Names of this relay.
    names: Vec<String>,
}

impl Pages {
    /// Reads `--allow-origin` and `--host-name`; an error says which text is neither and what to write.
    pub fn read(origins: &[String], names: &[String]) -> Result<Self, String> {
        let mut pages = Self::default();
        for text in origins {
            if text == "*" {
                pages.any = true;
                continue;
            }
            let origin = text.trim_end_matches('/').to_ascii_lowercase();
            let sound = HeaderValue::from_str(&origin).is_ok()
                && origin.split_once("://").is_some_and(|(scheme, host)| {
                    matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])
                });
            if !sound {
                return Err(format!(
                    "{text:?} is no origin: write https://name, with :port unless it is the usual one, or *"
                ));
            }
            pages.origins.push(origin);
        }
        for text in names {
            let name = text.trim_end_matches('.').to_ascii_lowercase();
            if name.is_empty() || name.contains(['/', ':', ' ', '*']) {
                return Err(format!("{text:?} is no host name: write relay.example.org, without scheme and port"));
            }
            pages.names.push(name);
        }
        Ok(pages)
    }

    /// Whether pages of `origin` may use the API.
    fn allows(&self, origin: &str) -> bool {
        self.any || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether a request that asks for `host` can be meant for this relay, rather than sent by a page that pointed its
    /// own name here: no page can do that with an address, nor with a name without a dot.
    fn answers_to(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        name.starts_with('[')
            || name.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || self.names.contains(&name)
    }

    /// Which answers pages of other origins may read: those allowed, on every answer, refusals included.
    pub fn cross_origin(&self) -> CorsLayer {
        let cors = CorsLayer::new()
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::CONTENT_ENCODING,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("prefer"),
            ])
            .expose_headers([
                header::LOCATION,
                header::RETRY_AFTER,
                header::LINK,
                header::ALLOW,
                header::CONTENT_DISPOSITION,
                header::DATE,
                header::WWW_AUTHENTICATE,
                super::list::NEXT_CURSOR,
                super::result::FAILED_PARTS,
                super::wait::PREFERENCE_APPLIED,
            ])
            .allow_private_network(self.any || !self.origins.is_empty());
        if self.any {
            return cors.allow_origin(Any);
        }
        cors.allow_origin(
            self.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect::<Vec<_>>(),
        )
    }
}

/// Refuses what a foreign page sends.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match refusal_of(&app, &request) {
        Some(refusal) => Refused(refusal).into_response(),
        None => next.run(request).await,
    }
}

/// Why a request is refused, if it is a foreign page's.
pub fn refusal_of(app: &App, request: &Request) -> Option<Refusal> {
    let arrived_at = request.extensions().get::<ArrivedAt>().map(|at| at.0);
    refusal(&app.pages, arrived_at, request.method(), request.uri().path(), request.headers())
}

fn refusal(
    pages: &Pages,
    arrived_at: Option<IpAddr>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Option<Refusal> {
    let near = arrived_at.is_none_or(is_near);
    let is_socket = path == super::well_known::WEBSOCKET_PATH;
    let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or("null"));
    // The document of addresses and the state of health are for finding a relay under any name, and tell nothing that
    // its visitors may not know. A WebSocket without an origin is a native node's: browsers always send one.
    let open = matches!(path, "/.well-known/p2pnet.json" | "/healthz") || (is_socket && origin.is_none());
    if near && !open {
        for host in headers.get_all(header::HOST) {
            let host = host.to_str().unwrap_or_default();
            if !pages.answers_to(host) {
                return Some(Refusal::new(
                    Code::UnknownHost,
                    format!("this relay does not know itself by the name {}", short(without_port(host))),
                    "if it is this relay's name, tell it so: --host-name NAME (or --external-address NAME); addresses, \
                     localhost and names without a dot always work",
                ));
            }
        }
    }
    // A node in a foreign page does no harm at a relay that everybody can reach: the page's owner could run it anywhere.
    // One that only this machine or its network reaches would be opened to strangers by any page that is visited there.
    let guarded = path == "/api" || path.starts_with("/api/") || (is_socket && near);
    if !guarded {
        return None;
    }
    let foreign = match origin {
        Some(origin) => !pages.allows(origin) && !is_own(origin, headers),
        None => is_cross_site(headers) && !pages.any && !is_visit(method, path, headers),
    };
    foreign.then(|| {
        let who = match origin {
            Some(origin) => format!("the web page at {}", short(origin)),
            None => "a web page of another site".to_owned(),
        };
        Refusal::new(
            Code::ForeignOrigin,
            format!("{who} may not use this relay"),
            "the relay's operator can allow it: --allow-origin ORIGIN; behind a proxy pass Host, with its port, and \
             X-Forwarded-Proto on",
        )
    })
}

/// Whether `origin` is the relay's own, as the client sees it.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let scheme = if is_https(headers) { "https" } else { "http" };
    let Some(authority) = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else { return false };
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    host.into_iter().chain(asked_host(headers)).any(|host| plain(&host) == plain(authority))
}

/// A browser's own word for where a request comes from.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"cross-site"))
}

/// Somebody follows a link to the manual: the page with the link learns nothing.
fn is_visit(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    *method == Method::GET
        && path == "/api/v1/docs"
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

/// What a body may be.
pub struct Kind {
    /// In a message.
    what: &'static str,
    /// Whether a type, in small letters, is one of it.
    takes: fn(&str) -> bool,
    /// What it should be called.
    name: &'static str,
    /// Whether it is text.
    is_text: bool,
}

/// A job.
pub const A_JOB: Kind = Kind {
    what: "a job is JSON",
    takes: |kind| kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")),
    name: "application/json",
    is_text: true,
};

/// A kernel or a program.
pub const A_MODULE: Kind = Kind {
    what: "a module is WebAssembly",
    takes: |kind| matches!(kind, "application/wasm" | "application/octet-stream"),
    name: "application/wasm",
    is_text: false,
};

/// Whether a body may be what is asked for. These types need a preflight in browsers, which a foreign page does not pass.
/// curl and others call everything a form unless told otherwise: that is taken from whoever is no browser.
pub fn check_content_type(headers: &HeaderMap, wanted: &Kind) -> Result<(), Refusal> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    let mut parameters = lower.split(';').map(str::trim);
    let kind = parameters.next().unwrap_or_default();
    // JSON knows no other (RFC 8259, 8.1), and what is said to be something else would be read as what it is not.
    let is_utf_8 = |name: &str| matches!(name.trim_matches('"'), "utf-8" | "utf8" | "us-ascii");
    let charset = parameters.find_map(|parameter| parameter.strip_prefix("charset="));
    if let Some(name) = charset.filter(|name| wanted.is_text && !is_utf_8(name)) {
        let message = format!("{} in UTF-8, but the charset is {}", wanted.what, short(name));
        let hint = format!("send it in UTF-8, with the header Content-Type: {}", wanted.name);
        return Err(Refusal::new(Code::UnsupportedContentType, message, hint));
    }
    let browser = [header::ORIGIN, header::REFERER, HeaderName::from_static("sec-fetch-site")];
    let is_curl = kind == "application/x-www-form-urlencoded" && !browser.iter().any(|name| headers.contains_key(name));
    if (wanted.takes)(kind) || is_curl {
        return Ok(());
    }
    Err(Refusal::new(
        Code::UnsupportedContentType,
        format!("{}, but the content type is {}", wanted.what, short(text)),
        format!("send it with the header Content-Type: {}", wanted.name),
    ))
}

/// Whether an address is reached from this machine or its own network only.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// `[::1]:80` as `[::1]`, `a:80` as `a`.
fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn ask(pages: &Pages, at: &str, path: &str, pairs: &[(&'static str, &'static str)]) -> Option<Code> {
        let method = if path.contains("docs") { Method::GET } else { Method::POST };
        refusal(pages, Some(at.parse().unwrap()), &method, path, &headers(pairs)).map(|refusal| refusal.code)
    }

    fn pages(origins: &[&str], names: &[&str]) -> Pages {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Pages::read(&owned(origins), &owned(names)).unwrap()
    }

    #[test]
    fn near_addresses_answer_to_their_own_names_only() {
        let pages = pages(&[], &["Relay.Example."]);
        for host in
            ["a", "localhost:8080", "x.localhost", "127.0.0.1:1", "[::1]:9100", "relay.example:443", "localhost."]
        {
            assert!(pages.answers_to(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"] {
            assert!(!pages.answers_to(host), "{host}");
        }
        let evil = [("host", "evil.example")];
        for at in ["127.0.0.1", "::1", "192.168.1.2", "10.0.0.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(ask(&pages, at, "/api/v1/jobs", &evil), Some(Code::UnknownHost), "{at}");
            assert_eq!(ask(&pages, at, "/.well-known/p2pnet.json", &evil), None);
            assert_eq!(ask(&pages, at, "/p2p", &evil), None, "a native node");
        }
        assert_eq!(ask(&pages, "203.0.113.1", "/api/v1/jobs", &evil), None, "nothing is gained there");
        assert_eq!(ask(&pages, "127.0.0.1", "/api/v1/jobs", &[]), None, "HTTP/1.0");
    }

    #[test]
    fn the_relays_own_page_and_those_allowed_use_the_api_and_no_others() {
        let pages = pages(&["https://friend.example/"], &["r.example"]);
        let own = [("host", "localhost:8080"), ("origin", "http://localhost:8080")];
        assert_eq!(ask(&pages, "127.0.0.1", "/api/v1/jobs", &own), None);
        let proxied = [("host", "r.example"), ("x-forwarded-proto", "https"), ("origin", "https://r.example")];
        assert_eq!(ask(&pages, "127.0.0.1", "/api/v1/jobs", &proxied), None);
        let port = [("host", "r.example:80"), ("origin", "http://r.example")];
        assert_eq!(ask(&pages, "127.0.0.1", "/api/v1/jobs", &port), None);
        let origin = ("origin", "https://r.example");
        let at_8443 = ("origin", "https://r.example:8443");
        for own in [
            // Some proxies call what a WebSocket came by `wss`, and its page's scheme is still https.
            &[("host", "r.example"), ("x-forwarded-proto", "wss"), origin][..],
            &[("host", "r.example"), ("forwarded", "for=1.2.3.4;proto=wss"), origin],
            &[("host", "r.example"), ("x-forwarded-proto", ""), ("forwarded", "for=1.2.3.4;proto=https"), origin],
            &[("host", "r.example"), ("x-forwarded-proto", "ws"), ("origin", "http://r.example")],
            &[("host", "r.example:8443"), ("x-forwarded-proto", "https"), at_8443],
            &[("host", "r.example"), ("x-forwarded-port", "8443"), ("x-forwarded-proto", "wss"), at_8443],
        ] {
            for path in ["/api/v1/jobs", "/p2p"] {
                assert_eq!(ask(&pages, "127.0.0.1", path, own), None, "{own:?}");
            }
        }
        let other_port = [("host", "r.example"), ("x-forwarded-proto", "https"), at_8443];
        assert_eq!(ask(&pages, "127.0.0.1", "/api/v1/jobs", &other_port), Some(Code::ForeignOrigin));
        for origin in ["http://localhost:3000", "https://localhost:8080", "null", "https://evil.example", "http://"] {
            let foreign = [("host", "localhost:8080"), ("origin", origin)];
            for path in ["/api/v1/jobs", "/api", "/p2p"] {
                assert_eq!(ask(&pages, "127.0.0.1", path, &foreign), Some(Code::ForeignOrigin), "{origin} {path}");
            }
            assert_eq!(ask(&pages, "203.0.113.1", "/p2p", &foreign), None, "a public relay is anybody's");
            assert_eq!(ask(&pages, "203.0.113.1", "/api/v1/jobs", &foreign), Some(Code::ForeignOrigin));
        }
        let friend = [("host", "localhost:8080"), ("origin", "https://friend.example")];
        assert_eq!(ask(&pages, "127.0.0.1", "/api/v1/jobs", &friend), None);
    }

    #[test]
    fn a_browser_that_hides_the_origin_says_at_least_that_it_is_foreign() {
        let silent = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
        assert_eq!(ask(&pages(&[], &[]), "127.0.0.1", "/api/v1/jobs", &silent), Some(Code::ForeignOrigin));
        assert_eq!(ask(&pages(&["*"], &[]), "127.0.0.1", "/api/v1/jobs", &silent), None);
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!(ask(&pages(&[], &[]), "127.0.0.1", "/api/v1/docs", &link), None);
        assert_eq!(ask(&pages(&[], &[]), "127.0.0.1", "/api/v1/jobs", &link), Some(Code::ForeignOrigin));
    }

    #[test]
    fn jobs_are_json_and_forms_only_of_what_is_no_browser() {
        let takes = |pairs: &[(&'static str, &'static str)]| check_content_type(&headers(pairs), &A_JOB).is_ok();
        let module = |kind| check_content_type(&headers(&[("content-type", kind)]), &A_MODULE);
        assert!(module("application/wasm").is_ok() && module("application/octet-stream").is_ok());
        assert!(
            module("application/x-www-form-urlencoded").is_ok() && check_content_type(&headers(&[]), &A_MODULE).is_ok()
        );
        for kind in ["application/json", "text/plain", "multipart/form-data"] {
            assert!(module(kind).unwrap_err().hint.contains("application/wasm"), "{kind}");
        }
        assert!(takes(&[]) && takes(&[("content-type", "application/json; charset=utf-8")]));
        assert!(takes(&[("content-type", "application/json;charset=\"UTF-8\"; version=1")]));
        assert!(!takes(&[("content-type", "application/json; charset=utf-16")]), "it would be read as what it is not");
        assert!(takes(&[("content-type", "application/problem+json")]));
        assert!(takes(&[("content-type", "application/x-www-form-urlencoded")]));
        for mark in ["origin", "referer", "sec-fetch-site"] {
            assert!(!takes(&[("content-type", "application/x-www-form-urlencoded"), (mark, "x")]), "{mark}");
        }
        for kind in ["text/plain", "multipart/form-data; boundary=x", "", "application/jsonx", "text/json"] {
            assert!(!takes(&[("content-type", kind)]), "{kind}");
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        for bad in ["example.org", "ftp://a", "https://", "https://a/b", "https://a b"] {
            assert!(Pages::read(&[bad.to_owned()], &[]).unwrap_err().contains(bad), "{bad}");
        }
        for bad in ["https://a", "a:80", "", "*.example"] {
            assert!(Pages::read(&[], &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
