//! Job: how one job goes, who computes it, and what came of it.

use std::rc::Rc;

use p2pnet_browser::NodeRuntime;
use p2pnet_shared::{
    api::{AttemptView, JobStatus, NodeShare},
    engine::EngineName,
    id::JobId,
    job::JobState,
    refusal::Refusal,
    units::{Millis, Moment},
};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

use super::{
    Route,
    jobs::{kind_name, waiting_sentence},
    new_job,
};
use crate::{
    format::now,
    look::{use_title, use_words},
    paint::task_map::TaskMap,
    parts::{
        copy::{CopyButton, DownloadButton},
        go::Go,
        node_chip::NodeChip,
        progress::ProgressBar,
        refusal_note::RefusalNote,
        state_badge::StateBadge,
        task_grid::TaskGrid,
    },
    testid,
    text::{self, Text, Words, donate, job as say},
    views::{use_node, use_views},
};

/// Rows of the table of attempts.
const MOST_ATTEMPTS: usize = 100;

/// Characters of a result that are shown; copying and downloading take all.
const MOST_SHOWN: usize = 4_000;

#[derive(Properties, PartialEq)]
pub struct JobPageProps {
    pub id: JobId,
}

/// What the page knows of its job.
#[derive(Clone, PartialEq)]
enum Known {
    Reading,
    Nothing,
    Job(Rc<JobStatus>),
}

/// The page.
#[component]
pub fn JobPage(props: &JobPageProps) -> Html {
    let words = use_words();
    let views = use_views();
    let node = use_node();
    let id = props.id;
    let known = use_state_eq(|| Known::Reading);
    let map = use_state_eq(|| Rc::new(TaskMap::new(1)));
    let result = use_state_eq(|| None::<Result<Rc<str>, Refusal>>);
    let revision = views.revisions.get(&id).copied().unwrap_or(0);
    let listed = views.jobs.is_some();
    use_effect_with((node.clone(), revision, listed), {
        let (known, map, result) = (known.clone(), map.clone(), result.clone());
        move |(node, _, listed): &(Option<NodeRuntime>, u64, bool)| {
            let (node, listed) = (node.clone(), *listed);
            spawn_local(async move {
                let Some(node) = node.filter(|_| listed) else { return };
                let Some(status) = node.handle().job(id).await else {
                    known.set(Known::Nothing);
                    return;
                };
                if status.summary.state == JobState::Completed && result.is_none() {
                    result.set(Some(node.handle().result(id).await.map(|text| Rc::from(&*text))));
                }
                map.set(Rc::new((**map).clone().updated(&status)));
                known.set(Known::Job(Rc::new(status)));
            });
        }
    });
    let status = match &*known {
        Known::Reading => return html! { <p aria-busy="true">{ words.say(say::LOADING) }</p> },
        Known::Nothing => return unknown(words),
        Known::Job(status) => status.clone(),
    };
    html! {
        <div class="job-page">
            <Heading status={status.clone()} />
            <section class="card" aria-labelledby="map">
                <h2 id="map">{ words.say(say::MAP) }</h2>
                { progress(words, &status) }
                <TaskGrid map={(*map).clone()} />
            </section>
            <Outcome status={status.clone()} result={(*result).clone()} />
            { nodes(words, &status) }
            { attempts(words, &status) }
            { source(words, &status) }
        </div>
    }
}

fn unknown(words: Words) -> Html {
    html! {
        <section class="empty">
            <h1>{ words.say(say::UNKNOWN) }</h1>
            <p class="quiet">{ words.say(say::UNKNOWN_HINT) }</p>
            <Go to={Route::Jobs} class="button">{ words.say(say::BACK) }</Go>
        </section>
    }
}

#[derive(Properties, PartialEq)]
struct HeadingProps {
    status: Rc<JobStatus>,
}

/// Name, state, and what can be done with the job.
#[component]
fn Heading(props: &HeadingProps) -> Html {
    let words = use_words();
    let navigator = use_navigator();
    let node = use_node();
    let again_failed = use_state_eq(|| None::<Refusal>);
    let status = &props.status;
    let id = status.summary.id;
    let state = status.summary.state;
    let kind = kind_name(words, &status.summary.kind);
    let short: String = id.to_string().chars().take(8).collect();
    let title = words.fill(say::TITLE, &[("kind", &kind)]);
    use_title(&format!("{title} {short} · {}", words.say(text::job_state(state))));
    let stop = {
        let (node, navigator) = (node.clone(), navigator.clone());
        Callback::from(move |_: MouseEvent| {
            let (Some(node), navigator) = (node.clone(), navigator.clone()) else { return };
            spawn_local(async move {
                if !state.is_final() {
                    node.handle().cancel(id).await;
                } else if node.handle().remove(id).await
                    && let Some(navigator) = navigator
                {
                    navigator.push(&Route::Jobs);
                }
            });
        })
    };
    let again = {
        let (status, failed, navigator) = (status.clone(), again_failed.clone(), navigator.clone());
        Callback::from(move |_: MouseEvent| {
            let (Some(node), Some(navigator)) = (node.clone(), navigator.clone()) else { return };
            let (status, failed) = (status.clone(), failed.clone());
            spawn_local(async move {
                match new_job::submit(&node, &status.source).await {
                    Ok(id) => navigator.push(&Route::Job { id: id.to_string() }),
                    Err(refusal) => failed.set(Some(refusal)),
                }
            });
        })
    };
    let change = {
        let status = status.clone();
        Callback::from(move |_: MouseEvent| {
            new_job::open_with(&status.source);
            if let Some(navigator) = &navigator {
                navigator.push(&Route::NewJob);
            }
        })
    };
    let whole = source_is_whole(&status.source);
    html! {
        <>
            <p class="back"><Go to={Route::Jobs}>{ "← " }{ words.say(say::BACK) }</Go></p>
            <div class="heading">
                <div>
                    <h1>{ title }{ " " }<code>{ short }</code></h1>
                    <p class="status-line" aria-live="polite">
                        <StateBadge {state} />
                        if let Some(waiting) = status.summary.waiting.as_ref().filter(|_| !state.is_final()) {
                            <span data-testid={testid::JOB_WAITING}>{ waiting_sentence(words, waiting) }</span>
                        }
                    </p>
                </div>
                <div class="actions">
                    if state.is_final() {
                        if whole {
                            <button type="button" onclick={again} data-testid={testid::RUN_AGAIN}>{ words.say(say::AGAIN) }</button>
                            <button type="button" class="outline" onclick={change}>{ words.say(say::CHANGE) }</button>
                        }
                        <button type="button" class="outline secondary" onclick={stop} data-testid={testid::REMOVE_JOB}>
                            { words.say(say::REMOVE) }
                        </button>
                    } else {
                        <button type="button" class="outline secondary" onclick={stop} data-testid={testid::CANCEL_JOB}>
                            { words.say(say::CANCEL) }
                        </button>
                    }
                </div>
            </div>
            if let Some(refusal) = &status.summary.error {
                <RefusalNote refusal={refusal.clone()} testid={testid::JOB_ERROR} />
            }
            if let Some(refusal) = &*again_failed {
                <RefusalNote refusal={refusal.clone()} />
            }
        </>
    }
}

/// The status carries at most 4 KiB of what was submitted; a cut text is no JSON any more.
fn source_is_whole(source: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(source).is_ok()
}

fn progress(words: Words, status: &JobStatus) -> Html {
    let progress = status.summary.progress;
    let over = status.summary.state.is_final();
    let text = words.fill(
        say::PROGRESS_TEXT,
        &[
            ("done", &words.number(progress.units_done)),
            ("all", &words.number(progress.units_total)),
            ("running", &words.number(if over { 0 } else { progress.units_running })),
        ],
    );
    let time = match (over, progress.remaining_seconds) {
        (true, _) => words.fill(say::TOOK, &[("time", &words.duration(total_time(status)))]),
        (false, Some(seconds)) => words.fill(say::REMAINING, &[("time", &words.duration(Millis(seconds * 1000)))]),
        (false, None) => String::new(),
    };
    let waited = words.fill(say::WAITED, &[("time", &words.duration(status.elapsed.waited))]);
    let ran = words.fill(say::RAN, &[("time", &words.duration(status.elapsed.ran))]);
    let gas = words.fill(say::GAS, &[("gas", &words.gas(progress.gas))]);
    let by = words.count(say::BY_NODES, u64::try_from(status.nodes.len()).unwrap_or(u64::MAX));
    html! {
        <>
            <div class="job-line">
                <ProgressBar {progress} {over} label={words.say(say::PROGRESS)} />
                <strong class="figure">{ format!("{} %", progress.percent) }</strong>
            </div>
            <p class="facts">
                <span>{ text }</span>
                if !time.is_empty() { <span>{ time }</span> }
                <span>{ words.count(donate::TASKS, status.nodes.iter().map(|share| share.tasks).sum()) }</span>
                <span>{ waited }</span>
                <span>{ ran }</span>
                <span title={words.number(progress.gas.0)}>{ gas }</span>
                if !status.nodes.is_empty() { <span>{ by }</span> }
            </p>
        </>
    }
}

fn total_time(status: &JobStatus) -> Millis {
    let end = status.summary.finished_at.unwrap_or_else(now);
    Millis(end.0.saturating_sub(status.summary.created_at.0))
}

#[derive(Properties, PartialEq)]
struct OutcomeProps {
    status: Rc<JobStatus>,
    result: Option<Result<Rc<str>, Refusal>>,
}

/// The result, or as much of it as there is.
#[component]
fn Outcome(props: &OutcomeProps) -> Html {
    let words = use_words();
    let status = &props.status;
    let name = format!("p2pnet-{}.json", status.summary.id);
    let body = match (&props.result, &status.partial) {
        (Some(Ok(text)), _) => result_text(words, text.clone(), name, testid::JOB_RESULT, status.summary.state),
        (Some(Err(refusal)), _) => html! { <RefusalNote refusal={refusal.clone()} /> },
        (None, _) if status.summary.state == JobState::Completed => {
            html! { <p aria-busy="true">{ words.say(say::RESULT_READING) }</p> }
        }
        (None, Some(partial)) => {
            result_text(words, partial.as_str().into(), name, testid::JOB_PARTIAL, status.summary.state)
        }
        (None, None) if status.summary.state.is_final() => return Html::default(),
        (None, None) => html! { <p class="quiet">{ words.say(say::RESULT_NONE) }</p> },
    };
    let title = if status.summary.state == JobState::Completed || status.partial.is_none() {
        say::RESULT
    } else {
        say::PARTIAL
    };
    html! {
        <section class="card result" aria-labelledby="result">
            <h2 id="result">{ words.say(title) }</h2>
            { body }
        </section>
    }
}

fn result_text(words: Words, text: Rc<str>, name: String, testid: &'static str, state: JobState) -> Html {
    let all = text.chars().count();
    let shown: String = if all > MOST_SHOWN { text.chars().take(MOST_SHOWN).collect() } else { text.to_string() };
    let short = all <= 40;
    html! {
        <>
            <pre class={classes!("value", short.then_some("large"), (state != JobState::Completed).then_some("partial"))}
                tabindex="0"><code data-testid={testid}>{ shown }</code></pre>
            if all > MOST_SHOWN {
                <small>
                    { words.fill(say::RESULT_CUT, &[("shown", &words.number(count(MOST_SHOWN))), ("all", &words.number(count(all)))]) }
                </small>
            }
            <p class="actions">
                <CopyButton text={text.clone()} />
                <DownloadButton {text} {name} />
            </p>
        </>
    }
}

fn nodes(words: Words, status: &JobStatus) -> Html {
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
                <div class="scroll" tabindex="0" role="region" aria-labelledby="who">
                    <table>
                        <thead>
                            <tr>
                                { head(words, say::NODE, false) }{ head(words, say::UNITS, true) }
                                <th scope="col" class="figure">{ "%" }</th>
                                { head(words, say::TASKS, true) }{ head(words, say::GAS_HEAD, true) }
                            </tr>
                        </thead>
                        <tbody>{ for status.nodes.iter().take(MOST_ATTEMPTS).map(row) }</tbody>
                    </table>
                </div>
            }
        </section>
    }
}

fn attempts(words: Words, status: &JobStatus) -> Html {
    if status.attempts.is_empty() {
        return Html::default();
    }
    let shown = status.attempts.len().min(MOST_ATTEMPTS);
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
            <div class="scroll" tabindex="0" role="region" aria-label={words.say(say::ATTEMPTS)}>
                <table>
                    <thead>
                        <tr>
                            { head(words, say::ATTEMPT, true) }{ head(words, say::UNITS, false) }{ head(words, say::NODE, false) }
                            { head(words, say::STATE, false) }{ head(words, say::TIME, true) }{ head(words, say::GAS_HEAD, true) }
                            { head(words, say::ENGINE, false) }
                        </tr>
                    </thead>
                    <tbody>{ for status.attempts.iter().rev().take(MOST_ATTEMPTS).map(|attempt| attempt_row(words, attempt)) }</tbody>
                </table>
            </div>
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

fn source(words: Words, status: &JobStatus) -> Html {
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
