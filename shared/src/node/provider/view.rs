//! What a person sees of the lending side.

use super::{AttemptStep, Provider};
use crate::{
    api::{IdleReason, ProviderView, RunningView},
    node::core::Core,
};

/// Batches that are shown.
const MOST_SHOWN: usize = 1000;

impl Provider {
    pub(in crate::node) fn view(&self, core: &Core) -> ProviderView {
        let running: Vec<RunningView> = self
            .attempts
            .iter()
            .filter_map(|((requester, id), attempt)| {
                Some(RunningView {
                    requester: *requester,
                    job: attempt.assignment.job,
                    attempt: *id,
                    tasks: attempt.tasks,
                    state: self.shown(attempt)?,
                    since: attempt.since,
                })
            })
            .take(MOST_SHOWN)
            .collect();
        let idle = if !self.settings.lending {
            Some(IdleReason::SwitchedOff)
        } else if self.settings.on_battery {
            Some(IdleReason::OnBattery)
        } else if self.attempts.values().any(|attempt| !matches!(attempt.state, AttemptStep::Done(_))) {
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
