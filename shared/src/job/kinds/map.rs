//! `map` and `map_reduce`: a formula of every item of a list; all values in order, or reduced to one.
//!
//! ```json
//! {"kind":"map","data":[1,2,3],"map":"x*x + 1"}
//! {"kind":"map_reduce","data":[3,1,2],"map":"x*x","where":"x > 1","reduce":"average"}
//! ```

use super::{
    Modules,
    fields::Fields,
    formulas::{DATA, MAP, REDUCE, WHERE, read_reduce, read_work},
    limits::{BATCH_BYTES, MOST_RESULT_BYTES},
    outcome::{Answer, content, failed, foreign, put_value},
    packed::Items,
    range_reduce::merge_partials,
    schema::{Example, Kind, Output, Sample::Typed, text},
};
use crate::{
    blob::Blob,
    exchange::{
        partial::Partial,
        value::{self, Value},
    },
    formula::{
        Subject,
        program::{Target, items_kernel},
    },
    job::{CallShape, Done, Plan, Stage, Stages},
    refusal::{Code, Refusal},
    units::Span,
};

/// What `map` says of itself.
pub(super) static KIND: Kind = Kind {
    name: "map",
    title: text("Map", "Преобразование"),
    about: text(
        "Every item of a list goes through your formula; the list of answers comes back in order.",
        "Каждый элемент списка проходит через вашу формулу; ответы возвращаются списком в том же порядке.",
    ),
    fields: &[DATA, MAP.unless("where"), WHERE],
    examples: &[
        Example {
            name: text("Squares", "Квадраты"),
            values: &[("data", Typed("1, 2, 3, 4, 5, 6, 7, 8, 9, 10")), ("map", Typed("x*x + 1"))],
        },
        Example {
            name: text("Halve or triple", "Пополам или втрое"),
            values: &[("data", Typed("6, 7, 19, 27, 97, 871")), ("map", Typed("if(x % 2 == 0, x // 2, 3*x + 1)"))],
        },
        Example {
            name: text("Texts", "Тексты"),
            values: &[
                ("data", Typed(r#"["many hands", "light work", "one by one"]"#)),
                ("map", Typed(r#"upper(replace(x, " ", "-"))"#)),
                ("where", Typed("len(x) > 5")),
            ],
        },
    ],
    output: Output::Value,
    summary: |job| vec![Some(job.mapped()), job.items("data"), job.text("where")],
};

/// What `map_reduce` says of itself.
pub(super) static REDUCING_KIND: Kind = Kind {
    name: "map_reduce",
    title: text("Map and reduce", "Преобразование и свёртка"),
    about: text(
        "Every item goes through your formula; the answers are reduced to one value.",
        "Каждый элемент проходит через вашу формулу; ответы сворачиваются в одно значение.",
    ),
    fields: &[DATA, MAP.or("x"), WHERE, REDUCE],
    examples: &[
        Example {
            name: text("Squares", "Квадраты"),
            values: &[
                ("data", Typed("3, 1, 2, 8, 5, 13")),
                ("map", Typed("x*x")),
                ("where", Typed("x > 1")),
                ("reduce", Typed("average")),
            ],
        },
        Example {
            name: text("Largest remainder", "Наибольший остаток"),
            values: &[
                ("data", Typed("12, 35, 81, 1024, 4095, 65537")),
                ("map", Typed("x % 97")),
                ("reduce", Typed("max")),
            ],
        },
    ],
    output: Output::Value,
    summary: |job| vec![job.reduced(), job.items("data"), job.text("where")],
};

struct Map {
    kernel: Blob,
    items: Items,
    target: Target,
    filtered: bool,
}

pub(super) fn read(fields: &mut Fields, _: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    if !fields.has("map") && !fields.has("where") {
        return Err(fields.missing("map"));
    }
    read_as(fields, Target::Values)
}

pub(super) fn read_reducing(fields: &mut Fields, _: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let reduce = read_reduce(fields)?;
    read_as(fields, Target::Reduce(reduce))
}

fn read_as(fields: &mut Fields, target: Target) -> Result<Box<dyn Plan>, Refusal> {
    let work = read_work(fields, target)?;
    let items = fields.items("data")?;
    let integers = items.integers.map(|(least, most)| Subject::Integer { least, most });
    let floats = items.first_float.map(|_| Subject::Float);
    let texts = items.first_text.map(|_| Subject::Text);
    let mut subjects = Vec::new();
    for (subject, first) in [(integers, None), (floats, items.first_float), (texts, items.first_text)] {
        let Some(subject) = subject else { continue };
        subjects.push(subject);
        // Each type is tried alone, so that the message can show an item that the formula does not suit.
        if let (Err(mut refusal), Some(first)) = (items_kernel(&work, &[subject]), first) {
            refusal.message = format!("{} (item {first} is {})", refusal.message, items.show(first));
            return Err(refusal);
        }
    }
    let kernel = Blob::new(items_kernel(&work, &subjects)?);
    Ok(Box::new(Map { kernel, items, target, filtered: work.filter.is_some() }))
}

impl Plan for Map {
    fn stages(&self) -> Stages {
        Stages::one(Stage::of(&self.kernel, self.items.count, CallShape::WholeSpan))
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        // Whole strides, as many as fit.
        let from = start / Items::STRIDE;
        let first = self.items.mark(from);
        let mut end = from + 1;
        while end * Items::STRIDE < self.items.count && self.items.mark(end + 1) - first <= BATCH_BYTES {
            end += 1;
        }
        end * Items::STRIDE - start
    }

    fn inputs(&self, span: Span, _: &Done) -> Vec<Vec<u8>> {
        let bytes = self.items.bytes.get(self.items.offset(span.start)..self.items.offset(span.end));
        vec![bytes.unwrap_or_default().to_vec()]
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        match content(output) {
            Ok(content) => {
                let right = match self.target {
                    Target::Reduce(reduce) => {
                        Partial::decode(reduce, content).is_some_and(|partial| partial.count <= span.len())
                    }
                    Target::Values => {
                        let count = count_values(content);
                        count.is_some_and(|count| if self.filtered { count <= span.len() } else { count == span.len() })
                    }
                };
                if right { Ok(()) } else { Err(foreign()) }
            }
            Err(Answer::Failed(failure, position)) if position < span.len() => {
                let item = span.start + position;
                let place = format!("item {item}, x = {}", self.items.show(item));
                Err(failed(failure, &place))
            }
            Err(Answer::Failed(_, _) | Answer::Foreign) => Err(foreign()),
        }
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        match self.target {
            Target::Reduce(reduce) => {
                merge_partials(reduce, done, |span| format!("items {} to {}", span.start, span.end.saturating_sub(1)))
            }
            Target::Values => list(done),
        }
    }

    fn has_partial_result(&self) -> bool {
        match self.target {
            Target::Reduce(_) => true,
            Target::Values => false,
        }
    }
}

fn count_values(content: &[u8]) -> Option<u64> {
    let (mut at, mut count) = (0, 0);
    while at < content.len() {
        match value::take(content, &mut at)? {
            Value::Text(text) => core::str::from_utf8(text).ok().map(|_| ())?,
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
        }
        count += 1;
    }
    Some(count)
}

fn list(done: &Done) -> Result<String, Refusal> {
    let mut json = String::from("[");
    for output in done.values().flatten() {
        let content = content(output).map_err(|_| foreign())?;
        let mut at = 0;
        while at < content.len() {
            if json.len() > 1 {
                json.push(',');
            }
            put_value(&mut json, value::take(content, &mut at).ok_or_else(foreign)?)?;
            if json.len() > MOST_RESULT_BYTES {
                let message = format!("the result has more than {MOST_RESULT_BYTES} bytes");
                return Err(Refusal::new(Code::TooLarge, message, "split the job, or reduce the values"));
            }
        }
    }
    json.push(']');
    Ok(json)
}
