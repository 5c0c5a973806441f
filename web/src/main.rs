//! The page: the same binary is the page and its workers.

fn main() {
    if p2pnet_browser::run_if_worker() {
        return;
    }
    p2pnet_browser::show_panics();
}
