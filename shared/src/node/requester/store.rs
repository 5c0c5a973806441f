//! The records of the host's store: what a requester needs to go on after a restart.
//!
//! A job is JSON, so that a later version can read an older one; a finished span is postcard, so that it is small.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    Requester, cut,
    entry::Entry,
    finished::Finished,
    view::{MOST_SOURCE_SHOWN, elapsed, most_units_first, percent},
};
use crate::{
    api::{AttemptView, JobStatus, JobSummary, NodeShare, Progress},
    blob::Blob,
    id::{AttemptId, Hash, Holder, JobId, NodeId},
    job::{AttemptState, Job, JobState, Outputs, Plan, Policy, Requirements, metadata::Metadata},
    node::{Effect, ReadJob, StoreKey, core::Core},
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
    attempts_total: u64,
    attempts: Vec<AttemptView>,
    shares: Vec<NodeShare>,
    /// The module in base64, where the source only names it and the host does not keep it by its hash.
    kernel: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SpanRecord {
    span: Span,
    outputs: Outputs,
    node: NodeId,
    gas: Gas,
}

/// The record of a job that nobody has worked on yet, for [`super::Input::Kept`]. A module that the job brought or named
/// ([`Plan::module`]) is not in it: the host keeps that by its hash, and finds it when it reads the job again.
pub fn new_record(job: &Job, now: Moment) -> Vec<u8> {
    let record = JobRecord {
        version: VERSION,
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
        units: job.plan.units(),
        done_units: 0,
        gas: Gas(0),
        attempts_total: 0,
        attempts: Vec::new(),
        shares: Vec::new(),
        kernel: None,
    };
    // Nothing in a record can fail to become JSON.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// Bytes that a job holds as long as it is not over: those of its source and of a module that this only names. One that came
/// inside the source, in base64, counts once.
pub fn held_bytes(plan: &dyn Plan, source: &str) -> usize {
    let module = plan.module().map_or(0, |module| module.len());
    let is_inside = source.len() >= module.div_ceil(3).saturating_mul(4);
    if is_inside { source.len() } else { source.len().saturating_add(module) }
}

/// The module in base64, if the source only names it; a source that holds the module is longer than it.
fn named_module(plan: &dyn Plan, source: &str) -> Option<String> {
    let module = plan.module()?;
    let named = module.len() > source.len() || source.contains(&module.hash().to_string());
    named.then(|| STANDARD.encode(&**module))
}

/// Keeps a job as it stands; gives how many bytes that takes.
pub(super) fn save_job(core: &mut Core, entry: &Entry) -> u64 {
    save_record(core, entry.id, &record_of(entry))
}

/// How many bytes the record of a job takes.
pub(super) fn job_bytes(entry: &Entry) -> u64 {
    serde_json::to_vec(&record_of(entry)).map_or(0, |bytes| bytes.len() as u64)
}

fn record_of(entry: &Entry) -> JobRecord {
    JobRecord {
        version: VERSION,
        holder: entry.holder,
        kind: entry.kind.clone(),
        metadata: entry.metadata.clone(),
        source: entry.source.to_string(),
        requirements: entry.requirements,
        policy: entry.policy,
        state: entry.state,
        error: entry.error.clone(),
        failed_parts: entry.failed_parts,
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
    }
}

fn save_record(core: &mut Core, id: JobId, record: &JobRecord) -> u64 {
    let Ok(bytes) = serde_json::to_vec(record) else { return 0 };
    let len = bytes.len() as u64;
    core.effects.push_back(Effect::Save(StoreKey::Job(id), bytes));
    len
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

/// Keeps what lists show of a job that is over.
pub(super) fn save_line(core: &mut Core, line: &Finished) {
    if let Ok(bytes) = serde_json::to_vec(line) {
        core.effects.push_back(Effect::Save(StoreKey::Finished(line.summary.id), bytes));
    }
}

/// A job that is over, from its [`StoreKey::Job`]; `None` when the record cannot be read.
pub fn read_status(id: JobId, record: &[u8]) -> Option<JobStatus> {
    let record = serde_json::from_slice::<JobRecord>(record).ok().filter(|record| record.version == VERSION)?;
    let summary = record.summary(id);
    Some(JobStatus {
        elapsed: elapsed(record.created_at, record.started_at, summary.finished_at.unwrap_or(record.created_at)),
        summary,
        requirements: record.requirements,
        policy: record.policy,
        source: record.source,
        attempts: record.attempts,
        attempts_total: record.attempts_total,
        nodes: most_units_first(record.shares),
        partial: None,
    })
}

impl JobRecord {
    fn summary(&self, id: JobId) -> JobSummary {
        JobSummary {
            id,
            holder: self.holder,
            name: self.metadata.name.clone(),
            labels: self.metadata.labels.clone(),
            kind: self.kind.clone(),
            state: self.state,
            waiting: None,
            error: self.error.clone(),
            failed_parts: self.failed_parts,
            progress: Progress {
                units_total: self.units,
                units_done: self.done_units,
                units_running: 0,
                gas: self.gas,
                percent: percent(self.done_units, self.units),
                remaining_seconds: None,
            },
            created_at: self.created_at,
            finished_at: self.finished_at.or(Some(self.created_at)),
        }
    }
}

impl Requester {
    /// Rebuilds the jobs from the store. Records that belong to no job are forgotten. Those that cannot be read are left alone
    /// and told of ([`super::Node::unreadable`]): they are what is left of promises; those of a later version are left alone.
    /// A damaged line is made anew from the record of its job.
    pub(in crate::node) fn restore(
        &mut self,
        core: &mut Core,
        records: Vec<(StoreKey, Vec<u8>)>,
        mut results: BTreeMap<JobId, u64>,
        read: ReadJob<'_>,
    ) {
        let (mut jobs, mut rest) = (Vec::new(), Vec::new());
        let (mut damaged_lines, mut left_alone) = (Vec::new(), BTreeSet::new());
        for (key, bytes) in records {
            match key {
                StoreKey::Finished(id) => match Finished::read(&bytes) {
                    Some(line) => self.finished.insert(line),
                    None if is_damaged_line(&bytes) => damaged_lines.push(id),
                    None => _ = left_alone.insert(id),
                },
                StoreKey::Job(id) => jobs.push((id, bytes)),
                StoreKey::Result(id) => {
                    results.insert(id, bytes.len() as u64);
                    rest.push((key, bytes));
                }
                StoreKey::Span(..) => rest.push((key, bytes)),
            }
        }
        for (id, bytes) in jobs {
            let is_known = self.finished.get(id).is_some() || left_alone.contains(&id);
            if !is_known && !self.restore_job(core, id, &bytes, results.get(&id).copied(), read) {
                left_alone.insert(id);
            }
        }
        for id in damaged_lines {
            let line = StoreKey::Finished(id);
            if self.jobs.contains_key(&id) {
                // Its record says that it goes on: the next start must not take it for one that is over.
                core.effects.push_back(Effect::Forget(line));
            } else if self.finished.get(id).is_none() {
                self.unreadable.push(line);
                left_alone.insert(id);
            }
        }
        for (key, bytes) in rest {
            let kept = match key {
                StoreKey::Job(_) | StoreKey::Finished(_) => true,
                StoreKey::Span(id, _) | StoreKey::Result(id) if left_alone.contains(&id) => true,
                StoreKey::Span(id, _) => self.jobs.get_mut(&id).is_some_and(|entry| entry.restore_span(&bytes)),
                StoreKey::Result(id) => self.finished.has_result(id),
            };
            if !kept {
                core.effects.push_back(Effect::Forget(key));
            }
        }
        self.go_on(core);
        self.trim(core, None);
        self.start_looking(core);
    }

    /// Has each job from the store go on with what there is of it.
    pub(super) fn go_on(&mut self, core: &mut Core) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.refresh(id);
            self.check_restored(core, id);
        }
    }

    /// Whether the record could be read.
    fn restore_job(
        &mut self,
        core: &mut Core,
        id: JobId,
        bytes: &[u8],
        result: Option<u64>,
        read: ReadJob<'_>,
    ) -> bool {
        let record = match serde_json::from_slice::<JobRecord>(bytes) {
            Ok(record) if record.version == VERSION => record,
            Ok(_) | Err(_) => {
                if !is_later(bytes, VERSION) {
                    self.unreadable.push(StoreKey::Job(id));
                }
                return false;
            }
        };
        if record.state.is_final() {
            self.put_back(core, id, &record, result);
            return true;
        }
        match revive(id, record, core.now, read) {
            Ok(mut entry) => {
                entry.chance_at = core.now; // who was connected while this node was down, nobody knows
                self.admit(core, entry);
            }
            Err((record, refusal)) => {
                self.not_resumed.push((id, refusal));
                save_record(core, id, &record);
                // A result would be one whose job a kill kept from ending: perhaps not all of it is there.
                self.put_back(core, id, &record, None);
            }
        }
        true
    }

    /// Makes the line of a job that is over, whose result has so many bytes if there is one.
    fn put_back(&mut self, core: &mut Core, id: JobId, record: &JobRecord, result: Option<u64>) {
        let bytes = serde_json::to_vec(record).map_or(0, |bytes| bytes.len() as u64);
        self.keep_line(core, Finished::new(record.summary(id), bytes + result.unwrap_or(0), result.is_some()));
    }
}

/// Whether a later version than this one's wrote a record, whatever else it holds.
fn is_later(bytes: &[u8], version: u32) -> bool {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice::<Versioned>(bytes).is_ok_and(|record| record.version > version)
}

/// Whether a line is what no version writes: what can be known of its job is in the job's record. A host that leaves out the
/// records of jobs that are over hands in those of such lines.
pub fn is_damaged_line(line: &[u8]) -> bool {
    Finished::read(line).is_none() && !is_later(line, super::finished::VERSION)
}

/// A job that was not over, read again; if that fails, its record and why: it failed now, whenever it was accepted, so that it is
/// kept for as long as any other and its owner learns of it.
fn revive(
    id: JobId,
    mut record: JobRecord,
    now: Moment,
    read: ReadJob<'_>,
) -> Result<Entry, (Box<JobRecord>, Refusal)> {
    let kernel = record.kernel.take().and_then(|text| STANDARD.decode(text).ok()).map(Blob::new);
    let find = |hash: Hash| kernel.clone().filter(|blob| blob.hash() == hash);
    match read(&record.source, &find) {
        Ok(mut job) => {
            job.holder = record.holder;
            let mut entry = Entry::new(id, job, record.created_at);
            entry.started_at = record.started_at;
            entry.attempts_total = record.attempts_total;
            entry.ended = record.attempts.into();
            Ok(entry)
        }
        Err(refusal) => {
            record.state = JobState::Failed;
            record.error = Some(refusal.clone());
            record.finished_at = Some(now);
            record.source.truncate(cut(&record.source, MOST_SOURCE_SHOWN).len());
            Err((Box::new(record), refusal))
        }
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
        let instead = outputs.iter().any(|output| plan.is_instead(output));
        let right = |(call, output): (u64, &Vec<u8>)| plan.check(self.call_span(span, call), output).is_ok();
        if !instead && !(0u64..).zip(&outputs).all(right) {
            return false;
        }
        self.open.remove(span);
        self.state = JobState::Running;
        self.started_at.get_or_insert(self.created_at);
        if instead {
            self.keep(span, outputs); // no node's work
            return true;
        }
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
        self.accept(node, span, outputs, gas);
        true
    }
}

/// The record of a finished job's result, or why there is none.
pub(super) fn result_of(job: &JobSummary, has_result: bool) -> Result<StoreKey, Refusal> {
    if has_result {
        return Ok(StoreKey::Result(job.id));
    }
    let fallback = || Refusal::new(Code::NoResult, "the job ended without a result", "submit it again");
    let reason = job.error.clone().unwrap_or_else(fallback);
    Err(Refusal { code: Code::NoResult, ..reason })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        id::NodeId,
        node::{Input, Keep, Node, NodeConfig},
        units::Millis,
        wire::Role,
    };

    fn node() -> Node {
        Node::new(NodeConfig {
            me: NodeId([1; 32]),
            role: Role::Client,
            agent: String::new(),
            seed: [7; 32],
            keep: Keep { age: Millis(1 << 40), ..Keep::default() },
            can_rest: true,
            rewrite: crate::kernel::REWRITE_VERSION,
        })
    }

    #[test]
    fn a_record_that_cannot_be_read_is_told_of_and_left_alone_with_its_spans() {
        let job = crate::job::kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
        let [sound, damaged, cut, later, line] = [1, 2, 3, 4, 5].map(|number| JobId([number; 16]));
        let record = new_record(&job, Moment(1));
        let text = String::from_utf8(record.clone()).unwrap();
        let of_later = r#"{"version":99,"told_otherwise":true}"#.to_owned();
        let records = vec![
            (StoreKey::Job(sound), record),
            (StoreKey::Job(damaged), text.replace("\"source\"", "\"sourca\"").into_bytes()),
            (StoreKey::Job(cut), text.as_bytes()[..40].to_vec()),
            (StoreKey::Job(later), of_later.clone().into_bytes()),
            (StoreKey::Span(damaged, 0), vec![1]),
            (StoreKey::Span(later, 0), vec![1]),
            (StoreKey::Span(JobId([9; 16]), 0), vec![1]),
            (StoreKey::Finished(line), b"{".to_vec()),
            (StoreKey::Finished(later), of_later.into_bytes()),
        ];
        let mut node = node();
        node.restore(Moment(2), records, BTreeMap::new(), &crate::job::kinds::read);
        let told: Vec<StoreKey> = node.unreadable().to_vec();
        assert_eq!(told, [StoreKey::Job(damaged), StoreKey::Job(cut), StoreKey::Finished(line)]);
        let mut forgotten = Vec::new();
        while let Some(effect) = node.poll_effect() {
            if let Effect::Forget(key) = effect {
                forgotten.push(key);
            }
        }
        assert_eq!(forgotten, [StoreKey::Span(JobId([9; 16]), 0)], "it belongs to no job");
        assert_eq!(node.summary(sound).unwrap().state, JobState::Queued);
    }

    #[test]
    fn a_job_that_is_not_read_any_more_fails_at_the_start_and_stays_for_as_long_as_one_that_ended_then() {
        const LONG_AFTER: Moment = Moment(1 << 41);
        let job = crate::job::kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
        let id = JobId([1; 16]);
        let mut node = node();
        let records = vec![(StoreKey::Job(id), new_record(&job, Moment(1)))];
        let refusal = Refusal::new(Code::OutOfMemory, "it begins with more than it may use", "ask for more");
        node.restore(LONG_AFTER, records, BTreeMap::new(), &|_, _| Err(refusal.clone()));
        assert_eq!(node.not_resumed(), [(id, refusal.clone())]);
        let summary = node.summary(id).unwrap();
        assert_eq!((summary.state, summary.finished_at), (JobState::Failed, Some(LONG_AFTER)));
        assert_eq!(summary.error, Some(refusal));
        node.handle(LONG_AFTER + Millis((1 << 40) - 1), Input::Tick);
        assert!(node.summary(id).is_some());
    }

    #[test]
    fn a_damaged_line_is_made_anew_from_the_record_with_what_is_kept_of_the_result() {
        let job = crate::job::kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
        let text = String::from_utf8(new_record(&job, Moment(1))).unwrap();
        let of = |state: &str| text.replace(r#""state":"queued""#, &format!(r#""state":"{state}""#)).into_bytes();
        let [completed, failed, without, running, of_later] = [1, 2, 3, 4, 5].map(|number| JobId([number; 16]));
        let damaged = |id: JobId| (StoreKey::Finished(id), b"{".to_vec());
        let records = vec![
            damaged(completed),
            damaged(failed),
            damaged(without),
            damaged(running),
            (StoreKey::Finished(of_later), br#"{"version":99}"#.to_vec()),
            (StoreKey::Job(completed), of("completed")),
            (StoreKey::Job(failed), of("failed")),
            (StoreKey::Job(without), of("failed")),
            (StoreKey::Job(running), of("running")),
            (StoreKey::Job(of_later), of("completed")),
            (StoreKey::Result(failed), b"[1]".to_vec()),
        ];
        let mut node = node();
        let results = BTreeMap::from([(completed, 1_000_000)]);
        node.restore(Moment(2), records, results, &crate::job::kinds::read);
        assert!(node.unreadable().is_empty() && node.not_resumed().is_empty());
        assert_eq!(node.summary(completed).unwrap().state, JobState::Completed);
        assert_eq!(node.result(completed), Ok(StoreKey::Result(completed)));
        assert_eq!(node.result(failed), Ok(StoreKey::Result(failed)));
        assert_eq!(node.result(without).unwrap_err().code, Code::NoResult);
        assert!(node.requester.finished.bytes() > 1_000_000, "the result counts");
        assert_eq!(node.summary(running).unwrap().state, JobState::Queued);
        assert!(node.summary(of_later).is_none(), "what a later version says of it is not known here");
        let (mut kept, mut forgotten) = (Vec::new(), Vec::new());
        while let Some(effect) = node.poll_effect() {
            if let Effect::Save(key, bytes) = effect {
                kept.push((key, is_damaged_line(&bytes)));
            } else if let Effect::Forget(key) = effect {
                forgotten.push(key);
            }
        }
        assert_eq!(kept, [completed, failed, without].map(|id| (StoreKey::Finished(id), false)));
        assert_eq!(forgotten, [StoreKey::Finished(running)]);
        node.handle(Moment(3), Input::Removed { id: completed });
        let removed = std::iter::from_fn(|| node.poll_effect()).filter_map(|effect| match effect {
            Effect::Forget(key) => Some(key),
            _ => None,
        });
        let first = removed.collect::<Vec<_>>();
        let expected = [StoreKey::Job(completed), StoreKey::Result(completed), StoreKey::Finished(completed)];
        assert_eq!(first, expected, "a kill in between leaves no job that has lost its result");
    }
}
