//! Has the linker say which function uses which data, by which the page is split (`xtask/src/page/split/reach.rs`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|architecture| architecture == "wasm32") {
        println!("cargo::rustc-link-arg-bins=--emit-relocs");
    }
}
