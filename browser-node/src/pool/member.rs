//! One worker of the pool, as the page holds it.

use js_sys::{Array, Uint8Array};
use p2pnet_shared::{engine::Batch, id::Hash};
use serde_bytes::Bytes;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::{
    current::Current,
    protocol::{self, RunRef, Said},
};

/// How many kernels a worker keeps ready.
const KERNELS_KEPT: usize = 8;

/// What a worker does.
pub enum Doing {
    /// It starts; since when (milliseconds of the monotonic clock).
    Booting(f64),
    /// Nothing.
    Idle,
    /// A batch.
    Running(Current),
}

/// What the page hears from a worker.
pub enum Heard {
    /// A message.
    Said(Said),
    /// The worker failed outside its own code's reach: it could not load, or ran out of memory.
    Broke(String),
}

/// A worker. Dropping it terminates it.
pub struct Member {
    /// Names it in the pool.
    pub id: u64,
    /// What it does.
    pub doing: Doing,
    worker: Worker,
    /// Kernels that it has, least recently used first.
    kernels: Vec<Hash>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
}

impl Member {
    /// Starts a worker on this program's own binary.
    pub fn start(
        id: u64,
        shim_url: &str,
        now: f64,
        hear: impl Fn(u64, Heard) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(&format!("p2pnet {id}"));
        let worker = Worker::new_with_options(shim_url, &options)?;
        let heard = hear.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let said = event.data().dyn_ref::<Uint8Array>().and_then(|bytes| protocol::decode(&bytes.to_vec()));
            heard(id, said.map_or_else(|| Heard::Broke("it said something unreadable".into()), Heard::Said));
        });
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new(move |event: ErrorEvent| {
            event.prevent_default(); // told through the pool; not also as an error of the page
            let text = event.message();
            hear(id, Heard::Broke(if text.is_empty() { "its script did not load".into() } else { text }));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let member = Self {
            id,
            doing: Doing::Booting(now),
            worker,
            kernels: Vec::new(),
            _on_message: on_message,
            _on_error: on_error,
        };
        member.worker.post_message(&wasm_bindgen::module())?;
        Ok(member)
    }

    /// Hands a batch to the worker; it must be idle.
    pub fn run(&mut self, current: Current, kernel: &[u8], batch: &Batch, cpu_percent: u8) -> Result<(), Current> {
        let is_known = self.kernels.contains(&batch.kernel);
        self.kernels.retain(|hash| *hash != batch.kernel);
        self.kernels.push(batch.kernel);
        let excess = self.kernels.len().saturating_sub(KERNELS_KEPT);
        let forget: Vec<Hash> = self.kernels.drain(..excess).collect();
        let message = RunRef {
            run: current.run,
            kernel: batch.kernel,
            kernel_bytes: (!is_known).then(|| Bytes::new(kernel)),
            forget: &forget,
            cpu_percent,
            limits: batch.limits,
            common: Bytes::new(&batch.common),
            calls: batch.calls.iter().map(|call| Bytes::new(call)).collect(),
        };
        let Some(bytes) = protocol::encode(&message) else { return Err(current) };
        let bytes = Uint8Array::from(bytes.as_slice());
        if self.worker.post_message_with_transfer(&bytes, &Array::of1(&bytes.buffer())).is_err() {
            return Err(current);
        }
        self.doing = Doing::Running(current);
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}
