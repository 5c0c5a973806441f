//! Between which values an expression lies, so that arithmetic can be as narrow as it safely is.

/// Bounds of an integer, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub least: i128,
    pub most: i128,
}

/// Everything that 128 bits hold.
pub(super) const ANY: Whole = Whole { least: i128::MIN, most: i128::MAX };

impl Whole {
    pub(super) fn exactly(value: i128) -> Self {
        Self { least: value, most: value }
    }

    pub(super) fn new(least: i128, most: i128) -> Self {
        Self { least, most }
    }

    /// Whether every value fits a 64-bit signed word.
    pub(super) fn is_narrow(self) -> bool {
        self.least >= i128::from(i64::MIN) && self.most <= i128::from(i64::MAX)
    }

    /// Whether every value is a float, too: no conversion rounds.
    pub(super) fn is_exact_as_float(self) -> bool {
        self.magnitude() <= 1 << 53
    }

    /// Whether no value is negative and all fit 32 bits.
    pub(super) fn is_short(self) -> bool {
        self.least >= 0 && self.most <= i128::from(u32::MAX)
    }

    pub(super) fn contains(self, value: i128) -> bool {
        self.least <= value && value <= self.most
    }

    pub(super) fn join(self, other: Whole) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// The largest magnitude.
    pub(super) fn magnitude(self) -> u128 {
        self.least.unsigned_abs().max(self.most.unsigned_abs())
    }

    /// Bounds of `operation` over both, and whether it can overflow. For operations that are monotone in each value
    /// between the corners.
    pub(super) fn corners(self, other: Whole, operation: impl Fn(i128, i128) -> Option<i128>) -> (Self, bool) {
        let mut bounds: Option<Whole> = None;
        for a in [self.least, self.most] {
            for b in [other.least, other.most] {
                let Some(value) = operation(a, b) else { return (ANY, true) };
                bounds = Some(bounds.map_or(Whole::exactly(value), |bounds| bounds.join(Whole::exactly(value))));
            }
        }
        (bounds.unwrap_or(ANY), false)
    }

    /// Bounds of the remainder with the divisor's sign.
    pub(super) fn remainder(self, divisor: Whole) -> Self {
        if self.least >= 0 && divisor.least > 0 {
            return Self::new(0, self.most.min(divisor.most - 1));
        }
        Self::new((divisor.least.saturating_add(1)).min(0), (divisor.most.saturating_sub(1)).max(0))
    }

    /// Bounds of the quotient rounded down, and whether it can overflow.
    pub(super) fn floor_quotient(self, divisor: Whole) -> (Self, bool) {
        if divisor.contains(0) {
            // Whatever the divisor, the quotient is no larger than the dividend in magnitude.
            return match i128::try_from(self.magnitude()) {
                Ok(most) => (Self::new(-most, most), false),
                Err(_) => (ANY, true),
            };
        }
        self.corners(divisor, |a, b| {
            let quotient = a.checked_div(b)?;
            Some(if quotient * b != a && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
        })
    }

    /// Bounds of the power, and whether it can fail (overflow or a negative exponent).
    pub(super) fn power(self, exponent: Whole) -> (Self, bool) {
        if exponent.least < 0 {
            return (ANY, true);
        }
        let Ok(highest) = u32::try_from(exponent.most) else { return (ANY, true) };
        let least = u32::try_from(exponent.least).unwrap_or(0);
        let Some(most) = i128::try_from(self.magnitude()).ok().and_then(|most| most.checked_pow(highest)) else {
            return (ANY, true);
        };
        if self.least >= 0 {
            // Zero to the power of zero is one.
            let bottom = if self.least == 0 { 0 } else { self.least.checked_pow(least).unwrap_or(0) };
            return (Self::new(bottom, most.max(1)), false);
        }
        (Self::new(if least == highest && least % 2 == 0 { 0 } else { -most.max(1) }, most.max(1)), false)
    }

    pub(super) fn as_real(self) -> Real {
        Real::new(self.least as f64, self.most as f64)
    }
}

/// Bounds of a float; `None` where it may be anything, not-a-number and infinities included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Real(Option<(f64, f64)>);

/// A float of which nothing is known.
pub(super) const UNKNOWN: Real = Real(None);

impl Real {
    /// Unknown where a bound is not finite.
    pub(super) fn new(least: f64, most: f64) -> Self {
        Self((least.is_finite() && most.is_finite() && least <= most).then_some((least, most)))
    }

    /// Bounds of an operation that is monotone in each value; rounding to nearest is monotone too.
    pub(super) fn corners(self, other: Real, operation: impl Fn(f64, f64) -> f64) -> Self {
        let (Some(mine), Some(theirs)) = (self.0, other.0) else { return UNKNOWN };
        let values = [(mine.0, theirs.0), (mine.0, theirs.1), (mine.1, theirs.0), (mine.1, theirs.1)]
            .map(|(a, b)| operation(a, b));
        if values.iter().any(|value| !value.is_finite()) {
            return UNKNOWN;
        }
        Self::new(
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    }

    pub(super) fn map(self, operation: impl Fn(f64) -> f64) -> Self {
        self.corners(self, |a, _| operation(a))
    }

    pub(super) fn contains_zero(self) -> bool {
        self.0.is_none_or(|(least, most)| least <= 0.0 && most >= 0.0)
    }

    pub(super) fn join(self, other: Real) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self::new(a.0.min(b.0), a.1.max(b.1)),
            (None, Some(_)) | (Some(_) | None, None) => UNKNOWN,
        }
    }

    pub(super) fn square_root(self) -> Self {
        match self.0 {
            Some((least, most)) if least >= 0.0 => Self::new(least.sqrt(), most.sqrt()),
            Some(_) | None => UNKNOWN,
        }
    }

    pub(super) fn absolute(self) -> Self {
        match self.0 {
            Some((least, most)) if least < 0.0 && most > 0.0 => Self::new(0.0, most.max(-least)),
            Some(_) | None => self.map(f64::abs),
        }
    }

    /// Bounds after rounding to an integer, and whether that can fail.
    pub(super) fn rounded(self) -> (Whole, bool) {
        const SAFE: f64 = 1e38; // below 2^127
        match self.0 {
            Some((least, most)) if least > -SAFE && most < SAFE => {
                (Whole::new(least.floor() as i128, most.ceil() as i128), false)
            }
            Some(_) | None => (ANY, true),
        }
    }
}
