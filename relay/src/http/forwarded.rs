//! What proxies say of a request that they pass on: for whom they ask, by which scheme and for which host it was asked.
//! `X-Forwarded-…` are everybody's habit, `Forwarded` is RFC 7239. A client may have written the same headers itself, and
//! a proxy may have passed those on: whoever reads them for rights believes nothing that is not certain.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Headers by which a proxy shows that it passed a request on, besides those that say for whom.
const MARKS: [HeaderName; 7] = [
    PROTO,
    HOST,
    PORT,
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
    header::VIA,
];

/// For whom proxies say that they ask, by one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hops {
    /// The header is not there.
    Absent,
    /// It is there, and names nobody: it is empty, or tells other things only.
    Silent,
    /// What each proxy saw, the nearest one's last; `None` where that is no address: hidden, unknown, not said, not
    /// readable.
    Named(Vec<Option<IpAddr>>),
}

impl Hops {
    /// Those of `X-Forwarded-For`. Bytes that are no text are a client's, and hide nothing that a proxy wrote behind them.
    pub fn by_habit(headers: &HeaderMap) -> Self {
        let Some(text) = joined(headers, &FOR) else { return Hops::Absent };
        let entries: Vec<&str> = text.split(',').map(str::trim).collect();
        if entries.iter().all(|entry| entry.is_empty()) {
            return Hops::Silent;
        }
        Hops::Named(entries.into_iter().map(read_address).collect())
    }

    /// Those of `Forwarded`.
    pub fn by_standard(headers: &HeaderMap) -> Self {
        let Some(text) = joined(headers, &header::FORWARDED) else { return Hops::Absent };
        // A quote that a client left open would swallow what the proxies wrote behind it, so one fault spoils all.
        let Some(elements) = elements(&text) else { return Hops::Named(vec![None]) };
        let named: Vec<Option<&str>> = elements.iter().map(|element| value_of(element, "for")).collect();
        if named.iter().all(Option::is_none) {
            return Hops::Silent;
        }
        Hops::Named(named.into_iter().map(|value| value.and_then(read_address)).collect())
    }
}

/// Whether any header shows that a proxy passed the request on.
pub fn is_passed_on(headers: &HeaderMap) -> bool {
    [FOR, header::FORWARDED].iter().chain(&MARKS).any(|name| headers.contains_key(name))
}

/// The scheme that the client itself used: `X-Forwarded-Proto`, then `Forwarded`, each from its first entry, which is
/// what the outermost proxy saw; some call that of a WebSocket `wss`. Taken from anybody, because it changes nothing but
/// what the asker is told, and no web page can set it on a request to another site.
pub fn is_https(headers: &HeaderMap) -> bool {
    let scheme = first(headers, &PROTO).or_else(|| first_in_standard(headers, "proto"));
    scheme.is_some_and(|scheme| ["https", "wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure)))
}

/// The host that the client itself asked for, where a proxy says so; else the `Host` header. Where that has no port,
/// `X-Forwarded-Port` adds it. Taken from anybody, as [`is_https`] is.
pub fn asked_host(headers: &HeaderMap) -> Option<String> {
    asked_hosts(headers).into_iter().next()
}

/// The same, and behind it what else may have been asked for: the host with its usual port, where `X-Forwarded-Port` has
/// added one, which may be that of a proxy within.
pub fn asked_hosts(headers: &HeaderMap) -> Vec<String> {
    let host = first(headers, &HOST).or_else(|| first_in_standard(headers, "host"));
    let Some(host) = host.or_else(|| first(headers, &header::HOST)) else { return Vec::new() };
    let behind_brackets = host.rsplit(']').next().unwrap_or_default();
    if behind_brackets.contains(':') {
        return vec![host];
    }
    // What a proxy within names is its own port, often: the usual one of the other scheme cannot be meant.
    let (usual, of_the_other) = if is_https(headers) { (443, 80) } else { (80, 443) };
    let port = first(headers, &PORT).and_then(|port| port.parse::<u16>().ok());
    match port.filter(|port| ![usual, of_the_other, 0].contains(port)) {
        Some(port) => vec![format!("{host}:{port}"), host],
        None => vec![host],
    }
}

/// All of a header as one list; `None` if it is not there.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let first = lines.next()?.into_owned();
    Some(lines.fold(first, |all, line| format!("{all},{line}")))
}

/// The first entry of a header that has something in it: an empty one counts as absent.
fn first(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = joined(headers, name)?;
    text.split(',').map(str::trim).find(|entry| !entry.is_empty()).map(str::to_owned)
}

fn first_in_standard(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let elements = elements(&joined(headers, &header::FORWARDED)?)?;
    elements.iter().find_map(|element| value_of(element, wanted)).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// What one proxy wrote: names in small letters and values.
type Element = Vec<(String, String)>;

fn value_of<'a>(element: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    element.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// The elements of `Forwarded`, the nearest proxy's last; `None` for what is not written as RFC 7239 has it.
fn elements(text: &str) -> Option<Vec<Element>> {
    let mut elements = vec![Element::new()];
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            elements.push(Element::new());
            rest = after.trim_start();
            continue;
        }
        if let Some(after) = rest.strip_prefix(';') {
            rest = after.trim_start();
            continue;
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let (value, after) = read_value(after.trim_start())?;
        rest = after.trim_start();
        let element = elements.last_mut()?;
        let is_sound = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
            && value_of(element, &name).is_none()
            && (rest.is_empty() || rest.starts_with([',', ';']));
        if !is_sound {
            return None;
        }
        element.push((name, value));
    }
    Some(elements)
}

/// The value that a text begins with, and what stands behind it; `None` for a quote that nothing closes.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ';']).unwrap_or(text.len()));
        let value = value.trim_end();
        let is_sound = !value.is_empty() && !value.contains(|one: char| one == '"' || one.is_whitespace());
        return is_sound.then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`; the port may be hidden (`:_x`), and an address
/// of a link may have its zone (`fe80::1%eth0`), which says where it is met and not whose it is. None asks from the address
/// that stands for none.
fn read_address(text: &str) -> Option<IpAddr> {
    let text = text.split_once(":_").map_or(text, |(address, _)| address);
    let zoneless =
        text.split_once('%').filter(|(address, _)| address.matches(':').count() > 1).map(|(address, behind)| {
            let zone_ends = behind.find(']').unwrap_or(behind.len());
            format!("{address}{}", behind.get(zone_ends..).unwrap_or_default())
        });
    let text = zoneless.as_deref().unwrap_or(text);
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bare).map(|address| address.to_canonical()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, (*value).try_into().unwrap());
        }
        headers
    }

    fn standard(text: &'static str) -> Vec<Option<String>> {
        match Hops::by_standard(&headers(&[("forwarded", text.as_bytes())])) {
            Hops::Absent => panic!("{text} is there"),
            Hops::Silent => Vec::new(),
            Hops::Named(hops) => hops.into_iter().map(|hop| hop.map(|hop| hop.to_string())).collect(),
        }
    }

    fn known(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn the_standard_header_is_read_as_it_is_written() {
        assert_eq!(standard("for=6.6.6.6, For=\"[2001:db8::7]:4711\";proto=https"), known(&["6.6.6.6", "2001:db8::7"]));
        assert_eq!(standard("by=_p;FOR = \"1.2.3.4:5\" ; host=a"), known(&["1.2.3.4"]));
        assert_eq!(standard("for=\"1.2.3.4:_x\", for=\"[::ffff:7.7.7.7]\""), known(&["1.2.3.4", "7.7.7.7"]));
        assert_eq!(standard("for=8.8.8.8;x=\"a,b;c\\\"d\", for=7.7.7.7"), known(&["8.8.8.8", "7.7.7.7"]));
        for text in ["", " ", "proto=https", "proto=https;by=_p, host=a"] {
            assert_eq!(standard(text), Vec::new(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_or_not_said_is_a_hop_that_nobody_knows() {
        for text in ["for=unknown", "for=_hidden", "for=\"_hidden:80\"", "for=\"\"", "for=0.0.0.0", "for=9.9.9.999"] {
            assert_eq!(standard(text), vec![None], "{text}");
        }
        assert_eq!(standard("for=6.6.6.6, proto=https;by=_p"), vec![Some("6.6.6.6".into()), None]);
        assert_eq!(standard("for=6.6.6.6,"), vec![Some("6.6.6.6".into()), None]);
    }

    #[test]
    fn a_header_that_is_broken_anywhere_tells_nothing() {
        for text in [
            "for=6.6.6.6;x=\", for=9.9.9.9",
            "for=6.6.6.6;x=\", for=\"[2001:db8::7]\"",
            "for=6.6.6.6;x=\"\\, for=\"9.9.9.9\"",
            "for=injected;by=\", for=9.9.9.9",
            "for=6.6.6.6;for=9.9.9.9",
            "for=6.6.6.6 for=9.9.9.9",
            "for",
            "for=, for=9.9.9.9",
            "=9.9.9.9",
            "f\u{a0}or=9.9.9.9",
            "for=9.9.9.9\"",
        ] {
            assert_eq!(standard(text), vec![None], "{text}");
        }
        // Several lines are one list.
        let lines = headers(&[("forwarded", b"for=6.6.6.6;x=\""), ("forwarded", b"for=9.9.9.9")]);
        assert_eq!(Hops::by_standard(&lines), Hops::Named(vec![None]));
    }

    #[test]
    fn what_a_proxy_wrote_is_read_behind_whatever_a_client_wrote() {
        let habit = |value| Hops::by_habit(&headers(&[("x-forwarded-for", value)]));
        let nine = Some("9.9.9.9".parse().unwrap());
        assert_eq!(habit(b"\xff, 9.9.9.9"), Hops::Named(vec![None, nine]));
        assert_eq!(habit(b"unknown,9.9.9.9:80"), Hops::Named(vec![None, nine]));
        assert_eq!(habit(b"9.9.9.9,"), Hops::Named(vec![nine, None]));
        assert_eq!((habit(b""), habit(b" , ")), (Hops::Silent, Hops::Silent));
        for text in [&b"fe80::1%eth0"[..], b"[fe80::1%25en0]:5", b"[fe80::1%3]", b"fe80::1"] {
            assert_eq!(habit(text), Hops::Named(vec![Some("fe80::1".parse().unwrap())]), "{text:?}");
        }
        assert_eq!(habit(b"9.9.9.9%eth0"), Hops::Named(vec![None]));
        assert_eq!(Hops::by_habit(&HeaderMap::new()), Hops::Absent);
    }

    #[test]
    fn the_scheme_is_what_the_outermost_proxy_saw_of_pages_and_of_websockets() {
        for (pairs, secure) in [
            (&[("x-forwarded-proto", &b"https, http"[..])][..], true),
            (&[("x-forwarded-proto", b"wss")], true),
            (&[("x-forwarded-proto", b"WSS, ws")], true),
            (&[("x-forwarded-proto", b"http, https")], false),
            (&[("x-forwarded-proto", b"ws")], false),
            (&[("forwarded", b"for=1.2.3.4;Proto=HTTPS;host=r.example")], true),
            (&[("forwarded", b"proto=wss")], true),
            (&[("forwarded", b"proto=ws")], false),
            (&[("x-forwarded-proto", b""), ("forwarded", b"for=1.2.3.4;proto=https")], true),
            (&[("x-forwarded-proto", b" , "), ("forwarded", b"proto=wss")], true),
            (&[("x-forwarded-proto", b"http"), ("forwarded", b"proto=https")], false),
            (&[], false),
        ] {
            assert_eq!(is_https(&headers(pairs)), secure, "{pairs:?}");
        }
    }

    #[test]
    fn the_host_is_what_the_outermost_proxy_was_asked_with_its_port() {
        for (pairs, host) in [
            (&[("host", &b"a"[..]), ("x-forwarded-host", b"b, c")][..], "b"),
            (&[("host", b"a"), ("x-forwarded-host", b"")], "a"),
            (&[("host", b"a"), ("forwarded", b"host=\"b:1\"")], "b:1"),
            (&[("host", b"a")], "a"),
            (&[("host", b"a"), ("x-forwarded-port", b"8443")], "a:8443"),
            (&[("host", b"[::1]"), ("x-forwarded-port", b"8443")], "[::1]:8443"),
            (&[("host", b"a:9"), ("x-forwarded-port", b"8443")], "a:9"),
            (&[("host", b"[::1]:9"), ("x-forwarded-port", b"8443")], "[::1]:9"),
            (&[("host", b"a"), ("x-forwarded-port", b"443"), ("x-forwarded-proto", b"https")], "a"),
            // A proxy within, whose own port is 80, behind one that speaks TLS.
            (&[("host", b"a"), ("x-forwarded-port", b"80"), ("x-forwarded-proto", b"https")], "a"),
            (&[("host", b"a"), ("x-forwarded-port", b"x")], "a"),
            (&[("host", b"a"), ("x-forwarded-port", b"")], "a"),
        ] {
            assert_eq!(asked_host(&headers(pairs)).unwrap(), host, "{pairs:?}");
        }
        let both = headers(&[("host", b"a"), ("x-forwarded-port", b"8443")]);
        assert_eq!(asked_hosts(&both), ["a:8443", "a"]);
        assert_eq!(asked_hosts(&headers(&[("host", b"a:9"), ("x-forwarded-port", b"8443")])), ["a:9"]);
    }
}
