//! The same programs as a job of kind `command` runs them: adapted, rewritten, on wasmtime and on wasmi.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use p2pnet_native::engine::{WasmtimeEngine, WasmtimeModule};
use p2pnet_shared::{
    blob::Blob,
    engine::{Engine, Input, Limits, Trap, WasmiEngine, WasmiModule, Watch},
    job::kinds::command,
    kernel,
    units::Gas,
};

use crate::{Ended, TRAPPED};

/// What one call may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What takes more gas than this on wasmtime is not run on wasmi as well: some seconds.
const MOST_ON_WASMI: Gas = Gas(200_000_000);
/// Memory and output, above what any program of ours needs.
const LIMITS: Limits =
    Limits { gas: Gas(2_000_000_000_000), memory_bytes: 1 << 30, output_bytes: 256 << 20, time_millis: 0 };

/// Both engines.
pub struct Ours {
    wasmi: WasmiEngine,
    wasmtime: WasmtimeEngine,
    until: Arc<Mutex<Instant>>,
}

/// A program that is ready on both.
pub struct Program {
    wasmi: WasmiModule,
    wasmtime: WasmtimeModule,
}

/// What a run gave.
pub struct Ran {
    /// The end, as a job's reader sees it, or why a job would fail without one.
    pub ended: Result<Ended, Trap>,
    /// Whether wasmi ran it as well, and gave the same output and gas.
    pub on_both: bool,
}

impl Ours {
    /// Set up as nodes have them.
    pub fn new() -> Result<Self> {
        let until = Arc::new(Mutex::new(Instant::now()));
        let watched = Arc::clone(&until);
        let watch: Watch = Arc::new(move || {
            let until = *watched.lock().unwrap_or_else(PoisonError::into_inner);
            (Instant::now() > until).then_some(Trap::TimedOut)
        });
        let mut wasmi = WasmiEngine::new();
        wasmi.set_watch(Some(Arc::clone(&watch)));
        let mut wasmtime = WasmtimeEngine::new(None).map_err(|error| anyhow!("no wasmtime here: {error}"))?;
        wasmtime.set_watch(Some(watch));
        Ok(Self { wasmi, wasmtime, until })
    }

    /// Adapts and rewrites a program. An error is a refusal that whoever submits it would get.
    pub fn load(&mut self, module: &[u8]) -> Result<Program> {
        let refused = |refusal: p2pnet_shared::refusal::Refusal| anyhow!("refused: {}", refusal.message);
        let adapted = command::adapt(module).map_err(refused)?;
        let rewritten = kernel::prepare(&adapted).map_err(refused)?.rewritten;
        let trap = |trap: Trap| anyhow!("an engine does not take it: {trap:?}");
        let (wasmi, wasmtime) = (self.wasmi.load(&rewritten), self.wasmtime.load(&rewritten));
        Ok(Program { wasmi: wasmi.map_err(trap)?, wasmtime: wasmtime.map_err(trap)? })
    }

    /// Runs it. `given` are the arguments behind the program's name. An error is a difference between the engines.
    pub fn run(&mut self, program: &Program, input: &[u8], given: &[String]) -> Result<Ran> {
        let common = command::arguments(given).map_err(|refusal| anyhow!("refused: {}", refusal.message))?;
        let (common, own) = (Blob::new(common), command::part_input(0, input));
        let input = Input::with(Some(&common), &own);
        self.wait_anew();
        let outcome = self.wasmtime.call(&program.wasmtime, input, &LIMITS);
        let on_both = outcome.gas <= MOST_ON_WASMI;
        if on_both {
            self.wait_anew();
            let referee = self.wasmi.call(&program.wasmi, input, &LIMITS);
            if referee != outcome {
                let short = |gas: Gas, output: &Result<Vec<u8>, Trap>| {
                    format!("{} gas, {:?}", gas.0, output.as_ref().map(Vec::len))
                };
                let (one, other) = (short(referee.gas, &referee.output), short(outcome.gas, &outcome.output));
                bail!("our engines differ: wasmi {one}; wasmtime {other}");
            }
        }
        let ended = match outcome.output {
            Err(trap) => Err(trap),
            Ok(output) => {
                let ended = command::ended(&output).ok_or_else(|| anyhow!("an output that no command gives"))?;
                let code = if ended.end == command::End::Exited { ended.exit_code } else { TRAPPED };
                Ok(Ended {
                    code: Some(code),
                    output: ended.output.to_vec(),
                    errors: ended.errors.to_vec(),
                    reason: String::new(),
                })
            }
        };
        Ok(Ran { ended, on_both })
    }

    fn wait_anew(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + PATIENCE;
    }
}
