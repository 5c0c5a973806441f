//! Compressed bodies: what clients send in gzip is unfolded within a bound, what they ask for is sent in gzip or brotli.

use std::io::Read as _;

use axum::{
    body::Bytes,
    extract::Request,
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header},
};
use flate2::{bufread::GzDecoder, read::MultiGzDecoder};
use p2pnet_shared::refusal::{Code, Refusal};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, Predicate as _, SizeAbove},
    },
};

use super::{compressing::AsItIs, preference::wishes};

/// A shorter answer, in bytes, is not worth the work.
pub const LEAST_BYTES: u64 = 1_024;

/// A gzip of at most so many bytes is small: 64 KiB of blocks with a code of their own, each as good as empty, take longer than
/// some MiB of a usual one, since each code is built anew.
const SMALL_GZIP_BYTES: usize = 4 << 10;
/// Members of a gzip that is small: each takes as long as some KiB to begin with, even where it is empty.
const MEMBERS_OF_SMALL: usize = 4;

type Worthwhile = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Compresses answers as they are sent, for those who ask, while there are encoders.
pub fn answers() -> CompressionLayer<And<SizeAbove, Worthwhile>> {
    let worthwhile: Worthwhile = |_, _, headers, marks| shrinks(headers) && marks.get::<AsItIs>().is_none();
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(LEAST_BYTES).and(worthwhile))
}

/// Settles, before anything is done, in which form the answer goes out; what lies further in reads one word. Whoever says
/// that no form will do gets the answer as it is (RFC 9110, 12.5.3): by then a job has been taken.
pub fn settle(request: &mut Request) {
    let chosen = chosen(request.headers());
    let headers = request.headers_mut();
    headers.remove(header::ACCEPT_ENCODING);
    if let Some(coding) = chosen {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
    }
}

/// The coding that the asker likes best of those that are made here; `None`: none of them, or less than none at all.
fn chosen(headers: &HeaderMap) -> Option<&'static str> {
    let wishes = wishes(headers, &header::ACCEPT_ENCODING);
    let weight =
        |names: &[&str]| wishes.iter().filter(|wish| names.contains(&wish.name.as_str())).map(|wish| wish.weight).max();
    let brotli = weight(&["br"]).unwrap_or(0);
    // Whoever takes anything knows the older one.
    let gzip = weight(&["gzip", "x-gzip"]).or(weight(&["*"])).unwrap_or(0);
    let (coding, most) = if brotli >= gzip { ("br", brotli) } else { ("gzip", gzip) };
    (most > 0 && most >= weight(&["identity"]).unwrap_or(0)).then_some(coding)
}

/// Whether an answer's kind shrinks. Events do not wait for a compressor.
pub fn shrinks(headers: &HeaderMap) -> bool {
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

    /// The body as it was before it was encoded, if that is at most `most` bytes, and a gzip short and of few members; `None` if
    /// it is more, or broken. How long that takes is bounded by all three.
    pub fn unfold_small(self, body: &Bytes, most: usize) -> Option<Bytes> {
        match self {
            Self::Plain => (body.len() <= most).then(|| body.clone()),
            Self::Gzip if body.len() > most.min(SMALL_GZIP_BYTES) => None,
            Self::Gzip => {
                let (mut plain, mut rest) = (Vec::new(), &**body);
                for _ in 0..MEMBERS_OF_SMALL {
                    let left = most.saturating_sub(plain.len()) as u64 + 1;
                    GzDecoder::new(&mut rest).take(left).read_to_end(&mut plain).ok()?;
                    if plain.len() > most {
                        return None;
                    }
                    if rest.is_empty() {
                        return Some(plain.into());
                    }
                }
                None
            }
        }
    }

    /// What a body may unfold to, where that may be `most`.
    pub fn weight(self, body: &Bytes, most: usize) -> usize {
        match self {
            Self::Plain => body.len(),
            Self::Gzip => most,
        }
    }

    /// The body as it was before it was encoded, of at most `most` bytes. Takes processor time: not for a thread that
    /// others wait for. `hint` says what to do where it is more.
    pub fn unfold(self, body: Bytes, most: usize, hint: &str) -> Result<Bytes, Refusal> {
        match self {
            Self::Plain => Ok(body),
            Self::Gzip => {
                let mut plain = Vec::with_capacity(said_length(&body).min(most));
                MultiGzDecoder::new(&*body).take(most as u64 + 1).read_to_end(&mut plain).map_err(broken)?;
                if plain.len() > most {
                    let message = format!("the body unfolds to more than {} MiB", most >> 20);
                    return Err(Refusal::new(Code::TooLarge, message, hint));
                }
                Ok(plain.into())
            }
        }
    }
}

/// What a gzip says at its end that it unfolds to. Anybody may have written it.
fn said_length(body: &[u8]) -> usize {
    body.last_chunk::<4>().map_or(0, |last| u32::from_le_bytes(*last) as usize)
}

fn broken(error: std::io::Error) -> Refusal {
    let hint = "send it again, or without Content-Encoding";
    Refusal::new(Code::InvalidJson, format!("the body is no whole gzip: {error}"), hint)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
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
    fn the_form_of_an_answer_is_what_the_asker_likes_best_and_never_a_refusal() {
        for (accepted, coding) in [
            ("gzip, deflate, br", Some("br")),
            ("GZIP;q=1.0, br;q=0.5", Some("gzip")),
            ("br; q=0, x-gzip", Some("gzip")),
            ("*", Some("gzip")),
            ("*;q=0", None),
            ("identity;q=0", None),
            ("identity;q=0, *;q=0", None),
            ("identity, gzip;q=0.5", None),
            ("zstd, deflate", None),
            ("gzip;q=0", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(chosen(&headers), coding, "{accepted}");
        }
        assert_eq!(chosen(&HeaderMap::new()), None);
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
        let unfold = |body, most| Encoding::Gzip.unfold(body, most, "split it");
        assert_eq!(unfold(gzip(&text), text.len()).unwrap(), text);
        assert_eq!(unfold(gzip(&text), text.len() - 1).unwrap_err().code, Code::TooLarge);
        let small = |body: &Bytes, most| Encoding::Gzip.unfold_small(body, most);
        assert_eq!(small(&gzip(&text), text.len()).unwrap(), text);
        assert_eq!(small(&gzip(&text), text.len() - 1), None);
        assert_eq!((small(&gzip(&text).slice(..40), 1 << 20), small(&Bytes::from_static(b"{}"), 9)), (None, None));
        assert_eq!(Encoding::Plain.unfold_small(&Bytes::from_static(b"{}"), 2).unwrap(), "{}");
        // Whatever the end says.
        let mut lies = gzip(&text).to_vec();
        lies.truncate(lies.len() - 4);
        for said in [0, 3, u32::MAX] {
            let body = Bytes::from([lies.clone(), said.to_le_bytes().to_vec()].concat());
            assert!(unfold(body, 1 << 20).is_err(), "{said}");
        }
        let two = Bytes::from([gzip(b"{}"), gzip(b" ")].concat());
        assert_eq!(small(&two, 1 << 10).unwrap(), "{} ");
        assert_eq!(unfold(two, 9).unwrap(), "{} ");
        // Thousands of members may unfold to nothing, and take their time: that of one which is large.
        let many = |empty: usize| Bytes::from([gzip(b"").repeat(empty), gzip(b"{}").to_vec()].concat());
        assert_eq!(small(&many(MEMBERS_OF_SMALL - 1), 1 << 10).unwrap(), "{}");
        assert_eq!(small(&many(MEMBERS_OF_SMALL), 1 << 20), None);
        assert_eq!(unfold(many(3_000), 9).unwrap(), "{}");
        // So may thousands of blocks.
        let stored = |bytes: usize| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(&vec![b' '; bytes]).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        assert!(small(&stored(SMALL_GZIP_BYTES - 64), 64 << 10).is_some());
        assert_eq!(small(&stored(SMALL_GZIP_BYTES), 64 << 10), None);
        for bad in [Bytes::from_static(b"{}"), gzip(&text).slice(..40), Bytes::new()] {
            assert_eq!(unfold(bad, 1 << 20).unwrap_err().code, Code::InvalidJson);
        }
    }
}
