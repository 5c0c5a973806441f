//! Which files there may be: text of ours, and the few others that [`lists`] name.

use super::{File, lists};

/// Of a text file; longer ones are made by programs.
const MOST_BYTES: usize = 128 << 10;
/// Nobody writes longer lines by hand.
const MOST_COLUMNS: usize = 4_000;

/// Complains of files that do not belong here, and of texts that say that something is still to be done.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut complaints: Vec<String> = files.iter().filter_map(stray).collect();
    for file in files {
        complaints.extend(undone(file));
    }
    for (path, _) in lists::OTHERS {
        if !files.iter().any(|file| matches(path, &file.path)) {
            complaints.push(format!(
                "{path}: there is none, so take it out of the list of other files (xtask/src/tidy/lists.rs)"
            ));
        }
    }
    complaints
}

/// Why a file does not belong here.
fn stray(file: &File) -> Option<String> {
    let path = &file.path;
    if lists::OTHERS.iter().any(|(pattern, _)| matches(pattern, path)) {
        return None;
    }
    let list = "if it belongs here, add it with the reason to OTHERS in xtask/src/tidy/lists.rs";
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folder.split('/').any(|part| lists::OF_OTHERS.contains(&part)) {
        return Some(format!("{path}: lies in a folder for what others wrote; {list}"));
    }
    let ending = name.rsplit_once('.').map_or(name, |(_, ending)| ending);
    if !lists::ENDINGS.contains(&ending) {
        return Some(format!("{path}: is of a kind that this repository does not have; {list}"));
    }
    let Some(text) = file.text() else {
        return Some(format!("{path}: is no text; {list}"));
    };
    if text.len() > MOST_BYTES {
        return Some(format!(
            "{path}: has {} KiB, and {} are the most for a text; {list}",
            text.len() >> 10,
            MOST_BYTES >> 10
        ));
    }
    let longest = text.lines().map(str::len).max().unwrap_or(0);
    (longest > MOST_COLUMNS)
        .then(|| format!("{path}: has a line of {longest} characters, so no person wrote it; {list}"))
}

/// `a/*.b` for all with that ending in the folder, or one path.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            let middle = path.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
            middle.is_some_and(|middle| !middle.contains('/'))
        }
        None => pattern == path,
    }
}

/// What is to be done stands in no file: it is done, or somebody is asked to.
fn undone(file: &File) -> Vec<String> {
    let Some(text) = file.text().filter(|_| !lists::OTHERS.iter().any(|(pattern, _)| matches(pattern, &file.path)))
    else {
        return Vec::new();
    };
    let words = lists::undone();
    let marks = |(line, text): (usize, &str)| {
        let found = words
            .iter()
            .find(|word| text.split(|c: char| !c.is_alphanumeric() && c != '!').any(|part| part == **word))?;
        Some(format!("{}:{}: {found}: do it, or leave it out", file.path, line + 1))
    };
    text.lines().enumerate().filter_map(marks).collect()
}
