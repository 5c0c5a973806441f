//! The kernel that sorts a span. Its input is a byte that is 0 for ascending, the count of items, where each of their keys
//! begins and the last ends (all of 4 bytes), and the keys; its output the items' places in order, of 4 bytes each. It merges
//! ever longer runs of places, so that what is equal stays in its order.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// Bytes before the offsets in an input: the order and how many items there are.
pub(super) const HEAD: usize = 5;

/// Functions of the kernel.
const ALLOC: u32 = 0;
const IS_BEFORE: u32 = 1;
/// Globals of the kernel: where free memory begins, the offsets, the keys, and -1 for descending.
const FREE: u32 = 0;
const OFFSETS: u32 = 1;
const KEY_BYTES: u32 = 2;
const SIGN: u32 = 3;

/// The module.
pub(super) fn emit() -> Vec<u8> {
    let (int, long) = (ValType::I32, ValType::I64);
    let mut types = TypeSection::new();
    types.ty().function([int], [int]);
    types.ty().function([int, int], [int]);
    types.ty().function([int, int], [long]);
    let mut functions = FunctionSection::new();
    (0..3).for_each(|ty| _ = functions.function(ty));
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    // An address of 0 would say that there is no memory.
    for first in [16, 0, 0, 1] {
        globals.global(GlobalType { val_type: int, mutable: true, shared: false }, &ConstExpr::i32_const(first));
    }
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("alloc", ExportKind::Func, ALLOC);
    exports.export("run", ExportKind::Func, 2);
    let mut code = CodeSection::new();
    code.function(&alloc()).function(&is_before()).function(&run());
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports).section(&code);
    module.finish()
}

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(0), ordering: None }
}

/// `(length)`: the address of that much memory, 0 if there is none.
fn alloc() -> Function {
    const START: u32 = 1;
    const PAGES: u32 = 2;
    let mut function = Function::new([(2, ValType::I32)]);
    let mut sink = function.instructions();
    sink.global_get(FREE).local_tee(START).local_get(0).i32_add().global_set(FREE);
    sink.global_get(FREE).i32_const(0xffff).i32_add().i32_const(16).i32_shr_u().memory_size(0).i32_sub();
    sink.local_tee(PAGES).i32_const(0).i32_gt_s().if_(BlockType::Empty);
    sink.local_get(PAGES).memory_grow(0).i32_const(-1).i32_eq().if_(BlockType::Empty);
    sink.i32_const(0).return_().end().end().local_get(START).end();
    function
}

/// `(left, right)`: whether the left item's key comes before the right one's.
fn is_before() -> Function {
    const PLACES: [(u32, u32, u32); 2] = [(0, LEFT, LEFT_END), (1, RIGHT, RIGHT_END)];
    const LEFT: u32 = 2;
    const LEFT_END: u32 = 3;
    const RIGHT: u32 = 4;
    const RIGHT_END: u32 = 5;
    const DIFFERENCE: u32 = 6;
    let mut function = Function::new([(5, ValType::I32)]);
    let mut sink = function.instructions();
    for (item, start, end) in PLACES {
        for (place, next) in [(start, 0), (end, 4)] {
            element(&mut sink, |sink| _ = sink.global_get(OFFSETS), item);
            sink.i32_load(at(next)).global_get(KEY_BYTES).i32_add().local_set(place);
        }
    }
    sink.block(BlockType::Empty).loop_(BlockType::Empty);
    // The shorter one is first; of two of the same length neither is.
    sink.local_get(LEFT).local_get(LEFT_END).i32_eq().if_(BlockType::Empty);
    sink.local_get(RIGHT).local_get(RIGHT_END).i32_eq().i32_const(1).i32_sub().local_set(DIFFERENCE).br(2).end();
    sink.local_get(RIGHT).local_get(RIGHT_END).i32_eq().if_(BlockType::Empty);
    sink.i32_const(1).local_set(DIFFERENCE).br(2).end();
    sink.local_get(LEFT).i32_load8_u(at(0)).local_get(RIGHT).i32_load8_u(at(0)).i32_sub();
    sink.local_tee(DIFFERENCE).br_if(1);
    add(&mut sink, LEFT, 1);
    add(&mut sink, RIGHT, 1);
    sink.br(0).end().end();
    sink.local_get(DIFFERENCE).global_get(SIGN).i32_mul().i32_const(0).i32_lt_s().end();
    function
}

/// `(input, length)`: the address and length of the places in order.
fn run() -> Function {
    const COUNT: u32 = 2;
    const FROM: u32 = 3;
    const TO: u32 = 4;
    const WIDTH: u32 = 5;
    const LOW: u32 = 6;
    const MIDDLE: u32 = 7;
    const HIGH: u32 = 8;
    const LEFT: u32 = 9;
    const RIGHT: u32 = 10;
    const PLACE: u32 = 11;
    let mut function = Function::new([(10, ValType::I32)]);
    let mut sink = function.instructions();
    sink.i32_const(-1).i32_const(1).local_get(0).i32_load8_u(at(0)).select().global_set(SIGN);
    sink.local_get(0).i32_load(at(1)).local_set(COUNT);
    sink.local_get(0).i32_const(HEAD as i32).i32_add().global_set(OFFSETS);
    element(&mut sink, |sink| _ = sink.global_get(OFFSETS), COUNT);
    sink.i32_const(4).i32_add().global_set(KEY_BYTES);
    for places in [FROM, TO] {
        sink.local_get(COUNT).i32_const(4).i32_mul().call(ALLOC).local_tee(places).i32_eqz();
        sink.if_(BlockType::Empty).unreachable().end();
    }
    while_below(&mut sink, PLACE, COUNT, |sink| {
        element(sink, |sink| _ = sink.local_get(FROM), PLACE);
        sink.local_get(PLACE).i32_store(at(0));
        add(sink, PLACE, 1);
    });
    sink.i32_const(1).local_set(WIDTH);
    while_below(&mut sink, WIDTH, COUNT, |sink| {
        sink.i32_const(0).local_set(LOW);
        while_below(sink, LOW, COUNT, |sink| {
            // Two runs: from low to the middle, and from there to high.
            for (begin, end) in [(LOW, MIDDLE), (MIDDLE, HIGH)] {
                sink.local_get(begin).local_get(WIDTH).i32_add().local_tee(end).local_get(COUNT);
                sink.local_get(end).local_get(COUNT).i32_lt_u().select().local_set(end);
            }
            sink.local_get(LOW).local_tee(LEFT).local_set(PLACE).local_get(MIDDLE).local_set(RIGHT);
            while_below(sink, PLACE, HIGH, |sink| {
                element(sink, |sink| _ = sink.local_get(TO), PLACE);
                // The right run gives if it has an item that is before the left one's, or the left run is at its end.
                sink.local_get(RIGHT).local_get(HIGH).i32_lt_u().if_(BlockType::Result(ValType::I32));
                sink.local_get(LEFT).local_get(MIDDLE).i32_ge_u().if_(BlockType::Result(ValType::I32));
                sink.i32_const(1).else_();
                for run in [RIGHT, LEFT] {
                    element(sink, |sink| _ = sink.local_get(FROM), run);
                    sink.i32_load(at(0));
                }
                sink.call(IS_BEFORE).end().else_().i32_const(0).end();
                sink.if_(BlockType::Result(ValType::I32));
                for (run, last) in [(RIGHT, false), (LEFT, true)] {
                    element(sink, |sink| _ = sink.local_get(FROM), run);
                    sink.i32_load(at(0));
                    add(sink, run, 1);
                    if last {
                        sink.end()
                    } else {
                        sink.else_()
                    };
                }
                sink.i32_store(at(0));
                add(sink, PLACE, 1);
            });
            sink.local_get(HIGH).local_set(LOW);
        });
        sink.local_get(FROM).local_get(TO).local_set(FROM).local_set(TO);
        sink.local_get(WIDTH).i32_const(1).i32_shl().local_set(WIDTH);
    });
    sink.local_get(FROM).i64_extend_i32_u().i64_const(32).i64_shl();
    sink.local_get(COUNT).i32_const(4).i32_mul().i64_extend_i32_u().i64_or().end();
    function
}

/// Leaves the address of an item in a list of words.
fn element(sink: &mut InstructionSink, list: impl FnOnce(&mut InstructionSink), item: u32) {
    list(sink);
    sink.local_get(item).i32_const(4).i32_mul().i32_add();
}

fn add(sink: &mut InstructionSink, local: u32, value: i32) {
    sink.local_get(local).i32_const(value).i32_add().local_set(local);
}

/// Does something as long as one local is below another.
fn while_below(sink: &mut InstructionSink, local: u32, end: u32, body: impl FnOnce(&mut InstructionSink)) {
    sink.block(BlockType::Empty).loop_(BlockType::Empty);
    sink.local_get(local).local_get(end).i32_ge_u().br_if(1);
    body(sink);
    sink.br(0).end().end();
}
