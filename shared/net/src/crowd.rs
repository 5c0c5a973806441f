//! How many connections one address and its neighbours may hold, and how soon those may come again among whom many were
//! hung up on for nonsense. A libp2p behaviour of our own: the stock one counts all connections together and refuses
//! whoever comes last.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use p2pnet_shared::units::{Millis, Moment};

use crate::{
    limits,
    origin::{Origin, Prefix},
};

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
enum Crowded {
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

/// Counts incoming connections by where they come from.
#[derive(Default)]
pub struct Behaviour {
    now: Moment,
    held: BTreeMap<ConnectionId, Origin>,
    strikes: BTreeMap<Prefix, Strikes>,
}

impl Behaviour {
    /// What time it is.
    pub fn set_now(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    /// A node from there was hung up on for nonsense, and is not taken back under that name.
    pub fn strike(&mut self, origin: Origin) {
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

    /// Whether one more from there is taken now.
    fn judge(&mut self, origin: Origin) -> Result<(), Crowded> {
        let now = self.now;
        if let Some(strikes) = self.strikes.get_mut(&origin.prefix) {
            strikes.fade(now);
            if strikes.count >= limits::STRIKES && now < strikes.taken_at + Millis(limits::STRUCK_PAUSE_MILLIS) {
                return Err(Crowded::Struck);
            }
        }
        let of_address = self.held.values().filter(|held| held.address == origin.address).count();
        let of_prefix = self.held.values().filter(|held| held.prefix == origin.prefix).count();
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
            Ok(())
        }
    }
}

impl Strikes {
    fn fade(&mut self, now: Moment) {
        let faded = (now - self.faded_at).0 / limits::STRIKE_FADES_MILLIS;
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
        _: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if let Some(origin) = Origin::of(remote) {
            self.judge(origin).map_err(ConnectionDenied::new)?;
            self.held.insert(id, origin);
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.held.remove(&connection_id);
            }
            // A later behaviour did not want it.
            FromSwarm::ListenFailure(failure) => {
                self.held.remove(&failure.connection_id);
            }
            // The enum is libp2p's and open-ended.
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&format!("/ip4/{text}/tcp/1").parse().unwrap()).unwrap()
    }

    /// Takes connections from there until one is refused; how many were taken.
    fn fill(crowd: &mut Behaviour, from: Origin) -> usize {
        (0..100_000)
            .take_while(|_| {
                let taken = crowd.judge(from).is_ok();
                if taken {
                    crowd.held.insert(ConnectionId::new_unchecked(crowd.held.len()), from);
                }
                taken
            })
            .count()
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
    fn where_many_were_hung_up_on_newcomers_wait_a_moment_and_elsewhere_they_do_not() {
        let mut crowd = Behaviour::default();
        crowd.set_now(Moment(1_000_000));
        for neighbour in 0..limits::STRIKES {
            assert!(crowd.judge(origin("192.0.2.9")).is_ok());
            crowd.strike(origin(&format!("192.0.2.{neighbour}")));
        }
        crowd.set_now(Moment(1_000_000 + limits::STRUCK_PAUSE_MILLIS));
        assert!(crowd.judge(origin("192.0.2.200")).is_ok());
        assert!(matches!(crowd.judge(origin("192.0.2.201")), Err(Crowded::Struck)));
        assert!(crowd.judge(origin("192.0.3.1")).is_ok());
        crowd.set_now(Moment(1_000_000 + 2 * limits::STRUCK_PAUSE_MILLIS));
        assert!(crowd.judge(origin("192.0.2.201")).is_ok());
        // What was done fades; a proxy on this machine is not blamed for those behind it.
        crowd.set_now(Moment(1_000_000 + 100 * limits::STRIKE_FADES_MILLIS));
        assert!((0..3).all(|_| crowd.judge(origin("192.0.2.201")).is_ok()));
        (0..100).for_each(|_| crowd.strike(origin("127.0.0.1")));
        assert!((0..3).all(|_| crowd.judge(origin("127.0.0.1")).is_ok()));
    }
}
