//! The contract's checks that need no look into bodies, and what engines must know of a rewritten module.

use wasmparser::{ExternalKind, FuncType, Parser, Payload, ValType};

use super::{
    Facts, exports, features,
    imports::{self, Importer},
    outline::Outline,
    rewrite::{within_bounds, within_bounds_of_nodes},
    shape,
};
use crate::engine::drive::{ENDS_EARLY, GAS_USED, INIT, RECOVERS, TRAP_REASON};
use crate::refusal::{Code, Refusal};

const WRITE_A_KERNEL: &str = "A kernel exports `memory`, `alloc(i32) -> i32` and `run(i32, i32) -> i64`; \
    docs/kernels.md shows one, and `p2pnet kernel check FILE` says what is missing.";

/// An export that has a meaning by its name: see [`crate::engine::drive`].
struct Service {
    name: &'static str,
    /// What it must give, taking nothing; `None` where it is never called.
    results: Option<&'static [ValType]>,
    shape: &'static str,
}

const SERVICES: [Service; 4] = [
    Service { name: ENDS_EARLY, results: None, shape: "" },
    Service { name: RECOVERS, results: Some(&[]), shape: "() -> ()" },
    Service { name: TRAP_REASON, results: Some(&[ValType::I32]), shape: "() -> i32" },
    Service { name: GAS_USED, results: Some(&[ValType::I64]), shape: "() -> i64" },
];

/// A module that breaks the contract.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidKernel, message, WRITE_A_KERNEL)
}

/// Refuses a kernel with more of anything than its author may give it; what cannot be read is told by those who look closer.
pub(super) fn size(original: &[u8]) -> Result<(), Refusal> {
    shape::check(original)?;
    Parser::new(0).parse_all(original).map_while(Result::ok).try_for_each(|payload| within_bounds(&payload))
}

/// Checks that the three exports are there, and that whatever has a meaning by its name has the right type.
#[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
pub(super) fn contract(original: &[u8]) -> Result<(), Refusal> {
    shape::check_of_nodes(original)?;
    let broken = |error: wasmparser::BinaryReaderError| features::unreadable(&error);
    let mut types: Vec<FuncType> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let (mut memory, mut alloc, mut run, mut initialise, mut init) = (false, None, None, None, None);
    let mut services = Vec::new();
    for payload in Parser::new(0).parse_all(original) {
        let payload = payload.map_err(broken)?;
        features::named(&payload)?;
        within_bounds_of_nodes(&payload)?;
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    types.push(ty.map_err(broken)?);
                }
            }
            Payload::ImportSection(section) => {
                if let Some(found) = section.into_imports().next() {
                    let found = found.map_err(broken)?;
                    return Err(imports::other_than_a_kernel(&Outline::of(original))
                        .unwrap_or_else(|| imports::refusal(Importer::Kernel, found.module, found.name, found.ty)));
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    functions.push(index.map_err(broken)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(broken)?;
                    match (export.name, export.kind) {
                        ("memory", ExternalKind::Memory) => memory = true,
                        ("alloc", ExternalKind::Func) => alloc = Some(export.index),
                        ("run", ExternalKind::Func) => run = Some(export.index),
                        ("_initialize", ExternalKind::Func) => initialise = Some(export.index),
                        (INIT, ExternalKind::Func) => init = Some(export.index),
                        (name, kind) => {
                            if let Some(service) = SERVICES.iter().find(|service| service.name == name) {
                                services.push((service, (kind == ExternalKind::Func).then_some(export.index)));
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    if let Some(refusal) = imports::other_than_a_kernel(&Outline::of(original)) {
        return Err(refusal);
    }
    if !memory {
        return Err(invalid("The kernel exports no memory named `memory`."));
    }
    let signature = |index: u32| {
        let ty = functions.get(index as usize)?;
        types.get(*ty as usize)
    };
    let expect = |name: &str, index: Option<u32>, params: &[ValType], results: &[ValType], shape: &str| {
        let Some(index) = index else {
            return Err(invalid(format!("The kernel exports no function `{name}`.")));
        };
        match signature(index) {
            Some(ty) if ty.params() == params && ty.results() == results => Ok(()),
            Some(_) | None => Err(invalid(format!("The kernel's `{name}` does not have the type `{shape}`."))),
        }
    };
    expect("alloc", alloc, &[ValType::I32], &[ValType::I32], "(i32) -> i32")?;
    expect("run", run, &[ValType::I32, ValType::I32], &[ValType::I64], "(i32, i32) -> i64")?;
    if initialise.is_some() {
        expect("_initialize", initialise, &[], &[], "() -> ()")?;
    }
    if init.is_some() {
        expect(INIT, init, &[ValType::I32, ValType::I32], &[], "(i32, i32) -> ()")?;
    }
    for (Service { name, results, shape }, index) in services {
        if index.is_none() {
            return Err(invalid(format!("The kernel exports `{name}`, which must be a function if it is there.")));
        }
        if let Some(results) = results {
            expect(name, index, &[], results, shape)?;
        }
    }
    Ok(())
}

/// See [`Facts::of`].
#[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
pub(super) fn facts(rewritten: &[u8]) -> Option<Facts> {
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
                    facts.init |= export.kind == ExternalKind::Func && export.name == INIT;
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
