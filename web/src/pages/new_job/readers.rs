//! What reads jobs, as New job has it: it is fetched when this page of the page is first opened.

use std::rc::Rc;

use p2pnet_browser::{Kinds, Readers};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::{look::use_words, testid, text::new_job as say};

/// Where what reads jobs is.
#[derive(Clone, PartialEq)]
pub enum Reading {
    /// On its way.
    Coming,
    /// Here.
    Here(Readers),
    /// It did not arrive, for this reason.
    Missing(Rc<str>),
}

impl Reading {
    /// The readers, if they are here.
    pub fn here(&self) -> Option<Readers> {
        match self {
            Reading::Here(readers) => Some(readers.clone()),
            Reading::Coming | Reading::Missing(_) => None,
        }
    }
}

/// What reads jobs, and what fetches it once more.
#[hook]
pub fn use_readers() -> (Reading, Callback<()>) {
    let reading = use_state_eq(|| Kinds::of_page().here().map_or(Reading::Coming, Reading::Here));
    let fetch = use_callback((), {
        let reading = reading.setter();
        move |(), ()| {
            let reading = reading.clone();
            spawn_local(async move {
                reading.set(match Kinds::of_page().readers().await {
                    Ok(readers) => Reading::Here(readers),
                    Err(refusal) => Reading::Missing(refusal.message.into()),
                });
            });
        }
    });
    use_effect_with((), {
        let fetch = fetch.clone();
        move |()| fetch.emit(())
    });
    let again = {
        let reading = reading.setter();
        fetch.reform(move |()| reading.set(Reading::Coming))
    };
    ((*reading).clone(), again)
}

#[derive(Properties, PartialEq)]
pub struct ReadersAwayProps {
    pub why: Rc<str>,
    pub try_again: Callback<()>,
}

/// Says that jobs cannot be read, and offers to try again.
#[component]
pub fn ReadersAway(props: &ReadersAwayProps) -> Html {
    let words = use_words();
    html! {
        <div class="refusal" role="alert" data-testid={testid::PIECE_AWAY}>
            <p>{ words.say(say::READERS_AWAY) }{ " " }<small lang="en">{ &*props.why }</small></p>
            <button type="button" class="small" onclick={props.try_again.reform(|_: MouseEvent| ())}>
                { words.say(say::TRY_AGAIN) }
            </button>
        </div>
    }
}
