//! Whom a connection or a request counts for: shares are by address, and behind proxies the address is what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::{IpNet, Ipv4Net};
use p2pnet_net::shares::Groups;

use super::forwarded::{Hops, is_passed_on};

/// The addresses of nobodies begin so: no packet comes from there (RFC 6666).
const NOBODIES: [u16; 4] = [0x100, 0, 0, 0];

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
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Self::of(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V4(v4) if v4.is_loopback() => Self { address: v4.into(), network: v4.into() },
            IpAddr::V6(v6) if is_nobodys(v6) => Self { address: v6.into(), network: v6.into() },
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => {
                let groups = Groups::of(address);
                Self { address: groups.address().first(), network: groups.network().first() }
            }
        }
    }

    /// The groups that it counts for. This machine's own addresses and those of nobodies stand for themselves.
    pub fn groups(self) -> Groups {
        if self.is_this_machine() || self.is_nobody() { Groups::alone(self.address) } else { Groups::of(self.address) }
    }

    /// Whether it is this machine itself.
    pub fn is_this_machine(self) -> bool {
        self.address.is_loopback()
    }

    /// Whether nobody can tell who it is: see [`Trust::client`].
    pub fn is_nobody(self) -> bool {
        match self.address {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => is_nobodys(v6),
        }
    }
}

/// The address that stands for whoever asks through `peer` without being known: all of them together are one household,
/// apart from the peer's own and from everybody else's.
fn nobody(peer: IpAddr) -> IpAddr {
    let [a, b, c, d] = NOBODIES;
    let peer = if peer == IpAddr::V6(Ipv6Addr::LOCALHOST) { Ipv4Addr::LOCALHOST.into() } else { peer };
    let [e, f, g, h] = match peer {
        IpAddr::V4(v4) => {
            let [e, f, g, h] = v4.octets();
            [0, 0, u16::from_be_bytes([e, f]), u16::from_be_bytes([g, h])]
        }
        IpAddr::V6(v6) => {
            let [e, f, g, h, ..] = v6.segments();
            [e, f, g, h]
        }
    };
    Ipv6Addr::new(a, b, c, d, e, f, g, h).into()
}

fn is_nobodys(address: Ipv6Addr) -> bool {
    address.segments().starts_with(&NOBODIES)
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
            networks.push(in_its_own_family(network.map_err(|_| text.clone())?));
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
    /// are believed: what stands further left may be anybody's invention. Where the walk comes upon what is no address, or
    /// upon a proxy that does not say for whom it asks, or the two headers name different clients (one of them came
    /// through from the client itself, and nobody can tell which), or headers show that a proxy passed the request on
    /// but none says for whom, then nobody asks, which is never this machine: a nobody has the share of a stranger, lists
    /// nothing, and stops nothing without its token. So it is, too, when what passed the request on is on this machine
    /// and not believed.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if !self.holds(peer) {
            return if peer.is_loopback() && is_passed_on(headers) { nobody(peer) } else { peer };
        }
        let habit = self.walk(peer, Hops::by_habit(headers));
        let standard = self.walk(peer, Hops::by_standard(headers));
        let known = match (habit, standard) {
            (Told::Nothing, Told::Nothing) => Some(peer).filter(|_| !is_passed_on(headers)),
            (Told::Client(one), Told::Client(other)) => Some(one).filter(|one| *one == other),
            (Told::Client(one), Told::Nothing) | (Told::Nothing, Told::Client(one)) => Some(one),
            // The other header is a proxy's word as well, which this client may have come with.
            (Told::Client(one), Told::NotWho) | (Told::NotWho, Told::Client(one)) => {
                Some(one).filter(|one| !one.is_loopback() && *one != peer)
            }
            (Told::Nothing | Told::NotWho, Told::NotWho)
            | (Told::NotWho, Told::Nothing)
            | (Told::Unclear, Told::Nothing | Told::NotWho | Told::Client(_) | Told::Unclear)
            | (Told::Nothing | Told::NotWho | Told::Client(_), Told::Unclear) => None,
        };
        known.unwrap_or_else(|| nobody(peer))
    }

    fn walk(&self, peer: IpAddr, hops: Hops) -> Told {
        let hops = match hops {
            Hops::Absent => return Told::Nothing,
            Hops::Silent => return Told::NotWho,
            Hops::Named(hops) => hops,
        };
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            let Some(address) = hop else { return Told::Unclear };
            // On another machine its own addresses mean that machine.
            client = if address.is_loopback() && !client.is_loopback() { client } else { address };
            if !self.holds(address) {
                break;
            }
        }
        Told::Client(client)
    }
}

/// What one header tells of the client.
enum Told {
    /// It is not there.
    Nothing,
    /// It is there, and says other things than who.
    NotWho,
    /// Who.
    Client(IpAddr),
    /// Something that names nobody.
    Unclear,
}

/// A network of IPv4 that is written as one of IPv6 (`::ffff:10.0.0.0/104`), as that of IPv4: addresses are compared so.
fn in_its_own_family(network: IpNet) -> IpNet {
    match network {
        IpNet::V4(_) => network,
        IpNet::V6(v6) => {
            let len = v6.prefix_len().checked_sub(96);
            let mapped = v6.addr().to_ipv4_mapped().zip(len).and_then(|(address, len)| Ipv4Net::new(address, len).ok());
            mapped.map_or(network, IpNet::V4)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
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
    /// Nobody, through a proxy on this machine.
    const NOBODY: &str = "100::7f00:1";

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
        assert_eq!(client(&["none"], "203.0.113.1", &[("x-forwarded-for", "9.9.9.9")]), "203.0.113.1");
        assert_eq!(client(&["none"], "127.0.0.1", &[]), "127.0.0.1");
        for trusted in ["none", "172.16.0.0/12"] {
            assert_eq!(client(&[trusted], "127.0.0.1", &[("x-forwarded-for", "127.0.0.1")]), NOBODY, "{trusted}");
        }
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
    fn both_headers_are_read_and_agree() {
        let one = "for=6.6.6.6, for=\"[2001:db8::7]:4711\";proto=https";
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("forwarded", one)]), "2001:db8::7");
        assert_eq!(client(&LOCAL, "::1", &[("forwarded", "For=\"1.2.3.4:5\"")]), "1.2.3.4");
        let both = [("forwarded", "for=9.9.9.9"), ("x-forwarded-for", "6.6.6.6, 9.9.9.9")];
        assert_eq!(client(&LOCAL, "127.0.0.1", &both), "9.9.9.9");
        for beside in [("forwarded", "proto=https"), ("forwarded", "")] {
            assert_eq!(client(&LOCAL, "127.0.0.1", &[beside, ("x-forwarded-for", "9.9.9.9")]), "9.9.9.9");
        }
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("x-forwarded-for", ""), ("forwarded", "for=9.9.9.9")]), "9.9.9.9");
        // Somebody on this machine, through the proxy on this machine.
        assert_eq!(client(&LOCAL, "127.0.0.1", &[("x-forwarded-for", "127.0.0.1")]), "127.0.0.1");
    }

    #[test]
    fn whoever_is_not_told_for_certain_is_nobody_and_never_this_machine() {
        let habit = "x-forwarded-for";
        for pairs in [
            // What the client wrote itself, passed on beside what the proxy wrote.
            &[("forwarded", "for=1.1.1.1"), (habit, "9.9.9.9")][..],
            &[("forwarded", "for=9.9.9.9"), (habit, "1.1.1.1")],
            &[("forwarded", "for=127.0.0.1"), (habit, "9.9.9.9")],
            &[("forwarded", "for=unknown"), (habit, "9.9.9.9")],
            &[("forwarded", "for=9.9.9.9"), (habit, "unknown")],
            &[("forwarded", "proto=https"), (habit, "127.0.0.1")],
            &[("forwarded", "for=127.0.0.1"), (habit, "")],
            // Hidden, unknown, unreadable, not said.
            &[("forwarded", "for=unknown")],
            &[("forwarded", "for=_hidden")],
            &[("forwarded", "for=6.6.6.6, for=\"_hidden:1\"")],
            &[("forwarded", "for=6.6.6.6, proto=https;by=_p")],
            &[("forwarded", "for=6.6.6.6, proto=https, for=127.0.0.1")],
            &[("forwarded", "for=6.6.6.6;x=\", for=9.9.9.9")],
            &[("forwarded", "for=6.6.6.6;x=\""), ("forwarded", "for=9.9.9.9")],
            &[("forwarded", "proto=https")],
            &[("forwarded", "")],
            &[(habit, "unknown")],
            &[(habit, "6.6.6.6, unknown, 127.0.0.1")],
            &[(habit, "6.6.6.6,")],
            &[(habit, "")],
            // Passed on, as other headers show, for nobody knows whom.
            &[("x-forwarded-proto", "https")],
            &[("x-real-ip", "9.9.9.9")],
            &[("via", "1.1 proxy")],
        ] {
            for peer in ["127.0.0.1", "::1"] {
                assert_eq!(client(&LOCAL, peer, pairs), NOBODY, "{pairs:?}");
            }
            assert_eq!(client(&["172.17.0.0/16", LOCAL[0]], "172.17.0.2", pairs), "100::ac11:2", "{pairs:?}");
        }
    }

    #[test]
    fn nobodies_are_a_household_of_their_own_at_each_proxy() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        let here = of(NOBODY);
        assert!(here.is_nobody() && !here.is_this_machine() && !of("127.0.0.1").is_nobody());
        let pairs = [("forwarded", "for=unknown")];
        let others =
            ["127.0.0.2", "2001:db8:1:2::3", "10.0.0.1"].map(|peer| client(&["::/0", "0.0.0.0/0"], peer, &pairs));
        for other in &others {
            let other = of(other);
            assert!(other.is_nobody() && other != here && other.network != here.network);
        }
        assert_eq!(of(&client(&["::/0"], "2001:db8:1:2::4", &pairs)), of(&others[1]), "of one /64");
    }

    #[test]
    fn a_machines_own_address_means_the_machine_that_names_it() {
        let trusted = ["127.0.0.0/8", "10.1.2.3"];
        for (peer, named, who) in [
            ("10.1.2.3", "127.0.0.1", "10.1.2.3"),
            ("10.1.2.3", "9.9.9.9, ::1", "10.1.2.3"),
            ("10.1.2.3", "9.9.9.9, 127.0.0.1", "9.9.9.9"),
            ("127.0.0.1", "127.0.0.1, 10.1.2.3", "10.1.2.3"),
            ("127.0.0.1", "9.9.9.9, 127.0.0.5", "9.9.9.9"),
        ] {
            assert_eq!(client(&trusted, peer, &[("x-forwarded-for", named)]), who, "{peer} {named}");
        }
    }

    #[test]
    fn networks_of_ipv4_may_be_written_as_those_of_ipv6() {
        let named = [("x-forwarded-for", "9.9.9.9")];
        for (trusted, peer) in [
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3"),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3"),
            ("::ffff:0:0/96", "172.17.0.2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ] {
            assert_eq!(client(&[trusted], peer, &named), "9.9.9.9", "{trusted}");
        }
        assert_eq!(client(&["::ffff:10.0.0.0/104"], "11.1.2.3", &named), "11.1.2.3");
    }

    #[test]
    fn networks_that_are_none_are_named() {
        assert_eq!(Trust::read(&["10.0.0.0/8".into(), "proxy".into()]).unwrap_err(), "proxy");
    }
}
