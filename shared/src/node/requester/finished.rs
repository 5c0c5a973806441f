//! Jobs that are over. Their results and details lie in the host's store and are read when somebody asks; here is what a
//! list shows of each, and which of them go when there are too many.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::{cut, listing::Place};
use crate::{
    api::JobSummary,
    id::{Holder, JobId, OwnerId},
    units::{Millis, Moment},
};

/// Goes up when a record changes in a way that an older version cannot be read into.
pub(super) const VERSION: u32 = 1;
/// What of an error's sentences is held in memory.
const MOST_WORDS: usize = 1_000;

/// Part of all bytes that a region may hold and still gives nothing of for its newest result: others give, who hold most.
const NEW_PART: u64 = 8;

/// How much a node keeps of jobs that are over. Beyond it, whoever holds most loses their oldest job first, among those who
/// hold about as much who has the oldest; a result that is more than is left to its owner then is not kept, and its job fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Each job for so long after its end, at most.
    pub age: Millis,
    /// Bytes of records in the store, results above all.
    pub bytes: u64,
    /// Jobs, for each of which a line is held in memory.
    pub jobs: u64,
}

impl Default for Keep {
    /// A week, 1 GiB, 10,000 jobs.
    fn default() -> Self {
        Self { age: Millis(7 * 24 * 3_600_000), bytes: 1 << 30, jobs: 10_000 }
    }
}

/// A job that is over, as a list shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Finished {
    version: u32,
    /// Whose it is; a summary does not tell.
    #[serde(flatten)]
    holder: Holder,
    pub(super) summary: JobSummary,
    /// What its records take in the store.
    bytes: u64,
    /// Whether one of them is a result; what a failed job put out may be kept, too.
    has_result: bool,
}

/// What somebody holds: all, of whom regions are members, whose members are networks, then households, then owners.
#[derive(Default)]
struct Holding {
    bytes: u64,
    jobs: u64,
    members: BTreeMap<OwnerId, Holding>,
    most: Most,
    /// Of an owner: oldest first.
    by_age: BTreeSet<Ended>,
}

/// All jobs that are over.
#[derive(Default)]
pub(super) struct FinishedJobs {
    jobs: BTreeMap<JobId, Finished>,
    by_age: BTreeSet<Ended>,
    /// By when they were submitted, as lists show them.
    by_place: BTreeSet<Place>,
    by_owner: BTreeMap<OwnerId, BTreeSet<Place>>,
    held: Holding,
}

/// When a job ended, and which it is.
type Ended = (Moment, JobId);

/// Where members stand: who holds most comes first, and among those who hold about as much who has the oldest job.
#[derive(Default)]
struct Most {
    by_bytes: BTreeSet<(Reverse<u32>, Ended, OwnerId)>,
    by_jobs: BTreeSet<(Reverse<u32>, Ended, OwnerId)>,
    by_age: BTreeSet<(Ended, OwnerId)>,
}

/// Where one stands.
#[derive(Clone, Copy)]
struct Stand {
    bytes: u64,
    jobs: u64,
    oldest: Ended,
}

/// What there is too much of.
#[derive(Clone, Copy)]
enum Excess {
    Bytes,
    Jobs,
}

impl Most {
    fn add(&mut self, who: OwnerId, stand: Stand) {
        self.by_bytes.insert((about(stand.bytes), stand.oldest, who));
        self.by_jobs.insert((about(stand.jobs), stand.oldest, who));
        self.by_age.insert((stand.oldest, who));
    }

    fn remove(&mut self, who: OwnerId, stand: Stand) {
        self.by_bytes.remove(&(about(stand.bytes), stand.oldest, who));
        self.by_jobs.remove(&(about(stand.jobs), stand.oldest, who));
        self.by_age.remove(&(stand.oldest, who));
    }

    /// Who hold most first.
    fn holders(&self, of: Excess) -> impl Iterator<Item = &OwnerId> {
        let line = match of {
            Excess::Bytes => &self.by_bytes,
            Excess::Jobs => &self.by_jobs,
        };
        line.iter().map(|(_, _, who)| who)
    }
}

/// Amounts up to twice one another are about the same; the largest come first.
fn about(amount: u64) -> Reverse<u32> {
    Reverse(u64::BITS - amount.leading_zeros())
}

impl Finished {
    /// A line for a job whose records take so many bytes.
    pub(super) fn new(mut summary: JobSummary, bytes: u64, has_result: bool) -> Self {
        if let Some(error) = &mut summary.error {
            error.message = cut(&error.message, MOST_WORDS).to_owned();
            error.hint = cut(&error.hint, MOST_WORDS).to_owned();
        }
        Self { version: VERSION, holder: summary.holder, summary, bytes, has_result }
    }

    /// Reads a record; `None` when another version wrote it.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut finished = serde_json::from_slice::<Self>(bytes).ok().filter(|finished| finished.version == VERSION)?;
        finished.summary.holder = finished.holder;
        Some(finished)
    }

    fn ended_at(&self) -> Moment {
        self.summary.finished_at.unwrap_or(self.summary.created_at)
    }
}

impl FinishedJobs {
    pub(super) fn get(&self, id: JobId) -> Option<&JobSummary> {
        self.jobs.get(&id).map(|finished| &finished.summary)
    }

    pub(super) fn has_result(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|finished| finished.has_result)
    }

    pub(super) fn summaries(&self) -> impl Iterator<Item = &JobSummary> {
        self.jobs.values().map(|finished| &finished.summary)
    }

    /// Those of an owner, or all, behind a place, newest first.
    pub(super) fn behind(&self, owner: Option<OwnerId>, before: Option<Place>) -> impl Iterator<Item = &Place> {
        let places = match owner {
            Some(owner) => self.by_owner.get(&owner),
            None => Some(&self.by_place),
        };
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        places.into_iter().flat_map(move |places| places.range((Bound::Unbounded, end)).rev())
    }

    pub(super) fn insert(&mut self, finished: Finished) {
        let id = finished.summary.id;
        self.remove(id);
        self.by_age.insert((finished.ended_at(), id));
        let place = (finished.summary.created_at, id);
        self.by_place.insert(place);
        self.by_owner.entry(finished.holder.owner).or_default().insert(place);
        self.held.put(&path(finished.holder), (finished.ended_at(), id), finished.bytes);
        self.jobs.insert(id, finished);
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: JobId) -> bool {
        self.take(id).is_some()
    }

    /// Takes one out, if it is there.
    pub(super) fn take(&mut self, id: JobId) -> Option<Finished> {
        let finished = self.jobs.remove(&id)?;
        self.by_age.remove(&(finished.ended_at(), id));
        let place = (finished.summary.created_at, id);
        self.by_place.remove(&place);
        if let Some(places) = self.by_owner.get_mut(&finished.holder.owner) {
            places.remove(&place);
            if places.is_empty() {
                self.by_owner.remove(&finished.holder.owner);
            }
        }
        self.held.take(&path(finished.holder), (finished.ended_at(), id), finished.bytes);
        Some(finished)
    }

    /// When the next job is too old to be kept.
    pub(super) fn next_deadline(&self, keep: &Keep) -> Option<Moment> {
        self.by_age.first().map(|(at, _)| *at + keep.age)
    }

    /// A job that is to go, if there is one: too old, or the oldest of whoever holds most. `newest` is none, whose owner has not
    /// seen it yet: of too many jobs never, and of too many bytes not where its region holds little.
    pub(super) fn excess(&self, now: Moment, keep: &Keep, newest: Option<JobId>) -> Option<JobId> {
        let old = self.by_age.first().filter(|(at, _)| now >= *at + keep.age).map(|(_, id)| *id);
        if old.is_some() {
            return old;
        }
        if self.held.bytes > keep.bytes {
            let region = newest.and_then(|id| self.jobs.get(&id)).map(|newest| newest.holder.region);
            let holds = region.and_then(|region| self.held.members.get(&region)).map_or(0, |region| region.bytes);
            self.held.oldest_of_most(Excess::Bytes, newest.filter(|_| holds <= keep.bytes / NEW_PART))
        } else if self.held.jobs > keep.jobs {
            self.held.oldest_of_most(Excess::Jobs, newest)
        } else {
            None
        }
    }

    /// What all their records take.
    pub(super) fn bytes(&self) -> u64 {
        self.held.bytes
    }
}

/// In whom what a holder holds counts, the widest first.
fn path(holder: Holder) -> [OwnerId; 4] {
    let Holder { region, network, household, owner } = holder;
    [region, network, household, owner]
}

impl Holding {
    /// Where it stands, if it holds anything.
    fn stand(&self) -> Option<Stand> {
        let oldest = self.by_age.first().or_else(|| self.most.by_age.first().map(|(oldest, _)| oldest));
        oldest.map(|oldest| Stand { bytes: self.bytes, jobs: self.jobs, oldest: *oldest })
    }

    fn put(&mut self, path: &[OwnerId], job: Ended, bytes: u64) {
        self.bytes += bytes;
        self.jobs += 1;
        match path.split_first() {
            None => _ = self.by_age.insert(job),
            Some((id, rest)) => self.change(*id, |member| member.put(rest, job, bytes)),
        }
    }

    /// Takes out what was put in.
    fn take(&mut self, path: &[OwnerId], job: Ended, bytes: u64) {
        self.bytes -= bytes;
        self.jobs -= 1;
        match path.split_first() {
            None => _ = self.by_age.remove(&job),
            Some((id, rest)) => self.change(*id, |member| member.take(rest, job, bytes)),
        }
    }

    /// Changes what a member holds.
    fn change(&mut self, id: OwnerId, change: impl FnOnce(&mut Self)) {
        let mut member = self.members.remove(&id).unwrap_or_default();
        if let Some(stand) = member.stand() {
            self.most.remove(id, stand);
        }
        change(&mut member);
        if let Some(stand) = member.stand() {
            self.most.add(id, stand);
            self.members.insert(id, member);
        }
    }

    /// The oldest job of the owner who holds most in the household that holds most in the network that does in the region that
    /// does.
    fn oldest_of_most(&self, of: Excess, newest: Option<JobId>) -> Option<JobId> {
        let own = self.by_age.iter().map(|(_, id)| *id).find(|id| Some(*id) != newest);
        let members = || self.most.holders(of).filter_map(|id| self.members.get(id));
        own.or_else(|| members().find_map(|member| member.oldest_of_most(of, newest)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{api::Progress, job::JobState, units::Gas};

    const ME: OwnerId = OwnerId([1; 16]);
    const STRANGER: OwnerId = OwnerId([2; 16]);

    fn job(number: u64) -> JobId {
        JobId(u128::from(number).to_be_bytes())
    }

    fn finished(number: u64, owner: OwnerId, bytes: u64) -> Finished {
        let progress = Progress {
            units_total: 1,
            units_done: 1,
            units_running: 0,
            gas: Gas(1),
            percent: 100,
            remaining_seconds: None,
        };
        let summary = JobSummary {
            id: job(number),
            holder: Holder::of(owner),
            name: None,
            labels: BTreeMap::new(),
            kind: "map".into(),
            state: JobState::Completed,
            waiting: None,
            error: None,
            failed_parts: 0,
            progress,
            created_at: Moment(number),
            finished_at: Some(Moment(number)),
        };
        Finished::new(summary, bytes, true)
    }

    /// Ends a job and gives what went for it.
    fn end(jobs: &mut FinishedJobs, keep: &Keep, finished: Finished) -> Vec<JobId> {
        let (newest, now) = (finished.summary.id, finished.ended_at());
        jobs.insert(finished);
        let mut gone = Vec::new();
        while let Some(id) = jobs.excess(now, keep, Some(newest)) {
            assert!(jobs.remove(id));
            gone.push(id);
        }
        gone
    }

    #[test]
    fn a_strangers_many_jobs_push_out_their_own_only() {
        let keep = Keep { jobs: 10, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        for number in 0..3 {
            assert_eq!(end(&mut jobs, &keep, finished(number, ME, 1_000)), []);
        }
        for number in 3..300 {
            let gone = end(&mut jobs, &keep, finished(number, STRANGER, 1));
            assert!(gone.iter().all(|id| !(0..3).map(job).any(|mine| mine == *id)), "{gone:?}");
        }
        assert!((0..3).all(|number| jobs.get(job(number)).is_some()));
        assert_eq!(jobs.jobs.len(), 10);
    }

    #[test]
    fn whoever_makes_up_owners_pushes_out_only_what_came_from_the_same_household() {
        let keep = Keep { bytes: 10_000, jobs: 10, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        assert_eq!(end(&mut jobs, &keep, finished(0, ME, 2_000)), []);
        assert_eq!(end(&mut jobs, &keep, finished(1, STRANGER, 2_000)), []);
        for number in 2..300 {
            let mut made_up = finished(number, STRANGER, 900);
            made_up.holder.owner = OwnerId(u128::from(number).to_be_bytes());
            let gone = end(&mut jobs, &keep, made_up);
            assert!(!gone.contains(&job(0)), "{gone:?}");
        }
        assert!(jobs.get(job(0)).is_some());
    }

    #[test]
    fn whoever_has_many_households_pushes_out_only_what_came_from_the_same_network() {
        let keep = Keep { bytes: 10_000, jobs: 10, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        assert_eq!(end(&mut jobs, &keep, finished(0, ME, 2_000)), []);
        for number in 1..300 {
            let mut next_door = finished(number, OwnerId(u128::from(number).to_be_bytes()), 1_900);
            (next_door.holder.region, next_door.holder.network) = (STRANGER, STRANGER);
            let gone = end(&mut jobs, &keep, next_door);
            assert!(!gone.contains(&job(0)), "{gone:?}");
        }
        assert!(jobs.get(job(0)).is_some());
    }

    #[test]
    fn whoever_has_many_networks_pushes_out_only_what_came_from_the_same_region() {
        let keep = Keep { bytes: 10_000, jobs: 10, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        let mine = [0, 1, 2].map(job);
        for number in 0..3 {
            assert_eq!(end(&mut jobs, &keep, finished(number, ME, 1_000)), []);
        }
        for number in 3..300 {
            let mut nearby = finished(number, OwnerId(u128::from(number).to_be_bytes()), 1_900);
            nearby.holder.region = STRANGER;
            let gone = end(&mut jobs, &keep, nearby);
            assert!(!gone.iter().any(|id| mine.contains(id)), "{gone:?}");
        }
        assert!(mine.iter().all(|id| jobs.get(*id).is_some()));
    }

    #[test]
    fn a_line_of_before_there_were_regions_networks_or_households_is_read() {
        let mut finished = finished(7, ME, 3);
        finished.holder.region = STRANGER;
        let mut line = serde_json::to_value(finished).unwrap();
        let read =
            |line: &serde_json::Value| Finished::read(&serde_json::to_vec(line).unwrap()).unwrap().summary.holder;
        assert_eq!(read(&line), Holder { region: STRANGER, ..Holder::of(ME) });
        line.as_object_mut().unwrap().remove("region");
        assert_eq!(read(&line), Holder::of(ME));
        line.as_object_mut().unwrap().remove("network");
        assert_eq!(read(&line), Holder::of(ME));
        line.as_object_mut().unwrap().remove("household");
        assert_eq!(read(&line), Holder { owner: ME, ..Holder::LOCAL });
    }

    #[test]
    fn whoever_holds_most_bytes_loses_the_oldest_and_nobody_pays_for_anothers_large_one() {
        let keep = Keep { bytes: 100, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        assert_eq!(end(&mut jobs, &keep, finished(1, ME, 40)), []);
        assert_eq!(end(&mut jobs, &keep, finished(2, STRANGER, 30)), []);
        assert_eq!(end(&mut jobs, &keep, finished(3, STRANGER, 30)), []);
        assert_eq!(end(&mut jobs, &keep, finished(4, ME, 30)), [job(1)]);
        assert_eq!(end(&mut jobs, &keep, finished(5, ME, 500)), [job(4), job(5)]);
        assert_eq!(end(&mut jobs, &keep, finished(6, ME, 41)), [job(2)], "who holds most gives of what he has");
    }

    #[test]
    fn among_very_many_who_have_one_job_each_the_newest_stays() {
        let keep = Keep { jobs: 10, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        for number in 0..300_u64 {
            // Whoever's name comes first or last.
            let owner = OwnerId(u128::from(number.reverse_bits()).to_be_bytes());
            end(&mut jobs, &keep, finished(number, owner, 1));
            assert!(jobs.get(job(number)).is_some(), "{number}");
        }
        assert!((290..300).all(|number| jobs.get(job(number)).is_some()), "the oldest went first");
        assert_eq!(jobs.jobs.len(), 10);
    }

    #[test]
    fn where_many_hold_about_as_much_a_new_result_is_kept_and_the_oldest_goes() {
        let keep = Keep { bytes: 10_000, ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        let owner = |number: u64| OwnerId(u128::from(number.reverse_bits()).to_be_bytes());
        for number in 0..100 {
            assert_eq!(end(&mut jobs, &keep, finished(number, owner(number), 100)), []);
        }
        for (number, bytes) in [(100, 100), (101, 101), (102, 120), (103, 90)] {
            let gone = end(&mut jobs, &keep, finished(number, owner(number), bytes));
            assert!(!gone.is_empty() && gone.iter().all(|id| (0..6).map(job).any(|old| old == *id)), "{gone:?}");
        }
        // One that is large, but not beyond its share, is kept as well; a larger one costs nobody anything.
        let gone = end(&mut jobs, &keep, finished(104, owner(104), 1_200));
        assert!(jobs.get(job(104)).is_some() && !gone.is_empty());
        assert_eq!(end(&mut jobs, &keep, finished(105, owner(105), 2_100)), [job(105)]);
    }

    #[test]
    fn nothing_is_kept_for_longer_than_told() {
        let keep = Keep { age: Millis(10), ..Keep::default() };
        let mut jobs = FinishedJobs::default();
        end(&mut jobs, &keep, finished(1, ME, 1));
        assert_eq!(jobs.next_deadline(&keep), Some(Moment(11)));
        assert_eq!(jobs.excess(Moment(10), &keep, None), None);
        assert_eq!(jobs.excess(Moment(11), &keep, None), Some(job(1)));
    }

    #[test]
    fn the_books_are_empty_when_the_jobs_are_gone() {
        let mut jobs = FinishedJobs::default();
        for number in 0..50 {
            jobs.insert(finished(number, if number % 3 == 0 { ME } else { STRANGER }, number));
            jobs.insert(finished(number, ME, number));
        }
        for number in 0..50 {
            assert!(jobs.remove(job(number)) && !jobs.remove(job(number)));
        }
        assert_eq!((jobs.held.bytes, jobs.held.jobs), (0, 0));
        assert!(jobs.by_place.is_empty() && jobs.by_owner.is_empty());
        assert!(jobs.by_age.is_empty() && jobs.held.members.is_empty());
        let most = &jobs.held.most;
        assert!(most.by_bytes.is_empty() && most.by_jobs.is_empty() && most.by_age.is_empty());
    }

    #[test]
    fn a_line_reads_back_from_its_record() {
        let line = finished(7, ME, 3);
        let read = Finished::read(&serde_json::to_vec(&line).unwrap()).unwrap();
        assert_eq!((read.summary, read.bytes), (line.summary, 3));
        assert!(Finished::read(b"{}").is_none());
    }
}
