//! Making one result of what a job's tasks put out. Little of it is merged at once. More can take a second and longer: that is
//! the host's to do beside the node, which answers everybody meanwhile. A few such merges are out at a time, of each network
//! one, so that many of one keep nobody else's waiting. What is out is in nobody's books; what waits is in its owner's, but for
//! what was complete when the process began.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use super::{
    Requester,
    over::End,
    running::{Phase, Running},
};
use crate::{
    id::{JobId, OwnerId},
    job::{Done, Plan},
    node::{HostOrder, audit::holds, core::Core},
    refusal::{Code, Refusal},
};

/// Bytes of outputs that are merged at once: some milliseconds of work for the kind that takes longest.
const AT_ONCE: u64 = 128 << 10;
/// Merges that are out at a time: each holds a job's outputs, and its result besides.
const MOST_OUT: usize = 2;

/// All that a job's tasks put out, to be made one result.
pub struct Merge {
    plan: Arc<dyn Plan>,
    done: Arc<Done>,
}

impl Merge {
    pub(super) fn new(plan: Arc<dyn Plan>, done: Arc<Done>) -> Self {
        Self { plan, done }
    }

    /// Does the work. It takes as long as the outputs are large, and needs nothing else.
    pub fn run(self) -> Merged {
        let failed_parts = self.plan.failed_parts(&self.done);
        match (self.plan.merge(&self.done), self.plan.failure(&self.done)) {
            (Ok(result), refusal) => Merged { result: Some(result), refusal, failed_parts },
            (Err(refusal), _) => Merged { result: None, refusal: Some(refusal), failed_parts },
        }
    }
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge").field("spans", &self.done.len()).finish_non_exhaustive()
    }
}

/// What came of a [`Merge`].
#[derive(Debug)]
pub struct Merged {
    /// The result's value as JSON text; there may be one although the job failed.
    result: Option<String>,
    /// Why the job failed.
    refusal: Option<Refusal>,
    /// How many of its parts did.
    failed_parts: u64,
}

impl Merged {
    /// Of a merge that a host could not bring to an end.
    pub fn broken() -> Self {
        let refusal = Refusal::new(Code::Internal, "the outputs could not be put together", "submit the job again");
        Self { result: None, refusal: Some(refusal), failed_parts: 0 }
    }
}

/// Merges that are with the host, and jobs that wait for one.
#[derive(Default)]
pub(super) struct Merges {
    /// Of which network, and which job.
    out: BTreeMap<OwnerId, JobId>,
    waiting: VecDeque<(OwnerId, JobId)>,
}

impl Merges {
    /// Whether the host has a job's outputs.
    pub(super) fn is_out(&self, job: JobId) -> bool {
        self.out.values().any(|out| *out == job)
    }

    /// The next one to go out, which then is.
    fn begins(&mut self) -> Option<JobId> {
        if self.out.len() >= MOST_OUT {
            return None;
        }
        let place = self.waiting.iter().position(|(network, _)| !self.out.contains_key(network))?;
        let (network, job) = self.waiting.remove(place)?;
        self.out.insert(network, job);
        Some(job)
    }

    /// The host is through with one.
    fn through(&mut self, job: JobId) {
        self.out.retain(|_, out| *out != job);
    }

    /// Whether these and the jobs that are not over agree.
    pub(super) fn audit<'j>(&self, jobs: impl Iterator<Item = &'j Running>) -> Result<(), String> {
        let mut known = BTreeSet::new();
        for job in self.waiting.iter().map(|(_, job)| job).chain(self.out.values()) {
            holds(known.insert(*job), "a job is merged twice")?;
        }
        let merging: BTreeSet<JobId> =
            jobs.filter(|entry| entry.phase == Phase::Merging).map(|entry| entry.id).collect();
        holds(merging.is_subset(&known), "a job waits for a merge that nobody does")?;
        let waiting = self.waiting.iter().all(|(_, job)| merging.contains(job));
        holds(waiting && self.out.len() <= MOST_OUT, "what is merged and the jobs disagree")
    }

    /// A job is over. What the host merges of it goes on, and counts until it is through.
    pub(super) fn ended(&mut self, job: JobId) {
        self.waiting.retain(|(_, waiting)| *waiting != job);
    }
}

impl Requester {
    /// Makes one result of what a job has gathered, which is everything, or has the host do it.
    pub(super) fn merge(&mut self, core: &mut Core, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id).filter(|entry| entry.phase != Phase::Merging) else { return };
        entry.phase = Phase::Merging;
        entry.told.change();
        if entry.gathered.bytes() <= AT_ONCE {
            let merge = entry.merge();
            return self.take_merged(core, id, merge.run());
        }
        self.merges.waiting.push_back((entry.holder.network, id));
        self.refresh(id);
        self.begin_merges(core);
    }

    /// The host is through with a merge.
    pub(in crate::node) fn merged(&mut self, core: &mut Core, id: JobId, merged: Merged) {
        self.merges.through(id);
        self.take_merged(core, id, merged);
        self.begin_merges(core);
    }

    fn begin_merges(&mut self, core: &mut Core) {
        while let Some(id) = self.merges.begins() {
            match self.jobs.get_mut(&id) {
                Some(entry) => {
                    let merge = entry.merge();
                    self.owners.gives_back(entry.holder, entry.gathered.unbook());
                    core.order(HostOrder::Merge { job: id, merge });
                }
                None => self.merges.through(id),
            }
        }
    }

    fn take_merged(&mut self, core: &mut Core, id: JobId, merged: Merged) {
        let Merged { result, refusal, failed_parts } = merged;
        let end = match (result, refusal) {
            (Some(result), None) => End { failed_parts, ..End::completed(result) },
            (result, refusal) => {
                let nothing = || Refusal::new(Code::Internal, "the job came to nothing", "submit it again");
                End { result, failed_parts, ..End::failed(refusal.unwrap_or_else(nothing)) }
            }
        };
        self.finish(core, id, end);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use crate::{
        api::JobSummary,
        id::{Holder, JobId, OwnerId},
        job::{JobState, kinds},
        node::{
            Effect, HostOrder, Input, Merge, Merged, Node,
            requester::tests::{keep_all, node},
        },
        refusal::Code,
        units::{Moment, Span},
    };

    /// A kernel job of one part.
    fn submit(node: &mut Node, number: u8, holder: Holder) -> JobId {
        let kernel = wat::parse_str(
            r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 0)
            (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
        )
        .unwrap();
        let source = format!(r#"{{"kind":"kernel","kernel":"{}","input":"YQ=="}}"#, STANDARD.encode(kernel));
        let mut job = kinds::read(&source, &|_| None).unwrap();
        job.holder = holder;
        let id = JobId([number; 16]);
        node.handle(Moment(1), Input::Submitted { id, job: Box::new(job) });
        id
    }

    /// All that a job asked for is there: so many bytes.
    fn complete(node: &mut Node, id: JobId, bytes: usize) {
        let entry = node.requester.jobs.get_mut(&id).unwrap();
        let units = Span { start: 0, end: entry.units };
        entry.stages.close(units);
        entry.keep(units, vec![vec![0; bytes]]);
        node.requester.refresh(id);
        node.requester.check_done(&mut node.core, id);
        assert_eq!(node.audit(), Ok(()));
    }

    fn merges(node: &mut Node) -> Vec<(JobId, Merge)> {
        let mut merges = Vec::new();
        while let Some(effect) = node.poll_effect() {
            if let Effect::Host(HostOrder::Merge { job, merge }) = effect {
                merges.push((job, merge));
            }
        }
        merges
    }

    fn ids(merges: &[(JobId, Merge)]) -> Vec<JobId> {
        merges.iter().map(|(job, _)| *job).collect()
    }

    /// What is shown of a job once all is kept that was to be.
    fn summary(node: &mut Node, id: JobId) -> JobSummary {
        keep_all(node);
        node.summary(id).unwrap()
    }

    fn state(node: &mut Node, id: JobId) -> JobState {
        summary(node, id).state
    }

    #[test]
    fn little_is_merged_at_once_and_much_by_the_host_one_of_a_network_at_a_time() {
        let mut node = node();
        let [one, other] = [b"one", b"two"].map(|name| Holder::of(OwnerId::of(name)));
        let jobs: Vec<JobId> = (0..4).map(|number| submit(&mut node, number, one)).collect();
        let his = submit(&mut node, 9, other);
        complete(&mut node, jobs[0], 1_000);
        assert_eq!(state(&mut node, jobs[0]), JobState::Completed);
        for id in &jobs[1..] {
            complete(&mut node, *id, 200_000);
        }
        complete(&mut node, his, 200_000);
        let out = merges(&mut node);
        assert_eq!(ids(&out), [jobs[1], his], "neither network waits for the other");
        assert_eq!([jobs[1], jobs[2], his].map(|id| state(&mut node, id)), [JobState::Verifying; 3]);
        // One that waits is stopped, then the one that is out.
        node.handle(Moment(2), Input::Cancelled { id: jobs[2] });
        node.handle(Moment(2), Input::Cancelled { id: jobs[1] });
        assert!(merges(&mut node).is_empty(), "what the host works on counts until it is through");
        let mut out = out.into_iter();
        let (job, merge) = out.next().unwrap();
        node.handle(Moment(3), Input::Merged { job, merged: merge.run() });
        let next = merges(&mut node);
        assert_eq!(ids(&next), [jobs[3]]);
        assert_eq!(state(&mut node, jobs[1]), JobState::Cancelled);
        for (job, merge) in out.chain(next) {
            node.handle(Moment(4), Input::Merged { job, merged: merge.run() });
        }
        assert_eq!([jobs[3], his].map(|id| state(&mut node, id)), [JobState::Completed; 2]);
        assert!(node.requester.merges.out.is_empty() && node.requester.merges.waiting.is_empty());
        assert_eq!(node.audit(), Ok(()));
    }

    #[test]
    fn a_result_that_there_is_no_room_for_fails_its_job_and_takes_nobody_elses() {
        let mut node = node();
        node.core.config.keep.bytes = 8 << 20;
        let [one, other] = [b"one", b"two"].map(|name| Holder::of(OwnerId::of(name)));
        let end = |node: &mut Node, number: u8, holder: Holder, bytes: usize| {
            let id = submit(node, number, holder);
            complete(node, id, bytes);
            for (job, merge) in merges(node) {
                node.handle(Moment(2), Input::Merged { job, merged: merge.run() });
            }
            assert_eq!(node.audit(), Ok(()));
            id
        };
        // In base64 they are a third larger.
        let mine: Vec<JobId> = (0..3).map(|number| end(&mut node, number, one, 3 << 19)).collect();
        let large = end(&mut node, 3, other, 5 << 20);
        assert!(mine.iter().all(|id| state(&mut node, *id) == JobState::Completed));
        let error = summary(&mut node, large).error.unwrap();
        assert!(error.code == Code::TooLarge && error.message.contains("7 MiB"), "{}", error.message);
        let no_result = node.result(large).unwrap_err();
        assert!(
            matches!(&no_result, crate::node::NoResult::Because(why) if why.code == Code::NoResult),
            "{no_result:?}"
        );
        let fits = end(&mut node, 4, other, 1 << 20);
        assert_eq!(state(&mut node, fits), JobState::Completed);
        // Alone, too, one that is larger than all that is kept.
        let beyond = end(&mut node, 5, other, 7 << 20);
        assert_eq!(summary(&mut node, beyond).error.unwrap().code, Code::TooLarge);
        assert!(
            mine.iter().chain([&fits]).all(|id| node.result(*id).is_ok()),
            "nobody gives for what does not fit anyway"
        );
        node.handle(Moment(3), Input::Tick);
        assert_eq!(summary(&mut node, beyond).state, JobState::Failed, "its line stays");
    }

    #[test]
    fn what_waits_is_in_its_owners_books_and_what_is_out_is_not() {
        let mut node = node();
        let holder = Holder::of(OwnerId::of(b"one"));
        let jobs: Vec<JobId> = (0..4).map(|number| submit(&mut node, number, holder)).collect();
        for id in &jobs {
            // As if each had gathered so much.
            let entry = node.requester.jobs.get_mut(id).unwrap();
            entry.gathered.weigh(300 << 20);
            complete(&mut node, *id, 1_000);
        }
        let states: Vec<JobState> = jobs.iter().map(|id| state(&mut node, *id)).collect();
        assert_eq!(states.iter().filter(|state| **state == JobState::Verifying).count(), 3, "{states:?}");
        let error = jobs.iter().find_map(|id| summary(&mut node, *id).error).unwrap();
        assert!(error.code == Code::TooLarge && error.message.contains("768 MiB together"), "{}", error.message);
        let mut seen = 0;
        loop {
            let out = merges(&mut node);
            assert!(out.len() <= 1, "of a network one is out");
            let Some((job, merge)) = out.into_iter().next() else { break };
            node.handle(Moment(3), Input::Merged { job, merged: merge.run() });
            assert_eq!(state(&mut node, job), JobState::Completed);
            assert_eq!(node.audit(), Ok(()));
            seen += 1;
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn a_restart_ends_no_complete_job_for_what_its_owner_holds() {
        let holder = Holder::of(OwnerId::of(b"one"));
        // What there was before a kill: one out, one that waited, and one that gathered. Which comes first now is chance.
        for names in [[1, 2, 3], [2, 1, 3], [3, 2, 1], [2, 3, 1]] {
            let mut node = node();
            let jobs = names.map(|name| submit(&mut node, name, holder));
            for (id, mib) in jobs.into_iter().zip([500, 300, 400]) {
                let entry = node.requester.jobs.get_mut(&id).unwrap();
                if id != jobs[2] {
                    let units = Span { start: 0, end: entry.units };
                    entry.stages.close(units);
                    entry.keep(units, vec![vec![0; 1_000]]);
                }
                entry.gathered.weigh(mib << 20);
            }
            node.requester.go_on(&mut node.core);
            assert_eq!(node.audit(), Ok(()));
            let states = jobs.map(|id| state(&mut node, id));
            assert_eq!(states, [JobState::Verifying, JobState::Verifying, JobState::Queued], "{names:?}");
            while let Some((job, merge)) = merges(&mut node).pop() {
                node.handle(Moment(3), Input::Merged { job, merged: merge.run() });
                assert_eq!(node.audit(), Ok(()));
            }
            assert_eq!([jobs[0], jobs[1]].map(|id| state(&mut node, id)), [JobState::Completed; 2]);
        }
    }

    #[test]
    fn a_merge_that_breaks_fails_its_job_only() {
        let mut node = node();
        let holder = Holder::of(OwnerId::of(b"one"));
        let jobs = [1, 2].map(|number| submit(&mut node, number, holder));
        for id in &jobs {
            complete(&mut node, *id, 200_000);
        }
        let (job, _) = merges(&mut node).remove(0);
        node.handle(Moment(2), Input::Merged { job, merged: Merged::broken() });
        assert_eq!(summary(&mut node, job).error.unwrap().code, Code::Internal);
        let (job, merge) = merges(&mut node).remove(0);
        node.handle(Moment(3), Input::Merged { job, merged: merge.run() });
        assert_eq!(state(&mut node, job), JobState::Completed);
    }
}
