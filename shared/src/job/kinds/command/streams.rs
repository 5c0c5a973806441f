//! The functions of WASI that move bytes: reading, writing, arguments, chance.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

use super::{
    calls::{Guarded, errno},
    frame::{Cell, Frame, OWN_MEMORY, PROGRAM, Stream, each_vector, own, program},
};

/// Parameters of `fd_read` and `fd_write`, and their locals.
const LIST: u32 = 1;
const COUNT: u32 = 2;
const ANSWER: u32 = 3;
const DONE: u32 = 4;
const PLACE: u32 = 5;
const STEP: u32 = 6;

/// `(descriptor, list, count, answer)`: fills the buffers in their order, as far as the input reaches.
pub(super) fn read(frame: Frame) -> Function {
    let (start, end) = (frame.cell(Cell::InputStart), frame.cell(Cell::InputEnd));
    transfer(frame, &[Stream::Input], |sink| {
        // The smaller of what is wanted and what is left.
        sink.local_get(PLACE).i32_load(own(4)).local_tee(STEP).global_get(end).global_get(start).i32_sub();
        sink.local_get(STEP).global_get(end).global_get(start).i32_sub().i32_lt_u().select().local_tee(STEP);
        sink.if_(BlockType::Empty);
        sink.local_get(PLACE).i32_load(own(0)).global_get(start).local_get(STEP).memory_copy(PROGRAM, OWN_MEMORY);
        sink.global_get(start).local_get(STEP).i32_add().global_set(start);
        sink.local_get(DONE).local_get(STEP).i32_add().local_set(DONE).end();
    })
}

/// `(descriptor, list, count, answer)`: puts the buffers out in their order. Their sum is what the answer can say.
pub(super) fn write(frame: Frame) -> Function {
    transfer(frame, &[Stream::Output, Stream::Errors], |sink| {
        sink.local_get(DONE).local_get(PLACE).i32_load(own(4)).local_tee(STEP).i32_add();
        sink.local_get(DONE).i32_lt_u().br_if(1);
        sink.local_get(STEP).if_(BlockType::Empty);
        sink.local_get(0).call(frame.stream()).i32_const(Stream::Output as i32).i32_eq().if_(BlockType::Empty);
        sink.local_get(PLACE).i32_load(own(0)).local_get(STEP).call(frame.append(Stream::Output)).else_();
        sink.local_get(PLACE).i32_load(own(0)).local_get(STEP).call(frame.append(Stream::Errors)).end();
        sink.local_get(DONE).local_get(STEP).i32_add().local_set(DONE).end();
    })
}

fn transfer(frame: Frame, streams: &[Stream], step: impl FnOnce(&mut InstructionSink)) -> Function {
    let mut function = Function::new([(3, ValType::I32)]);
    let mut guarded = Guarded { sink: function.instructions(), frame };
    guarded.list(LIST, COUNT).stream(0, streams);
    guarded.sink.local_get(COUNT).call(frame.buffers()).i32_eqz();
    guarded.refuse_if(errno::FAULT).writable(ANSWER, 4);
    let sink = &mut guarded.sink;
    each_vector(sink, COUNT, PLACE, step);
    sink.local_get(ANSWER).local_get(DONE).i32_store(program(0)).i32_const(errno::SUCCESS).end();
    function
}

/// `(addresses, bytes)`: copies the arguments, then walks them for their addresses.
pub(super) fn arguments(frame: Frame) -> Function {
    const LEFT: u32 = 2;
    const PLACE: u32 = 3;
    const SHIFT: u32 = 4;
    let (count, bytes, place) =
        (frame.cell(Cell::ArgumentCount), frame.cell(Cell::ArgumentBytes), frame.cell(Cell::Arguments));
    let mut function = Function::new([(3, ValType::I32)]);
    let mut guarded = Guarded { sink: function.instructions(), frame };
    guarded.sink.local_get(0).global_get(count).i64_extend_i32_u().i64_const(4).i64_mul();
    guarded.sink.call(frame.fits()).i32_eqz();
    guarded.refuse_if(errno::FAULT);
    guarded.sink.local_get(1).global_get(bytes).i64_extend_i32_u().call(frame.fits()).i32_eqz();
    guarded.refuse_if(errno::FAULT);
    let sink = &mut guarded.sink;
    sink.local_get(1).global_get(place).global_get(bytes).memory_copy(PROGRAM, OWN_MEMORY);
    sink.global_get(count).local_set(LEFT).global_get(place).local_set(PLACE);
    sink.local_get(1).global_get(place).i32_sub().local_set(SHIFT);
    sink.block(BlockType::Empty).loop_(BlockType::Empty).local_get(LEFT).i32_eqz().br_if(1);
    sink.local_get(0).local_get(PLACE).local_get(SHIFT).i32_add().i32_store(program(0));
    sink.local_get(0).i32_const(4).i32_add().local_set(0);
    sink.loop_(BlockType::Empty).local_get(PLACE).i32_load8_u(own(0));
    sink.local_get(PLACE).i32_const(1).i32_add().local_set(PLACE).br_if(0).end();
    sink.local_get(LEFT).i32_const(1).i32_sub().local_set(LEFT).br(0).end().end().i32_const(errno::SUCCESS).end();
    function
}

/// `(address, length)`: xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators").
pub(super) fn random(frame: Frame) -> Function {
    let state = frame.cell(Cell::Random);
    let mut function = Function::new([]);
    let mut guarded = Guarded { sink: function.instructions(), frame };
    guarded.sink.local_get(1).i32_eqz();
    guarded.refuse_if(errno::SUCCESS);
    guarded.sink.local_get(0).local_get(1).i64_extend_i32_u().call(frame.fits()).i32_eqz();
    guarded.refuse_if(errno::FAULT);
    let sink = &mut guarded.sink;
    // A state of zero would stay zero.
    sink.global_get(state).i64_eqz().if_(BlockType::Empty);
    sink.i64_const(0x9e37_79b9_7f4a_7c15_u64 as i64).global_set(state).end();
    sink.loop_(BlockType::Empty);
    for (shift, left) in [(12, false), (25, true), (27, false)] {
        sink.global_get(state).global_get(state).i64_const(shift);
        if left {
            sink.i64_shl();
        } else {
            sink.i64_shr_u();
        }
        sink.i64_xor().global_set(state);
    }
    sink.local_get(0).global_get(state).i64_const(0x2545_f491_4f6c_dd1d).i64_mul().i64_const(56).i64_shr_u();
    sink.i64_store8(program(0)).local_get(0).i32_const(1).i32_add().local_set(0);
    sink.local_get(1).i32_const(1).i32_sub().local_tee(1).br_if(0).end().i32_const(errno::SUCCESS).end();
    function
}
