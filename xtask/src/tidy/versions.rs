//! Numbers of versions: each is tied to bytes that somebody holds, so that what it stands for cannot change without it.

use super::{File, lists, source};

/// What holds a version.
pub(super) enum Held {
    /// A file of golden bytes, `{}` for the number, and the test that reads it.
    Bytes { file: &'static str, test: Test },
    /// A test that says itself what the bytes are.
    Here(Test),
    /// Nothing; where it is listed says why.
    Nothing,
}

/// A test, by its file and name.
pub(super) struct Test {
    pub(super) file: &'static str,
    pub(super) name: &'static str,
}

/// A constant that is the number of a version.
pub(super) struct Version {
    pub(super) file: &'static str,
    pub(super) name: &'static str,
    pub(super) held: Held,
}

/// Complains of versions that nothing holds, and of what is said to hold one and does not exist.
pub(super) fn check(files: &[File]) -> Vec<String> {
    check_against(files, lists::VERSIONS)
}

pub(super) fn check_against(files: &[File], known: &[Version]) -> Vec<String> {
    let found: Vec<(&str, source::Constant, String)> =
        files.iter().filter(|file| file.is_rust()).flat_map(numbers).collect();
    let mut complaints = Vec::new();
    for (path, constant, _) in &found {
        if !known.iter().any(|version| version.file == *path && version.name == constant.name) {
            complaints.push(format!(
                "{path}:{}: nothing holds {}: write golden bytes and a test, and say so in VERSIONS of xtask/src/tidy/lists.rs",
                constant.line, constant.name
            ));
        }
    }
    for version in known {
        let own = found.iter().find(|(path, constant, _)| *path == version.file && constant.name == version.name);
        let Some((_, _, number)) = own else {
            complaints
                .push(format!("{}: there is no {} any more, so take it out of VERSIONS", version.file, version.name));
            continue;
        };
        complaints.extend(missing(files, version, number));
    }
    complaints
}

/// What a version's holder lacks.
fn missing(files: &[File], version: &Version, number: &str) -> Option<String> {
    let Version { file: path, name, held } = version;
    let (bytes, test) = match held {
        Held::Bytes { file, test } => (Some(file.replace("{}", number)), test),
        Held::Here(test) => (None, test),
        Held::Nothing => return None,
    };
    if let Some(bytes) = bytes.filter(|bytes| !files.iter().any(|file| file.path == *bytes)) {
        return Some(format!("{path}: {name} is {number}, and {bytes}, which should hold its bytes, does not exist"));
    }
    let text = files.iter().find(|file| file.path == test.file).and_then(File::text).unwrap_or_default();
    let is_there = text.contains(&format!("fn {}(", test.name));
    (!is_there)
        .then(|| format!("{path}: {name} is held by the test {} in {}, which does not exist", test.name, test.file))
}

/// The constants of a file that are numbers of versions, with what they are.
fn numbers(file: &File) -> Vec<(&str, source::Constant, String)> {
    let Some(text) = file.text() else { return Vec::new() };
    let code = source::code(text);
    let is_version =
        |name: &str| ["VERSION", "FORMAT"].iter().any(|end| name == *end || name.ends_with(&format!("_{end}")));
    source::constants(&code)
        .into_iter()
        .filter(|constant| is_version(&constant.name) && is_number(&constant.ty))
        .map(|constant| {
            let line = code.lines().nth(constant.line - 1).unwrap_or_default();
            let value = line.rsplit_once('=').map_or("", |(_, value)| value);
            let value = value.trim().trim_end_matches(';').to_owned();
            (file.path.as_str(), constant, value)
        })
        .collect()
}

fn is_number(ty: &str) -> bool {
    ["u8", "u16", "u32", "u64", "usize", "i32", "i64"].contains(&ty)
}
