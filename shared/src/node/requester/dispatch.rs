//! The requester's way out: finds providers, connects to them, gives them batches, sends stragglers to a second node.

use std::collections::BTreeSet;

use super::{
    Requester,
    attempt::{Attempt, Rest},
    attempts::MOST_CANCELLED,
    batch::Batch,
    hedges::patience,
    owners::Owners,
    placement::Purpose,
    running::Running,
    trust::Trust,
};
use crate::{
    blob::Blob,
    engine,
    id::{AttemptId, Hash, JobId, NodeId},
    job::{AttemptState, CallShape, Priority, Requirements},
    node::{
        broker::{MOST_FOUND, is_sane},
        core::Core,
    },
    refusal::{Code, Refusal},
    units::{Millis, Span},
    wire::{self, Assignment, Extensions, MOST_BLOB, MOST_CALLS, MOST_INLINE, Message, Offer, Payload, Role},
};

/// How often a question to a broker is asked anew: usually, and while work waits, fewer than so many nodes are left to
/// connect to, and the broker knows more.
const ASK_PERIOD: Millis = Millis(20_000);
const ASK_PERIOD_SHORT: Millis = Millis(500);
const FEW_LEFT: usize = 16;
/// When a batch of a node whose speed nobody knows is looked at.
const UNKNOWN_DURATION: Millis = Millis(3_000);
/// What such a batch counts as work of its owner until more is known.
const UNKNOWN_WORK: Millis = Millis(50);
/// What a person is told of an attempt whose node restarted, the first times and after that.
const RESTARTED: &str = "its node restarted; it begins anew";
const RESTARTED_OFTEN: &str = "nodes that had it restarted again and again";

/// A broker's answer.
pub(in crate::node) struct Answer {
    pub(in crate::node) query: u64,
    pub(in crate::node) offers: Vec<Offer>,
    /// Offers of this node's rewrite that the broker knew, and of others.
    pub(in crate::node) known: u32,
    pub(in crate::node) others: u32,
}

impl Requester {
    // ---- offers --------------------------------------------------------------------------------------------------

    /// A node offers itself, directly. One of another rewrite is no candidate: its gas might differ.
    pub(in crate::node) fn offered(&mut self, core: &mut Core, offer: Offer) {
        let node = offer.node;
        if offer.rewrite != core.config.rewrite {
            self.candidates.withdrawn(node);
            return;
        }
        let cores = self.candidates.cores(core, &offer);
        self.candidates.offered(core.now, offer, true);
        for rank in &self.active {
            if let Some(entry) = self.jobs.get_mut(&rank.2) {
                entry.stages.resize(node, cores);
            }
        }
        // Whoever offers most often is not served first for that.
        match self.candidates.trust(core, node) {
            Trust::Proven => self.fill(core, node),
            Trust::Unknown | Trust::Silent | Trust::Resting => self.fill_all(core),
        }
    }

    pub(in crate::node) fn found(&mut self, core: &mut Core, from: NodeId, answer: Answer) {
        let Answer { query, offers, known, others } = answer;
        if self.asked.get(&from).is_none_or(|(asked, _)| *asked != query) {
            return; // an answer to an older question
        }
        if offers.len() > usize::from(MOST_FOUND) || !offers.iter().all(is_sane) {
            return core.nonsense(from, 20);
        }
        self.known_offers = known;
        self.other_offers = others;
        if known == 0 && self.asked.len() == 1 {
            // Nobody lends any more, says the only seed that would know.
            self.candidates.gone(|node| !core.reaches(node));
        }
        for offer in offers {
            if offer.node != core.me() && offer.rewrite == core.config.rewrite {
                self.candidates.offered(core.now, offer, false);
            }
        }
        core.network_changed = true;
        self.fill_all(core);
        self.dial(core);
    }

    /// Asks brokers, connects to nodes, gives out what waits.
    pub(super) fn start_looking(&mut self, core: &mut Core) {
        self.ask(core);
        self.fill_all(core);
        self.dial(core);
    }

    /// Asks every seed that was not asked lately for what the active jobs need at least.
    pub(super) fn ask(&mut self, core: &mut Core) {
        // Looked at for every job that is submitted, and a seed has often nobody to ask.
        let seeds: Vec<NodeId> = core.peers.connected_seeds().collect();
        if seeds.is_empty() {
            return;
        }
        let wanted = self.active.iter().filter_map(|rank| self.jobs.get(&rank.2)).map(|entry| entry.requirements);
        let Some(requirements) = wanted.reduce(|a, b| Requirements {
            cpu_percent: a.cpu_percent.min(b.cpu_percent),
            memory_mib: a.memory_mib.min(b.memory_mib),
            timeout_seconds: a.timeout_seconds.min(b.timeout_seconds),
        }) else {
            return;
        };
        let looser = self.asked_for.is_none_or(|asked| {
            requirements.cpu_percent < asked.cpu_percent || requirements.memory_mib < asked.memory_mib
        });
        let (fresh, left) = self.candidates.known(core);
        let rewrite = core.config.rewrite;
        let short = !self.owners.is_idle() && left < FEW_LEFT && (self.known_offers as usize) > fresh;
        let period = if short { ASK_PERIOD_SHORT } else { ASK_PERIOD };
        for seed in seeds {
            let due = self.asked.get(&seed).is_none_or(|(_, at)| core.now >= *at + period);
            if due || looser {
                self.next_query += 1;
                self.asked.insert(seed, (self.next_query, core.now));
                core.send(seed, Message::Find { query: self.next_query, requirements, limit: MOST_FOUND, rewrite });
            }
        }
        self.asked_for = Some(requirements);
    }

    /// Closes the questions: there is no job left.
    pub(super) fn stop_looking(&mut self, core: &mut Core) {
        let Some(requirements) = self.asked_for.take() else { return };
        for (seed, (query, _)) in std::mem::take(&mut self.asked) {
            core.send(seed, Message::Find { query, requirements, limit: 0, rewrite: core.config.rewrite });
        }
    }

    /// Connects to nodes while there is more work than the connected ones take.
    fn dial(&mut self, core: &mut Core) {
        if !self.candidates.has_one_to_dial(core) {
            return;
        }
        let mut waiting = Vec::new();
        let mut wanted = 0u64;
        let reach = self.candidates.reach(core, false);
        let fits = |job| self.jobs.get(&job).is_some_and(|entry| reach.meets(&entry.requirements));
        for job in self.owners.turns(&fits) {
            if let Some(entry) = self.jobs.get(&job) {
                waiting.push(entry.requirements);
                wanted = wanted
                    .saturating_add(entry.stages.open_units())
                    .saturating_add(entry.batches.waiting_count() as u64);
            }
        }
        let (spare, jobs) = self.spare_connections(core);
        waiting.extend(jobs.iter().filter_map(|job| self.jobs.get(job)).map(|entry| entry.requirements));
        self.candidates.dial(core, wanted.saturating_add(spare), &waiting);
    }

    // ---- connections ---------------------------------------------------------------------------------------------

    /// A connection is there. What was sent over the last one may be lost: it is said again.
    pub(in crate::node) fn connected(&mut self, core: &mut Core, node: NodeId) {
        self.candidates.connected(node);
        self.asked.remove(&node);
        self.forget_asked(node);
        let unheard: Vec<AttemptId> = match self.candidates.get(node) {
            Some(candidate) => candidate.outstanding.iter().copied().collect(),
            None => Vec::new(),
        };
        for some in self.called_off.unheard(node, core.now).chunks(MOST_CANCELLED) {
            core.send(node, Message::Cancel { attempts: some.to_vec() });
        }
        for id in unheard {
            if let Some(attempt) = self.attempts.get_mut(&id)
                && let Some(entry) = self.jobs.get_mut(&attempt.job)
            {
                entry.stages.present(node, true);
                let priority = priority(&self.owners, entry);
                if let Ok(prepared) =
                    prepare(entry, core.cover(node, entry.id), id, attempt.span, priority, core.config.rewrite)
                {
                    core.send(node, Message::Assign(prepared.assignment));
                    // Its answer says how this stands; what is asked before that would be mistaken for answered.
                    attempt.unsure = attempt.started_at.is_some();
                }
            }
        }
        self.start_looking(core);
    }

    /// A node said who it is. One that restarted has lost its books: what it had goes out anew, since it would begin from the
    /// beginning and has that much less time. Others come first for that; and what meets with one restart after another may
    /// be what makes its nodes restart, or its nodes only say so.
    pub(in crate::node) fn greeted(&mut self, core: &mut Core, node: NodeId, session: u64) {
        let outstanding = self.candidates.get(node).into_iter().flat_map(|candidate| &candidate.outstanding);
        let mut lost = Vec::new();
        for id in outstanding {
            if let Some(attempt) = self.attempts.get_mut(id)
                && attempt.session.replace(session).is_some_and(|before| before != session)
            {
                lost.push(*id);
            }
        }
        if !lost.is_empty() {
            let had_begun = |id| self.attempts.get(id).is_some_and(|attempt| attempt.started_at.is_some());
            self.candidates.restarted(core.now, node, lost.iter().any(had_begun));
            let (blamed, others): (Vec<AttemptId>, Vec<AttemptId>) =
                lost.into_iter().partition(|id| self.restart_counts(core, *id));
            self.reclaim(core, node, &others, RESTARTED);
            self.reject_silent(core, node, &blamed, Refusal::new(Code::NoProvider, RESTARTED_OFTEN, ""));
            let (mut nodes, last): (Vec<NodeId>, Vec<NodeId>) =
                self.candidates.reachable(core).into_iter().partition(|other| *other != node);
            nodes.extend(last);
            self.fill_each(core, nodes);
        }
    }

    /// Notes that the node of an attempt restarted; whether that counts as a failure. What had not begun has no part in it.
    fn restart_counts(&mut self, core: &Core, id: AttemptId) -> bool {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| attempt.started_at.is_some()) else { return false };
        let is_proven = self.candidates.has_delivered(core, attempt.node);
        let Some(entry) = self.jobs.get_mut(&attempt.job) else { return false };
        let batch = entry.batches.out_at_mut(attempt.span.start).filter(|batch| batch.attempts().contains(&id));
        let counts = batch.is_some_and(|batch| batch.restarted(core.now, is_proven));
        entry.note_at_hand(core.now, self.candidates.at_hand(core, entry));
        counts
    }

    pub(in crate::node) fn disconnected(&mut self, core: &mut Core, node: NodeId) {
        self.asked.remove(&node);
        self.candidates.disconnected(core.now, node);
        self.called_off.broke(node, core.now);
        if core.config.role == Role::Seed {
            // Who lends stays connected to its seeds: one that breaks off says anew what it lends when it is back.
            self.candidates.gone(|candidate| candidate == node);
        }
        self.leave(node);
        if !self.active.is_empty() {
            self.dial(core);
        }
    }

    /// A node does not count among those who share what is left.
    pub(super) fn leave(&mut self, node: NodeId) {
        for rank in &self.active {
            if let Some(entry) = self.jobs.get_mut(&rank.2) {
                entry.stages.present(node, false);
            }
        }
    }

    // ---- batches -------------------------------------------------------------------------------------------------

    /// Gives work to every node that has room.
    pub(super) fn fill_all(&mut self, core: &mut Core) {
        if !self.owners.is_idle() {
            let nodes = self.candidates.reachable(core);
            self.fill_each(core, nodes);
        }
    }

    /// Gives work to nodes, in this order.
    fn fill_each(&mut self, core: &mut Core, nodes: Vec<NodeId>) {
        for node in nodes {
            if self.owners.is_idle() {
                break;
            }
            self.fill(core, node);
        }
    }

    /// Gives work to one node, until it has enough: one batch at a time of whoever's turn it is, so that neither a long
    /// job keeps out a short one, nor an owner of many jobs one of few.
    pub(super) fn fill(&mut self, core: &mut Core, node: NodeId) {
        let Some(candidate) = self.candidates.get(node) else { return };
        let Some(offer) = candidate.fresh(core.now) else { return };
        if self.owners.is_idle() || !core.reaches(node) || self.candidates.is_left_alone(node, core.now) {
            return;
        }
        let offer = offer.clone();
        let mut room = self.candidates.room(core, &offer, Purpose::Work);
        // Jobs that have nothing for this node now.
        let mut passed: BTreeSet<JobId> = BTreeSet::new();
        while room > 0 {
            let fits = |job| self.jobs.get(&job).is_some_and(|entry| entry.may_use(&offer));
            let line: Vec<JobId> = self.owners.turns(&fits).filter(|job| !passed.contains(job)).collect();
            let served = line.into_iter().find(|job| {
                let issued = self.issue(core, &offer, *job);
                issued || !passed.insert(*job)
            });
            if served.is_none() {
                return;
            }
            room -= 1;
        }
    }

    /// Sends one batch of a job to a node; `false` when the job has none for it now.
    pub(super) fn issue(&mut self, core: &mut Core, offer: &Offer, job: JobId) -> bool {
        let may_begin = self.may_begin(core, offer, job);
        let Some(entry) = self.jobs.get_mut(&job) else { return false };
        if !entry.may_use(offer) || !may_begin {
            return false;
        }
        let candidates = &self.candidates;
        let another = |entry: &Running, batch: &Batch, only_proven| {
            candidates.another(core, entry, batch, offer.node, only_proven)
        };
        let cores = candidates.cores(core, offer);
        let ramps = cores < offer.cores || candidates.trust(core, offer.node) != Trust::Proven;
        let is_proven = candidates.is_proven(core, offer.node);
        let Some(batch) = entry.next_batch(core.now, offer, cores, is_proven, ramps, another) else { return false };
        self.owners.serves(entry.holder, entry.work);
        self.send_batch(core, offer.node, cores, job, batch)
    }

    /// A batch whose batch no node would take: a shorter one may go, and if there is none, its job ends in the next step.
    fn cannot_send(&mut self, job: JobId, batch: Batch, refusal: Refusal) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        if batch.is_out() {
            return entry.batches.put(batch); // it went out before, and may still come back
        }
        if batch.span.len() > 1 && entry.shape_of(batch.span) == CallShape::EachUnit {
            entry.stages.halve(batch.span);
            entry.stages.reopen(batch.span);
        } else {
            entry.reopen(batch);
            self.unsendable.entry(job).or_insert(refusal);
        }
        self.refresh(job);
    }

    /// Sends a batch to a node and puts it on the books.
    pub(super) fn send_batch(&mut self, core: &mut Core, node: NodeId, cores: u16, job: JobId, batch: Batch) -> bool {
        let Some(entry) = self.jobs.get_mut(&job) else { return false };
        let id = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        let span = batch.span;
        let priority = priority(&self.owners, entry);
        let name = core.cover(node, job);
        let Outgoing { assignment, calls, blob } = match prepare(entry, name, id, span, priority, core.config.rewrite) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                self.cannot_send(job, batch, refusal);
                return false;
            }
        };
        let blob = blob.map(|(hash, bytes)| {
            core.blobs.pin(hash, || bytes.into());
            hash
        });
        core.send(node, Message::Assign(assignment));
        let Some(stage) = entry.stages.of(span.start) else { return false };
        let known = stage.paces.duration(node, span.len());
        let duration = known.unwrap_or(UNKNOWN_DURATION);
        let charged = known.unwrap_or(UNKNOWN_WORK).0.saturating_mul(1000);
        let turns = u64::from(stage.paces.get(node).outstanding) / u64::from(cores.max(1)) + 1;
        let copy = batch.is_out();
        let patience = patience(core, &self.candidates, stage, node, span.len(), turns, copy);
        let due = core.now + Millis(duration.0.saturating_mul(turns));
        if let Some(stage) = entry.stages.of_mut(span.start) {
            stage.paces.sent(node, cores);
        }
        entry.history.begins();
        entry.told.change();
        entry.batches.send(batch, id);
        self.candidates.assigned(core.now, node, id);
        let attempt = Attempt {
            job,
            node,
            session: core.peers.get(node).and_then(|peer| peer.greeting.as_ref()).map(|greeting| greeting.session),
            span,
            calls,
            state: AttemptState::Assigned,
            assigned_at: core.now,
            started_at: None,
            turn_at: core.now,
            rest: Rest::No,
            was_asked: false,
            unsure: false,
            rested: Millis(0),
            due,
            patience,
            late: false,
            blamed: false,
            is_done: false,
            copy,
            superseded: false,
            charged,
            took: None,
            prepared: engine::Prepared::default(),
            blob,
        };
        self.attempts.insert(id, attempt);
        self.charge(job, charged, 0);
        true
    }
}

/// A batch ready to go out.
struct Outgoing {
    assignment: Assignment,
    calls: u64,
    /// Its calls, where they are too large for a message.
    blob: Option<(Hash, Vec<u8>)>,
}

/// The place of a job's batches in a provider's queue. It counts among the batches of this node only, so where several
/// owners share this node nobody's urgency may hold up another's.
fn priority(owners: &Owners, entry: &Running) -> Priority {
    if owners.count() > 1 { Priority::default() } else { entry.policy.priority }
}

/// Makes the message for a span of a job, under the job's name for that node. Pure, so that it can be made again for a node
/// that may not have heard it. An error says what no node would take.
fn prepare(
    entry: &Running,
    name: JobId,
    attempt: AttemptId,
    span: Span,
    priority: Priority,
    rewrite: u16,
) -> Result<Outgoing, Refusal> {
    let none = || Refusal::new(Code::Internal, "the job has no stage", "");
    let stage = entry.stages.of(span.start).ok_or_else(none)?.stage();
    let inputs = entry.plan.inputs(span, entry.gathered.outputs());
    let calls = inputs.len() as u64;
    let too_large = |bytes: usize| {
        let (first, last) = (span.start, span.end.saturating_sub(1));
        let message = format!(
            "the input of units {first} to {last} of {} has {bytes} bytes in {calls} calls; {} MiB and {MOST_CALLS} calls \
             can go to a node",
            entry.units,
            MOST_BLOB >> 20
        );
        Refusal::new(
            Code::TooLarge,
            message,
            "cut the input into smaller parts, or let what goes into the last step be less",
        )
    };
    let bytes = wire::encode_calls(&inputs).map_err(|_| too_large(inputs.iter().map(Vec::len).sum()))?;
    if bytes.len() as u64 > MOST_BLOB || calls > MOST_CALLS {
        return Err(too_large(bytes.len()));
    }
    let (payload, blob) = if bytes.len() > MOST_INLINE {
        let (hash, len) = (Hash::of(&bytes), bytes.len() as u64);
        (Payload::Blob { hash, len }, Some((hash, bytes)))
    } else {
        (Payload::Inline(bytes), None)
    };
    let assignment = Assignment {
        attempt,
        job: name,
        language: stage.language,
        kernel: stage.program.blob().hash(),
        common: stage.common.as_ref().map(Blob::hash),
        priority,
        limits: entry.limits(),
        calls: payload,
        rewrite,
        extensions: Extensions::default(),
    };
    Ok(Outgoing { assignment, calls, blob })
}
