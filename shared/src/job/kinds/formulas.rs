//! The fields that all kinds with formulas share: `map`, `where`, `reduce`.

use super::fields::{Fields, cut, missing};
use crate::{
    exchange::partial::Reduce,
    formula::{
        Formula,
        program::{Target, Work, within},
    },
    refusal::{Code, Refusal},
};

const REDUCTIONS: [(&str, Reduce); 6] = [
    ("sum", Reduce::Sum),
    ("product", Reduce::Product),
    ("min", Reduce::Min),
    ("max", Reduce::Max),
    ("count", Reduce::Count),
    ("average", Reduce::Average),
];

/// As in `"reduce"`.
pub fn reduce_name(reduce: Reduce) -> &'static str {
    REDUCTIONS.iter().find(|(_, known)| *known == reduce).map_or("", |(name, _)| name)
}

/// `reduce`, which must be there.
pub fn read_reduce(fields: &mut Fields) -> Result<Reduce, Refusal> {
    let hint = "it is sum, product, min, max, count or average";
    let name = fields.text("reduce")?.ok_or_else(|| missing("reduce", hint))?;
    REDUCTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, reduce)| *reduce)
        .ok_or_else(|| Refusal::new(Code::InvalidField, format!("`reduce` cannot be {:?}", cut(&name)), hint))
}

/// `map` and `where`; `x` and everything, where they are not said.
pub fn read_work(fields: &mut Fields, target: Target) -> Result<Work, Refusal> {
    let map = read_formula(fields, "map")?.unwrap_or_else(Formula::identity);
    Ok(Work { map, filter: read_formula(fields, "where")?, target })
}

fn read_formula(fields: &mut Fields, name: &str) -> Result<Option<Formula>, Refusal> {
    let text = fields.text(name)?;
    text.map(|text| Formula::parse(&text).map_err(|refusal| within(name, refusal))).transpose()
}
