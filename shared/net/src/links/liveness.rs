//! Which connections are of no use: those that take nothing of what waits for them, answer no ping, or carry nothing. A
//! plain value that is told what moves on each, and when.

use std::collections::BTreeMap;

use libp2p::swarm::ConnectionId;
use p2pnet_shared::units::Moment;

use crate::limits;

/// How a connection's writer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writing {
    /// Bytes that wait.
    pub queued: usize,
    /// Bytes that the connection has taken since it was opened.
    pub written: u64,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// It may be quiet for ever: its node is a seed of ours, or we are one.
    pub needed: bool,
    /// Another one is spoken on, and this has carried nothing.
    pub spare: bool,
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// It takes nothing of what waits for it.
    Stalled,
    /// There is another one, and this carried nothing.
    Spare,
    /// Nobody said anything.
    Idle,
}

struct Pulse {
    last_message: Moment,
    /// Bytes written when last looked, and when that number last changed or nothing waited.
    progress: (u64, Moment),
    failed_pings: u32,
    /// What had been written and when something had come, when a ping failed last.
    at_last_failure: (u64, Moment),
}

/// What moves on each connection.
#[derive(Default)]
pub(super) struct Liveness {
    of: BTreeMap<ConnectionId, Pulse>,
}

impl Liveness {
    /// A connection was made.
    pub(super) fn connected(&mut self, now: Moment, id: ConnectionId) {
        let pulse = Pulse { last_message: now, progress: (0, now), failed_pings: 0, at_last_failure: (0, now) };
        self.of.insert(id, pulse);
    }

    /// It is gone.
    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.of.remove(&id);
    }

    /// Our stream on it is open.
    pub(super) fn opened(&mut self, now: Moment, id: ConnectionId) {
        if let Some(pulse) = self.of.get_mut(&id) {
            pulse.progress = (0, now);
        }
    }

    /// A message went over it, either way.
    pub(super) fn message(&mut self, now: Moment, id: ConnectionId) {
        if let Some(pulse) = self.of.get_mut(&id) {
            pulse.last_message = now;
        }
    }

    /// It answered a ping.
    pub(super) fn ping_answered(&mut self, id: ConnectionId) {
        if let Some(pulse) = self.of.get_mut(&id) {
            pulse.failed_pings = 0;
        }
    }

    /// It did not: whether it is dead. On a slow line that is full of our own data a ping comes late; what moves is alive.
    pub(super) fn ping_failed(&mut self, id: ConnectionId, written: u64) -> bool {
        let Some(pulse) = self.of.get_mut(&id) else { return false };
        let state = (written, pulse.last_message);
        if std::mem::replace(&mut pulse.at_last_failure, state) == state {
            pulse.failed_pings += 1;
        } else {
            pulse.failed_pings = 1;
        }
        pulse.failed_pings >= limits::PING_FAILURES
    }

    /// Looks at a connection on which we can speak: why it is to be closed, if it is.
    pub(super) fn look(&mut self, now: Moment, id: ConnectionId, writing: Writing, used: Use) -> Option<Useless> {
        let pulse = self.of.get_mut(&id)?;
        if writing.queued == 0 || writing.written != pulse.progress.0 {
            pulse.progress = (writing.written, now);
        }
        let quiet = now - pulse.last_message;
        if now - pulse.progress.1 >= limits::STALLED_TIME {
            Some(Useless::Stalled)
        } else if used.spare && quiet >= limits::SPARE_TIME {
            Some(Useless::Spare)
        } else if !used.needed && quiet >= limits::IDLE_TIME {
            Some(Useless::Idle)
        } else {
            None
        }
    }
}

/// The connection with the longest queue, if all queues together are too long.
pub(super) fn overfull(queues: impl Iterator<Item = (ConnectionId, usize)>) -> Option<ConnectionId> {
    let (mut total, mut longest) = (0_usize, None);
    for (id, queued) in queues {
        total = total.saturating_add(queued);
        longest = longest.max(Some((queued, id)));
    }
    longest.filter(|_| total > limits::OUTGOING_BYTES_TOTAL).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::units::Millis;

    use super::*;

    const START: Moment = Moment(1_000);
    const NOTHING: Writing = Writing { queued: 0, written: 0 };
    const ORDINARY: Use = Use { needed: false, spare: false };
    const NEEDED: Use = Use { needed: true, spare: false };

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn after(millis: u64) -> Moment {
        START + Millis(millis)
    }

    fn one() -> Liveness {
        let mut liveness = Liveness::default();
        liveness.connected(START, id(1));
        liveness.opened(START, id(1));
        liveness
    }

    #[test]
    fn a_connection_that_takes_nothing_of_what_waits_is_stalled_and_one_that_moves_is_not() {
        let mut liveness = one();
        let waits = |written| Writing { queued: 9, written };
        assert_eq!(liveness.look(after(limits::STALLED_TIME.0 - 1), id(1), waits(0), NEEDED), None);
        assert_eq!(liveness.look(after(limits::STALLED_TIME.0), id(1), waits(0), NEEDED), Some(Useless::Stalled));
        let mut liveness = one();
        for step in 1..9 {
            let now = after(step * (limits::STALLED_TIME.0 - 1));
            assert_eq!(liveness.look(now, id(1), waits(step), NEEDED), None, "a byte each time is enough");
        }
        let mut liveness = one();
        assert_eq!(liveness.look(after(limits::STALLED_TIME.0), id(1), NOTHING, NEEDED), None, "nothing waits");
        let begins = after(limits::STALLED_TIME.0 + 1);
        assert_eq!(liveness.look(begins, id(1), waits(0), NEEDED), None, "what waits has its own time");
    }

    #[test]
    fn a_quiet_connection_is_idle_unless_it_is_needed_and_a_spare_one_goes_sooner() {
        let mut liveness = one();
        let spare = Use { needed: true, spare: true };
        assert_eq!(liveness.look(after(limits::SPARE_TIME.0 - 1), id(1), NOTHING, spare), None);
        assert_eq!(liveness.look(after(limits::SPARE_TIME.0), id(1), NOTHING, spare), Some(Useless::Spare));
        assert_eq!(liveness.look(after(limits::IDLE_TIME.0 - 1), id(1), NOTHING, ORDINARY), None);
        assert_eq!(liveness.look(after(limits::IDLE_TIME.0), id(1), NOTHING, NEEDED), None);
        assert_eq!(liveness.look(after(limits::IDLE_TIME.0), id(1), NOTHING, ORDINARY), Some(Useless::Idle));
        liveness.message(after(limits::IDLE_TIME.0), id(1));
        assert_eq!(liveness.look(after(limits::IDLE_TIME.0 + 1), id(1), NOTHING, ORDINARY), None);
    }

    #[test]
    fn pings_that_fail_in_a_row_close_a_connection_on_which_nothing_moves() {
        let mut liveness = one();
        let failures: Vec<bool> = (0..limits::PING_FAILURES).map(|_| liveness.ping_failed(id(1), 0)).collect();
        assert_eq!(failures.iter().filter(|dead| **dead).count(), 1);
        assert!(failures.last().is_some_and(|dead| *dead));
        assert!(!liveness.ping_failed(id(2), 0), "one that is gone is nobody's");
    }

    #[test]
    fn what_is_written_or_comes_or_answers_in_between_is_a_sign_of_life() {
        let mut liveness = one();
        for written in 1..9 {
            assert!(!liveness.ping_failed(id(1), written));
        }
        for millis in 1..9 {
            liveness.message(after(millis), id(1));
            assert!(!liveness.ping_failed(id(1), 8));
        }
        for _ in 0..9 {
            liveness.ping_answered(id(1));
            assert!(!liveness.ping_failed(id(1), 8));
        }
    }

    #[test]
    fn the_longest_queue_goes_once_all_together_are_too_long() {
        let part = limits::OUTGOING_BYTES_TOTAL / 2;
        let queues = |third: usize| [(id(1), part - 9), (id(2), part + 9), (id(3), third)].into_iter();
        assert_eq!(overfull(queues(0)), None);
        assert_eq!(overfull(queues(1)), Some(id(2)));
        assert_eq!(overfull([].into_iter()), None);
    }

    #[test]
    fn a_connection_that_is_gone_is_forgotten() {
        let mut liveness = one();
        liveness.closed(id(1));
        assert_eq!(liveness.look(after(limits::IDLE_TIME.0), id(1), NOTHING, ORDINARY), None);
        assert!(liveness.of.is_empty());
    }
}
