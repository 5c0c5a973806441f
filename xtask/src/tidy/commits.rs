//! What commits are called: one line that any list of commits shows whole.

use crate::shell::{answer, program};

/// Characters that a subject may have.
const MOST_CHARACTERS: usize = 72;
/// The last commit of before the rule.
const BEFORE: &str = "c104db4a77e1a711a5d112271051e58bfb32f224";

/// The commits since there is the rule, as lines of a short name and a subject. Where history does not go back so far, as in a
/// shallow clone, the newest alone; without git none.
pub(super) fn since_the_rule() -> String {
    let log = |which: &[&str]| answer(program("git").args(["log", "--no-merges", "--format=%h %s"]).args(which));
    log(&[&format!("{BEFORE}..HEAD")]).or_else(|| log(&["-1"])).unwrap_or_default()
}

/// Complains of subjects that are too long.
pub(super) fn check(commits: &str) -> Vec<String> {
    let long = |line: &str| {
        let (name, subject) = line.split_once(' ')?;
        let length = subject.chars().count();
        (length > MOST_CHARACTERS).then(|| {
            format!("commit {name}: its subject has {length} characters, and {MOST_CHARACTERS} are the most: {subject}")
        })
    };
    commits.lines().filter_map(long).collect()
}
