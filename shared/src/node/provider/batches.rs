//! The provider's batches: which it takes, what they need, running them, delivering them, forgetting them.

use std::{collections::BTreeSet, sync::Arc};

use super::{Attempt, AttemptStep, Customer, Provider, delivery::Delivery, queue::Key, turns::Turn};
use crate::{
    blob::Blob,
    engine::{Batch, BatchReport},
    id::{AttemptId, Hash, NodeId},
    node::{HostOrder, RunId, core::Core},
    wire::{
        self, Assignment, MOST_BLOB, MOST_CALLS, MOST_INLINE, MOST_OUTPUT, MOST_TIME, Message, Payload, RefuseReason,
    },
};

/// Bytes of undelivered results kept at most.
const DONE_BYTES: u64 = 256 << 20;
/// Requesters served at once at most.
const MOST_REQUESTERS: usize = 1024;

impl Provider {
    pub(in crate::node) fn assigned(&mut self, core: &mut Core, from: NodeId, assignment: Assignment) {
        let key = (from, assignment.attempt);
        if let Some(known) = self.attempts.get(&key) {
            // The requester is not sure that it was heard, nor whether it heard everything.
            let attempt = key.1;
            match &known.state {
                AttemptStep::Fetching(_) | AttemptStep::Ready => {}
                AttemptStep::Running(run) => {
                    let rests = self.is_resting(*run);
                    // What its requester asked for before does not count any more.
                    if let Some(run) = self.runs.get_mut(run).filter(|_| !rests) {
                        run.turn = Turn::OnCore;
                    }
                    core.send(from, if rests { Message::Resting { attempt } } else { Message::Started { attempt } });
                }
                AttemptStep::Done(delivery) => core.send(from, delivery.message(attempt)),
            }
            return;
        }
        match self.judge(core.config.rewrite, from, &assignment) {
            Ok(tasks) => self.take(core, key, assignment, tasks),
            Err(reason) => {
                if reason == RefuseReason::Malformed {
                    core.nonsense(from, 5);
                }
                core.send(from, Message::Refuse { attempt: key.1, reason });
            }
        }
    }

    /// Whether a batch is taken; how many calls it holds, as far as is known before its blob is here.
    fn judge(&self, rewrite: u16, from: NodeId, assignment: &Assignment) -> Result<u64, RefuseReason> {
        if !self.is_lending() {
            return Err(RefuseReason::NotLending);
        }
        if assignment.rewrite != rewrite {
            return Err(RefuseReason::OtherRewrite);
        }
        if !super::LANGUAGES.contains(&assignment.language) {
            return Err(RefuseReason::OtherLanguage);
        }
        let limits = &assignment.limits;
        if limits.memory_bytes > u64::from(self.settings.memory_mib) << 20
            || limits.output_bytes > MOST_OUTPUT
            || limits.time_millis > MOST_TIME.0
        {
            return Err(RefuseReason::TooDemanding);
        }
        let tasks = match &assignment.calls {
            Payload::Inline(bytes) => wire::count_calls(bytes).map_err(|_| RefuseReason::Malformed)?,
            Payload::Blob { len, .. } if *len <= MOST_BLOB => 0,
            Payload::Blob { .. } => return Err(RefuseReason::Malformed),
        };
        let is_none = tasks == 0 && matches!(assignment.calls, Payload::Inline(_));
        if is_none || tasks > MOST_CALLS || limits.time_millis == 0 {
            return Err(RefuseReason::Malformed);
        }
        let cores = usize::from(self.settings.cores);
        let of_this = self.customers.get(&from).map_or(0, |customer| customer.batches);
        let stranger = !self.customers.contains_key(&from);
        if of_this >= 2 * cores + 8
            || self.attempts.len() >= 8 * cores + 64
            || (stranger && self.customers.len() >= MOST_REQUESTERS)
        {
            return Err(RefuseReason::Busy);
        }
        Ok(tasks)
    }

    fn take(&mut self, core: &mut Core, key: Key, assignment: Assignment, tasks: u64) {
        let (from, attempt) = key;
        let needed = needs(&assignment);
        let missing: BTreeSet<Hash> = needed.iter().copied().filter(|hash| !core.blobs.has(*hash)).collect();
        for hash in &missing {
            if from == core.me() || !core.fetch(*hash, from) {
                return core.send(from, Message::Refuse { attempt, reason: RefuseReason::Busy });
            }
        }
        // Pinned for as long as the batch is here, so that the cache cannot lose them between fetching and running.
        for hash in needed.difference(&missing) {
            pin_held(core, *hash);
        }
        for hash in &missing {
            self.waiting.entry(*hash).or_default().insert(key);
        }
        let session = core.peers.get(from).and_then(|peer| peer.greeting.as_ref()).map(|greeting| greeting.session);
        let customer = self.customers.entry(from).or_insert(Customer {
            session,
            assigned_at: core.now,
            gone_at: None,
            batches: 0,
        });
        customer.assigned_at = core.now;
        customer.batches += 1;
        let priority = assignment.priority;
        let ready = missing.is_empty();
        let state = if ready { AttemptStep::Ready } else { AttemptStep::Fetching(missing) };
        self.attempts.insert(key, Attempt { assignment, state, tasks, since: core.now });
        if ready {
            self.queue.push(priority, key);
            self.run_ready(core);
        }
        core.network_changed = true;
    }

    /// A fetch ended.
    pub(in crate::node) fn fetched(&mut self, core: &mut Core, hash: Hash, here: bool) {
        for key in self.waiting.remove(&hash).unwrap_or_default() {
            let Some(attempt) = self.attempts.get_mut(&key) else { continue };
            let AttemptStep::Fetching(missing) = &mut attempt.state else { continue };
            if !missing.remove(&hash) {
                continue;
            }
            if !here {
                missing.insert(hash); // never pinned, so not to be unpinned
                self.refuse(core, key, RefuseReason::MissingBlob);
                continue;
            }
            pin_held(core, hash);
            if missing.is_empty() {
                attempt.state = AttemptStep::Ready;
                attempt.since = core.now;
                let priority = attempt.assignment.priority;
                self.queue.push(priority, key);
            }
        }
        self.run_ready(core);
    }

    /// The host finished a run.
    pub(in crate::node) fn executed(&mut self, core: &mut Core, run: RunId, report: &BatchReport) {
        let Some(run) = self.runs.remove(&run) else { return };
        self.queue.took(run.of, run.ran_micros(core.now), run.counted);
        self.left(&run, core.now);
        core.network_changed = true;
        self.busy_micros = self.busy_micros.saturating_add(report.busy_micros);
        self.tasks_done += report.outcomes.iter().filter(|outcome| outcome.output.is_ok()).count() as u64;
        for outcome in &report.outcomes {
            self.gas_done += outcome.gas;
        }
        if let Some(key) = run.wanted {
            self.deliver(core, key, report);
        }
        self.run_ready(core);
    }

    fn deliver(&mut self, core: &mut Core, key: Key, report: &BatchReport) {
        let Ok(bytes) = wire::encode_report(report) else { return self.refuse(core, key, RefuseReason::Malformed) };
        if bytes.len() as u64 > MOST_BLOB {
            return self.refuse(core, key, RefuseReason::TooDemanding);
        }
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        release(core, attempt);
        let payload = if bytes.len() > MOST_INLINE {
            let (hash, len) = (Hash::of(&bytes), bytes.len() as u64);
            core.blobs.pin(hash, || bytes.into());
            Payload::Blob { hash, len }
        } else {
            Payload::Inline(bytes)
        };
        let delivery = Delivery { report: payload, prepared: report.prepared };
        self.done_bytes += delivery.len();
        core.send(key.0, delivery.message(key.1));
        attempt.state = AttemptStep::Done(delivery);
        attempt.since = core.now;
        while self.done_bytes > DONE_BYTES {
            let oldest = self
                .attempts
                .iter()
                .filter(|(_, attempt)| matches!(attempt.state, AttemptStep::Done(_)))
                .min_by_key(|(_, attempt)| attempt.since)
                .map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.forget(core, oldest);
        }
    }

    /// The requester took a delivery.
    pub(in crate::node) fn settled(&mut self, core: &mut Core, from: NodeId, attempt: AttemptId) {
        let done =
            self.attempts.get(&(from, attempt)).is_some_and(|attempt| matches!(attempt.state, AttemptStep::Done(_)));
        if done {
            self.forget(core, (from, attempt));
        }
    }

    /// The requester no longer wants these.
    pub(in crate::node) fn cancelled(&mut self, core: &mut Core, from: NodeId, attempts: &[AttemptId]) {
        for attempt in attempts {
            self.forget(core, (from, *attempt));
        }
        self.run_ready(core);
    }

    pub(super) fn refuse(&mut self, core: &mut Core, key: Key, reason: RefuseReason) {
        self.forget(core, key);
        core.send(key.0, Message::Refuse { attempt: key.1, reason });
    }

    pub(super) fn forget_works(&mut self, core: &mut Core, node: NodeId) {
        let keys: Vec<Key> =
            self.attempts.range((node, AttemptId(0))..=(node, AttemptId(u64::MAX))).map(|(key, _)| *key).collect();
        for key in keys {
            self.forget(core, key);
        }
        self.run_ready(core);
    }

    /// Drops a batch, wherever it stands; a run of it is stopped.
    pub(super) fn forget(&mut self, core: &mut Core, key: Key) {
        let Some(mut attempt) = self.attempts.remove(&key) else { return };
        if let Some(customer) = self.customers.get_mut(&key.0) {
            customer.batches = customer.batches.saturating_sub(1);
        }
        core.network_changed = true;
        match &attempt.state {
            AttemptStep::Fetching(missing) => {
                for hash in missing {
                    if let Some(keys) = self.waiting.get_mut(hash) {
                        keys.remove(&key);
                        if keys.is_empty() {
                            self.waiting.remove(hash);
                        }
                    }
                }
            }
            AttemptStep::Ready => self.queue.remove(attempt.assignment.priority, key),
            AttemptStep::Running(run) => {
                if let Some(known) = self.runs.get_mut(run) {
                    known.wanted = None;
                    core.order(HostOrder::Abort { run: *run });
                }
            }
            AttemptStep::Done(delivery) => {
                self.done_bytes = self.done_bytes.saturating_sub(delivery.len());
                if let Some(hash) = delivery.blob() {
                    core.blobs.unpin(hash);
                    core.blobs.discard(hash);
                }
                return;
            }
        }
        release(core, &mut attempt);
    }
}

/// The kernel and the batch of an assignment whose blobs are here, if there is any call in it. Takes the inline calls out
/// of it.
pub(super) fn prepare(core: &mut Core, assignment: &mut Assignment) -> Option<(Arc<[u8]>, Batch)> {
    let kernel = core.blobs.get(assignment.kernel)?;
    let common = match assignment.common {
        Some(hash) => Some(Blob::held(hash, core.blobs.get(hash)?)),
        None => None,
    };
    let calls = match &mut assignment.calls {
        Payload::Inline(bytes) => wire::decode_calls(&std::mem::take(bytes)).ok()?,
        Payload::Blob { hash, .. } => wire::decode_calls(&core.blobs.get(*hash)?).ok()?,
    };
    let batch = Batch { kernel: assignment.kernel, common, calls, limits: assignment.limits };
    (!batch.calls.is_empty()).then_some((kernel, batch))
}

/// The blobs that a batch needs, each once.
pub(super) fn needs(assignment: &Assignment) -> BTreeSet<Hash> {
    [Some(assignment.kernel), assignment.common, assignment.calls.blob()].into_iter().flatten().collect()
}

fn pin_held(core: &mut Core, hash: Hash) {
    if let Some(bytes) = core.blobs.get(hash) {
        core.blobs.pin(hash, || bytes);
    }
}

/// Gives back what a batch pinned. What it still fetches was not pinned yet.
fn release(core: &mut Core, attempt: &mut Attempt) {
    let missing = match &attempt.state {
        AttemptStep::Fetching(missing) => missing.clone(),
        AttemptStep::Ready | AttemptStep::Running(_) | AttemptStep::Done(_) => BTreeSet::new(),
    };
    let assignment = &attempt.assignment;
    for hash in needs(assignment).difference(&missing) {
        core.blobs.unpin(*hash);
    }
    if let Some(hash) = assignment.calls.blob() {
        core.blobs.discard(hash); // a batch's inputs are of no use to anybody else
    }
    attempt.assignment.calls = Payload::Inline(Vec::new());
}
