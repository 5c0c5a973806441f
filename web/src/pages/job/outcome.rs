//! The result of a job, or as much of it as there is.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::{
    api::JobStatus,
    job::{
        JobState,
        kinds::{output_of, schema::Output},
    },
    refusal::Refusal,
};
use yew::prelude::*;

use super::program::Program;
use crate::{
    look::use_words,
    parts::{
        copy::{CopyButton, DownloadButton, DownloadBytesButton},
        refusal_note::RefusalNote,
        scroll::Scroll,
    },
    testid,
    text::{Words, job as say},
};

/// Characters of a result that are shown; copying and downloading take all.
const MOST_SHOWN: usize = 20_000;

/// Matrices up to so many rows and columns are shown as such.
const MOST_SIDE: usize = 12;

/// Results up to this many characters are shown large.
const LARGE: usize = 40;

#[derive(Properties, PartialEq)]
pub struct OutcomeProps {
    pub status: Rc<JobStatus>,
    /// The final result, once it was read.
    pub result: Option<Result<Rc<str>, Refusal>>,
}

/// The card.
#[component]
pub fn Outcome(props: &OutcomeProps) -> Html {
    let words = use_words();
    let status = &props.status;
    let completed = status.summary.state == JobState::Completed;
    let body = match (&props.result, &status.partial) {
        (Some(Ok(text)), _) => result(words, status, text),
        // Why it failed stands above.
        (Some(Err(_)), _) if status.summary.state == JobState::Failed => return Html::default(),
        (Some(Err(refusal)), _) => html! { <RefusalNote refusal={refusal.clone()} /> },
        (None, _) if completed => html! { <p aria-busy="true">{ words.say(say::RESULT_READING) }</p> },
        (None, Some(partial)) => {
            html! { <TextView text={Rc::<str>::from(partial.as_str())} testid={testid::JOB_PARTIAL} partial={true} /> }
        }
        (None, None) if status.summary.state.is_final() => return Html::default(),
        (None, None) => html! { <p class="quiet">{ words.say(say::RESULT_NONE) }</p> },
    };
    let title = if completed || status.partial.is_none() { say::RESULT } else { say::PARTIAL };
    html! {
        <section class="card result" aria-labelledby="result">
            <h2 id="result">{ words.say(title) }</h2>
            { body }
        </section>
    }
}

/// Kernels and commands answer in bytes, which travel as base64: people see the text in them, if it is text.
fn result(words: Words, status: &JobStatus, json: &Rc<str>) -> Html {
    let name = format!("p2pnet-{}", status.summary.id);
    let output = output_of(&status.summary.kind);
    let program = (output == Output::Program).then(|| Program::read(json)).flatten();
    let bytes = match output {
        Output::Bytes => kernel_bytes(json),
        Output::Program => program.as_ref().and_then(Program::output),
        Output::Value => None,
    };
    let Some(bytes) = bytes else {
        // What stands above as a table need not be shown large again.
        let rows = rows_of(json);
        let small = rows.is_some();
        return html! {
            <>
                if let Some(rows) = rows {
                    <Scroll label={words.say(say::RESULT)}><table class="matrix"><tbody>
                        { for rows.iter().map(|row| html! { <tr>{ for row.iter().map(|cell| html! { <td>{ cell }</td> }) }</tr> }) }
                    </tbody></table></Scroll>
                }
                <TextView text={json.clone()} testid={testid::JOB_RESULT} {small} />
                <p class="actions"><CopyButton text={json.clone()} /><DownloadButton text={json.clone()} name={name + ".json"} /></p>
            </>
        };
    };
    let text = core::str::from_utf8(&bytes).ok().map(Rc::<str>::from);
    html! {
        <>
            if let Some(text) = text {
                <h3>{ words.say(say::RESULT_AS_TEXT) }</h3>
                <TextView text={text.clone()} />
                <p class="actions"><CopyButton {text} /><DownloadBytesButton {bytes} name={name.clone()} /></p>
            } else {
                <p class="actions"><DownloadBytesButton {bytes} name={name.clone()} /></p>
            }
            if let Some(program) = program {
                { program.complaints(words, &name) }
            }
            <h3>{ words.say(say::RESULT_AS_SENT) }</h3>
            <TextView text={json.clone()} testid={testid::JOB_RESULT} />
        </>
    }
}

fn kernel_bytes(json: &str) -> Option<Rc<[u8]>> {
    let base64: String = serde_json::from_str(json).ok()?;
    STANDARD.decode(base64).ok().map(Rc::from)
}

/// The rows of a matrix that is small enough to be looked at.
fn rows_of(json: &str) -> Option<Vec<Vec<String>>> {
    if json.len() > MOST_SIDE * MOST_SIDE * 48 {
        return None;
    }
    let rows: Vec<Vec<serde_json::Value>> = serde_json::from_str(json).ok()?;
    let small = rows.len() <= MOST_SIDE && rows.iter().all(|row| row.len() <= MOST_SIDE);
    let cell = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    small.then(|| rows.iter().map(|row| row.iter().map(cell).collect()).collect())
}

#[derive(Properties, PartialEq)]
pub struct TextViewProps {
    pub text: Rc<str>,
    #[prop_or_default]
    pub testid: Option<&'static str>,
    #[prop_or_default]
    pub partial: bool,
    /// Never large, however short.
    #[prop_or_default]
    pub small: bool,
}

/// A text of any length, of which a bounded part goes into the page.
#[component]
pub fn TextView(props: &TextViewProps) -> Html {
    let words = use_words();
    let cut = props.text.char_indices().nth(MOST_SHOWN).map(|(end, _)| end);
    let shown = cut.map_or(&*props.text, |end| &props.text[..end]).to_owned();
    let large = !props.small && props.text.chars().nth(LARGE).is_none() && !props.text.contains('\n');
    let count = |text: &str| words.number(u64::try_from(text.chars().count()).unwrap_or(u64::MAX));
    html! {
        <>
            <pre class={classes!("value", large.then_some("large"), props.partial.then_some("partial"))} tabindex="0"><code
                data-testid={props.testid}>{ &shown }</code></pre>
            if cut.is_some() {
                <small>{ words.fill(say::RESULT_CUT, &[("shown", &count(&shown)), ("all", &count(&props.text))]) }</small>
            }
        </>
    }
}

#[cfg(test)]
mod tests {
    use super::{kernel_bytes, rows_of};

    #[test]
    fn only_a_small_matrix_is_shown_as_one() {
        assert_eq!(
            rows_of(r#"[[1,"2"],[3.5,4]]"#),
            Some(vec![vec!["1".into(), "2".into()], vec!["3.5".into(), "4".into()]])
        );
        assert_eq!(rows_of("7"), None);
        assert_eq!(rows_of(&format!("[[{}1]]", "1,".repeat(12))), None);
    }

    #[test]
    fn bytes_come_out_of_a_json_string_only() {
        assert_eq!(kernel_bytes("\"aGk=\"").as_deref(), Some(&b"hi"[..]));
        assert_eq!(kernel_bytes("[1]"), None);
        assert_eq!(kernel_bytes("\"no base64!\""), None);
    }
}
