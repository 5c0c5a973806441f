//! Builds the relay with the page inside, and starts it.

use std::{
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    page,
    shell::{cargo, find, program, step},
    workspace,
};

/// `cargo xtask run`.
pub(crate) struct Options {
    /// HTTP port.
    pub port: u16,
    /// Whether the relay lends this machine.
    pub provider: bool,
    /// Where it keeps what must survive a restart.
    pub data_dir: PathBuf,
    /// Whether to open the page.
    pub open: bool,
}

/// What is built for this machine. Always the whole workspace, whatever the target is: another selection would unify
/// features otherwise and compile the dependencies again.
pub(crate) const NATIVE: &[&str] = &["--workspace"];

/// The relay's binary, with the page inside.
pub(crate) fn build() -> Result<PathBuf> {
    page::build()?;
    step("building the relay", cargo().args(["build", "--locked", "--release", "--bin", "p2pnet"]).args(NATIVE))?;
    Ok(workspace::built("p2pnet"))
}

/// Builds and starts the relay; returns when it ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = build()?;
    let mut relay = Command::new(&binary);
    relay.arg("relay").arg("--port").arg(options.port.to_string()).arg("--data-dir").arg(&options.data_dir);
    if !options.provider {
        relay.arg("--no-provider");
    }
    if options.open {
        Command::new(std::env::current_exe()?).args(["open-when-ready", &options.port.to_string()]).spawn()?;
    }
    become_it(relay).with_context(|| format!("cannot start {}", binary.display()))
}

/// Waits in the background until the relay listens, then opens its page.
pub(crate) fn open_when_ready(args: &[String]) -> Result<()> {
    let port: u16 = args.first().context("which port?")?.parse()?;
    let address = ("127.0.0.1", port).to_socket_addrs()?.next().context("no address")?;
    for _ in 0..300 {
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            let opener = ["xdg-open", "open", "explorer"].into_iter().find(|name| find(name).is_some());
            let opener = opener.context("no program to open a page with: open the URL by hand")?;
            program(opener).arg(format!("http://localhost:{port}/")).status()?;
            return Ok(());
        }
        sleep(Duration::from_millis(200));
    }
    bail!("the relay does not listen on port {port}")
}

/// Replaces this process, so that Ctrl-C reaches the relay alone and its exit status is ours.
#[cfg(unix)]
fn become_it(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec().into())
}

/// Waits for it.
#[cfg(not(unix))]
fn become_it(mut command: Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { bail!("the relay ended with {status}") }
}
