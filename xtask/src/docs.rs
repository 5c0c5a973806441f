//! Writes the documents that are made from the code anew: what kinds of jobs say of themselves, in docs/kinds.md and README.md.

use anyhow::Result;

use crate::{
    relay::NATIVE,
    shell::{cargo, step},
};

/// The test that fails when they are stale writes them, if it is told so.
const WRITE: &str = "P2PNET_WRITE_DOCS";
const TEST: &str = "the_documents_of_kinds_are_what_kinds_say";

/// Writes them.
pub(crate) fn run() -> Result<()> {
    let mut write = cargo();
    write.args(["test", "--locked", "--release", "--lib"]).args(NATIVE).args(["--", TEST]).env(WRITE, "1");
    step("writing docs/kinds.md and the README's table of kinds", &mut write)
}
