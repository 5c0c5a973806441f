//! Sine, cosine and tangent of any float.
//!
//! libm's own reduction of large angles costs ten times its sine. Here an angle beyond [`SMALL`] is brought into a
//! quarter turn with integers: its 53 bits times those bits of 2/π that matter, modulo four (M. Payne and R. Hanek,
//! "Radian reduction for trigonometric functions", SIGNUM Newsletter 18, 1983). What remains is exact to 2^-62 of
//! itself for every float. All three are within one unit in the last place.

use crate::power::quotient;

/// Angles up to here libm reduces quickly and well: 2^20 quarter turns.
const SMALL: f64 = 1_647_099.0;

/// 2/π in words of 64 bits; the point is behind the first.
const TWO_OVER_PI: [u64; 21] = [
    0,
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
    0xf0cf_bc20_9af4_361d,
];

/// π/2 in units of 2^-63.
const QUARTER: u64 = 0xc90f_daa2_2168_c234;

/// The sine of an angle in radians.
pub fn sin(angle: f64) -> f64 {
    if !is_large(angle) {
        return libm::sin(angle);
    }
    let reduced = reduce(angle);
    match reduced.quarter {
        0 => reduced.sin(),
        1 => reduced.cos(),
        2 => -reduced.sin(),
        _ => -reduced.cos(),
    }
}

/// The cosine of an angle in radians.
pub fn cos(angle: f64) -> f64 {
    if !is_large(angle) {
        return libm::cos(angle);
    }
    let reduced = reduce(angle);
    match reduced.quarter {
        0 => reduced.cos(),
        1 => -reduced.sin(),
        2 => -reduced.cos(),
        _ => reduced.sin(),
    }
}

/// The tangent of an angle in radians.
pub fn tan(angle: f64) -> f64 {
    if !is_large(angle) {
        return libm::tan(angle);
    }
    let reduced = reduce(angle);
    let (sine, cosine) = (reduced.sin_parts(), reduced.cos_parts());
    if reduced.quarter % 2 == 0 { quotient(sine, cosine) } else { -quotient(cosine, sine) }
}

/// Infinities and NaNs are libm's.
fn is_large(angle: f64) -> bool {
    let size = angle.abs();
    size > SMALL && size < f64::INFINITY
}

/// An angle less whole quarter turns: `high + low`, within an eighth of a turn on either side of 0.
struct Reduced {
    quarter: u32,
    high: f64,
    low: f64,
}

impl Reduced {
    fn sin(&self) -> f64 {
        let (first, second) = self.sin_parts();
        first + second
    }

    fn cos(&self) -> f64 {
        let (first, second) = self.cos_parts();
        first + second
    }

    /// The sine as a sum of two, from its Taylor series; what is left out is below 2^-63 of it.
    fn sin_parts(&self) -> (f64, f64) {
        let z = self.high * self.high;
        let series = self.high * z * polynomial(&SINE, z);
        (self.high, self.low * (1.0 - 0.5 * z) - series)
    }

    /// The cosine as a sum of two, from its Taylor series; what is left out is below 2^-58.
    fn cos_parts(&self) -> (f64, f64) {
        let z = self.high * self.high;
        let half = 0.5 * z;
        let most = 1.0 - half;
        let series = z * z * polynomial(&COSINE, z);
        // What rounding took from `most` comes back in the second part.
        (most, (1.0 - most) - half + (series - self.high * self.low))
    }
}

/// The sine's series from its second term on, over -x³: the reciprocals of 3!, 5!, …, 17!.
const SINE: [f64; 8] = [
    1.0 / 6.0,
    -1.0 / 120.0,
    1.0 / 5_040.0,
    -1.0 / 362_880.0,
    1.0 / 39_916_800.0,
    -1.0 / 6_227_020_800.0,
    1.0 / 1_307_674_368_000.0,
    -1.0 / 355_687_428_096_000.0,
];

/// The cosine's series from its third term on, over x⁴: the reciprocals of 4!, 6!, …, 16!.
const COSINE: [f64; 7] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 20_922_789_888_000.0,
];

fn polynomial(coefficients: &[f64], z: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * z + coefficient)
}

/// Takes a finite angle beyond [`SMALL`].
fn reduce(angle: f64) -> Reduced {
    let bits = angle.to_bits();
    // The angle's size is mantissa * 2^exponent, with an exponent from -32 to 971.
    let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1075;
    let [first, second, third] = bits_of_two_over_pi((exponent - 2 + 64) as usize);
    // The lowest 192 bits of the product: the number of quarter turns modulo 4, its point behind the second bit.
    let third = mantissa * u128::from(third);
    let second = mantissa * u128::from(second) + (third >> 64);
    let first = (mantissa as u64).wrapping_mul(first).wrapping_add((second >> 64) as u64);
    let fraction = u128::from(first) << 66 | u128::from(second as u64) << 2 | u128::from(third as u64 >> 62);
    // To the nearest whole number of quarter turns.
    let below = fraction >> 127 == 1;
    let fraction = if below { fraction.wrapping_neg() } else { fraction };
    let quarter = (first >> 62) as u32 + u32::from(below);
    let negative = angle < 0.0;

    let zeros = fraction.leading_zeros();
    let size = u128::from((fraction << zeros >> 64) as u64) * u128::from(QUARTER);
    // In units of 2^-(64 + zeros + 63); the uppermost 53 bits, and the next 53.
    let shift = size.leading_zeros();
    let size = size << shift;
    let unit = 75 - 127 - zeros as i32 - shift as i32;
    let high = (size >> 75) as f64 * power_of_two(unit);
    let low = (size << 53 >> 75) as f64 * power_of_two(unit - 53);
    let sign = if below != negative { -1.0 } else { 1.0 };
    Reduced {
        quarter: (if negative { quarter.wrapping_neg() } else { quarter }) & 3,
        high: sign * high,
        low: sign * low,
    }
}

/// 192 bits from this bit on.
fn bits_of_two_over_pi(from: usize) -> [u64; 3] {
    let (word, shift) = (from / 64, (from % 64) as u32);
    let bits = |i: usize| {
        let pair = u128::from(TWO_OVER_PI[word + i]) << 64 | u128::from(TWO_OVER_PI[word + i + 1]);
        (pair << shift >> 64) as u64
    };
    [bits(0), bits(1), bits(2)]
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}
