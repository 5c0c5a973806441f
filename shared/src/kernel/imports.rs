//! What is said of an import that a module may not have: which part of WebAssembly or which toolchain it comes from, and
//! what to do about it. For kernels, which may import nothing, and for programs, which may import WASI.

use wasmparser::TypeRef;

use super::{features, outline::Outline};
use crate::refusal::{Code, Refusal};

/// What [`refusal`] speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importer {
    /// A module that was given as a kernel.
    Kernel,
    /// A module that was given as a program.
    Program,
}

/// Where an import comes from, and what to do.
struct Origin {
    /// Behind the import's name, as in "(for threads)".
    what: &'static str,
    advice: String,
}

impl Origin {
    fn new(what: &'static str, advice: impl Into<String>) -> Option<Self> {
        Some(Self { what, advice: advice.into() })
    }
}

/// Refuses an import, with its name, so that a module's author sees what the toolchain pulled in.
pub(crate) fn refusal(importer: Importer, module: &str, name: &str, kind: TypeRef) -> Refusal {
    let (shown_module, shown_name) = (shown(module), shown(name));
    let origin = origin(importer, module, name, kind);
    let what = origin.as_ref().map_or_else(String::new, |origin| format!(" ({})", origin.what));
    let (message, otherwise) = match importer {
        Importer::Kernel => (
            format!("The kernel imports `{shown_module}.{shown_name}`{what}; a kernel may import nothing."),
            "Build it for wasm32-unknown-unknown, without clock, randomness, files or JavaScript bindings.",
        ),
        Importer::Program => (
            format!(
                "`module` imports `{shown_module}` `{shown_name}`{what}; a program may import functions of WASI only"
            ),
            "build it for wasm32-wasip1, which needs no other imports than those of wasi_snapshot_preview1",
        ),
    };
    let hint = origin.map_or_else(|| otherwise.to_owned(), |origin| origin.advice);
    Refusal::new(Code::KernelImports, message, hint)
}

/// Refuses what was given as a kernel and is something else, by what it is; `None` if nothing says that it is.
pub(super) fn other_than_a_kernel(outline: &Outline) -> Option<Refusal> {
    if !outline.is_command() {
        return None;
    }
    let import = outline.wasi_import.as_ref();
    let code = if import.is_some() { Code::KernelImports } else { Code::InvalidKernel };
    let imported = import.map_or_else(String::new, |name| format!(" and imports `{}` of WASI", shown(name)));
    let (what, hint) = if outline.starts {
        (
            format!("a program (a WASI command), not a kernel: it exports `_start`{imported}"),
            "Send it as a job of kind `command`, its bytes in `module`: `p2pnet job run --kind command --module FILE`.",
        )
    } else {
        (
            format!("a library (a WASI reactor), neither a kernel nor a program: it exports no `_start`{imported}"),
            "Give it a `main` and build a program for wasm32-wasip1 (no `-mexec-model=reactor`, no cdylib), or export \
             `memory`, `alloc` and `run` and build a kernel for wasm32-unknown-unknown.",
        )
    };
    Some(Refusal::new(code, format!("The module is {what}."), hint))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn origin(importer: Importer, module: &str, name: &str, kind: TypeRef) -> Option<Origin> {
    let of_threads = match kind {
        TypeRef::Memory(memory) => memory.shared,
        TypeRef::Func(_) | TypeRef::FuncExact(_) | TypeRef::Table(_) | TypeRef::Global(_) | TypeRef::Tag(_) => false,
    };
    if of_threads || name == "thread-spawn" || name.contains("pthread") {
        return Origin::new("for threads", features::THREADS_ADVICE);
    }
    if matches!(kind, TypeRef::Tag(_)) || name.starts_with("__cxa_") || name.starts_with("invoke_") {
        return Origin::new("for exceptions", features::EXCEPTIONS_ADVICE);
    }
    if module.contains(':') {
        return Origin::new(
            "of the component model",
            "Build a core module: target wasm32-wasip1 instead of wasm32-wasip2, without wit-bindgen or `componentize`.",
        );
    }
    match module {
        "wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" => Origin::new(
            "wasm-bindgen's bindings to JavaScript",
            "Build it without wasm-bindgen: features like `js` of getrandom, web-sys and js-sys pull it in (`cargo tree -i wasm-bindgen`).",
        ),
        "go" | "gojs" => Origin::new(
            "Go's bindings to JavaScript",
            "Build it with GOOS=wasip1 GOARCH=wasm and send it as a program.",
        ),
        "GOT.mem" | "GOT.func" => {
            Origin::new("of a shared library", "Link a whole module: without -shared, -sSIDE_MODULE and -fPIC.")
        }
        "wasi_snapshot_preview1" | "wasi_unstable" => match importer {
            Importer::Kernel => Origin::new(
                "WASI",
                "Build it for wasm32-unknown-unknown, or give it a `main`, build it for wasm32-wasip1 and send it as a job of kind `command`.",
            ),
            Importer::Program => Origin::new(
                "which WASI does not have",
                "build it for wasm32-wasip1, with a toolchain that keeps to wasi_snapshot_preview1",
            ),
        },
        "env" | "a" => of_env(name, kind),
        _ => None,
    }
}

/// `env` is where linkers look for what nobody defined.
fn of_env(name: &str, kind: TypeRef) -> Option<Origin> {
    match (name, kind) {
        ("__linear_memory" | "__indirect_function_table" | "__stack_pointer", _) => Origin::new(
            "of an object file that is not linked",
            "Link it: give the compiler the whole program instead of `-c`, or run `wasm-ld` on its object files.",
        ),
        (_, TypeRef::Memory(_)) => Origin::new(
            "a memory of the host's",
            "Let the module have its memory itself: link without `--import-memory`.",
        ),
        (_, TypeRef::Table(_) | TypeRef::Global(_) | TypeRef::Tag(_)) => {
            Origin::new("of the host's", "Let the module define it: link without `--import-table` and `-sSIDE_MODULE`.")
        }
        ("abort", TypeRef::Func(_) | TypeRef::FuncExact(_)) => Origin::new(
            "AssemblyScript's or Emscripten's way to end",
            "With AssemblyScript, build with `--use abort=` (or its WASI shim); with Emscripten, with -sSTANDALONE_WASM.",
        ),
        (_, TypeRef::Func(_) | TypeRef::FuncExact(_)) if of_emscripten(name) => Origin::new(
            "Emscripten's JavaScript",
            "Link with -sSTANDALONE_WASM, and without what needs a browser (-sFETCH, -sASYNCIFY, SDL, EM_JS, EM_ASM).",
        ),
        (_, TypeRef::Func(_) | TypeRef::FuncExact(_)) => Origin::new(
            "a function that was declared and not linked",
            format!(
                "Link the library that defines `{}`, or remove its calls; without `--allow-undefined` the linker says who \
                 calls it. Emscripten's own functions go with -sSTANDALONE_WASM.",
                shown(name)
            ),
        ),
    }
}

fn of_emscripten(name: &str) -> bool {
    let signs = [
        "emscripten",
        "_emscripten",
        "__syscall_",
        "__asm",
        "_embind",
        "_emval",
        "_abort_js",
        "_munmap_js",
        "_mmap_js",
    ];
    signs.iter().any(|sign| name.starts_with(sign)) || name.ends_with("_js") || name == "__assert_fail"
}
