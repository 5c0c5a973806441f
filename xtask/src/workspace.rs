//! Where things are in this repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo builds to.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where tools go that must not replace a version that the machine already has.
pub(crate) fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// The built page.
pub(crate) fn dist_dir() -> PathBuf {
    root().join("dist")
}

/// A program built in the release profile.
pub(crate) fn built(name: &str) -> PathBuf {
    target_dir().join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// The version of a package in `Cargo.lock`.
pub(crate) fn locked_version(package: &str) -> Result<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.replace('\r', "").split_once(&entry).and_then(|(_, rest)| {
        let (version, _) = rest.split_once('"')?;
        Some(version.to_owned())
    });
    version.with_context(|| format!("Cargo.lock does not name {package}"))
}
