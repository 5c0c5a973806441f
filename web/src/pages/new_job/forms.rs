//! The form of a kind of job, drawn from what the kind says of its fields.

use std::rc::Rc;

use p2pnet_shared::job::kinds::{
    common,
    schema::{Choice, Field, Type},
    typed::{self, DataError, Unreadable},
};
use wasm_bindgen::JsCast;
use web_sys::{HtmlSelectElement, HtmlTextAreaElement};
use yew::prelude::*;

use super::{
    draft::{Content, Draft, Tab},
    fields_at,
};
use crate::{
    look::use_words,
    parts::{
        file_drop::{FileDrop, Given},
        formula::{Fault, FormulaField, value_of},
    },
    testid,
    text::{Text, Words, new_job as say},
};

/// A change to the draft.
pub type Change = Callback<Box<dyn FnOnce(&mut Draft)>>;

/// Files that hold numbers or texts, as in `accept`.
const TEXT_FILES: &str = ".csv,.json,.txt,text/*";

/// Where in the form the mistakes are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// In a formula, and which.
    pub formula: Option<(&'static str, Fault)>,
    pub unreadable: Option<Unreadable>,
}

#[derive(Properties, PartialEq)]
pub struct FormProps {
    pub draft: Rc<Draft>,
    pub change: Change,
    pub faults: Faults,
}

/// The form of the open tab.
#[component]
pub fn Form(props: &FormProps) -> Html {
    let words = use_words();
    let form = Drawn { words, props };
    match props.draft.tab {
        Tab::Kind(_) => form.fields(props.draft.fields().into_iter().filter(|field| !field.folded)),
        Tab::Json => form.json(),
    }
}

/// What every kind has, folded away: what is for its owner, and the terms of the job.
#[component]
pub fn AdvancedForm(props: &FormProps) -> Html {
    let words = use_words();
    let form = Drawn { words, props };
    let inner = |field: &'static Field| match field.ty {
        Type::Object(fields) => Some(fields),
        Type::Formula
        | Type::Integer { .. }
        | Type::Fraction { .. }
        | Type::Choice(_)
        | Type::Line { .. }
        | Type::Labels { .. }
        | Type::Items
        | Type::Matrix
        | Type::Module
        | Type::Bytes
        | Type::Texts { .. }
        | Type::Integers { .. } => None,
    };
    let terms = common::FIELDS.iter().filter_map(inner).flatten();
    let folded = props.draft.fields().into_iter().filter(|field| field.folded);
    html! {
        <>
            <details class="advanced" data-testid={testid::NAMING}>
                <summary>{ words.say(say::NAMING) }</summary>
                { form.fields(common::FIELDS.iter().filter(|field| inner(field).is_none())) }
            </details>
            <details class="advanced">
                <summary>{ words.say(say::ADVANCED) }</summary>
                <div class="columns">{ for terms.chain(folded).map(|field| form.field(field)) }</div>
            </details>
        </>
    }
}

/// The form being drawn.
struct Drawn<'a> {
    words: Words,
    props: &'a FormProps,
}

impl Drawn<'_> {
    /// Fields one below the other, short ones of a sort beside each other.
    fn fields(&self, fields: impl Iterator<Item = &'static Field>) -> Html {
        let mut rows: Vec<Vec<&'static Field>> = Vec::new();
        for field in fields {
            match rows.last_mut() {
                Some(row) if row.last().is_some_and(|last| is_beside(last, field)) => row.push(field),
                Some(_) | None => rows.push(vec![field]),
            }
        }
        html! {
            <>
                { for rows.into_iter().map(|row| html! {
                    <div class="columns" key={row.first().map_or("", |field| field.name)}>
                        { for row.into_iter().map(|field| self.field(field)) }
                    </div>
                }) }
            </>
        }
    }

    fn field(&self, field: &'static Field) -> Html {
        match field.ty {
            Type::Formula => self.formula(field),
            Type::Integer { .. } | Type::Fraction { .. } => self.number(field),
            Type::Choice(choices) => self.choice(field, choices),
            Type::Line { .. } => self.line(field, None),
            Type::Integers { .. } => self.line(field, Some(say::TYPE_INTEGERS)),
            Type::Labels { .. } => self.area(field, say::TYPE_LABELS),
            Type::Texts { .. } => self.area(field, say::TYPE_TEXTS),
            Type::Items => self.items(field),
            Type::Matrix => self.content(field, say::TYPE_MATRIX, TEXT_FILES, 5),
            Type::Module => self.content(field, say::TYPE_MODULE, ".wasm,application/wasm", 2),
            Type::Bytes => self.content(field, say::TYPE_BYTES, "*/*", 4),
            // Its fields stand in the form by themselves.
            Type::Object(_) => Html::default(),
        }
    }

    fn json(&self) -> Html {
        let oninput = self.props.change.reform(|event: InputEvent| -> Box<dyn FnOnce(&mut Draft)> {
            let text = area_value(&event);
            Box::new(move |draft| draft.json = text)
        });
        html! {
            <label class="field">
                <span>{ self.words.say(say::JSON_TEXT) }</span>
                <textarea class="formula" rows="12" spellcheck="false" autocomplete="off" {oninput}
                    value={self.props.draft.json.clone()} data-testid={testid::JOB_JSON} />
            </label>
        }
    }

    fn formula(&self, field: &'static Field) -> Html {
        let fault = self.props.faults.formula.as_ref().filter(|(name, _)| *name == field.name);
        html! {
            <FormulaField label={self.words.say(field.label)} name={field.name} value={self.value(field)}
                oninput={self.typed(field)} fault={fault.map(|(_, fault)| fault.clone())} help={self.words.say(field.help)} />
        }
    }

    fn line(&self, field: &'static Field, how: Option<Text>) -> Html {
        let oninput = self.typed(field).reform(|event: InputEvent| value_of(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(field.label) }</span>
                <input type="text" autocomplete="off" name={field.name} value={self.value(field)} {oninput}
                    data-testid={fields_at(field.name)} />
                { self.note(how, field) }
            </label>
        }
    }

    fn number(&self, field: &'static Field) -> Html {
        let oninput = self.typed(field).reform(|event: InputEvent| value_of(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(field.label) }</span>
                <input type="text" inputmode="decimal" autocomplete="off" name={field.name} value={self.value(field)}
                    placeholder={field.default().unwrap_or(field.example)} {oninput} data-testid={fields_at(field.name)} />
                { self.note(None, field) }
            </label>
        }
    }

    /// A choice of words, and a field for the number that follows the chosen one, if it takes one.
    fn choice(&self, field: &'static Field, choices: &'static [Choice]) -> Html {
        let value = self.value(field);
        let (word, number) = value.split_once(':').unwrap_or((&value, ""));
        let word = if word.is_empty() { field.default().unwrap_or_default() } else { word };
        let chosen = choices.iter().find(|choice| choice.name == word);
        let onchange = self.typed(field).reform(move |event: Event| {
            let select = event.target().and_then(|target| target.dyn_into::<HtmlSelectElement>().ok());
            let word = select.map(|select| select.value()).unwrap_or_default();
            match choices.iter().find(|choice| choice.name == word).and_then(|choice| choice.number) {
                Some(number) => format!("{word}:{}", number.example),
                None => word,
            }
        });
        html! {
            <>
                <label class="field">
                    <span>{ self.words.say(field.label) }</span>
                    <select name={field.name} {onchange} data-testid={fields_at(field.name)}>
                        { for choices.iter().map(|choice| html! {
                            <option key={choice.name} value={choice.name} selected={choice.name == word}>
                                { self.words.say(choice.label) }
                            </option>
                        }) }
                    </select>
                    { self.note(None, field) }
                </label>
                if let Some((choice, about)) = chosen.and_then(|choice| Some((choice, choice.number?))) {
                    <label class="field">
                        <span>{ self.words.say(about.label) }</span>
                        <input type="text" inputmode="decimal" autocomplete="off" value={number.to_owned()}
                            placeholder={about.example} data-testid={fields_at(choice.name)}
                            oninput={self.typed(field).reform(|event: InputEvent| format!("{}:{}", choice.name, value_of(&event).trim()))} />
                    </label>
                }
            </>
        }
    }

    fn area(&self, field: &'static Field, how: Text) -> Html {
        let oninput = self.typed(field).reform(|event: InputEvent| area_value(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(field.label) }</span>
                <textarea class="formula" name={field.name} rows="2" spellcheck="false" autocomplete="off" {oninput}
                    value={self.value(field)} data-testid={fields_at(field.name)} />
                { self.note(Some(how), field) }
            </label>
        }
    }

    fn items(&self, field: &'static Field) -> Html {
        let count = match self.props.draft.content(field.name) {
            Some(Content::Typed(text)) => typed::items(text),
            Some(Content::File { .. }) | None => None,
        };
        html! {
            <div>
                { self.content(field, say::TYPE_ITEMS, TEXT_FILES, 4) }
                if let Some(count) = count {
                    <small class="count">{ self.words.count(say::ITEMS, u64::try_from(count).unwrap_or(u64::MAX)) }</small>
                }
            </div>
        }
    }

    /// A text area that takes files too. A file's content is not put into the page: it may be large.
    fn content(&self, field: &'static Field, how: Text, accept: &'static str, rows: u8) -> Html {
        let (name, place) = (field.name, self.props.draft.place(field.name));
        let put =
            move |content: Content| -> Box<dyn FnOnce(&mut Draft)> { Box::new(move |draft| draft.put(place, content)) };
        let on_file =
            self.props.change.reform(move |given: Given| put(Content::File { name: given.name, bytes: given.bytes }));
        let forget = self.props.change.reform(move |_: MouseEvent| put(Content::Typed(String::new())));
        let oninput = self.props.change.reform(move |event: InputEvent| put(Content::Typed(area_value(&event))));
        let unreadable = self.props.faults.unreadable.as_ref().filter(|unreadable| unreadable.field == name);
        let problem = unreadable.map(|unreadable| match &unreadable.error {
            DataError::NotANumber(what) => self.words.fill(say::DATA_BAD, &[("what", what)]),
            DataError::NotAList => self.words.say(say::DATA_NOT_LIST).to_owned(),
        });
        html! {
            <FileDrop {accept} {on_file}>
                {
                    match self.props.draft.content(name) {
                        Some(Content::File { name: file, bytes }) => {
                            let size = self.words.bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                            html! {
                                <div class="field given" data-testid={testid::file(name)}>
                                    <span>{ self.words.say(field.label) }</span>
                                    <p class="spread">
                                        <strong>{ self.words.fill(say::DATA_FROM_FILE, &[("name", file), ("size", &size)]) }</strong>
                                        <button type="button" class="small outline secondary" onclick={forget}>
                                            { self.words.say(say::DATA_FORGET) }
                                        </button>
                                    </p>
                                </div>
                            }
                        }
                        Some(Content::Typed(_)) | None => html! {
                            <label class="field">
                                <span>{ self.words.say(field.label) }</span>
                                <textarea class="formula" {name} rows={rows.to_string()} spellcheck="false" autocomplete="off" {oninput}
                                    value={self.value(field)} aria-invalid={problem.as_ref().map(|_| "true")} data-testid={fields_at(name)} />
                            </label>
                        },
                    }
                }
                if let Some(problem) = problem {
                    <small class="note fault" role="alert">{ problem }</small>
                } else {
                    <small class="note">{ self.words.say(how) }</small>
                }
            </FileDrop>
        }
    }

    fn note(&self, how: Option<Text>, field: &Field) -> Html {
        html! {
            <small class="note">
                if let Some(how) = how { { self.words.say(how) }{ " " } }
                { self.words.say(field.help) }
            </small>
        }
    }

    fn value(&self, field: &'static Field) -> String {
        self.props.draft.typed(field.name).to_owned()
    }

    /// Writes what was typed into a field of the open tab.
    fn typed(&self, field: &'static Field) -> Callback<String> {
        let place = self.props.draft.place(field.name);
        self.props.change.reform(move |text: String| -> Box<dyn FnOnce(&mut Draft)> {
            Box::new(move |draft| draft.put(place, Content::Typed(text)))
        })
    }
}

/// Whether two fields are short and of a sort.
fn is_beside(left: &Field, right: &Field) -> bool {
    matches!(
        (left.ty, right.ty),
        (Type::Integer { .. }, Type::Integer { .. })
            | (Type::Choice(_), Type::Choice(_))
            | (Type::Matrix, Type::Matrix)
    )
}

fn area_value(event: &InputEvent) -> String {
    event
        .target()
        .and_then(|target| target.dyn_into::<HtmlTextAreaElement>().ok())
        .map(|area| area.value())
        .unwrap_or_default()
}
