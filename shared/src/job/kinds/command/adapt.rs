//! A `wasm32-wasip1` command as a kernel: its imports become functions of its own.
//!
//! Imported functions come first in a module's numbering, so putting as many functions of ours first leaves every index
//! as it was; everything else is appended. Input: arguments (their count and their bytes, each 32 bits, then the
//! arguments, each ended by a zero byte), a seed (64 bits), then standard input. Output: exit code, length of standard
//! output (32 bits each), standard output, standard error.
//!
//! `proc_exit` cannot return through the program's frames, so it sets a global and traps; the module exports
//! [`ENDS_EARLY`], and a host that sees that export calls `run` once more, which then gives the output. A program that
//! trapped by itself gives what it had put out so far, with the exit code of an abort.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    InstructionSink, MemArg, MemArgTarget, Module, RawSection, TypeSection, ValType,
    reencode::{Reencode, RoundtripReencoder},
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use super::calls;
pub use crate::engine::drive::ENDS_EARLY;
use crate::{
    kernel::within_bounds,
    refusal::{Code, Refusal},
};

/// The only module that a command may import from.
const WASI: &str = "wasi_snapshot_preview1";
/// Imports of a command. WASI has 46 functions; each import becomes a function.
const MOST_IMPORTS: usize = 200;

/// Globals and functions that are appended.
#[derive(Clone, Copy)]
pub struct Appended {
    /// First of the globals below.
    pub globals: u32,
    /// Function: appends bytes to an output, `(stream global, address, length)`.
    pub output: [u32; 2],
    /// Function: room of so many bytes, behind everything; 0 if there is none.
    pub room: u32,
}

/// What the globals hold, in order; all are `i32` but the last.
#[derive(Clone, Copy)]
pub enum Cell {
    /// 0 before `run`, 1 while the program runs, 2 when it has ended.
    State,
    /// The exit code.
    ExitCode,
    /// How many arguments.
    ArgumentCount,
    /// Bytes of all arguments.
    ArgumentBytes,
    /// Where the arguments lie.
    Arguments,
    /// Where unread input begins.
    InputStart,
    /// Where the input ends.
    InputEnd,
    /// Standard output: address, length, room.
    Output,
    /// See [`Cell::Output`].
    OutputLength,
    /// See [`Cell::Output`].
    OutputRoom,
    /// Standard error: address, length, room.
    Errors,
    /// See [`Cell::Errors`].
    ErrorsLength,
    /// See [`Cell::Errors`].
    ErrorsRoom,
    /// State of the random numbers, an `i64`.
    Random,
}

const CELLS: u32 = 14;

/// The exit code of a program that trapped: what a shell shows for an abort.
const ABORTED: i32 = 134;

impl Appended {
    /// The global of a cell.
    pub fn cell(self, cell: Cell) -> u32 {
        self.globals + cell as u32
    }
}

/// An access to memory.
pub fn at(offset: u64, align: u32) -> MemArg {
    MemArg { offset, align, target: MemArgTarget::default(), ordering: None }
}

fn invalid(message: impl Into<String>) -> Refusal {
    let hint = "send a command built for wasm32-wasip1, for example by `cargo build --release --target wasm32-wasip1`";
    Refusal::new(Code::InvalidKernel, message, hint)
}

/// The kernel that runs a command. Refused is what is no command, imports anything but WASI, or imports a function of
/// WASI with another type than WASI gives it.
pub fn adapt(command: &[u8]) -> Result<Vec<u8>, Refusal> {
    let broken = |error: wasmparser::BinaryReaderError| invalid(format!("`module` is no WebAssembly: {error}"));
    let encoded = |error: wasm_encoder::reencode::Error| invalid(format!("`module` cannot be read: {error}"));
    let mut types = TypeSection::new();
    let mut signatures = Vec::new();
    let (mut imports, mut functions, mut start) = (Vec::new(), Vec::new(), None);
    let mut globals = GlobalSection::new();
    let mut exports = ExportSection::new();
    let (mut entry, mut has_memory) = (None, false);
    let mut bodies = Vec::new();
    let mut raw: Vec<(u8, &[u8])> = Vec::new();
    for payload in Parser::new(0).parse_all(command) {
        let payload = payload.map_err(broken)?;
        within_bounds(&payload)?;
        match payload {
            Payload::TypeSection(section) => {
                for signature in section.clone().into_iter_err_on_gc_types() {
                    signatures.push(signature.map_err(broken)?);
                }
                RoundtripReencoder.parse_type_section(&mut types, section).map_err(encoded)?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(broken)?;
                    if imports.len() == MOST_IMPORTS {
                        return Err(invalid(format!("`module` has more than {MOST_IMPORTS} imports")));
                    }
                    let TypeRef::Func(kind) = import.ty else {
                        return Err(foreign(import.module, import.name));
                    };
                    if import.module != WASI {
                        return Err(foreign(import.module, import.name));
                    }
                    imports.push((import.name, kind));
                }
            }
            Payload::FunctionSection(section) => {
                functions = section.into_iter().collect::<Result<Vec<u32>, _>>().map_err(broken)?;
            }
            Payload::GlobalSection(section) => {
                RoundtripReencoder.parse_global_section(&mut globals, section).map_err(encoded)?;
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(broken)?;
                    match (export.name, export.kind) {
                        ("_start", ExternalKind::Func) => entry = Some(export.index),
                        ("memory", ExternalKind::Memory) => has_memory = true,
                        (_, _) => {}
                    }
                }
            }
            Payload::StartSection { func, .. } => start = Some(func),
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_)
            | Payload::Version { .. }
            | Payload::End(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let range = usize::try_from(range.start).unwrap_or(0)..usize::try_from(range.end).unwrap_or(0);
                    raw.push((id, command.get(range).unwrap_or_default()));
                }
            }
        }
    }
    let (Some(entry), true) = (entry, has_memory) else {
        return Err(invalid("`module` does not export `_start` and `memory`, so it is no command"));
    };

    let first_type = types.len();
    for (parameters, results) in [
        (&[ValType::I32][..], &[ValType::I32][..]),
        (&[ValType::I32, ValType::I32], &[ValType::I64]),
        (&[ValType::I32, ValType::I32], &[]),
    ] {
        types.ty().function(parameters.iter().copied(), results.iter().copied());
    }
    let own = u32::try_from(imports.len() + functions.len()).map_err(|_| invalid("`module` has too many functions"))?;
    let appended = Appended { globals: globals.len(), output: [own, own + 1], room: own + 2 };
    for index in 0..CELLS {
        let (val_type, value) = if index + 1 == CELLS {
            (ValType::I64, ConstExpr::i64_const(0))
        } else {
            (ValType::I32, ConstExpr::i32_const(0))
        };
        globals.global(GlobalType { val_type, mutable: true, shared: false }, &value);
    }

    let mut function_section = FunctionSection::new();
    let mut code = CodeSection::new();
    for (name, kind) in &imports {
        let signature = signatures.get(*kind as usize);
        let signature = signature.ok_or_else(|| invalid(format!("the import `{name:.64}` has no type")))?;
        function_section.function(*kind);
        let wrong = || invalid(format!("the import `{name:.64}` has another type than WASI gives it"));
        code.function(&calls::body(name, signature, appended).ok_or_else(wrong)?);
    }
    functions.iter().for_each(|kind| {
        function_section.function(*kind);
    });
    bodies.iter().for_each(|body| {
        code.raw(body.as_bytes());
    });
    for (kind, body) in [
        (first_type + 2, append_output([Cell::Output, Cell::OutputLength, Cell::OutputRoom], appended)),
        (first_type + 2, append_output([Cell::Errors, Cell::ErrorsLength, Cell::ErrorsRoom], appended)),
        (first_type, room()),
        (first_type + 1, run(entry, appended)),
    ] {
        function_section.function(kind);
        code.function(&body);
    }
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("alloc", ExportKind::Func, appended.room);
    exports.export("run", ExportKind::Func, own + 3);
    exports.export(ENDS_EARLY, ExportKind::Func, own + 3);

    let mut module = Module::new();
    module.section(&types).section(&function_section);
    let put = |module: &mut Module, wanted: &[u8]| {
        for (id, data) in raw.iter().filter(|(id, _)| wanted.contains(id)) {
            module.section(&RawSection { id: *id, data });
        }
    };
    put(&mut module, &[4, 5]);
    module.section(&globals).section(&exports);
    if let Some(function_index) = start {
        module.section(&wasm_encoder::StartSection { function_index });
    }
    put(&mut module, &[9, 12]);
    module.section(&code);
    put(&mut module, &[11]);
    Ok(module.finish())
}

fn foreign(module: &str, name: &str) -> Refusal {
    let message = format!("`module` imports `{module:.64}` `{name:.64}`");
    Refusal::new(Code::KernelImports, message, "a command may import functions of wasi_snapshot_preview1 only")
}

/// `(length) -> address`: whole pages behind everything, so that the program's own heap never meets ours.
fn room() -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.local_get(0).i32_const(0xffff).i32_add().i32_const(16).i32_shr_u();
    sink.memory_grow(0).local_tee(0).i32_const(-1).i32_eq().if_(BlockType::Empty);
    sink.i32_const(0).return_().end();
    sink.local_get(0).i32_const(16).i32_shl().end();
    function
}

/// `(address, length)`: appends to an output, whose room doubles.
fn append_output(stream: [Cell; 3], appended: Appended) -> Function {
    let [address, length, room] = stream.map(|cell| appended.cell(cell));
    // Local 2: the room needed; 3: where it is.
    let mut function = Function::new([(2, ValType::I32)]);
    let mut sink = function.instructions();
    sink.global_get(length).local_get(1).i32_add().local_tee(2);
    sink.global_get(room).i32_gt_u().if_(BlockType::Empty);
    sink.local_get(2).i32_const(1).i32_shl().i32_const(0xffff).i32_or().local_tee(2);
    sink.call(appended.room).local_tee(3).i32_eqz().if_(BlockType::Empty).unreachable().end();
    sink.local_get(3).global_get(address).global_get(length).memory_copy(0, 0);
    sink.local_get(3).global_set(address).local_get(2).global_set(room).end();
    sink.global_get(address).global_get(length).i32_add().local_get(0).local_get(1).memory_copy(0, 0);
    sink.global_get(length).local_get(1).i32_add().global_set(length).end();
    function
}

/// `(input, length) -> output`; see the module's text.
fn run(entry: u32, appended: Appended) -> Function {
    let cell = |cell| appended.cell(cell);
    let mut function = Function::new([(2, ValType::I32)]);
    let mut sink = function.instructions();
    // Asked again while it runs: it trapped, which ends a program as an abort does.
    sink.global_get(cell(Cell::State)).i32_const(1).i32_eq().if_(BlockType::Empty);
    sink.i32_const(ABORTED).global_set(cell(Cell::ExitCode)).i32_const(2).global_set(cell(Cell::State)).end();
    sink.global_get(cell(Cell::State)).i32_eqz().if_(BlockType::Empty);
    sink.i32_const(1).global_set(cell(Cell::State));
    sink.local_get(0).i32_load(at(0, 0)).global_set(cell(Cell::ArgumentCount));
    sink.local_get(0).i32_load(at(4, 0)).global_set(cell(Cell::ArgumentBytes));
    sink.local_get(0).i32_const(8).i32_add().global_set(cell(Cell::Arguments));
    sink.local_get(0).local_get(1).i32_add().global_set(cell(Cell::InputEnd));
    sink.global_get(cell(Cell::Arguments)).global_get(cell(Cell::ArgumentBytes)).i32_add().local_tee(2);
    sink.i64_load(at(0, 0)).global_set(cell(Cell::Random));
    sink.local_get(2).i32_const(8).i32_add().global_set(cell(Cell::InputStart));
    sink.call(entry);
    sink.i32_const(2).global_set(cell(Cell::State)).end();
    give(&mut sink, appended);
    function
}

/// Leaves the output's address and length.
fn give(sink: &mut InstructionSink, appended: Appended) {
    const TOTAL: u32 = 2;
    const OUT: u32 = 3;
    let cell = |cell| appended.cell(cell);
    let (output, errors) = (cell(Cell::OutputLength), cell(Cell::ErrorsLength));
    sink.global_get(output).global_get(errors).i32_add().i32_const(8).i32_add().local_tee(TOTAL);
    sink.call(appended.room).local_tee(OUT).i32_eqz().if_(BlockType::Empty).unreachable().end();
    sink.local_get(OUT).global_get(cell(Cell::ExitCode)).i32_store(at(0, 0));
    sink.local_get(OUT).global_get(output).i32_store(at(4, 0));
    sink.local_get(OUT).i32_const(8).i32_add().global_get(cell(Cell::Output)).global_get(output).memory_copy(0, 0);
    sink.local_get(OUT).i32_const(8).i32_add().global_get(output).i32_add();
    sink.global_get(cell(Cell::Errors)).global_get(errors).memory_copy(0, 0);
    sink.local_get(OUT).i64_extend_i32_u().i64_const(32).i64_shl();
    sink.local_get(TOTAL).i64_extend_i32_u().i64_or().end();
}
