//! Jobs that are over. Their results, details and lines in lists lie in the host's store and are read when somebody asks; here
//! is what counts for the owner of each, and which of them go when there are too many.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::{cut, listing::Place};
use crate::{
    api::JobSummary,
    id::{Holder, JobId, OwnerId},
    job::JobState,
    store::{StoreKey, Unread, open, seal},
    units::{Millis, Moment},
};

/// Goes up when a record changes in a way that an older version cannot be read into.
const VERSION: u16 = 1;
/// What of an error's sentences is kept in lists.
const MOST_WORDS: usize = 1_000;
/// Summaries of jobs that ended last that are held in memory: whoever is told of an end asks for it at once.
const MOST_RECENT: usize = 2_000;

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

/// What is held in memory of a job that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) holder: Holder,
    pub(super) state: JobState,
    pub(super) created_at: Moment,
    ended_at: Moment,
    /// What its records take in the store.
    bytes: u64,
    /// Whether one of them is a result; what a failed job put out may be kept, too.
    has_result: bool,
}

/// The beginning of a line in the store, in postcard: read at the start for every job that is over. Behind it is the summary,
/// as JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    region: [u8; 16],
    network: [u8; 16],
    household: [u8; 16],
    owner: [u8; 16],
    /// As in [`STATES`].
    state: u8,
    created_at: u64,
    ended_at: u64,
    bytes: u64,
    has_result: bool,
}

/// The states in which a job is over, by the numbers that they have in the store.
const STATES: [JobState; 4] = [JobState::Completed, JobState::Failed, JobState::Cancelled, JobState::Expired];

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
    states: BTreeMap<JobState, usize>,
    /// Those that ended last, as lists show them.
    recent: BTreeMap<JobId, JobSummary>,
    recent_order: VecDeque<JobId>,
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

/// A summary as lists keep it.
fn shorten(summary: &mut JobSummary) {
    if let Some(error) = &mut summary.error {
        error.message = cut(&error.message, MOST_WORDS).to_owned();
        error.hint = cut(&error.hint, MOST_WORDS).to_owned();
    }
}

impl Finished {
    /// A job whose records take so many bytes.
    pub(super) fn new(summary: &JobSummary, bytes: u64, has_result: bool) -> Self {
        Self {
            holder: summary.holder,
            state: summary.state,
            created_at: summary.created_at,
            ended_at: summary.finished_at.unwrap_or(summary.created_at),
            bytes,
            has_result,
        }
    }

    /// The record of its line.
    pub(super) fn record(&self, summary: &JobSummary) -> Vec<u8> {
        let Holder { region, network, household, owner } = self.holder;
        let state = STATES.iter().position(|state| *state == self.state).and_then(|state| u8::try_from(state).ok());
        let head = Head {
            region: region.0,
            network: network.0,
            household: household.0,
            owner: owner.0,
            state: state.unwrap_or_default(),
            created_at: self.created_at.0,
            ended_at: self.ended_at.0,
            bytes: self.bytes,
            has_result: self.has_result,
        };
        let mut shown = summary.clone();
        shorten(&mut shown);
        seal(StoreKey::Finished(summary.id), VERSION, owner, |record| {
            // Neither can fail: both write to memory, and nothing in them has no form there.
            let mut record = postcard::to_extend(&head, record).unwrap_or_default();
            let _ = serde_json::to_writer(&mut record, &shown);
            record
        })
    }

    /// Reads a line: what is held of it in memory, and its summary as [`summary`] reads it.
    pub(super) fn read(id: JobId, record: &[u8]) -> Result<(Self, &[u8]), Unread> {
        let body = open(StoreKey::Finished(id), VERSION, record)?.body;
        let (head, summary) = postcard::take_from_bytes::<Head>(body).map_err(|_| Unread::Damaged)?;
        let Head { region, network, household, owner, state, created_at, ended_at, bytes, has_result } = head;
        let [region, network, household, owner] = [region, network, household, owner].map(OwnerId);
        let finished = Self {
            holder: Holder { region, network, household, owner },
            state: STATES.get(usize::from(state)).copied().ok_or(Unread::Damaged)?,
            created_at: Moment(created_at),
            ended_at: Moment(ended_at),
            bytes,
            has_result,
        };
        Ok((finished, summary))
    }
}

/// Reads the summary behind the head of a line.
pub(super) fn summary(finished: &Finished, json: &[u8]) -> Option<JobSummary> {
    let mut summary = serde_json::from_slice::<JobSummary>(json).ok()?;
    summary.holder = finished.holder;
    Some(summary)
}

impl FinishedJobs {
    pub(super) fn get(&self, id: JobId) -> Option<&Finished> {
        self.jobs.get(&id)
    }

    /// What lists show of a job that ended not long ago.
    pub(super) fn recent(&self, id: JobId) -> Option<&JobSummary> {
        self.recent.get(&id)
    }

    pub(super) fn has_result(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|finished| finished.has_result)
    }

    /// How many there are in each state.
    pub(super) fn states(&self) -> impl Iterator<Item = (JobState, usize)> {
        self.states.iter().map(|(state, jobs)| (*state, *jobs))
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

    /// Takes one in that ended now.
    pub(super) fn insert_recent(&mut self, finished: Finished, mut summary: JobSummary) {
        let id = summary.id;
        self.insert(id, finished);
        shorten(&mut summary);
        self.recent.insert(id, summary);
        self.recent_order.push_back(id);
        while self.recent_order.len() > MOST_RECENT {
            if let Some(id) = self.recent_order.pop_front() {
                self.recent.remove(&id);
            }
        }
    }

    /// Holds what lists show of one that ended before all those that are held, if there is room.
    pub(super) fn hold(&mut self, summary: JobSummary) {
        if self.recent_order.len() < MOST_RECENT && self.jobs.contains_key(&summary.id) {
            self.recent_order.push_front(summary.id);
            self.recent.insert(summary.id, summary);
        }
    }

    pub(super) fn insert(&mut self, id: JobId, finished: Finished) {
        self.take(id);
        self.by_age.insert((finished.ended_at, id));
        let place = (finished.created_at, id);
        self.by_place.insert(place);
        self.by_owner.entry(finished.holder.owner).or_default().insert(place);
        self.held.put(&path(finished.holder), (finished.ended_at, id), finished.bytes);
        *self.states.entry(finished.state).or_default() += 1;
        self.jobs.insert(id, finished);
    }

    /// Takes one out, if it is there.
    pub(super) fn take(&mut self, id: JobId) -> Option<Finished> {
        let finished = self.jobs.remove(&id)?;
        self.by_age.remove(&(finished.ended_at, id));
        let place = (finished.created_at, id);
        self.by_place.remove(&place);
        if let Some(places) = self.by_owner.get_mut(&finished.holder.owner) {
            places.remove(&place);
            if places.is_empty() {
                self.by_owner.remove(&finished.holder.owner);
            }
        }
        self.held.take(&path(finished.holder), (finished.ended_at, id), finished.bytes);
        if let Some(jobs) = self.states.get_mut(&finished.state) {
            *jobs -= 1;
            if *jobs == 0 {
                self.states.remove(&finished.state);
            }
        }
        if self.recent.remove(&id).is_some() {
            self.recent_order.retain(|recent| *recent != id);
        }
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
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{api::Progress, job::JobState, units::Gas};

    const ME: OwnerId = OwnerId([1; 16]);
    const STRANGER: OwnerId = OwnerId([2; 16]);

    fn job(number: u64) -> JobId {
        JobId(u128::from(number).to_be_bytes())
    }

    fn summary_of(number: u64, owner: OwnerId) -> JobSummary {
        let progress = Progress {
            units_total: 1,
            units_done: 1,
            units_running: 0,
            gas: Gas(1),
            percent: 100,
            ..Progress::default()
        };
        JobSummary {
            id: job(number),
            holder: Holder::of(owner),
            name: None,
            labels: BTreeMap::new(),
            kind: "map".into(),
            computes: None,
            state: JobState::Completed,
            waiting: None,
            error: None,
            failed_parts: 0,
            progress,
            created_at: Moment(number),
            finished_at: Some(Moment(number)),
        }
    }

    fn finished(number: u64, owner: OwnerId, bytes: u64) -> (JobId, Finished) {
        (job(number), Finished::new(&summary_of(number, owner), bytes, true))
    }

    /// Ends a job and gives what went for it.
    fn end(jobs: &mut FinishedJobs, keep: &Keep, (newest, finished): (JobId, Finished)) -> Vec<JobId> {
        let now = finished.ended_at;
        jobs.insert(newest, finished);
        let mut gone = Vec::new();
        while let Some(id) = jobs.excess(now, keep, Some(newest)) {
            assert!(jobs.take(id).is_some());
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
            made_up.1.holder.owner = OwnerId(u128::from(number).to_be_bytes());
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
            (next_door.1.holder.region, next_door.1.holder.network) = (STRANGER, STRANGER);
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
            nearby.1.holder.region = STRANGER;
            let gone = end(&mut jobs, &keep, nearby);
            assert!(!gone.iter().any(|id| mine.contains(id)), "{gone:?}");
        }
        assert!(mine.iter().all(|id| jobs.get(*id).is_some()));
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
            let (id, first) = finished(number, if number % 3 == 0 { ME } else { STRANGER }, number);
            jobs.insert(id, first);
            jobs.insert_recent(finished(number, ME, number).1, summary_of(number, ME));
        }
        for number in 0..50 {
            assert!(jobs.recent(job(number)).is_some());
            assert!(jobs.take(job(number)).is_some() && jobs.take(job(number)).is_none());
        }
        assert!(jobs.recent.is_empty() && jobs.recent_order.is_empty() && jobs.states.is_empty());
        assert_eq!((jobs.held.bytes, jobs.held.jobs), (0, 0));
        assert!(jobs.by_place.is_empty() && jobs.by_owner.is_empty());
        assert!(jobs.by_age.is_empty() && jobs.held.members.is_empty());
        let most = &jobs.held.most;
        assert!(most.by_bytes.is_empty() && most.by_jobs.is_empty() && most.by_age.is_empty());
    }

    #[test]
    fn of_those_that_ended_last_so_many_are_held_as_lists_show_them_and_of_all_others_what_counts() {
        let mut jobs = FinishedJobs::default();
        let last = 3 * MOST_RECENT as u64;
        for number in 0..last {
            jobs.insert_recent(finished(number, ME, 1).1, summary_of(number, ME));
        }
        assert_eq!((jobs.recent.len(), jobs.recent_order.len()), (MOST_RECENT, MOST_RECENT));
        assert!(jobs.recent(job(last - 1)).is_some() && jobs.recent(job(0)).is_none());
        assert!(jobs.get(job(0)).is_some() && jobs.has_result(job(0)));
        assert_eq!(jobs.states().collect::<Vec<_>>(), [(JobState::Completed, 3 * MOST_RECENT)]);
    }

    #[test]
    fn a_line_reads_back_from_its_record() {
        for state in STATES {
            let mut shown = summary_of(7, ME);
            shown.holder.region = STRANGER;
            shown.state = state;
            let line = Finished::new(&shown, 3, true);
            let record = line.record(&shown);
            let (read, body) = Finished::read(shown.id, &record).unwrap();
            assert_eq!((read, summary(&read, body)), (line, Some(shown)));
        }
        assert_eq!(Finished::read(job(7), b"{}"), Err(Unread::Damaged));
    }

    #[test]
    fn the_states_of_jobs_keep_their_numbers_since_stores_hold_them() {
        let expected = [JobState::Completed, JobState::Failed, JobState::Cancelled, JobState::Expired];
        assert_eq!(STATES, expected);
        assert!(STATES.iter().all(|state| state.is_final()));
    }
}
