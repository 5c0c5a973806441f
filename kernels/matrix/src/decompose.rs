//! Float decompositions: LU with the largest pivot of each column (Golub and Van Loan, "Matrix Computations", 3.4), QR by
//! Householder reflections (5.2), and what follows from them.

use alloc::{vec, vec::Vec};

use crate::{
    exchange::grid::{Grid, Numbers},
    modular,
};

/// Two primes for the question whether an integer matrix is singular: a determinant that is not zero is divisible by
/// both for about one matrix in 2^61.
const PRIMES: [u32; 2] = [2_147_483_647, 2_147_483_629];

/// L below the diagonal and U on and above it, in one matrix; the rows' order; the sign of that order.
struct Lu {
    packed: Vec<f64>,
    order: Vec<usize>,
    sign: f64,
}

fn decompose(mut packed: Vec<f64>, n: usize) -> Lu {
    let mut order: Vec<usize> = (0..n).collect();
    let mut sign = 1.0;
    for step in 0..n {
        let mut pivot = step;
        for row in step + 1..n {
            if packed[row * n + step].abs() > packed[pivot * n + step].abs() {
                pivot = row;
            }
        }
        if pivot != step {
            (0..n).for_each(|column| packed.swap(pivot * n + column, step * n + column));
            order.swap(pivot, step);
            sign = -sign;
        }
        let (above, below) = packed.split_at_mut((step + 1) * n);
        let pivot_row = &above[step * n..];
        let divisor = pivot_row[step];
        if divisor == 0.0 {
            continue;
        }
        for row in below.chunks_exact_mut(n) {
            let factor = row[step] / divisor;
            row[step] = factor;
            if factor != 0.0 {
                row[step + 1..].iter_mut().zip(&pivot_row[step + 1..]).for_each(|(a, b)| *a -= factor * b);
            }
        }
    }
    Lu { packed, order, sign }
}

pub fn determinant(matrix: Vec<f64>, n: usize) -> f64 {
    let lu = decompose(matrix, n);
    (0..n).fold(lu.sign, |product, i| product * lu.packed[i * n + i])
}

/// Row order, L with ones on its diagonal, U.
pub fn lu(matrix: Vec<f64>, n: usize) -> (Vec<i64>, Vec<f64>, Vec<f64>) {
    let lu = decompose(matrix, n);
    let (mut lower, mut upper) = (vec![0.0; n * n], vec![0.0; n * n]);
    for row in 0..n {
        for column in 0..n {
            let number = lu.packed[row * n + column];
            if column < row {
                lower[row * n + column] = number;
            } else {
                upper[row * n + column] = number;
            }
        }
        lower[row * n + row] = 1.0;
    }
    (lu.order.into_iter().map(|row| row as i64).collect(), lower, upper)
}

/// Columns `from..to` of the inverse, one after the other; `None` for a singular matrix.
pub fn inverse_columns(grid: Grid, from: usize, to: usize) -> Option<Vec<f64>> {
    let n = grid.rows;
    let exact = match &grid.numbers {
        Numbers::Words(all) => Some(all.iter().map(|number| i128::from(*number)).collect::<Vec<_>>()),
        Numbers::Wide(all) => Some(all.clone()),
        Numbers::Floats(_) => None,
    };
    let known_regular = match exact {
        Some(matrix) if PRIMES.iter().all(|prime| modular::determinant(&matrix, n, *prime) == 0) => return None,
        Some(_) => true,
        None => false,
    };
    let matrix = grid.into_floats();
    let scales: Vec<f64> =
        (0..n).map(|column| (0..n).fold(0.0, |most: f64, row| most.max(matrix[row * n + column].abs()))).collect();
    let Lu { packed, order, .. } = decompose(matrix, n);
    for i in 0..n {
        let pivot = packed[i * n + i].abs();
        // A pivot that is nothing but rounding, beside its column, is a zero.
        let noise = if known_regular { 0.0 } else { scales[i] * n as f64 * f64::EPSILON };
        if !(pivot > noise) {
            return None;
        }
    }
    let mut columns = Vec::with_capacity((to - from) * n);
    let mut x = vec![0.0; n];
    for column in from..to {
        for row in 0..n {
            let mut sum = if order[row] == column { 1.0 } else { 0.0 };
            for inner in 0..row {
                sum -= packed[row * n + inner] * x[inner];
            }
            x[row] = sum;
        }
        for row in (0..n).rev() {
            let mut sum = x[row];
            for inner in row + 1..n {
                sum -= packed[row * n + inner] * x[inner];
            }
            x[row] = sum / packed[row * n + row];
        }
        // A zero has no sign in an inverse that people read.
        columns.extend(x.iter().map(|number| number + 0.0));
    }
    Some(columns)
}

/// Q (rows by inner) and R (inner by columns), where inner is the smaller side; R's diagonal is not negative.
pub fn qr(mut a: Vec<f64>, rows: usize, columns: usize) -> (Vec<f64>, Vec<f64>) {
    let inner = rows.min(columns);
    let mut reflections: Vec<(Vec<f64>, f64)> = Vec::with_capacity(inner);
    for step in 0..inner {
        let mut v: Vec<f64> = (step..rows).map(|row| a[row * columns + step]).collect();
        let scale = v.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
        let mut factor = 0.0;
        if scale > 0.0 {
            let norm = v.iter().fold(0.0, |sum, number| sum + (number / scale) * (number / scale)).sqrt_() * scale;
            v[0] += if v[0] < 0.0 { -norm } else { norm };
            v.iter_mut().for_each(|number| *number /= scale);
            let square = v.iter().fold(0.0, |sum, number| sum + number * number);
            factor = 2.0 / square;
        }
        reflect(&mut a, columns, step, step, &v, factor);
        reflections.push((v, factor));
    }
    let mut q = vec![0.0; rows * inner];
    (0..inner).for_each(|i| q[i * inner + i] = 1.0);
    for (step, (v, factor)) in reflections.iter().enumerate().rev() {
        reflect(&mut q, inner, step, 0, v, *factor);
    }
    let mut r = vec![0.0; inner * columns];
    for row in 0..inner {
        let sign = if a[row * columns + row] < 0.0 { -1.0 } else { 1.0 };
        (row..columns).for_each(|column| r[row * columns + column] = sign * a[row * columns + column] + 0.0);
        (0..rows).for_each(|i| q[i * inner + row] = sign * q[i * inner + row] + 0.0);
    }
    (q, r)
}

/// Applies `1 - factor * v * v^T` to rows `step..` and columns `from..`.
fn reflect(matrix: &mut [f64], columns: usize, step: usize, from: usize, v: &[f64], factor: f64) {
    let mut sums = vec![0.0; columns];
    for (row, weight) in matrix.chunks_exact(columns).skip(step).zip(v) {
        sums[from..].iter_mut().zip(&row[from..]).for_each(|(sum, number)| *sum += weight * number);
    }
    for (row, weight) in matrix.chunks_exact_mut(columns).skip(step).zip(v) {
        row[from..].iter_mut().zip(&sums[from..]).for_each(|(number, sum)| *number -= factor * weight * sum);
    }
}

/// `core` has no square root; the machine does.
pub trait Root {
    /// The square root.
    fn sqrt_(self) -> f64;
}

impl Root for f64 {
    fn sqrt_(self) -> f64 {
        use core::arch::wasm32::{f64x2_extract_lane, f64x2_splat, f64x2_sqrt};
        f64x2_extract_lane::<0>(f64x2_sqrt(f64x2_splat(self)))
    }
}
