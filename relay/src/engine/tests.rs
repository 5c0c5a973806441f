//! What the native engines promise beside what every engine does (`tests/differential` compares those).
#![expect(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use super::{compiled::Compiled, *};
use p2pnet_shared::{engine::Common, id::Hash, job::kinds::command, kernel::prepare};
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
    let (engine, outcome) = engines.call(&tiny, Input::of(b"x"), &Limits::default());
    assert_eq!((engine, outcome.output), (EngineName::Wasmi, Ok(Vec::new())));
    let rewritten = counting(1_000_000);
    let long = engines.load(&rewritten).unwrap();
    let (engine, outcome) = engines.call(&long, Input::of(b"x"), &Limits::default());
    assert_eq!(engine, EngineName::Wasmtime);
    let mut wasmi = WasmiEngine::new();
    let referee = wasmi.load(&rewritten).unwrap();
    assert_eq!(wasmi.call(&referee, Input::of(b"x"), &Limits::default()), outcome);
    // Many tiny calls add up until compiling pays.
    let last = (0..1_000_000).map(|_| engines.call(&tiny, Input::of(b"x"), &Limits::default()).0);
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
    assert_eq!(again.call(&kept, Input::of(b""), &Limits::default()).output, Ok(Vec::new()));
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
    assert_eq!(wasmtime.call(&module, Input::of(b""), &Limits::default()).output, Err(Trap::Cancelled));
    let mut wasmi = WasmiEngine::new();
    wasmi.set_watch(Some(watch));
    let module = wasmi.load(&rewritten).unwrap();
    assert_eq!(wasmi.call(&module, Input::of(b""), &Limits::default()).output, Err(Trap::Cancelled));
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
        let outcome = wasmtime.call(&native, Input::of(&input), &Limits::default());
        assert_eq!(wasmi.call(&referee, Input::of(&input), &Limits::default()), outcome, "{}", program.name);
        let output = outcome.output.unwrap();
        let ended = command::ended(&output).unwrap();
        assert_eq!(ended.exit_code, program.exit_code, "{}", program.name);
        assert_eq!((ended.output, ended.errors), (program.output, program.errors), "{}", program.name);
    }
}

#[test]
fn code_is_told_of_before_the_other_form_is_compiled() {
    let path = folder("told");
    let engine = WasmtimeEngine::compiling_into(path.clone()).unwrap();
    let files = || std::fs::read_dir(&path).unwrap().count();
    let rewritten = counting(100);
    let mut told = None;
    engine.keep(&rewritten, |compiled| {
        told = Some((compiled == Compiled::Ready, files(), engine.load_kept(&rewritten).is_some()))
    });
    assert_eq!((told, files()), (Some((true, 1, true)), 2));
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn of_a_kernel_that_is_prepared_for_many_calls_both_forms_are_there_when_it_is_told_of() {
    let path = folder("told_prepared");
    let compiler = WasmtimeEngine::compiling_into(path.clone()).unwrap();
    let mut engine = WasmtimeEngine::new(Some(path.clone())).unwrap();
    let rewritten = prepare(&kernels::prepared::table()).unwrap().rewritten;
    let common = Common { name: Hash::of(b"what is shared"), bytes: b"what is shared" };
    let input = || Input { common: Some(common), own: b"x" };
    let mut instances = None;
    compiler.keep(&rewritten, |_| {
        let module = engine.load_kept(&rewritten).unwrap();
        (0..20).for_each(|_| assert!(engine.call(&module, input(), &Limits::default()).output.is_ok()));
        instances = Some(engine.take_prepared().instances);
    });
    assert_eq!(instances, Some(1));
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn the_other_form_of_a_kernel_is_found_though_it_comes_after_many_calls() {
    let path = folder("later");
    let compiler = WasmtimeEngine::compiling_into(path.clone()).unwrap();
    let rewritten = counting(1);
    let mut engine = WasmtimeEngine::new(Some(path.clone())).unwrap();
    let other = engine.clone();
    let mut calls = |module: &WasmtimeModule, calls: usize| {
        let before = engine.stood_ready();
        (0..calls).for_each(|_| assert!(engine.call(module, Input::of(b"x"), &Limits::default()).output.is_ok()));
        engine.stood_ready() - before
    };
    let module = {
        // As it is while another process goes on.
        let mut module = None;
        compiler.keep(&rewritten, |_| {
            module = other.load_kept(&rewritten);
            assert_eq!(calls(module.as_ref().unwrap(), 2_000), 0);
        });
        module.unwrap()
    };
    assert!(calls(&module, 5_000) > 0);
    std::fs::remove_dir_all(path).unwrap();
}

/// Its memory begins with data, for which wasmtime opens a file where it makes the first instance.
#[cfg(target_os = "linux")]
const LONG_WITH_DATA: &str = r#"(module (memory (export "memory") 1) (data (i32.const 1000) "data")
    (func (export "alloc") (param i32) (result i32) (i32.const 2048))
    (func (export "run") (param i32 i32) (result i64) (local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 1000000))))
        (i64.or (i64.shl (i64.const 1000) (i64.const 32)) (i64.const 4))))"#;

/// Bounds the files of this process from now on.
#[cfg(target_os = "linux")]
fn bound(files: u64) {
    let limit = libc::rlimit { rlim_cur: files, rlim_max: 1024 };
    // SAFETY: only reads the struct, which lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn code_that_was_compiled_elsewhere_and_cannot_be_read_for_a_moment_is_read_later() {
    let inside = |folder: &std::path::Path| {
        let rewritten = prepare(&wat::parse_str(LONG_WITH_DATA).unwrap()).unwrap().rewritten;
        let mut engines = NativeEngines::new(Some(folder.to_owned()));
        engines.set_elsewhere(Some(Arc::new(|| true)));
        let module = engines.load(&rewritten).unwrap();
        WasmtimeEngine::compiling_into(folder.to_owned())
            .unwrap()
            .keep(&rewritten, |compiled| assert_eq!(compiled, Compiled::Ready));
        bound(0);
        let (engine, outcome) = engines.call(&module, Input::of(b""), &Limits::default());
        assert_eq!((engine, outcome.output.as_deref()), (EngineName::Wasmi, Ok(b"data".as_slice())));
        assert!(engines.lacked(), "a process that lacks nothing is to take its place");
        bound(1024);
        assert_eq!(engines.call(&module, Input::of(b""), &Limits::default()), (EngineName::Wasmtime, outcome));
        assert!(!engines.lacked());
    };
    let test = "engine::tests::code_that_was_compiled_elsewhere_and_cannot_be_read_for_a_moment_is_read_later";
    crate::apart::run(test, inside, |_| ());
}

#[cfg(target_os = "linux")]
#[test]
fn what_this_process_has_no_files_for_is_computed_by_wasmi_with_the_same_gas() {
    let inside = |_: &std::path::Path| {
        let mut engines = NativeEngines::new(None);
        let module = engines.load(&prepare(&wat::parse_str(LONG_WITH_DATA).unwrap()).unwrap().rewritten).unwrap();
        bound(0);
        let (engine, outcome) = engines.call(&module, Input::of(b""), &Limits::default());
        assert_eq!((engine, outcome.output.as_deref()), (EngineName::Wasmi, Ok(b"data".as_slice())));
        assert!(engines.lacked() && !engines.lacked(), "told once");
        bound(1024);
        assert_eq!(engines.call(&module, Input::of(b""), &Limits::default()), (EngineName::Wasmtime, outcome));
        assert!(!engines.lacked());
    };
    let test = "engine::tests::what_this_process_has_no_files_for_is_computed_by_wasmi_with_the_same_gas";
    crate::apart::run(test, inside, |_| ());
}
