//! A kernel that is prepared once for many calls.

use crate::programs::assemble;

/// Rounds in which the table is made: so many that nobody would make it for each call.
const ROUNDS: u32 = 200_000;

/// Makes a table of 256 bytes of what calls share, and puts another byte for each of a call's own by it. Then it spoils the
/// table, which no later call may see.
pub fn table() -> Vec<u8> {
    let text = format!(
        r#"(module
        (memory (export "memory") 3)
        (global $free (mut i32) (i32.const 4096))
        (func (export "alloc") (param $length i32) (result i32)
            (global.get $free) (global.set $free (i32.add (global.get $free) (local.get $length))))
        (func (export "init") (param $at i32) (param $length i32)
            (local $round i32) (local $state i32)
            (loop $next
                (local.set $state (i32.add
                    (i32.add (i32.mul (local.get $state) (i32.const 31)) (local.get $round))
                    (i32.load8_u (i32.add (local.get $at) (i32.rem_u (local.get $round) (local.get $length))))))
                (i32.store8 (i32.and (local.get $round) (i32.const 255)) (i32.shr_u (local.get $state) (i32.const 11)))
                (local.set $round (i32.add (local.get $round) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $round) (i32.const {ROUNDS})))))
        (func (export "run") (param $at i32) (param $length i32) (result i64)
            (local $here i32) (local $end i32)
            (local.set $here (local.get $at))
            (local.set $end (i32.add (local.get $at) (local.get $length)))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $here) (local.get $end)))
                (i32.store8 (local.get $here) (i32.load8_u (i32.load8_u (local.get $here))))
                (local.set $here (i32.add (local.get $here) (i32.const 1)))
                (br $next)))
            (memory.fill (i32.const 0) (i32.const 0) (i32.const 256))
            (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))))"#
    );
    assemble(&text)
}

/// What the calls of [`table`] come to, put one behind the other.
pub fn by_table(shared: &[u8], input: &[u8]) -> Vec<u8> {
    let (mut table, mut state) = ([0_u8; 256], 0_u32);
    for (round, byte) in (0..ROUNDS).zip(shared.iter().cycle()) {
        state = state.wrapping_mul(31).wrapping_add(round).wrapping_add(u32::from(*byte));
        table[usize::from(round.to_le_bytes()[0])] = (state >> 11).to_le_bytes()[0];
    }
    input.iter().map(|byte| table[usize::from(*byte)]).collect()
}
