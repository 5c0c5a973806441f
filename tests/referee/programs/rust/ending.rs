//! The ways in which a program can end, after it has put something out.

use std::{
    env,
    io::{self, Write},
    process,
};

fn main() -> Result<(), String> {
    let how = env::args().nth(1).unwrap_or_else(|| "return".to_owned());
    let number = env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    println!("ending by {how}");
    eprintln!("said to the errors");
    print!("half a line");
    match how.as_str() {
        "exit" | "at-once" | "unflushed" => process::exit(number),
        "abort" => process::abort(),
        "trap" => core::arch::wasm32::unreachable(),
        "divide" => println!("{}", 100 / number),
        "outside" => {
            let empty: Vec<u8> = Vec::new();
            println!("{}", empty[number as usize + 3]);
        }
        "error" => return Err("an error of main's own".to_owned()),
        _ => {}
    }
    io::stdout().flush().map_err(|error| error.to_string())?;
    process::exit(number)
}
