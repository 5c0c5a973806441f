//! What the referee and wasmtime's own WASI say to each other over a pipe: lists of byte strings, each length in front
//! in 32 bits, little-endian.

use std::io::{self, Read, Write};

/// Sends a list.
pub fn send(to: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    to.write_all(&length(parts.len())?)?;
    for part in parts {
        to.write_all(&length(part.len())?)?;
        to.write_all(part)?;
    }
    to.flush()
}

/// Takes the next list; `None` where the other side has ended.
pub fn take(from: &mut impl Read) -> io::Result<Option<Vec<Vec<u8>>>> {
    let mut count = [0; 4];
    match from.read_exact(&mut count) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut parts = Vec::new();
    for _ in 0..u32::from_le_bytes(count) {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut part = vec![0; u32::from_le_bytes(length) as usize];
        from.read_exact(&mut part)?;
        parts.push(part);
    }
    Ok(Some(parts))
}

fn length(length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).map_err(|_| io::Error::other("more than 4 GiB in one piece"))?;
    Ok(length.to_le_bytes())
}
