//! Random valid modules, called with random arguments, some of them NaNs.

use std::fmt;

use anyhow::{Context, Result, anyhow};
use arbitrary::Unstructured;
use p2pnet_shared::kernel::{self, Nans};
use wasmparser::ValType;

use crate::{
    compare::Pair,
    machine::{Machine, Value, Wasmi},
};

/// Gas of all calls of one module.
const GAS: i64 = 300_000;
/// Pages that a module may grow to.
const PAGES: i32 = 48;
/// The same where instances are set back: what those may have.
const PAGES_SET_BACK: i32 = 32;
/// How often.
const TIMES_SET_BACK: usize = 3;
/// One module in so many is set back on the second machine, the others on wasmi.
const SET_BACK_ON_SECOND: u64 = 4;
/// Calls of one module.
const MOST_CALLS: usize = 12;

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Modules that were rewritten and run.
    pub modules: u64,
    /// Modules that were refused: most lie beyond a bound.
    pub refused: u64,
    /// Calls compared.
    pub calls: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// Calls after which an instance was set back, and was then like a fresh one.
    pub set_back: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { modules, refused, calls, traps, set_back } = self;
        write!(
            f,
            "{modules} modules and {calls} calls compared ({traps} ended in a trap; {refused} modules were refused; \
             instances were set back {set_back} times)"
        )
    }
}

/// Makes the module of `seed`, runs it on both machines, and adds to `seen`. An error is a difference.
pub fn run(machines: [&dyn Machine; 2], seed: u64, seen: &mut Seen) -> Result<()> {
    let mut chance = Chance(seed);
    let Some(module) = module(&mut chance) else { return Ok(()) };
    compare_module(machines, &module, &mut chance, seen).with_context(|| format!("module of seed {seed}"))
}

/// The same for a given module; `seed` makes the arguments.
pub fn run_module(machines: [&dyn Machine; 2], module: &[u8], seed: u64, seen: &mut Seen) -> Result<()> {
    compare_module(machines, module, &mut Chance(seed), seen)
}

fn compare_module(machines: [&dyn Machine; 2], module: &[u8], chance: &mut Chance, seen: &mut Seen) -> Result<()> {
    let Ok(rewritten) = kernel::rewrite(module) else {
        seen.refused += 1;
        return Ok(());
    };
    seen.modules += 1;
    // NaNs that are made canonical late must look as if they had been at once.
    let eager = kernel::rewrite_with(module, Nans::Eager).map_err(|refusal| anyhow!("{refusal}"))?;
    let wasmi = Wasmi::new();
    compare_with([&wasmi, &wasmi], [&rewritten, &eager], &mut Chance(chance.0), &mut Seen::default())
        .context("late and eager")?;
    if let Some(form) = kernel::rewindable(&rewritten) {
        // Compiling takes by far the longest: on the second machine it is tried now and then.
        let second: &dyn Machine = if chance.0.is_multiple_of(SET_BACK_ON_SECOND) { machines[1] } else { &wasmi };
        set_back([&wasmi, second], [&rewritten, &form], &mut Chance(chance.0), seen).context("set back")?;
    }
    compare(machines, &rewritten, chance, seen)
}

/// Runs the second form in one instance that is set back after some calls, and the first in a fresh instance each time.
fn set_back(machines: [&dyn Machine; 2], forms: [&[u8]; 2], chance: &mut Chance, seen: &mut Seen) -> Result<()> {
    let mut pair = Pair::start_each(machines, forms, GAS, PAGES_SET_BACK)?;
    if pair.begin()?.is_err() {
        return Ok(());
    }
    pair.save()?;
    let functions = pair.exports().functions.clone();
    for _ in 0..TIMES_SET_BACK {
        for _ in 0..=chance.below(3) {
            let Some((name, parameters)) = functions.get(chance.below(functions.len().max(1))) else { return Ok(()) };
            let arguments: Vec<Value> = parameters.iter().map(|ty| chance.value(*ty)).collect();
            if pair.call(name, &arguments)?.is_err() {
                break;
            }
        }
        if !pair.set_back(machines[0], forms[0], GAS, PAGES_SET_BACK)? {
            return Ok(());
        }
        seen.set_back += 1;
    }
    Ok(())
}

fn compare(machines: [&dyn Machine; 2], rewritten: &[u8], chance: &mut Chance, seen: &mut Seen) -> Result<()> {
    compare_with(machines, [rewritten; 2], chance, seen)
}

/// Runs `rewritten`, one form for each machine.
fn compare_with(
    machines: [&dyn Machine; 2],
    rewritten: [&[u8]; 2],
    chance: &mut Chance,
    seen: &mut Seen,
) -> Result<()> {
    let mut pair = Pair::start_each(machines, rewritten, GAS, PAGES)?;
    if pair.begin()?.is_err() {
        seen.traps += 1;
        return Ok(());
    }
    let functions = pair.exports().functions.clone();
    for (name, parameters) in functions.iter().take(MOST_CALLS) {
        let arguments: Vec<Value> = parameters.iter().map(|ty| chance.value(*ty)).collect();
        seen.calls += 1;
        if pair.call(name, &arguments)?.is_err() {
            seen.traps += 1;
            // A kernel's instance is dropped after a trap.
            pair = Pair::start_each(machines, rewritten, GAS, PAGES)?;
            if pair.begin()?.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The module of a seed, for looking at one.
pub fn module_of(seed: u64) -> Option<Vec<u8>> {
    module(&mut Chance(seed))
}

fn module(chance: &mut Chance) -> Option<Vec<u8>> {
    let length = 256 + chance.below(6_000);
    let bytes: Vec<u8> = std::iter::repeat_with(|| chance.number().to_le_bytes()).flatten().take(length).collect();
    let mut source = Unstructured::new(&bytes);
    let config = wasm_smith::Config {
        max_imports: 0,
        // Without a type there is no function, and without a function nothing to compare.
        min_types: 1,
        min_funcs: 2,
        max_funcs: 12,
        max_instructions: 400,
        export_everything: true,
        max_memories: 1 + usize::from(chance.below(3) == 0),
        min_memories: u32::from(chance.below(4) > 0),
        max_memory32_bytes: 3 << 20,
        memory_max_size_required: false,
        max_tables: 3,
        max_table_elements: 1_000,
        allow_start_export: true,
        bulk_memory_enabled: true,
        reference_types_enabled: chance.below(3) == 0,
        multi_value_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        simd_enabled: chance.below(4) > 0,
        relaxed_simd_enabled: false,
        exceptions_enabled: false,
        tail_call_enabled: chance.below(2) == 0,
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        memory64_enabled: false,
        gc_enabled: false,
        extended_const_enabled: chance.below(2) == 0,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        disallow_traps: chance.below(2) > 0,
        canonicalize_nans: false,
        generate_custom_sections: false,
        ..wasm_smith::Config::default()
    };
    Some(wasm_smith::Module::new(config, &mut source).ok()?.to_bytes())
}

/// A small generator of our own (splitmix64), so that a seed means the same for ever.
pub struct Chance(pub u64);

impl Chance {
    /// Sixty-four random bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).unwrap_or(0)
    }

    fn value(&mut self, ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(self.bits() as i32),
            ValType::I64 => Value::I64(self.bits().cast_signed()),
            ValType::F32 => Value::F32(self.bits_32()),
            ValType::F64 => Value::F64(self.bits()),
            ValType::V128 => {
                let quarter = |bits: u32, place: u32| u128::from(bits) << (32 * place);
                Value::V128((0..4).map(|place| quarter(self.bits_32(), place)).sum())
            }
            ValType::Ref(_) => Value::Function(false),
        }
    }

    /// Bits of small numbers, of 64-bit floats and their NaNs, or any.
    fn bits(&mut self) -> u64 {
        const KNOWN: [f64; 8] = [0.0, -0.0, 1.0, -1.5, f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324];
        match self.below(4) {
            0 => self.number() % 64,
            1 => KNOWN[self.below(KNOWN.len())].to_bits(),
            2 => 0x7ff0_0000_0000_0000 | (self.number() & 0x800f_0000_0000_0003),
            _ => self.number(),
        }
    }

    fn bits_32(&mut self) -> u32 {
        const KNOWN: [f32; 8] = [0.0, -0.0, 1.0, -1.5, f32::INFINITY, f32::NEG_INFINITY, 1e38, 1e-45];
        match self.below(3) {
            0 => KNOWN[self.below(KNOWN.len())].to_bits(),
            1 => 0x7f80_0000 | (self.number() as u32 & 0x807f_0003),
            _ => self.number() as u32,
        }
    }
}
