//! Long lists (items, matrices), packed while they are read, so that ten million items never stand in memory as JSON
//! values.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    fields::cut,
    json::{Row, Scalar, explain},
    limits::{MOST_CELLS, MOST_ITEM_BYTES, MOST_ITEMS},
};
use crate::{
    exchange::value::{self, Value},
    refusal::{Code, Refusal},
};

/// A number as JSON has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Written without fraction and exponent.
    Integer(i128),
    /// Written with one.
    Float(f64),
}

/// Items of a list, packed as a guest reads them.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
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
    pub(super) const STRIDE: u64 = 64;

    fn add(&mut self, name: &str, item: Scalar) -> Result<(), Refusal> {
        if self.count == MOST_ITEMS {
            return Err(too_many_items(name));
        }
        if self.count.is_multiple_of(Self::STRIDE) {
            self.marks.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        }
        let place = self.count;
        match item {
            Scalar::Number(digits) => match read_number(&digits, &format!("`{name}` item {place}"))? {
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
            Scalar::Text(text) => {
                if text.len() > MOST_ITEM_BYTES {
                    let message = format!("`{name}` item {place} has more than {MOST_ITEM_BYTES} bytes");
                    return Err(Refusal::new(Code::TooLarge, message, "cut it into several items"));
                }
                self.first_text.get_or_insert(place);
                value::put(&mut self.bytes, Value::Text(text.as_bytes()));
            }
            Scalar::Other(what) => {
                let message = format!("`{name}` item {place} is {what}");
                return Err(Refusal::new(Code::InvalidField, message, "items are numbers or texts"));
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Where a stride begins in the bytes; their end behind the last one.
    pub(super) fn mark(&self, stride: u64) -> usize {
        usize::try_from(stride).ok().and_then(|i| self.marks.get(i)).map_or(self.bytes.len(), |mark| *mark as usize)
    }

    /// Where an item begins in the bytes.
    pub(super) fn offset(&self, item: u64) -> usize {
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
    pub(super) fn show(&self, item: u64) -> String {
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
pub(super) struct Rows {
    /// How many rows.
    pub rows: usize,
    /// Numbers in each.
    pub columns: usize,
    /// Row by row.
    pub cells: Vec<Number>,
}

impl Rows {
    fn add(&mut self, name: &str, row: Row) -> Result<(), Refusal> {
        let place = self.rows;
        let cells = match row {
            Row::Cells(cells) => cells,
            Row::Other(value) => {
                let message = format!("`{name}` row {place} is {}", value.shown());
                let hint = "a matrix is a list of rows, as in [[1, 2], [3, 4]]";
                return Err(Refusal::new(Code::InvalidField, message, hint));
            }
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
        if self.cells.len() + cells.len() > MOST_CELLS {
            return Err(too_many_cells(name));
        }
        for (column, cell) in cells.iter().enumerate() {
            let Scalar::Number(digits) = cell else {
                let message = format!("`{name}` row {place}, column {column} is {}", cell.shown());
                return Err(Refusal::new(Code::InvalidField, message, "a matrix holds numbers"));
            };
            self.cells.push(read_number(digits, &format!("`{name}` row {place}, column {column}"))?);
        }
        self.rows += 1;
        Ok(())
    }
}

/// More than a list of items may have.
pub(super) fn too_many_items(name: &str) -> Refusal {
    let message = format!("`{name}` has more than {MOST_ITEMS} items");
    Refusal::new(Code::TooLarge, message, "split the job, or use a range")
}

/// More than a matrix may have.
pub(super) fn too_many_cells(name: &str) -> Refusal {
    let message = format!("`{name}` has more than {MOST_CELLS} numbers");
    Refusal::new(Code::TooLarge, message, "split the matrix into several jobs")
}

/// A number as it is written; `what` is what it is, for a message.
pub(super) fn read_number(digits: &str, what: &str) -> Result<Number, Refusal> {
    let too_large = |hint| Refusal::new(Code::InvalidNumber, format!("{what} is too large: {digits:.60}"), hint);
    if digits.contains(['.', 'e', 'E']) {
        let float = digits.parse().ok().filter(|float: &f64| float.is_finite());
        return float.map(Number::Float).ok_or_else(|| too_large("floats go up to 1.7e308"));
    }
    digits.parse().map(Number::Integer).map_err(|_| too_large("integers have up to 128 bits"))
}

/// What packs the items of a list as they come.
pub(super) trait Packer: Default {
    /// What it is a list of.
    type Item: for<'de> Deserialize<'de>;
    /// Takes the next one; `name` is the field's.
    fn take(&mut self, name: &str, item: Self::Item) -> Result<(), Refusal>;
}

impl Packer for Items {
    type Item = Scalar;
    fn take(&mut self, name: &str, item: Scalar) -> Result<(), Refusal> {
        self.add(name, item)
    }
}

impl Packer for Rows {
    type Item = Row;
    fn take(&mut self, name: &str, item: Row) -> Result<(), Refusal> {
        self.add(name, item)
    }
}

/// The list in the field `name` of a job whose JSON is `source`. Reads no further than the list's end, or than what is wrong in it.
pub(super) fn list<P: Packer>(source: &str, name: &str) -> Result<P, Refusal> {
    let mut found = None;
    let read = serde_json::Deserializer::from_str(source).deserialize_map(Finder { name, found: &mut found });
    match (found, read) {
        (Some(found), _) => found,
        (None, Err(error)) => Err(explain(source, &error)),
        (None, Ok(())) => Ok(P::default()),
    }
}

/// Looks for a list in a job; it is there, or why it cannot be had.
struct Finder<'a, P> {
    name: &'a str,
    found: &'a mut Option<Result<P, Refusal>>,
}

impl<P: Packer> Finder<'_, P> {
    /// Ends the reading: the error only carries that.
    fn end<E: serde::de::Error>(self, found: Result<P, Refusal>) -> E {
        *self.found = Some(found);
        E::custom("the rest is not looked at")
    }
}

impl<'de, P: Packer> Visitor<'de> for Finder<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == self.name {
                return map.next_value_seed(Packed(self));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The value of that field.
struct Packed<'a, P>(Finder<'a, P>);

impl<P: Packer> Packed<'_, P> {
    fn no_list<E: serde::de::Error>(self) -> Result<(), E> {
        let message = format!("`{}` must be a list", self.0.name);
        Err(self.0.end(Err(Refusal::new(Code::InvalidField, message, "write it in [ and ]"))))
    }
}

impl<'de, P: Packer> DeserializeSeed<'de> for Packed<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: Packer> Visitor<'de> for Packed<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut packer = P::default();
        while let Some(item) = seq.next_element::<P::Item>()? {
            if let Err(refusal) = packer.take(self.0.name, item) {
                return Err(self.0.end(Err(refusal)));
            }
        }
        Err(self.0.end(Ok(packer)))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.no_list()
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.no_list()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.no_list()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.no_list()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.no_list()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.no_list()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.no_list()
    }
}
