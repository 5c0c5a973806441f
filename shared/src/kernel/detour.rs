//! Ways round faults of engines: instructions that an engine gets wrong, or slow, are written as others that mean the same.
//!
//! All wrong results are of wasmi 2.0.0, found by comparing it with wasmtime on random modules, and cost next to nothing on
//! the other engines. Gas is charged for the original instruction.

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, InstructionSink, MemArg, MemArgTarget};
use wasmparser::Operator;

/// wasmi 2.0.0 joins a comparison with zero and the `select` behind it, and then takes the condition from a register
/// that nothing was written to: `select(a, b, x == 0)` with `x` in a local gives the wrong one. A mask between the two,
/// which changes nothing, keeps them apart. `compared` remembers the instruction before.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn before_select(operator: &Operator<'_>, compared: &mut bool, sink: &mut InstructionSink<'_>) {
    match operator {
        Operator::Select | Operator::TypedSelect { .. } if *compared => {
            sink.i32_const(1).i32_and();
            *compared = false;
        }
        Operator::I32Eqz | Operator::I32Eq | Operator::I32Ne => *compared = true,
        Operator::Nop => {}
        _ => *compared = false,
    }
}

/// wasmi 2.0.0 misreads its own code for `v128.store8_lane` and `v128.store16_lane` with an offset of 64 KiB and more,
/// and then jumps anywhere. Taking the lane out and storing it is the same. Says whether it wrote something instead.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn instead(operator: &Operator<'_>, sink: &mut InstructionSink<'_>) -> bool {
    match operator {
        Operator::V128Store8Lane { memarg, lane } => {
            sink.i8x16_extract_lane_u(*lane).i32_store8(place(memarg));
        }
        Operator::V128Store16Lane { memarg, lane } => {
            sink.i16x8_extract_lane_u(*lane).i32_store16(place(memarg));
        }
        _ => return false,
    }
    true
}

/// wasmi 2.0.0 forgets, when it enters a `block` or `if` that takes values, to put away what lies in registers below those
/// values. It does so later, at the next block inside; whoever branched out before that finds something else instead. An
/// empty block in front puts everything away in time.
pub(super) fn before_block(operator: &Operator<'_>, sink: &mut InstructionSink<'_>) {
    if let Operator::Block { blockty: wasmparser::BlockType::FuncType(_) }
    | Operator::If { blockty: wasmparser::BlockType::FuncType(_) } = operator
    {
        sink.block(BlockType::Empty).end();
    }
}

/// wasmi 2.0.0 takes other values than those on the stack along a `br_table` whose labels lie at different heights. So a
/// `br_table` that carries values first goes to blocks of ours, one for each label, which all lie at one height; from the
/// end of its block an ordinary branch goes on. `through` is the type of a block that takes the values and gives them
/// back, `index` a local to keep the table's index in.
pub(super) fn branch_with_values(
    labels: &[u32],
    default: u32,
    through: BlockType,
    index: u32,
    sink: &mut InstructionSink<'_>,
) {
    let mut places = BTreeMap::new();
    for label in labels.iter().copied().chain([default]) {
        places.insert(label, 0);
    }
    for (place, of_label) in (0..).zip(places.values_mut()) {
        *of_label = place;
    }
    let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let place = |label: &u32| places.get(label).copied().unwrap_or(0);
    // The empty block is that of [`before_block`].
    sink.local_set(index).block(BlockType::Empty).end();
    (0..count).for_each(|_| {
        sink.block(through);
    });
    sink.local_get(index).br_table(labels.iter().map(place).collect::<Vec<u32>>(), place(&default));
    for (label, place) in &places {
        // Still inside the blocks of the later labels.
        let around = count - 1 - place;
        sink.end().br(label.saturating_add(around));
    }
}

/// Whether the top bit of the `i64` on top of the stack is known to be clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TopBit {
    /// No.
    #[default]
    Unknown,
    /// A shift by the constant on top of the stack would clear it.
    Shift,
    /// It is clear.
    Clear,
}

/// Turning an unsigned 64-bit integer into a float takes compilers a dozen instructions and a branch, a signed one takes one. Where
/// the top bit is clear (a 32-bit number, as LLVM writes it) the two are the same. Says whether it wrote something
/// instead.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn instead_of_unsigned(operator: &Operator<'_>, top: &mut TopBit, sink: &mut InstructionSink<'_>) -> bool {
    let before = std::mem::take(top);
    match operator {
        Operator::I64Const { value: 1..=63 } => *top = TopBit::Shift,
        Operator::I64ShrU if before == TopBit::Shift => *top = TopBit::Clear,
        Operator::I64ExtendI32U => *top = TopBit::Clear,
        Operator::F32ConvertI64U if before == TopBit::Clear => {
            sink.f32_convert_i64_s();
            return true;
        }
        Operator::F64ConvertI64U if before == TopBit::Clear => {
            sink.f64_convert_i64_s();
            return true;
        }
        _ => {}
    }
    false
}

fn place(memarg: &wasmparser::MemArg) -> MemArg {
    let target = match memarg.target {
        wasmparser::MemArgTarget::Memory(index) => MemArgTarget::Memory(index),
        wasmparser::MemArgTarget::Array(index) => MemArgTarget::Array(index),
    };
    MemArg { offset: memarg.offset, align: u32::from(memarg.align), target, ordering: None }
}
