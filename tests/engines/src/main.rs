//! How much slower kernels are on each engine than the same source as native Rust: `cargo xtask bench engines`.
//!
//! Every engine's output must be the native run's, byte for byte. Times are processor time of the one thread that computes,
//! natively and in the browser's worker alike, taken by turns; the median counts. Read the ratios.

mod clock;
mod here;
mod tab;
mod table;

use std::{env, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernels_bench::{KERNELS, answer, input};
use p2pnet_e2e::{
    kernels,
    process::given,
    report::{Row, write_as},
};
use p2pnet_native::engine::with_room;
use p2pnet_shared::{id::Hash, kernel};

use self::{clock::own_time, here::Here, tab::Tab};

/// Turns; an odd number, so that there is a median.
const TURNS: usize = 7;

/// A native run of less is repeated, so that the clock's grain does not show.
const LEAST: Duration = Duration::from_millis(10);

/// Calls after which a compiler's best code must be there.
const MOST_WARM_UPS: usize = 12;

/// Tiny tasks in one measurement.
const TINY_TASKS: usize = 100_000;

/// Size and rounds of a program, by how slow the engine is: its native run takes some 25 ms, some 3 ms, or less.
struct Load {
    compiled: (u32, u32),
    interpreted: (u32, u32),
    interpreted_in_tab: (u32, u32),
}

/// One for each of [`KERNELS`].
const LOADS: [Load; KERNELS.len()] = [
    Load { compiled: (200_000, 5), interpreted: (200_000, 1), interpreted_in_tab: (100_000, 1) },
    Load { compiled: (150_000, 2), interpreted: (100_000, 1), interpreted_in_tab: (30_000, 1) },
    Load { compiled: (4_000_000, 3), interpreted: (4_000_000, 1), interpreted_in_tab: (1_000_000, 1) },
    Load { compiled: (100_000, 8), interpreted: (100_000, 1), interpreted_in_tab: (20_000, 1) },
    Load { compiled: (256, 35), interpreted: (256, 2), interpreted_in_tab: (256, 1) },
    Load { compiled: (1 << 20, 8), interpreted: (1 << 20, 1), interpreted_in_tab: (1 << 20, 1) },
    Load { compiled: (64, 1_000), interpreted: (64, 30), interpreted_in_tab: (64, 10) },
];

/// An engine that is measured, with or without the rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The native compiler.
    Wasmtime,
    /// The browser's compiler.
    Chromium,
    /// The interpreter, natively.
    Wasmi,
    /// The interpreter, compiled to WebAssembly as in the page.
    WasmiInChromium,
}

impl Engine {
    const ALL: [Self; 4] = [Self::Wasmtime, Self::Chromium, Self::Wasmi, Self::WasmiInChromium];

    fn title(self) -> &'static str {
        match self {
            Self::Wasmtime => "wasmtime",
            Self::Chromium => "Chromium worker",
            Self::Wasmi => "wasmi",
            Self::WasmiInChromium => "wasmi in Chromium",
        }
    }

    fn load(self, load: &Load) -> (u32, u32) {
        match self {
            Self::Wasmtime | Self::Chromium => load.compiled,
            Self::Wasmi => load.interpreted,
            Self::WasmiInChromium => load.interpreted_in_tab,
        }
    }
}

/// An engine, and whether it runs rewritten kernels.
pub type Variant = (Engine, bool);

/// What a variant is called.
pub fn title((engine, rewritten): Variant) -> String {
    format!("{}{}", engine.title(), if rewritten { "+rewrite" } else { "" })
}

/// All of them, in the order of the tables.
pub fn variants() -> Vec<Variant> {
    Engine::ALL.into_iter().flat_map(|engine| [(engine, true), (engine, false)]).collect()
}

fn main() -> Result<()> {
    // One thread with all the stack that kernels need: none is made for each call.
    with_room(|| tokio::runtime::Runtime::new()?.block_on(measure()))?
}

async fn measure() -> Result<()> {
    let only = env::args().nth(1);
    let folder = given("P2PNET_BENCH_PAGE")?;
    let read = |name: &str| fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"));
    let original = read("kernels.wasm")?;
    let rewritten = kernel::prepare(&original).map_err(|refusal| anyhow::anyhow!("{refusal}"))?.rewritten;
    let tiny = STANDARD.decode(kernels::upper_case())?;
    let mut here = Here::new(&original, &rewritten)?;
    let mut tab = Tab::open(&folder, tiny.clone()).await?;
    let mut rows = Vec::new();
    for (index, (program, load)) in KERNELS.iter().zip(&LOADS).enumerate() {
        if only.as_ref().is_some_and(|only| !program.name.contains(only.as_str())) {
            continue;
        }
        for loads in [vec![Engine::Wasmtime, Engine::Chromium], vec![Engine::Wasmi], vec![Engine::WasmiInChromium]] {
            let (size, rounds) = loads.first().context("no engine")?.load(load);
            let input = input(u32::try_from(index)?, size, rounds);
            rows.extend(program_rows(program.name, &input, &loads, &mut here, &mut tab).await?);
        }
        eprintln!("   {}", program.name);
    }
    if only.is_some() {
        return table::print(&rows);
    }
    rows.extend(table::means(&rows));
    rows.push(here.tiny(&tiny, TINY_TASKS)?);
    rows.push(tab.tiny(TINY_TASKS).await?);
    write_as("engines", &rows, &table::matrix(&rows))
}

/// Measures a program natively and on `engines`, by turns.
async fn program_rows(
    name: &str,
    input: &[u8],
    engines: &[Engine],
    here: &mut Here,
    tab: &mut Tab,
) -> Result<Vec<Row>> {
    let variants: Vec<Variant> = variants().into_iter().filter(|(engine, _)| engines.contains(engine)).collect();
    let (once, output) = native(input, 1);
    let expected = Hash::of(&output);
    let repeats = u32::try_from(LEAST.as_nanos() / once.as_nanos().max(1))?.saturating_add(1);
    for variant in &variants {
        warm_up(*variant, input, here, tab).await?;
    }
    let mut native_times = Vec::new();
    let mut times = vec![Vec::new(); variants.len()];
    for _ in 0..TURNS {
        native_times.push(native(input, repeats).0);
        for (variant, times) in variants.iter().zip(&mut times) {
            let (time, hash) = call(*variant, input, here, tab).await?;
            ensure!(hash == expected, "{name} on {}: another output than the native one", title(*variant));
            times.push(time);
        }
    }
    let reference = millis(median(&mut native_times));
    Ok(variants
        .iter()
        .zip(&mut times)
        .map(|(variant, times)| {
            Row::new(name, &title(*variant), millis(median(times)), "ms").over(reference, "native Rust, same source")
        })
        .collect())
}

/// The browser compiles a function anew, and better, once it has proved hot, and uses that from the next call on: calls are
/// repeated until three one after another are within a tenth of each other.
async fn warm_up((engine, rewritten): Variant, input: &[u8], here: &mut Here, tab: &mut Tab) -> Result<()> {
    let least = match engine {
        Engine::Chromium | Engine::WasmiInChromium => 3,
        Engine::Wasmtime | Engine::Wasmi => 1,
    };
    let mut last: Vec<Duration> = Vec::new();
    for _ in 0..MOST_WARM_UPS {
        last.push(call((engine, rewritten), input, here, tab).await?.0);
        let settled = last.len().checked_sub(least).and_then(|from| last.get(from..)).is_some_and(|last| {
            let (short, long) = (last.iter().min().copied(), last.iter().max().copied());
            long.unwrap_or_default() <= short.unwrap_or_default().mul_f64(1.1)
        });
        if settled {
            break;
        }
    }
    Ok(())
}

async fn call(variant: Variant, input: &[u8], here: &mut Here, tab: &mut Tab) -> Result<(Duration, Hash)> {
    match variant {
        (Engine::Wasmtime | Engine::Wasmi, _) => {
            let began = own_time();
            let output = here.call(variant, input)?;
            Ok((own_time() - began, Hash::of(&output)))
        }
        (Engine::Chromium | Engine::WasmiInChromium, _) => tab.call(variant, input).await,
    }
}

/// Mean time and output of `repeats` native runs.
fn native(input: &[u8], repeats: u32) -> (Duration, Vec<u8>) {
    let began = own_time();
    let mut output = Vec::new();
    for _ in 0..repeats {
        output = answer(std::hint::black_box(input));
    }
    ((own_time() - began) / repeats, output)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
