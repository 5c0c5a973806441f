//! What a program is told when it starts, and what it cannot have.

use std::{env, fs, io, thread};

fn main() {
    // The first is the name that the program was started by, which is the host's to choose.
    for (at, argument) in env::args().enumerate().skip(1) {
        println!("{at}: {} bytes, {argument:?}", argument.len());
    }
    println!("{} variables", env::vars().count());
    println!("PATH {:?}", env::var("PATH"));
    println!("thread {:?}", thread::Builder::new().spawn(|| ()).map(drop).map_err(|error| error.kind()));
    println!("open {}", fs::File::open("anything").is_err());
    println!("create {}", fs::write("anything", "text").is_err());
    println!("list {}", fs::read_dir(".").is_err());
    println!("terminal {}", io::IsTerminal::is_terminal(&io::stdout()));
}
