//! The page's files in brotli, and what they weigh.

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::files_under;

/// What is worth compressing.
const COMPRESSED: &[&str] = &["html", "js", "mjs", "css", "wasm", "svg", "json", "txt", "webmanifest"];

/// What no tab needs before its first task: pieces, parts.
const LATER: &[&str] = &["p2pnet-kinds-", "p2pnet-interpreter-", "examples/", "_rest.wasm"];

/// What the page weighs, in bytes of brotli.
#[derive(Default)]
pub(super) struct Weight {
    all: u64,
    before_first_task: u64,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, first) = (self.all.div_ceil(1000), self.before_first_task.div_ceil(1000));
        write!(f, "{all} KB in brotli, {first} KB of it before the first task")
    }
}

/// Writes a `.br` beside every file that shrinks.
pub(super) fn compress(folder: &Path) -> Result<Weight> {
    let mut weight = Weight::default();
    for file in files_under(folder)? {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extension == "br" {
            continue;
        }
        let bytes = fs::read(&file)?;
        let mut length = bytes.len() as u64;
        if COMPRESSED.contains(&extension) {
            let mut packed = Vec::new();
            brotli::CompressorWriter::new(&mut packed, 1 << 16, 11, 24).write_all(&bytes)?;
            length = packed.len() as u64;
            fs::write(with_br(&file), packed)?;
        }
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        weight.all += length;
        weight.before_first_task += if LATER.iter().any(|later| name.contains(later)) { 0 } else { length };
    }
    Ok(weight)
}

fn with_br(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".br");
    PathBuf::from(name)
}
