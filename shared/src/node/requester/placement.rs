//! Which node gets what: the one place where nodes are chosen. Each reason has a name, and stands where it counts: what comes
//! first in a rank outweighs all behind it.
//!
//! | chosen | by |
//! |---|---|
//! | whom to give work, in which order | [`Rank`] |
//! | how many batches more | [`Candidates::room`], by what they are for ([`Purpose`]) |
//! | whether a node may have a batch | [`Unfit`] says why not |
//! | whom to connect to | [`DialRank`] |

use std::cmp::Reverse;

use super::{
    Requester,
    batch::{AtHand, Batch},
    candidates::{Candidate, Candidates},
    running::Running,
    scheduler::window,
    trust::Trust,
};
use crate::{
    id::{AttemptId, NodeId},
    job::Requirements,
    node::{
        broker::{meets, shuffle},
        core::Core,
    },
    units::{Millis, Moment},
    wire::Offer,
};

/// A node that is doubted gets one batch in so long, until it delivers.
const DOUBTED_PAUSE: Millis = Millis(1_000);
/// Batches beyond its window that a proven node gets as copies.
const BEYOND_WINDOW: usize = 2;

/// Why one node is given work before another. What is less comes first, and the first difference decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Names cost nothing, and offers only claim: whoever was seen to deliver comes first.
    trust: Trust,
    /// It has something of ours for too long: what it is given now may wait behind that.
    owes: bool,
    /// Each of its cores has a batch of ours, so that one more begins later there than elsewhere.
    is_full: bool,
    /// It may have fallen silent together with another: it is tried, but not first.
    is_doubted: bool,
    /// Whoever has more cores without work now ends sooner.
    idle_cores: Reverse<u16>,
    /// Among equals, a lot that is another for each requester: not all of them shall begin with the same node.
    lot: u64,
    /// So that the order is one everywhere.
    node: NodeId,
}

/// Why one node is connected to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DialRank {
    /// What has work of ours and was lost is waited for: it comes before all that is new.
    is_new: bool,
    /// As for work.
    trust: Trust,
    /// As for work.
    idle_cores: Reverse<u16>,
    /// Who could not be reached before is likely to be out of reach still.
    failures: u32,
    /// As for work.
    lot: u64,
    /// So that the order is one everywhere.
    node: NodeId,
}

/// What a place is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What waits: as far as the window goes, which has the next batch at hand before the last has ended.
    Work,
    /// A copy of what did not come back in its time. It is urgent: a proven node takes some beyond its window.
    Hedge,
    /// A copy of what will end late. Only a core without any work of ours ends it sooner.
    Straggler,
}

/// A node that takes something now, and how much.
pub(super) struct Place {
    pub(super) offer: Offer,
    /// How many cores it is believed to lend.
    pub(super) cores: u16,
    /// How many batches it takes.
    pub(super) room: usize,
    /// Whether one copy there should be enough: it delivers, and is not doubted.
    pub(super) is_sure: bool,
    /// Whether its last attempts delivered.
    pub(super) is_proven: bool,
}

/// Why a node may not have a batch now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It does not offer what the job requires, does not run what the stage is written in, or said that it cannot run it.
    CannotRun,
    /// Others' large jobs have the turn there.
    NotItsTurn,
    /// It has it.
    HasIt,
    /// It has said what came of it.
    HasSaid,
    /// It failed on it, and there are others who did not, or who say that it fails anywhere.
    FailedOnIt,
    /// It failed so often that only what a proven node makes of it tells whose fault that is.
    ProvenFirst,
}

impl Candidates {
    /// Nodes that can be given work now, the best first.
    pub(super) fn reachable(&self, core: &Core) -> Vec<NodeId> {
        let mut ranks: Vec<Rank> = self
            .iter()
            .filter(|(node, candidate)| core.reaches(*node) && core.now >= self.free_at(*node, candidate))
            .filter_map(|(node, candidate)| self.rank(core, node, candidate))
            .filter(|rank| rank.trust != Trust::Resting)
            .collect();
        ranks.sort_unstable();
        ranks.into_iter().map(|rank| rank.node).collect()
    }

    fn rank(&self, core: &Core, node: NodeId, candidate: &Candidate) -> Option<Rank> {
        let offer = candidate.fresh(core.now)?;
        let cores = self.cores(core, offer);
        Some(Rank {
            trust: self.trust(core, node),
            owes: candidate.owes(),
            is_full: candidate.awake() >= usize::from(cores),
            is_doubted: self.is_doubted(core, node),
            idle_cores: Reverse(offer.idle_cores.min(cores)),
            lot: shuffle(node, core.session),
            node,
        })
    }

    /// Nodes that take something now, the best first.
    pub(super) fn places(&self, core: &Core, purpose: Purpose) -> Vec<Place> {
        let place = |node| {
            let offer = self.get(node)?.fresh(core.now)?;
            let is_proven = self.trust(core, node) == Trust::Proven;
            Some(Place {
                cores: self.cores(core, offer),
                room: Some(self.room(core, offer, purpose)).filter(|room| *room > 0)?,
                is_sure: is_proven && !self.is_doubted(core, node),
                is_proven,
                offer: offer.clone(),
            })
        };
        self.reachable(core).into_iter().filter_map(place).collect()
    }

    /// How many more batches a node should get now. One that is doubted gets one at a time, a second after the last, as far as
    /// its window goes.
    pub(super) fn room(&self, core: &Core, offer: &Offer, purpose: Purpose) -> usize {
        let candidate = self.get(offer.node);
        let awake = candidate.map_or(0, Candidate::awake);
        let cores = self.cores(core, offer);
        let beyond = match purpose {
            Purpose::Work => 0,
            Purpose::Hedge => BEYOND_WINDOW,
            Purpose::Straggler => return usize::from(cores).saturating_sub(awake),
        };
        let (most, doubted) = match self.trust(core, offer.node) {
            Trust::Proven => (window(cores) + beyond, self.is_doubted(core, offer.node)),
            Trust::Unknown | Trust::Silent => (1, false),
            Trust::Resting => (0, false),
        };
        let room = most.saturating_sub(awake);
        match candidate.filter(|_| doubted).map(Candidate::assigned_at) {
            Some(at) if core.now < at + DOUBTED_PAUSE => 0,
            Some(_) => room.min(1),
            None => room,
        }
    }

    /// Nodes to connect to now, the best first: all that have work of ours and were lost, and up to `most` new ones that meet the
    /// requirements of some waiting job.
    pub(super) fn to_dial(&self, core: &Core, most: usize, waiting: &[Requirements]) -> Vec<NodeId> {
        let mut ranks: Vec<DialRank> = self
            .iter()
            // Seeds are kept connected anyway.
            .filter(|(node, candidate)| {
                let at_hand = core.reaches(*node) || core.peers.is_seed(*node);
                !at_hand && candidate.may_be_dialled(core.now)
            })
            .filter_map(|(node, candidate)| self.dial_rank(core, node, candidate, waiting))
            .filter(|rank| !rank.is_new || most > 0)
            .collect();
        ranks.sort_unstable();
        let lost = ranks.iter().filter(|rank| !rank.is_new).count();
        ranks.into_iter().take(lost + most).map(|rank| rank.node).collect()
    }

    fn dial_rank(
        &self,
        core: &Core,
        node: NodeId,
        candidate: &Candidate,
        waiting: &[Requirements],
    ) -> Option<DialRank> {
        if !candidate.is_there() {
            let (idle_cores, trust) = (Reverse(0), Trust::Proven);
            return Some(DialRank { is_new: false, trust, idle_cores, failures: 0, lot: 0, node });
        }
        let offer = candidate.fresh(core.now)?;
        let is_wanted = waiting.iter().any(|requirements| meets(offer, requirements));
        is_wanted.then(|| DialRank {
            is_new: true,
            trust: self.trust(core, node),
            idle_cores: Reverse(offer.idle_cores.min(self.cores(core, offer))),
            failures: candidate.dial_failures(),
            lot: shuffle(node, core.session),
            node,
        })
    }
}

impl Requester {
    /// Why a node may not have a copy of a batch that is out.
    pub(super) fn unfit_for_copy(&self, core: &Core, entry: &Running, batch: &Batch, offer: &Offer) -> Option<Unfit> {
        let has = |id: &AttemptId| self.attempts.get(id).is_some_and(|attempt| attempt.node == offer.node);
        if !entry.may_use_for(offer, batch.span) {
            Some(Unfit::CannotRun)
        } else if !self.may_begin(core, offer, entry.id) {
            Some(Unfit::NotItsTurn)
        } else if batch.has_claim_of(offer.node) {
            Some(Unfit::HasSaid)
        } else if batch.attempts().iter().any(has) {
            Some(Unfit::HasIt)
        } else {
            batch.has_failed_on(offer.node).then_some(Unfit::FailedOnIt)
        }
    }
}

impl Batch {
    /// Why a node may not have this batch, which waits, by where it failed and by whether the node is proven; it is asked that
    /// could run it. `another(only_proven)` says whether a node could take it on which it has not failed.
    pub(super) fn unfit(
        &self,
        now: Moment,
        node: NodeId,
        is_proven: bool,
        entry: &Running,
        another: impl FnOnce(bool) -> bool,
    ) -> Option<Unfit> {
        let only_proven = self.wants_proven(entry.policy.retries)
            && match entry.at_hand() {
                AtHand::Works => true,
                AtHand::Idles => !self.has_waited(now) || entry.worked_lately(now),
                AtHand::Nobody => entry.worked_lately(now),
            };
        if only_proven && !is_proven {
            return Some(Unfit::ProvenFirst);
        }
        if self.has_claim_of(node) {
            return Some(Unfit::HasSaid);
        }
        let has_its_turn_again = is_proven && self.has_waited(now);
        let may_again = || self.believe_at.is_none() && (has_its_turn_again || !another(only_proven));
        (self.has_failed_on(node) && !may_again()).then_some(Unfit::FailedOnIt)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::{super::batch::Failure, *};
    use crate::{
        id::JobId,
        job::kinds,
        refusal::{Code, Refusal},
        units::Span,
    };

    const NODE: NodeId = NodeId([9; 32]);

    #[test]
    fn each_reason_outweighs_all_that_stand_behind_it() {
        let best = Rank {
            trust: Trust::Proven,
            owes: false,
            is_full: false,
            is_doubted: false,
            idle_cores: Reverse(8),
            lot: 0,
            node: NodeId([0; 32]),
        };
        let worse = Rank { node: NODE, ..best };
        let last = Rank { lot: 7, ..worse };
        let fewer_idle = Rank { idle_cores: Reverse(0), ..last };
        let doubted = Rank { is_doubted: true, ..fewer_idle };
        let full = Rank { is_full: true, ..doubted };
        let owing = Rank { owes: true, ..full };
        let unknown = Rank { trust: Trust::Unknown, ..owing };
        // Each of them is worst in one more, and still comes before one that is worse in the next reason and best in all else.
        assert!(best < worse && worse < Rank { lot: 7, ..best } && last < Rank { idle_cores: Reverse(0), ..best });
        assert!(fewer_idle < Rank { is_doubted: true, ..best } && doubted < Rank { is_full: true, ..best });
        assert!(full < Rank { owes: true, ..best } && owing < Rank { trust: Trust::Unknown, ..best });
        assert!(unknown < Rank { trust: Trust::Silent, ..best });
    }

    #[test]
    fn what_was_lost_with_work_is_dialled_before_anything_new_and_who_was_out_of_reach_last() {
        let new = DialRank {
            is_new: true,
            trust: Trust::Proven,
            idle_cores: Reverse(8),
            failures: 0,
            lot: 0,
            node: NodeId([0; 32]),
        };
        assert!(DialRank { is_new: false, trust: Trust::Silent, failures: 9, lot: 7, ..new } < new);
        assert!(DialRank { lot: 7, ..new } < DialRank { failures: 1, ..new });
        assert!(DialRank { failures: 9, ..new } < DialRank { idle_cores: Reverse(7), ..new });
        assert!(DialRank { idle_cores: Reverse(0), failures: 9, ..new } < DialRank { trust: Trust::Unknown, ..new });
    }

    fn waiting() -> (Running, Batch) {
        let job = kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
        (Running::new(JobId([1; 16]), job, Moment(1)), Batch::new(Span { start: 0, end: 2 }))
    }

    fn failed(node: NodeId) -> Failure {
        Failure::of_node(node, Refusal::new(Code::NoProvider, "it failed", ""))
    }

    #[test]
    fn a_batch_goes_back_to_who_failed_on_it_only_where_nobody_else_could_take_it() {
        let (entry, mut batch) = waiting();
        let (now, later) = (Moment(2), Moment(2) + super::super::batch::WAITED);
        let unfit =
            |batch: &Batch, now, is_proven, another: bool| batch.unfit(now, NODE, is_proven, &entry, |_| another);
        assert_eq!(unfit(&batch, now, false, true), None);
        batch.failures.push(failed(NODE));
        assert_eq!(unfit(&batch, now, false, true), Some(Unfit::FailedOnIt));
        assert_eq!(unfit(&batch, now, false, false), None);
        // A proven node has its turn again once it has waited for others.
        assert_eq!((unfit(&batch, now, true, true), unfit(&batch, later, true, true)), (Some(Unfit::FailedOnIt), None));
        assert_eq!(unfit(&batch, later, false, true), Some(Unfit::FailedOnIt));
        // While it is confirmed that it fails anywhere, another one has to say so.
        batch.believe_at = Some(later);
        assert_eq!(unfit(&batch, now, false, false), Some(Unfit::FailedOnIt));
    }

    #[test]
    fn what_failed_too_often_goes_to_proven_nodes_while_there_are_some_that_work() {
        let (mut entry, mut batch) = waiting();
        batch.tries = entry.policy.retries + 1;
        let unfit = |entry: &Running, now, is_proven| batch.unfit(now, NODE, is_proven, entry, |_| true);
        let (now, later) = (Moment(2), Moment(2) + super::super::batch::WAITED);
        assert_eq!(unfit(&entry, later, false), None, "there is none");
        entry.note_at_hand(now, AtHand::Idles);
        assert_eq!(unfit(&entry, now, false), Some(Unfit::ProvenFirst));
        assert_eq!(unfit(&entry, later, false), None, "it has waited for one that does nothing");
        entry.note_at_hand(now, AtHand::Works);
        assert_eq!((unfit(&entry, later, false), unfit(&entry, now, true)), (Some(Unfit::ProvenFirst), None));
    }

    #[test]
    fn who_has_said_what_came_of_a_batch_is_not_asked_again() {
        let (entry, mut batch) = waiting();
        let claim = super::super::verify::Claim { node: NODE, outputs: Vec::new(), gas: crate::units::Gas(0) };
        batch.claims.push(claim);
        assert_eq!(batch.unfit(Moment(2), NODE, true, &entry, |_| false), Some(Unfit::HasSaid));
        assert_eq!(batch.unfit(Moment(2), NodeId([8; 32]), true, &entry, |_| false), None);
    }
}
