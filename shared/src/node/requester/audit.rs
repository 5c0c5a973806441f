//! What always holds in a requester's books.

use std::collections::{BTreeMap, BTreeSet};

use super::{Requester, attempt::Rest, running::Running};
use crate::{
    blob::Blob,
    id::{AttemptId, Hash, JobId, NodeId},
    job::AttemptState,
    node::audit::holds,
};

impl Requester {
    pub(in crate::node) fn audit(&self) -> Result<(), String> {
        let active: BTreeSet<_> = self.jobs.values().map(Running::rank).collect();
        holds(active == self.active, "the jobs that are not over and their list disagree")?;
        for entry in self.jobs.values() {
            holds(entry.is_hungry() == entry.waits.is_some(), "a job waits without a place in the line")?;
            holds(entry.waits.is_none_or(|turn| turn == entry.turn()), "a job's place in the line is an old one")?;
        }
        self.owners.audit(
            self.jobs
                .values()
                .map(|entry| (entry.holder, [entry.held_bytes(), entry.gathered.booked()], entry.waits))
                .chain(self.reserved.values().map(|(holder, bytes)| (*holder, [*bytes, 0], None))),
        )?;
        let mut outstanding: BTreeMap<NodeId, BTreeSet<AttemptId>> = BTreeMap::new();
        for (id, attempt) in &self.attempts {
            let live = self.jobs.get(&attempt.job).is_some_and(|entry| entry.batches.has(*id));
            holds(live, "an attempt belongs to no job")?;
            outstanding.entry(attempt.node).or_default().insert(*id);
        }
        holds(self.candidates.knows_who_delivered(), "a node that has delivered is not known")?;
        for (node, candidate) in self.candidates.iter() {
            let known = outstanding.remove(&node).unwrap_or_default();
            holds(known == candidate.outstanding, "a node's batches and the attempts disagree")?;
            holds(candidate.owes_what_it_has(), "a node owes what it has not")?;
            let rests = |id: &AttemptId| self.attempts.get(id).is_some_and(|attempt| attempt.rest != Rest::No);
            let resting: BTreeSet<AttemptId> = known.into_iter().filter(rests).collect();
            holds(resting == candidate.resting, "what a node set aside and the attempts disagree")?;
        }
        holds(outstanding.is_empty(), "an attempt's node is forgotten")?;
        self.candidates.records.audit()?;
        self.called_off.audit()?;
        self.audit_unkept()?;
        let awaits =
            |id: &AttemptId| self.attempts.get(id).is_some_and(|attempt| attempt.state == AttemptState::Delivered);
        let arriving = self.arriving.values().all(|attempts| !attempts.is_empty() && attempts.iter().all(awaits));
        holds(arriving, "a blob arrives for nobody")?;
        let is_there = |id: &JobId| self.jobs.contains_key(id) || self.finished.get(*id).is_some();
        holds(!self.reserved.keys().any(is_there), "room is set aside for a job that is there")?;
        self.merges.audit(self.jobs.values())?;
        self.jobs.values().try_for_each(|entry| self.audit_job(entry))
    }

    /// How many entries an audit looks at, about.
    pub(in crate::node) fn audited_entries(&self) -> usize {
        let of_job = |entry: &Running| {
            4 + entry.batches.out_count() + entry.batches.waiting_count() + entry.gathered.outputs().len()
        };
        self.jobs.values().map(of_job).sum::<usize>() + self.attempts.len() + self.candidates.iter().count()
    }

    /// The blobs that it has pinned, each as often.
    pub(in crate::node) fn pins(&self) -> impl Iterator<Item = Hash> {
        let stages = self.jobs.values().flat_map(|entry| entry.stages.iter());
        let of_stages = stages.flat_map(|stage| stage.blobs()).map(Blob::hash);
        of_stages.chain(self.attempts.values().filter_map(|attempt| attempt.blob))
    }

    fn audit_job(&self, entry: &Running) -> Result<(), String> {
        let units = entry.batches.audit(|id| self.attempts.get(&id))?
            + entry.stages.open_units()
            + entry.stages.waiting_units()
            + entry.gathered.units();
        for stage in entry.stages.iter() {
            let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
            let attempts = entry.batches.attempts().filter_map(|id| self.attempts.get(&id));
            for attempt in attempts.filter(|attempt| stage.has(attempt.span.start)) {
                *counts.entry(attempt.node).or_default() += 1;
            }
            holds(stage.paces.outstanding().eq(counts), "a node's batches of a stage are miscounted")?;
        }
        holds(units == entry.units, "a job's units are not each in one place")?;
        holds(
            entry.gathered.outputs().keys().map(|span| span.len()).sum::<u64>() == entry.gathered.units(),
            "finished units are miscounted",
        )
    }
}
