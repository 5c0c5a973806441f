//! Compares the engines on random modules for as long as wanted; `tests/differential` does the work.

use anyhow::Result;

use crate::shell;

/// Builds the fuzzer as tests are built and hands it `words`.
pub fn run(words: &[String]) -> Result<()> {
    let mut command = shell::cargo();
    command.args(["run", "--release", "--package", "p2pnet-differential", "--bin", "fuzz", "--"]).args(words);
    shell::step("Comparing the engines on random modules", &mut command)
}
