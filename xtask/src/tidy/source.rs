//! Rust as the checks read it: what is code and what is not, where functions end, which constants there are.
//!
//! No parser: `xtask` compiles before everything else, and what is asked here can be told from braces and words.

use std::ops::Range;

/// A function, by its name and the lines that it takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Its first line, from 1 on.
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// A constant with a type, or a static.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) line: usize,
}

/// The text with everything but code turned into spaces: comments, and what texts and characters hold. Lines and columns stay.
pub(super) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = beside_code(bytes, at);
        for byte in code.get_mut(at..end).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Where what begins here ends, if it is a comment, a text or a character; else here.
fn beside_code(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied().unwrap_or(b' ');
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + comment(rest);
    }
    if is_word(before) {
        // `r`, `b` or `c` at the end of a longer word opens nothing; a quote behind it does.
        return if rest.first() == Some(&b'"') { at + quoted(rest, 0) } else { at };
    }
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let is_raw = rest.get(..prefix).unwrap_or_default().contains(&b'r');
    let hashes = rest.iter().skip(prefix).take_while(|byte| is_raw && **byte == b'#').count();
    match rest.get(prefix + hashes) {
        Some(b'"') if is_raw => at + raw(rest, prefix + hashes, hashes),
        Some(b'"') => at + quoted(rest, prefix),
        Some(b'\'') if hashes == 0 => at + character(rest, prefix),
        _ => at,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// The length of a comment, others inside it included.
fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        let here = rest.get(at..).unwrap_or_default();
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a text whose quote stands at `open`.
fn quoted(rest: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw text whose quote stands at `open`, behind so many hashes.
fn raw(rest: &[u8], open: usize, hashes: usize) -> usize {
    let end = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let inner = rest.get(open + 1..).unwrap_or_default();
    match inner.windows(end.len()).position(|window| window == end) {
        Some(place) => open + 1 + place + end.len(),
        None => rest.len(),
    }
}

/// The length of a character whose quote stands at `open`; nothing if it is a lifetime.
fn character(rest: &[u8], open: usize) -> usize {
    let inner = rest.get(open + 1..).unwrap_or_default();
    if inner.first() == Some(&b'\\') {
        let end = inner.iter().skip(2).position(|byte| *byte == b'\'').unwrap_or(0);
        return open + 1 + 2 + end + 1;
    }
    let Some(first) = std::str::from_utf8(inner.get(..inner.len().min(4)).unwrap_or_default())
        .or_else(|error| std::str::from_utf8(inner.get(..error.valid_up_to()).unwrap_or_default()))
        .ok()
        .and_then(|text| text.chars().next())
    else {
        return 0;
    };
    if inner.get(first.len_utf8()) == Some(&b'\'') { open + 1 + first.len_utf8() + 1 } else { 0 }
}

/// The functions with a body in it, nested ones too.
pub(super) fn functions(code: &str) -> Vec<Function> {
    words(code, "fn")
        .filter_map(|at| {
            let name: String =
                code.get(at + 2..)?.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let open = at + body(code.get(at..)?)?;
            let end = open + closing(code.get(open..)?)?;
            let line = line_of(code, at);
            (!name.is_empty()).then(|| Function { name, line, lines: line_of(code, end) - line + 1 })
        })
        .collect()
}

/// Where a function's body opens; `None` if it ends without one.
fn body(code: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.checked_sub(1)?,
            '{' if depth == 0 => return Some(at),
            ';' | '}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace that opens at the beginning is closed.
fn closing(code: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The constants and statics with a name of capitals.
pub(super) fn constants(code: &str) -> Vec<Constant> {
    let declared = |keyword: &'static str| {
        words(code, keyword).filter_map(move |at| {
            let (name, rest) = code.get(at + keyword.len()..)?.split_once(':')?;
            let name = name.trim().trim_start_matches("mut ").trim();
            let is_capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            let ty = rest.split(['=', ';', '{']).next()?.trim();
            (!name.is_empty() && name.chars().all(is_capital)).then(|| Constant {
                name: name.to_owned(),
                ty: ty.to_owned(),
                line: line_of(code, at),
            })
        })
    };
    declared("const").chain(declared("static")).collect()
}

/// The lines that are tests inside a file of other code.
pub(super) fn tests_inside(code: &str) -> Vec<Range<usize>> {
    let attribute = "#[cfg(test)]";
    let module = |(at, _): (usize, &str)| {
        let behind = code.get(at + attribute.len()..)?;
        let item = behind.trim_start().trim_start_matches(|c| c != '{' && c != ';');
        let open = at + attribute.len() + (behind.len() - behind.trim_start().len());
        let open = open + (code.get(open..)?.len() - item.len());
        let end = if item.starts_with('{') { open + closing(code.get(open..)?)? } else { open };
        Some(line_of(code, at)..line_of(code, end) + 1)
    };
    code.match_indices(attribute).filter_map(module).collect()
}

/// Where a word stands for itself.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    let is_free = move |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|byte| !is_word(*byte));
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| is_free(Some(at + word.len())) && (*at == 0 || is_free(at.checked_sub(1))))
}

/// The line of a place, from 1 on.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
