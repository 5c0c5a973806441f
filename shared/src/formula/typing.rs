//! An expression with the type and bounds of every part, given what `x` is.

use super::{
    Subject,
    bounds::{ANY, Real, UNKNOWN, Whole},
    invalid,
    parser::{Expression, Function, Kind, Operator},
};
use crate::refusal::Refusal;

/// Type and bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Integer(Whole),
    Float(Real),
    Bool,
    Text,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Shape::Integer(_) => "an integer",
            Shape::Float(_) => "a float",
            Shape::Bool => "a condition",
            Shape::Text => "a text",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Typed {
    pub at: usize,
    pub shape: Shape,
    /// Whether evaluating it can fail (overflow, division by zero, …).
    pub can_fail: bool,
    pub node: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Floor,
    Ceil,
    Round,
}

#[derive(Clone, Debug)]
pub enum Node {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    X,
    Local(usize),
    Let {
        slot: usize,
        value: Box<Typed>,
        body: Box<Typed>,
    },
    IntegerToFloat(Box<Typed>),
    BoolToInteger(Box<Typed>),
    Negate(Box<Typed>),
    Not(Box<Typed>),
    /// Both sides have the result's type.
    Arithmetic(Operator, Box<Typed>, Box<Typed>),
    /// Both sides have one type.
    Compare(Operator, Box<Typed>, Box<Typed>),
    And(Box<Typed>, Box<Typed>),
    Or(Box<Typed>, Box<Typed>),
    If(Box<Typed>, Box<Typed>, Box<Typed>),
    Absolute(Box<Typed>),
    /// The smaller (or larger) of two numbers of the result's type.
    Least(Box<Typed>, Box<Typed>),
    Most(Box<Typed>, Box<Typed>),
    ToInteger(Rounding, Box<Typed>),
    SquareRoot(Box<Typed>),
    /// A float function of one float.
    Real(Function, Box<Typed>),
    Gcd(Box<Typed>, Box<Typed>),
    IsPrime(Box<Typed>),
    /// A text function: texts in, text, integer (`len`) or condition (`contains`) out.
    Text1(Function, Box<Typed>),
    Contains(Box<Typed>, Box<Typed>),
    Replace(Box<Typed>, Box<Typed>, Box<Typed>),
    Concatenate(Box<Typed>, Box<Typed>),
}

/// A typed expression and the values that it keeps.
pub struct Typing {
    pub root: Typed,
    /// Shapes of what `let` binds.
    pub slots: Vec<Shape>,
    /// Whether a part of it is a text.
    pub has_text: bool,
}

pub fn type_of(expression: &Expression, subject: Subject) -> Result<Typing, Refusal> {
    let has_text = subject == Subject::Text;
    let mut typer = Typer { subject, names: Vec::new(), slots: Vec::new(), has_text };
    let root = typer.expression(expression)?;
    Ok(Typing { root, slots: typer.slots, has_text: typer.has_text })
}

/// Makes a truth value of a `where` formula.
pub fn as_condition(typing: &Typing) -> Result<(), Refusal> {
    match typing.root.shape {
        Shape::Bool => Ok(()),
        Shape::Integer(_) | Shape::Float(_) | Shape::Text => Err(invalid(
            typing.root.at,
            format!("`where` needs a condition, but this is {}", typing.root.shape.name()),
            "compare it with something, as in `x % 2 == 0`",
        )),
    }
}

struct Typer {
    subject: Subject,
    names: Vec<(String, usize)>,
    slots: Vec<Shape>,
    has_text: bool,
}

type Answer = Result<Typed, Refusal>;

impl Typer {
    fn expression(&mut self, expression: &Expression) -> Answer {
        let at = expression.at;
        match &expression.kind {
            Kind::Integer(value) => Ok(integer(at, *value)),
            Kind::Float(value) => Ok(plain(at, Shape::Float(Real::new(*value, *value)), Node::Float(*value))),
            Kind::Bool(value) => Ok(plain(at, Shape::Bool, Node::Bool(*value))),
            Kind::Text(text) => {
                self.has_text = true;
                Ok(plain(at, Shape::Text, Node::Text(text.clone())))
            }
            Kind::X => Ok(plain(
                at,
                match self.subject {
                    Subject::Integer { least, most } => Shape::Integer(Whole::new(least, most)),
                    Subject::Float => Shape::Float(UNKNOWN),
                    Subject::Text => Shape::Text,
                },
                Node::X,
            )),
            Kind::Name(name) => {
                let slot = self.names.iter().rev().find(|(known, _)| known == name).map_or(0, |(_, slot)| *slot);
                Ok(plain(at, self.slots.get(slot).copied().unwrap_or(Shape::Bool), Node::Local(slot)))
            }
            Kind::Let(name, value, body) => {
                let value = self.expression(value)?;
                let slot = self.slots.len();
                self.slots.push(value.shape);
                self.names.push((name.clone(), slot));
                let body = self.expression(body)?;
                self.names.pop();
                let (shape, can_fail) = (body.shape, value.can_fail || body.can_fail);
                Ok(Typed { at, shape, can_fail, node: Node::Let { slot, value: value.boxed(), body: body.boxed() } })
            }
            Kind::Negate(inner) => negate(at, self.expression(inner)?),
            Kind::Not(inner) => {
                let inner = condition(self.expression(inner)?)?;
                Ok(Typed { at, shape: Shape::Bool, can_fail: inner.can_fail, node: Node::Not(inner.boxed()) })
            }
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.expression(left)?, self.expression(right)?);
                match (operator, left.shape, &right.node) {
                    (Operator::Power, Shape::Integer(base), Node::Integer(exponent @ 2..=MOST_UNROLLED))
                        if !base.power(right.whole()).0.is_narrow() =>
                    {
                        self.unrolled_power(at, left, *exponent)
                    }
                    (_, _, _) => binary(at, *operator, left, right),
                }
            }
            Kind::Call(function, values) => {
                let values = values.iter().map(|value| self.expression(value)).collect::<Result<Vec<_>, _>>()?;
                call(at, *function, values)
            }
        }
    }
}

/// The largest exponent whose power becomes multiplications.
const MOST_UNROLLED: i128 = 16;

impl Typer {
    /// A power beyond words as multiplications, which are as narrow as they can be. Where one of them overflows, the
    /// power does, too.
    fn unrolled_power(&mut self, at: usize, base: Typed, exponent: i128) -> Answer {
        let (bounds, fails) = base.whole().power(Whole::exactly(exponent));
        let base = self.keep(base);
        let local = |kept: &Kept| plain(at, kept.shape, Node::Local(kept.slot));
        let mut power = local(&base);
        let mut kept = vec![base];
        for bit in (0..127 - exponent.leading_zeros()).rev() {
            let half = self.keep(power);
            power = binary(at, Operator::Multiply, local(&half), local(&half))?;
            kept.push(half);
            if exponent >> bit & 1 == 1 {
                power = binary(at, Operator::Multiply, power, local(&kept[0]))?;
            }
        }
        if let (Shape::Integer(_), false) = (power.shape, fails) {
            power.shape = Shape::Integer(bounds);
        }
        Ok(kept.into_iter().rev().fold(power, |body, Kept { slot, value, .. }| Typed {
            at,
            shape: body.shape,
            can_fail: body.can_fail || value.can_fail,
            node: Node::Let { slot, value: value.boxed(), body: body.boxed() },
        }))
    }

    fn keep(&mut self, value: Typed) -> Kept {
        self.slots.push(value.shape);
        Kept { slot: self.slots.len() - 1, shape: value.shape, value }
    }
}

/// A value that is computed once and used again.
struct Kept {
    slot: usize,
    shape: Shape,
    value: Typed,
}

impl Typed {
    fn boxed(self) -> Box<Typed> {
        Box::new(self)
    }

    /// Its bounds, if it is an integer.
    pub fn whole(&self) -> Whole {
        match self.shape {
            Shape::Integer(whole) => whole,
            Shape::Float(_) | Shape::Bool | Shape::Text => ANY,
        }
    }

    fn real(&self) -> Real {
        match self.shape {
            Shape::Float(real) => real,
            Shape::Integer(_) | Shape::Bool | Shape::Text => UNKNOWN,
        }
    }
}

fn plain(at: usize, shape: Shape, node: Node) -> Typed {
    Typed { at, shape, can_fail: false, node }
}

fn integer(at: usize, value: i128) -> Typed {
    plain(at, Shape::Integer(Whole::exactly(value)), Node::Integer(value))
}

/// An integer result; a constant where the bounds leave only one value and nothing can fail.
fn whole(at: usize, (bounds, fails): (Whole, bool), can_fail: bool, node: Node) -> Typed {
    if bounds.least == bounds.most && !fails && !can_fail {
        return integer(at, bounds.least);
    }
    Typed { at, shape: Shape::Integer(bounds), can_fail: can_fail || fails, node }
}

/// A number: conditions count as 0 and 1.
fn number(value: Typed) -> Answer {
    match value.shape {
        Shape::Integer(_) | Shape::Float(_) => Ok(value),
        Shape::Bool => {
            let (at, can_fail) = (value.at, value.can_fail);
            let shape = Shape::Integer(Whole::new(0, 1));
            Ok(Typed { at, shape, can_fail, node: Node::BoolToInteger(value.boxed()) })
        }
        Shape::Text => {
            Err(invalid(value.at, "a number is needed here, but this is a text", "use `len` for its length"))
        }
    }
}

fn float(value: Typed) -> Answer {
    let value = number(value)?;
    match value.shape {
        Shape::Float(_) => Ok(value),
        Shape::Integer(bounds) => {
            if let Node::Integer(constant) = value.node {
                let real = constant as f64;
                return Ok(plain(value.at, Shape::Float(Real::new(real, real)), Node::Float(real)));
            }
            let (at, can_fail) = (value.at, value.can_fail);
            let shape = Shape::Float(bounds.as_real());
            Ok(Typed { at, shape, can_fail, node: Node::IntegerToFloat(value.boxed()) })
        }
        Shape::Bool | Shape::Text => Ok(value), // `number` leaves neither
    }
}

fn integral(value: Typed, what: &str) -> Answer {
    let value = number(value)?;
    match value.shape {
        Shape::Integer(_) => Ok(value),
        Shape::Float(_) | Shape::Bool | Shape::Text => Err(invalid(
            value.at,
            format!("{what} needs an integer, but this is a float"),
            "use `floor`, `ceil` or `round` to make an integer",
        )),
    }
}

fn condition(value: Typed) -> Answer {
    match value.shape {
        Shape::Bool => Ok(value),
        Shape::Integer(_) | Shape::Float(_) | Shape::Text => Err(invalid(
            value.at,
            format!("a condition is needed here, but this is {}", value.shape.name()),
            "compare it with something, as in `x > 0`",
        )),
    }
}

fn text(value: Typed, what: &str) -> Answer {
    match value.shape {
        Shape::Text => Ok(value),
        Shape::Integer(_) | Shape::Float(_) | Shape::Bool => Err(invalid(
            value.at,
            format!("{what} needs a text, but this is {}", value.shape.name()),
            "put texts in quotes",
        )),
    }
}

/// Two values as one type: integers stay integers, any float makes both floats.
fn alike(a: Typed, b: Typed) -> Result<(Typed, Typed), Refusal> {
    let (a, b) = (number(a)?, number(b)?);
    match (a.shape, b.shape) {
        (Shape::Integer(_), Shape::Integer(_)) => Ok((a, b)),
        (_, _) => Ok((float(a)?, float(b)?)),
    }
}

fn negate(at: usize, inner: Typed) -> Answer {
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

fn binary(at: usize, operator: Operator, left: Typed, right: Typed) -> Answer {
    let can_fail = left.can_fail || right.can_fail;
    match operator {
        Operator::And | Operator::Or => {
            let (left, right) = (condition(left)?.boxed(), condition(right)?.boxed());
            let node = if operator == Operator::And { Node::And(left, right) } else { Node::Or(left, right) };
            Ok(Typed { at, shape: Shape::Bool, can_fail, node })
        }
        Operator::Equal
        | Operator::Unequal
        | Operator::Less
        | Operator::LessOrEqual
        | Operator::More
        | Operator::MoreOrEqual => {
            let (left, right) = match (left.shape, right.shape) {
                (Shape::Text, Shape::Text) => (left, right),
                (_, _) => alike(left, right)?,
            };
            Ok(Typed { at, shape: Shape::Bool, can_fail, node: Node::Compare(operator, left.boxed(), right.boxed()) })
        }
        Operator::Add if left.shape == Shape::Text || right.shape == Shape::Text => {
            let (left, right) = (text(left, "joining texts by `+`")?, text(right, "joining texts by `+`")?);
            Ok(Typed { at, shape: Shape::Text, can_fail: true, node: Node::Concatenate(left.boxed(), right.boxed()) })
        }
        Operator::Divide => {
            let (left, right) = (float(left)?, float(right)?);
            let fails = right.real().contains_zero();
            let bounds = if fails { UNKNOWN } else { left.real().corners(right.real(), |a, b| a / b) };
            let node = Node::Arithmetic(operator, left.boxed(), right.boxed());
            Ok(Typed { at, shape: Shape::Float(bounds), can_fail: can_fail || fails, node })
        }
        Operator::Power => power(at, left, right),
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::FloorDivide | Operator::Remainder => {
            let (left, right) = alike(left, right)?;
            match (left.shape, right.shape) {
                (Shape::Integer(a), Shape::Integer(b)) => {
                    let zero = matches!(operator, Operator::FloorDivide | Operator::Remainder) && b.contains(0);
                    let result = match operator {
                        Operator::Add => a.corners(b, i128::checked_add),
                        Operator::Subtract => a.corners(b, i128::checked_sub),
                        Operator::Multiply => a.corners(b, i128::checked_mul),
                        Operator::FloorDivide => a.floor_quotient(b),
                        _ => (a.remainder(b), false),
                    };
                    Ok(whole(at, result, can_fail || zero, Node::Arithmetic(operator, left.boxed(), right.boxed())))
                }
                (_, _) => real_arithmetic(at, operator, left, right),
            }
        }
    }
}

fn real_arithmetic(at: usize, operator: Operator, left: Typed, right: Typed) -> Answer {
    let (a, b) = (left.real(), right.real());
    let mut can_fail = left.can_fail || right.can_fail;
    let bounds = match operator {
        Operator::Add => a.corners(b, |a, b| a + b),
        Operator::Subtract => a.corners(b, |a, b| a - b),
        Operator::Multiply => a.corners(b, |a, b| a * b),
        Operator::FloorDivide => {
            // The float quotient, rounded down to an integer, as `floor(a / b)` would.
            let quotient = binary(at, Operator::Divide, left, right)?;
            return Ok(to_integer(at, Rounding::Floor, quotient));
        }
        _ => {
            can_fail |= b.contains_zero();
            UNKNOWN
        }
    };
    let node = Node::Arithmetic(operator, left.boxed(), right.boxed());
    Ok(Typed { at, shape: Shape::Float(bounds), can_fail, node })
}

fn power(at: usize, left: Typed, right: Typed) -> Answer {
    let (left, mut right) = (number(left)?, number(right)?);
    if let Node::Integer(exponent @ i128::MIN..0) = right.node
        && exponent != i128::MIN
        && (exponent == -1 || matches!(left.shape, Shape::Integer(_)))
    {
        // `1 / x ** n`, so that zero divides by zero here, too. Other powers of a float may vanish without being zero.
        right.node = Node::Integer(-exponent);
        right.shape = Shape::Integer(Whole::exactly(-exponent));
        let (left, right) = (float(left)?, float(right)?);
        let can_fail = left.can_fail || right.can_fail;
        let node = Node::Arithmetic(Operator::Power, left.boxed(), right.boxed());
        let one = plain(at, Shape::Integer(Whole::exactly(1)), Node::Integer(1));
        return binary(at, Operator::Divide, one, Typed { at, shape: Shape::Float(UNKNOWN), can_fail, node });
    }
    let can_fail = left.can_fail || right.can_fail;
    if let (Shape::Integer(a), Shape::Integer(b)) = (left.shape, right.shape) {
        // A constant negative exponent makes a fraction, as in `x ** -1`. Bounds alone must not decide: they depend on
        // the data, and a type must not.
        if !matches!(right.node, Node::Integer(..0)) {
            return Ok(whole(at, a.power(b), can_fail, Node::Arithmetic(Operator::Power, left.boxed(), right.boxed())));
        }
    }
    let (left, right) = (float(left)?, float(right)?);
    let node = Node::Arithmetic(Operator::Power, left.boxed(), right.boxed());
    Ok(Typed { at, shape: Shape::Float(UNKNOWN), can_fail, node })
}

fn to_integer(at: usize, rounding: Rounding, value: Typed) -> Typed {
    let bounds = value.real().rounded();
    let can_fail = value.can_fail;
    whole(at, bounds, can_fail, Node::ToInteger(rounding, value.boxed()))
}

fn call(at: usize, function: Function, values: Vec<Typed>) -> Answer {
    let can_fail = values.iter().any(|value| value.can_fail);
    let mut values = values.into_iter();
    let mut next = || values.next().ok_or_else(|| invalid(at, "a value is missing", ""));
    let name = format!("`{}`", function.name());
    match function {
        Function::Abs => absolute(at, number(next()?)?),
        Function::Min | Function::Max => {
            let mut best = number(next()?)?;
            while let Ok(other) = next() {
                best = extreme(at, function == Function::Min, best, other)?;
            }
            Ok(best)
        }
        Function::Floor | Function::Ceil | Function::Round => {
            let value = number(next()?)?;
            let rounding = match function {
                Function::Floor => Rounding::Floor,
                Function::Ceil => Rounding::Ceil,
                _ => Rounding::Round,
            };
            match (value.shape, value.node) {
                (Shape::Integer(bounds), node) => Ok(Typed { at, shape: Shape::Integer(bounds), can_fail, node }),
                (_, Node::Arithmetic(Operator::Divide, a, b)) if rounding == Rounding::Floor => {
                    floor_quotient(at, *a, *b)
                }
                (shape, node) => Ok(to_integer(at, rounding, Typed { at: value.at, shape, can_fail, node })),
            }
        }
        Function::Sqrt => {
            let value = float(next()?)?;
            let shape = Shape::Float(value.real().square_root());
            Ok(Typed { at, shape, can_fail, node: Node::SquareRoot(value.boxed()) })
        }
        Function::Gcd => {
            let (a, b) = (integral(next()?, &name)?, integral(next()?, &name)?);
            let most = i128::try_from(a.whole().magnitude().max(b.whole().magnitude()));
            let bounds = (Whole::new(0, most.unwrap_or(i128::MAX)), most.is_err());
            Ok(whole(at, bounds, can_fail, Node::Gcd(a.boxed(), b.boxed())))
        }
        Function::IsPrime => {
            let value = integral(next()?, &name)?;
            let can_fail = can_fail || !value.whole().is_narrow();
            Ok(Typed { at, shape: Shape::Bool, can_fail, node: Node::IsPrime(value.boxed()) })
        }
        Function::If => {
            let (test, a, b) = (condition(next()?)?, next()?, next()?);
            let (a, b) = match (a.shape, b.shape) {
                (Shape::Bool, Shape::Bool) | (Shape::Text, Shape::Text) => (a, b),
                (_, _) => alike(a, b)?,
            };
            let shape = join(a.shape, b.shape);
            Ok(Typed { at, shape, can_fail, node: Node::If(test.boxed(), a.boxed(), b.boxed()) })
        }
        Function::Sin | Function::Cos | Function::Tan | Function::Exp | Function::Ln | Function::Log10 => {
            let value = float(next()?)?;
            Ok(Typed { at, shape: Shape::Float(UNKNOWN), can_fail, node: Node::Real(function, value.boxed()) })
        }
        Function::Pow => {
            let (a, b) = (next()?, next()?);
            power(at, a, b)
        }
        Function::Upper | Function::Lower | Function::Trim => {
            let value = text(next()?, &name)?;
            Ok(Typed { at, shape: Shape::Text, can_fail: true, node: Node::Text1(function, value.boxed()) })
        }
        Function::Len => {
            let value = text(next()?, &name)?;
            let shape = Shape::Integer(Whole::new(0, i128::from(u32::MAX)));
            Ok(Typed { at, shape, can_fail, node: Node::Text1(function, value.boxed()) })
        }
        Function::Replace => {
            let (whole, from, to) = (text(next()?, &name)?, text(next()?, &name)?, text(next()?, &name)?);
            let node = Node::Replace(whole.boxed(), from.boxed(), to.boxed());
            Ok(Typed { at, shape: Shape::Text, can_fail: true, node })
        }
        Function::Contains => {
            let (whole, part) = (text(next()?, &name)?, text(next()?, &name)?);
            Ok(Typed { at, shape: Shape::Bool, can_fail, node: Node::Contains(whole.boxed(), part.boxed()) })
        }
    }
}

fn join(a: Shape, b: Shape) -> Shape {
    match (a, b) {
        (Shape::Integer(a), Shape::Integer(b)) => Shape::Integer(a.join(b)),
        (Shape::Float(a), Shape::Float(b)) => Shape::Float(a.join(b)),
        (_, _) => a,
    }
}

fn absolute(at: usize, value: Typed) -> Answer {
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

fn extreme(at: usize, least: bool, a: Typed, b: Typed) -> Answer {
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

/// `floor(a / b)`: exact where both are integers.
fn floor_quotient(at: usize, a: Typed, b: Typed) -> Answer {
    match (a.node, b.node) {
        (Node::IntegerToFloat(a), Node::IntegerToFloat(b)) => binary(at, Operator::FloorDivide, *a, *b),
        (Node::IntegerToFloat(a), Node::Float(divisor)) if divisor == divisor.trunc() && divisor.abs() < 9e15 => {
            binary(at, Operator::FloorDivide, *a, integer(b.at, divisor as i128))
        }
        (a_node, b_node) => {
            let (a, b) = (Typed { node: a_node, ..a }, Typed { node: b_node, ..b });
            let quotient = binary(at, Operator::Divide, a, b)?;
            Ok(to_integer(at, Rounding::Floor, quotient))
        }
    }
}
