//! The broker: remembers who lends and tells who asks. Every node has one; only seeds get asked.
//!
//! A [`Message::Find`] stays open for a minute: whenever an offer appears or becomes idle, the asker hears of it within
//! [`PUSH_PAUSE`], so that a requester with waiting work learns of a new provider at once.

mod audit;

use std::collections::BTreeMap;

use super::{core::Core, peers::MOST_AGENT_CHARACTERS};
use crate::{
    id::NodeId,
    job::Requirements,
    units::{Millis, Moment},
    wire::{Message, Offer},
};

/// How long an offer is believed after it came.
pub(super) const OFFER_VALIDITY: Millis = Millis(30_000);
/// Offers remembered at most; one a node.
const MOST_OFFERS: usize = 16_384;
/// Most offers in one answer.
pub(super) const MOST_FOUND: u16 = 64;
/// How long a question stays open.
const FIND_VALIDITY: Millis = Millis(60_000);
/// Questions open at most; one a node.
const MOST_ASKS: usize = 4096;
/// Between two answers to the same question, at least.
const PUSH_PAUSE: Millis = Millis(100);
/// Between two questions of one node, at least; sooner is nonsense.
const ASK_PAUSE: Millis = Millis(20);
/// Most addresses in an offer, and characters in one.
const MOST_ADDRESSES: usize = 8;
const MOST_ADDRESS_BYTES: usize = 256;
/// Languages of programs that a node runs at most.
const MOST_LANGUAGES: usize = 16;

struct Known {
    offer: Offer,
    heard_at: Moment,
    /// When it last became more interesting, as a count of changes.
    change: u64,
}

struct Ask {
    query: u64,
    requirements: Requirements,
    limit: u16,
    rewrite: u16,
    asked_at: Moment,
    answered_at: Moment,
    /// The count of changes up to which the asker knows.
    told: u64,
    /// Whether nobody lent when it was answered last: why a job waits hangs on it, so the asker hears when it changes.
    nobody: bool,
}

/// What a node asks.
pub(super) struct Question {
    pub(super) query: u64,
    pub(super) requirements: Requirements,
    /// At most so many offers; 0 to ask no longer.
    pub(super) limit: u16,
    /// Of nodes that rewrite kernels so.
    pub(super) rewrite: u16,
}

/// Offers and open questions.
#[derive(Default)]
pub(super) struct Broker {
    offers: BTreeMap<NodeId, Known>,
    /// How many of them there are of each rewrite.
    rewrites: BTreeMap<u16, u32>,
    /// Offers by their last change.
    changes: BTreeMap<u64, NodeId>,
    change: u64,
    asks: BTreeMap<NodeId, Ask>,
    swept_at: Moment,
}

/// Whether an offer is one that an honest node makes of itself.
pub(super) fn is_sane(offer: &Offer) -> bool {
    (1..=1024).contains(&offer.cores)
        && offer.idle_cores <= offer.cores
        && (1..=100).contains(&offer.cpu_percent)
        && offer.memory_mib > 0
        && offer.agent.chars().count() <= MOST_AGENT_CHARACTERS
        && offer.addresses.len() <= MOST_ADDRESSES
        && offer.addresses.iter().all(|address| address.len() <= MOST_ADDRESS_BYTES)
        && offer.languages.len() <= MOST_LANGUAGES
}

/// Whether a node that offers this may get tasks with these requirements.
pub(super) fn meets(offer: &Offer, requirements: &Requirements) -> bool {
    u32::from(offer.cpu_percent) >= requirements.cpu_percent && offer.memory_mib >= requirements.memory_mib
}

impl Broker {
    /// A node offers itself. The caller has checked that it is sane and its own.
    pub(super) fn offered(&mut self, core: &mut Core, offer: Offer) {
        let node = offer.node;
        if self.offers.len() >= MOST_OFFERS && !self.offers.contains_key(&node) {
            return;
        }
        let interesting = self.offers.get(&node).is_none_or(|known| {
            let old = &known.offer;
            (old.idle_cores == 0 && offer.idle_cores > 0)
                || old.cores != offer.cores
                || old.cpu_percent != offer.cpu_percent
                || old.memory_mib != offer.memory_mib
                || old.addresses != offer.addresses
                || old.rewrite != offer.rewrite
        });
        let mut change = self.offers.get(&node).map_or(0, |known| known.change);
        if interesting {
            self.changes.remove(&change);
            self.change += 1;
            change = self.change;
            self.changes.insert(change, node);
            core.network_changed = true;
        }
        *self.rewrites.entry(offer.rewrite).or_default() += 1;
        let before = self.offers.insert(node, Known { offer, heard_at: core.now, change });
        self.discount(before.as_ref());
    }

    /// An offer holds no longer, so that there is one less of its rewrite.
    fn discount(&mut self, gone: Option<&Known>) {
        let Some(rewrite) = gone.map(|known| known.offer.rewrite) else { return };
        if let Some(count) = self.rewrites.get_mut(&rewrite) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.rewrites.remove(&rewrite);
            }
        }
    }

    /// Offers of a rewrite, and of others.
    fn count(&self, rewrite: u16) -> (u32, u32) {
        let known = self.rewrites.get(&rewrite).copied().unwrap_or_default();
        (known, u32::try_from(self.offers.len()).unwrap_or(u32::MAX).saturating_sub(known))
    }

    /// A node lends no longer, or is gone.
    pub(super) fn withdrawn(&mut self, core: &mut Core, node: NodeId) {
        if let Some(known) = self.offers.remove(&node) {
            self.changes.remove(&known.change);
            self.discount(Some(&known));
            core.network_changed = true;
        }
    }

    pub(super) fn disconnected(&mut self, core: &mut Core, node: NodeId) {
        self.withdrawn(core, node);
        self.asks.remove(&node);
    }

    /// A node asks who lends. A limit of 0 closes its question.
    pub(super) fn asked(&mut self, core: &mut Core, from: NodeId, question: Question) {
        let Question { query, requirements, limit, rewrite } = question;
        if limit == 0 {
            self.asks.remove(&from);
            return;
        }
        let known = self.asks.get(&from);
        if known.is_none() && self.asks.len() >= MOST_ASKS {
            return;
        }
        if known.is_some_and(|ask| core.now < ask.asked_at + ASK_PAUSE) {
            core.nonsense(from, 1);
        }
        let limit = limit.min(MOST_FOUND);
        let asked_at = core.now;
        let (known, others) = self.count(rewrite);
        let (told, nobody) = (self.change, known == 0);
        self.asks
            .insert(from, Ask { query, requirements, limit, rewrite, asked_at, answered_at: asked_at, told, nobody });
        let mut fitting: Vec<&Known> = self
            .offers
            .values()
            .filter(|known| known.offer.node != from && known.offer.rewrite == rewrite)
            .filter(|known| meets(&known.offer, &requirements))
            .collect();
        // Each question has its own order, so that requesters do not all crowd the same nodes, and nobody comes first by
        // claiming much.
        fitting.sort_by_key(|known| (known.offer.idle_cores == 0, shuffle(known.offer.node, query), known.change));
        let offers = fitting.into_iter().take(usize::from(limit)).map(|known| known.offer.clone()).collect();
        core.send(from, Message::Found { query, offers, known, others });
    }

    /// Tells those who asked what is new; forgets what is old.
    pub(super) fn tick(&mut self, core: &mut Core) {
        let now = core.now;
        if now >= self.swept_at + Millis(1_000) {
            self.swept_at = now;
            self.asks.retain(|_, ask| now < ask.asked_at + FIND_VALIDITY);
            let stale: Vec<NodeId> = self
                .offers
                .iter()
                .filter(|(_, known)| now >= known.heard_at + OFFER_VALIDITY)
                .map(|(node, _)| *node)
                .collect();
            for node in stale {
                self.withdrawn(core, node);
            }
        }
        let Self { offers: all, rewrites, changes, change: newest, asks, .. } = self;
        let total = u32::try_from(all.len()).unwrap_or(u32::MAX);
        for (asker, ask) in asks {
            let known = rewrites.get(&ask.rewrite).copied().unwrap_or_default();
            let turned = ask.nobody != (known == 0);
            if (ask.told >= *newest && !turned) || now < ask.answered_at + PUSH_PAUSE {
                continue;
            }
            let mut offers = Vec::new();
            let mut told = *newest;
            for (change, node) in changes.range(ask.told + 1..) {
                if offers.len() >= usize::from(ask.limit) {
                    told = change - 1;
                    break;
                }
                if let Some(known) = all.get(node)
                    && node != asker
                    && known.offer.rewrite == ask.rewrite
                    && meets(&known.offer, &ask.requirements)
                {
                    offers.push(known.offer.clone());
                }
            }
            ask.told = told;
            if !offers.is_empty() || turned {
                ask.answered_at = now;
                ask.nobody = known == 0;
                offers.sort_by_key(|offer| (offer.idle_cores == 0, shuffle(offer.node, ask.query)));
                core.send(
                    *asker,
                    Message::Found { query: ask.query, offers, known, others: total.saturating_sub(known) },
                );
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let behind = |ask: &&Ask| ask.told < self.change || ask.nobody != (self.count(ask.rewrite).0 == 0);
        let push = self.asks.values().filter(behind).map(|ask| ask.answered_at + PUSH_PAUSE).min();
        let sweep = (!self.offers.is_empty() || !self.asks.is_empty()).then(|| self.swept_at + Millis(1_000));
        push.into_iter().chain(sweep).min()
    }

    /// What nodes offer, by id.
    pub(super) fn offers(&self) -> impl Iterator<Item = (NodeId, &Offer)> {
        self.offers.iter().map(|(node, known)| (*node, &known.offer))
    }
}

/// An order of nodes that differs from question to question.
pub(super) fn shuffle(node: NodeId, query: u64) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&node.0[8..16]);
    (u64::from_le_bytes(bytes) ^ query.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 8
}
