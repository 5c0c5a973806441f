//! How peers behave: what each may say for nothing, how much nonsense it said, and who is not taken back for a while.
//!
//! Whatever a node may send without having been asked costs something here, so that nobody keeps this node busy for
//! free. What answers a question, or speaks of work that is really under way, costs nothing: it was paid for when this
//! node asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{NetworkOrder, Node, core::Core};
use crate::{
    id::NodeId,
    units::{Millis, Moment},
    wire::{Message, RefuseReason},
};

/// Nonsense above which a connection is closed. It fades by one a second.
pub(super) const NONSENSE_BOUND: u32 = 100;
/// What a message before the sender's Hello counts: twice in a row is too much.
const SPOKE_BEFORE_HELLO: u32 = 60;
/// What a message beyond the allowance counts.
const BEYOND_ALLOWANCE: u32 = 2;
/// How long a node that was hung up on for nonsense is not taken back.
const BAN: Millis = Millis(60_000);
/// Nodes that are not taken back, remembered at once; beyond it, the one whose time ends first is forgotten.
const MOST_BANNED: usize = 1024;
/// Nodes that went away with something to their account, remembered at once; beyond it, who went first is forgotten.
const MOST_GONE: usize = 1024;

/// What a peer may spend at once, and what it gets back in a millisecond: prices below are in the same measure.
const ALLOWANCE: u32 = 12_000;
const REFILL_A_MILLI: u32 = 4;
/// A first Hello, and another on the same connection: an honest node says one.
const HELLO: u32 = 400;
const HELLO_AGAIN: u32 = 800;
/// An honest node offers twice a second at most.
const OFFER: u32 = 100;
/// A question makes a broker look through all offers.
const FIND: u32 = 200;
/// A new batch, and one that this node has already (it may have to be delivered again).
const ASSIGN: u32 = 8;
const ASSIGN_AGAIN: u32 = 16;
/// An honest requester asks for a core ten times a second at most.
const GIVE_WAY: u32 = 16;
/// A part of a blob that is here; asking for one that is not.
const WANT: u32 = 1;
const WANT_UNKNOWN: u32 = 40;
/// A word about an attempt, a batch or a blob that this node knows nothing of. Some cross on the way.
const UNKNOWN_NAME: u32 = 4;

/// What a node has to its account.
#[derive(Clone, Copy, Default)]
pub(super) struct Standing {
    nonsense: u32,
    nonsense_at: Moment,
    spent: u32,
    spent_at: Moment,
}

impl Standing {
    /// Adds nonsense; whether that was too much.
    fn blame(&mut self, weight: u32, now: Moment) -> bool {
        self.fade(now);
        self.nonsense = self.nonsense.saturating_add(weight);
        self.nonsense > NONSENSE_BOUND
    }

    /// Takes a price from the allowance; `false` when there is not enough left.
    fn spend(&mut self, price: u32, now: Moment) -> bool {
        self.fade(now);
        let spent = self.spent.saturating_add(price);
        let enough = spent <= ALLOWANCE;
        if enough {
            self.spent = spent;
        }
        enough
    }

    fn fade(&mut self, now: Moment) {
        let seconds = u32::try_from((now - self.nonsense_at).0 / 1000).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.nonsense = self.nonsense.saturating_sub(seconds);
            self.nonsense_at = now;
        }
        let millis = u32::try_from((now - self.spent_at).0).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(millis.saturating_mul(REFILL_A_MILLI));
        self.spent_at = now;
    }

    fn is_clean(&self) -> bool {
        self.nonsense == 0 && self.spent == 0
    }
}

/// Names with a moment each; when there are too many, the one with the earliest moment goes.
#[derive(Default)]
struct Dated<T> {
    of: BTreeMap<NodeId, (Moment, T)>,
    order: BTreeSet<(Moment, NodeId)>,
}

impl<T> Dated<T> {
    fn insert(&mut self, node: NodeId, at: Moment, value: T, most: usize) {
        self.remove(node);
        self.of.insert(node, (at, value));
        self.order.insert((at, node));
        while self.of.len() > most {
            let Some((_, node)) = self.order.pop_first() else { return };
            self.of.remove(&node);
        }
    }

    fn remove(&mut self, node: NodeId) -> Option<T> {
        let (at, value) = self.of.remove(&node)?;
        self.order.remove(&(at, node));
        Some(value)
    }

    fn at(&self, node: NodeId) -> Option<Moment> {
        self.of.get(&node).map(|(at, _)| *at)
    }
}

/// What is known of nodes that are not connected.
#[derive(Default)]
pub(super) struct Manners {
    /// Until when each is not taken back.
    banned: Dated<()>,
    /// Who went away, when, and with what to its account: coming back pays no debts.
    gone: Dated<Standing>,
}

impl Manners {
    /// Whether a node is not taken back yet.
    pub(super) fn is_banned(&self, node: NodeId, now: Moment) -> bool {
        self.banned.at(node).is_some_and(|until| until > now)
    }

    /// A node comes: what it has to its account.
    pub(super) fn comes(&mut self, node: NodeId) -> Standing {
        self.banned.remove(node);
        self.gone.remove(node).unwrap_or_default()
    }

    /// A node goes.
    pub(super) fn goes(&mut self, node: NodeId, mut standing: Standing, now: Moment) {
        standing.fade(now);
        if !standing.is_clean() {
            self.gone.insert(node, now, standing, MOST_GONE);
        }
    }

    fn ban(&mut self, node: NodeId, now: Moment) {
        self.banned.insert(node, now + BAN, (), MOST_BANNED);
    }

    /// Whether what is remembered is within its bounds and agrees with itself.
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let agree = self.banned.of.len() == self.banned.order.len() && self.gone.of.len() == self.gone.order.len();
        let bounded = self.banned.of.len() <= MOST_BANNED && self.gone.of.len() <= MOST_GONE;
        if agree && bounded { Ok(()) } else { Err("the accounts of nodes that went away") }
    }
}

impl Core {
    /// Counts a message that an honest node would not have sent. Too many of them end the connection, and the node is
    /// not taken back for a while.
    pub(super) fn nonsense(&mut self, from: NodeId, weight: u32) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(from).filter(|peer| !peer.leaving) else { return };
        if peer.standing.blame(weight, now) {
            peer.leaving = true;
            peer.standing = Standing::default();
            self.manners.ban(from, now);
            self.network(NetworkOrder::Hang { node: from, banned: true });
        }
    }

    /// Closes a connection without blame. What still comes over it is not listened to.
    pub(super) fn hang(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.leaving = true;
        }
        self.network(NetworkOrder::Hang { node, banned: false });
    }
}

impl Node {
    /// Whether a message of a peer is listened to: it said Hello first, and has not used up what it may say for nothing.
    pub(super) fn listens(&mut self, from: NodeId, message: &Message) -> bool {
        let price = self.price(from, message);
        let core = &mut self.core;
        let now = core.now;
        let Some(peer) = core.peers.get_mut(from).filter(|peer| !peer.leaving) else { return false };
        peer.heard_at = now;
        if peer.greeting.is_none() && !matches!(message, Message::Hello { .. }) {
            core.nonsense(from, SPOKE_BEFORE_HELLO);
            if core.peers.get(from).is_some_and(|peer| !peer.leaving) {
                core.hang(from);
            }
            return false;
        }
        if peer.standing.spend(price, now) {
            return true;
        }
        core.nonsense(from, BEYOND_ALLOWANCE);
        if let Message::Assign(assignment) = message {
            // Who hears nothing would wait for it.
            core.send(from, Message::Refuse { attempt: assignment.attempt, reason: RefuseReason::Busy });
        }
        false
    }

    /// What a message costs its sender.
    fn price(&self, from: NodeId, message: &Message) -> u32 {
        let unless = |known: bool| if known { 0 } else { UNKNOWN_NAME };
        match message {
            Message::Hello { .. } => {
                let greeted = self.core.peers.get(from).is_some_and(|peer| peer.greeting.is_some());
                if greeted { HELLO_AGAIN } else { HELLO }
            }
            Message::Offer(_) | Message::Withdraw | Message::Found { .. } => OFFER,
            Message::Find { .. } => FIND,
            Message::Assign(assignment) => {
                let known = self.provider.has(from, assignment.attempt);
                if known { ASSIGN_AGAIN } else { ASSIGN }
            }
            Message::Refuse { attempt: id, .. } => unless(self.requester.has(from, *id)),
            Message::Started { attempt: id } => unless(self.requester.may_start(from, *id)),
            Message::Resting { attempt: id } => unless(self.requester.may_rest(from, *id)),
            Message::GiveWay { attempt } => {
                if self.provider.runs(from, *attempt) {
                    GIVE_WAY
                } else {
                    UNKNOWN_NAME
                }
            }
            Message::Deliver { attempt: id, .. } => unless(self.requester.awaits(from, *id)),
            Message::Settle { attempt } => unless(self.provider.has_done(from, *attempt)),
            Message::Cancel { attempts } => {
                let strange = attempts.iter().filter(|id| !self.provider.has(from, **id)).count();
                u32::try_from(strange + 1).unwrap_or(u32::MAX)
            }
            Message::Want { hash, .. } => {
                if self.core.blobs.has(*hash) {
                    WANT
                } else {
                    WANT_UNKNOWN
                }
            }
            Message::Chunk { hash, .. } | Message::Unknown { hash } => {
                unless(self.core.blobs.is_fetched_from(*hash, from))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn the_ban_that_ends_first_is_forgotten_first_whatever_the_name() {
        let mut dated = Dated::default();
        for (number, at) in [(9, 30), (1, 40), (5, 10), (2, 20)] {
            dated.insert(node(number), Moment(at), (), 3);
        }
        assert_eq!(dated.at(node(5)), None);
        assert!([9, 1, 2].iter().all(|number| dated.at(node(*number)).is_some()));
        // Banned again, it stays longer than the others.
        dated.insert(node(2), Moment(50), (), 3);
        dated.insert(node(3), Moment(60), (), 3);
        assert_eq!((dated.at(node(9)), dated.at(node(2))), (None, Some(Moment(50))));
        assert_eq!(dated.of.len(), dated.order.len());
    }

    #[test]
    fn an_allowance_comes_back_with_time_and_nonsense_fades() {
        let mut standing = Standing::default();
        let now = Moment(1_000_000);
        let said = (0..1000).take_while(|_| standing.spend(HELLO_AGAIN, now)).count();
        assert_eq!(said, (ALLOWANCE / HELLO_AGAIN) as usize);
        assert!(standing.spend(HELLO_AGAIN, now + Millis(u64::from(HELLO_AGAIN / REFILL_A_MILLI))));
        assert!(!standing.blame(NONSENSE_BOUND, now + Millis(1_000)));
        assert!(!standing.blame(10, now + Millis(11_000)));
        assert!(standing.blame(1, now + Millis(11_500)));
    }

    #[test]
    fn whoever_comes_back_finds_its_account_as_it_was() {
        let mut manners = Manners::default();
        let mut standing = manners.comes(node(1));
        assert!(!standing.blame(80, Moment(5_000)));
        manners.goes(node(1), standing, Moment(6_000));
        assert!(manners.comes(node(1)).blame(40, Moment(7_000)));
        manners.goes(node(2), Standing::default(), Moment(7_000));
        assert!(manners.gone.of.is_empty(), "nothing is remembered of those who owe nothing");
        assert_eq!(manners.audit(), Ok(()));
    }
}
