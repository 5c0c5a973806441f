//! Which parts of WebAssembly a kernel may use, and what is said of the others: by name, and what to do about it.

use wasm_encoder::{RefType, ValType};
use wasmparser::{BinaryReaderError, Operator, Payload, WasmFeatures};

use super::check;
use crate::refusal::{Code, Refusal};

/// WebAssembly 2.0, a second memory, tail calls, and what the rewrite turns into nothing: extended constant expressions,
/// `externref`, tags. Every engine of ours understands the rest in the same way; a browser too old for a second memory or
/// tail calls leaves such a kernel to wasmi.
pub(super) const ACCEPTED: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::EXCEPTIONS);

/// A part of WebAssembly that no kernel may use.
struct Feature {
    name: &'static str,
    /// What the validator says of a module that uses it, in part.
    signs: &'static [&'static str],
    /// What to do.
    advice: &'static str,
}

const EXCEPTIONS: Feature =
    Feature { name: "exceptions (`try`, `throw`)", signs: &["exception"], advice: EXCEPTIONS_ADVICE };

/// What to do about exceptions.
pub(super) const EXCEPTIONS_ADVICE: &str = "Build it without them: `-fno-exceptions` in C and C++, \
    `-sDISABLE_EXCEPTION_CATCHING=1` with Emscripten, `-C panic=abort` in Rust.";
/// What to do about threads.
pub(super) const THREADS_ADVICE: &str =
    "Build it without them: no `-pthread`, no `+atomics`. Parts of a job already run beside each other.";

/// The first whose sign is found counts.
const REFUSED: &[Feature] = &[
    EXCEPTIONS,
    Feature {
        name: "64-bit memories or tables (memory64)",
        signs: &["memory64", "64-bit"],
        advice: "Build it for wasm32.",
    },
    Feature {
        name: "threads (shared memory, atomic instructions)",
        signs: &["shared-everything", "threads", "shared memories", "atomic"],
        advice: THREADS_ADVICE,
    },
    Feature {
        name: "custom page sizes",
        signs: &["custom page size"],
        advice: "Build it with pages of 64 KiB, which is what every toolchain does unless told otherwise.",
    },
    Feature {
        name: "relaxed SIMD",
        signs: &["relaxed SIMD"],
        advice: "Its results differ from processor to processor. Build it with `-msimd128` and without `-mrelaxed-simd`.",
    },
    Feature { name: "wide arithmetic", signs: &["wide arithmetic"], advice: "Build it without `-mwide-arithmetic`." },
    Feature {
        name: "function references",
        signs: &["function references", "function-references"],
        advice: "Call through a table instead (`call_indirect`).",
    },
    Feature {
        name: "stack switching",
        signs: &["stack switching", "continuation"],
        advice: "Build it without stack switching.",
    },
    Feature {
        name: "garbage collection (gc)",
        signs: &["gc ", "heap types", "custom descriptors", "rec group"],
        advice: "Build it with a toolchain that brings its own collector in linear memory.",
    },
    Feature {
        name: "the component model",
        signs: &["component"],
        advice: "Send the core module: build for wasm32-wasip1 or wasm32-unknown-unknown.",
    },
];

impl Feature {
    fn refusal(&self, detail: &str) -> Refusal {
        self.refusal_of("kernel", detail)
    }

    fn refusal_of(&self, module: &str, detail: &str) -> Refusal {
        let name = self.name;
        Refusal::new(
            Code::InvalidKernel,
            format!("The {module} uses {name}, which no {module} may: {detail}."),
            self.advice,
        )
    }
}

/// Says which feature a module that the validator refuses would need; else that it is not valid.
pub(super) fn unreadable(error: &BinaryReaderError) -> Refusal {
    invalid("The kernel", error)
}

/// The same of a program.
pub(crate) fn unreadable_program(error: &BinaryReaderError) -> Refusal {
    match needed(error) {
        Some(feature) => feature.refusal_of("program", &error.to_string()),
        None => Refusal::new(
            Code::InvalidKernel,
            format!("The program is not valid WebAssembly: {error}."),
            "Build it again for wasm32-wasip1, and check that the file is whole.",
        ),
    }
}

/// The feature that a module refused so would need.
fn needed(error: &BinaryReaderError) -> Option<&'static Feature> {
    let message = error.message();
    REFUSED.iter().find(|feature| feature.signs.iter().any(|sign| message.contains(sign)))
}

/// The same of one function.
pub(super) fn invalid_body(number: u32, error: &BinaryReaderError) -> Refusal {
    invalid(&format!("Function {number} of the kernel"), error)
}

fn invalid(what: &str, error: &BinaryReaderError) -> Refusal {
    match needed(error) {
        Some(feature) => feature.refusal(&error.to_string()),
        None => check::invalid(format!("{what} is not valid: {error}.")),
    }
}

/// Refuses by its name what the validator would only call malformed.
pub(super) fn named(payload: &Payload<'_>) -> Result<(), Refusal> {
    if let Payload::Version { encoding: wasmparser::Encoding::Component, .. } = payload {
        return Err(Refusal::new(
            Code::InvalidKernel,
            "The kernel is a component, not a module.",
            "Send the core module: build for wasm32-wasip1 or wasm32-unknown-unknown.",
        ));
    }
    Ok(())
}

/// Refuses an instruction that throws or catches. Tags alone do no harm.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn exception(number: u32, operator: &Operator<'_>) -> Result<(), Refusal> {
    use Operator as O;
    match operator {
        O::Try { .. }
        | O::Catch { .. }
        | O::CatchAll
        | O::Rethrow { .. }
        | O::Delegate { .. }
        | O::Throw { .. }
        | O::ThrowRef
        | O::TryTable { .. } => Err(EXCEPTIONS.refusal(&format!("function {number} throws or catches"))),
        _ => Ok(()),
    }
}

/// A type as engines get it. Without imports no reference to anything of a host's can exist, so all that an `externref`
/// can hold is null; it becomes a `funcref`, which wasmtime has without its collector. What that changes: an indirect call
/// does not tell the two apart, where WebAssembly would have it trap.
pub(super) fn encoded(ty: wasmparser::ValType) -> Result<ValType, Refusal> {
    use wasmparser::{RefType as Read, ValType as V};
    Ok(match ty {
        V::I32 => ValType::I32,
        V::I64 => ValType::I64,
        V::F32 => ValType::F32,
        V::F64 => ValType::F64,
        V::V128 => ValType::V128,
        V::Ref(Read::FUNCREF | Read::EXTERNREF) => ValType::Ref(RefType::FUNCREF),
        V::Ref(other) if other == Read::EXN || other == Read::EXNREF => {
            return Err(EXCEPTIONS.refusal(&format!("it names the type `{other}`")));
        }
        V::Ref(other) => return Err(check::invalid(format!("The kernel names the type `{other}`, which none may."))),
    })
}

/// Types that [`encoded`] has passed.
pub(super) fn all_encoded(types: &[wasmparser::ValType]) -> Vec<ValType> {
    types.iter().filter_map(|ty| encoded(*ty).ok()).collect()
}
