//! Records of the store that this version does not understand: damaged ones, and those that a later version wrote before this
//! one took its place. They are what is left of promises, so none of them is ever forgotten but at the wish of its owner.

use std::collections::{BTreeMap, BTreeSet};

use super::Requester;
use crate::{
    id::{JobId, OwnerId},
    node::{Notice, core::Core},
    store::{StoreKey, Unread},
};

/// What is left alone.
#[derive(Default)]
pub(super) struct LeftAlone {
    /// Jobs of which nothing more is known than whose they are; [`OwnerId::LOCAL`] where not even that is.
    jobs: BTreeMap<JobId, OwnerId>,
    /// Records that belong to those, or to jobs that are known.
    spans: BTreeMap<JobId, BTreeSet<u64>>,
    /// Records whose names this version does not know.
    unknown: u64,
    /// Damaged ones that were met at the start, for the log.
    damaged: Vec<StoreKey>,
}

/// Damaged records that are named in the log.
const MOST_NAMED: usize = 100;

impl LeftAlone {
    /// Leaves a record alone that was not read.
    pub(super) fn add(&mut self, key: StoreKey, why: Unread) {
        let owner = match why {
            Unread::Later(owner) => owner,
            Unread::Damaged => {
                if self.damaged.len() < MOST_NAMED {
                    self.damaged.push(key);
                }
                None
            }
        };
        match key {
            StoreKey::Span(job, unit) => _ = self.spans.entry(job).or_default().insert(unit),
            StoreKey::Job(job) | StoreKey::Result(job) | StoreKey::Over(job) | StoreKey::Finished(job) => {
                let known = self.jobs.entry(job).or_default();
                *known = owner.unwrap_or(*known);
            }
        }
    }

    /// So many records have names that this version does not know.
    pub(super) fn add_unknown(&mut self, records: u64) {
        self.unknown = self.unknown.saturating_add(records);
    }

    /// Whose a job is of which nothing else is understood.
    pub(super) fn owner(&self, job: JobId) -> Option<OwnerId> {
        self.jobs.get(&job).copied()
    }

    /// Spans of a job that are not understood: they go when it ends.
    pub(super) fn take_spans(&mut self, job: JobId) -> impl Iterator<Item = StoreKey> + use<> {
        let units = self.spans.remove(&job).unwrap_or_default();
        units.into_iter().map(move |unit| StoreKey::Span(job, unit))
    }

    /// Takes a job out.
    fn take(&mut self, job: JobId) -> Option<OwnerId> {
        self.jobs.remove(&job)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        let spans: usize = self.spans.values().map(BTreeSet::len).sum();
        self.unknown.saturating_add((self.jobs.len() + spans) as u64)
    }

    /// Damaged ones, as many as are named.
    pub(super) fn damaged(&self) -> &[StoreKey] {
        &self.damaged
    }
}

impl Requester {
    /// Forgets a job that is not understood, at its owner's wish; whether there is such a one.
    pub(super) fn remove_left_alone(&mut self, core: &mut Core, id: JobId) -> bool {
        let Some(owner) = self.left_alone.take(id) else { return false };
        let spans = self.left_alone.take_spans(id);
        let nouns = [StoreKey::Job(id), StoreKey::Over(id), StoreKey::Result(id), StoreKey::Finished(id)];
        self.remove_records(core, id, owner, nouns.into_iter().chain(spans).collect());
        core.tell(Notice::NetworkChanged);
        true
    }
}
