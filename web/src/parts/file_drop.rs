//! Taking files into the page: chosen or dropped.

use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

use super::icon::Icon;
use crate::{
    look::use_words,
    text::{Words, new_job},
};

/// The largest file that is taken, in bytes. A job travels inside one JSON text, so more would be refused later anyway.
pub const MOST_BYTES: u64 = 32 << 20;

/// A file that a person gave.
#[derive(Clone, PartialEq)]
pub struct Given {
    pub name: Rc<str>,
    pub bytes: Rc<[u8]>,
}

#[derive(Properties, PartialEq)]
pub struct FileDropProps {
    /// Endings to offer, as in `accept`.
    pub accept: AttrValue,
    pub on_file: Callback<Given>,
    /// What is dropped into: everything inside takes drops.
    #[prop_or_default]
    pub children: Html,
}

/// An area that takes a dropped file, with a button to choose one.
#[component]
pub fn FileDrop(props: &FileDropProps) -> Html {
    let words = use_words();
    let over = use_state_eq(|| false);
    let problem = use_state_eq(|| None::<String>);
    let take = use_callback((props.on_file.clone(), words), {
        let problem = problem.setter();
        move |file: File, (on_file, words)| {
            let (on_file, problem, words) = (on_file.clone(), problem.clone(), *words);
            spawn_local(async move {
                match read(&file, words).await {
                    Ok(given) => {
                        problem.set(None);
                        on_file.emit(given);
                    }
                    Err(why) => problem.set(Some(why)),
                }
            });
        }
    });
    let onchange = take.reform_target();
    let ondrop = {
        let (take, over) = (take.clone(), over.clone());
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(false);
            let file = event.data_transfer().and_then(|data| data.files()).and_then(|files| files.get(0));
            if let Some(file) = file {
                take.emit(file);
            }
        })
    };
    let ondragover = {
        let over = over.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(true);
        })
    };
    let ondragleave = {
        let over = over.clone();
        Callback::from(move |_: DragEvent| over.set(false))
    };
    html! {
        <div class={classes!("drop", over.then_some("over"))} {ondrop} {ondragover} {ondragleave}>
            { props.children.clone() }
            <label class="choose">
                <input type="file" accept={props.accept.clone()} {onchange} />
                <span>{ Icon::File.draw() }{ words.say(new_job::FILE_CHOOSE) }</span>
                <small>{ words.say(new_job::FILE_DROP) }</small>
            </label>
            if let Some(problem) = &*problem {
                <small class="fault" role="alert">{ problem }</small>
            }
        </div>
    }
}

trait FileTarget {
    /// The same, fed by the change of a file input, which is emptied so that the same file can be chosen again.
    fn reform_target(&self) -> Callback<Event>;
}

impl FileTarget for Callback<File> {
    fn reform_target(&self) -> Callback<Event> {
        let take = self.clone();
        Callback::from(move |event: Event| {
            let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
            let Some(input) = input else { return };
            if let Some(file) = input.files().and_then(|files| files.get(0)) {
                take.emit(file);
            }
            input.set_value("");
        })
    }
}

// A file's size is a positive whole number.
async fn read(file: &File, words: Words) -> Result<Given, String> {
    let size = file.size().max(0.0) as u64;
    if size > MOST_BYTES {
        let (size, most) = (words.bytes(size), words.bytes(MOST_BYTES));
        return Err(words.fill(new_job::FILE_TOO_LARGE, &[("size", &size), ("most", &most)]));
    }
    let buffer =
        JsFuture::from(file.array_buffer()).await.map_err(|_| words.say(new_job::FILE_UNREADABLE).to_owned())?;
    let bytes = js_sys::Uint8Array::new(&buffer).to_vec();
    Ok(Given { name: file.name().into(), bytes: bytes.into() })
}
