//! Network: a drawing of the nodes and links that this node sees, and the same as a table.

use p2pnet_shared::{
    api::{NetworkView, NodeView, Path},
    wire::Role,
};
use yew::prelude::*;

use crate::{
    look::{use_narrow, use_title, use_words},
    paint::constellation::{
        self, Constellation, Dot, Link, LinkStyle, MOST_NAMED, MOST_NAMED_NARROW, NARROW, Size, WIDE,
    },
    parts::{
        copy::CopyButton,
        node_chip::{NodeChip, colour, short},
        scroll::Scroll,
    },
    testid,
    text::{Text, Words, donate, job, network as say},
    views::use_views,
};

/// Rows of the table; more are counted.
const MOST_ROWS: usize = 100;

/// The page.
#[component]
pub fn Network() -> Html {
    let words = use_words();
    use_title(words.say(say::TITLE));
    let views = use_views();
    let narrow = use_narrow();
    let Some(network) = views.network.as_deref() else {
        return html! { <><h1>{ words.say(say::TITLE) }</h1><p aria-busy="true">{ words.say(job::LOADING) }</p></> };
    };
    let size = if narrow { NARROW } else { WIDE };
    let drawing = constellation::place(network, size);
    let lent: u64 =
        network.nodes.iter().filter_map(|node| node.offer.as_ref()).map(|offer| u64::from(offer.cores)).sum();
    let me = network.me.to_string();
    html! {
        <>
            <h1>{ words.say(say::TITLE) }</h1>
            <p class="lead">{ words.say(say::LEAD) }</p>
            <p class="own-id">
                <span>{ words.say(say::YOUR_ID) }</span>
                <code data-testid={testid::NODE_ID}>{ &me }</code>
                <CopyButton text={std::rc::Rc::<str>::from(me.as_str())} />
            </p>
            <section class="card drawing" aria-label={words.say(say::DRAWING)}>
                { draw(words, network, &drawing, size) }
                <p class="figures-line">
                    <span>{ words.count(say::NODES, network.nodes_total) }</span>
                    <span>{ words.count(say::CORES, lent) }</span>
                </p>
                { legend(words) }
            </section>
            if network.records_not_understood > 0 {
                <p class="quiet">
                    { words.count(say::NOT_UNDERSTOOD, network.records_not_understood) }
                </p>
            }
            if network.nodes.is_empty() {
                <section class="empty">
                    <p><strong>{ words.say(say::ALONE) }</strong></p>
                    <p class="quiet">{ words.say(say::ALONE_HINT) }</p>
                </section>
            } else {
                { table(words, network) }
            }
        </>
    }
}

fn draw(words: Words, network: &NetworkView, drawing: &Constellation, size: Size) -> Html {
    let named = drawing.others.len() <= if size == NARROW { MOST_NAMED_NARROW } else { MOST_NAMED };
    html! {
        <svg class="constellation" viewBox={format!("0 {:.0} {} {:.0}", drawing.top, size.width, drawing.height)} role="img" aria-label={words.say(say::DRAWING_ALT)}>
            { for drawing.links.iter().map(draw_link) }
            { for drawing.others.iter().map(|dot| {
                let view = network.nodes.iter().find(|node| node.node == dot.node);
                draw_dot(words, dot, view, named, dot.y < drawing.me.y)
            }) }
            { draw_dot(words, &drawing.me, None, true, false) }
            if drawing.left_out > 0 {
                <text x={(size.width - 12.0).to_string()} y={(drawing.top + drawing.height - 12.0).to_string()} text-anchor="end">
                    { words.fill(say::MORE, &[("n", &words.number(drawing.left_out))]) }
                </text>
            }
        </svg>
    }
}

fn draw_link(link: &Link) -> Html {
    let class = match link.style {
        LinkStyle::Direct => "link direct",
        LinkStyle::Relayed => "link relayed",
        LinkStyle::Offer => "link offer",
    };
    let (from, at) = (link.from, link.at);
    let path = match link.by {
        Some(by) => format!("M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}", from.0, from.1, by.0, by.1, at.0, at.1),
        None => format!("M{:.1} {:.1}L{:.1} {:.1}", from.0, from.1, at.0, at.1),
    };
    html! { <path key={link.to.to_string()} {class} d={path} fill="none" /> }
}

/// Names stand outwards of the dot, away from its link to the middle.
fn draw_dot(words: Words, dot: &Dot, view: Option<&NodeView>, named: bool, above: bool) -> Html {
    let (x, y, radius) = (dot.x.to_string(), dot.y.to_string(), dot.radius);
    let ring = radius + 4.0;
    let around = core::f64::consts::TAU * ring;
    let lit = dot.load.map(|load| format!("{:.1} {:.1}", load * around, around));
    let note = view.map(|view| note(words, view)).unwrap_or_default();
    let name_at = match (above, note.is_empty()) {
        (false, _) => dot.y + radius + 20.0,
        (true, true) => dot.y - radius - 10.0,
        (true, false) => dot.y - radius - 25.0,
    };
    let name = if view.is_none() { words.say(say::THIS_NODE).to_owned() } else { short(dot.node) };
    html! {
        <g key={dot.node.to_string()} class={classes!("dot", dot.seed.then_some("seed"), view.is_none().then_some("me"))}>
            <title>{ format!("{} {note}", dot.node) }</title>
            if let Some(lit) = lit {
                <circle class="load-rest" cx={x.clone()} cy={y.clone()} r={ring.to_string()} fill="none" />
                <circle class="load" cx={x.clone()} cy={y.clone()} r={ring.to_string()} fill="none" stroke-dasharray={lit}
                    transform={format!("rotate(-90 {x} {y})")} />
            }
            if dot.seed {
                <rect x={(dot.x - radius * 0.86).to_string()} y={(dot.y - radius * 0.86).to_string()}
                    width={(radius * 1.72).to_string()} height={(radius * 1.72).to_string()} rx="5" fill={colour(dot.node)} />
            } else {
                <circle cx={x.clone()} cy={y.clone()} r={radius.to_string()} fill={colour(dot.node)} />
            }
            if named {
                <text x={x.clone()} y={name_at.to_string()} text-anchor="middle">{ name }</text>
                if !note.is_empty() {
                    <text class="note" x={x} y={(name_at + 15.0).to_string()} text-anchor="middle">{ note }</text>
                }
            }
        </g>
    }
}

/// Transport and round trip, as far as they are known.
fn note(words: Words, view: &NodeView) -> String {
    let millis = view.round_trip_millis.map(|millis| trip(words, millis));
    [view.transport.as_deref().map(|name| transport(words, name)), millis]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" · ")
}

fn legend(words: Words) -> Html {
    let line = |class: &'static str, text: Text| {
        html! {
            <li>
                <svg viewBox="0 0 34 10" aria-hidden="true"><path class={classes!("link", class)} d="M1 5H33" fill="none" /></svg>
                { words.say(text) }
            </li>
        }
    };
    html! {
        <ul class="legend">
            { line("direct", say::LEGEND_DIRECT) }
            { line("relayed", say::LEGEND_RELAYED) }
            { line("offer", say::LEGEND_OFFER) }
            <li>
                <svg viewBox="0 0 12 12" aria-hidden="true" class="dot">
                    <circle class="load-rest" cx="6" cy="6" r="4.5" fill="none" />
                    <circle class="load" cx="6" cy="6" r="4.5" fill="none" stroke-dasharray="16 30" transform="rotate(-90 6 6)" />
                </svg>
                { words.say(say::LEGEND_LOAD) }
            </li>
        </ul>
    }
}

/// What a transport is called: the names of protocols are the same in every language.
fn transport(words: Words, name: &str) -> String {
    if name == "circuit" { words.say(say::CIRCUIT).to_owned() } else { name.to_owned() }
}

fn table(words: Words, network: &NetworkView) -> Html {
    let head = |text: Text| html! { <th scope="col">{ words.say(text) }</th> };
    html! {
        <section class="card" aria-labelledby="nodes">
            <h2 id="nodes">{ words.say(say::TABLE) }</h2>
            <Scroll label={words.say(say::TABLE)}>
                <table>
                    <thead>
                        <tr>
                            { head(say::NODE) }{ head(say::ROLE) }{ head(say::LINK) }{ head(say::TRANSPORT) }
                            { head(say::ROUND_TRIP) }{ head(say::LENDS) }{ head(say::AGENT) }
                        </tr>
                    </thead>
                    <tbody>{ for network.nodes.iter().take(MOST_ROWS).map(|node| row(words, node)) }</tbody>
                </table>
            </Scroll>
            if network.nodes.len() > MOST_ROWS {
                <small>
                    { words.fill(say::MORE, &[("n", &words.number(network.nodes_total.saturating_sub(100)))]) }
                </small>
            }
        </section>
    }
}

fn row(words: Words, node: &NodeView) -> Html {
    let lends = match &node.offer {
        Some(offer) => words.fill(
            say::LENDS_CORES,
            &[
                ("busy", &offer.cores.saturating_sub(offer.idle_cores).to_string()),
                ("cores", &words.count(donate::CORES_COUNT, u64::from(offer.cores))),
                ("share", &offer.cpu_percent.to_string()),
            ],
        ),
        None => words.say(say::LENDS_NOTHING).to_owned(),
    };
    let dash = || "–".to_owned();
    html! {
        <tr key={node.node.to_string()} data-testid={testid::NETWORK_NODE} data-node={node.node.to_string()}>
            <td><NodeChip node={node.node} /></td>
            <td>{ words.say(role_name(node.role)) }</td>
            <td>{ path_name(words, node.path.as_ref()) }</td>
            <td>{ node.transport.as_deref().map_or_else(dash, |name| transport(words, name)) }</td>
            <td class="figure">{ node.round_trip_millis.map_or_else(dash, |millis| trip(words, millis)) }</td>
            <td>{ lends }</td>
            <td class="quiet" lang="en">{ &node.agent }</td>
        </tr>
    }
}

fn trip(words: Words, millis: u32) -> String {
    words.duration(p2pnet_shared::units::Millis(u64::from(millis)))
}

fn role_name(role: Option<Role>) -> Text {
    match role {
        Some(Role::Seed) => say::ROLE_SEED,
        Some(Role::Public) => say::ROLE_PUBLIC,
        Some(Role::Client) => say::ROLE_CLIENT,
        Some(Role::Specialised) => say::ROLE_SPECIALISED,
        None => say::ROLE_UNKNOWN,
    }
}

fn path_name(words: Words, path: Option<&Path>) -> String {
    match path {
        Some(Path::Direct) => words.say(say::PATH_DIRECT).to_owned(),
        Some(Path::Relayed { via: Some(node) }) => words.fill(say::PATH_RELAYED_VIA, &[("node", &short(*node))]),
        Some(Path::Relayed { via: None }) => words.say(say::PATH_RELAYED).to_owned(),
        None => words.say(say::PATH_NONE).to_owned(),
    }
}
