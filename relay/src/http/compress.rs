//! Compressed bodies: what clients send in gzip is unfolded within a bound, what they ask for is sent in gzip or brotli.

use std::io::Read as _;

use axum::{
    body::Bytes,
    http::{Extensions, HeaderMap, StatusCode, Version, header},
};
use flate2::read::MultiGzDecoder;
use p2pnet_shared::refusal::{Code, Refusal};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, Predicate as _, SizeAbove},
    },
};

/// A shorter answer is not worth the work.
const LEAST_BYTES: u64 = 1_024;

type Worthwhile = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Compresses answers as they are sent, for those who ask.
pub fn answers() -> CompressionLayer<And<SizeAbove, Worthwhile>> {
    let worthwhile: Worthwhile = |_, _, headers, _| shrinks(headers);
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(LEAST_BYTES).and(worthwhile))
}

/// Whether an answer's kind shrinks. Events do not wait for a compressor.
fn shrinks(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind != "text/event-stream"
        && (kind.starts_with("text/")
            || kind.ends_with("json")
            || kind.ends_with("javascript")
            || kind.ends_with("+xml")
            || matches!(kind, "application/wasm" | "application/octet-stream" | "application/openmetrics-text"))
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Plain,
    /// Content-Encoding: gzip.
    Gzip,
}

impl Encoding {
    /// What the headers of a request say.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut said = headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|value| {
            value.to_str().unwrap_or("?").split(',').map(|word| word.trim().to_ascii_lowercase()).collect::<Vec<_>>()
        });
        let found = match said.next().as_deref() {
            None | Some("" | "identity") => Some(Self::Plain),
            Some("gzip" | "x-gzip") => Some(Self::Gzip),
            Some(_) => None,
        };
        found.filter(|_| said.next().is_none()).ok_or_else(|| {
            let hint = "send the body as it is, or with Content-Encoding: gzip";
            Refusal::new(Code::UnsupportedEncoding, "this Content-Encoding is not taken", hint)
        })
    }

    /// The body as it was before it was encoded, of at most `most` bytes. Takes processor time: not for a thread that
    /// others wait for.
    pub fn unfold(self, body: Bytes, most: usize) -> Result<Bytes, Refusal> {
        match self {
            Self::Plain => Ok(body),
            Self::Gzip => {
                // First how long it is, keeping nothing: a bomb takes a moment, but no memory.
                let limit = most as u64 + 1;
                let mut counted = MultiGzDecoder::new(&*body).take(limit);
                let len = std::io::copy(&mut counted, &mut std::io::sink()).map_err(broken)?;
                if len == limit {
                    let message = format!("the body unfolds to more than {} MiB", most >> 20);
                    return Err(Refusal::new(Code::TooLarge, message, "split the data over several jobs"));
                }
                let mut plain = Vec::with_capacity(usize::try_from(len).unwrap_or(most));
                MultiGzDecoder::new(&*body).take(limit).read_to_end(&mut plain).map_err(broken)?;
                Ok(plain.into())
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn broken(error: std::io::Error) -> Refusal {
    let hint = "send it again, or without Content-Encoding";
    Refusal::new(Code::InvalidJson, format!("the body is no whole gzip: {error}"), hint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use axum::http::HeaderValue;
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn said(text: &'static str) -> Result<Encoding, Code> {
        Encoding::of(&HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(text))]))
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn only_gzip_is_taken_and_once() {
        assert_eq!(Encoding::of(&HeaderMap::new()), Ok(Encoding::Plain));
        assert_eq!((said("identity"), said("GZIP")), (Ok(Encoding::Plain), Ok(Encoding::Gzip)));
        for other in ["br", "deflate", "gzip, gzip", "zstd"] {
            assert_eq!(said(other), Err(Code::UnsupportedEncoding), "{other}");
        }
    }

    #[test]
    fn bodies_unfold_to_what_they_were_and_not_further_than_allowed() {
        let text = b"{\"kind\":\"map\"}".repeat(100);
        let unfold = |body, most| Encoding::Gzip.unfold(body, most);
        assert_eq!(unfold(gzip(&text), text.len()).unwrap(), text);
        assert_eq!(unfold(gzip(&text), text.len() - 1).unwrap_err().code, Code::TooLarge);
        let two = Bytes::from([gzip(b"{}"), gzip(b" ")].concat());
        assert_eq!(unfold(two, 9).unwrap(), "{} ");
        for bad in [Bytes::from_static(b"{}"), gzip(&text).slice(..40), Bytes::new()] {
            assert_eq!(unfold(bad, 1 << 20).unwrap_err().code, Code::InvalidJson);
        }
    }
}
