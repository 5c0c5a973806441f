//! Texts: UTF-8, counted in characters, changed as Unicode says. New texts live until the next item.

use alloc::{string::String, vec::Vec};
use core::{cmp::Ordering, slice, str};

use crate::{
    RESULT,
    exchange::{Failure, MOST_TEXT_BYTES},
};

/// # Safety
/// Address and length come from [`RESULT`] or from the formula's own texts.
unsafe fn bytes(start: *const u8, len: usize) -> &'static [u8] {
    unsafe { slice::from_raw_parts(start, len) }
}

/// The text; nothing of it where it is no UTF-8, which no honest host sends.
unsafe fn text(start: *const u8, len: usize) -> &'static str {
    str::from_utf8(unsafe { bytes(start, len) }).unwrap_or("")
}

fn give(text: &[u8]) -> i32 {
    unsafe { *RESULT.get() = [text.as_ptr() as u64, text.len() as u64] };
    0
}

fn give_new(text: String) -> i32 {
    if text.len() > MOST_TEXT_BYTES { Failure::TextTooLong as i32 } else { give(text.leak().as_bytes()) }
}

/// Characters.
#[unsafe(no_mangle)]
unsafe extern "C" fn text_length(start: *const u8, len: usize) -> u64 {
    unsafe { text(start, len) }.chars().count() as u64
}

#[unsafe(no_mangle)]
unsafe extern "C" fn text_upper(start: *const u8, len: usize) -> i32 {
    give_new(unsafe { text(start, len) }.to_uppercase())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn text_lower(start: *const u8, len: usize) -> i32 {
    give_new(unsafe { text(start, len) }.to_lowercase())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn text_trim(start: *const u8, len: usize) -> i32 {
    give(unsafe { text(start, len) }.trim().as_bytes())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn text_contains(start: *const u8, len: usize, part: *const u8, part_len: usize) -> i32 {
    i32::from(find(unsafe { bytes(start, len) }, unsafe { bytes(part, part_len) }).is_some())
}

/// Every occurrence, from left to right; an empty text occurs nowhere.
#[unsafe(no_mangle)]
unsafe extern "C" fn text_replace(
    start: *const u8,
    len: usize,
    from: *const u8,
    from_len: usize,
    to: *const u8,
    to_len: usize,
) -> i32 {
    let (mut rest, from, to) = unsafe { (bytes(start, len), bytes(from, from_len), bytes(to, to_len)) };
    if from.is_empty() {
        return give(rest);
    }
    let mut replaced = Vec::with_capacity(len);
    while let Some(at) = find(rest, from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
        if replaced.len() > MOST_TEXT_BYTES {
            return Failure::TextTooLong as i32;
        }
    }
    replaced.extend_from_slice(rest);
    if replaced.len() > MOST_TEXT_BYTES { Failure::TextTooLong as i32 } else { give(replaced.leak()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn text_concatenate(a: *const u8, a_len: usize, b: *const u8, b_len: usize) -> i32 {
    let (a, b) = unsafe { (bytes(a, a_len), bytes(b, b_len)) };
    if a.len() + b.len() > MOST_TEXT_BYTES {
        return Failure::TextTooLong as i32;
    }
    let mut both = Vec::with_capacity(a.len() + b.len());
    both.extend_from_slice(a);
    both.extend_from_slice(b);
    give(both.leak())
}

/// By Unicode code points: -1, 0 or 1.
#[unsafe(no_mangle)]
unsafe extern "C" fn text_compare(a: *const u8, a_len: usize, b: *const u8, b_len: usize) -> i32 {
    match unsafe { bytes(a, a_len).cmp(bytes(b, b_len)) } {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    whole.windows(part.len()).position(|window| window == part)
}
