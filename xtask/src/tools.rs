//! Gets what the machine lacks: the wasm target, Trunk, wasm-bindgen, Chromium.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{
    shell::{answer, cargo, find, program, step},
    workspace,
};

/// The page's build tool; the newest that this toolchain compiles.
const TRUNK: &str = "0.21.14";

/// Debian's packages for the tests in a browser. Xvfb carries the test with a visible window.
const BROWSER_PACKAGES: [&str; 3] = ["chromium", "chromium-driver", "xvfb"];

/// What the tests in a browser need.
pub struct Browser {
    /// Chromium.
    pub chromium: PathBuf,
    /// Its WebDriver server, of the same version.
    pub chromedriver: PathBuf,
    /// A display without a screen.
    pub xvfb: PathBuf,
}

/// The wasm target of the pinned toolchain.
pub fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let has_it = || {
        let libraries = answer(program("rustc").args(["--print", "target-libdir", "--target", TARGET]));
        libraries.is_some_and(|folder| PathBuf::from(folder).is_dir())
    };
    if has_it() {
        return Ok(());
    }
    if find("rustup").is_none() {
        bail!(
            "this toolchain lacks the target {TARGET} and there is no rustup to add it: install rustup, or the target"
        );
    }
    step("adding the wasm target", program("rustup").args(["target", "add", TARGET]))
}

/// Trunk, and the wasm-bindgen that fits the library in `Cargo.lock` to the byte.
pub fn page_tools() -> Result<()> {
    let wasm_bindgen = workspace::locked_version("wasm-bindgen")?;
    install("trunk", "trunk", TRUNK, &["--no-default-features"])?;
    install("wasm-bindgen", "wasm-bindgen-cli", &wasm_bindgen, &[])
}

/// Chromium and its driver, installed when that is possible without asking.
pub fn browser() -> Result<Browser> {
    if let Some(browser) = find_browser() {
        return Ok(browser);
    }
    let command = format!("apt-get install --no-install-recommends {}", BROWSER_PACKAGES.join(" "));
    if find("apt-get").is_none() || answer(program("id").arg("-u")).as_deref() != Some("0") {
        bail!("the tests in a browser need chromium, chromedriver and Xvfb; on Debian: sudo {command}");
    }
    step("updating the package lists", program("apt-get").args(["update", "-qq"]))?;
    step(
        "installing Chromium",
        program("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(BROWSER_PACKAGES),
    )?;
    find_browser().with_context(|| format!("Chromium is still not found after: {command}"))
}

fn find_browser() -> Option<Browser> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find)?;
    Some(Browser { chromium, chromedriver: find("chromedriver")?, xvfb: find("Xvfb")? })
}

/// Leaves a right version alone, installs a missing one where cargo installs, and puts a right one beside a wrong one.
fn install(binary: &str, package: &str, version: &str, features: &[&str]) -> Result<()> {
    let has = |text: &str| text.split_whitespace().nth(1) == Some(version);
    let present = answer(program(binary).arg("--version"));
    if present.as_deref().is_some_and(has) {
        return Ok(());
    }
    let root = present.is_some().then(workspace::tools_dir);
    if find("cargo-binstall").is_some() {
        let mut command = cargo();
        command.args(["binstall", "--no-confirm", "--disable-telemetry", &format!("{package}@{version}")]);
        if let Some(root) = &root {
            command.arg("--root").arg(root);
        }
        if step(&format!("getting {package} {version}"), &mut command).is_ok() {
            return Ok(());
        }
    }
    // A tool that runs for a second a build does not deserve minutes of optimisation.
    let mut command = cargo();
    command
        .args(["install", "--locked", "--quiet", package, "--version", version])
        .args(features)
        .env("CARGO_TARGET_DIR", workspace::target_dir().join("tools-build"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    if let Some(root) = &root {
        command.arg("--root").arg(root);
    }
    step(&format!("building {package} {version} (once; a few minutes)"), &mut command)
}
