//! Programs that are kept built in the repository, and the note by which it is seen that they are out of date.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Lists source and built file of each kept program, by a hash of their bytes.
const MADE_FROM: &str = "MADE_FROM";

/// Programs that are kept below a folder.
pub(crate) struct Kept<'a> {
    /// Where the note lies; the files are named from here.
    pub folder: PathBuf,
    /// Sources and what was built from them, every one of which must be there.
    pub files: Vec<PathBuf>,
    /// What builds them anew, for messages.
    pub command: &'a str,
}

impl Kept<'_> {
    /// Notes from which sources the built files were made.
    pub(crate) fn note(&self) -> Result<()> {
        let note = self.folder.join(MADE_FROM);
        fs::write(&note, self.made_from()?).with_context(|| format!("cannot write {}", note.display()))
    }

    /// Fails where a source or a built file is missing or another than was noted.
    pub(crate) fn check(&self) -> Result<()> {
        if fs::read_to_string(self.folder.join(MADE_FROM)).unwrap_or_default().replace('\r', "") == self.made_from()? {
            return Ok(());
        }
        bail!("what is kept built in {} is not from today's sources: run `{}`", self.folder.display(), self.command)
    }

    /// A line for each file.
    fn made_from(&self) -> Result<String> {
        let mut text = String::new();
        for file in &self.files {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {}: run `{}`", file.display(), self.command))?;
            text.push_str(&format!("{:016x} {}\n", fingerprint(&bytes), name(file, &self.folder)));
        }
        Ok(text)
    }
}

/// As it is called from a folder, alike on every system.
fn name(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string().replace('\\', "/")
}

/// FNV-1a, 64 bits. It guards against forgetting, not against malice.
fn fingerprint(bytes: &[u8]) -> u64 {
    let without_returns = bytes.iter().filter(|byte| **byte != b'\r');
    without_returns
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_changed_source_a_changed_program_and_a_missing_one_are_told() {
        let folder = std::env::temp_dir().join(format!("p2pnet-kept-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = ["one.c", "one.wasm"].map(|name| folder.join(name));
        let kept = Kept { folder: folder.clone(), files: files.to_vec(), command: "cargo xtask programs" };
        files.iter().for_each(|file| fs::write(file, "as it was").unwrap());
        kept.check().unwrap_err();
        kept.note().unwrap();
        kept.check().unwrap();
        for file in &files {
            fs::write(file, "as it is").unwrap();
            assert!(format!("{:#}", kept.check().unwrap_err()).contains("cargo xtask programs"));
            fs::write(file, "as it was").unwrap();
            kept.check().unwrap();
        }
        fs::remove_file(&files[1]).unwrap();
        assert!(format!("{:#}", kept.check().unwrap_err()).contains("one.wasm"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
