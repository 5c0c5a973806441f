//! What a seed relays for those who cannot be dialled, and for how many: of one node, of one prefix, in all. libp2p counts
//! by node, and a name costs nothing; what the nodes of a prefix hold together is counted here, from the relay's events.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use libp2p::{Multiaddr, PeerId, relay};

use crate::{
    limits,
    origin::{Origin, Prefix},
};

/// The bounds by node, and in all.
pub fn limits() -> relay::Config {
    let mut config = relay::Config {
        max_reservations: limits::RESERVATIONS,
        max_reservations_per_peer: limits::RESERVATIONS_PER_NODE,
        reservation_duration: limits::RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits::CIRCUITS,
        max_circuits_per_peer: limits::CIRCUITS_PER_NODE,
        max_circuit_duration: limits::CIRCUIT_DURATION,
        max_circuit_bytes: limits::CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    if let Some(rate) = NonZeroU32::new(limits::RESERVATION_RATE) {
        config = config.reservation_rate_per_peer(rate, limits::RATE_INTERVAL);
    }
    if let Some(rate) = NonZeroU32::new(limits::CIRCUIT_RATE) {
        config = config.circuit_src_per_peer(rate, limits::RATE_INTERVAL);
    }
    config
}

/// Who holds what, by prefix. Cheap to clone: the relay asks one half, its events feed the other.
#[derive(Clone, Default)]
pub struct Counts(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// Where each node that holds something, or asks now, comes from.
    nodes: BTreeMap<PeerId, Holder>,
}

struct Holder {
    prefix: Prefix,
    reserves: bool,
    circuits: usize,
    asked_at: Instant,
}

impl Table {
    /// A node asks: from where, if that is known.
    fn asks(&mut self, node: PeerId, address: &Multiaddr, now: Instant) -> Option<Prefix> {
        let prefix = Origin::of(address)?.prefix;
        // Who asked and got nothing is forgotten.
        if self.nodes.len() >= 2 * (limits::RESERVATIONS + limits::CIRCUITS) {
            self.nodes.retain(|_, holder| {
                let lately = now.duration_since(holder.asked_at) < limits::CONNECT_TIMEOUT;
                holder.reserves || holder.circuits > 0 || lately
            });
        }
        let holder = self.nodes.entry(node).or_insert(Holder { prefix, reserves: false, circuits: 0, asked_at: now });
        holder.asked_at = now;
        Some(prefix)
    }

    fn may_reserve(&mut self, node: PeerId, address: &Multiaddr, now: Instant) -> bool {
        let Some(prefix) = self.asks(node, address, now) else { return true };
        let others =
            self.nodes.iter().filter(|(known, holder)| **known != node && holder.reserves && holder.prefix == prefix);
        others.count() < limits::RESERVING_PER_PREFIX
    }

    fn may_open(&mut self, node: PeerId, address: &Multiaddr, now: Instant) -> bool {
        let Some(prefix) = self.asks(node, address, now) else { return true };
        let held = self.nodes.values().filter(|holder| holder.prefix == prefix).map(|holder| holder.circuits);
        held.sum::<usize>() < limits::CIRCUITS_PER_PREFIX
    }

    fn change(&mut self, node: &PeerId, change: impl FnOnce(&mut Holder)) {
        if let Some(holder) = self.nodes.get_mut(node) {
            change(holder);
            if !holder.reserves && holder.circuits == 0 {
                self.nodes.remove(node);
            }
        }
    }
}

impl Counts {
    /// Adds the bounds by prefix to those by node.
    pub fn bound(&self, mut config: relay::Config) -> relay::Config {
        let counts = self.clone();
        config.reservation_rate_limiters.push(Box::new(move |node: PeerId, address: &Multiaddr, now: Instant| {
            counts.table(|table| table.may_reserve(node, address, now))
        }));
        let counts = self.clone();
        config.circuit_src_rate_limiters.push(Box::new(move |node: PeerId, address: &Multiaddr, now: Instant| {
            counts.table(|table| table.may_open(node, address, now))
        }));
        config
    }

    /// A reservation or circuit began or ended.
    pub fn changed(&self, event: &relay::Event) {
        self.table(|table| match event {
            relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                table.change(src_peer_id, |holder| holder.reserves = true);
            }
            relay::Event::ReservationClosed { src_peer_id } | relay::Event::ReservationTimedOut { src_peer_id } => {
                table.change(src_peer_id, |holder| holder.reserves = false);
            }
            relay::Event::CircuitReqAccepted { src_peer_id, .. } => {
                table.change(src_peer_id, |holder| holder.circuits += 1);
            }
            relay::Event::CircuitClosed { src_peer_id, .. } => {
                table.change(src_peer_id, |holder| holder.circuits = holder.circuits.saturating_sub(1));
            }
            // The enum is libp2p's; the rest only informs.
            _ => {}
        });
    }

    fn table<R>(&self, with: impl FnOnce(&mut Table) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        format!("/ip4/{text}/tcp/1").parse().unwrap()
    }

    #[test]
    fn the_nodes_of_one_prefix_reserve_only_so_much_and_others_still_can() {
        let counts = Counts::default();
        let now = Instant::now();
        let reserve = |from: &str| {
            let node = PeerId::random();
            let taken = counts.table(|table| table.may_reserve(node, &address(from), now));
            if taken {
                counts.changed(&relay::Event::ReservationReqAccepted { src_peer_id: node, renewed: false });
            }
            (node, taken)
        };
        let holders: Vec<(PeerId, bool)> =
            (0..limits::RESERVING_PER_PREFIX).map(|number| reserve(&format!("192.0.2.{}", number % 250))).collect();
        assert!(holders.iter().all(|(_, taken)| *taken));
        assert!(!reserve("192.0.2.251").1);
        assert!(reserve("192.0.3.1").1);
        // Who holds one renews it; when one ends, another takes its place.
        let (first, _) = holders[0];
        assert!(counts.table(|table| table.may_reserve(first, &address("192.0.2.0"), now)));
        counts.changed(&relay::Event::ReservationClosed { src_peer_id: first });
        assert!(reserve("192.0.2.251").1);
    }

    #[test]
    fn the_nodes_of_one_prefix_open_only_so_many_circuits() {
        let counts = Counts::default();
        let now = Instant::now();
        let (source, dst_peer_id) = (PeerId::random(), PeerId::random());
        let open = |node| counts.table(|table| table.may_open(node, &address("192.0.2.1"), now));
        for _ in 0..limits::CIRCUITS_PER_PREFIX {
            assert!(open(source));
            counts.changed(&relay::Event::CircuitReqAccepted { src_peer_id: source, dst_peer_id });
        }
        assert!(!open(source) && !open(PeerId::random()));
        counts.changed(&relay::Event::CircuitClosed { src_peer_id: source, dst_peer_id, error: None });
        assert!(open(PeerId::random()));
    }
}
