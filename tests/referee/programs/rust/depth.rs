//! Calls itself as deep as the first argument says.

use std::hint::black_box;

struct Link {
    next: Option<Box<Link>>,
    value: u64,
}

fn total(link: Option<&Link>) -> u64 {
    link.map_or(1, |link| black_box(total(link.next.as_deref())).wrapping_mul(3).wrapping_add(link.value))
}

fn main() {
    let depth = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_u64);
    let first = (0..depth).fold(None, |next, at| Some(Box::new(Link { next, value: at * 7 })));
    println!("{depth} deep: {}", total(first.as_deref()));
    // Dropping the list would recurse, too; that is its own matter.
    std::mem::forget(first);
}
