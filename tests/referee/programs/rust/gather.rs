//! Reads everything, as `read_to_end` does, and says what it was.

use std::io::{self, Read};

fn main() -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let mixed = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| (mixed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    println!("{} bytes, {lines} lines, {mixed:016x}", text.len());
    println!("{:02x?}", &text[text.len().saturating_sub(8)..]);
    Ok(())
}
