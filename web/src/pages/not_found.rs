//! For addresses that lead nowhere.

use yew::prelude::*;

use super::Route;
use crate::{
    look::{use_title, use_words},
    parts::go::Go,
    text::shell,
};

/// Says so, and leads back.
#[component]
pub fn NotFound() -> Html {
    let words = use_words();
    use_title(words.say(shell::NOT_FOUND));
    html! {
        <section class="empty">
            <h1>{ words.say(shell::NOT_FOUND) }</h1>
            <Go to={Route::Donate} class="button">{ words.say(shell::NOT_FOUND_HOME) }</Go>
        </section>
    }
}
