//! `fuzz --minutes N [--seed S]` or `fuzz --modules N [--seed S]`: random modules, wasmi against wasmtime.
//!
//! Seeds are consecutive from S, so that a difference can be looked at again: `fuzz --modules 1 --seed S`;
//! `fuzz --write --seed S` writes the module of S to the current folder; `fuzz --seed S --file F` runs a module from a file.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use p2pnet_differential::{
    machine::{Wasmi, Wasmtime},
    smith::{self, Seen},
};
use p2pnet_shared::kernel;

/// After so many modules that differ, a run ends: they are likely one bug.
const MOST_DIFFERENCES: u32 = 20;

fn main() -> ExitCode {
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey() -> Result<()> {
    let (mut minutes, mut modules, mut seed, mut write) = (None, None, 1u64, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || -> Result<u64> { words.next().context("a number is missing")?.parse().context("no number") };
        match word.as_str() {
            "--minutes" => minutes = Some(number()?),
            "--modules" => modules = Some(number()?),
            "--seed" => seed = number()?,
            "--write" => write = true,
            "--file" => {
                let path = words.next().context("a file is missing")?;
                return one_file(&wat::parse_file(&path)?, seed);
            }
            other => bail!("{other:?} is not understood; usage: fuzz --minutes N | --modules N [--seed S]"),
        }
    }
    if write {
        return write_module(seed);
    }
    if minutes.is_none() && modules.is_none() {
        bail!("usage: fuzz --minutes N | --modules N [--seed S]");
    }
    let (wasmi, wasmtime) = (Wasmi::new(), Wasmtime::new()?);
    let began = Instant::now();
    let (mut seen, mut next, mut said, mut differ) = (Seen::default(), seed, 0, 0);
    let enough = |seen: &Seen| {
        modules.is_some_and(|modules| seen.modules >= modules)
            || minutes.is_some_and(|minutes| began.elapsed() >= Duration::from_secs(60 * minutes))
    };
    while !enough(&seen) {
        if let Err(error) = smith::run([&wasmi, &wasmtime], next, &mut seen) {
            println!("DIFFERS: {error:#}");
            differ += 1;
        }
        next += 1;
        if differ == MOST_DIFFERENCES {
            break;
        }
        if seen.modules >= said + 10_000 {
            said = seen.modules;
            println!("{seen}");
        }
    }
    println!("{seen}; {differ} differ; seeds {seed} to {}, {:.0} s", next - 1, began.elapsed().as_secs_f64());
    if differ > 0 {
        bail!("{differ} modules differ: look at one with `fuzz --write --seed S`, and keep it as a test");
    }
    Ok(())
}

/// Puts a seed's module into the current folder, as it was made and as it was rewritten.
fn write_module(seed: u64) -> Result<()> {
    let module = smith::module_of(seed).context("this seed gives no module")?;
    std::fs::write(format!("{seed}.wasm"), &module)?;
    std::fs::write(format!("{seed}.rewritten.wasm"), kernel::rewrite(&module)?)?;
    Ok(())
}

/// Runs a module from a file, in text or binary, as if it were a seed's.
fn one_file(module: &[u8], seed: u64) -> Result<()> {
    let (wasmi, wasmtime, mut seen) = (Wasmi::new(), Wasmtime::new()?, Seen::default());
    smith::run_module([&wasmi, &wasmtime], module, seed, &mut seen)?;
    println!("{seen}; 0 differ");
    Ok(())
}
