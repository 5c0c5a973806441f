//! Names of functions that stay the same from one build to the next.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
};

use super::program::Program;

/// The names of a program's functions. Several may have the same one.
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    /// Hashes of the names that the compiler gave, without the hashes of crates and versions in them. Whole, those of generic
    /// functions would fill pages.
    pub(super) fn of(program: &Program) -> Self {
        Self(program.names.iter().map(|(function, name)| (*function, short(name))).collect())
    }

    /// The name of a function; empty if it has none.
    pub(super) fn of_function(&self, function: u32) -> &str {
        self.0.get(&function).map_or("", String::as_str)
    }
}

fn short(mangled: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(format!("{:#}", rustc_demangle::demangle(lasting(mangled))).as_bytes());
    format!("{:012x}", hasher.finish() >> 16)
}

/// Without what the compiler counts off, which differs from build to build: it has `.1042` after the name of a copy.
fn lasting(mangled: &str) -> &str {
    mangled.split_once('.').map_or(mangled, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_name_stays_whatever_the_crate_hashes_to_and_however_many_copies_come_before() {
        let name = short("_RNvCs4fqI2P2rA04_5crate8function");
        assert_eq!(short("_RNvCs1234_5crate8function"), name);
        assert_eq!(short("_RNvCs1234_5crate8function.llvm.71"), name);
        assert_eq!(short("_RNvCs1234_5crate8function.1042"), name);
        assert_ne!(short("_RNvCs1234_5crate8functiom"), name);
    }
}
