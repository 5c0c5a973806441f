//! The kernels that a worker has ready, and the engines that run them.

use std::{collections::BTreeMap, rc::Rc};

use p2pnet_shared::{
    engine::{CallOutcome, Engine, EngineName, Limits, Trap, WasmiEngine, WasmiModule},
    id::Hash,
    kernel,
};

/// A kernel made ready for the engine that will run it.
pub enum Ready {
    /// For the interpreter.
    Wasmi(WasmiModule),
}

impl Ready {
    /// Which engine runs it.
    pub fn engine(&self) -> EngineName {
        match self {
            Ready::Wasmi(_) => EngineName::Wasmi,
        }
    }
}

/// All kernels of a worker. The page bounds their number.
#[derive(Default)]
pub struct Kernels {
    ready: BTreeMap<Hash, Rc<Ready>>,
    wasmi: WasmiEngine,
}

impl Kernels {
    /// Drops `forget`, then gives the kernel named `hash`, checking and compiling it from `original` if it is new here.
    pub fn ready(&mut self, hash: Hash, original: Option<&[u8]>, forget: &[Hash]) -> Result<Rc<Ready>, Trap> {
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
        let ready = Rc::new(self.load(&prepared.rewritten)?);
        self.ready.insert(hash, ready.clone());
        Ok(ready)
    }

    fn load(&mut self, rewritten: &[u8]) -> Result<Ready, Trap> {
        self.wasmi.load(rewritten).map(Ready::Wasmi)
    }

    /// One call.
    pub fn call(&mut self, ready: &Ready, input: &[&[u8]], limits: &Limits) -> CallOutcome {
        match ready {
            Ready::Wasmi(module) => self.wasmi.call(module, input, limits),
        }
    }
}
