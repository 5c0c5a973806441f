//! The result of a job, or as much of it as there is.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::{api::JobStatus, job::JobState, refusal::Refusal};
use yew::prelude::*;

use crate::{
    look::use_words,
    parts::{
        copy::{CopyButton, DownloadButton, DownloadBytesButton},
        refusal_note::RefusalNote,
    },
    testid,
    text::{Words, job as say},
};

/// Characters of a result that are shown; copying and downloading take all.
const MOST_SHOWN: usize = 20_000;

/// Matrices up to so many rows and columns are shown as such.
const MOST_SIDE: usize = 12;

/// Parts that failed and are shown.
const MOST_FAILED_SHOWN: usize = 20;

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
    let bytes = match status.summary.kind.as_str() {
        "kernel" => kernel_bytes(json),
        "command" => command_bytes(json),
        _ => None,
    };
    let Some(bytes) = bytes else {
        // What stands above as a table need not be shown large again.
        let rows = (status.summary.kind == "matrix").then(|| rows_of(json)).flatten();
        let small = rows.is_some();
        return html! {
            <>
                if let Some(rows) = rows {
                    <div class="scroll" tabindex="0"><table class="matrix"><tbody>
                        { for rows.iter().map(|row| html! { <tr>{ for row.iter().map(|cell| html! { <td>{ cell }</td> }) }</tr> }) }
                    </tbody></table></div>
                }
                <TextView text={json.clone()} testid={testid::JOB_RESULT} {small} />
                <p class="actions"><CopyButton text={json.clone()} /><DownloadButton text={json.clone()} name={name + ".json"} /></p>
            </>
        };
    };
    let text = core::str::from_utf8(&bytes).ok().map(Rc::<str>::from);
    let errors = if status.summary.kind == "command" { command_errors(json) } else { None };
    let (failed, failed_total) = if status.summary.kind == "command" { failed_parts(json) } else { (Vec::new(), 0) };
    let failed_shown = u64::try_from(failed.len()).unwrap_or(u64::MAX);
    html! {
        <>
            if let Some(text) = text {
                <h3>{ words.say(say::RESULT_AS_TEXT) }</h3>
                <TextView text={text.clone()} />
                <p class="actions"><CopyButton {text} /><DownloadBytesButton {bytes} {name} /></p>
            } else {
                <p class="actions"><DownloadBytesButton {bytes} {name} /></p>
            }
            if !failed.is_empty() {
                <h3>{ words.say(say::RESULT_FAILED) }</h3>
                <div class="scroll" tabindex="0"><table class="failed-parts" data-testid={testid::JOB_FAILED_PARTS}>
                    <thead><tr>
                        <th scope="col">{ words.say(say::FAILED_PART) }</th>
                        <th scope="col">{ words.say(say::FAILED_CODE) }</th>
                        <th scope="col">{ words.say(say::RESULT_ERRORS) }</th>
                    </tr></thead>
                    <tbody>{ for failed.iter().map(|part| html! {
                        <tr>{ for part.iter().map(|cell| html! { <td>{ cell }</td> }) }</tr>
                    }) }</tbody>
                </table></div>
                if failed_shown < failed_total {
                    <small>{ words.fill(say::FAILED_SHOWN, &[("shown", &words.number(failed_shown)), ("all", &words.number(failed_total))]) }</small>
                }
            }
            if let Some(text) = errors {
                <h3>{ words.say(say::RESULT_ERRORS) }</h3>
                <TextView {text} testid={testid::JOB_ERRORS} small={true} />
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

/// What a program wrote to standard output.
fn command_bytes(json: &str) -> Option<Rc<[u8]>> {
    let result: serde_json::Value = serde_json::from_str(json).ok()?;
    STANDARD.decode(result.get("stdout")?.as_str()?).ok().map(Rc::from)
}

/// What a program wrote to standard error, if anything.
fn command_errors(json: &str) -> Option<Rc<str>> {
    let result: serde_json::Value = serde_json::from_str(json).ok()?;
    result.get("stderr")?.as_str().filter(|text| !text.is_empty()).map(Rc::from)
}

/// The parts of a program's job that failed, as far as they are shown: number, exit code with what the part lacked, end of
/// standard error; and how many failed in all.
fn failed_parts(json: &str) -> (Vec<[String; 3]>, u64) {
    let Ok(result) = serde_json::from_str::<serde_json::Value>(json) else { return (Vec::new(), 0) };
    let text = |part: &serde_json::Value, name: &str| match part.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let parts = result.get("failed").and_then(|parts| parts.as_array()).map(Vec::as_slice).unwrap_or_default();
    let row = |part| {
        let [number, code, error, errors] = ["part", "exit_code", "error", "stderr"].map(|name| text(part, name));
        [number, if error.is_empty() { code } else { format!("{code} ({error})") }, errors]
    };
    let all = result.get("failed_total").and_then(serde_json::Value::as_u64).unwrap_or(0);
    (parts.iter().take(MOST_FAILED_SHOWN).map(row).collect(), all)
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
struct TextViewProps {
    text: Rc<str>,
    #[prop_or_default]
    testid: Option<&'static str>,
    #[prop_or_default]
    partial: bool,
    /// Never large, however short.
    #[prop_or_default]
    small: bool,
}

/// A text of any length, of which a bounded part goes into the page.
#[component]
fn TextView(props: &TextViewProps) -> Html {
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
    use super::{MOST_FAILED_SHOWN, command_bytes, command_errors, failed_parts, kernel_bytes, rows_of};

    #[test]
    fn parts_that_failed_are_shown_with_their_code_and_words() {
        let json = r#"{"stdout":"","stderr":"","failed":[{"part":3,"exit_code":1,"stderr":"no"}],"failed_total":1}"#;
        assert_eq!(failed_parts(json), (vec![["3", "1", "no"].map(str::to_owned)], 1));
        assert_eq!(failed_parts(r#"{"stdout":"","stderr":""}"#), (vec![], 0));
        let json = r#"{"failed":[{"part":7,"exit_code":124,"error":"timed_out","stderr":""}],"failed_total":1}"#;
        assert_eq!(failed_parts(json), (vec![["7", "124 (timed_out)", ""].map(str::to_owned)], 1));
    }

    #[test]
    fn of_many_parts_that_failed_the_first_are_shown_and_all_are_counted() {
        let parts: Vec<_> = (0..1_000).map(|part| serde_json::json!({"part": part, "exit_code": 2})).collect();
        let json = serde_json::json!({"stdout": "", "stderr": "", "failed": parts, "failed_total": 70_000}).to_string();
        let (shown, all) = failed_parts(&json);
        assert_eq!((shown.len(), all), (MOST_FAILED_SHOWN, 70_000));
        assert_eq!(shown[19], ["19", "2", ""].map(str::to_owned));
    }

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
        assert_eq!(command_bytes(r#"{"stdout":"aGk=","stderr":""}"#).as_deref(), Some(&b"hi"[..]));
        assert_eq!(command_bytes("{}"), None);
        assert_eq!(command_errors(r#"{"stdout":"","stderr":"no"}"#).as_deref(), Some("no"));
        assert_eq!(command_errors(r#"{"stdout":"","stderr":""}"#), None);
        assert_eq!(kernel_bytes("[1]"), None);
        assert_eq!(kernel_bytes("\"no base64!\""), None);
    }
}
