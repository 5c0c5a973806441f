//! Products of square matrices of 32-bit floats: vectors of four that stay in registers over the inner loop.

use crate::{Chance, digest};

/// Rows of a tile, and its columns in vectors of four.
const ROWS: usize = 4;
const VECTORS: usize = 2;
const LANES: usize = 4;
const COLUMNS: usize = VECTORS * LANES;

/// `size` is a multiple of eight; what is left over beyond one is not computed.
pub fn run(size: u32, rounds: u32) -> Vec<u8> {
    let size = size as usize;
    let (a, b) = factors(size);
    let mut product = vec![0.0; size * size];
    for _ in 0..rounds {
        multiply(&a, std::hint::black_box(&b), &mut product, size);
    }
    digest(&product)
}

pub fn factors(size: usize) -> (Vec<f32>, Vec<f32>) {
    let mut chance = Chance(1);
    let mut matrix = || (0..size * size).map(|_| chance.signed()).collect();
    (matrix(), matrix())
}

pub fn multiply(a: &[f32], b: &[f32], product: &mut [f32], size: usize) {
    // A strip of B, row after row, so that the inner loop walks straight ahead.
    let mut strip = vec![[[0.0; LANES]; VECTORS]; size];
    for column in (0..size / COLUMNS).map(|strip| strip * COLUMNS) {
        for (row, into) in b.chunks_exact(size).zip(&mut strip) {
            for (lanes, numbers) in into.iter_mut().zip(row[column..].chunks_exact(LANES)) {
                lanes.copy_from_slice(numbers);
            }
        }
        for (rows, into) in a.chunks_exact(ROWS * size).zip(product.chunks_exact_mut(ROWS * size)) {
            let sums = tile(rows, &strip, size);
            for (sums, row) in sums.iter().zip(into.chunks_exact_mut(size)) {
                row[column..column + COLUMNS].copy_from_slice(sums.as_flattened());
            }
        }
    }
}

#[inline(always)]
fn tile(rows: &[f32], strip: &[[[f32; LANES]; VECTORS]], size: usize) -> [[[f32; LANES]; VECTORS]; ROWS] {
    let mut sums = [[[0.0; LANES]; VECTORS]; ROWS];
    let (first, rest) = rows.split_at(size);
    let (second, rest) = rest.split_at(size);
    let (third, fourth) = rest.split_at(size);
    for ((((b, one), two), three), four) in strip.iter().zip(first).zip(second).zip(third).zip(fourth) {
        for (sums, x) in sums.iter_mut().zip([one, two, three, four]) {
            for (sum, b) in sums.iter_mut().zip(b) {
                for (sum, y) in sum.iter_mut().zip(b) {
                    *sum += x * y;
                }
            }
        }
    }
    sums
}
