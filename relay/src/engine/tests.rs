//! What the native engines promise beside what every engine does (`tests/differential` compares those).
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use p2pnet_shared::{job::kinds::command, kernel::prepare};
use p2pnet_test_kernels as kernels;

/// Rewritten; see [`kernels::counting`].
fn counting(rounds: i64) -> Vec<u8> {
    prepare(&kernels::counting(rounds)).unwrap().rewritten
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("p2pnet-engines-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

#[test]
fn tiny_calls_stay_on_wasmi_and_long_ones_go_to_wasmtime_with_the_same_gas() {
    let mut engines = NativeEngines::new(None);
    let tiny = engines.load(&counting(10)).unwrap();
    let (engine, outcome) = engines.call(&tiny, &[b"x"], &Limits::default());
    assert_eq!((engine, outcome.output), (EngineName::Wasmi, Ok(Vec::new())));
    let rewritten = counting(1_000_000);
    let long = engines.load(&rewritten).unwrap();
    let (engine, outcome) = engines.call(&long, &[b"x"], &Limits::default());
    assert_eq!(engine, EngineName::Wasmtime);
    let mut wasmi = WasmiEngine::new();
    let referee = wasmi.load(&rewritten).unwrap();
    assert_eq!(wasmi.call(&referee, &[b"x"], &Limits::default()), outcome);
    // Many tiny calls add up until compiling pays.
    let last = (0..1_000_000).map(|_| engines.call(&tiny, &[b"x"], &Limits::default()).0);
    assert!(last.into_iter().any(|engine| engine == EngineName::Wasmtime));
}

#[test]
fn compiled_code_is_found_again_and_compiled_anew_when_damaged() {
    let path = folder("kept");
    let rewritten = counting(100);
    let mut engine = WasmtimeEngine::new(Some(path.clone())).unwrap();
    assert!(engine.load_kept(&rewritten).is_none());
    engine.load(&rewritten).unwrap();
    let mut again = WasmtimeEngine::new(Some(path.clone())).unwrap();
    let kept = again.load_kept(&rewritten).unwrap();
    assert_eq!(again.call(&kept, &[b""], &Limits::default()).output, Ok(Vec::new()));
    let file = std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(again.load_kept(&rewritten).is_none());
    assert!(again.load(&rewritten).is_ok());
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn an_endless_kernel_is_stopped_from_outside_on_both_engines() {
    let rewritten = counting(0);
    let looks = Arc::new(AtomicU32::new(0));
    let watched = Arc::clone(&looks);
    let watch: Watch = Arc::new(move || (watched.fetch_add(1, Ordering::Relaxed) % 4 == 3).then_some(Trap::Cancelled));
    let mut wasmtime = WasmtimeEngine::new(None).unwrap();
    wasmtime.set_watch(Some(Arc::clone(&watch)));
    let module = wasmtime.load(&rewritten).unwrap();
    assert_eq!(wasmtime.call(&module, &[b""], &Limits::default()).output, Err(Trap::Cancelled));
    let mut wasmi = WasmiEngine::new();
    wasmi.set_watch(Some(watch));
    let module = wasmi.load(&rewritten).unwrap();
    assert_eq!(wasmi.call(&module, &[b""], &Limits::default()).output, Err(Trap::Cancelled));
    assert_eq!(looks.load(Ordering::Relaxed), 8);
}

#[test]
fn programs_come_to_the_same_end_with_the_same_gas_on_both_engines() {
    let mut wasmi = WasmiEngine::new();
    let mut wasmtime = WasmtimeEngine::new(None).unwrap();
    for program in kernels::programs::programs() {
        let rewritten = prepare(&command::adapt(&program.module).unwrap()).unwrap().rewritten;
        let input = [command::arguments(&[]).unwrap(), command::part_input(0, program.input)].concat();
        let referee = wasmi.load(&rewritten).unwrap();
        let native = wasmtime.load(&rewritten).unwrap();
        let outcome = wasmtime.call(&native, &[&input], &Limits::default());
        assert_eq!(wasmi.call(&referee, &[&input], &Limits::default()), outcome, "{}", program.name);
        let output = outcome.output.unwrap();
        let ended = command::ended(&output).unwrap();
        assert_eq!(ended.exit_code, program.exit_code, "{}", program.name);
        assert_eq!((ended.output, ended.errors), (program.output, program.errors), "{}", program.name);
    }
}
