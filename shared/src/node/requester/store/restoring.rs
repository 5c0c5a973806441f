//! What a requester makes of the records of its store at the start.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{JobRecord, SPAN_VERSION, SpanRecord};
use crate::{
    api::AttemptView,
    blob::Blob,
    engine::Prepared,
    id::{Hash, JobId, OwnerId},
    job::{AttemptState, CallShape},
    node::{
        HostOrder, ReadJob,
        core::Core,
        requester::{
            Requester,
            history::History,
            running::{Phase, Running},
            verify::call_span,
        },
    },
    refusal::Refusal,
    store::{Change, StoreKey, Unread, open},
    units::Moment,
};

impl Requester {
    /// Rebuilds the jobs that are not over from the store. What is not understood is left alone and told of: it is what is left
    /// of promises. So is a job whose kind or fields are not: a later version took it, or one that knew what this does not. Spans that are understood and belong to no job are forgotten.
    pub(in crate::node) fn restore(&mut self, core: &mut Core, records: Vec<(StoreKey, Vec<u8>)>, read: ReadJob<'_>) {
        let (mut spans, mut left_alone) = (Vec::new(), BTreeSet::new());
        for (key, record) in records {
            match key {
                StoreKey::Job(id) => {
                    if let Err(why) = self.restore_job(core, id, &record, read) {
                        self.left_alone.add(key, why);
                        left_alone.insert(id);
                    }
                }
                StoreKey::Span(id, _) => spans.push((key, id, record)),
                // Such a job is over.
                StoreKey::Result(_) | StoreKey::Over(_) | StoreKey::Finished(_) => {}
            }
        }
        let mut useless: Vec<Change> = Vec::new();
        for (key, id, record) in spans {
            if left_alone.contains(&id) {
                continue;
            }
            let is_of_use = match (read_span(key, &record), self.jobs.get_mut(&id)) {
                (Err(why), _) => {
                    self.left_alone.add(key, why);
                    true
                }
                (Ok(span), Some(entry)) => entry.restore_span(span),
                (Ok(_), None) => false,
            };
            if !is_of_use {
                useless.push((key, None));
            }
        }
        if !useless.is_empty() {
            core.order(HostOrder::Change(useless));
        }
        self.go_on(core);
        self.trim(core, None);
        self.start_looking(core);
    }

    /// Has each job from the store go on with what there is of it.
    pub(in crate::node::requester) fn go_on(&mut self, core: &mut Core) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.refresh(id);
            self.check_restored(core, id);
        }
    }

    fn restore_job(&mut self, core: &mut Core, id: JobId, record: &[u8], read: ReadJob<'_>) -> Result<(), Unread> {
        let record = JobRecord::read(StoreKey::Job(id), record)?;
        match revive(id, record, core.now, read) {
            Ok(mut entry) => {
                entry.has_chance(core.now); // who was connected while this node was down, nobody knows
                self.admit(core, entry);
            }
            Err((owner, refusal)) => {
                self.not_resumed.push((id, refusal));
                return Err(Unread::Later(Some(owner)));
            }
        }
        Ok(())
    }
}

pub(super) fn read_span(key: StoreKey, record: &[u8]) -> Result<SpanRecord, Unread> {
    postcard::from_bytes(open(key, SPAN_VERSION, record)?.body).map_err(|_| Unread::Damaged)
}

/// A job that was not over, read again; else whose it is, and why it is not read: it was taken, so some version reads it.
fn revive(id: JobId, mut record: JobRecord, now: Moment, read: ReadJob<'_>) -> Result<Running, (OwnerId, Refusal)> {
    let texts = std::mem::take(&mut record.modules).into_iter().chain(record.kernel.take());
    let modules: Vec<Blob> = texts.filter_map(|text| STANDARD.decode(text).ok()).map(Blob::new).collect();
    let find = |hash: Hash| modules.iter().find(|blob| blob.hash() == hash).cloned();
    let mut job = read(&record.source, &find).map_err(|refusal| (record.holder.owner, refusal))?;
    job.holder = record.holder;
    let mut entry = Running::new(id, job, record.created_at);
    entry.started_at = record.started_at;
    entry.history = History::of_before(record.attempts_total, record.attempts);
    entry.has_chance(now); // who was connected while this node was down, nobody knows
    Ok(entry)
}

impl Running {
    /// Takes a finished span back in, if it still fits the plan.
    fn restore_span(&mut self, record: SpanRecord) -> bool {
        let SpanRecord { span, outputs, node, gas } = record;
        let shape = self.shape_of(span);
        let calls = match shape {
            CallShape::WholeSpan => 1,
            CallShape::EachUnit => span.len(),
        };
        if !self.stages.is_open(span) || outputs.len() as u64 != calls {
            return false;
        }
        let plan = &self.plan;
        let instead = outputs.iter().any(|output| plan.is_instead(output));
        let right = |(call, output): (u64, &Vec<u8>)| plan.check(call_span(shape, span, call), output).is_ok();
        if !instead && !(0u64..).zip(&outputs).all(right) {
            return false;
        }
        self.stages.close(span);
        self.phase = Phase::Running;
        self.started_at.get_or_insert(self.created_at);
        if instead {
            self.keep(span, outputs); // no node's work
            return true;
        }
        let tasks = outputs.len() as u64;
        let id = self.history.name_of_before();
        self.note(AttemptView {
            id,
            span,
            tasks,
            node,
            state: AttemptState::Accepted,
            engine: None,
            gas,
            prepared: Prepared::default(),
            assigned_at: self.created_at,
            ended_at: Some(self.created_at),
            error: None,
        });
        self.accept(node, span, outputs, gas);
        true
    }
}
