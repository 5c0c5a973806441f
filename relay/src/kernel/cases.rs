//! The cases of `p2pnet kernel test`: files of one folder that share a name, one file for each thing that is given or
//! expected.
//!
//! | file | holds | without it |
//! |---|---|---|
//! | `NAME.in` | the input; names the case | |
//! | `NAME.common` | what all calls of a kernel share | nothing |
//! | `NAME.args` | arguments of a command, one a line | none |
//! | `NAME.out` | the output, or a command's standard output | not looked at |
//! | `NAME.err` | a command's standard error | not looked at |
//! | `NAME.exit` | a command's exit code | 0 |
//! | `NAME.trap` | why a kernel gives no output, as the API says it (`trapped`, `out_of_memory`, …) | an output is expected |

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use p2pnet_shared::{blob::Blob, engine::Trap, wire::MOST_OUTPUT};

use crate::{
    cli::failure::{Failure, word},
    files,
};

/// The largest file of a case: no call puts out more, and none reads as much.
const MOST_BYTES: usize = MOST_OUTPUT as usize;
/// How a call may end without an output, wherever it runs.
const ENDS: [Trap; 6] =
    [Trap::Trapped, Trap::OutOfGas, Trap::OutOfMemory, Trap::StackOverflow, Trap::BrokenContract, Trap::OutputTooLarge];
/// Cases in a folder.
const MOST_CASES: usize = 10_000;

/// One call and what should come of it.
pub(super) struct Case {
    folder: PathBuf,
    /// Its files' name without the ending.
    pub name: String,
    /// What the call reads.
    pub input: Vec<u8>,
    /// What all calls of a kernel share.
    pub common: Option<Blob>,
    /// Arguments of a command.
    pub args: Vec<String>,
    /// What is expected.
    pub expected: Came,
}

/// What came, or should come, of a call. What is `None` is not there, or not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Came {
    /// Output, or standard output.
    pub output: Option<Vec<u8>>,
    /// Standard error.
    pub errors: Option<Vec<u8>>,
    /// Exit code of a command.
    pub exit: Option<u32>,
    /// Why there is no output, in the API's word.
    pub trap: Option<String>,
}

/// The folder's cases in the order of their names.
pub(super) fn read(folder: &Path) -> Result<Vec<Case>, Failure> {
    let names = names(folder)?;
    if names.is_empty() {
        let message = format!("{} holds no case", folder.display());
        return Err(Failure::usage(message, "a case is at least an input: make a file NAME.in there"));
    }
    names.into_iter().map(|name| read_case(folder, name)).collect()
}

/// Names of inputs. An expectation without an input is refused: its author means it to be looked at.
fn names(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let unreadable = |error| {
        let message = format!("{} cannot be read: {error}", folder.display());
        Failure::usage(message, "name a folder with cases: NAME.in and what should come of it, NAME.out")
    };
    let (mut inputs, mut others) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let (Some(stem), Some(ending)) = (text(path.file_stem()), text(path.extension())) else { continue };
        match ending.as_str() {
            "in" => inputs.insert(stem),
            "common" | "args" | "out" | "err" | "exit" | "trap" => others.insert(stem),
            _ => false,
        };
        if inputs.len() + others.len() > 2 * MOST_CASES {
            let message = format!("{} holds more than {MOST_CASES} cases", folder.display());
            return Err(Failure::usage(message, "put them into several folders"));
        }
    }
    match others.difference(&inputs).next() {
        None => Ok(inputs),
        Some(name) => {
            let message = format!("{}: there is something about {name:?}, but no {name}.in", folder.display());
            Err(Failure::usage(message, "give each case an input, be it empty"))
        }
    }
}

fn read_case(folder: &Path, name: String) -> Result<Case, Failure> {
    let read = |ending: &str| read_file(&folder.join(format!("{name}.{ending}")));
    let lines = |ending: &str| -> Result<Option<String>, Failure> {
        let Some(bytes) = read(ending)? else { return Ok(None) };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| Failure::usage(format!("{name}.{ending} is not UTF-8 text"), ""))
    };
    let exit = lines("exit")?.map(|text| {
        let no_code = |_| Failure::usage(format!("{name}.exit: {:?} is no exit code", text.trim()), "a number");
        text.trim().parse::<u32>().map_err(no_code)
    });
    let expected = Came {
        output: read("out")?,
        errors: read("err")?,
        exit: exit.transpose()?,
        trap: lines("trap")?.map(|text| end(&name, text.trim())).transpose()?,
    };
    let args = lines("args")?.unwrap_or_default().lines().map(str::to_owned).collect();
    let input = read("in")?.unwrap_or_default();
    let common = read("common")?.map(Blob::new);
    Ok(Case { folder: folder.to_owned(), input, common, args, expected, name })
}

/// The word of a `.trap` file.
fn end(name: &str, said: &str) -> Result<String, Failure> {
    let known: Vec<String> = ENDS.iter().map(word).collect();
    if known.iter().any(|word| word == said) {
        return Ok(said.to_owned());
    }
    let said: String = said.chars().take(40).collect();
    let message = format!("{name}.trap: no call ends as {said:?}");
    Err(Failure::usage(message, format!("it is one of {}", known.join(", "))))
}

impl Came {
    /// Whether nothing is said.
    pub(super) fn is_unsaid(&self) -> bool {
        let Self { output, errors, exit, trap } = self;
        output.is_none() && errors.is_none() && exit.is_none() && trap.is_none()
    }
}

impl Case {
    /// Writes down what came where nothing was said; gives the names of the files.
    pub(super) fn write(&self, came: &Came) -> Result<Vec<String>, Failure> {
        let said = &self.expected;
        let exit = came.exit.filter(|code| *code != 0).map(|code| format!("{code}\n").into_bytes());
        let trap = came.trap.as_ref().map(|word| format!("{word}\n").into_bytes());
        let errors = came.errors.clone().filter(|errors| !errors.is_empty());
        let mut written = Vec::new();
        for (ending, unsaid, content) in [
            ("out", said.output.is_none(), came.output.clone()),
            ("err", said.errors.is_none(), errors),
            ("exit", said.exit.is_none(), exit),
            ("trap", said.trap.is_none(), trap),
        ] {
            let Some(content) = content.filter(|_| unsaid) else { continue };
            let name = format!("{}.{ending}", self.name);
            let path = self.folder.join(&name);
            fs::write(&path, content)
                .map_err(|error| Failure::here(format!("{} cannot be written: {error}", path.display()), ""))?;
            written.push(name);
        }
        Ok(written)
    }
}

/// `None` if there is no such file.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match files::read(path, MOST_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::unread(path.display(), &error, "")),
    }
}

fn text(name: Option<&std::ffi::OsStr>) -> Option<String> {
    Some(name?.to_str()?.to_owned())
}
