//! `range_reduce`: a formula of every integer of a range, reduced to one value.
//!
//! ```json
//! {"kind":"range_reduce","start":1,"end":1000,"map":"x","where":"x % 2 == 0","reduce":"sum"}
//! ```
//! `end` is part of the range. `map` is `x` and `where` takes everything, unless they are said. `chunk_size` bounds how
//! many numbers go to a node at once.

use std::collections::BTreeMap;

use super::{
    fields::{Fields, missing},
    formulas::{read_reduce, read_work, reduce_name},
    limits::MAX_RANGE_END,
    outcome::{Answer, content, failed, foreign, reduced},
};
use crate::{
    blob::Blob,
    exchange::partial::{Partial, Reduce},
    formula::program::{Target, range_kernel},
    job::{CallShape, Outputs, Plan},
    refusal::{Code, Refusal},
    units::Span,
};

/// As in `"kind"`.
pub const NAME: &str = "range_reduce";
/// Its own fields.
pub const FIELDS: &[&str] = &["start", "end", "map", "where", "reduce", "chunk_size"];

/// Numbers in one batch where nobody said `chunk_size`; more would outrun any time limit.
const MOST_A_BATCH: u64 = 1 << 40;

struct RangeReduce {
    kernel: Blob,
    start: i64,
    count: u64,
    reduce: Reduce,
    chunk: Option<u64>,
}

/// Reads the fields of this kind.
pub fn read(fields: &mut Fields) -> Result<Box<dyn Plan>, Refusal> {
    let mut bound = |name: &str| {
        let value = fields.integer(name, -MAX_RANGE_END, MAX_RANGE_END)?;
        value.ok_or_else(|| missing(name, "a range goes from `start` to `end`, both included"))
    };
    let (start, end) = (bound("start")?, bound("end")?);
    let chunk = fields.integer("chunk_size", 1, i64::MAX)?.map(i64::unsigned_abs);
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
    fn kernel(&self) -> &Blob {
        &self.kernel
    }

    fn units(&self) -> u64 {
        self.count
    }

    fn shape(&self) -> CallShape {
        CallShape::WholeSpan
    }

    fn most_units_a_batch(&self, start: u64) -> u64 {
        self.chunk.map_or(MOST_A_BATCH, |chunk| chunk - start % chunk)
    }

    fn inputs(&self, span: Span) -> Vec<Vec<u8>> {
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

    fn merge(&self, done: &BTreeMap<Span, Outputs>) -> Result<String, Refusal> {
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
pub fn merge_partials(
    reduce: Reduce,
    done: &BTreeMap<Span, Outputs>,
    what: impl Fn(Span) -> String,
) -> Result<String, Refusal> {
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
