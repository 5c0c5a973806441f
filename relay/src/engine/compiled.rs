//! Compiled kernels on disk: compiling takes tens of milliseconds to seconds, reading compiled code a quarter of one.
//!
//! A file is named by the hash of the rewritten bytes and of whatever makes compiled code fit (wasmtime's version, its
//! settings, the processor's features). It carries a hash of its content, so that a damaged one is compiled anew.

use std::{
    fs,
    hash::{Hash as _, Hasher},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use p2pnet_shared::id::Hash;
use serde::{Deserialize, Serialize};
use wasmtime::{Engine, Module};

use crate::store::folder::private;

/// Bytes of compiled code that are kept at most; the files that were not used for longest go first.
pub const MOST_BYTES: u64 = 1 << 30;
/// A file that was not finished for so long never will be.
const DRAFT_AGE: Duration = Duration::from_secs(300);
const HASH_BYTES: usize = 32;
/// Goes up when more is expected in the folder of a kernel that was compiled: both of its forms.
const VERSION: u8 = 2;

/// What came of compiling a kernel into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compiled {
    /// The code lies in the folder.
    Ready,
    /// The compiler does not take the kernel.
    Refused,
    /// The code could not be kept: there is no room, or no folder.
    NotKept,
}

/// A folder of compiled kernels. Whoever can write to it can run code as this process does.
pub struct CompiledFolder {
    path: PathBuf,
    fits: String,
}

impl CompiledFolder {
    /// The folder at `path`, which is made if it is missing.
    pub fn new(path: PathBuf, engine: &Engine) -> Self {
        if let Err(error) = make_private(&path) {
            tracing::warn!(%error, path = %path.display(), "compiled kernels cannot be kept");
        }
        let mut hasher = Fingerprint(vec![VERSION]);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { path, fits: Hash::of(&hasher.0).to_string()[..16].to_owned() }
    }

    /// The compiled form of `rewritten`, if it is there and whole.
    pub fn get(&self, engine: &Engine, rewritten: &[u8]) -> Option<Module> {
        let path = self.file(rewritten);
        let bytes = fs::read(&path).ok()?;
        let (hash, code) = bytes.split_at_checked(HASH_BYTES)?;
        if Hash::of(code).0 != hash {
            let _ = fs::remove_file(&path);
            return None;
        }
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        // SAFETY: the bytes are what `Module::serialize` gave to this program: the folder is this user's alone, the name
        // says which kernel, which engine and which processor, and the hash says that nothing was damaged since.
        unsafe { Module::deserialize(engine, code) }.ok()
    }

    /// Keeps the compiled form of `rewritten`; whether it could. A failure only costs time later.
    pub fn put(&self, rewritten: &[u8], code: &[u8]) -> bool {
        let mut bytes = Hash::of(code).0.to_vec();
        bytes.extend_from_slice(code);
        let path = self.file(rewritten);
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let written = private(fs::OpenOptions::new().write(true).create(true).truncate(true)).open(&draft);
        let kept = written.and_then(|mut file| file.write_all(&bytes)).and_then(|()| fs::rename(&draft, &path));
        if let Err(error) = &kept {
            tracing::warn!(%error, path = %path.display(), "a compiled kernel could not be kept");
            let _ = fs::remove_file(&draft);
        }
        tidy(&self.path, MOST_BYTES);
        kept.is_ok()
    }

    fn file(&self, rewritten: &[u8]) -> PathBuf {
        self.path.join(format!("{}-{}.compiled", Hash::of(rewritten), self.fits))
    }
}

/// Removes of a folder of compiled kernels the files that were not used for longest, until the rest fits into `most_bytes`;
/// how many bytes that frees.
pub fn tidy(folder: &Path, most_bytes: u64) -> u64 {
    let mut files = files_of(folder);
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    let mut freed = 0;
    for (_, bytes, path) in files {
        if total <= most_bytes {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= bytes;
            freed += bytes;
        }
    }
    freed
}

/// What [`tidy`] may remove of a folder: when it was used last, its bytes, and where it is.
fn files_of(folder: &Path) -> Vec<(SystemTime, u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().filter_map(|entry| {
        let about = entry.metadata().ok()?;
        let modified = about.modified().ok()?;
        let is_draft = entry.path().extension().is_some_and(|end| end == "draft")
            && !modified.elapsed().is_ok_and(|age| age >= DRAFT_AGE);
        (about.is_file() && !is_draft).then_some((modified, about.len(), entry.path()))
    });
    files.collect()
}

/// Removes everything from the folders in `all`, each of which holds compiled kernels; how many bytes that frees.
pub fn give_up(all: &Path) -> u64 {
    folders_in(all).iter().map(|folder| tidy(folder, 0)).sum()
}

/// How many bytes [`give_up`] would free.
pub fn kept_bytes(all: &Path) -> u64 {
    folders_in(all).iter().flat_map(|folder| files_of(folder)).map(|(_, bytes, _)| bytes).sum()
}

fn folders_in(all: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(all) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|about| about.is_dir()));
    folders.map(|folder| folder.path()).collect()
}

#[cfg(unix)]
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)
}

/// Collects what a type hashes, since the standard hasher promises no stable value.
struct Fingerprint(Vec<u8>);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_stays_until_it_is_old_whatever_the_clock_is_set_to() {
        let folder = std::env::temp_dir().join(format!("p2pnet-drafts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let hour = Duration::from_secs(3600);
        let now = SystemTime::now();
        for (name, modified) in [("now", now), ("later", now + hour), ("old", now - hour)] {
            let mut file = fs::File::create(folder.join(name).with_extension("draft")).unwrap();
            file.write_all(b"a part").unwrap();
            file.set_modified(modified).unwrap();
        }
        tidy(&folder, 0);
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["later.draft", "now.draft"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
