//! The browser's own compiler. Used inside a Web Worker, where compiling and calling may block.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
};

use super::InterpretedModule;
use js_sys::{
    BigInt, Function, Object, Reflect, Uint8Array,
    WebAssembly::{Global, Instance, Memory, Module, RuntimeError, Table},
};
use p2pnet_shared::{
    engine::{
        CallOutcome, Engine, EngineName, Input, Limits, Prepared, Trap, Watch,
        drive::{self, Guest, INIT, Settings, Stop},
        standing::{Kind, Rewind, Standing, memories_for_each},
    },
    kernel::{self, Facts, TrapReason, exports},
    units::Gas,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_encoder::{
    BlockType, CodeSection, CustomSection, EntityType, ExportKind, ExportSection, FunctionSection, ImportSection,
    Section, TypeSection, ValType,
};

/// Gas between two looks at the watch: a millisecond or so of compiled code, a few of V8's baseline tier.
const SLICE: i64 = 2_000_000;

/// Gas of a call that may be made in an instance that stands ready, and that nobody looks into meanwhile: some milliseconds
/// at most.
const TINY_GAS: Gas = Gas(1_000_000);
/// Memories that all workers of a tab have together: Chromium sets so many addresses aside for each that some 120 are all that
/// a tab can have, and the page has one, and two more for its pieces.
const MEMORIES: usize = 117;
/// Of those, what a worker needs though nothing stands ready: its own, the interpreter's, and the two of a program's fresh
/// instance.
const MEMORIES_NEEDED: usize = 4;
/// Instances that stand ready in one worker. Each has twice the memories of its kernel and one for marks.
const MOST_STANDING: usize = 4;

/// Name of the custom section in which a compiled module carries its own bytes, for wasmi: whoever gets the module has them.
const REWRITTEN: &str = "p2pnet.rewritten";

/// Calls inside one another with which the hook sees that there is room for the host's code, and parameters of each: some
/// fifty kilobytes.
const PROBE: (i32, usize) = (64, 100);

const HOST: Stop = Stop::Host(Trap::HostFailed);

/// The browser's compiler. Modules are the caller's to keep.
pub struct BrowserEngine {
    hook: Option<Hook>,
    exhausted: Rc<Cell<bool>>,
    standing: Standing<BrowserGuest>,
    prepared: Prepared,
    /// Of the next module.
    number: u64,
}

/// What kernels call between two slices of gas.
struct Hook {
    function: Function,
    /// Why it last threw.
    stopped: Rc<Cell<Option<Trap>>>,
    _closure: Closure<dyn Fn() -> Result<(), JsValue>>,
}

/// A kernel that the browser has compiled. It may be posted to other workers, which then share the compiled code.
pub struct BrowserModule {
    module: Module,
    facts: Facts,
    /// The same for the interpreter, once that was needed.
    interpreted: Cell<Option<Result<InterpretedModule, Trap>>>,
    /// The form whose instances can be set back, and how many memories it has, once that was wanted.
    rewindable: OnceCell<Option<(Module, usize)>>,
    /// Tells the modules of an engine apart.
    number: u64,
}

impl BrowserModule {
    fn new(module: Module, facts: Facts, number: u64) -> Self {
        Self { module, facts, interpreted: Cell::new(None), rewindable: OnceCell::new(), number }
    }

    /// What other workers may have.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// What they must know of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Where the same kernel is noted as the interpreter has it.
    pub(super) fn interpreted(&self) -> &Cell<Option<Result<InterpretedModule, Trap>>> {
        &self.interpreted
    }

    /// The rewritten bytes, which the module carries.
    pub(super) fn rewritten(&self) -> Vec<u8> {
        self.carried().to_vec()
    }

    fn carried(&self) -> Uint8Array {
        Uint8Array::new(&Module::custom_sections(&self.module, REWRITTEN).get(0))
    }

    fn rewindable(&self) -> Option<&(Module, usize)> {
        let make = || {
            let rewritten = self.carried();
            // A larger one is not copied in vain.
            if !kernel::may_rewind(rewritten.length() as usize, &self.facts) {
                return None;
            }
            let form = kernel::rewindable(&rewritten.to_vec())?;
            Module::new(&Uint8Array::from(&*form)).ok().map(|module| (module, kernel::memories(&form)))
        };
        self.rewindable.get_or_init(make).as_ref()
    }
}

impl Default for BrowserEngine {
    fn default() -> Self {
        let standing = Standing::new(MOST_STANDING, TINY_GAS);
        let memories = memories_for_each(MEMORIES, most_workers(), MEMORIES_NEEDED);
        let (standing, prepared) = (standing.with_memories(memories), Prepared::default());
        Self { hook: None, exhausted: Rc::default(), standing, prepared, number: 0 }
    }
}

impl BrowserEngine {
    /// Has `watch` asked while kernels run, from the next call on, where the page's policy lets anything be compiled.
    pub fn set_watch(&mut self, watch: Watch) {
        self.hook = Hook::new(watch).ok();
    }

    /// A module that was compiled before, from the rewritten bytes that `facts` are of.
    pub fn adopt(&mut self, module: Module, facts: Facts) -> BrowserModule {
        self.number += 1;
        BrowserModule::new(module, facts, self.number)
    }

    /// Gives up what stands ready for a module that is not needed any more.
    pub fn forget(&mut self, module: &BrowserModule) {
        self.standing.forget(module.number);
    }

    /// The call in an instance that stands ready, where that is worthwhile and comes to an output.
    fn call_standing(
        &mut self,
        kind: Kind,
        module: &BrowserModule,
        input: Input<'_>,
        limits: &Limits,
    ) -> Option<CallOutcome> {
        if !self.standing.is_worthwhile(kind) {
            return None;
        }
        let (form, memories) = module.rewindable()?;
        if !self.standing.makes_room(kind, *memories) {
            return None;
        }
        let exhausted = &self.exhausted;
        let hook = self.hook.as_ref().filter(|_| kind.is_prepared());
        let slice = hook.map(|_| SLICE);
        self.standing.call(kind, &module.facts, input, limits, slice, || {
            let guest = BrowserGuest::new(form, hook, exhausted).ok()?;
            Some(BrowserGuest { memories: *memories, ..guest })
        })
    }

    /// Whether the last call ended because the browser's own stack or room did, which says nothing about the kernel.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.get()
    }
}

impl Engine for BrowserEngine {
    type Module = BrowserModule;

    fn name(&self) -> EngineName {
        EngineName::Browser
    }

    fn load(&mut self, rewritten: &[u8]) -> Result<BrowserModule, Trap> {
        let facts = Facts::of(rewritten).ok_or(Trap::HostFailed)?;
        // Throws where the page's policy forbids compiling.
        let module = Module::new(&Uint8Array::from(&*carrying_itself(rewritten))).map_err(|_| Trap::HostFailed)?;
        Ok(self.adopt(module, facts))
    }

    fn call(&mut self, module: &BrowserModule, input: Input<'_>, limits: &Limits) -> CallOutcome {
        let kind = self.standing.kind(module.number, &module.facts, input, limits);
        let outcome = self.call_standing(kind, module, input, limits);
        self.exhausted.set(false);
        if let Some(outcome) = outcome {
            return outcome;
        }
        let slice = self.hook.as_ref().map(|_| SLICE);
        let (hook, exhausted, standing) = (self.hook.as_ref(), &self.exhausted, &mut self.standing);
        let outcome = drive::call(&module.facts, input, limits, slice, &mut self.prepared, || {
            let fresh = || BrowserGuest::new(&module.module, hook, exhausted);
            // What stands ready may be what there is no room for another beside.
            fresh().or_else(|error| if standing.clear() { fresh() } else { Err(error) }).map_err(|_| {
                exhausted.set(true);
                Trap::HostFailed
            })
        });
        self.standing.saw(kind, &outcome);
        outcome
    }

    fn take_prepared(&mut self) -> Prepared {
        let mut prepared = std::mem::take(&mut self.prepared);
        prepared += self.standing.take_prepared();
        prepared
    }
}

impl Hook {
    fn new(watch: Watch) -> Result<Self, JsValue> {
        let stopped = Rc::new(Cell::new(None));
        let reason = stopped.clone();
        let closure = Closure::<dyn Fn() -> Result<(), JsValue>>::new(move || match watch() {
            // What is thrown leaves the kernel, which cannot catch anything, and comes out of its call.
            Some(trap) => {
                reason.set(Some(trap));
                Err(JsValue::NULL)
            }
            None => Ok(()),
        });
        let (imports, functions) = (Object::new(), Object::new());
        Reflect::set(&functions, &"h".into(), closure.as_ref())?;
        Reflect::set(&imports, &"h".into(), &functions)?;
        let module = Module::new(&Uint8Array::from(&*hook_module()))?;
        let function = export(&Instance::new(&module, &imports)?.exports(), "h")?;
        Ok(Self { function, stopped, _closure: closure })
    }
}

struct BrowserGuest {
    stopped: Option<Rc<Cell<Option<Trap>>>>,
    exhausted: Rc<Cell<bool>>,
    exports: Object,
    /// How many it has, if it stands ready.
    memories: usize,
    memory: Memory,
    gas: Global,
    trap: Global,
    pages: Global,
    reserve: Global,
    slice: Global,
    alloc: Function,
    run: Function,
    /// What saves and sets back, in the form that can be.
    rewind: Option<(Function, Function)>,
}

impl BrowserGuest {
    fn new(module: &Module, hook: Option<&Hook>, exhausted: &Rc<Cell<bool>>) -> Result<Self, JsValue> {
        let exported = Instance::new(module, &Object::new())?.exports();
        if let Some(hook) = hook {
            hook.stopped.set(None);
            export::<Table>(&exported, exports::HOOK)?.set(0, &hook.function)?;
        }
        Ok(Self {
            stopped: hook.map(|hook| hook.stopped.clone()),
            exhausted: exhausted.clone(),
            memory: export(&exported, "memory")?,
            gas: export(&exported, exports::GAS)?,
            trap: export(&exported, exports::TRAP)?,
            pages: export(&exported, exports::PAGES)?,
            reserve: export(&exported, exports::RESERVE)?,
            slice: export(&exported, exports::SLICE)?,
            alloc: export(&exported, "alloc")?,
            run: export(&exported, "run")?,
            rewind: export(&exported, exports::SAVE).ok().zip(export(&exported, exports::REWIND).ok()),
            exports: exported,
            memories: 0,
        })
    }

    /// Only a trap of WebAssembly is the kernel's. A `RangeError` (the stack of V8 and Safari) or `InternalError` (Firefox's)
    /// never decides: that stack is smaller than what a kernel may use, so wasmi is asked.
    fn stop(&self, error: &JsValue) -> Stop {
        if let Some(trap) = self.stopped.as_ref().and_then(|stopped| stopped.take()) {
            return Stop::Host(trap);
        }
        if error.is_instance_of::<RuntimeError>() {
            return Stop::Trap;
        }
        let name = Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string());
        if matches!(name.as_deref(), Some("RangeError" | "InternalError")) {
            self.exhausted.set(true);
        }
        HOST
    }

    /// The bytes from `pointer` on, if they are inside memory as it is now.
    fn view(&self, pointer: u32, length: usize) -> Option<Uint8Array> {
        let buffer = self.memory.buffer();
        let length = u32::try_from(length).ok()?;
        let end = u64::from(pointer) + u64::from(length);
        // A memory of 4 GiB is one byte longer than a u32 can say: its length is asked as a float.
        // Below 2^33.
        let inside = (end as f64) <= byte_length(&buffer);
        inside.then(|| Uint8Array::new_with_byte_offset_and_length(&buffer, pointer, length))
    }
}

impl Guest for BrowserGuest {
    fn set(&mut self, settings: Settings) -> Result<(), Stop> {
        if let Some(stopped) = &self.stopped {
            stopped.set(None);
        }
        self.gas.set_value(&BigInt::from(settings.gas));
        self.reserve.set_value(&BigInt::from(settings.reserve));
        self.slice.set_value(&BigInt::from(settings.slice));
        self.pages.set_value(&JsValue::from(settings.pages));
        Ok(())
    }

    fn gas_left(&mut self) -> (i64, i64) {
        let read = |global: &Global| i64::try_from(global.value()).unwrap_or(0);
        (read(&self.gas), read(&self.reserve))
    }

    // An i32 global.
    fn trap_reason(&mut self) -> TrapReason {
        TrapReason::from_code(self.trap.value().as_f64().unwrap_or(0.0) as i32)
    }

    fn start(&mut self, name: &str) -> Result<(), Stop> {
        let function: Function = export(&self.exports, name).map_err(|_| HOST)?;
        function.call0(&JsValue::UNDEFINED).map(|_| ()).map_err(|error| self.stop(&error))
    }

    // An i32 result.
    fn alloc(&mut self, length: u32) -> Result<u32, Stop> {
        let length = JsValue::from(length.cast_signed());
        let pointer = self.alloc.call1(&JsValue::UNDEFINED, &length).map_err(|error| self.stop(&error))?;
        pointer.as_f64().map(|pointer| (pointer as i32).cast_unsigned()).ok_or(HOST)
    }

    fn run(&mut self, pointer: u32, length: u32) -> Result<u64, Stop> {
        let (pointer, length) = (JsValue::from(pointer.cast_signed()), JsValue::from(length.cast_signed()));
        let packed = self.run.call2(&JsValue::UNDEFINED, &pointer, &length).map_err(|error| self.stop(&error))?;
        i64::try_from(packed).map(i64::cast_unsigned).map_err(|_| HOST)
    }

    fn init(&mut self, pointer: u32, length: u32) -> Result<(), Stop> {
        let init: Function = export(&self.exports, INIT).map_err(|_| HOST)?;
        let (pointer, length) = (JsValue::from(pointer.cast_signed()), JsValue::from(length.cast_signed()));
        init.call2(&JsValue::UNDEFINED, &pointer, &length).map(|_| ()).map_err(|error| self.stop(&error))
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) -> bool {
        match self.view(pointer, bytes.len()) {
            Some(view) => {
                view.copy_from(bytes);
                true
            }
            None => false,
        }
    }

    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>> {
        self.view(pointer, length as usize).map(|view| view.to_vec())
    }
}

impl Rewind for BrowserGuest {
    fn memories(&self) -> usize {
        self.memories
    }

    fn save(&mut self) -> bool {
        self.rewind.as_ref().is_some_and(|(save, _)| did(save))
    }

    fn rewind(&mut self) -> bool {
        self.rewind.as_ref().is_some_and(|(_, rewind)| did(rewind))
    }
}

/// A tab has a worker for each core at most, and one for the person at it.
fn most_workers() -> usize {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into());
    let cores = navigator.and_then(|navigator| Reflect::get(&navigator, &"hardwareConcurrency".into()));
    let cores = cores.ok().and_then(|cores| cores.as_f64()).unwrap_or(1.0);
    // A small number.
    (cores.max(1.0) as usize).saturating_add(1)
}

fn did(function: &Function) -> bool {
    function.call0(&JsValue::UNDEFINED).is_ok_and(|done| done.as_f64() == Some(1.0))
}

/// A module that imports a function `h.h` of JavaScript's and exports another, which calls it: only so can it stand in a table.
/// The host's own code must not run out of stack in its middle: it would leave behind what it had begun. So a kernel's stack
/// is tried first, and if too little is left, ends there.
///
/// ```text
/// (module (import "h" "h" (func $h))
///   (func $probe (param i32 i64 i64 …)
///     (if (local.get 0) (then (call $probe (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2) …))))
///   (func (export "h") (call $probe (i32.const 64) (i64.const 0) (i64.const 0) …) (call $h)))
/// ```
fn hook_module() -> Vec<u8> {
    const PROBE_FUNCTION: u32 = 1;
    let (depth, parameters) = PROBE;
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut taken = vec![ValType::I32];
    taken.resize(1 + parameters, ValType::I64);
    types.ty().function(taken, []);
    let mut imports = ImportSection::new();
    imports.import("h", "h", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1).function(0);
    let mut exports = ExportSection::new();
    exports.export("h", ExportKind::Func, 2);
    let mut probe = wasm_encoder::Function::new([]);
    let mut sink = probe.instructions();
    sink.local_get(0).if_(BlockType::Empty).local_get(0).i32_const(1).i32_sub();
    for parameter in (1..).take(parameters) {
        sink.local_get(parameter);
    }
    sink.call(PROBE_FUNCTION).end().end();
    let mut hook = wasm_encoder::Function::new([]);
    let mut sink = hook.instructions();
    sink.i32_const(depth);
    for _ in 0..parameters {
        sink.i64_const(0);
    }
    sink.call(PROBE_FUNCTION).call(0).end();
    let mut code = CodeSection::new();
    code.function(&probe).function(&hook);
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    module.finish()
}

/// The module with its own bytes in a custom section at its end.
fn carrying_itself(rewritten: &[u8]) -> Vec<u8> {
    let section = CustomSection { name: REWRITTEN.into(), data: rewritten.into() };
    let mut bytes = rewritten.to_vec();
    section.append_to(&mut bytes);
    bytes
}

fn export<T: JsCast>(exports: &Object, name: &str) -> Result<T, JsValue> {
    Reflect::get(exports, &JsValue::from_str(name))?.dyn_into()
}

fn byte_length(buffer: &JsValue) -> f64 {
    Reflect::get(buffer, &JsValue::from_str("byteLength")).ok().and_then(|length| length.as_f64()).unwrap_or(0.0)
}
