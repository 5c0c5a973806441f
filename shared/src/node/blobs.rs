//! Blobs: what this node holds by hash, what it fetches, and what it hands to others.
//!
//! Held blobs are pinned (this node needs them for its own work) or loose (a cache, oldest thrown out first). A fetch
//! keeps several [`Message::Want`] in flight, takes parts in order only, and believes nothing before the hash is right.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::core::Core;
use crate::{
    id::{Hash, NodeId},
    units::{Millis, Moment},
    wire::{BLOB_CHUNK, MOST_BLOB, Message},
};

/// Loose bytes kept at most.
const CACHE_BYTES: u64 = 256 << 20;
/// Bytes of unfinished fetches at most.
const FETCH_BYTES: u64 = 256 << 20;
/// Unfinished fetches at most, and of one node's blobs.
const MOST_FETCHES: usize = 1024;
const MOST_FETCHES_A_NODE: usize = 128;
/// Nodes remembered for one fetch.
const MOST_SOURCES: usize = 8;
/// Parts asked for and not yet here.
const WINDOW: u64 = 8;
/// Silence after which a fetch asks again, and how often.
const STALL: Millis = Millis(5_000);
const MOST_STALLS: u32 = 4;

struct Held {
    bytes: Arc<[u8]>,
    pins: u32,
    /// Its place in `loose`, while there are no pins.
    age: u64,
}

struct Fetch {
    /// Who has it; the first is being asked.
    sources: Vec<NodeId>,
    total: Option<u64>,
    got: Vec<u8>,
    /// Asked for up to here.
    asked: u64,
    heard_at: Moment,
    stalls: u32,
}

/// What this node holds and fetches.
#[derive(Default)]
pub(super) struct Blobs {
    held: BTreeMap<Hash, Held>,
    /// Blobs without pins, oldest first.
    loose: BTreeMap<u64, Hash>,
    loose_bytes: u64,
    clock: u64,
    fetches: BTreeMap<Hash, Fetch>,
    /// Fetches that ended, and whether the blob is here now.
    ended: VecDeque<(Hash, bool)>,
}

impl Blobs {
    pub(super) fn get(&self, hash: Hash) -> Option<Arc<[u8]>> {
        self.held.get(&hash).map(|held| Arc::clone(&held.bytes))
    }

    pub(super) fn has(&self, hash: Hash) -> bool {
        self.held.contains_key(&hash)
    }

    /// Whether a node is among those who are to give a blob.
    pub(super) fn is_fetched_from(&self, hash: Hash, node: NodeId) -> bool {
        self.fetches.get(&hash).is_some_and(|fetch| fetch.sources.contains(&node))
    }

    /// Holds bytes until they are unpinned as often as they were pinned.
    pub(super) fn pin(&mut self, hash: Hash, bytes: impl FnOnce() -> Arc<[u8]>) {
        let clock = self.tick();
        let held = self.held.entry(hash).or_insert_with(|| Held { bytes: bytes(), pins: 0, age: clock });
        if held.pins == 0 && self.loose.remove(&held.age).is_some() {
            self.loose_bytes = self.loose_bytes.saturating_sub(held.bytes.len() as u64);
        }
        held.pins = held.pins.saturating_add(1);
    }

    /// Takes one pin back; without pins a blob is only cached.
    pub(super) fn unpin(&mut self, hash: Hash) {
        let clock = self.tick();
        if let Some(held) = self.held.get_mut(&hash)
            && held.pins > 0
        {
            held.pins -= 1;
            if held.pins == 0 {
                held.age = clock;
                self.loose_bytes += held.bytes.len() as u64;
                self.loose.insert(clock, hash);
                self.evict();
            }
        }
    }

    /// Drops a blob that nobody will ask for again, unless it is pinned.
    pub(super) fn discard(&mut self, hash: Hash) {
        if let Some(held) = self.held.get(&hash)
            && held.pins == 0
        {
            self.loose.remove(&held.age);
            self.loose_bytes = self.loose_bytes.saturating_sub(held.bytes.len() as u64);
            self.held.remove(&hash);
        }
    }

    /// The next fetch that ended.
    pub(super) fn next_ended(&mut self) -> Option<(Hash, bool)> {
        self.ended.pop_front()
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.fetches.values().map(|fetch| fetch.heard_at + STALL).min()
    }

    /// Makes a loose blob the youngest.
    fn touch(&mut self, hash: Hash) {
        let clock = self.tick();
        if let Some(held) = self.held.get_mut(&hash)
            && held.pins == 0
        {
            self.loose.remove(&held.age);
            held.age = clock;
            self.loose.insert(clock, hash);
        }
    }

    fn cache(&mut self, hash: Hash, bytes: Arc<[u8]>) {
        self.pin(hash, || bytes);
        self.unpin(hash);
    }

    fn evict(&mut self) {
        // The youngest stays, however large: whoever fetched it has not looked at it yet.
        while self.loose_bytes > CACHE_BYTES && self.loose.len() > 1 {
            if let Some((_, hash)) = self.loose.pop_first()
                && let Some(held) = self.held.remove(&hash)
            {
                self.loose_bytes = self.loose_bytes.saturating_sub(held.bytes.len() as u64);
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Whether the parts agree and keep their bounds.
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let loose: u64 = self.loose.values().filter_map(|hash| self.held.get(hash)).map(|h| h.bytes.len() as u64).sum();
        let unpinned = self.held.values().filter(|held| held.pins == 0).count();
        let fetching: usize = self.fetches.values().map(|fetch| fetch.got.len()).sum();
        let agree = loose == self.loose_bytes && unpinned == self.loose.len();
        let bounded = self.fetches.len() <= MOST_FETCHES && fetching as u64 <= FETCH_BYTES + MOST_BLOB;
        if agree && bounded { Ok(()) } else { Err("the blobs that are held and fetched") }
    }

    /// Whether each blob is pinned as often as the roles say that they do: `pins` are theirs, one for each time.
    pub(super) fn audit_pins(&self, pins: impl Iterator<Item = Hash>) -> Result<(), &'static str> {
        let mut counted: BTreeMap<Hash, u32> = BTreeMap::new();
        pins.for_each(|hash| *counted.entry(hash).or_default() += 1);
        let held = self.held.iter().filter(|(_, held)| held.pins > 0).map(|(hash, held)| (*hash, held.pins));
        if held.eq(counted) { Ok(()) } else { Err("the pins of blobs and what the roles need disagree") }
    }

    fn fetching_bytes(&self) -> u64 {
        self.fetches.values().map(|fetch| fetch.total.unwrap_or(0)).sum()
    }
}

impl Core {
    /// Fetches a blob from a node that should have it; the end comes out of [`Blobs::next_ended`]. `false` when too
    /// much is being fetched already.
    pub(super) fn fetch(&mut self, hash: Hash, from: NodeId) -> bool {
        self.blobs.touch(hash);
        if self.blobs.has(hash) {
            self.blobs.ended.push_back((hash, true));
            return true;
        }
        if let Some(fetch) = self.blobs.fetches.get_mut(&hash) {
            if !fetch.sources.contains(&from) && fetch.sources.len() < MOST_SOURCES {
                fetch.sources.push(from);
            }
            return true;
        }
        let of_this_node = self.blobs.fetches.values().filter(|fetch| fetch.sources.first() == Some(&from)).count();
        if self.blobs.fetches.len() >= MOST_FETCHES || of_this_node >= MOST_FETCHES_A_NODE {
            return false;
        }
        let fetch =
            Fetch { sources: vec![from], total: None, got: Vec::new(), asked: 0, heard_at: self.now, stalls: 0 };
        self.blobs.fetches.insert(hash, fetch);
        self.ask_parts(hash);
        true
    }

    /// Hands out a part of a blob.
    pub(super) fn wanted(&mut self, from: NodeId, hash: Hash, offset: u64) {
        let Some(bytes) = self.blobs.get(hash) else {
            return self.send(from, Message::Unknown { hash });
        };
        let total = bytes.len() as u64;
        let end = offset.saturating_add(u64::from(BLOB_CHUNK)).min(total);
        let part = usize::try_from(offset).ok().zip(usize::try_from(end).ok()).and_then(|(a, b)| bytes.get(a..b));
        match part {
            Some(part) => {
                let chunk = Message::Chunk { hash, offset, total, bytes: part.to_vec() };
                self.send(from, chunk);
            }
            None => self.nonsense(from, 1),
        }
    }

    /// A part came.
    pub(super) fn chunk(&mut self, from: NodeId, hash: Hash, offset: u64, total: u64, part: &[u8]) {
        let others = self.blobs.fetching_bytes();
        let now = self.now;
        let Some(fetch) = self.blobs.fetches.get_mut(&hash) else { return };
        if fetch.sources.first() != Some(&from) || offset != fetch.got.len() as u64 {
            return; // late, doubled, or from a source given up; the stall clock sets things right
        }
        let expected = total.saturating_sub(offset).min(u64::from(BLOB_CHUNK));
        let sane =
            fetch.total.is_none_or(|known| known == total) && total <= MOST_BLOB && part.len() as u64 == expected;
        if !sane {
            self.nonsense(from, 20);
            return self.source_failed(hash, from);
        }
        if fetch.total.is_none() {
            if others.saturating_add(total) > FETCH_BYTES {
                return self.source_failed(hash, from);
            }
            fetch.total = Some(total);
        }
        fetch.got.extend_from_slice(part);
        fetch.heard_at = now;
        fetch.stalls = 0;
        if (fetch.got.len() as u64) < total {
            return self.ask_parts(hash);
        }
        if Hash::of(&fetch.got) != hash {
            self.nonsense(from, 50);
            return self.source_failed(hash, from);
        }
        if let Some(fetch) = self.blobs.fetches.remove(&hash) {
            self.blobs.cache(hash, fetch.got.into());
            self.blobs.ended.push_back((hash, true));
        }
    }

    /// The node that was asked does not have the blob, or does not give it.
    pub(super) fn source_failed(&mut self, hash: Hash, from: NodeId) {
        let now = self.now;
        let Some(fetch) = self.blobs.fetches.get_mut(&hash) else { return };
        if fetch.sources.first() != Some(&from) {
            fetch.sources.retain(|source| *source != from);
            return;
        }
        fetch.sources.remove(0);
        if fetch.sources.is_empty() {
            self.blobs.fetches.remove(&hash);
            self.blobs.ended.push_back((hash, false));
        } else {
            *fetch = Fetch {
                sources: std::mem::take(&mut fetch.sources),
                total: None,
                got: Vec::new(),
                asked: 0,
                heard_at: now,
                stalls: 0,
            };
            self.ask_parts(hash);
        }
    }

    /// Asks again where nothing came for a while, or where the node that was asked is connected again.
    pub(super) fn nudge_fetches(&mut self, reconnected: Option<NodeId>) {
        let now = self.now;
        let stalled: Vec<Hash> = self
            .blobs
            .fetches
            .iter()
            .filter(|(_, fetch)| match reconnected {
                Some(node) => fetch.sources.first() == Some(&node),
                None => now >= fetch.heard_at + STALL,
            })
            .map(|(hash, _)| *hash)
            .collect();
        for hash in stalled {
            let Some(fetch) = self.blobs.fetches.get_mut(&hash) else { continue };
            fetch.asked = fetch.got.len() as u64;
            fetch.heard_at = now;
            fetch.stalls += u32::from(reconnected.is_none());
            let source = fetch.sources.first().copied();
            if fetch.stalls > MOST_STALLS
                && let Some(source) = source
            {
                self.source_failed(hash, source);
            } else {
                self.ask_parts(hash);
            }
        }
    }

    /// Keeps the window of parts asked for full.
    fn ask_parts(&mut self, hash: Hash) {
        let mut wants = Vec::new();
        let Some(fetch) = self.blobs.fetches.get_mut(&hash) else { return };
        let Some(source) = fetch.sources.first().copied() else { return };
        // Before the length is known there is only the first part to ask for.
        let total = fetch.total.unwrap_or(1);
        let window_end = fetch.got.len() as u64 + WINDOW * u64::from(BLOB_CHUNK);
        while fetch.asked < total.min(window_end) {
            wants.push(Message::Want { hash, offset: fetch.asked });
            fetch.asked += u64::from(BLOB_CHUNK);
        }
        for want in wants {
            self.send(source, want);
        }
    }
}
