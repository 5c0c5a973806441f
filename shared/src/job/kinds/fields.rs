//! A job's JSON as fields that a kind takes one by one; what nobody takes is an unknown field.
//!
//! Long lists (`data`, `a`, `b`) are packed while they are read, so that ten million items never stand in memory as
//! JSON values.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value as Json;

use super::limits::{
    MAX_CELLS, MAX_ITEM_BYTES, MAX_ITEMS, MAX_MEMORY_MIB, MAX_RETRIES, MAX_SOURCE_BYTES, MAX_TIMEOUT_SECONDS,
};
use crate::{
    exchange::value::{self, Value},
    job::{Policy, Priority, Requirements},
    refusal::{Code, Refusal},
};

/// A number as JSON has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written without fraction and exponent.
    Integer(i128),
    /// Written with one.
    Float(f64),
}

/// Items of `data`, packed as a guest reads them.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// The items' bytes, one after the other.
    pub bytes: Vec<u8>,
    /// Where every [`Items::STRIDE`]th item begins.
    pub marks: Vec<u32>,
    /// How many there are.
    pub count: u64,
    /// Least and most integer, if there is one.
    pub integers: Option<(i128, i128)>,
    /// The first float's place, if there is one.
    pub first_float: Option<u64>,
    /// The first text's place, if there is one.
    pub first_text: Option<u64>,
}

impl Items {
    /// Items between two marks.
    pub const STRIDE: u64 = 64;

    fn add(&mut self, name: &str, item: Json) -> Result<(), Refusal> {
        if self.count == MAX_ITEMS {
            let hint = "split the job, or use a range";
            return Err(Refusal::new(Code::TooLarge, format!("`{name}` has more than {MAX_ITEMS} items"), hint));
        }
        if self.count.is_multiple_of(Self::STRIDE) {
            self.marks.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        }
        let place = self.count;
        match item {
            Json::Number(number) => match read_number(&number, &format!("`{name}` item {place}"))? {
                Number::Integer(integer) => {
                    let (least, most) = self.integers.unwrap_or((integer, integer));
                    self.integers = Some((least.min(integer), most.max(integer)));
                    value::put(&mut self.bytes, Value::Integer(integer));
                }
                Number::Float(float) => {
                    self.first_float.get_or_insert(place);
                    value::put(&mut self.bytes, Value::Float(float));
                }
            },
            Json::String(text) => {
                if text.len() > MAX_ITEM_BYTES {
                    let message = format!("`{name}` item {place} has more than {MAX_ITEM_BYTES} bytes");
                    return Err(Refusal::new(Code::TooLarge, message, "cut it into several items"));
                }
                self.first_text.get_or_insert(place);
                value::put(&mut self.bytes, Value::Text(text.as_bytes()));
            }
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
                let message = format!("`{name}` item {place} is {}", shown(&item));
                return Err(Refusal::new(Code::InvalidField, message, "items are numbers or texts"));
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Where a stride begins in the bytes; their end behind the last one.
    pub fn mark(&self, stride: u64) -> usize {
        usize::try_from(stride).ok().and_then(|i| self.marks.get(i)).map_or(self.bytes.len(), |mark| *mark as usize)
    }

    /// Where an item begins in the bytes.
    pub fn offset(&self, item: u64) -> usize {
        if item >= self.count {
            return self.bytes.len();
        }
        let mut at = self.mark(item / Self::STRIDE);
        for _ in 0..item % Self::STRIDE {
            if value::take(&self.bytes, &mut at).is_none() {
                break;
            }
        }
        at
    }

    /// An item as JSON text, cut to what fits into a message.
    pub fn show(&self, item: u64) -> String {
        let mut at = self.offset(item);
        match value::take(&self.bytes, &mut at) {
            Some(Value::Integer(integer)) => integer.to_string(),
            Some(Value::Float(float)) => format!("{float:?}"),
            Some(Value::Text(text)) => format!("{:?}", cut(&String::from_utf8_lossy(text))),
            Some(Value::Bool(_)) | None => String::new(),
        }
    }
}

/// A matrix as JSON has it: rows of equal length.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// How many rows.
    pub rows: usize,
    /// Numbers in each.
    pub columns: usize,
    /// Row by row.
    pub cells: Vec<Number>,
}

impl Rows {
    fn add(&mut self, name: &str, row: Json) -> Result<(), Refusal> {
        let place = self.rows;
        let Json::Array(cells) = row else {
            let message = format!("`{name}` row {place} is {}", shown(&row));
            return Err(Refusal::new(
                Code::InvalidField,
                message,
                "a matrix is a list of rows, as in [[1, 2], [3, 4]]",
            ));
        };
        if place == 0 {
            self.columns = cells.len();
        }
        if cells.is_empty() {
            let message = format!("`{name}` row {place} has no number");
            return Err(Refusal::new(Code::EmptyInput, message, "give every row at least one number"));
        }
        if cells.len() != self.columns {
            let message = format!("`{name}` row {place} has {} numbers, row 0 has {}", cells.len(), self.columns);
            return Err(Refusal::new(Code::RaggedMatrix, message, "give every row the same length"));
        }
        if self.cells.len() + cells.len() > MAX_CELLS {
            let message = format!("`{name}` has more than {MAX_CELLS} numbers");
            return Err(Refusal::new(Code::TooLarge, message, "split the matrix into several jobs"));
        }
        for (column, cell) in cells.iter().enumerate() {
            let Json::Number(number) = cell else {
                let message = format!("`{name}` row {place}, column {column} is {}", shown(cell));
                return Err(Refusal::new(Code::InvalidField, message, "a matrix holds numbers"));
            };
            self.cells.push(read_number(number, &format!("`{name}` row {place}, column {column}"))?);
        }
        self.rows += 1;
        Ok(())
    }
}

enum Field {
    Plain(Json),
    Items(Result<Items, Refusal>),
    Rows(Result<Rows, Refusal>),
}

/// The fields of a job that are left.
pub struct Fields {
    fields: BTreeMap<String, Field>,
}

impl Fields {
    /// Reads the JSON of a job.
    pub fn read(source: &str) -> Result<Self, Refusal> {
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("the job has {} bytes; at most {MAX_SOURCE_BYTES} are taken", source.len());
            return Err(Refusal::new(Code::TooLarge, message, "send less data, or split the job"));
        }
        let hint = "send one JSON object, for example {\"kind\": \"map\", \"data\": [1, 2], \"map\": \"x*x\"}";
        let read: Collected = serde_json::from_str(source)
            .map_err(|error| Refusal::new(Code::InvalidJson, format!("the job is not valid: {error}"), hint))?;
        if let Some(name) = read.twice {
            let message = format!("`{name}` stands there twice");
            return Err(Refusal::new(Code::InvalidField, message, "remove one of them"));
        }
        Ok(Self { fields: read.fields })
    }

    /// What is left must be nothing.
    pub fn end(self, kind: &str, known: &[&str]) -> Result<(), Refusal> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => {
                let hint = format!("`{kind}` has the fields {}, requirements and policy", known.join(", "));
                let name: String = name.chars().take(64).collect();
                Err(Refusal::new(Code::UnknownField, format!("`{kind}` has no field `{name}`"), hint))
            }
        }
    }

    /// Whether a field is there and not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn plain(&mut self, name: &str) -> Option<Json> {
        match self.fields.remove(name)? {
            Field::Plain(json) => Some(json),
            Field::Items(_) | Field::Rows(_) => None,
        }
    }

    /// A text, if it is there.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.plain(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(invalid(name, &other, "it is a text in quotes")),
        }
    }

    /// A text that must be there.
    pub fn needed_text(&mut self, name: &str, hint: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| missing(name, hint))
    }

    /// A list of texts; empty if it is not there.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        let hint = "it is a list of texts, as in [\"-v\"]";
        match self.plain(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Json::String(text) => Ok(text),
                    Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                        Err(invalid(name, &item, hint))
                    }
                })
                .collect(),
            Some(other) => Err(invalid(name, &other, hint)),
        }
    }

    /// An integer between two bounds, if it is there.
    pub fn integer(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
        match self.plain(name) {
            None => Ok(None),
            Some(json) => read_integer(name, &json, least, most).map(Some),
        }
    }

    /// `data`.
    pub fn items(&mut self, name: &str) -> Result<Items, Refusal> {
        let items = match self.fields.remove(name) {
            Some(Field::Items(items)) => items?,
            Some(Field::Plain(_) | Field::Rows(_)) | None => return Err(missing(name, "a list, as in [1, 2, 3]")),
        };
        if items.count == 0 {
            return Err(Refusal::new(Code::EmptyInput, format!("`{name}` has no item"), "give at least one"));
        }
        Ok(items)
    }

    /// A matrix, if it is there.
    pub fn rows(&mut self, name: &str) -> Result<Option<Rows>, Refusal> {
        let rows = match self.fields.remove(name) {
            Some(Field::Rows(rows)) => rows?,
            Some(Field::Plain(_) | Field::Items(_)) | None => return Ok(None),
        };
        if rows.rows == 0 {
            return Err(Refusal::new(Code::EmptyInput, format!("`{name}` has no row"), "give at least one"));
        }
        Ok(Some(rows))
    }

    /// `requirements`, with defaults for what is not said.
    pub fn requirements(&mut self) -> Result<Requirements, Refusal> {
        let mut requirements = Requirements::default();
        for (name, json) in self.object("requirements")? {
            let path = format!("requirements.{name}");
            match name.as_str() {
                "cpu_percent" => requirements.cpu_percent = read_u32(&path, &json, 1, 100)?,
                "ram_gb" => requirements.memory_mib = read_gibibytes(&path, &json)?,
                "timeout_seconds" => requirements.timeout_seconds = read_u32(&path, &json, 1, MAX_TIMEOUT_SECONDS)?,
                _ => {
                    let hint = "requirements are cpu_percent, ram_gb and timeout_seconds";
                    return Err(Refusal::new(Code::UnknownField, format!("there is no `{path:.64}`"), hint));
                }
            }
        }
        Ok(requirements)
    }

    /// `policy`, with defaults for what is not said.
    pub fn policy(&mut self) -> Result<Policy, Refusal> {
        let mut policy = Policy::default();
        for (name, json) in self.object("policy")? {
            let path = format!("policy.{name}");
            match name.as_str() {
                "priority" => {
                    policy.priority = match json.as_str() {
                        Some("low") => Priority::Low,
                        Some("normal") => Priority::Normal,
                        Some("high") => Priority::High,
                        Some("critical") => Priority::Critical,
                        Some(_) | None => return Err(invalid(&path, &json, "it is low, normal, high or critical")),
                    }
                }
                "retries" => policy.retries = read_u32(&path, &json, 0, MAX_RETRIES)?,
                _ => {
                    let hint = "policy has priority and retries";
                    return Err(Refusal::new(Code::UnknownField, format!("there is no `{path:.64}`"), hint));
                }
            }
        }
        Ok(policy)
    }

    fn object(&mut self, name: &str) -> Result<serde_json::Map<String, Json>, Refusal> {
        match self.plain(name) {
            None => Ok(serde_json::Map::new()),
            Some(Json::Object(object)) => Ok(object),
            Some(other) => Err(invalid(name, &other, "it is an object in {}")),
        }
    }
}

/// The beginning of what a person wrote, short enough for a message.
pub fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A field that a kind needs and did not get.
pub fn missing(name: &str, hint: &str) -> Refusal {
    Refusal::new(Code::MissingField, format!("`{name}` is missing"), hint)
}

fn invalid(name: &str, json: &Json, hint: &str) -> Refusal {
    Refusal::new(Code::InvalidField, format!("`{name:.64}` cannot be {}", shown(json)), hint)
}

fn read_integer(name: &str, json: &Json, least: i64, most: i64) -> Result<i64, Refusal> {
    let range = format!("it is an integer from {least} to {most}");
    let Json::Number(number) = json else { return Err(invalid(name, json, &range)) };
    match read_number(number, &format!("`{name}`"))? {
        Number::Float(float) => {
            let message = format!("`{name}` must be an integer, not {float:?}");
            Err(Refusal::new(Code::InvalidNumber, message, "write it without a point or an exponent"))
        }
        Number::Integer(integer) => i64::try_from(integer)
            .ok()
            .filter(|integer| (least..=most).contains(integer))
            .ok_or_else(|| invalid(name, json, &range)),
    }
}

fn read_u32(name: &str, json: &Json, least: u32, most: u32) -> Result<u32, Refusal> {
    let integer = read_integer(name, json, i64::from(least), i64::from(most))?;
    Ok(u32::try_from(integer).unwrap_or(least))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to lie in 0..=4096
fn read_gibibytes(name: &str, json: &Json) -> Result<u32, Refusal> {
    let most = f64::from(MAX_MEMORY_MIB) / 1024.0;
    match json.as_f64() {
        Some(gibibytes) if gibibytes > 0.0 && gibibytes <= most => Ok(((gibibytes * 1024.0).round() as u32).max(1)),
        Some(_) | None => Err(invalid(name, json, &format!("it is a number above 0, at most {most}"))),
    }
}

fn read_number(number: &serde_json::Number, what: &str) -> Result<Number, Refusal> {
    let text = number.as_str();
    let too_large = |hint| Refusal::new(Code::InvalidNumber, format!("{what} is too large: {text:.60}"), hint);
    if text.contains(['.', 'e', 'E']) {
        let float = text.parse().ok().filter(|float: &f64| float.is_finite());
        return float.map(Number::Float).ok_or_else(|| too_large("floats go up to 1.7e308"));
    }
    text.parse().map(Number::Integer).map_err(|_| too_large("integers have up to 128 bits"))
}

fn shown(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => format!("{:.60}", number.as_str()),
        Json::String(text) => format!("{:?}", cut(text)),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// The whole object, while serde reads it.
struct Collected {
    fields: BTreeMap<String, Field>,
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Collected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collector)
    }
}

struct Collector;

impl<'de> Visitor<'de> for Collector {
    type Value = Collected;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Collected, A::Error> {
        let mut fields = BTreeMap::new();
        let mut twice = None;
        while let Some(name) = map.next_key::<String>()? {
            let field = match name.as_str() {
                "data" => Field::Items(map.next_value::<Packed<Items>>()?.0),
                "a" => Field::Rows(map.next_value::<Packed<A_>>()?.0.map(|rows| rows.0)),
                "b" => Field::Rows(map.next_value::<Packed<B_>>()?.0.map(|rows| rows.0)),
                _ => Field::Plain(map.next_value()?),
            };
            if fields.len() < 64 && fields.insert(name.clone(), field).is_some() {
                twice = Some(name.chars().take(64).collect());
            }
        }
        Ok(Collected { fields, twice })
    }
}

/// What packs the items of a list as they come.
trait Packer: Default {
    const NAME: &str;
    fn take(&mut self, item: Json) -> Result<(), Refusal>;
}

impl Packer for Items {
    const NAME: &str = "data";
    fn take(&mut self, item: Json) -> Result<(), Refusal> {
        self.add(Self::NAME, item)
    }
}

#[derive(Default)]
struct A_(Rows);

impl Packer for A_ {
    const NAME: &str = "a";
    fn take(&mut self, item: Json) -> Result<(), Refusal> {
        self.0.add(Self::NAME, item)
    }
}

#[derive(Default)]
struct B_(Rows);

impl Packer for B_ {
    const NAME: &str = "b";
    fn take(&mut self, item: Json) -> Result<(), Refusal> {
        self.0.add(Self::NAME, item)
    }
}

struct Packed<P>(Result<P, Refusal>);

impl<'de, P: Packer> Deserialize<'de> for Packed<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PackVisitor(core::marker::PhantomData))
    }
}

struct PackVisitor<P>(core::marker::PhantomData<P>);

impl<P: Packer> PackVisitor<P> {
    fn no_list<E>() -> Result<Packed<P>, E> {
        let message = format!("`{}` must be a list", P::NAME);
        Ok(Packed(Err(Refusal::new(Code::InvalidField, message, "write it in [ and ]"))))
    }
}

impl<'de, P: Packer> Visitor<'de> for PackVisitor<P> {
    type Value = Packed<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Packed<P>, A::Error> {
        let mut packer = P::default();
        while let Some(item) = seq.next_element::<Json>()? {
            if let Err(refusal) = packer.take(item) {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Packed(Err(refusal)));
            }
        }
        Ok(Packed(Ok(packer)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Packed<P>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Self::no_list()
    }

    fn visit_bool<E>(self, _: bool) -> Result<Packed<P>, E> {
        Self::no_list()
    }

    fn visit_i64<E>(self, _: i64) -> Result<Packed<P>, E> {
        Self::no_list()
    }

    fn visit_u64<E>(self, _: u64) -> Result<Packed<P>, E> {
        Self::no_list()
    }

    fn visit_f64<E>(self, _: f64) -> Result<Packed<P>, E> {
        Self::no_list()
    }

    fn visit_str<E>(self, _: &str) -> Result<Packed<P>, E> {
        Self::no_list()
    }

    fn visit_unit<E>(self) -> Result<Packed<P>, E> {
        Self::no_list()
    }
}
