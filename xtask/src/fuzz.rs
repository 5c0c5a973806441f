//! Compares the engines on random modules for as long as wanted; `tests/differential` does the work.

use anyhow::Result;

use crate::{
    relay::NATIVE,
    shell::{cargo, program, step},
    workspace,
};

/// Builds the fuzzer and hands it `words`.
pub fn run(words: &[String]) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--bin", "fuzz"]).args(NATIVE);
    step("building the fuzzer", &mut build)?;
    step("comparing the engines on random modules", program(&workspace::built("fuzz").to_string_lossy()).args(words))
}
