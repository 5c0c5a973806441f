//! Where we hold reservations, so that others reach us through our seeds: asked for as soon as a seed is connected, asked
//! for again when refused or lost, and when the node may hear of the seed. A plain value that is told facts and gives
//! orders.

use std::collections::{BTreeMap, VecDeque};

use libp2p::core::transport::ListenerId;
use p2pnet_shared::{id::NodeId, units::Moment};

use crate::limits;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// Ask a seed for a reservation, if it is connected directly; what came of it is told by [`Reservations::asked`].
    Ask {
        /// Whom.
        seed: NodeId,
    },
    /// Nothing stands against telling the node of this seed's connection any more.
    Announce {
        /// Whose.
        seed: NodeId,
    },
}

#[derive(Debug)]
enum Reservation {
    /// None; asked for again at this moment, if the seed is connected.
    None { retry_at: Moment },
    /// Asked for; the node hears of the seed's connection at this moment at the latest.
    Asked { listener: ListenerId, announce_at: Moment },
    /// Held.
    Held { listener: ListenerId },
}

/// Our seeds, and what we hold at each.
pub(super) struct Reservations {
    /// Whether we are a seed that relays for others, and need none.
    serve: bool,
    seeds: BTreeMap<NodeId, Reservation>,
    orders: VecDeque<Order>,
}

impl Reservations {
    /// No seed yet. `serve`: we are a seed that relays for others.
    pub(super) fn new(serve: bool) -> Self {
        Self { serve, seeds: BTreeMap::new(), orders: VecDeque::new() }
    }

    /// A seed of ours; `false` when there are too many already.
    pub(super) fn seed_known(&mut self, now: Moment, seed: NodeId) -> bool {
        if !self.is_seed(seed) && self.seeds.len() >= limits::SEEDS {
            return false;
        }
        self.seeds.entry(seed).or_insert(Reservation::None { retry_at: now });
        true
    }

    /// Whether a node is a seed of ours.
    pub(super) fn is_seed(&self, node: NodeId) -> bool {
        self.seeds.contains_key(&node)
    }

    /// Whether the node should not hear of this seed yet: those who learn of us from it could not reach us.
    pub(super) fn is_awaited(&self, now: Moment, node: NodeId) -> bool {
        match self.seeds.get(&node) {
            Some(Reservation::Asked { announce_at, .. }) => now < *announce_at,
            Some(Reservation::None { .. } | Reservation::Held { .. }) | None => false,
        }
    }

    /// A node is connected directly, and may be a seed.
    pub(super) fn connected(&mut self, now: Moment, node: NodeId) {
        self.look_after(now, node);
    }

    /// A seed was asked; the reservation lasts as long as this listener. `None`: it could not be asked.
    pub(super) fn asked(&mut self, now: Moment, seed: NodeId, listener: Option<ListenerId>) {
        if let Some(reservation) = self.seeds.get_mut(&seed) {
            *reservation = match listener {
                Some(listener) => Reservation::Asked { listener, announce_at: now + limits::RESERVATION_WAIT },
                None => Reservation::None { retry_at: now + limits::RESERVATION_RETRY },
            };
        }
    }

    /// A seed gave what it was asked for.
    pub(super) fn accepted(&mut self, seed: NodeId) {
        let Some(reservation) = self.seeds.get_mut(&seed) else { return };
        if let Reservation::Asked { listener, .. } = *reservation {
            *reservation = Reservation::Held { listener };
            self.orders.push_back(Order::Announce { seed });
        }
    }

    /// The seed whose reservation lasts as long as this listener.
    pub(super) fn seed_of(&self, listener: ListenerId) -> Option<NodeId> {
        let holds = |reservation: &Reservation| match reservation {
            Reservation::Asked { listener: known, .. } | Reservation::Held { listener: known } => *known == listener,
            Reservation::None { .. } => false,
        };
        self.seeds.iter().find(|(_, reservation)| holds(reservation)).map(|(seed, _)| *seed)
    }

    /// A seed's reservation was refused or lost. `connected`: the seed is, directly.
    pub(super) fn lost(&mut self, now: Moment, seed: NodeId, connected: bool) {
        let Some(reservation) = self.seeds.get_mut(&seed) else { return };
        // Lost with the connection: ask again as soon as there is one. Refused: not at once.
        let retry_at = if connected { now + limits::RESERVATION_RETRY } else { now };
        *reservation = Reservation::None { retry_at };
        self.orders.push_back(Order::Announce { seed });
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Moment) {
        for seed in self.seeds.keys().copied().collect::<Vec<_>>() {
            self.look_after(now, seed);
        }
    }

    /// What is to be done next.
    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn look_after(&mut self, now: Moment, seed: NodeId) {
        match self.seeds.get(&seed) {
            Some(Reservation::None { retry_at }) if now >= *retry_at && !self.serve => {
                self.orders.push_back(Order::Ask { seed });
            }
            Some(Reservation::Asked { announce_at, .. }) if now >= *announce_at => {
                self.orders.push_back(Order::Announce { seed });
            }
            Some(Reservation::None { .. } | Reservation::Asked { .. } | Reservation::Held { .. }) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::units::Millis;

    use super::*;

    const SEED: NodeId = NodeId([1; 32]);
    const START: Moment = Moment(1_000);
    const WAIT: Millis = limits::RESERVATION_WAIT;
    const RETRY: Millis = limits::RESERVATION_RETRY;
    const ASK: Order = Order::Ask { seed: SEED };
    const ANNOUNCE: Order = Order::Announce { seed: SEED };

    impl Reservations {
        fn orders(&mut self) -> Vec<Order> {
            std::iter::from_fn(|| self.poll_order()).collect()
        }

        fn asked_at_start() -> (Self, ListenerId) {
            let mut reservations = Self::new(false);
            assert!(reservations.seed_known(START, SEED));
            reservations.connected(START, SEED);
            assert_eq!(reservations.orders(), [ASK]);
            let listener = ListenerId::next();
            reservations.asked(START, SEED, Some(listener));
            (reservations, listener)
        }
    }

    #[test]
    fn a_seed_is_announced_as_soon_as_it_accepts() {
        let (mut reservations, listener) = Reservations::asked_at_start();
        assert!(reservations.is_awaited(START, SEED));
        reservations.connected(START, SEED);
        assert_eq!(reservations.orders(), [], "it is asked once");
        reservations.accepted(SEED);
        reservations.accepted(SEED);
        assert_eq!(reservations.orders(), [ANNOUNCE]);
        assert!(!reservations.is_awaited(START, SEED));
        assert_eq!(reservations.seed_of(listener), Some(SEED));
        assert_eq!(reservations.seed_of(ListenerId::next()), None);
    }

    #[test]
    fn a_seed_that_does_not_answer_is_announced_when_its_time_is_over() {
        let (mut reservations, _) = Reservations::asked_at_start();
        reservations.tick(Moment(START.0 + WAIT.0 - 1));
        assert_eq!(reservations.orders(), []);
        reservations.tick(START + WAIT);
        assert_eq!(reservations.orders(), [ANNOUNCE]);
        assert!(!reservations.is_awaited(START + WAIT, SEED));
    }

    #[test]
    fn what_was_refused_is_asked_for_later_and_what_was_lost_with_the_connection_when_there_is_one() {
        let (mut reservations, listener) = Reservations::asked_at_start();
        reservations.lost(START, SEED, true);
        assert_eq!(reservations.orders(), [ANNOUNCE]);
        assert_eq!(reservations.seed_of(listener), None);
        reservations.tick(Moment(START.0 + RETRY.0 - 1));
        assert_eq!(reservations.orders(), []);
        reservations.tick(START + RETRY);
        assert_eq!(reservations.orders(), [ASK]);

        let (mut reservations, _) = Reservations::asked_at_start();
        reservations.accepted(SEED);
        reservations.lost(START, SEED, false);
        reservations.orders();
        reservations.connected(START, SEED);
        assert_eq!(reservations.orders(), [ASK]);
    }

    #[test]
    fn who_cannot_be_asked_is_tried_again_later_and_announced_meanwhile() {
        let mut reservations = Reservations::new(false);
        reservations.seed_known(START, SEED);
        reservations.connected(START, SEED);
        reservations.asked(START, SEED, None);
        assert_eq!(reservations.orders(), [ASK]);
        assert!(!reservations.is_awaited(START, SEED));
        reservations.tick(START);
        assert_eq!(reservations.orders(), []);
        reservations.tick(START + RETRY);
        assert_eq!(reservations.orders(), [ASK]);
    }

    #[test]
    fn a_seed_asks_nobody_and_strangers_are_not_asked() {
        let mut reservations = Reservations::new(true);
        reservations.seed_known(START, SEED);
        reservations.connected(START, SEED);
        reservations.connected(START, NodeId([9; 32]));
        reservations.tick(START);
        assert_eq!(reservations.orders(), []);
        assert!(reservations.is_seed(SEED) && !reservations.is_seed(NodeId([9; 32])));
    }

    #[test]
    fn seeds_are_bounded_and_a_known_one_stays_known() {
        let mut reservations = Reservations::new(false);
        let all: Vec<bool> = (0..=limits::SEEDS)
            .map(|n| reservations.seed_known(START, NodeId([u8::try_from(n).unwrap_or(u8::MAX); 32])))
            .collect();
        assert_eq!(all.iter().filter(|known| !**known).count(), 1);
        assert!(reservations.seed_known(START, NodeId([0; 32])));
    }
}
