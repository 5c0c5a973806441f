//! Rewrites a whole module: validates it, bounds it, appends what the host and the bodies need.

use std::{borrow::Cow, collections::BTreeMap};

use wasm_encoder::{
    BlockType, BranchHint, BranchHints, CodeSection, ConstExpr, ExportKind, ExportSection, FunctionSection,
    GlobalSection, GlobalType, MemorySection, MemoryType, Module, RawSection, RefType, SectionId, TableSection,
    TableType, TypeSection, ValType,
};
use wasmparser::{
    DataKind, ElementKind, ExternalKind, FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody, Parser,
    Payload, ValidPayload, Validator, ValidatorResources,
};

use super::{
    TrapReason, appended,
    body::{Appended, BodyRewriter},
    bounds, check, exports,
    features::{self, all_encoded, encoded, unreadable},
    imports::{self, Importer},
    lower,
    measure::Nans,
    segments, shape,
    shelf::Shelf,
};
use crate::{
    engine::drive::{GAS_USED, RECOVERS, TRAP_REASON},
    refusal::{Code, Refusal},
};

/// Rewrites any module that keeps the bounds, whether or not it keeps the kernel contract. Tests use it on modules that
/// are no kernels; everybody else calls [`super::prepare`].
pub fn rewrite(original: &[u8]) -> Result<Vec<u8>, Refusal> {
    rewrite_with(original, Nans::Late)
}

/// The same, saying when NaNs are made canonical: tests compare what comes of it.
pub fn rewrite_with(original: &[u8], nans: Nans) -> Result<Vec<u8>, Refusal> {
    shape::check_of_nodes(original)?;
    let merged = segments::merged(original)?;
    let original = merged.as_ref();
    let mut rewriter = Rewriter { original, nans, ..Rewriter::default() };
    let mut validator = Validator::new_with_features(features::ACCEPTED);
    let mut parser = Parser::new(0);
    parser.set_features(features::ACCEPTED);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(original) {
        let payload = payload.map_err(|error| unreadable(&error))?;
        features::named(&payload)?;
        rewriter.bound(&payload)?;
        match validator.payload(&payload).map_err(|error| unreadable(&error))? {
            ValidPayload::Func(function, body) => allocations = rewriter.body(function, &body, allocations)?,
            ValidPayload::Ok | ValidPayload::End(_) => rewriter.section(&payload)?,
            ValidPayload::Parser(_) => return Err(check::invalid("The kernel is a component, not a module.")),
        }
    }
    Ok(rewriter.finish())
}

/// Refuses a section with more items than a kernel, or a program, may have of them as its author gives it. For whoever reads a
/// module before it is rewritten: what is kept of an item weighs many times its bytes.
pub fn within_bounds(payload: &Payload) -> Result<(), Refusal> {
    within(payload, |_| 0)
}

/// The same of any module that a node may be sent: it may have been made of a program.
pub(super) fn within_bounds_of_nodes(payload: &Payload) -> Result<(), Refusal> {
    within(payload, |what| match what {
        Count::Types => bounds::added::TYPES,
        Count::Functions => bounds::added::FUNCTIONS,
        Count::Globals => bounds::added::GLOBALS,
        Count::Exports => bounds::added::EXPORTS,
        Count::Tables | Count::ElementSegments | Count::DataSegments => 0,
    })
}

/// What is counted of a module.
#[derive(Clone, Copy)]
enum Count {
    Types,
    Functions,
    Tables,
    Globals,
    Exports,
    ElementSegments,
    DataSegments,
}

impl Count {
    /// In words, and how many a module may have.
    fn bound(self) -> (&'static str, u32) {
        match self {
            Self::Types => ("types", bounds::MOST_TYPES),
            Self::Functions => ("functions", bounds::MOST_FUNCTIONS),
            Self::Tables => ("tables", bounds::MOST_TABLES),
            Self::Globals => ("globals", bounds::MOST_GLOBALS),
            Self::Exports => ("exports", bounds::MOST_EXPORTS),
            Self::ElementSegments => ("element segments", bounds::MOST_ELEMENT_SEGMENTS),
            Self::DataSegments => ("data segments", bounds::MOST_DATA_SEGMENTS),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
fn within(payload: &Payload, added: impl Fn(Count) -> u32) -> Result<(), Refusal> {
    let (what, count) = match payload {
        Payload::TypeSection(section) => (Count::Types, section.count()),
        Payload::FunctionSection(section) => (Count::Functions, section.count()),
        Payload::TableSection(section) => (Count::Tables, section.count()),
        Payload::GlobalSection(section) => (Count::Globals, section.count()),
        Payload::ExportSection(section) => (Count::Exports, section.count()),
        Payload::ElementSection(section) => (Count::ElementSegments, section.count()),
        Payload::DataSection(section) => (Count::DataSegments, section.count()),
        Payload::DataCountSection { count, .. } => (Count::DataSegments, *count),
        Payload::CodeSectionStart { count, .. } => (Count::Functions, *count),
        _ => return Ok(()),
    };
    let (name, most) = what.bound();
    let most = most + added(what);
    if count > most { Err(too_many(name, u64::from(count), u64::from(most))) } else { Ok(()) }
}

/// Parameters and results.
type Signature = (Vec<wasmparser::ValType>, Vec<wasmparser::ValType>);

#[derive(Default)]
struct Rewriter<'a> {
    original: &'a [u8],
    nans: Nans,
    types: Vec<FuncType>,
    functions: Vec<u32>,
    /// Parameters and results of blocks of ours that need a type of their own, with their places behind the others.
    wrappers: BTreeMap<Signature, usize>,
    tables: Vec<TableType>,
    memories: Vec<MemoryType>,
    globals: GlobalSection,
    exports: ExportSection,
    /// The function that answers with the gas used, if the kernel exports one: its body is ours.
    gas_used: Option<u32>,
    /// Functions that get a body of ours, if the kernel exports them: what recovers, and what says why there was a trap.
    recover: Option<u32>,
    trap_reason: Option<u32>,
    start: Option<u32>,
    elements: Option<Cow<'a, [u8]>>,
    data: Option<Cow<'a, [u8]>>,
    data_count: Option<u32>,
    code: CodeSection,
    /// Bytes of the bodies in it.
    written: usize,
    /// Which branches are never taken in real work, for engines that arrange code by it (`metadata.code.branch_hint`).
    hints: BranchHints,
    shelf: Option<Shelf>,
    bodies: u32,
    appended: Option<Appended>,
}

impl<'a> Rewriter<'a> {
    /// Refuses what is too large before the validator spends anything on it.
    fn bound(&self, payload: &Payload<'a>) -> Result<(), Refusal> {
        if let Payload::ImportSection(section) = payload
            && let Some(found) = section.clone().into_imports().next()
        {
            let found = found.map_err(|error| unreadable(&error))?;
            return Err(imports::refusal(Importer::Kernel, found.module, found.name, found.ty));
        }
        within_bounds_of_nodes(payload)
    }

    /// Takes a section that the validator has passed.
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    fn section(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        let unread = |error: wasmparser::BinaryReaderError| unreadable(&error);
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.clone().into_iter_err_on_gc_types() {
                    let ty = ty.map_err(unread)?;
                    if ty.params().len() > bounds::MOST_PARAMS {
                        return Err(too_many(
                            "parameters of a type",
                            ty.params().len() as u64,
                            bounds::MOST_PARAMS as u64,
                        ));
                    }
                    if ty.results().len() > bounds::MOST_RESULTS {
                        return Err(too_many(
                            "results of a type",
                            ty.results().len() as u64,
                            bounds::MOST_RESULTS as u64,
                        ));
                    }
                    for value in ty.params().iter().chain(ty.results()) {
                        encoded(*value)?;
                    }
                    self.types.push(ty);
                }
            }
            Payload::FunctionSection(section) => {
                for index in section.clone() {
                    self.functions.push(index.map_err(unread)?);
                }
            }
            Payload::TableSection(section) => {
                let mut types = Vec::new();
                for table in section.clone() {
                    types.push(table.map_err(unread)?.ty);
                }
                self.tables = tables(&types)?;
            }
            Payload::MemorySection(section) => {
                if section.count() > bounds::MOST_MEMORIES {
                    return Err(check::invalid(format!(
                        "The kernel has {} memories; at most {} are accepted.",
                        section.count(),
                        bounds::MOST_MEMORIES
                    )));
                }
                for memory in section.clone() {
                    let memory = memory.map_err(unread)?;
                    let maximum = memory.maximum.unwrap_or(bounds::MOST_PAGES).min(bounds::MOST_PAGES);
                    self.memories.push(MemoryType {
                        minimum: memory.initial,
                        maximum: Some(maximum),
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    });
                }
            }
            Payload::GlobalSection(section) => {
                let mut items = Vec::new();
                for item in section.clone().into_iter_with_offsets() {
                    items.push(item.map_err(unread)?);
                }
                for (index, (start, global)) in items.iter().enumerate() {
                    let end = items.get(index + 1).map_or(section.range().end, |(start, _)| *start);
                    let ty = encoded(global.ty.content_type)?;
                    match lower::initial(&global.init_expr) {
                        Some(value) => {
                            let ty = GlobalType { val_type: ty, mutable: global.ty.mutable, shared: false };
                            self.globals.global(ty, &value);
                        }
                        None => {
                            self.globals.raw(self.bytes(*start, end));
                        }
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(unread)?;
                    if export.name.starts_with(exports::RESERVED) {
                        return Err(check::invalid(format!(
                            "Export names that begin with `{}` are ours.",
                            exports::RESERVED
                        )));
                    }
                    if export.kind == ExternalKind::Func {
                        match export.name {
                            GAS_USED if self.gives(export.index, &[wasmparser::ValType::I64]) => {
                                self.gas_used = Some(export.index);
                            }
                            TRAP_REASON if self.gives(export.index, &[wasmparser::ValType::I32]) => {
                                self.trap_reason = Some(export.index);
                            }
                            RECOVERS if self.gives(export.index, &[]) => {
                                self.recover = Some(export.index);
                                self.exports.export(exports::RECOVER, ExportKind::Func, export.index);
                            }
                            _ => {}
                        }
                    }
                    // Nothing throws, so tags are left out.
                    if export.kind != ExternalKind::Tag {
                        self.exports.export(export.name, ExportKind::from(export.kind), export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            Payload::ElementSection(section) => {
                let mut total = 0u64;
                for segment in section.clone() {
                    let segment = segment.map_err(unread)?;
                    let count = match &segment.items {
                        wasmparser::ElementItems::Functions(items) => u64::from(items.count()),
                        wasmparser::ElementItems::Expressions(_, items) => u64::from(items.count()),
                    };
                    total += count;
                    if let ElementKind::Active { table_index, offset_expr } = &segment.kind {
                        let table = self.tables.get(table_index.unwrap_or(0) as usize);
                        fits("An element", lower::offset(offset_expr), count, table.map_or(0, |table| table.minimum))?;
                    }
                }
                if total > bounds::MOST_TABLE_ELEMENTS {
                    return Err(too_many("table elements", total, bounds::MOST_TABLE_ELEMENTS));
                }
                self.elements = Some(match lower::elements(section).map_err(unread)? {
                    Some(lowered) => Cow::Owned(lowered),
                    None => Cow::Borrowed(self.bytes(section.range().start, section.range().end)),
                });
            }
            Payload::DataCountSection { count, .. } => self.data_count = Some(*count),
            Payload::DataSection(section) => {
                for segment in section.clone() {
                    let segment = segment.map_err(unread)?;
                    if let DataKind::Active { memory_index, offset_expr } = &segment.kind {
                        let pages = self.memories.get(*memory_index as usize).map_or(0, |memory| memory.minimum);
                        fits(
                            "A data",
                            lower::offset(offset_expr),
                            segment.data.len() as u64,
                            pages * super::PAGE_BYTES,
                        )?;
                    }
                }
                self.data = Some(match lower::data(section).map_err(unread)? {
                    Some(lowered) => Cow::Owned(lowered),
                    None => Cow::Borrowed(self.bytes(section.range().start, section.range().end)),
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the function takes nothing and gives this.
    fn gives(&self, function: u32, results: &[wasmparser::ValType]) -> bool {
        let ty = self.functions.get(function as usize).and_then(|ty| self.types.get(*ty as usize));
        ty.is_some_and(|ty| ty.params().is_empty() && ty.results() == results)
    }

    fn body(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Refusal> {
        let appended = self.append();
        let ty = self.functions.get(self.bodies as usize).and_then(|ty| self.types.get(*ty as usize)).cloned();
        let ours = [
            (self.gas_used, appended::gas_used as fn(Appended) -> wasm_encoder::Function),
            (self.recover, appended::recover),
            (self.trap_reason, appended::trap_reason),
        ];
        let ours = ours.into_iter().find(|(function, _)| *function == Some(self.bodies)).map(|(_, body)| body);
        self.bodies += 1;
        let (parameters, wrapper) = match &ty {
            Some(ty) => (ty.params().len(), self.block_type(&[], ty.results())?),
            None => (0, BlockType::Empty),
        };
        let mut validator = function.into_validator(allocations);
        let mut shelf = self.shelf.take().unwrap_or_else(|| Shelf::from(appended.shelf));
        let rewriter = BodyRewriter { original: self.original, appended, nans: self.nans, shelf: &mut shelf };
        let parameters = u32::try_from(parameters).unwrap_or(u32::MAX);
        let mut through = |values: &[wasmparser::ValType]| self.block_type(values, values);
        let written = rewriter.rewrite(&mut validator, body, parameters, wrapper, &mut through)?;
        self.shelf = Some(shelf);
        if let Some(ours) = ours {
            // What it holds has been validated like any other, and is left out.
            self.code.function(&ours(appended));
            return Ok(validator.into_allocations());
        }
        let length = written.function.byte_len();
        self.written += length;
        if length > bounds::MOST_WRITTEN_BODY_BYTES || self.written > bounds::MOST_WRITTEN_BYTES {
            return Err(Refusal::new(
                Code::TooLarge,
                "What counts gas in the kernel's loops makes its code too large for browsers.",
                "Build it with optimisation, or split it into several kernels.",
            ));
        }
        self.hint(&written.unlikely);
        self.code.function(&written.function);
        Ok(validator.into_allocations())
    }

    /// Notes branches of the last body that are never taken in real work.
    fn hint(&mut self, unlikely: &[u32]) {
        if unlikely.is_empty() {
            return;
        }
        let hint = |offset: &u32| BranchHint { branch_func_offset: *offset, branch_hint_value: 0 };
        self.hints.function_hints(self.bodies.saturating_sub(1), unlikely.iter().map(hint));
    }

    /// The type of a block that takes `parameters` and gives `results`.
    fn block_type(
        &mut self,
        parameters: &[wasmparser::ValType],
        results: &[wasmparser::ValType],
    ) -> Result<BlockType, Refusal> {
        Ok(match (parameters, results) {
            ([], []) => BlockType::Empty,
            ([], [one]) => BlockType::Result(encoded(*one)?),
            (_, _) => {
                let next = self.wrappers.len();
                let place = *self.wrappers.entry((parameters.to_vec(), results.to_vec())).or_insert(next);
                let index = self.types.len() + APPENDED_TYPES + place;
                BlockType::FunctionType(u32::try_from(index).unwrap_or(u32::MAX))
            }
        })
    }

    /// Where the appended items will be. All sections before the code are known when the first body comes.
    fn append(&mut self) -> Appended {
        let functions = u32::try_from(self.functions.len()).unwrap_or(u32::MAX);
        let globals = self.globals.len();
        *self.appended.get_or_insert(Appended {
            gas: globals,
            trap: globals + 1,
            stack: globals + 3,
            reserve: globals + 4,
            slice: globals + 5,
            first: globals + 6,
            shelf: globals + 6 + u32::from(self.gas_used.is_some()),
            hook: u32::try_from(self.tables.len()).unwrap_or(u32::MAX),
            hook_type: u32::try_from(self.types.len()).unwrap_or(u32::MAX),
            refill: functions,
            grow: functions + 1,
        })
    }

    fn finish(mut self) -> Vec<u8> {
        let appended = self.append();
        let pages = appended.gas + 2;
        let mut module = Module::new();

        let mut types = TypeSection::new();
        for ty in &self.types {
            types.ty().function(all_encoded(ty.params()), all_encoded(ty.results()));
        }
        types.ty().function([], []);
        types.ty().function([ValType::I64], [ValType::I64]);
        types.ty().function([ValType::I32], [ValType::I32]);
        let mut wrappers: Vec<(&Signature, &usize)> = self.wrappers.iter().collect();
        wrappers.sort_unstable_by_key(|(_, place)| **place);
        for ((parameters, results), _) in wrappers {
            types.ty().function(all_encoded(parameters), all_encoded(results));
        }
        module.section(&types);

        let refill_type = appended.hook_type.saturating_add(1);
        let mut functions = FunctionSection::new();
        for ty in &self.functions {
            functions.function(*ty);
        }
        functions.function(refill_type);
        self.code.function(&appended::refill(appended));
        for (index, memory) in (0..).zip(&self.memories) {
            functions.function(refill_type.saturating_add(1));
            let maximum = memory.maximum.unwrap_or(bounds::MOST_PAGES);
            self.code.function(&appended::grow(appended, pages, index, self.memories.len() > 1, maximum));
        }
        module.section(&functions);

        let mut tables = TableSection::new();
        for table in &self.tables {
            tables.table(*table);
        }
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: Some(1),
            shared: false,
        });
        module.section(&tables);
        if !self.memories.is_empty() {
            let mut memories = MemorySection::new();
            for memory in &self.memories {
                memories.memory(*memory);
            }
            module.section(&memories);
        }
        for (ty, value) in [
            (ValType::I64, ConstExpr::i64_const(0)),
            (ValType::I32, ConstExpr::i32_const(TrapReason::Own.code())),
            (ValType::I32, ConstExpr::i32_const(0)),
            (ValType::I32, ConstExpr::i32_const(i32::try_from(bounds::STACK_BYTES).unwrap_or(i32::MAX))),
            (ValType::I64, ConstExpr::i64_const(0)),
            (ValType::I64, ConstExpr::i64_const(0)),
        ] {
            self.globals.global(GlobalType { val_type: ty, mutable: true, shared: false }, &value);
        }
        if self.gas_used.is_some() {
            let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
            self.globals.global(ty, &ConstExpr::i64_const(appended::NOT_YET));
        }
        for ty in self.shelf.iter().flat_map(|shelf| &shelf.types) {
            let value = match ty {
                ValType::I32 => ConstExpr::i32_const(0),
                ValType::I64 => ConstExpr::i64_const(0),
                ValType::F32 => ConstExpr::f32_const(0.0.into()),
                ValType::F64 => ConstExpr::f64_const(0.0.into()),
                ValType::V128 => ConstExpr::v128_const(0),
                ValType::Ref(_) => continue, // never put there
            };
            self.globals.global(GlobalType { val_type: *ty, mutable: true, shared: false }, &value);
        }
        module.section(&self.globals);
        self.exports.export(exports::GAS, ExportKind::Global, appended.gas);
        self.exports.export(exports::TRAP, ExportKind::Global, appended.trap);
        self.exports.export(exports::PAGES, ExportKind::Global, pages);
        self.exports.export(exports::RESERVE, ExportKind::Global, appended.reserve);
        self.exports.export(exports::SLICE, ExportKind::Global, appended.slice);
        self.exports.export(exports::HOOK, ExportKind::Table, appended.hook);
        if let Some(start) = self.start {
            self.exports.export(exports::START, ExportKind::Func, start);
        }
        module.section(&self.exports);
        if let Some(data) = &self.elements {
            module.section(&RawSection { id: SectionId::Element as u8, data });
        }
        if let Some(count) = self.data_count {
            module.section(&wasm_encoder::DataCountSection { count });
        }
        module.section(&self.hints);
        module.section(&self.code);
        if let Some(data) = &self.data {
            module.section(&RawSection { id: SectionId::Data as u8, data });
        }
        module.finish()
    }

    fn bytes(&self, start: u64, end: u64) -> &'a [u8] {
        let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        self.original.get(range).unwrap_or_default()
    }
}

/// Types appended before those of wrappers: of the hook, of `refill` and of `grow`.
const APPENDED_TYPES: usize = 3;

/// The module's tables, none of which may grow so far that all of them could have more elements than are accepted.
fn tables(types: &[wasmparser::TableType]) -> Result<Vec<TableType>, Refusal> {
    let most = bounds::MOST_TABLE_ELEMENTS;
    let total = types.iter().fold(0u64, |total, ty| total.saturating_add(ty.initial));
    if total > most {
        return Err(too_many("elements in its tables", total, most));
    }
    let room = (most - total) / (types.len() as u64).max(1);
    let table = |ty: &wasmparser::TableType| {
        encoded(wasmparser::ValType::Ref(ty.element_type))?;
        let most = ty.initial + room;
        Ok(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: ty.initial,
            maximum: Some(ty.maximum.unwrap_or(most).min(most)),
            shared: false,
        })
    };
    types.iter().map(table).collect()
}

/// A segment that does not fit would trap while the instance is made, where nothing is counted yet: refused here.
fn fits(what: &str, offset: Option<u64>, length: u64, space: u64) -> Result<(), Refusal> {
    match offset.map(|offset| offset.saturating_add(length)) {
        Some(end) if end <= space => Ok(()),
        Some(_) | None => {
            Err(check::invalid(format!("{what} segment of the kernel lies outside its memory or table.")))
        }
    }
}

fn too_many(what: &str, count: u64, most: u64) -> Refusal {
    Refusal::new(
        Code::TooLarge,
        format!("The kernel has {count} {what}; at most {most} are accepted."),
        "Build it with optimisation, or split it into several kernels.",
    )
}
