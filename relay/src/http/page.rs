//! The page: files that trunk built into `dist/`, embedded in the binary (a debug build reads the folder as it runs).

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use p2pnet_shared::refusal::{Code, Refusal};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

use super::answer::{Refused, short};

/// Trunk's output, with a `.br` file beside each file that compresses well.
#[derive(RustEmbed)]
#[folder = "../dist"]
#[allow_missing = true]
struct Dist;

const INDEX: &str = "index.html";
/// Names that contain a hash of the content never change their content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_EVERY_TIME: &str = "no-cache";

/// Shown instead of the page by a binary that was built without it.
const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>p2pnet relay</title>\
<h1>This relay runs, but was built without its page</h1>\
<p>Build page and relay together with <code>cargo xtask run</code>. The <a href=\"/api/v1/docs\">API</a> works.</p>";

/// Any address that is no endpoint: a file of the page, or, for addresses of the page itself, its index.
pub async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let text = format!("{} cannot be asked with {}", short(uri.path()), short(method.as_str()));
        return Refused(Refusal::new(Code::MethodNotAllowed, text, "files can only be read: GET or HEAD"))
            .into_response();
    }
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { INDEX } else { path };
    // A `.br` file is a form of another file, not one by itself.
    if !path.ends_with(".br")
        && path != INDEX
        && let Some(file) = Dist::get(path)
    {
        return send(path, &file, &headers);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if path != INDEX && (last.contains('.') || path.starts_with(".well-known/") || path.starts_with("api/")) {
        let text = format!("there is nothing at {}", short(uri.path()));
        return Refused(Refusal::new(Code::NotFound, text, "the page begins at /, the API at /api/v1/docs"))
            .into_response();
    }
    match Dist::get(INDEX) {
        Some(file) => {
            let mut response = send(INDEX, &file, &headers);
            let policy = policy(&String::from_utf8_lossy(&file.data));
            if let Ok(policy) = HeaderValue::from_str(&policy) {
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
        None => {
            let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, ASK_EVERY_TIME)];
            (StatusCode::OK, headers, PLACEHOLDER).into_response()
        }
    }
}

fn send(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", BASE64_STANDARD.encode(file.metadata.sha256_hash()));
    let caching = if is_hashed(path) { FOR_EVER } else { ASK_EVERY_TIME };
    let mut response = Response::builder()
        .header(header::ETAG, &tag)
        .header(header::CACHE_CONTROL, caching)
        .header(header::VARY, "accept-encoding");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let body = if known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)) {
        response = response.status(StatusCode::NOT_MODIFIED);
        Body::empty()
    } else {
        response = response.header(header::CONTENT_TYPE, content_type(path, file));
        match Dist::get(&format!("{path}.br")).filter(|_| takes_brotli(headers)) {
            Some(small) => {
                response = response.header(header::CONTENT_ENCODING, "br");
                Body::from(small.data.into_owned())
            }
            None => Body::from(file.data.clone().into_owned()),
        }
    };
    response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn content_type(path: &str, file: &EmbeddedFile) -> String {
    if path.ends_with(".wasm") {
        return "application/wasm".into();
    }
    let kind = file.metadata.mimetype();
    if kind.starts_with("text/") || kind.contains("json") { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}

fn takes_brotli(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("br") && !parts.any(|part| part.replace(' ', "") == "q=0")
        })
    })
}

/// Whether a name holds a hash, as trunk writes it: `web-0123456789abcdef.js`, `web-0123456789abcdef_bg.wasm`.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split(['-', '.', '_'])
        .skip(1)
        .any(|part| part.len() >= 12 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What the page may do: run its own code and wasm, its own workers, talk to relays; nothing else.
fn policy(index: &str) -> String {
    let mut scripts = String::from("'self' 'wasm-unsafe-eval'");
    for script in inline_scripts(index) {
        scripts.push_str(&format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))));
    }
    format!(
        "default-src 'self'; script-src {scripts}; worker-src 'self' blob:; connect-src 'self' ws: wss: data: blob:; \
         img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; object-src 'none'; \
         base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// The texts of all `<script>` elements without a `src`, exactly as they stand: their hashes are what a browser compares.
fn inline_scripts(html: &str) -> Vec<&str> {
    let mut scripts = Vec::new();
    let mut rest = html;
    while let Some(start) = find_ignoring_case(rest, "<script") {
        rest = &rest[start + "<script".len()..];
        let Some(open) = rest.find('>') else { break };
        let attributes = &rest[..open];
        rest = &rest[open + 1..];
        let Some(end) = find_ignoring_case(rest, "</script") else { break };
        let has_source =
            attributes.split_whitespace().any(|attribute| attribute.to_ascii_lowercase().starts_with("src"));
        if !has_source && end > 0 {
            scripts.push(&rest[..end]);
        }
        rest = &rest[end..];
    }
    scripts
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    text.as_bytes().windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_scripts_are_named_by_their_hash() {
        let html =
            "<head><script type=\"module\">alert(1)</script><SCRIPT src=\"a.js\"></SCRIPT><script>\nb </script></head>";
        assert_eq!(inline_scripts(html), ["alert(1)", "\nb "]);
        let policy = policy(html);
        // echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert!(policy.contains("'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"), "{policy}");
        assert_eq!(policy.matches("sha256-").count(), 2);
        assert!(inline_scripts("<script").is_empty() && inline_scripts("<script>never closed").is_empty());
    }

    #[test]
    fn only_names_with_a_hash_are_kept_for_ever() {
        assert!(is_hashed("web-0123456789abcdef.js") && is_hashed("web-0123456789abcdef_bg.wasm"));
        assert!(!is_hashed("index.html") && !is_hashed("worker.js") && !is_hashed("deadbeefdeadbeef/a.js"));
    }

    #[test]
    fn brotli_is_sent_to_those_who_take_it() {
        let headers =
            |text: &'static str| HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]);
        assert!(takes_brotli(&headers("gzip, deflate, br")));
        assert!(!takes_brotli(&headers("gzip")) && !takes_brotli(&headers("br; q=0")));
        assert!(!takes_brotli(&HeaderMap::new()));
    }
}
