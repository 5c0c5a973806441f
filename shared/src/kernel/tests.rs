//! What the rewrite promises, on the referee.
#![expect(clippy::unwrap_used, clippy::panic)]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

mod bounds;
mod features;
mod golden;
mod memories;
mod others;
mod recovery;
mod segments;

use super::*;
use crate::{
    engine::{CallOutcome, Engine, Input, Limits, Trap, WasmiEngine},
    refusal::Code,
    units::Gas,
};

/// A kernel around the body of `run`, whose input lies at 1024; `extra` holds more fields of the module.
fn kernel(extra: &str, run: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            {extra}
            (func (export "run") (param $ptr i32) (param $len i32) (result i64)
                (local $i i32) (local $j i32) (local $x i64) {run}))"#
    ))
    .unwrap()
}

/// An answer of eight bytes: the value on the stack.
fn answer(value: &str) -> String {
    format!("(i64.store (i32.const 8) {value}) (i64.or (i64.const 8) (i64.shl (i64.const 8) (i64.const 32)))")
}

fn call(kernel: &[u8], input: &[u8], limits: Limits) -> CallOutcome {
    let mut engine = WasmiEngine::new();
    let prepared = prepare(kernel).unwrap();
    let module = engine.load(&prepared.rewritten).unwrap();
    engine.call(&module, Input::of(input), &limits)
}

fn trap(kernel: &[u8], limits: Limits) -> Trap {
    call(kernel, b"", limits).output.unwrap_err()
}

fn refused(kernel: &[u8]) -> Code {
    prepare(kernel).unwrap_err().code
}

fn small() -> Limits {
    Limits { gas: Gas(10_000_000), memory_bytes: 1 << 20, output_bytes: 1 << 10, time_millis: 1_000 }
}

#[test]
fn an_honest_kernel_answers_and_costs_the_same_every_time() {
    let echo = kernel(
        "",
        "(i64.or (i64.extend_i32_u (local.get $len)) (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)))",
    );
    let first = call(&echo, b"hello", small());
    assert_eq!(first.output.as_deref(), Ok(&b"hello"[..]));
    assert!(first.gas.0 > 5 && first.gas.0 < 50, "{:?}", first.gas);
    assert_eq!(call(&echo, b"hello", small()), first);
    assert_eq!(call(&echo, b"", small()).output, Ok(Vec::new()));
}

#[test]
fn gas_grows_with_the_rounds_of_a_loop() {
    let count = |rounds: u32| {
        let run = format!(
            "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const {rounds})))) {}",
            answer("(i64.extend_i32_u (local.get $i))")
        );
        let outcome = call(&kernel("", &run), b"", small());
        assert_eq!(outcome.output.unwrap(), u64::from(rounds).to_le_bytes());
        outcome.gas.0
    };
    let (ten, twenty, thirty) = (count(10), count(20), count(30));
    assert!(twenty > ten);
    assert_eq!(thirty - twenty, twenty - ten);
}

#[test]
fn an_endless_loop_ends_with_its_gas() {
    let endless = kernel("", "(loop $l (br $l)) (unreachable)");
    let outcome = call(&endless, b"", small());
    assert_eq!(outcome, CallOutcome { output: Err(Trap::OutOfGas), gas: small().gas });
    let recursive = kernel("(func $f (call $f) (call $f))", "(call $f) (i64.const 0)");
    assert_eq!(trap(&recursive, small()), Trap::StackOverflow);
    // A start function is paid for too.
    let starting = kernel("(func $s (loop $l (br $l))) (start $s)", "(i64.const 0)");
    assert_eq!(trap(&starting, small()), Trap::OutOfGas);
}

#[test]
fn bulk_operations_cost_by_their_length() {
    let fill = |bytes: u32| {
        let run = format!("(memory.fill (i32.const 0) (i32.const 7) (i32.const {bytes})) (i64.const 0)");
        call(&kernel("", &run), b"", small()).gas.0
    };
    assert_eq!(fill(4_000) - fill(0), 1_000);
    let run = "(loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (br $l)) (unreachable)";
    assert_eq!(trap(&kernel("", run), small()), Trap::OutOfGas);
}

#[test]
fn a_traps_own_reason_is_told_apart() {
    assert_eq!(trap(&kernel("", "unreachable"), small()), Trap::Trapped);
    assert_eq!(trap(&kernel("", "(drop (i32.load (i32.const 65536))) (i64.const 0)"), small()), Trap::Trapped);
    assert_eq!(
        trap(&kernel("", "(drop (i32.div_u (i32.const 1) (local.get $i))) (i64.const 0)"), small()),
        Trap::Trapped
    );
    let table = "(table 1 funcref) (type $t (func))";
    assert_eq!(trap(&kernel(table, "(call_indirect (type $t) (i32.const 0)) (i64.const 0)"), small()), Trap::Trapped);
}

#[test]
fn deep_recursion_ends_where_the_weight_of_frames_says() {
    let depth = |limit: u32| {
        let run = format!("(drop (call $f (i32.const {limit}))) {}", answer("(i64.extend_i32_u (global.get $n))"));
        let f = "(global $n (mut i32) (i32.const 0))
            (func $f (param i32) (result i32)
                (global.set $n (i32.add (global.get $n) (i32.const 1)))
                (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                    (else (call $f (i32.sub (local.get 0) (i32.const 1))))))";
        call(&kernel(f, &run), b"", Limits::default()).output
    };
    assert_eq!(depth(139_000).unwrap(), 139_001u64.to_le_bytes());
    assert_eq!(depth(140_000), Err(Trap::StackOverflow));
    // Returning gives the stack back.
    let run = "(loop $l (drop (call $f (i32.const 100000))) (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 20)))) (i64.const 0)";
    let f = "(func $f (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (call $f (i32.sub (local.get 0) (i32.const 1))))";
    assert_eq!(call(&kernel(f, run), b"", Limits::default()).output, Ok(Vec::new()));
}

#[test]
fn memory_grows_to_the_limit_and_not_a_page_beyond() {
    let grow = |pages: u32| {
        kernel("", &format!("(drop (memory.grow (i32.const {pages}))) {}", answer("(i64.extend_i32_u (memory.size))")))
    };
    assert_eq!(call(&grow(15), b"", small()).output.unwrap(), 16u64.to_le_bytes());
    assert_eq!(trap(&grow(16), small()), Trap::OutOfMemory);
    // Pages cost gas, and what no memory could ever hold is refused as WebAssembly says: -1.
    assert_eq!(trap(&grow(60_000), Limits { memory_bytes: 1 << 32, ..small() }), Trap::OutOfGas);
    assert_eq!(call(&grow(65_536), b"", small()).output.unwrap(), 1u64.to_le_bytes());
    let eater = kernel("", "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (unreachable)");
    assert_eq!(trap(&eater, small()), Trap::OutOfMemory);
    let large = wat::parse_str(
        r#"(module (memory (export "memory") 32768) (func (export "alloc") (param i32) (result i32) i32.const 0)
            (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
    )
    .unwrap();
    assert_eq!(trap(&large, small()), Trap::OutOfMemory);
}

#[test]
fn a_broken_contract_is_a_trap_of_its_own() {
    let null = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 0)
            (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
    )
    .unwrap();
    assert_eq!(call(&null, b"x", small()).output, Err(Trap::BrokenContract));
    assert_eq!(call(&null, b"", small()).output, Ok(Vec::new()));
    // Input beyond memory; output beyond memory; output over the limit.
    assert_eq!(call(&kernel("", "(i64.const 0)"), &[0; 70_000], small()).output, Err(Trap::BrokenContract));
    assert_eq!(trap(&kernel("", "(i64.const 0xffffffff00000010)"), small()), Trap::BrokenContract);
    assert_eq!(trap(&kernel("", "(i64.const -1)"), small()), Trap::BrokenContract, "longer than allowed, and nowhere");
    assert_eq!(trap(&kernel("", "(i64.const 0x0000000000001000)"), small()), Trap::OutputTooLarge);
}

#[test]
fn nans_have_one_pattern() {
    // Zero divided by zero has its sign bit set on x86-64 and not elsewhere.
    let run = answer("(i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0)))");
    assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), 0x7ff8_0000_0000_0000u64.to_le_bytes());
    let run = answer("(i64x2.extract_lane 0 (f32x4.sqrt (f32x4.splat (f32.const -1))))");
    assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), 0x7fc0_0000_7fc0_0000u64.to_le_bytes());
    // One bad lane leaves the other alone.
    let run = answer("(i64x2.extract_lane 0 (f32x4.sqrt (v128.const f32x4 4 -1 9 16)))");
    let lanes = u64::from(2f32.to_bits()) | 0x7fc0_0000 << 32;
    assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), lanes.to_le_bytes());
    // Bits that no arithmetic touched stay.
    let run = answer("(i64.reinterpret_f64 (f64.neg (f64.const nan:0x4000000000001)))");
    assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), 0xfff4_0000_0000_0001u64.to_le_bytes());
}

#[test]
fn modules_that_are_no_kernels_are_told_why() {
    assert_eq!(refused(b""), Code::InvalidKernel);
    assert_eq!(refused(b"\0asm"), Code::InvalidKernel);
    assert_eq!(refused(b"\0asm\x01\0\0\0"), Code::InvalidKernel);
    assert_eq!(prepare_kernel(&vec![0; MOST_MODULE_BYTES + 1]).unwrap_err().code, Code::TooLarge);
    let import = wat::parse_str(r#"(module (import "env" "now" (func)))"#).unwrap();
    let refusal = prepare(&import).unwrap_err();
    assert_eq!(refusal.code, Code::KernelImports);
    assert!(refusal.message.contains("env.now"), "{refusal}");
    let untyped = r#"(module (memory (export "memory") 1) (func (export "alloc")) (func (export "run")))"#;
    assert_eq!(refused(&wat::parse_str(untyped).unwrap()), Code::InvalidKernel);
    for beyond in [
        "(memory i64 1)",
        "(memory 1 1 shared)",
        "(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
        "(memory 1) (memory 1) (memory 1)",
        "(type (struct))",
    ] {
        let module = wat::parse_str(format!("(module {beyond})")).unwrap();
        assert_eq!(rewrite(&module).unwrap_err().code, Code::InvalidKernel, "{beyond}");
    }
}

#[test]
fn hostile_modules_are_refused() {
    let many = |n: usize, what: &str| wat::parse_str(format!("(module {})", what.repeat(n))).unwrap();
    let refused = |module: &[u8]| rewrite(module).unwrap_err().code;
    assert_eq!(refused(&many(1, "(table 4000000000 funcref)")), Code::TooLarge);
    assert_eq!(refused(&many(9, "(table 1 funcref)")), Code::TooLarge);
    let globals = super::bounds::MOST_GLOBALS + super::bounds::added::GLOBALS + 1;
    assert_eq!(refused(&many(globals as usize, "(global i32 (i32.const 0))")), Code::TooLarge);
    assert_eq!(refused(&many(1, &format!("(type (func (param {})))", "i32 ".repeat(1_000)))), Code::TooLarge);
    assert_eq!(refused(&many(1, &format!("(type (func (result {})))", "i32 ".repeat(17)))), Code::TooLarge);
    let deep = format!("(func {} {})", "block ".repeat(5_000), "end ".repeat(5_000));
    assert_eq!(refused(&many(1, &deep)), Code::InvalidKernel);
    let dead = format!("(func unreachable {} {})", "block ".repeat(5_000), "end ".repeat(5_000));
    assert_eq!(refused(&many(1, &dead)), Code::InvalidKernel);
    assert_eq!(refused(&many(1, &format!("(func (local {}))", "v128 ".repeat(5_000)))), Code::InvalidKernel);
    assert_eq!(refused(&many(1, &format!("(func (local {}))", "i32 ".repeat(9_000)))), Code::InvalidKernel);
    let outside = r#"(memory 1) (data (i32.const 2147483647) "x")"#;
    assert_eq!(refused(&many(1, outside)), Code::InvalidKernel);
    assert_eq!(refused(&many(1, "(table 1 funcref) (func $f) (elem (i32.const 1) $f)")), Code::InvalidKernel);
    // A body that claims to hold 2 GiB, and a section that claims to.
    assert_eq!(refused(b"\0asm\x01\0\0\0\x0a\xff\xff\xff\xff\x07\x01"), Code::InvalidKernel);
    assert_eq!(refused(b"\0asm\x01\0\0\0\x01\x05\xff\xff\xff\xff\x0f"), Code::TooLarge);
    let reserved = wat::parse_str(r#"(module (func (export "p2pnet.gas")))"#).unwrap();
    assert_eq!(refused(&reserved), Code::InvalidKernel);
}

#[test]
fn returns_and_branches_out_of_a_body_keep_the_count() {
    // Several results, a branch table to the function's own label, code behind a return.
    let extra = "(func $two (param i32) (result i32 i64)
            (block (block (br_table 0 1 2 (i32.const 5) (i64.const 6) (local.get 0)) ) ) )";
    assert!(wat::parse_str(format!("(module {extra})")).map(|module| rewrite(&module)).is_ok());
    let extra = "(func $two (param i32) (result i32 i64)
            (if (local.get 0) (then (return (i32.const 1) (i64.const 2))))
            (call $nothing)
            (br 0 (i32.const 3) (i64.const 4)) (drop (block (result i32) (unreachable))) (loop (br 0)))
        (func $nothing)";
    for (given, expected) in [(1, 2u64), (0, 4)] {
        let run = format!("(call $two (i32.const {given})) (local.set $x) (drop) {}", answer("(local.get $x)"));
        let outcome = call(&kernel(extra, &run), b"", small());
        assert_eq!(outcome.output.unwrap(), expected.to_le_bytes());
        assert!(outcome.gas.0 > 10);
    }
}

#[test]
fn a_watch_sees_a_kernel_run_and_may_end_it_without_changing_the_count() {
    let rounds = "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 10000000)))) (i64.const 0)";
    let prepared = prepare(&kernel("", rounds)).unwrap();
    let limits = Limits { gas: Gas(1_000_000_000), ..small() };
    let mut engine = WasmiEngine::new();
    let module = engine.load(&prepared.rewritten).unwrap();
    let alone = engine.call(&module, Input::of(b""), &limits);
    assert_eq!(alone.output, Ok(Vec::new()));
    let looks = Arc::new(AtomicU32::new(0));
    let seen = looks.clone();
    engine.set_watch(Some(Arc::new(move || {
        seen.fetch_add(1, Ordering::Relaxed);
        None
    })));
    assert_eq!(engine.call(&module, Input::of(b""), &limits), alone);
    let most = looks.load(Ordering::Relaxed);
    assert!(most > 3 && most < 100, "{most}");
    // The same gas ends it at the same place, watched or not.
    let short = Limits { gas: Gas(alone.gas.0 - 1), ..limits };
    assert_eq!(
        engine.call(&module, Input::of(b""), &short),
        CallOutcome { output: Err(Trap::OutOfGas), gas: short.gas }
    );
    assert_eq!(engine.call(&module, Input::of(b""), &Limits { gas: alone.gas, ..limits }), alone);
    let seen = looks.clone();
    engine.set_watch(Some(Arc::new(move || (seen.fetch_sub(1, Ordering::Relaxed) < 20).then_some(Trap::Cancelled))));
    looks.store(22, Ordering::Relaxed);
    let outcome = engine.call(&module, Input::of(b""), &limits);
    assert_eq!(outcome.output, Err(Trap::Cancelled));
    assert!(outcome.gas < alone.gas);
}

#[test]
fn faults_of_engines_are_gone_round() {
    // wasmi 2.0.0 alone answers 0 here, and with the second kernel leaves its own code.
    let run = answer("(i64.extend_i32_u (select (i32.const 1) (local.get $i) (i32.eqz (local.get $i))))");
    assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), 1u64.to_le_bytes());
    let run = "(i32.const 40000) (v128.const i8x16 0 0 7 0 0 0 0 0 0 0 0 0 0 0 0 0) (v128.store8_lane offset=25000 2)
        (i64.load8_u (i32.const 65000))";
    let run = format!("{run} (local.set $x) {}", answer("(local.get $x)"));
    assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), 7u64.to_le_bytes());
}

/// wasmi 2.0.0 alone answers with other values when a `br_table` carries them to labels at different heights.
#[test]
fn a_branch_table_carries_its_values_to_every_label() {
    let table = "(func $f (param i32) (result i64)
        (block $outer (result i64 i64)
            (i32.const 5)
            (loop $again (param i32) (result i64 i64)
                (block $inner (param i32) (result i64 i64)
                    (drop) (f32.const 1) (i64.const 30) (i64.const 4)
                    (br_table $inner $outer $inner $outer $inner (local.get 0)))
                (drop) (i64.const 1)))
        (i64.add))";
    let vector = "(func $f (param i32) (result i64)
        (block $outer (result v128)
            (block $inner (result v128)
                (f32.const 1) (v128.const i64x2 30 7)
                (br_table $inner $outer $inner $outer $inner (local.get 0)))
            (drop) (v128.const i64x2 27 7))
        (i64x2.extract_lane 0) (i64.const 4) (i64.add))";
    for extra in [table, vector] {
        for (index, expected) in [(0, 31u64), (1, 34), (2, 31), (3, 34), (4, 31), (-1, 31)] {
            let run = answer(&format!("(call $f (i32.const {index}))"));
            assert_eq!(call(&kernel(extra, &run), b"", small()).output.unwrap(), expected.to_le_bytes(), "{index}");
        }
    }
    // To the function's own label, and back to a loop's.
    let own = "(func $f (param i32) (result i64 i64) (local $rounds i64)
        (i64.const 1) (i64.const 2)
        (loop $again (param i64 i64) (result i64 i64)
            (i64.const 10) (i64.mul) (local.set $rounds) (i64.const 1) (i64.add) (f64.const 3) (drop)
            (local.get $rounds)
            (local.set 0 (i32.add (local.get 0) (i32.const 1)))
            (br_table $again $again 1 (i32.sub (local.get 0) (i32.const 1)))))";
    let run = format!(
        "(call $f (i32.const 0)) (local.set $x) (i64.mul (local.get $x)) (local.set $x) {}",
        answer("(local.get $x)")
    );
    assert_eq!(call(&kernel(own, &run), b"", small()).output.unwrap(), (4u64 * 2_000).to_le_bytes());
}

/// wasmi 2.0.0 alone answers with what happens to lie about when a branch leaves a block that took values.
#[test]
fn what_lies_below_the_values_of_a_block_outlives_a_branch_out_of_it() {
    for inside in [
        "block (param f64) (br_if 0 (memory.size)) (drop) (loop) end",
        "block (param f64) (br_if 0 (memory.size)) (drop) (block) end",
        "block (param f64) (result f64) (br_if 0 (memory.size)) (loop (param f64) (result f64)) end (drop)",
        "(memory.size) if (param f64) (drop) else (drop) (loop) end",
    ] {
        let run = format!(
            "(f64.sqrt (f64.const 9)) (f64.const 1) {inside} (i64.reinterpret_f64) (local.set $x) {}",
            answer("(local.get $x)")
        );
        assert_eq!(call(&kernel("", &run), b"", small()).output.unwrap(), 3f64.to_bits().to_le_bytes(), "{inside}");
    }
}

#[test]
fn a_nan_that_only_passes_through_costs_nothing_and_ends_canonical() {
    let through = kernel(
        "",
        &answer("(i64x2.extract_lane 0 (f64x2.add (v128.const f64x2 1 1) (f64x2.sqrt (v128.const f64x2 -1 4))))"),
    );
    assert_eq!(call(&through, b"", small()).output.unwrap(), 0x7ff8_0000_0000_0000u64.to_le_bytes());
    // One check for both operations: behind the sqrt there is none.
    let checks = |kernel: &[u8]| {
        let rewritten = prepare(kernel).unwrap().rewritten;
        rewritten.windows(2).filter(|bytes| *bytes == [0xfd, 0x53]).count() // v128.any_true
    };
    assert_eq!(checks(&through), 1);
    let seen = kernel("", &answer("(i64x2.extract_lane 0 (f64x2.neg (f64x2.sqrt (v128.const f64x2 -1 4))))"));
    assert_eq!(checks(&seen), 1);
    assert_eq!(call(&seen, b"", small()).output.unwrap(), 0xfff8_0000_0000_0000u64.to_le_bytes());
}

#[test]
fn a_trap_leaves_the_same_gas_whatever_the_slices() {
    let run = "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 300000))))
        (drop (i32.load (i32.const -8))) (unreachable)";
    let prepared = prepare(&kernel("", run)).unwrap();
    let outcomes: Vec<CallOutcome> = [None, Some(20_000), Some(200_000), Some(5_000_000)]
        .into_iter()
        .map(|slice| {
            let mut engine = WasmiEngine::new();
            if let Some(slice) = slice {
                engine.set_slice(slice);
                engine.set_watch(Some(Arc::new(|| None)));
            }
            let module = engine.load(&prepared.rewritten).unwrap();
            engine.call(&module, Input::of(b""), &small())
        })
        .collect();
    assert_eq!(outcomes[0].output, Err(Trap::Trapped));
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
}

#[test]
fn calls_in_a_row_without_a_loop_end_with_their_gas() {
    // Two functions that call no other: one counts in the global alone, the other in a local.
    let plain = "(local.set $x (i64.const 1))".repeat(300);
    let looping = format!("{plain} (loop $l (br_if $l (i32.const 0)))");
    for body in [plain, looping] {
        let many = "(call $leaf)".repeat(40_000);
        let kernel = kernel(&format!("(func $leaf (local $x i64) {body})"), &format!("{many} (unreachable)"));
        let limits = Limits { gas: Gas(100_000), ..small() };
        let outcome = call(&kernel, b"", limits);
        assert_eq!(outcome, CallOutcome { output: Err(Trap::OutOfGas), gas: limits.gas });
        let mut engine = WasmiEngine::new();
        let looks = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&looks);
        engine.set_slice(10_000);
        engine
            .set_watch(Some(Arc::new(move || (seen.fetch_add(1, Ordering::Relaxed) == 3).then_some(Trap::Cancelled))));
        let module = engine.load(&prepare(&kernel).unwrap().rewritten).unwrap();
        let stopped = engine.call(&module, Input::of(b""), &Limits { gas: Gas(1 << 40), ..small() });
        assert_eq!(stopped.output, Err(Trap::Cancelled));
        assert_eq!(looks.load(Ordering::Relaxed), 4);
        // With enough, it gets to the end.
        assert_eq!(trap(&kernel, Limits { gas: Gas(1 << 40), ..small() }), Trap::Trapped);
    }
}

#[test]
fn more_gas_does_not_turn_one_trap_into_another() {
    // The gas of the straight run before the trap is not looked at on the way.
    let run = format!("{} (unreachable)", "(local.set $x (i64.const 1))".repeat(100));
    let kernel = kernel("", &run);
    let needed = call(&kernel, b"", small()).gas;
    assert_eq!(trap(&kernel, Limits { gas: Gas(needed.0 - 1), ..small() }), Trap::OutOfGas);
    assert_eq!(trap(&kernel, Limits { gas: needed, ..small() }), Trap::Trapped);
}

#[test]
fn a_body_that_the_rewrite_makes_too_large_for_browsers_is_refused() {
    let run = "(loop)".repeat(500_000);
    assert_eq!(refused(&kernel("", &format!("{run} (unreachable)"))), Code::TooLarge);
}
