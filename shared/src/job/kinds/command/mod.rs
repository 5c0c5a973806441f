//! `command`: a program for `wasm32-wasip1` that reads standard input and writes standard output.
//!
//! ```json
//! {"kind":"command","module":"<base64 or hash>","args":["-v"],"input":"<base64>","split":"lines","ok_exit_codes":[0,1]}
//! ```
//! Each part of the input (cut as for `kernel`) is a run of the program: the arguments are the same, the clock moves by
//! gas, random numbers are seeded by the part's number, files and sockets are absent. What becomes of the runs' outputs and
//! exit codes is in `outcome.rs`.

mod adapt;
mod calls;
mod frame;
mod outcome;
mod poll;
mod streams;
mod text;

pub use self::adapt::adapt;

use super::{
    Modules,
    fields::Fields,
    kernel::{INPUT, Parts, SPLIT, fits_a_result, read_module, read_parts, read_split},
    outcome::foreign,
    schema::{
        Example, Field, Kind, Output,
        Sample::{Shipped, Typed},
        Type, text,
    },
};
use crate::{
    blob::Blob,
    job::{CallShape, Done, Plan, Stage, Stages},
    kernel::{GivenAs, Outline},
    refusal::{Code, Refusal},
    units::Span,
};

/// What it says of itself.
pub static KIND: Kind = Kind {
    name: "command",
    title: text("Command", "Программа"),
    about: text(
        "A program compiled to wasm32-wasip1 that reads standard input and writes standard output.",
        "Программа, собранная под wasm32-wasip1: читает стандартный ввод и пишет в стандартный вывод.",
    ),
    fields: &[
        Field::required(
            "module",
            Type::Module,
            text("Program (.wasm)", "Программа (.wasm)"),
            text(
                "The module's bytes in base64, or the hash of one that the node has.",
                "Байты модуля в base64 или хеш модуля, который есть у узла.",
            ),
        ),
        Field::optional(
            "args",
            Type::Texts { most: MOST_ARGUMENT_BYTES },
            text("Arguments", "Аргументы"),
            text(
                "The program's arguments, the same for every part.",
                "Аргументы программы, одни и те же для каждой части.",
            ),
        ),
        INPUT,
        SPLIT,
        Field::optional(
            "ok_exit_codes",
            Type::Integers { least: 0, most: u32::MAX as i64, longest: MOST_OK_CODES },
            text("Exit codes that are no failure", "Коды завершения, которые не считаются ошибкой"),
            text(
                "Of parts that did not fail, one at least; only 0, if it is left out.",
                "Хотя бы один; если не сказано, то только 0.",
            ),
        )
        .or("0"),
    ],
    examples: &[
        Example {
            name: text("Swap case, line by line", "Поменять регистр по строкам"),
            values: &[("module", Typed(SWAP_CASE)), ("input", Typed("One\nTWO\nthree")), ("split", Typed("lines"))],
        },
        Example {
            name: text("Frequent words (Rust)", "Частые слова (Rust)"),
            values: &[
                ("module", Shipped("frequencies")),
                ("args", Typed("--top\n5")),
                (
                    "input",
                    Typed("all who are willing\nlend each other\na little of their power\nand all who lend may borrow"),
                ),
                ("split", Typed("none")),
            ],
        },
        Example {
            name: text("Statistics (C)", "Статистика (C)"),
            values: &[
                ("module", Shipped("statistics")),
                ("args", Typed("-d\n4")),
                ("input", Typed("3, 1, 4, 1, 5, 9, 2, 6\n2, 7, 1, 8, x")),
                ("split", Typed("lines")),
            ],
        },
        Example {
            name: text("Pi by darts (Zig)", "Число пи дротиками (Zig)"),
            values: &[
                ("module", Shipped("darts")),
                ("input", Typed("1000000\n1000000\n1000000\n1000000\n1000000\n1000000\n1000000\n1000000")),
                ("split", Typed("lines")),
            ],
        },
        Example {
            name: text("What a program finds (C)", "Что видит программа (C)"),
            values: &[
                ("module", Shipped("surroundings")),
                ("args", Typed("one\ntwo words")),
                ("input", Typed("first part\nsecond part")),
                ("split", Typed("lines")),
            ],
        },
    ],
    output: Output::Program,
    summary: |job| vec![job.text("split")],
};

/// A program of 264 bytes for `wasm32-wasip1`: until `fd_read` from standard input gives nothing, it swaps the case of
/// the ASCII letters read and hands them to `fd_write` on standard output.
const SWAP_CASE: &str = "AGFzbQEAAAABDAJgBH9/f38Bf2AAAAJEAhZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxB2ZkX3JlYWQAABZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxCGZkX3dyaXRlAAADAgEBBQMBAAIHEwIGbWVtb3J5AgAGX3N0YXJ0AAIKiwEBiAEBA38CQANAQQBBwAA2AgBBBEGAgAQ2AgBBAEEAQQFBCBAADQFBCCgCAEUNAUHAACEAQcAAQQgoAgBqIQEDQCAALQAAIQIgAkEgckHhAGtBGkkEQCAAIAJBIHM6AAALIABBAWohACAAIAFJDQALQQRBCCgCADYCAEEBQQBBAUEMEAENAQwACwsL";

/// Bytes of all arguments together.
const MOST_ARGUMENT_BYTES: usize = 64 << 10;
/// Exit codes that a job may count as good.
const MOST_OK_CODES: usize = 256;

struct Command {
    module: Blob,
    kernel: Blob,
    common: Blob,
    parts: Parts,
    /// Exit codes of parts that did not fail.
    ok: Vec<u32>,
}

pub(super) fn read(fields: &mut Fields, modules: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let common = Blob::new(arguments(&fields.texts("args")?)?);
    let split = read_split(fields)?;
    let ok = fields.integers("ok_exit_codes")?;
    if ok.as_ref().is_some_and(Vec::is_empty) {
        let message = "`ok_exit_codes` is empty: every run of the program would fail";
        return Err(Refusal::new(Code::InvalidField, message, "name at least one, as in [0], or leave it out"));
    }
    let ok =
        ok.map_or_else(|| vec![0], |codes| codes.into_iter().filter_map(|code| u32::try_from(code).ok()).collect());
    let module = read_module(fields, "module", modules)?;
    let parts = read_parts(fields, split)?;
    let kernel = Blob::new(adapt(&module.blob)?);
    if !module.sound_as_command {
        (modules.check)(&kernel, GivenAs::Program)?;
    }
    Ok(Box::new(Command { module: module.blob, kernel, common, parts, ok }))
}

/// Whether a module is a command rather than a kernel, whatever else it exports.
pub fn is_command(module: &[u8]) -> bool {
    Outline::of(module).is_command()
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
    if bytes.len() > MOST_ARGUMENT_BYTES {
        let message = format!("`args` has more than {MOST_ARGUMENT_BYTES} bytes");
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

/// By what a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited,
    /// By a trap, with the exit code 134.
    Trapped,
    /// It wanted more memory than it may have, its input included, with the exit code 137.
    OutOfMemory,
    /// It recursed too deep, with the exit code 139.
    StackOverflow,
    /// It ran out of time or gas, with the exit code 124. What it had put out is lost.
    TimedOut,
    /// It put out more than a part may, or than a result holds, with the exit code 153; that is lost.
    TooLarge,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// By what.
    pub end: End,
    /// What it gave to `proc_exit`, or what [`End`] says.
    pub exit_code: u32,
    /// Its standard output.
    pub output: &'a [u8],
    /// Its standard error.
    pub errors: &'a [u8],
}

/// Reads what the kernel made by [`adapt`] gives, or what stands for an output; `None` if it is neither.
pub fn ended(output: &[u8]) -> Option<Ended<'_>> {
    let (exit_code, rest) = output.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (exit_code, length) = (u32::from_le_bytes(*exit_code), u32::from_le_bytes(*length));
    let end = match exit_code {
        _ if length & frame::TRAPPED == 0 => End::Exited,
        frame::ABORTED => End::Trapped,
        frame::OUT_OF_MEMORY => End::OutOfMemory,
        frame::STACK_OVERFLOW => End::StackOverflow,
        frame::TIMED_OUT => End::TimedOut,
        frame::TOO_LARGE => End::TooLarge,
        _ => return None,
    };
    let (output, errors) = rest.split_at_checked((length & !frame::TRAPPED) as usize)?;
    Some(Ended { end, exit_code, output, errors })
}

impl Command {
    /// Every part's number and run, in the input's order.
    fn runs<'a>(&self, done: &'a Done) -> impl Iterator<Item = (u64, Ended<'a>)> {
        let numbered = done.iter().flat_map(|(span, outputs)| (span.start..).zip(outputs));
        numbered.filter_map(|(part, output)| Some((part, ended(output)?)))
    }
}

impl Plan for Command {
    fn stages(&self) -> Stages {
        let stage = Stage::of(&self.kernel, self.parts.count(), CallShape::EachUnit);
        Stages::one(stage.with_common(Some(&self.common)))
    }

    fn modules(&self) -> Vec<&Blob> {
        vec![&self.module]
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        self.parts.most_a_batch(start)
    }

    fn inputs(&self, span: Span, _: &Done) -> Vec<Vec<u8>> {
        (span.start..span.end).map(|part| part_input(part, self.parts.get(part))).collect()
    }

    fn check(&self, _: Span, output: &[u8]) -> Result<(), Refusal> {
        let ended = ended(output).filter(|_| !self.is_instead(output)).ok_or_else(foreign)?;
        fits_a_result(ended.output.len())
    }

    fn instead(&self, why: &Refusal) -> Option<Vec<u8>> {
        let ends = [(Code::TimedOut, frame::TIMED_OUT), (Code::TooLarge, frame::TOO_LARGE)];
        ends.iter().find(|(code, _)| *code == why.code).map(|(_, exit_code)| frame::instead(*exit_code))
    }

    fn is_instead(&self, output: &[u8]) -> bool {
        ended(output).is_some_and(|ended| match ended.end {
            End::TimedOut | End::TooLarge => true,
            End::Exited | End::Trapped | End::OutOfMemory | End::StackOverflow => false,
        })
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        outcome::result(|| self.runs(done), &self.ok)
    }

    fn failure(&self, done: &Done) -> Option<Refusal> {
        outcome::failure(self.runs(done), &self.ok)
    }

    fn failed_parts(&self, done: &Done) -> u64 {
        outcome::failures(self.runs(done), &self.ok)
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}
