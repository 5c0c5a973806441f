//! How a Rust file looks: it opens with why it exists, is read in one go, and its names follow the house's.

use std::ops::Range;

use super::{File, lists, source};

/// Lines that a function may take, from `fn` to its last brace.
const MOST_FUNCTION: usize = 70;
/// Lines that a file may have, the tests inside it left out; some 400 is what to aim at.
const MOST_LINES: usize = 700;
/// The same of a file of tests, which is read a test at a time.
const MOST_TEST_LINES: usize = 800;

/// Complains of each file, and of exceptions that nothing needs any more.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut needed = Needed::default();
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some(text) = file.text() else { continue };
        let rust = Rust::read(&file.path, text);
        complaints.extend(rust.opening());
        complaints.extend(rust.functions(&mut needed));
        complaints.extend(rust.length(&mut needed));
        complaints.extend(rust.names());
        complaints.extend(rust.permissions(&mut needed));
    }
    complaints.extend(needed.not());
    complaints
}

/// The exceptions that were needed.
#[derive(Default)]
struct Needed {
    functions: Vec<(String, String)>,
    files: Vec<String>,
    permissions: Vec<String>,
}

impl Needed {
    /// The exceptions that were not.
    fn not(&self) -> Vec<String> {
        let gone =
            |what: String| format!("{what}: is no exception any more, so take it out of xtask/src/tidy/lists.rs");
        let functions = lists::LONG_FUNCTIONS
            .iter()
            .flat_map(|(_, all)| all.iter())
            .filter(|(path, name)| !self.functions.iter().any(|(p, n)| p == path && n == name))
            .map(|(path, name)| gone(format!("{path}: fn {name}")));
        let files =
            lists::LONG_FILES.iter().map(|(path, _)| *path).filter(|path| !self.files.iter().any(|f| f == path));
        let permissions =
            lists::PERMISSIONS.iter().map(|(path, _)| *path).filter(|path| !self.permissions.iter().any(|f| f == path));
        functions.chain(files.chain(permissions).map(|path| gone(path.to_owned()))).collect()
    }
}

/// A file of Rust.
struct Rust<'a> {
    path: &'a str,
    text: &'a str,
    code: String,
    /// Lines of tests inside other code.
    tests: Vec<Range<usize>>,
}

impl<'a> Rust<'a> {
    fn read(path: &'a str, text: &'a str) -> Self {
        let code = source::code(text);
        let tests = source::tests_inside(&code);
        Self { path, text, code, tests }
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        self.path.split('/').any(|part| part == "tests") || name.starts_with("tests") || name.ends_with("_tests.rs")
    }

    fn opening(&self) -> Option<String> {
        let says = self.text.starts_with("//! ");
        (!says).then(|| format!("{}:1: does not open with `//!` and why it exists", self.path))
    }

    fn functions(&self, needed: &mut Needed) -> Vec<String> {
        let mut complaints = Vec::new();
        for function in source::functions(&self.code).into_iter().filter(|function| function.lines > MOST_FUNCTION) {
            let source::Function { name, line, lines } = function;
            let is_known = |(path, known): &(&str, &str)| *path == self.path && *known == name;
            if lists::LONG_FUNCTIONS.iter().flat_map(|(_, all)| all.iter()).any(is_known) {
                needed.functions.push((self.path.to_owned(), name));
                continue;
            }
            let path = self.path;
            complaints.push(format!(
                "{path}:{line}: fn {name} takes {lines} lines, and {MOST_FUNCTION} are the most: split it"
            ));
        }
        complaints
    }

    fn length(&self, needed: &mut Needed) -> Option<String> {
        let inside: usize = self.tests.iter().map(Range::len).sum();
        let lines = self.text.lines().count().saturating_sub(inside);
        let most = if self.is_test() { MOST_TEST_LINES } else { MOST_LINES };
        if lines <= most {
            return None;
        }
        if lists::LONG_FILES.iter().any(|(path, _)| *path == self.path) {
            needed.files.push(self.path.to_owned());
            return None;
        }
        Some(format!("{}: has {lines} lines without tests inside it, and {most} are the most: split it", self.path))
    }

    fn names(&self) -> Vec<String> {
        let complain = |constant: source::Constant| {
            let source::Constant { name, ty, line } = constant;
            let what = if name.starts_with("MAX_") {
                format!("{name} is called MOST_… in this house")
            } else if name.ends_with("_MILLIS") && ty == "u64" {
                format!("{name} is a length of time: give it the type Millis or Duration, and a name without the unit")
            } else {
                return None;
            };
            Some(format!("{}:{line}: {what}", self.path))
        };
        source::constants(&self.code).into_iter().filter_map(complain).collect()
    }

    /// What is allowed stays allowed when nothing needs it any more; what is expected does not.
    fn permissions(&self, needed: &mut Needed) -> Vec<String> {
        // Guests are built by a cargo of their own, without lints.
        if self.path.starts_with("kernels/") {
            return Vec::new();
        }
        let mut complaints = Vec::new();
        for at in source::words(&self.code, "allow") {
            let before = self.code.get(..at).unwrap_or_default();
            if !before.ends_with("#[") && !before.ends_with("#![") {
                continue;
            }
            if lists::PERMISSIONS.iter().any(|(path, _)| *path == self.path) {
                needed.permissions.push(self.path.to_owned());
                continue;
            }
            let line = source::line_of(&self.code, at);
            complaints.push(format!("{}:{line}: `allow` outlives what it is for: `expect`", self.path));
        }
        complaints
    }
}
