//! A panic is a bug; nothing that comes from outside may cause one. If it happens anyway, the page says so.

use std::panic;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::HtmlElement;

/// After a panic the page's wasm is dead: this leaves the person a sentence and a way out instead of a frozen page.
pub fn show_panics() {
    panic::set_hook(Box::new(|info| {
        web_sys::console::error_1(&JsValue::from_str(&info.to_string()));
        show_banner();
    }));
}

fn show_banner() -> Option<()> {
    let document = web_sys::window()?.document()?;
    let banner: HtmlElement = document.create_element("p").ok()?.dyn_into().ok()?;
    banner.set_attribute("role", "alert").ok()?;
    banner.style().set_css_text(BANNER_STYLE); // unlike a style attribute, a content security policy lets this pass
    banner.set_text_content(Some(
        "p2pnet stopped because of a mistake in its own code. Reload the page to go on; your jobs are kept. / \
         p2pnet остановился из-за ошибки в собственном коде. Перезагрузите страницу: задания сохранены.",
    ));
    document.body()?.append_with_node_1(&banner).ok()
}

const BANNER_STYLE: &str =
    "position:fixed;inset:auto 0 0 0;margin:0;padding:1rem;background:#8c1d18;color:#fff;z-index:99";
