//! Taking text out of the page: to the clipboard, or as a file.

use std::rc::Rc;

use gloo::timers::future::TimeoutFuture;
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, HtmlTextAreaElement, Url};
use yew::prelude::*;

use super::icon::Icon;
use crate::{look::use_words, testid, text::shell};

/// How long the button says that it copied.
const THANKS_MILLIS: u32 = 1_500;

#[derive(Properties, PartialEq)]
pub struct CopyButtonProps {
    pub text: Rc<str>,
}

/// Copies a text, however long.
#[component]
pub fn CopyButton(props: &CopyButtonProps) -> Html {
    let words = use_words();
    let said = use_state(|| None);
    let onclick = {
        let (text, said) = (props.text.clone(), said.clone());
        Callback::from(move |_: MouseEvent| {
            let (text, said) = (text.clone(), said.clone());
            spawn_local(async move {
                let outcome = if copy(&text).await { shell::COPIED } else { shell::COPY_FAILED };
                said.set(Some(outcome));
                TimeoutFuture::new(THANKS_MILLIS).await;
                said.set(None);
            });
        })
    };
    html! {
        <button type="button" class="small outline" {onclick}>
            { Icon::Copy.draw() }
            <span aria-live="polite">{ words.say(said.unwrap_or(shell::COPY)) }</span>
        </button>
    }
}

#[derive(Properties, PartialEq)]
pub struct DownloadButtonProps {
    pub text: Rc<str>,
    pub name: AttrValue,
}

/// Saves a text as a JSON file.
#[component]
pub fn DownloadButton(props: &DownloadButtonProps) -> Html {
    let words = use_words();
    let onclick = {
        let (text, name) = (props.text.clone(), props.name.clone());
        Callback::from(move |_: MouseEvent| {
            let parts = Array::of1(&JsValue::from_str(&text));
            let options = BlobPropertyBag::new();
            options.set_type("application/json");
            warn_if_refused(
                Blob::new_with_str_sequence_and_options(&parts, &options).and_then(|blob| save(&blob, &name)),
            );
        })
    };
    html! {
        <button type="button" class="small outline" {onclick}>
            { Icon::Download.draw() }
            <span>{ words.say(shell::DOWNLOAD) }</span>
        </button>
    }
}

#[derive(Properties, PartialEq)]
pub struct DownloadBytesButtonProps {
    pub bytes: Rc<[u8]>,
    pub name: AttrValue,
    #[prop_or(testid::DOWNLOAD_BYTES)]
    pub testid: &'static str,
}

/// Saves bytes as a file.
#[component]
pub fn DownloadBytesButton(props: &DownloadBytesButtonProps) -> Html {
    let words = use_words();
    let onclick = {
        let (bytes, name) = (props.bytes.clone(), props.name.clone());
        Callback::from(move |_: MouseEvent| {
            let parts = Array::of1(&js_sys::Uint8Array::from(&*bytes));
            let options = BlobPropertyBag::new();
            options.set_type("application/octet-stream");
            warn_if_refused(
                Blob::new_with_u8_array_sequence_and_options(&parts, &options).and_then(|blob| save(&blob, &name)),
            );
        })
    };
    html! {
        <button type="button" class="small outline" {onclick} data-testid={props.testid}>
            { Icon::Download.draw() }
            <span>{ words.say(shell::DOWNLOAD) }</span>
        </button>
    }
}

/// Whether it worked. Pages that did not come over HTTPS or from this machine have no clipboard; they copy through a
/// selected text area, the old way.
async fn copy(text: &str) -> bool {
    let Some(window) = web_sys::window() else { return false };
    if window.is_secure_context() {
        return JsFuture::from(window.navigator().clipboard().write_text(text)).await.is_ok();
    }
    copy_by_selection(text).unwrap_or(false)
}

fn copy_by_selection(text: &str) -> Option<bool> {
    let document = web_sys::window()?.document()?;
    let area: HtmlTextAreaElement = document.create_element("textarea").ok()?.dyn_into().ok()?;
    area.set_value(text);
    let body = document.body()?;
    body.append_child(&area).ok()?;
    area.select();
    let document: web_sys::HtmlDocument = document.dyn_into().ok()?;
    let copied = document.exec_command("copy").unwrap_or(false);
    area.remove();
    Some(copied)
}

fn warn_if_refused(outcome: Result<(), JsValue>) {
    if let Err(refused) = outcome {
        web_sys::console::warn_2(&JsValue::from_str("download refused"), &refused);
    }
}

fn save(blob: &Blob, name: &str) -> Result<(), JsValue> {
    let address = Url::create_object_url_with_blob(blob)?;
    let document = web_sys::window().and_then(|window| window.document()).ok_or(JsValue::NULL)?;
    let link: HtmlAnchorElement = document.create_element("a")?.unchecked_into();
    link.set_href(&address);
    link.set_download(name);
    link.click();
    Url::revoke_object_url(&address)
}
