//! A refusal as a person reads it: what it is about in their language, the exact message, and what to do.

use p2pnet_shared::refusal::Refusal;
use yew::prelude::*;

use crate::{
    look::use_words,
    text::{self, Language, shell},
};

#[derive(Properties, PartialEq)]
pub struct RefusalNoteProps {
    pub refusal: Refusal,
    #[prop_or_default]
    pub testid: Option<&'static str>,
}

/// The note. Messages are written in English; other languages say first what it is about.
#[component]
pub fn RefusalNote(props: &RefusalNoteProps) -> Html {
    let words = use_words();
    let refusal = &props.refusal;
    let code = serde_json::to_string(&refusal.code).unwrap_or_default();
    html! {
        <div class="refusal" role="alert" data-testid={props.testid} data-code={code.trim_matches('"').to_owned()}>
            <p>
                <strong>{ words.say(text::code(refusal.code)) }</strong>
                if !refusal.message.is_empty() {
                    <br /><span lang="en">{ &refusal.message }</span>
                }
            </p>
            if !refusal.hint.is_empty() {
                <p class="hint">
                    if words.language != Language::English {
                        { words.say(shell::HINT) }{ ": " }
                    }
                    <span lang="en">{ &refusal.hint }</span>
                </p>
            }
        </div>
    }
}
