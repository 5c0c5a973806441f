//! Hands over to the programs in `tests/e2e` that measure the built relay and page, and that photograph them.

use anyhow::Result;

use crate::{
    relay::{self, NATIVE},
    shell::{cargo, program, step},
    tools, workspace,
};

/// `cargo xtask bench [name]`.
pub fn run(names: &[String]) -> Result<()> {
    measure("p2pnet-bench", "measuring", names)
}

/// `cargo xtask screenshots`.
pub fn screenshots(args: &[String]) -> Result<()> {
    measure("p2pnet-screenshots", "taking screenshots", args)
}

fn measure(binary: &str, what: &str, args: &[String]) -> Result<()> {
    relay::build()?;
    let browser = tools::browser()?;
    step(
        &format!("building {binary}"),
        cargo().args(["build", "--locked", "--release", "--quiet", "--bin", binary]).args(NATIVE),
    )?;
    let built = workspace::built(binary);
    step(
        what,
        program(&built.to_string_lossy())
            .args(args)
            .env("P2PNET_BIN", workspace::built("p2pnet"))
            .env("P2PNET_CHROMIUM", browser.chromium)
            .env("P2PNET_CHROMEDRIVER", browser.chromedriver)
            .env("P2PNET_XVFB", browser.xvfb)
            .env("P2PNET_DIST", workspace::dist_dir())
            .env("P2PNET_OUT", workspace::target_dir()),
    )
}
