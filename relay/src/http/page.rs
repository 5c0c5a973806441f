//! The page: files that trunk built into `dist/`. The binary has them inside and hands them over as it starts, so that this
//! library, on which most else waits, need not be compiled anew for another page.

use std::{borrow::Cow, sync::OnceLock};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use p2pnet_shared::refusal::{Code, Refusal};
use rust_embed::EmbeddedFile;
use sha2::{Digest, Sha256};

use super::{
    address::{self, Base},
    answer::{Refused, short},
};

/// Where the page's files come from.
static FILES: OnceLock<Files> = OnceLock::new();

/// Gives a file of the page by its path below `dist/`; a `.br` file beside each file that compresses well.
pub type Files = fn(path: &str) -> Option<EmbeddedFile>;

/// Says where the page's files come from, once for the process. Without it, a relay has a page that says how to build one.
pub fn install(files: Files) {
    // An error means that it was said already.
    let _ = FILES.set(files);
}

fn stored(path: &str) -> Option<EmbeddedFile> {
    FILES.get().and_then(|files| files(path))
}

const INDEX: &str = "index.html";
/// Names that contain a hash of the content never change their content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_EVERY_TIME: &str = "no-cache";

/// Shown instead of the page by a binary that was built without it.
const PLACEHOLDER: &str = include_str!("no_page.html");

/// Any address that is no endpoint: a file of the page, or, for addresses of the page itself, its index.
pub async fn file(base: Base, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { INDEX } else { path };
    // A `.br` file is a form of another file, not one by itself.
    let found = if path.ends_with(".br") || path == INDEX { None } else { stored(path) };
    let last = path.rsplit('/').next().unwrap_or_default();
    // Before the method: what is not there cannot be asked with any.
    if found.is_none() && path != INDEX && (last.contains('.') || is_for_programs(uri.path())) {
        let text = format!("there is nothing at {}", short(uri.path()));
        let hint = format!("the page begins at {}/, the API at /api/v1/docs", base.as_str());
        return Refused(Refusal::new(Code::NotFound, text, hint)).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let text = format!("{} cannot be asked with {}", short(uri.path()), short(method.as_str()));
        return Refused(Refusal::new(Code::MethodNotAllowed, text, "files can only be read: GET or HEAD"))
            .into_response();
    }
    if let Some(file) = found {
        return send(path, file, &headers);
    }
    match stored(INDEX) {
        Some(file) => {
            let text = String::from_utf8_lossy(&file.data).into_owned();
            let (mut response, policy) = if base.as_str().is_empty() {
                (send(INDEX, file, &headers), policy(&text))
            } else {
                let index = below(&base, &text);
                let policy = policy(&index);
                (send_text(index, &headers), policy)
            };
            if let Ok(policy) = HeaderValue::from_str(&policy) {
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
        None => send_text(below(&base, PLACEHOLDER), &headers),
    }
}

/// Whether an address is meant for a program, however it is written: what asks there reads no page.
fn is_for_programs(path: &str) -> bool {
    let plain = address::unescape(path, |_| true).unwrap_or_else(|| path.to_owned()).to_ascii_lowercase();
    // Browsers resolve dots before they ask.
    address::is_endpoint(&format!("/{}", plain.trim_matches('/')))
        || plain.split('/').any(|part| matches!(part, "." | ".."))
}

/// The index for a page that stands below `base`: addresses of its files begin there, and its program finds it in the
/// `<base>` element.
fn below(base: &Base, index: &str) -> String {
    if base.as_str().is_empty() {
        return index.to_owned();
    }
    let mut text = String::with_capacity(index.len() + 1_024);
    let mut rest = index;
    // Trunk writes every address from the root on, in attributes and in the script that starts the program.
    while let Some(at) = rest.find("=\"/").into_iter().chain(rest.find(" '/")).min() {
        let (before, after) = rest.split_at(at + 2);
        text.push_str(before);
        if !after.starts_with("//") {
            text.push_str(base.as_str());
        }
        rest = after;
    }
    text.push_str(rest);
    let head = find_ignoring_case(&text, "<head>").map_or(0, |at| at + "<head>".len());
    text.insert_str(head, &format!("<base href=\"{}/\">", base.as_str()));
    text
}

/// The index as it is sent below a base path, or what stands in its place.
fn send_text(text: String, headers: &HeaderMap) -> Response {
    let tag = tag_of(&Sha256::digest(&text));
    let cached = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, ASK_EVERY_TIME)];
    if is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, Html(text)).into_response()
}

/// A weak tag: it names a content, which goes out in several encodings.
fn tag_of(hash: &[u8]) -> String {
    format!("W/\"{}\"", BASE64_STANDARD.encode(hash))
}

/// Whether the asker has what this tag names.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    known.flat_map(|tags| tags.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

/// A file's bytes, of which every answer has the same.
fn bytes_of(file: EmbeddedFile) -> Body {
    match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes).into(),
        Cow::Owned(bytes) => bytes.into(),
    }
}

fn send(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = tag_of(&file.metadata.sha256_hash());
    let caching = if is_hashed(path) { FOR_EVER } else { ASK_EVERY_TIME };
    let mut response = Response::builder()
        .header(header::ETAG, &tag)
        .header(header::CACHE_CONTROL, caching)
        .header(header::VARY, "accept-encoding");
    let body = if is_known(headers, &tag) {
        response = response.status(StatusCode::NOT_MODIFIED);
        Body::empty()
    } else {
        response = response.header(header::CONTENT_TYPE, content_type(path, &file));
        match stored(&format!("{path}.br")).filter(|_| takes_brotli(headers)) {
            Some(small) => {
                response = response.header(header::CONTENT_ENCODING, "br");
                bytes_of(small)
            }
            None => bytes_of(file),
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

/// What the asker takes has been settled in `compress.rs`.
fn takes_brotli(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT_ENCODING).is_some_and(|coding| coding == "br")
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
#[expect(clippy::unwrap_used)]
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
    fn below_a_base_path_every_address_of_the_index_begins_there() {
        let index = "<!doctype html><html lang=\"en\"><head>\n<link rel=\"icon\" href=\"data:x\" />\
            <link rel=\"preload\" href=\"/.well-known/p2pnet.json\"><link rel=\"stylesheet\" href=\"/a-1.css\"/>\
            <script type=\"module\">\nimport init, * as bindings from '/web-1.js';\n\
            const wasm = await init({ module_or_path: '/web-1_bg.wasm' });\n</script>\
            <link rel=\"modulepreload\" href=\"/web-1.js\"></head><body><a href=\"//elsewhere\">a / b</a></body></html>";
        let base: Base = "/p2pnet".parse().unwrap();
        let text = below(&base, index);
        assert!(text.contains("<head><base href=\"/p2pnet/\">"), "{text}");
        for part in [
            "\"/p2pnet/.well-known/p2pnet.json\"",
            "\"/p2pnet/a-1.css\"",
            "'/p2pnet/web-1.js'",
            "'/p2pnet/web-1_bg.wasm'",
            "\"//elsewhere\"",
            "data:x",
            "a / b",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(below(&Base::default(), index), index);
    }

    #[test]
    fn only_names_with_a_hash_are_kept_for_ever() {
        assert!(is_hashed("web-0123456789abcdef.js") && is_hashed("web-0123456789abcdef_bg.wasm"));
        assert!(!is_hashed("index.html") && !is_hashed("worker.js") && !is_hashed("deadbeefdeadbeef/a.js"));
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let tag = tag_of(b"content");
        let strong = tag.trim_start_matches("W/");
        let known =
            |text: &str| is_known(&HeaderMap::from_iter([(header::IF_NONE_MATCH, text.parse().unwrap())]), &tag);
        assert!(known(&tag) && known(strong) && known(&format!("\"other\" , {tag}")) && known(" * "));
        assert!(!known("\"other\"") && !known("") && !is_known(&HeaderMap::new(), &tag));
    }

    #[test]
    fn what_looks_like_the_api_is_no_page() {
        for path in [
            "/api",
            "/api/x",
            "/api%2Fv1%2Fjobs",
            "/API/v1/jobs",
            "/healthz/x",
            "/p2p/",
            "/%2Fapi%2Fv1",
            "/x/../api",
            "/%2e/x",
        ] {
            assert!(is_for_programs(path), "{path}");
        }
        for path in ["/", "/apiary", "/jobs", "/jobs/api", "/%ff"] {
            assert!(!is_for_programs(path), "{path}");
        }
    }
}
