//! The records of the host's store: what a requester needs to go on after a restart.
//!
//! A job is JSON, so that a later version can read an older one; a finished span is postcard, so that it is small.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{Effect, ReadJob, StoreKey, core::Core, entry::Entry, requester::Requester, scheduler::Paces};
use crate::{
    api::{AttemptView, NodeShare},
    id::{AttemptId, Hash, JobId, NodeId, OwnerId},
    job::{AttemptState, Job, JobState, Outputs, Plan, Policy, Requirements, metadata::Metadata},
    refusal::{Code, Refusal},
    units::{Gas, Moment, Span},
};

/// Goes up when a record changes in a way that an older version cannot be read into.
const VERSION: u32 = 1;
/// Attempts of a finished job that are kept.
const MOST_KEPT: usize = 200;

#[derive(Serialize, Deserialize)]
struct JobRecord {
    version: u32,
    /// Absent in records of before there were owners.
    #[serde(default)]
    owner: OwnerId,
    kind: String,
    /// Absent in records of before there were names and labels.
    #[serde(default)]
    metadata: Metadata,
    source: String,
    requirements: Requirements,
    policy: Policy,
    state: JobState,
    error: Option<Refusal>,
    created_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    units: u64,
    done_units: u64,
    gas: Gas,
    attempts_total: u64,
    attempts: Vec<AttemptView>,
    shares: Vec<NodeShare>,
    /// The module in base64, where the source only names it.
    kernel: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SpanRecord {
    span: Span,
    outputs: Outputs,
    node: NodeId,
    gas: Gas,
}

/// The record of a job that nobody has worked on yet, for [`super::Input::Kept`].
pub fn new_record(job: &Job, now: Moment) -> Vec<u8> {
    let record = JobRecord {
        version: VERSION,
        owner: job.owner,
        kind: job.kind.to_owned(),
        metadata: job.metadata.clone(),
        source: job.source.to_string(),
        requirements: job.requirements,
        policy: job.policy,
        state: JobState::Queued,
        error: None,
        created_at: now,
        started_at: None,
        finished_at: None,
        units: job.plan.units(),
        done_units: 0,
        gas: Gas(0),
        attempts_total: 0,
        attempts: Vec::new(),
        shares: Vec::new(),
        kernel: named_module(&*job.plan, &job.source),
    };
    // Nothing in a record can fail to become JSON; an empty one would be forgotten at the next start.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// The module in base64, if the source only names it; a source that holds the module is longer than it.
fn named_module(plan: &dyn Plan, source: &str) -> Option<String> {
    let module = plan.module()?;
    let named = module.len() > source.len() || source.contains(&Hash::of(module).to_string());
    named.then(|| STANDARD.encode(module))
}

/// Keeps a job as it stands.
pub(super) fn save_job(core: &mut Core, entry: &Entry) {
    let record = JobRecord {
        version: VERSION,
        owner: entry.owner,
        kind: entry.kind.clone(),
        metadata: entry.metadata.clone(),
        source: entry.source.to_string(),
        requirements: entry.requirements,
        policy: entry.policy,
        state: entry.state,
        error: entry.error.clone(),
        created_at: entry.created_at,
        started_at: entry.started_at,
        finished_at: entry.finished_at,
        units: entry.units,
        done_units: entry.done_units,
        gas: entry.gas,
        attempts_total: entry.attempts_total,
        attempts: entry.ended.iter().rev().take(MOST_KEPT).rev().cloned().collect(),
        shares: entry.shares.values().cloned().collect(),
        kernel: entry.plan.as_deref().and_then(|plan| named_module(plan, &entry.source)),
    };
    if let Ok(bytes) = serde_json::to_vec(&record) {
        core.effects.push_back(Effect::Save(StoreKey::Job(entry.id), bytes));
    }
}

/// Keeps the outputs of a span that was accepted.
pub(super) fn save_span(core: &mut Core, job: JobId, span: Span, outputs: &Outputs, node: NodeId, gas: Gas) {
    /// The same as [`SpanRecord`], without a copy of the outputs.
    #[derive(Serialize)]
    struct Borrowed<'a> {
        span: Span,
        outputs: &'a Outputs,
        node: NodeId,
        gas: Gas,
    }
    if let Ok(bytes) = postcard::to_allocvec(&Borrowed { span, outputs, node, gas }) {
        core.effects.push_back(Effect::Save(StoreKey::Span(job, span.start), bytes));
    }
}

impl Requester {
    /// Rebuilds the jobs from the store. Records that cannot be read, or belong to no job, are forgotten.
    pub(super) fn restore(&mut self, core: &mut Core, records: Vec<(StoreKey, Vec<u8>)>, read: ReadJob<'_>) {
        let mut rest = Vec::new();
        for (key, bytes) in records {
            match key {
                StoreKey::Job(id) => match serde_json::from_slice::<JobRecord>(&bytes) {
                    Ok(record) if record.version == VERSION => {
                        let mut entry = revive(id, record, read);
                        entry.chance_at = core.now; // who was connected while this node was down, nobody knows
                        self.admit(core, entry);
                    }
                    Ok(_) | Err(_) => core.effects.push_back(Effect::Forget(key)),
                },
                StoreKey::Span(..) | StoreKey::Result(_) => rest.push((key, bytes)),
            }
        }
        for (key, bytes) in rest {
            let kept = match key {
                StoreKey::Job(_) => true,
                StoreKey::Span(id, _) => self.jobs.get_mut(&id).is_some_and(|entry| entry.restore_span(&bytes)),
                StoreKey::Result(id) => match (self.jobs.get_mut(&id), String::from_utf8(bytes)) {
                    (Some(entry), Ok(result)) if matches!(entry.state, JobState::Completed | JobState::Failed) => {
                        entry.result = Some(result.into());
                        true
                    }
                    (Some(_) | None, Ok(_) | Err(_)) => false,
                },
            };
            if !kept {
                core.effects.push_back(Effect::Forget(key));
            }
        }
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.refresh(id);
            self.check_done(core, id);
        }
        self.trim(core);
        self.start_looking(core);
    }
}

/// A job as its record tells it. A job that was running is read again; if that fails now, it failed.
fn revive(id: JobId, record: JobRecord, read: ReadJob<'_>) -> Entry {
    let kernel = record.kernel.as_ref().and_then(|text| STANDARD.decode(text).ok());
    let find = |hash: Hash| kernel.clone().filter(|bytes| Hash::of(bytes) == hash);
    let job = if record.state.is_final() { None } else { Some(read(&record.source, &find)) };
    match job {
        Some(Ok(mut job)) => {
            job.owner = record.owner;
            let mut entry = Entry::new(id, job, record.created_at);
            entry.started_at = record.started_at;
            entry.attempts_total = record.attempts_total;
            entry.ended = record.attempts.into();
            entry
        }
        Some(Err(refusal)) => finished(id, JobRecord { state: JobState::Failed, error: Some(refusal), ..record }),
        None => finished(id, record),
    }
}

/// A job that is over.
fn finished(id: JobId, record: JobRecord) -> Entry {
    Entry {
        id,
        owner: record.owner,
        kind: record.kind,
        metadata: record.metadata,
        source: record.source.into(),
        requirements: record.requirements,
        policy: record.policy,
        plan: None,
        kernel: Hash([0; 32]),
        common: None,
        shape: crate::job::CallShape::WholeSpan,
        units: record.units,
        probe: 1,
        most_units: u64::MAX,
        state: record.state,
        error: record.error,
        created_at: record.created_at,
        started_at: record.started_at,
        finished_at: record.finished_at.or(Some(record.created_at)),
        result: None,
        partial: None,
        partial_at: Moment(0),
        open: Default::default(),
        issued: Default::default(),
        retries: Default::default(),
        done: Default::default(),
        done_units: record.done_units,
        done_bytes: 0,
        issued_units: 0,
        gas: record.gas,
        live: Default::default(),
        ended: VecDeque::from(record.attempts),
        attempts_total: record.attempts_total,
        shares: record.shares.into_iter().map(|share| (share.node, share)).collect(),
        paces: Paces::default(),
        unfit: Default::default(),
        work: 0,
        waits: None,
        chance_at: record.created_at,
        changed: true,
        told_at: Moment(0),
    }
}

impl Entry {
    /// Takes a finished span back in, if it still fits the plan.
    fn restore_span(&mut self, bytes: &[u8]) -> bool {
        let Ok(record) = postcard::from_bytes::<SpanRecord>(bytes) else { return false };
        let SpanRecord { span, outputs, node, gas } = record;
        let calls = match self.shape {
            crate::job::CallShape::WholeSpan => 1,
            crate::job::CallShape::EachUnit => span.len(),
        };
        let fits = self.open.contains(span) && outputs.len() as u64 == calls;
        let Some(plan) = self.plan.as_ref().filter(|_| fits) else { return false };
        let right = (0u64..).zip(&outputs).all(|(call, output)| plan.check(self.call_span(span, call), output).is_ok());
        if !right {
            return false;
        }
        self.open.remove(span);
        let tasks = outputs.len() as u64;
        self.attempts_total = self.attempts_total.max(self.ended.len() as u64) + 1;
        self.note(AttemptView {
            id: AttemptId(self.attempts_total),
            span,
            tasks,
            node,
            state: AttemptState::Accepted,
            engine: None,
            gas,
            assigned_at: self.created_at,
            ended_at: Some(self.created_at),
            error: None,
        });
        self.state = JobState::Running;
        self.started_at.get_or_insert(self.created_at);
        self.accept(node, span, outputs, gas);
        true
    }
}

/// A result that was lost, or a job without one.
pub(super) fn result_of(entry: &Entry) -> Result<Arc<str>, Refusal> {
    match (&entry.result, entry.state) {
        (Some(result), _) => Ok(Arc::clone(result)),
        (None, JobState::Queued | JobState::Running | JobState::Verifying) => {
            Err(Refusal::new(Code::NotFinished, "the job has no result yet", "ask again when its state is completed"))
        }
        (None, JobState::Completed) => {
            Err(Refusal::new(Code::NoResult, "the result was lost from this node's store", "submit the job again"))
        }
        (None, JobState::Failed | JobState::Cancelled | JobState::Expired) => {
            let fallback = || Refusal::new(Code::NoResult, "the job ended without a result", "submit it again");
            let reason = entry.error.clone().unwrap_or_else(fallback);
            Err(Refusal { code: Code::NoResult, ..reason })
        }
    }
}
