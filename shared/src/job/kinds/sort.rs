//! `sort`: a list in order, by number or by text.
//!
//! ```json
//! {"kind":"sort","data":[3,1.5,2],"by":"number","order":"descending"}
//! ```
//! Numbers are compared as the exact numbers that they are, integers of 128 bits beside floats; texts by their characters'
//! code points. What is equal stays in its order. A span of the list is sorted by a kernel, which gives the places of its
//! items in order: that these are a stable order is checked when they arrive, so no node can pass off another. The spans
//! are merged by the requester.

mod kernel;

use std::{cmp::Ordering, sync::LazyLock};

use super::{
    Modules,
    fields::Fields,
    formulas::DATA,
    limits::{BATCH_BYTES, MOST_RESULT_BYTES},
    outcome::{foreign, put_value},
    packed::Items,
    schema::{Choice, Example, Field, Kind, Output, Sample::Typed, Type, choice, choices, text},
};
use crate::{
    blob::Blob,
    exchange::{
        number::compare,
        value::{self, Value},
    },
    job::{CallShape, Done, Plan, Stage, Stages},
    refusal::{Code, Refusal},
    units::Span,
};

/// What it says of itself.
pub(super) static KIND: Kind = Kind {
    name: "sort",
    title: text("Sort", "Сортировка"),
    about: text(
        "A list of numbers or texts is put in order: parts of it on several nodes, then together. What is equal stays in its order.",
        "Список чисел или текстов упорядочивается: частями на нескольких узлах, затем целиком. Равные сохраняют свой порядок.",
    ),
    fields: &[
        DATA,
        Field::optional(
            "by",
            Type::Choice(&choices(&KEYS)),
            text("Sort by", "Сортировать по"),
            text(
                "What the items are: numbers, compared exactly, or texts, compared by their characters' code points.",
                "Что такое элементы: числа, сравниваемые точно, или тексты, сравниваемые по кодам символов.",
            ),
        )
        .or("number"),
        Field::optional(
            "order",
            Type::Choice(&choices(&ORDERS)),
            text("Order", "Порядок"),
            text("Which items come first.", "Какие элементы идут первыми."),
        )
        .or("ascending"),
    ],
    examples: &[
        Example {
            name: text("Largest first", "Сначала наибольшие"),
            values: &[
                ("data", Typed("31, 4, 15.9, -26, 5, 35, 8979, 32.3, 8, 46")),
                ("by", Typed("number")),
                ("order", Typed("descending")),
            ],
        },
        Example {
            name: text("Words", "Слова"),
            values: &[("data", Typed(r#"["many", "hands", "make", "light", "work"]"#)), ("by", Typed("text"))],
        },
    ],
    output: Output::Value,
    summary: |job| vec![job.items("data"), job.text("by"), job.text("order")],
};

/// What items are compared as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Number,
    Text,
}

/// Which items come first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

const KEYS: [(Choice, Key); 2] =
    [(choice("number", "number", "числу"), Key::Number), (choice("text", "text", "тексту"), Key::Text)];

const ORDERS: [(Choice, Order); 2] = [
    (choice("ascending", "smallest first", "по возрастанию"), Order::Ascending),
    (choice("descending", "largest first", "по убыванию"), Order::Descending),
];

/// The longest key of a number, and where it ends: a sign, an exponent, 128 bits.
const NUMBER_BYTES: usize = 1 + 2 + 16 + 4;

/// What sorts a span.
static KERNEL: LazyLock<Blob> = LazyLock::new(|| Blob::new(kernel::emit()));

struct Sort {
    items: Items,
    key: Key,
    order: Order,
}

pub(super) fn read(fields: &mut Fields, _: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let (key, order) = (fields.choice("by", &KEYS)?, fields.choice("order", &ORDERS)?);
    let items = fields.items("data")?;
    let sort = Sort { items, key, order };
    match sort.first_of_another_kind() {
        None => Ok(Box::new(sort)),
        Some(item) => {
            let (what, hint) = match key {
                Key::Number => ("number", "leave it out, or write \"by\": \"text\" for a list of texts"),
                Key::Text => ("text", "put it into quotes, or write \"by\": \"number\" for a list of numbers"),
            };
            let message = format!("`data` item {item} is {}, which is no {what}", sort.items.show(item));
            Err(Refusal::new(Code::InvalidField, message, hint))
        }
    }
}

impl Sort {
    fn first_of_another_kind(&self) -> Option<u64> {
        match self.key {
            Key::Number => self.items.first_text,
            Key::Text if self.items.integers.is_none() && self.items.first_float.is_none() => None,
            Key::Text => {
                let is_text = |value: &Value| match value {
                    Value::Text(_) => true,
                    Value::Bool(_) | Value::Integer(_) | Value::Float(_) => false,
                };
                let all = Span { start: 0, end: self.items.count };
                (0..).zip(self.values(all)).find(|(_, value)| !is_text(value)).map(|(item, _)| item)
            }
        }
    }

    /// The items of a span.
    fn values(&self, span: Span) -> impl Iterator<Item = Value<'_>> {
        let mut at = self.items.offset(span.start);
        (span.start..span.end).map_while(move |_| value::take(&self.items.bytes, &mut at))
    }

    /// How two items stand to each other in the result.
    fn compare(&self, left: Value, right: Value) -> Ordering {
        let ascending = match (left, right) {
            (Value::Integer(left), Value::Integer(right)) => left.cmp(&right),
            (Value::Integer(left), Value::Float(right)) => compare(left, right).unwrap_or(Ordering::Equal),
            (Value::Float(left), Value::Integer(right)) => compare(right, left).unwrap_or(Ordering::Equal).reverse(),
            // JSON has no number that is none.
            (Value::Float(left), Value::Float(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
            (Value::Text(left), Value::Text(right)) => left.cmp(right),
            // Such lists are refused.
            (Value::Text(_) | Value::Bool(_), _) | (_, Value::Text(_) | Value::Bool(_)) => Ordering::Equal,
        };
        match self.order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    }
}

impl Plan for Sort {
    fn stages(&self) -> Stages {
        Stages::one(Stage::of(&KERNEL, self.items.count, CallShape::WholeSpan))
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        // Whole strides, as many as fit.
        let from = start / Items::STRIDE;
        let bytes = |end: u64| match self.key {
            Key::Number => {
                usize::try_from((end - from) * Items::STRIDE).map_or(usize::MAX, |items| items * NUMBER_BYTES)
            }
            Key::Text => self.items.mark(end) - self.items.mark(from),
        };
        let mut end = from + 1;
        while end * Items::STRIDE < self.items.count && bytes(end + 1) <= BATCH_BYTES {
            end += 1;
        }
        end * Items::STRIDE - start
    }

    fn inputs(&self, span: Span, _: &Done) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut ends = Vec::new();
        for value in self.values(span) {
            put_key(value, &mut keys);
            ends.push(keys.len() as u32);
        }
        let mut input = Vec::with_capacity(kernel::HEAD + 4 * (ends.len() + 1) + keys.len());
        input.push(match self.order {
            Order::Ascending => 0,
            Order::Descending => 1,
        });
        input.extend_from_slice(&(ends.len() as u32).to_le_bytes());
        input.extend_from_slice(&0_u32.to_le_bytes());
        ends.iter().for_each(|end| input.extend_from_slice(&end.to_le_bytes()));
        input.extend_from_slice(&keys);
        vec![input]
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        let values: Vec<Value> = self.values(span).collect();
        let places = places(output, values.len()).ok_or_else(foreign)?;
        let mut seen = vec![false; values.len()];
        let mut before: Option<(u32, Value)> = None;
        for place in places {
            let index = place as usize;
            let (Some(value), Some(taken)) = (values.get(index), seen.get_mut(index)) else { return Err(foreign()) };
            let follows = before.is_none_or(|(earlier, other)| match self.compare(other, *value) {
                Ordering::Less => true,
                Ordering::Equal => earlier < place,
                Ordering::Greater => false,
            });
            if *taken || !follows {
                return Err(foreign());
            }
            *taken = true;
            before = Some((place, *value));
        }
        Ok(())
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let mut offsets: Vec<u32> = Vec::with_capacity(usize::try_from(self.items.count).unwrap_or(0));
        let mut at = 0;
        for _ in 0..self.items.count {
            offsets.push(at as u32);
            value::take(&self.items.bytes, &mut at).ok_or_else(foreign)?;
        }
        let mut order: Vec<u32> = Vec::with_capacity(offsets.len());
        for (span, outputs) in done {
            for output in outputs {
                let places = places(output, output.len() / 4).ok_or_else(foreign)?;
                // There are fewer items than 2^32.
                order.extend(places.map(|place| (span.start as u32).saturating_add(place)));
            }
        }
        let value = |item: u32| {
            let mut at = offsets.get(item as usize).map_or(usize::MAX, |offset| *offset as usize);
            value::take(&self.items.bytes, &mut at).unwrap_or(Value::Bool(false))
        };
        // It keeps what is equal in its order, and merges the runs that it finds: the spans, each in order already.
        order.sort_by(|left, right| self.compare(value(*left), value(*right)));
        list(order.into_iter().map(value))
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}

/// The places that an output gives, if it gives so many.
fn places(output: &[u8], count: usize) -> Option<impl Iterator<Item = u32>> {
    let (places, rest) = output.as_chunks::<4>();
    (rest.is_empty() && places.len() == count).then(|| places.iter().map(|place| u32::from_le_bytes(*place)))
}

fn list<'a>(values: impl Iterator<Item = Value<'a>>) -> Result<String, Refusal> {
    let mut json = String::from("[");
    for value in values {
        if json.len() > 1 {
            json.push(',');
        }
        put_value(&mut json, value)?;
        if json.len() > MOST_RESULT_BYTES {
            let message = format!("the result has more than {MOST_RESULT_BYTES} bytes");
            return Err(Refusal::new(Code::TooLarge, message, "split the list into several jobs"));
        }
    }
    json.push(']');
    Ok(json)
}

/// Bytes that stand to each other, one by one and the shorter first, as the items do: a text's own; of a number its sign,
/// its exponent and its mantissa without the zeros at its end, the latter two turned around below zero.
fn put_key(value: Value, keys: &mut Vec<u8>) {
    let (negative, magnitude, shift) = match value {
        Value::Text(text) => return keys.extend_from_slice(text),
        // There is none in a list.
        Value::Bool(value) => (false, u128::from(value), 0),
        Value::Integer(integer) => (integer < 0, integer.unsigned_abs(), 0),
        Value::Float(float) => {
            let (bits, exponent) = (float.to_bits(), (float.to_bits() >> 52 & 0x7ff) as i32);
            let fraction = u128::from(bits & ((1 << 52) - 1));
            let normal = (float < 0.0, fraction | 1 << 52, exponent - 1075);
            if exponent == 0 { (float < 0.0, fraction, -1074) } else { normal }
        }
    };
    if magnitude == 0 {
        return keys.push(1);
    }
    let zeros = magnitude.leading_zeros();
    // From -1074 to 1023, and so never negative.
    let exponent = (127 - zeros as i32 + shift + 2048) as u16;
    let mantissa = magnitude << zeros;
    let (sign, exponent, mantissa) =
        if negative { (0, !exponent, mantissa.wrapping_neg()) } else { (2, exponent, mantissa) };
    keys.push(sign);
    keys.extend_from_slice(&exponent.to_be_bytes());
    let bytes = mantissa.to_be_bytes();
    let length = bytes.len() - (mantissa.trailing_zeros() / 8) as usize;
    keys.extend_from_slice(bytes.get(..length).unwrap_or(&bytes));
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests;
