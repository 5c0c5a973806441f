//! The interpreter as a worker has it: a piece of WebAssembly of its own, fetched when the first kernel needs it. Its own
//! side is `bin/p2pnet-interpreter.rs`.

use js_sys::Reflect;
use p2pnet_shared::{
    engine::{CallOutcome, Input, Limits, Prepared, Trap, Watch},
    units::Gas,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};

use crate::{pieces, pool::protocol};

#[wasm_bindgen]
extern "C" {
    /// What the piece exports.
    type Exports;
    #[wasm_bindgen(method, catch)]
    fn interpreter(this: &Exports, watch: &JsValue) -> Result<Interpreting, JsValue>;

    type Interpreting;
    #[wasm_bindgen(method, catch)]
    fn load(this: &Interpreting, rewritten: &[u8]) -> Result<Option<u32>, JsValue>;
    #[wasm_bindgen(method)]
    fn forget(this: &Interpreting, module: u32);
    #[wasm_bindgen(method, catch)]
    fn call(
        this: &Interpreting,
        module: u32,
        common: Option<&[u8]>,
        own: &[u8],
        limits: &[u8],
    ) -> Result<Vec<u8>, JsValue>;
}

/// What the watch gives to go on; anything else is the code of a trap.
pub const GO_ON: i32 = -1;

/// The interpreter, up.
pub struct Interpreter {
    interpreting: Interpreting,
    _watch: Option<Closure<dyn Fn() -> i32>>,
}

/// A kernel that the interpreter has read; it knows it by this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterpretedModule(u32);

impl Interpreter {
    /// Fetches it, from where the page said, and brings it up. `tries` have failed before.
    pub async fn start(tries: u32, watch: Option<Watch>) -> Result<Self, String> {
        let address = Reflect::get(&js_sys::global(), &"interpreter".into()).ok().and_then(|said| said.as_string());
        let address = address.ok_or("the page did not say where its interpreter is")?;
        let exports: Exports = pieces::start(&address, tries, None).await?.unchecked_into();
        let watch = watch.map(|watch| Closure::<dyn Fn() -> i32>::new(move || watch().map_or(GO_ON, code)));
        let hook = watch.as_ref().map_or(JsValue::UNDEFINED, |watch| watch.as_ref().clone());
        let interpreting = exports.interpreter(&hook).map_err(|thrown| crate::js::thrown_text(&thrown))?;
        Ok(Self { interpreting, _watch: watch })
    }

    /// Reads a rewritten kernel.
    pub fn load(&self, rewritten: &[u8]) -> Result<InterpretedModule, Trap> {
        self.interpreting.load(rewritten).ok().flatten().map(InterpretedModule).ok_or(Trap::HostFailed)
    }

    /// Gives up a kernel that is not needed any more.
    pub fn forget(&self, InterpretedModule(module): InterpretedModule) {
        self.interpreting.forget(module);
    }

    /// One call in a fresh instance, and what preparing that took.
    pub fn call(
        &self,
        InterpretedModule(module): InterpretedModule,
        input: Input<'_>,
        limits: &Limits,
    ) -> (CallOutcome, Prepared) {
        let said = protocol::encode(limits).and_then(|limits| {
            let common = input.common.map(|common| common.bytes);
            let outcome = self.interpreting.call(module, common, input.own, &limits).ok()?;
            protocol::decode::<(protocol::Outcome, Prepared)>(&outcome)
        });
        let failed = CallOutcome { output: Err(Trap::HostFailed), gas: Gas(0) };
        said.map_or((failed, Prepared::default()), |(outcome, prepared)| (outcome.into(), prepared))
    }
}

/// A trap as a number.
fn code(trap: Trap) -> i32 {
    protocol::encode(&trap).and_then(|bytes| bytes.first().copied()).map_or(GO_ON, i32::from)
}

/// The trap of a number; `None` to go on.
pub fn trap_of(code: i32) -> Option<Trap> {
    u8::try_from(code).ok().and_then(|code| protocol::decode(&[code]))
}
