//! The requester's books of attempts: what providers say of them, what a delivery or a failure means for the job.

use std::collections::BTreeMap;

use super::{
    Requester,
    attempt::{Attempt, Ran},
    batch::{Batch, Circumstances, Failure, Fate},
    batches::Left,
    hedges::is_whole,
    over::End,
    room::LONG,
    store,
    verify::{Broken, Checked, Claim, Decision, contradiction},
};
use crate::{
    engine::{BatchReport, Prepared},
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Agreement, AttemptState, CallShape},
    node::{core::Core, provider::explain},
    refusal::{Code, Refusal},
    units::{Gas, Millis, Moment},
    wire::{self, MOST_BLOB, Message, Payload, RefuseReason},
};

/// Names in one Cancel.
pub(super) const MOST_CANCELLED: usize = 1024;

impl Requester {
    // ---- what providers say --------------------------------------------------------------------------------------

    pub(in crate::node) fn started(&mut self, core: &Core, from: NodeId, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.node == from) else { return };
        if attempt.state != AttemptState::Assigned {
            return self.goes_on(core, id);
        }
        attempt.state = AttemptState::Running;
        attempt.started_at = Some(core.now);
        attempt.turn_at = core.now;
        let job = attempt.job;
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.begin(core.now);
        }
        self.refresh(job);
    }

    pub(in crate::node) fn refused(&mut self, core: &mut Core, from: NodeId, id: AttemptId, reason: RefuseReason) {
        self.called_off.done(from, id);
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.node == from) else { return };
        attempt.is_done = true;
        let job = attempt.job;
        match reason {
            RefuseReason::Busy => {
                self.candidates.busy(core.now, from);
                self.lose(core, id, explain(from, reason));
            }
            RefuseReason::NotLending => {
                self.lose(core, id, explain(from, reason));
                self.candidates.withdrawn(from);
            }
            // It ran, and what came out is larger than what may travel.
            RefuseReason::TooDemanding if attempt.started_at.is_some() => {
                if attempt.span.len() > 1 {
                    let span = attempt.span;
                    self.lose(core, id, explain(from, reason));
                    if let Some(entry) = self.jobs.get_mut(&job) {
                        entry.stages.halve(span);
                        // What met with something before would go out whole again.
                        if let Some(batch) = entry.batches.take_waiting(span.start) {
                            entry.stages.reopen(batch.span);
                        }
                    }
                    self.refresh(job);
                } else {
                    let hint = "split the job, or let the kernel return less";
                    let refusal = Refusal::new(Code::TooLarge, "the output of a task is too large", hint);
                    self.reject(core, id, Ran::default(), Failure::of_batch(from, refusal));
                }
            }
            RefuseReason::TooDemanding
            | RefuseReason::Malformed
            | RefuseReason::OtherRewrite
            | RefuseReason::OtherLanguage
            | RefuseReason::Unknown => {
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.note_unfit(from);
                }
                self.lose(core, id, explain(from, reason));
            }
            RefuseReason::MissingBlob | RefuseReason::InvalidKernel => {
                let deterministic = reason == RefuseReason::InvalidKernel;
                let failure = Failure { deterministic, ..Failure::of_node(from, explain(from, reason)) };
                self.reject(core, id, Ran::default(), failure);
            }
        }
        self.fill_all(core);
    }

    pub(in crate::node) fn delivered(
        &mut self,
        core: &mut Core,
        from: NodeId,
        id: AttemptId,
        report: Payload,
        prepared: Prepared,
    ) {
        self.called_off.done(from, id);
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.node == from) else {
            return core.send(from, Message::Settle { attempt: id });
        };
        attempt.prepared = prepared;
        match report {
            Payload::Inline(bytes) => self.take(core, id, &bytes),
            Payload::Blob { hash, len } => {
                if attempt.state == AttemptState::Delivered {
                    return; // it says so again after a reconnection
                }
                attempt.state = AttemptState::Delivered;
                attempt.was_asked = false;
                attempt.wake(&mut self.candidates, id, core.now);
                if len > MOST_BLOB || !core.fetch(hash, from) {
                    let refusal = Refusal::new(Code::Internal, "the output could not be fetched", "");
                    return self.reject(core, id, Ran::default(), Failure::of_node(from, refusal));
                }
                self.arriving.entry(hash).or_default().insert(id);
            }
        }
    }

    /// A fetch ended.
    pub(in crate::node) fn fetched(&mut self, core: &mut Core, hash: Hash) {
        for id in self.arriving.remove(&hash).unwrap_or_default() {
            let Some(attempt) = self.attempts.get(&id) else { continue };
            let node = attempt.node;
            match core.blobs.get(hash) {
                Some(bytes) => self.take(core, id, &bytes),
                None => {
                    let refusal = Refusal::new(Code::Internal, "the output could not be fetched", "");
                    self.reject(core, id, Ran::default(), Failure::of_node(node, refusal));
                }
            }
        }
        core.blobs.discard(hash);
    }

    /// A whole report is here.
    fn take(&mut self, core: &mut Core, id: AttemptId, bytes: &[u8]) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (node, job, span, calls) = (attempt.node, attempt.job, attempt.span, attempt.calls);
        let (superseded, prepared) = (attempt.superseded, attempt.prepared);
        let running = self.running(node);
        core.send(node, Message::Settle { attempt: id });
        let report = wire::decode_report(bytes).ok().filter(|report| report.outcomes.len() as u64 <= calls);
        let Some(report) = report else {
            core.nonsense(node, 20);
            let refusal = Refusal::new(Code::Internal, "the node delivered something that is no report", "");
            return self.reject(core, id, Ran::default(), Failure::of_node(node, refusal));
        };
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        entry.begin(core.now);
        let holder = entry.holder;
        let micros = measured_micros(core.now, attempt, &report);
        // A provider's word alone makes nobody owe work: no batch takes longer than it was away.
        let away = (core.now - attempt.assigned_at).0.saturating_add(1).saturating_mul(1000);
        let took = micros.min(away);
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.took = Some(took);
            attempt.is_done = true;
        }
        let mut gas = Gas(0);
        report.outcomes.iter().for_each(|outcome| gas += outcome.gas);
        let ran = Ran { engine: Some(report.engine), gas, prepared };
        if superseded {
            if is_whole(&report, calls, span) {
                entry.measured(node, span, micros);
                self.candidates.delivered(core.now, node, running);
            }
            let other = entry.contradicts(span, &report);
            self.extra.spent(holder, took);
            self.end(core, id, AttemptState::Rejected, ran, other);
            self.refresh(job);
            return self.fill(core, node);
        }
        match entry.check(node, span, calls, report) {
            Checked::Whole(outputs) => {
                entry.measured(node, span, micros);
                self.candidates.delivered(core.now, node, running);
                self.claimed(core, id, ran, Claim { node, outputs, gas }, took);
            }
            Checked::Broken(broken) => self.salvage(core, id, ran, broken),
        }
        self.refresh(job);
        self.fill(core, node);
    }

    /// A node says what came of a whole batch.
    fn claimed(&mut self, core: &mut Core, id: AttemptId, ran: Ran, claim: Claim, took: u64) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, span, ran_for) = (attempt.job, attempt.span, attempt.ran(core.now));
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let mut batch = entry.batches.take_out(span.start).unwrap_or_else(|| Batch::new(span));
        batch.leave(id);
        let agreement = entry.stages.of(span.start).map_or(Agreement::Exact, |stage| stage.stage().agreement);
        let why = match self.verification.decide(agreement, &batch.claims, &claim, batch.attempts().len()) {
            Decision::Accept => {
                let Claim { node, outputs, gas } = claim;
                self.extra.accepted(entry.holder, took);
                store::save_span(core, job, span, &outputs, node, gas);
                let opened = entry.accept(node, span, outputs, gas);
                entry.ran_for(ran_for >= LONG);
                self.candidates.tried(core.now, node, true);
                self.end(core, id, AttemptState::Accepted, ran, None);
                self.note_timeouts(core.now, job, &batch, took);
                let outrun = self.outrun(core, job, batch.attempts(), took);
                self.call_off(core, outrun);
                self.check_done(core, job);
                if opened {
                    // What has just been fed is for whoever is idle.
                    self.refresh(job);
                    self.fill_all(core);
                }
                return;
            }
            Decision::Wait | Decision::Replicate => None,
            Decision::Dispute(other) => Some(contradiction(other)),
        };
        batch.claims.push(claim);
        batch.not_before = core.now;
        entry.batches.put(batch);
        self.end(core, id, AttemptState::Delivered, ran, why);
    }

    /// A batch failed after some calls: keeps the good part, and narrows the failure down.
    fn salvage(&mut self, core: &mut Core, id: AttemptId, ran: Ran, broken: Broken) {
        let Broken { before, failure, too_much } = broken;
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, span) = (attempt.job, attempt.span);
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let good = entry.units_of(span, before.len());
        let alone = entry.batches.out_at(span.start).is_some_and(|batch| batch.is_alone(id));
        let shape = entry.shape_of(span);
        let whole = span.len() == 1 || (good == 0 && !too_much && shape == CallShape::WholeSpan);
        if whole || !alone || !self.verification.is_alone_believed() {
            return self.reject(core, id, ran, failure);
        }
        let (done, rest) = span.split_at(good);
        let batch = entry.batches.take_out(span.start);
        if good > 0 {
            store::save_span(core, job, done, &before, failure.node, ran.gas);
            entry.accept(failure.node, done, before, ran.gas);
        }
        let (node, refusal) = (failure.node, failure.refusal.clone());
        let mut fate = Fate::Again;
        if too_much && good == 0 && shape == CallShape::WholeSpan {
            // Nothing says which unit it was: try shorter batches.
            entry.stages.halve(span);
            entry.stages.reopen(rest);
        } else {
            let (culprit, rest) = rest.split_at(1);
            entry.stages.reopen(rest);
            if too_much {
                // It gets its time alone before it is blamed, also if it was the first: what came before it, such as making
                // its kernel ready, may have taken some.
                entry.batches.put(Batch::new(culprit));
            } else {
                let mut narrowed = Batch::new(culprit);
                if let Some(batch) = batch {
                    (narrowed.failures, narrowed.has_verdict) = (batch.failures, batch.has_verdict);
                }
                fate = self.blame(core, job, narrowed, failure, false);
            }
        }
        let state = if good > 0 { AttemptState::Accepted } else { AttemptState::Rejected };
        self.end(core, id, state, ran, Some(refusal));
        self.meet(core, job, node, fate);
    }

    // ---- ends of attempts ----------------------------------------------------------------------------------------

    /// An attempt failed on its node.
    pub(super) fn reject(&mut self, core: &mut Core, id: AttemptId, ran: Ran, failure: Failure) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, start, is_copy) = (attempt.job, attempt.span.start, attempt.copy);
        let (node, refusal) = (failure.node, failure.refusal.clone());
        // Who fails fast would be idle first and eat every batch; what ran out of its own time was its job's doing.
        let had_its_time = attempt.ran(core.now).0 >= self.jobs.get(&job).map_or(0, |entry| entry.timeout().0 / 2);
        let ran_out = failure.refusal.code == Code::TimedOut && had_its_time;
        if !failure.deterministic && !ran_out {
            self.candidates.tried(core.now, failure.node, false);
        }
        self.end(core, id, AttemptState::Rejected, ran, Some(refusal));
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let batch = match entry.batches.leave(start, id) {
            Left::Alone(batch) => batch,
            Left::WithOthers(batch) => {
                batch.failures.push(failure);
                return self.refresh(job);
            }
            Left::Nothing => return,
        };
        let fate = self.blame(core, job, batch, failure, is_copy);
        self.meet(core, job, node, fate);
    }

    /// Calls attempts of a node off that it said nothing of in their time; each counts as a failure.
    pub(super) fn reject_silent(&mut self, core: &mut Core, node: NodeId, attempts: &[AttemptId], refusal: Refusal) {
        for some in attempts.chunks(MOST_CANCELLED) {
            core.send(node, Message::Cancel { attempts: some.to_vec() });
        }
        for id in attempts {
            self.reject(core, *id, Ran::default(), Failure::of_silence(node, refusal.clone()));
        }
    }

    /// A batch of a job failed, last on `node`, and this becomes of it.
    pub(super) fn meet(&mut self, core: &mut Core, job: JobId, node: NodeId, fate: Fate) {
        match fate {
            Fate::Again => {
                self.check_done(core, job);
                self.refresh(job);
            }
            Fate::Instead(span, outputs, refusal) => {
                store::save_span(core, job, span, &outputs, node, Gas(0));
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.keep(span, outputs);
                }
                self.check_done(core, job);
                if self.jobs.get(&job).is_some_and(|entry| entry.comes_to_nothing()) {
                    return self.finish(core, job, End::failed(refusal));
                }
                self.refresh(job);
            }
            Fate::Ends(refusal) => self.finish(core, job, End::failed(refusal)),
        }
    }

    /// What a failure means for its batch; `is_copy`: it was out before, elsewhere.
    fn blame(&mut self, core: &Core, job: JobId, mut batch: Batch, failure: Failure, is_copy: bool) -> Fate {
        let Some(entry) = self.jobs.get_mut(&job) else { return Fate::Again };
        let node = failure.node;
        batch.not_before = core.now;
        let another = self.candidates.another(core, entry, &batch, node, false);
        let at_hand = self.candidates.at_hand(core, entry);
        let is_proven = self.candidates.has_delivered(core, node);
        entry.fail_batch(core.now, batch, failure, &Circumstances { is_proven, is_copy, another, at_hand })
    }

    /// An attempt is given up without blame; its units are open again.
    pub(super) fn lose(&mut self, core: &mut Core, id: AttemptId, why: Refusal) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (job, start) = (attempt.job, attempt.span.start);
        // Of a stranger's coming and going it waits no longer.
        let waits_anew = attempt.started_at.is_some() && self.candidates.has_delivered(core, attempt.node);
        self.end(core, id, AttemptState::Lost, Ran::default(), Some(why));
        if let Some(entry) = self.jobs.get_mut(&job) {
            match entry.batches.leave(start, id) {
                Left::Alone(mut batch) => {
                    batch.wait(waits_anew.then_some(core.now));
                    entry.reopen(batch);
                }
                Left::WithOthers(batch) => batch.wait(waits_anew.then_some(core.now)),
                Left::Nothing => {}
            }
        }
        self.refresh(job);
    }

    /// Takes an attempt off the books.
    fn end(&mut self, core: &mut Core, id: AttemptId, state: AttemptState, ran: Ran, error: Option<Refusal>) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        let taken = state == AttemptState::Accepted || attempt.started_at.is_some();
        self.candidates.ended(attempt.node, id, taken);
        if !attempt.is_done && attempt.node != core.me() {
            self.called_off.note(attempt.node, id, core.now, core.reaches(attempt.node));
        }
        if let Some(hash) = attempt.blob {
            core.blobs.unpin(hash);
            core.blobs.discard(hash);
        }
        if attempt.state == AttemptState::Delivered {
            self.arriving.retain(|_, attempts| !attempts.remove(&id) || !attempts.is_empty());
        }
        if let Some(entry) = self.jobs.get_mut(&attempt.job) {
            entry.batches.ended(id, attempt.span);
            if let Some(stage) = entry.stages.of_mut(attempt.span.start) {
                stage.paces.ended(attempt.node);
            }
            entry.note(attempt.end(id, state, ran, core.now, error));
        }
        let ran = attempt.ran(core.now).0.saturating_mul(1000);
        self.charge(attempt.job, attempt.took.unwrap_or(ran), attempt.charged);
    }

    /// Tells nodes that attempts are no longer wanted.
    pub(super) fn call_off(&mut self, core: &mut Core, attempts: Vec<AttemptId>) {
        let mut by_node: BTreeMap<NodeId, Vec<AttemptId>> = BTreeMap::new();
        for id in attempts {
            if let Some(attempt) = self.attempts.get(&id) {
                by_node.entry(attempt.node).or_default().push(id);
                self.end(core, id, AttemptState::Lost, Ran::default(), None);
            }
        }
        for (node, attempts) in by_node {
            for some in attempts.chunks(MOST_CANCELLED) {
                core.send(node, Message::Cancel { attempts: some.to_vec() });
            }
        }
    }
}

/// How long a batch took on one core: what the node says, or this node's own clock where that is longer and long enough to
/// be believed (a core of which only a share is lent takes longer than it is busy). A node that says less than is true only gets larger
/// batches than suit it.
fn measured_micros(now: Moment, attempt: &Attempt, report: &BatchReport) -> u64 {
    const CLOCK_TELLS: Millis = Millis(200);
    let wall = attempt.ran(now);
    let believed = if wall >= CLOCK_TELLS || report.busy_micros == 0 { wall.0.max(1) * 1000 } else { 0 };
    report.busy_micros.max(believed)
}
