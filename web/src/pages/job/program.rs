//! What came of a program's job beside its output: standard error, and the parts that failed, each with how it ended.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::refusal::Code;
use serde::Deserialize;
use yew::prelude::*;

use super::outcome::TextView;
use crate::{
    parts::{copy::DownloadBytesButton, scroll::Scroll},
    testid,
    text::{self, Text, Words, job as say},
};

/// Parts that failed and are shown.
const MOST_FAILED_SHOWN: usize = 20;

/// The result of a job of programs.
#[derive(Debug, Deserialize)]
pub struct Program {
    stdout: String,
    #[serde(default)]
    stderr: String,
    stderr_base64: Option<String>,
    #[serde(default)]
    stderr_left_out: u64,
    #[serde(default)]
    failed: Vec<FailedPart>,
    #[serde(default)]
    failed_total: u64,
}

/// A part that failed.
#[derive(Debug, Deserialize)]
struct FailedPart {
    part: u64,
    exit_code: u64,
    /// What it lacked, in the API's word.
    error: Option<String>,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    stderr_cut: bool,
    stderr_is_text: Option<bool>,
}

impl FailedPart {
    /// What is not shown of its standard error.
    fn notes(&self) -> impl Iterator<Item = Text> {
        let cut = self.stderr_cut.then_some(say::FAILED_CUT);
        let bytes = (self.stderr_is_text == Some(false)).then_some(say::FAILED_BYTES);
        cut.into_iter().chain(bytes)
    }

    fn why(&self, words: Words) -> Html {
        let Some(word) = &self.error else { return Html::default() };
        // A newer relay may know words that this page does not.
        let code = serde_json::from_value::<Code>(serde_json::Value::from(word.as_str()));
        html! {
            <>
                <code>{ word }</code>
                if let Ok(code) = code {
                    <br /><small>{ words.say(text::code(code)) }</small>
                }
            </>
        }
    }
}

impl Program {
    /// Reads a result; `None` if it is of another kind.
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// What the parts wrote to standard output.
    pub fn output(&self) -> Option<Rc<[u8]>> {
        STANDARD.decode(&self.stdout).ok().map(Rc::from)
    }

    /// Which parts failed, and what they and the others complained about.
    pub fn complaints(&self, words: Words, name: &str) -> Html {
        html! {
            <>
                { self.failed_parts(words) }
                { self.errors(words, name) }
            </>
        }
    }

    fn failed_parts(&self, words: Words) -> Html {
        if self.failed.is_empty() {
            return Html::default();
        }
        let shown = self.failed.get(..MOST_FAILED_SHOWN).unwrap_or(&self.failed);
        let with_errors = shown.iter().any(|part| part.error.is_some());
        let count = u64::try_from(shown.len()).unwrap_or(u64::MAX);
        let row = |part: &FailedPart| {
            html! {
                <tr>
                    <td>{ part.part }</td>
                    <td>{ part.exit_code }</td>
                    if with_errors {
                        <td class="why">{ part.why(words) }</td>
                    }
                    <td>
                        { &part.stderr }
                        { for part.notes().map(|note| html! { <small>{ words.say(note) }</small> }) }
                    </td>
                </tr>
            }
        };
        html! {
            <>
                <h3>{ words.say(say::RESULT_FAILED) }</h3>
                <Scroll label={words.say(say::RESULT_FAILED)}>
                    <table class="failed-parts" data-testid={testid::JOB_FAILED_PARTS}>
                        <thead><tr>
                            <th scope="col">{ words.say(say::FAILED_PART) }</th>
                            <th scope="col">{ words.say(say::FAILED_CODE) }</th>
                            if with_errors {
                                <th scope="col">{ words.say(say::FAILED_WHY) }</th>
                            }
                            <th scope="col">{ words.say(say::RESULT_ERRORS) }</th>
                        </tr></thead>
                        <tbody>{ for shown.iter().map(row) }</tbody>
                    </table>
                </Scroll>
                if count < self.failed_total {
                    <small>{ words.fill(say::FAILED_SHOWN, &[("shown", &words.number(count)), ("all", &words.number(self.failed_total))]) }</small>
                }
            </>
        }
    }

    fn errors(&self, words: Words, name: &str) -> Html {
        if self.stderr.is_empty() {
            return Html::default();
        }
        let bytes = self.stderr_base64.as_ref().and_then(|base64| STANDARD.decode(base64).ok()).map(Rc::<[u8]>::from);
        html! {
            <>
                <h3>{ words.say(say::RESULT_ERRORS) }</h3>
                <TextView text={Rc::<str>::from(&*self.stderr)} testid={testid::JOB_ERRORS} small={true} />
                if self.stderr_left_out > 0 {
                    <small data-testid={testid::JOB_ERRORS_CUT}>
                        { words.fill(say::ERRORS_CUT, &[("size", &words.bytes(self.stderr_left_out))]) }
                    </small>
                }
                if let Some(bytes) = bytes {
                    <small data-testid={testid::JOB_ERRORS_BYTES}>{ words.say(say::ERRORS_BYTES) }</small>
                    <p class="actions"><DownloadBytesButton {bytes} name={format!("{name}-stderr")} testid={testid::DOWNLOAD_ERRORS} /></p>
                }
            </>
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_failed_tells_what_is_not_shown_of_its_words() {
        let json = r#"{"stdout":"","stderr":"","failed":[
            {"part":3,"exit_code":1,"stderr":"no"},
            {"part":4,"exit_code":137,"error":"out_of_memory","stderr":"","stderr_cut":true,"stderr_is_text":false}
        ],"failed_total":2}"#;
        let program = Program::read(json).unwrap();
        let [plain, other] = &program.failed[..] else { panic!("{program:?}") };
        assert_eq!((plain.part, plain.exit_code, &*plain.stderr, plain.notes().count()), (3, 1, "no", 0));
        assert_eq!(other.error.as_deref(), Some("out_of_memory"));
        assert_eq!(other.notes().collect::<Vec<_>>(), [say::FAILED_CUT, say::FAILED_BYTES]);
        assert!(Program::read(r#"{"stdout":"","stderr":""}"#).unwrap().failed.is_empty());
    }

    #[test]
    fn every_word_for_an_end_is_a_code_that_the_page_has_a_sentence_for() {
        for word in ["out_of_memory", "stack_overflow", "timed_out", "too_large"] {
            assert!(serde_json::from_value::<Code>(word.into()).is_ok(), "{word}");
        }
    }

    #[test]
    fn the_output_comes_out_of_a_program_s_result_only() {
        let output = |json: &str| Program::read(json).and_then(|program| program.output());
        assert_eq!(output(r#"{"stdout":"aGk=","stderr":"no"}"#).as_deref(), Some(&b"hi"[..]));
        assert_eq!(output("{}"), None);
        assert_eq!(output(r#"{"stdout":"no base64!"}"#), None);
    }
}
