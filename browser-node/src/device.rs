//! What the browser says about the device: cores, battery, whether it is online and the tab is seen.

use std::{cell::RefCell, rc::Rc};

use gloo::events::EventListener;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{EventTarget, VisibilityState, Window};

/// What is known about the device now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// Processor cores as the browser tells; 1 to 1024.
    pub cores: u16,
    /// Memory in GiB as the browser tells (rounded, at most 8); absent where it does not tell.
    pub memory_gib: Option<f64>,
    /// The battery; absent where the browser does not tell.
    pub battery: Option<Battery>,
    /// Whether the browser believes that there is a network.
    pub online: bool,
    /// Whether the tab is seen. A hidden tab works on just as fast.
    pub visible: bool,
}

/// State of the battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Battery {
    /// Whether the device runs on it.
    pub discharging: bool,
    /// Charge, 0 to 100.
    pub percent: u8,
}

impl Default for Device {
    fn default() -> Self {
        Self { cores: 1, memory_gib: None, battery: None, online: true, visible: true }
    }
}

/// Watches the device for as long as it lives.
pub(crate) struct Watch {
    state: Rc<RefCell<Device>>,
    _listeners: Rc<RefCell<Vec<EventListener>>>,
}

impl Watch {
    /// Begins to watch; `changed` is called after every change.
    pub(crate) fn new(window: &Window, changed: Rc<dyn Fn()>) -> Self {
        let state = Rc::new(RefCell::new(read(window)));
        let listeners = Rc::new(RefCell::new(Vec::new()));
        let mut targets: Vec<(EventTarget, &'static str)> =
            vec![(window.clone().into(), "online"), (window.clone().into(), "offline")];
        if let Some(document) = window.document() {
            targets.push((document.into(), "visibilitychange"));
        }
        for (target, event) in targets {
            let (state, window, changed) = (state.clone(), window.clone(), changed.clone());
            let listener = EventListener::new(&target, event, move |_| {
                let battery = state.borrow().battery;
                *state.borrow_mut() = Device { battery, ..read(&window) };
                changed();
            });
            listeners.borrow_mut().push(listener);
        }
        if let Some(promise) = battery_promise(window) {
            let (state, listeners) = (state.clone(), listeners.clone());
            spawn_local(async move {
                if let Ok(manager) = JsFuture::from(promise).await {
                    watch_battery(manager, &state, &listeners, &changed);
                }
            });
        }
        Self { state, _listeners: listeners }
    }

    /// What is known now.
    pub(crate) fn now(&self) -> Device {
        *self.state.borrow()
    }
}

// Clamped before the cast.
fn read(window: &Window) -> Device {
    let navigator = window.navigator();
    let memory = Reflect::get(&navigator, &"deviceMemory".into()).ok().and_then(|value| value.as_f64());
    Device {
        cores: navigator.hardware_concurrency().clamp(1.0, 1024.0) as u16,
        memory_gib: memory,
        battery: None,
        online: navigator.on_line(),
        visible: window.document().is_none_or(|document| document.visibility_state() == VisibilityState::Visible),
    }
}

/// `navigator.getBattery()` has no binding: only Chromium has it.
fn battery_promise(window: &Window) -> Option<Promise> {
    let navigator = window.navigator();
    let get: Function = Reflect::get(&navigator, &"getBattery".into()).ok()?.dyn_into().ok()?;
    get.call0(&navigator).ok()?.dyn_into().ok()
}

fn watch_battery(
    manager: JsValue,
    state: &Rc<RefCell<Device>>,
    listeners: &Rc<RefCell<Vec<EventListener>>>,
    changed: &Rc<dyn Fn()>,
) {
    state.borrow_mut().battery = read_battery(&manager);
    changed();
    let Ok(target) = manager.dyn_into::<EventTarget>() else { return };
    for event in ["chargingchange", "levelchange"] {
        let (state, changed, manager) = (state.clone(), changed.clone(), target.clone());
        let listener = EventListener::new(&target, event, move |_| {
            state.borrow_mut().battery = read_battery(&manager);
            changed();
        });
        listeners.borrow_mut().push(listener);
    }
}

// Clamped before the cast.
fn read_battery(manager: &JsValue) -> Option<Battery> {
    let charging = Reflect::get(manager, &"charging".into()).ok()?.as_bool()?;
    let level = Reflect::get(manager, &"level".into()).ok()?.as_f64()?;
    Some(Battery { discharging: !charging, percent: (level * 100.0).round().clamp(0.0, 100.0) as u8 })
}
