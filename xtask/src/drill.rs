//! `cargo xtask drill`: more rounds of what `relay/tests/drill.rs` does to the built relay.

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::{
    relay::NATIVE,
    shell::{cargo, step},
};

/// What the relay goes through.
const DRILLS: &[&str] = &["kill", "disk"];

/// Reads the rest of the command line and runs one drill.
pub fn run(args: &mut lexopt::Parser) -> Result<()> {
    let (mut drill, mut rounds) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Value(word) if drill.is_none() => drill = Some(word.string()?),
            Long("rounds") => rounds = Some(args.value()?.parse::<u64>()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(drill) = drill.filter(|drill| DRILLS.contains(&drill.as_str())) else {
        bail!("name a drill: {}", DRILLS.join(" or "))
    };
    let mut command = cargo();
    // In the selection of all tests: another one would compile the dependencies with other features.
    command.args(["test", "--locked", "--release", "--test", "drill"]).args(NATIVE);
    command.args(["--", "--exact", "--nocapture", &drill]);
    if let Some(rounds) = rounds {
        command.env("P2PNET_DRILL_ROUNDS", rounds.to_string());
    }
    step(&format!("drilling: {drill}"), &mut command)
}
