//! What is wrong with this tab, while something is: it keeps nothing, or cannot compute.

use p2pnet_browser::{SeedSearch, Storage};
use yew::prelude::*;

use crate::{look::use_words, text::shell, views::use_views};

/// A banner for each trouble.
#[component]
pub fn TroubleBanner() -> Html {
    let words = use_words();
    let Some(health) = use_views().health else { return Html::default() };
    html! {
        <>
            if let Some(why) = health.workers {
                <div class="banner fault container" role="alert">
                    <p>{ words.say(shell::NO_WORKERS) }{ " " }<small lang="en">{ why }</small></p>
                </div>
            }
            if let Storage::MemoryOnly(why) = health.storage {
                <div class="banner battery container" role="status">
                    <p>{ words.say(shell::NOTHING_KEPT) }{ " " }<small lang="en">{ why }</small></p>
                </div>
            }
        </>
    }
}

/// Why the seed that served the page cannot be reached, as far as it is known.
#[hook]
pub fn use_seed_trouble() -> Option<String> {
    match use_views().health?.seed {
        SeedSearch::Failed(why) => Some(why),
        SeedSearch::Asking | SeedSearch::Found => None,
    }
}
