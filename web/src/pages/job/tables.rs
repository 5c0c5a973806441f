//! Who computed a job, attempt by attempt, and what was submitted.

use std::rc::Rc;

use p2pnet_shared::{
    api::{AttemptView, JobStatus, NodeShare},
    engine::EngineName,
    units::{Millis, Moment},
};
use yew::prelude::*;

use crate::{
    parts::{copy::CopyButton, node_chip::NodeChip, scroll::Scroll},
    testid,
    text::{self, Text, Words, job as say},
};

/// Rows of a table.
const MOST_ROWS: usize = 100;

/// What each node did.
pub fn nodes(words: Words, status: &JobStatus) -> Html {
    let all: u64 = status.nodes.iter().map(|share| share.units).sum::<u64>().max(1);
    let row = |share: &NodeShare| {
        html! {
            <tr key={share.node.to_string()} data-testid={testid::JOB_NODE} data-node={share.node.to_string()}>
                <td><NodeChip node={share.node} /></td>
                <td class="figure">{ words.number(share.units) }</td>
                <td class="figure">{ format!("{} %", u128::from(share.units) * 100 / u128::from(all)) }</td>
                <td class="figure">{ words.number(share.tasks) }</td>
                <td class="figure" title={words.number(share.gas.0)}>{ words.gas(share.gas) }</td>
            </tr>
        }
    };
    html! {
        <section class="card" aria-labelledby="who">
            <h2 id="who">{ words.say(say::NODES) }</h2>
            if status.nodes.is_empty() {
                <p class="quiet">{ words.say(say::NODES_NONE) }</p>
            } else {
                <Scroll label={words.say(say::NODES)}>
                    <table>
                        <thead>
                            <tr>
                                { head(words, say::NODE, false) }{ head(words, say::UNITS, true) }
                                <th scope="col" class="figure">{ "%" }</th>
                                { head(words, say::TASKS, true) }{ head(words, say::GAS_HEAD, true) }
                            </tr>
                        </thead>
                        <tbody>{ for status.nodes.iter().take(MOST_ROWS).map(row) }</tbody>
                    </table>
                </Scroll>
            }
        </section>
    }
}

/// The newest attempts, folded away.
pub fn attempts(words: Words, status: &JobStatus) -> Html {
    if status.attempts.is_empty() {
        return Html::default();
    }
    let shown = status.attempts.len().min(MOST_ROWS);
    let cut = status.attempts_total > count(shown);
    html! {
        <details class="card">
            <summary>{ words.say(say::ATTEMPTS) }{ " " }<small>{ words.number(status.attempts_total) }</small></summary>
            if cut {
                <small>
                    { words.fill(say::ATTEMPTS_SHOWN,
                        &[("shown", &words.number(count(shown))), ("all", &words.number(status.attempts_total))]) }
                </small>
            }
            <Scroll label={words.say(say::ATTEMPTS)}>
                <table>
                    <thead>
                        <tr>
                            { head(words, say::ATTEMPT, true) }{ head(words, say::UNITS, false) }{ head(words, say::NODE, false) }
                            { head(words, say::STATE, false) }{ head(words, say::TIME, true) }{ head(words, say::GAS_HEAD, true) }
                            { head(words, say::ENGINE, false) }
                        </tr>
                    </thead>
                    <tbody>{ for status.attempts.iter().rev().take(MOST_ROWS).map(|attempt| attempt_row(words, attempt)) }</tbody>
                </table>
            </Scroll>
        </details>
    }
}

fn attempt_row(words: Words, attempt: &AttemptView) -> Html {
    let took = |end: Moment| words.duration(Millis(end.0.saturating_sub(attempt.assigned_at.0)));
    let last = attempt.span.end.saturating_sub(1);
    let units = if attempt.span.start == last {
        words.number(last)
    } else {
        format!("{}–{}", words.number(attempt.span.start), words.number(last))
    };
    html! {
        <tr key={attempt.id.0}>
            <td class="figure">{ attempt.id.0 }</td>
            <td>{ units }</td>
            <td><NodeChip node={attempt.node} /></td>
            <td>
                { words.say(text::attempt_state(attempt.state)) }
                if let Some(refusal) = &attempt.error {
                    <br /><small class="fault" title={refusal.message.clone()}>{ words.say(text::code(refusal.code)) }</small>
                }
            </td>
            <td class="figure">{ attempt.ended_at.map(took).unwrap_or_default() }</td>
            <td class="figure" title={words.number(attempt.gas.0)}>{ words.gas(attempt.gas) }</td>
            <td>{ attempt.engine.map(|engine| words.say(engine_name(engine))) }</td>
        </tr>
    }
}

/// What an engine is called.
pub fn engine_name(engine: EngineName) -> Text {
    match engine {
        EngineName::Wasmi => say::ENGINE_WASMI,
        EngineName::Browser => say::ENGINE_BROWSER,
        EngineName::Wasmtime => say::ENGINE_WASMTIME,
    }
}

/// The job as it was submitted, folded away.
pub fn source(words: Words, status: &JobStatus) -> Html {
    let text: Rc<str> = status.source.as_str().into();
    html! {
        <details class="card">
            <summary>{ words.say(say::SOURCE) }</summary>
            <pre tabindex="0"><code>{ text.to_string() }</code></pre>
            <p class="actions"><CopyButton {text} /></p>
        </details>
    }
}

fn head(words: Words, text: Text, figure: bool) -> Html {
    html! { <th scope="col" class={figure.then_some("figure")}>{ words.say(text) }</th> }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
