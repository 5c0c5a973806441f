//! Learns in Chromium which functions of the page run until a tab has done its first task, and writes the list of the others.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};

use super::{PAGE, bind::bind_with_names, split};
use crate::{
    relay::{self, NATIVE},
    shell::{cargo, program, step},
    tools, workspace,
};

/// Rewrites the list by which the page is split.
pub(crate) fn run() -> Result<()> {
    let browser = tools::browser()?;
    relay::build()?;
    let folder = workspace::target_dir().join("page-profile");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let compiled = workspace::target_dir().join("wasm32-unknown-unknown/page").join(format!("{PAGE}.wasm"));
    bind_with_names(&compiled, &folder, PAGE)?;
    let bound = fs::read(folder.join(format!("{PAGE}_bg.wasm"))).context("cannot read the page's program")?;
    let marked = folder.join("marked.wasm");
    fs::write(&marked, split::marked(&bound)?).context("cannot write the marked program")?;
    step(
        "building p2pnet-profile",
        cargo().args(["build", "--locked", "--release", "--quiet", "--bin", "p2pnet-profile"]).args(NATIVE),
    )?;
    step(
        "profiling the page",
        program(&workspace::built("p2pnet-profile").to_string_lossy())
            .env("P2PNET_BIN", workspace::built("p2pnet"))
            .env("P2PNET_CHROMIUM", browser.chromium)
            .env("P2PNET_CHROMEDRIVER", browser.chromedriver)
            .env("P2PNET_MARKED", marked)
            .env("P2PNET_OUT", &folder),
    )?;
    let marks = fs::read_to_string(folder.join("marks.txt")).context("cannot read the profile")?;
    let ran: BTreeSet<u32> = marks.lines().filter_map(|line| line.parse().ok()).collect();
    let list = split::list(&bound, &ran)?;
    fs::write(workspace::root().join(split::LIST), list).context("cannot write the list")
}
