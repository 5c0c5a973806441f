//! What a platform gives to the loop: a clock, an executor, a store. The browser, the native node and tests have one each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use p2pnet_shared::{
    blob::Blob,
    engine::BatchReport,
    id::{Hash, JobId},
    job::Job,
    node::{HostOrder, Line, Merged, NodeConfig, RunId, Token},
    refusal::Refusal,
    store::{Change, StoreKey},
    units::Moment,
};

/// What the platform reports to the loop, through the channel given to it at the start.
#[derive(Debug)]
pub enum HostFact {
    /// A run ended.
    Executed {
        /// Which.
        run: RunId,
        /// What came of it.
        report: BatchReport,
    },
    /// Outputs were made one result.
    Merged {
        /// Of which job.
        job: JobId,
        /// What came of it.
        merged: Merged,
    },
    /// What [`HostOrder::Keep`] ordered is kept, and all that was ordered before.
    Kept {
        /// Which.
        tokens: Vec<Token>,
    },
    /// Jobs of the store that are over, where [`Start::lines_follow`].
    Loaded {
        /// Some of their lines.
        lines: Vec<Line>,
        /// These are the last ones.
        is_all: bool,
    },
    /// So many records of the store have names that this version does not know.
    UnknownRecords(u64),
    /// Time has passed. Browsers send it from a worker's timer, since a hidden page's own timers sleep.
    Tick,
    /// Connect to this seed and stay connected. Found by the platform: `/.well-known/p2pnet.json`, configuration.
    SeedKnown {
        /// libp2p multiaddresses with `/p2p/<id>`, best first; all of one node.
        addresses: Vec<String>,
    },
}

/// The platform's side of the loop.
pub trait Host {
    /// The time, without the jumps of a clock that is set ([`p2pnet_shared::clock::SteadyClock`]).
    fn now(&self) -> Moment;

    /// Carries an order out, or begins to.
    fn carry_out(&mut self, order: HostOrder);

    /// Where the records lie that it was ordered to save.
    fn records(&self) -> Arc<dyn Records>;
}

/// Reads records; in a task of whoever asks, never in the loop.
pub trait Records: Send + Sync {
    /// A record as it stands after every order so far; `None` when there is none.
    fn read(&self, key: StoreKey) -> BoxFuture<'static, Result<Option<Vec<u8>>, Refusal>>;

    /// Several of them, each as if it were read by itself.
    fn read_all(&self, keys: Vec<StoreKey>) -> BoxFuture<'static, Result<Vec<Option<Vec<u8>>>, Refusal>> {
        let reads: Vec<_> = keys.into_iter().map(|key| self.read(key)).collect();
        futures::future::try_join_all(reads).boxed()
    }
}

/// Records in memory, for a host that has no better place; they end with the process.
#[derive(Clone, Default)]
pub struct MemoryRecords {
    records: Arc<Mutex<BTreeMap<StoreKey, Vec<u8>>>>,
}

impl MemoryRecords {
    /// Changes records.
    pub fn change(&self, changes: Vec<Change>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, record) in changes {
            match record {
                Some(record) => _ = records.insert(key, record),
                None => _ = records.remove(&key),
            }
        }
    }
}

impl Records for MemoryRecords {
    fn read(&self, key: StoreKey) -> BoxFuture<'static, Result<Option<Vec<u8>>, Refusal>> {
        let record = self.records.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        futures::future::ready(Ok(record)).boxed()
    }
}

/// Reads a job again that a store held; given are its source, and what finds a module that it names.
pub type ReadRestored = Box<dyn Fn(&str, &dyn Fn(Hash) -> Option<Blob>) -> Result<Job, Refusal>>;

/// What a node needs to start, the same on every platform.
pub struct Start {
    /// The Ed25519 secret (32 bytes) behind the node's id. The platform keeps it across restarts.
    pub secret: [u8; 32],
    /// How the node behaves. `me` must be the id of `secret` (see [`crate::node_id`]).
    pub config: NodeConfig,
    /// What the store held of jobs that are not over.
    pub restored: Vec<(StoreKey, Vec<u8>)>,
    /// Whether the host reads the lines of those that are over while the node is at work already, and tells of them by
    /// [`HostFact::Loaded`].
    pub lines_follow: bool,
    /// Reads the jobs among that, as [`p2pnet_shared::job::kinds::read`] does: the platform may keep modules by their hash, or
    /// have the readers of jobs elsewhere.
    pub read: ReadRestored,
}
