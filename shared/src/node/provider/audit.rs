//! What always holds in a provider's books.

use std::collections::BTreeMap;

use super::{AttemptStep, Provider};
use crate::{id::NodeId, node::audit::holds};

impl Provider {
    pub(in crate::node) fn audit(&self) -> Result<(), String> {
        let mut batches: BTreeMap<NodeId, usize> = BTreeMap::new();
        let (mut ready, mut done_bytes) = (0, 0);
        for ((node, _), attempt) in &self.attempts {
            *batches.entry(*node).or_default() += 1;
            match &attempt.state {
                AttemptStep::Ready => ready += 1,
                AttemptStep::Done(delivery) => done_bytes += delivery.len(),
                AttemptStep::Running(run) => holds(self.runs.contains_key(run), "a batch runs that the host has not")?,
                AttemptStep::Fetching(missing) => holds(!missing.is_empty(), "a batch waits for nothing")?,
            }
        }
        holds(ready == self.queue.len(), "batches that are ready and the queue disagree")?;
        holds(done_bytes == self.done_bytes, "the bytes of undelivered results are miscounted")?;
        let counted =
            self.customers.iter().all(|(node, customer)| customer.batches == batches.get(node).copied().unwrap_or(0));
        holds(counted && batches.keys().all(|node| self.customers.contains_key(node)), "batches of requesters")?;
        let waiting = self.waiting.values().flatten().all(|key| self.attempts.contains_key(key));
        holds(waiting, "a blob is awaited by a batch that is gone")?;
        self.audit_turns()?;
        Ok(self.queue.audit(self.customers.len())?)
    }
}
