//! The few things of JavaScript that web-sys does not bind.

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `performance.now()`, in a page and in a worker alike: milliseconds, monotonic.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub fn monotonic_millis() -> f64;

    /// `navigator.locks`; web-sys has it only behind unstable flags.
    pub type LockManager;
    #[wasm_bindgen(method, catch)]
    pub fn request(
        this: &LockManager,
        name: &str,
        options: &Object,
        granted: &Closure<dyn FnMut(JsValue) -> Promise>,
    ) -> Result<Promise, JsValue>;
}

/// `navigator.locks`, where there is one (secure contexts).
pub(crate) fn locks() -> Option<LockManager> {
    let navigator = web_sys::window()?.navigator();
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    (!locks.is_undefined() && !locks.is_null()).then(|| locks.unchecked_into())
}

/// The path below which this page and its relay stand, without a slash at its end: what the relay wrote into the
/// `<base>` element, or nothing.
pub fn base_path() -> String {
    let document = web_sys::window().and_then(|window| window.document());
    let base = document.and_then(|document| document.query_selector("base[href]").ok().flatten());
    let path = base.and_then(|base| base.get_attribute("href")).unwrap_or_default();
    path.trim_end_matches('/').to_owned()
}

/// The text of whatever was thrown, at most 300 characters.
pub(crate) fn thrown_text(thrown: &JsValue) -> String {
    let text = match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.to_string()),
        None => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    };
    text.chars().take(300).collect()
}

/// Bytes from the system's source of randomness; `None` where the browser has none.
pub(crate) fn random_bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    web_sys::window()?.crypto().ok()?.get_random_values_with_u8_array(&mut bytes).ok()?;
    Some(bytes)
}
