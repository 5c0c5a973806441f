//! WASI programs through the adaptation, the rewrite and the interpreter.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, MemArg,
    MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use super::tests::{job, result};
use crate::refusal::Code;

const WORD: MemArg = MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(0), ordering: None };

/// A program that copies its input to both outputs, then a random byte and the number of its arguments to standard
/// output; input that begins with `!` makes it exit with 7, with `?` trap.
fn program(imported: &str) -> String {
    use ValType::I32;
    let mut types = TypeSection::new();
    types.ty().function([I32; 4], [I32]);
    types.ty().function([I32; 2], [I32]);
    types.ty().function([I32], []);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    let names = [("fd_read", 0), ("fd_write", 0), ("args_sizes_get", 1), ("random_get", 1), ("proc_exit", 2)];
    for (name, kind) in names {
        imports.import(imported, name, EntityType::Function(kind));
    }
    let mut functions = FunctionSection::new();
    functions.function(3);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, 5);
    let mut start = Function::new([]);
    let mut sink = start.instructions();
    // A part of memory at 0: address 64, 1,000 bytes.
    sink.i32_const(0).i32_const(64).i32_store(WORD).i32_const(4).i32_const(1000).i32_store(WORD);
    sink.i32_const(0).i32_const(0).i32_const(1).i32_const(4).call(0).drop();
    for stream in [1, 2] {
        sink.i32_const(stream).i32_const(0).i32_const(1).i32_const(8).call(1).drop();
    }
    sink.i32_const(32).i32_const(36).call(2).drop().i32_const(33).i32_const(1).call(3).drop();
    sink.i32_const(0).i32_const(32).i32_store(WORD).i32_const(4).i32_const(2).i32_store(WORD);
    sink.i32_const(1).i32_const(0).i32_const(1).i32_const(8).call(1).drop();
    sink.i32_const(64).i32_load8_u(WORD).i32_const(i32::from(b'!')).i32_eq().if_(BlockType::Empty);
    sink.i32_const(7).call(4).end();
    sink.i32_const(64)
        .i32_load8_u(WORD)
        .i32_const(i32::from(b'?'))
        .i32_eq()
        .if_(BlockType::Empty)
        .unreachable()
        .end()
        .end();
    let mut code = CodeSection::new();
    code.function(&start);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports).section(&code);
    STANDARD.encode(module.finish())
}

fn command(input: &str, split: &str) -> String {
    let module = program("wasi_snapshot_preview1");
    json!({"kind": "command", "module": module, "args": ["-v", "x"], "input": STANDARD.encode(input), "split": split})
        .to_string()
}

#[test]
fn a_program_reads_and_writes_and_gets_arguments_and_seeded_chance() {
    let run = |input| serde_json::from_str::<serde_json::Value>(&result(&command(input, "lines")).unwrap()).unwrap();
    let answer = run("one\ntwo\n");
    assert_eq!(answer["stderr"], "one\ntwo\n");
    let output = STANDARD.decode(answer["stdout"].as_str().unwrap()).unwrap();
    assert_eq!((&output[..5], &output[6..11], output.len()), (&b"one\n\x03"[..], &b"two\n\x03"[..], 12));
    assert_eq!(run("one\ntwo\n"), answer, "chance is a function of the part's number");
    let again = run("one\none\none\n");
    let other = STANDARD.decode(again["stdout"].as_str().unwrap()).unwrap();
    assert!(other[5] != other[11] || other[11] != other[17], "parts draw their own numbers");
}

#[test]
fn an_exit_code_fails_the_job_and_shows_what_the_program_said() {
    for (input, code) in [("!help", 7), ("?", 134)] {
        let refusal = result(&command(input, "none")).unwrap_err();
        assert_eq!(refusal.code, Code::KernelError);
        assert_eq!(refusal.message, format!("part 0 ended with exit code {code}: {input}"));
    }
}

#[test]
fn bad_commands_are_refused_with_their_code() {
    let with = |module: &str, args: serde_json::Value| {
        let source = json!({"kind": "command", "module": module, "args": args, "input": ""}).to_string();
        job(&source).map(|_| ()).unwrap_err().code
    };
    let wasi = program("wasi_snapshot_preview1");
    assert_eq!(with(&program("env"), json!([])), Code::KernelImports);
    assert_eq!(with("AAAA", json!([])), Code::InvalidKernel);
    assert_eq!(with(&STANDARD.encode(Module::new().finish()), json!([])), Code::InvalidKernel);
    assert_eq!(with(&wasi, json!("-v")), Code::InvalidField);
    assert_eq!(with(&wasi, json!([1])), Code::InvalidField);
    assert_eq!(with(&wasi, json!(["a\u{0}b"])), Code::InvalidField);
    let missing = json!({"kind": "command", "module": wasi}).to_string();
    assert_eq!(job(&missing).map(|_| ()).unwrap_err().code, Code::MissingField);
}
