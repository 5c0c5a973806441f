//! Who listens for events, and what each has yet to hear. A slow listener never holds anything up: what it has not
//! taken is kept as "this job changed", so it gets the newest state later, not every step.

use std::collections::BTreeSet;

use futures::channel::mpsc;
use p2pnet_shared::{
    api::{Event, JobSummary},
    id::{JobId, OwnerId},
    units::{Millis, Moment},
};

use crate::limits;

/// All listeners.
#[derive(Default)]
pub struct Listeners {
    all: Vec<Listener>,
    last_round: Moment,
    dirty: bool,
}

/// Which jobs a listener hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Everybody's.
    Everything,
    /// Those of one owner.
    Of(OwnerId),
}

impl Hears {
    fn takes(self, owner: Option<OwnerId>) -> bool {
        match self {
            Hears::Everything => true,
            Hears::Of(wanted) => owner == Some(wanted),
        }
    }
}

struct Listener {
    hears: Hears,
    events: mpsc::Sender<Event>,
    changed: BTreeSet<JobId>,
    removed: BTreeSet<JobId>,
    network: bool,
}

impl Listeners {
    /// One more. It hears of the network at once: what changed between its last look and now would else be missed.
    /// Beyond the bound it is dropped, which ends its stream.
    pub fn add(&mut self, events: mpsc::Sender<Event>, hears: Hears) {
        self.all.retain(|listener| !listener.events.is_closed());
        if self.all.len() < limits::LISTENERS {
            self.all.push(Listener {
                hears,
                events,
                changed: BTreeSet::new(),
                removed: BTreeSet::new(),
                network: true,
            });
            self.dirty = true;
        }
    }

    /// A job of an owner changed.
    pub fn job_changed(&mut self, id: JobId, owner: Option<OwnerId>) {
        for listener in self.all.iter_mut().filter(|listener| listener.hears.takes(owner)) {
            listener.changed.insert(id);
        }
        self.dirty = true;
    }

    /// A job of an owner is gone from the list.
    pub fn job_removed(&mut self, id: JobId, owner: OwnerId) {
        for listener in self.all.iter_mut().filter(|listener| listener.hears.takes(Some(owner))) {
            listener.changed.remove(&id);
            listener.removed.insert(id);
        }
        self.dirty = true;
    }

    /// The network or the lending side changed.
    pub fn network_changed(&mut self) {
        for listener in &mut self.all {
            listener.network = true;
        }
        self.dirty = true;
    }

    /// When [`Listeners::tell`] has something to do.
    pub fn due(&self) -> Option<Moment> {
        (self.dirty && !self.all.is_empty()).then(|| self.last_round + Millis(limits::EVENTS_MILLIS))
    }

    /// Tells everybody what they have not heard, as far as they take it. `summary` finds a job.
    pub fn tell(&mut self, now: Moment, summary: impl Fn(JobId) -> Option<JobSummary>) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        self.last_round = now;
        self.all.retain_mut(|listener| listener.tell(&summary));
        self.dirty = self.all.iter().any(Listener::is_behind);
    }
}

impl Listener {
    fn is_behind(&self) -> bool {
        self.network || !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// `false` when nobody listens any more.
    fn tell(&mut self, summary: &impl Fn(JobId) -> Option<JobSummary>) -> bool {
        while let Some(event) = self.next(summary) {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(error) if error.is_disconnected() => return false,
                Err(error) => {
                    self.put_back(error.into_inner());
                    break;
                }
            }
        }
        true
    }

    fn next(&mut self, summary: &impl Fn(JobId) -> Option<JobSummary>) -> Option<Event> {
        if let Some(id) = self.removed.pop_first() {
            return Some(Event::JobRemoved { id });
        }
        while let Some(id) = self.changed.pop_first() {
            if let Some(summary) = summary(id) {
                return Some(Event::Job(Box::new(summary)));
            }
        }
        std::mem::take(&mut self.network).then_some(Event::Network)
    }

    fn put_back(&mut self, event: Event) {
        match event {
            Event::Job(summary) => _ = self.changed.insert(summary.id),
            Event::JobRemoved { id } => _ = self.removed.insert(id),
            Event::Network => self.network = true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::{api::Progress, job::JobState};

    use super::*;

    fn id(n: u8) -> JobId {
        JobId([n; 16])
    }

    fn summary(id: JobId) -> Option<JobSummary> {
        Some(JobSummary {
            id,
            owner: OwnerId::LOCAL,
            household: OwnerId::LOCAL,
            name: None,
            labels: std::collections::BTreeMap::new(),
            kind: "map".to_owned(),
            state: JobState::Running,
            waiting: None,
            error: None,
            failed_parts: 0,
            progress: Progress::default(),
            created_at: Moment(0),
            finished_at: None,
        })
    }

    fn heard(receiver: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn a_new_listener_hears_of_the_network_and_then_each_change_once() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = mpsc::channel(8);
        listeners.add(sender, Hears::Everything);
        listeners.tell(Moment(1_000), summary);
        assert_eq!(heard(&mut receiver), [Event::Network]);
        for _ in 0..100 {
            listeners.job_changed(id(1), Some(OwnerId::LOCAL));
        }
        // Too soon after the last round.
        listeners.tell(Moment(1_001), summary);
        assert_eq!(heard(&mut receiver), []);
        listeners.tell(Moment(2_000), summary);
        assert_eq!(heard(&mut receiver), [Event::Job(Box::new(summary(id(1)).unwrap()))]);
        assert_eq!(listeners.due(), None);
    }

    #[test]
    fn a_slow_listener_gets_the_newest_state_later_and_holds_nobody_up() {
        let mut listeners = Listeners::default();
        let (slow, mut late) = mpsc::channel(0);
        let (quick, mut prompt) = mpsc::channel(64);
        listeners.add(slow, Hears::Everything);
        listeners.add(quick, Hears::Everything);
        for n in 0..10 {
            listeners.job_changed(id(n), Some(OwnerId::LOCAL));
        }
        listeners.job_removed(id(0), OwnerId::LOCAL);
        listeners.tell(Moment(1_000), summary);
        assert_eq!(heard(&mut prompt).len(), 11);
        let mut all = heard(&mut late);
        assert!(all.len() < 11);
        for round in 2..20 {
            listeners.tell(Moment(round * 1_000), summary);
            all.extend(heard(&mut late));
        }
        assert_eq!(all.len(), 11);
        assert_eq!(all[0], Event::JobRemoved { id: id(0) });
        assert_eq!(listeners.due(), None);
    }

    #[test]
    fn who_listens_for_an_owners_jobs_is_not_told_of_others() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = mpsc::channel(8);
        listeners.add(sender, Hears::Of(OwnerId([1; 16])));
        listeners.job_changed(id(1), Some(OwnerId::LOCAL));
        listeners.job_removed(id(2), OwnerId::LOCAL);
        listeners.job_removed(id(3), OwnerId([1; 16]));
        listeners.tell(Moment(1_000), summary);
        assert_eq!(heard(&mut receiver), [Event::JobRemoved { id: id(3) }, Event::Network]);
    }

    #[test]
    fn a_listener_that_is_gone_is_forgotten() {
        let mut listeners = Listeners::default();
        let (sender, receiver) = mpsc::channel(8);
        listeners.add(sender, Hears::Everything);
        drop(receiver);
        listeners.tell(Moment(1_000), summary);
        assert!(listeners.all.is_empty());
        assert_eq!(listeners.due(), None);
    }
}
