//! Products. Every number of the product is summed in the order of the inner index, however the rows were cut, so bands
//! put together are the same bits as the whole.

use alloc::{vec, vec::Vec};
use core::arch::wasm32::{f64x2_add, f64x2_mul, f64x2_splat, v128, v128_load, v128_store};

use crate::{
    Fault,
    exchange::{
        Failure,
        grid::{Grid, Numbers},
    },
    floats, narrowest,
};

/// Integers whose products and sums stay below this are exact as floats.
const EXACT: u128 = 1 << 53;

pub fn multiply(a: Grid, b: Grid) -> Result<Grid, Fault> {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if !a.is_whole() || !b.is_whole() {
        return Ok(floats(m, n, product(&a.into_floats(), &b.into_floats(), m, k, n)));
    }
    let most = largest(&a).saturating_mul(largest(&b)).saturating_mul(k as u128);
    if most < EXACT {
        let product = product(&a.into_floats(), &b.into_floats(), m, k, n);
        let words = product.into_iter().map(|number| number as i64).collect();
        return Ok(Grid { rows: m, columns: n, numbers: Numbers::Words(words) });
    }
    match (a.numbers, b.numbers) {
        (Numbers::Words(a), Numbers::Words(b)) if most < 1 << 63 => {
            let mut c = vec![0i64; m * n];
            for (row, into) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
                for (x, other) in row.iter().zip(b.chunks_exact(n)) {
                    into.iter_mut().zip(other).for_each(|(c, y)| *c += x * y);
                }
            }
            Ok(Grid { rows: m, columns: n, numbers: Numbers::Words(c) })
        }
        (a, b) => {
            const BAD: Fault = (Failure::BadInput, 0);
            let a = Grid { rows: m, columns: k, numbers: a }.into_wide().ok_or(BAD)?;
            let b = Grid { rows: k, columns: n, numbers: b }.into_wide().ok_or(BAD)?;
            Ok(narrowest(m, n, wide(&a, &b, m, k, n)?))
        }
    }
}

fn largest(grid: &Grid) -> u128 {
    match &grid.numbers {
        Numbers::Words(all) => all.iter().map(|number| u128::from(number.unsigned_abs())).max().unwrap_or(0),
        Numbers::Wide(all) => all.iter().map(|number| number.unsigned_abs()).max().unwrap_or(0),
        Numbers::Floats(_) | Numbers::Mixed(_) => u128::MAX,
    }
}

/// Sums of 128-bit products, exact on the way: only a number of the result that leaves 128 bits is refused.
fn wide(a: &[i128], b: &[i128], m: usize, k: usize, n: usize) -> Result<Vec<i128>, Fault> {
    let mut c = Vec::with_capacity(m * n);
    for row in 0..m {
        for column in 0..n {
            let mut sum = Sum::default();
            (0..k).for_each(|inner| sum.add_product(a[row * k + inner], b[inner * n + column]));
            c.push(sum.get().ok_or((Failure::Overflow, row * n + column))?);
        }
    }
    Ok(c)
}

/// A sum of products, in two's complement of 320 bits: products take 255 of them, and so many fit no memory that the rest
/// would not hold their sum.
#[derive(Default)]
struct Sum {
    low: u128,
    middle: u128,
    high: i64,
}

impl Sum {
    fn add_product(&mut self, a: i128, b: i128) {
        let (low, middle) = match a.checked_mul(b) {
            Some(product) => (product.unsigned_abs(), 0),
            None => whole_product(a.unsigned_abs(), b.unsigned_abs()),
        };
        if (a < 0) == (b < 0) {
            let (sum, carry) = self.low.overflowing_add(low);
            let (next, over) = self.middle.overflowing_add(middle);
            let (next, also_over) = next.overflowing_add(u128::from(carry));
            (self.low, self.middle) = (sum, next);
            self.high += i64::from(over) + i64::from(also_over);
        } else {
            let (sum, borrow) = self.low.overflowing_sub(low);
            let (next, under) = self.middle.overflowing_sub(middle);
            let (next, also_under) = next.overflowing_sub(u128::from(borrow));
            (self.low, self.middle) = (sum, next);
            self.high -= i64::from(under) + i64::from(also_under);
        }
    }

    /// The sum, if it fits 128 bits: what lies above them is nothing but its sign.
    fn get(&self) -> Option<i128> {
        let value = self.low as i128;
        let sign = value >> 127;
        (self.middle == sign as u128 && self.high == sign as i64).then_some(value)
    }
}

/// The lower and the upper half of a product.
fn whole_product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let lowest = a_low * b_low;
    let middle = a_high * b_low + (lowest >> 64);
    let other = a_low * b_high + (middle & LOW);
    (other << 64 | lowest & LOW, a_high * b_high + (middle >> 64) + (other >> 64))
}

/// Rows and columns of the tile that stays in registers.
const TILE: usize = 4;
/// Inner indices between two visits of a tile: a strip of B and of A then stay in the first cache.
const DEPTH: usize = 256;

fn product(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    let mut strip = vec![0.0; DEPTH * TILE];
    for from in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - from);
        for column in (0..n).step_by(TILE) {
            let width = TILE.min(n - column);
            for inner in 0..depth {
                let source = (from + inner) * n + column;
                strip[inner * TILE..][..width].copy_from_slice(&b[source..source + width]);
            }
            for row in (0..m).step_by(TILE) {
                if width == TILE && row + TILE <= m {
                    tile(&a[row * k + from..], k, &strip, depth, &mut c[row * n + column..], n);
                } else {
                    edge(a, &strip, &mut c, Edge { row, rows: TILE.min(m - row), column, width, from, depth, k, n });
                }
            }
        }
    }
    c
}

/// Four rows by four columns, in eight vectors.
fn tile(a: &[f64], a_stride: usize, strip: &[f64], depth: usize, c: &mut [f64], c_stride: usize) {
    let last = (TILE - 1) * a_stride + depth;
    assert!(a.len() >= last && strip.len() >= depth * TILE && c.len() >= (TILE - 1) * c_stride + TILE);
    let (a, strip, c) = (a.as_ptr(), strip.as_ptr(), c.as_mut_ptr());
    // The assertion covers every address below.
    unsafe {
        let mut sums = [[f64x2_splat(0.0); 2]; TILE];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (half, sum) in sums.iter_mut().enumerate() {
                *sum = v128_load(c.add(row * c_stride + 2 * half).cast::<v128>());
            }
        }
        for inner in 0..depth {
            let b = strip.add(inner * TILE);
            let (left, right) = (v128_load(b.cast::<v128>()), v128_load(b.add(2).cast::<v128>()));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = f64x2_splat(*a.add(row * a_stride + inner));
                sums[0] = f64x2_add(sums[0], f64x2_mul(x, left));
                sums[1] = f64x2_add(sums[1], f64x2_mul(x, right));
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (half, sum) in sums.iter().enumerate() {
                v128_store(c.add(row * c_stride + 2 * half).cast::<v128>(), *sum);
            }
        }
    }
}

struct Edge {
    row: usize,
    rows: usize,
    column: usize,
    width: usize,
    from: usize,
    depth: usize,
    k: usize,
    n: usize,
}

/// What no whole tile covers, in the same order of additions.
fn edge(a: &[f64], strip: &[f64], c: &mut [f64], at: Edge) {
    for row in at.row..at.row + at.rows {
        for column in 0..at.width {
            let sum = &mut c[row * at.n + at.column + column];
            for inner in 0..at.depth {
                *sum += a[row * at.k + at.from + inner] * strip[inner * TILE + column];
            }
        }
    }
}
