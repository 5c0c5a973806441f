//! Which instructions may give a NaN whose bits differ from engine to engine.

use wasmparser::Operator;

/// A type of float whose NaNs an instruction's result may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Float {
    /// One 32-bit float.
    F32,
    /// One 64-bit float.
    F64,
    /// A vector of four 32-bit floats.
    F32x4,
    /// A vector of two 64-bit floats.
    F64x2,
}

/// Bits of the canonical NaN.
pub(super) const NAN_32: u32 = 0x7fc0_0000;
/// Bits of the canonical NaN.
pub(super) const NAN_64: u64 = 0x7ff8_0000_0000_0000;

/// Four canonical NaNs.
pub(super) const NAN_32X4: i128 = 0x7fc0_0000_7fc0_0000_7fc0_0000_7fc0_0000;
/// Two canonical NaNs.
pub(super) const NAN_64X2: i128 = 0x7ff8_0000_0000_0000_7ff8_0000_0000_0000;

/// The float type of an arithmetic result: the WebAssembly specification leaves sign and payload of its NaNs open.
/// Loads, constants, `abs`, `neg`, `copysign`, `pmin`, `pmax`, `select` and reinterpretations are exact in their bits.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn arithmetic(operator: &Operator<'_>) -> Option<Float> {
    use Operator as O;
    match operator {
        O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max => Some(Float::F32),
        O::F32Sqrt | O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32DemoteF64 => Some(Float::F32),
        O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Min | O::F64Max => Some(Float::F64),
        O::F64Sqrt | O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64PromoteF32 => Some(Float::F64),
        O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F32x4Div | O::F32x4Min | O::F32x4Max => Some(Float::F32x4),
        O::F32x4Sqrt | O::F32x4Ceil | O::F32x4Floor | O::F32x4Trunc | O::F32x4Nearest => Some(Float::F32x4),
        O::F32x4DemoteF64x2Zero => Some(Float::F32x4),
        O::F64x2Add | O::F64x2Sub | O::F64x2Mul | O::F64x2Div | O::F64x2Min | O::F64x2Max => Some(Float::F64x2),
        O::F64x2Sqrt | O::F64x2Ceil | O::F64x2Floor | O::F64x2Trunc | O::F64x2Nearest => Some(Float::F64x2),
        O::F64x2PromoteLowF32x4 => Some(Float::F64x2),
        _ => None,
    }
}

/// The float type of an operand whose NaN is only a NaN to `operator`, whatever its bits: what it gives is the same for
/// any, or is made canonical itself.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn ignores_bits(operator: &Operator<'_>) -> Option<Float> {
    use Operator as O;
    match operator {
        O::F32DemoteF64 => Some(Float::F64),
        O::F64PromoteF32 => Some(Float::F32),
        O::F32x4DemoteF64x2Zero => Some(Float::F64x2),
        O::F64x2PromoteLowF32x4 => Some(Float::F32x4),
        O::F32Eq | O::F32Ne | O::F32Lt | O::F32Gt | O::F32Le | O::F32Ge => Some(Float::F32),
        O::F64Eq | O::F64Ne | O::F64Lt | O::F64Gt | O::F64Le | O::F64Ge => Some(Float::F64),
        O::F32x4Eq | O::F32x4Ne | O::F32x4Lt | O::F32x4Gt | O::F32x4Le | O::F32x4Ge => Some(Float::F32x4),
        O::F64x2Eq | O::F64x2Ne | O::F64x2Lt | O::F64x2Gt | O::F64x2Le | O::F64x2Ge => Some(Float::F64x2),
        O::I32TruncF32S | O::I32TruncF32U | O::I64TruncF32S | O::I64TruncF32U => Some(Float::F32),
        O::I32TruncF64S | O::I32TruncF64U | O::I64TruncF64S | O::I64TruncF64U => Some(Float::F64),
        O::I32TruncSatF32S | O::I32TruncSatF32U | O::I64TruncSatF32S | O::I64TruncSatF32U => Some(Float::F32),
        O::I32TruncSatF64S | O::I32TruncSatF64U | O::I64TruncSatF64S | O::I64TruncSatF64U => Some(Float::F64),
        O::I32x4TruncSatF32x4S | O::I32x4TruncSatF32x4U => Some(Float::F32x4),
        O::I32x4TruncSatF64x2SZero | O::I32x4TruncSatF64x2UZero => Some(Float::F64x2),
        other => arithmetic(other),
    }
}
