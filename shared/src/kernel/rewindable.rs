//! A second form of a rewritten kernel, whose instances can be set back to where they stood, for calls that take less than
//! making an instance does.
//!
//! It computes the same and takes the same gas, but notes for each block of memory that something was stored there, in a
//! memory of its own. Two more exported functions make use of that: [`exports::SAVE`] keeps a copy of memories and globals,
//! and [`exports::REWIND`] puts back what has changed since. All of it is WebAssembly, so it holds on every engine, and what
//! a call leaves behind is found without help of the machine below.
//!
//! Nodes that work together need not agree on it: what they exchange and count is the form that [`super::rewrite`] gives.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    Instruction, InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
    reencode::{self, Reencode},
};
use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload};

use super::{Facts, PAGE_BYTES, TrapReason, exports, features::encoded};

/// Bytes of the longest rewritten kernel that is given such a form: what is called for tiny work is small itself.
const MOST_BYTES: usize = 256 << 10;
/// The same of a kernel that is prepared for many calls: an interpreter, say.
const MOST_PREPARED_BYTES: usize = 16 << 20;
/// Pages that a memory of such an instance may have; a call that wants more ends as if the host had failed, and is made
/// anew in a fresh instance of the other form.
pub const MOST_REWINDABLE_PAGES: u64 = 32;
/// The same of a kernel that is prepared for many calls: a model, say. There are as many once more for the copy.
const MOST_PREPARED_PAGES: u64 = 8_192;

/// Blocks of memory are so large, as a power of two: small ones are copied back faster, large ones are looked through faster.
const BLOCK_SHIFT: u32 = 9;
/// A store that begins in a block may reach so many bytes into the next.
const OVERHANG: u32 = 15;
/// Marks that are looked at together: so many eights.
const AT_ONCE: u32 = 8 * EIGHTS;
const EIGHTS: u32 = 8;
const _: () = assert!((PAGE_BYTES >> BLOCK_SHIFT).is_multiple_of(AT_ONCE as u64));
/// More globals than this are no small kernel's.
const MOST_GLOBALS: usize = 64;

/// The form of a rewritten kernel whose instances can be set back. `None` for one that changes what is not kept (tables, or
/// which segments there are) or is too large.
pub fn rewindable(rewritten: &[u8]) -> Option<Vec<u8>> {
    let facts = Facts::of(rewritten)?;
    if !may_rewind(rewritten.len(), &facts) {
        return None;
    }
    let most_pages = if facts.init { MOST_PREPARED_PAGES } else { MOST_REWINDABLE_PAGES };
    let mut form = Form { plan: Plan::of(rewritten, most_pages)?, body: 0 };
    let mut module = Module::new();
    form.parse_core_module(&mut module, Parser::new(0), rewritten).ok()?;
    Some(module.finish())
}

/// Whether a rewritten kernel of so many bytes may have such a form.
pub fn may_rewind(bytes: usize, facts: &Facts) -> bool {
    bytes <= if facts.init { MOST_PREPARED_BYTES } else { MOST_BYTES }
}

/// How many memories a module has of its own.
pub fn memories(module: &[u8]) -> usize {
    let mut count = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::MemorySection(section)) => count = section.count(),
            // All that is longer comes behind it.
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => break,
            Ok(_) => {}
        }
    }
    count as usize
}

/// What must be known of a module before it is written again.
#[derive(Default)]
struct Plan {
    /// Pages that each memory may have.
    most_pages: u64,
    types: u32,
    /// For each type its number of parameters.
    parameters: Vec<u32>,
    /// For each function its type.
    functions: Vec<u32>,
    memories: u32,
    globals: u32,
    /// Globals that are kept, with their types.
    kept: Vec<(u32, ValType)>,
    /// Where the rewrite says why it trapped.
    trap: u32,
}

impl Plan {
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    fn of(rewritten: &[u8], most_pages: u64) -> Option<Self> {
        let mut plan = Plan { most_pages, ..Plan::default() };
        let mut trap = None;
        // What the host sets itself.
        let mut set = Vec::new();
        for payload in Parser::new(0).parse_all(rewritten) {
            match payload.ok()? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        plan.parameters.push(u32::try_from(ty.ok()?.params().len()).ok()?);
                        plan.types += 1;
                    }
                }
                Payload::ImportSection(_) => return None,
                Payload::FunctionSection(section) => {
                    for ty in section {
                        plan.functions.push(ty.ok()?);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        if memory.ok()?.initial > most_pages {
                            return None;
                        }
                        plan.memories += 1;
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let ty = global.ok()?.ty;
                        if ty.mutable {
                            plan.kept.push((plan.globals, kept_type(ty.content_type)?));
                        }
                        plan.globals += 1;
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.ok()?;
                        match (export.kind, export.name) {
                            (ExternalKind::Global, exports::GAS | exports::RESERVE | exports::SLICE) => {
                                set.push(export.index);
                            }
                            (ExternalKind::Global, exports::TRAP) => trap = Some(export.index),
                            _ => {}
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader().ok()? {
                        if changes_what_is_not_kept(&operator.ok()?) {
                            return None;
                        }
                    }
                }
                _ => {}
            }
        }
        plan.kept.retain(|(index, _)| !set.contains(index));
        plan.trap = trap?;
        (plan.memories > 0 && plan.kept.len() <= MOST_GLOBALS).then_some(plan)
    }

    /// Marks of one memory, a byte each.
    fn marks_each(&self) -> u32 {
        (self.most_pages * (PAGE_BYTES >> BLOCK_SHIFT)) as u32
    }

    /// The memory of marks.
    fn marks(&self) -> u32 {
        self.memories
    }

    /// The memory that holds the copy of another.
    fn copy_of(&self, memory: u32) -> u32 {
        self.memories + 1 + memory
    }

    /// The first of our functions for a memory: [`note`]; behind it [`grown`].
    fn helpers(&self, memory: u32) -> u32 {
        self.bodies() + 2 * memory
    }

    /// Functions of the kernel.
    fn bodies(&self) -> u32 {
        u32::try_from(self.functions.len()).unwrap_or(u32::MAX)
    }
}

/// Numbers and vectors; a global of references is no small kernel's.
fn kept_type(ty: wasmparser::ValType) -> Option<ValType> {
    encoded(ty).ok().filter(|ty| !matches!(ty, ValType::Ref(_)))
}

fn changes_what_is_not_kept(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
    )
}

/// Where and what is stored, by instructions that pop an address and a value: offset, memory, type.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
fn stored(operator: &Operator<'_>) -> Option<(u64, u32, ValType)> {
    use Operator as O;
    let (at, ty) = match operator {
        O::I32Store { memarg } | O::I32Store8 { memarg } | O::I32Store16 { memarg } => (memarg, ValType::I32),
        O::I64Store { memarg } | O::I64Store8 { memarg } | O::I64Store16 { memarg } | O::I64Store32 { memarg } => {
            (memarg, ValType::I64)
        }
        O::F32Store { memarg } => (memarg, ValType::F32),
        O::F64Store { memarg } => (memarg, ValType::F64),
        O::V128Store { memarg }
        | O::V128Store8Lane { memarg, .. }
        | O::V128Store16Lane { memarg, .. }
        | O::V128Store32Lane { memarg, .. }
        | O::V128Store64Lane { memarg, .. } => (memarg, ValType::V128),
        _ => return None,
    };
    match at.target {
        wasmparser::MemArgTarget::Memory(memory) => Some((at.offset, memory, ty)),
        // Of a proposal that no kernel may use.
        wasmparser::MemArgTarget::Array(_) => None,
    }
}

struct Form {
    plan: Plan,
    /// The body that is written next.
    body: usize,
}

impl Reencode for Form {
    type Error = std::convert::Infallible;

    fn parse_custom_section(
        &mut self,
        _module: &mut Module,
        _section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        // Names, and hints that hold for places in the other form.
        Ok(())
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        reencode::utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32, ValType::I32], []);
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([], [ValType::I32]);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        reencode::utils::parse_function_section(self, functions, section)?;
        for _ in 0..self.plan.memories {
            functions.function(self.plan.types).function(self.plan.types + 1);
        }
        functions.function(self.plan.types + 2).function(self.plan.types + 2);
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        reencode::utils::parse_memory_section(self, memories, section)?;
        let ours = |minimum, maximum| MemoryType {
            minimum,
            maximum: Some(maximum),
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        let marks = (u64::from(self.plan.marks_each()) * u64::from(self.plan.memories)).div_ceil(PAGE_BYTES);
        memories.memory(ours(marks, marks));
        for _ in 0..self.plan.memories {
            memories.memory(ours(0, self.plan.most_pages));
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        reencode::utils::parse_global_section(self, globals, section)?;
        for (_, ty) in &self.plan.kept {
            let zero = match ty {
                ValType::I32 | ValType::Ref(_) => ConstExpr::i32_const(0),
                ValType::I64 => ConstExpr::i64_const(0),
                ValType::F32 => ConstExpr::f32_const(0.0_f32.into()),
                ValType::F64 => ConstExpr::f64_const(0.0_f64.into()),
                ValType::V128 => ConstExpr::v128_const(0),
            };
            globals.global(GlobalType { val_type: *ty, mutable: true, shared: false }, &zero);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exported: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        reencode::utils::parse_export_section(self, exported, section)?;
        let ours = self.plan.helpers(self.plan.memories);
        exported.export(exports::SAVE, ExportKind::Func, ours).export(exports::REWIND, ExportKind::Func, ours + 1);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        reencode::utils::parse_code_section(self, code, section)?;
        for memory in 0..self.plan.memories {
            code.function(&note(&self.plan, memory)).function(&grown(&self.plan, memory));
        }
        code.function(&save(&self.plan)).function(&rewind(&self.plan));
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        let ty = self.plan.functions.get(self.body).and_then(|ty| self.plan.parameters.get(*ty as usize));
        self.body += 1;
        let mut places = Places::behind(ty.copied().unwrap_or_default(), &body)?;
        // Twice over: first to see which places are needed.
        for operator in body.get_operators_reader()? {
            places.need(&operator?);
        }
        let mut locals = Vec::new();
        for pair in body.get_locals_reader()? {
            let (count, ty) = pair?;
            locals.push((count, self.val_type(ty)?));
        }
        locals.extend(places.taken.iter().map(|ty| (1, *ty)));
        let mut function = Function::new(locals);
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            self.operator(&mut function, operator, &places)?;
        }
        code.function(&function);
        Ok(())
    }
}

impl Form {
    /// An instruction as it stands, with what notes its stores around it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn operator(
        &mut self,
        function: &mut Function,
        operator: Operator<'_>,
        places: &Places,
    ) -> Result<(), reencode::Error<std::convert::Infallible>> {
        let (address, length) = (places.of(0), places.of(1));
        if let Some((offset, memory, ty)) = stored(&operator) {
            let value = places.holding(ty);
            // Noted first: some processors write what of it lies inside of memory and then trap. A note of what was not
            // written does no harm, and one that lies outside of the marks traps as the store would.
            let mut sink = function.instructions();
            sink.local_set(value).local_tee(address);
            if let Ok(offset @ 1..) = u32::try_from(offset) {
                sink.i32_const(offset.cast_signed()).i32_add();
            }
            sink.i32_const(BLOCK_SHIFT.cast_signed()).i32_shr_u().i32_const(1);
            sink.i32_store8(mark(&self.plan, memory, 0));
            sink.local_get(address).local_get(value);
            function.instruction(&self.instruction(operator)?);
            return Ok(());
        }
        let (memory, is_bulk) = match &operator {
            Operator::MemoryFill { mem } => (*mem, true),
            Operator::MemoryCopy { dst_mem, .. } => (*dst_mem, true),
            Operator::MemoryInit { mem, .. } => (*mem, true),
            Operator::MemoryGrow { mem } => (*mem, false),
            _ => {
                function.instruction(&self.instruction(operator)?);
                return Ok(());
            }
        };
        if is_bulk {
            let value = places.holding(ValType::I32);
            function.instructions().local_set(length).local_set(value).local_tee(address);
            function.instructions().local_get(value).local_get(length);
            function.instruction(&self.instruction(operator)?);
            function.instructions().local_get(address).local_get(length).call(self.plan.helpers(memory));
        } else {
            function.instruction(&self.instruction(operator)?);
            function.instruction(&Instruction::Call(self.plan.helpers(memory) + 1));
        }
        Ok(())
    }
}

/// Locals of ours behind a function's own.
struct Places {
    first: u32,
    /// An address, a length, then values.
    taken: Vec<ValType>,
}

impl Places {
    fn behind(parameters: u32, body: &FunctionBody<'_>) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut first = parameters;
        for pair in body.get_locals_reader()? {
            first = first.saturating_add(pair?.0);
        }
        Ok(Self { first, taken: Vec::new() })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn need(&mut self, operator: &Operator<'_>) {
        let value = match operator {
            Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. } => ValType::I32,
            other => match stored(other) {
                Some((_, _, ty)) => ty,
                None => return,
            },
        };
        if self.taken.is_empty() {
            self.taken = vec![ValType::I32, ValType::I32];
        }
        if !self.values().contains(&value) {
            self.taken.push(value);
        }
    }

    fn values(&self) -> &[ValType] {
        self.taken.get(2..).unwrap_or_default()
    }

    fn of(&self, place: u32) -> u32 {
        self.first + place
    }

    fn holding(&self, ty: ValType) -> u32 {
        let place = self.values().iter().position(|value| *value == ty).and_then(|place| u32::try_from(place).ok());
        self.of(2 + place.unwrap_or_default())
    }
}

/// The mark of block 0 of a memory, at an alignment of so many bytes as a power of two.
fn mark(plan: &Plan, memory: u32, align: u32) -> MemArg {
    let offset = u64::from(plan.marks_each()) * u64::from(memory);
    MemArg { offset, align, target: MemArgTarget::Memory(plan.marks()), ordering: None }
}

/// `note(start: i32, length: i32)`: so many bytes were stored from there on.
fn note(plan: &Plan, memory: u32) -> Function {
    const START: u32 = 0;
    const LENGTH: u32 = 1;
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.local_get(LENGTH).i32_eqz().if_(BlockType::Empty).return_().end();
    let shift = BLOCK_SHIFT.cast_signed();
    // The marks from the first block's to the last's.
    sink.local_get(START).i32_const(shift).i32_shr_u();
    sink.i32_const((plan.marks_each() * memory).cast_signed()).i32_add();
    sink.i32_const(1);
    sink.local_get(START).local_get(LENGTH).i32_add().i32_const(1).i32_sub().i32_const(shift).i32_shr_u();
    sink.local_get(START).i32_const(shift).i32_shr_u().i32_sub().i32_const(1).i32_add();
    sink.memory_fill(plan.marks()).end();
    function
}

/// `grown(before: i32) -> i32`: hands on what `memory.grow` gave, and ends the call if there are no marks for that.
fn grown(plan: &Plan, memory: u32) -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.memory_size(memory).i32_const(plan.most_pages as i32).i32_gt_u().if_(BlockType::Empty);
    sink.i32_const(TrapReason::HostFailed.code()).global_set(plan.trap).unreachable().end();
    sink.local_get(0).end();
    function
}

/// `save() -> i32`: keeps what there is now; zero if there is no room for that.
fn save(plan: &Plan) -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    for memory in 0..plan.memories {
        let copy = plan.copy_of(memory);
        sink.memory_size(memory).memory_size(copy).i32_gt_u().if_(BlockType::Empty);
        sink.memory_size(memory).memory_size(copy).i32_sub().memory_grow(copy);
        sink.i32_const(-1).i32_eq().if_(BlockType::Empty).i32_const(0).return_().end().end();
        sink.i32_const(0).i32_const(0);
        bytes(&mut sink, memory);
        sink.memory_copy(copy, memory);
        sink.i32_const((plan.marks_each() * memory).cast_signed())
            .i32_const(0)
            .i32_const(plan.marks_each().cast_signed());
        sink.memory_fill(plan.marks());
    }
    for (place, (global, _)) in (plan.globals..).zip(&plan.kept) {
        sink.global_get(*global).global_set(place);
    }
    sink.i32_const(1).end();
    function
}

/// `rewind() -> i32`: puts back what was kept; zero if a memory has another size than it had.
fn rewind(plan: &Plan) -> Function {
    const AT: u32 = 0;
    const EIGHT: u32 = 1;
    const BLOCK: u32 = 2;
    const BLOCKS: u32 = 3;
    const START: u32 = 4;
    const LENGTH: u32 = 5;
    let mut function = Function::new([(6, ValType::I32)]);
    let mut sink = function.instructions();
    for memory in 0..plan.memories {
        let copy = plan.copy_of(memory);
        sink.memory_size(memory).memory_size(copy).i32_ne().if_(BlockType::Empty).i32_const(0).return_().end();
        bytes(&mut sink, memory);
        sink.i32_const(BLOCK_SHIFT.cast_signed()).i32_shr_u().local_set(BLOCKS);
        sink.i32_const(0).local_set(AT).block(BlockType::Empty).loop_(BlockType::Empty);
        sink.local_get(AT).local_get(BLOCKS).i32_ge_u().br_if(1);
        // Most of memory was left alone: what of it is looked at takes more time than what is copied.
        sink.local_get(AT).i64_load(eight(plan, memory, 0));
        for further in 1..EIGHTS {
            sink.local_get(AT).i64_load(eight(plan, memory, further)).i64_or();
        }
        sink.i64_eqz().i32_eqz().if_(BlockType::Empty);
        sink.local_get(AT).local_set(EIGHT).loop_(BlockType::Empty);
        sink.local_get(EIGHT).i64_load(eight(plan, memory, 0)).i64_eqz().i32_eqz().if_(BlockType::Empty);
        {
            sink.local_get(EIGHT).local_set(BLOCK).loop_(BlockType::Empty);
            sink.local_get(BLOCK).i32_load8_u(mark(plan, memory, 0)).if_(BlockType::Empty);
            sink.local_get(BLOCK).i32_const(BLOCK_SHIFT.cast_signed()).i32_shl().local_set(START);
            sink.i32_const(((1 << BLOCK_SHIFT) + OVERHANG).cast_signed()).local_set(LENGTH);
            // The last block ends where memory does.
            bytes(&mut sink, memory);
            sink.local_get(START).i32_sub().local_get(LENGTH).i32_lt_u().if_(BlockType::Empty);
            bytes(&mut sink, memory);
            sink.local_get(START).i32_sub().local_set(LENGTH).end();
            sink.local_get(START).local_get(START).local_get(LENGTH).memory_copy(memory, copy).end();
            next_until(&mut sink, BLOCK, 1, EIGHT, 8);
            sink.end();
            sink.local_get(EIGHT).i64_const(0).i64_store(eight(plan, memory, 0));
        }
        sink.end();
        next_until(&mut sink, EIGHT, 8, AT, AT_ONCE);
        sink.end().end();
        sink.local_get(AT).i32_const(AT_ONCE.cast_signed()).i32_add().local_set(AT).br(0).end().end();
    }
    for (place, (global, _)) in (plan.globals..).zip(&plan.kept) {
        sink.global_get(place).global_set(*global);
    }
    sink.i32_const(1).end();
    function
}

/// Eight marks as one number, so many eights behind the address.
fn eight(plan: &Plan, memory: u32, further: u32) -> MemArg {
    let first = mark(plan, memory, 3);
    MemArg { offset: first.offset + 8 * u64::from(further), ..first }
}

/// Steps on, and goes round the loop once more unless that is so far behind where another local stands.
fn next_until(sink: &mut InstructionSink<'_>, local: u32, step: u32, from: u32, length: u32) {
    sink.local_get(local).i32_const(step.cast_signed()).i32_add().local_tee(local);
    sink.local_get(from).i32_const(length.cast_signed()).i32_add().i32_lt_u().br_if(0);
}

/// The size of a memory in bytes: below 2^32, as there are so few pages.
fn bytes(sink: &mut InstructionSink<'_>, memory: u32) {
    sink.memory_size(memory).i32_const(16).i32_shl();
}
