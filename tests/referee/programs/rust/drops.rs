//! Many small writes to both outputs.

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let turns = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_u32);
    for turn in 0..turns {
        io::stdout().write_all(&[b'a' + (turn % 26) as u8])?;
        io::stdout().flush()?;
        if turn % 7 == 0 {
            eprint!("{turn};");
        }
    }
    let (mut sum, mut count) = (0_u32, 0_u32);
    for byte in io::stdin().bytes() {
        sum = (sum * 31 + u32::from(byte?)) % 1_000_003;
        count += 1;
        if count % 997 == 0 {
            println!("{sum}");
        }
    }
    println!("\n{count} bytes, {sum}");
    Ok(())
}
