//! A program does the same whatever parts its functions are in.

use anyhow::{Context, Result, anyhow};
use wasmi::{Caller, Engine, Instance, Linker, Module, Store};

use super::{
    parts::{self, Wish},
    program::Program,
};

const PROGRAM: &str = r#"(module
    (import "js" "log" (func $log (param i32)))
    (type $pair (func (param i32 i64) (result i64)))
    (memory (export "memory") 1)
    (table 5 funcref)
    (global $depth (mut i32) (i32.const 0))
    (elem (i32.const 1) $mix $log $even)
    (data (i32.const 16) "first\03rest")
    (data (i32.const 64) "\07")
    (func $mix (type $pair)
        (i64.add (i64.extend_i32_u (call $even (local.get 0))) (i64.mul (local.get 1) (i64.const 3))))
    (func $even (param i32) (result i32)
        (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
        (if (result i32) (local.get 0)
            (then (call $odd (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))
    (func $odd (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (call $even (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0))))
    (func $word (result i32)
        (i32.store8 (i32.const 64) (i32.add (i32.load8_u (i32.const 64)) (i32.const 1)))
        (i32.add (i32.load8_u (i32.const 21)) (i32.load8_u (i32.const 64))))
    (func $indirect (param i32) (result i64)
        (call_indirect (param i32) (local.get 0) (i32.const 2))
        (call_indirect (type $pair) (local.get 0) (i64.const 5) (i32.const 1)))
    (func (export "run") (param i32) (result i64)
        (call $log (i32.load8_u (i32.const 16)))
        (i64.add
            (i64.add (call $indirect (local.get 0)) (i64.extend_i32_u (call $word)))
            (i64.shl (i64.extend_i32_u (global.get $depth)) (i64.const 32)))))"#;

const PARTS: u32 = 3;
/// The functions with a body, by their numbers in the text.
const WORD: u32 = 4;
const INDIRECT: u32 = 5;
const FUNCTIONS: u32 = 6;

struct Page {
    parts: Vec<Module>,
    first: Option<Instance>,
    brought: Vec<u32>,
    logged: Vec<i32>,
}

fn js(linker: &mut Linker<Page>) -> Result<()> {
    linker.func_wrap("js", "log", |mut caller: Caller<Page>, value: i32| caller.data_mut().logged.push(value))?;
    Ok(())
}

fn bring(mut caller: Caller<Page>, number: u32) -> Result<(), wasmi::Error> {
    let (part, first) = (caller.data().parts[number as usize].clone(), caller.data().first);
    let first = first.ok_or_else(|| wasmi::Error::new("the first part is not there"))?;
    let mut linker = Linker::new(caller.engine());
    js(&mut linker).map_err(|error| wasmi::Error::new(error.to_string()))?;
    linker.instance(&mut caller, "first", first)?;
    linker.instantiate_and_start(&mut caller, &part)?;
    caller.data_mut().brought.push(number);
    Ok(())
}

/// What a program that lies in parts gives twice in a row, logs, and which parts it brings.
fn played(parts: &[Vec<u8>]) -> Result<([i64; 2], Vec<i32>, Vec<u32>)> {
    let engine = Engine::default();
    let modules = parts.iter().map(|part| Module::new(&engine, part)).collect::<Result<_, _>>()?;
    let page = Page { parts: modules, first: None, brought: Vec::new(), logged: Vec::new() };
    let mut store = Store::new(&engine, page);
    let mut linker = Linker::new(&engine);
    js(&mut linker)?;
    linker.func_wrap("parts", "bring", bring)?;
    let first = store.data().parts.first().cloned().context("no first part")?;
    let first = linker.instantiate_and_start(&mut store, &first)?;
    store.data_mut().first = Some(first);
    let run = first.get_typed_func::<i32, i64>(&store, "run")?;
    let gave = [run.call(&mut store, 6)?, run.call(&mut store, 7)?];
    let page = store.into_data();
    Ok((gave, page.logged, page.brought))
}

#[test]
fn a_program_does_the_same_whatever_parts_its_functions_are_in() -> Result<()> {
    let bytes = wat::parse_str(PROGRAM)?;
    let program = Program::read(&bytes)?;
    assert_eq!(program.bodies.len(), FUNCTIONS as usize);
    let (expected, logged, _) = played(std::slice::from_ref(&bytes))?;
    for placed in 0..PARTS.pow(FUNCTIONS) {
        let part_of = |function: u32| placed / PARTS.pow(function - program.imported()) % PARTS;
        let (word, indirect) = (part_of(WORD), part_of(INDIRECT));
        // Only `indirect` calls by address, and only `word` reads what stands at 21.
        let data = if word == 0 { vec![] } else { vec![(21..22, word)] };
        let wish = Wish { parts: PARTS, part_of: &part_of, addressed: &|_| 1 << indirect, data: &data };
        let parts = parts::cut(&program, &wish)?;
        let (gave, said, mut brought) = played(&parts).map_err(|error| anyhow!("placed {placed}: {error}"))?;
        assert_eq!((gave, said), (expected, logged.clone()), "placed {placed}");
        let count = brought.len();
        brought.sort_unstable();
        brought.dedup();
        assert_eq!(brought.len(), count, "a part was brought twice, placed {placed}");
    }
    Ok(())
}

#[test]
fn what_nobody_needs_is_not_brought() -> Result<()> {
    let bytes = wat::parse_str(PROGRAM)?;
    let program = Program::read(&bytes)?;
    let all_first = Wish { parts: 2, part_of: &|_| 0, addressed: &|_| u32::MAX, data: &[] };
    assert_eq!(played(&parts::cut(&program, &all_first)?)?.2, Vec::<u32>::new());
    let none_first = Wish { part_of: &|_| 1, ..all_first };
    assert_eq!(played(&parts::cut(&program, &none_first)?)?.2, [1]);
    Ok(())
}
