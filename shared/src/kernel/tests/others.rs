//! Modules that were meant for something else, or whose toolchain pulled something in: each is told what it is.

use super::*;
use crate::{
    job::kinds::command,
    refusal::{Code, Refusal},
};

/// What every kernel exports.
const CONTRACT: &str = r#"(memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 0))
    (func (export "run") (param i32 i32) (result i64) (i64.const 0))"#;
const WASI: &str = r#"(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {text})")).unwrap()
}

fn refused(text: &str) -> Refusal {
    prepare(&module(text)).unwrap_err()
}

#[test]
fn an_initialize_that_a_host_cannot_call_is_refused_at_once() {
    for wrong in ["(param i32)", "(result i32) (i32.const 0)", "(param i64 i64)"] {
        let refusal = refused(&format!(r#"{CONTRACT} (func (export "_initialize") {wrong})"#));
        assert_eq!(refusal.code, Code::InvalidKernel);
        assert!(refusal.message.contains("`_initialize` does not have the type `() -> ()`"), "{refusal:?}");
    }
    assert!(prepare(&module(&format!(r#"{CONTRACT} (func (export "_initialize"))"#))).is_ok());
    // What is no function has no meaning by that name.
    assert!(prepare(&module(&format!(r#"{CONTRACT} (global (export "_initialize") i32 (i32.const 0))"#))).is_ok());
}

#[test]
fn a_program_or_a_library_given_as_a_kernel_is_told_so() {
    for (text, code, what, todo) in [
        (format!(r#"{WASI} {MEMORY} (func (export "_start"))"#), Code::KernelImports, "a program", "`command`"),
        (format!(r#"{MEMORY} (func (export "_start"))"#), Code::InvalidKernel, "a program", "`command`"),
        (format!(r#"{WASI} {MEMORY} (func (export "_initialize"))"#), Code::KernelImports, "a library", "`main`"),
        (format!("{WASI} {CONTRACT}"), Code::KernelImports, "WASI", "wasm32-unknown-unknown"),
    ] {
        let refusal = refused(&text);
        assert_eq!(refusal.code, code, "{refusal:?}");
        assert!(refusal.message.contains(what) && refusal.hint.contains(todo), "{refusal:?}");
    }
}

#[test]
fn a_program_may_export_functions_that_are_named_like_those_of_a_kernel() {
    let start = r#"(func (export "_start"))"#;
    let untyped = r#"(func (export "run")) (func (export "alloc"))"#;
    for (text, is_command) in [
        (format!("{MEMORY} {start} {untyped}"), true),
        (format!(r#"{MEMORY} {start} (func (export "run") (param i32 i32) (result i64) (i64.const 0))"#), true),
        (format!("{WASI} {CONTRACT} {start}"), true),
        (format!("{CONTRACT} {start}"), false),
        (CONTRACT.to_owned(), false),
        (format!("{WASI} {CONTRACT}"), false),
    ] {
        let module = module(&text);
        assert_eq!(command::is_command(&module), is_command, "{text}");
        let works = match is_command {
            true => command::adapt(&module).and_then(|kernel| prepare(&kernel)).is_ok(),
            false => prepare(&module).is_ok() || text.contains("wasi"),
        };
        assert!(works, "{text}");
    }
}

#[test]
fn each_import_is_told_where_it_comes_from_and_what_to_do() {
    for (import, what, todo) in [
        (r#"(import "env" "memory" (memory 1 2 shared))"#, "threads", "-pthread"),
        (r#"(import "wasi" "thread-spawn" (func (param i32) (result i32)))"#, "threads", "-pthread"),
        (r#"(import "env" "__cpp_exception" (tag (param i32)))"#, "exceptions", "-fno-exceptions"),
        (r#"(import "env" "invoke_vi" (func (param i32 i32)))"#, "exceptions", "-fno-exceptions"),
        (r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func (result i32)))"#, "component", "wasm32-wasip1"),
        (r#"(import "wbg" "__wbg_log" (func (param i32)))"#, "wasm-bindgen", "getrandom"),
        (r#"(import "gojs" "runtime.wasmExit" (func (param i32)))"#, "Go", "GOOS=wasip1"),
        (
            r#"(import "env" "emscripten_resize_heap" (func (param i32) (result i32)))"#,
            "Emscripten",
            "-sSTANDALONE_WASM",
        ),
        (r#"(import "env" "abort" (func (param i32 i32 i32 i32)))"#, "AssemblyScript", "--use abort="),
        (r#"(import "env" "compress2" (func (param i32) (result i32)))"#, "not linked", "defines `compress2`"),
        (r#"(import "env" "__stack_pointer" (global (mut i32)))"#, "not linked", "wasm-ld"),
        (r#"(import "env" "memory" (memory 1))"#, "memory of the host", "--import-memory"),
        (r#"(import "GOT.mem" "errno" (global (mut i32)))"#, "shared library", "-fPIC"),
    ] {
        let kernel = if import.contains("(memory") { String::new() } else { CONTRACT.to_owned() };
        let program = if import.contains("(memory") { "" } else { MEMORY };
        let as_program =
            command::adapt(&module(&format!(r#"{import} {program} (func (export "_start"))"#))).unwrap_err();
        for refusal in [refused(&format!("{import} {kernel}")), as_program] {
            assert_eq!(refusal.code, Code::KernelImports, "{import}: {refusal:?}");
            assert!(refusal.message.contains(what) && refusal.hint.contains(todo), "{import}: {refusal:?}");
        }
    }
}

#[test]
fn a_program_that_needs_what_is_not_taken_is_told_its_name() {
    let start = format!(r#"{MEMORY} (func (export "_start"))"#);
    for (text, name) in [
        (format!("(type (struct (field i32))) {start}"), "garbage collection"),
        (format!("(rec (type (func)) (type (func))) {start}"), "garbage collection"),
        (format!("(type $f (func)) (type (cont $f)) {start}"), "stack switching"),
    ] {
        let refusal = command::adapt(&module(&text)).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidKernel);
        assert!(refusal.message.contains(name), "{text}: {refusal:?}");
    }
    for nonsense in [&b""[..], b"\x1f\x8b\x08", b"(module)", b"\x7fELF"] {
        let (as_kernel, as_program) = (prepare(nonsense).unwrap_err(), command::adapt(nonsense).unwrap_err());
        assert_eq!(as_kernel, as_program, "what is no module is neither");
        assert!(as_kernel.message.starts_with("This is no WebAssembly module: it is "), "{as_kernel:?}");
    }
}

#[test]
fn segments_outside_are_named_in_good_grammar() {
    let refusal = refused(&format!("{CONTRACT} (table 1 funcref) (func $f) (elem (i32.const 1) $f)"));
    assert!(refusal.message.starts_with("An element segment of the kernel lies outside"), "{refusal:?}");
    let refusal = refused(&format!(r#"{CONTRACT} (data (i32.const 65536) "x")"#));
    assert!(refusal.message.starts_with("A data segment of the kernel lies outside"), "{refusal:?}");
}

#[test]
fn what_is_refused_of_a_program_is_told_of_the_program_and_of_a_kernel_of_the_kernel() {
    let labels = format!("(block (br_table {} 0 (i32.const 0)))", "0 ".repeat(65_521));
    let locals = format!("(local {})", "i64 ".repeat(8_001));
    let deep = format!("{}{}", "(block ".repeat(4_001), ")".repeat(4_001));
    let memory = MEMORY;
    for (fields, body, what) in [
        // "The … uses", "which no … may".
        (format!("{memory} (tag $t)"), "(throw $t)", "exceptions"),
        (r#"(memory (export "memory") 1 1 shared)"#.to_owned(), "", "threads"),
        (memory.to_owned(), "(drop (i32.atomic.load (i32.const 0)))", "threads"),
        (
            memory.to_owned(),
            "(drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))",
            "relaxed SIMD",
        ),
        (format!("{memory} (table i64 1 funcref)"), "", "memory64"),
        (format!("{memory} (type (struct))"), "", "garbage collection"),
        // "The … has", "The … names".
        (format!("{memory} {}", "(global i32 (i32.const 0))".repeat(10_001)), "", "10000 are accepted"),
        (format!("{memory} {}", "(table 1 funcref)".repeat(9)), "", "at most"),
        // "Function 3 of the …".
        (memory.to_owned(), &*locals, "locals"),
        (memory.to_owned(), &*deep, "nests blocks"),
        (memory.to_owned(), &*labels, "65521 labels"),
        // "A segment of the …".
        (format!(r#"{memory} (data (i32.const 6553600) "x")"#), "", "lies outside"),
    ] {
        let program = module(&format!(r#"{fields} (func (export "_start") {body})"#));
        let refusal = command::adapt(&program).and_then(|kernel| prepare_program(&kernel).map(drop));
        let refusal = refusal.unwrap_err();
        assert!(refusal.message.contains(what), "{what}: {refusal:?}");
        let said = format!("{} {}", refusal.message, refusal.hint.replace("`p2pnet kernel check FILE`", ""));
        assert!(said.contains("program") && !said.to_lowercase().contains("kernel"), "{what}: {refusal:?}");
        let contract = CONTRACT.replace(memory, "");
        let kernel = module(&format!("{fields} {contract} (func {body})"));
        let refusal = prepare_kernel(&kernel).unwrap_err();
        assert!(refusal.message.contains(what), "{what}: {refusal:?}");
        assert!(refusal.message.contains("kernel") && !refusal.message.contains("program"), "{what}: {refusal:?}");
    }
}
