//! One worker of the pool, as the page holds it.

use js_sys::{Array, WebAssembly::Module};
use p2pnet_shared::{
    engine::{Batch, Trap},
    id::Hash,
};
use serde_bytes::Bytes;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::{
    current::Current,
    envelope,
    modules::{Advice, Modules},
    protocol::{self, RunRef, Said, SourceRef},
};
use crate::{pieces::Piece, reins::Reins};

/// How many kernels a worker keeps ready.
const KERNELS_KEPT: usize = 8;

/// What a worker does.
pub(super) enum Doing {
    /// It waits for its program.
    Waiting,
    /// It starts; since when (milliseconds of the monotonic clock).
    Booting(f64),
    /// Nothing.
    Idle,
    /// A batch.
    Running(Current),
}

/// What the page hears from a worker.
pub(super) enum Heard {
    /// A message, and the module that came beside it.
    Said(Said, Option<Module>),
    /// The worker failed outside its own code's reach: it could not load, or ran out of memory.
    Broke(String),
}

/// A worker. Dropping it terminates it.
pub(super) struct Member {
    /// Names it in the pool.
    pub id: u64,
    /// What it does.
    pub doing: Doing,
    worker: Worker,
    /// Without them it is stopped by terminating it.
    reins: Option<Reins>,
    /// Kernels that it has, least recently used first.
    kernels: Vec<Hash>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
}

impl Member {
    /// Starts a worker, which then waits for its program.
    pub(super) fn start(id: u64, shim_url: &str, hear: impl Fn(u64, Heard) + Clone + 'static) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(&format!("p2pnet {id}"));
        let worker = Worker::new_with_options(shim_url, &options)?;
        let heard = hear.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let (bytes, module) = envelope::unpack(&event.data());
            let said = bytes.and_then(|bytes| protocol::decode(&bytes));
            let unreadable = || Heard::Broke("it said something unreadable".into());
            heard(id, said.map_or_else(unreadable, |said| Heard::Said(said, module)));
        });
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new(move |event: ErrorEvent| {
            event.prevent_default(); // told through the pool; not also as an error of the page
            let text = event.message();
            hear(id, Heard::Broke(if text.is_empty() { "its script did not load".into() } else { text }));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Self {
            id,
            doing: Doing::Waiting,
            worker,
            reins: Reins::new(),
            kernels: Vec::new(),
            _on_message: on_message,
            _on_error: on_error,
        })
    }

    /// Gives the worker its program, and where it finds the interpreter should it need that.
    pub(super) fn boot(&mut self, program: &Module, now: f64) -> Result<(), JsValue> {
        let reins = self.reins.as_ref().map_or(JsValue::UNDEFINED, Reins::buffer);
        let interpreter = Piece::Interpreter.address().map_or(JsValue::UNDEFINED, JsValue::from);
        self.worker.post_message(&Array::of3(program, &reins, &interpreter))?;
        self.doing = Doing::Booting(now);
        Ok(())
    }

    /// Whether it has a kernel ready.
    pub(super) fn has(&self, kernel: Hash) -> bool {
        self.kernels.contains(&kernel)
    }

    /// Hands a batch to the worker; it must be idle, and have the batch's kernel or be one that need not wait for it.
    pub(super) fn run(
        &mut self,
        current: Current,
        kernel: &[u8],
        batch: &Batch,
        cpu_percent: u8,
        modules: &mut Modules,
    ) -> Result<(), Current> {
        let is_known = self.has(batch.kernel);
        self.kernels.retain(|hash| *hash != batch.kernel);
        self.kernels.push(batch.kernel);
        let excess = self.kernels.len().saturating_sub(KERNELS_KEPT);
        let forget: Vec<Hash> = self.kernels.drain(..excess).collect();
        let (source, module) = match modules.advice(batch.kernel) {
            _ if is_known => (SourceRef::Ready, None),
            Advice::Take(module, facts) => (SourceRef::Compiled(facts), Some(module)),
            Advice::Make | Advice::Wait => (SourceRef::Original(Bytes::new(kernel)), None),
        };
        let message = RunRef {
            run: current.run,
            kernel: batch.kernel,
            source,
            forget: &forget,
            cpu_percent,
            limits: batch.limits,
            common: batch.common.as_ref().map(|common| (common.hash(), Bytes::new(common))),
            calls: batch.calls.iter().map(|call| Bytes::new(call)).collect(),
        };
        let Some(bytes) = protocol::encode(&message) else { return Err(current) };
        if envelope::post(&bytes, module, |data, transfer| self.worker.post_message_with_transfer(data, transfer))
            .is_err()
        {
            return Err(current);
        }
        if !is_known {
            modules.begin(batch.kernel, self.id);
        }
        modules.used(batch.kernel);
        self.doing = Doing::Running(current);
        Ok(())
    }

    /// Has the worker end what it runs, as soon as it looks. `false` if it cannot be told, and must be terminated.
    pub(super) fn ask_to_stop(&mut self, reason: Trap, now: f64) -> bool {
        match (&self.reins, &mut self.doing) {
            (Some(reins), Doing::Running(current)) => {
                reins.stop(current.run, reason);
                current.stopping(reason, now);
                true
            }
            (Some(_), Doing::Waiting | Doing::Booting(_) | Doing::Idle) | (None, _) => false,
        }
    }

    /// Has the worker set aside what it runs (`rests`), as soon as it looks, or go on with it. `false` if it cannot be
    /// told, or runs nothing.
    pub(super) fn rest(&mut self, rests: bool, now: f64) -> bool {
        match (&self.reins, &mut self.doing) {
            (Some(reins), Doing::Running(current)) => {
                if rests {
                    reins.set_aside(current.run);
                } else {
                    reins.go_on();
                }
                current.set_aside(rests, now);
                true
            }
            (Some(_), Doing::Waiting | Doing::Booting(_) | Doing::Idle) | (None, _) => false,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}
