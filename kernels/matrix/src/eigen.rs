//! Eigenvalues of symmetric matrices: reduction to three diagonals by Householder reflections, then implicit QL steps
//! (Golub and Van Loan, "Matrix Computations", 8.3).

use alloc::{vec, vec::Vec};

use crate::{
    decompose::Root,
    exact::{scaled, shift_to_room},
};

/// QL steps for one value; a handful is usual.
const MOST_STEPS: usize = 60;

/// The eigenvalues, smallest first, infinite where they are too large for a float; `None` if an iteration does not settle.
pub fn symmetric(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let shift = shift_to_room(a.iter());
    a.iter_mut().for_each(|number| *number = scaled(*number, shift));
    let (mut diagonal, mut beside) = tridiagonal(&mut a, n);
    for low in 0..n {
        for step in 0.. {
            let Some(high) = split(&diagonal, &beside, low) else { break };
            if step == MOST_STEPS {
                return None;
            }
            ql_step(&mut diagonal, &mut beside, low, high);
        }
    }
    if !diagonal.iter().all(|value| value.is_finite()) {
        return None;
    }
    diagonal.iter_mut().for_each(|value| *value = scaled(*value, -shift));
    diagonal.sort_unstable_by(f64::total_cmp);
    Some(diagonal)
}

/// The diagonal and the one beside it (its last number is 0) of a similar matrix.
fn tridiagonal(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut beside = vec![0.0; n];
    for step in 0..n.saturating_sub(1) {
        let first = step + 1;
        let mut v: Vec<f64> = (first..n).map(|row| a[row * n + step]).collect();
        let scale = v[1..].iter().fold(0.0, |most: f64, number| most.max(number.abs()));
        if scale == 0.0 {
            beside[step] = v[0];
            continue;
        }
        let scale = scale.max(v[0].abs());
        v.iter_mut().for_each(|number| *number /= scale);
        let norm = v.iter().fold(0.0, |sum, number| sum + number * number).sqrt_();
        let alpha = if v[0] < 0.0 { norm } else { -norm };
        beside[step] = alpha * scale;
        v[0] -= alpha;
        let factor = 2.0 / v.iter().fold(0.0, |sum, number| sum + number * number);
        // A - v w^T - w v^T with w = p - (factor/2)(p . v) v, p = factor A v
        let mut w: Vec<f64> = (first..n)
            .map(|row| factor * a[row * n + first..(row + 1) * n].iter().zip(&v).fold(0.0, |sum, (a, v)| sum + a * v))
            .collect();
        let half = factor / 2.0 * w.iter().zip(&v).fold(0.0, |sum, (w, v)| sum + w * v);
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= half * v);
        for (i, row) in (first..n).enumerate() {
            let rest = a[row * n + first..(row + 1) * n].iter_mut().zip(v.iter().zip(&w));
            rest.for_each(|(number, (v_j, w_j))| *number -= v[i] * w_j + w[i] * v_j);
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), beside)
}

/// The end of the block that begins at `low`; `None` if it is one number.
fn split(diagonal: &[f64], beside: &[f64], low: usize) -> Option<usize> {
    let negligible =
        |i: usize| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal.get(i + 1).map_or(0.0, |d| d.abs()));
    let high = (low..diagonal.len() - 1).find(|i| negligible(*i)).unwrap_or(diagonal.len() - 1);
    (high > low).then_some(high)
}

fn ql_step(diagonal: &mut [f64], beside: &mut [f64], low: usize, high: usize) {
    let mut g = (diagonal[low + 1] - diagonal[low]) / (2.0 * beside[low]);
    let mut r = hypotenuse(g, 1.0);
    g = diagonal[high] - diagonal[low] + beside[low] / (g + if g < 0.0 { -r } else { r });
    let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
    for i in (low..high).rev() {
        let (f, b) = (s * beside[i], c * beside[i]);
        r = hypotenuse(f, g);
        beside[i + 1] = r;
        if r == 0.0 {
            diagonal[i + 1] -= p;
            beside[high] = 0.0;
            return;
        }
        s = f / r;
        c = g / r;
        g = diagonal[i + 1] - p;
        r = (diagonal[i] - g) * s + 2.0 * c * b;
        p = s * r;
        diagonal[i + 1] = g + p;
        g = c * r - b;
    }
    diagonal[low] -= p;
    beside[low] = g;
    beside[high] = 0.0;
}

fn hypotenuse(a: f64, b: f64) -> f64 {
    let (a, b) = (a.abs(), b.abs());
    let (large, small) = if a > b { (a, b) } else { (b, a) };
    if large == 0.0 { 0.0 } else { large * (1.0 + (small / large) * (small / large)).sqrt_() }
}
