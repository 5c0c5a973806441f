//! Kernels of a user's own, as a job carries them: in base64.

use std::fs;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::process::given;

/// A kernel that turns a-z into A-Z where they stand.
pub fn upper_case() -> String {
    STANDARD.encode(p2pnet_test_kernels::upper_case())
}

/// The same, built by rustc without any flags: stack and data around the first MiB of its memory.
pub fn upper_case_by_rustc() -> Result<String> {
    by_rustc("kernels_bench_tasks")
}

/// The same by Unicode's rules, which is more to do.
pub fn unicode_by_rustc() -> Result<String> {
    by_rustc("upper")
}

fn by_rustc(name: &str) -> Result<String> {
    let file = given("P2PNET_BENCH_KERNELS")?.join(format!("{name}.wasm"));
    let module = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(STANDARD.encode(module))
}

/// A program that puts its input out, and wants all memory if that begins with `m`.
pub fn hungry_program() -> String {
    STANDARD.encode(p2pnet_test_kernels::programs::ends_as_told())
}

/// A kernel that puts out so many MiB in no time.
pub fn large(mebibytes: u16) -> String {
    STANDARD.encode(p2pnet_test_kernels::large(mebibytes))
}

/// A kernel that never ends.
pub fn endless() -> String {
    STANDARD.encode(p2pnet_test_kernels::endless())
}
