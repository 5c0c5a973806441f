//! The functions of `wasi_snapshot_preview1`, each as instructions: arguments, standard streams, a clock that stands
//! still and seeded random numbers are there; files, sockets and everything else answer as absent.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};
use wasmparser::{FuncType, ValType as Kind};

use super::adapt::{Appended, Cell, at};

// Error numbers of WASI.
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const NO_ENTRY: i32 = 44;
const NO_SYSTEM_CALL: i32 = 52;
const NO_SEEK: i32 = 70;

/// What every clock says: 2020-01-01T00:00:00Z, in nanoseconds.
const CLOCK: i64 = 1_577_836_800_000_000_000;

/// The body of the function of that name; `None` if its type is not what WASI says.
pub fn body(name: &str, signature: &FuncType, appended: Appended) -> Option<Function> {
    const I: Kind = Kind::I32;
    const L: Kind = Kind::I64;
    let is = |parameters: &[Kind]| signature.params() == parameters && signature.results() == [I];
    // Spare locals: three words.
    let mut function = Function::new([(3, ValType::I32)]);
    let mut sink = function.instructions();
    let right = match name {
        "proc_exit" => {
            exit(&mut sink, appended);
            signature.params() == [I] && signature.results().is_empty()
        }
        "args_sizes_get" => {
            sink.local_get(0).global_get(appended.cell(Cell::ArgumentCount)).i32_store(at(0, 0));
            sink.local_get(1).global_get(appended.cell(Cell::ArgumentBytes)).i32_store(at(0, 0));
            sink.i32_const(SUCCESS);
            is(&[I, I])
        }
        "args_get" => {
            arguments(&mut sink, appended);
            is(&[I, I])
        }
        "environ_sizes_get" => {
            sink.local_get(0).i32_const(0).i32_store(at(0, 0)).local_get(1).i32_const(0).i32_store(at(0, 0));
            sink.i32_const(SUCCESS);
            is(&[I, I])
        }
        "environ_get" => {
            sink.i32_const(SUCCESS);
            is(&[I, I])
        }
        "clock_time_get" => {
            sink.local_get(2).i64_const(CLOCK).i64_store(at(0, 0)).i32_const(SUCCESS);
            is(&[I, L, I])
        }
        "clock_res_get" => {
            sink.local_get(1).i64_const(1).i64_store(at(0, 0)).i32_const(SUCCESS);
            is(&[I, I])
        }
        "random_get" => {
            random(&mut sink, appended);
            is(&[I, I])
        }
        "fd_write" => {
            write(&mut sink, appended);
            is(&[I, I, I, I])
        }
        "fd_read" => {
            read(&mut sink, appended);
            is(&[I, I, I, I])
        }
        "fd_fdstat_get" => {
            // No type, no flags, every right.
            standard_only(&mut sink);
            sink.local_get(1).i64_const(0).i64_store(at(0, 0)).local_get(1).i64_const(-1).i64_store(at(8, 0));
            sink.local_get(1).i64_const(-1).i64_store(at(16, 0)).i32_const(SUCCESS);
            is(&[I, I])
        }
        "fd_filestat_get" => {
            standard_only(&mut sink);
            sink.local_get(1).i32_const(0).i32_const(64).memory_fill(0).i32_const(SUCCESS);
            is(&[I, I])
        }
        "fd_close" | "fd_sync" | "fd_datasync" => {
            standard_only(&mut sink);
            sink.i32_const(SUCCESS);
            is(&[I])
        }
        "fd_fdstat_set_flags" => {
            standard_only(&mut sink);
            sink.i32_const(SUCCESS);
            is(&[I, I])
        }
        "fd_seek" => {
            standard_only(&mut sink);
            sink.i32_const(NO_SEEK);
            is(&[I, L, I, I])
        }
        "fd_tell" => {
            standard_only(&mut sink);
            sink.i32_const(NO_SEEK);
            is(&[I, I])
        }
        "sched_yield" => {
            sink.i32_const(SUCCESS);
            is(&[])
        }
        other => {
            let answer = if other.starts_with("path_") {
                NO_ENTRY
            } else if other.starts_with("fd_") || other.starts_with("sock_") {
                BAD_DESCRIPTOR
            } else {
                NO_SYSTEM_CALL
            };
            sink.i32_const(answer);
            signature.results() == [I]
        }
    };
    sink.end();
    right.then_some(function)
}

/// Answers at once, unless the first parameter is a standard stream.
fn standard_only(sink: &mut InstructionSink) {
    sink.local_get(0).i32_const(2).i32_gt_u().if_(BlockType::Empty).i32_const(BAD_DESCRIPTOR).return_().end();
}

fn exit(sink: &mut InstructionSink, appended: Appended) {
    sink.local_get(0).global_set(appended.cell(Cell::ExitCode));
    sink.i32_const(2).global_set(appended.cell(Cell::State)).unreachable();
}

/// `(addresses, bytes)`: copies the arguments, then walks them for their addresses.
fn arguments(sink: &mut InstructionSink, appended: Appended) {
    const LEFT: u32 = 2;
    sink.local_get(1).global_get(appended.cell(Cell::Arguments)).global_get(appended.cell(Cell::ArgumentBytes));
    sink.memory_copy(0, 0).global_get(appended.cell(Cell::ArgumentCount)).local_set(LEFT);
    sink.block(BlockType::Empty).loop_(BlockType::Empty).local_get(LEFT).i32_eqz().br_if(1);
    sink.local_get(0).local_get(1).i32_store(at(0, 0));
    sink.local_get(0).i32_const(4).i32_add().local_set(0);
    sink.loop_(BlockType::Empty).local_get(1).i32_load8_u(at(0, 0));
    sink.local_get(1).i32_const(1).i32_add().local_set(1).br_if(0).end();
    sink.local_get(LEFT).i32_const(1).i32_sub().local_set(LEFT).br(0).end().end().i32_const(SUCCESS);
}

/// `(address, length)`: xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators").
fn random(sink: &mut InstructionSink, appended: Appended) {
    let state = appended.cell(Cell::Random);
    sink.block(BlockType::Empty).loop_(BlockType::Empty).local_get(1).i32_eqz().br_if(1);
    // A state of zero would stay zero.
    sink.global_get(state)
        .i64_eqz()
        .if_(BlockType::Empty)
        .i64_const(0x9e37_79b9_7f4a_7c15_u64 as i64)
        .global_set(state)
        .end();
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
    sink.i64_store8(at(0, 0)).local_get(0).i32_const(1).i32_add().local_set(0);
    sink.local_get(1).i32_const(1).i32_sub().local_set(1).br(0).end().end().i32_const(SUCCESS);
}

/// `(descriptor, parts, count, written)`
fn write(sink: &mut InstructionSink, appended: Appended) {
    const DONE: u32 = 4;
    sink.local_get(0).i32_const(1).i32_sub().i32_const(1).i32_gt_u().if_(BlockType::Empty);
    sink.i32_const(BAD_DESCRIPTOR).return_().end();
    sink.block(BlockType::Empty).loop_(BlockType::Empty).local_get(2).i32_eqz().br_if(1);
    sink.local_get(0).i32_const(1).i32_eq().if_(BlockType::Empty);
    sink.local_get(1).i32_load(at(0, 0)).local_get(1).i32_load(at(4, 0)).call(appended.output[0]).else_();
    sink.local_get(1).i32_load(at(0, 0)).local_get(1).i32_load(at(4, 0)).call(appended.output[1]).end();
    sink.local_get(DONE).local_get(1).i32_load(at(4, 0)).i32_add().local_set(DONE);
    sink.local_get(1).i32_const(8).i32_add().local_set(1);
    sink.local_get(2).i32_const(1).i32_sub().local_set(2).br(0).end().end();
    sink.local_get(3).local_get(DONE).i32_store(at(0, 0)).i32_const(SUCCESS);
}

/// `(descriptor, parts, count, read)`
fn read(sink: &mut InstructionSink, appended: Appended) {
    const DONE: u32 = 4;
    const STEP: u32 = 5;
    let (start, end) = (appended.cell(Cell::InputStart), appended.cell(Cell::InputEnd));
    sink.local_get(0).if_(BlockType::Empty).i32_const(BAD_DESCRIPTOR).return_().end();
    sink.block(BlockType::Empty).loop_(BlockType::Empty).local_get(2).i32_eqz().br_if(1);
    // The smaller of what is wanted and what is left.
    sink.local_get(1).i32_load(at(4, 0)).global_get(end).global_get(start).i32_sub();
    sink.local_get(1)
        .i32_load(at(4, 0))
        .global_get(end)
        .global_get(start)
        .i32_sub()
        .i32_lt_u()
        .select()
        .local_set(STEP);
    sink.local_get(1).i32_load(at(0, 0)).global_get(start).local_get(STEP).memory_copy(0, 0);
    sink.global_get(start).local_get(STEP).i32_add().global_set(start);
    sink.local_get(DONE).local_get(STEP).i32_add().local_set(DONE);
    sink.local_get(1).i32_const(8).i32_add().local_set(1);
    sink.local_get(2).i32_const(1).i32_sub().local_set(2).br(0).end().end();
    sink.local_get(3).local_get(DONE).i32_store(at(0, 0)).i32_const(SUCCESS);
}
