//! Functions of ours that the rewrite appends to a module, or puts in place of one of its own.

use wasm_encoder::{BlockType, Function, ValType};

use super::{TrapReason, body::Appended, bounds, cost};

/// Gas of [`gas_used`] itself: its entry, and about what it does.
const GAS_USED_COST: i64 = 16;

/// `refill(gas: i64) -> i64`: called with gas below zero. It hands out the next slice of what the host has given, after
/// asking the host's hook if there are slices; with nothing left it ends the call.
///
/// Slices never change the count, not even one that a trap leaves behind: what is handed out goes from one global to the
/// other, and the caller's own count is written only where the call ends for want of gas.
pub(super) fn refill(appended: Appended) -> Function {
    const GAS: u32 = 0;
    const TAKEN: u32 = 1;
    let Appended { gas, trap, reserve, slice, hook, hook_type, .. } = appended;
    let mut function = Function::new([(1, ValType::I64)]);
    let mut sink = function.instructions();
    sink.loop_(BlockType::Empty);
    sink.global_get(slice).i64_eqz().if_(BlockType::Empty);
    sink.global_get(reserve).local_set(TAKEN);
    sink.else_();
    sink.i32_const(0).call_indirect(hook, hook_type);
    sink.global_get(slice).global_get(reserve);
    sink.global_get(slice).global_get(reserve).i64_lt_s().select().local_set(TAKEN);
    sink.end();
    sink.global_get(reserve).local_get(TAKEN).i64_sub().global_set(reserve);
    sink.global_get(gas).local_get(TAKEN).i64_add().global_set(gas);
    sink.local_get(GAS)
        .local_get(TAKEN)
        .i64_add()
        .local_tee(GAS)
        .i64_const(0)
        .i64_ge_s()
        .if_(BlockType::Empty)
        .local_get(GAS)
        .return_()
        .end();
    sink.global_get(reserve).i64_const(0).i64_gt_s().br_if(0);
    sink.end();
    sink.local_get(GAS).global_set(gas);
    sink.i32_const(TrapReason::OutOfGas.code()).global_set(trap).unreachable().end();
    function
}

/// What the global of [`Appended::first`] holds before the first call.
pub(super) const NOT_YET: i64 = i64::MIN;

/// `gas_used() -> i64`: the gas used since it was first called. What is handed out and what is kept back make up the same
/// sum whatever the slices. The caller has written its gas to the global.
pub(super) fn gas_used(appended: Appended) -> Function {
    let Appended { gas, reserve, first, .. } = appended;
    let mut function = Function::new([]);
    let mut sink = function.instructions();
    sink.global_get(gas).i64_const(-GAS_USED_COST).i64_add().global_set(gas);
    sink.global_get(first).i64_const(NOT_YET).i64_eq().if_(BlockType::Empty);
    sink.global_get(gas).global_get(reserve).i64_add().global_set(first).end();
    sink.global_get(first).global_get(gas).i64_sub().global_get(reserve).i64_sub().end();
    function
}

/// `() -> ()`: all of the stack is free, since whoever held it has trapped.
pub(super) fn recover(appended: Appended) -> Function {
    let mut function = Function::new([]);
    let all = i32::try_from(bounds::STACK_BYTES).unwrap_or(i32::MAX);
    function.instructions().i32_const(all).global_set(appended.stack).end();
    function
}

/// `() -> i32`: why the rewrite trapped.
pub(super) fn trap_reason(appended: Appended) -> Function {
    let mut function = Function::new([]);
    function.instructions().global_get(appended.trap).end();
    function
}

/// `grow(pages: i32) -> i32`: `memory.grow` of one memory that answers -1 only beyond its own maximum, traps where all
/// memories would be beyond the call's limit, and takes gas for what it gives. The caller has written its gas to the global.
pub(super) fn grow(appended: Appended, limit: u32, memory: u32, is_one_of_two: bool, maximum: u64) -> Function {
    const PAGES: u32 = 0;
    const WANTED: u32 = 1;
    let mut function = Function::new([(1, ValType::I64)]);
    let mut sink = function.instructions();
    sink.memory_size(memory).i64_extend_i32_u().local_get(PAGES).i64_extend_i32_u().i64_add().local_tee(WANTED);
    sink.i64_const(i64::try_from(maximum).unwrap_or(i64::MAX)).i64_gt_s().if_(BlockType::Empty);
    sink.i32_const(-1).return_().end();
    sink.local_get(WANTED);
    if is_one_of_two {
        sink.memory_size(1 - memory).i64_extend_i32_u().i64_add();
    }
    sink.global_get(limit).i64_extend_i32_u().i64_gt_s().if_(BlockType::Empty);
    sink.i32_const(TrapReason::OutOfMemory.code()).global_set(appended.trap).unreachable().end();
    sink.global_get(appended.gas).local_get(PAGES).i64_extend_i32_u().i64_const(cost::PAGE).i64_mul().i64_sub();
    sink.global_set(appended.gas).global_get(appended.gas).i64_const(0).i64_lt_s().if_(BlockType::Empty);
    sink.global_get(appended.gas).call(appended.refill).global_set(appended.gas).end();
    sink.local_get(PAGES).memory_grow(memory).local_tee(PAGES).i32_const(-1).i32_eq().if_(BlockType::Empty);
    sink.i32_const(TrapReason::HostFailed.code()).global_set(appended.trap).unreachable().end();
    sink.local_get(PAGES).end();
    function
}
