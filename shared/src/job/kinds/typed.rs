//! What people type or drop into the fields of a form, turned into the JSON of a job. Numbers are carried as they stand,
//! digit by digit: a number that fits no float must not become one on the way. What is wrong with a job is not known here:
//! the JSON is read and refused as everybody else's.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    common,
    schema::{Example, Field, Kind, Presence, Sample, Type},
};

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// A text; empty where nothing was typed.
    Typed(&'a str),
    /// The content of a file.
    File(&'a [u8]),
}

impl<'a> Given<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Given::Typed(text) => text.as_bytes(),
            Given::File(bytes) => bytes,
        }
    }

    fn text(self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

/// What keeps a form from being JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which field.
    pub field: &'static str,
    /// Why.
    pub error: DataError,
}

/// The JSON of a job of this kind, from what stands in its fields and in those of every kind, by their names.
///
/// # Errors
/// A list or a matrix that cannot be read as one.
pub fn job<'a>(kind: &'static Kind, given: impl Fn(&'static str) -> Given<'a>) -> Result<String, Unreadable> {
    let mut object = Members::default();
    object.add(common::KIND, &quoted(kind.name));
    for field in kind.fields.iter().filter(|field| has_meaning(kind, field, &given)) {
        object.add_field(field, &given)?;
    }
    for field in common::FIELDS {
        object.add_field(field, &given)?;
    }
    Ok(object.close())
}

/// The JSON of an example; `shipped` finds the programs that a relay has beside its page. `None`: one is not there.
pub fn example(
    kind: &'static Kind,
    example: &Example,
    shipped: impl Fn(&'static str) -> Option<Vec<u8>>,
) -> Option<String> {
    let mut values: Vec<(&str, String, Option<Vec<u8>>)> = Vec::new();
    for (name, sample) in example.values {
        values.push(match sample {
            Sample::Typed(text) => (name, (*text).to_owned(), None),
            Sample::Made(make) => (name, make(), None),
            Sample::Shipped(program) => (name, String::new(), Some(shipped(program)?)),
        });
    }
    let given = |name: &str| match values.iter().find(|(known, _, _)| *known == name) {
        Some((_, _, Some(bytes))) => Given::File(bytes),
        Some((_, text, None)) => Given::Typed(text),
        None => Given::Typed(""),
    };
    job(kind, given).ok()
}

/// Whether a field of a kind has a meaning beside what stands in the others.
pub fn has_meaning<'a>(kind: &Kind, field: &Field, given: &impl Fn(&'static str) -> Given<'a>) -> bool {
    field.only.is_none_or(|(other, among)| {
        let word = given(other).text();
        let default = kind.field(other).and_then(Field::default).unwrap_or_default();
        among.contains(&if word.is_empty() { default } else { &word })
    })
}

/// The members of an object, in the order in which people think of them.
#[derive(Default)]
struct Members(String);

impl Members {
    fn add(&mut self, name: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
    }

    /// Adds what stands in a field. One that may be left out is, if nothing does.
    fn add_field<'a>(&mut self, field: &Field, given: &impl Fn(&'static str) -> Given<'a>) -> Result<(), Unreadable> {
        let json = match field.ty {
            Type::Object(fields) => {
                let mut object = Members::default();
                for field in fields {
                    object.add_field(field, given)?;
                }
                (!object.0.is_empty()).then(|| object.close())
            }
            Type::Formula
            | Type::Integer { .. }
            | Type::Fraction { .. }
            | Type::Choice(_)
            | Type::Line { .. }
            | Type::Labels { .. }
            | Type::Items
            | Type::Matrix
            | Type::Module
            | Type::Bytes
            | Type::Texts { .. }
            | Type::Integers { .. } => {
                value(field, given(field.name)).map_err(|error| Unreadable { field: field.name, error })?
            }
        };
        if let Some(json) = json {
            self.add(field.name, &json);
        }
        Ok(())
    }

    fn close(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// The JSON of what stands in a field; `None` where it is left out.
fn value(field: &Field, given: Given<'_>) -> Result<Option<String>, DataError> {
    let is_needed = match field.presence {
        Presence::Required | Presence::Unless(_) => true,
        Presence::Default(_) | Presence::Optional => false,
    };
    let text = given.text();
    let is_said = match field.ty {
        // What is meant anyway need not be said.
        Type::Choice(_) => !text.is_empty() && field.default() != Some(&text),
        Type::Bytes => !given.bytes().is_empty(),
        Type::Formula
        | Type::Integer { .. }
        | Type::Fraction { .. }
        | Type::Line { .. }
        | Type::Labels { .. }
        | Type::Items
        | Type::Matrix
        | Type::Module
        | Type::Texts { .. }
        | Type::Integers { .. }
        | Type::Object(_) => !text.trim().is_empty(),
    };
    if !is_needed && !is_said {
        return Ok(None);
    }
    let json = match field.ty {
        Type::Formula | Type::Line { .. } => quoted(text.trim()),
        Type::Choice(_) => quoted(&text),
        Type::Integer { .. } | Type::Fraction { .. } => number_or_text(&text),
        Type::Labels { .. } => labels(&text),
        Type::Items => match given {
            Given::Typed(text) => list(text)?,
            Given::File(_) => list_of_file(&text),
        },
        Type::Matrix => matrix(&text)?,
        Type::Module => match given {
            Given::Typed(text) => quoted(&text.split_whitespace().collect::<String>()),
            Given::File(bytes) => quoted(&STANDARD.encode(bytes)),
        },
        Type::Bytes => quoted(&STANDARD.encode(given.bytes())),
        Type::Texts { .. } => in_brackets(text.lines().map(quoted)),
        Type::Integers { .. } => {
            let words = text.split(|letter: char| letter.is_whitespace() || letter == ',');
            in_brackets(words.filter(|word| !word.is_empty()).map(number_or_text))
        }
        // Made of its own fields.
        Type::Object(_) => return Ok(None),
    };
    Ok(Some(json))
}

/// An object from a line a label, `key=value`.
fn labels(text: &str) -> String {
    let mut labels = Members::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        labels.add(key.trim(), &quoted(value.trim()));
    }
    labels.close()
}

fn in_brackets(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

/// Why data cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataError {
    /// Neither a number nor a list.
    NotANumber(String),
    /// It begins like a JSON list and is none.
    NotAList,
}

/// A JSON list from a JSON list, or from numbers apart by spaces, commas, semicolons or lines.
fn list(text: &str) -> Result<String, DataError> {
    let text = text.trim();
    if text.starts_with('[') {
        return if is_json(text) { Ok(text.to_owned()) } else { Err(DataError::NotAList) };
    }
    numbers(text).map(|numbers| format!("[{}]", numbers.join(",")))
}

/// The content of a file as a JSON list: JSON stays, numbers (CSV too, a heading is skipped) become numbers, anything
/// else becomes a list of its lines.
fn list_of_file(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') && is_json(text) {
        return text.to_owned();
    }
    let without_heading = text.split_once('\n').map_or("", |(_, rest)| rest);
    match (numbers(text), numbers(without_heading)) {
        (Ok(numbers), _) => format!("[{}]", numbers.join(",")),
        (Err(_), Ok(numbers)) if !numbers.is_empty() => format!("[{}]", numbers.join(",")),
        (Err(_), Ok(_) | Err(_)) => {
            let lines: Vec<String> = text.lines().map(quoted).collect();
            format!("[{}]", lines.join(","))
        }
    }
}

/// A matrix from JSON, or from a row a line.
fn matrix(text: &str) -> Result<String, DataError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') {
        return if is_json(text) { Ok(text.to_owned()) } else { Err(DataError::NotAList) };
    }
    let rows: Result<Vec<String>, DataError> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| numbers(line).map(|row| format!("[{}]", row.join(","))))
        .collect();
    Ok(format!("[{}]", rows?.join(",")))
}

/// A number as typed if JSON can carry it, else the text, so that the refusal names what was typed.
fn number_or_text(text: &str) -> String {
    let text = text.trim().replace(['_', '\u{a0}', '\u{202f}', ' '], "");
    if is_number(&text) { plain(&text) } else { quoted(&text) }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// How many items a list has as it is typed; `None` when it is none.
pub fn items(text: &str) -> Option<usize> {
    let json = list(text).ok()?;
    serde_json::from_str::<Vec<serde::de::IgnoredAny>>(&json).ok().map(|items| items.len())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn numbers(text: &str) -> Result<Vec<String>, DataError> {
    text.split(|letter: char| letter.is_whitespace() || letter == ',' || letter == ';')
        .filter(|word| !word.is_empty())
        .map(|word| {
            if is_number(word) { Ok(plain(word)) } else { Err(DataError::NotANumber(word.chars().take(40).collect())) }
        })
        .collect()
}

/// JSON allows no leading plus.
fn plain(number: &str) -> String {
    number.strip_prefix('+').unwrap_or(number).to_owned()
}

fn is_number(word: &str) -> bool {
    let word = word.strip_prefix('+').unwrap_or(word);
    word.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && serde_json::from_str::<serde_json::Number>(word).is_ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_however_people_write_them() {
        assert_eq!(list("1, 2;3\n4").unwrap(), "[1,2,3,4]");
        assert_eq!(list(" [1, \"a\"] ").unwrap(), "[1, \"a\"]");
        assert_eq!(list("").unwrap(), "[]");
        assert_eq!(list("-1.5e3 +7").unwrap(), "[-1.5e3,7]");
    }

    #[test]
    fn a_large_integer_keeps_all_its_digits() {
        let large = "170141183460469231731687303715884105727";
        assert_eq!(list(large).unwrap(), format!("[{large}]"));
        assert_eq!(number_or_text(large), large);
    }

    #[test]
    fn what_is_no_number_is_named() {
        assert_eq!(list("1 two"), Err(DataError::NotANumber("two".into())));
        assert_eq!(list("[1, 2"), Err(DataError::NotAList));
        assert_eq!(number_or_text("ten \"x\""), "\"ten\\\"x\\\"\"");
        assert_eq!(list("0x10"), Err(DataError::NotANumber("0x10".into())));
    }

    #[test]
    fn files_of_all_sorts_become_lists() {
        assert_eq!(list_of_file("\u{feff}value\n1\n2\n"), "[1,2]");
        assert_eq!(list_of_file("1,2\n3,4"), "[1,2,3,4]");
        assert_eq!(list_of_file("[1,2]"), "[1,2]");
        assert_eq!(list_of_file("to be\nor \"not\""), r#"["to be","or \"not\""]"#);
        assert_eq!(list_of_file("heading"), r#"["heading"]"#);
    }

    #[test]
    fn a_matrix_is_a_row_a_line() {
        assert_eq!(matrix("1 2\n\n3 4\n").unwrap(), "[[1,2],[3,4]]");
        assert_eq!(matrix("[[1]]").unwrap(), "[[1]]");
        assert!(matrix("1 x").is_err());
    }

    #[test]
    fn grouped_digits_are_read_as_people_paste_them() {
        assert_eq!(number_or_text("10 000 000"), "10000000");
        assert_eq!(number_or_text("10_000"), "10000");
    }
}
