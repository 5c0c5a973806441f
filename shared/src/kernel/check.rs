//! The contract's checks that need no look into bodies, and what engines must know of a rewritten module.

use wasmparser::{ExternalKind, FuncType, Parser, Payload, ValType};

use super::{Facts, bounds::MOST_MODULE_BYTES, exports, features};
use crate::engine::drive::ENDS_EARLY;
use crate::refusal::{Code, Refusal};

const WRITE_A_KERNEL: &str = "A kernel exports `memory`, `alloc(i32) -> i32` and `run(i32, i32) -> i64`; \
    docs/kernels.md shows one, and `p2pnet kernel check FILE` says what is missing.";

/// A module that breaks the contract.
pub fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidKernel, message, WRITE_A_KERNEL)
}

/// Refuses what is too long to look at.
pub fn length(original: &[u8]) -> Result<(), Refusal> {
    if original.len() > MOST_MODULE_BYTES {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("The kernel has {} bytes; at most {MOST_MODULE_BYTES} are accepted.", original.len()),
            "Build it with optimisation and without debug information (`wasm-opt -O --strip-debug`).",
        ));
    }
    if !original.starts_with(b"\0asm") {
        return Err(invalid("The kernel is no WebAssembly module: it does not begin with `\\0asm`."));
    }
    Ok(())
}

/// Imports are refused with their name, so that its author sees what the toolchain pulled in.
pub fn import(module: &str, name: &str) -> Refusal {
    let shown = |text: &str| text.chars().take(64).collect::<String>();
    Refusal::new(
        Code::KernelImports,
        format!("The kernel imports `{}.{}`; a kernel may import nothing.", shown(module), shown(name)),
        "Build it for wasm32-unknown-unknown, without clock, randomness, files or JavaScript bindings.",
    )
}

/// Checks that the three exports are there and have the right types.
pub fn contract(original: &[u8]) -> Result<(), Refusal> {
    length(original)?;
    let broken = |error: wasmparser::BinaryReaderError| features::unreadable(&error);
    let mut types: Vec<FuncType> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let (mut memory, mut alloc, mut run) = (false, None, None);
    for payload in Parser::new(0).parse_all(original) {
        let payload = payload.map_err(broken)?;
        features::named(&payload)?;
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types().take(super::bounds::MOST_TYPES as usize) {
                    types.push(ty.map_err(broken)?);
                }
            }
            Payload::ImportSection(section) => {
                if let Some(found) = section.into_imports().next() {
                    let found = found.map_err(broken)?;
                    return Err(import(found.module, found.name));
                }
            }
            Payload::FunctionSection(section) => {
                for index in section.into_iter().take(super::bounds::MOST_FUNCTIONS as usize) {
                    functions.push(index.map_err(broken)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section.into_iter().take(super::bounds::MOST_EXPORTS as usize) {
                    let export = export.map_err(broken)?;
                    match (export.name, export.kind) {
                        ("memory", ExternalKind::Memory) => memory = true,
                        ("alloc", ExternalKind::Func) => alloc = Some(export.index),
                        ("run", ExternalKind::Func) => run = Some(export.index),
                        _ => {}
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    if !memory {
        return Err(invalid("The kernel exports no memory named `memory`."));
    }
    let signature = |index: Option<u32>| {
        let ty = functions.get(index? as usize)?;
        types.get(*ty as usize)
    };
    let expect = |name: &str, index, params: &[ValType], result: ValType, shape: &str| match signature(index) {
        None => Err(invalid(format!("The kernel exports no function `{name}`."))),
        Some(ty) if ty.params() == params && ty.results() == [result] => Ok(()),
        Some(_) => Err(invalid(format!("The kernel's `{name}` does not have the type `{shape}`."))),
    };
    expect("alloc", alloc, &[ValType::I32], ValType::I32, "(i32) -> i32")?;
    expect("run", run, &[ValType::I32, ValType::I32], ValType::I64, "(i32, i32) -> i64")
}

/// See [`Facts::of`].
pub fn facts(rewritten: &[u8]) -> Option<Facts> {
    let mut facts = Facts::default();
    let mut initialise = false;
    for payload in Parser::new(0).parse_all(rewritten) {
        match payload.ok()? {
            Payload::MemorySection(section) => {
                for memory in section {
                    facts.initial_pages = facts.initial_pages.saturating_add(memory.ok()?.initial);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    if export.kind == ExternalKind::Func && export.name == exports::START {
                        facts.start.push(exports::START.into());
                    }
                    facts.recovers |= export.kind == ExternalKind::Func && export.name == exports::RECOVER;
                    facts.ends_early |= export.kind == ExternalKind::Func && export.name == ENDS_EARLY;
                    initialise |= export.kind == ExternalKind::Func && export.name == "_initialize";
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    if initialise {
        facts.start.push("_initialize".into());
    }
    Some(facts)
}
