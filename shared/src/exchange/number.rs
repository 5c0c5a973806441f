//! Integers of 128 bits beside floats, without a rounding that nobody asked for: quotients, remainders, comparisons.
//!
//! Two numbers are compared, divided and rounded down as the exact numbers that they are. Where the answer is a float, it
//! is the float nearest to the exact answer, halves to even.

use core::cmp::Ordering;

use super::{Failure, float_sum::FloatSum};

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer.
    Integer(i128),
    /// A float, infinities and not-a-number included.
    Float(f64),
}

/// `magnitude * 2^exponent`, without the sign; magnitudes are at most 2^127.
#[derive(Clone, Copy)]
struct Parts {
    magnitude: u128,
    exponent: i32,
}

impl Number {
    /// `None` for infinities and not-a-number.
    fn parts(self) -> Option<Parts> {
        match self {
            Number::Integer(value) => Some(Parts { magnitude: value.unsigned_abs(), exponent: 0 }),
            Number::Float(value) => {
                let bits = value.to_bits();
                let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, u128::from(bits & ((1 << 52) - 1)));
                let (magnitude, exponent) = match exponent {
                    0x7ff => return None,
                    0 => (fraction, -1074),
                    1.. | ..0 => (fraction | 1 << 52, exponent - 1075),
                };
                Some(Parts { magnitude, exponent })
            }
        }
    }

    fn is_zero(self) -> bool {
        match self {
            Number::Integer(value) => value == 0,
            Number::Float(value) => value == 0.0,
        }
    }

    fn is_negative(self) -> bool {
        match self {
            Number::Integer(value) => value < 0,
            Number::Float(value) => value.is_sign_negative(),
        }
    }

    fn is_nan(self) -> bool {
        match self {
            Number::Integer(_) => false,
            Number::Float(value) => value.is_nan(),
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Number::Integer(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

/// The exact quotient rounded down to an integer.
///
/// Fails where the divisor is zero, where a number is not a number, where the dividend is infinite, and where the result
/// does not fit 128 bits. What is finite, divided by an infinity, is 0 or just below it.
pub fn floor_quotient(a: Number, b: Number) -> Result<i128, Failure> {
    if b.is_zero() {
        return Err(Failure::DivisionByZero);
    }
    let (Some(dividend), false) = (a.parts(), b.is_nan()) else { return Err(Failure::NotAnInteger) };
    let negative = a.is_negative() != b.is_negative();
    let (quotient, rest) = match b.parts() {
        Some(divisor) => divide(dividend, divisor).ok_or(Failure::Overflow)?,
        None => (0, dividend.magnitude),
    };
    if !negative {
        return i128::try_from(quotient).map_err(|_| Failure::Overflow);
    }
    let below = quotient.checked_add(u128::from(rest != 0)).ok_or(Failure::Overflow)?;
    0i128.checked_sub_unsigned(below).ok_or(Failure::Overflow)
}

/// The quotient of the magnitudes rounded down, and what is left (of it, only whether it is zero means anything); `None`
/// beyond 128 bits. The divisor is not zero.
fn divide(a: Parts, b: Parts) -> Option<(u128, u128)> {
    if a.magnitude == 0 {
        return Some((0, 0));
    }
    let shift = a.exponent - b.exponent;
    if shift < 0 {
        let Some(divisor) = shifted(b.magnitude, shift.unsigned_abs()) else { return Some((0, a.magnitude)) };
        return Some((a.magnitude / divisor, a.magnitude % divisor));
    }
    let (mut quotient, mut rest) = (a.magnitude / b.magnitude, a.magnitude % b.magnitude);
    let mut left = shift.unsigned_abs();
    while left > 0 {
        // Below 2^127, so that it moves by a bit at least.
        let step = left.min(rest.leading_zeros());
        if quotient != 0 && quotient.leading_zeros() < step {
            return None;
        }
        let whole = moved(rest, step);
        quotient = moved(quotient, step) | (whole / b.magnitude);
        rest = whole % b.magnitude;
        left -= step;
        if rest == 0 {
            return shifted(quotient, left).map(|quotient| (quotient, 0));
        }
    }
    Some((quotient, rest))
}

/// `value << bits`; `None` where a bit is lost.
fn shifted(value: u128, bits: u32) -> Option<u128> {
    if value == 0 {
        return Some(0);
    }
    (bits <= value.leading_zeros()).then(|| moved(value, bits))
}

/// `value << bits` of a value that has room.
fn moved(value: u128, bits: u32) -> u128 {
    value.checked_shl(bits).unwrap_or(0)
}

/// `a - floor(a / b) * b`, rounded once: it has the divisor's sign, a zero too. The divisor is not zero.
pub fn remainder(a: Number, b: Number) -> f64 {
    let (Some(dividend), false) = (a.parts(), b.is_nan()) else { return f64::NAN };
    let Some(divisor) = b.parts() else {
        let same = dividend.magnitude == 0 || a.is_negative() == b.is_negative();
        return if !same { b.as_float() } else { a.as_float().abs().copysign(b.as_float()) };
    };
    let (rest, exponent) = rest_of(dividend, divisor);
    if rest == 0 {
        return 0f64.copysign(b.as_float());
    }
    // What is left of a division toward zero has the dividend's sign.
    if a.is_negative() == b.is_negative() && rest < 1 << 53 {
        return signed(scaled(rest as f64, exponent), a.is_negative());
    }
    let mut sum = FloatSum::new();
    if a.is_negative() != b.is_negative() {
        add(&mut sum, b);
    }
    match exponent {
        0 => add_integer(&mut sum, a.is_negative(), rest),
        _ => sum.add(signed(scaled(rest as f64, exponent), a.is_negative())),
    }
    sum.round()
}

/// `|a| mod |b|` as a magnitude and its exponent: below 2^53, or an integer (exponent 0).
fn rest_of(a: Parts, b: Parts) -> (u128, i32) {
    let shift = a.exponent - b.exponent;
    if shift < 0 {
        let divisor = shifted(b.magnitude, shift.unsigned_abs());
        return (divisor.map_or(a.magnitude, |divisor| a.magnitude % divisor), a.exponent);
    }
    let mut rest = a.magnitude % b.magnitude;
    let mut left = shift.unsigned_abs();
    while left > 0 && rest != 0 {
        let step = left.min(rest.leading_zeros());
        rest = moved(rest, step) % b.magnitude;
        left -= step;
    }
    (rest, b.exponent)
}

fn add(sum: &mut FloatSum, number: Number) {
    match number {
        Number::Integer(value) => add_integer(sum, value < 0, value.unsigned_abs()),
        Number::Float(value) => sum.add(value),
    }
}

fn add_integer(sum: &mut FloatSum, negative: bool, magnitude: u128) {
    let words = [magnitude as u64, (magnitude >> 64) as u64, 0];
    sum.add_wide(if negative { super::float_sum::negate(words) } else { words });
}

fn signed(value: f64, negative: bool) -> f64 {
    if negative { -value } else { value }
}

/// `value * 2^exponent`, for what is exact.
fn scaled(mut value: f64, mut exponent: i32) -> f64 {
    while exponent != 0 {
        let step = exponent.clamp(-1000, 1000);
        value *= f64::from_bits(((1023 + step) as u64) << 52);
        exponent -= step;
    }
    value
}

/// The float nearest to the exact quotient of two integers, halves to even; the divisor is not zero.
pub fn quotient(a: i128, b: i128) -> f64 {
    const EXACT: u128 = 1 << 53;
    let (dividend, divisor) = (a.unsigned_abs(), b.unsigned_abs());
    if dividend <= EXACT && divisor <= EXACT {
        return a as f64 / b as f64;
    }
    if divisor == 0 {
        return f64::NAN;
    }
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    let mut exponent = 0;
    // 55 bits and whether anything is below them decide how 53 are rounded.
    while rest != 0 && 128 - quotient.leading_zeros() < 55 {
        let step = rest.leading_zeros().min(64);
        let whole = moved(rest, step);
        quotient = moved(quotient, step) | (whole / divisor);
        rest = whole % divisor;
        exponent -= step as i32;
    }
    let magnitude = scaled((quotient | u128::from(rest != 0)) as f64, exponent);
    // A zero has a sign as well, as in floats: 0 divided by what is negative is -0.0.
    signed(magnitude, (a < 0) != (b < 0))
}

/// How an integer lies to a float, exactly; `None` beside not-a-number.
pub fn compare(integer: i128, float: f64) -> Option<Ordering> {
    const LIMIT: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0; // 2^127
    if float.is_nan() {
        return None;
    }
    if float >= LIMIT {
        return Some(Ordering::Less);
    }
    if float < -LIMIT {
        return Some(Ordering::Greater);
    }
    let whole = float as i128; // toward zero
    let fraction = float - whole as f64;
    Some(integer.cmp(&whole).then(if fraction > 0.0 {
        Ordering::Less
    } else if fraction < 0.0 {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_is_rounded_down_from_the_exact_one() {
        use Number::{Float as F, Integer as I};
        for (a, b, expected) in [
            (F(1.0), F(0.1), Ok(9)),
            (F(-49.7), F(0.1), Ok(-498)),
            (F(0.3), F(0.1), Ok(2)),
            (I(1), F(0.1), Ok(9)),
            (F(6.0), I(-4), Ok(-2)),
            (I((1 << 53) + 1), F(1.0), Ok((1 << 53) + 1)),
            (I(i128::MIN), F(1.0), Ok(i128::MIN)),
            (I(i128::MIN), F(-1.0), Err(Failure::Overflow)),
            (F(1e300), F(1.0), Err(Failure::Overflow)),
            (F(1.0), F(5e-324), Err(Failure::Overflow)),
            (F(5e-324), F(1.0), Ok(0)),
            (F(-5e-324), F(1e308), Ok(-1)),
            (F(-5e-324), I(i128::MAX), Ok(-1)),
            (F(5e-324), F(5e-324), Ok(1)),
            (F(-0.0), F(3.0), Ok(0)),
            (F(-0.0), F(f64::NEG_INFINITY), Ok(0)),
            (F(1.0), F(f64::INFINITY), Ok(0)),
            (I(-1), F(f64::INFINITY), Ok(-1)),
            (F(f64::INFINITY), F(1.0), Err(Failure::NotAnInteger)),
            (F(f64::NAN), I(1), Err(Failure::NotAnInteger)),
            (I(1), F(f64::NAN), Err(Failure::NotAnInteger)),
            (I(1), F(-0.0), Err(Failure::DivisionByZero)),
            (F(1e38), F(0.75), Ok(133_333_333_333_333_330_331_746_431_274_712_039_424)),
            (F(f64::MAX), F(f64::MAX), Ok(1)),
        ] {
            assert_eq!(floor_quotient(a, b), expected, "{a:?} // {b:?}");
        }
    }

    #[test]
    fn a_remainder_has_the_divisors_sign_and_is_rounded_once() {
        use Number::{Float as F, Integer as I};
        for (a, b, expected) in [
            (F(1.0), F(0.1), 0.099_999_999_999_999_95),
            (F(-6.0), F(3.0), 0.0),
            (F(6.0), F(-3.0), -0.0),
            (F(-1e-20), F(1.0), 1.0),
            (F(1e300), F(7.0), 1.0),
            (I((1 << 53) + 1), F(2.0), 1.0),
            (I(-(1 << 53) - 1), F(4.0), 3.0),
            (I(i128::MIN), F(3.0), 1.0),
            (I(i128::MAX), F(1e300), 1.701_411_834_604_692_3e38),
            (I(i128::MAX), F(-1e300), -1e300),
            (I(-1), F(f64::INFINITY), f64::INFINITY),
            (F(-0.0), F(f64::INFINITY), 0.0),
            (I(5), F(f64::NEG_INFINITY), f64::NEG_INFINITY),
            (F(5e-324), I(-(1 << 100)), -(2f64.powi(100))),
            (F(5e-324), I(7), 5e-324),
            (F(1e22), I((1 << 64) + 1), 1_864_712_049_423_023_600.0),
        ] {
            let rest = remainder(a, b);
            assert_eq!(rest.to_bits(), expected.to_bits(), "{a:?} % {b:?} is {rest:?}, not {expected:?}");
        }
        assert!(remainder(F(f64::INFINITY), F(1.0)).is_nan());
        assert!(remainder(I(1), F(f64::NAN)).is_nan());
    }

    #[test]
    fn integers_are_divided_with_one_rounding() {
        for (a, b, expected) in [
            (10i128.pow(30), 3, 3.333_333_333_333_333e29),
            (i128::MIN, i128::MIN, 1.0),
            (i128::MIN, -1, 2f64.powi(127)),
            (i128::MAX, i128::MIN, -1.0),
            ((1 << 54) + 2, 2, 9_007_199_254_740_992.0),
            ((1 << 54) + 6, 2, 9_007_199_254_740_996.0),
            (1, i128::MAX, 5.877_471_754_111_438e-39),
            (0, i128::MIN, -0.0),
            (0, -5, -0.0),
            (0, -(1 << 53) - 1, -0.0),
            (0, i128::MAX, 0.0),
            (9_007_199_254_740_993, 9_007_199_254_740_992, 1.0),
        ] {
            assert_eq!(quotient(a, b).to_bits(), expected.to_bits(), "{a} / {b} is {:?}", quotient(a, b));
        }
    }

    #[test]
    fn integers_lie_exactly_beside_floats() {
        for (integer, float, expected) in [
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Some(Ordering::Greater)),
            (9_007_199_254_740_991, 9_007_199_254_740_992.0, Some(Ordering::Less)),
            (i128::MAX, 2f64.powi(127), Some(Ordering::Less)),
            (i128::MIN, -(2f64.powi(127)), Some(Ordering::Equal)),
            (i128::MIN, -f64::MAX, Some(Ordering::Greater)),
            (i128::MIN, f64::NEG_INFINITY, Some(Ordering::Greater)),
            (i128::MAX, f64::INFINITY, Some(Ordering::Less)),
            (0, -0.0, Some(Ordering::Equal)),
            (0, 5e-324, Some(Ordering::Less)),
            (0, -5e-324, Some(Ordering::Greater)),
            (-2, -2.5, Some(Ordering::Greater)),
            (-3, -2.5, Some(Ordering::Less)),
            (0, f64::NAN, None),
        ] {
            assert_eq!(compare(integer, float), expected, "{integer} beside {float}");
        }
    }
}
