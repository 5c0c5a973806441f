//! The portable interpreter: runs everywhere, natively and in the browser, and is the referee.

use core::fmt;

use wasmi::{
    Config, Engine as Interpreter, Error, Func, Global, Instance, Linker, Memory, Module, Ref, Store, TypedFunc, Val,
    errors::HostError,
};

use super::{
    CallOutcome, Engine, EngineName, Input, Limits, Prepared, Trap, Watch,
    drive::{self, Guest, INIT, Settings, Stop},
};
use crate::kernel::{Facts, STACK_BYTES, TrapReason, exports};

/// Calls inside one another that the rewrite's stack bound can let through, and some to spare.
const MOST_CALLS: usize = STACK_BYTES as usize / 64;
/// Gas between two looks at the watch unless told otherwise: some tens of milliseconds, natively.
const SLICE: i64 = 10_000_000;
/// wasmi's own stack in bytes: above what the rewrite's bound lets through, so that it never decides.
const MOST_STACK_BYTES: usize = 4 * STACK_BYTES as usize;

/// wasmi, set up so that only the rewrite's bounds decide.
#[derive(Clone)]
pub struct WasmiEngine {
    interpreter: Interpreter,
    watch: Option<Watch>,
    slice: i64,
    prepared: Prepared,
}

/// A kernel that wasmi has read. Bodies are translated when they are first called.
pub struct WasmiModule {
    module: Module,
    facts: Facts,
}

impl WasmiEngine {
    /// An engine; cheap, holds no modules.
    pub fn new() -> Self {
        let mut config = Config::default();
        config
            .set_max_recursion_depth(MOST_CALLS)
            .set_max_stack_height(MOST_STACK_BYTES)
            .wasm_multi_memory(true)
            .wasm_tail_call(true)
            .wasm_extended_const(false)
            .wasm_relaxed_simd(false)
            .ignore_custom_sections(true);
        Self { interpreter: Interpreter::new(&config), watch: None, slice: SLICE, prepared: Prepared::default() }
    }

    /// The interpreter as it is set up here, for tests that run modules which are no kernels.
    pub fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// Has `watch` asked while kernels run, from the next call on.
    pub fn set_watch(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// Has the watch asked each time that so much gas is used.
    pub fn set_slice(&mut self, gas: i64) {
        self.slice = gas.max(1);
    }
}

impl Default for WasmiEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for WasmiEngine {
    type Module = WasmiModule;

    fn name(&self) -> EngineName {
        EngineName::Wasmi
    }

    fn load(&mut self, rewritten: &[u8]) -> Result<WasmiModule, Trap> {
        let facts = Facts::of(rewritten).ok_or(Trap::HostFailed)?;
        let module = Module::new(&self.interpreter, rewritten).map_err(|_| Trap::HostFailed)?;
        Ok(WasmiModule { module, facts })
    }

    fn call(&mut self, module: &WasmiModule, input: Input<'_>, limits: &Limits) -> CallOutcome {
        let slice = self.watch.is_some().then_some(self.slice);
        drive::call(&module.facts, input, limits, slice, &mut self.prepared, || {
            WasmiGuest::new(&self.interpreter, &module.module, self.watch.clone()).ok_or(Trap::HostFailed)
        })
    }

    fn take_prepared(&mut self) -> Prepared {
        std::mem::take(&mut self.prepared)
    }
}

struct WasmiGuest {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    gas: Global,
    trap: Global,
    pages: Global,
    reserve: Global,
    slice: Global,
    alloc: TypedFunc<i32, i32>,
    run: TypedFunc<(i32, i32), i64>,
}

impl WasmiGuest {
    fn new(interpreter: &Interpreter, module: &Module, watch: Option<Watch>) -> Option<Self> {
        let mut store = Store::new(interpreter, ());
        let instance = Linker::new(interpreter).instantiate_and_start(&mut store, module).ok()?;
        if let Some(watch) = watch {
            let hook = Func::wrap(&mut store, move || match watch() {
                Some(trap) => Err(Error::host(Stopped(trap))),
                None => Ok(()),
            });
            instance
                .get_table(&store, exports::HOOK)?
                .set(&mut store, 0, Ref::from(wasmi::Nullable::Val(hook)))
                .ok()?;
        }
        Some(Self {
            memory: instance.get_memory(&store, "memory")?,
            gas: instance.get_global(&store, exports::GAS)?,
            trap: instance.get_global(&store, exports::TRAP)?,
            pages: instance.get_global(&store, exports::PAGES)?,
            reserve: instance.get_global(&store, exports::RESERVE)?,
            slice: instance.get_global(&store, exports::SLICE)?,
            alloc: instance.get_typed_func(&store, "alloc").ok()?,
            run: instance.get_typed_func(&store, "run").ok()?,
            instance,
            store,
        })
    }
}

impl Guest for WasmiGuest {
    fn set(&mut self, settings: Settings) -> Result<(), Stop> {
        for (global, value) in [
            (self.gas, Val::I64(settings.gas)),
            (self.reserve, Val::I64(settings.reserve)),
            (self.slice, Val::I64(settings.slice)),
            (self.pages, Val::I32(settings.pages)),
        ] {
            global.set(&mut self.store, value).map_err(|_| Stop::Host(Trap::HostFailed))?;
        }
        Ok(())
    }

    fn gas_left(&mut self) -> (i64, i64) {
        let read = |global: Global| global.get(&self.store).i64().unwrap_or(0);
        (read(self.gas), read(self.reserve))
    }

    fn trap_reason(&mut self) -> TrapReason {
        TrapReason::from_code(self.trap.get(&self.store).i32().unwrap_or(0))
    }

    fn start(&mut self, name: &str) -> Result<(), Stop> {
        let function =
            self.instance.get_typed_func::<(), ()>(&self.store, name).map_err(|_| Stop::Host(Trap::HostFailed))?;
        function.call(&mut self.store, ()).map_err(|error| stop(&error))
    }

    fn alloc(&mut self, length: u32) -> Result<u32, Stop> {
        let pointer = self.alloc.call(&mut self.store, length.cast_signed()).map_err(|error| stop(&error))?;
        Ok(pointer.cast_unsigned())
    }

    fn run(&mut self, pointer: u32, length: u32) -> Result<u64, Stop> {
        let input = (pointer.cast_signed(), length.cast_signed());
        self.run.call(&mut self.store, input).map(i64::cast_unsigned).map_err(|error| stop(&error))
    }

    fn init(&mut self, pointer: u32, length: u32) -> Result<(), Stop> {
        let init = self.instance.get_typed_func::<(i32, i32), ()>(&self.store, INIT);
        let init = init.map_err(|_| Stop::Host(Trap::HostFailed))?;
        init.call(&mut self.store, (pointer.cast_signed(), length.cast_signed())).map_err(|error| stop(&error))
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) -> bool {
        self.memory.write(&mut self.store, pointer as usize, bytes).is_ok()
    }

    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>> {
        let start = pointer as usize;
        let end = start.checked_add(length as usize)?;
        self.memory.data(&self.store).get(start..end).map(<[u8]>::to_vec)
    }
}

/// What the hook ends a call with.
#[derive(Debug)]
struct Stopped(Trap);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped by the host: {:?}", self.0)
    }
}

impl HostError for Stopped {}

/// wasmi's stack must never decide: the rewrite's bound comes first, and if not, that is our fault and not the kernel's.
fn stop(error: &Error) -> Stop {
    if let Some(Stopped(trap)) = error.downcast_ref() {
        return Stop::Host(*trap);
    }
    match error.as_trap_code() {
        Some(wasmi::TrapCode::StackOverflow | wasmi::TrapCode::OutOfFuel | wasmi::TrapCode::OutOfSystemMemory)
        | None => Stop::Host(Trap::HostFailed),
        Some(_) => Stop::Trap,
    }
}

/// How what stands ready is tried without another engine.
#[cfg(test)]
mod rewound {
    use super::*;
    use crate::engine::standing::Rewind;

    impl WasmiEngine {
        /// A fresh guest of a module.
        pub fn guest(&self, module: &WasmiModule) -> Option<impl Rewind + use<>> {
            WasmiGuest::new(&self.interpreter, &module.module, None)
        }
    }

    impl WasmiGuest {
        fn did(&mut self, name: &str) -> bool {
            let function = self.instance.get_typed_func::<(), i32>(&self.store, name);
            function.is_ok_and(|function| function.call(&mut self.store, ()).is_ok_and(|done| done == 1))
        }
    }

    impl Rewind for WasmiGuest {
        fn save(&mut self) -> bool {
            self.did(exports::SAVE)
        }

        fn rewind(&mut self) -> bool {
            self.did(exports::REWIND)
        }
    }
}
