//! The guests: the tests of `kernels/`, of the template that a kernel's author copies, and of the example commands.
//!
//! The example commands are kept built, in `kernels/commands/built`, so that whoever has no clang and no Zig can run them
//! and the page can offer them. Here they are built anew where that is cheap, and a file that says from which sources the
//! kept ones were made tells when they are out of date.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    kept::Kept,
    shell::{cargo, program, step, step_with_lines},
    tools, workspace,
};

/// A program of `kernels/commands`.
struct Example {
    name: &'static str,
    source: &'static str,
    language: Language,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    C,
    Zig,
}

const COMMANDS: &[Example] = &[
    Example { name: "darts", source: "darts/darts.zig", language: Language::Zig },
    Example { name: "frequencies", source: "frequencies/src/main.rs", language: Language::Rust },
    Example { name: "statistics", source: "statistics/statistics.c", language: Language::C },
    Example { name: "surroundings", source: "surroundings/surroundings.c", language: Language::C },
];

/// Example kernels: package and folder.
const KERNELS: &[(&str, &str)] = &[("echo", "echo"), ("upper", "upper"), ("word-count", "word_count")];

/// What rustc calls WASI.
const WASI: &str = "wasm32-wasip1";

/// `cargo xtask commands`: builds the kept commands anew.
pub(crate) fn build_commands() -> Result<()> {
    let zig = tools::zig()?;
    for example in COMMANDS {
        build(example, &built_dir(), Some(&zig))?;
    }
    kept().note()
}

/// Tests the guests. Those without a standard library run as kernels only, in the tests of `shared`. `line` gets every line that their test programs print.
pub(crate) fn test(mut line: impl FnMut(&str)) -> Result<()> {
    let binary = workspace::built("p2pnet");
    let target = workspace::target_dir().join("kernels");
    let rust = COMMANDS.iter().filter(|example| example.language == Language::Rust).map(|example| example.name);
    let with_tests: Vec<&str> = KERNELS.iter().map(|(package, _)| *package).chain(rust).collect();
    step_with_lines(
        "testing the kernels natively",
        guest_cargo()
            .args(["test", "--locked", "--quiet", "--target-dir"])
            .arg(&target)
            .args(with_tests.iter().flat_map(|package| ["--package", package])),
        &mut line,
    )?;
    let mut build_kernels = guest_cargo();
    build_kernels.args(["build", "--locked", "--quiet", "--release", "--target", "wasm32-unknown-unknown"]);
    build_kernels.arg("--target-dir").arg(&target);
    for (package, _) in KERNELS {
        build_kernels.args(["--package", package]);
    }
    step("building the example kernels", &mut build_kernels)?;
    for (package, folder) in KERNELS {
        let file = target.join("wasm32-unknown-unknown/release").join(format!("{}.wasm", package.replace('-', "_")));
        kernel_test(&binary, &file, &kernels_dir().join("examples").join(folder).join("cases"))?;
    }
    kept().check()?;
    let zig = tools::find_zig();
    let fresh = workspace::target_dir().join("commands");
    fs::create_dir_all(&fresh)?;
    for example in COMMANDS {
        let cases = kernels_dir().join("commands").join(example.name).join("cases");
        kernel_test(&binary, &built_dir().join(file_of(example)), &cases)?;
        if example.language == Language::Zig && zig.is_none() {
            eprintln!("   Zig is not here: {} is tested as it was kept", example.name);
            continue;
        }
        build(example, &fresh, zig.as_deref())?;
        kernel_test(&binary, &fresh.join(file_of(example)), &cases)?;
    }
    step_with_lines(
        "testing the template for kernels",
        cargo()
            .current_dir(kernels_dir().join("template"))
            .args(["test", "--quiet", "--target-dir"])
            .arg(workspace::target_dir().join("template"))
            .env("P2PNET_BIN", &binary),
        &mut line,
    )
}

fn kernel_test(binary: &Path, file: &Path, cases: &Path) -> Result<()> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    step(&format!("testing {name} on both engines"), Command::new(binary).args(["kernel", "test"]).arg(file).arg(cases))
}

fn build(example: &Example, into: &Path, zig: Option<&Path>) -> Result<()> {
    let source = kernels_dir().join("commands").join(example.source);
    let output = into.join(file_of(example));
    let what = format!("building {} for WASI", example.name);
    match example.language {
        Language::Rust => {
            tools::target(WASI)?;
            let target = workspace::target_dir().join("kernels");
            let mut command = guest_cargo();
            command.args(["build", "--locked", "--quiet", "--release", "--target", WASI, "--package", example.name]);
            step(&what, command.arg("--target-dir").arg(&target))?;
            fs::copy(target.join(WASI).join("release").join(file_of(example)), output)?;
            Ok(())
        }
        Language::C => {
            tools::c_for_wasi()?;
            let mut command = program("clang");
            command.args(["--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"]);
            step(&what, command.arg(source).arg("-o").arg(output).arg("-lm"))
        }
        Language::Zig => {
            let zig = zig.context("no Zig")?;
            let cache = workspace::target_dir().join("zig-cache");
            let mut command = program(&zig.to_string_lossy());
            command.arg("build-exe").arg(source).args(["-target", "wasm32-wasi", "-O", "ReleaseSmall", "-fstrip"]);
            command.arg("--cache-dir").arg(&cache).arg("--global-cache-dir").arg(&cache);
            step(&what, command.arg(format!("-femit-bin={}", output.display())))
        }
    }
}

/// Cargo in the guests' own workspace, with their flags.
fn guest_cargo() -> Command {
    let mut command = cargo();
    command.current_dir(kernels_dir()).env("RUSTFLAGS", "");
    command
}

/// The kept commands, source and built file of each.
fn kept() -> Kept<'static> {
    let folder = kernels_dir().join("commands");
    let files = COMMANDS.iter().flat_map(|example| [folder.join(example.source), built_dir().join(file_of(example))]);
    Kept { files: files.collect(), folder, command: "cargo xtask commands" }
}

fn file_of(example: &Example) -> String {
    format!("{}.wasm", example.name)
}

fn kernels_dir() -> PathBuf {
    workspace::root().join("kernels")
}

fn built_dir() -> PathBuf {
    kernels_dir().join("commands/built")
}
