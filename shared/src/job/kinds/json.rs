//! JSON read strictly and within bounds: no field twice in an object, wherever it stands; no value of a stranger's that
//! takes many times its text in memory, and none that is read further once a bound is crossed; and errors that say what a
//! program of the usual kinds has written instead.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value as Json;

use super::{
    limits::{MOST_CELLS, MOST_ITEMS},
    long_lists,
    packed::{too_many_cells, too_many_items},
    schema::Long,
    suggest::question,
};
use crate::refusal::{Code, Refusal};

/// Values that the fields of a job may have together, beside the lists that are packed while they are read.
const MOST_VALUES: usize = 100_000;
/// Characters of a field's name in a message.
const SHOWN: usize = 40;

/// What serde_json calls the only field of a number, when numbers keep their digits. Anybody may call a field of an object so
/// as well: see [`Told`].
const NUMBER: &str = "$serde_json::private::Number";

/// What the reader notices beside the values.
pub(super) struct Notes {
    path: Vec<String>,
    left: usize,
    refusal: Option<Refusal>,
}

impl Notes {
    /// Nothing noticed yet.
    pub(super) fn new() -> Self {
        Self { path: Vec::new(), left: MOST_VALUES, refusal: None }
    }

    /// The first thing that is wrong although it is valid JSON.
    pub(super) fn refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Notes that an object has a field twice, and ends the reading.
    pub(super) fn twice<E: serde::de::Error>(&mut self, name: &str) -> E {
        let path = self.path.iter().map(String::as_str).chain([shortened(name).as_str()]).collect::<Vec<_>>().join(".");
        self.note(Code::InvalidField, format!("`{path:.120}` stands there twice"), "remove one of them")
    }

    /// Notes what is wrong, and ends the reading: the error only carries that.
    pub(super) fn note<E: serde::de::Error>(&mut self, code: Code, message: String, hint: &str) -> E {
        self.refuse(Refusal::new(code, message, hint))
    }

    fn refuse<E: serde::de::Error>(&mut self, refusal: Refusal) -> E {
        self.refusal.get_or_insert(refusal);
        E::custom("the rest is not looked at")
    }

    /// Reads what stands behind `name`.
    pub(super) fn within<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(shortened(name));
        let value = read(self);
        self.path.pop();
        value
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.left == 0 {
            let path = self.path.join(".");
            let message = format!("`{path:.120}`: the job has more than {MOST_VALUES} values in lists and objects");
            let hint = format!("long lists belong into {}, long texts into `input`", long_lists());
            // However much stands in it, what is wrong with it is its name.
            if let Some(name) =
                self.path.first().filter(|name| super::every_field().all(|field| field != name.as_str()))
            {
                let advice = question(name, super::every_field());
                let message = format!("there is no field `{name}`{advice}");
                return Err(self.note(Code::UnknownField, message, &hint));
            }
            return Err(self.note(Code::TooLarge, message, &hint));
        }
        self.left -= 1;
        Ok(())
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(SHOWN).collect()
}

/// Reads one value of any shape.
pub(super) struct Strict<'a>(pub &'a mut Notes);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(Strict(&mut *self.0))? {
            self.0.count()?;
            list.push(value);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if object.contains_key(&name) {
                self.0.count()?;
                return Err(self.0.twice(&name));
            }
            let may_be_number = name == NUMBER && object.is_empty();
            let value = match self.0.within(&name, |notes| map.next_value_seed(Told(Strict(notes))))? {
                Ok(value) => value,
                Err(digits) if may_be_number => return digits.parse().map(Json::Number).map_err(A::Error::custom),
                Err(text) => Json::String(text),
            };
            self.0.count()?;
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

/// A value, and whether it was written as one: serde_json hands over the digits of a number as a `String` of its own, and
/// whatever stands in a text as a part of that text.
struct Told<V>(V);

macro_rules! tell {
    ($($visit:ident($value:ty)),*) => {$(
        fn $visit<E: serde::de::Error>(self, value: $value) -> Result<Self::Value, E> {
            self.0.$visit(value).map(Ok)
        }
    )*};
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Told<V> {
    type Value = Result<V::Value, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Told<V> {
    type Value = Result<V::Value, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    tell!(visit_bool(bool), visit_u64(u64), visit_i64(i64), visit_f64(f64), visit_str(&str));

    fn visit_string<E: serde::de::Error>(self, digits: String) -> Result<Self::Value, E> {
        Ok(Err(digits))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.0.visit_unit().map(Ok)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        self.0.visit_seq(seq).map(Ok)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(map).map(Ok)
    }
}

/// Looks over a long list without keeping anything of it: only whether it is longer than it may be.
pub(super) struct Length<'a> {
    /// The field that it stands in.
    pub name: &'a str,
    /// What it is a list of.
    pub list: Long,
    /// Where that is noted.
    pub notes: &'a mut Notes,
}

impl<'de> DeserializeSeed<'de> for Length<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // A matrix's rows are counted with its numbers, of which each row has one at least.
        let (levels, mut left) = match self.list {
            Long::Items => (1, MOST_ITEMS),
            Long::Matrix => (2, 2 * MOST_CELLS as u64),
        };
        let mut crossed = false;
        let read = deserializer.deserialize_any(Counter { levels, left: &mut left, crossed: &mut crossed });
        if crossed {
            return Err(self.notes.refuse(match self.list {
                Long::Items => too_many_items(self.name),
                Long::Matrix => too_many_cells(self.name),
            }));
        }
        read
    }
}

/// Counts the values of a list, and of the lists in it if there are two levels; ends the reading when none is left.
struct Counter<'a> {
    levels: u8,
    left: &'a mut u64,
    crossed: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Counter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.levels == 0 {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { levels, left, crossed } = self;
        while seq.next_element_seed(Counter { levels: levels - 1, left: &mut *left, crossed: &mut *crossed })?.is_some()
        {
            let Some(fewer) = left.checked_sub(1) else {
                *crossed = true;
                return Err(A::Error::custom("the rest is not looked at"));
            };
            *left = fewer;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A value of a long list: what it holds counts only if it is a number or a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    /// As it is written.
    Number(String),
    /// Without its quotes.
    Text(String),
    /// Neither; in the words of a message.
    Other(&'static str),
}

impl Scalar {
    /// Its beginning, for a message.
    pub(super) fn shown(&self) -> String {
        match self {
            Scalar::Number(digits) => format!("{digits:.60}"),
            Scalar::Text(text) => format!("{:?}", shortened(text)),
            Scalar::Other(what) => (*what).to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other("null"))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other(if value { "true" } else { "false" }))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        if let Some(key) = map.next_key::<Key>()? {
            // Every number comes as a field of that name, so its digits are looked for first.
            if !key.is_number {
                map.next_value::<IgnoredAny>()?;
            } else if let Err(digits) = map.next_value_seed(Told(IgnoredAny))? {
                return Ok(Scalar::Number(digits));
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}

/// A field's name, of which only one thing is wanted: a long list has one for each number.
struct Key {
    is_number: bool,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        Ok(Key { is_number: text == NUMBER })
    }
}

/// A row of a matrix.
pub(super) enum Row {
    /// Its values; not more than one more than a matrix may have.
    Cells(Vec<Scalar>),
    /// No list.
    Other(Scalar),
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Row, A::Error> {
        let mut cells = Vec::new();
        while let Some(cell) = seq.next_element::<Scalar>()? {
            cells.push(cell);
            if cells.len() > MOST_CELLS {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(Row::Cells(cells))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Row, E> {
        ScalarVisitor.visit_unit().map(Row::Other)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Row, E> {
        ScalarVisitor.visit_bool(value).map(Row::Other)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Row, E> {
        ScalarVisitor.visit_u64(value).map(Row::Other)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Row, E> {
        ScalarVisitor.visit_i64(value).map(Row::Other)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Row, E> {
        ScalarVisitor.visit_str(text).map(Row::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Row, A::Error> {
        ScalarVisitor.visit_map(map).map(Row::Other)
    }
}

/// The text of a job's bytes. A byte order mark stays: whoever reads the job takes one away, and no second.
pub fn text_of(bytes: &[u8]) -> Result<&str, Refusal> {
    const HINT: &str = "send JSON in UTF-8; in PowerShell, pass `-Encoding utf8` to what writes the file";
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let hint = "send it with the header Content-Encoding: gzip, or as it was before";
        return Err(Refusal::new(Code::InvalidJson, "the job is in gzip, but nothing says so", hint));
    }
    if let Some(encoding) = wide_encoding(bytes, b"{ \t\r\n") {
        return Err(Refusal::new(Code::InvalidJson, format!("the job is in {encoding}, not in UTF-8"), HINT));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let message = format!("the job is not UTF-8 text (byte {})", error.valid_up_to());
            Err(Refusal::new(Code::InvalidJson, message, HINT))
        }
    }
}

/// The encoding of a JSON text that is in none of one byte a letter, as what it may begin with shows.
pub(super) fn wide_encoding(bytes: &[u8], begins: &[u8]) -> Option<&'static str> {
    match bytes {
        // A mark of UTF-16 and a zero are the mark of UTF-32: no JSON begins with a zero.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [first, 0, 0, 0, ..] | [0, 0, 0, first, ..] if begins.contains(first) => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [first, 0, ..] | [0, first, ..] if begins.contains(first) => Some("UTF-16"),
        _ => None,
    }
}

/// A text without the byte order mark that editors of some systems put before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Why a text is no JSON object, in words for a person.
pub(super) fn explain(source: &str, error: &serde_json::Error) -> Refusal {
    const EXAMPLE: &str = "send one JSON object, for example {\"kind\": \"map\", \"data\": [1, 2], \"map\": \"x*x\"}";
    let here = rest_at(source, error.line(), error.column());
    let begins = |word: &str| here.strip_prefix('-').unwrap_or(here).starts_with(word);
    let place = format!("(line {}, column {})", error.line(), error.column());
    let of_python = ["True", "False", "None"].into_iter().find(|word| begins(word));
    let (message, hint) = if source.trim().is_empty() {
        ("the job is empty".to_owned(), EXAMPLE)
    } else if begins("NaN") || begins("Infinity") {
        (format!("JSON has no NaN and no Infinity {place}"), "leave them out, or let the formula make them")
    } else if let Some(word) = of_python {
        (format!("JSON has no {word} {place}"), "write true, false and null; Python's json.dumps does")
    } else if here.starts_with('\'') {
        (format!("JSON has no single quotes {place}"), "put names and texts into double quotes: \"map\"")
    } else if ["hex escape", "surrogate"].iter().any(|part| error.to_string().contains(part)) {
        let message = format!("a text holds half a character, a lone surrogate {place}");
        (message, "write a character beyond U+FFFF as itself, or as both of its \\u escapes")
    } else if error.to_string().contains("recursion limit") {
        (format!("the job is nested too deep {place}"), "lists and objects may stand 100 deep in one another")
    } else {
        (format!("the job is not valid: {error}"), EXAMPLE)
    };
    Refusal::new(Code::InvalidJson, message, hint)
}

/// The text from just before the place that serde_json names; it counts bytes and may stand on a word's last letter read.
fn rest_at(source: &str, line: usize, column: usize) -> &str {
    let text = source.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let at = column.saturating_sub(1);
    text.get(at..).or_else(|| text.get(column..)).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Json, Option<Refusal>) {
        let mut notes = Notes::new();
        let value = Strict(&mut notes).deserialize(&mut serde_json::Deserializer::from_str(text));
        (value.unwrap_or(Json::Null), notes.refusal())
    }

    #[test]
    fn values_are_read_as_serde_json_reads_them() {
        let text = r#"{"a":[1,-2.5e3,"x",null,true,{"b":{}}],"c":123456789012345678901234567890}"#;
        assert_eq!(read(text), (serde_json::from_str(text).unwrap(), None));
    }

    #[test]
    fn a_field_called_as_serde_json_calls_a_number_is_a_field() {
        let named = |value: &str| format!(r#"{{"{NUMBER}":{value}}}"#);
        for value in [r#""5""#, r#""+7""#, r#""\u0035""#, "5", "null", "[5]", &named(r#""5""#)] {
            let (read, refusal) = read(&named(value));
            assert_eq!(refusal, None);
            assert_eq!(read.as_object().unwrap().keys().collect::<Vec<_>>(), [NUMBER], "{value}");
            assert_eq!(read.to_string(), named(&value.replace("\\u0035", "5")));
        }
        let (twice, refusal) = read(&format!(r#"{{"{NUMBER}":"5","{NUMBER}":"6"}}"#));
        assert!(twice.is_null() && refusal.unwrap().message.ends_with("stands there twice"));
        for (text, scalar) in [
            ("5", Scalar::Number("5".to_owned())),
            (&named(r#""5""#), Scalar::Other("an object")),
            (&named("5"), Scalar::Other("an object")),
            (r#"{"a":5}"#, Scalar::Other("an object")),
        ] {
            assert_eq!(serde_json::from_str::<Scalar>(text).unwrap(), scalar, "{text}");
        }
    }

    #[test]
    fn a_field_twice_is_named_with_its_path() {
        let (_, refusal) = read(r#"{"a":{"b":{"c":1,"d":2,"c":3}}}"#);
        assert_eq!(refusal.unwrap().message, "`a.b.c` stands there twice");
        assert_eq!(read(r#"{"a":{"b":1},"c":{"b":1}}"#).1, None);
    }

    #[test]
    fn reading_ends_where_a_bound_is_crossed_or_a_field_stands_twice() {
        // Behind those nothing is looked at, not even whether it is JSON.
        let long = format!("[{}", "1,".repeat(MOST_VALUES + 1));
        for (text, code) in [(long.as_str(), Code::TooLarge), (r#"{"a":{"b":1,"b":"#, Code::InvalidField)] {
            let mut notes = Notes::new();
            assert!(Strict(&mut notes).deserialize(&mut serde_json::Deserializer::from_str(text)).is_err());
            assert_eq!(notes.refusal().map(|refusal| refusal.code), Some(code));
        }
    }

    #[test]
    fn a_long_lists_length_is_known_before_its_items_are_read() {
        let length = |name: &'static str, text: &str| {
            let mut notes = Notes::new();
            let list = if name == "data" { Long::Items } else { Long::Matrix };
            let read =
                Length { name, list, notes: &mut notes }.deserialize(&mut serde_json::Deserializer::from_str(text));
            (read.is_ok(), notes.refusal().map(|refusal| refusal.code))
        };
        let items = "1,".repeat(usize::try_from(MOST_ITEMS).unwrap());
        assert_eq!(length("data", &format!("[{}]", items.trim_end_matches(','))), (true, None));
        assert_eq!(length("data", &format!("[{items}1,")), (false, Some(Code::TooLarge)));
        assert_eq!(length("a", &format!("[[{items}1,")), (false, Some(Code::TooLarge)));
        assert_eq!(length("b", &format!("[{}[1,", "[],".repeat(2 * MOST_CELLS))), (false, Some(Code::TooLarge)));
        for other in ["1", "{\"a\":[1]}", "\"x\"", "null", "[[1],2,{}]"] {
            assert_eq!(length("data", other), (true, None));
            assert_eq!(length("a", other), (true, None));
        }
    }

    #[test]
    fn what_other_programs_write_is_named() {
        for (source, part) in [
            ("{\"data\":[1, NaN]}", "NaN"),
            ("{\"data\":[-Infinity]}", "Infinity"),
            ("{\n\"data\": True}", "True"),
            ("{'kind': 1}", "single quotes"),
            (" ", "empty"),
        ] {
            let error = serde_json::from_str::<IgnoredAny>(source).unwrap_err();
            let refusal = explain(source, &error);
            assert!(refusal.message.contains(part), "{source}: {refusal}");
        }
    }

    #[test]
    fn encodings_are_told_apart() {
        let job = "{\"kind\":1}";
        let little: Vec<u8> = job.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = job.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(without_mark(text_of("\u{feff}{}".as_bytes()).unwrap()), "{}");
        assert_eq!(text_of(b"").unwrap(), "");
        for bytes in
            [little.clone(), big.clone(), [vec![0xff, 0xfe], little].concat(), [vec![0xfe, 0xff], big].concat()]
        {
            assert!(text_of(&bytes).unwrap_err().message.contains("UTF-16"));
        }
        let wide: Vec<u8> = job.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let wide_big: Vec<u8> = job.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        for bytes in [
            [vec![0xff, 0xfe, 0, 0], wide.clone()].concat(),
            [vec![0, 0, 0xfe, 0xff], wide_big.clone()].concat(),
            wide,
            wide_big,
        ] {
            assert!(text_of(&bytes).unwrap_err().message.contains("UTF-32"));
        }
        let packed = text_of(&[0x1f, 0x8b, 8, 0]).unwrap_err();
        assert!(packed.message.contains("gzip") && packed.hint.contains("Content-Encoding: gzip"));
        assert!(text_of(&[b'{', 0xe9]).unwrap_err().message.contains("byte 1"));
    }
}
