//! Every test: formatting and lints, the tests under the code, the guests, the engines compared on random modules, and
//! those in real Chromium.

use anyhow::{Context, Result, bail};

use crate::{
    fuzz, kernels, referee,
    relay::{self, NATIVE},
    shell::{cargo, step, step_with_lines},
    tools, workspace,
};

/// `cargo xtask test`.
pub struct Options {
    /// What to run; all if empty.
    pub parts: Vec<Part>,
    /// Only those tests in Chromium whose name contains this.
    pub filter: Option<String>,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Formatting and lints, natively and on wasm.
    Lint,
    /// What sits under the code: unit, property and simulation tests.
    Unit,
    /// The guests in `kernels/`: their own tests, and their cases on both engines.
    Kernels,
    /// Programs of kind `command` in every language, and random ones, against wasmtime's own WASI.
    Referee,
    /// Two minutes of random modules, wasmi against wasmtime.
    Fuzz,
    /// What a person does, in real browsers.
    EndToEnd,
}

impl Part {
    /// The part that the command line calls so.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "lint" => Ok(Part::Lint),
            "unit" => Ok(Part::Unit),
            "kernels" => Ok(Part::Kernels),
            "referee" => Ok(Part::Referee),
            "fuzz" => Ok(Part::Fuzz),
            "e2e" => Ok(Part::EndToEnd),
            unknown => bail!("there is no part {unknown:?}: lint, unit, kernels, referee, fuzz or e2e"),
        }
    }
}

/// What the tests compare of random programs for WASI: the same ones every time.
const RANDOM_PROGRAMS: [&str; 4] = ["--random", "150", "--seed", "1"];

/// How many tests passed and failed.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Runs all that was asked for, even after a failure, and ends with the counts.
pub fn run(options: &Options) -> Result<()> {
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut count = Count::default();
    let mut failures = Vec::new();
    let mut keep = |outcome: Result<()>| {
        if let Err(error) = outcome {
            eprintln!("   FAILED: {error:#}");
            failures.push(format!("{error:#}"));
        }
    };
    let getting = wanted(Part::Referee).then(referee::start_getting);
    tools::wasm_target()?;
    // First, because it takes a second and fails most often.
    if wanted(Part::Lint) {
        keep(step("checking the format", cargo().args(["fmt", "--all", "--check"])));
    }
    if wanted(Part::Unit) || wanted(Part::Kernels) || wanted(Part::EndToEnd) {
        relay::build()?;
    }
    // Goes on beside what follows, most of which waits for a compiler.
    let fuzz = if wanted(Part::Fuzz) { Some(fuzz::start()?) } else { None };
    if wanted(Part::Unit) {
        keep(unit(&mut count));
    }
    if wanted(Part::Lint) {
        keep(lint());
    }
    if wanted(Part::Kernels) {
        keep(kernels::test(|line| count.read(line)));
    }
    if let Some(getting) = getting {
        keep(referee::test(getting, &RANDOM_PROGRAMS, |line| count.read(line)));
    }
    // The browsers get the machine to themselves.
    if let Some(fuzz) = fuzz {
        keep(fuzz.finish());
    }
    if wanted(Part::EndToEnd) {
        keep(end_to_end(options.filter.as_deref(), &mut count));
    }
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if failures.is_empty() { Ok(()) } else { bail!("not everything passed") }
}

/// The page is linted for wasm, where its code is alive.
const NOT_PAGE: &[&str] = &["--workspace", "--exclude", "p2pnet-web", "--exclude", "p2pnet-browser"];

fn lint() -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    // `--all-targets` leaves out what `cargo test` leaves out: the tests in Chromium.
    for targets in [&["--all-targets"][..], &["--test", "chromium"]] {
        let mut command = cargo();
        command.args(["clippy", "--locked", "--release"]).args(targets).args(NOT_PAGE).args(deny);
        step(&format!("linting natively, {}", targets.join(" ")), &mut command)?;
    }
    let page = ["-p", "p2pnet-web", "-p", "p2pnet-browser", "-p", "p2pnet-net", "-p", "p2pnet-shared"];
    step(
        "linting for wasm",
        cargo()
            .args(["clippy", "--locked", "--profile", "page", "--target", "wasm32-unknown-unknown"])
            .args(page)
            .args(deny),
    )
}

fn unit(count: &mut Count) -> Result<()> {
    step_with_lines(
        "testing under the code",
        cargo().args(["test", "--locked", "--release", "--no-fail-fast"]).args(NATIVE),
        |line| count.read(line),
    )
}

fn end_to_end(filter: Option<&str>, count: &mut Count) -> Result<()> {
    let browser = tools::browser()?;
    let mut command = cargo();
    command
        .args(["test", "--locked", "--release", "--test", "chromium"])
        .args(NATIVE)
        .args(["--", "--test-threads=1", "--nocapture"])
        .env("P2PNET_BIN", workspace::built("p2pnet"))
        .env("P2PNET_CHROMIUM", browser.chromium)
        .env("P2PNET_CHROMEDRIVER", browser.chromedriver)
        .env("P2PNET_XVFB", browser.xvfb);
    if let Some(filter) = filter {
        command.arg(filter);
    }
    step_with_lines("testing in Chromium", &mut command, |line| count.read(line))
        .context("see the messages above; `cargo xtask test --only e2e --filter NAME` runs one")
}

impl Count {
    /// Adds what a `test result: ok. 3 passed; 0 failed; …` line of libtest says.
    fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_several_test_programs_add_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s",
        ] {
            count.read(line);
        }
        assert_eq!((count.passed, count.failed), (4, 2));
    }
}
