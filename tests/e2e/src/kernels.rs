//! Kernels of a user's own, as a job carries them: in base64.

use std::fs;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::process::given;

/// A kernel that turns a-z into A-Z where they stand.
pub fn upper_case() -> String {
    STANDARD.encode(p2pnet_test_kernels::upper_case())
}

/// The same by Unicode's rules, built by rustc without any flags: stack and data around the first MiB of its memory.
pub fn upper_case_by_rustc() -> Result<String> {
    let file = given("P2PNET_BENCH_KERNEL")?;
    let module = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(STANDARD.encode(module))
}

/// A program that puts its input out, and wants all memory if that begins with `m`.
pub fn hungry_program() -> String {
    STANDARD.encode(p2pnet_test_kernels::programs::ends_as_told())
}

/// A kernel that never ends.
pub fn endless() -> String {
    STANDARD.encode(p2pnet_test_kernels::endless())
}
