//! What always holds inside a node, whatever it was told: counts and sets agree, bounds are kept. Tests look after every
//! fact; nothing in production does.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Node,
    core::Core,
    entry::{Entry, Rest},
    provider::Provider,
    provider::WorkState,
    requester::{self, Requester},
};
use crate::id::{AttemptId, NodeId};

impl Node {
    /// Looks whether the node's books agree with each other and keep their bounds; says what does not. For tests: it
    /// looks at everything.
    pub fn audit(&self) -> Result<(), String> {
        self.core.audit()?;
        self.provider.audit()?;
        self.requester.audit()
    }
}

fn holds(right: bool, what: &str) -> Result<(), String> {
    if right { Ok(()) } else { Err(what.to_owned()) }
}

impl Core {
    fn audit(&self) -> Result<(), String> {
        self.manners.audit()?;
        self.blobs.audit()?;
        holds(self.loopback.is_empty(), "a message to this node itself was not taken")
    }
}

impl Provider {
    fn audit(&self) -> Result<(), String> {
        let mut batches: BTreeMap<NodeId, usize> = BTreeMap::new();
        let (mut ready, mut done_bytes) = (0, 0);
        for ((node, _), work) in &self.works {
            *batches.entry(*node).or_default() += 1;
            match &work.state {
                WorkState::Ready => ready += 1,
                WorkState::Done(payload) => done_bytes += super::batches::payload_len(payload),
                WorkState::Running(run) => holds(self.runs.contains_key(run), "a batch runs that the host has not")?,
                WorkState::Fetching(missing) => holds(!missing.is_empty(), "a batch waits for nothing")?,
            }
        }
        holds(ready == self.queue.len(), "batches that are ready and the queue disagree")?;
        holds(done_bytes == self.done_bytes, "the bytes of undelivered results are miscounted")?;
        let counted =
            self.customers.iter().all(|(node, customer)| customer.batches == batches.get(node).copied().unwrap_or(0));
        holds(counted && batches.keys().all(|node| self.customers.contains_key(node)), "batches of requesters")?;
        let waiting = self.waiting.values().flatten().all(|key| self.works.contains_key(key));
        holds(waiting, "a blob is awaited by a batch that is gone")?;
        self.audit_turns()?;
        Ok(self.queue.audit(self.customers.len())?)
    }
}

impl Requester {
    fn audit(&self) -> Result<(), String> {
        let open = || self.jobs.values().filter(|entry| !entry.state.is_final());
        let active: BTreeSet<_> = open().map(Entry::rank).collect();
        holds(active == self.active, "the jobs that are not over and their list disagree")?;
        for entry in open() {
            holds(entry.is_hungry() == entry.waits.is_some(), "a job waits without a place in the line")?;
            holds(entry.waits.is_none_or(|turn| turn == entry.turn()), "a job's place in the line is an old one")?;
        }
        self.owners.audit(
            open()
                .map(|entry| (entry.holder, [requester::held_bytes(entry), entry.booked_bytes], entry.waits))
                .chain(self.reserved.values().map(|(holder, bytes)| (*holder, [*bytes, 0], None))),
        )?;
        let mut outstanding: BTreeMap<NodeId, BTreeSet<AttemptId>> = BTreeMap::new();
        for (id, attempt) in &self.attempts {
            let live = self.jobs.get(&attempt.job).is_some_and(|entry| entry.live.contains(id));
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
        let arriving = self.arriving.values().all(|attempts| !attempts.is_empty());
        holds(arriving, "a blob arrives for nobody")?;
        self.jobs.values().try_for_each(|entry| self.audit_job(entry))
    }

    fn audit_job(&self, entry: &Entry) -> Result<(), String> {
        let spans = entry.live.iter().filter_map(|id| self.attempts.get(id)).map(|attempt| attempt.span.len());
        holds(entry.issued_units == spans.sum::<u64>(), "the units that are out are miscounted")?;
        if entry.state.is_final() {
            return holds(entry.live.is_empty() && entry.issued.is_empty(), "a job that is over has work out");
        }
        let mut units = entry.open.units() + entry.done_units;
        for task in entry.issued.values() {
            units += task.span.len();
            let live = task.live.iter().all(|id| entry.live.contains(id));
            holds(live && !task.live.is_empty(), "a task is out with nobody")?;
        }
        units += entry.retries.values().map(|task| task.span.len()).sum::<u64>();
        holds(units == entry.units, "a job's units are not each in one place")?;
        holds(
            entry.done.keys().map(|span| span.len()).sum::<u64>() == entry.done_units,
            "finished units are miscounted",
        )
    }
}
