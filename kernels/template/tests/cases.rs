//! Builds the kernel as nodes get it and runs the cases in `cases/` on both of p2pnet's engines.

use std::{env, path::Path, process::Command};

#[test]
fn the_kernel_does_what_its_cases_say() {
    let name = env!("CARGO_PKG_NAME").replace('-', "_");
    // A folder of its own, since cargo may still hold the usual one.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernel");
    let built = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--release", "--lib", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .status()
        .expect("cargo starts");
    assert!(built.success(), "the kernel does not build; is the target there? rustup target add wasm32-unknown-unknown");

    let p2pnet = env::var_os("P2PNET_BIN").unwrap_or_else(|| "p2pnet".into());
    let kernel = target.join("wasm32-unknown-unknown/release").join(format!("{name}.wasm"));
    let tested = Command::new(&p2pnet)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["kernel", "test"])
        .args([kernel.as_path(), Path::new("cases")])
        .status();
    let tested = tested.unwrap_or_else(|error| {
        panic!("{} cannot be started: {error}; put p2pnet on the PATH, or name it in P2PNET_BIN", p2pnet.display())
    });
    assert!(tested.success(), "see above what differs");
}
