//! Clocks and waiting. A nanosecond passes with each gas, so a program that waits for its clock to move, or measures how
//! long something took, sees it move, by the same on every engine; waiting moves it to where the wait ends.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

use super::{
    calls::{Guarded, errno},
    frame::{Cell, Frame, ORIGIN, OWN_MEMORY, PROGRAM, Stream, own, program},
};

/// Clocks: 0 tells people's time, the others count from the start.
pub(super) const CLOCKS: i32 = 4;
/// Subscriptions in one call.
const MOST_SUBSCRIPTIONS: i32 = 1024;
/// Nanoseconds that all waits together move the clock by at most: 146 years, so that no clock overflows.
const MOST_SLEPT: i64 = 1 << 62;
/// Bytes of an event.
const EVENT: i32 = 32;

/// Where the fields of a subscription are.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    bytes: i32,
    clock: u64,
    timeout: u64,
    flags: u64,
}

/// Of `wasi_snapshot_preview1`.
pub(super) const PREVIEW1: Layout = Layout { bytes: 48, clock: 16, timeout: 24, flags: 40 };
/// Of `wasi_unstable`, where the clock has a name before it.
pub(super) const UNSTABLE: Layout = Layout { bytes: 56, clock: 24, timeout: 32, flags: 48 };

/// Where the kind of a subscription or event is, and the descriptor of a subscription.
const KIND: u64 = 8;
const DESCRIPTOR: u64 = 16;
/// Where the error, the bytes that are ready and the flags of an event are.
const ERROR: u64 = 8;
const BYTES: u64 = 16;
const FLAGS: u64 = 24;

/// Leaves what a clock says.
pub(super) fn time(sink: &mut InstructionSink, frame: Frame, clock: impl FnOnce(&mut InstructionSink)) {
    sink.call(frame.now()).i64_const(0).i64_const(ORIGIN);
    clock(sink);
    sink.select().i64_add();
}

/// `(subscriptions, events, count, answer)`
pub(super) fn poll(frame: Frame, layout: Layout) -> Function {
    const SUBSCRIPTIONS: u32 = 0;
    const EVENTS: u32 = 1;
    const COUNT: u32 = 2;
    const ANSWER: u32 = 3;
    // Where a subscription lies in the scratch pages, where they end, whether a descriptor is ready.
    const PLACE: u32 = 4;
    const END: u32 = 5;
    const READY: u32 = 6;
    const EVENTS_LEFT: u32 = 7;
    // The nanoseconds that the first clock is away, and those of the clock at hand.
    const FIRST: u32 = 8;
    const AWAY: u32 = 9;
    const NOW: u32 = 10;
    let slept = frame.cell(Cell::Slept);
    let mut function = Function::new([(4, ValType::I32), (3, ValType::I64)]);
    let mut guarded = Guarded { sink: function.instructions(), frame };
    guarded.sink.local_get(COUNT).i32_const(1).i32_sub().i32_const(MOST_SUBSCRIPTIONS).i32_ge_u();
    guarded.refuse_if(errno::INVALID);
    for (address, bytes) in [(SUBSCRIPTIONS, layout.bytes), (EVENTS, EVENT)] {
        guarded.sink.local_get(address).local_get(COUNT).i32_const(bytes).i32_mul().i64_extend_i32_u();
        guarded.sink.call(frame.fits()).i32_eqz();
        guarded.refuse_if(errno::FAULT);
    }
    guarded.writable(ANSWER, 4);
    let sink = &mut guarded.sink;
    sink.local_get(COUNT).i32_const(layout.bytes).i32_mul().local_set(END);
    sink.i32_const(0).local_get(SUBSCRIPTIONS).local_get(END).memory_copy(OWN_MEMORY, PROGRAM);
    sink.call(frame.now()).local_set(NOW).i64_const(-1).local_set(FIRST);

    // What is asked for, and when it happens; how far a clock is away takes the place of its time.
    sink.loop_(BlockType::Empty);
    sink.local_get(PLACE).i32_load8_u(own(KIND)).i32_const(2).i32_gt_u();
    guarded.refuse_if(errno::INVALID);
    let sink = &mut guarded.sink;
    sink.local_get(PLACE).i32_load8_u(own(KIND)).if_(BlockType::Empty);
    sink.i32_const(1).local_set(READY).else_();
    sink.local_get(PLACE).i32_load(own(layout.clock)).i32_const(CLOCKS).i32_ge_u();
    sink.local_get(PLACE).i32_load16_u(own(layout.flags)).i32_const(1).i32_gt_u().i32_or();
    guarded.refuse_if(errno::INVALID);
    let sink = &mut guarded.sink;
    sink.local_get(PLACE).i64_load(own(layout.timeout)).local_set(AWAY);
    sink.local_get(PLACE).i32_load16_u(own(layout.flags)).if_(BlockType::Empty);
    // Since the clock's own time is needed twice, it is taken off the deadline after a look whether that is past.
    sink.local_get(NOW).i64_const(0).i64_const(ORIGIN).local_get(PLACE).i32_load(own(layout.clock)).select();
    sink.i64_add().local_get(AWAY).i64_ge_u().if_(BlockType::Result(ValType::I64)).i64_const(0).else_();
    sink.local_get(AWAY).local_get(NOW).i64_sub();
    sink.i64_const(0).i64_const(ORIGIN).local_get(PLACE).i32_load(own(layout.clock)).select().i64_sub().end();
    sink.local_set(AWAY).end();
    sink.local_get(PLACE).local_get(AWAY).i64_store(own(layout.timeout));
    sink.local_get(AWAY).local_get(FIRST).local_get(AWAY).local_get(FIRST).i64_lt_u().select().local_set(FIRST).end();
    sink.local_get(PLACE).i32_const(layout.bytes).i32_add().local_tee(PLACE);
    sink.local_get(END).i32_lt_u().br_if(0).end();

    // A descriptor that is ready, or wrong, is told at once; otherwise time passes.
    sink.local_get(READY).if_(BlockType::Empty).i64_const(0).local_set(FIRST).else_();
    sink.global_get(slept).local_get(FIRST).i64_add().i64_const(MOST_SLEPT);
    sink.local_get(FIRST).i64_const(MOST_SLEPT).global_get(slept).i64_sub().i64_le_u().select();
    sink.global_set(slept).end();

    sink.i32_const(0).local_set(PLACE).i32_const(0).local_set(EVENTS_LEFT);
    sink.loop_(BlockType::Empty).block(BlockType::Empty);
    sink.local_get(PLACE).i32_load8_u(own(KIND)).i32_eqz().if_(BlockType::Empty);
    sink.local_get(PLACE).i64_load(own(layout.timeout)).local_get(FIRST).i64_gt_u().br_if(1).end();
    // Field by field: what lies between them stays as it was.
    sink.local_get(EVENTS).i32_const(errno::SUCCESS).i32_store16(program(ERROR));
    sink.local_get(EVENTS)
        .i64_const(0)
        .i64_store(program(BYTES))
        .local_get(EVENTS)
        .i32_const(0)
        .i32_store16(program(FLAGS));
    sink.local_get(EVENTS).local_get(PLACE).i64_load(own(0)).i64_store(program(0));
    sink.local_get(EVENTS).local_get(PLACE).i32_load8_u(own(KIND)).i32_store8(program(KIND + 2));
    sink.local_get(PLACE).i32_load8_u(own(KIND)).if_(BlockType::Empty);
    descriptor(sink, frame, EVENTS, PLACE);
    sink.end();
    sink.local_get(EVENTS).i32_const(EVENT).i32_add().local_set(EVENTS);
    sink.local_get(EVENTS_LEFT).i32_const(1).i32_add().local_set(EVENTS_LEFT).end();
    sink.local_get(PLACE).i32_const(layout.bytes).i32_add().local_tee(PLACE);
    sink.local_get(END).i32_lt_u().br_if(0).end();
    sink.local_get(ANSWER).local_get(EVENTS_LEFT).i32_store(program(0)).i32_const(errno::SUCCESS).end();
    function
}

/// Completes the event of a descriptor: what is left to read and whether that is all, that something can be written, or
/// that it is no such descriptor.
fn descriptor(sink: &mut InstructionSink, frame: Frame, event: u32, place: u32) {
    const FOR_READING: i32 = 1;
    let (start, end) = (frame.cell(Cell::InputStart), frame.cell(Cell::InputEnd));
    let stream = |sink: &mut InstructionSink| {
        sink.local_get(place).i32_load(own(DESCRIPTOR)).call(frame.stream()).i32_const(Stream::Input as i32);
    };
    let wrong = |sink: &mut InstructionSink| {
        sink.local_get(event).i32_const(errno::BAD_DESCRIPTOR).i32_store16(program(ERROR));
    };
    sink.local_get(place).i32_load8_u(own(KIND)).i32_const(FOR_READING).i32_eq().if_(BlockType::Empty);
    stream(sink);
    sink.i32_eq().if_(BlockType::Empty);
    sink.local_get(event).global_get(end).global_get(start).i32_sub().i64_extend_i32_u().i64_store(program(BYTES));
    sink.local_get(event).global_get(end).global_get(start).i32_eq().i32_store16(program(FLAGS)).else_();
    wrong(sink);
    sink.end().else_();
    stream(sink);
    sink.i32_gt_u().if_(BlockType::Empty);
    sink.local_get(event).i64_const(1).i64_store(program(BYTES)).else_();
    wrong(sink);
    sink.end().end();
}
