//! Kernels that are asked once more behind a trap, on the referee.

use super::*;

/// A kernel that the first time ends by `first`, and then answers why and how it was asked.
fn twice(recovers: &str, first: &str) -> Vec<u8> {
    let extra = format!(
        r#"(func (export "ends_early")) {recovers} (global $asked (mut i32) (i32.const 0))
           (func $why (export "trap_reason") (result i32) (i32.const 9))
           (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))"#
    );
    let run = format!(
        "(if (i32.eqz (global.get $asked)) (then (global.set $asked (i32.const 1)) {first}))
         ;; That needs some stack.
         {}",
        answer("(i64.extend_i32_u (call $why))")
    );
    kernel(&extra, &run)
}

const RECOVERS: &str = r#"(func (export "recovers"))"#;
const WANTS_MEMORY: &str = "(drop (memory.grow (i32.const 60)))";
const RECURSES: &str = "(drop (call $deep (i32.const 0)))";

#[test]
fn a_kernel_that_recovers_is_asked_once_more_behind_every_trap_and_can_tell_which() {
    for (first, reason) in [("unreachable", 0u64), (WANTS_MEMORY, 2), (RECURSES, 3)] {
        assert_eq!(call(&twice(RECOVERS, first), b"", small()).output.unwrap(), reason.to_le_bytes(), "{first}");
    }
    let endless = call(&twice(RECOVERS, "(loop $on (br $on))"), b"", small());
    assert_eq!(endless.output, Err(Trap::OutOfGas), "gas is for the whole call");
}

#[test]
fn a_kernel_that_does_not_say_so_does_not_recover() {
    assert_eq!(call(&twice("", "unreachable"), b"", small()).output.unwrap(), 0u64.to_le_bytes());
    assert_eq!(trap(&twice("", WANTS_MEMORY), small()), Trap::OutOfMemory);
    assert_eq!(trap(&twice("", RECURSES), small()), Trap::StackOverflow);
}

#[test]
fn what_has_a_meaning_by_its_name_and_another_type_is_refused_by_name() {
    for (name, export) in [
        ("recovers", r#"(func (export "recovers") (param i32))"#),
        ("recovers", r#"(global (export "recovers") i32 (i32.const 0))"#),
        ("ends_early", r#"(global (export "ends_early") i32 (i32.const 0))"#),
        ("trap_reason", r#"(func (export "trap_reason") (result i64) (i64.const 0))"#),
        ("gas_used", r#"(func (export "gas_used") (result i32) (i32.const 0))"#),
        ("gas_used", r#"(func (export "gas_used"))"#),
        ("gas_used", r#"(table (export "gas_used") 1 funcref)"#),
    ] {
        let refusal = prepare(&kernel(export, &answer("(i64.const 0)"))).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidKernel, "{export}");
        assert!(refusal.message.contains(&format!("`{name}`")), "{export}: {refusal}");
    }
}

#[test]
fn a_second_trap_is_the_end() {
    let always = kernel(&format!(r#"(func (export "ends_early")) {RECOVERS}"#), WANTS_MEMORY_AND_ENDS);
    assert_eq!(trap(&always, small()), Trap::OutOfMemory);
}

const WANTS_MEMORY_AND_ENDS: &str = "(drop (memory.grow (i32.const 60))) (i64.const 0)";
