//! Running other programs, and saying which.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A program of this machine, started at the top of the repository, with our own tools first on its `PATH`.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(workspace::root()).env("PATH", path());
    command
}

/// The cargo that started us.
pub fn cargo() -> Command {
    program(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Says what is being done, runs it, and fails with its exit status.
pub fn step(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("=> {what}");
    let began = Instant::now();
    let status = command.status().with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{what}: {:?} ended with {status}", command.get_program());
    }
    eprintln!("   {what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Like [`step`], and hands every line of its standard output to `line` as well as to our own.
pub fn step_with_lines(what: &str, command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    eprintln!("=> {what}");
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    if let Some(output) = child.stdout.take() {
        for text in BufReader::new(output).split(b'\n') {
            let text = text?;
            let text = String::from_utf8_lossy(&text);
            println!("{text}");
            line(&text);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{what}: {:?} ended with {status}", command.get_program());
    }
    eprintln!("   {what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// What a program prints, `None` if it cannot be started or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where a program is found.
pub fn find(name: &str) -> Option<PathBuf> {
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
