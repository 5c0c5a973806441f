//! The kernels that a worker has ready, and the engines that run them.

use std::{collections::BTreeMap, rc::Rc};

use js_sys::WebAssembly::Module;
use p2pnet_shared::{
    engine::{Input, Limits, Prepared, Trap, Watch},
    id::Hash,
    kernel,
};

use crate::{
    engine::{Answer, Engines, Interpreter, Loaded},
    pool::protocol::{Said, Source},
};

/// All kernels of a worker. The page bounds their number.
#[derive(Default)]
pub(super) struct Kernels {
    engines: Engines,
    watch: Option<Watch>,
    /// Also those that cannot be run, and why: every batch of theirs ends the same way.
    ready: BTreeMap<Hash, Result<Rc<Loaded>, Trap>>,
}

impl Kernels {
    /// Has `watch` asked in the middle of calls.
    pub(super) fn set_watch(&mut self, watch: Watch) {
        self.watch = Some(watch.clone());
        self.engines.set_watch(watch);
    }

    /// What is asked in the middle of calls.
    pub(super) fn watch(&self) -> Option<Watch> {
        self.watch.clone()
    }

    /// Lets what the browser cannot run be interpreted.
    pub(super) fn set_interpreter(&mut self, interpreter: Interpreter) {
        self.engines.set_interpreter(interpreter);
    }

    /// Drops `forget`, then gives the kernel named `hash`, which is made ready if it is new here. What other workers of
    /// the tab may use of that goes to `share`.
    pub(super) fn ready(
        &mut self,
        hash: Hash,
        source: Source,
        module: Option<Module>,
        forget: &[Hash],
        share: impl Fn(&Said, Option<&Module>),
    ) -> Result<Rc<Loaded>, Trap> {
        for hash in forget {
            if let Some(Ok(loaded)) = self.ready.remove(hash) {
                self.engines.forget(&loaded);
            }
        }
        match (source, module) {
            (Source::Ready, _) => self.ready.get(&hash).cloned().unwrap_or(Err(Trap::HostFailed)),
            (Source::Compiled(facts), Some(module)) => {
                let adopted = Loaded::Browser(self.engines.adopt(module, facts));
                self.keep(hash, Ok(Rc::new(adopted)))
            }
            (Source::Compiled(_), None) => Err(Trap::HostFailed),
            (Source::Original(original), _) => {
                let made = self.make(hash, &original);
                match made.as_deref() {
                    Ok(Loaded::Browser(compiled)) => {
                        let facts = compiled.facts().clone();
                        share(&Said::Compiled { kernel: hash, facts }, Some(compiled.module()));
                    }
                    Ok(Loaded::Rewritten(_)) | Err(_) => share(&Said::NotCompiled { kernel: hash }, None),
                }
                self.keep(hash, made)
            }
        }
    }

    /// One call.
    pub(super) fn call(&mut self, loaded: &Loaded, input: Input<'_>, limits: &Limits) -> Answer {
        self.engines.call(loaded, input, limits)
    }

    /// What preparing instances took since this was last asked.
    pub(super) fn take_prepared(&mut self) -> Prepared {
        self.engines.take_prepared()
    }

    /// Checks, rewrites and compiles.
    fn make(&mut self, hash: Hash, original: &[u8]) -> Result<Rc<Loaded>, Trap> {
        // Whoever sent this kernel should have refused it; every honest node comes to the same end.
        let prepared = kernel::prepare(original).map_err(|_| Trap::BrokenContract)?;
        if prepared.hash != hash {
            return Err(Trap::HostFailed);
        }
        Ok(Rc::new(self.engines.load(prepared.rewritten)))
    }

    fn keep(&mut self, hash: Hash, made: Result<Rc<Loaded>, Trap>) -> Result<Rc<Loaded>, Trap> {
        self.ready.insert(hash, made.clone());
        made
    }
}
