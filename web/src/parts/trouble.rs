//! What is wrong with this tab, while something is: it keeps nothing, or cannot compute.

use p2pnet_browser::{SeedSearch, Storage, StoreError};
use yew::prelude::*;

use crate::{
    look::use_words,
    testid,
    text::{Words, shell},
    views::use_views,
};

/// A banner for each trouble.
#[component]
pub fn TroubleBanner() -> Html {
    let words = use_words();
    let Some(health) = use_views().health else { return Html::default() };
    html! {
        <>
            if let Some(why) = health.workers {
                <div class="banner fault container" role="alert" data-testid={testid::NO_WORKERS}>
                    <p>{ words.say(shell::NO_WORKERS) }{ " " }<small lang="en">{ why }</small></p>
                </div>
            }
            if let Storage::MemoryOnly(why) = health.storage {
                <div class="banner battery container" role="status" data-testid={testid::NOTHING_KEPT}>
                    <p>{ words.say(shell::NOTHING_KEPT) }{ " " }{ why_not_kept(words, why) }</p>
                </div>
            }
        </>
    }
}

fn why_not_kept(words: Words, why: StoreError) -> Html {
    let text = match why {
        StoreError::Blocked => shell::KEPT_BLOCKED,
        StoreError::NoAnswer => shell::KEPT_NO_ANSWER,
        StoreError::TooManyTabs => shell::KEPT_TOO_MANY_TABS,
        StoreError::Failed(why) => return html! { <small lang="en">{ why }</small> },
    };
    html! { <small>{ words.say(text) }</small> }
}

/// Why the seed that served the page cannot be reached, as far as it is known.
#[hook]
pub fn use_seed_trouble() -> Option<String> {
    match use_views().health?.seed {
        SeedSearch::Failed(why) => Some(why),
        SeedSearch::Asking | SeedSearch::Found => None,
    }
}
