//! The frame around every page: header, menu, banners, footer.

use wasm_bindgen::JsCast;
use yew::prelude::*;
use yew_router::prelude::*;

use crate::{
    look::{LookProvider, Theme, use_look, use_words},
    pages::{self, MENU, Route},
    parts::{
        battery::BatteryBanner,
        go::Go,
        icon::{Icon, Logo},
        trouble::{TroubleBanner, reload, use_seed_trouble},
    },
    testid,
    text::{Language, shell},
    views::{Boot, Coming, NodeProvider, use_boot, use_views},
};

#[derive(Properties, PartialEq)]
pub struct AppProps {
    /// The node of this tab.
    pub node: Coming,
}

/// The whole page.
#[component]
pub fn App(props: &AppProps) -> Html {
    html! {
        <LookProvider>
            <NodeProvider node={props.node.clone()}>
                <BrowserRouter>
                    <Frame />
                </BrowserRouter>
            </NodeProvider>
        </LookProvider>
    }
}

#[component]
fn Frame() -> Html {
    let words = use_words();
    // Done by hand: below a `<base>` element the address alone would lead to another page.
    let skip = Callback::from(|event: MouseEvent| {
        let document = web_sys::window().and_then(|window| window.document());
        let content = document.and_then(|document| document.get_element_by_id("content"));
        if let Some(content) = content.and_then(|content| content.dyn_into::<web_sys::HtmlElement>().ok()) {
            event.prevent_default();
            // Without the focus, the reader is where they were.
            let _ = content.focus();
        }
    });
    html! {
        <>
            <a class="skip" href="#content" onclick={skip}>{ words.say(shell::SKIP) }</a>
            <header class="top">
                <Go to={Route::Donate} class="brand">
                    <Logo />
                    <span>{ "p2pnet" }</span>
                </Go>
                <Menu />
                <div class="tools">
                    <Connection />
                    <LanguageSwitch />
                    <ThemeSwitch />
                </div>
            </header>
            <BatteryBanner />
            <TroubleBanner />
            <BootBanner />
            <main id="content" class="container" tabindex="-1">
                <Switch<Route> render={pages::show} />
            </main>
            <footer class="container foot">
                <small>{ words.say(shell::FOOTER) }</small>
            </footer>
        </>
    }
}

#[component]
fn Menu() -> Html {
    let words = use_words();
    html! {
        <nav class="menu" aria-label={words.say(shell::NAVIGATION)}>
            <ul>
                { for MENU.iter().map(|(route, icon, name)| html! {
                    <li key={icon.name()}>
                        <Go to={route.clone()}>
                            { icon.draw() }
                            <span>{ words.say(*name) }</span>
                        </Go>
                    </li>
                }) }
            </ul>
        </nav>
    }
}

/// Connected or not, always true: it says what the node says.
#[component]
fn Connection() -> Html {
    let words = use_words();
    let views = use_views();
    let (online, text) = match &views.network {
        Some(network) if network.online => (true, shell::CONNECTED),
        Some(_) => (false, shell::CONNECTING),
        None => (false, shell::STARTING),
    };
    let trouble = use_seed_trouble();
    let title = match (online, trouble) {
        (true, _) => String::new(),
        (false, Some(why)) => format!("{} ({why})", words.say(shell::CONNECTING_WHY)),
        (false, None) => words.say(shell::CONNECTING_WHY).to_owned(),
    };
    html! {
        <span class={classes!("connection", online.then_some("on"))} role="status" data-testid={testid::CONNECTED}
            data-connected={online.to_string()} {title}>
            <svg viewBox="0 0 10 10" aria-hidden="true"><circle cx="5" cy="5" r="4" /></svg>
            <span class="word">{ words.say(text) }</span>
        </span>
    }
}

#[component]
fn LanguageSwitch() -> Html {
    let words = use_words();
    let Some(look) = use_look() else { return Html::default() };
    let next = match words.language {
        Language::English => Language::Russian,
        Language::Russian => Language::English,
    };
    let onclick = look.set_language.reform(move |_: MouseEvent| next);
    let label = format!("{}: {}", words.say(shell::LANGUAGE), next.own_name());
    html! {
        <button type="button" class="tool" {onclick} title={label}
            data-testid={testid::LANG_SWITCH} data-language={words.language.tag()}>
            { next.tag().to_uppercase() }
        </button>
    }
}

#[component]
fn ThemeSwitch() -> Html {
    let words = use_words();
    let Some(look) = use_look() else { return Html::default() };
    let (icon, name) = match look.theme {
        Theme::Auto => (Icon::Auto, shell::THEME_AUTO),
        Theme::Light => (Icon::Sun, shell::THEME_LIGHT),
        Theme::Dark => (Icon::Moon, shell::THEME_DARK),
    };
    let theme = look.theme;
    let onclick = look.set_theme.reform(move |_: MouseEvent| theme.next());
    html! {
        <button type="button" class="tool" {onclick} aria-label={words.say(name)} title={words.say(name)}
            data-testid={testid::THEME_SWITCH} data-theme-choice={theme.name()}>
            { icon.draw() }
        </button>
    }
}

/// Says why there is no node, if there is none.
#[component]
fn BootBanner() -> Html {
    let words = use_words();
    let reload = Callback::from(|_: MouseEvent| reload());
    match use_boot() {
        Boot::Starting | Boot::Running(_) => Html::default(),
        Boot::Failed(why) => html! {
            <div class="banner fault container" role="alert">
                <p>
                    <strong>{ words.say(shell::START_FAILED) }</strong>{ ": " }<span lang="en">{ why }</span>
                    <br />{ words.say(shell::START_FAILED_HINT) }
                </p>
                <button type="button" onclick={reload}>{ words.say(shell::RELOAD) }</button>
            </div>
        },
    }
}
