//! The laws of `shared`, seen from outside: on wasm32 it needs nothing from its host, and the same seed gives the same
//! trace there as natively.

#![expect(clippy::unwrap_used)]

use std::{env, path::PathBuf, process::Command};

use wasmtime::{Engine, Linker, Module, Store};

/// Builds the simulator for wasm32, beside the test that is running, as the page is built and in one selection with it: then
/// what both are made of is compiled once.
fn build() -> Vec<u8> {
    // target/<profile>/deps/<this test>
    let target: PathBuf = env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", "p2pnet-trace", "--package", "p2pnet-web", "--lib"])
        .args(["--profile", "page", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the simulator builds for wasm32");
    std::fs::read(target.join("wasm32-unknown-unknown/page/p2pnet_trace.wasm")).unwrap()
}

#[test]
fn on_wasm32_it_needs_no_host_and_the_same_seed_gives_the_same_trace() {
    let engine = Engine::default();
    let module = Module::new(&engine, build()).unwrap();
    let imports: Vec<String> =
        module.imports().map(|import| format!("{}.{}", import.module(), import.name())).collect();
    assert_eq!(imports, Vec::<String>::new(), "time, chance and everything else come in as inputs");

    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
    let trace = instance.get_typed_func::<u64, u64>(&mut store, "p2pnet_trace").unwrap();
    for seed in [1, 2] {
        assert_eq!(trace.call(&mut store, seed).unwrap(), p2pnet_sim::trace(seed), "seed {seed}");
    }
}
