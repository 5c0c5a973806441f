//! The native engines: wasmtime for real work, wasmi for what is too small to be worth compiling.
//!
//! A kernel starts on wasmi, which is ready in no time. A call that does not end within [`PROBE_GAS`] is begun again on
//! wasmtime: both count the same gas and give the same bytes, so nobody can tell but by the clock. Once a kernel has
//! cost [`WORTHWHILE_GAS`], instances included, or its compiled code is found on disk, all its calls go to wasmtime.
//! While its code is not there, or where compiling it was given up as too dear, wasmi goes on: slower, and as right.

pub mod compiled;
mod room;
mod wasmtime;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use p2pnet_shared::{
    engine::{CallOutcome, Engine, EngineName, Input, Limits, Prepared, Trap, WasmiEngine, WasmiModule, Watch},
    units::Gas,
};

pub use self::{
    room::{spawn, with_room},
    wasmtime::{FILES_OF_A_KERNEL, FILES_OF_INSTANCES, WasmtimeEngine, WasmtimeModule, watch_written_pages},
};

/// Gas that a single call may use on wasmi before it is given to wasmtime: some milliseconds.
const PROBE_GAS: Gas = Gas(1_000_000);
/// Gas over all calls of a kernel after which compiling it pays: as long as compiling takes, or so.
const WORTHWHILE_GAS: u64 = 10_000_000;
/// What a call on wasmi costs beside its own gas: a fresh instance with all its memory, where wasmtime has a pool. So
/// many tiny calls are worth compiling for, too.
const INSTANCE_GAS: u64 = 20_000;

/// Has a kernel compiled by another process; `true` once its code lies in the folder of compiled kernels. Asked on the
/// thread that runs kernels, which it may make wait; after a `false` it is asked again at the next call.
pub type Elsewhere = Arc<dyn Fn() -> bool + Send + Sync>;

/// Both native engines. Cheap to clone: a thread that runs kernels has its own clone, compiled code is shared.
#[derive(Clone)]
pub struct NativeEngines {
    wasmi: WasmiEngine,
    wasmtime: Option<WasmtimeEngine>,
    elsewhere: Option<Elsewhere>,
    /// See [`NativeEngines::lacked`].
    lacked: bool,
}

/// A kernel that is ready on wasmi and, once that pays, on wasmtime.
pub struct NativeModule {
    rewritten: Vec<u8>,
    wasmi: WasmiModule,
    compiled: OnceLock<Result<WasmtimeModule, Trap>>,
    spent: AtomicU64,
}

impl NativeEngines {
    /// Engines that keep compiled code in `folder`, if one is given. Nobody else must be able to write to it.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self::with(WasmtimeEngine::new(folder))
    }

    /// The same for one thread that runs kernels, in a process of little memory.
    pub fn of_one_thread(folder: Option<PathBuf>) -> Self {
        Self::with(WasmtimeEngine::of_one_thread(folder))
    }

    fn with(wasmtime: Result<WasmtimeEngine, ::wasmtime::Error>) -> Self {
        let wasmtime = wasmtime
            .inspect_err(|error| tracing::warn!(%error, "no native compiler on this machine: kernels run on wasmi"))
            .ok();
        Self { wasmi: WasmiEngine::new(), wasmtime, elsewhere: None, lacked: false }
    }

    /// Has `watch` asked while kernels run on this clone, from the next call on.
    pub fn set_watch(&mut self, watch: Option<Watch>) {
        self.wasmi.set_watch(watch.clone());
        if let Some(wasmtime) = &mut self.wasmtime {
            wasmtime.set_watch(watch);
        }
    }

    /// Has kernels compiled elsewhere from the next call on, and none here.
    pub fn set_elsewhere(&mut self, elsewhere: Option<Elsewhere>) {
        self.elsewhere = elsewhere;
    }

    /// Whether an engine could not do its part since this was last asked, for want of something that this process lacks:
    /// files, memory, addresses. Calls were made on the other one, if that could.
    pub fn lacked(&mut self) -> bool {
        std::mem::take(&mut self.lacked)
    }

    /// What preparing instances took since this was last asked, on either engine.
    pub fn take_prepared(&mut self) -> Prepared {
        let mut prepared = self.wasmi.take_prepared();
        if let Some(wasmtime) = &mut self.wasmtime {
            prepared += wasmtime.take_prepared();
        }
        prepared
    }

    /// Makes a rewritten kernel ready. Share the module among threads.
    pub fn load(&mut self, rewritten: &[u8]) -> Result<Arc<NativeModule>, Trap> {
        let wasmi = self.wasmi.load(rewritten)?;
        let compiled = OnceLock::new();
        if let Some(module) = self.wasmtime.as_ref().and_then(|wasmtime| wasmtime.load_kept(rewritten)) {
            let _ = compiled.set(Ok(module));
        }
        Ok(Arc::new(NativeModule { rewritten: rewritten.to_vec(), wasmi, compiled, spent: AtomicU64::new(0) }))
    }

    /// One call in a fresh instance, and the engine that gave its outcome.
    pub fn call(&mut self, module: &NativeModule, input: Input<'_>, limits: &Limits) -> (EngineName, CallOutcome) {
        let worthwhile = module.compiled.get().is_some() || module.spent.load(Ordering::Relaxed) > WORTHWHILE_GAS;
        if !worthwhile && self.wasmtime.is_some() {
            let probe = Limits { gas: limits.gas.min(PROBE_GAS), ..*limits };
            let outcome = self.wasmi.call(&module.wasmi, input, &probe);
            self.lacked |= outcome.output == Err(Trap::HostFailed);
            if outcome.output != Err(Trap::OutOfGas) || probe.gas == limits.gas {
                module.spent.fetch_add(outcome.gas.0.saturating_add(INSTANCE_GAS), Ordering::Relaxed);
                return (EngineName::Wasmi, outcome);
            }
            module.spent.fetch_add(WORTHWHILE_GAS + 1, Ordering::Relaxed);
        }
        if let Some(wasmtime) = &mut self.wasmtime
            && let Some(compiled) = compiled(wasmtime, self.elsewhere.as_ref(), &mut self.lacked, module)
        {
            let outcome = wasmtime.call(compiled, input, limits);
            if outcome.output != Err(Trap::HostFailed) {
                return (EngineName::Wasmtime, outcome);
            }
            // That says nothing about the kernel, and wasmi needs less of the machine.
            self.lacked = true;
        }
        let outcome = self.wasmi.call(&module.wasmi, input, limits);
        self.lacked |= outcome.output == Err(Trap::HostFailed);
        (EngineName::Wasmi, outcome)
    }
}

/// The compiled form of a kernel; `None` where there is none, or none yet.
fn compiled<'a>(
    wasmtime: &mut WasmtimeEngine,
    elsewhere: Option<&Elsewhere>,
    lacked: &mut bool,
    module: &'a NativeModule,
) -> Option<&'a WasmtimeModule> {
    let ready = match (module.compiled.get(), elsewhere) {
        (Some(ready), _) => ready,
        (None, None) => module.compiled.get_or_init(|| wasmtime.load(&module.rewritten)),
        (None, Some(elsewhere)) if elsewhere() => {
            let Some(kept) = wasmtime.load_kept(&module.rewritten) else {
                // The code is there, and what this process has no room for now it may have later: it looks again when as
                // much was spent once more.
                *lacked = true;
                module.spent.store(0, Ordering::Relaxed);
                return None;
            };
            module.compiled.get_or_init(|| Ok(kept))
        }
        (None, Some(_)) => return None,
    };
    ready.as_ref().ok()
}

#[cfg(test)]
mod tests;
