//! What a reduction knows of a part of its items: enough to merge parts in any order and cut into the same result.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{float_sum::FloatSum, number::compare, product::Product, value::CANONICAL_NAN};

/// How items become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Reduce {
    /// Their sum; 0 of none.
    Sum = 0,
    /// Their product; 1 of none.
    Product = 1,
    /// The smallest; nothing of none.
    Min = 2,
    /// The largest; nothing of none.
    Max = 3,
    /// How many there are.
    Count = 4,
    /// Their sum divided by their count, a float; nothing of none.
    Average = 5,
}

impl Reduce {
    /// The reduction of that number.
    pub fn from_code(code: i32) -> Option<Self> {
        const ALL: [Reduce; 6] =
            [Reduce::Sum, Reduce::Product, Reduce::Min, Reduce::Max, Reduce::Count, Reduce::Average];
        ALL.into_iter().find(|reduce| *reduce as i32 == code)
    }
}

/// The result of a reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduced {
    /// There was no item, and the reduction has no value for none.
    Nothing,
    /// An integer.
    Integer(i128),
    /// A float.
    Float(f64),
    /// An integer that does not fit 128 bits.
    Overflow,
}

/// One part.
#[derive(Clone)]
pub struct Partial {
    /// Items taken.
    pub count: u64,
    /// Whether a float was among them.
    has_float: bool,
    /// Sum of the integers: two's complement, lowest limb first; no count of 128-bit items overflows it.
    integer_sum: [u64; 3],
    float_sum: FloatSum,
    product: Product,
    integer_best: Option<i128>,
    float_best: Option<f64>,
}

impl Default for Partial {
    fn default() -> Self {
        Self::new()
    }
}

impl Partial {
    /// No item yet.
    pub const fn new() -> Self {
        Self {
            count: 0,
            has_float: false,
            integer_sum: [0; 3],
            float_sum: FloatSum::new(),
            product: Product::new(),
            integer_best: None,
            float_best: None,
        }
    }

    /// Takes an integer. Counting is the caller's (it may count a whole loop at once).
    #[inline]
    pub fn take_integer(&mut self, reduce: Reduce, value: i128) {
        match reduce {
            Reduce::Sum | Reduce::Average => self.add_wide([value as u64, (value >> 64) as u64, (value >> 127) as u64]),
            Reduce::Product => self.product.by_integer(value),
            Reduce::Min => self.integer_best = Some(self.integer_best.map_or(value, |best| best.min(value))),
            Reduce::Max => self.integer_best = Some(self.integer_best.map_or(value, |best| best.max(value))),
            Reduce::Count => {}
        }
    }

    /// Takes a float.
    #[inline]
    pub fn take_float(&mut self, reduce: Reduce, value: f64) {
        self.has_float = true;
        match reduce {
            Reduce::Sum | Reduce::Average => self.float_sum.add(value),
            Reduce::Product => self.product.by_float(value),
            Reduce::Min => self.float_best = Some(self.float_best.map_or(value, |best| better(best, value, true))),
            Reduce::Max => self.float_best = Some(self.float_best.map_or(value, |best| better(best, value, false))),
            Reduce::Count => {}
        }
    }

    fn add_wide(&mut self, value: [u64; 3]) {
        let mut carry = 0;
        for (mine, theirs) in self.integer_sum.iter_mut().zip(value) {
            let whole = u128::from(*mine) + u128::from(theirs) + carry;
            *mine = whole as u64;
            carry = whole >> 64;
        }
    }

    /// Takes another part.
    pub fn merge(&mut self, reduce: Reduce, other: &Partial) {
        self.count = self.count.saturating_add(other.count);
        self.has_float |= other.has_float;
        match reduce {
            Reduce::Sum | Reduce::Average => {
                self.add_wide(other.integer_sum);
                if other.has_float {
                    self.float_sum.merge(&other.float_sum);
                }
            }
            Reduce::Product => self.product.merge(&other.product),
            Reduce::Min | Reduce::Max => {
                if let Some(value) = other.integer_best {
                    self.take_integer(reduce, value);
                }
                if let Some(value) = other.float_best {
                    self.take_float(reduce, value);
                }
            }
            Reduce::Count => {}
        }
    }

    /// The reduction of everything taken.
    pub fn result(&self, reduce: Reduce) -> Reduced {
        match reduce {
            Reduce::Count => Reduced::Integer(i128::from(self.count)),
            Reduce::Sum if self.has_float => Reduced::Float(self.whole_float_sum()),
            Reduce::Sum => narrow(self.integer_sum).map_or(Reduced::Overflow, Reduced::Integer),
            Reduce::Average if self.count == 0 => Reduced::Nothing,
            Reduce::Average => Reduced::Float(self.average()),
            Reduce::Product if self.product.is_float() => Reduced::Float(canonical(self.product.as_float())),
            Reduce::Product => self.product.as_integer().map_or(Reduced::Overflow, Reduced::Integer),
            Reduce::Min | Reduce::Max => self.best(reduce),
        }
    }

    fn whole_float_sum(&self) -> f64 {
        canonical(self.whole_sum().round())
    }

    /// The exact sum divided by the count, rounded once: no sum can be too large on the way.
    fn average(&self) -> f64 {
        canonical(self.whole_sum().round_quotient(self.count))
    }

    fn whole_sum(&self) -> FloatSum {
        let mut sum = self.float_sum.clone();
        sum.add_wide(self.integer_sum);
        sum
    }

    fn best(&self, reduce: Reduce) -> Reduced {
        match (self.integer_best, self.float_best) {
            (None, None) => Reduced::Nothing,
            (Some(integer), None) => Reduced::Integer(integer),
            (None, Some(float)) => Reduced::Float(canonical(float)),
            (Some(_), Some(float)) if float.is_nan() => Reduced::Float(canonical(float)),
            (Some(integer), Some(float)) => {
                let integer_is_less = compare(integer, float) == Some(Ordering::Less);
                if integer_is_less == (reduce == Reduce::Min) {
                    Reduced::Integer(integer)
                } else {
                    Reduced::Float(float)
                }
            }
        }
    }

    /// Writes what `reduce` needs.
    pub fn encode(&self, reduce: Reduce, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.push(u8::from(self.has_float));
        match reduce {
            Reduce::Sum | Reduce::Average => {
                self.integer_sum.iter().for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
                if self.has_float {
                    self.float_sum.encode(out);
                }
            }
            Reduce::Product => self.product.encode(out),
            Reduce::Min | Reduce::Max => {
                out.push(u8::from(self.integer_best.is_some()) | u8::from(self.float_best.is_some()) << 1);
                out.extend_from_slice(&self.integer_best.unwrap_or(0).to_le_bytes());
                out.extend_from_slice(&canonical(self.float_best.unwrap_or(0.0)).to_bits().to_le_bytes());
            }
            Reduce::Count => {}
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(reduce: Reduce, bytes: &[u8]) -> Option<Self> {
        let mut partial = Self::new();
        partial.count = u64::from_le_bytes(*bytes.first_chunk()?);
        partial.has_float = match bytes.get(8)? {
            0 => false,
            1 => true,
            2.. => return None,
        };
        let mut at = 9;
        match reduce {
            Reduce::Sum | Reduce::Average => {
                for limb in &mut partial.integer_sum {
                    *limb = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
                    at += 8;
                }
                if partial.has_float {
                    partial.float_sum = FloatSum::decode(bytes, &mut at)?;
                }
            }
            Reduce::Product => partial.product = Product::decode(bytes, &mut at)?,
            Reduce::Min | Reduce::Max => {
                let flags = *bytes.get(at)?;
                let integer = i128::from_le_bytes(*bytes.get(at + 1..)?.first_chunk()?);
                let float = f64::from_le_bytes(*bytes.get(at + 17..)?.first_chunk()?);
                at += 25;
                if flags > 3 {
                    return None;
                }
                partial.integer_best = (flags & 1 != 0).then_some(integer);
                partial.float_best = (flags & 2 != 0).then_some(float);
            }
            Reduce::Count => {}
        }
        (at == bytes.len()).then_some(partial)
    }
}

/// The smaller (or larger) float; not-a-number beats everything, and -0 lies below 0.
fn better(a: f64, b: f64, smaller: bool) -> f64 {
    if a.is_nan() || b.is_nan() {
        return f64::from_bits(CANONICAL_NAN);
    }
    let a_below = a < b || (a == b && a.is_sign_negative());
    if a_below == smaller { a } else { b }
}

fn narrow(sum: [u64; 3]) -> Option<i128> {
    let value = (u128::from(sum[1]) << 64 | u128::from(sum[0])) as i128;
    (sum[2] == (value >> 127) as u64).then_some(value)
}

fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(CANONICAL_NAN) } else { value }
}
