//! How much of a node's room for jobs each may have, and the words for whoever gets none.
//!
//! Room is shared so that nobody shuts others out, three times by the same rule: among networks, in each among its
//! households, and in each of those among its owners. Each has a bound of its own, below the whole; past half of the room
//! nobody goes above an equal share; and the last quarter is for those who have next to nothing here. Owners alone would
//! not do: a new token makes a new owner. Nor would households: who rents an IPv6 /48 has 65,536 of them.

use crate::refusal::{Code, Refusal};

/// Jobs that are not over.
pub(super) const JOBS: Room = Room { whole: 2048, network: 1536, household: 1024, one: 256, always: 4 };
/// Bytes of their sources, and of the modules that those only name.
pub(super) const SOURCE_BYTES: Room =
    Room { whole: 512 << 20, network: 384 << 20, household: 256 << 20, one: 128 << 20, always: 1 << 20 };
/// Bytes of the outputs that they have gathered. What is gathered already cannot be refused: whoever holds more than he may
/// loses a job, and when a household, a network or all together do, whoever of them holds most.
pub(super) const OUTPUT_BYTES: OutputRoom =
    OutputRoom { whole: 2 << 30, network: 3 << 29, household: 1 << 30, one: 768 << 20 };

/// How much of something there is for all together.
pub(super) struct Room {
    /// For all.
    pub(super) whole: usize,
    /// For the households of one network.
    pub(super) network: usize,
    /// For the owners of one household.
    pub(super) household: usize,
    /// For one owner.
    pub(super) one: usize,
    /// What a network, a household in it, and an owner in that, gets out of the last quarter, which nobody gets more of.
    pub(super) always: usize,
}

/// How many bytes of outputs there is room for: for all, for one network, for one household, for one owner.
pub(super) struct OutputRoom {
    whole: usize,
    network: usize,
    household: usize,
    one: usize,
}

impl OutputRoom {
    /// Who holds more than he may, of an owner, his household, its network and all together, as a place in this order; and
    /// what to say to whoever holds most of that.
    pub(super) fn beyond(&self, held: [usize; 4]) -> Option<(usize, Refusal)> {
        let bounds = [
            (self.one, "your unfinished jobs here"),
            (self.household, "the unfinished jobs from your address, of which yours hold most,"),
            (self.network, "the unfinished jobs from your network, of which yours hold most,"),
            (self.whole, "the unfinished jobs of this node, of which yours hold most,"),
        ];
        let mut levels = bounds.into_iter().zip(held).enumerate();
        let (level, ((most, whose), _)) = levels.find(|(_, ((most, _), held))| held > most)?;
        let message = format!("the outputs of {whose} are larger than {} MiB together", most >> 20);
        Some((level, Refusal::new(Code::TooLarge, message, "run fewer jobs at once, or jobs that put less out")))
    }
}

/// Which bound stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// One's own.
    Own,
    /// An equal share of a room that is more than half full.
    Share(usize),
    /// That of the whole.
    Whole,
}

/// The same, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Of an owner, in what is his household's.
    Owner(Full),
    /// Of a household, in what is its network's.
    Household(Full),
    /// Of a network, in what is everybody's.
    Network(Full),
}

/// What somebody holds of a room, and what he and all others in it do.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) mine: usize,
    pub(super) all: usize,
    /// Who hold something, he among them.
    pub(super) parties: usize,
}

/// The same for an owner, his household and its network.
#[derive(Clone, Copy)]
pub(super) struct HeldByAll {
    pub(super) owner: Held,
    pub(super) household: Held,
    pub(super) network: Held,
}

impl Held {
    /// Whether `more` fits into a `whole` of which nobody may have more than `one`.
    fn admits(self, whole: usize, one: usize, always: usize, more: usize) -> Result<(), Full> {
        let (mine, all) = (self.mine.saturating_add(more), self.all.saturating_add(more));
        let open = whole - whole / 4;
        let share = (open / self.parties.max(1)).max(always);
        if mine > one {
            Err(Full::Own)
        } else if all > whole || (all > open && mine > always) {
            Err(Full::Whole)
        } else if all > open / 2 && mine > share {
            Err(Full::Share(share))
        } else {
            Ok(())
        }
    }
}

impl Room {
    /// Whether somebody may have `more`: of what is his household's, of what is its network's, and of what is everybody's.
    pub(super) fn admits(&self, held: HeldByAll, more: usize) -> Result<(), Bound> {
        let HeldByAll { owner, household, network } = held;
        owner.admits(self.household, self.one, self.always, more).map_err(Bound::Owner)?;
        household.admits(self.network, self.household, self.always, more).map_err(Bound::Household)?;
        network.admits(self.whole, self.network, self.always, more).map_err(Bound::Network)
    }
}

/// What stands in the way of one more job. `held` counts jobs; `busy` are owners with jobs, of a household, of a network
/// and of all.
pub(super) fn too_many_jobs(bound: Bound, held: HeldByAll, busy: [usize; 3]) -> Refusal {
    let [in_household, in_network, in_all] = busy;
    let (message, hint) = match bound {
        Bound::Owner(Full::Own) => (
            format!(
                "you already have {} jobs here that are not finished, and nobody may have more than {}",
                held.owner.mine, JOBS.one
            ),
            "wait for one to finish, or cancel one",
        ),
        Bound::Owner(Full::Share(share)) => (
            format!(
                "the queue for your address is more than half full, and your share of it, {share} jobs, is used up"
            ),
            "wait for one of your jobs to finish, or cancel one",
        ),
        Bound::Owner(Full::Whole) | Bound::Household(Full::Own) => (
            format!(
                "the queue for your address is full: {} jobs of {in_household} owners are not finished",
                held.household.mine
            ),
            "wait for some of them to finish, or submit to another node",
        ),
        Bound::Household(Full::Share(share)) => (
            format!(
                "the queue for your network is more than half full, and the share of your address, {share} jobs, is \
                 used up"
            ),
            "wait for one of your jobs to finish, or cancel one",
        ),
        Bound::Household(Full::Whole) | Bound::Network(Full::Own) => (
            format!(
                "the queue for your network (an IPv4 /24, an IPv6 /48) is full: {} jobs of {in_network} owners are not \
                 finished",
                held.network.mine
            ),
            "wait for some of them to finish, or submit to another node",
        ),
        Bound::Network(Full::Share(share)) => (
            format!(
                "this node's queue is more than half full, and the share of your network, {share} jobs, is used up"
            ),
            "wait for one of your jobs to finish, or cancel one",
        ),
        Bound::Network(Full::Whole) => (
            format!("this node's queue is full: {} jobs of {in_all} owners are not finished", held.network.all),
            "try again later, or submit to another node",
        ),
    };
    Refusal::new(Code::TooManyJobs, message, hint)
}

/// What stands in the way of so many more bytes of sources.
pub(super) fn too_much_data(bound: Bound) -> Refusal {
    let (message, hint) = match bound {
        Bound::Owner(Full::Own) => (
            format!("your unfinished jobs here may hold {} MiB of data and modules together", SOURCE_BYTES.one >> 20),
            "wait for one to finish, or submit less data or a smaller module",
        ),
        Bound::Owner(Full::Share(share))
        | Bound::Household(Full::Share(share))
        | Bound::Network(Full::Share(share)) => (
            format!("this node's memory for jobs is more than half used, and your share is {} MiB", share >> 20),
            "wait for one of your jobs to finish, or submit less data or a smaller module",
        ),
        Bound::Owner(Full::Whole) | Bound::Household(Full::Own) => (
            format!("the unfinished jobs from your address may hold {} MiB together", SOURCE_BYTES.household >> 20),
            "wait for some of them to finish, or submit less data or a smaller module",
        ),
        Bound::Household(Full::Whole) | Bound::Network(Full::Own) => (
            format!("the unfinished jobs from your network may hold {} MiB together", SOURCE_BYTES.network >> 20),
            "wait for some of them to finish, or submit less data or a smaller module",
        ),
        Bound::Network(Full::Whole) => (
            format!("the unfinished jobs of this node may hold {} MiB together", SOURCE_BYTES.whole >> 20),
            "try again later, or submit less data or a smaller module",
        ),
    };
    Refusal::new(Code::TooManyJobs, message, hint)
}
