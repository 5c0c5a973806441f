//! A field for a formula, whose mistake is pointed out at the character.

use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::{look::use_words, text::new_job};

/// A mistake in a formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Which character, counted from 0.
    pub at: u32,
    /// What is wrong with it.
    pub message: AttrValue,
}

#[derive(Properties, PartialEq)]
pub struct FormulaFieldProps {
    pub label: AttrValue,
    /// Unique on the page.
    pub name: AttrValue,
    pub value: AttrValue,
    pub oninput: Callback<String>,
    #[prop_or_default]
    pub fault: Option<Fault>,
    #[prop_or_default]
    pub help: Option<AttrValue>,
}

/// The field; below it, while there is a mistake, the formula again with the character marked.
#[component]
pub fn FormulaField(props: &FormulaFieldProps) -> Html {
    let words = use_words();
    let note = format!("{}-note", props.name);
    let oninput = props.oninput.reform(|event: InputEvent| value_of(&event));
    html! {
        <label class="field">
            <span>{ &props.label }</span>
            <input class="formula" type="text" name={props.name.clone()} value={props.value.clone()} {oninput}
                spellcheck="false" autocomplete="off" autocapitalize="off"
                aria-invalid={props.fault.as_ref().map(|_| "true")} aria-describedby={note.clone()}
                data-testid={format!("field-{}", props.name)} />
            <small id={note} class="note">
                if let Some(fault) = &props.fault {
                    <span class="fault" role="alert">
                        { marked(&props.value, fault.at) }
                        { " " }<span lang="en">{ &fault.message }</span>
                        { " · " }
                        { words.fill(new_job::AT_CHARACTER, &[("n", &(u64::from(fault.at) + 1).to_string())]) }
                    </span>
                } else if let Some(help) = &props.help {
                    { help }
                }
            </small>
        </label>
    }
}

/// What a person typed into the field that sent this event.
pub fn value_of(event: &InputEvent) -> String {
    event
        .target()
        .and_then(|target| target.dyn_into::<HtmlInputElement>().ok())
        .map(|input| input.value())
        .unwrap_or_default()
}

/// The formula with one character marked; past its end a gap is marked.
fn marked(formula: &str, at: u32) -> Html {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let before: String = formula.chars().take(at).collect();
    let there: String = formula.chars().nth(at).map_or_else(|| "\u{2007}".to_owned(), String::from);
    let after: String = formula.chars().skip(at.saturating_add(1)).collect();
    html! { <code class="marked">{ before }<mark>{ there }</mark>{ after }</code> }
}
