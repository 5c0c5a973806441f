//! Standard output and standard error, the only place that writes to them.
//!
//! A command's output is what somebody asked for: a reader that has seen enough and left (`p2pnet job list | head -1`) ends
//! the command, quietly; output that cannot be kept is a failure. What is said beside that, and what a process says that
//! stays, is lost where nobody can take it, and nothing else changes.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

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
    let mut out = io::stdout().lock();
    ended(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes a line for a person beside the output; nobody may be reading it.
pub fn aside(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line to the output of a process that stays: it goes on where nobody reads that.
pub fn announce(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes what the command line itself answers: help and version to standard output, a mistake to standard error.
pub fn usage(answer: &clap::Error) -> Result<(), Failure> {
    let written = answer.print();
    if answer.use_stderr() { Ok(()) } else { ended(written.and_then(|()| io::stdout().flush())) }
}

fn write(text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    ended(out.write_fmt(text).and_then(|()| out.flush()))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has ever more kinds of errors")]
fn ended(written: io::Result<()>) -> Result<(), Failure> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
        _ => Failure::here(format!("standard output cannot be written: {error}"), ""),
    })
}
