//! The banner that says that lending pauses on battery, and lets the person decide otherwise.

use p2pnet_browser::Settings;
use yew::prelude::*;

use crate::{
    look::use_words,
    testid,
    text::donate,
    views::{use_node, use_views},
};

/// Shown while the device runs on battery and the person wants to lend.
#[component]
pub fn BatteryBanner() -> Html {
    let words = use_words();
    let views = use_views();
    let node = use_node();
    let discharging = views.device.battery.is_some_and(|battery| battery.discharging);
    let settings = views.settings;
    let onclick = use_callback(node, |_: MouseEvent, node| {
        if let Some(node) = node {
            let settings = node.settings();
            node.set_settings(Settings { lend_on_battery: !settings.lend_on_battery, ..settings });
        }
    });
    if !discharging || !settings.lending {
        return Html::default();
    }
    let (said, offered) = if settings.lend_on_battery {
        (donate::BATTERY_OVERRIDDEN, donate::BATTERY_PAUSE)
    } else {
        (donate::BATTERY_BANNER, donate::BATTERY_OVERRIDE)
    };
    html! {
        <div class="banner battery container" role="status" data-testid={testid::BANNER_BATTERY}>
            <p>{ words.say(said) }</p>
            <button type="button" class="secondary" {onclick} data-testid={testid::BATTERY_OVERRIDE}>
                { words.say(offered) }
            </button>
        </div>
    }
}
