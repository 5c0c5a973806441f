//! How many connections there may be: in all, with one node, from one address and its neighbours; how many dials under way; and
//! how soon those may come again among whom many were hung up on for nonsense. When there are as many as there may be, whoever
//! holds most gives one up for those who hold less. A libp2p behaviour of our own: the stock one counts all connections
//! together, refuses whoever comes last, and remembers the name of every node that was ever connected.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use p2pnet_shared::units::Moment;

use crate::{
    limits,
    origin::{Origin, Prefix},
    platform,
    shares::{Group, Groups, Shares},
};

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
enum Crowded {
    /// There are enough of all.
    #[error("this node holds as many connections as it may")]
    All,
    /// One node has enough.
    #[error("the other node holds as many connections as it may")]
    Node,
    /// Enough dials have not ended yet.
    #[error("this node dials as many others as it may at once")]
    Dials,
    /// This address has enough.
    #[error("this address holds as many connections as it may")]
    Address,
    /// This address and its neighbours together have.
    #[error("this network holds as many connections as it may")]
    Prefix,
    /// Others of its prefix misbehaved.
    #[error("too many nodes of this network were hung up on; it may try again in a moment")]
    Struck,
}

/// What a prefix has to its account.
struct Strikes {
    count: u32,
    /// When the count faded last.
    faded_at: Moment,
    /// When a connection from it was taken last.
    taken_at: Moment,
}

/// A connection that counts.
struct Held {
    node: PeerId,
    /// Whom it counts for, if it is incoming and its address tells.
    groups: Option<Groups>,
}

/// Whence a connection is.
#[derive(Clone, Copy)]
enum Way {
    /// We dialled.
    Out,
    /// It came, from there if its address tells.
    In(Option<Origin>),
}

/// Counts connections by where they come from, and dials. What ends leaves nothing behind but strikes, which are bounded.
#[derive(Default)]
pub(crate) struct Behaviour {
    now: Moment,
    dials: BTreeSet<ConnectionId>,
    held: BTreeMap<ConnectionId, Held>,
    by_node: BTreeMap<PeerId, usize>,
    /// Of those that came: how many each holds, and which.
    shares: Shares,
    by_address: BTreeSet<(Group, ConnectionId)>,
    strikes: BTreeMap<Prefix, Strikes>,
    /// Connections that make room for others.
    given_up: VecDeque<(PeerId, ConnectionId)>,
    /// Those that were, and still stand.
    going: BTreeSet<ConnectionId>,
}

impl Behaviour {
    /// What time it is.
    pub(crate) fn set_now(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    /// A node from there was hung up on for nonsense, and is not taken back under that name.
    pub(crate) fn strike(&mut self, origin: Origin) {
        // Whoever sits behind a proxy on this machine has no address of its own to be known by.
        if origin.is_here() {
            return;
        }
        let now = self.now;
        if self.strikes.len() >= limits::STRUCK_PREFIXES && !self.strikes.contains_key(&origin.prefix) {
            let mildest = self.strikes.iter().min_by_key(|(_, strikes)| (strikes.count, strikes.faded_at));
            if let Some(prefix) = mildest.map(|(prefix, _)| *prefix) {
                self.strikes.remove(&prefix);
            }
        }
        let strikes =
            self.strikes.entry(origin.prefix).or_insert(Strikes { count: 0, faded_at: now, taken_at: Moment(0) });
        strikes.fade(now);
        strikes.count = strikes.count.saturating_add(1);
    }

    /// Takes a connection in, if there is room for it or another makes it.
    fn admit(&mut self, id: ConnectionId, node: PeerId, way: Way) -> Result<(), Crowded> {
        if self.by_node.get(&node).is_some_and(|count| *count >= limits::CONNECTIONS_PER_NODE) {
            return Err(Crowded::Node);
        }
        let groups = match way {
            Way::In(Some(origin)) => Some(self.judge(origin)?),
            Way::In(None) | Way::Out => None,
        };
        if self.held.len() >= platform::CONNECTIONS && !self.make_room(way, groups) {
            return Err(Crowded::All);
        }
        self.forget(id);
        self.held.insert(id, Held { node, groups });
        *self.by_node.entry(node).or_default() += 1;
        if let Some(groups) = groups {
            self.shares.add(groups);
            self.by_address.insert((groups.address(), id));
        }
        Ok(())
    }

    /// Gives up the newest connection of whoever holds most, for one who holds less. A dial of our own is like one who holds
    /// nothing, so that strangers do not keep us from others; what comes through a circuit is nobody's that we know.
    fn make_room(&mut self, way: Way, groups: Option<Groups>) -> bool {
        if self.going.len() >= limits::CONNECTIONS_GOING {
            return false;
        }
        let most = match (way, groups) {
            (Way::In(_), Some(groups)) => self.shares.gives_way_to(Some(groups)),
            (Way::In(_), None) => None,
            (Way::Out, _) => self.shares.gives_way_to(None),
        };
        let Some(address) = most.map(Groups::address) else { return false };
        let [first, last] = [0, usize::MAX].map(|id| (address, ConnectionId::new_unchecked(id)));
        let Some((_, id)) = self.by_address.range(first..=last).next_back().copied() else { return false };
        if let Some(node) = self.held.get(&id).map(|held| held.node) {
            self.given_up.push_back((node, id));
        }
        self.forget(id);
        self.going.insert(id);
        true
    }

    fn forget(&mut self, id: ConnectionId) {
        self.dials.remove(&id);
        self.going.remove(&id);
        let Some(Held { node, groups }) = self.held.remove(&id) else { return };
        if let Some(count) = self.by_node.get_mut(&node) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_node.remove(&node);
            }
        }
        if let Some(groups) = groups {
            self.shares.remove(groups);
            self.by_address.remove(&(groups.address(), id));
        }
    }

    /// Whom one more from there counts for, if it is taken now.
    fn judge(&mut self, origin: Origin) -> Result<Groups, Crowded> {
        let now = self.now;
        if let Some(strikes) = self.strikes.get_mut(&origin.prefix) {
            strikes.fade(now);
            if strikes.count >= limits::STRIKES && now < strikes.taken_at + limits::STRUCK_PAUSE {
                return Err(Crowded::Struck);
            }
        }
        let groups = Groups::of(origin.address);
        let (of_address, of_prefix) = (self.shares.of(groups.address()), self.shares.of(groups.network()));
        let (address, prefix) = match origin.is_here() {
            true => (limits::CONNECTIONS_PER_PREFIX * 2, limits::CONNECTIONS_PER_PREFIX * 2),
            false => (limits::CONNECTIONS_PER_ADDRESS, limits::CONNECTIONS_PER_PREFIX),
        };
        if of_address >= address {
            Err(Crowded::Address)
        } else if of_prefix >= prefix {
            Err(Crowded::Prefix)
        } else {
            if let Some(strikes) = self.strikes.get_mut(&origin.prefix) {
                strikes.taken_at = now;
            }
            Ok(groups)
        }
    }
}

impl Strikes {
    fn fade(&mut self, now: Moment) {
        let faded = (now - self.faded_at).0 / limits::STRIKE_FADES.0;
        if faded > 0 {
            self.count = self.count.saturating_sub(u32::try_from(faded).unwrap_or(u32::MAX));
            self.faded_at = now;
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        node: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, node, Way::In(Origin::of(remote))).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.len() >= limits::PENDING_OUTGOING {
            return Err(ConnectionDenied::new(Crowded::Dials));
        }
        self.dials.insert(id);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        node: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.dials.remove(&id);
        self.admit(id, node, Way::Out).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p may add events")]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => self.forget(connection_id),
            // It came to nothing, or a later behaviour did not want it.
            FromSwarm::ListenFailure(failure) => self.forget(failure.connection_id),
            FromSwarm::DialFailure(failure) => self.forget(failure.connection_id),
            // The enum is libp2p's and open-ended.
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Filled while the swarm takes a connection, after which it looks here.
        match self.given_up.pop_front() {
            Some((peer_id, id)) => {
                tracing::debug!(%peer_id, "a connection of whoever holds most makes room for others");
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) })
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use libp2p::{
        core::ConnectedPoint,
        swarm::{DialError, behaviour::DialFailure},
    };

    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&format!("/ip4/{text}/tcp/1").parse().unwrap()).unwrap()
    }

    /// Takes connections from there until one is refused; how many were taken.
    fn fill(crowd: &mut Behaviour, from: Origin) -> usize {
        (0..100_000).take_while(|_| comes(crowd, crowd.held.len(), PeerId::random(), Some(from)).is_ok()).count()
    }

    fn comes(crowd: &mut Behaviour, id: usize, node: PeerId, from: Option<Origin>) -> Result<(), Crowded> {
        crowd.admit(ConnectionId::new_unchecked(id), node, Way::In(from))
    }

    fn dial(crowd: &mut Behaviour, id: usize, node: PeerId) -> Result<(), Crowded> {
        crowd.admit(ConnectionId::new_unchecked(id), node, Way::Out)
    }

    /// How many connections are given up.
    fn given_up(crowd: &mut Behaviour) -> usize {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        std::iter::from_fn(|| crowd.poll(&mut cx).is_ready().then_some(())).count()
    }

    fn goes(crowd: &mut Behaviour, id: usize, peer_id: PeerId) {
        let endpoint = ConnectedPoint::Listener { local_addr: Multiaddr::empty(), send_back_addr: Multiaddr::empty() };
        crowd.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
    }

    #[test]
    fn a_node_and_all_together_hold_only_so_many_connections_and_who_went_is_forgotten() {
        let (mut crowd, node) = (Behaviour::default(), PeerId::random());
        for id in 0..limits::CONNECTIONS_PER_NODE {
            assert!(comes(&mut crowd, id, node, Some(origin("192.0.2.1"))).is_ok());
        }
        assert!(matches!(comes(&mut crowd, 99, node, Some(origin("198.51.100.1"))), Err(Crowded::Node)));
        assert!(matches!(dial(&mut crowd, 99, node), Err(Crowded::Node)));
        goes(&mut crowd, 0, node);
        assert!(dial(&mut crowd, 99, node).is_ok());
        let all = (100..).take_while(|id| comes(&mut crowd, *id, PeerId::random(), None).is_ok()).count();
        assert_eq!(all, platform::CONNECTIONS - limits::CONNECTIONS_PER_NODE);
        // Of those that came from one address, a dial of our own takes the place of all but one.
        let more = (100 + all..).take_while(|id| dial(&mut crowd, *id, PeerId::random()).is_ok()).count();
        assert_eq!((more, given_up(&mut crowd)), (limits::CONNECTIONS_PER_NODE - 2, more));
        for id in 0..100 + all + more {
            goes(&mut crowd, id, node);
        }
        assert!(crowd.held.is_empty() && crowd.dials.is_empty() && crowd.by_node.is_empty());
        assert!(crowd.shares.is_empty() && crowd.by_address.is_empty());
    }

    #[test]
    fn only_so_many_dials_are_under_way() {
        let mut crowd = Behaviour::default();
        let dials = |crowd: &mut Behaviour, id: usize| {
            let id = ConnectionId::new_unchecked(id);
            crowd.handle_pending_outbound_connection(id, None, &[], Endpoint::Dialer).is_ok()
        };
        assert!((0..limits::PENDING_OUTGOING).all(|id| dials(&mut crowd, id)) && !dials(&mut crowd, 9_999));
        // One fails, one succeeds.
        crowd.on_swarm_event(FromSwarm::DialFailure(DialFailure {
            peer_id: None,
            error: &DialError::Aborted,
            connection_id: ConnectionId::new_unchecked(0),
        }));
        let one = ConnectionId::new_unchecked(1);
        let (node, port) = (PeerId::random(), PortUse::New);
        let up = crowd.handle_established_outbound_connection(one, node, &Multiaddr::empty(), Endpoint::Dialer, port);
        assert!(up.is_ok());
        assert!(dials(&mut crowd, 1_000) && dials(&mut crowd, 1_001) && !dials(&mut crowd, 1_002));
    }

    #[test]
    fn an_address_and_its_neighbours_hold_only_so_many_and_others_still_come() {
        let mut crowd = Behaviour::default();
        let mut held = 0;
        for neighbour in 1..=20 {
            held += fill(&mut crowd, origin(&format!("192.0.2.{neighbour}")));
        }
        assert_eq!(held, limits::CONNECTIONS_PER_PREFIX);
        assert_eq!(fill(&mut crowd, origin("192.0.3.1")), limits::CONNECTIONS_PER_ADDRESS);
    }

    #[test]
    fn a_few_prefixes_do_not_keep_others_out_by_holding_all_connections() {
        let mut crowd = Behaviour::default();
        let mut held = 0;
        for neighbour in 0..100 {
            held += fill(&mut crowd, origin(&format!("192.0.{}.{}", neighbour % 4, neighbour / 4)));
        }
        assert_eq!((held, crowd.held.len(), given_up(&mut crowd)), (platform::CONNECTIONS, platform::CONNECTIONS, 0));
        // Ids that none of the others has.
        let far = |crowd: &mut Behaviour, id: usize| {
            comes(crowd, 100_000 + id, PeerId::random(), Some(origin("203.0.113.1")))
        };
        assert!((0..100).all(|id| far(&mut crowd, id).is_ok()));
        assert_eq!((given_up(&mut crowd), crowd.held.len()), (100, platform::CONNECTIONS));
        let network = Groups::of("203.0.113.1".parse().unwrap()).network();
        let again = (200_000..201_000)
            .filter(|id| comes(&mut crowd, *id, PeerId::random(), Some(origin("192.0.2.1"))).is_ok())
            .count();
        assert_eq!(crowd.shares.of(network), 100, "whoever comes again and again gets nobody else's, after {again}");
        assert!(dial(&mut crowd, 300_000, PeerId::random()).is_ok());
        // Nobody is known behind a circuit.
        assert!(comes(&mut crowd, 300_001, PeerId::random(), None).is_err());
    }

    #[test]
    fn what_was_given_up_and_has_not_gone_counts_and_is_bounded() {
        let mut crowd = Behaviour::default();
        let mut id = 0;
        let mut fills = |crowd: &mut Behaviour, third: u8| {
            let before = id;
            for fourth in 0..=255_u8 {
                for _ in 0..8 {
                    let from = origin(&format!("203.0.{third}.{fourth}"));
                    if comes(crowd, id, PeerId::random(), Some(from)).is_ok() {
                        id += 1;
                    }
                }
            }
            id - before
        };
        for third in 0..4 {
            assert_eq!(fills(&mut crowd, third), 2_048);
        }
        let stand = |crowd: &Behaviour| crowd.held.len() + crowd.going.len();
        for third in 4..40 {
            fills(&mut crowd, third);
            assert!(stand(&crowd) <= platform::CONNECTIONS + limits::CONNECTIONS_GOING);
        }
        assert_eq!(given_up(&mut crowd), limits::CONNECTIONS_GOING);
        let going: Vec<_> = crowd.going.iter().copied().collect();
        for id in going {
            crowd.forget(id);
        }
        assert!(fills(&mut crowd, 40) > 0, "there is room again");
    }

    #[test]
    fn an_ipv6_household_holds_as_many_connections_as_an_address() {
        let mut crowd = Behaviour::default();
        let of = |n: usize| Origin::of(&format!("/ip6/2001:db8:1:2::{n:x}/tcp/1").parse().unwrap());
        let held = (0..600).filter(|n| comes(&mut crowd, *n, PeerId::random(), of(*n)).is_ok()).count();
        assert_eq!(held, limits::CONNECTIONS_PER_ADDRESS);
    }

    #[test]
    fn where_many_were_hung_up_on_newcomers_wait_a_moment_and_elsewhere_they_do_not() {
        let mut crowd = Behaviour::default();
        crowd.set_now(Moment(1_000_000));
        for neighbour in 0..limits::STRIKES {
            assert!(crowd.judge(origin("192.0.2.9")).is_ok());
            crowd.strike(origin(&format!("192.0.2.{neighbour}")));
        }
        crowd.set_now(Moment(1_000_000 + limits::STRUCK_PAUSE.0));
        assert!(crowd.judge(origin("192.0.2.200")).is_ok());
        assert!(matches!(crowd.judge(origin("192.0.2.201")), Err(Crowded::Struck)));
        assert!(crowd.judge(origin("192.0.3.1")).is_ok());
        crowd.set_now(Moment(1_000_000 + 2 * limits::STRUCK_PAUSE.0));
        assert!(crowd.judge(origin("192.0.2.201")).is_ok());
        // What was done fades; a proxy on this machine is not blamed for those behind it.
        crowd.set_now(Moment(1_000_000 + 100 * limits::STRIKE_FADES.0));
        assert!((0..3).all(|_| crowd.judge(origin("192.0.2.201")).is_ok()));
        (0..100).for_each(|_| crowd.strike(origin("127.0.0.1")));
        assert!((0..3).all(|_| crowd.judge(origin("127.0.0.1")).is_ok()));
    }
}
