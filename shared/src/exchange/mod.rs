//! What our own guests and the host both read and write: values, partial results, errors.
//!
//! These files need only `core` and `alloc`: `kernels/formula` includes them by path, so that a format has one
//! definition and cannot drift apart between the two sides.

pub mod float_sum;
pub mod grid;
pub mod number;
pub mod partial;
pub mod product;
pub mod value;

/// First byte of an output of our own guests: what follows is the result.
pub const STATUS_DONE: u8 = 0;
/// First byte of an output of our own guests: a [`Failure`] code (1 byte) and a position (8 bytes, little-endian) follow.
pub const STATUS_FAILED: u8 = 1;

/// Why a guest of ours gives no result. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Failure {
    /// An integer does not fit 128 bits.
    Overflow = 1,
    /// A division or remainder by zero.
    DivisionByZero = 2,
    /// An integer raised to a negative power.
    NegativeExponent = 3,
    /// `floor`, `ceil`, `round` or `//` of what is near no integer: not a number, or infinite.
    NotAnInteger = 4,
    /// `is_prime` of a number above its proven range.
    PrimeRange = 5,
    /// The input is not what the host writes.
    BadInput = 6,
    /// A text grew beyond its bound.
    TextTooLong = 7,
    /// A matrix has no inverse.
    Singular = 8,
    /// An iteration did not settle.
    NoConvergence = 9,
    /// A matrix has an inverse, but not one that floats can find.
    NearSingular = 10,
}

impl Failure {
    /// The failure of that number.
    pub fn from_code(code: i32) -> Option<Self> {
        const ALL: [Failure; 10] = [
            Failure::Overflow,
            Failure::DivisionByZero,
            Failure::NegativeExponent,
            Failure::NotAnInteger,
            Failure::PrimeRange,
            Failure::BadInput,
            Failure::TextTooLong,
            Failure::Singular,
            Failure::NoConvergence,
            Failure::NearSingular,
        ];
        ALL.into_iter().find(|failure| *failure as i32 == code)
    }
}

/// The longest text that a formula may make, in bytes.
pub const MOST_TEXT_BYTES: usize = 1 << 20;

/// Room for the texts that stand in a job's two formulas, in bytes.
pub const FORMULA_TEXT_BYTES: usize = 32 << 10;
