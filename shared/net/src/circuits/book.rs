//! Who holds which reservations and circuits of a seed, by prefix, from the moment at which they are asked for.
//!
//! libp2p's events name nodes alone, and one event can mean several things: a "closed reservation" is any connection that
//! closed, a circuit whose destination goes is reported as closed twice, one that was not answered yet and goes is not
//! reported at all. So this follows connections: who speaks, and which connection libp2p then turns to. What is counted here
//! is at no time less than what libp2p holds, and what ends is taken back.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libp2p::{PeerId, relay, swarm::ConnectionId};

use crate::origin::Prefix;

/// Where something comes from. What has no address of its own (a name that was dialled) counts together.
pub(super) type From = Option<Prefix>;

/// How much the nodes of one prefix hold together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections with a reservation.
    pub reservations: usize,
    /// Circuits that they opened, or ask for.
    pub circuits: usize,
    /// The same of everybody together.
    pub all_circuits: usize,
}

/// How long a circuit may wait for somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until its destination is asked, after others.
    pub turn: Duration,
    /// For its destination, once that was asked.
    pub answer: Duration,
    /// For its source, once it is there.
    pub accept: Duration,
}

/// What is held, and by whom.
pub(super) struct Book {
    bounds: Bounds,
    nodes: BTreeMap<ConnectionId, PeerId>,
    reservations: BTreeMap<ConnectionId, From>,
    circuits: Vec<Circuit>,
    /// How many of them each node opened, or asks for.
    by_node: BTreeMap<PeerId, usize>,
    /// Whether a circuit may be waiting for somebody.
    awaits: bool,
    /// The connection whose event libp2p looks at now.
    speaks: Option<ConnectionId>,
    /// Somebody's wish for a circuit that is within our bounds, until libp2p says what becomes of it.
    wish: Option<From>,
    /// The connection that libp2p turned to last because of that event.
    told: Option<ConnectionId>,
}

struct Circuit {
    source: ConnectionId,
    node: Option<PeerId>,
    from: From,
    /// The destination, and the connection of it that libp2p chose.
    to: PeerId,
    through: ConnectionId,
    stage: Stage,
    /// When that began.
    since: Instant,
}

/// What it means that libp2p turns to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A destination is to be asked for a circuit, which [`Stage::Waiting`] says so far. One that a node asks of itself is
    /// none, since it looks like a refusal.
    Asks {
        /// Where its source is.
        from: From,
    },
    /// The destination that speaks has answered such a request.
    Answers,
    /// Something else.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The destination is to be asked, after others.
    Waiting,
    /// The destination was asked. The request is kept at its connection, and goes with that.
    Asked,
    /// The source is being told that the destination agreed. From here on its connection has it, and keeps what the destination
    /// sent, until it says that it ended or is gone itself, whatever becomes of the destination.
    Accepting,
    /// It carries data.
    Accepted,
    /// The source is being told that it failed.
    Denied,
}

impl Book {
    /// An empty one.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            nodes: BTreeMap::new(),
            reservations: BTreeMap::new(),
            circuits: Vec::new(),
            by_node: BTreeMap::new(),
            awaits: false,
            speaks: None,
            wish: None,
            told: None,
        }
    }

    /// A connection is there.
    pub(super) fn opened(&mut self, connection: ConnectionId, node: PeerId) {
        self.nodes.insert(connection, node);
    }

    /// A connection is gone, and with it what was held on it.
    pub(super) fn closed(&mut self, connection: ConnectionId) {
        self.nodes.remove(&connection);
        self.reservations.remove(&connection);
        let Self { circuits, by_node, .. } = self;
        circuits.retain(|circuit| {
            let is_at_source = match circuit.stage {
                Stage::Waiting | Stage::Asked | Stage::Denied => false,
                Stage::Accepting | Stage::Accepted => true,
            };
            let stays = circuit.source != connection && (is_at_source || circuit.through != connection);
            if !stays {
                circuit.uncount(by_node);
            }
            stays
        });
    }

    /// Whose connection that is.
    pub(super) fn node(&self, connection: ConnectionId) -> Option<PeerId> {
        self.nodes.get(&connection).copied()
    }

    /// Whether a circuit may be waiting for somebody.
    pub(super) fn awaits(&self) -> bool {
        self.awaits
    }

    /// The connections of sources that have not taken in their time that their circuit is there, and of destinations that have
    /// not answered in theirs whether they take one. What looks as if it were asked of itself may be a refusal.
    pub(super) fn overdue(&mut self, now: Instant, patience: Patience) -> BTreeMap<ConnectionId, PeerId> {
        self.awaits = false;
        let mut late = BTreeMap::new();
        for circuit in &self.circuits {
            let (time, whom) = match circuit.stage {
                Stage::Asked if circuit.source == circuit.through => continue,
                Stage::Asked => (patience.answer, Some((circuit.through, circuit.to))),
                Stage::Accepting => (patience.accept, circuit.node.map(|node| (circuit.source, node))),
                Stage::Waiting => {
                    self.awaits = true;
                    continue;
                }
                Stage::Accepted | Stage::Denied => continue,
            };
            self.awaits = true;
            if now.saturating_duration_since(circuit.since) >= time {
                late.extend(whom);
            }
        }
        late
    }

    /// libp2p looks at an event of this connection now; at something else if there is none.
    pub(super) fn speaks(&mut self, connection: Option<ConnectionId>) {
        (self.speaks, self.wish, self.told) = (connection, None, None);
    }

    /// Whether who speaks may have a reservation; if so, it has. To be asked last, when libp2p has nothing against it.
    pub(super) fn may_reserve(&mut self, from: From) -> bool {
        let Some(connection) = self.speaks else { return false };
        let held = self.reservations.values().filter(|held| **held == from).count();
        let may = self.reservations.contains_key(&connection) || held < self.bounds.reservations;
        if may {
            self.reservations.insert(connection, from);
        }
        may
    }

    /// How many circuits a node opened, or asks for.
    pub(super) fn opened_by(&self, node: PeerId) -> usize {
        self.by_node.get(&node).copied().unwrap_or_default()
    }

    /// Whether who speaks may open one more circuit. To be asked last, when libp2p would grant it if there is a reservation.
    pub(super) fn may_open(&mut self, from: From) -> bool {
        let held = self.circuits.iter().filter(|circuit| circuit.from == from).count();
        let may = held < self.bounds.circuits && self.circuits.len() < self.bounds.all_circuits;
        self.wish = may.then_some(from);
        may
    }

    /// libp2p turns to a connection because of what it looks at.
    pub(super) fn turns_to(&mut self, connection: ConnectionId) -> Turn {
        self.told = Some(connection);
        let Some(speaks) = self.speaks else { return Turn::Other };
        let Some(from) = self.wish.take() else {
            if connection == speaks {
                return Turn::Other;
            }
            self.awaits = true;
            self.advance(Stage::Accepting, |known| {
                known.source == connection && known.through == speaks && known.stage == Stage::Asked
            });
            return Turn::Answers;
        };
        // To who asked: it is told that there is no such reservation. One that holds a reservation may also have asked for a
        // circuit to itself, which looks alike until the end is reported.
        if connection == speaks && !self.reservations.contains_key(&connection) {
            return Turn::Other;
        }
        let Some(to) = self.nodes.get(&connection).copied() else { return Turn::Other };
        let node = self.nodes.get(&speaks).copied();
        if let Some(node) = node {
            *self.by_node.entry(node).or_default() += 1;
        }
        let (turn, stage) =
            if connection == speaks { (Turn::Other, Stage::Asked) } else { (Turn::Asks { from }, Stage::Waiting) };
        let since = Instant::now();
        self.awaits = true;
        self.circuits.push(Circuit { source: speaks, node, from, to, through: connection, stage, since });
        turn
    }

    /// A connection of a destination is asked for a circuit from this source, which waited until now.
    pub(super) fn asked(&mut self, source: ConnectionId, through: ConnectionId) {
        self.advance(Stage::Asked, |known| {
            known.source == source && known.through == through && known.stage == Stage::Waiting
        });
    }

    /// This source waits no longer for a connection of a destination to be asked.
    pub(super) fn gave_up(&mut self, source: ConnectionId, through: ConnectionId) {
        self.remove(|known| known.source == source && known.through == through && known.stage == Stage::Waiting);
    }

    /// libp2p reports something because of what it looks at.
    #[expect(deprecated, reason = "only what will be logged alone one day says that a circuit failed")]
    pub(super) fn happened(&mut self, event: &relay::Event) {
        // What it reports of a connection that closed is known from that already.
        let Some(speaks) = self.speaks else { return };
        match event {
            relay::Event::ReservationTimedOut { .. } => _ = self.reservations.remove(&speaks),
            relay::Event::CircuitReqOutboundConnectFailed { .. } => {
                let Some(source) = self.told else { return };
                let stage = if source == speaks { Stage::Asked } else { Stage::Accepting };
                self.advance(Stage::Denied, |known| {
                    known.source == source && known.through == speaks && known.stage == stage
                });
            }
            relay::Event::CircuitReqDenied { dst_peer_id, status, .. } => {
                let to_itself = matches!(status, relay::StatusCode::NoReservation);
                let _ = self.remove(|known| known.is(speaks, *dst_peer_id, Stage::Denied))
                    || (to_itself && self.remove(|known| known.is_to_itself(speaks)));
            }
            relay::Event::CircuitReqDenyFailed { dst_peer_id, .. } => {
                self.remove(|known| known.is(speaks, *dst_peer_id, Stage::Denied));
            }
            relay::Event::CircuitReqAccepted { dst_peer_id, .. } => {
                self.advance(Stage::Accepted, |known| known.is(speaks, *dst_peer_id, Stage::Accepting));
            }
            relay::Event::CircuitReqAcceptFailed { dst_peer_id, .. } => {
                self.ended(speaks, *dst_peer_id, [Stage::Accepting, Stage::Accepted]);
            }
            relay::Event::CircuitClosed { dst_peer_id, .. } => {
                self.ended(speaks, *dst_peer_id, [Stage::Accepted, Stage::Accepting]);
            }
            relay::Event::ReservationReqAccepted { .. }
            | relay::Event::ReservationReqAcceptFailed { .. }
            | relay::Event::ReservationReqDenied { .. }
            | relay::Event::ReservationReqDenyFailed { .. }
            | relay::Event::ReservationClosed { .. }
            | relay::Event::StatusChanged { .. } => {}
        }
    }

    /// The source's connection reports the end of a circuit that it had, in one of these stages.
    fn ended(&mut self, source: ConnectionId, to: PeerId, stages: [Stage; 2]) {
        let _ = stages.into_iter().any(|stage| self.remove(|known| known.is(source, to, stage)))
            || self.remove(|known| known.to == to && known.is_to_itself(source));
    }

    /// Of those that look alike, the oldest is taken for the one that was answered: who asks a destination again and again
    /// shall not make it look as if it never answered. Later it is the newest, so that one that does not come on is not taken for
    /// one that does.
    fn advance(&mut self, to: Stage, which: impl Fn(&Circuit) -> bool) {
        let alike = self.circuits.iter_mut().filter(|circuit| which(circuit));
        let circuit = match to {
            Stage::Accepting => alike.min_by_key(|circuit| circuit.since),
            Stage::Waiting | Stage::Asked | Stage::Accepted | Stage::Denied => {
                alike.max_by_key(|circuit| circuit.since)
            }
        };
        if let Some(circuit) = circuit {
            (circuit.stage, circuit.since) = (to, Instant::now());
        }
    }

    fn remove(&mut self, which: impl Fn(&Circuit) -> bool) -> bool {
        let place = self.circuits.iter().position(which);
        place.map(|place| self.circuits.swap_remove(place).uncount(&mut self.by_node)).is_some()
    }
}

impl Circuit {
    /// It is its node's no more.
    fn uncount(&self, by_node: &mut BTreeMap<PeerId, usize>) {
        let Some(node) = self.node else { return };
        if let Some(count) = by_node.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                by_node.remove(&node);
            }
        }
    }

    fn is(&self, source: ConnectionId, to: PeerId, stage: Stage) -> bool {
        self.source == source && self.to == to && self.stage == stage
    }

    fn is_to_itself(&self, source: ConnectionId) -> bool {
        self.source == source && self.through == source && self.stage == Stage::Asked
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    const BOUNDS: Bounds = Bounds { reservations: 3, circuits: 4, all_circuits: 100 };

    fn from(text: &str) -> From {
        Origin::of(&format!("/ip4/{text}/tcp/1").parse().unwrap()).map(|origin| origin.prefix)
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    impl Book {
        fn opens_connection(&mut self, number: usize) -> PeerId {
            let node = PeerId::random();
            self.opened(connection(number), node);
            node
        }

        fn reserves(&mut self, number: usize, where_from: &str) -> bool {
            self.speaks(Some(connection(number)));
            self.may_reserve(from(where_from))
        }

        /// A wish that libp2p passes on to a connection of the destination, or answers itself.
        fn asks(&mut self, number: usize, where_from: &str, answer: usize) -> bool {
            self.speaks(Some(connection(number)));
            let may = self.may_open(from(where_from));
            if matches!(self.turns_to(connection(answer)), Turn::Asks { .. }) {
                self.asked(connection(number), connection(answer));
            }
            may
        }

        fn agrees(&mut self, through: usize, source: usize) {
            self.speaks(Some(connection(through)));
            self.turns_to(connection(source));
        }

        fn reports(&mut self, number: usize, event: &relay::Event) {
            self.speaks(Some(connection(number)));
            self.happened(event);
        }
    }

    fn closed(dst_peer_id: PeerId) -> relay::Event {
        relay::Event::CircuitClosed { src_peer_id: PeerId::random(), dst_peer_id, error: None }
    }

    fn denied(dst_peer_id: PeerId, status: relay::StatusCode) -> relay::Event {
        relay::Event::CircuitReqDenied { src_peer_id: PeerId::random(), dst_peer_id, status }
    }

    #[test]
    fn the_connections_of_one_prefix_reserve_only_so_much_and_others_still_can() {
        let mut book = Book::new(BOUNDS);
        for number in 0..BOUNDS.reservations {
            assert!(book.reserves(number, &format!("192.0.2.{number}")));
        }
        assert!(!book.reserves(9, "192.0.2.251") && book.reserves(10, "192.0.3.1"));
        // Who holds one renews it; when one ends, another takes its place.
        assert!(book.reserves(0, "192.0.2.0"));
        book.closed(connection(0));
        assert!(book.reserves(9, "192.0.2.251") && !book.reserves(11, "192.0.2.251"));
        book.reports(9, &relay::Event::ReservationTimedOut { src_peer_id: PeerId::random() });
        assert!(book.reserves(11, "192.0.2.251"));
    }

    #[test]
    fn another_connection_of_a_node_that_closes_ends_no_reservation() {
        let mut book = Book::new(Bounds { reservations: 1, ..BOUNDS });
        let src_peer_id = book.opens_connection(1);
        book.opened(connection(2), src_peer_id);
        assert!(book.reserves(1, "192.0.2.1"));
        book.closed(connection(2));
        book.speaks(None);
        book.happened(&relay::Event::ReservationClosed { src_peer_id });
        assert!(!book.reserves(3, "192.0.2.1"));
    }

    #[test]
    fn circuits_count_from_the_asking_on_until_they_fail_or_end() {
        let mut book = Book::new(BOUNDS);
        let to = book.opens_connection(7);
        assert!((0..BOUNDS.circuits).all(|_| book.asks(1, "192.0.2.1", 7)));
        assert!(!book.asks(1, "192.0.2.1", 1) && !book.asks(2, "192.0.2.2", 2) && book.asks(3, "192.0.3.1", 7));
        // That libp2p refused more says nothing about those that are under way.
        book.reports(1, &denied(to, relay::StatusCode::ResourceLimitExceeded));
        assert!(!book.asks(2, "192.0.2.2", 2));
        book.agrees(7, 1);
        book.reports(1, &closed(to));
        assert!(book.asks(2, "192.0.2.2", 7) && !book.asks(2, "192.0.2.2", 2));
    }

    #[test]
    #[expect(deprecated)]
    fn a_circuit_that_its_destination_refuses_ends_when_the_source_is_told() {
        let mut book = Book::new(Bounds { circuits: 1, ..BOUNDS });
        let dst_peer_id = book.opens_connection(7);
        assert!(book.asks(1, "192.0.2.1", 7));
        book.agrees(7, 1);
        book.happened(&relay::Event::CircuitReqOutboundConnectFailed {
            src_peer_id: PeerId::random(),
            dst_peer_id,
            error: relay::outbound::stop::Error::PermissionDenied,
        });
        assert!(!book.asks(2, "192.0.2.1", 2));
        book.reports(1, &denied(dst_peer_id, relay::StatusCode::PermissionDenied));
        assert!(book.asks(2, "192.0.2.1", 7));
    }

    #[test]
    fn a_circuit_whose_destination_goes_ends_once_though_it_is_reported_twice() {
        let mut book = Book::new(Bounds { circuits: 2, ..BOUNDS });
        let to = book.opens_connection(7);
        book.opened(connection(8), to);
        for through in [7, 8] {
            assert!(book.asks(1, "192.0.2.1", through));
            book.agrees(through, 1);
        }
        book.closed(connection(7));
        book.speaks(None);
        book.happened(&closed(to));
        book.reports(1, &closed(to));
        assert!(book.asks(1, "192.0.2.1", 8) && !book.asks(1, "192.0.2.1", 1));
        // What the destination was still asked for goes without a report; what it had agreed to has its place until that.
        book.closed(connection(8));
        book.opened(connection(9), to);
        assert!(book.asks(1, "192.0.2.1", 9) && !book.asks(1, "192.0.2.1", 1));
        book.agrees(9, 1);
        book.reports(1, &closed(to));
        assert!(book.asks(1, "192.0.2.1", 9) && !book.asks(1, "192.0.2.1", 1));
        book.closed(connection(1));
        assert!(book.circuits.is_empty());
    }

    #[test]
    fn a_source_that_does_not_take_its_circuits_keeps_their_places_though_their_destination_has_gone() {
        let mut book = Book::new(Bounds { circuits: 2, ..BOUNDS });
        let [source, to] = [1, 7].map(|number| book.opens_connection(number));
        for _ in 0..2 {
            assert!(book.asks(1, "192.0.2.1", 7));
            book.agrees(7, 1);
        }
        let accepted = relay::Event::CircuitReqAccepted { src_peer_id: source, dst_peer_id: to };
        book.reports(1, &accepted);
        book.closed(connection(7));
        assert!(!book.asks(2, "192.0.2.2", 2));
        assert_eq!(book.opened_by(source), 2);
        // After a while its connection is to go, and everything with it.
        let (now, time) = (Instant::now(), Duration::from_secs(10));
        let patience = Patience { turn: time, answer: Duration::from_secs(1), accept: time };
        assert!(book.overdue(now, patience).is_empty() && book.awaits());
        assert_eq!(book.overdue(now + 2 * time, patience), BTreeMap::from([(connection(1), source)]));
        book.reports(1, &accepted);
        assert!(book.overdue(now + 2 * time, patience).is_empty() && !book.awaits());
        book.closed(connection(1));
        assert!(book.circuits.is_empty() && book.by_node.is_empty());
    }

    #[test]
    fn a_destination_that_leaves_a_request_unanswered_is_to_go_and_one_that_was_not_asked_is_not() {
        let mut book = Book::new(BOUNDS);
        let [_, to] = [1, 7].map(|number| book.opens_connection(number));
        let now = Instant::now();
        let patience = Patience { turn: Duration::ZERO, answer: Duration::from_secs(90), accept: Duration::ZERO };
        let later = now + Duration::from_secs(100);
        book.speaks(Some(connection(1)));
        assert!(book.may_open(from("192.0.2.1")));
        assert_eq!(book.turns_to(connection(7)), Turn::Asks { from: from("192.0.2.1") });
        assert!(book.overdue(later, patience).is_empty() && book.awaits());
        book.asked(connection(1), connection(7));
        assert!(book.awaits() && book.overdue(now, patience).is_empty());
        assert_eq!(book.overdue(later, patience), BTreeMap::from([(connection(7), to)]));
        book.speaks(Some(connection(7)));
        assert_eq!(book.turns_to(connection(1)), Turn::Answers);
        book.reports(1, &closed(to));
        assert!(book.overdue(later, patience).is_empty() && !book.awaits());
    }

    #[test]
    fn everybody_together_has_so_many_circuits_and_one_that_waits_no_longer_frees_its_place() {
        let mut book = Book::new(Bounds { all_circuits: 2, ..BOUNDS });
        for number in [1, 2, 7] {
            book.opens_connection(number);
        }
        book.speaks(Some(connection(1)));
        assert!(book.may_open(from("192.0.2.1")));
        assert!(matches!(book.turns_to(connection(7)), Turn::Asks { .. }));
        assert!(book.asks(2, "198.51.100.1", 7) && !book.asks(2, "203.0.113.1", 2));
        book.gave_up(connection(2), connection(7));
        assert!(!book.asks(2, "203.0.113.1", 2), "its destination was asked");
        book.gave_up(connection(1), connection(7));
        assert!(book.asks(2, "203.0.113.1", 7));
    }

    #[test]
    fn who_asks_again_and_again_does_not_make_a_destination_look_silent() {
        let mut book = Book::new(BOUNDS);
        let [_, _] = [1, 7].map(|number| book.opens_connection(number));
        assert!(book.asks(1, "192.0.2.1", 7));
        let first = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(book.asks(1, "192.0.2.1", 7));
        book.agrees(7, 1);
        let [turn, answer, accept] = [20, 90, 900].map(Duration::from_secs);
        let patience = Patience { turn, answer, accept };
        assert!(book.overdue(first + patience.answer, patience).is_empty());
        assert!(!book.overdue(Instant::now() + patience.answer, patience).is_empty());
    }

    #[test]
    fn a_refusal_is_no_circuit_and_one_to_itself_is_one() {
        let mut book = Book::new(Bounds { circuits: 1, ..BOUNDS });
        let me = book.opens_connection(1);
        assert!((0..9).all(|_| book.asks(1, "192.0.2.1", 1)));
        assert!(book.reserves(1, "192.0.2.1"));
        // A refusal of who could have asked for itself counts until it is told.
        assert!(book.asks(1, "192.0.2.1", 1) && !book.asks(1, "192.0.2.1", 1));
        book.reports(1, &denied(PeerId::random(), relay::StatusCode::ResourceLimitExceeded));
        assert!(!book.asks(1, "192.0.2.1", 1));
        book.reports(1, &denied(PeerId::random(), relay::StatusCode::NoReservation));
        assert!(book.asks(1, "192.0.2.1", 1));
        book.agrees(1, 1);
        book.reports(1, &closed(PeerId::random()));
        assert!(!book.asks(1, "192.0.2.1", 1));
        book.reports(1, &closed(me));
        assert!(book.circuits.is_empty());
    }
}
