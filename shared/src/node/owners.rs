//! Whose jobs this node coordinates: how many each owner may have, and whose turn it is.
//!
//! Room is shared so that nobody shuts others out: an owner has a bound of his own, well below the whole; past half of
//! the room nobody goes above an equal share; and the last quarter is for those who have next to nothing here.
//!
//! Turns go by work, in microseconds of one core: the owner who was given least comes first, and among his jobs, the most
//! urgent. Whoever comes, or comes back, begins where the others stand: nobody saves up turns, and nobody owes for the
//! time when he was alone.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::Turn;
use crate::{
    id::{JobId, OwnerId},
    refusal::{Code, Refusal},
};

/// Jobs that are not over.
pub(super) const JOBS: Room = Room { whole: 2048, one: 256, always: 4 };
/// Bytes of their sources.
pub(super) const SOURCE_BYTES: Room = Room { whole: 512 << 20, one: 128 << 20, always: 1 << 20 };
/// Owners without a job whose work is remembered.
const MOST_REMEMBERED: usize = 4096;
/// Jobs of one owner, and of all, that are offered to a node in one go.
const MOST_OF_ONE: usize = 64;
const MOST_IN_LINE: usize = 512;

/// How much of something there is for all owners together.
pub(super) struct Room {
    /// For all.
    pub(super) whole: usize,
    /// For one owner.
    pub(super) one: usize,
    /// What an owner gets out of the last quarter, which nobody gets more of.
    pub(super) always: usize,
}

/// Which bound stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The owner's own.
    Own,
    /// An equal share of a room that is more than half full.
    Share(usize),
    /// That of the whole.
    Whole,
}

impl Room {
    /// Whether an owner who holds `mine` of `all` may have `more`, where `owners` (he among them) hold something.
    fn admits(&self, mine: usize, all: usize, owners: usize, more: usize) -> Result<(), Full> {
        let (mine, all) = (mine.saturating_add(more), all.saturating_add(more));
        let open = self.whole - self.whole / 4;
        let share = (open / owners.max(1)).max(self.always);
        if mine > self.one {
            Err(Full::Own)
        } else if all > self.whole || (all > open && mine > self.always) {
            Err(Full::Whole)
        } else if all > open / 2 && mine > share {
            Err(Full::Share(share))
        } else {
            Ok(())
        }
    }
}

/// One owner.
#[derive(Default)]
struct Account {
    jobs: usize,
    bytes: usize,
    /// What he was given.
    work: u64,
    /// What his job that gave out a batch last had been given until then.
    reached: u64,
    /// His jobs with something that could go out.
    turns: BTreeSet<Turn>,
}

/// All owners of jobs that are not over.
#[derive(Default)]
pub(super) struct Owners {
    accounts: BTreeMap<OwnerId, Account>,
    /// Owners with something that could go out, by their work.
    line: BTreeSet<(u64, OwnerId)>,
    /// What the owner who was served last had been given until then.
    reached: u64,
    jobs: usize,
    bytes: usize,
    /// Owners with jobs that are not over.
    present: usize,
}

impl Owners {
    /// Whether one more job of `bytes` would be taken from an owner.
    pub(super) fn may_submit(&self, owner: OwnerId, bytes: usize) -> Result<(), Refusal> {
        let (jobs, held) = self.accounts.get(&owner).map_or((0, 0), |account| (account.jobs, account.bytes));
        let owners = self.present + usize::from(jobs == 0);
        let (message, hint) = match JOBS.admits(jobs, self.jobs, owners, 1) {
            Err(Full::Own) => (
                format!(
                    "you already have {jobs} jobs here that are not finished, and nobody may have more than {}",
                    JOBS.one
                ),
                "wait for one to finish, or cancel one",
            ),
            Err(Full::Share(share)) => (
                format!("this node's queue is more than half full, and your share of it, {share} jobs, is used up"),
                "wait for one of your jobs to finish, or cancel one",
            ),
            Err(Full::Whole) => (
                format!("this node's queue is full: {} jobs of {} owners are not finished", self.jobs, self.present),
                "try again later, or submit to another node",
            ),
            Ok(()) => match SOURCE_BYTES.admits(held, self.bytes, owners, bytes) {
                Err(Full::Own) => (
                    format!("your unfinished jobs here may hold {} MiB of data together", SOURCE_BYTES.one >> 20),
                    "wait for one to finish, or submit less data",
                ),
                Err(Full::Share(share)) => (
                    format!(
                        "this node's memory for jobs is more than half used, and your share is {} MiB",
                        share >> 20
                    ),
                    "wait for one of your jobs to finish, or submit less data",
                ),
                Err(Full::Whole) => (
                    format!("the unfinished jobs of this node may hold {} MiB together", SOURCE_BYTES.whole >> 20),
                    "try again later, or submit less data",
                ),
                Ok(()) => return Ok(()),
            },
        };
        Err(Refusal::new(Code::TooManyJobs, message, hint))
    }

    /// A job that is not over is there.
    pub(super) fn joins(&mut self, owner: OwnerId, bytes: usize) {
        self.forget_some();
        let reached = self.reached;
        let account = self.accounts.entry(owner).or_insert_with(|| Account { work: reached, ..Account::default() });
        self.present += usize::from(account.jobs == 0);
        account.jobs += 1;
        account.bytes += bytes;
        self.jobs += 1;
        self.bytes += bytes;
    }

    /// A job that had joined is over.
    pub(super) fn leaves(&mut self, owner: OwnerId, bytes: usize) {
        if let Some(account) = self.accounts.get_mut(&owner) {
            self.present -= usize::from(account.jobs == 1);
            account.jobs = account.jobs.saturating_sub(1);
            account.bytes = account.bytes.saturating_sub(bytes);
            self.jobs = self.jobs.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// How many owners have jobs that are not over.
    pub(super) fn count(&self) -> usize {
        self.present
    }

    /// Whether nobody has anything that could go out.
    pub(super) fn is_idle(&self) -> bool {
        self.line.is_empty()
    }

    /// Up to where an owner's jobs have been served: where one that begins to wait begins.
    pub(super) fn reached(&self, owner: OwnerId) -> u64 {
        self.accounts.get(&owner).map_or(0, |account| account.reached)
    }

    /// A job has something that could go out.
    pub(super) fn waits(&mut self, owner: OwnerId, turn: Turn) {
        let Some(account) = self.accounts.get_mut(&owner) else { return };
        if account.turns.is_empty() {
            account.work = account.work.max(self.reached);
            self.line.insert((account.work, owner));
        }
        account.turns.insert(turn);
    }

    /// A job has nothing that could go out any more.
    pub(super) fn rests(&mut self, owner: OwnerId, turn: &Turn) {
        if let Some(account) = self.accounts.get_mut(&owner)
            && account.turns.remove(turn)
            && account.turns.is_empty()
        {
            self.line.remove(&(account.work, owner));
        }
    }

    /// Jobs in the order of their turns: of him who was given least first.
    pub(super) fn turns(&self) -> impl Iterator<Item = JobId> {
        let turns = |(_, owner)| self.accounts.get(owner).into_iter().flat_map(|account| account.turns.iter());
        self.line
            .iter()
            .map(|(work, owner)| (*work, owner))
            .flat_map(move |owner| turns(owner).take(MOST_OF_ONE))
            .take(MOST_IN_LINE)
            .map(|turn| turn.job)
    }

    /// A job of an owner, given `job_work` until now, gives out a batch.
    pub(super) fn serves(&mut self, owner: OwnerId, job_work: u64) {
        if let Some(account) = self.accounts.get_mut(&owner) {
            self.reached = self.reached.max(account.work);
            account.reached = account.reached.max(job_work);
        }
    }

    /// An owner was given `more` work, and `less` of what was counted before.
    pub(super) fn charge(&mut self, owner: OwnerId, more: u64, less: u64) {
        let Some(account) = self.accounts.get_mut(&owner) else { return };
        let waits = self.line.remove(&(account.work, owner));
        account.work = account.work.saturating_add(more).saturating_sub(less);
        if waits {
            self.line.insert((account.work, owner));
        }
    }

    /// Forgets owners without jobs: those that owe nothing, and when there are too many, those that owe least.
    fn forget_some(&mut self) {
        let idle = self.accounts.len().saturating_sub(self.jobs);
        if idle < MOST_REMEMBERED / 2 {
            return;
        }
        let reached = self.reached;
        self.accounts.retain(|_, account| account.jobs > 0 || account.work > reached);
        let mut idle: Vec<(u64, OwnerId)> = self
            .accounts
            .iter()
            .filter(|(_, account)| account.jobs == 0)
            .map(|(owner, account)| (account.work, *owner))
            .collect();
        idle.sort_unstable();
        for (_, owner) in idle.iter().take(idle.len().saturating_sub(MOST_REMEMBERED / 2)) {
            self.accounts.remove(owner);
        }
    }

    /// Whether the books agree with the jobs: each with its owner, its bytes, and its turn if it waits.
    pub(super) fn audit(&self, jobs: impl Iterator<Item = (OwnerId, usize, Option<Turn>)>) -> Result<(), String> {
        let mut held: BTreeMap<OwnerId, (usize, usize, usize)> = BTreeMap::new();
        for (owner, bytes, turn) in jobs {
            let account = self.accounts.get(&owner).ok_or("a job's owner has no account")?;
            let known = held.entry(owner).or_default();
            known.0 += 1;
            known.1 += bytes;
            if let Some(turn) = turn {
                known.2 += 1;
                if !account.turns.contains(&turn) {
                    return Err("a job that waits has no turn".to_owned());
                }
            }
        }
        for (owner, account) in &self.accounts {
            let (jobs, bytes, turns) = held.get(owner).copied().unwrap_or_default();
            if (account.jobs, account.bytes, account.turns.len()) != (jobs, bytes, turns) {
                let books = (account.jobs, account.bytes, account.turns.len());
                return Err(format!("an owner's account says {books:?}, his jobs say {:?}", (jobs, bytes, turns)));
            }
            if self.line.contains(&(account.work, *owner)) == account.turns.is_empty() {
                return Err("the line of owners and their turns disagree".to_owned());
            }
        }
        let waiting = self.accounts.values().filter(|account| !account.turns.is_empty()).count();
        let total = held.values().fold((0, 0), |sum, (jobs, bytes, _)| (sum.0 + jobs, sum.1 + bytes));
        if waiting != self.line.len() || held.len() != self.present || total != (self.jobs, self.bytes) {
            return Err("the totals of owners disagree with their accounts".to_owned());
        }
        if self.accounts.len() > self.jobs + MOST_REMEMBERED {
            return Err("too many owners are remembered".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(number: u32) -> OwnerId {
        OwnerId::of(&number.to_le_bytes())
    }

    /// Submits as long as it is taken; how many were.
    fn greedy(owners: &mut Owners, of: OwnerId) -> usize {
        (0..JOBS.whole * 2).take_while(|_| owners.may_submit(of, 10).map(|()| owners.joins(of, 10)).is_ok()).count()
    }

    #[test]
    fn one_owner_fills_only_his_own_room_and_is_told_so() {
        let mut owners = Owners::default();
        assert_eq!(greedy(&mut owners, owner(1)), JOBS.one);
        let refusal = owners.may_submit(owner(1), 10).unwrap_err();
        assert_eq!(refusal.code, Code::TooManyJobs);
        assert!(refusal.message.contains("you already have 256 jobs"), "{}", refusal.message);
        assert_eq!(greedy(&mut owners, owner(2)), JOBS.one);
        owners.leaves(owner(1), 10);
        assert_eq!(owners.may_submit(owner(1), 10), Ok(()));
    }

    #[test]
    fn when_the_whole_is_nearly_full_newcomers_still_get_in() {
        let mut owners = Owners::default();
        let greedy_owners = 20;
        (0..greedy_owners).for_each(|number| _ = greedy(&mut owners, owner(number)));
        for number in 0..100 {
            let newcomer = owner(1000 + number);
            assert_eq!(owners.may_submit(newcomer, 1000), Ok(()), "newcomer {number}");
            owners.joins(newcomer, 1000);
        }
        assert!(owners.jobs <= JOBS.whole);
        // And one who has more than his share does not get what the newcomers leave.
        let big = (0..greedy_owners).map(owner).find(|owner| owners.accounts[owner].jobs == JOBS.one).unwrap();
        owners.leaves(big, 10);
        let message = owners.may_submit(big, 10).unwrap_err().message;
        assert!(message.contains("full"), "{message}");
    }

    #[test]
    fn an_owners_bytes_are_bounded_apart_from_his_jobs() {
        let mut owners = Owners::default();
        for _ in 0..4 {
            assert_eq!(owners.may_submit(owner(1), 32 << 20), Ok(()));
            owners.joins(owner(1), 32 << 20);
        }
        let message = owners.may_submit(owner(1), 1).unwrap_err().message;
        assert!(message.contains("128 MiB"), "{message}");
        assert_eq!(owners.may_submit(owner(2), 32 << 20), Ok(()));
    }

    proptest! {
        /// Whatever others hold, an owner with nothing is let in until every place is taken by someone.
        #[test]
        fn room_is_never_shut_by_one(held in prop::collection::vec(0usize..2000, 1..9), more in 1usize..4) {
            let mut owners = Owners::default();
            for (number, wanted) in (0u32..).zip(held) {
                for _ in 0..wanted {
                    if owners.may_submit(owner(number), 1).is_ok() {
                        owners.joins(owner(number), 1);
                    }
                }
            }
            for _ in 0..more {
                prop_assert_eq!(owners.may_submit(owner(999), 1), Ok(()));
                owners.joins(owner(999), 1);
            }
        }
    }
}
