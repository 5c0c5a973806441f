//! What may be wider than the window: scrolled by touch, wheel or keys, with a shadow at each side where more is.

use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct ScrollProps {
    /// What it holds, for those who do not see it.
    pub label: AttrValue,
    pub children: Html,
}

/// The frame, mostly around a table.
#[component]
pub fn Scroll(props: &ScrollProps) -> Html {
    html! {
        <div class="scroll" tabindex="0" role="region" aria-label={props.label.clone()}>{ props.children.clone() }</div>
    }
}
