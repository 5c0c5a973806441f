//! Gets what the measurements are held against in the same run: Ray and Dask from PyPI, js-libp2p from npm.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    shell::{program, step},
    tools, workspace,
};

/// Packages of PyPI.
const OF_PYTHON: [&str; 2] = ["distributed", "ray"];
/// Packages of npm. Node comes along, since js-libp2p is written for newer ones than distributions have.
const OF_NODE: [&str; 5] =
    ["libp2p@3", "@libp2p/websockets@10", "@chainsafe/libp2p-noise@17", "@chainsafe/libp2p-yamux@8", "node@24"];

/// What could be got; what could not is left out of the measurement, which says so.
pub(crate) struct Others {
    /// A Python with Ray and Dask.
    pub python: Option<PathBuf>,
    /// A folder of npm's packages.
    pub packages: Option<PathBuf>,
}

impl Others {
    /// Installs them below `target`, once.
    pub(crate) fn get() -> Self {
        let told = |what: &str, got: Result<PathBuf>| {
            got.inspect_err(|error| eprintln!("   {what} will not be measured beside: {error:#}")).ok()
        };
        Self { python: told("Ray and Dask", python()), packages: told("js-libp2p", packages()) }
    }
}

fn python() -> Result<PathBuf> {
    let folder = workspace::target_dir().join("bench/python");
    let (python, whole) = (folder.join("bin/python"), folder.join("whole"));
    if !whole.is_file() {
        step("making a place for packages of Python", program("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = program(&python.to_string_lossy());
        step("getting Ray and Dask", pip.args(["-m", "pip", "install", "--quiet"]).args(OF_PYTHON))?;
        fs::write(&whole, "").with_context(|| format!("cannot write {}", whole.display()))?;
    }
    Ok(python)
}

fn packages() -> Result<PathBuf> {
    let folder = workspace::target_dir().join("bench/npm");
    let packages = folder.join("node_modules");
    if !packages.join("node/bin/node").is_file() {
        tools::from_npm("js-libp2p", &OF_NODE.map(str::to_owned), &folder)?;
    }
    Ok(packages)
}
