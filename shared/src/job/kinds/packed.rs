//! Long lists (`data`, `a`, `b`), packed while they are read, so that ten million items never stand in memory as JSON
//! values.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    fields::cut,
    json::{Row, Scalar},
    limits::{MAX_CELLS, MAX_ITEM_BYTES, MAX_ITEMS},
};
use crate::{
    exchange::value::{self, Value},
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

    fn add(&mut self, name: &str, item: Scalar) -> Result<(), Refusal> {
        if self.count == MAX_ITEMS {
            let hint = "split the job, or use a range";
            return Err(Refusal::new(Code::TooLarge, format!("`{name}` has more than {MAX_ITEMS} items"), hint));
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
                if text.len() > MAX_ITEM_BYTES {
                    let message = format!("`{name}` item {place} has more than {MAX_ITEM_BYTES} bytes");
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
        if self.cells.len() + cells.len() > MAX_CELLS {
            let message = format!("`{name}` has more than {MAX_CELLS} numbers");
            return Err(Refusal::new(Code::TooLarge, message, "split the matrix into several jobs"));
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

/// A number as it is written; `what` is what it is, for a message.
pub fn read_number(digits: &str, what: &str) -> Result<Number, Refusal> {
    let too_large = |hint| Refusal::new(Code::InvalidNumber, format!("{what} is too large: {digits:.60}"), hint);
    if digits.contains(['.', 'e', 'E']) {
        let float = digits.parse().ok().filter(|float: &f64| float.is_finite());
        return float.map(Number::Float).ok_or_else(|| too_large("floats go up to 1.7e308"));
    }
    digits.parse().map(Number::Integer).map_err(|_| too_large("integers have up to 128 bits"))
}

/// What packs the items of a list as they come.
pub trait Packer: Default {
    /// The field's name.
    const NAME: &str;
    /// What it is a list of.
    type Item: for<'de> Deserialize<'de>;
    /// Takes the next one.
    fn take(&mut self, item: Self::Item) -> Result<(), Refusal>;
}

impl Packer for Items {
    const NAME: &str = "data";
    type Item = Scalar;
    fn take(&mut self, item: Scalar) -> Result<(), Refusal> {
        self.add(Self::NAME, item)
    }
}

/// The matrix `a`.
#[derive(Default)]
pub struct A(pub Rows);

impl Packer for A {
    const NAME: &str = "a";
    type Item = Row;
    fn take(&mut self, item: Row) -> Result<(), Refusal> {
        self.0.add(Self::NAME, item)
    }
}

/// The matrix `b`.
#[derive(Default)]
pub struct B(pub Rows);

impl Packer for B {
    const NAME: &str = "b";
    type Item = Row;
    fn take(&mut self, item: Row) -> Result<(), Refusal> {
        self.0.add(Self::NAME, item)
    }
}

/// A list that was packed, or why it cannot be.
pub struct Packed<P>(pub Result<P, Refusal>);

impl<'de, P: Packer> Deserialize<'de> for Packed<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PackVisitor(PhantomData))
    }
}

struct PackVisitor<P>(PhantomData<P>);

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
        while let Some(item) = seq.next_element::<P::Item>()? {
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
