//! Who listens for events, and what each has yet to hear. A slow listener never holds anything up: what it has not
//! taken is kept as "this job changed", so it gets the newest state later, not every step. Jobs take turns: the one that
//! has waited longest to be told of comes first, however often others change. Who is too far behind, or furthest behind when
//! all together are, is let go: its stream ends, and it begins anew by looking at what there is.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt, channel::mpsc};
use p2pnet_shared::{
    api::{Event, JobSummary},
    id::{JobId, OwnerId},
    units::Moment,
};

use crate::{limits, platform};

/// All listeners.
#[derive(Default)]
pub(crate) struct Listeners {
    all: Vec<Listener>,
    ends: Vec<EndListener>,
    last_round: Moment,
    dirty: bool,
    /// A job ended, or went, since the last round: somebody may wait for just that.
    has_end: bool,
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

/// A queue for so many events of one listener, which holds few of them when they are long.
pub(crate) fn queue(events: usize) -> (Teller, Told) {
    let (sender, receiver) = mpsc::channel(events);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Teller { events: sender, bytes: Arc::clone(&bytes) }, Told { events: receiver, bytes })
}

/// The end of a listener's queue that events go into.
pub struct Teller {
    events: mpsc::Sender<Event>,
    /// Of those in the queue.
    bytes: Arc<AtomicUsize>,
}

/// The end that the listener takes them from.
pub(crate) struct Told {
    events: mpsc::Receiver<Event>,
    bytes: Arc<AtomicUsize>,
}

impl Teller {
    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < limits::LISTENER_UNREAD
    }

    /// Puts an event into the queue; gives it back when the queue is full.
    fn put(&mut self, event: Event) -> Result<(), Event> {
        // Before it can be taken.
        let bytes = bytes_of(&event);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.events.try_send(event).map_err(|error| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            error.into_inner()
        })
    }
}

impl Stream for Told {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = ready!(self.events.poll_next_unpin(cx));
        if let Some(event) = &event {
            self.bytes.fetch_sub(bytes_of(event), Ordering::Relaxed);
        }
        Poll::Ready(event)
    }
}

/// About as many bytes as an event takes in memory: what its owner wrote into a job is most of a long one.
fn bytes_of(event: &Event) -> usize {
    let fixed = size_of::<Event>();
    match event {
        Event::Job(summary) => {
            let JobSummary { name, labels, kind, computes, error, .. } = &**summary;
            let of_labels = labels.iter().map(|(key, value)| key.len() + value.len() + 2 * size_of::<String>());
            let of_error = error.iter().map(|refusal| refusal.message.len() + refusal.hint.len());
            let texts = name.iter().chain(computes).chain([kind]).map(String::len);
            fixed + size_of::<JobSummary>() + texts.chain(of_labels).chain(of_error).sum::<usize>()
        }
        Event::JobRemoved { id: _ } | Event::Network => fixed,
    }
}

struct Listener {
    hears: Hears,
    teller: Teller,
    changed: BTreeSet<JobId>,
    /// Those in the order in which they began to wait; some may be told or gone already, though never more of them than of
    /// the others.
    order: VecDeque<JobId>,
    removed: BTreeSet<JobId>,
    network: bool,
}

/// Hears of the ends of jobs alone, and of nothing else about them.
struct EndListener {
    events: mpsc::Sender<Vec<JobId>>,
    ended: BTreeSet<JobId>,
}

impl Listeners {
    /// One more. It hears of the network at once: what changed between its last look and now would else be missed.
    /// Beyond the bound it is dropped, which ends its stream.
    pub(crate) fn add(&mut self, teller: Teller, hears: Hears) {
        self.all.retain(|listener| !listener.teller.events.is_closed());
        if self.all.len() < limits::LISTENERS {
            self.all.push(Listener {
                hears,
                teller,
                changed: BTreeSet::new(),
                order: VecDeque::new(),
                removed: BTreeSet::new(),
                network: true,
            });
            self.dirty = true;
        }
    }

    /// One more who hears of the ends of all jobs, those of each round at once. Beyond the bound it is dropped.
    pub(crate) fn add_for_ends(&mut self, events: mpsc::Sender<Vec<JobId>>) {
        self.ends.retain(|listener| !listener.events.is_closed());
        if self.ends.len() < limits::LISTENERS {
            self.ends.push(EndListener { events, ended: BTreeSet::new() });
        }
    }

    /// A job of an owner changed; `is_over` if that was its end.
    pub(crate) fn job_changed(&mut self, id: JobId, owner: Option<OwnerId>, is_over: bool) {
        for listener in self.all.iter_mut().filter(|listener| listener.hears.takes(owner)) {
            listener.change(id);
        }
        if is_over {
            self.job_ended(id);
        }
        self.dirty = true;
    }

    fn job_ended(&mut self, id: JobId) {
        self.has_end = true;
        for listener in &mut self.ends {
            listener.ended.insert(id);
        }
    }

    /// A job of an owner is gone from the list.
    pub(crate) fn job_removed(&mut self, id: JobId, owner: OwnerId) {
        for listener in self.all.iter_mut().filter(|listener| listener.hears.takes(Some(owner))) {
            listener.remove(id);
        }
        self.job_ended(id);
        self.dirty = true;
    }

    /// The network or the lending side changed.
    pub(crate) fn network_changed(&mut self) {
        for listener in &mut self.all {
            listener.network = true;
        }
        self.dirty = true;
    }

    /// When [`Listeners::tell`] has something to do.
    pub(crate) fn due(&self) -> Option<Moment> {
        let pause = if self.has_end { limits::ENDS_INTERVAL } else { limits::EVENTS_INTERVAL };
        (self.dirty && !(self.all.is_empty() && self.ends.is_empty())).then(|| self.last_round + pause)
    }

    /// Tells everybody what they have not heard, as far as they take it: ends, which somebody waits for, at once to those who
    /// hear of nothing else. `summary` finds a job.
    pub(crate) fn tell(&mut self, now: Moment, summary: impl Fn(JobId) -> Option<JobSummary>) {
        self.ends.retain_mut(EndListener::tell);
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        self.last_round = now;
        self.has_end = false;
        let [most, most_together] = platform::LISTENER_BEHIND;
        self.all.retain_mut(|listener| listener.tell(&summary) && listener.behind() <= most);
        self.let_furthest_behind_go(most_together);
        self.dirty = self.all.iter().any(Listener::is_behind) || self.ends.iter().any(|ends| !ends.ended.is_empty());
    }

    /// Bounds what all listeners together have yet to hear.
    fn let_furthest_behind_go(&mut self, most: usize) {
        let mut behind: usize = self.all.iter().map(Listener::behind).sum();
        while behind > most {
            let furthest = (0..self.all.len()).max_by_key(|place| self.all.get(*place).map(Listener::behind));
            let Some(place) = furthest else { return };
            behind = behind.saturating_sub(self.all.swap_remove(place).behind());
        }
    }
}

impl EndListener {
    /// `false` when nobody listens any more.
    fn tell(&mut self) -> bool {
        if self.ended.is_empty() {
            return !self.events.is_closed();
        }
        match self.events.try_send(self.ended.iter().copied().collect()) {
            Ok(()) => {
                self.ended.clear();
                true
            }
            Err(error) => !error.is_disconnected(),
        }
    }
}

impl Listener {
    fn is_behind(&self) -> bool {
        self.network || !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// How many jobs it has yet to hear of.
    fn behind(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    /// A job is gone, whatever there was to tell of it.
    fn remove(&mut self, id: JobId) {
        self.removed.insert(id);
        if self.changed.remove(&id) && self.order.len() > 2 * self.changed.len() {
            self.order.retain(|waiting| self.changed.contains(waiting));
        }
    }

    /// A job waits to be told of, behind those that wait already.
    fn change(&mut self, id: JobId) {
        if self.changed.insert(id) {
            self.order.push_back(id);
        }
    }

    /// `false` when nobody listens any more.
    fn tell(&mut self, summary: &impl Fn(JobId) -> Option<JobSummary>) -> bool {
        while self.teller.has_room()
            && let Some(event) = self.next(summary)
        {
            if let Err(event) = self.teller.put(event) {
                self.put_back(event);
                break;
            }
        }
        !self.teller.events.is_closed()
    }

    fn next(&mut self, summary: &impl Fn(JobId) -> Option<JobSummary>) -> Option<Event> {
        if let Some(id) = self.removed.pop_first() {
            return Some(Event::JobRemoved { id });
        }
        while let Some(id) = self.order.pop_front() {
            if self.changed.remove(&id)
                && let Some(summary) = summary(id)
            {
                return Some(Event::Job(Box::new(summary)));
            }
        }
        std::mem::take(&mut self.network).then_some(Event::Network)
    }

    fn put_back(&mut self, event: Event) {
        match event {
            Event::Job(summary) => {
                self.changed.insert(summary.id);
                self.order.push_front(summary.id);
            }
            Event::JobRemoved { id } => _ = self.removed.insert(id),
            Event::Network => self.network = true,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt as _;
    use p2pnet_shared::{api::Progress, job::JobState};

    use super::*;

    fn id(n: u8) -> JobId {
        JobId([n; 16])
    }

    fn summary(id: JobId) -> Option<JobSummary> {
        Some(JobSummary {
            id,
            holder: p2pnet_shared::id::Holder::LOCAL,
            name: None,
            labels: std::collections::BTreeMap::new(),
            kind: "map".to_owned(),
            computes: None,
            state: JobState::Running,
            waiting: None,
            error: None,
            failed_parts: 0,
            progress: Progress::default(),
            created_at: Moment(0),
            finished_at: None,
        })
    }

    fn heard(receiver: &mut Told) -> Vec<Event> {
        std::iter::from_fn(|| receiver.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn a_new_listener_hears_of_the_network_and_then_each_change_once() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = queue(8);
        listeners.add(sender, Hears::Everything);
        listeners.tell(Moment(1_000), summary);
        assert_eq!(heard(&mut receiver), [Event::Network]);
        for _ in 0..100 {
            listeners.job_changed(id(1), Some(OwnerId::LOCAL), false);
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
        let (slow, mut late) = queue(0);
        let (quick, mut prompt) = queue(64);
        listeners.add(slow, Hears::Everything);
        listeners.add(quick, Hears::Everything);
        for n in 0..10 {
            listeners.job_changed(id(n), Some(OwnerId::LOCAL), false);
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
    fn a_listener_that_reads_hears_of_thousands_of_jobs_a_second() {
        let mut listeners = Listeners::default();
        let (teller, mut told) = queue(crate::handle::EVENT_QUEUE);
        listeners.add(teller, Hears::Everything);
        let (mut next, mut count) = (0, 0);
        for round in 1..=1_000 {
            for _ in 0..100 {
                listeners.job_changed(many(next), Some(OwnerId::LOCAL), false);
                listeners.job_removed(many(next + 1), OwnerId::LOCAL);
                next += 2;
            }
            listeners.tell(Moment(round * limits::EVENTS_INTERVAL.0), summary);
            count += heard(&mut told).iter().filter(|event| **event != Event::Network).count();
            assert_eq!((count, listeners.all.len()), (usize::try_from(next).unwrap(), 1), "in round {round}");
        }
    }

    #[test]
    fn jobs_that_change_all_the_time_keep_no_other_from_being_told_of() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = queue(3);
        listeners.add(sender, Hears::Everything);
        let mut told = [0; 100];
        for round in 1..200 {
            // Those with the least names change before each round, the last one only once.
            (0..20).for_each(|n| listeners.job_changed(id(n), Some(OwnerId::LOCAL), false));
            if round == 5 {
                listeners.job_changed(id(99), Some(OwnerId::LOCAL), false);
            }
            listeners.tell(Moment(round * 1_000), summary);
            for event in heard(&mut receiver) {
                if let Event::Job(job) = event {
                    told[usize::from(job.id.0[0])] += 1;
                }
            }
        }
        assert_eq!(told[99], 1);
        assert!(told[..20].iter().all(|times| told[0] - times <= 1), "{told:?}");
    }

    #[test]
    fn ends_are_told_at_once_to_who_waits_for_them_and_soon_to_everybody() {
        let mut listeners = Listeners::default();
        let (teller, mut all) = queue(8);
        let (sender, mut ends) = mpsc::channel(8);
        listeners.add(teller, Hears::Everything);
        listeners.add_for_ends(sender);
        listeners.tell(Moment(1_000), summary);
        _ = heard(&mut all);
        listeners.job_changed(id(1), Some(OwnerId::LOCAL), false);
        listeners.job_changed(id(2), Some(OwnerId::LOCAL), true);
        listeners.tell(Moment(1_000), summary);
        assert_eq!((ends.try_recv().unwrap(), heard(&mut all)), (vec![id(2)], vec![]));
        let due = listeners.due().unwrap();
        assert_eq!(due, Moment(1_000 + limits::ENDS_INTERVAL.0));
        listeners.tell(due, summary);
        assert_eq!(heard(&mut all).len(), 2);
        // One that only goes on is not as urgent.
        listeners.job_changed(id(1), Some(OwnerId::LOCAL), false);
        assert_eq!(listeners.due(), Some(due + limits::EVENTS_INTERVAL));
    }

    #[test]
    fn who_listens_for_ends_hears_of_each_once_and_of_many_at_once() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = mpsc::channel(0);
        listeners.add_for_ends(sender);
        for n in 0..200 {
            listeners.job_changed(id(n), Some(OwnerId::LOCAL), n % 2 == 0);
        }
        listeners.job_removed(id(201), OwnerId::LOCAL);
        listeners.tell(Moment(1_000), summary);
        assert_eq!(receiver.try_recv().unwrap().len(), 101);
        assert!(receiver.try_recv().is_err());
        // What nobody took yet is kept.
        for round in 2..5 {
            listeners.job_changed(id(100 + round), None, true);
            listeners.tell(Moment(u64::from(round) * 1_000), summary);
        }
        let told: Vec<JobId> = std::iter::from_fn(|| receiver.try_recv().ok()).flatten().collect();
        listeners.tell(Moment(9_000), summary);
        let later: Vec<JobId> = std::iter::from_fn(|| receiver.try_recv().ok()).flatten().collect();
        assert_eq!([told, later].concat(), [102, 103, 104].map(id));
        drop(receiver);
        listeners.job_changed(id(1), None, true);
        listeners.tell(Moment(10_000), summary);
        assert!(listeners.ends.is_empty());
    }

    fn many(n: u32) -> JobId {
        let [a, b, c, d] = n.to_be_bytes();
        JobId([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn what_a_listener_keeps_of_jobs_that_are_gone_does_not_grow_with_them() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = queue(0);
        listeners.add(sender, Hears::Everything);
        for n in 0..100_000 {
            listeners.job_changed(many(n), Some(OwnerId::LOCAL), false);
            listeners.job_removed(many(n), OwnerId::LOCAL);
            let kept = listeners.all.iter().map(|listener| listener.order.len() + listener.behind()).max();
            assert!(kept.unwrap_or(0) <= 2 * limits::LISTENER_BEHIND, "{kept:?} after {n}");
            if n % 1_000 == 0 {
                listeners.tell(Moment(u64::from(n) * 1_000), summary);
            }
        }
        // What it was told before is still there, and then it ends.
        _ = heard(&mut receiver);
        assert!(listeners.all.is_empty(), "a listener that takes nothing is let go");
    }

    #[test]
    fn a_burst_that_is_read_ends_no_stream_and_each_of_its_jobs_is_told_of() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = queue(16);
        listeners.add(sender, Hears::Everything);
        (0..10_000).for_each(|n| listeners.job_removed(many(n), OwnerId::LOCAL));
        let mut told = 0;
        for round in 1..1_000 {
            listeners.tell(Moment(round * 1_000), summary);
            told += heard(&mut receiver).iter().filter(|event| matches!(event, Event::JobRemoved { id: _ })).count();
        }
        assert_eq!((told, listeners.all.len()), (10_000, 1));
    }

    #[test]
    fn a_listener_that_does_not_read_holds_few_long_events_and_one_that_does_hears_of_all() {
        let mut listeners = Listeners::default();
        let long = |id| {
            let labels = (0..32).map(|n| (format!("{n}"), "x".repeat(1_000))).collect();
            summary(id).map(|summary| JobSummary { labels, ..summary })
        };
        let (sender, mut receiver) = queue(16);
        listeners.add(sender, Hears::Everything);
        (0..100).for_each(|n| listeners.job_changed(id(n), Some(OwnerId::LOCAL), false));
        for round in 1..50 {
            listeners.tell(Moment(round * 1_000), long);
        }
        let unread = |receiver: &Told| receiver.bytes.load(Ordering::Relaxed);
        let longest = bytes_of(&Event::Job(Box::new(long(id(0)).unwrap())));
        assert!(longest > 32_000 && unread(&receiver) < limits::LISTENER_UNREAD + longest, "{}", unread(&receiver));
        let mut told = 0;
        for round in 50..200 {
            told += heard(&mut receiver).iter().filter(|event| matches!(event, Event::Job(_))).count();
            listeners.tell(Moment(round * 1_000), long);
        }
        assert_eq!((told, unread(&receiver), listeners.due()), (100, 0, None));
    }

    #[test]
    fn of_all_listeners_together_the_one_furthest_behind_goes() {
        let mut listeners = Listeners::default();
        let mut receivers = Vec::new();
        let each = u32::try_from(limits::LISTENER_BEHIND / 2).unwrap();
        let count = limits::LISTENERS_BEHIND / (limits::LISTENER_BEHIND / 2) + 4;
        for n in 0..count {
            let (sender, receiver) = queue(0);
            listeners.add(sender, Hears::Of(OwnerId([u8::try_from(n).unwrap(); 16])));
            receivers.push(receiver);
        }
        // The last one is little behind.
        for n in 0..count {
            let changes = if n + 1 == count { 10 } else { each };
            let owner = OwnerId([u8::try_from(n).unwrap(); 16]);
            (0..changes).for_each(|job| listeners.job_changed(many(job), Some(owner), false));
        }
        listeners.tell(Moment(1_000), summary);
        let behind: usize = listeners.all.iter().map(Listener::behind).sum();
        assert!(behind <= limits::LISTENERS_BEHIND && listeners.all.len() >= count - 8, "{behind}");
        let last = Hears::Of(OwnerId([u8::try_from(count - 1).unwrap(); 16]));
        assert!(listeners.all.iter().any(|listener| listener.hears == last));
    }

    #[test]
    fn who_listens_for_an_owners_jobs_is_not_told_of_others() {
        let mut listeners = Listeners::default();
        let (sender, mut receiver) = queue(8);
        listeners.add(sender, Hears::Of(OwnerId([1; 16])));
        listeners.job_changed(id(1), Some(OwnerId::LOCAL), false);
        listeners.job_removed(id(2), OwnerId::LOCAL);
        listeners.job_removed(id(3), OwnerId([1; 16]));
        listeners.tell(Moment(1_000), summary);
        assert_eq!(heard(&mut receiver), [Event::JobRemoved { id: id(3) }, Event::Network]);
    }

    #[test]
    fn a_listener_that_is_gone_is_forgotten() {
        let mut listeners = Listeners::default();
        let (sender, receiver) = queue(8);
        listeners.add(sender, Hears::Everything);
        drop(receiver);
        listeners.tell(Moment(1_000), summary);
        assert!(listeners.all.is_empty());
        assert_eq!(listeners.due(), None);
    }
}
