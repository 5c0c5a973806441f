//! Natural numbers of any size, as far as an exact determinant needs them.

use std::{cmp::Ordering, fmt};

/// A natural number: 32-bit digits, lowest first, none of them zero at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Big(Vec<u32>);

impl From<u32> for Big {
    fn from(value: u32) -> Self {
        let mut big = Self(vec![value]);
        big.trim();
        big
    }
}

impl Big {
    /// Becomes itself times `factor` plus `summand`.
    pub(super) fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for digit in &mut self.0 {
            let whole = u64::from(*digit) * u64::from(factor) + carry;
            *digit = whole as u32;
            carry = whole >> 32;
        }
        self.0.push(carry as u32);
        self.trim();
    }

    /// The difference; `other` is not larger.
    pub(super) fn minus(&self, other: &Big) -> Big {
        let mut borrow = 0;
        let digits = self.0.iter().enumerate().map(|(i, digit)| {
            let whole = i64::from(*digit) - i64::from(other.0.get(i).copied().unwrap_or(0)) - borrow;
            borrow = i64::from(whole < 0);
            whole as u32
        });
        let mut difference = Big(digits.collect());
        difference.trim();
        difference
    }

    /// Whether it is the smaller one.
    pub(super) fn is_less_than(&self, other: &Big) -> bool {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())) == Ordering::Less
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// In decimal.
impl fmt::Display for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GROUP: u64 = 1_000_000_000;
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.0.is_empty() {
            let mut remainder = 0;
            for digit in rest.0.iter_mut().rev() {
                let whole = remainder << 32 | u64::from(*digit);
                *digit = (whole / GROUP) as u32;
                remainder = whole % GROUP;
            }
            rest.trim();
            groups.push(remainder);
        }
        let mut groups = groups.into_iter().rev();
        write!(f, "{}", groups.next().unwrap_or(0))?;
        groups.try_for_each(|group| write!(f, "{group:09}"))
    }
}
