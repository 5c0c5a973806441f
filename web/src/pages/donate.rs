//! Donate: one button, how much to lend, what runs, and why nothing does.

use p2pnet_browser::Settings;
use p2pnet_shared::{
    api::{NetworkView, ProviderView, RunningView},
    job::AttemptState,
    units::Millis,
};
use yew::prelude::*;

use crate::{
    look::{use_title, use_words},
    paint::orb::Orb,
    parts::{formula::value_of, node_chip::NodeChip, scroll::Scroll, trouble::use_seed_trouble},
    testid,
    text::{self, Words, donate},
    views::{Boot, Views, use_boot, use_node, use_views},
    wishes::use_wishes,
};

/// Rows of what runs now; more are counted.
const MOST_ROWS: usize = 12;

/// The page.
#[component]
pub fn Donate() -> Html {
    let words = use_words();
    use_title(words.say(donate::TITLE));
    let views = use_views();
    let network = views.network.as_deref();
    let trouble = use_seed_trouble();
    html! {
        <div class="donate">
            <section class="hero">
                <h1>{ words.say(donate::TITLE) }</h1>
                <p class="lead">{ words.say(donate::LEAD) }</p>
                <Toggle />
                <p class="status" aria-live="polite" data-testid={testid::DONATE_STATUS}>{ status(words, &views) }</p>
                if let (Some(why), Some(false)) = (trouble, network.map(|network| network.online)) {
                    <p><small lang="en">{ why }</small></p>
                }
            </section>
            <HowMuch />
            { done(words, network) }
            { running(words, network) }
        </div>
    }
}

/// The big button.
#[component]
fn Toggle() -> Html {
    let words = use_words();
    let views = use_views();
    let settings = views.settings;
    let boot = use_boot();
    let failed = matches!(boot, Boot::Failed(_));
    let starting = views.network.is_none();
    let wishes = use_wishes();
    let onclick = use_callback(wishes, |_: MouseEvent, wishes| {
        if let Some(wishes) = wishes {
            wishes.toggle_lending();
        }
    });
    let provider = views.network.as_ref().map(|network| &network.provider);
    let busy = provider.map(busy_nodes).unwrap_or_default();
    let paused = settings.lending
        && views.device.battery.is_some_and(|battery| battery.discharging)
        && !settings.lend_on_battery;
    let broken = settings.lending && views.health.as_ref().is_some_and(|health| !health.can_compute);
    let word = match (settings.lending, paused, busy.is_empty()) {
        (false, _, _) => donate::ORB_OFF,
        (true, _, _) if broken => donate::ORB_UNABLE,
        (true, _, _) if starting => donate::ORB_STARTING,
        (true, true, _) => donate::ORB_PAUSED,
        (true, false, true) => donate::ORB_READY,
        (true, false, false) => donate::ORB_WORKING,
    };
    let paused = paused || broken;
    let order = words.say(if settings.lending { donate::STOP } else { donate::START });
    // Screen readers hear what stands there and what it is about.
    let label = format!("{order} {}: {}", words.say(word), words.say(donate::LEND));
    html! {
        <button type="button" class={classes!("orb", (settings.lending && !paused).then_some("on"), paused.then_some("paused"), (!busy.is_empty()).then_some("busy"))}
            {onclick} disabled={failed} aria-pressed={settings.lending.to_string()} aria-label={label}
            data-testid={testid::DONATE_TOGGLE}>
            <Orb cores={views.device.cores} lent={settings.cores} {busy} on={settings.lending && !paused} />
            <span class="orb-text">
                <strong>{ order }</strong>{ " " }
                <small>{ words.say(word) }</small>
            </span>
        </button>
    }
}

/// Two sliders.
#[component]
fn HowMuch() -> Html {
    let words = use_words();
    let views = use_views();
    let node = use_node();
    let settings = views.settings;
    let change = |change: fn(&mut Settings, u16)| {
        let node = node.clone();
        Callback::from(move |event: InputEvent| {
            if let (Some(node), Ok(value)) = (&node, value_of(&event).parse::<u16>()) {
                let mut settings = node.settings();
                change(&mut settings, value);
                node.set_settings(settings);
            }
        })
    };
    let cores = change(|settings, value| settings.cores = value);
    let share = change(|settings, value| settings.cpu_percent = u8::try_from(value).unwrap_or(100));
    let all = views.device.cores;
    let cores_text = words.fill(donate::CORES_OF, &[("n", &settings.cores.to_string()), ("all", &all.to_string())]);
    html! {
        <section class="card how-much" aria-labelledby="how-much">
            <h2 id="how-much">{ words.say(donate::SETTINGS) }</h2>
            <label>
                <span class="spread">{ words.say(donate::CORES) }<output>{ cores_text.clone() }</output></span>
                <input type="range" min="1" max={all.to_string()} step="1" value={settings.cores.to_string()} oninput={cores}
                    disabled={node.is_none()} aria-valuetext={cores_text} data-testid={testid::CORES} />
            </label>
            <label>
                <span class="spread">
                    { words.say(donate::SHARE) }<output>{ format!("{} %", settings.cpu_percent) }</output>
                </span>
                <input type="range" min="5" max="100" step="5" value={settings.cpu_percent.to_string()} oninput={share}
                    disabled={node.is_none()} aria-valuetext={format!("{} %", settings.cpu_percent)} data-testid={testid::SHARE} />
            </label>
            <small>{ words.say(donate::SHARE_HELP) }</small>
        </section>
    }
}

/// One sentence: for whom it computes, or why it does not.
fn status(words: Words, views: &Views) -> String {
    let Some(network) = views.network.as_deref() else {
        let text = if views.settings.lending { donate::IDLE_WISHED } else { donate::IDLE_STARTING };
        return words.say(text).to_owned();
    };
    let provider = &network.provider;
    if views.settings.lending && views.health.as_ref().is_some_and(|health| !health.can_compute) {
        return words.say(donate::IDLE_NO_WORKERS).to_owned();
    }
    if let Some(reason) = provider.idle {
        return words.say(text::idle_reason(reason)).to_owned();
    }
    let tasks: u64 = provider.running.iter().map(|run| run.tasks).sum();
    if tasks == 0 {
        return words.say(donate::IDLE_NO_WORK).to_owned();
    }
    let mut people: Vec<_> = provider.running.iter().map(|run| run.requester).collect();
    people.sort_unstable();
    people.dedup();
    let people = words.count(donate::PEOPLE, u64::try_from(people.len()).unwrap_or(u64::MAX));
    let tasks = words.count(donate::TASKS_ACCUSATIVE, tasks);
    words.fill(donate::WORKING_FOR, &[("tasks", &tasks), ("people", &people)])
}

/// What this tab has computed so far.
fn done(words: Words, network: Option<&NetworkView>) -> Html {
    let provider = network.map(|network| &network.provider);
    let tasks = provider.map_or(0, |provider| provider.tasks_done);
    let gas = provider.map(|provider| provider.gas_done).unwrap_or_default();
    let busy = Millis(provider.map_or(0, |provider| provider.busy_micros / 1000));
    html! {
        <section class="card done" aria-labelledby="done">
            <h2 id="done">{ words.say(donate::DONE) }</h2>
            <dl class="figures">
                <div>
                    <dd data-testid={testid::TASKS_DONE} data-count={tasks.to_string()}>{ words.number(tasks) }</dd>
                    <dt>{ words.say(donate::DONE_TASKS) }</dt>
                </div>
                <div>
                    <dd title={words.number(gas.0)}>{ words.gas(gas) }</dd>
                    <dt>{ words.say(donate::DONE_GAS) }</dt>
                </div>
                <div>
                    <dd>{ words.duration(busy) }</dd>
                    <dt>{ words.say(donate::DONE_TIME) }</dt>
                </div>
            </dl>
            <small>{ words.say(donate::GAS_WHAT) }</small>
        </section>
    }
}

/// What runs now.
fn running(words: Words, network: Option<&NetworkView>) -> Html {
    let Some(network) = network else { return Html::default() };
    let provider = &network.provider;
    html! {
        <section class="card now" aria-labelledby="now">
            <h2 id="now">{ words.say(donate::NOW) }</h2>
            if provider.running.is_empty() {
                <p class="quiet">{ words.say(donate::NOW_EMPTY) }</p>
            } else {
                <Scroll label={words.say(donate::NOW)}>
                    <table>
                        <thead>
                            <tr>
                                <th scope="col">{ words.say(donate::FOR_WHOM) }</th>
                                <th scope="col">{ words.say(donate::JOB) }</th>
                                <th scope="col" class="figure">{ words.say(donate::TASKS_HEAD) }</th>
                                <th scope="col">{ words.say(donate::SINCE) }</th>
                            </tr>
                        </thead>
                        <tbody>{ for provider.running.iter().take(MOST_ROWS).map(|run| running_row(words, network, run)) }</tbody>
                    </table>
                </Scroll>
            }
            if provider.queued > 0 {
                <small>{ words.fill(donate::QUEUED, &[("n", &words.number(u64::from(provider.queued)))]) }</small>
            }
        </section>
    }
}

fn running_row(words: Words, network: &NetworkView, run: &RunningView) -> Html {
    let job: String = run.job.to_string().chars().take(8).collect();
    let since = match run.state {
        AttemptState::Assigned | AttemptState::Fetching => words.say(donate::FETCHING).to_owned(),
        AttemptState::Resting => words.say(donate::RESTING).to_owned(),
        AttemptState::Running
        | AttemptState::Delivered
        | AttemptState::Accepted
        | AttemptState::Rejected
        | AttemptState::Lost => words.relative(run.since),
    };
    html! {
        <tr key={format!("{}-{}", run.requester, run.attempt.0)}>
            <td>
                if run.requester == network.me {
                    { words.say(donate::FOR_YOURSELF) }
                } else {
                    <NodeChip node={run.requester} />
                }
            </td>
            <td><code>{ job }</code></td>
            <td class="figure">{ words.number(run.tasks) }</td>
            <td>{ since }</td>
        </tr>
    }
}

/// Whom the lent cores work for, one entry a batch.
fn busy_nodes(provider: &ProviderView) -> Vec<p2pnet_shared::id::NodeId> {
    provider.running.iter().map(|run| run.requester).collect()
}
