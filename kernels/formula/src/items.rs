//! Items in, values out.

use alloc::vec::Vec;

use crate::{
    Cell, RESULT,
    exchange::{
        STATUS_DONE, STATUS_FAILED,
        value::{self, Value},
    },
    heap, wide,
};

/// Bytes of output gathered before they are put aside.
const BLOCK: usize = 64 << 10;

struct Items {
    input: &'static [u8],
    at: usize,
    /// Items read.
    read: u64,
    float: f64,
    block: Vec<u8>,
    full: Vec<Vec<u8>>,
    /// The heap's end before the current item's own texts.
    mark: usize,
}

static ITEMS: Cell<Items> =
    Cell::new(Items { input: &[], at: 0, read: 0, float: 0.0, block: Vec::new(), full: Vec::new(), mark: 0 });

/// Kinds of item, as `items_next` answers.
const NONE: i32 = 0;
const INTEGER: i32 = 1;
const FLOAT: i32 = 2;
const TEXT: i32 = 3;
const BAD: i32 = 4;

#[unsafe(no_mangle)]
extern "C" fn items_begin(input: *const u8, len: usize) {
    let items = unsafe { ITEMS.get() };
    items.input = unsafe { core::slice::from_raw_parts(input, len) };
    items.block = Vec::with_capacity(BLOCK);
    items.block.push(STATUS_DONE);
    items.full = Vec::with_capacity(len / 1024 + 64);
    items.mark = heap::mark();
}

/// Reads the next item; an integer or a text lies in [`RESULT`], a float is given by [`items_float`].
#[unsafe(no_mangle)]
extern "C" fn items_next() -> i32 {
    let items = unsafe { ITEMS.get() };
    // The texts of the item before are no longer needed; what was put aside lies below the mark.
    unsafe { heap::fall_back(items.mark) };
    if items.at == items.input.len() {
        return NONE;
    }
    items.read += 1;
    let result = unsafe { RESULT.get() };
    match value::take(items.input, &mut items.at) {
        Some(Value::Integer(value)) => {
            *result = [value as u64, (value >> 64) as u64];
            INTEGER
        }
        Some(Value::Float(value)) => {
            items.float = value;
            FLOAT
        }
        Some(Value::Text(text)) => {
            *result = [text.as_ptr() as u64, text.len() as u64];
            TEXT
        }
        Some(Value::Bool(_)) | None => BAD,
    }
}

#[unsafe(no_mangle)]
extern "C" fn items_float() -> f64 {
    unsafe { ITEMS.get() }.float
}

/// How many items came before the current one.
#[unsafe(no_mangle)]
extern "C" fn items_position() -> u64 {
    unsafe { ITEMS.get() }.read.saturating_sub(1)
}

fn push(value: Value) {
    let items = unsafe { ITEMS.get() };
    value::put(&mut items.block, value);
    if items.block.len() >= BLOCK - 64 {
        // A block that grew lies above the mark, among the item's texts: the mark moves behind them all.
        let full = core::mem::replace(&mut items.block, Vec::with_capacity(BLOCK));
        items.full.push(full);
        items.mark = heap::mark();
    }
}

#[unsafe(no_mangle)]
extern "C" fn push_integer(low: u64, high: u64) {
    push(Value::Integer(wide(low, high)));
}

#[unsafe(no_mangle)]
extern "C" fn push_float(value: f64) {
    push(Value::Float(value));
}

#[unsafe(no_mangle)]
extern "C" fn push_bool(value: i32) {
    push(Value::Bool(value != 0));
}

#[unsafe(no_mangle)]
extern "C" fn push_text(start: *const u8, len: usize) {
    push(Value::Text(unsafe { core::slice::from_raw_parts(start, len) }));
}

#[unsafe(no_mangle)]
extern "C" fn items_finish() -> u64 {
    let items = unsafe { ITEMS.get() };
    if items.full.is_empty() {
        return give_output(core::mem::take(&mut items.block));
    }
    let mut out = Vec::with_capacity(items.full.iter().map(Vec::len).sum::<usize>() + items.block.len());
    items.full.iter().for_each(|block| out.extend_from_slice(block));
    out.extend_from_slice(&items.block);
    give_output(out)
}

/// An output that says why there is no result, and at which number or item.
#[unsafe(no_mangle)]
extern "C" fn fail(code: i32, position: u64) -> u64 {
    let mut out = Vec::with_capacity(10);
    out.extend_from_slice(&[STATUS_FAILED, code as u8]);
    out.extend_from_slice(&position.to_le_bytes());
    give_output(out)
}

/// The kernel contract's answer: address and length of bytes that stay.
pub fn give_output(out: Vec<u8>) -> u64 {
    let out = out.leak();
    (out.as_ptr() as u64) << 32 | out.len() as u64
}
