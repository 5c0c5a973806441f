//! The ring around the big button: an arc a core, lit in the colour of whom it works for.

use core::f64::consts::TAU;

use p2pnet_shared::id::NodeId;
use yew::prelude::*;

use crate::parts::node_chip::colour;

/// More arcs than this cannot be told apart.
const MOST_ARCS: u16 = 48;

/// The drawing is 240 by 240.
const MIDDLE: f64 = 120.0;
const RADIUS: f64 = 108.0;

#[derive(Properties, PartialEq)]
pub struct OrbProps {
    /// What the device has.
    pub cores: u16,
    /// What it lends.
    pub lent: u16,
    /// Whom each running batch is for.
    pub busy: Vec<NodeId>,
    /// Whether it lends now.
    pub on: bool,
}

/// The ring.
#[component]
pub fn Orb(props: &OrbProps) -> Html {
    let arcs = props.cores.clamp(1, MOST_ARCS);
    let arc = |index: u16| {
        let lent = index < props.lent;
        let requester = props.busy.get(usize::from(index)).filter(|_| lent);
        let class = classes!("arc", (lent && props.on).then_some("lent"), requester.is_some().then_some("busy"),);
        html! { <path key={index} {class} d={arc_path(index, arcs)} stroke={requester.map(|node| colour(*node))} /> }
    };
    html! {
        <svg class="ring" viewBox="0 0 240 240" aria-hidden="true" fill="none" stroke-linecap="round">
            <circle class="breath" cx="120" cy="120" r="96" />
            { for (0..arcs).map(arc) }
        </svg>
    }
}

/// Arc `index` of `arcs`, clockwise from the top, with a gap before the next.
fn arc_path(index: u16, arcs: u16) -> String {
    let step = TAU / f64::from(arcs);
    let gap = if arcs == 1 { 0.02 } else { (step * 0.28).min(0.14) };
    let from = f64::from(index) * step + gap / 2.0 - TAU / 4.0;
    let to = from + step - gap;
    let large = i32::from(step - gap > TAU / 2.0);
    let (x1, y1) = on_ring(from);
    let (x2, y2) = on_ring(to);
    format!("M{x1:.2} {y1:.2}A{RADIUS} {RADIUS} 0 {large} 1 {x2:.2} {y2:.2}")
}

fn on_ring(angle: f64) -> (f64, f64) {
    (MIDDLE + RADIUS * angle.cos(), MIDDLE + RADIUS * angle.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcs_begin_at_the_top_and_do_not_meet() {
        assert!(arc_path(0, 4).starts_with("M127.5"), "{}", arc_path(0, 4));
        assert!(arc_path(0, 1).contains(" 1 1 "), "one core is nearly the whole ring");
        assert_ne!(arc_path(0, 2), arc_path(1, 2));
    }
}
