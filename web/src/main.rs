//! The page: the same binary is the page and its workers. `testid.rs` lists the hooks for browser tests.

mod app;
mod format;
mod look;
mod pages;
mod paint;
mod parts;
mod summary;
mod testid;
mod text;
mod views;
mod wishes;

fn main() {
    if p2pnet_browser::run_if_worker() {
        return;
    }
    p2pnet_browser::show_panics();
    if let Some(body) = web_sys::window().and_then(|window| window.document()?.body()) {
        // Until here the body says that the page is loading.
        body.set_inner_html("");
        yew::Renderer::<app::App>::with_root(body.into()).render();
    }
}
