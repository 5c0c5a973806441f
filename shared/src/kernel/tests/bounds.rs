//! What stands in the table of bounds, exactly at each and one beyond it: what a program becomes on its way to a kernel is
//! none of its author's business.

use super::*;
use crate::{
    job::kinds::command,
    refusal::{Code, Refusal},
};

const CLOCK: &str = r#"(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))"#;
const START: &str = r#"(func (export "_start"))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) (i32.const 8))"#;
const RUN: &str = r#"(func (export "run") (param i32 i32) (result i64) (i64.const 0))"#;

/// What is there already of what is counted: in a program with as many imports as it may have, and in a kernel.
struct Counted {
    what: &'static str,
    most: usize,
    in_program: usize,
    in_kernel: usize,
    /// One more of it.
    one: fn(usize) -> String,
}

const COUNTED: [Counted; 7] = [
    Counted { what: "functions", most: 100_000, in_program: 1, in_kernel: 2, one: |_| "(func)".to_owned() },
    Counted {
        what: "globals",
        most: 10_000,
        in_program: 0,
        in_kernel: 0,
        one: |_| "(global i32 (i32.const 0))".to_owned(),
    },
    Counted { what: "types", most: 20_000, in_program: 2, in_kernel: 2, one: a_type },
    Counted {
        what: "exports",
        most: 10_000,
        in_program: 2,
        in_kernel: 3,
        one: |n| format!(r#"(export "e{n}" (func $given))"#),
    },
    Counted { what: "tables", most: 8, in_program: 0, in_kernel: 0, one: |_| "(table 1 funcref)".to_owned() },
    Counted {
        what: "element segments",
        most: 10_000,
        in_program: 0,
        in_kernel: 0,
        one: |_| "(elem func $given)".to_owned(),
    },
    Counted {
        what: "data segments",
        most: 200_000,
        in_program: 0,
        in_kernel: 0,
        one: |_| r#"(data (i32.const 0) "x")"#.to_owned(),
    },
];

/// A type that no function has, and each another.
fn a_type(n: usize) -> String {
    let bits = (0..15).map(|bit| if n >> bit & 1 == 0 { "f32 " } else { "f64 " });
    format!("(type (func (param {}) (result f64 f64)))", bits.collect::<String>())
}

/// The two of these that are named to others.
fn given(fields: &str) -> String {
    fields
        .replace("(func (export \"_start\")", "(func $given (export \"_start\")")
        .replace("(func (export \"run\")", "(func $given (export \"run\")")
}

fn program(more: &str) -> Vec<u8> {
    let imports = CLOCK.repeat(200);
    wat::parse_str(given(&format!("(module {imports} {MEMORY} {START} {more})"))).unwrap()
}

fn as_kernel(more: &str) -> Vec<u8> {
    wat::parse_str(given(&format!("(module {MEMORY} {ALLOC} {RUN} {more})"))).unwrap()
}

fn take_program(module: &[u8]) -> Result<Rewritten, Refusal> {
    prepare_program(&command::adapt(module)?)
}

fn many(one: fn(usize) -> String, count: usize) -> String {
    (0..count).map(one).collect()
}

#[test]
fn a_program_may_have_as_many_of_everything_as_is_said_whatever_is_added_to_it() {
    for Counted { what, most, in_program, in_kernel: _, one } in COUNTED {
        let prepared = take_program(&program(&many(one, most - in_program))).map_err(|refusal| refusal.message);
        let prepared = prepared.unwrap_or_else(|message| panic!("{most} {what}: {message}"));
        let mut engine = WasmiEngine::new();
        let module = engine.load(&prepared.rewritten).unwrap();
        let input = [command::arguments(&[]).unwrap(), command::part_input(0, b"")].concat();
        let output = engine.call(&module, Input::of(&input), &Limits::default()).output.unwrap();
        assert_eq!(command::ended(&output).unwrap().exit_code, 0, "{what}");
        let refusal = take_program(&program(&many(one, most + 1 - in_program))).unwrap_err();
        let said = format!("The program has {} {what}; at most {most} are accepted.", most + 1);
        assert_eq!((refusal.code, refusal.message), (Code::TooLarge, said));
    }
}

#[test]
fn a_kernel_may_have_as_many_of_everything_as_is_said_and_no_more() {
    for Counted { what, most, in_program: _, in_kernel, one } in COUNTED {
        let taken = prepare_kernel(&as_kernel(&many(one, most - in_kernel))).map_err(|refusal| refusal.message);
        assert!(taken.is_ok(), "{most} {what}: {taken:?}");
        let refusal = prepare_kernel(&as_kernel(&many(one, most + 1 - in_kernel))).unwrap_err();
        let said = format!("The kernel has {} {what}; at most {most} are accepted.", most + 1);
        assert_eq!((refusal.code, refusal.message), (Code::TooLarge, said));
    }
}

#[test]
fn a_module_may_have_as_many_bytes_as_is_said_whatever_it_becomes() {
    // What is filled is data, so that the program becomes no shorter.
    let data = |bytes: usize| format!("(data \"{}\")", "x".repeat(bytes));
    let filled = |module: fn(&str) -> Vec<u8>, length: usize| {
        let about = 1 << 24;
        let around = module(&data(about)).len() - about;
        module(&data(length - around))
    };
    let long = filled(program, MOST_MODULE_BYTES);
    assert_eq!(long.len(), MOST_MODULE_BYTES);
    assert!(command::adapt(&long).unwrap().len() > MOST_MODULE_BYTES, "or this tests nothing");
    assert!(take_program(&long).is_ok());
    assert!(prepare_kernel(&filled(as_kernel, MOST_MODULE_BYTES)).is_ok());
    for refusal in [
        take_program(&filled(program, MOST_MODULE_BYTES + 1)).unwrap_err(),
        prepare_kernel(&filled(as_kernel, MOST_MODULE_BYTES + 1)).unwrap_err(),
    ] {
        assert_eq!(refusal.code, Code::TooLarge);
        assert_eq!(refusal.message, "The module has 33554433 bytes; at most 33554432 are accepted.");
    }
}

#[test]
fn a_program_may_have_as_many_imports_and_pages_as_is_said() {
    let with = |imports: usize, memory: &str| {
        let memory = format!(r#"(memory (export "memory") {memory})"#);
        wat::parse_str(format!("(module {} {memory} {START})", CLOCK.repeat(imports))).unwrap()
    };
    assert!(take_program(&with(200, "1")).is_ok());
    let refusal = take_program(&with(201, "1")).unwrap_err();
    assert_eq!((refusal.code, &*refusal.message), (Code::InvalidKernel, "`module` has more than 200 imports"));
    assert!(take_program(&with(1, "65536")).is_ok() && take_program(&with(1, "1 65536")).is_ok());
}
