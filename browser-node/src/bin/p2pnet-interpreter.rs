//! The piece of the page with wasmi inside, for the few kernels that the browser itself cannot run. A worker fetches it; the
//! worker's side is `engine/interpreter.rs`.

use std::{collections::BTreeMap, sync::Arc};

use js_sys::Function;
use p2pnet_browser::{
    Outcome, decode, encode,
    engine::{GO_ON, trap_of},
};
use p2pnet_shared::{
    engine::{CallOutcome, Common, Engine as _, Input, Limits, Trap, WasmiEngine, WasmiModule},
    id::Hash,
};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

/// Gas between two looks at the watch: inside a browser wasmi interprets it in some milliseconds.
const INTERPRETED_SLICE: i64 = 200_000;

fn main() {}

/// An interpreter and the kernels that it has read.
#[wasm_bindgen]
pub struct Interpreter {
    wasmi: WasmiEngine,
    modules: BTreeMap<u32, WasmiModule>,
    last: u32,
}

/// An interpreter that asks `watch` in the middle of calls, if there is one: it gives the code of a trap, or to go on.
#[wasm_bindgen]
pub fn interpreter(watch: Option<Function>) -> Interpreter {
    let mut wasmi = WasmiEngine::new();
    if let Some(watch) = watch {
        let watch = SendWrapper::new(watch);
        wasmi.set_slice(INTERPRETED_SLICE);
        wasmi.set_watch(Some(Arc::new(move || {
            let said = watch.call0(&JsValue::UNDEFINED).ok().and_then(|said| said.as_f64());
            // A small whole number.
            trap_of(said.map_or(GO_ON, |code| code as i32))
        })));
    }
    Interpreter { wasmi, modules: BTreeMap::new(), last: 0 }
}

#[wasm_bindgen]
impl Interpreter {
    /// Reads a rewritten kernel; gives the number by which it is known from then on, unless it cannot be read.
    pub fn load(&mut self, rewritten: &[u8]) -> Option<u32> {
        let module = self.wasmi.load(rewritten).ok()?;
        self.last += 1;
        self.modules.insert(self.last, module);
        Some(self.last)
    }

    /// Gives up a kernel.
    pub fn forget(&mut self, module: u32) {
        self.modules.remove(&module);
    }

    /// One call in a fresh instance, and what preparing that took, all in postcard.
    pub fn call(&mut self, module: u32, common: Option<Vec<u8>>, own: &[u8], limits: &[u8]) -> Vec<u8> {
        // Nothing that is interpreted stands ready, so nobody asks for the name.
        let common = common.as_deref().map(|bytes| Common { name: Hash([0; 32]), bytes });
        let outcome = match (self.modules.get(&module), decode::<Limits>(limits)) {
            (Some(module), Some(limits)) => self.wasmi.call(module, Input { common, own }, &limits),
            (Some(_) | None, _) => CallOutcome { output: Err(Trap::HostFailed), gas: p2pnet_shared::units::Gas(0) },
        };
        encode(&(Outcome::from(outcome), self.wasmi.take_prepared())).unwrap_or_default()
    }
}
