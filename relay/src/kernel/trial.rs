//! Runs the cases of a folder on wasmi and on wasmtime, and says what came, what it cost, and whether both agree.

use std::{
    slice,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use p2pnet_shared::{
    blob::Blob,
    engine::{CallOutcome, Engine, Input, Limits, Trap, WasmiEngine, Watch, batch},
    job::kinds::command::{self, End},
    units::Gas,
};

use super::{
    Ready, Trial,
    cases::{self, Came, Case},
};
use crate::{
    cli::{
        failure::{Failure, word},
        output::say,
        text::grouped,
    },
    engine::WasmtimeEngine,
};

/// Bytes of a difference that are shown.
const SHOWN: usize = 60;

/// What one engine made of a case.
struct Outcome {
    call: CallOutcome,
    took: Duration,
}

/// Runs all cases; fails if one did not come as expected or if the engines differ.
pub fn test(trial: &Trial) -> Result<(), Failure> {
    let ready = super::read(trial.file)?;
    let cases = cases::read(trial.cases)?;
    let limits = Limits { memory_bytes: u64::from(trial.memory_mib) << 20, ..Limits::default() };
    let deadline = Deadline::new(trial.patience);
    let mut wasmi = WasmiEngine::new();
    wasmi.set_watch(Some(deadline.watch()));
    let mut wasmtime = WasmtimeEngine::new(None)
        .map_err(|error| Failure::here(format!("no native compiler on this machine: {error}"), ""))?;
    wasmtime.set_watch(Some(deadline.watch()));
    let refused = |trap: Trap| Failure::here(format!("an engine does not take the module: {}", word(&trap)), REPORT);
    let on_wasmi = wasmi.load(&ready.prepared.rewritten).map_err(refused)?;
    let on_wasmtime = wasmtime.load(&ready.prepared.rewritten).map_err(refused)?;
    let mut tally = Tally::default();
    for case in &cases {
        let (common, own) = input(&ready, case)?;
        let referee = deadline.time(|| as_a_batch(&mut wasmi, &on_wasmi, common.as_ref(), &own, &limits));
        let native = deadline.time(|| as_a_batch(&mut wasmtime, &on_wasmtime, common.as_ref(), &own, &limits));
        tally.add(trial, &ready, case, &referee, &native)?;
    }
    tally.end(trial)
}

/// One call, as nodes make it: as a batch of its own.
fn as_a_batch<E: Engine>(
    engine: &mut E,
    module: &E::Module,
    common: Option<&Blob>,
    own: &Vec<u8>,
    limits: &Limits,
) -> CallOutcome {
    let call = |own: &[u8]| engine.call(module, Input::with(common, own), limits);
    let none = CallOutcome { output: Err(Trap::HostFailed), gas: Gas(0) };
    batch::run(slice::from_ref(own), call).pop().unwrap_or(none)
}

const REPORT: &str = "this is a bug of p2pnet: please report it with the module and the case";

/// Common bytes and own bytes of a call.
fn input(ready: &Ready, case: &Case) -> Result<(Option<Blob>, Vec<u8>), Failure> {
    if ready.is_command {
        if case.common.is_some() {
            let message = format!("{}.common: a command's calls share its arguments alone", case.name);
            return Err(Failure::usage(message, "put what it reads into its input"));
        }
        return Ok((Some(Blob::new(command::arguments(&case.args)?)), command::part_input(0, &case.input)));
    }
    if case.args.is_empty() {
        return Ok((case.common.clone(), case.input.clone()));
    }
    Err(Failure::usage(
        format!("{}.args: a kernel takes no arguments", case.name),
        "a command does: see docs/kernels.md",
    ))
}

/// How the cases went.
#[derive(Default)]
struct Tally {
    cases: usize,
    wrong: usize,
    different: usize,
}

impl Tally {
    fn add(
        &mut self,
        trial: &Trial,
        ready: &Ready,
        case: &Case,
        referee: &Outcome,
        native: &Outcome,
    ) -> Result<(), Failure> {
        self.cases += 1;
        let figures = format!(
            "{} gas, wasmi {}, wasmtime {}",
            grouped(referee.call.gas.0),
            milliseconds(referee.took),
            milliseconds(native.took)
        );
        let timed_out = |outcome: &Outcome| outcome.call.output == Err(Trap::TimedOut);
        if timed_out(referee) || timed_out(native) {
            self.wrong += 1;
            let engine = if timed_out(native) { "wasmtime" } else { "wasmi" };
            say(format_args!("WRONG  {}  {engine} was not done in {} s", case.name, trial.patience.as_secs_f64()))?;
            say(format_args!("       give it less to do, or more time: --timeout-seconds"))?;
            return Ok(());
        }
        if referee.call != native.call {
            self.different += 1;
            say(format_args!("DIFFER {}  the engines do not agree", case.name))?;
            say(format_args!("       wasmi:    {}", in_words(&referee.call)))?;
            say(format_args!("       wasmtime: {}", in_words(&native.call)))?;
            return Ok(());
        }
        let came = came(ready, &referee.call)?;
        if trial.write {
            let written = case.write(&came)?;
            if !written.is_empty() {
                say(format_args!("wrote  {}", written.join(", ")))?;
            }
        }
        let complaints = complaints(case, &came, trial.write);
        if complaints.is_empty() {
            say(format_args!("ok     {}  {figures}", case.name))?;
        } else {
            self.wrong += 1;
            say(format_args!("WRONG  {}  {figures}", case.name))?;
        }
        for complaint in complaints {
            say(format_args!("       {complaint}"))?;
        }
        Ok(())
    }

    fn end(&self, trial: &Trial) -> Result<(), Failure> {
        let Self { cases, wrong, different } = self;
        say(format_args!("{cases} cases, {wrong} wrong, {different} on which the engines differ"))?;
        if *different > 0 {
            let message = format!("wasmi and wasmtime differ on {different} of {cases} cases");
            return Err(Failure::here(message, REPORT));
        }
        if *wrong == 0 {
            return Ok(());
        }
        let message = format!("{wrong} of {cases} cases did not come as {} says", trial.cases.display());
        Err(Failure::here(message, "where the new output is right, remove the old file and run again with --write"))
    }
}

/// What a person sees of an outcome that both engines gave.
fn came(ready: &Ready, call: &CallOutcome) -> Result<Came, Failure> {
    let output = match &call.output {
        Err(trap) => return Ok(Came { trap: Some(word(trap)), ..Came::default() }),
        Ok(output) => output,
    };
    if !ready.is_command {
        return Ok(Came { output: Some(output.clone()), ..Came::default() });
    }
    let ended = command::ended(output).ok_or_else(|| Failure::here("the command's output cannot be read", REPORT))?;
    Ok(Came {
        output: Some(ended.output.to_vec()),
        errors: Some(ended.errors.to_vec()),
        exit: Some(ended.exit_code),
        trap: match ended.end {
            End::Exited | End::Trapped => None,
            End::OutOfMemory => Some(word(&Trap::OutOfMemory)),
            End::StackOverflow => Some(word(&Trap::StackOverflow)),
            End::TimedOut => Some(word(&Trap::TimedOut)),
            End::TooLarge => Some(word(&Trap::OutputTooLarge)),
        },
    })
}

/// What is not as the case says. `written`: what is not said has just been written down.
fn complaints(case: &Case, came: &Came, written: bool) -> Vec<String> {
    let said = &case.expected;
    let mut complaints = Vec::new();
    match (&said.trap, &came.trap) {
        (None, None) => {}
        (Some(expected), Some(trap)) if expected == trap => {}
        (Some(expected), Some(trap)) => complaints.push(format!("it ended as {trap}, not as {expected}")),
        (Some(expected), None) => complaints.push(format!("it gave an output instead of ending as {expected}")),
        (None, Some(_)) if written && said.output.is_none() => {}
        // Said below: with what to do, or beside the exit code.
        (None, Some(_)) if said.is_unsaid() || came.exit.is_some() => {}
        (None, Some(trap)) => complaints.push(format!("it gave no output: it ended as {trap}")),
    }
    if let (Some(expected), Some(output)) = (&said.output, &came.output) {
        complaints.extend(difference("output", expected, output));
    }
    if let (Some(expected), Some(errors)) = (&said.errors, &came.errors) {
        complaints.extend(difference("standard error", expected, errors));
    }
    // Whoever expects a trap need not know its exit code.
    let unsaid = written || said.trap.is_some();
    if let Some(code) = came.exit
        && code != said.exit.unwrap_or(0)
        && !(unsaid && said.exit.is_none())
    {
        let errors = shown(came.errors.as_deref().unwrap_or_default());
        let why = came.trap.as_ref().map(|trap| format!(" ({trap})")).unwrap_or_default();
        complaints.push(format!("exit code {code}{why}, not {}; standard error: {errors}", said.exit.unwrap_or(0)));
    }
    if said.is_unsaid() && !written {
        let came = match (&came.trap, &came.output) {
            (Some(trap), _) => format!("it ended as {trap}"),
            (None, output) => format!("it gave {}", shown(output.as_deref().unwrap_or_default())),
        };
        complaints.push(format!("nothing says what should come; {came}; --write writes it down"));
    }
    complaints
}

fn difference(what: &str, expected: &[u8], came: &[u8]) -> Option<String> {
    if expected == came {
        return None;
    }
    let at = expected.iter().zip(came).take_while(|(one, other)| one == other).count();
    let from = |bytes: &[u8]| shown(bytes.get(at.saturating_sub(10)..).unwrap_or_default());
    let (wanted, got) = (from(expected), from(came));
    let lengths = format!("{} bytes, expected {}", came.len(), expected.len());
    Some(format!("{what} ({lengths}) differs at byte {at}: got {got}, expected {wanted}"))
}

fn shown(bytes: &[u8]) -> String {
    let cut = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    format!("{:?}{more}", String::from_utf8_lossy(cut))
}

fn in_words(call: &CallOutcome) -> String {
    let gas = grouped(call.gas.0);
    match &call.output {
        Ok(output) => format!("{} bytes, {}, {gas} gas", output.len(), shown(output)),
        Err(trap) => format!("{}, {gas} gas", word(trap)),
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Ends calls that take too long.
struct Deadline {
    patience: Duration,
    at: Arc<Mutex<Instant>>,
}

impl Deadline {
    fn new(patience: Duration) -> Self {
        Self { patience, at: Arc::new(Mutex::new(Instant::now())) }
    }

    fn watch(&self) -> Watch {
        let at = Arc::clone(&self.at);
        Arc::new(move || {
            let at = *at.lock().unwrap_or_else(PoisonError::into_inner);
            (Instant::now() > at).then_some(Trap::TimedOut)
        })
    }

    fn time(&self, call: impl FnOnce() -> CallOutcome) -> Outcome {
        let began = Instant::now();
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = began + self.patience;
        Outcome { call: call(), took: began.elapsed() }
    }
}
