//! Kernels that are ready to run, shared by all threads: checked, rewritten and loaded once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use p2pnet_shared::{engine::Trap, id::Hash, kernel};

use super::run::Module;
use crate::engine::NativeEngines;

/// Kernels kept ready.
const MOST_KERNELS: usize = 64;
/// Bytes of kernels kept ready, as they came; what engines make of them is several times that.
const MOST_BYTES: usize = 64 << 20;

type Slot = Arc<OnceLock<Result<Module, Trap>>>;

/// The kernels used last.
#[derive(Default)]
pub struct Kernels {
    /// Used last at the back.
    kept: Mutex<VecDeque<(Hash, usize, Slot)>>,
}

impl Kernels {
    /// The kernel, made ready if need be. Threads that ask for the same one at the same time wait for the first.
    pub fn get(&self, engines: &mut NativeEngines, hash: Hash, original: &[u8]) -> Result<Module, Trap> {
        self.slot(hash, original.len()).get_or_init(|| load(engines, hash, original)).clone()
    }

    fn slot(&self, hash: Hash, len: usize) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.iter().position(|entry| entry.0 == hash).and_then(|at| kept.remove(at)) {
            let slot = Arc::clone(&entry.2);
            kept.push_back(entry);
            return slot;
        }
        let slot = Slot::default();
        kept.push_back((hash, len, Arc::clone(&slot)));
        let mut bytes: usize = kept.iter().map(|entry| entry.1).sum();
        while kept.len() > 1 && (kept.len() > MOST_KERNELS || bytes > MOST_BYTES) {
            bytes -= kept.pop_front().map_or(0, |entry| entry.1);
        }
        slot
    }
}

fn load(engines: &mut NativeEngines, hash: Hash, original: &[u8]) -> Result<Module, Trap> {
    let prepared = kernel::prepare(original).map_err(|refusal| {
        tracing::debug!(%hash, %refusal, "a kernel breaks the contract");
        Trap::BrokenContract
    })?;
    engines.load(&prepared.rewritten)
}
