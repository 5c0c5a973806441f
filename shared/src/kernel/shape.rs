//! Whether bytes are a module at all, and what they are if not: people send the archive, the text or the object file.

use super::bounds::{MOST_MODULE_BYTES, added};
use crate::refusal::{Code, Refusal};

/// What files begin with that are sent in a module's place: the bytes, what it is, and what to do.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "compressed by gzip", "Unpack it first (`gunzip`)."),
    (b"PK\x03\x04", "a zip archive", "Unpack it and send the .wasm file that is in it."),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it first (`unzstd`)."),
    (b"\xfd7zXZ\0", "compressed by xz", "Unpack it first (`unxz`)."),
    (b"BZh", "compressed by bzip2", "Unpack it first (`bunzip2`)."),
    (b"\x7fELF", "a program for Linux (ELF)", FOR_WASM),
    (b"\xcf\xfa\xed\xfe", "a program for macOS (Mach-O)", FOR_WASM),
    (b"MZ", "a program for Windows (PE)", FOR_WASM),
    (b"BC\xc0\xde", "LLVM bitcode", LINK),
    (b"\xde\xc0\x17\x0b", "LLVM bitcode", LINK),
    (b"!<arch>\n", "a static library", LINK),
    (b"#!", "a script", FOR_WASM),
];
const FOR_WASM: &str = "Build it for WebAssembly: wasm32-wasip1 for a program, wasm32-unknown-unknown for a kernel.";
const LINK: &str = "Link it to a module: without `-c`, `-emit-llvm` and `-flto` as the last step, or by `wasm-ld`.";
/// Bytes that are looked at to tell text.
const LOOKED_AT: usize = 4096;

/// Refuses what is too long to look at, and what is no WebAssembly, by what it is.
pub fn check(module: &[u8]) -> Result<(), Refusal> {
    check_up_to(module, MOST_MODULE_BYTES)
}

/// The same of any module that a node may be sent: it may have been made of a program.
pub(super) fn check_of_nodes(module: &[u8]) -> Result<(), Refusal> {
    check_up_to(module, MOST_MODULE_BYTES + added::MODULE_BYTES)
}

fn check_up_to(module: &[u8], most: usize) -> Result<(), Refusal> {
    if module.len() > most {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("The module has {} bytes; at most {most} are accepted.", module.len()),
            "Build it with optimisation and without debug information (`wasm-opt -O --strip-debug`).",
        ));
    }
    if module.starts_with(b"\0asm") {
        return Ok(());
    }
    let (what, hint) = if module.is_empty() {
        ("it is empty", "Send the bytes of a .wasm file.")
    } else if let Some((_, what, hint)) = OTHERS.iter().find(|(sign, _, _)| module.starts_with(sign)) {
        return Err(refusal(&format!("it is {what}"), hint));
    } else {
        of_text(module).unwrap_or(("it does not begin with `\\0asm`", "Send the bytes of a .wasm file."))
    };
    Err(refusal(what, hint))
}

fn refusal(what: &str, hint: &str) -> Refusal {
    Refusal::new(Code::InvalidKernel, format!("This is no WebAssembly module: {what}."), hint)
}

fn of_text(module: &[u8]) -> Option<(&'static str, &'static str)> {
    let begin = module.get(..LOOKED_AT).unwrap_or(module);
    let text = match std::str::from_utf8(begin) {
        Ok(text) => text,
        // A character that the cut went through.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(begin.get(..error.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.get(..15).unwrap_or(text).to_ascii_lowercase();
    Some(
        if text.starts_with("(module")
            || text.starts_with(";;")
            || text.starts_with("(;")
            || text.starts_with("(component")
        {
            (
                "it is WebAssembly's text format",
                "Turn it into bytes first: `wat2wasm FILE` or `wasm-tools parse FILE -o OUT`.",
            )
        } else if text.starts_with("AGFzb") {
            ("it is in base64", "Send it as bytes; in a job's JSON, encode it in base64 once.")
        } else if lower.starts_with("<!doctype") || lower.starts_with("<html") {
            ("it is a web page", "Check the address that it was fetched from.")
        } else if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return None;
        } else {
            ("it is text", "Send the bytes of a .wasm file, not its source or its name.")
        },
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_told_what_it_is() {
        for (bytes, what) in [
            (&b""[..], "empty"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"PK\x03\x04\x14\0", "zip archive"),
            (b"  ;; a comment\n(module)", "text format"),
            (b"(module (func))", "text format"),
            (b"\x7fELF\x02\x01", "ELF"),
            (b"BC\xc0\xde5\x14", "LLVM bitcode"),
            (b"\xde\xc0\x17\x0b\0", "LLVM bitcode"),
            (b"!<arch>\n", "static library"),
            (b"AGFzbQEAAAA=", "base64"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"fn main() {}", "it is text"),
            (b"\xff\xfe\x00", "\\0asm"),
        ] {
            let refusal = check(bytes).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidKernel);
            assert!(refusal.message.contains(what) && !refusal.hint.is_empty(), "{refusal:?}");
        }
        assert!(check(b"\0asm\x01\0\0\0").is_ok());
        assert_eq!(check(&vec![0; MOST_MODULE_BYTES + 1]).unwrap_err().code, Code::TooLarge);
    }
}
