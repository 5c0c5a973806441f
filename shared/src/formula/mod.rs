//! Formulas in `x`: read, typed, bounded, and compiled to a kernel.
//!
//! `text → parser (Expression) → typing (Typed, with bounds) → emit (instructions) → program (run) → template (kernel)`
//!
//! Types: integers are exact in 128 bits; `/`, `sqrt` and decimal literals make floats; comparisons make booleans. Bounds of
//! every integer are derived from bounds of `x`, so that 64-bit arithmetic is used exactly where it cannot overflow.

mod bounds;
mod emit;
mod lexer;
mod parser;
pub mod program;
mod template;
mod typing;

use crate::refusal::{Code, Refusal};

/// The longest formula, in characters.
pub const MOST_CHARACTERS: usize = 4096;
/// The most brackets within each other.
pub const MOST_DEPTH: usize = 64;
/// The longest chain of operators whose results feed one another.
pub const MOST_LEVELS: usize = 200;
/// The most operators, calls, names and numbers in a formula.
pub const MOST_NODES: usize = 2048;

/// A formula that can be read; whether it can be typed depends on what `x` is.
#[derive(Clone, Debug)]
pub struct Formula {
    root: parser::Expression,
}

impl Formula {
    /// Reads a formula. The refusal points at the character where reading failed.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        parser::parse(text).map(|root| Self { root })
    }

    /// The formula `x`.
    pub fn identity() -> Self {
        Self { root: parser::Expression { at: 0, levels: 1, kind: parser::Kind::X } }
    }
}

/// What `x` is, and between which bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An integer between these, both inclusive.
    Integer {
        /// The smallest that it can be.
        least: i128,
        /// The largest that it can be.
        most: i128,
    },
    /// A float.
    Float,
    /// A text.
    Text,
}

fn invalid(at: usize, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidFormula, message, hint).at(at)
}
