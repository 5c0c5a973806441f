//! Two memories, and the function that answers with the gas used, on the referee.
#![expect(clippy::wildcard_enum_match_arm)]

use super::*;

/// A kernel with a memory of its own in front of the one that the host reads and writes.
fn with_two(own: &str, run: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory $own {own}) (memory $host (export "memory") 1)
            (data (memory $own) (i32.const 1024) "mine") (data (memory $host) (i32.const 0) "host")
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "run") (param $ptr i32) (param $len i32) (result i64) (local $i i32) (local $x i64) {run}))"#
    ))
    .unwrap()
}

#[test]
fn the_memory_named_memory_is_the_hosts_whichever_index_it_has() {
    // What the host wrote does not touch the other memory, and comes over by a copy.
    let run = "(memory.copy $host $own (i32.const 2048) (i32.const 1024) (i32.const 4))
        (memory.copy $own $host (i32.const 1024) (local.get $ptr) (local.get $len))
        (i32.store8 $own (i32.const 1024) (i32.const 0x4a))
        (memory.copy $host $own (i32.const 2052) (i32.const 1024) (local.get $len))
        (i64.or (i64.shl (i64.const 2048) (i64.const 32)) (i64.extend_i32_u (i32.add (local.get $len) (i32.const 4))))";
    assert_eq!(call(&with_two("1", run), b"hello", small()).output.unwrap(), b"mineJello");
    // A lane stored into the second memory far away: the way round wasmi's fault keeps the memory.
    let run = "(v128.store8_lane $host offset=65000 2 (i32.const 8) (v128.const i8x16 0 0 7 0 0 0 0 0 0 0 0 0 0 0 0 0))
        (i64.or (i64.shl (i64.const 65008) (i64.const 32)) (i64.const 1))";
    assert_eq!(call(&with_two("1", run), b"", small()).output.unwrap(), [7]);
}

#[test]
fn a_copy_between_memories_costs_by_its_length() {
    let copy = |bytes: u32| {
        let run = format!("(memory.copy $host $own (i32.const 0) (i32.const 0) (i32.const {bytes})) (i64.const 0)");
        call(&with_two("1", &run), b"", small()).gas.0
    };
    assert_eq!(copy(4_000) - copy(0), 1_000);
}

#[test]
fn both_memories_count_against_the_limit() {
    // Sixteen pages in all: fourteen more fit, whichever memory grows.
    for (first, second) in [("$own", "$host"), ("$host", "$own")] {
        let grow = |one: u32, other: u32| {
            with_two(
                "1",
                &format!(
                    "(drop (memory.grow {first} (i32.const {one}))) (drop (memory.grow {second} (i32.const {other})))
                    (i32.store $host (i32.const 8) (i32.add (memory.size $own) (memory.size $host)))
                    (i64.or (i64.shl (i64.const 8) (i64.const 32)) (i64.const 4))"
                ),
            )
        };
        assert_eq!(call(&grow(6, 8), b"", small()).output.unwrap(), 16u32.to_le_bytes());
        assert_eq!(trap(&grow(6, 9), small()), Trap::OutOfMemory);
        assert_eq!(trap(&grow(15, 0), small()), Trap::OutOfMemory);
    }
    // What both have at the start adds up.
    assert_eq!(call(&with_two("15", "(i64.const 0)"), b"", small()).output, Ok(Vec::new()));
    assert_eq!(trap(&with_two("16", "(i64.const 0)"), small()), Trap::OutOfMemory);
    // Its own maximum is each memory's own: beyond it growth answers -1.
    let beyond = "(i32.store $host (i32.const 8) (memory.grow $own (i32.const 3)))
        (i64.or (i64.shl (i64.const 8) (i64.const 32)) (i64.const 4))";
    assert_eq!(call(&with_two("1 3", beyond), b"", small()).output.unwrap(), (-1i32).to_le_bytes());
}

#[test]
fn the_gas_used_is_counted_from_the_first_question_on() {
    let asking = |rounds: u32| {
        let extra = r#"(func $used (export "gas_used") (result i64) unreachable)"#;
        let run = format!(
            "(i64.store (i32.const 8) (call $used))
            (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const {rounds}))))
            (i64.store (i32.const 16) (call $used))
            (i64.or (i64.const 16) (i64.shl (i64.const 8) (i64.const 32)))"
        );
        kernel(extra, &run)
    };
    let of = |output: Vec<u8>| {
        let number = |at: usize| i64::from_le_bytes(output[at..at + 8].try_into().unwrap());
        (number(0), number(8))
    };
    let outcome = call(&asking(1_000), b"", small());
    let (first, second) = of(outcome.output.unwrap());
    assert_eq!(first, 0);
    assert!(second > 5_000 && second < i64::try_from(outcome.gas.0).unwrap(), "{second}");
    // It grows as the gas does.
    let longer = call(&asking(2_000), b"", small());
    let (_, more) = of(longer.output.unwrap());
    assert_eq!(more - second, i64::try_from(longer.gas.0 - outcome.gas.0).unwrap());
    // Neither slices nor the limit change the answer.
    for slice in [1_000, 1_024, 50_000] {
        let mut engine = WasmiEngine::new();
        engine.set_slice(slice);
        engine.set_watch(Some(Arc::new(|| None)));
        let module = engine.load(&prepare(&asking(1_000)).unwrap().rewritten).unwrap();
        let sliced = engine.call(&module, Input::of(b""), &Limits { gas: Gas(1 << 40), ..small() });
        assert_eq!((sliced.gas, of(sliced.output.unwrap())), (outcome.gas, (0, second)), "{slice}");
    }
}

#[test]
fn only_a_kernel_that_asks_for_the_gas_used_keeps_count_of_it() {
    let one = |export: &str| {
        let extra = format!("(func $used {export} (result i64) (i64.const 7))");
        prepare(&kernel(&extra, &answer("(call $used)"))).unwrap().rewritten
    };
    let globals = |rewritten: &[u8]| {
        let sections = wasmparser::Parser::new(0).parse_all(rewritten).map(Result::unwrap);
        let mut counts = sections.filter_map(|payload| match payload {
            wasmparser::Payload::GlobalSection(section) => Some(section.count()),
            _ => None,
        });
        counts.next().unwrap()
    };
    assert_eq!(globals(&one(r#"(export "gas_used")"#)), globals(&one(r#"(export "gas_unused")"#)) + 1);
}
