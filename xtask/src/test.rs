//! Every test: formatting and lints, the tests under the code, the guests, the engines compared on random modules, and
//! those in real Chromium.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{
    beside::Beside,
    fuzz, kernels, lint,
    referee::{self, Getting},
    relay::{self, NATIVE},
    shell::{cargo, step, step_with_lines, summary},
    tidy, tools, workspace,
};

/// `cargo xtask test`.
pub(crate) struct Options {
    /// What to run; all if empty.
    pub parts: Vec<Part>,
    /// Only those tests in Chromium whose name contains this.
    pub filter: Option<String>,
    /// Whether another run started this one and sums it up.
    pub part_of_run: bool,
    /// Whether to lint as it compiles, instead of afterwards.
    pub cold: bool,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The house's habits, formatting and lints, natively and on wasm.
    Lint,
    /// What sits under the code: unit, property and simulation tests.
    Unit,
    /// The guests in `kernels/`: their own tests, and their cases on both engines.
    Kernels,
    /// Programs of kind `command` in every language, and random ones, against wasmtime's own WASI.
    Referee,
    /// Two thousand random modules, wasmi against wasmtime.
    Fuzz,
    /// The compilers of Chromium against wasmi.
    Compilers,
    /// What a person does, in real browsers.
    EndToEnd,
}

impl Part {
    /// The part that the command line calls so.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "lint" => Ok(Part::Lint),
            "unit" => Ok(Part::Unit),
            "kernels" => Ok(Part::Kernels),
            "referee" => Ok(Part::Referee),
            "fuzz" => Ok(Part::Fuzz),
            "compilers" => Ok(Part::Compilers),
            "e2e" => Ok(Part::EndToEnd),
            unknown => bail!("there is no part {unknown:?}: lint, unit, kernels, referee, fuzz, compilers or e2e"),
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

/// What came of the parts so far.
#[derive(Default)]
struct Outcome {
    count: Count,
    failures: Vec<String>,
}

impl Outcome {
    fn keep(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            eprintln!("   FAILED: {error:#}");
            self.failures.push(format!("{error:#}"));
        }
    }
}

/// Runs all that was asked for, even after a failure, and ends with the counts and with what each step took.
///
/// Compiling comes first, the page beside the rest. Then the tests run in two lines side by side, each of which leaves a
/// processor idle for much of its time, and at last what people do in browsers, which gets the machine to itself.
pub(crate) fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    compile(options, &mut outcome)?;
    let fuzz = if options.wants(Part::Fuzz) { Some(fuzz::start()?) } else { None };
    let second = options.second_line()?;
    options.first_line(&mut outcome);
    match second {
        Some(second) => {
            let ended = second.finish(|line| outcome.count.read(line));
            outcome.keep(ended);
        }
        None => options.second_line_alone(&mut outcome),
    }
    if let Some(fuzz) = fuzz {
        outcome.keep(fuzz.finish(|_| ()));
    }
    if options.wants(Part::EndToEnd) {
        let tested = end_to_end(options.filter.as_deref(), &mut outcome.count);
        outcome.keep(tested);
    }
    if !options.part_of_run {
        println!("{}", summary(began.elapsed()));
        for failure in &outcome.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed", outcome.count.passed, outcome.count.failed);
    }
    if outcome.failures.is_empty() { Ok(()) } else { bail!("not everything passed: {}", outcome.failures.join("; ")) }
}

/// Builds all that the tests need, and gets what is missing on this machine meanwhile.
fn compile(options: &Options, outcome: &mut Outcome) -> Result<()> {
    let in_browsers = options.wants_any(&[Part::Compilers, Part::EndToEnd]);
    let getting = options
        .wants_any(&[Part::Kernels, Part::Referee, Part::Compilers, Part::EndToEnd])
        .then(|| referee::start_getting(options.wants(Part::Referee), in_browsers));
    tools::wasm_target()?;
    if options.cold {
        lint::as_it_compiles()?;
    }
    // First, because both take a second and fail most often.
    if options.wants(Part::Lint) {
        outcome.keep(tidy::run());
        outcome.keep(step("checking the format", cargo().args(["fmt", "--all", "--check"])));
    }
    if options.wants(Part::Unit) {
        compile_beside_the_page()?;
        compile_the_tests(in_browsers)?;
    }
    if options.wants_any(&[Part::Unit, Part::Kernels, Part::Compilers, Part::EndToEnd]) {
        relay::build()?;
    }
    if options.wants(Part::Referee) {
        referee::build_it()?;
    }
    outcome.keep(getting.map_or(Ok(()), Getting::finish));
    Ok(())
}

/// Compiles all that does not wait for the page while the page is built: its tools, its optimising and its linking leave
/// a processor idle for much of the time.
fn compile_beside_the_page() -> Result<()> {
    let page = Beside::start_own("building the page", &["page"])?;
    let mut libraries = cargo();
    libraries.args(["test", "--no-run", "--locked", "--release", "--lib"]).args(NATIVE);
    step("compiling the libraries and their tests", &mut libraries)?;
    page.finish(|_| ())
}

/// Compiles the relay and every test program, before the first one runs: those that `cargo test` takes, and those in Chromium.
fn compile_the_tests(in_browsers: bool) -> Result<()> {
    let mut tests = cargo();
    tests.args(["test", "--no-run", "--locked", "--release"]).args(NATIVE);
    if in_browsers {
        tests.args(["--lib", "--bins", "--examples", "--tests", "--test", "chromium", "--test", "compilers"]);
    }
    step("compiling the relay and all tests", &mut tests)
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn lints_afterwards(&self) -> bool {
        self.wants(Part::Lint) && !self.cold
    }

    fn wants_any(&self, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.wants(*part))
    }

    fn first_line(&self, outcome: &mut Outcome) {
        if self.wants(Part::Unit) {
            let tested = unit(&mut outcome.count);
            outcome.keep(tested);
        }
        if self.wants(Part::Kernels) {
            let tested = kernels::test(|line| outcome.count.read(line));
            outcome.keep(tested);
        }
        if self.wants(Part::Referee) {
            let tested = referee::test(&RANDOM_PROGRAMS, |line| outcome.count.read(line));
            outcome.keep(tested);
        }
    }

    /// Starts the second line, if both have something to do. Linting comes last in it: it holds the lock of cargo's folder
    /// for long, which the first line needs at its beginning.
    fn second_line(&self) -> Result<Option<Beside>> {
        if !self.wants_any(&[Part::Unit, Part::Kernels, Part::Referee]) {
            return Ok(None);
        }
        let mut words = vec!["test", "--part-of-run"];
        let parts = [("compilers", self.wants(Part::Compilers)), ("lint", self.lints_afterwards())];
        for (name, _) in parts.iter().filter(|(_, wanted)| *wanted) {
            words.extend(["--only", name]);
        }
        if let Some(filter) = &self.filter {
            words.extend(["--filter", filter]);
        }
        if !parts.iter().any(|(_, wanted)| *wanted) {
            return Ok(None);
        }
        Beside::start_own("comparing Chromium's compilers, then linting", &words).map(Some)
    }

    fn second_line_alone(&self, outcome: &mut Outcome) {
        if self.wants(Part::Compilers) {
            let tested = compilers(self.filter.as_deref(), &mut outcome.count);
            outcome.keep(tested);
        }
        if self.lints_afterwards() {
            outcome.keep(lint::run());
        }
    }
}

fn unit(count: &mut Count) -> Result<()> {
    step_with_lines(
        "testing under the code",
        cargo().args(["test", "--locked", "--release", "--no-fail-fast"]).args(NATIVE),
        |line| count.read(line),
    )
}

/// Both compilers of Chromium against wasmi.
fn compilers(filter: Option<&str>, count: &mut Count) -> Result<()> {
    let mut command = in_chromium("compilers", 1, filter)?;
    step_with_lines("comparing Chromium's compilers", &mut command, |line| count.read(line))
}

/// What a person does: two stories at once, since each waits much; those that measure wait until they are alone.
fn end_to_end(filter: Option<&str>, count: &mut Count) -> Result<()> {
    let mut command = in_chromium("chromium", 2, filter)?;
    step_with_lines("testing in Chromium", &mut command, |line| count.read(line))
        .context("see the messages above; `cargo xtask test --only e2e --filter NAME` runs one")
}

/// A test program that needs a browser and the built relay, with so many of its tests at once.
fn in_chromium(test: &str, at_once: u32, filter: Option<&str>) -> Result<Command> {
    let browser = tools::browser()?;
    let mut command = cargo();
    command
        .args(["test", "--locked", "--release", "--test", test])
        .args(NATIVE)
        .args(["--", "--nocapture"])
        .arg(format!("--test-threads={at_once}"))
        .args(filter)
        .env("P2PNET_BIN", workspace::built("p2pnet"))
        .env("P2PNET_DIST", workspace::dist_dir())
        .env("P2PNET_CHROMIUM", browser.chromium)
        .env("P2PNET_CHROMEDRIVER", browser.chromedriver)
        .env("P2PNET_XVFB", browser.xvfb);
    Ok(command)
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
