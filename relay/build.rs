//! Sees to it that the page has an index, which the binary embeds: from then on cargo knows the file, and compiles the
//! binary anew when the page was built, and only the binary.

use std::{env, fs, io, path::PathBuf};

/// Shown by a binary that was built before its page.
const STAND_IN: &str = include_str!("src/http/no_page.html");

fn main() {
    let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR") else { return };
    let dist = PathBuf::from(manifest).join("../dist");
    if let Err(error) = write_if_absent(&dist) {
        println!("cargo::warning=the page's folder {} cannot be written: {error}", dist.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
}

fn write_if_absent(dist: &PathBuf) -> io::Result<()> {
    let index = dist.join("index.html");
    if index.exists() {
        return Ok(());
    }
    fs::create_dir_all(dist)?;
    fs::write(index, STAND_IN)
}
