//! Compares the engines on random modules; `tests/differential` does the work.

use anyhow::{Context, Result};

use crate::{
    beside::Beside,
    referee,
    relay::NATIVE,
    shell::{cargo, find, program, step},
    workspace,
};

/// What `cargo xtask test` compares: the same modules every time. By number, not by time: beside other work it gets what a
/// processor has left.
const IN_TESTS: [&str; 4] = ["--modules", "2000", "--seed", "1"];

/// Builds the fuzzer and hands it `words`. Of a time, programs for WASI get a third; `--programs` asks for them alone.
pub(crate) fn run(words: &[String]) -> Result<()> {
    if words.iter().any(|word| word == "--programs") {
        let words: Vec<String> = words.iter().map(|word| word.replace("--programs", "--random")).collect();
        return referee::random(&words);
    }
    let mut words = words.to_vec();
    if let Some(place) = words.iter().position(|word| word == "--minutes") {
        let minutes = words.get(place + 1).and_then(|word| word.parse::<u64>().ok()).context("how many minutes?")?;
        let of_programs = (minutes / 3).max(1);
        let mut others = words.clone();
        if let (Some(word), Some(other)) = (words.get_mut(place + 1), others.get_mut(place + 1)) {
            *word = minutes.saturating_sub(of_programs).max(1).to_string();
            *other = of_programs.to_string();
        }
        referee::random(&others)?;
    }
    build()?;
    step("comparing the engines on random modules", program(&workspace::built("fuzz").to_string_lossy()).args(words))
}

/// Starts the comparison that belongs to the tests, behind everything else in the queue for a processor.
pub(crate) fn start() -> Result<Beside> {
    build()?;
    let fuzzer = workspace::built("fuzz");
    let mut command = if find("nice").is_some() {
        let mut nice = program("nice");
        nice.args(["-n", "10"]).arg(&fuzzer);
        nice
    } else {
        program(&fuzzer.to_string_lossy())
    };
    Beside::start("comparing the engines on random modules", command.args(IN_TESTS))
}

fn build() -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--bin", "fuzz"]).args(NATIVE);
    step("building the fuzzer", &mut build)
}
