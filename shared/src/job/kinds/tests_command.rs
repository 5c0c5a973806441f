//! WASI programs through the adaptation, the rewrite and the interpreter.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, MemArg,
    MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use p2pnet_test_kernels::programs::{ends_as_told, programs};

use super::{
    command,
    tests::{job, result},
};
use crate::{
    engine::{Engine as _, Input, Limits, WasmiEngine},
    job::local::run_locally,
    kernel::prepare,
    refusal::{Code, Refusal},
    units::Span,
};

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
        let out = refusal.message.split_once("; its standard output ends with ").unwrap();
        assert_eq!(out.0, format!("part 0 ended with exit code {code}: {input}"));
        assert!(out.1.starts_with(&format!("\"{input}")), "{}", out.1);
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
    let text = command::adapt(b"#!/bin/sh").unwrap_err().message;
    assert_eq!(text, "This is no WebAssembly module: it is a script.");
    assert_eq!(with(&STANDARD.encode(Module::new().finish()), json!([])), Code::InvalidKernel);
    assert_eq!(with(&wasi, json!("-v")), Code::InvalidField);
    assert_eq!(with(&wasi, json!([1])), Code::InvalidField);
    assert_eq!(with(&wasi, json!(["a\u{0}b"])), Code::InvalidField);
    let missing = json!({"kind": "command", "input": ""}).to_string();
    assert_eq!(job(&missing).map(|_| ()).unwrap_err().code, Code::MissingField);
    assert!(job(&json!({"kind": "command", "module": wasi}).to_string()).is_ok(), "a program may read nothing");
}

#[test]
fn every_program_finds_what_wasi_promises() {
    for program in programs() {
        let kernel = prepare(&command::adapt(&program.module).unwrap()).unwrap();
        let mut engine = WasmiEngine::new();
        let module = engine.load(&kernel.rewritten).unwrap();
        let input = [command::arguments(&[]).unwrap(), command::part_input(0, program.input)].concat();
        let outcome = engine.call(&module, Input::of(&input), &Limits::default());
        let output = outcome.output.unwrap_or_else(|trap| panic!("{}: {trap:?}", program.name));
        let ended = command::ended(&output).unwrap();
        assert_eq!(ended.exit_code, program.exit_code, "{}", program.name);
        assert_eq!((ended.output, ended.errors), (program.output, program.errors), "{}", program.name);
    }
}

/// A program that puts its input out on both streams and exits with its first byte, less `0`.
const EXIT_WITH_DIGIT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 40)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 2000000))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12)))
        (call $exit (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48)))))"#;

fn exits(input: impl AsRef<[u8]>, split: &str, more: serde_json::Value) -> Result<serde_json::Value, Refusal> {
    let module = STANDARD.encode(wat::parse_str(EXIT_WITH_DIGIT).unwrap());
    let mut job = json!({"kind": "command", "module": module, "input": STANDARD.encode(input), "split": split});
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Ok(serde_json::from_str(&result(&job.to_string())?).unwrap())
}

#[test]
fn a_part_that_fails_loses_neither_its_output_nor_the_others() {
    let answer = exits("0a\n3b\n0c\n", "lines", json!({})).unwrap();
    assert_eq!(answer["stdout"], STANDARD.encode("0a\n3b\n0c\n"));
    assert_eq!(answer["stderr"], "0a\n3b\n0c\n");
    assert_eq!(answer["exit_codes"], json!({"0": 2, "3": 1}));
    assert_eq!(answer["failed"], json!([{"part": 1, "exit_code": 3, "stderr": "3b"}]));
    assert_eq!(answer["failed_total"], 1);
    assert_eq!(failed_parts("0a\n3b\n0c\n4d\n"), 2);
    let quiet = exits("0a\n0b\n", "lines", json!({})).unwrap();
    assert_eq!(
        quiet,
        json!({"stdout": STANDARD.encode("0a\n0b\n"), "stderr": "0a\n0b\n"}),
        "nothing more if all is well"
    );
}

/// How many parts of the program above fail.
fn failed_parts(lines: &str) -> u64 {
    let module = STANDARD.encode(wat::parse_str(EXIT_WITH_DIGIT).unwrap());
    let text = json!({"kind": "command", "module": module, "input": STANDARD.encode(lines), "split": "lines"});
    let job = job(&text.to_string()).unwrap();
    let mut engine = WasmiEngine::new();
    let stage = job.stages.iter().next().unwrap().stage.clone();
    let loaded = engine.load(&prepare(stage.program.blob()).unwrap().rewritten).unwrap();
    let span = Span { start: 0, end: job.stages.units() };
    let mut call = |own: Vec<u8>| {
        engine.call(&loaded, Input::with(stage.common.as_ref(), &own), &Limits::default()).output.unwrap()
    };
    let outputs = job.plan.inputs(span, &BTreeMap::new()).into_iter().map(&mut call).collect();
    job.plan.failed_parts(&BTreeMap::from([(span, outputs)]))
}

#[test]
fn of_what_a_failed_part_complained_it_is_said_what_is_not_shown() {
    let cut = format!("3{}", "я".repeat(1_000));
    let lines = [cut.as_bytes(), b"\n3\xffx\n3ok\n0\n"].concat();
    let answer = exits(&lines, "lines", json!({})).unwrap();
    assert_eq!(answer.get("stderr_left_out"), None);
    let part = |at: usize| answer["failed"][at].clone();
    assert_eq!(part(0)["stderr"], "я".repeat(400));
    assert_eq!((&part(0)["stderr_cut"], part(0).get("stderr_is_text")), (&json!(true), None));
    assert_eq!((part(1).get("stderr_cut"), &part(1)["stderr_is_text"]), (None, &json!(false)));
    assert_eq!(part(2), json!({"part": 2, "exit_code": 3, "stderr": "3ok"}));
}

#[test]
fn exit_codes_that_a_job_calls_good_are_no_failure() {
    let answer = exits("1a\n0b\n", "lines", json!({"ok_exit_codes": [0, 1]})).unwrap();
    assert_eq!((&answer["exit_codes"], answer.get("failed")), (&json!({"0": 1, "1": 1}), None));
    assert!(exits("1a", "none", json!({"ok_exit_codes": [1]})).is_ok());
    assert_eq!(exits("0a", "none", json!({"ok_exit_codes": [1]})).unwrap_err().code, Code::KernelError);
    for wrong in [json!("0"), json!([-1]), json!([1.5]), json!([4_294_967_296_u64]), json!(vec![0; 257]), json!([])] {
        let refusal = exits("0", "none", json!({"ok_exit_codes": wrong})).unwrap_err();
        assert!(matches!(refusal.code, Code::InvalidField | Code::InvalidNumber), "{refusal:?}");
    }
}

#[test]
fn a_job_whose_parts_all_fail_has_failed_and_says_what_was_put_out() {
    let one = exits("1hello", "none", json!({})).unwrap_err();
    assert_eq!(one.code, Code::KernelError);
    assert_eq!(one.message, "part 0 ended with exit code 1: 1hello; its standard output ends with \"1hello\"");
    let long = exits(format!("1{}", "я".repeat(401)), "none", json!({})).unwrap_err().message;
    let (errors, output) = long.split_once("; its standard output, longer than this, ends with ").unwrap();
    let shown = "я".repeat(400);
    let begins = "part 0 ended with exit code 1: [… only the end of standard error is shown here …] ";
    assert_eq!((errors, output), (format!("{begins}{shown}").as_str(), format!("{shown:?}").as_str()));
    let whole = exits(format!("1{}\n \n", "я".repeat(399)), "none", json!({})).unwrap_err().message;
    assert!(!whole.contains("only the end") && !whole.contains("longer than this"), "{whole}");
    let all = exits("1a\n2b\n", "lines", json!({})).unwrap_err();
    assert!(all.message.starts_with("all 2 parts failed; part 0 ended with exit code 1: 1a"), "{}", all.message);
}

fn ends(input: &str, split: &str) -> Result<serde_json::Value, Refusal> {
    let module = STANDARD.encode(ends_as_told());
    let job = json!({"kind": "command", "module": module, "input": STANDARD.encode(input), "split": split});
    Ok(serde_json::from_str(&result(&job.to_string())?).unwrap())
}

#[test]
fn a_part_that_wants_too_much_memory_or_stack_loses_neither_its_output_nor_the_others() {
    let answer = ends("a\nm\nb\ns\nc\n", "lines").unwrap();
    assert_eq!(answer["stdout"], STANDARD.encode("a\nm\nb\ns\nc\n"));
    assert_eq!(answer["stderr"], "a\nm\nb\ns\nc\n");
    assert_eq!(answer["exit_codes"], json!({"0": 3, "137": 1, "139": 1}));
    assert_eq!(
        answer["failed"],
        json!([
            {"part": 1, "exit_code": 137, "error": "out_of_memory", "stderr": "m"},
            {"part": 3, "exit_code": 139, "error": "stack_overflow", "stderr": "s"},
        ])
    );
}

#[test]
fn a_job_whose_only_part_wants_too_much_says_what_it_wanted() {
    for (told, code, message) in [
        ("m", Code::OutOfMemory, "part 0 asked for more memory than a task may use: m; its standard output ends with"),
        ("s", Code::StackOverflow, "part 0 recursed too deep: s; its standard output ends with"),
    ] {
        let refusal = ends(told, "none").unwrap_err();
        assert_eq!(refusal.code, code);
        assert!(refusal.message.starts_with(message), "{}", refusal.message);
    }
}

/// Runs a program with so many pages of memory in all.
fn with_pages(input: &[u8], pages: u64) -> Vec<u8> {
    let kernel = prepare(&command::adapt(&ends_as_told()).unwrap()).unwrap();
    let mut engine = WasmiEngine::new();
    let module = engine.load(&kernel.rewritten).unwrap();
    let input = [command::arguments(&[]).unwrap(), command::part_input(0, input)].concat();
    let limits = Limits { memory_bytes: pages << 16, ..Limits::default() };
    engine.call(&module, Input::of(&input), &limits).output.unwrap()
}

#[test]
fn output_for_which_there_is_no_more_room_is_given_as_far_as_there_was() {
    let output = with_pages(b"f", 200);
    let ended = command::ended(&output).unwrap();
    assert_eq!((ended.end, ended.exit_code, ended.output), (command::End::OutOfMemory, 137, &b"f"[..]));
    assert!(ended.errors.len() > 1_000_000, "{} bytes", ended.errors.len());
}

#[test]
fn input_for_which_there_is_no_room_is_an_end_like_any_want_of_memory() {
    let output = with_pages(&vec![b'm'; 2_000_000], 20);
    let ended = command::ended(&output).unwrap();
    assert_eq!((ended.end, ended.exit_code), (command::End::OutOfMemory, 137));
    assert_eq!((ended.output, ended.errors), (&b""[..], &b""[..]));
}

#[test]
fn a_program_that_exits_with_the_code_of_a_want_has_exited() {
    let module = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 137))))"#;
    let job = json!({"kind": "command", "module": STANDARD.encode(wat::parse_str(module).unwrap())});
    assert_eq!(result(&job.to_string()).unwrap_err().code, Code::KernelError);
}

#[test]
fn long_standard_error_keeps_both_ends_and_says_how_much_is_left_out() {
    let input = format!("0{}end", "x".repeat((1 << 20) + 96));
    let answer = exits(&input, "none", json!({})).unwrap();
    let errors = answer["stderr"].as_str().unwrap();
    assert!(errors.starts_with("0xxx") && errors.ends_with("xxend"), "both ends");
    assert!(errors.contains("\n[… 100 bytes of standard error are left out here …]\n"), "how much");
    assert_eq!(STANDARD.decode(answer["stdout"].as_str().unwrap()).unwrap(), input.as_bytes(), "output is whole");
}

#[test]
fn standard_error_that_is_no_text_is_kept_byte_for_byte() {
    let module = STANDARD.encode(wat::parse_str(EXIT_WITH_DIGIT).unwrap());
    let put_out = b"0\xff\x80\xc3";
    let job = json!({"kind": "command", "module": module, "input": STANDARD.encode(put_out)});
    let answer: serde_json::Value = serde_json::from_str(&result(&job.to_string()).unwrap()).unwrap();
    assert_eq!(answer["stderr_base64"], STANDARD.encode(put_out));
    assert_eq!(answer["stderr"], "0\u{fffd}\u{fffd}\u{fffd}");
}

#[test]
fn what_is_no_command_is_refused_by_name() {
    let refused = |text: &str| {
        let module = STANDARD.encode(wat::parse_str(text).unwrap());
        let source = json!({"kind": "command", "module": module, "input": ""}).to_string();
        job(&source).map(|_| ()).unwrap_err()
    };
    let start = r#"(func (export "_start"))"#;
    let memory = r#"(memory (export "memory") 1)"#;
    for (text, code, word) in [
        (format!(r#"(module {memory} (func (export "_initialize")))"#), Code::InvalidKernel, "reactor"),
        (format!("(module {memory} (memory 1) {start})"), Code::InvalidKernel, "2 memories"),
        (format!("(module (memory 1) {start})"), Code::InvalidKernel, "does not export its `memory`"),
        (format!("(module {memory})"), Code::InvalidKernel, "does not export `_start`"),
        (format!(r#"(module {memory} (func (export "_start") (param i32)))"#), Code::InvalidKernel, "parameters"),
        ("(component)".to_owned(), Code::InvalidKernel, "component"),
        (
            format!(r#"(module (import "wasi_snapshot_preview1" "fd_read" (func (param i32))) {memory} {start})"#),
            Code::InvalidKernel,
            "another type",
        ),
        (
            format!(r#"(module (import "wasi_snapshot_preview1" "thread_spawn" (func)) {memory} {start})"#),
            Code::KernelImports,
            "thread_spawn",
        ),
        (format!(r#"(module (import "env" "system" (func)) {memory} {start})"#), Code::KernelImports, "system"),
    ] {
        let refusal = refused(&text);
        assert_eq!(refusal.code, code, "{text}");
        assert!(refusal.message.contains(word), "{text}: {}", refusal.message);
    }
}

#[test]
fn only_programs_that_tell_the_time_or_wait_have_their_gas_counted_for_it() {
    let says = |name: &str, kind: &str| {
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "{name}" (func (param {kind}) (result i32)))
                (memory (export "memory") 1) (func (export "_start")))"#
        );
        let kernel = command::adapt(&wat::parse_str(text).unwrap()).unwrap();
        kernel.windows(8).any(|window| window == b"gas_used")
    };
    assert!(says("clock_time_get", "i32 i64 i32") && says("poll_oneoff", "i32 i32 i32 i32"));
    assert!(!says("clock_res_get", "i32 i32") && !says("fd_write", "i32 i32 i32 i32"));
}

#[test]
fn a_dry_run_of_a_failing_program_says_so() {
    let module = STANDARD.encode(wat::parse_str(EXIT_WITH_DIGIT).unwrap());
    let source = json!({"kind": "command", "module": module, "input": STANDARD.encode("5")}).to_string();
    let refusal = run_locally(&job(&source).unwrap(), &mut WasmiEngine::new(), 1).unwrap_err();
    assert!(refusal.message.contains("exit code 5"), "{}", refusal.message);
}

#[test]
fn what_stands_for_a_run_without_time_or_room_is_taken_from_no_node() {
    let module = STANDARD.encode(ends_as_told());
    let job = json!({"kind": "command", "module": module, "input": STANDARD.encode("a\nb\n"), "split": "lines"});
    let plan = super::read(&job.to_string(), &|_| None).unwrap().plan;
    let span = |start| crate::units::Span { start, end: start + 1 };
    for (code, end, exit_code) in
        [(Code::TimedOut, command::End::TimedOut, 124), (Code::TooLarge, command::End::TooLarge, 153)]
    {
        let instead = plan.instead(&Refusal::new(code, "why", "")).unwrap();
        let ended = command::ended(&instead).unwrap();
        assert_eq!((ended.end, ended.exit_code, ended.output), (end, exit_code, &b""[..]));
        assert!(plan.is_instead(&instead));
        assert_eq!(plan.check(span(0), &instead).unwrap_err().code, Code::MergeFailed);
        let done = [(span(0), vec![instead.clone()]), (span(1), vec![instead])].into_iter().collect();
        let refusal = plan.failure(&done).unwrap();
        assert!(refusal.code == code && refusal.message.contains("what it had put out is lost"), "{}", refusal.message);
    }
    assert_eq!(plan.instead(&Refusal::new(Code::Internal, "why", "")), None);
}

/// Every part of such a job would end for want of memory, so nobody needs to be asked.
#[test]
fn a_module_whose_memory_is_larger_from_the_start_than_a_task_may_use_is_refused_at_once() {
    let program = |pages: u64| {
        let text = format!(r#"(module (memory (export "memory") {pages}) (func (export "_start")))"#);
        (json!({"kind": "command", "module": STANDARD.encode(wat::parse_str(text).unwrap())}), "program")
    };
    let kernel = |pages: u64| {
        let text = format!(
            r#"(module (memory (export "memory") {pages}) (func (export "alloc") (param i32) (result i32) (i32.const 8))
                (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#
        );
        (json!({"kind": "kernel", "kernel": STANDARD.encode(wat::parse_str(text).unwrap())}), "kernel")
    };
    let taken = |mut source: serde_json::Value, gib: f64| {
        source["requirements"] = json!({"ram_gb": gib});
        job(&source.to_string()).map(drop)
    };
    // A sixteenth of a GiB has 1,024 pages; a program has one of them beside its own.
    for (fits, larger) in [(program(1_023), program(1_024)), (kernel(1_024), kernel(1_025))] {
        assert_eq!(taken(fits.0, 1.0 / 16.0), Ok(()));
        let refusal = taken(larger.0.clone(), 1.0 / 16.0).unwrap_err();
        assert_eq!(refusal.code, Code::OutOfMemory);
        assert!(refusal.message.contains(larger.1) && refusal.message.contains("65 MiB"), "{refusal:?}");
        assert!(refusal.message.contains("64 MiB") && refusal.hint.contains("ram_gb to 0.064"), "{refusal:?}");
        assert_eq!(taken(larger.0, 0.064), Ok(()));
    }
    let refusal = taken(program(65_536).0, 4.0).unwrap_err();
    assert!(refusal.hint.contains("at most 4 GiB") && !refusal.hint.contains("raise"), "{refusal:?}");
}
