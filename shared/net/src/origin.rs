//! Where a connection comes from, as far as its address tells. Names cost nothing, addresses do: a stranger has one or a
//! whole prefix of them, so what is bounded is bounded for both.

use std::net::IpAddr;

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::shares::{Group, Groups};

/// The network that an address belongs to: IPv4 by /24, IPv6 by /48.
pub(crate) type Prefix = Group;

/// An address, and what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The address; IPv4 inside IPv6 is IPv4.
    pub address: IpAddr,
    /// The IPv4 address or IPv6 /64: what one machine gets, which has as many of the latter's addresses as it likes.
    pub household: Group,
    /// The network around it.
    pub prefix: Prefix,
}

impl Origin {
    /// Where a multiaddress leads; `None` when it names no IP address, or leads through a circuit: then the address is
    /// the relay's.
    #[expect(clippy::wildcard_enum_match_arm, reason = "multiaddr may add protocols")]
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        let mut ip = None;
        for part in address {
            match part {
                Protocol::Ip4(found) if ip.is_none() => ip = Some(IpAddr::from(found)),
                Protocol::Ip6(found) if ip.is_none() => ip = Some(IpAddr::from(found)),
                Protocol::P2pCircuit => return None,
                _ => {}
            }
        }
        let address = ip?.to_canonical();
        let groups = Groups::of(address);
        Some(Self { address, household: groups.address(), prefix: groups.network() })
    }

    /// Whether it is this machine itself, which is all that is known of whoever comes through a proxy on it.
    pub(crate) fn is_here(&self) -> bool {
        self.address.is_loopback()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<Origin> {
        Origin::of(&text.parse().unwrap())
    }

    #[test]
    fn neighbours_share_a_prefix_and_others_do_not() {
        let prefix = |text| origin(text).unwrap().prefix;
        assert_eq!(prefix("/ip4/10.1.2.3/tcp/1"), prefix("/ip4/10.1.2.200/udp/9/quic-v1"));
        assert_ne!(prefix("/ip4/10.1.2.3/tcp/1"), prefix("/ip4/10.1.3.3/tcp/1"));
        assert_eq!(prefix("/ip6/2001:db8:1:2::3/tcp/1"), prefix("/ip6/2001:db8:1:ffff::9/tcp/1"));
        assert_ne!(prefix("/ip6/2001:db8:1::3/tcp/1"), prefix("/ip6/2001:db8:2::3/tcp/1"));
        assert_eq!(origin("/ip6/::ffff:10.1.2.3/tcp/1"), origin("/ip4/10.1.2.3/tcp/1"));
        assert!(origin("/ip6/::1/tcp/1").unwrap().is_here());
    }

    #[test]
    fn a_machine_is_one_household_by_whichever_address_of_its_own_it_comes() {
        let household = |text| origin(text).unwrap().household;
        assert_eq!(household("/ip6/2001:db8:1:2::3/tcp/1"), household("/ip6/2001:db8:1:2:ffff::9/udp/1"));
        assert_ne!(household("/ip6/2001:db8:1:2::3/tcp/1"), household("/ip6/2001:db8:1:3::3/tcp/1"));
        assert_ne!(household("/ip4/10.1.2.3/tcp/1"), household("/ip4/10.1.2.4/tcp/1"));
    }

    #[test]
    fn names_and_circuits_have_no_origin() {
        assert_eq!(origin("/dns/p2p.example/tcp/1"), None);
        let relay = crate::peer_of(crate::node_id([1; 32]).unwrap()).unwrap();
        assert_eq!(origin(&format!("/ip4/10.1.2.3/tcp/1/p2p/{relay}/p2p-circuit")), None);
    }
}
