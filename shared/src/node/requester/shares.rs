//! How much of a node's room for jobs each may have, and the words for whoever gets none.
//!
//! Room is shared so that nobody shuts others out, four times by the same rule: among regions, in each among its networks,
//! in each of those among its households, and in each of those among its owners. Each has a bound of its own, below that of
//! what is around it; past half of what is open to all nobody goes above an equal share; and the rest, a quarter of the whole
//! room and an eighth of the whole inside a region, a network and a household, is for those who have next to nothing there.
//! Owners alone would not do: a new token makes a new owner. Nor would households: who rents an IPv6 /48 has 65,536 of them.
//! Nor would networks: an IPv6 /40 has 256. A region may have all but the last quarter, which is left to other regions; a
//! network has an eighth of the whole less than its region, and a household as much less than its network: what is left there
//! is their neighbours'.

use crate::refusal::{Code, Refusal};

/// Jobs that are not over.
pub(super) const JOBS: Room = Room { whole: 2048, region: 1536, network: 1280, household: 1024, one: 256, always: 4 };
/// Bytes of their sources, and of the modules that those only name.
pub(super) const SOURCE_BYTES: Room = Room {
    whole: 512 << 20,
    region: 384 << 20,
    network: 320 << 20,
    household: 256 << 20,
    one: 128 << 20,
    always: 1 << 20,
};
/// Bytes of the outputs that they have gathered. What is gathered already cannot be refused: whoever holds more than he may
/// loses a job, and when a household, a network, a region or all together do, whoever of them holds most. So a network may have
/// as much as its region: neighbours that hold less lose nothing by it.
pub(super) const OUTPUT_BYTES: OutputRoom =
    OutputRoom { whole: 2 << 30, region: 3 << 29, network: 3 << 29, household: 1 << 30, one: 768 << 20 };

/// How much of something there is for all together.
pub(super) struct Room {
    /// For all.
    pub(super) whole: usize,
    /// For the networks of one region.
    pub(super) region: usize,
    /// For the households of one network.
    pub(super) network: usize,
    /// For the owners of one household.
    pub(super) household: usize,
    /// For one owner.
    pub(super) one: usize,
    /// What a region, a network in it, a household in that, and an owner in that, gets out of the last part, which nobody gets
    /// more of.
    pub(super) always: usize,
}

/// How many bytes of outputs there is room for: for all, for one region, for one network, for one household, for one owner.
pub(super) struct OutputRoom {
    whole: usize,
    region: usize,
    network: usize,
    household: usize,
    one: usize,
}

impl OutputRoom {
    /// Who holds more than he may, of an owner, his household, its network, its region and all together, in this order; and
    /// what to say to whoever holds most of that.
    pub(super) fn beyond(&self, held: [usize; 5]) -> Option<(Level, Refusal)> {
        let bounds = [
            (Level::Owner, self.one, "your unfinished jobs here"),
            (Level::Household, self.household, "the unfinished jobs from your address, of which yours hold most,"),
            (Level::Network, self.network, "the unfinished jobs from your network, of which yours hold most,"),
            (Level::Region, self.region, "the unfinished jobs from your wide network, of which yours hold most,"),
            (Level::All, self.whole, "the unfinished jobs of this node, of which yours hold most,"),
        ];
        let mut levels = bounds.into_iter().zip(held);
        let ((level, most, whose), _) = levels.find(|((_, most, _), held)| held > most)?;
        let message = format!("the outputs of {whose} are larger than {} MiB together", most >> 20);
        Some((level, Refusal::new(Code::TooLarge, message, "run fewer jobs at once, or jobs that put less out")))
    }
}

/// Of whom something is counted, the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Owner,
    Household,
    Network,
    Region,
    All,
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
    /// Of a network, in what is its region's.
    Network(Full),
    /// Of a region, in what is everybody's.
    Region(Full),
}

/// What somebody holds of a room, and what he and all others in it do.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) mine: usize,
    pub(super) all: usize,
    /// Who hold something, he among them.
    pub(super) parties: usize,
}

/// The same for an owner, his household, its network and that one's region.
#[derive(Clone, Copy)]
pub(super) struct HeldByAll {
    pub(super) owner: Held,
    pub(super) household: Held,
    pub(super) network: Held,
    pub(super) region: Held,
}

/// What those at one level share.
#[derive(Clone, Copy)]
struct Part {
    whole: usize,
    /// What of that is not for those alone who have next to nothing.
    open: usize,
    /// What one may have.
    one: usize,
    /// What is next to nothing.
    always: usize,
}

impl Held {
    /// Whether `more` fits into a part.
    fn admits(self, part: Part, more: usize) -> Result<(), Full> {
        let Part { whole, open, one, always } = part;
        let (mine, all) = (self.mine.saturating_add(more), self.all.saturating_add(more));
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
    /// Whether somebody may have `more`: of what is his household's, of what is its network's, of what is that one's region's,
    /// and of what is everybody's.
    pub(super) fn admits(&self, held: HeldByAll, more: usize) -> Result<(), Bound> {
        let HeldByAll { owner, household, network, region } = held;
        let always = self.always;
        let inside = |whole: usize, one: usize| Part { whole, open: whole - self.whole / 8, one, always };
        let all = Part { whole: self.whole, open: self.whole - self.whole / 4, one: self.region, always };
        owner.admits(inside(self.household, self.one), more).map_err(Bound::Owner)?;
        household.admits(inside(self.network, self.household), more).map_err(Bound::Household)?;
        network.admits(inside(self.region, self.network), more).map_err(Bound::Network)?;
        region.admits(all, more).map_err(Bound::Region)
    }
}

/// What stands in the way of one more job. `held` counts jobs; `busy` are owners with jobs, of a household and of a
/// network, networks with jobs of a region, and owners of all.
pub(super) fn too_many_jobs(bound: Bound, held: HeldByAll, busy: [usize; 4]) -> Refusal {
    let [in_household, in_network, in_region, in_all] = busy;
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
                "the queue for your wide network (an IPv4 /16, an IPv6 /32) is more than half full, and the share of \
                 your network, {share} jobs, is used up"
            ),
            "wait for one of your jobs to finish, or cancel one",
        ),
        Bound::Network(Full::Whole) | Bound::Region(Full::Own) => (
            format!(
                "the queue for your wide network (an IPv4 /16, an IPv6 /32) is full: {} jobs of {in_region} networks \
                 are not finished",
                held.region.mine
            ),
            "wait for some of them to finish, or submit to another node",
        ),
        Bound::Region(Full::Share(share)) => (
            format!(
                "this node's queue is more than half full, and the share of your wide network (an IPv4 /16, an IPv6 \
                 /32), {share} jobs, is used up"
            ),
            "wait for one of your jobs to finish, or cancel one",
        ),
        Bound::Region(Full::Whole) => (
            format!("this node's queue is full: {} jobs of {in_all} owners are not finished", held.region.all),
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
        | Bound::Network(Full::Share(share))
        | Bound::Region(Full::Share(share)) => (
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
        Bound::Network(Full::Whole) | Bound::Region(Full::Own) => (
            format!(
                "the unfinished jobs from your wide network (an IPv4 /16, an IPv6 /32) may hold {} MiB together",
                SOURCE_BYTES.region >> 20
            ),
            "wait for some of them to finish, or submit less data or a smaller module",
        ),
        Bound::Region(Full::Whole) => (
            format!("the unfinished jobs of this node may hold {} MiB together", SOURCE_BYTES.whole >> 20),
            "try again later, or submit less data or a smaller module",
        ),
    };
    Refusal::new(Code::TooManyJobs, message, hint)
}
