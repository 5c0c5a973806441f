//! wasmtime's own WASI: a program of its own (`wasi.py`), asked over a pipe. Linking the crate `wasmtime-wasi` instead
//! would have the relay's wasmtime built with the component model and fibres, which the relay must not get.

use std::{
    io::{BufReader, BufWriter},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{Ended, TRAPPED, frames};

/// The running program.
pub struct Wasi {
    child: Child,
    questions: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Wasi {
    /// Starts it with the Python at `python`, which has the package `wasmtime`.
    pub fn start(python: &Path) -> Result<Self> {
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/wasi.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let questions = BufWriter::new(child.stdin.take().context("no pipe")?);
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, questions, answers })
    }

    /// Makes a program ready; the inner error is wasmtime's reason for refusing it.
    pub fn load(&mut self, module: &[u8]) -> Result<Result<(), String>> {
        let answer = self.ask(&[b"module", module])?;
        Ok(match answer.as_slice() {
            [] => Ok(()),
            parts => Err(parts.iter().map(|part| String::from_utf8_lossy(part)).collect()),
        })
    }

    /// Runs the program that was loaded last. `arguments` begin with its name.
    pub fn run(&mut self, input: &[u8], arguments: &[String]) -> Result<Ended> {
        let mut question: Vec<&[u8]> = vec![b"run", input];
        question.extend(arguments.iter().map(String::as_bytes));
        let answer = self.ask(&question)?;
        let Ok([how, code, output, errors, reason]) = <[Vec<u8>; 5]>::try_from(answer) else {
            bail!("wasmtime's WASI gave an answer that is not understood");
        };
        let reason = String::from_utf8_lossy(&reason).into_owned();
        let code = match how.as_slice() {
            b"exit" => Some(u32::from_le_bytes(code.as_slice().try_into()?)),
            b"trap" if reason.contains("invalid exit status") => None,
            b"trap" => Some(TRAPPED),
            _ => bail!("on wasmtime's WASI: {reason}"),
        };
        Ok(Ended { code, output, errors, reason })
    }

    fn ask(&mut self, question: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        frames::send(&mut self.questions, question)?;
        frames::take(&mut self.answers)?.context("wasmtime's WASI has ended")
    }
}

impl Drop for Wasi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
