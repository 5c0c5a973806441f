//! `command`: a program for `wasm32-wasip1` that reads standard input and writes standard output.
//!
//! ```json
//! {"kind":"command","module":"<base64 or hash>","args":["-v"],"input":"<base64>","split":"lines"}
//! ```
//! Each part of the input (cut as for `kernel`) is a run of the program: the arguments are the same, the clock stands
//! still, random numbers are seeded by the part's number, files and sockets are absent. The result is
//! `{"stdout": base64, "stderr": text}`, both in the input's order. A run that ends with another exit code than 0 fails
//! the job, with the end of its standard error in the reason.

mod adapt;
mod calls;

use std::collections::BTreeMap;

use wasmparser::{Parser, Payload};

pub use self::adapt::adapt;

use super::{
    Blobs,
    fields::Fields,
    kernel::{Parts, base64_text, read_module, read_parts},
    outcome::foreign,
};
use crate::{
    job::{CallShape, Outputs, Plan},
    refusal::{Code, Refusal},
    units::Span,
};

/// As in `"kind"`.
pub const NAME: &str = "command";
/// Its own fields.
pub const FIELDS: &[&str] = &["module", "args", "input", "split"];

/// Bytes of all arguments together.
const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// Characters of standard error in a reason.
const SHOWN: usize = 400;
/// Bytes of standard error in a result; the first ones are kept.
const MAX_ERRORS: usize = 1 << 20;

struct Command {
    module: Vec<u8>,
    kernel: Vec<u8>,
    common: Vec<u8>,
    parts: Parts,
}

/// Reads the fields of this kind.
pub fn read(fields: &mut Fields, blob: Blobs) -> Result<Box<dyn Plan>, Refusal> {
    let module = read_module(fields, "module", blob)?;
    let common = arguments(&fields.texts("args")?)?;
    let parts = read_parts(fields)?;
    let kernel = adapt(&module)?;
    crate::kernel::prepare(&kernel)?;
    Ok(Box::new(Command { module, kernel, common, parts }))
}

/// Whether a module is a command rather than a kernel: it exports `_start` and no `run`.
pub fn is_command(module: &[u8]) -> bool {
    let (mut start, mut run) = (false, false);
    for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
        let Payload::ExportSection(exports) = payload else { continue };
        for export in exports.into_iter().map_while(Result::ok) {
            start |= export.name == "_start";
            run |= export.name == "run";
        }
    }
    start && !run
}

/// What the input of every run begins with: the common bytes of a job. The first argument is the program's name, as
/// everywhere. Refused are arguments that hold a zero or are too long together.
pub fn arguments(given: &[String]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = b"command\0".to_vec();
    for (place, argument) in given.iter().enumerate() {
        if argument.contains('\0') {
            let message = format!("`args` item {place} holds a zero character");
            return Err(Refusal::new(Code::InvalidField, message, "arguments end at a zero: remove it"));
        }
        bytes.extend_from_slice(argument.as_bytes());
        bytes.push(0);
    }
    if bytes.len() > MAX_ARGUMENT_BYTES {
        let message = format!("`args` has more than {MAX_ARGUMENT_BYTES} bytes");
        return Err(Refusal::new(Code::TooLarge, message, "pass long data as input"));
    }
    let mut common = Vec::with_capacity(bytes.len() + 8);
    common.extend_from_slice(&(given.len() as u32 + 1).to_le_bytes());
    common.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    common.extend_from_slice(&bytes);
    Ok(common)
}

/// The own bytes of a run's input: `part` seeds its random numbers, `input` is what it reads.
pub fn part_input(part: u64, input: &[u8]) -> Vec<u8> {
    [&(part + 1).to_le_bytes(), input].concat()
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// What it gave to `proc_exit`; 134, as for an abort, if it trapped.
    pub exit_code: u32,
    /// Its standard output.
    pub output: &'a [u8],
    /// Its standard error.
    pub errors: &'a [u8],
}

/// Reads what the kernel made by [`adapt`] gives; `None` if no such kernel can have given it.
pub fn ended(output: &[u8]) -> Option<Ended<'_>> {
    let (exit_code, rest) = output.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (output, errors) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(Ended { exit_code: u32::from_le_bytes(*exit_code), output, errors })
}

impl Plan for Command {
    fn kernel(&self) -> &[u8] {
        &self.kernel
    }

    fn module(&self) -> Option<&[u8]> {
        Some(&self.module)
    }

    fn common(&self) -> &[u8] {
        &self.common
    }

    fn units(&self) -> u64 {
        self.parts.count()
    }

    fn shape(&self) -> CallShape {
        CallShape::EachUnit
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        self.parts.most_a_batch(start)
    }

    fn inputs(&self, span: Span) -> Vec<Vec<u8>> {
        (span.start..span.end).map(|part| part_input(part, self.parts.get(part))).collect()
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        let ended = ended(output).ok_or_else(foreign)?;
        if ended.exit_code == 0 {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(ended.errors);
        let skipped = errors.chars().count().saturating_sub(SHOWN);
        let tail: String = errors.trim_end().chars().skip(skipped).collect();
        let message = format!("part {} ended with exit code {}: {tail}", span.start, ended.exit_code);
        Err(Refusal::new(Code::KernelError, message, "the program said so itself: see its standard error"))
    }

    fn merge(&self, done: &BTreeMap<Span, Outputs>) -> Result<String, Refusal> {
        let runs = || done.values().flatten().filter_map(|output| ended(output));
        let output = base64_text(runs().map(|run| run.output))?;
        let mut errors = Vec::new();
        for run in runs() {
            let room = MAX_ERRORS.saturating_sub(errors.len()).min(run.errors.len());
            errors.extend_from_slice(run.errors.get(..room).unwrap_or_default());
        }
        let errors = serde_json::Value::from(String::from_utf8_lossy(&errors));
        Ok(format!("{{\"stdout\":{output},\"stderr\":{errors}}}"))
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}
