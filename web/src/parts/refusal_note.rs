//! A refusal as a person reads it: what it is about in their language, the exact message, and what to do.

use p2pnet_shared::{id::NodeId, refusal::Refusal};
use yew::prelude::*;

use crate::{
    look::use_words,
    parts::node_chip::short,
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
                    <br /><span lang="en" title={refusal.message.clone()}>{ with_short_ids(&refusal.message) }</span>
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

/// The message with every node id as the page shows it elsewhere: by its end.
fn with_short_ids(message: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric();
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(is_part) {
        let (between, word_on) = rest.split_at(start);
        let (word, after) = word_on.split_at(word_on.find(|letter| !is_part(letter)).unwrap_or(word_on.len()));
        shown.push_str(between);
        match word.parse::<NodeId>() {
            Ok(node) => shown.push_str(&short(node)),
            Err(_) => shown.push_str(word),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_shortened_and_nothing_else() {
        let node = NodeId([7; 32]);
        let message = format!("x = 0: this divides by zero (on node {node}) я");
        assert_eq!(with_short_ids(&message), format!("x = 0: this divides by zero (on node {}) я", short(node)));
        assert_eq!(with_short_ids(""), "");
    }
}
