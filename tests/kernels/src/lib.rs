//! Kernels that tests need, written out instruction by instruction: what every test of every crate shares.

#[cfg(feature = "escape")]
pub mod escape;
#[cfg(feature = "programs")]
pub mod prepared;
#[cfg(feature = "programs")]
pub mod programs;

pub use wasm_encoder;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// Where `alloc` puts every input.
pub const INPUT: i32 = 1024;

/// Pages of memory, so that an input of a mebibyte fits.
const PAGES: u64 = 17;

/// A module that keeps the kernel contract. `locals` come behind `run`'s two parameters, address (local 0) and length
/// (local 1) of the input; `run` leaves the output's `address << 32 | length` on the stack.
pub fn kernel(locals: &[ValType], run: impl FnOnce(&mut InstructionSink)) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: PAGES, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    globals.global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(INPUT));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("alloc", ExportKind::Func, 0);
    exports.export("run", ExportKind::Func, 1);
    let mut alloc = Function::new([]);
    alloc.instructions().global_get(0).end();
    let mut body = Function::new_with_locals_types(locals.iter().copied());
    run(&mut body.instructions());
    body.instructions().end();
    let mut code = CodeSection::new();
    code.function(&alloc).function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports).section(&code);
    module.finish()
}

/// Gives its input back.
pub fn echo() -> Vec<u8> {
    kernel(&[], input_as_output)
}

/// Turns a-z into A-Z where they stand.
pub fn upper_case() -> Vec<u8> {
    const AT: u32 = 2;
    const END: u32 = 3;
    kernel(&[ValType::I32, ValType::I32], |run| {
        run.local_get(0).local_tee(AT).local_get(1).i32_add().local_set(END);
        run.block(BlockType::Empty).loop_(BlockType::Empty);
        run.local_get(AT).local_get(END).i32_ge_u().br_if(1);
        run.local_get(AT).i32_load8_u(at(0)).i32_const(i32::from(b'a')).i32_sub();
        run.i32_const(26).i32_lt_u().if_(BlockType::Empty);
        run.local_get(AT).local_get(AT).i32_load8_u(at(0)).i32_const(32).i32_sub().i32_store8(at(0)).end();
        run.local_get(AT).i32_const(1).i32_add().local_set(AT).br(0).end().end();
        input_as_output(run);
    })
}

/// Puts out so many MiB of what its memory holds, whatever its input, and takes no time for it.
pub fn large(mebibytes: u16) -> Vec<u8> {
    kernel(&[], |run| {
        run.i32_const(i32::from(mebibytes) * 16).memory_grow(0).drop();
        run.i64_const(i64::from(mebibytes) << 20);
    })
}

/// Counts down from `rounds` and answers nothing; for ever with zero.
pub fn counting(rounds: i64) -> Vec<u8> {
    const LEFT: u32 = 2;
    kernel(&[ValType::I64], |run| {
        run.i64_const(rounds).local_set(LEFT).loop_(BlockType::Empty);
        run.local_get(LEFT).i64_const(1).i64_sub().local_tee(LEFT).i64_const(0).i64_ne().br_if(0).end();
        run.i64_const(0);
    })
}

/// Small, quick to run on an interpreter, and dear to compile: one loop that jumps to one of `ways` places, each of which
/// changes a variable of its own, so that every place hands all variables on to the loop's head. Goes round `rounds` times
/// and gives its input back.
pub fn dear_to_compile(ways: u32, rounds: i32) -> Vec<u8> {
    const ROUND: u32 = 2;
    const FIRST: u32 = 3;
    let locals = vec![ValType::I32; ways as usize + 1];
    kernel(&locals, |run| {
        run.block(BlockType::Empty).loop_(BlockType::Empty);
        run.local_get(ROUND).i32_const(1).i32_add().local_tee(ROUND).i32_const(rounds).i32_gt_u().br_if(1);
        (0..ways).for_each(|_| {
            run.block(BlockType::Empty);
        });
        run.local_get(ROUND).i32_const(i32::try_from(ways).unwrap_or(i32::MAX)).i32_rem_u();
        run.br_table((0..ways).collect::<Vec<_>>(), 0);
        for way in 0..ways {
            run.end().local_get(FIRST + way).local_get(ROUND).i32_add().local_set(FIRST + way);
            // Out of the blocks that are still open, to the loop.
            run.br(ways - 1 - way);
        }
        run.end().end();
        input_as_output(run);
    })
}

/// Never ends.
pub fn endless() -> Vec<u8> {
    kernel(&[], |run| {
        run.loop_(BlockType::Empty).br(0).end().unreachable();
    })
}

/// Traps at once.
pub fn trapping() -> Vec<u8> {
    kernel(&[], |run| {
        run.unreachable();
    })
}

/// An access to memory so many bytes behind the address on the stack.
pub fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(0), ordering: None }
}

fn input_as_output(run: &mut InstructionSink) {
    run.local_get(0).i64_extend_i32_u().i64_const(32).i64_shl().local_get(1).i64_extend_i32_u().i64_or();
}
