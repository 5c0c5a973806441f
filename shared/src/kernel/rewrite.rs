//! Rewrites a whole module: validates it, bounds it, appends what the host and the bodies need.

use std::collections::BTreeMap;

use wasm_encoder::{
    BlockType, BranchHint, BranchHints, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, MemorySection, MemoryType, Module, RawSection, RefType, SectionId, TableSection,
    TableType, TypeSection, ValType,
};
use wasmparser::{
    DataKind, ElementKind, FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use super::{
    TrapReason,
    body::{Appended, BodyRewriter},
    bounds, check, cost, exports,
    measure::Nans,
    shelf::Shelf,
};
use crate::refusal::{Code, Refusal};

/// WebAssembly 2.0 without `externref`, which is of no use to a module without imports: what every engine of ours, and
/// V8 since 2022, understands in the same way.
const FEATURES: WasmFeatures = WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES);

/// Rewrites any module that keeps the bounds, whether or not it keeps the kernel contract. Tests use it on modules that
/// are no kernels; everybody else calls [`super::prepare`].
pub fn rewrite(original: &[u8]) -> Result<Vec<u8>, Refusal> {
    rewrite_with(original, Nans::Late)
}

/// The same, saying when NaNs are made canonical: tests compare what comes of it.
pub fn rewrite_with(original: &[u8], nans: Nans) -> Result<Vec<u8>, Refusal> {
    check::length(original)?;
    let mut rewriter = Rewriter { original, nans, ..Rewriter::default() };
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(original) {
        let payload = payload.map_err(|error| unreadable(&error))?;
        rewriter.bound(&payload)?;
        match validator.payload(&payload).map_err(|error| unreadable(&error))? {
            ValidPayload::Func(function, body) => allocations = rewriter.body(function, &body, allocations)?,
            ValidPayload::Ok | ValidPayload::End(_) => rewriter.section(&payload)?,
            ValidPayload::Parser(_) => return Err(check::invalid("The kernel is a component, not a module.")),
        }
    }
    Ok(rewriter.finish())
}

/// Refuses a section with more items than a kernel may have of them. For whoever reads a module before it is rewritten:
/// what is kept of an item weighs many times its bytes.
pub fn within_bounds(payload: &Payload) -> Result<(), Refusal> {
    let (what, count, most) = match payload {
        Payload::TypeSection(section) => ("types", section.count(), bounds::MOST_TYPES),
        Payload::FunctionSection(section) => ("functions", section.count(), bounds::MOST_FUNCTIONS),
        Payload::TableSection(section) => ("tables", section.count(), bounds::MOST_TABLES),
        Payload::GlobalSection(section) => ("globals", section.count(), bounds::MOST_GLOBALS),
        Payload::ExportSection(section) => ("exports", section.count(), bounds::MOST_EXPORTS),
        Payload::ElementSection(section) => ("element segments", section.count(), bounds::MOST_ELEMENT_SEGMENTS),
        Payload::DataSection(section) => ("data segments", section.count(), bounds::MOST_DATA_SEGMENTS),
        Payload::CodeSectionStart { count, .. } => ("functions", *count, bounds::MOST_FUNCTIONS),
        _ => return Ok(()),
    };
    if count > most { Err(too_many(what, u64::from(count), u64::from(most))) } else { Ok(()) }
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
    memory: Option<MemoryType>,
    globals: GlobalSection,
    exports: ExportSection,
    start: Option<u32>,
    elements: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
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
            return Err(check::import(found.module, found.name));
        }
        within_bounds(payload)
    }

    /// Takes a section that the validator has passed.
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
                    self.types.push(ty);
                }
            }
            Payload::FunctionSection(section) => {
                for index in section.clone() {
                    self.functions.push(index.map_err(unread)?);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    self.table(&table.map_err(unread)?.ty)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let memory = memory.map_err(unread)?;
                    let maximum = memory.maximum.unwrap_or(bounds::MOST_PAGES).min(bounds::MOST_PAGES);
                    self.memory = Some(MemoryType {
                        minimum: memory.initial,
                        maximum: Some(maximum),
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    });
                }
            }
            Payload::GlobalSection(section) => {
                let items = section.clone().into_iter_with_offsets();
                let mut starts = Vec::new();
                for item in items {
                    starts.push(item.map_err(unread)?.0);
                }
                for (index, start) in starts.iter().enumerate() {
                    let end = starts.get(index + 1).copied().unwrap_or(section.range().end);
                    self.globals.raw(self.bytes(*start, end));
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
                    self.exports.export(export.name, ExportKind::from(export.kind), export.index);
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
                        fits("element", constant(offset_expr), count, table.map_or(0, |table| table.minimum))?;
                    }
                }
                let most = bounds::MOST_TABLE_ELEMENTS * u64::from(bounds::MOST_TABLES);
                if total > most {
                    return Err(too_many("table elements", total, most));
                }
                self.elements = Some(self.bytes(section.range().start, section.range().end));
            }
            Payload::DataCountSection { count, .. } => self.data_count = Some(*count),
            Payload::DataSection(section) => {
                for segment in section.clone() {
                    let segment = segment.map_err(unread)?;
                    if let DataKind::Active { offset_expr, .. } = &segment.kind {
                        let pages = self.memory.map_or(0, |memory| memory.minimum);
                        fits("data", constant(offset_expr), segment.data.len() as u64, pages * super::PAGE_BYTES)?;
                    }
                }
                self.data = Some(self.bytes(section.range().start, section.range().end));
            }
            _ => {}
        }
        Ok(())
    }

    fn table(&mut self, ty: &wasmparser::TableType) -> Result<(), Refusal> {
        if ty.initial > bounds::MOST_TABLE_ELEMENTS {
            return Err(too_many("elements in a table", ty.initial, bounds::MOST_TABLE_ELEMENTS));
        }
        let most = bounds::MOST_TABLE_ELEMENTS;
        self.tables.push(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: ty.initial,
            maximum: Some(ty.maximum.unwrap_or(most).min(most)),
            shared: false,
        });
        Ok(())
    }

    fn body(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Refusal> {
        let appended = self.append();
        let ty = self.functions.get(self.bodies as usize).and_then(|ty| self.types.get(*ty as usize)).cloned();
        self.bodies += 1;
        let (parameters, wrapper) = match &ty {
            Some(ty) => (ty.params().len(), self.block_type(&[], ty.results())?),
            None => (0, BlockType::Empty),
        };
        let mut validator = function.into_validator(allocations);
        let mut shelf = self.shelf.take().unwrap_or_else(|| Shelf::from(appended.slice.saturating_add(1)));
        let rewriter = BodyRewriter { original: self.original, appended, nans: self.nans, shelf: &mut shelf };
        let parameters = u32::try_from(parameters).unwrap_or(u32::MAX);
        let mut through = |values: &[wasmparser::ValType]| self.block_type(values, values);
        let written = rewriter.rewrite(&mut validator, body, parameters, wrapper, &mut through)?;
        self.shelf = Some(shelf);
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
        self.code.function(&refill(appended));
        if let Some(memory) = self.memory {
            functions.function(refill_type.saturating_add(1));
            self.code.function(&grow(appended, pages, memory.maximum.unwrap_or(bounds::MOST_PAGES)));
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
        if let Some(memory) = self.memory {
            module.section(MemorySection::new().memory(memory));
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
        if let Some(data) = self.elements {
            module.section(&RawSection { id: SectionId::Element as u8, data });
        }
        if let Some(count) = self.data_count {
            module.section(&wasm_encoder::DataCountSection { count });
        }
        module.section(&self.hints);
        module.section(&self.code);
        if let Some(data) = self.data {
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

/// `refill(gas: i64) -> i64`: called with gas below zero. It hands out the next slice of what the host has given, after
/// asking the host's hook if there are slices; with nothing left it ends the call.
///
/// Slices never change the count, not even one that a trap leaves behind: what is handed out goes from one global to the
/// other, and the caller's own count is written only where the call ends for want of gas.
fn refill(appended: Appended) -> Function {
    const GAS: u32 = 0;
    const TAKEN: u32 = 1;
    let Appended { gas, trap, reserve, slice, hook, hook_type, .. } = appended;
    let mut function = Function::new([(1, ValType::I64)]);
    let mut sink = function.instructions();
    sink.loop_(BlockType::Empty);
    sink.global_get(slice).i64_eqz().if_(BlockType::Empty);
    sink.global_get(reserve).local_set(TAKEN);
    sink.else_();
    sink.i32_const(0).call_indirect(hook, hook_type);
    sink.global_get(slice).global_get(reserve);
    sink.global_get(slice).global_get(reserve).i64_lt_s().select().local_set(TAKEN);
    sink.end();
    sink.global_get(reserve).local_get(TAKEN).i64_sub().global_set(reserve);
    sink.global_get(gas).local_get(TAKEN).i64_add().global_set(gas);
    sink.local_get(GAS)
        .local_get(TAKEN)
        .i64_add()
        .local_tee(GAS)
        .i64_const(0)
        .i64_ge_s()
        .if_(BlockType::Empty)
        .local_get(GAS)
        .return_()
        .end();
    sink.global_get(reserve).i64_const(0).i64_gt_s().br_if(0);
    sink.end();
    sink.local_get(GAS).global_set(gas);
    sink.i32_const(TrapReason::OutOfGas.code()).global_set(trap).unreachable().end();
    function
}

/// `grow(pages: i32) -> i32`: `memory.grow` that answers -1 only beyond the module's own maximum, traps beyond the
/// call's limit, and takes gas for what it gives. The caller has written its gas to the global.
fn grow(appended: Appended, limit: u32, maximum: u64) -> Function {
    const PAGES: u32 = 0;
    const WANTED: u32 = 1;
    let mut function = Function::new([(1, ValType::I64)]);
    let mut sink = function.instructions();
    sink.memory_size(0).i64_extend_i32_u().local_get(PAGES).i64_extend_i32_u().i64_add().local_tee(WANTED);
    sink.i64_const(i64::try_from(maximum).unwrap_or(i64::MAX)).i64_gt_s().if_(BlockType::Empty);
    sink.i32_const(-1).return_().end();
    sink.local_get(WANTED).global_get(limit).i64_extend_i32_u().i64_gt_s().if_(BlockType::Empty);
    sink.i32_const(TrapReason::OutOfMemory.code()).global_set(appended.trap).unreachable().end();
    sink.global_get(appended.gas).local_get(PAGES).i64_extend_i32_u().i64_const(cost::PAGE).i64_mul().i64_sub();
    sink.global_set(appended.gas).global_get(appended.gas).i64_const(0).i64_lt_s().if_(BlockType::Empty);
    sink.global_get(appended.gas).call(appended.refill).global_set(appended.gas).end();
    sink.local_get(PAGES).memory_grow(0).local_tee(PAGES).i32_const(-1).i32_eq().if_(BlockType::Empty);
    sink.i32_const(TrapReason::HostFailed.code()).global_set(appended.trap).unreachable().end();
    sink.local_get(PAGES).end();
    function
}

fn encoded(ty: wasmparser::ValType) -> Result<ValType, Refusal> {
    ValType::try_from(ty).map_err(|_| check::invalid("The kernel uses a type that is not WebAssembly 2.0."))
}

fn all_encoded(types: &[wasmparser::ValType]) -> Vec<ValType> {
    types.iter().filter_map(|ty| encoded(*ty).ok()).collect()
}

/// The offset of an active segment: without imports it can only be a constant.
fn constant(expression: &wasmparser::ConstExpr<'_>) -> Option<u64> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(u64::from(value.cast_unsigned())),
        _ => None,
    }
}

/// A segment that does not fit would trap while the instance is made, where nothing is counted yet: refused here.
fn fits(what: &str, offset: Option<u64>, length: u64, space: u64) -> Result<(), Refusal> {
    match offset.map(|offset| offset.saturating_add(length)) {
        Some(end) if end <= space => Ok(()),
        Some(_) | None => {
            Err(check::invalid(format!("A {what} segment of the kernel lies outside its memory or table.")))
        }
    }
}

fn unreadable(error: &wasmparser::BinaryReaderError) -> Refusal {
    check::invalid(format!("The kernel is not valid WebAssembly 2.0: {error}."))
}

fn too_many(what: &str, count: u64, most: u64) -> Refusal {
    Refusal::new(
        Code::TooLarge,
        format!("The kernel has {count} {what}; at most {most} are accepted."),
        "Build it with optimisation, or split it into several kernels.",
    )
}
