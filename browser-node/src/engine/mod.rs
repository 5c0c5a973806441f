//! The engines of a tab: the browser's own compiler, and wasmi where compiling is forbidden or the browser's stack ends.
//! Few kernels need wasmi, so it is fetched when one does.

mod browser;
mod interpreter;

use std::cell::Cell;

pub use browser::{BrowserEngine, BrowserModule};
pub use interpreter::{GO_ON, InterpretedModule, Interpreter, trap_of};
use js_sys::WebAssembly::Module;
use p2pnet_shared::{
    engine::{CallOutcome, Engine, EngineName, Input, Limits, Prepared, Trap, Watch},
    kernel::Facts,
};

/// The engines that a worker has. One of each serves all its kernels.
#[derive(Default)]
pub struct Engines {
    browser: BrowserEngine,
    /// Once it was needed.
    interpreter: Option<Interpreter>,
    /// What preparing instances took there.
    prepared: Prepared,
}

/// A kernel made ready by the engine that will run it.
pub enum Loaded {
    /// Compiled by the browser.
    Browser(BrowserModule),
    /// For the interpreter, since the page's policy or a fault of the browser forbids compiling it.
    Rewritten(Rewritten),
}

/// A rewritten kernel that is not compiled.
pub struct Rewritten {
    bytes: Vec<u8>,
    interpreted: Cell<Option<Result<InterpretedModule, Trap>>>,
}

impl Loaded {
    /// Which engine runs it.
    pub fn engine(&self) -> EngineName {
        match self {
            Loaded::Browser(_) => EngineName::Browser,
            Loaded::Rewritten(_) => EngineName::Wasmi,
        }
    }

    /// The same for the interpreter, which reads it when it is first asked for.
    fn interpreted(&self, interpreter: &Interpreter) -> Result<InterpretedModule, Trap> {
        let (kept, read): (_, &dyn Fn() -> Vec<u8>) = match self {
            Loaded::Browser(module) => (module.interpreted(), &|| module.rewritten()),
            Loaded::Rewritten(kernel) => (&kernel.interpreted, &|| kernel.bytes.clone()),
        };
        let module = kept.get().unwrap_or_else(|| interpreter.load(&read()));
        kept.set(Some(module));
        module
    }
}

/// What came of a call.
pub enum Answer {
    /// This.
    Outcome(CallOutcome),
    /// The interpreter must be asked, which is not here yet. If it does not come, this is what came of it.
    AsksInterpreter(CallOutcome),
}

impl Engines {
    /// Has `watch` asked while the browser's engine runs kernels, from the next call on.
    pub fn set_watch(&mut self, watch: Watch) {
        self.browser.set_watch(watch);
    }

    /// Lets what the browser cannot run be interpreted.
    pub fn set_interpreter(&mut self, interpreter: Interpreter) {
        self.interpreter = Some(interpreter);
    }

    /// A kernel that another worker of this tab has compiled.
    pub fn adopt(&mut self, module: Module, facts: Facts) -> BrowserModule {
        self.browser.adopt(module, facts)
    }

    /// Gives up what is kept for a kernel beside it.
    pub fn forget(&mut self, loaded: &Loaded) {
        let interpreted = match loaded {
            Loaded::Browser(module) => {
                self.browser.forget(module);
                module.interpreted()
            }
            Loaded::Rewritten(kernel) => &kernel.interpreted,
        };
        if let (Some(Ok(module)), Some(interpreter)) = (interpreted.take(), &self.interpreter) {
            interpreter.forget(module);
        }
    }

    /// Makes a rewritten kernel ready: compiled by the browser, or, where that is forbidden or fails, to be interpreted.
    pub fn load(&mut self, rewritten: Vec<u8>) -> Loaded {
        match self.browser.load(&rewritten) {
            Ok(module) => Loaded::Browser(module),
            Err(_) => Loaded::Rewritten(Rewritten { bytes: rewritten, interpreted: Cell::new(None) }),
        }
    }

    /// What preparing instances took since this was last asked.
    pub fn take_prepared(&mut self) -> Prepared {
        let mut prepared = std::mem::take(&mut self.prepared);
        prepared += self.browser.take_prepared();
        prepared
    }

    /// One call, as in a fresh instance. One that the browser's own stack is too small for, or has no memory for, is made again
    /// on wasmi, whose stack is as large as a kernel's may be; its answer counts.
    pub fn call(&mut self, loaded: &Loaded, input: Input<'_>, limits: &Limits) -> Answer {
        let outcome = match loaded {
            Loaded::Browser(module) => {
                let outcome = self.browser.call(module, input, limits);
                if !self.browser.is_exhausted() {
                    return Answer::Outcome(outcome);
                }
                outcome
            }
            Loaded::Rewritten(_) => failed(Trap::HostFailed),
        };
        match &self.interpreter {
            Some(interpreter) => Answer::Outcome(match loaded.interpreted(interpreter) {
                Ok(module) => {
                    let (outcome, prepared) = interpreter.call(module, input, limits);
                    self.prepared += prepared;
                    outcome
                }
                // What it cannot read says nothing about the kernel.
                Err(_) => outcome,
            }),
            None => Answer::AsksInterpreter(outcome),
        }
    }
}

fn failed(trap: Trap) -> CallOutcome {
    CallOutcome { output: Err(trap), gas: p2pnet_shared::units::Gas(0) }
}
