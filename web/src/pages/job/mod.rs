//! Job: how one job goes, who computes it, and what came of it.

mod outcome;
mod program;
mod tables;

use std::rc::Rc;

use gloo::timers::callback::Interval;
use p2pnet_browser::{NodeRuntime, Settings, now};
use p2pnet_shared::{
    api::JobStatus,
    id::JobId,
    job::{Elapsed, JobState, WaitReason, kinds::summary},
    refusal::Refusal,
    units::{Millis, Moment},
};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

use self::outcome::Outcome;
pub use self::tables::engine_name;
use super::{
    Route,
    jobs::{kind_name, labels, waiting_sentence},
    new_job,
};
use crate::{
    look::{use_title, use_words},
    paint::task_map::TaskMap,
    parts::{
        go::{Go, go},
        progress::ProgressBar,
        refusal_note::RefusalNote,
        state_badge::StateBadge,
        task_grid::TaskGrid,
    },
    testid,
    text::{self, Words, donate, job as say},
    views::{use_node, use_views},
};

/// How often the time that a job waits or runs is drawn.
const REDRAW_MILLIS: u32 = 1_000;

#[derive(Properties, PartialEq)]
pub struct JobPageProps {
    pub id: JobId,
}

/// What the page knows of its job.
#[derive(Clone, PartialEq)]
enum Known {
    Reading,
    Nothing,
    /// This browser cannot read it now.
    Unread(Refusal),
    /// The job, and when it was read.
    Job(Rc<JobStatus>, Moment),
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
                let status = match node.handle().job(id).await {
                    Ok(Some(status)) => status,
                    Ok(None) => return known.set(Known::Nothing),
                    Err(refusal) => return known.set(Known::Unread(refusal)),
                };
                // What programs put out before they failed is kept, too.
                let ended = matches!(status.summary.state, JobState::Completed | JobState::Failed);
                if ended && result.is_none() {
                    result.set(Some(node.handle().result(id).await.map(|text| Rc::from(&*text))));
                }
                map.set(Rc::new((**map).clone().updated(&status)));
                known.set(Known::Job(Rc::new(status), now()));
            });
        }
    });
    let (status, read) = match &*known {
        Known::Reading => return html! { <p aria-busy="true">{ words.say(say::LOADING) }</p> },
        Known::Nothing => return unknown(words),
        Known::Unread(refusal) => return html! { <RefusalNote refusal={refusal.clone()} /> },
        Known::Job(status, read) => (status.clone(), *read),
    };
    html! {
        <div class="job-page">
            <Heading status={status.clone()} />
            <section class="card" aria-labelledby="map">
                <h2 id="map">{ words.say(say::MAP) }</h2>
                <Facts status={status.clone()} {read} />
                <TaskGrid map={(*map).clone()} />
            </section>
            <Outcome status={status.clone()} result={(*result).clone()} />
            { tables::nodes(words, &status) }
            { tables::attempts(words, &status) }
            { tables::source(words, &status) }
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
    let title = status.summary.name.clone().unwrap_or_else(|| words.fill(say::TITLE, &[("kind", &kind)]));
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
                    go(&navigator, &Route::Jobs);
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
                    Ok(id) => go(&navigator, &Route::Job { id: id.to_string() }),
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
                go(navigator, &Route::NewJob);
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
                        <StateBadge {state} failed_parts={status.summary.failed_parts} />
                        if let Some(waiting) = status.summary.waiting.as_ref().filter(|_| !state.is_final()) {
                            <span data-testid={testid::JOB_WAITING}>{ waiting_sentence(words, waiting) }</span>
                            if *waiting == WaitReason::NoProviders {
                                <LendHere />
                            }
                        }
                    </p>
                    { labels(&status.summary.labels) }
                    if let Some(what) = summary::of(&status.source) {
                        <code class="what">{ what }</code>
                    }
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

/// Offers to lend in this tab, which ends the waiting where nobody else lends.
#[component]
fn LendHere() -> Html {
    let words = use_words();
    let node = use_node();
    let settings = use_views().settings;
    let onclick = Callback::from(move |_: MouseEvent| {
        if let Some(node) = &node {
            node.set_settings(Settings { lending: true, ..node.settings() });
        }
    });
    if settings.lending {
        return Html::default();
    }
    html! { <button type="button" class="small outline" {onclick} data-testid={testid::LEND_HERE}>{ words.say(say::LEND_HERE) }</button> }
}

/// The status carries at most 4 KiB of what was submitted; a cut text is no JSON any more.
fn source_is_whole(source: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(source).is_ok()
}

#[derive(Properties, PartialEq)]
struct FactsProps {
    status: Rc<JobStatus>,
    /// When the status was read.
    read: Moment,
}

/// How far the job is and what it took; drawn anew each second as long as it waits or runs, also while nothing happens.
#[component]
fn Facts(props: &FactsProps) -> Html {
    let redraw = use_force_update();
    use_effect_with(props.status.summary.state.is_final(), move |over| {
        let timer = (!over).then(|| Interval::new(REDRAW_MILLIS, move || redraw.force_update()));
        move || drop(timer)
    });
    facts(use_words(), &props.status, props.status.elapsed_after(now() - props.read))
}

fn facts(words: Words, status: &JobStatus, elapsed: Elapsed) -> Html {
    let progress = status.summary.progress;
    let over = status.summary.state.is_final();
    let text = words.fill(
        if over { say::PROGRESS_OVER } else { say::PROGRESS_TEXT },
        &[
            ("done", &words.number(progress.units_done)),
            ("all", &words.number(progress.units_total)),
            ("running", &words.number(progress.units_running)),
        ],
    );
    let time = match (over, progress.remaining_seconds) {
        (true, _) => words.fill(say::TOOK, &[("time", &words.duration(total_time(status)))]),
        (false, Some(seconds)) => words.fill(say::REMAINING, &[("time", &words.duration(Millis(seconds * 1000)))]),
        (false, None) => String::new(),
    };
    let waited = words.fill(say::WAITED, &[("time", &words.duration(elapsed.waited))]);
    let ran = words.fill(say::RAN, &[("time", &words.duration(elapsed.ran))]);
    let gas = words.fill(say::GAS, &[("gas", &words.gas(progress.gas))]);
    let prepared = progress.prepared;
    let to_prepare = words.fill(say::GAS_TO_PREPARE, &[("gas", &words.gas(prepared.gas))]);
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
                if !prepared.is_nothing() { <span title={words.number(prepared.gas.0)}>{ to_prepare }</span> }
                if !status.nodes.is_empty() { <span>{ by }</span> }
            </p>
        </>
    }
}

fn total_time(status: &JobStatus) -> Millis {
    let end = status.summary.finished_at.unwrap_or_else(now);
    Millis(end.0.saturating_sub(status.summary.created_at.0))
}
