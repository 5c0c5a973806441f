//! What the built page weighs, as it travels: in brotli.

use std::{fs, path::Path};

use anyhow::Result;

/// What no tab needs before its first task, by what is in their paths.
const LATER: [&str; 3] = ["p2pnet-kinds-", "p2pnet-interpreter-", "_rest.wasm"];

/// Bytes of brotli.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    /// Of all files but the example programs.
    pub all: u64,
    /// Of those that a tab has fetched when it computes its first task for others.
    pub before_first_task: u64,
    /// Of the example programs, each of which is fetched when somebody chooses it.
    pub examples: u64,
}

impl Weight {
    /// What the page may weigh in all; it is to come below a megabyte.
    pub const MOST: u64 = 1_720_000;
    /// What it may weigh before the first task; it is to come below 600,000.
    pub const MOST_BEFORE_FIRST_TASK: u64 = 720_000;

    /// Of the page in a folder.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut weight = Self::default();
        weight.add(folder, folder)?;
        Ok(weight)
    }

    fn add(&mut self, page: &Path, file: &Path) -> Result<()> {
        if file.is_dir() {
            return fs::read_dir(file)?.try_for_each(|entry| self.add(page, &entry?.path()));
        }
        if file.extension().is_some_and(|extension| extension == "br") {
            return Ok(());
        }
        let mut packed = file.as_os_str().to_owned();
        packed.push(".br");
        let length = fs::metadata(&packed).or_else(|_| fs::metadata(file))?.len();
        let path = file.strip_prefix(page)?.to_string_lossy().into_owned();
        if path.starts_with("examples/") {
            self.examples += length;
            return Ok(());
        }
        self.all += length;
        if !LATER.iter().any(|later| path.contains(later)) {
            self.before_first_task += length;
        }
        Ok(())
    }
}
