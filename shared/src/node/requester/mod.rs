//! The requester: keeps this node's jobs, from submission to their end. What goes out to whom is in `dispatch.rs`, what
//! comes back in `attempts.rs`.

mod attempt;
mod attempts;
mod audit;
mod batch;
mod batches;
mod called_off;
mod candidates;
mod dispatch;
mod extra;
mod failing;
mod finished;
mod gathered;
mod hedges;
mod history;
mod keeping;
mod left_alone;
mod listing;
mod loading;
mod merging;
mod over;
mod owners;
mod placement;
mod regions;
mod room;
mod running;
mod scheduler;
mod shares;
mod stages;
mod store;
mod stragglers;
mod told;
mod trust;
mod verify;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(super) use self::dispatch::Answer;
use self::{
    attempt::Attempt,
    called_off::CalledOff,
    candidates::Candidates,
    extra::Extra,
    finished::{Finished, FinishedJobs},
    keeping::Unkept,
    left_alone::LeftAlone,
    merging::Merges,
    over::{End, Over},
    owners::Owners,
    running::{Phase, Rank, Running},
    verify::Verification,
};
pub use self::{
    finished::Keep,
    listing::{Listing, NoResult, Place, Step},
    loading::{Line, mend_line, read_line, read_summary, why_no_result},
    merging::{Merge, Merged},
    store::{OfBefore, held_bytes, new_record, read_status},
};
use crate::{
    api::JobSummary,
    id::{AttemptId, Hash, Holder, JobId, NodeId, OwnerId},
    job::{AttemptState, Job, JobState, Requirements},
    node::{Notice, core::Core},
    refusal::{Code, Refusal},
    store::{Change, StoreKey},
    units::{Millis, Moment},
    wire::{Message, Offer},
};

/// Bytes of outputs that one job may gather.
const MOST_OUTPUT_BYTES: u64 = 512 << 20;
/// Where so much less is free of what may be kept, a result is looked at before it is: a job's record is smaller.
const NEAR_THE_BOUND: u64 = 4 << 20;
/// A job that has not begun is given up when no node that meets its requirements was connected for so long, and how often
/// that is looked at.
const EXPIRES: Millis = Millis(24 * 3_600_000);
const CHANCE_STEP: Millis = Millis(60_000);
/// How long a node whose connection broke may come back with its work.
const LOST_GRACE: Millis = Millis(12_000);
/// How often the requester looks around while it has jobs.
const STEP: Millis = Millis(100);
/// Beyond its timeout, an attempt that began gets so long until its node says what came of it, and until a large output
/// is here; one that did not begin waits so long.
const DELIVERY_SLACK: Millis = Millis(9_000);
const FETCH_SLACK: Millis = Millis(15_000);
const START_SLACK: Millis = Millis(60_000);

/// The requesting side of a node.
#[derive(Default)]
pub(super) struct Requester {
    /// Jobs that are not over.
    jobs: BTreeMap<JobId, Running>,
    /// Jobs that are.
    finished: FinishedJobs,
    /// Jobs that are not over, by rank.
    active: BTreeSet<Rank>,
    /// Whose those are, and whose turn it is.
    owners: Owners,
    /// Whose room is set aside for jobs that a host keeps before it hands them over, and how much. In the books it counts
    /// as those jobs do.
    reserved: BTreeMap<JobId, (Holder, usize)>,
    attempts: BTreeMap<AttemptId, Attempt>,
    next_attempt: u64,
    /// Deliveries whose blob is being fetched.
    arriving: BTreeMap<Hash, BTreeSet<AttemptId>>,
    candidates: Candidates,
    called_off: CalledOff,
    merges: Merges,
    /// Work that is done more than once.
    extra: Extra,
    /// How many nodes must say the same.
    verification: Verification,
    /// Open questions to brokers: when they were asked.
    asked: BTreeMap<NodeId, (u64, Moment)>,
    next_query: u64,
    /// What they were asked for.
    asked_for: Option<Requirements>,
    /// What the brokers knew before the requirements were applied.
    known_offers: u32,
    /// Offers of other rewrites that the broker knew.
    other_offers: u32,
    /// Owners with work that waits and nothing under way, and since when.
    kept_out: BTreeMap<Holder, Moment>,
    /// Records that are not understood.
    left_alone: LeftAlone,
    /// What is said once it is kept.
    unkept: Unkept,
    /// Lines of jobs that are over are still to come.
    is_loading: bool,
    /// Jobs of the store that were not over and are not understood, and why.
    not_resumed: Vec<(JobId, Refusal)>,
    /// Jobs with a task that no node would take, and why.
    unsendable: BTreeMap<JobId, Refusal>,
    step_at: Moment,
    chance_step_at: Moment,
    /// The last job whose reason to wait was compared with what was told.
    reasons_noted: Option<JobId>,
    changed: BTreeSet<JobId>,
}

impl Requester {
    /// One without jobs, whose attempts are counted from `next_attempt` on.
    pub(super) fn new(next_attempt: u64) -> Self {
        Self { next_attempt, ..Self::default() }
    }

    // ---- what it knows -------------------------------------------------------------------------------------------

    /// Damaged records that were met so far, as many as are named.
    pub(super) fn damaged(&self) -> &[StoreKey] {
        self.left_alone.damaged()
    }

    /// Jobs of the store that were not over and are not understood, and why.
    pub(super) fn not_resumed(&self) -> &[(JobId, Refusal)] {
        &self.not_resumed
    }

    /// What nodes offer, as far as it holds.
    pub(super) fn offers(&self, now: Moment) -> impl Iterator<Item = &Offer> {
        self.candidates.iter().filter_map(move |(_, candidate)| candidate.fresh(now))
    }

    /// Whether a node has an attempt.
    pub(super) fn has(&self, node: NodeId, id: AttemptId) -> bool {
        self.attempt_of(node, id).is_some()
    }

    /// Whether a node may say that it begins one, or goes on with it.
    pub(super) fn may_start(&self, node: NodeId, id: AttemptId) -> bool {
        self.attempt_of(node, id).is_some_and(Attempt::may_start)
    }

    /// Whether a node may say that it set one aside.
    pub(super) fn may_rest(&self, node: NodeId, id: AttemptId) -> bool {
        self.attempt_of(node, id).is_some_and(Attempt::may_rest)
    }

    /// Whether a node has yet to deliver one.
    pub(super) fn awaits(&self, node: NodeId, id: AttemptId) -> bool {
        self.attempt_of(node, id).is_some_and(|attempt| attempt.state != AttemptState::Delivered)
    }

    fn attempt_of(&self, node: NodeId, id: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&id).filter(|attempt| attempt.node == node)
    }

    // ---- nodes ---------------------------------------------------------------------------------------------------

    /// A dial came to nothing.
    pub(super) fn dial_failed(&mut self, core: &Core, node: NodeId) {
        self.candidates.dial_failed(core.now, node);
    }

    /// A node lends no longer.
    pub(super) fn withdrawn(&mut self, node: NodeId) {
        self.candidates.withdrawn(node);
    }

    // ---- jobs ----------------------------------------------------------------------------------------------------

    pub(super) fn may_submit(&self, holder: Holder, held_bytes: usize) -> Result<(), Refusal> {
        self.owners.may_submit(holder, held_bytes)
    }

    /// Sets room aside for a job that is on its way: whoever comes next is counted with it.
    pub(super) fn reserve(&mut self, id: JobId, holder: Holder, held_bytes: usize) -> Result<(), Refusal> {
        self.release(id);
        self.may_submit(holder, held_bytes)?;
        self.owners.joins(holder, held_bytes);
        self.reserved.insert(id, (holder, held_bytes));
        Ok(())
    }

    /// Gives room back for a job that did not come.
    pub(super) fn release(&mut self, id: JobId) {
        if let Some((holder, bytes)) = self.reserved.remove(&id) {
            self.owners.leaves(holder, bytes, 0);
        }
    }

    /// Takes a job on. `kept`: its record is in the store as [`store::new_record`] makes it.
    pub(super) fn submitted(&mut self, core: &mut Core, id: JobId, job: Job, kept: bool) {
        if self.jobs.contains_key(&id) || self.finished.get(id).is_some() {
            return;
        }
        let entry = Running::new(id, job, core.now);
        let reserved = self.reserved.remove(&id);
        let refusal = match reserved {
            Some(_) => None,
            None => self.may_submit(entry.holder, entry.held_bytes()).err(),
        };
        self.admit(core, entry);
        if let Some((holder, bytes)) = reserved {
            self.owners.leaves(holder, bytes, 0);
        }
        if !kept {
            self.save(core, id);
        }
        match refusal {
            Some(refusal) => self.finish(core, id, End::failed(refusal)),
            None => self.start_looking(core),
        }
    }

    /// Takes a job in, fresh or from the store.
    fn admit(&mut self, core: &mut Core, entry: Running) {
        for blob in entry.stages.iter().flat_map(|stage| stage.blobs()) {
            core.blobs.pin(blob.hash(), || Arc::clone(blob.bytes()));
        }
        let (id, rank) = (entry.id, entry.rank());
        self.active.insert(rank);
        self.owners.joins(entry.holder, entry.held_bytes());
        self.jobs.insert(id, entry);
        self.refresh(id);
    }

    pub(super) fn cancel(&mut self, core: &mut Core, id: JobId) {
        let refusal = Refusal::new(Code::NoResult, "the job was cancelled", "submit it again");
        self.finish(core, id, End::cancelled(refusal));
    }

    /// Drops a job that is over.
    pub(super) fn remove(&mut self, core: &mut Core, id: JobId) {
        match self.finished.take(id) {
            Some(line) => self.forget_finished(core, id, line.holder.owner),
            None => _ = self.remove_left_alone(core, id),
        }
    }

    fn forget_finished(&mut self, core: &mut Core, id: JobId, owner: OwnerId) {
        let records = vec![StoreKey::Over(id), StoreKey::Result(id), StoreKey::Finished(id)];
        self.remove_records(core, id, owner, records);
    }

    /// Brings the lists up to date with a job.
    fn refresh(&mut self, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id) else { return };
        let waited = entry.waits;
        if entry.is_hungry() {
            if waited.is_none() {
                entry.work = entry.work.max(self.owners.reached(entry.holder));
            }
            entry.waits = Some(entry.turn());
        } else {
            entry.waits = None;
        }
        if let Some(turn) = entry.waits.filter(|turn| waited != Some(*turn)) {
            self.owners.waits(entry.holder, turn);
        }
        if let Some(turn) = waited.filter(|turn| entry.waits != Some(*turn)) {
            self.owners.rests(entry.holder, &turn);
        }
        if entry.told.has_changed() {
            self.changed.insert(id);
        }
    }

    // ---- ends of jobs --------------------------------------------------------------------------------------------

    /// Brings a job for which everything is there to its end, and one whose outputs are more than there is room for.
    fn check_done(&mut self, core: &mut Core, id: JobId) {
        self.end_if_done(core, id);
        if !self.merges.is_out(id) {
            self.bound_outputs(core, id);
        }
    }

    /// The same for a job from the store. One for which everything is there is in nobody's books then: those that were out
    /// when the process was killed were in none, others may be out now, and no restart may end a job for that.
    fn check_restored(&mut self, core: &mut Core, id: JobId) {
        let is_complete = self.jobs.get(&id).is_some_and(|entry| entry.gathered.units() == entry.units);
        if is_complete {
            self.end_if_done(core, id);
        } else {
            self.check_done(core, id);
        }
    }

    /// Ends a job whose outputs are too large, and has those of one for which everything is there merged.
    fn end_if_done(&mut self, core: &mut Core, id: JobId) {
        let Some(entry) = self.jobs.get(&id) else { return };
        if entry.gathered.bytes() > MOST_OUTPUT_BYTES {
            let message = format!("the outputs of the job are larger than {} MiB", MOST_OUTPUT_BYTES >> 20);
            let refusal = Refusal::new(Code::TooLarge, message, "split the job, or let the kernel return less");
            self.finish(core, id, End::failed(refusal));
        } else if entry.gathered.units() == entry.units {
            self.merge(core, id);
        }
    }

    /// Books what a job has gathered, and ends one of whoever holds more than there is room for: his largest, but for those
    /// that the host makes results of now.
    fn bound_outputs(&mut self, core: &mut Core, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id) else { return };
        let holder = entry.holder;
        self.owners.gathers(holder, entry.gathered.book());
        while let Some((whose, refusal)) = self.owners.outputs_beyond(holder) {
            let is_his = |holder: Holder| holder.path() == whose.path();
            let his = self.jobs.values().filter(|entry| is_his(entry.holder) && !self.merges.is_out(entry.id));
            let Some(largest) = his.max_by_key(|entry| entry.gathered.booked()).map(|entry| entry.id) else { return };
            self.finish(core, largest, End::failed(refusal));
        }
    }

    /// Ends a job.
    fn finish(&mut self, core: &mut Core, id: JobId, end: End) {
        let Some(entry) = self.jobs.get(&id) else { return };
        self.merges.ended(id);
        let live: Vec<AttemptId> = entry.batches.attempts().collect();
        self.call_off(core, live);
        let Some(entry) = self.jobs.remove(&id) else { return };
        self.active.remove(&entry.rank());
        self.owners.leaves(entry.holder, entry.held_bytes(), entry.gathered.booked());
        if let Some(turn) = &entry.waits {
            self.owners.rests(entry.holder, turn);
        }
        for blob in entry.stages.iter().flat_map(|stage| stage.blobs()) {
            core.blobs.unpin(blob.hash());
        }
        for common in entry.stages.iter().filter_map(|stage| stage.stage().common.as_ref()) {
            core.blobs.discard(common.hash());
        }
        self.put_away(core, Over::new(entry, end, core.now));
        self.trim(core, Some(id));
        if self.active.is_empty() {
            self.stop_looking(core);
        } else {
            self.fill_all(core);
        }
    }

    /// Takes a job that is over out of memory, all but what counts for its owner. Its end is kept all at once: whenever a host
    /// dies, it finds a job that goes on, or one that is over with all that came of it.
    fn put_away(&mut self, core: &mut Core, mut over: Over) {
        let id = over.entry.id;
        let is_near = |result: &String| {
            self.is_loaded() && self.finished.bytes() + result.len() as u64 + NEAR_THE_BOUND > core.config.keep.bytes
        };
        let result = match over.end.result.take() {
            Some(result) if is_near(&result) => self.make_room_for_result(core, &mut over, result),
            result => result,
        };
        let (summary, record) = (over.summary(), store::over_record(&over));
        let bytes = record.len() + result.as_ref().map_or(0, String::len);
        let line = Finished::new(&summary, bytes as u64, result.is_some());
        let mut changes: Vec<Change> = vec![(StoreKey::Job(id), None)];
        changes.extend(result.map(|result| (StoreKey::Result(id), Some(result.into_bytes()))));
        changes.push((StoreKey::Over(id), Some(record)));
        changes.push((StoreKey::Finished(id), Some(line.record(&summary))));
        changes.extend(over.entry.gathered.outputs().keys().map(|span| (StoreKey::Span(id, span.start), None)));
        changes.extend(self.left_alone.take_spans(id).map(|key| (key, None)));
        self.finished.insert_recent(line, summary);
        let before = over.entry.status(core.now, None, std::iter::empty());
        self.keep_end(core, before, changes);
    }

    /// Makes room for the result of a job among those of others, of whom nobody gives any of what is his share. What is more than
    /// is left then is not kept, and the job fails: nobody shall be told of a result and then look for it in vain.
    fn make_room_for_result(&mut self, core: &mut Core, over: &mut Over, result: String) -> Option<String> {
        let bytes = (result.len() + store::over_record(over).len()) as u64;
        let job = over.entry.id;
        self.finished.insert(job, Finished::new(&over.summary(), bytes, true));
        let mut gone: Vec<(JobId, Finished, Option<JobSummary>)> = Vec::new();
        while let Some(id) = self.finished.excess(core.now, &core.config.keep, Some(job)) {
            if id == job {
                self.finished.take(id);
                for (id, line, shown) in gone {
                    self.finished.insert(id, line);
                    if let Some(shown) = shown {
                        self.finished.hold(shown);
                    }
                }
                if over.end.state == JobState::Completed {
                    over.end.state = JobState::Failed;
                    let size = match result.len() {
                        0..0x10_0000 => format!("{} KiB", result.len().div_ceil(1 << 10)),
                        0x10_0000.. => format!("{} MiB", result.len().div_ceil(1 << 20)),
                    };
                    let message =
                        format!("the result has {size}, more than this node keeps for one owner at the moment");
                    let hint = "split the job, or submit it to a node that keeps more";
                    over.end.error = Some(Refusal::new(Code::TooLarge, message, hint));
                }
                return None;
            }
            let shown = self.finished.recent(id).cloned();
            gone.extend(self.finished.take(id).map(|line| (id, line, shown)));
        }
        self.finished.take(job);
        for (id, line, _) in gone {
            self.forget_finished(core, id, line.holder.owner);
        }
        Some(result)
    }

    /// Drops finished jobs beyond what is kept, once all of them are known.
    fn trim(&mut self, core: &mut Core, newest: Option<JobId>) {
        while self.is_loaded()
            && let Some(id) = self.finished.excess(core.now, &core.config.keep, newest)
        {
            self.remove(core, id);
        }
    }

    fn save(&mut self, core: &mut Core, id: JobId) {
        if let Some(entry) = self.jobs.get(&id) {
            store::save_job(core, entry);
        }
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    pub(super) fn tick(&mut self, core: &mut Core) {
        let now = core.now;
        if !self.active.is_empty() && now >= self.step_at {
            self.step_at = now + STEP;
            for (node, attempts) in self.candidates.given_up(now, LOST_GRACE) {
                for id in attempts {
                    let why = Refusal::new(Code::NoProvider, format!("the connection to node {node} was lost"), "");
                    self.lose(core, id, why);
                }
                self.leave(node);
            }
            self.give_up_late(core);
            self.charge_running(now);
            self.note_chances(core);
            let unsendable = std::mem::take(&mut self.unsendable);
            let (mut ends, mut fates) = (Vec::new(), Vec::new());
            ends.extend(unsendable.into_iter().map(|(id, refusal)| (id, End::failed(refusal))));
            for rank in &self.active {
                let Some(entry) = self.jobs.get_mut(&rank.2) else { continue };
                if let Some((fate, node)) = entry.unconfirmed(now) {
                    fates.push((entry.id, node, fate));
                } else if entry.had_no_chance_for(EXPIRES, now) {
                    let message = "no node that meets the job's requirements was connected for a day";
                    let refusal = Refusal::new(Code::NoProvider, message, "submit it again later");
                    ends.push((entry.id, End::expired(refusal)));
                }
                entry.gathered.update_partial(now, &*entry.plan);
                if entry.wants_proven() {
                    entry.note_at_hand(now, self.candidates.at_hand(core, entry));
                }
            }
            for (id, node, fate) in fates {
                self.meet(core, id, node, fate);
            }
            for (id, end) in ends {
                self.finish(core, id, end);
            }
            self.start_looking(core);
            self.hedge(core);
            self.resend_stragglers(core);
            self.make_room(core);
            self.note_reasons(core);
        }
        self.trim(core, None);
        self.candidates.close_silent(core);
        self.tell(core);
    }

    /// Notes which jobs wait only because the nodes that could take them are busy: those are not given up.
    fn note_chances(&mut self, core: &Core) {
        if core.now < self.chance_step_at {
            return;
        }
        self.chance_step_at = core.now + CHANCE_STEP;
        for rank in &self.active {
            let Some(entry) = self.jobs.get_mut(&rank.2).filter(|entry| entry.started_at.is_none()) else { continue };
            if self.candidates.connected_to_one(core, &entry.requirements) {
                entry.has_chance(core.now);
            }
        }
    }

    /// Counts what runs longer than was thought, while it runs: who blocks cores for long gets none meanwhile.
    fn charge_running(&mut self, now: Moment) {
        let mut more = Vec::new();
        for attempt in self.attempts.values_mut() {
            let ran = attempt.ran(now).0.saturating_mul(1000);
            if ran > attempt.charged {
                more.push((attempt.job, ran - attempt.charged));
                attempt.charged = ran;
            }
        }
        for (job, more) in more {
            self.charge(job, more, 0);
        }
    }

    /// A job was given `more` work, in microseconds of one core, and `less` of what was counted before.
    fn charge(&mut self, job: JobId, more: u64, less: u64) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.work = entry.work.saturating_add(more).saturating_sub(less);
            self.owners.charge(entry.holder, more, less);
            self.refresh(job);
        }
    }

    /// Gives up attempts that should have come back long ago.
    fn give_up_late(&mut self, core: &mut Core) {
        let now = core.now;
        let (mut late, mut aside) = (Vec::new(), Vec::new());
        for (id, attempt) in &self.attempts {
            let timeout = self.jobs.get(&attempt.job).map_or(Millis(0), Running::timeout);
            let slack = if attempt.state == AttemptState::Delivered { FETCH_SLACK } else { DELIVERY_SLACK };
            let is_late = match attempt.started_at {
                Some(_) => attempt.ran(now).0 >= timeout.0 + slack.0,
                None => now >= attempt.due.max(attempt.assigned_at + timeout) + START_SLACK,
            };
            if is_late {
                late.push(*id);
            } else if attempt.is_aside_too_long(now, timeout) {
                aside.push(*id);
            }
        }
        for id in aside {
            let Some(node) = self.attempts.get(&id).map(|attempt| attempt.node) else { continue };
            // Others come first for what it held for so long, unless it was busy with what this one gave it.
            if self.running(node) == 0
                && let Some(attempt) = self.attempts.get_mut(&id)
            {
                attempt.blame(&mut self.candidates.records, now);
            }
            core.send(node, Message::Cancel { attempts: vec![id] });
            let message = "its node had others to do for too long; it begins anew";
            self.lose(core, id, Refusal::new(Code::NoProvider, message, ""));
        }
        for id in late {
            let Some(node) = self.attempts.get(&id).map(|attempt| attempt.node) else { continue };
            if self.has_no_core_for(core, id) {
                self.reclaim(core, node, &[id], "its node was busy for too long; it begins anew");
                continue;
            }
            if let Some(attempt) = self.attempts.get_mut(&id) {
                attempt.blame(&mut self.candidates.records, now);
            }
            let refusal = Refusal::new(Code::TimedOut, "the node did not deliver in time", "");
            self.reject_silent(core, node, &[id], refusal);
        }
    }

    /// Whether a node has not begun an attempt since all of its cores have been computing what this requester gave it before.
    fn has_no_core_for(&self, core: &Core, id: AttemptId) -> bool {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| attempt.started_at.is_none()) else { return false };
        let Some(candidate) = self.candidates.get(attempt.node) else { return false };
        let cores = candidate.offer.as_ref().map_or(1, |offer| self.candidates.cores(core, offer));
        let ran_before = |other: &Attempt| {
            other.has_core() && other.started_at.is_some_and(|started| started <= attempt.assigned_at)
        };
        let others = candidate.outstanding.iter().filter_map(|other| self.attempts.get(other));
        others.filter(|other| ran_before(other)).count() >= usize::from(cores)
    }

    /// Tells of jobs that changed, each at most ten times a second.
    fn tell(&mut self, core: &mut Core) {
        let now = core.now;
        let due: Vec<JobId> = self
            .changed
            .iter()
            .filter(|id| self.jobs.get(*id).is_none_or(|entry| now >= entry.told.next()))
            .copied()
            .collect();
        for id in due {
            self.changed.remove(&id);
            let reason = self.jobs.get(&id).and_then(|entry| self.waiting(core, entry));
            if let Some(entry) = self.jobs.get_mut(&id) {
                entry.told.tell(now, reason);
            }
            core.tell(Notice::JobChanged(id));
        }
    }

    pub(super) fn next_deadline(&self, keep: &Keep) -> Option<Moment> {
        let step = (!self.active.is_empty()).then_some(self.step_at);
        let tell = self.changed.iter().filter_map(|id| self.jobs.get(id)).map(|entry| entry.told.next()).min();
        let old = self.finished.next_deadline(keep).filter(|_| self.is_loaded());
        step.into_iter().chain(tell).chain(old).chain(self.candidates.next_deadline()).min()
    }
}

impl Running {
    /// What it counts for in its owner's share, as long as it is not over.
    fn held_bytes(&self) -> usize {
        held_bytes(&*self.plan, &self.source)
    }

    /// Its first task runs.
    fn begin(&mut self, now: Moment) {
        if self.phase == Phase::Queued {
            self.phase = Phase::Running;
        }
        self.started_at.get_or_insert(now);
        self.told.change();
    }
}

/// The first bytes of a text, ending at a character.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::store;
    use crate::{
        blob::Blob,
        id::{Hash, Holder, JobId, NodeId, OwnerId},
        job::{JobState, kinds},
        node::{Effect, HostOrder, Input, Keep, Node, NodeConfig},
        refusal::Code,
        units::{Moment, Span},
        wire::Role,
    };

    /// One that knows nobody and has no jobs.
    pub(in crate::node::requester) fn node() -> Node {
        Node::new(NodeConfig {
            me: NodeId([1; 32]),
            role: Role::Client,
            agent: String::new(),
            seed: [7; 32],
            keep: Keep::default(),
            can_rest: true,
            rewrite: crate::kernel::REWRITE_VERSION,
        })
    }

    /// The host has kept all that it was told to.
    pub(in crate::node::requester) fn keep_all(node: &mut Node) {
        node.requester.keep_all(&mut node.core);
    }

    fn submit(node: &mut Node, number: u8, holder: Holder) -> JobId {
        let mut job = kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
        job.holder = holder;
        let id = JobId([number; 16]);
        node.handle(Moment(1), Input::Submitted { id, job: Box::new(job) });
        id
    }

    /// A job has gathered so many MiB of outputs, and a delivery more.
    fn gather(node: &mut Node, id: JobId, mib: u64) {
        node.requester.jobs.get_mut(&id).unwrap().gathered.weigh(mib << 20);
        node.requester.check_done(&mut node.core, id);
        keep_all(node);
        assert_eq!(node.audit(), Ok(()));
    }

    #[test]
    fn outputs_of_many_jobs_of_one_owner_are_bounded_together_and_others_go_on() {
        let mut node = node();
        let [greedy, modest] = [b"greedy", b"modest"].map(|name| Holder::of(OwnerId::of(name)));
        let many: Vec<JobId> = (0..3).map(|number| submit(&mut node, number, greedy)).collect();
        let other = submit(&mut node, 9, modest);
        gather(&mut node, other, 500);
        for id in &many {
            gather(&mut node, *id, 200);
        }
        gather(&mut node, many[1], 400);
        let state = |node: &Node, id: JobId| node.summary(id).unwrap().state;
        let states: Vec<JobState> = many.iter().map(|id| state(&node, *id)).collect();
        assert_eq!(states, [JobState::Queued, JobState::Failed, JobState::Queued], "his largest goes");
        let error = node.summary(many[1]).unwrap().error.unwrap();
        assert!(error.code == Code::TooLarge && error.message.contains("768 MiB together"), "{}", error.message);
        assert_eq!(state(&node, other), JobState::Queued);
        // What went makes room.
        gather(&mut node, many[2], 500);
        assert_eq!(state(&node, many[2]), JobState::Queued);
    }

    #[test]
    fn a_job_counts_for_the_module_that_it_names_and_once_for_one_that_came_with_it() {
        let bytes = wat::parse_str(
            r#"(module (memory (export "memory") 1) (data (i32.const 0) "some more bytes than a job that names it has, "
            "of which it takes a few, since its own are about a hundred and more: 0123456789 0123456789 0123456789")
            (func (export "alloc") (param i32) (result i32) i32.const 0)
            (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
        )
        .unwrap();
        let name = Hash::of(&bytes);
        let named = format!(r#"{{"kind":"kernel","kernel":"{name}","input":"YQ=="}}"#);
        let named = kinds::read(&named, &|hash| (hash == name).then(|| Blob::new(bytes.clone()))).unwrap();
        assert_eq!(store::held_bytes(&*named.plan, &named.source), named.source.len() + bytes.len());
        let text = STANDARD.encode(&bytes);
        let inside = kinds::read(&format!(r#"{{"kind":"kernel","kernel":"{text}","input":"YQ=="}}"#), &|_| None);
        let inside = inside.unwrap();
        assert_eq!(store::held_bytes(&*inside.plan, &inside.source), inside.source.len());
    }

    #[test]
    fn a_call_runs_out_of_time_before_it_runs_out_of_gas() {
        // Gas a second of a program in C that was compiled without optimising, on a machine four times as fast as the fastest
        // that it was seen on.
        const FASTEST: u64 = 80_000_000_000;
        for seconds in [1, 30, 300, 3_600] {
            let source =
                format!(r#"{{"kind":"map","data":[1,2],"map":"x","requirements":{{"timeout_seconds":{seconds}}}}}"#);
            let job = kinds::read(&source, &|_| None).unwrap();
            let limits = super::Running::new(JobId([1; 16]), job, Moment(1)).limits();
            assert!(limits.gas.0 >= FASTEST * seconds && limits.time_millis == 1_000 * seconds, "{seconds}");
        }
    }

    #[test]
    fn room_that_is_set_aside_counts_until_its_job_comes_and_that_is_taken_whatever_came_since() {
        let mut node = node();
        let (owner, other) = (Holder::of(OwnerId::of(b"owner")), Holder::of(OwnerId::of(b"other")));
        let large = 30 << 20;
        let admitted: Vec<u8> = (0..10).filter(|n| node.reserve(JobId([*n; 16]), owner, large).is_ok()).collect();
        assert_eq!(admitted, [0, 1, 2, 3], "as many as he may hold, though none of them is there yet");
        assert_eq!(node.audit(), Ok(()));
        node.release(JobId([3; 16]));
        assert_eq!(node.reserve(JobId([4; 16]), owner, large), Ok(()), "one that did not come makes room");
        // Others come meanwhile, which makes everybody's share smaller.
        while {
            let id = node.next_job_id();
            node.reserve(id, other, 1 << 20).is_ok()
        } {}
        let mut job = kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
        job.holder = owner;
        node.handle(Moment(1), Input::Accepted { id: JobId([4; 16]), job: Box::new(job) });
        assert_eq!(node.summary(JobId([4; 16])).unwrap().state, JobState::Queued);
        assert_eq!(node.audit(), Ok(()));
    }

    #[test]
    fn a_job_that_is_complete_ends_with_its_result_whatever_its_owner_holds() {
        let mut node = node();
        let owner = Holder::of(OwnerId::of(b"owner"));
        let [large, complete] = [1, 2].map(|number| submit(&mut node, number, owner));
        gather(&mut node, large, 500);
        gather(&mut node, complete, 200);
        let entry = node.requester.jobs.get_mut(&complete).unwrap();
        let units = Span { start: 0, end: entry.units };
        entry.stages.close(units);
        entry.keep(units, vec![Vec::new()]);
        node.requester.refresh(complete);
        gather(&mut node, complete, 400);
        assert_eq!(node.summary(complete).unwrap().state, JobState::Verifying);
        while let Some(effect) = node.poll_effect() {
            if let Effect::Host(HostOrder::Merge { job, merge }) = effect {
                node.handle(Moment(2), Input::Merged { job, merged: merge.run() });
            }
        }
        let error = node.summary(complete).unwrap().error;
        assert!(error.is_none_or(|error| error.code != Code::TooLarge), "it is merged, not ended for its size");
        assert_eq!(node.summary(large).unwrap().state, JobState::Queued);
        assert_eq!(node.requester.jobs.len(), 1);
    }
}
