//! Golden names of what the rewrite makes of fixed modules, and of every instruction that a kernel may hold. Nodes of one
//! [`REWRITE_VERSION`] must write the same bytes, or they would count otherwise: a test that fails here is a new version, with a
//! file of its own, and not a file to be written anew.
//!
//! `P2PNET_WRITE_GOLDEN=1 cargo test -p p2pnet-shared --lib golden` writes the file of a new version.

use std::{env, fmt::Write, fs, path::PathBuf};

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, MemorySection, MemoryType, Module, RefType, TableSection,
    TableType, TypeSection, ValType,
};
use wasmparser::{BinaryReader, OperatorsReader, Validator};

use super::*;
use crate::kernel::features::ACCEPTED;

/// A module for each part of the rewrite, by name.
const MODULES: &[(&str, &str)] = &[
    (
        "gas in loops and around calls",
        "(func $leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
         (func (export \"f\") (param i32) (result i32) (local i32 i64)
           (loop $outer
             (loop $inner (br_if $inner (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (local.get 0))))
             (local.set 1 (call $leaf (local.get 1)))
             (br_if $outer (i32.lt_u (local.get 1) (i32.const 1000))))
           (if (i32.eqz (local.get 0)) (then (return (i32.const 7))) (else (unreachable)))
           (local.get 1))",
    ),
    (
        "NaNs, scalar and vector",
        "(memory 1)
         (func (export \"f\") (param f32 f64 i32) (result f64) (local f64 v128)
           (loop $l (local.set 3 (f64.add (local.get 3) (f64.mul (local.get 1) (f64.const 2))))
             (br_if $l (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
           (f32.store (i32.const 0) (f32.sqrt (local.get 0)))
           (local.set 4 (f32x4.div (local.get 4) (v128.load (i32.const 16))))
           (v128.store (i32.const 32) (f64x2.neg (f64x2.promote_low_f32x4 (local.get 4))))
           (f64.copysign (f64.sub (local.get 3) (f64.const 1)) (local.get 1)))",
    ),
    (
        "lengths, growth, tables and branch tables",
        "(memory 1 9) (table $t 4 funcref) (elem (i32.const 1) $g) (data $d \"passive\") (data (i32.const 8) \"active\")
         (func $g (param i32) (result i64 i32)
           (block $a (result i64 i32) (block $b (result i64 i32)
             (i64.const 1) (i32.const 2) (br_table $a $b $a (local.get 0))) (drop) (i32.const 3)))
         (func (export \"f\") (param i32)
           (memory.fill (i32.const 0) (i32.const 1) (local.get 0)) (memory.copy (i32.const 0) (i32.const 9) (local.get 0))
           (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)) (data.drop $d)
           (drop (memory.grow (local.get 0))) (drop (table.grow $t (ref.null func) (local.get 0)))
           (i32.const 1) (call_indirect $t (param i32) (result i64 i32) (i32.const 1)) (drop) (drop)
           (v128.store8_lane 3 (i32.const 0) (v128.const i64x2 1 2))
           (drop (select (local.get 0) (i32.const 1) (i32.eqz (local.get 0))))
           (drop (f64.convert_i64_u (i64.extend_i32_u (local.get 0)))))
         (func $start) (start $start)",
    ),
    (
        "tail calls",
        "(func $f (param i32) (result i32) (if (local.get 0) (then (return_call $g (local.get 0)))) (i32.const 1))
         (func $g (param i32) (result i32) (return_call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))
         (table 1 funcref) (elem (i32.const 0) $f) (export \"f\" (func $f))",
    ),
    (
        "two memories and the gas used",
        "(memory $own 1 3) (memory $host (export \"memory\") 2) (func $u (export \"gas_used\") (result i64) (i64.const 1))
         (data (memory $host) (i32.const 5) \"host\")
         (func (export \"f\") (param i32)
           (memory.copy $own $host (i32.const 0) (i32.const 5) (local.get 0)) (drop (memory.grow $own (i32.const 1)))
           (drop (memory.grow $host (local.get 0))) (v128.store16_lane $host 1 (i32.const 0) (v128.const i64x2 1 2))
           (i64.store $own (i32.const 8) (call $u)))",
    ),
    (
        "what is written in older terms",
        "(table $t 2 10 externref) (global $g (mut externref) (ref.null extern)) (elem $e externref (ref.null extern))
         (global i64 (i64.add (i64.const 1) (i64.mul (i64.const 2) (i64.const 3)))) (memory 1) (tag (export \"t\") (param i32))
         (data (offset (i32.add (i32.const 1) (i32.const 2))) \"computed\")
         (func (export \"f\") (param externref) (result externref) (local externref)
           (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
           (block (result externref) (select (result externref) (local.get 0) (ref.null extern) (ref.is_null (global.get $g)))))",
    ),
    (
        "a kernel that is prepared by init",
        "(memory (export \"memory\") 1 4) (global $sum (mut i64) (i64.const 0)) (global $top (mut i32) (i32.const 1024))
         (func (export \"_initialize\") (global.set $top (i32.const 2048)))
         (func (export \"alloc\") (param i32) (result i32)
           (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 0))))
         (func (export \"init\") (param i32 i32)
           (loop $l
             (global.set $sum (i64.add (global.get $sum) (i64.load8_u (i32.add (local.get 0) (local.get 1)))))
             (br_if $l (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
         (func (export \"run\") (param i32 i32) (result i64)
           (i64.store (i32.const 8) (i64.add (global.get $sum) (i64.extend_i32_u (local.get 1))))
           (i64.or (i64.const 8) (i64.shl (i64.const 8) (i64.const 32))))",
    ),
];

/// What operands are taken from: a local of each type, in this order.
const LOCALS: [ValType; 6] =
    [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128, ValType::Ref(RefType::FUNCREF)];

#[test]
fn the_same_modules_become_the_same_bytes_until_the_version_changes() {
    let file = file_of(REWRITE_VERSION);
    let found = lines();
    if env::var_os("P2PNET_WRITE_GOLDEN").is_some() && !file.exists() {
        fs::write(&file, &found).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_else(|_| {
        panic!("version {REWRITE_VERSION} of the rewrite has no golden file yet: P2PNET_WRITE_GOLDEN=1 writes it, once")
    });
    let changed: Vec<&str> = found.lines().filter(|line| golden.lines().all(|golden| golden != *line)).collect();
    let gone: Vec<&str> = golden.lines().filter(|golden| found.lines().all(|line| line != *golden)).collect();
    assert!(
        changed.is_empty() && gone.is_empty(),
        "the same kernel is rewritten to other bytes than before: raise REWRITE_VERSION (now {REWRITE_VERSION}), and \
         leave this version's file as it is.\nfound  {changed:#?}\ngolden {gone:#?}"
    );
}

#[test]
fn every_instruction_that_a_kernel_may_hold_has_a_golden_name() {
    let known = instructions();
    // One of each sort that the rewrite or its costs tell apart.
    let sorts = "Block Loop If Br BrIf BrTable Return Call CallIndirect ReturnCall MemoryGrow MemoryFill MemoryInit DataDrop \
                 TableGrow TableInit ElemDrop GlobalSet F32Sqrt F64x2Div V128Store64Lane I64RemU F64ConvertI64U RefIsNull";
    for name in sorts.split_whitespace() {
        assert!(known.iter().any(|(known, _)| known == name), "{name}");
    }
    // All 437 of WebAssembly 2.0 but `else` and `end`, and two tail calls.
    assert_eq!(known.len(), 437);
}

fn file_of(version: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/rewrite/v{version}.txt"))
}

/// A line for each module: the beginning of its name, its length, and what it is.
fn lines() -> String {
    let mut lines = String::new();
    let mut line = |what: &str, module: &[u8]| {
        let rewritten = rewrite(module).unwrap();
        let name = Hash::of(&rewritten).to_string();
        writeln!(lines, "{} {:6} {what}", &name[..32], rewritten.len()).unwrap();
    };
    for (name, text) in MODULES {
        line(name, &wat::parse_str(format!("(module {text})")).unwrap());
    }
    let data: String =
        (0..50_100u32).map(|number| format!("(data (i32.const {}) \"ab\")", number * 40 % 130_001)).collect();
    line("many segments", &wat::parse_str(format!("(module (memory 3) {data})")).unwrap());
    for (name, module) in instructions() {
        line(&name, &module);
    }
    lines
}

/// A module for each instruction that has no end of its own, by the instruction's name, in the order of their codes.
fn instructions() -> Vec<(String, Vec<u8>)> {
    let short = (0u8..=0xfa).map(|code| vec![code]);
    let long = (0u8..32).map(|code| vec![0xfc, code]);
    let vector = (0u16..0x100).map(|code| {
        let low = u8::try_from(code & 0x7f).unwrap();
        if code < 0x80 { vec![0xfd, low] } else { vec![0xfd, low | 0x80, 1] }
    });
    short.chain(long).chain(vector).filter_map(|code| alone(&code)).collect()
}

/// A module with an instruction of this code in it, if there is one that is valid with some operands.
fn alone(code: &[u8]) -> Option<(String, Vec<u8>)> {
    // All zeros mean something nearly everywhere; a type is needed by `select`, `ref.null`.
    [&[0; 20][..], &[1, 0x7f, 0], &[0x70, 0]].into_iter().find_map(|immediates| {
        let bytes = [code, immediates].concat();
        let mut reader = OperatorsReader::new(BinaryReader::new_features(&bytes, 0, ACCEPTED));
        let name = format!("{:?}", reader.read().ok()?);
        let instruction = &bytes[..usize::try_from(reader.original_position()).unwrap()];
        let module = operands().find_map(|operands| {
            [&[][..], &[0x0b]].into_iter().map(|end| module(&operands, &[instruction, end].concat())).find(|module| {
                Validator::new_with_features(ACCEPTED).validate_all(module).is_ok() && rewrite(module).is_ok()
            })
        })?;
        Some((name.split([' ', '{']).next().unwrap_or_default().to_owned(), module))
    })
}

/// Up to three locals, in every order.
fn operands() -> impl Iterator<Item = Vec<u32>> {
    let kinds = u32::try_from(LOCALS.len()).unwrap();
    (0..=3u32).flat_map(move |count| {
        (0..kinds.pow(count)).map(move |number| (0..count).map(|place| number / kinds.pow(place) % kinds).collect())
    })
}

/// A module with one of everything that an instruction may name.
fn module(operands: &[u32], instruction: &[u8]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 4,
        maximum: None,
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    let global = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(global, &ConstExpr::i32_const(0));
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 0);
    let mut elements = ElementSection::new();
    elements.passive(Elements::Functions([0][..].into()));
    let mut code = CodeSection::new();
    let mut function = Function::new(LOCALS.map(|ty| (1, ty)));
    for operand in operands {
        function.instructions().local_get(*operand);
    }
    function.raw(instruction.iter().copied());
    function.instructions().unreachable().end();
    code.function(&function);
    let mut data = DataSection::new();
    data.passive(*b"data");
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&globals).section(&exports);
    module.section(&elements).section(&DataCountSection { count: 1 }).section(&code).section(&data);
    module.finish()
}
