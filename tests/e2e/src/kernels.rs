//! Kernels of a user's own, written out instruction by instruction.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemArg, MemArgTarget, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};

/// A kernel that turns a-z into A-Z where they stand, in base64.
pub fn upper_case() -> String {
    kernel(|run| {
        // local 2: where we are; local 3: the end.
        run.instructions().local_get(0).local_tee(2).local_get(1).i32_add().local_set(3);
        run.instructions().block(BlockType::Empty).loop_(BlockType::Empty);
        run.instructions().local_get(2).local_get(3).i32_ge_u().br_if(1);
        run.instructions().local_get(2).i32_load8_u(BYTE).i32_const(i32::from(b'a')).i32_sub();
        run.instructions().i32_const(26).i32_lt_u().if_(BlockType::Empty);
        run.instructions().local_get(2).local_get(2).i32_load8_u(BYTE).i32_const(32).i32_sub().i32_store8(BYTE).end();
        run.instructions().local_get(2).i32_const(1).i32_add().local_set(2).br(0).end().end();
        run.instructions().local_get(0).i64_extend_i32_u().i64_const(32).i64_shl();
        run.instructions().local_get(1).i64_extend_i32_u().i64_or().end();
    })
}

/// A kernel that never ends, in base64.
pub fn endless() -> String {
    kernel(|run| {
        run.instructions().loop_(BlockType::Empty).br(0).end().unreachable().end();
    })
}

const BYTE: MemArg = MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(0), ordering: None };

/// A module that keeps the kernel contract: `alloc` gives the same place each time, in a memory of 128 KiB.
fn kernel(body: impl Fn(&mut Function)) -> String {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 2, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("alloc", ExportKind::Func, 0);
    exports.export("run", ExportKind::Func, 1);
    let mut alloc = Function::new([]);
    alloc.instructions().i32_const(1024).end();
    let mut run = Function::new([(2, ValType::I32)]);
    body(&mut run);
    let mut code = CodeSection::new();
    code.function(&alloc).function(&run);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    STANDARD.encode(module.finish())
}
