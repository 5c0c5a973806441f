//! Lints: with cargo's own command, or as the code is compiled.
//!
//! Clippy reads the metadata of every dependency, which cargo makes anew for it: on a machine where nothing is built yet that
//! takes minutes. There each crate of this workspace is linted when it is compiled, with what was compiled before it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::OnceLock,
};

use anyhow::{Context, Result};

use crate::{
    shell::{cargo, step},
    workspace,
};

/// Where cargo starts this program in the place of the compiler, this names the folder for what linting leaves.
const LEFT: &str = "P2PNET_LINTS";
/// Cargo's name for a program that it starts with each command to the compiler, for members of the workspace only.
const WRAPPER: &str = "RUSTC_WORKSPACE_WRAPPER";

/// How test programs are compiled then: without optimising across the parts of a crate, which takes a third of the time and of
/// which they have little. What people run, and what is measured, is not.
const FOR_LESS: [&str; 2] = ["-C", "lto=off"];

/// What every cargo is told from now on.
static TOLD: OnceLock<[(&str, PathBuf); 2]> = OnceLock::new();

/// The page is linted for wasm, where its code is alive; so it is where it is linted as it compiles.
const NOT_PAGE: &[&str] = &["--workspace", "--exclude", "p2pnet-web", "--exclude", "p2pnet-browser"];

/// Lints with cargo's command.
pub(crate) fn run() -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    // `--all-targets` leaves out what `cargo test` leaves out: the tests in Chromium.
    for targets in [&["--all-targets"][..], &["--test", "chromium", "--test", "compilers"]] {
        let mut command = cargo();
        command.args(["clippy", "--locked", "--release"]).args(targets).args(NOT_PAGE).args(deny);
        step(&format!("linting natively, {}", targets.join(" ")), &mut command)?;
    }
    let page = ["-p", "p2pnet-web", "-p", "p2pnet-browser", "-p", "p2pnet-net", "-p", "p2pnet-shared"];
    step(
        "linting for wasm",
        cargo()
            .args(["clippy", "--locked", "--profile", "page", "--target", "wasm32-unknown-unknown"])
            .args(page)
            .args(deny),
    )
}

/// From now on, has what is compiled linted as well; then it compiles only without a warning.
pub(crate) fn as_it_compiles() -> Result<()> {
    let left = workspace::target_dir().join("lints");
    fs::create_dir_all(&left).with_context(|| format!("cannot make {}", left.display()))?;
    let this = env::current_exe().context("where is this program?")?;
    // A copy: cargo writes the program itself anew while it compiles the workspace.
    let wrapper = left.join(this.file_name().unwrap_or_else(|| OsStr::new("xtask")));
    fs::copy(&this, &wrapper).with_context(|| format!("cannot write {}", wrapper.display()))?;
    let _ = TOLD.set([(WRAPPER, wrapper), (LEFT, left)]);
    Ok(())
}

/// What is told to every cargo, for the environment of what starts one.
pub(crate) fn told() -> impl Iterator<Item = (&'static str, &'static Path)> {
    TOLD.get().into_iter().flatten().map(|(name, value)| (*name, value.as_path()))
}

/// If cargo started this program in the place of the compiler: lints the crate, and compiles it if nothing is wrong.
pub(crate) fn compile_if_asked() -> Option<ExitCode> {
    let left = env::var_os(LEFT)?;
    let mut words = env::args_os().skip(1);
    let compiler = PathBuf::from(words.next()?);
    if compiler.file_stem()? != "rustc" {
        return None;
    }
    let words: Vec<OsString> = words.collect();
    let succeeds = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let clippy = compiler.with_file_name(format!("clippy-driver{}", env::consts::EXE_SUFFIX));
    let deny = ["-D", "warnings"];
    let mut compile = Command::new(&compiler);
    compile.args(&words);
    if words.iter().any(|word| word == "--test") {
        compile.args(FOR_LESS);
    }
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let folder = package.as_ref().and_then(|package| package.strip_prefix(workspace::root()).ok());
    let right = match folder.map_or(Linted::Not, |folder| linted(folder, &words)) {
        Linted::Not => true,
        Linted::Compiling => {
            compile.args(deny);
            true
        }
        Linted::ByClippy => {
            succeeds(Command::new(clippy).arg(&compiler).args(to_lint(&words, Path::new(&left))).args(deny))
        }
    };
    Some(if right && succeeds(&mut compile) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// By whom what a command compiles is linted.
#[derive(Debug, PartialEq, Eq)]
enum Linted {
    Not,
    /// By the compiler alone: a library whose unit tests are compiled too is linted with those, all of it and them; the compiler
    /// says what it does not use without them.
    Compiling,
    ByClippy,
}

/// That of a command that compiles the crate in a folder of this workspace. Guests and what tests make are of others, and cargo
/// also asks the compiler what it is.
fn linted(folder: &Path, words: &[OsString]) -> Linted {
    let has = |word: &str| words.iter().any(|other| other == word);
    let for_wasm = has("wasm32-unknown-unknown");
    let is_page = ["web", "browser-node"].iter().any(|page| folder.starts_with(page));
    let is_ours = !folder.starts_with("kernels") && !folder.starts_with("target");
    if !is_ours || (is_page && !for_wasm) || !has("--crate-name") || has("___") {
        Linted::Not
    } else if has("lib") && !has("--test") && !for_wasm {
        Linted::Compiling
    } else {
        Linted::ByClippy
    }
}

/// A command to the compiler, changed so that it makes nothing that cargo waits for.
fn to_lint(words: &[OsString], left: &Path) -> Vec<OsString> {
    let mut changed = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if text.starts_with("--emit=") {
            changed.push("--emit=metadata".into());
        } else if text == "--out-dir" {
            words.next();
            changed.extend([word.clone(), left.into()]);
        } else if let Some(told) = text.strip_prefix("--json=") {
            let told: Vec<&str> = told.split(',').filter(|what| *what != "artifacts").collect();
            changed.push(format!("--json={}", told.join(",")).into());
        } else {
            changed.push(word.clone());
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_linted_once_where_all_of_it_is_compiled() {
        let by = |folder: &str, text: &str| {
            let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            linted(Path::new(folder), &words)
        };
        assert_eq!(by("relay", "--crate-name a --crate-type lib"), Linted::Compiling);
        assert_eq!(by("relay", "--crate-name a --test"), Linted::ByClippy);
        assert_eq!(by("relay", "--crate-name a --crate-type bin"), Linted::ByClippy);
        assert_eq!(by("web", "--crate-name a --crate-type lib --target wasm32-unknown-unknown"), Linted::ByClippy);
        assert_eq!(by("web", "--crate-name a --crate-type lib"), Linted::Not);
        assert_eq!(by("kernels/guest", "--crate-name a --crate-type lib"), Linted::Not);
        assert_eq!(by("relay", "--crate-name ___ --print=cfg"), Linted::Not);
    }

    #[test]
    fn what_is_only_linted_is_not_told_to_cargo_and_lies_elsewhere() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let asked = "--crate-name a --json=diagnostic-rendered-ansi,artifacts,future-incompat --emit=dep-info,metadata,link \
                     -C opt-level=3 --out-dir deps --extern b=b.rmeta";
        let linted = "--crate-name a --json=diagnostic-rendered-ansi,future-incompat --emit=metadata -C opt-level=3 \
                      --out-dir lints --extern b=b.rmeta";
        assert_eq!(to_lint(&words(asked), Path::new("lints")), words(linted));
    }
}
