//! The kernel of matrix jobs: products, determinants, inverses and decompositions of whole matrices or bands of them.
//!
//! Its input is described in `shared/src/exchange/grid.rs`; its output is a status byte, then grids.
#![no_std]

extern crate alloc;

#[allow(dead_code)] // the host reads what a guest writes
#[path = "../../../shared/src/exchange/mod.rs"]
mod exchange;
#[path = "../../formula/src/heap.rs"]
mod heap;

mod decompose;
mod eigen;
mod exact;
mod modular;
mod multiply;

use alloc::{vec, vec::Vec};

use exchange::{
    Failure, STATUS_DONE, STATUS_FAILED,
    grid::{Grid, Number, Numbers, Operation},
};

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

/// The kernel contract's `alloc`.
#[unsafe(no_mangle)]
extern "C" fn alloc(len: usize) -> *mut u8 {
    heap::room(len)
}

/// The kernel contract's `run`.
///
/// # Safety
/// The input lies where the host put it.
#[unsafe(no_mangle)]
unsafe extern "C" fn run(input: *const u8, len: usize) -> u64 {
    let input = unsafe { core::slice::from_raw_parts(input, len) };
    let out = match answer(input) {
        Ok(grids) => {
            let mut out = vec![STATUS_DONE];
            grids.iter().for_each(|grid| grid.put_rows(0, grid.rows, &mut out));
            out
        }
        Err((failure, place)) => {
            let mut out = vec![STATUS_FAILED, failure as i32 as u8];
            out.extend_from_slice(&(place as u64).to_le_bytes());
            out
        }
    };
    let out = out.leak();
    (out.as_ptr() as u64) << 32 | out.len() as u64
}

/// Why there is no result, and at which number of the result (row by row), where that is known.
type Fault = (Failure, usize);

fn answer(input: &[u8]) -> Result<Vec<Grid>, Fault> {
    const BAD: Fault = (Failure::BadInput, 0);
    let operation = input.first().and_then(|code| Operation::from_code(*code)).ok_or(BAD)?;
    let mut at = 1;
    let mut next = || Grid::take(input, &mut at).ok_or(BAD);
    let first = next()?;
    if first.rows == 0 || first.columns == 0 {
        return Err(BAD);
    }
    match operation {
        Operation::Add | Operation::Subtract => {
            let second = next()?;
            if (first.rows, first.columns) != (second.rows, second.columns) {
                return Err(BAD);
            }
            one(elementwise(operation, first, second)?)
        }
        Operation::Multiply => {
            let band = next()?;
            if band.columns != first.rows {
                return Err(BAD);
            }
            one(multiply::multiply(band, first)?)
        }
        Operation::Transpose => one(transpose(first)),
        Operation::DeterminantModulo => {
            let primes = next()?;
            let (Some(primes), n) = (primes.into_wide(), first.rows) else { return Err(BAD) };
            let matrix = square(first)?.into_wide().ok_or(BAD)?;
            if primes.iter().any(|prime| *prime % 2 == 0 || *prime < 3 || *prime >= 1 << 31) {
                return Err(BAD);
            }
            let residues: Vec<i64> =
                primes.iter().map(|prime| i64::from(modular::determinant(&matrix, n, *prime as u32))).collect();
            one(Grid { rows: 1, columns: residues.len(), numbers: Numbers::Words(residues) })
        }
        Operation::Determinant => {
            let n = first.rows;
            let determinant = decompose::determinant(square(first)?.into_floats(), n);
            one(floats(1, 1, vec![determinant]))
        }
        Operation::Inverse => {
            let band = next()?.into_wide().ok_or(BAD)?;
            let (n, &[from, to]) = (first.rows, &band[..]) else { return Err(BAD) };
            let (from, to) = (usize::try_from(from).map_err(|_| BAD)?, usize::try_from(to).map_err(|_| BAD)?);
            if from >= to || to > n {
                return Err(BAD);
            }
            let columns = decompose::inverse_columns(square(first)?, from, to).map_err(|failure| (failure, 0))?;
            one(floats(to - from, n, columns))
        }
        Operation::Lu => {
            let n = first.rows;
            let (order, lower, upper) = decompose::lu(square(first)?.into_floats(), n);
            let order = Grid { rows: 1, columns: n, numbers: Numbers::Words(order) };
            Ok(vec![order, floats(n, n, lower), floats(n, n, upper)])
        }
        Operation::Qr => {
            let (rows, columns) = (first.rows, first.columns);
            let (q, r) = decompose::qr(first.into_floats(), rows, columns);
            let inner = rows.min(columns);
            Ok(vec![floats(rows, inner, q), floats(inner, columns, r)])
        }
        Operation::Eigenvalues => {
            let n = first.rows;
            let values = eigen::symmetric(square(first)?.into_floats(), n).ok_or((Failure::NoConvergence, 0))?;
            one(floats(1, n, values))
        }
    }
}

fn one(grid: Grid) -> Result<Vec<Grid>, Fault> {
    Ok(vec![grid])
}

/// A grid of floats; whatever is not a number has one form.
fn floats(rows: usize, columns: usize, mut numbers: Vec<f64>) -> Grid {
    for number in numbers.iter_mut().filter(|number| number.is_nan()) {
        *number = f64::from_bits(exchange::value::CANONICAL_NAN);
    }
    Grid { rows, columns, numbers: Numbers::Floats(numbers) }
}

fn square(grid: Grid) -> Result<Grid, Fault> {
    if grid.rows == grid.columns { Ok(grid) } else { Err((Failure::BadInput, 0)) }
}

fn elementwise(operation: Operation, a: Grid, b: Grid) -> Result<Grid, Fault> {
    let (rows, columns) = (a.rows, a.columns);
    let subtract = operation == Operation::Subtract;
    let floating = |a: f64, b: f64| if subtract { a - b } else { a + b };
    let exactly = |place: usize, a: i128, b: i128| {
        let result = if subtract { a.checked_sub(b) } else { a.checked_add(b) };
        result.ok_or((Failure::Overflow, place))
    };
    if matches!(a.numbers, Numbers::Floats(_)) || matches!(b.numbers, Numbers::Floats(_)) {
        let (a, b) = (a.into_floats(), b.into_floats());
        return Ok(floats(rows, columns, a.iter().zip(&b).map(|(a, b)| floating(*a, *b)).collect()));
    }
    if a.is_whole() && b.is_whole() {
        const BAD: Fault = (Failure::BadInput, 0);
        let (a, b) = (a.into_wide().ok_or(BAD)?, b.into_wide().ok_or(BAD)?);
        let both = a.iter().zip(&b).enumerate().map(|(place, (a, b))| exactly(place, *a, *b));
        return Ok(narrowest(rows, columns, both.collect::<Result<_, _>>()?));
    }
    let both = a.into_mixed().into_iter().zip(b.into_mixed()).enumerate().map(|(place, pair)| match pair {
        (Number::Integer(a), Number::Integer(b)) => exactly(place, a, b).map(Number::Integer),
        (a, b) => {
            let number = floating(a.as_float(), b.as_float());
            Ok(Number::Float(if number.is_nan() { f64::from_bits(exchange::value::CANONICAL_NAN) } else { number }))
        }
    });
    Ok(Grid { rows, columns, numbers: Numbers::Mixed(both.collect::<Result<_, _>>()?) })
}

/// Integers as words, where all fit.
fn narrowest(rows: usize, columns: usize, wide: Vec<i128>) -> Grid {
    let words: Result<Vec<i64>, _> = wide.iter().map(|number| i64::try_from(*number)).collect();
    Grid { rows, columns, numbers: words.map_or(Numbers::Wide(wide), Numbers::Words) }
}

fn transpose(grid: Grid) -> Grid {
    let (rows, columns) = (grid.rows, grid.columns);
    let numbers = match grid.numbers {
        Numbers::Words(all) => Numbers::Words(turned(&all, rows, columns)),
        Numbers::Wide(all) => Numbers::Wide(turned(&all, rows, columns)),
        Numbers::Floats(all) => Numbers::Floats(turned(&all, rows, columns)),
        Numbers::Mixed(all) => Numbers::Mixed(turned(&all, rows, columns)),
    };
    Grid { rows: columns, columns: rows, numbers }
}

fn turned<T: Copy>(all: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| all[row * columns + column])).collect()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
