//! Types and bounds of arithmetic: integers among themselves, floats, and both beside each other.

use super::{Answer, Node, Rounding, Shape, Typed, float, integer, number, whole};
use crate::{
    exchange::number::quotient,
    formula::{
        bounds::{ANY, Real, UNKNOWN, Whole},
        parser::{Arithmetic, Comparison},
    },
    refusal::Refusal,
};

/// Two values as one type: integers stay integers, any float makes both floats.
pub(super) fn alike(a: Typed, b: Typed) -> Result<(Typed, Typed), Refusal> {
    let (a, b) = (number(a)?, number(b)?);
    match (a.shape, b.shape) {
        (Shape::Integer(_), Shape::Integer(_)) => Ok((a, b)),
        (_, _) => Ok((float(a)?, float(b)?)),
    }
}

pub(super) fn negate(at: usize, inner: Typed) -> Answer {
    let inner = number(inner)?;
    let can_fail = inner.can_fail;
    Ok(match inner.shape {
        Shape::Float(real) => {
            Typed { at, shape: Shape::Float(real.map(|a| -a)), can_fail, node: Node::Negate(inner.boxed()) }
        }
        Shape::Integer(bounds) => {
            let result = Whole::exactly(0).corners(bounds, i128::checked_sub);
            whole(at, result, can_fail, Node::Negate(inner.boxed()))
        }
        Shape::Bool | Shape::Text => inner,
    })
}

/// Anything but the joining of texts.
pub(super) fn binary(at: usize, operator: Arithmetic, left: Typed, right: Typed) -> Answer {
    let (left, right) = (number(left)?, number(right)?);
    let integers = match (left.shape, right.shape) {
        (Shape::Integer(a), Shape::Integer(b)) => Some((a, b)),
        (_, _) => None,
    };
    match (operator, integers) {
        (Arithmetic::Add, Some((a, b))) => whole_of(at, operator, a.corners(b, i128::checked_add), left, right),
        (Arithmetic::Subtract, Some((a, b))) => whole_of(at, operator, a.corners(b, i128::checked_sub), left, right),
        (Arithmetic::Multiply, Some((a, b))) => whole_of(at, operator, a.corners(b, i128::checked_mul), left, right),
        (Arithmetic::FloorDivide, Some((a, b))) => {
            let (bounds, fails) = a.floor_quotient(b);
            whole_of(at, operator, (bounds, fails || b.contains(0)), left, right)
        }
        (Arithmetic::Remainder, Some((a, b))) => whole_of(at, operator, (a.remainder(b), b.contains(0)), left, right),
        (Arithmetic::Divide, Some((a, b))) if !(a.is_exact_as_float() && b.is_exact_as_float()) => {
            let can_fail = left.can_fail || right.can_fail || b.contains(0);
            let node = Node::Quotient(left.boxed(), right.boxed());
            Ok(Typed { at, shape: Shape::Float(quotient_bounds(a, b)), can_fail, node })
        }
        (Arithmetic::Add, None) => real(at, operator, left, right, |a, b| a.corners(b, |a, b| a + b)),
        (Arithmetic::Subtract, None) => real(at, operator, left, right, |a, b| a.corners(b, |a, b| a - b)),
        (Arithmetic::Multiply, None) => real(at, operator, left, right, |a, b| a.corners(b, |a, b| a * b)),
        (Arithmetic::Divide, Some(_) | None) => {
            real(at, operator, left, right, |a, b| if b.contains_zero() { UNKNOWN } else { a.corners(b, |a, b| a / b) })
        }
        (Arithmetic::FloorDivide, None) => floor_quotient(at, left, right),
        (Arithmetic::Remainder, None) => remainder(at, left, right),
        (Arithmetic::Power, Some(_) | None) => power(at, left, right),
    }
}

/// The product.
pub(super) fn multiply(at: usize, left: Typed, right: Typed) -> Answer {
    binary(at, Arithmetic::Multiply, left, right)
}

fn whole_of(at: usize, operator: Arithmetic, result: (Whole, bool), left: Typed, right: Typed) -> Answer {
    let can_fail = left.can_fail || right.can_fail;
    Ok(whole(at, result, can_fail, Node::Arithmetic(operator, left.boxed(), right.boxed())))
}

fn real(at: usize, operator: Arithmetic, left: Typed, right: Typed, bounds: impl Fn(Real, Real) -> Real) -> Answer {
    let (left, right) = (float(left)?, float(right)?);
    let bounds = bounds(left.real(), right.real());
    let by_zero = match operator {
        Arithmetic::Divide | Arithmetic::FloorDivide | Arithmetic::Remainder => right.real().contains_zero(),
        Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply | Arithmetic::Power => false,
    };
    let can_fail = left.can_fail || right.can_fail || by_zero;
    let node = Node::Arithmetic(operator, left.boxed(), right.boxed());
    Ok(Typed { at, shape: Shape::Float(bounds), can_fail, node })
}

/// Between the quotients of the corners, rounded as the quotients are.
fn quotient_bounds(a: Whole, b: Whole) -> Real {
    if b.contains(0) {
        return UNKNOWN;
    }
    let corner = |a, b| {
        let value = quotient(a, b);
        Real::new(value, value)
    };
    corner(a.least, b.least).join(corner(a.least, b.most)).join(corner(a.most, b.least)).join(corner(a.most, b.most))
}

/// `//` where a float is among the two.
fn floor_quotient(at: usize, left: Typed, right: Typed) -> Answer {
    // Bounds as floats are off by a few units in the last place at most: below this, by less than one.
    const NEAR: f64 = (1u64 << 48) as f64;
    let (a, b) = (as_real(&left), as_real(&right));
    let rounded = if b.contains_zero() { (ANY, true) } else { a.corners(b, |a, b| a / b).rounded() };
    let (bounds, fails) = match rounded {
        (Whole { least, most }, false) if (least.unsigned_abs().max(most.unsigned_abs()) as f64) < NEAR => {
            (Whole::new(least - 1, most + 1), false)
        }
        (_, _) => (ANY, true),
    };
    let can_fail = left.can_fail || right.can_fail || fails;
    let node = Node::FloorQuotient(left.boxed(), right.boxed());
    Ok(Typed { at, shape: Shape::Integer(bounds), can_fail, node })
}

fn as_real(value: &Typed) -> Real {
    match value.shape {
        Shape::Integer(bounds) => bounds.as_real(),
        Shape::Float(bounds) => bounds,
        Shape::Bool | Shape::Text => UNKNOWN,
    }
}

/// `%` where a float is among the two.
fn remainder(at: usize, left: Typed, right: Typed) -> Answer {
    if is_exact_as_float(&left) && is_exact_as_float(&right) {
        return real(at, Arithmetic::Remainder, left, right, |_, _| UNKNOWN);
    }
    let can_fail = left.can_fail || right.can_fail || as_real(&right).contains_zero();
    let node = Node::MixedRemainder(left.boxed(), right.boxed());
    Ok(Typed { at, shape: Shape::Float(UNKNOWN), can_fail, node })
}

/// Whether it becomes a float without rounding, if it is none.
fn is_exact_as_float(value: &Typed) -> bool {
    match value.shape {
        Shape::Integer(bounds) => bounds.is_exact_as_float(),
        Shape::Float(_) | Shape::Bool | Shape::Text => true,
    }
}

/// A comparison of numbers.
pub(super) fn compare(at: usize, comparison: Comparison, left: Typed, right: Typed) -> Answer {
    let (left, right) = (number(left)?, number(right)?);
    let can_fail = left.can_fail || right.can_fail;
    let exact = is_exact_as_float(&left) && is_exact_as_float(&right);
    let node = match (left.shape, right.shape) {
        (Shape::Integer(_), Shape::Float(_)) if !exact => Node::MixedCompare(comparison, left.boxed(), right.boxed()),
        (Shape::Float(_), Shape::Integer(_)) if !exact => {
            Node::MixedCompare(comparison.exchanged(), right.boxed(), left.boxed())
        }
        (_, _) => {
            let (left, right) = alike(left, right)?;
            Node::Compare(comparison, left.boxed(), right.boxed())
        }
    };
    Ok(Typed { at, shape: Shape::Bool, can_fail, node })
}

fn power(at: usize, left: Typed, right: Typed) -> Answer {
    if let Node::Integer(-1) = right.node {
        return binary(at, Arithmetic::Divide, integer(at, 1), left);
    }
    let written_negative = matches!(right.node, Node::Integer(..0));
    if let (Shape::Integer(a), Shape::Integer(b), false) = (left.shape, right.shape, written_negative) {
        // A constant negative exponent makes a fraction, as in `x ** -2`. Bounds alone must not decide: they depend on
        // the data, and a type must not.
        return whole_of(at, Arithmetic::Power, a.power(b), left, right);
    }
    let is_fraction = written_negative && matches!(left.shape, Shape::Integer(_));
    let right = if is_fraction { kept_odd(right) } else { right };
    if is_fraction && !is_exact_as_float(&left) {
        let can_fail = left.can_fail || left.whole().contains(0);
        let node = Node::FractionPower(left.boxed(), float(right)?.boxed());
        return Ok(Typed { at, shape: Shape::Float(UNKNOWN), can_fail, node });
    }
    let mut base = float(left)?;
    if is_fraction && base.real().contains_zero() {
        // As in `1 / x ** 2`. The powers of a float may vanish without being zero, so those are not refused.
        base = Typed { at: base.at, shape: base.shape, can_fail: true, node: Node::NonZero(base.boxed()) };
    }
    real(at, Arithmetic::Power, base, right, |_, _| UNKNOWN)
}

/// A written negative exponent that as a float is odd where it is odd. Beyond what floats hold, powers of an integer differ by
/// their sign alone.
fn kept_odd(exponent: Typed) -> Typed {
    const LEAST_ODD: i128 = 1 - (1 << 53);
    if let Node::Integer(value) = exponent.node
        && value < LEAST_ODD
    {
        return integer(exponent.at, if value & 1 == 1 { LEAST_ODD } else { LEAST_ODD + 1 });
    }
    exponent
}

/// `floor`, `ceil` and `round`.
pub(super) fn rounded(at: usize, rounding: Rounding, value: Typed) -> Answer {
    let value = number(value)?;
    let can_fail = value.can_fail;
    match (value.shape, value.node, rounding) {
        (Shape::Integer(bounds), node, _) => Ok(Typed { at, shape: Shape::Integer(bounds), can_fail, node }),
        (_, Node::Arithmetic(Arithmetic::Divide, a, b), Rounding::Floor) if is_whole(&a) && is_whole(&b) => {
            // Rounded once to a float, such a quotient reaches no integer that it has not reached, so it may be divided
            // as the integers that it is made of, which is sooner done.
            binary(at, Arithmetic::FloorDivide, as_whole(*a), as_whole(*b))
        }
        (shape, node, Rounding::Floor | Rounding::Ceil | Rounding::Round) => {
            Ok(to_integer(at, rounding, Typed { at: value.at, shape, can_fail, node }))
        }
    }
}

fn to_integer(at: usize, rounding: Rounding, value: Typed) -> Typed {
    let bounds = value.real().rounded();
    let can_fail = value.can_fail;
    whole(at, bounds, can_fail, Node::ToInteger(rounding, value.boxed()))
}

/// Whether a float is an integer that became one without rounding.
fn is_whole(value: &Typed) -> bool {
    const MOST: f64 = (1u64 << 53) as f64;
    if let Node::Float(constant) = value.node {
        return constant == constant.trunc() && constant.abs() <= MOST;
    }
    matches!(&value.node, Node::IntegerToFloat(inner) if inner.whole().is_exact_as_float())
}

/// That integer.
fn as_whole(value: Typed) -> Typed {
    if let Node::Float(constant) = value.node {
        return integer(value.at, constant as i128);
    }
    if let Node::IntegerToFloat(inner) = value.node { *inner } else { value }
}

/// The shape of what may be either, of one type.
pub(super) fn join(a: Shape, b: Shape) -> Shape {
    match (a, b) {
        (Shape::Integer(a), Shape::Integer(b)) => Shape::Integer(a.join(b)),
        (Shape::Float(a), Shape::Float(b)) => Shape::Float(a.join(b)),
        (_, _) => a,
    }
}

pub(super) fn absolute(at: usize, value: Typed) -> Answer {
    let can_fail = value.can_fail;
    Ok(match value.shape {
        Shape::Integer(bounds) if bounds.least >= 0 => value,
        Shape::Integer(bounds) => {
            let most = i128::try_from(bounds.magnitude());
            let least = if bounds.contains(0) { 0 } else { bounds.most.saturating_neg() };
            let result = (Whole::new(least, most.unwrap_or(i128::MAX)), most.is_err());
            whole(at, result, can_fail, Node::Absolute(value.boxed()))
        }
        Shape::Float(bounds) => {
            Typed { at, shape: Shape::Float(bounds.absolute()), can_fail, node: Node::Absolute(value.boxed()) }
        }
        Shape::Bool | Shape::Text => value,
    })
}

pub(super) fn extreme(at: usize, least: bool, a: Typed, b: Typed) -> Answer {
    let (a, b) = alike(a, b)?;
    let can_fail = a.can_fail || b.can_fail;
    let shape = match (a.shape, b.shape) {
        (Shape::Integer(a), Shape::Integer(b)) if least => {
            Shape::Integer(Whole::new(a.least.min(b.least), a.most.min(b.most)))
        }
        (Shape::Integer(a), Shape::Integer(b)) => Shape::Integer(Whole::new(a.least.max(b.least), a.most.max(b.most))),
        (a, b) => join(a, b),
    };
    let node = if least { Node::Least(a.boxed(), b.boxed()) } else { Node::Most(a.boxed(), b.boxed()) };
    Ok(Typed { at, shape, can_fail, node })
}
