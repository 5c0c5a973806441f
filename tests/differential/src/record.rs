//! Takes down what the referee does, so that a machine which is out of reach here, a browser's, can be asked for the
//! same and compared call by call.
//!
//! The script is read by `tests/chromium/replay.js`. JavaScript can neither hold a vector nor keep the bits of a NaN, so
//! every module comes with a [`shim`]: a module that imports its functions and globals and moves their values by way of
//! a memory.

use std::{cell::RefCell, rc::Rc};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalType, ImportSection,
    InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload};

use crate::machine::{Ended, Machine, Running, Value, Wasmi};

/// Bytes that a value takes in a shim's memory and in the script.
const SLOT: usize = 16;
/// Where a shim's memory holds results; parameters lie at 0, and there are at most 64.
const RESULTS: u64 = 1_024;
/// Where it holds globals.
const GLOBALS: u64 = 2_048;
/// Memory is hashed in pieces of so many bytes, and then the hashes: a browser hashes no more than some at once.
const PIECE: usize = 16 << 20;

const MODULE: u8 = 0;
const INSTANCE: u8 = 1;
const SET: u8 = 2;
const CALL: u8 = 3;

/// wasmi, and a script of all that it does.
pub struct Recorder {
    wasmi: Wasmi,
    script: Rc<RefCell<Script>>,
}

#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    label: String,
    last_module: Vec<u8>,
    instances: u64,
    calls: u64,
}

/// What was taken down.
pub struct Recorded {
    /// The script.
    pub script: Vec<u8>,
    /// Calls in it.
    pub calls: u64,
}

impl Recorder {
    /// An empty script.
    pub fn new() -> Self {
        Self { wasmi: Wasmi::new(), script: Rc::default() }
    }

    /// What messages call the modules that follow.
    pub fn label(&self, label: impl Into<String>) {
        self.script.borrow_mut().label = label.into();
    }

    /// The script.
    pub fn finish(self) -> Recorded {
        let mut script = self.script.borrow_mut();
        Recorded { script: std::mem::take(&mut script.bytes), calls: script.calls }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for Recorder {
    fn name(&self) -> &'static str {
        "wasmi"
    }

    fn start(&self, rewritten: &[u8]) -> Result<Box<dyn Running>> {
        let running = self.wasmi.start(rewritten)?;
        let surface = Surface::of(rewritten)?;
        let mut script = self.script.borrow_mut();
        if script.last_module != rewritten {
            let label = script.label.clone();
            script.bytes.push(MODULE);
            script.run_of_bytes(label.as_bytes())?;
            script.run_of_bytes(rewritten)?;
            script.run_of_bytes(&shim(&surface)?)?;
            script.last_module = rewritten.to_vec();
        }
        script.bytes.push(INSTANCE);
        script.instances += 1;
        Ok(Box::new(Recording { running, surface, instance: script.instances, script: Rc::clone(&self.script) }))
    }
}

struct Recording {
    running: Box<dyn Running>,
    surface: Surface,
    instance: u64,
    script: Rc<RefCell<Script>>,
}

impl Running for Recording {
    fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let mut script = self.script.borrow_mut();
        ensure!(script.instances == self.instance, "only the newest instance is taken down");
        let bits = match value {
            Value::I32(value) => i64::from(value),
            Value::I64(value) => value,
            Value::F32(_) | Value::F64(_) | Value::V128(_) | Value::Function(_) => {
                anyhow::bail!("{name} cannot be set to {value:?}")
            }
        };
        script.bytes.push(SET);
        script.run_of_bytes(name.as_bytes())?;
        script.bytes.push(u8::from(matches!(value, Value::I64(_))));
        script.bytes.extend(bits.to_le_bytes());
        self.running.set(name, value)
    }

    fn get(&mut self, name: &str) -> Option<Value> {
        self.running.get(name)
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Ended> {
        let outcome = self.running.call(name, arguments);
        self.note(name, arguments, &outcome)
            .map_err(|error| Ended::Host(format!("cannot be taken down: {error:#}")))?;
        outcome
    }

    fn memory(&mut self, name: &str) -> Option<&[u8]> {
        self.running.memory(name)
    }
}

impl Recording {
    fn note(&mut self, name: &str, arguments: &[Value], outcome: &Result<Vec<Value>, Ended>) -> Result<()> {
        let mut script = self.script.borrow_mut();
        ensure!(script.instances == self.instance, "only the newest instance is taken down");
        let function = self.surface.functions.iter().position(|function| function.name == name);
        script.calls += 1;
        script.bytes.push(CALL);
        script.number(function.context("no such function")?)?;
        script.values(arguments)?;
        script.bytes.push(u8::from(outcome.is_err()));
        script.values(outcome.as_deref().unwrap_or_default())?;
        let globals: Option<Vec<Value>> =
            self.surface.globals.iter().map(|global| self.running.get(&global.name)).collect();
        script.values(&globals.context("a global cannot be read")?)?;
        script.number(self.surface.memories.len())?;
        for memory in &self.surface.memories {
            let bytes = self.running.memory(memory).context("no such memory")?;
            script.run_of_bytes(memory.as_bytes())?;
            script.bytes.extend((bytes.len() as u64).to_le_bytes());
            let mut pieces = Sha256::new();
            for piece in bytes.chunks(PIECE) {
                pieces.update(Sha256::digest(piece));
            }
            script.bytes.extend(pieces.finalize());
        }
        Ok(())
    }
}

impl Script {
    fn number(&mut self, number: usize) -> Result<()> {
        self.bytes.extend(u32::try_from(number)?.to_le_bytes());
        Ok(())
    }

    fn run_of_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.number(bytes.len())?;
        self.bytes.extend(bytes);
        Ok(())
    }

    fn values(&mut self, values: &[Value]) -> Result<()> {
        self.number(values.len())?;
        for value in values {
            let bits = match value {
                Value::I32(value) => u128::from(value.cast_unsigned()),
                Value::I64(value) => u128::from(value.cast_unsigned()),
                Value::F32(bits) => u128::from(*bits),
                Value::F64(bits) => u128::from(*bits),
                Value::V128(bits) => *bits,
                Value::Function(is_some) => u128::from(*is_some),
            };
            self.bytes.extend(bits.to_le_bytes());
        }
        Ok(())
    }
}

/// What a module exports, with its types.
#[derive(Default)]
struct Surface {
    functions: Vec<ExportedFunction>,
    globals: Vec<ExportedGlobal>,
    memories: Vec<String>,
}

struct ExportedFunction {
    name: String,
    parameters: Vec<ValType>,
    results: Vec<ValType>,
}

struct ExportedGlobal {
    name: String,
    ty: GlobalType,
}

impl Surface {
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    fn of(rewritten: &[u8]) -> Result<Self> {
        let (mut types, mut functions, mut globals) = (Vec::new(), Vec::new(), Vec::new());
        let mut surface = Self::default();
        for payload in Parser::new(0).parse_all(rewritten) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        types.push(ty?);
                    }
                }
                Payload::FunctionSection(section) => {
                    for index in section {
                        functions.push(index? as usize);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        globals.push(GlobalType::try_from(global?.ty)?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let (name, index) = (export.name.to_owned(), export.index as usize);
                        match export.kind {
                            ExternalKind::Func => {
                                let ty = functions.get(index).and_then(|ty| types.get(*ty)).context("no type")?;
                                let types = |types: &[wasmparser::ValType]| -> Result<Vec<ValType>> {
                                    types.iter().map(|ty| Ok(ValType::try_from(*ty)?)).collect()
                                };
                                let (parameters, results) = (types(ty.params())?, types(ty.results())?);
                                surface.functions.push(ExportedFunction { name, parameters, results });
                            }
                            ExternalKind::Global => {
                                let ty = *globals.get(index).context("no such global")?;
                                surface.globals.push(ExportedGlobal { name, ty });
                            }
                            ExternalKind::Memory => surface.memories.push(name),
                            ExternalKind::Table | ExternalKind::Tag | ExternalKind::FuncExact => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }
}

/// A module that imports what another exports, `f.0`, `f.1`, … and `g.0`, …, each kind counted in the order of export,
/// and exports for each function one of the same number that takes its parameters from `memory`, calls it and leaves the
/// results there, and `globals`, which leaves all globals there.
fn shim(surface: &Surface) -> Result<Vec<u8>> {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let (mut functions, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([], []);
    for (number, function) in (0..).zip(&surface.functions) {
        types.ty().function(function.parameters.clone(), function.results.clone());
        imports.import("f", &number.to_string(), EntityType::Function(number + 1));
    }
    for (number, global) in surface.globals.iter().enumerate() {
        imports.import("g", &number.to_string(), EntityType::Global(global.ty));
    }
    let imported = u32::try_from(surface.functions.len())?;
    for (number, function) in (0..).zip(&surface.functions) {
        functions.function(0);
        exports.export(&number.to_string(), ExportKind::Func, imported + number);
        let mut body = Function::new(function.results.iter().map(|ty| (1, *ty)));
        let mut sink = body.instructions();
        for (place, ty) in (0..).step_by(SLOT).zip(&function.parameters) {
            load(&mut sink, place, *ty);
        }
        sink.call(number);
        let results = u32::try_from(function.results.len())?;
        for local in (0..results).rev() {
            sink.local_set(local);
        }
        for ((local, place), ty) in (0..results).zip((RESULTS..).step_by(SLOT)).zip(&function.results) {
            store(&mut sink, place, *ty, |sink| {
                sink.local_get(local);
            });
        }
        sink.end();
        code.function(&body);
    }
    functions.function(0);
    exports.export("globals", ExportKind::Func, 2 * imported);
    let mut body = Function::new([]);
    for ((number, place), global) in (0..).zip((GLOBALS..).step_by(SLOT)).zip(&surface.globals) {
        store(&mut body.instructions(), place, global.ty.val_type, |sink| {
            sink.global_get(number);
        });
    }
    body.instructions().end();
    code.function(&body);
    exports.export("memory", ExportKind::Memory, 0);
    let minimum = (GLOBALS + (surface.globals.len() * SLOT) as u64).div_ceil(65_536);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports).section(&code);
    Ok(module.finish())
}

fn load(sink: &mut InstructionSink<'_>, place: u64, ty: ValType) {
    match ty {
        // The only reference that can be given from outside is none.
        ValType::Ref(_) => sink.ref_null(wasm_encoder::HeapType::FUNC),
        ValType::I32 => sink.i32_const(0).i32_load(at(place)),
        ValType::I64 => sink.i32_const(0).i64_load(at(place)),
        ValType::F32 => sink.i32_const(0).f32_load(at(place)),
        ValType::F64 => sink.i32_const(0).f64_load(at(place)),
        ValType::V128 => sink.i32_const(0).v128_load(at(place)),
    };
}

fn store(sink: &mut InstructionSink<'_>, place: u64, ty: ValType, value: impl Fn(&mut InstructionSink<'_>)) {
    sink.i32_const(0);
    value(sink);
    match ty {
        ValType::Ref(_) => sink.ref_is_null().i32_eqz().i32_store(at(place)),
        ValType::I32 => sink.i32_store(at(place)),
        ValType::I64 => sink.i64_store(at(place)),
        ValType::F32 => sink.f32_store(at(place)),
        ValType::F64 => sink.f64_store(at(place)),
        ValType::V128 => sink.v128_store(at(place)),
    };
}

fn at(place: u64) -> MemArg {
    MemArg { offset: place, align: 0, target: MemArgTarget::Memory(0), ordering: None }
}
