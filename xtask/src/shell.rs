//! Running other programs, and saying which.

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{lint, workspace};

/// A program of this machine, started at the top of the repository, with our own tools first on its `PATH`.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(workspace::root()).env("PATH", path()).envs(lint::told());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_our_build) {
            command.env_remove(name);
        }
    }
    command
}

/// What cargo tells a program that it starts, about that program's package. Build scripts of others ask whether it
/// changed, so handing it on would compile them again whenever a plain cargo and this one take turns. What configures
/// cargo (`CARGO_HOME`, `CARGO_TARGET_DIR`, `CARGO_NET_…`, `CARGO_BUILD_…`, …) stays.
fn is_of_our_build(variable: &str) -> bool {
    let beginnings = ["CARGO_PKG_", "CARGO_BIN_", "CARGO_FEATURE_", "CARGO_CFG_"];
    let names = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_MANIFEST_LINKS", "CARGO_CRATE_NAME"];
    let more = ["CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "CARGO", "OUT_DIR"];
    beginnings.iter().any(|beginning| variable.starts_with(beginning))
        || names.contains(&variable)
        || more.contains(&variable)
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    program(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Says what is being done, runs it, and fails with its exit status.
pub(crate) fn step(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("=> {what}");
    let began = Instant::now();
    let status = command.status().with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{what}: {:?} ended with {status}", command.get_program());
    }
    took(what, began.elapsed());
    Ok(())
}

/// What was done and how long it took, in the order of the ends.
static DONE: Mutex<Vec<(String, f64)>> = Mutex::new(Vec::new());

/// Says how long something took, and keeps it for [`summary`].
pub(crate) fn took(what: &str, time: Duration) {
    let seconds = time.as_secs_f64();
    eprintln!("   {what}: {seconds:.1} s");
    DONE.lock().unwrap_or_else(PoisonError::into_inner).push((what.to_owned(), seconds));
}

/// A line that [`took`] wrote in a process that ran beside this one, read back.
pub(crate) fn read_took(line: &str) -> Option<(&str, f64)> {
    let (what, seconds) = line.strip_prefix("   ")?.strip_suffix(" s")?.rsplit_once(": ")?;
    Some((what, seconds.parse().ok()?)).filter(|_| !what.starts_with(' '))
}

/// Keeps what a process did that ran beside this one.
pub(crate) fn was_done_beside(what: &str, seconds: f64) {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).push((format!("beside: {what}"), seconds));
}

/// A table of what took a second or longer, in the order of the ends, so that it is seen which step has become slower.
pub(crate) fn summary(all: Duration) -> String {
    let done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut table = String::from("seconds  step\n");
    for (what, seconds) in done.iter().filter(|(_, seconds)| *seconds >= 1.0) {
        table.push_str(&format!("{seconds:7.1}  {what}\n"));
    }
    table.push_str(&format!("{:7.1}  all", all.as_secs_f64()));
    table
}

/// A program that has begun to print and then prints nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(600);

/// Like [`step`], and hands every line of its standard output to `line` as well as to our own. A program that falls
/// silent for [`SILENCE`] after its first line is ended together with all that it started, and has failed: a test that
/// hangs costs minutes and is named, it does not hold up a machine for hours.
pub(crate) fn step_with_lines(what: &str, command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    eprintln!("=> {what}");
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    let mut last = String::new();
    if let Some(output) = child.stdout.take() {
        let lines = lines_of(output);
        // Until the first line it may be compiling.
        let mut patience = Duration::MAX;
        loop {
            match lines.recv_timeout(patience) {
                Ok(text) => {
                    let text = text?;
                    println!("{text}");
                    line(&text);
                    last = text;
                    patience = SILENCE;
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    end_all(child.id());
                    child.wait()?;
                    bail!("{what}: ended after {} s of silence; its last line was {last:?}", SILENCE.as_secs());
                }
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{what}: {:?} ended with {status}", command.get_program());
    }
    took(what, began.elapsed());
    Ok(())
}

/// The lines that come out of a pipe, as they come.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for text in BufReader::new(output).split(b'\n') {
            // Nobody waits for the rest once the program was ended.
            if sender.send(text.map(|text| String::from_utf8_lossy(&text).into_owned())).is_err() {
                return;
            }
        }
    });
    lines
}

/// Kills a program and all that it started, and they in turn.
pub(crate) fn end_all(root: u32) {
    let listed = answer(Command::new("ps").args(["-A", "-o", "pid=,ppid="])).unwrap_or_default();
    let mut command = Command::new("kill");
    command.arg("-KILL").args(descendants(root, &listed).iter().map(u32::to_string));
    // A program that is gone already needs no ending.
    let _ = command.stderr(Stdio::null()).status();
}

/// A process and all below it, from lines of process and parent.
fn descendants(root: u32, listed: &str) -> Vec<u32> {
    let pairs: Vec<(u32, u32)> = listed
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(pairs.iter().filter(|pair| pair.1 == parent).map(|pair| pair.0));
        next += 1;
    }
    found
}

/// What a program prints, `None` if it cannot be started or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where a program is found.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    env::split_paths(&path()).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// `PATH` with the folder of our own tools in front and cargo's behind it.
fn path() -> OsString {
    let mut folders = vec![workspace::tools_dir().join("bin")];
    if let Some(cargo_home) = env::var_os("CARGO_HOME") {
        folders.push(PathBuf::from(cargo_home).join("bin"));
    } else if let Some(home) = env::var_os("HOME") {
        folders.push(PathBuf::from(home).join(".cargo/bin"));
    }
    let given = env::var_os("PATH").unwrap_or_default();
    folders.extend(env::split_paths(&given));
    env::join_paths(folders).unwrap_or(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_hears_of_cargos_settings_but_not_of_our_package() {
        for ours in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO"] {
            assert!(is_of_our_build(ours), "{ours}");
        }
        for setting in
            ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS", "CARGO_PROFILE_RELEASE_LTO"]
        {
            assert!(!is_of_our_build(setting), "{setting}");
        }
    }

    #[test]
    fn how_long_a_step_took_is_read_back_as_it_was_written() {
        assert_eq!(read_took("   linting: natively: 12.5 s"), Some(("linting: natively", 12.5)));
        for other in ["   FAILED: linting", "linting: 1.0 s", "     indented: 1.0 s", "   running 3 tests"] {
            assert_eq!(read_took(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_is_found_with_all_below_it_and_nothing_beside() {
        assert_eq!(descendants(2, " 1 0\n 2 1\n 3 2\n 4 3\n 5 1\nnonsense\n 6 2\n"), [2, 3, 6, 4]);
    }
}
