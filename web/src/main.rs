//! The page. What runs in its workers, and what reads jobs, are binaries of `browser-node`. `testid.rs` lists the hooks for browser tests.

#![expect(
    unreachable_pub,
    reason = "a program has no outside, and what yew makes of components wants their properties public"
)]

mod app;
mod format;
mod look;
mod pages;
mod paint;
mod parts;
mod testid;
mod text;
mod views;
mod wishes;

use futures::channel::oneshot;
use wasm_bindgen_futures::spawn_local;

fn main() {
    p2pnet_browser::show_panics();
    // The node first: what it asks the browser for is on its way while the page is drawn.
    let (tell, node) = oneshot::channel();
    spawn_local(async move {
        // A page that is closing wants no node any more.
        let _ = tell.send(p2pnet_browser::start(p2pnet_browser::Options::default()).await);
    });
    spawn_local(async move {
        if let Some(body) = web_sys::window().and_then(|window| window.document()?.body()) {
            // Until here the body says that the page is loading.
            body.set_inner_html("");
            let node = views::Coming::new(node);
            yew::Renderer::<app::App>::with_root_and_props(body.into(), app::AppProps { node }).render();
        }
    });
}
