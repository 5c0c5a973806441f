//! The portable interpreter: runs everywhere, natively and in the browser, and is the referee.

use wasmi::{Config, Engine as Interpreter, Error, Global, Instance, Linker, Memory, Module, Store, TypedFunc, Val};

use super::{
    CallOutcome, Engine, EngineName, Limits, Trap,
    drive::{self, Guest, Stop},
};
use crate::kernel::{Facts, STACK_BYTES, TrapReason, exports};

/// Calls inside one another that the rewrite's stack bound can let through, and some to spare.
const MOST_CALLS: usize = STACK_BYTES as usize / 64;
/// wasmi's own stack in bytes: above what the rewrite's bound lets through, so that it never decides.
const MOST_STACK_BYTES: usize = 4 * STACK_BYTES as usize;

/// wasmi, set up so that only the rewrite's bounds decide.
pub struct WasmiEngine {
    interpreter: Interpreter,
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
            .wasm_multi_memory(false)
            .wasm_tail_call(false)
            .wasm_extended_const(false)
            .wasm_relaxed_simd(false)
            .ignore_custom_sections(true);
        Self { interpreter: Interpreter::new(&config) }
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

    fn call(&mut self, module: &WasmiModule, input: &[&[u8]], limits: &Limits) -> CallOutcome {
        drive::call(&module.facts, input, limits, || {
            WasmiGuest::new(&self.interpreter, &module.module).ok_or(Trap::HostFailed)
        })
    }
}

struct WasmiGuest {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    gas: Global,
    trap: Global,
    pages: Global,
    alloc: TypedFunc<i32, i32>,
    run: TypedFunc<(i32, i32), i64>,
}

impl WasmiGuest {
    fn new(interpreter: &Interpreter, module: &Module) -> Option<Self> {
        let mut store = Store::new(interpreter, ());
        let instance = Linker::new(interpreter).instantiate_and_start(&mut store, module).ok()?;
        Some(Self {
            memory: instance.get_memory(&store, "memory")?,
            gas: instance.get_global(&store, exports::GAS)?,
            trap: instance.get_global(&store, exports::TRAP)?,
            pages: instance.get_global(&store, exports::PAGES)?,
            alloc: instance.get_typed_func(&store, "alloc").ok()?,
            run: instance.get_typed_func(&store, "run").ok()?,
            instance,
            store,
        })
    }
}

impl Guest for WasmiGuest {
    fn set_limits(&mut self, gas: i64, pages: i32) -> Result<(), Stop> {
        self.gas.set(&mut self.store, Val::I64(gas)).map_err(|_| Stop::Host)?;
        self.pages.set(&mut self.store, Val::I32(pages)).map_err(|_| Stop::Host)
    }

    fn gas_left(&mut self) -> i64 {
        self.gas.get(&self.store).i64().unwrap_or(0)
    }

    fn trap_reason(&mut self) -> TrapReason {
        TrapReason::from_code(self.trap.get(&self.store).i32().unwrap_or(0))
    }

    fn start(&mut self, name: &str) -> Result<(), Stop> {
        let function = self.instance.get_typed_func::<(), ()>(&self.store, name).map_err(|_| Stop::Host)?;
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

    fn write(&mut self, pointer: u32, bytes: &[u8]) -> bool {
        self.memory.write(&mut self.store, pointer as usize, bytes).is_ok()
    }

    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>> {
        let start = pointer as usize;
        let end = start.checked_add(length as usize)?;
        self.memory.data(&self.store).get(start..end).map(<[u8]>::to_vec)
    }
}

/// wasmi's stack must never decide: the rewrite's bound comes first, and if not, that is our fault and not the kernel's.
fn stop(error: &Error) -> Stop {
    match error.as_trap_code() {
        Some(wasmi::TrapCode::StackOverflow | wasmi::TrapCode::OutOfFuel | wasmi::TrapCode::OutOfSystemMemory)
        | None => Stop::Host,
        Some(_) => Stop::Trap,
    }
}
