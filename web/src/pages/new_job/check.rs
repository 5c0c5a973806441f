//! Looking at a job before it goes out: is it right, what will be sent, what do a few parts of it give here.

use std::rc::Rc;

use p2pnet_browser::{DryRun, NodeRuntime, Readers};
use p2pnet_shared::{
    refusal::{Code, Refusal},
    units::{Gas, Millis},
};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::draft::{Draft, Tab};
use super::forms::Faults;
use crate::{
    format::to_float,
    look::use_words,
    pages::job::engine_name,
    parts::{copy::CopyButton, formula::Fault, refusal_note::RefusalNote},
    testid,
    text::{Words, job, new_job as say},
    views::{Boot, use_boot},
    wishes::use_wishes,
};

/// Characters of the job that are shown.
const MOST_SHOWN: usize = 2_000;

/// Characters of a dry run's result that are shown.
const MOST_RESULT: usize = 600;

/// What is known of a draft.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The JSON, if the draft makes any.
    pub json: Option<Rc<str>>,
    pub faults: Faults,
    /// What `shared` has against it.
    pub refusal: Option<Refusal>,
}

/// Checks a draft. This reads, types and compiles the whole job, as the node itself will.
pub fn check(draft: &Draft, readers: &Readers) -> Check {
    let json: Rc<str> = match draft.json() {
        Ok(json) => json.into(),
        Err(unreadable) => {
            return Check {
                json: None,
                faults: Faults { unreadable: Some(unreadable), ..Faults::default() },
                refusal: None,
            };
        }
    };
    let refusal = readers.read(&json).err();
    let faults = refusal.as_ref().map(|refusal| faults(draft, refusal, readers)).unwrap_or_default();
    Check { json: Some(json), faults, refusal }
}

/// A refusal points at a character but not at one of several formulas: without the faulty one it is gone. What is needed
/// cannot be left out, so a fault that no other formula has is the first one's.
fn faults(draft: &Draft, refusal: &Refusal, readers: &Readers) -> Faults {
    let (Code::InvalidFormula, Some(at)) = (refusal.code, refusal.at) else { return Faults::default() };
    let formulas = draft.formulas();
    let Some((first, others)) = formulas.split_first() else { return Faults::default() };
    let is_faulty = |name: &&&'static str| {
        let without = draft.json_without(name).and_then(|json| readers.read(&json).err());
        !draft.typed(name).trim().is_empty() && without.is_none_or(|other| other.code != Code::InvalidFormula)
    };
    let name = others.iter().find(is_faulty).unwrap_or(first);
    // The formula was sent without the spaces around it.
    let leading = draft.typed(name).chars().take_while(|c| c.is_whitespace()).count();
    let at = at + u32::try_from(leading).unwrap_or(0);
    Faults { formula: Some((name, Fault { at, message: refusal.message.clone().into() })), ..Faults::default() }
}

#[derive(Properties, PartialEq)]
pub struct VerdictProps {
    pub check: Option<Rc<Check>>,
    pub tab: Tab,
}

/// Whether the job can go out, in words.
#[component]
pub fn Verdict(props: &VerdictProps) -> Html {
    let words = use_words();
    let Some(check) = &props.check else {
        return html! { <p class="quiet" aria-live="polite">{ words.say(say::CHECKING) }</p> };
    };
    let pointed = props.tab != Tab::Json && check.faults.formula.is_some();
    match &check.refusal {
        Some(refusal) if pointed => html! {
            // The place is marked at the field; here only the summary, so that nothing is said twice.
            <div class="refusal" role="status" data-testid={testid::JOB_PROBLEM} data-code="invalid_formula">
                <p><strong>{ words.say(crate::text::code(refusal.code)) }</strong></p>
                if !refusal.hint.is_empty() { <p class="hint" lang="en">{ &refusal.hint }</p> }
            </div>
        },
        Some(refusal) => html! { <RefusalNote refusal={refusal.clone()} testid={testid::JOB_PROBLEM} /> },
        None if check.json.is_some() => html! { <p class="ok" role="status">{ words.say(say::CHECK_OK) }</p> },
        None => html! { <p class="quiet" data-testid={testid::JOB_PROBLEM} data-code="unreadable"></p> },
    }
}

#[derive(Properties, PartialEq)]
pub struct PreviewProps {
    pub json: Rc<str>,
}

/// What will be sent.
#[component]
pub fn Preview(props: &PreviewProps) -> Html {
    let words = use_words();
    let cut = props.json.chars().nth(MOST_SHOWN).is_some();
    let shown: String = props.json.chars().take(MOST_SHOWN).collect();
    html! {
        <details>
            <summary>{ words.say(say::PREVIEW) }</summary>
            <pre tabindex="0"><code>{ shown }</code></pre>
            if cut { <small>{ words.say(say::PREVIEW_CUT) }</small> }
            <p class="actions"><CopyButton text={props.json.clone()} /></p>
        </details>
    }
}

#[derive(Properties, PartialEq)]
pub struct TryProps {
    /// The job to try, if there is one that is right.
    pub json: Option<Rc<str>>,
}

/// How a trial goes.
#[derive(Clone, PartialEq)]
enum Trial {
    None,
    Running,
    Done(Rc<str>, Result<DryRun, Refusal>),
}

/// The button that tries a few parts here, and what came of it.
#[component]
pub fn TryHere(props: &TryProps) -> Html {
    let words = use_words();
    let wishes = use_wishes();
    let boot = use_boot();
    let failed = matches!(boot, Boot::Failed(_));
    let trial = use_state_eq(|| Trial::None);
    let onclick = {
        let (trial, json) = (trial.clone(), props.json.clone());
        Callback::from(move |_: MouseEvent| {
            let (Some(wishes), Some(json)) = (wishes.clone(), json.clone()) else { return };
            trial.set(Trial::Running);
            let trial = trial.clone();
            spawn_local(async move {
                let Some(node) = wishes.node().await else { return trial.set(Trial::None) };
                let outcome = run(&node, &json).await;
                trial.set(Trial::Done(json, outcome));
            });
        })
    };
    let running = *trial == Trial::Running;
    html! {
        <div class="try">
            <button type="button" class="outline" {onclick} disabled={running || failed || props.json.is_none()}
                aria-busy={running.to_string()} data-testid={testid::DRY_RUN}>
                { words.say(if running { say::DRY_RUNNING } else { say::DRY_RUN }) }
            </button>
            <small>{ words.say(say::DRY_RUN_HELP) }</small>
            <div aria-live="polite">
                {
                    match &*trial {
                        Trial::Done(of, outcome) if props.json.as_ref() == Some(of) => match outcome {
                            Ok(sample) => sample_view(words, sample),
                            Err(refusal) => html! { <RefusalNote refusal={refusal.clone()} /> },
                        },
                        Trial::Done(_, _) | Trial::None | Trial::Running => Html::default(),
                    }
                }
            </div>
        </div>
    }
}

async fn run(node: &NodeRuntime, json: &str) -> Result<DryRun, Refusal> {
    node.dry_run(json).await
}

// Estimates, shown in short.
fn sample_view(words: Words, sample: &DryRun) -> Html {
    let result = sample.result.as_ref().map(|result| -> String {
        let shown: String = result.chars().take(MOST_RESULT).collect();
        if result.chars().nth(MOST_RESULT).is_some() { format!("{shown}…") } else { shown }
    });
    let parts = format!("{} / {}", words.number(sample.units), words.number(sample.units_total));
    let speed = sample.units_per_second();
    let whole = speed.map(|speed| Millis((to_float(sample.units_total) / speed * 1000.0) as u64));
    let gas = words.gas(Gas(sample.gas_estimate() as u64));
    html! {
        <dl class="sample" data-testid={testid::DRY_RUN_RESULT}>
            if let Some(result) = result {
                <dt>{ words.say(say::DRY_RESULT) }</dt><dd><code>{ result }</code></dd>
            }
            <dt>{ words.say(say::DRY_PARTS) }</dt><dd>{ parts }</dd>
            <dt>{ words.say(say::DRY_GAS) }</dt>
            <dd>{ words.gas(sample.gas) }{ " · " }{ words.fill(say::DRY_GAS_WHOLE, &[("gas", &gas)]) }</dd>
            if let (Some(speed), Some(whole)) = (speed, whole) {
                <dt>{ words.say(say::DRY_SPEED) }</dt>
                <dd>
                    { words.fill(say::DRY_SPEED_VALUE, &[("n", &words.compact(speed as u64))]) }
                    <br /><small>{ words.fill(say::DRY_WHOLE, &[("time", &words.duration(whole))]) }</small>
                </dd>
            }
            <dt>{ words.say(job::ENGINE) }</dt><dd>{ words.say(engine_name(sample.engine)) }</dd>
        </dl>
    }
}
