//! Who is connected, and which seeds to stay connected to.

use std::collections::BTreeMap;

use super::{NetworkOrder, core::Core, manners::Standing};
use crate::{
    api::{Path, SeedVersion},
    id::NodeId,
    units::{Millis, Moment},
    wire::{Extensions, Message, Role, Version},
};

/// Connections beyond this are closed again at once.
const MOST_PEERS: usize = 8192;
/// Seeds beyond this are not remembered.
const MOST_SEEDS: usize = 64;
/// First and longest pause before a lost seed is dialled again.
const REDIAL_MILLIS: (u64, u64) = (250, 10_000);
/// Pause before a seed that speaks no version of ours is dialled again, if nothing new is heard of it: somebody may have
/// brought it up to date, or back.
const OTHER_VERSION_PAUSE: Millis = Millis(60_000);
/// An ordered dial that is not answered counts as failed.
const DIAL_PATIENCE: Millis = Millis(30_000);
/// Longest text that a node may describe itself with, in characters.
pub(super) const MOST_AGENT_CHARACTERS: usize = 64;

/// A connected node.
pub(super) struct Peer {
    pub(super) path: Path,
    pub(super) transport: &'static str,
    pub(super) round_trip_millis: Option<u32>,
    /// What it said of itself, once it did.
    pub(super) greeting: Option<Greeting>,
    /// When it last said anything.
    pub(super) heard_at: Moment,
    pub(super) standing: Standing,
    /// It was hung up on, and its connection has not ended yet.
    pub(super) leaving: bool,
}

/// What a node said of itself.
pub(super) struct Greeting {
    pub(super) role: Role,
    pub(super) agent: String,
    pub(super) session: u64,
}

struct Seed {
    addresses: Vec<String>,
    dialled_at: Option<Moment>,
    failures: u32,
    dial_after: Moment,
    /// It speaks no version of the protocol that this node does.
    other_version: Option<SeedVersion>,
}

/// The connection table.
#[derive(Default)]
pub(super) struct Peers {
    connected: BTreeMap<NodeId, Peer>,
    seeds: BTreeMap<NodeId, Seed>,
}

impl Peers {
    pub(super) fn is_connected(&self, node: NodeId) -> bool {
        self.connected.contains_key(&node)
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.connected.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.connected.get_mut(&node)
    }

    pub(super) fn connected(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.connected.iter().map(|(node, peer)| (*node, peer))
    }

    pub(super) fn is_seed(&self, node: NodeId) -> bool {
        self.seeds.contains_key(&node)
    }

    pub(super) fn connected_seeds(&self) -> impl Iterator<Item = NodeId> {
        self.seeds.keys().copied().filter(|seed| self.connected.contains_key(seed))
    }

    pub(super) fn round_trip(&mut self, node: NodeId, millis: u32) {
        if let Some(peer) = self.connected.get_mut(&node) {
            peer.round_trip_millis = Some(millis);
        }
    }

    /// What keeps this node from its seeds, if no seed is connected and one of them speaks another version.
    pub(super) fn seed_version(&self) -> Option<SeedVersion> {
        let is_alone = self.connected_seeds().next().is_none();
        is_alone.then(|| self.seeds.values().find_map(|seed| seed.other_version)).flatten()
    }

    /// When a seed has to be dialled next.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.seeds
            .iter()
            .filter(|(node, _)| !self.connected.contains_key(node))
            .map(|(_, seed)| seed.dialled_at.map_or(seed.dial_after, |at| at + DIAL_PATIENCE))
            .min()
    }
}

impl Core {
    /// A connection is there; `false` when it is not wanted and was closed again.
    pub(super) fn connected(&mut self, node: NodeId, path: Path, transport: &'static str) -> bool {
        let banned = self.manners.is_banned(node, self.now);
        let full = self.peers.connected.len() >= MOST_PEERS && !self.peers.is_connected(node);
        if node == self.me() || banned || full {
            self.network(NetworkOrder::Hang { node, banned: false });
            return false;
        }
        if let Some(seed) = self.peers.seeds.get_mut(&node) {
            seed.dialled_at = None;
        }
        let known = self.peers.connected.remove(&node);
        let now = self.now;
        let peer = match known {
            Some(peer) => Peer { path, transport, ..peer },
            None => Peer {
                path,
                transport,
                round_trip_millis: None,
                greeting: None,
                heard_at: now,
                standing: self.manners.comes(node),
                leaving: false,
            },
        };
        self.peers.connected.insert(node, peer);
        self.network_changed = true;
        let hello = Message::Hello {
            role: self.config.role,
            agent: self.config.agent.chars().take(MOST_AGENT_CHARACTERS).collect(),
            session: self.session,
            extensions: Extensions::default(),
        };
        self.send(node, hello);
        true
    }

    /// A node said who it is. `false` when it cannot be talked with.
    pub(super) fn greeted(&mut self, from: NodeId, role: Role, agent: String, session: u64) -> bool {
        if agent.chars().count() > MOST_AGENT_CHARACTERS {
            self.nonsense(from, 10);
            return false;
        }
        if let Some(peer) = self.peers.connected.get_mut(&from) {
            peer.greeting = Some(Greeting { role, agent, session });
            self.network_changed = true;
        }
        if let Some(seed) = self.peers.seeds.get_mut(&from) {
            seed.failures = 0;
            seed.other_version = None;
        }
        true
    }

    /// The connection to a node is another one now.
    pub(super) fn moved(&mut self, node: NodeId, path: Path, transport: &'static str) {
        if let Some(peer) = self.peers.connected.get_mut(&node) {
            // What was measured was measured on the old one.
            (peer.path, peer.transport, peer.round_trip_millis) = (path, transport, None);
            self.network_changed = true;
        }
    }

    pub(super) fn disconnected(&mut self, node: NodeId) {
        // A seed that hangs up without a word is as good as one that cannot be dialled.
        let mute = match self.peers.connected.remove(&node) {
            Some(peer) => {
                self.network_changed = true;
                self.manners.goes(node, peer.standing, self.now);
                peer.greeting.is_none()
            }
            None => true,
        };
        self.seed_lost(node, mute);
    }

    pub(super) fn seed_known(&mut self, node: NodeId, mut addresses: Vec<String>) {
        addresses.truncate(16);
        if node == self.me() {
            return;
        }
        let now = self.now;
        if let Some(seed) = self.peers.seeds.get_mut(&node) {
            seed.addresses = addresses;
            seed.failures = 0;
            seed.dial_after = now;
        } else if self.peers.seeds.len() < MOST_SEEDS {
            self.peers
                .seeds
                .insert(node, Seed { addresses, dialled_at: None, failures: 0, dial_after: now, other_version: None });
            self.network_changed = true;
        }
        self.dial_seeds();
    }

    /// A dial came to nothing, or (`failed` false) a connection ended: when to try the seed again.
    pub(super) fn seed_lost(&mut self, node: NodeId, failed: bool) {
        let jitter = self.chance.below(250);
        let now = self.now;
        if let Some(seed) = self.peers.seeds.get_mut(&node) {
            seed.dialled_at = None;
            seed.failures = if failed { seed.failures.saturating_add(1) } else { 0 };
            let pause = match seed.other_version {
                None => (REDIAL_MILLIS.0 << seed.failures.min(8)).min(REDIAL_MILLIS.1),
                Some(SeedVersion::Newer | SeedVersion::Older) => OTHER_VERSION_PAUSE.0,
            };
            seed.dial_after = now + Millis(pause * (1000 + jitter) / 1000);
        }
    }

    /// A node speaks no version of the protocol that this one does. Of one that does not say what it speaks, nothing is known
    /// but that it is not ours: an older one would have understood the first version.
    pub(super) fn speaks_other_version(&mut self, node: NodeId, newest: Option<u16>) {
        let is_older = newest.is_some_and(|newest| newest < Version::NEWEST.number());
        if let Some(seed) = self.peers.seeds.get_mut(&node) {
            seed.other_version = Some(if is_older { SeedVersion::Older } else { SeedVersion::Newer });
            self.network_changed = true;
            self.seed_lost(node, true);
        }
    }

    /// Dials every seed that is not connected and whose pause is over.
    pub(super) fn dial_seeds(&mut self) {
        let now = self.now;
        let given_up: Vec<NodeId> = self
            .peers
            .seeds
            .iter()
            .filter(|(_, seed)| seed.dialled_at.is_some_and(|at| now >= at + DIAL_PATIENCE))
            .map(|(node, _)| *node)
            .collect();
        for node in given_up {
            self.seed_lost(node, true);
        }
        let mut dials = Vec::new();
        for (node, seed) in &mut self.peers.seeds {
            if seed.dialled_at.is_none() && now >= seed.dial_after && !self.peers.connected.contains_key(node) {
                seed.dialled_at = Some(now);
                dials.push(NetworkOrder::Dial { node: *node, addresses: seed.addresses.clone() });
            }
        }
        dials.into_iter().for_each(|dial| self.network(dial));
    }
}
