//! What does not come back in a few times the time that it should take goes to a second node as well, long before its
//! timeout: a node that accepts and never delivers would otherwise hold up whatever it was given. The first delivery wins.
//!
//! Where nobody has proved to deliver, or those who had may have fallen silent together, each round of copies is about twice
//! the last, so that a few honest nodes among many black holes are soon found. Copies are extra work, and that is bounded for each owner: a share of his work that was
//! accepted, and a little to begin with (`extra.rs`). A slow node that has not shown its pace yet may finish what another has done meanwhile: from then on
//! it gets batches that suit it.

use super::{
    Requester,
    attempt::Attempt,
    batch::{Batch, Failure},
    candidates::Candidates,
    placement::{Place, Purpose},
    stages::StageProgress,
    trust::{Records, Trust},
};
use crate::{
    api::AttemptView,
    id::{AttemptId, JobId, NodeId},
    job::AttemptState,
    node::core::Core,
    refusal::Code,
    units::{Millis, Moment, Span},
};

/// What a node of each trust gets beyond what its batch should take. A proven one may have a slow moment.
const PROVEN: Millis = Millis(1_000);
const PROVEN_AT_SOMETHING_NEW: Millis = Millis(3_000);
const UNKNOWN: Millis = Millis(300);
/// The same for a copy, while others have their time as well.
const COPY: Millis = Millis(100);
/// A batch is late after so many times what it should take.
const TIMES: u64 = 3;
/// Bytes a millisecond at which a kernel and its input should at least reach a node and be made ready.
const BYTES_A_MILLI: u64 = 1024;
/// Attempts of one batch at once, and batches hedged in one step.
const MOST_COPIES: usize = 32;
const MOST_BATCHES: usize = 64;

/// How long a node gets for a batch until it counts as silent. `turns`: batches of ours that one core of it has before.
pub(super) fn patience(
    core: &Core,
    candidates: &Candidates,
    stage: &StageProgress,
    node: NodeId,
    units: u64,
    turns: u64,
    copy: bool,
) -> Millis {
    let known = stage.paces.duration(node, units);
    let should = known.or_else(|| stage.paces.duration_elsewhere(units)).unwrap_or_default();
    let common = stage.stage().common.as_ref().map_or(0, |common| common.len());
    let bytes = (stage.stage().program.blob().len() + common) as u64;
    let (least, ready) = match (candidates.trust(core, node), known) {
        (Trust::Proven, Some(_)) => (PROVEN, 0),
        (Trust::Proven, None) if copy && candidates.is_doubted(core, node) => (PROVEN, bytes / BYTES_A_MILLI),
        (Trust::Proven, None) => (PROVEN_AT_SOMETHING_NEW, bytes / BYTES_A_MILLI),
        (Trust::Unknown | Trust::Silent | Trust::Resting, _) => {
            (if copy { COPY } else { UNKNOWN }, bytes / BYTES_A_MILLI)
        }
    };
    Millis(
        should.0.saturating_mul(TIMES).saturating_mul(turns.max(1)).saturating_add(least.0 + ready + way(core, node)),
    )
}

/// How long what goes to a node and comes back is on its way.
fn way(core: &Core, node: NodeId) -> u64 {
    2 * core.peers.get(node).and_then(|peer| peer.round_trip_millis).map_or(0, u64::from)
}

impl Requester {
    /// Notes who had its time, and sends what it has not brought to others.
    pub(super) fn hedge(&mut self, core: &mut Core) {
        self.note_silence(core);
        let mut late = self.late();
        late.retain(|(_, job, _)| self.may_repeat(*job));
        if late.is_empty() {
            return;
        }
        let mut free = self.candidates.places(core, Purpose::Hedge);
        for (_, job, start) in late.into_iter().take(MOST_BATCHES) {
            self.copy(core, job, start, &mut free);
        }
    }

    /// Whether more of a job may be done twice.
    pub(super) fn may_repeat(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|entry| self.extra.is_allowed(entry.holder))
    }

    fn note_silence(&mut self, core: &Core) {
        let now = core.now;
        self.extra.clear_out();
        for (id, attempt) in &mut self.attempts {
            if attempt.copy
                && attempt.started_at.is_some()
                && let Some(entry) = self.jobs.get(&attempt.job)
            {
                self.extra.out(entry.holder, attempt.ran(now).0.saturating_mul(1000));
            }
            let waits = attempt.state != AttemptState::Delivered && !attempt.late;
            if waits && now >= attempt.assigned_at + attempt.patience + attempt.aside(now) {
                attempt.late = true;
                self.candidates.overdue(core, attempt.node, *id, attempt.assigned_at);
                // Of a job of which nobody has delivered anything, it may be the call that takes so long.
                let is_possible = self.jobs.get(&attempt.job).is_some_and(|entry| entry.gathered.units() > 0);
                if is_possible || !self.candidates.records.has_delivered(attempt.node) {
                    attempt.blame(&mut self.candidates.records, now);
                }
            }
        }
    }

    /// Batches all of whose attempts are late; who waits longest comes first.
    fn late(&self) -> Vec<(Moment, JobId, u64)> {
        let mut late = Vec::new();
        for attempt in self.attempts.values().filter(|attempt| attempt.late && !attempt.superseded) {
            let Some(batch) = self.jobs.get(&attempt.job).and_then(|entry| entry.batches.out_at(attempt.span.start))
            else {
                continue;
            };
            let all = batch.attempts().iter().all(|id| self.attempts.get(id).is_some_and(|attempt| attempt.late));
            if all && batch.attempts().len() < MOST_COPIES {
                late.push((attempt.assigned_at, attempt.job, attempt.span.start));
            }
        }
        late.sort_unstable_by_key(|(at, job, start)| (*job, *start, *at));
        late.dedup_by_key(|(_, job, start)| (*job, *start));
        late.sort_unstable();
        late
    }

    /// Sends a late batch to one proven node, or to several that nobody knows or that may have fallen silent.
    fn copy(&mut self, core: &mut Core, job: JobId, start: u64, free: &mut Vec<Place>) {
        let mut left = None;
        while left != Some(0) {
            let Some(entry) = self.jobs.get(&job) else { return };
            let Some(batch) = entry.batches.out_at(start) else { return };
            let fits = |place: &Place| self.unfit_for_copy(core, entry, batch, &place.offer).is_none();
            let Some(index) = free.iter().position(fits) else { return };
            let place = &mut free[index];
            let (node, cores) = (place.offer.node, place.cores);
            // What is known to deliver gets it alone; of those that did, as many as have had it for nothing.
            let unknown = usize::from(!place.is_proven);
            let many = (batch.attempts().len() + unknown).clamp(1, MOST_COPIES - batch.attempts().len());
            let copies = if place.is_sure { 1 } else { left.unwrap_or(many) };
            left = Some(copies - 1);
            place.room -= 1;
            if place.room == 0 {
                free.remove(index);
            }
            self.send_copy(core, node, cores, job, start);
        }
    }

    /// Sends a batch that is out to one more node.
    pub(super) fn send_copy(&mut self, core: &mut Core, node: NodeId, cores: u16, job: JobId, start: u64) {
        let batch = self.jobs.get_mut(&job).and_then(|entry| entry.batches.take_out(start));
        if let Some(batch) = batch {
            self.send_batch(core, node, cores, job, batch);
        }
    }

    /// A delivery was taken: which other attempts of its batch to call off, and which may finish, because their nodes have
    /// yet to show their pace.
    pub(super) fn outrun(&mut self, core: &Core, job: JobId, others: &[AttemptId], took: u64) -> Vec<AttemptId> {
        let Some(entry) = self.jobs.get(&job) else { return others.to_vec() };
        let (holder, goes_on) = (entry.holder, entry.gathered.units() < entry.units);
        let mut off = Vec::new();
        for id in others.iter().copied() {
            let Some(attempt) = self.attempts.get_mut(&id) else { continue };
            // What took another a fraction of the time: one that owed something before brought nothing again. What has not begun
            // there may wait behind a batch of another requester.
            let stage = self.jobs.get(&job).and_then(|entry| entry.stages.of(attempt.span.start));
            let known = stage.and_then(|stage| stage.paces.duration(attempt.node, attempt.span.len()));
            let should = known.unwrap_or_default().0.max(took / 1000).saturating_mul(TIMES);
            let had = (core.now - attempt.assigned_at).0.saturating_sub(attempt.aside(core.now).0);
            let records = &mut self.candidates.records;
            let silent_for = |least: Millis| {
                attempt.node != core.me()
                    && had >= should.saturating_add(least.0 + way(core, attempt.node))
                    && !records.has_delivered_after(attempt.node, attempt.assigned_at)
            };
            let silent = silent_for(UNKNOWN);
            let again = records.has_owed_since(attempt.node, attempt.assigned_at)
                && silent_for(if attempt.started_at.is_some() { UNKNOWN } else { PROVEN });
            if attempt.late || again {
                attempt.blame(records, core.now);
            } else if silent {
                records.owes(attempt.node, core.now);
            }
            let paced = stage.is_some_and(|stage| stage.paces.get(attempt.node).rate.is_some());
            if goes_on && !paced && self.extra.is_allowed(holder) {
                attempt.superseded = true;
                continue;
            }
            // Whoever waited for a node that held a batch for long owes no more for it than the batch took elsewhere.
            let ran = attempt.ran(core.now).0.saturating_mul(1000).min(took);
            attempt.took = Some(ran);
            self.extra.spent(holder, ran);
            off.push(id);
        }
        off
    }

    /// A batch was done that others had failed: who ran out of time with what took a fraction of it brought nothing.
    pub(super) fn note_timeouts(&mut self, now: Moment, job: JobId, batch: &Batch, took: u64) {
        let Some(entry) = self.jobs.get(&job) else { return };
        if took.saturating_mul(TIMES) >= entry.timeout().0.saturating_mul(1000) {
            return;
        }
        let ran_out = |failure: &&Failure| failure.refusal.code == Code::TimedOut && !failure.deterministic;
        for failure in batch.failures.iter().filter(ran_out) {
            let of_batch = |ended: &&AttemptView| ended.node == failure.node && ended.span == batch.span;
            let Some(ended) = entry.history.ended().rev().find(of_batch) else { continue };
            if !self.candidates.records.has_delivered_after(failure.node, ended.assigned_at) {
                self.candidates.records.silent(failure.node, ended.assigned_at, now);
            }
        }
    }

    /// How many of a node's batches run, as far as it said so.
    pub(super) fn running(&self, node: NodeId) -> usize {
        let outstanding = self.candidates.get(node).map(|candidate| candidate.outstanding.iter());
        let runs = |attempt: &Attempt| attempt.has_core();
        outstanding.into_iter().flatten().filter(|id| self.attempts.get(*id).is_some_and(runs)).count()
    }

    /// Connections that are wanted beyond those for work that waits: for copies of what is late, and while nobody is
    /// proven, a few so that there is somebody to send a copy to.
    pub(super) fn spare_connections(&self, core: &Core) -> (u64, Vec<JobId>) {
        const SPARE: u64 = 2;
        let mut wanted = 0u64;
        let mut jobs = Vec::new();
        for (_, job, start) in self.late() {
            let batch = self.jobs.get(&job).and_then(|entry| entry.batches.out_at(start));
            wanted = wanted.saturating_add(batch.map_or(0, |batch| batch.attempts().len() as u64 + 1));
            jobs.push(job);
        }
        let unproven = |attempt: &Attempt| self.candidates.trust(core, attempt.node) != Trust::Proven;
        if let Some(attempt) = self.attempts.values().find(|attempt| unproven(attempt)) {
            wanted = wanted.saturating_add(SPARE);
            jobs.push(attempt.job);
        }
        (wanted, jobs)
    }
}

impl Attempt {
    /// It had its time, and its node brought nothing; counts once.
    pub(super) fn blame(&mut self, records: &mut Records, now: Moment) {
        if !self.blamed {
            self.blamed = true;
            records.silent(self.node, self.assigned_at, now);
        }
    }
}

/// A report that came after another node's: whether it holds what was asked for.
pub(super) fn is_whole(report: &crate::engine::BatchReport, calls: u64, span: Span) -> bool {
    !span.is_empty()
        && report.outcomes.len() as u64 == calls
        && report.outcomes.iter().all(|outcome| outcome.output.is_ok())
}
