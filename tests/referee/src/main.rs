//! `referee --wasi PYTHON --programs FOLDER [--only TEXT]`: the programs in a folder, with what `runs.rs` says.
//! `referee --wasi PYTHON --random N [--seed S]` or `--minutes N`: random ones, seeds counted up from S.
//! `referee --write S`: the program of a seed, as text, to look at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use p2pnet_referee::{TRAPPED, compare, ours::Ours, random, runs, wasi::Wasi};

/// After so many differences a run of random programs ends: they are likely one fault.
const MOST_DIFFERENCES: u64 = 20;

#[derive(Default)]
struct Words {
    wasi: Option<PathBuf>,
    programs: Option<PathBuf>,
    only: String,
    random: Option<u64>,
    minutes: Option<u64>,
    seed: u64,
}

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
    let mut words = Words { seed: 1, ..Words::default() };
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let value = given.next().with_context(|| format!("{word} lacks its value"))?;
        match word.as_str() {
            "--wasi" => words.wasi = Some(value.into()),
            "--programs" => words.programs = Some(value.into()),
            "--only" => words.only = value,
            "--random" => words.random = Some(value.parse()?),
            "--minutes" => words.minutes = Some(value.parse()?),
            "--seed" => words.seed = value.parse()?,
            "--write" => {
                println!("{}", random::of(value.parse()?).text);
                return Ok(());
            }
            other => bail!("{other:?} is not understood"),
        }
    }
    let mut wasi = Wasi::start(words.wasi.as_deref().context("--wasi is missing")?)?;
    let mut ours = Ours::new()?;
    match &words.programs {
        Some(folder) => programs(&mut ours, &mut wasi, folder, &words.only),
        None => randoms(&mut ours, &mut wasi, &words),
    }
}

fn programs(ours: &mut Ours, wasi: &mut Wasi, folder: &Path, only: &str) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    let (mut same, mut different, mut on_both, mut compared) = (0_u64, 0_u64, 0_u64, 0_u64);
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(only) {
            continue;
        }
        // `language-program`, and the language may have parts of its own.
        let runs = runs::of(name.rsplit('-').next().unwrap_or_default());
        if runs.is_empty() {
            bail!("nothing says how to run {name}: see runs.rs");
        }
        compared += 1;
        let module = fs::read(file)?;
        if let Err(reason) = wasi.load(&module)? {
            bail!("{name}: wasmtime's WASI does not take it: {reason}");
        }
        let program = match ours.load(&module) {
            Ok(program) => program,
            Err(error) => {
                different += runs.len() as u64;
                println!("DIFFERS {name}: {error:#}");
                continue;
            }
        };
        let (before, count) = (different, runs.len());
        for run in &runs {
            match compare::run(ours, &program, wasi, &run.input, &run.arguments)? {
                Ok(run) => {
                    same += 1;
                    on_both += u64::from(run.on_both);
                }
                Err(difference) => {
                    different += 1;
                    let shown: Vec<String> =
                        run.arguments.iter().take(4).map(|text| text.chars().take(20).collect()).collect();
                    println!("DIFFERS {name} {shown:?}, {} bytes of input: {difference}", run.input.len());
                }
            }
        }
        if different == before {
            println!("{name}: {count} runs are the same");
        }
    }
    if compared == 0 {
        bail!("there is no program in {}", folder.display());
    }
    println!(
        "{compared} programs, {} runs compared with wasmtime's own WASI, {on_both} of them on wasmi as well",
        same + different
    );
    // As libtest says it, so that `cargo xtask test` counts it.
    println!("test result: {}. {same} passed; {different} failed", if different == 0 { "ok" } else { "FAILED" });
    if different > 0 { bail!("{different} runs differ") } else { Ok(()) }
}

fn randoms(ours: &mut Ours, wasi: &mut Wasi, words: &Words) -> Result<()> {
    if words.random.is_none() && words.minutes.is_none() {
        bail!("one of --programs, --random and --minutes is needed");
    }
    let began = Instant::now();
    let enough = |done: u64| {
        words.random.is_some_and(|most| done >= most)
            || words.minutes.is_some_and(|minutes| began.elapsed() >= Duration::from_secs(60 * minutes))
    };
    let (mut done, mut different, mut traps, mut bytes) = (0, 0, 0_u64, 0_usize);
    while !enough(done) && different < MOST_DIFFERENCES {
        let seed = words.seed + done;
        done += 1;
        let random = random::of(seed);
        let module = wat::parse_str(&random.text).with_context(|| format!("program of seed {seed}"))?;
        if let Err(reason) = wasi.load(&module)? {
            bail!("seed {seed}: wasmtime's WASI does not take it: {reason}");
        }
        let compared = match ours.load(&module) {
            Ok(program) => compare::run(ours, &program, wasi, &random.input, &random.arguments)?,
            Err(error) => Err(format!("{error:#}")),
        };
        match compared {
            Ok(run) => {
                traps += u64::from(run.ended.code == Some(TRAPPED));
                bytes += run.ended.output.len() + run.ended.errors.len();
            }
            Err(difference) => {
                different += 1;
                println!("DIFFERS seed {seed}: {difference}");
            }
        }
    }
    println!(
        "{done} random programs compared with wasmtime's own WASI ({traps} trapped, {bytes} bytes put out); {different} \
         differ; seeds {} to {}, {:.0} s",
        words.seed,
        words.seed + done - 1,
        began.elapsed().as_secs_f64()
    );
    if different > 0 { bail!("{different} programs differ: look at one with `referee --write SEED`") } else { Ok(()) }
}
