//! Where this node can be dialled: addresses given by the operator, then those it listens on. A plain value.

use libp2p::Multiaddr;
use p2pnet_shared::id::NodeId;

use crate::{address, limits};

/// The addresses of this node.
pub(super) struct Reach {
    me: NodeId,
    external: Vec<Multiaddr>,
    listening: Vec<Multiaddr>,
}

impl Reach {
    /// What the operator gave.
    pub(super) fn new(me: NodeId, external: Vec<Multiaddr>) -> Self {
        Self { me, external, listening: Vec::new() }
    }

    /// The node listens on an address; `false` when that changes nothing.
    pub(super) fn listens(&mut self, address: &Multiaddr) -> bool {
        if address::is_relayed(address) || self.listening.contains(address) {
            return false;
        }
        self.listening.push(address.clone());
        true
    }

    /// It does no longer.
    pub(super) fn expired(&mut self, address: &Multiaddr) {
        self.listening.retain(|known| known != address);
    }

    /// Whether there are no more than others are told.
    pub(super) fn is_bounded(&self) -> bool {
        self.external.len() + self.listening.len() <= limits::ADDRESSES_PER_NODE
    }

    /// All addresses, those of this machine alone last.
    pub(super) fn all(&self) -> Vec<String> {
        let (loopback, others) = self.parted();
        self.named(others.into_iter().chain(loopback))
    }

    /// What others are told: addresses of this machine alone only if there are no others.
    pub(super) fn told(&self) -> Vec<String> {
        let (loopback, others) = self.parted();
        let told = if others.is_empty() { loopback } else { others };
        self.named(told.into_iter().take(limits::ADDRESSES_PER_NODE))
    }

    fn parted(&self) -> (Vec<&Multiaddr>, Vec<&Multiaddr>) {
        self.external.iter().chain(&self.listening).partition(|address| address::is_loopback(address))
    }

    fn named<'a>(&self, addresses: impl Iterator<Item = &'a Multiaddr>) -> Vec<String> {
        addresses.map(|address| format!("{}/p2p/{}", address::without_node(address), self.me)).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HERE: &str = "/ip4/127.0.0.1/tcp/1";
    const THERE: &str = "/ip4/192.0.2.1/tcp/1";
    const NAMED: &str = "/dns/p2p.example/tcp/1";

    fn reach(external: &[&str]) -> Reach {
        Reach::new(NodeId([1; 32]), external.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn bare(addresses: &[String]) -> Vec<String> {
        let end = format!("/p2p/{}", NodeId([1; 32]));
        addresses.iter().map(|address| address.strip_suffix(&end).unwrap().to_owned()).collect()
    }

    #[test]
    fn the_operators_addresses_come_first_and_those_of_this_machine_alone_last_or_to_nobody() {
        let mut reach = reach(&[NAMED]);
        assert!(reach.listens(&HERE.parse().unwrap()));
        assert!(reach.listens(&THERE.parse().unwrap()));
        assert!(!reach.listens(&THERE.parse().unwrap()));
        assert_eq!(bare(&reach.all()), [NAMED, THERE, HERE]);
        assert_eq!(bare(&reach.told()), [NAMED, THERE]);
        reach.expired(&THERE.parse().unwrap());
        assert_eq!(bare(&reach.all()), [NAMED, HERE]);
    }

    #[test]
    fn a_node_with_nothing_else_tells_the_addresses_of_its_machine_but_no_circuit() {
        let mut reach = reach(&[]);
        assert!(reach.told().is_empty());
        assert!(reach.listens(&HERE.parse().unwrap()));
        assert!(!reach.listens(&"/ip4/192.0.2.1/tcp/1/p2p-circuit".parse().unwrap()));
        assert_eq!(bare(&reach.told()), [HERE]);
    }

    #[test]
    fn no_more_are_told_than_others_dial() {
        let mut reach = reach(&[]);
        for port in 1..=limits::ADDRESSES_PER_NODE {
            reach.listens(&format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap());
        }
        assert!(reach.is_bounded());
        reach.listens(&NAMED.parse().unwrap());
        assert!(!reach.is_bounded());
        assert_eq!(
            (reach.all().len(), reach.told().len()),
            (limits::ADDRESSES_PER_NODE + 1, limits::ADDRESSES_PER_NODE)
        );
    }
}
