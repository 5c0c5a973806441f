//! Whether bytes of a program are text in UTF-8.

use wasm_encoder::{BlockType, InstructionSink, ValType};

use super::frame::program;

/// How many locals [`is_broken`] uses.
pub(super) const LOCALS: u32 = 4;

/// Leaves 1 if the bytes at an address, all of which lie in memory, are no text in UTF-8, else 0. The locals that hold
/// address and length are used up.
pub(super) fn is_broken(sink: &mut InstructionSink, address: u32, length: u32, locals: u32) {
    // Bytes that belong to the first one, how many of them are left, the character, a byte.
    let [more, left, character, byte] = [0, 1, 2, 3].map(|local| locals + local);
    let next = |sink: &mut InstructionSink| {
        sink.local_get(address).i32_load8_u(program(0)).local_set(byte);
        sink.local_get(address).i32_const(1).i32_add().local_set(address);
    };
    sink.block(BlockType::Result(ValType::I32)).block(BlockType::Empty).loop_(BlockType::Empty);
    sink.i32_const(0).local_get(length).i32_eqz().br_if(2).drop();
    next(sink);
    sink.local_get(length).i32_const(1).i32_sub().local_set(length);
    sink.local_get(byte).i32_const(0x80).i32_lt_u().br_if(0);
    // Neither a byte that only follows, nor one that begins more than there is, or what is written shorter.
    sink.local_get(byte).i32_const(0xc2).i32_sub().i32_const(0xf4 - 0xc2).i32_gt_u().br_if(1);
    sink.local_get(byte).i32_const(0xe0).i32_ge_u().local_get(byte).i32_const(0xf0).i32_ge_u().i32_add();
    sink.i32_const(1).i32_add().local_tee(more).local_tee(left).local_get(length).i32_gt_u().br_if(1);
    sink.local_get(length).local_get(more).i32_sub().local_set(length);
    sink.local_get(byte).i32_const(0x3f).local_get(more).i32_shr_u().i32_and().local_set(character);
    sink.loop_(BlockType::Empty);
    next(sink);
    sink.local_get(byte).i32_const(0xc0).i32_and().i32_const(0x80).i32_ne().br_if(2);
    sink.local_get(character).i32_const(6).i32_shl().local_get(byte).i32_const(0x3f).i32_and().i32_or();
    sink.local_set(character).local_get(left).i32_const(1).i32_sub().local_tee(left).br_if(0).end();
    // So many bytes are for characters of more than five bits each and one; the first byte said so for two.
    sink.local_get(character).i32_const(1).local_get(more).i32_const(5).i32_mul().i32_const(1).i32_add().i32_shl();
    sink.i32_lt_u().br_if(1);
    sink.local_get(character).i32_const(0x10_ffff).i32_gt_u().br_if(1);
    // Halves of pairs in UTF-16 are no characters.
    sink.local_get(character).i32_const(-0x800).i32_and().i32_const(0xd800).i32_ne().br_if(0);
    sink.end().end().i32_const(1).end();
}
