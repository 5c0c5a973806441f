//! The map of tasks on a canvas: one drawing however many cells, so the page never stutters.

use std::rc::Rc;

use gloo::events::EventListener;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};
use yew::prelude::*;

use super::node_chip::colour;
use crate::{
    format::to_float,
    look::{Theme, use_look, use_words},
    paint::task_map::{Cell, CellState, TaskMap, grid},
    testid,
    text::{Text, Words, job},
};

/// What the map would like to be high, in CSS pixels; more when the page is narrow.
const HEIGHT: f64 = 240.0;

/// What a cell's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Palette {
    ByNode,
    ByState,
}

#[derive(Properties, PartialEq)]
pub struct TaskGridProps {
    pub map: Rc<TaskMap>,
}

/// The map, its legend, a switch for what colours mean, and the same in words.
#[component]
pub fn TaskGrid(props: &TaskGridProps) -> Html {
    let words = use_words();
    let theme = use_look().map(|look| look.theme);
    let palette = use_state_eq(|| Palette::ByNode);
    let width = use_state_eq(|| 0);
    let canvas = use_node_ref();
    use_effect_with(canvas.clone(), {
        let width = width.setter();
        move |canvas: &NodeRef| {
            let measure = {
                let canvas = canvas.clone();
                move || {
                    if let Some(element) = canvas.cast::<HtmlCanvasElement>() {
                        width.set(element.parent_element().map_or(0, |parent| parent.client_width()));
                    }
                }
            };
            measure();
            let listener = web_sys::window().map(|window| EventListener::new(&window, "resize", move |_| measure()));
            move || drop(listener)
        }
    });
    use_effect_with(
        (props.map.clone(), *palette, *width, theme, canvas.clone()),
        |(map, palette, width, _, canvas): &(Rc<TaskMap>, Palette, i32, Option<Theme>, NodeRef)| {
            if let Some(canvas) = canvas.cast::<HtmlCanvasElement>() {
                draw(&canvas, map.cells(), *palette, f64::from(*width));
            }
        },
    );
    let choose = |chosen: Palette, text: Text| {
        let palette = palette.clone();
        let pressed = *palette == chosen;
        let onclick = Callback::from(move |_: MouseEvent| palette.set(chosen));
        html! {
            <button type="button" class="small outline" {onclick} aria-pressed={pressed.to_string()}>
                { words.say(text) }
            </button>
        }
    };
    let alternative = alternative(words, &props.map);
    html! {
        <div class={classes!("task-grid", (*palette == Palette::ByNode).then_some("by-node"))}>
            <div class="spread">
                <small>{ words.say(job::MAP_HELP) }</small>
                <div class="choice" role="group">
                    { choose(Palette::ByNode, job::MAP_BY_NODE) }
                    { choose(Palette::ByState, job::MAP_BY_STATE) }
                </div>
            </div>
            <div class="canvas">
                <canvas ref={canvas} role="img" aria-label={alternative.clone()} data-testid={testid::TASK_MAP} />
            </div>
            { legend(words) }
            <p class="sr-only">{ alternative }</p>
        </div>
    }
}

fn alternative(words: Words, map: &TaskMap) -> String {
    let [done, running, failed, rest] = map.shares().map(|share| share.to_string());
    words.fill(job::MAP_ALT, &[("done", &done), ("running", &running), ("failed", &failed), ("rest", &rest)])
}

fn legend(words: Words) -> Html {
    let entry = |class: &'static str, text: Text| {
        html! {
            <li>
                <svg viewBox="0 0 12 12" aria-hidden="true"><rect {class} x="1" y="1" width="10" height="10" rx="2" /></svg>
                { words.say(text) }
            </li>
        }
    };
    html! {
        <ul class="legend cells">
            { entry("waiting", job::LEGEND_WAITING) }
            { entry("sent", job::LEGEND_SENT) }
            { entry("running", job::LEGEND_RUNNING) }
            { entry("done", job::LEGEND_DONE) }
            { entry("again", job::LEGEND_AGAIN) }
        </ul>
    }
}

/// Colours of the theme, read from the legend, so that both are the same.
struct Colours {
    waiting: String,
    state: [String; 4],
}

impl Colours {
    fn of(canvas: &HtmlCanvasElement) -> Self {
        let legend = canvas.closest(".task-grid").ok().flatten();
        let read = |name: &str, otherwise: &str| {
            let entry =
                legend.as_ref().and_then(|legend| legend.query_selector(&format!(".cells .{name}")).ok().flatten());
            let style = entry.and_then(|entry| web_sys::window()?.get_computed_style(&entry).ok().flatten());
            let fill = style.and_then(|style| style.get_property_value("fill").ok()).unwrap_or_default();
            if fill.is_empty() { otherwise.to_owned() } else { fill }
        };
        Self {
            waiting: read("waiting", "#bbb"),
            state: [read("sent", "#8ab"), read("running", "#d92"), read("done", "#177"), read("again", "#c43")],
        }
    }
}

fn draw(canvas: &HtmlCanvasElement, cells: &[Cell], palette: Palette, width: f64) -> Option<()> {
    if width < 1.0 {
        return None;
    }
    let scale = web_sys::window()?.device_pixel_ratio().clamp(1.0, 3.0);
    let (columns, size) = grid(cells.len(), width, HEIGHT);
    let rows = cells.len().div_ceil(columns);
    let height = as_float(rows) * size;
    set_size(canvas, width, height, scale);
    let pen: CanvasRenderingContext2d = canvas.get_context("2d").ok()??.dyn_into().ok()?;
    pen.set_transform(scale, 0.0, 0.0, scale, 0.0, 0.0).ok()?;
    pen.clear_rect(0.0, 0.0, width, height);
    let colours = Colours::of(canvas);
    let gap = if size > 10.0 { 2.0 } else { 1.0 };
    for (index, cell) in cells.iter().enumerate() {
        let x = as_float(index % columns) * size;
        let y = as_float(index / columns) * size;
        paint(&pen, *cell, palette, &colours, [x, y, size - gap]);
    }
    Some(())
}

fn paint(pen: &CanvasRenderingContext2d, cell: Cell, palette: Palette, colours: &Colours, [x, y, side]: [f64; 3]) {
    let [sent, running, done, again] = &colours.state;
    let state_colour = match cell.state {
        CellState::Waiting => &colours.waiting,
        CellState::Sent => sent,
        CellState::Running => running,
        CellState::Done => done,
        CellState::Again => again,
    };
    let fill = match (palette, cell.node, cell.state) {
        (Palette::ByNode, Some(node), CellState::Sent | CellState::Running | CellState::Done) => colour(node),
        (Palette::ByNode | Palette::ByState, Some(_) | None, _) => state_colour.clone(),
    };
    // What is not done yet is pale, with an outline once it runs: states can be told apart without colours.
    let alpha = match cell.state {
        CellState::Waiting | CellState::Done => 1.0,
        CellState::Again => 0.8,
        CellState::Running => 0.5,
        CellState::Sent => 0.22,
    };
    pen.set_global_alpha(alpha);
    pen.set_fill_style_str(&fill);
    pen.fill_rect(x, y, side, side);
    pen.set_global_alpha(1.0);
    match cell.state {
        CellState::Running => {
            pen.set_stroke_style_str(&fill);
            pen.set_line_width(1.5);
            pen.stroke_rect(x + 0.75, y + 0.75, side - 1.5, side - 1.5);
        }
        CellState::Again => {
            pen.set_fill_style_str(&colours.waiting);
            pen.fill_rect(x + side * 0.35, y + side * 0.35, side * 0.3, side * 0.3);
        }
        CellState::Waiting | CellState::Sent | CellState::Done => {}
    }
}

// At most a few thousand pixels.
fn set_size(canvas: &HtmlCanvasElement, width: f64, height: f64, scale: f64) {
    let (wide, high) = ((width * scale).round() as u32, (height * scale).round() as u32);
    // Setting a size clears the canvas, even to the same value.
    if canvas.width() != wide {
        canvas.set_width(wide);
    }
    if canvas.height() != high {
        canvas.set_height(high);
    }
    let style = canvas.style();
    // Neither can fail: these are valid properties.
    let _ = style.set_property("width", &format!("{width}px"));
    let _ = style.set_property("height", &format!("{height}px"));
}

fn as_float(n: usize) -> f64 {
    to_float(u64::try_from(n).unwrap_or(u64::MAX))
}
