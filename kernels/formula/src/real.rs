//! Functions of floats: plain arithmetic, so the same bits on every engine.

use crate::{angle, power};

/// The remainder with the divisor's sign, a zero too; only the last addition rounds.
#[unsafe(no_mangle)]
extern "C" fn float_remainder(a: f64, b: f64) -> f64 {
    let rest = libm::fmod(a, b);
    if rest == 0.0 {
        return rest.copysign(b);
    }
    if (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// Halves go away from zero.
#[unsafe(no_mangle)]
extern "C" fn float_round(a: f64) -> f64 {
    libm::round(a)
}

#[unsafe(no_mangle)]
extern "C" fn float_power(a: f64, b: f64) -> f64 {
    power::pow(a, b)
}

#[unsafe(no_mangle)]
extern "C" fn float_sin(a: f64) -> f64 {
    angle::sin(a)
}

#[unsafe(no_mangle)]
extern "C" fn float_cos(a: f64) -> f64 {
    angle::cos(a)
}

#[unsafe(no_mangle)]
extern "C" fn float_tan(a: f64) -> f64 {
    angle::tan(a)
}

#[unsafe(no_mangle)]
extern "C" fn float_exp(a: f64) -> f64 {
    power::exp(a)
}

#[unsafe(no_mangle)]
extern "C" fn float_ln(a: f64) -> f64 {
    power::ln(a)
}

#[unsafe(no_mangle)]
extern "C" fn float_log10(a: f64) -> f64 {
    power::log10(a)
}
