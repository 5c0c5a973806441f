//! Whose jobs this node coordinates: how many each owner may have, and whose turn it is.
//!
//! Room is shared so that nobody shuts others out, twice by the same rule: among households, and in each among its owners.
//! Each has a bound of its own, well below the whole; past half of the room nobody goes above an equal share; and the last
//! quarter is for those who have next to nothing here. Owners alone would not do: a new token makes a new owner.
//!
//! Turns go by work, in microseconds of one core: the household that was given least comes first, in it the owner who was
//! given least, and among his jobs, the most urgent. Whoever comes, or comes back, begins where the others stand: nobody
//! saves up turns, and nobody owes for the time when he was alone.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::Turn;
use crate::{
    id::{Holder, JobId, OwnerId},
    refusal::{Code, Refusal},
};

/// Jobs that are not over.
pub(super) const JOBS: Room = Room { whole: 2048, household: 1024, one: 256, always: 4 };
/// Bytes of their sources.
pub(super) const SOURCE_BYTES: Room = Room { whole: 512 << 20, household: 256 << 20, one: 128 << 20, always: 1 << 20 };
/// Owners without a job whose work is remembered.
const MOST_REMEMBERED: usize = 4096;
/// Jobs of one owner, of one household, and of all, that are offered to a node in one go.
const MOST_OF_ONE: usize = 64;
const MOST_OF_HOUSEHOLD: usize = 128;
const MOST_IN_LINE: usize = 512;

/// How much of something there is for all together.
pub(super) struct Room {
    /// For all.
    pub(super) whole: usize,
    /// For the owners of one household.
    pub(super) household: usize,
    /// For one owner.
    pub(super) one: usize,
    /// What a household, and an owner in it, gets out of the last quarter, which nobody gets more of.
    pub(super) always: usize,
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
enum Bound {
    OfOwner(Full),
    OfHousehold(Full),
}

/// What somebody holds of a room, and what he and all others do.
#[derive(Clone, Copy)]
struct Held {
    mine: usize,
    all: usize,
    /// Who hold something, he among them.
    parties: usize,
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
    /// Whether an owner may have `more`: of what is his household's, and of what is everybody's.
    fn admits(&self, owner: Held, household: Held, more: usize) -> Result<(), Bound> {
        owner.admits(self.household, self.one, self.always, more).map_err(Bound::OfOwner)?;
        household.admits(self.whole, self.household, self.always, more).map_err(Bound::OfHousehold)
    }
}

/// One owner in a household.
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

/// The owners of jobs that came from one place.
#[derive(Default)]
struct Household {
    owners: BTreeMap<OwnerId, Account>,
    /// Those with something that could go out, by their work.
    line: BTreeSet<(u64, OwnerId)>,
    /// What they were given together.
    work: u64,
    /// What the owner who was served last had been given until then.
    reached: u64,
    jobs: usize,
    bytes: usize,
    /// Owners with jobs that are not over.
    present: usize,
}

/// All owners of jobs that are not over.
#[derive(Default)]
pub(super) struct Owners {
    households: BTreeMap<OwnerId, Household>,
    /// Households with something that could go out, by their work.
    line: BTreeSet<(u64, OwnerId)>,
    /// What the household that was served last had been given until then.
    reached: u64,
    jobs: usize,
    bytes: usize,
    /// Households with jobs that are not over.
    present: usize,
    /// Owners with an account, and those of them with jobs that are not over.
    known: usize,
    busy: usize,
}

impl Owners {
    /// Whether one more job of `bytes` would be taken from a holder.
    pub(super) fn may_submit(&self, holder: Holder, bytes: usize) -> Result<(), Refusal> {
        let nobody = Household::default();
        let household = self.households.get(&holder.household).unwrap_or(&nobody);
        let (jobs, held) = household.owners.get(&holder.owner).map_or((0, 0), |account| (account.jobs, account.bytes));
        let owners = household.present + usize::from(jobs == 0);
        let households = self.present + usize::from(household.jobs == 0);
        let of_owner = |mine, all| Held { mine, all, parties: owners };
        let of_household = |mine, all| Held { mine, all, parties: households };
        let admitted = JOBS.admits(of_owner(jobs, household.jobs), of_household(household.jobs, self.jobs), 1);
        let (message, hint) = match admitted {
            Err(Bound::OfOwner(Full::Own)) => (
                format!(
                    "you already have {jobs} jobs here that are not finished, and nobody may have more than {}",
                    JOBS.one
                ),
                "wait for one to finish, or cancel one",
            ),
            Err(Bound::OfOwner(Full::Share(share))) => (
                format!(
                    "the queue for your address is more than half full, and your share of it, {share} jobs, is used up"
                ),
                "wait for one of your jobs to finish, or cancel one",
            ),
            Err(Bound::OfOwner(Full::Whole) | Bound::OfHousehold(Full::Own)) => (
                format!(
                    "the queue for your address is full: {} jobs of {} owners are not finished",
                    household.jobs, household.present
                ),
                "wait for some of them to finish, or submit to another node",
            ),
            Err(Bound::OfHousehold(Full::Share(share))) => (
                format!(
                    "this node's queue is more than half full, and the share of your address, {share} jobs, is used up"
                ),
                "wait for one of your jobs to finish, or cancel one",
            ),
            Err(Bound::OfHousehold(Full::Whole)) => (
                format!("this node's queue is full: {} jobs of {} owners are not finished", self.jobs, self.busy),
                "try again later, or submit to another node",
            ),
            Ok(()) => {
                let admitted = SOURCE_BYTES.admits(
                    of_owner(held, household.bytes),
                    of_household(household.bytes, self.bytes),
                    bytes,
                );
                match admitted {
                    Err(Bound::OfOwner(Full::Own)) => (
                        format!("your unfinished jobs here may hold {} MiB of data together", SOURCE_BYTES.one >> 20),
                        "wait for one to finish, or submit less data",
                    ),
                    Err(Bound::OfOwner(Full::Share(share)) | Bound::OfHousehold(Full::Share(share))) => (
                        format!(
                            "this node's memory for jobs is more than half used, and your share is {} MiB",
                            share >> 20
                        ),
                        "wait for one of your jobs to finish, or submit less data",
                    ),
                    Err(Bound::OfOwner(Full::Whole) | Bound::OfHousehold(Full::Own)) => (
                        format!(
                            "the unfinished jobs from your address may hold {} MiB together",
                            SOURCE_BYTES.household >> 20
                        ),
                        "wait for some of them to finish, or submit less data",
                    ),
                    Err(Bound::OfHousehold(Full::Whole)) => (
                        format!("the unfinished jobs of this node may hold {} MiB together", SOURCE_BYTES.whole >> 20),
                        "try again later, or submit less data",
                    ),
                    Ok(()) => return Ok(()),
                }
            }
        };
        Err(Refusal::new(Code::TooManyJobs, message, hint))
    }

    /// A job that is not over is there.
    pub(super) fn joins(&mut self, holder: Holder, bytes: usize) {
        self.forget_some();
        let reached = self.reached;
        let household = self
            .households
            .entry(holder.household)
            .or_insert_with(|| Household { work: reached, ..Household::default() });
        self.present += usize::from(household.jobs == 0);
        household.jobs += 1;
        household.bytes += bytes;
        let reached = household.reached;
        let known = household.owners.len();
        let account =
            household.owners.entry(holder.owner).or_insert_with(|| Account { work: reached, ..Account::default() });
        household.present += usize::from(account.jobs == 0);
        self.busy += usize::from(account.jobs == 0);
        account.jobs += 1;
        account.bytes += bytes;
        self.known += household.owners.len() - known;
        self.jobs += 1;
        self.bytes += bytes;
    }

    /// A job that had joined is over.
    pub(super) fn leaves(&mut self, holder: Holder, bytes: usize) {
        let Some(household) = self.households.get_mut(&holder.household) else { return };
        let Some(account) = household.owners.get_mut(&holder.owner) else { return };
        self.present -= usize::from(household.jobs == 1);
        self.busy -= usize::from(account.jobs == 1);
        household.present -= usize::from(account.jobs == 1);
        for (jobs, held) in [
            (&mut account.jobs, &mut account.bytes),
            (&mut household.jobs, &mut household.bytes),
            (&mut self.jobs, &mut self.bytes),
        ] {
            *jobs = jobs.saturating_sub(1);
            *held = held.saturating_sub(bytes);
        }
    }

    /// How many owners have jobs that are not over.
    pub(super) fn count(&self) -> usize {
        self.busy
    }

    /// Whether nobody has anything that could go out.
    pub(super) fn is_idle(&self) -> bool {
        self.line.is_empty()
    }

    /// Up to where an owner's jobs have been served: where one that begins to wait begins.
    pub(super) fn reached(&self, holder: Holder) -> u64 {
        self.account(holder).map_or(0, |account| account.reached)
    }

    fn account(&self, holder: Holder) -> Option<&Account> {
        self.households.get(&holder.household)?.owners.get(&holder.owner)
    }

    /// A job has something that could go out.
    pub(super) fn waits(&mut self, holder: Holder, turn: Turn) {
        let Some(household) = self.households.get_mut(&holder.household) else { return };
        let Some(account) = household.owners.get_mut(&holder.owner) else { return };
        if account.turns.is_empty() {
            account.work = account.work.max(household.reached);
            if household.line.is_empty() {
                household.work = household.work.max(self.reached);
                self.line.insert((household.work, holder.household));
            }
            household.line.insert((account.work, holder.owner));
        }
        account.turns.insert(turn);
    }

    /// A job has nothing that could go out any more.
    pub(super) fn rests(&mut self, holder: Holder, turn: &Turn) {
        if let Some(household) = self.households.get_mut(&holder.household)
            && let Some(account) = household.owners.get_mut(&holder.owner)
            && account.turns.remove(turn)
            && account.turns.is_empty()
        {
            household.line.remove(&(account.work, holder.owner));
            if household.line.is_empty() {
                self.line.remove(&(household.work, holder.household));
            }
        }
    }

    /// Jobs in the order of their turns: of those who were given least first.
    pub(super) fn turns(&self) -> impl Iterator<Item = JobId> {
        self.line
            .iter()
            .filter_map(|(_, household)| self.households.get(household))
            .flat_map(|household| {
                let owners = household.line.iter().filter_map(|(_, owner)| household.owners.get(owner));
                owners.flat_map(|account| account.turns.iter().take(MOST_OF_ONE)).take(MOST_OF_HOUSEHOLD)
            })
            .take(MOST_IN_LINE)
            .map(|turn| turn.job)
    }

    /// A job of an owner, given `job_work` until now, gives out a batch.
    pub(super) fn serves(&mut self, holder: Holder, job_work: u64) {
        if let Some(household) = self.households.get_mut(&holder.household)
            && let Some(account) = household.owners.get_mut(&holder.owner)
        {
            self.reached = self.reached.max(household.work);
            household.reached = household.reached.max(account.work);
            account.reached = account.reached.max(job_work);
        }
    }

    /// An owner was given `more` work, and `less` of what was counted before.
    pub(super) fn charge(&mut self, holder: Holder, more: u64, less: u64) {
        let Some(household) = self.households.get_mut(&holder.household) else { return };
        let Some(account) = household.owners.get_mut(&holder.owner) else { return };
        charge(&mut self.line, &mut household.work, holder.household, more, less);
        charge(&mut household.line, &mut account.work, holder.owner, more, less);
    }

    /// Forgets owners without jobs: those that owe nothing, and when there are too many, those that owe least.
    fn forget_some(&mut self) {
        let idle = |owners: &Self| (owners.known - owners.busy) + (owners.households.len() - owners.present);
        if idle(self) < MOST_REMEMBERED / 2 {
            return;
        }
        let reached = self.reached;
        for household in self.households.values_mut() {
            let reached = household.reached;
            household.owners.retain(|_, account| account.jobs > 0 || account.work > reached);
        }
        self.households.retain(|_, household| !household.owners.is_empty() || household.work > reached);
        self.known = self.households.values().map(|household| household.owners.len()).sum();
        let excess = idle(self).saturating_sub(MOST_REMEMBERED / 2);
        if excess == 0 {
            return;
        }
        // What a household owes stays known longest: it costs something to have another.
        let mut owners: Vec<(u64, Holder)> = Vec::new();
        for (id, household) in &self.households {
            let idle = household.owners.iter().filter(|(_, account)| account.jobs == 0);
            let holder = |owner: &OwnerId| Holder { household: *id, owner: *owner };
            owners.extend(idle.map(|(owner, account)| (account.work.saturating_sub(household.reached), holder(owner))));
        }
        owners.sort_unstable();
        owners.truncate(excess);
        for (_, holder) in &owners {
            if let Some(household) = self.households.get_mut(&holder.household) {
                household.owners.remove(&holder.owner);
            }
        }
        self.known -= owners.len();
        let mut empty: Vec<(u64, OwnerId)> = self
            .households
            .iter()
            .filter(|(_, household)| household.owners.is_empty())
            .map(|(id, household)| (household.work, *id))
            .collect();
        empty.sort_unstable();
        for (_, id) in empty.iter().take(excess - owners.len()) {
            self.households.remove(id);
        }
    }

    /// Whether the books agree with the jobs: each with its owner, its bytes, and its turn if it waits.
    pub(super) fn audit(&self, jobs: impl Iterator<Item = (Holder, usize, Option<Turn>)>) -> Result<(), String> {
        let mut held: BTreeMap<Holder, (usize, usize, usize)> = BTreeMap::new();
        for (holder, bytes, turn) in jobs {
            let account = self.account(holder).ok_or("a job's owner has no account")?;
            let known = held.entry(holder).or_default();
            known.0 += 1;
            known.1 += bytes;
            if let Some(turn) = turn {
                known.2 += 1;
                if !account.turns.contains(&turn) {
                    return Err("a job that waits has no turn".to_owned());
                }
            }
        }
        let (mut known, mut busy, mut present, mut total) = (0, 0, 0, (0, 0));
        for (id, household) in &self.households {
            let mut sums = (0, 0, 0);
            for (owner, account) in &household.owners {
                let holder = Holder { household: *id, owner: *owner };
                let (jobs, bytes, turns) = held.remove(&holder).unwrap_or_default();
                if (account.jobs, account.bytes, account.turns.len()) != (jobs, bytes, turns) {
                    let books = (account.jobs, account.bytes, account.turns.len());
                    return Err(format!("an owner's account says {books:?}, his jobs say {:?}", (jobs, bytes, turns)));
                }
                if household.line.contains(&(account.work, *owner)) == account.turns.is_empty() {
                    return Err("the line of owners and their turns disagree".to_owned());
                }
                sums = (sums.0 + jobs, sums.1 + bytes, sums.2 + usize::from(jobs > 0));
            }
            let waiting = household.owners.values().filter(|account| !account.turns.is_empty()).count();
            if waiting != household.line.len() || sums != (household.jobs, household.bytes, household.present) {
                return Err("the totals of a household disagree with its owners' accounts".to_owned());
            }
            if self.line.contains(&(household.work, *id)) == household.line.is_empty() {
                return Err("the line of households and those of their owners disagree".to_owned());
            }
            known += household.owners.len();
            busy += household.present;
            present += usize::from(household.jobs > 0);
            total = (total.0 + household.jobs, total.1 + household.bytes);
        }
        let waiting = self.households.values().filter(|household| !household.line.is_empty()).count();
        let books = (self.known, self.busy, self.present, (self.jobs, self.bytes), self.line.len());
        if books != (known, busy, present, total, waiting) {
            return Err("the totals of owners disagree with their accounts".to_owned());
        }
        if known + self.households.len() > 2 * self.jobs + MOST_REMEMBERED {
            return Err("too many owners are remembered".to_owned());
        }
        Ok(())
    }
}

/// Moves one in a line, if he stands in it, as his work changes.
fn charge(line: &mut BTreeSet<(u64, OwnerId)>, work: &mut u64, id: OwnerId, more: u64, less: u64) {
    let waits = line.remove(&(*work, id));
    *work = work.saturating_add(more).saturating_sub(less);
    if waits {
        line.insert((*work, id));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One who is at home alone.
    fn owner(number: u32) -> Holder {
        let owner = OwnerId::of(&number.to_le_bytes());
        Holder { household: owner, owner }
    }

    /// The same person under another token.
    fn again(number: u32, token: u32) -> Holder {
        Holder { owner: OwnerId::of(&[number.to_le_bytes(), token.to_le_bytes()].concat()), ..owner(number) }
    }

    fn turn(number: u8) -> Turn {
        let mut id = [0; 16];
        id[0] = number;
        Turn::of(JobId(id))
    }

    /// Submits as long as it is taken; how many were.
    fn greedy(owners: &mut Owners, of: Holder) -> usize {
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
        let big = (0..greedy_owners).map(owner).find(|owner| owners.account(*owner).unwrap().jobs == JOBS.one).unwrap();
        owners.leaves(big, 10);
        let message = owners.may_submit(big, 10).unwrap_err().message;
        assert!(message.contains("full"), "{message}");
    }

    #[test]
    fn whoever_makes_up_owners_fills_only_the_room_of_one_household() {
        let mut owners = Owners::default();
        let taken: usize = (0..3000)
            .map(|token| {
                usize::from(owners.may_submit(again(1, token), 10).map(|()| owners.joins(again(1, token), 10)).is_ok())
            })
            .sum();
        assert!(taken <= JOBS.household && taken > JOBS.household / 2, "{taken}");
        let message = owners.may_submit(again(1, 5000), 10).unwrap_err().message;
        assert!(message.contains("your address"), "{message}");
        assert_eq!(greedy(&mut owners, owner(2)), JOBS.one);
        // Ten such households, and still there is room for somebody new.
        for household in 10..20 {
            for token in 0..3000 {
                if owners.may_submit(again(household, token), 10).is_ok() {
                    owners.joins(again(household, token), 10);
                }
            }
        }
        assert_eq!(owners.may_submit(owner(3), 1000), Ok(()));
    }

    #[test]
    fn households_take_turns_however_many_owners_they_make_up() {
        let mut owners = Owners::default();
        let holders: Vec<Holder> = (0..20).map(|token| again(1, token)).chain([owner(2)]).collect();
        for (number, holder) in (0u8..).zip(&holders) {
            owners.joins(*holder, 1);
            owners.waits(*holder, turn(number));
        }
        let mut served = [0; 21];
        for _ in 0..100 {
            let next = owners.turns().next().unwrap();
            let number = usize::from(next.0[0]);
            served[number] += 1;
            owners.serves(holders[number], 0);
            owners.charge(holders[number], 1000, 0);
        }
        assert_eq!(served[20], 50, "half of it is the other household's: {served:?}");
        assert!(served[..20].iter().all(|times| (2..=3).contains(times)), "and among owners it is even: {served:?}");
        let jobs = || (0u8..).zip(&holders).map(|(number, holder)| (*holder, 1, Some(turn(number))));
        assert_eq!(owners.audit(jobs()), Ok(()));
        for (number, holder) in (0u8..).zip(&holders) {
            owners.rests(*holder, &turn(number));
            owners.leaves(*holder, 1);
        }
        assert!(owners.is_idle() && owners.count() == 0);
        assert_eq!(owners.audit(std::iter::empty()), Ok(()));
    }

    #[test]
    fn owners_who_are_gone_are_forgotten_some_day() {
        let mut owners = Owners::default();
        for token in 0..20_000 {
            let holder = again(token % 3000, token);
            owners.joins(holder, 1);
            owners.waits(holder, turn(0));
            owners.serves(holder, 0);
            owners.charge(holder, 1 + u64::from(token % 7), 0);
            owners.rests(holder, &turn(0));
            owners.leaves(holder, 1);
        }
        assert!(owners.known + owners.households.len() <= MOST_REMEMBERED, "{}", owners.known);
        assert_eq!(owners.audit(std::iter::empty()), Ok(()));
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
