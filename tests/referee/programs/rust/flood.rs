//! Few large writes: argument MiB in one piece, then once more in pieces of odd length.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mebibytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_usize);
    let bytes: Vec<u8> = (0..mebibytes << 20).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect();
    let mut output = io::stdout().lock();
    output.write_all(&bytes)?;
    for piece in bytes.chunks(65_521) {
        output.write_all(piece)?;
    }
    output.flush()?;
    io::stderr().write_all(&bytes[bytes.len() / 2..])
}
