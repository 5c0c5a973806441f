//! What the reader chose about the page itself: language and theme. Kept in the browser.

use gloo::events::EventListener;
use wasm_bindgen::JsValue;
use yew::prelude::*;

use crate::text::{Language, Words};

/// Light, dark, or as the device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Auto,
    Light,
    Dark,
}

impl Theme {
    /// The next one when the switch is pressed.
    pub fn next(self) -> Self {
        match self {
            Theme::Auto => Theme::Light,
            Theme::Light => Theme::Dark,
            Theme::Dark => Theme::Auto,
        }
    }

    /// Its name in the store and in `data-theme`.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Theme::Auto, Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == name)
    }
}

/// The choices, and how to change them.
#[derive(Clone, PartialEq)]
pub struct Look {
    pub words: Words,
    pub theme: Theme,
    pub set_language: Callback<Language>,
    pub set_theme: Callback<Theme>,
}

#[derive(Properties, PartialEq)]
pub struct LookProviderProps {
    pub children: Html,
}

/// Gives language and theme to everything inside.
#[component]
pub fn LookProvider(props: &LookProviderProps) -> Html {
    let language = use_state(chosen_language);
    let theme = use_state(chosen_theme);
    use_effect_with(*language, |language| set_on_root("lang", Some(language.tag())));
    use_effect_with(*theme, |theme| {
        set_on_root("data-theme", (*theme != Theme::Auto).then(|| theme.name()));
    });
    let set_language = use_callback((), {
        let setter = language.setter();
        move |chosen: Language, ()| {
            keep(LANGUAGE_KEY, chosen.tag());
            setter.set(chosen);
        }
    });
    let set_theme = use_callback((), {
        let setter = theme.setter();
        move |chosen: Theme, ()| {
            keep(THEME_KEY, chosen.name());
            setter.set(chosen);
        }
    });
    let look = Look { words: Words { language: *language }, theme: *theme, set_language, set_theme };
    html! { <ContextProvider<Look> context={look}>{ props.children.clone() }</ContextProvider<Look>> }
}

/// The texts in the reader's language.
#[hook]
pub fn use_words() -> Words {
    use_context::<Look>().map_or(Words { language: Language::English }, |look| look.words)
}

/// Language, theme and how to change them.
#[hook]
pub fn use_look() -> Option<Look> {
    use_context::<Look>()
}

/// Whether the window is as narrow as a phone.
#[hook]
pub fn use_narrow() -> bool {
    let narrow = use_state_eq(is_narrow);
    use_effect_with((), {
        let narrow = narrow.setter();
        move |()| {
            let listener =
                web_sys::window().map(|window| EventListener::new(&window, "resize", move |_| narrow.set(is_narrow())));
            move || drop(listener)
        }
    });
    *narrow
}

/// Below this many CSS pixels the style sheet, too, lays the page out for phones.
const NARROW_PIXELS: f64 = 768.0;

fn is_narrow() -> bool {
    let width = web_sys::window().and_then(|window| window.inner_width().ok()).and_then(|width| width.as_f64());
    width.is_some_and(|width| width < NARROW_PIXELS)
}

/// Sets the browser tab's title while a page is shown.
#[hook]
pub fn use_title(title: &str) {
    use_effect_with(title.to_owned(), |title| {
        if let Some(document) = web_sys::window().and_then(|window| window.document()) {
            document.set_title(&format!("{title} · p2pnet"));
        }
    });
}

const LANGUAGE_KEY: &str = "p2pnet.language";
const THEME_KEY: &str = "p2pnet.theme";

fn chosen_language() -> Language {
    kept(LANGUAGE_KEY)
        .and_then(|tag| Language::from_tag(&tag))
        .or_else(|| {
            let wanted = web_sys::window()?.navigator().languages();
            wanted.iter().find_map(|tag| Language::from_tag(&tag.as_string()?))
        })
        .unwrap_or(Language::English)
}

fn chosen_theme() -> Theme {
    kept(THEME_KEY).and_then(|name| Theme::from_name(&name)).unwrap_or(Theme::Auto)
}

/// The browser may refuse storage altogether; then choices last as long as the tab.
fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok().flatten()
}

fn kept(key: &str) -> Option<String> {
    storage()?.get_item(key).ok().flatten()
}

fn keep(key: &str, value: &str) {
    if let Some(Err(refused)) = storage().map(|storage| storage.set_item(key, value)) {
        web_sys::console::debug_2(&JsValue::from_str("choice not kept"), &refused);
    }
}

fn set_on_root(attribute: &str, value: Option<&str>) {
    let Some(root) = web_sys::window().and_then(|window| window.document()?.document_element()) else { return };
    // Neither can fail: the names are valid attribute names.
    let _ = match value {
        Some(value) => root.set_attribute(attribute, value),
        None => root.remove_attribute(attribute),
    };
}
