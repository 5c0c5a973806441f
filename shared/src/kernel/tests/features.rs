//! What today's compilers write beyond WebAssembly 2.0, on the referee, and what of it is refused by its name.

use super::*;

/// An answer of four bytes: the number on the stack.
fn number(value: &str) -> String {
    answer(&format!("(i64.extend_i32_u {value})"))
}

fn given(kernel: &[u8]) -> u64 {
    u64::from_le_bytes(call(kernel, b"", Limits::default()).output.unwrap().try_into().unwrap())
}

#[test]
fn tail_calls_take_no_stack() {
    let extra = "(func $count (param i32 i64) (result i64)
            (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $again (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 2))))
        (func $again (param i32 i64) (result i64) (local v128 v128)
            (return_call_indirect (type $both) (local.get 0) (local.get 1) (i32.const 0)))
        (type $both (func (param i32 i64) (result i64))) (table 1 funcref) (elem (i32.const 0) $count)";
    let kernel = kernel(extra, &answer("(call $count (i32.const 1000000) (i64.const 0))"));
    assert_eq!(given(&kernel), 2_000_000);
    // What a tail call gives back can be used again: ordinary calls behind it go as deep as before.
    let extra = "(func $deep (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
            (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
        (func $over (param i32) (result i32) (return_call $deep (local.get 0)))";
    let run = "(loop $l (drop (call $over (i32.const 40000))) (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 20)))) (i64.const 0)";
    assert_eq!(call(&super::kernel(extra, run), b"", Limits::default()).output, Ok(Vec::new()));
}

#[test]
fn an_endless_chain_of_tail_calls_ends_with_its_gas_and_can_be_stopped() {
    for extra in [
        "(func $f (return_call $f))",
        "(func $f (return_call $g)) (func $g (return_call $f))",
        "(func $f (return_call_indirect (type $t) (i32.const 0))) (type $t (func)) (table 1 funcref) (elem (i32.const 0) $f)",
    ] {
        let kernel = kernel(extra, "(call $f) (unreachable)");
        assert_eq!(
            call(&kernel, b"", small()),
            CallOutcome { output: Err(Trap::OutOfGas), gas: small().gas },
            "{extra}"
        );
        let mut engine = WasmiEngine::new();
        engine.set_slice(10_000);
        engine.set_watch(Some(Arc::new(|| Some(Trap::Cancelled))));
        let module = engine.load(&prepare(&kernel).unwrap().rewritten).unwrap();
        assert_eq!(engine.call(&module, Input::of(b""), &small()).output, Err(Trap::Cancelled), "{extra}");
    }
}

#[test]
fn ten_thousand_calls_inside_one_another_work_with_up_to_190_locals_and_operands_each() {
    // Every local is used behind the call; two operands lie on the stack at the deepest place.
    let deep = |locals: u64, calls: u64, start: bool| {
        let set: String = (1..locals).map(|n| format!("(local.set {n} (i64.extend_i32_u (local.get 0)))")).collect();
        let sum: String = (1..locals).map(|n| format!("(i64.add (local.get {n}))")).collect();
        let extra = format!(
            "(func $f (param i32) (result i64) (local {}) {set}
                (if (i32.eqz (local.get 0)) (then (return (i64.const 0))))
                (call $f (i32.sub (local.get 0) (i32.const 1))) {sum})
            (global $g (mut i64) (i64.const 0)) (func $start (global.set $g (call $f (i32.const {calls})))) {}",
            "i64 ".repeat(locals as usize - 1),
            if start { "(start $start)" } else { "" }
        );
        let run = answer(if start { "(global.get $g)" } else { "(block (result i64) (call $start) (global.get $g))" });
        call(&kernel(&extra, &run), b"", Limits::default()).output
    };
    for locals in [10, 40, 78, 91, 99, 100, 150, 188] {
        let sum = (locals - 1) * 10_000 * 10_001 / 2;
        assert_eq!(deep(locals, 10_000, false), Ok(sum.to_le_bytes().to_vec()), "{locals}");
        assert_eq!(deep(locals, 10_000, true), Ok(sum.to_le_bytes().to_vec()), "{locals}, in the start function");
    }
    // At the bound itself, whatever the frames: each weighs 96 bytes and 8 for each local and operand.
    for locals in [1, 10, 40, 100, 188, 1_000] {
        let most = STACK_BYTES / (96 + 8 * (locals + 2));
        let few_others = 4;
        assert!(deep(locals, most - few_others, false).is_ok(), "{locals} locals, {most} calls");
        assert_eq!(deep(locals, most, false), Err(Trap::StackOverflow), "{locals} locals, {most} calls");
    }
}

#[test]
fn extended_constants_are_what_they_come_to() {
    let extra = "(global $g i32 (i32.mul (i32.add (i32.const 3) (i32.const 4)) (i32.sub (i32.const 10) (i32.const 4))))
        (global $l (mut i64) (i64.sub (i64.const 1) (i64.mul (i64.const 2) (i64.add (i64.const 1) (i64.const 4)))))
        (data (offset (i32.add (i32.const 40) (i32.const 60))) \"e\")
        (table 3 funcref) (elem (offset (i32.sub (i32.const 5) (i32.const 3))) func $seven)
        (func $seven (result i32) (i32.const 7)) (type $t (func (result i32)))";
    let value = "(i32.add (i32.add (global.get $g) (i32.wrap_i64 (global.get $l)))
        (i32.add (i32.load8_u (i32.const 100)) (call_indirect (type $t) (i32.const 2))))";
    let kernel = kernel(extra, &number(value));
    assert_eq!(given(&kernel), 42 - 9 + 101 + 7);
    // Engines that know no extended constants take it.
    let mut validator = wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::WASM2);
    validator.validate_all(&prepare(&kernel).unwrap().rewritten).unwrap();
    let outside = "(data (offset (i32.sub (i32.const 0) (i32.const 1))) \"xy\")";
    assert_eq!(refused(&super::kernel(outside, "(i64.const 0)")), Code::InvalidKernel);
}

#[test]
fn an_externref_can_only_be_null() {
    let extra = "(table $t 2 10 externref) (global $g (mut externref) (ref.null extern))
        (elem $e externref (ref.null extern) (ref.null extern))
        (type $takes (func (param externref) (result externref)))
        (func $through (param $r externref) (result externref) (local $kept externref)
            (local.set $kept (block (result externref) (select (result externref) (local.get $r) (ref.null extern) (i32.const 0))))
            (if (result externref) (ref.is_null (local.get $kept)) (then (local.get $kept)) (else (unreachable))))
        (table $f 1 funcref) (elem (table $f) (i32.const 0) func $through)";
    let value = "(table.set $t (i32.const 0) (call $through (ref.null extern)))
        (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2))
        (table.fill $t (i32.const 0) (global.get $g) (i32.const 2))
        (global.set $g (table.get $t (i32.const 1)))
        (global.set $g (loop (result externref) (call_indirect $f (type $takes) (global.get $g) (i32.const 0))))
        (i32.store (i32.const 8) (i32.add (table.grow $t (ref.null extern) (i32.const 5))
            (i32.add (table.size $t) (i32.shl (ref.is_null (global.get $g)) (i32.const 8)))))
        (i64.or (i64.const 4) (i64.shl (i64.const 8) (i64.const 32)))";
    let kernel = kernel(extra, value);
    assert_eq!(call(&kernel, b"", small()).output.unwrap(), (2u32 + 7 + 256).to_le_bytes());
    // wasmtime is built without what it needs for `externref`.
    let plain = wasmparser::WasmFeatures::WASM2.difference(wasmparser::WasmFeatures::GC_TYPES);
    wasmparser::Validator::new_with_features(plain).validate_all(&prepare(&kernel).unwrap().rewritten).unwrap();
}

#[test]
fn tags_alone_do_no_harm() {
    let kernel = kernel("(tag $t (export \"t\") (param i32)) (tag)", &number("(i32.const 9)"));
    assert_eq!(given(&kernel), 9);
}

#[test]
fn what_a_kernel_may_not_use_is_refused_by_its_name() {
    for (module, name) in [
        ("(tag $t) (func (throw $t))", "exceptions"),
        ("(func (try_table))", "exceptions"),
        ("(func (param exnref))", "exceptions"),
        ("(func (local exnref))", "exceptions"),
        ("(table 1 exnref)", "exceptions"),
        ("(memory i64 1)", "memory64"),
        ("(table i64 1 funcref)", "memory64"),
        ("(memory 1 1 shared)", "threads"),
        ("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", "threads"),
        ("(memory 1 (pagesize 1))", "custom page sizes"),
        ("(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))", "relaxed SIMD"),
        (
            "(func (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))) (drop))",
            "wide arithmetic",
        ),
        ("(type $t (func)) (func (param (ref $t)))", "function references"),
        ("(type $t (func)) (elem declare func $f) (func $f (call_ref $t (ref.func $f)))", "function references"),
        ("(type (struct))", "gc"),
        ("(type (array i32))", "gc"),
        ("(func (drop (ref.i31 (i32.const 0))))", "gc"),
        ("(func (param anyref))", "gc"),
        ("(memory 1) (memory 1) (memory 1)", "3 memories"),
    ] {
        let bytes = wat::parse_str(format!("(module {module})")).unwrap();
        let refusal = rewrite(&bytes).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidKernel, "{module}");
        assert!(refusal.message.contains(name), "{module}: {refusal}");
        assert!(!refusal.hint.is_empty(), "{module}");
    }
    // What Emscripten's exceptions and Rust's unwinding were before they became a standard.
    let legacy = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x08\x01\x06\0\x06\x40\x19\x0b\x0b";
    assert!(rewrite(legacy).unwrap_err().message.contains("exceptions"));
    let component = wat::parse_str("(component)").unwrap();
    assert!(rewrite(&component).unwrap_err().message.contains("component"));
    // Whoever submits hears the same, though the contract is looked at first.
    assert!(prepare(&component).unwrap_err().message.contains("component"));
    let with_structures = prepare(&kernel("(type (struct))", "(i64.const 0)")).unwrap_err();
    assert!(with_structures.message.contains("gc"), "{with_structures}");
}

#[test]
fn what_a_browser_would_refuse_is_refused_at_once() {
    let labels = |count: usize| {
        let run = format!("(block (br_table {} 0 (local.get $len))) (i64.const 0)", "0 ".repeat(count));
        prepare(&kernel("", &run))
    };
    assert!(labels(65_520).is_ok());
    let refusal = labels(65_521).unwrap_err();
    assert_eq!(refusal.code, Code::TooLarge);
    assert!(refusal.message.contains("65521 labels"), "{refusal}");
}

#[test]
fn tables_of_a_million_elements_work_and_grow_no_further_than_all_may_together() {
    for (size, last) in [(131_072, 131_071), (200_000, 199_999), (1_000_000, 999_999)] {
        let extra = format!(
            "(table {size} funcref) (elem (i32.const {last}) $f) (func $f (result i32) (i32.const 5)) (type $t (func (result i32)))"
        );
        assert_eq!(given(&kernel(&extra, &number(&format!("(call_indirect (type $t) (i32.const {last}))")))), 5);
    }
    let growing = |tables: &str| number(&format!("(table.grow {tables} (ref.null func) (i32.const 600000))"));
    assert_eq!(given(&kernel("(table $t 1 funcref)", &growing("$t"))), 1);
    assert_eq!(given(&kernel("(table $t 1 funcref) (table 1 funcref)", &growing("$t"))), u64::from(u32::MAX));
    assert_eq!(refused(&kernel("(table 1000000 funcref) (table 100000 funcref)", "(i64.const 0)")), Code::TooLarge);
}
