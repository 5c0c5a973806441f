//! `p2pnet kernel check|rewrite`: what a kernel's author asks before sending it.

use std::{fs, path::Path};

use p2pnet_shared::kernel::{Prepared, prepare};

use crate::cli::failure::Failure;

/// Prints the kernel's name, or why no node would take it.
pub fn check(file: &Path) -> Result<(), Failure> {
    let (original, prepared) = read(file)?;
    println!("{} is a kernel", file.display());
    println!("hash       {}", prepared.hash);
    println!("size       {} bytes, {} after the rewrite", original.len(), prepared.rewritten.len());
    Ok(())
}

/// Writes the kernel as engines get it.
pub fn rewrite(file: &Path, output: Option<&Path>) -> Result<(), Failure> {
    let (original, prepared) = read(file)?;
    if let Some(output) = output {
        fs::write(output, &prepared.rewritten)
            .map_err(|error| Failure::here(format!("{} cannot be written: {error}", output.display()), ""))?;
    }
    println!("{} bytes became {}", original.len(), prepared.rewritten.len());
    Ok(())
}

fn read(file: &Path) -> Result<(Vec<u8>, Prepared), Failure> {
    let original = fs::read(file).map_err(|error| {
        Failure::usage(format!("{} cannot be read: {error}", file.display()), "name a WebAssembly file")
    })?;
    let prepared = prepare(&original)?;
    Ok((original, prepared))
}
