//! Makes the page's folder known to cargo, so that a page built anew is embedded anew.

fn main() {
    // Trunk's output folder at the top of the repository. It may be absent: the relay then serves a page that says how
    // to build it (see src/http/page.rs).
    println!("cargo::rerun-if-changed=../dist");
}
