//! Hands over to the programs in `tests/e2e` that measure the built relay and page, and that photograph them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    others::Others,
    page,
    relay::{self, NATIVE},
    shell::{cargo, program, step},
    tools, workspace,
};

/// The measurement that does not go through a relay.
const ENGINES: &str = "engines";
/// The one that needs no browser.
const SUBMISSIONS: &str = "submissions";

/// `cargo xtask bench [name]`; behind `engines`, the name of one of its programs shows that one only.
pub(crate) fn run(names: &[String]) -> Result<()> {
    match names {
        [first, rest @ ..] if first == ENGINES => engines(rest),
        [first, others @ ..] if first == SUBMISSIONS => submissions(others),
        [] => outside(names).and_then(|()| engines(names)),
        [..] => outside(names),
    }
}

/// What a requester and a lender see, beside other systems of the kind.
fn outside(names: &[String]) -> Result<()> {
    let others = Others::get();
    let kernels = kernels_of_rustc()?;
    measure("p2pnet-bench", "measuring", names, |command| {
        command.env("P2PNET_BENCH_KERNELS", kernels);
        if let Some(python) = others.python {
            command.env("P2PNET_BENCH_PYTHON", python);
        }
        if let Some(packages) = others.packages {
            command.env("P2PNET_BENCH_NPM", packages);
        }
    })
}

/// `cargo xtask screenshots`.
pub(crate) fn screenshots(args: &[String]) -> Result<()> {
    measure("p2pnet-screenshots", "taking screenshots", args, |_| ())
}

fn measure(binary: &str, what: &str, args: &[String], more: impl FnOnce(&mut Command)) -> Result<()> {
    relay::build()?;
    let browser = tools::browser()?;
    step(
        &format!("building {binary}"),
        cargo().args(["build", "--locked", "--release", "--quiet", "--bin", binary]).args(NATIVE),
    )?;
    let mut command = program(&workspace::built(binary).to_string_lossy());
    command
        .args(args)
        .env("P2PNET_BIN", workspace::built("p2pnet"))
        .env("P2PNET_CHROMIUM", browser.chromium)
        .env("P2PNET_CHROMEDRIVER", browser.chromedriver)
        .env("P2PNET_XVFB", browser.xvfb)
        .env("P2PNET_DIST", workspace::dist_dir())
        .env("P2PNET_OUT", workspace::target_dir());
    more(&mut command);
    step(what, &mut command)
}

/// The folder of kernels as people build them: rustc's own stack and places, no flags.
fn kernels_of_rustc() -> Result<PathBuf> {
    tools::wasm_target()?;
    let target = workspace::target_dir().join("guests");
    step(
        "building kernels as people do",
        cargo()
            .current_dir(workspace::root().join("kernels"))
            .args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-unknown-unknown"])
            .args(["--package", "upper", "--package", "kernels-bench-tasks", "--target-dir"])
            .arg(&target),
    )?;
    Ok(target.join("wasm32-unknown-unknown/release"))
}

/// How many jobs a second the built relay takes; and `others`, the programs of further relays, by turns with it.
fn submissions(others: &[String]) -> Result<()> {
    relay::build()?;
    step(
        "building what submits",
        cargo().args(["build", "--locked", "--release", "--quiet", "--example", SUBMISSIONS]).args(NATIVE),
    )?;
    let built = workspace::built(&format!("examples/{SUBMISSIONS}"));
    let mut command = program(&built.to_string_lossy());
    step("measuring submissions", command.arg(workspace::built("p2pnet")).args(others))
}

/// Kernels natively and on every engine: `tests/engines`.
fn engines(args: &[String]) -> Result<()> {
    let browser = tools::browser()?;
    tools::wasm_target()?;
    let folder = workspace::target_dir().join("bench/engines-page");
    fs::create_dir_all(&folder)?;
    guests(&folder)?;
    let wasm = workspace::target_dir().join("wasm32-unknown-unknown/page/examples/engines.wasm");
    step(
        "building the engines for the browser",
        // Together with the page, so that the dependencies are those that it is built of.
        cargo()
            .args(["build", "--locked", "--quiet", "--profile", "page", "--target", "wasm32-unknown-unknown"])
            .args(["-p", "p2pnet-web", "-p", "p2pnet-browser", "--example", "engines", "--bins"]),
    )?;
    page::bind(&wasm, &folder, "engines")?;
    page::bind(
        &workspace::target_dir().join("wasm32-unknown-unknown/page/p2pnet-worker.wasm"),
        &folder,
        "p2pnet-worker",
    )?;
    step(
        "building p2pnet-bench-engines",
        cargo().args(["build", "--locked", "--release", "--quiet", "--bin", "p2pnet-bench-engines"]).args(NATIVE),
    )?;
    step(
        "measuring engines",
        program(&workspace::built("p2pnet-bench-engines").to_string_lossy())
            .args(args)
            .env("P2PNET_CHROMIUM", browser.chromium)
            .env("P2PNET_CHROMEDRIVER", browser.chromedriver)
            .env("P2PNET_BENCH_PAGE", folder)
            .env("P2PNET_OUT", workspace::target_dir()),
    )
}

/// The measured kernels, built as `shared/build.rs` builds the shipped ones.
fn guests(into: &Path) -> Result<()> {
    let target = workspace::target_dir().join("guests");
    step(
        "building the kernels to measure",
        cargo()
            .current_dir(workspace::root().join("kernels"))
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128\u{1f}-Clink-arg=-zstack-size=262144")
            .args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-unknown-unknown"])
            .args(["--package", "kernels-bench", "--target-dir"])
            .arg(&target),
    )?;
    let built = target.join("wasm32-unknown-unknown/release/kernels_bench.wasm");
    fs::copy(&built, into.join("kernels.wasm")).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(())
}
