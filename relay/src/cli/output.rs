//! Standard output of a command: what a person or a program reads. A reader that has seen enough and left
//! (`p2pnet job list | head -1`) ends the command, quietly.

use std::{fmt::Display, io::Write as _};

use super::failure::Failure;

/// Writes a line.
pub fn say(line: impl Display) -> Result<(), Failure> {
    write(format_args!("{line}\n"))
}

/// Writes a text that brings its line ends along.
pub fn put(text: impl Display) -> Result<(), Failure> {
    write(format_args!("{text}"))
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    ended(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes a line for a person beside the output; nobody may be reading it.
pub fn aside(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn write(text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    ended(out.write_fmt(text).and_then(|()| out.flush()))
}

fn ended(written: std::io::Result<()>) -> Result<(), Failure> {
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
        _ => Failure::here(format!("standard output cannot be written: {error}"), ""),
    })
}
