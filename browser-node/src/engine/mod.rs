//! The engines of a tab: the browser's own compiler, and wasmi where compiling is forbidden or the browser's stack ends.

mod browser;

pub use browser::{BrowserEngine, BrowserModule};
use js_sys::WebAssembly::Module;
use p2pnet_shared::{
    engine::{CallOutcome, Engine, EngineName, Limits, Trap, WasmiEngine, WasmiModule, Watch},
    kernel::Facts,
};

/// Gas between two looks of wasmi at the watch: inside a browser it interprets it in some milliseconds.
const INTERPRETED_SLICE: i64 = 200_000;

/// The engines that a worker has. One of each serves all its kernels.
#[derive(Default)]
pub struct Engines {
    browser: BrowserEngine,
    wasmi: WasmiEngine,
}

/// A kernel made ready by the engine that will run it.
pub enum Loaded {
    /// Compiled by the browser.
    Browser(BrowserModule),
    /// Read by wasmi.
    Wasmi(WasmiModule),
}

impl Loaded {
    /// Which engine runs it.
    pub fn engine(&self) -> EngineName {
        match self {
            Loaded::Browser(_) => EngineName::Browser,
            Loaded::Wasmi(_) => EngineName::Wasmi,
        }
    }
}

impl Engines {
    /// Has `watch` asked while kernels run, from the next call on.
    pub fn set_watch(&mut self, watch: Watch) {
        self.wasmi.set_slice(INTERPRETED_SLICE);
        self.wasmi.set_watch(Some(watch.clone()));
        self.browser.set_watch(watch);
    }

    /// A kernel that another worker of this tab has compiled.
    pub fn adopt(&mut self, module: Module, facts: Facts) -> BrowserModule {
        self.browser.adopt(module, facts)
    }

    /// Gives up what is kept for a kernel beside it.
    pub fn forget(&mut self, loaded: &Loaded) {
        match loaded {
            Loaded::Browser(module) => self.browser.forget(module),
            Loaded::Wasmi(_) => {}
        }
    }

    /// Makes a rewritten kernel ready: compiled by the browser, or, where the page's policy or a fault of the browser
    /// forbids that, for wasmi.
    pub fn load(&mut self, rewritten: &[u8]) -> Result<Loaded, Trap> {
        match self.browser.load(rewritten) {
            Ok(module) => Ok(Loaded::Browser(module)),
            Err(_) => self.wasmi.load(rewritten).map(Loaded::Wasmi),
        }
    }

    /// One call, as in a fresh instance. One that the browser's own stack is too small for, or has no memory for, is made again
    /// on wasmi, whose stack is as large as a kernel's may be; its answer counts.
    pub fn call(&mut self, loaded: &Loaded, input: &[&[u8]], limits: &Limits) -> CallOutcome {
        match loaded {
            Loaded::Browser(module) => {
                let outcome = self.browser.call(module, input, limits);
                let asks_wasmi = self.browser.is_exhausted();
                match asks_wasmi.then(|| module.interpreted(&mut self.wasmi)).flatten() {
                    Some(module) => self.wasmi.call(module, input, limits),
                    None => outcome,
                }
            }
            Loaded::Wasmi(module) => self.wasmi.call(module, input, limits),
        }
    }
}
