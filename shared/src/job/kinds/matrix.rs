//! `matrix`: arithmetic of whole matrices, cut into bands that several nodes compute.
//!
//! ```json
//! {"kind":"matrix","op":"multiply","a":[[1,2],[3,4]],"b":[[5,6],[7,8]]}
//! ```
//! `add`, `subtract`, `multiply`, `transpose` and `determinant` of integers are exact. `add`, `subtract` and `transpose`
//! take every number by its own type; for all else a float anywhere makes floats of all numbers.
//! An integer determinant is computed modulo as many primes as Hadamard's bound asks for, each a unit of its own; a
//! column of the `inverse` is a unit. `lu`, `qr` and `eigenvalues` (of a symmetric matrix) are one task.

use std::sync::LazyLock;

use super::{
    Modules,
    big::Big,
    fields::Fields,
    limits::MOST_RESULT_BYTES,
    outcome::{Answer, content, failed, foreign, put_float, put_integer},
    packed::{Number, Rows},
    schema::{
        Choice, Example, Field, Kind, Output,
        Sample::{Made, Typed},
        Type, choice, choices, text,
    },
};
use crate::{
    blob::Blob,
    exchange::{
        Failure,
        grid::{self, Grid, Numbers, Operation},
    },
    job::{CallShape, Done, Plan, Stage, Stages},
    refusal::{Code, Refusal},
    units::Span,
};

/// What it says of itself.
pub(super) static KIND: Kind = Kind {
    name: "matrix",
    title: text("Matrix", "Матрица"),
    about: text(
        "Matrices are cut into blocks, computed on several nodes and put together.",
        "Матрицы режутся на блоки, считаются на нескольких узлах и собираются обратно.",
    ),
    fields: &[
        Field::required(
            "op",
            Type::Choice(&choices(&OPERATIONS)),
            text("Operation", "Операция"),
            text(
                "What to compute; integers are added, subtracted and multiplied exactly, and their determinant is exact.",
                "Что посчитать; сложение, вычитание, умножение и определитель целых чисел точны.",
            ),
        ),
        Field::required(
            "a",
            Type::Matrix,
            text("Matrix A", "Матрица A"),
            text("A list of rows, as in [[1, 2], [3, 4]].", "Список строк, например [[1, 2], [3, 4]]."),
        ),
        Field::required(
            "b",
            Type::Matrix,
            text("Matrix B", "Матрица B"),
            text(
                "The second one, as a list of rows, for operations on two.",
                "Вторая, тоже список строк, для операций над двумя.",
            ),
        )
        .only("op", &["multiply", "add", "subtract"]),
    ],
    examples: &[
        Example {
            name: text("Product of matrices", "Произведение матриц"),
            values: &[("op", Typed("multiply")), ("a", Typed("1 2\n3 4")), ("b", Typed("5 6\n7 8"))],
        },
        Example {
            name: text("Random 96 × 96", "Случайные 96 × 96"),
            values: &[("op", Typed("multiply")), ("a", Made(|| digits(96, 1))), ("b", Made(|| digits(96, 2)))],
        },
        Example {
            name: text("Inverse", "Обратная"),
            values: &[("op", Typed("inverse")), ("a", Typed("4 7 2\n3 6 1\n2 5 3"))],
        },
    ],
    output: Output::Value,
    summary: |job| vec![job.text("op"), job.size("a"), job.size("b")],
};

/// `kernels/matrix`, compiled.
static GUEST: LazyLock<Blob> = LazyLock::new(|| Blob::new(*include_bytes!(concat!(env!("OUT_DIR"), "/matrix.wasm"))));

/// Bytes of a band, in or out, that go in one batch.
const BAND_BYTES: usize = 4 << 20;
/// Primes in one batch.
const BATCH_PRIMES: u64 = 1024;

const OPERATIONS: [(Choice, Operation); 9] = [
    (choice("multiply", "A × B", "A × B (умножение)"), Operation::Multiply),
    (choice("add", "A + B", "A + B (сложение)"), Operation::Add),
    (choice("subtract", "A − B", "A − B (вычитание)"), Operation::Subtract),
    (choice("transpose", "Transpose of A", "Транспонировать A"), Operation::Transpose),
    (choice("determinant", "Determinant of A", "Определитель A"), Operation::Determinant),
    (choice("inverse", "Inverse of A", "Обратная к A"), Operation::Inverse),
    (choice("lu", "LU decomposition of A", "LU-разложение A"), Operation::Lu),
    (choice("qr", "QR decomposition of A", "QR-разложение A"), Operation::Qr),
    (
        choice("eigenvalues", "Eigenvalues of A (symmetric)", "Собственные значения A (симметричной)"),
        Operation::Eigenvalues,
    ),
];

struct Matrix {
    operation: Operation,
    a: Grid,
    b: Option<Grid>,
    /// What every call begins with.
    common: Option<Blob>,
    units: u64,
    /// Rows and columns of the result's first grid.
    primes: Vec<u32>,
}

pub(super) fn read(fields: &mut Fields, _: &Modules<'_>) -> Result<Box<dyn Plan>, Refusal> {
    let operation = fields.choice("op", &OPERATIONS)?;
    let name = OPERATIONS.iter().find(|(_, known)| *known == operation).map_or("", |(choice, _)| choice.name);
    let takes_two = matches!(operation, Operation::Add | Operation::Subtract | Operation::Multiply);
    if !takes_two && fields.has("b") {
        let message = format!("`{name}` takes one matrix, so `b` has no meaning");
        return Err(Refusal::new(Code::UnknownField, message, "remove `b`"));
    }
    if takes_two && !fields.has("b") {
        return Err(fields.missing(if fields.has("a") { "b" } else { "a" }));
    }
    let a = fields.rows("a")?.ok_or_else(|| fields.missing("a"))?;
    let b = fields.rows("b")?;
    check_sizes(name, operation, &a, b.as_ref())?;
    let by_number = matches!(operation, Operation::Add | Operation::Subtract | Operation::Transpose);
    let b = b.map(|b| grid(b, by_number));
    Ok(Box::new(Matrix::new(operation, grid(a, by_number), b)))
}

fn check_sizes(name: &str, operation: Operation, a: &Rows, b: Option<&Rows>) -> Result<(), Refusal> {
    let size = |rows: &Rows| format!("{} by {}", rows.rows, rows.columns);
    let mismatch = |message: String, hint: &str| Err(Refusal::new(Code::MismatchedMatrix, message, hint));
    match (operation, b) {
        (Operation::Multiply, Some(b)) if a.columns != b.rows => {
            let message = format!("`a` is {} and `b` is {}", size(a), size(b));
            mismatch(message, "to multiply, `a` needs as many columns as `b` has rows")
        }
        (Operation::Add | Operation::Subtract, Some(b)) if (a.rows, a.columns) != (b.rows, b.columns) => {
            mismatch(format!("`a` is {} and `b` is {}", size(a), size(b)), "give both matrices the same size")
        }
        (Operation::Determinant | Operation::Inverse | Operation::Lu | Operation::Eigenvalues, _)
            if a.rows != a.columns =>
        {
            mismatch(format!("`a` is {}; `{name}` needs a square matrix", size(a)), "give it as many rows as columns")
        }
        (Operation::Eigenvalues, _) => {
            let n = a.rows;
            let uneven = (0..n).flat_map(|row| (0..row).map(move |column| (row, column))).find(|(row, column)| {
                a.cells.get(row * n + column).map(as_float) != a.cells.get(column * n + row).map(as_float)
            });
            match uneven {
                Some((row, column)) => mismatch(
                    format!("`a` is not symmetric: row {row}, column {column} differs from row {column}, column {row}"),
                    "eigenvalues are computed of symmetric matrices only",
                ),
                None => Ok(()),
            }
        }
        (_, _) => Ok(()),
    }
}

fn as_float(number: &Number) -> f64 {
    match number {
        Number::Integer(integer) => *integer as f64,
        Number::Float(float) => *float,
    }
}

/// A matrix's numbers in the narrowest form that holds them; integers beside floats stay what they are if `by_number`.
fn grid(rows: Rows, by_number: bool) -> Grid {
    let Rows { rows, columns, cells } = rows;
    let words = |cell: &Number| match cell {
        Number::Integer(integer) => i64::try_from(*integer).ok(),
        Number::Float(_) => None,
    };
    let wide = |cell: &Number| match cell {
        Number::Integer(integer) => Some(*integer),
        Number::Float(_) => None,
    };
    let numbers = if let Some(words) = cells.iter().map(words).collect() {
        Numbers::Words(words)
    } else if let Some(wide) = cells.iter().map(wide).collect() {
        Numbers::Wide(wide)
    } else if by_number && cells.iter().any(|cell| matches!(cell, Number::Integer(_))) {
        let kept = |cell: &Number| match cell {
            Number::Integer(integer) => grid::Number::Integer(*integer),
            Number::Float(float) => grid::Number::Float(*float),
        };
        Numbers::Mixed(cells.iter().map(kept).collect())
    } else {
        Numbers::Floats(cells.iter().map(as_float).collect())
    };
    Grid { rows, columns, numbers }
}

impl Matrix {
    fn new(operation: Operation, a: Grid, b: Option<Grid>) -> Self {
        let exact = a.is_whole();
        let operation =
            if operation == Operation::Determinant && exact { Operation::DeterminantModulo } else { operation };
        let mut common = Vec::new();
        let mut primes = Vec::new();
        let units = match operation {
            Operation::Add | Operation::Subtract => a.rows,
            Operation::Transpose => a.columns,
            Operation::Multiply => {
                common.push(operation as u8);
                if let Some(b) = &b {
                    b.put_rows(0, b.rows, &mut common);
                }
                a.rows
            }
            Operation::DeterminantModulo => {
                common.push(operation as u8);
                a.put_rows(0, a.rows, &mut common);
                primes = primes_for(&a);
                primes.len()
            }
            Operation::Inverse => {
                common.push(operation as u8);
                a.put_rows(0, a.rows, &mut common);
                a.rows
            }
            Operation::Determinant | Operation::Lu | Operation::Qr | Operation::Eigenvalues => 1,
        };
        let common = (!common.is_empty()).then(|| Blob::new(common));
        Self { operation, a, b, common, units: units as u64, primes }
    }

    /// Rows and columns of each grid that a span gives.
    fn sizes(&self, span: Span) -> Vec<(usize, usize)> {
        let band = usize::try_from(span.len()).unwrap_or(usize::MAX);
        let (rows, columns) = (self.a.rows, self.a.columns);
        let inner = rows.min(columns);
        match self.operation {
            Operation::Add | Operation::Subtract => vec![(band, columns)],
            Operation::Multiply => vec![(band, self.b.as_ref().map_or(0, |b| b.columns))],
            Operation::Transpose | Operation::Inverse => vec![(band, rows)],
            Operation::DeterminantModulo => vec![(1, band)],
            Operation::Determinant => vec![(1, 1)],
            Operation::Lu => vec![(1, rows), (rows, rows), (rows, rows)],
            Operation::Qr => vec![(rows, inner), (inner, columns)],
            Operation::Eigenvalues => vec![(1, rows)],
        }
    }

    /// The grids of an output; `None` if this kernel cannot have made it.
    fn grids(&self, span: Span, content: &[u8]) -> Option<Vec<Grid>> {
        let mut at = 0;
        let mut grids = Vec::new();
        for size in self.sizes(span) {
            let grid = Grid::take(content, &mut at)?;
            if (grid.rows, grid.columns) != size {
                return None;
            }
            grids.push(grid);
        }
        if let (Operation::DeterminantModulo, Some(Numbers::Words(residues))) =
            (self.operation, grids.first().map(|grid| &grid.numbers))
        {
            let primes = self.primes.get(usize::try_from(span.start).ok()?..)?;
            if residues.iter().zip(primes).any(|(residue, prime)| !(0..i64::from(*prime)).contains(residue)) {
                return None;
            }
        }
        (at == content.len()).then_some(grids)
    }

    fn place(&self, span: Span, place: u64) -> String {
        let columns = self.sizes(span).first().map_or(1, |(_, columns)| *columns).max(1) as u64;
        match self.operation {
            Operation::Add | Operation::Subtract | Operation::Multiply => {
                format!("row {}, column {} of the result", span.start + place / columns, place % columns)
            }
            Operation::Transpose
            | Operation::DeterminantModulo
            | Operation::Determinant
            | Operation::Inverse
            | Operation::Lu
            | Operation::Qr
            | Operation::Eigenvalues => "`a`".to_owned(),
        }
    }
}

impl Plan for Matrix {
    fn stages(&self) -> Stages {
        Stages::one(Stage::of(&GUEST, self.units, CallShape::WholeSpan).with_common(self.common.as_ref()))
    }

    fn most_units_a_batch(&self, _: u64) -> u64 {
        let size = |grid: &Grid| match grid.numbers {
            Numbers::Words(_) | Numbers::Floats(_) => 8,
            Numbers::Wide(_) => 16,
            Numbers::Mixed(_) => 17,
        };
        let number = size(&self.a).max(self.b.as_ref().map_or(0, size));
        let widest = match self.operation {
            Operation::Add | Operation::Subtract => 2 * self.a.columns,
            Operation::Multiply => self.a.columns.max(self.b.as_ref().map_or(0, |b| 2 * b.columns)),
            Operation::Transpose | Operation::Inverse => self.a.rows,
            Operation::DeterminantModulo => return BATCH_PRIMES,
            Operation::Determinant | Operation::Lu | Operation::Qr | Operation::Eigenvalues => return 1,
        };
        (BAND_BYTES / (widest * number).max(1)).max(1) as u64
    }

    fn inputs(&self, span: Span, _: &Done) -> Vec<Vec<u8>> {
        let mut input = Vec::new();
        if self.common.is_none() {
            input.push(self.operation as u8);
        }
        let units = usize::try_from(self.units).unwrap_or(usize::MAX);
        let first = usize::try_from(span.start).unwrap_or(usize::MAX).min(units);
        let end = usize::try_from(span.end).unwrap_or(usize::MAX).min(units).max(first);
        match self.operation {
            Operation::Add | Operation::Subtract => {
                self.a.put_rows(first, end, &mut input);
                if let Some(b) = &self.b {
                    b.put_rows(first, end, &mut input);
                }
            }
            Operation::Multiply => self.a.put_rows(first, end, &mut input),
            Operation::Transpose => self.a.put_columns(first, end, &mut input),
            Operation::DeterminantModulo => {
                let primes = self.primes.get(first..end).unwrap_or_default();
                words(primes.iter().map(|prime| i64::from(*prime)).collect()).put_rows(0, 1, &mut input);
            }
            Operation::Inverse => words(vec![first as i64, end as i64]).put_rows(0, 1, &mut input),
            Operation::Determinant | Operation::Lu | Operation::Qr | Operation::Eigenvalues => {
                self.a.put_rows(0, self.a.rows, &mut input);
            }
        }
        vec![input]
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        match content(output) {
            Ok(content) => self.grids(span, content).map(|_| ()).ok_or_else(foreign),
            Err(Answer::Failed(Failure::Singular, _)) => {
                let hint = "its determinant is zero, or too near to zero for floats";
                Err(Refusal::new(Code::SingularMatrix, "`a` has no inverse", hint))
            }
            Err(Answer::Failed(failure, place)) => Err(failed(failure, &self.place(span, place))),
            Err(Answer::Foreign) => Err(foreign()),
        }
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let mut grids = Vec::new();
        for (span, outputs) in done {
            for output in outputs {
                let content = content(output).map_err(|_| foreign())?;
                grids.push(self.grids(*span, content).ok_or_else(foreign)?);
            }
        }
        let mut json = String::new();
        match self.operation {
            Operation::Add | Operation::Subtract | Operation::Multiply | Operation::Transpose => {
                put_bands(&mut json, grids.iter().flatten())?;
            }
            Operation::Inverse => {
                let columns: Vec<f64> = grids.into_iter().flatten().flat_map(Grid::into_floats).collect();
                let n = self.a.rows;
                let turned = (0..n).flat_map(|row| (0..n).map(move |column| column * n + row));
                let numbers = turned.map(|at| columns.get(at).copied().unwrap_or(f64::NAN)).collect();
                put_bands(&mut json, [Grid { rows: n, columns: n, numbers: Numbers::Floats(numbers) }].iter())?;
            }
            Operation::DeterminantModulo => {
                let residues: Vec<i128> = grids.into_iter().flatten().filter_map(Grid::into_wide).flatten().collect();
                put_determinant(&mut json, &self.primes, &residues);
            }
            Operation::Determinant => {
                for number in grids.into_iter().flatten().flat_map(Grid::into_floats).take(1) {
                    put_float(&mut json, number);
                }
            }
            Operation::Lu => put_named(&mut json, &["order", "l", "u"], &grids)?,
            Operation::Qr => put_named(&mut json, &["q", "r"], &grids)?,
            Operation::Eigenvalues => {
                if let Some(grid) = grids.iter().flatten().next() {
                    put_row(&mut json, grid, 0);
                }
            }
        }
        Ok(json)
    }

    fn has_partial_result(&self) -> bool {
        false
    }
}

/// A square matrix of digits as a person types it: those of Knuth's linear congruential generator from a seed.
fn digits(side: usize, seed: u64) -> String {
    let mut state = seed;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 10
    };
    let mut row = || (0..side).map(|_| digit().to_string()).collect::<Vec<_>>().join(" ");
    (0..side).map(|_| row()).collect::<Vec<_>>().join("\n")
}

fn words(numbers: Vec<i64>) -> Grid {
    Grid { rows: 1, columns: numbers.len(), numbers: Numbers::Words(numbers) }
}

fn put_named(json: &mut String, names: &[&str], grids: &[Vec<Grid>]) -> Result<(), Refusal> {
    json.push('{');
    for (name, grid) in names.iter().zip(grids.iter().flatten()) {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&format!("\"{name}\":"));
        if *name == "order" {
            put_row(json, grid, 0);
        } else {
            put_bands(json, [grid].into_iter())?;
        }
    }
    json.push('}');
    Ok(())
}

fn put_bands<'a>(json: &mut String, bands: impl Iterator<Item = &'a Grid>) -> Result<(), Refusal> {
    json.push('[');
    let mut first = true;
    for band in bands {
        for row in 0..band.rows {
            if !first {
                json.push(',');
            }
            first = false;
            put_row(json, band, row);
            if json.len() > MOST_RESULT_BYTES {
                let message = format!("the result has more than {MOST_RESULT_BYTES} bytes");
                return Err(Refusal::new(Code::TooLarge, message, "split the matrices into several jobs"));
            }
        }
    }
    json.push(']');
    Ok(())
}

fn put_row(json: &mut String, grid: &Grid, row: usize) {
    json.push('[');
    for at in row * grid.columns..(row + 1) * grid.columns {
        if at > row * grid.columns {
            json.push(',');
        }
        match &grid.numbers {
            Numbers::Words(all) => put_integer(json, all.get(at).copied().map_or(0, i128::from)),
            Numbers::Wide(all) => put_integer(json, all.get(at).copied().unwrap_or(0)),
            Numbers::Floats(all) => put_float(json, all.get(at).copied().unwrap_or(f64::NAN)),
            Numbers::Mixed(all) => match all.get(at) {
                Some(grid::Number::Integer(integer)) => put_integer(json, *integer),
                Some(grid::Number::Float(float)) => put_float(json, *float),
                None => put_float(json, f64::NAN),
            },
        }
    }
    json.push(']');
}

/// Enough primes below 2^31 that their product is over twice the largest magnitude that the determinant can have: by
/// Hadamard the product of the rows' lengths, and a row's length is at most its largest number times the root of n.
fn primes_for(a: &Grid) -> Vec<u32> {
    let n = a.rows;
    let root_bits = (usize::BITS - n.leading_zeros()).div_ceil(2);
    let magnitude_bits = |row: usize| {
        let range = row * n..(row + 1) * n;
        let largest = match &a.numbers {
            Numbers::Words(all) => all[range].iter().map(|number| u128::from(number.unsigned_abs())).max(),
            Numbers::Wide(all) => all[range].iter().map(|number| number.unsigned_abs()).max(),
            Numbers::Floats(_) | Numbers::Mixed(_) => None,
        };
        u128::BITS - largest.unwrap_or(0).leading_zeros()
    };
    let bits: u64 = (0..n).map(|row| u64::from(magnitude_bits(row) + root_bits)).sum();
    // Every prime is over 2^30.
    let count = usize::try_from((bits + 2).div_ceil(30)).unwrap_or(usize::MAX);
    (1..=0x7fff_ffff_u32).rev().step_by(2).filter(|candidate| is_prime(*candidate)).take(count).collect()
}

/// Decided by the bases 2, 7 and 61 for every n below 4,759,123,141 (Jaeschke 1993); n is odd and over 61.
fn is_prime(n: u32) -> bool {
    let n = u64::from(n);
    let twos = (n - 1).trailing_zeros();
    [2, 7, 61].into_iter().all(|base| {
        let (mut power, mut square, mut exponent) = (1, base % n, (n - 1) >> twos);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = power * square % n;
            }
            square = square * square % n;
            exponent >>= 1;
        }
        let mut passed = power == 1;
        for _ in 0..twos {
            passed |= power == n - 1;
            power = power * power % n;
        }
        passed
    })
}

/// The integer of smallest magnitude with these residues: Garner's mixed radix digits, then one big number.
fn put_determinant(json: &mut String, primes: &[u32], residues: &[i128]) {
    let mut digits: Vec<u64> = Vec::with_capacity(primes.len());
    for (prime, residue) in primes.iter().zip(residues) {
        let p = u64::from(*prime);
        let (mut value, mut radix) = (0, 1 % p);
        for (digit, earlier) in digits.iter().zip(primes) {
            value = (value + digit % p * radix) % p;
            radix = radix * (u64::from(*earlier) % p) % p;
        }
        let residue = u64::try_from(*residue).unwrap_or(0);
        digits.push((residue + p - value) % p * power(radix, p - 2, p) % p);
    }
    let mut value = Big::default();
    let mut product = Big::from(1);
    for (digit, prime) in digits.iter().zip(primes).rev() {
        value.multiply_add(*prime, *digit as u32);
    }
    primes.iter().for_each(|prime| product.multiply_add(*prime, 0));
    // The upper half of the range stands for negative numbers.
    let complement = product.minus(&value);
    let (negative, magnitude) = if complement.is_less_than(&value) { (true, complement) } else { (false, value) };
    let digits = magnitude.to_string();
    let small = digits.parse::<u64>().is_ok_and(|magnitude| magnitude <= 1 << 53);
    let sign = if negative { "-" } else { "" };
    json.push_str(&if small { format!("{sign}{digits}") } else { format!("\"{sign}{digits}\"") });
}

fn power(base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let (mut power, mut square) = (1, base % modulus);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power * square % modulus;
        }
        square = square * square % modulus;
        exponent >>= 1;
    }
    power
}
