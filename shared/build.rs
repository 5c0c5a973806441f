//! Builds the guests in `kernels/` for wasm32, so that `shared` can carry them as bytes.
//!
//! Whatever `shared` itself is built for, the guests come out the same: their cargo gets a target folder, flags and an
//! environment of its own, and no path of this machine ends up in them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Guests that `shared` includes, by the name of their package.
const GUESTS: &[&str] = &["formula", "formula_text", "matrix", "word-count"];

/// Environment of the outer build that would change the inner one.
const NOT_INHERITED: &[&str] = &[
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "TARGET",
    "HOST",
    "OPT_LEVEL",
    "PROFILE",
    "DEBUG",
];

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
        std::process::exit(1);
    }
}

fn build() -> io::Result<()> {
    let shared = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = shared.parent().ok_or_else(|| io::Error::other("shared/ has no parent folder"))?;
    let (kernels, out) = (root.join("kernels"), PathBuf::from(variable("OUT_DIR")?));
    println!("cargo::rerun-if-changed={}", shared.join("build.rs").display());
    println!("cargo::rerun-if-changed={}", shared.join("src/exchange").display());
    for file in ["Cargo.toml", "Cargo.lock", "examples", "formula", "formula_text", "guest", "matrix"] {
        println!("cargo::rerun-if-changed={}", kernels.join(file).display());
    }

    let target = out.join("kernels");
    let status = cargo(&kernels, root, &target)?.status()?;
    if !status.success() {
        return Err(io::Error::other(
            "the guests in kernels/ do not build; is the target installed? `rustup target add wasm32-unknown-unknown`",
        ));
    }
    for guest in GUESTS {
        let built = target.join("wasm32-unknown-unknown/release").join(format!("{}.wasm", guest.replace('-', "_")));
        fs::copy(built, out.join(format!("{guest}.wasm")))?;
    }
    Ok(())
}

fn cargo(kernels: &Path, root: &Path, target: &Path) -> io::Result<Command> {
    let mut flags = vec!["-Ctarget-feature=+simd128".to_owned(), "-Clink-arg=-zstack-size=262144".to_owned()];
    flags.push(format!("--remap-path-prefix={}=/p2pnet", root.display()));
    if let Some(home) = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo"))) {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    let mut cargo = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        let inherited = name.to_string_lossy();
        if NOT_INHERITED.contains(&&*inherited)
            || inherited.starts_with("CARGO_PROFILE_")
            || inherited.starts_with("CARGO_FEATURE_")
            || inherited.starts_with("CARGO_CFG_")
            || inherited.starts_with("CARGO_PKG_")
            || inherited.starts_with("CARGO_TARGET_")
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(kernels)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(target);
    for guest in GUESTS {
        cargo.args(["--package", guest]);
    }
    Ok(cargo)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
