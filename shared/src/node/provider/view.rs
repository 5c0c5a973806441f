//! What a person sees of the lending side.

use super::{Provider, WorkState};
use crate::{
    api::{IdleReason, ProviderView, RunningView},
    node::core::Core,
};

/// Batches that are shown.
const MOST_SHOWN: usize = 1000;

impl Provider {
    pub(in crate::node) fn view(&self, core: &Core) -> ProviderView {
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
