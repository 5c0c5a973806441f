//! What always holds in a provider's books.

use std::collections::{BTreeMap, BTreeSet};

use super::{AttemptStep, Provider, batches::needs, queue::Key};
use crate::{
    id::{Hash, NodeId},
    node::audit::holds,
};

impl Provider {
    pub(in crate::node) fn audit(&self) -> Result<(), String> {
        let mut batches: BTreeMap<NodeId, usize> = BTreeMap::new();
        let (mut ready, mut done_bytes) = (0, 0);
        for (key, attempt) in &self.attempts {
            *batches.entry(key.0).or_default() += 1;
            match &attempt.state {
                AttemptStep::Ready => ready += 1,
                AttemptStep::Done(delivery) => done_bytes += delivery.len(),
                AttemptStep::Running(run) => {
                    let known = self.runs.get(run).is_some_and(|run| run.wanted == Some(*key));
                    holds(known, "a batch runs that the host has not")?
                }
                AttemptStep::Fetching(missing) => {
                    let awaits = |hash| self.waiting.get(hash).is_some_and(|keys: &BTreeSet<Key>| keys.contains(key));
                    holds(!missing.is_empty() && missing.iter().all(awaits), "a batch waits for what nobody fetches")?
                }
            }
        }
        holds(ready == self.queue.len(), "batches that are ready and the queue disagree")?;
        holds(done_bytes == self.done_bytes, "the bytes of undelivered results are miscounted")?;
        let counted =
            self.customers.iter().all(|(node, customer)| customer.batches == batches.get(node).copied().unwrap_or(0));
        holds(counted && batches.keys().all(|node| self.customers.contains_key(node)), "batches of requesters")?;
        for (hash, keys) in &self.waiting {
            let lacks = |key: &Key| match self.attempts.get(key).map(|attempt| &attempt.state) {
                Some(AttemptStep::Fetching(missing)) => missing.contains(hash),
                Some(AttemptStep::Ready | AttemptStep::Running(_) | AttemptStep::Done(_)) | None => false,
            };
            holds(!keys.is_empty() && keys.iter().all(lacks), "a blob is awaited by a batch that does not lack it")?;
        }
        for (id, run) in &self.runs {
            let runs = |key: &Key| match self.attempts.get(key).map(|attempt| &attempt.state) {
                Some(AttemptStep::Running(run)) => run == id,
                Some(AttemptStep::Ready | AttemptStep::Fetching(_) | AttemptStep::Done(_)) | None => false,
            };
            holds(run.wanted.as_ref().is_none_or(runs), "a run is wanted by a batch that does not run")?;
        }
        self.audit_turns()?;
        Ok(self.queue.audit(self.customers.len())?)
    }

    /// How many entries an audit looks at, about.
    pub(in crate::node) fn audited_entries(&self) -> usize {
        self.attempts.len() + self.runs.len() + self.customers.len()
    }

    /// The blobs that it has pinned, each as often.
    pub(in crate::node) fn pins(&self) -> impl Iterator<Item = Hash> {
        self.attempts.values().flat_map(|attempt| {
            let needed = needs(&attempt.assignment).into_iter();
            match &attempt.state {
                AttemptStep::Fetching(missing) => needed.filter(|hash| !missing.contains(hash)).collect(),
                AttemptStep::Ready | AttemptStep::Running(_) => needed.collect(),
                AttemptStep::Done(delivery) => delivery.blob().into_iter().collect::<Vec<Hash>>(),
            }
        })
    }
}
