//! Placeholder until the page stands.
fn main() {}
