//! `referee --wasi PYTHON --programs FOLDER [--only TEXT]`: the programs in a folder, with what `runs.rs` says.
//! `referee --wasi PYTHON --random N [--seed S]` or `--minutes N`: random ones, seeds counted up from S.
//! `referee --write S`: the program of a seed, as text, to look at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use p2pnet_referee::{Ended, TRAPPED, compare, ours::Ours, random, runs, wasi::Wasi};

/// After so many differences a run of random programs ends: they are likely one fault.
const MOST_DIFFERENCES: u64 = 20;
/// More threads than this compare no faster than the largest program.
const MOST_THREADS: usize = 4;

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
    let wasi = words.wasi.as_deref().context("--wasi is missing")?;
    match &words.programs {
        Some(folder) => programs(wasi, folder, &words.only),
        None => randoms(wasi, &words),
    }
}

/// Both sides, in each thread that compares.
struct Pair {
    ours: Ours,
    wasi: Wasi,
}

/// Has as many threads as there are processors do the same, each with both sides of its own.
fn in_threads<Done: Send>(wasi: &Path, work: impl Fn(&mut Pair) -> Result<Done> + Sync) -> Result<Vec<Done>> {
    let one = || work(&mut Pair { ours: Ours::new()?, wasi: Wasi::start(wasi)? });
    std::thread::scope(|scope| {
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a comparison broke off"))).collect()
    })
}

/// What a thread found among the programs.
#[derive(Default)]
struct Found {
    programs: u64,
    same: u64,
    different: u64,
    on_both: u64,
}

fn programs(wasi: &Path, folder: &Path, only: &str) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| {
        let is_wanted = file.file_stem().is_some_and(|name| name.to_string_lossy().contains(only));
        is_wanted && file.extension().is_some_and(|extension| extension == "wasm")
    });
    // The largest first, so that no thread is left with one of them at the end.
    files.sort_by_cached_key(|file| (std::cmp::Reverse(fs::metadata(file).map_or(0, |of| of.len())), file.clone()));
    if files.is_empty() {
        bail!("there is no program in {}", folder.display());
    }
    let next = AtomicUsize::new(0);
    let found = in_threads(wasi, |pair| {
        let mut found = Found::default();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            one_program(pair, file, &mut found)?;
        }
        Ok(found)
    })?;
    let sum = |what: fn(&Found) -> u64| found.iter().map(what).sum::<u64>();
    let (same, different) = (sum(|found| found.same), sum(|found| found.different));
    println!(
        "{} programs, {} runs compared with wasmtime's own WASI, {} of them on wasmi as well",
        sum(|found| found.programs),
        same + different,
        sum(|found| found.on_both)
    );
    // As libtest says it, so that `cargo xtask test` counts it.
    println!("test result: {}. {same} passed; {different} failed", if different == 0 { "ok" } else { "FAILED" });
    if different > 0 { bail!("{different} runs differ") } else { Ok(()) }
}

fn one_program(pair: &mut Pair, file: &Path, found: &mut Found) -> Result<()> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // `language-program`, and the language may have parts of its own.
    let runs = runs::of(name.rsplit('-').next().unwrap_or_default());
    if runs.is_empty() {
        bail!("nothing says how to run {name}: see runs.rs");
    }
    found.programs += 1;
    let module = fs::read(file)?;
    if let Err(reason) = pair.wasi.load(&module)? {
        bail!("{name}: wasmtime's WASI does not take it: {reason}");
    }
    let program = match pair.ours.load(&module) {
        Ok(program) => program,
        Err(error) => {
            found.different += runs.len() as u64;
            println!("DIFFERS {name}: {error:#}");
            return Ok(());
        }
    };
    let (before, mut on_wasmi) = (found.different, 0);
    for run in &runs {
        match compare::run(&mut pair.ours, &program, &mut pair.wasi, &run.input, &run.arguments)? {
            Ok(run) => {
                found.same += 1;
                on_wasmi += u64::from(run.on_both);
            }
            Err(difference) => {
                found.different += 1;
                let shown: Vec<String> =
                    run.arguments.iter().take(4).map(|text| text.chars().take(20).collect()).collect();
                println!("DIFFERS {name} {shown:?}, {} bytes of input: {difference}", run.input.len());
            }
        }
    }
    found.on_both += on_wasmi;
    if found.different == before {
        println!("{name}: {} runs are the same, {on_wasmi} of them on wasmi as well", runs.len());
    }
    Ok(())
}

fn randoms(wasi: &Path, words: &Words) -> Result<()> {
    if words.random.is_none() && words.minutes.is_none() {
        bail!("one of --programs, --random and --minutes is needed");
    }
    let began = Instant::now();
    let enough = |done: u64| {
        words.random.is_some_and(|most| done >= most)
            || words.minutes.is_some_and(|minutes| began.elapsed() >= Duration::from_secs(60 * minutes))
    };
    let (next, different) = (AtomicU64::new(0), AtomicU64::new(0));
    let found = in_threads(wasi, |pair| {
        let (mut done, mut traps, mut bytes) = (0_u64, 0_u64, 0_usize);
        while different.load(Ordering::Relaxed) < MOST_DIFFERENCES {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if enough(at) {
                break;
            }
            done += 1;
            let seed = words.seed.wrapping_add(at);
            match one_random(pair, seed)? {
                Ok(ended) => {
                    traps += u64::from(ended.code == Some(TRAPPED));
                    bytes += ended.output.len() + ended.errors.len();
                }
                Err(difference) => {
                    different.fetch_add(1, Ordering::Relaxed);
                    println!("DIFFERS seed {seed}: {difference}");
                }
            }
        }
        Ok((done, traps, bytes))
    })?;
    let (done, traps, bytes) =
        found.iter().fold((0, 0, 0), |sum, found| (sum.0 + found.0, sum.1 + found.1, sum.2 + found.2));
    let different = different.into_inner();
    println!(
        "{done} random programs from seed {} on compared with wasmtime's own WASI ({traps} trapped, {bytes} bytes put \
         out) in {:.0} s; {different} differ",
        words.seed,
        began.elapsed().as_secs_f64()
    );
    if different > 0 { bail!("{different} programs differ: look at one with `referee --write SEED`") } else { Ok(()) }
}

/// The program of a seed. The inner error is a difference.
fn one_random(pair: &mut Pair, seed: u64) -> Result<Result<Ended, String>> {
    let random = random::of(seed);
    let module = wat::parse_str(&random.text).with_context(|| format!("program of seed {seed}"))?;
    if let Err(reason) = pair.wasi.load(&module)? {
        bail!("seed {seed}: wasmtime's WASI does not take it: {reason}");
    }
    let program = match pair.ours.load(&module) {
        Ok(program) => program,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let compared = compare::run(&mut pair.ours, &program, &mut pair.wasi, &random.input, &random.arguments)?;
    Ok(compared.map(|same| same.ended))
}
