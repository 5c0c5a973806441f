//! The native compiler, set up so that only the rewrite's bounds decide.
//!
//! Instances come from a pool, traps are signals, compiled code is kept on disk. What stops a kernel from outside is
//! the rewrite's own hook ([`Watch`]), which costs nothing inside loops, so wasmtime's epochs and fuel stay off.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use p2pnet_shared::{
    engine::{
        CallOutcome, Engine, EngineName, Input, Limits, Prepared, Trap, Watch,
        drive::{self, Guest, INIT, Settings, Stop},
        standing::{Kind, Rewind, Standing},
    },
    kernel::{self, Facts, MOST_MEMORIES, MOST_TABLE_ELEMENTS, MOST_TABLES, STACK_BYTES, TrapReason, exports},
    units::Gas,
};
use wasmtime::{
    Config, Enabled, Engine as Compiler, Func, Global, Instance, InstanceAllocationStrategy, InstancePre, Linker,
    Memory, Module, ModuleExport, PoolingAllocationConfig, Ref, Store, TypedFunc, Val,
};

use super::{
    compiled::{Compiled, CompiledFolder},
    room::with_room,
};

/// Gas between two looks at the watch: some milliseconds.
const SLICE: i64 = 20_000_000;
/// wasmtime's stack in bytes: above what the rewrite's bound lets through, and below what a thread has ([`super::room`]).
pub(super) const MOST_STACK_BYTES: usize = 4 * STACK_BYTES as usize;
/// Instances at once, where nothing else is said; each thread that runs kernels needs one.
const MOST_INSTANCES: u32 = 128;
/// The same where one thread runs kernels, and a little over.
const INSTANCES_OF_ONE_THREAD: u32 = 2;
/// Address space of one instance's own structures.
const MOST_INSTANCE_BYTES: usize = 4 << 20;
/// Memory of an instance that is set back by hand and stays in place, since handing it back costs more than a tiny task.
/// Where Linux tells which pages were written, wherever they lie: rustc puts stack and data around the first MiB.
const RESIDENT_BYTES: usize = 256 << 10;

/// Gas of a call that may be made in an instance that stands ready: some tenths of a millisecond. For a longer one making
/// an instance does not matter.
const TINY_GAS: Gas = Gas(1_000_000);
/// Instances that stand ready at once.
const MOST_STANDING: usize = 8;
/// Files that a kernel holds open: in each of its forms one for each memory that begins with data.
pub const FILES_OF_A_KERNEL: u64 = 2 * MOST_MEMORIES as u64;
/// The same for instances of kernels that are not kept any more, where one thread runs kernels: what the pool's places began
/// with last, and what stands ready, with one that comes before another goes.
pub const FILES_OF_INSTANCES: u64 = (INSTANCES_OF_ONE_THREAD as u64 + MOST_STANDING as u64 + 1) * FILES_OF_A_KERNEL;
/// Calls between two looks for a form that is not there yet, at first and at most: a look takes as long as some of them.
const LEAST_CALLS_A_LOOK: u32 = 256;
const MOST_CALLS_A_LOOK: u32 = 16_384;
/// A kernel that takes longer to compile is not compiled twice: that would be too much for its bounds. One that is prepared
/// for many calls is, for as long as that may take.
const SHORT: Duration = Duration::from_secs(5);

/// wasmtime. Cheap to clone.
pub struct WasmtimeEngine {
    compiler: Compiler,
    folder: Option<Arc<CompiledFolder>>,
    watch: Option<Watch>,
    /// The same for what stands ready, which outlives it.
    lasting_watch: Arc<Mutex<Option<Watch>>>,
    /// Makes what stands ready, which lives for long and so needs no pool.
    lasting: Compiler,
    standing: Standing<WasmtimeGuest>,
    prepared: Prepared,
}

/// A compiled kernel. Cheap to clone.
#[derive(Clone)]
pub struct WasmtimeModule {
    ready: InstancePre<()>,
    items: Items,
    facts: Arc<Facts>,
    rewindable: Arc<Rewindable>,
}

/// The other form of a kernel, once that was wanted.
struct Rewindable {
    /// Tells modules apart.
    number: u64,
    /// None of a kernel that is too large for it.
    rewritten: Option<Box<[u8]>>,
    /// Whether it may be compiled here, or is only to be found on disk.
    may_compile: bool,
    form: OnceLock<(InstancePre<()>, Items)>,
    looks: Looks,
}

/// When a form is looked for on disk that is not there yet: another process may be compiling it just now, or never be.
#[derive(Default)]
struct Looks {
    /// Calls until the next look.
    left: AtomicU32,
    /// Calls between the last two.
    last: AtomicU32,
}

impl Looks {
    fn is_due(&self) -> bool {
        let count = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_err()
    }

    fn was_in_vain(&self) {
        let next = (2 * self.last.load(Ordering::Relaxed)).clamp(LEAST_CALLS_A_LOOK, MOST_CALLS_A_LOOK);
        self.last.store(next, Ordering::Relaxed);
        self.left.store(next, Ordering::Relaxed);
    }
}

/// Where a kernel's exports are, so that no name is looked up in a call.
#[derive(Clone, Copy)]
struct Items {
    memory: ModuleExport,
    alloc: ModuleExport,
    run: ModuleExport,
    gas: ModuleExport,
    trap: ModuleExport,
    pages: ModuleExport,
    reserve: ModuleExport,
    slice: ModuleExport,
    hook: ModuleExport,
    /// What saves and sets back, in the other form.
    rewind: Option<(ModuleExport, ModuleExport)>,
}

/// Opens what Linux tells by which pages of memory were written, for all engines that this process makes later on. For a
/// process that will not be able to; without it, each call of a kernel whose memory is larger costs some page faults more.
pub fn watch_written_pages() {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(1).total_memories(1).total_tables(1).max_memory_size(1 << 16).pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(1 << 16)
        .memory_guard_size(0);
    if let Err(error) = Compiler::new(&config) {
        tracing::debug!(%error, "kernels' memories are set back from the lowest page on");
    }
}

impl WasmtimeEngine {
    /// An engine that keeps compiled code in `folder`, if one is given. Fails on processors that wasmtime cannot
    /// compile for.
    pub fn new(folder: Option<PathBuf>) -> Result<Self, wasmtime::Error> {
        Self::with_instances(folder, MOST_INSTANCES)
    }

    /// The same for one thread that runs kernels: what is kept for instances fits into a process of little memory.
    pub fn of_one_thread(folder: Option<PathBuf>) -> Result<Self, wasmtime::Error> {
        Self::with_instances(folder, INSTANCES_OF_ONE_THREAD)
    }

    fn with_instances(folder: Option<PathBuf>, most: u32) -> Result<Self, wasmtime::Error> {
        let compiler = Compiler::new(&config(Some(most))).or_else(|error| {
            // As right, and many times slower for tiny tasks.
            tracing::warn!(%error, "no room to keep instances in: each call of a kernel gets memory of its own");
            Compiler::new(&config(None))
        })?;
        let folder = folder.map(|path| Arc::new(CompiledFolder::new(path, &compiler)));
        Self::made_of(compiler, folder)
    }

    fn made_of(compiler: Compiler, folder: Option<Arc<CompiledFolder>>) -> Result<Self, wasmtime::Error> {
        let lasting = Compiler::new(&config(None))?;
        let (lasting_watch, standing) = (Arc::default(), Standing::new(MOST_STANDING, TINY_GAS));
        let prepared = Prepared::default();
        Ok(Self { compiler, folder, watch: None, lasting_watch, lasting, standing, prepared })
    }

    /// Whether instances come from memory that is kept for them.
    pub fn keeps_instances(&self) -> bool {
        self.compiler.pooling_allocator_metrics().is_some()
    }

    /// An engine that compiles into `folder` and runs nothing, so that it needs no room for instances.
    pub fn compiling_into(folder: PathBuf) -> Result<Self, wasmtime::Error> {
        let compiler = Compiler::new(&config(None))?;
        let folder = Some(Arc::new(CompiledFolder::new(folder, &compiler)));
        Self::made_of(compiler, folder)
    }

    /// Puts the kernel's compiled code into the folder, where an engine with the same folder finds it; what came of it is
    /// `told`. Then that of its other form is put beside it, if there is one, for as long as this is left to work. A kernel
    /// that is prepared for many calls is of little use without that form: there it comes before anybody is told.
    pub fn keep(&self, rewritten: &[u8], told: impl FnOnce(Compiled)) {
        let began = Instant::now();
        let compiled = self.keep_as_is(rewritten);
        let is_short = began.elapsed() < SHORT;
        let is_prepared = Facts::of(rewritten).is_some_and(|facts| facts.init);
        let keep_form = || {
            if compiled == Compiled::Ready
                && (is_short || is_prepared)
                && let Some(form) = kernel::rewindable(rewritten)
            {
                self.keep_as_is(&form);
            }
        };
        if is_prepared && is_short {
            keep_form();
            told(compiled);
        } else {
            told(compiled);
            keep_form();
        }
    }

    fn keep_as_is(&self, rewritten: &[u8]) -> Compiled {
        let Some(folder) = &self.folder else { return Compiled::NotKept };
        match self.compiler.precompile_module(rewritten) {
            Ok(code) if folder.put(rewritten, &code) => Compiled::Ready,
            Ok(_) => Compiled::NotKept,
            Err(error) => {
                tracing::warn!(%error, "wasmtime refuses a rewritten kernel");
                Compiled::Refused
            }
        }
    }

    /// The compiler as it is set up here, for tests that run modules which are no kernels.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// The same for what stands ready.
    pub fn lasting_compiler(&self) -> &Compiler {
        &self.lasting
    }

    /// Has `watch` asked while kernels run on this clone, from the next call on.
    pub fn set_watch(&mut self, watch: Option<Watch>) {
        *self.lasting_watch.lock().unwrap_or_else(PoisonError::into_inner) = watch.clone();
        self.watch = watch;
    }

    /// Calls that this clone has made in instances that stood ready.
    pub fn stood_ready(&self) -> u64 {
        self.standing.calls()
    }

    /// The kernel, if its compiled code is on disk.
    pub fn load_kept(&self, rewritten: &[u8]) -> Option<WasmtimeModule> {
        let module = self.folder.as_ref()?.get(&self.compiler, rewritten)?;
        self.ready(&module, rewritten, false)
    }

    fn ready(&self, module: &Module, rewritten: &[u8], may_compile: bool) -> Option<WasmtimeModule> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let facts = Facts::of(rewritten)?;
        // What is larger is not called for tiny work, and compiling it twice would take long.
        let may_rewind = kernel::may_rewind(rewritten.len(), &facts);
        Some(WasmtimeModule {
            ready: Linker::new(&self.compiler).instantiate_pre(module).ok()?,
            items: Items::of(module)?,
            facts: Arc::new(facts),
            rewindable: Arc::new(Rewindable {
                number: NUMBER.fetch_add(1, Ordering::Relaxed),
                rewritten: may_rewind.then(|| rewritten.into()),
                may_compile,
                form: OnceLock::new(),
                looks: Looks::default(),
            }),
        })
    }

    fn form(&self, rewritten: &[u8], may_compile: bool) -> Option<(InstancePre<()>, Items)> {
        let form = kernel::rewindable(rewritten)?;
        let found = self.folder.as_ref().and_then(|folder| folder.get(&self.lasting, &form));
        let compiled = match found {
            Some(module) => module,
            None if may_compile => Module::new(&self.lasting, &form).ok()?,
            None => return None,
        };
        Some((Linker::new(&self.lasting).instantiate_pre(&compiled).ok()?, Items::of(&compiled)?))
    }

    /// The call in an instance that stands ready, where that is worthwhile and comes to an output.
    fn call_standing(
        &mut self,
        kind: Kind,
        module: &WasmtimeModule,
        input: Input<'_>,
        limits: &Limits,
    ) -> Option<CallOutcome> {
        let rewindable = &module.rewindable;
        let rewritten = rewindable.rewritten.as_ref()?;
        if !self.standing.is_worthwhile(kind) {
            return None;
        }
        if rewindable.form.get().is_none() {
            if !rewindable.looks.is_due() {
                return None;
            }
            let Some(form) = self.form(rewritten, rewindable.may_compile) else {
                rewindable.looks.was_in_vain();
                return None;
            };
            let _ = rewindable.form.set(form);
        }
        let (ready, items) = rewindable.form.get()?;
        let (lasting, watch) = (&self.lasting, Arc::clone(&self.lasting_watch));
        // Whoever looks into a tiny call would see nothing.
        let hook = kind.is_prepared().then(|| -> Watch {
            Arc::new(move || {
                let watch = watch.lock().unwrap_or_else(PoisonError::into_inner).clone();
                watch.and_then(|watch| watch())
            })
        });
        let slice = (hook.is_some() && self.watch.is_some()).then_some(SLICE);
        let instantiate = || WasmtimeGuest::new(lasting, ready, items, hook);
        self.standing.call(kind, &module.facts, input, limits, slice, instantiate)
    }
}

impl Clone for WasmtimeEngine {
    /// What stands ready is each clone's own.
    fn clone(&self) -> Self {
        Self {
            compiler: self.compiler.clone(),
            folder: self.folder.clone(),
            watch: self.watch.clone(),
            lasting_watch: Arc::new(Mutex::new(self.watch.clone())),
            lasting: self.lasting.clone(),
            standing: Standing::new(MOST_STANDING, TINY_GAS),
            prepared: Prepared::default(),
        }
    }
}

impl Items {
    fn of(module: &Module) -> Option<Self> {
        let item = |name: &str| module.get_export_index(name);
        Some(Self {
            memory: item("memory")?,
            alloc: item("alloc")?,
            run: item("run")?,
            gas: item(exports::GAS)?,
            trap: item(exports::TRAP)?,
            pages: item(exports::PAGES)?,
            reserve: item(exports::RESERVE)?,
            slice: item(exports::SLICE)?,
            hook: item(exports::HOOK)?,
            rewind: item(exports::SAVE).zip(item(exports::REWIND)),
        })
    }
}

impl Engine for WasmtimeEngine {
    type Module = WasmtimeModule;

    fn name(&self) -> EngineName {
        EngineName::Wasmtime
    }

    fn load(&mut self, rewritten: &[u8]) -> Result<WasmtimeModule, Trap> {
        if let Some(kept) = self.load_kept(rewritten) {
            return Ok(kept);
        }
        let module = Module::new(&self.compiler, rewritten).map_err(|error| {
            tracing::warn!(%error, "wasmtime refuses a rewritten kernel");
            Trap::HostFailed
        })?;
        if let (Some(folder), Ok(code)) = (&self.folder, module.serialize()) {
            folder.put(rewritten, &code);
        }
        self.ready(&module, rewritten, true).ok_or(Trap::HostFailed)
    }

    fn call(&mut self, module: &WasmtimeModule, input: Input<'_>, limits: &Limits) -> CallOutcome {
        let slice = self.watch.is_some().then_some(SLICE);
        let call = || {
            let kind = self.standing.kind(module.rewindable.number, &module.facts, input, limits);
            if let Some(outcome) = self.call_standing(kind, module, input, limits) {
                return outcome;
            }
            let (compiler, watch, standing) = (&self.compiler, &self.watch, &mut self.standing);
            let outcome = drive::call(&module.facts, input, limits, slice, &mut self.prepared, || {
                let fresh = || WasmtimeGuest::new(compiler, &module.ready, &module.items, watch.clone());
                // What stands ready may be what there is no room for another beside.
                fresh().or_else(|| if standing.clear() { fresh() } else { None }).ok_or(Trap::HostFailed)
            });
            if module.rewindable.rewritten.is_some() {
                self.standing.saw(kind, &outcome);
            }
            outcome
        };
        with_room(call).unwrap_or(CallOutcome { output: Err(Trap::HostFailed), gas: Gas(0) })
    }

    fn take_prepared(&mut self) -> Prepared {
        let mut prepared = std::mem::take(&mut self.prepared);
        prepared += self.standing.take_prepared();
        prepared
    }
}

/// With `instances` kept ready, if any are.
fn config(instances: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        // One thread: what compiling takes counts for the one core that asked for it.
        .parallel_compilation(false)
        .max_wasm_stack(MOST_STACK_BYTES)
        // Nothing runs on such stacks here, and yet the other may not be larger.
        .async_stack_size(MOST_STACK_BYTES)
        .memory_may_move(false)
        .wasm_backtrace_max_frames(None)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(true)
        .wasm_multi_memory(true)
        .wasm_memory64(false)
        .wasm_extended_const(false);
    if let Some(instances) = instances {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(instances)
            .total_memories(instances * MOST_MEMORIES)
            .max_memories_per_module(MOST_MEMORIES)
            // Each of them takes 8 MiB of what a process may have, used or not.
            .total_tables((instances * 2).max(MOST_TABLES + 1))
            .max_tables_per_module(MOST_TABLES + 1)
            .table_elements(usize::try_from(MOST_TABLE_ELEMENTS).unwrap_or(usize::MAX))
            .max_core_instance_size(MOST_INSTANCE_BYTES)
            .linear_memory_keep_resident(RESIDENT_BYTES)
            .pagemap_scan(Enabled::Auto)
            .table_keep_resident(4 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

struct WasmtimeGuest {
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
    rewind: Option<(TypedFunc<(), i32>, TypedFunc<(), i32>)>,
}

impl WasmtimeGuest {
    fn new(compiler: &Compiler, ready: &InstancePre<()>, items: &Items, watch: Option<Watch>) -> Option<Self> {
        let mut store = Store::new(compiler, ());
        let instance = ready.instantiate(&mut store).ok()?;
        if let Some(watch) = watch {
            let hook = Func::wrap(&mut store, move || match watch() {
                Some(trap) => Err(wasmtime::Error::new(Stopped(trap))),
                None => Ok(()),
            });
            let table = instance.get_module_export(&mut store, &items.hook)?.into_table()?;
            table.set(&mut store, 0, Ref::Func(Some(hook))).ok()?;
        }
        let mut global = |item| instance.get_module_export(&mut store, item)?.into_global();
        let (gas, trap, pages) = (global(&items.gas)?, global(&items.trap)?, global(&items.pages)?);
        let (reserve, slice) = (global(&items.reserve)?, global(&items.slice)?);
        let alloc = instance.get_module_export(&mut store, &items.alloc)?.into_func()?;
        let run = instance.get_module_export(&mut store, &items.run)?.into_func()?;
        let rewind = match &items.rewind {
            Some((save, rewind)) => {
                let save = instance.get_module_export(&mut store, save)?.into_func()?;
                let rewind = instance.get_module_export(&mut store, rewind)?.into_func()?;
                Some((save.typed(&store).ok()?, rewind.typed(&store).ok()?))
            }
            None => None,
        };
        Some(Self {
            memory: instance.get_module_export(&mut store, &items.memory)?.into_memory()?,
            gas,
            trap,
            pages,
            reserve,
            slice,
            alloc: alloc.typed(&store).ok()?,
            run: run.typed(&store).ok()?,
            rewind,
            instance,
            store,
        })
    }
}

impl Guest for WasmtimeGuest {
    fn set(&mut self, settings: Settings) -> Result<(), Stop> {
        for (global, value) in [
            (self.gas, Val::I64(settings.gas)),
            (self.reserve, Val::I64(settings.reserve)),
            (self.slice, Val::I64(settings.slice)),
            (self.pages, Val::I32(settings.pages)),
        ] {
            global.set(&mut self.store, value).map_err(|_| HOST)?;
        }
        Ok(())
    }

    fn gas_left(&mut self) -> (i64, i64) {
        let gas = self.gas.get(&mut self.store).i64();
        (gas.unwrap_or(0), self.reserve.get(&mut self.store).i64().unwrap_or(0))
    }

    fn trap_reason(&mut self) -> TrapReason {
        TrapReason::from_code(self.trap.get(&mut self.store).i32().unwrap_or(0))
    }

    fn start(&mut self, name: &str) -> Result<(), Stop> {
        let function = self.instance.get_typed_func::<(), ()>(&mut self.store, name).map_err(|_| HOST)?;
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
        let init = self.instance.get_typed_func::<(i32, i32), ()>(&mut self.store, INIT).map_err(|_| HOST)?;
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

impl Rewind for WasmtimeGuest {
    fn save(&mut self) -> bool {
        let Some((save, _)) = &self.rewind else { return false };
        save.call(&mut self.store, ()).is_ok_and(|done| done != 0)
    }

    fn rewind(&mut self) -> bool {
        let Some((_, rewind)) = &self.rewind else { return false };
        rewind.call(&mut self.store, ()).is_ok_and(|done| done != 0)
    }
}

const HOST: Stop = Stop::Host(Trap::HostFailed);

/// What the hook ends a call with.
#[derive(Debug, thiserror::Error)]
#[error("stopped by the host: {0:?}")]
struct Stopped(Trap);

/// wasmtime's stack must never decide: the rewrite's bound comes first, and if not, that is our fault and not the
/// kernel's.
fn stop(error: &wasmtime::Error) -> Stop {
    if let Some(Stopped(trap)) = error.downcast_ref() {
        return Stop::Host(*trap);
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::StackOverflow | wasmtime::Trap::Interrupt | wasmtime::Trap::OutOfFuel) | None => HOST,
        Some(_) => Stop::Trap,
    }
}
