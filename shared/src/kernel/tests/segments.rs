//! Modules with more data segments than engines take, on the referee.
#![expect(clippy::wildcard_enum_match_arm)]

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};

use super::*;

/// Where the segments begin.
const START: u32 = 65_536;

struct Segment {
    /// Where it is written; `None` for a passive one.
    at: Option<u32>,
    bytes: Vec<u8>,
}

fn active(at: u32, bytes: &[u8]) -> Segment {
    Segment { at: Some(at), bytes: bytes.to_vec() }
}

/// A kernel of 64 pages with these segments that answers with `length` bytes from [`START`] on. With `named` it first writes
/// that segment, of four bytes, to [`START`].
fn with(segments: &[Segment], length: u32, named: Option<u32>) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 64, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("alloc", ExportKind::Func, 0).export("run", ExportKind::Func, 1);
    let (mut alloc, mut run) = (Function::new([]), Function::new([]));
    alloc.instructions().i32_const(1_024).end();
    let mut sink = run.instructions();
    if let Some(named) = named {
        sink.i32_const(START.cast_signed()).i32_const(0).i32_const(4).memory_init(0, named).data_drop(named);
    }
    sink.i64_const(i64::from(START) << 32 | i64::from(length)).end();
    let mut code = CodeSection::new();
    code.function(&alloc).function(&run);
    let mut data = DataSection::new();
    for segment in segments {
        match segment.at {
            Some(at) => data.active(0, &ConstExpr::i32_const(at.cast_signed()), segment.bytes.iter().copied()),
            None => data.passive(segment.bytes.iter().copied()),
        };
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports);
    module.section(&DataCountSection { count: u32::try_from(segments.len()).unwrap() });
    module.section(&code).section(&data);
    module.finish()
}

fn count(rewritten: &[u8]) -> u32 {
    let mut sections = wasmparser::Parser::new(0).parse_all(rewritten).map(Result::unwrap);
    let found = sections.find_map(|payload| match payload {
        wasmparser::Payload::DataSection(section) => Some(section.count()),
        _ => None,
    });
    found.unwrap()
}

/// What memory holds, by writing one after the other.
fn expected(segments: &[Segment], length: u32) -> Vec<u8> {
    let mut memory = vec![0; length as usize];
    for segment in segments {
        let Some(at) = segment.at else { continue };
        let from = (at - START) as usize;
        memory[from..from + segment.bytes.len()].copy_from_slice(&segment.bytes);
    }
    memory
}

fn limits() -> Limits {
    Limits { memory_bytes: 8 << 20, output_bytes: 4 << 20, ..small() }
}

#[test]
fn as_many_as_gos_linker_writes_are_merged_and_memory_begins_the_same() {
    // Runs with gaps of zeros, as it leaves them; some touch, some overlap, some are empty.
    let mut segments: Vec<Segment> = (0..199_990u32)
        .map(|number| active(START + number * 15, &number.to_le_bytes().repeat(if number % 7 == 0 { 4 } else { 2 })))
        .collect();
    segments.push(active(START + 100, b"overwritten by the last"));
    segments.push(active(START + 3_000_000, b""));
    let length = 200_000 * 15 + 64;
    let kernel = with(&segments, length, None);
    let rewritten = prepare(&kernel).unwrap().rewritten;
    assert!(count(&rewritten) <= 50_000, "{}", count(&rewritten));
    assert_eq!(call(&kernel, b"", limits()).output.unwrap(), expected(&segments, length));
}

#[test]
fn segments_that_instructions_name_keep_their_places() {
    let mut segments: Vec<Segment> = (0..60_000u32).map(|number| active(START + 8 + number * 8, &[1, 2, 3])).collect();
    segments.insert(3, Segment { at: None, bytes: b"name".to_vec() });
    segments.push(Segment { at: None, bytes: b"unused".to_vec() });
    let length = 60_000 * 8 + 8;
    let kernel = with(&segments, length, Some(3));
    let mut memory = expected(&segments, length);
    memory[..4].copy_from_slice(b"name");
    assert_eq!(call(&kernel, b"", limits()).output.unwrap(), memory);
    // Few are left as they are.
    let kernel = with(&segments[..100], length, Some(3));
    assert_eq!(count(&prepare(&kernel).unwrap().rewritten), 100);
    let beyond: Vec<Segment> = (0..200_001).map(|_| active(START, b"x")).collect();
    assert_eq!(refused(&with(&beyond, 1, None)), Code::TooLarge);
}

#[test]
fn two_hundred_thousand_are_taken_whichever_of_them_instructions_name() {
    // Passive ones, of which the last but one is named.
    let mut segments: Vec<Segment> =
        (0..200_000u32).map(|number| Segment { at: None, bytes: number.to_le_bytes().to_vec() }).collect();
    let kernel = with(&segments, 4, Some(199_998));
    assert_eq!(count(&prepare(&kernel).unwrap().rewritten), 1);
    assert_eq!(call(&kernel, b"", limits()).output.unwrap(), 199_998_u32.to_le_bytes());
    // Active ones before and behind it write what they would have, the last one last.
    for (number, segment) in segments.iter_mut().enumerate().filter(|(number, _)| *number != 199_998) {
        segment.at = Some(START + 8 + number as u32 * 15 % 3_000_000);
    }
    let length = 3_000_016;
    let kernel = with(&segments, length, Some(199_998));
    let mut memory = expected(&segments, length);
    memory[..4].copy_from_slice(&199_998_u32.to_le_bytes());
    assert_eq!(call(&kernel, b"", limits()).output.unwrap(), memory);
    // An active segment is empty once it is written: to read four bytes of it traps, among few and among many.
    for count in [100, 200_000] {
        let segments: Vec<Segment> = (0..count).map(|number| active(START + number * 15, b"four")).collect();
        assert_eq!(call(&with(&segments, 4, Some(count - 1)), b"", limits()).output, Err(Trap::Trapped), "{count}");
    }
}

#[test]
fn segments_that_cannot_become_few_are_refused_with_how_many_they_are() {
    let far: Vec<Segment> = (0..150_000u32).map(|number| active(START + number * 25, b"x")).collect();
    assert!(prepare(&with(&far, 4, None)).is_ok());
    let pages = 60_000;
    let text: String = (0..120_000u32).map(|number| format!("(data (i32.const {}) \"x\")", number * 30_000)).collect();
    let refusal = rewrite(&wat::parse_str(format!("(module (memory {pages}) {text})")).unwrap()).unwrap_err();
    assert_eq!(refusal.code, Code::TooLarge);
    assert!(refusal.message.contains("of which engines take 100000"), "{refusal}");
}

#[test]
fn a_segment_outside_memory_is_refused_among_many_as_well() {
    let mut segments: Vec<Segment> = (0..60_000u32).map(|number| active(START + number * 8, &[1, 2, 3])).collect();
    segments.push(active(64 * 65_536 - 1, b"xy"));
    assert_eq!(refused(&with(&segments, 1, None)), Code::InvalidKernel);
}
