//! What regions hold of this node's room for jobs, beside the tree of those whose turns are taken: a region's networks have
//! nothing to do with each other, so turns do not go by it, but who has many of them would else fill the room with a little
//! from each.

use std::collections::BTreeMap;

use crate::id::{Holder, OwnerId};

/// What somebody holds: jobs that are not over, bytes of their sources, and of the outputs that they have gathered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) jobs: usize,
    pub(super) bytes: usize,
    pub(super) outputs: usize,
}

/// What one region holds, and each of its networks of that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Region {
    all: Amount,
    networks: BTreeMap<OwnerId, Amount>,
}

/// The regions that hold something.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Regions(BTreeMap<OwnerId, Region>);

impl Region {
    /// What all its networks hold together.
    pub(super) fn all(&self) -> Amount {
        self.all
    }

    /// What one of its networks holds.
    pub(super) fn of(&self, network: OwnerId) -> Amount {
        self.networks.get(&network).copied().unwrap_or_default()
    }

    /// How many of its networks hold something.
    pub(super) fn networks(&self) -> usize {
        self.networks.len()
    }

    /// Its network that has gathered most outputs.
    pub(super) fn most_outputs(&self) -> Option<OwnerId> {
        self.networks.iter().max_by_key(|(_, amount)| amount.outputs).map(|(id, _)| *id)
    }
}

impl Regions {
    /// What one region holds, if that is anything.
    pub(super) fn get(&self, region: OwnerId) -> Option<&Region> {
        self.0.get(&region)
    }

    /// How many regions hold something.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The region that has gathered most outputs.
    pub(super) fn most_outputs(&self) -> Option<OwnerId> {
        self.0.iter().max_by_key(|(_, region)| region.all.outputs).map(|(id, _)| *id)
    }

    /// Changes what a holder's region and network hold; forgets whoever of them holds nothing then.
    pub(super) fn change(&mut self, holder: Holder, change: impl Fn(&mut Amount)) {
        let region = self.0.entry(holder.region).or_default();
        let network = region.networks.entry(holder.network).or_default();
        change(network);
        change(&mut region.all);
        if *network == Amount::default() {
            region.networks.remove(&holder.network);
        }
        if region.networks.is_empty() {
            self.0.remove(&holder.region);
        }
    }
}
