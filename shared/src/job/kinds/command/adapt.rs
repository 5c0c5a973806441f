//! A `wasm32-wasip1` command as a kernel: its imports become functions of its own.
//!
//! The program's memory stays its own, exactly as it declares it: whatever its allocator believes of it is true. What
//! the host hands over and takes back lies in a second memory that the program cannot name, and that one is exported.
//!
//! Imported functions come first in a module's numbering, so putting as many functions of ours first leaves every index
//! as it was; everything else is appended. The start function, if there is one, is called like `_start`, so that it may
//! put out and exit. Functions that the program exports stay exported under another name, since only what is exported or
//! in a table may be named by `ref.func`.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType, MemorySection, MemoryType,
    Module, RawSection, TypeSection,
    reencode::{Error as Unwritten, Reencode, RoundtripReencoder},
};
use wasmparser::{Encoding, ExternalKind, FuncType, FunctionBody, Parser, Payload, TypeRef, ValType as Kind};

use super::{
    calls::{self, Edition},
    frame::{self, Frame, OWN_MEMORY},
};
use crate::engine::drive::{ENDS_EARLY, GAS_USED, RECOVERS, TRAP_REASON};
use crate::{
    kernel::{Importer, MOST_IMPORTS, is_module, of_a_program, refused_import, unreadable_program, within_bounds},
    refusal::{Code, Refusal},
};

/// What Emscripten's programs import to say that their memory grew; nothing needs to know.
const EMSCRIPTEN: (&str, &str) = ("env", "emscripten_notify_memory_growth");
/// What the names of a program's exported functions begin with in the kernel, so that none is taken for one of ours.
const PREFIX: &str = "program.";

/// Sections that are taken over as they are, by number.
mod section {
    pub(super) const TABLE: u8 = 4;
    pub(super) const ELEMENT: u8 = 9;
    pub(super) const DATA: u8 = 11;
    pub(super) const DATA_COUNT: u8 = 12;
    pub(super) const TAG: u8 = 13;
}

/// One import of a program.
struct Import<'a> {
    name: &'a str,
    edition: Edition,
    /// Its type's number.
    kind: u32,
}

/// What a program consists of.
#[derive(Default)]
struct Program<'a> {
    types: TypeSection,
    signatures: Vec<FuncType>,
    imports: Vec<Import<'a>>,
    /// Type numbers of its own functions.
    functions: Vec<u32>,
    memories: MemorySection,
    globals: GlobalSection,
    exports: Vec<(&'a str, u32)>,
    has_memory: bool,
    start: Option<u32>,
    bodies: Vec<FunctionBody<'a>>,
    raw: Vec<(u8, &'a [u8])>,
}

fn invalid(message: impl Into<String>) -> Refusal {
    let hint = "send a command built for wasm32-wasip1, for example by `cargo build --release --target wasm32-wasip1`";
    Refusal::new(Code::InvalidKernel, message, hint)
}

fn foreign(module: &str, name: &str, kind: TypeRef) -> Refusal {
    refused_import(Importer::Program, module, name, kind)
}

fn broken(error: wasmparser::BinaryReaderError) -> Refusal {
    unreadable_program(&error)
}

fn encoded(error: wasm_encoder::reencode::Error) -> Refusal {
    if let Unwritten::ParseError(error) = error {
        return broken(error);
    }
    // What can be read and not written again is of a feature that is not taken; its name is in the error.
    invalid(format!("`module` uses what no program may: {error}"))
}

/// The kernel that runs a command. Refused is what is no command, imports anything but WASI, or imports a function of
/// WASI with another type than WASI gives it.
pub fn adapt(command: &[u8]) -> Result<Vec<u8>, Refusal> {
    is_module(command)?;
    let program = read(command)?;
    let entry = program.entry()?;
    program.kernel(entry)
}

fn read(command: &[u8]) -> Result<Program<'_>, Refusal> {
    let mut program = Program::default();
    for payload in Parser::new(0).parse_all(command) {
        let payload = payload.map_err(broken)?;
        within_bounds(&payload).map_err(of_a_program)?;
        program.take(payload, command)?;
    }
    Ok(program)
}

impl<'a> Program<'a> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    fn take(&mut self, payload: Payload<'a>, command: &'a [u8]) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(Refusal::new(
                    Code::InvalidKernel,
                    "`module` is a component; only core modules are taken",
                    "build it for wasm32-wasip1 instead of wasm32-wasip2",
                ));
            }
            Payload::TypeSection(section) => {
                for signature in section.clone().into_iter_err_on_gc_types() {
                    self.signatures.push(signature.map_err(broken)?);
                }
                RoundtripReencoder.parse_type_section(&mut self.types, section).map_err(encoded)?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(broken)?;
                    if self.imports.len() >= MOST_IMPORTS as usize {
                        return Err(invalid(format!("`module` has more than {MOST_IMPORTS} imports")));
                    }
                    let refused = || foreign(import.module, import.name, import.ty);
                    let TypeRef::Func(kind) = import.ty else { return Err(refused()) };
                    let edition = match (import.module, import.name) {
                        ("wasi_snapshot_preview1", _) => Edition::Preview1,
                        ("wasi_unstable", _) => Edition::Unstable,
                        EMSCRIPTEN => Edition::Emscripten,
                        (_, _) => return Err(refused()),
                    };
                    self.imports.push(Import { name: import.name, edition, kind });
                }
            }
            Payload::FunctionSection(section) => {
                self.functions = section.into_iter().collect::<Result<_, _>>().map_err(broken)?;
            }
            Payload::MemorySection(section) => {
                if section.count() > 1 {
                    return Err(invalid(format!(
                        "`module` has {} memories; a command may have one (the feature multi-memory is not taken)",
                        section.count()
                    )));
                }
                RoundtripReencoder.parse_memory_section(&mut self.memories, section).map_err(encoded)?;
            }
            Payload::GlobalSection(section) => {
                RoundtripReencoder.parse_global_section(&mut self.globals, section).map_err(encoded)?;
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(broken)?;
                    match (export.name, export.kind) {
                        (name, ExternalKind::Func) => self.exports.push((name, export.index)),
                        ("memory", ExternalKind::Memory) => self.has_memory = true,
                        (_, _) => {}
                    }
                }
                // Said before anything of what comes behind: that it is no command is what its author must know first.
                self.entry()?;
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_)
            | Payload::Version { .. }
            | Payload::End(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let range = usize::try_from(range.start).unwrap_or(0)..usize::try_from(range.end).unwrap_or(0);
                    self.raw.push((id, command.get(range).unwrap_or_default()));
                }
            }
        }
        Ok(())
    }

    /// The function to call, if this is a command.
    fn entry(&self) -> Result<u32, Refusal> {
        let exported = |wanted: &str| self.exports.iter().find(|(name, _)| *name == wanted).map(|(_, index)| *index);
        let Some(entry) = exported("_start") else {
            if exported("_initialize").is_some() {
                return Err(Refusal::new(
                    Code::InvalidKernel,
                    "`module` is a reactor (a library): it exports `_initialize` and no `_start`, so there is nothing to run",
                    "give it a `main` and build it as a program: no `-mexec-model=reactor`, no cdylib",
                ));
            }
            return Err(invalid("`module` does not export `_start`, so it is no command"));
        };
        if !self.has_memory {
            return Err(invalid("`module` does not export its `memory`, so it is no command"));
        }
        let kind = match self.imports.get(entry as usize) {
            Some(import) => Some(import.kind),
            None => self.functions.get((entry as usize).wrapping_sub(self.imports.len())).copied(),
        };
        match kind.and_then(|kind| self.signatures.get(kind as usize)) {
            Some(signature) if signature.params().is_empty() && signature.results().is_empty() => Ok(entry),
            Some(_) | None => Err(invalid("`module` exports a `_start` that takes parameters or gives results")),
        }
    }

    fn kernel(mut self, entry: u32) -> Result<Vec<u8>, Refusal> {
        let own = u32::try_from(self.imports.len() + self.functions.len());
        let own = own.map_err(|_| invalid("`module` has too many functions"))?;
        let has_clock = self.imports.iter().any(|import| calls::needs_clock(import.name));
        let frame = Frame::new(self.globals.len(), own);
        for (val_type, value) in frame::cells() {
            self.globals.global(GlobalType { val_type, mutable: true, shared: false }, &value);
        }

        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        for Import { name, edition, kind } in &self.imports {
            let signature = self.signatures.get(*kind as usize);
            let signature = signature.ok_or_else(|| invalid(format!("the import `{name:.64}` has no type")))?;
            let Some((parameters, results)) = calls::signature(*edition, name) else {
                return Err(foreign(edition.module(), name, TypeRef::Func(*kind)));
            };
            if !is(signature.params(), parameters) || !is(signature.results(), results) {
                return Err(invalid(format!("the import `{name:.64}` has another type than WASI gives it")));
            }
            functions.function(*kind);
            code.function(&calls::body(*edition, name, frame));
        }
        self.functions.iter().for_each(|kind| {
            functions.function(*kind);
        });
        self.bodies.iter().for_each(|body| {
            code.raw(body.as_bytes());
        });
        for (parameters, results, body) in frame.functions(self.start, entry, has_clock) {
            functions.function(self.types.len());
            self.types.ty().function(parameters.iter().copied(), results.iter().copied());
            code.function(&body);
        }

        let mut exports = ExportSection::new();
        for (name, index) in &self.exports {
            exports.export(&format!("{PREFIX}{name}"), ExportKind::Func, *index);
        }
        exports.export("memory", ExportKind::Memory, OWN_MEMORY);
        exports.export("alloc", ExportKind::Func, frame.alloc());
        exports.export("run", ExportKind::Func, frame.run());
        exports.export(ENDS_EARLY, ExportKind::Func, frame.run());
        exports.export(RECOVERS, ExportKind::Func, frame.recover());
        exports.export(TRAP_REASON, ExportKind::Func, frame.trap_reason());
        if has_clock {
            exports.export(GAS_USED, ExportKind::Func, frame.gas_used());
        }
        self.memories.memory(MemoryType {
            minimum: frame::SCRATCH_PAGES,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });

        let raw = |module: &mut Module, wanted: u8| {
            for (id, data) in self.raw.iter().filter(|(id, _)| *id == wanted) {
                module.section(&RawSection { id: *id, data });
            }
        };
        let mut module = Module::new();
        module.section(&self.types).section(&functions);
        raw(&mut module, section::TABLE);
        module.section(&self.memories);
        raw(&mut module, section::TAG);
        module.section(&self.globals).section(&exports);
        raw(&mut module, section::ELEMENT);
        raw(&mut module, section::DATA_COUNT);
        module.section(&code);
        raw(&mut module, section::DATA);
        Ok(module.finish())
    }
}

fn is(found: &[Kind], wanted: &[calls::Word]) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| *found == wanted.kind())
}
