//! What is said only once the store holds it: that a job is over, and that it is gone. A host that dies before the records are
//! kept has told nobody, and goes on from what it had.

use std::collections::{BTreeMap, BTreeSet};

use super::Requester;
use crate::{
    api::JobStatus,
    id::{JobId, OwnerId},
    node::{Notice, Token, core::Core},
    store::{Change, StoreKey},
};

/// What is to be said.
enum Said {
    /// A job is over.
    Ended(JobId),
    /// A job is gone.
    Removed { id: JobId, owner: OwnerId },
}

/// What waits to be said.
#[derive(Default)]
pub(super) struct Unkept {
    waiting: BTreeMap<Token, Said>,
    /// The jobs among those that are over, as they stood before, which is what is shown of them.
    ended: BTreeMap<JobId, JobStatus>,
    last: u64,
}

impl Unkept {
    /// Whether the end of a job has yet to be kept.
    pub(super) fn has_end(&self, id: JobId) -> bool {
        self.ended.contains_key(&id)
    }

    /// How a job stood before its end, while that has yet to be kept.
    pub(super) fn before_its_end(&self, id: JobId) -> Option<&JobStatus> {
        self.ended.get(&id)
    }

    fn add(&mut self, said: Said) -> Token {
        self.last += 1;
        self.waiting.insert(Token(self.last), said);
        Token(self.last)
    }
}

impl Requester {
    /// Keeps the end of a job that stood so before, and tells of it then.
    pub(super) fn keep_end(&mut self, core: &mut Core, before: JobStatus, changes: Vec<Change>) {
        let id = before.summary.id;
        self.changed.remove(&id);
        self.unkept.ended.insert(id, before);
        let token = self.unkept.add(Said::Ended(id));
        core.keep(token, changes);
    }

    /// Forgets the records of a job, and tells then that it is gone.
    pub(super) fn remove_records(&mut self, core: &mut Core, id: JobId, owner: OwnerId, records: Vec<StoreKey>) {
        self.changed.remove(&id);
        let changes = records.into_iter().map(|key| (key, None)).collect();
        let token = self.unkept.add(Said::Removed { id, owner });
        core.keep(token, changes);
    }

    /// The host has kept what an [`HostOrder::Keep`] ordered.
    pub(in crate::node) fn kept(&mut self, core: &mut Core, token: Token) {
        match self.unkept.waiting.remove(&token) {
            Some(Said::Ended(id)) => {
                self.unkept.ended.remove(&id);
                // It may have been removed since.
                if self.finished.get(id).is_some() {
                    self.changed.insert(id);
                }
            }
            Some(Said::Removed { id, owner }) => core.tell(Notice::JobRemoved { id, owner }),
            None => {}
        }
    }

    /// As if the host had kept all that was ordered.
    #[cfg(test)]
    pub(super) fn keep_all(&mut self, core: &mut Core) {
        let tokens: Vec<Token> = self.unkept.waiting.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.kept(core, token));
    }

    pub(super) fn audit_unkept(&self) -> Result<(), String> {
        let ends = self.unkept.waiting.values().filter_map(|said| match said {
            Said::Ended(id) => Some(*id),
            Said::Removed { .. } => None,
        });
        let agree = ends.collect::<BTreeSet<_>>().iter().eq(self.unkept.ended.keys());
        crate::node::audit::holds(agree, "the ends that are not kept and what waits for them disagree")
    }
}
