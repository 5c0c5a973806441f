//! How it works, in short.

use yew::prelude::*;

use super::Route;
use crate::{
    look::{use_title, use_words},
    parts::go::Go,
    text::{Text, about},
};

const SECTIONS: &[(Text, Text)] = &[
    (about::LEND_TITLE, about::LEND_TEXT),
    (about::USE_TITLE, about::USE_TEXT),
    (about::SAFE_TITLE, about::SAFE_TEXT),
    (about::SEEN_TITLE, about::SEEN_TEXT),
    (about::GAS_TITLE, about::GAS_TEXT),
    (about::NET_TITLE, about::NET_TEXT),
];

/// The page.
#[component]
pub fn About() -> Html {
    let words = use_words();
    use_title(words.say(about::TITLE));
    html! {
        <div class="about">
            <h1>{ words.say(about::TITLE) }</h1>
            <p class="lead">{ words.say(about::LEAD) }</p>
            <div class="tiles">
                { for SECTIONS.iter().map(|(title, text)| html! {
                    <section class="card" key={words.say(*title)}>
                        <h2>{ words.say(*title) }</h2>
                        <p>{ words.say(*text) }</p>
                    </section>
                }) }
            </div>
            <p class="actions">
                <Go to={Route::Donate} class="button">{ words.say(about::GO_DONATE) }</Go>
                <Go to={Route::NewJob} class="button outline">{ words.say(about::GO_NEW) }</Go>
            </p>
        </div>
    }
}
