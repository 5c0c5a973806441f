//! The exact sum of floats, rounded once at the end.
//!
//! A float sum that rounds at every step depends on the order of its items, so on how a job was cut. Here every item
//! goes into one fixed-point number wide enough for all floats (a "small superaccumulator", R. Neal, "Fast exact
//! summation using small and large superaccumulators", arXiv:1505.05571); the sum is the same for any order and cut.

use alloc::vec::Vec;

/// Limbs of 32 bits, the lowest worth 2^-1074; 2,146 bits hold any float, the rest is room for 2^30 carries and more.
const LIMBS: usize = 69;
/// Additions until a limb could overflow: each adds less than 2^53 to a limb below 2^32.
const ADDITIONS_A_CARRY: u32 = 512;
/// The limb and bit of 2^0.
const ONE: usize = 1074;

/// The sum so far.
#[derive(Clone)]
pub struct FloatSum {
    limbs: [i64; LIMBS],
    since_carry: u32,
    nan: bool,
    positive_infinity: bool,
    negative_infinity: bool,
}

impl Default for FloatSum {
    fn default() -> Self {
        Self::new()
    }
}

impl FloatSum {
    /// Nothing added yet.
    pub const fn new() -> Self {
        Self { limbs: [0; LIMBS], since_carry: 0, nan: false, positive_infinity: false, negative_infinity: false }
    }

    /// Adds one float.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        if exponent == 0x7ff {
            return self.add_special(value);
        }
        let (mantissa, position) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let (limb, shift) = (position / 32, position % 32);
        let low = (mantissa << shift & 0xffff_ffff) as i64;
        let high = (mantissa >> (32 - shift)) as i64;
        let sign = bits as i64 >> 63; // 0, or -1 to negate
        if self.since_carry == ADDITIONS_A_CARRY {
            self.carry();
        }
        self.since_carry += 1;
        self.limbs[limb] += (low ^ sign) - sign;
        self.limbs[limb + 1] += (high ^ sign) - sign;
    }

    #[cold]
    fn add_special(&mut self, value: f64) {
        if value.is_nan() {
            self.nan = true;
        } else if value > 0.0 {
            self.positive_infinity = true;
        } else {
            self.negative_infinity = true;
        }
    }

    /// Adds an integer of three 64-bit limbs in two's complement, lowest first.
    pub fn add_wide(&mut self, value: [u64; 3]) {
        self.carry();
        let negative = value[2] >> 63 == 1;
        let magnitude = if negative { negate(value) } else { value };
        let mut parts = [0u64; 7];
        let shift = ONE % 32;
        for (i, part) in magnitude.iter().flat_map(|limb| [limb & 0xffff_ffff, limb >> 32]).enumerate() {
            parts[i] |= part << shift & 0xffff_ffff;
            parts[i + 1] = part >> (32 - shift);
        }
        for (i, part) in parts.iter().enumerate() {
            self.limbs[ONE / 32 + i] += if negative { -(*part as i64) } else { *part as i64 };
        }
        self.carry();
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &FloatSum) {
        self.carry();
        let mut other = other.clone();
        other.carry();
        for (mine, theirs) in self.limbs.iter_mut().zip(other.limbs) {
            *mine += theirs;
        }
        self.carry();
        self.nan |= other.nan;
        self.positive_infinity |= other.positive_infinity;
        self.negative_infinity |= other.negative_infinity;
    }

    /// The float nearest to the exact sum, ties to even.
    pub fn round(&self) -> f64 {
        self.round_quotient(1)
    }

    /// The float nearest to the exact sum divided by a number that is not 0, ties to even.
    pub fn round_quotient(&self, divisor: u64) -> f64 {
        if self.nan || (self.positive_infinity && self.negative_infinity) {
            return f64::NAN;
        }
        if self.positive_infinity {
            return f64::INFINITY;
        }
        if self.negative_infinity {
            return f64::NEG_INFINITY;
        }
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.limbs[LIMBS - 1] < 0;
        if negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.carry();
        }
        let remainder = divide(&mut sum.limbs, divisor.max(1));
        let magnitude = round_magnitude(&sum.limbs, remainder, divisor.max(1));
        if negative { -magnitude } else { magnitude }
    }

    /// Writes the sum in its one canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut sum = self.clone();
        sum.carry();
        out.push(u8::from(sum.nan) | u8::from(sum.positive_infinity) << 1 | u8::from(sum.negative_infinity) << 2);
        out.extend_from_slice(&sum.limbs[LIMBS - 1].to_le_bytes());
        let low = &sum.limbs[..LIMBS - 1];
        let first = low.iter().position(|limb| *limb != 0).unwrap_or(0);
        let end = low.iter().rposition(|limb| *limb != 0).map_or(0, |last| last + 1);
        out.extend_from_slice(&[first as u8, end as u8]);
        for limb in low.get(first..end).unwrap_or(&[]) {
            out.extend_from_slice(&(*limb as u32).to_le_bytes());
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8], at: &mut usize) -> Option<Self> {
        let mut sum = Self::new();
        let flags = *bytes.get(*at)?;
        if flags > 7 {
            return None;
        }
        sum.nan = flags & 1 != 0;
        sum.positive_infinity = flags & 2 != 0;
        sum.negative_infinity = flags & 4 != 0;
        let top = i64::from_le_bytes(*bytes.get(*at + 1..)?.first_chunk::<8>()?);
        if !(-(1 << 32)..=1 << 32).contains(&top) {
            return None;
        }
        sum.limbs[LIMBS - 1] = top;
        let (first, end) = (usize::from(*bytes.get(*at + 9)?), usize::from(*bytes.get(*at + 10)?));
        *at += 11;
        if end >= LIMBS || first > end {
            return None;
        }
        for limb in &mut sum.limbs[first..end] {
            *limb = i64::from(u32::from_le_bytes(*bytes.get(*at..)?.first_chunk::<4>()?));
            *at += 4;
        }
        Some(sum)
    }

    /// Brings every limb but the top one into 0..2^32.
    fn carry(&mut self) {
        self.since_carry = 0;
        let mut carry = 0;
        for limb in &mut self.limbs[..LIMBS - 1] {
            let whole = *limb + carry;
            *limb = whole & 0xffff_ffff;
            carry = whole >> 32;
        }
        self.limbs[LIMBS - 1] += carry;
    }
}

/// An integer of three limbs, its sign changed.
pub fn negate(value: [u64; 3]) -> [u64; 3] {
    let mut carry = true;
    value.map(|limb| {
        let (negated, over) = (!limb).overflowing_add(u64::from(carry));
        carry = over;
        negated
    })
}

/// Divides a non-negative number whose limbs are carried; what is left over remains in units of the lowest bit.
fn divide(limbs: &mut [i64; LIMBS], divisor: u64) -> u64 {
    if divisor == 1 {
        return 0;
    }
    let divisor = u128::from(divisor);
    limbs.iter_mut().rev().fold(0, |remainder, limb| {
        let whole = remainder << 32 | *limb as u128;
        *limb = (whole / divisor) as i64;
        whole % divisor
    }) as u64
}

/// The float nearest to a non-negative fixed-point number whose limbs are carried, and `remainder / divisor` (below 1) of
/// its lowest bit.
fn round_magnitude(limbs: &[i64; LIMBS], remainder: u64, divisor: u64) -> f64 {
    let top = limbs.iter().rposition(|limb| *limb != 0).unwrap_or(0);
    let high_bit = (top * 32 + 63).saturating_sub(limbs[top].leading_zeros() as usize);
    let bit = |position: usize| (limbs[position / 32] >> (position % 32) & 1) as u64;
    if high_bit < 53 {
        let bits = (0..=high_bit).fold(0, |bits, position| bits | bit(position) << position);
        let twice = u128::from(remainder) * 2;
        let up = twice > u128::from(divisor) || (twice == u128::from(divisor) && bits & 1 == 1);
        return f64::from_bits(bits + u64::from(up));
    }
    if high_bit >= (LIMBS - 1) * 32 {
        return f64::INFINITY;
    }
    let lowest = high_bit - 52;
    let mut mantissa = (0..53).fold(0, |bits, i| bits | bit(lowest + i) << i);
    let half = bit(lowest - 1) == 1;
    let below = lowest - 1;
    let sticky = remainder != 0
        || limbs[..below / 32].iter().any(|limb| *limb != 0)
        || limbs[below / 32] & ((1 << (below % 32)) - 1) != 0;
    if half && (sticky || mantissa & 1 == 1) {
        mantissa += 1;
    }
    // A mantissa of 2^53 carries into the exponent by itself.
    let exponent = lowest as u64 + 1;
    let bits = (exponent << 52) + (mantissa - (1 << 52));
    if bits >= 0x7ff << 52 { f64::INFINITY } else { f64::from_bits(bits) }
}
