//! Ways round faults of engines: instructions that an engine gets wrong are written as others that mean the same.
//!
//! Both faults are of wasmi 2.0.0, found by comparing it with wasmtime on random modules, and cost next to nothing on
//! the other engines. Gas is charged for the original instruction.

use wasm_encoder::{InstructionSink, MemArg, MemArgTarget};
use wasmparser::Operator;

/// wasmi 2.0.0 joins a comparison with zero and the `select` behind it, and then takes the condition from a register
/// that nothing was written to: `select(a, b, x == 0)` with `x` in a local gives the wrong one. A mask between the two,
/// which changes nothing, keeps them apart. `compared` remembers the instruction before.
pub fn before_select(operator: &Operator<'_>, compared: &mut bool, sink: &mut InstructionSink<'_>) {
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
pub fn instead(operator: &Operator<'_>, sink: &mut InstructionSink<'_>) -> bool {
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

fn place(memarg: &wasmparser::MemArg) -> MemArg {
    MemArg { offset: memarg.offset, align: u32::from(memarg.align), target: MemArgTarget::Memory(0), ordering: None }
}
