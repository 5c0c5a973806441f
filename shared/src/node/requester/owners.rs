//! Whose jobs this node coordinates: how much each holds, and whose turn it is. How much that may be is in `shares.rs`.
//!
//! Turns go by work, in microseconds of one core: the network that was given least comes first, in it the household that
//! was given least, in that the owner, and among his jobs, the most urgent. Whoever comes, or comes back, begins where the
//! others stand: nobody saves up turns, and nobody owes for the time when he was alone. Room goes by region besides.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    regions::{Amount, Region, Regions},
    running::Turn,
    shares::{Held, HeldByAll, JOBS, Level, OUTPUT_BYTES, SOURCE_BYTES, too_many_jobs, too_much_data},
};
use crate::{
    id::{Holder, JobId, OwnerId},
    refusal::Refusal,
};

/// Parties without a job whose work is remembered.
const MOST_REMEMBERED: usize = 8192;
/// Jobs of one owner, of one household, of one network, and of all, that are offered to a node in one go.
const MOST_OF_ONE: usize = 64;
const MOST_OF_HOUSEHOLD: usize = 128;
const MOST_OF_NETWORK: usize = 256;
const MOST_IN_LINE: usize = 512;

/// Somebody whose share is counted: everybody together, of whom networks are members, whose members are households, whose
/// members are owners, who have jobs.
#[derive(Default)]
struct Party {
    /// Jobs that are not over, bytes of their sources, and of the outputs that they have gathered.
    jobs: usize,
    bytes: usize,
    outputs: usize,
    /// What it was given.
    work: u64,
    /// What its member, or an owner's job, that was served last had been given until then.
    reached: u64,
    members: BTreeMap<OwnerId, Party>,
    /// Members with something that could go out, by their work.
    line: BTreeSet<(u64, OwnerId)>,
    /// Members with jobs that are not over.
    present: usize,
    /// Owners among them, members of members included, with such jobs.
    busy: usize,
    /// Of an owner: his jobs with something that could go out.
    turns: BTreeSet<Turn>,
}

/// All owners of jobs that are not over.
#[derive(Default)]
pub(super) struct Owners {
    all: Party,
    regions: Regions,
    /// Parties that are known, and those of them with jobs that are not over; all together not among them.
    known: usize,
    present: usize,
}

impl Owners {
    /// Whether one more job of `bytes` would be taken from a holder.
    pub(super) fn may_submit(&self, holder: Holder, bytes: usize) -> Result<(), Refusal> {
        let (nobody, nowhere) = (Party::default(), Region::default());
        let region = self.regions.get(holder.region).unwrap_or(&nowhere);
        let network = self.all.members.get(&holder.network).unwrap_or(&nobody);
        let household = network.members.get(&holder.household).unwrap_or(&nobody);
        let owner = household.members.get(&holder.owner).unwrap_or(&nobody);
        let held = |of: fn(Amount) -> usize| {
            let among = |mine: Amount, all: Amount, present: usize| Held {
                mine: of(mine),
                all: of(all),
                parties: present + usize::from(mine.jobs == 0),
            };
            HeldByAll {
                owner: among(owner.amount(), household.amount(), household.present),
                household: among(household.amount(), network.amount(), network.present),
                network: among(region.of(holder.network), region.all(), region.networks()),
                region: among(region.all(), self.all.amount(), self.regions.count()),
            }
        };
        let jobs = held(|amount| amount.jobs);
        let busy = [household.busy, network.busy, region.networks(), self.all.busy];
        JOBS.admits(jobs, 1).map_err(|bound| too_many_jobs(bound, jobs, busy))?;
        SOURCE_BYTES.admits(held(|amount| amount.bytes), bytes).map_err(too_much_data)
    }

    /// A job that is not over is there.
    pub(super) fn joins(&mut self, holder: Holder, bytes: usize) {
        self.forget_some();
        let (new, present) = self.all.joins(&holder.path(), bytes);
        self.known += new;
        self.present += present;
        self.regions.change(holder, |amount| {
            amount.jobs += 1;
            amount.bytes += bytes;
        });
    }

    /// A job that had joined is over; its outputs count no more.
    pub(super) fn leaves(&mut self, holder: Holder, bytes: usize, outputs: usize) {
        if self.account(holder.path()).is_some_and(|account| account.jobs > 0) {
            self.present -= self.all.leaves(&holder.path(), bytes, outputs).0;
            self.regions.change(holder, |amount| {
                amount.jobs = amount.jobs.saturating_sub(1);
                amount.bytes = amount.bytes.saturating_sub(bytes);
                amount.outputs = amount.outputs.saturating_sub(outputs);
            });
        }
    }

    /// A job has gathered so many more bytes of outputs.
    pub(super) fn gathers(&mut self, holder: Holder, more: usize) {
        self.all.each(&holder.path(), |party| party.outputs = party.outputs.saturating_add(more));
        self.regions.change(holder, |amount| amount.outputs = amount.outputs.saturating_add(more));
    }

    /// So many bytes of outputs that a job had gathered count no more.
    pub(super) fn gives_back(&mut self, holder: Holder, bytes: usize) {
        self.all.each(&holder.path(), |party| party.outputs = party.outputs.saturating_sub(bytes));
        self.regions.change(holder, |amount| amount.outputs = amount.outputs.saturating_sub(bytes));
    }

    /// Whose outputs are more than may be held, if there is somebody: the holder's own, or, when those of his household, of
    /// its network, of its region or of all are too many, those of whoever holds most of them; and what to say to him.
    pub(super) fn outputs_beyond(&self, holder: Holder) -> Option<(Holder, Refusal)> {
        let region = self.regions.get(holder.region)?;
        let network = self.all.members.get(&holder.network)?;
        let household = network.members.get(&holder.household)?;
        let owner = household.members.get(&holder.owner)?;
        let held = [owner.outputs, household.outputs, network.outputs, region.all().outputs, self.all.outputs];
        let (level, refusal) = OUTPUT_BYTES.beyond(held)?;
        // Down from the party that holds too much: whoever of its members holds most gives.
        let mut most = holder;
        if level > Level::Region {
            most.region = self.regions.most_outputs()?;
        }
        if level > Level::Network {
            most.network = self.regions.get(most.region)?.most_outputs()?;
        }
        let network = self.all.members.get(&most.network)?;
        if level > Level::Household {
            most.household = network.most_outputs()?;
        }
        if level > Level::Owner {
            most.owner = network.members.get(&most.household)?.most_outputs()?;
        }
        Some((most, refusal))
    }

    /// How many owners have jobs that are not over.
    pub(super) fn count(&self) -> usize {
        self.all.busy
    }

    /// Whether nobody has anything that could go out.
    pub(super) fn is_idle(&self) -> bool {
        self.all.line.is_empty()
    }

    /// Up to where an owner's jobs have been served: where one that begins to wait begins.
    pub(super) fn reached(&self, holder: Holder) -> u64 {
        self.account(holder.path()).map_or(0, |account| account.reached)
    }

    fn account(&self, path: [OwnerId; 3]) -> Option<&Party> {
        path.iter().try_fold(&self.all, |party, id| party.members.get(id))
    }

    /// A job has something that could go out.
    pub(super) fn waits(&mut self, holder: Holder, turn: Turn) {
        if self.account(holder.path()).is_some() {
            self.all.waits(&holder.path(), turn);
        }
    }

    /// A job has nothing that could go out any more.
    pub(in crate::node) fn rests(&mut self, holder: Holder, turn: &Turn) {
        self.all.rests(&holder.path(), turn);
    }

    /// Jobs in the order of their turns: of those who were given least first. Those that do not fit take no place in the
    /// line: whoever has many that nobody can do keeps nobody out of it.
    pub(super) fn turns<'a, F: Fn(JobId) -> bool>(&'a self, fits: &'a F) -> impl Iterator<Item = JobId> + 'a {
        let networks = self.all.in_line();
        let turns = networks.flat_map(move |network| {
            network.in_line().flat_map(move |household| household.turns(fits)).take(MOST_OF_NETWORK)
        });
        turns.take(MOST_IN_LINE).map(|turn| turn.job)
    }

    /// A job of an owner, given `job_work` until now, gives out a batch.
    pub(super) fn serves(&mut self, holder: Holder, job_work: u64) {
        self.all.serves(&holder.path(), job_work);
    }

    /// An owner was given `more` work, and `less` of what was counted before.
    pub(super) fn charge(&mut self, holder: Holder, more: u64, less: u64) {
        if self.account(holder.path()).is_some() {
            self.all.charge(&holder.path(), more, less);
        }
    }

    /// Forgets parties without jobs: those that owe nothing, and when there are too many, those that owe least.
    fn forget_some(&mut self) {
        // One more job makes at most three.
        if self.known - self.present + 3 <= MOST_REMEMBERED {
            return;
        }
        self.all.forget(&|_, owes| owes > 0);
        self.known = self.all.count();
        let excess = (self.known - self.present).saturating_sub(MOST_REMEMBERED / 2);
        if excess == 0 {
            return;
        }
        // What a larger party owes stays known longest: it costs something to have another.
        let mut idle = Vec::new();
        self.all.idle(0, &mut idle);
        idle.sort_unstable_by_key(|(depth, owes)| (std::cmp::Reverse(*depth), *owes));
        let Some(last) = idle.get(excess - 1).copied() else { return };
        self.all.forget(&|depth, owes| depth < last.0 || (depth == last.0 && owes > last.1));
        self.known = self.all.count();
    }

    /// Whether the books agree with the jobs: each with its owner, its bytes, its outputs, and its turn if it waits.
    pub(super) fn audit(&self, jobs: impl Iterator<Item = (Holder, [usize; 2], Option<Turn>)>) -> Result<(), String> {
        // One network may be in two regions: its jobs of before there were regions are in one of its own.
        let mut held: BTreeMap<[OwnerId; 3], ([usize; 3], usize)> = BTreeMap::new();
        let mut regions = Regions::default();
        for (holder, [bytes, outputs], turn) in jobs {
            let account = self.account(holder.path()).ok_or("a job's owner has no account")?;
            regions.change(holder, |amount| {
                amount.jobs += 1;
                amount.bytes += bytes;
                amount.outputs += outputs;
            });
            let (sums, turns) = held.entry(holder.path()).or_default();
            *sums = [sums[0] + 1, sums[1] + bytes, sums[2] + outputs];
            if let Some(turn) = turn {
                *turns += 1;
                if !account.turns.contains(&turn) {
                    return Err("a job that waits has no turn".to_owned());
                }
            }
        }
        if regions != self.regions {
            return Err("what regions hold disagrees with the jobs".to_owned());
        }
        for (path, (sums, turns)) in &held {
            let account = self.account(*path).ok_or("a job's owner has no account")?;
            let books = ([account.jobs, account.bytes, account.outputs], account.turns.len());
            if books != (*sums, *turns) {
                return Err(format!("an owner's account says {books:?}, his jobs say {:?}", (sums, turns)));
            }
        }
        let all = held.values().map(|(sums, _)| sums).fold([0; 3], |all, sums| [0, 1, 2].map(|n| all[n] + sums[n]));
        if all != [self.all.jobs, self.all.bytes, self.all.outputs] || held.len() != self.all.busy {
            return Err("the totals of owners disagree with their accounts".to_owned());
        }
        self.all.audit(3)?;
        if (self.known, self.present) != (self.all.count(), self.all.count_present()) {
            return Err("the owners that are known are miscounted".to_owned());
        }
        if self.known > 3 * self.all.jobs + MOST_REMEMBERED {
            return Err("too many owners are remembered".to_owned());
        }
        Ok(())
    }
}

impl Party {
    /// What it holds.
    fn amount(&self) -> Amount {
        Amount { jobs: self.jobs, bytes: self.bytes, outputs: self.outputs }
    }

    /// Its member that has gathered most outputs.
    fn most_outputs(&self) -> Option<OwnerId> {
        self.members.iter().max_by_key(|(_, member)| member.outputs).map(|(id, _)| *id)
    }

    fn is_waiting(&self) -> bool {
        !self.line.is_empty() || !self.turns.is_empty()
    }

    /// Members with something that could go out, who was given least first.
    fn in_line(&self) -> impl Iterator<Item = &Party> {
        self.line.iter().filter_map(|(_, id)| self.members.get(id))
    }

    /// Of a household: the turns of its owners.
    fn turns<'a, F: Fn(JobId) -> bool>(&'a self, fits: &'a F) -> impl Iterator<Item = &'a Turn> {
        let of = move |owner: &'a Self| owner.turns.iter().filter(move |turn| fits(turn.job)).take(MOST_OF_ONE);
        self.in_line().flat_map(of).take(MOST_OF_HOUSEHOLD)
    }

    /// Does something to it and to each party along a path.
    fn each(&mut self, path: &[OwnerId], mut change: impl FnMut(&mut Self)) {
        let mut party = Some(self);
        let mut path = path.iter();
        while let Some(one) = party {
            change(one);
            party = path.next().and_then(|id| one.members.get_mut(id));
        }
    }

    /// One more job; how many parties are new, and how many had none before.
    fn joins(&mut self, path: &[OwnerId], bytes: usize) -> (usize, usize) {
        self.jobs += 1;
        self.bytes += bytes;
        let Some((id, rest)) = path.split_first() else { return (0, 0) };
        let (reached, known) = (self.reached, self.members.len());
        let member = self.members.entry(*id).or_insert_with(|| Self { work: reached, ..Self::default() });
        let came = usize::from(member.jobs == 0);
        let busy = if rest.is_empty() { 0 } else { member.busy };
        let (new, present) = member.joins(rest, bytes);
        self.present += came;
        self.busy += if rest.is_empty() { came } else { member.busy - busy };
        (new + self.members.len() - known, present + came)
    }

    /// One job less; how many parties have none any more, and how many owners of those.
    fn leaves(&mut self, path: &[OwnerId], bytes: usize, outputs: usize) -> (usize, usize) {
        self.jobs = self.jobs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.outputs = self.outputs.saturating_sub(outputs);
        let Some((id, rest)) = path.split_first() else { return (0, usize::from(self.jobs == 0)) };
        let Some(member) = self.members.get_mut(id) else { return (0, 0) };
        let (gone, owners) = member.leaves(rest, bytes, outputs);
        let went = usize::from(member.jobs == 0);
        self.present -= went;
        self.busy -= owners;
        (gone + went, owners)
    }

    fn waits(&mut self, path: &[OwnerId], turn: Turn) {
        let Some((id, rest)) = path.split_first() else {
            self.turns.insert(turn);
            return;
        };
        let Some(member) = self.members.get_mut(id) else { return };
        if !member.is_waiting() {
            member.work = member.work.max(self.reached);
            self.line.insert((member.work, *id));
        }
        member.waits(rest, turn);
    }

    fn rests(&mut self, path: &[OwnerId], turn: &Turn) {
        let Some((id, rest)) = path.split_first() else {
            self.turns.remove(turn);
            return;
        };
        let Some(member) = self.members.get_mut(id) else { return };
        member.rests(rest, turn);
        if !member.is_waiting() {
            self.line.remove(&(member.work, *id));
        }
    }

    fn serves(&mut self, path: &[OwnerId], job_work: u64) {
        let Some((id, rest)) = path.split_first() else {
            self.reached = self.reached.max(job_work);
            return;
        };
        let Some(member) = self.members.get_mut(id) else { return };
        self.reached = self.reached.max(member.work);
        member.serves(rest, job_work);
    }

    /// Moves each party along a path in its line, if it stands in it, as its work changes.
    fn charge(&mut self, path: &[OwnerId], more: u64, less: u64) {
        let Some((id, rest)) = path.split_first() else { return };
        let Some(member) = self.members.get_mut(id) else { return };
        let waits = self.line.remove(&(member.work, *id));
        member.work = member.work.saturating_add(more).saturating_sub(less);
        if waits {
            self.line.insert((member.work, *id));
        }
        member.charge(rest, more, less);
    }

    /// Forgets members without jobs, at any depth, but those of which `stays(depth, what they owe)`, and who has members
    /// that stay.
    fn forget(&mut self, stays: &impl Fn(usize, u64) -> bool) {
        self.forget_below(0, stays);
    }

    fn forget_below(&mut self, depth: usize, stays: &impl Fn(usize, u64) -> bool) {
        let reached = self.reached;
        self.members.retain(|_, member| {
            member.forget_below(depth + 1, stays);
            member.jobs > 0 || !member.members.is_empty() || stays(depth, member.work.saturating_sub(reached))
        });
    }

    /// Depth of all members without jobs, and what they owe.
    fn idle(&self, depth: usize, idle: &mut Vec<(usize, u64)>) {
        for member in self.members.values() {
            if member.jobs == 0 {
                idle.push((depth, member.work.saturating_sub(self.reached)));
            }
            member.idle(depth + 1, idle);
        }
    }

    fn count(&self) -> usize {
        self.members.values().map(|member| 1 + member.count()).sum()
    }

    fn count_present(&self) -> usize {
        self.members.values().map(|member| usize::from(member.jobs > 0) + member.count_present()).sum()
    }

    fn audit(&self, depth: usize) -> Result<(), String> {
        if depth == 0 {
            return if self.members.is_empty() { Ok(()) } else { Err("an owner has members".to_owned()) };
        }
        let mut sums = [0; 5];
        for (id, member) in &self.members {
            let busy = if depth == 1 { usize::from(member.jobs > 0) } else { member.busy };
            let more = [member.jobs, member.bytes, member.outputs, usize::from(member.jobs > 0), busy];
            sums = [0, 1, 2, 3, 4].map(|n| sums[n] + more[n]);
            if self.line.contains(&(member.work, *id)) != member.is_waiting() {
                return Err("a line and those who should stand in it disagree".to_owned());
            }
            member.audit(depth - 1)?;
        }
        let waiting = self.members.values().filter(|member| member.is_waiting()).count();
        let books = [self.jobs, self.bytes, self.outputs, self.present, self.busy];
        if books != sums || waiting != self.line.len() || !self.turns.is_empty() {
            return Err("the totals of a party disagree with its members'".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::refusal::Code;

    /// One who is at home alone, in a network of his own.
    fn owner(number: u32) -> Holder {
        Holder::of(OwnerId::of(&number.to_le_bytes()))
    }

    /// Another household of the same network.
    fn neighbour(number: u32, house: u32) -> Holder {
        let house = OwnerId::of(&[number.to_le_bytes(), house.to_le_bytes()].concat());
        Holder { household: house, owner: house, ..owner(number) }
    }

    /// Another network of the same region.
    fn nearby(number: u32, network: u32) -> Holder {
        let network = OwnerId::of(&[b"network".as_slice(), &number.to_le_bytes(), &network.to_le_bytes()].concat());
        Holder { region: owner(number).region, ..Holder::of(network) }
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
        owners.leaves(owner(1), 10, 0);
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
        assert!(owners.all.jobs <= JOBS.whole);
        // And one who has more than his share does not get what the newcomers leave.
        let big =
            (0..greedy_owners).map(owner).find(|owner| owners.account(owner.path()).unwrap().jobs == JOBS.one).unwrap();
        owners.leaves(big, 10, 0);
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
            let next = owners.turns(&|_| true).next().unwrap();
            let number = usize::from(next.0[0]);
            served[number] += 1;
            owners.serves(holders[number], 0);
            owners.charge(holders[number], 1000, 0);
        }
        assert_eq!(served[20], 50, "half of it is the other household's: {served:?}");
        assert!(served[..20].iter().all(|times| (2..=3).contains(times)), "and among owners it is even: {served:?}");
        let jobs = || (0u8..).zip(&holders).map(|(number, holder)| (*holder, [1, 0], Some(turn(number))));
        assert_eq!(owners.audit(jobs()), Ok(()));
        for (number, holder) in (0u8..).zip(&holders) {
            owners.rests(*holder, &turn(number));
            owners.leaves(*holder, 1, 0);
        }
        assert!(owners.is_idle() && owners.count() == 0);
        assert_eq!(owners.audit(std::iter::empty()), Ok(()));
    }

    #[test]
    fn whoever_has_a_whole_network_of_households_fills_only_the_room_of_one_network() {
        for (households, tokens) in [(3000, 1), (300, 20)] {
            let mut owners = Owners::default();
            let mut submit = |network: u32| {
                let mut taken = 0;
                for house in 0..households {
                    for token in 0..tokens {
                        let of = Holder { owner: again(house, token).owner, ..neighbour(network, house) };
                        if owners.may_submit(of, 10).is_ok() {
                            owners.joins(of, 10);
                            taken += 1;
                        }
                    }
                }
                taken
            };
            assert!((JOBS.network / 2..=JOBS.network).contains(&submit(1)));
            // Ten such networks, and still there is room in another, for more than one.
            (2..12).for_each(|network| _ = submit(network));
            let message = owners.may_submit(neighbour(1, 9_000), 10).unwrap_err().message;
            assert!(message.contains("queue"), "{message}");
            for house in 0..JOBS.always as u32 {
                assert_eq!(owners.may_submit(neighbour(99, house), 1000), Ok(()), "house {house}");
                owners.joins(neighbour(99, house), 1000);
            }
        }
    }

    const MIB: usize = 1 << 20;

    /// A job of so many MiB of outputs; who then holds more than may be held.
    fn gathers(owners: &mut Owners, holder: Holder, mib: usize) -> Option<(Holder, Refusal)> {
        owners.joins(holder, 1);
        owners.gathers(holder, mib * MIB);
        owners.outputs_beyond(holder)
    }

    /// Submits so many jobs of each of some holders, as long as they are taken; how many were.
    fn submit(owners: &mut Owners, holders: impl Iterator<Item = Holder>, each: usize, bytes: usize) -> usize {
        let mut one = |of: Holder| owners.may_submit(of, bytes).map(|()| owners.joins(of, bytes)).is_ok();
        holders.map(|of| (0..each).filter(|_| one(of)).count()).sum()
    }

    #[test]
    fn whoever_has_many_networks_fills_only_the_room_of_one_region() {
        for (networks, each) in [(256, 12), (3000, 1)] {
            let mut owners = Owners::default();
            let all_of = |region: u32| (0..networks).map(move |network| nearby(region, network));
            let taken = submit(&mut owners, all_of(1), each, 10);
            assert_eq!(taken, JOBS.region, "one that is alone has all that stays open");
            let refusal = owners.may_submit(nearby(1, 0), 10).unwrap_err();
            assert_eq!(refusal.code, Code::TooManyJobs);
            let full = format!("your wide network (an IPv4 /16, an IPv6 /32) is full: {} jobs of", JOBS.region);
            assert!(refusal.message.contains(&full), "{}", refusal.message);
            // Ten such regions, and still there is room in another, for more than one.
            (2..12).for_each(|region| _ = submit(&mut owners, all_of(region), each, 10));
            let others = (0..JOBS.always as u32).map(|network| nearby(99, network));
            assert_eq!(submit(&mut owners, others, 1, 1000), JOBS.always);
            assert_eq!(owners.may_submit(owner(98), 1000), Ok(()));
        }
    }

    #[test]
    fn sources_of_many_networks_of_one_region_leave_memory_to_others() {
        let mut owners = Owners::default();
        let taken = submit(&mut owners, (0..2000).map(|network| nearby(1, network)), 1, MIB);
        assert_eq!(taken * MIB, SOURCE_BYTES.region);
        let message = owners.may_submit(nearby(1, 5000), MIB).unwrap_err().message;
        assert!(message.contains("your wide network (an IPv4 /16, an IPv6 /32) may hold 384 MiB"), "{message}");
        assert_eq!(submit(&mut owners, (2..102).map(owner), 1, MIB), 100);
    }

    #[test]
    fn a_network_that_takes_what_it_gets_leaves_room_to_its_neighbours_in_the_region() {
        let mut owners = Owners::default();
        let greedy = (0..3000).map(|house| Holder { network: owner(1).network, ..nearby(1, house) });
        assert_eq!(submit(&mut owners, greedy, 1, 10), JOBS.network);
        for network in 0..50 {
            assert_eq!(submit(&mut owners, [nearby(1, network)].into_iter(), JOBS.always, 10), JOBS.always);
        }
        let message = owners.may_submit(nearby(1, 0), 10).unwrap_err().message;
        assert!(message.contains("the share of your network") || message.contains("is full"), "{message}");
        assert_eq!(owners.may_submit(owner(2), 10), Ok(()));
    }

    #[test]
    fn regions_that_are_busy_get_an_equal_share() {
        let mut owners = Owners::default();
        let all_of = |region: u32| (0..300).map(move |network| nearby(region, network));
        let taken = [(1, 100), (2, 100), (3, 100), (4, 300)]
            .map(|(region, networks)| submit(&mut owners, all_of(region).take(networks), 3, 10));
        assert_eq!(taken, [300, 300, 300, JOBS.region / 4]);
        let message = owners.may_submit(nearby(4, 0), 10).unwrap_err().message;
        assert!(message.contains("the share of your wide network (an IPv4 /16, an IPv6 /32), 384 jobs"), "{message}");
    }

    #[test]
    fn a_network_whose_older_jobs_are_of_no_region_is_counted_right() {
        let mut owners = Owners::default();
        let (before, now) = (owner(1), Holder { region: OwnerId::of(b"region"), ..owner(1) });
        for (holder, outputs) in [(before, 30), (now, 40)] {
            owners.joins(holder, 5);
            owners.gathers(holder, outputs);
        }
        let jobs = [(before, [5, 30], None), (now, [5, 40], None)];
        assert_eq!(owners.audit(jobs.into_iter()), Ok(()));
        assert!(owners.audit([(before, [5, 30], None), (before, [5, 40], None)].into_iter()).is_err());
        owners.leaves(before, 5, 30);
        owners.gives_back(now, 40);
        assert_eq!(owners.audit([(now, [5, 0], None)].into_iter()), Ok(()));
        owners.leaves(now, 5, 0);
        assert_eq!(owners.regions, Regions::default(), "nobody who holds nothing is remembered");
        assert_eq!(owners.audit(std::iter::empty()), Ok(()));
    }

    #[test]
    fn networks_take_turns_however_many_households_they_have() {
        let mut owners = Owners::default();
        let holders: Vec<Holder> = (0..20).map(|house| neighbour(1, house)).chain([owner(2)]).collect();
        for (number, holder) in (0u8..).zip(&holders) {
            owners.joins(*holder, 1);
            owners.waits(*holder, turn(number));
        }
        let mut served = [0; 21];
        for _ in 0..100 {
            let number = usize::from(owners.turns(&|_| true).next().unwrap().0[0]);
            served[number] += 1;
            owners.serves(holders[number], 0);
            owners.charge(holders[number], 1000, 0);
        }
        assert_eq!(served[20], 50, "half of it is the other network's: {served:?}");
        assert!(
            served[..20].iter().all(|times| (2..=3).contains(times)),
            "and among households it is even: {served:?}"
        );
    }

    #[test]
    fn jobs_that_do_not_fit_take_no_place_in_the_line() {
        let mut owners = Owners::default();
        for number in 0..200 {
            let of = owner(u32::from(number) / 50);
            owners.joins(of, 1);
            owners.waits(of, turn(number));
        }
        // All others have many before it, and he himself has as many as a line takes.
        owners.joins(owner(3), 1);
        owners.waits(owner(3), turn(255));
        let line: Vec<JobId> = owners.turns(&|job| job.0[0] == 255).collect();
        assert_eq!(line, [turn(255).job]);
        for number in 200..255 {
            owners.joins(owner(3), 1);
            owners.waits(owner(3), turn(number));
        }
        assert_eq!(owners.turns(&|_| true).filter(|job| job.0[0] >= 150).count(), MOST_OF_ONE);
        assert_eq!(owners.turns(&|job| job.0[0] >= 250).count(), 6);
    }

    #[test]
    fn an_address_alone_in_its_network_gets_as_much_as_before_there_were_networks() {
        let mut owners = Owners::default();
        let taken = (0..3000).filter(|token| {
            owners.may_submit(again(1, *token), 10).map(|()| owners.joins(again(1, *token), 10)).is_ok()
        });
        assert_eq!(taken.count(), JOBS.household);
    }

    #[test]
    fn outputs_are_bounded_by_owner_household_and_network_and_of_all_whoever_holds_most_gives() {
        let mut owners = Owners::default();
        assert_eq!(gathers(&mut owners, owner(1), 700), None);
        let (whose, refusal) = gathers(&mut owners, owner(1), 100).unwrap();
        assert_eq!((whose, refusal.code), (owner(1), Code::TooLarge));
        assert!(refusal.message.contains("768 MiB"), "{}", refusal.message);
        owners.leaves(owner(1), 1, 100 * MIB);
        assert_eq!(owners.outputs_beyond(owner(1)), None);
        // The same person under another token, and then next door: who gathered last gives only if he holds most.
        let (whose, refusal) = gathers(&mut owners, again(1, 7), 400).unwrap();
        assert!(whose == owner(1) && refusal.message.contains("1024 MiB"), "{}", refusal.message);
        owners.leaves(again(1, 7), 1, 400 * MIB);
        let (whose, refusal) =
            gathers(&mut owners, neighbour(1, 5), 760).or_else(|| gathers(&mut owners, neighbour(1, 6), 100)).unwrap();
        assert!(whose == neighbour(1, 5) && refusal.message.contains("your network"), "{}", refusal.message);
        owners.leaves(neighbour(1, 6), 1, 100 * MIB);
        // Somebody else, whose outputs are few, is not who gives when all are too many.
        for number in 2..7 {
            assert_eq!(gathers(&mut owners, owner(number), 100), None);
        }
        let (whose, refusal) = gathers(&mut owners, owner(9), 100).unwrap();
        assert_eq!(whose, neighbour(1, 5));
        assert!(refusal.message.contains("2048 MiB"), "{}", refusal.message);
    }

    #[test]
    fn of_outputs_that_are_too_many_the_region_that_holds_most_gives() {
        let mut owners = Owners::default();
        assert_eq!(gathers(&mut owners, owner(1), 700), None);
        assert_eq!(gathers(&mut owners, nearby(2, 7), 20), None);
        let many = |network: u32| nearby(2, 1_000 + network);
        assert!((0..110).all(|network| gathers(&mut owners, many(network), 12).is_none()));
        // All together have too many: the honest one holds most of all networks, but not of all regions.
        let (whose, refusal) = gathers(&mut owners, many(110), 12).unwrap();
        assert_eq!((whose, refusal.code), (nearby(2, 7), Code::TooLarge));
        assert!(refusal.message.contains("2048 MiB"), "{}", refusal.message);
        // And alone they have too many for one region.
        owners.leaves(owner(1), 1, 700 * MIB);
        assert_eq!(owners.outputs_beyond(many(0)), None);
        let (whose, refusal) = (200..300).find_map(|network| gathers(&mut owners, many(network), 12)).unwrap();
        assert_eq!(whose, nearby(2, 7));
        assert!(refusal.message.contains("your wide network") && refusal.message.contains("1536 MiB"));
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
            owners.leaves(holder, 1, 0);
        }
        assert!(owners.known <= MOST_REMEMBERED, "{}", owners.known);
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
