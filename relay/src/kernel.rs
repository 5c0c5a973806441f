//! `p2pnet kernel check|rewrite|test`: what the author of a kernel, or of a WASI command, asks before sending it.

mod cases;
mod trial;

use std::{fs, path::Path, time::Duration};

use p2pnet_shared::{
    id::Hash,
    job::kinds::command,
    kernel::{MOST_MODULE_BYTES, Rewritten, prepare_kernel, prepare_program},
};

pub use self::trial::test;
use crate::{
    cli::{failure::Failure, output::say},
    files,
};

/// A file's module, made ready for engines.
struct Ready {
    /// Name of the file's bytes: what a job may give instead of them.
    hash: Hash,
    bytes: usize,
    is_command: bool,
    prepared: Rewritten,
}

/// How `p2pnet kernel test` tries a kernel.
pub struct Trial<'a> {
    /// The module.
    pub file: &'a Path,
    /// The folder with the cases.
    pub cases: &'a Path,
    /// Whether what is not said about a case is written down from what came.
    pub write: bool,
    /// How long one call may take on one engine.
    pub patience: Duration,
    /// Linear memory that a call may use, in MiB.
    pub memory_mib: u32,
}

/// Prints the kernel's name, or why no node would take it.
pub fn check(file: &Path) -> Result<(), Failure> {
    let Ready { hash, bytes, is_command, prepared } = read(file)?;
    let what = if is_command { "a command for jobs of kind `command`" } else { "a kernel" };
    say(format_args!("{} is {what}", file.display()))?;
    say(format_args!("hash       {hash}"))?;
    say(format_args!("size       {bytes} bytes, {} after the rewrite", prepared.rewritten.len()))?;
    Ok(())
}

/// Writes the kernel as engines get it.
pub fn rewrite(file: &Path, output: Option<&Path>) -> Result<(), Failure> {
    let Ready { bytes, prepared, .. } = read(file)?;
    if let Some(output) = output {
        fs::write(output, &prepared.rewritten)
            .map_err(|error| Failure::here(format!("{} cannot be written: {error}", output.display()), ""))?;
    }
    say(format_args!("{bytes} bytes became {}", prepared.rewritten.len()))?;
    Ok(())
}

fn read(file: &Path) -> Result<Ready, Failure> {
    let original = files::read(file, MOST_MODULE_BYTES)
        .map_err(|error| Failure::unread(file.display(), &error, "name a WebAssembly file"))?;
    let is_command = command::is_command(&original);
    let prepared = if is_command { prepare_program(&command::adapt(&original)?)? } else { prepare_kernel(&original)? };
    Ok(Ready { hash: Hash::of(&original), bytes: original.len(), is_command, prepared })
}
