//! JavaScript for the page's programs, by wasm-bindgen.

use std::path::Path;

use anyhow::Result;

use crate::{
    shell::{program, step},
    tools,
};

/// Makes a program that was compiled for wasm32 into JavaScript's: `name.js` and `name_bg.wasm` in a folder.
pub(super) fn bind(compiled: &Path, folder: &Path, name: &str) -> Result<()> {
    run(compiled, folder, name, "--remove-name-section")
}

/// The same, with the names of functions as the compiler mangled them.
pub(super) fn bind_with_names(compiled: &Path, folder: &Path, name: &str) -> Result<()> {
    run(compiled, folder, name, "--no-demangle")
}

fn run(compiled: &Path, folder: &Path, name: &str, names: &str) -> Result<()> {
    tools::wasm_bindgen()?;
    step(
        &format!("binding {name} to JavaScript"),
        program("wasm-bindgen")
            .args(["--target", "web", "--no-typescript", names, "--out-name", name, "--out-dir"])
            .arg(folder)
            .arg(compiled),
    )
}
