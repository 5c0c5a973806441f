//! A formula's characters as tokens, each with its position.

use super::{MOST_CHARACTERS, invalid};
use crate::refusal::{Code, Refusal};

/// The magnitude of the least integer of 128 bits: one more than the largest.
pub(super) const LEAST_MAGNITUDE: u128 = i128::MIN.unsigned_abs();

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Up to 2^127, which only a minus makes an integer of 128 bits.
    Integer(u128),
    Float(f64),
    Text(String),
    Name(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// Character, 0-based.
    pub at: usize,
    pub token: Token,
}

/// Longer signs first.
const SIGNS: &[&str] =
    &["**", "//", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ",", ";", "="];

/// What people write from habit, and what it is called here.
const HABITS: &[(&str, &str)] = &[
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("!", "write `not`, or `!=` for unequal"),
    ("^", "write `**` for a power"),
    ("²", "write `x ** 2`"),
    ("×", "write `*`"),
    ("÷", "write `/`"),
    ("≤", "write `<=`"),
    ("≥", "write `>=`"),
    ("≠", "write `!=`"),
    ("[", "only round brackets are used"),
    ("{", "only round brackets are used"),
    ("|", "write `abs(x)` for an absolute value, `or` between conditions"),
    ("&", "write `and`"),
    ("?", "write `if(condition, value, other)`"),
    ("−", "write the plain minus `-`"),
    (".e", "write a digit before the point, as in `0.5e3`"),
    (".", "write a number with its digits, as in `0.5`, and a function before its value, as in `upper(x)`"),
];

pub(super) fn tokens(text: &str) -> Result<Vec<Spot>, Refusal> {
    let characters: Vec<char> = text.chars().take(MOST_CHARACTERS + 1).collect();
    if characters.len() > MOST_CHARACTERS {
        let message = format!("the formula has more than {MOST_CHARACTERS} characters");
        return Err(invalid(MOST_CHARACTERS, message, "shorten it, or write a kernel"));
    }
    let mut spots = Vec::new();
    let mut at = 0;
    while let Some(&first) = characters.get(at) {
        let rest = &characters[at..];
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let (token, len) = if first.is_ascii_digit() || (first == '.' && rest.get(1).is_some_and(char::is_ascii_digit))
        {
            number(rest, at)?
        } else if first.is_alphabetic() || first == '_' {
            // A raised 2 counts as alphanumeric, but no name has one.
            let len = rest.iter().take_while(|c| (c.is_alphanumeric() && **c != '²') || **c == '_').count();
            (Token::Name(rest[..len].iter().collect()), len)
        } else if first == '"' || first == '\'' {
            quoted(rest, first, at)?
        } else {
            sign(rest, at)?
        };
        spots.push(Spot { at, token });
        at += len;
    }
    spots.push(Spot { at, token: Token::End });
    Ok(spots)
}

fn number(rest: &[char], at: usize) -> Result<(Token, usize), Refusal> {
    let digits = |from: usize| rest[from..].iter().take_while(|c| c.is_ascii_digit() || **c == '_').count();
    let mut len = digits(0);
    let mut float = false;
    if rest.get(len) == Some(&'.') {
        float = true;
        len += 1 + digits(len + 1);
    }
    if matches!(rest.get(len), Some('e' | 'E')) {
        let signed = usize::from(matches!(rest.get(len + 1), Some('+' | '-')));
        let exponent = rest.get(len + 1 + signed..).map_or(0, |_| digits(len + 1 + signed));
        if exponent > 0 {
            float = true;
            len += 1 + signed + exponent;
        }
    }
    if let Some(c) = rest.get(len).filter(|c| (c.is_alphanumeric() && **c != '²') || **c == '.') {
        return Err(invalid(at + len, format!("{c:?} cannot follow a number"), "write `*` to multiply, as in `2*x`"));
    }
    let text: String = rest[..len].iter().filter(|c| **c != '_').collect();
    if float {
        let value = text.parse().ok().filter(|value: &f64| value.is_finite()).map(Token::Float);
        return Ok((value.ok_or_else(|| too_large_a_float(&text, at))?, len));
    }
    let value = text.parse().ok().filter(|value| *value <= LEAST_MAGNITUDE).map(Token::Integer);
    Ok((value.ok_or_else(|| too_large(&text, at))?, len))
}

fn too_large_a_float(text: &str, at: usize) -> Refusal {
    let hint = "floats go up to 1.7976931348623157e308";
    Refusal::new(Code::InvalidNumber, format!("the number {text:.60} is too large for a float"), hint).at(at)
}

/// The refusal of an integer that does not fit.
pub(super) fn too_large(text: &str, at: usize) -> Refusal {
    let hint = "integers lie between -2^127 and 2^127 - 1; write a decimal point for a float";
    Refusal::new(Code::InvalidNumber, format!("the number {text:.60} is too large"), hint).at(at)
}

fn quoted(rest: &[char], quote: char, at: usize) -> Result<(Token, usize), Refusal> {
    let mut text = String::new();
    let mut i = 1;
    while let Some(&c) = rest.get(i) {
        i += 1;
        if c == quote {
            return Ok((Token::Text(text), i));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let escaped = rest.get(i).copied();
        i += 1;
        text.push(match escaped {
            Some('n') => '\n',
            Some('t') => '\t',
            Some(c @ ('\\' | '"' | '\'')) => c,
            Some(_) | None => {
                return Err(invalid(at + i - 2, "unknown escape in a text", "use \\n, \\t, \\\\, \\\" or \\'"));
            }
        });
    }
    Err(invalid(at, "this text has no closing quote", format!("end it with {quote}")))
}

fn sign(rest: &[char], at: usize) -> Result<(Token, usize), Refusal> {
    let starts = |sign: &str| sign.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    if let Some(sign) = SIGNS.iter().find(|sign| starts(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let hint = HABITS.iter().find(|(habit, _)| starts(habit)).map_or("remove it", |(_, hint)| hint);
    Err(invalid(at, format!("{:?} is not part of a formula", rest[0]), hint))
}
