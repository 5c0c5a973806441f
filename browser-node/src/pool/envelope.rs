//! The messages of [`protocol`](super::protocol) on their way between page and worker: bytes, and beside them what only
//! the browser can carry, a compiled module.

use js_sys::{Array, Uint8Array, WebAssembly::Module};
use wasm_bindgen::{JsCast, JsValue};

/// Hands bytes, which are not copied again, and a module to `post`.
pub(crate) fn post<T>(bytes: &[u8], module: Option<&Module>, post: impl FnOnce(&JsValue, &JsValue) -> T) -> T {
    let bytes = Uint8Array::from(bytes);
    let transfer = Array::of1(&bytes.buffer());
    match module {
        Some(module) => post(&Array::of2(&bytes, module), &transfer),
        None => post(&bytes, &transfer),
    }
}

/// What is received; no bytes if it is something else.
pub(crate) fn unpack(data: &JsValue) -> (Option<Vec<u8>>, Option<Module>) {
    let (bytes, module) = match data.dyn_ref::<Array>() {
        Some(both) => (both.get(0), both.get(1).dyn_into().ok()),
        None => (data.clone(), None),
    };
    (bytes.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec), module)
}
