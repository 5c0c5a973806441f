//! Float decompositions: LU with the largest pivot of each column (Golub and Van Loan, "Matrix Computations", 3.4), QR by
//! Householder reflections (5.2), and what follows from them.

use alloc::{vec, vec::Vec};

use crate::{
    exact,
    exchange::{
        Failure,
        grid::{Grid, Numbers},
        product::Product,
    },
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

/// Multiplies each column by a power of two that leaves the decomposition room, which changes neither the order of rows
/// nor L nor Q; the exponents, by which U and R differ.
fn make_room(matrix: &mut [f64], columns: usize) -> Vec<i32> {
    let shift = |column: usize| exact::shift_to_room(matrix.iter().skip(column).step_by(columns));
    let shifts: Vec<i32> = (0..columns).map(shift).collect();
    for row in matrix.chunks_exact_mut(columns) {
        row.iter_mut().zip(&shifts).for_each(|(number, shift)| *number = exact::scaled(*number, *shift));
    }
    shifts
}

pub fn determinant(mut matrix: Vec<f64>, n: usize) -> f64 {
    let shifts = make_room(&mut matrix, n);
    let lu = decompose(matrix, n);
    // A product that neither overflows nor vanishes on the way.
    let mut product = Product::new();
    product.by_float(lu.sign);
    for (i, shift) in shifts.into_iter().enumerate() {
        product.by_float(lu.packed[i * n + i]);
        product.by_float(exact::scaled(1.0, -shift));
    }
    product.as_float() + 0.0
}

/// Row order, L with ones on its diagonal, U.
pub fn lu(mut matrix: Vec<f64>, n: usize) -> (Vec<i64>, Vec<f64>, Vec<f64>) {
    let shifts = make_room(&mut matrix, n);
    let lu = decompose(matrix, n);
    let (mut lower, mut upper) = (vec![0.0; n * n], vec![0.0; n * n]);
    for row in 0..n {
        for column in 0..n {
            let number = lu.packed[row * n + column];
            if column < row {
                lower[row * n + column] = number;
            } else {
                upper[row * n + column] = exact::scaled(number, -shifts[column]);
            }
        }
        lower[row * n + row] = 1.0;
    }
    (lu.order.into_iter().map(|row| row as i64).collect(), lower, upper)
}

/// The largest part of a column of `matrix * inverse` that may be wrong.
const MOST_WRONG: f64 = 1e-6;

/// Columns `from..to` of the inverse, one after the other.
pub fn inverse_columns(grid: Grid, from: usize, to: usize) -> Result<Vec<f64>, Failure> {
    let n = grid.rows;
    let exact = match &grid.numbers {
        Numbers::Words(all) => Some(all.iter().map(|number| i128::from(*number)).collect::<Vec<_>>()),
        Numbers::Wide(all) => Some(all.clone()),
        Numbers::Floats(_) | Numbers::Mixed(_) => None,
    };
    let Some(exact) = exact else {
        let inverse = FloatInverse::new(grid.into_floats(), n);
        if !inverse.is_regular() {
            return Err(Failure::Singular);
        }
        return Ok((from..to).flat_map(|column| inverse.column(column)).collect());
    };
    if PRIMES.iter().all(|prime| modular::determinant(&exact, n, *prime) == 0) {
        return Err(Failure::Singular);
    }
    let solve = |columns: &[usize]| exact::inverse_columns(&exact, n, columns).ok_or(Failure::NearSingular);
    if exact::is_cheap(&exact, n) {
        return solve(&(from..to).collect::<Vec<_>>());
    }
    let inverse = FloatInverse::new(grid.into_floats(), n);
    let mut doubtful = vec![];
    let mut columns = Vec::with_capacity((to - from) * n);
    for column in from..to {
        let numbers = inverse.column(column);
        if !inverse.vouches_for(&numbers, column) {
            doubtful.push(column);
        }
        columns.extend(numbers);
    }
    if doubtful.is_empty() {
        return Ok(columns);
    }
    if !exact::is_affordable(&exact, n) {
        return Err(Failure::NearSingular);
    }
    for (column, numbers) in doubtful.iter().zip(solve(&doubtful)?.chunks_exact(n)) {
        columns[(column - from) * n..][..n].copy_from_slice(numbers);
    }
    Ok(columns)
}

/// A matrix whose rows are scaled by powers of two to numbers around 1, and its decomposition.
struct FloatInverse {
    n: usize,
    matrix: Vec<f64>,
    /// Exponent of two that each row was multiplied by.
    shifts: Vec<i32>,
    lu: Lu,
}

impl FloatInverse {
    fn new(mut matrix: Vec<f64>, n: usize) -> Self {
        let mut shifts = Vec::with_capacity(n);
        for row in matrix.chunks_exact_mut(n) {
            let most = row.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
            let shift = if most == 0.0 { 0 } else { 1023 - (most.to_bits() >> 52 & 0x7ff) as i32 };
            row.iter_mut().for_each(|number| *number = exact::scaled(*number, shift));
            shifts.push(shift);
        }
        let lu = decompose(matrix.clone(), n);
        Self { n, matrix, shifts, lu }
    }

    /// Whether no pivot is nothing but rounding, beside its column.
    fn is_regular(&self) -> bool {
        let n = self.n;
        (0..n).all(|i| {
            let pivot = self.lu.packed[i * n + i].abs();
            let scale = (0..n).fold(0.0, |most: f64, row| most.max(self.matrix[row * n + i].abs()));
            pivot > scale * n as f64 * f64::EPSILON && pivot.is_finite()
        })
    }

    fn column(&self, column: usize) -> Vec<f64> {
        let (n, Lu { packed, order, .. }) = (self.n, &self.lu);
        let mut x = vec![0.0; n];
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
        x.iter().map(|number| exact::scaled(*number, self.shifts[column]) + 0.0).collect()
    }

    /// Whether the matrix times this column is surely near to a column of the unit matrix, whatever was rounded.
    fn vouches_for(&self, x: &[f64], column: usize) -> bool {
        let rounding = (self.n + 4) as f64 * f64::EPSILON;
        let unscaled: Vec<f64> = x.iter().map(|number| exact::scaled(*number, -self.shifts[column])).collect();
        self.matrix.chunks_exact(self.n).enumerate().all(|(row, numbers)| {
            let unit = if row == column { 1.0 } else { 0.0 };
            let (sum, size) = numbers.iter().zip(&unscaled).fold((0.0, 0.0), |(sum, size), (a, x)| {
                let product: f64 = a * x;
                (sum + product, size + product.abs())
            });
            let wrong: f64 = sum - unit;
            wrong.abs() + rounding * size <= MOST_WRONG
        })
    }
}

/// Q (rows by inner) and R (inner by columns), where inner is the smaller side; R's diagonal is not negative.
pub fn qr(mut a: Vec<f64>, rows: usize, columns: usize) -> (Vec<f64>, Vec<f64>) {
    let inner = rows.min(columns);
    let shifts = make_room(&mut a, columns);
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
        for column in row..columns {
            r[row * columns + column] = exact::scaled(sign * a[row * columns + column], -shifts[column]) + 0.0;
        }
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
