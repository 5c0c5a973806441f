//! What every adapted command has beside its program: the cells of its state, the second memory with what is handed over,
//! and the functions that the functions of WASI are made of.
//!
//! Input: arguments (their count and their bytes, each 32 bits, then the arguments, each ended by a zero byte), a seed (64
//! bits), then standard input. Output: exit code, length of standard output (32 bits each), standard output, standard
//! error.
//!
//! `proc_exit` cannot return through the program's frames, so it sets a global and traps; a host that sees that the kernel
//! may end early calls `run` once more, which then gives the output. A program that trapped by itself, or for want of
//! memory or stack, gives what it had put out so far, with the exit code that a shell shows for such an end; the top bit
//! of the length of standard output says that it was no code of the program's. Who ran out of time or gas, or put out too
//! much, gives nothing: the node that keeps the job then puts [`instead`] in its place.

use wasm_encoder::{BlockType, ConstExpr, Function, InstructionSink, MemArg, MemArgTarget, ValType};

use crate::kernel::TrapReason;

/// The program's memory.
pub(super) const PROGRAM: u32 = 0;
/// The memory that the program cannot name: input, output, and at its beginning [`SCRATCH_PAGES`] for copies of what a
/// call names.
pub(super) const OWN_MEMORY: u32 = 1;
/// Pages at the beginning of our memory that calls use as they like.
pub(super) const SCRATCH_PAGES: u64 = 1;

/// What the clock for people says at the start: 2020-01-01T00:00:00Z, in nanoseconds.
pub(super) const ORIGIN: i64 = 1_577_836_800_000_000_000;

/// The exit code of a program that trapped: what a shell shows for an abort.
pub(super) const ABORTED: u32 = 134;
/// The exit code of a program that wanted more memory than it may have: what a shell shows where the system ended it.
pub(super) const OUT_OF_MEMORY: u32 = 137;
/// The exit code of a program that recursed too deep: what a shell shows for a bad address.
pub(super) const STACK_OVERFLOW: u32 = 139;
/// The exit code of a program that ran out of time or gas: what `timeout` gives.
pub(super) const TIMED_OUT: u32 = 124;
/// The exit code of a program that put out more than it may: what a shell shows for a file beyond its bound.
pub(super) const TOO_LARGE: u32 = 153;
/// In the length of standard output, which is always shorter: the program did not end by itself.
pub(super) const TRAPPED: u32 = 1 << 31;
/// Bytes before standard output in the output.
const HEADER: i32 = 8;
/// No room is ever made larger than this, and no buffer longer than half of it, so that no sum of ours overflows.
const MOST_BUFFER: i64 = 0xf000_0000;

/// The output of a run that gave none, with this exit code.
pub(super) fn instead(exit_code: u32) -> Vec<u8> {
    [exit_code.to_le_bytes(), TRAPPED.to_le_bytes()].concat()
}

/// What the globals hold, in order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// 0 before `run`, 1 while the program runs or its input is taken, 2 when it has ended.
    State,
    /// The exit code.
    ExitCode,
    /// How many arguments.
    ArgumentCount,
    /// Bytes of all arguments.
    ArgumentBytes,
    /// Where the arguments lie.
    Arguments,
    /// Where unread input begins.
    InputStart,
    /// Where the input ends.
    InputEnd,
    /// Standard output: address, length, room. It begins with the output's header.
    Output,
    /// See [`Cell::Output`].
    OutputLength,
    /// See [`Cell::Output`].
    OutputRoom,
    /// Standard error: address, length, room.
    Errors,
    /// See [`Cell::Errors`].
    ErrorsLength,
    /// See [`Cell::Errors`].
    ErrorsRoom,
    /// What the descriptors 0, 1 and 2 are, two bits each: see [`Stream`].
    Descriptors,
    /// [`TRAPPED`] if the program did not end by itself, else 0.
    Trapped,
    /// State of the random numbers, an `i64`.
    Random,
    /// Nanoseconds that the program waited, an `i64`.
    Slept,
}

/// What a descriptor can be; 0 is none.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Input = 1,
    Output = 2,
    Errors = 3,
}

const INTEGERS: u32 = Cell::Random as u32;
const LONGS: u32 = 2;
/// 0, 1 and 2 are what they are everywhere.
const DESCRIPTORS: i32 = Stream::Input as i32 | (Stream::Output as i32) << 2 | (Stream::Errors as i32) << 4;

/// Types and first values of the globals.
pub(super) fn cells() -> impl Iterator<Item = (ValType, ConstExpr)> {
    let integer = |cell| if cell == Cell::Descriptors as u32 { DESCRIPTORS } else { 0 };
    let integers = (0..INTEGERS).map(move |cell| (ValType::I32, ConstExpr::i32_const(integer(cell))));
    integers.chain((0..LONGS).map(|_| (ValType::I64, ConstExpr::i64_const(0))))
}

/// Where the globals and functions that are appended begin.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    globals: u32,
    functions: u32,
}

type Own = (&'static [ValType], &'static [ValType], Function);

impl Frame {
    /// After so many globals and functions.
    pub(super) fn new(globals: u32, functions: u32) -> Self {
        Self { globals, functions }
    }

    /// The global of a cell.
    pub(super) fn cell(self, cell: Cell) -> u32 {
        self.globals + cell as u32
    }

    /// `(length) -> address`: room in our memory; 0 if there is none.
    pub(super) fn room(self) -> u32 {
        self.functions
    }

    /// `(input, length) -> output`.
    pub(super) fn run(self) -> u32 {
        self.functions + 1
    }

    /// `(address, length)`: appends the program's bytes to standard output or standard error.
    pub(super) fn append(self, stream: Stream) -> u32 {
        self.functions + if matches!(stream, Stream::Errors) { 3 } else { 2 }
    }

    /// `(address, length: i64) -> 1` if all of it lies in the program's memory, else 0.
    pub(super) fn fits(self) -> u32 {
        self.functions + 6
    }

    /// `(descriptor) -> Stream`, 0 if it is not open.
    pub(super) fn stream(self) -> u32 {
        self.functions + 7
    }

    /// `(vectors, count) -> count`: copies a list of buffers to the scratch pages, as many as there are at most; -1 if the
    /// list lies outside of the program's memory.
    pub(super) fn vectors(self) -> u32 {
        self.functions + 8
    }

    /// `(count) -> 1` if all buffers of the list in the scratch pages lie in the program's memory, else 0.
    pub(super) fn buffers(self) -> u32 {
        self.functions + 9
    }

    /// `(length) -> address`: room for the input.
    pub(super) fn alloc(self) -> u32 {
        self.functions + 10
    }

    /// See [`RECOVERS`](crate::engine::drive::RECOVERS).
    pub(super) fn recover(self) -> u32 {
        self.functions + 11
    }

    /// See [`TRAP_REASON`](crate::engine::drive::TRAP_REASON).
    pub(super) fn trap_reason(self) -> u32 {
        self.functions + 12
    }

    /// `() -> i64`: nanoseconds since the start. Only if there is a clock.
    pub(super) fn now(self) -> u32 {
        self.functions + 13
    }

    /// See [`GAS_USED`](crate::engine::drive::GAS_USED). Only if there is a clock.
    pub(super) fn gas_used(self) -> u32 {
        self.functions + 14
    }

    fn reserve(self, stream: Stream) -> u32 {
        self.functions + if matches!(stream, Stream::Errors) { 5 } else { 4 }
    }

    /// All functions that are appended, in their order.
    pub(super) fn functions(self, start: Option<u32>, entry: u32, has_clock: bool) -> Vec<Own> {
        const I: ValType = ValType::I32;
        const L: ValType = ValType::I64;
        let output = [Cell::Output, Cell::OutputLength, Cell::OutputRoom].map(|cell| self.cell(cell));
        let errors = [Cell::Errors, Cell::ErrorsLength, Cell::ErrorsRoom].map(|cell| self.cell(cell));
        let mut functions: Vec<Own> = vec![
            (&[I], &[I], room()),
            (&[I, I], &[L], self.run_body(start, entry, has_clock)),
            (&[I, I], &[], self.append_body(output, Stream::Output)),
            (&[I, I], &[], self.append_body(errors, Stream::Errors)),
            (&[I], &[], reserve(output, self.room())),
            (&[I], &[], reserve(errors, self.room())),
            (&[I, L], &[I], fits()),
            (&[I], &[I], stream(self.cell(Cell::Descriptors))),
            (&[I, I], &[I], vectors(self.fits())),
            (&[I], &[I], buffers(self.fits())),
            (&[I], &[I], self.alloc_body()),
            (&[], &[], nothing()),
            (&[], &[I], {
                let mut own = Function::new([]);
                own.instructions().i32_const(TrapReason::Own.code()).end();
                own
            }),
        ];
        if has_clock {
            let mut now = Function::new([]);
            now.instructions().call(self.gas_used()).global_get(self.cell(Cell::Slept)).i64_add().end();
            let mut gas_used = Function::new([]);
            gas_used.instructions().i64_const(0).end();
            functions.push((&[], &[L], now));
            functions.push((&[], &[L], gas_used));
        }
        functions
    }

    fn run_body(self, start: Option<u32>, entry: u32, has_clock: bool) -> Function {
        let cell = |cell| self.cell(cell);
        let mut function = Function::new([(1, ValType::I32)]);
        let mut sink = function.instructions();
        // Asked again while it runs: it trapped.
        sink.global_get(cell(Cell::State)).i32_const(1).i32_eq().if_(BlockType::Empty);
        sink.i32_const(TRAPPED.cast_signed()).global_set(cell(Cell::Trapped));
        sink.i32_const(ABORTED.cast_signed()).global_set(cell(Cell::ExitCode));
        for (reason, code) in [(TrapReason::OutOfMemory, OUT_OF_MEMORY), (TrapReason::StackOverflow, STACK_OVERFLOW)] {
            sink.call(self.trap_reason()).i32_const(reason.code()).i32_eq().if_(BlockType::Empty);
            sink.i32_const(code.cast_signed()).global_set(cell(Cell::ExitCode)).end();
        }
        // Before there was room for any output: the scratch pages have some.
        sink.global_get(cell(Cell::OutputRoom)).i32_eqz().if_(BlockType::Empty);
        sink.i32_const(HEADER).global_set(cell(Cell::OutputLength));
        sink.i32_const(HEADER).global_set(cell(Cell::OutputRoom)).end();
        sink.i32_const(2).global_set(cell(Cell::State)).end();
        sink.global_get(cell(Cell::State)).i32_eqz().if_(BlockType::Empty);
        sink.i32_const(1).global_set(cell(Cell::State));
        sink.local_get(0).i32_load(own(0)).global_set(cell(Cell::ArgumentCount));
        sink.local_get(0).i32_load(own(4)).global_set(cell(Cell::ArgumentBytes));
        sink.local_get(0).i32_const(8).i32_add().global_set(cell(Cell::Arguments));
        sink.local_get(0).local_get(1).i32_add().global_set(cell(Cell::InputEnd));
        sink.global_get(cell(Cell::Arguments)).global_get(cell(Cell::ArgumentBytes)).i32_add().local_tee(2);
        sink.i64_load(own(0)).global_set(cell(Cell::Random));
        sink.local_get(2).i32_const(8).i32_add().global_set(cell(Cell::InputStart));
        sink.i32_const(HEADER).call(self.reserve(Stream::Output));
        sink.i32_const(HEADER).global_set(cell(Cell::OutputLength));
        if has_clock {
            sink.call(self.gas_used()).drop();
        }
        if let Some(start) = start {
            sink.call(start);
        }
        sink.call(entry);
        sink.i32_const(2).global_set(cell(Cell::State)).end();
        self.give(&mut sink);
        sink.end();
        function
    }

    /// `(length)`: counts as the program's run, so that want of memory here ends as it does there.
    fn alloc_body(self) -> Function {
        let state = self.cell(Cell::State);
        let mut function = Function::new([]);
        let mut sink = function.instructions();
        sink.i32_const(1).global_set(state).local_get(0).call(self.room()).i32_const(0).global_set(state).end();
        function
    }

    /// `(address, length)`. Room for standard error is always kept behind standard output, where it goes at the end: there
    /// may be no more memory then.
    fn append_body(self, [address, length, _]: [u32; 3], stream: Stream) -> Function {
        let mut function = Function::new([]);
        let mut sink = function.instructions();
        sink.local_get(1).call(self.reserve(stream));
        sink.global_get(self.cell(Cell::ErrorsLength)).local_get(1).i32_add().call(self.reserve(Stream::Output));
        sink.global_get(address).global_get(length).i32_add();
        sink.local_get(0).local_get(1).memory_copy(OWN_MEMORY, PROGRAM);
        sink.global_get(length).local_get(1).i32_add().global_set(length).end();
        function
    }

    /// Puts standard error behind standard output, and leaves the address and length of both.
    fn give(self, sink: &mut InstructionSink) {
        let cell = |cell| self.cell(cell);
        let (output, output_length, errors_length) =
            (cell(Cell::Output), cell(Cell::OutputLength), cell(Cell::ErrorsLength));
        sink.global_get(output).global_get(cell(Cell::ExitCode)).i32_store(own(0));
        sink.global_get(output).global_get(output_length).i32_const(HEADER).i32_sub();
        sink.global_get(cell(Cell::Trapped)).i32_or().i32_store(own(4));
        sink.global_get(errors_length).if_(BlockType::Empty);
        sink.global_get(output).global_get(output_length).i32_add().global_get(cell(Cell::Errors));
        sink.global_get(errors_length).memory_copy(OWN_MEMORY, OWN_MEMORY).end();
        sink.global_get(output).i64_extend_i32_u().i64_const(32).i64_shl();
        sink.global_get(output_length).global_get(errors_length).i32_add().i64_extend_i32_u().i64_or();
    }
}

/// An access to our memory; it need not be aligned.
pub(super) fn own(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(OWN_MEMORY), ordering: None }
}

/// An access to the program's memory; it need not be aligned.
pub(super) fn program(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(PROGRAM), ordering: None }
}

/// Whole pages behind everything.
fn room() -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.local_get(0).i64_extend_i32_u().i64_const(0xffff).i64_add().i64_const(16).i64_shr_u().i32_wrap_i64();
    sink.memory_grow(OWN_MEMORY).local_tee(0).i32_const(-1).i32_eq().if_(BlockType::Empty);
    sink.i32_const(0).return_().end();
    sink.local_get(0).i32_const(16).i32_shl().end();
    function
}

fn nothing() -> Function {
    let mut function = Function::new([]);
    function.instructions().end();
    function
}

/// `(more)`: makes room for so many more bytes in a buffer. A buffer behind which memory ends grows where it is, by a
/// quarter more than needed; another moves to the end, into twice the room.
fn reserve([address, length, room]: [u32; 3], make_room: u32) -> Function {
    const MORE: u32 = 0;
    const PLACE: u32 = 1;
    const NEEDED: u32 = 2;
    let mut function = Function::new([(1, ValType::I32), (1, ValType::I64)]);
    let mut sink = function.instructions();
    sink.global_get(length).i64_extend_i32_u().local_get(MORE).i64_extend_i32_u().i64_add().local_tee(NEEDED);
    sink.global_get(room).i64_extend_i32_u().i64_le_u().if_(BlockType::Empty).return_().end();
    sink.local_get(NEEDED).i64_const(MOST_BUFFER / 2).i64_gt_u().if_(BlockType::Empty).unreachable().end();
    sink.global_get(room).if_(BlockType::Empty);
    sink.global_get(address).global_get(room).i32_add();
    sink.memory_size(OWN_MEMORY).i32_const(16).i32_shl().i32_eq().if_(BlockType::Empty);
    sink.local_get(NEEDED).local_get(NEEDED).i64_const(2).i64_shr_u().i64_add();
    sink.global_get(room).i64_extend_i32_u().i64_sub().i32_wrap_i64().local_tee(MORE);
    sink.call(make_room).i32_eqz().if_(BlockType::Empty).unreachable().end();
    sink.global_get(room).local_get(MORE).i32_const(0xffff).i32_add().i32_const(-0x1_0000).i32_and().i32_add();
    sink.global_set(room).return_().end().end();
    sink.local_get(NEEDED).i64_const(1).i64_shl().i32_wrap_i64().i32_const(0xffff).i32_or().local_tee(MORE);
    sink.call(make_room).local_tee(PLACE).i32_eqz().if_(BlockType::Empty).unreachable().end();
    sink.local_get(PLACE).global_get(address).global_get(length).memory_copy(OWN_MEMORY, OWN_MEMORY);
    sink.local_get(PLACE).global_set(address);
    sink.local_get(MORE).i32_const(0xffff).i32_add().i32_const(-0x1_0000).i32_and().global_set(room).end();
    function
}

fn fits() -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.local_get(0).i64_extend_i32_u().local_get(1).i64_add();
    sink.memory_size(PROGRAM).i64_extend_i32_u().i64_const(16).i64_shl().i64_le_u().end();
    function
}

fn stream(descriptors: u32) -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.local_get(0).i32_const(2).i32_gt_u().if_(BlockType::Empty).i32_const(0).return_().end();
    sink.global_get(descriptors).local_get(0).i32_const(1).i32_shl().i32_shr_u().i32_const(3).i32_and().end();
    function
}

/// Buffers that one call reads or writes; a longer list is taken up to there, as `readv` and `writev` may.
const MOST_VECTORS: i32 = 1024;
/// Bytes of a buffer's place and length.
const VECTOR: i32 = 8;

fn vectors(fits: u32) -> Function {
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.local_get(1).i32_eqz().if_(BlockType::Empty).i32_const(0).return_().end();
    sink.local_get(0).local_get(1).i64_extend_i32_u().i64_const(i64::from(VECTOR)).i64_mul().call(fits);
    sink.i32_eqz().if_(BlockType::Empty).i32_const(-1).return_().end();
    sink.local_get(1).i32_const(MOST_VECTORS).local_get(1).i32_const(MOST_VECTORS).i32_lt_u().select().local_set(1);
    sink.i32_const(0).local_get(0).local_get(1).i32_const(VECTOR).i32_mul().memory_copy(OWN_MEMORY, PROGRAM);
    sink.local_get(1).end();
    function
}

fn buffers(fits: u32) -> Function {
    const END: u32 = 0;
    const PLACE: u32 = 1;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut sink = function.instructions();
    each_vector(&mut sink, END, PLACE, |sink| {
        sink.local_get(PLACE).i32_load(own(4)).if_(BlockType::Empty);
        sink.local_get(PLACE).i32_load(own(0)).local_get(PLACE).i32_load(own(4)).i64_extend_i32_u().call(fits);
        sink.i32_eqz().if_(BlockType::Empty).i32_const(0).return_().end().end();
    });
    sink.i32_const(1).end();
    function
}

/// Does something for each buffer of the list in the scratch pages, with its place in a local. `count` is a local with
/// their number, which becomes the list's end. Label 1 from within leaves the loop.
pub(super) fn each_vector(sink: &mut InstructionSink, count: u32, place: u32, body: impl FnOnce(&mut InstructionSink)) {
    sink.local_get(count).i32_const(VECTOR).i32_mul().local_set(count).i32_const(0).local_set(place);
    sink.block(BlockType::Empty).loop_(BlockType::Empty);
    sink.local_get(place).local_get(count).i32_ge_u().br_if(1);
    body(sink);
    sink.local_get(place).i32_const(VECTOR).i32_add().local_set(place).br(0).end().end();
}
