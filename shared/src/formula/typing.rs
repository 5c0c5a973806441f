//! An expression with the type and bounds of every part, given what `x` is.

mod arithmetic;

use super::{
    Subject,
    bounds::{ANY, Real, UNKNOWN, Whole},
    invalid,
    parser::{Arithmetic, Comparison, Expression, Function, Kind, Operator},
};
use crate::refusal::Refusal;

/// Type and bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
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
pub(super) struct Typed {
    pub at: usize,
    pub shape: Shape,
    /// Whether evaluating it can fail (overflow, division by zero, …).
    pub can_fail: bool,
    pub node: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Floor,
    Ceil,
    Round,
}

/// A float function of one float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    Sin,
    Cos,
    Tan,
    Exp,
    Ln,
    Log10,
}

/// What makes another text of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Upper,
    Lower,
    Trim,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
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
    Arithmetic(Arithmetic, Box<Typed>, Box<Typed>),
    /// The float nearest to the quotient of two integers.
    Quotient(Box<Typed>, Box<Typed>),
    /// The quotient of two numbers, a float among them, rounded down to an integer.
    FloorQuotient(Box<Typed>, Box<Typed>),
    /// The remainder of an integer and a float, in either order, as a float.
    MixedRemainder(Box<Typed>, Box<Typed>),
    /// An integer, not rounded, to a written negative exponent, as a float.
    FractionPower(Box<Typed>, Box<Typed>),
    /// A float that must not be 0.
    NonZero(Box<Typed>),
    /// Both sides have one type.
    Compare(Comparison, Box<Typed>, Box<Typed>),
    /// An integer beside a float.
    MixedCompare(Comparison, Box<Typed>, Box<Typed>),
    And(Box<Typed>, Box<Typed>),
    Or(Box<Typed>, Box<Typed>),
    If(Box<Typed>, Box<Typed>, Box<Typed>),
    Absolute(Box<Typed>),
    /// The smaller (or larger) of two numbers of the result's type.
    Least(Box<Typed>, Box<Typed>),
    Most(Box<Typed>, Box<Typed>),
    ToInteger(Rounding, Box<Typed>),
    SquareRoot(Box<Typed>),
    Curve(Curve, Box<Typed>),
    Gcd(Box<Typed>, Box<Typed>),
    IsPrime(Box<Typed>),
    /// Characters of a text.
    Length(Box<Typed>),
    Change(Change, Box<Typed>),
    Contains(Box<Typed>, Box<Typed>),
    Replace(Box<Typed>, Box<Typed>, Box<Typed>),
    Concatenate(Box<Typed>, Box<Typed>),
}

/// What a whole formula gives: one type, or what an `if` chooses between texts and numbers. Such an `if` stands only where
/// nothing is computed with it, so no value has two types.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Value(Typed),
    Let { slot: usize, value: Typed, body: Box<Outcome> },
    Choice { test: Typed, value: Box<Outcome>, other: Box<Outcome> },
}

impl Outcome {
    /// What it is, if that is one type.
    pub(super) fn value(&self) -> Option<&Typed> {
        match self {
            Outcome::Value(value) => Some(value),
            Outcome::Let { .. } | Outcome::Choice { .. } => None,
        }
    }

    /// The character that messages point at.
    pub(super) fn at(&self) -> usize {
        match self {
            Outcome::Value(value) => value.at,
            Outcome::Let { body, .. } => body.at(),
            Outcome::Choice { test, .. } => test.at,
        }
    }
}

/// A typed formula and the values that it keeps.
pub(super) struct Typing {
    pub root: Outcome,
    /// Shapes of what `let` binds.
    pub slots: Vec<Shape>,
    /// Whether a part of it is a text.
    pub has_text: bool,
}

pub(super) fn type_of(expression: &Expression, subject: Subject) -> Result<Typing, Refusal> {
    let has_text = subject == Subject::Text;
    let mut typer = Typer { subject, names: Vec::new(), slots: Vec::new(), has_text };
    let root = typer.outcome(expression)?;
    Ok(Typing { root, slots: typer.slots, has_text: typer.has_text })
}

/// The truth value that a `where` formula must be.
pub(super) fn as_condition(typing: &Typing) -> Result<&Typed, Refusal> {
    let found = match &typing.root {
        Outcome::Value(value) => match value.shape {
            Shape::Bool => return Ok(value),
            Shape::Integer(_) | Shape::Float(_) | Shape::Text => value.shape.name(),
        },
        Outcome::Let { .. } | Outcome::Choice { .. } => "a text or a number",
    };
    Err(invalid(
        typing.root.at(),
        format!("`where` needs a condition, but this is {found}"),
        "compare it with something, as in `x % 2 == 0`",
    ))
}

struct Typer {
    subject: Subject,
    names: Vec<(String, usize)>,
    slots: Vec<Shape>,
    has_text: bool,
}

type Answer = Result<Typed, Refusal>;

impl Typer {
    /// A whole formula, or what stands where its value is the whole formula's.
    fn outcome(&mut self, expression: &Expression) -> Result<Outcome, Refusal> {
        let at = expression.at;
        match &expression.kind {
            Kind::Let(name, value, body) => {
                let (slot, value) = self.bind(name, value)?;
                let body = self.outcome(body)?;
                self.names.pop();
                Ok(match body {
                    Outcome::Value(body) => Outcome::Value(bound(at, slot, value, body)),
                    Outcome::Let { .. } | Outcome::Choice { .. } => Outcome::Let { slot, value, body: Box::new(body) },
                })
            }
            Kind::Call(Function::If, values) => {
                let [test, value, other] = &values[..] else { return Err(invalid(at, "a value is missing", "")) };
                let test = condition(self.expression(test)?)?;
                match (self.outcome(value)?, self.outcome(other)?) {
                    (Outcome::Value(value), Outcome::Value(other)) if suit(value.shape, other.shape) => {
                        choose(at, test, value, other).map(Outcome::Value)
                    }
                    (value, other) => Ok(Outcome::Choice { test, value: Box::new(value), other: Box::new(other) }),
                }
            }
            Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Bool(_)
            | Kind::Text(_)
            | Kind::X
            | Kind::Name(_)
            | Kind::Negate(_)
            | Kind::Not(_)
            | Kind::Binary(_, _, _)
            | Kind::Call(_, _) => self.expression(expression).map(Outcome::Value),
        }
    }

    /// Types a value and gives it its name, until the name is popped.
    fn bind(&mut self, name: &str, value: &Expression) -> Result<(usize, Typed), Refusal> {
        let value = self.expression(value)?;
        let slot = self.slots.len();
        self.slots.push(value.shape);
        self.names.push((name.to_owned(), slot));
        Ok((slot, value))
    }

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
                let (slot, value) = self.bind(name, value)?;
                let body = self.expression(body)?;
                self.names.pop();
                Ok(bound(at, slot, value, body))
            }
            Kind::Negate(inner) => arithmetic::negate(at, self.expression(inner)?),
            Kind::Not(inner) => {
                let inner = condition(self.expression(inner)?)?;
                Ok(Typed { at, shape: Shape::Bool, can_fail: inner.can_fail, node: Node::Not(inner.boxed()) })
            }
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.expression(left)?, self.expression(right)?);
                match (operator, left.shape, &right.node) {
                    (
                        Operator::Arithmetic(Arithmetic::Power),
                        Shape::Integer(base),
                        Node::Integer(exponent @ 2..=MOST_UNROLLED),
                    ) if !base.power(right.whole()).0.is_narrow() => self.unrolled_power(at, left, *exponent),
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
            power = arithmetic::multiply(at, local(&half), local(&half))?;
            kept.push(half);
            if exponent >> bit & 1 == 1 {
                power = arithmetic::multiply(at, power, local(&kept[0]))?;
            }
        }
        if let (Shape::Integer(_), false) = (power.shape, fails) {
            power.shape = Shape::Integer(bounds);
        }
        Ok(kept.into_iter().rev().fold(power, |body, Kept { slot, value, .. }| bound(at, slot, value, body)))
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
    pub(super) fn whole(&self) -> Whole {
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

/// `let` around a body.
fn bound(at: usize, slot: usize, value: Typed, body: Typed) -> Typed {
    let (shape, can_fail) = (body.shape, value.can_fail || body.can_fail);
    Typed { at, shape, can_fail, node: Node::Let { slot, value: value.boxed(), body: body.boxed() } }
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

fn binary(at: usize, operator: Operator, left: Typed, right: Typed) -> Answer {
    match operator {
        Operator::And | Operator::Or => {
            let can_fail = left.can_fail || right.can_fail;
            let (left, right) = (condition(left)?.boxed(), condition(right)?.boxed());
            let node = if operator == Operator::And { Node::And(left, right) } else { Node::Or(left, right) };
            Ok(Typed { at, shape: Shape::Bool, can_fail, node })
        }
        Operator::Compare(comparison) => compare(at, comparison, left, right),
        Operator::Arithmetic(Arithmetic::Add) if left.shape == Shape::Text || right.shape == Shape::Text => {
            let (left, right) = (text(left, "joining texts by `+`")?, text(right, "joining texts by `+`")?);
            Ok(Typed { at, shape: Shape::Text, can_fail: true, node: Node::Concatenate(left.boxed(), right.boxed()) })
        }
        Operator::Arithmetic(operator) => arithmetic::binary(at, operator, left, right),
    }
}

fn compare(at: usize, comparison: Comparison, left: Typed, right: Typed) -> Answer {
    if (left.shape, right.shape) == (Shape::Text, Shape::Text) {
        let can_fail = left.can_fail || right.can_fail;
        let node = Node::Compare(comparison, left.boxed(), right.boxed());
        return Ok(Typed { at, shape: Shape::Bool, can_fail, node });
    }
    arithmetic::compare(at, comparison, left, right)
}

/// Whether two values of an `if` become one type.
fn suit(a: Shape, b: Shape) -> bool {
    (a == Shape::Text) == (b == Shape::Text)
}

fn choose(at: usize, test: Typed, a: Typed, b: Typed) -> Answer {
    let can_fail = test.can_fail || a.can_fail || b.can_fail;
    let (a, b) = match (a.shape, b.shape) {
        (Shape::Bool, Shape::Bool) | (Shape::Text, Shape::Text) => (a, b),
        (Shape::Text, Shape::Integer(_) | Shape::Float(_) | Shape::Bool)
        | (Shape::Integer(_) | Shape::Float(_) | Shape::Bool, Shape::Text) => {
            let hint = "let the `if` be the whole formula: nothing can be computed with what may be either";
            return Err(invalid(at, "this `if` gives a text in one case and a number in the other", hint));
        }
        (Shape::Integer(_) | Shape::Float(_) | Shape::Bool, Shape::Integer(_) | Shape::Float(_) | Shape::Bool) => {
            arithmetic::alike(a, b)?
        }
    };
    let shape = arithmetic::join(a.shape, b.shape);
    Ok(Typed { at, shape, can_fail, node: Node::If(test.boxed(), a.boxed(), b.boxed()) })
}

fn call(at: usize, function: Function, values: Vec<Typed>) -> Answer {
    let can_fail = values.iter().any(|value| value.can_fail);
    let mut values = values.into_iter();
    let mut next = || values.next().ok_or_else(|| invalid(at, "a value is missing", ""));
    let name = format!("`{}`", function.name());
    match function {
        Function::Abs => arithmetic::absolute(at, number(next()?)?),
        Function::Min | Function::Max => {
            let mut best = number(next()?)?;
            while let Ok(other) = next() {
                best = arithmetic::extreme(at, function == Function::Min, best, other)?;
            }
            Ok(best)
        }
        Function::Floor => arithmetic::rounded(at, Rounding::Floor, next()?),
        Function::Ceil => arithmetic::rounded(at, Rounding::Ceil, next()?),
        Function::Round => arithmetic::rounded(at, Rounding::Round, next()?),
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
            choose(at, test, a, b)
        }
        Function::Sin => curve(at, Curve::Sin, next()?),
        Function::Cos => curve(at, Curve::Cos, next()?),
        Function::Tan => curve(at, Curve::Tan, next()?),
        Function::Exp => curve(at, Curve::Exp, next()?),
        Function::Ln => curve(at, Curve::Ln, next()?),
        Function::Log10 => curve(at, Curve::Log10, next()?),
        Function::Pow => {
            let (a, b) = (next()?, next()?);
            arithmetic::binary(at, Arithmetic::Power, a, b)
        }
        Function::Upper => change(at, Change::Upper, text(next()?, &name)?),
        Function::Lower => change(at, Change::Lower, text(next()?, &name)?),
        Function::Trim => change(at, Change::Trim, text(next()?, &name)?),
        Function::Len => {
            let value = text(next()?, &name)?;
            let shape = Shape::Integer(Whole::new(0, i128::from(u32::MAX)));
            Ok(Typed { at, shape, can_fail, node: Node::Length(value.boxed()) })
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

fn curve(at: usize, curve: Curve, value: Typed) -> Answer {
    let value = float(value)?;
    Ok(Typed { at, shape: Shape::Float(UNKNOWN), can_fail: value.can_fail, node: Node::Curve(curve, value.boxed()) })
}

fn change(at: usize, change: Change, value: Typed) -> Answer {
    Ok(Typed { at, shape: Shape::Text, can_fail: true, node: Node::Change(change, value.boxed()) })
}
