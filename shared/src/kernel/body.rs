//! Rewrites one function body: gas, stack, memory growth, NaNs.
//!
//! A first pass validates the body and measures it ([`Shape`]); the second copies its instructions, byte for byte, and
//! puts ours between them. A body that counts gas in a local looks like this afterwards:
//!
//! ```text
//! gas := global gas - entry run; below 0: refill
//! stack := global stack - frame; below 0: trap           (only in a function that calls)
//! block
//!   ... at a run's start: gas := gas - run               (at a loop's head also: below 0: refill)
//!   ... around a call: global gas := gas; call; gas := global gas
//!   ... `return` becomes a branch to the block's end
//! end
//! global gas := gas; global stack := stack + frame
//! ```

use wasm_encoder::{BlockType, Function, InstructionSink, ValType as Encoded};
use wasmparser::{FrameKind, FuncValidator, FunctionBody, Operator, ValType, ValidatorResources, WasmModuleResources};

use super::{
    TrapReason, bounds, check, cost, detour,
    flow::{RunStart, Runs, TooDeep, Walker},
    nan::{self, Float},
};
use crate::refusal::Refusal;

/// Where the module's appended items are.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// Global: gas left.
    pub gas: u32,
    /// Global: reason of a trap.
    pub trap: u32,
    /// Global: bytes of stack left.
    pub stack: u32,
    /// Global: gas not handed out yet.
    pub reserve: u32,
    /// Global: gas handed out at a time, or zero for all.
    pub slice: u32,
    /// Table: the host's hook.
    pub hook: u32,
    /// Type of the host's hook.
    pub hook_type: u32,
    /// Function: called with gas below zero, answers with gas to go on with or traps.
    pub refill: u32,
    /// Function: `memory.grow` within the limit.
    pub grow: u32,
}

/// What the first pass learns of a body.
struct Shape {
    /// One charge a run.
    charges: Vec<u64>,
    /// Calls other functions.
    calls: bool,
    /// Gas is kept in a local.
    counts: bool,
    /// Weight of the frame in bytes.
    frame: u64,
    /// Needs an `i32` to keep a length or an index in.
    lengths: bool,
    /// Float types whose NaNs it makes canonical.
    floats: [bool; 4],
    /// Parameters and locals.
    locals: u32,
    /// For each `br_table` that is not dead, the type of a block that its values pass through; `None` if it has none.
    tables: Vec<Option<BlockType>>,
}

/// Gives the type of a block that takes these values and gives them back.
pub type Through<'a> = &'a mut dyn FnMut(&[ValType]) -> Result<BlockType, Refusal>;

/// Rewrites the bodies of one module.
pub struct BodyRewriter<'a> {
    /// The module's bytes, in which bodies' positions count.
    pub original: &'a [u8],
    /// What was appended.
    pub appended: Appended,
}

/// The results of a body's function, as the type of the block that wraps it.
pub type WrapperType = BlockType;

impl BodyRewriter<'_> {
    /// Validates `body` and writes it anew. `wrapper` is the type of a block that gives the function's results.
    pub fn rewrite(
        &self,
        validator: &mut FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
        parameters: u32,
        wrapper: WrapperType,
        through: Through,
    ) -> Result<Function, Refusal> {
        let shape = self.measure(validator, body, through)?;
        self.write(body, &shape, parameters, wrapper)
    }

    fn measure(
        &self,
        validator: &mut FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
        through: Through,
    ) -> Result<Shape, Refusal> {
        let number = validator.index();
        let broken = |error: wasmparser::BinaryReaderError| invalid_body(number, &error);
        let range = body.range();
        if range.end - range.start > bounds::MOST_BODY_BYTES {
            return Err(check::invalid(format!("Function {number} of the kernel is longer than 2 MiB.")));
        }
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader).map_err(broken)?;
        let locals = validator.len_locals();
        if locals > bounds::MOST_LOCALS {
            return Err(check::invalid(format!("Function {number} of the kernel has {locals} locals.")));
        }
        let mut operators = body.get_operators_reader().map_err(broken)?;
        let mut shape = Shape {
            charges: Vec::new(),
            calls: false,
            counts: false,
            frame: 0,
            lengths: false,
            floats: [false; 4],
            locals,
            tables: Vec::new(),
        };
        let mut walker = Walker::new();
        let mut runs = Runs::new();
        let mut height = 0;
        let mut vectors = (0..locals).any(|local| validator.get_local_type(local) == Some(ValType::V128));
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().map_err(broken)?;
            bound_block(&operator, validator.resources()).ok_or_else(|| {
                check::invalid(format!(
                    "A block in function {number} of the kernel has too many parameters or results."
                ))
            })?;
            let carried = match &operator {
                Operator::BrTable { targets } => label_types(validator, targets.default()),
                _ => Vec::new(),
            };
            validator.op(offset, &operator).map_err(broken)?;
            height = height.max(validator.operand_stack_height());
            let step = walker.step(&operator).map_err(|TooDeep| {
                check::invalid(format!(
                    "Function {number} of the kernel nests blocks deeper than {}.",
                    bounds::MOST_NESTING
                ))
            })?;
            if step.dead {
                continue;
            }
            runs.spend(cost::of(&operator));
            match &operator {
                Operator::Call { .. } | Operator::CallIndirect { .. } => shape.calls = true,
                Operator::MemoryGrow { .. } | Operator::Loop { .. } => shape.counts = true,
                Operator::BrTable { .. } => {
                    let block = if carried.is_empty() { None } else { Some(through(&carried)?) };
                    shape.lengths |= block.is_some();
                    shape.tables.push(block);
                }
                _ => {}
            }
            if dynamic(&operator).is_some() {
                shape.counts = true;
                shape.lengths = true;
            }
            if let Some(float) = nan::arithmetic(&operator) {
                shape.floats[float as usize] = true;
            }
            // Wherever a vector comes from, it is on top of the stack then, or among what a call gave.
            vectors |=
                validator.get_operand_type(0) == Some(Some(ValType::V128)) || gives_vectors(&operator, validator);
            if let Some(how) = step.starts {
                runs.start(how);
            }
        }
        operators.finish().map_err(broken)?;
        shape.charges = runs.finish();
        shape.counts |= shape.calls || shape.charges.iter().skip(1).any(|charge| *charge > 0);
        let slot = if vectors { bounds::VECTOR_SLOT_BYTES } else { bounds::SLOT_BYTES };
        shape.frame = bounds::FRAME_BYTES + slot * (u64::from(locals) + u64::from(height));
        if shape.frame > bounds::MOST_FRAME_BYTES {
            return Err(check::invalid(format!(
                "Function {number} of the kernel needs a frame of {} bytes.",
                shape.frame
            )));
        }
        Ok(shape)
    }

    fn write(
        &self,
        body: &FunctionBody<'_>,
        shape: &Shape,
        parameters: u32,
        wrapper: WrapperType,
    ) -> Result<Function, Refusal> {
        let unread = |error: wasmparser::BinaryReaderError| invalid_body(0, &error);
        let mut writer = Writer::new(self.appended, shape, body, parameters, wrapper)?;
        let mut operators = body.get_operators_reader().map_err(unread)?;
        let mut walker = Walker::new();
        let mut compared = false;
        let mut tables = shape.tables.iter();
        while !operators.eof() {
            let (operator, start) = operators.read_with_offset().map_err(unread)?;
            let label = walker.function_label();
            let Ok(step) = walker.step(&operator) else { break };
            if step.dead {
                continue;
            }
            if step.last {
                writer.leave();
                break;
            }
            writer.before(&operator);
            detour::before_select(&operator, &mut compared, &mut writer.sink());
            detour::before_block(&operator, &mut writer.sink());
            match &operator {
                Operator::Return if writer.wraps => {
                    writer.sink().br(label);
                }
                Operator::MemoryGrow { .. } => {
                    let grow = self.appended.grow;
                    writer.sink().call(grow);
                }
                Operator::BrTable { targets } if let Some(Some(block)) = tables.next() => {
                    let index = writer.length;
                    detour::branch_with_values(targets, *block, index, &mut writer.sink()).map_err(unread)?;
                }
                _ if detour::instead(&operator, &mut writer.sink()) => {}
                _ => {
                    let bytes = usize::try_from(start)
                        .ok()
                        .zip(usize::try_from(operators.original_position()).ok())
                        .and_then(|(start, end)| self.original.get(start..end))
                        .unwrap_or_default();
                    writer.function.raw(bytes.iter().copied());
                }
            }
            writer.after(&operator);
            if let Some(float) = nan::arithmetic(&operator) {
                // What the next instruction takes as a mere NaN need not be made canonical first.
                let next = operators.clone().read().map_err(unread)?;
                if nan::ignores_bits(&next) != Some(float) {
                    writer.canonical(float);
                }
            }
            if let Some(how) = step.starts {
                writer.charge(how);
            }
        }
        Ok(writer.function)
    }
}

/// Writes instructions of ours between the body's.
struct Writer<'a> {
    function: Function,
    appended: Appended,
    shape: &'a Shape,
    /// The body is inside a block, so that leaving it anywhere passes by its end.
    wraps: bool,
    /// Index of the next run.
    run: usize,
    gas: u32,
    stack: u32,
    length: u32,
    floats: [u32; 4],
}

impl<'a> Writer<'a> {
    fn new(
        appended: Appended,
        shape: &'a Shape,
        body: &FunctionBody<'_>,
        parameters: u32,
        wrapper: WrapperType,
    ) -> Result<Self, Refusal> {
        let mut locals: Vec<(u32, Encoded)> = Vec::new();
        let own = body.get_locals_reader().map_err(|error| invalid_body(0, &error))?;
        for group in own {
            let (count, ty) = group.map_err(|error| invalid_body(0, &error))?;
            let ty = Encoded::try_from(ty).map_err(|_| check::invalid("A local has a type of no use to a kernel."))?;
            locals.push((count, ty));
        }
        debug_assert!(parameters <= shape.locals);
        let mut next = shape.locals;
        let mut append = |wanted: bool, ty: Encoded| {
            if wanted {
                locals.push((1, ty));
                next += 1;
            }
            next.saturating_sub(1)
        };
        let gas = append(shape.counts, Encoded::I64);
        let stack = append(shape.calls, Encoded::I32);
        let length = append(shape.lengths, Encoded::I32);
        let types = [Encoded::F32, Encoded::F64, Encoded::V128, Encoded::V128];
        let mut floats = [0; 4];
        for ((local, wanted), ty) in floats.iter_mut().zip(shape.floats).zip(types) {
            *local = append(wanted, ty);
        }
        let mut writer = Self {
            function: Function::new(locals),
            appended,
            shape,
            wraps: shape.counts,
            run: 0,
            gas,
            stack,
            length,
            floats,
        };
        writer.enter(wrapper);
        Ok(writer)
    }

    fn sink(&mut self) -> InstructionSink<'_> {
        self.function.instructions()
    }

    fn enter(&mut self, wrapper: WrapperType) {
        let charge = self.next_charge();
        let (gas, global) = (self.gas, self.appended.gas);
        self.sink().global_get(global).i64_const(charge).i64_sub();
        if !self.shape.counts {
            self.sink().global_set(global);
            return;
        }
        if self.shape.calls {
            self.sink().local_tee(gas);
            self.refill_below_zero();
            let frame = i32::try_from(self.shape.frame).unwrap_or(i32::MAX);
            let (stack, global, trap) = (self.stack, self.appended.stack, self.appended.trap);
            self.sink()
                .global_get(global)
                .i32_const(frame)
                .i32_sub()
                .local_tee(stack)
                .global_set(global)
                .local_get(stack)
                .i32_const(0)
                .i32_lt_s()
                .if_(BlockType::Empty);
            self.flush();
            self.sink().i32_const(TrapReason::StackOverflow.code()).global_set(trap).unreachable().end();
        } else {
            self.sink().local_set(gas);
        }
        self.sink().block(wrapper);
    }

    fn leave(&mut self) {
        if self.wraps {
            self.sink().end();
            self.flush();
        }
        if self.shape.calls {
            let frame = i32::try_from(self.shape.frame).unwrap_or(i32::MAX);
            let (stack, global) = (self.stack, self.appended.stack);
            self.sink().local_get(stack).i32_const(frame).i32_add().global_set(global);
        }
        self.sink().end();
    }

    fn before(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::MemoryGrow { .. } => self.flush(),
            Operator::Unreachable if self.shape.counts => self.flush(),
            _ => {}
        }
        if let Some(shift) = dynamic(operator) {
            let (length, gas) = (self.length, self.gas);
            self.sink().local_tee(length).local_get(gas).local_get(length).i64_extend_i32_u();
            if shift > 0 {
                self.sink().i64_const(shift).i64_shr_u();
            }
            self.sink().i64_sub().local_tee(gas);
            self.refill_below_zero();
        }
    }

    fn after(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::MemoryGrow { .. } => {
                let (gas, global) = (self.gas, self.appended.gas);
                self.sink().global_get(global).local_set(gas);
            }
            _ => {}
        }
    }

    /// Makes the NaNs of the value on top of the stack canonical. The branch is never taken in real work, so it costs a
    /// comparison and no waiting for its result.
    fn canonical(&mut self, float: Float) {
        let kept = self.floats[float as usize];
        let mut sink = self.sink();
        sink.local_tee(kept).local_get(kept);
        match float {
            Float::F32 => sink.f32_ne().if_(BlockType::Empty).f32_const(f32::from_bits(nan::NAN_32).into()),
            Float::F64 => sink.f64_ne().if_(BlockType::Empty).f64_const(f64::from_bits(nan::NAN_64).into()),
            Float::F32x4 => sink
                .f32x4_ne()
                .v128_any_true()
                .if_(BlockType::Empty)
                .local_get(kept)
                .v128_const(nan::NAN_32X4)
                .local_get(kept)
                .local_get(kept)
                .f32x4_eq()
                .v128_bitselect(),
            Float::F64x2 => sink
                .f64x2_ne()
                .v128_any_true()
                .if_(BlockType::Empty)
                .local_get(kept)
                .v128_const(nan::NAN_64X2)
                .local_get(kept)
                .local_get(kept)
                .f64x2_eq()
                .v128_bitselect(),
        };
        sink.local_set(kept).end().local_get(kept);
    }

    fn charge(&mut self, how: RunStart) {
        let charge = self.next_charge();
        if charge == 0 {
            return;
        }
        let gas = self.gas;
        self.sink().local_get(gas).i64_const(charge).i64_sub();
        match how {
            RunStart::LoopHead => {
                self.sink().local_tee(gas);
                self.refill_below_zero();
            }
            RunStart::Plain | RunStart::BehindBranch => {
                self.sink().local_set(gas);
            }
        }
    }

    /// With gas on the stack: calls for more if it is below zero.
    fn refill_below_zero(&mut self) {
        let (gas, refill) = (self.gas, self.appended.refill);
        self.sink().i64_const(0).i64_lt_s().if_(BlockType::Empty).local_get(gas).call(refill).local_set(gas).end();
    }

    fn flush(&mut self) {
        let (gas, global) = (self.gas, self.appended.gas);
        self.sink().local_get(gas).global_set(global);
    }

    fn next_charge(&mut self) -> i64 {
        let charge = self.shape.charges.get(self.run).copied().unwrap_or_default();
        self.run += 1;
        i64::try_from(charge).unwrap_or(i64::MAX)
    }
}

/// Whether a call gives vectors, on top or below.
fn gives_vectors(operator: &Operator<'_>, validator: &FuncValidator<ValidatorResources>) -> bool {
    let resources = validator.resources();
    let index = match operator {
        Operator::Call { function_index } => resources.type_index_of_function(*function_index),
        Operator::CallIndirect { type_index, .. } => Some(*type_index),
        _ => None,
    };
    let Some(ty) = index.and_then(|index| resources.sub_type_at(index)) else { return false };
    let wasmparser::CompositeInnerType::Func(ty) = &ty.composite_type.inner else { return false };
    ty.results().contains(&ValType::V128)
}

/// For an instruction whose cost grows with the length on top of the stack: by how much the length is shifted down.
fn dynamic(operator: &Operator<'_>) -> Option<i64> {
    match operator {
        Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. } => {
            Some(cost::BULK_SHIFT)
        }
        Operator::TableFill { .. } | Operator::TableCopy { .. } | Operator::TableInit { .. } => Some(0),
        Operator::TableGrow { .. } => Some(0),
        _ => None,
    }
}

/// A block's type is looked at once for every block: its arity must not multiply.
fn bound_block(operator: &Operator<'_>, resources: &ValidatorResources) -> Option<()> {
    let (Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty }) = operator else {
        return Some(());
    };
    let wasmparser::BlockType::FuncType(index) = blockty else { return Some(()) };
    let Some(ty) = resources.sub_type_at(*index) else { return Some(()) };
    let wasmparser::CompositeInnerType::Func(ty) = &ty.composite_type.inner else { return Some(()) };
    (ty.params().len() <= bounds::MOST_RESULTS && ty.results().len() <= bounds::MOST_RESULTS).then_some(())
}

/// What a branch to a label carries; nothing for a label that is not there, which the validator refuses.
fn label_types(validator: &FuncValidator<ValidatorResources>, depth: u32) -> Vec<ValType> {
    let Some(frame) = usize::try_from(depth).ok().and_then(|depth| validator.get_control_frame(depth)) else {
        return Vec::new();
    };
    let is_loop = frame.kind == FrameKind::Loop;
    match frame.block_type {
        wasmparser::BlockType::Empty => Vec::new(),
        wasmparser::BlockType::Type(_) if is_loop => Vec::new(),
        wasmparser::BlockType::Type(ty) => vec![ty],
        wasmparser::BlockType::FuncType(index) => {
            let Some(ty) = validator.resources().sub_type_at(index) else { return Vec::new() };
            let wasmparser::CompositeInnerType::Func(ty) = &ty.composite_type.inner else { return Vec::new() };
            if is_loop { ty.params().to_vec() } else { ty.results().to_vec() }
        }
    }
}

fn invalid_body(number: u32, error: &wasmparser::BinaryReaderError) -> Refusal {
    check::invalid(format!("Function {number} of the kernel is not valid: {error}."))
}
