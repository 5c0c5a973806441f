//! The records of the host's store: what a requester needs to go on after a restart, and what is shown of jobs that are over.
//!
//! A job is JSON, so that a later version can read an older one; a finished span is postcard, so that it is small. Either lies in
//! an envelope ([`crate::store`]) that says in which version.

mod before;
mod restoring;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

pub use self::before::OfBefore;
use super::{
    finished::Finished,
    over::Over,
    running::Running,
    view::{computes, elapsed, most_units_first, percent},
};
use crate::{
    api::{AttemptView, JobStatus, JobSummary, NodeShare, Progress},
    blob::Blob,
    engine::Prepared,
    id::{Holder, JobId, NodeId, OwnerId},
    job::{Job, JobState, Outputs, Plan, Policy, Requirements, metadata::Metadata},
    node::{HostOrder, core::Core},
    refusal::Refusal,
    store::{StoreKey, Unread, open, seal},
    units::{Gas, Moment, Span},
};

/// Each goes up when its record changes in a way that an older version cannot be read into.
const JOB_VERSION: u16 = 1;
const OVER_VERSION: u16 = 1;
const SPAN_VERSION: u16 = 1;
/// Attempts of a finished job that are kept.
const MOST_KEPT: usize = 200;

#[derive(Serialize, Deserialize)]
struct JobRecord {
    #[serde(flatten)]
    holder: Holder,
    kind: String,
    /// Absent in records of before there were names and labels.
    #[serde(default)]
    metadata: Metadata,
    source: String,
    requirements: Requirements,
    policy: Policy,
    state: JobState,
    error: Option<Refusal>,
    /// Absent in records of before they were counted.
    #[serde(default)]
    failed_parts: u64,
    created_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    units: u64,
    done_units: u64,
    gas: Gas,
    /// Absent in records of before it was counted.
    #[serde(default)]
    prepared: Prepared,
    attempts_total: u64,
    attempts: Vec<AttemptView>,
    shares: Vec<NodeShare>,
    /// The module in base64, in records of before a job could have several.
    #[serde(default, skip_serializing)]
    kernel: Option<String>,
    /// The modules in base64 that the source only names and the host does not keep by their hash.
    #[serde(default)]
    modules: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct SpanRecord {
    span: Span,
    outputs: Outputs,
    node: NodeId,
    gas: Gas,
}

/// The record of a job that nobody has worked on yet ([`StoreKey::Job`]), for [`super::Input::Accepted`]. A module that the job
/// brought or named ([`Plan::module`]) is not in it: the host keeps that by its hash, and finds it when it reads the job again.
pub fn new_record(id: JobId, job: &Job, now: Moment) -> Vec<u8> {
    let record = JobRecord {
        holder: job.holder,
        kind: job.kind.to_owned(),
        metadata: job.metadata.clone(),
        source: job.source.to_string(),
        requirements: job.requirements,
        policy: job.policy,
        state: JobState::Queued,
        error: None,
        failed_parts: 0,
        created_at: now,
        started_at: None,
        finished_at: None,
        units: job.stages.units(),
        done_units: 0,
        gas: Gas(0),
        prepared: Prepared::default(),
        attempts_total: 0,
        attempts: Vec::new(),
        shares: Vec::new(),
        kernel: None,
        modules: Vec::new(),
    };
    record.sealed(StoreKey::Job(id))
}

/// Bytes that a job holds as long as it is not over: those of its source and of a module that this only names. One that came
/// inside the source, in base64, counts once.
pub fn held_bytes(plan: &dyn Plan, source: &str) -> usize {
    let module: usize = plan.modules().into_iter().map(|module| module.len()).sum();
    let is_inside = source.len() >= module.div_ceil(3).saturating_mul(4);
    if is_inside { source.len() } else { source.len().saturating_add(module) }
}

/// The modules in base64 that the source only names; a source that holds one is longer than it.
fn named_modules(plan: &dyn Plan, source: &str) -> Vec<String> {
    let is_named = |module: &&Blob| module.len() > source.len() || source.contains(&module.hash().to_string());
    plan.modules().into_iter().filter(is_named).map(|module| STANDARD.encode(&**module)).collect()
}

/// Keeps a job that is not over as it stands.
pub(super) fn save_job(core: &mut Core, entry: &Running) {
    let key = StoreKey::Job(entry.id);
    let record = JobRecord { modules: named_modules(&*entry.plan, &entry.source), ..record_of(entry) };
    core.order(HostOrder::Change(vec![(key, Some(record.sealed(key)))]));
}

/// The record of a job that is over.
pub(super) fn over_record(over: &Over) -> Vec<u8> {
    let record = JobRecord {
        state: over.end.state,
        error: over.end.error.clone(),
        failed_parts: over.end.failed_parts,
        finished_at: Some(over.finished_at),
        ..record_of(&over.entry)
    };
    record.sealed(StoreKey::Over(over.entry.id))
}

fn record_of(entry: &Running) -> JobRecord {
    JobRecord {
        holder: entry.holder,
        kind: entry.kind.clone(),
        metadata: entry.metadata.clone(),
        source: entry.source.to_string(),
        requirements: entry.requirements,
        policy: entry.policy,
        state: entry.phase.into(),
        error: None,
        failed_parts: 0,
        created_at: entry.created_at,
        started_at: entry.started_at,
        finished_at: None,
        units: entry.units,
        done_units: entry.gathered.units(),
        gas: entry.history.gas(),
        prepared: entry.history.prepared(),
        attempts_total: entry.history.attempts(),
        attempts: entry.history.ended().rev().take(MOST_KEPT).rev().cloned().collect(),
        shares: entry.history.shares(),
        kernel: None,
        modules: Vec::new(),
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
    let key = StoreKey::Span(job, span.start);
    // Whose it is its job says.
    let record = seal(key, SPAN_VERSION, OwnerId::default(), |record| {
        // Nothing in it can fail to become bytes.
        postcard::to_extend(&Borrowed { span, outputs, node, gas }, record).unwrap_or_default()
    });
    core.order(HostOrder::Change(vec![(key, Some(record))]));
}

/// A job that is over, from its [`StoreKey::Over`]; `None` when the record cannot be read.
pub fn read_status(id: JobId, record: &[u8]) -> Option<JobStatus> {
    JobRecord::read(StoreKey::Over(id), record).ok().map(|record| record.status(id))
}

/// The line of a job that is over, and its record, made from the [`StoreKey::Over`] of the job.
pub(super) fn line_of(id: JobId, over: &[u8], result_bytes: Option<u64>) -> Option<(Finished, Vec<u8>)> {
    let summary = JobRecord::read(StoreKey::Over(id), over).ok()?.summary(id);
    let bytes = result_bytes.unwrap_or(0).saturating_add(over.len() as u64);
    let line = Finished::new(&summary, bytes, result_bytes.is_some());
    let record = line.record(&summary);
    Some((line, record))
}

impl JobRecord {
    /// The record as it is kept under a name.
    fn sealed(&self, key: StoreKey) -> Vec<u8> {
        let version = if let StoreKey::Over(_) = key { OVER_VERSION } else { JOB_VERSION };
        seal(key, version, self.holder.owner, |mut record| {
            // Nothing in it can fail to become JSON.
            let _ = serde_json::to_writer(&mut record, self);
            record
        })
    }

    fn read(key: StoreKey, record: &[u8]) -> Result<Self, Unread> {
        let newest = if let StoreKey::Over(_) = key { OVER_VERSION } else { JOB_VERSION };
        serde_json::from_slice(open(key, newest, record)?.body).map_err(|_| Unread::Damaged)
    }

    fn status(&self, id: JobId) -> JobStatus {
        let summary = self.summary(id);
        JobStatus {
            elapsed: elapsed(self.created_at, self.started_at, summary.finished_at.unwrap_or(self.created_at)),
            summary,
            requirements: self.requirements,
            policy: self.policy,
            source: self.source.clone(),
            attempts: self.attempts.clone(),
            attempts_total: self.attempts_total,
            nodes: most_units_first(self.shares.clone()),
            partial: None,
        }
    }

    fn summary(&self, id: JobId) -> JobSummary {
        JobSummary {
            id,
            holder: self.holder,
            name: self.metadata.name.clone(),
            labels: self.metadata.labels.clone(),
            kind: self.kind.clone(),
            computes: computes(&self.source),
            state: self.state,
            waiting: None,
            error: self.error.clone(),
            failed_parts: self.failed_parts,
            progress: Progress {
                units_total: self.units,
                units_done: self.done_units,
                units_running: 0,
                gas: self.gas,
                prepared: self.prepared,
                percent: percent(self.done_units, self.units),
                remaining_seconds: None,
            },
            created_at: self.created_at,
            finished_at: self.finished_at.or(Some(self.created_at)),
        }
    }
}
