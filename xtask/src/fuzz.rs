//! Compares the engines on random modules; `tests/differential` does the work.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    referee,
    relay::NATIVE,
    shell::{cargo, find, program, step},
    workspace,
};

/// What `cargo xtask test` compares: the same modules every time, as many as two minutes allow.
const IN_TESTS: [&str; 4] = ["--minutes", "2", "--seed", "1"];

/// Builds the fuzzer and hands it `words`. Of a time, programs for WASI get a third; `--programs` asks for them alone.
pub fn run(words: &[String]) -> Result<()> {
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

/// A comparison that goes on beside other work.
pub struct Beside {
    fuzzer: Child,
    printed: PathBuf,
}

/// Starts the comparison that belongs to the tests, behind everything else in the queue for a processor.
pub fn start() -> Result<Beside> {
    build()?;
    let printed = workspace::target_dir().join("fuzz.txt");
    let fuzzer = workspace::built("fuzz");
    let mut command = if find("nice").is_some() {
        let mut nice = program("nice");
        nice.args(["-n", "10"]).arg(&fuzzer);
        nice
    } else {
        program(&fuzzer.to_string_lossy())
    };
    let output = File::create(&printed).context("cannot write what the fuzzer prints")?;
    let errors = output.try_clone()?;
    let fuzzer = command.args(IN_TESTS).stdin(Stdio::null()).stdout(output).stderr(errors).spawn()?;
    eprintln!("=> comparing the engines on random modules, beside the other tests");
    Ok(Beside { fuzzer, printed })
}

impl Beside {
    /// Waits for the end and prints what was compared.
    pub fn finish(mut self) -> Result<()> {
        eprintln!("=> waiting for the comparison of the engines on random modules");
        let status = self.fuzzer.wait()?;
        let printed = fs::read_to_string(&self.printed).unwrap_or_default();
        printed.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().for_each(|line| println!("   {line}"));
        if status.success() {
            Ok(())
        } else {
            bail!("the engines differ on random modules: the fuzzer ended with {status}")
        }
    }
}

impl Drop for Beside {
    /// A failure elsewhere ends the tests: nothing of them may go on.
    fn drop(&mut self) {
        if matches!(self.fuzzer.try_wait(), Ok(None)) {
            let _ = self.fuzzer.kill();
            let _ = self.fuzzer.wait();
        }
    }
}

fn build() -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--bin", "fuzz"]).args(NATIVE);
    step("building the fuzzer", &mut build)
}
