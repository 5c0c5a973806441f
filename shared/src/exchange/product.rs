//! A product that does not depend on the order of its factors.
//!
//! Integers: the exact product, as sign and magnitude; a magnitude of non-zero factors only grows, so an overflow in a
//! part is an overflow of the whole, and a zero anywhere makes the whole zero. Floats: a 128-bit mantissa with its own
//! exponent, which never overflows on the way; its error stays under 2^-100, far below the one rounding at the end.

use alloc::vec::Vec;

/// The product so far.
#[derive(Clone)]
pub struct Product {
    /// Product of the integer factors that are not zero; `None` once it left 128 bits.
    magnitude: Option<u128>,
    /// Whether a factor (integer or float) was zero.
    zero: bool,
    /// Whether the product is negative.
    negative: bool,
    /// Whether a factor was a float.
    float: bool,
    /// Whether a factor was infinite.
    infinite: bool,
    /// Whether a factor was not a number.
    nan: bool,
    /// Product of all factors: `mantissa * 2^exponent`, highest bit set.
    mantissa: u128,
    exponent: i64,
}

impl Default for Product {
    fn default() -> Self {
        Self::new()
    }
}

impl Product {
    /// No factor yet: one.
    pub const fn new() -> Self {
        Self {
            magnitude: Some(1),
            zero: false,
            negative: false,
            float: false,
            infinite: false,
            nan: false,
            mantissa: 1 << 127,
            exponent: -127,
        }
    }

    /// Multiplies by an integer.
    pub fn by_integer(&mut self, factor: i128) {
        self.negative ^= factor < 0;
        let factor = factor.unsigned_abs();
        if factor == 0 {
            self.zero = true;
            return;
        }
        self.magnitude = self.magnitude.and_then(|magnitude| magnitude.checked_mul(factor));
        self.by_wide(factor, 0);
    }

    /// Multiplies by a float.
    pub fn by_float(&mut self, factor: f64) {
        self.float = true;
        self.negative ^= factor.is_sign_negative() && !factor.is_nan();
        let bits = factor.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
        match (exponent, fraction) {
            (0, 0) => self.zero = true,
            (0x7ff, 0) => self.infinite = true,
            (0x7ff, 1..) => self.nan = true,
            (0, 1..) => self.by_wide(u128::from(fraction), -1074),
            (_, _) => self.by_wide(u128::from(fraction | 1 << 52), exponent - 1075),
        }
    }

    fn by_wide(&mut self, factor: u128, exponent: i64) {
        let shift = factor.leading_zeros();
        let factor = factor << shift;
        let (high, low) = (high_half(self.mantissa, factor), self.mantissa.wrapping_mul(factor));
        self.exponent += exponent - i64::from(shift) + 128;
        self.mantissa = high;
        if high >> 127 == 0 {
            self.mantissa = high << 1 | low >> 127;
            self.exponent -= 1;
        }
    }

    /// Multiplies by another product.
    pub fn merge(&mut self, other: &Product) {
        self.magnitude = match (self.magnitude, other.magnitude) {
            (Some(mine), Some(theirs)) => mine.checked_mul(theirs),
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        self.zero |= other.zero;
        self.negative ^= other.negative;
        self.float |= other.float;
        self.infinite |= other.infinite;
        self.nan |= other.nan;
        self.by_wide(other.mantissa, other.exponent);
    }

    /// Whether a factor was a float, so that [`Self::as_float`] is the result.
    pub fn is_float(&self) -> bool {
        self.float
    }

    /// The exact product of integers; `None` if it does not fit 128 bits.
    pub fn as_integer(&self) -> Option<i128> {
        if self.zero {
            return Some(0);
        }
        let magnitude = self.magnitude?;
        if self.negative { 0i128.checked_sub_unsigned(magnitude) } else { i128::try_from(magnitude).ok() }
    }

    /// The product rounded to a float.
    pub fn as_float(&self) -> f64 {
        if self.nan || (self.zero && self.infinite) {
            return f64::NAN;
        }
        let magnitude = if self.infinite {
            f64::INFINITY
        } else if self.zero {
            0.0
        } else {
            round(self.mantissa, self.exponent)
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// Writes the product.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = [self.zero, self.negative, self.float, self.infinite, self.nan, self.magnitude.is_some()];
        out.push(flags.iter().enumerate().fold(0, |byte, (i, flag)| byte | u8::from(*flag) << i));
        out.extend_from_slice(&self.magnitude.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.mantissa.to_le_bytes());
        out.extend_from_slice(&self.exponent.to_le_bytes());
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8], at: &mut usize) -> Option<Self> {
        let whole = bytes.get(*at..)?.first_chunk::<41>()?;
        *at += 41;
        let flag = |i: u8| whole[0] >> i & 1 == 1;
        let magnitude = u128::from_le_bytes(*whole[1..].first_chunk()?);
        let mantissa = u128::from_le_bytes(*whole[17..].first_chunk()?);
        let exponent = i64::from_le_bytes(*whole[33..].first_chunk()?);
        if whole[0] >= 64 || mantissa >> 127 == 0 || exponent.unsigned_abs() > 1 << 52 {
            return None;
        }
        Some(Self {
            magnitude: flag(5).then_some(magnitude),
            zero: flag(0),
            negative: flag(1),
            float: flag(2),
            infinite: flag(3),
            nan: flag(4),
            mantissa,
            exponent,
        })
    }
}

/// The upper 128 bits of a 256-bit product.
fn high_half(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let middle = a_high * b_low + ((a_low * b_low) >> 64);
    let other = a_low * b_high + (middle & LOW);
    a_high * b_high + (middle >> 64) + (other >> 64)
}

/// `mantissa * 2^exponent` as the nearest float, ties to even; the mantissa's highest bit is set.
fn round(mantissa: u128, exponent: i64) -> f64 {
    // The value lies in [2^(exponent + 127), 2^(exponent + 128)).
    let power = exponent + 127;
    if power > 1023 {
        return f64::INFINITY;
    }
    if power < -1075 {
        return 0.0;
    }
    let kept = if power < -1022 { 53 - (-1022 - power) } else { 53 };
    let dropped = (128 - kept) as u32;
    let (mut bits, rest) =
        if dropped == 128 { (0, mantissa) } else { ((mantissa >> dropped) as u64, mantissa << (128 - dropped)) };
    const HALF: u128 = 1 << 127;
    if rest > HALF || (rest == HALF && bits & 1 == 1) {
        bits += 1;
    }
    // Normal numbers: the implicit bit adds one to the exponent field; a carry does so by itself.
    let field = if power < -1022 { 0 } else { (power + 1022) as u64 };
    let whole = (field << 52) + bits;
    if whole >= 0x7ff << 52 { f64::INFINITY } else { f64::from_bits(whole) }
}
