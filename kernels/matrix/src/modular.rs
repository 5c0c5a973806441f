//! Determinants and inverses modulo a prime below 2^31, by elimination in Montgomery form.

use alloc::{vec, vec::Vec};

struct Field {
    prime: u32,
    /// -1/prime modulo 2^32.
    inverse: u32,
    /// 2^64 modulo prime.
    square: u32,
}

impl Field {
    fn new(prime: u32) -> Self {
        let mut inverse = prime; // right in 3 bits, doubled four times
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(prime.wrapping_mul(inverse)));
        }
        let square = ((1u128 << 64) % u128::from(prime)) as u32;
        Self { prime, inverse: inverse.wrapping_neg(), square }
    }

    /// `a * b / 2^32`, below prime.
    #[inline]
    fn multiply(&self, a: u32, b: u32) -> u32 {
        let product = u64::from(a) * u64::from(b);
        let factor = (product as u32).wrapping_mul(self.inverse);
        let sum = ((product + u64::from(factor) * u64::from(self.prime)) >> 32) as u32;
        if sum >= self.prime { sum - self.prime } else { sum }
    }

    #[inline]
    fn subtract(&self, a: u32, b: u32) -> u32 {
        let (difference, below) = a.overflowing_sub(b);
        if below { difference.wrapping_add(self.prime) } else { difference }
    }

    fn enter(&self, value: i128) -> u32 {
        self.multiply(value.rem_euclid(i128::from(self.prime)) as u32, self.square)
    }

    fn leave(&self, value: u32) -> u32 {
        self.multiply(value, 1)
    }

    /// By Fermat: the power of prime - 2.
    fn invert(&self, value: u32) -> u32 {
        let (mut power, mut base, mut exponent) = (self.enter(1), value, self.prime - 2);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.multiply(power, base);
            }
            base = self.multiply(base, base);
            exponent >>= 1;
        }
        power
    }
}

/// The determinant of an n by n matrix, from 0 to prime - 1.
pub fn determinant(matrix: &[i128], n: usize, prime: u32) -> u32 {
    let field = Field::new(prime);
    let mut rows: Vec<u32> = matrix.iter().map(|number| field.enter(*number)).collect();
    let mut determinant = field.enter(1);
    for step in 0..n {
        let Some(pivot) = (step..n).find(|row| rows[row * n + step] != 0) else { return 0 };
        if pivot != step {
            (step..n).for_each(|column| rows.swap(pivot * n + column, step * n + column));
            determinant = field.subtract(0, determinant);
        }
        determinant = field.multiply(determinant, rows[step * n + step]);
        let inverse = field.invert(rows[step * n + step]);
        let (above, below) = rows.split_at_mut((step + 1) * n);
        let pivot_row = &above[step * n + step + 1..];
        for row in below.chunks_exact_mut(n) {
            let factor = field.multiply(row[step], inverse);
            if factor != 0 {
                let rest = row[step + 1..].iter_mut().zip(pivot_row);
                rest.for_each(|(number, pivot)| *number = field.subtract(*number, field.multiply(factor, *pivot)));
            }
        }
    }
    field.leave(determinant)
}

/// The determinant, and these columns of the inverse times the determinant, one after the other; `None` for a matrix that
/// is singular modulo the prime.
pub fn solve(matrix: &[i128], n: usize, columns: &[usize], prime: u32) -> Option<(u32, Vec<u32>)> {
    let field = Field::new(prime);
    let width = n + columns.len();
    let one = field.enter(1);
    let mut rows = vec![0; n * width];
    for (at, (row, numbers)) in rows.chunks_exact_mut(width).zip(matrix.chunks_exact(n)).enumerate() {
        row.iter_mut().zip(numbers).for_each(|(into, number)| *into = field.enter(*number));
        row[n..].iter_mut().zip(columns).for_each(|(into, column)| *into = if *column == at { one } else { 0 });
    }
    let mut determinant = one;
    for step in 0..n {
        let pivot = (step..n).find(|row| rows[row * width + step] != 0)?;
        if pivot != step {
            (step..width).for_each(|column| rows.swap(pivot * width + column, step * width + column));
            determinant = field.subtract(0, determinant);
        }
        determinant = field.multiply(determinant, rows[step * width + step]);
        let inverse = field.invert(rows[step * width + step]);
        let pivot_row: Vec<u32> =
            rows[step * width..(step + 1) * width].iter().map(|number| field.multiply(*number, inverse)).collect();
        for (at, row) in rows.chunks_exact_mut(width).enumerate() {
            let factor = row[step];
            if at == step {
                row.copy_from_slice(&pivot_row);
            } else if factor != 0 {
                let rest = row[step..].iter_mut().zip(&pivot_row[step..]);
                rest.for_each(|(number, pivot)| *number = field.subtract(*number, field.multiply(factor, *pivot)));
            }
        }
    }
    let cofactors = (0..columns.len()).flat_map(|column| (0..n).map(move |row| row * width + n + column));
    let cofactors = cofactors.map(|at| field.leave(field.multiply(rows[at], determinant))).collect();
    Some((field.leave(determinant), cofactors))
}
