//! One value as bytes: a tag, then its content. Integers take as many bytes as they need.

use alloc::vec::Vec;

/// `false`; nothing follows.
pub const TAG_FALSE: u8 = 0;
/// `true`; nothing follows.
pub const TAG_TRUE: u8 = 1;
/// An integer; its zigzag LEB128 follows.
pub const TAG_INTEGER: u8 = 2;
/// A 64-bit float; its 8 bytes follow, little-endian.
pub const TAG_FLOAT: u8 = 3;
/// A text; its length as LEB128 and its UTF-8 follow.
pub const TAG_TEXT: u8 = 4;

/// The bits that every float result with no number has.
pub const CANONICAL_NAN: u64 = 0x7ff8_0000_0000_0000;

/// A value that has been read; texts stay where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// A float.
    Float(f64),
    /// A text, not yet checked to be UTF-8.
    Text(&'a [u8]),
}

/// Writes a value.
pub fn put(out: &mut Vec<u8>, value: Value) {
    match value {
        Value::Bool(value) => out.push(if value { TAG_TRUE } else { TAG_FALSE }),
        Value::Integer(value) => {
            out.push(TAG_INTEGER);
            put_integer(out, value);
        }
        Value::Float(value) => {
            out.push(TAG_FLOAT);
            let bits = if value.is_nan() { CANONICAL_NAN } else { value.to_bits() };
            out.extend_from_slice(&bits.to_le_bytes());
        }
        Value::Text(text) => {
            out.push(TAG_TEXT);
            put_natural(out, text.len() as u128);
            out.extend_from_slice(text);
        }
    }
}

/// Reads the value at `at` and moves `at` behind it; `None` if there is none that is whole.
#[inline]
pub fn take<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Value<'a>> {
    let tag = *bytes.get(*at)?;
    *at += 1;
    match tag {
        TAG_FALSE => Some(Value::Bool(false)),
        TAG_TRUE => Some(Value::Bool(true)),
        TAG_INTEGER => take_integer(bytes, at).map(Value::Integer),
        TAG_FLOAT => {
            let raw = bytes.get(*at..)?.first_chunk::<8>()?;
            *at += 8;
            Some(Value::Float(f64::from_le_bytes(*raw)))
        }
        TAG_TEXT => {
            let len = usize::try_from(take_natural(bytes, at)?).ok()?;
            let text = bytes.get(*at..)?.get(..len)?;
            *at += len;
            Some(Value::Text(text))
        }
        _ => None,
    }
}

/// Zigzag LEB128: small magnitudes are short.
pub fn put_integer(out: &mut Vec<u8>, value: i128) {
    put_natural(out, ((value << 1) ^ (value >> 127)) as u128);
}

#[inline]
fn take_integer(bytes: &[u8], at: &mut usize) -> Option<i128> {
    let zigzag = take_natural(bytes, at)?;
    Some((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
}

/// LEB128.
pub fn put_natural(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// LEB128; `None` where it ends early or goes beyond 128 bits.
#[inline]
pub fn take_natural(bytes: &[u8], at: &mut usize) -> Option<u128> {
    // Nearly every number is short: 63 bits are read without 128-bit arithmetic.
    let mut low: u64 = 0;
    let mut shift = 0;
    while shift < 63 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        low |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(u128::from(low));
        }
        shift += 7;
    }
    let mut value = u128::from(low);
    while shift < 128 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let part = u128::from(byte & 0x7f);
        if shift == 126 && part > 3 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
    None
}
