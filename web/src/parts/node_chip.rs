//! A node as people tell it apart: a colour that comes from its id, and the id's end.

use p2pnet_shared::id::NodeId;
use yew::prelude::*;

use crate::{look::use_words, text::job, views::use_views};

/// The hue of a node, 0 to 359, the same in every browser. The golden angle keeps hues apart.
pub fn hue(node: NodeId) -> u16 {
    let [a, b, ..] = node.0;
    let mixed = u32::from(a) * 256 + u32::from(b);
    u16::try_from(mixed * 137 % 360).unwrap_or(0)
}

/// The colour of a node; it stands out on light and on dark. Three lightnesses keep nodes of one hue apart.
pub fn colour(node: NodeId) -> String {
    let lightness = match node.0[2] % 3 {
        0 => "0.58",
        1 => "0.67",
        _ => "0.76",
    };
    format!("oklch({lightness} 0.15 {})", hue(node))
}

/// The end of a node's id: the beginning is the same for all.
pub fn short(node: NodeId) -> String {
    let text = node.to_string();
    let tail: String = text.chars().skip(text.chars().count().saturating_sub(6)).collect();
    format!("…{tail}")
}

#[derive(Properties, PartialEq)]
pub struct NodeChipProps {
    pub node: NodeId,
}

/// Dot and short id; the whole id is its title.
#[component]
pub fn NodeChip(props: &NodeChipProps) -> Html {
    let words = use_words();
    let me = use_views().network.is_some_and(|network| network.me == props.node);
    html! {
        <span class="node" title={props.node.to_string()}>
            <svg viewBox="0 0 10 10" aria-hidden="true"><circle cx="5" cy="5" r="5" fill={colour(props.node)} /></svg>
            <code>{ short(props.node) }</code>
            if me {
                <small>{ words.say(job::THIS_NODE) }</small>
            }
        </span>
    }
}
