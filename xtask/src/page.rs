//! Builds the page with Trunk, and compresses it, when anything that goes into it has changed.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    shell::{cargo, program, step},
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
    "xtask/src/page.rs",
];

/// The folder of `dist/` whose files no visit takes before somebody asks for them.
const EXAMPLES: &str = "examples";

/// What is worth compressing.
const COMPRESSED: &[&str] = &["html", "js", "mjs", "css", "wasm", "svg", "json", "txt", "webmanifest"];

/// The page in `dist/`, each file beside its brotli form.
pub fn build() -> Result<()> {
    let stamp_file = workspace::target_dir().join("xtask-page.stamp");
    let stamp = sources_stamp()?;
    let dist = workspace::dist_dir();
    let fresh = fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp);
    if fresh && dist.join("index.html.br").is_file() {
        return Ok(());
    }
    tools::wasm_target()?;
    tools::page_tools()?;
    step("fetching crates", cargo().args(["fetch", "--locked", "--quiet"]))?;
    // Trunk reads NO_COLOR as a boolean and stops at the usual `1`. Offline: it would else look for tools of its own.
    step(
        "building the page",
        program("trunk").args(["build", "--offline"]).env("TRUNK_SKIP_VERSION_CHECK", "true").env_remove("NO_COLOR"),
    )?;
    let total = compress(&dist)?;
    eprintln!("   the page: {:.0} KB in brotli", total as f64 / 1000.0);
    fs::write(&stamp_file, stamp).context("cannot write the page's stamp")
}

/// Writes a `.br` beside every file that shrinks; gives the bytes that a first visit takes.
fn compress(dist: &Path) -> Result<u64> {
    let mut total = 0;
    for file in files_under(dist)? {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let bytes = fs::read(&file)?;
        if !COMPRESSED.contains(&extension) {
            total += if extension == "br" { 0 } else { bytes.len() as u64 };
            continue;
        }
        let on_demand = file.starts_with(dist.join(EXAMPLES));
        let mut packed = Vec::new();
        brotli::CompressorWriter::new(&mut packed, 1 << 16, 11, 24).write_all(&bytes)?;
        total += if on_demand { 0 } else { packed.len() as u64 };
        fs::write(with_br(&file), packed)?;
    }
    Ok(total)
}

fn with_br(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".br");
    PathBuf::from(name)
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
