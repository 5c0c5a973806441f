//! What our own guests answer, as the requester reads it, and values as JSON text.

use crate::{
    exchange::{Failure, STATUS_DONE, STATUS_FAILED, partial::Reduced, value::Value},
    refusal::{Code, Refusal},
};

/// The largest integer that every JSON reader takes exactly.
const MOST_PLAIN: i128 = 1 << 53;

/// The content of an output that says "done"; else its failure and where it happened.
pub(super) fn content(output: &[u8]) -> Result<&[u8], Answer> {
    match output.split_first() {
        Some((&STATUS_DONE, content)) => Ok(content),
        Some((&STATUS_FAILED, rest)) => {
            let failure = rest.first().and_then(|code| Failure::from_code(i32::from(*code)));
            let position = rest.get(1..).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            match (failure, position) {
                (Some(failure), Some(position)) => Err(Answer::Failed(failure, u64::from_le_bytes(position))),
                (_, _) => Err(Answer::Foreign),
            }
        }
        Some((_, _)) | None => Err(Answer::Foreign),
    }
}

/// An output without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel's own failure, with the number or item where it happened.
    Failed(Failure, u64),
    /// No output of this kernel: whoever sent it did not run it.
    Foreign,
}

/// The refusal for an output that this kernel cannot have made. Not the job's fault: another node should try.
pub(super) fn foreign() -> Refusal {
    Refusal::new(
        Code::MergeFailed,
        "a node sent an output that this kernel does not make",
        "the task goes to another node",
    )
}

/// The refusal for a kernel's own failure at a place (`x = 12`).
pub(super) fn failed(failure: Failure, place: &str) -> Refusal {
    let (code, what, hint) = match failure {
        Failure::Overflow => (
            Code::IntegerOverflow,
            "an integer result does not fit 128 bits",
            "use a smaller number, or a float such as 1.0 * x",
        ),
        Failure::DivisionByZero => {
            (Code::DivisionByZero, "this divides by zero", "leave the number out with `where`, or use `if`")
        }
        Failure::NegativeExponent => (
            Code::InvalidNumber,
            "an integer to a negative power is a fraction",
            "use a float base, as in (1.0 * x) ** -1",
        ),
        Failure::NotAnInteger => (
            Code::InvalidNumber,
            "what is not a number, or infinite, cannot be rounded to an integer",
            "leave the number out with `where`",
        ),
        Failure::PrimeRange => {
            (Code::InvalidNumber, "`is_prime` is exact below 3317044064679887385961981 only", "use smaller numbers")
        }
        Failure::BadInput => (Code::Internal, "the task's input was not understood", "report this"),
        Failure::TextTooLong => (Code::TooLarge, "a text grew beyond one mebibyte", "use shorter texts"),
        Failure::Singular => (Code::SingularMatrix, "the matrix has no inverse", "its determinant is zero"),
        Failure::NearSingular => (
            Code::InvalidNumber,
            "the matrix is too near to singular to be inverted in floating point",
            "take a smaller matrix, whose inverse is computed exactly",
        ),
        Failure::NoConvergence => {
            (Code::KernelError, "the iteration did not settle", "scale the matrix, or use another operation")
        }
    };
    Refusal::new(code, format!("{place}: {what}"), hint)
}

/// An integer as JSON: a number while every reader takes it exactly, else a text.
pub(super) fn put_integer(json: &mut String, value: i128) {
    let plain = value.unsigned_abs() <= MOST_PLAIN.unsigned_abs();
    let text = value.to_string();
    if plain {
        json.push_str(&text);
    } else {
        json.push('"');
        json.push_str(&text);
        json.push('"');
    }
}

/// A float as JSON: the shortest text that reads back the same; "NaN", "Infinity" and "-Infinity" in quotes.
pub(super) fn put_float(json: &mut String, value: f64) {
    if value.is_finite() {
        json.push_str(
            &serde_json::Number::from_f64(value).map_or_else(|| "null".to_owned(), |number| number.to_string()),
        );
    } else if value.is_nan() {
        json.push_str("\"NaN\"");
    } else {
        json.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
}

/// A value as JSON. A text that is none is of a node that did not run this kernel.
pub(super) fn put_value(json: &mut String, value: Value) -> Result<(), Refusal> {
    match value {
        Value::Bool(value) => json.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) => put_integer(json, value),
        Value::Float(value) => put_float(json, value),
        Value::Text(text) => {
            let text = core::str::from_utf8(text).map_err(|_| foreign())?;
            json.push_str(&serde_json::to_string(text).map_err(|_| foreign())?);
        }
    }
    Ok(())
}

/// The result of a reduction as JSON; `place` names what was reduced where that fails.
pub(super) fn reduced(value: Reduced, place: impl Fn() -> String) -> Result<String, Refusal> {
    let mut json = String::new();
    match value {
        Reduced::Nothing => json.push_str("null"),
        Reduced::Integer(value) => put_integer(&mut json, value),
        Reduced::Float(value) => put_float(&mut json, value),
        Reduced::Overflow => return Err(failed(Failure::Overflow, &place())),
    }
    Ok(json)
}
