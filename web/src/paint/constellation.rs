//! Where nodes and links stand in the drawing of the network: this node in the middle, seeds close, the others around.

use core::f64::consts::TAU;

use p2pnet_shared::{
    api::{NetworkView, NodeView, Path},
    id::NodeId,
    wire::Role,
};

/// The size of a drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

/// For wide pages.
pub const WIDE: Size = Size { width: 720.0, height: 430.0 };

/// For phones: the same letters on less room.
pub const NARROW: Size = Size { width: 380.0, height: 440.0 };

/// Nodes up to which every dot has its name beside it on a narrow drawing.
pub const MOST_NAMED_NARROW: usize = 6;

/// Nodes drawn; more are counted.
pub const MOST_NODES: usize = 60;

/// Nodes up to which every dot has its name beside it.
pub const MOST_NAMED: usize = 16;

/// A node's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    pub node: NodeId,
    pub x: f64,
    pub y: f64,
    pub radius: f64,
    /// Cores busy over cores lent, 0 to 1; absent where nothing is lent.
    pub load: Option<f64>,
    /// Whether it is a seed.
    pub seed: bool,
}

/// How a link is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStyle {
    Direct,
    Relayed,
    Offer,
}

/// A line between two places.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub to: NodeId,
    pub from: (f64, f64),
    pub by: Option<(f64, f64)>,
    pub at: (f64, f64),
    pub style: LinkStyle,
}

/// The whole drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Constellation {
    pub me: Dot,
    pub others: Vec<Dot>,
    pub links: Vec<Link>,
    /// Nodes that found no place.
    pub left_out: u64,
    /// Top and height of the part that has anything in it.
    pub top: f64,
    pub height: f64,
}

/// Places everything. The same nodes stand in the same places each time.
pub fn place(network: &NetworkView, size: Size) -> Constellation {
    let middle = (size.width / 2.0, size.height / 2.0);
    let own = &network.provider.settings;
    let own_load = own.lending.then(|| {
        crate::format::to_float(u64::try_from(network.provider.running.len()).unwrap_or(u64::MAX))
            / f64::from(own.cores.max(1))
    });
    let me = Dot {
        node: network.me,
        x: middle.0,
        y: middle.1,
        radius: 24.0,
        load: own_load.map(|load| load.clamp(0.0, 1.0)),
        seed: false,
    };
    let mut nodes: Vec<&NodeView> = network.nodes.iter().filter(|node| node.node != network.me).collect();
    // Connected ones first, so that they are drawn when there are too many.
    nodes.sort_by_key(|node| (node.path.is_none(), node.node));
    let drawn = nodes.len().min(MOST_NODES);
    let (seeds, others): (Vec<&NodeView>, Vec<&NodeView>) =
        nodes[..drawn].iter().partition(|node| node.role == Some(Role::Seed));
    let mut dots = ring(&seeds, middle, 0.45, -TAU / 4.0);
    dots.extend(ring(&others, middle, 0.86, -TAU / 4.0 + 0.5));
    let links = nodes[..drawn].iter().filter_map(|node| link(node, middle, &dots)).collect();
    let left_out = network.nodes_total.max(count(nodes.len())) - count(drawn);
    let (top, height) = used(&dots, middle.1, size);
    Constellation { me, others: dots, links, left_out, top, height }
}

/// What lies between the highest and the lowest dot, with room for names; a few nodes need less than the whole height.
fn used(dots: &[Dot], middle: f64, size: Size) -> (f64, f64) {
    let highest = dots.iter().map(|dot| dot.y - dot.radius).fold(middle - 30.0, f64::min);
    let lowest = dots.iter().map(|dot| dot.y + dot.radius).fold(middle + 30.0, f64::max);
    let (top, bottom) = ((highest - 48.0).max(0.0), (lowest + 48.0).min(size.height));
    (top, bottom - top)
}

fn ring(nodes: &[&NodeView], middle: (f64, f64), reach: f64, first: f64) -> Vec<Dot> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|node| node.node);
    let crowded = nodes.len() > 20;
    let step = TAU / crate::format::to_float(count(nodes.len()).max(1));
    let mut angle = first - step;
    let mut inner = false;
    nodes
        .iter()
        .map(|node| {
            angle += step;
            inner = !inner;
            let reach = if crowded && inner { reach * 0.78 } else { reach };
            Dot {
                node: node.node,
                x: middle.0 + reach * (middle.0 - 30.0) * angle.cos(),
                y: middle.1 + reach * (middle.1 - 22.0) * angle.sin(),
                radius: if crowded { 9.0 } else { 15.0 },
                load: node.offer.as_ref().map(|offer| {
                    let busy = offer.cores.saturating_sub(offer.idle_cores);
                    (f64::from(busy) / f64::from(offer.cores.max(1))).clamp(0.0, 1.0)
                }),
                seed: node.role == Some(Role::Seed),
            }
        })
        .collect()
}

fn link(node: &NodeView, me: (f64, f64), dots: &[Dot]) -> Option<Link> {
    let spot = |wanted: NodeId| dots.iter().find(|dot| dot.node == wanted).map(|dot| (dot.x, dot.y));
    let at = spot(node.node)?;
    let (style, by) = match &node.path {
        Some(Path::Direct) => (LinkStyle::Direct, None),
        Some(Path::Relayed { via }) => (LinkStyle::Relayed, via.and_then(spot)),
        None => (LinkStyle::Offer, None),
    };
    Some(Link { to: node.node, from: me, by, at, style })
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::{
        api::{ProviderSettings, ProviderView},
        units::Gas,
    };

    use super::*;

    fn node(name: u8, role: Role, path: Option<Path>) -> NodeView {
        NodeView {
            node: NodeId([name; 32]),
            role: Some(role),
            agent: String::new(),
            path,
            transport: None,
            round_trip_millis: None,
            offer: None,
        }
    }

    fn network(nodes: Vec<NodeView>) -> NetworkView {
        NetworkView {
            me: NodeId([0; 32]),
            role: Role::Client,
            online: true,
            seed_version: None,
            nodes_total: count(nodes.len()),
            nodes,
            provider: ProviderView {
                settings: ProviderSettings::default(),
                idle: None,
                running: Vec::new(),
                queued: 0,
                tasks_done: 0,
                gas_done: Gas(0),
                busy_micros: 0,
            },
            records_not_understood: 0,
        }
    }

    #[test]
    fn a_relayed_link_goes_by_the_node_that_relays() {
        let seed = NodeId([1; 32]);
        let drawing = place(
            &network(vec![
                node(1, Role::Seed, Some(Path::Direct)),
                node(2, Role::Client, Some(Path::Relayed { via: Some(seed) })),
                node(3, Role::Client, None),
            ]),
            WIDE,
        );
        let spot = drawing.others.iter().find(|dot| dot.node == seed).map(|dot| (dot.x, dot.y));
        let relayed = drawing.links.iter().find(|link| link.to == NodeId([2; 32])).unwrap();
        assert_eq!((relayed.style, relayed.by), (LinkStyle::Relayed, spot));
        assert_eq!(drawing.links.iter().find(|link| link.to == NodeId([3; 32])).unwrap().style, LinkStyle::Offer);
    }

    #[test]
    fn everything_drawn_lies_inside_the_drawing() {
        let nodes = (1..=200).map(|name| node(name, Role::Client, Some(Path::Direct))).collect();
        let network = network(nodes);
        for size in [WIDE, NARROW] {
            let drawing = place(&network, size);
            assert_eq!((drawing.others.len(), drawing.left_out), (MOST_NODES, 140));
            for dot in &drawing.others {
                assert!(dot.x > 0.0 && dot.x < size.width && dot.y > 0.0 && dot.y < size.height, "{dot:?}");
            }
        }
    }

    #[test]
    fn nodes_stay_where_they_are_and_apart() {
        let nodes: Vec<NodeView> = (1..=9).map(|name| node(name, Role::Client, Some(Path::Direct))).collect();
        let (once, again) = (place(&network(nodes.clone()), WIDE), place(&network(nodes), WIDE));
        assert_eq!(once, again);
        for (index, a) in once.others.iter().enumerate() {
            for b in &once.others[index + 1..] {
                assert!((a.x - b.x).hypot(a.y - b.y) > a.radius + b.radius);
            }
        }
    }
}
