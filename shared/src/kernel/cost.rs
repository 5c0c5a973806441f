//! The cost table: how much gas each instruction takes.
//!
//! The unit is one simple instruction on a compiling engine. Charges are for straight runs of instructions, taken when
//! a run is entered, so a run that is left in its middle (by a trap) has been paid whole. A short run behind a
//! conditional branch ([`SHORT_RUN`]) is paid with the run before it, taken or not. What changes here or in how runs are formed
//! changes rewritten kernels, and with them [`super::REWRITE_VERSION`].

use wasmparser::Operator;

/// Entering a function, beside the cost of the call.
pub(super) const ENTRY: u64 = 2;
/// Going round a loop, so that no loop is free.
pub(super) const LOOP: u64 = 1;
/// Gas that all runs behind conditional branches may add to the run before them.
pub(super) const SHORT_RUN: u64 = 12;
/// `memory.fill`, `memory.copy` and `memory.init` cost one for each `1 << BULK_SHIFT` bytes, beside [`BULK`].
pub(super) const BULK_SHIFT: i64 = 2;
/// A page of memory that is grown: zeroing it, and the faults of touching it.
pub(super) const PAGE: i64 = 16_384;

const SIMPLE: u64 = 1;
const MEMORY: u64 = 2;
const GLOBAL: u64 = 2;
const CALL: u64 = 4;
const CALL_INDIRECT: u64 = 8;
const DIVISION: u64 = 8;
const BRANCH_TABLE: u64 = 4;
const BULK: u64 = 16;
const GROW: u64 = 64;

/// What one execution of `operator` costs, beside what depends on a length.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn of(operator: &Operator<'_>) -> u64 {
    use Operator as O;
    match operator {
        O::Block { .. } | O::Loop { .. } | O::Else | O::End | O::Nop | O::Drop => 0,

        O::Call { .. } | O::ReturnCall { .. } => CALL,
        O::CallIndirect { .. } | O::ReturnCallIndirect { .. } => CALL_INDIRECT,
        O::BrTable { .. } => BRANCH_TABLE,
        O::GlobalGet { .. } | O::GlobalSet { .. } => GLOBAL,

        O::I32DivS | O::I32DivU | O::I32RemS | O::I32RemU | O::I64DivS | O::I64DivU | O::I64RemS | O::I64RemU => {
            DIVISION
        }
        O::F32Div | O::F64Div | O::F32Sqrt | O::F64Sqrt => DIVISION,
        O::F32x4Div | O::F64x2Div | O::F32x4Sqrt | O::F64x2Sqrt => DIVISION,

        O::I32Load { .. } | O::I64Load { .. } | O::F32Load { .. } | O::F64Load { .. } | O::V128Load { .. } => MEMORY,
        O::I32Load8S { .. } | O::I32Load8U { .. } | O::I32Load16S { .. } | O::I32Load16U { .. } => MEMORY,
        O::I64Load8S { .. } | O::I64Load8U { .. } | O::I64Load16S { .. } | O::I64Load16U { .. } => MEMORY,
        O::I64Load32S { .. } | O::I64Load32U { .. } => MEMORY,
        O::I32Store { .. } | O::I64Store { .. } | O::F32Store { .. } | O::F64Store { .. } | O::V128Store { .. } => {
            MEMORY
        }
        O::I32Store8 { .. } | O::I32Store16 { .. } => MEMORY,
        O::I64Store8 { .. } | O::I64Store16 { .. } | O::I64Store32 { .. } => MEMORY,
        O::V128Load8x8S { .. } | O::V128Load8x8U { .. } | O::V128Load16x4S { .. } | O::V128Load16x4U { .. } => MEMORY,
        O::V128Load32x2S { .. } | O::V128Load32x2U { .. } => MEMORY,
        O::V128Load8Splat { .. } | O::V128Load16Splat { .. } | O::V128Load32Splat { .. } => MEMORY,
        O::V128Load64Splat { .. } | O::V128Load32Zero { .. } | O::V128Load64Zero { .. } => MEMORY,
        O::V128Load8Lane { .. } | O::V128Load16Lane { .. } | O::V128Load32Lane { .. } => MEMORY,
        O::V128Load64Lane { .. } | O::V128Store8Lane { .. } | O::V128Store16Lane { .. } => MEMORY,
        O::V128Store32Lane { .. } | O::V128Store64Lane { .. } => MEMORY,
        O::TableGet { .. } | O::TableSet { .. } | O::TableSize { .. } => MEMORY,

        O::MemoryFill { .. } | O::MemoryCopy { .. } | O::MemoryInit { .. } | O::DataDrop { .. } => BULK,
        O::TableFill { .. } | O::TableCopy { .. } | O::TableInit { .. } | O::ElemDrop { .. } => BULK,
        O::MemoryGrow { .. } | O::TableGrow { .. } => GROW,

        // Constants, locals, comparisons, integer and float arithmetic, conversions, vector operations, branches.
        _ => SIMPLE,
    }
}
