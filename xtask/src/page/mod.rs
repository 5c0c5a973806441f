//! Builds the page, and compresses it, when anything that goes into it has changed.
//!
//! It is made of four programs for wasm32: the page itself and its pieces, which it fetches where it needs them
//! (`browser-node/src/pieces.rs`). `index.html` says what else there is, in Trunk's words, so that `trunk build` makes the same
//! page; here Trunk is not needed.

mod assemble;
mod bind;
mod profile;
mod split;
mod weight;

use std::{
    env, fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub(crate) use profile::run as profile;

use crate::{
    shell::{cargo, step},
    tools, workspace,
};

/// What the page is made of. Folders count with everything in them.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "Trunk.toml",
    "index.html",
    ".cargo",
    "shared",
    "browser-node",
    "web",
    "kernels",
    "xtask/src/page",
];

/// The page's own program.
const PAGE: &str = "p2pnet-web";

/// The pieces, by the names under which the page looks for them.
const PIECES: &[&str] = &["worker", "kinds", "interpreter"];

/// The page in `dist/`, each file beside its brotli form.
pub(crate) fn build() -> Result<()> {
    let stamp_file = workspace::target_dir().join("xtask-page.stamp");
    let stamp = sources_stamp()?;
    let dist = workspace::dist_dir();
    let fresh = fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp);
    if fresh && dist.join("index.html.br").is_file() {
        return Ok(());
    }
    step("fetching crates", cargo().args(["fetch", "--locked", "--quiet"]))?;
    let programs = programs("building the page", &["-p", PAGE, "-p", "p2pnet-browser", "--bins"])?;
    // Beside its place until it is whole: a relay in debug mode hands out what lies there. Not in `target/page`, which is cargo's
    // own for this profile: emptied, it would have all of the page compiled anew each time.
    let stage = workspace::target_dir().join("xtask-page");
    assemble::page(&stage, &programs)?;
    let weight = weight::compress(&stage)?;
    if dist.exists() {
        fs::remove_dir_all(&dist).context("cannot empty dist/")?;
    }
    fs::rename(&stage, &dist).context("cannot put the page into dist/")?;
    eprintln!("   the page: {weight}");
    fs::write(&stamp_file, stamp).context("cannot write the page's stamp")
}

/// For Trunk, which builds the page's own program whole and copies what `index.html` names: puts the pieces into its folder,
/// and the program in parts in place of its own.
pub(crate) fn add_pieces() -> Result<()> {
    let stage = env::var_os("TRUNK_STAGING_DIR").map(PathBuf::from);
    let stage = stage.context("Trunk calls this, and says in TRUNK_STAGING_DIR where it builds")?;
    let programs = programs("building the page's pieces", &["-p", PAGE, "-p", "p2pnet-browser", "--bins"])?;
    let index = stage.join("index.html");
    let text = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let text = assemble::in_parts(&text, &stage, &programs)?;
    let text = assemble::with_pieces(&text, &stage, &programs)?;
    fs::write(&index, text).with_context(|| format!("cannot write {}", index.display()))
}

/// Compiles programs for the page; gives the folder that they are in.
fn programs(what: &str, which: &[&str]) -> Result<PathBuf> {
    tools::wasm_target()?;
    let target = "wasm32-unknown-unknown";
    step(what, cargo().args(["build", "--locked", "--profile", "page", "--target", target]).args(which))?;
    Ok(workspace::target_dir().join(target).join("page"))
}

/// Makes a program that was compiled for wasm32 into JavaScript's, in a folder.
pub(crate) fn bind(program: &Path, folder: &Path, name: &str) -> Result<()> {
    bind::bind(program, folder, name)
}

/// A word that changes when a source of the page does.
fn sources_stamp() -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for source in SOURCES {
        let path = workspace::root().join(source);
        for file in files_under(&path)? {
            hasher.write(file.to_string_lossy().as_bytes());
            hasher.write(&fs::read(&file)?);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// All files below a folder (or the file itself), in order; build output is left out. Nothing, if it does not exist.
fn files_under(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !path.is_dir() || path.ends_with("target") {
        return Ok(Vec::new());
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(files_under(&entry)?);
    }
    Ok(files)
}
