//! A link inside the page that knows whether it leads to where the reader already is.

use yew::prelude::*;
use yew_router::prelude::*;

use crate::pages::Route;

/// Goes to a page and shows its top, as following a link does.
pub fn go(navigator: &Navigator, to: &Route) {
    navigator.push(to);
    if let Some(window) = web_sys::window() {
        window.scroll_to_with_x_and_y(0.0, 0.0);
    }
}

#[derive(Properties, PartialEq)]
pub struct GoProps {
    pub to: Route,
    #[prop_or_default]
    pub class: Classes,
    #[prop_or_default]
    pub children: Html,
}

/// An `<a>` with a real address: it opens in a new tab too.
#[component]
pub fn Go(props: &GoProps) -> Html {
    let navigator = use_navigator();
    let here = use_route::<Route>().as_ref() == Some(&props.to);
    // Everything may stand below a path of a server that has others too.
    let base = navigator.as_ref().and_then(Navigator::basename).unwrap_or_default();
    let href = format!("{base}{}", props.to.to_path());
    let onclick = use_callback((props.to.clone(), navigator), |event: MouseEvent, (to, navigator)| {
        let modified = event.meta_key() || event.ctrl_key() || event.shift_key() || event.alt_key();
        if let (false, Some(navigator)) = (modified, navigator) {
            event.prevent_default();
            go(navigator, to);
        }
    });
    html! {
        <a {href} class={props.class.clone()} {onclick} aria-current={here.then_some("page")}>
            { props.children.clone() }
        </a>
    }
}
