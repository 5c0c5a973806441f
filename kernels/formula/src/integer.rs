//! Integers of 128 bits, alone and beside floats: every operation is exact, rounded once to a float, or fails.

use core::cmp::Ordering;

use crate::{
    exchange::{
        Failure,
        number::{self, Number},
    },
    give, give_or, power, wide,
};

#[unsafe(no_mangle)]
extern "C" fn int_add(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    give_or(wide(a, a_high).checked_add(wide(b, b_high)), Failure::Overflow)
}

#[unsafe(no_mangle)]
extern "C" fn int_subtract(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    give_or(wide(a, a_high).checked_sub(wide(b, b_high)), Failure::Overflow)
}

#[unsafe(no_mangle)]
extern "C" fn int_multiply(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    let (a, b) = (wide(a, a_high), wide(b, b_high));
    if let (Ok(a), Ok(b)) = (i64::try_from(a), i64::try_from(b)) {
        return give(i128::from(a) * i128::from(b));
    }
    give_or(a.checked_mul(b), Failure::Overflow)
}

/// The quotient rounded down.
#[unsafe(no_mangle)]
extern "C" fn int_floor_divide(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    let (a, b) = (wide(a, a_high), wide(b, b_high));
    if b == 0 {
        return Failure::DivisionByZero as i32;
    }
    if let (Ok(a), Ok(b)) = (u64::try_from(a), u64::try_from(b)) {
        return give(i128::from(a / b));
    }
    let Some(quotient) = a.checked_div(b) else { return Failure::Overflow as i32 };
    give(if quotient * b != a && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// The remainder with the divisor's sign.
#[unsafe(no_mangle)]
extern "C" fn int_remainder(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    let (a, b) = (wide(a, a_high), wide(b, b_high));
    if b == 0 {
        return Failure::DivisionByZero as i32;
    }
    if let (Ok(a), Ok(b)) = (u64::try_from(a), u64::try_from(b)) {
        return give(i128::from(a % b));
    }
    let rest = a.checked_rem(b).unwrap_or(0); // MIN % -1
    give(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

#[unsafe(no_mangle)]
extern "C" fn int_power(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    let (base, exponent) = (wide(a, a_high), wide(b, b_high));
    if exponent < 0 {
        return Failure::NegativeExponent as i32;
    }
    // Beyond 127 only 0, 1 and -1 have powers that fit, and they depend on parity alone.
    let exponent = if exponent > 127 { 128 + (exponent & 1) as u32 } else { exponent as u32 };
    give_or(base.checked_pow(exponent), Failure::Overflow)
}

#[unsafe(no_mangle)]
extern "C" fn int_gcd(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    let (mut a, mut b) = (wide(a, a_high).unsigned_abs(), wide(b, b_high).unsigned_abs());
    while b != 0 {
        if let (Ok(short_a), Ok(short_b)) = (u64::try_from(a), u64::try_from(b)) {
            a = u128::from(gcd(short_a, short_b));
            break;
        }
        (a, b) = (b, a % b);
    }
    give_or(i128::try_from(a).ok(), Failure::Overflow)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[unsafe(no_mangle)]
extern "C" fn int_absolute(a: u64, a_high: u64) -> i32 {
    give_or(wide(a, a_high).checked_abs(), Failure::Overflow)
}

/// -1, 0 or 1.
#[unsafe(no_mangle)]
extern "C" fn int_compare(a: u64, a_high: u64, b: u64, b_high: u64) -> i32 {
    wide(a, a_high).cmp(&wide(b, b_high)) as i32
}

#[unsafe(no_mangle)]
extern "C" fn int_to_float(a: u64, a_high: u64) -> f64 {
    wide(a, a_high) as f64
}

/// The divisor is not 0.
#[unsafe(no_mangle)]
extern "C" fn int_quotient(a: u64, a_high: u64, b: u64, b_high: u64) -> f64 {
    number::quotient(wide(a, a_high), wide(b, b_high))
}

/// -1, 0 or 1; 2 beside not-a-number.
#[unsafe(no_mangle)]
extern "C" fn int_float_compare(low: u64, high: u64, float: f64) -> i32 {
    match number::compare(wide(low, high), float) {
        Some(Ordering::Less) => -1,
        Some(Ordering::Equal) => 0,
        Some(Ordering::Greater) => 1,
        None => 2,
    }
}

#[unsafe(no_mangle)]
extern "C" fn float_floor_divide(a: f64, b: f64) -> i32 {
    floor_divide(Number::Float(a), Number::Float(b))
}

#[unsafe(no_mangle)]
extern "C" fn int_float_floor_divide(low: u64, high: u64, b: f64) -> i32 {
    floor_divide(Number::Integer(wide(low, high)), Number::Float(b))
}

#[unsafe(no_mangle)]
extern "C" fn float_int_floor_divide(a: f64, low: u64, high: u64) -> i32 {
    floor_divide(Number::Float(a), Number::Integer(wide(low, high)))
}

fn floor_divide(a: Number, b: Number) -> i32 {
    match number::floor_quotient(a, b) {
        Ok(quotient) => give(quotient),
        Err(failure) => failure as i32,
    }
}

/// The divisor is not 0.
#[unsafe(no_mangle)]
extern "C" fn int_float_remainder(low: u64, high: u64, b: f64) -> f64 {
    number::remainder(Number::Integer(wide(low, high)), Number::Float(b))
}

/// The divisor is not 0.
#[unsafe(no_mangle)]
extern "C" fn float_int_remainder(a: f64, low: u64, high: u64) -> f64 {
    number::remainder(Number::Float(a), Number::Integer(wide(low, high)))
}

/// The base is not 0, the exponent an integer below 0.
#[unsafe(no_mangle)]
extern "C" fn int_float_power(low: u64, high: u64, exponent: f64) -> f64 {
    power::pow_of_integer(wide(low, high), exponent)
}

#[unsafe(no_mangle)]
extern "C" fn float_to_int(value: f64) -> i32 {
    const LIMIT: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0; // 2^127
    if value >= -LIMIT && value < LIMIT {
        return give(value as i128);
    }
    if value.is_finite() { Failure::Overflow as i32 } else { Failure::NotAnInteger as i32 }
}

/// The smallest composite that passes a strong test to all of the first 13 primes (Sorenson and Webster 2015,
/// "Strong pseudoprimes to twelve prime bases"): below it the test below is a proof.
const PROVEN: u128 = 3_317_044_064_679_887_385_961_981;
const BASES: [u64; 13] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41];

/// Gives 0 or 1.
#[unsafe(no_mangle)]
extern "C" fn int_is_prime(low: u64, high: u64) -> i32 {
    let n = wide(low, high);
    if n < 2 {
        return give(0);
    }
    for base in BASES {
        let base = i128::from(base);
        if n == base {
            return give(1);
        }
        if n % base == 0 {
            return give(0);
        }
    }
    if let Ok(n) = u64::try_from(n) {
        return give(i128::from(is_prime(n)));
    }
    if n as u128 >= PROVEN {
        return Failure::PrimeRange as i32;
    }
    give(i128::from(is_prime_wide(n as u128)))
}

/// For `0 <= n < 2^63`: 0 or 1.
#[unsafe(no_mangle)]
extern "C" fn is_prime(n: u64) -> i32 {
    if n < 2 {
        return 0;
    }
    if n % 2 == 0 {
        return i32::from(n == 2);
    }
    if n < 1 << 32 { i32::from(is_prime_32(n as u32)) } else { i32::from(is_prime_64(n)) }
}

fn is_prime_32(n: u32) -> bool {
    for prime in [3u32, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37] {
        if n % prime == 0 {
            return n == prime;
        }
    }
    if n < 41 * 41 {
        return true;
    }
    // Bases 2, 7, 61 decide every n below 4,759,123,141 (Jaeschke 1993).
    let (odd, twos) = split(u64::from(n));
    let n = u64::from(n);
    [2, 7, 61].into_iter().all(|base| {
        let mut power = 1;
        let (mut square, mut exponent) = (base % n, odd);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = power * square % n;
            }
            square = square * square % n;
            exponent >>= 1;
        }
        passes(power, twos, n - 1, |power| power * power % n)
    })
}

fn is_prime_64(n: u64) -> bool {
    for prime in BASES {
        if n % prime == 0 {
            return n == prime;
        }
    }
    let field = Montgomery::new(n);
    let (odd, twos) = split(n);
    let minus_one = n - field.one;
    // The first 12 primes decide every n below 2^64 (Sorenson and Webster 2015).
    BASES[..12].iter().all(|base| {
        let power = field.power(field.enter(*base), odd);
        power == field.one || passes(power, twos, minus_one, |power| field.multiply(power, power))
    })
}

fn is_prime_wide(n: u128) -> bool {
    let multiply = |a: u128, b: u128| multiply_modulo(a, b, n);
    let (mut odd, mut twos) = (n - 1, 0);
    while odd & 1 == 0 {
        odd >>= 1;
        twos += 1;
    }
    BASES.iter().all(|base| {
        let mut power = 1;
        let (mut square, mut exponent) = (u128::from(*base), odd);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = multiply(power, square);
            }
            square = multiply(square, square);
            exponent >>= 1;
        }
        let mut left = twos;
        if power == 1 || power == n - 1 {
            return true;
        }
        while left > 1 {
            power = multiply(power, power);
            if power == n - 1 {
                return true;
            }
            left -= 1;
        }
        false
    })
}

/// `a * b mod n` for n below 2^82: 41 bits of `b` at a time would overflow, so 40.
fn multiply_modulo(a: u128, b: u128, n: u128) -> u128 {
    const BITS: u32 = 40;
    const MASK: u128 = (1 << BITS) - 1;
    let mut product = 0;
    for part in [b >> (2 * BITS), b >> BITS & MASK, b & MASK] {
        product = ((product << BITS) + a * part) % n;
    }
    product
}

fn split(n: u64) -> (u64, u32) {
    let twos = (n - 1).trailing_zeros();
    ((n - 1) >> twos, twos)
}

fn passes(mut power: u64, twos: u32, minus_one: u64, square: impl Fn(u64) -> u64) -> bool {
    if power == 1 || power == minus_one {
        return true;
    }
    for _ in 1..twos {
        power = square(power);
        if power == minus_one {
            return true;
        }
    }
    false
}

/// Arithmetic modulo an odd number without division (P. Montgomery 1985).
struct Montgomery {
    n: u64,
    inverse: u64,
    one: u64,
    square: u64,
}

impl Montgomery {
    fn new(n: u64) -> Self {
        let mut inverse = n; // right in 3 bits, doubled five times
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(n.wrapping_mul(inverse)));
        }
        let one = (u128::from(u64::MAX) % u128::from(n) + 1) as u64 % n;
        let square = (u128::from(one) * u128::from(one) % u128::from(n)) as u64;
        Self { n, inverse, one, square }
    }

    fn enter(&self, value: u64) -> u64 {
        self.multiply(value % self.n, self.square)
    }

    fn multiply(&self, a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        let factor = (product as u64).wrapping_mul(self.inverse);
        let (high, subtract) = ((product >> 64) as u64, (u128::from(factor) * u128::from(self.n) >> 64) as u64);
        if high >= subtract { high - subtract } else { high.wrapping_sub(subtract).wrapping_add(self.n) }
    }

    fn power(&self, mut base: u64, mut exponent: u64) -> u64 {
        let mut power = self.one;
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
