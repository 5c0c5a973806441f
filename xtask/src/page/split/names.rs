//! Names of functions that stay the same from one build to the next.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
};

use super::program::Program;

/// So much of a name is for people to read.
const READABLE: usize = 60;

/// The names of a program's functions. Several may have the same one.
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    /// The names that the compiler gave, without the hashes of crates and versions in them, and short: those of generic
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
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    let readable: String = name.chars().take(READABLE).collect();
    format!("{readable} {:016x}", hasher.finish())
}
