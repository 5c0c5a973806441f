//! `range_reduce`: a formula of every integer of a range, reduced to one value.
//!
//! ```json
//! {"kind":"range_reduce","start":1,"end":1000,"map":"x","where":"x % 2 == 0","reduce":"sum"}
//! ```
//! `end` is part of the range. `map` is `x` and `where` takes everything, unless they are said. `chunk_size` bounds how
//! many numbers go to a node at once.

use super::{
    Modules,
    fields::Fields,
    formulas::{MAP, REDUCE, WHERE, read_reduce, read_work, reduce_name},
    limits::MOST_RANGE_END,
    outcome::{Answer, content, failed, foreign, reduced},
    schema::{Example, Field, Kind, Output, Sample::Typed, Type, text},
};
use crate::{
    blob::Blob,
    exchange::partial::{Partial, Reduce},
    formula::program::{Target, range_kernel},
    job::{CallShape, Done, Plan, Stage, Stages},
    refusal::{Code, Refusal},
    units::Span,
};

/// What it says of itself.
pub(super) static KIND: Kind = Kind {
    name: "range_reduce",
    title: text("Range", "Диапазон"),
    about: text(
        "Every whole number from start to end, both included, goes through your formula; what remains is reduced to one value.",
        "Каждое целое от начала до конца включительно проходит через вашу формулу; остаток сворачивается в одно значение.",
    ),
    fields: &[
        Field::required(
            "start",
            END_TYPE,
            text("Start", "Начало"),
            text("The first number of the range.", "Первое число диапазона."),
        )
        .like("1"),
        Field::required(
            "end",
            END_TYPE,
            text("End (included)", "Конец (включительно)"),
            text("The last number of the range; it is part of it.", "Последнее число диапазона; оно в него входит."),
        )
        .like("1000"),
        MAP.or("x"),
        WHERE,
        REDUCE,
        Field::optional(
            "chunk_size",
            Type::Integer { least: 1, most: i64::MAX },
            text("Numbers a task", "Чисел в задаче"),
            text(
                "How many numbers go to a node at once; left out, tasks are sized by each node's speed.",
                "Сколько чисел получает узел за раз; если не сказано, размер задачи зависит от скорости узла.",
            ),
        )
        .folded(),
    ],
    examples: &[
        Example {
            name: text("Sum of 1…10,000,000", "Сумма 1…10 000 000"),
            values: &[("start", Typed("1")), ("end", Typed("10000000")), ("map", Typed("x")), ("reduce", Typed("sum"))],
        },
        Example {
            name: text("Primes up to 1,000,000", "Простые до 1 000 000"),
            values: &[
                ("start", Typed("1")),
                ("end", Typed("1000000")),
                ("map", Typed("x")),
                ("where", Typed("is_prime(x)")),
                ("reduce", Typed("count")),
            ],
        },
        Example {
            name: text("Average square root", "Средний квадратный корень"),
            values: &[
                ("start", Typed("1")),
                ("end", Typed("1000000")),
                ("map", Typed("sqrt(x)")),
                ("reduce", Typed("average")),
            ],
        },
    ],
    output: Output::Value,
    summary: |job| {
        let range = job.plain("start").zip(job.plain("end"));
        vec![job.reduced(), range.map(|(start, end)| format!("x = {start}…{end}")), job.text("where")]
    },
};

const END_TYPE: Type = Type::Integer { least: -MOST_RANGE_END, most: MOST_RANGE_END };

/// Numbers in one batch where nobody said `chunk_size`; more would outrun any time limit.
const MOST_A_BATCH: u64 = 1 << 40;

struct RangeReduce {
    kernel: Blob,
    start: i64,
    count: u64,
    reduce: Reduce,
    chunk: Option<u64>,
}

pub(super) fn read(fields: &mut Fields, _: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let (start, end) = (fields.needed_integer("start")?, fields.needed_integer("end")?);
    let chunk = fields.integer("chunk_size")?.map(i64::unsigned_abs);
    let reduce = read_reduce(fields)?;
    let work = read_work(fields, Target::Reduce(reduce))?;
    if end < start {
        let message = format!("the range from {start} to {end} is empty");
        return Err(Refusal::new(Code::EmptyInput, message, "`end` must not be below `start`"));
    }
    let kernel = Blob::new(range_kernel(&work, reduce, start, end)?);
    Ok(Box::new(RangeReduce { kernel, start, count: end.abs_diff(start) + 1, reduce, chunk }))
}

impl RangeReduce {
    fn number(&self, unit: u64) -> i64 {
        self.start.wrapping_add_unsigned(unit)
    }
}

impl Plan for RangeReduce {
    fn stages(&self) -> Stages {
        Stages::one(Stage::of(&self.kernel, self.count, CallShape::WholeSpan))
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        self.chunk.map_or(MOST_A_BATCH, |chunk| chunk - start % chunk)
    }

    fn inputs(&self, span: Span, _: &Done) -> Vec<Vec<u8>> {
        let (first, last) = (self.number(span.start), self.number(span.end.saturating_sub(1)));
        vec![[first.to_le_bytes(), last.to_le_bytes()].concat()]
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        match content(output) {
            Ok(content) => match Partial::decode(self.reduce, content) {
                Some(partial) if partial.count <= span.len() => Ok(()),
                Some(_) | None => Err(foreign()),
            },
            Err(Answer::Failed(failure, position)) => {
                let x = i64::from_le_bytes(position.to_le_bytes());
                Err(failed(failure, &format!("x = {x}")))
            }
            Err(Answer::Foreign) => Err(foreign()),
        }
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let what = |span: Span| {
            let (first, last) = (self.number(span.start), self.number(span.end.saturating_sub(1)));
            format!("numbers {first} to {last}")
        };
        merge_partials(self.reduce, done, what)
    }

    fn has_partial_result(&self) -> bool {
        true
    }
}

/// One reduction of all parts; `what` names the values of a span where that fails.
pub(super) fn merge_partials(reduce: Reduce, done: &Done, what: impl Fn(Span) -> String) -> Result<String, Refusal> {
    let mut whole = Partial::new();
    for output in done.values().flatten() {
        let part = content(output).ok().and_then(|content| Partial::decode(reduce, content)).ok_or_else(foreign)?;
        whole.merge(reduce, &part);
    }
    let start = done.keys().map(|span| span.start).min().unwrap_or(0);
    let end = done.keys().map(|span| span.end).max().unwrap_or(0);
    let place = || format!("the {} of all values (merging {})", reduce_name(reduce), what(Span { start, end }));
    reduced(whole.result(reduce), place)
}
