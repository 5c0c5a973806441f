//! New job: a form a kind, checked while one types, tried here, submitted.

mod check;
mod draft;
mod forms;
mod readers;

use std::{cell::RefCell, rc::Rc};

use p2pnet_browser::NodeRuntime;
use p2pnet_shared::{
    id::JobId,
    job::kinds::schema::{Example, Kind, Sample},
    refusal::Refusal,
};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::prelude::*;
use yew_router::prelude::*;

use self::{
    check::{Preview, TryHere, Verdict, check},
    draft::{Content, Draft, Tab},
    forms::{AdvancedForm, Form},
    readers::{ReadersAway, Reading, use_readers},
};
use super::Route;
use crate::{
    look::{use_title, use_words},
    parts::{debounce::use_settled, go::go, refusal_note::RefusalNote},
    testid,
    text::{Text, new_job as say},
    views::{Boot, use_boot, use_node, use_views},
    wishes::use_wishes,
};

/// A pause in typing after which the job is checked.
const PAUSE_MILLIS: u32 = 150;

thread_local! {
    /// What was typed last, so that looking at another page loses nothing.
    static KEPT: RefCell<Option<Rc<Draft>>> = const { RefCell::new(None) };
}

/// The next time New job opens, it holds this job.
pub fn open_with(json: &str) {
    let mut draft = (*kept()).clone();
    draft.tab = Tab::Json;
    draft.json = json.to_owned();
    KEPT.set(Some(Rc::new(draft)));
}

/// Reads a job and hands it to the node.
pub async fn submit(node: &NodeRuntime, json: &str) -> Result<JobId, Refusal> {
    let job = node.read_job(json).await?;
    node.submit(job).await
}

fn kept() -> Rc<Draft> {
    KEPT.with_borrow(|kept| kept.clone().unwrap_or_else(|| Rc::new(Draft::first())))
}

/// The test hook of a field.
fn fields_at(name: &str) -> String {
    format!("field-{name}")
}

/// The draft, changed by closures, so that fields need to know only their own part of it.
#[derive(Clone, PartialEq)]
struct Typed(Rc<Draft>);

impl Reducible for Typed {
    type Action = Box<dyn FnOnce(&mut Draft)>;

    fn reduce(self: Rc<Self>, change: Self::Action) -> Rc<Self> {
        let mut draft = (*self.0).clone();
        change(&mut draft);
        let draft = Rc::new(draft);
        KEPT.set(Some(draft.clone()));
        Rc::new(Self(draft))
    }
}

/// The page.
#[component]
pub fn NewJob() -> Html {
    let words = use_words();
    use_title(words.say(say::TITLE));
    let typed = use_reducer(|| Typed(kept()));
    let draft = typed.0.clone();
    let change = use_callback(typed.dispatcher(), |change: Box<dyn FnOnce(&mut Draft)>, dispatcher| {
        dispatcher.dispatch(change);
    });
    let settled = use_settled(draft.clone(), PAUSE_MILLIS);
    let (readers, try_again) = use_readers();
    let checked = use_memo((settled.clone(), readers.here()), |(draft, readers)| {
        readers.as_ref().map(|readers| Rc::new(check(draft, readers)))
    });
    let faults = (*checked).as_ref().filter(|_| settled.tab == draft.tab).map(|checked| checked.faults.clone());
    let faults = faults.unwrap_or_default();
    let checked = (*checked).clone().filter(|_| settled == draft);
    let json = checked.as_ref().and_then(|checked| checked.json.clone());
    let runnable = json.clone().filter(|_| checked.as_ref().is_some_and(|checked| checked.refusal.is_none()));
    html! {
        <>
            <h1>{ words.say(say::TITLE) }</h1>
            <p class="lead">{ words.say(say::LEAD) }</p>
            <Tabs open={draft.tab} change={change.clone()} />
            <div class="new-job">
                <section class="card" role="tabpanel" id="job-form" aria-label={words.say(tab_name(draft.tab))}>
                    <p class="quiet">{ words.say(tab_about(draft.tab)) }</p>
                    if let Some(kind) = draft.tab.kind() {
                        <Examples kind={Of(kind)} change={change.clone()} />
                    }
                    <Form draft={draft.clone()} change={change.clone()} faults={faults.clone()} />
                    if draft.tab != Tab::Json {
                        <AdvancedForm draft={draft.clone()} {change} {faults} />
                    }
                </section>
                <aside class="card" aria-label={words.say(say::SUBMIT)}>
                    if let Reading::Missing(why) = readers {
                        <ReadersAway {why} {try_again} />
                    } else {
                        <Verdict check={checked} tab={draft.tab} />
                    }
                    <Submit draft={draft.clone()} />
                    <TryHere json={runnable} />
                    if let Some(json) = json {
                        <Preview {json} />
                    }
                </aside>
            </div>
        </>
    }
}

#[derive(Properties, PartialEq)]
struct TabsProps {
    open: Tab,
    change: forms::Change,
}

#[component]
fn Tabs(props: &TabsProps) -> Html {
    let words = use_words();
    let tabs = Tab::all();
    let onkeydown = {
        let (open, change, tabs) = (props.open, props.change.clone(), tabs.clone());
        Callback::from(move |event: KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowRight" => 1,
                "ArrowLeft" => tabs.len().saturating_sub(1),
                _ => return,
            };
            event.prevent_default();
            let at = tabs.iter().position(|tab| *tab == open).unwrap_or(0);
            let Some(next) = tabs.get((at + step) % tabs.len().max(1)).copied() else { return };
            change.emit(Box::new(move |draft| draft.tab = next));
            focus_tab(next);
        })
    };
    html! {
        <div class="tabs" role="tablist" aria-label={words.say(say::KIND)} {onkeydown}>
            { for tabs.iter().map(|tab| {
                let tab = *tab;
                let open = tab == props.open;
                let onclick = props.change.reform(move |_: MouseEvent| -> Box<dyn FnOnce(&mut Draft)> {
                    Box::new(move |draft| draft.tab = tab)
                });
                html! {
                    <button key={tab.name()} type="button" role="tab" id={tab_id(tab)} aria-selected={open.to_string()}
                        aria-controls="job-form" tabindex={if open { "0" } else { "-1" }} {onclick} data-testid={tab_id(tab)}>
                        { words.say(tab_name(tab)) }
                    </button>
                }
            }) }
        </div>
    }
}

fn tab_id(tab: Tab) -> String {
    if tab == Tab::Json { testid::TAB_JSON.to_owned() } else { format!("tab-{}", tab.name()) }
}

fn focus_tab(tab: Tab) {
    let element = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.get_element_by_id(&tab_id(tab)))
        .and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    // An element that is gone cannot be focused, which is fine.
    let _ = element.map(|element| element.focus());
}

/// A kind as a property: the same while its name is.
#[derive(Clone, Copy)]
struct Of(&'static Kind);

impl PartialEq for Of {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

#[derive(Properties, PartialEq)]
struct ExamplesProps {
    kind: Of,
    change: forms::Change,
}

#[component]
fn Examples(props: &ExamplesProps) -> Html {
    let words = use_words();
    let away = use_state_eq(|| false);
    let Of(kind) = props.kind;
    if kind.examples.len() < 2 {
        return Html::default();
    }
    html! {
        <div class="examples" role="group" aria-label={words.say(say::EXAMPLES)}>
            <small>{ words.say(say::EXAMPLES) }</small>
            { for kind.examples.iter().enumerate().map(|(place, example)| {
                let (change, away) = (props.change.clone(), away.setter());
                let onclick = Callback::from(move |_: MouseEvent| put(kind, example, change.clone(), away.clone()));
                let name = words.say(example.name);
                html! {
                    <button key={name} type="button" class="small outline" {onclick}
                        data-testid={testid::example(place)}>{ name }</button>
                }
            }) }
            if *away {
                <small class="fault" role="alert">{ words.say(say::EXAMPLE_AWAY) }</small>
            }
        </div>
    }
}

/// Puts an example into the form, as soon as it is here.
fn put(kind: &'static Kind, example: &'static Example, change: forms::Change, away: UseStateSetter<bool>) {
    let shipped = example.values.iter().find_map(|(_, sample)| match sample {
        Sample::Shipped(program) => Some(*program),
        Sample::Typed(_) | Sample::Made(_) => None,
    });
    let Some(program) = shipped else {
        return change.emit(Box::new(move |draft| draft.fill(kind, example, None)));
    };
    spawn_local(async move {
        let name = format!("{program}.wasm");
        let bytes = fetch(&format!("{}/examples/{name}", p2pnet_browser::base_path())).await;
        away.set(bytes.is_none());
        if let Some(bytes) = bytes {
            let module = Content::File { name: name.into(), bytes: bytes.into() };
            change.emit(Box::new(move |draft| draft.fill(kind, example, Some(&module))));
        }
    });
}

/// A file that lies beside the page; `None` if it does not come.
async fn fetch(path: &str) -> Option<Vec<u8>> {
    let answer = JsFuture::from(web_sys::window()?.fetch_with_str(path)).await.ok()?;
    let answer: web_sys::Response = answer.dyn_into().ok()?;
    let bytes = if answer.ok() { JsFuture::from(answer.array_buffer().ok()?).await.ok()? } else { return None };
    Some(js_sys::Uint8Array::new(&bytes).to_vec())
}

#[derive(Properties, PartialEq)]
struct SubmitProps {
    draft: Rc<Draft>,
}

/// The button that sends the job off. It checks by itself, so it never waits for the check while typing.
#[component]
fn Submit(props: &SubmitProps) -> Html {
    let words = use_words();
    let node = use_node();
    let wishes = use_wishes();
    let boot = use_boot();
    let failed = matches!(boot, Boot::Failed(_));
    let navigator = use_navigator();
    let online = use_views().network.is_some_and(|network| network.online);
    let busy = use_state_eq(|| false);
    let refused = use_state_eq(|| None::<(Rc<Draft>, Refusal)>);
    let onclick = {
        let (draft, busy, refused) = (props.draft.clone(), busy.clone(), refused.clone());
        Callback::from(move |_: MouseEvent| {
            let (Some(wishes), Ok(json), Some(navigator)) = (wishes.clone(), draft.json(), navigator.clone()) else {
                return;
            };
            busy.set(true);
            let (draft, busy, refused) = (draft.clone(), busy.clone(), refused.clone());
            spawn_local(async move {
                let Some(node) = wishes.node().await else { return busy.set(false) };
                match submit(&node, &json).await {
                    Ok(id) => go(&navigator, &Route::Job { id: id.to_string() }),
                    Err(refusal) => {
                        refused.set(Some((draft, refusal)));
                        busy.set(false);
                    }
                }
            });
        })
    };
    let refusal =
        refused.as_ref().filter(|(draft, _)| Rc::ptr_eq(draft, &props.draft)).map(|(_, refusal)| refusal.clone());
    html! {
        <div class="submit">
            <button type="button" {onclick} disabled={failed || *busy} aria-busy={busy.to_string()} data-testid={testid::SUBMIT_JOB}>
                { words.say(if *busy { say::SUBMITTING } else { say::SUBMIT }) }
            </button>
            if node.is_none() {
                <small>{ words.say(say::NOT_READY) }</small>
            } else if !online {
                <small>{ words.say(crate::text::shell::CONNECTING_WHY) }</small>
            }
            if let Some(refusal) = refusal {
                <RefusalNote {refusal} />
            }
        </div>
    }
}

fn tab_name(tab: Tab) -> Text {
    tab.kind().map_or(say::TAB_JSON, |kind| kind.title)
}

fn tab_about(tab: Tab) -> Text {
    tab.kind().map_or(say::ABOUT_JSON, |kind| kind.about)
}
