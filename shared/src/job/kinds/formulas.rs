//! The fields that all kinds with formulas share: `map`, `where`, `reduce`, and the list that they go over.

use super::{
    fields::Fields,
    schema::{Choice, Field, Type, choice, choices, text},
};
use crate::{
    exchange::partial::Reduce,
    formula::{
        Formula,
        program::{Target, Work, within},
    },
    refusal::Refusal,
};

/// The list of a kind that takes one.
pub(super) const DATA: Field = Field::required(
    "data",
    Type::Items,
    text("Data", "Данные"),
    text(
        "The items: a list of numbers and texts, as in [1, 2, 3].",
        "Элементы: список чисел и текстов, например [1, 2, 3].",
    ),
);

/// The formula of every item, which must be there.
pub(super) const MAP: Field = Field::required(
    "map",
    Type::Formula,
    text("Formula in x", "Формула от x"),
    text(
        "For example x*x + 1. There is: + - * / // % ** · == != < <= > >= · and or not · if(c, a, b) · abs min max floor ceil round sqrt gcd is_prime sin cos tan exp ln log10 pow pi · let y = x*x; y + 1 · texts: upper lower len trim replace contains",
        "Например x*x + 1. Есть: + - * / // % ** · == != < <= > >= · and or not · if(c, a, b) · abs min max floor ceil round sqrt gcd is_prime sin cos tan exp ln log10 pow pi · let y = x*x; y + 1 · для текстов: upper lower len trim replace contains",
    ),
)
.like("x*x + 1");

/// The condition on every item.
pub(super) const WHERE: Field = Field::optional(
    "where",
    Type::Formula,
    text("Only where", "Только если"),
    text(
        "Only items for which this formula in x holds; all of them, if it is left out.",
        "Только те, для которых верна эта формула от x; если её нет, то все.",
    ),
)
.like("x > 1");

/// How values become one.
pub(super) const REDUCE: Field = Field::required(
    "reduce",
    Type::Choice(&choices(&REDUCTIONS)),
    text("Reduce to", "Свернуть в"),
    text(
        "How the values become one: sum, product, min, max, count or average.",
        "Во что превращаются значения: сумма, произведение, наименьшее, наибольшее, количество или среднее.",
    ),
);

const REDUCTIONS: [(Choice, Reduce); 6] = [
    (choice("sum", "sum", "сумма"), Reduce::Sum),
    (choice("product", "product", "произведение"), Reduce::Product),
    (choice("min", "smallest", "наименьшее"), Reduce::Min),
    (choice("max", "largest", "наибольшее"), Reduce::Max),
    (choice("count", "count", "количество"), Reduce::Count),
    (choice("average", "average", "среднее"), Reduce::Average),
];

/// As in `"reduce"`.
pub(super) fn reduce_name(reduce: Reduce) -> &'static str {
    REDUCTIONS.iter().find(|(_, known)| *known == reduce).map_or("", |(choice, _)| choice.name)
}

/// `reduce`, which must be there.
pub(super) fn read_reduce(fields: &mut Fields) -> Result<Reduce, Refusal> {
    fields.choice("reduce", &REDUCTIONS)
}

/// `map` and `where`; `x` and everything, where they are not said.
pub(super) fn read_work(fields: &mut Fields, target: Target) -> Result<Work, Refusal> {
    let map = read_formula(fields, "map")?.unwrap_or_else(Formula::identity);
    Ok(Work { map, filter: read_formula(fields, "where")?, target })
}

fn read_formula(fields: &mut Fields, name: &str) -> Result<Option<Formula>, Refusal> {
    let text = fields.text(name)?;
    text.map(|text| Formula::parse(&text).map_err(|refusal| within(name, refusal))).transpose()
}
