//! Other systems of the kind, measured by the programs in `tests/e2e/others` in the same run as ours.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::process::Process;

/// Ray needs half a minute to start where the processors are busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a program of another system said of it.
pub struct Other {
    /// Its name and version.
    pub name: String,
    /// The figure, in the unit of the measurement.
    pub value: f64,
}

/// Tiny tasks a second on Ray and on Dask, one worker each; what is not installed is left out.
pub fn tiny_tasks(count: usize) -> Result<Vec<Other>> {
    let Some(python) = env::var_os("P2PNET_BENCH_PYTHON") else { return Ok(Vec::new()) };
    let one = |name, program: &str| measure(name, Command::new(&python).arg(here(program)).arg(count.to_string()));
    Ok(vec![one("Ray", "tasks_ray.py")?, one("Dask", "tasks_dask.py")?])
}

/// Milliseconds from making a node of js-libp2p to its connection, if it is installed.
pub fn connection() -> Result<Option<Other>> {
    let Some(packages) = env::var_os("P2PNET_BENCH_NPM").map(PathBuf::from) else { return Ok(None) };
    let mut node = Command::new(packages.join("node/bin/node"));
    measure("js-libp2p", node.arg(here("connect_libp2p.mjs")).arg(&packages)).map(Some)
}

fn here(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("others").join(program)
}

fn measure(name: &str, command: &mut Command) -> Result<Other> {
    let figure = |line: &str| {
        let (version, value) = line.split_once(' ')?;
        Some((version.to_owned(), value.trim().parse::<f64>().ok()?))
    };
    let (_process, (version, value)) = Process::start(name, command, PATIENCE, figure)?;
    Ok(Other { name: format!("{name} {version}"), value })
}
