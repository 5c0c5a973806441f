//! Makes the page's folder known to cargo, so that a page built anew is embedded anew.

use std::{env, fs, path::PathBuf};

fn main() {
    let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR") else { return };
    let dist = PathBuf::from(manifest).join("../dist");
    // An absent folder would count as changed at every build. While it is empty the relay serves a page that says how
    // to build the real one (src/http/page.rs).
    if let Err(error) = fs::create_dir_all(&dist) {
        println!("cargo::warning=the page's folder {} cannot be made: {error}", dist.display());
    }
    println!("cargo::rerun-if-changed={}", dist.display());
}
