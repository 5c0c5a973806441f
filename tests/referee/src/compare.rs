//! One run on both sides, and the first difference in words.

use anyhow::Result;

use crate::{
    Ended,
    ours::{Ours, Program},
    wasi::Wasi,
};

/// Bytes that are shown of a difference.
const SHOWN: usize = 48;
/// The name that ours gives to a program.
const NAME: &str = "command";

/// A run that went the same way on both sides.
pub struct Same {
    /// Whether both of our engines ran it.
    pub on_both: bool,
    /// How it ended.
    pub ended: Ended,
}

/// Runs the loaded program on both sides. The inner error is a difference.
pub fn run(
    ours: &mut Ours,
    program: &Program,
    wasi: &mut Wasi,
    input: &[u8],
    given: &[String],
) -> Result<Result<Same, String>> {
    let arguments: Vec<String> = std::iter::once(NAME.to_owned()).chain(given.iter().cloned()).collect();
    let theirs = wasi.run(input, &arguments)?;
    let ran = match ours.run(program, input, given) {
        Ok(ran) => ran,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let ended = match ran.ended {
        Ok(ended) => ended,
        Err(trap) => {
            let (code, length) = (theirs.code, theirs.output.len());
            return Ok(Err(format!("ours ended as {trap:?}, wasmtime's with {code:?} after {length} bytes")));
        }
    };
    let difference =
        [("standard output", &ended.output, &theirs.output), ("standard error", &ended.errors, &theirs.errors)]
            .into_iter()
            .find_map(|(what, ours, theirs)| bytes(what, ours, theirs));
    let code = (theirs.code.is_some() && theirs.code != ended.code)
        .then(|| format!("exit code: ours {:?}, wasmtime's {:?}", ended.code, theirs.code));
    Ok(match difference.into_iter().chain(code).reduce(|one, other| format!("{one}; {other}")) {
        None => Ok(Same { on_both: ran.on_both, ended }),
        Some(difference) if theirs.reason.is_empty() => Err(difference),
        Some(difference) => Err(format!("{difference} (wasmtime's ended: {})", theirs.reason.replace('\n', " "))),
    })
}

fn bytes(what: &str, ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let at = ours.iter().zip(theirs).take_while(|(one, other)| one == other).count();
    let from = |bytes: &[u8]| {
        let start = at.saturating_sub(16).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..bytes.len().min(at + SHOWN)]).into_owned()
    };
    Some(format!(
        "{what} differs at byte {at}: ours ({} bytes) {:?}, wasmtime's ({} bytes) {:?}",
        ours.len(),
        from(ours),
        theirs.len(),
        from(theirs)
    ))
}
