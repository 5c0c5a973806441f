//! The engines of this process: wasmtime and wasmi as nodes use them, and the same two on the kernel as it was written.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, anyhow, bail, ensure};
use p2pnet_e2e::report::Row;
use p2pnet_native::engine::{WasmtimeEngine, WasmtimeModule};
use p2pnet_shared::{
    engine::{Engine as _, Input, Limits, WasmiEngine, WasmiModule},
    kernel,
};

use crate::{Engine, Variant};

/// Both engines with the kernel ready.
pub(crate) struct Here {
    wasmtime: WasmtimeEngine,
    wasmi: WasmiEngine,
    on_wasmtime: WasmtimeModule,
    on_wasmi: WasmiModule,
    bare_wasmtime: wasmtime::Module,
    bare_wasmi: wasmi::Module,
}

impl Here {
    /// With a watch that never stops anything, as kernels run in a node.
    pub(crate) fn new(original: &[u8], rewritten: &[u8]) -> Result<Self> {
        let mut wasmtime = WasmtimeEngine::new(None).map_err(|error| anyhow!("no wasmtime here: {error}"))?;
        let mut wasmi = WasmiEngine::new();
        wasmtime.set_watch(Some(Arc::new(|| None)));
        wasmi.set_watch(Some(Arc::new(|| None)));
        Ok(Self {
            on_wasmtime: wasmtime.load(rewritten).map_err(|trap| anyhow!("wasmtime: {trap:?}"))?,
            on_wasmi: wasmi.load(rewritten).map_err(|trap| anyhow!("wasmi: {trap:?}"))?,
            bare_wasmtime: wasmtime::Module::new(wasmtime.compiler(), original)
                .map_err(|error| anyhow!("wasmtime: {error}"))?,
            bare_wasmi: wasmi::Module::new(wasmi.interpreter(), original).map_err(|error| anyhow!("wasmi: {error}"))?,
            wasmtime,
            wasmi,
        })
    }

    /// One call in a fresh instance.
    pub(crate) fn call(&mut self, variant: Variant, input: &[u8]) -> Result<Vec<u8>> {
        let limits = Limits::default();
        let outcome = match variant {
            (Engine::Wasmtime, true) => self.wasmtime.call(&self.on_wasmtime, Input::of(input), &limits),
            (Engine::Wasmi, true) => self.wasmi.call(&self.on_wasmi, Input::of(input), &limits),
            (Engine::Wasmtime, false) => return self.bare_wasmtime(input).map_err(|error| anyhow!("{error:?}")),
            (Engine::Wasmi, false) => return self.bare_wasmi(input).map_err(|error| anyhow!("{error}")),
            (Engine::Chromium | Engine::WasmiInChromium, _) => bail!("not an engine of this process"),
        };
        outcome.output.map_err(|trap| anyhow!("{variant:?} ended in {trap:?}"))
    }

    fn bare_wasmtime(&self, input: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let missing = || wasmtime::Error::msg("an export of the kernel is missing, or lies outside memory");
        let mut store = wasmtime::Store::new(self.wasmtime.compiler(), ());
        let instance = wasmtime::Instance::new(&mut store, &self.bare_wasmtime, &[])?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(missing)?;
        let alloc = instance.get_typed_func::<u32, u32>(&mut store, "alloc")?;
        let run = instance.get_typed_func::<(u32, u32), u64>(&mut store, "run")?;
        let length = u32::try_from(input.len())?;
        let pointer = alloc.call(&mut store, length)?;
        memory.write(&mut store, pointer as usize, input)?;
        let packed = run.call(&mut store, (pointer, length))?;
        let (start, length) = ((packed >> 32) as usize, (packed & u64::from(u32::MAX)) as usize);
        Ok(memory.data(&store).get(start..start + length).ok_or_else(missing)?.to_vec())
    }

    fn bare_wasmi(&self, input: &[u8]) -> Result<Vec<u8>, wasmi::Error> {
        let missing = || wasmi::Error::new("an export of the kernel is missing, or lies outside memory");
        let mut store = wasmi::Store::new(self.wasmi.interpreter(), ());
        let instance =
            wasmi::Linker::new(self.wasmi.interpreter()).instantiate_and_start(&mut store, &self.bare_wasmi)?;
        let memory = instance.get_memory(&store, "memory").ok_or_else(missing)?;
        let alloc = instance.get_typed_func::<u32, u32>(&store, "alloc")?;
        let run = instance.get_typed_func::<(u32, u32), u64>(&store, "run")?;
        let length = u32::try_from(input.len()).map_err(|_| missing())?;
        let pointer = alloc.call(&mut store, length)?;
        memory.write(&mut store, pointer as usize, input).map_err(|_| missing())?;
        let packed = run.call(&mut store, (pointer, length))?;
        let (start, length) = ((packed >> 32) as usize, (packed & u64::from(u32::MAX)) as usize);
        Ok(memory.data(&store).get(start..start + length).ok_or_else(missing)?.to_vec())
    }

    /// Tiny tasks a second on one core, each in a fresh instance.
    pub(crate) fn tiny(&mut self, original: &[u8], tasks: usize) -> Result<Row> {
        let prepared = kernel::prepare(original).map_err(|refusal| anyhow!("{refusal}"))?;
        let module = self.wasmtime.load(&prepared.rewritten).map_err(|trap| anyhow!("wasmtime: {trap:?}"))?;
        let limits = Limits::default();
        let mut gas = 0;
        let mut rate = 0.0_f64;
        // The first time warms caches.
        for _ in 0..2 {
            let began = Instant::now();
            for _ in 0..tasks {
                let outcome = self.wasmtime.call(&module, Input::of(b"a tiny task"), &limits);
                ensure!(outcome.output.as_deref() == Ok(b"A TINY TASK"), "a tiny task went wrong: {outcome:?}");
                gas = outcome.gas.0;
            }
            rate = tasks as f64 / began.elapsed().as_secs_f64();
        }
        let row = Row::new("tiny tasks", "wasmtime+rewrite", rate, "/s");
        Ok(row.beside(&format!("{gas} gas each, on one core; aim: 100,000/s")))
    }
}
