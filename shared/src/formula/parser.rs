//! Tokens as an expression: precedence climbing, as in Python.
//!
//! From loose to tight: `or`, `and`, `not`, comparisons, `+ -`, `* / // %`, unary `-`, `**` (right to left).

use super::{
    MOST_DEPTH, MOST_LEVELS, MOST_NODES, invalid,
    lexer::{LEAST_MAGNITUDE, Spot, Token, tokens, too_large},
};
use crate::refusal::Refusal;

#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// The character that messages point at.
    pub at: usize,
    /// Levels of expressions in it, itself included; everything that walks it recurses so deep.
    pub levels: usize,
    pub kind: Kind,
}

impl Kind {
    fn levels(&self) -> usize {
        match self {
            Kind::Integer(_) | Kind::Float(_) | Kind::Bool(_) | Kind::Text(_) | Kind::X | Kind::Name(_) => 1,
            Kind::Negate(a) | Kind::Not(a) => 1 + a.levels,
            Kind::Let(_, a, b) | Kind::Binary(_, a, b) => 1 + a.levels.max(b.levels),
            Kind::Call(_, values) => 1 + values.iter().map(|value| value.levels).max().unwrap_or(0),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    X,
    /// A name bound by `let`.
    Name(String),
    Let(String, Box<Expression>, Box<Expression>),
    Negate(Box<Expression>),
    Not(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Call(Function, Vec<Expression>),
}

/// What stands between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Compare(Comparison),
    Arithmetic(Arithmetic),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

impl Comparison {
    /// The comparison that says the same with its sides exchanged.
    pub(super) fn exchanged(self) -> Self {
        match self {
            Comparison::Equal => Comparison::Equal,
            Comparison::Unequal => Comparison::Unequal,
            Comparison::Less => Comparison::More,
            Comparison::LessOrEqual => Comparison::MoreOrEqual,
            Comparison::More => Comparison::Less,
            Comparison::MoreOrEqual => Comparison::LessOrEqual,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant),* }

        impl Function {
            const ALL: &[(&str, Function)] = &[$(($name, Function::$variant)),*];

            /// As it is written.
            pub(super) fn name(self) -> &'static str {
                match self { $(Function::$variant => $name),* }
            }

            /// How many values it takes: least and most.
            fn arity(self) -> (usize, usize) {
                match self { $(Function::$variant => ($least, $most)),* }
            }
        }
    };
}

functions! {
    Abs "abs" 1 1;
    Min "min" 2 64;
    Max "max" 2 64;
    Floor "floor" 1 1;
    Ceil "ceil" 1 1;
    Round "round" 1 1;
    Sqrt "sqrt" 1 1;
    Gcd "gcd" 2 2;
    IsPrime "is_prime" 1 1;
    If "if" 3 3;
    Sin "sin" 1 1;
    Cos "cos" 1 1;
    Tan "tan" 1 1;
    Exp "exp" 1 1;
    Ln "ln" 1 1;
    Log10 "log10" 1 1;
    Pow "pow" 2 2;
    Upper "upper" 1 1;
    Lower "lower" 1 1;
    Len "len" 1 1;
    Trim "trim" 1 1;
    Replace "replace" 3 3;
    Contains "contains" 2 2;
}

/// How tightly an operator binds: larger is tighter.
fn binding(token: &Token) -> Option<(Operator, u8)> {
    let (operator, tightness) = match token {
        Token::Name(name) => match name.as_str() {
            "or" => (Operator::Or, 1),
            "and" => (Operator::And, 2),
            _ => return None,
        },
        Token::Sign(sign) => match *sign {
            "==" => (Operator::Compare(Comparison::Equal), COMPARISON),
            "!=" => (Operator::Compare(Comparison::Unequal), COMPARISON),
            "<" => (Operator::Compare(Comparison::Less), COMPARISON),
            "<=" => (Operator::Compare(Comparison::LessOrEqual), COMPARISON),
            ">" => (Operator::Compare(Comparison::More), COMPARISON),
            ">=" => (Operator::Compare(Comparison::MoreOrEqual), COMPARISON),
            "+" => (Operator::Arithmetic(Arithmetic::Add), 5),
            "-" => (Operator::Arithmetic(Arithmetic::Subtract), 5),
            "*" => (Operator::Arithmetic(Arithmetic::Multiply), 6),
            "/" => (Operator::Arithmetic(Arithmetic::Divide), 6),
            "//" => (Operator::Arithmetic(Arithmetic::FloorDivide), 6),
            "%" => (Operator::Arithmetic(Arithmetic::Remainder), 6),
            "**" => (Operator::Arithmetic(Arithmetic::Power), POWER),
            _ => return None,
        },
        Token::Integer(_) | Token::Float(_) | Token::Text(_) | Token::End => return None,
    };
    Some((operator, tightness))
}

const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const NEGATION: u8 = 7;
const POWER: u8 = 8;

pub(super) fn parse(text: &str) -> Result<Expression, Refusal> {
    let mut parser = Parser { spots: tokens(text)?, next: 0, brackets: 0, depth: 0, nodes: 0, names: Vec::new() };
    if parser.peek() == &Token::End {
        return Err(invalid(0, "the formula is empty", "write something with x, for example `x*x`"));
    }
    let expression = parser.body()?;
    let next = parser.peek();
    if *next == Token::End {
        return Ok(expression);
    }
    Err(invalid(parser.at(), format!("{} is not expected here", shown(next)), "write one formula"))
}

struct Parser {
    spots: Vec<Spot>,
    next: usize,
    /// Brackets that are open.
    brackets: usize,
    /// Expressions that are being read, each within the one before.
    depth: usize,
    nodes: usize,
    /// Bound by `let` so far.
    names: Vec<String>,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.spots.get(self.next).map_or(&Token::End, |spot| &spot.token)
    }

    fn at(&self) -> usize {
        self.spots.get(self.next).or(self.spots.last()).map_or(0, |spot| spot.at)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    /// Whether what follows a minus makes the least integer with it: nothing behind binds tighter than the minus.
    fn is_least(&self, minus: u8) -> bool {
        let behind = self.spots.get(self.next + 1).and_then(|spot| binding(&spot.token));
        self.peek() == &Token::Integer(LEAST_MAGNITUDE) && behind.is_none_or(|(_, tightness)| tightness <= minus)
    }

    fn expect(&mut self, sign: &str, hint: &str) -> Result<(), Refusal> {
        if self.is(sign) {
            self.next += 1;
            return Ok(());
        }
        Err(invalid(self.at(), format!("{sign:?} is expected here, not {}", shown(self.peek())), hint))
    }

    /// `let name = value; … ; expression`
    fn body(&mut self) -> Result<Expression, Refusal> {
        if !matches!(self.peek(), Token::Name(name) if name == "let") {
            return self.expression(0);
        }
        let at = self.at();
        self.deeper(at)?;
        self.next += 1;
        let (name_at, token) = (self.at(), self.take());
        let Token::Name(name) = token else {
            return Err(invalid(name_at, format!("{} is no name", shown(&token)), "write `let y = x*x; y + 1`"));
        };
        if is_reserved(&name) {
            return Err(invalid(name_at, format!("{:?} has a meaning already", cut(&name)), "choose another name"));
        }
        self.expect("=", "write `let y = x*x; y + 1`")?;
        let value = self.expression(0)?;
        self.expect(";", "end the binding with `;`, then write what to compute with it")?;
        self.names.push(name.clone());
        let body = self.body()?;
        self.names.pop();
        self.depth -= 1;
        self.node(at, Kind::Let(name, Box::new(value), Box::new(body)))
    }

    fn expression(&mut self, loosest: u8) -> Result<Expression, Refusal> {
        self.deeper(self.at())?;
        let mut left = self.operand()?;
        while let Some((operator, tightness)) = binding(self.peek()) {
            if tightness <= loosest {
                break;
            }
            let at = self.at();
            self.next += 1;
            if operator == Operator::Arithmetic(Arithmetic::Subtract) && self.is_least(tightness) {
                // Its magnitude alone is no integer of 128 bits.
                let least = self.node(self.at(), Kind::Integer(i128::MIN))?;
                self.next += 1;
                let plus = Operator::Arithmetic(Arithmetic::Add);
                left = self.node(at, Kind::Binary(plus, Box::new(left), Box::new(least)))?;
                continue;
            }
            // The right side of a power binds itself from the right, and may carry a sign.
            let right = self.expression(if tightness == POWER { POWER - 1 } else { tightness })?;
            if tightness == COMPARISON && matches!(binding(self.peek()), Some((_, COMPARISON))) {
                return Err(invalid(self.at(), "comparisons cannot be chained", "write `1 < x and x < 5`"));
            }
            left = self.node(at, Kind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
        if self.is("=") {
            return Err(invalid(self.at(), "`=` is not a comparison", "write `==`"));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, Refusal> {
        let at = self.at();
        let kind = match self.take() {
            Token::Integer(value) => {
                Kind::Integer(i128::try_from(value).map_err(|_| too_large(&value.to_string(), at))?)
            }
            Token::Float(value) => Kind::Float(value),
            Token::Text(text) => Kind::Text(text),
            Token::Sign("-") if self.is_least(NEGATION) => {
                self.next += 1;
                Kind::Integer(i128::MIN)
            }
            Token::Sign("-") => Kind::Negate(Box::new(self.expression(NEGATION)?)),
            Token::Sign("+") => return self.expression(NEGATION),
            Token::Sign("(") => {
                let inner = self.inside(at)?;
                self.expect(")", "close the bracket")?;
                return Ok(inner);
            }
            Token::Name(name) => return self.named(name, at),
            other @ (Token::Sign(_) | Token::End) => {
                let hint = "write a number, x, a function or a bracket";
                return Err(invalid(at, format!("a value is expected here, not {}", shown(&other)), hint));
            }
        };
        self.node(at, kind)
    }

    fn named(&mut self, name: String, at: usize) -> Result<Expression, Refusal> {
        let kind = match name.as_str() {
            "x" => Kind::X,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "pi" => Kind::Float(core::f64::consts::PI),
            "not" => Kind::Not(Box::new(self.expression(NOT)?)),
            "let" => {
                return Err(invalid(at, "`let` stands at the beginning or after a bracket", "move it to the front"));
            }
            "and" | "or" => {
                return Err(invalid(
                    at,
                    format!("a value is expected before `{name}`"),
                    "write a condition on both sides",
                ));
            }
            _ if self.names.contains(&name) => Kind::Name(name),
            _ => match Function::ALL.iter().find(|(known, _)| *known == name) {
                Some((_, function)) => return self.call(*function, at),
                None => return Err(invalid(at, format!("{:?} is not known", cut(&name)), known_names(&name))),
            },
        };
        self.node(at, kind)
    }

    fn call(&mut self, function: Function, at: usize) -> Result<Expression, Refusal> {
        self.expect("(", &format!("write its values in brackets, as in `{}(x)`", function.name()))?;
        let mut values = Vec::new();
        if !self.is(")") {
            values.push(self.inside(at)?);
            while self.is(",") {
                self.next += 1;
                values.push(self.inside(at)?);
            }
        }
        self.expect(")", "close the bracket, or separate values by `,`")?;
        let (least, most) = function.arity();
        if !(least..=most).contains(&values.len()) {
            let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            let message = format!("`{}` takes {wanted} value(s), not {}", function.name(), values.len());
            return Err(invalid(at, message, "separate values by `,`"));
        }
        self.node(at, Kind::Call(function, values))
    }

    fn node(&mut self, at: usize, kind: Kind) -> Result<Expression, Refusal> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let message = format!("the formula has more than {MOST_NODES} parts");
            return Err(invalid(at, message, "shorten it, or write a kernel"));
        }
        let levels = kind.levels();
        if levels > MOST_LEVELS {
            return Err(too_many_levels(at));
        }
        Ok(Expression { at, levels, kind })
    }

    /// What stands in a bracket.
    fn inside(&mut self, at: usize) -> Result<Expression, Refusal> {
        self.brackets += 1;
        if self.brackets > MOST_DEPTH {
            let message = format!("the formula has more than {MOST_DEPTH} brackets within each other");
            return Err(invalid(at, message, "use fewer brackets, or write a kernel"));
        }
        let inner = self.body()?;
        self.brackets -= 1;
        Ok(inner)
    }

    /// Beside brackets, only operators and bindings that feed one another make expressions within each other.
    fn deeper(&mut self, at: usize) -> Result<(), Refusal> {
        self.depth += 1;
        if self.depth > MOST_DEPTH + MOST_LEVELS {
            return Err(too_many_levels(at));
        }
        Ok(())
    }
}

fn too_many_levels(at: usize) -> Refusal {
    invalid(at, format!("the formula chains more than {MOST_LEVELS} operators"), "shorten it, or write a kernel")
}

fn is_reserved(name: &str) -> bool {
    ["x", "true", "false", "pi", "not", "let", "and", "or"].contains(&name)
        || Function::ALL.iter().any(|(known, _)| *known == name)
}

fn known_names(unknown: &str) -> String {
    let lower = unknown.to_lowercase();
    let habit = match lower.as_str() {
        "log" => Some("write `ln` or `log10`"),
        "mod" => Some("write `%`"),
        "math" => Some("write the function alone, as in `sqrt(x)`"),
        "length" | "size" => Some("write `len`"),
        _ => None,
    };
    if let Some(hint) = habit {
        return hint.to_owned();
    }
    if Function::ALL.iter().any(|(known, _)| *known == lower) || lower == "x" {
        return format!("write `{lower}`");
    }
    let names: Vec<&str> = Function::ALL.iter().map(|(name, _)| *name).collect();
    format!("a formula knows x, numbers and {}", names.join(", "))
}

/// The beginning of a name, short enough for a message.
fn cut(name: &str) -> String {
    name.chars().take(40).collect()
}

fn shown(token: &Token) -> String {
    match token {
        Token::Integer(value) => format!("the number {value}"),
        Token::Float(value) => format!("the number {value}"),
        Token::Text(_) => "a text".to_owned(),
        Token::Name(name) => format!("{:?}", cut(name)),
        Token::Sign(sign) => format!("{sign:?}"),
        Token::End => "the end".to_owned(),
    }
}
