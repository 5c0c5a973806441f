//! What a module is, at a glance: kernel, program or library. Read leniently: what is broken is said by those who look closer.

use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

use super::bounds;

/// Modules of WASI as they are imported from.
const WASI: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// What a module exports and imports, as far as it tells what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The first function of WASI that it imports.
    pub wasi_import: Option<String>,
    /// It exports `_start`.
    pub starts: bool,
    /// It exports `_initialize`.
    pub initialises: bool,
    /// It exports `alloc` and `run` with the types that a kernel's have.
    pub is_kernel: bool,
}

impl Outline {
    /// Of a module, or of what can be read of it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    pub fn of(module: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut types: Vec<Option<FuncType>> = Vec::new();
        let mut functions: Vec<u32> = Vec::new();
        let (mut alloc, mut run) = (None, None);
        for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
            match payload {
                Payload::TypeSection(section) => {
                    let read =
                        section.into_iter_err_on_gc_types().take((bounds::MOST_TYPES + bounds::added::TYPES) as usize);
                    types = read.map(Result::ok).collect();
                }
                Payload::ImportSection(section) => {
                    let most = bounds::MOST_FUNCTIONS as usize;
                    for import in section.into_imports().map_while(Result::ok).take(most) {
                        if WASI.contains(&import.module) && outline.wasi_import.is_none() {
                            outline.wasi_import = Some(import.name.to_owned());
                        }
                        if let TypeRef::Func(ty) = import.ty {
                            functions.push(ty);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    let most = (bounds::MOST_FUNCTIONS + bounds::added::FUNCTIONS) as usize;
                    functions.extend(section.into_iter().map_while(Result::ok).take(most));
                }
                Payload::ExportSection(section) => {
                    let most = (bounds::MOST_EXPORTS + bounds::added::EXPORTS) as usize;
                    for export in section.into_iter().map_while(Result::ok).take(most) {
                        match (export.name, export.kind) {
                            ("_start", ExternalKind::Func) => outline.starts = true,
                            ("_initialize", ExternalKind::Func) => outline.initialises = true,
                            ("alloc", ExternalKind::Func) => alloc = Some(export.index),
                            ("run", ExternalKind::Func) => run = Some(export.index),
                            (_, _) => {}
                        }
                    }
                }
                Payload::CodeSectionStart { .. } => break,
                _ => {}
            }
        }
        let has = |index: Option<u32>, params: &[ValType], result: ValType| {
            let ty = index.and_then(|index| functions.get(index as usize)).and_then(|ty| types.get(*ty as usize));
            matches!(ty, Some(Some(ty)) if ty.params() == params && ty.results() == [result])
        };
        outline.is_kernel =
            has(alloc, &[ValType::I32], ValType::I32) && has(run, &[ValType::I32, ValType::I32], ValType::I64);
        outline
    }

    /// Whether it is to be taken as a program rather than as a kernel: it has what only programs have. A program may well
    /// export functions named `alloc` and `run`.
    pub fn is_command(&self) -> bool {
        let wasi = self.wasi_import.is_some();
        (self.starts && wasi) || ((self.starts || wasi) && !self.is_kernel)
    }
}
