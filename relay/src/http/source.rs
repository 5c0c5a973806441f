//! Whom a connection or a request counts for: shares are by address, and behind proxies the address is what they say.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// A share's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// An IPv4 address or an IPv6 /64: what a household or a machine gets.
    pub address: IpAddr,
    /// The IPv4 /24 or IPv6 /48 around it: what one who rents addresses gets cheaply. This machine's own addresses
    /// stand for themselves.
    pub network: IpAddr,
}

impl Source {
    /// The source that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address == IpAddr::V6(Ipv6Addr::LOCALHOST) => Self::of(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V4(v4) if v4.is_loopback() => Self { address: v4.into(), network: v4.into() },
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self { address: v4.into(), network: Ipv4Addr::new(a, b, c, 0).into() }
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                let address = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into();
                Self { address, network: Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into() }
            }
        }
    }

    /// Whether it is this machine itself.
    pub fn is_this_machine(self) -> bool {
        self.address.is_loopback()
    }
}

/// Of addresses, or of networks, the one that holds most; each may hold several things.
pub fn heaviest(held: impl Iterator<Item = (IpAddr, usize)>) -> Option<IpAddr> {
    let mut weights: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (who, weight) in held {
        *weights.entry(who).or_default() += weight;
    }
    weights.into_iter().max_by_key(|(_, weight)| *weight).map(|(who, _)| who)
}

/// The proxies that are believed when they say for whom they ask.
#[derive(Clone, Debug, Default)]
pub struct Trust(Vec<IpNet>);

impl Trust {
    /// Reads addresses and networks (`10.0.0.0/8`); `none` trusts nobody. An error names the text that is neither.
    pub fn read(texts: &[String]) -> Result<Self, String> {
        let mut networks = Vec::new();
        for text in texts.iter().filter(|text| *text != "none") {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            networks.push(network.map_err(|_| text.clone())?);
        }
        Ok(Self(networks))
    }

    /// Whether `address` is one of them.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address that asks: the peer, or, while that is a proxy which is believed, whom it asks for.
    ///
    /// `X-Forwarded-For` and `Forwarded` are walked from the right, where the nearest proxy wrote, through proxies that
    /// are believed: what stands further left may be anybody's invention. When both headers are there and name
    /// different clients, one of them came through from the client itself, and nobody can tell which: then it is the
    /// proxy that asks.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if !self.holds(peer) {
            return peer;
        }
        let named = self.walk(peer, forwarded_for(headers));
        let standard = self.walk(peer, forwarded(headers, "for"));
        match (named, standard) {
            (None, None) => peer,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) if one == other => one,
            (Some(_), Some(_)) => peer,
        }
    }

    /// `None` without any entry.
    fn walk(&self, peer: IpAddr, entries: Vec<String>) -> Option<IpAddr> {
        let mut client = None;
        for entry in entries.iter().rev() {
            let Some(address) = read_address(entry) else { return Some(client.unwrap_or(peer)) };
            client = Some(address);
            if !self.holds(address) {
                break;
            }
        }
        client
    }
}

/// The scheme that the client itself used: `X-Forwarded-Proto`, then `Forwarded`, each from its first entry, which is
/// what the outermost proxy saw. Taken from anybody, because it changes nothing but what the asker is told, and no web
/// page can set it on a request to another site.
pub fn is_https(headers: &HeaderMap) -> bool {
    let named = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    let named = named.and_then(|text| text.split(',').next()).map(|text| text.trim().to_owned());
    let scheme = named.or_else(|| forwarded(headers, "proto").into_iter().next());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The host that the client itself asked for, where a proxy says so; else the `Host` header. Taken from anybody, as
/// [`is_https`] is.
pub fn asked_host(headers: &HeaderMap) -> Option<String> {
    let first = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    first("x-forwarded-host")
        .or_else(|| forwarded(headers, "host").into_iter().next())
        .or_else(|| first(header::HOST.as_str()))
}

fn forwarded_for(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
}

/// The values of one parameter of `Forwarded` (RFC 7239), nearest proxy last.
fn forwarded(headers: &HeaderMap, wanted: &str) -> Vec<String> {
    let mut values = Vec::new();
    for text in headers.get_all(header::FORWARDED).iter().filter_map(|value| value.to_str().ok()) {
        for element in split_quoted(text, ',') {
            for pair in split_quoted(element, ';') {
                if let Some((name, value)) = pair.split_once('=')
                    && name.trim().eq_ignore_ascii_case(wanted)
                {
                    values.push(value.trim().trim_matches('"').to_owned());
                }
            }
        }
    }
    values
}

/// Splits outside of double quotes.
fn split_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        character == separator && !quoted
    })
}

/// `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`.
fn read_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bare).map(|address| address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn client(trusted: &[&str], peer: &str, pairs: &[(&'static str, &'static str)]) -> String {
        let texts: Vec<String> = trusted.iter().map(|text| (*text).to_owned()).collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        Trust::read(&texts).unwrap().client(peer, &headers(pairs)).to_string()
    }

    const LOCAL: [&str; 2] = ["127.0.0.0/8", "::1/128"];

    #[test]
    fn addresses_have_shares_by_household_and_network() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("203.0.113.9").network.to_string(), "203.0.113.0");
        assert_eq!(of("::ffff:203.0.113.9"), of("203.0.113.9"));
        assert_eq!(of("2001:db8:1:2:3::1").address.to_string(), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2:3::1").network.to_string(), "2001:db8:1::");
        assert_eq!(of("::1"), of("127.0.0.1"));
        assert!(of("127.0.0.2").is_this_machine() && of("127.0.0.2").network != of("127.0.0.1").network);
    }

    #[test]
    fn only_proxies_that_are_trusted_are_believed() {
        assert_eq!(client(&LOCAL, "127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("x-forwarded-for", "6.6.6.6, 9.9.9.9")]), "9.9.9.9");
        assert_eq!(client(&LOCAL, "172.17.0.2", &[("x-forwarded-for", "9.9.9.9")]), "172.17.0.2");
        assert_eq!(client(&["none"], "127.0.0.1", &[("x-forwarded-for", "9.9.9.9")]), "127.0.0.1");
        let through = ["172.16.0.0/12", "10.1.2.3"];
        assert_eq!(
            client(&through, "172.17.0.2", &[("x-forwarded-for", "6.6.6.6, 9.9.9.9"), ("x-forwarded-for", "10.1.2.3")]),
            "9.9.9.9"
        );
        assert_eq!(
            client(&through, "172.17.0.2", &[("x-forwarded-for", "10.1.2.3")]),
            "10.1.2.3",
            "a proxy asks itself"
        );
    }

    #[test]
    fn the_standard_header_is_read_as_well_and_a_contradiction_counts_for_the_proxy() {
        let one = "for=6.6.6.6, for=\"[2001:db8::7]:4711\";proto=https";
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("forwarded", one)]), "2001:db8::7");
        assert_eq!(client(&LOCAL, "::1", &[("forwarded", "For=\"1.2.3.4:5\"")]), "1.2.3.4");
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("forwarded", "for=unknown")]), "127.0.0.1");
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "9.9.9.9")];
        assert_eq!(client(&LOCAL, "127.0.0.1", &both), "127.0.0.1");
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("forwarded", "for=\"a,b;c\", for=7.7.7.7")]), "7.7.7.7");
    }

    #[test]
    fn the_scheme_and_host_are_those_of_the_outermost_proxy() {
        assert!(is_https(&headers(&[("x-forwarded-proto", "https, http")])));
        assert!(!is_https(&headers(&[("x-forwarded-proto", "http, https")])));
        assert!(is_https(&headers(&[("forwarded", "for=1.2.3.4;Proto=HTTPS;host=r.example")])));
        assert!(!is_https(&HeaderMap::new()));
        assert_eq!(asked_host(&headers(&[("host", "a"), ("x-forwarded-host", "b, c")])).unwrap(), "b");
        assert_eq!(asked_host(&headers(&[("host", "a"), ("forwarded", "host=\"b:1\"")])).unwrap(), "b:1");
        assert_eq!(asked_host(&headers(&[("host", "a")])).unwrap(), "a");
    }

    #[test]
    fn networks_that_are_none_are_named() {
        assert_eq!(Trust::read(&["10.0.0.0/8".into(), "proxy".into()]).unwrap_err(), "proxy");
    }
}
