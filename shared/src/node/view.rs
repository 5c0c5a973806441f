//! What a person sees of a node. Nothing here costs more than the attempts and nodes that it shows.

use std::ops::Bound;

use super::{
    Node,
    broker::meets,
    core::Core,
    entry::{Entry, MOST_SHOWN},
    provider::{Provider, WorkState},
    requester::{Requester, cut},
};
use crate::{
    api::{
        AttemptView, IdleReason, JobStatus, JobSummary, NetworkView, NodeShare, NodeView, Progress, ProviderView,
        RunningView,
    },
    id::{JobId, NodeId},
    job::{Elapsed, JobState, WaitReason},
    units::Moment,
    wire::Offer,
};

/// Bytes of a job's source that are shown.
pub(super) const MOST_SOURCE_SHOWN: usize = 4 << 10;
/// Nodes that are shown.
const MOST_NODES: usize = 1000;

impl Node {
    pub(super) fn summarise(&self, entry: &Entry) -> JobSummary {
        entry.summary(self.core.now, self.requester.waiting(&self.core, entry))
    }

    pub(super) fn status(&self, entry: &Entry) -> JobStatus {
        let live = entry.live.iter().filter_map(|id| Some(self.requester.attempts.get(id)?.view(*id)));
        let mut attempts: Vec<AttemptView> = entry.ended.iter().cloned().chain(live).collect();
        attempts.sort_by_key(|attempt| attempt.id);
        attempts.drain(..attempts.len().saturating_sub(MOST_SHOWN));
        let nodes = most_units_first(entry.shares.values().cloned().collect());
        JobStatus {
            summary: self.summarise(entry),
            requirements: entry.requirements,
            policy: entry.policy,
            elapsed: entry.elapsed(self.core.now),
            source: cut(&entry.source, MOST_SOURCE_SHOWN).to_owned(),
            attempts,
            attempts_total: entry.attempts_total,
            nodes,
            partial: entry.partial.clone(),
        }
    }

    pub(super) fn network_view(&self) -> NetworkView {
        let core = &self.core;
        let mut nodes: std::collections::BTreeMap<NodeId, NodeView> = core
            .peers
            .connected()
            .map(|(node, peer)| {
                let greeting = peer.greeting.as_ref();
                let view = NodeView {
                    node,
                    role: greeting.map(|greeting| greeting.role),
                    agent: greeting.map(|greeting| greeting.agent.clone()).unwrap_or_default(),
                    path: Some(peer.path.clone()),
                    transport: Some(peer.transport.to_owned()),
                    round_trip_millis: peer.round_trip_millis,
                    offer: None,
                };
                (node, view)
            })
            .collect();
        let found = self.requester.candidates.iter().filter_map(|(_, candidate)| candidate.fresh(core.now));
        for offer in found.chain(self.broker.offers().map(|(_, offer)| offer)) {
            if offer.node == core.me() {
                continue;
            }
            nodes.entry(offer.node).or_insert_with(|| unconnected(offer)).offer = Some(offer.clone());
        }
        let nodes_total = nodes.len() as u64;
        // Connected nodes first, if not all can be shown.
        let mut nodes: Vec<NodeView> = nodes.into_values().collect();
        if nodes.len() > MOST_NODES {
            nodes.sort_by_key(|view| (view.path.is_none(), view.node));
            nodes.truncate(MOST_NODES);
            nodes.sort_by_key(|view| view.node);
        }
        NetworkView {
            me: core.me(),
            role: core.config.role,
            online: core.is_online(),
            nodes,
            nodes_total,
            provider: self.provider.view(core),
        }
    }
}

fn unconnected(offer: &Offer) -> NodeView {
    NodeView {
        node: offer.node,
        role: Some(offer.role),
        agent: offer.agent.clone(),
        path: None,
        transport: None,
        round_trip_millis: None,
        offer: None,
    }
}

impl Provider {
    fn view(&self, core: &Core) -> ProviderView {
        let running: Vec<RunningView> = self
            .works
            .iter()
            .filter_map(|((requester, attempt), work)| {
                Some(RunningView {
                    requester: *requester,
                    job: work.assignment.job,
                    attempt: *attempt,
                    tasks: work.tasks,
                    state: self.shown(work)?,
                    since: work.since,
                })
            })
            .take(MOST_SHOWN)
            .collect();
        let idle = if !self.settings.lending {
            Some(IdleReason::SwitchedOff)
        } else if self.settings.on_battery {
            Some(IdleReason::OnBattery)
        } else if self.works.values().any(|work| !matches!(work.state, WorkState::Done(_))) {
            None
        } else if !core.is_online() && core.peers.connected().next().is_none() {
            Some(IdleReason::NotConnected)
        } else {
            Some(IdleReason::NoWork)
        };
        ProviderView {
            settings: self.settings,
            idle,
            running,
            queued: u32::try_from(self.queued()).unwrap_or(u32::MAX),
            tasks_done: self.tasks_done,
            gas_done: self.gas_done,
            busy_micros: self.busy_micros,
        }
    }
}

impl Requester {
    /// Notes jobs that wait for another reason than when they were last told of. A reason costs a look at every offer, so
    /// each call looks at some jobs only, in turn.
    pub(super) fn note_reasons(&mut self, core: &Core) {
        const MOST_LOOKED_AT: usize = 32;
        let (ahead, behind) = match self.reasons_noted {
            Some(last) => (Bound::Excluded(last), Some(last)),
            None => (Bound::Unbounded, None),
        };
        let rest = behind.into_iter().flat_map(|last| self.jobs.range(..=last));
        let looked: Vec<JobId> =
            self.jobs.range((ahead, Bound::Unbounded)).chain(rest).map(|(id, _)| *id).take(MOST_LOOKED_AT).collect();
        self.reasons_noted = looked.last().copied();
        for id in looked {
            let Some(entry) = self.jobs.get(&id) else { continue };
            if entry.told_reason != self.waiting(core, entry) {
                self.changed.insert(id);
            }
        }
    }

    /// Why a job does not move, if it does not.
    pub(super) fn waiting(&self, core: &Core, entry: &Entry) -> Option<WaitReason> {
        match entry.state {
            JobState::Queued | JobState::Running => {}
            JobState::Verifying | JobState::Completed | JobState::Failed | JobState::Cancelled | JobState::Expired => {
                return None;
            }
        }
        let now = core.now;
        if entry.open.is_empty() && !entry.issued.is_empty() {
            let batches = u32::try_from(entry.issued.len()).unwrap_or(u32::MAX);
            return Some(WaitReason::TasksRunning { batches });
        }
        if !entry.issued.is_empty() {
            return None;
        }
        let paused = entry.retries.values().map(|task| task.not_before).min();
        if let Some(at) = paused.filter(|at| entry.open.is_empty() && *at > now) {
            return Some(WaitReason::Retrying { at });
        }
        let mut offers = 0u32;
        let mut fitting = 0u32;
        let mut reached = 0u32;
        for (node, candidate) in self.candidates.iter() {
            let Some(offer) = candidate.fresh(now) else { continue };
            offers += 1;
            if meets(offer, &entry.requirements) && !entry.unfit.contains(&node) {
                fitting += 1;
                reached += u32::from(core.reaches(node));
            }
        }
        let dialling = u32::try_from(self.candidates.dialling()).unwrap_or(u32::MAX);
        Some(if reached > 0 {
            WaitReason::AllBusy
        } else if fitting > 0 {
            WaitReason::Connecting { nodes: dialling.max(1) }
        } else if offers > 0 || (core.is_online() && self.known_offers > 0 && !self.asked.is_empty()) {
            WaitReason::NoneMeetsRequirements
        } else if core.is_online() {
            WaitReason::NoProviders
        } else {
            WaitReason::NotConnected
        })
    }
}

impl Entry {
    /// What a list shows of it.
    pub(super) fn summary(&self, now: Moment, waiting: Option<WaitReason>) -> JobSummary {
        JobSummary {
            id: self.id,
            holder: self.holder,
            name: self.metadata.name.clone(),
            labels: self.metadata.labels.clone(),
            kind: self.kind.clone(),
            state: self.state,
            waiting,
            error: self.error.clone(),
            failed_parts: self.failed_parts,
            progress: self.progress(now),
            created_at: self.created_at,
            finished_at: self.finished_at,
        }
    }

    fn progress(&self, now: Moment) -> Progress {
        let left = self.units.saturating_sub(self.done_units);
        let crowd = self.paces.crowd();
        let remaining_seconds = if self.state.is_final() || self.done_units == 0 {
            None
        } else if crowd > 0 {
            Some(seconds(u128::from(left) * 1000, u128::from(crowd)))
        } else {
            let ran = self.started_at.map_or(0, |at| (now - at).0);
            Some(seconds(u128::from(left) * u128::from(ran), u128::from(self.done_units) * 1000))
        };
        Progress {
            units_total: self.units,
            units_done: self.done_units,
            units_running: self.issued_units.min(left),
            gas: self.gas,
            percent: percent(self.done_units, self.units),
            remaining_seconds,
        }
    }

    fn elapsed(&self, now: Moment) -> Elapsed {
        elapsed(self.created_at, self.started_at, self.finished_at.unwrap_or(now))
    }
}

/// Time spent until `end`.
pub(super) fn elapsed(created_at: Moment, started_at: Option<Moment>, end: Moment) -> Elapsed {
    Elapsed {
        waited: started_at.unwrap_or(end) - created_at,
        ran: started_at.map_or_else(Default::default, |at| end - at),
    }
}

/// Whole percent, rounded down.
pub(super) fn percent(done: u64, units: u64) -> u8 {
    u8::try_from(u128::from(done) * 100 / u128::from(units.max(1))).unwrap_or(100)
}

/// Nodes by what they did, as many as are shown.
pub(super) fn most_units_first(mut nodes: Vec<NodeShare>) -> Vec<NodeShare> {
    nodes.sort_by_key(|share| std::cmp::Reverse(share.units));
    nodes.truncate(MOST_SHOWN);
    nodes
}

/// A quotient of seconds, rounded up.
fn seconds(dividend: u128, divisor: u128) -> u64 {
    u64::try_from(dividend.div_ceil(divisor.max(1))).unwrap_or(u64::MAX)
}
