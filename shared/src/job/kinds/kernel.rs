//! `kernel`: a kernel of one's own over an input that is cut into parts.
//!
//! ```json
//! {"kind":"kernel","kernel":"<base64 or hash>","input":"<base64>","split":"lines","merge":"concat"}
//! ```
//! Without `input` there is none. `split` says what one call gets: `lines` a line with its line end, `bytes:N` N bytes (the last call what is left),
//! `json_items` one item of a JSON list (UTF-8) as its text, `none` (unless said) the whole input. `merge` says what becomes of
//! the outputs: `concat` (unless said) puts them one after the other in the input's order; `kernel` runs the kernel once
//! more over that. The result is base64, whatever the bytes are.
//!
//! `common` is what all calls share: it stands before each part, or is what a kernel's `init` gets, once for many calls.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;

use super::{
    Known, Modules,
    fields::Fields,
    json::{wide_encoding, without_mark},
    limits::{BATCH_BYTES, BATCH_CALLS, MOST_INPUT_BYTES, MOST_ITEMS, MOST_KERNEL_BYTES, MOST_OUTPUT_BYTES},
    schema::{Choice, Example, Field, Kind, Number, Output, Sample::Typed, Type, choice, choices, text},
};
use crate::{
    blob::Blob,
    id::Hash,
    job::{CallShape, Done, Feed, Plan, Stage, Stages, outputs},
    kernel::GivenAs,
    refusal::{Code, Refusal},
    units::Span,
};

/// What it says of itself.
pub(super) static KIND: Kind = Kind {
    name: "kernel",
    title: text("Kernel", "Модуль"),
    about: text(
        "Your own WebAssembly: a pure function from bytes to bytes that exports memory, alloc and run, and imports nothing.",
        "Ваш собственный модуль WebAssembly: чистая функция из байтов в байты; экспортирует memory, alloc и run, ничего не импортирует.",
    ),
    fields: &[
        Field::required(
            "kernel",
            Type::Module,
            text("Kernel (.wasm)", "Модуль (.wasm)"),
            text(
                "The module's bytes in base64, or the hash of one that the node has.",
                "Байты модуля в base64 или хеш модуля, который есть у узла.",
            ),
        ),
        INPUT,
        SPLIT,
        Field::optional(
            "common",
            Type::Bytes,
            text("What all calls share", "Общее для всех вызовов"),
            text(
                "Bytes in base64 that every call gets before its part, sent to a node once: a model, a table. A kernel that exports init is prepared with them once.",
                "Байты в base64, которые каждый вызов получает перед своей частью и которые передаются узлу один раз: модель, таблица. Модуль с init готовится с ними один раз.",
            ),
        ),
        Field::optional(
            "merge",
            Type::Choice(&choices(&MERGES)),
            text("Put together", "Собрать"),
            text(
                "What becomes of the outputs: one after another in the input's order, or the kernel runs once more over that.",
                "Что станет с ответами: одно за другим в порядке ввода, или модуль ещё раз обработает всё вместе.",
            ),
        )
        .or("concat"),
    ],
    examples: &[Example {
        name: text("Upper case, line by line", "Прописные буквы по строкам"),
        values: &[
            ("kernel", Typed(UPPER_CASE)),
            ("input", Typed("all who are willing\nlend each other\na little of their power")),
            ("split", Typed("lines")),
        ],
    }],
    output: Output::Bytes,
    summary: |job| vec![job.text("split"), job.text("merge")],
};

/// The input of a kind that cuts bytes into parts.
pub(super) const INPUT: Field = Field::optional(
    "input",
    Type::Bytes,
    text("Input", "Ввод"),
    text(
        "The input in base64, at most 46 MiB of bytes; none, if it is left out.",
        "Ввод в base64, не больше 46 МиБ байтов; если его нет, он пуст.",
    ),
);

/// How that is cut.
pub(super) const SPLIT: Field = Field::optional(
    "split",
    Type::Choice(&choices(&SPLITS)),
    text("Cut the input", "Разделить ввод"),
    text(
        "What one call gets: a line, a block of so many bytes, an item of a JSON list, or the whole.",
        "Что получает один вызов: строку, блок байтов, элемент списка JSON или всё.",
    ),
)
.or("none");

const SPLITS: [(Choice, Split); 4] = [
    (choice("lines", "by lines", "по строкам"), Split::Lines),
    (
        Choice {
            number: Some(Number { label: text("Bytes in a block", "Байтов в блоке"), example: "65536" }),
            ..choice("bytes", "by blocks of bytes", "по блокам байтов")
        },
        Split::Bytes(0),
    ),
    (choice("json_items", "by items of a JSON list", "по элементам списка JSON"), Split::JsonItems),
    (choice("none", "not at all", "не делить"), Split::None),
];

/// Whether the kernel merges.
const MERGES: [(Choice, bool); 2] = [
    (choice("concat", "one after another", "одно за другим"), false),
    (choice("kernel", "by the kernel itself", "самим модулем"), true),
];

/// A kernel of 191 bytes that makes ASCII letters upper case; its source:
///
/// ```wat
/// (module
///   (memory (export "memory") 1)
///   (global $free (mut i32) (i32.const 1024))
///   (func (export "alloc") (param $len i32) (result i32) …)       ;; bumps $free, grows memory
///   (func (export "run") (param $at i32) (param $len i32) (result i64)
///     …                                                           ;; a - z become A - Z in place
///     (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))
/// ```
pub(super) const UPPER_CASE: &str = "AGFzbQEAAAABDAJgAX8Bf2ACf38BfgMDAgABBQMBAAEGBwF/AUGACAsHGAMGbWVtb3J5AgAFYWxsb2MAAANydW4AAQp6AjABAX8jACEBIAEgA\
                          GokAAJAIwA/AEEQdE0NAEF/QQEgAEEQdmpAAEcNAEEADwsgAQtHAQJ/AkADQCACIAFPDQEgACACai0AACEDIANB4QBrQRpJBEAgACACaiA\
                          DQSBrOgAACyACQQFqIQIMAAsLIACtQiCGIAGthAs=";

/// A kernel of 207 bytes that turns its input around, byte by byte, in place.
pub(super) const REVERSE: &str = "AGFzbQEAAAABDAJgAX8Bf2ACf38BfgMDAgABBQMBAAEGBwF/AUGACAsHGAMGbWVtb3J5AgAFYWxsb2MAAANydW4AAQqJAQI1AQJ/IwAhASABIA\
                       BqJAAjAEH//wNqQRB2PwBrIQIgAkEASgRAIAJAAEF/RgRAQQAPCwsgAQtRAQN/IAAhAiAAIAFqQQFrIQMCQANAIAIgA04NASACLQAAIQQgAiAD\
                       LQAAOgAAIAMgBDoAACACQQFqIQIgA0EBayEDDAALCyAArUIghiABrYQL";

struct Kernel {
    kernel: Blob,
    common: Option<Blob>,
    parts: Parts,
    merge_by_kernel: bool,
}

pub(super) fn read(fields: &mut Fields, modules: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let split = read_split(fields)?;
    let merge_by_kernel = fields.choice("merge", &MERGES)?;
    let kernel = read_module(fields, "kernel", modules)?;
    let common = read_bytes(fields, "common")?.map(Blob::new);
    let parts = read_parts(fields, split)?;
    if !kernel.sound_as_kernel {
        (modules.check)(&kernel.blob, GivenAs::Kernel)?;
    }
    Ok(Box::new(Kernel { kernel: kernel.blob, common, parts, merge_by_kernel }))
}

/// A module by base64 or by hash.
pub(super) fn read_module(fields: &mut Fields, name: &str, modules: &Modules<'_>) -> Result<Known, Refusal> {
    let text = fields.needed_text(name)?;
    if let Ok(hash) = text.parse::<Hash>() {
        let unknown = || {
            let message = format!("`{name}`: no kernel {hash} is known here");
            Refusal::new(Code::UnknownKernel, message, "send its bytes: in base64 here, or with PUT /api/v1/kernels")
        };
        return (modules.find)(hash).ok_or_else(unknown);
    }
    let bytes = decode(&text, name)?;
    if bytes.len() > MOST_KERNEL_BYTES {
        let message = format!("`{name}` has {} bytes; at most {MOST_KERNEL_BYTES} are taken", bytes.len());
        return Err(Refusal::new(Code::TooLarge, message, "build it with optimisation and without debug information"));
    }
    Ok(Known::new(Blob::new(bytes)))
}

fn decode(text: &str, name: &str) -> Result<Vec<u8>, Refusal> {
    let invalid = |error| {
        let hint = "send bytes in base64 with padding, as `base64 -w0 FILE` prints them";
        Refusal::new(Code::InvalidField, format!("`{name}` is not valid base64: {error}"), hint)
    };
    STANDARD.decode(text).map_err(invalid)
}

/// An input cut into the parts that calls get.
pub(super) struct Parts {
    input: Vec<u8>,
    cut: Cut,
}

enum Cut {
    /// Parts of so many bytes.
    Even(usize),
    /// First byte and end of each part.
    At(Vec<(u32, u32)>),
}

/// How an input is cut.
#[derive(Clone, Copy)]
pub(super) enum Split {
    /// Not at all.
    None,
    /// Into lines.
    Lines,
    /// Into the items of a JSON list.
    JsonItems,
    /// Into parts of so many bytes.
    Bytes(usize),
}

/// `split`. It is looked at before the input, which may be long.
pub(super) fn read_split(fields: &mut Fields) -> Result<Split, Refusal> {
    let (split, bytes) = fields.numbered_choice("split", &SPLITS)?;
    Ok(match split {
        Split::Bytes(_) => Split::Bytes(bytes),
        Split::None | Split::Lines | Split::JsonItems => split,
    })
}

/// Bytes, if they are given.
fn read_bytes(fields: &mut Fields, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let bytes = decode(&text, name)?;
    if bytes.len() > MOST_INPUT_BYTES {
        let message = format!("`{name}` has {} bytes; at most {MOST_INPUT_BYTES} are taken", bytes.len());
        return Err(Refusal::new(Code::TooLarge, message, "cut it, and send each piece as a job of its own"));
    }
    Ok(Some(bytes))
}

/// `input`, cut.
pub(super) fn read_parts(fields: &mut Fields, split: Split) -> Result<Parts, Refusal> {
    let input = read_bytes(fields, "input")?.unwrap_or_default();
    let cut = match split {
        Split::None => Cut::Even(input.len().max(1)),
        Split::Lines => Cut::At(lines(&input)?),
        Split::JsonItems => Cut::At(json_items(&input)?),
        Split::Bytes(bytes) => Cut::Even(bytes),
    };
    let parts = Parts { input, cut };
    if parts.count() == 0 {
        return Err(Refusal::new(Code::EmptyInput, "`input` has nothing to split", "give at least one line or item"));
    }
    if parts.count() > MOST_ITEMS {
        return Err(too_many_parts());
    }
    Ok(parts)
}

fn too_many_parts() -> Refusal {
    let message = format!("`input` has more than {MOST_ITEMS} parts");
    Refusal::new(Code::TooLarge, message, "split it into larger parts")
}

/// Each line with its line end; the last one may have none.
fn lines(input: &[u8]) -> Result<Vec<(u32, u32)>, Refusal> {
    // What is counted in a moment takes no memory when it is too much.
    if input.split_inclusive(|byte| *byte == b'\n').count() as u64 > MOST_ITEMS {
        return Err(too_many_parts());
    }
    let mut start = 0;
    let lines = input.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let from = start;
        start += line.len() as u32;
        (from, start)
    });
    Ok(lines.collect())
}

/// The items of a JSON list, each as it is written.
fn json_items(input: &[u8]) -> Result<Vec<(u32, u32)>, Refusal> {
    let hint = "give a list, as in [{\"a\": 1}, {\"a\": 2}]";
    let invalid = |message| Refusal::new(Code::InvalidField, message, hint);
    let text = input_text(input)?;
    let list = serde_json::from_str::<Vec<IgnoredAny>>(text)
        .map_err(|error| invalid(format!("`input` is no JSON list: {error}")))?;
    if list.len() as u64 > MOST_ITEMS {
        return Err(too_many_parts());
    }
    // It is valid, so brackets, commas and quotes alone tell the items.
    let (mut depth, mut in_text, mut escaped) = (0u32, false, false);
    let mut items = Vec::new();
    let (mut start, mut quote, mut has_code) = (0, 0, false);
    for (at, byte) in input.iter().enumerate() {
        if in_text {
            in_text = escaped || *byte != b'"';
            has_code |= escaped && *byte == b'u';
            escaped = !escaped && *byte == b'\\';
            if !in_text && has_code && !is_text(input.get(quote..=at).unwrap_or_default()) {
                let (line, column) = place(input, quote);
                let half = "holds half of a character (\\ud800 to \\udfff stand in pairs)";
                return Err(invalid(format!("`input`: the text at line {line} column {column} {half}")));
            }
            continue;
        }
        match byte {
            b'"' => (in_text, quote, has_code) = (true, at, false),
            b'[' | b'{' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    add_trimmed(input, start, at, &mut items);
                }
            }
            b',' if depth == 1 => {
                add_trimmed(input, start, at, &mut items);
                start = at + 1;
            }
            _ => {}
        }
    }
    Ok(items)
}

/// Whether the codes in a text, whose form is JSON's, make characters.
fn is_text(quoted: &[u8]) -> bool {
    serde_json::from_slice::<String>(quoted).is_ok()
}

/// The text of an input; behind the mark that editors of some systems put before it, if there is one.
fn input_text(input: &[u8]) -> Result<&str, Refusal> {
    let refused = |what: String| {
        let hint = "send JSON in UTF-8; in PowerShell, pass `-Encoding utf8` to what writes the file";
        Refusal::new(Code::InvalidField, format!("`input` is {what}"), hint)
    };
    if let Some(encoding) = wide_encoding(input, b"[ \t\r\n") {
        return Err(refused(format!("in {encoding}, not in UTF-8")));
    }
    match std::str::from_utf8(input) {
        Ok(text) => Ok(without_mark(text)),
        Err(error) => {
            let (line, column) = place(input, error.valid_up_to());
            Err(refused(format!("not UTF-8 text at line {line} column {column}")))
        }
    }
}

/// Line and column of a byte, as the JSON reader counts them: from 1 on, in bytes, without a mark in front.
fn place(input: &[u8], at: usize) -> (usize, usize) {
    let before = input.get(..at).unwrap_or_default();
    let before = before.strip_prefix("\u{feff}".as_bytes()).unwrap_or(before);
    let line = before.split(|byte| *byte == b'\n').count();
    let begun = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    (line, begun.len() + 1)
}

fn add_trimmed(input: &[u8], start: usize, end: usize, items: &mut Vec<(u32, u32)>) {
    let item = input.get(start..end).unwrap_or_default();
    let front = item.len() - item.trim_ascii_start().len();
    let len = item.trim_ascii().len();
    if len > 0 {
        items.push(((start + front) as u32, (start + front + len) as u32));
    }
}

impl Parts {
    /// How many; 1 for an input that is not split, even an empty one.
    pub(super) fn count(&self) -> u64 {
        match &self.cut {
            Cut::Even(bytes) => self.input.len().div_ceil(*bytes).max(1) as u64,
            Cut::At(parts) => parts.len() as u64,
        }
    }

    fn bounds(&self, part: u64) -> (usize, usize) {
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        match &self.cut {
            Cut::Even(bytes) => {
                let start = part.saturating_mul(*bytes).min(self.input.len());
                (start, start.saturating_add(*bytes).min(self.input.len()))
            }
            Cut::At(parts) => parts.get(part).map_or((0, 0), |(start, end)| (*start as usize, *end as usize)),
        }
    }

    /// One part.
    pub(super) fn get(&self, part: u64) -> &[u8] {
        let (start, end) = self.bounds(part);
        self.input.get(start..end).unwrap_or_default()
    }

    /// How many parts from `first` on fit one batch.
    pub(super) fn most_a_batch(&self, first: u64) -> u64 {
        let from = self.bounds(first).0;
        let fits = |count: u64| self.bounds(first + count - 1).1.saturating_sub(from) <= BATCH_BYTES;
        let (mut least, mut most) = (1, BATCH_CALLS.min(self.count().saturating_sub(first)).max(1));
        while least < most {
            let middle = least + (most - least).div_ceil(2);
            if fits(middle) {
                least = middle;
            } else {
                most = middle - 1;
            }
        }
        least
    }
}

impl Plan for Kernel {
    fn stages(&self) -> Stages {
        let mut stages = Stages::default();
        let stage = |units| Stage::of(&self.kernel, units, CallShape::EachUnit).with_common(self.common.as_ref());
        let parts = stages.add(stage(self.parts.count()), &[]);
        if self.merge_by_kernel {
            stages.add(stage(1), &[Feed::All(parts)]);
        }
        stages
    }

    fn modules(&self) -> Vec<&Blob> {
        vec![&self.kernel]
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        if start >= self.parts.count() { 1 } else { self.parts.most_a_batch(start) }
    }

    fn inputs(&self, span: Span, done: &Done) -> Vec<Vec<u8>> {
        let parts = self.parts.count();
        let merged = || outputs(done, Span { start: 0, end: parts }).flatten().copied().collect();
        let input = |unit| if unit < parts { self.parts.get(unit).to_vec() } else { merged() };
        (span.start..span.end).map(input).collect()
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        // What the kernel merges may be larger than what it makes of it.
        let is_merged = self.merge_by_kernel && span.start < self.parts.count();
        if is_merged { Ok(()) } else { fits_a_result(output.len()) }
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let parts = self.parts.count();
        let start = if self.merge_by_kernel { parts } else { 0 };
        base64_text(outputs(done, Span { start, end: parts + 1 }).map(Vec::as_slice))
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}

/// Refuses more bytes of output than a result can hold.
pub(super) fn fits_a_result(bytes: usize) -> Result<(), Refusal> {
    if bytes <= MOST_OUTPUT_BYTES {
        return Ok(());
    }
    let message = format!("the output has {bytes} bytes or more; a result holds {} MiB", MOST_OUTPUT_BYTES >> 20);
    Err(Refusal::new(Code::TooLarge, message, "split the job, or put less out"))
}

/// Outputs one after the other, as JSON text in base64.
pub(super) fn base64_text<'a>(outputs: impl Iterator<Item = &'a [u8]>) -> Result<String, Refusal> {
    let mut whole = Vec::new();
    for output in outputs {
        whole.extend_from_slice(output);
        fits_a_result(whole.len())?;
    }
    let mut json = String::with_capacity(whole.len().div_ceil(3) * 4 + 2);
    json.push('"');
    STANDARD.encode_string(&whole, &mut json);
    json.push('"');
    Ok(json)
}
