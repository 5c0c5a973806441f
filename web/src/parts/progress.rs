//! How far a job has come, as a bar: done, and at nodes now.

use p2pnet_shared::api::Progress;
use yew::prelude::*;

use crate::format::to_float;

/// Width of the drawing; only ratios matter.
const WIDTH: f64 = 1000.0;

#[derive(Properties, PartialEq)]
pub struct ProgressBarProps {
    pub progress: Progress,
    pub label: AttrValue,
    /// Whether anything is still to come.
    #[prop_or_default]
    pub over: bool,
}

/// The bar, with its percentage for screen readers.
#[component]
pub fn ProgressBar(props: &ProgressBarProps) -> Html {
    let progress = &props.progress;
    let all = to_float(progress.units_total.max(1));
    let done = (to_float(progress.units_done) / all).clamp(0.0, 1.0) * WIDTH;
    let running = (to_float(progress.units_running) / all).clamp(0.0, 1.0) * WIDTH;
    html! {
        <svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="progressbar" aria-label={props.label.clone()}
            aria-valuemin="0" aria-valuemax="100" aria-valuenow={progress.percent.to_string()}>
            <rect class="rest" x="0" y="0" width="1000" height="10" />
            if !props.over {
                <rect class="running" x={done.to_string()} y="0" width={running.min(WIDTH - done).to_string()} height="10" />
            }
            <rect class="done" x="0" y="0" width={done.to_string()} height="10" />
        </svg>
    }
}
