//! What a job of programs comes to: their outputs in the input's order, and which parts failed.
//!
//! ```json
//! {"stdout":"<base64>","stderr":"text","stderr_base64":"<base64>","exit_codes":{"0":499,"1":1},
//!  "failed":[{"part":3,"exit_code":1,"stderr":"…"}],"failed_total":1}
//! ```
//! `stderr_base64` stands there if standard error is no UTF-8: `stderr` shows what of it is text. `stderr_left_out` counts the
//! bytes in its middle that are not kept, if there are such. `exit_codes` (how many parts
//! ended with which) stands there if one ended with another code than 0, `failed` if one ended with a code that the job does
//! not count as good, or for want of memory, stack, time or room for its output, which its `error` then says. Of such a part
//! `stderr` is the end: `stderr_cut` says that there was more, `"stderr_is_text":false` that some bytes were no UTF-8. A part
//! that fails does not lose the others' output, and loses its own only where it had no time or room to give it. The job fails
//! if all of its parts do; the result is kept then as well.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{super::kernel::base64_text, End, Ended};
use crate::refusal::{Code, Refusal};

/// Characters of an output in a reason, and of a part's standard error in `failed`: the last ones.
const SHOWN: usize = 400;
/// Bytes of standard error in a result: half of them from its beginning, half from its end.
const MOST_ERRORS: usize = 1 << 20;
/// Parts that `failed` names.
const MOST_FAILED: u64 = 1_000;
/// Exit codes that are counted apart; further ones are counted as `other`.
const MOST_CODES: usize = 100;

/// The result as JSON text. `runs` gives every part's number and run in the input's order; `ok` are good exit codes.
pub(super) fn result<'a, R: Iterator<Item = (u64, Ended<'a>)>>(
    runs: impl Fn() -> R,
    ok: &[u32],
) -> Result<String, Refusal> {
    let output = base64_text(runs().map(|(_, run)| run.output))?;
    let (mut errors, mut codes, mut failed, mut failures) = (Ends::default(), BTreeMap::new(), Vec::new(), 0u64);
    let mut others = 0u64;
    for (part, run) in runs() {
        errors.add(run.errors);
        if codes.len() < MOST_CODES || codes.contains_key(&run.exit_code) {
            *codes.entry(run.exit_code).or_insert(0u64) += 1;
        } else {
            others += 1;
        }
        if !is_good(&run, ok) {
            failures += 1;
            if failures <= MOST_FAILED {
                failed.push(failed_part(part, &run));
            }
        }
    }
    let Kept { bytes: errors, left_out } = errors.whole();
    let mut json = format!("{{\"stdout\":{output},\"stderr\":{}", Value::from(String::from_utf8_lossy(&errors)));
    if std::str::from_utf8(&errors).is_err() {
        json.push_str(&format!(",\"stderr_base64\":{}", base64_text([errors.as_slice()].into_iter())?));
    }
    if left_out > 0 {
        json.push_str(&format!(",\"stderr_left_out\":{left_out}"));
    }
    if codes.keys().any(|code| *code != 0) {
        let mut counts: serde_json::Map<String, Value> =
            codes.iter().map(|(code, count)| (code.to_string(), Value::from(*count))).collect();
        if others > 0 {
            counts.insert("other".to_owned(), Value::from(others));
        }
        json.push_str(&format!(",\"exit_codes\":{}", Value::from(counts)));
    }
    if failures > 0 {
        json.push_str(&format!(",\"failed\":{},\"failed_total\":{failures}", Value::from(failed)));
    }
    json.push('}');
    Ok(json)
}

/// A part that failed, as `failed` names it.
fn failed_part(part: u64, run: &Ended<'_>) -> Value {
    let (errors, is_cut) = tail(run.errors);
    let mut entry = serde_json::Map::new();
    entry.insert("part".to_owned(), json!(part));
    entry.insert("exit_code".to_owned(), json!(run.exit_code));
    if let Some(want) = want(run.end) {
        entry.insert("error".to_owned(), json!(want.code));
    }
    if is_cut {
        entry.insert("stderr_cut".to_owned(), json!(true));
    }
    if std::str::from_utf8(run.errors).is_err() {
        entry.insert("stderr_is_text".to_owned(), json!(false));
    }
    entry.insert("stderr".to_owned(), json!(errors));
    Value::Object(entry)
}

/// How many parts failed.
pub(super) fn failures<'a>(runs: impl Iterator<Item = (u64, Ended<'a>)>, ok: &[u32]) -> u64 {
    runs.filter(|(_, run)| !is_good(run, ok)).count() as u64
}

/// Why the job failed, if all of its parts did.
pub(super) fn failure<'a>(mut runs: impl Iterator<Item = (u64, Ended<'a>)>, ok: &[u32]) -> Option<Refusal> {
    let (part, first) = runs.next().filter(|(_, run)| !is_good(run, ok))?;
    let mut all = 1u64;
    for (_, run) in runs {
        if is_good(&run, ok) {
            return None;
        }
        all += 1;
    }
    let want = want(first.end);
    let mut message = match &want {
        Some(want) => format!("part {part} {}", want.message),
        None => format!("part {part} ended with exit code {}", first.exit_code),
    };
    if all > 1 {
        message = format!("all {all} parts failed; {message}");
    }
    match tail(first.errors) {
        (errors, false) if !errors.is_empty() => message.push_str(&format!(": {errors}")),
        (errors, true) => message.push_str(&format!(": [… only the end of standard error is shown here …] {errors}")),
        _ if want.as_ref().is_none_or(|want| want.gives_output) => message.push_str(", with nothing on standard error"),
        _ => message.push_str("; what it had put out is lost"),
    }
    match tail(first.output) {
        (output, false) if output.is_empty() => {}
        (output, false) => message.push_str(&format!("; its standard output ends with {output:?}")),
        (output, true) => message.push_str(&format!("; its standard output, longer than this, ends with {output:?}")),
    }
    let hint = "see the program's standard error; `ok_exit_codes` says which codes are no failure";
    let (code, hint) = want.map_or((Code::KernelError, hint), |want| (want.code, want.hint));
    Some(Refusal::new(code, message, hint))
}

/// Whether a run is no failure: it exited, or trapped, with a code that the job counts as good.
fn is_good(run: &Ended<'_>, ok: &[u32]) -> bool {
    want(run.end).is_none() && ok.contains(&run.exit_code)
}

/// What a run lacked.
struct Want {
    code: Code,
    message: &'static str,
    hint: &'static str,
    /// Whether it gives what it had put out until then.
    gives_output: bool,
}

fn want(end: End) -> Option<Want> {
    match end {
        End::Exited | End::Trapped => None,
        End::OutOfMemory => Some(Want {
            code: Code::OutOfMemory,
            message: "asked for more memory than a task may use",
            hint: "raise requirements.ram_gb",
            gives_output: true,
        }),
        End::StackOverflow => Some(Want {
            code: Code::StackOverflow,
            message: "recursed too deep",
            hint: "use a loop, or recurse less deep",
            gives_output: true,
        }),
        End::TimedOut => Some(Want {
            code: Code::TimedOut,
            message: "ran longer than requirements.timeout_seconds, or out of gas",
            hint: "look for a loop that does not end, raise requirements.timeout_seconds, or give each part less to do",
            gives_output: false,
        }),
        End::TooLarge => Some(Want {
            code: Code::TooLarge,
            message: "put out more than a result holds",
            hint: "put less out, or cut the input into smaller parts",
            gives_output: false,
        }),
    }
}

/// The last characters of an output, without white space at its end, and whether there is more before them.
fn tail(output: &[u8]) -> (String, bool) {
    let output = output.trim_ascii_end();
    // A character has at most four bytes; bytes that are none count as one.
    let from = output.len().saturating_sub(4 * SHOWN + 64);
    let text = String::from_utf8_lossy(output.get(from..).unwrap_or_default());
    let text = text.trim_end();
    let surplus = text.chars().count().saturating_sub(SHOWN);
    (text.chars().skip(surplus).collect(), surplus > 0 || from > 0)
}

/// The beginning and the end of what comes in pieces.
#[derive(Default)]
struct Ends {
    first: Vec<u8>,
    last: Vec<u8>,
    left_out: u64,
}

impl Ends {
    fn add(&mut self, piece: &[u8]) {
        const HALF: usize = MOST_ERRORS / 2;
        let fits = piece.len().min(HALF - self.first.len());
        let (first, rest) = piece.split_at_checked(fits).unwrap_or_default();
        self.first.extend_from_slice(first);
        self.last.extend_from_slice(rest);
        // Cut rarely, so that many small pieces do not move the same bytes again and again.
        if self.last.len() > 2 * HALF {
            self.shorten(HALF);
        }
    }

    fn shorten(&mut self, most: usize) {
        let surplus = self.last.len().saturating_sub(most);
        self.last.drain(..surplus);
        self.left_out += surplus as u64;
    }

    /// All of it, or both ends and a word about what was between. No character is cut.
    fn whole(mut self) -> Kept {
        self.shorten(MOST_ERRORS / 2);
        let mut whole = self.first;
        let mut left_out = self.left_out;
        if left_out > 0 {
            let begun = begun_at_end(&whole);
            whole.truncate(whole.len() - begun);
            let ending = ended_at_start(&self.last);
            self.last.drain(..ending);
            left_out += (begun + ending) as u64;
            whole.extend(format!("\n[… {left_out} bytes of standard error are left out here …]\n").bytes());
        }
        whole.append(&mut self.last);
        Kept { bytes: whole, left_out }
    }
}

/// What is kept of it.
struct Kept {
    bytes: Vec<u8>,
    /// Bytes between both ends that are not there, as the word about them says.
    left_out: u64,
}

/// Bytes of a character at the end of a text that was cut inside of it.
fn begun_at_end(text: &[u8]) -> usize {
    let tail = text.get(text.len().saturating_sub(3)..).unwrap_or_default();
    let begun = tail.iter().rev().position(|byte| !is_inside(*byte)).map_or(0, |at| at + 1);
    let first = text.get(text.len() - begun).copied().unwrap_or(0);
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if begun < length { begun } else { 0 }
}

/// Bytes of a character at the start of a text that was cut inside of it.
fn ended_at_start(text: &[u8]) -> usize {
    let inside = text.iter().take(4).take_while(|byte| is_inside(**byte)).count();
    if inside < 4 { inside } else { 0 }
}

/// Whether a byte of UTF-8 goes on with a character.
fn is_inside(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
#[expect(clippy::expect_used)]
mod tests {
    use super::*;

    fn kept(pieces: &[&[u8]]) -> Kept {
        let mut ends = Ends::default();
        pieces.iter().for_each(|piece| ends.add(piece));
        ends.whole()
    }

    fn whole(pieces: &[&[u8]]) -> Vec<u8> {
        kept(pieces).bytes
    }

    #[test]
    fn what_fits_is_kept_byte_for_byte() {
        assert_eq!(whole(&[b"\xff\x80", b"\xc3"]), b"\xff\x80\xc3");
        let all = vec![0x80; MOST_ERRORS];
        assert_eq!(whole(&[&all[..MOST_ERRORS / 2 - 1], &all[..MOST_ERRORS / 2 + 1]]), all);
    }

    #[test]
    fn what_is_left_out_never_cuts_a_character() {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"ж€𝄞".repeat(MOST_ERRORS / 4);
            let Kept { bytes: kept, left_out } = kept(&[text.as_bytes()]);
            let kept = std::str::from_utf8(&kept).expect("text stays text");
            let (first, rest) = kept.split_once("\n[… ").expect("a word about it");
            let (count, last) = rest.split_once(" bytes of standard error are left out here …]\n").expect("how much");
            assert!(text.starts_with(first) && text.ends_with(last));
            assert_eq!(count.parse::<usize>(), Ok(text.len() - first.len() - last.len()));
            assert_eq!(count, left_out.to_string(), "the text and `stderr_left_out` say the same");
            assert!(first.len() > MOST_ERRORS / 2 - 4 && last.len() > MOST_ERRORS / 2 - 4);
        }
    }
}
