//! The form of each kind of job.

use std::rc::Rc;

use wasm_bindgen::JsCast;
use web_sys::{HtmlSelectElement, HtmlTextAreaElement};
use yew::prelude::*;

use super::{
    data,
    draft::{Content, Draft, Formulas, Program, Tab, Unreadable, takes_two},
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

/// Which part of a draft a field is.
type Part<T> = fn(&mut Draft) -> &mut T;

const REDUCTIONS: &[(&str, Text)] = &[
    ("sum", say::REDUCE_SUM),
    ("product", say::REDUCE_PRODUCT),
    ("min", say::REDUCE_MIN),
    ("max", say::REDUCE_MAX),
    ("count", say::REDUCE_COUNT),
    ("average", say::REDUCE_AVERAGE),
];

const OPERATIONS: &[(&str, Text)] = &[
    ("multiply", say::OP_MULTIPLY),
    ("add", say::OP_ADD),
    ("subtract", say::OP_SUBTRACT),
    ("transpose", say::OP_TRANSPOSE),
    ("determinant", say::OP_DETERMINANT),
    ("inverse", say::OP_INVERSE),
    ("lu", say::OP_LU),
    ("qr", say::OP_QR),
    ("eigenvalues", say::OP_EIGENVALUES),
];

const SPLITS: &[(&str, Text)] = &[
    ("lines", say::SPLIT_LINES),
    ("bytes", say::SPLIT_BYTES),
    ("json_items", say::SPLIT_JSON),
    ("none", say::SPLIT_NONE),
];

const MERGES: &[(&str, Text)] = &[("concat", say::MERGE_CONCAT), ("kernel", say::MERGE_KERNEL)];

const PRIORITIES: &[(&str, Text)] = &[
    ("", say::PRIORITY_NORMAL),
    ("low", say::PRIORITY_LOW),
    ("high", say::PRIORITY_HIGH),
    ("critical", say::PRIORITY_CRITICAL),
];

/// Where in the form the mistakes are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    pub map: Option<Fault>,
    pub filter: Option<Fault>,
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
        Tab::Range => form.range(),
        Tab::Map => form.list(&props.draft.map, |draft| &mut draft.map, false),
        Tab::MapReduce => form.list(&props.draft.map_reduce, |draft| &mut draft.map_reduce, true),
        Tab::Matrix => form.matrix(),
        Tab::Kernel => form.kernel(),
        Tab::Command => form.command(),
        Tab::Json => form.json(),
    }
}

/// Name and labels, requirements and policy, folded away.
#[component]
pub fn AdvancedForm(props: &FormProps) -> Html {
    let words = use_words();
    let form = Drawn { words, props };
    let (naming, advanced) = (&props.draft.naming, &props.draft.advanced);
    html! {
        <>
            <details class="advanced" data-testid={testid::NAMING}>
                <summary>{ words.say(say::NAMING) }</summary>
                { form.text("name", say::NAME, None, &naming.name, |draft| &mut draft.naming.name) }
                { form.area("labels", say::LABELS, Some(say::LABELS_HELP), &naming.labels, 2, |draft| &mut draft.naming.labels) }
            </details>
            <details class="advanced">
                <summary>{ words.say(say::ADVANCED) }</summary>
                <div class="columns">
                    { form.number("cpu_percent", say::CPU_PERCENT, &advanced.cpu_percent, "1", |draft| &mut draft.advanced.cpu_percent) }
                    { form.number("ram_gb", say::RAM, &advanced.ram_gb, "0.5", |draft| &mut draft.advanced.ram_gb) }
                    { form.number("timeout_seconds", say::TIMEOUT, &advanced.timeout_seconds, "30", |draft| &mut draft.advanced.timeout_seconds) }
                    { form.number("retries", say::RETRIES, &advanced.retries, "3", |draft| &mut draft.advanced.retries) }
                    { form.select("priority", say::PRIORITY, PRIORITIES, &advanced.priority, |draft| &mut draft.advanced.priority) }
                </div>
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
    fn range(&self) -> Html {
        let range = &self.props.draft.range;
        html! {
            <>
                <div class="columns">
                    { self.number("start", say::START, &range.start, "1", |draft| &mut draft.range.start) }
                    { self.number("end", say::END, &range.end, "1000", |draft| &mut draft.range.end) }
                </div>
                { self.formulas(range, |draft| &mut draft.range) }
                { self.select("reduce", say::REDUCE, REDUCTIONS, &range.reduce, |draft| &mut draft.range.reduce) }
            </>
        }
    }

    fn list(&self, formulas: &Formulas, part: Part<Formulas>, reduces: bool) -> Html {
        let reduce: Part<String> = match self.props.draft.tab {
            Tab::Map => |draft| &mut draft.map.reduce,
            Tab::Range | Tab::MapReduce | Tab::Matrix | Tab::Kernel | Tab::Command | Tab::Json => {
                |draft| &mut draft.map_reduce.reduce
            }
        };
        let content: Part<Content> = match self.props.draft.tab {
            Tab::Map => |draft| &mut draft.map.data,
            Tab::Range | Tab::MapReduce | Tab::Matrix | Tab::Kernel | Tab::Command | Tab::Json => {
                |draft| &mut draft.map_reduce.data
            }
        };
        let count = data::list(formulas.data.typed()).ok().and_then(|json| data::items(&json));
        html! {
            <>
                { self.content("data", say::DATA, say::DATA_HELP, ".csv,.json,.txt,text/*", &formulas.data, 4, content) }
                if let (Some(count), Content::Typed(_)) = (count, &formulas.data) {
                    <small class="count">{ self.words.count(say::ITEMS, u64::try_from(count).unwrap_or(u64::MAX)) }</small>
                }
                { self.formulas(formulas, part) }
                if reduces {
                    { self.select("reduce", say::REDUCE, REDUCTIONS, &formulas.reduce, reduce) }
                }
            </>
        }
    }

    fn matrix(&self) -> Html {
        let matrix = &self.props.draft.matrix;
        let accept = ".csv,.json,.txt,text/*";
        html! {
            <>
                { self.select("op", say::OPERATION, OPERATIONS, &matrix.op, |draft| &mut draft.matrix.op) }
                <div class="columns">
                    { self.content("a", say::MATRIX_A, say::MATRIX_HELP, accept, &matrix.a, 5, |draft| &mut draft.matrix.a) }
                    if takes_two(&matrix.op) {
                        { self.content("b", say::MATRIX_B, say::MATRIX_HELP, accept, &matrix.b, 5, |draft| &mut draft.matrix.b) }
                    }
                </div>
            </>
        }
    }

    fn kernel(&self) -> Html {
        let kernel = &self.props.draft.kernel;
        html! {
            <>
                { self.content("kernel", say::KERNEL, say::KERNEL_HELP, ".wasm,application/wasm", &kernel.module, 2, |draft| &mut draft.kernel.module) }
                { self.content("input", say::INPUT, say::INPUT_HELP, "*/*", &kernel.input, 4, |draft| &mut draft.kernel.input) }
                { self.split(kernel, |draft| &mut draft.kernel.split, |draft| &mut draft.kernel.block) }
                { self.select("merge", say::MERGE, MERGES, &kernel.merge, |draft| &mut draft.kernel.merge) }
            </>
        }
    }

    fn command(&self) -> Html {
        let command = &self.props.draft.command;
        html! {
            <>
                { self.content("module", say::MODULE, say::KERNEL_HELP, ".wasm,application/wasm", &command.module, 2, |draft| &mut draft.command.module) }
                { self.area("args", say::ARGS, None, &command.args, 2, |draft| &mut draft.command.args) }
                { self.content("input", say::INPUT, say::INPUT_HELP, "*/*", &command.input, 4, |draft| &mut draft.command.input) }
                { self.split(command, |draft| &mut draft.command.split, |draft| &mut draft.command.block) }
                { self.text("ok_exit_codes", say::OK_EXIT_CODES, Some(say::OK_EXIT_CODES_HELP), &command.ok_exit_codes, |draft| &mut draft.command.ok_exit_codes) }
            </>
        }
    }

    fn json(&self) -> Html {
        let oninput = self.typed(|draft| &mut draft.json).reform(|event: InputEvent| area_value(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(say::JSON_TEXT) }</span>
                <textarea class="formula" rows="12" spellcheck="false" autocomplete="off" {oninput}
                    value={self.props.draft.json.clone()} data-testid={testid::JOB_JSON} />
            </label>
        }
    }

    fn formulas(&self, formulas: &Formulas, part: Part<Formulas>) -> Html {
        let change = |write: fn(&mut Formulas, String)| {
            self.props.change.reform(move |text: String| -> Box<dyn FnOnce(&mut Draft)> {
                Box::new(move |draft| write(part(draft), text))
            })
        };
        html! {
            <>
                <FormulaField label={self.words.say(say::MAP)} name="map" value={formulas.map.clone()}
                    oninput={change(|formulas, text| formulas.map = text)} fault={self.props.faults.map.clone()}
                    help={self.words.say(say::FORMULA_HELP)} />
                <FormulaField label={self.words.say(say::WHERE)} name="where" value={formulas.filter.clone()}
                    oninput={change(|formulas, text| formulas.filter = text)} fault={self.props.faults.filter.clone()}
                    help={self.words.say(say::WHERE_HELP)} />
            </>
        }
    }

    fn split(&self, program: &Program, split: Part<String>, block: Part<String>) -> Html {
        html! {
            <div class="columns">
                { self.select("split", say::SPLIT, SPLITS, &program.split, split) }
                if program.split == "bytes" {
                    { self.number("block", say::SPLIT_BLOCK, &program.block, "65536", block) }
                }
            </div>
        }
    }

    fn text(&self, name: &'static str, label: Text, help: Option<Text>, value: &str, part: Part<String>) -> Html {
        let oninput = self.typed(part).reform(|event: InputEvent| value_of(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(label) }</span>
                <input type="text" autocomplete="off" {name} value={value.to_owned()} {oninput} data-testid={fields_at(name)} />
                if let Some(help) = help {
                    <small class="note">{ self.words.say(help) }</small>
                }
            </label>
        }
    }

    fn number(&self, name: &'static str, label: Text, value: &str, example: &'static str, part: Part<String>) -> Html {
        let oninput = self.typed(part).reform(|event: InputEvent| value_of(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(label) }</span>
                <input type="text" inputmode="decimal" autocomplete="off" {name} value={value.to_owned()} placeholder={example} {oninput}
                    data-testid={fields_at(name)} />
            </label>
        }
    }

    fn select(
        &self,
        name: &'static str,
        label: Text,
        options: &'static [(&'static str, Text)],
        chosen: &str,
        part: Part<String>,
    ) -> Html {
        let onchange = self.typed(part).reform(|event: Event| {
            let select = event.target().and_then(|target| target.dyn_into::<HtmlSelectElement>().ok());
            select.map(|select| select.value()).unwrap_or_default()
        });
        html! {
            <label class="field">
                <span>{ self.words.say(label) }</span>
                <select {name} {onchange} data-testid={fields_at(name)}>
                    { for options.iter().map(|(value, text)| html! {
                        <option key={*value} value={*value} selected={*value == chosen}>{ self.words.say(*text) }</option>
                    }) }
                </select>
            </label>
        }
    }

    fn area(
        &self,
        name: &'static str,
        label: Text,
        help: Option<Text>,
        value: &str,
        rows: u8,
        part: Part<String>,
    ) -> Html {
        let oninput = self.typed(part).reform(|event: InputEvent| area_value(&event));
        html! {
            <label class="field">
                <span>{ self.words.say(label) }</span>
                <textarea class="formula" {name} rows={rows.to_string()} spellcheck="false" autocomplete="off" {oninput}
                    value={value.to_owned()} data-testid={fields_at(name)} />
                if let Some(help) = help {
                    <small class="note">{ self.words.say(help) }</small>
                }
            </label>
        }
    }

    /// A text area that takes files too. A file's content is not put into the page: it may be large.
    #[allow(clippy::too_many_arguments)] // a field is what it is
    fn content(
        &self,
        name: &'static str,
        label: Text,
        help: Text,
        accept: &'static str,
        content: &Content,
        rows: u8,
        part: Part<Content>,
    ) -> Html {
        let on_file = self.props.change.reform(move |given: Given| -> Box<dyn FnOnce(&mut Draft)> {
            Box::new(move |draft| *part(draft) = Content::File { name: given.name, bytes: given.bytes })
        });
        let forget = self.props.change.reform(move |_: MouseEvent| -> Box<dyn FnOnce(&mut Draft)> {
            Box::new(move |draft| *part(draft) = Content::Typed(String::new()))
        });
        let oninput = self.props.change.reform(move |event: InputEvent| -> Box<dyn FnOnce(&mut Draft)> {
            let text = area_value(&event);
            Box::new(move |draft| *part(draft) = Content::Typed(text))
        });
        let unreadable = self.props.faults.unreadable.as_ref().filter(|unreadable| unreadable.field == name);
        let problem = unreadable.map(|unreadable| match &unreadable.error {
            data::DataError::NotANumber(what) => self.words.fill(say::DATA_BAD, &[("what", what)]),
            data::DataError::NotAList => self.words.say(say::DATA_NOT_LIST).to_owned(),
        });
        html! {
            <FileDrop {accept} {on_file}>
                {
                    match content {
                        Content::File { name: file, bytes } => {
                            let size = self.words.bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                            html! {
                                <div class="field given" data-testid={testid::file(name)}>
                                    <span>{ self.words.say(label) }</span>
                                    <p class="spread">
                                        <strong>{ self.words.fill(say::DATA_FROM_FILE, &[("name", file), ("size", &size)]) }</strong>
                                        <button type="button" class="small outline secondary" onclick={forget}>
                                            { self.words.say(say::DATA_FORGET) }
                                        </button>
                                    </p>
                                </div>
                            }
                        }
                        Content::Typed(text) => html! {
                            <label class="field">
                                <span>{ self.words.say(label) }</span>
                                <textarea class="formula" {name} rows={rows.to_string()} spellcheck="false" autocomplete="off" {oninput}
                                    value={text.clone()} aria-invalid={problem.as_ref().map(|_| "true")} data-testid={fields_at(name)} />
                            </label>
                        },
                    }
                }
                if let Some(problem) = problem {
                    <small class="note fault" role="alert">{ problem }</small>
                } else {
                    <small class="note">{ self.words.say(help) }</small>
                }
            </FileDrop>
        }
    }

    /// Writes what was typed into a part of the draft.
    fn typed(&self, part: Part<String>) -> Callback<String> {
        self.props
            .change
            .reform(move |text: String| -> Box<dyn FnOnce(&mut Draft)> { Box::new(move |draft| *part(draft) = text) })
    }
}

fn area_value(event: &InputEvent) -> String {
    event
        .target()
        .and_then(|target| target.dyn_into::<HtmlTextAreaElement>().ok())
        .map(|area| area.value())
        .unwrap_or_default()
}
