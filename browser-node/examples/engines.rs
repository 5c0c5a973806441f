//! What `cargo xtask bench engines` runs inside Chromium: this crate's engines on a kernel, rewritten and as it was
//! written, and its pool of workers on tiny tasks. `tests/engines` holds the page, the worker and the clock.

use std::{cell::Cell, rc::Rc, sync::Arc};

use futures::channel::oneshot;
use js_sys::{BigInt, Function, Object, Reflect, Uint8Array, WebAssembly};
use p2pnet_browser::{
    Lane, Pool,
    engine::{BrowserEngine, BrowserModule},
};
use p2pnet_shared::{
    engine::{Batch, Engine as _, EngineName, Input, Limits, WasmiEngine, WasmiModule},
    id::Hash,
    kernel,
};
use wasm_bindgen::prelude::*;

/// Calls that travel together; production's batches of tiny tasks are about so large.
const BATCH: usize = 4_096;

fn main() {}

/// A kernel, ready on both engines, rewritten and not.
#[wasm_bindgen]
pub struct Guests {
    browser: BrowserEngine,
    wasmi: WasmiEngine,
    on_browser: BrowserModule,
    on_wasmi: WasmiModule,
    bare_browser: WebAssembly::Module,
    bare_wasmi: wasmi::Module,
}

#[wasm_bindgen]
impl Guests {
    /// From the kernel's original bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(original: &[u8]) -> Result<Guests, JsValue> {
        let rewritten = kernel::prepare(original).map_err(|refusal| text(&refusal))?.rewritten;
        let (mut browser, mut wasmi) = (BrowserEngine::default(), WasmiEngine::new());
        Ok(Self {
            on_browser: browser.load(&rewritten).map_err(|trap| text(&format!("{trap:?}")))?,
            on_wasmi: wasmi.load(&rewritten).map_err(|trap| text(&format!("{trap:?}")))?,
            bare_browser: WebAssembly::Module::new(&Uint8Array::from(original))?,
            bare_wasmi: wasmi::Module::new(wasmi.interpreter(), original).map_err(|error| text(&error))?,
            browser,
            wasmi,
        })
    }

    /// One call in a fresh instance; gives the hash of its output.
    pub fn call(&mut self, compiled: bool, rewritten: bool, input: &[u8]) -> Result<String, JsValue> {
        let limits = Limits::default();
        let output = match (compiled, rewritten) {
            (true, true) => self.browser.call(&self.on_browser, Input::of(input), &limits).output,
            (false, true) => self.wasmi.call(&self.on_wasmi, Input::of(input), &limits).output,
            (true, false) => Ok(self.bare_browser(input)?),
            (false, false) => Ok(self.bare_wasmi(input).map_err(|error| text(&error))?),
        };
        Ok(Hash::of(&output.map_err(|trap| text(&format!("{trap:?}")))?).to_string())
    }
}

impl Guests {
    // 32-bit addresses.
    fn bare_browser(&self, input: &[u8]) -> Result<Vec<u8>, JsValue> {
        let exports = WebAssembly::Instance::new(&self.bare_browser, &Object::new())?.exports();
        let export = |name: &str| Reflect::get(&exports, &name.into());
        let (alloc, run): (Function, Function) = (export("alloc")?.dyn_into()?, export("run")?.dyn_into()?);
        let memory: WebAssembly::Memory = export("memory")?.dyn_into()?;
        let length = input.len() as u32;
        let pointer = alloc.call1(&JsValue::UNDEFINED, &length.into())?;
        let start = pointer.as_f64().unwrap_or_default() as u32;
        Uint8Array::new(&memory.buffer()).subarray(start, start + length).copy_from(input);
        let packed: BigInt = run.call2(&JsValue::UNDEFINED, &pointer, &length.into())?.dyn_into()?;
        let packed = i64::try_from(packed).map_err(JsValue::from)?.cast_unsigned();
        let (start, length) = ((packed >> 32) as u32, packed as u32);
        Ok(Uint8Array::new(&memory.buffer()).subarray(start, start + length).to_vec())
    }

    // 32-bit addresses.
    fn bare_wasmi(&self, input: &[u8]) -> Result<Vec<u8>, wasmi::Error> {
        let missing = || wasmi::Error::new("an export of the kernel is missing, or lies outside memory");
        let interpreter = self.wasmi.interpreter();
        let mut store = wasmi::Store::new(interpreter, ());
        let instance = wasmi::Linker::new(interpreter).instantiate_and_start(&mut store, &self.bare_wasmi)?;
        let memory = instance.get_memory(&store, "memory").ok_or_else(missing)?;
        let alloc = instance.get_typed_func::<u32, u32>(&store, "alloc")?;
        let run = instance.get_typed_func::<(u32, u32), u64>(&store, "run")?;
        let length = input.len() as u32;
        let pointer = alloc.call(&mut store, length)?;
        memory.write(&mut store, pointer as usize, input).map_err(|_| missing())?;
        let packed = run.call(&mut store, (pointer, length))?;
        let (start, length) = ((packed >> 32) as usize, (packed & u64::from(u32::MAX)) as usize);
        Ok(memory.data(&store).get(start..start + length).ok_or_else(missing)?.to_vec())
    }
}

/// Tiny tasks a second: `tasks` calls in batches through a pool of one worker. The first batch is not counted, since it
/// starts the worker and compiles.
#[wasm_bindgen]
pub async fn tiny(original: &[u8], tasks: usize) -> Result<f64, JsValue> {
    let pool = Pool::new(Rc::new(|| ()));
    pool.set_cores(1);
    let kernel: Arc<[u8]> = original.into();
    let run = async |batches: usize| -> Result<usize, JsValue> {
        let (done, calls) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (ended, end) = oneshot::channel();
        let ended = Rc::new(Cell::new(Some(ended)));
        for _ in 0..batches {
            let batch = Batch {
                kernel: Hash::of(&kernel),
                common: None,
                calls: vec![b"a tiny task".to_vec(); BATCH],
                limits: Limits::default(),
            };
            let (done, calls, ended) = (done.clone(), calls.clone(), ended.clone());
            pool.execute(Lane::Node, kernel.clone(), batch, 100, move |report| {
                let right =
                    |outcome: &&p2pnet_shared::engine::CallOutcome| outcome.output.as_deref() == Ok(b"A TINY TASK");
                let is_compiled = report.engine == EngineName::Browser;
                calls.set(calls.get() + report.outcomes.iter().filter(right).filter(|_| is_compiled).count());
                done.set(done.get() + 1);
                if done.get() == batches
                    && let Some(ended) = ended.take()
                {
                    let _ = ended.send(());
                }
            });
        }
        end.await.map_err(|_| text(&"a batch was lost"))?;
        if calls.get() == batches * BATCH { Ok(calls.get()) } else { Err(text(&"tiny tasks went wrong")) }
    };
    run(1).await?;
    let clock = web_sys::window().and_then(|window| window.performance()).ok_or_else(|| text(&"no clock"))?;
    let began = clock.now();
    let calls = run(tasks.div_ceil(BATCH)).await?;
    // Far below 2^53.
    let rate = calls as f64 / (clock.now() - began) * 1000.0;
    Ok(rate)
}

fn text(what: &impl ToString) -> JsValue {
    JsValue::from_str(&what.to_string())
}
