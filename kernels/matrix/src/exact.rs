//! Inverses of integer matrices without rounding on the way: Cramer's rule modulo primes, put together by Garner's mixed
//! radix digits, and one division at the end.
//!
//! Where determinant and cofactor have up to 64 and 127 bits, the quotient is the float nearest to the exact number;
//! beyond, its error is below 1.001 halves of the last place.

use alloc::{vec, vec::Vec};

use crate::modular;

/// Work up to which nothing else is asked.
const CHEAP: u64 = 1 << 21;
/// Work beyond which one call would take too long.
const MOST: u64 = 1 << 30;

/// How many of the largest primes below 2^31 hold twice every cofactor: by Hadamard at most the product of the rows'
/// lengths, each at most its largest number times the root of n.
fn primes_needed(matrix: &[i128], n: usize) -> usize {
    let root_bits = (usize::BITS - n.leading_zeros()).div_ceil(2);
    let row_bits = |row: &[i128]| {
        u128::BITS - row.iter().map(|number| number.unsigned_abs()).max().unwrap_or(0).leading_zeros() + root_bits
    };
    let bits: u64 = matrix.chunks_exact(n).map(|row| u64::from(row_bits(row))).sum();
    (bits + 2).div_ceil(30) as usize
}

/// Steps of the whole inverse; the same for every band of it, so that the cut decides nothing.
fn work(matrix: &[i128], n: usize) -> u64 {
    let (primes, n) = (primes_needed(matrix, n) as u64, n as u64);
    primes.saturating_mul(n * n).saturating_mul(2 * n + primes)
}

pub fn is_cheap(matrix: &[i128], n: usize) -> bool {
    work(matrix, n) <= CHEAP
}

pub fn is_affordable(matrix: &[i128], n: usize) -> bool {
    work(matrix, n) <= MOST
}

/// These columns of the inverse of a regular matrix, one after the other.
pub fn inverse_columns(matrix: &[i128], n: usize, columns: &[usize]) -> Option<Vec<f64>> {
    let needed = primes_needed(matrix, n);
    let (mut primes, mut determinants, mut cofactors) = (vec![], vec![], vec![]);
    let candidates = (1 << 30..1u32 << 31).rev().filter(|candidate| is_prime(*candidate));
    // A regular matrix is singular modulo few primes: their product divides its determinant.
    for prime in candidates.take(2 * needed + 1) {
        if let Some((determinant, solutions)) = modular::solve(matrix, n, columns, prime) {
            primes.push(prime);
            determinants.push(determinant);
            cofactors.push(solutions);
        }
        if primes.len() == needed {
            break;
        }
    }
    if primes.len() < needed {
        return None;
    }
    let places = Places::new(primes);
    let (negative, determinant) = places.put_together(&determinants);
    let numbers = (0..columns.len() * n).map(|at| {
        let residues: Vec<u32> = cofactors.iter().map(|all: &Vec<u32>| all[at]).collect();
        let (other_negative, cofactor) = places.put_together(&residues);
        let magnitude = quotient(&cofactor, &determinant);
        if magnitude != 0.0 && negative != other_negative { -magnitude } else { magnitude }
    });
    Some(numbers.collect())
}

/// Odd numbers below 2^31, by trial division.
fn is_prime(n: u32) -> bool {
    n % 2 == 1
        && (3..).step_by(2).take_while(|divisor| divisor * divisor <= n).all(|divisor: u32| !n.is_multiple_of(divisor))
}

/// Primes, and what turns residues into a number.
struct Places {
    primes: Vec<u32>,
    /// One over the product of all earlier primes, modulo each.
    inverses: Vec<u64>,
    product: Vec<u32>,
}

impl Places {
    fn new(primes: Vec<u32>) -> Self {
        let inverse = |i: usize| {
            let p = u64::from(primes[i]);
            let (mut square, mut exponent, mut power) = (1, p - 2, 1);
            primes[..i].iter().for_each(|earlier| square = square * u64::from(*earlier) % p);
            while exponent > 0 {
                if exponent & 1 == 1 {
                    power = power * square % p;
                }
                square = square * square % p;
                exponent >>= 1;
            }
            power
        };
        let inverses = (0..primes.len()).map(inverse).collect();
        let mut product = vec![1];
        primes.iter().for_each(|prime| multiply_add(&mut product, *prime, 0));
        Self { primes, inverses, product }
    }

    /// The number of smallest magnitude with these residues: whether it is negative, and its magnitude.
    fn put_together(&self, residues: &[u32]) -> (bool, Vec<u32>) {
        let mut digits: Vec<u32> = Vec::with_capacity(residues.len());
        for ((prime, inverse), residue) in self.primes.iter().zip(&self.inverses).zip(residues) {
            let p = u64::from(*prime);
            let earlier = digits.iter().zip(&self.primes).rev();
            let value = earlier.fold(0, |value, (digit, radix)| (value * u64::from(*radix) + u64::from(*digit)) % p);
            digits.push(((u64::from(*residue) + p - value) % p * inverse % p) as u32);
        }
        let mut value = vec![];
        digits.iter().zip(&self.primes).rev().for_each(|(digit, prime)| multiply_add(&mut value, *prime, *digit));
        // The upper half of the range stands for negative numbers.
        let mut borrow = 0;
        let mut complement: Vec<u32> = self
            .product
            .iter()
            .enumerate()
            .map(|(i, limb)| {
                let difference = i64::from(*limb) - i64::from(value.get(i).copied().unwrap_or(0)) + borrow;
                borrow = difference >> 32;
                difference as u32
            })
            .collect();
        trim(&mut value);
        trim(&mut complement);
        let key = |number: &[u32]| (number.len(), number.iter().rev().copied().collect::<Vec<_>>());
        if key(&complement) < key(&value) { (true, complement) } else { (false, value) }
    }
}

fn multiply_add(number: &mut Vec<u32>, factor: u32, summand: u32) {
    let mut carry = u64::from(summand);
    for limb in number.iter_mut() {
        carry += u64::from(*limb) * u64::from(factor);
        *limb = carry as u32;
        carry >>= 32;
    }
    if carry > 0 {
        number.push(carry as u32);
    }
}

fn trim(number: &mut Vec<u32>) {
    while number.last() == Some(&0) {
        number.pop();
    }
}

/// The float nearest to `a / b`, as far as their leading bits tell; `b` is not 0.
fn quotient(a: &[u32], b: &[u32]) -> f64 {
    if a.is_empty() {
        return 0.0;
    }
    let (top, top_shift, rest) = leading(a, 127);
    let (divisor, divisor_shift, _) = leading(b, 64);
    let digits = top / divisor;
    // At least 62 bits: the lowest stands for everything below it.
    let sticky = rest || top % divisor != 0;
    scaled((digits | u128::from(sticky)) as f64, top_shift - divisor_shift)
}

/// `number` is about the first times 2 to the power of the second, with so many leading bits; whether bits were cut off.
fn leading(number: &[u32], bits: i32) -> (u128, i32, bool) {
    let length = number.len() as i32 * 32 - number.last().map_or(0, |limb| limb.leading_zeros() as i32);
    let shift = length - bits;
    let limb = |at: i32| usize::try_from(at).ok().and_then(|at| number.get(at)).copied().unwrap_or(0);
    let bit = |at: i32| u128::from(limb(at.div_euclid(32)) >> at.rem_euclid(32) & 1);
    let top = (0..bits).rev().fold(0, |top, at| top << 1 | bit(shift + at));
    (top, shift, (0..shift).any(|at| bit(at) == 1))
}

/// `number * 2^exponent`, rounded at most once: the odd part first, so that what a later step drops is nothing.
pub fn scaled(mut number: f64, mut exponent: i32) -> f64 {
    while exponent != 0 && number != 0.0 && number.is_finite() {
        let step = match exponent % 1000 {
            0 => exponent.clamp(-1000, 1000),
            rest => rest,
        };
        number *= f64::from_bits(((1023 + step) as u64) << 52);
        exponent -= step;
    }
    number
}

/// The largest exponent of two that leaves sums, lengths and products with numbers around 1 below the largest float.
const ROOMY: i32 = 990;

/// The exponent of two by which numbers are multiplied so that nothing overflows or vanishes in a decomposition: small
/// ones come up to 1, the largest down to 2^990, where at most the last 34 bits of numbers below 2^-987 are lost.
pub fn shift_to_room<'a>(numbers: impl Iterator<Item = &'a f64>) -> i32 {
    let most = numbers.fold(0.0, |most: f64, number| most.max(number.abs()));
    if most == 0.0 || !most.is_finite() {
        return 0;
    }
    // A subnormal number brought into the range of the normal ones first.
    let (normal, below) = if most < f64::MIN_POSITIVE { (scaled(most, 64), 64) } else { (most, 0) };
    let exponent = (normal.to_bits() >> 52) as i32 - 1023 - below;
    ROOMY.min(exponent).max(0) - exponent
}
