//! What all roles of a node share: the time, chance, connections, blobs, and the way out for orders.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Effect, HostOrder, NetworkOrder, NodeConfig, Notice, Token, blobs::Blobs, chance::Chance, manners::Manners,
    peers::Peers,
};
use crate::{
    id::{JobId, NodeId},
    store::{Change, StoreKey},
    units::Moment,
    wire::{Message, Role},
};

/// The common ground of the roles.
pub(super) struct Core {
    pub(super) config: NodeConfig,
    pub(super) now: Moment,
    pub(super) chance: Chance,
    /// Distinguishes this life of the node from earlier ones, for peers that kept its work.
    pub(super) session: u64,
    /// The key of the names under which providers know jobs.
    names: [u8; 32],
    effects: VecDeque<Effect>,
    /// Messages from this node to itself: it is its own provider, and a seed its own broker.
    pub(super) loopback: VecDeque<Message>,
    pub(super) peers: Peers,
    pub(super) manners: Manners,
    pub(super) blobs: Blobs,
    /// Where this node can be dialled, best first.
    pub(super) addresses: Vec<String>,
    /// Something in the network view changed since it was last said.
    pub(super) network_changed: bool,
}

impl Core {
    pub(super) fn new(config: NodeConfig) -> Self {
        let names = *blake3::keyed_hash(&config.seed, b"names under which providers know jobs").as_bytes();
        let mut chance = Chance::new(config.seed);
        let session = chance.number();
        Self {
            config,
            now: Moment(0),
            chance,
            session,
            names,
            effects: VecDeque::new(),
            loopback: VecDeque::new(),
            peers: Peers::default(),
            manners: Manners::default(),
            blobs: Blobs::default(),
            addresses: Vec::new(),
            network_changed: false,
        }
    }

    /// What is to be done next.
    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(super) fn me(&self) -> NodeId {
        self.config.me
    }

    /// Whether a message to `node` would go out now.
    pub(super) fn reaches(&self, node: NodeId) -> bool {
        node == self.config.me || self.peers.is_connected(node)
    }

    /// The name under which a provider knows a job. Batches of one job share it, and nobody finds the id from it, with
    /// which the job could be read and stopped. This node itself knows the id.
    pub(super) fn cover(&self, provider: NodeId, job: JobId) -> JobId {
        if provider == self.me() {
            return job;
        }
        let mut name = [0; 16];
        name.copy_from_slice(&blake3::keyed_hash(&self.names, &job.0).as_bytes()[..16]);
        JobId(name)
    }

    /// Orders something about connections.
    pub(super) fn network(&mut self, order: NetworkOrder) {
        self.effects.push_back(Effect::Network(order));
    }

    /// Orders something of the host.
    pub(super) fn order(&mut self, order: HostOrder) {
        self.effects.push_back(Effect::Host(order));
    }

    /// Orders changes of records, and that it is said when they are kept. What was ordered of the same records just before, and
    /// the host has yet to hear of, it never does: a disk that is at work on that makes everybody wait who waits for this.
    pub(super) fn keep(&mut self, token: Token, changes: Vec<Change>) {
        let is_change = |effect: &Effect| matches!(effect, Effect::Host(HostOrder::Change(_)));
        if self.effects.iter().any(is_change) {
            let replaced: BTreeSet<StoreKey> = changes.iter().map(|(key, _)| *key).collect();
            self.effects.retain(|effect| match effect {
                Effect::Host(HostOrder::Change(before)) => !before.iter().all(|(key, _)| replaced.contains(key)),
                Effect::Host(_) | Effect::Network(_) | Effect::Tell(_) => true,
            });
        }
        self.order(HostOrder::Keep { token, changes });
    }

    /// Has whoever watches told.
    pub(super) fn tell(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Tell(notice));
    }

    /// Says something to a node; to nobody, if it is not connected. What matters is said again on reconnection.
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        if to == self.config.me {
            self.loopback.push_back(message);
        } else if self.peers.is_connected(to) {
            self.network(NetworkOrder::Send { to, message });
        }
    }

    /// Whether at least one seed is connected; a seed is its own.
    pub(super) fn is_online(&self) -> bool {
        self.config.role == Role::Seed || self.peers.connected_seeds().next().is_some()
    }
}
