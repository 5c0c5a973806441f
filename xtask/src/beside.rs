//! Work that goes on beside other work: most steps leave a processor idle for part of their time.

use std::{
    env,
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    lint,
    shell::{end_all, read_took, was_done_beside},
    workspace,
};

/// A program that was started and is waited for later. What it prints is kept until then.
pub(crate) struct Beside {
    what: String,
    process: u32,
    ending: Option<JoinHandle<io::Result<(ExitStatus, Duration)>>>,
    printed: PathBuf,
}

impl Beside {
    /// Starts a program; `what` says what it does and names the file below the build's folder that it prints to.
    pub(crate) fn start(what: &str, command: &mut Command) -> Result<Self> {
        let folder = workspace::target_dir().join("beside");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let printed = folder.join(format!("{}.txt", what.replace([' ', '/'], "-")));
        let output = File::create(&printed).with_context(|| format!("cannot write {}", printed.display()))?;
        let errors = output.try_clone()?;
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
        eprintln!("=> {what}, beside what follows");
        let process = child.id();
        let ending = thread::spawn(move || child.wait().map(|status| (status, began.elapsed())));
        Ok(Self { what: what.to_owned(), process, ending: Some(ending), printed })
    }

    /// Starts a command of this program.
    pub(crate) fn start_own(what: &str, words: &[&str]) -> Result<Self> {
        Self::start(what, Command::new(env::current_exe()?).args(words).envs(lint::told()))
    }

    /// Waits for its end, hands over every line that it printed, and fails if it did.
    pub(crate) fn finish(mut self, mut line: impl FnMut(&str)) -> Result<()> {
        eprintln!("=> waiting for: {}", self.what);
        let Some(ending) = self.ending.take() else { bail!("{}: it was waited for already", self.what) };
        let (status, time) = ending.join().unwrap_or_else(|_| Err(io::Error::other("nobody waited for it")))?;
        // What a test prints need not be text.
        let printed = fs::read(&self.printed).unwrap_or_default();
        for text in String::from_utf8_lossy(&printed).lines() {
            println!("{text}");
            line(text);
            if let Some((what, seconds)) = read_took(text) {
                was_done_beside(what, seconds);
            }
        }
        was_done_beside(&self.what, time.as_secs_f64());
        if status.success() { Ok(()) } else { bail!("{}: it ended with {status}", self.what) }
    }
}

impl Drop for Beside {
    /// A failure elsewhere ends the tests: nothing of them may go on.
    fn drop(&mut self) {
        let Some(ending) = self.ending.take() else { return };
        if !ending.is_finished() {
            end_all(self.process);
        }
        let _ = ending.join();
    }
}
