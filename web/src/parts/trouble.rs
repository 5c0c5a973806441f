//! What is wrong with this tab, while something is: it keeps nothing, cannot compute, or is of another version than the relay.

use p2pnet_browser::{SeedSearch, Storage, StoreError};
use p2pnet_shared::api::SeedVersion;
use yew::prelude::*;

use crate::{
    look::use_words,
    testid,
    text::{Text, Words, shell},
    views::{use_node, use_views},
};

/// A banner for each trouble.
#[component]
pub fn TroubleBanner() -> Html {
    let words = use_words();
    let views = use_views();
    let node = use_node();
    let start_workers = Callback::from(move |_: MouseEvent| {
        if let Some(node) = &node {
            node.start_workers_again();
        }
    });
    let other_version = views.network.as_ref().and_then(|network| network.seed_version);
    let Some(health) = views.health else { return Html::default() };
    html! {
        <>
            if let Some(version) = other_version {
                <div class="banner fault container" role="alert" data-testid={testid::OTHER_VERSION}>
                    <p>{ words.say(other_version_text(version)) }</p>
                    <button type="button" onclick={|_: MouseEvent| reload()}>{ words.say(shell::RELOAD) }</button>
                </div>
            }
            if let Some(why) = health.workers {
                <div class="banner fault container" role="alert" data-testid={testid::NO_WORKERS}>
                    <p>{ words.say(shell::NO_WORKERS) }{ " " }<small lang="en">{ why }</small></p>
                    <button type="button" onclick={start_workers}>{ words.say(shell::TRY_AGAIN) }</button>
                </div>
            }
            if let Some(why) = health.interpreter {
                <div class="banner battery container" role="status" data-testid={testid::PIECE_AWAY}>
                    <p>{ words.say(shell::NO_INTERPRETER) }{ " " }<small lang="en">{ why }</small></p>
                </div>
            }
            if let Some(why) = health.paused_jobs {
                <div class="banner fault container" role="alert" data-testid={testid::PIECE_AWAY}>
                    <p>{ words.say(shell::PAUSED_JOBS) }{ " " }<small lang="en">{ why }</small></p>
                    <button type="button" onclick={|_: MouseEvent| reload()}>{ words.say(shell::RELOAD) }</button>
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

fn other_version_text(version: SeedVersion) -> Text {
    match version {
        SeedVersion::Newer => shell::SEED_NEWER,
        SeedVersion::Older => shell::SEED_OLDER,
    }
}

/// Loads the page anew.
pub fn reload() {
    if let Some(window) = web_sys::window() {
        // The browser may be closing the page already; nothing is lost then.
        let _ = window.location().reload();
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
