//! Splits a program of the page: what runs until a tab has done its first task comes first, the rest after it.
//!
//! Which functions do not run is known from a profile (`profile.rs`), which need not be exact: a function that is in the
//! wrong part is only fetched at the wrong time.

mod glue;
mod marked;
mod names;
mod parts;
mod program;
mod reach;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use names::Names;
use parts::Wish;
use program::{Program, count};
use reach::Reach;

pub(super) use marked::marked;

use crate::workspace;

/// The list of functions that do not run until a tab has done its first task. What is not in it comes first, so that a
/// change brings nobody into want of the rest; it only makes the first part heavier, until the profile is taken again.
pub(super) const LIST: &str = "web/later.txt";

/// Splits a program that wasm-bindgen has put into a folder, its JavaScript too. A further part is called `name_rest.wasm`.
/// `linked` is the program before that.
pub(super) fn split(linked: &Path, folder: &Path, name: &str) -> Result<()> {
    let list = workspace::root().join(LIST);
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let (wasm, script) = (folder.join(format!("{name}_bg.wasm")), folder.join(format!("{name}.js")));
    let bytes = fs::read(&wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let text = fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    let program = Program::read(&bytes)?;
    let names = Names::of(&program);
    let later: BTreeSet<&str> = list.lines().collect();
    let linked = fs::read(linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let part_of = |name: &str| u32::from(later.contains(name));
    let reach = Reach::of(&linked, &part_of)?;
    let wish = Wish {
        parts: 2,
        part_of: &|function| part_of(names.of_function(function)),
        addressed: &|function| reach.addressed(names.of_function(function)),
        data: reach.data(),
    };
    let parts = parts::cut(&program, &wish)?;
    let rest = format!("{name}_rest.wasm");
    fs::write(&script, glue::with_parts(&text, &[&rest])?)?;
    for (file, part) in [wasm, folder.join(rest)].iter().zip(&parts) {
        fs::write(file, part).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The list of a program's functions without those that ran, whose numbers are counted from the first one with a body.
pub(super) fn list(program: &[u8], ran: &BTreeSet<u32>) -> Result<String> {
    let program = Program::read(program)?;
    let names = Names::of(&program);
    let named = |place: u32| names.of_function(place + program.imported());
    let mut later: BTreeSet<&str> = (0..count(program.bodies.len())).map(named).collect();
    // What has no name is what wasm-bindgen added: the start, and little else.
    later.remove("");
    for place in ran {
        later.remove(named(*place));
    }
    Ok(later.into_iter().map(|name| format!("{name}\n")).collect())
}
