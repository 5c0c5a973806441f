//! Jobs: everything that this node leads.

use std::collections::BTreeMap;

use p2pnet_browser::now;
use p2pnet_shared::{api::JobSummary, id::JobId, job::kinds};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::Route;
use crate::{
    look::{use_title, use_words},
    parts::{
        go::Go,
        progress::ProgressBar,
        refusal_note::RefusalNote,
        state_badge::{StateBadge, state_word},
    },
    testid,
    text::{self, Words, jobs},
    views::{use_node, use_views},
};

/// The page.
#[component]
pub fn Jobs() -> Html {
    let words = use_words();
    use_title(words.say(jobs::TITLE));
    let views = use_views();
    let node = use_node();
    let order = |cancel: bool| {
        let node = node.clone();
        Callback::from(move |id: JobId| {
            let Some(node) = node.clone() else { return };
            spawn_local(async move {
                if cancel {
                    node.handle().cancel(id).await;
                } else {
                    node.handle().remove(id).await;
                }
            });
        })
    };
    let (cancel, remove) = (order(true), order(false));
    html! {
        <>
            <div class="heading">
                <div>
                    <h1>{ words.say(jobs::TITLE) }</h1>
                    <p class="lead">{ words.say(jobs::LEAD) }</p>
                </div>
                <Go to={Route::NewJob} class="button">{ words.say(jobs::NEW) }</Go>
            </div>
            {
                match views.jobs.as_deref() {
                    None => html! { <p aria-busy="true">{ words.say(text::job::LOADING) }</p> },
                    Some([]) => html! {
                        <section class="empty">
                            <p><strong>{ words.say(jobs::EMPTY) }</strong></p>
                            <p class="quiet">{ words.say(jobs::EMPTY_HINT) }</p>
                        </section>
                    },
                    Some(list) => html! {
                        <ul class="jobs" aria-label={words.say(jobs::LIST)}>
                            { for list.iter().map(|job| html! {
                                <JobRow key={job.id.to_string()} job={job.clone()} cancel={cancel.clone()} remove={remove.clone()}
                                    beat={views.beat} />
                            }) }
                        </ul>
                    },
                }
            }
        </>
    }
}

#[derive(Properties, PartialEq)]
struct JobRowProps {
    job: JobSummary,
    cancel: Callback<JobId>,
    remove: Callback<JobId>,
    /// Only here so that relative times stay true.
    beat: u64,
}

#[component]
fn JobRow(props: &JobRowProps) -> Html {
    let words = use_words();
    let job = &props.job;
    let id = job.id;
    let short: String = id.to_string().chars().take(8).collect();
    let over = job.state.is_final();
    let line = job.computes.as_ref().unwrap_or(&short).to_owned();
    let (order, word, label, testid) = if over {
        (&props.remove, jobs::REMOVE, jobs::REMOVE_WHICH, testid::REMOVE_JOB)
    } else {
        (&props.cancel, jobs::CANCEL, jobs::CANCEL_WHICH, testid::CANCEL_JOB)
    };
    let onclick = order.reform(move |_: MouseEvent| id);
    let when = match job.finished_at {
        Some(at) => words.fill(jobs::FINISHED, &[("when", &words.relative(at))]),
        None => words.fill(jobs::CREATED, &[("when", &words.relative(job.created_at))]),
    };
    html! {
        <li class="card job" data-testid={testid::JOB_ROW} data-job={id.to_string()} data-state={state_word(job.state)}>
            <div class="job-head">
                <Go to={Route::Job { id: id.to_string() }} class="job-name">
                    if let Some(name) = &job.name { <strong>{ name }</strong>{ " · " } }
                    { kind_name(words, &job.kind) }{ " " }<code title={short.clone()}>{ line }</code>
                </Go>
                <StateBadge state={job.state} failed_parts={job.failed_parts} />
                <small class="quiet">{ when }</small>
                <button type="button" class="small outline secondary" {onclick} data-testid={testid}
                    aria-label={words.fill(label, &[("id", &short)])}>{ words.say(word) }</button>
            </div>
            <div class="job-line">
                <ProgressBar progress={job.progress} {over} label={words.fill(jobs::PROGRESS, &[("id", &short)])} />
                <span class="figure">{ format!("{} %", job.progress.percent) }</span>
            </div>
            { labels(&job.labels) }
            if let Some(waiting) = &job.waiting {
                <small>{ waiting_sentence(words, waiting) }</small>
            }
            if let Some(refusal) = &job.error {
                <RefusalNote refusal={refusal.clone()} />
            }
        </li>
    }
}

/// What a job's owner finds it again by.
pub fn labels(labels: &BTreeMap<String, String>) -> Html {
    if labels.is_empty() {
        return Html::default();
    }
    let text = labels.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(" · ");
    html! { <small class="quiet">{ text }</small> }
}

/// A kind's name for people; unknown kinds stand as they are.
pub fn kind_name(words: Words, kind: &str) -> String {
    kinds::named(kind).map_or(kind, |known| words.say(known.title)).to_owned()
}

/// Why a job waits, as a sentence.
pub fn waiting_sentence(words: Words, reason: &p2pnet_shared::job::WaitReason) -> String {
    text::wait_reason(words, reason, |n| words.number(n), |at| words.relative(at.max(now())))
}
