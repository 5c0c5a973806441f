//! `cargo xtask drill`: more rounds of what `relay/tests/drill.rs` does to the built relay, and more jobs for it to start with
//! (`relay/tests/start.rs`; a round is a thousand of them).

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::{
    relay::NATIVE,
    shell::{cargo, step},
};

/// What the relay goes through, and the tests in which that is.
const DRILLS: [(&str, &str); 3] = [("kill", "drill"), ("disk", "drill"), ("start", "start")];

/// Reads the rest of the command line and runs one drill.
pub(crate) fn run(args: &mut lexopt::Parser) -> Result<()> {
    let (mut drill, mut rounds) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Value(word) if drill.is_none() => drill = Some(word.string()?),
            Long("rounds") => rounds = Some(args.value()?.parse::<u64>()?),
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    let known = DRILLS.iter().find(|(name, _)| drill.as_deref() == Some(name));
    let Some((drill, tests)) = known else { bail!("name a drill: {}", DRILLS.map(|(name, _)| name).join(" or ")) };
    let mut command = cargo();
    // In the selection of all tests: another one would compile the dependencies with other features.
    command.args(["test", "--locked", "--release", "--test", tests]).args(NATIVE);
    command.args(["--", "--exact", "--nocapture", drill]);
    if let Some(rounds) = rounds {
        command.env("P2PNET_DRILL_ROUNDS", rounds.to_string());
    }
    step(&format!("drilling: {drill}"), &mut command)
}
