//! When two nodes' outputs of the same call say the same.
//!
//! What a kernel of WebAssembly puts out is equal to the bit on every node. A program for a graphics processor may round
//! otherwise on another one: its outputs agree when their numbers lie near enough to each other.

/// How outputs are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agreement {
    /// They are equal.
    #[default]
    Exact,
    /// They are as many numbers, and each pair lies within a tolerance.
    Within(Tolerance),
}

/// How far two numbers may lie apart: `absolute` + `relative` × the larger magnitude of the two. Both are counted in parts of
/// a thousand million, so that whoever compares them comes to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// What numbers an output is made of.
    pub numbers: Numbers,
    /// In parts of 10⁹ of one.
    pub absolute: u64,
    /// In parts of 10⁹ of the larger magnitude.
    pub relative: u32,
}

/// What an output is made of, one after another, little end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Floats of 32 bits.
    Float32,
    /// Floats of 64 bits.
    Float64,
}

/// Parts of which a [`Tolerance`] counts.
const PARTS: f64 = 1e9;

impl Agreement {
    /// Whether two outputs of the same call agree.
    pub fn holds(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Agreement::Exact => one == other,
            Agreement::Within(tolerance) => tolerance.holds(one, other),
        }
    }
}

impl Tolerance {
    fn holds(self, one: &[u8], other: &[u8]) -> bool {
        if one.len() != other.len() {
            return false;
        }
        match self.numbers {
            Numbers::Float32 => {
                let ((one, rest), (other, _)) = (one.as_chunks::<4>(), other.as_chunks::<4>());
                let number = |bytes: &[u8; 4]| f64::from(f32::from_le_bytes(*bytes));
                rest.is_empty() && one.iter().zip(other).all(|(one, other)| self.is_near(number(one), number(other)))
            }
            Numbers::Float64 => {
                let ((one, rest), (other, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
                let number = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
                rest.is_empty() && one.iter().zip(other).all(|(one, other)| self.is_near(number(one), number(other)))
            }
        }
    }

    /// What is no number agrees with what is none, and an infinity with itself.
    // A bound need not be exact, and equal is what is meant.
    fn is_near(self, one: f64, other: f64) -> bool {
        if !one.is_finite() || !other.is_finite() {
            return one == other || (one.is_nan() && other.is_nan());
        }
        let most = self.absolute as f64 / PARTS + f64::from(self.relative) / PARTS * one.abs().max(other.abs());
        (one - other).abs() <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    const NEAR: Agreement =
        Agreement::Within(Tolerance { numbers: Numbers::Float32, absolute: 1_000, relative: 100_000 });

    #[test]
    fn exact_outputs_agree_when_they_are_equal_to_the_bit() {
        assert!(Agreement::Exact.holds(b"abc", b"abc"));
        assert!(!Agreement::Exact.holds(&bytes(&[0.0]), &bytes(&[-0.0])));
    }

    #[test]
    fn numbers_agree_within_what_is_said_of_the_larger_one() {
        let holds = |one: f32, other: f32| NEAR.holds(&bytes(&[1.0, one]), &bytes(&[1.0, other]));
        assert!(holds(1000.0, 1000.09) && holds(-1000.09, -1000.0), "a part in ten thousand");
        assert!(!holds(1000.0, 1000.2) && !holds(1000.0, -1000.0));
        assert!(holds(0.0, 0.000_000_9) && holds(0.0, -0.0) && !holds(0.0, 0.000_002), "a millionth");
        assert!(holds(f32::NAN, -f32::NAN) && !holds(f32::NAN, 0.0));
        assert!(holds(f32::INFINITY, f32::INFINITY) && !holds(f32::INFINITY, f32::MAX));
    }

    #[test]
    fn outputs_of_other_lengths_or_of_no_whole_number_do_not_agree() {
        assert!(!NEAR.holds(&bytes(&[1.0]), &bytes(&[1.0, 1.0])));
        assert!(!NEAR.holds(b"abcde", b"abcde"));
        assert!(NEAR.holds(b"", b""));
        let wide = Agreement::Within(Tolerance { numbers: Numbers::Float64, absolute: 0, relative: 0 });
        assert!(wide.holds(&2.5_f64.to_le_bytes(), &2.5_f64.to_le_bytes()));
        assert!(!wide.holds(&2.5_f64.to_le_bytes(), &f64::NEG_INFINITY.to_le_bytes()));
    }
}
