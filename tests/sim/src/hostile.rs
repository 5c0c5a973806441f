//! A machine that speaks the protocol's words without its sense: random messages in random states, real names in wrong
//! places, frames that are no messages at all.

use std::collections::BTreeSet;

use p2pnet_shared::{
    engine::Limits,
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Language, Priority, Requirements},
    kernel::REWRITE_VERSION,
    units::Moment,
    wire::{self, Assignment, Extension, Extensions, Message, Offer, Payload, RefuseReason, Role, Version},
};

use crate::chance::Chance;

/// Names it has heard and will use where they do not belong.
const MOST_HEARD: usize = 256;

/// Its chance and what it has heard.
pub struct Hostile {
    chance: Chance,
    met: BTreeSet<usize>,
    /// Machines that it has said Hello to: who does not is not listened to.
    greeted: BTreeSet<usize>,
    hashes: Vec<Hash>,
    attempts: Vec<AttemptId>,
}

impl Hostile {
    /// One that the seed decides.
    pub fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            met: BTreeSet::new(),
            greeted: BTreeSet::new(),
            hashes: Vec::new(),
            attempts: Vec::new(),
        }
    }

    pub(crate) fn met(&mut self, machine: usize) {
        self.met.insert(machine);
    }

    pub(crate) fn lost(&mut self, machine: usize) {
        self.met.remove(&machine);
        self.greeted.remove(&machine);
    }

    /// Remembers names: a lie is best told with them.
    pub fn heard(&mut self, _from: usize, message: &Message) {
        match message {
            Message::Assign(assignment) => {
                self.attempts.push(assignment.attempt);
                self.hashes.push(assignment.kernel);
            }
            Message::Want { hash, .. } | Message::Unknown { hash } | Message::Chunk { hash, .. } => {
                self.hashes.push(*hash);
            }
            Message::Deliver { attempt, .. }
            | Message::Started { attempt }
            | Message::Settle { attempt }
            | Message::GiveWay { attempt }
            | Message::Resting { attempt }
            | Message::Refuse { attempt, .. } => self.attempts.push(*attempt),
            Message::Hello { .. }
            | Message::Offer(_)
            | Message::Withdraw
            | Message::Find { .. }
            | Message::Found { .. }
            | Message::Cancel { .. } => {}
        }
        self.attempts.drain(..self.attempts.len().saturating_sub(MOST_HEARD));
        self.hashes.drain(..self.hashes.len().saturating_sub(MOST_HEARD));
    }

    /// What it does next: a frame for a machine, or (without a frame) a dial.
    pub(crate) fn next(&mut self, me: NodeId, everybody: &[NodeId]) -> (usize, Option<Vec<u8>>) {
        let anybody = self.chance.below(everybody.len() as u64) as usize;
        if self.met.len() < 20 && self.chance.below(4) == 0 {
            return (anybody, None);
        }
        let place = self.chance.below(self.met.len() as u64) as usize;
        let to = self.met.iter().nth(place).copied().unwrap_or(anybody);
        if self.chance.below(20) > 0 && self.greeted.insert(to) {
            let bytes = wire::encode(Version::NEWEST, &self.hello()).unwrap_or_default();
            return (to, Some(bytes));
        }
        let bytes = match self.chance.below(12) {
            0 => {
                let len = self.chance.below(64) as usize;
                self.chance.bytes(len)
            }
            1 => vec![0xff; 17],
            _ => {
                let message = self.message(me, everybody);
                wire::encode(Version::NEWEST, &message).unwrap_or_default()
            }
        };
        (to, Some(bytes))
    }

    /// What an honest node says first.
    pub fn hello(&mut self) -> Message {
        let session = self.chance.number();
        let extensions = self.extensions();
        Message::Hello { role: Role::Client, agent: "trust me".to_owned(), session, extensions }
    }

    /// Any message, in its own name or in somebody else's.
    pub fn message(&mut self, me: NodeId, everybody: &[NodeId]) -> Message {
        let somebody = everybody[self.chance.below(everybody.len() as u64) as usize];
        let (attempt, hash) = (self.attempt(), self.hash());
        match self.chance.below(17) {
            0 => Message::Hello {
                role: Role::Seed,
                agent: "x".repeat(self.chance.below(80) as usize),
                session: self.chance.number(),
                extensions: self.extensions(),
            },
            // An offer it cannot keep, in its own name or in somebody else's.
            1 | 2 => {
                let name = if self.chance.below(3) == 0 { somebody } else { me };
                Message::Offer(self.offer(name))
            }
            3 => Message::Withdraw,
            4 => Message::Find {
                query: self.chance.number(),
                requirements: Requirements::default(),
                limit: self.chance.number() as u16,
                rewrite: self.rewrite(),
            },
            5 => {
                let offers = (0..self.chance.below(4)).map(|_| self.offer(somebody)).collect();
                Message::Found { query: self.chance.below(10), offers, known: u32::MAX, others: u32::MAX }
            }
            6 | 7 => Message::Assign(self.assignment(attempt, hash)),
            8 => Message::Refuse { attempt, reason: RefuseReason::Busy },
            9 => Message::Started { attempt },
            10 => {
                let len = self.chance.below(200) as usize;
                let report = match self.chance.below(3) {
                    0 => Payload::Inline(self.chance.bytes(len)),
                    1 => Payload::Inline(vec![0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
                    _ => Payload::Blob { hash, len: self.chance.number() },
                };
                Message::Deliver { attempt, report, extensions: self.extensions() }
            }
            11 => Message::Cancel { attempts: vec![attempt; self.chance.below(2000) as usize] },
            12 => Message::Want { hash, offset: self.chance.number() },
            13 => {
                let len = self.chance.below(300) as usize;
                Message::Chunk { hash, offset: 0, total: self.chance.below(400), bytes: self.chance.bytes(len) }
            }
            14 => Message::GiveWay { attempt },
            15 => Message::Resting { attempt },
            _ => Message::Unknown { hash },
        }
    }

    fn offer(&mut self, node: NodeId) -> Offer {
        Offer {
            node,
            role: Role::Client,
            agent: "trust me".to_owned(),
            cores: self.chance.below(2048) as u16,
            cpu_percent: 100,
            memory_mib: 1 << 20,
            idle_cores: 1,
            addresses: Vec::new(),
            made_at: Moment(u64::MAX),
            rewrite: self.rewrite(),
            languages: (0..self.chance.below(20)).map(|_| self.language()).collect(),
            extensions: self.extensions(),
        }
    }

    fn assignment(&mut self, attempt: AttemptId, kernel: Hash) -> Assignment {
        let calls = match self.chance.below(3) {
            0 => Payload::Inline(vec![0xff, 0xff, 0xff, 0xff, 0x7f]),
            1 => Payload::Inline(vec![1, 1, 0]),
            _ => Payload::Blob { hash: kernel, len: self.chance.number() >> self.chance.below(64) },
        };
        let limits = Limits { memory_bytes: self.chance.number() >> self.chance.below(64), ..Limits::default() };
        Assignment {
            attempt,
            job: JobId([7; 16]),
            language: self.language(),
            kernel,
            common: Some(kernel),
            priority: Priority::Critical,
            limits,
            calls,
            rewrite: self.rewrite(),
            extensions: self.extensions(),
        }
    }

    /// One that everybody runs mostly, else any.
    fn language(&mut self) -> Language {
        if self.chance.below(4) == 0 { Language::Other(2 + self.chance.below(1_000) as u16) } else { Language::Wasm }
    }

    /// Its own rewrite mostly, else any.
    fn rewrite(&mut self) -> u16 {
        if self.chance.below(4) == 0 { self.chance.number() as u16 } else { REWRITE_VERSION }
    }

    /// What no build knows.
    fn extensions(&mut self) -> Extensions {
        let all = (0..self.chance.below(4)).map(|_| {
            let len = self.chance.below(64) as usize;
            Extension { key: self.chance.number() as u16, value: self.chance.bytes(len) }
        });
        Extensions::new(all.collect()).unwrap_or_default()
    }

    fn attempt(&mut self) -> AttemptId {
        let place = self.chance.below(self.attempts.len() as u64 + 1) as usize;
        self.attempts.get(place).copied().unwrap_or(AttemptId(self.chance.number()))
    }

    fn hash(&mut self) -> Hash {
        let place = self.chance.below(self.hashes.len() as u64 + 1) as usize;
        self.hashes.get(place).copied().unwrap_or(Hash(self.chance.name()))
    }
}
