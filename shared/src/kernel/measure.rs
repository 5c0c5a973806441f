//! The first pass over a function body: validates it and learns what the second ([`super::body`]) needs to know.

use std::collections::BTreeSet;

use wasm_encoder::BlockType;
use wasmparser::{FrameKind, FuncValidator, FunctionBody, Operator, ValType, ValidatorResources, WasmModuleResources};

use super::{
    bounds, check, cost,
    features::{self, invalid_body},
    flow::{Runs, TooDeep, Walker},
    lazy::Plan,
    nan,
};
use crate::refusal::{Code, Refusal};

/// When what arithmetic gives is made canonical. What a kernel can see is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nans {
    /// Where somebody looks at its bits: what engines get.
    #[default]
    Late,
    /// At once, for tests to compare with.
    Eager,
}

/// What the first pass learns of a body.
pub(super) struct Shape {
    /// One charge a run.
    pub charges: Vec<u64>,
    /// Calls other functions.
    pub calls: bool,
    /// Gas is kept in a local.
    pub counts: bool,
    /// Calls no other function, and yet could take so much gas that it looks at its entry whether there is any.
    pub looks: bool,
    /// Weight of the frame in bytes.
    pub frame: u64,
    /// Needs an `i32` to keep a length or an index in.
    pub lengths: bool,
    /// Where NaNs are made canonical.
    pub plan: Plan,
    /// Float types of which a value on the operand stack is made canonical.
    pub floats: [bool; 4],
    /// Which of its loops take no values and hold no other loop and nothing that calls or is made a call, in order.
    pub leaves: Vec<bool>,
    /// Locals that each of its loops names, outside loops within.
    pub named: Vec<Named>,
    /// Types of parameters and locals.
    pub types: Vec<ValType>,
    /// Parameters and locals.
    pub locals: u32,
    /// For each `br_table` that is not dead, the type of a block that its values pass through; `None` if it has none.
    pub tables: Vec<Option<BlockType>>,
}

/// Gives the type of a block that takes these values and gives them back.
pub(super) type Through<'a> = &'a mut dyn FnMut(&[ValType]) -> Result<BlockType, Refusal>;

/// In a longer body no loop gets another around it: what is written for each is many times the shortest loop, and V8 refuses
/// functions of more than 7 MB.
const MOST_DOUBLED_BYTES: u64 = 256 << 10;

/// Locals that go round a call in globals, at most.
pub(super) const MOST_SHELVED: usize = 40;

/// Locals that a loop names.
pub(super) struct Named {
    /// Open blocks at its head.
    nesting: usize,
    /// Control has come from the head without a branch.
    is_straight: bool,
    /// Read from the round before, as far as is seen.
    pub carried: BTreeSet<u32>,
    /// Written before anything else, so that nothing of the round before is needed.
    fresh: BTreeSet<u32>,
}

impl Named {
    fn new(nesting: usize) -> Self {
        Self { nesting, is_straight: true, carried: BTreeSet::new(), fresh: BTreeSet::new() }
    }

    fn name(&mut self, local: u32, reads: bool, nesting: usize) {
        if self.carried.len() > MOST_SHELVED || self.fresh.contains(&local) || self.carried.contains(&local) {
            return;
        }
        let is_fresh = !reads && self.is_straight && nesting == self.nesting;
        if is_fresh {
            self.fresh.insert(local)
        } else {
            self.carried.insert(local)
        };
    }
}

/// Validates `body` and measures it.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn measure(
    nans: Nans,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    parameters: u32,
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
        looks: false,
        frame: 0,
        lengths: false,
        plan: Plan::default(),
        floats: [false; 4],
        leaves: Vec::new(),
        named: Vec::new(),
        types: (0..locals).map(|local| validator.get_local_type(local).unwrap_or(ValType::I32)).collect(),
        locals,
        tables: Vec::new(),
    };
    // Of each open block, the loop that it is in or is.
    let mut inside: Vec<Option<usize>> = vec![None];
    let mut heights = Vec::new();
    let mut has_floats = false;
    let mut walker = Walker::new();
    let mut runs = Runs::new();
    let mut height = 0;
    let mut vectors = (0..locals).any(|local| validator.get_local_type(local) == Some(ValType::V128));
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset().map_err(broken)?;
        features::exception(number, &operator)?;
        bound_labels(number, &operator)?;
        bound_block(&operator, validator.resources()).ok_or_else(|| {
            check::invalid(format!("A block in function {number} of the kernel has too many parameters or results."))
        })?;
        let carried = match &operator {
            Operator::BrTable { targets } => label_types(validator, targets.default()),
            _ => Vec::new(),
        };
        validator.op(offset, &operator).map_err(broken)?;
        height = height.max(validator.operand_stack_height());
        heights.push(validator.operand_stack_height());
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
        let around = inside.last().copied().flatten();
        match &operator {
            Operator::Block { .. } | Operator::If { .. } => inside.push(around),
            Operator::Loop { blockty } => {
                inside.push(Some(shape.leaves.len()));
                // Two loops that hand values on would be one more thing for wasmi to get wrong; compilers write none.
                let takes_values = matches!(blockty, wasmparser::BlockType::FuncType(_));
                shape.leaves.push(!takes_values && range.end - range.start <= MOST_DOUBLED_BYTES);
                shape.named.push(Named::new(inside.len()));
            }
            Operator::End => drop(inside.pop()),
            Operator::LocalGet { local_index }
            | Operator::LocalSet { local_index }
            | Operator::LocalTee { local_index } => {
                let reads = matches!(operator, Operator::LocalGet { .. });
                if let Some(named) = around.and_then(|around| shape.named.get_mut(around)) {
                    named.name(*local_index, reads, inside.len());
                }
            }
            Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => {
                if let Some(named) = around.and_then(|around| shape.named.get_mut(around)) {
                    named.is_straight = false;
                }
            }
            _ => {}
        }
        let calls = matches!(
            operator,
            Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::MemoryGrow { .. }
                | Operator::Loop { .. }
        );
        if let (true, Some(leaf)) =
            (calls || dynamic(&operator).is_some(), around.and_then(|around| shape.leaves.get_mut(around)))
        {
            *leaf = false;
        }
        match &operator {
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => shape.calls = true,
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
        if nan::arithmetic(&operator).is_some() {
            has_floats = true;
        }
        // Wherever a vector comes from, it is on top of the stack then, or among what a call gave.
        vectors |= validator.get_operand_type(0) == Some(Some(ValType::V128)) || gives_vectors(&operator, validator);
        if let Some(how) = step.starts {
            runs.start(how);
        }
    }
    operators.finish().map_err(broken)?;
    if has_floats {
        shape.plan = match nans {
            Nans::Late => Plan::late(body, validator, &shape.types, parameters, &heights),
            Nans::Eager => Plan::eager(body),
        };
        shape.floats = shape.plan.floats();
    }
    shape.charges = runs.finish();
    shape.counts |= shape.calls || shape.charges.iter().skip(1).any(|charge| *charge > 0);
    shape.looks = !shape.calls && shape.charges.iter().copied().fold(0, u64::saturating_add) > bounds::MOST_UNSEEN_GAS;
    let slot = if vectors { bounds::VECTOR_SLOT_BYTES } else { bounds::SLOT_BYTES };
    shape.frame = bounds::FRAME_BYTES + slot * (u64::from(locals) + u64::from(height));
    if shape.frame > bounds::MOST_FRAME_BYTES {
        return Err(check::invalid(format!("Function {number} of the kernel needs a frame of {} bytes.", shape.frame)));
    }
    Ok(shape)
}

/// Whether a call gives vectors, on top or below.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
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
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn dynamic(operator: &Operator<'_>) -> Option<i64> {
    match operator {
        Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. } => {
            Some(cost::BULK_SHIFT)
        }
        Operator::TableFill { .. } | Operator::TableCopy { .. } | Operator::TableInit { .. } => Some(0),
        Operator::TableGrow { .. } => Some(0),
        _ => None,
    }
}

/// V8 refuses a branch table with more labels.
fn bound_labels(number: u32, operator: &Operator<'_>) -> Result<(), Refusal> {
    let Operator::BrTable { targets } = operator else { return Ok(()) };
    if targets.len() <= bounds::MOST_LABELS {
        return Ok(());
    }
    Err(Refusal::new(
        Code::TooLarge,
        format!(
            "A branch table in function {number} of the kernel has {} labels; browsers take at most {}.",
            targets.len(),
            bounds::MOST_LABELS
        ),
        "Write the `switch` with fewer cases side by side, or build it with `-fno-jump-tables`.",
    ))
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
