//! The kernels that a worker has ready, and the engines that run them.

use std::{collections::BTreeMap, rc::Rc};

use p2pnet_shared::{
    engine::{CallOutcome, Limits, Trap},
    id::Hash,
    kernel,
};

use crate::engine::{Engines, Loaded};

/// All kernels of a worker. The page bounds their number.
#[derive(Default)]
pub struct Kernels {
    engines: Engines,
    ready: BTreeMap<Hash, Rc<Loaded>>,
}

impl Kernels {
    /// Drops `forget`, then gives the kernel named `hash`, checking and compiling it from `original` if it is new here.
    pub fn ready(&mut self, hash: Hash, original: Option<&[u8]>, forget: &[Hash]) -> Result<Rc<Loaded>, Trap> {
        for hash in forget {
            self.ready.remove(hash);
        }
        if let Some(ready) = self.ready.get(&hash) {
            return Ok(ready.clone());
        }
        let original = original.ok_or(Trap::HostFailed)?;
        // Whoever sent this kernel should have refused it; every honest node comes to the same end.
        let prepared = kernel::prepare(original).map_err(|_| Trap::BrokenContract)?;
        if prepared.hash != hash {
            return Err(Trap::HostFailed);
        }
        let ready = Rc::new(self.engines.load(&prepared.rewritten)?);
        self.ready.insert(hash, ready.clone());
        Ok(ready)
    }

    /// One call.
    pub fn call(&mut self, loaded: &Loaded, input: &[&[u8]], limits: &Limits) -> CallOutcome {
        self.engines.call(loaded, input, limits)
    }
}
